//! StreamClasses.

use serde_json::{Value, json};

use crate::asked::{Asked, Way, object, of_group, with};
use crate::plugins::*;
use crate::world::*;

/// A class of a kind that nobody has.
fn a_class(ns: &str, more: Value) -> Value {
    class(ns, GROUP, "NobodysStream", more)
}

#[test]
fn the_group_is_a_plugins() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let of = |group: &str| with(a_class(ns.name(), json!({})), json!({"apiGroupRef": group}));
        for group in ["nodot", "k8s.io", "apps.k8s.io", "kubernetes.io", "x.kubernetes.io"] {
            let said = asked.refuses(&of(GROUP), &of(group), &["spec.apiGroupRef"]).await;
            assert!(said[0].contains(&format!("Invalid value: {group:?}: ")), "{said:?}");
        }
        for group in ["streams.example.com", "notk8s.io", "k8s.io.example.com"] {
            asked.accepts(&of(GROUP), &of(group)).await;
        }
        // Absent, it is ours.
        asked.accepts(&of(GROUP), &with(of(GROUP), json!({"apiGroupRef": null, "secretRefs": ["a"]}))).await;
    });
}

#[test]
fn the_old_version_gets_the_same_answers() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let of = |group: &str| {
            let mut class = with(a_class(ns.name(), json!({})), json!({"apiGroupRef": group}));
            class["apiVersion"] = json!(format!("{GROUP}/v1beta1"));
            class
        };
        asked.refuses(&of(GROUP), &of("nodot"), &["spec.apiGroupRef"]).await;
        asked.accepts(&of(GROUP), &of("streams.example.com")).await;
    });
}

#[test]
fn a_bad_or_dangerous_schema_is_refused() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let of = |schema: Value| a_class(ns.name(), json!({"streamSchema": schema}));
        let good = || {
            of(json!({"required": ["table"], "properties": {"table": {"$ref": "#/$defs/name"}},
            "$defs": {"name": {"type": "string", "pattern": "^[a-z]+$"}}}))
        };
        for (schema, field) in [
            (json!({"$ref": "https://example.com/schema"}), "spec.streamSchema.$ref"),
            (json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}), "spec.streamSchema.properties.a.$ref"),
            (json!({"type": "text"}), "spec.streamSchema.type"),
            (json!({"properties": {"a": {"pattern": "(?!x)"}}}), "spec.streamSchema.properties.a.pattern"),
            (json!({"properties": {"a": {"$ref": "#"}}}), "spec.streamSchema.properties.a.$ref"),
            (json!({"description": "x".repeat(140_000)}), "spec.streamSchema"),
        ] {
            asked.refuses(&good(), &of(schema), &[field]).await;
        }
        asked.accepts(&a_class(ns.name(), json!({})), &good()).await;
    });
}

#[test]
fn the_kind_stays_while_there_are_streams() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_kind(world, GROUP, "KindStream").await;
        let before = class(ns.name(), GROUP, "KindStream", json!({}));
        let another_kind = class(ns.name(), GROUP, "NobodysStream", json!({}));
        let another_group = class(ns.name(), "streams.example.com", "KindStream", json!({}));
        asked.put(&before).await;
        asked.lets_it_become(&another_kind).await;
        asked.lets_it_become(&another_group).await;

        let orders = object("KindStream", "orders", a_good_stream()["spec"].clone());
        asked.put(&orders).await;
        let said = asked.does_not_let_it_become(&another_kind, &["spec.kindRef"]).await;
        let words =
            format!("there are streams of KindStream.{GROUP}: KindStream {}/orders; delete them first", ns.name());
        assert!(said[0].contains(&words), "{said:?}");
        asked.does_not_let_it_become(&another_group, &["spec.apiGroupRef"]).await;
        asked.lets_it_become(&with(before.clone(), json!({"secretRefs": ["a"]}))).await;
        asked.delete(&orders).await;
        asked.lets_it_become(&another_kind).await;
        asked.delete(&before).await;
    });
}

