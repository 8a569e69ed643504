//! A stream whose wish can't be read: what runs is left alone, and what is wrong is said.

use arcane_common::{api::backfill_request::BackfillRequestPhase, stream::Phase};

use super::{outcomes, run, status};
use crate::{
    facts::{JobState, RequestFacts},
    stream::{
        action::{Action, Plan, StreamStatus},
        observed::{Observed, Problem},
    },
};

pub(super) fn by(observed: &Observed, problem: &Problem, open: &[&RequestFacts], plan: &mut Plan) {
    let running = observed.own_jobs().find(|job| job.facts.is_unfinished());
    let scheduled = observed.cron_job_in_place().filter(|cron_job| !cron_job.facts.suspended);
    if let (None, Some(request)) = (running, open.first())
        && request.phase != Some(BackfillRequestPhase::Failed)
    {
        let message = format!("the stream can't run: {}", problem.message);
        outcomes::write(plan, request, BackfillRequestPhase::Pending, problem.reason, message);
    }
    let phase = match running {
        Some(job) if job.facts.backfilling => Some(Phase::Backfilling),
        Some(_) => Some(Phase::Running),
        None => match (phase_without_a_job(observed), scheduled) {
            (None | Some(Phase::Pending), Some(_)) => Some(Phase::Scheduled),
            (phase, _) => phase,
        },
    };
    let job_name = running.map(|job| &job.facts.name).or(scheduled.map(|cron_job| &cron_job.facts.name));
    let job_name = job_name.map(|name| name.name.clone());
    // What is said of a failure stays until the stream leaves it.
    let conditions = match phase {
        Some(Phase::Failed) => run::conditions_of_failure(observed),
        _ => Some(status::problem(problem)),
    };
    plan.actions.push(Action::WriteStatus(StreamStatus { phase, job_name, conditions }));
}

fn phase_without_a_job(observed: &Observed) -> Option<Phase> {
    let recorded = observed.stream.recorded.phase;
    match recorded {
        // A phase would make the stream an old one, and cost it the initial backfill once it is mended.
        None => None,
        // What failed stays failed until the spec changes, not until its class comes back.
        Some(Phase::Failed) if !run::has_changed_since_it_failed(observed) => recorded,
        // A failure that isn't recorded yet is still news when the problem is solved.
        Some(Phase::Running | Phase::Backfilling) if has_failed(observed) => recorded,
        Some(_) => Some(Phase::Pending),
    }
}

fn has_failed(observed: &Observed) -> bool {
    let is_backfilling = observed.stream.recorded.phase == Some(Phase::Backfilling);
    observed
        .own_jobs()
        .any(|job| matches!(job.facts.state, JobState::Failed { .. }) && job.facts.backfilling == is_backfilling)
}
