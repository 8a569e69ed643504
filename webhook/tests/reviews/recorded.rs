//! What a real API server has sent (`make record-reviews`), and what we answer.

use std::{fs, path::PathBuf};

use k8s_openapi::ByteString;
use serde_json::Value;

use crate::{edits, world::*};

/// The recorded reviews, by name.
pub fn recorded() -> Vec<(String, Value)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reviews/recorded"));
    let mut reviews: Vec<(String, Value)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect();
    reviews.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(reviews.len() > 40, "run `make record-reviews`");
    reviews
}

/// What is answered: what is in it is in the order of the alphabet, whatever the parser was built for.
fn in_words(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let response = &answer["response"];
    let mut words = if response["allowed"] == true { "allowed".to_owned() } else { "denied".to_owned() };
    for cause in response["status"]["details"]["causes"].as_array().into_iter().flatten() {
        let [field, message] = ["field", "message"].map(|key| cause[key].as_str().unwrap());
        words += &format!("\n    {field}: {message}");
    }
    for warning in response["warnings"].as_array().into_iter().flatten() {
        words += &format!("\n    Warning: {}", warning.as_str().unwrap());
    }
    if !response["patch"].is_null() {
        let ByteString(operations) = serde_json::from_value(response["patch"].clone()).unwrap();
        let operations: Vec<Value> = serde_json::from_slice(&operations).unwrap();
        for operation in operations {
            words += &format!("\n    {} {} {}", operation["op"], operation["path"], operation["value"]);
        }
    }
    words
}

#[tokio::test]
async fn every_recorded_review_is_answered() {
    let world = World::with_a_few_of_everything();
    let mut answers = String::new();
    for (name, review) in recorded() {
        let body = review.to_string();
        for path in ["/validate", "/mutate"] {
            let (status, answer) = world.post(path, body.clone()).await;
            assert_eq!(status, 200, "{name}: {answer}");
            edits::is_proper(body.as_bytes(), status.as_u16(), answer.as_bytes());
            answers += &format!("{name} {path}: {}\n", in_words(&answer));
        }
    }
    insta::assert_snapshot!(answers);
}
