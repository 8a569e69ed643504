//! What must hold of any document.

use arcane_common::{
    stream::{
        configuration_hash::{configuration_hash, go_json, is_hash_of_go_operator},
        context, layout, stream_schema,
    },
    template::JobTemplate,
    validation::{MOST_VIOLATIONS, StreamInput, validate_stream},
};
use serde_json::Value;

pub fn stream(spec: &Value) {
    let names = ["connectionString".to_owned(), "password".to_owned()];
    let input = StreamInput { name: "orders", namespace: "team", kind: "Stream", spec, secret_refs: &names };
    let valid = validate_stream(input);
    let read = layout::read(spec, "team");
    assert!(valid.is_err() || read.is_ok());
    if let Ok(valid) = valid {
        let references = layout::references(spec, "team");
        assert!(valid.definition.templates().iter().all(|name| references.iter().any(|it| it.target == *name)));
    }
    let _ = layout::is_suspended(spec);
    let hash = configuration_hash(spec, "team");
    let _ = is_hash_of_go_operator(&hash, spec, "team");
    // The program gets what the user wrote.
    let written = go_json(spec);
    let again: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(go_json(&again), written);
    for (_, value) in context::variables("orders", "Stream", spec, None) {
        let expanded = value.replace("$$", "");
        assert!(!expanded.contains("$("), "{value}");
    }
}

pub fn template(spec: &Value) {
    let Ok(template) = JobTemplate::judge(spec) else { return };
    assert!(!template.job_spec.contains_key("ttlSecondsAfterFinished"));
    let pod = &template.job_spec["template"]["spec"];
    assert!(matches!(pod["restartPolicy"].as_str(), Some("Never" | "OnFailure")), "{pod}");
    assert!(pod["containers"].as_array().is_some_and(|containers| !containers.is_empty()), "{pod}");
    let again = JobTemplate::parse(&Value::Object(template.job_spec.clone())).unwrap();
    assert_eq!(again.job_spec, template.job_spec);
}

/// A document with the fields `schema` and `spec`.
pub fn schema(document: &Value) {
    let Ok(schema) = stream_schema::compile(&document["schema"]) else { return };
    let violations = stream_schema::check(&schema, &document["spec"]);
    assert!(violations.len() <= MOST_VIOLATIONS);
}
