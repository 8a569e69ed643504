//! A small world around one stream: what API server, Job controller and garbage collector make of a plan.
//!
//! It is told of every write, and refuses at once what must never happen: [`World::apply`] is the only place where
//! two writers, a second run of a settled request or a forgotten failure could come to be.

mod cron_jobs;

use std::collections::BTreeSet;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase as RequestPhase,
    identity::{ObjectName, Uid},
    stream::Phase,
};
use arcane_controller::{
    facts::{FailureNote, JobState, PodFacts, RequestFacts},
    stream::{
        action::{Action, DeleteCause, Plan, RequestStatus, Role, StreamStatus},
        observed::{Observed, ObservedJob, Pods},
    },
};
use jiff::SignedDuration;

use crate::{made, reading::*};

pub type Outcome<T> = Result<T, String>;

#[derive(Clone)]
pub struct World {
    pub observed: Observed,
    /// What the stream's status says.
    pub status: Option<StreamStatus>,
    /// Pods that run on though their Job is gone.
    pub strays: Vec<PodFacts>,
    /// Whether the controller knows that no pod runs but those of the Jobs it sees.
    pub is_clear: bool,
    look_again: Option<SignedDuration>,
    counter: u32,
    /// Somebody has let a CronJob run by hand: what it starts then is nobody's fault.
    is_tampered: bool,

    // What only the world knows.
    /// Requests that were settled once.
    pub settled: BTreeSet<Uid>,
    /// A Job that has failed, while the stream was never called `Failed` for it.
    pub untold_failure: Option<Uid>,
    /// No streaming Job may start before a backfill.
    pub owes_backfill: bool,
}

impl World {
    pub fn beginning_with(observed: Observed) -> Self {
        let settled = observed.requests.iter().filter(|request| is_settled(request)).map(|request| request.uid.clone());
        Self {
            settled: settled.collect(),
            status: None,
            strays: Vec::new(),
            is_clear: observed.pods == Pods::Clear,
            look_again: None,
            counter: 0,
            is_tampered: false,
            untold_failure: None,
            owes_backfill: false,
            observed,
        }
    }

    // ---- the controller ----

    /// Decides and writes. It crashes when `writes` have changed something; a crash forgets what isn't written.
    /// Tells how many writes changed something.
    pub fn reconcile(&mut self, decide: &dyn Fn(&Observed) -> Plan, writes: Option<usize>) -> Outcome<usize> {
        let plan = self.decide(decide)?;
        self.look_again = plan.look_again.map(|again| again.try_into().unwrap_or(SignedDuration::from_secs(1)));
        let mut changes = 0;
        for action in &plan.actions {
            if writes == Some(changes) {
                break;
            }
            changes += usize::from(self.apply(action)?);
        }
        if writes.is_some() {
            self.crash();
        }
        Ok(changes)
    }

    fn decide(&mut self, decide: &dyn Fn(&Observed) -> Plan) -> Outcome<Plan> {
        self.observed.pods = if self.is_clear { Pods::Clear } else { Pods::Unknown };
        let plan = decide(&self.observed);
        if !plan.needs_pods {
            return Ok(plan);
        }
        let pods = self.pods();
        self.is_clear |= pods.iter().all(|pod| pod.finished);
        self.observed.pods = Pods::Listed(pods);
        let plan = decide(&self.observed);
        if plan.needs_pods { Err("it asks for the pods that it has been given".to_owned()) } else { Ok(plan) }
    }

    fn pods(&self) -> Vec<PodFacts> {
        let jobs = self.observed.jobs.iter().map(|job| &job.facts).chain(&self.observed.runs);
        jobs.filter(|job| !matches!(job.state, JobState::Succeeded { .. }))
            .map(|job| made::a_pod(Some(&job.uid), job.state != JobState::Unfinished))
            .chain(self.strays.iter().cloned())
            .collect()
    }

