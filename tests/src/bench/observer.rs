//! Sees streams and their Jobs as their users could, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::place::Name;

const BACKFILLING: &str = "arcane/backfilling";

/// What is seen of one stream now, and when some things were seen first.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// `status.phase`, or "".
    pub phase: String,
    /// Whether it was deleted, and has gone.
    pub gone: bool,
    /// Its Jobs that are there, by UID.
    pub jobs: BTreeMap<String, SeenJob>,
    /// Its first backfill Job.
    pub first_backfill: Option<Instant>,
    /// The completion of a backfill Job.
    pub backfilled: Option<Instant>,
    /// The phase Running, with a streaming Job in place.
    pub running: Option<Instant>,
    /// How many backfill Jobs there have been.
    pub backfills: usize,
    /// How many streaming Jobs there have been.
    pub streamings: usize,
    /// Whether two unfinished Jobs were there at the same time.
    pub two_at_once: bool,
}

/// A Job of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeenJob {
    /// Whether it is labelled as a backfill.
    pub backfill: bool,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Whether it has completed or failed.
    pub finished: bool,
}

impl Sight {
    /// Whether a streaming Job is there to stay.
    pub fn streams(&self) -> bool {
        self.jobs.values().any(|job| !job.backfill && !job.deleting)
    }

    /// Whether it runs, by its own word and by a Job.
    pub fn runs(&self) -> bool {
        self.phase == "Running" && self.streams()
    }

    /// Whether it is suspended, and nothing of it is left that could run.
    pub fn is_suspended(&self) -> bool {
        self.phase == "Suspended" && self.jobs.values().all(|job| job.finished)
    }

    fn see_job(&mut self, uid: String, job: SeenJob) {
        let now = Instant::now();
        if self.jobs.insert(uid, job).is_none() {
            *(if job.backfill { &mut self.backfills } else { &mut self.streamings }) += 1;
        }
        if job.backfill {
            self.first_backfill.get_or_insert(now);
            if job.finished {
                self.backfilled.get_or_insert(now);
            }
        }
        self.two_at_once |= self.jobs.values().filter(|job| !job.finished).count() > 1;
    }

    fn settle(&mut self) {
        if self.running.is_none() && self.runs() {
            self.running = Some(Instant::now());
        }
    }
}

#[derive(Default)]
struct Watched {
    sight: Sight,
    changed: Arc<Notify>,
}

type Seen = Mutex<HashMap<Name, Watched>>;

/// Watches until it is dropped.
pub struct Observer {
    seen: Arc<Seen>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Watches Jobs and these kinds of streams in all namespaces.
    pub fn start(client: &Client, kinds: &[ApiResource]) -> Self {
        let seen = Arc::new(Seen::default());
        let mut watches = JoinSet::new();
        watches.spawn(watch_jobs(client.clone(), Arc::clone(&seen)));
        for kind in kinds {
            watches.spawn(watch_streams(Api::all_with(client.clone(), kind), kind.clone(), Arc::clone(&seen)));
        }
        Self { seen, _watches: watches }
    }

    /// What is seen of a stream now.
    pub fn sight(&self, name: &Name) -> Sight {
        lock(&self.seen).get(name).map(|watched| watched.sight.clone()).unwrap_or_default()
    }

    /// Waits until a stream is as it should be, and tells when that was. Dropping the future ends the waiting.
    pub async fn until(&self, name: &Name, holds: impl Fn(&Sight) -> bool) -> Instant {
        let changed = Arc::clone(&lock(&self.seen).entry(name.clone()).or_default().changed);
        loop {
            let notified = changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable(); // before the look, so that no change slips in between
            if lock(&self.seen).get(name).is_some_and(|watched| holds(&watched.sight)) {
                return Instant::now();
            }
            notified.await;
        }
    }
}

fn lock(seen: &Seen) -> MutexGuard<'_, HashMap<Name, Watched>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change(seen: &Seen, name: Name, change: impl FnOnce(&mut Sight)) {
    let mut all = lock(seen);
    let watched = all.entry(name).or_default();
    change(&mut watched.sight);
    watched.sight.settle();
    watched.changed.notify_waiters();
}

async fn watch_jobs(client: Client, seen: Arc<Seen>) {
    let jobs: Api<Job> = Api::all(client);
    let mut events = std::pin::pin!(watcher(jobs, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitApply(job) | watcher::Event::Apply(job)) => {
                if let Some(stream) = owner(&job) {
                    change(&seen, stream, |sight| sight.see_job(job.uid().unwrap_or_default(), facts(&job)));
                }
            }
            Ok(watcher::Event::Delete(job)) => {
                if let Some(stream) = owner(&job) {
                    change(&seen, stream, |sight| {
                        sight.jobs.remove(&job.uid().unwrap_or_default());
                    });
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "the observer cannot watch Jobs"),
        }
    }
}

async fn watch_streams(streams: Api<DynamicObject>, kind: ApiResource, seen: Arc<Seen>) {
    let mut events = std::pin::pin!(watcher(streams, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitApply(stream) | watcher::Event::Apply(stream)) => {
                let phase = stream.data["status"]["phase"].as_str().unwrap_or_default().to_owned();
                change(&seen, name(&stream), |sight| sight.phase = phase);
            }
            Ok(watcher::Event::Delete(stream)) => change(&seen, name(&stream), |sight| sight.gone = true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, kind = kind.kind, "the observer cannot watch streams"),
        }
    }
}

fn name(object: &impl Resource) -> Name {
    Name { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// The stream that has a Job: of a namespace's streams no two have the same name here, whatever their kind.
fn owner(job: &Job) -> Option<Name> {
    let owner = job.owner_references().first()?;
    Some(Name { namespace: job.namespace().unwrap_or_default(), name: owner.name.clone() })
}

fn facts(job: &Job) -> SeenJob {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ends = |type_: &str| ["Complete", "Failed"].contains(&type_);
    SeenJob {
        backfill: job.labels().get(BACKFILLING).is_some_and(|value| value == "true"),
        deleting: job.metadata.deletion_timestamp.is_some(),
        finished: conditions.into_iter().any(|condition| ends(&condition.type_) && condition.status == "True"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(backfill: bool, finished: bool) -> SeenJob {
        SeenJob { backfill, finished, deleting: false }
    }

    #[test]
    fn a_stream_runs_by_its_phase_and_by_a_job() {
        let mut sight = Sight { phase: "Running".into(), ..Sight::default() };
        sight.see_job("1".into(), job(true, true));
        sight.settle();
        assert!(sight.running.is_none() && sight.backfilled.is_some());
        sight.see_job("2".into(), job(false, false));
        sight.settle();
        assert!(sight.running.is_some() && !sight.two_at_once);
        sight.see_job("3".into(), job(false, false));
        assert!(sight.two_at_once);
        assert_eq!((sight.backfills, sight.streamings), (1, 2));
    }

    #[tokio::test]
    async fn a_change_wakes_those_who_wait_for_it() {
        let seen = Arc::new(Seen::default());
        let observer = Observer { seen: Arc::clone(&seen), _watches: JoinSet::new() };
        let stream = Name { namespace: "n".into(), name: "s".into() };
        let waits = observer.until(&stream, |sight| sight.gone);
        let changes = async { change(&seen, stream.clone(), |sight| sight.gone = true) };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async { tokio::join!(waits, changes) });
        waited.await.unwrap();
    }
}
