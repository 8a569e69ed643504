//! A chart that holds everything, installed and upgraded by helm.

use std::path::Path;

use arcane_tests::fixture::streams_of;
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::converges::{all_streams_go_on, each_set, take_away};
use crate::engines::helm;
use crate::sets::{Set, yaml};
use crate::world::{World, on_a_cluster};

/// Helm applies kinds that it doesn't know in the order of their names, and nearly all of them come before
/// StreamingJobTemplate.
#[test]
fn helm_applies_everything_at_once() {
    on_a_cluster(async |world| {
        each_set(4000, async |set| {
            let (seed, directory) = (set.seed, tempfile::tempdir().unwrap());
            write_chart(directory.path(), set, "first");
            let chart = directory.path().display().to_string();
            let arguments = ["everything", &chart, "--namespace", &set.namespace];
            let (installed, said) =
                helm(&world.person, &[&["install", "--create-namespace"], &arguments[..]].concat()).await;
            assert!(installed, "seed {seed}: {said}");
            all_streams_go_on(world, set).await;

            let (before, generations) = (jobs(world, set).await, generations(world, set).await);
            write_chart(directory.path(), set, "second");
            let (upgraded, said) = helm(&world.person, &[&["upgrade"], &arguments[..]].concat()).await;
            assert!(upgraded, "seed {seed}: {said}");
            all_streams_go_on(world, set).await;
            assert_eq!(jobs(world, set).await, before, "seed {seed}: an upgrade restarts nothing");
            assert_eq!(self::generations(world, set).await, generations, "seed {seed}: an upgrade changes nothing");

            let (gone, said) = helm(&world.person, &["uninstall", "everything", "--namespace", &set.namespace]).await;
            assert!(gone, "seed {seed}: {said}");
            take_away(&world.fixture, set).await;
        })
        .await;
    });
}

/// Kinds go where charts have them, since helm asks the API server about all others first. The namespace is helm's matter.
pub fn write_chart(directory: &Path, set: &Set, change: &str) {
    let chart = json!({"apiVersion": "v2", "name": "everything", "version": "1.0.0"});
    let (crds, mut objects): (Vec<Value>, Vec<Value>) = set
        .objects
        .iter()
        .filter(|object| object["kind"] != "Namespace")
        .cloned()
        .partition(|object| object["kind"] == "CustomResourceDefinition");
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "unrelated", "namespace": set.namespace}, "data": {"change": change},
    }));
    for (file, text) in
        [("Chart.yaml", chart.to_string()), ("crds/crds.yaml", yaml(&crds)), ("templates/all.yaml", yaml(&objects))]
    {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The UIDs of the streaming Jobs.
async fn jobs(world: &World, set: &Set) -> Vec<String> {
    let jobs: Api<Job> = Api::namespaced(world.fixture.client(), &set.namespace);
    let streaming = ListParams::default().labels("arcane/backfilling=false");
    let mut uids: Vec<String> = jobs.list(&streaming).await.unwrap().items.iter().filter_map(|job| job.uid()).collect();
    uids.sort();
    uids
}

/// The generations of streams and templates.
async fn generations(world: &World, set: &Set) -> Vec<(String, Option<i64>)> {
    let mut kinds: Vec<_> = set.streams().into_iter().map(|stream| stream.kind).collect();
    kinds.push(streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates"));
    let mut all = Vec::new();
    for kind in kinds {
        let api: Api<kube::api::DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &kind);
        let listed = api.list(&ListParams::default()).await.unwrap();
        all.extend(listed.items.iter().map(|it| (format!("{}/{}", kind.kind, it.name_any()), it.metadata.generation)));
    }
    all.sort();
    all
}
