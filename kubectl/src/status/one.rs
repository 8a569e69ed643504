//! One stream, and all that hangs together: class, templates, requests, Jobs, pods.

use arcane_common::{
    api::{Condition, StreamingJobTemplate, well_known},
    identity::ObjectName,
    stream::layout,
};
use arcane_controller::facts::{JobFacts, JobState, PodFacts};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;

use super::{Shown, ShownBackfill, phase, request_phase, request_since, request_told};
use crate::{
    args::Format,
    cluster::Cluster,
    ending::{Answer, Ending, Verdict, why},
    fleet::{Fleet, Stream},
    gather,
    screen::{Branch, ago, for_machines, tree},
    told,
};

/// How many requests that are over are shown.
const REQUESTS: usize = 3;

/// A template that a stream refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Template {
    /// What for: `template`, or `backfill template`.
    role: &'static str,
    name: String,
    /// What is known of it: its condition `Valid`, that there is none, or why it can't be read.
    state: String,
    message: String,
}

/// All that is shown of one stream.
#[derive(Clone, Debug)]
pub(super) struct Whole<'a> {
    stream: &'a Stream,
    fleet: &'a Fleet,
    templates: Vec<Template>,
    pods: Vec<PodFacts>,
}

pub(super) async fn run(
    cluster: &Cluster,
    name: &str,
    output: Option<Format>,
    now: Timestamp,
) -> Result<Answer, Ending> {
    let (fleet, stream) = gather::one_stream(cluster, name).await?;
    let mut notes = fleet.gaps.clone();
    let pods = gather::pods(cluster, &stream).await.unwrap_or_else(|gap| {
        notes.push(gap);
        Vec::new()
    });
    let mut templates = Vec::new();
    for (role, template) in references(&stream) {
        templates.push(template_of(&cluster.client, role, &template).await);
    }
    let pods = pods.iter().map(PodFacts::of).collect();
    let whole = Whole { stream: &stream, fleet: &fleet, templates, pods };
    let text = match output {
        Some(format @ (Format::Json | Format::Yaml)) => for_machines(&shown(&whole), format),
        None | Some(Format::Wide) => as_tree(&whole, now),
    };
    let verdict = Verdict::with_gaps(&notes);
    Ok(Answer::of(text).noting(notes).judged(verdict))
}

/// The templates that a stream refers to, and what for.
fn references(stream: &Stream) -> Vec<(&'static str, ObjectName)> {
    let Ok(definition) = layout::read(&stream.facts.spec, &stream.name().namespace) else {
        return stream.facts.templates.iter().map(|name| ("template", name.clone())).collect();
    };
    let mut references = vec![("template", definition.workload.template().target.clone())];
    references.extend(definition.backfill_template.map(|template| ("backfill template", template.target)));
    references
}

async fn template_of(client: &Client, role: &'static str, name: &ObjectName) -> Template {
    let api: Api<StreamingJobTemplate> = Api::namespaced(client.clone(), &name.namespace);
    let (state, message) = match api.get_opt(&name.name).await {
        Ok(Some(template)) => {
            let conditions = template.status.map(|status| status.conditions).unwrap_or_default();
            match Condition::find(&conditions, well_known::CONDITION_VALID) {
                Some(valid) if valid.is_true() => ("Valid".to_owned(), String::new()),
                Some(valid) => (valid.reason.clone(), valid.message.clone()),
                None => ("NotSeenYet".to_owned(), String::new()),
            }
        }
        Ok(None) => ("missing".to_owned(), "create it, or correct the reference".to_owned()),
        Err(error) => ("?".to_owned(), why(&error)),
    };
    Template { role, name: name.to_string(), state, message }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownWhole<'a> {
    #[serde(flatten)]
    stream: Shown<'a>,
    templates: &'a [Template],
    backfills: Vec<ShownBackfill>,
    jobs: Vec<ShownJob<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownJob<'a> {
    name: &'a str,
    backfilling: bool,
    state: String,
    created: Option<Timestamp>,
    pods: Vec<ShownPod<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownPod<'a> {
    name: &'a str,
    state: &'static str,
    node: Option<&'a str>,
    trouble: Option<&'a str>,
}

fn shown<'a>(whole: &'a Whole<'_>) -> ShownWhole<'a> {
    let jobs = whole.stream.jobs.iter().map(|job| ShownJob {
        name: &job.name.name,
        backfilling: job.backfilling,
        state: state(job).0,
        created: job.created,
        pods: whole.pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid)).map(shown_pod).collect(),
    });
    ShownWhole {
        stream: Shown::of(whole.stream),
        templates: &whole.templates,
        backfills: whole.stream.requests.iter().map(ShownBackfill::of).collect(),
        jobs: jobs.collect(),
    }
}

fn shown_pod(pod: &PodFacts) -> ShownPod<'_> {
    ShownPod { name: &pod.name, state: pod_state(pod), node: pod.node.as_deref(), trouble: pod.trouble.as_deref() }
}

