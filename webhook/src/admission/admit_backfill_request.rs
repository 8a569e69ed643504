//! BackfillRequests.

use arcane_common::{
    api::{BackfillRequestPhase, BackfillRequestSpec, well_known},
    field_path::FieldPath,
    identity::GroupKind,
    references::Treatment,
    validation::{Violation, validate_backfill_request},
};
use serde_json::Value;

use super::{Operation, Request, Verdict, ratchet};

/// What was found out about a new request.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The kind that its class registers; `None`: there is no such class.
    pub kind: Option<GroupKind>,
    /// Its stream; `None`: there is none of that name.
    pub stream: Option<ObservedStream>,
    /// Why the stream can't be looked up, where we lack the right.
    pub unreadable: Option<String>,
    /// The names of open requests for the same stream.
    pub open: Vec<String>,
    /// What is done about missing references.
    pub missing: Treatment,
}

/// The stream of a request.
#[derive(Clone, Copy, Debug)]
pub struct ObservedStream {
    /// Whether its user has paused it.
    pub suspended: bool,
}

/// The spec of the BackfillRequest under admission.
pub fn spec(request: &Request) -> BackfillRequestSpec {
    serde_json::from_value(request.spec().clone()).unwrap_or_default()
}

/// Whether what a request refers to is looked up. It can't be changed later.
pub fn is_new(request: &Request) -> bool {
    request.operation == Operation::Create && !request.is_being_deleted()
}

type Check = fn(&Request, Option<&Observed>, &mut Verdict);

const CHECKS: [Check; 5] = [
    its_payload_fits_into_the_environment,
    its_class_exists,
    its_stream_exists,
    what_delays_it_is_told,
    a_reset_of_completed_starts_nothing,
];

/// Judges a request. Nothing is observed where nothing was looked up.
pub fn judge(request: &Request, observed: Option<&Observed>) -> Verdict {
    let mut verdict = Verdict::allow();
    if request.is_being_deleted() || request.leaves_spec_as_it_is() {
        return verdict;
    }
    for check in CHECKS {
        check(request, observed, &mut verdict);
    }
    verdict
}

fn its_payload_fits_into_the_environment(request: &Request, _: Option<&Observed>, verdict: &mut Verdict) {
    let old = match request.operation {
        Operation::Update => validate_backfill_request(&request.name, request.old_spec()),
        _ => Vec::new(),
    };
    let violations = validate_backfill_request(&request.name, request.spec());
    verdict.violations.extend(ratchet::only_new(violations, &request.object, &old, &request.old_object));
}

fn its_class_exists(request: &Request, observed: Option<&Observed>, verdict: &mut Verdict) {
    if let Some(observed) = observed.filter(|observed| observed.kind.is_none()) {
        let message = "there is no StreamClass of this name; create it or correct the name";
        let path = FieldPath::root("spec").child("streamClass");
        verdict.missing(observed.missing, Violation::not_found(path, spec(request).stream_class, message));
    }
}

fn its_stream_exists(request: &Request, observed: Option<&Observed>, verdict: &mut Verdict) {
    if let Some(why) = observed.and_then(|observed| observed.unreadable.as_ref()) {
        verdict.warn(format!(
            "whether stream {} exists isn't known: {why}; a ClusterRole with get and list of its kind and the label \
             {}: \"true\" lets the webhook look",
            spec(request).stream_id,
            well_known::LABEL_AGGREGATE_TO_WEBHOOK,
        ));
        return;
    }
    if let Some(Observed { kind: Some(kind), stream: None, missing, .. }) = observed {
        let message = format!(
            "there is no {} of this name in namespace {}; create it or correct the name",
            kind.kind, request.namespace
        );
        let path = FieldPath::root("spec").child("streamId");
        verdict.missing(*missing, Violation::not_found(path, spec(request).stream_id, message));
    }
}

fn what_delays_it_is_told(request: &Request, observed: Option<&Observed>, verdict: &mut Verdict) {
    let Some(observed) = observed else { return };
    let BackfillRequestSpec { stream_id: stream, completed, .. } = spec(request);
    if completed {
        return;
    }
    if observed.stream.is_some_and(|stream| stream.suspended) {
        verdict.warn(format!("stream {stream} is suspended: the backfill starts when it is resumed"));
    }
    if !observed.open.is_empty() {
        verdict.warn(format!(
            "stream {stream} has an open BackfillRequest already ({}): they run one after another",
            observed.open.join(", ")
        ));
    }
}

fn a_reset_of_completed_starts_nothing(request: &Request, _: Option<&Observed>, verdict: &mut Verdict) {
    let completed = |spec: &Value| spec.get("completed").and_then(Value::as_bool).unwrap_or(false);
    let phase = request.old_object.pointer("/status/phase").and_then(Value::as_str).map(BackfillRequestPhase::from);
    let is_over = completed(request.old_spec()) || phase.is_some_and(|phase| phase.is_final());
    if request.operation == Operation::Update && is_over && !completed(request.spec()) {
        verdict.warn(
            "spec.completed: this backfill is over, to set it back starts nothing; create another BackfillRequest",
        );
    }
}
