//! The pieces that situations are put together from: one stream, `team/orders`, and what surrounds it.

use std::{sync::Arc, time::Duration};

use arcane_common::{
    api::backfill_request::BackfillRequestPhase,
    field_path::FieldPath,
    identity::{GroupKind, ObjectName, StreamKey, Uid},
    stream::{TemplateRef, Workload},
};
use arcane_controller::{
    facts::{CronJobFacts, JobFacts, JobState, Owner, PodFacts, RecordedStatus, RequestFacts, StreamFacts},
    stream::observed::{
        Asked, Observed, ObservedCronJob, ObservedJob, Pods, Problem, Refusal, ResolvedTemplate, Update,
    },
};
use jiff::{SignedDuration, Timestamp};

pub const NAMESPACE: &str = "team";
pub const STREAM: &str = "orders";
pub const STREAM_UID: &str = "uid-of-the-stream";
pub const OTHER_STREAM_UID: &str = "uid-of-an-earlier-stream";
pub const SPEC: &str = "hash-of-the-spec";
pub const EARLIER_SPEC: &str = "hash-of-the-earlier-spec";
pub const GENERATION: i64 = 5;
pub const EARLIER_GENERATION: i64 = 4;
pub const TEMPLATE: &str = "hash-of-the-template";
pub const OTHER_TEMPLATE: &str = "hash-of-another-template";
pub const RESTARTED: &str = "2024-01-01";
pub const RESTARTED_AGAIN: &str = "2024-02-02";
pub const NOTED_TTL: i32 = 600;
pub const SCHEDULE: &str = "0 * * * *";
pub const OTHER_SCHEDULE: &str = "30 * * * *";

pub fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub fn kind() -> GroupKind {
    GroupKind::new("streaming.sneaksanddata.com", "SqlServerStream")
}

pub fn name(name: &str) -> ObjectName {
    ObjectName::new(NAMESPACE, name)
}

/// A stream with nothing around it: not suspended, valid, no status.
pub fn a_new_stream() -> Observed {
    Observed {
        now: now(),
        stream: StreamFacts {
            key: StreamKey { kind: kind(), name: name(STREAM) },
            uid: Uid::new(STREAM_UID),
            resource_version: "7".to_owned(),
            generation: GENERATION,
            deleting: false,
            class_label: None,
            restarted_at: None,
            failure_note: None,
            spec: Arc::default(),
            configuration_hash: SPEC.to_owned(),
            suspended: false,
            templates: vec![name("standard")],
            streaming_template: Some(name("standard")),
            recorded: RecordedStatus::default(),
        },
        recorded_hash_matches: true,
        asked: Ok(asked(template(TEMPLATE), template(TEMPLATE))),
        requests: Vec::new(),
        jobs: Vec::new(),
        cron_jobs: Vec::new(),
        runs: Vec::new(),
        told_run: None,
        taken_names: Default::default(),
        taken_cron_jobs: Default::default(),
        pods: Pods::Clear,
        without_pod: None,
        rush: Duration::ZERO,
        quick_ends: 0,
        refused: None,
    }
}

pub type Template = Result<ResolvedTemplate, Problem>;

pub fn asked(streaming_template: Template, backfill_template: Template) -> Asked {
    let template = TemplateRef { path: FieldPath::root("spec").child("jobTemplateRef"), target: name("standard") };
    Asked {
        workload: Workload::ChangeCapture { template },
        streaming_template,
        backfill_template,
        initial_backfill: true,
        class: "sql".to_owned(),
        update: Update::OnDelete,
    }
}

/// The same of a stream with the backend `batch`.
pub fn asked_for_runs(streaming_template: Template, backfill_template: Template) -> Asked {
    let asked = asked(streaming_template, backfill_template);
    let template = asked.workload.template().clone();
    Asked { workload: Workload::Batch { template, schedule: SCHEDULE.to_owned() }, ..asked }
}

pub fn template(hash: &str) -> Template {
    Ok(ResolvedTemplate { name: name("standard"), hash: hash.to_owned() })
}

pub fn missing_template() -> Template {
    Err(Problem::waiting("TemplateMissing", "spec.jobTemplateRef.name: Not found: create the template first"))
}

pub fn problem(stalled: bool) -> Problem {
    if stalled {
        Problem::stalled("InvalidSpec", "spec.jobTemplateRef: Required value: name the template")
    } else {
        Problem::waiting("StreamClassMissing", "there is no StreamClass of this kind; create it")
    }
}

/// The first request by age, the second, and one that isn't there any more.
pub const FIRST: &str = "uid-of-the-first-request";
pub const SECOND: &str = "uid-of-the-second-request";
pub const GONE: &str = "uid-of-a-request-that-is-gone";

pub fn a_request(uid: &str) -> RequestFacts {
    let (request, created) = if uid == FIRST { ("first", ago(7_200)) } else { ("second", ago(3_600)) };
    RequestFacts {
        name: name(request),
        uid: Uid::new(uid),
        resource_version: "3".to_owned(),
        created: Some(created),
        deleting: false,
        owners: Vec::new(),
        class: "sql".to_owned(),
        stream: STREAM.to_owned(),
        completed: false,
        payload: None,
        spec: serde_json::Value::Null,
        phase: None,
        reason: None,
        message: None,
        job_name: None,
        stream_uid: None,
        start_time: None,
        completed_written: false,
        problem: None,
    }
}

