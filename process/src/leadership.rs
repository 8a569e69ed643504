//! One controller at a time: leader election by a `coordination.k8s.io/v1` Lease.
//!
//! A leader that was cut off, or stood still, must not write once another may
//! lead. So every write of ours first asks [`Leadership::may_write`], which
//! compares the clock with the lease's deadline: the moment *before* the last
//! successful renewal was sent, plus the lease's duration, less a margin for
//! the write's own way to the server. The next leader counts the same duration
//! from a later moment, when it saw that renewal, on its own clock. No two
//! machines' clocks are compared, and all writes to the Lease name the
//! `resourceVersion` that was seen, so that of two rivals one loses.
//!
//! The clock is monotonic: on Linux it goes on while the process is stopped
//! (SIGSTOP, a starved CPU), so who wakes up late finds the deadline passed. It
//! stands still while the whole machine sleeps (suspend to RAM, a paused VM):
//! who wakes from that believes in the lease until the next renewal, in seconds,
//! fails. Until then only the `resourceVersion` or UID that a write carries holds it off.
//!
//! Not kube-lease-manager: it keeps the expiry to itself, reckons it from the
//! wall clock of whoever wrote `renewTime`, and learns of its end by a task that
//! may itself have stood still.

mod lease;
mod plan;

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ending::with_causes;

pub use self::plan::{Candidate, LeaseFacts, LeasePlan, Observed, plan};

/// A name for one process in a Lease: the host's, and something random. Each call makes a new one.
pub fn new_identity() -> String {
    let host = hostname::get().unwrap_or_default();
    format!("{}_{:016x}", host.to_string_lossy(), fastrand::u64(..))
}

/// How long things take in an election. The defaults are client-go's, but for
/// quicker renewals and retries.
#[derive(Clone, Debug)]
pub struct LeaseTiming {
    /// How long a lease lasts after a renewal.
    pub duration: Duration,
    /// How long before the lease's end we stop writing: the time that a write
    /// may be under way.
    pub margin: Duration,
    /// The holder renews after a time from this range, by chance.
    pub renew_every: Range<Duration>,
    /// A holder that couldn't renew for this long gives up.
    pub renew_deadline: Duration,
    /// The pause before the Lease is looked at again: by one who waits for it,
    /// or after an error.
    pub retry: Duration,
    /// How long to wait for the API server's answer.
    pub request_timeout: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            margin: Duration::from_secs(2),
            renew_every: Duration::from_secs(2)..Duration::from_secs(5),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
        }
    }
}

impl LeaseTiming {
    /// How long we write after a renewal was sent.
    fn writable(&self) -> Duration {
        self.duration.saturating_sub(self.margin)
    }

    /// How long after the last renewal a holder gives up. Never later than it
    /// stops writing: a leader that does nothing helps nobody.
    fn give_up(&self) -> Duration {
        self.renew_deadline.min(self.writable())
    }

    fn until_renewal(&self) -> Duration {
        let Range { start, end } = self.renew_every;
        start + end.saturating_sub(start).mul_f64(fastrand::f64())
    }

    /// Less than `retry`, by up to a quarter, so that many who wait don't ask as one.
    fn until_retry(&self) -> Duration {
        self.retry.mul_f64(1.0 - 0.25 * fastrand::f64())
    }
}

/// Whether this process leads. Cheap to clone; everything that writes has one.
#[derive(Clone, Debug)]
pub struct Leadership {
    deadline: Deadline,
}

#[derive(Clone, Debug)]
enum Deadline {
    Never,
    /// None: the lease is lost or given back.
    Lease(watch::Receiver<Option<Instant>>),
}

impl Leadership {
    /// For a process that is the only one, as its user says.
    pub fn always() -> Self {
        Self { deadline: Deadline::Never }
    }

    /// To be asked right before each write.
    ///
    /// # Errors
    /// When the lease's deadline has passed, or the lease is lost or given back.
    pub fn may_write(&self) -> Result<(), NotLeading> {
        let Deadline::Lease(deadline) = &self.deadline else { return Ok(()) };
        match *deadline.borrow() {
            None => Err(NotLeading::Ended),
            Some(deadline) => {
                let now = Instant::now();
                if now < deadline { Ok(()) } else { Err(NotLeading::Late { by: now - deadline }) }
            }
        }
    }
}

/// Why this process must not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLeading {
    /// The lease wasn't renewed in time; another may lead.
    #[error("not written: this controller's lease ended {by:?} ago without being renewed, another may lead now")]
    Late {
        /// How long ago.
        by: Duration,
    },
    /// The lease was lost or given back.
    #[error("not written: this controller no longer leads")]
    Ended,
}

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub enum LostLeadership {
    /// The Lease could not be renewed for too long.
    #[error("leadership lost: the Lease {lease} could not be renewed for {since:?}")]
    NotRenewed {
        /// Namespace and name.
        lease: String,
        /// How long ago the last renewal was.
        since: Duration,
        /// The last attempt's error. None, if the process stood still.
        #[source]
        last_error: Option<LeaseError>,
    },
    /// Somebody else holds the Lease.
    #[error("leadership lost: the Lease {lease} is now held by {holder}")]
    TakenOver {
        /// Namespace and name.
        lease: String,
        /// Who.
        holder: String,
    },
    /// Somebody deleted the Lease, or took our name off it.
    #[error("leadership lost: the Lease {lease} was deleted or cleared by somebody else")]
    Cleared {
        /// Namespace and name.
        lease: String,
    },
}

