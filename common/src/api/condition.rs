//! Conditions, as all our kinds carry them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::lenient;
use super::vocabulary::vocabulary;

vocabulary! {
    /// Whether a condition holds.
    pub enum ConditionStatus, schema = closed {
        /// It holds.
        True,
        /// It doesn't hold.
        False,
    }
}

// The shape of Kubernetes' own `metav1.Condition`; a type of ours because
// objects stored by the Go operator have conditions without a reason or a
// time, which must still be readable.
/// One observation of an object's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, e.g. `Ready`, `Reconciling` or `Stalled`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,

    /// Whether it holds: `True`, `False` or `Unknown`.
    // `Unknown` is a word of its own here, and also what the vocabulary calls
    // every other word: both mean that nobody can say.
    #[schemars(schema_with = "status_schema")]
    pub status: ConditionStatus,

    /// One CamelCase word for programs: why the status is what it is.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// A sentence for people: what was seen, and what to do about it.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32768))]
    pub message: String,

    /// When the status last changed.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,

    /// The `metadata.generation` of the object that was observed.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// The condition of this type among `conditions`, if there.
    pub fn find<'a>(conditions: &'a [Self], type_: &str) -> Option<&'a Self> {
        conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether the condition holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

impl ConditionStatus {
    /// Nobody can say.
    pub fn unknown() -> Self {
        Self::Unknown("Unknown".to_owned())
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

fn status_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "enum": ["True", "False", "Unknown"] })
}
