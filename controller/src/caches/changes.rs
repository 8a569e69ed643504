//! What the watches show is taken in, and what is to be looked at for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use arcane_common::identity::{GroupKind, ObjectName, Uid};
use arcane_process::namespaces::Scope;
use kube::{core::ApiResource, runtime::watcher::Event};

use super::{Caches, Change, CrdFacts, KindOfStream, Table, Watched, stream_of};
use crate::{
    facts::{AdmissionFacts, ClassFacts, JobFacts, JobState, RequestFacts, StreamFacts, TemplateFacts},
    key::Key,
};

impl Caches {
    /// Takes in the webhook's registration, as it is now.
    pub fn on_admission(&mut self, admission: AdmissionFacts) -> Vec<Key> {
        if self.admission.as_ref() == Some(&admission) {
            return Vec::new();
        }
        self.admission = Some(admission);
        self.classes.values().map(|class| Key::Class(class.name.clone())).collect()
    }

    /// Takes in what the watch of classes shows.
    pub fn on_class(&mut self, event: Event<(String, ClassFacts)>) -> Vec<Key> {
        let listing = matches!(event, Event::Init);
        let changes = self.classes.on(&Scope::All, event);
        if listing {
            self.own_writes.listing_starts(Watched::Class, &Scope::All);
        }
        let mut keys = Vec::new();
        for change in changes {
            self.own_writes_on(&change, |class| (&class.uid, &class.resource_version));
            let sides = [change.before.as_deref(), change.after.as_deref()];
            let relevant =
                |class: &ClassFacts| (class.spec.clone(), class.is_default, class.deleting, class.uid.clone());
            let matters = sides[0].map(relevant) != sides[1].map(relevant);
            let [trouble_before, trouble] = sides.map(|class| class.and_then(ClassFacts::recorded_trouble));
            for class in sides.into_iter().flatten() {
                keys.push(Key::Class(class.name.clone()));
                if matters {
                    let kind = class.kind();
                    keys.extend(self.classes_of(&kind).map(|class| Key::Class(class.name.clone())));
                    keys.extend(self.streams_of(&kind));
                }
                if matters || trouble_before != trouble {
                    let requests = self.requests.values().filter(|request| request.class == class.name);
                    keys.extend(requests.map(|request| Key::Request(request.name.clone())));
                }
            }
        }
        self.own_writes.settle(Watched::Class, &Scope::All, &self.classes, |seen| &seen.uid);
        keys
    }

    /// Takes in what the watch of templates shows.
    pub fn on_template(&mut self, scope: &Scope, event: Event<(ObjectName, TemplateFacts)>) -> Vec<Key> {
        if matches!(event, Event::Init) {
            self.own_writes.listing_starts(Watched::Template, scope);
        }
        let mut keys = Vec::new();
        for change in self.templates.on(scope, event) {
            self.own_writes_on(&change, |template| (&template.uid, &template.resource_version));
            let Some(template) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            keys.push(Key::Template(template.name.clone()));
            let streams = self.streams_by_template.get(&template.name).into_iter().flatten();
            let kinds: BTreeSet<&GroupKind> = streams.clone().map(|stream| &stream.kind).collect();
            keys.extend(kinds.into_iter().flat_map(|kind| self.rolling_classes_of(kind)));
            keys.extend(streams.map(|stream| Key::Stream(stream.clone())));
        }
        self.own_writes.settle(Watched::Template, scope, &self.templates, |seen| &seen.uid);
        keys
    }

    /// Takes in what the watch of requests shows.
    pub fn on_request(&mut self, scope: &Scope, event: Event<(ObjectName, RequestFacts)>) -> Vec<Key> {
        if matches!(event, Event::Init) {
            self.own_writes.listing_starts(Watched::Request, scope);
        }
        let mut keys = Vec::new();
        for change in self.requests.on(scope, event) {
            self.own_writes_on(&change, |request| (&request.uid, &request.resource_version));
            if let Some(before) = &change.before {
                unindex(&mut self.requests_by_stream, &before.stream_name(), &before.name);
            }
            if let Some(after) = &change.after {
                self.requests_by_stream.entry(after.stream_name()).or_default().insert(after.name.clone());
                keys.push(Key::Request(after.name.clone()));
            }
            for request in change.before.iter().chain(&change.after) {
                keys.extend(self.streams_named(&request.stream_name()).map(Key::Stream));
            }
        }
        self.own_writes.settle(Watched::Request, scope, &self.requests, |seen| &seen.uid);
        keys
    }

