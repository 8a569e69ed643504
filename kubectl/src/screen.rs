//! How things look on a terminal: tables, times, trees.

use jiff::Timestamp;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::args::Format;

/// A table as kubectl prints it: columns as wide as they have to be, three spaces between.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 3));
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// How long ago something was, as kubectl has it; `-` where that isn't known.
pub fn ago(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or_else(|| "-".to_owned(), |since| duration(now.duration_since(since).as_secs()))
}

/// Seconds for people: the two largest units at most.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |large: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{rest}{small}") }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => with(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

/// A time to the second; `-` where it isn't known.
pub fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Something for machines.
pub fn for_machines(value: &impl Serialize, format: Format) -> String {
    let written = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|error| error.to_string()),
        Format::Json | Format::Wide => serde_json::to_string_pretty(value).map_err(|error| error.to_string()),
    };
    // What is printed is made of texts, numbers and maps; both can hold that.
    written.unwrap_or_else(|error| format!("can't be printed: {error}"))
}

/// A thing and what hangs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// The thing, in cells that are lined up with those of its siblings.
    pub cells: Vec<String>,
    /// What hangs on it.
    pub below: Vec<Self>,
}

impl Branch {
    /// A thing on which nothing hangs.
    pub fn leaf(cells: impl IntoIterator<Item = String>) -> Self {
        Self { cells: cells.into_iter().collect(), below: Vec::new() }
    }
}

/// A tree, its root apart.
pub fn tree(root: &str, branches: &[Branch]) -> String {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    climb(branches, "", &mut lines);
    let width = |lines: &[(String, Vec<String>)], column: usize| {
        let cell = |(lead, cells): &(String, Vec<String>)| {
            let lead = if column == 0 { lead.width() } else { 0 };
            // The last cell of a line makes no column.
            (cells.len() > column + 1).then(|| cells.get(column).map_or(0, |cell| cell.width() + lead))
        };
        lines.iter().filter_map(cell).max().unwrap_or(0)
    };
    let most = lines.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..most).map(|column| width(&lines, column)).collect();
    let mut text = format!("{root}\n");
    for (lead, cells) in &lines {
        let mut line = lead.clone();
        for (column, cell) in cells.iter().enumerate() {
            line.push_str(cell);
            let used = cell.width() + if column == 0 { lead.width() } else { 0 };
            line.push_str(&" ".repeat(widths[column].saturating_sub(used) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn climb(branches: &[Branch], lead: &str, lines: &mut Vec<(String, Vec<String>)>) {
    for (index, branch) in branches.iter().enumerate() {
        let is_last = index + 1 == branches.len();
        lines.push((format!("{lead}{}", if is_last { "└─ " } else { "├─ " }), branch.cells.clone()));
        climb(&branch.below, &format!("{lead}{}", if is_last { "   " } else { "│  " }), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<String> {
        text.split('|').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let text = table(&["NAME", "PHASE"], &[cells("orders|Running"), cells("größe|-"), cells("数据流|Failed")]);
        insta::assert_snapshot!(text, @r"
        NAME     PHASE
        orders   Running
        größe    -
        数据流   Failed
        ");
    }

    #[test]
    fn a_duration_has_two_units_at_most() {
        let all = [0, 119, 120, 130, 600, 7200, 10_800, 10_860, 90_000, 180_000, 800_000, -5];
        let said: Vec<String> = all.into_iter().map(duration).collect();
        assert_eq!(said.join(" "), "0s 119s 2m 2m10s 10m 120m 3h 3h1m 25h 2d2h 9d 0s");
    }

    #[test]
    fn a_tree_shows_what_hangs_on_what() {
        let pod = Branch::leaf(cells("pod|orders-abc|Running"));
        let job = Branch { cells: cells("Job|orders|1 ready"), below: vec![pod] };
        let text = tree("orders", &[Branch::leaf(cells("class|sql|Ready|a very long sentence")), job]);
        insta::assert_snapshot!(text, @r"
        orders
        ├─ class   sql         Ready  a very long sentence
        └─ Job     orders      1 ready
           └─ pod  orders-abc  Running
        ");
    }
}
