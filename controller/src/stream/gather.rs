//! From the caches to what a decision sees, and to what its execution needs.

use std::sync::Arc;

use arcane_common::{
    identity::{ObjectName, StreamKey},
    references::{ClassCandidate, ClassChoice, Found, labelled_class_is_missing, resolve},
    stream::{TemplateRef, configuration_hash::is_hash_of_go_operator, secret_refs::SecretEnvironment},
    template::{JobTemplate, template_hash},
    validation::{StreamInput, join, validate_stream_of_class},
};
use jiff::Timestamp;
use kube::core::ApiResource;

use super::{
    observed::{
        Asked, Observed, ObservedCronJob, ObservedJob, Pods, Problem, ResolvedTemplate, Standing, Update, WithoutPod,
    },
    plan::POD_NOT_RUNNING,
    status,
    status_schema::StatusSchema,
};
use crate::{
    caches::{Caches, RefusedJob, stream_of},
    facts::{ClassFacts, CronJobFacts, JobFacts, StreamFacts},
};

/// What a decision sees, and what its execution needs besides.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// What the decision sees.
    pub observed: Observed,
    /// Where the API server serves the stream.
    pub resource: ApiResource,
    /// What its status can hold.
    pub status_schema: Arc<StatusSchema>,
    /// How its Secrets reach its containers.
    pub secrets: Vec<SecretEnvironment>,
    /// The content of the streaming template.
    pub streaming_template: Option<Arc<JobTemplate>>,
    /// The content of the backfill template.
    pub backfill_template: Option<Arc<JobTemplate>>,
}

/// Gathers everything about a stream; `None` if there is nothing to decide: it is gone, or no class is there for it.
pub fn gather(caches: &mut Caches, key: &StreamKey, now: Timestamp) -> Option<Gathered> {
    let stream = Arc::clone(caches.stream(key)?);
    let resource = caches.kinds.get(&key.kind)?.resource.clone();
    let jobs: Vec<ObservedJob> = caches.jobs_of(key).map(|job| observed_job(job, &stream)).collect();
    let candidates: Vec<ClassCandidate> = caches.classes_of(&key.kind).map(|class| class.candidate()).collect();
    let cron_jobs = caches.cron_jobs_of(key).map(|cron_job| observed_cron_job(cron_job, &stream)).collect();
    let runs = caches.runs_of(key).map(|run| (**run).clone()).collect();
    let asked = match caches.class_of(&stream, &candidates) {
        ClassChoice::None => return None,
        ClassChoice::LabelledMissing(name) => Err(missing_class(name, key)),
        ClassChoice::Class(candidate) => {
            let class = Arc::clone(caches.classes.get(&candidate.name)?);
            ask(caches, &stream, &class, &jobs)
        }
    };
    // The definition of what is watched: a stream of no class, or of one that calls its kind by a wrong plural, has it, too.
    let status_schema = caches
        .crds
        .get(&format!("{}.{}", resource.plural, resource.group))
        .and_then(|crd| crd.versions.get(&resource.version).cloned())
        .unwrap_or_else(|| Arc::new(StatusSchema::anything()));
    let registered: Vec<String> = candidates.into_iter().map(|candidate| candidate.name).collect();
    let mut requests: Vec<_> = caches
        .requests_of(&key.name)
        .filter(|request| registered.contains(&request.class))
        .map(|request| (**request).clone())
        .collect();
    requests.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    let (asked, materials) = match asked {
        Ok((asked, materials)) => (Ok(asked), materials),
        Err(problem) => (Err(problem), Materials::default()),
    };
    let recorded_hash_matches =
        stream.recorded.configuration_hash.as_ref().is_none_or(|hash| is_hash_of(hash, &stream));
    let memory = caches.memory_of(key, &stream.uid);
    let without_pod = jobs.iter().find(|job| job.facts.lacks_a_ready_pod()).map(|job| &job.facts.uid);
    memory.without_pod = without_pod.map(|job| match memory.without_pod.take() {
        Some((seen, since)) if seen == *job => (seen, since.min(now)),
        _ => (job.clone(), now),
    });
    let memory = memory.clone();
    let without_pod = memory.without_pod.as_ref().map(|(_, since)| WithoutPod {
        seen_for: now.duration_since(*since),
        is_told: status::gives_reason(&stream, POD_NOT_RUNNING, &status_schema),
    });
    let refused = memory.refused.filter(|refused| is_about(refused, &stream, &asked));
    let mut observed = Observed {
        now,
        stream: (*stream).clone(),
        recorded_hash_matches,
        asked,
        requests,
        jobs,
        cron_jobs,
        runs,
        told_run: memory.told_run.or_else(|| status::recorded_run_failure(&stream)),
        taken_names: memory.taken_names,
        taken_cron_jobs: memory.taken_cron_jobs,
        without_pod,
        rush: caches.rush(),
        pods: if memory.pods_clear { Pods::Clear } else { Pods::Unknown },
        quick_ends: memory.quick_ends,
        refused: refused.map(|refused| refused.refusal),
    };
    take_names(caches, &mut observed);
    Some(Gathered {
        observed,
        resource,
        status_schema,
        secrets: materials.secrets,
        streaming_template: materials.streaming,
        backfill_template: materials.backfill,
    })
}

