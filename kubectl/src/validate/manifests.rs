//! From files to objects, each with its place.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Finding, Level, Place, is_manifest};
use crate::ending::Ending;

/// An object, and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Where.
    pub place: Place,
    /// What stands there.
    pub object: Value,
}

/// The files that are meant, and what stands in them.
///
/// # Errors
/// When one can't be read, or a directory holds none.
pub fn read(files: &[String], recursive: bool) -> Result<Vec<(String, String)>, Ending> {
    let unreadable =
        |path: &Path, error: std::io::Error| Ending::Usage(format!("can't read {}: {error}", path.display()));
    let mut texts = Vec::new();
    for file in files {
        if file == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(Path::new("stdin"), error))?;
            texts.push((file.clone(), text));
            continue;
        }
        let path = Path::new(file);
        let found = if path.is_dir() {
            let found = within(path, recursive).map_err(|error| unreadable(path, error))?;
            if found.is_empty() {
                let hint = if recursive { "" } else { "; -R looks into directories below" };
                return Err(Ending::Usage(format!("no .yaml, .yml or .json files in {}{hint}", path.display())));
            }
            found
        } else {
            vec![path.to_owned()]
        };
        for path in found {
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            texts.push((path.display().to_string(), text));
        }
    }
    Ok(texts)
}

fn within(directory: &Path, recursive: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        // A link to a directory above would lead round in circles.
        if path.is_dir() {
            if recursive && !path.is_symlink() {
                files.extend(within(&path, recursive)?);
            }
        } else if is_manifest(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The objects in a text of YAML or JSON, and what can't be read of it.
pub fn parse(file: &str, text: &str) -> (Vec<Manifest>, Vec<Finding>) {
    let (mut manifests, mut findings) = (Vec::new(), Vec::new());
    let mut document = 0;
    for (line, chunk) in documents(text) {
        if chunk.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        document += 1;
        let place = Place { file: file.to_owned(), document, line };
        match serde_saphyr::from_str::<Value>(&chunk) {
            Ok(Value::Null) => {}
            Ok(object) => flatten(object, &place, &mut manifests, &mut findings),
            Err(error) => {
                let within = error.location().map_or(1, |location| location.line());
                let line = line + usize::try_from(within).unwrap_or(1).saturating_sub(1);
                let words = error.to_string();
                findings.push(unreadable(Place { line, ..place }, &format!("no YAML: {}", in_a_line(&words))));
            }
        }
    }
    (manifests, findings)
}

/// The documents of a YAML text, each with the line where it begins. A line that begins with `---` is never part of one.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (number, line) in text.lines().enumerate() {
        let is_marker = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        match documents.last_mut() {
            // What may stand behind the marker is a comment, or the beginning of the document.
            _ if is_marker => documents.push((number + 2, format!("{}\n", line.get(3..).unwrap_or_default()))),
            Some((_, document)) => {
                document.push_str(line);
                document.push('\n');
            }
            None => {}
        }
    }
    documents
}

/// A list is its items.
fn flatten(object: Value, place: &Place, manifests: &mut Vec<Manifest>, findings: &mut Vec<Finding>) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("kind").ends_with("List")
        && let Some(items) = object.get("items").and_then(Value::as_array)
    {
        for item in items.clone() {
            flatten(item, place, manifests, findings);
        }
        return;
    }
    let missing: Vec<&str> = ["apiVersion", "kind"].into_iter().filter(|field| text(field).is_empty()).collect();
    if missing.is_empty() {
        manifests.push(Manifest { place: place.clone(), object });
    } else {
        findings
            .push(unreadable(place.clone(), &format!("no Kubernetes object: it has no {}", missing.join(" and no "))));
    }
}

fn unreadable(place: Place, message: &str) -> Finding {
    let message = message.to_owned();
    Finding { level: Level::Error, place, object: None, field: String::new(), rule: "Unreadable", message }
}

/// Its words without the place, which is that within the document.
fn in_a_line(words: &str) -> &str {
    let words = words.lines().next().unwrap_or_default();
    let words = words.split_once(": while ").map_or(words, |(_, words)| words);
    words.split(" at line ").next().unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_has_its_number_and_line() {
        let text = "# the first\n---\nkind: A\napiVersion: v1\n---\n# nothing\n---  # the third\nkind: B\napiVersion: v1\n\
                    text: |\n  ---\n  not a marker\n";
        let (manifests, findings) = parse("f.yaml", text);
        assert_eq!(findings, []);
        let places: Vec<String> = manifests.iter().map(|it| format!("{} {}", it.object["kind"], it.place)).collect();
        assert_eq!(places, ["\"A\" f.yaml:3 (document 1)", "\"B\" f.yaml:8 (document 2)"]);
        assert_eq!(manifests[1].object["text"], "---\nnot a marker\n");
    }

    #[test]
    fn what_cannot_be_read_is_a_finding_and_the_rest_is_read() {
        let (manifests, findings) = parse("f.yaml", "a: [\n---\nkind: A\n---\nkind: B\napiVersion: v1\n");
        assert_eq!(manifests.len(), 1);
        let said: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert!(
            said[0].starts_with("no YAML: ") && said[1] == "no Kubernetes object: it has no apiVersion",
            "{said:?}"
        );
    }

    #[test]
    fn json_and_lists_are_read() {
        let list = r#"{"kind": "List", "apiVersion": "v1", "items": [{"kind": "A", "apiVersion": "v1"}, {"kind": "B", "apiVersion": "v1"}]}"#;
        assert_eq!(parse("f.json", list).0.len(), 2);
    }
}
