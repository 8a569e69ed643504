//! §3.10: the backend `batch`.

use arcane_common::stream::{Phase, Workload};
use arcane_controller::{
    facts::{JobFacts, JobState},
    stream::{
        action::{Action, Condition},
        observed::{ObservedCronJob, ObservedJob, Pods},
    },
};

use crate::{made, reading::*};

/// The backend is what the user has asked for, and nothing keeps it from being so.
fn is_to_be_scheduled(trial: &Trial<'_>) -> bool {
    trial.is_active() && trial.is_batch() && trial.wanted_backfill().is_none() && trial.can_be_made()
}

/// A backfill of a batch stream is wanted, and can run.
fn is_to_be_backfilled(trial: &Trial<'_>) -> bool {
    trial.is_active() && trial.is_batch() && trial.wanted_backfill().is_some() && trial.can_be_made()
}

/// "Suspend and backend switch delete it in foreground; the old one is gone before the new one starts."
pub(super) fn no_second_cron_job_is_created(trial: &Trial<'_>) -> bool {
    let creates = trial.actions().iter().filter(|action| matches!(action, Action::CreateCronJob { .. })).count();
    creates == 0 || (creates == 1 && !trial.creates() && trial.observed.cron_jobs.is_empty())
}

pub(super) fn a_cron_job_is_for_the_backend_batch_only(trial: &Trial<'_>) -> bool {
    trial.starts_runs().is_none() || (trial.is_active() && trial.is_batch())
}

/// Nothing else of the stream may write when a CronJob begins to start runs: no Job, no run but its own, no pod.
pub(super) fn runs_are_started_only_beside_nothing(trial: &Trial<'_>) -> bool {
    if trial.starts_runs().is_none() {
        return true;
    }
    let is_its_own = |run: &JobFacts| trial.cron_job().is_some_and(|cron_job| is_run_of(run, cron_job));
    let is_of_run_of_its_own = |job: &Option<arcane_common::identity::Uid>| {
        trial.unfinished_runs().any(|run| is_its_own(run) && Some(&run.uid) == job.as_ref())
    };
    let are_pods_known = match &trial.observed.pods {
        Pods::Unknown => false,
        Pods::Clear => true,
        Pods::Listed(_) => running_pods(&trial.observed.pods).all(|pod| is_of_run_of_its_own(&pod.job)),
    };
    let is_own = |cron_job: &ObservedCronJob| trial.own_cron_jobs().any(|own| own.facts.uid == cron_job.facts.uid);
    let are_all_own = trial.observed.cron_jobs.iter().all(is_own);
    let is_alone = trial.own_cron_jobs().count() <= 1;
    are_pods_known && are_all_own && is_alone && trial.unfinished_runs().all(is_its_own)
}

/// Whether a CronJob is known to start no run any more: suspended, and long enough ago for what was begun to show.
fn is_still(trial: &Trial<'_>, cron_job: &ObservedCronJob) -> bool {
    let facts = &cron_job.facts;
    let is_settled = facts.suspended_at.is_some_and(|since| {
        let passed = trial.observed.now.duration_since(since);
        passed.as_millis() >= 1_000
    });
    facts.suspended && is_settled && facts.deleting_since.is_none() && facts.active.is_empty()
}

/// "The CronJob is suspended, its current run ends, one Job runs as backfill."
pub(super) fn no_job_is_created_beside_a_cron_job_that_may_write(trial: &Trial<'_>) -> bool {
    if !trial.creates() {
        return true;
    }
    let is_of_batch = trial.is_batch() && trial.wanted_backfill().is_some();
    let are_still = trial.own_cron_jobs().all(|cron_job| is_of_batch && is_still(trial, cron_job));
    let are_own = trial.own_cron_jobs().count() == trial.observed.cron_jobs.len();
    are_still && are_own && trial.unfinished_runs().next().is_none()
}

pub(super) fn a_backfill_suspends_the_cron_job(trial: &Trial<'_>) -> bool {
    let Some(cron_job) = trial.cron_job().filter(|_| is_to_be_backfilled(trial)) else { return true };
    let is_suspended = cron_job.facts.suspended && cron_job.facts.suspended_at.is_some();
    let suspends = trial.actions().iter().any(|action| {
        matches!(action, Action::SuspendCronJob { uid, request, .. }
            if *uid == cron_job.facts.uid && Some(request) == trial.wanted_backfill().map(|request| &request.name))
    });
    suspends != is_suspended && !trial.deletes_cron_job(cron_job)
}

