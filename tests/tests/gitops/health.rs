//! What Flux and Argo CD think of an object in each of its states: the table of `docs/gitops.md`.

use std::time::Duration;

use arcane_tests::fixture::{SOON, any_object, condition_of, definition_of, repository_file, streams_of, until};
use arcane_tests::manifests::{KINDS, NAMESPACE, manifests};
use arcane_tests::{PodBehaviour, PodKind, TestNamespace, eventually};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::engines::{argocd_health, file_of, flux_health};
use crate::world::on_a_cluster;

const GROUP: &str = "streaming.sneaksanddata.com";

/// A kind of stream: what its status has room for, and the schema of that.
const KINDS_OF_STREAMS: [(&str, &str); 5] = [
    ("any condition", "Whole"),
    ("conditions without reason", "Some"),
    ("the older words", "Old"),
    ("a phase only", "Phase"),
    ("nothing", "Bare"),
];

/// A kind whose class replaces Jobs a few at a time.
const ROLLING: &str = "Rolling";

const PHASES: [&str; 6] = ["Pending", "Backfilling", "Running", "Scheduled", "Suspended", "Failed"];

/// An object in a state.
struct Row {
    what: String,
    state: String,
    object: Value,
}

fn status_schema(kind: &str) -> Value {
    let of_example = |directory: &str| {
        let kinds = manifests(directory, KINDS, NAMESPACE);
        kinds[0].value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"].clone()
    };
    match kind {
        "Whole" | ROLLING => any_object(),
        "Some" => of_example("sql-server"),
        "Old" => of_example("json"),
        "Phase" => json!({"type": "object", "properties": {"phase": {"type": "string"}}}),
        _ => json!({"type": "object"}),
    }
}

fn plugin_of(kind: &str) -> String {
    let (kind, plural) = (format!("{kind}HealthStream"), format!("{}healthstreams", kind.to_lowercase()));
    let mut crd: Value = serde_json::from_str(&definition_of(GROUP, &kind, &plural, any_object())).unwrap();
    let short = kind.trim_end_matches("HealthStream");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"] = status_schema(short);
    let mut class = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass", "metadata": {"name": plural},
        "spec": {"apiGroupRef": GROUP, "apiVersion": "v1", "kindRef": kind, "pluralName": plural, "secretRefs": []},
    });
    if short == ROLLING {
        class["spec"]["initialBackfill"] = json!("Never");
        class["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    }
    // Of the last kind nobody is in charge.
    if short == "Unseen" { crd.to_string() } else { format!("{crd}\n---\n{class}") }
}

fn stream_of(kind: &str, name: &str) -> Value {
    let template = json!({"name": if name == "pending" { "absent" } else { "streaming" }});
    let spec = match name {
        "scheduled" => json!({"execution": {
            "layoutVersion": "v1",
            "streamingBackend": {"batch": {"schedule": "0 0 1 1 *", "jobTemplateRef": template}},
        }}),
        _ => json!({"suspended": name == "suspended", "jobTemplateRef": template}),
    };
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": format!("{kind}HealthStream"),
        "metadata": {"name": name}, "spec": spec,
    })
}

fn template(name: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "StreamingJobTemplate", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {
            "spec": {"containers": [{"name": "stream", "image": "example.com/stream:1"}]},
        }},
    })
}

