//! Figures of runs as tables in Markdown: medians, and in brackets from the least to the most.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::admission::{Admission, Guard, Guarded};
use super::by_itself::ByItself;
use super::figures::{Course, Phase, Run, Spread};

/// A figure of a run, as a row of the table.
struct Row {
    name: &'static str,
    /// Digits after the point.
    digits: usize,
    of: fn(&Run) -> Option<f64>,
}

const fn row(name: &'static str, digits: usize, of: fn(&Run) -> Option<f64>) -> Row {
    Row { name, digits, of }
}

const ROWS: &[Row] = &[
    row("**created at once → all running**, streams/s", 1, |run| run.rate(&run.operator, "create")),
    row("the bare loop, streams/s", 1, |run| run.rate(run.bare.as_ref()?, "create")),
    row("part of the bare loop's rate", 2, |run| run.part_of_bare("create")),
    row("first backfill Job, p50, s", 2, |run| Some(moment(&run.operator, "first backfill Job")?.p50)),
    row("first backfill Job, p99, s", 2, |run| Some(moment(&run.operator, "first backfill Job")?.p99)),
    row("running, first, s", 2, |run| Some(moment(&run.operator, "running")?.min)),
    row("running, p50, s", 2, |run| Some(moment(&run.operator, "running")?.p50)),
    row("running, p99, s", 2, |run| Some(moment(&run.operator, "running")?.p99)),
    row("running, max, s", 2, |run| Some(moment(&run.operator, "running")?.max)),
    row("running, max, bare loop, s", 2, |run| Some(moment(run.bare.as_ref()?, "running")?.max)),
    row("writes a stream", 2, |run| each(run, |phase| phase.requests.writes)),
    row("reads a stream", 2, |run| each(run, |phase| phase.requests.reads)),
    row("events a stream", 2, |run| each(run, |phase| phase.requests.events)),
    row("writes about classes, in all", 0, |run| Some(phase(run, "create")?.requests.classes as f64)),
    row("conflicts in all", 0, |run| Some(phase(run, "create")?.requests.conflicts as f64)),
    row("streams with a Job too many, or missing", 0, |run| {
        Some((run.operator.doubles + phase(run, "create")?.missing) as f64)
    }),
    row("processor of the operator, s per 1,000 streams", 1, |run| {
        Some(phase(run, "create")?.processor.operator / run.streams as f64 * 1000.0)
    }),
    row("processor of the control plane, s per 1,000 streams", 0, |run| {
        Some(plane(phase(run, "create")?) / run.streams as f64 * 1000.0)
    }),
    row("the same of the bare loop", 0, |run| {
        Some(plane(run.bare.as_ref()?.phases.get("create")?) / run.streams as f64 * 1000.0)
    }),
    row("memory of the operator, peak, MiB", 1, |run| Some(run.memory.peak)),
    row("**alone**: one write, p50, ms", 1, |run| some(run.alone.write).map(|it| it.p50 * 1000.0)),
    row("first backfill Job, p50, ms", 1, |run| some(run.alone.first_job).map(|it| it.p50 * 1000.0)),
    row("the same in writes", 1, |run| Some(some(run.alone.first_job)?.p50 / run.alone.write.p50)),
    row("first backfill Job, p99, in writes (p50)", 1, |run| {
        Some(some(run.alone.first_job)?.p99 / run.alone.write.p50)
    }),
    row("**newcomers** while others are brought up: first Job, p50, ms", 0, |run| {
        some(run.newcomers).map(|it| it.p50 * 1000.0)
    }),
    row("the same, in times of alone", 1, |run| Some(some(run.newcomers)?.p50 / some(run.alone.first_job)?.p50)),
    row("newcomers, max, ms", 0, |run| some(run.newcomers).map(|it| it.max * 1000.0)),
    row("**idle**: requests but watches and Leases", 0, |run| {
        let requests = &phase(run, "idle")?.requests;
        Some((requests.writes + requests.classes + requests.reads + requests.events) as f64)
    }),
    row("processor, %", 2, |run| Some(phase(run, "idle")?.processor.operator / phase(run, "idle")?.seconds * 100.0)),
    row("**start** to all classes Ready, s", 2, |run| Some(run.ready)),
    row("**restart**: requests", 0, |run| Some(run.restart.as_ref()?.requests.all() as f64)),
    row("writes", 0, |run| Some(run.restart.as_ref()?.requests.writes as f64)),
    row("pages of lists", 0, |run| Some(run.restart.as_ref()?.lists.values().sum::<usize>() as f64)),
    row("last list asked for, s", 2, |run| Some(run.restart.as_ref()?.listed)),
    row("first Job of a new stream, s", 2, |run| Some(run.restart.as_ref()?.first_job)),
    row("at rest, s", 2, |run| Some(run.restart.as_ref()?.seconds)),
    row("processor, s", 2, |run| Some(run.restart.as_ref()?.processor)),
    row("**suspend** all, s", 2, |run| Some(phase(run, "suspend")?.seconds)),
    row("in times of the bare loop", 2, |run| times_bare(run, "suspend")),
    row("writes a stream", 2, |run| each_in(run, "suspend", |phase| phase.requests.writes)),
    row("**resume** all, s", 2, |run| Some(phase(run, "resume")?.seconds)),
    row("in times of the bare loop", 2, |run| times_bare(run, "resume")),
    row("writes a stream", 2, |run| each_in(run, "resume", |phase| phase.requests.writes)),
    row("**delete** all, s", 2, |run| Some(phase(run, "delete")?.seconds)),
    row("in times of the bare loop", 2, |run| times_bare(run, "delete")),
    row("writes a stream", 2, |run| each_in(run, "delete", |phase| phase.requests.writes)),
    row("processor of the operator in all these, s per 1,000 streams", 1, |run| {
        let all: f64 = run.operator.phases.values().map(|phase| phase.processor.operator).sum();
        Some(all / run.streams as f64 * 1000.0)
    }),
    row("others on this machine took of the processors while creating, %", 1, |run| {
        let phase = phase(run, "create")?;
        Some(phase.processor.others / phase.seconds / run.machine.cores as f64 * 100.0)
    }),
];

