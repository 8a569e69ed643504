use arcane_common::identity::{ObjectName, StreamKey, Uid};

/// The streams of a class at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many of them may be unavailable at a time.
    pub max_unavailable: usize,
    /// How many seconds a pod must have been ready for its stream to be available.
    pub min_ready_seconds: u64,
    /// Whether the class says that it is being updated.
    pub is_under_way: bool,
    /// Those that are to stream: not suspended, not on their way out, not on a schedule.
    pub members: Vec<Member>,
}

/// A stream that is to stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The stream.
    pub stream: StreamKey,
    /// The hash of its template and the class's `secretRefs` as they are now; `None` if no Job can be made of them.
    pub target: Option<String>,
    /// What the API server thinks of a Job of its template as it is now.
    pub template: Judgement,
    /// How it is.
    pub state: State,
}

/// What the API server thinks of a Job that would be made of a template (its condition `Valid`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was not asked yet.
    Pending,
    /// It takes one.
    Valid,
    /// It refuses one made of this template.
    Refused(ObjectName),
}

/// How a stream is that is to stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A pod of its Job has been ready for long enough, and the Job is what would be made today.
    Current,
    /// Its Job was made of an earlier template.
    Outdated {
        /// The Job.
        job: Uid,
        /// Whether a pod of it is ready.
        ready: bool,
    },
    /// It is about to delete an outdated Job; no watch shows that yet.
    Taken,
    /// Its Job is on its way out, isn't there, or has no pod yet that has been ready for long enough.
    Unavailable,
    /// It has failed with a Job of today's template.
    Failed,
    /// It has no streaming Job that could be replaced or waited for: it backfills, has failed earlier or otherwise, or
    /// nothing can be made for it.
    Apart,
}
