//! What is recorded before anything else is decided: how backfills ended, and which requests are still open.

use arcane_common::api::backfill_request::BackfillRequestPhase;

use crate::{
    facts::{JobState, RequestFacts},
    stream::{
        action::{Action, Plan, RequestStatus},
        observed::Observed,
    },
};

/// Records outcomes and returns the requests that are open after that, oldest first.
pub(super) fn record<'a>(observed: &'a Observed, plan: &mut Plan) -> Vec<&'a RequestFacts> {
    let mut requests: Vec<&RequestFacts> = observed.requests.iter().filter(|request| !request.deleting).collect();
    requests.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let mut open: Vec<&RequestFacts> =
        requests.into_iter().filter(|request| is_open_after_recording(observed, request, plan)).collect();
    cancel_superseded(&mut open, plan);
    queue_the_rest(&open, plan);
    let is_open = |uid| open.iter().any(|request| request.uid == uid);
    let_recorded_jobs_expire(observed, is_open, plan);
    open
}

fn is_open_after_recording(observed: &Observed, request: &RequestFacts, plan: &mut Plan) -> bool {
    match &request.phase {
        Some(BackfillRequestPhase::Completed) => {
            // Written once: a tool that takes it back later starts nothing and is not fought.
            if !request.completed && !request.completed_written {
                plan.actions.push(Action::MarkCompleted { request: request.name.clone() });
            }
            return false;
        }
        Some(BackfillRequestPhase::Cancelled) => return false,
        _ => {}
    }
    let uid = &observed.stream.uid;
    if request.is_of_another_stream(uid) {
        let message = "the stream that accepted it was deleted; create another BackfillRequest for the new one";
        write(plan, request, BackfillRequestPhase::Cancelled, "StreamRecreated", message.to_owned());
        return false;
    }
    let succeeded = observed.own_jobs().find(|job| job.is_of_request(request) && job.facts.has_done_its_work());
    if let Some(job) = succeeded {
        let message = format!("Job {} completed", job.facts.name.name);
        write(plan, request, BackfillRequestPhase::Completed, "Completed", message);
        if !request.completed {
            plan.actions.push(Action::MarkCompleted { request: request.name.clone() });
        }
        return false;
    }
    if request.completed {
        let untouched = matches!(request.phase, None | Some(BackfillRequestPhase::Unknown(_)));
        if untouched {
            let message = "it was completed before it was first seen";
            write(plan, request, BackfillRequestPhase::Completed, "CompletedBefore", message.to_owned());
        } else {
            let message = "spec.completed was set while the backfill was open";
            write(plan, request, BackfillRequestPhase::Cancelled, "CancelledByUser", message.to_owned());
        }
        return false;
    }
    if let Some(problem) = &request.problem {
        // It came while no webhook judged it. It keeps nothing else from running; mended, it is open again.
        write(plan, request, BackfillRequestPhase::Pending, "InvalidSpec", problem.clone());
        return false;
    }
    true
}

/// A failed request gives way to a newer one.
fn cancel_superseded(open: &mut Vec<&RequestFacts>, plan: &mut Plan) {
    while let [first, second, ..] = open.as_slice()
        && first.phase == Some(BackfillRequestPhase::Failed)
    {
        let message = format!("it failed, and BackfillRequest {} takes its place", second.name.name);
        write(plan, first, BackfillRequestPhase::Cancelled, "Superseded", message);
        open.remove(0);
    }
}

fn queue_the_rest(open: &[&RequestFacts], plan: &mut Plan) {
    for pair in open.windows(2) {
        if let [before, request] = pair
            && request.phase != Some(BackfillRequestPhase::Failed)
        {
            let message = format!("waits for BackfillRequest {}", before.name.name);
            write(plan, request, BackfillRequestPhase::Pending, "Queued", message);
        }
    }
}

/// Jobs carry no TTL while their outcome may be unrecorded.
fn let_recorded_jobs_expire(
    observed: &Observed,
    is_open: impl Fn(arcane_common::identity::Uid) -> bool,
    plan: &mut Plan,
) {
    for job in observed.own_jobs() {
        let facts = &job.facts;
        let ended_well = facts.backfilling && matches!(facts.state, JobState::Succeeded { .. });
        if let (true, None, Some(seconds), None) = (ended_well, facts.ttl, facts.noted_ttl, facts.deleting_since)
            && !facts.request_uid.clone().is_some_and(&is_open)
        {
            plan.actions.push(Action::SetJobTtl { name: facts.name.name.clone(), uid: facts.uid.clone(), seconds });
        }
    }
}

/// Plans a request's status where it differs from what stands there.
pub(super) fn write(
    plan: &mut Plan,
    request: &RequestFacts,
    phase: BackfillRequestPhase,
    reason: &'static str,
    message: String,
) {
    let status = RequestStatus { phase, reason, message, job_name: None, accepted: false };
    write_status(plan, request, status);
}

/// Plans a request's status where it differs from what stands there.
pub(super) fn write_status(plan: &mut Plan, request: &RequestFacts, status: RequestStatus) {
    let is_said = request.phase.as_ref() == Some(&status.phase)
        && request.reason.as_deref() == Some(status.reason)
        && request.message.as_deref() == Some(status.message.as_str())
        && (status.job_name.is_none() || request.job_name == status.job_name)
        && (!status.accepted || request.stream_uid.is_some());
    if !is_said {
        plan.actions.push(Action::WriteRequestStatus { request: request.name.clone(), status });
    }
}
