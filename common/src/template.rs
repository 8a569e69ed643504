//! A StreamingJobTemplate, read: which Job it describes, whatever its shape.

mod job_schema;
mod shape;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::well_known::{ENV_PREFIX, ENV_SPEC_OVERRIDE};
use crate::field_path::FieldPath;
use crate::stream::configuration_hash::go_json;
use crate::validation::{MOST_VIOLATIONS, Violation, brief, has_at_most};

use shape::Located;
pub use shape::TemplateShape;

/// A template that Jobs can be made from.
#[derive(Clone, Debug, PartialEq)]
pub struct JobTemplate {
    /// The shape it was written in.
    pub shape: TemplateShape,
    /// The labels that it gives the Job.
    pub labels: BTreeMap<String, String>,
    /// The annotations that it gives the Job.
    pub annotations: BTreeMap<String, String>,
    /// The spec of the Job (`batch/v1`): without `ttlSecondsAfterFinished`,
    /// and with a `restartPolicy`.
    pub job_spec: Map<String, Value>,
    /// How long a finished Job is to stay. Apart from the spec, because a Job
    /// gets it only after its outcome is recorded.
    pub ttl_seconds_after_finished: Option<i64>,
    /// What is odd, but no reason to refuse the template.
    pub warnings: Vec<Violation>,
}

impl JobTemplate {
    /// Reads the `spec` of a StreamingJobTemplate.
    ///
    /// # Errors
    /// All reasons why no Job can be made from it.
    pub fn parse(spec: &Value) -> Result<Self, Vec<Violation>> {
        let located = shape::locate(spec)?;
        let mut reader = Reader { violations: Vec::new(), warnings: shape::misplaced_fields(spec, &located) };
        let (labels, annotations) = reader.metadata_of_job(&located);
        let (job_spec, ttl_seconds_after_finished) = reader.job_spec(&located);
        if reader.violations.is_empty() {
            Ok(Self {
                shape: located.shape,
                labels,
                annotations,
                job_spec,
                ttl_seconds_after_finished,
                warnings: reader.warnings,
            })
        } else {
            Err(reader.violations)
        }
    }

    /// Reads the `spec` of a StreamingJobTemplate and checks its Job against Kubernetes' own schema: what
    /// admission asks for. The API server refuses a Job made from what only [`JobTemplate::parse`] takes.
    ///
    /// # Errors
    /// All reasons why no Job can be made from it.
    pub fn judge(spec: &Value) -> Result<Self, Vec<Violation>> {
        if !has_at_most(MOST_VALUES, spec) {
            let message = format!("more than {MOST_VALUES} fields and elements; a Job needs far fewer");
            return Err(vec![Violation::too_long(FieldPath::root("spec"), message)]);
        }
        let parsed = Self::parse(spec);
        let Ok(located) = shape::locate(spec) else { return parsed };
        let found = job_schema::check(located.job_spec, &located.path);
        let (mut violations, template) = match parsed {
            Ok(template) => (Vec::new(), Some(template)),
            Err(violations) => (violations, None),
        };
        for violation in found.violations {
            // What we said of a place in our own words is not said again.
            let is_said = violations
                .iter()
                .any(|said| said.path.is_within(&violation.path) || violation.path.is_within(&said.path));
            if !is_said {
                violations.push(violation);
            }
        }
        match template {
            Some(mut template) if violations.is_empty() => {
                template.warnings.extend(found.unknown);
                Ok(template)
            }
            _ => Err(violations),
        }
    }

    /// The names of the containers (init containers among them) that have no
    /// image: no Job can run until somebody gives them one.
    pub fn containers_without_image(&self) -> Vec<String> {
        let Some(pod) = self.job_spec.get("template").and_then(|template| template.get("spec")) else {
            return Vec::new();
        };
        CONTAINER_LISTS
            .iter()
            .filter_map(|list| Some((list, pod.get(*list)?.as_array()?)))
            .flat_map(|(list, containers)| {
                containers
                    .iter()
                    .enumerate()
                    .filter(|(_, container)| has_no_image(container))
                    .map(move |(index, container)| name_of(list, index, container))
            })
            .collect()
    }
}

