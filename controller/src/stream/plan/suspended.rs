//! A suspended stream has no unfinished Job and no CronJob; everything else of it is kept.

use arcane_common::{api::backfill_request::BackfillRequestPhase, stream::Phase};

use super::{outcomes, start, status};
use crate::{
    facts::RequestFacts,
    stream::{
        action::{Action, DeleteCause, Plan},
        observed::Observed,
    },
};

pub(super) fn keep_still(observed: &Observed, open: &[&RequestFacts], plan: &mut Plan) {
    let unfinished: Vec<_> = observed.own_jobs().filter(|job| job.facts.is_unfinished()).collect();
    for job in &unfinished {
        start::stop(observed, &job.facts, DeleteCause::Suspended, plan);
    }
    let mut cron_jobs = observed.own_cron_jobs().peekable();
    let has_cron_job = cron_jobs.peek().is_some();
    for cron_job in cron_jobs {
        start::delete_cron_job(&cron_job.facts, DeleteCause::Suspended, plan);
    }
    if let Some(request) = open.first()
        && request.phase != Some(BackfillRequestPhase::Failed)
    {
        let message = "the stream is suspended; the backfill goes on with the same id when it is resumed";
        outcomes::write(plan, request, BackfillRequestPhase::Pending, "StreamSuspended", message.to_owned());
    }
    if unfinished.is_empty() && !has_cron_job {
        let message = if open.is_empty() {
            "suspended by its user; set suspended to false to resume".to_owned()
        } else {
            "suspended by its user with an open backfill; set suspended to false to resume".to_owned()
        };
        let conditions = status::ready("Suspended", message);
        plan.actions.push(Action::WriteStatus(status::of(Phase::Suspended, None, conditions)));
    } else {
        start::wait_for_jobs(observed, plan);
    }
}
