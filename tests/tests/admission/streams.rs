//! What a stream is by itself: its shape, its Secrets, what its class's schema asks of it.

use serde_json::{Value, json};

use crate::asked::{Way, with};
use crate::plugins::{TEMPLATE, a_good_stream, installed, of_class, stream};
use crate::world::*;

fn reference() -> Value {
    json!({"name": TEMPLATE})
}

fn execution(layout: &str, backend: Value) -> Value {
    json!({"execution": {"layoutVersion": layout, "suspended": true, "streamingBackend": backend}})
}

#[test]
fn every_layout_is_let_in() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for spec in [
            json!({"suspended": true, "jobTemplateRef": reference()}),
            json!({"suspended": true, "jobTemplateRef": reference(), "backfillJobTemplateRef": reference(), "execution": {}}),
            json!({"suspended": true, "jobTemplateRef": reference(), "execution": {"layoutVersion": ""}}),
            json!({"suspended": true, "jobTemplateRef": {
                "name": TEMPLATE, "namespace": ns.name(), "kind": "StreamingJobTemplate",
                "apiGroup": "streaming.sneaksanddata.com", "apiVersion": "streaming.sneaksanddata.com/v1"}}),
            execution("v1", json!({"changeCapture": {"jobTemplateRef": reference()}})),
            execution(
                "v2",
                json!({"changeCapture": {"jobTemplateRef": reference(), "backfillJobTemplateRef": reference()}}),
            ),
            execution("v1", json!({"batch": {"jobTemplateRef": reference(), "schedule": "*/5 * * * *"}})),
            execution("v2", json!({"batch": {"jobTemplateRef": reference(), "schedule": "@daily"}})),
        ] {
            asked.accepts(&a_good_stream(), &stream("orders", spec)).await;
        }
    });
}

#[test]
fn explicit_nulls_count_as_absent() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for spec in [
            json!({"suspended": null, "jobTemplateRef": {"name": TEMPLATE, "namespace": null}, "execution": null}),
            json!({"execution": {"layoutVersion": "v1", "suspended": true, "backfillJobTemplateRef": null,
                "streamingBackend": {"batch": null, "changeCapture": {"jobTemplateRef": reference()}}}}),
        ] {
            let stream = stream("orders", spec);
            for dry_run in [true, false] {
                let answer = asked.write(Way::Create, dry_run, &stream).await;
                assert!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
            }
            asked.delete(&stream).await;
        }
    });
}

#[test]
fn a_wrong_shape_is_refused() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let capture = || json!({"jobTemplateRef": reference()});
        let batch = |schedule: &str| json!({"batch": {"jobTemplateRef": reference(), "schedule": schedule}});
        let backend = "spec.execution.streamingBackend";
        let at = |field: &str| format!("{backend}.{field}");
        for (spec, fields) in [
            (execution("v9", json!({"changeCapture": capture()})), vec!["spec.execution.layoutVersion".to_owned()]),
            (execution("v1", json!({})), vec![backend.to_owned()]),
            (
                execution("v2", json!({"changeCapture": capture(), "batch": {}})),
                vec![backend.to_owned(), at("batch.schedule"), at("batch.jobTemplateRef")],
            ),
            (execution("v1", batch("every hour")), vec![at("batch.schedule")]),
            (execution("v1", batch("61 * * * *")), vec![at("batch.schedule")]),
            (execution("v2", json!({"batch": {"jobTemplateRef": reference()}})), vec![at("batch.schedule")]),
            (
                execution("v2", json!({"changeCapture": {"jobTemplateRef": {"name": ""}}})),
                vec![at("changeCapture.jobTemplateRef.name")],
            ),
            (json!({"jobTemplateRef": {"name": ""}}), vec!["spec.jobTemplateRef.name".to_owned()]),
            (json!({"jobTemplateRef": {"kind": "StreamingJobTemplate"}}), vec!["spec.jobTemplateRef.name".to_owned()]),
            (json!({"table": "t"}), vec!["spec.jobTemplateRef".to_owned()]),
            (
                json!({"jobTemplateRef": {"name": TEMPLATE, "kind": "ConfigMap"}}),
                vec!["spec.jobTemplateRef.kind".to_owned()],
            ),
            (
                json!({"jobTemplateRef": reference(), "backfillJobTemplateRef": {"name": ""}}),
                vec!["spec.backfillJobTemplateRef.name".to_owned()],
            ),
            (json!({"jobTemplateRef": reference(), "suspended": "yes"}), vec!["spec.suspended".to_owned()]),
            (
                json!({"suspended": "no", "jobTemplateRef": {"kind": "Job"}, "backfillJobTemplateRef": 7}),
                [
                    "spec.suspended",
                    "spec.jobTemplateRef.kind",
                    "spec.jobTemplateRef.name",
                    "spec.backfillJobTemplateRef",
                ]
                .map(ToOwned::to_owned)
                .to_vec(),
            ),
        ] {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            asked.refuses(&a_good_stream(), &stream("orders", spec), &fields).await;
        }
    });
}

