//! Any JSON as the spec of a template: refused, or a Job that Kubernetes takes.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../common/tests/odd/judged.rs"]
mod judged;

use arcane_fuzz::documents;
use libfuzzer_sys::{Corpus, fuzz_crossover, fuzz_mutator, fuzz_target};

const FRAGMENTS: [&str; 18] = [
    r#"{"template": {"spec": {"containers": [{"name": "main", "image": "plugin:1"}]}}}"#,
    r#"{"job": {"spec": {"template": {"spec": {"containers": []}}}}}"#,
    r#"{"spec": {"containers": [{"name": "a", "image": ""}], "restartPolicy": "Never"}}"#,
    r#"{"initContainers": [{"name": "a", "image": "i", "restartPolicy": "Always"}]}"#,
    r#"{"env": [{"name": "A", "value": "$(B)"}], "envFrom": [{"prefix": "STREAMCONTEXT__", "secretRef": {"name": "s"}}]}"#,
    r#"{"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}"#,
    r#"{"resources": {"limits": {"cpu": 1, "memory": "1e3Gi"}}}"#,
    r#"{"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/"}]}"#,
    r#"{"livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 2147483648}}"#,
    r#"{"ttlSecondsAfterFinished": 5, "backoffLimit": -1, "parallelism": 2, "completions": 2}"#,
    r#"{"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}}"#,
    r#"{"restartPolicy": ""}"#,
    r#"{"imagePullPolicy": ""}"#,
    r#"{"labels": {"a": "b"}, "annotations": {"arcane/x": "y"}}"#,
    r#"{"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true, "suspend": true}"#,
    r#"{"securityContext": {"runAsUser": 0, "capabilities": {"drop": ["ALL"]}}}"#,
    r#"null"#,
    r#"2147483648"#,
];

fuzz_target!(|document: &[u8]| -> Corpus {
    let Ok(document) = serde_json::from_slice(document) else { return Corpus::Reject };
    judged::template(&document);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    documents::mutate(data, size, max_size, seed, &FRAGMENTS)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { documents::cross(one, other, out, seed) });
