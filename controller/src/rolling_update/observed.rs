use arcane_common::identity::{StreamKey, Uid};

/// The streams of a class at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many of them may be without a running Job at a time.
    pub max_unavailable: usize,
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
    /// How it is.
    pub state: State,
}

/// How a stream is that is to stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A pod of its Job is ready, and the Job is what would be made today.
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
    /// Its Job is on its way out, isn't there, or has no ready pod yet.
    Unavailable,
    /// It has failed with a Job of today's template.
    Failed,
    /// It has no streaming Job that could be replaced or waited for: it backfills, has failed earlier or otherwise, or
    /// nothing can be made for it.
    Apart,
}
