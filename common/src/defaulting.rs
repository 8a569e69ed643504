//! What the webhook fills into a stream: the namespaces of its templates, nothing else.
//!
//! Everybody else reads an absent namespace as the stream's own, so this changes nothing but what people see.

use serde_json::Value;

use crate::{field_path::FieldPath, stream::layout::Layout};

/// The places of references to templates below `spec`.
fn places(layout: Layout) -> &'static [&'static [&'static str]] {
    match layout {
        Layout::Flat => &[&["jobTemplateRef"], &["backfillJobTemplateRef"]],
        Layout::ExecutionV1 => &[
            &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
            &["execution", "streamingBackend", "batch", "jobTemplateRef"],
            &["execution", "backfillJobTemplateRef"],
        ],
        Layout::ExecutionV2 => &[
            &["execution", "streamingBackend", "changeCapture", "jobTemplateRef"],
            &["execution", "streamingBackend", "batch", "jobTemplateRef"],
            &["execution", "streamingBackend", "changeCapture", "backfillJobTemplateRef"],
        ],
    }
}

/// The fields to add to a stream with this `spec`, and their values.
///
/// `schema` is the schema of the plugin's CRD (`openAPIV3Schema` of the stream's version). Only a field that it
/// declares is added: the API server would prune another one, but count a change at every write.
pub fn defaults(spec: &Value, namespace: &str, schema: &Value) -> Vec<(FieldPath, Value)> {
    let Ok(layout) = Layout::of(spec) else { return Vec::new() };
    let wanted = |place: &&&[&str]| {
        let reference = place.iter().try_fold(spec, |value, name| value.get(name)).and_then(Value::as_object);
        reference.is_some_and(|reference| {
            !reference.contains_key("namespace")
                && reference.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
        })
    };
    places(layout)
        .iter()
        .filter(wanted)
        .filter(|place| declares_namespace(schema, place))
        .map(|place| (FieldPath::root("spec").descend(place).child("namespace"), Value::from(namespace)))
        .collect()
}

fn declares_namespace(schema: &Value, place: &[&str]) -> bool {
    ["spec"]
        .iter()
        .chain(place)
        .chain(&["namespace"])
        .try_fold(schema, |schema, name| schema.get("properties")?.get(name))
        .is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference() -> Value {
        json!({"type": "object", "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}})
    }

    fn object(properties: Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    fn flat_schema() -> Value {
        object(json!({"spec": object(json!({
            "jobTemplateRef": reference(),
            "backfillJobTemplateRef": object(json!({"name": {"type": "string"}})),
        }))}))
    }

    fn execution_schema() -> Value {
        let backend = object(json!({
            "changeCapture": object(json!({"jobTemplateRef": reference(), "backfillJobTemplateRef": reference()})),
            "batch": object(json!({"jobTemplateRef": reference()})),
        }));
        let execution = object(json!({"streamingBackend": backend, "backfillJobTemplateRef": reference()}));
        object(json!({"spec": object(json!({"execution": execution}))}))
    }

    fn paths(spec: Value, schema: &Value) -> Vec<String> {
        defaults(&spec, "ns", schema).into_iter().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn what_the_schema_declares_is_filled_in() {
        let spec = json!({"jobTemplateRef": {"name": "t"}, "backfillJobTemplateRef": {"name": "b"}});
        assert_eq!(
            defaults(&spec, "ns", &flat_schema()),
            [(FieldPath::root("spec").descend(&["jobTemplateRef", "namespace"]), json!("ns"))]
        );
        assert_eq!(paths(spec, &json!({})), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_stays() {
        for namespace in [json!("other"), json!(""), json!(null), json!(7)] {
            let spec = json!({"jobTemplateRef": {"name": "t", "namespace": namespace}});
            assert_eq!(paths(spec, &flat_schema()), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_no_reference_stays() {
        for reference in [json!(null), json!("t"), json!({}), json!({"name": ""}), json!([])] {
            assert_eq!(paths(json!({"jobTemplateRef": reference}), &flat_schema()), Vec::<String>::new());
        }
        for spec in [json!(null), json!([]), json!({"execution": {"layoutVersion": "v9"}})] {
            assert_eq!(paths(spec, &flat_schema()), Vec::<String>::new());
        }
    }

    #[test]
    fn each_layout_has_its_places() {
        let spec = |version: &str| {
            json!({"jobTemplateRef": {"name": "unused"}, "execution": {
                "layoutVersion": version,
                "backfillJobTemplateRef": {"name": "b"},
                "streamingBackend": {
                    "changeCapture": {"jobTemplateRef": {"name": "t"}, "backfillJobTemplateRef": {"name": "b"}},
                    "batch": {"jobTemplateRef": {"name": "t"}},
                },
            }})
        };
        let backend = "spec.execution.streamingBackend";
        let both = [
            format!("{backend}.changeCapture.jobTemplateRef.namespace"),
            format!("{backend}.batch.jobTemplateRef.namespace"),
        ];
        let v1 = "spec.execution.backfillJobTemplateRef.namespace".to_owned();
        let v2 = format!("{backend}.changeCapture.backfillJobTemplateRef.namespace");
        let [capture, batch] = both;
        assert_eq!(paths(spec("v1"), &execution_schema()), [capture.clone(), batch.clone(), v1]);
        assert_eq!(paths(spec("v2"), &execution_schema()), [capture, batch, v2]);
    }
}
