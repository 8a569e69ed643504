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
