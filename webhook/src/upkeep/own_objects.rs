//! Watches of the few objects that the webhook owns.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::reference_caches::{fill, slim};

/// The webhook's own objects, as the watches last showed them.
#[derive(Clone)]
pub struct OwnObjects {
    pub(super) secret: Store<Secret>,
    pub(super) validating: Store<ValidatingWebhookConfiguration>,
    pub(super) mutating: Store<MutatingWebhookConfiguration>,
}

impl fmt::Debug for OwnObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnObjects").finish_non_exhaustive()
    }
}

impl OwnObjects {
    /// Watches, and the work that keeps them going: it ends only when it is dropped. `secret` is its namespace and name;
    /// none where certificates come from files.
    pub fn watching(
        client: &Client,
        secret: Option<(&str, &str)>,
        configuration: &str,
        changed: &Arc<Notify>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (validating, watch_validating) = only(Api::all(client.clone()), configuration, changed);
        let (mutating, watch_mutating) = only(Api::all(client.clone()), configuration, changed);
        let (secret, watch_secret) = match secret {
            Some((namespace, name)) => {
                let (store, watch) = only(Api::namespaced(client.clone(), namespace), name, changed);
                (store, Some(watch))
            }
            None => (reflector::store().0, None),
        };
        let work = async move {
            let watch_secret = async {
                match watch_secret {
                    Some(watch) => watch.await,
                    None => std::future::pending().await,
                }
            };
            futures::join!(watch_validating, watch_mutating, watch_secret);
        };
        (Self { secret, validating, mutating }, work)
    }
}

/// A watch of one object. By its name, so that a right to this name alone suffices.
fn only<K>(api: Api<K>, name: &str, changed: &Arc<Notify>) -> (Store<K>, impl Future<Output = ()> + Send + use<K>)
where
    K: Resource + Lookup<DynamicType = <K as Resource>::DynamicType> + Clone + DeserializeOwned + fmt::Debug,
    K: Send + Sync + 'static,
    <K as Resource>::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
{
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    (store, fill(writer, watcher(api, config), slim, Arc::clone(changed)))
}
