//! A story told once, with a fault or without.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use arcane_tests::{Armed, Fixture, OperatorOptions, OperatorProcess, RequestProxy, Write};
use http::Method;

use super::cell::{Cell, Happens};
use crate::place::Place;
use crate::rules::{self, Evidence};
use crate::story::Story;

/// So long a controller sees a past.
const PAST: Duration = Duration::from_secs(4);

/// One telling of a story in which no rule was broken.
pub struct Telling {
    /// The controller's writes.
    pub writes: Vec<Write>,
    /// How many events its watches have shown, by plural.
    pub events: HashMap<String, usize>,
    /// Whether the fault was seen to happen.
    pub happened: bool,
    /// What the Jobs were for, in their order.
    pub roles: Vec<&'static str>,
    /// The stream's phases.
    pub phases: Vec<String>,
    pub took: Duration,
}

/// A story's writes have numbers, of its namespace; events have none. The product may lose an event, and a kill at one leaves
/// the same as a kill after the write before it.
fn is_of_the_story(path: &str, namespace: &str) -> bool {
    path.contains(&format!("/namespaces/{namespace}/")) && !path.contains("/events")
}

pub async fn tell(fixture: &Fixture, story: Story, cell: Option<Cell>) -> Result<Telling, String> {
    let name = cell.map_or_else(|| format!("{story}-unharmed"), |cell| cell.to_string().replace('/', "-"));
    // A namespace's name is short; what is last tells cells apart.
    let short = cell.map_or_else(|| name.clone(), |cell| format!("{story}-{}", cell.nth));
    let place = Place::new(fixture, &short).await?;
    let namespace = place.name().to_owned();
    let numbered = move |_: &Method, path: &str| is_of_the_story(path, &namespace);
    let proxy = RequestProxy::start_numbering(fixture.operator_access(), numbered).await.map_err(|e| e.to_string())?;
    let mut options: OperatorOptions = fixture.operator_options("");
    options.arguments.push(format!("--namespace={}", place.name()));
    options.kubeconfig = proxy.kubeconfig().to_owned();
    options.log = crate::log_file(&name);
    options.ready_within = Some(crate::SOON);
    let start = || OperatorProcess::start(options.clone());

    let armed = cell.map(|cell| proxy.arm(cell.fault()));
    let kills = cell.is_some_and(|cell| matches!(cell.happens, Happens::Killed(_) | Happens::Past(_)));
    let mut operator = start().await.map_err(|error| error.to_string())?;
    let before = fixture.kubelet().history().len();
    let started = Instant::now();
    let mut telling = Box::pin(story.tell(&place));
    let mut happened = false;
    let told = tokio::select! {
        told = &mut telling => told,
        () = fired(armed.clone().filter(|_| kills)) => {
            operator.kill().await.map_err(|error| error.to_string())?;
            if let Some(Cell { happens: Happens::Past(back), nth, .. }) = cell
                && let Some(revision) = revision_before(&proxy.writes(), nth - back)
            {
                proxy.freeze(&revision, PAST);
            }
            proxy.disarm();
            operator = start().await.map_err(|error| error.to_string())?;
            happened = true;
            (&mut telling).await
        }
    };
    drop(telling);
    match cell.map(|cell| cell.happens) {
        Some(Happens::Past(_)) => happened &= proxy.frozen_lists() > 0,
        Some(Happens::Killed(_)) | None => {}
        Some(Happens::Wrong(_) | Happens::Watch(..)) => {
            happened = armed.as_ref().is_some_and(|armed| armed.has_fired().is_some());
        }
    }
    let took = started.elapsed();
    let still_runs = operator.exit_status().is_none();
    operator.kill().await.map_err(|error| error.to_string())?;

    let history = place.observer.history();
    let runs = fixture.kubelet().history().split_off(before);
    let runs: Vec<_> = runs.into_iter().filter(|run| run.namespace == place.name()).collect();
    let user = story.user_did();
    let mut wrong = rules::breaches(&Evidence { history: &history, runs: &runs, user: &user });
    wrong.extend(told.err());
    if !still_runs {
        wrong.push("the controller has ended".to_owned());
    }
    let writes = proxy.writes();
    if !wrong.is_empty() {
        return Err(format!("{}\nwrites:\n{}", wrong.join("\n"), list(&writes)));
    }
    if cell.is_some() {
        // There are thousands of them.
        let _ = std::fs::remove_file(&options.log);
    }
    place.leave().await;
    let (roles, phases) = (rules::roles(&history), rules::phases(&history));
    Ok(Telling { writes, events: proxy.events(), happened, roles, phases, took })
}

async fn fired(armed: Option<Armed>) {
    match armed {
        Some(mut armed) => drop(armed.fired().await),
        None => std::future::pending().await,
    }
}

/// The revision that a write has made, or the last one before it that has made one.
fn revision_before(writes: &[Write], number: usize) -> Option<String> {
    writes.iter().take(number).rev().find_map(|write| write.revision.clone())
}

pub fn list(writes: &[Write]) -> String {
    writes.iter().fold(String::new(), |mut text, write| {
        let status = write.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let _ = writeln!(text, "  {:2} {status} {} {}", write.number, write.method, short(&write.path));
        text
    })
}

/// The path without group and namespace.
fn short(path: &str) -> &str {
    path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')).map_or(path, |(_, rest)| rest)
}
