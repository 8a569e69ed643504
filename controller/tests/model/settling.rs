//! What becomes of a state when nothing happens any more but what must: does it come to rest, and is it right then?

use crate::{
    cluster::{self, Step},
    operator::{self, Answer, Decide},
    state::*,
};

/// A stream's life is short: more than this is going round in circles.
const LIMIT: usize = 80;

/// Why a state doesn't come to a good end; `None` if it does.
pub fn goes_wrong(state: &State, decide: Decide) -> Option<&'static str> {
    let mut state = state.clone();
    for _ in 0..LIMIT {
        if let Some(broken) = state.broken {
            return Some(broken.how);
        }
        if !moves(&mut state, decide) {
            return is_wrong(&state);
        }
    }
    Some("it doesn't come to rest")
}

/// Everything that is due happens once; `false` if nothing was.
fn moves(state: &mut State, decide: Decide) -> bool {
    let mut moved = false;
    for who in 0..state.operators.len() {
        moved |= works(state, who, decide);
    }
    let due = cluster::steps(state).into_iter().find(|step| is_due(state, step));
    if let Some(step) = &due {
        cluster::take(state, step);
    }
    moved || due.is_some()
}

/// Finishes what was begun, sees what there is to see, decides, and writes.
fn works(state: &mut State, who: usize, decide: Decide) -> bool {
    let before = state.clone();
    while let Some(operator) = &state.operators[who] {
        if operator.work.is_some() {
            operator::write(state, who, Answer::Arrives, decide);
            continue;
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| operator.behind[*kind as usize] > 0) else { break };
        operator::see(state, who, kind);
    }
    operator::decide(state, who, decide);
    while state.operators[who].as_ref().is_some_and(|operator| operator.work.is_some()) {
        operator::write(state, who, Answer::Arrives, decide);
    }
    *state != before
}

/// Backfills end well in the end, what was told to end ends, and streams run on.
fn is_due(state: &State, step: &Step) -> bool {
    match step {
        Step::StartPod(id) => state.cluster.jobs.now().iter().any(|job| job.id == *id && job.deleting.is_none()),
        Step::EndPod(id, end) => {
            let job = state.cluster.jobs.now().iter().find(|job| job.id == *id);
            job.is_some_and(|job| match job.deleting {
                Some(_) => *end == PodEnd::Failed,
                None => *end == PodEnd::Well && job.request.is_some(),
            })
        }
        Step::Expire(_) => false,
        Step::Conclude(_) | Step::RemoveJob(_) | Step::RemovePod(_) | Step::Collect => true,
    }
}

/// Judges a state in which nothing moves.
fn is_wrong(state: &State) -> Option<&'static str> {
    let jobs = state.cluster.jobs.now();
    let requests = state.cluster.requests.now();
    let mut unfinished = jobs.iter().filter(|job| job.state == JobEnd::Unfinished);
    let Some(stream) = state.stream() else {
        if !jobs.is_empty() {
            return Some("a Job outlives its stream");
        }
        let forgotten = requests.iter().any(|request| !request.owners.is_empty());
        return forgotten.then_some("a request outlives its stream");
    };
    if jobs.iter().any(|job| job.owner != stream.id) {
        return Some("a Job of an earlier stream is left");
    }
    let said = |field: &str| stream.status.get(field).and_then(serde_json::Value::as_str);
    let phase = said("phase");
    if stream.status["observedGeneration"] != stream.generation {
        return Some("the last generation isn't reported");
    }
    let open = requests.iter().filter(|request| !operator::is_final(request.phase));
    if stream.suspended {
        if unfinished.next().is_some() {
            return Some("a suspended stream has an unfinished Job");
        }
        return (phase != Some("Suspended")).then_some("a suspended stream isn't called so");
    }
    if phase == Some("Failed") {
        let is_of_today = |job: &&Job| job.spec == stream.spec && job.restarted == stream.restarted;
        if jobs.iter().any(|job| job.state == JobEnd::Failed) && !jobs.iter().any(|job| is_of_today(&job)) {
            return Some("what failed isn't tried again after a change");
        }
        let failed = jobs.iter().any(|job| job.state == JobEnd::Failed);
        let tried = open.clone().all(|request| request.phase == Some("Failed"));
        return (unfinished.next().is_some() || !tried || !failed && stream.note.is_none())
            .then_some("a failed stream isn't at rest");
    }
    if open.clone().next().is_some() {
        return Some("a request is still open");
    }
    match unfinished.next() {
        None => return Some("a stream has no Job"),
        Some(job) if job.request.is_some() => return Some("a backfill that nobody asks for runs"),
        Some(job) if job.spec != stream.spec || job.restarted != stream.restarted => {
            return Some("a Job of an earlier spec runs");
        }
        Some(job) if said("jobName") != Some(&job.name) => return Some("another Job is reported than runs"),
        Some(_) => {}
    }
    if unfinished.next().is_some() {
        return Some("two Jobs run in the end");
    }
    (phase != Some("Running")).then_some("a stream that runs isn't called so")
}
