//! `kubectl arcane diff`: the Job that the controller would make now, compared with the one that runs.
//!
//! The Job is built by the controller's own code, from what the API server shows of stream, class, templates and requests.

mod compare;

use arcane_common::{
    api::StreamingJobTemplate,
    stream::{Workload, context::BackfillContext},
};
use arcane_controller::{
    caches::Caches,
    facts::{ClassFacts, CronJobFacts, JobFacts, RequestFacts, TemplateFacts},
    job_builder::{self, Blueprint, Purpose},
    stream::gather::{Gathered, gather},
};
use arcane_process::namespaces::{Namespaces, Scope};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{Api, runtime::watcher::Event};
use serde_json::Value;

use crate::{
    args::DiffArgs,
    cluster::Cluster,
    ending::{Answer, Ending, Verdict, cannot_ask},
    fleet::{Fleet, Stream},
    gather::one_stream,
};

pub use compare::{Difference, differences};

/// Compares the Job that would be with the one that is.
///
/// # Errors
/// When there is no such stream, or it can't have a Job; when the cluster can't be asked.
pub async fn run(cluster: &Cluster, args: &DiffArgs) -> Result<Answer, Ending> {
    let (fleet, stream) = one_stream(cluster, &args.stream).await?;
    if let [gap, ..] = &fleet.gaps[..] {
        return Err(Ending::CannotAsk(format!("the Job can't be built from a part of what it depends on: {gap}")));
    }
    let mut templates = Vec::new();
    for name in &stream.facts.templates {
        let api: Api<StreamingJobTemplate> = Api::namespaced(cluster.client.clone(), &name.namespace);
        let found = api.get_opt(&name.name).await;
        let what = format!("StreamingJobTemplate {name}");
        templates.extend(found.map_err(|error| cannot_ask(&what, &error))?.iter().map(TemplateFacts::of));
    }
    let gathered = gathered(&fleet, &stream, templates)
        .ok_or_else(|| Ending::Refused(format!("{} has no class, so nothing runs it", stream.kind_and_name())))?;
    let wanted = wanted(&gathered, &stream).map_err(Ending::Refused)?;
    let namespace = &stream.name().namespace;
    let running = match &wanted.there {
        There::Nothing => None,
        There::Job(name) => {
            let api: Api<Job> = Api::namespaced(cluster.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(|error| cannot_ask(&format!("Job {name}"), &error))?;
            found.and_then(|job| serde_json::to_value(job).ok())
        }
        There::CronJob(name) => {
            let api: Api<CronJob> = Api::namespaced(cluster.client.clone(), namespace);
            let found = api.get_opt(name).await.map_err(|error| cannot_ask(&format!("CronJob {name}"), &error))?;
            found.and_then(|job| serde_json::to_value(job).ok())
        }
    };
    Ok(told(&stream, &wanted, running.as_ref()))
}

/// A Job or CronJob as it would be, and the one that it is compared with.
struct Wanted {
    object: Value,
    there: There,
}

/// What a stream has in place.
enum There {
    Nothing,
    Job(String),
    CronJob(String),
}

/// What a decision of the controller would see.
fn gathered(fleet: &Fleet, stream: &Stream, templates: Vec<TemplateFacts>) -> Option<Gathered> {
    let (key, scope) = (&stream.facts.key, Scope::All);
    let mut caches = Caches::of(Namespaces::default());
    for class in &fleet.classes {
        caches.on_class(Event::Apply((class.name.clone(), ClassFacts::clone(class))));
    }
    caches.add_kind(key.kind.clone(), stream.resource.clone());
    caches.on_stream(&key.kind, &scope, Event::Apply((key.name.clone(), stream.facts.clone())));
    for template in templates {
        caches.on_template(&scope, Event::Apply((template.name.clone(), template)));
    }
    for request in &stream.requests {
        let facts = RequestFacts::of(request);
        caches.on_request(&scope, Event::Apply((facts.name.clone(), facts)));
    }
    for job in &stream.jobs {
        caches.on_job(&scope, Event::Apply((job.name.clone(), JobFacts::clone(job))));
    }
    for cron_job in &stream.cron_jobs {
        caches.on_cron_job(&scope, Event::Apply((cron_job.name.clone(), CronJobFacts::clone(cron_job))));
    }
    gather(&mut caches, key, Timestamp::now())
}

/// What the controller would make: for the backfill that runs, else for streaming.
fn wanted(gathered: &Gathered, stream: &Stream) -> Result<Wanted, String> {
    let observed = &gathered.observed;
    let asked = observed.asked.as_ref().map_err(|problem| format!("{}: {}", problem.reason, problem.message))?;
    let own = |backfilling: bool| {
        let mut own: Vec<&JobFacts> =
            stream.jobs.iter().filter(|job| job.backfilling == backfilling && !job.is_run()).collect();
        own.sort_by_key(|job| std::cmp::Reverse(job.created));
        own.first().copied()
    };
    let backfill = own(true).filter(|job| job.is_unfinished()).and_then(|job| {
        let request = observed.requests.iter().find(|request| job.request_uid.as_ref() == Some(&request.uid))?;
        let context = BackfillContext {
            id: request.name.name.clone(),
            request_spec: request.spec.clone(),
            payload: request.payload.clone(),
        };
        Some((job, request.uid.clone(), context))
    });
    let (template, content) = match &backfill {
        Some(_) => (&asked.backfill_template, &gathered.backfill_template),
        None => (&asked.streaming_template, &gathered.streaming_template),
    };
    let template = template.as_ref().map_err(|problem| format!("{}: {}", problem.reason, problem.message))?;
    let content = content.as_ref().ok_or("the template can't be read")?;
    let streaming_name = observed.streaming_job_name();
    let blueprint = |name, purpose| Blueprint {
        name,
        stream: &observed.stream,
        api_version: &gathered.resource.api_version,
        class: &asked.class,
        template: (template, content),
        secrets: &gathered.secrets,
        purpose,
    };
    Ok(match (&backfill, &asked.workload) {
        (Some((job, uid, context)), _) => Wanted {
            object: job_builder::build(&blueprint(&job.name.name, Purpose::Backfill(uid.as_str(), context))),
            there: There::Job(job.name.name.clone()),
        },
        (None, Workload::ChangeCapture { .. }) => {
            let there = own(false);
            let name = there.map_or(streaming_name.as_str(), |job| &job.name.name);
            Wanted {
                object: job_builder::build(&blueprint(name, Purpose::Streaming)),
                there: there.map_or(There::Nothing, |job| There::Job(job.name.name.clone())),
            }
        }
        (None, Workload::Batch { schedule, .. }) => {
            let there = stream.cron_jobs.first();
            let name = there.map_or(streaming_name.as_str(), |cron_job| &cron_job.name.name);
            Wanted {
                object: job_builder::build_cron_job(&blueprint(name, Purpose::Runs), schedule),
                there: there.map_or(There::Nothing, |cron_job| There::CronJob(cron_job.name.name.clone())),
            }
        }
    })
}

/// What is said: nothing where there is no difference.
fn told(stream: &Stream, wanted: &Wanted, running: Option<&Value>) -> Answer {
    let name = stream.kind_and_name();
    let text = |pointer: &str| wanted.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let what = format!("{}/{}", text("/kind").to_lowercase(), text("/metadata/name"));
    let Some(running) = running else {
        let made = serde_saphyr::to_string(&wanted.object).unwrap_or_default();
        let why = if stream.facts.suspended { "the stream is suspended" } else { "nothing runs" };
        return Answer::of(made).noting([format!("# {what} as it would be; there is none now: {why}")]);
    };
    let found = differences(running, &wanted.object);
    if found.is_empty() {
        return Answer::default().noting([format!("{what} of {name} is as it would be made now")]);
    }
    let mut text = format!("--- {what} as it runs\n+++ {what} as it would be made now\n");
    for difference in &found {
        text.push_str(&difference.to_string());
    }
    // As diff has it.
    Answer::of(text).judged(Verdict::Bad)
}
