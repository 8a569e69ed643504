//! Looks up what objects refer to. The caches answer "yes"; a "no" is confirmed by one live request.
//!
//! "Can't ask" is an error of its own: it is never taken for "isn't there".

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use arcane_common::{
    api::{BackfillRequest, MissingReferences, StreamClass, StreamingJobTemplate, well_known},
    identity::{GroupKind, ObjectName, can_be_a_name},
    references::is_allowed_namespace,
    stream::{CompiledSchemas, stream_schema::StreamSchema},
};
use arcane_process::{
    cluster::briefly,
    namespaces::{Namespaces, Scope},
};
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        core::v1::Namespace,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    core::{ApiResource, DynamicObject},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{
    admission::{User, admit_stream::ObservedTemplate},
    reference_caches::{ReferenceCaches, registers},
};

/// How many objects of a list are read at a time.
const PAGE: u32 = 500;

/// How much of a list is read.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// What comes in one answer.
    FirstPage,
    /// All that comes until then.
    Until(Instant),
}

/// What was found in a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// What was found.
    pub found: Vec<T>,
    /// Whether there may be more: not all of the list was read.
    pub is_cut_short: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { found: Vec::new(), is_cut_short: false }
    }
}

/// The API server didn't tell.
#[derive(Debug, thiserror::Error)]
#[error("can't ask the API server for {what}: {}", briefly(.source))]
pub struct CannotAsk {
    /// What was asked for.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: kube::Error,
}

impl CannotAsk {
    /// Whether we lack the right to ask.
    pub fn is_forbidden(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if status.code == 403)
    }
}

fn asking(what: impl Into<String>) -> impl FnOnce(kube::Error) -> CannotAsk {
    let what = what.into();
    |source| CannotAsk { what, source }
}

/// Looks up references.
///
/// What a user writes becomes part of a URL here, and must not lead elsewhere: what can be no object's name is not asked for.
pub struct ReferenceGatherer {
    client: Client,
    caches: ReferenceCaches,
    namespaces: Namespaces,
    schemas: Mutex<CompiledSchemas>,
}

impl Debug for ReferenceGatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceGatherer").field("caches", &self.caches).finish_non_exhaustive()
    }
}

impl ReferenceGatherer {
    /// Looks up in `caches`, then asks through `client`.
    pub fn new(client: Client, caches: ReferenceCaches) -> Self {
        Self { client, caches, namespaces: Namespaces::default(), schemas: Mutex::default() }
    }

    /// Looks into these namespaces only.
    #[must_use]
    pub fn limited_to(self, namespaces: Namespaces) -> Self {
        Self { namespaces, ..self }
    }

    /// Whether it looks into a namespace.
    pub fn sees(&self, namespace: &str) -> bool {
        self.namespaces.contain(namespace)
    }

    /// A class.
    pub async fn class(&self, name: &str) -> Result<Option<Arc<StreamClass>>, CannotAsk> {
        if let Some(class) = self.caches.class(name) {
            return Ok(Some(class));
        }
        self.class_now(name).await
    }

    /// A class, as the API server has it at this moment.
    pub async fn class_now(&self, name: &str) -> Result<Option<Arc<StreamClass>>, CannotAsk> {
        if !can_be_a_name(name) {
            return Ok(None);
        }
        let api: Api<StreamClass> = Api::all(self.client.clone());
        let class = api.get_opt(name).await.map_err(asking(format!("StreamClass {name}")))?;
        Ok(class.map(Arc::new))
    }

    /// The classes that register a kind, as far as the cache knows.
    pub fn known_classes_of(&self, kind: &GroupKind) -> Vec<Arc<StreamClass>> {
        self.caches.classes_of(kind)
    }

    /// The classes that register a kind, as the API server has them at this moment.
    pub async fn classes_of_now(&self, kind: &GroupKind) -> Result<Vec<Arc<StreamClass>>, CannotAsk> {
        let api: Api<StreamClass> = Api::all(self.client.clone());
        let classes = api.list(&ListParams::default()).await.map_err(asking("StreamClasses"))?;
        Ok(classes.items.into_iter().filter(|class| registers(class, kind)).map(Arc::new).collect())
    }

