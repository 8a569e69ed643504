//! §3.7: how a Job's end is answered.

use arcane_common::{api::backfill_request::BackfillRequestPhase as RequestPhase, stream::Phase};
use arcane_controller::{
    facts::JobState,
    stream::{
        action::{Action, Role},
        observed::{ObservedJob, Pods},
    },
};

use crate::{made, reading::*};

/// Whatever ends within this many seconds has ended at once.
const AT_ONCE: i64 = 10;

/// The wanted Job that has ended, where nothing unfinished is there and the stream isn't `Failed`.
fn ended<'a>(trial: &Trial<'a>) -> Option<&'a ObservedJob> {
    let is_idle = trial.is_active() && trial.unfinished_own().next().is_none();
    (is_idle && trial.phase() != Some(Phase::Failed)).then(|| trial.wanted_finished())?
}

fn ran_for(job: &ObservedJob) -> Option<i64> {
    let JobState::Succeeded { started, finished } = job.facts.state else { return None };
    Some(finished?.duration_since(started?).as_secs())
}

/// "Finished well: deleted and started again."
pub(super) fn a_streaming_job_that_ended_well_is_started_again(trial: &Trial<'_>) -> bool {
    let due = ended(trial).filter(|job| !job.facts.backfilling && trial.can_be_made());
    due.filter(|job| ran_for(job).is_some_and(|seconds| seconds >= AT_ONCE)).is_none_or(|job| trial.deletes(job))
}

/// "Back-off if it ends at once": not now, but looked at again; and not for ever.
pub(super) fn a_streaming_job_that_ended_at_once_is_given_time(trial: &Trial<'_>) -> bool {
    let due = ended(trial).filter(|job| !job.facts.backfilling && trial.can_be_made());
    let Some(job) = due.filter(|job| ran_for(job).is_some_and(|seconds| seconds < AT_ONCE)) else { return true };
    let JobState::Succeeded { finished: Some(finished), .. } = job.facts.state else { return true };
    let passed = trial.observed.now.duration_since(finished).as_secs();
    match passed {
        0 => !trial.deletes(job) && trial.plan.look_again.is_some(),
        ..0 => trial.plan.look_again.is_some_and(|again| again.as_secs() <= 300),
        1..=300 => true,
        _ => trial.deletes(job),
    }
}

/// A failure that nothing has made old: neither the spec nor `arcane/restarted-at` has changed since.
fn is_to_be_told(trial: &Trial<'_>, job: &ObservedJob) -> bool {
    matches!(job.facts.state, JobState::Failed { .. })
        && !trial.is_of_earlier_spec(job)
        && !trial.is_before_restart(job)
}

/// The wanted Job's failure, seen for the first time: the phase still says that the Job is in place, or nothing.
fn fresh_failure<'a>(trial: &Trial<'a>) -> Option<&'a ObservedJob> {
    let is_fresh = trial.phase().is_none_or(|phase| phase == trial.wanted_phase());
    // A backfill that can't start lets the stream go on.
    let lets_go_on = trial.wanted_backfill().is_some() && !trial.can_be_made();
    // So does a CronJob of an earlier spec.
    let goes_on = !trial.can_be_made() && trial.cron_job().is_some_and(|cron_job| !cron_job.facts.suspended);
    ended(trial).filter(|job| is_fresh && !lets_go_on && !goes_on && is_to_be_told(trial, job))
}

pub(super) fn a_failed_job_makes_the_stream_failed(trial: &Trial<'_>) -> bool {
    fresh_failure(trial).is_none_or(|job| {
        let is_said = trial
            .status()
            .is_some_and(|status| status.phase == Some(Phase::Failed) && holds(status, "Stalled") == Some(true));
        is_said && !trial.deletes(job) && !trial.creates()
    })
}

pub(super) fn a_failed_backfill_keeps_its_request_open(trial: &Trial<'_>) -> bool {
    let due = fresh_failure(trial).and(trial.wanted_backfill());
    due.is_none_or(|request| trial.writes_phase_of(request, &RequestPhase::Failed))
}

