//! Deletions: never refused, but told where something is in use.

use arcane_common::api::well_known;

use super::{Request, Verdict};

/// How many names a message may list.
const MAX_NAMES: usize = 5;

/// What was found out about a template or class that is to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The streams that use it and are left without one.
    pub users: Vec<String>,
    /// The class that looks after streams of the kind from then on.
    pub successor: Option<String>,
    /// The streams that go over to that class.
    pub moving: Vec<String>,
    /// Whether there may be more of them.
    pub is_cut_short: bool,
}

/// Judges the deletion of a template or class.
pub fn judge(request: &Request, observed: &Observed) -> Verdict {
    let Observed { users, successor, moving, is_cut_short } = observed;
    let mut verdict = Verdict::allow();
    let name = if request.namespace.is_empty() {
        request.name.clone()
    } else {
        format!("{}/{}", request.namespace, request.name)
    };
    let kind = &request.kind.kind;
    if !users.is_empty() {
        let consequence = match (kind.as_str(), successor) {
            ("StreamClass", None) => "their Jobs go on, but nothing looks after them".to_owned(),
            ("StreamClass", Some(_)) => format!(
                "their Jobs go on, but nothing looks after them until their label {} names another",
                well_known::LABEL_STREAM_CLASS
            ),
            _ => "they can't start a Job without it".to_owned(),
        };
        verdict.warn(format!("{kind} {name} is used by {}: {consequence}", listed_so_far(users, *is_cut_short)));
    }
    if let Some(successor) = successor.as_ref().filter(|_| !moving.is_empty()) {
        let moving = listed_so_far(moving, *is_cut_short);
        verdict.warn(format!("{kind} {name} is used by {moving}: {kind} {successor} looks after them from then on"));
    }
    if *is_cut_short && users.is_empty() && moving.is_empty() {
        verdict.warn(format!("{kind} {name} may be in use: {NOT_ALL}"));
    }
    verdict
}

const NOT_ALL: &str = "not all streams could be looked at in time";

/// A few names, and how many there are besides, as far as that is known.
pub(super) fn listed_so_far(names: &[String], is_cut_short: bool) -> String {
    let listed = listed(names);
    if is_cut_short { format!("{listed}, maybe others ({NOT_ALL})") } else { listed }
}

/// A few names, and how many there are besides.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
