//! Watches: they fill the caches and say what is to be reconciled.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use arcane_common::{
    api::{
        backfill_request::BackfillRequest, installed, stream_class::StreamClass,
        streaming_job_template::StreamingJobTemplate, well_known,
    },
    identity::GroupKind,
};
use arcane_process::{ending::with_causes, namespaces::Scope};
use futures::{StreamExt, TryStreamExt, future::BoxFuture};
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration,
        batch::v1::{CronJob, Job},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Resource, ResourceExt,
    core::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::{
    caches::{Caches, CrdFacts, OURS, WatchTrouble},
    context::Context,
    facts::{AdmissionFacts, ClassFacts, CronJobFacts, JobFacts, RequestFacts, StreamFacts, TemplateFacts},
    key::Key,
};

/// Large lists come in pages of this many objects.
const PAGE: u32 = 500;
/// Definitions are large: fewer of them at a time.
const PAGE_OF_DEFINITIONS: u32 = 50;

/// Watches CustomResourceDefinitions, until one of ours is there no more or lacks something; says what.
pub async fn definitions(context: Arc<Context>) -> String {
    let api: Api<CustomResourceDefinition> = Api::all(context.client.clone());
    let config = watcher::Config::default().page_size(PAGE_OF_DEFINITIONS);
    let mut events = watcher::watcher(api, config).backoff(watcher::DefaultBackoff::default()).boxed();
    loop {
        match events.next().await {
            Some(Ok(event)) => {
                let facts = |crd: CustomResourceDefinition| (crd.name_any(), CrdFacts::of(&crd));
                take_in(&context, map(event, facts), Caches::on_crd);
                context.kinds_changed.notify_one();
                if let Some(lacks) = what_ours_lack(&context.caches()) {
                    return lacks;
                }
            }
            Some(Err(error)) => {
                tracing::warn!(what = "CustomResourceDefinitions", error = with_causes(&error), "watch failed");
            }
            None => return "the watch of CustomResourceDefinitions ended".to_owned(),
        }
    }
}

fn what_ours_lack(caches: &Caches) -> Option<String> {
    if !caches.crds.is_synced() {
        return None;
    }
    let lacks: Vec<String> = OURS
        .iter()
        .flat_map(|ours| match caches.crds.get(&ours.name_any()) {
            Some(installed) => installed.lacks.clone(),
            None => installed::lacks(None, ours),
        })
        .collect();
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

/// Watches our own kinds, Jobs and CronJobs, without end.
pub fn of_ours(context: &Arc<Context>) -> Vec<BoxFuture<'static, ()>> {
    let classes = Arc::clone(context);
    let mut watches: Vec<BoxFuture<'static, ()>> = vec![Box::pin(async move {
        let api: Api<StreamClass> = Api::all(classes.client.clone());
        follow(&classes, "StreamClasses", api, config(), |context, event| {
            let facts = |class: StreamClass| (class.name_any(), ClassFacts::of(&class));
            take_in(context, map(event, facts), Caches::on_class);
            context.kinds_changed.notify_one();
        })
        .await;
    })];
    for scope in context.caches().namespaces.scopes() {
        watches.extend(within(context, &scope));
    }
    watches
}

/// The same of what is in namespaces.
fn within(context: &Arc<Context>, scope: &Scope) -> [BoxFuture<'static, ()>; 4] {
    let [templates, requests, jobs, cron_jobs] = [(); 4].map(|()| (Arc::clone(context), scope.clone()));
    // One watch for the Jobs of all classes: whoever made them, they carry this label.
    let of_streams = config().labels(well_known::LABEL_STREAM_ID);
    let also_of_streams = of_streams.clone();
    [
        Box::pin(async move {
            let (context, scope) = templates;
            let api: Api<StreamingJobTemplate> = scope.api(&context.client);
            follow(&context, "StreamingJobTemplates", api, config(), |context, event| {
                let facts = |template: StreamingJobTemplate| {
                    let facts = TemplateFacts::of(&template);
                    (facts.name.clone(), facts)
                };
                take_in(context, map(event, facts), |caches, event| caches.on_template(&scope, event));
            })
            .await;
        }),
        Box::pin(async move {
            let (context, scope) = requests;
            let api: Api<BackfillRequest> = scope.api(&context.client);
            follow(&context, "BackfillRequests", api, config(), |context, event| {
                let facts = |request: BackfillRequest| {
                    let facts = RequestFacts::of(&request);
                    (facts.name.clone(), facts)
                };
                take_in(context, map(event, facts), |caches, event| caches.on_request(&scope, event));
            })
            .await;
        }),
        Box::pin(async move {
            let (context, scope) = jobs;
            let api: Api<Job> = scope.api(&context.client);
            follow(&context, "Jobs", api, of_streams, |context, event| {
                let facts = |job: Job| {
                    let facts = JobFacts::of(&job);
                    (facts.name.clone(), facts)
                };
                take_in(context, map(event, facts), |caches, event| caches.on_job(&scope, event));
            })
            .await;
        }),
        Box::pin(async move {
            let (context, scope) = cron_jobs;
            let api: Api<CronJob> = scope.api(&context.client);
            follow(&context, "CronJobs", api, also_of_streams, |context, event| {
                let facts = |cron_job: CronJob| {
                    let facts = CronJobFacts::of(&cron_job);
                    (facts.name.clone(), facts)
                };
                take_in(context, map(event, facts), |caches, event| caches.on_cron_job(&scope, event));
            })
            .await;
        }),
    ]
}

