//! The pages of `docs/reference`, made from the code. `ARCANE_DRAW=1` (`make generate`) writes them.

mod flags;
mod kinds;
mod labels;
mod metrics;
mod reasons;

use arcane_tests::fixture::repository;

const MADE: &str = "<!-- Made from the code by `make generate`. Don't edit. -->\n\n";

#[test]
fn the_reference_says_what_the_code_does() {
    let pages = [
        ("kinds.md", kinds::page()),
        ("labels.md", labels::page()),
        ("reasons.md", reasons::page()),
        ("metrics.md", metrics::page()),
        ("flags.md", flags::page()),
    ];
    let directory = repository().join("docs/reference");
    let mut there: Vec<String> = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let is_to_be_written = std::env::var_os("ARCANE_DRAW").is_some();
    for (name, page) in &pages {
        let (path, page) = (directory.join(name), format!("{MADE}{page}"));
        if is_to_be_written {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(path, page).unwrap();
        } else {
            let stands = std::fs::read_to_string(path).unwrap_or_default();
            assert!(stands == page, "docs/reference/{name} is not as the code makes it: run \"make generate\"");
        }
    }
    let mut made: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
    made.sort_unstable();
    assert!(is_to_be_written || there == made, "docs/reference holds {there:?}");
}