pub(super) fn only_a_backfill_suspends_a_cron_job(trial: &Trial<'_>) -> bool {
    let suspends = |action: &Action| matches!(action, Action::SuspendCronJob { .. });
    !trial.actions().iter().any(suspends)
        || (trial.is_active() && trial.is_batch() && trial.wanted_backfill().is_some())
}

/// "The CronJob resumes", also with a template that is missing now: it stops nothing.
pub(super) fn the_cron_job_resumes_when_the_backfill_is_over(trial: &Trial<'_>) -> bool {
    let is_over = trial.is_active() && trial.is_batch() && trial.wanted_backfill().is_none();
    let Some(cron_job) = trial.cron_job().filter(|cron_job| is_over && cron_job.facts.suspended) else { return true };
    let something_is_in_the_way = trial.observed.jobs.iter().any(|job| job.facts.state == JobState::Unfinished)
        || trial.observed.pods != Pods::Clear
        || trial.observed.cron_jobs.len() > 1
        || trial.unfinished_runs().any(|run| !is_run_of(run, cron_job))
        || trial.updates(cron_job)
        || (trial.can_be_made() && trial.is_cron_job_before_restart(cron_job))
        || (trial.phase() == Some(Phase::Failed) && !trial.has_reason_to_leave_failed());
    something_is_in_the_way || trial.starts_runs() == Some(cron_job.facts.name.name.as_str())
}

/// "Its current run ends": it isn't ended; and who waits for it says so, and names it.
pub(super) fn the_run_in_progress_is_waited_for_and_spoken_of(trial: &Trial<'_>) -> bool {
    let is_due = is_to_be_backfilled(trial)
        && trial.observed.jobs.is_empty()
        && trial.phase() != Some(Phase::Failed)
        && trial.cron_job().is_some_and(|cron_job| cron_job.facts.suspended_at.is_some())
        && trial.own_cron_jobs().count() == 1;
    let run = trial.unfinished_runs().next().map(|run| run.name.name.clone());
    let settled = trial.cron_job().is_some_and(|cron_job| {
        let since = cron_job.facts.suspended_at;
        since.is_some_and(|since| trial.observed.now.duration_since(since).as_millis() >= 1_000)
    });
    let active = trial.cron_job().filter(|_| settled).and_then(|cron_job| cron_job.facts.active.first().cloned());
    let Some(name) = run.or(active).filter(|_| is_due) else { return true };
    let ends = trial.actions().iter().any(|action| matches!(action, Action::EndRun { .. }));
    let is_said = trial.status().is_some_and(|status| {
        let mut conditions = status.conditions.iter().flatten();
        says(status, "Reconciling", "WaitingForRun") && conditions.all(|condition| condition.message.contains(&name))
    });
    !ends && is_said
}

/// "No second run at a time is its promise"; a second Job is ours to prevent: "if two are ever seen, the unwanted one
/// goes". Runs that aren't beside a Job are the CronJob controller's.
pub(super) fn a_run_is_ended_only_and_always_beside_a_job_that_is_wanted(trial: &Trial<'_>) -> bool {
    let ends = |run: &JobFacts| {
        trial.actions().iter().any(|action| matches!(action, Action::EndRun { uid, .. } if *uid == run.uid))
    };
    // A backfill without its template lets the stream go on.
    let goes_on = |job: &ObservedJob| !trial.can_be_made() && !trial.is_batch() && !job.facts.backfilling;
    let is_wanted = |job: &ObservedJob| trial.is_wanted(job) || goes_on(job);
    let stays = trial.unfinished_own().any(|job| is_wanted(job) && job.facts.deleting_since.is_none());
    let is_beside = trial.is_active() && stays;
    let is_own = |run: &JobFacts| trial.own_cron_jobs().any(|cron_job| is_run_of(run, cron_job));
    trial.observed.runs.iter().all(|run| {
        let is_due = run.state == JobState::Unfinished && run.deleting_since.is_none() && is_own(run);
        if is_beside && is_due && trial.can_be_made() { ends(run) } else { !ends(run) || (is_beside && is_due) }
    })
}

pub(super) fn a_suspended_stream_loses_its_cron_job(trial: &Trial<'_>) -> bool {
    let goes = |cron_job: &ObservedCronJob| cron_job.facts.deleting_since.is_some() || trial.deletes_cron_job(cron_job);
    let goes_on_looking = trial.plan.needs_pods;
    !trial.is_paused() || (trial.starts_runs().is_none() && (goes_on_looking || trial.own_cron_jobs().all(goes)))
}