    /// Takes in what the watch of Jobs shows.
    pub fn on_job(&mut self, scope: &Scope, event: Event<(ObjectName, JobFacts)>) -> Vec<Key> {
        if matches!(event, Event::Init) {
            self.own_writes.listing_starts(Watched::Job, scope);
        }
        let mut keys = Vec::new();
        for change in self.jobs.on(scope, event) {
            self.own_writes_on(&change, |job| (&job.uid, &job.resource_version));
            if let Some(before) = &change.before {
                if let Some(stream) = stream_of(before) {
                    unindex(&mut self.jobs_by_stream, &stream, &before.name);
                }
                self.index_run(before, false);
                self.jobs_in_motion.remove(&before.name);
                if change.after.as_ref().is_none_or(|after| after.uid != before.uid) {
                    self.job_is_gone(before);
                }
            }
            if let Some(after) = &change.after {
                self.index_run(after, true);
                if after.is_in_motion() {
                    self.jobs_in_motion.insert(after.name.clone());
                }
                if let Some(stream) = stream_of(after) {
                    self.jobs_by_stream.entry(stream).or_default().insert(after.name.clone());
                }
            }
            if change.before.as_deref().map(seen_by_rolls) != change.after.as_deref().map(seen_by_rolls) {
                let stream = change.before.iter().chain(&change.after).find_map(|job| stream_of(job));
                keys.extend(
                    stream.into_iter().flat_map(|stream| self.rolling_classes_of(&stream.kind).collect::<Vec<_>>()),
                );
            }
            for job in change.before.iter().chain(&change.after) {
                keys.extend(stream_of(job).map(Key::Stream));
                keys.extend(self.streams_labelled(job).map(Key::Stream));
            }
        }
        self.own_writes.settle(Watched::Job, scope, &self.jobs, |seen| &seen.uid);
        keys
    }

    /// Takes in what the watch of CustomResourceDefinitions shows.
    pub fn on_crd(&mut self, event: Event<(String, CrdFacts)>) -> Vec<Key> {
        let mut keys = Vec::new();
        for change in self.crds.on(&Scope::All, event) {
            let Some(crd) = change.after.as_ref().or(change.before.as_ref()) else { continue };
            for entry in self.kinds.values_mut() {
                if format!("{}.{}", entry.resource.plural, entry.resource.group) == crd.name {
                    // Another schema may take what this one refused.
                    entry.status_refused = None;
                }
            }
            let classes = self.classes.values().filter(|class| class.crd_name() == crd.name);
            keys.extend(classes.map(|class| Key::Class(class.name.clone())));
        }
        keys
    }

    /// Takes in what the watch of one kind of stream shows.
    pub fn on_stream(&mut self, kind: &GroupKind, scope: &Scope, event: Event<(ObjectName, StreamFacts)>) -> Vec<Key> {
        if matches!(event, Event::Init) {
            self.own_writes.listing_starts(Watched::Stream, scope);
        }
        let Some(entry) = self.kinds.get_mut(kind) else { return Vec::new() };
        let changes = entry.streams.on(scope, event);
        let has_just_listed = entry.streams.has_just_listed();
        let mut keys = Vec::new();
        for change in changes {
            self.own_writes_on(&change, |stream| (&stream.uid, &stream.resource_version));
            keys.extend(self.stream_changed(&change));
        }
        if has_just_listed {
            let names: Vec<String> = self.classes_of(kind).map(|class| class.name.clone()).collect();
            keys.extend(names.into_iter().map(Key::Class));
            if let Some(entry) = self.kinds.get_mut(kind) {
                entry.troubles.remove(scope);
                let streams = &entry.streams;
                let of_kind: HashSet<&Uid> = streams.values().map(|stream| &stream.uid).collect();
                // Streams of other kinds have lists of their own.
                self.own_writes.listing_done(Watched::Stream, scope, |uid, key| {
                    of_kind.contains(uid) || !matches!(key, Key::Stream(stream) if stream.kind == *kind)
                });
            }
        }
        keys
    }

