//! For the rare case that the watches may lack something that this process did itself: they are compared with live lists.

use std::collections::BTreeSet;
use std::fmt::Debug;

use arcane_common::identity::{StreamKey, Uid};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::pods;
use crate::{
    caches::{owned_by, stream_of},
    context::Context,
    facts::{CronJobFacts, JobFacts, RequestFacts},
    writes::WriteError,
};

/// UIDs and versions.
type Versions = BTreeSet<(Uid, String)>;

/// Whether the watches show the Jobs, CronJobs and requests of a stream as they are now.
pub async fn is_over(context: &Context, key: &StreamKey) -> Result<bool, WriteError> {
    let (of_stream, all) = (ListParams::default().labels(&pods::labels(key)), ListParams::default());
    let mut jobs = list(context, key, &of_stream, JobFacts::of).await?;
    let mut cron_jobs = list(context, key, &of_stream, CronJobFacts::of).await?;
    let mut requests = list(context, key, &all, RequestFacts::of).await?;
    // Another group may have a kind and a stream of these names, too.
    jobs.retain(|job| stream_of(job).as_ref() == Some(key));
    cron_jobs.retain(|it| owned_by(&it.name, it.owner.as_ref()).as_ref() == Some(key));
    requests.retain(|request| request.stream_name() == key.name);

    let caches = context.caches();
    let of_job = |it: &JobFacts| (it.uid.clone(), it.resource_version.clone());
    let of_cron_job = |it: &CronJobFacts| (it.uid.clone(), it.resource_version.clone());
    let of_request = |it: &RequestFacts| (it.uid.clone(), it.resource_version.clone());
    let same = |live: Versions, seen: Versions| live == seen;
    Ok(same(jobs.iter().map(of_job).collect(), caches.jobs_of(key).map(|it| of_job(it)).collect())
        && same(
            cron_jobs.iter().map(of_cron_job).collect(),
            caches.cron_jobs_of(key).map(|it| of_cron_job(it)).collect(),
        )
        && same(
            requests.iter().map(of_request).collect(),
            caches.requests_of(&key.name).map(|it| of_request(it)).collect(),
        ))
}

/// The facts of what is in a stream's namespace.
async fn list<K, F>(
    context: &Context,
    key: &StreamKey,
    params: &ListParams,
    facts: impl Fn(&K) -> F,
) -> Result<Vec<F>, WriteError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), &key.name.namespace);
    let what = || format!("list the {} of {key}", K::plural(&()));
    let objects =
        api.list(params).await.map_err(|source| WriteError::Api { what: what(), source: Box::new(source) })?;
    Ok(objects.items.iter().map(facts).collect())
}
