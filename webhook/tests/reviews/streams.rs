use arcane_common::api::MissingReferences;
use axum::http::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::*;

fn flat(template: &str) -> Value {
    json!({"jobTemplateRef": {"name": template}})
}

fn elsewhere() -> Value {
    json!({"jobTemplateRef": {"name": "standard", "namespace": "shared"}})
}

#[tokio::test]
async fn a_good_stream_is_let_in_without_a_question() {
    let world = World::new().template("data", "standard");
    world.validate(create(orders(flat("standard")))).await.is_allowed_silently();
    for (layout, backfill) in [("v1", "backfillJobTemplateRef"), ("v2", "unused")] {
        let spec = json!({"execution": {"layoutVersion": layout, backfill: {"name": "standard"},
            "streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": "standard"}}}}});
        world.validate(create(orders(spec))).await.is_allowed_silently();
    }
    assert_eq!(world.asked(), []);
}

#[rstest]
#[case(json!({"execution": {"layoutVersion": "v9"}}), &["spec.execution.layoutVersion"])]
#[case(json!({"execution": {"layoutVersion": "v1", "streamingBackend": {}}}), &["spec.execution.streamingBackend"])]
#[case(json!({"execution": {"layoutVersion": "v2", "streamingBackend": {
        "batch": {"jobTemplateRef": {"name": "standard"}, "schedule": "@daily"}, "changeCapture": {}}}}),
    &["spec.execution.streamingBackend", "spec.execution.streamingBackend.changeCapture.jobTemplateRef"])]
#[case(json!({"execution": {"layoutVersion": "v1",
        "streamingBackend": {"batch": {"jobTemplateRef": {"name": "standard"}, "schedule": "@reboot"}}}}),
    &["spec.execution.streamingBackend.batch.schedule"])]
#[case(json!({"jobTemplateRef": {"name": ""}}), &["spec.jobTemplateRef.name"])]
#[case(json!({"jobTemplateRef": {"name": "standard"}, "query": "x".repeat(140_000)}), &["spec"])]
#[case(json!({"suspended": "yes", "jobTemplateRef": {}, "backfillJobTemplateRef": 1}),
    &["spec.suspended", "spec.jobTemplateRef.name", "spec.backfillJobTemplateRef"])]
#[tokio::test]
async fn a_wrong_shape_is_refused(#[case] spec: Value, #[case] fields: &[&str]) {
    World::new().template("data", "standard").validate(create(orders(spec))).await.is_denied_at(fields);
}

#[tokio::test]
async fn names_and_secrets_are_checked_and_all_is_said_at_once() {
    let world = World::without_class()
        .class(a_class("sql-server", json!({"secretRefs": ["connectionString"]})))
        .template("data", "standard");
    let stream = a_stream("data", &"n".repeat(64), json!({"jobTemplateRef": {"name": "missing"}}));
    let answer = world.validate(create(stream)).await;
    answer.is_denied_at(&["metadata.name", "spec.connectionString", "spec.jobTemplateRef.name"]);
    let good = json!({"jobTemplateRef": {"name": "standard"}, "connectionString": {"name": "s"}});
    world.validate(create(orders(good))).await.is_allowed_silently();
}

