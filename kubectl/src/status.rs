//! `kubectl arcane status`: which streams there are, and how each is doing.

mod one;

use arcane_common::api::{BackfillRequest, BackfillRequestPhase};
use arcane_process::namespaces::Scope;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::{
    args::{Format, StatusArgs},
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
    fleet::{Fleet, Stream},
    gather::{self, Wanted},
    screen::{ago, for_machines, table},
    told::{self, Told},
};

/// Shows streams, or one of them with all that hangs together.
///
/// # Errors
/// When the cluster can't be asked; when there is no such stream or class.
pub async fn run(cluster: &Cluster, args: &StatusArgs) -> Result<Answer, Ending> {
    let now = Timestamp::now();
    if let Some(name) = &args.stream {
        return one::run(cluster, name, args.output, now).await;
    }
    let mut fleet = gather::fleet(cluster, &Wanted { selector: args.selector.clone(), name: None }).await?;
    if let Some(class) = &args.class {
        fleet.only_of_class(class).map_err(Ending::Refused)?;
    }
    let text = match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let shown: Vec<Shown<'_>> = fleet.streams.iter().map(Shown::of).collect();
            for_machines(&shown, format)
        }
        None | Some(Format::Wide) => overview(&fleet, &cluster.scope, args.output.is_some(), now),
    };
    let verdict = Verdict::with_gaps(&fleet.gaps);
    let mut answer = Answer::of(text).noting(fleet.gaps.clone()).judged(verdict);
    if fleet.streams.is_empty() && args.output.is_none_or(|format| format == Format::Wide) {
        answer.notes.push(none_found(&fleet, &cluster.scope, args));
    }
    Ok(answer)
}

fn none_found(fleet: &Fleet, scope: &Scope, args: &StatusArgs) -> String {
    let place = crate::cluster::place(scope);
    if fleet.classes.is_empty() {
        return "no StreamClass is there: install a plugin, which brings its kind of streams and its StreamClass"
            .to_owned();
    }
    let which = if args.selector.is_some() || args.class.is_some() { " that you asked for" } else { "" };
    let hint = if *scope == Scope::All { "" } else { "; -A looks into all namespaces" };
    format!("no streams{which} {place}{hint}")
}

/// The table of streams.
fn overview(fleet: &Fleet, scope: &Scope, wide: bool, now: Timestamp) -> String {
    if fleet.streams.is_empty() {
        return String::new();
    }
    let everywhere = *scope == Scope::All;
    let mut head = vec!["KIND", "NAME", "PHASE", "SINCE", "JOB", "LAST BACKFILL", "REASON"];
    if everywhere {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.extend(["CLASS", "TEMPLATE", "MESSAGE"]);
    }
    let rows: Vec<Vec<String>> = fleet
        .streams
        .iter()
        .map(|stream| {
            let mut row = vec![
                stream.resource.kind.clone(),
                stream.name().name.clone(),
                phase(stream),
                ago(stream.since(), now),
                stream.job_name().unwrap_or("-").to_owned(),
                last_backfill(stream.requests.first(), now),
                reason(stream),
            ];
            if everywhere {
                row.insert(0, stream.name().namespace.clone());
            }
            if wide {
                let headline = told::headline(&stream.conditions);
                row.push(stream.class.clone().unwrap_or_else(|| "-".to_owned()));
                row.push(stream.facts.templates.last().map_or_else(|| "-".to_owned(), ToString::to_string));
                row.push(headline.map(|it| it.message.clone()).unwrap_or_default());
            }
            row
        })
        .collect();
    table(&head, &rows)
}

/// The phase, and what is under way against it.
fn phase(stream: &Stream) -> String {
    let phase = stream.facts.recorded.phase.map_or("-", |phase| phase.as_str());
    if stream.facts.deleting { format!("{phase} (deleting)") } else { phase.to_owned() }
}

/// Why; empty where the phase says it all.
fn reason(stream: &Stream) -> String {
    let phase = stream.facts.recorded.phase.map_or("", |phase| phase.as_str());
    match told::headline(&stream.conditions) {
        Some(Told { reason, .. }) if reason == phase => String::new(),
        Some(Told { reason, .. }) => reason.clone(),
        None if phase.is_empty() => "NotSeenYet".to_owned(),
        None => String::new(),
    }
}

