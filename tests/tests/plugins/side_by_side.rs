//! Several kinds, several classes, one namespace.

use arcane_tests::fixture::{SOON, until};
use arcane_tests::{TestNamespace, eventually};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::json;

use crate::plugins::{GROUP, PARQUET_TABLE, Plugin, REST_KINDS, plugin};
use crate::world::{World, applied, applied_quietly, classes_api, kubectl_with, on_a_cluster};
use crate::{asked, job};
use arcane_tests::manifests::{CHART, Manifest, STREAMS, manifests, text_of};

static REST: [Plugin; 4] = REST_KINDS;
static TABLE: Plugin = PARQUET_TABLE;

/// All that a directory has in its namespace, but for the streams.
async fn prepare(world: &World, ns: &TestNamespace<'_>, directory: &str) {
    let mut all = manifests(directory, CHART, ns.name());
    all.retain(|manifest| !manifest.kind().starts_with("ClusterRole"));
    all.extend(manifests(directory, STREAMS, ns.name()).into_iter().filter(|manifest| manifest.kind() == "Secret"));
    applied(&world.fixture, &text_of(&all)).await;
}

/// The streaming Job of a kind's stream, once the stream runs; it is as it should be.
async fn running(ns: &TestNamespace<'_>, plugin: &Plugin) -> Job {
    let api = ns.objects(&plugin.resource());
    let found = eventually(SOON, &format!("running {} {}", plugin.kind, plugin.stream), || async {
        let stream = api.get_opt(plugin.stream).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
        let status = stream.data["status"].clone();
        if status["phase"] != "Running" {
            return Err(status.to_string());
        }
        let mut jobs = ns.jobs_of(plugin.stream).await;
        jobs.retain(|job| {
            job.owner_references().iter().any(|owner| Some(&owner.uid) == stream.metadata.uid.as_ref())
                && job.labels()["arcane/backfilling"] == "false"
                && job.status.as_ref().and_then(|status| status.ready) == Some(1)
        });
        let job = jobs.pop().ok_or("no Job")?;
        Ok((serde_json::to_value(stream).unwrap(), job))
    })
    .await;
    let (stream, found) = found.unwrap_or_else(|timeout| panic!("{timeout}"));
    job::is_right(plugin, ns, &stream, &found, None);
    found
}

/// What is done to the stream of one kind leaves that of the same name of another kind alone.
async fn kinds_keep_out_of_each_others_way(world: &World, ns: &TestNamespace<'_>, plugins: &[&Plugin]) {
    let (directory, name) = (plugins[0].directory, plugins[0].stream);
    prepare(world, ns, directory).await;
    let streams: Vec<Manifest> = manifests(directory, STREAMS, ns.name());
    applied_quietly(&world.fixture, &text_of(&streams)).await;
    let mut jobs = Vec::new();
    for plugin in plugins {
        jobs.push(running(ns, plugin).await);
    }
    let names: std::collections::BTreeSet<String> = jobs.iter().map(|job| job.name_any()).collect();
    assert_eq!(names.len(), plugins.len(), "each has a Job of its own: {names:?}");
    assert!(names.contains(name), "one has the plain name: {names:?}");
    let completed = |request: &&kube::core::DynamicObject| request.data["status"]["phase"] == "Completed";
    let requests = ns.requests().list(&Default::default()).await.unwrap();
    assert_eq!(requests.iter().filter(completed).count(), plugins.len(), "each has had its own backfill");

    // A backfill of the first.
    let request = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "BackfillRequest",
        "metadata": {"name": "of-the-first", "namespace": ns.name()},
        "spec": {"streamClass": plugins[0].class, "streamId": name},
    });
    applied_quietly(&world.fixture, &request.to_string()).await;
    ns.until(&ns.requests(), "of-the-first", "Completed request", |it| it["status"]["phase"] == "Completed").await;
    ns.gone(&jobs[0]).await;
    let first = running(ns, plugins[0]).await;
    // Suspended, the first has no Job; deleted, the last has nothing; the others run on.
    ns.merge(&ns.objects(&plugins[0].resource()), name, plugins[0].suspension(true)).await;
    ns.phase_of(&plugins[0].resource(), name, "Suspended").await;
    ns.gone(&first).await;
    let last = plugins.len() - 1;
    if last > 1 {
        ns.kubectl(&["delete", plugins[last].plural, name]).await;
        ns.gone(&jobs[last]).await;
    }
    asked::nothing_loops(ns).await;
    let run_on = if last > 1 { 1..last } else { 1..2 };
    for index in run_on {
        assert_eq!(running(ns, plugins[index]).await.uid(), jobs[index].uid(), "{}", plugins[index].kind);
    }
    // Resumed, the first finds a name again.
    ns.merge(&ns.objects(&plugins[0].resource()), name, plugins[0].suspension(false)).await;
    running(ns, plugins[0]).await;
    asked::nothing_loops(ns).await;
}

