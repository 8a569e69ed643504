use k8s_openapi::ByteString;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::*;

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn reference(with_namespace: bool) -> Value {
    let mut properties = json!({"name": {"type": "string"}});
    if with_namespace {
        properties["namespace"] = json!({"type": "string"});
    }
    object(properties)
}

/// A plugin's CRD that declares `namespace` in every reference, or in none.
fn definition(with_namespace: bool) -> Value {
    let reference = || reference(with_namespace);
    let spec = object(json!({
        "jobTemplateRef": reference(),
        "backfillJobTemplateRef": reference(),
        "execution": object(json!({
            "backfillJobTemplateRef": reference(),
            "streamingBackend": object(json!({
                "changeCapture": object(json!({"jobTemplateRef": reference(), "backfillJobTemplateRef": reference()})),
                "batch": object(json!({"jobTemplateRef": reference()})),
            })),
        })),
    }));
    json!({
        "metadata": {"name": format!("sqlserverstreams.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"kind": KIND, "plural": "sqlserverstreams"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": object(json!({"spec": spec}))}}],
        },
    })
}

fn patched(answer: &Answer, object: &Value) -> Value {
    assert!(answer.allowed());
    let mut object = object.clone();
    if let Some(patch) = answer.0.get("patch") {
        assert_eq!(answer.0["patchType"], "JSONPatch");
        let ByteString(patch) = serde_json::from_value(patch.clone()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    object
}

#[tokio::test]
async fn the_namespaces_of_templates_are_filled_in() {
    let world = World::new().definition(definition(true));
    let stream =
        orders(json!({"jobTemplateRef": {"name": "t"}, "backfillJobTemplateRef": {"name": "b", "namespace": "x"}}));
    let after = patched(&world.mutate(create(stream.clone())).await, &stream);
    let mut expected = stream.clone();
    expected["spec"]["jobTemplateRef"]["namespace"] = json!("data");
    assert_eq!(after, expected);
    // A label changes nothing of the spec, and nothing is added.
    assert_eq!(patched(&world.mutate(update(stream.clone(), stream.clone())).await, &stream), stream);
    assert_eq!(world.asked(), []);
}

#[tokio::test]
async fn a_field_that_the_plugin_does_not_know_is_not_added() {
    let stream = orders(json!({"jobTemplateRef": {"name": "t"}}));
    for world in [World::new().definition(definition(false)), World::new(), World::new().broken()] {
        assert_eq!(patched(&world.mutate(create(stream.clone())).await, &stream), stream);
    }
}

fn any_reference() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!("text"))),
        Just(Some(json!({}))),
        Just(Some(json!({"name": "t", "unknown": {"a": 1}}))),
        Just(Some(json!({"name": "t", "namespace": "x"}))),
        Just(Some(json!({"name": "t", "namespace": ""}))),
        Just(Some(json!({"name": "t", "namespace": null}))),
    ]
}

fn any_layout() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!(""))),
        Just(Some(json!("v1"))),
        Just(Some(json!("v2"))),
        Just(Some(json!("v9"))),
    ]
}

prop_compose! {
    fn any_spec()(
        layout in any_layout(),
        flat in any_reference(), flat_backfill in any_reference(),
        v1_backfill in any_reference(), v2_backfill in any_reference(),
        capture in any_reference(), batch in any_reference(),
        extra in any::<i32>(),
    ) -> Value {
        let put = |object: &mut Value, name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object[name] = value;
            }
        };
        let mut spec = json!({"extra": {"n": extra}, "execution": {"streamingBackend": {"changeCapture": {}, "batch": {}}}});
        put(&mut spec, "jobTemplateRef", flat);
        put(&mut spec, "backfillJobTemplateRef", flat_backfill);
        put(&mut spec["execution"], "layoutVersion", layout);
        put(&mut spec["execution"], "backfillJobTemplateRef", v1_backfill);
        let backend = &mut spec["execution"]["streamingBackend"];
        put(&mut backend["changeCapture"], "jobTemplateRef", capture);
        put(&mut backend["changeCapture"], "backfillJobTemplateRef", v2_backfill);
        put(&mut backend["batch"], "jobTemplateRef", batch);
        spec
    }
}

/// Everything in `before` is in `after`, at the same place.
fn contains(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::Object(after), Value::Object(before)) => {
            before.iter().all(|(name, before)| after.get(name).is_some_and(|after| contains(after, before)))
        }
        (after, before) => after == before,
    }
}

proptest! {
    #[test]
    fn twice_is_once_and_only_absent_keys_are_added(spec in any_spec()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().definition(definition(true));
            let stream = orders(spec);
            let once = patched(&world.mutate(create(stream.clone())).await, &stream);
            let twice = patched(&world.mutate(create(once.clone())).await, &once);
            assert_eq!(once, twice);
            assert!(contains(&once, &stream), "{stream} became {once}");
        });
    }
}
