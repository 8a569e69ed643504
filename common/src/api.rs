//! The kinds we own, as Rust types and as CustomResourceDefinitions.
//!
//! The types are generous readers: an object stored by an older or a newer
//! version must not stop a watch, so a value that isn't understood counts as
//! absent or as an unknown word. What may be *written* is decided by the
//! schemas, by the webhook and by the checks in [`crate::validation`].

pub mod backfill_request;
pub mod condition;
pub mod installed;
pub mod lenient;
pub mod stream_class;
pub mod streaming_job_template;
pub mod vocabulary;
pub mod well_known;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

pub use backfill_request::{BackfillRequest, BackfillRequestPhase, BackfillRequestSpec, BackfillRequestStatus};
pub use condition::{Condition, ConditionStatus};
pub use stream_class::{
    InitialBackfill, MissingReferences, RollingUpdate, StreamClass, StreamClassPhase, StreamClassSpec,
    StreamClassStatus, UpdateStrategy, UpdateStrategyType,
};
pub use streaming_job_template::{StreamingJobTemplate, StreamingJobTemplateSpec, StreamingJobTemplateStatus};

/// The CustomResourceDefinitions of our kinds in their final form, in the
/// order in which they are written to files.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        BackfillRequest::crd(),
        also_served_as(well_known::VERSION_V1BETA1, StreamClass::crd()),
        StreamingJobTemplate::crd(),
    ];
    let schemas = crds
        .iter_mut()
        .flat_map(|crd| &mut crd.spec.versions)
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        finish(schema);
    }
    for (crd, status) in crds.iter_mut().zip(NOT_SEEN_YET) {
        for version in &mut crd.spec.versions {
            let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
            let properties = schema.and_then(|schema| schema.properties.as_mut());
            if let Some(schema) = properties.and_then(|properties| properties.get_mut("status")) {
                schema.default = serde_json::from_str(status).ok().map(JSON);
            }
        }
    }
    crds
}

/// What the status of an object says before the controller has seen it, in the order of [`crds`]. Who judges objects by the
/// rules of kstatus takes one without a status for one that is ready.
///
/// A request's status isn't about a generation: who puts `spec.completed` back makes a new one, and nothing comes of that.
const NOT_SEEN_YET: [&str; 3] = [
    r#"{"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NotSeenYet",
        "message": "the controller has not seen it yet"}]}"#,
    r#"{"observedGeneration": -1}"#,
    r#"{"observedGeneration": -1}"#,
];

/// [`crds`] as one YAML stream, the same bytes each time.
pub fn crds_yaml() -> String {
    let mut yaml = String::from("# Made from the Rust types in common/src/api by `make generate`. Don't edit.\n");
    for crd in crds() {
        yaml.push_str("---\n");
        match serde_saphyr::to_string(&crd) {
            Ok(document) => yaml.push_str(document.trim_start_matches("---\n")),
            // A CRD is a tree of strings, numbers and maps: YAML holds all of
            // that. Should it ever not, the file says so and the test that
            // compares it fails.
            Err(error) => yaml.push_str(&format!("# {error}\n")),
        }
        if !yaml.ends_with('\n') {
            yaml.push('\n');
        }
    }
    yaml
}

/// Serves the same schema under one more version. Nothing is converted: the
/// versions differ in name only, and v1 alone is stored.
fn also_served_as(version: &str, mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let others: Vec<CustomResourceDefinitionVersion> = crd
        .spec
        .versions
        .iter()
        .filter(|stored| stored.storage)
        .map(|stored| CustomResourceDefinitionVersion { name: version.to_owned(), storage: false, ..stored.clone() })
        .collect();
    crd.spec.versions.extend(others);
    crd
}

/// What the derived schemas need before people and the API server see them.
fn finish(schema: &mut JSONSchemaProps) {
    // The lines of a comment in the source are no lines for `kubectl explain`,
    // which breaks them where the terminal ends.
    if let Some(description) = &mut schema.description {
        let paragraphs: Vec<String> = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
    // An optional enum is derived with null as one more word. The API server
    // refuses the null all the same, and shows it to people as a choice.
    if let Some(words) = &mut schema.enum_ {
        words.retain(|word| !word.0.is_null());
        schema.nullable = None;
    }
    for property in schema.properties.iter_mut().flat_map(BTreeMap::values_mut) {
        finish(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        finish(item);
    }
}

#[cfg(test)]
#[path = "api/tests.rs"]
mod tests;
