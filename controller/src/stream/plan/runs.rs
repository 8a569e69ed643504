//! The runs of a CronJob: whose end is waited for, and whether the last one failed.

use super::{start, status};
use crate::{
    facts::{JobFacts, JobState},
    stream::{
        action::{Action, Condition, Plan},
        observed::{Observed, Pods, RunFailure},
    },
};

/// Ends the runs that are beside a Job of ours: never two writers.
pub(super) fn end(observed: &Observed, plan: &mut Plan) {
    let own = observed.unfinished_runs().filter(|run| observed.is_own_run(run));
    for run in own.filter(|run| run.deleting_since.is_none()) {
        plan.actions.push(Action::EndRun { name: run.name.name.clone(), uid: run.uid.clone() });
    }
}

/// The names of runs that may write, in words; `None` if there is none. Those of `but` may go on.
pub(super) fn in_progress(observed: &Observed, but: impl Fn(&JobFacts) -> bool) -> Option<String> {
    let mut names: Vec<&str> =
        observed.unfinished_runs().filter(|run| !but(run)).map(|run| run.name.name.as_str()).collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What is to be said of the last run, if it failed. It is said until a later one succeeds.
pub(super) fn last_failure(observed: &Observed, plan: &mut Plan) -> Option<Condition> {
    let finished = observed.runs.iter().filter(|run| !run.is_unfinished());
    let last = finished.max_by_key(|run| (run.created, &run.name.name));
    let told = observed.told_run.as_ref();
    let message = match last.map(|run| (run, &run.state)) {
        Some((run, JobState::Failed { reason, message })) => {
            let beginning = RunFailure::beginning(run);
            match (told.filter(|told| told.message.starts_with(&beginning)), &observed.pods) {
                // Its pods may be gone by now.
                (Some(told), _) => told.message.clone(),
                (None, Pods::Listed(pods)) => start::failure(beginning, (reason, message), run, pods),
                (None, _) => {
                    plan.needs_pods = true;
                    return None;
                }
            }
        }
        Some(_) => return None,
        // The Job may have expired.
        None => told.filter(|told| !has_succeeded_since(observed, told))?.message.clone(),
    };
    Some(status::last_run_failed(message))
}

fn has_succeeded_since(observed: &Observed, told: &RunFailure) -> bool {
    let successes = observed.own_cron_jobs().filter_map(|cron_job| cron_job.facts.last_success);
    successes.max().zip(told.since).is_some_and(|(success, since)| success > since)
}
