//! Streams whose workers do as their specs say: kind Work of `e2e/plugin`.

use std::time::Duration;

use arcane_tests::fixture::{streams_of, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::wait;
use crate::world::{WORKS, World};

/// How long something may take that goes through several pods.
pub const SOON: Duration = Duration::from_secs(120);

/// All of them.
pub fn works(client: Client) -> Api<DynamicObject> {
    Api::namespaced_with(client, WORKS, &streams_of("e2e.example.com", "v1", "Work", "works"))
}

/// What the apply of a Work says: by default its backfill takes a second, and it streams until it is told to end.
pub fn work(name: &str, spec: Value) -> Value {
    let mut whole = json!({"jobTemplateRef": {"name": "work"}, "backfill": {"seconds": 1}});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    json!({"apiVersion": "e2e.example.com/v1", "kind": "Work", "metadata": {"name": name, "namespace": WORKS}, "spec": whole})
}

/// Creates a Work, or changes its spec.
pub async fn apply(world: &World, name: &str, spec: Value) {
    try_apply(world.client(), name, spec).await.unwrap_or_else(|error| panic!("cannot apply work {name}: {error}"));
}

/// The same; it may be refused.
pub async fn try_apply(client: Client, name: &str, spec: Value) -> Result<DynamicObject, kube::Error> {
    works(client).patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(work(name, spec))).await
}

/// Waits until a Work is in a phase.
pub async fn phase(world: &World, name: &str, phase: &str) -> Value {
    until(&works(world.client()), name, &format!("phase {phase} of work"), |work| work["status"]["phase"] == phase)
        .await
}

/// The Jobs of a stream that have not ended.
pub async fn unfinished_jobs(world: &World, stream: &str) -> Vec<Job> {
    let jobs: Api<Job> = Api::namespaced(world.client(), WORKS);
    let of = ListParams::default().labels(&format!("arcane/stream-id={stream}"));
    let listed = jobs.list(&of).await.unwrap_or_else(|error| panic!("cannot list Jobs: {error}"));
    let ended = |job: &Job| ["Complete", "Failed"].iter().any(|type_| arcane_tests::fixture::has_condition(job, type_));
    listed.into_iter().filter(|job| !ended(job)).collect()
}

/// Waits until a pod of the stream runs (and is not told to end), and gives it.
pub async fn running_pod(world: &World, namespace: &str, stream: &str) -> Pod {
    let pods: Api<Pod> = Api::namespaced(world.client(), namespace);
    let of = ListParams::default().labels(&format!("arcane/stream-id={stream},arcane/backfilling=false"));
    wait::until(SOON, &format!("running pod of {stream}"), || async {
        let listed = pods.list(&of).await.map_err(|error| error.to_string())?;
        let phases: Vec<String> =
            listed.items.iter().map(|pod| format!("{} {:?}", pod.name_any(), pod_phase(pod))).collect();
        let running = listed
            .items
            .into_iter()
            .find(|pod| pod_phase(pod) == Some("Running") && pod.metadata.deletion_timestamp.is_none());
        running.ok_or_else(|| format!("{phases:?}"))
    })
    .await
}

fn pod_phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// What must not change while nobody touches a stream: its Jobs and pods, by name and UID.
pub async fn identities(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    let jobs: Api<Job> = Api::all(world.client());
    let pods: Api<Pod> = Api::all(world.client());
    let ours = ListParams::default().labels("arcane/stream-id");
    for job in jobs.list(&ours).await.unwrap_or_else(|error| panic!("cannot list Jobs: {error}")) {
        all.push(format!("Job {} {}", job.name_any(), job.uid().unwrap_or_default()));
    }
    for pod in pods.list(&ours).await.unwrap_or_else(|error| panic!("cannot list pods: {error}")) {
        let restarts = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let restarts: i32 = restarts.into_iter().flatten().map(|container| container.restart_count).sum();
        all.push(format!("pod {} {} with {restarts} restarts", pod.name_any(), pod.uid().unwrap_or_default()));
    }
    all.sort();
    all
}

/// Deletes Works, and waits until nothing of them is there.
pub async fn delete_all(world: &World) {
    world.kubectl(&format!("delete works --all -n {WORKS} --timeout 180s")).await;
    let pods: Api<Pod> = Api::namespaced(world.client(), WORKS);
    wait::until(SOON, "end of the last pod", || async {
        let left =
            pods.list(&ListParams::default().labels("arcane/stream-id")).await.map_err(|error| error.to_string())?;
        if left.items.is_empty() { Ok(()) } else { Err(format!("{} pods are left", left.items.len())) }
    })
    .await;
}
