//! What was aimed at, and what became of it.

use std::fmt::Write as _;

use self::Limit::{AtLeast, AtMost};
use self::Size::{Hundred, TenThousand, Thousand};
use super::admission::{Admission, Guard, Guarded};
use super::figures::Run;
use super::report::{each_in, median, moment, numbers, phase, some, times_bare};

/// Where a goal is measured.
#[derive(Clone, Copy)]
enum Size {
    Hundred,
    Thousand,
    TenThousand,
}

impl Size {
    /// Whether a run is of this size, whatever the number of its classes.
    fn is_of(self, run: &Run) -> bool {
        run.streams == self.streams()
    }

    fn streams(self) -> usize {
        match self {
            Self::Hundred => 100,
            Self::Thousand => 1_000,
            Self::TenThousand => 10_000,
        }
    }
}

/// Which way is good.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

struct Goal {
    what: &'static str,
    size: Size,
    limit: Limit,
    digits: usize,
    of: fn(&Run) -> Option<f64>,
}

const fn goal(what: &'static str, size: Size, limit: Limit, digits: usize, of: fn(&Run) -> Option<f64>) -> Goal {
    Goal { what, size, limit, digits, of }
}

const GOALS: &[Goal] = &[
    goal("writes a stream, creation → running", Thousand, AtMost(8.0), 2, |run| {
        each_in(run, "create", |phase| phase.requests.writes)
    }),
    goal("reads a stream", Thousand, AtMost(1.0), 2, |run| each_in(run, "create", |phase| phase.requests.reads)),
    goal("events a stream", Thousand, AtMost(3.0), 2, |run| each_in(run, "create", |phase| phase.requests.events)),
    goal("created at once → all running, part of the bare loop's rate", Thousand, AtLeast(0.7), 2, |run| {
        run.part_of_bare("create")
    }),
    goal("a newcomer meanwhile: first Job, in times of one that comes alone (p50)", Thousand, AtMost(10.0), 1, |run| {
        Some(some(run.newcomers)?.p50 / some(run.alone.first_job)?.p50)
    }),
    goal("the first of them runs after, s", Thousand, AtMost(5.0), 2, |run| {
        Some(moment(&run.operator, "running")?.min)
    }),
    goal("running, p50 as a part of the longest", Thousand, AtMost(0.5), 2, |run| {
        let running = moment(&run.operator, "running")?;
        Some(running.p50 / running.max)
    }),
    goal("created at once → all running, part of the bare loop's rate", TenThousand, AtLeast(0.7), 2, |run| {
        run.part_of_bare("create")
    }),
    goal("memory of the controller, peak, MiB", TenThousand, AtMost(150.0), 0, |run| Some(run.memory.peak)),
    goal("alone: created → backfill Job, p50, in writes", Hundred, AtMost(3.0), 1, |run| {
        Some(some(run.alone.first_job)?.p50 / run.alone.write.p50)
    }),
    goal("alone: created → backfill Job, p99, in writes (p50)", Hundred, AtMost(6.0), 1, |run| {
        Some(some(run.alone.first_job)?.p99 / run.alone.write.p50)
    }),
    goal("processor of 1,000 lifecycles, s", Thousand, AtMost(5.0), 1, |run| {
        Some(run.operator.phases.values().map(|phase| phase.processor.operator).sum())
    }),
    goal("suspend: writes a stream", Thousand, AtMost(2.0), 2, |run| {
        each_in(run, "suspend", |phase| phase.requests.writes)
    }),
    goal("suspend: wall, in times of the bare loop", Thousand, AtMost(1.3), 2, |run| times_bare(run, "suspend")),
    goal("resume: writes a stream", Thousand, AtMost(2.0), 2, |run| {
        each_in(run, "resume", |phase| phase.requests.writes)
    }),
    goal("resume: wall, in times of the bare loop", Thousand, AtMost(1.3), 2, |run| times_bare(run, "resume")),
    goal("delete: writes a stream", Thousand, AtMost(0.0), 2, |run| {
        each_in(run, "delete", |phase| phase.requests.writes)
    }),
    goal("delete: wall, in times of the bare loop", Thousand, AtMost(1.3), 2, |run| times_bare(run, "delete")),
    goal("restart: writes", Thousand, AtMost(0.0), 0, |run| Some(run.restart.as_ref()?.requests.writes as f64)),
    goal("restart: from the last list to the Job of a new stream, s", Thousand, AtMost(1.0), 2, |run| {
        let start = run.restart.as_ref()?;
        Some(start.first_job - start.listed)
    }),
    goal("idle: requests but watches and Leases", Thousand, AtMost(0.0), 0, |run| {
        let requests = &phase(run, "idle")?.requests;
        Some((requests.writes + requests.classes + requests.reads + requests.events) as f64)
    }),
    goal("idle: processor, %", Thousand, AtMost(0.1), 2, |run| {
        let idle = phase(run, "idle")?;
        Some(idle.processor.operator / idle.seconds * 100.0)
    }),
    goal("restart: writes", TenThousand, AtMost(0.0), 0, |run| Some(run.restart.as_ref()?.requests.writes as f64)),
];

