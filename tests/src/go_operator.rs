//! What the older Go operator leaves behind in a cluster, made here as it makes it: by contract §4, not by our own code.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// A value as Go's `encoding/json` prints it: keys sorted, `<`, `>` and `&` escaped.
pub fn printed(value: &Value) -> String {
    let text = |value: &Value| {
        let text = value.to_string();
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    };
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{}:{}", text(&json!(name)), printed(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(",")),
        other => text(other),
    }
}

/// What `md5sum`, which is none of ours, says of a text.
///
/// # Panics
/// Where there is no `md5sum`.
pub async fn md5(text: &str) -> String {
    let mut process = tokio::process::Command::new("md5sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run md5sum: {error}"));
    if let Some(mut input) = process.stdin.take() {
        input.write_all(text.as_bytes()).await.unwrap_or_else(|error| panic!("cannot write to md5sum: {error}"));
    }
    let output = process.wait_with_output().await.unwrap_or_else(|error| panic!("md5sum: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_whitespace().next().unwrap_or_else(|| panic!("md5sum says nothing")).to_owned()
}

/// The `configuration-hash` of a streaming Job or a CronJob, and in a stream's status.
pub async fn hash_of(spec: &Value) -> String {
    md5(&printed(spec)).await
}

/// The `configuration-hash` of a backfill Job: both hashes, each as the hex of its hex.
pub async fn hash_of_backfill(spec: &Value, request: &Value) -> String {
    let hex = |text: String| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}:{}", hex(hash_of(spec).await), hex(hash_of(request).await))
}

/// The only condition that it writes.
pub fn condition(type_: &str, phase: &str) -> Value {
    json!([{"type": type_, "status": "True", "message": format!("Stream is {phase}")}])
}

/// Its Job for a stream, made from the spec of a Job; with a request's name that of its backfill.
///
/// # Panics
/// Where this makes no Job.
pub fn job(stream: &DynamicObject, job_spec: &Value, hash: &str, request: Option<&str>) -> Job {
    let mut job_spec = job_spec.clone();
    let labels = labels(stream, request.is_some());
    fill(&mut job_spec, &labels, request);
    let job = json!({"metadata": metadata(stream, &labels, hash), "spec": job_spec});
    serde_json::from_value(job).unwrap_or_else(|error| panic!("no Job: {error}"))
}

/// Its CronJob for a stream.
///
/// # Panics
/// Where this makes no CronJob.
pub fn cron_job(stream: &DynamicObject, schedule: &str, job_spec: &Value, hash: &str) -> CronJob {
    let mut job_spec = job_spec.clone();
    let labels = labels(stream, true);
    fill(&mut job_spec, &labels, None);
    let spec = json!({"schedule": schedule, "jobTemplate": {"metadata": {"labels": labels}, "spec": job_spec}});
    let cron_job = json!({"metadata": metadata(stream, &labels, hash), "spec": spec});
    serde_json::from_value(cron_job).unwrap_or_else(|error| panic!("no CronJob: {error}"))
}

fn labels(stream: &DynamicObject, backfilling: bool) -> Value {
    json!({
        "arcane/stream-id": stream.name_any(),
        "arcane/stream-kind": stream.types.as_ref().map(|types| &types.kind),
        "arcane/backfilling": backfilling.to_string(),
    })
}

/// Both Jobs are named like the stream.
fn metadata(stream: &DynamicObject, labels: &Value, hash: &str) -> Value {
    let types = stream.types.as_ref();
    json!({
        "name": stream.name_any(), "labels": labels, "annotations": {"configuration-hash": hash},
        "ownerReferences": [{
            "apiVersion": types.map(|types| &types.api_version), "kind": types.map(|types| &types.kind),
            "name": stream.name_any(), "uid": stream.uid(), "controller": true,
        }],
    })
}

fn fill(job_spec: &mut Value, labels: &Value, request: Option<&str>) {
    let pod = &mut job_spec["template"];
    for (name, value) in labels.as_object().into_iter().flatten() {
        pod["metadata"]["labels"][name] = value.clone();
    }
    let backfilling = labels["arcane/backfilling"].clone();
    let mut variables = vec![json!({"name": "STREAMCONTEXT__BACKFILL", "value": backfilling})];
    variables.extend(request.map(|request| json!({"name": "STREAMCONTEXT__BACKFILL_ID", "value": request})));
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        let env = &mut container["env"];
        if env.is_null() {
            *env = json!([]);
        }
        env.as_array_mut().into_iter().for_each(|env| env.extend(variables.iter().cloned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_like_go() {
        let value = json!({"b": [1, "a<b&c>"], "a": {"<": null}});
        assert_eq!(printed(&value), r#"{"a":{"\u003c":null},"b":[1,"a\u003cb\u0026c\u003e"]}"#);
    }
}
