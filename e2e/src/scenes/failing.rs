//! Why a pod failed, or doesn't run, is said where one looks: in the stream's conditions.

use arcane_tests::fixture::{condition_of, streams_of, until};
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use crate::scenes::installing;
use crate::screen::{note, seen};
use crate::works::{self, running_pod};
use crate::world::{WORKS, World};

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    works::apply(world, "exits", json!({"streaming": {"seconds": 0, "exitCode": 3}})).await;
    let work =
        seen("a worker that exits with 3 fails its stream, which says so", works::phase(world, "exits", "Failed"))
            .await;
    tells(&work, "exit code 3");
    seen("kubectl logs of the failed Job", async {
        let log = world.kubectl(&format!("logs job/exits -n {WORKS}")).await;
        assert!(log.contains("ends with 3"), "{log}");
    })
    .await;
    works::apply(world, "exits", json!({"streaming": {"exitCode": 3}})).await;
    seen("with a mended spec it runs again", async {
        works::phase(world, "exits", "Running").await;
        running_pod(world, WORKS, "exits").await;
    })
    .await;

    works::apply(world, "greedy", json!({"streaming": {"takesMib": 200}})).await;
    let work = seen("a worker that takes too much memory is killed, and its stream says so", async {
        works::phase(world, "greedy", "Failed").await
    })
    .await;
    tells(&work, "OOMKilled");

    works::apply(world, "backfill-fails", json!({"backfill": {"seconds": 0, "exitCode": 4}})).await;
    let work = seen("a backfill that exits with 4 fails its stream, which says so", async {
        works::phase(world, "backfill-fails", "Failed").await
    })
    .await;
    tells(&work, "exit code 4");

    // Kubelet's words for the same trouble alternate with its attempts to pull.
    let no_image = &["ImagePullBackOff", "ErrImagePull"];
    for (name, changes, reasons, what) in [
        (
            "no-image",
            json!({"containers": [{"name": "worker", "image": "arcane.test/nowhere:1"}]}),
            &no_image[..],
            "arcane.test/nowhere:1",
        ),
        (
            "no-secret",
            json!({"containers": [{"name": "worker", "envFrom": [{"secretRef": {"name": "nowhere"}}]}]}),
            &["CreateContainerConfigError"],
            "secret \"nowhere\" not found",
        ),
        ("no-node", json!({"nodeSelector": {"arcane.test/nowhere": "true"}}), &["Unschedulable"], "node"),
    ] {
        a_template_that_differs(world, name, &changes).await;
        works::apply(
            world,
            name,
            json!({"jobTemplateRef": {"name": name}, "backfillJobTemplateRef": {"name": "work"}}),
        )
        .await;
        let told = format!("a pod that doesn't run is told while it waits: {}", reasons.join(" or "));
        seen(&told, async {
            let tells = |work: &Value| {
                let ready = condition_of(work, "Ready");
                let words = ready["message"].as_str().unwrap_or_default();
                ready["reason"] == "PodNotRunning"
                    && reasons.iter().any(|reason| words.contains(reason))
                    && words.contains(what)
            };
            let told = until(&works::works(world.client()), name, "word of its pod", tells).await;
            note(condition_of(&told, "Ready")["message"].as_str().unwrap_or_default());
        })
        .await;
    }
    works::delete_all(world).await;
}

/// The plugin's template under another name, with something else in its pods.
async fn a_template_that_differs(world: &World, name: &str, changes: &Value) {
    let templates = streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates");
    let api: Api<DynamicObject> = Api::namespaced_with(world.client(), WORKS, &templates);
    let mut template = api.get("work").await.unwrap_or_else(|error| panic!("cannot get template work: {error}"));
    let pod = &mut template.data["spec"]["template"]["spec"];
    for (field, value) in changes.as_object().into_iter().flatten() {
        match (&mut pod[field], value) {
            (Value::Array(containers), Value::Array(changes)) => {
                for (name, value) in changes[0].as_object().into_iter().flatten() {
                    containers[0][name] = value.clone();
                }
            }
            (place, value) => *place = value.clone(),
        }
    }
    let manifest = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate",
        "metadata": {"name": name}, "spec": template.data["spec"],
    });
    let told = world.apply(Some(WORKS), &manifest.to_string()).await;
    assert!(told.success, "{manifest} was not accepted:\n{}{}", told.stdout, told.stderr);
}

fn tells(work: &Value, reason: &str) {
    let stalled = condition_of(work, "Stalled");
    let message = stalled["message"].as_str().unwrap_or_default();
    assert!(stalled["status"] == "True" && message.contains(reason), "{reason} isn't told: {work}");
    note(message);
}
