//! What is filled into a stream: the namespaces of its templates, where the plugin's CRD knows the field. Nothing else.

use arcane_tests::eventually;
use arcane_tests::fixture::SOON;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::asked::{Asked, Way, object, with};
use crate::other_namespaces::a_developer;
use crate::plugins::*;
use crate::world::*;

const SPECS: usize = 200;

/// A reference as people write it.
fn any_reference(random: &mut Rng, ns: &str) -> Value {
    let name = json!(TEMPLATE);
    match random.u8(0..6) {
        0 => json!({"name": name, "namespace": ns}),
        1 => json!({"name": name, "namespace": ""}),
        2 => json!({"name": name, "namespace": null}),
        3 => json!({"name": name, "kind": "StreamingJobTemplate"}),
        _ => json!({"name": name}),
    }
}

/// A spec that is right, in any layout, with fields of the plugin's own and leftovers of other layouts.
fn any_spec(random: &mut Rng, ns: &str) -> Value {
    let maybe = |random: &mut Rng| match random.u8(0..4) {
        0 => None,
        1 => Some(Value::Null),
        _ => Some(any_reference(random, ns)),
    };
    let put = |object: &mut Value, field: &str, value: Option<Value>| {
        if let Some(value) = value {
            object[field] = value;
        }
    };
    let mut spec =
        json!({"suspended": true, "plugin": {"n": random.i32(..), "null": null, "jobTemplateRef": {"name": "x"}}});
    let mut execution = json!({"suspended": true});
    let mut capture = json!({"jobTemplateRef": any_reference(random, ns)});
    put(&mut capture, "backfillJobTemplateRef", maybe(random));
    let batch = json!({"jobTemplateRef": any_reference(random, ns), "schedule": "@daily"});
    put(&mut execution, "backfillJobTemplateRef", maybe(random));
    execution["streamingBackend"] =
        if random.bool() { json!({"changeCapture": capture, "batch": null}) } else { json!({"batch": batch}) };
    put(&mut spec, "jobTemplateRef", maybe(random));
    put(&mut spec, "backfillJobTemplateRef", maybe(random));
    match random.u8(0..4) {
        0 => spec["jobTemplateRef"] = any_reference(random, ns),
        1 => {
            spec["jobTemplateRef"] = any_reference(random, ns);
            execution["layoutVersion"] = json!("");
            spec["execution"] = execution;
        }
        layout => {
            execution["layoutVersion"] = json!(if layout == 2 { "v1" } else { "v2" });
            spec["execution"] = execution;
        }
    }
    spec
}

/// What the spec must become, said on its own.
fn filled_in(spec: &Value, ns: &str) -> Value {
    let places: &[&str] = match spec["execution"]["layoutVersion"].as_str() {
        None | Some("") => &["/jobTemplateRef", "/backfillJobTemplateRef"],
        Some("v1") => &[
            "/execution/streamingBackend/changeCapture/jobTemplateRef",
            "/execution/streamingBackend/batch/jobTemplateRef",
            "/execution/backfillJobTemplateRef",
        ],
        Some(_) => &[
            "/execution/streamingBackend/changeCapture/jobTemplateRef",
            "/execution/streamingBackend/changeCapture/backfillJobTemplateRef",
            "/execution/streamingBackend/batch/jobTemplateRef",
        ],
    };
    let mut spec = spec.clone();
    for place in places {
        if let Some(Value::Object(reference)) = spec.pointer_mut(place)
            && !reference.contains_key("namespace")
        {
            reference.insert("namespace".to_owned(), json!(ns));
        }
    }
    spec
}

#[test]
fn absent_namespaces_are_filled_in_once_and_nothing_else_is_touched() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let written = async |spec: &Value| {
            let answer = asked.write(Way::Create, true, &object("LayoutStream", "orders", spec.clone())).await;
            assert!(answer.is_allowed(), "{spec}: {answer:?}");
            answer.body["spec"].clone()
        };
        let mut changed = 0;
        for _ in 0..SPECS {
            let spec = any_spec(&mut random, ns.name());
            let once = written(&spec).await;
            assert_eq!(once, filled_in(&spec, ns.name()), "of {spec}");
            assert_eq!(written(&once).await, once, "twice is once");
            changed += usize::from(once != spec);
        }
        assert!((SPECS / 10..SPECS).contains(&changed), "{changed} of {SPECS} specs were filled in");
    });
}

