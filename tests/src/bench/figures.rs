//! What a run has measured, as it is written to a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::processes::{Memory, Processor};
use super::requests::Requests;

/// How some values are spread: seconds, unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// Half of them are no larger.
    pub p50: f64,
    /// 99 of a hundred are no larger.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; of none it is all zero.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = (part * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        Self { count: sorted.len(), min: at(0.0), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// One phase of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// From the first request of a user to the last stream that is where it shall be.
    pub seconds: f64,
    /// From each user's request to its stream being there.
    pub latency: Spread,
    /// How many streams didn't get there in time.
    pub missing: usize,
    /// What the operator (or the bare loop) asked of the API server.
    pub requests: Requests,
    /// Seconds of processor time.
    pub processor: Processor,
}

/// What one who looks after streams did in all phases: the operator, or the bare loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// By name.
    pub phases: BTreeMap<String, Phase>,
    /// Moments of the phase `create`, seconds since each stream's creation was asked for: `first backfill Job`,
    /// `backfill completed`, `running`.
    pub moments: BTreeMap<String, Spread>,
    /// Seconds from the first creation until 0, 5, 10, ... 100 % of the streams ran.
    #[serde(default)]
    pub curve: Vec<f64>,
    /// Streams that had two Jobs at once, or more than one backfill or streaming Job in the phase `create`.
    pub doubles: usize,
}

/// A stream that comes while nothing else happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alone {
    /// The write that creates it: one write of the API server.
    pub write: Spread,
    /// From just before that write to the sight of its backfill Job.
    pub first_job: Spread,
    /// From just before that write until it runs.
    pub running: Spread,
}

/// A start of the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Until every StreamClass is Ready (first start), or until it takes no processor time any more (restart).
    pub seconds: f64,
    /// Until its last list was asked for.
    pub listed: f64,
    /// Until a new stream, created just after the start, had its backfill Job.
    pub first_job: f64,
    /// What it asked of the API server, but for what the new stream took.
    pub requests: Requests,
    /// Its lists, by kind: how many pages.
    pub lists: BTreeMap<String, usize>,
    /// Seconds of its processor time.
    pub processor: f64,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// How many processors.
    pub cores: usize,
    /// What they are called.
    pub processor: String,
    /// MiB.
    pub memory: f64,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let kibibytes = field(&memory, "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&processors, "model name"),
            memory: kibibytes / 1024.0,
        }
    }
}

/// A whole run of `bench run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What the run is called.
    pub label: String,
    /// The command of the operator.
    pub command: String,
    /// How many streams.
    pub streams: usize,
    /// How many classes.
    pub classes: usize,
    /// When it began.
    pub when: String,
    /// Where.
    pub machine: Machine,
    /// From the start of the process until every StreamClass is Ready, seconds.
    pub ready: f64,
    /// Streams that come alone.
    pub alone: Alone,
    /// New streams in another namespace while all the others are brought up: until the backfill Job is there.
    pub newcomers: Spread,
    /// What the operator did.
    pub operator: Course,
    /// What the bare loop did.
    pub bare: Option<Course>,
    /// Its restart.
    pub restart: Option<Start>,
    /// Its memory after all streams have come.
    pub memory: Memory,
    /// Its memory after the restart.
    pub memory_after_restart: Memory,
}

impl Run {
    /// Streams per second from the first creation to the last that runs; absent if not all do.
    pub fn rate(&self, course: &Course, phase: &str) -> Option<f64> {
        let phase = course.phases.get(phase)?;
        (phase.missing == 0 && phase.seconds > 0.0).then(|| self.streams as f64 / phase.seconds)
    }

    /// The operator's rate in a phase as a part of the bare loop's.
    pub fn part_of_bare(&self, phase: &str) -> Option<f64> {
        Some(self.rate(&self.operator, phase)? / self.rate(self.bare.as_ref()?, phase)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_values_that_are_there() {
        let spread = Spread::of((1..=100).map(f64::from));
        assert_eq!((spread.min, spread.p50, spread.p99, spread.max), (1.0, 50.0, 99.0, 100.0));
        let one = Spread::of([7.0]);
        assert_eq!((one.count, one.min, one.p50, one.p99, one.max), (1, 7.0, 7.0, 7.0, 7.0));
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn a_rate_is_of_streams_that_are_all_there() {
        let course = |seconds, missing| Course {
            phases: [("create".to_owned(), Phase { seconds, missing, ..Phase::default() })].into(),
            ..Course::default()
        };
        let mut run = Run { streams: 100, operator: course(10.0, 0), bare: Some(course(8.0, 0)), ..Run::default() };
        assert_eq!(run.part_of_bare("create"), Some(0.8));
        run.operator = course(10.0, 1);
        assert_eq!(run.part_of_bare("create"), None);
    }
}
