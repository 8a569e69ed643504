use arcane_common::{field_path::FieldPath, references::Treatment, validation::Violation};
use serde_json::Value;

/// What is answered to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Why the request is refused; empty: it is allowed.
    pub violations: Vec<Violation>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Fields to add, and their values.
    pub patch: Vec<(FieldPath, Value)>,
}

impl Verdict {
    /// Nothing to say.
    pub fn allow() -> Self {
        Self::default()
    }

    /// Whether the request is allowed.
    pub fn is_allowed(&self) -> bool {
        self.violations.is_empty()
    }

    /// Takes a missing reference for a mistake or for something that is still to come.
    pub fn missing(&mut self, treatment: Treatment, violation: Violation) {
        match treatment {
            Treatment::Deny => self.violations.push(violation),
            Treatment::Warn => self.warnings.push(violation.to_string()),
        }
    }

    /// Warns.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}
