//! Labels, annotations, and the environment of a stream's containers: the constants of the code, with their comments.

use std::collections::BTreeSet;

use arcane_common::api::well_known;
use arcane_tests::fixture::repository_file;

use crate::{
    files, sources,
    tables::{code, table},
};

/// Where such constants are declared.
const DECLARED_IN: [&str; 3] =
    ["common/src/api/well_known.rs", "controller/src/facts/stream.rs", "kubectl/src/downtime.rs"];

struct Key {
    name: String,
    value: String,
    of: String,
    said: String,
}

fn keys() -> Vec<Key> {
    let constants = DECLARED_IN.iter().flat_map(|file| sources::constants(&repository_file(file)));
    constants
        .map(|(comment, name, value)| {
            // "Label of Jobs and pods: what it is", "On a ClusterRole: what it is", or only what it is.
            let (of, said) = comment.split_once(": ").unwrap_or(("", &comment));
            let of = ["Label of ", "Annotation of ", "Environment variable of ", "On "]
                .iter()
                .find_map(|begin| of.strip_prefix(begin))
                .unwrap_or_default();
            let said = if of.is_empty() { &comment } else { said };
            Key { name, value, of: of.to_owned(), said: said.to_owned() }
        })
        .collect()
}

fn rows(keys: &[Key], wanted: impl Fn(&Key) -> bool) -> Vec<[String; 3]> {
    let found = keys.iter().filter(|key| wanted(key));
    found.map(|key| [code(&key.value), key.of.clone(), without_links(&key.said)]).collect()
}

/// Rust's links mean nothing here.
fn without_links(said: &str) -> String {
    said.replace("[`", "`").replace("`]", "`")
}

fn is_annotation(key: &Key) -> bool {
    key.name.contains("ANNOTATION") || key.name == "BEGAN"
}

fn is_label(key: &Key) -> bool {
    key.name.starts_with("LABEL")
}

pub fn page() -> String {
    let keys = keys();
    let mut page = "# Labels, annotations, environment\n\n\
        What a template sets under `arcane/`, `streamId` or `configuration-hash` isn't taken over: on Jobs, and in the labels of \
        pods, these are Arcane's own.\n\n## Labels\n\n"
        .to_owned();
    let head = ["label", "of", "what it is"];
    page += &table(head, rows(&keys, is_label));
    page += "\n## Annotations\n\n";
    page += &table(["annotation", "of", "what it is"], rows(&keys, is_annotation));
    page += "\n## Environment of a stream's containers\n\n\
        Set in every container, init containers among them, in the place of what a template says under these names. A value is what \
        stands here: where it holds `$(` or `$$`, dollars are doubled in the Job, and the kubelet makes them single again.\n\n";
    let variables = rows(&keys, |key| key.name.starts_with("ENV_") && key.name != "ENV_PREFIX");
    page += &table(["variable", "of", "what it is"], variables);
    page += &format!(
        "\nA template that sets a variable which begins with `{}` is refused. Besides these each name in the class's \
         `secretRefs` brings variables: see [Writing a plugin](../plugins.md#secrets).\n",
        well_known::ENV_PREFIX
    );
    page
}

#[test]
fn every_key_of_ours_in_the_code_is_on_the_page() {
    let page = page();
    let mut missing = BTreeSet::new();
    for part in ["common", "controller", "webhook", "process", "kubectl", "certs"] {
        let sources = files(&format!("{part}/src"), ".rs")
            .into_iter()
            .filter(|file| !file.ends_with("samples.rs") && !file.ends_with("tests.rs"));
        for text in sources.flat_map(|file| sources::literals(&repository_file(&file))) {
            let name = text.strip_prefix("arcane/").or_else(|| text.strip_prefix("arcane.sneaksanddata.com/"));
            let is_key = name
                .is_some_and(|name| !name.is_empty() && name.chars().all(|it| it.is_ascii_lowercase() || it == '-'));
            let is_variable = text.starts_with("STREAMCONTEXT") && !text.ends_with('_') && !text.contains(' ');
            if (is_key || is_variable) && !page.contains(&format!("`{text}`")) {
                missing.insert(text);
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/reference/labels.md: {missing:?}; is their constant in {DECLARED_IN:?}?");
}