/// The goals with the figures of these runs. A goal that none of them has measured says so.
pub fn table(runs: &[Run], admissions: &[Admission]) -> String {
    let mut text = String::from("| what | streams | goal | figure | |\n| --- | ---: | ---: | ---: | --- |\n");
    for goal in GOALS {
        let measured = runs.iter().filter(|run| goal.size.is_of(run)).filter_map(goal.of).filter(|it| it.is_finite());
        line(&mut text, goal.what, &goal.size.streams().to_string(), goal.limit, measured.collect(), goal.digits);
    }
    for (what, figure) in [
        ("admission, alone, p50", (|guarded| guarded.alone.p50) as fn(&Guarded) -> f64),
        ("admission, alone, p99", |guarded| guarded.alone.p99),
        ("admission, 16 at a time, p50", |guarded| guarded.parallel.p50),
        ("admission, 16 at a time, p99", |guarded| guarded.parallel.p99),
    ] {
        let of = |run: &Admission, guard: Guard| run.guards.iter().find(|it| it.guard == guard).map(figure);
        let ratio = |run: &Admission| Some(of(run, Guard::Ours)? / of(run, Guard::NoOpBoth)?);
        let what = format!("{what}: a creation, in times of one behind two no-op webhooks");
        line(&mut text, &what, "", AtMost(1.0), admissions.iter().filter_map(ratio).collect(), 2);
    }
    let by_itself = || admissions.iter().filter_map(|run| run.by_itself.as_ref());
    let rates = by_itself().map(|one| one.per_second).collect();
    line(&mut text, "the webhook by itself: reviews/s on one processor", "", AtLeast(10_000.0), rates, 0);
    let memory = by_itself().filter(|one| one.templates >= 10_000).map(|one| one.memory.now).collect();
    line(&mut text, "the webhook by itself: memory with 10,000 templates, MiB", "", AtMost(40.0), memory, 1);
    let starts = admissions.iter().map(|run| run.cold_start.p50 * 1000.0).collect();
    line(&mut text, "the webhook from its start to ready, ms", "", AtMost(150.0), starts, 0);
    for (what, size) in [
        ("the controller's binary, MB", (|run| run.controller_size) as fn(&Admission) -> f64),
        ("the webhook's binary, MB", |run| run.webhook_size),
    ] {
        line(&mut text, what, "", AtMost(12.0), admissions.iter().map(size).collect(), 1);
    }
    text
}

fn line(text: &mut String, what: &str, streams: &str, limit: Limit, measured: Vec<f64>, digits: usize) {
    let (sign, wanted) = match limit {
        AtMost(wanted) => ("≤", wanted),
        AtLeast(wanted) => ("≥", wanted),
    };
    let verdict = match median(measured.clone()) {
        None => "not measured".to_owned(),
        Some(value) => verdict(value, limit),
    };
    let figure = numbers(measured, digits).unwrap_or_default();
    let _ = writeln!(text, "| {what} | {streams} | {sign} {wanted} | {figure} | {verdict} |");
}

fn verdict(value: f64, limit: Limit) -> String {
    let (reached, off) = match limit {
        AtMost(wanted) => (value <= wanted, value / wanted - 1.0),
        AtLeast(wanted) => (value >= wanted, 1.0 - value / wanted),
    };
    match reached {
        true => "reached".to_owned(),
        false if off.is_finite() => format!("**missed by {:.0} %**", off * 100.0),
        false => "**missed**".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_or_missed_by_so_much() {
        assert_eq!(verdict(8.0, AtMost(8.0)), "reached");
        assert_eq!(verdict(10.0, AtMost(8.0)), "**missed by 25 %**");
        assert_eq!(verdict(1.0, AtMost(0.0)), "**missed**");
        assert_eq!(verdict(0.35, AtLeast(0.7)), "**missed by 50 %**");
    }

    #[test]
    fn what_nobody_measured_says_so() {
        let table = table(&[], &[]);
        assert_eq!(table.lines().skip(2).filter(|line| !line.ends_with("| not measured |")).count(), 0, "{table}");
    }
}
