//! What there is of a stream in the cluster: looked up, then plain data that the steps judge.

use std::fmt;

use arcane_common::api::{BackfillRequest, Condition, well_known};
use arcane_tests::TestCluster;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde::Deserialize as _;

/// The namespace of the guide.
pub const NAMESPACE: &str = "data-streaming";

/// Everything of one stream.
#[derive(Debug, Default)]
pub struct Seen {
    /// The stream's phase, None without a stream.
    pub phase: Option<String>,
    /// Its condition Ready.
    pub ready: Option<Condition>,
    /// Its Jobs.
    pub jobs: Vec<SeenJob>,
    /// Its BackfillRequests.
    pub requests: Vec<SeenRequest>,
    /// Its pods.
    pub pods: Vec<SeenPod>,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct SeenPod {
    /// Its name.
    pub name: String,
    /// The name of its Job.
    pub job: String,
}

/// A Job.
#[derive(Clone, Debug)]
pub struct SeenJob {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// How it is.
    pub state: JobState,
}

/// How a Job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Nothing of it runs yet.
    Waiting,
    /// A pod of it runs.
    Runs,
    /// It ended well.
    Complete,
    /// It did not.
    Failed,
    /// It is being deleted.
    Terminating,
}

/// A BackfillRequest.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    /// Its name.
    pub name: String,
    /// `status.phase`, "" if there is none.
    pub phase: String,
    /// `spec.completed`.
    pub completed: bool,
}

impl Seen {
    /// Looks up everything of a stream.
    pub async fn of(cluster: &TestCluster, stream: &str) -> Result<Self, kube::Error> {
        let client = cluster.admin();
        let kind = GroupVersionKind::gvk(well_known::GROUP, well_known::VERSION, "SqlServerChangeTrackingStream");
        let plural = ApiResource::from_gvk_with_plural(&kind, "sqlserverchangetrackingstreams");
        let streams: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &plural);
        let jobs: Api<Job> = Api::namespaced(client.clone(), NAMESPACE);
        let requests: Api<BackfillRequest> = Api::namespaced(client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
        let of_stream = ListParams::default().labels(&format!("{}={stream}", well_known::LABEL_STREAM_ID));
        let all = ListParams::default();
        let (found, jobs, requests, pods) = tokio::try_join!(
            streams.get_opt(stream),
            jobs.list(&of_stream),
            requests.list(&all),
            pods.list(&of_stream)
        )?;
        let status = found.map(|found| found.data["status"].clone());
        let conditions = status.as_ref().and_then(|status| Vec::<Condition>::deserialize(&status["conditions"]).ok());
        Ok(Self {
            phase: status.map(|status| status["phase"].as_str().unwrap_or_default().to_owned()),
            ready: conditions.and_then(|all| Condition::find(&all, well_known::CONDITION_READY).cloned()),
            jobs: jobs.items.iter().map(|job| SeenJob::of(job, &pods.items)).collect(),
            requests: requests
                .items
                .iter()
                .filter(|request| request.spec.stream_id == stream)
                .map(SeenRequest::of)
                .collect(),
            pods: pods.items.iter().map(SeenPod::of).collect(),
        })
    }

    /// Whether the stream has this phase.
    pub fn phase_is(&self, phase: &str) -> bool {
        self.phase.as_deref() == Some(phase)
    }

    /// The Job of this name.
    pub fn job(&self, name: &str) -> Option<&SeenJob> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// Whether the Job of this name is so.
    pub fn job_is(&self, name: &str, state: JobState) -> bool {
        self.job(name).is_some_and(|job| job.state == state)
    }

    /// Whether the BackfillRequest whose name starts so is completed, in its spec and in its status.
    pub fn is_completed(&self, name: &str) -> bool {
        self.request(name).is_some_and(|request| request.completed && request.phase == "Completed")
    }

    /// The BackfillRequest whose name starts so.
    pub fn request(&self, name: &str) -> Option<&SeenRequest> {
        self.requests.iter().find(|request| request.name.starts_with(name))
    }

    /// Whether there is a pod of the Job of this name.
    pub fn has_pod_of(&self, job: &str) -> bool {
        self.pods.iter().any(|pod| pod.job == job)
    }

    /// Whether there is nothing.
    pub fn is_gone(&self) -> bool {
        let Self { phase, ready, jobs, requests, pods } = self;
        phase.is_none() && ready.is_none() && jobs.is_empty() && requests.is_empty() && pods.is_empty()
    }
}

