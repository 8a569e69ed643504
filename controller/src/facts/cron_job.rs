use arcane_common::{
    api::well_known,
    identity::{ObjectName, Uid},
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::{Resource, ResourceExt};

use super::{Owner, job::controller_of};

/// A CronJob of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronJobFacts {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// Who controls it.
    pub owner: Option<Owner>,
    /// The hash of the spec that its runs are made for.
    pub configuration_hash: Option<String>,
    /// The generation of the stream that its runs are made for; absent on CronJobs of the older operator.
    pub stream_generation: Option<i64>,
    /// The class that its runs are made with.
    pub class: Option<String>,
    /// The hash of the template that its runs are made from.
    pub template_hash: Option<String>,
    /// The value of `arcane/restarted-at` on the stream when it was made.
    pub restarted_at: Option<String>,
    /// When it starts a run.
    pub schedule: String,
    /// Whether it never starts a run beside another.
    pub forbids_concurrency: bool,
    /// Whether it starts no run.
    pub suspended: bool,
    /// When we suspended it.
    pub suspended_at: Option<Timestamp>,
    /// The names of its runs that have not ended, as Kubernetes' CronJob controller counts them.
    pub active: Vec<String>,
    /// When a run last succeeded.
    pub last_success: Option<Timestamp>,
    /// Whether it has annotations at all.
    pub has_annotations: bool,
    /// When its deletion was asked for.
    pub deleting_since: Option<Timestamp>,
    /// When it was created.
    pub created: Option<Timestamp>,
}

impl CronJobFacts {
    /// Reads a CronJob.
    pub fn of(cron_job: &CronJob) -> Self {
        let annotation = |key: &str| cron_job.annotations().get(key).filter(|value| !value.is_empty()).cloned();
        let spec = &cron_job.spec;
        let status = cron_job.status.as_ref();
        let active = status.and_then(|status| status.active.as_deref()).unwrap_or_default();
        Self {
            name: ObjectName::new(cron_job.namespace().unwrap_or_default(), cron_job.name_any()),
            uid: Uid::new(cron_job.uid().unwrap_or_default()),
            resource_version: cron_job.resource_version().unwrap_or_default(),
            owner: controller_of(cron_job.owner_references()),
            configuration_hash: annotation(well_known::ANNOTATION_CONFIGURATION_HASH),
            stream_generation: annotation(well_known::ANNOTATION_STREAM_GENERATION)
                .and_then(|generation| generation.parse().ok()),
            class: annotation(well_known::ANNOTATION_STREAM_CLASS),
            template_hash: annotation(well_known::ANNOTATION_TEMPLATE_HASH),
            restarted_at: annotation(well_known::ANNOTATION_RESTARTED_AT),
            schedule: spec.schedule.clone(),
            forbids_concurrency: spec.concurrency_policy.as_deref() == Some("Forbid"),
            suspended: spec.suspend.unwrap_or(false),
            suspended_at: annotation(well_known::ANNOTATION_SUSPENDED_AT).and_then(|time| time.parse().ok()),
            active: active.iter().filter_map(|run| run.name.clone()).collect(),
            last_success: status.and_then(|status| status.last_successful_time.as_ref()).map(|time| time.0),
            has_annotations: cron_job.metadata.annotations.is_some(),
            deleting_since: cron_job.meta().deletion_timestamp.as_ref().map(|time| time.0),
            created: cron_job.meta().creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_cron_job_says_is_read() {
        let cron_job: CronJob = serde_json::from_value(json!({
            "metadata": {
                "name": "orders", "namespace": "data", "uid": "u",
                "annotations": {"arcane/suspended-at": "2024-01-01T00:00:00Z", "arcane/stream-generation": "7"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"},
                    {"apiVersion": "acme.io/v1", "kind": "Order", "name": "orders", "uid": "s", "controller": true},
                ],
            },
            "spec": {
                "schedule": "0 * * * *", "concurrencyPolicy": "Forbid", "suspend": true,
                "jobTemplate": {"spec": {"template": {}}},
            },
            "status": {"active": [{"name": "orders-1"}], "lastSuccessfulTime": "2024-01-02T00:00:00Z"},
        }))
        .unwrap();
        let facts = CronJobFacts::of(&cron_job);
        assert_eq!(facts.owner.map(|owner| owner.uid), Some(Uid::new("s")));
        assert_eq!(facts.stream_generation, Some(7));
        assert_eq!(facts.suspended_at, "2024-01-01T00:00:00Z".parse().ok());
        assert_eq!(facts.last_success, "2024-01-02T00:00:00Z".parse().ok());
        assert_eq!(facts.active, ["orders-1"]);
        assert!(facts.suspended && facts.forbids_concurrency && facts.has_annotations);
    }

    #[test]
    fn what_is_not_said_is_kubernetes_default() {
        let cron_job: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "orders"},
            "spec": {"schedule": "0 * * * *", "jobTemplate": {}},
        }))
        .unwrap();
        let facts = CronJobFacts::of(&cron_job);
        assert!(!facts.suspended && !facts.forbids_concurrency && !facts.has_annotations);
        assert_eq!((facts.suspended_at, facts.last_success, facts.stream_generation), (None, None, None));
    }
}
