//! Whether the CRDs that a cluster has are enough for us.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};

use super::well_known::VERSION;

/// What an installed CRD lacks of `ours`, as sentences. Empty: it is enough.
///
/// It may know more than we do, and it needn't have selectable fields,
/// printer columns or validation rules: we work without those. But a field
/// that its schema lacks would be pruned from what we write, silently.
pub fn lacks(installed: Option<&CustomResourceDefinition>, ours: &CustomResourceDefinition) -> Vec<String> {
    let name = ours.metadata.name.as_deref().unwrap_or(&ours.spec.names.plural);
    let Some(installed) = installed else {
        return vec![format!("CRD {name} is not installed")];
    };
    let mut lacks = Vec::new();
    if installed.spec.names.kind != ours.spec.names.kind {
        lacks.push(format!("CRD {name} is of kind {}, not {}", installed.spec.names.kind, ours.spec.names.kind));
    }
    if installed.spec.scope != ours.spec.scope {
        lacks.push(format!("CRD {name} has scope {}, not {}", installed.spec.scope, ours.spec.scope));
    }
    if is_not_established(installed) {
        lacks.push(format!("CRD {name} is not established yet: see `kubectl describe crd {name}`"));
    }
    let Some(theirs) = version_of(installed).filter(|version| version.served) else {
        lacks.push(format!("CRD {name} does not serve version {VERSION}"));
        return lacks;
    };
    let Some(wanted) = version_of(ours) else {
        return lacks;
    };
    if has_status(wanted) && !has_status(theirs) {
        lacks.push(format!("CRD {name} has no status subresource in version {VERSION}"));
    }
    if let (Some(theirs), Some(wanted)) = (schema_of(theirs), schema_of(wanted)) {
        let mut places = Vec::new();
        compare("", theirs, wanted, &mut places);
        lacks.extend(places.into_iter().map(|place| format!("CRD {name} {place}")));
    }
    lacks
}

fn version_of(crd: &CustomResourceDefinition) -> Option<&CustomResourceDefinitionVersion> {
    crd.spec.versions.iter().find(|version| version.name == VERSION)
}

fn schema_of(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
}

/// The API server has said that it doesn't serve the CRD (yet), as when
/// another CRD has taken its names. No word about it counts as served.
fn is_not_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Established" && condition.status != "True")
    })
}

fn compare(path: &str, theirs: &JSONSchemaProps, ours: &JSONSchemaProps, lacks: &mut Vec<String>) {
    if let (Some(their_type), Some(our_type)) = (&theirs.type_, &ours.type_)
        && their_type != our_type
    {
        lacks.push(format!("has {path} as {their_type}, not as {our_type}"));
        return;
    }
    // A level that keeps unknown fields keeps ours too. What it does declare
    // is still compared, for a declared level can prune again.
    let keeps_all = preserves_unknown(theirs);
    if preserves_unknown(ours) && !keeps_all {
        let place = if path.is_empty() { "its objects" } else { path };
        lacks.push(format!("prunes unknown fields of {place}"));
    }
    for (name, wanted) in ours.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match theirs.properties.as_ref().and_then(|properties| properties.get(name)) {
            Some(theirs) => compare(&path, theirs, wanted, lacks),
            None if keeps_all || theirs.additional_properties.is_some() => {}
            None => lacks.push(format!("has no field {path}")),
        }
    }
    if let (Some(theirs), Some(ours)) = (item(theirs), item(ours)) {
        compare(&format!("{path}[]"), theirs, ours, lacks);
    }
    if let Some(ours) = additional(ours) {
        match (&theirs.additional_properties, additional(theirs)) {
            (_, Some(theirs)) => compare(&format!("{path}.*"), theirs, ours, lacks),
            (None, _) if !keeps_all => lacks.push(format!("takes only some keys in {path}, not all")),
            _ => {}
        }
    }
}

fn preserves_unknown(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
}

fn item(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(items) => items.first(),
    }
}

