//! The process: what starts after what, and how it ends.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arcane_process::cluster::{self, CannotConnect};
use arcane_process::ending::Signals;
use arcane_process::health::Health;
use arcane_process::leadership::{LeaderElector, Leadership, LeaseTiming};
use arcane_process::namespaces::Namespaces;
use arcane_process::pages::{self, CannotListen};
use kube::Client;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::args::{Args, Reached};
use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::reference_caches::ReferenceCaches;
use crate::reference_gatherer::ReferenceGatherer;
use crate::registration::{Callers, Settings};
use crate::serving::{self, Certificate, Ending};
use crate::upkeep::{self, CertificateSource, Names, OwnObjects, Upkeep};
use crate::{Webhook, router};

/// Why the process ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A flag makes no sense.
    #[error("{0}")]
    Args(String),
    /// No cluster to work on.
    #[error(transparent)]
    CannotConnect(#[from] CannotConnect),
    /// A port can't be opened.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// Signals can't be received.
    #[error("can't receive signals")]
    Signals(#[source] io::Error),
    /// Something that never ends has ended.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs the webhook until SIGTERM or SIGINT, or until it can't go on.
///
/// # Errors
/// Whatever makes it impossible to go on; a supervisor is expected to start the process again.
pub async fn run(args: Args) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    run_until(args, async move { signals.any().await }).await
}

/// Runs the webhook until `told` ends, or until it can't go on.
///
/// # Errors
/// See [`run`].
pub async fn run_until(args: Args, told: impl Future<Output = ()>) -> Result<(), RunError> {
    let source = match &args.certificate_dir {
        Some(directory) => CertificateSource::Files(directory.clone()),
        None => CertificateSource::Own(args.lifetimes().map_err(RunError::Args)?),
    };
    let health = Health::waiting_for([upkeep::CERTIFICATE]);
    for kind in ReferenceCaches::KINDS {
        health.not_ready(kind, "not listed yet");
    }
    let metrics = Metrics::new();
    let (stop, stopped) = watch::channel(false);
    let mut pages_served = JoinSet::new();
    let (health_port, metrics_port) = (
        pages::listen("--health-addr", args.health_addr()).await?,
        pages::listen("--metrics-addr", args.metrics_addr()).await?,
    );
    pages_served.spawn(pages::serve(health.clone().router(), health_port, stopped.clone()));
    pages_served.spawn(pages::serve(metrics.clone().router(), metrics_port, stopped));
    let listener = TcpListener::bind(args.listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| CannotListen { address: args.listen, flag: "--listen", source })?;

    let mut told = std::pin::pin!(told);
    let outcome = tokio::select! {
        outcome = work(&args, source, listener, &health, &metrics, &mut told) => outcome,
        _ = pages_served.join_next() => Err(RunError::Ended("the health or metrics server")),
    };
    let _ = stop.send(true);
    outcome
}

async fn work(
    args: &Args,
    source: CertificateSource,
    listener: TcpListener,
    health: &Health,
    metrics: &Metrics,
    told: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let (client, namespace) = cluster::connect().await?;
    let namespace = args.own_namespace.clone().unwrap_or(namespace);

    let namespaces = Namespaces::of(&args.limits.namespaces);
    namespaces.tell();
    let changed = Arc::new(Notify::new());
    let (references, watch_references) = ReferenceCaches::watching(&client, &namespaces, &changed);
    let secret = matches!(source, CertificateSource::Own(_)).then_some((namespace.as_str(), args.secret_name.as_str()));
    let (own, watch_own) = OwnObjects::watching(&client, secret, &args.configuration_name, &changed);
    let (writer_says, writer) = watch::channel(None);
    let certificate = Certificate::none();
    let ending = Ending::not_yet();
    let webhook = Arc::new(Webhook {
        references: ReferenceGatherer::new(client.clone(), references.clone()).limited_to(namespaces.clone()),
        missing_references: args.missing_references.clone(),
        metrics: metrics.clone(),
    });
    let upkeep = Upkeep {
        client: client.clone(),
        names: Names {
            namespace: namespace.clone(),
            secret: args.secret_name.clone(),
            owner: args.owner_cluster_role.clone(),
        },
        settings: Settings {
            name: args.configuration_name.clone(),
            reached: args.reached(),
            callers: Callers { ours: args.skip_users.clone(), cluster: matches!(args.reached(), Reached::Service(_)) },
            failure_policy: args.failure_policy,
            namespaces: args.namespaces_judged(),
        },
        source,
        references: references.clone(),
        own,
        changed,
        writer,
        certificate: certificate.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
    };

    let (end_election, election_ends) = watch::channel(false);
    let election = Election {
        client,
        namespace,
        lease: args.lease_name.clone(),
        identity: args.identity(),
        owner: args.owner_cluster_role.clone(),
        says: writer_says,
        metrics: metrics.clone(),
    };
    let election = tokio::spawn(election.take_part(election_ends));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        watch_references.await;
        "a watch"
    });
    tasks.spawn(async move {
        watch_own.await;
        "a watch"
    });
    tasks.spawn({
        let health = health.clone();
        async move {
            if references.synced(|kind| health.ready(kind)).await {
                tracing::info!("caches are filled");
                // Judging begins with full caches: until then the certificate is not looked after, so nobody calls.
                upkeep.keep().await;
            }
            "the upkeep of certificate and registration"
        }
    });
    let mut server = tokio::spawn(serving::serve(router(webhook), listener, certificate, ending.clone()));

    let outcome = tokio::select! {
        ended = tasks.join_next() => Err(RunError::Ended(ended.and_then(Result::ok).unwrap_or("a task"))),
        _ = &mut server => Err(RunError::Ended("the HTTPS server")),
        () = told => Ok(()),
    };
    if outcome.is_ok() {
        tracing::info!("ending");
        // First nobody is sent to us any more; then who has a connection is asked to close it; then it is over.
        health.not_ready("running", "this replica is ending");
        ending.last_answers();
        // Another replica may write at once.
        let _ = end_election.send(true);
        tokio::time::sleep(args.shutdown_delay()).await;
    }
    ending.end();
    if outcome.is_ok() {
        let _ = server.await;
    }
    let _ = end_election.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(5), election).await;
    outcome
}