    pub fn crash(&mut self) {
        self.is_clear = false;
        self.look_again = None;
        self.observed.quick_ends = 0;
    }

    // ---- the API server ----

    /// Carries out one write; tells whether it changed anything.
    fn apply(&mut self, action: &Action) -> Outcome<bool> {
        self.observed.now += SignedDuration::from_millis(1);
        match action {
            Action::CreateInitialRequest { name } => Ok(self.create_initial_request(name)),
            Action::OwnRequest { request } => {
                let uid = self.observed.stream.uid.clone();
                let owners = &mut self.request(request)?.owners;
                owners.push(uid);
                Ok(true)
            }
            Action::WriteRequestStatus { request, status } => self.write_request_status(request, status),
            Action::MarkCompleted { request } => {
                let request = self.request(request)?;
                if request.phase != Some(RequestPhase::Completed) {
                    return Err("spec.completed is set before the status says so".to_owned());
                }
                request.completed = true;
                request.completed_written = true;
                Ok(true)
            }
            Action::DeleteJob { uid, cause, .. } => self.delete_job(uid, *cause),
            Action::StampJob { uid, role, .. } => self.stamp_job(uid, role),
            Action::SetJobTtl { uid, seconds, .. } => self.set_job_ttl(uid, *seconds),
            Action::EndRun { uid, .. } => self.end_run_of_ours(uid),
            Action::DeleteCronJob { uid, .. } => self.delete_cron_job(uid),
            Action::SuspendCronJob { uid, .. } => self.suspend_cron_job(uid),
            Action::ResumeCronJob { uid, .. } => self.resume_cron_job(uid),
            Action::UpdateCronJob { uid, .. } => self.update_cron_job(uid),
            Action::CreateCronJob { name } => self.create_cron_job(name),
            Action::NoteFailure { template_hash, job_template_hash, request, was_before_us } => {
                Ok(self.note_failure((template_hash, job_template_hash), request, *was_before_us))
            }
            Action::WriteStatus(status) | Action::Announce(status) => Ok(self.write_status(status)),
            Action::TryJob { .. } | Action::TryCronJob { .. } => Ok(false),
            Action::CreateJob { name, role } => self.create_job(name, role),
        }
    }

    fn request(&mut self, name: &ObjectName) -> Outcome<&mut RequestFacts> {
        let found = self.observed.requests.iter_mut().find(|request| request.name == *name);
        found.ok_or_else(|| format!("there is no request {name}"))
    }

    fn own_job(&mut self, uid: &Uid) -> Outcome<&mut ObservedJob> {
        let stream = self.observed.stream.uid.clone();
        let found = self.observed.jobs.iter_mut().find(|job| job.facts.uid == *uid);
        let is_own = |job: &ObservedJob| job.facts.owner.as_ref().is_some_and(|owner| owner.uid == stream);
        found.filter(|job| is_own(job)).ok_or_else(|| format!("the stream has no Job {uid}"))
    }

    fn create_initial_request(&mut self, name: &str) -> bool {
        let name = made::name(name);
        let is_there = self.observed.requests.iter().any(|request| request.name == name);
        if !is_there {
            let owner = self.observed.stream.uid.clone();
            let mut request = self.new_request(None);
            request.name = name;
            request.owners = vec![owner];
            self.observed.requests.push(request);
        }
        !is_there
    }

    pub fn new_request(&mut self, payload: Option<serde_json::Value>) -> RequestFacts {
        self.counter += 1;
        RequestFacts {
            name: made::name(&format!("request-{}", self.counter)),
            uid: Uid::new(format!("uid-of-request-{}", self.counter)),
            created: Some(self.observed.now),
            payload,
            ..made::a_request(made::FIRST)
        }
    }

