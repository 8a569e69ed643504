//! A whole run: the bare loop, then the operator (or the other way round), on one control plane.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::bare::BareLoop;
use super::course::{Scene, Step};
use super::figures::{Alone, Course, Machine, Run, Spread, Start};
use super::observer::Observer;
use super::operator::{Command, Operator};
use super::place::{BARE, FEW, MANY, Place, Stream};
use super::processes::{Memory, of_tree};
use super::requests::{Requests, kind};
use super::{Failure, say};
use crate::kubeconfig::UserAccess;
use crate::wait;

/// When the bare loop has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bare {
    /// Before the operator.
    First,
    /// After it.
    Last,
    /// Never.
    None,
}

/// What is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What the run is called.
    pub label: String,
    /// The operator's command; absent: our controller.
    pub command: Option<String>,
    /// How many streams are created at once.
    pub streams: usize,
    /// How many classes they are spread over.
    pub classes: usize,
    /// How many streams come one by one before.
    pub alone: usize,
    /// For how long nobody does anything.
    pub idle: Duration,
    /// When the bare loop has its turn.
    pub bare: Bare,
    /// Ends after all streams run: no restart, no suspension, no deletion.
    pub only_create: bool,
    /// Where the operator's output goes.
    pub log: PathBuf,
}

/// How many new streams come at most while the many are brought up.
const NEWCOMERS: usize = 10;

const STEPS: [Step; 4] = [Step::Create, Step::Suspend, Step::Resume, Step::Delete];

/// Makes a run, and tells on stderr how it goes.
///
/// # Errors
/// When it could not be made to its end.
pub async fn run(options: &RunOptions) -> Result<Run, Failure> {
    let when = Timestamp::now().round(jiff::Unit::Second)?.to_string();
    let place = Arc::new(Place::start(options.classes).await?);
    let observer = Arc::new(Observer::start(&place.client(), &place.kinds()));
    if !options.only_create || options.bare == Bare::First {
        place.garbage_is_collected().await?;
    }
    say("a control plane is up");
    let mut figures = Run {
        label: options.label.clone(),
        streams: options.streams,
        classes: options.classes,
        when,
        machine: Machine::this(),
        ..Run::default()
    };
    if options.bare == Bare::First {
        figures.bare = Some(bare(options, &place, &observer).await?);
    }
    operator(options, &place, &observer, &mut figures).await?;
    if options.bare == Bare::Last {
        figures.bare = Some(bare(options, &place, &observer).await?);
    }
    drop(observer);
    if let Some(place) = Arc::into_inner(place) {
        place.stop().await;
    }
    Ok(figures)
}

async fn bare(options: &RunOptions, place: &Arc<Place>, observer: &Arc<Observer>) -> Result<Course, Failure> {
    let access = place.account("bare").await?;
    let bare = BareLoop::new(access.client(), Arc::clone(observer));
    let scene = Arc::new(Scene::new(Arc::clone(place), Arc::clone(observer), access.name(), Some(bare)));
    say("the bare loop:");
    let streams = place.streams(BARE, options.streams);
    let steps: &[Step] = match (options.only_create, options.bare) {
        (true, Bare::Last) => &[Step::Create],
        // The operator isn't to find them.
        (true, _) => &[Step::Create, Step::Delete],
        (false, _) => &STEPS,
    };
    scene.play_all(steps, &streams).await
}

