//! `kubectl arcane explain`: what is wrong with a stream, since when, and what to do. The words are those of its
//! conditions and events.

use arcane_common::{
    api::{BackfillRequestPhase, Condition, well_known},
    stream::Phase,
};
use arcane_controller::facts::PodFacts;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    args::ExplainArgs,
    cluster::Cluster,
    ending::{Answer, Ending, Verdict, why},
    fleet::{Fleet, Stream},
    gather,
    screen::{ago, table},
    status::{request_phase, request_told},
    told::{self, Told},
};

/// How many events are shown.
const EVENTS: usize = 10;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Happened {
    at: Option<Timestamp>,
    is_warning: bool,
    about: String,
    reason: String,
    message: String,
}

/// Explains a stream.
///
/// # Errors
/// When there is no such stream; when the cluster can't be asked.
pub async fn run(cluster: &Cluster, args: &ExplainArgs) -> Result<Answer, Ending> {
    let (fleet, stream) = gather::one_stream(cluster, &args.stream).await?;
    let mut gaps = fleet.gaps.clone();
    let pods = gather::pods(cluster, &stream).await.unwrap_or_else(|gap| {
        gaps.push(gap);
        Vec::new()
    });
    let pods: Vec<PodFacts> = pods.iter().map(PodFacts::of).collect();
    let mut about: Vec<String> = vec![stream.facts.uid.to_string()];
    about.extend(
        stream.requests.iter().filter(|it| !request_phase(it).is_final()).filter_map(|it| it.metadata.uid.clone()),
    );
    about.extend(stream.jobs.iter().map(|job| job.uid.to_string()));
    let happened = events(cluster, &stream, &about).await.unwrap_or_else(|gap| {
        gaps.push(gap);
        Vec::new()
    });
    let text = explanation(&stream, &fleet, &pods, &happened, Timestamp::now());
    let verdict = Verdict::with_gaps(&gaps);
    Ok(Answer::of(text).noting(gaps).judged(verdict))
}

async fn events(cluster: &Cluster, stream: &Stream, about: &[String]) -> Result<Vec<Happened>, String> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &stream.name().namespace);
    let lists = about.iter().map(|uid| {
        let api = api.clone();
        async move { api.list(&ListParams::default().fields(&format!("involvedObject.uid={uid}"))).await }
    });
    let mut happened = Vec::new();
    for listed in futures::future::join_all(lists).await {
        let events = listed.map_err(|error| format!("events aren't shown: {}", why(&error)))?;
        happened.extend(events.items.into_iter().map(read));
    }
    happened.sort_by_key(|event| std::cmp::Reverse(event.at));
    Ok(happened)
}

fn read(event: Event) -> Happened {
    let seen_last = event.series.and_then(|series| series.last_observed_time).map(|time| time.0);
    let at = seen_last
        .or(event.last_timestamp.map(|time| time.0))
        .or(event.event_time.map(|time| time.0))
        .or(event.metadata.creation_timestamp.map(|time| time.0));
    let kind = event.involved_object.kind.unwrap_or_default();
    Happened {
        at,
        is_warning: event.type_.as_deref() == Some("Warning"),
        about: format!("{kind}/{}", event.involved_object.name.unwrap_or_default()),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    }
}

