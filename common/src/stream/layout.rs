//! What a stream's spec asks for, read from whichever layout it is written in.

use serde_json::{Map, Value};

use super::{execution_v1_layout, execution_v2_layout, flat_layout, schedule};
use crate::{
    api::well_known,
    field_path::FieldPath,
    identity::ObjectName,
    validation::{Violation, brief},
};

/// What a stream asks for, whatever its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDefinition {
    /// How it runs when nothing else is asked.
    pub workload: Workload,
    /// The template of its backfills; absent means the streaming one.
    pub backfill_template: Option<TemplateRef>,
}

/// How a stream runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A Job that runs continuously.
    ChangeCapture {
        /// The Job's template.
        template: TemplateRef,
    },
    /// A CronJob.
    Batch {
        /// The template of each run.
        template: TemplateRef,
        /// When it runs, in cron's notation.
        schedule: String,
    },
}

impl Workload {
    /// The template that the workload's Job is made from.
    pub fn template(&self) -> &TemplateRef {
        match self {
            Self::ChangeCapture { template } | Self::Batch { template, .. } => template,
        }
    }
}

impl StreamDefinition {
    /// All templates that the stream refers to.
    pub fn templates(&self) -> Vec<ObjectName> {
        let streaming = self.workload.template();
        self.backfill_template.iter().chain([streaming]).map(|template| template.target.clone()).collect()
    }

    /// The template of a backfill Job.
    pub fn template_of_backfill(&self) -> &TemplateRef {
        self.backfill_template.as_ref().unwrap_or_else(|| self.workload.template())
    }
}

/// A stream's reference to a StreamingJobTemplate, and the field that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRef {
    /// The field, e.g. `spec.jobTemplateRef`.
    pub path: FieldPath,
    /// The template; its namespace is the stream's own where the field names none.
    pub target: ObjectName,
}

/// The layouts a stream can be written in (`spec.execution.layoutVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The users guide's: fields directly below `spec`.
    Flat,
    /// `v1`: below `spec.execution`, the backfill template beside the backend.
    ExecutionV1,
    /// `v2`: below `spec.execution`, the backfill template inside `changeCapture`.
    ExecutionV2,
}

impl Layout {
    /// The layout that a spec declares.
    pub fn of(spec: &Value) -> Result<Self, Violation> {
        let path = FieldPath::root("spec").descend(&["execution", "layoutVersion"]);
        match spec.pointer("/execution/layoutVersion") {
            None | Some(Value::Null) => Ok(Self::Flat),
            Some(Value::String(version)) => match version.as_str() {
                "" => Ok(Self::Flat),
                "v1" => Ok(Self::ExecutionV1),
                "v2" => Ok(Self::ExecutionV2),
                other => Err(Violation::not_supported(path, other, &["v1", "v2"])),
            },
            Some(other) => Err(Violation::invalid(path, brief(other), "must be a string")),
        }
    }
}

/// Whether a spec asks for suspension.
///
/// Read apart from everything else, so that the brake works on a stream that is wrong in other ways.
pub fn is_suspended(spec: &Value) -> bool {
    let flat = spec.get("suspended");
    let nested = spec.pointer("/execution/suspended");
    let field = match Layout::of(spec) {
        Ok(Layout::Flat) => flat,
        Ok(Layout::ExecutionV1 | Layout::ExecutionV2) => nested,
        // An unknown layout runs nothing anyway; either brake counts.
        Err(_) => nested.or(flat),
    };
    field.and_then(Value::as_bool).unwrap_or(false)
}

/// Reads a spec; every violation is reported, not only the first.
pub fn read(spec: &Value, namespace: &str) -> Result<StreamDefinition, Vec<Violation>> {
    read_all(spec, namespace).0
}

/// The references to templates that can be read, also in a spec that is wrong elsewhere.
pub fn references(spec: &Value, namespace: &str) -> Vec<TemplateRef> {
    read_all(spec, namespace).1
}

