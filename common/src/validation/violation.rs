use std::fmt;

use serde_json::Value;

use crate::field_path::FieldPath;

/// The kind of a violation: the causes that the API server knows
/// (`metav1.CauseType`, `field.ErrorType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A field that must be there is absent or empty.
    Required,
    /// A value that can't be used.
    Invalid,
    /// A reference to something that doesn't exist.
    NotFound,
    /// A value outside a fixed set.
    NotSupported,
    /// Something that this user or this object may not do.
    Forbidden,
    /// A value that is too long.
    TooLong,
    /// A value that may occur only once.
    Duplicate,
    /// A field that nothing reads. It is no mistake, only worth a warning.
    Ignored,
    /// A field that nobody knows. It is no mistake, only worth a warning.
    Unknown,
}

impl Reason {
    /// The reason in a `StatusCause`, e.g. `FieldValueNotFound`.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotFound => "FieldValueNotFound",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::Duplicate => "FieldValueDuplicate",
            // The API server has no words for warnings.
            Self::Ignored | Self::Unknown => "FieldValueForbidden",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotFound => "Not found",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::Duplicate => "Duplicate value",
            Self::Ignored => "Ignored",
            Self::Unknown => "Unknown field",
        }
    }
}

/// One thing that is wrong, at one field, with the way to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The field at fault.
    pub path: FieldPath,
    /// The kind of fault.
    pub reason: Reason,
    /// What is wrong and what to do, without the path.
    pub message: String,
}

impl Violation {
    /// A field that must be there is absent.
    pub fn required(path: FieldPath, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::Required, message.to_string())
    }

    /// A value that can't be used.
    pub fn invalid(path: FieldPath, value: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::Invalid, format!("{}: {message}", quoted(value)))
    }

    /// A value outside a fixed set.
    pub fn not_supported(path: FieldPath, value: impl fmt::Display, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(quoted).collect();
        Self::of(path, Reason::NotSupported, format!("{}: supported values: {}", quoted(value), supported.join(", ")))
    }

    /// Something that is not allowed here.
    pub fn forbidden(path: FieldPath, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::Forbidden, message.to_string())
    }

    /// A field that nothing reads.
    pub fn ignored(path: FieldPath, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::Ignored, message.to_string())
    }

    /// A field that nobody knows.
    pub fn unknown(path: FieldPath, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::Unknown, message.to_string())
    }

    /// A reference to something that doesn't exist.
    pub fn not_found(path: FieldPath, value: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::NotFound, format!("{}: {message}", quoted(value)))
    }

    /// A value that is too long.
    pub fn too_long(path: FieldPath, message: impl fmt::Display) -> Self {
        Self::of(path, Reason::TooLong, message.to_string())
    }

    /// What is wrong, without the path: the words of the API server and ours.
    pub fn body(&self) -> String {
        format!("{}: {}", self.reason.words(), self.message)
    }

    fn of(path: FieldPath, reason: Reason, message: String) -> Self {
        Self { path, reason, message }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// How many violations a check collects. Who has made more mistakes mends these first; and each takes memory and time.
pub const MOST_VIOLATIONS: usize = 200;

/// How many violations are told at once.
pub const MOST_TOLD: usize = 20;

/// How much of a value is repeated.
const MOST_OF_A_VALUE: usize = 256;

/// How much is told of one violation.
pub const MOST_OF_A_VIOLATION: usize = 1024;

/// All violations in one line, for a condition or an event; of very many, the first.
pub fn join(violations: &[Violation]) -> String {
    let told = violations.iter().take(MOST_TOLD);
    let mut lines: Vec<String> = told.map(|it| cut(&it.to_string(), MOST_OF_A_VIOLATION)).collect();
    let more = violations.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        lines.push(format!("and at least {more} more"));
    }
    lines.join("; ")
}

/// The longest text that a message repeats.
const MAX_TEXT: usize = 100;

/// A value in few words, for a message.
pub(crate) fn brief(value: &Value) -> String {
    match value {
        Value::Object(_) => "object".to_owned(),
        Value::Array(_) => "list".to_owned(),
        Value::String(text) => cut(text, MAX_TEXT),
        other => other.to_string(),
    }
}

/// A text, or the beginning of a long one.
pub fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether a value is made of so many values at most: its fields and elements, and all that are in them.
pub fn has_at_most(most: usize, value: &Value) -> bool {
    fn rest(value: &Value, left: usize) -> Option<usize> {
        let left = left.checked_sub(1)?;
        match value {
            Value::Array(elements) => elements.iter().try_fold(left, |left, element| rest(element, left)),
            Value::Object(fields) => fields.values().try_fold(left, |left, field| rest(field, left)),
            _ => Some(left),
        }
    }
    rest(value, most).is_some()
}

fn quoted(value: impl fmt::Display) -> String {
    use fmt::Write as _;
    let mut beginning = Beginning { text: String::new(), left: MOST_OF_A_VALUE };
    // A value may be a whole object, and is printed no further than it is repeated.
    if write!(beginning, "{value}").is_err() {
        beginning.text.push_str("...");
    }
    format!("{:?}", beginning.text)
}

/// Takes so many characters and no more.
struct Beginning {
    text: String,
    left: usize,
}

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_told_in_few_words() {
        assert_eq!(brief(&json!("no")), "no");
        assert_eq!(brief(&json!(7)), "7");
        assert_eq!(brief(&json!({"a": "b"})), "object");
        assert_eq!(brief(&json!(["a"])), "list");
        assert_eq!(brief(&json!("é".repeat(101))), format!("{}...", "é".repeat(100)));
    }

    #[test]
    fn a_violation_reads_like_the_api_servers_own() {
        let path = FieldPath::root("spec").descend(&["jobTemplateRef", "name"]);
        let violation = Violation::not_found(path, "standard", "create it first");
        assert_eq!(violation.to_string(), r#"spec.jobTemplateRef.name: Not found: "standard": create it first"#);
    }

    #[test]
    fn of_a_long_value_only_the_beginning_is_repeated() {
        let violation = Violation::invalid(FieldPath::root("spec"), "ü".repeat(1000), "too much");
        assert_eq!(violation.message, format!("\"{}...\": too much", "ü".repeat(MOST_OF_A_VALUE)));
    }

    #[test]
    fn of_many_violations_the_first_are_told() {
        let violation = Violation::required(FieldPath::root("spec").child("x".repeat(5000)), "set it");
        let joined = join(&vec![violation; 100]);
        assert!(joined.ends_with("...; and at least 80 more"), "{joined}");
        assert!(joined.len() < MOST_TOLD * (MOST_OF_A_VIOLATION + 10));
    }
}
