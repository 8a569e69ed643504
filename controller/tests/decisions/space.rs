//! Every situation that a stream can be found in: the product of a few small dimensions.
//!
//! A dimension that can matter only in some situations is spread out only there; each such place says why,
//! and [`each_beside`] crosses it thinly with the others all the same.

pub mod scheduled;

use std::{ops::ControlFlow, time::Duration};

use arcane_common::{
    api::backfill_request::BackfillRequestPhase::{Cancelled, Completed, Failed, Pending, Running},
    identity::Uid,
    stream::Phase,
};
use arcane_controller::{
    facts::{FailureNote, JobState, PodFacts, RequestFacts},
    stream::observed::{Asked, Observed, ObservedJob, Pods, Standing, Update, WithoutPod},
};
use jiff::SignedDuration;

use crate::made::*;

/// What has changed on the stream since its Jobs were made, its status written and its failure noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Nothing,
    /// The user has edited the spec.
    SpecChanged,
    /// `suspended` was flipped, or something else that the hash leaves out.
    GenerationOnly,
    /// A plugin upgrade has filled in a default.
    HashOnly,
}

impl Since {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::SpecChanged, Self::GenerationOnly, Self::HashOnly];

    fn generation(self) -> i64 {
        if matches!(self, Self::SpecChanged | Self::GenerationOnly) { EARLIER_GENERATION } else { GENERATION }
    }

    fn hash(self) -> &'static str {
        if matches!(self, Self::SpecChanged | Self::HashOnly) { EARLIER_SPEC } else { SPEC }
    }
}

/// The annotation `arcane/restarted-at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Never,
    Seen,
    Asked,
}

impl Restart {
    pub const ALL: [Self; 3] = [Self::Never, Self::Seen, Self::Asked];

    fn on_stream(self) -> Option<String> {
        match self {
            Self::Never => None,
            Self::Seen => Some(RESTARTED.to_owned()),
            Self::Asked => Some(RESTARTED_AGAIN.to_owned()),
        }
    }

    fn on_job(self) -> Option<String> {
        (self != Self::Never).then(|| RESTARTED.to_owned())
    }
}

type Change = fn(&mut ObservedJob);

fn with(mut job: ObservedJob, change: Change) -> ObservedJob {
    change(&mut job);
    job
}

/// How far a Job can be.
const STATES: [Change; 10] = [
    |_| {},
    |job| job.facts.deleting_since = Some(ago(1)),
    |job| job.facts.deleting_since = Some(ago(3_600)),
    |job| job.facts.state = succeeded(1_000, 60),
    |job| job.facts.state = succeeded(1, 0),
    |job| job.facts.state = succeeded(1, 600),
    |job| job.facts.state = failed(),
    |job| {
        job.facts.state = succeeded(1_000, 60);
        job.facts.deleting_since = Some(ago(1));
    },
    |job| {
        job.facts.state = failed();
        job.facts.deleting_since = Some(ago(3_600));
    },
    // It ended well, for it was told to end.
    |job| {
        job.facts.state = succeeded(1_000, 1);
        job.facts.deleting_since = Some(ago(2));
    },
];

const SUCCEEDED: Change = STATES[3];
const FAILED: Change = STATES[6];

/// A Job of the older operator: one name for both roles, none of our annotations, the template's TTL.
const OF_OLDER_OPERATOR: Change = |job| {
    let facts = &mut job.facts;
    facts.name = name(STREAM);
    facts.uid = Uid::new("uid-of-a-job-of-the-older-operator");
    facts.request_uid = None;
    facts.stream_generation = None;
    facts.class = None;
    facts.template_hash = None;
    facts.noted_ttl = None;
    facts.ttl = Some(NOTED_TTL);
};

/// A Job of an earlier stream of the same name.
const LEFTOVER: Change = |job| {
    job.facts.owner = Some(owner(OTHER_STREAM_UID));
    job.facts.uid = Uid::new("uid-of-a-leftover");
};

const ANOTHER: Change = |job| {
    job.facts.name = name("orders-another");
    job.facts.uid = Uid::new("uid-of-another-job");
    job.facts.created = Some(ago(900));
};

