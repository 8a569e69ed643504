//! StreamingJobTemplates: only what a Job can be made from.

use serde_json::{Value, json};

use crate::asked::{Way, object};
use crate::plugins::installed;
use crate::world::*;

fn template(spec: Value) -> Value {
    object("StreamingJobTemplate", "standard", spec)
}

fn pod(container: Value) -> Value {
    json!({"spec": {"containers": [container]}})
}

fn container(more: Value) -> Value {
    let mut container = json!({"name": "main", "image": "plugin:1"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

fn a_good_template() -> Value {
    template(json!({"template": pod(container(json!({})))}))
}

/// A Job's spec in one of the three shapes.
fn shaped(shape: &str, job: Value) -> Value {
    template(shape.split('.').rev().filter(|name| !name.is_empty()).fold(job, |job, name| json!({name: job})))
}

const SHAPES: [&str; 3] = ["", "spec", "template.spec"];

#[test]
fn each_of_the_three_shapes_is_let_in() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let resources = json!({"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "500m"}});
        for shape in SHAPES {
            let job = json!({"backoffLimit": 3, "template": pod(container(json!({"resources": resources})))});
            asked.accepts(&a_good_template(), &shaped(shape, job)).await;
        }
        let whole = template(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {"a": "b"}},
            "spec": {"template": pod(container(json!({})))}}));
        asked.accepts(&a_good_template(), &whole).await;
        let legacy = template(json!({"metadata": {"labels": {"a": "b"}},
            "template": {"kind": "job", "spec": {"template": pod(container(json!({})))}}}));
        asked.accepts(&a_good_template(), &legacy).await;
    });
}

#[test]
fn what_has_no_shape_is_refused() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for spec in [
            json!({"containers": [container(json!({}))]}),
            json!({"template": {"containers": [container(json!({}))]}}),
            json!({"template": {"spec": {"containers": []}}}),
            json!({"spec": {"template": {"spec": {}}}}),
            json!({"template": pod(container(json!({}))), "spec": {"template": pod(container(json!({})))}}),
        ] {
            asked.refuses(&a_good_template(), &template(spec), &["spec"]).await;
        }
    });
}

#[test]
fn what_breaks_the_schema_of_a_job_is_refused_in_each_shape() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for shape in SHAPES {
            let base = ["spec", shape].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
            let at = |field: &str| format!("{base}.{field}");
            for (job, field) in [
                (json!({"backoffLimit": "3", "template": pod(container(json!({})))}), at("backoffLimit")),
                (
                    json!({"template": pod(container(json!({"resources": {"limits": {"memory": "4 GB"}}})))}),
                    at("template.spec.containers[0].resources.limits.memory"),
                ),
                (
                    json!({"template": pod(container(json!({"imagePullPolicy": "Often"})))}),
                    at("template.spec.containers[0].imagePullPolicy"),
                ),
                (
                    json!({"template": pod(container(json!({"env": [{"name": "A", "value": 5}]})))}),
                    at("template.spec.containers[0].env[0].value"),
                ),
                (
                    json!({"template": {"spec": {"restartPolicy": "Always", "containers": [container(json!({}))]}}}),
                    at("template.spec.restartPolicy"),
                ),
            ] {
                asked.refuses(&a_good_template(), &shaped(shape, job), &[&field]).await;
            }
        }
    });
}

#[test]
fn variables_of_ours_are_refused() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for variable in ["STREAMCONTEXT__SPEC", "STREAMCONTEXT__ANYTHING"] {
            let bad = template(json!({"template": pod(container(json!({"env": [
                {"name": "MINE", "value": "1"}, {"name": variable, "value": "2"}]})))}));
            let said = asked.refuses(&a_good_template(), &bad, &["spec.template.spec.containers[0].env[1].name"]).await;
            assert!(said[0].contains("is set by the operator for each Job: remove it"), "{said:?}");
        }
        let good = template(json!({"template": pod(container(json!({"env": [{"name": "MINE", "value": "1"}]})))}));
        asked.accepts(&a_good_template(), &good).await;
    });
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let bad = template(json!({"backoffLimit": "3", "template": {"spec": {"restartPolicy": "Always",
            "containers": [container(json!({"env": [{"name": "STREAMCONTEXT__SPEC"}]}))]}}}));
        asked
            .refuses(
                &a_good_template(),
                &bad,
                &[
                    "spec.template.spec.restartPolicy",
                    "spec.template.spec.containers[0].env[0].name",
                    "spec.backoffLimit",
                ],
            )
            .await;
    });
}

#[test]
fn an_absent_image_and_unknown_fields_only_warn() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let odd = template(json!({
            "podFailurePolicies": {},
            "template": pod(json!({"name": "main", "imagePulPolicy": "Always"})),
        }));
        asked
            .warns(
                &a_good_template(),
                &odd,
                &[
                    "spec.template.spec.containers[0].image: Required value: container main has no image",
                    "did you mean imagePullPolicy?",
                    "spec.podFailurePolicies",
                ],
            )
            .await;
        let misplaced =
            template(json!({"podFailurePolicy": {"rules": []}, "spec": {"template": pod(container(json!({})))}}));
        let words = "spec.podFailurePolicy: Ignored: it belongs into the spec of the Job, spec.spec.podFailurePolicy";
        asked.warns(&a_good_template(), &misplaced, &[words]).await;
    });
}

#[test]
fn an_absent_restart_policy_and_whatever_the_api_server_fills_in_is_fine() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for policy in ["Never", "OnFailure"] {
            let good = template(
                json!({"template": {"spec": {"restartPolicy": policy, "containers": [container(json!({}))]}}}),
            );
            asked.accepts(&a_good_template(), &good).await;
        }
        // As Go writes it.
        let nulls = template(json!({"template": {"metadata": {"creationTimestamp": null}, "spec": {
            "restartPolicy": null, "containers": [container(json!({"resources": {}, "args": null}))]}}}));
        let answer = asked.write(Way::Create, true, &nulls).await;
        assert!(answer.is_allowed() && answer.warnings.is_empty(), "{answer:?}");
    });
}

#[test]
fn labels_and_annotations_of_the_job_survive() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let metadata = json!({"labels": {"a": "b"}, "annotations": {"c": "d"}});
        let good = template(json!({"metadata": metadata, "spec": {"template": pod(container(json!({})))}}));
        assert_eq!(asked.put(&good).await["spec"], good["spec"]);
    });
}
