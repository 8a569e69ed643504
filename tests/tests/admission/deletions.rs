//! Deletions are never refused, but who deletes something in use is told.

use arcane_tests::eventually;
use arcane_tests::fixture::SOON;
use serde_json::{Value, json};

use crate::asked::{Asked, object, with};
use crate::plugins::*;
use crate::world::*;

/// The warnings of a deletion, which its dry run gives just so.
async fn told(asked: &Asked, object: &Value) -> Vec<String> {
    let dry = asked.deletion(object, true).await;
    assert!(dry.is_allowed() && asked.get(object).await.is_some(), "{dry:?}");
    let real = asked.deletion(object, false).await;
    assert!(real.is_allowed(), "{real:?}");
    assert_eq!(dry.warnings, real.warnings);
    assert_eq!(asked.get(object).await, None);
    real.warnings
}

#[test]
fn the_users_of_a_template_are_named() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let template = |name: &str| object("StreamingJobTemplate", name, json!({}));
        let other = world.fixture.namespace("other").await;
        let in_other = installed(world, &other).await;
        let used = |name: &str, more: Value| {
            let mut stream = with(a_good_stream(), more);
            stream["metadata"]["name"] = json!(name);
            stream
        };
        asked.put(&used("a", json!({}))).await;
        asked
            .put(&used(
                "b",
                json!({"jobTemplateRef": {"name": "sqlserver-backfill-template"},
            "backfillJobTemplateRef": {"name": TEMPLATE}}),
            ))
            .await;
        asked.put(&used("c", json!({"jobTemplateRef": {"name": "sqlserver-backfill-template"}}))).await;
        in_other.put(&used("d", json!({"jobTemplateRef": {"name": TEMPLATE, "namespace": ns.name()}}))).await;
        in_other.put(&used("e", json!({}))).await;
        let said = told(&asked, &template(TEMPLATE)).await;
        let (here, there) = (ns.name(), other.name());
        let start = format!("StreamingJobTemplate {here}/{TEMPLATE} is used by ");
        let end = ": they can't start a Job without it";
        assert_eq!(said.len(), 1, "{said:?}");
        let users =
            said[0].strip_prefix(&start).and_then(|rest| rest.strip_suffix(end)).unwrap_or_else(|| panic!("{said:?}"));
        let mut users: Vec<&str> = users.split(", ").collect();
        users.sort_unstable();
        let mut expected =
            [format!("TestStream {here}/a"), format!("TestStream {here}/b"), format!("TestStream {there}/d")];
        expected.sort_unstable();
        assert_eq!(users, expected);
        other.delete().await;
    });
}

#[test]
fn many_users_are_counted() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for number in 0..7 {
            let mut stream = a_good_stream();
            stream["metadata"]["name"] = json!(format!("orders-{number}"));
            asked.put(&stream).await;
        }
        let said = told(&asked, &object("StreamingJobTemplate", TEMPLATE, json!({}))).await;
        assert!(said[0].contains("orders-4 and 2 more: "), "{said:?}");
    });
}

#[test]
fn what_nobody_uses_goes_silently() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let unused = class(ns.name(), GROUP, "NobodysStream", json!({}));
        asked.put(&unused).await;
        assert_eq!(told(&asked, &unused).await, [""; 0]);
        asked.put(&a_good_stream()).await;
        assert_eq!(told(&asked, &a_good_stream()).await, [""; 0]);
        assert_eq!(told(&asked, &object("StreamingJobTemplate", TEMPLATE, json!({}))).await, [""; 0]);
    });
}

#[test]
fn the_streams_of_a_class_are_named() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_kind(world, GROUP, "UsedStream").await;
        let (first, second) = (format!("{}-a", ns.name()), format!("{}-b", ns.name()));
        let of = |name: &str| class(name, GROUP, "UsedStream", json!({}));
        asked.put(&of(&first)).await;
        let stream = |name: &str| object("UsedStream", name, a_good_stream()["spec"].clone());
        asked.put(&stream("orders")).await;
        asked.put(&of(&second)).await;
        asked.put(&of_class(stream("labelled"), &second)).await;
        let here = ns.name();
        let end = format!("StreamClass {second} looks after them from then on");
        let expected = [format!("StreamClass {first} is used by UsedStream {here}/orders: {end}")];
        eventually(SOON, "webhook that knows the second class", || async {
            let said = asked.deletion(&of(&first), true).await.warnings;
            if said == expected { Ok(()) } else { Err(format!("{said:?}")) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        let said = told(&asked, &of(&second)).await;
        let end = "their Jobs go on, but nothing looks after them until their label arcane/stream-class names another";
        assert_eq!(said, [format!("StreamClass {second} is used by UsedStream {here}/labelled: {end}")]);
    });
}
