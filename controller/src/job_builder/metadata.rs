//! Names, owners, labels and annotations.

use std::collections::BTreeMap;

use arcane_common::api::well_known;
use serde_json::{Map, Value, json};

use super::{Blueprint, Purpose};
use crate::facts::StreamFacts;

/// What a template can't set: keys that carry meaning for us.
fn is_reserved(key: &str) -> bool {
    key.starts_with("arcane/")
        || key == well_known::ANNOTATION_CONFIGURATION_HASH
        || key == well_known::LABEL_STREAM_ID_SHORT
}

pub(super) fn without_reserved(map: &BTreeMap<String, String>) -> Map<String, Value> {
    map.iter().filter(|(key, _)| !is_reserved(key)).map(|(key, value)| (key.clone(), json!(value))).collect()
}

pub(super) fn of_job(blueprint: &Blueprint<'_>) -> Value {
    let (_, template) = blueprint.template;
    let mut metadata = of_cron_job(blueprint);
    if let Some(ttl) = template.ttl_seconds_after_finished {
        // Noted, not set: a Job must not vanish before its outcome is recorded.
        metadata["annotations"][well_known::ANNOTATION_TTL_SECONDS_AFTER_FINISHED] = json!(ttl.to_string());
    }
    metadata
}

pub(super) fn of_cron_job(blueprint: &Blueprint<'_>) -> Value {
    let stream = blueprint.stream;
    let mut metadata = of_runs(blueprint);
    metadata["name"] = json!(blueprint.name);
    metadata["namespace"] = json!(stream.key.name.namespace);
    metadata["ownerReferences"] = json!([owner_reference(stream, blueprint.api_version)]);
    metadata
}

/// Runs are named and owned by their CronJob's controller.
pub(super) fn of_runs(blueprint: &Blueprint<'_>) -> Value {
    let (_, template) = blueprint.template;
    let mut labels_of_job = without_reserved(&template.labels);
    labels_of_job.extend(labels(blueprint));
    let mut annotations_of_job = without_reserved(&template.annotations);
    annotations_of_job.extend(annotations(blueprint));
    json!({"labels": labels_of_job, "annotations": annotations_of_job})
}

/// The reference by which a stream controls what was made for it.
pub(super) fn owner_reference(stream: &StreamFacts, api_version: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": stream.key.kind.kind,
        "name": stream.key.name.name,
        "uid": stream.uid.as_str(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

pub(super) fn annotations(blueprint: &Blueprint<'_>) -> Map<String, Value> {
    let stream = blueprint.stream;
    let (template, _) = blueprint.template;
    let mut annotations = Map::new();
    let mut put = |key: &str, value: String| annotations.insert(key.to_owned(), Value::String(value));
    put(well_known::ANNOTATION_CONFIGURATION_HASH, stream.configuration_hash.clone());
    put(well_known::ANNOTATION_STREAM_GENERATION, stream.generation.to_string());
    put(well_known::ANNOTATION_STREAM_CLASS, blueprint.class.to_owned());
    put(well_known::ANNOTATION_TEMPLATE, template.name.to_string());
    put(well_known::ANNOTATION_TEMPLATE_HASH, template.hash.clone());
    if let Some(restarted_at) = &stream.restarted_at {
        put(well_known::ANNOTATION_RESTARTED_AT, restarted_at.clone());
    }
    if let Purpose::Backfill(uid, _) = blueprint.purpose {
        put(well_known::ANNOTATION_BACKFILL_REQUEST_UID, uid.to_owned());
    }
    annotations
}

pub(super) fn labels(blueprint: &Blueprint<'_>) -> Map<String, Value> {
    let key = &blueprint.stream.key;
    // Runs are no request's backfill, though their programs are told to read everything.
    let backfilling = blueprint.purpose.is_backfill().to_string();
    [
        (well_known::LABEL_STREAM_ID_SHORT, key.name.name.clone()),
        (well_known::LABEL_STREAM_ID, key.name.name.clone()),
        (well_known::LABEL_STREAM_KIND, key.kind.kind.clone()),
        (well_known::LABEL_BACKFILLING, backfilling),
        (well_known::LABEL_MANAGED_BY, well_known::MANAGED_BY.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Value::String(value)))
    .collect()
}

/// The pods carry the labels of their Job, so that they are found when the Job is gone.
pub(super) fn label_pods(blueprint: &Blueprint<'_>, spec: &mut Map<String, Value>) {
    let template = object(spec, "template");
    let metadata = object(template, "metadata");
    let of_pods = object(metadata, "labels");
    of_pods.retain(|key, _| !is_reserved(key));
    of_pods.extend(labels(blueprint));
}

/// The object at `key`, made if it is absent or something else.
pub(super) fn object<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    static NULL: Value = Value::Null;
    if !map.get(key).unwrap_or(&NULL).is_object() {
        map.insert(key.to_owned(), Value::Object(Map::new()));
    }
    match map.get_mut(key) {
        Some(Value::Object(object)) => object,
        // It was made an object two lines above.
        _ => unreachable!(),
    }
}
