//! A model checker over the decision about a stream.
//!
//! Every order in which the API server, the Job controller, the kubelet, the garbage collector, the user, and one or two
//! processes of the controller can take their steps, within a scenario's budget: with watches that lag behind, each by itself;
//! crashes between any two writes; answers that are lost; a leader that is cut off while one write of its is on its way.
//! The plan is the real one ([`arcane_controller::stream::plan`]), and so is the patch of a stream's status.
//!
//! | property | what |
//! | --- | --- |
//! | I1 | never two unfinished Jobs, and no Job or pod begins while a pod of another Job runs |
//! | I2 | a request is completed exactly when a Job of it has done its work, and never runs again |
//! | I3 | a stream that was created unsuspended backfills before it streams |
//! | I4, I5, convergence | from each state in which the processes know everything, the world comes to rest, and is right then: a suspended stream has no unfinished Job, nothing outlives its stream, the last generation is acted on, the Job that is wanted runs, and it is the only one |
//!
//! What isn't in it: the backend `batch`, rolling updates, templates that come and go, Jobs of the older operator (the enumerations in
//! `tests/decisions` have them); time, but for what was before what; two keys worked on at once; a Job that is deleted by hand
//! after its success and before that is recorded (its outcome goes with it); a pod that ends well in the moment between the look at
//! it and the deletion of its Job.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::indexing_slicing)]

mod cluster;
#[allow(dead_code)]
#[path = "../decisions/made.rs"]
mod made;
mod operator;
#[allow(unreachable_pub)]
#[path = "../../../tests/src/reliability.rs"]
mod reliability;
mod scenarios;
mod settling;
mod state;
mod user;
mod wrong;

use std::{collections::BTreeSet, time::Instant};

use arcane_controller::stream::plan;
use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::{
    cluster::Step,
    operator::{Answer, Decide},
    scenarios::{SCENARIOS, Scenario},
    state::*,
    user::Act,
    wrong::WRONG,
};

/// A scenario, played by a version of the plan.
struct World {
    scenario: &'static Scenario,
    decide: Decide,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    World(Step),
    User(Act),
    See(usize, Kind),
    Decide(usize),
    Write(usize, Answer),
    Crash(usize),
    TakeOver,
    GiveUpWaiting(usize),
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            cluster: Cluster {
                streams: Log::of(None),
                requests: Log::of(Vec::new()),
                jobs: Log::of(Vec::new()),
                pods: Vec::new(),
                started: BTreeSet::new(),
                ids: 0,
                owed: BTreeSet::new(),
                done: BTreeSet::new(),
            },
            operators: [None, None],
            left: self.budget,
            broken: None,
        };
        user::create_stream(&mut state, self.scenario.suspended);
        state.operators[0] = Some(Operator::new());
        state.trim();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What comes after a breach is of no interest.
        if state.broken.is_some() {
            return;
        }
        let steps = cluster::steps(state).into_iter().filter(|step| !self.is_too_late(state, step));
        actions.extend(steps.map(Action::World));
        if state.left.acts > 0 {
            actions.extend(user::acts(state, self.scenario.acts).into_iter().map(Action::User));
        }
        for (who, operator) in state.operators.iter().enumerate() {
            let Some(operator) = operator else { continue };
            if operator.is_over {
                actions.push(Action::Write(who, Answer::Arrives));
                continue;
            }
            let lagging = Kind::ALL.into_iter().filter(|kind| operator.behind[*kind as usize] > 0);
            actions.extend(lagging.map(|kind| Action::See(who, kind)));
            if operator.work.is_some() {
                actions.push(Action::Write(who, Answer::Arrives));
                if state.left.lost_answers > 0 {
                    actions.push(Action::Write(who, Answer::IsLost));
                }
                // A creation names no version of anything. That it doesn't come late is for the margin by which a leader stops
                // to write before its lease ends (`Leadership::may_write`).
                if state.left.takeovers > 0 && !operator::is_about_to_create(operator, self.decide) {
                    actions.push(Action::TakeOver);
                }
            } else if !operator.waits() {
                actions.push(Action::Decide(who));
            } else if state.left.impatience > 0 {
                actions.push(Action::GiveUpWaiting(who));
            }
            if state.left.crashes > 0 {
                actions.push(Action::Crash(who));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::World(step) => cluster::take(&mut state, &step),
            Action::User(act) => user::take(&mut state, &act),
            Action::See(who, kind) => operator::see(&mut state, who, kind),
            Action::Decide(who) => operator::decide(&mut state, who, self.decide),
            Action::Write(who, answer) => {
                state.left.lost_answers -= u8::from(answer == Answer::IsLost);
                operator::write(&mut state, who, answer, self.decide);
            }
            Action::Crash(who) => {
                state.left.crashes -= 1;
                state.operators[who] = Some(Operator::new());
            }
            Action::TakeOver => {
                state.left.takeovers -= 1;
                state.operators[1] = Some(Operator::new());
                if let Some(former) = &mut state.operators[0] {
                    former.is_over = true;
                }
            }
            Action::GiveUpWaiting(who) => {
                state.left.impatience -= 1;
                state.operators[who].as_mut().map(operator::give_up_waiting)?;
            }
        }
        state.trim();
        (state != *before).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let lags = state.operators.iter().flatten().filter(|operator| !operator.is_over);
        lags.flat_map(|operator| operator.behind).all(|behind| behind <= self.scenario.lag)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let [single_writer, once, backfill_first, convergence] = PROPERTIES;
        vec![
            Property::always(single_writer, |_, state| keeps(state, Invariant::SingleWriter)),
            Property::always(once, |_, state| keeps(state, Invariant::BackfillOnce)),
            Property::always(backfill_first, |_, state| keeps(state, Invariant::BackfillFirst)),
            Property::always(convergence, |world: &Self, state| {
                !knows_everything(state) || settling::goes_wrong(state, world.decide).is_none()
            }),
        ]
    }
}

