//! §3.2: never two unfinished Jobs, and no new Job while a pod of an old one may write.

use arcane_common::{api::backfill_request::BackfillRequestPhase, stream::Phase};
use arcane_controller::{
    facts::JobState,
    stream::{
        action::{Action, Role, StreamStatus},
        observed::Pods,
    },
};

use crate::{made, reading::*};

pub(super) fn two_jobs_are_never_asked_for(trial: &Trial<'_>) -> bool {
    trial.actions().iter().filter(|action| matches!(action, Action::CreateJob { .. })).count() <= 1
}

/// Its own or a leftover's, at work or on its way out.
pub(super) fn no_job_is_created_while_an_unfinished_one_of_the_stream_is_there(trial: &Trial<'_>) -> bool {
    let starts = trial.creates() || trial.starts_runs().is_some();
    !starts || trial.observed.jobs.iter().all(|job| job.facts.state != JobState::Unfinished)
}

/// "Wait until the Job is gone, then create." A finished Job of another name has no pod that writes.
pub(super) fn no_job_is_created_while_its_name_is_in_use(trial: &Trial<'_>) -> bool {
    trial.created().is_none_or(|(name, _)| trial.observed.jobs.iter().all(|job| job.facts.name.name != name))
}

/// (Not in the contract:) a refusal is said in its own words, and what may be refused again is neither announced nor accepted.
/// The refusal of a backfill's Job keeps nobody from streaming, nor the other way round.
pub(super) fn a_refused_job_is_waited_for_and_tried_before_it_is_announced(trial: &Trial<'_>) -> bool {
    let makes = trial.actions().iter().find_map(what_it_makes);
    if makes.is_some_and(|backfilling| trial.is_refused_still(backfilling)) {
        return false;
    }
    let place = |wanted: fn(&Action) -> bool| trial.actions().iter().position(wanted);
    let tried = place(|action| matches!(action, Action::TryJob { .. } | Action::TryCronJob { .. }));
    let announced = place(|action| matches!(action, Action::Announce(_)));
    let accepted = place(
        |action| matches!(action, Action::WriteRequestStatus { status, .. } if status.phase == BackfillRequestPhase::Running),
    );
    let is_made_anew = trial.creates() || trial.starts_runs().is_some_and(|_| trial.cron_job().is_none());
    let was_refused = trial.observed.refused.as_ref().map(|refusal| refusal.backfilling);
    if is_made_anew && was_refused.is_some() && was_refused == makes {
        tried.is_some() && tried < announced && accepted.is_none_or(|accepted| tried < Some(accepted))
    } else {
        tried.is_none()
    }
}

/// §1: a request is `Running` while its Job is there. One whose Job is refused says so.
pub(super) fn the_request_of_a_refused_job_says_so(trial: &Trial<'_>) -> bool {
    let says_so = |status: &StreamStatus| says(status, "Stalled", "JobRefused");
    let Some(request) = trial.wanted_backfill().filter(|_| stream_status(trial.plan).is_some_and(says_so)) else {
        return true;
    };
    let said = trial.actions().iter().rev().find_map(|action| match action {
        Action::WriteRequestStatus { request: name, status } if *name == request.name => Some(status.phase.clone()),
        _ => None,
    });
    let (pending, failed) = (BackfillRequestPhase::Pending, BackfillRequestPhase::Failed);
    said.as_ref() == Some(&pending) || (said.is_none() && [pending, failed].map(Some).contains(&request.phase))
}

/// Whether what an action makes is a backfill's.
fn what_it_makes(action: &Action) -> Option<bool> {
    match action {
        Action::CreateJob { role, .. } => Some(matches!(role, Role::Backfill { .. })),
        Action::CreateCronJob { .. } | Action::UpdateCronJob { .. } => Some(false),
        _ => None,
    }
}

pub(super) fn what_is_deleted_is_never_created_in_the_same_plan(trial: &Trial<'_>) -> bool {
    !trial.creates() || trial.deleted().next().is_none()
}

pub(super) fn a_new_job_needs_known_pods(trial: &Trial<'_>) -> bool {
    !trial.creates() || no_pod_can_be_left(&trial.observed.pods)
}

