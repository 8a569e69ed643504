//! A release, from `helm install` to `helm uninstall` and back, by real helm on a real API server.

use std::time::Duration;

use arcane_tests::fixture::{any_object, definition_of, repository_file};
use serde_json::{Value, json};

use crate::place::Place;
use crate::world::*;
use crate::{prometheus, rights};

/// What is looked for after an uninstall, besides what has the release's labels.
const NAMED: [&str; 4] = [
    "validatingwebhookconfigurations/arcane-operator-webhook",
    "mutatingwebhookconfigurations/arcane-operator-webhook",
    "secrets/arcane-operator-webhook-ca",
    "leases/arcane-operator,arcane-operator-webhook",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_release_works_with_what_it_grants_and_leaves_nothing_behind() {
    let place = Place::start().await;
    let chart = chart();
    place.kubectl(&["create", "namespace", "arcane"]).await;
    place.kubectl(&["label", "namespace", "arcane", "pod-security.kubernetes.io/enforce=restricted"]).await;
    let said = place.helm_does(&["install", "arcane", &chart, "--namespace", "arcane"]);
    assert!(said.contains("kubectl rollout status deployment/arcane-operator -n arcane"), "{said}");

    // A restricted namespace takes the pods.
    for (name, pods) in [("arcane-operator", 1), ("arcane-operator-webhook", 2)] {
        let selector = format!("app.kubernetes.io/name={name}");
        let made = |list: &Value| list["items"].as_array().map_or(0, Vec::len) == pods;
        place.until("pods of the release", &["pods", "-n", "arcane", "-l", &selector], made).await;
    }

    // Somebody deletes the Leases that came with the release.
    place.kubectl(&["delete", "leases", "--all", "-n", "arcane"]).await;
    let webhook = place.webhook().await;
    let registered = ["validatingwebhookconfiguration", "arcane-operator-webhook"];
    let configuration = place.until("registration", &registered, |_| true).await;
    assert_eq!(configuration["metadata"]["ownerReferences"][0]["name"], "arcane-operator-webhook");
    assert_eq!(configuration["webhooks"][0]["failurePolicy"], "Fail");
    let controller = place.controller().await;
    let holder = |lease: &Value| lease["spec"]["holderIdentity"].is_string();
    for lease in ["arcane-operator", "arcane-operator-webhook"] {
        place.until("held Lease", &["lease", lease, "-n", "arcane"], holder).await;
    }

    everything_that_a_user_does(&place).await;
    rights::each_is_used_or_has_its_reason(&place).await;
    let metrics = [controller.metrics().await.unwrap(), webhook.metrics().await.unwrap()];
    prometheus::each_name_is_one_of(&metrics);

    // An upgrade leaves the Leases to who holds them, and the Jobs alone.
    let job = ["job", "orders-stream", "-n", "data-streaming"];
    let uid = place.get(&job).await.unwrap()["metadata"]["uid"].clone();
    let lease = place.get(&["lease", "arcane-operator", "-n", "arcane"]).await.unwrap();
    place.helm_does(&["upgrade", "arcane", &chart, "--namespace", "arcane", "--set", "additionalLabels.team=data"]);
    let after = place.get(&["lease", "arcane-operator", "-n", "arcane"]).await.unwrap();
    assert_eq!(after["spec"]["holderIdentity"], lease["spec"]["holderIdentity"]);
    assert_eq!(after["metadata"]["labels"]["team"], "data");
    place.helm_does(&["rollback", "arcane", "1", "--namespace", "arcane"]);
    assert!(controller.exit_status().is_none() && webhook.exit_status().is_none());
    assert_eq!(place.get(&job).await.unwrap()["metadata"]["uid"], uid);

    // Uninstalled while both run, as in a cluster, where pods end after everything else has gone.
    place.helm_does(&["uninstall", "arcane", "--namespace", "arcane"]);
    let within = Duration::from_secs(30);
    let _ = controller.terminate(within).await.unwrap();
    let _ = webhook.terminate(within).await.unwrap();
    nothing_is_left(&place).await;
    assert_eq!(place.get(&job).await.unwrap()["metadata"]["uid"], uid);
    place.phase("sqlserverchangetrackingstreams", "orders-stream", "Running").await;

    // Reinstalled, it goes on where it was.
    place.helm_does(&["install", "arcane", &chart, "--namespace", "arcane"]);
    let webhook = place.webhook().await;
    place.until("registration", &registered, |_| true).await;
    let controller = place.controller().await;
    place
        .patch("sqlserverchangetrackingstreams", "orders-stream", json!({"metadata": {"labels": {"seen": "yes"}}}))
        .await;
    place.phase("teststreams", "nightly", "Scheduled").await;
    assert_eq!(place.get(&job).await.unwrap()["metadata"]["uid"], uid);
    place.patch("sqlserverchangetrackingstreams", "orders-stream", json!({"spec": {"suspended": true}})).await;
    place.phase("sqlserverchangetrackingstreams", "orders-stream", "Suspended").await;
    place.until_gone(&job).await;
    drop((controller, webhook));
}

/// No trace of the release but its CustomResourceDefinitions.
async fn nothing_is_left(place: &Place) {
    for named in NAMED {
        let (kind, names) = named.split_once('/').unwrap();
        for name in names.split(',') {
            place.until_gone(&[kind, name, "-n", "arcane"]).await;
        }
    }
    let of_ours = "app.kubernetes.io/part-of=arcane";
    for kind in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
        "serviceaccounts",
        "deployments",
        "services",
        "poddisruptionbudgets",
        "networkpolicies",
        "leases",
        "configmaps",
        "secrets",
        "pods",
    ] {
        place.until_gone(&[kind, "--all-namespaces", "-l", of_ours]).await;
    }
    // Nor anything that the webhook wrote, whose label is another one.
    place.until_gone(&["secrets", "-n", "arcane", "-l", "app.kubernetes.io/managed-by=arcane"]).await;
    let kept = place.get(&["customresourcedefinitions", "-l", of_ours]).await.unwrap();
    assert_eq!(kept["items"].as_array().unwrap().len(), 3);
}

