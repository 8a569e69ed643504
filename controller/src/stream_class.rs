//! StreamClasses: which kinds are watched, and what each class says of itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use arcane_common::{
    api::{condition::ConditionStatus, stream_class::StreamClassPhase, well_known},
    identity::ObjectName,
    references::ClassCandidate,
    validation::{join, validate_group_of_class},
};
use jiff::Unit;
use serde_json::json;

use crate::{
    caches::{Caches, WatchTrouble, Watched},
    context::Context,
    facts::ClassFacts,
    key::Key,
    reconcile::Next,
    resources,
    rolling_update::{self, News, Progress},
    stream::UP_TO_DATE,
    writes::{Part, Target, WriteError},
};

/// Counts of streams are written at most this often.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// What is seen of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The class.
    pub class: ClassFacts,
    /// What is seen of the kind it registers.
    pub kind: Kind,
    /// Numbers of its streams by phase.
    pub streams: BTreeMap<String, i64>,
    /// What the API server said when a stream's status was refused.
    pub status_refused: Option<String>,
    /// Why `spec.streamSchema` can't be used.
    pub schema_problem: Option<String>,
    /// The webhook's configuration, where it is to be waited for and doesn't name the kind yet.
    pub waits_for_admission: Option<String>,
    /// How far its rolling update is.
    pub update: News,
}

/// What is seen of a kind of stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no CustomResourceDefinition of the plural and group.
    NoDefinition,
    /// It is a kind of Arcane itself.
    OfOurs,
    /// Its group can't be a plugin's; why, in the webhook's words.
    OfKubernetes(String),
    /// The definition of the plural and group is that of another kind.
    Other(String),
    /// The definition doesn't serve the class's version.
    VersionNotServed(Vec<String>),
    /// Its first list, or the first look at the webhook's registration, is under way.
    Listing,
    /// It can't be watched.
    Trouble(WatchTrouble),
    /// It is watched.
    Watched,
}

/// What a class's status shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The phase.
    pub phase: StreamClassPhase,
    /// A stable CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// Numbers of streams by phase.
    pub streams: BTreeMap<String, i64>,
    /// What it says of its rolling update; nothing while all is up to date.
    pub update: Option<Progress>,
}

/// A decision about a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All is said.
    Nothing,
    /// Only the numbers differ; they can wait.
    Counts(Status),
    /// The state differs.
    State(Status),
}

/// Decides what a class's status shall say.
pub fn plan(observed: &Observed) -> Plan {
    let class = &observed.class;
    let recorded = &class.status;
    // A list that is under way is no news of a class of which something is said: a controller that starts would take
    // back what its predecessor said, and say it again.
    if observed.kind == Kind::Listing && !class.deleting && recorded.observed_generation == Some(class.generation) {
        return Plan::Nothing;
    }
    let (phase, reason, message) = say(observed);
    let recorded_update = recorded.conditions.iter().find(|condition| condition.type_ == UP_TO_DATE);
    let update = match &observed.update {
        News::Unknown => recorded_update.and_then(Progress::recorded),
        News::Nothing => None,
        News::Said(progress) => Some(progress.clone()),
    };
    let status = Status { phase, reason, message, streams: observed.streams.clone(), update };
    let ready = recorded.conditions.iter().find(|condition| condition.type_ == well_known::CONDITION_READY);
    let is_said = recorded.phase.as_ref() == Some(&status.phase)
        && recorded.observed_generation == Some(class.generation)
        && ready.is_some_and(|ready| ready.reason == status.reason && ready.message == status.message)
        && recorded_update.map(|update| update.reason.as_str()) == status.update.as_ref().map(|update| update.reason);
    let is_counted = recorded.streams == status.streams
        && recorded_update.map(|update| &update.message) == status.update.as_ref().map(|update| &update.message);
    if !is_said {
        Plan::State(status)
    } else if !is_counted {
        Plan::Counts(status)
    } else {
        Plan::Nothing
    }
}