const WITH_TTL: Change = |job| job.facts.ttl = Some(NOTED_TTL);

/// The Jobs that can be there.
pub fn jobs() -> Vec<Vec<ObservedJob>> {
    let mut all = vec![vec![]];
    for state in STATES {
        all.push(vec![with(a_job(), state)]);
        all.push(vec![with(a_backfill_job(FIRST), state)]);
    }
    for request in [SECOND, GONE] {
        for state in [STATES[0], STATES[1], SUCCEEDED, FAILED] {
            all.push(vec![with(a_backfill_job(request), state)]);
        }
    }
    all.push(vec![with(with(a_backfill_job(FIRST), SUCCEEDED), WITH_TTL)]);
    // Two at a time; two unfinished ones only by somebody's hand or by a fault.
    all.push(vec![a_job(), a_backfill_job(FIRST)]);
    all.push(vec![a_job(), with(a_job(), ANOTHER)]);
    all.push(vec![a_backfill_job(FIRST), with(a_backfill_job(FIRST), ANOTHER)]);
    all.push(vec![with(a_job(), STATES[1]), a_backfill_job(FIRST)]);
    all.push(vec![a_job(), with(a_backfill_job(FIRST), SUCCEEDED)]);
    all.push(vec![a_job(), with(a_backfill_job(FIRST), FAILED)]);
    all.push(vec![with(a_job(), FAILED), a_backfill_job(FIRST)]);
    all.push(vec![with(a_job(), FAILED), with(a_backfill_job(FIRST), FAILED)]);
    all.push(vec![with(a_job(), FAILED), with(a_backfill_job(FIRST), SUCCEEDED)]);
    // The older operator's.
    all.push(vec![with(a_job(), OF_OLDER_OPERATOR)]);
    all.push(vec![with(a_backfill_job(FIRST), OF_OLDER_OPERATOR)]);
    all.push(vec![with(with(a_backfill_job(FIRST), OF_OLDER_OPERATOR), SUCCEEDED)]);
    // An earlier stream's.
    all.push(vec![with(a_job(), LEFTOVER)]);
    all.push(vec![with(with(a_job(), LEFTOVER), SUCCEEDED)]);
    all.push(vec![with(a_backfill_job(FIRST), LEFTOVER)]);
    all.push(vec![with(a_job(), LEFTOVER), with(a_job(), ANOTHER)]);
    all
}

/// The requests that can be there.
pub fn requests() -> Vec<Vec<RequestFacts>> {
    let unmarked = || in_phase(FIRST, Completed);
    let done = || RequestFacts { completed: true, completed_written: true, ..in_phase(FIRST, Completed) };
    let of_another_stream = |request| RequestFacts {
        owners: vec![Uid::new(OTHER_STREAM_UID)],
        stream_uid: Some(Uid::new(OTHER_STREAM_UID)),
        ..request
    };
    vec![
        vec![],
        vec![a_request(FIRST)],
        vec![in_phase(FIRST, Pending)],
        vec![in_phase(FIRST, Running)],
        vec![in_phase(FIRST, Failed)],
        vec![RequestFacts { completed: true, ..in_phase(FIRST, Running) }],
        vec![RequestFacts { completed: true, ..in_phase(FIRST, Failed) }],
        vec![RequestFacts { completed: true, ..a_request(FIRST) }],
        vec![unmarked()],
        vec![done()],
        vec![RequestFacts { completed: false, ..done() }],
        vec![in_phase(FIRST, Cancelled)],
        vec![RequestFacts { payload: Some(serde_json::json!({"from": 2024})), ..a_request(FIRST) }],
        vec![RequestFacts { deleting: true, ..in_phase(FIRST, Running) }],
        vec![of_another_stream(in_phase(FIRST, Running))],
        vec![of_another_stream(done())],
        vec![a_request(FIRST), a_request(SECOND)],
        vec![in_phase(FIRST, Running), in_phase(SECOND, Pending)],
        vec![in_phase(FIRST, Failed), a_request(SECOND)],
        vec![in_phase(FIRST, Failed), in_phase(SECOND, Failed)],
        vec![done(), a_request(SECOND)],
        vec![a_request(FIRST), in_phase(SECOND, Running)],
    ]
}

