//! Wrong versions of the plan: each forgets one thing, and the rule that names that thing must see it.

macro_rules! wrong_versions {
    ($($name:ident is caught by $rule:ident;)+) => {
        &[$(Wrong { name: stringify!($name), decide: $name, caught_by: stringify!($rule) },)+]
    };
}

pub mod scheduled;

use std::collections::BTreeSet;

use arcane_common::{api::backfill_request::BackfillRequestPhase as RequestPhase, stream::Phase};
use arcane_controller::{
    facts::JobState,
    stream::{
        Observed, Plan,
        action::{Action, DeleteCause},
        observed::{Pods, Standing, Update},
        plan,
    },
};

use crate::{made, reading};

pub struct Wrong {
    pub name: &'static str,
    pub decide: fn(&Observed) -> Plan,
    pub caught_by: &'static str,
}

pub const WRONG: &[Wrong] = wrong_versions! {
    it_forgets_the_pods is caught by a_new_job_needs_known_pods;
    it_doesnt_wait_for_a_job_that_is_being_deleted
        is caught by no_job_is_created_while_an_unfinished_one_of_the_stream_is_there;
    it_sets_completed_before_the_status is caught by completion_is_recorded_before_spec_completed_is_set;
    it_believes_spec_completed_and_not_the_status is caught by a_settled_request_never_runs_again;
    it_restarts_on_every_new_generation is caught by metadata_or_suspension_alone_restarts_nothing;
    it_suspends_streaming_only
        is caught by a_suspended_stream_creates_nothing_and_deletes_every_unfinished_job_of_its_own;
    it_takes_a_leftover_for_its_own is caught by only_own_jobs_are_touched;
    it_creates_without_announcing is caught by the_status_that_announces_a_job_comes_right_before_its_creation;
    it_gives_a_ttl_before_the_outcome_is_recorded
        is caught by a_finished_backfill_job_gets_its_ttl_only_after_its_outcome_is_recorded;
    it_skips_the_initial_request is caught by the_initial_request_is_created_exactly_for_new_streams;
    it_runs_the_newest_request_first is caught by requests_run_one_after_another_oldest_first;
    it_forgets_that_it_failed is caught by failed_stays_failed_unless_something_has_changed;
    it_runs_what_another_stream_had_accepted is caught by a_request_of_another_uid_never_runs;
    it_works_on_a_stream_that_is_being_deleted is caught by a_stream_with_a_deletion_timestamp_plans_nothing;
    it_uses_a_name_that_is_somebody_elses is caught by a_taken_name_is_never_used;
    it_rolls_out_of_its_turn is caught by out_of_its_turn_an_outdated_job_runs_on_and_is_spoken_of;
    it_lets_its_turn_pass is caught by in_its_turn_an_outdated_job_is_replaced;
    it_rolls_backfills is caught by a_running_backfill_is_never_rolled;
    it_believes_in_every_job is caught by what_keeps_a_pod_from_running_is_said;
    it_never_looks_at_a_pod_that_doesnt_start is caught by a_job_without_a_ready_pod_is_looked_into;
    it_is_ready_whatever_happens is caught by exactly_one_of_ready_reconciling_and_stalled_holds;
    it_leaves_what_the_older_operator_said_of_a_failure is caught by failed_is_stalled;
    it_takes_what_was_told_to_end_for_done is caught by a_request_completes_only_by_its_own_jobs_success;
};

/// The plan for another situation than the one that is there.
fn plan_as_if(observed: &Observed, change: impl FnOnce(&mut Observed)) -> Plan {
    let mut other = observed.clone();
    change(&mut other);
    plan(&other)
}

fn it_rolls_out_of_its_turn(observed: &Observed) -> Plan {
    plan_with_standing(observed, Standing::Turn)
}

fn it_lets_its_turn_pass(observed: &Observed) -> Plan {
    plan_with_standing(observed, Standing::Waits)
}

fn plan_with_standing(observed: &Observed, standing: Standing) -> Plan {
    plan_as_if(observed, |observed| {
        if let Ok(asked) = &mut observed.asked
            && asked.update != Update::OnDelete
        {
            asked.update = Update::Rolling(standing);
        }
    })
}

fn it_rolls_backfills(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    let Ok(asked) = &observed.asked else { return plan };
    let is_outdated = |hash: &String| asked.backfill_template.as_ref().is_ok_and(|template| template.hash != *hash);
    let backfill = reading::own_jobs(observed).find(|job| {
        let facts = &job.facts;
        facts.backfilling
            && facts.state == JobState::Unfinished
            && facts.template_hash.as_ref().is_some_and(is_outdated)
    });
    if let Some(job) = backfill.filter(|_| asked.update == Update::Rolling(Standing::Turn)) {
        let (name, uid) = (job.facts.name.name.clone(), job.facts.uid.clone());
        plan.actions.insert(0, Action::DeleteJob { name, uid, cause: DeleteCause::TemplateChanged });
    }
    plan
}