pub(super) fn phase<'r>(run: &'r Run, name: &str) -> Option<&'r Phase> {
    run.operator.phases.get(name)
}

pub(super) fn moment<'c>(course: &'c Course, name: &str) -> Option<&'c Spread> {
    course.moments.get(name).filter(|spread| spread.count > 0)
}

pub(super) fn some(spread: Spread) -> Option<Spread> {
    (spread.count > 0).then_some(spread)
}

fn each(run: &Run, number: fn(&Phase) -> usize) -> Option<f64> {
    each_in(run, "create", number)
}

pub(super) fn each_in(run: &Run, name: &str, number: fn(&Phase) -> usize) -> Option<f64> {
    Some(number(phase(run, name)?) as f64 / run.streams as f64)
}

pub(super) fn times_bare(run: &Run, name: &str) -> Option<f64> {
    run.part_of_bare(name).map(f64::recip)
}

fn plane(phase: &Phase) -> f64 {
    phase.processor.api_server + phase.processor.etcd + phase.processor.controller_manager
}

/// What stands at the head of a column.
fn column(run: &Run) -> (usize, usize, String) {
    (run.streams, run.classes, run.label.clone())
}

/// Each kind of run is a column. What none of them has measured has no row.
pub fn table(runs: &[Run]) -> String {
    let mut columns: BTreeMap<(usize, usize, String), Vec<&Run>> = BTreeMap::new();
    for run in runs {
        columns.entry(column(run)).or_default().push(run);
    }
    let mut text = String::from("| |");
    for ((streams, classes, label), runs) in &columns {
        let _ = write!(text, " {label}, {streams} of {classes} ({} runs) |", runs.len());
    }
    text += "\n| --- |";
    text += &" ---: |".repeat(columns.len());
    text.push('\n');
    for row in ROWS {
        let cells: Vec<Option<String>> = columns.values().map(|runs| cell(row, runs)).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {} |", row.name);
        for cell in cells {
            let _ = write!(text, " {} |", cell.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Two kinds of runs, and the second in times of the first.
pub fn compare(first: &[Run], second: &[Run]) -> String {
    let name = |runs: &[Run]| {
        runs.first().map_or(String::new(), |run| format!("{}, {} of {}", run.label, run.streams, run.classes))
    };
    let mut text = format!("| | {} | {} | second / first |\n| --- | ---: | ---: | ---: |\n", name(first), name(second));
    for row in ROWS {
        let middle = |runs: &[Run]| median(runs.iter().filter_map(row.of).collect());
        let (Some(one), Some(other)) = (middle(first), middle(second)) else { continue };
        let digits = row.digits;
        let ratio = if one == 0.0 { String::new() } else { format!("{:.2}", other / one) };
        let _ = writeln!(text, "| {} | {one:.digits$} | {other:.digits$} | {ratio} |", row.name);
    }
    text
}

/// A text of Markdown with these tables in the place that is kept for them.
///
/// # Errors
/// When there is no such place.
pub fn written_into(text: &str, tables: &str) -> Result<String, String> {
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("no lines {BEGIN} and {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// What admission costs.
pub fn admission(runs: &[Admission]) -> String {
    let mut text = String::from(
        "| a stream's creation behind | alone, p50, ms | p99, ms | 16 at a time, p50, ms | p99, ms | creations/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for guard in Guard::ALL {
        let of = |figure: &dyn Fn(&Guarded) -> f64, digits| {
            let guarded = runs.iter().flat_map(|run| &run.guards).filter(|guarded| guarded.guard == guard);
            numbers(guarded.map(figure).collect(), digits).unwrap_or_default()
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            guard.name(),
            of(&|guarded| guarded.alone.p50 * 1000.0, 2),
            of(&|guarded| guarded.alone.p99 * 1000.0, 2),
            of(&|guarded| guarded.parallel.p50 * 1000.0, 1),
            of(&|guarded| guarded.parallel.p99 * 1000.0, 1),
            of(&|guarded| median(guarded.rates.clone()).unwrap_or_default(), 0),
        );
    }
    let alone: Vec<&ByItself> = runs.iter().filter_map(|run| run.by_itself.as_ref()).collect();
    if alone.is_empty() {
        return text;
    }
    text += "\n| our webhook by itself, on one processor | |\n| --- | ---: |\n";
    let mut line = |name: &str, figure: &dyn Fn(&ByItself) -> f64, digits| {
        let values = alone.iter().map(|one| figure(one)).collect();
        let _ = writeln!(text, "| {name} | {} |", numbers(values, digits).unwrap_or_default());
    };
    line("bytes of a review", &|one| one.review as f64, 0);
    line("reviews/s over TLS", &|one| one.per_second, 0);
    line("latency with 8 callers, p50, ms", &|one| one.latency.p50 * 1000.0, 2);
    line("latency with 8 callers, p99, ms", &|one| one.latency.p99 * 1000.0, 2);
    line("processor of a review, µs", &|one| one.processor, 0);
    line("memory without templates, MiB", &|one| one.memory_before, 1);
    line("templates", &|one| one.templates as f64, 0);
    line("memory with them, MiB", &|one| one.memory.now, 1);
    line("memory with them, peak, MiB", &|one| one.memory.peak, 1);
    let starts = runs.iter().map(|run| run.cold_start.p50 * 1000.0).collect();
    let _ =
        writeln!(text, "| from the start of its process to ready, ms | {} |", numbers(starts, 0).unwrap_or_default());
    text
}

/// The median of several runs, with the least and the most.
fn cell(row: &Row, runs: &[&Run]) -> Option<String> {
    let measured = runs.iter().filter_map(|run| (row.of)(run)).filter(|value| value.is_finite()).collect();
    numbers(measured, row.digits)
}

pub(super) fn numbers(values: Vec<f64>, digits: usize) -> Option<String> {
    let spread = Spread::of(values.iter().copied());
    let number = |value: f64| format!("{value:.digits$}");
    let (median, least, most) = (number(median(values)?), number(spread.min), number(spread.max));
    Some(if least == most { median } else { format!("{median} ({least}–{most})") })
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(*values.get(middle - 1)?, upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: f64, label: &str) -> Run {
        let phase = Phase { seconds, ..Phase::default() };
        let operator = Course { phases: [("create".to_owned(), phase)].into(), ..Course::default() };
        Run { label: label.into(), streams: 100, classes: 1, operator, ..Run::default() }
    }

    #[test]
    fn runs_of_one_size_are_one_column_by_their_median() {
        let table = table(&[run(10.0, "a"), run(50.0, "a"), run(20.0, "a"), run(10.0, "b")]);
        assert!(table.contains("| | a, 100 of 1 (3 runs) | b, 100 of 1 (1 runs) |"), "{table}");
        assert!(table.contains("streams/s | 5.0 (2.0–10.0) | 10.0 |"), "{table}");
        assert!(!table.contains("newcomers"), "{table}");
    }

    #[test]
    fn tables_take_the_place_of_those_before() {
        let text = "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n";
        let written = written_into(text, "| new |\n").unwrap();
        assert_eq!(written, "a\n<!-- figures -->\n\n| new |\n\n<!-- end of figures -->\nb\n");
        assert_eq!(written_into(&written, "| new |\n").unwrap(), written);
        written_into("nothing", "").unwrap_err();
    }

    #[test]
    fn a_median_of_two_is_between_them() {
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
