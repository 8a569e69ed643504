//! What the watches have shown so far: plain data, indexed the way decisions ask for it.
//!
//! One lock guards everything, and nobody awaits while holding it: a decision sees one moment.

mod changes;
mod crd;
mod cron_jobs;
mod memory;
mod numbers;
mod own_writes;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use arcane_common::{
    identity::{GroupKind, ObjectName, StreamKey, Uid},
    stream::{CompiledSchemas, Phase},
};
use arcane_process::namespaces::{Namespaces, Scope};
use kube::core::ApiResource;

pub use crd::{CrdFacts, OURS};
pub use memory::{RefusedJob, StreamMemory};
pub use numbers::Alike;
pub use own_writes::{OwnWrites, Watched};
pub use table::{Change, Table};

use cron_jobs::Labelled;

use crate::{
    facts::{AdmissionFacts, ClassFacts, CronJobFacts, JobFacts, Owner, RequestFacts, StreamFacts, TemplateFacts},
    key::Key,
    rolling_update::Roll,
    work_queue::Priority,
};

/// What one Job on its way costs the others, on a small cluster.
const RUSH_OF_EACH: Duration = Duration::from_millis(50);
const LONGEST_RUSH: Duration = Duration::from_secs(120);

/// The streams of one kind, and how their watch is doing.
#[derive(Debug)]
pub struct KindOfStream {
    /// Where the API server serves them.
    pub resource: ApiResource,
    /// The streams.
    pub streams: Table<ObjectName, StreamFacts>,
    /// Why watches don't work, in the API server's words.
    pub troubles: BTreeMap<Scope, WatchTrouble>,
    /// What the API server said when a status was refused, if that happened.
    pub status_refused: Option<String>,
}

/// Why a watch doesn't work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchTrouble {
    /// Whether a right is missing.
    pub forbidden: bool,
    /// The words.
    pub message: String,
}

/// Everything seen.
#[derive(Debug, Default)]
pub struct Caches {
    /// StreamClasses by name.
    pub classes: Table<String, ClassFacts>,
    /// Templates.
    pub templates: Table<ObjectName, TemplateFacts>,
    /// BackfillRequests.
    pub requests: Table<ObjectName, RequestFacts>,
    /// Jobs that carry a stream's label.
    pub jobs: Table<ObjectName, JobFacts>,
    /// CronJobs that carry a stream's label.
    pub cron_jobs: Table<ObjectName, CronJobFacts>,
    /// CustomResourceDefinitions by name.
    pub crds: Table<String, CrdFacts>,
    /// Streams by kind.
    pub kinds: HashMap<GroupKind, KindOfStream>,
    /// What the registration of the webhook shows to it; `None` before it was looked at, and where nobody asked for it.
    pub admission: Option<AdmissionFacts>,
    /// The schemas of the classes.
    pub schemas: CompiledSchemas,
    /// Rolling updates by class.
    pub rolls: HashMap<String, Roll>,
    /// Own writes that no watch has shown yet.
    pub own_writes: OwnWrites,
    requests_by_stream: HashMap<ObjectName, BTreeSet<ObjectName>>,
    jobs_by_stream: HashMap<StreamKey, BTreeSet<ObjectName>>,
    cron_jobs_by_stream: HashMap<StreamKey, BTreeSet<ObjectName>>,
    runs_by_label: HashMap<Labelled, BTreeSet<ObjectName>>,
    streams_by_template: HashMap<ObjectName, BTreeSet<StreamKey>>,
    memory: HashMap<StreamKey, StreamMemory>,
    jobs_in_motion: HashSet<ObjectName>,
    counted: HashMap<String, Instant>,
    /// The namespaces that are looked into.
    pub namespaces: Namespaces,
}

impl Caches {
    /// Caches of what is in these namespaces.
    pub fn of(namespaces: Namespaces) -> Self {
        let scopes = namespaces.scopes().len();
        Self {
            templates: Table::of_scopes(scopes),
            requests: Table::of_scopes(scopes),
            jobs: Table::of_scopes(scopes),
            cron_jobs: Table::of_scopes(scopes),
            namespaces,
            ..Self::default()
        }
    }

    /// Whether the first lists of everything but the streams are complete.
    pub fn are_synced(&self) -> bool {
        self.classes.is_synced()
            && self.templates.is_synced()
            && self.requests.is_synced()
            && self.jobs.is_synced()
            && self.cron_jobs.is_synced()
            && self.crds.is_synced()
    }

