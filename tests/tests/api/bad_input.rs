//! Bad input: a condition and an event that name the field and the fix; nothing loops, nothing else stops.

use arcane_tests::TestNamespace;
use arcane_tests::fixture::{condition_of, sample_streams, streams_of, until};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::world::*;

/// What is to be said of a bad stream.
struct Said {
    /// The condition that holds: `Stalled` where only the user can help, `Reconciling` where something is waited for.
    condition: &'static str,
    reason: &'static str,
    /// What the message has to name.
    words: &'static [&'static str],
}

async fn is_said(ns: &TestNamespace<'_>, kind: &ApiResource, name: &str, said: Said) {
    let object = ns.condition(&ns.objects(kind), name, (said.condition, "True", said.reason)).await;
    assert_eq!(condition_of(&object, "Ready")["status"], "False", "{object}");
    let message = condition_of(&object, "Ready")["message"].as_str().unwrap_or_default().to_owned();
    let told = event(ns, name, said.reason).await;
    for word in said.words {
        assert!(message.contains(word), "the condition doesn't name {word:?}: {message}");
        assert!(told.contains(word), "the event doesn't name {word:?}: {told}");
    }
    nothing_loops(ns).await;
    assert!(history(ns).iter().all(|run| run.stream_id != name), "it must not run");
    let events = ns.events_about(name).await;
    assert_eq!(events.iter().filter(|event| event.starts_with(said.reason)).count(), 1, "told once: {events:?}");
}

/// That it is mended by a change of its spec, with the initial backfill that it never had.
async fn is_mended(ns: &TestNamespace<'_>, kind: &ApiResource, name: &str, patch: Value) {
    ns.merge(&ns.objects(kind), name, patch).await;
    running_of(ns, kind, name).await;
    let of_stream = requests(ns).await.into_iter().filter(|request| request.data["spec"]["streamId"] == name).count();
    assert_eq!(of_stream, 1, "a mended stream is new: it has its initial backfill");
}

#[test]
fn a_stream_without_a_template_reference() {
    on_a_cluster(async |ns| {
        a_stream(ns, "bad", json!({"secretRef": {"name": "s"}})).await;
        let said = Said {
            condition: "Stalled",
            reason: "InvalidSpec",
            words: &["spec.jobTemplateRef: Required", "StreamingJobTemplate"],
        };
        is_said(ns, &sample_streams(), "bad", said).await;
        // Nothing else stops.
        a_running_stream(ns, "good").await;
        is_mended(ns, &sample_streams(), "bad", json!({"spec": {"jobTemplateRef": {"name": "once"}}})).await;
    });
}

#[test]
fn a_stream_that_refers_to_no_template() {
    on_a_cluster(async |ns| {
        a_stream(ns, "bad", spec_with(json!({"jobTemplateRef": {"name": "nowhere"}}))).await;
        let words = &["spec.jobTemplateRef.name: Not found: \"nowhere\"", "create it or correct the reference"];
        is_said(ns, &sample_streams(), "bad", Said { condition: "Reconciling", reason: "TemplateMissing", words })
            .await;
        is_mended(ns, &sample_streams(), "bad", json!({"spec": {"jobTemplateRef": {"name": "once"}}})).await;
    });
}

#[test]
fn a_stream_with_an_unknown_layout() {
    on_a_cluster(async |ns| {
        let layout = json!({"execution": {"layoutVersion": "v9", "jobTemplateRef": {"name": "once"}}});
        a_stream(ns, "bad", spec_with(layout)).await;
        let words = &["spec.execution.layoutVersion: Unsupported value: \"v9\"", "v1", "v2"];
        is_said(ns, &sample_streams(), "bad", Said { condition: "Stalled", reason: "InvalidSpec", words }).await;
        is_mended(ns, &sample_streams(), "bad", json!({"spec": {"execution": null}})).await;
    });
}

#[test]
fn a_stream_whose_label_names_no_class() {
    on_a_cluster(async |ns| {
        let label = json!({"arcane/stream-class": "nowhere"});
        create_labelled(ns, &sample_streams(), "bad", label, spec()).await;
        let words = &["arcane/stream-class", "Not found: \"nowhere\"", "create it"];
        is_said(ns, &sample_streams(), "bad", Said { condition: "Reconciling", reason: "StreamClassMissing", words })
            .await;
        is_mended(ns, &sample_streams(), "bad", json!({"metadata": {"labels": {"arcane/stream-class": null}}})).await;
    });
}

