//! Each page is in the table of contents, and each link leads somewhere.

use std::collections::BTreeMap;

use arcane_tests::fixture::{repository, repository_file};

use crate::{files, markdown::Page};

const CONTENTS: &str = "docs/SUMMARY.md";

/// A path from the directory of a page, in the repository; `None` where it leaves that.
fn resolved(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn each_page_is_in_the_table_of_contents_once() {
    let contents = Page::read(&repository_file(CONTENTS));
    let mut named: Vec<String> = contents.links.iter().map(|link| resolved(CONTENTS, link).unwrap()).collect();
    named.sort();
    let pages: Vec<String> = files("docs", ".md").into_iter().filter(|page| page != CONTENTS).collect();
    assert_eq!(named, pages, "docs/SUMMARY.md against the files in docs");
}

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut texts = files("docs", ".md");
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    texts.extend(others.map(ToOwned::to_owned));
    texts.push("charts/arcane-operator/README.md".to_owned());
    let pages: BTreeMap<String, Page> =
        texts.into_iter().map(|name| (name.clone(), Page::read(&repository_file(&name)))).collect();
    let mut wrong = Vec::new();
    for (name, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').map_or((&**link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { Some(name.clone()) } else { resolved(name, path) };
            let is_there = target.as_ref().is_some_and(|target| repository().join(target).exists());
            let has_anchor = match (anchor, target.and_then(|target| pages.get(&target))) {
                (None, _) => true,
                (Some(anchor), Some(page)) => page.anchors.iter().any(|known| known == anchor),
                (Some(_), None) => false,
            };
            if !is_there || !has_anchor {
                wrong.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

/// `make book` lets what leaves the book lead into the repository, on pages that are directly in `docs`.
#[test]
fn no_page_below_docs_has_a_link_that_leaves_the_book() {
    for name in files("docs", ".md").into_iter().filter(|name| name.matches('/').count() > 1) {
        for link in Page::read(&repository_file(&name)).links.into_iter().filter(|link| !link.contains("://")) {
            let target = resolved(&name, link.split('#').next().unwrap_or_default());
            assert!(target.is_some_and(|target| target.starts_with("docs/")), "{name}: {link}");
        }
    }
}

#[test]
fn the_readme_names_the_first_page() {
    let readme = Page::read(&repository_file("README.md"));
    assert!(readme.links.iter().any(|link| link == "docs/README.md"));
}

#[test]
fn a_link_is_followed_from_the_directory_of_its_page() {
    assert_eq!(resolved("docs/a.md", "../README.md").as_deref(), Some("README.md"));
    assert_eq!(resolved("docs/reference/a.md", "../b.md").as_deref(), Some("docs/b.md"));
    assert_eq!(resolved("docs/a.md", "../../b.md"), None);
}