impl SeenJob {
    fn of(job: &Job, pods: &[Pod]) -> Self {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let holds =
            |type_: &str| conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
        // Of the pods, because the Job controller counts them up to a second later.
        let runs = |pod: &Pod| {
            let owned = pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref());
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            owned && phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        let state = if job.metadata.deletion_timestamp.is_some() {
            JobState::Terminating
        } else if holds("Complete") {
            JobState::Complete
        } else if holds("Failed") {
            JobState::Failed
        } else if pods.iter().any(runs) {
            JobState::Runs
        } else {
            JobState::Waiting
        };
        Self { name: job.name_any(), uid: job.uid().unwrap_or_default(), state }
    }
}

impl SeenPod {
    fn of(pod: &Pod) -> Self {
        Self { name: pod.name_any(), job: pod.labels().get(well_known::LABEL_JOB_NAME).cloned().unwrap_or_default() }
    }
}

impl SeenRequest {
    fn of(request: &BackfillRequest) -> Self {
        let phase = request.status.as_ref().and_then(|status| status.phase.as_ref());
        Self {
            name: request.name_any(),
            phase: phase.map(|phase| phase.as_str().to_owned()).unwrap_or_default(),
            completed: request.spec.completed,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.phase {
            None => write!(formatter, "no stream")?,
            Some(phase) => write!(formatter, "phase {phase:?}")?,
        }
        if let Some(ready) = &self.ready {
            let Condition { status, reason, message, .. } = ready;
            write!(formatter, ", Ready={} {reason:?} ({message})", status.as_str())?;
        }
        let jobs: Vec<_> = self.jobs.iter().map(|job| format!("{} ({:?})", job.name, job.state)).collect();
        let requests = self.requests.iter();
        let requests: Vec<_> = requests
            .map(|request| format!("{} ({:?}, completed: {})", request.name, request.phase, request.completed))
            .collect();
        let pods: Vec<_> = self.pods.iter().map(|pod| pod.name.clone()).collect();
        for (what, names) in [("Jobs", jobs), ("pods", pods), ("BackfillRequests", requests)] {
            match names.is_empty() {
                true => write!(formatter, "; no {what}")?,
                false => write!(formatter, "; {what}: {}", names.join(", "))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(conditions: serde_json::Value, pods: serde_json::Value) -> SeenJob {
        let job = json!({"metadata": {"name": "orders", "uid": "u"}, "status": {"conditions": conditions}});
        SeenJob::of(&serde_json::from_value(job).unwrap(), &serde_json::from_value::<Vec<Pod>>(pods).unwrap())
    }

    fn pod(owner: &str, phase: &str) -> serde_json::Value {
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "orders", "uid": owner});
        json!({"metadata": {"ownerReferences": [owner]}, "status": {"phase": phase}})
    }

    #[test]
    fn the_state_of_a_job_is_read() {
        assert_eq!(job(json!([]), json!([])).state, JobState::Waiting);
        assert_eq!(job(json!([]), json!([pod("u", "Pending"), pod("another", "Running")])).state, JobState::Waiting);
        assert_eq!(job(json!([]), json!([pod("u", "Running")])).state, JobState::Runs);
        let ended = |type_: &str| job(json!([{"type": type_, "status": "True"}]), json!([])).state;
        assert_eq!(ended("Complete"), JobState::Complete);
        assert_eq!(ended("Failed"), JobState::Failed);
    }

    #[test]
    fn what_was_seen_is_one_sentence() {
        let seen = Seen {
            phase: Some("Backfilling".into()),
            jobs: vec![job(json!([]), json!([pod("u", "Running")]))],
            requests: vec![SeenRequest { name: "r-1".into(), phase: "Running".into(), completed: false }],
            ..Seen::default()
        };
        assert_eq!(
            seen.to_string(),
            "phase \"Backfilling\"; Jobs: orders (Runs); no pods; BackfillRequests: r-1 (\"Running\", completed: false)"
        );
        assert!(!seen.is_gone() && seen.request("r").is_some() && !seen.is_completed("r"));
        assert_eq!(Seen::default().to_string(), "no stream; no Jobs; no pods; no BackfillRequests");
        assert!(Seen::default().is_gone());
    }
}
