//! Carries out what was planned, in the order of the plan; the first failure ends it.

use arcane_certs::{Action, SecretChange, ServingPair, Stored};
use arcane_common::api::well_known;
use arcane_process::leadership::Leadership;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gather::{Found, api};
use super::{CertificateSource, State, Trouble, Upkeep};
use crate::owner::Owner;
use crate::registration::{self, Trust};

/// The name under which our writes stand in `managedFields`.
const FIELD_MANAGER: &str = "arcane-webhook";

impl Upkeep {
    pub(super) async fn apply(
        &self,
        state: &mut State,
        found: &Found,
        actions: &[Action],
        trust: Trust,
        leadership: Option<&Leadership>,
    ) -> Result<(), Trouble> {
        if actions.iter().any(|action| matches!(action, Action::SignLeaf { .. })) {
            self.sign_leaf(state, found)?;
        }
        let Some(leadership) = leadership else { return Ok(()) };
        // The bundle is part of what the registration says.
        self.register(found, trust, leadership).await?;
        for action in actions {
            if let Action::WriteSecret(change) = action {
                self.write_secret(found, change, leadership).await?;
            }
        }
        Ok(())
    }

    fn sign_leaf(&self, state: &mut State, found: &Found) -> Result<(), Trouble> {
        let CertificateSource::Own(lifetimes) = &self.source else { return Ok(()) };
        let observed = found.certificates(state);
        let Some(Ok(stored)) = &observed.stored else { return Ok(()) };
        let pair = stored.current.sign(&self.settings.reached.names(), found.now, lifetimes)?;
        self.serve(state, &pair)
    }

    /// Serves the certificate in the files, once it is trusted. Tells whether one is served.
    pub(super) fn serve_files(&self, state: &mut State, found: &Found) -> Result<bool, Trouble> {
        let CertificateSource::Files(directory) = &self.source else { return Ok(false) };
        if let Some(pair) = state.files.changed(directory)?
            // Who serves nothing loses nothing.
            && (state.files.are_trusted(&found.published, state.started.elapsed()) || state.served.is_none())
        {
            let names = self.settings.reached.names();
            let name = names.first().map(String::as_str).unwrap_or_default();
            if let Some(problem) = pair.problem(name, &state.files.authority(), found.now) {
                return Err(Trouble::Unfit { directory: directory.display().to_string(), problem });
            }
            self.serve(state, &pair)?;
            state.files.taken();
        }
        Ok(state.served.is_some())
    }

    fn serve(&self, state: &mut State, pair: &ServingPair) -> Result<(), Trouble> {
        self.certificate.serve(pair)?;
        let leaf = pair.leaf();
        state.served = Some(leaf);
        tracing::info!(
            signer = leaf.signer.map(|signer| signer.to_string()),
            until = %leaf.validity.not_after,
            "serving a new certificate"
        );
        Ok(())
    }

    async fn register(&self, found: &Found, trust: Trust, leadership: &Leadership) -> Result<(), Trouble> {
        let observed = registration::Observed {
            validating: found.validating.clone(),
            mutating: found.mutating.clone(),
            owner: found.owner.clone(),
            kinds: found.kinds.clone(),
            trust,
        };
        let registration::Plan { validating, mutating } = registration::plan(&observed, &self.settings);
        // What fills in comes before what judges: nobody is refused for what would have been filled in.
        if let Some(mutating) = mutating {
            self.write(Api::all(self.client.clone()), &mutating, leadership).await?;
        }
        if let Some(validating) = validating {
            self.write(Api::all(self.client.clone()), &validating, leadership).await?;
        }
        Ok(())
    }

    async fn write_secret(&self, found: &Found, change: &SecretChange, leadership: &Leadership) -> Result<(), Trouble> {
        let CertificateSource::Own(lifetimes) = &self.source else { return Ok(()) };
        if found.owner == Owner::Missing {
            return Ok(());
        }
        let stored = found.secret.as_ref().and_then(|secret| Stored::decode(&super::gather::data(secret)).ok());
        let stored = change.apply(stored.as_ref(), found.now, lifetimes)?;
        let mut metadata = match &found.secret {
            Some(secret) => secret.metadata.clone(),
            None => ObjectMeta {
                name: Some(self.names.secret.clone()),
                namespace: Some(self.names.namespace.clone()),
                ..ObjectMeta::default()
            },
        };
        metadata
            .labels
            .get_or_insert_default()
            .insert(well_known::LABEL_MANAGED_BY.to_owned(), well_known::MANAGED_BY.to_owned());
        if let Some(owner) = found.owner.reference() {
            metadata.owner_references = Some(vec![owner.clone()]);
        }
        let data = stored.encode().into_iter().map(|(key, value)| (key, ByteString(value))).collect();
        let secret = Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
        let secrets = Api::namespaced(self.client.clone(), &self.names.namespace);
        self.write(secrets, &secret, leadership).await?;
        tracing::info!(
            secret = self.names.secret,
            change = change.as_str(),
            "the certificate authority's Secret is written"
        );
        Ok(())
    }

    /// Creates an object, or replaces it at the version that was read.
    async fn write<K>(&self, objects: Api<K>, object: &K, leadership: &Leadership) -> Result<(), Trouble>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        leadership.may_write()?;
        let name = object.name_any();
        let kind = K::kind(&());
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let (verb, written) = match object.meta().resource_version {
            None => ("create", objects.create(&parameters, object).await),
            Some(_) => ("replace", objects.replace(&name, &parameters, object).await),
        };
        written.map_err(api(format!("{verb} {kind} {name}")))?;
        tracing::info!(%kind, name, verb, "written");
        Ok(())
    }
}
