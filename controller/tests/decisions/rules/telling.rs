//! "Conditions (kstatus)": what a stream's status says.

use std::time::Duration;

use arcane_common::stream::Phase;
use arcane_controller::stream::{
    action::{Action, StreamStatus},
    observed::{ObservedJob, Pods, WithoutPod},
};
use jiff::SignedDuration;

use crate::reading::*;

fn statuses<'a>(trial: &Trial<'a>) -> impl Iterator<Item = &'a StreamStatus> + use<'a> {
    trial.actions().iter().filter_map(|action| match action {
        Action::WriteStatus(status) | Action::Announce(status) => Some(status),
        _ => None,
    })
}

pub(super) fn exactly_one_of_ready_reconciling_and_stalled_holds(trial: &Trial<'_>) -> bool {
    statuses(trial).filter(|status| status.conditions.is_some()).all(|status| {
        let three = ["Ready", "Reconciling", "Stalled"].map(|type_| holds(status, type_));
        three.iter().all(Option::is_some) && three.iter().filter(|holds| **holds == Some(true)).count() == 1
    })
}

pub(super) fn every_condition_has_a_camel_case_reason_and_a_sentence(trial: &Trial<'_>) -> bool {
    let is_word = |reason: &str| {
        reason.starts_with(|first: char| first.is_ascii_uppercase())
            && reason.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let of_stream = statuses(trial)
        .flat_map(|status| status.conditions.iter().flatten())
        .all(|condition| is_word(&condition.reason) && !condition.message.is_empty());
    of_stream && trial.request_statuses().all(|(_, _, status)| is_word(status.reason) && !status.message.is_empty())
}

/// "Failed is `Stalled=True`." A status that leaves the conditions leaves what the failure said; the older operator said
/// nothing, and called the stream ready.
pub(super) fn failed_is_stalled(trial: &Trial<'_>) -> bool {
    let note = trial.observed.stream.failure_note.as_ref();
    let was_told = trial.phase() == Some(Phase::Failed) && note.is_some_and(|note| !note.was_before_us);
    statuses(trial).filter(|status| status.phase == Some(Phase::Failed)).all(|status| {
        let is_left = status.conditions.is_none() && was_told;
        is_left || holds(status, "Stalled") == Some(true)
    })
}

pub(super) fn ready_means_that_the_wanted_job_is_in_place_or_the_user_has_paused(trial: &Trial<'_>) -> bool {
    statuses(trial).filter(|status| holds(status, "Ready") == Some(true)).all(|status| {
        let is_named = |name: &str| status.job_name.as_deref() == Some(name);
        let is_in_place = trial
            .unfinished_own()
            .any(|job| job.facts.deleting_since.is_none() && !trial.deletes(job) && is_named(&job.facts.name.name));
        let is_created = trial.created().is_some_and(|(name, _)| is_named(name));
        match status.phase {
            Some(Phase::Suspended) => {
                trial.is_paused() && trial.unfinished_own().next().is_none() && trial.own_cron_jobs().next().is_none()
            }
            Some(Phase::Scheduled) => {
                let starts_runs = trial.cron_job().filter(|it| !it.facts.suspended && !trial.deletes_cron_job(it));
                starts_runs.is_some_and(|it| is_named(&it.facts.name.name)) || trial.starts_runs().is_some_and(is_named)
            }
            Some(Phase::Running | Phase::Backfilling) => is_in_place || is_created,
            _ => false,
        }
    })
}

/// A Job that runs on, undisturbed, shows: `Running` if it streams, `Backfilling` if it does a backfill.
pub(super) fn a_running_job_shows_in_the_phase(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    if stream.deleting || stream.suspended || trial.plan.needs_pods {
        return true;
    }
    let mut unfinished = trial.unfinished_own();
    let (Some(job), None) = (unfinished.next(), unfinished.next()) else { return true };
    if job.facts.deleting_since.is_some() || trial.deletes(job) {
        return true;
    }
    let phase = if job.facts.backfilling { Phase::Backfilling } else { Phase::Running };
    trial
        .status()
        .is_some_and(|status| status.phase == Some(phase) && status.job_name.as_ref() == Some(&job.facts.name.name))
}

/// A stream that was never more than wrong keeps its right to an initial backfill; all others have a phase.
pub(super) fn an_empty_phase_is_kept_only_by_a_new_stream(trial: &Trial<'_>) -> bool {
    statuses(trial)
        .filter(|status| status.phase.is_none())
        .all(|_| trial.phase().is_none() && trial.observed.asked.is_err() && !trial.observed.stream.suspended)
}

pub(super) fn the_stream_is_told_of_once(trial: &Trial<'_>) -> bool {
    statuses(trial).count() <= 1
}

/// The Job that runs on, undisturbed, without a ready pod.
fn job_without_pod<'a>(trial: &Trial<'a>) -> Option<(&'a ObservedJob, WithoutPod)> {
    let stream = &trial.observed.stream;
    if stream.deleting || stream.suspended || trial.observed.asked.is_err() {
        return None;
    }
    let mut unfinished = trial.unfinished_own();
    let (Some(job), None) = (unfinished.next(), unfinished.next()) else { return None };
    let stays = job.facts.deleting_since.is_none() && !job.facts.ready && !trial.deletes(job);
    trial.observed.without_pod.filter(|_| stays).map(|without| (job, without))
}

