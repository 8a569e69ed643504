//! §3.6: whose turn it is in a class's rolling update.
//!
//! Every class of up to five streams in every state, against sentences of the contract; wrong versions, each caught; and a
//! world in which streams go from Job to Job, new Jobs fail, and the controller crashes, at random.

mod world;

use std::collections::BTreeSet;

use arcane_common::identity::{StreamKey, Uid};
use arcane_controller::rolling_update::{Judgement, Member, Observed, Plan, State, plan};

use crate::made;

/// The hashes of two templates, as they are now.
const TARGETS: [&str; 2] = [made::TEMPLATE, made::OTHER_TEMPLATE];

fn stream(number: usize) -> StreamKey {
    StreamKey { kind: made::kind(), name: made::name(&format!("stream-{number}")) }
}

fn job(number: usize) -> Uid {
    Uid::new(format!("uid-of-job-{number}"))
}

/// Every state that a stream can be in; a class may use two templates.
fn members(number: usize) -> Vec<Member> {
    let outdated = |ready| State::Outdated { job: job(number), ready };
    let of_first = [
        State::Current,
        outdated(true),
        outdated(false),
        State::Taken,
        State::Unavailable,
        State::Failed,
        State::Apart,
    ];
    let member = |state, target: Option<&str>| Member {
        stream: stream(number),
        target: target.map(Into::into),
        template: Judgement::Valid,
        state,
    };
    let mut all: Vec<Member> = of_first.into_iter().map(|state| member(state, Some(TARGETS[0]))).collect();
    all.extend([outdated(true), State::Failed].map(|state| member(state, Some(TARGETS[1]))));
    all.push(member(State::Unavailable, None));
    for template in [Judgement::Pending, Judgement::Refused(made::name("template"))] {
        all.push(Member { template, ..member(outdated(true), Some(TARGETS[1])) });
    }
    all
}

/// A class, and which of its streams would not use their turn.
#[derive(Clone, Debug)]
struct Situation {
    observed: Observed,
    unwilling: BTreeSet<usize>,
}

