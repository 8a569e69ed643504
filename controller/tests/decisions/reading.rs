//! The contract's words, read from a situation and a plan: what "open", "unfinished", "current" mean.
//!
//! Written from contract §3 alone. Only plain data of the controller is used here, none of its judgements.

use arcane_common::{
    api::backfill_request::BackfillRequestPhase as RequestPhase,
    identity::{ObjectName, Uid},
    stream::{Phase, Workload},
};
use arcane_controller::{
    facts::{JobFacts, JobState, PodFacts, RequestFacts},
    stream::{
        action::{Action, Plan, RequestStatus, Role, StreamStatus},
        observed::{Asked, Observed, ObservedCronJob, ObservedJob, Pods, Problem, ResolvedTemplate, Standing, Update},
    },
};

/// A decision and what it was made of.
pub struct Trial<'a> {
    pub observed: &'a Observed,
    pub plan: &'a Plan,
    /// Requests that are open when all that can be told of them has been recorded, oldest first.
    pub open: Vec<&'a RequestFacts>,
    created: Option<(&'a str, &'a Role)>,
    status: Option<&'a StreamStatus>,
    /// The same decision about another situation.
    pub decide: &'a dyn Fn(&Observed) -> Plan,
}

impl<'a> Trial<'a> {
    pub fn of(observed: &'a Observed, plan: &'a Plan, decide: &'a dyn Fn(&Observed) -> Plan) -> Self {
        let open = open_requests(observed);
        Self { observed, plan, open, created: created(plan), status: stream_status(plan), decide }
    }

    // ---- the situation ----

    pub fn phase(&self) -> Option<Phase> {
        self.observed.stream.recorded.phase
    }

