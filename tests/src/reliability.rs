//! The table in `docs/reliability.md`, written by the runs themselves.

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
const BEGIN: &str = "<!-- written by the runs: begin -->\n";
const END: &str = "<!-- written by the runs: end -->";

/// How often something was tried, and how often it went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often it was tried.
    pub runs: usize,
    /// How often a rule was broken, or the end was another.
    pub violations: usize,
}

/// Writes the row of a test, and which share of all there is has been run; only where `ARCANE_RECORD` is set.
///
/// # Panics
/// When there is no such table.
pub fn record(test: &str, share: &str, counted: &Counted) {
    if std::env::var_os("ARCANE_RECORD").is_none() {
        return;
    }
    let page = std::fs::read_to_string(PAGE).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let page =
        with_row(&page, test, &format!("| {test} | {} ({share}) | {} | {today} |", counted.runs, counted.violations));
    std::fs::write(PAGE, page).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
}

/// The page with this row, in place of one of the same test, or else at the end of the table.
fn with_row(page: &str, test: &str, row: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} lacks the line {BEGIN}"));
    let (table, after) = rest.split_once(END).unwrap_or_else(|| panic!("{PAGE} lacks the line {END}"));
    let mut lines: Vec<&str> = table.lines().collect();
    match lines.iter_mut().find(|line| line.starts_with(&format!("| {test} |"))) {
        Some(line) => *line = row,
        None => lines.push(row),
    }
    format!("{before}{BEGIN}{}\n{END}{after}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_added_or_replaced() {
        let page = format!("a\n{BEGIN}| test | runs |\n| --- | --- |\n{END}\nb\n");
        let page = with_row(&page, "x", "| x | 1 |");
        let page = with_row(&page, "x y", "| x y | 2 |");
        let page = with_row(&page, "x", "| x | 3 |");
        assert_eq!(page, format!("a\n{BEGIN}| test | runs |\n| --- | --- |\n| x | 3 |\n| x y | 2 |\n{END}\nb\n"));
    }
}
