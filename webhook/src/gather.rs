//! What each judgement has to know, looked up.

use std::{sync::Arc, time::Duration};

use arcane_common::{
    api::{BackfillRequest, BackfillRequestSpec, MissingReferences, StreamClass, well_known},
    identity::{GroupKind, ObjectName},
    references::{
        ClassCandidate, ClassChoice, Treatment, choose_class, looks_like_a_stream, treatment_of_missing_references,
    },
    stream::layout,
};
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Webhook,
    admission::{
        Request, admit_backfill_request, admit_deletion,
        admit_stream::{self, Class, ObservedClass, ObservedReference},
        admit_stream_class,
    },
    reference_gatherer::{CannotAsk, Extent, ReferenceGatherer},
};

/// How long a list is read that only a warning depends on: the API server waits a second for what is said of a deletion.
const PATIENCE_FOR_A_WARNING: Duration = Duration::from_millis(700);

/// What is to be known of a stream, whose kind these classes register; `None`: nothing is to be judged.
pub(crate) async fn stream(
    webhook: &Webhook,
    request: &Request,
    known: &[Arc<StreamClass>],
) -> Result<Option<admit_stream::Observed>, CannotAsk> {
    let references = &webhook.references;
    if admit_stream::is_exempt(request) {
        return Ok(None);
    }
    let Some(chosen) = class_of(references, request, request.class_label(), known).await? else {
        return Ok(None);
    };
    let old = if request.class_label() == request.old_class_label() {
        chosen.clone()
    } else {
        class_of(references, request, request.old_class_label(), known).await?.unwrap_or(Chosen::None)
    };
    let mut observed = admit_stream::Observed {
        class: chosen.observed(references),
        old_class: old.observed(references),
        references: Vec::new(),
        missing: Treatment::Deny,
    };
    for wanted in admit_stream::references_to_judge(request) {
        let is_elsewhere = wanted.target.namespace != request.namespace;
        let may_read = !is_elsewhere || references.may_read_template(&request.user, &wanted.target).await?;
        let template = if may_read { references.template(&wanted.target, &request.namespace).await? } else { None };
        observed.references.push(ObservedReference {
            in_sight: references.sees(&wanted.target.namespace),
            wanted,
            may_read,
            template,
        });
    }
    let anything_missing = !matches!(chosen, Chosen::Class(_))
        || observed.references.iter().any(|reference| reference.may_read && reference.template.is_none());
    if anything_missing {
        let class = match &chosen {
            Chosen::Class(class) => class.spec.missing_references.as_ref(),
            Chosen::LabelledMissing(_) | Chosen::None => None,
        };
        observed.missing = treatment(webhook, request, class).await?;
    }
    Ok(Some(observed))
}

/// The class of a stream, before it is read.
#[derive(Clone)]
enum Chosen {
    Class(Arc<StreamClass>),
    LabelledMissing(String),
    None,
}

impl Chosen {
    fn observed(&self, references: &ReferenceGatherer) -> ObservedClass {
        match self {
            Self::Class(class) => ObservedClass::Registered(Class {
                secret_refs: class.spec.secret_refs.clone(),
                schema: references.schema_of(class),
            }),
            Self::LabelledMissing(name) => ObservedClass::LabelledMissing(name.clone()),
            Self::None => ObservedClass::None,
        }
    }
}

/// The class of the stream of a request; `None`: the object is no stream.
async fn class_of(
    references: &ReferenceGatherer,
    request: &Request,
    label: Option<&str>,
    known: &[Arc<StreamClass>],
) -> Result<Option<Chosen>, CannotAsk> {
    let kind = &request.kind;
    let mut classes = known.to_vec();
    if let Some(label) = label
        && !classes.iter().any(|class| class.name_any() == label)
    {
        // What isn't known may be there all the same, also as a class that has just changed its kind.
        let found = references.class_now(label).await?;
        classes.extend(found.filter(|class| crate::reference_caches::registers(class, kind)));
    }
    let may_be_a_stream = kind.group == well_known::GROUP && looks_like_a_stream(request.spec());
    if classes.is_empty() && label.is_none() && may_be_a_stream {
        classes = references.classes_of_now(kind).await?;
    }
    if classes.is_empty() && !may_be_a_stream {
        return Ok(None);
    }
    let candidates: Vec<ClassCandidate> = classes.iter().map(|class| candidate(class)).collect();
    Ok(Some(match choose_class(label, None, &candidates) {
        ClassChoice::Class(chosen) => classes
            .iter()
            .find(|class| class.name_any() == chosen.name)
            .map_or(Chosen::None, |class| Chosen::Class(Arc::clone(class))),
        ClassChoice::LabelledMissing(name) => Chosen::LabelledMissing(name.to_owned()),
        ClassChoice::None => Chosen::None,
    }))
}

async fn treatment(
    webhook: &Webhook,
    request: &Request,
    class: Option<&MissingReferences>,
) -> Result<Treatment, CannotAsk> {
    let class = class.filter(|word| !matches!(word, MissingReferences::Unknown(_)));
    let namespace = match class {
        Some(_) => None,
        None => webhook.references.word_of_namespace(&request.namespace).await?,
    };
    Ok(treatment_of_missing_references(
        request.field_manager.as_deref(),
        class,
        namespace.as_ref(),
        &webhook.missing_references,
    ))
}

