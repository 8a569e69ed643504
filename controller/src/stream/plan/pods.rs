//! A Job in place whose pods don't run: an image that can't be pulled, a Secret that isn't there, no node with room.

use std::time::Duration;

use super::status;
use crate::{
    facts::{JobFacts, PodFacts},
    stream::{
        action::{Plan, StreamStatus},
        observed::{Observed, Pods},
    },
};

/// The reason of a stream whose Job is in place, and has no pod that runs.
pub const POD_NOT_RUNNING: &str = "PodNotRunning";

/// A pod that isn't ready sooner is asked for its reason.
const PATIENCE: Duration = Duration::from_secs(15);
/// It is asked again when it has been so for twice as long, but at the latest after this.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// Lets a status say that no pod of the Job in place runs, and why; a Job with a pod that does is left as it is.
pub(super) fn say_why_none_runs(observed: &Observed, job: &JobFacts, status: &mut StreamStatus, plan: &mut Plan) {
    let Some(without_pod) = observed.without_pod.filter(|_| job.lacks_a_ready_pod()) else { return };
    // A clock that was set back counts as no time at all.
    let seen_for = Duration::try_from(without_pod.seen_for).unwrap_or_default();
    if let Some(left) = (PATIENCE + observed.rush).checked_sub(seen_for).filter(|left| !left.is_zero()) {
        if without_pod.is_told {
            // Said by a process before this one; it stays until it is known to be wrong.
            status.conditions = None;
        }
        plan.look_again = Some(left);
        return;
    }
    let Pods::Listed(pods) = &observed.pods else {
        plan.needs_pods = true;
        return;
    };
    plan.look_again = Some(seen_for.min(LOOK_AGAIN));
    if let Some(why) = why_none_runs(job, pods) {
        let message = format!("Job {} is in place, but no pod of it runs: {why}", job.name.name);
        status.conditions = Some(status::reconciling(POD_NOT_RUNNING, message));
    }
}

/// The youngest pod tells: earlier ones have been tried again.
fn why_none_runs(job: &JobFacts, pods: &[PodFacts]) -> Option<String> {
    let of_job = pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid) && !pod.deleting);
    let Some(pod) = of_job.max_by_key(|pod| pod.created) else {
        return Some(format!("there is none; `kubectl describe job {}` says why", job.name.name));
    };
    match &pod.trouble {
        Some(trouble) if pod.finished => {
            Some(format!("pod {}: {trouble}; the next one follows after a pause", pod.name))
        }
        Some(trouble) => Some(format!("pod {}: {trouble}", pod.name)),
        None if pod.pending => {
            Some(format!("pod {0} is being prepared; `kubectl describe pod {0}` says what it waits for", pod.name))
        }
        // It runs, or has just ended well.
        None => None,
    }
}