    /// A stream.
    pub fn stream(&self, key: &StreamKey) -> Option<&Arc<StreamFacts>> {
        self.kinds.get(&key.kind)?.streams.get(&key.name)
    }

    /// Requests whose `streamId` names a stream of this namespace and name.
    pub fn requests_of(&self, name: &ObjectName) -> impl Iterator<Item = &Arc<RequestFacts>> {
        self.requests_by_stream.get(name).into_iter().flatten().filter_map(|request| self.requests.get(request))
    }

    /// Jobs that a stream of this kind and name controls.
    pub fn jobs_of(&self, key: &StreamKey) -> impl Iterator<Item = &Arc<JobFacts>> {
        self.jobs_by_stream.get(key).into_iter().flatten().filter_map(|job| self.jobs.get(job))
    }

    /// Whether no Job, CronJob or run of a stream of this kind and name is there.
    pub fn has_nothing_of(&self, key: &StreamKey) -> bool {
        self.jobs_of(key).next().is_none()
            && self.cron_jobs_of(key).next().is_none()
            && self.runs_of(key).next().is_none()
    }

    /// How much longer than usual a Job takes to come or to go: the cluster moves some dozens of them a second, and these many
    /// are on their way. What takes long for that reason needs no look at pods and no word, which would make it take longer.
    pub fn rush(&self) -> Duration {
        RUSH_OF_EACH.saturating_mul(u32::try_from(self.jobs_in_motion.len()).unwrap_or(u32::MAX)).min(LONGEST_RUSH)
    }

    /// Classes that register a kind and are not being deleted.
    pub fn classes_of<'a>(&'a self, kind: &'a GroupKind) -> impl Iterator<Item = &'a Arc<ClassFacts>> {
        self.classes.values().filter(move |class| !class.deleting && class.kind() == *kind)
    }

    /// Streams of any kind with this namespace and name.
    pub fn streams_named<'a>(&'a self, name: &'a ObjectName) -> impl Iterator<Item = StreamKey> + 'a {
        self.kinds
            .iter()
            .filter(|(_, kind)| kind.streams.get(name).is_some())
            .map(|(kind, _)| StreamKey { kind: kind.clone(), name: name.clone() })
    }

    /// The stream that controls the Job of this name and UID, if the Job is known.
    pub fn stream_of_job(&self, name: &ObjectName, uid: &Uid) -> Option<StreamKey> {
        let job = self.jobs.get(name).filter(|job| job.uid == *uid)?;
        if job.is_run() { self.stream_of_run(job) } else { stream_of(job) }
    }

    /// How urgent it is to look at a key: first what a person waits for, then what has begun, then what is new.
    pub fn urgency(&self, key: &Key) -> Priority {
        let Key::Stream(key) = key else { return Priority::Normal };
        let has_jobs = self.jobs_of(key).next().is_some() || self.cron_jobs_of(key).next().is_some();
        let is_asked_for = self.stream(key).is_none_or(|stream| {
            let is_at_rest = stream.recorded.phase == Some(Phase::Suspended);
            stream.deleting || if stream.suspended { has_jobs } else { is_at_rest }
        });
        match (is_asked_for, has_jobs || self.requests_of(&key.name).next().is_some()) {
            (true, _) => Priority::High,
            (false, true) => Priority::Normal,
            (false, false) => Priority::Low,
        }
    }

    /// What is remembered of a stream; nothing of an earlier one of its name.
    pub fn memory_of(&mut self, key: &StreamKey, uid: &Uid) -> &mut StreamMemory {
        let memory = self.memory.entry(key.clone()).or_insert_with(|| StreamMemory::of(uid.clone()));
        if memory.uid != *uid {
            *memory = StreamMemory::of(uid.clone());
        }
        memory
    }

    /// Whether the watches may lack something that this process itself did about a stream.
    pub fn is_in_doubt(&mut self, key: &StreamKey) -> bool {
        self.memory_if_known(key).is_some_and(|memory| memory.in_doubt)
    }

    /// The watches have been compared with what is there.
    pub fn no_longer_in_doubt(&mut self, key: &StreamKey) {
        if let Some(memory) = self.memory_if_known(key) {
            memory.in_doubt = false;
        }
    }

