//! Situations with CronJobs: streams with the backend `batch`, and such as have just left it.
//!
//! What matters of Jobs, requests and failures is in the other space; here it is thinned out to what can matter to a
//! CronJob.

use std::ops::ControlFlow;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase::{Completed, Failed, Running},
    identity::Uid,
    stream::Phase,
};
use arcane_controller::{
    facts::{FailureNote, JobFacts, RequestFacts},
    stream::observed::{Asked, Observed, ObservedCronJob, ObservedJob, Pods, Problem, RunFailure},
};

use super::{FAILED, LEFTOVER, Restart, STATES, SUCCEEDED, Since, remember, with};
use crate::made::*;

type Change = fn(&mut ObservedCronJob);

fn changed(change: Change) -> ObservedCronJob {
    let mut cron_job = a_cron_job();
    change(&mut cron_job);
    cron_job
}

const SUSPENDED: Change = |cron_job| {
    cron_job.facts.suspended = true;
    cron_job.facts.suspended_at = Some(ago(60));
};

const ANOTHER: Change = |cron_job| {
    cron_job.facts.name = name("orders-another");
    cron_job.facts.uid = Uid::new("uid-of-another-cron-job");
    cron_job.facts.created = Some(ago(3_600));
};

const OF_ANOTHER_STREAM: Change = |cron_job| {
    cron_job.facts.owner = Some(owner(OTHER_STREAM_UID));
    cron_job.facts.uid = Uid::new("uid-of-a-leftover-cron-job");
};

/// The CronJobs that can be there.
fn cron_jobs() -> Vec<Vec<ObservedCronJob>> {
    let one: [Change; 13] = [
        |_| {},
        |cron_job| cron_job.facts.deleting_since = Some(ago(1)),
        |cron_job| cron_job.facts.deleting_since = Some(ago(3_600)),
        SUSPENDED,
        // A run that was begun before may still appear.
        |cron_job| {
            cron_job.facts.suspended = true;
            cron_job.facts.suspended_at = Some(ago(0));
        },
        // By somebody else.
        |cron_job| cron_job.facts.suspended = true,
        |cron_job| {
            SUSPENDED(cron_job);
            cron_job.facts.active = vec![RUN.to_owned()];
        },
        |cron_job| cron_job.facts.template_hash = Some(OTHER_TEMPLATE.to_owned()),
        |cron_job| {
            SUSPENDED(cron_job);
            cron_job.facts.schedule = OTHER_SCHEDULE.to_owned();
        },
        |cron_job| cron_job.facts.forbids_concurrency = false,
        // The older operator's.
        |cron_job| {
            cron_job.facts.stream_generation = None;
            cron_job.facts.template_hash = None;
            cron_job.facts.restarted_at = None;
        },
        |cron_job| cron_job.facts.last_success = Some(ago(10)),
        OF_ANOTHER_STREAM,
    ];
    let mut all = vec![vec![]];
    all.extend(one.map(|change| vec![changed(change)]));
    all.push(vec![a_cron_job(), changed(ANOTHER)]);
    all.push(vec![changed(SUSPENDED), changed(ANOTHER)]);
    all.push(vec![a_cron_job(), changed(OF_ANOTHER_STREAM)]);
    all
}

/// The runs that can be there: of the first CronJob, and such as are left of one that is gone. How they have ended, or
/// are ended, matters to a CronJob that is as it should be, at work or suspended.
fn runs(cron_jobs: &[ObservedCronJob]) -> Vec<Vec<JobFacts>> {
    let of = |uid: &Uid| {
        let run = a_run(uid);
        let ended = |state| JobFacts {
            name: name("orders-28330"),
            uid: Uid::new("uid-of-an-earlier-run"),
            created: Some(ago(600)),
            state,
            ..run.clone()
        };
        vec![
            vec![run.clone()],
            vec![ended(failed())],
            vec![ended(succeeded(100, 60))],
            vec![ended(failed()), run.clone()],
        ]
    };
    let gone = Uid::new("uid-of-a-cron-job-that-is-gone");
    match cron_jobs {
        [] => vec![vec![], vec![a_run(&gone)]],
        [cron_job] if [a_cron_job(), changed(SUSPENDED)].contains(cron_job) => {
            let mut all = vec![vec![], vec![a_run(&gone)]];
            all.extend(of(&cron_job.facts.uid));
            all.push(vec![JobFacts { deleting_since: Some(ago(1)), ..a_run(&cron_job.facts.uid) }]);
            all
        }
        [cron_job, ..] => vec![vec![], vec![a_run(&cron_job.facts.uid)]],
    }
}