fn explanation(stream: &Stream, fleet: &Fleet, pods: &[PodFacts], happened: &[Happened], now: Timestamp) -> String {
    let since = stream.since().map(|since| format!(" since {}", ago(Some(since), now))).unwrap_or_default();
    let phase = stream.facts.recorded.phase.map_or("has no phase yet", |phase| phase.as_str());
    let mut text = format!("{} {}: {phase}{since}\n", stream.resource.kind, stream.name());
    let wrong = wrong(stream, fleet, pods, now);
    if wrong.is_empty() {
        let told = told::headline(&stream.conditions).map(|told| format!(": {}", told.message)).unwrap_or_default();
        text.push_str(&format!("\nNothing is wrong{told}\n"));
    } else {
        text.push_str("\nWhat is wrong\n");
        for line in wrong {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let steps = what_to_do(stream);
    if !steps.is_empty() {
        text.push_str("\nWhat to do\n");
        for step in steps {
            text.push_str(&format!("  - {step}\n"));
        }
    }
    if !happened.is_empty() {
        let rows: Vec<Vec<String>> = happened
            .iter()
            .take(EVENTS)
            .map(|event| {
                let kind = if event.is_warning { "Warning" } else { "Normal" };
                vec![ago(event.at, now), kind.into(), event.reason.clone(), event.about.clone(), event.message.clone()]
            })
            .collect();
        text.push_str("\nWhat happened, the newest first\n");
        let table = table(&["AGO", "TYPE", "REASON", "OBJECT", "MESSAGE"], &rows);
        text.extend(table.lines().map(|line| format!("  {line}\n")));
    }
    text
}

/// What is wrong, a line each: what the stream says of itself, then of its class, its backfills and its pods.
fn wrong(stream: &Stream, fleet: &Fleet, pods: &[PodFacts], now: Timestamp) -> Vec<String> {
    let line = |told: &Told| {
        let since = told.since.map(|since| format!(" since {}", ago(Some(since), now))).unwrap_or_default();
        format!("{}{since}: {}", told.reason, told.message)
    };
    let mut lines: Vec<String> = Vec::new();
    for told in told::troubles(&stream.conditions) {
        let line = line(told);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if stream.conditions.is_empty() && stream.facts.recorded.phase.is_none() {
        lines.push("NotSeenYet: no controller has looked at it".to_owned());
    }
    if let Some(seen) = stream.facts.recorded.observed_generation.filter(|seen| *seen < stream.facts.generation) {
        let generation = stream.facts.generation;
        lines.push(format!("its last change isn't acted on yet (generation {generation}, seen {seen})"));
    }
    match stream.class.as_deref().map(|name| (name, fleet.class(name))) {
        Some((name, Some(class))) => {
            let ready = Condition::find(&class.status.conditions, well_known::CONDITION_READY);
            if let Some(ready) = ready.filter(|ready| !ready.is_true()) {
                lines.push(format!("StreamClass {name} is not ready: {}: {}", ready.reason, ready.message));
            }
        }
        _ => {
            let label = stream.facts.class_label.as_ref();
            let which = label.map_or_else(
                || "no StreamClass is there for it".to_owned(),
                |label| format!("there is no StreamClass {label} for it"),
            );
            lines.push(which);
        }
    }
    for request in stream.requests.iter().filter(|it| request_phase(it) == BackfillRequestPhase::Failed) {
        let told = request_told(request).map(|told| format!(": {}", told.message)).unwrap_or_default();
        let line = format!("BackfillRequest {} has failed{told}", request.name_any());
        lines.push(line);
    }
    // What the conditions tell already isn't told twice.
    let said = lines.join("\n");
    for pod in pods {
        if let Some(trouble) = pod.trouble.as_ref().filter(|trouble| !said.contains(trouble.as_str())) {
            lines.push(format!("pod {}: {trouble}", pod.name));
        }
    }
    lines
}

/// What a person can do about it: the conditions say what has to be mended, this says how to look and how to go on.
fn what_to_do(stream: &Stream) -> Vec<String> {
    let name = stream.kind_and_name();
    let at = format!("{name} -n {}", stream.name().namespace);
    let backfilling =
        if stream.jobs.iter().any(|job| job.backfilling && !job.is_unfinished() && !job.has_done_its_work()) {
            " --backfill"
        } else {
            ""
        };
    let restart = format!("then let it go on: kubectl arcane restart {at}");
    let logs = format!("read what its program said: kubectl arcane logs {at}{backfilling}");
    let reason = told::headline(&stream.conditions).map_or("", |told| told.reason.as_str());
    let steps: Vec<String> = match (reason, stream.facts.recorded.phase) {
        ("TemplateMissing" | "TemplateForbidden" | "TemplateInvalid" | "TemplateWithoutImage" | "StreamClassMissing", _) => {
            vec!["create or correct what is named above: the stream goes on by itself within a second".to_owned()]
        }
        ("InvalidSpec", _) => vec![
            "correct the fields that are named above, and apply the stream again: it goes on by itself".to_owned(),
            "try the files first: kubectl arcane validate -f FILE".to_owned(),
        ],
        ("JobRefused" | "CronJobRefused", _) => vec![
            "the API server doesn't take the Job: mend what it says (a quota, a policy, the template); it is tried again \
             by itself"
                .to_owned(),
            format!("see the Job as it would be: kubectl arcane diff {at}"),
        ],
        ("PodNotRunning", _) => vec![
            format!("see the pod: kubectl describe pod -n {} -l arcane/stream-id={}", stream.name().namespace, stream.name().name),
            format!("where its program has run: {logs}"),
            format!("mend what it waits for (the image, a Secret, room on a node); after a change of the template: kubectl arcane restart {at}"),
        ],
        ("RunFailed", _) => vec![logs, "the next run comes at its time".to_owned()],
        ("TemplateChanged", _) => vec![
            format!("it runs on with the template as it was; to take the new one now: kubectl arcane restart {at}"),
            format!("see what would change: kubectl arcane diff {at}"),
        ],
        ("KindNotKnownYet", _) => vec!["wait half a minute: the API server has to learn of the new kind".to_owned()],
        (_, Some(Phase::Failed)) => vec![logs, "mend the cause".to_owned(), restart],
        (_, Some(Phase::Suspended)) => vec![format!("let it go on: kubectl arcane resume {at}")],
        (_, None) => vec!["see whether a controller is at work: kubectl arcane doctor".to_owned()],
        _ => Vec::new(),
    };
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, a_pod, at};

    fn explained(name: &str, pods: &[PodFacts], happened: &[Happened]) -> String {
        let fleet = a_fleet();
        let stream = fleet.streams.iter().find(|stream| stream.name().name == name).unwrap();
        explanation(stream, &fleet, pods, happened, at("12:00:00"))
    }

    #[test]
    fn a_failed_stream_is_explained() {
        let event = Happened {
            at: Some(at("11:55:00")),
            is_warning: true,
            about: "SqlServerStream/failed".to_owned(),
            reason: "JobFailed".to_owned(),
            message: "Job failed failed".to_owned(),
        };
        insta::assert_snapshot!("failed", explained("failed", &[a_pod("failed-abc12", "failed-uid-job", 3)], &[event]));
    }

    #[test]
    fn where_nothing_is_wrong_it_is_said() {
        insta::assert_snapshot!("runs", explained("runs", &[], &[]));
        insta::assert_snapshot!("sleeps", explained("sleeps", &[], &[]));
    }

    #[test]
    fn what_nobody_has_seen_leads_to_the_doctor() {
        let text = explained("unseen", &[], &[]);
        assert!(text.contains("no controller has looked at it") && text.contains("kubectl arcane doctor"), "{text}");
    }
}
