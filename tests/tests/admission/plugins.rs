//! Plugins beside the sample one: their kinds and classes, installed once.

use arcane_tests::fixture::{SOON, any_object, definition_of};
use arcane_tests::{TestNamespace, eventually};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::asked::{Asked, Way, labelled, object};
use crate::world::World;

pub const GROUP: &str = "streaming.sneaksanddata.com";

/// A template of the sample plugin, which every namespace has.
pub const TEMPLATE: &str = "sqlserver-stream-template";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

pub fn plural_of(kind: &str) -> String {
    match kind {
        "StreamClass" => "streamclasses".to_owned(),
        "TestStream" => "test-streams".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    }
}

/// A plugin's CRD with this schema of the spec.
pub fn definition(group: &str, kind: &str, spec: Value) -> String {
    definition_of(group, kind, &plural_of(kind), spec)
}

/// The schema of a spec in all three layouts. Its references know a namespace or don't.
pub fn all_layouts(with_namespace: bool) -> Value {
    let text = json!({"type": "string", "nullable": true});
    let reference = || {
        let mut properties = json!({"name": text, "kind": text});
        if with_namespace {
            properties["namespace"] = text.clone();
        }
        json!({"type": "object", "nullable": true, "properties": properties})
    };
    let object = |properties: Value| json!({"type": "object", "nullable": true, "properties": properties});
    let backend = object(json!({
        "changeCapture": object(json!({"jobTemplateRef": reference(), "backfillJobTemplateRef": reference()})),
        "batch": object(json!({"jobTemplateRef": reference(), "schedule": text})),
    }));
    let switch = json!({"type": "boolean"});
    object(json!({
        "suspended": switch,
        "jobTemplateRef": reference(),
        "backfillJobTemplateRef": reference(),
        "plugin": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "nullable": true},
        "execution": object(json!({
            "layoutVersion": text, "suspended": switch, "streamingBackend": backend,
            "backfillJobTemplateRef": reference(),
        })),
    }))
}

/// A StreamClass; `more` is merged into its spec.
pub fn class(name: &str, group: &str, kind: &str, more: Value) -> Value {
    let mut spec = json!({"apiGroupRef": group, "apiVersion": "v1", "kindRef": kind, "pluralName": plural_of(kind)});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    object("StreamClass", name, spec)
}

/// Installs them, and waits until the API server calls the webhook.
///
/// - `TestStream` takes whatever is written into it. Its classes differ in what they ask of a stream, which chooses one by
///   its label: `test-streams` (the default), `test-secrets`, `test-schema`, `test-deny`, `test-warn`.
/// - `LayoutStream` knows every field of the three layouts, `NarrowStream` all but the namespaces of references.
/// - `LoneStream` has no class.
pub async fn installed(world: &World, ns: &TestNamespace<'_>) -> Asked {
    INSTALLED.get_or_init(|| install(world, ns)).await;
    Asked::in_namespace(ns)
}

async fn install(world: &World, ns: &TestNamespace<'_>) {
    let fixture = &world.fixture;
    let definitions = [
        definition(GROUP, "TestStream", any_object()),
        definition(GROUP, "LayoutStream", all_layouts(true)),
        definition(GROUP, "NarrowStream", all_layouts(false)),
        definition(GROUP, "LoneStream", any_object()),
    ];
    futures::future::join_all(definitions.iter().map(|yaml| fixture.apply(None, yaml))).await;
    let mut default = class("test-streams", GROUP, "TestStream", json!({}));
    default["metadata"]["annotations"] = json!({"arcane/is-default-class": "true"});
    let schema = json!({
        "properties": {"fetchSize": {"type": "integer", "minimum": 1}, "mode": {"enum": ["full", "delta"]}},
        "required": ["table"],
    });
    for class in [
        default,
        class("test-secrets", GROUP, "TestStream", json!({"secretRefs": ["connectionString", "key"]})),
        class("test-schema", GROUP, "TestStream", json!({"streamSchema": schema})),
        class("test-deny", GROUP, "TestStream", json!({"missingReferences": "Deny"})),
        class("test-warn", GROUP, "TestStream", json!({"missingReferences": "Warn"})),
        class("layout-streams", GROUP, "LayoutStream", json!({})),
        class("narrow-streams", GROUP, "NarrowStream", json!({})),
    ] {
        fixture.apply(None, &class.to_string()).await;
    }
    // Its admission plugin reads our registration a moment after it was written.
    let asked = Asked::in_namespace(ns);
    eventually(SOON, "refusal of a stream without a template", || async {
        let answer = asked.write(Way::Create, true, &stream("x", json!({}))).await;
        if answer.is_allowed() { Err(answer.body.to_string()) } else { Ok(()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// A stream that may hold anything.
pub fn stream(name: &str, spec: Value) -> Value {
    object("TestStream", name, spec)
}

/// One that is right, but suspended: nothing runs for it.
pub fn a_good_stream() -> Value {
    stream("orders", json!({"suspended": true, "jobTemplateRef": {"name": TEMPLATE}, "table": "before"}))
}

/// The same of another class.
pub fn of_class(object: Value, class: &str) -> Value {
    labelled(object, "arcane/stream-class", class)
}

/// Installs a kind for one test.
pub async fn a_kind(world: &World, group: &str, kind: &str) {
    world.fixture.apply(None, &definition(group, kind, any_object())).await;
}

/// Waits until the API server and the webhook refuse an object: what a class says takes a moment to be known.
pub async fn refused_by_now(asked: &Asked, object: &Value) {
    eventually(SOON, "refusal", || async {
        let answer = asked.write(Way::Create, true, object).await;
        if answer.is_allowed() { Err(format!("{object} is let in")) } else { Ok(()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// The same for what shall be let in.
pub async fn let_in_by_now(asked: &Asked, object: &Value) {
    eventually(SOON, "admission", || async {
        let answer = asked.write(Way::Create, true, object).await;
        if answer.is_allowed() { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// The ClusterRoles by which a plugin of another group lets the controller read and mark its streams, and the webhook read
/// them.
pub fn readable_by_arcane(group: &str, plural: &str) -> String {
    format!("{}\n---\n{}", for_the_controller(group, plural), for_the_webhook(group, plural))
}

fn for_the_webhook(group: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": format!("{plural}.{group}-webhook"), "labels": {"arcane/aggregate-to-webhook": "true"}},
        "rules": [{"apiGroups": [group], "resources": [plural], "verbs": ["get", "list"]}],
    })
}

fn for_the_controller(group: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": format!("{plural}.{group}"), "labels": {"arcane/aggregate-to-controller": "true"}},
        "rules": [
            {"apiGroups": [group], "resources": [plural], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [group], "resources": [format!("{plural}/status")], "verbs": ["get", "patch"]},
            {"apiGroups": [group], "resources": [format!("{plural}/finalizers")], "verbs": ["update"]},
        ],
    })
}
