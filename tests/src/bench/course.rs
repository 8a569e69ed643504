//! What users do with many streams at once, and what one who looks after them makes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::bare::{BareLoop, IN_PARALLEL};
use super::figures::{Course, Phase, Spread};
use super::observer::{Observer, Sight};
use super::place::{FEW, Name, Place, Stream, User};
use super::processes::Processor;
use super::requests::Requests;
use super::{Failure, say};
use crate::audit_log::{AuditMark, AuditedRequest};

/// What users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create streams; there they are when they run.
    Create,
    /// Suspend them; when no Job is left that could run.
    Suspend,
    /// Let them go on; when they run.
    Resume,
    /// Delete them; when nothing is left of them.
    Delete,
}

impl Step {
    /// Its name in the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Delete => "delete",
        }
    }

    fn is_done(self, sight: &Sight) -> bool {
        match self {
            Self::Create | Self::Resume => sight.runs(),
            Self::Suspend => sight.is_suspended(),
            Self::Delete => sight.gone && sight.jobs.is_empty(),
        }
    }
}

/// Streams, their users, and who looks after them.
pub struct Scene {
    /// Where.
    pub place: Arc<Place>,
    /// Who sees it all.
    pub observer: Arc<Observer>,
    /// The user.
    pub user: User,
    /// The bare loop, if it is the one who looks after the streams.
    pub bare: Option<BareLoop>,
    /// The pid of the operator, if it is an operator.
    pub operator: Option<u32>,
    /// As whom whoever looks after the streams stands in the audit log.
    pub name: String,
    /// How long a phase may take.
    pub within: Duration,
    turns: Semaphore,
    uids: Mutex<HashMap<Name, String>>,
}

/// The begin of a phase.
pub struct Begin {
    audit: AuditMark,
    processor: Processor,
    at: Instant,
}

impl Scene {
    /// A scene.
    pub fn new(place: Arc<Place>, observer: Arc<Observer>, name: &str, bare: Option<BareLoop>) -> Self {
        Self {
            user: User::new(place.client()),
            place,
            observer,
            bare,
            operator: None,
            name: name.to_owned(),
            within: Duration::from_secs(600),
            turns: Semaphore::new(IN_PARALLEL),
            uids: Mutex::default(),
        }
    }

    /// From here on it is counted.
    pub fn begin(&self) -> Begin {
        Begin { audit: self.audit().now(), processor: self.processor(), at: Instant::now() }
    }

    /// What was asked since then, but for those few streams that are not counted.
    pub fn requests(&self, begin: &Begin) -> Vec<AuditedRequest> {
        let mut requests = self.audit().requests_since(begin.audit, &self.name);
        requests.retain(|request| request.user == self.name && request.namespace != FEW);
        requests
    }

    /// What happened since then.
    pub fn end(&self, begin: &Begin) -> Phase {
        let mut phase = Phase { seconds: begin.at.elapsed().as_secs_f64(), ..Phase::default() };
        phase.processor = self.processor().since(begin.processor);
        phase.requests = Requests::count(&self.requests(begin), &self.place.plurals());
        phase
    }

    /// Waits until nothing was asked for so long; a minute at most, for there are operators that never rest.
    pub async fn settle(&self, still: Duration) {
        let deadline = Instant::now() + Duration::from_secs(60) + still;
        while Instant::now() < deadline {
            let begin = self.begin();
            tokio::time::sleep(still).await;
            let mut requests = self.audit().requests_since(begin.audit, &self.name);
            requests.retain(|request| request.resource != "leases" && request.verb != "watch");
            if requests.is_empty() {
                return;
            }
        }
        say(&format!("{} doesn't come to rest", self.name));
    }

    /// Users do this with all these streams, [`IN_PARALLEL`] at a time.
    ///
    /// # Errors
    /// When the API server refuses what a user or the bare loop does.
    pub async fn play(self: &Arc<Self>, step: Step, streams: &[Stream]) -> Result<(Phase, Course), Failure> {
        let begin = self.begin();
        let mut tasks = JoinSet::new();
        for stream in streams.iter().cloned() {
            tasks.spawn(Arc::clone(self).one(step, stream));
        }
        let mut begins = Vec::new();
        let mut latencies = Vec::new();
        let mut last = begin.at;
        while let Some(ended) = tasks.join_next().await {
            let (name, began, ended) = ended??;
            if let Some(ended) = ended {
                latencies.push((ended - began).as_secs_f64());
                last = last.max(ended);
            }
            begins.push((name, began));
        }
        let mut phase = self.end(&begin);
        phase.missing = streams.len() - latencies.len();
        phase.latency = Spread::of(latencies);
        phase.seconds = (last - begin.at).as_secs_f64();
        // Events, and what else comes after a stream is there.
        self.settle(Duration::from_secs(2)).await;
        phase.requests = Requests::count(&self.requests(&begin), &self.place.plurals());
        let course = if step == Step::Create { self.moments(&begins) } else { Course::default() };
        Ok((phase, course))
    }

