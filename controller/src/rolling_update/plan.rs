use std::collections::{BTreeMap, BTreeSet};

use arcane_common::{
    api::condition::Condition,
    identity::{StreamKey, Uid},
};

use super::observed::{Judgement, Member, Observed, State};

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
    /// The API server would refuse the new Jobs.
    pub const REFUSED: &'static str = "TemplateRefused";

    /// What a recorded condition says, if it is about a rolling update.
    pub fn recorded(condition: &Condition) -> Option<Self> {
        let reason =
            [Self::ROLLS, Self::STOPPED, Self::REFUSED].into_iter().find(|reason| *reason == condition.reason)?;
        Some(Self { reason, message: condition.message.clone() })
    }
}

/// Decides whose turn it is. `replaces` tells whether a stream would use its turn.
///
/// Two numbers stay within `maxUnavailable`: how many streams are on their way from one Job to the next, and, before one
/// that runs is stopped, how many don't run. A stream whose outdated Job doesn't run anyway comes first: it costs nothing,
/// and else a template that can't run would keep the one that mends it from coming. What the API server would refuse
/// replaces nothing.
pub fn plan(observed: &Observed, replaces: &mut dyn FnMut(&Member, &Uid) -> bool) -> Plan {
    let number = |counts: fn(&State) -> bool| observed.members.iter().filter(|it| counts(&it.state)).count();
    let mut on_their_way = number(|state| matches!(state, State::Taken | State::Unavailable));
    let mut not_running = on_their_way + number(|state| matches!(state, State::Outdated { ready: false, .. }));
    let stopped: BTreeSet<String> =
        observed.members.iter().filter(|it| it.state == State::Failed).filter_map(|it| it.target.clone()).collect();
    let mut candidates: Vec<(bool, &Member, &Uid)> = observed
        .members
        .iter()
        .filter(|member| member.template == Judgement::Valid)
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
    let outdated: Vec<&Member> =
        members.iter().filter(|it| matches!(it.state, State::Outdated { .. } | State::Taken)).collect();
    let waited_for = members.iter().filter(|it| matches!(it.state, State::Unavailable | State::Taken));
    let waits_for = list(waited_for);
    let of = members.len();
    if outdated.is_empty() {
        let waits_for = waits_for.filter(|_| observed.is_under_way)?;
        let message = format!(
            "none of {of} streams runs with an earlier template or earlier secretRefs any more; waits for {} of {waits_for}",
            available(observed)
        );
        return Some(Progress { reason: Progress::ROLLS, message });
    }
    let message = format!("{} of {of} streams run with an earlier template or earlier secretRefs", outdated.len());
    let kept = outdated.iter().find_map(|it| it.target.as_ref().filter(|target| stopped.contains(*target)));
    let failed = members.iter().filter(|it| kept.is_some() && it.state == State::Failed && it.target.as_ref() == kept);
    if let Some(failed) = list(failed) {
        let message = format!(
            "{message}; their update has stopped, for with their new Job have failed: {failed}; it goes on when these have \
             left Failed, or with another change of the template or spec.secretRefs"
        );
        return Some(Progress { reason: Progress::STOPPED, message });
    }
    let refused = outdated.iter().find_map(|it| match &it.template {
        Judgement::Refused(template) => Some(template),
        Judgement::Pending | Judgement::Valid => None,
    });
    if let Some(template) = refused {
        let message = format!(
            "{message} and keep their Jobs, for the API server refuses those that would be made of StreamingJobTemplate \
             {template}: its condition Valid tells why"
        );
        return Some(Progress { reason: Progress::REFUSED, message });
    }
    let waits_for = waits_for.map(|streams| format!("; waits for {streams}")).unwrap_or_default();
    let message = format!(
        "{message} and are replaced, with at most {} of the class at a time without {}{waits_for}",
        observed.max_unavailable,
        available(observed)
    );
    Some(Progress { reason: Progress::ROLLS, message })
}

/// What an available stream has.
fn available(observed: &Observed) -> String {
    match observed.min_ready_seconds {
        0 => "a ready pod".to_owned(),
        seconds => format!("a pod that has been ready for {seconds} s"),
    }
}

/// The first few, by name, and how many more; `None` of none.
fn list<'a>(members: impl Iterator<Item = &'a Member>) -> Option<String> {
    const NAMED: usize = 3;
    let mut names: Vec<&StreamKey> = members.map(|member| &member.stream).collect();
    names.sort();
    let named: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    match names.len() {
        0 => None,
        number if number > NAMED => Some(format!("{} and {} more", named.join(", "), number - NAMED)),
        _ => Some(named.join(", ")),
    }
}
