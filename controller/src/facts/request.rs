use arcane_common::{
    api::{
        backfill_request::{BackfillRequest, BackfillRequestPhase},
        well_known,
    },
    identity::{ObjectName, Uid},
    validation::{join, validate_backfill_request},
};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::Value;

/// A BackfillRequest.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFacts {
    /// Its namespace and name; the name is the backfill's id.
    pub name: ObjectName,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// UIDs of its owners.
    pub owners: Vec<Uid>,
    /// `spec.streamClass`.
    pub class: String,
    /// `spec.streamId`.
    pub stream: String,
    /// `spec.completed`.
    pub completed: bool,
    /// `spec.payload`.
    pub payload: Option<Value>,
    /// The whole spec.
    pub spec: Value,
    /// `status.phase`.
    pub phase: Option<BackfillRequestPhase>,
    /// The reason in its condition.
    pub reason: Option<String>,
    /// The message in its condition.
    pub message: Option<String>,
    /// The Job that does it.
    pub job_name: Option<String>,
    /// The UID of the stream that accepted it.
    pub stream_uid: Option<Uid>,
    /// When its Job was first started.
    pub start_time: Option<Timestamp>,
    /// Whether `spec.completed` has been written after its completion.
    pub completed_written: bool,
    /// Why no Job can be made for it, in the webhook's words.
    pub problem: Option<String>,
}

impl RequestFacts {
    /// Reads a request.
    pub fn of(request: &BackfillRequest) -> Self {
        let status = request.status.clone().unwrap_or_default();
        let spec = serde_json::to_value(&request.spec).unwrap_or_default();
        let violations = validate_backfill_request(&request.name_any(), &spec);
        let ready = status.conditions.iter().find(|condition| condition.type_ == well_known::CONDITION_READY);
        Self {
            name: ObjectName::new(request.namespace().unwrap_or_default(), request.name_any()),
            uid: Uid::new(request.uid().unwrap_or_default()),
            resource_version: request.resource_version().unwrap_or_default(),
            created: request.meta().creation_timestamp.as_ref().map(|time| time.0),
            deleting: request.meta().deletion_timestamp.is_some(),
            owners: request.owner_references().iter().map(|owner| Uid::new(&owner.uid)).collect(),
            class: request.spec.stream_class.clone(),
            stream: request.spec.stream_id.clone(),
            completed: request.spec.completed,
            payload: request.spec.payload.clone(),
            spec,
            phase: status.phase.clone(),
            reason: ready.map(|condition| condition.reason.clone()),
            message: ready.map(|condition| condition.message.clone()),
            job_name: status.job_name.clone(),
            stream_uid: status.stream_uid.map(Uid::new),
            start_time: status.start_time.map(|time| time.0),
            completed_written: request.annotations().contains_key(well_known::ANNOTATION_COMPLETED_WRITTEN),
            problem: (!violations.is_empty()).then(|| join(&violations)),
        }
    }

    /// The stream it is for, within its namespace.
    pub fn stream_name(&self) -> ObjectName {
        ObjectName::new(&self.name.namespace, &self.stream)
    }
}
