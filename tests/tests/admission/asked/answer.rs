//! What the API server answers, and what it must answer.

use serde_json::{Value, json};

/// What the API server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn is_allowed(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The causes of a refusal: field, reason and message.
    pub fn causes(&self) -> Vec<(String, String, String)> {
        let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
        let causes = self.body["details"]["causes"].as_array();
        let of = |cause| (text(cause, "field"), text(cause, "reason"), text(cause, "message"));
        causes.into_iter().flatten().map(of).collect()
    }

    pub fn fields(&self) -> Vec<String> {
        self.causes().into_iter().map(|(field, _, _)| field).collect()
    }
}

/// What an answer must be.
pub enum Expected<'e> {
    /// Allowed, with these warnings in any order: a part of each.
    Allowed(&'e [&'e str]),
    /// Refused, with causes at these fields.
    Refused(&'e [&'e str]),
}

/// Checks an answer, and gives its words.
pub fn check(answer: &Answer, object: &Value, expected: &Expected<'_>, how: &str) -> Vec<String> {
    match expected {
        Expected::Allowed(warnings) => {
            assert!(answer.is_allowed(), "{how} of {object} is refused: {}", answer.body);
            let found = warnings.iter().all(|part| answer.warnings.iter().any(|said| said.contains(part)));
            assert!(found && answer.warnings.len() == warnings.len(), "{how} of {object} says {:?}", answer.warnings);
            answer.warnings.clone()
        }
        Expected::Refused(fields) => {
            assert!(!answer.is_allowed(), "{how} of {object} is let in");
            is_a_denial(answer, object);
            assert_eq!(answer.fields(), *fields, "{how} of {object}: {}", answer.body["message"]);
            answer.causes().into_iter().map(|(field, _, message)| format!("{field}: {message}")).collect()
        }
    }
}

/// The Status that the API server itself gives for an invalid object.
fn is_a_denial(answer: &Answer, object: &Value) {
    let Answer { code, body, .. } = answer;
    assert_eq!(*code, 422, "{body}");
    assert_eq!((&body["status"], &body["reason"]), (&json!("Failure"), &json!("Invalid")), "{body}");
    let details = &body["details"];
    let group = object["apiVersion"].as_str().unwrap().split('/').next().unwrap();
    assert_eq!((&details["kind"], &details["group"]), (&object["kind"], &json!(group)), "{body}");
    if !object["metadata"]["name"].is_null() {
        assert_eq!(details["name"], object["metadata"]["name"], "{body}");
    }
    let message = body["message"].as_str().unwrap();
    for (field, reason, said) in answer.causes() {
        assert!(reason.starts_with("FieldValue"), "{reason}");
        assert!(message.contains(&format!("{field}: {said}")), "the message alone says it, too: {message}");
    }
}

/// `299 - "text"`, with quotes and backslashes escaped.
pub fn text_of_warning(header: &str) -> String {
    let quoted = header.strip_prefix("299 - \"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}