fn templates() -> Vec<(Template, Template)> {
    let mut all = vec![(template(TEMPLATE), template(TEMPLATE))];
    for other in [template(OTHER_TEMPLATE), missing_template()] {
        // Where a stream names no backfill template, both are the same one.
        all.push((other.clone(), other.clone()));
        all.push((template(TEMPLATE), other.clone()));
        all.push((other, template(TEMPLATE)));
    }
    all
}

/// A rolling update is about Jobs of another template; with other changes it is crossed in one of its states.
fn updates(streaming: &Template, since: Since) -> &'static [Update] {
    const ALL: [Update; 5] = [
        Update::Rolling(Standing::Turn),
        Update::OnDelete,
        Update::Rolling(Standing::Waits),
        Update::Rolling(Standing::Stopped),
        Update::Rolling(Standing::Unknown),
    ];
    match (streaming, since) {
        (Ok(template), Since::Nothing) if template.hash == OTHER_TEMPLATE => &ALL,
        (Ok(template), _) if template.hash == OTHER_TEMPLATE => &ALL[..2],
        _ => &ALL[1..2],
    }
}

fn pods(observed: &Observed) -> Vec<Pods> {
    let job = observed.jobs.first().map(|job| &job.facts.uid);
    let mut all = vec![Pods::Unknown, Pods::Clear, Pods::Listed(vec![a_pod(job, true), a_pod(None, false)])];
    // A pod that has ended tells of a failure, or that a Job takes long to go for another reason.
    let speaks =
        |job: &ObservedJob| matches!(job.facts.state, JobState::Failed { .. }) || job.facts.deleting_since.is_some();
    if observed.jobs.iter().any(speaks) {
        all.push(Pods::Listed(vec![a_pod(job, true)]));
    }
    all
}

/// What may be noted of a failure. Without a note: it failed under the older operator.
fn failure_notes(since: Since, restart: Restart) -> Vec<Option<FailureNote>> {
    let note = |template_hash: &str, request_uid: Option<&str>| {
        Some(FailureNote {
            generation: since.generation(),
            configuration_hash: since.hash().to_owned(),
            template_hash: Some(template_hash.to_owned()),
            job_template_hash: Some(template_hash.to_owned()),
            restarted_at: restart.on_job(),
            request_uid: request_uid.map(ToOwned::to_owned),
            was_before_us: false,
        })
    };
    vec![
        None,
        note(TEMPLATE, None).map(|note| FailureNote { was_before_us: true, ..note }),
        note(TEMPLATE, None),
        note(OTHER_TEMPLATE, None),
        note(TEMPLATE, Some(FIRST)),
        note(TEMPLATE, Some(GONE)),
    ]
}

/// Visits a share of all situations: share `index` of `shares`, so that several threads can divide the work.
pub fn each((index, shares): (usize, usize), visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>) -> ControlFlow<()> {
    let all = (jobs(), requests());
    let all = all.0.iter().flat_map(|jobs| all.1.iter().map(move |requests| (jobs, requests)));
    for (jobs, requests) in all.skip(index).step_by(shares) {
        for since in Since::ALL {
            for restart in Restart::ALL {
                // An annotation that was never there is like one that was seen.
                if restart == Restart::Never && since != Since::Nothing {
                    continue;
                }
                let mut observed = surrounded_by(jobs, requests, since, restart);
                let notes = failure_notes(since, restart);
                each_wish(&mut observed, since, &notes, visit)?;
            }
        }
    }
    ControlFlow::Continue(())
}

fn surrounded_by(jobs: &[ObservedJob], requests: &[RequestFacts], since: Since, restart: Restart) -> Observed {
    let mut observed = a_new_stream();
    observed.stream.restarted_at = restart.on_stream();
    observed.requests = requests.to_vec();
    observed.jobs = jobs.to_vec();
    for job in &mut observed.jobs {
        let is_of_older_operator = job.facts.stream_generation.is_none();
        if !is_of_older_operator {
            job.facts.stream_generation = Some(since.generation());
            job.facts.restarted_at = restart.on_job();
        }
        job.facts.configuration_hash = Some(since.hash().to_owned());
        job.hash_matches = since.hash() == SPEC;
    }
    observed
}