    pub fn asked(&self) -> Option<&'a Asked> {
        self.observed.asked.as_ref().ok()
    }

    /// Neither paused, nor on its way out, nor wrong; and the decision wasn't put off until the pods are known.
    pub fn is_active(&self) -> bool {
        let stream = &self.observed.stream;
        !stream.deleting && !stream.suspended && self.observed.asked.is_ok() && !self.plan.needs_pods
    }

    /// Paused, and not on its way out.
    pub fn is_paused(&self) -> bool {
        self.observed.stream.suspended && !self.observed.stream.deleting
    }

    pub fn own_jobs(&self) -> impl Iterator<Item = &'a ObservedJob> {
        own_jobs(self.observed)
    }

    pub fn unfinished_own(&self) -> impl Iterator<Item = &'a ObservedJob> {
        self.own_jobs().filter(|job| job.facts.state == JobState::Unfinished)
    }

    /// The request whose backfill comes first; without one, the stream itself is what shall run.
    pub fn wanted_backfill(&self) -> Option<&'a RequestFacts> {
        self.open.first().copied()
    }

    pub fn is_wanted(&self, job: &ObservedJob) -> bool {
        match self.wanted_backfill() {
            Some(request) => does_backfill_of(job, request),
            None => !self.is_batch() && !job.facts.backfilling,
        }
    }

    pub fn wanted_phase(&self) -> Phase {
        match self.wanted_backfill() {
            Some(_) => Phase::Backfilling,
            None if self.is_batch() => Phase::Scheduled,
            None => Phase::Running,
        }
    }

    /// §3.10: whether the stream runs by a CronJob.
    pub fn is_batch(&self) -> bool {
        self.asked().is_some_and(|asked| matches!(asked.workload, Workload::Batch { .. }))
    }

    pub fn own_cron_jobs(&self) -> impl Iterator<Item = &'a ObservedCronJob> {
        own_cron_jobs(self.observed)
    }

    /// The CronJob that is there to stay.
    pub fn cron_job(&self) -> Option<&'a ObservedCronJob> {
        let staying = self.own_cron_jobs().filter(|cron_job| cron_job.facts.deleting_since.is_none());
        staying.min_by_key(|cron_job| cron_job.facts.created)
    }

    /// §3.5, for CronJobs: one that nobody knows the generation of is to be stamped.
    pub fn is_cron_job_of_earlier_spec(&self, cron_job: &ObservedCronJob) -> bool {
        let generation = cron_job.facts.stream_generation;
        generation.is_none() || (!cron_job.hash_matches && generation != Some(self.observed.stream.generation))
    }

    pub fn is_cron_job_before_restart(&self, cron_job: &ObservedCronJob) -> bool {
        let asked = &self.observed.stream.restarted_at;
        cron_job.facts.stream_generation.is_some() && asked.is_some() && *asked != cron_job.facts.restarted_at
    }

    /// Runs of whatever CronJob that may write.
    pub fn unfinished_runs(&self) -> impl Iterator<Item = &'a JobFacts> {
        self.observed.runs.iter().filter(|run| run.state == JobState::Unfinished)
    }

    pub fn wanted_template(&self) -> Option<&'a Result<ResolvedTemplate, Problem>> {
        let asked = self.asked()?;
        Some(if self.wanted_backfill().is_some() { &asked.backfill_template } else { &asked.streaming_template })
    }

    pub fn can_be_made(&self) -> bool {
        self.wanted_template().is_some_and(Result::is_ok)
    }

    /// The Job whose end tells how the wanted thing went.
    pub fn wanted_finished(&self) -> Option<&'a ObservedJob> {
        self.own_jobs()
            .filter(|job| job.facts.state != JobState::Unfinished && job.facts.deleting_since.is_none())
            .filter(|job| self.is_wanted(job))
            .max_by_key(|job| job.facts.created)
    }

    /// §3.5: generation **and** hash differ from the Job's.
    pub fn is_of_earlier_spec(&self, job: &ObservedJob) -> bool {
        !job.hash_matches && job.facts.stream_generation != Some(self.observed.stream.generation)
    }

    /// §3.7: a new value of `arcane/restarted-at`. What stood there when a Job was taken over isn't new.
    pub fn is_before_restart(&self, job: &ObservedJob) -> bool {
        let asked = &self.observed.stream.restarted_at;
        !is_of_older_operator(job) && asked.is_some() && *asked != job.facts.restarted_at
    }

    /// §3.7: whether something has happened by which a stream leaves `Failed`.
    ///
    /// A fresh request is such a thing: the guide has backfills "to recover from a failure". So is the end of
    /// the request that failed: "deleting an open request stops its Job and streaming goes on".
    pub fn has_reason_to_leave_failed(&self) -> bool {
        let stream = &self.observed.stream;
        // The older operator leaves open what has failed, and says nothing in its status.
        let has_failed = |request: &RequestFacts| match &request.phase {
            None => stream.failure_note.is_none(),
            Some(phase) => *phase == RequestPhase::Failed,
        };
        if self.wanted_backfill().is_some_and(|request| !has_failed(request)) {
            return true;
        }
        let Some(note) = &stream.failure_note else {
            let recorded = &stream.recorded;
            let is_of_earlier_spec =
                !self.observed.recorded_hash_matches && recorded.observed_generation != Some(stream.generation);
            return is_of_earlier_spec || stream.restarted_at.is_some();
        };
        let template = self.wanted_template().and_then(|template| template.as_ref().ok());
        let has_request_gone = note
            .request_uid
            .as_ref()
            .is_some_and(|failed| self.wanted_backfill().is_none_or(|request| request.uid.as_str() != failed));
        (note.generation != stream.generation && note.configuration_hash != stream.configuration_hash)
            || (stream.restarted_at.is_some() && stream.restarted_at != note.restarted_at)
            || note.template_hash.as_ref().zip(template).is_some_and(|(noted, template)| *noted != template.hash)
            || has_request_gone
    }

    /// The API server has refused the Job of a backfill, or what streams, and it isn't time to try again.
    pub fn is_refused_still(&self, backfilling: bool) -> bool {
        let refused = self.observed.refused.as_ref();
        refused.is_some_and(|it| it.backfilling == backfilling && it.try_again_at > self.observed.now)
    }

    pub fn request(&self, name: &ObjectName) -> Option<&'a RequestFacts> {
        self.observed.requests.iter().find(|request| request.name == *name)
    }

    /// §3.6: its class rolls, and the streaming Job was made of an earlier template than the one that can be used now.
    pub fn is_rolled(&self, job: &ObservedJob) -> Option<Standing> {
        let Update::Rolling(standing) = self.asked()?.update else { return None };
        let target = self.asked()?.streaming_template.as_ref().ok()?;
        let is_outdated = job.facts.template_hash.as_ref().is_some_and(|hash| *hash != target.hash);
        (is_outdated && !job.facts.backfilling && !self.is_batch()).then_some(standing)
    }

    // ---- the plan ----

    pub fn actions(&self) -> &'a [Action] {
        &self.plan.actions
    }

    pub fn created(&self) -> Option<(&'a str, &'a Role)> {
        self.created
    }

    pub fn creates(&self) -> bool {
        self.created().is_some()
    }

    /// The CronJob that the plan creates or lets start runs again.
    pub fn starts_runs(&self) -> Option<&'a str> {
        self.plan.actions.iter().find_map(|action| match action {
            Action::CreateCronJob { name } | Action::ResumeCronJob { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    pub fn deletes_cron_job(&self, cron_job: &ObservedCronJob) -> bool {
        let is_it = |action: &Action| matches!(action, Action::DeleteCronJob { uid, .. } if *uid == cron_job.facts.uid);
        self.plan.actions.iter().any(is_it)
    }

    pub fn updates(&self, cron_job: &ObservedCronJob) -> bool {
        let is_it = |action: &Action| matches!(action, Action::UpdateCronJob { uid, .. } if *uid == cron_job.facts.uid);
        self.plan.actions.iter().any(is_it)
    }

    pub fn deletes(&self, job: &ObservedJob) -> bool {
        self.deleted().any(|uid| *uid == job.facts.uid)
    }

    pub fn deleted(&self) -> impl Iterator<Item = &'a Uid> {
        self.plan.actions.iter().filter_map(|action| match action {
            Action::DeleteJob { uid, .. } => Some(uid),
            _ => None,
        })
    }

    /// The status that the stream has after the plan; `None` where the plan leaves it.
    pub fn status(&self) -> Option<&'a StreamStatus> {
        self.status
    }

    /// Statuses of requests, with their places in the plan.
    pub fn request_statuses(&self) -> impl Iterator<Item = (usize, &'a ObjectName, &'a RequestStatus)> {
        self.plan.actions.iter().enumerate().filter_map(|(place, action)| match action {
            Action::WriteRequestStatus { request, status } => Some((place, request, status)),
            _ => None,
        })
    }

    pub fn writes_phase_of(&self, request: &RequestFacts, phase: &RequestPhase) -> bool {
        self.request_statuses().any(|(_, name, status)| *name == request.name && status.phase == *phase)
    }
}