/// A short hash of everything in the template that a running Job depends on.
///
/// The shape doesn't matter, nor where the template came from, nor how long a
/// finished Job stays: rewritten in another shape, it is the same template.
pub fn template_hash(template: &JobTemplate, secret_refs: &[String]) -> String {
    let content = json!({
        "labels": template.labels,
        "annotations": template.annotations,
        "jobSpec": template.job_spec,
        "secretRefs": secret_refs,
    });
    let digest = Sha256::digest(go_json(&content).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How many fields and elements a template may have: what a judgement costs grows with them.
const MOST_VALUES: usize = 10_000;

const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// Collects what is wrong on the way, so that everything is said at once.
struct Reader {
    violations: Vec<Violation>,
    warnings: Vec<Violation>,
}

impl Reader {
    fn refuse(&mut self, violation: Violation) {
        if !self.is_full() {
            self.violations.push(violation);
        }
    }

    fn warn(&mut self, warning: Violation) {
        if self.warnings.len() < MOST_VIOLATIONS {
            self.warnings.push(warning);
        }
    }

    /// Whether it has found so much that the rest doesn't matter.
    fn is_full(&self) -> bool {
        self.violations.len() >= MOST_VIOLATIONS
    }

    fn metadata_of_job(&mut self, located: &Located<'_>) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let mut labels = BTreeMap::new();
        let mut annotations = BTreeMap::new();
        for (path, metadata) in &located.metadata {
            let Some(metadata) = self.object(path, metadata) else {
                continue;
            };
            labels.extend(self.strings(&path.child("labels"), metadata.get("labels")));
            annotations.extend(self.strings(&path.child("annotations"), metadata.get("annotations")));
            for field in metadata.keys() {
                // `creationTimestamp: null` is what Go writes where nobody said anything.
                if !["labels", "annotations", "creationTimestamp"].contains(&field.as_str()) {
                    self.warn(Violation::ignored(
                        path.child(field),
                        "of a template's metadata only labels and annotations are used",
                    ));
                }
            }
        }
        (labels, annotations)
    }

    fn job_spec(&mut self, located: &Located<'_>) -> (Map<String, Value>, Option<i64>) {
        let mut job_spec = located.job_spec.clone();
        let ttl_path = located.path.child("ttlSecondsAfterFinished");
        let ttl = match job_spec.remove("ttlSecondsAfterFinished") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_i64() {
                Some(seconds) if (0..=i64::from(i32::MAX)).contains(&seconds) => Some(seconds),
                _ => {
                    self.refuse(Violation::invalid(
                        ttl_path,
                        brief(&value),
                        "must be a whole number of seconds from 0 on",
                    ));
                    None
                }
            },
        };
        self.what_a_stream_does_not_bear(located);
        let template_path = located.path.child("template");
        if let Some(template) = job_spec.get_mut("template") {
            self.pod_metadata(&template_path.child("metadata"), template.get("metadata"));
            // There is one: it is how the shape was recognised.
            if let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut) {
                self.pod(&template_path.child("spec"), pod);
            }
        }
        (job_spec, ttl)
    }

    /// What Kubernetes takes, and what hardly anybody means who writes a stream.
    fn what_a_stream_does_not_bear(&mut self, located: &Located<'_>) {
        let field = |name: &str| located.job_spec.get(name);
        if let Some(number) = field("parallelism").filter(|number| number.as_i64().is_some_and(|number| number > 1)) {
            self.warn(Violation::invalid(
                located.path.child("parallelism"),
                number,
                "pods of one stream would write at the same time: leave it out",
            ));
        }
        if field("suspend") == Some(&Value::Bool(true)) {
            self.warn(Violation::invalid(
                located.path.child("suspend"),
                "true",
                "Jobs made from it don't run until somebody resumes each of them: leave it out, and suspend streams instead",
            ));
        }
    }

    fn pod_metadata(&mut self, path: &FieldPath, metadata: Option<&Value>) {
        if let Some(metadata) = metadata.and_then(|metadata| self.object(path, metadata)) {
            for field in ["labels", "annotations"] {
                self.strings(&path.child(field), metadata.get(field));
            }
        }
    }

    fn pod(&mut self, path: &FieldPath, pod: &mut Map<String, Value>) {
        let restart_policy = path.child("restartPolicy");
        // Kubernetes takes an empty one for absent, too.
        match pod.get("restartPolicy").filter(|policy| !policy.is_null() && *policy != "") {
            None => {
                pod.insert("restartPolicy".to_owned(), "Never".into());
            }
            Some(Value::String(policy)) if ["Never", "OnFailure"].contains(&policy.as_str()) => {}
            Some(policy) => {
                self.refuse(Violation::not_supported(
                    restart_policy,
                    policy.as_str().map_or_else(|| policy.to_string(), str::to_owned),
                    &["Never", "OnFailure"],
                ));
            }
        }
        for list in CONTAINER_LISTS {
            let path = path.child(list);
            let Some(containers) = self.list(&path, pod.get(list)) else { continue };
            if list == "containers" && containers.is_empty() {
                self.refuse(Violation::required(path.clone(), "a Job needs at least one container"));
            }
            for (index, container) in containers.iter().enumerate() {
                if self.is_full() {
                    return;
                }
                self.container(&path.index(index), &name_of(list, index, container), container);
            }
        }
    }

    fn container(&mut self, path: &FieldPath, name: &str, container: &Value) {
        let Value::Object(fields) = container else {
            self.wrong_type(path, container, "an object");
            return;
        };
        for field in ["name", "image"] {
            if let Some(value) = fields.get(field).filter(|value| !value.is_null() && !value.is_string()) {
                self.wrong_type(&path.child(field), value, "a string");
            }
        }
        if has_no_image(container) {
            self.warn(Violation::required(
                path.child("image"),
                format!("container {name} has no image: streams with this template wait until it has one"),
            ));
        }
        self.sources_of_environment(&path.child("envFrom"), fields.get("envFrom"));
        self.environment(&path.child("env"), fields.get("env"));
    }

    /// The elements of a list, none where it is absent; `None` if it is none, which is reported.
    fn list<'v>(&mut self, path: &FieldPath, value: Option<&'v Value>) -> Option<&'v [Value]> {
        match value {
            None | Some(Value::Null) => Some(&[]),
            Some(Value::Array(elements)) => Some(elements),
            Some(other) => {
                self.wrong_type(path, other, "a list");
                None
            }
        }
    }

    /// A prefix makes a name of ours of any key of its Secret or ConfigMap.
    fn sources_of_environment(&mut self, path: &FieldPath, sources: Option<&Value>) {
        let Some(sources) = self.list(path, sources) else { return };
        for (index, source) in sources.iter().enumerate() {
            let prefix = source.get("prefix").and_then(Value::as_str);
            if prefix.is_some_and(|prefix| prefix.starts_with(ENV_PREFIX)) {
                self.refuse(Violation::forbidden(
                    path.index(index).child("prefix"),
                    format!(
                        "variables whose names begin with {ENV_PREFIX} are set by the operator for each Job: choose \
                         another prefix"
                    ),
                ));
            }
        }
    }

    fn environment(&mut self, env_path: &FieldPath, entries: Option<&Value>) {
        let Some(entries) = self.list(env_path, entries) else { return };
        for (index, entry) in entries.iter().enumerate() {
            if self.is_full() {
                return;
            }
            let path = env_path.index(index);
            let Value::Object(entry) = entry else {
                self.wrong_type(&path, entry, "an object");
                continue;
            };
            match entry.get("name") {
                Some(Value::String(name)) if name.starts_with(ENV_PREFIX) => {
                    self.refuse(Violation::forbidden(
                        path.child("name"),
                        format!("{name} is set by the operator for each Job: remove it from the template"),
                    ));
                }
                Some(Value::String(name)) if name == ENV_SPEC_OVERRIDE => {
                    self.warn(Violation::invalid(
                        path.child("name"),
                        name,
                        "every Job of this template gets it as the override of its stream's spec, but for backfills \
                         with a payload of their own: remove it unless that is meant",
                    ));
                }
                Some(Value::String(_)) => {}
                None | Some(Value::Null) => {
                    self.refuse(Violation::required(path.child("name"), "an environment variable needs a name"));
                }
                Some(other) => self.wrong_type(&path.child("name"), other, "a string"),
            }
        }
    }

    fn object<'a>(&mut self, path: &FieldPath, value: &'a Value) -> Option<&'a Map<String, Value>> {
        match value {
            Value::Object(fields) => Some(fields),
            Value::Null => None,
            other => {
                self.wrong_type(path, other, "an object");
                None
            }
        }
    }

    fn strings(&mut self, path: &FieldPath, value: Option<&Value>) -> BTreeMap<String, String> {
        let mut strings = BTreeMap::new();
        let fields = value.and_then(|value| self.object(path, value));
        for (key, value) in fields.into_iter().flatten() {
            if self.is_full() {
                break;
            }
            match value {
                Value::String(text) => {
                    strings.insert(key.clone(), text.clone());
                }
                other => self.wrong_type(&path.key(key), other, "a string (put it in quotes)"),
            }
        }
        strings
    }

    fn wrong_type(&mut self, path: &FieldPath, value: &Value, wanted: &str) {
        self.refuse(Violation::invalid(path.clone(), brief(value), format!("must be {wanted}")));
    }
}

fn has_no_image(container: &Value) -> bool {
    matches!(container.get("image"), None | Some(Value::Null))
        || container.get("image").and_then(Value::as_str) == Some("")
}

/// What to call a container: its name, or its place where it has none.
fn name_of(list: &str, index: usize, container: &Value) -> String {
    container.get("name").and_then(Value::as_str).map_or_else(|| format!("{list}[{index}]"), str::to_owned)
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
