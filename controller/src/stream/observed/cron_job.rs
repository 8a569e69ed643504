//! CronJobs and their runs, as a decision sees them.

use arcane_common::identity::{short_hash, shortened};
use jiff::{SignedDuration, Timestamp};

use super::{Observed, ResolvedTemplate};
use crate::facts::{CronJobFacts, JobFacts, StreamFacts};

/// The longest name of a CronJob: its runs add eleven characters to it.
const LONGEST_NAME: usize = 52;

/// What Kubernetes' CronJob controller has begun when a CronJob is suspended is there after this time.
const SETTLES_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// A CronJob, compared with its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCronJob {
    /// The CronJob.
    pub facts: CronJobFacts,
    /// Whether its configuration hash is that of the stream's spec, in today's form or the older operator's.
    pub hash_matches: bool,
}

/// What was said of a run that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailure {
    /// The words; they begin with those of [`RunFailure::beginning`].
    pub message: String,
    /// Since when runs fail, if that is known.
    pub since: Option<Timestamp>,
}

impl RunFailure {
    /// How the words about the failure of this run begin.
    pub fn beginning(run: &JobFacts) -> String {
        format!("Job {} failed: ", run.name.name)
    }
}

impl Observed {
    /// The stream's own CronJobs.
    pub fn own_cron_jobs(&self) -> impl Iterator<Item = &ObservedCronJob> {
        self.cron_jobs.iter().filter(|cron_job| self.is_own_cron_job(&cron_job.facts))
    }

    /// CronJobs of an earlier stream of the same kind and name.
    pub fn leftover_cron_jobs(&self) -> impl Iterator<Item = &ObservedCronJob> {
        self.cron_jobs.iter().filter(|cron_job| !self.is_own_cron_job(&cron_job.facts))
    }

    /// The stream's own CronJob that isn't being deleted. Of several the oldest.
    pub fn cron_job_in_place(&self) -> Option<&ObservedCronJob> {
        let staying = self.own_cron_jobs().filter(|cron_job| cron_job.facts.deleting_since.is_none());
        staying.min_by_key(|cron_job| (cron_job.facts.created, &cron_job.facts.uid))
    }

    /// Runs whose pods may run.
    pub fn unfinished_runs(&self) -> impl Iterator<Item = &JobFacts> {
        self.runs.iter().filter(|run| run.is_unfinished())
    }

    /// Whether a CronJob of the stream's own started this run.
    pub fn is_own_run(&self, run: &JobFacts) -> bool {
        self.own_cron_jobs().any(|cron_job| cron_job.facts.started(run))
    }

    /// The name of the CronJob.
    pub fn cron_job_name(&self) -> String {
        let stream = &self.stream.key.name.name;
        let name = shortened(stream, "", LONGEST_NAME);
        if self.taken_cron_jobs.contains(&name) {
            return shortened(stream, &format!("-{}", short_hash(self.stream.uid.as_str())), LONGEST_NAME);
        }
        name
    }

    fn is_own_cron_job(&self, cron_job: &CronJobFacts) -> bool {
        cron_job.owner.as_ref().is_some_and(|owner| owner.uid == self.stream.uid)
    }
}

impl CronJobFacts {
    /// Whether it started this run.
    pub fn started(&self, run: &JobFacts) -> bool {
        run.owner.as_ref().is_some_and(|owner| owner.uid == self.uid)
    }

    /// Whether it was suspended by us.
    pub fn is_paused(&self) -> bool {
        self.suspended && self.suspended_at.is_some()
    }

    /// How long a run may still appear that was begun before it was suspended.
    pub fn settles_in(&self, now: Timestamp) -> SignedDuration {
        let Some(since) = self.suspended_at else { return SETTLES_AFTER };
        let left = SETTLES_AFTER - now.duration_since(since);
        // A clock that was set back must not stop a backfill.
        left.clamp(SignedDuration::ZERO, SETTLES_AFTER)
    }
}

impl ObservedCronJob {
    /// Whether its runs are made for another spec, or it lacks our annotations.
    pub fn is_of_another_spec(&self, stream: &StreamFacts) -> bool {
        match self.facts.stream_generation {
            None => true,
            Some(generation) => !self.hash_matches && generation != stream.generation,
        }
    }

    /// Whether its runs are made from another template; an unknown one counts as another: to be right costs no run.
    pub fn is_of_another_template(&self, template: &ResolvedTemplate) -> bool {
        self.facts.template_hash.as_ref() != Some(&template.hash)
    }

    /// Whether the user has asked for a restart since it was made.
    pub fn is_before_a_restart(&self, stream: &StreamFacts) -> bool {
        // One of the older operator knows nothing of restarts: what stands there counts as seen.
        self.facts.stream_generation.is_some()
            && stream.restarted_at.is_some()
            && stream.restarted_at != self.facts.restarted_at
    }
}
