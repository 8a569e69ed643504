//! What came of the cells, kept in a file so that a long run can be ended and taken up again: the results of other binaries don't
//! count.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arcane_tests::controller_binary;
use arcane_tests::reliability::Counted;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Told;
use super::cell::Happens;
use crate::story::Story;

/// Which controller, and which tests.
fn binaries() -> String {
    let tests = std::env::current_exe().ok();
    let files = controller_binary().ok().into_iter().chain(tests);
    files.map(|file| hash_of(&file)).collect::<Vec<_>>().join("-")
}

/// A few digits that tell one binary from another.
fn hash_of(binary: &Path) -> String {
    let bytes = std::fs::read(binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What came of one cell.
#[derive(Clone, Copy, Default)]
struct Came {
    happened: bool,
    /// Whether all was as it should be, the last time.
    kept: bool,
    /// How often it was not.
    breaches: usize,
    seconds: f64,
}

pub struct Results {
    binaries: String,
    file: Option<PathBuf>,
    by_cell: BTreeMap<String, Came>,
    this_run: usize,
}

impl Results {
    /// Those of earlier runs of the same binaries, to which these are added.
    pub fn so_far() -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults-results.jsonl");
        let mut results = Self { binaries: binaries(), file: Some(file.clone()), ..Self::of_now() };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if line["binaries"] == results.binaries.as_str()
                && let Some(cell) = line["cell"].as_str()
            {
                let seconds = line["seconds"].as_f64().unwrap_or_default();
                results.came(cell, line["happened"] == true, line["kept"] == true, seconds);
            }
        }
        results
    }

    /// Those of this run alone.
    pub fn of_now() -> Self {
        Self { binaries: String::new(), file: None, by_cell: BTreeMap::new(), this_run: 0 }
    }

    /// Whether a cell is done with: what broke a rule is tried again, and stays counted.
    pub fn has(&self, cell: &str) -> bool {
        self.by_cell.get(cell).is_some_and(|came| came.kept)
    }

    fn came(&mut self, cell: &str, happened: bool, kept: bool, seconds: f64) {
        let came = self.by_cell.entry(cell.to_owned()).or_default();
        *came = Came { happened, kept, seconds, breaches: came.breaches + usize::from(!kept) };
    }

    pub fn add(&mut self, cell: &str, told: &Told) {
        let (happened, kept, seconds, why) = match told {
            Told::Kept(took) => (true, true, took.as_secs_f64(), ""),
            Told::Nothing => (false, true, 0.0, ""),
            Told::Breach(why) => (true, false, 0.0, why.as_str()),
        };
        self.came(cell, happened, kept, seconds);
        self.this_run += 1;
        let Some(file) = &self.file else { return };
        let line = json!({
            "binaries": self.binaries, "cell": cell, "happened": happened, "kept": kept, "seconds": seconds, "why": why,
        });
        let open = std::fs::OpenOptions::new().create(true).append(true).open(file);
        if let Err(error) = open.and_then(|mut file| writeln!(file, "{line}")) {
            crate::say(&format!("the result of {cell} can't be kept: {error}"));
        }
    }

    pub fn of_this_run(&self) -> usize {
        self.this_run
    }

    pub fn did_not_happen(&self) -> usize {
        self.by_cell.values().filter(|came| !came.happened).count()
    }

    pub fn median_time(&self) -> String {
        let mut times: Vec<f64> = self.by_cell.values().map(|came| came.seconds).filter(|took| *took > 0.0).collect();
        times.sort_by(f64::total_cmp);
        format!("{:.1?}", Duration::from_secs_f64(times.get(times.len() / 2).copied().unwrap_or_default()))
    }

    /// The runs of a story by kind of fault.
    pub fn counted(&self, story: Story, kind_of: impl Fn(&str) -> Option<Happens>) -> BTreeMap<&'static str, Counted> {
        let mut counted: BTreeMap<&'static str, Counted> = BTreeMap::new();
        let of_story = format!("{story}/");
        let happened = self.by_cell.iter().filter(|(cell, came)| cell.starts_with(&of_story) && came.happened);
        for (cell, came) in happened {
            let Some(happens) = kind_of(cell) else { continue };
            let entry = counted.entry(happens.kind()).or_default();
            entry.runs += 1;
            entry.violations += came.breaches;
        }
        counted
    }
}
