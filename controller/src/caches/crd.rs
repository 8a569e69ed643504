use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use arcane_common::api::{self, installed};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;

use crate::stream::status_schema::StatusSchema;

/// Our own definitions, as this version needs them.
pub static OURS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(api::crds);

/// A CustomResourceDefinition, as far as decisions read it.
#[derive(Clone, Debug)]
pub struct CrdFacts {
    /// Its name.
    pub name: String,
    /// The kind that it defines.
    pub kind: String,
    /// Whether the API server serves it.
    pub established: bool,
    /// The served versions and what each lets a status hold.
    pub versions: BTreeMap<String, Arc<StatusSchema>>,
    /// What it lacks, if it is one of ours.
    pub lacks: Vec<String>,
}

impl CrdFacts {
    /// Reads a definition.
    pub fn of(crd: &CustomResourceDefinition) -> Self {
        let name = crd.name_any();
        let ours = OURS.iter().find(|ours| ours.name_any() == name);
        let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let established =
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
        let served = crd.spec.versions.iter().filter(|version| version.served);
        let versions = served.map(|version| {
            let has_status = version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some());
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = match schema.map(serde_json::to_value) {
                Some(Ok(schema)) if has_status => StatusSchema::of(&schema),
                _ => StatusSchema::nothing(),
            };
            (version.name.clone(), Arc::new(schema))
        });
        Self {
            kind: crd.spec.names.kind.clone(),
            established,
            versions: versions.collect(),
            lacks: ours.map(|ours| installed::lacks(Some(crd), ours)).unwrap_or_default(),
            name,
        }
    }
}
