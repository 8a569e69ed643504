use std::sync::Arc;

use arcane_common::{
    api::well_known,
    identity::{GroupKind, ObjectName, StreamKey, Uid},
    stream::{Phase, StreamDefinition, Workload, configuration_hash::configuration_hash, layout},
};
use kube::{Resource, ResourceExt, core::DynamicObject};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamFacts {
    /// Its kind, namespace and name.
    pub key: StreamKey,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// Its generation.
    pub generation: i64,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// Its label `arcane/stream-class`.
    pub class_label: Option<String>,
    /// Its annotation `arcane/restarted-at`.
    pub restarted_at: Option<String>,
    /// What is noted of its last failure.
    pub failure_note: Option<FailureNote>,
    /// Its spec.
    pub spec: Arc<Value>,
    /// The hash of its spec.
    pub configuration_hash: String,
    /// Whether its user has paused it.
    pub suspended: bool,
    /// The templates that it refers to, as far as its spec can be read.
    pub templates: Vec<ObjectName>,
    /// That of its streaming Job; `None` with the backend `batch`.
    pub streaming_template: Option<ObjectName>,
    /// Its status.
    pub recorded: RecordedStatus,
}

/// A stream's status as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedStatus {
    /// The phase; `None` where it is empty or a word we don't know.
    pub phase: Option<Phase>,
    /// Whether a phase stands there in a word that we don't know.
    pub phase_is_unknown: bool,
    /// Whether a phase stands in the annotation `arcane/phase`, too.
    pub phase_is_annotated: bool,
    /// The hash of the spec that was last acted on.
    pub configuration_hash: Option<String>,
    /// The generation that was last acted on.
    pub observed_generation: Option<i64>,
    /// The whole status, for comparison with what is to be written.
    pub raw: Value,
}

/// What must be known of a failure when its Job is gone: kept in an annotation of the stream,
/// because a plugin's status schema may have no room for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureNote {
    /// The generation that failed.
    pub generation: i64,
    /// The hash of the spec that failed.
    pub configuration_hash: String,
    /// The hash of the template at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// The hash of the template that the Job was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_template_hash: Option<String>,
    /// The value of `arcane/restarted-at` at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<String>,
    /// The UID of the request whose backfill failed; absent where the streaming Job did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_uid: Option<String>,
    /// Whether it had failed before we came, under the older operator, which leaves no words about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_before_us: bool,
}

impl FailureNote {
    /// Annotation of a stream: what failed, as JSON that only the controller reads.
    pub const ANNOTATION: &str = "arcane/last-failure";
}

impl StreamFacts {
    /// Reads a stream of the given kind.
    pub fn of(kind: &GroupKind, object: &DynamicObject) -> Self {
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let status = object.data.get("status").cloned().unwrap_or_default();
        let annotation = |key: &str| object.annotations().get(key).filter(|value| !value.is_empty());
        let annotated = annotation(well_known::ANNOTATION_PHASE);
        let word = text(&status, "phase").or_else(|| annotated.cloned());
        let phase = word.as_deref().and_then(Phase::from_recorded);
        let (phase_is_unknown, phase_is_annotated) = (word.is_some() && phase.is_none(), annotated.is_some());
        let definition = layout::read(&spec, &name.namespace).ok();
        Self {
            uid: Uid::new(object.uid().unwrap_or_default()),
            resource_version: object.resource_version().unwrap_or_default(),
            generation: object.meta().generation.unwrap_or_default(),
            deleting: object.meta().deletion_timestamp.is_some(),
            class_label: object.labels().get(well_known::LABEL_STREAM_CLASS).cloned(),
            restarted_at: annotation(well_known::ANNOTATION_RESTARTED_AT).cloned(),
            failure_note: annotation(FailureNote::ANNOTATION).and_then(|note| serde_json::from_str(note).ok()),
            configuration_hash: configuration_hash(&spec, &name.namespace),
            suspended: layout::is_suspended(&spec),
            templates: definition.as_ref().map(StreamDefinition::templates).unwrap_or_default(),
            streaming_template: definition.and_then(|definition| match definition.workload {
                Workload::ChangeCapture { template } => Some(template.target),
                Workload::Batch { .. } => None,
            }),
            spec: Arc::new(spec),
            recorded: RecordedStatus {
                phase,
                phase_is_unknown,
                phase_is_annotated,
                configuration_hash: text(&status, "configurationHash"),
                observed_generation: status.get("observedGeneration").and_then(Value::as_i64),
                raw: status,
            },
            key: StreamKey { kind: kind.clone(), name },
        }
    }
}

fn text(status: &Value, field: &str) -> Option<String> {
    status.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}