const PROPERTIES: [&str; 4] =
    ["I1 single writer", "I2 a backfill completes exactly once", "I3 backfill before streaming", "I4, I5, convergence"];

fn keeps(state: &State, invariant: Invariant) -> bool {
    state.broken.is_none_or(|broken| broken.invariant != invariant)
}

impl World {
    /// A pod that ends well between the look at it and the deletion of its Job: nobody can tell that from one that was told to.
    fn is_too_late(&self, state: &State, step: &Step) -> bool {
        let Step::EndPod(job, PodEnd::Well) = step else { return false };
        state.operators.iter().flatten().any(|operator| operator::is_about_to_delete(operator, *job, self.decide))
    }
}

/// States in between lead to such a one: by finishing what was begun and seeing what there is to see.
fn knows_everything(state: &State) -> bool {
    let is_up_to_date = |operator: &Operator| operator.work.is_none() && operator.behind == [0; 3] && !operator.is_over;
    state.broken.is_none() && state.operators.iter().flatten().all(is_up_to_date)
}

/// What a check came to.
struct Checked {
    states: usize,
    depth: usize,
    /// Whether that is all there are.
    is_whole: bool,
    /// The properties that don't hold, each with the shortest way to a breach.
    broken: Vec<(&'static str, String)>,
}

/// Beyond so many states, those that are reached in several ways counted as often, a scenario is cut off, the shortest ways first.
const AT_MOST: usize = 100_000;
/// The same where the tests are asked to go deep.
const AT_MOST_DEEP: usize = 2_000_000;

/// Whether the tests have been asked to go deep: `ARCANE_MODEL=deep` has the larger budgets, and looks at more.
fn is_deep() -> bool {
    std::env::var("ARCANE_MODEL").is_ok_and(|how| how == "deep")
}

fn check(scenario: &'static Scenario, decide: Decide, is_deep: bool, until: HasDiscoveries) -> Checked {
    let (budget, at_most) = if is_deep { (scenario.deep, AT_MOST_DEEP) } else { (scenario.budget, AT_MOST) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = World { scenario, decide, budget }.checker().threads(threads).finish_when(until);
    let checker = checker.target_state_count(at_most).spawn_bfs().join();
    let told = |path: stateright::Path<State, Action>| {
        let last = path.last_state().clone();
        let actions: Vec<String> = path.into_actions().iter().map(|action| format!("    {action:?}")).collect();
        let how = last.broken.map(|broken| broken.how).or_else(|| settling::goes_wrong(&last, decide));
        format!("{}\n{}\n  in the end {last:?}", how.unwrap_or_default(), actions.join("\n"))
    };
    Checked {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        is_whole: checker.state_count() < at_most,
        broken: checker.discoveries().into_iter().map(|(name, path)| (name, told(path))).collect(),
    }
}

#[test]
fn no_order_of_steps_breaks_an_invariant() {
    let only = std::env::var("ARCANE_MODEL_ONLY").ok();
    let mut total = 0;
    let mut failures = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| only.as_ref().is_none_or(|only| scenario.name == only)) {
        let begun = Instant::now();
        let checked = check(scenario, plan, is_deep(), HasDiscoveries::Any);
        total += checked.states;
        let share = if checked.is_whole { "all" } else { "a part" };
        eprintln!(
            "{}: {} states ({share}), {} steps deep, {:.1?}",
            scenario.name,
            checked.states,
            checked.depth,
            begun.elapsed()
        );
        let counted = reliability::Counted { runs: checked.states, violations: checked.broken.len() };
        reliability::record(&format!("model, scenario \"{}\": states", scenario.name), share, &counted);
        failures.extend(checked.broken.iter().map(|(name, told)| format!("{}: {name}: {told}", scenario.name)));
    }
    eprintln!("{total} states");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn wrong_versions_are_found() {
    let mut unfound = Vec::new();
    for wrong in WRONG {
        let begun = Instant::now();
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == wrong.scenario).unwrap();
        let broken = PROPERTIES.into_iter().find(|name| name.starts_with(wrong.breaks)).unwrap();
        let checked = check(scenario, wrong.decide, false, HasDiscoveries::AnyOf([broken].into()));
        eprintln!("{}: {} states, {:.1?}", wrong.name, checked.states, begun.elapsed());
        if checked.broken.iter().all(|(name, _)| *name != broken) {
            unfound.push(wrong.name);
        }
    }
    assert!(unfound.is_empty(), "{unfound:?}");
}
