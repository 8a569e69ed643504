//! The webhook judges the set.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arcane_common::{
    api::{MissingReferences, StreamClass, well_known},
    identity::{GroupKind, ObjectName},
};
use arcane_webhook::{
    Webhook,
    admission::{Operation, Request, User, Verdict},
    metrics::Metrics,
    reference_caches::ReferenceCaches,
    reference_gatherer::{CannotAsk, ReferenceGatherer},
};
use futures::StreamExt as _;
use k8s_openapi::{
    api::authentication::v1::SelfSubjectReview,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use super::{
    Finding, Level, Object, Place, defaults,
    manifests::Manifest,
    world::{Resource, World, namespaces},
};
use crate::{
    args::Missing,
    cluster::Cluster,
    ending::{Ending, cannot_ask},
};

/// How many objects are judged at the same time.
const AT_ONCE: usize = 8;

/// What came of it.
pub struct Outcome {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was judged.
    pub judged: Vec<(Place, Object)>,
    /// How many objects are none of Arcane's.
    pub passed_over: usize,
    /// What should be known besides.
    pub notes: Vec<String>,
}

/// An object of the set.
struct Member {
    place: Place,
    kind: GroupKind,
    version: String,
    name: ObjectName,
    object: Value,
}

/// Judges a set of manifests.
pub async fn judge(
    cluster: Option<&Cluster>,
    manifests: Vec<Manifest>,
    namespace: &str,
    missing: Missing,
) -> Result<Outcome, Ending> {
    let mut members: Vec<Member> = manifests.into_iter().map(|manifest| member(manifest, namespace)).collect();
    let classes = classes(cluster, &members).await?;
    let definitions = definitions(cluster, &members, &classes).await;
    for member in &mut members {
        let is_its = |it: &&CustomResourceDefinition| {
            member.kind.group == it.spec.group && member.kind.kind == it.spec.names.kind
        };
        if let Some(definition) = definitions.iter().find(is_its) {
            defaults::fill_in(&mut member.object, definition, &member.version);
        }
    }
    let plurals = plurals(&classes, &definitions);
    let mut world = World::before(cluster.map(|cluster| cluster.client.clone()));
    let mut findings = Vec::new();
    let mut places: BTreeMap<(GroupKind, ObjectName), Place> = BTreeMap::new();
    let known: BTreeSet<GroupKind> = classes.iter().map(kind_of).collect();
    let is_ours = |member: &Member| member.kind.group == well_known::GROUP || known.contains(&member.kind);
    for member in &members {
        let key = (member.kind.clone(), member.name.clone());
        if let Some(first) = places.get(&key).filter(|_| is_ours(member)) {
            findings.push(twice(member, first));
        }
        places.entry(key).or_insert_with(|| member.place.clone());
        world.add(resource(&plurals, &member.kind), member.name.clone(), member.object.clone());
    }
    let world = Arc::new(world);
    let references = ReferenceGatherer::new(world.client(), ReferenceCaches::holding(classes.clone(), [], definitions));
    let missing_references = match missing {
        Missing::Auto => MissingReferences::Auto,
        Missing::Deny => MissingReferences::Deny,
        Missing::Warn => MissingReferences::Warn,
    };
    let webhook = Webhook { references, missing_references, metrics: Metrics::new() };
    let user = user(cluster).await;
    let (mine, others): (Vec<&Member>, Vec<&Member>) = members.iter().partition(|member| is_ours(member));
    let verdicts: Vec<Vec<Finding>> = futures::stream::iter(&mine)
        .map(|member| judge_one(&webhook, cluster, member, &plurals, &user))
        .buffered(AT_ONCE)
        .collect()
        .await;
    findings.extend(verdicts.into_iter().flatten());
    Ok(Outcome {
        findings,
        judged: mine.iter().map(|member| (member.place.clone(), member.shown())).collect(),
        passed_over: others.len(),
        notes: world.notes(),
    })
}

impl Member {
    fn shown(&self) -> Object {
        let ObjectName { namespace, name } = self.name.clone();
        Object { kind: self.kind.kind.clone(), namespace, name }
    }

    fn finding(&self, level: Level, field: &str, rule: &'static str, message: String) -> Finding {
        let (place, object) = (self.place.clone(), Some(self.shown()));
        Finding { level, place, object, field: field.to_owned(), rule, message }
    }
}

fn member(manifest: Manifest, namespace: &str) -> Member {
    let Manifest { place, mut object } = manifest;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = text("/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = GroupKind::new(group, text("/kind"));
    let name = match text("/metadata/name") {
        name if name.is_empty() => text("/metadata/generateName"),
        name => name,
    };
    let namespace = match text("/metadata/namespace") {
        _ if is_in_no_namespace(&kind) => String::new(),
        own if own.is_empty() => namespace.to_owned(),
        own => own,
    };
    let version = version.to_owned();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && !namespace.is_empty()
    {
        metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
    }
    Member { place, kind, version, name: ObjectName::new(namespace, name), object }
}

fn is_in_no_namespace(kind: &GroupKind) -> bool {
    let known =
        [(well_known::GROUP, "StreamClass"), ("apiextensions.k8s.io", "CustomResourceDefinition"), ("", "Namespace")];
    known.contains(&(kind.group.as_str(), kind.kind.as_str()))
}

fn of_kind<'a, T: serde::de::DeserializeOwned>(
    members: &'a [Member],
    group: &'a str,
    kind: &'a str,
) -> impl Iterator<Item = T> + 'a {
    let meant = members.iter().filter(move |member| member.kind == GroupKind::new(group, kind));
    meant.filter_map(|member| serde_json::from_value(member.object.clone()).ok())
}

