//! The decision about a stream, against contract §3.
//!
//! Four ways to look at one pure function, [`plan`]:
//!
//! 1. `every_decision_keeps_the_contract`: the whole space of situations ([`space`]) against the contract's sentences
//!    ([`rules`]), which are stated on their own, not by way of the plan.
//! 2. `wrong_versions_are_caught`: damaged versions of the plan ([`wrong`]), each caught by the rule that names its fault.
//! 3. [`phases`]: from which phase to which one a decision moves a stream, compared with the graph in the docs.
//! 4. [`stories`]: plans carried out in a small world ([`world`]) of API server,
//!    Job controller, garbage collector and a controller that may crash after any write.
//!
//! Sentences of §3 that no decision can show, so that they are tested elsewhere: the precondition on
//! `resourceVersion`, the lease's deadline, remembered own writes, foreground deletion with UID precondition, what
//! becomes a `Pods::Clear` (§3.2: IO); request belongs to a stream, and one whose stream isn't there (§3.4: gathering);
//! the configuration hash itself, `secretRefs` in the template's hash (§3.5, §3.6: `arcane-common` and the Job's
//! builder); "within 1 s" and "within seconds" (watches); whose turn it is (§3.6: [`rolling`]); no finalizers (§3.11);
//! how classes come and go, and counts in their statuses (§3.12, §3.13: the class's own decision).

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod made;
mod phases;
mod reading;
mod rolling;
mod rules;
mod space;
mod stories;
mod world;
mod wrong;

use std::{collections::BTreeMap, ops::ControlFlow, sync::LazyLock, thread, time::Instant};

use arcane_controller::stream::{Observed, Plan, plan};

use crate::{reading::Trial, rules::RULES, wrong::WRONG};

/// How often each rule was broken, and the first situation that broke it.
#[derive(Default)]
struct Verdict {
    trials: u64,
    broken: BTreeMap<&'static str, (u64, String)>,
    moves: phases::Moves,
}

/// What all situations came to; looking at them takes a while.
static EVERYTHING: LazyLock<Verdict> = LazyLock::new(everything);

impl Verdict {
    fn judge(&mut self, observed: &Observed) {
        let plan = plan(observed);
        let trial = Trial::of(observed, &plan, &arcane_controller::stream::plan);
        self.trials += 1;
        phases::add(&mut self.moves, observed.stream.recorded.phase, &plan);
        for rule in RULES.iter().filter(|rule| !(rule.holds)(&trial)) {
            let broken = self.broken.entry(rule.name).or_default();
            broken.0 += 1;
            if broken.0 == 1 {
                broken.1 = told(observed, &plan);
            }
        }
    }

    fn join(mut self, other: Self) -> Self {
        self.trials += other.trials;
        for (rule, (times, first)) in other.broken {
            let broken = self.broken.entry(rule).or_insert((0, first));
            broken.0 += times;
        }
        for (between, reasons) in other.moves {
            self.moves.entry(between).or_default().extend(reasons);
        }
        self
    }
}

