use std::{collections::HashMap, collections::HashSet, hash::Hash, sync::Arc};

use arcane_common::identity::ObjectName;
use arcane_process::namespaces::Scope;
use kube::runtime::watcher::Event;

/// The objects of one kind as a watch has shown them.
#[derive(Debug)]
pub struct Table<K, T> {
    entries: HashMap<K, Arc<T>>,
    /// How many lists make it complete.
    scopes: usize,
    listing: HashMap<Scope, HashSet<K>>,
    listed: HashSet<Scope>,
    just_listed: bool,
}

/// What is kept by a key that tells whether a list is about it.
pub trait Scoped {
    /// Whether a list of this scope holds the object, if it is there.
    fn is_in(&self, scope: &Scope) -> bool;
}

impl Scoped for ObjectName {
    fn is_in(&self, scope: &Scope) -> bool {
        scope.holds(&self.namespace)
    }
}

/// Names of objects that are in no namespace.
impl Scoped for String {
    fn is_in(&self, _: &Scope) -> bool {
        true
    }
}

/// What became of one object.
#[derive(Debug)]
pub struct Change<T> {
    /// How it was; `None` for one that was not there.
    pub before: Option<Arc<T>>,
    /// How it is; `None` for one that is gone.
    pub after: Option<Arc<T>>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self::of_scopes(1)
    }
}

impl<K, T> Table<K, T> {
    /// One that is filled by so many watches.
    pub fn of_scopes(scopes: usize) -> Self {
        Self { entries: HashMap::new(), scopes, listing: HashMap::new(), listed: HashSet::new(), just_listed: false }
    }
}

impl<K: Hash + Eq + Clone + Scoped, T> Table<K, T> {
    /// Whether the first lists are complete.
    pub fn is_synced(&self) -> bool {
        self.listed.len() >= self.scopes
    }

    /// Whether the first list of one scope is complete.
    pub fn has_listed(&self, scope: &Scope) -> bool {
        self.listed.contains(scope)
    }

    /// Whether the event taken in last completed a list.
    pub fn has_just_listed(&self) -> bool {
        self.just_listed
    }

    /// One object.
    pub fn get(&self, key: &K) -> Option<&Arc<T>> {
        self.entries.get(key)
    }

    /// All objects.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.entries.values()
    }

    /// Takes in an event of a scope's watch and tells what changed. What a complete list no longer holds is gone.
    pub fn on(&mut self, scope: &Scope, event: Event<(K, T)>) -> Vec<Change<T>> {
        self.just_listed = false;
        match event {
            Event::Init => {
                self.listing.insert(scope.clone(), HashSet::new());
                Vec::new()
            }
            Event::InitApply((key, object)) => {
                if let Some(listing) = self.listing.get_mut(scope) {
                    listing.insert(key.clone());
                }
                vec![self.put(key, object)]
            }
            Event::Apply((key, object)) => vec![self.put(key, object)],
            Event::Delete((key, object)) => {
                // The last state is in the event; it may be newer than the one we knew.
                self.entries.remove(&key);
                vec![Change { before: Some(Arc::new(object)), after: None }]
            }
            Event::InitDone => {
                self.listed.insert(scope.clone());
                self.just_listed = true;
                let Some(listed) = self.listing.remove(scope) else { return Vec::new() };
                let is_gone = |key: &&K| key.is_in(scope) && !listed.contains(key);
                let gone: Vec<K> = self.entries.keys().filter(is_gone).cloned().collect();
                let removed = gone.into_iter().filter_map(|key| self.entries.remove(&key));
                removed.map(|before| Change { before: Some(before), after: None }).collect()
            }
        }
    }

    fn put(&mut self, key: K, object: T) -> Change<T> {
        let after = Arc::new(object);
        let before = self.entries.insert(key, Arc::clone(&after));
        Change { before, after: Some(after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_list_removes_what_it_does_not_hold() {
        let mut table: Table<String, u32> = Table::default();
        table.on(&Scope::All, Event::Init);
        table.on(&Scope::All, Event::InitApply(("a".to_owned(), 1)));
        table.on(&Scope::All, Event::InitApply(("b".to_owned(), 2)));
        assert!(!table.is_synced());
        assert!(table.on(&Scope::All, Event::InitDone).is_empty());
        assert!(table.is_synced());
        table.on(&Scope::All, Event::Init);
        table.on(&Scope::All, Event::InitApply(("b".to_owned(), 3)));
        assert_eq!(
            table.get(&"a".to_owned()).map(|value| **value),
            Some(1),
            "nothing is gone until the list is complete"
        );
        let changes = table.on(&Scope::All, Event::InitDone);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].before.as_deref(), Some(&1));
        assert!(changes[0].after.is_none());
    }

    #[test]
    fn an_object_that_appears_during_a_list_is_not_lost() {
        let mut table: Table<String, u32> = Table::default();
        table.on(&Scope::All, Event::Apply(("a".to_owned(), 1)));
        let changes = table.on(&Scope::All, Event::Delete(("a".to_owned(), 2)));
        assert_eq!(changes[0].before.as_deref(), Some(&2));
        assert!(table.get(&"a".to_owned()).is_none());
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_others() {
        let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.into()));
        let object = |namespace: &str| ObjectName::new(namespace, "orders");
        let mut table: Table<ObjectName, u32> = Table::of_scopes(2);
        table.on(&a, Event::Init);
        table.on(&b, Event::Init);
        table.on(&a, Event::InitApply((object("a"), 1)));
        table.on(&b, Event::InitApply((object("b"), 2)));
        table.on(&a, Event::InitDone);
        assert!(table.has_listed(&a) && !table.is_synced());
        table.on(&b, Event::InitDone);
        assert!(table.is_synced());
        table.on(&a, Event::Init);
        let gone: Vec<_> = table.on(&a, Event::InitDone).into_iter().filter_map(|change| change.before).collect();
        assert_eq!(gone, [1.into()]);
        assert_eq!(table.get(&object("b")).map(|value| **value), Some(2));
    }
}
