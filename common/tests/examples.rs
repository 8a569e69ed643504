//! The examples that people copy from are read as they expect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arcane_common::api::{BackfillRequest, StreamClass, StreamingJobTemplate, well_known};
use arcane_common::stream::layout;
use arcane_common::template::{JobTemplate, TemplateShape};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn all<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = examples().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn one<T: DeserializeOwned>(file: &str) -> T {
    let mut objects = all(file);
    assert_eq!(objects.len(), 1, "{file} holds one object");
    objects.remove(0)
}

#[test]
fn each_file_of_the_guide_holds_the_object_that_the_guide_names() {
    let expected: BTreeMap<&str, (&str, &str)> = [
        ("stream-class.yaml", ("StreamClass", "sqlserver-change-tracking-stream")),
        ("sqlserver-stream-template.yaml", ("StreamingJobTemplate", "sqlserver-stream-template")),
        ("sqlserver-backfill-template.yaml", ("StreamingJobTemplate", "sqlserver-backfill-template")),
        ("production-template.yaml", ("StreamingJobTemplate", "production-template")),
        ("dev-template.yaml", ("StreamingJobTemplate", "dev-template")),
        ("my-stream.yaml", ("SqlServerChangeTrackingStream", "orders-stream")),
        ("my-database-stream.yaml", ("SqlServerChangeTrackingStream", "my-database-stream")),
        ("backfill.yaml", ("BackfillRequest", "orders-backfill-jan-2026")),
        ("backfill-2024-01.yaml", ("BackfillRequest", "backfill-2024-01")),
    ]
    .into();
    let found: BTreeSet<String> = std::fs::read_dir(examples().join("guide"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected.keys().map(ToString::to_string).collect());
    for (file, (kind, name)) in expected {
        let object: Value = one(&format!("guide/{file}"));
        assert_eq!(object["apiVersion"], well_known::API_VERSION, "{file}");
        assert_eq!(object["kind"], kind, "{file}");
        assert_eq!(object["metadata"]["name"], name, "{file}");
        let namespace = if kind == "StreamClass" { Value::Null } else { json!("data-streaming") };
        assert_eq!(object["metadata"]["namespace"], namespace, "{file}");
    }
}

#[test]
fn the_class_registers_the_sample_plugins_kind() {
    let crd: CustomResourceDefinition = one("sample-plugin/crd.yaml");
    for file in ["guide/stream-class.yaml", "sample-plugin/stream-class.yaml"] {
        let class: StreamClass = one(file);
        assert_eq!(class.spec.group(), crd.spec.group);
        assert_eq!(class.spec.kind_ref, crd.spec.names.kind);
        assert_eq!(class.spec.plural_name, crd.spec.names.plural);
        assert_eq!(class.spec.api_version, crd.spec.versions[0].name);
        assert_eq!(class.spec.secret_refs, ["connectionString", "storageAccountKey"]);
        assert_eq!(class.spec.missing_references, None);
    }
}

#[test]
fn the_templates_are_specs_of_jobs() {
    let mut templates: Vec<(String, JobTemplate)> = Vec::new();
    for file in [
        "guide/sqlserver-stream-template.yaml",
        "guide/sqlserver-backfill-template.yaml",
        "guide/production-template.yaml",
        "guide/dev-template.yaml",
        "sample-plugin/templates.yaml",
    ] {
        for template in all::<StreamingJobTemplate>(file) {
            let parsed = JobTemplate::parse(&template.spec.0).unwrap_or_else(|violations| panic!("{violations:?}"));
            assert_eq!(parsed.shape, TemplateShape::JobSpec, "{file}");
            assert_eq!(parsed.job_spec["template"]["spec"]["restartPolicy"], "Never", "{file}");
            templates.push((template.metadata.name.unwrap(), parsed));
        }
    }
    assert_eq!(templates.len(), 6);
    for (name, template) in templates {
        // The guide's templates for production and development have no image.
        let bare = ["production-template", "dev-template"].contains(&name.as_str());
        let expected: &[&str] = if bare { &["stream-processor"] } else { &[] };
        assert_eq!(template.containers_without_image(), expected, "{name}");
        assert_eq!(template.warnings.len(), expected.len(), "{name}");
        let ttl = (name == "sqlserver-backfill-template").then_some(86400);
        assert_eq!(template.ttl_seconds_after_finished, ttl, "{name}");
    }
}

#[test]
fn the_requests_ask_for_backfills_of_the_guides_streams() {
    for (request, stream) in [
        ("guide/backfill.yaml", "guide/my-stream.yaml"),
        ("guide/backfill-2024-01.yaml", "guide/my-database-stream.yaml"),
    ] {
        let request: BackfillRequest = one(request);
        let stream: Value = one(stream);
        let class: StreamClass = one("guide/stream-class.yaml");
        assert_eq!(request.spec.stream_id, stream["metadata"]["name"]);
        assert_eq!(Some(request.spec.stream_class), class.metadata.name);
        assert_eq!(request.metadata.namespace.unwrap(), stream["metadata"]["namespace"]);
        assert!(!request.spec.completed);
        assert_eq!(request.spec.payload, None);
    }
}

#[test]
fn the_streams_refer_to_templates_that_are_there() {
    for (file, streaming, backfill) in [
        ("guide/my-stream.yaml", "sqlserver-stream-template", "sqlserver-stream-template"),
        ("guide/my-database-stream.yaml", "sqlserver-stream-template", "sqlserver-backfill-template"),
    ] {
        let stream: Value = one(file);
        let definition = layout::read(&stream["spec"], "data-streaming")
            .unwrap_or_else(|violations| panic!("{file}: {violations:?}"));
        assert!(!layout::is_suspended(&stream["spec"]));
        assert_eq!(definition.workload.template().target.to_string(), format!("data-streaming/{streaming}"));
        assert_eq!(definition.template_of_backfill().target.to_string(), format!("data-streaming/{backfill}"));
    }
}

#[test]
fn the_sample_plugins_schema_declares_every_field_that_is_used() {
    let crd: CustomResourceDefinition = one("sample-plugin/crd.yaml");
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    for file in ["guide/my-stream.yaml", "guide/my-database-stream.yaml"] {
        let stream: Value = one(file);
        declared("spec", &stream["spec"], &schema.properties.as_ref().unwrap()["spec"]);
    }
    let status = json!({
        "phase": "Running", "configurationHash": "", "observedGeneration": 1, "jobName": "",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "", "message": "",
            "lastTransitionTime": "", "observedGeneration": 1,
        }],
    });
    declared("status", &status, &schema.properties.as_ref().unwrap()["status"]);
    let columns: Vec<_> =
        crd.spec.versions[0].additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["Source", "Phase", "Ready", "Reason", "Message", "Age"]);
}

fn declared(path: &str, value: &Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let schema = schema
                    .properties
                    .as_ref()
                    .and_then(|properties| properties.get(name))
                    .unwrap_or_else(|| panic!("{path} would be pruned"));
                declared(&path, value, schema);
            }
        }
        Value::Array(elements) => {
            let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else {
                panic!("{path} is no list");
            };
            for element in elements {
                declared(path, element, item);
            }
        }
        _ => {}
    }
}
