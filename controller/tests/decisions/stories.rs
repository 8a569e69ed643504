//! Plans carried out, one after the other: from every beginning, with crashes, and in long stories of what people and
//! clusters do to a stream meanwhile.

use std::collections::BTreeMap;

use arcane_common::{identity::Uid, stream::Phase};
use arcane_controller::{
    facts::{JobState, RecordedStatus},
    stream::{
        Observed,
        observed::{ObservedJob, Pods},
        plan,
    },
};
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::{
    made::*,
    reading::{own_cron_jobs, own_jobs},
    space,
    world::{Outcome, World},
    wrong::{WRONG_IN_THE_LONG_RUN, Wrong, scheduled},
};

/// Failures by their words, with the first beginning of each.
fn gather(failures: &mut BTreeMap<String, (u32, String)>, outcome: Outcome<()>, told: impl FnOnce() -> String) {
    if let Err(failure) = outcome {
        let entry = failures.entry(failure).or_insert_with(|| (0, told()));
        entry.0 += 1;
    }
}

fn report(failures: &BTreeMap<String, (u32, String)>) {
    let lines: Vec<String> = failures
        .iter()
        .map(|(failure, (times, first))| format!("{failure}: {times} times, first from\n  {first}\n"))
        .collect();
    assert!(failures.is_empty(), "{}", lines.join("\n"));
}

fn told(world: &World) -> String {
    crate::told(&world.observed, &plan(&world.observed))
}

#[test]
fn every_beginning_comes_to_rest_and_stays_quiet() {
    let mut beginnings = 0;
    let mut failures = BTreeMap::new();
    let mut visit = |observed: &Observed| {
        for stray in [false, true] {
            let mut world = World::beginning_with(observed.clone());
            if stray {
                world.is_clear = false;
                world.strays.push(a_pod(None, false));
            }
            beginnings += 1;
            gather(&mut failures, world.come_to_an_end(&plan), || crate::told(observed, &plan(observed)));
        }
    };
    space::each_beginning(true, &mut visit);
    space::scheduled::each_beginning(true, &mut visit);
    eprintln!("{beginnings} beginnings");
    report(&failures);
}

#[test]
fn a_crash_after_any_write_changes_nothing_of_the_end() {
    let mut crashes = 0;
    let mut failures = BTreeMap::new();
    let mut visit = |observed: &Observed| {
        let mut undisturbed = World::beginning_with(observed.clone());
        // What doesn't end well without a crash is another test's.
        if undisturbed.come_to_an_end(&plan).is_err() {
            return;
        }
        let ending = undisturbed.ending();
        let mut world = World::beginning_with(observed.clone());
        for _ in 0..8 {
            let mut ahead = world.clone();
            let Ok(writes) = ahead.reconcile(&plan, None) else { break };
            for write in 0..=writes {
                let mut crashed = world.clone();
                crashes += 1;
                let outcome = crashed.reconcile(&plan, Some(write)).and_then(|_| crashed.come_to_an_end(&plan));
                let outcome = outcome.and_then(|()| {
                    let other = crashed.ending();
                    if other == ending { Ok(()) } else { Err("another end after a crash".to_owned()) }
                });
                gather(&mut failures, outcome, || {
                    format!("{}\n  without {ending}\n  crashed at {write} {}", told(&world), crashed.ending())
                });
            }
            world = ahead;
            if writes == 0 && !world.collect_garbage() {
                break;
            }
        }
    };
    space::each_beginning(false, &mut visit);
    space::scheduled::each_beginning(false, &mut visit);
    eprintln!("{crashes} crashes");
    report(&failures);
}

