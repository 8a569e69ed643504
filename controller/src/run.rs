//! The process: what starts after what, and how it ends.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use arcane_common::api::installed;
use arcane_process::{
    cluster::{self, CannotConnect},
    ending::{Signals, with_causes},
    health::Health,
    leadership::{LeaderElector, Leadership, LeaseTiming, LostLeadership},
    namespaces::Namespaces,
    pages::{self, CannotListen},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    args::RunArgs,
    caches::{Caches, OURS},
    clock::Clock,
    context::Context,
    events::Events,
    metrics::Metrics,
    reconcile, watches,
    work_queue::WorkQueue,
};

const LOOK_FOR_CRDS_AGAIN: Duration = Duration::from_secs(2);
/// How long reconciles that are under way may take when the process ends.
const GRACE: Duration = Duration::from_secs(10);
/// And events that nobody has published yet; conditions say the same, and whoever leads next shall not wait long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why the process ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster to work on.
    #[error(transparent)]
    CannotConnect(#[from] CannotConnect),
    /// A port can't be opened.
    #[error(transparent)]
    Listen(#[from] CannotListen),
    /// Signals can't be received.
    #[error("can't receive signals")]
    Signals(#[source] io::Error),
    /// Another process leads.
    #[error(transparent)]
    LostLeadership(#[from] LostLeadership),
    /// One of our CustomResourceDefinitions was removed or replaced by an older one.
    #[error("a CustomResourceDefinition was removed or replaced by an older one: {0}")]
    Downgraded(String),
    /// Something that never ends has ended.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs the controller until SIGTERM or SIGINT, or until it can't go on.
///
/// # Errors
/// Whatever makes it impossible to go on; a supervisor is expected to start the process again.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let health = Health::waiting_for(["crds"]);
    let metrics = Metrics::new();
    let (stop, stopped) = watch::channel(false);
    let mut servers = JoinSet::new();
    let (health_port, metrics_port) = (
        pages::listen("--health-addr", args.health_addr).await?,
        pages::listen("--metrics-addr", args.metrics_addr).await?,
    );
    servers.spawn(pages::serve(health.clone().router(), health_port, stopped.clone()));
    servers.spawn(pages::serve(metrics.clone().router(), metrics_port, stopped));
    let outcome = tokio::select! {
        outcome = control(&args, &health, &metrics, signals.any()) => outcome,
        _ = servers.join_next() => Err(RunError::Ended("the health or metrics server")),
    };
    let _ = stop.send(true);
    outcome
}

/// Waits for its CRDs and its turn, then works until it is told to stop or can't go on.
async fn control(
    args: &RunArgs,
    health: &Health,
    metrics: &Metrics,
    signalled: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut signalled = std::pin::pin!(signalled);
    let (client, namespace) = cluster::connect_to_write().await?;
    let mut elector = args.leader_election.then(|| {
        let namespace = args.lease_namespace(&namespace);
        LeaderElector::new(client.clone(), namespace, &args.lease_name, &args.identity(), LeaseTiming::default())
    });
    let leadership = tokio::select! {
        leadership = wait_for_turn(&client, health, elector.as_mut()) => leadership,
        () = &mut signalled => return Ok(()),
    };
    metrics.leads(true);
    let namespaces = Namespaces::of(&args.limits.namespaces);
    namespaces.tell();
    let (events, publisher) = Events::new();
    let mut published = JoinSet::new();
    published.spawn(publisher.publish(client.clone(), leadership.clone()));
    let context = Arc::new(Context {
        client,
        caches: Mutex::new(Caches::of(namespaces)),
        queue: WorkQueue::new(),
        leadership,
        webhook_configuration: args.webhook_configuration.clone(),
        events,
        metrics: metrics.clone(),
        clock: Clock::system(),
        kinds_changed: Notify::new(),
        synced: Notify::new(),
    });
    let mut workers = JoinSet::new();
    let outcome = tokio::select! {
        error = work(args, health, &context, &mut workers) => Err(error),
        lost = keep_leading(elector.as_mut()) => Err(lost.into()),
        () = &mut signalled => Ok(()),
    };
    tracing::info!("ending");
    context.queue.close();
    if outcome.is_ok() {
        // What is under way is brought to its end before somebody else leads.
        let _ = tokio::time::timeout(GRACE, async { while workers.join_next().await.is_some() {} }).await;
        let last_words = async {
            context.events.end().await;
            while published.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    }
    workers.shutdown().await;
    published.shutdown().await;
    if let (Ok(()), Some(elector)) = (&outcome, elector)
        && let Err(error) = elector.release().await
    {
        tracing::warn!(%error, "the Lease could not be given back; it runs out by itself");
    }
    metrics.leads(false);
    outcome
}

async fn wait_for_turn(client: &Client, health: &Health, elector: Option<&mut LeaderElector>) -> Leadership {
    wait_for_crds(client, health).await;
    match elector {
        Some(elector) => elector.acquire().await,
        None => Leadership::always(),
    }
}

async fn keep_leading(elector: Option<&mut LeaderElector>) -> LostLeadership {
    match elector {
        Some(elector) => elector.keep().await,
        None => std::future::pending().await,
    }
}

/// Starts watches and workers. Returns only if one of them ends.
async fn work(args: &RunArgs, health: &Health, context: &Arc<Context>, workers: &mut JoinSet<()>) -> RunError {
    health.not_ready("caches", "the first lists are under way");
    let mut watches = JoinSet::new();
    for watch in watches::of_ours(context) {
        watches.spawn(watch);
    }
    watches.spawn(watches::of_streams(Arc::clone(context)));
    if let Some(name) = &args.webhook_configuration {
        watches.spawn(watches::of_admission(Arc::clone(context), name.clone()));
    }
    let mut definitions = std::pin::pin!(watches::definitions(Arc::clone(context)));
    tokio::select! {
        () = context.synced.notified() => {}
        _ = watches.join_next() => return RunError::Ended("a watch"),
        lacks = &mut definitions => return RunError::Downgraded(lacks),
    }
    health.ready("caches");
    tracing::info!("ready");
    let queue = context.queue.clone();
    context.metrics.show_queue("all", move || queue.len());
    // Weak, for the context holds the metrics.
    let weak = Arc::downgrade(context);
    context
        .metrics
        .show_streams(move || weak.upgrade().map(|context| context.caches().numbers_of_streams()).unwrap_or_default());
    for _ in 0..args.workers {
        workers.spawn(reconcile::work(Arc::clone(context)));
    }
    tokio::select! {
        _ = watches.join_next() => RunError::Ended("a watch"),
        _ = workers.join_next() => RunError::Ended("a worker"),
        lacks = definitions => RunError::Downgraded(lacks),
    }
}

/// Waits until our CustomResourceDefinitions are there with all that we need.
async fn wait_for_crds(client: &Client, health: &Health) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut said = String::new();
    loop {
        let mut lacks = Vec::new();
        for ours in OURS.iter() {
            match api.get_opt(&ours.name_any()).await {
                Ok(installed) => lacks.extend(installed::lacks(installed.as_ref(), ours)),
                Err(error) => {
                    let why = with_causes(&error);
                    lacks.push(format!("can't read CustomResourceDefinition {}: {why}", ours.name_any()));
                }
            }
        }
        if lacks.is_empty() {
            health.ready("crds");
            return;
        }
        let lacks = lacks.join("; ");
        health.not_ready("crds", lacks.clone());
        if said != lacks {
            tracing::warn!("waiting for CustomResourceDefinitions: {lacks}");
            said = lacks;
        }
        tokio::time::sleep(LOOK_FOR_CRDS_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use arcane_process::health::Health;
    use kube::{Client, Config};

    use super::wait_for_crds;

    #[tokio::test]
    async fn who_cannot_reach_the_api_server_tells_why() {
        // A port at which nobody listens.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let health = Health::waiting_for(["crds"]);
        let waiting = wait_for_crds(&client, &health);
        let told = async {
            while !health.missing().contains("can't read") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = waiting => panic!("there is no API server"),
            () = told => {}
        }
        assert!(health.missing().contains("Connection refused"), "{}", health.missing());
    }
}
