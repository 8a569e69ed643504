//! Writes into `docs/reliability.md` how often fuzzing has tried something, as its logs say: `make fuzz`. A run that finds
//! something fails, and doesn't get here.

use std::path::PathBuf;

use arcane_tests::reliability::{self, Counted};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for log in std::env::args().skip(1).map(PathBuf::from) {
        let target = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&log)?;
        let said = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let runs = said.ok_or_else(|| format!("{}: no run has ended there", log.display()))?.trim().parse()?;
        let counted = Counted { runs, violations: 0 };
        reliability::record(&format!("fuzzing, {target}"), "at random, led by coverage", &counted);
    }
    Ok(())
}
