//! §3.4 and the TTL of §3.8: a backfill request completes exactly once.

use arcane_common::{api::backfill_request::BackfillRequestPhase as RequestPhase, identity::ObjectName};
use arcane_controller::{
    facts::{JobState, RequestFacts},
    stream::{
        action::{Action, Role},
        observed::ObservedJob,
    },
};

use crate::reading::*;

/// Requests whose outcome the plan is about: of a stream that is there, when the decision wasn't put off.
fn judged<'a>(trial: &Trial<'a>) -> impl Iterator<Item = &'a RequestFacts> + use<'a> {
    let is_judged = !trial.observed.stream.deleting && !trial.plan.needs_pods;
    trial.observed.requests.iter().filter(move |request| is_judged && !request.deleting)
}

/// "Only its outcome counts"; "found with `completed: true` and no status: Completed".
pub(super) fn a_request_completes_only_by_its_own_jobs_success(trial: &Trial<'_>) -> bool {
    trial.request_statuses().filter(|(_, _, status)| status.phase == RequestPhase::Completed).all(|(_, name, _)| {
        trial.request(name).is_some_and(|request| {
            has_succeeded(trial.observed, request) || (request.completed && has_no_status(request))
        })
    })
}

/// Suspended, without a template, with a class that is gone: the outcome counts all the same.
pub(super) fn a_success_is_recorded(trial: &Trial<'_>) -> bool {
    judged(trial).all(|request| {
        let is_due = has_succeeded(trial.observed, request)
            && !is_settled(request)
            && !is_of_another_stream(trial.observed, request);
        !is_due || trial.writes_phase_of(request, &RequestPhase::Completed)
    })
}

pub(super) fn completion_is_recorded_before_spec_completed_is_set(trial: &Trial<'_>) -> bool {
    trial.actions().iter().enumerate().all(|(place, action)| {
        let Action::MarkCompleted { request: name } = action else { return true };
        let is_recorded = trial.request(name).is_some_and(|request| request.phase == Some(RequestPhase::Completed));
        let is_recorded_first = trial
            .request_statuses()
            .any(|(written, of, status)| written < place && of == name && status.phase == RequestPhase::Completed);
        is_recorded || is_recorded_first
    })
}

/// "Then one patch sets `spec.completed: true`"; "a GitOps tool that resets `spec.completed` starts nothing", and is not
/// fought: converged means quiet.
pub(super) fn spec_completed_is_set_once_and_only_once(trial: &Trial<'_>) -> bool {
    let marks = |request: &RequestFacts| {
        trial
            .actions()
            .iter()
            .filter(|action| matches!(action, Action::MarkCompleted { request: name } if *name == request.name))
            .count()
    };
    let right = judged(trial).all(|request| {
        let is_completed =
            request.phase == Some(RequestPhase::Completed) || trial.writes_phase_of(request, &RequestPhase::Completed);
        let is_due = is_completed && !request.completed && !request.completed_written;
        marks(request) == usize::from(is_due)
    });
    right && trial.observed.requests.iter().all(|request| marks(request) == 0 || !request.deleting)
}

pub(super) fn a_settled_request_never_runs_again(trial: &Trial<'_>) -> bool {
    let runs = |role: &Role| match role {
        Role::Streaming => true,
        Role::Backfill { request } => trial.request(request).is_some_and(|request| is_open(trial.observed, request)),
    };
    trial.actions().iter().all(|action| match action {
        Action::CreateJob { role, .. } | Action::StampJob { role, .. } => runs(role),
        _ => true,
    })
}

pub(super) fn a_settled_request_keeps_its_status(trial: &Trial<'_>) -> bool {
    trial
        .request_statuses()
        .all(|(_, name, _)| trial.request(name).is_some_and(|request| !is_settled(request) && !request.deleting))
}

/// "Set to true by a user while open: Cancelled."
pub(super) fn a_request_completed_by_a_user_is_cancelled(trial: &Trial<'_>) -> bool {
    judged(trial).all(|request| {
        let is_due = request.completed
            && !has_no_status(request)
            && !is_settled(request)
            && !has_succeeded(trial.observed, request);
        !is_due || trial.writes_phase_of(request, &RequestPhase::Cancelled)
    })
}

pub(super) fn a_request_found_completed_without_status_is_completed(trial: &Trial<'_>) -> bool {
    judged(trial).all(|request| {
        let is_due = request.completed && has_no_status(request) && !is_of_another_stream(trial.observed, request);
        !is_due || trial.writes_phase_of(request, &RequestPhase::Completed)
    })
}

/// "Deleting an open request stops its Job and streaming goes on."
pub(super) fn a_deleted_or_settled_requests_job_goes(trial: &Trial<'_>) -> bool {
    if !trial.is_active() {
        return true;
    }
    let is_of_open = |job: &ObservedJob| trial.open.iter().any(|request| does_backfill_of(job, request));
    trial
        .unfinished_own()
        .filter(|job| job.facts.backfilling && job.facts.deleting_since.is_none() && !is_of_open(job))
        .all(|job| trial.deletes(job))
}

pub(super) fn requests_run_one_after_another_oldest_first(trial: &Trial<'_>) -> bool {
    let runs = trial.request_statuses().filter(|(_, _, status)| status.phase == RequestPhase::Running);
    let is_first = |name: &ObjectName| trial.wanted_backfill().is_some_and(|request| request.name == *name);
    let is_role_first = |role: &Role| matches!(role, Role::Backfill { request } if is_first(request));
    runs.into_iter().all(|(_, name, _)| is_first(name))
        && trial.created().is_none_or(|(_, role)| *role == Role::Streaming || is_role_first(role))
}