#[test]
fn a_stream_without_a_secret() {
    on_a_cluster(async |ns| {
        a_stream(ns, "bad", spec_with(json!({"secretRef": null}))).await;
        let words = &["spec.connectionString: Required", "spec.storageAccountKey: Required", "spec.secretRef.name"];
        is_said(ns, &sample_streams(), "bad", Said { condition: "Stalled", reason: "InvalidSpec", words }).await;
        is_mended(ns, &sample_streams(), "bad", json!({"spec": {"secretRef": {"name": "s"}}})).await;
    });
}

#[test]
fn a_stream_with_several_faults_is_told_them_all() {
    on_a_cluster(async |ns| {
        let bad = json!({"jobTemplateRef": {"name": ""}, "backfillJobTemplateRef": {"kind": "x"}, "suspended": "no"});
        create(ns, &test_streams(), "bad", bad).await;
        let words = &["spec.jobTemplateRef.name", "spec.backfillJobTemplateRef", "spec.suspended"];
        is_said(ns, &test_streams(), "bad", Said { condition: "Stalled", reason: "InvalidSpec", words }).await;
    });
}

#[test]
fn a_spec_too_large_for_the_environment() {
    on_a_cluster(async |ns| {
        create(ns, &test_streams(), "bad", spec_with(json!({"query": "x".repeat(140_000)}))).await;
        let words = &["spec: Too long", "128 KiB", "ConfigMap"];
        is_said(ns, &test_streams(), "bad", Said { condition: "Stalled", reason: "InvalidSpec", words }).await;
        is_mended(ns, &test_streams(), "bad", json!({"spec": {"query": "x"}})).await;
    });
}

#[test]
fn a_stream_with_a_name_too_long_for_a_label() {
    on_a_cluster(async |ns| {
        let name = "n".repeat(64);
        a_stream(ns, &name, spec()).await;
        let said = Said { condition: "Stalled", reason: "InvalidSpec", words: &["metadata.name: Too long", "63"] };
        is_said(ns, &sample_streams(), &name, said).await;
    });
}

#[test]
fn a_request_for_no_class() {
    on_a_cluster(async |ns| {
        a_request_with(ns, "bad", json!({"streamClass": "nowhere", "streamId": "orders"})).await;
        let kind = streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
        let words = &["spec.streamClass: Not found: \"nowhere\"", "create it"];
        is_said(ns, &kind, "bad", Said { condition: "Reconciling", reason: "StreamClassMissing", words }).await;
        assert_eq!(request_phase(ns, "bad", "Pending").await["spec"]["completed"], false);
    });
}

#[test]
fn a_request_for_no_stream_waits_for_it() {
    on_a_cluster(async |ns| {
        a_request(ns, "bad", "orders").await;
        let kind = streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
        let words = &["spec.streamId: Not found: \"orders\"", "SqlServerChangeTrackingStream", "create it"];
        is_said(ns, &kind, "bad", Said { condition: "Reconciling", reason: "StreamMissing", words }).await;
        a_running_stream(ns, "orders").await;
        request_phase(ns, "bad", "Completed").await;
    });
}

/// A template that the API server stores and no Job can be made of.
struct BadTemplate {
    name: &'static str,
    spec: Value,
    reason: &'static str,
    words: &'static [&'static str],
}

fn templates() -> ApiResource {
    streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates")
}

