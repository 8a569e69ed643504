//! However fast the spec changes and however slowly a worker ends: never two at work.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::records;
use crate::scenes::installing;
use crate::screen::{note, seen};
use crate::wait;
use crate::works::{self, SOON};
use crate::world::{WORKS, World};

const STREAM: &str = "restless";

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    records::forget(world, &[STREAM]).await;
    let rounds = world.rounds(200, 15);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    note(&format!("random choices of seed {seed}"));
    change(world, 0).await;
    seen("a stream runs, whose workers take their time to end", works::running_pod(world, WORKS, STREAM)).await;
    seen(&format!("{rounds} changes of its spec; it sometimes runs before the next one comes"), async {
        for round in 1..=rounds {
            change(world, round).await;
            if round == rounds || random.u8(0..10) < 4 {
                runs(world, round).await;
            }
        }
    })
    .await;
    works::apply(world, STREAM, json!({"suspended": true})).await;
    works::phase(world, STREAM, "Suspended").await;
    let made = records::of(world, &[STREAM]).await;
    let workers = records::events(&made, "begin").len();
    seen("no worker has met another one, by their own records", async {
        let meetings = records::meetings(&made);
        assert!(meetings.is_empty(), "of {workers} workers these met others: {meetings:#?}");
        assert_eq!(records::events(&made, "end").len(), workers, "every worker ended in its own time");
        assert!(workers > rounds / 5, "only {workers} workers ran, that shows nothing");
    })
    .await;
    note(&format!("{rounds} changes, {workers} workers, no overlap"));
    works::delete_all(world).await;
}

async fn change(world: &World, round: usize) {
    let slowly = json!({"terminatingMillis": 400});
    works::apply(world, STREAM, json!({"round": round, "streaming": slowly, "backfill": {"seconds": 0}})).await;
}

/// Waits until the worker of this round's spec runs.
async fn runs(world: &World, round: usize) {
    let pods: Api<Pod> = Api::namespaced(world.client(), WORKS);
    let of = ListParams::default().labels(&format!("arcane/stream-id={STREAM}"));
    let spec = format!("\"round\":{round},");
    wait::until(SOON, &format!("pod of round {round}"), || async {
        let listed = pods.list(&of).await.map_err(|error| error.to_string())?;
        let mut told = Vec::new();
        for pod in listed {
            let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
            let mut variables = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.env.iter().flatten());
            let current = variables.any(|variable| variable.value.as_ref().is_some_and(|value| value.contains(&spec)));
            if current && phase.as_deref() == Some("Running") {
                return Ok(());
            }
            told.push(format!("{:?} {phase:?}, current: {current}", pod.metadata.name));
        }
        Err(format!("{told:?}"))
    })
    .await;
}
