//! The environment through which a container learns about its stream.

use serde_json::Value;

use super::configuration_hash::go_json;
use crate::{api::well_known, field_path::FieldPath, validation::Violation};

/// The longest `NAME=value` that Linux passes to a program, its final NUL included (`MAX_ARG_STRLEN`).
pub const MAX_ENVIRONMENT_STRING: usize = 128 * 1024;

/// A backfill, as its containers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillContext {
    /// The request's name: the id under which an interrupted backfill goes on.
    pub id: String,
    /// The request's spec.
    pub request_spec: Value,
    /// What the request passes to the Job.
    pub payload: Option<Value>,
}

/// Names and values of the variables that every container of a stream's Job gets, in their final form.
pub fn variables(
    stream: &str,
    kind: &str,
    spec: &Value,
    backfill: Option<&BackfillContext>,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        (well_known::ENV_STREAM_ID, stream.to_owned()),
        (well_known::ENV_STREAM_KIND, kind.to_owned()),
        (well_known::ENV_SPEC, verbatim(&go_json(spec))),
        (well_known::ENV_BACKFILL, backfill.is_some().to_string()),
    ];
    if let Some(backfill) = backfill {
        variables.push((well_known::ENV_BACKFILL_ID, backfill.id.clone()));
        variables.push((well_known::ENV_OVERRIDE, verbatim(&go_json(&backfill.request_spec))));
        if let Some(payload) = &backfill.payload {
            variables.push((well_known::ENV_SPEC_OVERRIDE, verbatim(&go_json(payload))));
        }
    }
    variables
}

/// The variables that the kernel would refuse for their length, with the field they come from.
pub fn too_long(variables: &[(&'static str, String)], path: &FieldPath) -> Vec<Violation> {
    variables
        .iter()
        .filter(|(name, value)| seen_by_container(value).len() + name.len() + 2 > MAX_ENVIRONMENT_STRING)
        .map(|(name, _)| {
            // Without its length: one that is made shorter, but not short enough, is no other mistake.
            let message = format!(
                "more than the 128 KiB that the environment variable {name} can hold; \
                 move large values into a ConfigMap that the template mounts"
            );
            Violation::too_long(path.clone(), message)
        })
        .collect()
}

/// A value that reaches the container as it is: the kubelet expands `$(X)` and turns `$$` into `$`,
/// so every `$` of a value that holds either is doubled.
fn verbatim(value: &str) -> String {
    if value.contains("$(") || value.contains("$$") { value.replace('$', "$$") } else { value.to_owned() }
}

fn seen_by_container(value: &str) -> String {
    value.replace("$$", "$")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the kubelet makes of a value whose variables are all undefined
    /// (k8s.io/kubernetes/third_party/forked/golang/expansion).
    fn expanded_by_kubelet(value: &str) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            match after.chars().next() {
                Some('$') => {
                    out.push('$');
                    rest = &after[1..];
                }
                Some('(') => match after.find(')') {
                    Some(end) => {
                        out.push_str("EXPANDED");
                        rest = &after[end + 1..];
                    }
                    None => {
                        out.push_str("$(");
                        rest = &after[1..];
                    }
                },
                _ => {
                    out.push('$');
                    rest = after;
                }
            }
        }
        out + rest
    }

    #[test]
    fn the_container_sees_the_very_json() {
        for text in ["plain", "$HOME", "$(X)", "$$", "a$$b$(c)$d", "$", "$$$", "$((", "$$("] {
            let json = go_json(&json!({"query": text}));
            assert_eq!(expanded_by_kubelet(&verbatim(&json)), json, "{text}");
        }
    }

    #[test]
    fn a_lone_dollar_is_left_as_it_is() {
        assert_eq!(verbatim("$HOME and $"), "$HOME and $");
    }

    #[test]
    fn a_backfill_has_its_id_and_its_request() {
        let backfill = BackfillContext {
            id: "b-1".into(),
            request_spec: json!({"streamId": "orders", "streamClass": "c"}),
            payload: Some(json!({"from": "2024"})),
        };
        let variables = variables("orders", "Kind", &json!({"a": 1}), Some(&backfill));
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(get("STREAMCONTEXT__SPEC"), Some(r#"{"a":1}"#));
        assert_eq!(get("STREAMCONTEXT__BACKFILL"), Some("true"));
        assert_eq!(get("STREAMCONTEXT__BACKFILL_ID"), Some("b-1"));
        assert_eq!(get("STREAMCONTEXT__OVERRIDE"), Some(r#"{"streamClass":"c","streamId":"orders"}"#));
        assert_eq!(get("STREAMCONTEXT_SPEC_OVERRIDE"), Some(r#"{"from":"2024"}"#));
    }

    #[test]
    fn a_streaming_job_has_no_backfill_id() {
        let variables = variables("orders", "Kind", &json!({}), None);
        assert!(variables.iter().all(|(name, _)| *name != "STREAMCONTEXT__BACKFILL_ID"));
        assert!(variables.contains(&("STREAMCONTEXT__BACKFILL", "false".to_owned())));
    }

    #[test]
    fn the_limit_is_that_of_the_kernel() {
        let path = FieldPath::root("spec");
        let longest = MAX_ENVIRONMENT_STRING - "STREAMCONTEXT__SPEC".len() - 2;
        assert!(too_long(&[("STREAMCONTEXT__SPEC", "x".repeat(longest))], &path).is_empty());
        assert_eq!(too_long(&[("STREAMCONTEXT__SPEC", "x".repeat(longest + 1))], &path).len(), 1);
    }
}