    fn write_request_status(&mut self, name: &ObjectName, status: &RequestStatus) -> Outcome<bool> {
        let stream = self.observed.stream.uid.clone();
        let request = self.request(name)?;
        if is_settled(request) {
            return Err(format!("request {name} was settled and gets another status"));
        }
        let before = request.clone();
        request.phase = Some(status.phase.clone());
        request.reason = Some(status.reason.to_owned());
        request.message = Some(status.message.clone());
        if status.job_name.is_some() {
            request.job_name.clone_from(&status.job_name);
        }
        if status.accepted {
            request.stream_uid.get_or_insert(stream);
        }
        let changed = *request != before;
        if status.phase == RequestPhase::Failed || status.phase.is_final() {
            // The request tells of it, or nobody wants to know any more.
            self.untold_failure = None;
        }
        let request = self.request(name)?;
        if status.phase.is_final() {
            let uid = request.uid.clone();
            self.owes_backfill &= status.phase != RequestPhase::Completed;
            self.settled.insert(uid);
        }
        Ok(changed)
    }

    fn delete_job(&mut self, uid: &Uid, cause: DeleteCause) -> Outcome<bool> {
        if self.untold_failure.as_ref() == Some(uid) {
            return Err("a Job that has failed is deleted before its stream was called Failed".to_owned());
        }
        let now = self.observed.now;
        let job = self.own_job(uid)?;
        let changed = job.facts.deleting_since.is_none();
        job.facts.deleting_since.get_or_insert(now);
        if let DeleteCause::Ended { quickly } = cause {
            self.observed.quick_ends = if quickly { self.observed.quick_ends + 1 } else { 0 };
        }
        Ok(changed)
    }

    fn stamp_job(&mut self, uid: &Uid, role: &Role) -> Outcome<bool> {
        let stream = self.observed.stream.clone();
        let request = match role {
            Role::Streaming => None,
            Role::Backfill { request } => Some(self.request(request)?.uid.clone()),
        };
        let facts = &mut self.own_job(uid)?.facts;
        facts.stream_generation = Some(stream.generation);
        facts.configuration_hash = Some(stream.configuration_hash);
        facts.restarted_at = stream.restarted_at;
        facts.request_uid = request;
        facts.noted_ttl = facts.ttl.take();
        Ok(true)
    }

    fn set_job_ttl(&mut self, uid: &Uid, seconds: i32) -> Outcome<bool> {
        let job = self.own_job(uid)?;
        job.facts.ttl = Some(seconds);
        let job = job.clone();
        let mut requests = self.observed.requests.iter().filter(|request| !request.deleting);
        if requests.any(|request| does_backfill_of(&job, request) && !is_settled(request)) {
            return Err("a Job may expire before its outcome is recorded".to_owned());
        }
        Ok(true)
    }

    fn note_failure(
        &mut self,
        (template_hash, job_template_hash): (&Option<String>, &Option<String>),
        request: &Option<Uid>,
        was_before_us: bool,
    ) -> bool {
        let stream = &mut self.observed.stream;
        let note = FailureNote {
            generation: stream.generation,
            configuration_hash: stream.configuration_hash.clone(),
            template_hash: template_hash.clone(),
            job_template_hash: job_template_hash.clone(),
            restarted_at: stream.restarted_at.clone(),
            request_uid: request.as_ref().map(|uid| uid.as_str().to_owned()),
            was_before_us,
        };
        let changed = stream.failure_note.as_ref() != Some(&note);
        stream.failure_note = Some(note);
        changed
    }

    fn write_status(&mut self, status: &StreamStatus) -> bool {
        let before = self.status.clone();
        let left = before.as_ref().and_then(|before| before.conditions.clone());
        let conditions = status.conditions.clone().or(left);
        self.status = Some(StreamStatus { conditions, ..status.clone() });
        if status.phase == Some(Phase::Failed) {
            self.untold_failure = None;
        }
        let stream = &mut self.observed.stream;
        stream.recorded.phase = status.phase;
        stream.recorded.configuration_hash = Some(stream.configuration_hash.clone());
        stream.recorded.observed_generation = Some(stream.generation);
        self.observed.recorded_hash_matches = true;
        self.status != before
    }