/// Watches the webhook's registration, without end.
pub async fn of_admission(context: Arc<Context>, name: String) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(context.client.clone());
    let mut objects = watcher::watch_object(api, &name).backoff(watcher::DefaultBackoff::default()).boxed();
    loop {
        match objects.next().await {
            Some(Ok(configuration)) => {
                let facts = AdmissionFacts::of(configuration.as_ref());
                let keys = context.caches().on_admission(facts);
                for key in keys {
                    context.queue.add(key);
                }
            }
            Some(Err(error)) => {
                let error = with_causes(&error);
                tracing::warn!(what = "ValidatingWebhookConfiguration", name, error, "watch failed");
            }
            None => return,
        }
    }
}

/// Starts and ends the watches of streams as classes and definitions come and go, without end.
pub async fn of_streams(context: Arc<Context>) {
    let mut running: HashMap<GroupKind, (ApiResource, Vec<Watch>)> = HashMap::new();
    loop {
        let wanted = kinds_to_watch(&context.caches());
        let ended: Vec<GroupKind> = running
            .iter()
            .filter(|(kind, (resource, _))| wanted.get(*kind) != Some(resource))
            .map(|(kind, _)| kind.clone())
            .collect();
        for kind in ended {
            running.remove(&kind);
            tracing::info!(%kind, "no longer watched");
            context.caches().remove_kind(&kind);
            look_at_classes_of(&context, &kind);
        }
        for (kind, resource) in wanted {
            if running.contains_key(&kind) {
                continue;
            }
            tracing::info!(%kind, version = resource.version, "watching");
            context.caches().add_kind(kind.clone(), resource.clone());
            look_at_classes_of(&context, &kind);
            let watch = |scope| streams(Arc::clone(&context), kind.clone(), resource.clone(), scope);
            let watches = context
                .caches()
                .namespaces
                .scopes()
                .into_iter()
                .map(|scope| Watch(tokio::spawn(watch(scope))))
                .collect();
            running.insert(kind, (resource, watches));
        }
        context.kinds_changed.notified().await;
    }
}

/// A watch that ends when it is dropped.
struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The kinds that classes register and the API server serves; of several versions that of the oldest class.
fn kinds_to_watch(caches: &Caches) -> HashMap<GroupKind, ApiResource> {
    let mut classes: Vec<&Arc<ClassFacts>> = caches.classes.values().filter(|class| !class.deleting).collect();
    classes.sort_by_key(|class| (class.created.clone(), class.name.clone()));
    let mut kinds = HashMap::new();
    for class in classes {
        let crd = caches.crds.get(&class.crd_name());
        if crd.is_some_and(|crd| class.registers_streams_of(crd)) {
            kinds.entry(class.kind()).or_insert_with(|| class.resource());
        }
    }
    kinds
}

fn look_at_classes_of(context: &Context, kind: &GroupKind) {
    let classes: Vec<Key> = context.caches().classes_of(kind).map(|class| Key::Class(class.name.clone())).collect();
    for class in classes {
        context.queue.add(class);
    }
}

async fn streams(context: Arc<Context>, kind: GroupKind, resource: ApiResource, scope: Scope) {
    let api = scope.dynamic_api(&context.client, &resource);
    let events = watcher::watcher(api, config()).backoff(watcher::DefaultBackoff::default());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let facts = |object: DynamicObject| {
                    let facts = StreamFacts::of(&kind, &object);
                    (facts.key.name.clone(), facts)
                };
                let event = map(event, facts);
                take_in(&context, event, |caches, event| caches.on_stream(&kind, &scope, event));
            }
            Err(error) => {
                let trouble = trouble(&error);
                tracing::warn!(%kind, forbidden = trouble.forbidden, error = trouble.message, "watch failed");
                if let Some(entry) = context.caches().kinds.get_mut(&kind) {
                    // A watch that breaks after its list is begun anew; only what can't even be listed is said.
                    if trouble.forbidden || !entry.streams.has_listed(&scope) {
                        entry.troubles.insert(scope.clone(), trouble);
                    } else {
                        entry.troubles.remove(&scope);
                    }
                }
                look_at_classes_of(&context, &kind);
            }
        }
    }
}

fn trouble(error: &watcher::Error) -> WatchTrouble {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    match status {
        Some(status) => WatchTrouble { forbidden: status.code == 403, message: status.message.clone() },
        None => WatchTrouble { forbidden: false, message: with_causes(error) },
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

async fn follow<K>(context: &Context, what: &str, api: Api<K>, config: watcher::Config, on: impl Fn(&Context, Event<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = watcher::watcher(api, config).backoff(watcher::DefaultBackoff::default()).boxed();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => on(context, event),
            Ok(None) => return,
            Err(error) => tracing::warn!(what, error = with_causes(&error), "watch failed"),
        }
    }
}

fn take_in<E>(context: &Context, event: E, on: impl FnOnce(&mut Caches, E) -> Vec<Key>) {
    let (keys, synced) = {
        let mut caches = context.caches();
        let before = caches.are_synced();
        let keys = on(&mut caches, event).into_iter().map(|key| (caches.urgency(&key), key)).collect::<Vec<_>>();
        (keys, !before && caches.are_synced())
    };
    for (urgency, key) in keys {
        context.queue.add_with(key, urgency);
    }
    if synced {
        context.synced.notify_one();
    }
}

fn map<A, B>(event: Event<A>, facts: impl Fn(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(facts(object)),
        Event::Delete(object) => Event::Delete(facts(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(facts(object)),
        Event::InitDone => Event::InitDone,
    }
}