/// Where a Job would be created, a pod that still runs makes it wait; the message names pod and node, and says how to
/// release them. It looks again: nobody watches such a pod. And unknown pods are listed.
pub(super) fn a_running_pod_of_an_earlier_job_is_waited_for_by_name(trial: &Trial<'_>) -> bool {
    // Said of one kind of knowledge is enough: the others lead to it.
    if !trial.creates() || trial.observed.pods != Pods::Clear {
        return true;
    }
    let mut other = trial.observed.clone();
    other.pods = Pods::Listed(vec![made::a_pod(None, false)]);
    let plan = (trial.decide)(&other);
    let is_said = stream_status(&plan).is_some_and(|status| {
        let message = status.conditions.iter().flatten().map(|condition| condition.message.as_str()).next();
        let words = [made::POD, made::NODE, "--force", "out-of-service"];
        says(status, "Reconciling", "WaitingForPod")
            && message.is_some_and(|message| words.iter().all(|word| message.contains(word)))
    });
    other.pods = Pods::Unknown;
    created(&plan).is_none() && is_said && plan.look_again.is_some() && (trial.decide)(&other).needs_pods
}

pub(super) fn a_leftover_job_is_waited_for_and_spoken_of(trial: &Trial<'_>) -> bool {
    if !trial.creates() || trial.observed.pods != Pods::Clear {
        return true;
    }
    let mut leftover = made::a_job();
    leftover.facts.owner = Some(made::owner(made::OTHER_STREAM_UID));
    leftover.facts.name = made::name("of-the-earlier-stream");
    let mut other = trial.observed.clone();
    other.jobs.push(leftover);
    let plan = (trial.decide)(&other);
    let is_said = stream_status(&plan).is_some_and(|status| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| {
            condition.type_ == "Reconciling" && condition.holds && condition.message.contains("of-the-earlier-stream")
        })
    });
    created(&plan).is_none() && is_said
}

/// The announcement names the Job and its phase, and nothing comes after the creation.
pub(super) fn the_status_that_announces_a_job_comes_right_before_its_creation(trial: &Trial<'_>) -> bool {
    let announcements = trial.actions().iter().filter(|action| matches!(action, Action::Announce(_))).count();
    match trial.actions() {
        [.., Action::Announce(status), Action::CreateJob { name, role }] => {
            let phase = if *role == Role::Streaming { Phase::Running } else { Phase::Backfilling };
            announcements == 1 && status.phase == Some(phase) && status.job_name.as_ref() == Some(name)
        }
        [.., Action::Announce(status), Action::CreateCronJob { name } | Action::ResumeCronJob { name, .. }] => {
            announcements == 1 && status.phase == Some(Phase::Scheduled) && status.job_name.as_ref() == Some(name)
        }
        _ => announcements == 0 && !trial.creates() && trial.starts_runs().is_none(),
    }
}

/// "If two are ever seen, the unwanted one goes." Where what is wanted can't be told, none is unwanted (§3.12).
pub(super) fn of_two_unfinished_jobs_one_at_most_stays(trial: &Trial<'_>) -> bool {
    if !trial.is_active() && !trial.is_paused() {
        return true;
    }
    let stay = |job: &&_| job_stays(trial, job);
    trial.plan.needs_pods || trial.unfinished_own().filter(stay).count() <= 1
}

fn job_stays(trial: &Trial<'_>, job: &arcane_controller::stream::observed::ObservedJob) -> bool {
    job.facts.deleting_since.is_none() && !trial.deletes(job)
}

pub(super) fn pods_are_asked_for_only_where_they_are_not_known(trial: &Trial<'_>) -> bool {
    !trial.plan.needs_pods || !matches!(trial.observed.pods, Pods::Listed(_))
}

/// "The decision needs a live list of the stream's pods. Nothing else is planned then."
pub(super) fn asking_for_pods_puts_everything_else_off(trial: &Trial<'_>) -> bool {
    !trial.plan.needs_pods || (trial.actions().is_empty() && trial.plan.look_again.is_none())
}