fn bad_templates() -> Vec<BadTemplate> {
    let template = |pod: Value| json!({"backoffLimit": 0, "template": {"spec": pod}});
    let container = json!({"name": "stream", "image": "example.com/stream:1"});
    vec![
        BadTemplate {
            name: "always",
            spec: template(json!({"restartPolicy": "Always", "containers": [container]})),
            reason: "Invalid",
            words: &["spec.template.spec.restartPolicy: Unsupported value: \"Always\"", "Never", "OnFailure"],
        },
        BadTemplate {
            name: "our-variable",
            spec: template(json!({"containers": [
                {"name": "stream", "image": "i:1", "env": [{"name": "STREAMCONTEXT__SPEC", "value": "{}"}]},
            ]})),
            reason: "Invalid",
            words: &["spec.template.spec.containers[0].env[0].name: Forbidden", "STREAMCONTEXT__SPEC", "remove it"],
        },
        BadTemplate {
            name: "no-image",
            spec: template(json!({"containers": [{"name": "stream-processor"}]})),
            reason: "ImageMissing",
            words: &["stream-processor", "image"],
        },
        BadTemplate {
            name: "refused",
            spec: template(json!({"containers": [{"name": "Not_A_Name", "image": "i:1"}]})),
            reason: "JobRefused",
            words: &["spec.template.spec.containers[0].name", "Not_A_Name"],
        },
        BadTemplate {
            name: "wrong-type",
            spec: template(json!({"containers": [container], "terminationGracePeriodSeconds": "ten"})),
            reason: "Invalid",
            words: &["spec.template.spec.terminationGracePeriodSeconds", "integer"],
        },
    ]
}

#[test]
fn every_kind_of_bad_template() {
    on_a_cluster(async |ns| {
        for bad in bad_templates() {
            create(ns, &templates(), bad.name, bad.spec).await;
            a_stream(ns, &format!("on-{}", bad.name), spec_with(json!({"jobTemplateRef": {"name": bad.name}}))).await;
        }
        a_running_stream(ns, "good").await;
        for bad in bad_templates() {
            let said = ns.condition(&ns.templates(), bad.name, ("Valid", "False", bad.reason)).await;
            let message = condition_of(&said, "Valid")["message"].as_str().unwrap_or_default().to_owned();
            let told = event(ns, bad.name, bad.reason).await;
            for word in bad.words {
                assert!(message.contains(word), "{}: the condition doesn't name {word:?}: {message}", bad.name);
                assert!(told.contains(word), "{}: the event doesn't name {word:?}: {told}", bad.name);
            }
            assert_eq!(said["status"]["observedGeneration"], 1, "{said}");
            let stream = format!("on-{}", bad.name);
            let holds = |it: &Value| {
                let ready = condition_of(it, "Ready");
                let message = ready["message"].as_str().unwrap_or_default();
                it["status"]["phase"] == "Pending"
                    && ready["status"] == "False"
                    && bad.words.iter().any(|word| message.contains(word))
            };
            let said = ns.until(&ns.streams(), &stream, "waiting stream", holds).await;
            let reason = condition_of(&said, "Ready")["reason"].as_str().unwrap_or_default().to_owned();
            event(ns, &stream, &reason).await;
        }
        // JobRefused is tried again from time to time, the first times soon after another.
        nothing_loops(ns).await;
        for run in history(ns) {
            assert_eq!(run.stream_id, "good");
        }
        // A template that is mended is judged anew, and its stream goes on.
        let image =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "stream-processor", "image": "i:1"}]}}}});
        ns.merge(&ns.templates(), "no-image", image).await;
        ns.condition(&ns.templates(), "no-image", ("Valid", "True", "Valid")).await;
        running(ns, "on-no-image").await;
        let name = json!({"spec": {"template": {"spec": {"containers": [{"name": "stream", "image": "i:1"}]}}}});
        ns.merge(&ns.templates(), "refused", name).await;
        running(ns, "on-refused").await;
        let policy = json!({"spec": {"template": {"spec": {"restartPolicy": null}}}});
        ns.merge(&ns.templates(), "always", policy).await;
        running(ns, "on-always").await;
    });
}

#[test]
fn a_template_of_no_known_shape_is_refused_by_its_crd() {
    on_a_cluster(async |ns| {
        let container = json!([{"name": "c", "image": "i:1"}]);
        for (spec, words) in [
            (json!({"template": {"spec": {"containers": []}}}), "no Job is found here"),
            (json!({"containers": container}), "no Job is found here"),
            (json!({}), "no Job is found here"),
            (
                json!({"template": {"spec": {"containers": container}}, "spec": {"template": {"spec": {"containers": container}}}}),
                "keep one",
            ),
        ] {
            let template = DynamicObject::new("bad", &templates()).data(json!({"spec": spec}));
            let refused = ns.templates().create(&PostParams::default(), &template).await.unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains("spec"), "{refused}");
        }
    });
}

