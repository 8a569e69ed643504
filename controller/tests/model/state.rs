//! What is kept of the world: small, and equal where nobody could tell the difference.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::Value;

/// A UID, a small number.
pub type Id = u8;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub cluster: Cluster,
    /// Who leads, and who led before and has one write on its way.
    pub operators: [Option<Operator>; 2],
    /// What may still happen.
    pub left: Budget,
    /// The first invariant that was broken.
    pub broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Broken {
    pub invariant: Invariant,
    pub how: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invariant {
    SingleWriter,
    BackfillOnce,
    BackfillFirst,
}

/// How often things may happen that don't come to an end by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Acts of the user.
    pub acts: u8,
    /// Times that a leader crashes, and another process takes over as it finds things.
    pub crashes: u8,
    /// Times that a leader is cut off while another takes over.
    pub takeovers: u8,
    /// Writes that are made, but whose answer is lost.
    pub lost_answers: u8,
    /// Times that a process stops waiting for its own writes, because a watch is ill.
    pub impatience: u8,
    /// Pods that fail.
    pub failures: u8,
    /// Streaming pods that end well by themselves.
    pub ends: u8,
    /// Pods that the Job controller makes for a Job which is being deleted already.
    pub late_pods: u8,
}

/// What the API server stores, and what only the world knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    pub streams: Log<Option<Stream>>,
    pub requests: Log<Vec<Request>>,
    pub jobs: Log<Vec<Job>>,
    pub pods: Vec<Pod>,
    /// Jobs that have had their pod.
    pub started: BTreeSet<Id>,
    pub ids: Id,
    /// Streams that were created unsuspended and are still without their initial backfill.
    pub owed: BTreeSet<Id>,
    /// Requests whose Job has completed.
    pub done: BTreeSet<Id>,
}

/// The objects of one kind, at each version that somebody still sees; the last is how they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log<T>(VecDeque<Arc<T>>);

impl<T> Log<T> {
    pub fn of(value: T) -> Self {
        Self(VecDeque::from([Arc::new(value)]))
    }

    /// How they were so many versions ago.
    pub fn seen(&self, behind: u8) -> &Arc<T> {
        let last = self.0.len() - 1;
        &self.0[last.saturating_sub(usize::from(behind))]
    }

    pub fn now(&self) -> &T {
        self.seen(0)
    }

    pub fn push(&mut self, value: T) {
        self.0.push_back(Arc::new(value));
    }

