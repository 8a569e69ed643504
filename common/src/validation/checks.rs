//! What a stream must fulfil by itself, before anything it refers to is looked at.

use serde_json::Value;

use super::Violation;
use crate::{
    api::well_known,
    field_path::FieldPath,
    identity::MAX_STREAM_NAME,
    stream::{
        StreamDefinition,
        context::{self, BackfillContext},
        layout,
        secret_refs::{self, SecretEnvironment},
        stream_schema::{self, StreamSchema},
    },
};

/// A stream as the checks see it.
#[derive(Clone, Copy, Debug)]
pub struct StreamInput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its spec.
    pub spec: &'a Value,
    /// Its class's `secretRefs`.
    pub secret_refs: &'a [String],
}

/// A stream that has passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidStream {
    /// What it asks for.
    pub definition: StreamDefinition,
    /// How its Secrets reach its containers.
    pub secrets: Vec<SecretEnvironment>,
}

/// Runs every check and reports every violation.
pub fn validate_stream(input: StreamInput<'_>) -> Result<ValidStream, Vec<Violation>> {
    validate_stream_of_class(input, None)
}

/// Runs every check, that of the class's `streamSchema` among them, and reports every violation.
pub fn validate_stream_of_class(
    input: StreamInput<'_>,
    schema: Option<&StreamSchema>,
) -> Result<ValidStream, Vec<Violation>> {
    let mut violations = Vec::new();
    violations.extend(its_name_fits_into_a_label(input));
    let definition = layout::read(input.spec, input.namespace).map_err(|found| violations.extend(found)).ok();
    let secrets = secret_refs::read(input.spec, input.secret_refs).map_err(|found| violations.extend(found)).ok();
    let too_long = its_spec_fits_into_the_environment(input);
    // What a schema costs depends on the size of the spec; one that can't run at all isn't worth it.
    if too_long.is_empty() {
        violations.extend(its_spec_keeps_to_the_schema_of_its_class(input, schema));
    }
    violations.extend(too_long);
    match (definition, secrets) {
        (Some(definition), Some(secrets)) if violations.is_empty() => Ok(ValidStream { definition, secrets }),
        _ => Err(violations),
    }
}

fn its_name_fits_into_a_label(input: StreamInput<'_>) -> Option<Violation> {
    let path = FieldPath::root("metadata").child("name");
    (input.name.len() > MAX_STREAM_NAME).then(|| {
        let message = format!(
            "{} characters; the name of a stream becomes a label and may have at most {MAX_STREAM_NAME}: \
             choose a shorter one",
            input.name.len()
        );
        Violation::too_long(path, message)
    })
}

fn its_spec_fits_into_the_environment(input: StreamInput<'_>) -> Vec<Violation> {
    let variables = context::variables(input.name, input.kind, input.spec, None);
    context::too_long(&variables, &FieldPath::root("spec"))
}

fn its_spec_keeps_to_the_schema_of_its_class(input: StreamInput<'_>, schema: Option<&StreamSchema>) -> Vec<Violation> {
    schema.map(|schema| stream_schema::check(schema, input.spec)).unwrap_or_default()
}

/// What the group of a StreamClass must be: a plugin's own. One of Kubernetes itself would bring the cluster's own objects
/// before the webhook, which refuses them where it can't be asked.
///
/// # Errors
/// Why streams can't be of this group; the field is `spec.apiGroupRef`.
pub fn validate_group_of_class(group: &str) -> Result<(), Violation> {
    let is_below = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    let message = if !group.contains('.') {
        "must be the API group of the plugin's CRD, which has a dot, e.g. streaming.example.com"
    } else if is_below("k8s.io") || is_below("kubernetes.io") {
        "belongs to Kubernetes; streams are of a plugin's own group"
    } else {
        return Ok(());
    };
    Err(Violation::invalid(FieldPath::root("spec").child("apiGroupRef"), group, message))
}

