//! The decision about one stream.
//!
//! [`plan`] is a pure function over everything observed. It reads from top to bottom like the rules of a
//! stream's life: outcomes are recorded first, the brake comes before everything else, what is wrong is said,
//! and only then is it decided what shall run.

mod blocked;
mod outcomes;
mod pods;
mod run;
mod runs;
mod scheduled;
mod start;
mod status;
mod suspended;

pub use pods::POD_NOT_RUNNING;
pub(super) use status::RUN_FAILED;
pub use status::{LAST_RUN, UP_TO_DATE};

use super::{
    action::{Action, Plan},
    observed::{Observed, Problem},
};
use arcane_common::{api::backfill_request::BackfillRequestPhase, identity::Uid};

use crate::facts::RequestFacts;

/// Decides what is to be done about a stream.
pub fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if observed.stream.deleting {
        // Its Jobs and requests go by their owner references.
        return plan;
    }
    let open = outcomes::record(observed, &mut plan);
    match &observed.asked {
        _ if observed.stream.suspended => suspended::keep_still(observed, &open, &mut plan),
        Err(problem) => blocked::by(observed, problem, &open, &mut plan),
        Ok(asked) if is_new(observed) && asked.initial_backfill && is_change_capture(asked) => {
            plan.actions.push(Action::CreateInitialRequest { name: observed.initial_request_name() });
        }
        Ok(asked) => run::towards_its_goal(observed, asked, &open, &mut plan),
    }
    if plan.needs_pods {
        // Whatever was planned is planned again when the pods are known.
        return Plan { needs_pods: true, ..Plan::default() };
    }
    plan
}

fn is_change_capture(asked: &super::observed::Asked) -> bool {
    matches!(asked.workload, arcane_common::stream::Workload::ChangeCapture { .. })
}

/// New = nothing was ever recorded of the stream, and nothing of it is there.
fn is_new(observed: &Observed) -> bool {
    let uid = &observed.stream.uid;
    let recorded = &observed.stream.recorded;
    // A plugin's own word for a phase is one, too: such a stream has been at work.
    recorded.phase.is_none()
        && !recorded.phase_is_unknown
        && observed.own_jobs().next().is_none()
        && observed.own_cron_jobs().next().is_none()
        && !observed.requests.iter().any(|request| is_of_stream(request, uid))
}

/// Whether a request shows that the stream has, or needs, no initial backfill of its own.
///
/// One with a payload doesn't until the stream has accepted it: it is not the initial backfill. Nor does one
/// that an earlier stream of this name had accepted, or one that was cancelled before this stream was there.
fn is_of_stream(request: &RequestFacts, uid: &Uid) -> bool {
    if request.deleting || request.is_of_another_stream(uid) {
        return false;
    }
    let is_accepted = request.stream_uid.is_some();
    let is_cancelled = request.phase == Some(BackfillRequestPhase::Cancelled);
    is_accepted || request.completed || (request.payload.is_none() && !is_cancelled)
}

impl Problem {
    /// Something that a change of the stream's spec mends.
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stalled: true }
    }

    /// Something that is waited for.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), stalled: false }
    }
}
