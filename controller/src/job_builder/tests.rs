#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use arcane_common::{
    api::well_known,
    identity::{GroupKind, ObjectName},
};
use kube::core::{ApiResource, DynamicObject};

use super::*;

fn stream() -> StreamFacts {
    let resource = ApiResource {
        group: well_known::GROUP.into(),
        version: "v1".into(),
        api_version: format!("{}/v1", well_known::GROUP),
        kind: "SqlServerStream".into(),
        plural: "sqlserverstreams".into(),
    };
    let mut object = DynamicObject::new("orders", &resource).within("data").data(json!({
        "spec": {"jobTemplateRef": {"name": "t"}, "query": "a<b", "secretRef": {"name": "s"}},
    }));
    object.metadata.uid = Some("u-1".into());
    object.metadata.generation = Some(3);
    StreamFacts::of(&GroupKind::new(well_known::GROUP, "SqlServerStream"), &object)
}

fn job(template: Value, backfill: Option<(&str, &BackfillContext)>) -> Value {
    let purpose = backfill.map_or(Purpose::Streaming, |(uid, context)| Purpose::Backfill(uid, context));
    made_by(build, template, purpose)
}

fn cron_job(template: Value) -> Value {
    made_by(|blueprint| build_cron_job(blueprint, "0 * * * *"), template, Purpose::Runs)
}

fn made_by(build: impl FnOnce(&Blueprint<'_>) -> Value, template: Value, purpose: Purpose<'_>) -> Value {
    let template = Arc::new(JobTemplate::parse(&template).unwrap());
    let resolved = ResolvedTemplate { name: ObjectName::new("data", "t"), hash: "h".into() };
    let stream = stream();
    build(&Blueprint {
        name: "orders",
        stream: &stream,
        api_version: "streaming.sneaksanddata.com/v1",
        class: "sql",
        template: (&resolved, &template),
        secrets: &[
            SecretEnvironment::Variable { name: "connectionString".into(), secret: "s".into() },
            SecretEnvironment::From(json!({"secretRef": {"name": "more"}})),
        ],
        purpose,
    })
}

fn guide_template() -> Value {
    json!({
        "ttlSecondsAfterFinished": 86400,
        "template": {"spec": {
            "initContainers": [{"name": "i", "image": "i:1"}],
            "containers": [{"name": "c", "image": "c:1", "env": [
                {"name": "LOG_LEVEL", "value": "DEBUG"},
                {"name": "connectionString", "value": "of the template"},
            ]}],
        }},
    })
}

fn env<'a>(job: &'a Value, list: &str, name: &str) -> Vec<&'a Value> {
    let env = job["spec"]["template"]["spec"][list][0]["env"].as_array().unwrap();
    env.iter().filter(|variable| variable["name"] == name).collect()
}

#[test]
fn the_stream_owns_its_job() {
    let job = job(guide_template(), None);
    assert_eq!(job["metadata"]["name"], "orders");
    assert_eq!(job["metadata"]["namespace"], "data");
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], "u-1");
    assert_eq!(owner["controller"], true);
    assert_eq!(owner["blockOwnerDeletion"], true);
}

#[test]
fn job_and_pods_carry_the_labels() {
    let job = job(guide_template(), None);
    for labels in [&job["metadata"]["labels"], &job["spec"]["template"]["metadata"]["labels"]] {
        assert_eq!(labels["streamId"], "orders");
        assert_eq!(labels["arcane/stream-id"], "orders");
        assert_eq!(labels["arcane/stream-kind"], "SqlServerStream");
        assert_eq!(labels["arcane/backfilling"], "false");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "arcane-operator");
    }
}

#[test]
fn the_ttl_is_noted_and_not_set() {
    let job = job(guide_template(), None);
    assert_eq!(job["spec"].get("ttlSecondsAfterFinished"), None);
    assert_eq!(job["metadata"]["annotations"]["arcane/ttl-seconds-after-finished"], "86400");
    assert_eq!(job["metadata"]["annotations"]["arcane/template"], "data/t");
    assert_eq!(job["metadata"]["annotations"]["arcane/stream-generation"], "3");
}