/// And one that can't be replaced stays: "a spec change to something that can't run doesn't stop what runs" (§3.6).
pub(super) fn a_backend_switch_deletes_the_cron_job_if_the_job_can_be_made(trial: &Trial<'_>) -> bool {
    let Some(asked) = trial.asked().filter(|_| trial.is_active() && !trial.is_batch()) else { return true };
    let is_initial = trial.actions().iter().any(|action| matches!(action, Action::CreateInitialRequest { .. }));
    if is_initial || trial.unfinished_own().next().is_some() {
        return true;
    }
    let can_be_made = trial.can_be_made() || (trial.wanted_backfill().is_some() && asked.streaming_template.is_ok());
    let goes = |cron_job: &ObservedCronJob| cron_job.facts.deleting_since.is_some() || trial.deletes_cron_job(cron_job);
    if can_be_made {
        return trial.phase() == Some(Phase::Failed) || trial.own_cron_jobs().all(goes);
    }
    trial.cron_job().is_none_or(|cron_job| !trial.deletes_cron_job(cron_job))
}

pub(super) fn a_job_of_the_other_backend_goes_before_the_cron_job_comes(trial: &Trial<'_>) -> bool {
    if !is_to_be_scheduled(trial) {
        return true;
    }
    let goes = |job: &ObservedJob| job.facts.deleting_since.is_some() || trial.deletes(job);
    trial.unfinished_own().all(goes)
}

/// What a CronJob is made of, against what it would be made of today.
fn is_outdated(trial: &Trial<'_>, cron_job: &ObservedCronJob) -> bool {
    let Some(asked) = trial.asked() else { return false };
    let (Workload::Batch { schedule, .. }, Ok(template)) = (&asked.workload, &asked.streaming_template) else {
        return false;
    };
    trial.is_cron_job_of_earlier_spec(cron_job)
        || cron_job.facts.template_hash.as_ref() != Some(&template.hash)
        || cron_job.facts.schedule != *schedule
        || !cron_job.facts.forbids_concurrency
}

/// §3.5 and §3.6: coming runs follow spec and template; the run in progress goes on ("running Jobs go on as they are;
/// new ones use the new template").
pub(super) fn a_change_updates_the_cron_job_and_ends_no_run(trial: &Trial<'_>) -> bool {
    let Some(cron_job) = trial.cron_job().filter(|_| is_to_be_scheduled(trial)) else { return true };
    let stays_failed = trial.phase() == Some(Phase::Failed) && !trial.has_reason_to_leave_failed();
    if (stays_failed && cron_job.facts.suspended) || trial.is_cron_job_before_restart(cron_job) {
        return true;
    }
    let ends = trial.actions().iter().any(|action| matches!(action, Action::EndRun { .. }));
    let is_due = is_outdated(trial, cron_job) && !trial.is_refused_still(false);
    trial.updates(cron_job) == is_due && !trial.deletes_cron_job(cron_job) && !ends
}

pub(super) fn what_is_up_to_date_is_not_updated(trial: &Trial<'_>) -> bool {
    trial.own_cron_jobs().all(|cron_job| !trial.updates(cron_job) || is_outdated(trial, cron_job))
}

/// §3.7: "a new value of `arcane/restarted-at` (which restarts a running stream too)".
pub(super) fn a_new_restarted_at_replaces_the_cron_job(trial: &Trial<'_>) -> bool {
    let due = trial.cron_job().filter(|it| is_to_be_scheduled(trial) && trial.is_cron_job_before_restart(it));
    let stays_failed = trial.phase() == Some(Phase::Failed) && !trial.has_reason_to_leave_failed();
    stays_failed || due.is_none_or(|cron_job| trial.deletes_cron_job(cron_job))
}

/// By name and UID, and each once.
pub(super) fn only_own_cron_jobs_and_their_runs_are_touched(trial: &Trial<'_>) -> bool {
    let mut deleted = Vec::new();
    trial.actions().iter().all(|action| match action {
        Action::DeleteCronJob { name, uid, .. } => {
            let is_first = !deleted.contains(uid);
            deleted.push(uid.clone());
            let is_it = |it: &ObservedCronJob| it.facts.uid == *uid && it.facts.name.name == *name;
            is_first && trial.own_cron_jobs().any(|it| is_it(it) && it.facts.deleting_since.is_none())
        }
        Action::SuspendCronJob { name, uid, .. }
        | Action::ResumeCronJob { name, uid }
        | Action::UpdateCronJob { name, uid } => {
            trial.cron_job().is_some_and(|it| it.facts.uid == *uid && it.facts.name.name == *name)
        }
        Action::EndRun { name, uid } => trial.observed.runs.iter().any(|run| {
            let is_own = trial.own_cron_jobs().any(|cron_job| is_run_of(run, cron_job));
            run.uid == *uid && run.name.name == *name && is_own
        }),
        _ => true,
    })
}

