//! What the proxy can do to an operator.

use std::time::Duration;

use http::Method;
use tokio::sync::watch;

/// A write: POST, PUT, PATCH, DELETE; but not of Leases, and no review of one's own rights, as these are no part of any story.
/// Which of them have a number can be narrowed further: see [`super::RequestProxy::start_numbering`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number, from 1 on.
    pub number: usize,
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The HTTP status of the API server's answer, if it has given one.
    pub status: Option<u16>,
    /// The resource version in that answer.
    pub revision: Option<String>,
}

/// What the proxy does to the operator, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends at a write, as if the operator had been killed there.
    Cut(Cut),
    /// A write goes wrong; everything else goes on.
    Wrong {
        /// The number of the write, counted from the start of the proxy.
        nth_write: usize,
        /// In which way.
        how: Wrong,
    },
    /// A watch goes wrong.
    Watch {
        /// Which one: the plural of its kind.
        plural: &'static str,
        /// At which of its events, counted from the start of the proxy, over all watches of the kind; bookmarks don't count.
        nth_event: usize,
        /// In which way.
        how: Watching,
    },
}

/// At this write the proxy stops: it gives no answer, ends all connections, and refuses new ones until it is disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of the write, counted from the start of the proxy.
    pub nth_write: usize,
    /// Whether the API server gets the write.
    pub instant: CutInstant,
}

/// When a write is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutInstant {
    /// The API server never gets it.
    BeforeSend,
    /// The API server has done it; the operator never hears of it.
    AfterCommit,
}

/// How a write goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Not done: 409, as if somebody else had written.
    Conflict,
    /// Not done: 429, with a `Retry-After` of a second.
    TooManyRequests,
    /// Not done: 500.
    InternalError,
    /// Not done: 503.
    Unavailable,
    /// Done, but the answer is 504.
    TimeoutAfterCommit,
    /// Done, but the connection is broken before the answer.
    ResetAfterCommit,
    /// Kept back for so long, then done and answered, whether anybody still waits for that or not.
    Stall(Duration),
    /// Never sent, never answered; the connection stays.
    BlackHole,
}

/// How a watch goes wrong at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watching {
    /// The event never comes. After a while the watch is told to list again, or nobody could ever know.
    Drop,
    /// It, and all that follow, come so much later.
    Delay(Duration),
    /// It comes twice.
    Duplicate,
    /// The next one comes before it. After a while the watch is told to list again, as no API server does this.
    Reorder,
    /// In its place comes 410 Gone, and the end.
    Gone,
    /// The connection ends in the middle of its JSON document.
    CutWithin,
}

impl From<Cut> for Fault {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

/// What happened, to be told once: a write, or an event of a watch (then the number is the event's).
pub(super) type Fire = watch::Sender<Option<Write>>;

/// An armed fault: tells when it has happened.
#[derive(Clone, Debug)]
pub struct Armed(pub(super) watch::Receiver<Option<Write>>);

impl Armed {
    /// Waits until the fault has happened. If it is a cut, every write that had been sent before has been answered by the API
    /// server then: from here on nothing changes on behalf of the operator. Never ends if the write or event never comes.
    pub async fn fired(&mut self) -> Write {
        match self.0.wait_for(Option::is_some).await.map(|write| write.clone()) {
            Ok(Some(write)) => write,
            _ => std::future::pending().await, // disarmed before
        }
    }

    /// The write, if the fault has happened.
    pub fn has_fired(&self) -> Option<Write> {
        self.0.borrow().clone()
    }
}
