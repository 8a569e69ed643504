//! What shall run, and whether what runs is that.

use std::time::Duration;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase,
    stream::{Phase, Workload},
};
use jiff::{SignedDuration, Timestamp};

use super::{outcomes, pods, scheduled, start, status};
use crate::{
    facts::{JobFacts, JobState, RequestFacts},
    rolling_update::Progress,
    stream::{
        action::{Action, Condition, DeleteCause, Plan, RequestStatus, Role, StreamStatus},
        observed::{Asked, Observed, ObservedJob, Pods, Problem, ResolvedTemplate, Standing, Update},
    },
};

/// A streaming Job that ends sooner than this is not started again at once.
const QUICK: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_BACK_OFF: u64 = 300;

/// What a stream's next or present Job is for.
#[derive(Clone, Copy)]
pub(super) enum Goal<'a> {
    Streaming,
    Backfill(&'a RequestFacts),
}

impl<'a> Goal<'a> {
    pub(super) fn template(self, asked: &'a Asked) -> &'a Result<ResolvedTemplate, Problem> {
        match self {
            Self::Streaming => &asked.streaming_template,
            Self::Backfill(_) => &asked.backfill_template,
        }
    }

    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Streaming => Phase::Running,
            Self::Backfill(_) => Phase::Backfilling,
        }
    }

    pub(super) fn role(self) -> Role {
        match self {
            Self::Streaming => Role::Streaming,
            Self::Backfill(request) => Role::Backfill { request: request.name.clone() },
        }
    }

    fn is_served_by(self, job: &ObservedJob) -> bool {
        match self {
            Self::Streaming => !job.facts.backfilling,
            Self::Backfill(request) => job.is_of_request(request),
        }
    }
}

pub(super) fn towards_its_goal(observed: &Observed, asked: &Asked, open: &[&RequestFacts], plan: &mut Plan) {
    let goal = goal(observed, asked, open, plan);
    if let (Workload::Batch { schedule, .. }, Goal::Streaming) = (&asked.workload, goal) {
        scheduled::keep(observed, asked, schedule, plan);
        return;
    }
    let mut in_place: Vec<&ObservedJob> = Vec::new();
    for job in observed.own_jobs().filter(|job| job.facts.is_unfinished()) {
        if goal.is_served_by(job) {
            in_place.push(job);
        } else {
            start::delete(&job.facts, DeleteCause::Unwanted, plan);
        }
    }
    // If two are ever seen, the one that is right and oldest stays.
    in_place.sort_by_key(|job| {
        let facts = &job.facts;
        (facts.deleting_since.is_some(), job.is_of_another_spec(&observed.stream), facts.created, &facts.uid)
    });
    for job in in_place.iter().skip(1) {
        start::delete(&job.facts, DeleteCause::Unwanted, plan);
    }
    let writes = in_place.first().is_some_and(|job| job.facts.deleting_since.is_none());
    if !scheduled::makes_way(observed, asked, goal, writes, plan) {
        return;
    }
    if let Some(job) = in_place.first() {
        unfinished(observed, asked, goal, job, plan);
        return;
    }
    if stays_failed(observed, asked, goal) {
        stay_failed(observed, asked, goal, plan);
        return;
    }
    let finished = observed
        .own_jobs()
        .filter(|job| !job.facts.is_unfinished() && job.facts.deleting_since.is_none() && goal.is_served_by(job))
        .max_by_key(|job| (job.facts.created, &job.facts.uid));
    match finished.map(|job| (job, &job.facts.state)) {
        Some((job, JobState::Failed { reason, message })) => {
            failed(observed, asked, goal, (job, reason, message), plan);
        }
        Some((job, JobState::Succeeded { started, finished })) => {
            ended(observed, asked, goal, (job, *started, *finished), plan);
        }
        Some((_, JobState::Unfinished)) | None => start::start(observed, asked, goal, plan),
    }
}