/// "A newer request supersedes it (Cancelled)."
pub(super) fn a_failed_request_gives_way_to_a_newer_one(trial: &Trial<'_>) -> bool {
    judged(trial).filter(|request| is_open(trial.observed, request)).all(|request| {
        let is_open_still = trial.open.iter().any(|open| open.uid == request.uid);
        is_open_still || trial.writes_phase_of(request, &RequestPhase::Cancelled)
    })
}

/// "A failed one stays open"; so does one whose stream is suspended, lacks its template, or can't be read.
pub(super) fn an_open_request_is_cancelled_only_for_a_reason(trial: &Trial<'_>) -> bool {
    judged(trial).filter(|request| trial.open.iter().any(|open| open.uid == request.uid)).all(|request| {
        !trial.request_statuses().any(|(_, name, status)| *name == request.name && status.phase.is_final())
    })
}

/// "One accepted for another UID never runs."
pub(super) fn a_request_of_another_uid_never_runs(trial: &Trial<'_>) -> bool {
    let is_foreign =
        |name: &ObjectName| trial.request(name).is_some_and(|request| is_of_another_stream(trial.observed, request));
    let runs = |action: &&Action| match action {
        Action::CreateJob { role: Role::Backfill { request }, .. }
        | Action::StampJob { role: Role::Backfill { request }, .. }
        | Action::OwnRequest { request } => is_foreign(request),
        Action::WriteRequestStatus { request, status } => status.accepted && is_foreign(request),
        _ => false,
    };
    !trial.actions().iter().any(|action| runs(&action))
}

/// The request knows its stream and its Job before the Job is there.
pub(super) fn a_backfill_is_accepted_before_its_job_is_created(trial: &Trial<'_>) -> bool {
    let Some((job, Role::Backfill { request: name })) = trial.created() else { return true };
    let is_accepted = trial.request(name).is_some_and(|request| {
        request.stream_uid.as_ref() == Some(&trial.observed.stream.uid)
            && request.phase == Some(RequestPhase::Running)
            && request.job_name.as_deref() == Some(job)
    });
    is_accepted
        || trial.request_statuses().any(|(_, of, status)| {
            of == name
                && status.accepted
                && status.phase == RequestPhase::Running
                && status.job_name.as_deref() == Some(job)
        })
}

fn is_finished_backfill(job: &ObservedJob) -> bool {
    job.facts.backfilling && job.facts.state != JobState::Unfinished
}

/// "Stays for its logs until its TTL, the next backfill or the stream's end."
pub(super) fn a_finished_backfill_job_is_deleted_only_for_the_next_backfill(trial: &Trial<'_>) -> bool {
    let deleted = trial.own_jobs().filter(|job| is_finished_backfill(job) && trial.deletes(job));
    // The older operator's has the name of the streaming Job.
    let mut deleted = deleted.filter(|job| !is_of_older_operator(job));
    deleted.all(|_| trial.wanted_backfill().is_some())
}

/// "Outcome first, TTL after."
pub(super) fn a_finished_backfill_job_gets_its_ttl_only_after_its_outcome_is_recorded(trial: &Trial<'_>) -> bool {
    trial.actions().iter().enumerate().all(|(place, action)| {
        let Action::SetJobTtl { uid, .. } = action else { return true };
        let job = trial.own_jobs().find(|job| job.facts.uid == *uid);
        let unrecorded = trial.observed.requests.iter().filter(|request| {
            !request.deleting && !is_settled(request) && job.is_some_and(|job| does_backfill_of(job, request))
        });
        unrecorded.into_iter().all(|request| {
            trial
                .request_statuses()
                .any(|(written, name, status)| written < place && *name == request.name && status.phase.is_final())
        })
    })
}

pub(super) fn a_well_finished_backfill_job_gets_its_ttl(trial: &Trial<'_>) -> bool {
    if trial.observed.stream.deleting || trial.plan.needs_pods {
        return true;
    }
    let is_due = |job: &&ObservedJob| {
        job.facts.backfilling
            && matches!(job.facts.state, JobState::Succeeded { .. })
            && job.facts.noted_ttl.is_some()
            && job.facts.ttl.is_none()
            && job.facts.deleting_since.is_none()
    };
    trial.own_jobs().filter(is_due).all(|job| {
        trial.deletes(job)
            || trial.actions().iter().any(|action| {
                matches!(action, Action::SetJobTtl { uid, seconds, .. }
                    if *uid == job.facts.uid && Some(*seconds) == job.facts.noted_ttl)
            })
    })
}

/// A failed Job stays for its logs; a streaming Job is deleted by us; an unfinished one has no outcome yet.
pub(super) fn nothing_else_ever_gets_a_ttl(trial: &Trial<'_>) -> bool {
    trial.actions().iter().all(|action| {
        let Action::SetJobTtl { uid, .. } = action else { return true };
        trial.own_jobs().any(|job| {
            job.facts.uid == *uid && job.facts.backfilling && matches!(job.facts.state, JobState::Succeeded { .. })
        })
    })
}

/// §3.13: what stands there is not written again.
pub(super) fn a_requests_status_is_written_only_where_it_differs(trial: &Trial<'_>) -> bool {
    trial.request_statuses().all(|(_, name, status)| {
        trial.request(name).is_none_or(|request| {
            request.phase.as_ref() != Some(&status.phase)
                || request.reason.as_deref() != Some(status.reason)
                || request.message.as_deref() != Some(status.message.as_str())
                || (status.job_name.is_some() && request.job_name != status.job_name)
                || (status.accepted && request.stream_uid.is_none())
        })
    })
}
