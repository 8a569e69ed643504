//! What the doctor looks at. Who may not see something is told so.

use arcane_common::api::{self, StreamingJobTemplate, well_known};
use futures::future::join_all;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
        },
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};

use crate::{
    args::DoctorArgs,
    cluster::Cluster,
    ending::{Ending, why},
    fleet::Fleet,
    gather::{self, Wanted},
};

/// Something that was asked for; `Err`: why it can't be seen.
pub(super) type Asked<T> = Result<T, String>;

/// What was seen.
pub(super) struct Seen {
    /// The API server's version.
    pub(super) server: Asked<String>,
    /// Our definitions as they should be, and as they are.
    pub(super) definitions: Vec<(CustomResourceDefinition, Asked<Option<CustomResourceDefinition>>)>,
    /// The Leases of the controller, by the name that it should have.
    pub(super) controller: (String, Asked<Vec<Lease>>),
    /// The Leases of the webhook.
    pub(super) webhook: (String, Asked<Vec<Lease>>),
    /// The webhook's configurations.
    pub(super) configurations: Vec<Configuration>,
    /// Streams, classes, and what belongs to none; `Err`: not even the classes can be listed.
    pub(super) fleet: Asked<Fleet>,
    /// The templates.
    pub(super) templates: Asked<Vec<StreamingJobTemplate>>,
    /// What the user may do: a sentence for each, and whether it is so.
    pub(super) rights: Vec<(String, Asked<bool>)>,
}

/// One of the webhook's two configurations.
pub(super) struct Configuration {
    /// Its kind.
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: String,
    /// Where each of its webhooks is; `None`: there is no such configuration.
    pub(super) webhooks: Asked<Option<Vec<Called>>>,
}

/// A webhook, as the API server calls it.
pub(super) struct Called {
    /// Its name.
    pub(super) name: String,
    /// Who signs its certificate.
    pub(super) bundle: Vec<u8>,
    /// Its Service, and how many endpoints of that are ready; `None`: it is called by a URL.
    pub(super) service: Option<(String, Asked<usize>)>,
}

/// Looks at everything.
pub(super) async fn at_everything(cluster: &Cluster, args: &DoctorArgs) -> Result<Seen, Ending> {
    let client = &cluster.client;
    let server = match client.apiserver_version().await {
        Ok(version) => Ok(format!("{}.{}", version.major, version.minor)),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => return Err(Ending::CannotAsk(format!("the API server doesn't answer: {}", why(&error)))),
    };
    let fleet = gather::fleet(cluster, &Wanted::default()).await.map_err(|ending| ending.to_string());
    let kinds: Vec<(String, String)> = fleet
        .iter()
        .flat_map(|fleet| &fleet.classes)
        .map(|class| (class.spec.group().to_owned(), class.spec.plural_name.clone()))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let (definitions, controller, webhook, configurations, templates, rights) = futures::join!(
        definitions(cluster),
        leases(cluster, args, &args.controller_lease),
        leases(cluster, args, &args.webhook),
        configurations(cluster, &args.webhook),
        templates(cluster),
        rights(cluster, &kinds),
    );
    Ok(Seen {
        server,
        definitions,
        controller: (args.controller_lease.clone(), controller),
        webhook: (args.webhook.clone(), webhook),
        configurations,
        fleet,
        templates,
        rights,
    })
}

async fn definitions(cluster: &Cluster) -> Vec<(CustomResourceDefinition, Asked<Option<CustomResourceDefinition>>)> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let ours = api::crds();
    let found = join_all(ours.iter().map(|definition| {
        let (api, name) = (api.clone(), definition.name_any());
        async move { api.get_opt(&name).await.map_err(|error| why(&error)) }
    }))
    .await;
    ours.into_iter().zip(found).collect()
}

async fn leases(cluster: &Cluster, args: &DoctorArgs, name: &str) -> Asked<Vec<Lease>> {
    let api: Api<Lease> = match &args.operator_namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    let listed = api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await;
    listed.map(|list| list.items).map_err(|error| why(&error))
}

