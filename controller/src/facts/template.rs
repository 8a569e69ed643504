use std::sync::Arc;

use arcane_common::{
    api::{condition::Condition, streaming_job_template::StreamingJobTemplate, well_known},
    identity::{ObjectName, Uid},
    references::FoundTemplate,
    template::JobTemplate,
};
use kube::{Resource, ResourceExt};

/// A StreamingJobTemplate.
#[derive(Clone, Debug)]
pub struct TemplateFacts {
    /// Its namespace and name.
    pub name: ObjectName,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// Its generation.
    pub generation: i64,
    /// Its content and who may use it.
    pub found: FoundTemplate,
    /// The condition `Valid` as it is recorded.
    pub recorded: Option<Condition>,
    /// Whether its deletion was asked for.
    pub deleting: bool,
}

impl TemplateFacts {
    /// Reads a template.
    pub fn of(template: &StreamingJobTemplate) -> Self {
        let spec = serde_json::to_value(&template.spec).unwrap_or_default();
        let conditions = template.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        Self {
            name: ObjectName::new(template.namespace().unwrap_or_default(), template.name_any()),
            uid: Uid::new(template.uid().unwrap_or_default()),
            resource_version: template.resource_version().unwrap_or_default(),
            generation: template.meta().generation.unwrap_or_default(),
            found: FoundTemplate {
                content: JobTemplate::judge(&spec).map(Arc::new),
                allowed_namespaces: template.annotations().get(well_known::ANNOTATION_ALLOWED_NAMESPACES).cloned(),
            },
            recorded: Condition::find(conditions, well_known::CONDITION_VALID).cloned(),
            deleting: template.meta().deletion_timestamp.is_some(),
        }
    }
}