/// A request about the Lease that failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server, or the way to it, says no.
    #[error("cannot {verb} the Lease {lease}: {}", reason(source))]
    Refused {
        /// `get`, `create` or `update`, as in a Role.
        verb: &'static str,
        /// Namespace and name.
        lease: String,
        /// What it says.
        source: kube::Error,
    },
    /// No answer came.
    #[error("cannot {verb} the Lease {lease}: no answer within {waited:?}")]
    NoAnswer {
        /// What was asked for.
        verb: &'static str,
        /// Namespace and name.
        lease: String,
        /// How long we waited.
        waited: Duration,
    },
}

impl LeaseError {
    /// Whether the server said that someone else wrote first: then our write
    /// has not happened, and will not.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// The API server's own words; kube prints the whole Status after them.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// Takes part in the election, holds the Lease, gives it back.
///
/// ```text
/// let leadership = elector.acquire().await;
/// select! { lost = elector.keep() => end the process, () = asked_to_stop => {} }
/// stop all workers; elector.release().await
/// ```
pub struct LeaderElector {
    api: Api<Lease>,
    name: String,
    /// Namespace and name, for people.
    full_name: String,
    identity: String,
    owner: Option<OwnerReference>,
    timing: LeaseTiming,
    seen: Option<Seen>,
    /// Whether `seen` is the answer to our own last write: then it is the
    /// newest, as far as we know, and needn't be read before the next.
    seen_is_newest: bool,
    has_written: bool,
    /// Right before the last successful renewal was sent.
    renewed: Option<Instant>,
    deadline: watch::Sender<Option<Instant>>,
}

/// The Lease, and what `plan` knows of it.
struct Seen {
    lease: Lease,
    observed: Observed,
}

impl LeaderElector {
    /// Takes part under this identity, which must be unique among all
    /// processes that run at the same time.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, timing: LeaseTiming) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            full_name: format!("{namespace}/{name}"),
            identity: identity.to_owned(),
            owner: None,
            timing,
            seen: None,
            seen_is_newest: false,
            has_written: false,
            renewed: None,
            deadline: watch::Sender::new(None),
        }
    }

    /// Should the Lease be missing, it is made with this owner, and goes with it.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<OwnerReference>) -> Self {
        self.owner = owner;
        self
    }

    /// Waits until we lead. Errors are logged and tried again, without end.
    pub async fn acquire(&mut self) -> Leadership {
        let mut said = String::new();
        loop {
            let mut pause = self.timing.until_retry();
            // Said once per news, not once per second.
            match self.try_to_lead().await {
                Ok(LeasePlan::Create | LeasePlan::TakeOver | LeasePlan::Renew) => break,
                Ok(LeasePlan::Wait { holder, until }) => {
                    pause = pause.min(until.saturating_duration_since(Instant::now()));
                    if said != holder {
                        tracing::info!(lease = self.full_name, identity = self.identity, holder, "waiting to lead");
                        said = holder;
                    }
                }
                Err(error) => {
                    let error = with_causes(&error);
                    if said != error {
                        tracing::warn!(lease = self.full_name, identity = self.identity, "cannot lead yet: {error}");
                        said = error;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
        tracing::info!(lease = self.full_name, identity = self.identity, "leading");
        Leadership { deadline: Deadline::Lease(self.deadline.subscribe()) }
    }

    /// Renews the Lease until it is lost. From then on [`Leadership::may_write`]
    /// says no, and the process must end.
    pub async fn keep(&mut self) -> LostLeadership {
        let lost = self.renew_until_lost().await;
        self.deadline.send_replace(None);
        lost
    }

    /// Stops leading, and says so in the Lease: the next need not wait for its end.
    /// All that writes must have stopped before.
    ///
    /// # Errors
    /// When it can't be written; then the Lease runs out by itself.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.deadline.send_replace(None);
        if !self.has_written {
            return Ok(());
        }
        match self.clear().await {
            // A renewal that was cut off may have come through: look again, once.
            Err(error) if error.is_conflict() => self.clear().await,
            outcome => outcome,
        }
    }

    async fn renew_until_lost(&mut self) -> LostLeadership {
        loop {
            tokio::time::sleep(self.timing.until_renewal()).await;
            let renewed = self.renewed.unwrap_or_else(Instant::now);
            let give_up = renewed + self.timing.give_up();
            let mut last_error = None;
            loop {
                // Before the attempt: whoever stood still for too long has lost,
                // even if the Lease still bears its name.
                if Instant::now() >= give_up {
                    return LostLeadership::NotRenewed {
                        lease: self.full_name.clone(),
                        since: renewed.elapsed(),
                        last_error,
                    };
                }
                let attempted = Instant::now();
                let error = match tokio::time::timeout_at(give_up, self.renew()).await {
                    Ok(Ok(None)) => break,
                    Ok(Ok(Some(lost))) => return lost,
                    Ok(Err(error)) => error,
                    Err(_) => LeaseError::NoAnswer {
                        verb: "renew",
                        lease: self.full_name.clone(),
                        waited: attempted.elapsed(),
                    },
                };
                tracing::warn!(lease = self.full_name, "leadership not renewed yet: {}", with_causes(&error));
                last_error = Some(error);
                let retry = Instant::now() + self.timing.until_retry();
                tokio::time::sleep_until(retry.min(give_up)).await;
            }
        }
    }

    /// One attempt to get the Lease.
    async fn try_to_lead(&mut self) -> Result<LeasePlan, LeaseError> {
        self.gather().await?;
        let plan = self.plan();
        self.apply(&plan).await?;
        Ok(plan)
    }

    /// One attempt to renew. A holder does nothing else: to get a lost Lease
    /// back would be to lead on with a gap, in which another may have led.
    async fn renew(&mut self) -> Result<Option<LostLeadership>, LeaseError> {
        self.gather().await?;
        let lease = self.full_name.clone();
        match self.plan() {
            plan @ LeasePlan::Renew => self.apply(&plan).await.map(|()| None),
            LeasePlan::Wait { holder, .. } => Ok(Some(LostLeadership::TakenOver { lease, holder })),
            LeasePlan::Create | LeasePlan::TakeOver => Ok(Some(LostLeadership::Cleared { lease })),
        }
    }

    async fn clear(&mut self) -> Result<(), LeaseError> {
        self.gather().await?;
        let Some(Seen { lease, observed }) = &self.seen else { return Ok(()) };
        if observed.facts.holder.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        let cleared = lease::released(lease, Timestamp::now());
        self.write("update", &cleared).await
    }

    fn plan(&self) -> LeasePlan {
        let me = Candidate { identity: &self.identity, has_written: self.has_written, duration: self.timing.duration };
        plan(self.seen.as_ref().map(|seen| &seen.observed), me, Instant::now())
    }

    /// Reads the Lease, unless what we have is the newest.
    async fn gather(&mut self) -> Result<(), LeaseError> {
        if self.seen_is_newest {
            return Ok(());
        }
        let found = self.answer("get", self.api.get_opt(&self.name)).await?;
        self.seen = found.map(|lease| self.seen_now(lease));
        Ok(())
    }

    async fn apply(&mut self, plan: &LeasePlan) -> Result<(), LeaseError> {
        let now = Timestamp::now();
        let duration = self.timing.duration;
        let (verb, lease) = match (plan, &self.seen) {
            (LeasePlan::Wait { .. }, _) => return Ok(()),
            (LeasePlan::Create, _) | (_, None) => ("create", {
                let created = lease::created(&self.name, &self.identity, duration, now);
                lease::owned(created, self.owner.clone())
            }),
            (LeasePlan::TakeOver, Some(seen)) => {
                ("update", lease::taken_over(&seen.lease, &self.identity, duration, now))
            }
            (LeasePlan::Renew, Some(seen)) => ("update", lease::renewed(&seen.lease, duration, now)),
        };
        let sent = Instant::now();
        self.write(verb, &lease).await?;
        self.renewed = Some(sent);
        self.deadline.send_replace(Some(sent + self.timing.writable()));
        Ok(())
    }

    /// Writes the Lease as it is given, which loses against any write that came
    /// after the read. Both may be cut off in the middle: by then it is noted
    /// that the Lease may have changed.
    async fn write(&mut self, verb: &'static str, lease: &Lease) -> Result<(), LeaseError> {
        let had_written = self.has_written;
        self.has_written = true;
        self.seen_is_newest = false;
        let parameters = PostParams::default();
        let written = match verb {
            "create" => self.answer(verb, self.api.create(&parameters, lease)).await,
            _ => self.answer(verb, self.api.replace(&self.name, &parameters, lease)).await,
        };
        match written {
            Ok(lease) => {
                self.seen = Some(self.seen_now(lease));
                self.seen_is_newest = true;
                Ok(())
            }
            Err(error) => {
                if error.is_conflict() {
                    self.has_written = had_written;
                }
                Err(error)
            }
        }
    }

    /// The Lease just read. Unchanged, it was seen since we saw it first.
    fn seen_now(&self, lease: Lease) -> Seen {
        let facts = lease::facts(&lease);
        let since = match &self.seen {
            Some(before) if before.observed.facts == facts => before.observed.since,
            _ => Instant::now(),
        };
        Seen { lease, observed: Observed { facts, since } }
    }

    async fn answer<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, LeaseError> {
        let waited = self.timing.request_timeout;
        match tokio::time::timeout(waited, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(LeaseError::Refused { verb, lease: self.full_name.clone(), source }),
            Err(_) => Err(LeaseError::NoAnswer { verb, lease: self.full_name.clone(), waited }),
        }
    }
}

#[cfg(test)]
mod tests;