fn jobs() -> Vec<Vec<ObservedJob>> {
    let mut all = vec![vec![]];
    for state in [STATES[0], STATES[1], SUCCEEDED, FAILED] {
        all.push(vec![with(a_backfill_job(FIRST), state)]);
    }
    all.extend([STATES[0], STATES[1], FAILED].map(|state| vec![with(a_job(), state)]));
    all.push(vec![a_backfill_job(GONE)]);
    all.push(vec![a_job(), a_backfill_job(FIRST)]);
    all.push(vec![with(a_job(), LEFTOVER)]);
    all
}

fn requests() -> Vec<Vec<RequestFacts>> {
    let done = RequestFacts { completed: true, completed_written: true, ..in_phase(FIRST, Completed) };
    vec![
        vec![],
        vec![a_request(FIRST)],
        vec![in_phase(FIRST, Running)],
        vec![in_phase(FIRST, Failed)],
        vec![done],
        vec![RequestFacts { deleting: true, ..in_phase(FIRST, Running) }],
    ]
}

fn wishes() -> Vec<Result<Asked, Problem>> {
    let all = |asked: fn(Template, Template) -> Asked| {
        [
            Ok(asked(template(TEMPLATE), template(TEMPLATE))),
            Ok(asked(missing_template(), missing_template())),
            Ok(asked(template(TEMPLATE), missing_template())),
        ]
    };
    let mut wishes: Vec<_> = all(asked_for_runs).into_iter().chain(all(asked)).collect();
    wishes.push(Err(problem(true)));
    wishes
}

/// A CronJob isn't answered for by the phases `Pending` and `Running`: they are in the other space.
const PHASES: [Option<Phase>; 5] =
    [None, Some(Phase::Scheduled), Some(Phase::Backfilling), Some(Phase::Suspended), Some(Phase::Failed)];

/// A spec change, a restart that was asked for, neither: the three are crossed with each other in the other space.
const SINCE: [(Since, Restart); 4] = [
    (Since::Nothing, Restart::Seen),
    (Since::SpecChanged, Restart::Seen),
    (Since::HashOnly, Restart::Never),
    (Since::Nothing, Restart::Asked),
];

fn surrounded_by(
    (jobs, requests): (&[ObservedJob], &[RequestFacts]),
    (cron_jobs, runs): (&[ObservedCronJob], &[JobFacts]),
    (since, restart): (Since, Restart),
) -> Observed {
    let mut observed = super::surrounded_by(jobs, requests, since, restart);
    observed.cron_jobs = cron_jobs.to_vec();
    observed.runs = runs.to_vec();
    for cron_job in &mut observed.cron_jobs {
        if cron_job.facts.stream_generation.is_some() {
            cron_job.facts.stream_generation = Some(since.generation());
            cron_job.facts.restarted_at = restart.on_job();
        }
        cron_job.facts.configuration_hash = Some(since.hash().to_owned());
        cron_job.hash_matches = since.hash() == SPEC;
    }
    observed
}

fn pods(observed: &Observed) -> Vec<Pods> {
    let run = observed.runs.first();
    let mut all = vec![Pods::Unknown, Pods::Clear, Pods::Listed(vec![a_pod(None, false)])];
    if let Some(run) = run {
        let is_finished = !run.is_unfinished();
        all.push(Pods::Listed(vec![a_pod(Some(&run.uid), is_finished)]));
    }
    all
}

/// What is noted where a stream is `Failed`: that a backfill did, the streaming Job before the backend was switched, or
/// nothing, under the older operator.
fn notes(phase: Option<Phase>, since: Since, restart: Restart) -> Vec<Option<FailureNote>> {
    if phase != Some(Phase::Failed) {
        return vec![None];
    }
    let notes = super::failure_notes(since, restart);
    notes.into_iter().enumerate().filter(|(place, _)| [0, 1, 3].contains(place)).map(|(_, note)| note).collect()
}

/// Visits a share of all situations with CronJobs.
pub fn each((index, shares): (usize, usize), visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>) -> ControlFlow<()> {
    let (jobs, requests, wishes) = (jobs(), requests(), wishes());
    let all: Vec<_> = cron_jobs()
        .into_iter()
        .flat_map(|cron_jobs| runs(&cron_jobs).into_iter().map(move |runs| (cron_jobs.clone(), runs)))
        .collect();
    for (cron_jobs, runs) in all.iter().skip(index).step_by(shares) {
        for (jobs, requests) in jobs.iter().flat_map(|jobs| requests.iter().map(move |requests| (jobs, requests))) {
            for (since, restart) in SINCE {
                let mut observed = surrounded_by((jobs, requests), (cron_jobs, runs), (since, restart));
                let pods = pods(&observed);
                for (place, wish) in wishes.iter().enumerate() {
                    // What can't be asked for, and which of two templates is missing, matters whatever has changed.
                    if place > 1 && place != 3 && since != Since::Nothing {
                        continue;
                    }
                    observed.asked.clone_from(wish);
                    each_memory(&mut observed, (since, restart), &pods, visit)?;
                }
                observed.stream.suspended = true;
                observed.asked.clone_from(&wishes[0]);
                each_memory(&mut observed, (since, restart), &pods[1..2], visit)?;
            }
        }
    }
    ControlFlow::Continue(())
}