/// The classes as they would be: those of the set, and others that the cluster has.
async fn classes(cluster: Option<&Cluster>, members: &[Member]) -> Result<Vec<StreamClass>, Ending> {
    let mut classes: Vec<StreamClass> = of_kind(members, well_known::GROUP, "StreamClass").collect();
    let Some(cluster) = cluster else { return Ok(classes) };
    let api: Api<StreamClass> = Api::all(cluster.client.clone());
    match api.list(&ListParams::default()).await {
        Ok(there) => {
            let names: BTreeSet<String> = classes.iter().map(|class| class.name_any()).collect();
            classes.extend(there.items.into_iter().filter(|class| !names.contains(&class.name_any())));
            Ok(classes)
        }
        // They come with the set, or with what is installed later.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(classes),
        Err(error) => Err(cannot_ask("StreamClasses; --offline asks for nothing", &error)),
    }
}

/// The definitions of the streams of the set, and of those that its classes are about. Without the right to read them nothing
/// is filled in, and whether a class fits isn't judged.
async fn definitions(
    cluster: Option<&Cluster>,
    members: &[Member],
    classes: &[StreamClass],
) -> Vec<CustomResourceDefinition> {
    let mut definitions: Vec<CustomResourceDefinition> =
        of_kind(members, "apiextensions.k8s.io", "CustomResourceDefinition").collect();
    let Some(cluster) = cluster else { return definitions };
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let of_set: BTreeSet<String> =
        of_kind::<StreamClass>(members, well_known::GROUP, "StreamClass").map(|class| class.name_any()).collect();
    let names: BTreeSet<String> = classes
        .iter()
        .filter(|class| of_set.contains(&class.name_any()) || members.iter().any(|it| it.kind == kind_of(class)))
        .map(|class| format!("{}.{}", class.spec.plural_name, class.spec.group()))
        .filter(|name| !definitions.iter().any(|definition| definition.name_any() == *name))
        .collect();
    let found = futures::future::join_all(names.iter().map(|name| api.get_opt(name))).await;
    definitions.extend(found.into_iter().filter_map(|found| found.ok().flatten()));
    definitions
}

fn kind_of(class: &StreamClass) -> GroupKind {
    GroupKind::new(class.spec.group(), &class.spec.kind_ref)
}

