//! Streams: objects of a kind that a StreamClass registers, or that look as if one should.

use std::sync::Arc;

use arcane_common::{
    api::well_known,
    defaulting,
    identity::ObjectName,
    references::{Presence, Treatment, Unresolved, labelled_class_is_missing, no_class_registers, reach},
    stream::{
        TemplateRef,
        layout::{self, Layout},
        stream_schema::StreamSchema,
    },
    validation::{StreamInput, Violation, validate_stream_of_class},
};
use serde_json::Value;

use super::{Operation, Request, Verdict, ratchet};

/// What was found out about a stream.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its class.
    pub class: ObservedClass,
    /// The class that it had before this request.
    pub old_class: ObservedClass,
    /// The references that this request adds or changes.
    pub references: Vec<ObservedReference>,
    /// What is done about missing references.
    pub missing: Treatment,
}

/// The class of a stream.
#[derive(Clone, Debug)]
pub enum ObservedClass {
    /// This one.
    Registered(Class),
    /// The label names none that registers the stream's kind.
    LabelledMissing(String),
    /// No class registers the stream's kind.
    None,
}

/// A class, as far as streams are judged by it.
#[derive(Clone, Debug)]
pub struct Class {
    /// The fields that refer to Secrets.
    pub secret_refs: Vec<String>,
    /// The schema of specs.
    pub schema: Option<Arc<StreamSchema>>,
}

/// A reference to a template, and what it leads to.
#[derive(Clone, Debug)]
pub struct ObservedReference {
    /// The reference.
    pub wanted: TemplateRef,
    /// Whether the user may read the template.
    pub may_read: bool,
    /// Whether it is there, and who may use it. Not looked up for a user who may not read it.
    pub template: Option<ObservedTemplate>,
    /// Whether we look into its namespace.
    pub in_sight: bool,
}

/// A template that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedTemplate {
    /// The annotation `arcane/allowed-namespaces`.
    pub allowed_namespaces: Option<String>,
}

/// Whether a request is let through without a look: nothing that is judged has changed, or less runs afterwards.
pub fn is_exempt(request: &Request) -> bool {
    request.is_being_deleted()
        || (request.operation == Operation::Update
            && request.class_label() == request.old_class_label()
            && (request.leaves_spec_as_it_is() || only_suspends(request)))
}

fn only_suspends(request: &Request) -> bool {
    let (Ok(layout), Ok(old_layout)) = (Layout::of(request.spec()), Layout::of(request.old_spec())) else {
        return false;
    };
    if layout != old_layout || !layout::is_suspended(request.spec()) {
        return false;
    }
    let without = |spec: &Value| {
        let mut spec = spec.clone();
        let holder = match layout {
            Layout::Flat => Some(&mut spec),
            Layout::ExecutionV1 | Layout::ExecutionV2 => spec.get_mut("execution"),
        };
        if let Some(holder) = holder.and_then(Value::as_object_mut) {
            holder.remove("suspended");
        }
        spec
    };
    without(request.spec()) == without(request.old_spec())
}

/// The references to templates that a request adds or changes: those are looked up and judged.
pub fn references_to_judge(request: &Request) -> Vec<TemplateRef> {
    let old: Vec<ObjectName> = layout::references(request.old_spec(), &request.namespace)
        .into_iter()
        .map(|reference| reference.target)
        .collect();
    let mut references: Vec<TemplateRef> = Vec::new();
    for reference in layout::references(request.spec(), &request.namespace) {
        if !old.contains(&reference.target) && !references.contains(&reference) {
            references.push(reference);
        }
    }
    references
}

type Check = fn(&Request, &Observed, &mut Verdict);

const CHECKS: [Check; 4] = [
    its_user_may_read_the_templates,
    it_is_right_in_itself_and_for_its_class,
    its_class_exists,
    its_templates_exist_and_let_it_use_them,
];

