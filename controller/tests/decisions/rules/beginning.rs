//! §3.1, §3.8, §3.11: a stream begins, goes on, ends.

use arcane_common::{
    api::backfill_request::BackfillRequestPhase as RequestPhase,
    identity::Uid,
    stream::{Phase, Workload},
};
use arcane_controller::{
    facts::RequestFacts,
    stream::action::{Action, Role},
};

use crate::reading::*;

/// "New = phase empty, and no request, Job or CronJob of this stream"; "an open request without payload that is
/// already there counts as the initial one". So one with a payload doesn't count; neither does one of
/// another UID, nor one that was cancelled before any stream had accepted it, nor one on its way out.
fn is_new(trial: &Trial<'_>) -> bool {
    let observed = trial.observed;
    let counts = |request: &RequestFacts| {
        let is_another = request.payload.is_some() && has_no_status(request) && !request.completed;
        let was_cancelled = request.phase == Some(RequestPhase::Cancelled) && request.stream_uid.is_none();
        !is_another && !was_cancelled && !request.deleting && !is_of_another_stream(observed, request)
    };
    let has_any = trial.own_jobs().next().is_some() || trial.own_cron_jobs().next().is_some();
    let has_a_phase = trial.phase().is_some() || observed.stream.recorded.phase_is_unknown;
    !has_a_phase && !has_any && !observed.requests.iter().any(counts)
}

pub(super) fn the_initial_request_is_created_exactly_for_new_streams(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    let wants_one = trial
        .asked()
        .is_some_and(|asked| asked.initial_backfill && matches!(asked.workload, Workload::ChangeCapture { .. }));
    let expected = !stream.deleting && !stream.suspended && wants_one && is_new(trial);
    let planned = trial.actions().iter().filter(|action| matches!(action, Action::CreateInitialRequest { .. }));
    planned.count() == usize::from(expected)
}

pub(super) fn the_initial_request_comes_before_the_phase_and_before_every_job(trial: &Trial<'_>) -> bool {
    let first = trial.actions().iter().position(|action| matches!(action, Action::CreateInitialRequest { .. }));
    first.is_none_or(|first| {
        let is_phase = |action: &Action| {
            matches!(action, Action::WriteStatus(status) | Action::Announce(status) if status.phase.is_some())
        };
        !trial.creates() && !trial.actions().iter().take(first).any(is_phase)
    })
}

pub(super) fn the_initial_request_is_named_after_the_streams_uid(trial: &Trial<'_>) -> bool {
    let name = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::CreateInitialRequest { name } => Some(name.clone()),
            _ => None,
        })
    };
    let Some(here) = name(trial.actions()) else { return true };
    let again = name(&(trial.decide)(trial.observed).actions);
    let mut other = trial.observed.clone();
    other.stream.uid = Uid::new("another-uid");
    let elsewhere = name(&(trial.decide)(&other).actions);
    again.as_ref() == Some(&here) && elsewhere.is_some_and(|elsewhere| elsewhere != here) && here.len() <= 63
}

/// §3.8 "created again", §3.3 "continues", §3.7 "started again": whatever the phase, a stream that misses its Job
/// gets it, once nothing of an earlier one is left.
pub(super) fn with_nothing_in_the_way_the_job_is_created(trial: &Trial<'_>) -> bool {
    let is_initial = trial.actions().iter().any(|action| matches!(action, Action::CreateInitialRequest { .. }));
    let stays_failed = trial.phase() == Some(Phase::Failed) && !trial.has_reason_to_leave_failed();
    let something_is_in_the_way = !trial.observed.jobs.is_empty()
        || !trial.observed.cron_jobs.is_empty()
        || !trial.observed.runs.is_empty()
        || !no_pod_can_be_left(&trial.observed.pods)
        || !trial.can_be_made()
        || is_initial
        || trial.is_refused_still(trial.wanted_backfill().is_some())
        || stays_failed;
    if !trial.is_active() || something_is_in_the_way {
        return true;
    }
    if trial.is_batch() && trial.wanted_backfill().is_none() {
        return trial.actions().iter().any(|action| matches!(action, Action::CreateCronJob { .. }));
    }
    match (trial.created(), trial.wanted_backfill()) {
        (Some((_, Role::Streaming)), None) => true,
        (Some((_, Role::Backfill { request })), Some(wanted)) => *request == wanted.name,
        _ => false,
    }
}

pub(super) fn a_stream_with_a_deletion_timestamp_plans_nothing(trial: &Trial<'_>) -> bool {
    let plan = trial.plan;
    let is_empty = plan.actions.is_empty() && plan.look_again.is_none() && !plan.needs_pods;
    !trial.observed.stream.deleting || is_empty
}
