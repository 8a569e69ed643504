//! What a stream's status says in each situation (kstatus: `Ready`, `Reconciling`, `Stalled`).

use arcane_common::{api::well_known, stream::Phase};

use crate::stream::{
    action::{Condition, StreamStatus},
    observed::Problem,
};

/// The condition that tells whether the Job in place is what would be made today.
pub const UP_TO_DATE: &str = "UpToDate";

/// The condition that tells whether the last run of a CronJob succeeded; it is there while runs fail.
pub const LAST_RUN: &str = "LastRunSucceeded";

/// The reason of [`LAST_RUN`].
pub(in crate::stream) const RUN_FAILED: &str = "RunFailed";

pub(super) fn of(phase: Phase, job_name: Option<String>, conditions: Vec<Condition>) -> StreamStatus {
    StreamStatus { phase: Some(phase), job_name, conditions: Some(conditions) }
}

/// All is as the user wants it.
pub(super) fn ready(reason: &str, message: String) -> Vec<Condition> {
    three(reason, message, true, false, false)
}

/// Something is on its way, or waited for.
pub(super) fn reconciling(reason: &str, message: String) -> Vec<Condition> {
    three(reason, message, false, true, false)
}

/// Only the user can help.
pub(super) fn stalled(reason: &str, message: String) -> Vec<Condition> {
    three(reason, message, false, false, true)
}

pub(super) fn problem(problem: &Problem) -> Vec<Condition> {
    if problem.stalled {
        stalled(problem.reason, problem.message.clone())
    } else {
        reconciling(problem.reason, problem.message.clone())
    }
}

/// The Job in place is not what would be made today.
pub(super) fn outdated(reason: &str, message: String) -> Condition {
    Condition { type_: UP_TO_DATE, holds: false, reason: reason.to_owned(), message }
}

/// The last run of the CronJob failed.
pub(super) fn last_run_failed(message: String) -> Condition {
    Condition { type_: LAST_RUN, holds: false, reason: RUN_FAILED.to_owned(), message }
}

fn three(reason: &str, message: String, ready: bool, reconciling: bool, stalled: bool) -> Vec<Condition> {
    let condition = |type_, holds| Condition { type_, holds, reason: reason.to_owned(), message: message.clone() };
    vec![
        condition(well_known::CONDITION_READY, ready),
        condition(well_known::CONDITION_RECONCILING, reconciling),
        condition(well_known::CONDITION_STALLED, stalled),
    ]
}
