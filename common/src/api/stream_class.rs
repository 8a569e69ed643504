//! StreamClass: a plugin's registration.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use super::vocabulary::vocabulary;
use super::{lenient, well_known};

/// Registers the kind of a streaming plugin: objects of that kind are streams.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streaming.sneaksanddata.com",
    version = "v1",
    kind = "StreamClass",
    plural = "streamclasses",
    singular = "streamclass",
    shortname = "stc",
    category = "arcane",
    status = "StreamClassStatus",
    derive = "PartialEq",
    doc = "A StreamClass registers a streaming plugin: it names the kind whose objects are streams, and says how they are run.",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kindRef"),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.apiGroupRef", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.apiVersion", priority = 1),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    ),
    printcolumn(name = "Running", type_ = "integer", json_path = ".status.streams.Running"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.streams.Failed"),
    printcolumn(name = "Update", type_ = "string", json_path = r#".status.conditions[?(@.type=="UpToDate")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct StreamClassSpec {
    /// The API group of the streams' kind. Where absent, it is
    /// `streaming.sneaksanddata.com`.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub api_group_ref: Option<String>,

    /// The API version of the streams' kind, e.g. `v1`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    #[schemars(!default, length(min = 1))]
    pub api_version: String,

    /// The streams' kind, e.g. `SqlServerChangeTrackingStream`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    #[schemars(!default, length(min = 1))]
    pub kind_ref: String,

    /// The plural name of the streams' kind, as API paths have it, e.g.
    /// `sqlserverchangetrackingstreams`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    #[schemars(!default, length(min = 1))]
    pub plural_name: String,

    /// The names of the fields of a stream's spec that refer to Secrets. Each
    /// is passed to the stream's Jobs as environment.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<String>,

    /// What the webhook does about a stream whose template or class doesn't
    /// exist. `Deny` refuses it, `Warn` lets it in with a warning. `Auto`
    /// warns GitOps tools and Helm, which apply objects in any order, and
    /// refuses everyone else. Absent: the namespace's label
    /// `arcane/missing-references` decides, then the installation.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub missing_references: Option<MissingReferences>,

    /// Whether a new stream is backfilled before it streams. `Auto` (the
    /// default) does so, but for streams on a schedule; `Never` doesn't.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub initial_backfill: Option<InitialBackfill>,

    /// What happens to running Jobs when their template or the class's
    /// `secretRefs` change.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,

    /// A JSON Schema for the `spec` of the class's streams, checked when a
    /// stream is created or changed. It may not refer to other documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "lenient::free_object")]
    pub stream_schema: Option<Value>,
}

impl StreamClassSpec {
    /// The API group of the streams' kind.
    pub fn group(&self) -> &str {
        match self.api_group_ref.as_deref() {
            None | Some("") => well_known::GROUP,
            Some(group) => group,
        }
    }

    /// Whether it names a kind of Arcane itself, which is no stream: by its kind or by its plural name.
    pub fn names_a_kind_of_ours(&self) -> bool {
        let kinds = ["StreamClass", "StreamingJobTemplate", "BackfillRequest"];
        let plurals = ["streamclasses", "streamingjobtemplates", "backfillrequests"];
        self.group() == well_known::GROUP
            && (kinds.contains(&self.kind_ref.as_str()) || plurals.contains(&self.plural_name.as_str()))
    }

    /// Whether new streams get a backfill. An unknown word doesn't change the
    /// default.
    pub fn wants_initial_backfill(&self) -> bool {
        self.initial_backfill != Some(InitialBackfill::Never)
    }

    /// How many streams may be replaced at a time when a template changes, of
    /// `total` streams: `None` where running Jobs are left alone.
    pub fn max_unavailable(&self, total: usize) -> Option<usize> {
        let strategy = self.update_strategy.as_ref()?;
        (strategy.type_ == UpdateStrategyType::RollingUpdate)
            .then(|| strategy.rolling_update.as_ref().map_or(1, |rolling| rolling.at_most(total)))
    }

    /// How long a pod must have been ready for its stream to count as
    /// available in a rolling update.
    pub fn min_ready(&self) -> Duration {
        let rolling = self.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let seconds = rolling.and_then(|rolling| rolling.min_ready_seconds);
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DEFAULT_MIN_READY, Duration::from_secs)
    }
}

/// Plugins rarely have a readiness probe: without one a pod is ready as soon as its containers run, also one that is about
/// to fail.
const DEFAULT_MIN_READY: Duration = Duration::from_secs(5);

vocabulary! {
    /// What is done about references to objects that don't exist.
    pub enum MissingReferences, schema = closed {
        /// Warn GitOps tools and Helm, refuse everyone else.
        Auto,
        /// Refuse.
        Deny,
        /// Let in, with a warning.
        Warn,
    }
}

vocabulary! {
    /// Whether a new stream is backfilled before it streams.
    pub enum InitialBackfill, schema = closed {
        /// Yes, where it streams continuously.
        Auto,
        /// No.
        Never,
    }
}

vocabulary! {
    /// The kinds of [`UpdateStrategy`].
    pub enum UpdateStrategyType, schema = closed {
        /// Running Jobs go on as they are; new ones use the new template.
        OnDelete,
        /// Running streaming Jobs are replaced, a few at a time.
        RollingUpdate,
    }
}

