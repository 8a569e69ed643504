//! Everybody but the controller and the user: Job controller, kubelet, garbage collector.

use crate::state::*;

/// What they may do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Job controller makes the Job's pod, which runs.
    StartPod(Id),
    /// A pod ends.
    EndPod(Id, PodEnd),
    /// The Job controller sees how the pod ended, and says so in the Job.
    Conclude(Id),
    /// The garbage collector removes a Job whose pods, as far as it knows, have ended.
    RemoveJob(Id),
    /// The TTL of a finished Job has run out.
    Expire(Id),
    /// A pod without a Job has ended and is gone.
    RemovePod(Id),
    /// What the stream that is gone, or on its way, owned goes.
    Collect,
}

/// What may happen now.
pub fn steps(state: &State) -> Vec<Step> {
    let cluster = &state.cluster;
    let mut steps = Vec::new();
    for job in cluster.jobs.now() {
        let pod = cluster.pods.iter().find(|pod| pod.job == job.id);
        match (job.state, pod) {
            // A Job makes one pod: that a pod is tried again is the Job controller's own business.
            (JobEnd::Unfinished, None)
                if !cluster.started.contains(&job.id) && (job.deleting.is_none() || state.left.late_pods > 0) =>
            {
                steps.push(Step::StartPod(job.id));
            }
            (JobEnd::Unfinished, Some(pod)) => match pod.end {
                None => {
                    if job.request.is_some() || state.left.ends > 0 {
                        steps.push(Step::EndPod(job.id, PodEnd::Well));
                    }
                    if state.left.failures > 0 || job.deleting.is_some() {
                        steps.push(Step::EndPod(job.id, PodEnd::Failed));
                    }
                    if job.deleting.is_some() {
                        steps.push(Step::EndPod(job.id, PodEnd::Politely));
                    }
                }
                Some(_) => steps.push(Step::Conclude(job.id)),
            },
            _ => {}
        }
        if job.deleting.is_some() && pod.is_none_or(|pod| pod.end.is_some() || !pod.is_known) {
            steps.push(Step::RemoveJob(job.id));
        }
        if job.ttl && job.state != JobEnd::Unfinished && job.deleting.is_none() {
            steps.push(Step::Expire(job.id));
        }
    }
    let is_stray = |pod: &&Pod| cluster.jobs.now().iter().all(|job| job.id != pod.job);
    steps.extend(cluster.pods.iter().filter(is_stray).map(|pod| Step::RemovePod(pod.job)));
    if has_garbage(state) {
        steps.push(Step::Collect);
    }
    steps
}

/// Owners that are gone, or are being deleted in foreground.
fn is_lost(state: &State, owner: Id) -> bool {
    state.stream().is_none_or(|stream| stream.id != owner || stream.deleting)
}

fn has_garbage(state: &State) -> bool {
    let jobs = state.cluster.jobs.now().iter().any(|job| is_lost(state, job.owner) && job.deleting.is_none());
    jobs || state.cluster.requests.now().iter().any(|request| is_orphan(state, request))
        || state.stream().is_some_and(|stream| stream.deleting && no_job_of(state, stream.id))
}

/// One with an owner that lives is kept.
fn is_orphan(state: &State, request: &Request) -> bool {
    !request.owners.is_empty() && request.owners.iter().all(|owner| is_lost(state, *owner))
}

fn no_job_of(state: &State, stream: Id) -> bool {
    state.cluster.jobs.now().iter().all(|job| job.owner != stream)
}

pub fn take(state: &mut State, step: &Step) {
    match step {
        Step::StartPod(id) => start_pod(state, *id),
        Step::EndPod(id, end) => end_pod(state, *id, *end),
        Step::Conclude(id) => conclude(state, *id),
        Step::RemoveJob(id) | Step::Expire(id) => remove_job(state, *id),
        Step::RemovePod(id) => state.cluster.pods.retain(|pod| pod.job != *id),
        Step::Collect => collect(state),
    }
}

fn start_pod(state: &mut State, id: Id) {
    if state.cluster.pods.iter().any(|pod| pod.end.is_none()) {
        state.breaks(Invariant::SingleWriter, "a pod starts while one of another Job runs");
    }
    let is_known = state.cluster.jobs.now().iter().any(|job| job.id == id && job.deleting.is_none());
    if !is_known {
        state.left.late_pods = state.left.late_pods.saturating_sub(1);
    }
    state.cluster.pods.push(Pod { job: id, end: None, by_itself: false, is_known });
    state.cluster.pods.sort_by_key(|pod| pod.job);
    // Who watches Jobs sees nothing of that but counts, which decide nothing here.
    state.cluster.started.insert(id);
}

fn end_pod(state: &mut State, id: Id, end: PodEnd) {
    let job = state.cluster.jobs.now().iter().find(|job| job.id == id);
    let is_told = job.is_none_or(|job| job.deleting.is_some());
    let is_backfill = job.is_some_and(|job| job.request.is_some());
    match end {
        PodEnd::Well if !is_backfill => state.left.ends -= 1,
        PodEnd::Failed if !is_told => state.left.failures -= 1,
        _ => {}
    }
    if let Some(pod) = state.cluster.pods.iter_mut().find(|pod| pod.job == id) {
        pod.end = Some(end);
        pod.by_itself = !is_told;
    }
}

fn conclude(state: &mut State, id: Id) {
    let Some(pod) = state.cluster.pods.iter().find(|pod| pod.job == id) else { return };
    let (Some(end), by_itself) = (pod.end, pod.by_itself) else { return };
    // The Job controller looks at the exit code, not at who has asked for the end.
    let finished = if end == PodEnd::Failed { JobEnd::Failed } else { JobEnd::Succeeded };
    let Some(job) = state.cluster.jobs.now().iter().find(|job| job.id == id).cloned() else { return };
    if let (Some((request, _)), JobEnd::Succeeded, true) = (&job.request, finished, by_itself)
        && !state.cluster.done.insert(*request)
    {
        state.breaks(Invariant::BackfillOnce, "a backfill completes twice");
    }
    state.change_job(id, |job| job.state = finished);
}

fn remove_job(state: &mut State, id: Id) {
    let jobs = state.cluster.jobs.now().iter().filter(|job| job.id != id).cloned().collect();
    state.put_jobs(jobs);
    state.cluster.pods.retain(|pod| pod.job != id || pod.end.is_none());
}

fn collect(state: &mut State) {
    let requests = state.cluster.requests.now().iter().filter(|request| !is_orphan(state, request)).cloned().collect();
    state.put_requests(requests);
    let foreground = state.stream().filter(|stream| stream.deleting).map(|stream| stream.id);
    let jobs = state.cluster.jobs.now().clone();
    for job in jobs.iter().filter(|job| is_lost(state, job.owner) && job.deleting.is_none()).collect::<Vec<_>>() {
        if foreground == Some(job.owner) {
            delete_job(state, job.id);
        } else {
            // In background: the Job goes at once, its pods later.
            remove_job(state, job.id);
        }
    }
    if let Some(stream) = foreground
        && no_job_of(state, stream)
    {
        state.put_stream(None);
    }
}

/// What the API server makes of a deletion in foreground.
pub fn delete_job(state: &mut State, id: Id) {
    state.change_job(id, |job| {
        let when = if job.state == JobEnd::Unfinished { Deleted::WhileUnfinished } else { Deleted::WhenFinished };
        job.deleting.get_or_insert(when);
    });
}