    fn create_job(&mut self, name: &str, role: &Role) -> Outcome<bool> {
        if self.observed.stream.suspended || self.observed.stream.deleting {
            return Err("a Job is created for a stream that must have none".to_owned());
        }
        if let Some(pod) = self.pods().iter().find(|pod| !pod.finished) {
            return Err(format!("Job {name} is created while pod {} of {:?} runs", pod.name, pod.job));
        }
        if self.observed.jobs.iter().any(|job| job.facts.name.name == name) {
            return Err(format!("there is a Job {name} already"));
        }
        self.no_cron_job_can_start_a_run()?;
        self.counter += 1;
        let mut job = made::a_job();
        if let Role::Backfill { request } = role {
            let request = self.request(request)?.clone();
            if self.settled.contains(&request.uid) {
                return Err(format!("request {} was settled and runs again", request.name));
            }
            if request.stream_uid.as_ref() != Some(&self.observed.stream.uid) {
                return Err(format!("request {} runs without being accepted by this stream", request.name));
            }
            job = made::a_backfill_job(request.uid.as_str());
            job.facts.backfill_id = Some(request.name.name);
        } else if self.owes_backfill {
            return Err("a new stream starts to stream before its backfill".to_owned());
        }
        let stream = &self.observed.stream;
        let template = self.observed.asked.as_ref().ok().and_then(|asked| {
            if *role == Role::Streaming {
                asked.streaming_template.clone().ok()
            } else {
                asked.backfill_template.clone().ok()
            }
        });
        let template = template.ok_or("a Job is created without a template")?;
        job.facts.name = made::name(name);
        job.facts.uid = Uid::new(format!("uid-of-job-{}", self.counter));
        job.facts.owner = Some(made::owner(stream.uid.as_str()));
        job.facts.configuration_hash = Some(stream.configuration_hash.clone());
        job.facts.stream_generation = Some(stream.generation);
        job.facts.restarted_at.clone_from(&stream.restarted_at);
        job.facts.template_hash = Some(template.hash);
        job.facts.created = Some(self.observed.now);
        self.observed.jobs.push(job);
        Ok(true)
    }

    // ---- everybody else ----

    /// The garbage collector removes what is being deleted, with its pods, and Jobs of streams that are gone.
    pub fn collect_garbage(&mut self) -> bool {
        let before = self.number_of_objects();
        let stream = self.observed.stream.uid.clone();
        let is_own = |job: &ObservedJob| job.facts.owner.as_ref().is_some_and(|owner| owner.uid == stream);
        self.observed.jobs.retain(|job| is_own(job) && job.facts.deleting_since.is_none());
        self.observed.requests.retain(|request| !request.deleting);
        self.collect_cron_jobs();
        before != self.number_of_objects()
    }

    /// Time passes until something is due.
    fn wait(&mut self) -> bool {
        let Some(again) = self.look_again.take() else { return false };
        self.observed.now += again;
        true
    }

    /// The Job that runs ends.
    pub fn end_job(&mut self, state: JobState) -> bool {
        let stream = self.observed.stream.uid.clone();
        let mut jobs = self.observed.jobs.iter_mut().filter(|job| job.facts.state == JobState::Unfinished);
        let Some(job) = jobs.find(|job| job.facts.owner.as_ref().is_some_and(|owner| owner.uid == stream)) else {
            return false;
        };
        let of_stream = &self.observed.stream;
        let is_to_be_replaced = job.facts.deleting_since.is_some()
            || (!job.hash_matches && job.facts.stream_generation != Some(of_stream.generation))
            || job.facts.restarted_at != of_stream.restarted_at
            || (job.facts.backfilling
                && !self.observed.requests.iter().any(|request| {
                    does_backfill_of(job, request) && !request.completed && !request.deleting && !is_settled(request)
                }));
        if matches!(state, JobState::Failed { .. }) && !is_to_be_replaced {
            self.untold_failure = Some(job.facts.uid.clone());
        }
        job.facts.state = state;
        true
    }