/// The schema of the plugin's CRD, for a stream whose template namespaces may be filled in.
///
/// Where it can't be told, nothing is filled in: the controller reads an absent namespace in the same way.
pub(crate) async fn schema_for_filling_in(references: &ReferenceGatherer, request: &Request) -> Option<Value> {
    if references.known_classes_of(&request.kind).is_empty() && !looks_like_a_stream(request.spec()) {
        return None;
    }
    references.schema_of_kind(&format!("{}.{}", request.resource, request.kind.group), &request.version).await
}

/// What is to be known of a class.
pub(crate) async fn stream_class(
    references: &ReferenceGatherer,
    request: &Request,
) -> Result<admit_stream_class::Observed, CannotAsk> {
    let kind = admit_stream_class::kind(request);
    let others = references.known_classes_of(&kind);
    let others: Vec<ClassCandidate> =
        others.iter().filter(|class| class.name_any() != request.name).map(|class| candidate(class)).collect();
    let mut observed = admit_stream_class::Observed { others, ..Default::default() };
    if request.is_being_deleted() {
        return Ok(observed);
    }
    if admit_stream_class::names_another_kind(request) {
        let spec = admit_stream_class::spec(request);
        let definition = format!("{}.{}", spec.plural_name, spec.group());
        observed.kind_of_definition = references.kind_of_definition(&definition, &spec.kind_ref).await?;
    }
    if admit_stream_class::replaced_kind(request).is_some()
        && let Some(old) = read_class(&request.old_object)
    {
        observed.streams_of_old_kind =
            references.streams(&old, Extent::FirstPage, |it| Some(name_of(&it))).await?.found;
    }
    if admit_stream_class::change_of_class(request, &observed.others).is_some()
        && let Some(class) = read_class(&request.object)
    {
        // Only a warning depends on it.
        let unlabelled = |stream: DynamicObject| {
            (!stream.labels().contains_key(well_known::LABEL_STREAM_CLASS)).then(|| name_of(&stream))
        };
        let listed = references.streams(&class, as_long_as_for_a_warning(), unlabelled).await.unwrap_or_default();
        observed.unlabelled_streams = listed.found;
        observed.more_unlabelled_streams = listed.is_cut_short;
    }
    Ok(observed)
}

/// What is to be known of a BackfillRequest; `None`: nothing.
pub(crate) async fn backfill_request(
    webhook: &Webhook,
    request: &Request,
) -> Result<Option<admit_backfill_request::Observed>, CannotAsk> {
    if !admit_backfill_request::is_new(request) {
        return Ok(None);
    }
    let spec = admit_backfill_request::spec(request);
    let references = &webhook.references;
    let name = ObjectName::new(&request.namespace, &spec.stream_id);
    let mut class = references.class(&spec.stream_class).await?;
    let mut stream = match stream_of(references, class.as_deref(), &name).await {
        // A plugin of another group may give us no right to read its streams. That is no mistake of who asks.
        Err(error) if error.is_forbidden() => {
            return Ok(Some(admit_backfill_request::Observed {
                kind: class.map(|class| GroupKind::new(class.spec.group(), &class.spec.kind_ref)),
                stream: None,
                unreadable: Some(error.to_string()),
                open: Vec::new(),
                missing: Treatment::Warn,
            }));
        }
        found => found?,
    };
    if stream.is_none() && class.is_some() {
        // The class may have changed a moment ago.
        class = references.class_now(&spec.stream_class).await?;
        stream = stream_of(references, class.as_deref(), &name).await?;
    }
    let missing = match (&class, &stream) {
        (Some(_), Some(_)) => Treatment::Deny,
        (class, _) => {
            let word = class.as_ref().and_then(|class| class.spec.missing_references.clone());
            treatment(webhook, request, word.as_ref()).await?
        }
    };
    let kind = class.map(|class| GroupKind::new(class.spec.group(), &class.spec.kind_ref));
    let open = match &kind {
        // Only a warning depends on it.
        Some(kind) if stream.is_some() && !spec.completed => {
            open_requests(references, request, &spec, kind).await.unwrap_or_default()
        }
        _ => Vec::new(),
    };
    Ok(Some(admit_backfill_request::Observed {
        kind,
        stream: stream.map(|stream| admit_backfill_request::ObservedStream {
            suspended: layout::is_suspended(stream.data.get("spec").unwrap_or(&Value::Null)),
        }),
        unreadable: None,
        open,
        missing,
    }))
}