/// The plural name of each kind that may be looked up.
fn plurals(classes: &[StreamClass], definitions: &[CustomResourceDefinition]) -> BTreeMap<GroupKind, String> {
    let of_definitions = definitions.iter().map(|definition| {
        (GroupKind::new(&definition.spec.group, &definition.spec.names.kind), definition.spec.names.plural.clone())
    });
    let of_classes = classes.iter().map(|class| (kind_of(class), class.spec.plural_name.clone()));
    of_definitions.chain(of_classes).collect()
}

/// Where a kind is served; by the usual rule where nobody says it.
fn resource(plurals: &BTreeMap<GroupKind, String>, kind: &GroupKind) -> Resource {
    if kind.group.is_empty() && kind.kind == "Namespace" {
        return namespaces();
    }
    let plural = plurals.get(kind).cloned().unwrap_or_else(|| match kind.kind.to_lowercase() {
        word if word.ends_with('s') => format!("{word}es"),
        word => format!("{word}s"),
    });
    Resource { group: kind.group.clone(), plural }
}

/// Who asks, for words about their rights.
async fn user(cluster: Option<&Cluster>) -> User {
    let Some(cluster) = cluster else { return User::default() };
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok();
    let username = review.and_then(|review| review.status?.user_info?.username);
    User { username: username.unwrap_or_default(), ..User::default() }
}

async fn judge_one(
    webhook: &Webhook,
    cluster: Option<&Cluster>,
    member: &Member,
    plurals: &BTreeMap<GroupKind, String>,
    user: &User,
) -> Vec<Finding> {
    let resource = resource(plurals, &member.kind);
    let old = match stored(cluster, member, &resource).await {
        Ok(old) => old,
        Err(unknown) => return vec![unknown],
    };
    let request = |operation, old_object| Request {
        uid: String::new(),
        kind: member.kind.clone(),
        version: member.version.clone(),
        resource: resource.plural.clone(),
        subresource: String::new(),
        namespace: member.name.namespace.clone(),
        name: member.name.name.clone(),
        operation,
        user: user.clone(),
        object: member.object.clone(),
        old_object,
        field_manager: None,
    };
    // An old problem never blocks a change, but a file that has one is wrong: so what is there already is judged as a
    // change, and again as if it were new. Of classes and requests that would tell of what has long happened.
    let judged_anew = !matches!(member.kind.kind.as_str(), "StreamClass" | "BackfillRequest")
        || member.kind.group != well_known::GROUP;
    let mut requests = Vec::new();
    if old.is_none() || judged_anew {
        requests.push(request(Operation::Create, Value::Null));
    }
    requests.extend(old.map(|old| request(Operation::Update, old)));
    let mut findings: Vec<Finding> = Vec::new();
    for request in requests {
        for finding in findings_of(member, arcane_webhook::judge(webhook, &request).await) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// The object of this name that the cluster has now.
async fn stored(cluster: Option<&Cluster>, member: &Member, resource: &Resource) -> Result<Option<Value>, Finding> {
    let Some(cluster) = cluster else { return Ok(None) };
    if member.object.pointer("/metadata/name").is_none() {
        return Ok(None);
    }
    let (group, version) = (resource.group.clone(), member.version.clone());
    let served = ApiResource {
        api_version: format!("{group}/{version}"),
        group,
        version,
        kind: member.kind.kind.clone(),
        plural: resource.plural.clone(),
    };
    let ObjectName { namespace, name } = &member.name;
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(cluster.client.clone(), &served)
    } else {
        Api::namespaced_with(cluster.client.clone(), namespace, &served)
    };
    match api.get_opt(name).await {
        Ok(found) => Ok(found.and_then(|found| serde_json::to_value(found).ok())),
        // Its kind comes with the set.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(unknown(member, &format!("can't ask for the object itself: {}", crate::ending::why(&error)))),
    }
}

fn findings_of(member: &Member, judged: Result<Verdict, CannotAsk>) -> Vec<Finding> {
    let verdict = match judged {
        Ok(verdict) => verdict,
        Err(error) => return vec![unknown(member, &error.to_string())],
    };
    let errors = verdict.violations.iter().map(|violation| {
        member.finding(Level::Error, &violation.path.to_string(), violation.reason.cause(), violation.to_string())
    });
    let warnings =
        verdict.warnings.iter().map(|warning| member.finding(Level::Warning, "", "Warning", warning.clone()));
    errors.chain(warnings).collect()
}

fn unknown(member: &Member, message: &str) -> Finding {
    member.finding(Level::Unknown, "", "CannotAsk", message.to_owned())
}

fn twice(member: &Member, first: &Place) -> Finding {
    let message =
        format!("metadata.name: Duplicate value: it is in {first}, too, and the last one that is applied stays");
    member.finding(Level::Error, "metadata.name", "Duplicate", message)
}

#[cfg(test)]
mod tests {
    use super::super::{manifests::parse, report};
    use super::*;
    use crate::args::Report;

    const CLASS: &str = r"
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamClass
metadata: {name: sql}
spec: {apiVersion: v1, kindRef: SqlStream, pluralName: sqlstreams, secretRefs: [password], apiGroupRef: acme.io}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: standard, namespace: data}
spec: {template: {spec: {containers: [{name: c, image: i}]}}}
---
";
    const GOOD: &str = r"
apiVersion: acme.io/v1
kind: SqlStream
metadata: {name: orders}
spec: {jobTemplateRef: {name: standard}, password: {name: creds}}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: BackfillRequest
metadata: {name: again}
spec: {streamClass: sql, streamId: orders}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: not-ours}
";
    const BAD: &str = r"