/// "Named like the stream (hashed past 52)", with a suffix where that is somebody else's (§3.9).
pub(super) fn a_cron_job_is_named_after_its_stream(trial: &Trial<'_>) -> bool {
    let created = trial.actions().iter().find_map(|action| match action {
        Action::CreateCronJob { name } => Some(name),
        _ => None,
    });
    let taken = &trial.observed.taken_cron_jobs;
    created.is_none_or(|name| {
        let is_right = if taken.contains(made::STREAM) { name.starts_with(made::STREAM) } else { name == made::STREAM };
        is_right && name.len() <= 52 && !taken.contains(name)
    })
}

/// Phase `Scheduled` (CronJob in place), and Ready.
pub(super) fn a_cron_job_that_starts_runs_shows_in_the_phase(trial: &Trial<'_>) -> bool {
    let is_asked = trial.is_active() && trial.is_batch() && trial.wanted_backfill().is_none();
    let is_alone = trial.unfinished_own().next().is_none();
    let due = trial.cron_job().filter(|it| is_asked && is_alone && !it.facts.suspended && !trial.deletes_cron_job(it));
    due.is_none_or(|cron_job| {
        trial.status().is_some_and(|status| {
            status.phase == Some(Phase::Scheduled)
                && status.job_name.as_ref() == Some(&cron_job.facts.name.name)
                && says(status, "Ready", "Scheduled")
        })
    })
}

fn last_run_failed<'a>(trial: &Trial<'a>) -> Option<&'a Condition> {
    let mut conditions = trial.status().and_then(|status| status.conditions.as_deref()).into_iter().flatten();
    conditions.find(|condition| condition.type_ == "LastRunSucceeded" && !condition.holds)
}

/// "Failing runs shown in a condition", with what became of the pod; until one succeeds.
pub(super) fn a_failing_run_shows_in_a_condition(trial: &Trial<'_>) -> bool {
    let is_scheduled = trial.status().is_some_and(|status| says(status, "Ready", "Scheduled"));
    let shows = trial.is_active() && trial.is_batch() && is_scheduled;
    if !shows {
        return trial.observed.stream.deleting || last_run_failed(trial).is_none() || !trial.is_batch();
    }
    let ended = trial.observed.runs.iter().filter(|run| run.state != JobState::Unfinished);
    let Some(last) = ended.max_by_key(|run| run.created) else {
        let told = trial.observed.told_run.as_ref();
        let successes = trial.own_cron_jobs().filter_map(|cron_job| cron_job.facts.last_success);
        let is_over = told.is_some_and(|told| successes.into_iter().any(|last| Some(last) > told.since));
        return last_run_failed(trial).map(|it| &it.message) == told.filter(|_| !is_over).map(|told| &told.message);
    };
    match (&last.state, last_run_failed(trial)) {
        (JobState::Failed { .. }, Some(condition)) => {
            let is_of_pod = running_pods(&trial.observed.pods).next().is_none();
            let listed = matches!(&trial.observed.pods, Pods::Listed(pods) if pods.iter().any(|pod| pod.finished));
            let is_news = trial.observed.told_run.is_none();
            condition.message.contains(&last.name.name)
                && (!listed || !is_of_pod || !is_news || condition.message.contains(made::TROUBLE))
        }
        (JobState::Failed { .. }, None) | (_, Some(_)) => false,
        (_, None) => true,
    }
}

/// What was told isn't asked for again.
pub(super) fn a_failing_run_that_was_told_needs_no_pods(trial: &Trial<'_>) -> bool {
    let Some(told) = &trial.observed.told_run else { return true };
    let is_quiet = trial.asked().is_some_and(|asked| matches!(asked.workload, Workload::Batch { .. }))
        && !trial.observed.stream.suspended
        && trial.observed.jobs.is_empty()
        && trial.open.is_empty()
        && trial.cron_job().is_some_and(|cron_job| !cron_job.facts.suspended)
        && trial.observed.cron_jobs.len() == 1
        && trial.observed.runs.iter().all(|run| told.message.contains(&run.name.name));
    !is_quiet || !trial.plan.needs_pods
}
