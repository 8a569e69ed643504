//! Streams, and what belongs to each: plain data, put together from what was listed.

use std::collections::{BTreeMap, BTreeSet};

use arcane_common::{
    api::{BackfillRequest, well_known},
    identity::{GroupKind, ObjectName, Uid},
    references::{ClassCandidate, ClassChoice, choose_class},
};
use arcane_controller::facts::{ClassFacts, CronJobFacts, JobFacts, StreamFacts};
use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};

use crate::told::{self, Told};

/// What was listed, as the API server has it.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The StreamClasses.
    pub classes: Vec<ClassFacts>,
    /// The streams of each kind.
    pub streams: Vec<(ApiResource, Vec<DynamicObject>)>,
    /// Jobs that carry a stream's label.
    pub jobs: Vec<JobFacts>,
    /// CronJobs that do.
    pub cron_jobs: Vec<CronJobFacts>,
    /// BackfillRequests.
    pub requests: Vec<BackfillRequest>,
    /// What couldn't be listed, a sentence each.
    pub gaps: Vec<String>,
}

/// Streams, with what belongs to each.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The StreamClasses.
    pub classes: Vec<ClassFacts>,
    /// The streams, by namespace, kind and name.
    pub streams: Vec<Stream>,
    /// Open requests that belong to none of them.
    pub strays: Vec<BackfillRequest>,
    /// What couldn't be seen, a sentence each.
    pub gaps: Vec<String>,
}

/// A stream, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What decisions read of it.
    pub facts: StreamFacts,
    /// Where the API server serves it.
    pub resource: ApiResource,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its deletion was asked for.
    pub deleted: Option<Timestamp>,
    /// When its status was last written.
    pub written: Option<Timestamp>,
    /// Its class; `None`: there is none for it.
    pub class: Option<String>,
    /// The conditions in its status.
    pub conditions: Vec<Told>,
    /// Jobs that it controls, also by a CronJob.
    pub jobs: Vec<JobFacts>,
    /// CronJobs that it controls.
    pub cron_jobs: Vec<CronJobFacts>,
    /// Its requests, the newest first.
    pub requests: Vec<BackfillRequest>,
}

/// Puts together what belongs together.
pub fn assemble(listed: Listed) -> Fleet {
    let Listed { classes, streams, jobs, cron_jobs, requests, gaps } = listed;
    let mut all: Vec<Stream> = Vec::new();
    for (resource, objects) in streams {
        let kind = GroupKind::new(&resource.group, &resource.kind);
        let candidates: Vec<ClassCandidate> = classes_of(&classes, &kind).map(ClassFacts::candidate).collect();
        for object in objects {
            let facts = StreamFacts::of(&kind, &object);
            let owned = |owner: &Option<arcane_controller::facts::Owner>, uids: &[&Uid]| {
                owner.as_ref().is_some_and(|owner| uids.contains(&&owner.uid))
            };
            let cron_jobs: Vec<CronJobFacts> =
                cron_jobs.iter().filter(|it| owned(&it.owner, &[&facts.uid])).cloned().collect();
            let owners: Vec<&Uid> = cron_jobs.iter().map(|it| &it.uid).chain([&facts.uid]).collect();
            let jobs: Vec<JobFacts> = jobs.iter().filter(|it| owned(&it.owner, &owners)).cloned().collect();
            let noted = jobs.iter().find_map(|job| job.class.as_deref());
            let class = match choose_class(facts.class_label.as_deref(), noted, &candidates) {
                ClassChoice::Class(class) => Some(class.name.clone()),
                ClassChoice::LabelledMissing(_) | ClassChoice::None => None,
            };
            let mut requests: Vec<BackfillRequest> =
                requests.iter().filter(|request| is_of(request, &facts, &candidates)).cloned().collect();
            requests.sort_by_key(|request| std::cmp::Reverse((request.creation_timestamp(), request.name_any())));
            all.push(Stream {
                labels: object.labels().clone(),
                annotations: object.annotations().clone(),
                created: object.creation_timestamp().map(|time| time.0),
                deleted: object.metadata.deletion_timestamp.as_ref().map(|time| time.0),
                written: status_written(&object),
                class,
                conditions: told::conditions(&facts.recorded.raw),
                jobs,
                cron_jobs,
                requests,
                resource: resource.clone(),
                facts,
            });
        }
    }
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    let claimed: BTreeSet<Option<String>> = all.iter().flat_map(|it| &it.requests).map(ResourceExt::uid).collect();
    let is_stray = |request: &BackfillRequest| {
        let is_over = request.status.as_ref().and_then(|it| it.phase.as_ref()).is_some_and(|phase| phase.is_final());
        !request.spec.completed && !is_over && !claimed.contains(&request.uid())
    };
    let strays = requests.into_iter().filter(is_stray).collect();
    Fleet { classes, streams: all, strays, gaps }
}

fn is_of(request: &BackfillRequest, stream: &StreamFacts, candidates: &[ClassCandidate]) -> bool {
    let accepted = request.status.as_ref().and_then(|status| status.stream_uid.as_deref());
    request.spec.stream_id == stream.key.name.name
        && request.namespace().as_deref() == Some(&stream.key.name.namespace)
        && candidates.iter().any(|class| class.name == request.spec.stream_class)
        && accepted.is_none_or(|uid| uid == stream.uid.as_str())
}

