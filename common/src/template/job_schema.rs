//! Kubernetes' own schema of a Job, built in.
//!
//! It is generated from the types of `k8s-openapi`, so it is that of the Kubernetes we were built for. As it comes, it
//! has types and required fields only, and says nothing about numbers with a suffix, ranges of integers or fixed words;
//! the API server's decoder and validation do. [`tightened`] adds what is certain. What needs more than one field to
//! be judged is left to the API server: the controller asks it by a dry run (condition `Valid`).

use std::sync::LazyLock;

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use k8s_openapi::api::batch::v1::JobSpec;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{
    field_path::FieldPath,
    stream::stream_schema::{kind_of, words},
    validation::{MOST_VIOLATIONS, Violation},
};

/// `resource.Quantity`, as `resource.ParseQuantity` reads it.
const QUANTITY: &str = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// Fields whose words have been the same for years. An empty one is absent where Kubernetes fills in a default
/// (`pkg/apis/core/v1/defaults.go`), or where it means something; those of a Job are pointers there, and it isn't.
const FIXED_WORDS: [(&str, &str, &[&str]); 7] = [
    ("io.k8s.api.core.v1.Container", "imagePullPolicy", &["", "Always", "IfNotPresent", "Never"]),
    ("io.k8s.api.core.v1.Container", "terminationMessagePolicy", &["", "File", "FallbackToLogsOnError"]),
    ("io.k8s.api.core.v1.ContainerPort", "protocol", &["", "TCP", "UDP", "SCTP"]),
    ("io.k8s.api.core.v1.PodSpec", "dnsPolicy", &["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
    ("io.k8s.api.core.v1.Toleration", "effect", &["", "NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ("io.k8s.api.batch.v1.JobSpec", "completionMode", &["NonIndexed", "Indexed"]),
    ("io.k8s.api.batch.v1.JobSpec", "podReplacementPolicy", &["TerminatingOrFailed", "Failed"]),
];

/// Numbers that the API server wants to be at least so much.
const LEAST: [(&str, &str, i64); 7] = [
    ("io.k8s.api.batch.v1.JobSpec", "activeDeadlineSeconds", 0),
    ("io.k8s.api.batch.v1.JobSpec", "backoffLimit", 0),
    ("io.k8s.api.batch.v1.JobSpec", "completions", 0),
    ("io.k8s.api.batch.v1.JobSpec", "parallelism", 0),
    ("io.k8s.api.core.v1.ContainerPort", "containerPort", 1),
    ("io.k8s.api.core.v1.PodSpec", "activeDeadlineSeconds", 1),
    ("io.k8s.api.core.v1.PodSpec", "terminationGracePeriodSeconds", 0),
];

/// Fields that the published schema requires and the API server doesn't: absent, they are 0 or empty, which is valid.
const NOT_REQUIRED: [(&str, &str); 2] =
    [("io.k8s.api.core.v1.ISCSIVolumeSource", "lun"), ("io.k8s.api.core.v1.PreferredSchedulingTerm", "preference")];

/// How many unknown fields are told.
const MAX_UNKNOWN: usize = 20;

/// The longest name for which a likely one is sought: longer than any field of a Job.
const MAX_MISSPELT: usize = 64;

/// What the schema says of the spec of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Why the API server would refuse it.
    pub(super) violations: Vec<Violation>,
    /// Fields that it doesn't know.
    pub(super) unknown: Vec<Violation>,
}

struct JobSchema {
    document: Value,
    validator: Validator,
}

/// `None` never happens: a test builds it.
static SCHEMA: LazyLock<Option<JobSchema>> = LazyLock::new(|| {
    let document = tightened(generated());
    let validator = jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(false)
        .build(&document)
        .ok()?;
    Some(JobSchema { document, validator })
});

/// Checks the spec of a Job that is found at `path` of a template.
pub(super) fn check(job_spec: &Map<String, Value>, path: &FieldPath) -> Findings {
    let Some(schema) = SCHEMA.as_ref() else { return Findings::default() };
    // The API server's decoder takes null as absent.
    let mut job_spec = Value::Object(job_spec.clone());
    remove_nulls(&mut job_spec);
    let errors = schema.validator.iter_errors(&job_spec).take(MOST_VIOLATIONS);
    let violations = errors.map(|error| violation(path, &job_spec, &error)).collect();
    let mut unknown = Vec::new();
    for (name, field) in fields(&schema.document, &schema.document).into_iter().flatten() {
        // Unknown fields of these two levels are told with the shape.
        let Some(value) = job_spec.get(name) else { continue };
        let path = path.child(name);
        if name == "template" {
            for (name, field) in fields(&schema.document, field).into_iter().flatten() {
                if let Some(value) = value.get(name) {
                    find_unknown(&schema.document, field, value, &path.child(name), &mut unknown);
                }
            }
        } else {
            find_unknown(&schema.document, field, value, &path, &mut unknown);
        }
    }
    Findings { violations, unknown }
}

fn violation(path: &FieldPath, job_spec: &Value, error: &ValidationError<'_>) -> Violation {
    let path = path.follow(job_spec, error.instance_path().as_str());
    let found = kind_of(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            Violation::required(path.child(property.as_str().unwrap_or_default()), "Kubernetes needs it in a Job")
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter(|it| !it.is_empty())
                .collect();
            Violation::not_supported(path, error.instance().as_str().unwrap_or(found), &options)
        }
        ValidationErrorKind::Pattern { pattern } if pattern == QUANTITY => {
            Violation::invalid(path, found, "must be a quantity, e.g. 500m, 2 or 4Gi")
        }
        _ => Violation::invalid(path, found, words(error)),
    }
}

fn generated() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<JobSpec>().to_value()
}

/// Adds to the generated schema what the API server's decoder and validation demand besides.
fn tightened(mut schema: Value) -> Value {
    schema["$defs"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] =
        json!({"type": ["integer", "string"], "minimum": i32::MIN, "maximum": i32::MAX});
    schema["$defs"]["io.k8s.apimachinery.pkg.api.resource.Quantity"] =
        json!({"type": ["number", "string"], "pattern": QUANTITY});
    adapt(&mut schema);
    let set = |schema: &mut Value, definition: &str, field: &str, keyword: &str, value: Value| {
        let node =
            if definition.ends_with(".JobSpec") { Some(&mut *schema) } else { schema["$defs"].get_mut(definition) };
        if let Some(Value::Object(field)) = node.and_then(|node| node.get_mut("properties")?.get_mut(field)) {
            field.insert(keyword.to_owned(), value);
        }
    };
    for (definition, field, words) in FIXED_WORDS {
        set(&mut schema, definition, field, "enum", json!(words));
    }
    for (definition, field, least) in LEAST {
        set(&mut schema, definition, field, "minimum", json!(least));
    }
    for (definition, field) in NOT_REQUIRED {
        if let Some(required) = schema["$defs"][definition].get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != field);
        }
    }
    schema
}

