//! The user, who does anything at any time.

use crate::{operator, state::*};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Suspend,
    Resume,
    EditSpec,
    Restart,
    Request,
    /// Sets `spec.completed`.
    Cancel(Id),
    DeleteRequest(Id),
    /// Deletes a Job by hand, in foreground.
    DeleteJob(Id),
    DeleteStream {
        foreground: bool,
    },
    /// Creates a stream of the same name.
    CreateStream,
}

/// Which of them a scenario has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    Brake,
    Changes,
    Requests,
    Jobs,
    Lives,
}

/// At most so many requests are made by hand.
const REQUESTS: usize = 2;

pub fn acts(state: &State, kinds: &[Kinds]) -> Vec<Act> {
    let mut acts = Vec::new();
    let has = |kind| kinds.contains(&kind);
    match state.stream() {
        Some(stream) if !stream.deleting => {
            if has(Kinds::Brake) {
                acts.push(if stream.suspended { Act::Resume } else { Act::Suspend });
            }
            if has(Kinds::Changes) {
                acts.extend([Act::EditSpec, Act::Restart]);
            }
            if has(Kinds::Lives) {
                acts.extend([true, false].map(|foreground| Act::DeleteStream { foreground }));
            }
        }
        None if has(Kinds::Lives) => acts.push(Act::CreateStream),
        _ => {}
    }
    let requests = state.cluster.requests.now();
    if has(Kinds::Requests) {
        if requests.len() < REQUESTS {
            acts.push(Act::Request);
        }
        let open = requests.iter().filter(|request| !request.completed && !operator::is_final(request.phase));
        acts.extend(open.map(|request| Act::Cancel(request.id)));
        acts.extend(requests.iter().map(|request| Act::DeleteRequest(request.id)));
    }
    if has(Kinds::Jobs) {
        // Who takes a Job away before its outcome is recorded, takes the outcome away.
        let is_recorded = |job: &Job| {
            let request = job.request.as_ref().and_then(|(id, _)| requests.iter().find(|request| request.id == *id));
            request.is_none_or(|request| operator::is_final(request.phase))
        };
        let has_ended_well = |job: &Job| {
            job.state == JobEnd::Succeeded
                || state.cluster.pods.iter().any(|pod| pod.job == job.id && pod.end == Some(PodEnd::Well))
        };
        let may_go = |job: &&Job| job.deleting.is_none() && (!has_ended_well(job) || is_recorded(job));
        acts.extend(state.cluster.jobs.now().iter().filter(may_go).map(|job| Act::DeleteJob(job.id)));
    }
    acts
}

pub fn take(state: &mut State, act: &Act) {
    state.left.acts -= 1;
    match act {
        Act::Suspend => {
            // Suspended before anybody has seen it: no backfill, now or later.
            let is_unseen =
                state.stream().is_some_and(|stream| stream.status.as_object().is_none_or(|it| it.is_empty()));
            if is_unseen {
                state.cluster.owed.clear();
            }
            suspend(state, true);
        }
        Act::Resume => suspend(state, false),
        Act::EditSpec => state.change_stream(|stream| {
            stream.generation += 1;
            stream.spec += 1;
        }),
        Act::Restart => state.change_stream(|stream| stream.restarted += 1),
        Act::Request => {
            let request = operator::new_request(state, String::new(), Vec::new());
            let request = Request { name: format!("by-hand-{}", request.id), ..request };
            let mut requests = state.cluster.requests.now().clone();
            requests.push(request);
            state.put_requests(requests);
        }
        Act::Cancel(id) => {
            state.cluster.owed.clear();
            state.change_request(*id, |request| request.completed = true);
        }
        Act::DeleteRequest(id) => {
            state.cluster.owed.clear();
            let requests = state.cluster.requests.now().iter().filter(|request| request.id != *id);
            let requests = requests.cloned().collect();
            state.put_requests(requests);
        }
        Act::DeleteJob(id) => crate::cluster::delete_job(state, *id),
        Act::DeleteStream { foreground: true } => state.change_stream(|stream| {
            stream.generation += 1;
            stream.deleting = true;
        }),
        Act::DeleteStream { foreground: false } => state.put_stream(None),
        Act::CreateStream => create_stream(state, false),
    }
}

fn suspend(state: &mut State, suspended: bool) {
    state.change_stream(|stream| {
        stream.generation += 1;
        stream.suspended = suspended;
    });
}

pub fn create_stream(state: &mut State, suspended: bool) {
    let id = state.new_id();
    if !suspended {
        state.cluster.owed.insert(id);
    }
    state.put_stream(Some(Stream {
        id,
        generation: 1,
        spec: 1,
        suspended,
        deleting: false,
        restarted: 0,
        note: None,
        status: serde_json::json!({}),
    }));
}