fn say(observed: &Observed) -> (StreamClassPhase, &'static str, String) {
    let spec = &observed.class.spec;
    let crd = observed.class.crd_name();
    match &observed.kind {
        _ if observed.class.deleting => {
            (StreamClassPhase::Stopped, "Deleting", "its streams are no longer looked after".to_owned())
        }
        Kind::NoDefinition => (
            StreamClassPhase::Pending,
            "CustomResourceDefinitionMissing",
            format!(
                "spec.pluralName: Not found: there is no CustomResourceDefinition {crd}; install the plugin's CRD, \
                 or correct spec.pluralName and spec.apiGroupRef"
            ),
        ),
        Kind::OfOurs => (
            StreamClassPhase::Failed,
            "NotAStream",
            format!(
                "spec.kindRef: Invalid value: {:?}: a kind of Arcane itself is no stream; name the kind and plural of a \
                 plugin's streams",
                spec.kind_ref
            ),
        ),
        Kind::OfKubernetes(words) => (StreamClassPhase::Failed, "NotAStream", words.clone()),
        Kind::Other(kind) => (
            StreamClassPhase::Failed,
            "KindMismatch",
            format!(
                "spec.kindRef: Invalid value: {:?}: CustomResourceDefinition {crd} defines the kind {kind}; correct \
                 spec.kindRef or spec.pluralName",
                spec.kind_ref
            ),
        ),
        Kind::VersionNotServed(versions) => (
            StreamClassPhase::Pending,
            "VersionNotServed",
            format!(
                "spec.apiVersion: Unsupported value: {:?}: CustomResourceDefinition {crd} serves {}",
                spec.api_version,
                if versions.is_empty() { "no version yet".to_owned() } else { versions.join(", ") }
            ),
        ),
        Kind::Listing => (StreamClassPhase::Pending, "Listing", format!("{} is being listed", spec.plural_name)),
        Kind::Trouble(trouble) if trouble.forbidden => (
            StreamClassPhase::Failed,
            "Forbidden",
            format!("{}; create this ClusterRole: {}", trouble.message, missing_role(observed)),
        ),
        Kind::Trouble(trouble) => (StreamClassPhase::Failed, "WatchFailed", trouble.message.clone()),
        Kind::Watched => match observed {
            Observed { waits_for_admission: Some(configuration), .. } => (
                StreamClassPhase::Pending,
                "AdmissionPending",
                format!(
                    "streams of kind {} are looked after, but not judged when they are applied: \
                     ValidatingWebhookConfiguration {configuration} has no rule for {crd} yet; does the webhook run?",
                    spec.kind_ref
                ),
            ),
            Observed { schema_problem: Some(words), .. } => (
                StreamClassPhase::Ready,
                "StreamSchemaInvalid",
                format!("streams are looked after, but not judged by a schema: {words}"),
            ),
            Observed { status_refused: Some(words), .. } => (
                StreamClassPhase::Ready,
                "StatusRefused",
                format!("streams are looked after, but CustomResourceDefinition {crd} refuses their status: {words}"),
            ),
            _ => (StreamClassPhase::Ready, "Ready", format!("streams of kind {} are looked after", spec.kind_ref)),
        },
    }
}

/// The very object that is missing, for `kubectl apply`.
fn missing_role(observed: &Observed) -> String {
    let spec = &observed.class.spec;
    let group = spec.group();
    let plural = &spec.plural_name;
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": format!("arcane-operator-{plural}"),
            "labels": {well_known::LABEL_AGGREGATE_TO_CONTROLLER: "true"},
        },
        "rules": [
            {"apiGroups": [group], "resources": [plural], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [group], "resources": [format!("{plural}/status")], "verbs": ["patch"]},
            {"apiGroups": [group], "resources": [format!("{plural}/finalizers")], "verbs": ["update"]},
        ],
    })
    .to_string()
}