const TEMPLATES: &str = r"
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: failing, namespace: data-streaming}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {simulated-kubelet/behaviour: exit 3 after 1s}
    spec:
      containers: [{name: stream, image: 'example.com/stream:1'}]
---
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: kept-for-an-hour, namespace: data-streaming}
spec:
  ttlSecondsAfterFinished: 3600
  template:
    spec:
      containers: [{name: stream, image: 'example.com/stream:1'}]
";

/// Every use of the operator that takes a right of its own.
async fn everything_that_a_user_does(place: &Place) {
    let group = "streaming.sneaksanddata.com";
    place.kubectl(&["create", "namespace", "data-streaming"]).await;
    for file in [
        "sample-plugin/crd",
        "sample-plugin/stream-class",
        "sample-plugin/templates",
        "guide/sqlserver-stream-template",
    ] {
        let text = repository_file(&format!("examples/{file}.yaml"));
        place.apply(&file.replace('/', "-"), &text).await;
    }
    let other_group = "plugins.example.com";
    place.apply("test-kind", &definition_of(group, "TestStream", "teststreams", any_object())).await;
    place.apply("foreign-kind", &definition_of(other_group, "ForeignStream", "foreignstreams", any_object())).await;
    place.apply("templates", TEMPLATES).await;
    let roles = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {
            "name": "foreign-plugin",
            "labels": {"arcane/aggregate-to-controller": "true", "arcane/aggregate-to-webhook": "true"},
        },
        "rules": [
            {"apiGroups": [other_group], "resources": ["foreignstreams"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [other_group], "resources": ["foreignstreams/status"], "verbs": ["patch"]},
            {"apiGroups": [other_group], "resources": ["foreignstreams/finalizers"], "verbs": ["update"]},
        ],
    });
    place.apply("foreign-roles", &roles.to_string()).await;
    for (name, group, kind, plural) in
        [("sample", group, "TestStream", "teststreams"), ("foreign", other_group, "ForeignStream", "foreignstreams")]
    {
        let class = json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": name},
            "spec": {"apiGroupRef": group, "apiVersion": "v1", "kindRef": kind, "pluralName": plural},
        });
        place.apply(name, &class.to_string()).await;
        place.until("Ready class", &["streamclass", name], |it| it["status"]["phase"] == "Ready").await;
    }
    let stream = |group: &str, kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": name, "namespace": "data-streaming"}, "spec": spec,
        })
        .to_string()
    };

    // The guide's walk: a backfill first, suspended and resumed, backfilled again.
    place.apply("orders", &repository_file("examples/guide/my-stream.yaml")).await;
    let streams = "sqlserverchangetrackingstreams";
    place.phase(streams, "orders-stream", "Running").await;
    place.patch(streams, "orders-stream", json!({"spec": {"suspended": true}})).await;
    place.phase(streams, "orders-stream", "Suspended").await;
    place.patch(streams, "orders-stream", json!({"spec": {"suspended": false}})).await;
    place.phase(streams, "orders-stream", "Running").await;
    place.apply("backfill", &repository_file("examples/guide/backfill.yaml")).await;
    place.phase("backfillrequests", "orders-backfill-jan-2026", "Completed").await;
    place.phase(streams, "orders-stream", "Running").await;

    // Names that belong to somebody else.
    let busy = ["-n", "data-streaming", "--image=example.com/busy:1"];
    place.kubectl(&[&["create", "job", "foreign"], &busy[..]].concat()).await;
    place.kubectl(&[&["create", "cronjob", "nightly", "--schedule=0 0 1 1 *"], &busy[..]].concat()).await;

    // A kind of another group, a failing stream, one on a schedule that changes and is backfilled.
    let template = |name: &str| json!({"jobTemplateRef": {"name": name}});
    place
        .apply(
            "foreign-stream",
            &stream(other_group, "ForeignStream", "foreign", template("sqlserver-stream-template")),
        )
        .await;
    place.phase("foreignstreams", "foreign", "Running").await;
    place.apply("failing-stream", &stream(group, "TestStream", "failing", template("failing"))).await;
    place.phase("teststreams", "failing", "Failed").await;
    let nightly = |schedule: &str| {
        let batch = json!({"jobTemplateRef": {"name": "kept-for-an-hour"}, "schedule": schedule});
        stream(
            group,
            "TestStream",
            "nightly",
            json!({"execution": {"layoutVersion": "v2", "streamingBackend": {"batch": batch}}}),
        )
    };
    place.apply("nightly", &nightly("0 0 1 1 *")).await;
    place.phase("teststreams", "nightly", "Scheduled").await;
    place.apply("nightly", &nightly("0 0 2 1 *")).await;
    let scheduled = |list: &Value| list["items"][0]["spec"]["schedule"] == "0 0 2 1 *";
    let of_nightly = ["cronjobs", "-n", "data-streaming", "-l", "arcane/stream-id=nightly"];
    place.until("changed CronJob", &of_nightly, scheduled).await;
    let request = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
        "metadata": {"name": "again", "namespace": "data-streaming"},
        "spec": {"streamClass": "sample", "streamId": "nightly"},
    });
    place.apply("again", &request.to_string()).await;
    place.phase("backfillrequests", "again", "Completed").await;
    place.patch("teststreams", "nightly", json!({"spec": {"execution": {"suspended": true}}})).await;
    place.phase("teststreams", "nightly", "Suspended").await;
    place.patch("teststreams", "nightly", json!({"spec": {"execution": {"suspended": false}}})).await;
    place.phase("teststreams", "nightly", "Scheduled").await;

    // What the webhook has to ask for: a template that isn't there, one in another namespace, one in use that is deleted.
    let missing = json!({"jobTemplateRef": {"name": "nowhere"}});
    let elsewhere = json!({"jobTemplateRef": {"name": "failing", "namespace": "default"}});
    for (name, spec) in [("missing", missing), ("elsewhere", elsewhere)] {
        let file = place.cluster.directory().join(name);
        std::fs::write(&file, stream(group, "TestStream", name, spec)).unwrap();
        let said = place.cluster.kubectl(&["create", "-f", &file.display().to_string()]).await.unwrap();
        assert!(!said.status.success() && said.stderr.contains("is invalid"), "{}{}", said.stdout, said.stderr);
    }
    let dry = ["delete", "streamingjobtemplate", "failing", "-n", "data-streaming", "--dry-run=server"];
    let said = place.cluster.kubectl(&dry).await.unwrap();
    assert!(said.stderr.contains("Warning"), "{}{}", said.stdout, said.stderr);
}
