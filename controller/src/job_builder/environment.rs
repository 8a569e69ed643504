//! The environment of every container: the stream's context and its Secrets.

use arcane_common::{
    api::well_known,
    stream::{context, secret_refs::SecretEnvironment},
};
use serde_json::{Map, Value, json};

use super::{Blueprint, Purpose, metadata::object};

/// Where a pod finds the name of its Job.
const JOB_NAME: &str = "metadata.labels['job-name']";

pub(super) fn fill(blueprint: &Blueprint<'_>, spec: &mut Map<String, Value>) {
    let stream = blueprint.stream;
    let backfill = match blueprint.purpose {
        Purpose::Backfill(_, context) => Some(context),
        Purpose::Streaming | Purpose::Runs => None,
    };
    let key = &stream.key;
    let mut variables: Vec<Value> = context::variables(&key.name.name, &key.kind.kind, &stream.spec, backfill)
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if let Purpose::Runs = blueprint.purpose {
        variables.retain(|variable| variable["name"] != well_known::ENV_BACKFILL);
        variables.push(json!({"name": well_known::ENV_BACKFILL, "value": "true"}));
        variables
            .push(json!({"name": well_known::ENV_BACKFILL_ID, "valueFrom": {"fieldRef": {"fieldPath": JOB_NAME}}}));
    }
    let mut sources = Vec::new();
    for secret in blueprint.secrets {
        match secret {
            SecretEnvironment::From(source) => sources.push(source.clone()),
            SecretEnvironment::Variable { name, secret } => variables.push(json!({
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": name}},
            })),
        }
    }
    let pod = object(object(spec, "template"), "spec");
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::Object(container) = container {
                add(container, &variables, &sources);
            }
        }
    }
}

/// Ours come first, so that what a template defines may refer to them by `$(NAME)`.
fn add(container: &mut Map<String, Value>, variables: &[Value], sources: &[Value]) {
    let name_of = |variable: &Value| variable.get("name").cloned();
    let mut env = variables.to_vec();
    if let Some(Value::Array(of_template)) = container.remove("env") {
        env.extend(
            of_template.into_iter().filter(|variable| !variables.iter().any(|ours| name_of(ours) == name_of(variable))),
        );
    }
    container.insert("env".to_owned(), Value::Array(env));
    if sources.is_empty() {
        return;
    }
    let mut env_from = match container.remove("envFrom") {
        Some(Value::Array(of_template)) => of_template,
        _ => Vec::new(),
    };
    env_from.extend(sources.iter().cloned());
    container.insert("envFrom".to_owned(), Value::Array(env_from));
}