#[test]
fn the_table_of_the_docs_is_what_the_evaluators_say() {
    on_a_cluster(async |world| {
        let fixture = &world.fixture;
        for kind in KINDS_OF_STREAMS.iter().map(|(_, kind)| *kind).chain([ROLLING, "Unseen"]) {
            fixture.apply(None, &plugin_of(kind)).await;
        }
        let ns = fixture.empty_namespace("health").await;
        fixture.kubectl(&["label", "namespace", ns.name(), "arcane/missing-references=Warn"]).await;
        let kubelet = fixture.kubelet();
        kubelet.set(ns.name(), "backfilling", PodKind::Backfill, PodBehaviour::runs());
        kubelet.set(ns.name(), "failed", PodKind::Streaming, PodBehaviour::exits(1, Duration::ZERO));
        kubelet.set(ns.name(), "unlucky", PodKind::Backfill, PodBehaviour::exits(1, Duration::ZERO));
        ns.apply(&template("streaming").to_string()).await;
        let mut without_image = template("without-image");
        without_image["spec"]["template"]["spec"]["containers"] = json!([{"name": "stream"}]);
        ns.apply(&without_image.to_string()).await;

        let mut rows = streams(&ns).await;
        rows.extend(rolling(&ns).await);
        rows.extend(classes(&ns).await);
        rows.extend(templates(&ns, &template("unseen")).await);
        rows.extend(requests(&ns).await);

        let objects: Vec<Value> = rows.iter().map(|row| row.object.clone()).collect();
        let (flux, argocd) = (flux_health(&objects).await, argocd_health(&objects).await);
        let line = |((row, flux), argocd): ((&Row, _), _)| {
            let (flux, argocd): (&crate::engines::Verdict, &crate::engines::Verdict) = (flux, argocd);
            // An expression about what isn't there can't be evaluated: Flux waits on.
            let by_expressions =
                if flux.expressions.contains("no such attribute") { "Unknown" } else { &*flux.expressions };
            format!("| {} | {} | {} | {} | {} |", row.what, row.state, flux.status, by_expressions, argocd.status)
        };
        let table: Vec<String> = rows.iter().zip(&flux).zip(&argocd).map(line).collect();
        let docs = repository_file("docs/gitops.md");
        let of_docs: Vec<&str> = docs
            .lines()
            .skip_while(|line| !line.starts_with("| object | state |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(
            of_docs.join("\n"),
            table.join("\n"),
            "the table of docs/gitops.md should be:\n{}\n",
            table.join("\n")
        );
        for (row, argocd) in rows.iter().zip(&argocd) {
            assert!(!argocd.message.is_empty(), "{} {} has no message", row.what, row.state);
        }
        ns.delete().await;
    });
}

/// Streams of every kind in every phase; and one that nobody looks at.
async fn streams(ns: &TestNamespace<'_>) -> Vec<Row> {
    for (_, kind) in KINDS_OF_STREAMS {
        for phase in PHASES {
            ns.apply(&stream_of(kind, &phase.to_lowercase()).to_string()).await;
        }
    }
    ns.apply(&stream_of("Whole", "unlucky").to_string()).await;
    ns.apply(&stream_of("Unseen", "running").to_string()).await;
    let mut rows = Vec::new();
    for (room, kind) in KINDS_OF_STREAMS {
        for phase in PHASES {
            let api = ns.objects(&kind_of(kind));
            let what = format!("{phase} {kind} stream");
            let object = until(&api, &phase.to_lowercase(), &what, |it| {
                let said = [&it["status"]["phase"], &it["metadata"]["annotations"]["arcane/phase"]];
                said.into_iter().filter_map(Value::as_str).any(|said| said == phase || said == old_word(phase))
            })
            .await;
            rows.push(Row { what: format!("stream, room for {room}"), state: phase.to_owned(), object });
        }
    }
    let unseen = until(&ns.objects(&kind_of("Unseen")), "running", "stream", |_| true).await;
    rows.push(Row { what: "stream".to_owned(), state: "not seen yet".to_owned(), object: unseen });
    rows
}

/// A class whose rolling update has stopped, and the stream that runs on with its earlier template.
async fn rolling(ns: &TestNamespace<'_>) -> Vec<Row> {
    let mut template = template("rolled");
    ns.apply(&template.to_string()).await;
    let api = ns.objects(&kind_of(ROLLING));
    for name in ["first", "second"] {
        let mut stream = stream_of(ROLLING, name);
        stream["spec"]["jobTemplateRef"]["name"] = json!("rolled");
        ns.apply(&stream.to_string()).await;
        until(&api, name, "Running stream", |it| it["status"]["phase"] == "Running").await;
    }
    template["spec"]["template"]["metadata"]["annotations"] = json!({"simulated-kubelet/behaviour": "exit 3"});
    ns.apply(&template.to_string()).await;
    let stopped = |it: &Value| condition_of(it, "UpToDate")["reason"] == "RollingUpdateStopped";
    let classes: Api<DynamicObject> = Api::all_with(ns.fixture().client(), &classes_kind());
    let class = until(&classes, &kind_of(ROLLING).plural, "class whose rolling update has stopped", stopped).await;
    let (failed, running) = eventually(SOON, "stream that has failed, and one that runs on", || async {
        let listed = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut streams: Vec<Value> = listed.items.iter().filter_map(|it| serde_json::to_value(it).ok()).collect();
        let mut take = |phase: &str| {
            let found = streams.iter().position(|it| it["status"]["phase"] == phase);
            found.map(|at| streams.swap_remove(at)).ok_or(format!("none is {phase}"))
        };
        Ok((take("Failed")?, take("Running")?))
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    let row = |what: &str, state: &str, object| Row { what: what.to_owned(), state: state.to_owned(), object };
    vec![
        row("stream", "Failed in a rolling update", failed),
        row("stream", "Running, its rolling update has stopped", running),
        row("StreamClass", "Ready, its rolling update has stopped", class),
    ]
}

fn classes_kind() -> kube::core::ApiResource {
    streams_of(GROUP, "v1", "StreamClass", "streamclasses")
}

fn old_word(phase: &str) -> &'static str {
    match phase {
        "Pending" => "RESTARTING",
        "Backfilling" => "RELOADING",
        "Running" | "Scheduled" => "RUNNING",
        "Suspended" => "SUSPENDED",
        _ => "FAILED",
    }
}

fn kind_of(kind: &str) -> kube::core::ApiResource {
    streams_of(GROUP, "v1", &format!("{kind}HealthStream"), &format!("{}healthstreams", kind.to_lowercase()))
}

async fn classes(ns: &TestNamespace<'_>) -> Vec<Row> {
    let class = |name: &str, group: &str, kind: &str, plural: &str| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass", "metadata": {"name": name},
            "spec": {"apiGroupRef": group, "apiVersion": "v1", "kindRef": kind, "pluralName": plural},
        })
    };
    let pending = class("health-pending", GROUP, "AbsentStream", "absentstreams");
    // Nobody may read it.
    let other = "health.example.com";
    ns.apply(&definition_of(other, "UnreadableStream", "unreadablestreams", any_object())).await;
    let failed = class("health-failed", other, "UnreadableStream", "unreadablestreams");
    ns.apply(&format!("{pending}\n---\n{failed}")).await;
    let api: Api<DynamicObject> = Api::all_with(ns.fixture().client(), &classes_kind());
    let mut rows = Vec::new();
    for (name, phase) in [("wholehealthstreams", "Ready"), ("health-pending", "Pending"), ("health-failed", "Failed")] {
        let object = until(&api, name, &format!("{phase} class"), |it| it["status"]["phase"] == phase).await;
        rows.push(Row { what: "StreamClass".to_owned(), state: phase.to_owned(), object });
    }
    let unseen = as_created(ns, &class("health-unseen", GROUP, "UnseenStream", "unseenstreams")).await;
    rows.push(Row { what: "StreamClass".to_owned(), state: "not seen yet".to_owned(), object: unseen });
    rows
}

