//! How a Job comes and goes: never two writers.

use std::time::Duration;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase,
    stream::{Phase, Workload},
};

use super::{outcomes, run, run::Goal, runs, scheduled, status};
use crate::{
    facts::{CronJobFacts, JobFacts, PodFacts},
    stream::{
        action::{Action, DeleteCause, Plan},
        observed::{Asked, Observed, Pods, Problem, Refusal, ResolvedTemplate, passes_by_itself},
    },
};

/// A Job that takes longer to go than this is spoken of.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AT_JOBS_AGAIN: Duration = Duration::from_secs(10);
const LOOK_AT_PODS_AGAIN: Duration = Duration::from_secs(2);

/// Deletes a Job, if that was not asked for already.
pub(super) fn delete(job: &JobFacts, cause: DeleteCause, plan: &mut Plan) {
    if job.deleting_since.is_none() {
        plan.actions.push(Action::DeleteJob { name: job.name.name.clone(), uid: job.uid.clone(), cause });
    }
}

/// Stops a Job that hasn't ended, unless it is a backfill's whose last pod has just ended well: the Job controller is about to say
/// so. Deleted before that it would count as stopped, and its work would be done again.
pub(super) fn stop(observed: &Observed, job: &JobFacts, cause: DeleteCause, plan: &mut Plan) {
    if !job.backfilling || job.deleting_since.is_some() {
        delete(job, cause, plan);
        return;
    }
    let Pods::Listed(pods) = &observed.pods else {
        plan.needs_pods = true;
        return;
    };
    let of_job = || pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid));
    let last = of_job().max_by_key(|pod| pod.created);
    if of_job().all(|pod| pod.finished) && last.is_some_and(|pod| pod.succeeded) {
        plan.look_again = Some(LOOK_AT_PODS_AGAIN);
    } else {
        delete(job, cause, plan);
    }
}

/// Deletes a finished Job so that the next can take its name, if the next can start at all.
pub(super) fn replace_finished(asked: &Asked, goal: Goal<'_>, job: &JobFacts, cause: DeleteCause, plan: &mut Plan) {
    match goal.template(asked) {
        Ok(_) => delete(job, cause, plan),
        Err(problem) => wait_for_template(goal, problem, plan),
    }
}

/// Deletes a CronJob with its runs, if that was not asked for already.
pub(super) fn delete_cron_job(cron_job: &CronJobFacts, cause: DeleteCause, plan: &mut Plan) {
    if cron_job.deleting_since.is_none() {
        let (name, uid) = (cron_job.name.name.clone(), cron_job.uid.clone());
        plan.actions.push(Action::DeleteCronJob { name, uid, cause });
    }
}

/// Starts a Job, or brings a CronJob in place, as soon as nothing of an earlier one can still write.
pub(super) fn start(observed: &Observed, asked: &Asked, goal: Goal<'_>, plan: &mut Plan) {
    if is_something_going(observed, plan) {
        wait_for_jobs(observed, plan);
        return;
    }
    if let Err(problem) = goal.template(asked) {
        wait_for_template(goal, problem, plan);
        return;
    }
    let schedule = match (&asked.workload, goal) {
        (Workload::Batch { schedule, .. }, Goal::Streaming) => Some(schedule),
        _ => None,
    };
    let name = match (schedule, goal) {
        (Some(_), _) => observed.cron_job_name(),
        (None, Goal::Streaming) => observed.streaming_job_name(),
        (None, Goal::Backfill(_)) => observed.backfill_job_name(),
    };
    let in_the_way = observed.own_jobs().find(|job| schedule.is_none() && job.facts.name.name == name);
    if let Some(job) = in_the_way {
        delete(&job.facts, DeleteCause::MakeRoom, plan);
        wait_for_jobs(observed, plan);
        return;
    }
    if !is_clear(observed, goal, (Some(&name), None), plan) {
        return;
    }
    if let Some(words) = refusal(observed, goal, plan) {
        let what = if schedule.is_some() { "CronJob" } else { "Job" };
        refused(what, &name, (goal, goal.template(asked)), words, plan);
        return;
    }
    if refused_before(observed, goal).is_some() {
        // What may be refused again is neither announced nor accepted.
        plan.actions.push(match schedule {
            Some(_) => Action::TryCronJob { name: name.clone() },
            None => Action::TryJob { name: name.clone(), role: goal.role() },
        });
    }
    run::accept(observed, goal, &name, plan);
    match schedule {
        Some(schedule) => {
            let mut status = scheduled::in_place(&name, schedule);
            status.conditions.get_or_insert_default().extend(runs::last_failure(observed, plan));
            plan.actions.push(Action::Announce(status));
            plan.actions.push(Action::CreateCronJob { name });
        }
        None => {
            plan.actions.push(Action::Announce(run::in_place(goal, &name)));
            plan.actions.push(Action::CreateJob { name, role: goal.role() });
        }
    }
}

