//! From the caches to what a class's rolling update sees.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use arcane_common::{
    api::condition::ConditionStatus,
    field_path::FieldPath,
    identity::{ObjectName, StreamKey, Uid},
    references::{ClassCandidate, ClassChoice, Found, resolve},
    stream::{Phase, TemplateRef},
    template::template_hash,
};
use jiff::Timestamp;

use super::observed::{Judgement, Member, Observed, State};
use crate::{
    caches::Caches,
    facts::{ClassFacts, JobFacts, JobState, StreamFacts},
    stream::{self, UP_TO_DATE},
};

/// What was found.
pub(super) enum Gathered {
    /// The class leaves running Jobs alone, or has no streams.
    NotRolling,
    /// Its streams aren't listed yet.
    Incomplete,
    /// All its streams.
    All {
        /// What the plan is told.
        observed: Observed,
        /// Since when a Job is seen with a ready pod, without a break.
        ready_since: BTreeMap<Uid, Timestamp>,
        /// After which time the next of these has been ready for long enough.
        look_again: Option<Duration>,
    },
}

pub(super) fn gather(caches: &mut Caches, class: &str, now: Timestamp) -> Gathered {
    let Some(class) = caches.classes.get(&class.to_owned()).cloned().filter(|class| !class.deleting) else {
        return Gathered::NotRolling;
    };
    if class.spec.max_unavailable(0).is_none() {
        return Gathered::NotRolling;
    }
    let kind = class.kind();
    let Some(entry) = caches.kinds.get(&kind) else { return Gathered::NotRolling };
    if !entry.streams.is_synced() {
        return Gathered::Incomplete;
    }
    let candidates: Vec<ClassCandidate> = caches.classes_of(&kind).map(|class| class.candidate()).collect();
    let mut targets = Targets { caches, class: &class, hashes: HashMap::new() };
    let mut readiness = Readiness::of(caches, &class, now);
    let mut members = Vec::new();
    // Those of which only their own decision knows whether they can run.
    let mut unsure = Vec::new();
    for stream in entry.streams.values().filter(|stream| !stream.suspended && !stream.deleting) {
        if !matches!(caches.class_of(stream, &candidates), ClassChoice::Class(chosen) if chosen.name == class.name) {
            continue;
        }
        let Some(template) = &stream.streaming_template else { continue };
        let target = targets.of(template, stream);
        let state = state(caches, &class, stream, target.as_deref(), &mut readiness);
        if state == State::Unavailable && matches!(stream.recorded.phase, Some(Phase::Pending | Phase::Failed)) {
            unsure.push(members.len());
        }
        let template = judgement(caches, template);
        members.push(Member { stream: stream.key.clone(), target, template, state });
    }
    let (look_again, ready_since) = (readiness.look_again(), readiness.since);
    for index in unsure {
        let Some(member) = members.get_mut(index) else { continue };
        let gathered = stream::gather::gather(caches, &member.stream, now);
        if gathered.is_none_or(|gathered| gathered.observed.asked.is_err()) {
            member.state = State::Apart;
        }
    }
    let max_unavailable = class.spec.max_unavailable(members.len()).unwrap_or(1);
    let is_under_way = class.status.conditions.iter().any(|condition| condition.type_ == UP_TO_DATE);
    let min_ready_seconds = class.spec.min_ready().as_secs();
    let observed = Observed { max_unavailable, min_ready_seconds, is_under_way, members };
    Gathered::All { observed, ready_since, look_again }
}

/// What the condition `Valid` says of a template as it is now.
fn judgement(caches: &Caches, name: &ObjectName) -> Judgement {
    // Of one that isn't there no Job can be made: there is no target.
    let Some(template) = caches.templates.get(name) else { return Judgement::Pending };
    match &template.recorded {
        Some(valid) if valid.observed_generation != Some(template.generation) => Judgement::Pending,
        Some(valid) if valid.status == ConditionStatus::True => Judgement::Valid,
        Some(_) => Judgement::Refused(name.clone()),
        None => Judgement::Pending,
    }
}

/// Which Jobs have had a ready pod, and for how long. A Job's status doesn't say since when: what is seen is remembered; who
/// has just started has seen nothing, and waits.
struct Readiness<'a> {
    before: Option<&'a BTreeMap<Uid, Timestamp>>,
    since: BTreeMap<Uid, Timestamp>,
    at_least: Duration,
    now: Timestamp,
}

impl<'a> Readiness<'a> {
    fn of(caches: &'a Caches, class: &ClassFacts, now: Timestamp) -> Self {
        let before = caches.rolls.get(&class.name).map(|roll| &roll.ready_since);
        Self { before, since: BTreeMap::new(), at_least: class.spec.min_ready(), now }
    }