fn read_all(spec: &Value, namespace: &str) -> (Result<StreamDefinition, Vec<Violation>>, Vec<TemplateRef>) {
    let layout = match Layout::of(spec) {
        Ok(layout) => layout,
        Err(violation) => return (Err(vec![violation]), Vec::new()),
    };
    let Some(fields) = spec.as_object() else {
        return (Err(vec![Violation::required(FieldPath::root("spec"), "a stream needs a spec")]), Vec::new());
    };
    let mut reader = Reader { namespace, violations: Vec::new(), references: Vec::new() };
    let spec = Fields { path: FieldPath::root("spec"), map: fields };
    let definition = match layout {
        Layout::Flat => flat_layout::read(&mut reader, &spec),
        Layout::ExecutionV1 => execution_v1_layout::read(&mut reader, &spec),
        Layout::ExecutionV2 => execution_v2_layout::read(&mut reader, &spec),
    };
    let definition = match definition {
        Some(definition) if reader.violations.is_empty() => Ok(definition),
        _ => {
            // A part that two readers look at is still wrong only once.
            let mut violations: Vec<Violation> = Vec::new();
            for violation in reader.violations {
                if !violations.contains(&violation) {
                    violations.push(violation);
                }
            }
            Err(violations)
        }
    };
    (definition, reader.references)
}

/// The fields of one object of a spec, and where it is.
pub(super) struct Fields<'a> {
    pub(super) path: FieldPath,
    map: &'a Map<String, Value>,
}

/// Reads typed fields and collects what is wrong with them. Explicit nulls count as absent.
pub(super) struct Reader<'a> {
    namespace: &'a str,
    pub(super) violations: Vec<Violation>,
    references: Vec<TemplateRef>,
}

