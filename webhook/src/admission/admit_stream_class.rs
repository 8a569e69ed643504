//! StreamClasses.

use arcane_common::{
    api::{StreamClassSpec, well_known},
    field_path::FieldPath,
    identity::GroupKind,
    references::{ClassCandidate, ClassChoice, choose_class},
    stream::stream_schema,
    validation::{Violation, validate_group_of_class},
};
use serde_json::Value;

use super::{
    Operation, Request, Verdict,
    admit_deletion::{listed, listed_so_far},
};

/// What was found out about a class.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The kind of the CustomResourceDefinition that the class names by plural and group; looked up where the class is new
    /// or names another one.
    pub kind_of_definition: Option<String>,
    /// The other classes that register the kind that this one registers.
    pub others: Vec<ClassCandidate>,
    /// Streams of the kind that the class registers so far; looked up where the kind changes.
    pub streams_of_old_kind: Vec<String>,
    /// Streams of the kind that name no class; looked up where their class may change.
    pub unlabelled_streams: Vec<String>,
    /// Whether there may be more of these.
    pub more_unlabelled_streams: bool,
}

/// The group and kind that the class of a request shall register.
pub fn kind(request: &Request) -> GroupKind {
    kind_of(request.spec())
}

/// The spec of the class under admission.
pub fn spec(request: &Request) -> StreamClassSpec {
    spec_of(request.spec())
}

/// Whether the class is new, or what it names by kind, plural or group is.
pub fn names_another_kind(request: &Request) -> bool {
    let named = |spec: StreamClassSpec| (spec.group().to_owned(), spec.kind_ref, spec.plural_name);
    request.operation == Operation::Create || named(spec_of(request.spec())) != named(spec_of(request.old_spec()))
}

/// The group and kind that the class of a request registers so far, if another one shall take their place.
pub fn replaced_kind(request: &Request) -> Option<GroupKind> {
    let old = kind_of(request.old_spec());
    (request.operation == Operation::Update && old != kind(request)).then_some(old)
}

/// The classes that an unlabelled stream without a Job belongs to before and after a request, where they differ.
pub fn change_of_class(request: &Request, others: &[ClassCandidate]) -> Option<(String, String)> {
    let chosen = |candidates: &[ClassCandidate]| match choose_class(None, None, candidates) {
        ClassChoice::Class(class) => Some(class.name.clone()),
        ClassChoice::LabelledMissing(_) | ClassChoice::None => None,
    };
    let with = |candidate: ClassCandidate| others.iter().cloned().chain([candidate]).collect::<Vec<_>>();
    let was_there = request.operation == Operation::Update && replaced_kind(request).is_none();
    let before = if was_there { chosen(&with(candidate(request, &request.old_object))) } else { chosen(others) };
    let after = chosen(&with(candidate(request, &request.object)));
    match (before, after) {
        (Some(before), Some(after)) if before != after => Some((before, after)),
        _ => None,
    }
}

fn candidate(request: &Request, object: &Value) -> ClassCandidate {
    let default = object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(well_known::ANNOTATION_IS_DEFAULT_CLASS));
    let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    ClassCandidate {
        name: request.name.clone(),
        is_default: default.and_then(Value::as_str) == Some("true"),
        // One that isn't created yet is younger than all that are.
        created: created.unwrap_or("~").to_owned(),
    }
}

type Check = fn(&Request, &Observed, &mut Verdict);

const CHECKS: [Check; 5] = [
    its_group_is_a_plugins,
    its_kind_is_that_of_a_plugins_definition,
    its_stream_schema_is_safe,
    its_kind_stays_while_there_are_streams,
    streams_that_change_class_are_told,
];

/// Judges a class.
pub fn judge(request: &Request, observed: &Observed) -> Verdict {
    let mut verdict = Verdict::allow();
    if request.is_being_deleted() {
        return verdict;
    }
    for check in CHECKS {
        check(request, observed, &mut verdict);
    }
    verdict
}

fn its_group_is_a_plugins(request: &Request, _: &Observed, verdict: &mut Verdict) {
    let group = kind(request).group;
    if request.operation == Operation::Update && group == kind_of(request.old_spec()).group {
        return;
    }
    verdict.violations.extend(validate_group_of_class(&group).err());
}

/// An object that is a stream of two kinds would have two Jobs; one of ours would fight with itself for its status.
fn its_kind_is_that_of_a_plugins_definition(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    if !names_another_kind(request) {
        return;
    }
    let spec = spec(request);
    let path = FieldPath::root("spec").child("kindRef");
    if spec.names_a_kind_of_ours() {
        let message = "a kind of Arcane itself is no stream; name the kind and plural of a plugin's streams";
        verdict.violations.push(Violation::invalid(path, spec.kind_ref, message));
        return;
    }
    if let Some(kind) = observed.kind_of_definition.as_ref().filter(|kind| **kind != spec.kind_ref) {
        let message = format!(
            "CustomResourceDefinition {}.{} defines the kind {kind}; correct spec.kindRef or spec.pluralName",
            spec.plural_name,
            spec.group()
        );
        verdict.violations.push(Violation::invalid(path, spec.kind_ref, message));
    }
}

fn its_stream_schema_is_safe(request: &Request, _: &Observed, verdict: &mut Verdict) {
    let schema = request.spec().get("streamSchema").filter(|schema| !schema.is_null());
    let Some(schema) = schema else { return };
    if request.operation == Operation::Update && Some(schema) == request.old_spec().get("streamSchema") {
        return;
    }
    verdict.violations.extend(stream_schema::compile(schema).err().unwrap_or_default());
}

fn its_kind_stays_while_there_are_streams(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    let Some(old) = replaced_kind(request) else { return };
    if observed.streams_of_old_kind.is_empty() {
        return;
    }
    let field = if old.group == kind(request).group { "kindRef" } else { "apiGroupRef" };
    let message = format!(
        "there are streams of {old}: {}; delete them first, or create another StreamClass",
        listed(&observed.streams_of_old_kind)
    );
    verdict.violations.push(Violation::forbidden(FieldPath::root("spec").child(field), message));
}

fn streams_that_change_class_are_told(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    let Some((before, after)) = change_of_class(request, &observed.others) else { return };
    if observed.unlabelled_streams.is_empty() {
        return;
    }
    verdict.warn(format!(
        "streams of {} change from StreamClass {before} to {after} when they next have no Job: {}; label them {}: \
         {before} to keep their class",
        kind(request),
        listed_so_far(&observed.unlabelled_streams, observed.more_unlabelled_streams),
        well_known::LABEL_STREAM_CLASS,
    ));
}

fn spec_of(spec: &Value) -> StreamClassSpec {
    serde_json::from_value(spec.clone()).unwrap_or_default()
}

fn kind_of(spec: &Value) -> GroupKind {
    let spec = spec_of(spec);
    GroupKind::new(spec.group(), &spec.kind_ref)
}