#[tokio::test]
async fn the_schema_of_the_class_is_checked() {
    let schema = json!({"properties": {"fetchSize": {"type": "integer", "minimum": 1}}, "required": ["table"]});
    let world = World::without_class()
        .class(a_class("sql-server", json!({"streamSchema": schema})))
        .template("data", "standard");
    let spec = json!({"jobTemplateRef": {"name": "standard"}, "fetchSize": 0});
    let answer = world.validate(create(orders(spec))).await;
    answer.is_denied_at(&["spec.table", "spec.fetchSize"]);
    assert!(answer.causes()[1].contains("must be at least 1 (by the class's streamSchema, at /spec/fetchSize)"));
    let good = json!({"jobTemplateRef": {"name": "standard"}, "fetchSize": 5, "table": "t"});
    world.validate(create(orders(good))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_template_elsewhere_asks_for_the_users_rights_first() {
    // Also for one that isn't there: who may not read it isn't told.
    for world in [World::new().template("shared", "standard"), World::new()] {
        let world = world.user_may(false);
        let answer = world.validate(create_by("helm", orders(elsewhere()))).await;
        answer.is_denied_at(&["spec.jobTemplateRef.name"]);
        assert!(answer.causes()[0].contains("Forbidden: user \"jane\" may not get"), "{answer:?}");
        let [(method, path, review)] = &world.asked()[..] else { panic!("one question: {:?}", world.asked()) };
        assert_eq!((method, path.as_str()), (&Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews"));
        assert_eq!(
            review["spec"],
            json!({
                "user": "jane", "uid": "42", "groups": ["devs", "system:authenticated"],
                "extra": {"scopes": ["a", "b"]},
                "resourceAttributes": {
                    "group": GROUP, "version": "v1", "resource": "streamingjobtemplates", "verb": "get",
                    "namespace": "shared", "name": "standard",
                },
            })
        );
    }
    let world = World::new().template("shared", "standard");
    world.validate(create(orders(elsewhere()))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_template_says_who_may_use_it() {
    let world = World::new().template_for("shared", "standard", Some("a, b"));
    let answer = world.validate(create_by("helm", orders(elsewhere()))).await;
    answer.is_denied_at(&["spec.jobTemplateRef.name"]);
    assert!(answer.causes()[0].contains("add data to its annotation arcane/allowed-namespaces"));
    let world = World::new().template_for("shared", "standard", Some("a,data"));
    world.validate(create(orders(elsewhere()))).await.is_allowed_silently();
}

#[tokio::test]
async fn an_annotation_changed_a_moment_ago_counts() {
    let world = World::new().template_for("shared", "standard", Some("a")).live_template("shared", "standard", None);
    world.validate(create(orders(elsewhere()))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_template_created_a_moment_ago_is_found() {
    let world = World::new().live_template("data", "standard", None);
    world.validate(create(orders(flat("standard")))).await.is_allowed_silently();
    assert_eq!(world.asked().len(), 1);
}

#[rstest]
#[tokio::test]
async fn missing_templates_by_class_namespace_default_and_client(
    #[values(None, Some("Auto"), Some("Deny"), Some("Warn"))] class: Option<&str>,
    #[values(None, Some("Auto"), Some("Deny"), Some("Warn"), Some("Nonsense"))] namespace: Option<&str>,
    #[values("Auto", "Deny", "Warn")] default: &str,
    #[values("kubectl", "helm", "kustomize-controller")] manager: &str,
) {
    let class_spec = class.map_or(json!({}), |word| json!({"missingReferences": word}));
    let labels = namespace.map_or(json!({}), |word| json!({"arcane/missing-references": word}));
    let world = World::without_class()
        .class(a_class("sql-server", class_spec))
        .namespace("data", labels)
        .by_default(MissingReferences::from(default));
    let answer = world.validate(create_by(manager, orders(flat("standard")))).await;
    let decisive = class.or(namespace.filter(|word| *word != "Nonsense")).unwrap_or(default);
    if decisive == "Warn" || (decisive == "Auto" && manager != "kubectl") {
        answer.warns("spec.jobTemplateRef.name: Not found: \"standard\"");
    } else {
        answer.is_denied_at(&["spec.jobTemplateRef.name"]);
    }
}

#[tokio::test]
async fn a_label_that_names_no_class_is_a_missing_reference() {
    let world = World::new().template("data", "standard").namespace("data", json!({}));
    let stream = labelled(orders(flat("standard")), "postgres");
    world.validate(create(stream.clone())).await.is_denied_at(&["metadata.labels[arcane/stream-class]"]);
    world.validate(create_by("helm", stream.clone())).await.warns("there is no StreamClass of this name");
    // Created a moment ago.
    let world = world.live_class(a_class("postgres", json!({})));
    world.validate(create(stream)).await.is_allowed_silently();
    let stream = labelled(orders(flat("standard")), "sql-server");
    world.validate(create(stream)).await.is_allowed_silently();
}

#[tokio::test]
async fn a_kind_that_no_class_registers_is_a_missing_reference_if_it_looks_like_a_stream() {
    let world = World::without_class().template("data", "standard");
    world.validate(create(orders(flat("standard")))).await.is_denied_at(&["kind"]);
    world.validate(create_by("argocd-controller", orders(flat("standard")))).await.warns("no StreamClass registers");
    world.validate(create(orders(json!({"colour": "blue"})))).await.is_allowed_silently();
    let world = world.live_class(a_class("sql-server", json!({})));
    world.validate(create(orders(flat("standard")))).await.is_allowed_silently();
}

#[tokio::test]
async fn an_old_problem_never_blocks_an_unrelated_change() {
    let world = World::new();
    let spec = json!({"jobTemplateRef": {"name": "gone"}, "suspended": "maybe", "table": "a"});
    let before = orders(spec);
    let changed = |pointer: &str, value: Value| {
        let mut after = before.clone();
        *after.pointer_mut(pointer).unwrap() = value;
        after
    };
    // Another field, metadata, suspension, finalizers of an object that goes.
    world.validate(update(before.clone(), changed("/spec/table", json!("b")))).await.is_allowed_silently();
    let mut annotated = before.clone();
    annotated["metadata"]["annotations"] = json!({"a": "b"});
    world.validate(update(before.clone(), annotated)).await.is_allowed_silently();
    world.validate(update(before.clone(), changed("/spec/suspended", json!(true)))).await.is_allowed_silently();
    let mut deleted = changed("/spec", json!({}));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.validate(update(before.clone(), deleted)).await.is_allowed_silently();
    assert_eq!(world.asked(), []);
    // Another bad reference, another bad value.
    let world = world.namespace("data", json!({}));
    let other = changed("/spec/jobTemplateRef/name", json!("other"));
    world.validate(update(before.clone(), other)).await.is_denied_at(&["spec.jobTemplateRef.name"]);
    let other = changed("/spec/suspended", json!("perhaps"));
    world.validate(update(before.clone(), other)).await.is_denied_at(&["spec.suspended"]);
    let labelled = labelled(before.clone(), "missing");
    world.validate(update(before, labelled)).await.is_denied_at(&["metadata.labels[arcane/stream-class]"]);
}

#[tokio::test]
async fn an_old_breach_of_a_schema_never_blocks_an_unrelated_change() {
    let schema = json!({
        "oneOf": [{"required": ["table"]}, {"required": ["query"]}],
        "minProperties": 6,
        "properties": {"columns": {"items": {"pattern": "^[a-z]+$"}}, "sink": {"not": {"required": ["old"]}}},
    });
    let world = World::without_class()
        .class(a_class("sql-server", json!({"streamSchema": schema})))
        .template("data", "standard")
        .template("data", "other");
    let before = json!({
        "jobTemplateRef": {"name": "standard"}, "suspended": true, "pollInterval": "5m",
        "columns": ["a", "B"], "sink": {"old": 1, "size": 1},
    });
    let changed = |pointer: &str, value: Value| {
        let mut after = before.clone();
        *after.pointer_mut(pointer).unwrap() = value;
        update(orders(before.clone()), orders(after))
    };
    world.validate(changed("/pollInterval", json!("10m"))).await.is_allowed_silently();
    world.validate(changed("/suspended", json!(false))).await.is_allowed_silently();
    world.validate(changed("/jobTemplateRef/name", json!("other"))).await.is_allowed_silently();
    world.validate(changed("/sink/size", json!(2))).await.is_allowed_silently();
    world.validate(changed("/columns", json!(["c", "a", "B"]))).await.is_allowed_silently();
    world.validate(changed("/columns", json!(["a", "C"]))).await.is_denied_at(&["spec.columns[1]"]);
    world.validate(changed("/columns", json!(["a", "B", "B"]))).await.is_denied_at(&["spec.columns[2]"]);
}

#[tokio::test]
async fn a_spec_that_is_too_long_may_become_shorter() {
    let world = World::new().template("data", "standard");
    let of = |length: usize| orders(json!({"jobTemplateRef": {"name": "standard"}, "query": "x".repeat(length)}));
    world.validate(update(of(300_000), of(200_000))).await.is_allowed_silently();
    world.validate(update(of(300_000), of(299_000))).await.is_allowed_silently();
    world.validate(update(of(300_000), of(1_000))).await.is_allowed_silently();
    world.validate(update(of(1_000), of(200_000))).await.is_denied_at(&["spec"]);
}

#[tokio::test]
async fn an_old_mistake_in_a_backend_never_blocks_the_correction_of_another() {
    let of = |suspended: Value, backend: Value| {
        orders(json!({"execution": {"layoutVersion": "v2", "suspended": suspended, "streamingBackend": backend}}))
    };
    let world = World::new().template("data", "standard");
    let change_capture = json!({"jobTemplateRef": {"name": "standard"}});
    let batch = json!({"jobTemplateRef": {"name": "standard"}, "schedule": "hourly"});
    let both = of(json!(true), json!({"changeCapture": change_capture, "batch": batch}));
    world.validate(update(both, of(json!(true), json!({"batch": batch})))).await.is_allowed_silently();
    let neither = of(json!("no"), json!({}));
    world.validate(update(neither, of(json!(false), json!({})))).await.is_allowed_silently();
}

#[tokio::test]
async fn suspending_in_the_execution_layouts_is_let_through() {
    let spec = |suspended: bool, layout: &str| {
        orders(json!({"execution": {"layoutVersion": layout, "suspended": suspended, "streamingBackend": {}}}))
    };
    let world = World::new();
    for layout in ["v1", "v2"] {
        world.validate(update(spec(false, layout), spec(true, layout))).await.is_allowed_silently();
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_and_no_missing_reference() {
    let world = World::new().broken();
    for review in [create(orders(flat("standard"))), create_by("helm", orders(elsewhere()))] {
        let (status, body) = world.post("/validate", review.to_string()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.starts_with("can't ask the API server for"), "{body}");
    }
    let world = World::new().template("data", "standard").broken();
    world.validate(create(orders(flat("standard")))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_dry_run_and_a_server_side_apply_get_the_same_answer() {
    let world = World::new().namespace("data", json!({}));
    let real = create(orders(flat("missing")));
    let mut dry = real.clone();
    dry["request"]["dryRun"] = json!(true);
    let mut applied = real.clone();
    applied["request"]["options"] = json!({"kind": "PatchOptions", "fieldManager": "kubectl", "force": true});
    let expected = world.validate(real).await.0;
    assert_eq!(world.validate(dry).await.0, expected);
    assert_eq!(world.validate(applied).await.0, expected);
}

#[tokio::test]
async fn a_subresource_is_nobodys_business() {
    let mut review = create(orders(json!({})));
    review["request"]["subResource"] = json!("status");
    World::new().validate(review).await.is_allowed_silently();
}

#[rstest]
#[tokio::test]
async fn a_name_that_no_object_can_have_is_missing_and_never_asked_for(
    #[values("../secrets/x", "a/status", "a?watch=1", "Upper", "a%2fb", ".", "-a")] name: &str,
) {
    let world = World::new().namespace("data", json!({}));
    world.validate(create(orders(flat(name)))).await.is_denied_at(&["spec.jobTemplateRef.name"]);
    world
        .validate(create(orders(json!({"jobTemplateRef": {"name": "standard", "namespace": name}}))))
        .await
        .is_denied_at(&["spec.jobTemplateRef.name"]);
    let backfill = a_request("b", json!({"streamClass": "sql-server", "streamId": name}));
    world.validate(create(backfill)).await.is_denied_at(&["spec.streamId"]);
    let backfill = a_request("b", json!({"streamClass": name, "streamId": "orders"}));
    world.validate(create(backfill)).await.is_denied_at(&["spec.streamClass"]);
    let asked: Vec<String> = world.asked().into_iter().map(|(_, path, _)| path).collect();
    assert!(
        asked.iter().all(|path| {
            path == "/api/v1/namespaces/data"
                || ["/subjectaccessreviews", "/streamclasses", "/streamclasses/sql-server"]
                    .iter()
                    .any(|end| path.ends_with(end))
        }),
        "{asked:?}"
    );
}
