//! Reviews that are made to be expensive.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{edits, world::*};

const FORMATS: [&str; 12] = [
    "date-time",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "uri",
    "iri",
    "uri-template",
    "json-pointer",
    "duration",
    "uuid",
    "ipv6",
];

/// A third of what fits into etcd. What takes a time that grows with the square of it shows all the same.
const MOST: usize = 512 * 1024;

/// `element` as often as it fits into `room` bytes.
fn many(element: &Value, room: usize) -> Value {
    Value::Array(vec![element.clone(); room / (element.to_string().len() + 1)])
}

fn many_fields(room: usize) -> Map<String, Value> {
    (0..room / 10).map(|number| (format!("{number:05x}"), json!(1))).collect()
}

fn of_containers(containers: Value) -> Value {
    a_template(json!({"template": {"spec": {"containers": containers}}}))
}

fn container(more: Value) -> Value {
    let mut container = json!({"name": "main", "image": "plugin:1"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of_containers(json!([container]))
}

fn templates() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(MOST);
    let mut misplaced = of_containers(json!([{"name": "main"}]));
    misplaced["spec"].as_object_mut().unwrap().extend(many_fields(MOST));
    let mut labels = of_containers(json!([{"name": "main", "image": "i"}]));
    labels["spec"]["template"]["metadata"] = json!({"labels": many_fields(MOST)});
    let mut unknown = Map::new();
    unknown.extend((0..20).map(|number| (format!("{number}{}", "y".repeat(MOST / 21)), json!(1))));
    vec![
        ("containers that are empty", of_containers(many(&json!({}), MOST))),
        ("containers without an image", of_containers(many(&json!({"name": ""}), MOST))),
        ("containers that are none", of_containers(many(&json!(1), MOST))),
        ("variables without a name", container(json!({"env": many(&json!({}), MOST)}))),
        ("variables that are ours", container(json!({"env": many(&json!({"name": "STREAMCONTEXT__A"}), MOST)}))),
        ("variables of a wrong type", container(json!({"env": many(&json!({"name": "A", "value": 1}), MOST)}))),
        ("an unknown field with a long name", container(json!({long.clone(): 1}))),
        ("unknown fields with long names", container(Value::Object(unknown))),
        ("many unknown fields", container(Value::Object(many_fields(MOST)))),
        ("misplaced fields", misplaced),
        ("labels of a wrong type", labels),
        ("a long image", container(json!({"image": [long.clone()]}))),
        ("a long policy", a_template(json!({"template": {"spec": {"restartPolicy": long, "containers": [{}]}}}))),
        ("quantities", container(json!({"resources": {"limits": {"a": "1".repeat(MOST)}}}))),
    ]
}

fn streams() -> Vec<(&'static str, Value, Value)> {
    let long = "x".repeat(MOST);
    let any_of = |count: usize, schema: Value| json!({"anyOf": vec![schema; count]});
    let bits: String =
        (0_u32..100_000).map(|n| if n.wrapping_mul(2_654_435_761) >> 30 & 1 == 1 { '1' } else { '0' }).collect();
    let spec = |more: Value| {
        let mut spec = json!({"jobTemplateRef": {"name": "standard"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        orders(spec)
    };
    let patterns =
        |count: usize, pattern: &str| json!({"properties": {"a": {"allOf": vec![json!({"pattern": pattern}); count]}}});
    let different: Vec<Value> = (200..400).map(|n| json!({"pattern": format!("1[01]{{{n}}}[a-z]")})).collect();
    let formats = FORMATS.map(|format| json!({"format": format}));
    vec![
        ("a long name of a template", json!({}), orders(json!({"jobTemplateRef": {"name": long}}))),
        ("a reference that is none", json!({}), orders(json!({"jobTemplateRef": many(&json!({"a": 1}), MOST)}))),
        (
            "a long schedule",
            json!({}),
            orders(json!({"execution": {"layoutVersion": "v1", "streamingBackend": {
            "batch": {"jobTemplateRef": {"name": "standard"}, "schedule": ",1".repeat(MOST / 2)}}}})),
        ),
        ("fields that must not be", json!({"additionalProperties": false}), spec(Value::Object(many_fields(120_000)))),
        (
            "too many fields that must not be",
            json!({"additionalProperties": false}),
            spec(Value::Object(many_fields(MOST))),
        ),
        (
            "elements of a wrong type",
            json!({"properties": {"a": {"items": {"type": "string"}}}}),
            spec(json!({"a": many(&json!(1), 120_000)})),
        ),
        (
            "too many elements of a wrong type",
            json!({"properties": {"a": {"items": {"type": "string"}}}}),
            spec(json!({"a": many(&json!(1), MOST)})),
        ),
        (
            "elements that must differ",
            json!({"properties": {"a": {"uniqueItems": true}}}),
            spec(json!({"a": (0..20_000).map(|n| json!({"a": n})).collect::<Vec<_>>()})),
        ),
        (
            "elements with many alternatives",
            json!({"properties": {"a": {"items": any_of(4000, json!({"type": "null"}))}}}),
            spec(json!({"a": many(&json!(1), 120_000)})),
        ),
        ("a pattern with many states", patterns(1, "^[01]*1[01]{600}$"), spec(json!({"a": bits}))),
        ("many patterns with many states", patterns(200, "^[01]*1[01]{600}$"), spec(json!({"a": bits}))),
        ("a pattern with many states at each place", patterns(1, "1[01]{300}[a-z]"), spec(json!({"a": bits}))),
        ("many different patterns", json!({"properties": {"a": {"allOf": different}}}), spec(json!({"a": bits}))),
        ("many big patterns", patterns(200, "^(\\w{0,20}0?)*$"), spec(json!({"a": bits}))),
        (
            "patterns of the stream's own",
            json!({"properties": {"a": {"items": {"format": "regex"}}}}),
            spec(json!({"a": many(&json!("(((a{99}){99}){9})"), 120_000)})),
        ),
        ("formats", json!({"properties": {"a": {"allOf": formats}}}), spec(json!({"a": "a.".repeat(60_000)}))),
    ]
}

/// Far more than any of them takes, on a slow machine too, and less than the API server waits. What is expensive in
/// one way more than these are took from ten seconds up to minutes.
const LONGEST: Duration = Duration::from_secs(4);

/// How long this thread has run. Everything here runs on it, and what else the machine does is no matter.
fn on_the_processor() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

async fn is_quick(world: &World, name: &str, review: Value) {
    let body = review.to_string();
    let router = world.router();
    let began = on_the_processor();
    let (status, answer) = post(router, "/validate", body.clone()).await;
    let took = on_the_processor() - began;
    println!("{took:>10.1?} {:>8} {name}", answer.len());
    assert_eq!(status, 200, "{name}: {answer}");
    edits::is_proper(body.as_bytes(), status.as_u16(), answer.as_bytes());
    assert!(took < LONGEST, "{name}: {took:.1?}");
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object["spec"][field] = value;
    object
}

#[tokio::test]
async fn no_template_takes_long_to_judge() {
    let world = World::new();
    for (name, template) in templates() {
        is_quick(&world, name, create(template.clone())).await;
        is_quick(&world, name, update(template.clone(), with(template, "backoffLimit", json!(7)))).await;
    }
}

#[tokio::test]
async fn no_stream_takes_long_to_judge() {
    for (name, schema, stream) in streams() {
        let class = a_class("sql-server", json!({"streamSchema": schema}));
        let world = World::without_class().class(class).template("data", "standard").namespace("data", json!({}));
        is_quick(&world, name, create(stream.clone())).await;
        is_quick(&world, name, update(stream.clone(), with(stream, "other", json!(7)))).await;
    }
}

#[tokio::test]
async fn no_class_takes_long_to_judge() {
    let room = 120_000;
    let definitions = |count: usize, definition: &dyn Fn(usize) -> Value| {
        let definitions = (0..count).map(|number| (format!("d{number}"), definition(number)));
        json!({"$ref": "#/$defs/d0", "$defs": definitions.collect::<Map<_, _>>()})
    };
    let long = "x".repeat(room);
    let schemas = [
        ("many schemas", json!({"anyOf": many(&json!({"type": "null"}), room)})),
        ("many references", json!({"anyOf": vec![json!({"$ref": "#/$defs/a"}); 4900], "$defs": {"a": {}}})),
        ("schemas within schemas", definitions(60, &|n| json!({"not": {"$ref": format!("#/$defs/d{}", n + 1)}}))),
        (
            "schemas that double",
            definitions(40, &|n| json!({"allOf": vec![json!({"$ref": format!("#/$defs/d{}", n + 1)}); 2]})),
        ),
        (
            "patterns",
            json!({"allOf": (0..200).map(|n| json!({"pattern": format!("[01]{{{}}}", 900 + n)})).collect::<Vec<_>>()}),
        ),
        ("a long pattern", json!({"pattern": "(a|b)".repeat(room / 5)})),
        ("patterns that are none", json!({"allOf": vec![json!({"pattern": "("}); 200]})),
        ("a long name", json!({"properties": {long.clone(): {"$ref": long}}})),
        ("many wrong keywords", json!({"allOf": many(&json!({"type": 1}), room)})),
        ("many words", json!({"enum": many(&json!(1), room)})),
    ];
    for (name, schema) in schemas {
        is_quick(&World::new(), name, create(a_class("other", json!({"streamSchema": schema})))).await;
    }
}
