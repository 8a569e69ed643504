//! A new version of the operator is no business of the streams'.

use crate::release;
use crate::scenes::installing;
use crate::screen::seen;
use crate::works::{self, identities};
use crate::world::{GUIDE, WORKS, World};
use serde_json::json;

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    installing::guide_stream(world).await;
    works::apply(world, "upgraded-1", json!({})).await;
    works::apply(world, "upgraded-2", json!({"backfill": {"seconds": 3600}})).await;
    seen("streams run, and one is backfilled for an hour", async {
        works::running_pod(world, GUIDE, "orders-stream").await;
        works::running_pod(world, WORKS, "upgraded-1").await;
        works::phase(world, "upgraded-2", "Backfilling").await;
        world
            .kubectl(&format!("wait --for=condition=Ready pod -l arcane/stream-id=upgraded-2 -n {WORKS} --timeout 60s"))
            .await;
    })
    .await;
    let before = identities(world).await;
    let revision = revision(world).await;
    seen("helm upgrade to another version", release::install(world, "e2e-next", &[])).await;
    seen("everything is of the new version", versions(world, "e2e-next")).await;
    at_work(world, 1).await;
    assert_eq!(identities(world).await, before, "after the upgrade");
    seen("helm rollback", release::roll_back(world, &revision)).await;
    seen("everything is of the old version again", versions(world, "e2e")).await;
    at_work(world, 2).await;
    assert_eq!(identities(world).await, before, "after the rollback");
    seen("all Jobs and pods are the same as before", async {}).await;
    works::delete_all(world).await;
}

/// The new controller has the Lease and works: it has taken up a change.
async fn at_work(world: &World, round: u64) {
    let name = format!("made-in-between-{round}");
    seen("the controller is at work", async {
        works::apply(world, &name, json!({"suspended": true})).await;
        works::phase(world, &name, "Suspended").await;
    })
    .await;
}

async fn versions(world: &World, tag: &str) {
    release::ready(world).await;
    for deployment in [release::CONTROLLER, release::WEBHOOK] {
        for pod in
            release::pods(world, deployment).await.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none())
        {
            let images: Vec<_> =
                pod.spec.into_iter().flat_map(|spec| spec.containers).filter_map(|c| c.image).collect();
            assert!(images.iter().all(|image| image.ends_with(&format!(":{tag}"))), "{deployment}: {images:?}");
        }
    }
}

async fn revision(world: &World) -> String {
    let history = world.helm(&["history", release::NAME, "-n", release::NAMESPACE, "--max", "1", "-o", "json"]).await;
    let history: serde_json::Value =
        serde_json::from_str(&history).unwrap_or_else(|error| panic!("{error}: {history}"));
    history[0]["revision"].to_string()
}
