use std::collections::BTreeMap;

use arcane_common::{
    api::{
        condition::{Condition, ConditionStatus},
        stream_class::{StreamClass, StreamClassSpec, StreamClassStatus},
        well_known,
    },
    identity::{GroupKind, Uid},
    references::ClassCandidate,
    validation::validate_group_of_class,
};
use kube::{Resource, ResourceExt, core::ApiResource};

use crate::caches::CrdFacts;

/// A StreamClass.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// The version of the object that this was read from.
    pub resource_version: String,
    /// Its generation.
    pub generation: i64,
    /// Its spec.
    pub spec: StreamClassSpec,
    /// Its status.
    pub status: StreamClassStatus,
    /// Whether it is the default of its kind.
    pub is_default: bool,
    /// When it was created; sorts by time.
    pub created: String,
    /// Whether its deletion was asked for.
    pub deleting: bool,
}

impl ClassFacts {
    /// Reads a class.
    pub fn of(class: &StreamClass) -> Self {
        Self {
            name: class.name_any(),
            uid: Uid::new(class.uid().unwrap_or_default()),
            resource_version: class.resource_version().unwrap_or_default(),
            generation: class.meta().generation.unwrap_or_default(),
            spec: class.spec.clone(),
            status: class.status.clone().unwrap_or_default(),
            is_default: class
                .annotations()
                .get(well_known::ANNOTATION_IS_DEFAULT_CLASS)
                .is_some_and(|value| value == "true"),
            created: class.meta().creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
            deleting: class.meta().deletion_timestamp.is_some(),
        }
    }

    /// The group and kind it registers.
    pub fn kind(&self) -> GroupKind {
        GroupKind::new(self.spec.group(), &self.spec.kind_ref)
    }

    /// Where the API server serves the kind it registers.
    pub fn resource(&self) -> ApiResource {
        let group = self.spec.group().to_owned();
        let version = self.spec.api_version.clone();
        ApiResource {
            api_version: format!("{group}/{version}"),
            group,
            version,
            kind: self.spec.kind_ref.clone(),
            plural: self.spec.plural_name.clone(),
        }
    }

    /// What its status says is wrong with it, if it is about the spec as it is.
    pub fn recorded_trouble(&self) -> Option<&str> {
        let ready = Condition::find(&self.status.conditions, well_known::CONDITION_READY)?;
        let is_of_now = self.status.observed_generation == Some(self.generation);
        (is_of_now && ready.status == ConditionStatus::False).then_some(ready.message.as_str())
    }

    /// The name of the CustomResourceDefinition behind the kind it registers.
    pub fn crd_name(&self) -> String {
        format!("{}.{}", self.spec.plural_name, self.spec.group())
    }

    /// Whether this definition serves the streams that it registers. One and the same object must not be a stream of two
    /// kinds, which is what a slip in `kindRef` would make it: each would get a Job of its own.
    pub fn registers_streams_of(&self, crd: &CrdFacts) -> bool {
        crd.established
            && crd.kind == self.spec.kind_ref
            && crd.versions.contains_key(&self.spec.api_version)
            && !self.spec.names_a_kind_of_ours()
            && validate_group_of_class(self.spec.group()).is_ok()
    }

    /// This class among those that register one kind.
    pub fn candidate(&self) -> ClassCandidate {
        ClassCandidate { name: self.name.clone(), is_default: self.is_default, created: self.created.clone() }
    }

    /// Numbers of streams by phase, as they are recorded.
    pub fn recorded_streams(&self) -> &BTreeMap<String, i64> {
        &self.status.streams
    }
}