    /// Forgets what nobody sees any more.
    pub fn trim(&mut self, furthest: u8) {
        while self.0.len() > usize::from(furthest) + 1 {
            self.0.pop_front();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    pub id: Id,
    pub generation: u8,
    pub spec: u8,
    pub suspended: bool,
    pub deleting: bool,
    pub restarted: u8,
    /// The annotation `arcane/last-failure`.
    pub note: Option<String>,
    pub status: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub name: String,
    pub id: Id,
    pub owners: Vec<Id>,
    pub completed: bool,
    pub completed_written: bool,
    pub phase: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    pub job_name: Option<String>,
    /// The stream that accepted it.
    pub accepted_by: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    pub name: String,
    pub id: Id,
    /// The stream that controls it.
    pub owner: Id,
    /// The request whose backfill it does.
    pub request: Option<(Id, String)>,
    pub spec: u8,
    pub generation: u8,
    pub restarted: u8,
    pub state: JobEnd,
    /// Whether its deletion was asked for, and whether that was before its end.
    pub deleting: Option<Deleted>,
    pub ttl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEnd {
    Unfinished,
    Succeeded,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deleted {
    WhileUnfinished,
    WhenFinished,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub job: Id,
    /// `None` while it runs, or takes its time to end.
    pub end: Option<PodEnd>,
    /// Whether it ended before anybody asked for the end of its Job.
    pub by_itself: bool,
    /// Whether the garbage collector knows of it while it deletes the Job.
    pub is_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodEnd {
    /// Its work was done.
    Well,
    Failed,
    /// It was told to end, and did so with exit code 0.
    Politely,
}

/// One process of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    /// How many versions its watch of each kind lags behind.
    pub behind: [u8; 3],
    /// By how many versions a watch may lag behind at most to show the process's own writes (`caches/own_writes.rs`).
    pub own_writes: [Option<u8>; 3],
    /// The stream that its memory is about (`caches/memory.rs`).
    pub memory: Option<Memory>,
    /// A plan that is being carried out.
    pub work: Option<Work>,
    /// Another leads now. What it had sent before may still arrive.
    pub is_over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub stream: Id,
    pub pods_clear: bool,
    pub in_doubt: bool,
    pub taken_names: BTreeSet<String>,
}

/// What was decided about, and how far its plan has been carried out. The plan follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    pub basis: Basis,
    /// Whether somebody has written the stream since the decision.
    pub has_moved: bool,
    pub next: usize,
}

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Basis {
    pub stream: Arc<Option<Stream>>,
    pub requests: Arc<Vec<Request>>,
    pub jobs: Arc<Vec<Job>>,
    pub pods: Known,
    pub taken_names: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    Nothing,
    Clear,
    Listed(Vec<Pod>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Stream,
    Request,
    Job,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Stream, Self::Request, Self::Job];
}

impl State {
    pub fn breaks(&mut self, invariant: Invariant, how: &'static str) {
        self.broken.get_or_insert(Broken { invariant, how });
    }

    pub fn stream(&self) -> Option<&Stream> {
        self.cluster.streams.now().as_ref()
    }

    /// Writes the stream.
    pub fn put_stream(&mut self, stream: Option<Stream>) {
        if *self.cluster.streams.now() != stream {
            self.cluster.streams.push(stream);
            self.moved_on(Kind::Stream);
        }
    }

    pub fn put_requests(&mut self, requests: Vec<Request>) {
        if *self.cluster.requests.now() != requests {
            self.cluster.requests.push(requests);
            self.moved_on(Kind::Request);
        }
    }

    pub fn put_jobs(&mut self, jobs: Vec<Job>) {
        if *self.cluster.jobs.now() != jobs {
            self.cluster.jobs.push(jobs);
            self.moved_on(Kind::Job);
        }
    }

    pub fn change_stream(&mut self, change: impl FnOnce(&mut Stream)) {
        let mut stream = self.cluster.streams.now().clone();
        if let Some(stream) = &mut stream {
            change(stream);
        }
        self.put_stream(stream);
    }

    pub fn change_job(&mut self, id: Id, change: impl FnOnce(&mut Job)) {
        let mut jobs = self.cluster.jobs.now().clone();
        if let Some(job) = jobs.iter_mut().find(|job| job.id == id) {
            change(job);
        }
        self.put_jobs(jobs);
    }

    pub fn change_request(&mut self, id: Id, change: impl FnOnce(&mut Request)) {
        let mut requests = self.cluster.requests.now().clone();
        if let Some(request) = requests.iter_mut().find(|request| request.id == id) {
            change(request);
        }
        self.put_requests(requests);
    }

    pub fn new_id(&mut self) -> Id {
        self.cluster.ids += 1;
        self.cluster.ids
    }

    fn moved_on(&mut self, kind: Kind) {
        for operator in self.operators.iter_mut().flatten() {
            operator.behind[kind as usize] += 1;
            if let Some(most) = &mut operator.own_writes[kind as usize] {
                *most += 1;
            }
            if let Some(work) = &mut operator.work {
                work.has_moved |= kind == Kind::Stream;
            }
        }
        self.trim();
    }

    /// Forgets versions that nobody will see.
    pub fn trim(&mut self) {
        let furthest = |kind: Kind| {
            let lags = self.operators.iter().flatten().filter(|operator| !operator.is_over);
            lags.map(|operator| operator.behind[kind as usize]).max().unwrap_or_default()
        };
        let furthest = Kind::ALL.map(furthest);
        self.cluster.streams.trim(furthest[0]);
        self.cluster.requests.trim(furthest[1]);
        self.cluster.jobs.trim(furthest[2]);
    }
}
