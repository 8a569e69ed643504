//! Everything that a decision about one stream may depend on.

mod cron_job;

use std::{collections::BTreeSet, time::Duration};

use arcane_common::{
    identity::{ObjectName, Uid, short_hash, shortened},
    stream::Workload,
};
use jiff::{SignedDuration, Timestamp};

pub use cron_job::{ObservedCronJob, RunFailure};

use crate::facts::{JobFacts, PodFacts, RequestFacts, StreamFacts};

/// A stream and all that surrounds it, at one moment.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The moment.
    pub now: Timestamp,
    /// The stream.
    pub stream: StreamFacts,
    /// Whether the configuration hash in its status is that of its spec, in today's form or the older operator's;
    /// true where none is recorded.
    pub recorded_hash_matches: bool,
    /// What it asks for, or why that can't be told.
    pub asked: Result<Asked, Problem>,
    /// The requests that belong to it, oldest first.
    pub requests: Vec<RequestFacts>,
    /// Jobs that a stream of this kind and name controls: its own and leftovers.
    pub jobs: Vec<ObservedJob>,
    /// CronJobs that a stream of this kind and name controls: its own and leftovers.
    pub cron_jobs: Vec<ObservedCronJob>,
    /// Jobs of these CronJobs, and of such as are gone.
    pub runs: Vec<JobFacts>,
    /// What was last said of a run that failed.
    pub told_run: Option<RunFailure>,
    /// Names of Jobs in its namespace that are somebody else's.
    pub taken_names: BTreeSet<String>,
    /// Names of CronJobs in its namespace that are somebody else's.
    pub taken_cron_jobs: BTreeSet<String>,
    /// What is known of its pods.
    pub pods: Pods,
    /// Set while an unfinished Job of it has no ready pod.
    pub without_pod: Option<WithoutPod>,
    /// How much longer than usual Jobs and pods take to come and to go now.
    pub rush: Duration,
    /// How many times in a row its streaming Job ended well at once.
    pub quick_ends: u32,
    /// What the API server said when a Job of this spec and template was last to be created, if it refused it.
    pub refused: Option<Refusal>,
}

/// The API server's refusal of a Job, e.g. by a quota, a policy or the Job's own schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it was a backfill's Job. What is wrong with that one says nothing of the streaming Job, nor the other way round.
    pub backfilling: bool,
    /// Its words.
    pub message: String,
    /// When to try again.
    pub try_again_at: Timestamp,
}

/// Whether a refusal in these words passes by itself: the API server asks about the kind of a Job's owner, and its admission
/// plugin OwnerReferencesPermissionEnforcement learns of a kind that has just come only within half a minute.
pub fn passes_by_itself(words: &str) -> bool {
    words.contains("cannot find RESTMapping for APIVersion")
}

/// What a valid stream asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How it runs.
    pub workload: Workload,
    /// The template of its streaming Job.
    pub streaming_template: Result<ResolvedTemplate, Problem>,
    /// The template of its backfill Jobs.
    pub backfill_template: Result<ResolvedTemplate, Problem>,
    /// Whether its class wants a backfill first.
    pub initial_backfill: bool,
    /// Its class.
    pub class: String,
    /// What becomes of a running streaming Job whose template changes.
    pub update: Update,
}

/// What becomes of a running streaming Job whose template changes: the class's `updateStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It runs on.
    OnDelete,
    /// It is replaced in its turn.
    Rolling(Standing),
}

/// Where a stream stands in its class's rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// That isn't decided yet.
    Unknown,
    /// Others come first.
    Waits,
    /// A stream has failed with this template.
    Stopped,
    /// It may replace its Job.
    Turn,
}

/// A template that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTemplate {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The hash of its content and of the class's `secretRefs`.
    pub hash: String,
}

/// Why a stream can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable CamelCase word.
    pub reason: &'static str,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// Whether only a change of the stream itself helps (`Stalled`); else it is waited for (`Reconciling`).
    pub stalled: bool,
}

