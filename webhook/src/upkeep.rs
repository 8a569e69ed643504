//! What the webhook keeps in order by itself: the certificate it serves, the Secret of its authority, its registration.
//!
//! One look after another: gather what there is, plan (two pure plans: [`arcane_certs::plan()`] and
//! [`crate::registration::plan`]), apply. Every replica serves and signs for itself; the holder of the Lease writes.

mod apply;
mod certificate_files;
mod gather;
mod own_objects;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arcane_certs::{Leaf, Lifetimes, Memory};
use arcane_process::cluster::briefly;
use arcane_process::health::Health;
use arcane_process::leadership::{Leadership, NotLeading};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::sync::{Notify, watch};

pub use own_objects::OwnObjects;

use crate::metrics::Metrics;
use crate::reference_caches::ReferenceCaches;
use crate::registration::{self, Settings};
use crate::serving::{CannotServe, Certificate};
use certificate_files::CertificateFiles;

/// The name under which readiness depends on the certificate.
pub const CERTIFICATE: &str = "certificate";

/// The first pause after something failed; it doubles each time.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// How often files are looked at: they change without telling.
const FILES_EVERY: SignedDuration = SignedDuration::from_secs(2);

/// Where the served certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// Our own authority, in a Secret.
    Own(Lifetimes),
    /// Somebody else's: files in this directory.
    Files(PathBuf),
}

/// What is named in the command line.
#[derive(Clone, Debug)]
pub struct Names {
    /// The namespace of our Secret.
    pub namespace: String,
    /// The name of our Secret.
    pub secret: String,
    /// The ClusterRole that owns what we create.
    pub owner: Option<String>,
}

/// Keeps certificate, Secret and registration in order.
pub struct Upkeep {
    /// The API server.
    pub client: Client,
    /// What our objects are called.
    pub names: Names,
    /// How we are registered.
    pub settings: Settings,
    /// Where the certificate comes from.
    pub source: CertificateSource,
    /// The classes, and the kinds that there are.
    pub references: ReferenceCaches,
    /// Our own objects, as they are.
    pub own: OwnObjects,
    /// Is told of every change of these two.
    pub changed: Arc<Notify>,
    /// Whether this replica holds the Lease.
    pub writer: watch::Receiver<Option<Leadership>>,
    /// What is served.
    pub certificate: Certificate,
    /// Whether there is a certificate.
    pub health: Health,
    /// Figures for machines.
    pub metrics: Metrics,
}

/// Why something couldn't be kept in order. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The API server says no, or nothing.
    #[error("can't {doing}: {}", briefly(.source))]
    Api {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// We hold the Lease no longer.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// Our authority can't be made.
    #[error(transparent)]
    Authority(#[from] arcane_certs::AuthorityError),
    /// A certificate can't be made or read.
    #[error(transparent)]
    ServingPair(#[from] arcane_certs::ServingPairError),
    /// A certificate can't be served.
    #[error(transparent)]
    CannotServe(#[from] CannotServe),
    /// Nobody would accept the certificate in the files.
    #[error(
        "the certificate in {directory} {problem}; put one there that the API server accepts, it is taken up at once"
    )]
    Unfit {
        /// Where.
        directory: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The files aren't there.
    #[error("can't read {file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Trouble {
    /// Whether somebody else wrote first: then there is something new to look at, and nothing to tell.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(**source, kube::Error::Api(ref status) if status.code == 409))
    }
}

/// What is remembered from one look to the next.
#[derive(Debug)]
struct State {
    started: Instant,
    memory: Memory,
    served: Option<Leaf>,
    files: CertificateFiles,
}

impl Upkeep {
    /// Looks and acts until it is dropped.
    pub async fn keep(mut self) {
        let mut state = State {
            started: Instant::now(),
            memory: Memory::default(),
            served: None,
            files: CertificateFiles::default(),
        };
        let mut retry = RETRY;
        let mut told = String::new();
        loop {
            let looked = self.look(&mut state).await;
            self.tell_health(&state, looked.as_ref().err());
            match looked {
                Ok(look_again) => {
                    (retry, told) = (RETRY, String::new());
                    self.wait(look_again).await;
                }
                Err(trouble) => {
                    // Said once per news, not once per attempt.
                    let said = trouble.to_string();
                    if told != said && !trouble.is_conflict() {
                        tracing::warn!("certificate or registration not in order yet: {said}");
                        told = said;
                    }
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
            }
        }
    }

    /// One look: gather, plan, apply. Gives when to look again at the latest.
    async fn look(&mut self, state: &mut State) -> Result<Timestamp, Trouble> {
        let leadership = self.writer.borrow_and_update().clone();
        let found = self.gather(leadership.is_some()).await?;
        let (trust, actions, look_again) = match &self.source {
            CertificateSource::Own(lifetimes) => {
                let observed = found.certificates(state);
                let plan = arcane_certs::plan(&observed, lifetimes);
                state.memory = plan.memory;
                let trust = plan.bundle.map_or(registration::Trust::NotYet, registration::Trust::Bundle);
                (trust, plan.actions, plan.look_again)
            }
            CertificateSource::Files(_) => {
                let serves = self.serve_files(state, &found)?;
                let trust =
                    if serves { state.files.trust(&found.published, found.now) } else { registration::Trust::NotYet };
                (trust, Vec::new(), found.now + FILES_EVERY)
            }
        };
        self.apply(state, &found, &actions, trust, leadership.as_ref()).await?;
        Ok(look_again)
    }

    /// Until something has changed, or it is time.
    async fn wait(&mut self, look_again: Timestamp) {
        let pause = look_again.duration_since(Timestamp::now());
        let pause = Duration::try_from(pause).unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.changed.notified() => {}
            Ok(()) = self.writer.changed() => {}
        }
    }

    fn tell_health(&self, state: &State, trouble: Option<&Trouble>) {
        let now = Timestamp::now();
        match (&state.served, trouble) {
            (Some(leaf), _) if leaf.validity.contains(now) => self.health.ready(CERTIFICATE),
            (Some(leaf), _) => self.health.not_ready(
                CERTIFICATE,
                format!("it is valid from {} to {} only", leaf.validity.not_before, leaf.validity.not_after),
            ),
            (None, Some(trouble)) => self.health.not_ready(CERTIFICATE, trouble.to_string()),
            (None, None) => {
                self.health
                    .not_ready(CERTIFICATE, "there is none yet; the replica that holds the Lease makes the authority");
            }
        }
        self.metrics.certificate_ends(state.served.map_or(Timestamp::UNIX_EPOCH, |leaf| leaf.validity.not_after));
    }
}
