//! StreamingJobTemplates: whether the API server would take a Job made from one (condition `Valid`).

use std::time::{Duration, Instant};

use arcane_common::{
    api::{condition::ConditionStatus, well_known},
    identity::ObjectName,
    validation::join,
};
use jiff::{SignedDuration, Timestamp, Unit};
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

/// What the condition `Valid` says where the API server would take the Job but for something that isn't the template's: a quota,
/// a policy, a namespace on its way out. That may pass without a change of the template.
const FORBIDDEN: &str = "JobForbidden";

/// What is forbidden is asked about again when it has been so for twice as long, but within these times.
const ASK_AGAIN: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(5), SignedDuration::from_mins(5));

/// Decides what is to be said of a template. Each generation is judged once, unless what is said of it may pass.
pub fn plan(template: &TemplateFacts) -> Plan {
    let is_judged = template
        .recorded
        .as_ref()
        .is_some_and(|judged| judged.observed_generation == Some(template.generation) && judged.reason != FORBIDDEN);
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
    Ok(if verdict.reason == FORBIDDEN {
        Next::After(asked_again_in(&template, context.clock.now()))
    } else {
        Next::Change
    })
}

/// When to ask again about a Job that is forbidden.
fn asked_again_in(template: &TemplateFacts, now: Timestamp) -> Duration {
    let since = template
        .recorded
        .as_ref()
        .filter(|valid| valid.reason == FORBIDDEN)
        .and_then(|valid| valid.last_transition_time.as_ref());
    let for_so_long = since.map(|since| now.duration_since(since.0)).unwrap_or_default();
    for_so_long.clamp(ASK_AGAIN.0, ASK_AGAIN.1).unsigned_abs()
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
            let reason = if error.is_forbidden() { FORBIDDEN } else { "JobRefused" };
            Ok(Verdict { valid: false, reason, message })
        }
        Err(error) => Err(error),
    }
}

async fn say(context: &Context, key: &Key, template: &TemplateFacts, verdict: &Verdict) -> Result<(), WriteError> {
    let now = context.clock.now();
    let now = now.round(Unit::Second).unwrap_or(now);
    let before = template.recorded.as_ref();
    let same = before.filter(|before| (before.status == ConditionStatus::True) == verdict.valid);
    let is_said = same.is_some_and(|before| {
        before.observed_generation == Some(template.generation)
            && (before.reason.as_str(), &before.message) == (verdict.reason, &verdict.message)
    });
    if is_said {
        return Ok(());
    }
    let since = same.and_then(|before| before.last_transition_time.as_ref()).map_or(now, |time| time.0);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn judged(reason: &str, since: &str) -> TemplateFacts {
        let spec = json!({"template": {"spec": {"containers": [{"name": "stream", "image": "plugin:1"}]}}});
        let condition = json!({
            "type": "Valid", "status": "False", "reason": reason, "message": "exceeded quota", "observedGeneration": 3,
            "lastTransitionTime": since,
        });
        let template = json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate",
            "metadata": {"name": "t", "namespace": "ns", "generation": 3}, "spec": spec,
            "status": {"observedGeneration": 3, "conditions": [condition]},
        });
        TemplateFacts::of(&serde_json::from_value(template).unwrap())
    }

    #[test]
    fn what_may_pass_without_a_change_of_the_template_is_asked_about_again() {
        assert_eq!(plan(&judged("JobRefused", "2030-01-01T00:00:00Z")), Plan::Nothing);
        assert_eq!(plan(&judged(FORBIDDEN, "2030-01-01T00:00:00Z")), Plan::AskApiServer);
        let again = |reason: &str, now: &str| {
            asked_again_in(&judged(reason, "2030-01-01T00:00:00Z"), now.parse().unwrap()).as_secs()
        };
        assert_eq!(again(FORBIDDEN, "2030-01-01T00:00:01Z"), 5);
        assert_eq!(again(FORBIDDEN, "2030-01-01T00:01:00Z"), 60);
        assert_eq!(again(FORBIDDEN, "2030-01-02T00:00:00Z"), 300);
        assert_eq!(again(FORBIDDEN, "2029-01-01T00:00:00Z"), 5, "a clock that was set back");
        assert_eq!(again("JobRefused", "2030-01-02T00:00:00Z"), 5, "forbidden only now");
    }
}
