//! Edits of reviews that nobody would make, and what an answer must be whatever it answers to.

use serde_json::{Map, Value, json};

/// The longest answer that is of any use to a client, and to the API server, which keeps denials in its audit log.
const LONGEST_ANSWER: usize = 128 * 1024;

/// The API server cuts warnings when all of one answer are longer than this together.
const LONGEST_WARNINGS: usize = 4096;

/// Asserts that an answer is one that an API server can use, or else a refusal of the body.
pub fn is_proper(body: &[u8], status: u16, answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    if status != 200 {
        assert!((400..500).contains(&status), "{status}: {text}");
        assert!(!text.trim().is_empty(), "{status} without a reason");
        return;
    }
    let asked: Value = serde_json::from_slice(body).expect("what is no JSON can't be answered");
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], asked["request"]["uid"]);
    let allowed = response["allowed"].as_bool().expect("allowed or not");
    assert_eq!(response["status"].is_null(), allowed, "{response}");
    if !allowed {
        let status = &response["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
        assert!(status["message"].as_str().is_some_and(|message| !message.is_empty()));
        let causes = status["details"]["causes"].as_array().expect("a denial has causes");
        assert!(!causes.is_empty());
        assert!(causes.iter().all(|cause| ["field", "reason", "message"].iter().all(|key| cause[key].is_string())));
        assert!(response["patch"].is_null(), "{response}");
    }
    let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
    let warnings: Vec<&str> = warnings.iter().map(|warning| warning.as_str().expect("a text")).collect();
    assert!(warnings.iter().all(|warning| !warning.is_empty() && !warning.contains(char::is_control)), "{warnings:?}");
    assert!(warnings.iter().map(|warning| warning.len()).sum::<usize>() <= LONGEST_WARNINGS, "{warnings:?}");
    // The answer repeats uid and name, however long the one who asks has made them.
    let repeated = [&asked["request"]["uid"], &asked["request"]["kind"]].map(|value| value.to_string().len());
    let length = text.len() - repeated.iter().sum::<usize>().min(text.len());
    assert!(length <= LONGEST_ANSWER, "{length} bytes: {:.2000}", text);
}

/// Where each node of a document is, as JSON pointers.
pub fn pointers(document: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    walk(element, &format!("{at}/{index}"), found);
                }
            }
            Value::Object(fields) => {
                for (name, field) in fields {
                    walk(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

/// Values of every type, and such as are known to be hard.
pub fn odd_values() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "a",
        "true",
        "0",
        "-",
        "..",
        "a/b",
        "a~1b",
        "%2e%2e",
        "$(X)",
        "$$",
        "\n",
        "a\u{0}b",
        "\u{feff}",
        "é",
        "\u{1f980}",
        "v1",
        "v2",
        "data",
        "orders",
        "standard",
        "sql-server",
        "CREATE",
        "UPDATE",
        "DELETE",
        "CONNECT",
        "status",
        "* * * * *",
        "@every 1s",
        "TZ=UTC * * * * *",
        "Always",
        "100m",
        "1e3Gi",
        "2025-01-01T00:00:00Z",
        "STREAMCONTEXT__SPEC",
        "StreamClass",
        "StreamingJobTemplate",
        "BackfillRequest",
        "SqlServerStream",
        "helm",
        "streaming.sneaksanddata.com",
        "streaming.sneaksanddata.com/v1",
        "k8s.io",
        "#/$defs/a",
        "^(a+)+$",
        "(",
    ];
    let mut values: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
    values.push(json!("x".repeat(300)));
    values.extend([json!(null), json!(true), json!(false), json!(0), json!(-1), json!(1.5), json!(1e300)]);
    values.extend([json!(i64::MIN), json!(u64::MAX), json!([]), json!({}), json!([[]]), json!([{}]), json!([null])]);
    values.extend([json!({"": null}), json!({"name": "standard"}), json!({"name": "standard", "namespace": "shared"})]);
    values.push(json!({"a/b~c": {"\n": [1]}}));
    values
}

/// Changes a document in one place; `choose` gives a number below its argument.
pub fn edit(document: &mut Value, choose: &mut impl FnMut(usize) -> usize) {
    let places = pointers(document);
    let place = &places[choose(places.len())];
    let other = document.pointer(&places[choose(places.len())]).cloned().unwrap_or_default();
    let odd = odd_values();
    let odd = odd[choose(odd.len())].clone();
    let Some(target) = document.pointer_mut(place) else { return };
    match choose(8) {
        0..=2 => *target = odd,
        3 => *target = other,
        4 => *target = Value::Array(vec![target.take(); choose(4)]),
        5 => *target = json!({"spec": target.take()}),
        _ => edit_within(target, odd, other, choose),
    }
}

fn edit_within(target: &mut Value, odd: Value, other: Value, choose: &mut impl FnMut(usize) -> usize) {
    match target {
        Value::Object(fields) => {
            let name = fields.keys().nth(choose(fields.len().max(1))).cloned().unwrap_or_default();
            match choose(4) {
                0 => {
                    fields.remove(&name);
                }
                1 => rename(fields, &name, odd.as_str().unwrap_or("name")),
                2 => {
                    fields.insert(name, other);
                }
                _ => {
                    fields.insert(format!("{name}x"), other);
                }
            }
        }
        Value::Array(elements) => match choose(3) {
            0 => elements.clear(),
            1 => elements.push(other),
            _ => {
                let element = elements.first().cloned().unwrap_or(odd);
                elements.extend(vec![element; choose(40)]);
            }
        },
        Value::String(text) => {
            let mut cut = choose(text.len() + 1);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            match choose(3) {
                0 => text.truncate(cut),
                1 => text.insert_str(cut, odd.as_str().unwrap_or("\"")),
                _ => *text = text.repeat(choose(4)),
            }
        }
        other => *other = odd,
    }
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}