async fn operator(
    options: &RunOptions,
    place: &Arc<Place>,
    observer: &Arc<Observer>,
    figures: &mut Run,
) -> Result<(), Failure> {
    let access = place.account("operator").await?;
    let command = Command::new(options.command.as_deref(), &access, options.log.clone())?;
    figures.command.clone_from(&command.line);
    let (mut running, ready) = started(place, &command).await?;
    figures.ready = ready;
    say(&format!("the operator is ready after {ready:.2} s"));
    let mut scene = new_scene(place, observer, &access, &running);
    scene.settle(Duration::from_secs(3)).await;
    figures.alone = alone(&scene, options.alone).await?;

    let streams = place.streams(MANY, options.streams);
    let (came, began) = (Arc::default(), Instant::now());
    let newcomers = tokio::spawn(newcomers(Arc::clone(&scene), Arc::clone(&came)));
    let created = scene.play_into(&mut figures.operator, Step::Create, &streams).await;
    newcomers.abort();
    created?;
    let came = came.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let busy = figures.operator.phases.get(Step::Create.name()).map_or(0.0, |phase| phase.seconds);
    figures.newcomers = waited(&scene, &came, began + Duration::from_secs_f64(busy)).await?;
    running.runs()?;
    if !options.idle.is_zero() {
        // The numbers in the classes' status may come some seconds later.
        scene.settle(Duration::from_secs(6)).await;
        let begin = scene.begin();
        tokio::time::sleep(options.idle).await;
        let idle = scene.end(&begin);
        say(&format!("idle    {} requests in {:.0} s", idle.requests.all(), idle.seconds));
        figures.operator.phases.insert("idle".to_owned(), idle);
    }
    figures.memory = Memory::of(running.pid());
    if !options.only_create {
        running.end().await?;
        let (again, start, restarted) = restart(place, observer, &access, &command).await?;
        (running, scene) = (again, restarted);
        figures.restart = Some(start);
        // Where a bare loop suspends and deletes, it is compared with what the operator does of the same.
        for step in [Step::Suspend, Step::Resume, Step::Delete] {
            scene.play_into(&mut figures.operator, step, &streams).await?;
        }
        figures.memory_after_restart = Memory::of(running.pid());
    }
    running.runs()?;
    running.end().await?;
    Ok(())
}

fn new_scene(place: &Arc<Place>, observer: &Arc<Observer>, access: &UserAccess, running: &Operator) -> Arc<Scene> {
    let mut scene = Scene::new(Arc::clone(place), Arc::clone(observer), access.name(), None);
    scene.operator = Some(running.pid());
    Arc::new(scene)
}

async fn started(place: &Place, command: &Command) -> Result<(Operator, f64), Failure> {
    let began = Instant::now();
    let running = Operator::start(command).await?;
    let ready = wait::poll(Duration::from_secs(60), Duration::from_millis(5), "class that is Ready", || async {
        if running.runs().is_err() { Ok(()) } else { place.classes_are_ready().await }
    });
    ready.await?;
    running.runs()?;
    Ok((running, began.elapsed().as_secs_f64()))
}

/// Streams one by one, each after the one before runs.
async fn alone(scene: &Arc<Scene>, number: usize) -> Result<Alone, Failure> {
    let (mut writes, mut first_jobs, mut running) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..number {
        let stream = few(scene, &format!("alone-{at}"));
        let sent = Instant::now();
        scene.user.create(&stream).await?;
        let created = Instant::now();
        writes.push((created - sent).as_secs_f64());
        let runs = scene.observer.until(&stream.name, |sight| sight.running.is_some());
        tokio::time::timeout(scene.within, runs).await?;
        let sight = scene.observer.sight(&stream.name);
        let after = |seen: Instant| seen.saturating_duration_since(created).as_secs_f64();
        first_jobs.extend(sight.first_backfill.map(after));
        running.extend(sight.running.map(after));
    }
    let alone = Alone { write: Spread::of(writes), first_job: Spread::of(first_jobs), running: Spread::of(running) };
    say(&format!(
        "alone   the first Job of a stream after {:.0} ms (p50 of {number}), one write takes {:.1} ms",
        alone.first_job.p50 * 1000.0,
        alone.write.p50 * 1000.0,
    ));
    Ok(alone)
}

fn few(scene: &Scene, name: &str) -> Stream {
    let mut stream = scene.place.streams(FEW, 1).remove(0);
    name.clone_into(&mut stream.name.name);
    stream
}