/// The tree of a stream.
fn as_tree(whole: &Whole<'_>, now: Timestamp) -> String {
    let Whole { stream, fleet, templates, pods } = whole;
    let mut branches = vec![class_of(stream, fleet)];
    branches.extend(templates.iter().map(|template| {
        Branch::leaf([
            template.role.to_owned(),
            template.name.clone(),
            template.state.clone(),
            template.message.clone(),
        ])
    }));
    let is_over = |request: &&arcane_common::api::BackfillRequest| request_phase(request).is_final();
    let over = stream.requests.iter().filter(is_over);
    let left_out = over.clone().count().saturating_sub(REQUESTS);
    let told = stream.requests.iter().filter(|request| !is_over(request)).chain(over.take(REQUESTS));
    branches.extend(told.map(|request| {
        let message = request_told(request).filter(|_| !request_phase(request).is_final()).map(|it| it.message);
        Branch::leaf([
            "backfill".to_owned(),
            request.name_any(),
            format!("{} {}", request_phase(request), ago(request_since(request), now)),
            message.unwrap_or_default(),
        ])
    }));
    if left_out > 0 {
        let more = format!("and {left_out} older: kubectl arcane backfills {}", stream.name().name);
        branches.push(Branch::leaf(["backfill".to_owned(), more]));
    }
    let mut orphans: Vec<&PodFacts> = pods.iter().collect();
    branches.extend(stream.cron_jobs.iter().map(|cron_job| {
        let state = if cron_job.suspended { "suspended" } else { "scheduled" };
        let state = format!("{state} {}", ago(cron_job.created, now));
        Branch::leaf([
            "CronJob".to_owned(),
            cron_job.name.name.clone(),
            state,
            format!("schedule {}", cron_job.schedule),
        ])
    }));
    for job in &stream.jobs {
        let below = pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid)).map(|pod| of_pod(pod, now)).collect();
        orphans.retain(|pod| pod.job.as_ref() != Some(&job.uid));
        let (state, message) = state(job);
        let role = if job.backfilling { "backfill Job" } else { "Job" };
        let cells = [role.to_owned(), job.name.name.clone(), format!("{state} {}", ago(job.created, now)), message];
        branches.push(Branch { cells: cells.into(), below });
    }
    // Pods whose Job is gone still keep the next one from starting.
    branches.extend(orphans.into_iter().map(|pod| of_pod(pod, now)));
    let since = stream.since().map(|since| format!(" since {}", ago(Some(since), now))).unwrap_or_default();
    let phase = if stream.facts.recorded.phase.is_some() { phase(stream) } else { "no phase yet".to_owned() };
    let mut root = format!("{} {}: {phase}{since}", stream.resource.kind, stream.name());
    if let Some(headline) = told::headline(&stream.conditions) {
        root = format!("{root}\n{}: {}", headline.reason, headline.message);
    }
    tree(&root, &branches)
}

fn class_of(stream: &Stream, fleet: &Fleet) -> Branch {
    let named = stream.class.as_deref().and_then(|class| fleet.class(class));
    let (name, state, message) = match named {
        Some(class) => {
            let phase = class.status.phase.as_ref().map_or("NotSeenYet", |phase| phase.as_str());
            let ready = Condition::find(&class.status.conditions, well_known::CONDITION_READY);
            let message = ready.filter(|ready| !ready.is_true()).map(|ready| ready.message.clone());
            (class.name.clone(), phase.to_owned(), message.unwrap_or_default())
        }
        None => {
            (stream.facts.class_label.clone().unwrap_or_else(|| "-".to_owned()), "missing".to_owned(), String::new())
        }
    };
    Branch::leaf(["class".to_owned(), name, state, message])
}

fn of_pod(pod: &PodFacts, now: Timestamp) -> Branch {
    let node = pod.node.as_ref().map(|node| format!("on {node}"));
    let message = [node, pod.trouble.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    Branch::leaf(["pod".to_owned(), pod.name.clone(), format!("{} {}", pod_state(pod), ago(pod.created, now)), message])
}

fn pod_state(pod: &PodFacts) -> &'static str {
    match pod {
        PodFacts { finished: true, .. } => "ended",
        PodFacts { deleting: true, .. } => "ending",
        PodFacts { pending: true, .. } => "waiting",
        _ => "running",
    }
}

/// How a Job is doing, in a word and in a sentence.
fn state(job: &JobFacts) -> (String, String) {
    match &job.state {
        _ if job.deleting_since.is_some() => ("ending".to_owned(), String::new()),
        JobState::Unfinished if job.suspended => ("suspended".to_owned(), String::new()),
        JobState::Unfinished if job.ready => ("running".to_owned(), String::new()),
        JobState::Unfinished => ("no ready pod".to_owned(), String::new()),
        JobState::Succeeded { .. } => ("succeeded".to_owned(), String::new()),
        JobState::Failed { reason, message } => ("failed".to_owned(), format!("{reason}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, a_pod, at};

    #[test]
    fn all_that_hangs_together_is_one_tree() {
        let fleet = a_fleet();
        let stream = fleet.streams.iter().find(|stream| stream.name().name == "failed").unwrap();
        let template = |role, state: &str, message: &str| Template {
            role,
            name: "data/standard".to_owned(),
            state: state.to_owned(),
            message: message.to_owned(),
        };
        let whole = Whole {
            stream,
            fleet: &fleet,
            templates: vec![template("template", "Valid", ""), template("backfill template", "missing", "create it")],
            pods: vec![a_pod("failed-abc12", "failed-uid-job", 3)],
        };
        insta::assert_snapshot!("tree", as_tree(&whole, at("12:00:00")));
    }
}
