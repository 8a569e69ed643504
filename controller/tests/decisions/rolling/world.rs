//! A class whose streams go from Job to Job, one small step after the other, in any order.

use std::collections::BTreeMap;

use arcane_common::identity::Uid;
use arcane_controller::rolling_update::{Judgement, Member, Observed, Plan, State, plan};
use proptest::prelude::*;

use super::stream;

/// A stream as it really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Real {
    /// Its Job was made of this template; a pod is ready.
    Running(usize),
    /// There is a Job of this template; no pod is ready yet.
    Starting(usize),
    /// The deletion of its Job was asked for.
    Going,
    /// It has no Job.
    Gone,
    Failed(usize),
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The class decides.
    Class,
    /// A stream decides: uses its turn, or starts its next Job.
    Stream(usize),
    /// The API server carries out a deletion that the stream has asked for; no watch has shown it before.
    Shown(usize),
    /// A Job that was deleted is gone, or a new one gets ready or fails.
    Progress(usize, bool),
    /// The template changes.
    Template,
    /// A user lets a failed stream try again.
    Retry(usize),
    /// The controller crashes and starts again.
    Crash,
}

const STREAMS: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS;
    prop_oneof![
        6 => Just(Step::Class),
        6 => stream.clone().prop_map(Step::Stream),
        6 => stream.clone().prop_map(Step::Shown),
        8 => (stream.clone(), prop::bool::weighted(0.97)).prop_map(|(stream, well)| Step::Progress(stream, well)),
        1 => Just(Step::Template),
        1 => stream.prop_map(Step::Retry),
        1 => Just(Step::Crash),
    ]
}

type Decide = fn(&Observed) -> Plan;

struct World {
    max_unavailable: usize,
    template: usize,
    streams: Vec<Real>,
    /// What the controller remembers: given turns, and whether they were taken.
    turns: BTreeMap<usize, bool>,
    decide: Decide,
}

impl World {
    fn new(max_unavailable: usize, decide: Decide) -> Self {
        Self { max_unavailable, template: 1, streams: vec![Real::Running(0); STREAMS], turns: BTreeMap::new(), decide }
    }

    fn observed(&self) -> Observed {
        let members = self.streams.iter().enumerate().map(|(number, real)| {
            let outdated = |ready| State::Outdated { job: Uid::new(format!("{number}")), ready };
            let state = match *real {
                Real::Running(_) | Real::Starting(_) if self.turns.get(&number) == Some(&true) => State::Taken,
                Real::Running(of) if of == self.template => State::Current,
                Real::Running(_) => outdated(true),
                Real::Starting(of) if of == self.template => State::Unavailable,
                Real::Starting(_) => outdated(false),
                Real::Going | Real::Gone => State::Unavailable,
                Real::Failed(of) if of == self.template => State::Failed,
                // By the change of the template it is about to leave `Failed`.
                Real::Failed(_) => State::Unavailable,
            };
            let target = Some(self.template.to_string());
            Member { stream: stream(number), target, template: Judgement::Valid, state }
        });
        Observed {
            max_unavailable: self.max_unavailable,
            min_ready_seconds: 0,
            is_under_way: true,
            members: members.collect(),
        }
    }

    fn class(&mut self) {
        let plan = (self.decide)(&self.observed());
        self.turns.retain(|_, taken| *taken);
        for number in 0..STREAMS {
            if plan.turns.contains_key(&stream(number)) {
                self.turns.insert(number, false);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Class => self.class(),
            Step::Stream(number) => match self.streams[number] {
                Real::Running(of) | Real::Starting(of) if of != self.template => {
                    if let Some(taken) = self.turns.get_mut(&number) {
                        *taken = true;
                    }
                }
                Real::Gone => self.streams[number] = Real::Starting(self.template),
                Real::Failed(of) if of != self.template => self.streams[number] = Real::Starting(self.template),
                _ => {}
            },
            Step::Shown(number) => {
                if self.turns.get(&number) == Some(&true) {
                    self.turns.remove(&number);
                    self.streams[number] = Real::Going;
                }
            }
            Step::Progress(number, well) => match self.streams[number] {
                Real::Going => self.streams[number] = Real::Gone,
                Real::Starting(of) => self.streams[number] = if well { Real::Running(of) } else { Real::Failed(of) },
                _ => {}
            },
            Step::Template => self.template += 1,
            Step::Retry(number) => {
                if let Real::Failed(_) = self.streams[number] {
                    self.streams[number] = Real::Gone;
                }
            }
            Step::Crash => {
                // What was asked for is carried out, or lost, before another controller has its first lists.
                for (number, taken) in std::mem::take(&mut self.turns) {
                    if taken && number % 2 == 0 {
                        self.streams[number] = Real::Going;
                    }
                }
            }
        }
    }

    /// How many don't run because of the roll or a failure.
    fn down(&self) -> usize {
        let is_down = |(number, real): (usize, &Real)| {
            !matches!(real, Real::Running(_)) || self.turns.get(&number) == Some(&true)
        };
        self.streams.iter().enumerate().filter(|(number, real)| is_down((*number, *real))).count()
    }

    /// Without failures and other templates everything gets the template of today.
    fn rest(&mut self) -> bool {
        for _ in 0..20 * STREAMS {
            self.class();
            for number in 0..STREAMS {
                for step in [Step::Stream(number), Step::Shown(number), Step::Progress(number, true)] {
                    self.take(step);
                }
            }
        }
        self.streams.iter().all(|real| *real == Real::Running(self.template))
    }
}

fn right(observed: &Observed) -> Plan {
    plan(observed, &mut |_, _| true)
}

/// The first step after which more streams are down than may be.
fn first_fault(max_unavailable: usize, steps: &[Step], decide: Decide) -> Option<usize> {
    let mut world = World::new(max_unavailable, decide);
    steps.iter().position(|step| {
        world.take(*step);
        world.down() > max_unavailable
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn never_are_more_streams_down_than_may_be(max in 1..4_usize, steps in prop::collection::vec(step(), 1..300)) {
        let fault = first_fault(max, &steps, right);
        prop_assert_eq!(fault, None, "{:?}", &steps[..=fault.unwrap_or(0)]);
    }

    #[test]
    fn in_the_end_every_stream_has_the_template_of_today(
        max in 1..4_usize,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new(max, right);
        for step in steps {
            world.take(step);
        }
        // Somebody looks after what has failed.
        for number in 0..STREAMS {
            world.take(Step::Retry(number));
        }
        prop_assert!(world.rest(), "{:?}", world.streams);
    }
}

/// The world would notice: a controller that forgets what it has taken, or counts what isn't ready as running.
#[test]
fn the_world_notices_wrong_versions() {
    let forgets: Decide = |observed| {
        let mut other = observed.clone();
        other.members.iter_mut().filter(|it| it.state == State::Taken).for_each(|it| it.state = State::Current);
        right(&other)
    };
    let hurries: Decide = |observed| {
        let mut other = observed.clone();
        other.members.iter_mut().filter(|it| it.state == State::Unavailable).for_each(|it| it.state = State::Current);
        right(&other)
    };
    let all: Vec<Step> = (0..STREAMS).map(Step::Stream).collect();
    let round = [&[Step::Class], all.as_slice()].concat();
    assert!(first_fault(1, &[round.clone(), round.clone()].concat(), forgets).is_some());
    let shown: Vec<Step> = (0..STREAMS).map(Step::Shown).collect();
    assert!(first_fault(1, &[round.clone(), shown, round].concat(), hurries).is_some());
}
