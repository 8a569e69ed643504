use std::collections::{BTreeMap, BTreeSet};

use arcane_common::{
    api::condition::Condition,
    identity::{StreamKey, Uid},
};

use super::observed::{Member, Observed, State};

/// A decision about a class's rolling update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The streams that may replace their Job now.
    pub turns: BTreeMap<StreamKey, Uid>,
    /// The hashes of templates that no further stream gets.
    pub stopped: BTreeSet<String>,
    /// What is to be said of it.
    pub progress: Option<Progress>,
}

/// What a class says of its rolling update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// A stable CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Progress {
    /// Streams are replaced, a few at a time.
    pub const ROLLS: &'static str = "RollingUpdate";
    /// A stream has failed with its new Job, so no other gets one.
    pub const STOPPED: &'static str = "RollingUpdateStopped";

    /// What a recorded condition says, if it is about a rolling update.
    pub fn recorded(condition: &Condition) -> Option<Self> {
        let reason = [Self::ROLLS, Self::STOPPED].into_iter().find(|reason| *reason == condition.reason)?;
        Some(Self { reason, message: condition.message.clone() })
    }
}

/// Decides whose turn it is. `replaces` tells whether a stream would use its turn.
///
/// Two numbers stay within `maxUnavailable`: how many streams are on their way from one Job to the next, and, before one
/// that runs is stopped, how many don't run. A stream whose outdated Job doesn't run anyway comes first: it costs nothing,
/// and else a template that can't run would keep the one that mends it from coming.
pub fn plan(observed: &Observed, replaces: &mut dyn FnMut(&Member, &Uid) -> bool) -> Plan {
    let number = |counts: fn(&State) -> bool| observed.members.iter().filter(|it| counts(&it.state)).count();
    let mut on_their_way = number(|state| matches!(state, State::Taken | State::Unavailable));
    let mut not_running = on_their_way + number(|state| matches!(state, State::Outdated { ready: false, .. }));
    let stopped: BTreeSet<String> =
        observed.members.iter().filter(|it| it.state == State::Failed).filter_map(|it| it.target.clone()).collect();
    let mut candidates: Vec<(bool, &Member, &Uid)> = observed
        .members
        .iter()
        .filter(|member| member.target.as_ref().is_some_and(|target| !stopped.contains(target)))
        .filter_map(|member| match &member.state {
            State::Outdated { job, ready } => Some((*ready, member, job)),
            _ => None,
        })
        .collect();
    candidates.sort_by_key(|(ready, member, _)| (*ready, &member.stream));
    let mut turns = BTreeMap::new();
    for (ready, member, job) in candidates {
        if on_their_way >= observed.max_unavailable || (ready && not_running >= observed.max_unavailable) {
            break;
        }
        if replaces(member, job) {
            turns.insert(member.stream.clone(), job.clone());
            on_their_way += 1;
            not_running += usize::from(ready);
        }
    }
    let progress = progress(observed, &stopped);
    Plan { turns, stopped, progress }
}

fn progress(observed: &Observed, stopped: &BTreeSet<String>) -> Option<Progress> {
    let members = &observed.members;
    let is_outdated = |member: &&Member| matches!(member.state, State::Outdated { .. } | State::Taken);
    let outdated = members.iter().filter(is_outdated).count();
    if outdated == 0 {
        return None;
    }
    let of = members.len();
    let is_stopped = |member: &&Member| member.target.as_ref().is_some_and(|target| stopped.contains(target));
    let kept = members.iter().filter(is_outdated).find(is_stopped);
    let failed = members.iter().filter(|member| member.state == State::Failed && kept.is_some());
    let failed = failed.filter(|member| member.target == kept.and_then(|kept| kept.target.clone()));
    if let Some(failed) = failed.min_by_key(|member| &member.stream) {
        let message = format!(
            "{outdated} of {of} streams run with an earlier template or earlier secretRefs; their update has stopped, for \
             {} has failed with its new Job; it goes on when that stream has left Failed, or with another change of the \
             template or spec.secretRefs",
            failed.stream
        );
        return Some(Progress { reason: Progress::STOPPED, message });
    }
    let mut message = format!(
        "{outdated} of {of} streams run with an earlier template or earlier secretRefs and are replaced, with at most {} \
         at a time without a running Job",
        observed.max_unavailable
    );
    let waited_for = members.iter().filter(|member| matches!(member.state, State::Unavailable | State::Taken));
    if let Some(waited_for) = waited_for.min_by_key(|member| &member.stream) {
        message = format!("{message}; waits for {}", waited_for.stream);
    }
    Some(Progress { reason: Progress::ROLLS, message })
}