#[test]
fn two_kinds_of_parquet_streams_may_have_one_name() {
    on_a_cluster(async |world, ns| {
        kinds_keep_out_of_each_others_way(world, ns, &[plugin("ParquetFilesStream"), &TABLE]).await;
    });
}

#[test]
fn four_kinds_of_rest_streams_may_have_one_name() {
    on_a_cluster(async |world, ns| {
        let plugins: Vec<&Plugin> = REST.iter().collect();
        kinds_keep_out_of_each_others_way(world, ns, &plugins).await;
    });
}

/// Two installations of one plugin, told apart by the label of the stream.
#[test]
fn a_kind_may_have_two_classes() {
    on_a_cluster(async |world, ns| {
        let plugin = &REST[3];
        prepare(world, ns, plugin.directory).await;
        let second = format!("{}-open", plugin.class);
        let class = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass", "metadata": {"name": second},
            "spec": {"apiVersion": plugin.version, "kindRef": plugin.kind, "pluralName": plugin.plural},
        });
        applied(&world.fixture, &class.to_string()).await;
        until(&classes_api(&world.fixture), &second, "Ready class", |it| it["status"]["phase"] == "Ready").await;

        let stream = manifests(plugin.directory, STREAMS, ns.name()).into_iter().find(|it| it.kind() == plugin.kind);
        let stream = stream.unwrap();
        let of = |class: &str| json!({"metadata": {"labels": {"arcane/stream-class": class}}});
        applied_quietly(&world.fixture, &text_of([&stream])).await;
        applied_quietly(&world.fixture, &text_of([&stream.changed("open", &of(&second))])).await;
        for (name, class) in [("prices", plugin.class), ("open", second.as_str())] {
            let running = |stream: &serde_json::Value| stream["status"]["phase"] == "Running";
            ns.until(&ns.objects(&plugin.resource()), name, "running", running).await;
            let job = ns.job(name, "running", |job| job.status.as_ref().and_then(|it| it.ready) == Some(1)).await;
            assert_eq!(job.annotations()["arcane/stream-class"], class);
            let pod = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            let sources = pod.containers[0].env_from.as_ref().map_or(0, Vec::len);
            assert_eq!(sources, usize::from(class == plugin.class), "the secretRefs are those of the class {class}");
        }
        let requests = ns.requests().list(&Default::default()).await.unwrap();
        let mut classes: Vec<_> = requests.iter().map(|it| it.data["spec"]["streamClass"].to_string()).collect();
        classes.sort();
        assert_eq!(classes, [format!("{:?}", plugin.class), format!("{second:?}")]);

        // Neither one that isn't there nor one of another kind.
        for class in ["no-such-class", REST[0].class] {
            let wrong = stream.changed("wrong", &of(class));
            let said = kubectl_with(&world.fixture, &["create", "--validate=strict"], &wrong.text).await;
            let field = format!("metadata.labels[arcane/stream-class]: Not found: \"{class}\"");
            assert!(!said.status.success() && said.stderr.contains(&field), "{}", said.stderr);
        }
        ns.kubectl(&["delete", plugin.plural, "--all"]).await;
        world.fixture.kubectl(&["delete", "streamclass", &second]).await;
    });
}