fn gather(
    caches: &mut Caches,
    name: &str,
    configuration: Option<&str>,
    update: &News,
    counts: Counts,
) -> Option<Observed> {
    let class = (**caches.classes.get(&name.to_owned())?).clone();
    let group_kind = class.kind();
    let crd = caches.crds.get(&class.crd_name()).filter(|crd| crd.established);
    let of_kubernetes = validate_group_of_class(class.spec.group()).err();
    let kind = match (crd, caches.kinds.get(&group_kind)) {
        _ if class.spec.names_a_kind_of_ours() => Kind::OfOurs,
        _ if let Some(violation) = of_kubernetes => Kind::OfKubernetes(violation.to_string()),
        (None, _) => Kind::NoDefinition,
        (Some(crd), _) if crd.kind != class.spec.kind_ref => Kind::Other(crd.kind.clone()),
        (Some(crd), _) if !crd.versions.contains_key(&class.spec.api_version) => {
            Kind::VersionNotServed(crd.versions.keys().cloned().collect())
        }
        (Some(_), None) => Kind::Listing,
        (Some(_), Some(entry)) => match entry.troubles.values().next() {
            Some(trouble) => Kind::Trouble(trouble.clone()),
            None if !entry.streams.is_synced() => Kind::Listing,
            None if configuration.is_some() && caches.admission.is_none() => Kind::Listing,
            None => Kind::Watched,
        },
    };
    let streams = match counts {
        Counts::OfNow => {
            let candidates: Vec<ClassCandidate> = caches.classes_of(&group_kind).map(|it| it.candidate()).collect();
            caches.streams_by_phase(&group_kind, &class.name, &candidates)
        }
        Counts::AsRecorded => class.status.streams.clone(),
    };
    let status_refused = caches.kinds.get(&group_kind).and_then(|entry| entry.status_refused.clone());
    let schema = class.spec.stream_schema.as_ref();
    let schema_problem = schema.and_then(|schema| caches.schemas.of(name, schema).err()).map(|found| join(&found));
    let group = class.spec.group();
    // Our own group is shown as a whole.
    let is_shown = group == well_known::GROUP
        || caches.admission.as_ref().is_some_and(|admission| admission.shows(group, &class.spec.plural_name));
    let waits_for_admission = configuration.filter(|_| !is_shown).map(ToOwned::to_owned);
    Some(Observed { class, kind, streams, status_refused, schema_problem, waits_for_admission, update: update.clone() })
}

/// Which numbers of streams are taken: all streams are gone through for those of now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    OfNow,
    AsRecorded,
}

/// Watches what the classes register, and says how one of them is.
pub async fn reconcile(context: &Context, name: &str) -> Result<Next, WriteError> {
    let key = Key::Class(name.to_owned());
    let (observed, next) = {
        let mut caches = context.caches();
        let decision = rolling_update::decide(&mut caches, name, context.clock.now());
        for stream in decision.streams {
            context.queue.add(Key::Stream(stream));
        }
        let later = |wait| Next::After(sooner(wait, decision.look_again));
        if let Some(wait) = caches.wait_for_own_writes(&key, Instant::now()) {
            return Ok(later(wait));
        }
        let (configuration, news) = (context.webhook_configuration.as_deref(), &decision.news);
        let next = decision.look_again.map_or(Next::Change, Next::After);
        let Some(uncounted) = gather(&mut caches, name, configuration, news, Counts::AsRecorded) else {
            return Ok(next);
        };
        // Streams change all the time, and all of them are gone through to count them.
        let wait = match plan(&uncounted) {
            Plan::State(_) => None,
            Plan::Nothing | Plan::Counts(_) => caches.wait_before_counting(name, Instant::now(), COUNTS_EVERY),
        };
        if let Some(wait) = wait {
            return Ok(later(wait));
        }
        (gather(&mut caches, name, configuration, news, Counts::OfNow).unwrap_or(uncounted), next)
    };
    match plan(&observed) {
        Plan::Nothing => {}
        Plan::State(status) | Plan::Counts(status) => write(context, &key, &observed, &status).await?,
    }
    Ok(next)
}

/// The lesser of two waits, of which one may not be.
fn sooner(wait: Duration, other: Option<Duration>) -> Duration {
    other.map_or(wait, |other| other.min(wait))
}