/// "Event with the pod's exit code or waiting reason."
pub(super) fn a_failure_says_what_became_of_the_pod(trial: &Trial<'_>) -> bool {
    let Some(job) = fresh_failure(trial) else { return true };
    let Pods::Listed(pods) = &trial.observed.pods else { return false };
    if !pods.iter().any(|pod| pod.job.as_ref() == Some(&job.facts.uid) && pod.trouble.is_some()) {
        return true;
    }
    let conditions = trial.status().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.message.contains(made::TROUBLE))
}

/// What says why it failed outlives a crash between the two writes.
pub(super) fn a_failure_is_noted_before_it_is_said(trial: &Trial<'_>) -> bool {
    if fresh_failure(trial).is_none() {
        return true;
    }
    let noted = trial.actions().iter().position(|action| {
        let of = trial.wanted_backfill().map(|request| &request.uid);
        matches!(action, Action::NoteFailure { request, .. } if request.as_ref() == of)
    });
    let said = trial.actions().iter().position(|action| matches!(action, Action::WriteStatus(_)));
    noted.is_some() && noted < said
}

/// A Job that fails while its class is away has failed all the same: the phase must still tell so when it is back.
pub(super) fn a_failure_while_something_is_wrong_is_not_forgotten(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    let is_blocked = !stream.deleting && !stream.suspended && trial.observed.asked.is_err() && !trial.plan.needs_pods;
    let is_fresh = trial.phase() == Some(trial.wanted_phase());
    if !is_blocked || !is_fresh || trial.unfinished_own().next().is_some() {
        return true;
    }
    let Some(_) = trial.wanted_finished().filter(|job| is_to_be_told(trial, job)) else { return true };
    trial.status().is_none_or(|status| status.phase == Some(Phase::Failed) || status.phase == trial.phase())
}

pub(super) fn failed_stays_failed_unless_something_has_changed(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    let is_still = !stream.deleting && !stream.suspended && trial.phase() == Some(Phase::Failed);
    let runs_are_started = trial.cron_job().is_some_and(|cron_job| !cron_job.facts.suspended);
    let is_idle = trial.unfinished_own().next().is_none() && !runs_are_started;
    if !is_still || !is_idle || trial.observed.asked.is_err() || trial.has_reason_to_leave_failed() {
        return true;
    }
    let stays = trial.status().is_none_or(|status| status.phase == Some(Phase::Failed));
    stays && !trial.creates() && trial.deleted().next().is_none()
}

/// "Leaves `Failed` by suspend+resume, a spec change, a change of its template, or a new value of
/// `arcane/restarted-at`."
pub(super) fn failed_is_left_when_something_has_changed(trial: &Trial<'_>) -> bool {
    let is_left = trial.is_active()
        && trial.phase() == Some(Phase::Failed)
        && trial.has_reason_to_leave_failed()
        && trial.unfinished_own().next().is_none();
    !is_left || trial.status().is_none_or(|status| status.phase != Some(Phase::Failed))
}

pub(super) fn a_failed_stream_is_resumed_after_suspension(trial: &Trial<'_>) -> bool {
    let is_resumed = trial.is_active() && trial.phase() == Some(Phase::Suspended) && trial.can_be_made();
    let failed = trial.wanted_finished().filter(|job| matches!(job.facts.state, JobState::Failed { .. }));
    let Some(job) = failed.filter(|_| is_resumed && trial.unfinished_own().next().is_none()) else { return true };
    trial.deletes(job)
}

/// `Failed` isn't said of a stream whose Job didn't fail, nor over one that runs.
pub(super) fn only_a_failed_job_makes_a_stream_failed(trial: &Trial<'_>) -> bool {
    let is_said = trial.status().is_some_and(|status| status.phase == Some(Phase::Failed));
    if !is_said || trial.phase() == Some(Phase::Failed) {
        return true;
    }
    let is_failed = |job: &ObservedJob| matches!(job.facts.state, JobState::Failed { .. });
    let runs = matches!(trial.created(), Some((_, Role::Streaming | Role::Backfill { .. })));
    let mut unfinished = trial.unfinished_own();
    trial.own_jobs().any(is_failed)
        && unfinished.all(|job| trial.deletes(job) || job.facts.deleting_since.is_some())
        && !runs
}
