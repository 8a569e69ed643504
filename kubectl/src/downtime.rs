//! `kubectl arcane downtime`: streams that stand still for a time, under one name. The marks are those that other tools
//! know: a label with the name, an annotation with its beginning; and the streams are suspended.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};
use serde_json::json;

use crate::{
    args::{Downtime, DowntimeBegin, DowntimeEnd, SelectionArgs},
    change::{self, Planned},
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
    fleet::Stream,
    gather::{self, Wanted},
    screen::{ago, table},
    suspension,
};

/// Label of a stream in a downtime: the downtime's name.
pub const LABEL: &str = "arcane.sneaksanddata.com/downtime";

/// Annotation of a stream in a downtime: since when.
pub const BEGAN: &str = "arcane.sneaksanddata.com/downtime-begin-ts";

/// Begins, shows or ends a downtime.
///
/// # Errors
/// As [`change::run`].
pub async fn run(cluster: &Cluster, args: &Downtime) -> Result<Answer, Ending> {
    match args {
        Downtime::Begin(args) => begin(cluster, args).await,
        Downtime::List => list(cluster).await,
        Downtime::End(args) => end(cluster, args).await,
    }
}

async fn begin(cluster: &Cluster, args: &DowntimeBegin) -> Result<Answer, Ending> {
    let now = Timestamp::now();
    change::run(cluster, &args.which, &format!("is in downtime {}", args.name), |stream| {
        plan_begin(stream, &args.name, now)
    })
    .await
}

async fn end(cluster: &Cluster, args: &DowntimeEnd) -> Result<Answer, Ending> {
    let which = SelectionArgs {
        streams: Vec::new(),
        selector: Some(format!("{LABEL}={}", args.name)),
        class: None,
        dry_run: args.dry_run,
    };
    change::run(cluster, &which, "resumed", plan_end).await
}

async fn list(cluster: &Cluster) -> Result<Answer, Ending> {
    let wanted = Wanted { selector: Some(LABEL.to_owned()), name: None };
    let fleet = gather::fleet(cluster, &wanted).await?;
    let verdict = Verdict::with_gaps(&fleet.gaps);
    let text = overview(&fleet.streams, Timestamp::now());
    let mut answer = Answer::of(text).noting(fleet.gaps).judged(verdict);
    if fleet.streams.is_empty() {
        answer.notes.push(format!("no stream is in a downtime {}", cluster.place()));
    }
    Ok(answer)
}

fn overview(streams: &[Stream], now: Timestamp) -> String {
    if streams.is_empty() {
        return String::new();
    }
    let mut by_name: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
    for stream in streams {
        by_name.entry(stream.labels.get(LABEL).map_or("", String::as_str)).or_default().push(stream);
    }
    let mut rows = Vec::new();
    for (name, streams) in by_name {
        for stream in streams {
            let began = stream.annotations.get(BEGAN).and_then(|began| began.parse().ok());
            let state = if stream.facts.suspended { "suspended" } else { "not suspended" };
            rows.push(vec![
                name.to_owned(),
                ago(began, now),
                stream.name().namespace.clone(),
                stream.kind_and_name(),
                state.to_owned(),
            ]);
        }
    }
    table(&["DOWNTIME", "FOR", "NAMESPACE", "STREAM", "STATE"], &rows)
}

/// What begins a downtime of a stream. One that is suspended already is left as it is: else the end would resume it.
fn plan_begin(stream: &Stream, name: &str, now: Timestamp) -> Planned {
    let stream_name = stream.kind_and_name();
    if let Some(other) = stream.labels.get(LABEL) {
        return Planned::Nothing(format!("{stream_name} is in downtime {other} already"));
    }
    if stream.facts.suspended {
        return Planned::Nothing(format!("{stream_name} is suspended already, and will be when the downtime ends"));
    }
    let now = now.round(Unit::Second).unwrap_or(now).to_string();
    with_marks(suspension::plan(stream, true), json!({"labels": {LABEL: name}, "annotations": {BEGAN: now}}))
}

/// What ends it.
fn plan_end(stream: &Stream) -> Planned {
    let marks = json!({"labels": {LABEL: null}, "annotations": {BEGAN: null}});
    match suspension::plan(stream, false) {
        // Somebody has resumed it before.
        Planned::Nothing(_) => Planned::Patch(json!({"metadata": marks})),
        planned => with_marks(planned, marks),
    }
}

fn with_marks(planned: Planned, marks: serde_json::Value) -> Planned {
    match planned {
        Planned::Patch(mut patch) => {
            patch["metadata"] = marks;
            Planned::Patch(patch)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    fn stream(name: &str) -> Stream {
        a_fleet().streams.into_iter().find(|stream| stream.name().name == name).unwrap()
    }

    #[test]
    fn a_downtime_is_marks_and_suspension() {
        let patch = json!({"spec": {"suspended": true}, "metadata": {
            "labels": {"arcane.sneaksanddata.com/downtime": "db"},
            "annotations": {"arcane.sneaksanddata.com/downtime-begin-ts": "2026-01-02T12:00:00Z"}}});
        assert_eq!(plan_begin(&stream("runs"), "db", at("12:00:00")), Planned::Patch(patch));
        let Planned::Nothing(words) = plan_begin(&stream("sleeps"), "db", at("12:00:00")) else { panic!("marked") };
        assert!(words.contains("will be when the downtime ends"), "{words}");
    }

    #[test]
    fn its_end_takes_the_marks_away() {
        let mut stopped = stream("sleeps");
        stopped.labels.insert(LABEL.to_owned(), "db".to_owned());
        assert!(matches!(plan_begin(&stopped, "other", at("12:00:00")), Planned::Nothing(_)));
        let marks = json!({"labels": {LABEL: null}, "annotations": {BEGAN: null}});
        assert_eq!(plan_end(&stopped), Planned::Patch(json!({"spec": {"suspended": false}, "metadata": marks})));
        assert_eq!(plan_end(&stream("runs")), Planned::Patch(json!({"metadata": marks})), "it was resumed by hand");
    }

    #[test]
    fn downtimes_are_listed_by_name() {
        let mut stopped = stream("sleeps");
        stopped.labels.insert(LABEL.to_owned(), "db".to_owned());
        stopped.annotations.insert(BEGAN.to_owned(), "2026-01-02T11:30:00Z".to_owned());
        let text = overview(&[stopped], at("12:00:00"));
        insta::assert_snapshot!(text, @r"
        DOWNTIME   FOR   NAMESPACE   STREAM                   STATE
        db         30m   other       sqlserverstream/sleeps   suspended
        ");
    }
}
