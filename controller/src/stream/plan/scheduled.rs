//! The backend `batch`: a CronJob, which Kubernetes' CronJob controller starts runs from.
//!
//! Runs are that controller's business. Ours is that it starts none while another Job of the stream may write.

use arcane_common::stream::{Phase, Workload};

use super::{run, run::Goal, runs, start, status};
use crate::stream::{
    action::{Action, Condition, DeleteCause, Plan, StreamStatus},
    observed::{Asked, Observed, ObservedCronJob, Problem, ResolvedTemplate},
};

/// Keeps the CronJob of a stream in place, or brings it there.
pub(super) fn keep(observed: &Observed, asked: &Asked, schedule: &str, plan: &mut Plan) {
    let template = &asked.streaming_template;
    let in_place = observed.cron_job_in_place();
    delete_all_but(observed, in_place, DeleteCause::Unwanted, plan);
    // A spec that can't run doesn't stop the Job of an earlier one.
    let earlier = observed.own_jobs().filter(|job| {
        let facts = &job.facts;
        template.is_err() && in_place.is_none() && !facts.backfilling && facts.deleting_since.is_none()
    });
    let earlier = earlier.filter(|job| job.facts.is_unfinished()).min_by_key(|job| (job.facts.created, &job.facts.uid));
    for job in observed.own_jobs().filter(|job| job.facts.is_unfinished() && Some(*job) != earlier) {
        start::delete(&job.facts, DeleteCause::Unwanted, plan);
    }
    if let (Some(job), Err(problem)) = (earlier, template) {
        let name = &job.facts.name.name;
        let message = format!("the Job of the earlier spec keeps running: {}", problem.message);
        let mut status = run::in_place(Goal::Streaming, name);
        status.conditions.get_or_insert_default().push(status::outdated(problem.reason, message));
        plan.actions.push(Action::WriteStatus(status));
        return;
    }
    if in_place.is_none_or(|cron_job| cron_job.facts.suspended) && run::stays_failed(observed, asked, Goal::Streaming) {
        run::stay_failed(observed, asked, Goal::Streaming, plan);
        return;
    }
    if let Some(cron_job) = in_place {
        keep_in_place(observed, template, schedule, cron_job, plan);
        return;
    }
    let is_over = |facts: &crate::facts::JobFacts| !facts.is_unfinished() && !facts.backfilling;
    for job in observed.own_jobs().filter(|job| template.is_ok() && is_over(&job.facts)) {
        start::delete(&job.facts, DeleteCause::Unwanted, plan);
    }
    start::start(observed, asked, Goal::Streaming, plan);
}

fn keep_in_place(
    observed: &Observed,
    template: &Result<ResolvedTemplate, Problem>,
    schedule: &str,
    cron_job: &ObservedCronJob,
    plan: &mut Plan,
) {
    let facts = &cron_job.facts;
    if template.is_ok() && cron_job.is_before_a_restart(&observed.stream) {
        start::delete_cron_job(facts, DeleteCause::RestartRequested, plan);
        return;
    }
    let name = &facts.name.name;
    let outdated = match template {
        Ok(template) if is_to_be_updated(observed, template, schedule, cron_job) => {
            match start::refusal(observed, Goal::Streaming, plan) {
                Some(words) => Some(refused(name, template, words)),
                None => {
                    plan.actions.push(Action::UpdateCronJob { name: name.clone(), uid: facts.uid.clone() });
                    None
                }
            }
        }
        Ok(_) => None,
        Err(problem) => Some(stays(cron_job, problem, observed)),
    };
    let mut status = in_place(name, if outdated.is_some() { &facts.schedule } else { schedule });
    let conditions = status.conditions.get_or_insert_default();
    conditions.extend(outdated);
    conditions.extend(runs::last_failure(observed, plan));
    if !facts.suspended {
        plan.actions.push(Action::WriteStatus(status));
    } else if !plan.actions.iter().any(|action| matches!(action, Action::UpdateCronJob { .. }))
        && start::is_clear(observed, Goal::Streaming, (None, Some(facts)), plan)
    {
        plan.actions.push(Action::Announce(status));
        plan.actions.push(Action::ResumeCronJob { name: name.clone(), uid: facts.uid.clone() });
    }
}

fn is_to_be_updated(
    observed: &Observed,
    template: &ResolvedTemplate,
    schedule: &str,
    cron_job: &ObservedCronJob,
) -> bool {
    cron_job.is_of_another_spec(&observed.stream)
        || cron_job.is_of_another_template(template)
        || cron_job.facts.schedule != schedule
        || !cron_job.facts.forbids_concurrency
}

/// Sees to it that no CronJob starts a run beside the Job that is wanted; `false` if the CronJob of an earlier spec
/// goes on instead, because the Job can't be made.
pub(super) fn makes_way(observed: &Observed, asked: &Asked, goal: Goal<'_>, job_writes: bool, plan: &mut Plan) -> bool {
    let in_place = observed.cron_job_in_place();
    match (&asked.workload, goal) {
        (Workload::Batch { .. }, Goal::Backfill(request)) => {
            delete_all_but(observed, in_place, DeleteCause::Unwanted, plan);
            if let Some(cron_job) = in_place.filter(|cron_job| !cron_job.facts.is_paused()) {
                plan.actions.push(Action::SuspendCronJob {
                    name: cron_job.facts.name.name.clone(),
                    uid: cron_job.facts.uid.clone(),
                    request: request.name.clone(),
                });
            }
        }
        _ => match (goal.template(asked), in_place) {
            (Err(problem), Some(cron_job)) if !job_writes => {
                delete_all_but(observed, in_place, DeleteCause::Unwanted, plan);
                if !cron_job.facts.suspended {
                    let mut status = in_place_of(cron_job);
                    status.conditions.get_or_insert_default().push(stays(cron_job, problem, observed));
                    plan.actions.push(Action::WriteStatus(status));
                    return false;
                }
            }
            _ => delete_all_but(observed, None, DeleteCause::Unwanted, plan),
        },
    }
    if job_writes {
        runs::end(observed, plan);
    }
    true
}

fn delete_all_but(observed: &Observed, but: Option<&ObservedCronJob>, cause: DeleteCause, plan: &mut Plan) {
    for cron_job in observed.own_cron_jobs().filter(|cron_job| Some(*cron_job) != but) {
        start::delete_cron_job(&cron_job.facts, cause, plan);
    }
}

/// What is said of a CronJob that starts runs.
pub(super) fn in_place(name: &str, schedule: &str) -> StreamStatus {
    let message = format!("CronJob {name} starts a run at {schedule:?}");
    status::of(Phase::Scheduled, Some(name.to_owned()), status::ready("Scheduled", message))
}

fn in_place_of(cron_job: &ObservedCronJob) -> StreamStatus {
    in_place(&cron_job.facts.name.name, &cron_job.facts.schedule)
}

fn stays(cron_job: &ObservedCronJob, problem: &Problem, observed: &Observed) -> Condition {
    let message = if cron_job.is_of_another_spec(&observed.stream) {
        format!("the CronJob of the earlier spec stays: {}", problem.message)
    } else {
        problem.message.clone()
    };
    status::outdated(problem.reason, message)
}

fn refused(name: &str, template: &ResolvedTemplate, words: &str) -> Condition {
    let message = format!(
        "CronJob {name} stays as it was, for the API server refuses what is made of it from StreamingJobTemplate {}: \
         {words}; mend the template or what forbids the CronJob; it is tried again from time to time",
        template.name
    );
    status::outdated("CronJobRefused", message)
}
