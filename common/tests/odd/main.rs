//! Streams of all layouts, templates and schemas that nobody would write: made from the examples by random edits. Whatever they
//! are, they are read or refused, in time, and what is read means the same when it is read again.
//!
//! `ARCANE_ODD` says how many are made; the edits are the same each time. What fuzzing has found worth keeping is judged, too.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing
)]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[allow(dead_code)]
#[path = "../../../webhook/tests/reviews/edits.rs"]
mod edits;
mod judged;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// More than any takes, on a slow machine too.
const LONGEST: Duration = Duration::from_secs(4);

fn examples(kind: impl Fn(&str) -> bool) -> Vec<Value> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut specs = Vec::new();
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(path).unwrap();
                let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_default();
                let wanted = objects.into_iter().filter(|object| object["kind"].as_str().is_some_and(&kind));
                specs.extend(wanted.map(|mut object| object["spec"].take()));
            }
        }
    }
    assert!(specs.len() > 2, "{}", specs.len());
    // The order of a directory is nobody's.
    specs.sort_by_key(Value::to_string);
    specs
}

fn schemas() -> Vec<Value> {
    let pattern = |pattern: &str| json!({"properties": {"a": {"pattern": pattern}}});
    let spec = json!({"a": "a".repeat(200), "b": [{"a": 1}, {"a": "x"}], "jobTemplateRef": {"name": "t"}});
    let schemas = [
        pattern("^(a+)+$"),
        pattern("(a|a)*b"),
        pattern("(a{1,50}){1,50}"),
        json!({"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {}]}, "b": {}}}),
        json!({"properties": {"a": {"$ref": "http://127.0.0.1:1/s.json"}, "b": {"$ref": "file:///etc/passwd"}}}),
        json!({"items": {"not": {"if": {"type": "array"}, "then": {"uniqueItems": true}, "else": {"const": 1}}}}),
        json!({"patternProperties": {"^x-": {"format": "regex"}}, "unevaluatedProperties": false, "dependentSchemas": {"a": {}}}),
        json!({"properties": {"b": {"items": {"required": ["a"], "properties": {"a": {"type": "integer"}}}}}}),
    ];
    schemas.into_iter().map(|schema| json!({"schema": schema, "spec": spec})).collect()
}

/// Judges many edits of the seeds.
fn judge(name: &str, seeds: &[Value], judged: fn(&Value)) {
    let many = std::env::var("ARCANE_ODD").ok().and_then(|many| many.parse().ok()).unwrap_or(20_000_usize);
    let mut random = fastrand::Rng::with_seed(0);
    let mut choose = |below: usize| random.usize(..below.max(1));
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut pool = seeds.to_vec();
    for _ in 0..many {
        let mut document = pool[choose(pool.len())].clone();
        for _ in 0..=choose(4) {
            edits::edit(&mut document, &mut choose);
        }
        if document.to_string().len() > 64 * 1024 {
            continue;
        }
        slowest = slowest.max(judge_one(name, &document, judged));
        // What was edited is edited on.
        if choose(4) == 0 {
            let place = if pool.len() < 500 { pool.len() } else { seeds.len() + choose(500 - seeds.len()) };
            if place == pool.len() { pool.push(document) } else { pool[place] = document }
        }
    }
    eprintln!("{name}: {many} judged in {:.1?}, the slowest took {slowest:.1?}", begun.elapsed());
}

/// Judges the inputs of a target that fuzzing has found worth keeping.
fn judge_corpus(target: &str, judged: fn(&Value)) {
    for (path, input) in corpus::of(target) {
        let document = serde_json::from_slice(&input).unwrap();
        judge_one(&path.display().to_string(), &document, judged);
    }
}

fn judge_one(name: &str, document: &Value, judged: fn(&Value)) -> Duration {
    let before = on_the_processor();
    judged(document);
    let took = on_the_processor() - before;
    assert!(took < LONGEST, "{name}: {took:.1?} for {document}");
    took
}

/// How long this thread has run.
fn on_the_processor() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn odd_streams_are_read_or_refused() {
    judge("streams", &examples(|kind| kind.ends_with("Stream")), judged::stream);
}

#[test]
fn odd_templates_are_read_or_refused() {
    judge("templates", &examples(|kind| kind == "StreamingJobTemplate"), judged::template);
}

#[test]
fn odd_schemas_are_refused_or_quick() {
    judge("schemas", &schemas(), judged::schema);
}

#[test]
fn streams_of_the_corpus_are_read_or_refused() {
    judge_corpus("streams", judged::stream);
}

#[test]
fn templates_of_the_corpus_are_read_or_refused() {
    judge_corpus("templates", judged::template);
}

#[test]
fn schemas_of_the_corpus_are_refused_or_quick() {
    judge_corpus("schemas", judged::schema);
}