/// Judges a stream.
pub fn judge(request: &Request, observed: &Observed) -> Verdict {
    let mut verdict = Verdict::allow();
    for check in CHECKS {
        check(request, observed, &mut verdict);
    }
    verdict
}

/// Whether a refusal depends on what the stream's class says.
pub fn depends_on_its_class(request: &Request, observed: &Observed) -> bool {
    let ObservedClass::Registered(_) = observed.class else { return false };
    let undemanding = ObservedClass::Registered(Class { secret_refs: Vec::new(), schema: None });
    let observed = Observed { class: undemanding, missing: Treatment::Warn, ..observed.clone() };
    judge(request, &observed).is_allowed()
}

/// Comes before existence: who may not read a template isn't told whether it is there.
fn its_user_may_read_the_templates(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    for reference in observed.references.iter().filter(|reference| !reference.may_read) {
        let TemplateRef { path, target } = &reference.wanted;
        let message = format!(
            "user {:?} may not get StreamingJobTemplate {target}, which is in another namespace; use a template of \
             namespace {}, or ask for the right to get streamingjobtemplates.{} in namespace {}",
            request.user.username,
            request.namespace,
            well_known::GROUP,
            target.namespace
        );
        verdict.violations.push(Violation::forbidden(path.child("name"), message));
    }
}

fn it_is_right_in_itself_and_for_its_class(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    let violations = violations_of(request, &request.object, &observed.class);
    let new = if request.operation == Operation::Update {
        let old = violations_of(request, &request.old_object, &observed.old_class);
        ratchet::only_new(violations, &request.object, &old, &request.old_object)
    } else {
        violations
    };
    verdict.violations.extend(new);
}

fn violations_of(request: &Request, object: &Value, class: &ObservedClass) -> Vec<Violation> {
    let (secret_refs, schema) = match class {
        ObservedClass::Registered(class) => (class.secret_refs.as_slice(), class.schema.as_deref()),
        ObservedClass::LabelledMissing(_) | ObservedClass::None => (&[][..], None),
    };
    let input = StreamInput {
        name: &request.name,
        namespace: &request.namespace,
        kind: &request.kind.kind,
        spec: object.get("spec").unwrap_or(&Value::Null),
        secret_refs,
    };
    validate_stream_of_class(input, schema).err().unwrap_or_default()
}

fn its_class_exists(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    let is_new = request.operation == Operation::Create || request.class_label() != request.old_class_label();
    match &observed.class {
        ObservedClass::LabelledMissing(name) if is_new => {
            verdict.missing(observed.missing, labelled_class_is_missing(name, &request.kind));
        }
        ObservedClass::None if is_new => verdict.missing(observed.missing, no_class_registers(&request.kind)),
        _ => {}
    }
}

fn its_templates_exist_and_let_it_use_them(request: &Request, observed: &Observed, verdict: &mut Verdict) {
    for reference in observed.references.iter().filter(|reference| reference.may_read) {
        let presence = match &reference.template {
            Some(template) => Presence::Present { allowed_namespaces: template.allowed_namespaces.as_deref() },
            None if !reference.in_sight => Presence::OutOfSight,
            None => Presence::Missing,
        };
        match reach(&reference.wanted, presence, &request.namespace) {
            Ok(()) => {}
            Err(Unresolved::Missing(violation)) => verdict.missing(observed.missing, violation),
            Err(unresolved) => verdict.violations.push(unresolved.violation().clone()),
        }
    }
}

/// Fills in the namespaces of a stream's templates, where the plugin's CRD knows the field.
pub fn fill_in(request: &Request, schema: Option<&Value>) -> Verdict {
    let patch = match schema {
        Some(schema) if !request.is_being_deleted() && !request.leaves_spec_as_it_is() => {
            defaulting::defaults(request.spec(), &request.namespace, schema)
        }
        _ => Vec::new(),
    };
    Verdict { patch, ..Verdict::default() }
}
