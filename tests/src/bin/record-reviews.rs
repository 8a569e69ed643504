//! `make record-reviews`: what a real API server sends to a webhook, as files that tests of the webhook replay.

use std::path::Path;

use arcane_tests::fixture::repository;
use arcane_tests::{Fixture, FixtureOptions, Normaliser, ReviewRecorder};
use clap::Parser;
use serde_json::Value;

const GROUP: &str = "streaming.sneaksanddata.com";

/// Records the reviews of a real API server into a directory, in place of what is there. Two runs write the same bytes.
#[derive(Parser)]
#[command(name = "record-reviews")]
struct Args {
    /// Where the files go.
    #[arg(default_value_t = repository().join("webhook/tests/reviews/recorded").display().to_string())]
    directory: String,
}

/// What a person does, and what the reviews of it are called. Each line runs in `examples`, `$in` standing for
/// `kubectl --namespace data-streaming`.
const STEPS: &[(&str, &str)] = &[
    (
        "class-create",
        r#"kubectl create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": "second"}, "spec": {"apiVersion": "v1", "kindRef": "SqlServerChangeTrackingStream", "pluralName": "sqlserverchangetrackingstreams", "missingReferences": "Warn", "streamSchema": {"required": ["sourceTable"], "properties": {"pollInterval": {"type": "string", "pattern": "^[0-9]+s$"}}}}}'"#,
    ),
    (
        "class-older-version",
        r#"kubectl create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1beta1", "kind": "StreamClass", "metadata": {"name": "third"}, "spec": {"apiGroupRef": "plugins.example.com", "apiVersion": "v1", "kindRef": "Other", "pluralName": "others"}}'"#,
    ),
    ("class-annotate", "kubectl annotate streamclass second arcane/is-default-class=true"),
    ("class-label", "kubectl label streamclass second team=data"),
    ("class-edit", "EDITOR='sed -i s/Warn/Deny/' kubectl edit streamclass second"),
    (
        "class-patch",
        r#"kubectl patch streamclass second --type json -p '[{"op": "remove", "path": "/spec/streamSchema"}]'"#,
    ),
    (
        "class-status",
        r#"kubectl patch streamclass second --subresource status --type merge -p '{"status": {"phase": "Ready"}}'"#,
    ),
    ("class-apply-unchanged", "kubectl apply --server-side --force-conflicts -f guide/stream-class.yaml"),
    ("class-delete", "kubectl delete streamclass second third"),
    ("template-apply", "$in apply -f sample-plugin/templates.yaml"),
    (
        "template-apply-dry-run",
        "$in apply --dry-run=server -f guide/production-template.yaml -f guide/dev-template.yaml",
    ),
    ("template-server-side", "$in apply --server-side --field-manager=helm -f guide/production-template.yaml"),
    (
        "template-whole-job",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate", "metadata": {"name": "whole-job"}, "spec": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "plugin:1", "env": [{"name": "A", "value": "b"}]}]}}}}}'"#,
    ),
    (
        "template-legacy",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate", "metadata": {"name": "legacy"}, "spec": {"metadata": {"labels": {"a": "b"}}, "template": {"kind": "job", "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "plugin:1"}]}}}}}}'"#,
    ),
    (
        "template-wrong",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate", "metadata": {"name": "wrong"}, "spec": {"template": {"spec": {"restartPolicy": "Always", "containers": [{"image": 7, "env": [{"name": "STREAMCONTEXT__SPEC", "value": 1}, {}], "resources": {"limits": {"memory": "1 GB"}}, "imagePullpolicy": "Never"}]}}}}'"#,
    ),
    ("template-replace", "$in get sjt legacy -o json | sed 's/plugin:1/plugin:2/' | $in replace -f -"),
    ("template-patch", r#"$in patch sjt whole-job --type merge -p '{"spec": {"spec": {"backoffLimit": 2}}}'"#),
    ("template-allow-namespaces", "$in annotate sjt legacy arcane/allowed-namespaces=data-streaming,other"),
    ("stream-apply", "$in apply -f guide/my-stream.yaml"),
    ("stream-apply-again", "sed 's/60s/30s/' guide/my-stream.yaml | $in apply -f -"),
    ("stream-apply-dry-run", "$in apply --dry-run=server -f guide/my-database-stream.yaml"),
    ("stream-server-side", "$in apply --server-side -f guide/my-database-stream.yaml"),
    (
        "stream-by-flux",
        "sed 's/orders-stream/flux-stream/' guide/my-stream.yaml | $in apply --server-side --field-manager=kustomize-controller -f -",
    ),
    (
        "stream-of-another-user",
        "sed 's/orders-stream/janes-stream/; s/namespace: data-streaming  #.*/namespace: shared/' guide/my-stream.yaml | $in create -f - --as jane --as-uid 42 --as-group devs --as-group system:masters --as-user-extra scopes=read --as-user-extra scopes=write",
    ),
    (
        "stream-generate-name",
        "sed 's/name: orders-stream/generateName: orders-/' guide/my-stream.yaml | $in create -f -",
    ),
    (
        "stream-execution-v1",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "SqlServerChangeTrackingStream", "metadata": {"name": "nightly"}, "spec": {"secretRef": {"name": "s"}, "execution": {"layoutVersion": "v1", "backfillJobTemplateRef": {"name": "legacy"}, "streamingBackend": {"batch": {"schedule": "0 3 * * *", "jobTemplateRef": {"name": "whole-job"}}}}}}'"#,
    ),
    (
        "stream-execution-v2",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "SqlServerChangeTrackingStream", "metadata": {"name": "second-layout"}, "spec": {"secretRef": {"name": "s"}, "execution": {"layoutVersion": "v2", "suspended": true, "streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": "whole-job"}, "backfillJobTemplateRef": {"name": "legacy", "namespace": "data-streaming"}}}}}}'"#,
    ),
    (
        "stream-wrong",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "SqlServerChangeTrackingStream", "metadata": {"name": "wrong"}, "spec": {"execution": {"layoutVersion": "v1", "streamingBackend": {"batch": {"schedule": "hourly"}}}}}'"#,
    ),
    (
        "stream-label",
        "$in label sqlserverchangetrackingstream orders-stream arcane/stream-class=sqlserver-change-tracking-stream",
    ),
    (
        "stream-suspend",
        r#"$in patch sqlserverchangetrackingstream orders-stream --type merge -p '{"spec": {"suspended": true}}'"#,
    ),
    (
        "stream-edit",
        "EDITOR='sed -i s/sqlserver-stream-template/nowhere/' $in edit sqlserverchangetrackingstream orders-stream",
    ),
    (
        "stream-status",
        r#"$in patch sqlserverchangetrackingstream orders-stream --subresource status --type merge -p '{"status": {"phase": "Running"}}'"#,
    ),
    (
        "stream-finalizer",
        r#"$in patch sqlserverchangetrackingstream orders-stream --type merge -p '{"metadata": {"finalizers": ["example.com/keep"]}}'"#,
    ),
    ("stream-delete-held", "$in delete sqlserverchangetrackingstream orders-stream --wait=false"),
    (
        "stream-release",
        r#"$in patch sqlserverchangetrackingstream orders-stream --type json -p '[{"op": "remove", "path": "/metadata/finalizers"}]'"#,
    ),
    ("backfill-apply", "$in apply -f guide/backfill.yaml"),
    (
        "backfill-generate-name",
        r#"$in create -f - <<< '{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest", "metadata": {"generateName": "reload-"}, "spec": {"streamClass": "sqlserver-change-tracking-stream", "streamId": "my-database-stream", "payload": {"from": "2024-01-01", "tables": ["a", "b"]}}}'"#,
    ),
    ("backfill-complete", r#"$in patch bfr orders-backfill-jan-2026 --type merge -p '{"spec": {"completed": true}}'"#),
    ("backfill-reset", r#"$in patch bfr orders-backfill-jan-2026 --type merge -p '{"spec": {"completed": false}}'"#),
    (
        "backfill-status",
        r#"$in patch bfr orders-backfill-jan-2026 --subresource status --type merge -p '{"status": {"phase": "Completed"}}'"#,
    ),
    ("backfill-delete", "$in delete bfr orders-backfill-jan-2026 --cascade=foreground"),
    (
        "backfill-delete-all",
        "kubectl delete --raw /apis/streaming.sneaksanddata.com/v1/namespaces/data-streaming/backfillrequests",
    ),
    ("template-delete", "$in delete sjt whole-job legacy --cascade=orphan"),
    ("stream-delete", "$in delete sqlserverchangetrackingstreams my-database-stream"),
];

#[tokio::main]
async fn main() {
    let Args { directory } = Args::parse();
    let directory = Path::new(&directory);
    let fixture = Fixture::start(FixtureOptions { operator: false, ..FixtureOptions::default() }).await;
    fixture.kubectl(&["create", "namespace", "data-streaming"]).await;
    let recorder = ReviewRecorder::start(fixture.client(), GROUP, fixture.cluster().directory()).await;
    recorder
        .called(async || {
            let arguments = ["label", "--overwrite", "streamclasses", "--all", "recorded=true", "--dry-run=server"];
            fixture.kubectl(&arguments).await;
        })
        .await;
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut normaliser = Normaliser::default();
    let mut number = 0;
    for (name, line) in STEPS {
        let line = line.replace("$in", "kubectl --namespace data-streaming");
        let said = fixture.shell("examples", &line).await;
        assert!(said.status.success(), "{name}: {}{}", said.stdout, said.stderr);
        let mut reviews = recorder.take();
        // What controllers do besides comes when it comes.
        reviews
            .retain(|review| !review["request"]["userInfo"]["username"].as_str().unwrap_or("").starts_with("system:"));
        assert!(!reviews.is_empty(), "{name}: the API server has sent nothing: {}", said.stdout);
        for review in reviews {
            number += 1;
            write(directory, &format!("{number:02}-{name}.json"), &normaliser.normalise(&review));
        }
    }
    println!("{number} reviews in {}", directory.display());
    fixture.stop().await;
}

fn write(directory: &Path, name: &str, review: &Value) {
    let path = directory.join(name);
    let text = serde_json::to_string_pretty(review).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(&path, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