fn last_backfill(request: Option<&BackfillRequest>, now: Timestamp) -> String {
    let Some(request) = request else { return "-".to_owned() };
    format!("{} {}", request_phase(request), ago(request_since(request), now))
}

/// The phase of a request; one that nobody has looked at yet waits.
pub fn request_phase(request: &BackfillRequest) -> BackfillRequestPhase {
    let phase = request.status.as_ref().and_then(|status| status.phase.clone());
    phase.unwrap_or(if request.spec.completed {
        BackfillRequestPhase::Completed
    } else {
        BackfillRequestPhase::Pending
    })
}

/// Since when a request is in its phase.
pub fn request_since(request: &BackfillRequest) -> Option<Timestamp> {
    let status = request.status.as_ref();
    let ended = status.and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
    let started = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    ended.or(started).or_else(|| request.creation_timestamp().map(|time| time.0))
}

/// A stream for machines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    namespace: &'a str,
    name: &'a str,
    kind: &'a str,
    api_version: &'a str,
    class: Option<&'a str>,
    phase: Option<&'static str>,
    since: Option<Timestamp>,
    suspended: bool,
    deleting: bool,
    job: Option<&'a str>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    last_backfill: Option<ShownBackfill>,
    conditions: &'a [Told],
}

/// A BackfillRequest for machines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownBackfill {
    name: String,
    phase: String,
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    job: Option<String>,
    reason: Option<String>,
    message: Option<String>,
}

impl ShownBackfill {
    /// What is shown of a request.
    pub fn of(request: &BackfillRequest) -> Self {
        let status = request.status.clone().unwrap_or_default();
        let ready = request_told(request);
        Self {
            name: request.name_any(),
            phase: request_phase(request).to_string(),
            created: request.creation_timestamp().map(|time| time.0),
            started: status.start_time.map(|time| time.0),
            ended: status.completion_time.map(|time| time.0),
            job: status.job_name,
            reason: ready.as_ref().map(|it| it.reason.clone()),
            message: ready.map(|it| it.message),
        }
    }
}

/// What a request's status says of it.
pub fn request_told(request: &BackfillRequest) -> Option<Told> {
    let status = serde_json::to_value(request.status.as_ref()?).ok()?;
    told::headline(&told::conditions(&status)).cloned()
}

impl<'a> Shown<'a> {
    fn of(stream: &'a Stream) -> Self {
        let headline = told::headline(&stream.conditions);
        Self {
            namespace: &stream.name().namespace,
            name: &stream.name().name,
            kind: &stream.resource.kind,
            api_version: &stream.resource.api_version,
            class: stream.class.as_deref(),
            phase: stream.facts.recorded.phase.map(|phase| phase.as_str()),
            since: stream.since(),
            suspended: stream.facts.suspended,
            deleting: stream.facts.deleting,
            job: stream.job_name(),
            reason: headline.map(|it| it.reason.as_str()),
            message: headline.map(|it| it.message.as_str()),
            last_backfill: stream.requests.first().map(ShownBackfill::of),
            conditions: &stream.conditions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    #[test]
    fn one_looks_at_all_streams_of_all_classes() {
        insta::assert_snapshot!("all", overview(&a_fleet(), &Scope::All, false, at("12:00:00")));
    }

    #[test]
    fn within_a_namespace_its_name_is_left_out_and_wide_says_more() {
        let mut fleet = a_fleet();
        fleet.streams.truncate(2);
        insta::assert_snapshot!("wide", overview(&fleet, &Scope::Namespace("data".into()), true, at("12:00:00")));
    }

    #[test]
    fn machines_read_the_same() {
        let fleet = a_fleet();
        let failed = fleet.streams.iter().find(|stream| stream.name().name == "failed").unwrap();
        insta::assert_snapshot!("yaml", for_machines(&Shown::of(failed), Format::Yaml));
    }

    #[test]
    fn nothing_found_says_where_to_look() {
        let args = StatusArgs { stream: None, selector: None, class: None, output: None };
        let mut fleet = a_fleet();
        let here = Scope::Namespace("data".into());
        assert_eq!(none_found(&fleet, &here, &args), "no streams in namespace data; -A looks into all namespaces");
        let labelled = StatusArgs { selector: Some("a=b".to_owned()), ..args.clone() };
        assert_eq!(none_found(&fleet, &Scope::All, &labelled), "no streams that you asked for in any namespace");
        fleet.classes.clear();
        assert!(none_found(&fleet, &here, &args).contains("install a plugin"));
    }
}