/// The same request with a status.
pub fn in_phase(uid: &str, phase: BackfillRequestPhase) -> RequestFacts {
    let accepted = phase != BackfillRequestPhase::Pending;
    RequestFacts {
        owners: vec![Uid::new(STREAM_UID)],
        reason: Some(phase.to_string()),
        message: Some("as it was said".to_owned()),
        stream_uid: accepted.then(|| Uid::new(STREAM_UID)),
        job_name: accepted.then(|| format!("{STREAM}-backfill")),
        start_time: accepted.then(|| ago(3_000)),
        phase: Some(phase),
        ..a_request(uid)
    }
}

/// A streaming Job of ours that runs and is current.
pub fn a_job() -> ObservedJob {
    ObservedJob {
        facts: JobFacts {
            name: name(STREAM),
            uid: Uid::new("uid-of-the-streaming-job"),
            resource_version: "9".to_owned(),
            owner: Some(owner(STREAM_UID)),
            labelled: Some((kind().kind, STREAM.to_owned())),
            backfilling: false,
            request_uid: None,
            backfill_id: None,
            configuration_hash: Some(SPEC.to_owned()),
            stream_generation: Some(GENERATION),
            class: Some("sql".to_owned()),
            template_hash: Some(TEMPLATE.to_owned()),
            restarted_at: None,
            noted_ttl: Some(NOTED_TTL),
            ttl: None,
            ready: true,
            suspended: false,
            state: JobState::Unfinished,
            deleting_since: None,
            created: Some(ago(1_800)),
        },
        hash_matches: true,
    }
}

pub fn owner(stream_uid: &str) -> Owner {
    Owner { kind: kind(), name: STREAM.to_owned(), uid: Uid::new(stream_uid) }
}

/// The same for the backfill of a request.
pub fn a_backfill_job(request: &str) -> ObservedJob {
    let mut job = a_job();
    job.facts.name = name(&format!("{STREAM}-backfill"));
    job.facts.uid = Uid::new(format!("uid-of-the-backfill-job-of-{request}"));
    job.facts.backfilling = true;
    job.facts.request_uid = Some(Uid::new(request));
    job.facts.backfill_id = Some(if request == FIRST { "first" } else { "second" }.to_owned());
    job
}

/// A CronJob of ours that starts runs and is current.
pub fn a_cron_job() -> ObservedCronJob {
    ObservedCronJob {
        facts: CronJobFacts {
            name: name(STREAM),
            uid: Uid::new("uid-of-the-cron-job"),
            resource_version: "11".to_owned(),
            owner: Some(owner(STREAM_UID)),
            configuration_hash: Some(SPEC.to_owned()),
            stream_generation: Some(GENERATION),
            class: Some("sql".to_owned()),
            template_hash: Some(TEMPLATE.to_owned()),
            restarted_at: None,
            schedule: SCHEDULE.to_owned(),
            forbids_concurrency: true,
            suspended: false,
            suspended_at: None,
            active: Vec::new(),
            last_success: None,
            has_annotations: true,
            deleting_since: None,
            created: Some(ago(86_400)),
        },
        hash_matches: true,
    }
}

pub const RUN: &str = "orders-28333";

/// A run of a CronJob, in progress.
pub fn a_run(cron_job: &Uid) -> JobFacts {
    let owner = Owner { kind: GroupKind::new("batch", "CronJob"), name: STREAM.to_owned(), uid: cron_job.clone() };
    JobFacts {
        name: name(RUN),
        uid: Uid::new(format!("uid-of-a-run-of-{cron_job}")),
        owner: Some(owner),
        noted_ttl: None,
        created: Some(ago(300)),
        ..a_job().facts
    }
}

pub fn succeeded(ran: i64, ended_ago: i64) -> JobState {
    JobState::Succeeded { started: Some(ago(ended_ago + ran)), finished: Some(ago(ended_ago)) }
}

pub fn failed() -> JobState {
    JobState::Failed { reason: "BackoffLimitExceeded".to_owned(), message: "it has reached its limit".to_owned() }
}

pub const REFUSAL: &str = "exceeded quota: pods";

pub fn refusal(backfilling: bool, try_again_at: Timestamp) -> Refusal {
    Refusal { backfilling, message: REFUSAL.to_owned(), try_again_at }
}

pub const POD: &str = "orders-x7k2p";
pub const NODE: &str = "node-3";
pub const TROUBLE: &str = "container main ended with exit code 137";

pub fn a_pod(job: Option<&Uid>, finished: bool) -> PodFacts {
    PodFacts {
        name: POD.to_owned(),
        node: Some(NODE.to_owned()),
        job: job.cloned(),
        created: None,
        finished,
        succeeded: false,
        deleting: false,
        pending: false,
        trouble: finished.then(|| TROUBLE.to_owned()),
    }
}
