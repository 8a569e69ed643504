//! What there is: our Secret, our configurations, who owns them, and which kinds the classes register.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;

use arcane_certs::{Observed, Published, Stored};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::{Lookup, Store};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{CertificateSource, State, Trouble, Upkeep};
use crate::owner::Owner;
use crate::registration::PluginKind;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) now: Timestamp,
    pub(super) is_writer: bool,
    pub(super) secret: Option<Secret>,
    pub(super) validating: Option<ValidatingWebhookConfiguration>,
    pub(super) mutating: Option<MutatingWebhookConfiguration>,
    pub(super) published: Vec<Published>,
    pub(super) owner: Owner,
    pub(super) kinds: BTreeSet<PluginKind>,
}

impl Found {
    /// As the plan of certificates wants to see it.
    pub(super) fn certificates(&self, state: &State) -> Observed {
        Observed {
            now: self.now,
            uptime: state.started.elapsed(),
            stored: self.secret.as_ref().map(|secret| Stored::decode(&data(secret))),
            published: self.published.clone(),
            served: state.served,
            is_writer: self.is_writer,
            memory: state.memory.clone(),
        }
    }
}

pub(super) fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

impl Upkeep {
    pub(super) async fn gather(&self, is_writer: bool) -> Result<Found, Trouble> {
        let configuration = self.settings.name.as_str();
        let secret = match &self.source {
            CertificateSource::Own(_) => {
                let secrets = Api::namespaced(self.client.clone(), &self.names.namespace);
                confirmed(&self.own.secret, secrets, &self.names.secret, "Secret").await?
            }
            CertificateSource::Files(_) => None,
        };
        let kind = "ValidatingWebhookConfiguration";
        let validating = confirmed(&self.own.validating, Api::all(self.client.clone()), configuration, kind).await?;
        let kind = "MutatingWebhookConfiguration";
        let mutating = confirmed(&self.own.mutating, Api::all(self.client.clone()), configuration, kind).await?;
        let of_validating = validating.as_ref().map(|it| it.webhooks.iter().flatten().map(|it| &it.client_config));
        let of_mutating = mutating.as_ref().map(|it| it.webhooks.iter().flatten().map(|it| &it.client_config));
        let mut published = bundles(of_validating);
        published.extend(bundles(of_mutating));
        let owner = if is_writer {
            let found = Owner::find(&self.client, self.names.owner.as_deref()).await;
            found.map_err(api("get the ClusterRole that owns the registration"))?
        } else {
            Owner::None
        };
        Ok(Found {
            now: Timestamp::now(),
            is_writer,
            secret,
            validating,
            mutating,
            published,
            owner,
            kinds: self.kinds(),
        })
    }

    /// The kinds of other groups that need a rule. One that no CustomResourceDefinition backs is left out: it may be
    /// anything, say a kind of Kubernetes itself or of another aggregated API server.
    fn kinds(&self) -> BTreeSet<PluginKind> {
        let classes = self.references.classes();
        let kinds = classes.iter().filter_map(|class| PluginKind::of(class));
        kinds.filter(|kind| self.references.definition(&kind.definition()).is_some()).collect()
    }
}

pub(super) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Trouble {
    let doing = doing.into();
    |source| Trouble::Api { doing, source: Box::new(source) }
}

/// What the watch shows; that there is nothing is confirmed by a live read.
async fn confirmed<K>(store: &Store<K>, api_of_kind: Api<K>, name: &str, kind: &str) -> Result<Option<K>, Trouble>
where
    K: Resource + Lookup<DynamicType = <K as Resource>::DynamicType> + Clone + Debug + DeserializeOwned + 'static,
    <K as Resource>::DynamicType: Eq + Hash + Clone,
{
    if let Some(shown) = store.state().into_iter().next() {
        return Ok(Some((*shown).clone()));
    }
    api_of_kind.get_opt(name).await.map_err(api(format!("get {kind} {name}")))
}

fn bundles<'a>(configs: Option<impl Iterator<Item = &'a WebhookClientConfig>>) -> Vec<Published> {
    match configs {
        None => vec![Published::Missing],
        Some(configs) => {
            configs.map(|config| Published::read(config.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice()))).collect()
        }
    }
}
