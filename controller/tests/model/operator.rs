//! The controller: the real plan, and the real patch of a stream's status. What is around them is imitated here, because the
//! original talks to an API server: each function names the one it stands for, and keeps the order of its steps.

use std::sync::Arc;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase,
    identity::{ObjectName, Uid},
    stream::Phase,
};
use arcane_controller::{
    backfill_request,
    facts::{FailureNote, JobFacts, JobState, PodFacts, RecordedStatus, RequestFacts, StreamFacts},
    stream::{
        Action, Observed, Plan,
        action::{RequestStatus, Role, StreamStatus},
        observed::{ObservedJob, Pods},
        status,
        status_schema::StatusSchema,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{made, state::*};

pub type Decide = fn(&Observed) -> Plan;

/// What a write came to.
enum Written {
    /// It was made, and changed something of this kind, or nothing that a watch shows.
    Yes(Option<Kind>),
    /// The world had moved on (`apply::Applied::MovedOn`), or it failed: a new decision is needed.
    No,
}

impl Operator {
    /// A process that has just listed everything.
    pub fn new() -> Self {
        Self { behind: [0; 3], own_writes: [None; 3], memory: None, work: None, is_over: false }
    }

    /// `Caches::wait_for_own_writes`.
    pub fn waits(&self) -> bool {
        self.own_writes.iter().any(Option::is_some)
    }

    fn forget_seen_writes(&mut self) {
        for (behind, most) in self.behind.iter().zip(&mut self.own_writes) {
            if most.is_some_and(|most| *behind <= most) {
                *most = None;
            }
        }
    }

    /// `Caches::memory_of`.
    fn memory_of(&mut self, stream: Id) -> &mut Memory {
        let fresh = Memory { stream, pods_clear: false, in_doubt: false, taken_names: Default::default() };
        let memory = self.memory.get_or_insert_with(|| fresh.clone());
        if memory.stream != stream {
            *memory = fresh;
        }
        memory
    }
}

/// A watch shows its next event (`Caches::on_stream`, `on_request`, `on_job`).
pub fn see(state: &mut State, who: usize, kind: Kind) {
    let Some(mut operator) = state.operators[who].take() else { return };
    let before = operator.behind[kind as usize];
    let Some(after) = before.checked_sub(1) else { return };
    operator.behind[kind as usize] = after;
    let cluster = &state.cluster;
    match kind {
        Kind::Stream if cluster.streams.seen(after).is_none() => operator.memory = None,
        Kind::Stream | Kind::Request => {}
        Kind::Job => {
            let (before, after) = (cluster.jobs.seen(before), cluster.jobs.seen(after));
            let gone = before.iter().filter(|job| after.iter().all(|other| other.id != job.id));
            for job in gone.filter(|job| job.state == JobEnd::Unfinished) {
                // `Caches::job_is_gone`
                if let Some(memory) = operator.memory.as_mut().filter(|memory| memory.stream == job.owner) {
                    memory.pods_clear = false;
                }
            }
        }
    }
    operator.forget_seen_writes();
    state.operators[who] = Some(operator);
    state.trim();
}

/// A watch doesn't show what the process itself has written for ten seconds.
pub fn give_up_waiting(operator: &mut Operator) {
    operator.own_writes = [None; 3];
    doubt_watches(operator);
}

/// `StreamMemory::doubts_watches`
fn doubt_watches(operator: &mut Operator) {
    if let Some(memory) = &mut operator.memory {
        memory.pods_clear = false;
        memory.in_doubt = true;
    }
}

/// `doubt::is_over`: whether the watches show Jobs and requests as they are.
fn is_doubt_over(cluster: &Cluster, operator: &Operator) -> bool {
    let [_, requests, jobs] = operator.behind;
    **cluster.jobs.seen(jobs) == *cluster.jobs.now() && **cluster.requests.seen(requests) == *cluster.requests.now()
}

/// `stream::reconcile`: `stream::decide`, again with the pods if it asks for them; keeps what is to be written.
pub fn decide(state: &mut State, who: usize, decide: Decide) {
    let Some(mut operator) = state.operators[who].take() else { return };
    let cluster = &state.cluster;
    let [stream, requests, jobs] = operator.behind;
    let mut basis = Basis {
        stream: Arc::clone(cluster.streams.seen(stream)),
        requests: Arc::clone(cluster.requests.seen(requests)),
        jobs: Arc::clone(cluster.jobs.seen(jobs)),
        pods: Known::Nothing,
        taken_names: Default::default(),
    };
    if let Some(stream) = basis.stream.as_ref() {
        let is_certain = is_doubt_over(cluster, &operator);
        let memory = operator.memory_of(stream.id);
        if memory.in_doubt && !is_certain {
            state.operators[who] = Some(operator);
            return;
        }
        memory.in_doubt = false;
        basis.taken_names.clone_from(&memory.taken_names);
        if memory.pods_clear {
            basis.pods = Known::Clear;
        }
        if decide(&observe(&basis)).needs_pods {
            // `pods::list`, and the decision after it
            memory.pods_clear |= cluster.pods.iter().all(|pod| pod.end.is_some());
            basis.pods = Known::Listed(cluster.pods.clone());
        }
        operator.work = next_write(Work { basis, has_moved: stream_has_moved(&operator), next: 0 }, decide);
    } else {
        let work = Work { basis, has_moved: false, next: 0 };
        operator.work = (!missing_stream(&work.basis).is_empty()).then_some(work);
    }
    state.operators[who] = Some(operator);
}

fn stream_has_moved(operator: &Operator) -> bool {
    operator.behind[Kind::Stream as usize] > 0
}

/// Goes to the next action of the plan that writes something; `None` at its end.
fn next_write(mut work: Work, decide: Decide) -> Option<Work> {
    let plan = decide(&observe(&work.basis));
    while let Some(action) = plan.actions.get(work.next) {
        if is_write(&work.basis, action) {
            return Some(work);
        }
        work.next += 1;
    }
    None
}

fn is_write(basis: &Basis, action: &Action) -> bool {
    match (action, basis.stream.as_ref()) {
        (Action::WriteStatus(wanted), Some(stream)) => !status_patch(stream, wanted).is_empty(),
        (Action::NoteFailure { template_hash, job_template_hash, request, was_before_us }, Some(stream)) => {
            let hashes = (template_hash.clone(), job_template_hash.clone());
            stream.note != Some(failure_note(stream, hashes, request.as_ref(), *was_before_us))
        }
        _ => true,
    }
}

/// Whether the next write creates a Job.
pub fn is_about_to_create(operator: &Operator, decide: Decide) -> bool {
    operator.work.as_ref().is_some_and(|work| {
        work.basis.stream.is_some()
            && matches!(decide(&observe(&work.basis)).actions.get(work.next), Some(Action::CreateJob { .. }))
    })
}

/// Whether the next write deletes this Job, after a look at its pods.
pub fn is_about_to_delete(operator: &Operator, job: Id, decide: Decide) -> bool {
    operator.work.as_ref().is_some_and(|work| {
        work.basis.stream.is_some()
            && matches!(work.basis.pods, Known::Listed(_))
            && matches!(decide(&observe(&work.basis)).actions.get(work.next),
                Some(Action::DeleteJob { uid, .. }) if number(uid) == job)
    })
}

/// How the answer to a write comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Arrives,
    IsLost,
}

/// Makes the next write of the plan (`stream::apply`).
pub fn write(state: &mut State, who: usize, answer: Answer, decide: Decide) {
    let Some(work) = state.operators[who].as_mut().and_then(|operator| operator.work.take()) else { return };
    let before = Arc::clone(state.cluster.streams.seen(0));
    let written = if work.basis.stream.is_some() {
        let plan = decide(&observe(&work.basis));
        match plan.actions.get(work.next) {
            Some(action) => carry_out(state, who, &work, action),
            None => Written::No,
        }
    } else {
        let statuses = missing_stream(&work.basis);
        match statuses.get(work.next) {
            Some((request, status)) => write_request_status(state, request, status, None),
            None => Written::No,
        }
    };
    let Some(mut operator) = state.operators[who].take() else { return };
    if answer == Answer::IsLost {
        // `Work::doubt_after`
        doubt_watches(&mut operator);
    }
    if let (Written::Yes(kind), Answer::Arrives, false) = (written, answer, operator.is_over) {
        if let Some(kind) = kind {
            // `Context::note`
            operator.own_writes[kind as usize] = Some(0);
            operator.forget_seen_writes();
        }
        let has_moved = work.has_moved || *before != *state.cluster.streams.now();
        let work = Work { next: work.next + 1, has_moved, ..work };
        operator.work = if work.basis.stream.is_some() {
            next_write(work, decide)
        } else {
            (missing_stream(&work.basis).len() > work.next).then_some(work)
        };
    }
    if !operator.is_over {
        state.operators[who] = Some(operator);
    }
    state.trim();
}

/// `Work::carry_out`
fn carry_out(state: &mut State, who: usize, work: &Work, action: &Action) -> Written {
    let Some(stream) = work.basis.stream.as_ref() else { return Written::No };
    let request = |name: &ObjectName| work.basis.requests.iter().find(|request| request.name == name.name);
    match action {
        Action::CreateInitialRequest { name } => create_initial_request(state, stream.id, name),
        Action::OwnRequest { request: name } => match request(name) {
            Some(request) => own_request(state, stream.id, request.id),
            None => Written::No,
        },
        Action::WriteRequestStatus { request: name, status } => match request(name) {
            Some(request) => write_request_status(state, request, status, status.accepted.then_some(stream.id)),
            None => Written::No,
        },
        Action::MarkCompleted { request: name } => match request(name) {
            Some(request) => mark_completed(state, request.id),
            None => Written::Yes(None),
        },
        Action::DeleteJob { uid, .. } => delete_job(state, number(uid), &work.basis.jobs),
        Action::SetJobTtl { uid, .. } => {
            let id = number(uid);
            state.change_job(id, |job| job.ttl = true);
            noted(state.cluster.jobs.now().iter().any(|job| job.id == id), Kind::Job)
        }
        Action::NoteFailure { template_hash, job_template_hash, request, was_before_us } => {
            let hashes = (template_hash.clone(), job_template_hash.clone());
            let note = failure_note(stream, hashes, request.as_ref(), *was_before_us);
            write_stream(state, stream.id, |stream| stream.note = Some(note))
        }
        Action::WriteStatus(wanted) => write_status(state, work, wanted, false),
        Action::Announce(wanted) => write_status(state, work, wanted, true),
        Action::CreateJob { name, role } => create_job(state, who, work, name, role),
        // None of the older operator's Jobs, no CronJob, no refused Job is in this world.
        other => unreachable!("{other:?}"),
    }
}

fn noted(is_there: bool, kind: Kind) -> Written {
    Written::Yes(is_there.then_some(kind))
}

fn number(uid: &Uid) -> Id {
    uid.as_str().parse().unwrap()
}

/// `Work::create_initial_request`: that it is there already is fine.
fn create_initial_request(state: &mut State, stream: Id, name: &str) -> Written {
    if state.cluster.requests.now().iter().any(|request| request.name == name) {
        return Written::Yes(None);
    }
    let request = new_request(state, name.to_owned(), vec![stream]);
    let mut requests = state.cluster.requests.now().clone();
    requests.push(request);
    state.put_requests(requests);
    Written::Yes(Some(Kind::Request))
}

pub fn new_request(state: &mut State, name: String, owners: Vec<Id>) -> Request {
    let id = state.new_id();
    Request {
        name,
        id,
        owners,
        completed: false,
        completed_written: false,
        phase: None,
        reason: None,
        message: None,
        job_name: None,
        accepted_by: None,
    }
}

/// `Work::own_request`: the JSON patch tests the UID.
fn own_request(state: &mut State, stream: Id, request: Id) -> Written {
    if state.cluster.requests.now().iter().all(|other| other.id != request) {
        return Written::No;
    }
    state.change_request(request, |request| request.owners.push(stream));
    Written::Yes(Some(Kind::Request))
}

/// `stream::write_request_status`: with the version that was seen.
fn write_request_status(state: &mut State, seen: &Request, wanted: &RequestStatus, accepted_by: Option<Id>) -> Written {
    let id = seen.id;
    let Some(request) = state.cluster.requests.now().iter().find(|request| *request == seen).cloned() else {
        return Written::No;
    };
    if wanted.phase == BackfillRequestPhase::Completed && wanted.reason == "Completed" {
        if !state.cluster.done.contains(&id) {
            state.breaks(Invariant::BackfillOnce, "a request is completed though none of its Jobs has done the work");
        }
        if let Some(stream) = request.accepted_by {
            state.cluster.owed.remove(&stream);
        }
    }
    if is_final(request.phase) && request.phase != Some(word(&wanted.phase)) {
        state.breaks(Invariant::BackfillOnce, "a settled request is opened again");
    }
    state.change_request(id, |request| {
        request.phase = Some(word(&wanted.phase));
        request.reason = Some(wanted.reason);
        request.message = Some(wanted.message.clone());
        if wanted.job_name.is_some() {
            request.job_name.clone_from(&wanted.job_name);
        }
        if accepted_by.is_some() {
            request.accepted_by = accepted_by;
        }
    });
    Written::Yes(Some(Kind::Request))
}

/// `Work::mark_completed`
fn mark_completed(state: &mut State, id: Id) -> Written {
    let Some(request) = state.cluster.requests.now().iter().find(|request| request.id == id) else {
        return Written::No;
    };
    if request.phase != Some("Completed") {
        state.breaks(Invariant::BackfillOnce, "spec.completed is set before the outcome is recorded");
    }
    state.change_request(id, |request| {
        request.completed = true;
        request.completed_written = true;
    });
    Written::Yes(Some(Kind::Request))
}

/// `Context::delete_in_foreground`: with UID and version as preconditions; one that is gone or has changed is fine.
fn delete_job(state: &mut State, id: Id, seen: &[Job]) -> Written {
    let of = |jobs: &[Job]| jobs.iter().find(|job| job.id == id).cloned();
    let is_at_version = of(state.cluster.jobs.now()).is_some_and(|job| Some(job) == of(seen));
    if is_at_version {
        crate::cluster::delete_job(state, id);
    }
    noted(is_at_version, Kind::Job)
}

/// A merge patch that names the stream's UID; one that isn't there is an error.
fn write_stream(state: &mut State, id: Id, change: impl FnOnce(&mut Stream)) -> Written {
    if state.stream().is_none_or(|stream| stream.id != id) {
        return Written::No;
    }
    state.change_stream(change);
    Written::Yes(Some(Kind::Stream))
}

/// `Work::write_status`: the real patch; an announcement is sent in any case, with the version that was seen.
fn write_status(state: &mut State, work: &Work, wanted: &StreamStatus, announce: bool) -> Written {
    let Some(stream) = work.basis.stream.as_ref() else { return Written::No };
    if announce && work.has_moved {
        return Written::No;
    }
    let fields = Value::Object(status_patch(stream, wanted));
    write_stream(state, stream.id, |stream| json_patch::merge(&mut stream.status, &fields))
}

fn status_patch(stream: &Stream, wanted: &StreamStatus) -> serde_json::Map<String, Value> {
    status::patch(&stream_facts(stream), wanted, &StatusSchema::anything(), made::now())
}

/// `Work::note_failure`
fn failure_note(
    stream: &Stream,
    (template_hash, job_template_hash): (Option<String>, Option<String>),
    request: Option<&Uid>,
    was_before_us: bool,
) -> String {
    let facts = stream_facts(stream);
    let note = FailureNote {
        generation: facts.generation,
        configuration_hash: facts.configuration_hash,
        template_hash,
        job_template_hash,
        restarted_at: facts.restarted_at,
        request_uid: request.map(ToString::to_string),
        was_before_us,
    };
    serde_json::to_string(&note).unwrap()
}

/// `Work::create_job`, `Work::find_out_whose`
fn create_job(state: &mut State, who: usize, work: &Work, name: &str, role: &Role) -> Written {
    let Some(stream) = work.basis.stream.as_ref() else { return Written::No };
    if let Some(there) = state.cluster.jobs.now().iter().find(|job| job.name == name) {
        if there.owner != stream.id
            && let Some(operator) = &mut state.operators[who]
        {
            operator.memory_of(stream.id).taken_names.insert(name.to_owned());
        }
        return Written::No;
    }
    let request = match role {
        Role::Streaming => None,
        Role::Backfill { request: name } => work.basis.requests.iter().find(|request| request.name == name.name),
    };
    judge_creation(state, stream.id, request);
    let id = state.new_id();
    let job = Job {
        name: name.to_owned(),
        id,
        owner: stream.id,
        request: request.map(|request| (request.id, request.name.clone())),
        spec: stream.spec,
        generation: stream.generation,
        restarted: stream.restarted,
        state: JobEnd::Unfinished,
        deleting: None,
        ttl: false,
    };
    let mut jobs = state.cluster.jobs.now().clone();
    jobs.push(job);
    state.put_jobs(jobs);
    Written::Yes(Some(Kind::Job))
}

fn judge_creation(state: &mut State, stream: Id, request: Option<&Request>) {
    let cluster = &state.cluster;
    if cluster.jobs.now().iter().any(|job| job.state == JobEnd::Unfinished) {
        state.breaks(Invariant::SingleWriter, "a Job is created while one is unfinished");
    } else if cluster.pods.iter().any(|pod| pod.end.is_none()) {
        state.breaks(Invariant::SingleWriter, "a Job is created while a pod runs");
    }
    let cluster = &state.cluster;
    match request {
        None if cluster.owed.contains(&stream) => {
            state.breaks(Invariant::BackfillFirst, "a new stream streams before its backfill");
        }
        None => {}
        Some(request) => {
            let now = cluster.requests.now().iter().find(|other| other.id == request.id);
            if cluster.done.contains(&request.id) {
                state.breaks(Invariant::BackfillOnce, "a backfill runs again after its Job has completed");
            } else if now.is_some_and(|request| is_final(request.phase)) {
                state.breaks(Invariant::BackfillOnce, "a settled request runs again");
            } else if now.is_some_and(|request| request.accepted_by.is_some_and(|accepted| accepted != stream)) {
                state.breaks(Invariant::BackfillOnce, "a request runs for two streams");
            }
        }
    }
}

pub fn is_final(phase: Option<&str>) -> bool {
    matches!(phase, Some("Completed" | "Cancelled"))
}

fn word(phase: &BackfillRequestPhase) -> &'static str {
    match phase {
        BackfillRequestPhase::Pending => "Pending",
        BackfillRequestPhase::Running => "Running",
        BackfillRequestPhase::Completed => "Completed",
        BackfillRequestPhase::Failed => "Failed",
        BackfillRequestPhase::Cancelled => "Cancelled",
        BackfillRequestPhase::Unknown(_) => "",
    }
}