/// The API server's words, if it has refused what is wanted now and it isn't time to try again.
pub(super) fn refusal<'a>(observed: &'a Observed, goal: Goal<'_>, plan: &mut Plan) -> Option<&'a str> {
    let refusal = refused_before(observed, goal)?;
    let left = refusal.try_again_at.duration_since(observed.now);
    if !left.is_positive() {
        return None;
    }
    plan.look_again = left.try_into().ok();
    Some(&refusal.message)
}

fn refused_before<'a>(observed: &'a Observed, goal: Goal<'_>) -> Option<&'a Refusal> {
    observed.refused.as_ref().filter(|refusal| refusal.backfilling == matches!(goal, Goal::Backfill(_)))
}

/// Whether a Job or a CronJob is on its way out, or is to go by this very plan.
fn is_something_going(observed: &Observed, plan: &Plan) -> bool {
    let is_to_go = |action: &Action| {
        matches!(action, Action::DeleteJob { .. } | Action::DeleteCronJob { .. } | Action::SuspendCronJob { .. })
    };
    plan.actions.iter().any(is_to_go)
        || observed.own_jobs().any(|job| job.facts.is_unfinished())
        || observed.own_cron_jobs().any(|cron_job| cron_job.facts.deleting_since.is_some())
}

/// Whether nothing of the stream can write, and the name for what is to come is free. Says what is waited for
/// otherwise. A CronJob that is to start runs again may have some that go on.
pub(super) fn is_clear(
    observed: &Observed,
    goal: Goal<'_>,
    (name, resumed): (Option<&String>, Option<&CronJobFacts>),
    plan: &mut Plan,
) -> bool {
    if is_something_going(observed, plan) {
        wait_for_jobs(observed, plan);
        return false;
    }
    let is_of_resumed = |run: &JobFacts| resumed.is_some_and(|cron_job| cron_job.started(run));
    if !have_runs_ended(observed, goal, is_of_resumed, plan) {
        return false;
    }
    let mut leftovers = observed.leftovers();
    let job = leftovers.find(|job| job.facts.is_unfinished() || Some(&job.facts.name.name) == name);
    let job = job.map(|job| ("Job", &job.facts.name.name));
    let cron_job = observed.leftover_cron_jobs().next().map(|cron_job| ("CronJob", &cron_job.facts.name.name));
    if let Some((what, name)) = job.or(cron_job) {
        let message = format!("waits for {what} {name} of an earlier stream of this name to go");
        tell_request(goal, "WaitingForJob", &message, plan);
        wait(Phase::Pending, "WaitingForJob", message, plan);
        return false;
    }
    let may_run = |pod: &PodFacts| {
        pod.finished || observed.unfinished_runs().any(|run| is_of_resumed(run) && pod.job.as_ref() == Some(&run.uid))
    };
    match &observed.pods {
        Pods::Unknown => {
            plan.needs_pods = true;
            false
        }
        Pods::Listed(pods) if !pods.iter().all(may_run) => {
            let message = unfinished_pods(pods);
            tell_request(goal, "WaitingForPod", &message, plan);
            wait(Phase::Pending, "WaitingForPod", message, plan);
            plan.look_again = Some(LOOK_AT_PODS_AGAIN);
            false
        }
        Pods::Listed(_) | Pods::Clear => true,
    }
}

/// Whether all runs have ended, and none can appear any more, but for those that may go on.
fn have_runs_ended(
    observed: &Observed,
    goal: Goal<'_>,
    may_go_on: impl Fn(&JobFacts) -> bool,
    plan: &mut Plan,
) -> bool {
    let mut waiting = runs::in_progress(observed, may_go_on);
    if let Goal::Backfill(_) = goal
        && let Some(cron_job) = observed.cron_job_in_place()
    {
        let settles_in = cron_job.facts.settles_in(observed.now);
        if waiting.is_none() && settles_in.is_positive() {
            plan.look_again = settles_in.try_into().ok();
            return false;
        }
        // Also such as carry no label of ours.
        waiting = waiting.or_else(|| Some(cron_job.facts.active.join(", ")).filter(|names| !names.is_empty()));
    }
    let Some(names) = waiting else { return true };
    let message = format!("waits for the end of Job {names}: two must never write at once");
    tell_request(goal, "WaitingForRun", &message, plan);
    wait(Phase::Pending, "WaitingForRun", message, plan);
    false
}

/// What is said of a Job that failed, and of its pods.
pub(super) fn failure(beginning: String, (reason, message): (&str, &str), job: &JobFacts, pods: &[PodFacts]) -> String {
    let mut words = format!("{beginning}{reason}");
    if !message.is_empty() {
        words = format!("{words}: {message}");
    }
    // The last pod tells why: earlier ones were tried again, and may have ended in a way that isn't counted.
    let of_job = pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid));
    let troubles = of_job.filter_map(|pod| Some((pod, pod.trouble.as_ref()?)));
    match troubles.max_by_key(|(pod, _)| pod.created) {
        Some((pod, trouble)) => format!("{words}; pod {}: {trouble}", pod.name),
        None => words,
    }
}

