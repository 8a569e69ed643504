use std::sync::Arc;

use crate::{
    identity::ObjectName,
    stream::TemplateRef,
    template::JobTemplate,
    validation::{Violation, join},
};

/// What was seen of a template.
#[derive(Clone, Debug)]
pub enum Found {
    /// There is none of that name.
    Missing,
    /// It is in a namespace that this process doesn't look into.
    OutOfSight,
    /// It is there.
    Present(FoundTemplate),
}

/// A template that exists.
#[derive(Clone, Debug)]
pub struct FoundTemplate {
    /// Its content, or why it can't be used.
    pub content: Result<Arc<JobTemplate>, Vec<Violation>>,
    /// The annotation `arcane/allowed-namespaces`: a comma-separated list.
    pub allowed_namespaces: Option<String>,
}

/// Why a reference to a template can't be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The template doesn't exist, as far as can be seen.
    Missing(Violation),
    /// The template doesn't let this namespace use it.
    Forbidden(Violation),
    /// The template exists and is wrong.
    Invalid(Violation),
    /// The template's container has no image, so nothing can run.
    NoImage(Violation),
}

impl Unresolved {
    /// A stable CamelCase word for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "TemplateMissing",
            Self::Forbidden(_) => "TemplateForbidden",
            Self::Invalid(_) => "TemplateInvalid",
            Self::NoImage(_) => "TemplateWithoutImage",
        }
    }

    /// The field at fault, what is wrong and what to do.
    pub fn violation(&self) -> &Violation {
        match self {
            Self::Missing(violation)
            | Self::Forbidden(violation)
            | Self::Invalid(violation)
            | Self::NoImage(violation) => violation,
        }
    }
}

/// Whether a template is there, for whom its content doesn't matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'a> {
    /// There is none of that name.
    Missing,
    /// It is in a namespace that this process doesn't look into.
    OutOfSight,
    /// It is there.
    Present {
        /// The annotation `arcane/allowed-namespaces`.
        allowed_namespaces: Option<&'a str>,
    },
}

/// Judges whether a stream's reference leads to a template that it may use, whatever that template holds.
pub fn reach(wanted: &TemplateRef, presence: Presence<'_>, stream_namespace: &str) -> Result<(), Unresolved> {
    let path = wanted.path.child("name");
    let target = &wanted.target;
    let allowed_namespaces = match presence {
        Presence::Missing => return Err(missing(wanted)),
        Presence::OutOfSight => return Err(out_of_sight(wanted)),
        Presence::Present { allowed_namespaces } => allowed_namespaces,
    };
    if let Some(allowed) = allowed_namespaces
        && !is_allowed_namespace(allowed, target, stream_namespace)
    {
        let message = format!(
            "StreamingJobTemplate {target} may be used from the namespaces {allowed:?} only; \
             add {stream_namespace} to its annotation arcane/allowed-namespaces or use another template"
        );
        return Err(Unresolved::Forbidden(Violation::forbidden(path, message)));
    }
    Ok(())
}

/// Judges a stream's reference to a template.
pub fn resolve(wanted: &TemplateRef, found: &Found, stream_namespace: &str) -> Result<Arc<JobTemplate>, Unresolved> {
    let path = wanted.path.child("name");
    let target = &wanted.target;
    let template = match found {
        Found::Missing => return Err(missing(wanted)),
        Found::OutOfSight => return Err(out_of_sight(wanted)),
        Found::Present(template) => template,
    };
    let allowed_namespaces = template.allowed_namespaces.as_deref();
    reach(wanted, Presence::Present { allowed_namespaces }, stream_namespace)?;
    let content = template.content.as_ref().map_err(|violations| {
        let message = format!("StreamingJobTemplate {target} can't be used: {}", join(violations));
        Unresolved::Invalid(Violation::invalid(path.clone(), &target.name, message))
    })?;
    let without_image = content.containers_without_image();
    if !without_image.is_empty() {
        let message = format!(
            "StreamingJobTemplate {target} has no image for the container {}; set it",
            without_image.join(", ")
        );
        return Err(Unresolved::NoImage(Violation::invalid(path, &target.name, message)));
    }
    Ok(Arc::clone(content))
}