apiVersion: acme.io/v1
kind: SqlStream
metadata: {name: orders}
spec: {jobTemplateRef: {name: standrad}, suspended: maybe}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: BackfillRequest
metadata: {name: again}
spec: {streamClass: sql, streamId: order}
---
apiVersion: streaming.sneaksanddata.com/v1
kind: BackfillRequest
metadata: {name: again}
spec: {streamClass: sql, streamId: orders}
---
kind: [
";

    async fn judged(text: &str, missing: Missing) -> (Vec<Finding>, Outcome) {
        let (manifests, mut findings) = parse("set.yaml", text);
        let mut outcome = judge(None, manifests, "data", missing).await.unwrap();
        findings.append(&mut outcome.findings);
        findings.sort_by(|a, b| a.order().cmp(&b.order()));
        (findings, outcome)
    }

    #[tokio::test]
    async fn a_set_whose_parts_refer_to_one_another_is_good_in_any_order() {
        for set in [format!("{CLASS}{GOOD}"), format!("{GOOD}---{CLASS}")] {
            let (findings, outcome) = judged(&set, Missing::Auto).await;
            assert_eq!(findings, []);
            assert_eq!((outcome.judged.len(), outcome.passed_over), (4, 1));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_place_and_fix() {
        let (findings, outcome) = judged(&format!("{CLASS}{BAD}"), Missing::Auto).await;
        let print = |format| report::print(format, &findings, &outcome.judged, outcome.passed_over);
        insta::assert_snapshot!("bad_text", print(Report::Text));
        insta::assert_snapshot!("bad_json", print(Report::Json));
        let ours = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
        insta::assert_snapshot!("bad_sarif", print(Report::Sarif).replace(&ours, "\"version\": \"ours\""));
        insta::assert_snapshot!("bad_junit", print(Report::Junit));
    }

    #[tokio::test]
    async fn what_is_still_to_come_may_be_a_warning() {
        let (findings, _) = judged(&format!("{CLASS}{}", GOOD.replace("standard", "to-come")), Missing::Warn).await;
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Warning], "{findings:?}");
    }

    #[tokio::test]
    async fn a_namespace_of_the_set_has_its_word() {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: data\n  labels: {arcane/missing-references: Warn}\n---\n";
        let (findings, _) =
            judged(&format!("{namespace}{CLASS}{}", GOOD.replace("standard", "to-come")), Missing::Auto).await;
        assert_eq!(findings.iter().map(|finding| finding.level).collect::<Vec<_>>(), [Level::Warning], "{findings:?}");
    }
}