impl Reader<'_> {
    pub(super) fn object<'v>(&mut self, parent: &Fields<'v>, name: &str) -> Option<Fields<'v>> {
        let path = parent.path.child(name);
        match parent.map.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(Fields { path, map }),
            Some(other) => {
                self.violations.push(Violation::invalid(path, brief(other), "must be an object"));
                None
            }
        }
    }

    pub(super) fn suspended(&mut self, parent: &Fields<'_>) {
        match parent.map.get("suspended") {
            None | Some(Value::Null | Value::Bool(_)) => {}
            Some(other) => {
                let path = parent.path.child("suspended");
                self.violations.push(Violation::invalid(path, brief(other), "must be true or false"));
            }
        }
    }

    pub(super) fn required_template(&mut self, parent: &Fields<'_>, name: &str) -> Option<TemplateRef> {
        if matches!(parent.map.get(name), None | Some(Value::Null)) {
            self.violations.push(Violation::required(
                parent.path.child(name),
                "name the StreamingJobTemplate that the stream's Job is made from, e.g. {name: my-template}",
            ));
            return None;
        }
        self.template(parent, name)
    }

    pub(super) fn template(&mut self, parent: &Fields<'_>, name: &str) -> Option<TemplateRef> {
        let reference = self.object(parent, name)?;
        let target = self.text(&reference, "name");
        let namespace = self.text(&reference, "namespace");
        self.template_kind(&reference);
        let Some(target) = target else {
            self.violations
                .push(Violation::required(reference.path.child("name"), "name an existing StreamingJobTemplate"));
            return None;
        };
        let namespace = namespace.unwrap_or_else(|| self.namespace.to_owned());
        let reference = TemplateRef { path: reference.path, target: ObjectName::new(namespace, target) };
        self.references.push(reference.clone());
        Some(reference)
    }

    /// A reference may name kind and group; they can only be those of templates.
    fn template_kind(&mut self, reference: &Fields<'_>) {
        if let Some(kind) = self.text(reference, "kind")
            && !kind.eq_ignore_ascii_case("StreamingJobTemplate")
        {
            self.violations.push(Violation::not_supported(
                reference.path.child("kind"),
                kind,
                &["StreamingJobTemplate"],
            ));
        }
        for field in ["apiGroup", "apiVersion"] {
            if let Some(value) = self.text(reference, field)
                && value.split('/').next() != Some(well_known::GROUP)
            {
                self.violations.push(Violation::not_supported(
                    reference.path.child(field),
                    value,
                    &[well_known::GROUP],
                ));
            }
        }
    }

    /// A string; absent, null and empty are the same.
    pub(super) fn text(&mut self, parent: &Fields<'_>, name: &str) -> Option<String> {
        match parent.map.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.violations.push(Violation::invalid(parent.path.child(name), brief(other), "must be a string"));
                None
            }
        }
    }

    fn schedule(&mut self, batch: &Fields<'_>) -> Option<String> {
        let path = batch.path.child("schedule");
        let before = self.violations.len();
        let schedule = self.text(batch, "schedule");
        match &schedule {
            Some(schedule) => {
                if let Err(message) = schedule::check(schedule) {
                    self.violations.push(Violation::invalid(path, schedule, message));
                }
            }
            // One of a wrong type has been reported.
            None if self.violations.len() > before => {}
            None => self.violations.push(Violation::required(
                path,
                "say when the stream runs in cron's notation, e.g. \"0 * * * *\" for every hour",
            )),
        }
        schedule
    }

    /// The two backends of the `execution` layouts, of which exactly one is set.
    pub(super) fn backend(&mut self, execution: &Fields<'_>) -> Option<Workload> {
        let path = execution.path.child("streamingBackend");
        let before = self.violations.len();
        let backend = self.object(execution, "streamingBackend");
        let change_capture = backend.as_ref().and_then(|backend| self.object(backend, "changeCapture"));
        let batch = backend.as_ref().and_then(|backend| self.object(backend, "batch"));
        // A backend of a wrong type has been reported where it stands.
        let is_reported = self.violations.len() > before;
        match (&change_capture, &batch) {
            (Some(_), Some(_)) => {
                self.violations
                    .push(Violation::forbidden(path, "changeCapture and batch exclude each other; remove one of them"));
            }
            (None, None) if !is_reported => {
                self.violations.push(Violation::required(path, "set either changeCapture or batch"));
            }
            _ => {}
        }
        // Also where both are set: who removes one is not told of the other only then.
        let change_capture = change_capture.map(|fields| self.required_template(&fields, "jobTemplateRef"));
        let batch = batch.map(|fields| (self.schedule(&fields), self.required_template(&fields, "jobTemplateRef")));
        match (change_capture, batch) {
            (Some(template), None) => Some(Workload::ChangeCapture { template: template? }),
            (None, Some((schedule, template))) => Some(Workload::Batch { template: template?, schedule: schedule? }),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(spec: &Value) -> Vec<String> {
        read(spec, "ns").unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_flat_layout_is_the_one_without_a_version() {
        for execution in [json!(null), json!({}), json!({"layoutVersion": ""}), json!({"layoutVersion": null})] {
            let spec = json!({"execution": execution, "jobTemplateRef": {"name": "t"}});
            let definition = read(&spec, "ns").unwrap();
            assert_eq!(definition.workload.template().target, ObjectName::new("ns", "t"));
            assert_eq!(definition.template_of_backfill().target, ObjectName::new("ns", "t"));
        }
    }

    #[test]
    fn a_flat_stream_may_name_a_namespace_and_a_backfill_template() {
        let spec = json!({
            "jobTemplateRef": {"name": "t", "namespace": "other", "kind": "StreamingJobTemplate"},
            "backfillJobTemplateRef": {"name": "b", "apiGroup": "streaming.sneaksanddata.com"},
        });
        let definition = read(&spec, "ns").unwrap();
        assert_eq!(definition.workload.template().target, ObjectName::new("other", "t"));
        assert_eq!(definition.template_of_backfill().target, ObjectName::new("ns", "b"));
        assert_eq!(definition.template_of_backfill().path.to_string(), "spec.backfillJobTemplateRef");
    }

    #[test]
    fn v1_and_v2_differ_in_the_place_of_the_backfill_template() {
        let v1 = json!({"execution": {"layoutVersion": "v1", "backfillJobTemplateRef": {"name": "b"},
            "streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": "t"}}, "batch": null}}});
        let v2 = json!({"execution": {"layoutVersion": "v2",
            "streamingBackend": {"changeCapture": {"jobTemplateRef": {"name": "t"}, "backfillJobTemplateRef": {"name": "b"}}}}});
        for spec in [v1, v2] {
            let definition = read(&spec, "ns").unwrap();
            assert_eq!(definition.workload.template().target.name, "t");
            assert_eq!(definition.template_of_backfill().target.name, "b");
        }
    }

    #[test]
    fn batch_needs_a_schedule() {
        let spec = json!({"execution": {"layoutVersion": "v1",
            "streamingBackend": {"batch": {"jobTemplateRef": {"name": "t"}}}}});
        assert_eq!(words(&spec).len(), 1);
        assert!(words(&spec)[0].starts_with("spec.execution.streamingBackend.batch.schedule: Required value"));
    }

    #[test]
    fn a_schedule_is_read_as_kubernetes_reads_it() {
        let at = |schedule: Value| {
            json!({"execution": {"layoutVersion": "v1",
                "streamingBackend": {"batch": {"jobTemplateRef": {"name": "t"}, "schedule": schedule}}}})
        };
        assert!(read(&at(json!("*/5 * * * *")), "ns").is_ok());
        assert!(
            words(&at(json!("* * * *")))[0]
                .starts_with(r#"spec.execution.streamingBackend.batch.schedule: Invalid value: "* * * *": "#)
        );
        assert_eq!(words(&at(json!(7))).len(), 1);
    }

    #[test]
    fn references_are_read_of_a_spec_that_is_wrong_elsewhere() {
        let spec = json!({"suspended": "yes", "jobTemplateRef": {"name": "a"}, "backfillJobTemplateRef": {"name": ""}});
        assert!(read(&spec, "ns").is_err());
        let names: Vec<String> =
            references(&spec, "ns").into_iter().map(|reference| reference.target.to_string()).collect();
        assert_eq!(names, ["ns/a"]);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let spec = json!({"suspended": "yes", "jobTemplateRef": {"name": "", "kind": "ConfigMap"}, "backfillJobTemplateRef": 7});
        let words = words(&spec);
        assert_eq!(words.len(), 4, "{words:?}");
        assert!(words[0].starts_with("spec.suspended: Invalid value"));
        assert!(words[1].starts_with("spec.jobTemplateRef.kind: Unsupported value"));
        assert!(words[2].starts_with("spec.jobTemplateRef.name: Required value"));
        assert!(words[3].starts_with("spec.backfillJobTemplateRef: Invalid value"));
    }

    #[test]
    fn neither_and_both_backends_are_errors() {
        let neither = json!({"execution": {"layoutVersion": "v2", "streamingBackend": {"batch": null}}});
        assert!(words(&neither)[0].starts_with("spec.execution.streamingBackend: Required value"));
        let both =
            json!({"execution": {"layoutVersion": "v2", "streamingBackend": {"batch": {}, "changeCapture": {}}}});
        assert!(words(&both)[0].starts_with("spec.execution.streamingBackend: Forbidden"));
    }

    #[test]
    fn what_is_wrong_with_the_backends_is_said_beside_all_else() {
        let paths = |execution: Value| -> Vec<String> {
            let violations = read(&json!({"execution": execution}), "ns").unwrap_err();
            violations.iter().map(|violation| violation.path.to_string()).collect()
        };
        let backend = "spec.execution.streamingBackend";
        assert_eq!(paths(json!({"layoutVersion": "v1", "suspended": 1})), ["spec.execution.suspended", backend]);
        assert_eq!(
            paths(json!({"layoutVersion": "v1", "backfillJobTemplateRef": {}})),
            ["spec.execution.backfillJobTemplateRef.name", backend,]
        );
        assert_eq!(
            paths(json!({"layoutVersion": "v1", "suspended": 1, "streamingBackend": {"batch": 7}})),
            ["spec.execution.suspended".to_owned(), format!("{backend}.batch"),]
        );
        for layout in ["v1", "v2"] {
            let both = json!({"batch": {"schedule": "hourly"}, "changeCapture": {"jobTemplateRef": {"name": ""}}});
            assert_eq!(
                paths(json!({"layoutVersion": layout, "streamingBackend": both})),
                [
                    backend.to_owned(),
                    format!("{backend}.changeCapture.jobTemplateRef.name"),
                    format!("{backend}.batch.schedule"),
                    format!("{backend}.batch.jobTemplateRef"),
                ]
            );
        }
    }

    #[test]
    fn an_unknown_layout_names_the_known_ones() {
        let spec = json!({"execution": {"layoutVersion": "v9", "suspended": true}});
        assert_eq!(
            words(&spec),
            [r#"spec.execution.layoutVersion: Unsupported value: "v9": supported values: "v1", "v2""#]
        );
        assert!(is_suspended(&spec), "the brake works on a spec that can't be read");
    }

    #[test]
    fn suspended_is_read_where_the_layout_has_it() {
        assert!(is_suspended(&json!({"suspended": true})));
        assert!(!is_suspended(&json!({"suspended": null})));
        assert!(!is_suspended(&json!({"suspended": true, "execution": {"layoutVersion": "v1"}})));
        assert!(is_suspended(&json!({"execution": {"layoutVersion": "v2", "suspended": true}})));
    }
}
