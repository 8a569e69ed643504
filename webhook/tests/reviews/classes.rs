use rstest::rstest;
use serde_json::{Value, json};

use crate::world::*;

#[rstest]
#[case("nodot")]
#[case("apps.k8s.io")]
#[case("k8s.io")]
#[case("x.kubernetes.io")]
#[tokio::test]
async fn a_group_of_kubernetes_is_refused(#[case] group: &str) {
    let class = a_class("c", json!({"apiGroupRef": group}));
    World::without_class().validate(create(class)).await.is_denied_at(&["spec.apiGroupRef"]);
}

#[tokio::test]
async fn a_plugins_group_is_let_in() {
    let world = World::without_class();
    world.validate(create(a_class("c", json!({})))).await.is_allowed_silently();
    world.validate(create(a_class("c", json!({"apiGroupRef": "streams.acme.io"})))).await.is_allowed_silently();
    world.validate(create(a_class("c", json!({"apiGroupRef": "notk8s.io"})))).await.is_allowed_silently();
}

#[rstest]
#[case(json!({"$ref": "https://example.com/schema"}), "spec.streamSchema.$ref")]
#[case(json!({"type": "text"}), "spec.streamSchema.type")]
#[case(json!({"properties": {"a": {"pattern": "(?!x)"}}}), "spec.streamSchema.properties.a.pattern")]
#[tokio::test]
async fn a_bad_schema_is_refused(#[case] schema: Value, #[case] field: &str) {
    let class = a_class("c", json!({"streamSchema": schema}));
    let world = World::without_class();
    world.validate(create(class.clone())).await.is_denied_at(&[field]);
    // One that is there already doesn't block another change.
    let mut other = class.clone();
    other["spec"]["initialBackfill"] = json!("Never");
    world.validate(update(class, other)).await.is_allowed_silently();
    let good = a_class("c", json!({"streamSchema": {"required": ["table"]}}));
    world.validate(create(good)).await.is_allowed_silently();
}

#[tokio::test]
async fn the_kind_stays_while_there_are_streams() {
    let before = a_class("sql-server", json!({}));
    let after = a_class("sql-server", json!({"kindRef": "Other", "pluralName": "others"}));
    let world = World::new();
    world.validate(update(before.clone(), after.clone())).await.is_allowed_silently();
    let world = world.stream("data", "orders", json!({}));
    let answer = world.validate(update(before, after)).await;
    answer.is_denied_at(&["spec.kindRef"]);
    assert!(answer.causes()[0].contains("SqlServerStream data/orders"), "{answer:?}");
}

#[tokio::test]
async fn a_second_class_is_told_which_streams_it_takes() {
    let second = a_class("second", json!({}));
    let mut default = second.clone();
    default["metadata"]["annotations"] = json!({"arcane/is-default-class": "true"});
    default["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let world = World::new();
    world.validate(create(default.clone())).await.is_allowed_silently();
    let world = world.stream("data", "orders", json!({}));
    world.validate(create(default)).await.warns("change from StreamClass sql-server to second");
    let mut younger = second;
    younger["metadata"]["creationTimestamp"] = Value::Null;
    world.validate(create(younger)).await.is_allowed_silently();
}

#[rstest]
#[case(json!({"kindRef": "StreamClass", "pluralName": "streamclasses"}))]
#[case(json!({"kindRef": "BackfillRequest"}))]
#[case(json!({"pluralName": "streamingjobtemplates"}))]
#[tokio::test]
async fn a_kind_of_arcane_itself_is_no_stream(#[case] more: Value) {
    World::without_class().validate(create(a_class("c", more.clone()))).await.is_denied_at(&["spec.kindRef"]);
    // The names of ours in another group are anybody's.
    let mut theirs = more;
    theirs["apiGroupRef"] = json!("streams.acme.io");
    World::without_class().validate(create(a_class("c", theirs))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_slip_in_the_kind_is_told_by_the_definition() {
    let name = format!("sqlserverstreams.{GROUP}");
    let definition = |kind: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": GROUP, "scope": "Namespaced", "versions": [],
                "names": {"kind": kind, "plural": "sqlserverstreams"}},
        })
    };
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    let slip = a_class("c", json!({"kindRef": "sqlserverstream"}));
    let world = World::without_class().definition(definition(KIND)).put(&path, definition(KIND));
    world.validate(create(slip.clone())).await.is_denied_at(&["spec.kindRef"]);
    world.validate(create(a_class("c", json!({})))).await.is_allowed_silently();
    // One that is there already doesn't block another change.
    let mut other = slip.clone();
    other["spec"]["initialBackfill"] = json!("Never");
    world.validate(update(slip.clone(), other)).await.is_allowed_silently();
    // What is known may be old.
    let late = World::without_class().definition(definition("Other")).put(&path, definition(KIND));
    late.validate(create(a_class("c", json!({})))).await.is_allowed_silently();
    // The definition may come later.
    World::without_class().validate(create(slip)).await.is_allowed_silently();
}