/// New streams of somebody else, while the many are brought up: every few seconds one.
async fn newcomers(scene: Arc<Scene>, came: Arc<Mutex<Vec<(Stream, Instant)>>>) {
    for at in 0..NEWCOMERS {
        tokio::time::sleep(if at == 0 { Duration::from_secs(1) } else { Duration::from_secs(3) }).await;
        let stream = few(&scene, &format!("newcomer-{at}"));
        match scene.user.create(&stream).await {
            Ok(_) => came.lock().unwrap_or_else(PoisonError::into_inner).push((stream, Instant::now())),
            Err(error) => say(&format!("a newcomer was refused: {error}")),
        }
    }
}

/// How long those who came before `busy_until` waited for their first Jobs.
async fn waited(scene: &Scene, came: &[(Stream, Instant)], busy_until: Instant) -> Result<Spread, Failure> {
    let mut waits = Vec::new();
    for (stream, at) in came.iter().filter(|(_, at)| *at < busy_until) {
        let seen = scene.observer.until(&stream.name, |sight| sight.first_backfill.is_some());
        tokio::time::timeout(scene.within, seen).await?;
        let seen = scene.observer.sight(&stream.name).first_backfill;
        waits.extend(seen.map(|seen| seen.saturating_duration_since(*at).as_secs_f64()));
    }
    let waits = Spread::of(waits);
    if waits.count > 0 {
        let (p50, max) = (waits.p50 * 1000.0, waits.max * 1000.0);
        say(&format!(
            "newcomers meanwhile had their first Job after {p50:.0} ms (p50 of {}), {max:.0} ms at most",
            waits.count
        ));
    }
    Ok(waits)
}

/// Starts the operator where everything is as it should be, and a new stream just after it.
async fn restart(
    place: &Arc<Place>,
    observer: &Arc<Observer>,
    access: &UserAccess,
    command: &Command,
) -> Result<(Operator, Start, Arc<Scene>), Failure> {
    let mut scene = Scene::new(Arc::clone(place), Arc::clone(observer), access.name(), None);
    let (begin, began, at) = (scene.begin(), Instant::now(), Timestamp::now());
    let running = Operator::start(command).await?;
    scene.operator = Some(running.pid());
    let stream = few(&scene, "after-restart");
    scene.user.create(&stream).await?;
    let seconds = idle_after(running.pid(), began, scene.within).await;
    let comes = observer.until(&stream.name, |sight| sight.running.is_some());
    tokio::time::timeout(scene.within, comes).await?;
    scene.settle(Duration::from_secs(3)).await;
    let requests = scene.requests(&begin);
    let plurals = place.plurals();
    let mut start = Start {
        seconds,
        processor: of_tree(running.pid()),
        requests: Requests::count(&requests, &plurals),
        first_job: observer.sight(&stream.name).first_backfill.map_or(0.0, |seen| (seen - began).as_secs_f64()),
        ..Start::default()
    };
    for list in requests.iter().filter(|request| request.verb == "list") {
        *start.lists.entry(kind(list, &plurals)).or_default() += 1;
        start.listed = start.listed.max(list.at.duration_since(at).as_secs_f64());
    }
    say(&format!(
        "restart {} lists until {:.2} s, {} writes, a new stream's Job after {:.2} s, at rest after {seconds:.1} s",
        start.lists.values().sum::<usize>(),
        start.listed,
        start.requests.writes,
        start.first_job,
    ));
    Ok((running, start, Arc::new(scene)))
}

/// When a process has begun to take less than a twentieth of a processor, for three seconds on end.
async fn idle_after(pid: u32, began: Instant, within: Duration) -> f64 {
    let mut samples = vec![(Instant::now(), of_tree(pid))];
    let mut last_busy = began;
    while began.elapsed() < within && last_busy.elapsed() < Duration::from_secs(3) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = (Instant::now(), of_tree(pid));
        samples.push(now);
        let second_ago = samples.iter().rev().find(|(at, _)| now.0 - *at >= Duration::from_secs(1));
        if second_ago.is_none_or(|(_, taken)| now.1 - taken > 0.05) {
            last_busy = now.0;
        }
    }
    (last_busy - began).as_secs_f64() - 1.0
}
