//! What the API server is asked for. Who may not read all of it is told what is missing, and sees the rest.

use std::collections::BTreeMap;

use arcane_common::api::{BackfillRequest, StreamClass, well_known};
use arcane_controller::facts::{ClassFacts, CronJobFacts, JobFacts};
use futures::future::join_all;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::{CronJob, Job},
        core::v1::Pod,
    },
};
use kube::{
    Api, Resource,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde::de::DeserializeOwned;

use crate::{
    cluster::{Cluster, place},
    ending::{Ending, cannot_ask, why},
    fleet::{Fleet, Listed, OF_STREAMS, Stream, assemble},
};

/// Which streams are looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those with these labels.
    pub selector: Option<String>,
    /// The one of this name.
    pub name: Option<String>,
}

/// Streams, and what belongs to each.
///
/// # Errors
/// When not even the StreamClasses can be listed: nothing is known without them.
pub async fn fleet(cluster: &Cluster, wanted: &Wanted) -> Result<Fleet, Ending> {
    let classes = classes(cluster).await?;
    let mut streams = ListParams::default();
    streams.label_selector.clone_from(&wanted.selector);
    streams.field_selector = wanted.name.as_ref().map(|name| format!("metadata.name={name}"));
    let mut labelled = ListParams::default().labels(OF_STREAMS);
    if let Some(name) = &wanted.name {
        labelled = ListParams::default().labels(&format!("{OF_STREAMS}={name}"));
    }
    let any = ListParams::default();
    let resources = kinds(&classes);
    let lists = join_all(resources.iter().map(|resource| list_streams(cluster, resource, &streams)));
    let (lists, jobs, cron_jobs, requests) = futures::join!(
        lists,
        list::<Job>(cluster, "Jobs", &labelled),
        list::<CronJob>(cluster, "CronJobs", &labelled),
        list::<BackfillRequest>(cluster, "BackfillRequests", &any),
    );
    let mut gaps = Vec::new();
    let mut streams = Vec::new();
    for (resource, listed) in resources.into_iter().zip(lists) {
        match listed {
            Ok(found) => streams.push((resource, found)),
            Err(gap) => gaps.push(gap),
        }
    }
    let listed = Listed {
        classes,
        streams,
        jobs: or_gap(jobs, &mut gaps).iter().map(JobFacts::of).collect(),
        cron_jobs: or_gap(cron_jobs, &mut gaps).iter().map(CronJobFacts::of).collect(),
        requests: or_gap(requests, &mut gaps),
        gaps,
    };
    Ok(assemble(listed))
}

/// The StreamClasses.
///
/// # Errors
/// When they can't be listed.
pub async fn classes(cluster: &Cluster) -> Result<Vec<ClassFacts>, Ending> {
    let api: Api<StreamClass> = Api::all(cluster.client.clone());
    match api.list(&ListParams::default()).await {
        Ok(classes) => Ok(classes.items.iter().map(ClassFacts::of).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Ending::CannotAsk(format!(
            "Arcane isn't installed in this cluster: it has no kind StreamClass ({}); is it the right context?",
            well_known::GROUP
        ))),
        Err(error) => Err(cannot_ask("StreamClasses, by which streams are found", &error)),
    }
}

/// Each kind of stream once, though several classes may register it.
fn kinds(classes: &[ClassFacts]) -> Vec<ApiResource> {
    let served = classes.iter().filter(|class| !class.deleting && !class.spec.names_a_kind_of_ours());
    let by_name: BTreeMap<String, ApiResource> = served.map(|class| (class.crd_name(), class.resource())).collect();
    by_name.into_values().collect()
}

async fn list_streams(
    cluster: &Cluster,
    resource: &ApiResource,
    params: &ListParams,
) -> Result<Vec<DynamicObject>, String> {
    let kind = format!("{}.{}", resource.plural, resource.group);
    match cluster.scope.dynamic_api(&cluster.client, resource).list(params).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err(format!("streams of {kind} aren't shown: the kind isn't installed (in version {})", resource.version))
        }
        Err(error) => Err(format!("streams of {kind} aren't shown: {}", why(&error))),
    }
}

async fn list<K>(cluster: &Cluster, what: &str, params: &ListParams) -> Result<Vec<K>, String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = cluster.scope.api::<K>(&cluster.client).list(params).await;
    listed
        .map(|list| list.items)
        .map_err(|error| format!("{what} {} aren't shown: {}", place(&cluster.scope), why(&error)))
}

fn or_gap<T>(listed: Result<Vec<T>, String>, gaps: &mut Vec<String>) -> Vec<T> {
    listed.unwrap_or_else(|gap| {
        gaps.push(gap);
        Vec::new()
    })
}

/// The one stream that is meant, and all that was seen.
///
/// # Errors
/// When there is none, or several; when it can't be told.
pub async fn one_stream(cluster: &Cluster, text: &str) -> Result<(Fleet, Stream), Ending> {
    let (_, name) = crate::fleet::kind_and_name(text);
    let wanted = Wanted { name: Some(name.to_owned()), ..Wanted::default() };
    let fleet = fleet(cluster, &wanted).await?;
    let stream = fleet
        .one(text, &cluster.place())
        .map_err(|words| if fleet.gaps.is_empty() { Ending::Refused(words) } else { Ending::CannotAsk(words) })?;
    let stream = stream.clone();
    Ok((fleet, stream))
}

/// The pods of a stream.
///
/// # Errors
/// When they can't be listed, in words.
pub async fn pods(cluster: &Cluster, stream: &Stream) -> Result<Vec<Pod>, String> {
    let (kind, name) = (&stream.resource.kind, stream.name());
    let labels = format!("{OF_STREAMS}={},{}={kind}", name.name, well_known::LABEL_STREAM_KIND);
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &name.namespace);
    let listed = api.list(&ListParams::default().labels(&labels)).await;
    listed.map(|list| list.items).map_err(|error| format!("pods aren't shown: {}", why(&error)))
}