/// What is to be said of requests that have no stream: the real plan of `backfill_request`.
fn missing_stream(basis: &Basis) -> Vec<(Request, RequestStatus)> {
    let status_of = |request: &Request| {
        let observed = backfill_request::Observed {
            request: request_facts(request),
            kind: Some(made::kind().kind),
            has_stream: false,
            streams_are_known: true,
            trouble_of_class: None,
        };
        backfill_request::plan(&observed).map(|status| (request.clone(), status))
    };
    basis.requests.iter().filter_map(status_of).collect()
}

// ---- from what is kept to what a decision sees (`facts`, `stream::gather`) ----

pub fn observe(basis: &Basis) -> Observed {
    let Some(stream) = basis.stream.as_ref() else { return made::a_new_stream() };
    let facts = stream_facts(stream);
    let recorded = facts.recorded.configuration_hash.as_ref();
    let job = |job: &Job| ObservedJob { facts: job_facts(job), hash_matches: job.spec == stream.spec };
    Observed {
        recorded_hash_matches: recorded.is_none_or(|hash| *hash == facts.configuration_hash),
        requests: basis.requests.iter().map(request_facts).collect(),
        jobs: basis.jobs.iter().map(job).collect(),
        taken_names: basis.taken_names.clone(),
        pods: match &basis.pods {
            Known::Nothing => Pods::Unknown,
            Known::Clear => Pods::Clear,
            Known::Listed(pods) => Pods::Listed(pods.iter().map(pod_facts).collect()),
        },
        stream: facts,
        ..made::a_new_stream()
    }
}