/// A Job, compared with its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedJob {
    /// The Job.
    pub facts: JobFacts,
    /// Whether its configuration hash is that of the stream's spec, in today's form or the older operator's.
    pub hash_matches: bool,
}

/// A Job is there, and no pod of it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutPod {
    /// How long this process has seen it so.
    pub seen_for: SignedDuration,
    /// Whether the stream's status says so.
    pub is_told: bool,
}

/// What is known of a stream's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pods {
    /// Nothing: a pod of a Job that we never saw may still run.
    Unknown,
    /// None runs but those of the Jobs that we see.
    Clear,
    /// These are there, listed a moment ago.
    Listed(Vec<PodFacts>),
}

impl Observed {
    /// The stream's own Jobs.
    pub fn own_jobs(&self) -> impl Iterator<Item = &ObservedJob> {
        self.jobs.iter().filter(|job| self.is_own(&job.facts))
    }

    /// Jobs of an earlier stream of the same kind and name.
    pub fn leftovers(&self) -> impl Iterator<Item = &ObservedJob> {
        self.jobs.iter().filter(|job| !self.is_own(&job.facts))
    }

    fn is_own(&self, job: &JobFacts) -> bool {
        job.owner.as_ref().is_some_and(|owner| owner.uid == self.stream.uid)
    }

    /// The name of the streaming Job.
    pub fn streaming_job_name(&self) -> String {
        self.free_name("")
    }

    /// The name of the backfill Job.
    pub fn backfill_job_name(&self) -> String {
        self.free_name("-backfill")
    }

    /// The name of the initial request: it follows from the stream's UID, so that it is created once.
    pub fn initial_request_name(&self) -> String {
        let suffix = format!("-initial-backfill-{}", short_hash(self.stream.uid.as_str()));
        // 63, though 253 would do: the name is the id that reaches programs and labels.
        shortened(&self.stream.key.name.name, &suffix, 63)
    }

    fn free_name(&self, suffix: &str) -> String {
        let stream = &self.stream.key.name.name;
        let name = shortened(stream, suffix, 63);
        if self.taken_names.contains(&name) {
            let suffix = format!("{suffix}-{}", short_hash(self.stream.uid.as_str()));
            return shortened(stream, &suffix, 63);
        }
        name
    }
}

impl ObservedJob {
    /// A Job of the older operator that is right as it is: it lacks only our annotations.
    pub fn is_adoptable(&self) -> bool {
        self.facts.stream_generation.is_none() && self.hash_matches
    }

    /// Whether the stream's spec has changed since this Job was made.
    pub fn is_of_another_spec(&self, stream: &StreamFacts) -> bool {
        !self.hash_matches && self.facts.stream_generation != Some(stream.generation)
    }

    /// Whether the user has asked for a restart since this Job was made.
    pub fn is_before_a_restart(&self, stream: &StreamFacts) -> bool {
        // A Job of the older operator knows nothing of restarts: what stands there counts as seen.
        self.facts.stream_generation.is_some()
            && stream.restarted_at.is_some()
            && stream.restarted_at != self.facts.restarted_at
    }

    /// Whether the template has changed since this Job was made; an unknown hash counts as current.
    pub fn is_of_another_template(&self, template: &Result<ResolvedTemplate, Problem>) -> bool {
        match (&self.facts.template_hash, template) {
            (Some(hash), Ok(template)) => *hash != template.hash,
            _ => false,
        }
    }

    /// Whether this Job does the backfill of `request`.
    pub fn is_of_request(&self, request: &RequestFacts) -> bool {
        self.facts.backfilling
            && match &self.facts.request_uid {
                Some(uid) => *uid == request.uid,
                // The older operator noted the request's name only.
                None => self.facts.backfill_id.as_ref() == Some(&request.name.name),
            }
    }
}

impl RequestFacts {
    /// Whether another stream of the same name has accepted this request.
    pub fn is_of_another_stream(&self, uid: &Uid) -> bool {
        self.stream_uid.as_ref().is_some_and(|accepted| accepted != uid)
    }
}