/// A patch of a field that the CRD doesn't know would be pruned, but the API server notes who made it.
#[test]
fn a_field_that_the_plugin_does_not_know_is_not_patched_in() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let (jane, _, access) = a_developer(&asked, world, ns).await;
        let log = world.fixture.cluster().audit_log().expect("the control plane is our own");
        for (kind, mutated) in [("LayoutStream", true), ("NarrowStream", false)] {
            let stream = object(kind, "orders", json!({"suspended": true, "jobTemplateRef": {"name": TEMPLATE}}));
            assert!(jane.write(Way::Create, true, &stream).await.is_allowed());
            let noted = eventually(SOON, "note in the audit log", || async {
                let requests = log.requests_of(access.name());
                let of_kind = requests.iter().filter(|request| request.resource == plural_of(kind));
                let notes = of_kind.flat_map(|request| &request.annotations);
                let mut of_ours = notes.filter(|(key, value)| {
                    key.starts_with("mutation.webhook.admission.k8s.io/") && value.contains(GROUP)
                });
                of_ours.next().map(|(_, value)| value.clone()).ok_or_else(|| format!("{requests:?}"))
            });
            let noted: Value = serde_json::from_str(&noted.await.unwrap()).unwrap();
            assert_eq!(noted["mutated"], mutated, "{kind}: {noted}");
        }
    });
}

/// Every change of the spec counts in `generation`: what is filled in must not count again and again.
async fn generation(asked: &Asked, object: &Value) -> i64 {
    asked.get(object).await.unwrap()["metadata"]["generation"].as_i64().unwrap()
}

#[test]
fn a_stream_does_not_drift() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for (kind, filled) in [("LayoutStream", json!(ns.name())), ("NarrowStream", Value::Null)] {
            let flat = json!({"suspended": true, "jobTemplateRef": {"name": TEMPLATE}});
            let execution = json!({"execution": {"layoutVersion": "v2", "suspended": true, "streamingBackend": {
                "changeCapture": {"jobTemplateRef": {"name": TEMPLATE}, "backfillJobTemplateRef": {"name": TEMPLATE}}}}});
            for (spec, place) in [
                (flat, "/spec/jobTemplateRef/namespace"),
                (execution, "/spec/execution/streamingBackend/changeCapture/backfillJobTemplateRef/namespace"),
            ] {
                let orders = object(kind, "orders", spec);
                let created = asked.put(&orders).await;
                assert_eq!(created.pointer(place).unwrap_or(&Value::Null), &filled, "{kind}");
                // The same manifest again and again, in every way; a label; a status.
                for way in [Way::Apply, Way::Replace, Way::Merge, Way::Apply] {
                    let again = asked.write(way, false, &orders).await;
                    assert!(again.is_allowed(), "{again:?}");
                    assert_eq!(again.body.pointer(place).unwrap_or(&Value::Null), &filled, "{kind}");
                }
                for patch in
                    [json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {"annotations": {"a": "b"}}})]
                {
                    let merged = asked.merge(&orders, &patch).await;
                    assert!(merged.is_allowed(), "{merged:?}");
                    assert_eq!(merged.body.pointer(place).unwrap_or(&Value::Null), &filled, "{kind}");
                }
                assert!(asked.merge_status(&orders, &json!({"status": {"note": "x"}})).await.is_allowed());
                assert_eq!(generation(&asked, &orders).await, 1, "{kind}");
                asked.delete(&orders).await;
            }
        }
    });
}

#[test]
fn a_change_is_filled_in_as_well() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let orders = object("LayoutStream", "orders", json!({"suspended": true, "jobTemplateRef": {"name": TEMPLATE}}));
        let more = json!({"backfillJobTemplateRef": {"name": "sqlserver-backfill-template"}});
        for way in [Way::Apply, Way::Replace, Way::Merge] {
            asked.put(&orders).await;
            for dry_run in [true, false] {
                let changed = asked.write(way, dry_run, &with(orders.clone(), more.clone())).await;
                assert_eq!(changed.body["spec"]["backfillJobTemplateRef"]["namespace"], ns.name(), "{changed:?}");
                assert_eq!(changed.body["spec"]["jobTemplateRef"]["namespace"], ns.name(), "{changed:?}");
            }
            asked.delete(&orders).await;
        }
    });
}