/// How long a pod may take; where many are on their way, it takes longer.
fn patience(trial: &Trial<'_>) -> SignedDuration {
    SignedDuration::from_secs(15) + SignedDuration::try_from(trial.observed.rush).unwrap_or_default()
}

/// "Pod trouble in the stream's condition": a pod that isn't ready in time is looked at, and again and again.
pub(super) fn a_job_without_a_ready_pod_is_looked_into(trial: &Trial<'_>) -> bool {
    job_without_pod(trial).is_none_or(|(_, without)| {
        let is_due = without.seen_for >= patience(trial);
        let is_listed = matches!(trial.observed.pods, Pods::Listed(_));
        let looks_now = trial.plan.needs_pods;
        if is_due && !is_listed { looks_now } else { looks_now || trial.plan.look_again.is_some() }
    })
}

/// Whether a status says that the stream is fine is decided by its pod, not by its Job alone.
pub(super) fn what_keeps_a_pod_from_running_is_said(trial: &Trial<'_>) -> bool {
    let Some((job, without)) = job_without_pod(trial).filter(|_| !trial.plan.needs_pods) else { return true };
    let Some(status) = trial.status() else { return false };
    if without.seen_for < patience(trial) {
        // Not known yet: what was said of it stays.
        return !without.is_told || status.conditions.is_none();
    }
    let Pods::Listed(pods) = &trial.observed.pods else { return false };
    let mut of_job = pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.facts.uid));
    let message = |status: &StreamStatus| status.conditions.iter().flatten().map(|it| it.message.clone()).next();
    match of_job.next() {
        Some(pod) if pod.trouble.is_none() && !pod.pending => holds(status, "Ready") == Some(true),
        pod => {
            let trouble = pod.and_then(|pod| pod.trouble.as_deref()).unwrap_or("kubectl describe");
            says(status, "Reconciling", "PodNotRunning") && message(status).is_some_and(|it| it.contains(trouble))
        }
    }
}

/// Its time comes when it is told twice as late as before, and in the end every five minutes.
pub(super) fn pods_are_looked_at_ever_less_often(trial: &Trial<'_>) -> bool {
    job_without_pod(trial).zip(trial.plan.look_again).is_none_or(|((_, without), wait)| {
        let seen_for = Duration::try_from(without.seen_for).unwrap_or_default();
        without.seen_for < patience(trial) || wait == seen_for.min(Duration::from_secs(300))
    })
}