#[test]
fn what_is_wrong_in_the_long_run_is_caught() {
    for Wrong { name, decide: wrong, caught_by: failure } in WRONG_IN_THE_LONG_RUN {
        let mut observed = a_new_stream();
        observed.pods = Pods::Unknown;
        let mut world = World::beginning_with(observed);
        let outcome = world.come_to_an_end(wrong);
        assert!(outcome.as_ref().is_err_and(|words| words.contains(failure)), "{name}: {outcome:?}");
    }
    for Wrong { name, decide: wrong, caught_by: failure } in scheduled::WRONG_IN_THE_LONG_RUN {
        let mut observed = a_new_stream();
        observed.asked = Ok(asked_for_runs(template(TEMPLATE), template(TEMPLATE)));
        observed.cron_jobs = vec![a_cron_job()];
        observed.requests = vec![a_request(FIRST)];
        let outcome = World::beginning_with(observed).come_to_an_end(wrong);
        assert!(outcome.as_ref().is_err_and(|words| words.contains(failure)), "{name}: {outcome:?}");
    }
}

/// What may happen to a stream from outside.
#[derive(Clone, Debug)]
enum Event {
    Reconcile,
    ReconcileAndCrash {
        writes: usize,
    },
    CollectGarbage,
    Suspend(bool),
    EditSpec,
    FillInDefault,
    Restart,
    AddRequest {
        payload: bool,
    },
    DeleteRequest(prop::sample::Index),
    CompleteRequest(prop::sample::Index),
    ResetCompleted(prop::sample::Index),
    JobSucceeds {
        quickly: bool,
    },
    JobFails,
    /// Somebody deletes a Job in background: its pods run on.
    JobVanishes,
    PodEnds,
    SwitchBackend,
    RunStarts {
        late: bool,
    },
    RunEnds {
        well: bool,
    },
    /// Somebody deletes a CronJob in background: its runs are there for a while.
    CronJobVanishes,
    /// Somebody suspends a CronJob by hand, or lets it run.
    Tamper(bool),
    StreamingTemplate(Option<bool>),
    BackfillTemplate(Option<bool>),
    ClassGoes,
    ClassComes,
    TimePasses,
    /// The stream is deleted and created again.
    Recreate {
        suspended: bool,
    },
}

fn an_event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        12 => Just(Event::Reconcile),
        4 => (0_usize..4).prop_map(|writes| Event::ReconcileAndCrash { writes }),
        6 => Just(Event::CollectGarbage),
        3 => any::<bool>().prop_map(Event::Suspend),
        2 => Just(Event::EditSpec),
        1 => Just(Event::FillInDefault),
        1 => Just(Event::Restart),
        3 => any::<bool>().prop_map(|payload| Event::AddRequest { payload }),
        1 => index().prop_map(Event::DeleteRequest),
        1 => index().prop_map(Event::CompleteRequest),
        1 => index().prop_map(Event::ResetCompleted),
        5 => any::<bool>().prop_map(|quickly| Event::JobSucceeds { quickly }),
        3 => Just(Event::JobFails),
        1 => Just(Event::JobVanishes),
        2 => Just(Event::PodEnds),
        1 => Just(Event::SwitchBackend),
        4 => any::<bool>().prop_map(|late| Event::RunStarts { late }),
        3 => any::<bool>().prop_map(|well| Event::RunEnds { well }),
        1 => Just(Event::CronJobVanishes),
        1 => any::<bool>().prop_map(Event::Tamper),
        1 => any::<Option<bool>>().prop_map(Event::StreamingTemplate),
        1 => any::<Option<bool>>().prop_map(Event::BackfillTemplate),
        1 => Just(Event::ClassGoes),
        2 => Just(Event::ClassComes),
        2 => Just(Event::TimePasses),
        1 => prop::bool::weighted(0.2).prop_map(|suspended| Event::Recreate { suspended }),
    ]
}

/// A world, and what its class and templates are when they are there.
struct Story {
    world: World,
    streaming: Template,
    backfill: Template,
    has_class: bool,
    is_batch: bool,
    edits: i64,
}

impl Story {
    fn begin() -> Self {
        let mut observed = a_new_stream();
        observed.pods = Pods::Unknown;
        let mut world = World::beginning_with(observed);
        world.owes_backfill = true;
        Self {
            world,
            streaming: template(TEMPLATE),
            backfill: template(TEMPLATE),
            has_class: true,
            is_batch: false,
            edits: 0,
        }
    }

