//! Deletions: never refused, but told where something is in use.

use super::{Request, Verdict};

/// How many names a message may list.
const MAX_NAMES: usize = 5;

/// Judges the deletion of a template or class that these streams use.
pub fn judge(request: &Request, users: &[String]) -> Verdict {
    let mut verdict = Verdict::allow();
    if !users.is_empty() {
        let name = if request.namespace.is_empty() {
            request.name.clone()
        } else {
            format!("{}/{}", request.namespace, request.name)
        };
        let consequence = if request.kind.kind == "StreamClass" {
            "their Jobs go on, but nothing looks after them"
        } else {
            "they can't start a Job without it"
        };
        verdict.warn(format!("{} {name} is used by {}: {consequence}", request.kind.kind, listed(users)));
    }
    verdict
}

/// A few names, and how many there are besides.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
