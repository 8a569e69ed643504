//! What a status says, whatever a plugin's CRD lets it hold.

use arcane_common::{api::well_known, stream::Phase};
use arcane_controller::stream::{LAST_RUN, UP_TO_DATE, status_schema::meaning_of};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// A condition, as it stands in a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Our word for its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub holds: bool,
    /// A stable CamelCase word; empty where none is given.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when it holds, or doesn't.
    pub since: Option<Timestamp>,
}

/// The conditions of a status. Some CRDs have only older words for their types, some no room for a reason: then the message
/// begins with it.
pub fn conditions(status: &Value) -> Vec<Told> {
    let all = status.get("conditions").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(condition).collect()
}

fn condition(condition: &Value) -> Option<Told> {
    let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
    let (type_, says_the_opposite) = meaning_of(condition.get("type")?.as_str()?);
    let (reason, message) = match text("reason") {
        "" => reason_in(text("message")),
        reason => (reason, text("message")),
    };
    Some(Told {
        type_: type_.to_owned(),
        holds: (text("status") == "True") != says_the_opposite,
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: text("lastTransitionTime").parse().ok(),
    })
}

fn reason_in(message: &str) -> (&str, &str) {
    match message.split_once(": ") {
        Some((word, rest))
            if word.starts_with(|first: char| first.is_ascii_uppercase())
                && word.chars().all(|letter| letter.is_ascii_alphanumeric()) =>
        {
            (word, rest)
        }
        _ => ("", message),
    }
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Told], type_: &str) -> Option<&'a Told> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// What is wrong, or waited for: the conditions that a person has to know, the worst first.
pub fn troubles(conditions: &[Told]) -> Vec<&Told> {
    [
        (well_known::CONDITION_STALLED, true),
        (well_known::CONDITION_RECONCILING, true),
        (LAST_RUN, false),
        (UP_TO_DATE, false),
    ]
    .into_iter()
    .filter_map(|(type_, holds)| find(conditions, type_).filter(|condition| condition.holds == holds))
    .collect()
}

/// The condition that explains a state best: what is wrong, else what is ready.
pub fn headline(conditions: &[Told]) -> Option<&Told> {
    troubles(conditions).first().copied().or_else(|| find(conditions, well_known::CONDITION_READY))
}

/// Since when a stream is in its phase. No status says it: a stream that runs and one that backfills are both ready. So it is
/// told by what shows it best, `job` being since when its Job is there and `written` when its status was last written.
pub fn since(
    phase: Option<Phase>,
    conditions: &[Told],
    job: Option<Timestamp>,
    written: Option<Timestamp>,
) -> Option<Timestamp> {
    let of = |type_: &str| find(conditions, type_).and_then(|condition| condition.since);
    let ready = of(well_known::CONDITION_READY);
    match phase? {
        Phase::Running | Phase::Backfilling | Phase::Scheduled => job.or(ready).or(written),
        Phase::Failed => of(well_known::CONDITION_STALLED).or(ready).or(written),
        Phase::Pending => of(well_known::CONDITION_RECONCILING).or(ready).or(written),
        Phase::Suspended => written.or(ready),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_comes_first() {
        let status = json!({"conditions": [
            {"type": "Ready", "status": "False", "reason": "JobFailed", "message": "m"},
            {"type": "UpToDate", "status": "False", "reason": "TemplateChanged", "message": "m"},
            {"type": "Stalled", "status": "True", "reason": "JobFailed", "message": "exit code 3"},
            {"type": "Reconciling", "status": "False", "reason": "JobFailed", "message": "m"},
        ]});
        let conditions = conditions(&status);
        assert_eq!(
            headline(&conditions).map(|it| (it.type_.as_str(), it.message.as_str())),
            Some(("Stalled", "exit code 3"))
        );
        let all: Vec<&str> = troubles(&conditions).iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(all, ["Stalled", "UpToDate"]);
    }

    #[test]
    fn older_words_and_missing_reasons_are_understood() {
        let status = json!({"conditions": [
            {"type": "READY", "status": "True", "message": "Running: Job s streams"},
            {"type": "WARNING", "status": "True", "message": "TemplateChanged: m"},
            {"type": "Ours", "status": "True", "message": "see: https://example.com"},
        ]});
        let conditions = conditions(&status);
        let ready = find(&conditions, "Ready").unwrap();
        assert_eq!((ready.reason.as_str(), ready.message.as_str(), ready.holds), ("Running", "Job s streams", true));
        assert_eq!(headline(&conditions).map(|it| it.reason.as_str()), Some("TemplateChanged"));
        assert_eq!(find(&conditions, "Ours").map(|it| it.reason.as_str()), Some(""));
    }

    #[test]
    fn since_when_is_told_by_what_shows_it_best() {
        let at = |second| Timestamp::from_second(second).ok();
        let conditions = conditions(&json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:01Z"},
            {"type": "Stalled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:02Z"},
        ]}));
        let of = |phase, job| since(Some(phase), &conditions, job, at(9));
        assert_eq!(of(Phase::Running, at(5)), at(5));
        assert_eq!(of(Phase::Running, None), at(1));
        assert_eq!(of(Phase::Failed, at(5)), at(2));
        assert_eq!(of(Phase::Suspended, None), at(9));
        assert_eq!(since(None, &conditions, None, at(9)), None);
    }
}