async fn write(context: &Context, key: &Key, observed: &Observed, status: &Status) -> Result<(), WriteError> {
    let class = &observed.class;
    let now = context.clock.now();
    let now = now.round(Unit::Second).unwrap_or(now);
    let (ready, stalled) = (status.phase == StreamClassPhase::Ready, status.phase == StreamClassPhase::Failed);
    let condition = |type_: &str, holds: bool| {
        let before = class.status.conditions.iter().find(|before| before.type_ == type_);
        let since = before
            .filter(|before| (before.status == ConditionStatus::True) == holds)
            .and_then(|before| before.last_transition_time.as_ref())
            .map_or(now, |time| time.0);
        json!({
            "type": type_,
            "status": if holds { "True" } else { "False" },
            "reason": status.reason,
            "message": status.message,
            "lastTransitionTime": since.to_string(),
            "observedGeneration": class.generation,
        })
    };
    let mut conditions = vec![
        condition(well_known::CONDITION_READY, ready),
        condition(well_known::CONDITION_RECONCILING, !ready && !stalled),
        condition(well_known::CONDITION_STALLED, stalled),
    ];
    if let Some(update) = &status.update {
        let mut outdated = condition(UP_TO_DATE, false);
        outdated["reason"] = json!(update.reason);
        outdated["message"] = json!(update.message);
        conditions.push(outdated);
    }
    // A merge patch keeps entries that it doesn't name: phases without streams are taken out by null.
    let mut streams: BTreeMap<String, serde_json::Value> =
        class.recorded_streams().keys().map(|phase| (phase.clone(), serde_json::Value::Null)).collect();
    streams.extend(status.streams.iter().map(|(phase, number)| (phase.clone(), json!(number))));
    let patch = json!({
        "metadata": {"uid": class.uid.as_str()},
        "status": {
            "phase": status.phase.as_str(),
            "observedGeneration": class.generation,
            "streams": streams,
            "conditions": conditions,
        },
    });
    let resource = resources::classes();
    let object = ObjectName::new("", &class.name);
    let target = Target { resource: &resource, watched: Watched::Class, name: &object, key };
    match context.merge(target, Part::Status, patch).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
        Err(error) => return Err(error),
    }
    let reason_before = class.status.conditions.iter().find(|it| it.type_ == well_known::CONDITION_READY);
    let is_news = reason_before.is_none_or(|before| before.reason != status.reason) && status.reason != "Listing";
    if is_news {
        let news = (status.reason, status.message.clone(), !ready);
        context.tell(&resource, &object, &class.uid, news).await;
    }
    if let Some(update) = &status.update
        && class.status.conditions.iter().all(|before| before.type_ != UP_TO_DATE || before.reason != update.reason)
    {
        let news = (update.reason, update.message.clone(), update.reason == Progress::STOPPED);
        context.tell(&resource, &object, &class.uid, news).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arcane_common::{
        api::stream_class::{StreamClassSpec, StreamClassStatus},
        identity::Uid,
    };

    use super::*;

    fn observed(kind: Kind) -> Observed {
        let spec = StreamClassSpec {
            api_group_ref: Some("acme.io".into()),
            api_version: "v1".into(),
            kind_ref: "Order".into(),
            plural_name: "orders".into(),
            ..StreamClassSpec::default()
        };
        let class = ClassFacts {
            name: "c".into(),
            uid: Uid::new("u"),
            resource_version: "1".into(),
            generation: 1,
            spec,
            status: StreamClassStatus::default(),
            is_default: false,
            created: String::new(),
            deleting: false,
        };
        Observed {
            class,
            kind,
            streams: BTreeMap::new(),
            status_refused: None,
            schema_problem: None,
            waits_for_admission: None,
            update: News::Nothing,
        }
    }

    #[test]
    fn each_state_of_the_kind_has_its_words() {
        let forbidden = WatchTrouble { forbidden: true, message: "orders.acme.io is forbidden".into() };
        for (kind, phase, reason) in [
            (Kind::NoDefinition, StreamClassPhase::Pending, "CustomResourceDefinitionMissing"),
            (Kind::OfOurs, StreamClassPhase::Failed, "NotAStream"),
            (Kind::OfKubernetes("belongs to Kubernetes".into()), StreamClassPhase::Failed, "NotAStream"),
            (Kind::Other("Orders".into()), StreamClassPhase::Failed, "KindMismatch"),
            (Kind::VersionNotServed(vec!["v2".into()]), StreamClassPhase::Pending, "VersionNotServed"),
            (Kind::Listing, StreamClassPhase::Pending, "Listing"),
            (Kind::Trouble(forbidden), StreamClassPhase::Failed, "Forbidden"),
            (Kind::Watched, StreamClassPhase::Ready, "Ready"),
        ] {
            let Plan::State(status) = plan(&observed(kind)) else { unreachable!("a new class has no status") };
            assert_eq!((status.phase, status.reason), (phase, reason));
        }
    }

    #[test]
    fn the_missing_role_can_be_applied_as_it_is_printed() {
        let forbidden = WatchTrouble { forbidden: true, message: "no".into() };
        let Plan::State(status) = plan(&observed(Kind::Trouble(forbidden))) else { unreachable!() };
        let start = status.message.find('{').unwrap_or_default();
        let role: serde_json::Value = serde_json::from_str(&status.message[start..]).unwrap_or_default();
        assert_eq!(role["kind"], "ClusterRole");
        assert_eq!(role["rules"][0]["resources"][0], "orders");
        assert_eq!(role["metadata"]["labels"][well_known::LABEL_AGGREGATE_TO_CONTROLLER], "true");
    }

    #[test]
    fn a_kind_that_is_watched_may_still_lack_something() {
        let said = |observed: &Observed| match plan(observed) {
            Plan::State(status) => (status.phase, status.reason),
            Plan::Nothing | Plan::Counts(_) => unreachable!("a new class has no status"),
        };
        let watched = observed(Kind::Watched);
        let without_schema = Observed { schema_problem: Some("no".into()), ..watched.clone() };
        assert_eq!(said(&without_schema), (StreamClassPhase::Ready, "StreamSchemaInvalid"));
        let not_shown = Observed { waits_for_admission: Some("w".into()), ..without_schema };
        assert_eq!(said(&not_shown), (StreamClassPhase::Pending, "AdmissionPending"));
        assert_eq!(said(&Observed { kind: Kind::NoDefinition, ..not_shown }).1, "CustomResourceDefinitionMissing");
    }

    /// A class of which was said what its kind deserves.
    fn said(kind: Kind) -> Observed {
        let mut observed = observed(kind);
        let Plan::State(status) = plan(&observed) else { unreachable!("a new class has no status") };
        let condition = json!({"type": "Ready", "status": "True", "reason": status.reason, "message": status.message});
        observed.class.status = serde_json::from_value(json!({
            "phase": status.phase.as_str(), "observedGeneration": 1, "conditions": [condition],
        }))
        .unwrap_or_default();
        observed
    }

    #[test]
    fn a_list_that_is_under_way_takes_nothing_back() {
        let forbidden = WatchTrouble { forbidden: true, message: "orders.acme.io is forbidden".into() };
        for kind in [Kind::Watched, Kind::Trouble(forbidden), Kind::NoDefinition, Kind::Listing] {
            let listed_again = Observed { kind: Kind::Listing, ..said(kind.clone()) };
            assert_eq!(plan(&listed_again), Plan::Nothing, "{kind:?}");
        }
        let mut edited = Observed { kind: Kind::Listing, ..said(Kind::Watched) };
        edited.class.generation = 2;
        assert!(matches!(plan(&edited), Plan::State(Status { reason: "Listing", .. })));
        let mut deleted = Observed { kind: Kind::Listing, ..said(Kind::Watched) };
        deleted.class.deleting = true;
        assert!(matches!(plan(&deleted), Plan::State(Status { phase: StreamClassPhase::Stopped, .. })));
    }

    #[test]
    fn numbers_alone_can_wait() {
        let mut observed = said(Kind::Watched);
        assert_eq!(plan(&observed), Plan::Nothing);
        observed.streams.insert("Running".into(), 1);
        assert!(matches!(plan(&observed), Plan::Counts(_)));
    }

    #[test]
    fn a_rolling_update_is_told_at_once_and_its_progress_can_wait() {
        let mut observed = observed(Kind::Watched);
        let Plan::State(status) = plan(&observed) else { unreachable!() };
        let said = |progress: &Progress| News::Said(progress.clone());
        let ready = json!({"type": "Ready", "status": "True", "reason": status.reason, "message": status.message});
        let mut first = Progress { reason: Progress::ROLLS, message: "2 of 3".into() };
        observed.class.status = serde_json::from_value(json!({
            "phase": "Ready", "observedGeneration": 1, "conditions": [ready],
        }))
        .unwrap_or_default();
        observed.update = said(&first);
        assert!(matches!(plan(&observed), Plan::State(_)), "it begins");

        let outdated = json!({"type": "UpToDate", "status": "False", "reason": first.reason, "message": first.message});
        observed.class.status = serde_json::from_value(json!({
            "phase": "Ready", "observedGeneration": 1, "conditions": [ready, outdated],
        }))
        .unwrap_or_default();
        assert_eq!(plan(&observed), Plan::Nothing);
        observed.update = News::Unknown;
        assert_eq!(plan(&observed), Plan::Nothing, "a controller that starts takes nothing back");
        first.message = "1 of 3".into();
        observed.update = said(&first);
        assert!(matches!(plan(&observed), Plan::Counts(_)));
        observed.update = said(&Progress { reason: Progress::STOPPED, message: "1 of 3".into() });
        assert!(matches!(plan(&observed), Plan::State(_)), "it stops");
        observed.update = News::Nothing;
        assert!(matches!(plan(&observed), Plan::State(Status { update: None, .. })), "it is done");
    }
}