/// Waits until Jobs that are being deleted are gone. What takes long is explained.
pub(super) fn wait_for_jobs(observed: &Observed, plan: &mut Plan) {
    let jobs = observed.own_jobs().filter_map(|job| job.facts.deleting_since);
    let cron_jobs = observed.own_cron_jobs().filter_map(|cron_job| cron_job.facts.deleting_since);
    let since = jobs.chain(cron_jobs).min();
    let Some(since) = since else { return };
    let age = Duration::try_from(observed.now.duration_since(since)).unwrap_or_default();
    if let Some(left) = (PATIENCE + observed.rush).checked_sub(age).filter(|left| !left.is_zero()) {
        plan.look_again = Some(left);
        return;
    }
    let Pods::Listed(pods) = &observed.pods else {
        plan.needs_pods = true;
        return;
    };
    plan.look_again = Some(LOOK_AT_JOBS_AGAIN);
    let phase = match observed.stream.recorded.phase {
        // Nothing of it has failed that the next decision would not tell anew.
        Some(Phase::Suspended | Phase::Failed) | None => Phase::Pending,
        Some(phase) => phase,
    };
    if pods.iter().any(|pod| !pod.finished) {
        wait(phase, "WaitingForPod", unfinished_pods(pods), plan);
    } else {
        let what = if observed.own_jobs().any(|job| job.facts.deleting_since.is_some()) { "Job" } else { "CronJob" };
        wait(phase, "WaitingForJob", format!("waits for the deleted {what} to go"), plan);
    }
}

fn wait_for_template(goal: Goal<'_>, problem: &Problem, plan: &mut Plan) {
    tell_request(goal, problem.reason, &problem.message, plan);
    let conditions = status::problem(problem);
    plan.actions.push(Action::WriteStatus(status::of(Phase::Pending, None, conditions)));
}

/// Says what a backfill waits for where its request is looked at. One that has failed says so until it runs again.
fn tell_request(goal: Goal<'_>, reason: &'static str, message: &str, plan: &mut Plan) {
    if let Goal::Backfill(request) = goal
        && request.phase != Some(BackfillRequestPhase::Failed)
    {
        outcomes::write(plan, request, BackfillRequestPhase::Pending, reason, message.to_owned());
    }
}

fn refused(
    what: &str,
    name: &str,
    (goal, template): (Goal<'_>, &Result<ResolvedTemplate, Problem>),
    words: &str,
    plan: &mut Plan,
) {
    let conditions = if passes_by_itself(words) {
        let message =
            format!("waits until the API server, to which the stream's kind is new, takes {what} {name}: {words}");
        tell_request(goal, "KindNotKnownYet", &message, plan);
        status::reconciling("KindNotKnownYet", message)
    } else {
        let template = template.as_ref().map(|template| template.name.to_string()).unwrap_or_default();
        let message = format!(
            "the API server refuses {what} {name}, made from StreamingJobTemplate {template}: {words}; mend the template \
             or what forbids the {what}; it is tried again from time to time"
        );
        tell_request(goal, "JobRefused", &message, plan);
        status::stalled("JobRefused", message)
    };
    plan.actions.push(Action::WriteStatus(status::of(Phase::Pending, None, conditions)));
}

fn wait(phase: Phase, reason: &'static str, message: String, plan: &mut Plan) {
    let conditions = status::reconciling(reason, message);
    plan.actions.push(Action::WriteStatus(status::of(phase, None, conditions)));
}

fn unfinished_pods(pods: &[PodFacts]) -> String {
    let names: Vec<String> = pods
        .iter()
        .filter(|pod| !pod.finished)
        .map(|pod| match &pod.node {
            Some(node) => format!("{} on node {node}", pod.name),
            None => format!("{} on no node", pod.name),
        })
        .collect();
    format!(
        "waits for the end of pod {}: two must never write at once; if the node is lost, release it with \
         'kubectl delete pod --force' or the taint node.kubernetes.io/out-of-service on the node",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(words: &str) -> Vec<(String, bool, String)> {
        let mut plan = Plan::default();
        let template = Err(Problem { reason: "", message: String::new(), stalled: false });
        refused("Job", "orders", (Goal::Streaming, &template), words, &mut plan);
        let [Action::WriteStatus(status)] = &plan.actions[..] else { unreachable!("{:?}", plan.actions) };
        let conditions = status.conditions.iter().flatten();
        conditions.map(|it| (it.type_.to_owned(), it.holds, it.reason.clone())).collect()
    }

    /// Flux gives up what is stalled.
    #[test]
    fn a_kind_that_the_api_server_does_not_know_yet_is_waited_for() {
        let words = "jobs.batch \"orders\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find \
                     RESTMapping for APIVersion acme.io/v1 Kind Order: no matches for kind \"Order\"";
        assert!(said_of(words).contains(&("Reconciling".to_owned(), true, "KindNotKnownYet".to_owned())));
        assert!(said_of(words).contains(&("Stalled".to_owned(), false, "KindNotKnownYet".to_owned())));
        assert!(said_of("exceeded quota: pods").contains(&("Stalled".to_owned(), true, "JobRefused".to_owned())));
    }
}