    fn memory_if_known(&mut self, key: &StreamKey) -> Option<&mut StreamMemory> {
        let uid = self.stream(key)?.uid.clone();
        Some(self.memory_of(key, &uid))
    }

    /// How long the numbers of a class's streams have to wait; with none, they count as written now.
    pub fn wait_before_counting(&mut self, class: &str, now: Instant, every: Duration) -> Option<Duration> {
        let left = self.counted.get(class).and_then(|last| every.checked_sub(now.saturating_duration_since(*last)));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Some(left);
        }
        self.counted.insert(class.to_owned(), now);
        None
    }

    /// Notes a write of ours, unless its watch has shown it already.
    pub fn note_own_write(&mut self, watched: Watched, uid: Uid, resource_version: &str, key: &Key) {
        self.own_writes.note(watched, uid.clone(), resource_version, key.clone());
        // The watch may have been quicker than the answer.
        let shown = match (watched, key) {
            (Watched::Class, _) => self.classes.values().find(|it| it.uid == uid).map(|it| it.resource_version.clone()),
            (Watched::Template, Key::Template(name)) => self.templates.get(name).map(|it| it.resource_version.clone()),
            (Watched::Stream, Key::Stream(key)) => self.stream(key).map(|it| it.resource_version.clone()),
            (Watched::Request, Key::Stream(key)) => {
                self.requests_of(&key.name).find(|it| it.uid == uid).map(|it| it.resource_version.clone())
            }
            (Watched::Request, Key::Request(name)) => self.requests.get(name).map(|it| it.resource_version.clone()),
            (Watched::Job, Key::Stream(key)) => {
                let mut jobs = self.jobs_of(key).chain(self.runs_of(key));
                jobs.find(|it| it.uid == uid).map(|it| it.resource_version.clone())
            }
            (Watched::CronJob, Key::Stream(key)) => {
                self.cron_jobs_of(key).find(|it| it.uid == uid).map(|it| it.resource_version.clone())
            }
            _ => None,
        };
        if let Some(version) = shown {
            self.own_writes.seen(&uid, &version);
        }
    }
}

/// The stream that controls a Job, as its owner reference names it. A run is controlled by its CronJob.
pub fn stream_of(job: &JobFacts) -> Option<StreamKey> {
    if job.is_run() { None } else { owned_by(&job.name, job.owner.as_ref()) }
}

/// The stream that an owner reference of an object names.
pub fn owned_by(object: &ObjectName, owner: Option<&Owner>) -> Option<StreamKey> {
    let owner = owner?;
    Some(StreamKey { kind: owner.kind.clone(), name: ObjectName::new(&object.namespace, &owner.name) })
}

/// How long an own write may stay unseen before it is no longer waited for.
pub const UNSEEN_LIMIT: Duration = Duration::from_secs(10);

impl Caches {
    /// How long a decision has to wait until the watches show what was written before.
    pub fn wait_for_own_writes(&mut self, key: &Key, now: Instant) -> Option<Duration> {
        let since = self.own_writes.oldest_unseen(key)?;
        let left = UNSEEN_LIMIT.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero());
        if left.is_none() {
            // The watch is ill, or the object came and went unseen. Nothing is known for certain.
            tracing::warn!(%key, "own writes were not seen in time");
            self.own_writes.give_up(key);
            if let Key::Stream(stream) = key
                && let Some(memory) = self.memory.get_mut(stream)
            {
                memory.doubts_watches();
            }
        }
        left
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::{core::DynamicObject, runtime::watcher::Event};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::facts::JobState;

    pub(crate) fn kind() -> GroupKind {
        GroupKind::new("acme.io", "Order")
    }

    pub(crate) fn key() -> StreamKey {
        StreamKey { kind: kind(), name: ObjectName::new("ns", "orders") }
    }

    pub(crate) fn job(state: JobState) -> JobFacts {
        JobFacts {
            name: ObjectName::new("ns", "orders"),
            uid: Uid::new("job"),
            resource_version: "1".into(),
            owner: Some(Owner { kind: kind(), name: "orders".into(), uid: Uid::new("stream") }),
            labelled: None,
            backfilling: false,
            request_uid: None,
            backfill_id: None,
            configuration_hash: None,
            stream_generation: Some(1),
            class: None,
            template_hash: None,
            restarted_at: None,
            noted_ttl: None,
            ttl: None,
            ready: false,
            suspended: false,
            state,
            deleting_since: None,
            created: None,
        }
    }

