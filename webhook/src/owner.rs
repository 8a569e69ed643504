//! Who owns what the webhook creates, so that `helm uninstall` takes it away.

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource};

/// Who owns it.
#[derive(Clone, Debug, PartialEq)]
pub enum Owner {
    /// Nobody.
    None,
    /// This object.
    Found(OwnerReference),
    /// It isn't there: we are being uninstalled, and what we wrote now nobody would take away.
    Missing,
}

impl Owner {
    /// Looks up the ClusterRole of this name. To be done anew before each write: one that was made again has another UID.
    ///
    /// # Errors
    /// When the API server doesn't tell.
    pub async fn find(client: &Client, name: Option<&str>) -> Result<Self, kube::Error> {
        let Some(name) = name else { return Ok(Self::None) };
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let role = roles.get_metadata_opt(name).await?;
        let uid = role.and_then(|role| role.metadata.uid);
        Ok(uid.map_or(Self::Missing, |uid| {
            Self::Found(OwnerReference {
                api_version: ClusterRole::api_version(&()).into_owned(),
                kind: ClusterRole::kind(&()).into_owned(),
                name: name.to_owned(),
                uid,
                ..OwnerReference::default()
            })
        }))
    }

    /// The reference, if there is an owner.
    pub fn reference(&self) -> Option<&OwnerReference> {
        match self {
            Self::Found(reference) => Some(reference),
            Self::None | Self::Missing => None,
        }
    }
}
