//! §3.5, §3.6, §3.12 and the takeover of §4: what replaces a running Job, and what doesn't.

use arcane_common::stream::Phase;
use arcane_controller::stream::{
    action::{Action, Role},
    observed::{ObservedJob, Standing},
};

use crate::{made, reading::*};

/// The Job that does what is wanted, if exactly one Job is at work.
fn at_work<'a>(trial: &Trial<'a>) -> Option<&'a ObservedJob> {
    let mut unfinished = trial.unfinished_own();
    let job = unfinished.next().filter(|job| job.facts.deleting_since.is_none())?;
    unfinished.next().is_none().then_some(job).filter(|job| trial.is_wanted(job))
}

/// "The running Job is replaced, if generation **and** hash differ." What can't be made again isn't stopped (§3.6).
pub(super) fn a_spec_change_replaces_the_running_job(trial: &Trial<'_>) -> bool {
    let due = at_work(trial).filter(|job| trial.is_active() && trial.is_of_earlier_spec(job) && trial.can_be_made());
    due.is_none_or(|job| trial.deletes(job))
}

/// §3.7: "a new value of `arcane/restarted-at` (which restarts a running stream too)".
pub(super) fn a_new_restarted_at_replaces_the_running_job(trial: &Trial<'_>) -> bool {
    let due = at_work(trial).filter(|job| trial.is_active() && trial.is_before_restart(job) && trial.can_be_made());
    due.is_none_or(|job| trial.deletes(job))
}

pub(super) fn metadata_or_suspension_alone_restarts_nothing(trial: &Trial<'_>) -> bool {
    if !trial.is_active() {
        return true;
    }
    at_work(trial)
        .filter(|job| trial.is_rolled(job) != Some(Standing::Turn))
        .is_none_or(|job| trial.is_of_earlier_spec(job) || trial.is_before_restart(job) || !trial.deletes(job))
}

/// `OnDelete` "keeps running Jobs and says so in a condition".
pub(super) fn a_template_change_alone_restarts_nothing_and_is_spoken_of(trial: &Trial<'_>) -> bool {
    let Some(Ok(template)) = trial.wanted_template().filter(|_| trial.is_active()) else { return true };
    let due = at_work(trial).filter(|job| {
        let is_of_another = job.facts.template_hash.as_ref().is_some_and(|hash| *hash != template.hash);
        is_of_another && is_kept(trial, job) && trial.is_rolled(job).is_none()
    });
    due.is_none_or(|job| {
        let mut conditions = trial.status().and_then(|status| status.conditions.as_deref()).into_iter().flatten();
        let is_said = conditions.any(|condition| condition.reason == "TemplateChanged" && !condition.holds);
        !trial.deletes(job) && is_said
    })
}

fn is_kept(trial: &Trial<'_>, job: &ObservedJob) -> bool {
    !trial.is_of_earlier_spec(job) && !trial.is_before_restart(job)
}

/// The streaming Job at work that a rolling update is about, and where it stands in that.
fn rolled<'a>(trial: &Trial<'a>) -> Option<(&'a ObservedJob, Standing)> {
    let job = at_work(trial).filter(|_| trial.is_active())?;
    Some((job, trial.is_rolled(job)?))
}

/// `RollingUpdate` "replaces streaming Jobs".
pub(super) fn in_its_turn_an_outdated_job_is_replaced(trial: &Trial<'_>) -> bool {
    rolled(trial).is_none_or(|(job, standing)| standing != Standing::Turn || trial.deletes(job))
}

/// "At most `maxUnavailable` at a time, and stops at the first that fails": whose turn it isn't runs on, and says why.
pub(super) fn out_of_its_turn_an_outdated_job_runs_on_and_is_spoken_of(trial: &Trial<'_>) -> bool {
    let due = rolled(trial).filter(|(job, standing)| *standing != Standing::Turn && is_kept(trial, job));
    due.is_none_or(|(job, standing)| {
        let conditions = trial.status().and_then(|status| status.conditions.as_deref());
        let outdated = conditions.into_iter().flatten().find(|condition| condition.type_ == "UpToDate");
        let said = outdated.filter(|condition| !condition.holds).map(|condition| condition.reason.as_str());
        let wanted = match standing {
            // Nothing, rather than what may have to be taken back.
            Standing::Unknown => None,
            Standing::Stopped => Some("RollingUpdateStopped"),
            Standing::Waits | Standing::Turn => Some("RollingUpdate"),
        };
        !trial.deletes(job) && said == wanted
    })
}

/// "Running backfills are never rolled."
pub(super) fn a_running_backfill_is_never_rolled(trial: &Trial<'_>) -> bool {
    let backfill = at_work(trial).filter(|job| job.facts.backfilling && trial.is_active() && is_kept(trial, job));
    backfill.is_none_or(|job| !trial.deletes(job))
}