pub fn own_jobs(observed: &Observed) -> impl Iterator<Item = &ObservedJob> {
    observed.jobs.iter().filter(|job| is_own(observed, job))
}

pub fn own_cron_jobs(observed: &Observed) -> impl Iterator<Item = &ObservedCronJob> {
    let is_own = |cron_job: &&ObservedCronJob| {
        cron_job.facts.owner.as_ref().is_some_and(|owner| owner.uid == observed.stream.uid)
    };
    observed.cron_jobs.iter().filter(is_own)
}

pub fn is_run_of(run: &JobFacts, cron_job: &ObservedCronJob) -> bool {
    run.owner.as_ref().is_some_and(|owner| owner.uid == cron_job.facts.uid)
}

/// §3.9: ours = its controller owner is this stream's UID.
pub fn is_own(observed: &Observed, job: &ObservedJob) -> bool {
    job.facts.owner.as_ref().is_some_and(|owner| owner.uid == observed.stream.uid)
}

pub fn is_of_older_operator(job: &ObservedJob) -> bool {
    job.facts.stream_generation.is_none()
}

/// §3.4: every backfill Job names its request's UID; §4: the older operator's name the request.
pub fn does_backfill_of(job: &ObservedJob, request: &RequestFacts) -> bool {
    job.facts.backfilling
        && match &job.facts.request_uid {
            Some(uid) => *uid == request.uid,
            None => job.facts.backfill_id.as_deref() == Some(request.name.name.as_str()),
        }
}