fn additional(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(schema) => Some(schema),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::{Value, json};

    use super::*;
    use crate::api::crds;

    fn ours(kind: &str) -> CustomResourceDefinition {
        crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap()
    }

    fn crd(value: Value) -> CustomResourceDefinition {
        serde_json::from_value(value).unwrap()
    }

    fn v1_schema(crd: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
        let version = crd.spec.versions.iter_mut().find(|version| version.name == "v1").unwrap();
        version.schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap()
    }

    #[test]
    fn our_own_crds_lack_nothing() {
        for crd in crds() {
            assert_eq!(lacks(Some(&crd), &crd), Vec::<String>::new());
        }
    }

    #[test]
    fn a_missing_crd_is_named() {
        assert_eq!(
            lacks(None, &ours("StreamClass")),
            ["CRD streamclasses.streaming.sneaksanddata.com is not installed"]
        );
    }

    #[test]
    fn an_older_crd_lacks_our_fields_version_and_status() {
        let older = |version: &str, subresources: Value| {
            crd(json!({
                "metadata": {"name": "backfillrequests.streaming.sneaksanddata.com"},
                "spec": {
                    "group": "streaming.sneaksanddata.com",
                    "scope": "Namespaced",
                    "names": {"kind": "BackfillRequest", "plural": "backfillrequests"},
                    "versions": [{
                        "name": version, "served": true, "storage": true,
                        "subresources": subresources,
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                            "spec": {"type": "object", "properties": {
                                "streamClass": {"type": "string"},
                                "streamId": {"type": "string"},
                                "completed": {"type": "string"},
                                "payload": {"type": "object"},
                            }},
                            "status": {"type": "object", "properties": {
                                "phase": {"type": "string"},
                                "jobName": {"type": "string"},
                                "observedGeneration": {"type": "integer"},
                                "streamUid": {"type": "string"},
                                "conditions": {"type": "array", "items": {
                                    "type": "object",
                                    "properties": {
                                        "type": {"type": "string"},
                                        "status": {"type": "string"},
                                        "message": {"type": "string"},
                                        "lastTransitionTime": {"type": "string"},
                                        "observedGeneration": {"type": "integer"},
                                    },
                                }},
                            }},
                        }}},
                    }],
                },
            }))
        };
        let name = "CRD backfillrequests.streaming.sneaksanddata.com";
        assert_eq!(
            lacks(Some(&older("v1alpha1", json!({"status": {}}))), &ours("BackfillRequest")),
            [format!("{name} does not serve version v1")]
        );
        assert_eq!(
            lacks(Some(&older("v1", Value::Null)), &ours("BackfillRequest")),
            [
                format!("{name} has no status subresource in version v1"),
                format!("{name} has spec.completed as string, not as boolean"),
                format!("{name} prunes unknown fields of spec.payload"),
                format!("{name} has no field status.completionTime"),
                format!("{name} has no field status.conditions[].reason"),
                format!("{name} has no field status.startTime"),
            ]
        );
    }

    #[test]
    fn a_level_that_preserves_unknown_fields_lacks_none() {
        let ours = ours("StreamClass");
        let mut theirs = ours.clone();
        let schema = v1_schema(&mut theirs);
        for name in ["spec", "status"] {
            let level = schema.properties.as_mut().unwrap().get_mut(name).unwrap();
            level.properties = None;
            level.x_kubernetes_preserve_unknown_fields = Some(true);
        }
        assert_eq!(lacks(Some(&theirs), &ours), Vec::<String>::new());
    }

    #[test]
    fn a_template_crd_that_prunes_is_not_enough() {
        let ours = ours("StreamingJobTemplate");
        let mut theirs = ours.clone();
        let spec = v1_schema(&mut theirs).properties.as_mut().unwrap().get_mut("spec").unwrap();
        spec.x_kubernetes_preserve_unknown_fields = None;
        assert_eq!(
            lacks(Some(&theirs), &ours),
            ["CRD streamingjobtemplates.streaming.sneaksanddata.com prunes unknown fields of spec"]
        );
    }

    #[test]
    fn a_crd_with_selectable_fields_and_columns_missing_is_enough() {
        let ours = ours("BackfillRequest");
        let mut theirs = ours.clone();
        for version in &mut theirs.spec.versions {
            version.selectable_fields = None;
            version.additional_printer_columns = None;
        }
        assert_eq!(lacks(Some(&theirs), &ours), Vec::<String>::new());
    }

    #[test]
    fn another_scope_and_a_crd_that_is_not_established_are_named() {
        let ours = ours("StreamClass");
        let mut value = serde_json::to_value(&ours).unwrap();
        value["spec"]["scope"] = json!("Namespaced");
        value["status"] = json!({"conditions": [{"type": "Established", "status": "False"}]});
        let name = "streamclasses.streaming.sneaksanddata.com";
        assert_eq!(
            lacks(Some(&crd(value)), &ours),
            [
                format!("CRD {name} has scope Namespaced, not Cluster"),
                format!("CRD {name} is not established yet: see `kubectl describe crd {name}`"),
            ]
        );
    }
}
