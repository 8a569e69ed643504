//! What a plugin's CRD lets a stream's status hold.
//!
//! Plugins write their own CRDs. Many keep only some fields of a condition, some restrict the phase to older
//! words. What a schema would prune or refuse is not written, so that what is written can be compared with
//! what stands there.

use arcane_common::{api::well_known, stream::Phase};
use serde_json::Value;

use super::plan::UP_TO_DATE;

/// What stands for a condition where a plugin's CRD knows only the older words for its type, and whether that one
/// says the opposite.
const OLD_TYPES: [(&str, &str, bool); 4] = [
    (well_known::CONDITION_READY, "READY", false),
    (well_known::CONDITION_RECONCILING, "INFO", false),
    (well_known::CONDITION_STALLED, "ERROR", false),
    (UP_TO_DATE, "WARNING", true),
];

/// The condition that a recorded type stands for, and whether it says the opposite: a reader of statuses meets the older
/// words, too. A type that none of ours is written under is taken as it is.
pub fn meaning_of(type_: &str) -> (&str, bool) {
    OLD_TYPES.iter().find(|(_, old, _)| *old == type_).map_or((type_, false), |(ours, _, not)| (ours, *not))
}

/// The fields that an object of a schema can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fields {
    All,
    Only(Vec<String>),
}

impl Fields {
    fn of(schema: Option<&Value>) -> Self {
        let Some(schema) = schema else { return Self::Only(Vec::new()) };
        if schema.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true) {
            return Self::All;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        Self::Only(properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default())
    }

    fn hold(&self, field: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(fields) => fields.iter().any(|name| name == field),
        }
    }
}

/// The schema of a stream's status, as far as we write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSchema {
    fields: Fields,
    condition_fields: Fields,
    phases: Option<Vec<String>>,
    condition_types: Option<Vec<String>>,
}

impl StatusSchema {
    /// A schema that holds whatever is written.
    pub fn anything() -> Self {
        Self { fields: Fields::All, condition_fields: Fields::All, phases: None, condition_types: None }
    }

    /// A kind without the status subresource: nothing can be written there.
    pub fn nothing() -> Self {
        let none = Fields::Only(Vec::new());
        Self { fields: none.clone(), condition_fields: none, phases: None, condition_types: None }
    }

    /// Reads the `openAPIV3Schema` of a served version.
    pub fn of(schema: &Value) -> Self {
        let preserved = schema.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true);
        let status = schema.pointer("/properties/status");
        if status.is_none() && preserved {
            return Self::anything();
        }
        let fields = Fields::of(status);
        let conditions = status.and_then(|status| status.pointer("/properties/conditions/items"));
        let condition_fields = match (&fields, conditions) {
            (Fields::All, None) => Fields::All,
            _ => Fields::of(conditions),
        };
        Self {
            fields,
            condition_fields,
            phases: words(status.and_then(|status| status.pointer("/properties/phase/enum"))),
            condition_types: words(conditions.and_then(|conditions| conditions.pointer("/properties/type/enum"))),
        }
    }

    /// Whether the status holds a top-level field.
    pub fn holds(&self, field: &str) -> bool {
        self.fields.hold(field)
    }

    /// Whether a condition holds a field.
    pub fn condition_holds(&self, field: &str) -> bool {
        self.holds("conditions") && self.condition_fields.hold(field)
    }

    /// The type under which a condition can be written, and whether it says the opposite under that one; `None`
    /// where the status can't hold it.
    pub fn type_of(&self, condition: &'static str) -> Option<(&'static str, bool)> {
        if !self.condition_holds("type") {
            return None;
        }
        let Some(types) = &self.condition_types else { return Some((condition, false)) };
        let old = OLD_TYPES.into_iter().filter(|(type_, _, _)| *type_ == condition).map(|(_, old, not)| (old, not));
        [(condition, false)].into_iter().chain(old).find(|(type_, _)| types.iter().any(|known| known == type_))
    }

    /// The word for a phase; `None` where the status can't hold it.
    pub fn word(&self, phase: Phase) -> Option<&'static str> {
        if !self.holds("phase") {
            return None;
        }
        let Some(words) = &self.phases else { return Some(phase.as_str()) };
        [phase.as_str(), phase.as_old_word()].into_iter().find(|word| words.iter().any(|known| known == word))
    }
}

fn words(list: Option<&Value>) -> Option<Vec<String>> {
    Some(list?.as_array()?.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_under_an_older_word_is_read_back() {
        assert_eq!(meaning_of("WARNING"), (UP_TO_DATE, true));
        assert_eq!(meaning_of("READY"), ("Ready", false));
        assert_eq!(meaning_of("LastRunSucceeded"), ("LastRunSucceeded", false));
    }

    #[test]
    fn a_schema_holds_what_it_declares() {
        let schema = StatusSchema::of(&json!({"properties": {"status": {"properties": {
            "phase": {"type": "string"},
            "conditions": {"items": {"properties": {"type": {}, "status": {}, "message": {}}}},
        }}}}));
        assert!(schema.holds("phase") && !schema.holds("jobName"));
        assert!(schema.condition_holds("message") && !schema.condition_holds("reason"));
        assert_eq!(schema.word(Phase::Backfilling), Some("Backfilling"));
    }

    #[test]
    fn an_enum_of_the_old_words_gets_the_old_words() {
        let schema = StatusSchema::of(&json!({"properties": {"status": {"properties": {
            "phase": {"enum": ["RESTARTING", "RUNNING", "RELOADING", "SUSPENDED", "FAILED"]},
            "conditions": {"items": {"properties": {"type": {"enum": ["WARNING", "READY"]}, "status": {}}}},
        }}}}));
        assert_eq!(schema.word(Phase::Backfilling), Some("RELOADING"));
        assert_eq!(schema.word(Phase::Scheduled), Some("RUNNING"));
        assert_eq!(schema.type_of("Ready"), Some(("READY", false)));
        assert_eq!(schema.type_of("UpToDate"), Some(("WARNING", true)), "out of date");
        assert_eq!(schema.type_of("Stalled"), None, "its enum has no ERROR");
        assert_eq!(StatusSchema::anything().type_of("Stalled"), Some(("Stalled", false)));
    }

    #[test]
    fn no_schema_of_a_status_holds_nothing_and_an_open_one_everything() {
        assert_eq!(StatusSchema::of(&json!({"properties": {}})).word(Phase::Running), None);
        let open = json!({"properties": {"status": {"x-kubernetes-preserve-unknown-fields": true}}});
        assert!(StatusSchema::of(&open).condition_holds("reason"));
        assert_eq!(StatusSchema::of(&json!({"x-kubernetes-preserve-unknown-fields": true})), StatusSchema::anything());
    }
}