fn uid(id: Id) -> Uid {
    Uid::new(id.to_string())
}

/// Ids grow with time, so they tell the age, too.
fn created(id: Id) -> Timestamp {
    made::ago(7_200 - i64::from(id))
}

fn stream_facts(stream: &Stream) -> StreamFacts {
    let text = |field: &str| stream.status.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    StreamFacts {
        uid: uid(stream.id),
        generation: i64::from(stream.generation),
        deleting: stream.deleting,
        restarted_at: (stream.restarted > 0).then(|| stream.restarted.to_string()),
        failure_note: stream.note.as_ref().and_then(|note| serde_json::from_str(note).ok()),
        configuration_hash: format!("spec-{}", stream.spec),
        suspended: stream.suspended,
        recorded: RecordedStatus {
            phase: text("phase").as_deref().and_then(Phase::from_recorded),
            phase_is_unknown: false,
            phase_is_annotated: false,
            configuration_hash: text("configurationHash"),
            observed_generation: stream.status.get("observedGeneration").and_then(Value::as_i64),
            raw: stream.status.clone(),
        },
        ..made::a_new_stream().stream
    }
}

fn request_facts(request: &Request) -> RequestFacts {
    RequestFacts {
        name: made::name(&request.name),
        uid: uid(request.id),
        created: Some(created(request.id)),
        owners: request.owners.iter().map(|owner| uid(*owner)).collect(),
        completed: request.completed,
        completed_written: request.completed_written,
        phase: request.phase.and_then(|phase| serde_json::from_value(json!(phase)).ok()),
        reason: request.reason.map(ToOwned::to_owned),
        message: request.message.clone(),
        job_name: request.job_name.clone(),
        stream_uid: request.accepted_by.map(uid),
        ..made::a_request(made::FIRST)
    }
}