/// What is said of the failure stays; its pods may be gone by now.
pub(super) fn stay_failed(observed: &Observed, asked: &Asked, goal: Goal<'_>, plan: &mut Plan) {
    let failed_request = match goal {
        Goal::Backfill(request) => Some(request),
        Goal::Streaming => None,
    };
    if observed.stream.failure_note.is_none() {
        if let Some(request) = failed_request {
            outcomes::write(plan, request, BackfillRequestPhase::Failed, FAILED_BEFORE, failed_before());
        }
        plan.actions.push(Action::NoteFailure {
            template_hash: goal.template(asked).as_ref().ok().map(|template| template.hash.clone()),
            job_template_hash: None,
            request: failed_request.map(|request| request.uid.clone()),
            was_before_us: true,
        });
    }
    let conditions = conditions_of_failure(observed);
    plan.actions.push(Action::WriteStatus(StreamStatus { phase: Some(Phase::Failed), job_name: None, conditions }));
}

/// What is to be said of a stream that stays failed, if it isn't what was said when it failed: the older operator says nothing
/// but the phase, and calls the stream ready.
pub(super) fn conditions_of_failure(observed: &Observed) -> Option<Vec<Condition>> {
    let is_told = observed.stream.failure_note.as_ref().is_some_and(|note| !note.was_before_us);
    (!is_told).then(|| status::stalled(FAILED_BEFORE, format!("{}; {WAYS_ON}", failed_before())))
}

const FAILED_BEFORE: &str = "FailedBefore";

fn failed_before() -> String {
    "it had failed before this controller came, which knows no more of it".to_owned()
}

/// How a stream leaves `Failed`.
const WAYS_ON: &str = "the stream goes on after a change of its spec or template, suspend and resume, or a new value of its \
                       annotation arcane/restarted-at";

/// The oldest open request, else streaming.
fn goal<'a>(observed: &Observed, asked: &Asked, open: &[&'a RequestFacts], plan: &mut Plan) -> Goal<'a> {
    let Some(request) = open.first().copied() else { return Goal::Streaming };
    let Err(problem) = &asked.backfill_template else { return Goal::Backfill(request) };
    let mut streaming = observed.own_jobs().filter(|job| !job.facts.backfilling && job.facts.deleting_since.is_none());
    let recorded_running = observed.stream.recorded.phase == Some(Phase::Running);
    let is_streaming = streaming.any(|job| recorded_running || job.facts.is_unfinished());
    let has_job = observed.own_jobs().any(|job| job.is_of_request(request) && job.facts.is_unfinished());
    // One that a failed backfill has left suspended stays so.
    let is_scheduled = observed.cron_job_in_place().is_some() && observed.stream.recorded.phase != Some(Phase::Failed);
    if (is_streaming || is_scheduled) && !has_job {
        // A backfill that can't start is no reason to stop what runs.
        outcomes::write(plan, request, BackfillRequestPhase::Pending, problem.reason, problem.message.clone());
        return Goal::Streaming;
    }
    Goal::Backfill(request)
}