#[derive(Default)]
struct Materials {
    secrets: Vec<SecretEnvironment>,
    streaming: Option<Arc<JobTemplate>>,
    backfill: Option<Arc<JobTemplate>>,
}

fn ask(
    caches: &mut Caches,
    stream: &StreamFacts,
    class: &ClassFacts,
    jobs: &[ObservedJob],
) -> Result<(Asked, Materials), Problem> {
    let name = &stream.key.name;
    let input = StreamInput {
        name: &name.name,
        namespace: &name.namespace,
        kind: &stream.key.kind.kind,
        spec: &stream.spec,
        secret_refs: &class.spec.secret_refs,
    };
    // A schema that can't be used is told on its class, and judges nobody.
    let schema = class.spec.stream_schema.as_ref().and_then(|schema| caches.schemas.of(&class.name, schema).ok());
    let valid = validate_stream_of_class(input, schema.as_deref())
        .map_err(|violations| Problem::stalled("InvalidSpec", join(&violations)))?;
    let find = |reference: &TemplateRef| follow(caches, reference, stream, class);
    let (streaming_template, streaming) = find(valid.definition.workload.template());
    let (backfill_template, backfill) = find(valid.definition.template_of_backfill());
    let update = match &streaming_template {
        Ok(template) if class.spec.max_unavailable(0).is_some() => {
            let jobs = jobs.iter().map(|job| &job.facts.uid);
            let standing = caches.rolls.get(&class.name).map(|roll| roll.standing(&stream.key, jobs, &template.hash));
            Update::Rolling(standing.unwrap_or(Standing::Unknown))
        }
        _ => Update::OnDelete,
    };
    let asked = Asked {
        workload: valid.definition.workload,
        streaming_template,
        backfill_template,
        initial_backfill: class.spec.wants_initial_backfill(),
        class: class.name.clone(),
        update,
    };
    Ok((asked, Materials { secrets: valid.secrets, streaming, backfill }))
}

fn follow(
    caches: &Caches,
    reference: &TemplateRef,
    stream: &StreamFacts,
    class: &ClassFacts,
) -> (Result<ResolvedTemplate, Problem>, Option<Arc<JobTemplate>>) {
    let found = match caches.templates.get(&reference.target) {
        Some(template) => Found::Present(template.found.clone()),
        None if !caches.namespaces.contain(&reference.target.namespace) => Found::OutOfSight,
        None => Found::Missing,
    };
    match resolve(reference, &found, &stream.key.name.namespace) {
        Ok(content) => {
            let hash = template_hash(&content, &class.spec.secret_refs);
            (Ok(ResolvedTemplate { name: reference.target.clone(), hash }), Some(content))
        }
        Err(unresolved) => {
            let problem = Problem::waiting(unresolved.reason(), unresolved.violation().to_string());
            (Err(problem), None)
        }
    }
}

fn missing_class(name: &str, key: &StreamKey) -> Problem {
    Problem::waiting("StreamClassMissing", labelled_class_is_missing(name, &key.kind).to_string())
}

fn observed_job(job: &Arc<JobFacts>, stream: &StreamFacts) -> ObservedJob {
    let hash_matches = job.configuration_hash.as_ref().is_some_and(|hash| is_hash_of(hash, stream));
    ObservedJob { facts: (**job).clone(), hash_matches }
}

fn observed_cron_job(cron_job: &Arc<CronJobFacts>, stream: &StreamFacts) -> ObservedCronJob {
    let hash_matches = cron_job.configuration_hash.as_ref().is_some_and(|hash| is_hash_of(hash, stream));
    ObservedCronJob { facts: (**cron_job).clone(), hash_matches }
}

fn is_hash_of(hash: &str, stream: &StreamFacts) -> bool {
    hash == stream.configuration_hash || is_hash_of_go_operator(hash, &stream.spec, &stream.key.name.namespace)
}

fn is_about(refused: &RefusedJob, stream: &StreamFacts, asked: &Result<Asked, Problem>) -> bool {
    let (generation, hash) = &refused.what;
    let Ok(asked) = asked else { return false };
    let template = if refused.refusal.backfilling { &asked.backfill_template } else { &asked.streaming_template };
    *generation == stream.generation && template.as_ref().is_ok_and(|template| template.hash == *hash)
}

/// Names of the stream's next Jobs and CronJob that belong to somebody else, as far as the watches show them.
fn take_names(caches: &Caches, observed: &mut Observed) {
    let stream = observed.stream.key.clone();
    for name in [observed.streaming_job_name(), observed.backfill_job_name()] {
        let object = ObjectName::new(&stream.name.namespace, &name);
        if caches.jobs.get(&object).is_some_and(|job| stream_of(job).as_ref() != Some(&stream)) {
            observed.taken_names.insert(name);
        }
    }
    let name = observed.cron_job_name();
    let object = ObjectName::new(&stream.name.namespace, &name);
    let is_ours = caches.cron_jobs_of(&stream).any(|cron_job| cron_job.name == object);
    if !is_ours && caches.cron_jobs.get(&object).is_some() {
        observed.taken_cron_jobs.insert(name);
    }
}
