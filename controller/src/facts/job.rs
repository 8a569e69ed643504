use arcane_common::{
    api::well_known,
    identity::{GroupKind, ObjectName, Uid},
};
use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt};

/// A Job of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// Who controls it: the stream, or for a run its CronJob.
    pub owner: Option<Owner>,
    /// The stream's kind and name, as its labels say.
    pub labelled: Option<(String, String)>,
    /// Whether it does a backfill.
    pub backfilling: bool,
    /// The UID of the request whose backfill it does.
    pub request_uid: Option<Uid>,
    /// The name of the request whose backfill it does, from its environment.
    pub backfill_id: Option<String>,
    /// The hash of the spec it was made for.
    pub configuration_hash: Option<String>,
    /// The generation of the stream it was made for; absent on Jobs of the older operator.
    pub stream_generation: Option<i64>,
    /// The class it was made with.
    pub class: Option<String>,
    /// The hash of the template it was made from.
    pub template_hash: Option<String>,
    /// The value of `arcane/restarted-at` on the stream when it was made.
    pub restarted_at: Option<String>,
    /// The TTL that its template asks for, in seconds.
    pub noted_ttl: Option<i32>,
    /// The TTL that is set on it, in seconds.
    pub ttl: Option<i32>,
    /// Whether a pod of it is ready.
    pub ready: bool,
    /// Whether somebody (a queue, say) has told the Job controller to let no pod of it run.
    pub suspended: bool,
    /// How far it is.
    pub state: JobState,
    /// When its deletion was asked for.
    pub deleting_since: Option<Timestamp>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// A controller owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Group and kind.
    pub kind: GroupKind,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: Uid,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Its pods may run.
    Unfinished,
    /// It ended well, and all its pods have ended.
    Succeeded {
        /// When its first pod was started.
        started: Option<Timestamp>,
        /// When it completed.
        finished: Option<Timestamp>,
    },
    /// It failed for good, and all its pods have ended.
    Failed {
        /// The Job controller's word, e.g. `BackoffLimitExceeded`.
        reason: String,
        /// The Job controller's sentence.
        message: String,
    },
}

impl JobFacts {
    /// Reads a Job.
    pub fn of(job: &Job) -> Self {
        let annotation = |key: &str| job.annotations().get(key).filter(|value| !value.is_empty()).cloned();
        let label = |key: &str| job.labels().get(key).cloned();
        Self {
            name: ObjectName::new(job.namespace().unwrap_or_default(), job.name_any()),
            uid: Uid::new(job.uid().unwrap_or_default()),
            resource_version: job.resource_version().unwrap_or_default(),
            owner: controller_of(job.owner_references()),
            labelled: label(well_known::LABEL_STREAM_KIND).zip(label(well_known::LABEL_STREAM_ID)),
            backfilling: job.labels().get(well_known::LABEL_BACKFILLING).is_some_and(|value| value == "true"),
            request_uid: annotation(well_known::ANNOTATION_BACKFILL_REQUEST_UID).map(Uid::new),
            backfill_id: environment(job, well_known::ENV_BACKFILL_ID),
            configuration_hash: annotation(well_known::ANNOTATION_CONFIGURATION_HASH),
            stream_generation: annotation(well_known::ANNOTATION_STREAM_GENERATION)
                .and_then(|generation| generation.parse().ok()),
            class: annotation(well_known::ANNOTATION_STREAM_CLASS),
            template_hash: annotation(well_known::ANNOTATION_TEMPLATE_HASH),
            restarted_at: annotation(well_known::ANNOTATION_RESTARTED_AT),
            noted_ttl: annotation(well_known::ANNOTATION_TTL_SECONDS_AFTER_FINISHED).and_then(|ttl| ttl.parse().ok()),
            ttl: job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished),
            ready: job.status.as_ref().and_then(|status| status.ready).is_some_and(|ready| ready > 0),
            suspended: job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default(),
            state: state(job),
            deleting_since: job.meta().deletion_timestamp.as_ref().map(|time| time.0),
            created: job.meta().creation_timestamp.as_ref().map(|time| time.0),
        }
    }

    /// Whether a CronJob controls it.
    pub fn is_run(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.kind.group == "batch" && owner.kind.kind == "CronJob")
    }

    /// Whether a pod of it should run, and none is ready.
    pub fn lacks_a_ready_pod(&self) -> bool {
        self.is_unfinished() && self.deleting_since.is_none() && !self.suspended && !self.ready
    }

    /// Whether it is on its way: its pod starts, or it is going.
    pub fn is_in_motion(&self) -> bool {
        self.lacks_a_ready_pod() || self.deleting_since.is_some()
    }

    /// Whether it ended well by itself. A program that is told to end may do so with exit code 0, and the Job controller calls
    /// its Job complete for that, though the work isn't done. One that ended in the second of its deletion counts as told,
    /// too: a deletion of ours names the version that was seen, so it never meets one that has ended.
    pub fn has_done_its_work(&self) -> bool {
        match (&self.state, self.deleting_since) {
            (JobState::Succeeded { .. }, None) => true,
            (JobState::Succeeded { finished, .. }, Some(since)) => finished.is_some_and(|finished| finished < since),
            _ => false,
        }
    }

    /// Whether its pods may run.
    pub fn is_unfinished(&self) -> bool {
        self.state == JobState::Unfinished
    }
}

/// The owner that controls an object.
pub(super) fn controller_of(owners: &[OwnerReference]) -> Option<Owner> {
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        Owner { kind: GroupKind::new(group, &owner.kind), name: owner.name.clone(), uid: Uid::new(&owner.uid) }
    })
}

/// A Job is finished when its terminal condition says so: since Kubernetes 1.31 that one
/// comes only after all of the Job's pods have ended.
fn state(job: &Job) -> JobState {
    let Some(status) = &job.status else { return JobState::Unfinished };
    let conditions = status.conditions.as_deref().unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Complete" => {
                return JobState::Succeeded {
                    started: status.start_time.as_ref().map(|time| time.0),
                    finished: status.completion_time.as_ref().map(|time| time.0),
                };
            }
            "Failed" => {
                return JobState::Failed {
                    reason: condition.reason.clone().unwrap_or_default(),
                    message: condition.message.clone().unwrap_or_default(),
                };
            }
            _ => {}
        }
    }
    JobState::Unfinished
}

fn environment(job: &Job, name: &str) -> Option<String> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let variables = pod.containers.iter().filter_map(|container| container.env.as_ref()).flatten();
    variables.filter(|variable| variable.name == name).find_map(|variable| variable.value.clone())
}