fn missing(wanted: &TemplateRef) -> Unresolved {
    let TemplateRef { path, target } = wanted;
    let message = format!(
        "there is no StreamingJobTemplate of this name in namespace {}; create it or correct the reference",
        target.namespace
    );
    Unresolved::Missing(Violation::not_found(path.child("name"), &target.name, message))
}

fn out_of_sight(wanted: &TemplateRef) -> Unresolved {
    let TemplateRef { path, target } = wanted;
    let message = format!(
        "Arcane is limited to some namespaces here (--namespace), and {} is none of them; name a StreamingJobTemplate in \
         one of them, or let it look into {} too",
        target.namespace, target.namespace
    );
    Unresolved::Missing(Violation::not_found(path.child("name"), &target.name, message))
}

/// Whether a template's annotation `arcane/allowed-namespaces` lets the streams of a namespace use it.
///
/// The list binds other namespaces than the template's own.
pub fn is_allowed_namespace(allowed: &str, template: &ObjectName, namespace: &str) -> bool {
    namespace == template.namespace
        || allowed.split(',').any(|entry| matches!(entry.trim(), "*") || entry.trim() == namespace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field_path::FieldPath;

    fn wanted() -> TemplateRef {
        TemplateRef {
            path: FieldPath::root("spec").child("jobTemplateRef"),
            target: ObjectName::new("templates", "standard"),
        }
    }

    fn found(spec: serde_json::Value, allowed: Option<&str>) -> Found {
        let content = JobTemplate::parse(&spec).map(Arc::new);
        Found::Present(FoundTemplate { content, allowed_namespaces: allowed.map(ToOwned::to_owned) })
    }

    fn good() -> serde_json::Value {
        json!({"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}})
    }

    #[test]
    fn a_missing_template_is_not_found() {
        let unresolved = resolve(&wanted(), &Found::Missing, "ns").unwrap_err();
        assert_eq!(unresolved.reason(), "TemplateMissing");
        assert_eq!(
            unresolved.violation().to_string(),
            "spec.jobTemplateRef.name: Not found: \"standard\": there is no StreamingJobTemplate of this name \
             in namespace templates; create it or correct the reference"
        );
    }

    #[test]
    fn a_template_that_can_not_be_seen_is_not_to_be_created() {
        let unresolved = resolve(&wanted(), &Found::OutOfSight, "ns").unwrap_err();
        assert_eq!(unresolved.reason(), "TemplateMissing");
        let words = unresolved.violation().to_string();
        assert!(
            words.contains("--namespace") && words.contains("templates is none") && !words.contains("create"),
            "{words}"
        );
    }

    #[test]
    fn the_allowed_namespaces_bind_other_namespaces() {
        assert!(resolve(&wanted(), &found(good(), None), "ns").is_ok());
        assert!(resolve(&wanted(), &found(good(), Some("a, ns")), "ns").is_ok());
        assert!(resolve(&wanted(), &found(good(), Some("*")), "ns").is_ok());
        assert!(resolve(&wanted(), &found(good(), Some("")), "templates").is_ok());
        let unresolved = resolve(&wanted(), &found(good(), Some("a,nsx")), "ns").unwrap_err();
        assert_eq!(unresolved.reason(), "TemplateForbidden");
    }

    #[test]
    fn an_invalid_template_brings_its_own_violations() {
        let unresolved = resolve(&wanted(), &found(json!({"x": 1}), None), "ns").unwrap_err();
        assert_eq!(unresolved.reason(), "TemplateInvalid");
    }

    #[test]
    fn a_template_without_image_is_waited_for() {
        let spec = json!({"template": {"spec": {"containers": [{"name": "stream-processor"}]}}});
        let unresolved = resolve(&wanted(), &found(spec, None), "ns").unwrap_err();
        assert_eq!(unresolved.reason(), "TemplateWithoutImage");
        assert!(unresolved.violation().message.contains("stream-processor"));
    }
}