    /// Begins to know a kind of stream.
    pub fn add_kind(&mut self, kind: GroupKind, resource: ApiResource) {
        let streams = Table::of_scopes(self.namespaces.scopes().len());
        self.kinds.insert(kind, KindOfStream { resource, streams, troubles: BTreeMap::new(), status_refused: None });
    }

    /// Forgets a kind of stream. Its Jobs are left as they are.
    pub fn remove_kind(&mut self, kind: &GroupKind) {
        let Some(entry) = self.kinds.remove(kind) else { return };
        for stream in entry.streams.values() {
            self.index_templates(stream, false);
            self.memory.remove(&stream.key);
        }
    }

    /// The keys of all streams of a kind.
    pub fn streams_of(&self, kind: &GroupKind) -> Vec<Key> {
        let streams = self.kinds.get(kind).into_iter().flat_map(|kind| kind.streams.values());
        streams.map(|stream| Key::Stream(stream.key.clone())).collect()
    }

    fn stream_changed(&mut self, change: &Change<StreamFacts>) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some(before) = &change.before {
            self.index_templates(before, false);
        }
        match (&change.before, &change.after) {
            (before, Some(after)) => {
                self.index_templates(after, true);
                keys.push(Key::Stream(after.key.clone()));
                let phase = |stream: &Arc<StreamFacts>| stream.recorded.phase;
                let seen_by_rolls = |stream: &Arc<StreamFacts>| {
                    let stream = Arc::clone(stream);
                    (stream.generation, stream.deleting, stream.class_label.clone(), stream.failure_note.clone())
                };
                if before.as_ref().map(seen_by_rolls) != Some(seen_by_rolls(after)) {
                    keys.extend(self.rolling_classes_of(&after.key.kind));
                }
                if before.as_ref().map(phase) != Some(phase(after)) {
                    keys.extend(self.classes_of(&after.key.kind).map(|class| Key::Class(class.name.clone())));
                }
            }
            (Some(before), None) => {
                self.memory.remove(&before.key);
                keys.extend(self.requests_of(&before.key.name).map(|request| Key::Request(request.name.clone())));
                keys.extend(self.classes_of(&before.key.kind).map(|class| Key::Class(class.name.clone())));
            }
            (None, None) => {}
        }
        keys
    }

    /// Classes of a kind that replace running Jobs when their template changes.
    pub(super) fn rolling_classes_of<'a>(&'a self, kind: &'a GroupKind) -> impl Iterator<Item = Key> + 'a {
        let classes = self.classes_of(kind).filter(|class| class.spec.max_unavailable(0).is_some());
        classes.map(|class| Key::Class(class.name.clone()))
    }

    fn index_templates(&mut self, stream: &StreamFacts, insert: bool) {
        for template in &stream.templates {
            if insert {
                self.streams_by_template.entry(template.clone()).or_default().insert(stream.key.clone());
            } else {
                unindex(&mut self.streams_by_template, template, &stream.key);
            }
        }
    }

    /// A Job that goes while it is unfinished may leave a pod, even if it was deleted in foreground: the garbage
    /// collector waits only for the pods that it has seen by then.
    fn job_is_gone(&mut self, job: &JobFacts) {
        if job.is_run() {
            self.run_is_gone(job);
            return;
        }
        let (Some(stream), Some(owner)) = (stream_of(job), &job.owner) else { return };
        let memory = self.memory.get_mut(&stream).filter(|memory| memory.uid == owner.uid);
        if let Some(memory) = memory
            && job.is_unfinished()
        {
            memory.pods_clear = false;
        }
    }

    pub(super) fn own_writes_on<T>(&mut self, change: &Change<T>, of: impl Fn(&T) -> (&Uid, &String)) {
        if let Some(after) = change.after.as_deref() {
            let (uid, resource_version) = of(after);
            self.own_writes.seen(uid, resource_version);
        }
        if let Some(before) = change.before.as_deref() {
            let (uid, _) = of(before);
            let same = change.after.as_deref().is_some_and(|after| of(after).0 == uid);
            if !same {
                self.own_writes.gone(uid);
            }
        }
    }
}

/// What rolling updates read of a Job.
fn seen_by_rolls(job: &JobFacts) -> (&Uid, bool, bool, &JobState, Option<&String>) {
    (&job.uid, job.ready, job.deleting_since.is_some(), &job.state, job.template_hash.as_ref())
}
pub(super) fn unindex<K: std::hash::Hash + Eq, V: Ord>(index: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}
