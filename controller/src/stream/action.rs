//! What is to be done about one stream, as plain data.

use std::time::Duration;

use arcane_common::{
    api::backfill_request::BackfillRequestPhase,
    identity::{ObjectName, Uid},
    stream::Phase,
};

/// A decision: the writes in their order, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to write, in this order; what follows a write that fails is not done.
    pub actions: Vec<Action>,
    /// When to look again though nothing has changed.
    pub look_again: Option<Duration>,
    /// The decision needs a live list of the stream's pods. Nothing else is planned then.
    pub needs_pods: bool,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create the BackfillRequest that precedes a new stream's first Job.
    CreateInitialRequest {
        /// Its name.
        name: String,
    },
    /// Make the stream the owner of a request that a user created, so that it goes with the stream.
    OwnRequest {
        /// The request.
        request: ObjectName,
    },
    /// Write a request's status.
    WriteRequestStatus {
        /// The request.
        request: ObjectName,
        /// What it shall say.
        status: RequestStatus,
    },
    /// Set a request's `spec.completed`, and note that this was done.
    MarkCompleted {
        /// The request.
        request: ObjectName,
    },
    /// Delete a Job in foreground, if it is still the one meant.
    DeleteJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// Why.
        cause: DeleteCause,
    },
    /// End a run of a CronJob in foreground, if it is still the one meant.
    EndRun {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
    },
    /// Delete a CronJob and its runs in foreground, if it is still the one meant.
    DeleteCronJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// Why.
        cause: DeleteCause,
    },
    /// Let a CronJob start no run, so that a backfill can run.
    SuspendCronJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// Whose backfill.
        request: ObjectName,
    },
    /// Let a CronJob that was suspended start runs again.
    ResumeCronJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
    },
    /// Let a CronJob's coming runs be those that the stream asks for today. A run in progress goes on as it is.
    UpdateCronJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
    },
    /// Take over a Job of the older operator: annotate it, and take its TTL off.
    StampJob {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// What it is for.
        role: Role,
    },
    /// Let a finished backfill Job expire.
    SetJobTtl {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Uid,
        /// Seconds after its end.
        seconds: i32,
    },
    /// Note on the stream what failed.
    NoteFailure {
        /// The hash of the template at that time.
        template_hash: Option<String>,
        /// The hash of the template that the Job was made of.
        job_template_hash: Option<String>,
        /// The request whose backfill failed; `None` where the streaming Job did.
        request: Option<Uid>,
        /// Whether it had failed before we came.
        was_before_us: bool,
    },
    /// Write the stream's status where it differs.
    WriteStatus(StreamStatus),
    /// Write the stream's status ahead of creating a Job or letting a CronJob run: only if nobody has written the stream since it was seen.
    Announce(StreamStatus),
    /// Create a Job in a dry run: whether it would be refused again is found out before it is announced.
    TryJob {
        /// Its name.
        name: String,
        /// What it is for.
        role: Role,
    },
    /// Create a CronJob in a dry run, as with a Job.
    TryCronJob {
        /// Its name.
        name: String,
    },
    /// Create a CronJob.
    CreateCronJob {
        /// Its name.
        name: String,
    },
    /// Create a Job.
    CreateJob {
        /// Its name.
        name: String,
        /// What it is for.
        role: Role,
    },
}

/// What a Job is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The stream itself.
    Streaming,
    /// The backfill of a request.
    Backfill {
        /// The request.
        request: ObjectName,
    },
}

/// Why a Job is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteCause {
    /// The stream is suspended.
    Suspended,
    /// The stream's spec has changed.
    SpecChanged,
    /// Its template has changed, and its turn has come.
    TemplateChanged,
    /// The user asked for a restart.
    RestartRequested,
    /// The stream does something else now.
    Unwanted,
    /// It ended well and is started again.
    Ended {
        /// Whether it ended at once.
        quickly: bool,
    },
    /// It failed before, and the stream has left `Failed`.
    Recovering,
    /// Its name is needed.
    MakeRoom,
}

impl DeleteCause {
    /// Why a Job that was right until then is replaced, for people; `None` where phase and condition tell.
    pub fn of_a_replacement(self) -> Option<&'static str> {
        match self {
            Self::SpecChanged => Some("the stream's spec has changed"),
            Self::TemplateChanged => Some("its template or the class's secretRefs have changed"),
            Self::RestartRequested => Some("the annotation arcane/restarted-at has a new value"),
            Self::Suspended | Self::Unwanted | Self::Ended { .. } | Self::Recovering | Self::MakeRoom => None,
        }
    }
}

/// What a request's status shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestStatus {
    /// The phase.
    pub phase: BackfillRequestPhase,
    /// A stable CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// The Job that does it; `None` leaves what stands there.
    pub job_name: Option<String>,
    /// Whether the stream accepts it by this.
    pub accepted: bool,
}

/// What a stream's status shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    /// The phase; `None` leaves it empty: such a stream is still new.
    pub phase: Option<Phase>,
    /// The Job in place.
    pub job_name: Option<String>,
    /// The conditions; `None` leaves them as they are.
    pub conditions: Option<Vec<Condition>>,
}

/// A condition of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub type_: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// A stable CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}
