//! Controller and webhooks are killed all the time, and every stream is backfilled exactly once all the same.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::records;
use crate::release;
use crate::scenes::installing;
use crate::screen::{note, seen};
use crate::wait;
use crate::works::{self, works};
use crate::world::World;

/// So many pods are killed at least: fewer would show nothing.
const ENOUGH: usize = 3;

/// All streams are to be at work by then, on two cores that carry everything.
const ALL_WITHIN: Duration = Duration::from_secs(600);

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    let names: Vec<String> = (0..world.rounds(100, 12)).map(|number| format!("one-of-many-{number}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    records::forget(world, &all).await;
    let seed = fastrand::u64(..);
    note(&format!("random choices of seed {seed}"));

    let what = format!("{} streams are created and all run, while pods of ours are killed at random", names.len());
    let (kills, refused) = seen(&what, async {
        // The killer goes on until the streams are there, and ends with its handle.
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let kills = Arc::new(AtomicUsize::new(0));
        let killer = tokio::spawn(kill_at_random(world.client(), seed, Arc::clone(&kills), stopped));
        let mut refused = 0;
        for name in &names {
            refused += create(world, name).await;
        }
        all_run(world, names.len()).await;
        // On a quick machine all run after the first of them; what runs must not notice the others either.
        wait::until(ALL_WITHIN, "killed pods", || async {
            match kills.load(Ordering::Relaxed) {
                killed if killed >= ENOUGH => Ok(()),
                killed => Err(format!("{killed} so far")),
            }
        })
        .await;
        let _ = stop.send(());
        killer.await.unwrap_or_else(|error| panic!("the killer: {error}"));
        (kills.load(Ordering::Relaxed), refused)
    })
    .await;
    note(&format!("{kills} pods were killed; {refused} creations found no webhook and were tried again"));

    seen("every stream was backfilled exactly once, and has one worker", async {
        let made = records::of(world, &all).await;
        for name in &all {
            let of_it: Vec<_> = made.iter().filter(|record| record["stream"] == *name).cloned().collect();
            let backfills =
                of_it.iter().filter(|record| record["backfill"] == "true" && record["event"] == "begin").count();
            assert_eq!(backfills, 1, "backfills of {name}: {of_it:#?}");
            let meetings = records::meetings(&of_it);
            assert!(meetings.is_empty(), "{name}: {meetings:#?}");
            assert_eq!(works::unfinished_jobs(world, name).await.len(), 1, "Jobs of {name}");
        }
    })
    .await;
    seen("controller and webhooks recover", release::ready(world)).await;
    seen("all streams are deleted, and nothing of them is left", works::delete_all(world)).await;
}

/// Creates a stream; how often that failed because no webhook answered.
async fn create(world: &World, name: &str) -> usize {
    let refused = Cell::new(0);
    wait::until(ALL_WITHIN, &format!("work {name}"), || async {
        works::try_apply(world.client(), name, json!({})).await.map(drop).map_err(|error| {
            refused.set(refused.get() + 1);
            error.to_string()
        })
    })
    .await;
    refused.get()
}

async fn all_run(world: &World, how_many: usize) {
    let api = works(world.client());
    wait::until(ALL_WITHIN, "all streams in phase Running", || async {
        let listed = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let running = listed.iter().filter(|work| work.data["status"]["phase"] == "Running").count();
        if running == how_many { Ok(()) } else { Err(format!("{running} of {how_many} run")) }
    })
    .await;
}

/// Kills a ready pod of ours every now and then, until it is told to stop; counts them.
async fn kill_at_random(
    client: Client,
    seed: u64,
    kills: Arc<AtomicUsize>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let pods: Api<Pod> = Api::namespaced(client, release::NAMESPACE);
    let mut random = fastrand::Rng::with_seed(seed);
    // Without a grace period: it is gone for the cluster at once, and has a second to end, if it notices at all.
    let at_once = DeleteParams::default().grace_period(0);
    loop {
        let of_ours = ListParams::default().labels("app.kubernetes.io/instance=arcane");
        let ready: Vec<Pod> = match pods.list(&of_ours).await {
            Ok(listed) => listed.items.into_iter().filter(is_ready).collect(),
            Err(_) => Vec::new(),
        };
        if let Some(pod) = random.choice(&ready)
            && pods.delete(&pod.name_any(), &at_once).await.is_ok()
        {
            kills.fetch_add(1, Ordering::Relaxed);
        }
        // Between two kills there is time for something to happen, else there would be nothing to interrupt: a controller
        // that was killed leaves a Lease behind that the next one has to wait for.
        let pause = Duration::from_millis(random.u64(500..8000));
        if tokio::time::timeout(pause, &mut stopped).await.is_ok() {
            return;
        }
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
