//! StreamingJobTemplate: what a stream's Jobs are made from.

use std::borrow::Cow;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::Condition;
use super::lenient;

/// The template of a Job, in one of three shapes, as it was written.
/// [`crate::template::JobTemplate::parse`] reads it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "streaming.sneaksanddata.com",
    version = "v1",
    kind = "StreamingJobTemplate",
    plural = "streamingjobtemplates",
    singular = "streamingjobtemplate",
    shortname = "sjt",
    category = "arcane",
    namespaced,
    status = "StreamingJobTemplateStatus",
    derive = "PartialEq",
    doc = "A StreamingJobTemplate is the Job that streams are run with: image, resources, environment. Its spec is the spec of a Job, or a whole Job.",
    printcolumn(name = "Valid", type_ = "string", json_path = r#".status.conditions[?(@.type=="Valid")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Valid")].reason"#),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Valid")].message"#,
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(transparent)]
pub struct StreamingJobTemplateSpec(pub Value);

impl JsonSchema for StreamingJobTemplateSpec {
    fn schema_name() -> Cow<'static, str> {
        "StreamingJobTemplateSpec".into()
    }

    /// Unknown fields are preserved at every level: the schema of a Job would
    /// make this CRD too big for `kubectl apply`, and a newer Kubernetes may
    /// know more of a Job than we do. Only the three places where containers
    /// can be are declared, for CEL sees no undeclared field.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let containers = |place: &str| {
            json_schema!({
                "description": format!("The containers, where the spec is {place}."),
                "type": "array",
                "items": open_object("A container, as in a pod.", []),
            })
        };
        let mut spec = open_object(
            "The spec of a Job (spec.template.spec.containers), or a whole Job \
             (spec.spec.template.spec.containers), or, as older charts have it, a whole Job below \
             `template` (spec.template.spec.template.spec.containers). The restartPolicy is Never \
             where none is given. See `kubectl explain job.spec`.",
            [
                (
                    "template",
                    open_object(
                        "The template of the Job's pods; or, as older charts have it, a whole Job.",
                        [(
                            "spec",
                            open_object(
                                "The spec of the pods; or of the Job.",
                                [
                                    ("containers", containers("the spec of a Job")),
                                    (
                                        "template",
                                        open_object(
                                            "The template of the pods of a Job below `template`.",
                                            [(
                                                "spec",
                                                open_object(
                                                    "The spec of the pods.",
                                                    [("containers", containers("a Job below `template`"))],
                                                ),
                                            )],
                                        ),
                                    ),
                                ],
                            ),
                        )],
                    ),
                ),
                (
                    "spec",
                    open_object(
                        "The spec of the Job, where this is a whole Job.",
                        [(
                            "template",
                            open_object(
                                "The template of the Job's pods.",
                                [(
                                    "spec",
                                    open_object("The spec of the pods.", [("containers", containers("a whole Job"))]),
                                )],
                            ),
                        )],
                    ),
                ),
            ],
        );
        let places = PLACES.map(containers_at);
        let count = places.map(|place| format!("({place} ? 1 : 0)")).join(" + ");
        spec.insert(
            "x-kubernetes-validations".to_owned(),
            serde_json::json!([
                {
                    "rule": format!("{count} >= 1"),
                    "message": "no Job is found here: its containers must be at spec.template.spec.containers \
                                (the spec of a Job), spec.spec.template.spec.containers (a whole Job) or \
                                spec.template.spec.template.spec.containers (a whole Job below template)",
                },
                {
                    "rule": format!("{count} <= 1"),
                    "message": "has containers in more than one of the three places \
                                spec.template.spec.containers, spec.spec.template.spec.containers and \
                                spec.template.spec.template.spec.containers: keep one",
                },
            ]),
        );
        spec
    }
}

/// The three places of containers, below `spec`.
const PLACES: [&[&str]; 3] = [
    &["template", "spec", "containers"],
    &["spec", "template", "spec", "containers"],
    &["template", "spec", "template", "spec", "containers"],
];

/// CEL: there is at least one container at this path.
fn containers_at(path: &[&str]) -> String {
    let mut selected = String::from("self");
    let mut terms = Vec::new();
    for field in path {
        selected = format!("{selected}.{field}");
        terms.push(format!("has({selected})"));
    }
    format!("({} && size({selected}) > 0)", terms.join(" && "))
}

/// An object that keeps fields which are not declared.
fn open_object<const N: usize>(description: &str, properties: [(&str, Schema); N]) -> Schema {
    let mut object = json_schema!({
        "description": description,
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    });
    if N > 0 {
        let properties: serde_json::Map<String, Value> =
            properties.into_iter().map(|(name, schema)| (name.to_owned(), schema.to_value())).collect();
        object.insert("properties".to_owned(), Value::Object(properties));
    }
    object
}

/// What is known of a StreamingJobTemplate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamingJobTemplateStatus {
    /// What was observed: `Valid`, whether Kubernetes takes a Job made from
    /// the template; `Ready` and `Stalled` say the same.
    #[serde(default, deserialize_with = "lenient::elements", skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