/// What runs by right is the streaming Job, or the wanted backfill's. A streaming Job that is to be replaced, and can be,
/// is replaced though a backfill waits.
pub(super) fn a_missing_template_stops_nothing_that_runs(trial: &Trial<'_>) -> bool {
    let is_beside = trial.unfinished_own().nth(1).is_some() || trial.cron_job().is_some();
    if !trial.is_active() || trial.can_be_made() || is_beside {
        return true;
    }
    let can_stream = trial.asked().is_some_and(|asked| asked.streaming_template.is_ok());
    let is_replaced = |job: &ObservedJob| {
        let is_old = trial.is_batch()
            || trial.is_of_earlier_spec(job)
            || trial.is_before_restart(job)
            || trial.is_rolled(job) == Some(Standing::Turn);
        !job.facts.backfilling && can_stream && is_old
    };
    trial
        .unfinished_own()
        .filter(|job| !job.facts.backfilling || trial.is_wanted(job))
        .all(|job| !trial.deletes(job) || is_replaced(job))
}

/// "`Pending`, condition with the webhook's words." Said of what would otherwise be created now.
pub(super) fn a_missing_template_is_waited_for_with_its_own_words(trial: &Trial<'_>) -> bool {
    let Some((_, role)) = trial.created() else { return true };
    // A missing template is no reason to leave `Failed`; nor is one that was changed and is missing now.
    if trial.phase() == Some(Phase::Failed) {
        return true;
    }
    let mut other = trial.observed.clone();
    let Ok(asked) = &mut other.asked else { return true };
    match role {
        Role::Streaming => asked.streaming_template = made::missing_template(),
        Role::Backfill { .. } => asked.backfill_template = made::missing_template(),
    }
    let Err(problem) = made::missing_template() else { return true };
    let plan = (trial.decide)(&other);
    let is_said = stream_status(&plan).is_some_and(|status| {
        let message = status.conditions.iter().flatten().find(|condition| condition.type_ == "Reconciling");
        status.phase == Some(Phase::Pending)
            && says(status, "Reconciling", problem.reason)
            && message.is_some_and(|condition| condition.message.contains(&problem.message))
    });
    // While a streaming Job is there that ended well, the stream may go on without the backfill.
    let goes_on = matches!(role, Role::Backfill { .. })
        && (own_jobs(&other).any(|job| !job.facts.backfilling) || own_cron_jobs(&other).next().is_some());
    created(&plan).is_none() && (is_said || goes_on)
}

/// §3.12: "Jobs of a deleted class keep running, untouched."
pub(super) fn what_a_stream_cant_ask_for_touches_no_job(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    if stream.deleting || stream.suspended || trial.observed.asked.is_ok() {
        return true;
    }
    let touches_cron_job = |action: &Action| {
        matches!(
            action,
            Action::CreateCronJob { .. }
                | Action::DeleteCronJob { .. }
                | Action::SuspendCronJob { .. }
                | Action::ResumeCronJob { .. }
                | Action::UpdateCronJob { .. }
                | Action::EndRun { .. }
        )
    };
    !trial.creates() && trial.deleted().next().is_none() && !trial.actions().iter().any(touches_cron_job)
}

pub(super) fn what_a_stream_cant_ask_for_is_said_in_its_own_words(trial: &Trial<'_>) -> bool {
    let stream = &trial.observed.stream;
    let Err(problem) = &trial.observed.asked else { return true };
    // Of a failure it is the failure that is said.
    if stream.deleting || stream.suspended || trial.plan.needs_pods || trial.phase() == Some(Phase::Failed) {
        return true;
    }
    trial.status().is_some_and(|status| {
        let is_failure = status.phase == Some(Phase::Failed);
        let type_ = if problem.stalled { "Stalled" } else { "Reconciling" };
        let mut conditions = status.conditions.iter().flatten();
        is_failure
            || (says(status, type_, problem.reason)
                && conditions.any(|condition| condition.type_ == type_ && condition.message.contains(&problem.message)))
    })
}

fn stamps(trial: &Trial<'_>, job: &ObservedJob) -> bool {
    trial.actions().iter().any(|action| matches!(action, Action::StampJob { uid, .. } if *uid == job.facts.uid))
}

pub(super) fn a_current_job_of_the_older_operator_is_stamped_and_not_restarted(trial: &Trial<'_>) -> bool {
    let due = at_work(trial).filter(|job| trial.is_active() && is_of_older_operator(job) && job.hash_matches);
    due.is_none_or(|job| stamps(trial, job) && !trial.deletes(job))
}

pub(super) fn a_stale_job_of_the_older_operator_is_replaced_and_not_stamped(trial: &Trial<'_>) -> bool {
    trial.own_jobs().all(|job| !stamps(trial, job) || (is_of_older_operator(job) && job.hash_matches))
}
