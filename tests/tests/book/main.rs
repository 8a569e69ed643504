//! The book in `docs`: its pages are found, its links lead somewhere, its examples are valid, and its reference is what the code
//! makes of it. Nothing here needs a control plane, or mdbook.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod examples;
mod links;
mod markdown;
mod reasons;
mod reference;
mod sources;
mod tables;

use std::path::Path;

use arcane_tests::fixture::repository;

/// The pages that are written for this book, not for anything else: what they show is checked closely.
const CHAPTERS: [&str; 7] = [
    "docs/README.md",
    "docs/five-minutes.md",
    "docs/concepts.md",
    "docs/plugins.md",
    "docs/operations.md",
    "docs/troubleshooting.md",
    "docs/faq.md",
];

/// All files below a directory of the repository with this ending, by their paths in it.
fn files(directory: &str, ending: &str) -> Vec<String> {
    fn add(directory: &Path, ending: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                let of_repository = path.strip_prefix(repository()).unwrap();
                found.push(of_repository.to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    add(&repository().join(directory), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no file {ending} in {directory}");
    found
}
