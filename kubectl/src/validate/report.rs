//! Findings, printed.

mod junit;
mod sarif;

use serde_json::json;

use super::{Finding, Level, Object, Place};
use crate::args::Report;

/// Prints findings about what was judged.
pub fn print(format: Report, findings: &[Finding], judged: &[(Place, Object)], passed_over: usize) -> String {
    match format {
        Report::Text => text(findings, judged.len(), passed_over),
        Report::Json => pretty(&json!({"judged": judged.len(), "passedOver": passed_over, "findings": findings})),
        Report::Sarif => pretty(&sarif::of(findings)),
        Report::Junit => junit::of(findings, judged),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn text(findings: &[Finding], judged: usize, passed_over: usize) -> String {
    let mut text = String::new();
    let mut last = None;
    for finding in findings {
        let about = (&finding.place, &finding.object);
        if last != Some(about) {
            let object = finding.object.as_ref().map(|object| format!(": {object}")).unwrap_or_default();
            text.push_str(&format!("{}{object}\n", finding.place));
            last = Some(about);
        }
        text.push_str(&format!("  {}: {}\n", finding.level.as_str(), finding.message));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let number = |level| findings.iter().filter(|finding| finding.level == level).count();
    let counted = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let mut found: Vec<String> = Vec::new();
    for (level, one, many) in [
        (Level::Error, "error", "errors"),
        (Level::Unknown, "can't be told", "can't be told"),
        (Level::Warning, "warning", "warnings"),
    ] {
        if number(level) > 0 {
            found.push(counted(number(level), one, many));
        }
    }
    let found = if found.is_empty() { "nothing wrong".to_owned() } else { found.join(", ") };
    let others = match passed_over {
        0 => String::new(),
        count => format!(" ({} of Arcane's)", counted(count, "other is none", "others are none")),
    };
    text.push_str(&format!("{} judged{others}: {found}\n", counted(judged, "object", "objects")));
    text
}
