//! The cells of the matrix: which fault, at which place of which story.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arcane_tests::{Cut, CutInstant, Fault, Watching, Wrong};

use super::telling::Telling;
use crate::story::Story;

/// Longer than it takes to do anything by what was seen before.
const LATE: Duration = Duration::from_secs(4);
/// Longer than a leader may keep still.
const STALL: Duration = Duration::from_secs(35);

/// The kinds that the controller watches in a namespace.
const WATCHED: [&str; 4] = ["sqlserverchangetrackingstreams", "backfillrequests", "jobs", "streamingjobtemplates"];

/// One fault at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub story: Story,
    pub happens: Happens,
    /// The number of the write or of the event.
    pub nth: usize,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happens {
    /// The controller is killed at a write, and started again.
    Killed(CutInstant),
    /// A write goes wrong.
    Wrong(Wrong),
    /// The watch of a kind goes wrong.
    Watch(&'static str, Watching),
    /// The controller is killed after a write, started again, and sees for a while what was so many writes before.
    Past(usize),
}

/// What a story comes to without a fault.
pub struct Model {
    /// The least number of writes.
    pub writes: usize,
    /// The least number of events of each watch.
    pub events: BTreeMap<String, usize>,
    pub roles: Vec<&'static str>,
    pub phases: Vec<String>,
}

impl Model {
    pub fn of(tellings: &[Telling]) -> Self {
        let events_of = |plural: &str| {
            tellings
                .iter()
                .map(|telling| telling.events.get(plural).copied().unwrap_or_default())
                .min()
                .unwrap_or_default()
        };
        Self {
            writes: tellings.iter().map(|telling| telling.writes.len()).min().unwrap_or_default(),
            events: WATCHED.into_iter().map(|plural| (plural.to_owned(), events_of(plural))).collect(),
            roles: tellings[0].roles.clone(),
            phases: tellings[0].phases.clone(),
        }
    }
}

impl Happens {
    /// The word for this kind of fault in the table.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Killed(_) => "killed at a write",
            Self::Wrong(_) => "a write goes wrong",
            Self::Watch(..) => "a watch goes wrong",
            Self::Past(_) => "a past is seen after a restart",
        }
    }

    fn word(self) -> String {
        match self {
            Self::Killed(CutInstant::BeforeSend) => "killed-before".to_owned(),
            Self::Killed(CutInstant::AfterCommit) => "killed-after".to_owned(),
            Self::Wrong(wrong) => match wrong {
                Wrong::Conflict => "409",
                Wrong::TooManyRequests => "429",
                Wrong::InternalError => "500",
                Wrong::Unavailable => "503",
                Wrong::TimeoutAfterCommit => "done-and-504",
                Wrong::ResetAfterCommit => "done-and-reset",
                Wrong::Stall(_) => "stalled",
                Wrong::BlackHole => "swallowed",
            }
            .to_owned(),
            Self::Watch(plural, watching) => {
                let how = match watching {
                    Watching::Drop => "dropped",
                    Watching::Delay(_) => "late",
                    Watching::Duplicate => "twice",
                    Watching::Reorder => "swapped",
                    Watching::Gone => "gone",
                    Watching::CutWithin => "cut-within",
                };
                format!("{plural}-{how}")
            }
            Self::Past(back) => format!("past-{back}"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.story, self.happens.word(), self.nth)
    }
}

impl Cell {
    /// What the proxy is to do.
    pub fn fault(self) -> Fault {
        match self.happens {
            Happens::Killed(instant) => Cut { nth_write: self.nth, instant }.into(),
            Happens::Past(_) => Cut { nth_write: self.nth, instant: CutInstant::AfterCommit }.into(),
            Happens::Wrong(how) => Fault::Wrong { nth_write: self.nth, how },
            Happens::Watch(plural, how) => Fault::Watch { plural, nth_event: self.nth, how },
        }
    }

    /// Whether an answer comes late, or never.
    pub fn takes_long(self) -> bool {
        matches!(self.happens, Happens::Wrong(Wrong::Stall(_) | Wrong::BlackHole))
    }

    /// Whether the stream goes through the same phases as without the fault: where nothing takes long, and nothing old is shown.
    pub fn keeps_phases(self) -> bool {
        matches!(self.happens, Happens::Killed(_) | Happens::Wrong(_)) && !self.takes_long()
    }

    /// Whether the same Jobs are created as without the fault, in the same order. Who sees a past may start what was wanted then
    /// (a stream that now waits for a backfill, a backfill of a stream that is now suspended) and stop it when the present shows;
    /// the rules hold on the way, also that nothing is backfilled again after its completion.
    pub fn keeps_jobs(self) -> bool {
        !matches!(self.happens, Happens::Past(_))
    }
}

/// All cells of a story.
pub fn cells(story: Story, model: &Model) -> Vec<Cell> {
    let cell = |happens, nth| Cell { story, happens, nth };
    let wrongs = [
        Wrong::Conflict,
        Wrong::TooManyRequests,
        Wrong::InternalError,
        Wrong::Unavailable,
        Wrong::TimeoutAfterCommit,
        Wrong::ResetAfterCommit,
        Wrong::Stall(STALL),
        Wrong::BlackHole,
    ];
    let mut at_writes = vec![Happens::Killed(CutInstant::BeforeSend), Happens::Killed(CutInstant::AfterCommit)];
    at_writes.extend(wrongs.map(Happens::Wrong));
    let mut cells: Vec<Cell> =
        (1..=model.writes).flat_map(|nth| at_writes.iter().map(move |happens| cell(*happens, nth))).collect();
    for (nth, back) in (2..=model.writes).flat_map(|nth| [(nth, 1), (nth, 4), (nth, 12)]) {
        if back < nth {
            cells.push(cell(Happens::Past(back), nth));
        }
    }
    let watching = [
        Watching::Drop,
        Watching::Delay(LATE),
        Watching::Duplicate,
        Watching::Reorder,
        Watching::Gone,
        Watching::CutWithin,
    ];
    for plural in WATCHED {
        let events = model.events.get(plural).copied().unwrap_or_default();
        cells.extend((1..=events).flat_map(|nth| watching.map(|how| cell(Happens::Watch(plural, how), nth))));
    }
    cells
}

/// How many cells of a story have faults of this kind.
pub fn number(story: Story, model: &Model, kind: &str) -> usize {
    cells(story, model).iter().filter(|cell| cell.happens.kind() == kind).count()
}

/// Another order for each commit, so that the few that there is time for are others next time.
pub fn shuffle(cells: &mut [Cell]) {
    let head = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    let head = head.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let seed = u64::from_str_radix(head.get(..15).unwrap_or_default(), 16).unwrap_or_default();
    fastrand::Rng::with_seed(seed).shuffle(cells);
}
