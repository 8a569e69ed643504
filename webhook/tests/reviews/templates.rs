use rstest::rstest;
use serde_json::{Value, json};

use crate::world::*;

fn pod(container: Value) -> Value {
    json!({"spec": {"containers": [container]}})
}

fn good() -> Value {
    json!({"name": "c", "image": "i:1", "resources": {"limits": {"memory": "1Gi", "cpu": 1}}, "args": null})
}

#[rstest]
#[tokio::test]
async fn each_shape_is_let_in(#[values("", "spec", "template.spec")] shape: &str) {
    let job = json!({"backoffLimit": 3, "template": pod(good())});
    let spec = shape.split('.').rev().filter(|name| !name.is_empty()).fold(job, |job, name| json!({name: job}));
    World::new().validate(create(a_template(spec))).await.is_allowed_silently();
}

#[rstest]
#[case(json!({"containers": []}), &["spec"])]
#[case(json!({"template": {"spec": {"containers": []}}}), &["spec.template.spec.containers"])]
#[case(json!({"template": pod(json!({"name": "c", "image": "i", "env": [{"name": "STREAMCONTEXT__SPEC"}]}))}),
    &["spec.template.spec.containers[0].env[0].name"])]
#[case(json!({"spec": {"template": pod(json!({"name": "c", "image": "i", "imagePullPolicy": "Often"}))}}),
    &["spec.spec.template.spec.containers[0].imagePullPolicy"])]
#[case(json!({"template": {"spec": {"backoffLimit": "3", "template": {"spec":
        {"restartPolicy": "Always", "containers": [good()]}}}}}),
    &["spec.template.spec.template.spec.restartPolicy", "spec.template.spec.backoffLimit"])]
#[tokio::test]
async fn what_no_job_can_be_made_from_is_refused(#[case] spec: Value, #[case] fields: &[&str]) {
    World::new().validate(create(a_template(spec))).await.is_denied_at(fields);
}

#[tokio::test]
async fn an_absent_image_and_unknown_fields_warn() {
    let spec = json!({"template": pod(json!({"name": "c", "imagepullPolicy": "Always"})), "podFailurePolicies": {}});
    let answer = World::new().validate(create(a_template(spec))).await;
    answer.warns("spec.template.spec.containers[0].image: Required value");
    answer.warns("did you mean imagePullPolicy?");
    answer.warns("spec.podFailurePolicies");
}

#[tokio::test]
async fn an_old_problem_of_a_template_never_blocks_an_unrelated_change() {
    let template = |image: &str, limit: &str| {
        a_template(json!({"backoffLimit": limit, "template": pod(json!({"name": "c", "image": image}))}))
    };
    let world = World::new();
    world.validate(update(template("a", "3"), template("b", "3"))).await.is_allowed_silently();
    world.validate(update(template("a", "3"), template("a", "4"))).await.is_denied_at(&["spec.backoffLimit"]);
}

#[tokio::test]
async fn an_old_problem_may_move_within_its_list() {
    let template = |containers: Value| a_template(json!({"template": {"spec": {"containers": containers}}}));
    let good = json!({"name": "side", "image": "i"});
    let variable = |name: &str| json!({"name": name, "value": "1"});
    let old = |env: Value| json!({"name": "main", "image": "i", "imagePullPolicy": "Sometimes", "env": env});
    let before = old(json!([variable("STREAMCONTEXT__SPEC")]));
    let moved = old(json!([variable("A"), variable("STREAMCONTEXT__SPEC")]));
    let copied = old(json!([variable("STREAMCONTEXT__SPEC"), variable("STREAMCONTEXT__SPEC")]));
    let world = World::new();
    let before = template(json!([before]));
    world.validate(update(before.clone(), template(json!([good, moved])))).await.is_allowed_silently();
    world
        .validate(update(before, template(json!([good, copied]))))
        .await
        .is_denied_at(&["spec.template.spec.containers[1].env[1].name"]);
}
