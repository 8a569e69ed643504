//! The manifests of the stand-ins, as they are in `examples/plugins` but for the namespace.

use crate::fixture::repository_file;
use serde_json::{Value, json};

/// The file of a directory that is applied first: CustomResourceDefinitions.
pub const KINDS: &str = "1-kinds.yaml";
/// The second: what the plugin's chart brings.
pub const CHART: &str = "2-chart.yaml";
/// The third: what a user writes.
pub const STREAMS: &str = "3-streams.yaml";

/// The namespace in the examples.
pub const NAMESPACE: &str = "data-streaming";

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// As it is written.
    pub text: String,
    /// What it says.
    pub value: Value,
}

impl Manifest {
    /// Whether it is the object of this kind and name.
    pub fn is(&self, kind: &str, name: &str) -> bool {
        self.value["kind"] == kind && self.value["metadata"]["name"] == name
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// The same with this laid over it, under another name.
    pub fn changed(&self, name: &str, over: &Value) -> Self {
        let mut value = self.value.clone();
        lay_over(&mut value, over);
        value["metadata"]["name"] = json!(name);
        Self { text: value.to_string(), value }
    }
}

/// Unlike a merge patch it leaves a null where one is said.
fn lay_over(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(fields), Value::Object(over)) => {
            for (name, over) in over {
                lay_over(fields.entry(name).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over.clone(),
    }
}

/// The objects of a file, with another namespace in place of the examples' own.
pub fn manifests(directory: &str, file: &str, namespace: &str) -> Vec<Manifest> {
    let text = repository_file(&format!("examples/plugins/{directory}/{file}")).replace(NAMESPACE, namespace);
    let one = |text: &str| Manifest {
        value: serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{directory}/{file}: {error}\n{text}")),
        text: text.to_owned(),
    };
    text.split("\n---\n").map(one).collect()
}

/// The one object of a directory with this kind and name.
pub fn manifest(directory: &str, file: &str, namespace: &str, kind: &str, name: &str) -> Manifest {
    let found = manifests(directory, file, namespace).into_iter().find(|manifest| manifest.is(kind, name));
    found.unwrap_or_else(|| panic!("{directory}/{file} has no {kind} {name}"))
}

/// All of them as one text.
pub fn text_of<'m>(manifests: impl IntoIterator<Item = &'m Manifest>) -> String {
    manifests.into_iter().map(|manifest| manifest.text.as_str()).collect::<Vec<_>>().join("\n---\n")
}