/// What a BackfillRequest must fulfil by itself: what it passes to its Job fits into the environment.
pub fn validate_backfill_request(name: &str, spec: &Value) -> Vec<Violation> {
    let payload = spec.get("payload").filter(|payload| !payload.is_null());
    let backfill = BackfillContext { id: name.to_owned(), request_spec: spec.clone(), payload: payload.cloned() };
    let variables = context::variables("", "", &Value::Null, Some(&backfill));
    let (of_payload, others): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|(name, _)| *name == well_known::ENV_SPEC_OVERRIDE);
    let path = FieldPath::root("spec");
    let violations = context::too_long(&of_payload, &path.child("payload"));
    // A payload that is too long makes the spec too long: that is one mistake.
    if violations.is_empty() { context::too_long(&others, &path) } else { violations }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    fn a_class_may_be_of_a_plugins_group(
        #[values(well_known::GROUP, "acme.io", "streaming.example.com", "notk8s.io")] group: &str,
    ) {
        assert_eq!(validate_group_of_class(group), Ok(()));
    }

    #[rstest]
    #[case("apps", "has a dot")]
    #[case("batch", "has a dot")]
    #[case("k8s.io", "belongs to Kubernetes")]
    #[case("gateway.networking.k8s.io", "belongs to Kubernetes")]
    #[case("cluster.kubernetes.io", "belongs to Kubernetes")]
    fn a_class_may_not_be_of_a_group_of_kubernetes(#[case] group: &str, #[case] words: &str) {
        let violation = validate_group_of_class(group).unwrap_err().to_string();
        assert!(violation.starts_with(&format!("spec.apiGroupRef: Invalid value: {group:?}: ")), "{violation}");
        assert!(violation.contains(words), "{violation}");
    }

    #[test]
    fn every_violation_is_reported() {
        let spec = json!({"jobTemplateRef": {}, "query": "x".repeat(140_000)});
        let violations = validate_stream(StreamInput {
            name: &"n".repeat(64),
            namespace: "ns",
            kind: "K",
            spec: &spec,
            secret_refs: &["password".to_owned()],
        })
        .unwrap_err();
        let paths: Vec<String> = violations.iter().map(|violation| violation.path.to_string()).collect();
        assert_eq!(paths, ["metadata.name", "spec.jobTemplateRef.name", "spec.password", "spec"]);
    }

    #[test]
    fn the_schema_of_the_class_is_one_of_the_checks() {
        let schema = stream_schema::compile(&json!({"required": ["table"]})).unwrap();
        let spec = json!({"jobTemplateRef": {"name": "t"}});
        let input = StreamInput { name: "n", namespace: "ns", kind: "K", spec: &spec, secret_refs: &[] };
        assert!(validate_stream(input).is_ok());
        let violations = validate_stream_of_class(input, Some(&schema)).unwrap_err();
        assert_eq!(violations[0].path.to_string(), "spec.table");
    }

    #[test]
    fn a_spec_that_is_too_long_is_not_held_against_a_schema() {
        let schema = stream_schema::compile(&json!({"required": ["table"]})).unwrap();
        let spec = json!({"jobTemplateRef": {"name": "t"}, "query": "x".repeat(140_000)});
        let input = StreamInput { name: "n", namespace: "ns", kind: "K", spec: &spec, secret_refs: &[] };
        let violations = validate_stream_of_class(input, Some(&schema)).unwrap_err();
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].path.to_string(), "spec");
    }

    #[test]
    fn a_payload_fits_into_the_environment() {
        let paths = |spec: Value| -> Vec<String> {
            validate_backfill_request("b", &spec).iter().map(|violation| violation.path.to_string()).collect()
        };
        assert_eq!(paths(json!({"streamId": "s", "payload": {"a": "x"}})), Vec::<String>::new());
        assert_eq!(paths(json!({"streamId": "s", "payload": null})), Vec::<String>::new());
        assert_eq!(paths(json!({"streamId": "s", "payload": {"a": "x".repeat(140_000)}})), ["spec.payload"]);
        // The payload alone would fit, the whole spec of the request doesn't.
        assert_eq!(paths(json!({"streamId": "s", "payload": {"a": "x".repeat(131_030)}})), ["spec"]);
    }
}
