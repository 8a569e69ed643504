//! SARIF 2.1.0, as code scanning reads it.

use serde_json::{Value, json};

use super::{Finding, Level};

/// What each rule is about.
const RULES: [(&str, &str); 11] = [
    ("CannotAsk", "Whether the object is right couldn't be found out."),
    ("Duplicate", "An object is there twice."),
    ("FieldValueDuplicate", "A value is there twice."),
    ("FieldValueForbidden", "A field can't be set here."),
    ("FieldValueInvalid", "A value can't be used."),
    ("FieldValueNotFound", "A reference leads nowhere."),
    ("FieldValueNotSupported", "A value is none of those that are known."),
    ("FieldValueRequired", "A field is missing."),
    ("FieldValueTooLong", "A value has no room where it is to go."),
    ("Unreadable", "A document is no Kubernetes object."),
    ("Warning", "The object is let in, with a warning."),
];

pub(super) fn of(findings: &[Finding]) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .filter(|(id, _)| findings.iter().any(|finding| finding.rule == *id))
        .map(|(id, text)| json!({"id": id, "shortDescription": {"text": text}}))
        .collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "kubectl-arcane", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let message = match &finding.object {
        Some(object) => format!("{object}: {}", finding.message),
        None => finding.message.clone(),
    };
    let mut location = json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&finding.place.file)},
        "region": {"startLine": finding.place.line},
    }});
    if let Some(object) = &finding.object {
        location["logicalLocations"] = json!([{"fullyQualifiedName": object.to_string(), "kind": "object"}]);
    }
    json!({
        "ruleId": finding.rule,
        "level": if finding.level == Level::Warning { "warning" } else { "error" },
        "message": {"text": message},
        "locations": [location],
    })
}

/// A path as part of a URI.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_becomes_part_of_a_uri() {
        assert_eq!(super::uri("./a b/ü.yaml"), "a%20b/%C3%BC.yaml");
    }
}
