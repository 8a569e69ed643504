//! CronJobs and their runs.
//!
//! A run is a Job that a CronJob controls. Its stream is known by its labels: the CronJob may be gone before its runs
//! are, and a run may be shown before its CronJob is.

use std::sync::Arc;

use arcane_common::identity::{ObjectName, StreamKey};
use arcane_process::namespaces::Scope;
use kube::runtime::watcher::Event;

use super::{Caches, Watched, changes::unindex, owned_by};
use crate::{
    facts::{CronJobFacts, JobFacts, Owner},
    key::Key,
};

/// A stream as labels name it: namespace and name, and the kind without its group.
pub(super) type Labelled = (ObjectName, String);

fn labelled(job: &JobFacts) -> Option<Labelled> {
    let (kind, name) = job.labelled.clone().filter(|_| job.is_run())?;
    Some((ObjectName::new(&job.name.namespace, name), kind))
}

impl Caches {
    /// CronJobs that a stream of this kind and name controls.
    pub fn cron_jobs_of(&self, key: &StreamKey) -> impl Iterator<Item = &Arc<CronJobFacts>> {
        let names = self.cron_jobs_by_stream.get(key).into_iter().flatten();
        names.filter_map(|cron_job| self.cron_jobs.get(cron_job))
    }

    /// Runs that carry a stream's labels, but for those of another stream's CronJob. One whose CronJob isn't known
    /// (any more) may be this stream's.
    pub fn runs_of(&self, key: &StreamKey) -> impl Iterator<Item = &Arc<JobFacts>> {
        let labels = (key.name.clone(), key.kind.kind.clone());
        let runs = self.runs_by_label.get(&labels).into_iter().flatten().filter_map(|run| self.jobs.get(run));
        runs.filter(move |run| self.stream_of_run(run).is_none_or(|stream| stream == *key))
    }

    /// The class that is noted on what runs for a stream: on its newest Job, else on its CronJob.
    pub fn noted_class(&self, key: &StreamKey) -> Option<String> {
        let uid = &self.stream(key)?.uid;
        let is_own = |owner: &Option<Owner>| owner.as_ref().is_some_and(|owner| owner.uid == *uid);
        let newest = self.jobs_of(key).filter(|job| is_own(&job.owner)).max_by_key(|job| job.created);
        let of_job = newest.and_then(|job| job.class.clone());
        let mut cron_jobs = self.cron_jobs_of(key).filter(|cron_job| is_own(&cron_job.owner));
        of_job.or_else(|| cron_jobs.find_map(|cron_job| cron_job.class.clone()))
    }

    /// Takes in what the watch of CronJobs shows.
    pub fn on_cron_job(&mut self, scope: &Scope, event: Event<(ObjectName, CronJobFacts)>) -> Vec<Key> {
        if matches!(event, Event::Init) {
            self.own_writes.listing_starts(Watched::CronJob, scope);
        }
        let mut keys = Vec::new();
        for change in self.cron_jobs.on(scope, event) {
            self.own_writes_on(&change, |cron_job| (&cron_job.uid, &cron_job.resource_version));
            if let Some(before) = &change.before {
                if let Some(stream) = owned_by(&before.name, before.owner.as_ref()) {
                    unindex(&mut self.cron_jobs_by_stream, &stream, &before.name);
                }
                if change.after.as_ref().is_none_or(|after| after.uid != before.uid) {
                    self.cron_job_is_gone(before);
                }
            }
            if let Some(after) = &change.after
                && let Some(stream) = owned_by(&after.name, after.owner.as_ref())
            {
                self.cron_jobs_by_stream.entry(stream).or_default().insert(after.name.clone());
            }
            let both = change.before.iter().chain(&change.after);
            keys.extend(both.filter_map(|it| owned_by(&it.name, it.owner.as_ref())).map(Key::Stream));
        }
        self.own_writes.settle(Watched::CronJob, scope, &self.cron_jobs, |seen| &seen.uid);
        keys
    }

    /// The stream whose CronJob controls a run, if the CronJob is known.
    pub(super) fn stream_of_run(&self, run: &JobFacts) -> Option<StreamKey> {
        let owner = run.owner.as_ref().filter(|_| run.is_run())?;
        let cron_job = self.cron_jobs.get(&ObjectName::new(&run.name.namespace, &owner.name))?;
        if cron_job.uid != owner.uid {
            return None;
        }
        owned_by(&cron_job.name, cron_job.owner.as_ref())
    }

    /// The streams that a run's labels may mean.
    pub(super) fn streams_labelled<'a>(&'a self, run: &JobFacts) -> impl Iterator<Item = StreamKey> + use<'a> {
        let label = labelled(run);
        self.kinds.iter().filter_map(move |(kind, entry)| {
            let (name, _) = label.as_ref().filter(|(_, of_label)| *of_label == kind.kind)?;
            entry.streams.get(name).map(|stream| stream.key.clone())
        })
    }

    pub(super) fn index_run(&mut self, job: &JobFacts, insert: bool) {
        let Some(label) = labelled(job) else { return };
        if insert {
            self.runs_by_label.entry(label).or_default().insert(job.name.clone());
        } else {
            unindex(&mut self.runs_by_label, &label, &job.name);
        }
    }

    /// A run that goes while it is unfinished may leave a pod, as a Job may.
    pub(super) fn run_is_gone(&mut self, run: &JobFacts) {
        let Some((name, kind)) = labelled(run).filter(|_| run.is_unfinished()) else { return };
        let memories = self.memory.iter_mut();
        for (_, memory) in memories.filter(|(stream, _)| stream.name == name && stream.kind.kind == kind) {
            memory.pods_clear = false;
        }
    }

    /// A CronJob that goes may have started a run a moment before, that no watch has shown yet.
    fn cron_job_is_gone(&mut self, cron_job: &CronJobFacts) {
        let (Some(stream), Some(owner)) = (owned_by(&cron_job.name, cron_job.owner.as_ref()), &cron_job.owner) else {
            return;
        };
        if let Some(memory) = self.memory.get_mut(&stream).filter(|memory| memory.uid == owner.uid) {
            memory.pods_clear = false;
        }
    }
}
