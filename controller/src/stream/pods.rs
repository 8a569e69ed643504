//! A live list of a stream's pods, for the few decisions that need one.

use arcane_common::{
    api::well_known,
    identity::{ObjectName, StreamKey, Uid},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    context::Context,
    facts::{PodFacts, StreamFacts},
    writes::WriteError,
};

/// Lists the pods that carry the stream's labels, but for those of other streams' Jobs.
///
/// The labels don't hold the kind's group. A pod whose Job is known to be controlled by a stream of another
/// group is not of this stream; one whose Job is gone may be.
pub async fn list(context: &Context, stream: &StreamFacts) -> Result<Vec<PodFacts>, WriteError> {
    let key = &stream.key;
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.name.namespace);
    let pods = api
        .list(&ListParams::default().labels(&labels(key)))
        .await
        .map_err(|source| WriteError::Api { what: format!("list the pods of {key}"), source: Box::new(source) })?;
    let caches = context.caches();
    let is_foreign = |pod: &&Pod| {
        let job = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        job.and_then(|job| caches.stream_of_job(&ObjectName::new(&key.name.namespace, &job.name), &Uid::new(&job.uid)))
            .is_some_and(|stream| stream != *key)
    };
    Ok(pods.items.iter().filter(|pod| !is_foreign(pod)).map(PodFacts::of).collect())
}

/// The selector of what carries a stream's labels.
pub fn labels(key: &StreamKey) -> String {
    let (name, kind) = (&key.name.name, &key.kind.kind);
    format!("{}={name},{}={kind}", well_known::LABEL_STREAM_ID, well_known::LABEL_STREAM_KIND)
}