    fn happens(&mut self, event: &Event) -> Outcome<()> {
        match event {
            Event::Reconcile => drop(self.world.reconcile(&plan, None)?),
            Event::ReconcileAndCrash { writes } => drop(self.world.reconcile(&plan, Some(*writes))?),
            Event::CollectGarbage => drop(self.world.collect_garbage()),
            Event::PodEnds => self.world.strays.clear(),
            Event::RunStarts { late } => drop(self.world.start_run(*late)?),
            Event::RunEnds { well } => self.run_ends(*well),
            Event::CronJobVanishes => self.world.cron_job_vanishes(),
            Event::Tamper(suspended) => self.world.tamper(*suspended),
            Event::TimePasses => self.world.observed.now += SignedDuration::from_secs(7),
            Event::JobSucceeds { quickly } => self.job_succeeds(*quickly),
            Event::JobFails => drop(self.world.end_job(failed())),
            Event::ClassGoes => self.has_class = false,
            Event::ClassComes => self.has_class = true,
            Event::StreamingTemplate(None) => self.streaming = missing_template(),
            Event::BackfillTemplate(None) => self.backfill = missing_template(),
            _ => {
                // All that follows is a reason for a stream to leave `Failed`, or not to enter it. (A default that
                // is filled in is one when `suspended` was flipped before: generation and hash differ then.)
                self.world.untold_failure = None;
                self.user_does(event);
            }
        }
        self.look();
        Ok(())
    }

    fn user_does(&mut self, event: &Event) {
        let observed = &mut self.world.observed;
        let chosen =
            |index: &prop::sample::Index| (!observed.requests.is_empty()).then(|| index.index(observed.requests.len()));
        match event {
            Event::Suspend(suspended) => {
                self.world.owes_backfill &= !suspended;
                if observed.stream.suspended != *suspended {
                    observed.stream.suspended = *suspended;
                    observed.stream.generation += 1;
                }
            }
            Event::EditSpec | Event::FillInDefault | Event::SwitchBackend => {
                self.edits += 1;
                if matches!(event, Event::SwitchBackend) {
                    self.is_batch = !self.is_batch;
                    // A stream on a schedule needs no backfill, now or later.
                    self.world.owes_backfill = false;
                }
                observed.stream.configuration_hash = format!("{SPEC}-{}", self.edits);
                observed.stream.generation += i64::from(!matches!(event, Event::FillInDefault));
            }
            Event::Restart => {
                self.edits += 1;
                observed.stream.restarted_at = Some(format!("{RESTARTED}-{}", self.edits));
            }
            Event::AddRequest { payload } => {
                let request = self.world.new_request(payload.then(|| serde_json::json!({"from": 2024})));
                self.world.observed.requests.push(request);
            }
            Event::DeleteRequest(index) => {
                if let Some(place) = chosen(index) {
                    observed.requests[place].deleting = true;
                    self.world.owes_backfill = false;
                }
            }
            Event::CompleteRequest(index) => {
                if let Some(place) = chosen(index) {
                    observed.requests[place].completed = true;
                    self.world.owes_backfill = false;
                }
            }
            Event::ResetCompleted(index) => {
                if let Some(place) = chosen(index) {
                    observed.requests[place].completed = false;
                }
            }
            Event::JobVanishes => {
                if let Some(job) = observed.jobs.pop() {
                    self.world.is_clear = false;
                    if job.facts.state == JobState::Unfinished {
                        self.world.strays.push(a_pod(Some(&job.facts.uid), false));
                    }
                }
            }
            Event::StreamingTemplate(Some(same)) => self.streaming = self.changed_template(*same),
            Event::BackfillTemplate(Some(same)) => self.backfill = self.changed_template(*same),
            Event::Recreate { suspended } => self.recreate(*suspended),
            _ => {}
        }
    }

    fn changed_template(&mut self, same: bool) -> Template {
        self.edits += 1;
        if same { template(TEMPLATE) } else { template(&format!("{OTHER_TEMPLATE}-{}", self.edits)) }
    }

    fn job_succeeds(&mut self, quickly: bool) {
        let now = self.world.observed.now;
        let ran = SignedDuration::from_secs(if quickly { 1 } else { 1_000 });
        self.world.end_job(JobState::Succeeded { started: Some(now - ran), finished: Some(now) });
    }

