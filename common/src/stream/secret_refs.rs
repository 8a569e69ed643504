//! How the Secrets that a stream names reach its containers.

use serde_json::{Value, json};

use super::stream_schema::kind_of;
use crate::{field_path::FieldPath, identity::can_be_a_name, validation::Violation};

/// One way in which a Secret becomes environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretEnvironment {
    /// An `EnvFromSource`: all keys of a Secret or ConfigMap.
    From(Value),
    /// One variable, from the key of its own name in a Secret.
    Variable {
        /// The variable and the key.
        name: String,
        /// The Secret.
        secret: String,
    },
}

/// What the names in a class's `secretRefs` mean for a stream's spec.
///
/// A field `spec.<name>` that is an object is a reference to a Secret (`{name}`) or a whole
/// `EnvFromSource`; null means "none". Where the field is absent, `<name>` is a key of the Secret
/// `spec.secretRef.name`.
pub fn read(spec: &Value, names: &[String]) -> Result<Vec<SecretEnvironment>, Vec<Violation>> {
    let mut environment = Vec::new();
    let mut violations = Vec::new();
    for name in names {
        match one(spec, name) {
            Ok(Some(source)) => environment.push(source),
            Ok(None) => {}
            Err(violation) => violations.push(violation),
        }
    }
    if violations.is_empty() { Ok(environment) } else { Err(violations) }
}

fn one(spec: &Value, name: &str) -> Result<Option<SecretEnvironment>, Violation> {
    let path = FieldPath::root("spec").child(name);
    match spec.get(name) {
        Some(Value::Null) => Ok(None),
        Some(Value::Object(source)) if source.contains_key("secretRef") || source.contains_key("configMapRef") => {
            for kind in ["secretRef", "configMapRef"] {
                if let Some(named) = source.get(kind).and_then(|source| source.get("name")).and_then(Value::as_str) {
                    is_a_name(&path.child(kind).child("name"), named)?;
                }
            }
            Ok(Some(SecretEnvironment::From(Value::Object(source.clone()))))
        }
        Some(Value::Object(reference)) => match reference.get("name").and_then(Value::as_str) {
            Some(secret) if !secret.is_empty() => {
                is_a_name(&path.child("name"), secret)?;
                Ok(Some(SecretEnvironment::From(json!({"secretRef": {"name": secret}}))))
            }
            _ => Err(Violation::required(path.child("name"), "name the Secret that holds this stream's credentials")),
        },
        Some(other) => {
            Err(Violation::invalid(path, kind_of(other), "must be a reference to a Secret, e.g. {name: my-secret}"))
        }
        None => match spec.pointer("/secretRef/name").and_then(Value::as_str) {
            Some(secret) if !secret.is_empty() => {
                is_a_name(&FieldPath::root("spec").child("secretRef").child("name"), secret)?;
                Ok(Some(SecretEnvironment::Variable { name: name.to_owned(), secret: secret.to_owned() }))
            }
            _ => Err(Violation::required(
                path,
                format!("set spec.secretRef.name to a Secret with the key {name}, or this field to {{name: <Secret>}}"),
            )),
        },
    }
}

/// Otherwise the API server would refuse the Job, in words about the template.
fn is_a_name(path: &FieldPath, name: &str) -> Result<(), Violation> {
    let message = "must be the name of an object: at most 253 lower-case letters, digits, dashes and dots";
    if can_be_a_name(name) { Ok(()) } else { Err(Violation::invalid(path.clone(), name, message)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_object_with_a_name_is_a_whole_secret() {
        let spec = json!({"credentials": {"name": "s"}});
        let expected = vec![SecretEnvironment::From(json!({"secretRef": {"name": "s"}}))];
        assert_eq!(read(&spec, &names(&["credentials"])).unwrap(), expected);
    }

    #[test]
    fn an_env_from_source_is_taken_as_it_is() {
        let source = json!({"prefix": "A_", "secretRef": {"name": "s", "optional": true}});
        let spec = json!({"credentials": source});
        assert_eq!(read(&spec, &names(&["credentials"])).unwrap(), vec![SecretEnvironment::From(source)]);
    }

    #[test]
    fn an_explicit_null_is_skipped_even_with_a_secret_ref() {
        let spec = json!({"credentials": null, "secretRef": {"name": "s"}});
        assert_eq!(read(&spec, &names(&["credentials"])).unwrap(), vec![]);
    }

    #[test]
    fn the_guides_secret_ref_gives_one_variable_for_each_name() {
        let spec = json!({"secretRef": {"name": "s"}});
        let expected = vec![SecretEnvironment::Variable { name: "connectionString".into(), secret: "s".into() }];
        assert_eq!(read(&spec, &names(&["connectionString"])).unwrap(), expected);
    }

    #[rstest]
    #[case(json!({"credentials": {"name": "schl\u{fc}ssel"}}), "spec.credentials.name")]
    #[case(json!({"credentials": {"name": "a".repeat(254)}}), "spec.credentials.name")]
    #[case(json!({"credentials": {"name": "a..b"}}), "spec.credentials.name")]
    #[case(json!({"credentials": {"secretRef": {"name": "My-Secret"}}}), "spec.credentials.secretRef.name")]
    #[case(json!({"credentials": {"configMapRef": {"name": "a/b"}}}), "spec.credentials.configMapRef.name")]
    #[case(json!({"secretRef": {"name": "a b"}}), "spec.secretRef.name")]
    fn what_no_object_can_be_called_is_refused(#[case] spec: Value, #[case] path: &str) {
        let violations = read(&spec, &names(&["credentials"])).unwrap_err();
        assert!(violations[0].to_string().starts_with(&format!("{path}: Invalid value")), "{violations:?}");
        assert_eq!(violations.len(), 1);
    }

    #[test]
    fn what_is_missing_is_named_and_a_value_is_never_repeated() {
        let spec = json!({"password": "hunter2"});
        let violations = read(&spec, &names(&["password", "token"])).unwrap_err();
        let words: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(words[0].starts_with("spec.password: Invalid value"), "{words:?}");
        assert!(!words[0].contains("hunter2"));
        assert!(words[1].starts_with("spec.token: Required value"), "{words:?}");
    }
}
