use std::collections::BTreeSet;

use arcane_common::identity::Uid;
use jiff::Timestamp;

use crate::stream::observed::{Refusal, RunFailure};

/// What this process remembers of a stream. Losing it costs a request or two, never a rule.
#[derive(Clone, Debug)]
pub struct StreamMemory {
    /// The stream.
    pub uid: Uid,
    /// Whether no pod runs but those of Jobs that we see.
    pub pods_clear: bool,
    /// Whether there may be something of it that this process did, and that the watches will show only later, or never.
    pub in_doubt: bool,
    /// Since when a Job of it is seen without a ready pod.
    pub without_pod: Option<(Uid, Timestamp)>,
    /// How many times in a row its streaming Job ended well at once.
    pub quick_ends: u32,
    /// Names of Jobs that turned out to be somebody else's.
    pub taken_names: BTreeSet<String>,
    /// Names of CronJobs that turned out to be somebody else's.
    pub taken_cron_jobs: BTreeSet<String>,
    /// The Job that the API server refused.
    pub refused: Option<RefusedJob>,
    /// The reason and message that were last told by an event.
    pub told: Option<(String, String)>,
    /// What was last told of a run that failed.
    pub told_run: Option<RunFailure>,
}

/// A Job that the API server refused.
#[derive(Clone, Debug)]
pub struct RefusedJob {
    /// What was refused: generation of the stream and hash of the template.
    pub what: (i64, String),
    /// How often in a row.
    pub times: u32,
    /// Its words, and when to try again.
    pub refusal: Refusal,
}

impl StreamMemory {
    pub(super) fn of(uid: Uid) -> Self {
        Self {
            uid,
            pods_clear: false,
            in_doubt: false,
            without_pod: None,
            quick_ends: 0,
            taken_names: BTreeSet::new(),
            taken_cron_jobs: BTreeSet::new(),
            refused: None,
            told: None,
            told_run: None,
        }
    }

    /// What the watches show may lack something of our own: nothing is known for certain until a list has shown it.
    pub fn doubts_watches(&mut self) {
        self.pods_clear = false;
        self.in_doubt = true;
    }
}
