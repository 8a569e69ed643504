//! Carries out a plan, one write after the other.

mod cron_job;

use arcane_common::{
    api::{backfill_request::BackfillRequestPhase, well_known},
    identity::{ObjectName, Uid},
    stream::context::BackfillContext,
};
use jiff::{SignedDuration, Timestamp, Unit};
use kube::{
    Api,
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    action::{Action, DeleteCause, Plan, RequestStatus, Role, StreamStatus},
    gather::Gathered,
    observed::{Refusal, passes_by_itself},
    status,
};
use crate::{
    caches::{RefusedJob, Watched},
    context::Context,
    facts::{FailureNote, RequestFacts},
    job_builder::{self, Blueprint, Purpose},
    key::Key,
    resources,
    writes::{Part, Target, WriteError},
};

/// How a plan's execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Every write was made; the watches show what comes of it.
    All,
    /// The world had moved on; a new decision is needed.
    MovedOn,
}

/// Makes the writes of a plan in their order; what follows one that fails is not made.
pub async fn apply(context: &Context, gathered: &Gathered, plan: &Plan) -> Result<Applied, WriteError> {
    let work = Work { context, gathered, key: Key::Stream(gathered.observed.stream.key.clone()) };
    for action in &plan.actions {
        match work.carry_out(action).await {
            Ok(Applied::All) => {}
            Ok(Applied::MovedOn) => return Ok(Applied::MovedOn),
            // Somebody else has written: what they wrote is on its way to us.
            Err(error) if error.is_conflict() => {
                tracing::debug!(stream = %gathered.observed.stream.key, %error, "decided anew");
                return Ok(Applied::MovedOn);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Applied::All)
}

struct Work<'a> {
    context: &'a Context,
    gathered: &'a Gathered,
    key: Key,
}

impl Work<'_> {
    async fn carry_out(&self, action: &Action) -> Result<Applied, WriteError> {
        match action {
            Action::CreateInitialRequest { name } => self.create_initial_request(name).await?,
            Action::OwnRequest { request } => return self.own_request(request).await,
            Action::WriteRequestStatus { request, status } => return self.write_request_status(request, status).await,
            Action::MarkCompleted { request } => self.mark_completed(request).await?,
            Action::DeleteJob { name, uid, cause } => self.delete_job(name, uid, *cause).await?,
            Action::StampJob { name, uid, role } => self.stamp_job(name, uid, role).await?,
            Action::SetJobTtl { name, uid, seconds } => {
                let patch = json!({
                    "metadata": {"uid": uid.as_str()},
                    "spec": {"ttlSecondsAfterFinished": seconds},
                });
                self.merge_job(name, patch).await?;
            }
            Action::EndRun { name, uid } => self.end_run(name, uid).await?,
            Action::DeleteCronJob { name, uid, cause } => self.delete_cron_job(name, uid, *cause).await?,
            Action::SuspendCronJob { name, uid, request } => self.suspend_cron_job(name, uid, request).await?,
            Action::ResumeCronJob { name, uid } => return self.resume_cron_job(name, uid).await,
            Action::UpdateCronJob { name, uid } => return self.update_cron_job(name, uid).await,
            Action::TryCronJob { name } => return self.create_cron_job(name, true).await,
            Action::CreateCronJob { name } => return self.create_cron_job(name, false).await,
            Action::NoteFailure { template_hash, job_template_hash, request, was_before_us } => {
                let hashes = (template_hash.clone(), job_template_hash.clone());
                self.note_failure(hashes, request.as_ref(), *was_before_us).await?;
            }
            Action::WriteStatus(status) => return self.write_status(status, false).await,
            Action::Announce(status) => return self.write_status(status, true).await,
            Action::TryJob { name, role } => return self.create_job(name, role, true).await,
            Action::CreateJob { name, role } => return self.create_job(name, role, false).await,
        }
        Ok(Applied::All)
    }

    fn stream(&self) -> &crate::facts::StreamFacts {
        &self.gathered.observed.stream
    }

    fn target<'b>(&'b self, resource: &'b ApiResource, watched: Watched, name: &'b ObjectName) -> Target<'b> {
        Target { resource, watched, name, key: &self.key }
    }

    fn beside(&self, name: &str) -> ObjectName {
        ObjectName::new(&self.stream().key.name.namespace, name)
    }

    fn request(&self, name: &ObjectName) -> Option<&RequestFacts> {
        self.gathered.observed.requests.iter().find(|request| request.name == *name)
    }

    fn owner_reference(&self) -> Value {
        job_builder::owner_reference(self.stream(), &self.gathered.resource.api_version)
    }

    async fn create_initial_request(&self, name: &str) -> Result<(), WriteError> {
        let Ok(asked) = &self.gathered.observed.asked else { return Ok(()) };
        let resource = resources::backfill_requests();
        let name = self.beside(name);
        let object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name.name,
                "namespace": name.namespace,
                "labels": {well_known::LABEL_MANAGED_BY: well_known::MANAGED_BY},
                "ownerReferences": [self.owner_reference()],
            },
            "spec": {"streamClass": asked.class, "streamId": self.stream().key.name.name, "completed": false},
        });
        match self.context.create(self.target(&resource, Watched::Request, &name), object, false).await {
            Err(error) if error.is_already_exists() => Ok(()),
            outcome => outcome,
        }
    }

    async fn own_request(&self, name: &ObjectName) -> Result<Applied, WriteError> {
        let Some(request) = self.request(name) else { return Ok(Applied::MovedOn) };
        let mut reference = self.owner_reference();
        // Somebody else may control it already; of controllers there is one.
        reference["controller"] = json!(false);
        let operation = if request.owners.is_empty() {
            json!({"op": "add", "path": "/metadata/ownerReferences", "value": [reference]})
        } else {
            json!({"op": "add", "path": "/metadata/ownerReferences/-", "value": reference})
        };
        let patch = json!([{"op": "test", "path": "/metadata/uid", "value": request.uid.as_str()}, operation]);
        let patch = serde_json::from_value(patch)
            .map_err(|source| WriteError::Malformed { what: "a JSON patch".to_owned(), source })?;
        let resource = resources::backfill_requests();
        match self.context.json_patch(self.target(&resource, Watched::Request, name), patch).await {
            // It is gone: nothing may be started for it.
            Err(error) if error.is_not_found() => Ok(Applied::MovedOn),
            // Without it the request outlives the stream; that is no reason not to do the backfill.
            Err(error) if error.is_refusal() => {
                tracing::warn!(stream = %self.stream().key, %error, "the request can't be owned");
                Ok(Applied::All)
            }
            outcome => outcome.map(|()| Applied::All),
        }
    }

    async fn write_request_status(&self, name: &ObjectName, wanted: &RequestStatus) -> Result<Applied, WriteError> {
        let Some(request) = self.request(name) else { return Ok(Applied::MovedOn) };
        let accepted_by = wanted.accepted.then_some(&self.stream().uid);
        match write_request_status(self.context, &self.key, request, wanted, accepted_by).await {
            // It is gone: nothing may be started for it.
            Err(error) if error.is_not_found() => return Ok(Applied::MovedOn),
            outcome => outcome?,
        }
        if wanted.phase == BackfillRequestPhase::Completed {
            let note = format!("BackfillRequest {} is completed: {}", name.name, wanted.message);
            self.tell("BackfillCompleted", note, false).await;
        } else if wanted.phase == BackfillRequestPhase::Cancelled {
            let note = format!("BackfillRequest {} is cancelled: {}", name.name, wanted.message);
            self.tell("BackfillCancelled", note, true).await;
        }
        Ok(Applied::All)
    }

    async fn mark_completed(&self, name: &ObjectName) -> Result<(), WriteError> {
        let Some(request) = self.request(name) else { return Ok(()) };
        let resource = resources::backfill_requests();
        let patch = json!({
            "metadata": {
                "uid": request.uid.as_str(),
                "annotations": {well_known::ANNOTATION_COMPLETED_WRITTEN: "true"},
            },
            "spec": {"completed": true},
        });
        self.context.merge(self.target(&resource, Watched::Request, name), Part::Main, patch).await
    }

    async fn delete_job(&self, name: &str, uid: &Uid, cause: DeleteCause) -> Result<(), WriteError> {
        tracing::info!(stream = %self.stream().key, job = name, ?cause, "deleting Job");
        let resource = resources::jobs();
        let name = self.beside(name);
        // It may have ended since it was seen: what it has done must be recorded then, and not be done again.
        let seen = self.gathered.observed.jobs.iter().find(|job| job.facts.uid == *uid);
        let version = seen.map(|job| job.facts.resource_version.as_str());
        let target = self.target(&resource, Watched::Job, &name);
        if !self.context.delete_in_foreground(target, uid, version).await? {
            return Ok(());
        }
        {
            let mut caches = self.context.caches();
            let memory = caches.memory_of(&self.stream().key, &self.stream().uid);
            memory.quick_ends = match cause {
                DeleteCause::Ended { quickly: true } => memory.quick_ends.saturating_add(1),
                _ => 0,
            };
        }
        if let Some(why) = cause.of_a_replacement() {
            self.tell("JobReplaced", format!("Job {} makes room for another: {why}", name.name), false).await;
        }
        Ok(())
    }

    async fn stamp_job(&self, name: &str, uid: &Uid, role: &Role) -> Result<(), WriteError> {
        let backfill = self.backfill_of(role);
        let Some(blueprint) = self.blueprint(name, role, backfill.as_ref()) else { return Ok(()) };
        let mut annotations = job_builder::stamp(&blueprint);
        // It stays the older operator's in this: going back restarts nothing.
        annotations.remove(well_known::ANNOTATION_CONFIGURATION_HASH);
        let job = self.gathered.observed.jobs.iter().find(|job| job.facts.uid == *uid);
        if let Some(ttl) = job.and_then(|job| job.facts.ttl) {
            annotations.insert(well_known::ANNOTATION_TTL_SECONDS_AFTER_FINISHED.to_owned(), json!(ttl.to_string()));
        }
        let patch = json!({
            "metadata": {"uid": uid.as_str(), "annotations": annotations},
            "spec": {"ttlSecondsAfterFinished": null},
        });
        self.merge_job(name, patch).await
    }

    async fn merge_job(&self, name: &str, patch: Value) -> Result<(), WriteError> {
        let resource = resources::jobs();
        let name = self.beside(name);
        match self.context.merge(self.target(&resource, Watched::Job, &name), Part::Main, patch).await {
            // It went meanwhile; the watch will say so.
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome,
        }
    }

    async fn note_failure(
        &self,
        (template_hash, job_template_hash): (Option<String>, Option<String>),
        request: Option<&Uid>,
        was_before_us: bool,
    ) -> Result<(), WriteError> {
        let stream = self.stream();
        let note = FailureNote {
            generation: stream.generation,
            configuration_hash: stream.configuration_hash.clone(),
            template_hash,
            job_template_hash,
            restarted_at: stream.restarted_at.clone(),
            request_uid: request.map(ToString::to_string),
            was_before_us,
        };
        if stream.failure_note.as_ref() == Some(&note) {
            return Ok(());
        }
        let text = serde_json::to_string(&note)
            .map_err(|source| WriteError::Malformed { what: "a failure note".to_owned(), source })?;
        let patch = json!({
            "metadata": {"uid": stream.uid.as_str(), "annotations": {FailureNote::ANNOTATION: text}},
        });
        let target = self.target(&self.gathered.resource, Watched::Stream, &stream.key.name);
        self.context.merge(target, Part::Main, patch).await
    }

    /// Writes what differs. An announcement is sent in any case, so that it fails where somebody else has
    /// written the stream since this decision was made.
    async fn write_status(&self, wanted: &StreamStatus, announce: bool) -> Result<Applied, WriteError> {
        let stream = self.stream();
        let schema = &self.gathered.status_schema;
        let target = self.target(&self.gathered.resource, Watched::Stream, &stream.key.name);
        let fields = status::patch(stream, wanted, schema, self.gathered.observed.now);
        let mut metadata = json!({"uid": stream.uid.as_str()});
        if announce {
            metadata["resourceVersion"] = json!(stream.resource_version);
        }
        let phase = wanted.phase.filter(|phase| schema.word(*phase).is_none());
        if let Some(phase) = phase.filter(|phase| announce || stream.recorded.phase != Some(*phase)) {
            metadata["annotations"] = json!({well_known::ANNOTATION_PHASE: phase.as_str()});
            self.context.merge(target, Part::Main, json!({"metadata": metadata})).await?;
            metadata = json!({"uid": stream.uid.as_str()});
        }
        if !fields.is_empty() || (announce && phase.is_none()) {
            let patch = json!({"metadata": metadata, "status": fields});
            match self.context.merge(target, Part::Status, patch).await {
                Ok(()) => {}
                // The stream is gone: nothing may be created for it.
                Err(error) if error.is_not_found() => return Ok(Applied::MovedOn),
                Err(error) if error.is_refusal() => {
                    self.status_refused(&error);
                    return Ok(Applied::All);
                }
                Err(error) => return Err(error),
            }
        }
        if stream.recorded.phase_is_annotated && wanted.phase.is_some_and(|phase| schema.word(phase).is_some()) {
            // It was written when the status had no word for the phase.
            let metadata = json!({"uid": stream.uid.as_str(), "annotations": {well_known::ANNOTATION_PHASE: null}});
            self.context.merge(target, Part::Main, json!({"metadata": metadata})).await?;
        }
        self.tell_of(wanted).await;
        Ok(Applied::All)
    }

    /// A plugin's CRD refuses what we write. That is for the class to say; the stream goes on without.
    fn status_refused(&self, error: &WriteError) {
        tracing::warn!(stream = %self.stream().key, %error, "status refused");
        let kind = &self.stream().key.kind;
        let mut caches = self.context.caches();
        let words = error.words().unwrap_or_default().to_owned();
        if let Some(entry) = caches.kinds.get_mut(kind)
            && entry.status_refused.as_ref() != Some(&words)
        {
            entry.status_refused = Some(words);
            let classes: Vec<Key> = caches.classes_of(kind).map(|class| Key::Class(class.name.clone())).collect();
            drop(caches);
            for class in classes {
                self.context.queue.add(class);
            }
        }
    }

    async fn create_job(&self, name: &str, role: &Role, dry_run: bool) -> Result<Applied, WriteError> {
        let backfill = self.backfill_of(role);
        let Some(blueprint) = self.blueprint(name, role, backfill.as_ref()) else { return Ok(Applied::MovedOn) };
        let resource = resources::jobs();
        let object = self.beside(name);
        let target = self.target(&resource, Watched::Job, &object);
        match self.context.create(target, job_builder::build(&blueprint), dry_run).await {
            Ok(()) if dry_run => Ok(Applied::All),
            Ok(()) => {
                let stream = self.stream();
                self.forget_what_was_said();
                let (reason, note) = match role {
                    Role::Streaming => ("StreamStarted", format!("created Job {name}")),
                    Role::Backfill { request } => {
                        ("BackfillStarted", format!("created Job {name} for BackfillRequest {}", request.name))
                    }
                };
                tracing::info!(stream = %stream.key, job = name, reason, "created Job");
                self.tell(reason, note, false).await;
                Ok(Applied::All)
            }
            Err(error) if error.is_already_exists() => self.find_out_whose(name, &error).await,
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

    /// What lets something run has failed in a way that leaves open whether it came through: until that is known, what the
    /// watches show isn't believed.
    fn doubt_after(&self, error: &WriteError, dry_run: bool) {
        if !dry_run && error.may_have_been_done() {
            let stream = self.stream();
            self.context.caches().memory_of(&stream.key, &stream.uid).doubts_watches();
        }
    }

    /// What has been started is in place: what was said before is said again if it comes again.
    fn forget_what_was_said(&self) {
        let stream = self.stream();
        let mut caches = self.context.caches();
        let memory = caches.memory_of(&stream.key, &stream.uid);
        memory.refused = None;
        memory.told = None;
    }

    /// A Job of the wanted name exists, and the watch of Jobs doesn't show it as ours.
    async fn find_out_whose(&self, name: &str, error: &WriteError) -> Result<Applied, WriteError> {
        let stream = self.stream();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.context.client.clone(), &stream.key.name.namespace, &resources::jobs());
        let job = api.get_opt(name).await.map_err(|source| WriteError::Api {
            what: format!("get Job {name} after {error}"),
            source: Box::new(source),
        })?;
        let ours = job.is_none_or(|job| self.controls(&job));
        if !ours {
            tracing::info!(stream = %stream.key, job = name, "the name belongs to somebody else");
            let mut caches = self.context.caches();
            caches.memory_of(&stream.key, &stream.uid).taken_names.insert(name.to_owned());
        }
        Ok(Applied::MovedOn)
    }

    fn controls(&self, object: &DynamicObject) -> bool {
        let owners = object.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| owner.controller == Some(true) && owner.uid == self.stream().uid.as_str())
    }

    fn remember_refusal(&self, blueprint: &Blueprint<'_>, error: &WriteError) {
        let stream = self.stream();
        tracing::warn!(stream = %stream.key, name = blueprint.name, %error, "refused");
        let mut caches = self.context.caches();
        let memory = caches.memory_of(&stream.key, &stream.uid);
        let backfilling = blueprint.purpose.is_backfill();
        let what = (stream.generation, blueprint.template.0.hash.clone());
        let is_same = |before: &RefusedJob| before.what == what && before.refusal.backfilling == backfilling;
        let times = memory.refused.take().filter(is_same).map_or(0, |before| before.times);
        let message = error.words().unwrap_or_default().to_owned();
        let (pause, times) =
            if passes_by_itself(&message) { (5, times) } else { ((5_i64 << times.min(6)).min(300), times + 1) };
        let now = self.gathered.observed.now;
        let try_again_at = now.checked_add(SignedDuration::from_secs(pause)).unwrap_or(now);
        let refusal = Refusal { backfilling, message, try_again_at };
        memory.refused = Some(RefusedJob { what, times, refusal });
    }

    fn backfill_of(&self, role: &Role) -> Option<(Uid, BackfillContext)> {
        let Role::Backfill { request } = role else { return None };
        let request = self.request(request)?;
        let context = BackfillContext {
            id: request.name.name.clone(),
            request_spec: request.spec.clone(),
            payload: request.payload.clone(),
        };
        Some((request.uid.clone(), context))
    }

    fn blueprint<'b>(
        &'b self,
        name: &'b str,
        role: &Role,
        backfill: Option<&'b (Uid, BackfillContext)>,
    ) -> Option<Blueprint<'b>> {
        let gathered = self.gathered;
        let asked = gathered.observed.asked.as_ref().ok()?;
        let (template, content) = match role {
            Role::Streaming => (&asked.streaming_template, &gathered.streaming_template),
            Role::Backfill { .. } => (&asked.backfill_template, &gathered.backfill_template),
        };
        Some(Blueprint {
            name,
            stream: &gathered.observed.stream,
            api_version: &gathered.resource.api_version,
            class: &asked.class,
            template: (template.as_ref().ok()?, content.as_ref()?),
            secrets: &gathered.secrets,
            purpose: backfill.map_or(Purpose::Streaming, |(uid, context)| Purpose::Backfill(uid.as_str(), context)),
        })
    }

    /// Tells of a new state; what a Job's creation tells is not told twice.
    async fn tell_of(&self, wanted: &StreamStatus) {
        let Some(conditions) = &wanted.conditions else { return };
        self.tell_of_run(wanted.phase, conditions).await;
        let Some(said) = conditions.iter().find(|condition| condition.type_ == well_known::CONDITION_READY) else {
            return;
        };
        if wanted.job_name.is_some() && said.holds {
            return;
        }
        let stream = self.stream();
        let news = (said.reason.clone(), said.message.clone());
        {
            let mut caches = self.context.caches();
            let memory = caches.memory_of(&stream.key, &stream.uid);
            let is_told = memory.told.as_ref() == Some(&news)
                || memory.told.is_none() && status::gives_reason(stream, &said.reason, &self.gathered.status_schema);
            memory.told = Some(news);
            if is_told {
                return;
            }
        }
        self.tell(&said.reason, said.message.clone(), !said.holds).await;
    }

    async fn tell(&self, reason: &str, note: String, warning: bool) {
        let stream = self.stream();
        self.context.tell(&self.gathered.resource, &stream.key.name, &stream.uid, (reason, note, warning)).await;
    }
}

