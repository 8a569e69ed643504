//! Template + stream + backfill → Job: an ordered list of steps, all of them pure.

mod environment;
mod metadata;

use std::sync::Arc;

use arcane_common::{
    stream::{context::BackfillContext, secret_refs::SecretEnvironment},
    template::JobTemplate,
};
use serde_json::{Map, Value, json};

use crate::{facts::StreamFacts, stream::observed::ResolvedTemplate};

/// All that a Job is made from.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// The Job's name.
    pub name: &'a str,
    /// The stream.
    pub stream: &'a StreamFacts,
    /// The stream's `apiVersion`, for the owner reference.
    pub api_version: &'a str,
    /// The stream's class.
    pub class: &'a str,
    /// The template and its content.
    pub template: (&'a ResolvedTemplate, &'a Arc<JobTemplate>),
    /// The Secrets that the containers get.
    pub secrets: &'a [SecretEnvironment],
    /// What it is for.
    pub purpose: Purpose<'a>,
}

/// What a Job is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// To stream.
    Streaming,
    /// The backfill of a request, with the request's UID.
    Backfill(&'a str, &'a BackfillContext),
    /// To be started by a CronJob again and again.
    Runs,
}

impl Purpose<'_> {
    /// Whether it is a request's backfill.
    pub fn is_backfill(self) -> bool {
        matches!(self, Self::Backfill(..))
    }
}

/// Builds the Job.
pub fn build(blueprint: &Blueprint<'_>) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata::of_job(blueprint),
        "spec": job_spec(blueprint),
    })
}

/// Builds the CronJob of a stream's runs.
pub fn build_cron_job(blueprint: &Blueprint<'_>, schedule: &str) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata::of_cron_job(blueprint),
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": FORBID,
            "jobTemplate": job_template(blueprint),
        },
    })
}

/// The policy of CronJobs by which there is no second run at a time.
pub const FORBID: &str = "Forbid";

/// What a CronJob makes its runs from. Nobody records their outcome, so their TTL is left to Kubernetes.
pub fn job_template(blueprint: &Blueprint<'_>) -> Value {
    let (_, template) = blueprint.template;
    let mut spec = job_spec(blueprint);
    if let Some(ttl) = template.ttl_seconds_after_finished {
        spec.insert("ttlSecondsAfterFinished".to_owned(), json!(ttl));
    }
    json!({"metadata": metadata::of_runs(blueprint), "spec": spec})
}

fn job_spec(blueprint: &Blueprint<'_>) -> Map<String, Value> {
    let (_, template) = blueprint.template;
    let mut spec = template.job_spec.clone();
    metadata::label_pods(blueprint, &mut spec);
    environment::fill(blueprint, &mut spec);
    spec
}

/// The labels of all that is made for a stream.
pub fn labels(blueprint: &Blueprint<'_>) -> Map<String, Value> {
    metadata::labels(blueprint)
}

/// The annotations that a Job of the older operator lacks.
pub fn stamp(blueprint: &Blueprint<'_>) -> Map<String, Value> {
    metadata::annotations(blueprint)
}

/// The reference by which a stream controls what was made for it.
pub fn owner_reference(stream: &StreamFacts, api_version: &str) -> Value {
    metadata::owner_reference(stream, api_version)
}

/// A Job that is only good for asking the API server whether it would take the template.
pub fn probe(namespace: &str, template: &JobTemplate) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": "arcane-template-check-",
            "namespace": namespace,
            "labels": metadata::without_reserved(&template.labels),
            "annotations": metadata::without_reserved(&template.annotations),
        },
        "spec": template.job_spec,
    })
}

#[cfg(test)]
mod tests;