/// A situation and its plan, short enough to read.
fn told(observed: &Observed, plan: &Plan) -> String {
    let stream = &observed.stream;
    let jobs: Vec<String> = observed
        .jobs
        .iter()
        .map(|job| {
            let facts = &job.facts;
            format!(
                "\n    job {} (backfill of {:?}) {:?} deleting {:?} generation {:?} hash matches {} template {:?} restarted {:?} owner {:?}",
                facts.name.name,
                facts.request_uid.as_ref().filter(|_| facts.backfilling),
                facts.state,
                facts.deleting_since.map(|since| observed.now.duration_since(since)),
                facts.stream_generation,
                job.hash_matches,
                facts.template_hash,
                facts.restarted_at,
                facts.owner.as_ref().map(|owner| owner.uid.as_str()),
            )
        })
        .collect();
    let requests: Vec<String> = observed
        .requests
        .iter()
        .map(|request| {
            format!(
                "\n    request {} {:?} completed {} (written {}) deleting {} for {:?} payload {}",
                request.name.name,
                request.phase,
                request.completed,
                request.completed_written,
                request.deleting,
                request.stream_uid,
                request.payload.is_some(),
            )
        })
        .collect();
    let cron_jobs: Vec<String> =
        observed.cron_jobs.iter().map(|cron_job| format!("\n    cron job {:?}", cron_job)).collect();
    let runs: Vec<String> = observed
        .runs
        .iter()
        .map(|run| {
            let owner = run.owner.as_ref().map(|owner| owner.uid.as_str());
            format!("\n    run {} {:?} deleting {:?} of {owner:?}", run.name.name, run.state, run.deleting_since)
        })
        .collect();
    let asked = observed.asked.as_ref().map(|asked| {
        let hash = |template: &made::Template| template.as_ref().map(|t| t.hash.clone()).map_err(|p| p.reason);
        (&asked.workload, hash(&asked.streaming_template), hash(&asked.backfill_template), asked.initial_backfill)
    });
    format!(
        "phase {:?} suspended {} generation {} restarted {:?} deleting {} note {:?}\n    asked {asked:?}\n    pods {:?}{}{}{}{}\n  => needs_pods {} look_again {:?} {:#?}",
        stream.recorded.phase,
        stream.suspended,
        stream.generation,
        stream.restarted_at,
        stream.deleting,
        stream.failure_note,
        observed.pods,
        jobs.concat(),
        cron_jobs.concat(),
        runs.concat(),
        requests.concat(),
        plan.needs_pods,
        plan.look_again,
        plan.actions,
    )
}

fn everything() -> Verdict {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn(move || {
                    let mut verdict = Verdict::default();
                    let mut visit = |observed: &Observed| {
                        verdict.judge(observed);
                        ControlFlow::Continue(())
                    };
                    let _ = space::each((index, threads), &mut visit);
                    let _ = space::scheduled::each((index, threads), &mut visit);
                    if index == 0 {
                        let _ = space::each_beside(&mut visit);
                        let _ = space::scheduled::each_beside(&mut visit);
                    }
                    verdict
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).fold(Verdict::default(), Verdict::join)
    })
}

#[test]
fn every_decision_keeps_the_contract() {
    let begun = Instant::now();
    let verdict = &*EVERYTHING;
    eprintln!("{} situations, {} rules, {:.1?}", verdict.trials, RULES.len(), begun.elapsed());
    let broken: Vec<String> = verdict
        .broken
        .iter()
        .map(|(rule, (times, first))| format!("{rule}: broken {times} times, first by\n  {first}\n"))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn phases_move_along_the_graph_in_the_docs() {
    let mut moves = EVERYTHING.moves.clone();
    phases::add_schedules(&mut moves);
    phases::compare(&moves);
}

/// Each wrong version, and whether it is one about CronJobs.
fn all_wrong() -> impl Iterator<Item = (&'static wrong::Wrong, bool)> {
    let of_cron_jobs = wrong::scheduled::WRONG.iter().map(|wrong| (wrong, true));
    WRONG.iter().map(|wrong| (wrong, false)).chain(of_cron_jobs)
}

#[test]
fn wrong_versions_are_caught() {
    assert!(WRONG.len() >= 10 && wrong::scheduled::WRONG.len() >= 5);
    for (wrong, is_of_cron_jobs) in all_wrong() {
        let rule = RULES.iter().find(|rule| rule.name == wrong.caught_by).expect(wrong.caught_by);
        let mut caught = 0_u32;
        let mut visit = |observed: &Observed| {
            let damaged = (wrong.decide)(observed);
            if (rule.holds)(&Trial::of(observed, &damaged, &wrong.decide)) {
                return ControlFlow::Continue(());
            }
            // It is the damage that is caught: the plan itself keeps the rule here.
            let sound = plan(observed);
            assert!(
                (rule.holds)(&Trial::of(observed, &sound, &plan)),
                "{} breaks {}",
                told(observed, &sound),
                rule.name
            );
            caught += 1;
            ControlFlow::Break(())
        };
        let found = if is_of_cron_jobs {
            space::scheduled::each_beside(&mut visit).is_break()
                || space::scheduled::each((0, 1), &mut visit).is_break()
        } else {
            space::each_beside(&mut visit).is_break() || space::each((0, 1), &mut visit).is_break()
        };
        assert_eq!(found, caught > 0);
        assert!(caught > 0, "{} isn't caught by {}", wrong.name, wrong.caught_by);
    }
}