async fn templates(ns: &TestNamespace<'_>, unseen: &Value) -> Vec<Row> {
    let row = |state: &str, object| Row { what: "StreamingJobTemplate".to_owned(), state: state.to_owned(), object };
    let valid = ns.condition(&ns.templates(), "streaming", ("Valid", "True", "Valid")).await;
    let invalid = ns.condition(&ns.templates(), "without-image", ("Valid", "False", "ImageMissing")).await;
    vec![row("valid", valid), row("invalid", invalid), row("not seen yet", as_created(ns, unseen).await)]
}

async fn requests(ns: &TestNamespace<'_>) -> Vec<Row> {
    let request = |name: &str, stream: &str| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "BackfillRequest", "metadata": {"name": name},
            "spec": {"streamClass": "wholehealthstreams", "streamId": stream},
        })
    };
    ns.apply(&request("pending", "no-such-stream").to_string()).await;
    ns.apply(&request("cancelled", "suspended").to_string()).await;
    // One that is completed before it is seen counts as done elsewhere.
    until(&ns.requests(), "cancelled", "Pending", |it| it["status"]["phase"] == "Pending").await;
    ns.merge(&ns.requests(), "cancelled", json!({"spec": {"completed": true}})).await;
    let mut rows = Vec::new();
    for (state, stream) in [
        ("Pending", "no-such-stream"),
        ("Running", "backfilling"),
        ("Completed", "running"),
        ("Failed", "unlucky"),
        ("Cancelled", "suspended"),
    ] {
        let all = ns.requests().list(&ListParams::default()).await.unwrap();
        let of_stream = |it: &&DynamicObject| {
            it.data["spec"]["streamId"] == stream && it.data["spec"]["streamClass"] == "wholehealthstreams"
        };
        let name = all.items.iter().find(of_stream).and_then(|it| it.metadata.name.clone());
        let name = name.unwrap_or_else(|| panic!("no request for {stream}"));
        let object = until(&ns.requests(), &name, state, |it| it["status"]["phase"] == state).await;
        rows.push(Row { what: "BackfillRequest".to_owned(), state: state.to_owned(), object });
    }
    let unseen = as_created(ns, &request("unseen", "running")).await;
    rows.push(Row { what: "BackfillRequest".to_owned(), state: "not seen yet".to_owned(), object: unseen });
    rows
}

/// The object as the API server would store it, before anybody sees it.
async fn as_created(ns: &TestNamespace<'_>, object: &Value) -> Value {
    let file = file_of(&object.to_string());
    let path = file.path().display().to_string();
    let said = ns.kubectl(&["create", "--dry-run=server", "-o", "json", "-f", &path]).await;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}
