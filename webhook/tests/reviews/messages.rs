//! What a person reads after the most likely mistakes, as kubectl prints it. Each should read as advice.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::world::*;

fn printed(answer: &Answer) -> String {
    let mut out = String::new();
    for warning in answer.warnings() {
        writeln!(out, "Warning: {warning}").unwrap();
    }
    if !answer.allowed() {
        let details = &answer.0["status"]["details"];
        let (kind, name) = (details["kind"].as_str().unwrap(), details["name"].as_str().unwrap());
        match &answer.causes()[..] {
            [cause] => writeln!(out, "The {kind} {name:?} is invalid: {cause}").unwrap(),
            causes => {
                writeln!(out, "The {kind} {name:?} is invalid: ").unwrap();
                for cause in causes {
                    writeln!(out, "* {cause}").unwrap();
                }
            }
        }
    }
    out
}

#[tokio::test]
async fn the_ten_most_likely_mistakes() {
    let world = World::without_class()
        .class(a_class(
            "sql-server",
            json!({"secretRefs": ["connectionString"], "streamSchema": {"properties": {"fetchSize": {"type": "integer"}}}}),
        ))
        .template("data", "standard")
        .template("shared", "standard")
        .user_may(false)
        .namespace("data", json!({}));
    let stream = |more: Value| {
        let mut spec = json!({"jobTemplateRef": {"name": "standard"}, "connectionString": {"name": "s"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        orders(spec)
    };
    let execution = |backend: Value| stream(json!({"execution": {"layoutVersion": "v1", "streamingBackend": backend}}));
    let container = |more: Value| {
        let mut container = json!({"name": "main", "image": "plugin:1"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        a_template(json!({"template": {"spec": {"containers": [container]}}}))
    };
    let cases = [
        ("a template that is not there", create(stream(json!({"jobTemplateRef": {"name": "standrad"}})))),
        (
            "the same, by Flux",
            create_by("kustomize-controller", stream(json!({"jobTemplateRef": {"name": "standrad"}}))),
        ),
        ("no secret", create(stream(json!({"connectionString": "Server=db;Password=hunter2"})))),
        (
            "a bad schedule",
            create(execution(json!({"batch": {"jobTemplateRef": {"name": "standard"}, "schedule": "every hour"}}))),
        ),
        ("two backends", create(execution(json!({"batch": {}, "changeCapture": {}})))),
        ("against the class's schema", create(stream(json!({"fetchSize": "many"})))),
        (
            "a template that the user may not read",
            create(stream(json!({"jobTemplateRef": {"name": "standard", "namespace": "shared"}}))),
        ),
        ("a label that names no class", create(labelled(stream(json!({})), "sqlserver"))),
        (
            "a plugin that is not installed",
            create({
                let mut other = stream(json!({}));
                other["kind"] = json!("PostgresStream");
                other
            }),
        ),
        ("a memory limit with a slip", create(container(json!({"resources": {"limits": {"memory": "4 GB"}}})))),
        ("a field with a slip", create(container(json!({"imagePulPolicy": "Always"})))),
        ("a template without a Job", create(a_template(json!({"containers": [{"name": "main"}]})))),
        (
            "a backfill of a stream that is not there",
            create(a_request("b", json!({"streamClass": "sql-server", "streamId": "odrers"}))),
        ),
        ("several at once", create(orders(json!({"suspended": "no", "jobTemplateRef": {"name": ""}})))),
    ];
    let mut text = String::new();
    for (title, review) in cases {
        writeln!(text, "# {title}\n{}", printed(&world.validate(review).await)).unwrap();
    }
    insta::assert_snapshot!("mistakes", text.trim_end());
}
