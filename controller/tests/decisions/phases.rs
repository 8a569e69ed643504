//! The graph of phases in `docs/reliability.md`: drawn from the decisions about every situation, and compared with what is there.

use std::collections::{BTreeMap, BTreeSet};

use arcane_common::stream::Phase;
use arcane_controller::{
    reasons::{self, Of},
    stream::{Plan, action::Action, plan},
};

use crate::space;

/// The moves from phase to phase, each with the reasons that are given for it. No phase is that of a new stream.
pub type Moves = BTreeMap<(Option<Phase>, Phase), BTreeSet<String>>;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
const BEGIN: &str = "<!-- drawn from the code: begin -->\n";
const END: &str = "<!-- drawn from the code: end -->";

/// Adds what a plan moves.
pub fn add(moves: &mut Moves, from: Option<Phase>, plan: &Plan) {
    for action in &plan.actions {
        let (Action::WriteStatus(status) | Action::Announce(status)) = action else { continue };
        let Some(to) = status.phase.filter(|to| Some(*to) != from) else { continue };
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        let reasons = moves.entry((from, to)).or_default();
        reasons.extend(ready.map(|ready| ready.reason.clone()));
    }
}

/// Adds what the space leaves out: streams with a CronJob, or the wish for one, in phases that don't answer for it.
pub fn add_schedules(moves: &mut Moves) {
    space::scheduled::each_beginning(true, &mut |observed| {
        for phase in [Phase::Pending, Phase::Running] {
            let mut observed = observed.clone();
            observed.stream.recorded.phase = Some(phase);
            add(moves, Some(phase), &plan(&observed));
        }
    });
}

fn name(phase: Option<Phase>) -> &'static str {
    phase.map_or("New", Phase::as_str)
}

fn drawn(moves: &Moves) -> String {
    let mut page = "```mermaid\nstateDiagram-v2\n    [*] --> New\n".to_owned();
    for (from, to) in moves.keys() {
        page += &format!("    {} --> {to}\n", name(*from));
    }
    page += "```\n\n| from | to | with the reason |\n| --- | --- | --- |\n";
    for ((from, to), reasons) in moves {
        let reasons: Vec<String> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
        page += &format!("| `{}` | `{to}` | {} |\n", name(*from), reasons.join(", "));
    }
    page
}

/// `ARCANE_DRAW=1` writes it anew.
pub fn compare(moves: &Moves) {
    for reason in moves.values().flatten() {
        let is_explained = reasons::ALL.iter().any(|it| it.of == Of::Stream && it.word == reason);
        assert!(is_explained, "controller/src/reasons.rs says nothing of {reason}");
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (stands, after) = rest.split_once(END).unwrap();
    let drawn = drawn(moves);
    if std::env::var_os("ARCANE_DRAW").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{drawn}{END}{after}")).unwrap();
        return;
    }
    assert!(stands == drawn, "docs/reliability.md shows another graph than the code's: run \"make generate\"\n{drawn}");
}
