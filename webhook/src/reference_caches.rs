//! What the webhook knows without asking: StreamClasses, which templates there are, and the schemas of streams.

use std::{fmt, hash::Hash, sync::Arc};

use arcane_common::{
    api::{StreamClass, StreamingJobTemplate},
    identity::{GroupKind, ObjectName},
};
use arcane_process::{
    ending::with_causes,
    namespaces::{Namespaces, Scope},
};
use futures::{
    Stream, StreamExt, TryFutureExt,
    future::{join_all, try_join_all},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, Lookup, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use tokio::sync::Notify;

/// A template as the webhook knows it: that it is there, and its annotations.
pub type TemplateMetadata = PartialObjectMeta<StreamingJobTemplate>;

/// The caches. They answer "yes"; whoever wants to say "no" asks the API server first.
#[derive(Clone)]
pub struct ReferenceCaches {
    classes: Store<StreamClass>,
    /// What is known of each scope that is watched.
    templates: Vec<(Scope, Store<TemplateMetadata>)>,
    definitions: Store<CustomResourceDefinition>,
}

impl fmt::Debug for ReferenceCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceCaches")
            .field("classes", &self.classes.len())
            .field("templates", &self.templates.iter().map(|(_, store)| store.len()).sum::<usize>())
            .field("definitions", &self.definitions.len())
            .finish()
    }
}

impl ReferenceCaches {
    /// What is watched.
    pub const KINDS: [&'static str; 3] = ["StreamClasses", "StreamingJobTemplates", "CustomResourceDefinitions"];

    /// Caches, and the work that keeps them filled: it ends only when it is dropped. It tells `kinds_changed` when a
    /// class or definition has changed.
    pub fn watching(
        client: &Client,
        namespaces: &Namespaces,
        kinds_changed: &Arc<Notify>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (classes, class_writer) = reflector::store();
        let (definitions, definition_writer) = reflector::store();
        // Definitions are big, and there may be hundreds.
        let config = watcher::Config::default().page_size(50);
        let watch_classes = fill(
            class_writer,
            watcher(Api::all(client.clone()), watcher::Config::default()),
            slim,
            Arc::clone(kinds_changed),
        );
        let (templates, watch_templates): (Vec<_>, Vec<_>) = namespaces
            .scopes()
            .into_iter()
            .map(|scope| {
                let (templates, writer) = reflector::store();
                let events = watcher(scope.api::<TemplateMetadata>(client), watcher::Config::default());
                ((scope, templates), fill(writer, events, slim, Arc::default()))
            })
            .unzip();
        let watch_definitions = fill(
            definition_writer,
            watcher(Api::all(client.clone()), config),
            only_the_schemas_of_streams,
            Arc::clone(kinds_changed),
        );
        let work = async move {
            futures::join!(watch_classes, join_all(watch_templates), watch_definitions);
        };
        (Self { classes, templates, definitions }, work)
    }

    /// Caches that hold these objects and never change: for tests.
    pub fn holding(
        classes: impl IntoIterator<Item = StreamClass>,
        templates: impl IntoIterator<Item = TemplateMetadata>,
        definitions: impl IntoIterator<Item = CustomResourceDefinition>,
    ) -> Self {
        let templates = vec![(Scope::All, held(templates))];
        Self { classes: held(classes), templates, definitions: held(definitions) }
    }

    /// Waits until each watch has listed what is there, and tells of each of [`Self::KINDS`] when it has. False: a watch
    /// has ended, it never will.
    pub async fn synced(&self, tell: impl Fn(&'static str)) -> bool {
        let [classes, templates, definitions] = Self::KINDS;
        let (classes, templates, definitions) = futures::join!(
            self.classes.wait_until_ready().inspect_ok(|()| tell(classes)),
            try_join_all(self.templates.iter().map(|(_, store)| store.wait_until_ready()))
                .inspect_ok(|_| tell(templates)),
            self.definitions.wait_until_ready().inspect_ok(|()| tell(definitions))
        );
        classes.is_ok() && templates.is_ok() && definitions.is_ok()
    }

    /// A class.
    pub fn class(&self, name: &str) -> Option<Arc<StreamClass>> {
        self.classes.get(&ObjectRef::new(name))
    }

    /// All classes.
    pub fn classes(&self) -> Vec<Arc<StreamClass>> {
        self.classes.state()
    }

    /// The classes that register a kind.
    pub fn classes_of(&self, kind: &GroupKind) -> Vec<Arc<StreamClass>> {
        self.classes.state_filter(|class| registers(class, kind))
    }

    /// A template.
    pub fn template(&self, name: &ObjectName) -> Option<Arc<TemplateMetadata>> {
        let (_, templates) = self.templates.iter().find(|(scope, _)| scope.holds(&name.namespace))?;
        templates.get(&ObjectRef::new(&name.name).within(&name.namespace))
    }

    /// A definition, by its name `<plural>.<group>`.
    pub fn definition(&self, name: &str) -> Option<Arc<CustomResourceDefinition>> {
        self.definitions.get(&ObjectRef::new(name))
    }
}

/// Whether a class registers a kind.
pub fn registers(class: &StreamClass, kind: &GroupKind) -> bool {
    class.spec.group() == kind.group && class.spec.kind_ref == kind.kind
}

fn held<K>(objects: impl IntoIterator<Item = K>) -> Store<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
    store
}

/// Keeps a store filled with what a watch shows, and tells of each change.
pub(crate) async fn fill<K>(
    writer: Writer<K>,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    slim: fn(&mut K),
    changed: Arc<Notify>,
) where
    K: Resource + Lookup<DynamicType = <K as Resource>::DynamicType> + Clone + Send + Sync + 'static,
    <K as Resource>::DynamicType: Default + Eq + Hash + Clone + Send + Sync,
{
    events
        .default_backoff()
        .modify(slim)
        .reflect(writer)
        .for_each(|event| {
            match event {
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    let kind = <K as Lookup>::kind(&Default::default()).into_owned();
                    tracing::warn!(kind, error = with_causes(&error), "a watch failed and starts anew");
                }
            }
            futures::future::ready(())
        })
        .await;
}

/// Without what nobody here reads.
pub(crate) fn slim<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
}

/// Of the cluster's definitions only the schemas of kinds that may be streams are kept.
fn only_the_schemas_of_streams(definition: &mut CustomResourceDefinition) {
    slim(definition);
    definition.annotations_mut().clear();
    definition.status = None;
    for version in &mut definition.spec.versions {
        let spec = version.schema.as_ref().and_then(|schema| {
            schema.open_api_v3_schema.as_ref()?.properties.as_ref()?.get("spec")?.properties.as_ref()
        });
        let may_be_a_stream = spec.is_some_and(|spec| {
            ["jobTemplateRef", "backfillJobTemplateRef", "execution"].iter().any(|field| spec.contains_key(*field))
        });
        if !may_be_a_stream {
            version.schema = None;
        }
        version.additional_printer_columns = None;
    }
}
