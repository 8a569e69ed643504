//! What is written of CronJobs and their runs.

use arcane_common::{
    api::well_known,
    identity::{ObjectName, Uid},
    stream::{Phase, Workload},
};
use kube::{Api, core::DynamicObject};
use serde_json::{Map, Value, json};

use super::{Applied, Work};
use crate::{
    caches::Watched,
    job_builder::{self, Blueprint, Purpose},
    resources,
    stream::{
        action::{Condition, DeleteCause, Role},
        observed::{ObservedCronJob, RunFailure},
        plan::LAST_RUN,
    },
    writes::{Part, WriteError},
};

impl Work<'_> {
    pub(super) async fn create_cron_job(&self, name: &str, dry_run: bool) -> Result<Applied, WriteError> {
        let Some((blueprint, schedule)) = self.blueprint_of_runs(name) else { return Ok(Applied::MovedOn) };
        let resource = resources::cron_jobs();
        let object = self.beside(name);
        let target = self.target(&resource, Watched::CronJob, &object);
        match self.context.create(target, job_builder::build_cron_job(&blueprint, schedule), dry_run).await {
            Ok(()) if dry_run => Ok(Applied::All),
            Ok(()) => {
                self.forget_what_was_said();
                tracing::info!(stream = %self.stream().key, cron_job = name, schedule, "created CronJob");
                let note = format!("created CronJob {name}, which starts a run at {schedule:?}");
                self.tell("StreamScheduled", note, false).await;
                Ok(Applied::All)
            }
            Err(error) if error.is_already_exists() => self.find_out_whose_cron_job(&blueprint, &error).await,
            Err(error) if error.is_refusal() => {
                self.remember_refusal(&blueprint, &error);
                Ok(Applied::MovedOn)
            }
            Err(error) => {
                self.doubt_after(&error, dry_run);
                Err(error)
            }
        }
    }

    pub(super) async fn end_run(&self, name: &str, uid: &Uid) -> Result<(), WriteError> {
        tracing::info!(stream = %self.stream().key, job = name, "ending run beside another Job");
        let resource = resources::jobs();
        let name = self.beside(name);
        self.context.delete_in_foreground(self.target(&resource, Watched::Job, &name), uid, None).await?;
        Ok(())
    }

    pub(super) async fn delete_cron_job(&self, name: &str, uid: &Uid, cause: DeleteCause) -> Result<(), WriteError> {
        tracing::info!(stream = %self.stream().key, cron_job = name, ?cause, "deleting CronJob");
        let resource = resources::cron_jobs();
        let name = self.beside(name);
        self.context.delete_in_foreground(self.target(&resource, Watched::CronJob, &name), uid, None).await?;
        Ok(())
    }

    pub(super) async fn suspend_cron_job(&self, name: &str, uid: &Uid, request: &ObjectName) -> Result<(), WriteError> {
        let patch = json!({
            "metadata": {
                "uid": uid.as_str(),
                "annotations": {well_known::ANNOTATION_SUSPENDED_AT: self.gathered.observed.now.to_string()},
            },
            "spec": {"suspend": true},
        });
        match self.merge_cron_job(name, patch).await {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        }
        let stream = self.stream();
        // A run may have been started a moment before, that no watch has shown yet.
        self.context.caches().memory_of(&stream.key, &stream.uid).pods_clear = false;
        let note = format!("suspended CronJob {name} for BackfillRequest {}", request.name);
        self.tell("CronJobSuspended", note, false).await;
        Ok(())
    }

    pub(super) async fn resume_cron_job(&self, name: &str, uid: &Uid) -> Result<Applied, WriteError> {
        let Some(seen) = self.cron_job(uid) else { return Ok(Applied::MovedOn) };
        let patch = json!({
            "metadata": {
                "uid": uid.as_str(),
                "resourceVersion": seen.facts.resource_version,
                "annotations": {well_known::ANNOTATION_SUSPENDED_AT: null},
            },
            "spec": {"suspend": false},
        });
        match self.merge_cron_job(name, patch).await {
            Err(error) if error.is_not_found() => return Ok(Applied::MovedOn),
            Err(error) => {
                self.doubt_after(&error, false);
                return Err(error);
            }
            Ok(()) => {}
        }
        self.forget_what_was_said();
        self.tell("CronJobResumed", format!("CronJob {name} starts runs again"), false).await;
        Ok(Applied::All)
    }

    /// The CronJob gets its parts of today as a whole: what an earlier template had beside them must not stay.
    pub(super) async fn update_cron_job(&self, name: &str, uid: &Uid) -> Result<Applied, WriteError> {
        let Some(seen) = self.cron_job(uid) else { return Ok(Applied::MovedOn) };
        let Some((blueprint, schedule)) = self.blueprint_of_runs(name) else { return Ok(Applied::MovedOn) };
        let mut annotations = job_builder::stamp(&blueprint);
        if seen.hash_matches {
            // It stays the older operator's in this: going back changes nothing.
            annotations.remove(well_known::ANNOTATION_CONFIGURATION_HASH);
        }
        let mut patch = vec![
            json!({"op": "add", "path": "/metadata/resourceVersion", "value": seen.facts.resource_version}),
            json!({"op": "add", "path": "/spec/schedule", "value": schedule}),
            json!({"op": "add", "path": "/spec/concurrencyPolicy", "value": job_builder::FORBID}),
            json!({"op": "add", "path": "/spec/jobTemplate", "value": job_builder::job_template(&blueprint)}),
        ];
        if !seen.facts.has_annotations {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        patch.extend(additions("/metadata/annotations", annotations));
        // It has labels, or the watch wouldn't have shown it.
        patch.extend(additions("/metadata/labels", job_builder::labels(&blueprint)));
        let patch = serde_json::from_value(Value::Array(patch))
            .map_err(|source| WriteError::Malformed { what: "a JSON patch".to_owned(), source })?;
        let resource = resources::cron_jobs();
        let object = self.beside(name);
        match self.context.json_patch(self.target(&resource, Watched::CronJob, &object), patch).await {
            Ok(()) => {
                self.forget_what_was_said();
                tracing::info!(stream = %self.stream().key, cron_job = name, "updated CronJob");
                let note = format!("updated CronJob {name}, which starts a run at {schedule:?}");
                self.tell("CronJobUpdated", note, false).await;
                Ok(Applied::All)
            }
            Err(error) if error.is_not_found() => Ok(Applied::MovedOn),
            Err(error) if error.is_refusal() => {
                self.remember_refusal(&blueprint, &error);
                Ok(Applied::MovedOn)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells of a run that failed, once.
    pub(super) async fn tell_of_run(&self, phase: Option<Phase>, conditions: &[Condition]) {
        let Some(said) = conditions.iter().find(|condition| condition.type_ == LAST_RUN) else {
            if phase == Some(Phase::Scheduled) {
                let stream = self.stream();
                self.context.caches().memory_of(&stream.key, &stream.uid).told_run = None;
            }
            return;
        };
        let observed = &self.gathered.observed;
        let is_told = observed.told_run.as_ref().is_some_and(|told| told.message == said.message);
        let since = observed.told_run.as_ref().filter(|_| is_told).and_then(|told| told.since);
        {
            let stream = self.stream();
            let mut caches = self.context.caches();
            let since = since.or(Some(observed.now));
            caches.memory_of(&stream.key, &stream.uid).told_run =
                Some(RunFailure { message: said.message.clone(), since });
        }
        if !is_told {
            self.tell(&said.reason, said.message.clone(), true).await;
        }
    }

    async fn merge_cron_job(&self, name: &str, patch: Value) -> Result<(), WriteError> {
        let resource = resources::cron_jobs();
        let name = self.beside(name);
        self.context.merge(self.target(&resource, Watched::CronJob, &name), Part::Main, patch).await
    }

    fn cron_job(&self, uid: &Uid) -> Option<&ObservedCronJob> {
        self.gathered.observed.cron_jobs.iter().find(|cron_job| cron_job.facts.uid == *uid)
    }

    fn blueprint_of_runs<'b>(&'b self, name: &'b str) -> Option<(Blueprint<'b>, &'b str)> {
        let Workload::Batch { schedule, .. } = &self.gathered.observed.asked.as_ref().ok()?.workload else {
            return None;
        };
        let blueprint = self.blueprint(name, &Role::Streaming, None)?;
        Some((Blueprint { purpose: Purpose::Runs, ..blueprint }, schedule))
    }

    /// A CronJob of the wanted name exists, and the watch of CronJobs doesn't show it as ours.
    async fn find_out_whose_cron_job(
        &self,
        blueprint: &Blueprint<'_>,
        error: &WriteError,
    ) -> Result<Applied, WriteError> {
        let stream = self.stream();
        let resource = resources::cron_jobs();
        let name = self.beside(blueprint.name);
        let api: Api<DynamicObject> = Api::namespaced_with(self.context.client.clone(), &name.namespace, &resource);
        let found = api.get_opt(&name.name).await.map_err(|source| WriteError::Api {
            what: format!("get CronJob {name} after {error}"),
            source: Box::new(source),
        })?;
        match found {
            Some(cron_job) if !self.controls(&cron_job) => {
                tracing::info!(stream = %stream.key, cron_job = %name, "the name belongs to somebody else");
                let mut caches = self.context.caches();
                caches.memory_of(&stream.key, &stream.uid).taken_cron_jobs.insert(name.name);
            }
            // Ours, and somebody has taken the label off by which the watch finds it.
            Some(cron_job) if !job_builder::labels(blueprint).keys().all(|key| has_label(&cron_job, key)) => {
                let patch = json!({
                    "metadata": {"uid": cron_job.metadata.uid, "labels": job_builder::labels(blueprint)},
                });
                self.merge_cron_job(&name.name, patch).await?;
            }
            _ => {}
        }
        Ok(Applied::MovedOn)
    }
}

fn has_label(object: &DynamicObject, key: &str) -> bool {
    object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(key))
}

fn additions(path: &str, values: Map<String, Value>) -> impl Iterator<Item = Value> {
    values.into_iter().map(move |(key, value)| {
        let key = key.replace('~', "~0").replace('/', "~1");
        json!({"op": "add", "path": format!("{path}/{key}"), "value": value})
    })
}
