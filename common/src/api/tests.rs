#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn schema_of(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema")
}

fn below<'a>(schema: &'a JSONSchemaProps, path: &[&str]) -> &'a JSONSchemaProps {
    path.iter().fold(schema, |schema, name| {
        schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(*name))
            .unwrap_or_else(|| panic!("{name} of {path:?}"))
    })
}

fn crd_of(kind: &str) -> CustomResourceDefinition {
    crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("the CRD")
}

#[test]
fn the_generated_file_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/arcane-operator/files/crds.yaml");
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        file == crds_yaml(),
        "charts/arcane-operator/files/crds.yaml is not what the Rust types say: run `make generate` and commit the result"
    );
}

#[test]
fn the_yaml_reads_back_as_the_same_crds() {
    let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&crds_yaml()).expect("YAML");
    assert_eq!(read, crds());
}

#[test]
fn our_crds_are_far_smaller_than_kubectl_apply_allows() {
    // The whole object goes into an annotation of at most 256 KiB.
    for crd in crds() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < 32 * 1024, "{}: {size}", crd.spec.names.kind);
    }
}

#[test]
fn names_are_those_of_the_contract() {
    let names: Vec<_> = crds()
        .into_iter()
        .map(|crd| {
            let versions: Vec<_> = crd
                .spec
                .versions
                .iter()
                .map(|version| (version.name.clone(), version.served, version.storage))
                .collect();
            assert_eq!(crd.spec.group, well_known::GROUP);
            assert_eq!(crd.spec.names.categories, Some(vec!["arcane".to_owned()]));
            assert!(crd.status.is_none());
            (crd.metadata.name.unwrap(), crd.spec.scope, crd.spec.names.short_names.unwrap().join(","), versions)
        })
        .collect();
    let v1 = ("v1".to_owned(), true, true);
    let v1beta1 = ("v1beta1".to_owned(), true, false);
    let row = |plural: &str, scope: &str, short: &str, versions: Vec<_>| {
        (format!("{plural}.streaming.sneaksanddata.com"), scope.to_owned(), short.to_owned(), versions)
    };
    assert_eq!(
        names,
        [
            row("backfillrequests", "Namespaced", "bfr", vec![v1.clone()]),
            row("streamclasses", "Cluster", "stc", vec![v1.clone(), v1beta1]),
            row("streamingjobtemplates", "Namespaced", "sjt", vec![v1]),
        ]
    );
    assert_eq!(format!("{}/{}", well_known::GROUP, well_known::VERSION), well_known::API_VERSION);
}

#[test]
fn every_kind_has_a_status_subresource_and_the_columns_a_person_wants() {
    for crd in crds() {
        for version in &crd.spec.versions {
            assert!(version.subresources.as_ref().unwrap().status.is_some());
            let columns: Vec<_> =
                version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
            let wanted: &[&str] = match crd.spec.names.kind.as_str() {
                "StreamingJobTemplate" => &["Valid", "Reason", "Age"],
                _ => &["Phase", "Ready", "Reason", "Age"],
            };
            for column in wanted {
                assert!(columns.contains(column), "{} lacks {column}", crd.spec.names.kind);
            }
        }
    }
}

#[test]
fn every_field_is_explained() {
    fn check(path: &str, schema: &JSONSchemaProps) {
        let explained = schema.description.as_deref().is_some_and(|text| !text.trim().is_empty());
        assert!(explained, "{path} has no description");
        for (name, property) in schema.properties.iter().flatten() {
            check(&format!("{path}.{name}"), property);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            for (name, property) in item.properties.iter().flatten() {
                check(&format!("{path}[].{name}"), property);
            }
        }
    }
    for crd in crds() {
        for (name, property) in schema_of(&crd).properties.as_ref().unwrap() {
            check(&format!("{}.{name}", crd.spec.names.kind), property);
        }
    }
}

#[test]
fn required_fields_are_required_and_only_they() {
    let required = |kind: &str| below(schema_of(&crd_of(kind)), &["spec"]).required.clone().unwrap_or_default();
    assert_eq!(required("StreamClass"), ["apiVersion", "kindRef", "pluralName"]);
    assert_eq!(required("BackfillRequest"), ["streamClass", "streamId"]);
    assert!(required("StreamingJobTemplate").is_empty());
    for crd in crds() {
        let status = below(schema_of(&crd), &["status"]);
        assert_eq!(status.required, None);
        let conditions = below(status, &["conditions"]);
        assert_eq!(conditions.x_kubernetes_list_type.as_deref(), Some("map"));
        assert_eq!(conditions.x_kubernetes_list_map_keys, Some(vec!["type".to_owned()]));
    }
}

