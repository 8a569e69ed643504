//! What a CustomResourceDefinition fills in: the API server does so before it asks a webhook.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// Fills in the defaults of the definition of an object's kind.
pub fn fill_in(object: &mut Value, definition: &CustomResourceDefinition, version: &str) {
    let served = definition.spec.versions.iter().find(|served| served.name == version);
    if let Some(schema) = served.and_then(|served| served.schema.as_ref()?.open_api_v3_schema.as_ref()) {
        fill(object, schema);
    }
}

fn fill(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(fields) => {
            for (name, below) in schema.properties.iter().flatten() {
                let is_null = fields.get(name).is_some_and(Value::is_null);
                let absent = !fields.contains_key(name) || (is_null && below.nullable != Some(true));
                if let Some(default) = below.default.as_ref().filter(|_| absent) {
                    fields.insert(name.clone(), default.0.clone());
                }
                if let Some(value) = fields.get_mut(name) {
                    fill(value, below);
                }
            }
            if let Some(JSONSchemaPropsOrBool::Schema(below)) = &schema.additional_properties {
                fields.values_mut().for_each(|value| fill(value, below));
            }
        }
        Value::Array(elements) => {
            if let Some(JSONSchemaPropsOrArray::Schema(below)) = &schema.items {
                elements.iter_mut().for_each(|element| fill(element, below));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_is_filled_in_at_every_depth() {
        let schema: JSONSchemaProps = serde_json::from_value(json!({"type": "object", "properties": {
            "ref": {"type": "object", "default": {"name": "standard"}, "properties": {
                "name": {"type": "string"}, "kind": {"type": "string", "default": "Template"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"default": 1}}}},
            "nothing": {"nullable": true, "default": 1},
        }}))
        .unwrap();
        let mut object = json!({"list": [{}, {"a": 2}], "nothing": null});
        fill(&mut object, &schema);
        let filled =
            json!({"ref": {"name": "standard", "kind": "Template"}, "list": [{"a": 1}, {"a": 2}], "nothing": null});
        assert_eq!(object, filled);
        let mut null = json!({"ref": null});
        fill(&mut null, &schema);
        assert_eq!(null["ref"]["name"], "standard");
    }
}
