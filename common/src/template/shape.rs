//! The three shapes of a template, told apart by where their containers are.

use serde_json::{Map, Value};

use crate::field_path::FieldPath;
use crate::validation::{MOST_VIOLATIONS, Violation, brief};

/// How a template is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateShape {
    /// `spec` is the spec of a Job (the users guide's).
    JobSpec,
    /// `spec` is a whole Job (today's plugin charts).
    Job,
    /// `spec.template` is a whole Job (older charts).
    Legacy,
}

impl TemplateShape {
    const ALL: [Self; 3] = [Self::JobSpec, Self::Job, Self::Legacy];

    /// Where the spec of the Job is, below the template's `spec`.
    fn job_spec(self) -> &'static [&'static str] {
        match self {
            Self::JobSpec => &[],
            Self::Job => &["spec"],
            Self::Legacy => &["template", "spec"],
        }
    }

    /// Where the metadata of the Job is, the one that wins last.
    fn metadata(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::JobSpec => &[],
            Self::Job => &[&["metadata"]],
            Self::Legacy => &[&["metadata"], &["template", "metadata"]],
        }
    }

    /// The levels above the spec of the Job, and the fields that belong there.
    fn levels(self) -> &'static [(&'static [&'static str], &'static [&'static str])] {
        match self {
            Self::JobSpec => &[],
            Self::Job => &[(&[], &["apiVersion", "kind", "metadata", "spec"])],
            Self::Legacy => &[
                (&[], &["apiVersion", "kind", "metadata", "template"]),
                (&["template"], &["apiVersion", "kind", "metadata", "spec"]),
            ],
        }
    }

    fn containers(self) -> String {
        path_of(self.job_spec()).descend(&["template", "spec", "containers"]).to_string()
    }
}

/// The fields of the spec of a Job (batch/v1) in the Kubernetes that we were
/// built for.
const JOB_SPEC_FIELDS: [&str; 16] = [
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "selector",
    "successPolicy",
    "suspend",
    "template",
    "ttlSecondsAfterFinished",
];

/// Where in a template the parts of its Job are.
#[derive(Debug)]
pub(super) struct Located<'a> {
    pub(super) shape: TemplateShape,
    pub(super) path: FieldPath,
    pub(super) job_spec: &'a Map<String, Value>,
    pub(super) metadata: Vec<(FieldPath, &'a Value)>,
}

/// Finds out the shape of a template.
pub(super) fn locate(spec: &Value) -> Result<Located<'_>, Vec<Violation>> {
    let found: Vec<TemplateShape> =
        TemplateShape::ALL.into_iter().filter(|shape| has_containers(spec, *shape)).collect();
    let shape = match found[..] {
        [shape] => shape,
        [] => return Err(vec![no_shape(spec)]),
        [..] => {
            let places: Vec<String> = found.iter().map(|shape| shape.containers()).collect();
            return Err(vec![Violation::invalid(
                FieldPath::root("spec"),
                brief(spec),
                format!("has containers in more than one place ({}): keep one", places.join(" and ")),
            )]);
        }
    };
    let Some(job_spec) = at(spec, shape.job_spec()).and_then(Value::as_object) else {
        return Err(vec![no_shape(spec)]);
    };
    Ok(Located {
        shape,
        path: path_of(shape.job_spec()),
        job_spec,
        metadata: shape.metadata().iter().filter_map(|place| Some((path_of(place), at(spec, place)?))).collect(),
    })
}

/// Fields that nothing reads, and fields that Kubernetes won't know: worth a
/// warning, for most are a slip of indentation.
pub(super) fn misplaced_fields(spec: &Value, located: &Located<'_>) -> Vec<Violation> {
    let mut warnings = Vec::new();
    for (level, known) in located.shape.levels() {
        let fields = at(spec, level).and_then(Value::as_object);
        for (field, value) in fields.into_iter().flatten().take(MOST_VIOLATIONS) {
            let path = path_of(level).child(field);
            if !known.contains(&field.as_str()) {
                let hint = if JOB_SPEC_FIELDS.contains(&field.as_str()) {
                    format!("it belongs into the spec of the Job, {}", located.path.child(field))
                } else {
                    format!("the spec of the Job is {}", located.path)
                };
                warnings.push(Violation::ignored(path, hint));
            } else if field == "kind" && !value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("job")) {
                warnings.push(Violation::invalid(path, brief(value), "ignored, templates are Jobs"));
            }
        }
    }
    let unknown = |path: FieldPath, of: &str| {
        Violation::unknown(path, format!("{of} has none of this name; it has no effect unless Kubernetes knows it"))
    };
    for field in located.job_spec.keys().take(MOST_VIOLATIONS) {
        if !JOB_SPEC_FIELDS.contains(&field.as_str()) {
            warnings.push(unknown(located.path.child(field), "the spec of a Job"));
        }
    }
    let template = located.job_spec.get("template").and_then(Value::as_object);
    for (field, _) in template.into_iter().flatten().take(MOST_VIOLATIONS) {
        if !["metadata", "spec"].contains(&field.as_str()) {
            let path = located.path.child("template").child(field);
            warnings.push(unknown(path, "the template of a Job's pods"));
        }
    }
    warnings
}

fn has_containers(spec: &Value, shape: TemplateShape) -> bool {
    at(spec, shape.job_spec())
        .and_then(|job_spec| at(job_spec, &["template", "spec"]))
        .and_then(|pod| pod.get("containers"))
        .is_some_and(|containers| !containers.is_null() && containers.as_array().is_none_or(|list| !list.is_empty()))
}

/// Says where containers are missing: at the place of the shape that was
/// meant, as far as anybody can tell.
fn no_shape(spec: &Value) -> Violation {
    let is_object = |place: &[&str]| at(spec, place).is_some_and(Value::is_object);
    let meant = if is_object(&["spec", "template"]) || is_object(&["spec"]) {
        Some(TemplateShape::Job)
    } else if is_object(&["template", "spec", "template"]) {
        Some(TemplateShape::Legacy)
    } else if is_object(&["template", "spec"]) {
        Some(TemplateShape::JobSpec)
    } else {
        None
    };
    match meant {
        Some(shape) => Violation::required(
            path_of(shape.job_spec()).descend(&["template", "spec", "containers"]),
            "a Job needs at least one container",
        ),
        None => Violation::required(
            FieldPath::root("spec"),
            format!(
                "no Job is found here: its containers must be at {} (the spec of a Job), {} (a whole Job) or {} \
                 (a whole Job below template)",
                TemplateShape::JobSpec.containers(),
                TemplateShape::Job.containers(),
                TemplateShape::Legacy.containers(),
            ),
        ),
    }
}

fn path_of(place: &[&str]) -> FieldPath {
    FieldPath::root("spec").descend(place)
}

fn at<'a>(value: &'a Value, place: &[&str]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, name| value.get(*name))
}