fn each_memory(
    observed: &mut Observed,
    (since, restart): (Since, Restart),
    pods: &[Pods],
    visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for phase in PHASES {
        remember(observed, phase, since);
        for note in notes(phase, since, restart) {
            observed.stream.failure_note = note;
            let pods = if since == Since::Nothing { pods } else { &pods[..1.max(pods.len().min(2))] };
            for pods in pods {
                observed.pods.clone_from(pods);
                visit(observed)?;
            }
        }
    }
    ControlFlow::Continue(())
}

const BESIDE: [fn(&mut Observed); 10] = [
    |observed| observed.stream.deleting = true,
    |observed| observed.taken_cron_jobs = [STREAM.to_owned()].into(),
    |observed| observed.refused = Some(refusal(false, ago(-30))),
    |observed| observed.refused = Some(refusal(true, ago(-30))),
    |observed| observed.refused = Some(refusal(false, ago(0))),
    |observed| observed.refused = Some(refusal(true, ago(0))),
    // A clock that was set back.
    |observed| observed.now = ago(100_000),
    // Told of the very run, or of one that has expired.
    |observed| observed.told_run = Some(told("Job orders-28330 failed: it was told")),
    |observed| observed.told_run = Some(told("Job orders-1 failed: it was told")),
    |observed| {
        observed.told_run = Some(told("Job orders-1 failed: it was told"));
        observed.runs.clear();
        for cron_job in &mut observed.cron_jobs {
            cron_job.facts.last_success = Some(ago(10));
        }
    },
];

fn told(message: &str) -> RunFailure {
    RunFailure { message: message.to_owned(), since: Some(ago(1_000)) }
}

/// Visits what [`each`] leaves out: dimensions that matter rarely.
pub fn each_beside(visit: &mut dyn FnMut(&Observed) -> ControlFlow<()>) -> ControlFlow<()> {
    for cron_jobs in cron_jobs() {
        for runs in runs(&cron_jobs) {
            for requests in [vec![], vec![a_request(FIRST)]] {
                for jobs in [vec![], vec![a_backfill_job(FIRST)]] {
                    let since = (Since::Nothing, Restart::Seen);
                    let mut observed = surrounded_by((&jobs, &requests), (&cron_jobs, &runs), since);
                    observed.asked = Ok(asked_for_runs(template(TEMPLATE), template(TEMPLATE)));
                    remember(&mut observed, Some(Phase::Scheduled), Since::Nothing);
                    for change in BESIDE {
                        for pods in pods(&observed) {
                            let mut observed = observed.clone();
                            observed.pods = pods;
                            change(&mut observed);
                            visit(&observed)?;
                        }
                    }
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// Visits beginnings for the stories: a stream on a schedule and one that has just left it; widely, also without
/// templates and with a class that is gone.
pub fn each_beginning(widely: bool, visit: &mut dyn FnMut(&Observed)) {
    let wishes = wishes();
    let phases = [Some(Phase::Scheduled), Some(Phase::Backfilling), None];
    let chosen: &[usize] = if widely { &[0, 3, 1, 6] } else { &[0, 3] };
    let phases = if widely { &phases[..] } else { &phases[..2] };
    for cron_jobs in cron_jobs() {
        for runs in runs(&cron_jobs) {
            for (jobs, requests) in jobs().iter().flat_map(|jobs| requests().into_iter().map(move |it| (jobs, it))) {
                for since in [Since::Nothing, Since::SpecChanged] {
                    let surroundings = (cron_jobs.as_slice(), runs.as_slice());
                    let mut observed = surrounded_by((jobs, &requests), surroundings, (since, Restart::Seen));
                    let (chosen, phases) =
                        if since == Since::Nothing { (chosen, phases) } else { (&chosen[..1], &phases[..1]) };
                    for phase in phases {
                        remember(&mut observed, *phase, since);
                        for place in chosen {
                            observed.asked.clone_from(&wishes[*place]);
                            visit(&observed);
                        }
                    }
                }
            }
        }
    }
}
