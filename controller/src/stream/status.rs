//! From what a status shall say to the patch that makes it say so, or to nothing where it does already.

use arcane_common::stream::Phase;
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::{
    action::{Condition, StreamStatus},
    observed::RunFailure,
    plan::{LAST_RUN, RUN_FAILED, UP_TO_DATE},
    status_schema::StatusSchema,
};
use crate::facts::StreamFacts;
use arcane_common::api::well_known;

const OUR_CONDITIONS: [&str; 5] = [
    well_known::CONDITION_READY,
    well_known::CONDITION_RECONCILING,
    well_known::CONDITION_STALLED,
    UP_TO_DATE,
    LAST_RUN,
];

/// The fields of the merge patch of `status` that are needed; empty where the status says it all already.
pub fn patch(stream: &StreamFacts, wanted: &StreamStatus, schema: &StatusSchema, now: Timestamp) -> Map<String, Value> {
    let recorded = &stream.recorded.raw;
    let mut patch = Map::new();
    let mut put = |field: &str, value: Option<Value>| {
        if !schema.holds(field) {
            return;
        }
        let stands = recorded.get(field).filter(|value| !value.is_null());
        if stands != value.as_ref() {
            patch.insert(field.to_owned(), value.unwrap_or(Value::Null));
        }
    };
    if let Some(phase) = wanted.phase {
        // Where it has no word for this phase, it must not go on telling an earlier one.
        put("phase", schema.word(phase).map(|word| json!(word)));
    }
    // What failed is remembered by the hash it failed with; so is what nothing was decided about.
    if wanted.conditions.is_some() && wanted.phase.is_some() {
        put("configurationHash", Some(json!(stream.configuration_hash)));
    }
    put("observedGeneration", Some(json!(stream.generation)));
    if wanted.phase != Some(Phase::Failed) || wanted.job_name.is_some() {
        put("jobName", wanted.job_name.as_ref().map(|name| json!(name)));
    }
    if let Some(conditions) = &wanted.conditions {
        let stand = recorded.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let merged = merge(stand, conditions, schema, now);
        put("conditions", (!merged.is_empty()).then(|| Value::Array(merged)));
    }
    patch
}

/// The recorded conditions with ours in them; others' are left as they are.
fn merge(stand: &[Value], wanted: &[Condition], schema: &StatusSchema, now: Timestamp) -> Vec<Value> {
    let type_of = |condition: &Value| condition.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_ours = |type_: &str| {
        OUR_CONDITIONS.iter().any(|ours| *ours == type_ || schema.type_of(ours).is_some_and(|(word, _)| word == type_))
    };
    let mut merged: Vec<Value> = stand.iter().filter(|condition| !is_ours(&type_of(condition))).cloned().collect();
    for condition in wanted {
        let Some((type_, says_the_opposite)) = schema.type_of(condition.type_) else { continue };
        let before = stand.iter().find(|stands| type_of(stands) == type_);
        merged.push(render(condition, (type_, condition.holds != says_the_opposite), before, schema, now));
    }
    merged
}

fn render(
    condition: &Condition,
    (type_, holds): (&str, bool),
    before: Option<&Value>,
    schema: &StatusSchema,
    now: Timestamp,
) -> Value {
    let status = if holds { "True" } else { "False" };
    let message = if schema.condition_holds("reason") {
        condition.message.clone()
    } else {
        // A reader must be able to know the reason.
        format!("{}: {}", condition.reason, condition.message)
    };
    let since = before
        .filter(|before| before.get("status").and_then(Value::as_str) == Some(status))
        .and_then(|before| before.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| json!(now.round(Unit::Second).unwrap_or(now).to_string()));
    let fields = [
        ("type", json!(type_)),
        ("status", json!(status)),
        ("reason", json!(condition.reason)),
        ("message", json!(message)),
        ("lastTransitionTime", since),
    ];
    let held = fields.into_iter().filter(|(field, _)| schema.condition_holds(field));
    Value::Object(held.map(|(field, value)| (field.to_owned(), value)).collect())
}