/// §3.4: nothing is said of it yet (a word that nobody knows says nothing).
pub fn has_no_status(request: &RequestFacts) -> bool {
    !RequestPhase::WORDS.iter().any(|word| request.phase.as_ref().is_some_and(|phase| phase.as_str() == *word))
}

/// §3.4: truth is in `status`.
pub fn is_settled(request: &RequestFacts) -> bool {
    matches!(request.phase, Some(RequestPhase::Completed | RequestPhase::Cancelled))
}

pub fn is_of_another_stream(observed: &Observed, request: &RequestFacts) -> bool {
    request.stream_uid.as_ref().is_some_and(|uid| *uid != observed.stream.uid)
}

pub fn has_succeeded(observed: &Observed, request: &RequestFacts) -> bool {
    own_jobs(observed).any(|job| does_backfill_of(job, request) && ended_well_by_itself(&job.facts))
}

/// §3.3: a backfill that is stopped goes on later. A program that is told to end may well do so with exit code 0.
fn ended_well_by_itself(job: &JobFacts) -> bool {
    let JobState::Succeeded { finished, .. } = job.state else { return false };
    job.deleting_since.is_none_or(|told| finished.is_some_and(|finished| finished < told))
}

/// Whether a request is neither settled nor to be settled now, but for being superseded.
pub fn is_open(observed: &Observed, request: &RequestFacts) -> bool {
    !request.deleting
        && !is_settled(request)
        && !request.completed
        && request.problem.is_none()
        && !is_of_another_stream(observed, request)
        && !has_succeeded(observed, request)
}

/// §3.4: "oldest first, ties by name"; "a failed one stays open; a newer request supersedes it".
fn open_requests(observed: &Observed) -> Vec<&RequestFacts> {
    let mut open: Vec<&RequestFacts> = observed.requests.iter().filter(|request| is_open(observed, request)).collect();
    open.sort_by(|a, b| (a.created, &a.name.name).cmp(&(b.created, &b.name.name)));
    let newest = open.len().saturating_sub(1);
    let mut place = 0;
    open.retain(|request| {
        place += 1;
        request.phase != Some(RequestPhase::Failed) || place > newest
    });
    open
}

pub fn running_pods(pods: &Pods) -> impl Iterator<Item = &PodFacts> {
    let pods = if let Pods::Listed(pods) = pods { pods.as_slice() } else { &[] };
    pods.iter().filter(|pod| !pod.finished)
}

/// §3.2: whether it is known that no pod of an earlier Job runs.
pub fn no_pod_can_be_left(pods: &Pods) -> bool {
    match pods {
        Pods::Unknown => false,
        Pods::Clear => true,
        Pods::Listed(_) => running_pods(pods).next().is_none(),
    }
}

pub fn created(plan: &Plan) -> Option<(&str, &Role)> {
    plan.actions.iter().find_map(|action| match action {
        Action::CreateJob { name, role } => Some((name.as_str(), role)),
        _ => None,
    })
}

pub fn stream_status(plan: &Plan) -> Option<&StreamStatus> {
    plan.actions.iter().rev().find_map(|action| match action {
        Action::WriteStatus(status) | Action::Announce(status) => Some(status),
        _ => None,
    })
}

/// Whether the condition `type_` is said to hold; `None` where nothing is said of it.
pub fn holds(status: &StreamStatus, type_: &str) -> Option<bool> {
    let conditions = status.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.holds)
}

pub fn says(status: &StreamStatus, type_: &str, reason: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == type_ && condition.holds && condition.reason == reason)
}
