//! The users guide, word for word, with pods that really run.

use arcane_tests::fixture::{sample_streams, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use crate::release;
use crate::scenes::installing;
use crate::screen::seen;
use crate::wait;
use crate::works::{SOON, running_pod};
use crate::world::{GUIDE, World};

const STREAM: &str = "orders-stream";

pub async fn play(world: &World) {
    installing::guide_stream(world).await;
    seen("phase Running", phase(world, "Running")).await;
    let log = seen("kubectl logs of the backfill's Job, which has ended", async {
        world.kubectl(&format!("logs job/{STREAM}-backfill -n {GUIDE}")).await
    })
    .await;
    assert!(log.contains("begins") && log.contains("ends with 0"), "{log}");
    assert!(log.contains(&format!("backfill {STREAM}-initial-backfill-")), "{log}");
    running_pod(world, GUIDE, STREAM).await;
    let log = seen("kubectl logs of the stream's Job, which runs", async {
        world.kubectl(&format!("logs job/{STREAM} -n {GUIDE}")).await
    })
    .await;
    assert_eq!(log.trim(), format!("stream {STREAM}: begins"));
    seen("kubectl get jobs by the stream's label shows both, and of their pods' kind the operator's log", async {
        let jobs = world.kubectl(&format!("get jobs -l streamId={STREAM} -n {GUIDE} -o name")).await;
        assert_eq!(jobs.lines().count(), 2, "{jobs}");
        let of_the_operator = format!("app.kubernetes.io/name={}", release::CONTROLLER);
        let log = world.kubectl(&format!("logs -n {} -l {of_the_operator} --tail 20", release::NAMESPACE)).await;
        for line in log.lines() {
            assert!(serde_json::from_str::<Value>(line).is_ok(), "not a line of JSON: {line}");
        }
        assert!(!log.is_empty(), "the operator's log is empty");
    })
    .await;
    seen("kubectl port-forward to the controller: /healthz and /readyz are well", async {
        let forward = world.forward(release::NAMESPACE, &format!("deployment/{}", release::CONTROLLER), 8888).await;
        for page in ["/healthz", "/readyz"] {
            let answer = forward.get(page).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
        }
    })
    .await;

    seen("suspended: phase Suspended, and its pod has ended", async {
        suspend(world, true).await;
        phase(world, "Suspended").await;
        no_unfinished_pod(world).await;
    })
    .await;
    let before = requests(world).await;
    seen("resumed: it runs again", async {
        suspend(world, false).await;
        phase(world, "Running").await;
        running_pod(world, GUIDE, STREAM).await;
    })
    .await;
    assert_eq!(requests(world).await, before, "resuming must not backfill");

    seen("a backfill by hand makes the stream wait, and completes", async {
        world.apply_file(None, "examples/guide/backfill.yaml").await;
        let completed = "wait --for=jsonpath={.spec.completed}=true backfillrequest/orders-backfill-jan-2026";
        world.kubectl(&format!("{completed} -n {GUIDE} --timeout 120s")).await;
    })
    .await;
    let log = world.kubectl(&format!("logs job/{STREAM}-backfill -n {GUIDE}")).await;
    assert!(log.contains("backfill orders-backfill-jan-2026 of orders-stream: ends with 0"), "{log}");
    seen("and streaming goes on", async {
        phase(world, "Running").await;
        running_pod(world, GUIDE, STREAM).await;
    })
    .await;

    seen("deleted: stream, Jobs, pods and requests have gone", async {
        world.kubectl(&format!("delete sqlserverchangetrackingstream {STREAM} -n {GUIDE} --timeout 120s")).await;
        wait::until(SOON, "end of all that belonged to the stream", || async {
            let left = world.kubectl(&format!("get jobs,pods,backfillrequests -n {GUIDE} -o name")).await;
            if left.trim().is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    })
    .await;
}

async fn phase(world: &World, phase: &str) {
    let streams: Api<DynamicObject> = Api::namespaced_with(world.client(), GUIDE, &sample_streams());
    until(&streams, STREAM, &format!("phase {phase} of"), |stream| stream["status"]["phase"] == phase).await;
}

async fn suspend(world: &World, suspended: bool) {
    let patch = format!("{{\"spec\":{{\"suspended\":{suspended}}}}}");
    world.kubectl(&format!("patch sqlserverchangetrackingstreams {STREAM} -n {GUIDE} --type merge -p {patch}")).await;
}

async fn requests(world: &World) -> String {
    world.kubectl(&format!("get backfillrequests -n {GUIDE} -o name")).await
}

async fn no_unfinished_pod(world: &World) {
    let jobs: Api<Job> = Api::namespaced(world.client(), GUIDE);
    let pods: Api<Pod> = Api::namespaced(world.client(), GUIDE);
    wait::until(SOON, &format!("end of Job {STREAM} and its pods"), || async {
        if jobs.get_opt(STREAM).await.map_err(|error| error.to_string())?.is_some() {
            return Err("the Job is there".to_owned());
        }
        let streaming = ListParams::default().labels(&format!("streamId={STREAM},arcane/backfilling=false"));
        let left = pods.list(&streaming).await.map_err(|error| error.to_string())?.items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} pods are there")) }
    })
    .await;
}
