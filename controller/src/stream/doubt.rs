//! For the rare case that the watches may lack something that this process did itself: they are compared with live lists.

use std::collections::BTreeSet;

use arcane_common::identity::StreamKey;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};

use super::pods;
use crate::{context::Context, resources, writes::WriteError};

/// UIDs and versions.
type Versions = BTreeSet<(String, String)>;

/// Whether the watches show the Jobs, CronJobs and requests of a stream as they are now.
pub async fn is_over(context: &Context, key: &StreamKey) -> Result<bool, WriteError> {
    let of_stream = ListParams::default().labels(&pods::labels(key));
    let is_controlled = |object: &DynamicObject| {
        // Another group may have a kind and a stream of these names, too.
        let group = format!("{}/", key.kind.group);
        let mut owners = object.owner_references().iter().filter(|owner| owner.controller == Some(true));
        owners.any(|owner| {
            owner.api_version.starts_with(&group) && owner.kind == key.kind.kind && owner.name == key.name.name
        })
    };
    let jobs = list(context, key, &resources::jobs(), &of_stream, is_controlled).await?;
    let cron_jobs = list(context, key, &resources::cron_jobs(), &of_stream, is_controlled).await?;
    let is_for_stream = |object: &DynamicObject| {
        object.data.pointer("/spec/streamId").and_then(serde_json::Value::as_str) == Some(&key.name.name)
    };
    let all = ListParams::default();
    let requests = list(context, key, &resources::backfill_requests(), &all, is_for_stream).await?;

    let caches = context.caches();
    let version = |uid: &arcane_common::identity::Uid, version: &String| (uid.to_string(), version.clone());
    let seen_jobs: Versions = caches.jobs_of(key).map(|it| version(&it.uid, &it.resource_version)).collect();
    let seen_cron_jobs: Versions = caches.cron_jobs_of(key).map(|it| version(&it.uid, &it.resource_version)).collect();
    let seen_requests: Versions =
        caches.requests_of(&key.name).map(|it| version(&it.uid, &it.resource_version)).collect();
    Ok((jobs, cron_jobs, requests) == (seen_jobs, seen_cron_jobs, seen_requests))
}

async fn list(
    context: &Context,
    key: &StreamKey,
    resource: &ApiResource,
    params: &ListParams,
    is_meant: impl Fn(&DynamicObject) -> bool,
) -> Result<Versions, WriteError> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &key.name.namespace, resource);
    let what = || format!("list the {} of {key}", resource.plural);
    let objects =
        api.list(params).await.map_err(|source| WriteError::Api { what: what(), source: Box::new(source) })?;
    let identity = |object: &DynamicObject| Some((object.uid()?, object.resource_version()?));
    Ok(objects.items.iter().filter(|object| is_meant(object)).filter_map(identity).collect())
}