    /// The classes that register a kind, where the API server has others than these.
    pub async fn changed_classes_of(
        &self,
        kind: &GroupKind,
        known: &[Arc<StreamClass>],
    ) -> Result<Option<Vec<Arc<StreamClass>>>, CannotAsk> {
        let versions = |classes: &[Arc<StreamClass>]| {
            let version = |class: &Arc<StreamClass>| (class.name_any(), class.resource_version());
            classes.iter().map(version).collect::<BTreeMap<_, _>>()
        };
        let classes = self.classes_of_now(kind).await?;
        Ok((versions(&classes) != versions(known)).then_some(classes))
    }

    /// All classes that are known.
    pub fn known_classes(&self) -> Vec<Arc<StreamClass>> {
        self.caches.classes()
    }

    /// The schema of a class's streams; `None` where it has none, or one that can't be used (which was refused when
    /// the webhook saw it, so it came while the webhook was away).
    pub fn schema_of(&self, class: &StreamClass) -> Option<Arc<StreamSchema>> {
        let schema = class.spec.stream_schema.as_ref()?;
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.of(&class.name_any(), schema).ok()
    }

    /// A template, for a stream in `stream_namespace`.
    pub async fn template(
        &self,
        name: &ObjectName,
        stream_namespace: &str,
    ) -> Result<Option<ObservedTemplate>, CannotAsk> {
        let observed = |annotations: &BTreeMap<String, String>| ObservedTemplate {
            allowed_namespaces: annotations.get(well_known::ANNOTATION_ALLOWED_NAMESPACES).cloned(),
        };
        if let Some(template) = self.caches.template(name) {
            let observed = observed(template.annotations());
            let allows = observed
                .allowed_namespaces
                .as_deref()
                .is_none_or(|allowed| is_allowed_namespace(allowed, name, stream_namespace));
            if allows {
                return Ok(Some(observed));
            }
        }
        if !can_be_a_name(&name.name) || !can_be_a_name(&name.namespace) || !self.sees(&name.namespace) {
            return Ok(None);
        }
        let api: Api<StreamingJobTemplate> = Api::namespaced(self.client.clone(), &name.namespace);
        let template =
            api.get_metadata_opt(&name.name).await.map_err(asking(format!("StreamingJobTemplate {name}")))?;
        Ok(template.map(|template| observed(template.annotations())))
    }

    /// Whether a user may read a template.
    pub async fn may_read_template(&self, user: &User, name: &ObjectName) -> Result<bool, CannotAsk> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: some(&user.username),
                uid: some(&user.uid),
                groups: (!user.groups.is_empty()).then(|| user.groups.clone()),
                extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(well_known::GROUP.to_owned()),
                    version: Some(well_known::VERSION.to_owned()),
                    resource: Some("streamingjobtemplates".to_owned()),
                    verb: Some("get".to_owned()),
                    namespace: Some(name.namespace.clone()),
                    name: Some(name.name.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let what = format!("whether {:?} may get StreamingJobTemplate {name}", user.username);
        let review = api.create(&PostParams::default(), &review).await.map_err(asking(what))?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }

