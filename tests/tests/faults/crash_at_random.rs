//! The controller is killed at moments that nobody has chosen, while many streams are being brought up at once and finished
//! Jobs vanish after a second: no backfill is lost, and none is repeated.

use std::collections::BTreeMap;
use std::time::Instant;

use arcane_tests::reliability::{self, Counted};
use arcane_tests::{Fixture, OperatorProcess, RequestProxy};

use crate::observer::{Now, What, text};
use crate::place::{COMPLETED_WRITTEN, Place, a_spec};
use crate::rules::{self, Evidence, UserDid};

const STREAMS: usize = 20;
const KILLS: usize = 10;
/// The most writes that come between two kills. A stream takes eight to ten.
const GAP: usize = 20;
/// Repeats a run.
const SEED: &str = "ARCANE_FAULTS_SEED";

/// How many backfills there are in all, for a long run.
const SOAK: &str = "ARCANE_SOAK";

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_neither_lose_nor_repeat_a_backfill() {
    let asked = |variable: &str| std::env::var(variable).ok();
    let seed = asked(SEED).and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    let rounds = asked(SOAK).and_then(|many| many.parse::<usize>().ok()).map_or(1, |many| many.div_ceil(STREAMS));
    let mut random = fastrand::Rng::with_seed(seed);
    let fixture = crate::a_fixture().await;
    let mut counted = Counted::default();
    let mut broken = Vec::new();
    for round in 0..rounds {
        let wrong = a_round(&fixture, round, &mut random).await;
        counted.runs += STREAMS;
        counted.violations += wrong.len();
        broken.extend(wrong);
    }
    reliability::record("backfills with a TTL of a second, a SIGKILL for every other one", "at random", &counted);
    assert!(broken.is_empty(), "{SEED}={seed}\n{}", broken.join("\n"));
    fixture.stop().await;
}

/// Streams are brought up while the controller is killed; tells what was wrong.
async fn a_round(fixture: &Fixture, round: usize, random: &mut fastrand::Rng) -> Vec<String> {
    let place = Place::new(fixture, &format!("random-{round}")).await.unwrap_or_else(|why| panic!("{why}"));
    place.create_templates(Some(1)).await.unwrap_or_else(|why| panic!("{why}"));
    let mut user = UserDid::default();
    for number in 0..STREAMS {
        let name = format!("stream-{number}");
        place.create_stream(&name, &a_spec()).await.unwrap_or_else(|why| panic!("{why}"));
        user.specs.insert(name, vec![a_spec()]);
    }

    let namespace = format!("/namespaces/{}/", place.name());
    let numbered = move |_: &http::Method, path: &str| path.contains(&namespace) && !path.contains("/events");
    let proxy = RequestProxy::start_numbering(fixture.operator_access(), numbered).await;
    let proxy = proxy.unwrap_or_else(|error| panic!("{error}"));
    let mut options = fixture.operator_options("");
    options.arguments.push(format!("--namespace={}", place.name()));
    options.kubeconfig = proxy.kubeconfig().to_owned();
    options.log = crate::log_file("random");
    options.ready_within = None; // it may be killed before that
    let before = fixture.kubelet().history().len();
    let started = Instant::now();
    let mut moments = Vec::new();
    for _ in 0..KILLS {
        let process = OperatorProcess::start(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let next = proxy.writes().len() + random.usize(1..=GAP);
        // With other writes on their way, and this one perhaps not done yet.
        tokio::time::timeout(crate::SOON, proxy.came_to_write(next))
            .await
            .unwrap_or_else(|_| panic!("write {next} did not come; {}", process.log_tail()));
        process.kill().await.unwrap_or_else(|error| panic!("{error}"));
        moments.push(next);
    }
    options.ready_within = Some(crate::SOON);
    let process = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let ended = place.observer.until(2 * crate::SOON, "running streams", all_stream).await;

    let history = place.observer.history();
    let mut runs = fixture.kubelet().history().split_off(before);
    runs.retain(|run| run.namespace == place.name());
    let mut wrong = rules::breaches(&Evidence { history: &history, runs: &runs, user: &user });
    wrong.extend(ended.err());
    crate::say(&format!(
        "round {round}: {KILLS} kills (at writes {moments:?} of {}) while {STREAMS} streams came up in {:.1?}: {} rules broken",
        proxy.writes().len(),
        started.elapsed(),
        wrong.len(),
    ));
    process.kill().await.unwrap_or_else(|error| panic!("{error}"));
    place.leave().await;
    wrong
}

/// Every stream streams, every backfill is completed, and its Job has vanished.
fn all_stream(now: &Now) -> Result<(), String> {
    let mut scenes: BTreeMap<String, usize> = BTreeMap::new();
    for ((what, _), object) in now {
        let scene = match what {
            What::Stream => format!("stream {}", text(object, "/status/phase")),
            What::Request => {
                let written = object["metadata"]["annotations"][COMPLETED_WRITTEN] == "true";
                format!("request {}{}", text(object, "/status/phase"), if written { ", written" } else { "" })
            }
            What::Job => format!("Job with backfilling={}", object["metadata"]["labels"]["arcane/backfilling"]),
            What::Pod => format!("pod {}", text(object, "/status/phase")),
        };
        *scenes.entry(scene).or_default() += 1;
    }
    let wanted = ["stream Running", "request Completed, written", "Job with backfilling=\"false\"", "pod Running"];
    let wanted: BTreeMap<String, usize> = wanted.iter().map(|scene| ((*scene).to_owned(), STREAMS)).collect();
    if scenes == wanted { Ok(()) } else { Err(format!("{scenes:?}")) }
}