/// Writes a request's status, if nobody has written the request since it was seen: what was decided before must not
/// take back what was recorded meanwhile.
pub async fn write_request_status(
    context: &Context,
    key: &Key,
    request: &RequestFacts,
    wanted: &RequestStatus,
    accepted_by: Option<&Uid>,
) -> Result<(), WriteError> {
    let now = context.clock.now();
    let now = now.round(Unit::Second).unwrap_or(now);
    let mut fields = json!({
        "phase": wanted.phase.as_str(),
        "conditions": request_conditions(wanted, now),
    });
    if let Some(name) = &wanted.job_name {
        fields["jobName"] = json!(name);
    }
    if let Some(uid) = accepted_by {
        fields["streamUid"] = json!(uid.as_str());
    }
    if wanted.phase == BackfillRequestPhase::Running && request.start_time.is_none() {
        fields["startTime"] = json!(now.to_string());
    }
    if wanted.phase.is_final() {
        fields["completionTime"] = json!(now.to_string());
    }
    let metadata = json!({"uid": request.uid.as_str(), "resourceVersion": request.resource_version});
    let patch = json!({"metadata": metadata, "status": fields});
    let resource = resources::backfill_requests();
    let target = Target { resource: &resource, watched: Watched::Request, name: &request.name, key };
    context.merge(target, Part::Status, patch).await
}

/// A request is healthy while it runs, however long that takes; it is stuck when it has failed.
fn request_conditions(wanted: &RequestStatus, now: Timestamp) -> Value {
    let (ready, reconciling, stalled) = match wanted.phase {
        BackfillRequestPhase::Running | BackfillRequestPhase::Completed | BackfillRequestPhase::Cancelled => {
            (true, false, false)
        }
        BackfillRequestPhase::Failed => (false, false, true),
        BackfillRequestPhase::Pending | BackfillRequestPhase::Unknown(_) => (false, true, false),
    };
    let condition = |type_: &str, holds: bool| {
        json!({
            "type": type_,
            "status": if holds { "True" } else { "False" },
            "reason": wanted.reason,
            "message": wanted.message,
            "lastTransitionTime": now.to_string(),
        })
    };
    json!([
        condition(well_known::CONDITION_READY, ready),
        condition(well_known::CONDITION_RECONCILING, reconciling),
        condition(well_known::CONDITION_STALLED, stalled),
    ])
}