    /// What a namespace's label says about missing references.
    pub async fn word_of_namespace(&self, namespace: &str) -> Result<Option<MissingReferences>, CannotAsk> {
        if !can_be_a_name(namespace) {
            return Ok(None);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = api.get_metadata_opt(namespace).await.map_err(asking(format!("Namespace {namespace}")))?;
        let word = found.and_then(|found| found.labels().get(well_known::LABEL_MISSING_REFERENCES).cloned());
        Ok(word.map(|word| MissingReferences::from(word.as_str())))
    }

    /// The schema of a kind's objects in one version, as its CustomResourceDefinition has it. An optional look: an
    /// error counts as "not known".
    pub async fn schema_of_kind(&self, definition: &str, version: &str) -> Option<Value> {
        let found = match self.caches.definition(definition) {
            Some(found) => found,
            None if !can_be_a_name(definition) => return None,
            None => {
                let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
                Arc::new(api.get_opt(definition).await.ok().flatten()?)
            }
        };
        let version = found.spec.versions.iter().find(|served| served.name == version)?;
        serde_json::to_value(version.schema.as_ref()?.open_api_v3_schema.as_ref()?).ok()
    }

    /// The kind that a definition defines; `None` where there is no definition of this name.
    pub async fn kind_of_definition(&self, definition: &str, expected: &str) -> Result<Option<String>, CannotAsk> {
        match self.caches.definition(definition) {
            Some(found) if found.spec.names.kind == expected => return Ok(Some(expected.to_owned())),
            // Whatever the webhook reads late, it reads before it says no.
            Some(_) => {}
            None => return Ok(None),
        }
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let what = format!("CustomResourceDefinition {definition}");
        Ok(api.get_opt(definition).await.map_err(asking(what))?.map(|found| found.spec.names.kind))
    }

    /// A stream of a class.
    pub async fn stream(&self, class: &StreamClass, name: &ObjectName) -> Result<Option<DynamicObject>, CannotAsk> {
        if !is_served(class) || !can_be_a_name(&name.name) || !can_be_a_name(&name.namespace) {
            return Ok(None);
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource_of(class));
        match api.get_opt(&name.name).await {
            Err(error) if self.is_of_no_kind(&error, class).await => Ok(None),
            found => found.map_err(asking(format!("{} {name}", class.spec.kind_ref))),
        }
    }

    /// What `pick` makes of the streams of the kind that a class registers, wherever we look.
    pub async fn streams<T>(
        &self,
        class: &StreamClass,
        extent: Extent,
        pick: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Listed<T>, CannotAsk> {
        let mut listed = Listed::default();
        if !is_served(class) {
            return Ok(listed);
        }
        for scope in self.namespaces.scopes() {
            let api = scope.dynamic_api(&self.client, &resource_of(class));
            match read_pages(&api, extent, &pick, &mut listed).await {
                Ok(()) => {}
                Err(error) if self.is_of_no_kind(&error, class).await => return Ok(Listed::default()),
                Err(source) => {
                    let where_ = match scope {
                        Scope::All => "all namespaces".to_owned(),
                        Scope::Namespace(name) => format!("namespace {name}"),
                    };
                    return Err(asking(format!("{} of {where_}", class.spec.plural_name))(source));
                }
            }
            if listed.is_cut_short {
                break;
            }
        }
        Ok(listed)
    }

    /// Whether there are no streams of a class because its kind isn't installed. Who may not read a kind is told so
    /// before whether it is there.
    async fn is_of_no_kind(&self, error: &kube::Error, class: &StreamClass) -> bool {
        match error {
            kube::Error::Api(status) if status.code == 404 => true,
            kube::Error::Api(status) if status.code == 403 => {
                let definition = format!("{}.{}", class.spec.plural_name, class.spec.group());
                let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
                self.caches.definition(&definition).is_none()
                    && api.get_metadata_opt(&definition).await.is_ok_and(|found| found.is_none())
            }
            _ => false,
        }
    }

    /// What `pick` makes of the BackfillRequests of a namespace.
    pub async fn backfill_requests<T>(
        &self,
        namespace: &str,
        extent: Extent,
        pick: impl Fn(BackfillRequest) -> Option<T>,
    ) -> Result<Listed<T>, CannotAsk> {
        let api: Api<BackfillRequest> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("BackfillRequests in namespace {namespace}");
        let mut listed = Listed::default();
        read_pages(&api, extent, pick, &mut listed).await.map_err(asking(what))?;
        Ok(listed)
    }
}

/// Reads a list page by page; what `pick` makes of its objects is added to `listed`.
async fn read_pages<K, T>(
    api: &Api<K>,
    extent: Extent,
    pick: impl Fn(K) -> Option<T>,
    listed: &mut Listed<T>,
) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let answer = match extent {
            Extent::FirstPage => Some(api.list(&params).await),
            Extent::Until(end) => timeout_at(end, api.list(&params)).await.ok(),
        };
        let page = match answer {
            Some(Ok(page)) => page,
            Some(Err(error)) if params.continue_token.is_none() => return Err(error),
            // What came before counts.
            Some(Err(_)) | None => {
                listed.is_cut_short = true;
                return Ok(());
            }
        };
        listed.found.extend(page.items.into_iter().filter_map(&pick));
        let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { return Ok(()) };
        if matches!(extent, Extent::FirstPage) {
            listed.is_cut_short = true;
            return Ok(());
        }
        params = params.continue_token(&token);
    }
}

/// Whether a class registers something that an API server can serve.
fn is_served(class: &StreamClass) -> bool {
    [class.spec.group(), &class.spec.api_version, &class.spec.plural_name].into_iter().all(can_be_a_name)
}

fn resource_of(class: &StreamClass) -> ApiResource {
    let (group, version) = (class.spec.group().to_owned(), class.spec.api_version.clone());
    ApiResource {
        api_version: format!("{group}/{version}"),
        group,
        version,
        kind: class.spec.kind_ref.clone(),
        plural: class.spec.plural_name.clone(),
    }
}
