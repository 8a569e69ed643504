//! Writes the table of values into the chart's README: `make generate`.

use arcane_tests::chart_readme::{table, with_table};
use arcane_tests::fixture::repository;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chart = repository().join("charts/arcane-operator");
    let readme = chart.join("README.md");
    let table = table(&std::fs::read_to_string(chart.join("values.yaml"))?)?;
    let written = with_table(&std::fs::read_to_string(&readme)?, &table)?;
    std::fs::write(readme, written)?;
    Ok(())
}