#[test]
fn a_template_with_a_misplaced_field_is_valid_and_says_so() {
    on_a_cluster(async |ns| {
        let job_spec = json!({"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}});
        create(ns, &templates(), "misplaced", json!({"spec": job_spec, "podFailurePolicy": {"rules": []}})).await;
        let said = ns.condition(&ns.templates(), "misplaced", ("Valid", "True", "Valid")).await;
        let message = condition_of(&said, "Valid")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("podFailurePolicy"), "{message}");
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": {"name": "misplaced"}}))).await;
        running(ns, "orders").await;
    });
}

#[test]
fn a_stream_that_breaks_the_schema_of_its_class() {
    on_a_cluster(async |ns| {
        let schema = json!({"properties": {"fetchSize": {"type": "integer", "maximum": 100}}});
        let text = class(
            "with-a-schema",
            "streaming.sneaksanddata.com",
            "TestStream",
            "test-streams",
            json!({"streamSchema": schema}),
        );
        ns.fixture().apply(None, &text).await;
        let label = json!({"arcane/stream-class": "with-a-schema"});
        let bad = spec_with(json!({"fetchSize": "many"}));
        create_labelled(ns, &test_streams(), "bad", label, bad).await;
        let words = &["spec.fetchSize: Invalid value", "integer"];
        is_said(ns, &test_streams(), "bad", Said { condition: "Stalled", reason: "InvalidSpec", words }).await;
        is_mended(ns, &test_streams(), "bad", json!({"spec": {"fetchSize": 10}})).await;
        // A schema that came while no webhook judged it, and can't be used, is told on its class and judges nobody.
        let bad = json!({"spec": {"streamSchema": {"$ref": "https://example.com/schema.json"}}});
        ns.merge(&classes(ns.fixture()), "with-a-schema", bad).await;
        let holds = |it: &Value| condition_of(it, "Ready")["reason"] == "StreamSchemaInvalid";
        let said = until(&classes(ns.fixture()), "with-a-schema", "class with a bad schema", holds).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("spec.streamSchema"), "{said}");
        running_of(ns, &test_streams(), "bad").await;
        classes(ns.fixture()).delete("with-a-schema", &Default::default()).await.unwrap();
    });
}

#[test]
fn a_job_that_a_quota_refuses_waits_and_says_why() {
    on_a_cluster(async |ns| {
        ns.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {count/jobs.batch: 0}}}")
            .await;
        let quotas: Api<DynamicObject> = ns.objects(&streams_of("", "v1", "ResourceQuota", "resourcequotas"));
        until(&quotas, "none", "counting quota", |it| it["status"]["hard"].is_object()).await;
        a_stream(ns, "orders", spec()).await;
        let said = ns.condition(&ns.streams(), "orders", ("Stalled", "True", "JobRefused")).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("exceeded quota: none"), "{said}");
        event(ns, "orders", "JobRefused").await;
        let request = requests(ns).await.swap_remove(0).name_any();
        let said = ns.condition(&ns.requests(), &request, ("Reconciling", "True", "JobRefused")).await;
        assert_eq!(said["status"]["phase"], "Pending", "a request whose Job isn't there doesn't run: {said}");
        // A quota is no fault of a template.
        create(
            ns,
            &templates(),
            "late",
            json!({"template": {"spec": {"containers": [{"name": "stream", "image": "plugin:1"}]}}}),
        )
        .await;
        ns.condition(&ns.templates(), "late", ("Valid", "False", "JobForbidden")).await;
        quotas.delete("none", &Default::default()).await.unwrap();
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1);
        request_phase(ns, &request, "Completed").await;
        ns.condition(&ns.templates(), "late", ("Valid", "True", "Valid")).await;
    });
}