fn unfinished(observed: &Observed, asked: &Asked, goal: Goal<'_>, job: &ObservedJob, plan: &mut Plan) {
    let facts = &job.facts;
    if facts.deleting_since.is_some() {
        start::wait_for_jobs(observed, plan);
        return;
    }
    let template = goal.template(asked);
    let is_outdated = job.is_of_another_template(template);
    // Running backfills are never rolled.
    let standing = match (asked.update, goal) {
        (Update::Rolling(standing), Goal::Streaming) if is_outdated => Some(standing),
        _ => None,
    };
    let cause = if job.is_of_another_spec(&observed.stream) {
        Some(DeleteCause::SpecChanged)
    } else if job.is_before_a_restart(&observed.stream) {
        Some(DeleteCause::RestartRequested)
    } else if standing == Some(Standing::Turn) {
        Some(DeleteCause::TemplateChanged)
    } else {
        None
    };
    if let (Some(cause), Ok(_)) = (cause, template) {
        start::stop(observed, facts, cause, plan);
        return;
    }
    if job.is_adoptable() {
        plan.actions.push(Action::StampJob {
            name: facts.name.name.clone(),
            uid: facts.uid.clone(),
            role: goal.role(),
        });
    }
    accept(observed, goal, &facts.name.name, plan);
    let mut status = in_place(goal, &facts.name.name);
    pods::say_why_none_runs(observed, facts, &mut status, plan);
    if plan.needs_pods {
        return;
    }
    if standing == Some(Standing::Unknown) {
        // What there is to say is known as soon as the class has been looked at; until then what was said stays.
        status.conditions = None;
    }
    if let Some(conditions) = &mut status.conditions {
        match (template, cause) {
            (Err(problem), Some(_)) => {
                let message = format!("the Job of the earlier spec keeps running: {}", problem.message);
                conditions.push(status::outdated(problem.reason, message));
            }
            (Err(problem), None) => conditions.push(status::outdated(problem.reason, problem.message.clone())),
            (Ok(resolved), _) if is_outdated => conditions.push(outdated(asked, standing, resolved, facts)),
            _ => {}
        }
    }
    plan.actions.push(Action::WriteStatus(status));
}

/// What is said of a Job whose template has changed.
fn outdated(asked: &Asked, standing: Option<Standing>, template: &ResolvedTemplate, job: &JobFacts) -> Condition {
    let (reason, outlook) = match standing {
        Some(Standing::Stopped) => (
            Progress::STOPPED,
            format!(
                "the rolling update of StreamClass {} has stopped, for a stream has failed with them: the class's \
                 condition UpToDate tells which",
                asked.class
            ),
        ),
        Some(_) => (
            Progress::ROLLS,
            format!(
                "it is replaced when its turn comes in the rolling update of StreamClass {}, whose condition UpToDate \
                 tells how that stands",
                asked.class
            ),
        ),
        None => (
            "TemplateChanged",
            "set the annotation arcane/restarted-at to a new value to restart it with them".to_owned(),
        ),
    };
    let message = format!(
        "StreamingJobTemplate {} or the class's secretRefs have changed since Job {} was created; {outlook}",
        template.name, job.name.name
    );
    status::outdated(reason, message)
}

/// Lets a request's status say that its Job is in place.
pub(super) fn accept(observed: &Observed, goal: Goal<'_>, job_name: &str, plan: &mut Plan) {
    let Goal::Backfill(request) = goal else { return };
    outcomes::write_status(
        plan,
        request,
        RequestStatus {
            phase: BackfillRequestPhase::Running,
            reason: "Running",
            message: format!("Job {job_name} does the backfill"),
            job_name: Some(job_name.to_owned()),
            accepted: true,
        },
    );
    // After the status, which names the version that was seen.
    if !request.owners.contains(&observed.stream.uid) {
        plan.actions.push(Action::OwnRequest { request: request.name.clone() });
    }
}

/// The status of a stream whose Job is in place.
pub(super) fn in_place(goal: Goal<'_>, job_name: &str) -> StreamStatus {
    let message = match goal {
        Goal::Streaming => format!("Job {job_name} streams"),
        Goal::Backfill(request) => format!("Job {job_name} does the backfill {}", request.name.name),
    };
    status::of(goal.phase(), Some(job_name.to_owned()), status::ready(goal.phase().as_str(), message))
}

/// `Failed` is left by a change of the spec or the template, a restart, or a backfill that has not failed yet.
pub(super) fn stays_failed(observed: &Observed, asked: &Asked, goal: Goal<'_>) -> bool {
    let stream = &observed.stream;
    if stream.recorded.phase != Some(Phase::Failed) {
        return false;
    }
    if let Goal::Backfill(request) = goal
        && request.phase != Some(BackfillRequestPhase::Failed)
        && !(request.phase.is_none() && stream.failure_note.is_none())
    {
        // A fresh one. The older operator leaves open what has failed, and says nothing in its status.
        return false;
    }
    if has_changed_since_it_failed(observed) {
        return false;
    }
    let Some(note) = &stream.failure_note else {
        // Failed under the older operator, which knows nothing of restarts.
        return stream.restarted_at.is_none();
    };
    let is_of_another_template = match (&note.template_hash, goal.template(asked)) {
        (Some(hash), Ok(template)) => *hash != template.hash,
        _ => false,
    };
    let is_before_a_restart = stream.restarted_at.is_some() && note.restarted_at != stream.restarted_at;
    let is_of_a_settled_request = match (&note.request_uid, goal) {
        (Some(_), Goal::Streaming) => true,
        (Some(uid), Goal::Backfill(request)) => uid != request.uid.as_str(),
        (None, _) => false,
    };
    !(is_of_another_template || is_before_a_restart || is_of_a_settled_request)
}

