//! StreamingJobTemplates: whether the API server would take a Job made from one (condition `Valid`).

use std::time::Instant;

use arcane_common::{
    api::{condition::ConditionStatus, well_known},
    identity::ObjectName,
    validation::join,
};
use jiff::Unit;
use serde_json::json;

use crate::{
    caches::Watched,
    context::Context,
    facts::TemplateFacts,
    job_builder,
    key::Key,
    reconcile::Next,
    resources,
    writes::{Part, Target, WriteError},
};

/// What is to be said of a template, before the API server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All is said.
    Nothing,
    /// It is wrong in itself.
    Say(Verdict),
    /// Only the API server can tell.
    AskApiServer,
}

/// What the condition `Valid` shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub valid: bool,
    /// A stable CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Decides what is to be said of a template. Each generation is judged once.
pub fn plan(template: &TemplateFacts) -> Plan {
    let is_judged =
        template.recorded.as_ref().is_some_and(|judged| judged.observed_generation == Some(template.generation));
    if is_judged || template.deleting {
        return Plan::Nothing;
    }
    let content = match &template.found.content {
        Ok(content) => content,
        Err(violations) => {
            return Plan::Say(Verdict { valid: false, reason: "Invalid", message: join(violations) });
        }
    };
    let without_image = content.containers_without_image();
    if !without_image.is_empty() {
        let message = format!("container {} has no image; no Job can be made from it", without_image.join(", "));
        return Plan::Say(Verdict { valid: false, reason: "ImageMissing", message });
    }
    Plan::AskApiServer
}

/// Judges one template.
pub async fn reconcile(context: &Context, name: &ObjectName) -> Result<Next, WriteError> {
    let key = Key::Template(name.clone());
    let template = {
        let mut caches = context.caches();
        if let Some(wait) = caches.wait_for_own_writes(&key, Instant::now()) {
            return Ok(Next::After(wait));
        }
        caches.templates.get(name).cloned()
    };
    let Some(template) = template else { return Ok(Next::Change) };
    let verdict = match plan(&template) {
        Plan::Nothing => return Ok(Next::Change),
        Plan::Say(verdict) => verdict,
        Plan::AskApiServer => ask(context, &key, &template).await?,
    };
    say(context, &key, &template, &verdict).await?;
    Ok(Next::Change)
}

async fn ask(context: &Context, key: &Key, template: &TemplateFacts) -> Result<Verdict, WriteError> {
    let Ok(content) = &template.found.content else {
        return Ok(Verdict { valid: false, reason: "Invalid", message: String::new() });
    };
    let resource = resources::jobs();
    let target = Target { resource: &resource, watched: Watched::Job, name: &template.name, key };
    let probe = job_builder::probe(&template.name.namespace, content);
    match context.create(target, probe, true).await {
        Ok(()) => {
            let warnings = join(&content.warnings);
            let message = if warnings.is_empty() {
                "the API server takes Jobs made from it".to_owned()
            } else {
                format!("the API server takes Jobs made from it, but: {warnings}")
            };
            Ok(Verdict { valid: true, reason: "Valid", message })
        }
        Err(error) if error.is_refusal() => {
            let message = format!("the API server refuses a Job made from it: {}", error.words().unwrap_or_default());
            Ok(Verdict { valid: false, reason: "JobRefused", message })
        }
        Err(error) => Err(error),
    }
}

async fn say(context: &Context, key: &Key, template: &TemplateFacts, verdict: &Verdict) -> Result<(), WriteError> {
    let now = context.clock.now();
    let now = now.round(Unit::Second).unwrap_or(now);
    let before = template.recorded.as_ref();
    let since = before
        .filter(|before| (before.status == ConditionStatus::True) == verdict.valid)
        .and_then(|before| before.last_transition_time.as_ref())
        .map_or(now, |time| time.0);
    let condition = |type_: &str, holds: bool| {
        json!({
            "type": type_,
            "status": if holds { "True" } else { "False" },
            "reason": verdict.reason,
            "message": verdict.message,
            "lastTransitionTime": since.to_string(),
            "observedGeneration": template.generation,
        })
    };
    // The last two are for those who know the words of kstatus only.
    let conditions = [
        condition(well_known::CONDITION_VALID, verdict.valid),
        condition(well_known::CONDITION_READY, verdict.valid),
        condition(well_known::CONDITION_STALLED, !verdict.valid),
    ];
    let patch = json!({
        "metadata": {"uid": template.uid.as_str()},
        "status": {"observedGeneration": template.generation, "conditions": conditions},
    });
    let resource = resources::templates();
    let target = Target { resource: &resource, watched: Watched::Template, name: &template.name, key };
    match context.merge(target, Part::Status, patch).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
        Err(error) => return Err(error),
    }
    if !verdict.valid && before.is_none_or(|before| before.message != verdict.message) {
        let news = (verdict.reason, verdict.message.clone(), true);
        context.tell(&resource, &template.name, &template.uid, news).await;
    }
    Ok(())
}