#[test]
fn a_second_class_tells_which_streams_it_takes_over() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_kind(world, GROUP, "SecondStream").await;
        let (first, second) = (format!("{}-a", ns.name()), format!("{}-b", ns.name()));
        let of = |name: &str| class(name, GROUP, "SecondStream", json!({}));
        let default = |name: &str| {
            let mut class = of(name);
            class["metadata"]["annotations"] = json!({"arcane/is-default-class": "true"});
            class
        };
        asked.put(&of(&first)).await;
        asked.warns_of_new(&default(&second), &[]).await;

        let orders = object("SecondStream", "orders", a_good_stream()["spec"].clone());
        asked.put(&orders).await;
        asked.put(&of_class(object("SecondStream", "settled", a_good_stream()["spec"].clone()), &first)).await;
        let words = format!(
            "change from StreamClass {first} to {second} when they next have no Job: SecondStream {}/orders;",
            ns.name()
        );
        asked.warns_of_new(&default(&second), &[&words]).await;
        // A younger one that isn't the default takes nobody.
        asked.warns_of_new(&of(&second), &[]).await;
        asked.delete(&of(&first)).await;
    });
}

/// The kind of a class of another group is judged as soon as the registration has its rule, and as long.
#[test]
fn the_kind_of_another_group_is_judged_while_a_class_registers_it() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let group = "far.example.com";
        a_kind(world, group, "FarStream").await;
        let far = |spec: Value| of_group(group, "FarStream", "orders", spec);
        let good = far(a_good_stream()["spec"].clone());
        let bad = far(json!({"jobTemplateRef": {"name": ""}}));
        asked.warns_of_new(&bad, &[]).await;

        let class = class("far-streams", group, "FarStream", json!({}));
        asked.put(&class).await;
        refused_by_now(&asked, &bad).await;
        asked.refuses(&good, &bad, &["spec.jobTemplateRef.name"]).await;
        asked.accepts(&good, &with(good.clone(), json!({"table": "after"}))).await;
        let nowhere = with(good.clone(), json!({"jobTemplateRef": {"name": "nowhere"}}));
        asked.refuses(&good, &nowhere, &["spec.jobTemplateRef.name"]).await;
        asked.by("helm").warns(&good, &nowhere, &["spec.jobTemplateRef.name: Not found"]).await;

        asked.delete(&class).await;
        let_in_by_now(&asked, &bad).await;
    });
}

/// The chart lets the webhook read the kinds of other groups as it lets the controller.
#[test]
fn a_class_of_another_group_is_judged_by_its_streams_too() {
    on_a_cluster(async |world, ns| {
        let asked: Asked = installed(world, ns).await;
        let group = "readable.example.com";
        a_kind(world, group, "ReadableStream").await;
        world.fixture.apply(None, &readable_by_arcane(group, "readablestreams")).await;
        let before = class("readable-streams", group, "ReadableStream", json!({}));
        asked.put(&before).await;
        let orders = of_group(group, "ReadableStream", "orders", a_good_stream()["spec"].clone());
        asked.put(&orders).await;
        let backfill = object("BackfillRequest", "b", json!({"streamClass": "readable-streams", "streamId": "orders"}));
        let by_now = async || {
            let answer = asked.write(Way::Create, true, &backfill).await;
            if answer.is_allowed() { Ok(()) } else { Err(answer.body.to_string()) }
        };
        arcane_tests::eventually(arcane_tests::fixture::SOON, "right to read", by_now).await.unwrap();
        asked.warns_of_new(&backfill, &["stream orders is suspended"]).await;
        let absent = with(backfill, json!({"streamId": "nobody"}));
        asked.refuses_new(&absent, &["spec.streamId"]).await;
        asked
            .does_not_let_it_become(&class("readable-streams", group, "NobodysStream", json!({})), &["spec.kindRef"])
            .await;
        let deletion = asked.deletion(&before, true).await;
        assert!(deletion.warnings[0].contains(&format!("ReadableStream {}/orders", ns.name())), "{deletion:?}");
        asked.delete(&orders).await;
        asked.delete(&before).await;
    });
}
