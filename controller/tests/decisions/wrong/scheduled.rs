//! Wrong versions of the plan for the backend `batch`.

use arcane_common::identity::Uid;
use arcane_controller::stream::{
    Observed, Plan,
    action::{Action, DeleteCause},
    plan,
};

use super::{Wrong, plan_as_if};
use crate::made;

pub const WRONG: &[Wrong] = wrong_versions! {
    it_doesnt_wait_for_the_run_in_progress is caught by no_job_is_created_beside_a_cron_job_that_may_write;
    it_believes_only_in_runs_that_it_sees is caught by no_job_is_created_beside_a_cron_job_that_may_write;
    it_gives_the_cron_job_no_time_to_settle is caught by no_job_is_created_beside_a_cron_job_that_may_write;
    it_doesnt_suspend_the_cron_job is caught by a_backfill_suspends_the_cron_job;
    it_never_resumes_the_cron_job is caught by the_cron_job_resumes_when_the_backfill_is_over;
    it_resumes_while_a_pod_may_run is caught by runs_are_started_only_beside_nothing;
    it_takes_a_cron_job_that_is_being_deleted_for_gone is caught by no_second_cron_job_is_created;
    it_takes_a_leftover_cron_job_for_its_own is caught by only_own_cron_jobs_and_their_runs_are_touched;
    it_keeps_the_cron_job_of_a_suspended_stream is caught by a_suspended_stream_loses_its_cron_job;
    it_replaces_the_cron_job_on_every_change is caught by a_change_updates_the_cron_job_and_ends_no_run;
    it_updates_the_cron_job_again_and_again is caught by what_is_up_to_date_is_not_updated;
    it_leaves_a_run_beside_the_backfill is caught by a_run_is_ended_only_and_always_beside_a_job_that_is_wanted;
    it_says_nothing_of_failing_runs is caught by a_failing_run_shows_in_a_condition;
    it_asks_for_pods_again_and_again is caught by a_failing_run_that_was_told_needs_no_pods;
    it_runs_without_announcing is caught by the_status_that_announces_a_job_comes_right_before_its_creation;
};

fn it_doesnt_wait_for_the_run_in_progress(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.runs.retain(|run| !run.is_unfinished()))
}

fn it_believes_only_in_runs_that_it_sees(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for cron_job in &mut observed.cron_jobs {
            cron_job.facts.active.clear();
        }
    })
}

fn it_gives_the_cron_job_no_time_to_settle(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for cron_job in observed.cron_jobs.iter_mut().filter(|cron_job| cron_job.facts.suspended) {
            cron_job.facts.suspended_at = Some(made::ago(60));
        }
    })
}

fn it_doesnt_suspend_the_cron_job(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.retain(|action| !matches!(action, Action::SuspendCronJob { .. }));
    plan
}

fn it_never_resumes_the_cron_job(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    if let Some(place) = plan.actions.iter().position(|action| matches!(action, Action::ResumeCronJob { .. })) {
        plan.actions.truncate(place.saturating_sub(1));
    }
    plan
}

fn it_resumes_while_a_pod_may_run(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.pods = arcane_controller::stream::observed::Pods::Clear)
}

fn it_takes_a_cron_job_that_is_being_deleted_for_gone(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.cron_jobs.retain(|it| it.facts.deleting_since.is_none()))
}

fn it_takes_a_leftover_cron_job_for_its_own(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for cron_job in &mut observed.cron_jobs {
            cron_job.facts.owner = Some(made::owner(observed.stream.uid.as_str()));
        }
    })
}

fn it_keeps_the_cron_job_of_a_suspended_stream(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.retain(|action| !matches!(action, Action::DeleteCronJob { .. }));
    plan
}

fn it_replaces_the_cron_job_on_every_change(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    for action in &mut plan.actions {
        if let Action::UpdateCronJob { name, uid } = action {
            let (name, uid) = (name.clone(), uid.clone());
            *action = Action::DeleteCronJob { name, uid, cause: DeleteCause::SpecChanged };
        }
    }
    plan
}

fn it_updates_the_cron_job_again_and_again(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for cron_job in &mut observed.cron_jobs {
            cron_job.facts.schedule = made::OTHER_SCHEDULE.to_owned();
        }
    })
}

fn it_leaves_a_run_beside_the_backfill(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.retain(|action| !matches!(action, Action::EndRun { .. }));
    plan
}

fn it_says_nothing_of_failing_runs(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.runs.retain(|run| run.is_unfinished()))
}

fn it_asks_for_pods_again_and_again(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.told_run = None)
}

fn it_runs_without_announcing(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    let is_of_runs =
        plan.actions.iter().any(|action| matches!(action, Action::CreateCronJob { .. } | Action::ResumeCronJob { .. }));
    plan.actions.retain(|action| !is_of_runs || !matches!(action, Action::Announce(_)));
    plan
}

/// Faults that only the world shows.
pub const WRONG_IN_THE_LONG_RUN: &[Wrong] = &[
    Wrong { name: "it_never_ends_a_backfill", decide: it_never_ends_a_backfill, caught_by: "backfills for ever" },
    Wrong {
        name: "it_lets_runs_start_beside_a_job",
        decide: it_lets_runs_start_beside_a_job,
        caught_by: "beside CronJob",
    },
];

fn it_never_ends_a_backfill(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for job in observed.jobs.iter_mut().filter(|job| job.facts.backfilling && !job.facts.is_unfinished()) {
            job.facts.request_uid = Some(Uid::new("nobody"));
            job.facts.noted_ttl = None;
        }
    })
}

fn it_lets_runs_start_beside_a_job(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.cron_jobs.clear())
}