/// What happens to running Jobs when their template changes (as a DaemonSet
/// has it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.rollingUpdate) || self.type == 'RollingUpdate'",
    "message": "rollingUpdate may be set only where type is RollingUpdate",
    "reason": "FieldValueForbidden",
    "fieldPath": ".rollingUpdate",
}]))]
pub struct UpdateStrategy {
    /// `OnDelete` (the default) leaves running Jobs alone; `RollingUpdate`
    /// replaces running streaming Jobs, a few at a time, and stops where a
    /// stream has failed with its new Job, until that stream has left `Failed`
    /// or another change comes. Backfills are never replaced.
    #[serde(rename = "type", default = "on_delete")]
    pub type_: UpdateStrategyType,

    /// How `RollingUpdate` goes about it.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

fn on_delete() -> UpdateStrategyType {
    UpdateStrategyType::OnDelete
}

/// The pace of a rolling update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdate {
    /// How many streams of the class may be without a ready pod at a time, for
    /// one more to be stopped: a number, or a percentage of the class's streams
    /// that are to stream, e.g. `10%` (rounded down). At least one. Absent: 1.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number_or_percentage")]
    pub max_unavailable: Option<IntOrString>,

    /// How many seconds a pod of a stream must have been ready, without a
    /// break, before the next stream gets its turn; from 0 to 3600. Absent: 5.
    /// A pod without a readiness probe is ready as soon as its containers run,
    /// so this is the time in which a new Job can show that it doesn't work.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: Option<i32>,
}

// Not nullable, for CEL would see the null.
fn number_or_percentage(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{
            "rule": "type(self) == int ? self >= 1 && self <= 1000000 : self.matches('^([1-9][0-9]?|100)%$')",
            "message": "must be a number from 1 to 1000000 (without quotes), or a percentage from \"1%\" to \"100%\"",
        }],
    })
}

impl RollingUpdate {
    /// The number that `maxUnavailable` means among `total` streams. Never
    /// less than one, for else nothing would ever be replaced.
    fn at_most(&self, total: usize) -> usize {
        let number = match &self.max_unavailable {
            None => 1,
            Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(1),
            Some(IntOrString::String(text)) => text
                .strip_suffix('%')
                .and_then(|percent| percent.parse::<usize>().ok())
                .map_or(1, |percent| total.saturating_mul(percent.min(100)) / 100),
        };
        number.max(1)
    }
}

vocabulary! {
    /// How a StreamClass is doing.
    pub enum StreamClassPhase, schema = open {
        /// It was not looked at yet, or its plugin's CRD isn't there yet.
        Pending,
        /// Its streams are watched.
        Ready,
        /// Its streams can't be watched; the conditions say why.
        Failed,
        /// Its streams are not watched any more.
        Stopped,
    }
}

/// What is known of a StreamClass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamClassStatus {
    /// `Pending`, `Ready`, `Failed` or `Stopped`.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub phase: Option<StreamClassPhase>,

    /// What was observed: `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, deserialize_with = "lenient::elements", skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many streams of the class are in each phase.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<String, i64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> StreamClassSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_class_without_a_group_is_of_ours() {
        for given in [json!({}), json!({"apiGroupRef": null}), json!({"apiGroupRef": ""})] {
            assert_eq!(spec(given).group(), "streaming.sneaksanddata.com");
        }
        assert_eq!(spec(json!({"apiGroupRef": "acme.io"})).group(), "acme.io");
    }

    #[test]
    fn running_jobs_are_left_alone_unless_asked() {
        assert_eq!(spec(json!({})).max_unavailable(10), None);
        assert_eq!(spec(json!({"updateStrategy": {}})).max_unavailable(10), None);
        assert_eq!(spec(json!({"updateStrategy": {"type": "OnDelete"}})).max_unavailable(10), None);
        assert_eq!(spec(json!({"updateStrategy": {"type": "Surge"}})).max_unavailable(10), None);
    }

    #[test]
    fn max_unavailable_is_a_number_or_a_percentage_and_at_least_one() {
        let of = |max: Value| {
            spec(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max}}}))
                .max_unavailable(30)
        };
        assert_eq!(of(Value::Null), Some(1));
        assert_eq!(of(json!(3)), Some(3));
        assert_eq!(of(json!("10%")), Some(3));
        assert_eq!(of(json!("1%")), Some(1));
        assert_eq!(of(json!("many")), Some(1));
        assert_eq!(of(json!(-4)), Some(1));
    }

    #[test]
    fn what_is_not_said_of_the_time_to_be_ready_is_five_seconds() {
        let of = |rolling: Value| {
            spec(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})).min_ready().as_secs()
        };
        assert_eq!(spec(json!({})).min_ready(), DEFAULT_MIN_READY);
        assert_eq!(
            [of(json!({})), of(json!({"minReadySeconds": null})), of(json!({"minReadySeconds": -1}))],
            [5, 5, 5]
        );
        assert_eq!([of(json!({"minReadySeconds": 0})), of(json!({"minReadySeconds": 90}))], [0, 90]);
    }

    #[test]
    fn words_of_a_later_version_are_kept() {
        let spec = spec(json!({"missingReferences": "Ask", "initialBackfill": "Once"}));
        assert_eq!(spec.missing_references, Some(MissingReferences::Unknown("Ask".into())));
        assert!(spec.wants_initial_backfill());
        assert_eq!(serde_json::to_value(&spec).unwrap()["missingReferences"], "Ask");
    }
}