    fn run_ends(&mut self, well: bool) {
        let now = self.world.observed.now;
        let state = if well { JobState::Succeeded { started: Some(now), finished: Some(now) } } else { failed() };
        self.world.end_run(state);
    }

    fn recreate(&mut self, suspended: bool) {
        self.edits += 1;
        let world = &mut self.world;
        world.crash();
        world.status = None;
        let observed = &mut world.observed;
        let stream = &mut observed.stream;
        stream.uid = Uid::new(format!("{STREAM_UID}-{}", self.edits));
        stream.recorded = RecordedStatus::default();
        stream.failure_note = None;
        stream.restarted_at = None;
        stream.generation = 1;
        stream.suspended = suspended;
        observed.recorded_hash_matches = true;
        // Its requests that were accepted are another stream's; any other counts as its own.
        let uid = &observed.stream.uid;
        let are_anothers =
            observed.requests.iter().all(|request| request.stream_uid.as_ref().is_some_and(|of| of != uid));
        world.owes_backfill = !suspended && are_anothers && !self.is_batch;
    }

    /// What is gathered anew after each event.
    fn look(&mut self) {
        let asks = if self.is_batch { asked_for_runs } else { asked };
        let observed = &mut self.world.observed;
        observed.asked =
            if self.has_class { Ok(asks(self.streaming.clone(), self.backfill.clone())) } else { Err(problem(false)) };
        let hash = Some(&observed.stream.configuration_hash);
        for job in &mut observed.jobs {
            job.hash_matches = job.facts.configuration_hash.as_ref() == hash;
        }
        for cron_job in &mut observed.cron_jobs {
            cron_job.hash_matches = cron_job.facts.configuration_hash.as_ref() == hash;
        }
        let recorded = &observed.stream.recorded;
        observed.recorded_hash_matches =
            recorded.configuration_hash.is_none() || recorded.configuration_hash.as_ref() == hash;
    }

    /// Everything is there again and the user wants the stream to run: it does, if need be after a restart.
    fn ends_well(&mut self) -> Outcome<()> {
        self.world.come_to_rest(&plan)?;
        for event in [
            Event::Suspend(false),
            Event::ClassComes,
            Event::StreamingTemplate(Some(true)),
            Event::BackfillTemplate(Some(true)),
            Event::Restart,
        ] {
            self.happens(&event)?;
        }
        self.world.come_to_an_end(&plan)?;
        let observed = &self.world.observed;
        let running: Vec<_> = own_jobs(observed).filter(|job| job.facts.state == JobState::Unfinished).collect();
        let cron_jobs: Vec<_> = own_cron_jobs(observed).collect();
        let is_current = |job: &&ObservedJob| !job.facts.backfilling && job.facts.deleting_since.is_none();
        let is_streaming = match (running.as_slice(), cron_jobs.as_slice()) {
            ([job], []) => !self.is_batch && is_current(job),
            ([], [cron_job]) => self.is_batch && !cron_job.facts.suspended && cron_job.hash_matches,
            _ => false,
        };
        let phase = if self.is_batch { Phase::Scheduled } else { Phase::Running };
        let are_settled =
            observed.requests.iter().all(|request| request.phase.as_ref().is_some_and(|phase| phase.is_final()));
        if is_streaming && are_settled && observed.stream.recorded.phase == Some(phase) {
            Ok(())
        } else {
            Err(format!("it doesn't stream in the end: {}", self.world.ending()))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    /// Never two writers, no settled request runs again, the initial backfill comes first, no failure is forgotten
    /// (all seen to by the world), and in the end the stream streams.
    #[test]
    fn whatever_happens_a_stream_ends_well(events in prop::collection::vec(an_event(), 1..40)) {
        let mut story = Story::begin();
        for event in &events {
            if let Err(failure) = story.happens(event) {
                return Err(TestCaseError::fail(format!("{failure}\n{}", told(&story.world))));
            }
        }
        if let Err(failure) = story.ends_well() {
            return Err(TestCaseError::fail(format!("{failure}\n{}", told(&story.world))));
        }
    }
}