    /// Whether a Job with a ready pod has had it for long enough.
    fn is_available(&mut self, job: &Uid) -> bool {
        let since = self.before.and_then(|before| before.get(job)).copied().unwrap_or(self.now);
        self.since.insert(job.clone(), since);
        self.left(since).is_none()
    }

    fn left(&self, since: Timestamp) -> Option<Duration> {
        let ready = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        self.at_least.checked_sub(ready).filter(|left| !left.is_zero())
    }

    fn look_again(&self) -> Option<Duration> {
        self.since.values().filter_map(|since| self.left(*since)).min()
    }
}

/// The hashes of templates: streams share templates.
struct Targets<'a> {
    caches: &'a Caches,
    class: &'a ClassFacts,
    hashes: HashMap<&'a ObjectName, Option<String>>,
}

impl<'a> Targets<'a> {
    fn of(&mut self, name: &'a ObjectName, stream: &StreamFacts) -> Option<String> {
        let template = self.caches.templates.get(name)?;
        let reference = TemplateRef { path: FieldPath::root("spec"), target: name.clone() };
        let content = resolve(&reference, &Found::Present(template.found.clone()), &stream.key.name.namespace).ok()?;
        let hash = || Some(template_hash(&content, &self.class.spec.secret_refs));
        self.hashes.entry(name).or_insert_with(hash).clone()
    }
}

fn state(
    caches: &Caches,
    class: &ClassFacts,
    stream: &StreamFacts,
    target: Option<&str>,
    readiness: &mut Readiness<'_>,
) -> State {
    let own = |job: &&JobFacts| job.owner.as_ref().is_some_and(|owner| owner.uid == stream.uid);
    let jobs: Vec<&JobFacts> = caches.jobs_of(&stream.key).map(|job| &**job).filter(own).collect();
    let phase = stream.recorded.phase;
    let is_backfilling = jobs.iter().any(|job| job.backfilling && job.is_unfinished());
    if is_backfilling || matches!(phase, None | Some(Phase::Backfilling)) {
        return State::Apart;
    }
    let streaming = || jobs.iter().filter(|job| !job.backfilling);
    let in_place = streaming()
        .filter(|job| job.is_unfinished())
        .min_by_key(|job| (job.deleting_since.is_some(), job.created, &job.uid));
    if let Some(job) = in_place {
        return match (&job.template_hash, target) {
            _ if job.deleting_since.is_some() => State::Unavailable,
            // Also if its template is what it was again.
            _ if has_taken_its_turn(caches, class, &stream.key, job) => State::Taken,
            (Some(hash), Some(target)) if hash != target => State::Outdated { job: job.uid.clone(), ready: job.ready },
            _ if job.ready && readiness.is_available(&job.uid) => State::Current,
            _ => State::Unavailable,
        };
    }
    let last = streaming().filter(|job| job.deleting_since.is_none()).max_by_key(|job| (job.created, &job.uid));
    if phase == Some(Phase::Failed) {
        return failed(stream, target);
    }
    match last.map(|job| (job, &job.state)) {
        // The stream hasn't said so yet.
        Some((job, JobState::Failed { .. })) if phase == Some(Phase::Running) && is_for_this_spec(job, stream) => {
            match (&job.template_hash, target) {
                (Some(hash), Some(target)) if hash == target => State::Failed,
                _ => State::Apart,
            }
        }
        // It waits for its template, as it would without a rolling update.
        _ if target.is_none() => State::Apart,
        _ => State::Unavailable,
    }
}

/// Whether it is not about to be replaced for another reason.
fn is_for_this_spec(job: &JobFacts, stream: &StreamFacts) -> bool {
    let is_of_its_spec = job.configuration_hash.as_ref() == Some(&stream.configuration_hash)
        || job.stream_generation == Some(stream.generation);
    is_of_its_spec && job.restarted_at == stream.restarted_at
}

fn has_taken_its_turn(caches: &Caches, class: &ClassFacts, stream: &StreamKey, job: &JobFacts) -> bool {
    let turn = caches.rolls.get(&class.name).and_then(|roll| roll.turns.get(stream));
    turn.is_some_and(|turn| turn.taken && turn.job == job.uid)
}

fn failed(stream: &StreamFacts, target: Option<&str>) -> State {
    let Some(note) = stream.failure_note.as_ref().filter(|note| note.request_uid.is_none()) else {
        return State::Apart;
    };
    match target {
        Some(target) if note.job_template_hash.as_deref() == Some(target) => State::Failed,
        // By the change of its template it is about to leave `Failed`.
        Some(target) if note.template_hash.as_deref().is_some_and(|noted| noted != target) => State::Unavailable,
        _ => State::Apart,
    }
}