/// The classes that register a kind.
pub fn classes_of<'a>(classes: &'a [ClassFacts], kind: &'a GroupKind) -> impl Iterator<Item = &'a ClassFacts> {
    classes.iter().filter(move |class| !class.deleting && class.kind() == *kind)
}

/// The controller writes a status when something changes, and at no other time.
fn status_written(object: &DynamicObject) -> Option<Timestamp> {
    let writes = object.managed_fields().iter().filter(|entry| entry.subresource.as_deref() == Some("status"));
    writes.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

impl Stream {
    fn order(&self) -> (&ObjectName, &str) {
        (&self.facts.key.name, &self.facts.key.kind.kind)
    }

    /// Its namespace and name.
    pub fn name(&self) -> &ObjectName {
        &self.facts.key.name
    }

    /// `KIND/NAME`, in the form that kubectl takes.
    pub fn kind_and_name(&self) -> String {
        format!("{}/{}", self.resource.kind.to_lowercase(), self.name().name)
    }

    /// The Job or CronJob that is in place: that of its status, if it is there; else one that has not ended.
    pub fn job_name(&self) -> Option<&str> {
        let noted = self.facts.recorded.raw.get("jobName").and_then(serde_json::Value::as_str);
        let there: Vec<&str> = self
            .jobs
            .iter()
            .filter(|job| job.is_unfinished() && !job.is_run())
            .map(|job| job.name.name.as_str())
            .chain(self.cron_jobs.iter().map(|it| it.name.name.as_str()))
            .collect();
        noted.filter(|noted| !noted.is_empty()).or_else(|| there.first().copied())
    }

    /// Since when the Job or CronJob in place is there.
    pub fn job_since(&self) -> Option<Timestamp> {
        let name = self.job_name()?;
        let job = self.jobs.iter().find(|job| job.name.name == name).and_then(|job| job.created);
        job.or_else(|| self.cron_jobs.iter().find(|it| it.name.name == name).and_then(|it| it.created))
    }

    /// Since when it is in its phase, as far as that can be told.
    pub fn since(&self) -> Option<Timestamp> {
        told::since(self.facts.recorded.phase, &self.conditions, self.job_since(), self.written)
    }

    /// Who applies it again and again, by the marks that GitOps tools leave: what is changed by hand they may put back.
    pub fn kept_by(&self) -> Option<String> {
        let label = |key: &str| self.labels.get(key).cloned();
        let annotation = |key: &str| self.annotations.get(key).cloned();
        label("kustomize.toolkit.fluxcd.io/name")
            .map(|name| format!("Flux's Kustomization {name}"))
            .or_else(|| label("helm.toolkit.fluxcd.io/name").map(|name| format!("Flux's HelmRelease {name}")))
            .or_else(|| {
                let tracked = annotation("argocd.argoproj.io/tracking-id")?;
                Some(format!("Argo CD's application {}", tracked.split(':').next().unwrap_or_default()))
            })
            .or_else(|| label("argocd.argoproj.io/instance").map(|name| format!("Argo CD's application {name}")))
    }

    /// Whether this is what a person means by KIND/NAME or NAME.
    fn is_meant_by(&self, kind: Option<&str>, name: &str) -> bool {
        let ApiResource { group, kind: own, plural, .. } = &self.resource;
        let words = [
            own.to_lowercase(),
            plural.to_lowercase(),
            format!("{own}.{group}").to_lowercase(),
            format!("{plural}.{group}"),
        ];
        self.name().name == name && kind.is_none_or(|kind| words.contains(&kind.to_lowercase()))
    }
}

/// The kind and name in KIND/NAME or NAME.
pub fn kind_and_name(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((kind, name)) => (Some(kind), name),
        None => (None, text),
    }
}

impl Fleet {
    /// The one stream that is meant.
    ///
    /// # Errors
    /// Where it is none, or several: a sentence that says what to do. `place` is where it was looked for.
    pub fn one(&self, text: &str, place: &str) -> Result<&Stream, String> {
        let (kind, name) = kind_and_name(text);
        let found: Vec<&Stream> = self.streams.iter().filter(|stream| stream.is_meant_by(kind, name)).collect();
        match found[..] {
            [stream] => Ok(stream),
            [] => {
                let unseen = match &self.gaps[..] {
                    [] => "`kubectl arcane status -A` shows all streams of the StreamClasses that there are".to_owned(),
                    gaps => format!("but not all could be seen: {}", gaps.join("; ")),
                };
                Err(format!("there is no stream {text} {place}; {unseen}"))
            }
            _ => {
                let names: Vec<String> = found
                    .iter()
                    .map(|stream| format!("{} -n {}", stream.kind_and_name(), stream.name().namespace))
                    .collect();
                Err(format!("{text} may be any of: {}; say which", names.join(", ")))
            }
        }
    }

    /// The class of this name.
    pub fn class(&self, name: &str) -> Option<&ClassFacts> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// Keeps the streams of a class alone.
    ///
    /// # Errors
    /// When there is no such class, in words.
    pub fn only_of_class(&mut self, class: &str) -> Result<(), String> {
        if self.class(class).is_none() {
            let names: Vec<&str> = self.classes.iter().map(|class| class.name.as_str()).collect();
            return Err(format!("there is no StreamClass {class}; there are: {}", names.join(", ")));
        }
        self.streams.retain(|stream| stream.class.as_deref() == Some(class));
        Ok(())
    }
}

/// The label by which Jobs and pods of streams are found.
pub const OF_STREAMS: &str = well_known::LABEL_STREAM_ID;

#[cfg(test)]
pub(crate) mod samples;
