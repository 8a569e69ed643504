//! What everyone does first.

use std::time::Instant;

use crate::release;
use crate::screen::{note, seen};
use crate::wait;
use crate::works::{self, SOON};
use crate::world::{GUIDE, WORKS, World};

pub async fn play(world: &World) {
    let started = Instant::now();
    seen("helm install: CRDs, controller, two webhooks, all ready", release::install(world, "e2e", &[])).await;
    seen("the sample plugin and the guide's stream are applied", guide_stream(world)).await;
    seen("the stream's pod runs after its backfill", works::running_pod(world, GUIDE, "orders-stream")).await;
    note(&format!("from helm install to the first running stream: {:.0} s", started.elapsed().as_secs_f64()));
    let pods = release::pods(world, release::WEBHOOK).await;
    assert_eq!(pods.len(), 2, "webhooks");
    seen("no pod of ours has been restarted", no_restarts(world)).await;
}

/// The chart and both plugins, if they aren't there yet.
pub async fn installed(world: &World) {
    if !world.try_kubectl(&format!("get deployment {} -n {}", release::CONTROLLER, release::NAMESPACE)).await.success {
        release::install(world, "e2e", &[]).await;
    }
    release::ready(world).await;
}

/// The plugin whose workers do as they are told.
pub async fn works_plugin(world: &World) {
    installed(world).await;
    world.create_namespace(WORKS).await;
    world.apply_file(None, "e2e/plugin/1-kind.yaml").await;
    world.kubectl("wait --for=condition=Established crd/works.e2e.example.com --timeout 60s").await;
    world.apply_file(None, "e2e/plugin/2-class.yaml").await;
    world.apply_file(Some(WORKS), "e2e/plugin/3-template.yaml").await;
    // Of another group than ours: it is ready when the webhook sees its streams.
    wait::until(SOON, "ready StreamClass work", || async {
        let class = world.kubectl("get streamclass work -o jsonpath={.status}").await;
        if class.contains(r#""phase":"Ready""#) { Ok(()) } else { Err(class) }
    })
    .await;
}

/// The sample plugin with the Secret that the guide's stream needs, and its template.
pub async fn guide_plugin(world: &World) {
    installed(world).await;
    world.create_namespace(GUIDE).await;
    world.apply_file(None, "examples/sample-plugin/crd.yaml").await;
    let crd = "crd/sqlserverchangetrackingstreams.streaming.sneaksanddata.com";
    world.kubectl(&format!("wait --for=condition=Established {crd} --timeout 60s")).await;
    world.apply_file(None, "examples/sample-plugin/stream-class.yaml").await;
    if !world.try_kubectl(&format!("get secret my-database-creds -n {GUIDE}")).await.success {
        let literals =
            "--from-literal=connectionString=Server=myserver --from-literal=storageAccountKey=your-storage-key";
        world.kubectl(&format!("create secret generic my-database-creds -n {GUIDE} {literals}")).await;
    }
    world.apply_file(None, "examples/guide/sqlserver-stream-template.yaml").await;
}

/// The guide's first stream.
pub async fn guide_stream(world: &World) {
    guide_plugin(world).await;
    world.apply_file(None, "examples/guide/my-stream.yaml").await;
}

async fn no_restarts(world: &World) {
    for deployment in [release::CONTROLLER, release::WEBHOOK] {
        for pod in release::pods(world, deployment).await {
            let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
            assert!(!containers.is_empty(), "a pod of {deployment} has no container");
            for container in containers {
                assert_eq!(container.restart_count, 0, "{deployment}: {container:?}");
            }
        }
    }
}
