use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use arcane_common::identity::Uid;
use arcane_process::namespaces::Scope;

use super::table::{Scoped, Table};
use crate::key::Key;

/// Kinds of objects that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// StreamClasses.
    Class,
    /// StreamingJobTemplates.
    Template,
    /// BackfillRequests.
    Request,
    /// Jobs.
    Job,
    /// CronJobs.
    CronJob,
    /// Streams of any kind.
    Stream,
}

/// Own writes that no watch has shown yet.
///
/// A decision that rests on a state from before one's own write would repeat it. So it waits.
#[derive(Debug, Default)]
pub struct OwnWrites {
    unseen: HashMap<Uid, Unseen>,
    /// The objects in `unseen` by whom they concern, for that is asked before each decision.
    by_key: HashMap<Key, HashSet<Uid>>,
    /// What went lately: the watch may show an object gone before the answer to its deletion is here.
    gone: HashSet<Uid>,
    /// The same in the order in which it went, with the times.
    went: VecDeque<(Instant, Uid)>,
    listing_since: HashMap<(u8, Scope), Instant>,
}

#[derive(Debug)]
struct Unseen {
    watched: Watched,
    resource_version: u64,
    key: Key,
    since: Instant,
}

impl OwnWrites {
    /// Notes a write: the object's UID and the version that the write has made.
    pub fn note(&mut self, watched: Watched, uid: Uid, resource_version: &str, key: Key) {
        if self.gone.contains(&uid) {
            return;
        }
        self.forget(&uid);
        self.by_key.entry(key.clone()).or_default().insert(uid.clone());
        let resource_version = number(resource_version);
        self.unseen.insert(uid, Unseen { watched, resource_version, key, since: Instant::now() });
    }

    /// A watch has shown an object at a version.
    pub fn seen(&mut self, uid: &Uid, resource_version: &str) {
        if self.unseen.get(uid).is_some_and(|write| number(resource_version) >= write.resource_version) {
            self.forget(uid);
        }
    }

    /// A watch has shown that an object is gone.
    pub fn gone(&mut self, uid: &Uid) {
        self.forget(uid);
        let now = Instant::now();
        let is_over = |went: &Instant| now.saturating_duration_since(*went) >= ANSWER_LIMIT;
        while let Some((_, long_gone)) = self.went.pop_front_if(|(went, _)| is_over(went)) {
            self.gone.remove(&long_gone);
        }
        if self.gone.insert(uid.clone()) {
            self.went.push_back((now, uid.clone()));
        }
    }

    /// A new list of a kind has begun.
    pub fn listing_starts(&mut self, watched: Watched, scope: &Scope) {
        self.listing_since.insert((watched as u8, scope.clone()), Instant::now());
    }

    /// A list of a kind is complete: what was written before it began and isn't in it is gone.
    pub fn listing_done(&mut self, watched: Watched, scope: &Scope, is_there: impl Fn(&Uid, &Key) -> bool) {
        let Some(since) = self.listing_since.remove(&(watched as u8, scope.clone())) else { return };
        let is_about = |write: &Unseen| {
            write.watched == watched && write.since < since && write.key.namespace().is_none_or(|it| scope.holds(it))
        };
        let is_gone = |(uid, write): &(&Uid, &Unseen)| is_about(write) && !is_there(uid, &write.key);
        let gone: Vec<Uid> = self.unseen.iter().filter(is_gone).map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| self.forget(uid));
    }

    /// If a list of all objects of a kind has just become complete in their table: the same by what is in there.
    pub fn settle<K: Hash + Eq + Clone + Scoped, T>(
        &mut self,
        watched: Watched,
        scope: &Scope,
        table: &Table<K, T>,
        uid_of: impl Fn(&T) -> &Uid,
    ) {
        if table.has_just_listed() {
            self.listing_done(watched, scope, |uid, _| table.values().any(|seen| uid_of(seen) == uid));
        }
    }

    /// Since when the oldest write that concerns `key` is unseen.
    pub fn oldest_unseen(&self, key: &Key) -> Option<Instant> {
        self.by_key.get(key)?.iter().filter_map(|uid| self.unseen.get(uid)).map(|write| write.since).min()
    }

    /// Waits no longer for the writes that concern `key`.
    pub fn give_up(&mut self, key: &Key) {
        for uid in self.by_key.remove(key).into_iter().flatten() {
            self.unseen.remove(&uid);
        }
    }

    /// Waits no longer for the write of an object.
    fn forget(&mut self, uid: &Uid) {
        let Some(write) = self.unseen.remove(uid) else { return };
        if let Some(uids) = self.by_key.get_mut(&write.key) {
            uids.remove(uid);
            if uids.is_empty() {
                self.by_key.remove(&write.key);
            }
        }
    }
}

/// An answer that takes longer than this is no answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Resource versions are numbers that grow (Kubernetes says so since 1.35, and etcd made it so before);
/// one that isn't a number is never waited for.
fn number(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::Class("c".into())
    }

    #[test]
    fn a_write_is_waited_for_until_a_watch_shows_it_or_a_later_one() {
        let mut writes = OwnWrites::default();
        let uid = Uid::new("u");
        writes.note(Watched::Job, uid.clone(), "10", key());
        writes.seen(&uid, "9");
        assert!(writes.oldest_unseen(&key()).is_some());
        assert!(writes.oldest_unseen(&Key::Class("other".into())).is_none());
        writes.seen(&uid, "11");
        assert!(writes.oldest_unseen(&key()).is_none());
    }

    #[test]
    fn what_went_before_the_answer_to_its_deletion_came_is_not_waited_for() {
        let mut writes = OwnWrites::default();
        let uid = Uid::new("u");
        writes.gone(&uid);
        writes.note(Watched::Job, uid, "10", key());
        assert!(writes.oldest_unseen(&key()).is_none());
    }

    #[test]
    fn a_list_that_began_after_the_write_settles_it() {
        let mut writes = OwnWrites::default();
        let uid = Uid::new("u");
        writes.listing_starts(Watched::Job, &Scope::All);
        writes.note(Watched::Job, uid.clone(), "10", key());
        writes.listing_done(Watched::Job, &Scope::All, |_, _| false);
        assert!(writes.oldest_unseen(&key()).is_some(), "that list began before the write");
        writes.listing_starts(Watched::Job, &Scope::All);
        writes.listing_done(Watched::Job, &Scope::All, |_, _| false);
        assert!(writes.oldest_unseen(&key()).is_none());
    }

    #[test]
    fn a_list_of_one_namespace_settles_nothing_of_another() {
        let [here, there] = ["here", "there"].map(|name| Scope::Namespace(name.into()));
        let key = Key::Request(arcane_common::identity::ObjectName::new("here", "backfill"));
        let mut writes = OwnWrites::default();
        writes.note(Watched::Request, Uid::new("u"), "10", key.clone());
        writes.listing_starts(Watched::Request, &there);
        writes.listing_done(Watched::Request, &there, |_, _| false);
        assert!(writes.oldest_unseen(&key).is_some());
        writes.listing_starts(Watched::Request, &here);
        writes.listing_done(Watched::Request, &here, |_, _| false);
        assert!(writes.oldest_unseen(&key).is_none());
    }
}
