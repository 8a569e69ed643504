//! An old problem never blocks an unrelated change; a new one is refused.

use serde_json::{Value, json};

use crate::asked::{Asked, labelled, of_group, with};
use crate::plugins::*;
use crate::world::*;

const NAME: &str = "spec.jobTemplateRef.name";

fn annotated(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({"note": "x"});
    object
}

fn kept(mut object: Value) -> Value {
    object["metadata"]["finalizers"] = json!(["example.com/keep"]);
    object
}

/// What nobody may ever be kept from: labels, annotations, finalizers.
async fn lets_metadata_change(asked: &Asked, object: &Value) {
    asked.lets_it_become(&labelled(object.clone(), "team", "a")).await;
    asked.lets_it_become(&annotated(object.clone())).await;
    asked.lets_it_become(&kept(object.clone())).await;
}

/// An object whose deletion waits for a finalizer goes when that is taken away.
async fn goes(asked: &Asked, object: &Value) {
    let kept = asked.merge(object, &json!({"metadata": {"finalizers": ["example.com/keep"]}})).await;
    assert!(kept.is_allowed(), "{kept:?}");
    asked.delete(object).await;
    let going = asked.get(object).await.expect("its finalizer keeps it");
    assert!(!going["metadata"]["deletionTimestamp"].is_null());
    let noted = asked.merge(object, &json!({"spec": {"note": "on its way"}})).await;
    assert!(noted.is_allowed() && noted.warnings.is_empty(), "{noted:?}");
    let freed = asked.merge(object, &json!({"metadata": {"finalizers": null}})).await;
    assert!(freed.is_allowed() && freed.warnings.is_empty(), "{freed:?}");
    assert_eq!(asked.get(object).await, None);
}

#[test]
fn a_template_that_is_missing_all_along_blocks_nothing_else() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let orders = stream("orders", json!({"jobTemplateRef": {"name": "nowhere"}, "table": "a", "suspended": false}));
        asked.by("kustomize-controller").put(&orders).await;
        lets_metadata_change(&asked, &orders).await;
        asked.lets_it_become(&with(orders.clone(), json!({"table": "b"}))).await;
        asked.lets_it_become(&with(orders.clone(), json!({"suspended": true}))).await;
        asked.lets_it_become(&with(orders.clone(), json!({"backfillJobTemplateRef": {"name": TEMPLATE}}))).await;
        asked.lets_it_become(&of_class(orders.clone(), "test-deny")).await;
        // What is new is judged as ever.
        let elsewhere = with(orders.clone(), json!({"jobTemplateRef": {"name": "nowhere-either"}}));
        asked.does_not_let_it_become(&elsewhere, &[NAME]).await;
        let backfill = with(orders.clone(), json!({"backfillJobTemplateRef": {"name": "nowhere-either"}}));
        asked.does_not_let_it_become(&backfill, &["spec.backfillJobTemplateRef.name"]).await;
        asked.does_not_let_it_become(&with(orders.clone(), json!({"suspended": "maybe"})), &["spec.suspended"]).await;
        let of_no_class = of_class(orders.clone(), "no-such-class");
        asked.does_not_let_it_become(&of_no_class, &["metadata.labels[arcane/stream-class]"]).await;
        // Suspended, it can be resumed.
        let paused = with(orders.clone(), json!({"suspended": true}));
        asked.put(&paused).await;
        asked.lets_it_become(&orders).await;
        asked.lets_it_be_mended(&with(orders.clone(), json!({"jobTemplateRef": {"name": TEMPLATE}}))).await;
        asked.by("helm").put(&orders).await;
        goes(&asked, &orders).await;
    });
}

#[test]
fn the_brake_works_in_every_layout() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for layout in ["v1", "v2"] {
            let spec = |suspended: bool, layout: &str| {
                json!({"execution": {"layoutVersion": layout, "suspended": suspended, "streamingBackend": {
                    "changeCapture": {"jobTemplateRef": {"name": "nowhere"}}}}})
            };
            let orders = stream("orders", spec(false, layout));
            asked.by("argocd-controller").put(&orders).await;
            lets_metadata_change(&asked, &orders).await;
            asked.lets_it_become(&stream("orders", spec(true, layout))).await;
            // Another layout is another stream: its wrong reference is unchanged all the same, an unknown layout isn't.
            asked.does_not_let_it_become(&stream("orders", spec(true, "v9")), &["spec.execution.layoutVersion"]).await;
            goes(&asked, &orders).await;
        }
    });
}

#[test]
fn a_template_that_went_later_blocks_nothing_else() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        asked.put(&a_good_stream()).await;
        ns.kubectl(&["delete", "streamingjobtemplate", TEMPLATE]).await;
        lets_metadata_change(&asked, &a_good_stream()).await;
        asked.lets_it_become(&with(a_good_stream(), json!({"table": "after"}))).await;
        asked.lets_it_become(&with(a_good_stream(), json!({"suspended": false}))).await;
        let elsewhere = with(a_good_stream(), json!({"jobTemplateRef": {"name": "nowhere"}}));
        asked.does_not_let_it_become(&elsewhere, &[NAME]).await;
        goes(&asked, &a_good_stream()).await;
    });
}