#[test]
fn only_fields_with_a_meaningful_default_have_one() {
    fn collect(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
        if let Some(default) = &schema.default {
            found.push(format!("{path}={}", default.0));
        }
        for (name, property) in schema.properties.iter().flatten() {
            collect(&format!("{path}.{name}"), property, found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            collect(&format!("{path}[]"), item, found);
        }
    }
    let mut found = Vec::new();
    for crd in crds() {
        collect(&crd.spec.names.kind, schema_of(&crd), &mut found);
    }
    // What nobody has seen yet is not ready.
    let (of_statuses, others): (Vec<String>, Vec<String>) = found.into_iter().partition(|it| it.contains(".status="));
    assert_eq!(others, ["BackfillRequest.spec.completed=false", "StreamClass.spec.updateStrategy.type=\"OnDelete\""]);
    let [request, class, template] = &of_statuses[..] else { panic!("{of_statuses:?}") };
    assert!(request.contains(r#""type":"Ready","status":"Unknown""#), "{request}");
    for status in [class, template] {
        assert!(status.ends_with(r#".status={"observedGeneration":-1}"#), "{status}");
    }
}

#[test]
fn a_request_is_selectable_by_stream_and_completion() {
    let crd = crd_of("BackfillRequest");
    let fields: Vec<_> =
        crd.spec.versions[0].selectable_fields.iter().flatten().map(|field| field.json_path.as_str()).collect();
    assert_eq!(fields, [".spec.completed", ".spec.streamId"]);
}

#[test]
fn users_choose_among_words_and_controllers_are_free() {
    let words = |path: &[&str]| -> Vec<Value> {
        let crd = crd_of("StreamClass");
        let schema = below(schema_of(&crd), path);
        assert_eq!(schema.type_.as_deref(), Some("string"));
        schema.enum_.iter().flatten().map(|word| word.0.clone()).collect()
    };
    assert_eq!(words(&["spec", "missingReferences"]), ["Auto", "Deny", "Warn"]);
    assert_eq!(words(&["spec", "initialBackfill"]), ["Auto", "Never"]);
    assert_eq!(words(&["spec", "updateStrategy", "type"]), ["OnDelete", "RollingUpdate"]);
    assert!(words(&["status", "phase"]).is_empty());
}

#[test]
fn free_objects_keep_their_fields() {
    for (kind, path) in [
        ("StreamClass", &["spec", "streamSchema"][..]),
        ("BackfillRequest", &["spec", "payload"]),
        ("StreamingJobTemplate", &["spec"]),
        ("StreamingJobTemplate", &["spec", "spec", "template", "spec"]),
    ] {
        let crd = crd_of(kind);
        let schema = below(schema_of(&crd), path);
        assert_eq!(schema.x_kubernetes_preserve_unknown_fields, Some(true), "{kind} {path:?}");
        assert_eq!(schema.type_.as_deref(), Some("object"), "{kind} {path:?}");
        assert!(schema.additional_properties.is_none(), "{kind} {path:?}");
    }
}

#[test]
fn objects_of_other_versions_can_be_read() {
    let class: StreamClass = serde_json::from_value(json!({
        "apiVersion": "streaming.sneaksanddata.com/v1beta1", "kind": "StreamClass",
        "metadata": {"name": "old"},
        "spec": {
            "apiVersion": "v1beta1", "kindRef": "OldStream", "pluralName": "old-streams",
            "maxBufferCapacity": 100, "secretRefs": null, "missingReferences": "Ask",
            "updateStrategy": "Sometimes",
        },
        "status": {
            "phase": "READY", "streams": "many", "observedGeneration": "two",
            "conditions": [{"type": "READY", "status": "True"}, {"status": 1}, null],
        },
    }))
    .unwrap();
    assert!(class.spec.secret_refs.is_empty());
    assert_eq!(class.spec.update_strategy, None);
    let status = class.status.unwrap();
    assert_eq!(status.phase, Some(StreamClassPhase::Unknown("READY".into())));
    assert_eq!(status.conditions.len(), 1);
    assert!(Condition::find(&status.conditions, "READY").unwrap().is_true());

    let request: BackfillRequest = serde_json::from_value(json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
        "metadata": {"name": "r"},
        "spec": {"streamClass": "c", "streamId": "s", "completed": null},
        "status": {"phase": "Paused", "startTime": "yesterday", "conditions": null},
    }))
    .unwrap();
    assert!(!request.spec.completed);
    assert_eq!(request.spec.payload, None);

    let template: StreamingJobTemplate = serde_json::from_value(json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate",
        "metadata": {"name": "t"}, "spec": null,
    }))
    .unwrap();
    assert_eq!(template.spec.0, Value::Null);
}

#[test]
fn what_is_absent_is_not_written() {
    assert_eq!(serde_json::to_value(StreamClassStatus::default()).unwrap(), json!({}));
    assert_eq!(
        serde_json::to_value(BackfillRequestSpec {
            stream_class: "c".into(),
            stream_id: "s".into(),
            ..Default::default()
        })
        .unwrap(),
        json!({"streamClass": "c", "streamId": "s", "completed": false})
    );
}