/// Whether the spec is another than the one that failed.
pub(super) fn has_changed_since_it_failed(observed: &Observed) -> bool {
    let stream = &observed.stream;
    match &stream.failure_note {
        Some(note) => note.configuration_hash != stream.configuration_hash && note.generation != stream.generation,
        // The older operator keeps nothing but the hash.
        None => !observed.recorded_hash_matches && stream.recorded.observed_generation != Some(stream.generation),
    }
}

fn failed(
    observed: &Observed,
    asked: &Asked,
    goal: Goal<'_>,
    (job, reason, message): (&ObservedJob, &str, &str),
    plan: &mut Plan,
) {
    let recorded = observed.stream.recorded.phase;
    let is_news = recorded.is_none() || recorded == Some(goal.phase());
    let is_outdated = job.is_of_another_spec(&observed.stream) || job.is_before_a_restart(&observed.stream);
    if !is_news || is_outdated {
        start::replace_finished(asked, goal, &job.facts, DeleteCause::Recovering, plan);
        return;
    }
    let Pods::Listed(pods) = &observed.pods else {
        plan.needs_pods = true;
        return;
    };
    let name = &job.facts.name.name;
    let words = start::failure(format!("Job {name} failed: "), (reason, message), &job.facts, pods);
    let mut request_uid = None;
    if let Goal::Backfill(request) = goal {
        outcomes::write(plan, request, BackfillRequestPhase::Failed, "JobFailed", words.clone());
        request_uid = Some(request.uid.clone());
    }
    plan.actions.push(Action::NoteFailure {
        template_hash: goal.template(asked).as_ref().ok().map(|template| template.hash.clone()),
        job_template_hash: job.facts.template_hash.clone(),
        request: request_uid,
        was_before_us: false,
    });
    let conditions = status::stalled("JobFailed", format!("{words}; it stays for its logs; {WAYS_ON}"));
    plan.actions.push(Action::WriteStatus(status::of(Phase::Failed, Some(name.clone()), conditions)));
}

/// A streaming Job that ended well is started again, later each time it ends at once.
fn ended(
    observed: &Observed,
    asked: &Asked,
    goal: Goal<'_>,
    (job, started, finished): (&ObservedJob, Option<Timestamp>, Option<Timestamp>),
    plan: &mut Plan,
) {
    let finished = finished.unwrap_or(observed.now);
    let quickly = finished.duration_since(started.unwrap_or(finished)) < QUICK;
    if quickly {
        let seconds = (1_u64 << observed.quick_ends.min(10)).min(LONGEST_BACK_OFF);
        let passed = observed.now.duration_since(finished);
        let left = Duration::from_secs(seconds).saturating_sub(passed.try_into().unwrap_or_default());
        // A clock that was set back must not stop a stream.
        let left = left.min(Duration::from_secs(seconds));
        if !left.is_zero() {
            let name = &job.facts.name.name;
            let message = format!("Job {name} ended well at once; it is started again {seconds} s after its end");
            let conditions = status::reconciling("BackOff", message);
            plan.actions.push(Action::WriteStatus(status::of(Phase::Pending, Some(name.clone()), conditions)));
            plan.look_again = Some(left);
            return;
        }
    }
    start::replace_finished(asked, goal, &job.facts, DeleteCause::Ended { quickly }, plan);
}
