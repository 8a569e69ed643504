//! The fields of our kinds, from their definitions.

use arcane_common::api::crds;
use serde_json::{Map, Value};

use crate::tables::{code, table};

pub fn page() -> String {
    let mut page = "# Kinds and their fields\n\n\
        All are of the group `streaming.sneaksanddata.com`; `kubectl explain` tells the same of the cluster that you are \
        connected to. The kinds of streams are brought by plugins: [Writing a plugin](../plugins.md) says what Arcane reads of them.\n"
        .to_owned();
    for crd in crds() {
        let crd = serde_json::to_value(&crd).unwrap();
        let spec = &crd["spec"];
        let (names, versions) = (&spec["names"], spec["versions"].as_array().unwrap());
        let stored = versions.iter().find(|version| version["storage"] == true).unwrap();
        let schema = &stored["schema"]["openAPIV3Schema"];
        page += &format!("\n## {}\n\n{}\n\n", text(&names["kind"]), text(&schema["description"]));
        let served = versions.iter().map(|version| code(text(&version["name"]))).collect::<Vec<_>>().join(", ");
        let columns = listed(&stored["additionalPrinterColumns"], "name");
        let selectable = listed(&stored["selectableFields"], "jsonPath");
        let rows = [
            ("scope", text(&spec["scope"]).to_owned()),
            ("versions", served),
            ("names", format!("{}, {}", code(text(&names["plural"])), words(&names["shortNames"]))),
            ("category", words(&names["categories"])),
            ("columns of `kubectl get` (some with `-o wide`)", columns),
            ("fields that `--field-selector` knows", selectable),
        ];
        let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
        page += &table(["", ""], rows.map(|(name, value)| [name.to_owned(), value]));
        for part in ["spec", "status"] {
            let mut rows = Vec::new();
            add(part, &schema["properties"][part], false, &mut rows);
            page += &format!("\n### {}: {part}\n\n", text(&names["kind"]));
            page += &table(["field", "type", "what it is"], rows);
        }
    }
    page
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(list: &Value) -> String {
    list.as_array().into_iter().flatten().map(|word| code(text(word))).collect::<Vec<_>>().join(", ")
}

fn listed(list: &Value, field: &str) -> String {
    list.as_array().into_iter().flatten().map(|entry| text(&entry[field])).collect::<Vec<_>>().join(", ")
}

/// A row for a field and each one below it.
fn add(path: &str, schema: &Value, required: bool, rows: &mut Vec<[String; 3]>) {
    rows.push([code(path), type_of(schema, required), said_of(schema)]);
    below(path, schema, rows);
}

fn below(path: &str, schema: &Value, rows: &mut Vec<[String; 3]>) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in properties {
        add(&format!("{path}.{name}"), field, required.contains(&name.as_str()), rows);
    }
    if schema["items"].is_object() {
        below(&format!("{path}[]"), &schema["items"], rows);
    }
}

fn type_of(schema: &Value, required: bool) -> String {
    let of = |schema: &Value| match text(&schema["type"]) {
        "" if schema["x-kubernetes-int-or-string"] == true => "integer or string".to_owned(),
        "" => "any".to_owned(),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", text(&schema["additionalProperties"]["type"]))
        }
        known => known.to_owned(),
    };
    let type_ = match text(&schema["type"]) {
        "array" => format!("list of {}", of(&schema["items"])),
        _ => of(schema),
    };
    if required { format!("{type_}, required") } else { type_ }
}

fn said_of(schema: &Value) -> String {
    let mut said = text(&schema["description"]).to_owned();
    let mut add = |more: String| {
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(&more);
    };
    if let Some(choices) = schema["enum"].as_array() {
        add(format!(
            "One of {}.",
            choices.iter().map(|word| format!("`{}`", text(word))).collect::<Vec<_>>().join(", ")
        ));
    }
    if !schema["default"].is_null() {
        add(format!("Default: `{}`.", schema["default"]));
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        add(format!("Checked: {}.", text(&rule["message"])));
    }
    said
}