/// The other open requests for the same stream: any class of its kind leads to it.
async fn open_requests(
    references: &ReferenceGatherer,
    request: &Request,
    spec: &BackfillRequestSpec,
    kind: &GroupKind,
) -> Result<Vec<String>, CannotAsk> {
    let classes: Vec<String> = references.known_classes_of(kind).iter().map(|class| class.name_any()).collect();
    let is_for_the_stream = |other: &BackfillRequest| {
        other.spec.stream_id == spec.stream_id
            && (other.spec.stream_class == spec.stream_class || classes.contains(&other.spec.stream_class))
    };
    let open = |other: BackfillRequest| {
        let is_open = !other.spec.completed && !is_over(&other) && other.name_any() != request.name;
        (is_open && is_for_the_stream(&other)).then(|| other.name_any())
    };
    Ok(references.backfill_requests(&request.namespace, as_long_as_for_a_warning(), open).await?.found)
}

async fn stream_of(
    references: &ReferenceGatherer,
    class: Option<&StreamClass>,
    name: &ObjectName,
) -> Result<Option<DynamicObject>, CannotAsk> {
    match class {
        Some(class) if !name.name.is_empty() => references.stream(class, name).await,
        _ => Ok(None),
    }
}

fn is_over(request: &BackfillRequest) -> bool {
    let phase = request.status.as_ref().and_then(|status| status.phase.as_ref());
    phase.is_some_and(|phase| phase.is_final())
}

/// What is to be known of a template or class which is to be deleted, as far as it can be told.
pub(crate) async fn deletion(references: &ReferenceGatherer, request: &Request) -> admit_deletion::Observed {
    if request.is_being_deleted() || request.kind.group != well_known::GROUP {
        return admit_deletion::Observed::default();
    }
    match request.kind.kind.as_str() {
        "StreamClass" => users_of_class(references, request).await,
        "StreamingJobTemplate" => users_of_template(references, request).await,
        _ => admit_deletion::Observed::default(),
    }
}

async fn users_of_class(references: &ReferenceGatherer, request: &Request) -> admit_deletion::Observed {
    let mut observed = admit_deletion::Observed::default();
    let Some(class) = read_class(&request.old_object) else { return observed };
    let kind = GroupKind::new(class.spec.group(), &class.spec.kind_ref);
    let others: Vec<ClassCandidate> = references
        .known_classes_of(&kind)
        .iter()
        .filter(|class| class.name_any() != request.name)
        .map(|class| candidate(class))
        .collect();
    let all: Vec<ClassCandidate> = others.iter().cloned().chain([candidate(&class)]).collect();
    // Who uses it, and whether a label says so.
    let user = |stream: DynamicObject| {
        let label = stream.labels().get(well_known::LABEL_STREAM_CLASS).map(String::as_str);
        match choose_class(label, None, &all) {
            ClassChoice::Class(chosen) if chosen.name == request.name => Some((name_of(&stream), label.is_some())),
            _ => None,
        }
    };
    let listed = references.streams(&class, as_long_as_for_a_warning(), user).await.unwrap_or_default();
    observed.is_cut_short = listed.is_cut_short;
    if let ClassChoice::Class(successor) = choose_class(None, None, &others) {
        observed.successor = Some(successor.name.clone());
    }
    for (name, is_labelled) in listed.found {
        let moves = observed.successor.is_some() && !is_labelled;
        if moves { observed.moving.push(name) } else { observed.users.push(name) }
    }
    observed
}

async fn users_of_template(references: &ReferenceGatherer, request: &Request) -> admit_deletion::Observed {
    let template = ObjectName::new(&request.namespace, &request.name);
    let mut classes: Vec<Arc<StreamClass>> = Vec::new();
    for class in references.known_classes() {
        let is_of_known_kind = classes
            .iter()
            .any(|known| known.spec.group() == class.spec.group() && known.spec.kind_ref == class.spec.kind_ref);
        if !is_of_known_kind {
            classes.push(class);
        }
    }
    let user = |stream: DynamicObject| {
        let spec = stream.data.get("spec").unwrap_or(&Value::Null);
        let references = layout::references(spec, &stream.namespace().unwrap_or_default());
        references.iter().any(|reference| reference.target == template).then(|| name_of(&stream))
    };
    let extent = as_long_as_for_a_warning();
    let lists = classes.iter().map(|class| references.streams(class, extent, user));
    let mut observed = admit_deletion::Observed::default();
    for listed in futures::future::join_all(lists).await.into_iter().flatten() {
        observed.users.extend(listed.found);
        observed.is_cut_short |= listed.is_cut_short;
    }
    observed
}

fn as_long_as_for_a_warning() -> Extent {
    Extent::Until(Instant::now() + PATIENCE_FOR_A_WARNING)
}

fn name_of(stream: &DynamicObject) -> String {
    let name = ObjectName::new(stream.namespace().unwrap_or_default(), stream.name_any());
    match &stream.types {
        Some(types) if !types.kind.is_empty() => format!("{} {name}", types.kind),
        _ => name.to_string(),
    }
}

fn candidate(class: &StreamClass) -> ClassCandidate {
    ClassCandidate {
        name: class.name_any(),
        is_default: class
            .annotations()
            .get(well_known::ANNOTATION_IS_DEFAULT_CLASS)
            .is_some_and(|value| value == "true"),
        created: class.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
    }
}

fn read_class(object: &Value) -> Option<StreamClass> {
    serde_json::from_value(object.clone()).ok()
}