#[test]
fn a_name_has_at_most_63_characters() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let named = |length: usize| stream(&"n".repeat(length), a_good_stream()["spec"].clone());
        let said = asked.refuses_new(&named(64), &["metadata.name"]).await;
        assert!(said[0].contains("64 characters") && said[0].contains("at most 63"), "{said:?}");
        asked.warns_of_new(&named(63), &[]).await;
    });
}

#[test]
fn a_name_that_the_api_server_chooses_is_judged_like_any_other() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let mut stream = a_good_stream();
        stream["metadata"] = json!({"generateName": "orders-"});
        for dry_run in [true, false] {
            let answer = asked.write(Way::Create, dry_run, &stream).await;
            assert!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
        }
        let bad = with(stream.clone(), json!({"jobTemplateRef": {"name": ""}}));
        let answer = asked.write(Way::Create, false, &bad).await;
        assert_eq!((answer.code, answer.fields()), (422, vec!["spec.jobTemplateRef.name".to_owned()]));
        assert!(answer.body["details"]["name"].as_str().unwrap().starts_with("orders-"), "{answer:?}");
        // What is added to a long beginning makes a name of at most 63 characters.
        stream["metadata"]["generateName"] = json!("n".repeat(70));
        let answer = asked.write(Way::Create, false, &stream).await;
        assert!(answer.is_allowed(), "{answer:?}");
        assert_eq!(answer.body["metadata"]["name"].as_str().unwrap().len(), 63);
    });
}

#[test]
fn a_spec_must_fit_into_the_environment() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let long = |length: usize| with(a_good_stream(), json!({"query": "x".repeat(length)}));
        let said = asked.refuses(&a_good_stream(), &long(132_000), &["spec"]).await;
        assert!(said[0].contains("128 KiB"), "{said:?}");
        asked.accepts(&a_good_stream(), &long(130_000)).await;
    });
}

#[test]
fn a_missing_secret_is_named_and_a_value_is_never_repeated() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let stream = |more: Value| of_class(with(a_good_stream(), more), "test-secrets");
        asked.refuses(&a_good_stream(), &stream(json!({})), &["spec.connectionString", "spec.key"]).await;
        let in_the_open = json!({"connectionString": "Password=hunter2", "key": {"name": "s"}});
        let said = asked.refuses(&a_good_stream(), &stream(in_the_open), &["spec.connectionString"]).await;
        assert!(!said[0].contains("hunter2"), "{said:?}");
        asked
            .refuses(
                &a_good_stream(),
                &stream(json!({"connectionString": {}, "key": {"name": "s"}})),
                &["spec.connectionString.name"],
            )
            .await;
        for good in [
            json!({"secretRef": {"name": "s"}}),
            json!({"connectionString": {"name": "s"}, "key": {"secretRef": {"name": "s"}, "prefix": "K_"}}),
        ] {
            asked.accepts(&a_good_stream(), &stream(good)).await;
        }
    });
}

#[test]
fn the_schema_of_the_class_is_checked_and_its_pointer_told() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let stream = |more: Value| of_class(with(a_good_stream(), more), "test-schema");
        let bad = stream(json!({"table": null, "fetchSize": 0, "mode": "all"}));
        let said = asked.refuses(&a_good_stream(), &bad, &["spec.table", "spec.fetchSize", "spec.mode"]).await;
        assert!(said[0].ends_with("must be set (by the class's streamSchema, at /spec/table)"), "{said:?}");
        assert!(said[1].ends_with("must be at least 1 (by the class's streamSchema, at /spec/fetchSize)"), "{said:?}");
        assert!(said[2].contains("full") && said[2].contains("at /spec/mode"), "{said:?}");
        asked.accepts(&a_good_stream(), &stream(json!({"fetchSize": 5, "mode": "full"}))).await;
    });
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let spec = json!({"suspended": "no", "jobTemplateRef": {"name": "nowhere"}, "backfillJobTemplateRef": {}});
        let bad = of_class(stream(&"n".repeat(64), spec), "test-secrets");
        let fields = [
            "metadata.name",
            "spec.suspended",
            "spec.backfillJobTemplateRef.name",
            "spec.connectionString",
            "spec.key",
            "spec.jobTemplateRef.name",
        ];
        asked.refuses_new(&bad, &fields).await;
    });
}

#[test]
fn the_denial_is_the_status_that_kubectl_knows() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let bad = with(a_good_stream(), json!({"jobTemplateRef": {"name": "nowhere"}}));
        let answer = asked.write(Way::Create, false, &bad).await;
        let body = format!(
            "Not found: \"nowhere\": there is no StreamingJobTemplate of this name in namespace {}; create it or correct \
             the reference",
            ns.name()
        );
        assert_eq!(
            answer.body,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 422,
                "reason": "Invalid",
                "message": format!(
                    "admission webhook \"validate.streaming.sneaksanddata.com\" denied the request: \
                     TestStream.streaming.sneaksanddata.com \"orders\" is invalid: spec.jobTemplateRef.name: {body}"
                ),
                "details": {
                    "name": "orders", "group": "streaming.sneaksanddata.com", "kind": "TestStream",
                    "causes": [{"reason": "FieldValueNotFound", "message": body, "field": "spec.jobTemplateRef.name"}],
                },
            })
        );
    });
}