/// Texts go, ranges of integers come.
fn adapt(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            if fields.get("format").is_some_and(|format| format == "int32") {
                fields.insert("minimum".to_owned(), i32::MIN.into());
                fields.insert("maximum".to_owned(), i32::MAX.into());
            }
            fields.values_mut().for_each(adapt);
        }
        Value::Array(elements) => elements.iter_mut().for_each(adapt),
        _ => {}
    }
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let definition =
        schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
    definition.and_then(|name| document.get("$defs")?.get(name)).unwrap_or(schema)
}

fn fields<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Map<String, Value>> {
    resolved(document, schema).get("properties")?.as_object()
}

fn find_unknown(document: &Value, schema: &Value, value: &Value, path: &FieldPath, unknown: &mut Vec<Violation>) {
    let schema = resolved(document, schema);
    match value {
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                for (index, element) in elements.iter().enumerate() {
                    find_unknown(document, items, element, &path.index(index), unknown);
                }
            }
        }
        Value::Object(values) => {
            let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
            for (name, value) in values {
                match known.get(name) {
                    Some(field) => find_unknown(document, field, value, &path.child(name), unknown),
                    None if unknown.len() < MAX_UNKNOWN => {
                        let hint = nearest(name, known.keys());
                        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                        let message = format!("it has no effect unless Kubernetes knows it{hint}");
                        unknown.push(Violation::unknown(path.child(name), message));
                    }
                    None => return,
                }
            }
        }
        _ => {}
    }
}