    #[rstest]
    #[case(JobState::Unfinished, false)]
    #[case(JobState::Succeeded { started: None, finished: None }, true)]
    fn a_job_that_goes_while_it_is_unfinished_may_leave_pods(#[case] state: JobState, #[case] clear: bool) {
        let mut caches = Caches::default();
        caches.memory_of(&key(), &Uid::new("stream")).pods_clear = true;
        let job = job(state);
        caches.on_job(&Scope::All, Event::Apply((job.name.clone(), job.clone())));
        caches.on_job(&Scope::All, Event::Delete((job.name.clone(), job)));
        assert_eq!(caches.memory_of(&key(), &Uid::new("stream")).pods_clear, clear);
    }

    #[test]
    fn where_many_jobs_are_on_their_way_all_have_more_time() {
        let mut caches = Caches::default();
        let numbered = |number: u32, ready| {
            let name = ObjectName::new("ns", format!("orders-{number}"));
            JobFacts { name, ready, ..job(JobState::Unfinished) }
        };
        for number in 0..100 {
            let job = numbered(number, false);
            caches.on_job(&Scope::All, Event::Apply((job.name.clone(), job)));
        }
        assert_eq!(caches.rush(), Duration::from_secs(5));
        for number in 0..100 {
            let job = numbered(number, number < 50);
            let event = if number < 50 { Event::Apply } else { Event::Delete };
            caches.on_job(&Scope::All, event((job.name.clone(), job)));
        }
        assert_eq!(caches.rush(), Duration::ZERO);
    }

    /// Caches that know of one stream.
    fn caches_with(stream: Value) -> Caches {
        let resource = ApiResource {
            group: "acme.io".into(),
            version: "v1".into(),
            api_version: "acme.io/v1".into(),
            kind: "Order".into(),
            plural: "orders".into(),
        };
        let mut caches = Caches::default();
        caches.add_kind(kind(), resource.clone());
        let stream = StreamFacts::of(&kind(), &DynamicObject::new("orders", &resource).within("ns").data(stream));
        caches.on_stream(&kind(), &Scope::All, Event::Apply((stream.key.name.clone(), stream)));
        caches
    }

    #[rstest]
    #[case::new(json!({"spec": {}}), false, Priority::Low)]
    #[case::begun(json!({"spec": {}}), true, Priority::Normal)]
    #[case::just_suspended(json!({"spec": {"suspended": true}, "status": {"phase": "Running"}}), true, Priority::High)]
    #[case::at_rest(json!({"spec": {"suspended": true}, "status": {"phase": "Suspended"}}), false, Priority::Low)]
    #[case::just_resumed(json!({"spec": {"suspended": false}, "status": {"phase": "Suspended"}}), false, Priority::High)]
    fn what_a_person_waits_for_comes_before_what_has_begun_and_that_before_what_is_new(
        #[case] stream: Value,
        #[case] has_a_job: bool,
        #[case] urgency: Priority,
    ) {
        let mut caches = caches_with(stream);
        if has_a_job {
            let job = job(JobState::Unfinished);
            caches.on_job(&Scope::All, Event::Apply((job.name.clone(), job)));
        }
        assert_eq!(caches.urgency(&Key::Stream(key())), urgency);
    }

    #[test]
    fn what_is_gone_is_let_go_of_at_once() {
        assert_eq!(Caches::default().urgency(&Key::Stream(key())), Priority::High);
    }

    #[test]
    fn a_template_wakes_the_streams_that_refer_to_it() {
        let mut caches = caches_with(json!({"spec": {"jobTemplateRef": {"name": "t", "namespace": "other"}}}));
        let template = TemplateFacts {
            name: ObjectName::new("other", "t"),
            uid: Uid::new("template"),
            resource_version: "1".into(),
            generation: 1,
            found: arcane_common::references::FoundTemplate { content: Err(Vec::new()), allowed_namespaces: None },
            recorded: None,
            deleting: false,
        };
        let keys = caches.on_template(&Scope::All, Event::Apply((template.name.clone(), template)));
        assert!(keys.contains(&Key::Stream(key())), "{keys:?}");
    }
}
