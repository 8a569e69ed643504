//! CronJobs, and what Kubernetes' CronJob controller makes of them.

use arcane_common::{identity::Uid, stream::Workload};
use arcane_controller::{
    facts::{JobFacts, JobState},
    stream::observed::ObservedCronJob,
};
use jiff::SignedDuration;

use super::{Outcome, World};
use crate::{made, reading::own_cron_jobs};

/// What the CronJob controller has begun when a CronJob is suspended is there after this time.
const BEGUN: SignedDuration = SignedDuration::from_millis(900);

impl World {
    fn own_cron_job(&mut self, uid: &Uid) -> Outcome<&mut ObservedCronJob> {
        let stream = self.observed.stream.uid.clone();
        let found = self.observed.cron_jobs.iter_mut().find(|cron_job| cron_job.facts.uid == *uid);
        let is_own = |it: &ObservedCronJob| it.facts.owner.as_ref().is_some_and(|owner| owner.uid == stream);
        found.filter(|cron_job| is_own(cron_job)).ok_or_else(|| format!("the stream has no CronJob {uid}"))
    }

    pub(super) fn end_run_of_ours(&mut self, uid: &Uid) -> Outcome<bool> {
        let now = self.observed.now;
        let run = self.observed.runs.iter_mut().find(|run| run.uid == *uid).ok_or("there is no such run")?;
        let changed = run.deleting_since.is_none();
        run.deleting_since.get_or_insert(now);
        Ok(changed)
    }

    pub(super) fn delete_cron_job(&mut self, uid: &Uid) -> Outcome<bool> {
        let now = self.observed.now;
        let cron_job = self.own_cron_job(uid)?;
        let changed = cron_job.facts.deleting_since.is_none();
        cron_job.facts.deleting_since.get_or_insert(now);
        Ok(changed)
    }

    pub(super) fn suspend_cron_job(&mut self, uid: &Uid) -> Outcome<bool> {
        let now = self.observed.now;
        let facts = &mut self.own_cron_job(uid)?.facts;
        facts.suspended = true;
        facts.suspended_at = Some(now);
        self.is_clear = false;
        self.is_tampered = false;
        Ok(true)
    }

    pub(super) fn resume_cron_job(&mut self, uid: &Uid) -> Outcome<bool> {
        self.may_start_runs(Some(uid))?;
        let facts = &mut self.own_cron_job(uid)?.facts;
        facts.suspended = false;
        facts.suspended_at = None;
        Ok(true)
    }

    pub(super) fn update_cron_job(&mut self, uid: &Uid) -> Outcome<bool> {
        let schedule = self.schedule()?;
        let template = self.runs_are_made_from()?;
        let stream = self.observed.stream.clone();
        let cron_job = self.own_cron_job(uid)?;
        let before = cron_job.clone();
        cron_job.hash_matches = true;
        let facts = &mut cron_job.facts;
        facts.configuration_hash = Some(stream.configuration_hash);
        facts.stream_generation = Some(stream.generation);
        facts.template_hash = Some(template);
        facts.restarted_at = stream.restarted_at;
        facts.schedule = schedule;
        facts.forbids_concurrency = true;
        Ok(*cron_job != before)
    }

    pub(super) fn create_cron_job(&mut self, name: &str) -> Outcome<bool> {
        self.may_start_runs(None)?;
        if self.owes_backfill {
            return Err("a new stream starts to stream before its backfill".to_owned());
        }
        if self.observed.cron_jobs.iter().any(|cron_job| cron_job.facts.name.name == name) {
            return Err(format!("there is a CronJob {name} already"));
        }
        self.no_cron_job_can_start_a_run()?;
        self.counter += 1;
        let mut cron_job = made::a_cron_job();
        let facts = &mut cron_job.facts;
        facts.name = made::name(name);
        facts.uid = Uid::new(format!("uid-of-cron-job-{}", self.counter));
        facts.owner = Some(made::owner(self.observed.stream.uid.as_str()));
        facts.created = Some(self.observed.now);
        let uid = facts.uid.clone();
        self.observed.cron_jobs.push(cron_job);
        self.update_cron_job(&uid)?;
        Ok(true)
    }

    fn schedule(&self) -> Outcome<String> {
        match self.observed.asked.as_ref().map(|asked| &asked.workload) {
            Ok(Workload::Batch { schedule, .. }) => Ok(schedule.clone()),
            _ => Err("a CronJob for a stream that asks for none".to_owned()),
        }
    }

    fn runs_are_made_from(&self) -> Outcome<String> {
        let asked = self.observed.asked.as_ref().map_err(|problem| problem.message.clone())?;
        let template = asked.streaming_template.as_ref();
        template.map(|template| template.hash.clone()).map_err(|_| "a CronJob is made without a template".to_owned())
    }

    /// Whether nothing of the stream writes but the runs of `cron_job`.
    fn may_start_runs(&self, cron_job: Option<&Uid>) -> Outcome<()> {
        if self.observed.stream.suspended || self.observed.stream.deleting {
            return Err("a CronJob is to start runs of a stream that must have none".to_owned());
        }
        let is_of_its_own = |pod: &Option<Uid>| {
            let run = self.observed.runs.iter().find(|run| Some(&run.uid) == pod.as_ref());
            run.is_some_and(|run| run.owner.as_ref().map(|owner| &owner.uid) == cron_job)
        };
        match self.pods().iter().find(|pod| !pod.finished && !is_of_its_own(&pod.job)) {
            Some(pod) => Err(format!("a CronJob is to start runs while pod {} of {:?} runs", pod.name, pod.job)),
            None => Ok(()),
        }
    }

