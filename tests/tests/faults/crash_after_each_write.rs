//! The controller is killed with SIGKILL at each single write of a stream's whole story, once before the write reaches the
//! API server and once after that has done it, and started again: everything ends as if nothing had happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arcane_tests::{Armed, Cut, CutInstant, Fixture, OperatorOptions, OperatorProcess, RequestProxy, Write};
use futures::future::join_all;
use http::Method;

use crate::place::Place;
use crate::rules::{self, Evidence};
use crate::story;

/// How many control planes there are, each with one controller at a time. They mostly wait for the Job controller.
const LANES: usize = 3;

/// `all`: every cell, however long it takes. A number: so many of them. Else those that can be begun in time.
const VARIABLE: &str = "ARCANE_FAULTS";
const IN_TIME: Duration = Duration::from_secs(210);

/// One telling of the story.
struct Telling {
    /// The controller's writes.
    writes: Vec<Write>,
    /// The one at which it was killed.
    cut: Option<Write>,
    /// What the Jobs were for, in their order.
    roles: Vec<&'static str>,
    /// The stream's phases.
    phases: Vec<String>,
    took: Duration,
}

/// A story's writes have numbers, of its namespace; events have none. The product may lose an event, and a kill at one leaves
/// the same as a kill after the write before it.
fn is_of_the_story(path: &str, namespace: &str) -> bool {
    path.contains(&format!("/namespaces/{namespace}/")) && !path.contains("/events")
}

async fn tell_with(fixture: &Fixture, name: &str, cut: Option<Cut>) -> Result<Telling, String> {
    let place = Place::new(fixture, name).await?;
    let namespace = place.name().to_owned();
    let numbered = move |_: &Method, path: &str| is_of_the_story(path, &namespace);
    let proxy = RequestProxy::start_numbering(fixture.operator_access(), numbered).await.map_err(|e| e.to_string())?;
    let mut options: OperatorOptions = fixture.operator_options("");
    options.kubeconfig = proxy.kubeconfig().to_owned();
    options.log = crate::log_file(name);
    options.ready_within = Some(crate::SOON);
    let start = || OperatorProcess::start(options.clone());

    let armed = cut.map(|cut| proxy.arm(cut));
    let mut operator = start().await.map_err(|error| error.to_string())?;
    let before = fixture.kubelet().history().len();
    let started = Instant::now();
    let mut telling = Box::pin(story::tell(&place));
    let mut cut_at = None;
    let told = tokio::select! {
        told = &mut telling => told,
        write = fired(armed) => {
            operator.kill().await.map_err(|error| error.to_string())?;
            proxy.disarm();
            operator = start().await.map_err(|error| error.to_string())?;
            cut_at = Some(write);
            (&mut telling).await
        }
    };
    drop(telling);
    let took = started.elapsed();
    let still_runs = operator.exit_status().is_none();
    operator.kill().await.map_err(|error| error.to_string())?;

    let history = place.observer.history();
    let runs = fixture.kubelet().history().split_off(before);
    let runs: Vec<_> = runs.into_iter().filter(|run| run.namespace == place.name()).collect();
    let user = story::user_did();
    let mut wrong = rules::breaches(&Evidence { history: &history, runs: &runs, user: &user });
    wrong.extend(told.err());
    if !still_runs {
        wrong.push("the controller has ended".to_owned());
    }
    let writes = proxy.writes();
    if !wrong.is_empty() {
        return Err(format!("{}\nwrites:\n{}", wrong.join("\n"), list(&writes)));
    }
    place.leave().await;
    let (roles, phases) = (rules::roles(&history), rules::phases(&history));
    Ok(Telling { writes, cut: cut_at, roles, phases, took })
}

async fn fired(armed: Option<Armed>) -> Write {
    match armed {
        Some(mut armed) => armed.fired().await,
        None => std::future::pending().await,
    }
}

fn list(writes: &[Write]) -> String {
    writes.iter().fold(String::new(), |mut text, write| {
        let status = write.status.map_or_else(|| "cut".to_owned(), |status| status.to_string());
        let _ = writeln!(text, "  {:2} {status} {} {}", write.number, write.method, short(&write.path));
        text
    })
}

/// The path without group and namespace.
fn short(path: &str) -> &str {
    path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')).map_or(path, |(_, rest)| rest)
}

/// One cut of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    nth_write: usize,
    before: bool,
}

