//! Wrong versions of the plan. Each must be found, in the scenario that is about it.

use arcane_common::{api::backfill_request::BackfillRequestPhase as RequestPhase, stream::Phase};
use arcane_controller::{
    facts::JobState,
    stream::{Action, Observed, Plan, observed::Pods, plan},
};

use crate::operator::Decide;

pub struct Wrong {
    pub name: &'static str,
    pub decide: Decide,
    pub scenario: &'static str,
    /// What the property that it breaks begins with.
    pub breaks: &'static str,
}

pub const WRONG: &[Wrong] = &[
    Wrong { name: "it creates without waiting for the pod", decide: pods_are_gone, scenario: "changes", breaks: "I1" },
    Wrong {
        name: "it creates without waiting for the old Job",
        decide: old_jobs_are_gone,
        scenario: "requests",
        breaks: "I1",
    },
    Wrong {
        name: "it completes a request before the outcome",
        decide: completes_early,
        scenario: "brake",
        breaks: "I2",
    },
    Wrong { name: "it sets spec.completed before the status", decide: marks_first, scenario: "brake", breaks: "I2" },
    Wrong { name: "it runs a request that is settled", decide: forgets_settlements, scenario: "brake", breaks: "I2" },
    Wrong { name: "it forgets the initial backfill", decide: no_initial_backfill, scenario: "brake", breaks: "I3" },
    Wrong { name: "it doesn't delete on suspension", decide: no_brake, scenario: "brake", breaks: "I4" },
    Wrong { name: "it never looks at success", decide: never_succeeds, scenario: "brake", breaks: "I4" },
    Wrong { name: "it keeps the Job of an earlier spec", decide: all_hashes_match, scenario: "changes", breaks: "I4" },
    Wrong { name: "what failed stays so for ever", decide: never_recovers, scenario: "failures", breaks: "I4" },
    Wrong { name: "it stops a backfill without a look", decide: stops_blindly, scenario: "brake", breaks: "I2" },
    Wrong { name: "it ignores leftovers", decide: no_leftovers, scenario: "lives", breaks: "I1" },
    Wrong { name: "it deletes and creates in one go", decide: deletes_and_creates, scenario: "changes", breaks: "I1" },
    Wrong { name: "it works on a stream that is being deleted", decide: no_deletion, scenario: "lives", breaks: "I4" },
];

fn plan_as_if(observed: &Observed, change: impl FnOnce(&mut Observed)) -> Plan {
    let mut observed = observed.clone();
    change(&mut observed);
    plan(&observed)
}

fn pods_are_gone(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.pods = Pods::Clear)
}

fn old_jobs_are_gone(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        observed.pods = Pods::Clear;
        observed.jobs.retain(|job| job.facts.deleting_since.is_none());
    })
}

fn completes_early(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        for job in observed.jobs.iter_mut().filter(|job| job.facts.backfilling) {
            job.facts.state = JobState::Succeeded { started: None, finished: None };
        }
    })
}

fn marks_first(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    plan.actions.sort_by_key(|action| !matches!(action, Action::MarkCompleted { .. }));
    plan
}

fn forgets_settlements(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        let mut settled = Vec::new();
        for request in observed.requests.iter_mut().filter(|it| it.phase == Some(RequestPhase::Completed)) {
            request.phase = Some(RequestPhase::Pending);
            request.completed = false;
            settled.push(Some(request.uid.clone()));
        }
        observed.jobs.retain(|job| !settled.contains(&job.facts.request_uid));
    })
}

fn no_initial_backfill(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        observed.asked.iter_mut().for_each(|asked| asked.initial_backfill = false);
    })
}

fn no_brake(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.stream.suspended = false)
}

fn never_succeeds(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        observed.jobs.retain(|job| !matches!(job.facts.state, JobState::Succeeded { .. }));
    })
}

fn all_hashes_match(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.jobs.iter_mut().for_each(|job| job.hash_matches = true))
}

fn never_recovers(observed: &Observed) -> Plan {
    let mut plan = plan(observed);
    if observed.stream.recorded.phase == Some(Phase::Failed) {
        plan.actions.retain(|action| !matches!(action, Action::DeleteJob { .. }));
    }
    plan
}

fn stops_blindly(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        if observed.stream.suspended {
            observed.pods = Pods::Listed(Vec::new());
        }
    })
}

fn no_leftovers(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| {
        let own = observed.stream.uid.clone();
        observed.jobs.retain(|job| job.facts.owner.as_ref().is_some_and(|owner| owner.uid == own));
        observed.pods = Pods::Clear;
    })
}

fn deletes_and_creates(observed: &Observed) -> Plan {
    let before = plan(observed);
    let is_deletion = |action: &&Action| matches!(action, Action::DeleteJob { .. });
    let Some(Action::DeleteJob { uid, .. }) = before.actions.iter().find(is_deletion).cloned() else { return before };
    let after = plan_as_if(observed, |observed| {
        observed.jobs.retain(|job| job.facts.uid != uid);
        observed.pods = Pods::Clear;
        // Another name, or the API server would refuse it.
        observed.taken_names.extend(["orders".to_owned(), "orders-backfill".to_owned()]);
    });
    let actions = before.actions.into_iter().filter(|action| matches!(action, Action::DeleteJob { .. }));
    Plan { actions: actions.chain(after.actions).collect(), ..after }
}

fn no_deletion(observed: &Observed) -> Plan {
    plan_as_if(observed, |observed| observed.stream.deleting = false)
}