    /// The TTL of a finished Job runs out.
    fn expire_jobs(&mut self) -> bool {
        let before = self.observed.jobs.len();
        self.observed.jobs.retain(|job| job.facts.ttl.is_none() || job.facts.state == JobState::Unfinished);
        before != self.observed.jobs.len()
    }

    /// Something that a decision may wait for happens.
    fn move_on(&mut self) -> bool {
        let strays = self.strays.len();
        self.strays.clear();
        self.collect_garbage() || strays > 0 || self.wait() || self.a_run_that_is_waited_for_ends()
    }

    // ---- until nothing moves ----

    /// Reconciles until nothing is left to do or to wait for, and sees that it is quiet then (§3.13).
    pub fn come_to_rest(&mut self, decide: &dyn Fn(&Observed) -> Plan) -> Outcome<()> {
        for _ in 0..60 {
            if self.reconcile(decide, None)? == 0 && !self.move_on() {
                return self.is_quiet(decide);
            }
        }
        Err("it doesn't come to rest".to_owned())
    }

    fn is_quiet(&mut self, decide: &dyn Fn(&Observed) -> Plan) -> Outcome<()> {
        let mut again = self.clone();
        let changes = again.reconcile(decide, None)?;
        if changes > 0 || again.look_again.is_some() {
            return Err("it is at rest, but not quiet".to_owned());
        }
        self.tells_the_truth()
    }

    fn tells_the_truth(&self) -> Outcome<()> {
        let recorded = &self.observed.stream.recorded;
        let told = self.status.as_ref();
        if recorded.phase == Some(Phase::Failed)
            && self.observed.asked.is_ok()
            && told.is_some_and(|told| told.conditions.is_some() && holds(told, "Stalled") != Some(true))
        {
            return Err(format!("Failed, and not Stalled: {told:?}"));
        }
        Ok(())
    }

    /// Comes to rest, lets backfills succeed and finished Jobs expire, until the stream streams (or can't).
    pub fn come_to_an_end(&mut self, decide: &dyn Fn(&Observed) -> Plan) -> Outcome<()> {
        for _ in 0..20 {
            self.come_to_rest(decide)?;
            let backfills =
                own_jobs(&self.observed).any(|job| job.facts.backfilling && job.facts.state == JobState::Unfinished);
            let now = self.observed.now;
            let success =
                JobState::Succeeded { started: Some(now - SignedDuration::from_hours(1)), finished: Some(now) };
            let moved = (backfills && self.end_job(success)) || self.expire_jobs();
            if !moved {
                return Ok(());
            }
        }
        Err("it backfills for ever".to_owned())
    }

    /// What is left at the end, without times and UIDs.
    pub fn ending(&self) -> String {
        let conditions: Vec<String> = self
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .filter(|condition| condition.holds)
            .map(|condition| format!("{} {}", condition.type_, condition.reason))
            .collect();
        let requests: Vec<String> = self
            .observed
            .requests
            .iter()
            .map(|request| format!("{} {:?} {}", request.name.name, request.phase, request.completed))
            .collect();
        let jobs: Vec<String> = self
            .observed
            .jobs
            .iter()
            .map(|job| {
                let state = match job.facts.state {
                    JobState::Unfinished => "unfinished",
                    JobState::Succeeded { .. } => "succeeded",
                    JobState::Failed { .. } => "failed",
                };
                format!("{} {state} current {} ttl {:?}", job.facts.name.name, job.hash_matches, job.facts.ttl)
            })
            .collect();
        let phase = self.observed.stream.recorded.phase;
        let cron_jobs = self.cron_jobs_told();
        format!("{phase:?} {conditions:?}, requests {requests:?}, jobs {jobs:?}, cron jobs {cron_jobs:?}")
    }
}