impl Situation {
    fn each(mut visit: impl FnMut(&Self) -> bool) {
        for count in 0..=5 {
            let states = members(0).len();
            for index in 0..states.pow(count) {
                let mut rest = index;
                let members: Vec<Member> = (0..count as usize)
                    .map(|number| {
                        let member = members(number).swap_remove(rest % states);
                        rest /= states;
                        member
                    })
                    .collect();
                // With the largest classes one number will do.
                let numbers = if count == 5 { 2..=2 } else { 1..=3 };
                for max_unavailable in numbers {
                    for (unwilling, is_under_way) in [(None, false), (None, true), (Some(0), true), (Some(1), false)] {
                        let members = members.clone();
                        let observed = Observed { max_unavailable, min_ready_seconds: 5, is_under_way, members };
                        let unwilling = unwilling.filter(|number| *number < observed.members.len());
                        let unwilling = unwilling.into_iter().collect();
                        if !visit(&Self { observed, unwilling }) {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn is_willing(&self, member: &Member) -> bool {
        !self.unwilling.iter().any(|number| stream(*number) == member.stream)
    }

    fn decide(&self) -> Plan {
        plan(&self.observed, &mut |member, _| self.is_willing(member))
    }

    fn number(&self, counts: impl Fn(&Member) -> bool) -> usize {
        self.observed.members.iter().filter(|member| counts(member)).count()
    }
}

struct Trial<'a> {
    situation: &'a Situation,
    plan: &'a Plan,
}

impl Trial<'_> {
    fn turn_of(&self, member: &Member) -> Option<&Uid> {
        self.plan.turns.get(&member.stream)
    }

    /// Whether a stream has failed with the template that this one is to get.
    fn is_stopped(&self, member: &Member) -> bool {
        let mut members = self.situation.observed.members.iter();
        members.any(|other| other.state == State::Failed && other.target == member.target && member.target.is_some())
    }

    fn may_be_next(&self, member: &Member) -> bool {
        matches!(member.state, State::Outdated { .. })
            && member.template == Judgement::Valid
            && !self.is_stopped(member)
            && self.situation.is_willing(member)
    }
}

fn is_on_its_way(member: &Member) -> bool {
    matches!(member.state, State::Taken | State::Unavailable)
}

fn runs(member: &Member) -> bool {
    matches!(member.state, State::Current | State::Outdated { ready: true, .. })
}

/// "At most `maxUnavailable` at a time": no more are on their way than that, where it is the roll that sends them.
fn no_more_are_on_their_way_than_allowed(trial: &Trial<'_>) -> bool {
    let on_their_way = trial.situation.number(is_on_its_way);
    trial.plan.turns.is_empty() || on_their_way + trial.plan.turns.len() <= trial.situation.observed.max_unavailable
}

/// What runs is stopped only while the streams that don't run are few enough; one that has failed for good is spoken of by
/// its phase and doesn't count.
fn what_runs_is_stopped_only_while_few_enough_dont_run(trial: &Trial<'_>) -> bool {
    let stopped = trial.situation.number(|member| runs(member) && trial.turn_of(member).is_some());
    let not_running = trial
        .situation
        .number(|member| is_on_its_way(member) || matches!(member.state, State::Outdated { ready: false, .. }));
    stopped == 0 || not_running + stopped <= trial.situation.observed.max_unavailable
}

fn only_outdated_jobs_are_replaced(trial: &Trial<'_>) -> bool {
    trial.plan.turns.iter().all(|(stream, uid)| {
        let mut members = trial.situation.observed.members.iter();
        members.any(|it| it.stream == *stream && matches!(&it.state, State::Outdated { job, .. } if job == uid))
    })
}

/// "Stops at the first that fails."
fn no_stream_gets_what_another_has_failed_with(trial: &Trial<'_>) -> bool {
    trial.situation.observed.members.iter().all(|it| !trial.is_stopped(it) || trial.turn_of(it).is_none())
}

/// What Kubernetes would refuse takes nothing down; nor does what it was not asked about yet.
fn nothing_is_stopped_for_a_template_that_is_not_valid(trial: &Trial<'_>) -> bool {
    let members = &trial.situation.observed.members;
    members.iter().all(|member| member.template == Judgement::Valid || trial.turn_of(member).is_none())
}

/// Where nothing is waited for and nothing has failed, it goes on, with as many as may.
fn it_never_rests_while_it_may_go_on(trial: &Trial<'_>) -> bool {
    let situation = trial.situation;
    let next = situation.number(|member| trial.may_be_next(member));
    let left = situation.observed.max_unavailable.saturating_sub(situation.number(is_on_its_way));
    let idle = situation.number(|member| matches!(member.state, State::Outdated { ready: false, .. }));
    // Those that don't run anyway come first, if they may; else they count.
    let next_idle = situation
        .number(|member| trial.may_be_next(member) && matches!(member.state, State::Outdated { ready: false, .. }));
    let of_idle = next_idle.min(left);
    let of_running = left.saturating_sub(idle.max(of_idle)).min(next - next_idle);
    trial.plan.turns.len() == of_idle + if of_idle == next_idle { of_running } else { 0 }
}

/// A stream that won't use its turn doesn't keep others waiting.
fn no_turn_is_given_to_a_stream_that_wont_use_it(trial: &Trial<'_>) -> bool {
    trial.situation.observed.members.iter().all(|it| trial.situation.is_willing(it) || trial.turn_of(it).is_none())
}

fn it_is_spoken_of_until_all_is_up_to_date(trial: &Trial<'_>) -> bool {
    let is_outdated = |member: &Member| matches!(member.state, State::Outdated { .. } | State::Taken);
    let is_stopped = |member: &Member| is_outdated(member) && trial.is_stopped(member);
    let is_refused = |member: &Member| is_outdated(member) && matches!(member.template, Judgement::Refused(_));
    let number = |counts: &dyn Fn(&Member) -> bool| trial.situation.number(counts);
    let wanted = if number(&is_stopped) > 0 {
        Some("RollingUpdateStopped")
    } else if number(&is_refused) > 0 {
        Some("TemplateRefused")
    } else if number(&is_outdated) > 0 || trial.situation.observed.is_under_way && number(&is_on_its_way) > 0 {
        Some("RollingUpdate")
    } else {
        None
    };
    trial.plan.progress.as_ref().map(|progress| progress.reason) == wanted
}

/// Who is told that an update has stopped is told which stream to look at.
fn the_failed_stream_is_named(trial: &Trial<'_>) -> bool {
    let Some(progress) = trial.plan.progress.as_ref().filter(|it| it.reason == "RollingUpdateStopped") else {
        return true;
    };
    let mut failed = trial.situation.observed.members.iter().filter(|it| it.state == State::Failed);
    failed.any(|it| progress.message.contains(&it.stream.to_string()))
}

type Rule = (&'static str, fn(&Trial<'_>) -> bool);

macro_rules! rules {
    ($($rule:ident)+) => {
        &[$((stringify!($rule), $rule),)+]
    };
}

const RULES: &[Rule] = rules! {
    no_more_are_on_their_way_than_allowed
    what_runs_is_stopped_only_while_few_enough_dont_run
    only_outdated_jobs_are_replaced
    no_stream_gets_what_another_has_failed_with
    nothing_is_stopped_for_a_template_that_is_not_valid
    it_never_rests_while_it_may_go_on
    no_turn_is_given_to_a_stream_that_wont_use_it
    it_is_spoken_of_until_all_is_up_to_date
    the_failed_stream_is_named
};

#[test]
fn every_turn_keeps_the_contract() {
    let mut number = 0;
    Situation::each(|situation| {
        number += 1;
        let plan = situation.decide();
        let trial = Trial { situation, plan: &plan };
        for (name, holds) in RULES {
            assert!(holds(&trial), "{name} is broken by {situation:#?}\n  => {plan:#?}");
        }
        true
    });
    assert!(number > 500_000, "{number}");
}

type Wrong = (&'static str, fn(&Situation) -> Plan, &'static str);

/// A plan for another situation than the one that is there.
fn as_if(situation: &Situation, change: impl Fn(&mut State)) -> Plan {
    with_members(situation, |member| change(&mut member.state))
}

fn with_members(situation: &Situation, change: impl Fn(&mut Member)) -> Plan {
    let mut other = situation.clone();
    other.observed.members.iter_mut().for_each(change);
    other.decide()
}

const WRONG: &[Wrong] = &[
    (
        "it takes a Job for available as soon as it is created",
        |situation| {
            as_if(situation, |state| {
                if *state == State::Unavailable {
                    *state = State::Current
                }
            })
        },
        "no_more_are_on_their_way_than_allowed",
    ),
    (
        "it forgets the turns that are taken",
        |situation| {
            as_if(situation, |state| {
                if *state == State::Taken {
                    *state = State::Current
                }
            })
        },
        "no_more_are_on_their_way_than_allowed",
    ),
    (
        "it takes every outdated Job for one that runs",
        |situation| {
            as_if(situation, |state| {
                if let State::Outdated { ready, .. } = state {
                    *ready = true
                }
            })
        },
        "what_runs_is_stopped_only_while_few_enough_dont_run",
    ),
    (
        "it goes on whatever fails",
        |situation| {
            as_if(situation, |state| {
                if *state == State::Failed {
                    *state = State::Apart
                }
            })
        },
        "no_stream_gets_what_another_has_failed_with",
    ),
    (
        "it takes a failed stream for one that is waited for",
        |situation| {
            as_if(situation, |state| {
                if *state == State::Apart {
                    *state = State::Unavailable
                }
            })
        },
        "it_never_rests_while_it_may_go_on",
    ),
    (
        "it takes every template for one that is valid",
        |situation| with_members(situation, |member| member.template = Judgement::Valid),
        "nothing_is_stopped_for_a_template_that_is_not_valid",
    ),
    (
        "it takes the update for done when the last Job has been replaced",
        |situation| {
            let mut other = situation.clone();
            other.observed.is_under_way = false;
            other.decide()
        },
        "it_is_spoken_of_until_all_is_up_to_date",
    ),
    (
        "it asks nobody",
        |situation| plan(&situation.observed, &mut |_, _| true),
        "no_turn_is_given_to_a_stream_that_wont_use_it",
    ),
    (
        "it replaces one more than it may",
        |situation| {
            let mut other = situation.clone();
            other.observed.max_unavailable += 1;
            other.decide()
        },
        "no_more_are_on_their_way_than_allowed",
    ),
    (
        "it says nothing",
        |situation| Plan { progress: None, ..situation.decide() },
        "it_is_spoken_of_until_all_is_up_to_date",
    ),
];

#[test]
fn wrong_versions_are_caught() {
    for (wrong, decide, caught_by) in WRONG {
        let (_, holds) = RULES.iter().find(|(name, _)| name == caught_by).expect(caught_by);
        let mut caught = false;
        Situation::each(|situation| {
            let plan = decide(situation);
            caught = !holds(&Trial { situation, plan: &plan });
            !caught
        });
        assert!(caught, "{wrong} isn't caught by {caught_by}");
    }
}