fn each_wish(
    observed: &mut Observed,
    since: Since,
    notes: &[Option<FailureNote>],
    visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let pods = pods(observed);
    // A stream that is suspended is asked for nothing else: what else it wishes is crossed with this thinly,
    // in `each_beside`.
    observed.stream.suspended = true;
    each_memory(observed, since, notes, &pods, visit)?;
    observed.stream.suspended = false;
    for (streaming, backfill) in templates() {
        for update in updates(&streaming, since) {
            observed.asked = Ok(Asked { update: *update, ..asked(streaming.clone(), backfill.clone()) });
            each_memory(observed, since, notes, &pods, visit)?;
        }
    }
    // The two differ in what is said only.
    let problems: &[bool] = if since == Since::Nothing { &[true, false] } else { &[false] };
    for stalled in problems.iter().copied() {
        observed.asked = Err(problem(stalled));
        each_memory(observed, since, notes, &pods, visit)?;
    }
    ControlFlow::Continue(())
}

fn each_memory(
    observed: &mut Observed,
    since: Since,
    notes: &[Option<FailureNote>],
    pods: &[Pods],
    visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for phase in PHASES {
        remember(observed, phase, since);
        // A failure is remembered by phase and note together: beside other phases a note is old.
        let notes = if phase == Some(Phase::Failed) { notes } else { &[None] };
        for note in notes {
            observed.stream.failure_note.clone_from(note);
            // The class's `initialBackfill` is about streams that have no phase yet.
            let initial_backfill: &[bool] = if phase.is_none() { &[true, false] } else { &[true] };
            for initial_backfill in initial_backfill {
                if let Ok(asked) = &mut observed.asked {
                    asked.initial_backfill = *initial_backfill;
                }
                for pods in pods {
                    observed.pods.clone_from(pods);
                    visit(observed)?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// `Scheduled` is for CronJobs: a stream with a Job can only have left it (`each_beside`).
const PHASES: [Option<Phase>; 6] = [
    None,
    Some(Phase::Pending),
    Some(Phase::Running),
    Some(Phase::Backfilling),
    Some(Phase::Suspended),
    Some(Phase::Failed),
];

fn remember(observed: &mut Observed, phase: Option<Phase>, since: Since) {
    let recorded = &mut observed.stream.recorded;
    recorded.phase = phase;
    recorded.configuration_hash = phase.map(|_| since.hash().to_owned());
    recorded.observed_generation = phase.map(|_| since.generation());
    observed.recorded_hash_matches = phase.is_none() || since.hash() == SPEC;
}

/// Visits what [`each`] leaves out: dimensions that matter rarely, crossed with Jobs, requests and phases.
pub fn each_beside(visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>) -> ControlFlow<()> {
    for jobs in jobs() {
        for requests in requests() {
            for phase in [None].into_iter().chain(Phase::ALL.map(Some)) {
                let mut observed = surrounded_by(&jobs, &requests, Since::Nothing, Restart::Seen);
                remember(&mut observed, phase, Since::Nothing);
                for change in BESIDE {
                    let mut observed = observed.clone();
                    change(&mut observed);
                    visit(&observed)?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// The Jobs have no ready pod; the pods are such.
fn without_pod(observed: &mut Observed, seconds: i64, is_told: bool, pods: Option<fn(&Uid) -> Vec<PodFacts>>) {
    observed.jobs.iter_mut().for_each(|job| job.facts.ready = false);
    observed.without_pod = Some(WithoutPod { seen_for: SignedDuration::from_secs(seconds), is_told });
    let job = observed.jobs.first().map(|job| job.facts.uid.clone());
    if let (Some(pods), Some(job)) = (pods, job) {
        observed.pods = Pods::Listed(pods(&job));
    }
}

fn a_pod_that_waits(job: &Uid) -> PodFacts {
    PodFacts { pending: true, trouble: Some(TROUBLE.to_owned()), ..a_pod(Some(job), false) }
}

const BESIDE: [fn(&mut Observed); 26] = [
    |observed| {
        let of_first = observed.jobs.first().map(|job| job.facts.uid.clone());
        let pod = |job: Uid| PodFacts { succeeded: true, trouble: None, ..a_pod(Some(&job), true) };
        observed.pods = Pods::Listed(of_first.map(pod).into_iter().collect());
        observed.stream.suspended = true;
    },
    |observed| without_pod(observed, 3, false, None),
    |observed| {
        without_pod(observed, 60, false, None);
        observed.rush = Duration::from_secs(60);
    },
    |observed| without_pod(observed, 3, true, None),
    |observed| without_pod(observed, 60, false, None),
    |observed| without_pod(observed, 60, true, Some(|job| vec![a_pod_that_waits(job)])),
    |observed| without_pod(observed, 3_000, false, Some(|job| vec![a_pod(Some(job), true)])),
    |observed| without_pod(observed, 60, false, Some(|_| Vec::new())),
    |observed| {
        without_pod(observed, 60, false, Some(|job| vec![PodFacts { pending: true, ..a_pod(Some(job), false) }]))
    },
    |observed| without_pod(observed, 60, true, Some(|job| vec![a_pod(Some(job), false)])),
    |_| {},
    |observed| observed.stream.deleting = true,
    |observed| {
        observed.stream.deleting = true;
        observed.stream.suspended = true;
        observed.pods = Pods::Unknown;
    },
    |observed| {
        observed.stream.suspended = true;
        observed.asked = Err(problem(true));
    },
    |observed| {
        observed.stream.suspended = true;
        observed.asked = Ok(asked(missing_template(), missing_template()));
    },
    |observed| observed.taken_names = [STREAM.to_owned(), format!("{STREAM}-backfill")].into(),
    |observed| {
        observed.stream.failure_note = failure_notes(Since::SpecChanged, Restart::Never).into_iter().flatten().next();
    },
    |observed| {
        if let Ok(asked) = &mut observed.asked {
            asked.initial_backfill = false;
        }
    },
    |observed| observed.quick_ends = 3,
    |observed| observed.refused = Some(refusal(false, ago(-30))),
    |observed| observed.refused = Some(refusal(true, ago(-30))),
    |observed| observed.refused = Some(refusal(false, ago(0))),
    |observed| observed.refused = Some(refusal(true, ago(0))),
    // A plugin's own word.
    |observed| {
        observed.stream.recorded.phase = None;
        observed.stream.recorded.phase_is_unknown = true;
    },
    // They came while no webhook judged them.
    |observed| {
        for request in &mut observed.requests {
            request.problem = Some("spec.payload: Too long".to_owned());
        }
    },
    // A clock that was set back.
    |observed| observed.now = ago(100_000),
];

/// Visits beginnings for the stories: fewer than all situations, with every Job and every request among them.
pub fn each_beginning(widely: bool, visit: &mut dyn FnMut(&Observed)) {
    let waiting: &[fn(&mut Observed)] = &[
        |_| {},
        |observed| observed.stream.suspended = true,
        |observed| observed.asked = Ok(asked(missing_template(), missing_template())),
        |observed| observed.asked = Ok(asked(template(TEMPLATE), missing_template())),
        |observed| observed.asked = Err(problem(false)),
    ];
    let changes = if widely { waiting } else { &waiting[..1] };
    for jobs in jobs() {
        for requests in requests() {
            for since in [Since::Nothing, Since::SpecChanged] {
                for phase in
                    [None, Some(Phase::Running), Some(Phase::Backfilling), Some(Phase::Suspended), Some(Phase::Failed)]
                {
                    let mut observed = surrounded_by(&jobs, &requests, since, Restart::Seen);
                    remember(&mut observed, phase, since);
                    if phase == Some(Phase::Failed) {
                        observed.stream.failure_note = failure_notes(since, Restart::Seen).into_iter().flatten().next();
                    }
                    for change in changes {
                        let mut observed = observed.clone();
                        change(&mut observed);
                        visit(&observed);
                    }
                }
            }
        }
    }
}