fn job_facts(job: &Job) -> JobFacts {
    // An hour's work: none that ended at once.
    let finished = made::ago(if job.deleting == Some(Deleted::WhileUnfinished) { 1 } else { 60 });
    JobFacts {
        name: made::name(&job.name),
        uid: uid(job.id),
        owner: Some(made::owner(&job.owner.to_string())),
        backfilling: job.request.is_some(),
        request_uid: job.request.as_ref().map(|(id, _)| uid(*id)),
        backfill_id: job.request.as_ref().map(|(_, name)| name.clone()),
        configuration_hash: Some(format!("spec-{}", job.spec)),
        stream_generation: Some(i64::from(job.generation)),
        restarted_at: (job.restarted > 0).then(|| job.restarted.to_string()),
        ttl: job.ttl.then_some(made::NOTED_TTL),
        state: match job.state {
            JobEnd::Unfinished => JobState::Unfinished,
            JobEnd::Succeeded => JobState::Succeeded { started: Some(made::ago(3_600)), finished: Some(finished) },
            JobEnd::Failed => made::failed(),
        },
        // Not so long that it is spoken of: that changes words, not deeds.
        deleting_since: job.deleting.map(|_| made::ago(2)),
        created: Some(created(job.id)),
        ..made::a_job().facts
    }
}

fn pod_facts(pod: &Pod) -> PodFacts {
    PodFacts { succeeded: pod.end == Some(PodEnd::Well), ..made::a_pod(Some(&uid(pod.job)), pod.end.is_some()) }
}