/// Helm charts render them so; to Kubernetes they are absent, and get their defaults.
#[test]
fn a_template_with_empty_words_for_what_has_a_default() {
    on_a_cluster(async |ns| {
        let container = json!({
            "name": "stream", "image": "plugin:1", "imagePullPolicy": "", "terminationMessagePolicy": "",
            "ports": [{"containerPort": 80, "protocol": ""}],
        });
        let pod = json!({"restartPolicy": "", "dnsPolicy": "", "containers": [container]});
        create(ns, &templates(), "empty", json!({"template": {"spec": pod}})).await;
        ns.condition(&ns.templates(), "empty", ("Valid", "True", "Valid")).await;
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": {"name": "empty"}}))).await;
        running(ns, "orders").await;
    });
}

#[test]
fn a_refused_backfill_keeps_nobody_from_streaming() {
    on_a_cluster(async |ns| {
        create(
            ns,
            &templates(),
            "refused",
            json!({"template": {"spec": {"containers": [{"name": "Not_A_Name", "image": "i:1"}]}}}),
        )
        .await;
        a_stream(ns, "orders", spec_with(json!({"backfillJobTemplateRef": {"name": "refused"}}))).await;
        let said = ns.condition(&ns.streams(), "orders", ("Stalled", "True", "JobRefused")).await;
        assert!(condition_of(&said, "Ready")["message"].to_string().contains("Job orders-backfill"), "{said}");
        let request = requests(ns).await.swap_remove(0).name_any();
        ns.condition(&ns.requests(), &request, ("Reconciling", "True", "JobRefused")).await;
        ns.requests().delete(&request, &Default::default()).await.unwrap();
        running(ns, "orders").await;
    });
}

/// It came while no webhook judged it.
#[test]
fn a_request_with_a_payload_that_no_program_can_be_given_is_told_and_keeps_nothing_from_running() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        a_request_with(ns, "big", json!({"streamId": "orders", "payload": {"a": "x".repeat(140_000)}})).await;
        let said = ns.condition(&ns.requests(), "big", ("Reconciling", "True", "InvalidSpec")).await;
        assert_eq!(said["status"]["phase"], "Pending", "{}", said["status"]);
        assert!(
            condition_of(&said, "Ready")["message"].to_string().contains("spec.payload: Too long"),
            "{}",
            said["status"]
        );
        a_request(ns, "small", "orders").await;
        request_phase(ns, "small", "Completed").await;
        assert_ne!(running(ns, "orders").await.uid(), job.uid());
        ns.merge(&ns.requests(), "big", json!({"spec": {"payload": {"a": "y"}}})).await;
        request_phase(ns, "big", "Completed").await;
    });
}

#[test]
fn a_request_whose_class_can_not_work_is_told_why() {
    on_a_cluster(async |ns| {
        let text = class("without-a-definition", "streaming.sneaksanddata.com", "Nowhere", "nowheres", json!({}));
        ns.fixture().apply(None, &text).await;
        a_request_with(ns, "early", json!({"streamId": "orders", "streamClass": "without-a-definition"})).await;
        let said = ns.condition(&ns.requests(), "early", ("Reconciling", "True", "StreamClassNotReady")).await;
        let message = condition_of(&said, "Ready")["message"].to_string();
        assert!(message.contains("nowheres.streaming.sneaksanddata.com"), "{message}");
        classes(ns.fixture()).delete("without-a-definition", &Default::default()).await.unwrap();
        ns.condition(&ns.requests(), "early", ("Reconciling", "True", "StreamClassMissing")).await;
    });
}

#[test]
fn a_request_for_a_stream_that_can_not_run_is_told_why() {
    on_a_cluster(async |ns| {
        a_stream(ns, "bad", json!({"secretRef": {"name": "s"}})).await;
        a_request(ns, "again", "bad").await;
        let holds = |it: &Value| condition_of(it, "Reconciling")["message"].to_string().contains("spec.jobTemplateRef");
        let said = ns.until(&ns.requests(), "again", "explained request", holds).await;
        assert_eq!(said["status"]["phase"], "Pending", "{said}");
        nothing_loops(ns).await;
        ns.merge(&ns.streams(), "bad", json!({"spec": {"jobTemplateRef": {"name": "once"}}})).await;
        request_phase(ns, "again", "Completed").await;
        running(ns, "bad").await;
        assert_eq!(requests(ns).await.len(), 1, "it was the initial one");
    });
}
