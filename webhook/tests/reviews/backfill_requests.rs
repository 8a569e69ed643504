use rstest::rstest;
use serde_json::{Value, json};

use crate::world::*;

fn spec() -> Value {
    json!({"streamClass": "sql-server", "streamId": "orders"})
}

fn world() -> World {
    World::new().namespace("data", json!({})).stream("data", "orders", json!({"jobTemplateRef": {"name": "t"}}))
}

#[tokio::test]
async fn a_good_request_is_let_in() {
    world().validate(create(a_request("b", spec()))).await.is_allowed_silently();
}

#[rstest]
#[case(json!({"streamClass": "none", "streamId": "orders"}), "spec.streamClass")]
#[case(json!({"streamClass": "sql-server", "streamId": "none"}), "spec.streamId")]
#[tokio::test]
async fn what_it_refers_to_must_be_there(#[case] spec: Value, #[case] field: &str) {
    world().validate(create(a_request("b", spec.clone()))).await.is_denied_at(&[field]);
    world().validate(create_by("helm-controller", a_request("b", spec))).await.warns("Not found");
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_refused() {
    let mut spec = spec();
    spec["payload"] = json!({"a": "x".repeat(140_000)});
    world().validate(create(a_request("b", spec))).await.is_denied_at(&["spec.payload"]);
}

#[tokio::test]
async fn what_delays_it_is_told() {
    let path = |name: &str| format!("/apis/{GROUP}/v1/namespaces/data/backfillrequests/{name}");
    let mut completed = spec();
    completed["completed"] = json!(true);
    let world = World::new()
        .stream("data", "orders", json!({"suspended": true}))
        .put(&path("first"), a_request("first", spec()))
        .put(&path("done"), a_request("done", completed));
    let answer = world.validate(create(a_request("b", spec()))).await;
    answer.warns("stream orders is suspended");
    answer.warns("has an open BackfillRequest already (first)");
    // What is over from the start isn't delayed.
    let mut over = spec();
    over["completed"] = json!(true);
    world.validate(create(a_request("b", over))).await.is_allowed_silently();
}

#[tokio::test]
async fn an_open_request_is_found_by_any_class_of_the_streams_kind() {
    let path = |name: &str| format!("/apis/{GROUP}/v1/namespaces/data/backfillrequests/{name}");
    let by = |class: &str| json!({"streamClass": class, "streamId": "orders"});
    let of_another_kind = a_class("other", json!({"kindRef": "Other", "pluralName": "others"}));
    let world = world()
        .class(a_class("sql-server-2", json!({})))
        .class(of_another_kind)
        .put(&path("by-other"), a_request("by-other", by("other")));
    world.validate(create(a_request("b", spec()))).await.is_allowed_silently();
    let world = world.put(&path("by-second"), a_request("by-second", by("sql-server-2")));
    let answer = world.validate(create(a_request("b", spec()))).await;
    answer.warns("has an open BackfillRequest already (by-second)");
}

#[tokio::test]
async fn an_open_request_is_found_behind_very_many_that_are_over() {
    let path = |name: &str| format!("/apis/{GROUP}/v1/namespaces/data/backfillrequests/{name}");
    let mut completed = spec();
    completed["completed"] = json!(true);
    let world = (0..600)
        .map(|number| format!("done-{number:03}"))
        .fold(world(), |world, name| world.put(&path(&name), a_request(&name, completed.clone())));
    let world = world.put(&path("open"), a_request("open", spec()));
    world.validate(create(a_request("b", spec()))).await.warns("has an open BackfillRequest already (open)");
}

#[tokio::test(start_paused = true)]
async fn what_is_only_worth_a_warning_is_not_waited_for() {
    let path = format!("/apis/{GROUP}/v1/namespaces/data/backfillrequests/open");
    let world = world().put(&path, a_request("open", spec())).stalling("backfillrequests");
    world.validate(create(a_request("b", spec()))).await.is_allowed_silently();
}

#[tokio::test]
async fn a_reset_of_completed_is_told() {
    let mut done = a_request("b", spec());
    done["spec"]["completed"] = json!(true);
    done["status"] = json!({"phase": "Completed"});
    let mut reset = done.clone();
    reset["spec"]["completed"] = json!(false);
    world().validate(update(done.clone(), reset.clone())).await.warns("to set it back starts nothing");
    world().validate(update(reset, done)).await.is_allowed_silently();
}

#[tokio::test]
async fn a_stream_that_the_webhook_may_not_read_is_no_mistake_of_who_asks() {
    let definition = format!("sqlserverstreams.{GROUP}");
    let world = world().forbidding("sqlserverstreams").put(
        &format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"),
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": definition}}),
    );
    let answer = world.validate(create(a_request("b", spec()))).await;
    answer.warns("whether stream orders exists isn't known");
    answer.warns("arcane/aggregate-to-webhook");
}