#[test]
fn a_namespace_that_is_no_longer_allowed_blocks_nothing_else() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let shared = world.fixture.namespace("shared").await;
        let theirs = json!({"name": TEMPLATE, "namespace": shared.name()});
        let orders = with(a_good_stream(), json!({"jobTemplateRef": theirs}));
        asked.put(&orders).await;
        shared.kubectl(&["annotate", "streamingjobtemplate", TEMPLATE, "arcane/allowed-namespaces=elsewhere"]).await;
        refused_by_now(&asked, &stream("another", orders["spec"].clone())).await;
        lets_metadata_change(&asked, &orders).await;
        asked.lets_it_become(&with(orders.clone(), json!({"table": "after"}))).await;
        let backfill = json!({"name": "sqlserver-backfill-template", "namespace": shared.name()});
        asked.lets_it_become(&with(orders.clone(), json!({"backfillJobTemplateRef": backfill}))).await;
        shared.delete().await;
    });
}

#[test]
fn what_a_class_asks_later_blocks_nothing_else() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let name = ns.name().to_owned();
        asked.put(&class(&name, GROUP, "TestStream", json!({}))).await;
        let orders = of_class(a_good_stream(), &name);
        asked.put(&orders).await;
        let more = json!({"secretRefs": ["key"], "streamSchema": {"properties": {"table": {"type": "integer"}}}});
        let strict = class(&name, GROUP, "TestStream", more);
        asked.put(&strict).await;
        refused_by_now(&asked, &of_class(stream("another", orders["spec"].clone()), &name)).await;
        lets_metadata_change(&asked, &orders).await;
        asked.lets_it_become(&with(orders.clone(), json!({"fetchSize": 5}))).await;
        asked.lets_it_become(&with(orders.clone(), json!({"suspended": false}))).await;
        // Another mistake of the same kind is a new one.
        let said = asked.does_not_let_it_become(&with(orders.clone(), json!({"table": "z"})), &["spec.table"]).await;
        assert!(said[0].contains("must be of type integer"), "{said:?}");
        asked.does_not_let_it_become(&with(orders.clone(), json!({"key": "z"})), &["spec.key"]).await;
        // So is the one that another class makes of it.
        let fields = ["spec.connectionString"];
        asked.does_not_let_it_become(&of_class(orders.clone(), "test-secrets"), &fields).await;
        asked.lets_it_be_mended(&with(orders.clone(), json!({"table": 1, "key": {"name": "s"}}))).await;
        asked.delete(&orders).await;
        asked.delete(&strict).await;
    });
}

/// Objects of a plugin may be older than its StreamClass: nobody has judged them.
#[test]
fn a_stream_that_was_there_before_its_class_can_be_changed_and_braked() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let group = "old.example.com";
        a_kind(world, group, "OldStream").await;
        let old = |name: &str, spec: Value| of_group(group, "OldStream", name, spec);
        let unknown = old("unknown", json!({"execution": {"layoutVersion": "v9", "suspended": false}, "table": "a"}));
        let nameless = old("nameless", json!({"jobTemplateRef": {"name": ""}, "suspended": false, "table": "a"}));
        let long = old("long", json!({"jobTemplateRef": {"name": TEMPLATE}, "query": "x".repeat(140_000)}));
        for object in [&unknown, &nameless, &long] {
            asked.put(object).await;
        }
        let class = class("old-streams", group, "OldStream", json!({}));
        asked.put(&class).await;
        refused_by_now(&asked, &old("another", nameless["spec"].clone())).await;

        for object in [&unknown, &nameless, &long] {
            lets_metadata_change(&asked, object).await;
            asked.lets_it_become(&with(object.clone(), json!({"table": "b"}))).await;
        }
        let braked = json!({"execution": {"layoutVersion": "v9", "suspended": true}});
        asked.lets_it_become(&with(unknown.clone(), braked)).await;
        asked.lets_it_become(&with(nameless.clone(), json!({"suspended": true}))).await;
        asked.lets_it_become(&with(long.clone(), json!({"suspended": true}))).await;
        let other = json!({"execution": {"layoutVersion": "v8", "suspended": false}});
        asked.does_not_let_it_become(&with(unknown.clone(), other), &["spec.execution.layoutVersion"]).await;
        asked.does_not_let_it_become(&with(nameless.clone(), json!({"suspended": "no"})), &["spec.suspended"]).await;
        asked.lets_it_be_mended(&with(nameless.clone(), json!({"jobTemplateRef": {"name": TEMPLATE}}))).await;
        for object in [&unknown, &nameless, &long] {
            goes(&asked, object).await;
        }
        asked.delete(&class).await;
    });
}