    pub(super) fn no_cron_job_can_start_a_run(&self) -> Outcome<()> {
        let now = self.observed.now;
        let can = |cron_job: &&ObservedCronJob| {
            let facts = &cron_job.facts;
            let is_begun = facts.suspended_at.is_some_and(|since| now.duration_since(since) < BEGUN);
            !facts.suspended || is_begun || facts.deleting_since.is_some()
        };
        match self.observed.cron_jobs.iter().find(can) {
            Some(cron_job) => Err(format!("something starts beside CronJob {}", cron_job.facts.name)),
            None => Ok(()),
        }
    }

    // ---- everybody else ----

    pub(super) fn number_of_objects(&self) -> [usize; 4] {
        let observed = &self.observed;
        [observed.jobs.len(), observed.requests.len(), observed.cron_jobs.len(), observed.runs.len()]
    }

    /// The garbage collector removes CronJobs as it removes Jobs, and the runs of CronJobs that are gone.
    pub(super) fn collect_cron_jobs(&mut self) {
        let observed = &mut self.observed;
        let stream = &observed.stream.uid;
        let is_own = |it: &ObservedCronJob| it.facts.owner.as_ref().is_some_and(|owner| owner.uid == *stream);
        observed.cron_jobs.retain(|it| is_own(it) && it.facts.deleting_since.is_none());
        let is_there = |run: &JobFacts| {
            let mut cron_jobs = observed.cron_jobs.iter();
            cron_jobs.any(|cron_job| run.owner.as_ref().is_some_and(|owner| owner.uid == cron_job.facts.uid))
        };
        let (stay, go): (Vec<_>, Vec<_>) =
            observed.runs.iter().cloned().partition(|run| is_there(run) && run.deleting_since.is_none());
        observed.runs = stay;
        for cron_job in &mut observed.cron_jobs {
            cron_job.facts.active.retain(|name| !go.iter().any(|run| run.name.name == *name));
        }
    }

    /// The CronJob controller starts a run, if it may, or has begun to when it still might. Tells whether it did.
    pub fn start_run(&mut self, late: bool) -> Outcome<bool> {
        let now = self.observed.now;
        let may = |cron_job: &ObservedCronJob| {
            let facts = &cron_job.facts;
            let is_begun = facts.suspended_at.is_some_and(|since| now.duration_since(since) < BEGUN);
            facts.deleting_since.is_none() && facts.active.is_empty() && (!facts.suspended || (late && is_begun))
        };
        let first = own_cron_jobs(&self.observed).find(|cron_job| may(cron_job));
        let Some(cron_job) = first.map(|cron_job| cron_job.facts.uid.clone()) else { return Ok(false) };
        let is_tampered = self.is_tampered;
        if !is_tampered && let Some(job) = self.observed.jobs.iter().find(|job| job.facts.state == JobState::Unfinished)
        {
            return Err(format!("a run is started beside Job {}", job.facts.name));
        }
        self.counter += 1;
        let mut run = made::a_run(&cron_job);
        run.name = made::name(&format!("orders-run-{}", self.counter));
        run.uid = Uid::new(format!("uid-of-run-{}", self.counter));
        run.created = Some(now);
        self.own_cron_job(&cron_job)?.facts.active = vec![run.name.name.clone()];
        self.observed.runs.push(run);
        Ok(true)
    }

    /// The run in progress ends.
    pub fn end_run(&mut self, state: JobState) -> bool {
        let Some(run) = self.observed.runs.iter_mut().find(|run| run.state == JobState::Unfinished) else {
            return false;
        };
        run.state = state;
        let name = run.name.name.clone();
        for cron_job in &mut self.observed.cron_jobs {
            cron_job.facts.active.retain(|active| *active != name);
        }
        true
    }

    pub(super) fn a_run_that_is_waited_for_ends(&mut self) -> bool {
        let active: usize = self.observed.cron_jobs.iter().map(|cron_job| cron_job.facts.active.len()).sum();
        let now = self.observed.now;
        let ended = self.end_run(JobState::Succeeded { started: Some(now), finished: Some(now) });
        for cron_job in &mut self.observed.cron_jobs {
            // Runs that carry no label of ours.
            cron_job.facts.active.clear();
        }
        ended || active > 0
    }

    /// Somebody suspends a CronJob by hand, or lets it run.
    pub fn tamper(&mut self, suspended: bool) {
        if let Some(cron_job) = self.observed.cron_jobs.first_mut() {
            cron_job.facts.suspended = suspended;
            self.is_tampered |= !suspended;
        }
    }

    /// Somebody deletes a CronJob in background: its runs are there for a while.
    pub fn cron_job_vanishes(&mut self) {
        if self.observed.cron_jobs.pop().is_some() {
            self.is_clear = false;
        }
    }

    pub(super) fn cron_jobs_told(&self) -> Vec<String> {
        let told = |cron_job: &ObservedCronJob| {
            let facts = &cron_job.facts;
            format!("{} suspended {} current {}", facts.name.name, facts.suspended, cron_job.hash_matches)
        };
        self.observed.cron_jobs.iter().map(told).collect()
    }
}