#[test]
fn every_container_gets_the_context_and_the_secrets() {
    let job = job(guide_template(), None);
    for list in ["containers", "initContainers"] {
        assert_eq!(env(&job, list, "STREAMCONTEXT__BACKFILL")[0]["value"], "false");
        let secret = env(&job, list, "connectionString");
        assert_eq!(secret.len(), 1, "an entry of the same name is replaced");
        assert_eq!(secret[0]["valueFrom"]["secretKeyRef"]["name"], "s");
        let sources = &job["spec"]["template"]["spec"][list][0]["envFrom"];
        assert_eq!(sources[0]["secretRef"]["name"], "more");
    }
    assert_eq!(env(&job, "containers", "LOG_LEVEL")[0]["value"], "DEBUG");
    let spec: Value =
        serde_json::from_str(env(&job, "containers", "STREAMCONTEXT__SPEC")[0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(&spec, &*stream().spec);
}

#[test]
fn a_backfill_names_its_request() {
    let context = BackfillContext {
        id: "b-1".into(),
        request_spec: json!({"streamId": "orders"}),
        payload: Some(json!({"a": 1})),
    };
    let job = job(guide_template(), Some(("r-1", &context)));
    assert_eq!(job["metadata"]["labels"]["arcane/backfilling"], "true");
    assert_eq!(job["metadata"]["annotations"]["arcane/backfill-request-uid"], "r-1");
    assert_eq!(env(&job, "containers", "STREAMCONTEXT__BACKFILL_ID")[0]["value"], "b-1");
    assert_eq!(env(&job, "containers", "STREAMCONTEXT_SPEC_OVERRIDE")[0]["value"], r#"{"a":1}"#);
}

#[test]
fn runs_are_made_from_what_a_job_would_be_made_from() {
    let cron_job = cron_job(guide_template());
    assert_eq!(cron_job["spec"]["schedule"], "0 * * * *");
    assert_eq!(cron_job["spec"]["concurrencyPolicy"], "Forbid");
    assert_eq!(cron_job["metadata"]["ownerReferences"][0]["uid"], "u-1");
    let run = &cron_job["spec"]["jobTemplate"];
    assert_eq!(run["spec"]["ttlSecondsAfterFinished"], 86400, "nobody records their outcome");
    assert_eq!(run["metadata"]["annotations"].get("arcane/ttl-seconds-after-finished"), None);
    assert_eq!(run["metadata"].get("ownerReferences"), None);
    let pods = &run["spec"]["template"];
    for labels in [&cron_job["metadata"]["labels"], &run["metadata"]["labels"], &pods["metadata"]["labels"]] {
        assert_eq!(labels["arcane/stream-id"], "orders");
        assert_eq!(labels["arcane/stream-kind"], "SqlServerStream");
        assert_eq!(labels["arcane/backfilling"], "false");
    }
    for metadata in [&cron_job["metadata"], &run["metadata"]] {
        assert_eq!(metadata["annotations"]["arcane/stream-generation"], "3");
        assert_eq!(metadata["annotations"]["arcane/template-hash"], "h");
    }
}

#[test]
fn each_run_is_told_that_it_is_a_backfill_of_its_own() {
    let template = cron_job(guide_template())["spec"]["jobTemplate"].clone();
    for list in ["containers", "initContainers"] {
        let backfill = env(&template, list, "STREAMCONTEXT__BACKFILL");
        assert_eq!((backfill.len(), &backfill[0]["value"]), (1, &json!("true")));
        let id = env(&template, list, "STREAMCONTEXT__BACKFILL_ID");
        assert_eq!(id[0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.labels['job-name']");
        assert_eq!(env(&template, list, "STREAMCONTEXT__STREAM_ID")[0]["value"], "orders");
        assert_eq!(env(&template, list, "STREAMCONTEXT__OVERRIDE").len(), 0);
    }
}

#[test]
fn a_template_can_not_speak_for_us() {
    let job = job(
        json!({
            "metadata": {
                "labels": {"arcane/backfilling": "true", "team": "a"},
                "annotations": {"arcane/backfill-request-uid": "forged", "note": "kept"},
            },
            "spec": {"template": {
                "metadata": {"labels": {"arcane/stream-id": "forged", "team": "a"}},
                "spec": {"containers": [{"name": "c", "image": "c:1"}]},
            }},
        }),
        None,
    );
    assert_eq!(job["metadata"]["labels"]["arcane/backfilling"], "false");
    assert_eq!(job["metadata"]["labels"]["team"], "a");
    assert_eq!(job["metadata"]["annotations"].get("arcane/backfill-request-uid"), None);
    assert_eq!(job["metadata"]["annotations"]["note"], "kept");
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["arcane/stream-id"], "orders");
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["team"], "a");
}