async fn configurations(cluster: &Cluster, name: &str) -> Vec<Configuration> {
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let validating = validating.get_opt(name).await.map_err(|error| why(&error)).map(|found| {
        found.map(|it| it.webhooks.into_iter().flatten().map(|it| (it.name, it.client_config)).collect::<Vec<_>>())
    });
    let mutating = mutating.get_opt(name).await.map_err(|error| why(&error)).map(|found| {
        found.map(|it| it.webhooks.into_iter().flatten().map(|it| (it.name, it.client_config)).collect::<Vec<_>>())
    });
    let mut configurations = Vec::new();
    for (kind, found) in [("ValidatingWebhookConfiguration", validating), ("MutatingWebhookConfiguration", mutating)] {
        let webhooks = match found {
            Ok(Some(webhooks)) => {
                let mut called = Vec::new();
                for (name, config) in webhooks {
                    called.push(call(cluster, name, config).await);
                }
                Ok(Some(called))
            }
            Ok(None) => Ok(None),
            Err(why) => Err(why),
        };
        configurations.push(Configuration { kind, name: name.to_owned(), webhooks });
    }
    configurations
}

async fn call(cluster: &Cluster, name: String, config: WebhookClientConfig) -> Called {
    let service = match config.service {
        Some(service) => {
            let ready = ready_endpoints(cluster, &service.namespace, &service.name).await;
            Some((format!("{}/{}", service.namespace, service.name), ready))
        }
        None => None,
    };
    Called { name, bundle: config.ca_bundle.map(|bundle| bundle.0).unwrap_or_default(), service }
}

async fn ready_endpoints(cluster: &Cluster, namespace: &str, service: &str) -> Asked<usize> {
    let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slices = api.list(&of_service).await.map_err(|error| why(&error))?;
    let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
    // Absent means that nobody can say, which is to be taken for ready.
    Ok(endpoints.filter(|it| it.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true)).count())
}

async fn templates(cluster: &Cluster) -> Asked<Vec<StreamingJobTemplate>> {
    let api: Api<StreamingJobTemplate> = cluster.scope.api(&cluster.client);
    api.list(&ListParams::default()).await.map(|list| list.items).map_err(|error| why(&error))
}

async fn rights(cluster: &Cluster, kinds: &[(String, String)]) -> Vec<(String, Asked<bool>)> {
    let mut wanted: Vec<(&str, &str, &str, &str)> = vec![
        ("list", well_known::GROUP, "streamclasses", ""),
        ("get", well_known::GROUP, "streamingjobtemplates", ""),
        ("list", well_known::GROUP, "backfillrequests", ""),
        ("create", well_known::GROUP, "backfillrequests", ""),
        ("list", "batch", "jobs", ""),
        ("list", "", "pods", ""),
        ("get", "", "pods", "log"),
        ("list", "", "events", ""),
    ];
    for (group, plural) in kinds {
        wanted.extend([("list", group.as_str(), plural.as_str(), ""), ("patch", group, plural, "")]);
    }
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let namespace = match &cluster.scope {
        arcane_process::namespaces::Scope::All => None,
        arcane_process::namespaces::Scope::Namespace(name) => Some(name.to_string()),
    };
    let asked = wanted.into_iter().map(|(verb, group, resource, subresource)| {
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: (!subresource.is_empty()).then(|| subresource.to_owned()),
            namespace: namespace.clone(),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if subresource.is_empty() { "" } else { "/" };
        let what = format!("{verb} {resource}{slash}{subresource}{dot}{group}");
        let api = api.clone();
        async move {
            let answer = api.create(&PostParams::default(), &review).await;
            (what, answer.map(|it| it.status.is_some_and(|status| status.allowed)).map_err(|error| why(&error)))
        }
    });
    join_all(asked).await
}
