//! BackfillRequest: one backfill of one stream.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use super::lenient;
use super::vocabulary::vocabulary;

/// Asks for one backfill of one stream.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streaming.sneaksanddata.com",
    version = "v1",
    kind = "BackfillRequest",
    plural = "backfillrequests",
    singular = "backfillrequest",
    shortname = "bfr",
    category = "arcane",
    namespaced,
    status = "BackfillRequestStatus",
    derive = "PartialEq",
    doc = "A BackfillRequest asks for one backfill of one stream: the stream's Job is replaced by a backfill Job, and streaming goes on when that has succeeded.",
    selectable = ".spec.completed",
    selectable = ".spec.streamId",
    printcolumn(name = "Stream", type_ = "string", json_path = ".spec.streamId"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.streamClass", priority = 1),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Completed", type_ = "boolean", json_path = ".spec.completed"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.jobName", priority = 1),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.startTime", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRequestSpec {
    /// The name of a StreamClass of the stream. It can't be changed.
    #[serde(default, deserialize_with = "lenient::or_default")]
    #[schemars(!default, length(min = 1), extend("x-kubernetes-validations" = [{
        "rule": "self == oldSelf",
        "message": "streamClass can't be changed: create another BackfillRequest instead",
    }]))]
    pub stream_class: String,

    /// The name of the stream, in the request's own namespace. It can't be
    /// changed.
    #[serde(default, deserialize_with = "lenient::or_default")]
    #[schemars(!default, length(min = 1), extend("x-kubernetes-validations" = [{
        "rule": "self == oldSelf",
        "message": "streamId can't be changed: create another BackfillRequest instead",
    }]))]
    pub stream_id: String,

    /// Whether the backfill is done. Set by the controller once it has
    /// succeeded. Set by a user while it is open, it cancels the backfill. To
    /// set it back starts nothing: create another BackfillRequest instead.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub completed: bool,

    /// An object that is passed to the backfill Job, as JSON in the
    /// environment variable `STREAMCONTEXT_SPEC_OVERRIDE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "lenient::free_object")]
    pub payload: Option<Value>,
}

vocabulary! {
    /// How far a backfill has come.
    pub enum BackfillRequestPhase, schema = open {
        /// It waits: for its stream, for an older request, for its Job.
        Pending,
        /// Its Job is there.
        Running,
        /// Its Job has succeeded. The end.
        Completed,
        /// Its Job has failed. It runs again when its stream leaves `Failed`.
        Failed,
        /// A user has cancelled it, or a newer request has taken its place. The end.
        Cancelled,
    }
}

impl BackfillRequestPhase {
    /// Whether nothing follows this phase.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

/// What is known of a BackfillRequest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRequestStatus {
    /// `Pending`, `Running`, `Completed`, `Failed` or `Cancelled`.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackfillRequestPhase>,

    /// What was observed: `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, deserialize_with = "lenient::elements", skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the backfill's first Job was made.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the backfill came to its end.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The name of the backfill's Job.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,

    /// The UID of the stream that the request was accepted for: it never runs
    /// for another stream, even of the same name.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub stream_uid: Option<String>,
}
