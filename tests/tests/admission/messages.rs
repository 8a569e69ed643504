//! What a person reads in the terminal after the most likely mistakes, word for word. Each should read as advice: what is
//! wrong, where, and what to do.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::asked::{labelled, object, with};
use crate::other_namespaces::a_developer;
use crate::plugins::*;
use crate::world::*;

/// A title, the object, and how it is applied.
type Mistake = (&'static str, Value, &'static str);

const PLAINLY: &str = "kubectl apply -f -";
const BY_FLUX: &str = "kubectl apply --server-side --field-manager kustomize-controller -f -";

fn mistakes(shared: &str) -> Vec<Mistake> {
    let orders = |more: Value| with(a_good_stream(), more);
    let with_secrets = |more: Value| of_class(orders(more), "test-secrets");
    let with_schema = |more: Value| of_class(orders(more), "test-schema");
    let execution = |backend: Value| {
        let execution = json!({"layoutVersion": "v1", "streamingBackend": backend});
        stream("orders", json!({"execution": execution}))
    };
    let reference = || json!({"name": TEMPLATE});
    let container = |more: Value| {
        let mut container = json!({"name": "main", "image": "plugin:1"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object("StreamingJobTemplate", "standard", json!({"template": {"spec": {"containers": [container]}}}))
    };
    let backfill = |class: &str, stream: &str| {
        object("BackfillRequest", "again", json!({"streamClass": class, "streamId": stream}))
    };
    vec![
        ("a template that is not there", orders(json!({"jobTemplateRef": {"name": "sqlserver-stream"}})), PLAINLY),
        ("the same, by Flux", orders(json!({"jobTemplateRef": {"name": "sqlserver-stream"}})), BY_FLUX),
        ("no template at all", orders(json!({"jobTemplateRef": null})), PLAINLY),
        ("no Secret", with_secrets(json!({"key": {"name": "creds"}})), PLAINLY),
        (
            "a secret in the open",
            with_secrets(json!({"connectionString": "Server=db;Password=hunter2", "key": {"name": "creds"}})),
            PLAINLY,
        ),
        (
            "a bad schedule",
            execution(json!({"batch": {"jobTemplateRef": reference(), "schedule": "every hour"}})),
            PLAINLY,
        ),
        (
            "two backends",
            execution(json!({"batch": {"jobTemplateRef": reference(), "schedule": "@daily"},
            "changeCapture": {"jobTemplateRef": reference()}})),
            PLAINLY,
        ),
        ("an unknown layout", stream("orders", json!({"execution": {"layoutVersion": "v3"}})), PLAINLY),
        ("a switch that is a word", orders(json!({"suspended": "no"})), PLAINLY),
        ("a long name", stream(&format!("orders-{}", "x".repeat(60)), a_good_stream()["spec"].clone()), PLAINLY),
        ("a spec that is too long", orders(json!({"query": "x".repeat(140_000)})), "kubectl apply --server-side -f -"),
        ("against the class's schema", with_schema(json!({"fetchSize": "many", "mode": "all"})), PLAINLY),
        (
            "a template that the user may not read",
            orders(json!({"jobTemplateRef": {"name": TEMPLATE, "namespace": shared}})),
            "AS-JANE kubectl apply -f -",
        ),
        (
            "a template that this namespace may not use",
            orders(json!({"jobTemplateRef": {"name": "sqlserver-backfill-template", "namespace": shared}})),
            PLAINLY,
        ),
        ("a label that names no class", of_class(orders(json!({})), "test-stream"), PLAINLY),
        ("a plugin without a class", object("LoneStream", "orders", a_good_stream()["spec"].clone()), PLAINLY),
        ("a memory limit with a slip", container(json!({"resources": {"limits": {"memory": "4 GB"}}})), PLAINLY),
        ("a field with a slip", container(json!({"imagePulPolicy": "Always"})), PLAINLY),
        ("no image", container(json!({"image": null})), PLAINLY),
        ("a variable of ours", container(json!({"env": [{"name": "STREAMCONTEXT__SPEC", "value": "{}"}]})), PLAINLY),
        (
            "a pod that never ends",
            object(
                "StreamingJobTemplate",
                "standard",
                json!({"template": {"spec": {
            "restartPolicy": "Always", "containers": [{"name": "main", "image": "plugin:1"}]}}}),
            ),
            PLAINLY,
        ),
        (
            "a template without a Job",
            object("StreamingJobTemplate", "standard", json!({"containers": [{"name": "main"}]})),
            PLAINLY,
        ),
        ("a backfill of a stream that is not there", backfill("test-streams", "odrers"), PLAINLY),
        ("a backfill with the kind for the class", backfill("TestStream", "orders"), PLAINLY),
        ("a backfill of a suspended stream that has an open one", backfill("test-streams", "paused"), PLAINLY),
        ("a class of the wrong group", class("my-streams", "apps.k8s.io", "MyStream", json!({})), PLAINLY),
        (
            "a schema from elsewhere",
            class(
                "my-streams",
                GROUP,
                "MyStream",
                json!({"streamSchema": {"$ref": "https://example.com/schema.json"}}),
            ),
            PLAINLY,
        ),
        (
            "several at once",
            labelled(
                stream(
                    "orders",
                    json!({"suspended": "no", "jobTemplateRef": {"name": ""}, "backfillJobTemplateRef": {
                "name": "sqlserver-backfill"}}),
                ),
                "arcane/stream-class",
                "test-secrets",
            ),
            PLAINLY,
        ),
        (
            "a template in use, deleted",
            object("StreamingJobTemplate", TEMPLATE, json!({})),
            "kubectl delete --dry-run=server -f -",
        ),
        ("nothing wrong", a_good_stream(), PLAINLY),
    ]
}

#[test]
fn the_most_likely_mistakes() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let shared = world.fixture.namespace("shared").await;
        let annotation = "arcane/allowed-namespaces=finance";
        shared.kubectl(&["annotate", "streamingjobtemplate", "sqlserver-backfill-template", annotation]).await;
        let (_, _, jane) = a_developer(&asked, world, ns).await;
        let paused = stream("paused", a_good_stream()["spec"].clone());
        asked.put(&paused).await;
        asked
            .put(&object("BackfillRequest", "first", json!({"streamClass": "test-streams", "streamId": "paused"})))
            .await;
        let of_another_namespace = stream(
            "orders",
            json!({"jobTemplateRef": {
            "name": "sqlserver-backfill-template", "namespace": shared.name()}}),
        );
        refused_by_now(&asked, &of_another_namespace).await;

        let mut text = String::new();
        for (title, object, how) in mistakes(shared.name()) {
            let scope =
                if object["kind"] == "StreamClass" { String::new() } else { format!("--namespace {}", ns.name()) };
            let (as_user, how) = match how.strip_prefix("AS-JANE ") {
                Some(how) => (format!("export KUBECONFIG={}; ", jane.kubeconfig().display()), how),
                None => (String::new(), how),
            };
            let file = world.fixture.cluster().directory().join(format!("{}.json", ns.name()));
            std::fs::write(&file, object.to_string()).unwrap();
            let line =
                format!("{as_user}{} < {}", how.replacen("kubectl", &format!("kubectl {scope}"), 1), file.display());
            let said = world.fixture.shell(".", &line).await;
            // The next mistake is one of its own.
            if !how.contains("delete") && asked.get(&object).await.is_some() {
                asked.delete(&object).await;
            }
            writeln!(text, "# {title}\n$ {how}\n{}{}", said.stdout, said.stderr).unwrap();
        }
        let text = text.replace(&format!("jane-{}", ns.name()), "jane").replace(shared.name(), "shared");
        // Of a value that can't be shown, older API servers show the type.
        let text = text.replace("Invalid value: \"object\": ", "Invalid value: ");
        insta::assert_snapshot!("mistakes", text.replace(ns.name(), "data").trim_end());
        shared.delete().await;
    });
}
