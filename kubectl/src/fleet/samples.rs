//! A fleet for golden texts.

use arcane_controller::facts::{ClassFacts, JobFacts, PodFacts};
use jiff::Timestamp;
use kube::core::ApiResource;
use serde_json::{Value, json};

use super::{Fleet, Listed, assemble};

/// A time of one day.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-01-02T{time}Z").parse().unwrap()
}

/// Where the streams of the samples are served.
pub(crate) fn resource() -> ApiResource {
    ApiResource {
        group: "streaming.sneaksanddata.com".into(),
        version: "v1".into(),
        api_version: "streaming.sneaksanddata.com/v1".into(),
        kind: "SqlServerStream".into(),
        plural: "sqlserverstreams".into(),
    }
}

/// An object, read as what it is.
pub(crate) fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn stream(namespace: &str, name: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "streaming.sneaksanddata.com/v1",
        "kind": "SqlServerStream",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("{name}-uid"), "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"team": "orders"},
            "managedFields": [{"manager": "arcane", "operation": "Update", "subresource": "status",
                "time": "2026-01-02T11:00:00Z", "apiVersion": "v1"}],
        },
        "spec": spec,
        "status": status,
    })
}

fn job(stream: &str, name: &str, created: &str, status: Value) -> Value {
    json!({
        "metadata": {
            "namespace": "data", "name": name, "uid": format!("{name}-uid-job"), "creationTimestamp": created,
            "labels": {"arcane/stream-id": stream, "arcane/stream-kind": "SqlServerStream",
                "arcane/backfilling": name.ends_with("-backfill").to_string()},
            "ownerReferences": [{"apiVersion": "streaming.sneaksanddata.com/v1", "kind": "SqlServerStream",
                "name": stream, "uid": format!("{stream}-uid"), "controller": true}],
        },
        "status": status,
    })
}

fn request(stream: &str, name: &str, created: &str, status: Value) -> Value {
    json!({
        "metadata": {"namespace": "data", "name": name, "uid": format!("{name}-uid"), "creationTimestamp": created},
        "spec": {"streamClass": "sql-server", "streamId": stream},
        "status": status,
    })
}

/// A stream of each fate.
pub(crate) fn a_fleet() -> Fleet {
    let spec = || json!({"jobTemplateRef": {"name": "standard"}});
    let ready = |reason: &str, message: &str| {
        json!([{"type": "Ready", "status": "True", "reason": reason,
        "message": message, "lastTransitionTime": "2026-01-02T08:00:00Z"}])
    };
    let failure = "Job failed failed: BackoffLimitExceeded (pod failed-abc12: exit code 3); the stream goes on after a \
                   change of its spec";
    let streams: Vec<_> = [
        stream(
            "data",
            "backfills",
            spec(),
            json!({"phase": "Backfilling", "jobName": "backfills-backfill",
            "conditions": ready("Backfilling", "Job backfills-backfill does backfill again")}),
        ),
        stream(
            "data",
            "failed",
            spec(),
            json!({"phase": "Failed", "jobName": "failed", "conditions": [
                {"type": "Ready", "status": "False", "reason": "JobFailed", "message": failure},
                {"type": "Stalled", "status": "True", "reason": "JobFailed", "message": failure,
                    "lastTransitionTime": "2026-01-02T11:55:00Z"},
            ]}),
        ),
        stream(
            "data",
            "runs",
            spec(),
            json!({"phase": "RUNNING", "jobName": "runs",
            "conditions": ready("Running", "Job runs streams")}),
        ),
        stream(
            "other",
            "sleeps",
            json!({"suspended": true, "jobTemplateRef": {"name": "standard"}}),
            json!({"phase": "Suspended", "conditions": ready("Suspended", "the stream is suspended")}),
        ),
        stream("other", "unseen", spec(), Value::Null),
    ]
    .into_iter()
    .map(read)
    .collect();
    let jobs = [
        job("backfills", "backfills-backfill", "2026-01-02T11:40:00Z", json!({"ready": 1})),
        job(
            "failed",
            "failed",
            "2026-01-02T09:00:00Z",
            json!({"conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]}),
        ),
        job("runs", "runs", "2026-01-02T02:00:00Z", json!({"ready": 1})),
    ];
    let requests = [
        request(
            "failed",
            "failed-initial",
            "2026-01-01T00:00:00Z",
            json!({"phase": "Completed",
            "startTime": "2026-01-01T00:00:01Z", "completionTime": "2026-01-02T08:00:00Z", "jobName": "failed-backfill",
            "conditions": ready("Completed", "the backfill has succeeded")}),
        ),
        request(
            "backfills",
            "first",
            "2026-01-01T00:00:00Z",
            json!({"phase": "Cancelled",
            "startTime": "2026-01-01T00:00:01Z", "completionTime": "2026-01-01T01:00:00Z"}),
        ),
        request(
            "backfills",
            "again",
            "2026-01-02T11:39:00Z",
            json!({"phase": "Running",
            "startTime": "2026-01-02T11:40:00Z", "jobName": "backfills-backfill", "conditions": [{"type": "Reconciling",
            "status": "True", "reason": "Running", "message": "Job backfills-backfill runs"}]}),
        ),
    ];
    let class = json!({
        "metadata": {"name": "sql-server"},
        "spec": {"apiVersion": "v1", "kindRef": "SqlServerStream", "pluralName": "sqlserverstreams"},
        "status": {"phase": "Ready"},
    });
    assemble(Listed {
        classes: vec![ClassFacts::of(&read(class))],
        streams: vec![(resource(), streams)],
        jobs: jobs.into_iter().map(|job| JobFacts::of(&read(job))).collect(),
        cron_jobs: Vec::new(),
        requests: requests.into_iter().map(read).collect(),
        gaps: Vec::new(),
    })
}

/// A pod that has ended.
pub(crate) fn a_pod(name: &str, job: &str, exit_code: i32) -> PodFacts {
    PodFacts::of(&read(json!({
        "metadata": {"name": name, "creationTimestamp": "2026-01-02T11:50:00Z", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job, "controller": true}]},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "stream", "image": "i", "imageID": "i",
            "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": exit_code, "reason": "Error"}}}]},
    })))
}