/// Takes part in the choice of the replica that writes, again and again.
struct Election {
    client: Client,
    namespace: String,
    lease: String,
    identity: String,
    owner: Option<String>,
    says: watch::Sender<Option<Leadership>>,
    metrics: Metrics,
}

impl Election {
    async fn take_part(self, mut ends: watch::Receiver<bool>) {
        loop {
            // Without an owner, the Lease stays when we are uninstalled; that is no reason not to work.
            let owner = Owner::find(&self.client, self.owner.as_deref()).await.unwrap_or(Owner::None);
            let timing = LeaseTiming::default();
            let elector = LeaderElector::new(self.client.clone(), &self.namespace, &self.lease, &self.identity, timing);
            let mut elector = elector.owned_by(owner.reference().cloned());
            let is_over = tokio::select! {
                () = self.lead(&mut elector) => false,
                _ = ends.wait_for(|ends| *ends) => true,
            };
            self.says.send_replace(None);
            self.metrics.writes(false);
            if is_over {
                if let Err(error) = elector.release().await {
                    tracing::warn!(%error, "the Lease could not be given back; it runs out by itself");
                }
                return;
            }
        }
    }

    /// Leads until it is lost.
    async fn lead(&self, elector: &mut LeaderElector) {
        let leadership = elector.acquire().await;
        self.says.send_replace(Some(leadership));
        self.metrics.writes(true);
        let lost = elector.keep().await;
        tracing::warn!("this replica writes no more: {lost}");
    }
}