fn it_forgets_the_pods(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.pods = Pods::Clear)
}

fn it_doesnt_wait_for_a_job_that_is_being_deleted(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.jobs.retain(|job| job.facts.deleting_since.is_none()))
}

fn it_sets_completed_before_the_status(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.sort_by_key(|action| !matches!(action, Action::MarkCompleted { .. }));
    plan
}

fn it_believes_spec_completed_and_not_the_status(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for request in observed.requests.iter_mut().filter(|request| !request.completed) {
            request.phase = request.phase.take().filter(|phase| *phase != RequestPhase::Completed);
        }
    })
}

fn it_restarts_on_every_new_generation(observed: &Observed) -> Plan {
    let generation = observed.stream.generation;
    plan_as_if(observed, |observed| {
        for job in observed.jobs.iter_mut().filter(|job| job.facts.stream_generation != Some(generation)) {
            job.hash_matches = false;
        }
    })
}

fn it_suspends_streaming_only(observed: &Observed) -> Plan {
    let backfills = reading::own_jobs(observed).any(|job| job.facts.backfilling);
    plan_as_if(observed, |observed| observed.stream.suspended &= !backfills)
}

fn it_takes_a_leftover_for_its_own(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for job in &mut observed.jobs {
            job.facts.owner = Some(made::owner(observed.stream.uid.as_str()));
        }
    })
}

fn it_creates_without_announcing(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.retain(|action| !matches!(action, Action::Announce(_)));
    plan
}

fn it_gives_a_ttl_before_the_outcome_is_recorded(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.sort_by_key(|action| !matches!(action, Action::SetJobTtl { .. }));
    plan
}

fn it_skips_the_initial_request(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        if let Ok(asked) = &mut observed.asked {
            asked.initial_backfill = false;
        }
    })
}

fn it_runs_the_newest_request_first(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        let mut times: Vec<_> = observed.requests.iter().map(|request| request.created).collect();
        times.reverse();
        for (request, time) in observed.requests.iter_mut().zip(times) {
            request.created = time;
        }
    })
}

fn it_forgets_that_it_failed(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        let recorded = &mut observed.stream.recorded;
        recorded.phase = recorded.phase.map(|phase| if phase == Phase::Failed { Phase::Pending } else { phase });
    })
}

fn it_believes_in_every_job(observed: &Observed) -> Plan {
    let mut decided = plan(observed);
    let without = plan_as_if(observed, |observed| observed.without_pod = None);
    decided.actions = without.actions;
    decided
}

fn it_never_looks_at_a_pod_that_doesnt_start(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.without_pod = None)
}

fn it_leaves_what_the_older_operator_said_of_a_failure(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        observed.stream.failure_note.iter_mut().for_each(|note| note.was_before_us = false);
    })
}

fn it_runs_what_another_stream_had_accepted(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for request in &mut observed.requests {
            request.stream_uid = None;
        }
    })
}

fn it_works_on_a_stream_that_is_being_deleted(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.stream.deleting = false)
}

fn it_uses_a_name_that_is_somebody_elses(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.taken_names = BTreeSet::new())
}

fn it_is_ready_whatever_happens(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    for action in &mut plan.actions {
        if let Action::WriteStatus(status) | Action::Announce(status) = action {
            for condition in status.conditions.iter_mut().flatten() {
                condition.holds |= condition.type_ == "Ready";
            }
        }
    }
    plan
}

fn it_takes_what_was_told_to_end_for_done(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for job in &mut observed.jobs {
            if let (JobState::Succeeded { finished, .. }, Some(told)) = (&mut job.facts.state, job.facts.deleting_since)
            {
                *finished = Some(told - jiff::SignedDuration::from_secs(1));
            }
        }
    })
}

/// Faults that a single decision doesn't show; the world does.
pub const WRONG_IN_THE_LONG_RUN: &[Wrong] = &[
    Wrong { name: "it_starts_over_again_and_again", decide: it_starts_over_again_and_again, caught_by: "come to rest" },
    Wrong { name: "it_never_looks_at_success", decide: it_never_looks_at_success, caught_by: "backfills for ever" },
];

fn it_starts_over_again_and_again(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    let running = reading::own_jobs(observed).find(|job| {
        job.facts.state == JobState::Unfinished && job.facts.deleting_since.is_none() && !job.facts.backfilling
    });
    if let Some(job) = running.filter(|_| plan.actions.iter().all(|action| !matches!(action, Action::DeleteJob { .. })))
    {
        let (name, uid) = (job.facts.name.name.clone(), job.facts.uid.clone());
        plan.actions.push(Action::DeleteJob { name, uid, cause: DeleteCause::Unwanted });
    }
    plan
}

fn it_never_looks_at_success(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for job in observed.jobs.iter_mut().filter(|job| job.facts.backfilling) {
            if matches!(job.facts.state, JobState::Succeeded { .. }) {
                job.facts.request_uid = Some(arcane_common::identity::Uid::new("nobody"));
                job.facts.noted_ttl = None;
            }
        }
    })
}
