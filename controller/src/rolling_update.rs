//! How a template change reaches the running streams of a class with `updateStrategy: RollingUpdate`.
//!
//! The class's reconcile decides whose turn it is, for the whole class at once: one worker at a time works on a class. A
//! stream's reconcile replaces its Job when it has the turn. Nothing of it has to survive a crash: which Jobs are outdated,
//! on their way out or not ready yet, and which streams have failed, is read anew from what the watches show.

mod gather;
mod observed;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arcane_common::identity::{StreamKey, Uid};
use jiff::Timestamp;

pub use observed::{Judgement, Member, Observed, State};
pub use plan::{Plan, Progress, plan};

use crate::{
    caches::Caches,
    stream::{self, Action, observed::Standing},
};

/// What a class has decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// The streams whose turn it is.
    pub turns: BTreeMap<StreamKey, Turn>,
    /// The hashes of templates that no further stream gets, for one has failed with them.
    pub stopped: BTreeSet<String>,
    /// Since when a Job is seen with a ready pod, without a break.
    pub ready_since: BTreeMap<Uid, Timestamp>,
}

/// A stream may replace its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The Job.
    pub job: Uid,
    /// Whether the stream has decided to replace it. Until the watch shows that, the turn can't be taken back.
    pub taken: bool,
}

impl Roll {
    /// Where a stream stands that waits to be replaced.
    pub fn standing<'a>(&self, stream: &StreamKey, jobs: impl IntoIterator<Item = &'a Uid>, target: &str) -> Standing {
        if self.turns.get(stream).is_some_and(|turn| jobs.into_iter().any(|job| *job == turn.job)) {
            Standing::Turn
        } else if self.stopped.contains(target) {
            Standing::Stopped
        } else {
            Standing::Waits
        }
    }
}

/// How far a class's rolling update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Not everything is listed yet: what was said stays.
    Unknown,
    /// There is nothing to say.
    Nothing,
    /// This is to be said.
    Said(Progress),
}

/// What has been decided for a class.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What there is to say.
    pub news: News,
    /// The streams for which something has changed.
    pub streams: Vec<StreamKey>,
    /// After which time somebody counts as available of whom no watch will tell.
    pub look_again: Option<Duration>,
}

/// Decides whose turn it is among the streams of a class.
pub fn decide(caches: &mut Caches, class: &str, now: Timestamp) -> Decision {
    let (observed, ready_since, look_again) = match gather::gather(caches, class, now) {
        gather::Gathered::NotRolling => {
            let roll = caches.rolls.remove(class);
            let streams = roll.map(|roll| roll.turns.into_keys().collect()).unwrap_or_default();
            return Decision { news: News::Nothing, streams, look_again: None };
        }
        gather::Gathered::Incomplete => {
            return Decision { news: News::Unknown, streams: Vec::new(), look_again: None };
        }
        gather::Gathered::All { observed, ready_since, look_again } => (observed, ready_since, look_again),
    };
    let plan = plan(&observed, &mut |member, job| replaces(caches, &member.stream, job, now));
    let before = caches.rolls.remove(class);
    let taken = before.iter().flat_map(|roll| &roll.turns).filter(|(stream, turn)| {
        let is_it = |member: &Member| member.stream == **stream && member.state == State::Taken;
        turn.taken && observed.members.iter().any(is_it)
    });
    let mut turns: BTreeMap<StreamKey, Turn> = taken.map(|(stream, turn)| (stream.clone(), turn.clone())).collect();
    turns.extend(plan.turns.into_iter().map(|(stream, job)| (stream, Turn { job, taken: false })));
    let after = Roll { turns, stopped: plan.stopped, ready_since };
    let has_news = |member: &&Member| match (&member.state, &member.target) {
        (State::Outdated { job, .. }, Some(target)) => {
            let standing = |roll: &Roll| roll.standing(&member.stream, [job], target);
            before.as_ref().map(standing) != Some(standing(&after))
        }
        _ => false,
    };
    let streams = observed.members.iter().filter(has_news).map(|member| member.stream.clone()).collect();
    caches.rolls.insert(class.to_owned(), after);
    // While there is nothing to update, nobody waits for anybody.
    let look_again = look_again.filter(|_| plan.progress.is_some());
    Decision { news: plan.progress.map_or(News::Nothing, News::Said), streams, look_again }
}

/// Whether a stream would replace its Job if it had the turn: only its own decision knows.
fn replaces(caches: &mut Caches, stream: &StreamKey, job: &Uid, now: Timestamp) -> bool {
    let Some(mut gathered) = stream::gather::gather(caches, stream, now) else { return false };
    if let Ok(asked) = &mut gathered.observed.asked {
        asked.update = stream::observed::Update::Rolling(Standing::Turn);
    }
    let is_it = |action: &Action| matches!(action, Action::DeleteJob { uid, .. } if uid == job);
    stream::plan(&gathered.observed).actions.iter().any(is_it)
}