    /// All steps, one after the other.
    ///
    /// # Errors
    /// See [`Self::play`].
    pub async fn play_all(self: &Arc<Self>, steps: &[Step], streams: &[Stream]) -> Result<Course, Failure> {
        let mut course = Course::default();
        for &step in steps {
            self.play_into(&mut course, step, streams).await?;
        }
        Ok(course)
    }

    /// One step, into the figures.
    ///
    /// # Errors
    /// See [`Self::play`].
    pub async fn play_into(
        self: &Arc<Self>,
        course: &mut Course,
        step: Step,
        streams: &[Stream],
    ) -> Result<(), Failure> {
        let (phase, moments) = self.play(step, streams).await?;
        if step == Step::Create {
            *course = Course { phases: std::mem::take(&mut course.phases), ..moments };
        }
        say(&format!(
            "{:7} {} streams in {:.1} s, {} missing; {} writes, {} reads, {} events; {:.1} s of processor time",
            step.name(),
            streams.len(),
            phase.seconds,
            phase.missing,
            phase.requests.writes,
            phase.requests.reads,
            phase.requests.events,
            phase.processor.operator,
        ));
        course.phases.insert(step.name().to_owned(), phase);
        Ok(())
    }

    async fn one(self: Arc<Self>, step: Step, stream: Stream) -> Result<(Name, Instant, Option<Instant>), Failure> {
        let turn = self.turns.acquire().await;
        let began = Instant::now();
        let uid = match step {
            Step::Create => {
                let uid = self.user.create(&stream).await?;
                self.uids.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.name.clone(), uid.clone());
                uid
            }
            Step::Suspend | Step::Resume => {
                self.user.suspend(&stream, step == Step::Suspend).await?;
                let uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
                uids.get(&stream.name).cloned().unwrap_or_default()
            }
            Step::Delete => {
                self.user.delete(&stream).await?;
                String::new()
            }
        };
        drop(turn);
        let there = async {
            if let Some(bare) = &self.bare {
                match step {
                    Step::Create => bare.bring_up(&stream, &uid).await?,
                    Step::Suspend => bare.stop(&stream).await?,
                    Step::Resume => bare.run(&stream, &uid).await?,
                    Step::Delete => {}
                }
            }
            Ok::<_, Failure>(self.observer.until(&stream.name, |sight| step.is_done(sight)).await)
        };
        let ended = match tokio::time::timeout(self.within, there).await {
            Ok(ended) => Some(ended?),
            Err(_) => None,
        };
        Ok((stream.name, began, ended))
    }

    fn moments(&self, begins: &[(Name, Instant)]) -> Course {
        let sights: Vec<(Instant, Sight)> =
            begins.iter().map(|(name, began)| (*began, self.observer.sight(name))).collect();
        let spread = |moment: fn(&Sight) -> Option<Instant>| {
            let since = |(began, sight): &(Instant, Sight)| Some((moment(sight)? - *began).as_secs_f64());
            Spread::of(sights.iter().filter_map(since))
        };
        let first = begins.iter().map(|(_, began)| *began).min();
        let running =
            first.map(|first| sights.iter().filter_map(move |(_, sight)| Some((sight.running? - first).as_secs_f64())));
        let mut running: Vec<f64> = running.into_iter().flatten().collect();
        running.sort_by(f64::total_cmp);
        let last = running.len().saturating_sub(1);
        let doubled = |sight: &Sight| sight.two_at_once || sight.backfills > 1 || sight.streamings > 1;
        Course {
            moments: [
                ("first backfill Job".to_owned(), spread(|sight| sight.first_backfill)),
                ("backfill completed".to_owned(), spread(|sight| sight.backfilled)),
                ("running".to_owned(), spread(|sight| sight.running)),
            ]
            .into(),
            curve: (0..=20).filter_map(|part| running.get(last * part / 20).copied()).collect(),
            doubles: sights.iter().filter(|(_, sight)| doubled(sight)).count(),
            ..Course::default()
        }
    }

    fn audit(&self) -> crate::audit_log::AuditLog {
        // A place has a control plane of its own, and that has an audit log.
        self.place.fixture.cluster().audit_log().unwrap_or_else(|| panic!("no audit log"))
    }

    fn processor(&self) -> Processor {
        let plane = self.place.fixture.cluster().control_plane().map(crate::ControlPlane::pids);
        Processor::now(self.operator, &plane.unwrap_or_default())
    }
}
