//! §3.3: the brake.

use arcane_common::stream::Phase;
use arcane_controller::stream::{
    action::{Action, Role},
    observed::{ObservedJob, Pods},
};

use crate::reading::*;

pub(super) fn a_suspended_stream_creates_nothing_and_deletes_every_unfinished_job_of_its_own(
    trial: &Trial<'_>,
) -> bool {
    if !trial.is_paused() {
        return true;
    }
    let goes = |job: &ObservedJob| {
        job.facts.deleting_since.is_some() || trial.deletes(job) || is_about_to_complete(trial, job)
    };
    !trial.creates() && (trial.plan.needs_pods || trial.unfinished_own().all(goes))
}

/// A backfill whose pod has ended well counts as done, and not as stopped, as soon as the Job controller says so.
fn is_about_to_complete(trial: &Trial<'_>, job: &ObservedJob) -> bool {
    let Pods::Listed(pods) = &trial.observed.pods else { return false };
    let mut of_job = pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.facts.uid)).peekable();
    job.facts.backfilling
        && trial.plan.look_again.is_some()
        && of_job.peek().is_some()
        && of_job.all(|pod| pod.finished && pod.succeeded)
}

/// "Definition kept": nothing but what runs goes.
pub(super) fn a_suspended_stream_keeps_its_finished_jobs(trial: &Trial<'_>) -> bool {
    !trial.is_paused() || trial.deleted().all(|uid| trial.unfinished_own().any(|job| job.facts.uid == *uid))
}

/// kstatus: "Suspended is `Ready=True` with that reason".
pub(super) fn a_suspended_stream_without_a_job_is_ready_and_suspended(trial: &Trial<'_>) -> bool {
    if !trial.is_paused() || trial.unfinished_own().next().is_some() || trial.own_cron_jobs().next().is_some() {
        return true;
    }
    trial.status().is_some_and(|status| {
        status.phase == Some(Phase::Suspended) && status.job_name.is_none() && says(status, "Ready", "Suspended")
    })
}

/// §3.1: "Suspended → `Suspended`, no backfill now or later": what is recorded makes it an old stream.
pub(super) fn a_suspended_stream_gets_no_backfill(trial: &Trial<'_>) -> bool {
    let creates = |action: &Action| matches!(action, Action::CreateInitialRequest { .. });
    let is_out = trial.observed.stream.suspended || trial.phase().is_some();
    !is_out || !trial.actions().iter().any(creates)
}

/// "The backfill continues with the same id; else streaming. In every phase."
pub(super) fn a_resumed_stream_goes_on_with_its_open_backfill_else_streams(trial: &Trial<'_>) -> bool {
    let Some((_, role)) = trial.created() else { return true };
    match (role, trial.wanted_backfill()) {
        (Role::Streaming, None) => true,
        (Role::Backfill { request }, Some(wanted)) => *request == wanted.name,
        // A backfill that can't start is no reason to stop what runs.
        (Role::Streaming, Some(_)) => !trial.can_be_made(),
        (Role::Backfill { .. }, None) => false,
    }
}