impl Cell {
    fn cut(self) -> Cut {
        let instant = if self.before { CutInstant::BeforeSend } else { CutInstant::AfterCommit };
        Cut { nth_write: self.nth_write, instant }
    }

    fn name(self) -> String {
        format!("write-{}-{}", self.nth_write, if self.before { "before" } else { "after" })
    }
}

/// All cells; any so many from the start are spread over the whole story.
fn cells(writes: usize) -> Vec<Cell> {
    let all: Vec<Cell> =
        (1..=writes).flat_map(|nth_write| [true, false].map(|before| Cell { nth_write, before })).collect();
    // Bit-reversed order: halves, quarters, eighths, ...
    let bits = usize::BITS - all.len().leading_zeros();
    let mut order: Vec<usize> = (0..1 << bits).map(|i: usize| i.reverse_bits() >> (usize::BITS - bits)).collect();
    order.retain(|&i| i < all.len());
    order.into_iter().map(|i| all[i]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_at_any_write_ends_where_one_that_lives_ends() {
    let started = Instant::now();
    let lanes = std::env::var("ARCANE_FAULTS_LANES").ok().and_then(|lanes| lanes.parse().ok()).unwrap_or(LANES);
    let fixtures = join_all((0..lanes).map(|_| crate::a_fixture())).await;

    // Without a cut, once in each lane.
    let uncut = join_all(fixtures.iter().enumerate().map(|(lane, fixture)| async move {
        tell_with(fixture, &format!("uncut-{lane}"), None)
            .await
            .unwrap_or_else(|wrong| panic!("without a cut: {wrong}"))
    }))
    .await;
    let model = &uncut[0];
    crate::say(&format!(
        "the story without a cut: {:.1?}, writes of the controller: {:?}, phases {}",
        model.took,
        uncut.iter().map(|telling| telling.writes.len()).collect::<Vec<_>>(),
        model.phases.join(" "),
    ));
    if std::env::var_os("ARCANE_FAULTS_WRITES").is_some() {
        crate::say(&list(&model.writes));
    }

    let all = cells(uncut.iter().map(|telling| telling.writes.len()).max().unwrap_or_default());
    let wish = std::env::var(VARIABLE).ok();
    let number = wish.as_deref().and_then(|wish| wish.parse().ok()).unwrap_or(all.len());
    let in_time = || wish.is_some() || started.elapsed() < IN_TIME;
    let next = AtomicUsize::new(0);
    let lanes = join_all(fixtures.iter().map(|fixture| async {
        let mut told = Vec::new();
        while in_time()
            && let Some(&cell) = all.iter().take(number).nth(next.fetch_add(1, Ordering::Relaxed))
        {
            told.push((cell, tell_cut(fixture, cell, model).await));
        }
        told
    }))
    .await;

    let told: BTreeMap<Cell, Result<Telling, String>> = lanes.into_iter().flatten().collect();
    let failed: Vec<String> = told
        .iter()
        .filter_map(|(cell, told)| told.as_ref().err().map(|wrong| format!("{}: {wrong}", cell.name())))
        .collect();
    let mut took: Vec<Duration> = told.values().flatten().map(|telling| telling.took).collect();
    took.sort();
    crate::say(&format!(
        "{} cells run of {}, {} failed, {:.0?} in all, a story {:.1?} (median) to {:.1?}",
        told.len(),
        all.len(),
        failed.len(),
        started.elapsed(),
        took.get(took.len() / 2).copied().unwrap_or_default(),
        took.last().copied().unwrap_or_default(),
    ));
    for fixture in fixtures {
        fixture.stop().await;
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Counts only if the cut was seen to happen.
async fn tell_cut(fixture: &Fixture, cell: Cell, model: &Telling) -> Result<Telling, String> {
    let mut tries = 3;
    loop {
        tries -= 1;
        let telling = tell_with(fixture, &cell.name(), Some(cell.cut())).await?;
        if telling.cut.is_none() {
            if tries > 0 {
                continue;
            }
            return Err(format!("the write never came, of {}:\n{}", telling.writes.len(), list(&telling.writes)));
        }
        if telling.phases != model.phases {
            return Err(format!("other phases than without a cut: {:?}\n{}", telling.phases, list(&telling.writes)));
        }
        if telling.roles != model.roles {
            return Err(format!("other Jobs than without a cut: {:?}\n{}", telling.roles, list(&telling.writes)));
        }
        return Ok(telling);
    }
}