/// The known name that was most likely meant.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    if name.len() > MAX_MISSPELT {
        return None;
    }
    let name = name.to_lowercase();
    known
        .map(|known| (distance(&name, &known.to_lowercase()), known.as_str()))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len() / 2)
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be changed, added or left out.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.bytes().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(x != y)).min(*above + 1).min(left + 1);
            diagonal = *above;
            left = here;
            *above = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn job(container: Value) -> Value {
        json!({"template": {"spec": {"containers": [container]}}})
    }

    fn findings(job_spec: &Value) -> (Vec<String>, Vec<String>) {
        let found = check(job_spec.as_object().unwrap(), &FieldPath::root("spec").child("spec"));
        let words = |violations: Vec<Violation>| violations.iter().map(ToString::to_string).collect();
        (words(found.violations), words(found.unknown))
    }

    #[test]
    fn the_schema_is_there_and_each_addition_finds_its_field() {
        let schema = &SCHEMA.as_ref().unwrap().document;
        let node = |definition: &str| {
            if definition.ends_with(".JobSpec") { schema } else { &schema["$defs"][definition] }
        };
        for (definition, field, _) in FIXED_WORDS {
            assert!(node(definition)["properties"][field].get("enum").is_some(), "{definition} {field}");
        }
        for (definition, field, _) in LEAST {
            assert!(node(definition)["properties"][field].get("minimum").is_some(), "{definition} {field}");
        }
        for (definition, field) in NOT_REQUIRED {
            assert!(node(definition)["properties"].get(field).is_some());
        }
    }

    #[rstest]
    #[case(json!({"name": "c", "resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}, "requests": {"cpu": "100m", "memory": 1e9}}}))]
    #[case(json!({"name": "c", "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"tcpSocket": {"port": 80}}}))]
    #[case(json!({"name": "c", "env": [{"name": "A", "value": null}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], "command": null}))]
    #[case(json!({"name": "c", "imagePullPolicy": "Always", "ports": [{"containerPort": 1, "protocol": "UDP"}]}))]
    fn what_the_api_server_takes_passes(#[case] container: Value) {
        assert_eq!(findings(&job(container)), (vec![], vec![]));
    }

    #[rstest]
    #[case(json!({"name": "c", "resources": {"limits": {"memory": "1 GB"}}}),
        "spec.spec.template.spec.containers[0].resources.limits.memory: Invalid value: \"string\": must be a quantity, \
         e.g. 500m, 2 or 4Gi")]
    #[case(json!({"name": "c", "resources": {"limits": {"cpu": true}}}),
        "spec.spec.template.spec.containers[0].resources.limits.cpu: Invalid value: \"boolean\": must be of type \
         number or string")]
    #[case(json!({"image": "i"}),
        "spec.spec.template.spec.containers[0].name: Required value: Kubernetes needs it in a Job")]
    #[case(json!({"name": "c", "env": [{"name": "A", "value": 5}]}),
        "spec.spec.template.spec.containers[0].env[0].value: Invalid value: \"number\": must be of type string")]
    #[case(json!({"name": "c", "imagePullPolicy": "Sometimes"}),
        "spec.spec.template.spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \
         \"Always\", \"IfNotPresent\", \"Never\"")]
    #[case(json!({"name": "c", "args": "x"}),
        "spec.spec.template.spec.containers[0].args: Invalid value: \"string\": must be of type array")]
    #[case(json!({"name": "c", "livenessProbe": {"httpGet": {"port": 1.5}}}),
        "spec.spec.template.spec.containers[0].livenessProbe.httpGet.port: Invalid value: \"number\": must be of type \
         integer or string")]
    fn what_the_api_server_refuses_is_told(#[case] container: Value, #[case] words: &str) {
        assert_eq!(findings(&job(container)), (vec![words.to_owned()], vec![]));
    }

    #[test]
    fn numbers_of_a_job_are_checked() {
        for (field, value) in
            [("backoffLimit", json!(-1)), ("backoffLimit", json!(1_u64 << 40)), ("parallelism", json!("2"))]
        {
            let mut spec = job(json!({"name": "c"}));
            spec[field] = value;
            let (violations, _) = findings(&spec);
            assert_eq!(violations.len(), 1);
            assert!(violations[0].starts_with(&format!("spec.spec.{field}: Invalid value")), "{violations:?}");
        }
    }

    #[rstest]
    fn words_that_kubernetes_does_not_fill_in_must_not_be_empty(
        #[values("completionMode", "podReplacementPolicy")] field: &str,
    ) {
        let mut spec = job(json!({"name": "c"}));
        spec[field] = json!("");
        let (violations, _) = findings(&spec);
        assert!(violations[0].starts_with(&format!("spec.spec.{field}: Unsupported value: \"\"")), "{violations:?}");
    }

    #[test]
    fn unknown_fields_are_told_apart_with_the_likely_one() {
        let mut spec = job(json!({"name": "c", "imagePullpolicy": "Always", "resources": {"limit": {"cpu": 1}}}));
        spec["template"]["spec"]["colour"] = json!("blue");
        spec["unknownOfTheJob"] = json!("told with the shape");
        let (violations, unknown) = findings(&spec);
        assert_eq!(violations, Vec::<String>::new());
        let what = "Unknown field: it has no effect unless Kubernetes knows it";
        assert_eq!(
            unknown,
            [
                format!("spec.spec.template.spec.containers[0].imagePullpolicy: {what}; did you mean imagePullPolicy?"),
                format!("spec.spec.template.spec.containers[0].resources.limit: {what}; did you mean limits?"),
                format!("spec.spec.template.spec.colour: {what}"),
            ]
        );
    }
}
