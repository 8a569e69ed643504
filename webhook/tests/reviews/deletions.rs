use serde_json::json;

use crate::world::*;

#[tokio::test]
async fn the_deletion_of_something_in_use_is_told() {
    let template = a_template(json!({}));
    let class = a_class("sql-server", json!({}));
    let world = World::new();
    world.validate(delete(template.clone())).await.is_allowed_silently();
    world.validate(delete(class.clone())).await.is_allowed_silently();
    let world = world
        .stream("data", "orders", json!({"jobTemplateRef": {"name": "standard"}}))
        .stream("other", "orders", json!({"jobTemplateRef": {"name": "standard"}}))
        .stream("other", "shared", json!({"jobTemplateRef": {"name": "standard", "namespace": "data"}}));
    let answer = world.validate(delete(template)).await;
    assert_eq!(
        answer.warnings(),
        ["StreamingJobTemplate data/standard is used by SqlServerStream data/orders, SqlServerStream other/shared: \
          they can't start a Job without it"]
    );
    world.validate(delete(class)).await.warns(
        "StreamClass sql-server is used by SqlServerStream data/orders, SqlServerStream other/orders, \
         SqlServerStream other/shared: their Jobs go on, but nothing looks after them",
    );
}

#[tokio::test]
async fn a_deletion_never_fails() {
    World::new().broken().validate(delete(a_template(json!({})))).await.is_allowed_silently();
    World::new().validate(delete(orders(json!({})))).await.is_allowed_silently();
}

fn very_many_streams() -> World {
    let other = json!({"jobTemplateRef": {"name": "other"}});
    let world =
        (0..1200).fold(World::new(), |world, number| world.stream("data", &format!("s{number:04}"), other.clone()));
    world.stream("data", "z-last", json!({"jobTemplateRef": {"name": "standard"}}))
}

#[tokio::test]
async fn a_user_is_found_among_very_many_streams() {
    let answer = very_many_streams().validate(delete(a_template(json!({})))).await;
    answer.warns("StreamingJobTemplate data/standard is used by SqlServerStream data/z-last: they");
    let answer = very_many_streams().validate(delete(a_class("sql-server", json!({})))).await;
    answer.warns("SqlServerStream data/s0004 and 1196 more: their Jobs go on");
}

#[tokio::test(start_paused = true)]
async fn where_not_all_streams_could_be_looked_at_that_is_told() {
    let world = very_many_streams().stalling("sqlserverstreams?continue");
    let answer = world.validate(delete(a_template(json!({})))).await;
    assert_eq!(
        answer.warnings(),
        ["StreamingJobTemplate data/standard may be in use: not all streams could be looked at in time"]
    );
    world.validate(delete(a_class("sql-server", json!({})))).await.warns(
        "SqlServerStream data/s0004 and 495 more, maybe others (not all streams could be looked at in time): their Jobs",
    );
    World::new().stalling("sqlserverstreams").validate(delete(a_template(json!({})))).await.warns("may be in use");
}

#[tokio::test]
async fn who_looks_after_the_streams_of_a_deleted_class_is_told() {
    let labelled = labelled(a_stream("data", "labelled", json!({})), "sql-server");
    let world = World::new()
        .class(a_class("second", json!({})))
        .stream("data", "orders", json!({}))
        .put(&format!("/apis/{GROUP}/v1/namespaces/data/sqlserverstreams/labelled"), labelled);
    let answer = world.validate(delete(a_class("sql-server", json!({})))).await;
    // Of two that are equally old, `second` is chosen by its name: it is theirs already.
    assert_eq!(
        answer.warnings(),
        ["StreamClass sql-server is used by SqlServerStream data/labelled: their Jobs go on, but nothing looks after \
          them until their label arcane/stream-class names another"]
    );
    let answer = world.validate(delete(a_class("second", json!({})))).await;
    assert_eq!(
        answer.warnings(),
        [
            "StreamClass second is used by SqlServerStream data/orders: StreamClass sql-server looks after them from then on"
        ]
    );
}