/// Whether a stream's status gives this reason for its state; where its conditions have none, their messages begin
/// with it.
pub fn gives_reason(stream: &StreamFacts, reason: &str, schema: &StatusSchema) -> bool {
    let Some((ready, _)) = schema.type_of(well_known::CONDITION_READY) else { return false };
    let text = |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    let conditions = stream.recorded.raw.get("conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| text(condition, "type").as_deref() == Some(ready));
    ready.is_some_and(|ready| match text(ready, "reason") {
        Some(recorded) => recorded == reason,
        None => text(ready, "message").is_some_and(|message| message.starts_with(&format!("{reason}: "))),
    })
}

/// What a stream's status says of a run that failed, if it does.
pub fn recorded_run_failure(stream: &StreamFacts) -> Option<RunFailure> {
    let condition = recorded_condition(stream, LAST_RUN)?;
    let text = |field: &str| condition.get(field).and_then(Value::as_str);
    let message = text("message").filter(|_| text("status") == Some("False"))?;
    // Where the schema has no room for the reason, the message begins with it.
    let message = message.strip_prefix(&format!("{RUN_FAILED}: ")).unwrap_or(message).to_owned();
    Some(RunFailure { message, since: text("lastTransitionTime").and_then(|since| since.parse().ok()) })
}

fn recorded_condition<'a>(stream: &'a StreamFacts, type_: &str) -> Option<&'a Value> {
    let conditions = stream.recorded.raw.get("conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(type_))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use arcane_common::identity::GroupKind;
    use kube::core::{ApiResource, DynamicObject};

    use super::*;

    fn stream(status: Value) -> StreamFacts {
        let resource = ApiResource {
            group: "acme.io".into(),
            version: "v1".into(),
            api_version: "acme.io/v1".into(),
            kind: "S".into(),
            plural: "ss".into(),
        };
        let object = DynamicObject::new("s", &resource).within("ns").data(json!({"spec": {}, "status": status}));
        StreamFacts::of(&GroupKind::new("acme.io", "S"), &object)
    }

    fn running() -> StreamStatus {
        let ready = Condition {
            type_: well_known::CONDITION_READY,
            holds: true,
            reason: "Running".into(),
            message: "Job s streams".into(),
        };
        StreamStatus { phase: Some(Phase::Running), job_name: Some("s".into()), conditions: Some(vec![ready]) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    /// What the status is after the patch, as the API server merges it.
    fn merged(stream: &StreamFacts, patch: Map<String, Value>) -> Value {
        let mut status = stream.recorded.raw.as_object().cloned().unwrap_or_default();
        for (field, value) in patch {
            if value.is_null() {
                status.remove(&field);
            } else {
                status.insert(field, value);
            }
        }
        Value::Object(status)
    }

    #[test]
    fn what_is_written_once_is_not_written_again() {
        for schema in [
            StatusSchema::anything(),
            StatusSchema::nothing(),
            StatusSchema::of(&json!({"properties": {"status": {"properties": {
                "phase": {"enum": ["RUNNING"]},
                "conditions": {"items": {"properties": {"type": {}, "status": {}, "message": {}}}},
            }}}})),
        ] {
            let before = stream(json!({}));
            let first = patch(&before, &running(), &schema, at(100));
            let after = stream(merged(&before, first));
            assert_eq!(patch(&after, &running(), &schema, at(200)), Map::new());
        }
    }

    #[test]
    fn the_time_of_a_transition_is_kept_until_the_next() {
        let before = stream(json!({}));
        let after = stream(merged(&before, patch(&before, &running(), &StatusSchema::anything(), at(100))));
        let mut other = running();
        if let Some(conditions) = &mut other.conditions {
            conditions[0].message = "another".into();
        }
        let second = patch(&after, &other, &StatusSchema::anything(), at(200));
        assert_eq!(second["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:40Z");
        if let Some(conditions) = &mut other.conditions {
            conditions[0].holds = false;
        }
        let third = patch(&after, &other, &StatusSchema::anything(), at(200));
        assert_eq!(third["conditions"][0]["lastTransitionTime"], "1970-01-01T00:03:20Z");
    }

    #[test]
    fn conditions_of_others_are_left_alone() {
        let others = json!({"type": "Audited", "status": "True"});
        let before = stream(json!({"conditions": [others, {"type": "Stalled", "status": "True"}]}));
        let patch = patch(&before, &running(), &StatusSchema::anything(), at(100));
        assert_eq!(patch["conditions"][0], others);
        assert_eq!(patch["conditions"].as_array().map(Vec::len), Some(2), "ours that no longer holds is gone");
    }

    #[test]
    fn a_reason_that_the_schema_would_prune_is_said_in_the_message() {
        let schema = StatusSchema::of(&json!({"properties": {"status": {"properties": {
            "conditions": {"items": {"properties": {"type": {}, "status": {}, "message": {}}}},
        }}}}));
        let patch = patch(&stream(json!({})), &running(), &schema, at(100));
        assert_eq!(
            patch["conditions"][0],
            json!({"type": "Ready", "status": "True", "message": "Running: Job s streams"})
        );
    }

    #[test]
    fn a_failed_run_is_read_back_as_it_was_said() {
        let failed = Condition {
            type_: LAST_RUN,
            holds: false,
            reason: RUN_FAILED.into(),
            message: "Job s-1 failed: DeadlineExceeded".into(),
        };
        let wanted = StreamStatus { phase: Some(Phase::Scheduled), job_name: None, conditions: Some(vec![failed]) };
        let without_reason = json!({"properties": {"status": {"properties": {
            "conditions": {"items": {"properties": {"type": {}, "status": {}, "message": {}}}},
        }}}});
        for (schema, since) in [(StatusSchema::anything(), Some(at(100))), (StatusSchema::of(&without_reason), None)] {
            let before = stream(json!({}));
            let after = stream(merged(&before, patch(&before, &wanted, &schema, at(100))));
            let message = "Job s-1 failed: DeadlineExceeded".to_owned();
            assert_eq!(recorded_run_failure(&after), Some(RunFailure { message, since }));
        }
        assert_eq!(recorded_run_failure(&stream(json!({"conditions": [{"type": "Ready", "status": "False"}]}))), None);
    }

    #[test]
    fn an_enum_of_the_old_types_is_told_all_that_it_can_hold() {
        let schema = StatusSchema::of(&json!({"properties": {"status": {"properties": {"conditions": {"items": {
            "properties": {"type": {"enum": ["WARNING", "ERROR", "INFO", "READY"]}, "status": {}, "message": {}},
        }}}}}}));
        let mut status = running();
        if let Some(conditions) = &mut status.conditions {
            let outdated =
                Condition { type_: UP_TO_DATE, holds: false, reason: "TemplateChanged".into(), message: "m".into() };
            conditions.push(outdated);
        }
        let of_the_older_operator = json!({"type": "ERROR", "status": "True", "message": "long ago"});
        let before = stream(json!({"conditions": [of_the_older_operator]}));
        let first = patch(&before, &status, &schema, at(100));
        let expected = json!([
            {"type": "READY", "status": "True", "message": "Running: Job s streams"},
            {"type": "WARNING", "status": "True", "message": "TemplateChanged: m"},
        ]);
        assert_eq!(first["conditions"], expected);
        let after = stream(merged(&before, first));
        assert_eq!(patch(&after, &status, &schema, at(200)), Map::new());
    }

    #[test]
    fn a_recorded_reason_is_found_wherever_the_schema_has_room_for_it() {
        let pruned = |type_: &Value| {
            StatusSchema::of(&json!({"properties": {"status": {"properties": {"conditions": {"items": {
                "properties": {"type": type_, "status": {}, "message": {}},
            }}}}}}))
        };
        for schema in [StatusSchema::anything(), pruned(&json!({})), pruned(&json!({"enum": ["READY"]}))] {
            let before = stream(json!({}));
            assert!(!gives_reason(&before, "Running", &schema));
            let after = stream(merged(&before, patch(&before, &running(), &schema, at(100))));
            assert!(gives_reason(&after, "Running", &schema));
            assert!(!gives_reason(&after, "Run", &schema) && !gives_reason(&after, "Job", &schema));
        }
    }

    #[test]
    fn a_status_without_a_word_for_the_phase_tells_no_earlier_one() {
        let schema = StatusSchema::of(&json!({"properties": {"status": {"properties": {
            "phase": {"enum": ["RUNNING"]},
        }}}}));
        let suspended = StreamStatus { phase: Some(Phase::Suspended), job_name: None, conditions: None };
        let patch = |stands: Value| patch(&stream(stands), &suspended, &schema, at(100)).get("phase").cloned();
        assert_eq!(patch(json!({"phase": "RUNNING"})), Some(Value::Null));
        assert_eq!(patch(json!({})), None);
    }

    #[test]
    fn a_stream_without_a_phase_stays_new() {
        let status = StreamStatus { phase: None, job_name: None, conditions: Some(Vec::new()) };
        let patch = patch(&stream(json!({})), &status, &StatusSchema::anything(), at(100));
        assert_eq!(patch.get("phase"), None);
        assert_eq!(patch.get("configurationHash"), None);
    }

    #[test]
    fn what_is_said_of_a_failure_is_kept() {
        let stands = json!({
            "phase": "Failed", "configurationHash": "of the failed spec", "jobName": "s", "observedGeneration": 0,
            "conditions": [{"type": "Stalled", "status": "True"}],
        });
        let status = StreamStatus { phase: Some(Phase::Failed), job_name: None, conditions: None };
        assert_eq!(patch(&stream(stands), &status, &StatusSchema::anything(), at(100)), Map::new());
    }
}
