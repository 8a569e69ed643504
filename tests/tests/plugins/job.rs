//! What a Job of a stand-in looks like, by contract §4.

use arcane_common::template::TemplateShape;
use arcane_tests::TestNamespace;
use arcane_tests::fixture::variable;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::plugins::{GROUP, Plugin, Policy};
use arcane_tests::manifests::{CHART, manifest};

/// The spec of the Job in a template of one of the two shapes that plugins use.
pub fn job_spec_of(template: &Value) -> (TemplateShape, &Value) {
    match template.pointer("/spec/spec") {
        Some(job_spec) => (TemplateShape::Job, job_spec),
        None => (TemplateShape::Legacy, &template["spec"]["template"]["spec"]),
    }
}

fn parsed(job: &Job, name: &str) -> Value {
    let text = variable(job, name).unwrap_or_else(|| panic!("no {name} in Job {}", job.name_any()));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name} is no JSON: {error}: {text}"))
}

/// Labels, annotations, owner, environment, and all that the template says. `request` is that of a backfill.
pub fn is_right(plugin: &Plugin, ns: &TestNamespace<'_>, stream: &Value, job: &Job, request: Option<&Value>) {
    let name = stream["metadata"]["name"].as_str().unwrap();
    let template = plugin.templates[usize::from(request.is_some())];
    let value = serde_json::to_value(job).unwrap();
    let [metadata, spec] = [&value["metadata"], &value["spec"]];
    let backfilling = request.is_some().to_string();
    for labels in [&metadata["labels"], &spec["template"]["metadata"]["labels"]] {
        let expected = [
            ("streamId", name),
            ("arcane/stream-id", name),
            ("arcane/stream-kind", plugin.kind),
            ("arcane/backfilling", &backfilling),
            ("app.kubernetes.io/managed-by", "arcane-operator"),
            ("app.kubernetes.io/version", "1.0.0"),
        ];
        for (label, expected) in expected {
            assert_eq!(labels[label], expected, "{label} of {value}");
        }
        assert!(labels["app.kubernetes.io/name"].as_str().unwrap().starts_with("arcane-stream-"), "{labels}");
    }
    let annotations = &metadata["annotations"];
    let expected = [
        ("arcane/stream-generation", stream["metadata"]["generation"].to_string()),
        ("arcane/stream-class", plugin.class.to_owned()),
        ("arcane/template", format!("{}/{template}", ns.name())),
        ("arcane/ttl-seconds-after-finished", plugin.ttl.to_owned()),
    ];
    for (annotation, expected) in expected {
        assert_eq!(annotations[annotation], expected, "{annotation}");
    }
    assert_eq!(annotations["configuration-hash"].as_str().map(str::len), Some(32), "{annotations}");
    assert!(annotations["arcane/template-hash"].is_string(), "{annotations}");
    let uid = request.map_or(&Value::Null, |request| &request["metadata"]["uid"]);
    assert_eq!(&annotations["arcane/backfill-request-uid"], uid);

    let owner = json!([{
        "apiVersion": format!("{GROUP}/{}", plugin.version), "kind": plugin.kind, "name": name,
        "uid": stream["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }]);
    assert_eq!(metadata["ownerReferences"], owner);

    assert_eq!(variable(job, "STREAMCONTEXT__STREAM_ID"), Some(name));
    assert_eq!(variable(job, "STREAMCONTEXT__STREAM_KIND"), Some(plugin.kind));
    assert_eq!(variable(job, "STREAMCONTEXT__BACKFILL"), Some(backfilling.as_str()));
    assert_eq!(parsed(job, "STREAMCONTEXT__SPEC"), stream["spec"], "the whole spec, as it is stored");
    assert_eq!(variable(job, "APPLICATION_VERSION"), Some("1.0.0"), "the template's own");
    match request {
        None => {
            for name in ["STREAMCONTEXT__BACKFILL_ID", "STREAMCONTEXT__OVERRIDE", "STREAMCONTEXT_SPEC_OVERRIDE"] {
                assert_eq!(variable(job, name), None, "{name}");
            }
        }
        Some(request) => {
            assert_eq!(variable(job, "STREAMCONTEXT__BACKFILL_ID"), request["metadata"]["name"].as_str());
            assert_eq!(parsed(job, "STREAMCONTEXT__OVERRIDE")["streamId"], name);
            match &request["spec"]["payload"] {
                Value::Null => assert_eq!(variable(job, "STREAMCONTEXT_SPEC_OVERRIDE"), None),
                payload => assert_eq!(&parsed(job, "STREAMCONTEXT_SPEC_OVERRIDE"), payload),
            }
        }
    }
    let container = &spec["template"]["spec"]["containers"][0];
    let secrets: Vec<Value> = plugin.secrets.iter().map(|name| json!({"secretRef": {"name": name}})).collect();
    assert_eq!(container["envFrom"], json!(secrets));
    it_keeps_what_its_template_says(plugin, ns, spec, template);
}

fn it_keeps_what_its_template_says(plugin: &Plugin, ns: &TestNamespace<'_>, spec: &Value, template: &str) {
    let template = manifest(plugin.directory, CHART, ns.name(), "StreamingJobTemplate", template).value;
    let (shape, of_template) = job_spec_of(&template);
    assert_eq!(shape, plugin.shape);
    assert_eq!(spec.get("ttlSecondsAfterFinished"), None, "noted, not set");
    match plugin.policy {
        Policy::Kept => {
            assert_eq!(spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"], json!([2]));
            assert_eq!(spec["podFailurePolicy"]["rules"][1]["onPodConditions"][0]["type"], "DisruptionTarget");
        }
        Policy::Misplaced | Policy::Absent => assert_eq!(spec.get("podFailurePolicy"), None),
    }
    let [pod, of_template] = [&spec["template"]["spec"], &of_template["template"]["spec"]];
    for field in ["restartPolicy", "serviceAccountName", "securityContext", "volumes"] {
        assert_eq!(pod[field], of_template[field], "{field}");
    }
    for field in ["image", "resources", "securityContext", "volumeMounts"] {
        assert_eq!(pod["containers"][0][field], of_template["containers"][0][field], "{field}");
    }
}
