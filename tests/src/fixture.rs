//! Everything that a test of the controller needs, ready: a cluster with our CRDs and the sample plugin, the controller under
//! its own ServiceAccount with the chart's rights and no others, and a simulated kubelet.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};

use crate::control_plane::ControlPlaneOptions;
use crate::kubeconfig::{KubectlOutput, UserAccess};
use crate::kubelet::{KubeletOptions, SimulatedKubelet};
use crate::operator::{OperatorOptions, OperatorProcess, controller_binary};
use crate::test_cluster::TestCluster;
use crate::wait::eventually;

/// The namespace of the controller.
pub const OPERATOR_NAMESPACE: &str = "arcane";
/// The ServiceAccount of the controller.
pub const OPERATOR_ACCOUNT: &str = "arcane-operator";
/// Long enough for a slow machine; a test that holds never waits for it.
pub const SOON: Duration = Duration::from_secs(120);

/// The ClusterRole that plugins of other groups add their kinds to.
const AGGREGATING_ROLE: &str = "arcane-operator-plugins";

/// What a fixture has.
#[derive(Clone, Debug)]
pub struct FixtureOptions {
    /// Our CRDs.
    pub crds: bool,
    /// `examples/sample-plugin`: its CRD and its StreamClass. Its templates come with [`Fixture::namespace`].
    pub sample_plugin: bool,
    /// A running controller. It isn't started without; see [`Fixture::operator_options`].
    pub operator: bool,
    /// What the controller is told besides where its Lease is.
    pub operator_arguments: Vec<String>,
    /// How long it may take to become ready. Absent: it isn't waited for.
    pub ready_within: Option<Duration>,
    /// What pods do if nobody says otherwise.
    pub kubelet: KubeletOptions,
    /// The control plane, if it is one of our own.
    pub control_plane: ControlPlaneOptions,
}

impl Default for FixtureOptions {
    fn default() -> Self {
        Self {
            crds: true,
            sample_plugin: true,
            operator: true,
            operator_arguments: Vec::new(),
            ready_within: Some(SOON),
            kubelet: KubeletOptions::default(),
            control_plane: ControlPlaneOptions::default(),
        }
    }
}

/// A cluster with a controller at work.
///
/// Its methods panic, with what went wrong, where the cluster refuses: a test can do nothing else about it.
pub struct Fixture {
    cluster: TestCluster,
    access: UserAccess,
    kubelet: SimulatedKubelet,
    operator: Option<OperatorProcess>,
    operator_arguments: Vec<String>,
    namespaces: AtomicUsize,
}

impl Fixture {
    /// Starts everything, on the cluster that [`TestCluster::obtain`] gives.
    pub async fn start(options: FixtureOptions) -> Self {
        let cluster = TestCluster::obtain_with(options.control_plane.clone()).await.unwrap_or_else(|e| panic!("{e}"));
        Self::start_on(cluster, options).await
    }

    /// Starts everything on this cluster.
    pub async fn start_on(cluster: TestCluster, options: FixtureOptions) -> Self {
        let access = operator_access(&cluster).await;
        let kubelet = SimulatedKubelet::start_with(cluster.admin(), options.kubelet).await;
        let kubelet = kubelet.unwrap_or_else(|error| panic!("cannot start the simulated kubelet: {error}"));
        let mut fixture = Self {
            cluster,
            access,
            kubelet,
            operator: None,
            operator_arguments: options.operator_arguments,
            namespaces: AtomicUsize::new(0),
        };
        if options.crds {
            fixture.apply(None, &repository_file("charts/arcane-operator/files/crds.yaml")).await;
        }
        if options.sample_plugin {
            fixture.apply(None, &repository_file("examples/sample-plugin/crd.yaml")).await;
            fixture.apply(None, &repository_file("examples/sample-plugin/stream-class.yaml")).await;
        }
        if options.operator {
            let mut alone = fixture.operator_options("operator.log");
            alone.ready_within = options.ready_within;
            let started = OperatorProcess::start(alone);
            fixture.operator = Some(started.await.unwrap_or_else(|error| panic!("{error}")));
        }
        fixture
    }

    /// How the only controller is started here, to start one by hand; its log is a file of this name.
    ///
    /// It doesn't stand for election: a leader ends, as it should, when the machine stands still for ten seconds, and nobody
    /// starts it again here. See [`Fixture::candidate_options`] for one that does.
    pub fn operator_options(&self, log: &str) -> OperatorOptions {
        self.options_with("--leader-election=false".to_owned(), log)
    }

    /// How a controller is started here that stands for election.
    pub fn candidate_options(&self, log: &str) -> OperatorOptions {
        self.options_with(format!("--lease-namespace={OPERATOR_NAMESPACE}"), log)
    }

    fn options_with(&self, election: String, log: &str) -> OperatorOptions {
        let binary = controller_binary().unwrap_or_else(|error| panic!("{error}"));
        let mut options = OperatorOptions::new(&binary, self.access.kubeconfig(), &self.cluster.directory().join(log));
        options.arguments = vec![election];
        options.arguments.extend(self.operator_arguments.iter().cloned());
        options
    }

    /// The cluster.
    pub fn cluster(&self) -> &TestCluster {
        &self.cluster
    }

    /// A client of the admin. It belongs to the tokio runtime that started the fixture.
    pub fn client(&self) -> Client {
        self.cluster.admin()
    }

    /// The simulated kubelet.
    pub fn kubelet(&self) -> &SimulatedKubelet {
        &self.kubelet
    }

    /// Who the controller is.
    pub fn operator_access(&self) -> &UserAccess {
        &self.access
    }

    /// The controller.
    pub fn operator(&self) -> &OperatorProcess {
        self.operator.as_ref().unwrap_or_else(|| panic!("this fixture was started without a controller"))
    }

    /// Runs kubectl as the admin, which must succeed, and gives its stdout.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.cluster.kubectl(arguments).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(said.status.success(), "kubectl {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said.stdout
    }

    /// Runs a line as a person at a terminal would, with the admin's kubectl in the PATH, in a directory of the repository.
    pub async fn shell(&self, directory: &str, line: &str) -> KubectlOutput {
        let tools = self.cluster.kubectl_binary().parent().unwrap_or(Path::new("/")).to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = tokio::process::Command::new("bash")
            .args(["-o", "pipefail", "-c", line])
            .current_dir(repository().join(directory))
            .env("PATH", format!("{}:{path}", tools.display()))
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.cluster.directory())
            .env_remove("KUBECACHEDIR")
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|error| panic!("cannot run bash: {error}"));
        KubectlOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Applies every document of a YAML text, as one who owns all the fields it names; waits until CRDs among them are served.
    /// Namespaced objects without a namespace, and with `namespace` given all of them, go there.
    pub async fn apply(&self, namespace: Option<&str>, yaml: &str) -> Vec<DynamicObject> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("not YAML: {error}\n{yaml}"));
        let mut applied = Vec::new();
        for mut document in documents.into_iter().filter(Value::is_object) {
            let api = self.api_of(&document, namespace).await;
            if let Some(namespace) = api.1 {
                document["metadata"]["namespace"] = json!(namespace);
            }
            let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let patch = Patch::Apply(&document);
            let object = api.0.patch(&name, &PatchParams::apply("arcane-tests").force(), &patch).await;
            let object = object.unwrap_or_else(|error| panic!("cannot apply {document}: {error}"));
            if document["kind"] == "CustomResourceDefinition" {
                self.served(&document).await;
            }
            applied.push(object);
        }
        applied
    }

    /// Waits until the API server serves the kind of a CRD in all its versions.
    async fn served(&self, crd: &Value) {
        let (spec, client) = (&crd["spec"], self.client());
        for version in spec["versions"].as_array().into_iter().flatten() {
            let group_version = format!(
                "{}/{}",
                spec["group"].as_str().unwrap_or_default(),
                version["name"].as_str().unwrap_or_default()
            );
            eventually(SOON, &format!("served kind {}", spec["names"]["kind"]), || async {
                let served =
                    client.list_api_group_resources(&group_version).await.map_err(|error| error.to_string())?;
                let there = served.resources.iter().any(|resource| json!(resource.name) == spec["names"]["plural"]);
                if there { Ok(()) } else { Err(format!("not among the kinds of {group_version}")) }
            })
            .await
            .unwrap_or_else(|timeout| panic!("{timeout}"));
        }
    }

    async fn api_of(&self, document: &Value, namespace: Option<&str>) -> (Api<DynamicObject>, Option<String>) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&document["apiVersion"]), text(&document["kind"]));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = GroupVersionKind::gvk(group, version, &kind);
        let found = kube::discovery::pinned_kind(&self.client(), &kind).await;
        let (resource, capabilities) = found.unwrap_or_else(|error| panic!("no kind {kind:?} is served: {error}"));
        if capabilities.scope == kube::discovery::Scope::Cluster {
            return (Api::all_with(self.client(), &resource), None);
        }
        let own = document["metadata"]["namespace"].as_str();
        let namespace = namespace.or(own).unwrap_or("default").to_owned();
        (Api::namespaced_with(self.client(), &namespace, &resource), Some(namespace))
    }

    /// A fresh namespace, with the templates of the sample plugin in it.
    pub async fn namespace(&self, name: &str) -> TestNamespace<'_> {
        let namespace = self.empty_namespace(name).await;
        namespace.apply(&repository_file("examples/sample-plugin/templates.yaml")).await;
        namespace
    }

    /// A fresh namespace with nothing in it.
    pub async fn empty_namespace(&self, name: &str) -> TestNamespace<'_> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let short: String = name.chars().take(40).collect();
        let name = format!("{}-{}-{number}", short.trim_matches('-'), std::process::id());
        apply_typed::<Namespace>(Api::all(self.client()), &name, json!({})).await;
        TestNamespace { fixture: self, name }
    }

    /// Everybody ends.
    pub async fn stop(self) {
        if let Some(operator) = self.operator {
            let _ = operator.kill().await;
        }
        drop(self.kubelet);
        self.cluster.stop().await;
    }
}

/// The kind of the sample plugin's streams.
pub fn sample_streams() -> ApiResource {
    streams_of("streaming.sneaksanddata.com", "v1", "SqlServerChangeTrackingStream", "sqlserverchangetrackingstreams")
}

/// A kind of streams.
pub fn streams_of(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// A plugin's CRD of version v1 with this schema of the spec, and a status that may hold anything.
pub fn definition_of(group: &str, kind: &str, plural: &str, spec: Value) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec, "status": any_object()},
                }},
            }],
        },
    })
    .to_string()
}

/// The schema of an object that may hold anything.
pub fn any_object() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// One test's own place.
pub struct TestNamespace<'a> {
    fixture: &'a Fixture,
    name: String,
}

impl<'a> TestNamespace<'a> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is a part of.
    pub fn fixture(&self) -> &'a Fixture {
        self.fixture
    }

    /// Applies every document of a YAML text, all that is namespaced in this namespace.
    pub async fn apply(&self, yaml: &str) -> Vec<DynamicObject> {
        self.fixture.apply(Some(&self.name), yaml).await
    }

    /// Runs kubectl in this namespace, which must succeed, and gives its stdout.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["--namespace", &self.name];
        all.extend(arguments);
        self.fixture.kubectl(&all).await
    }

    /// The objects of a kind that has no Rust type here.
    pub fn objects(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.fixture.client(), &self.name, kind)
    }

    /// The sample plugin's streams.
    pub fn streams(&self) -> Api<DynamicObject> {
        self.objects(&sample_streams())
    }

    /// The BackfillRequests.
    pub fn requests(&self) -> Api<DynamicObject> {
        self.objects(&streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests"))
    }

    /// The StreamingJobTemplates.
    pub fn templates(&self) -> Api<DynamicObject> {
        self.objects(&streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates"))
    }

    /// The Jobs.
    pub fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.fixture.client(), &self.name)
    }

    /// The pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.fixture.client(), &self.name)
    }

    /// The Jobs labelled with this stream, oldest first.
    pub async fn jobs_of(&self, stream: &str) -> Vec<Job> {
        let of_stream = ListParams::default().labels(&format!("arcane/stream-id={stream}"));
        let listed = self.jobs().list(&of_stream).await.unwrap_or_else(|error| panic!("cannot list Jobs: {error}"));
        let mut jobs = listed.items;
        jobs.sort_by_key(|job| (job.creation_timestamp(), job.name_any()));
        jobs
    }

    /// Waits until a Job is as it should be.
    pub async fn job(&self, name: &str, what: &str, holds: impl Fn(&Job) -> bool) -> Job {
        let jobs = self.jobs();
        eventually(SOON, &format!("{what} Job {name}"), || async {
            let job = jobs.get_opt(name).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
            if holds(&job) { Ok(job) } else { Err(text_of(&job)) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }

    /// Waits until there is no Job of this name, or the one of this name is another one.
    pub async fn gone(&self, job: &Job) {
        let (jobs, name) = (self.jobs(), job.name_any());
        eventually(SOON, &format!("end of Job {name}"), || async {
            match jobs.get_opt(&name).await.map_err(|error| error.to_string())? {
                Some(there) if there.uid() == job.uid() => Err(text_of(&there)),
                _ => Ok(()),
            }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    /// Waits until a stream of the sample plugin is in this phase.
    pub async fn phase(&self, stream: &str, phase: &str) -> Value {
        self.phase_of(&sample_streams(), stream, phase).await
    }

    /// Waits until a stream is in this phase.
    pub async fn phase_of(&self, kind: &ApiResource, stream: &str, phase: &str) -> Value {
        let holds = |stream: &Value| stream["status"]["phase"] == phase;
        self.until(&self.objects(kind), stream, &format!("{phase} stream"), holds).await
    }

    /// Waits until an object has a condition with this status and reason.
    pub async fn condition(&self, api: &Api<DynamicObject>, name: &str, expected: (&str, &str, &str)) -> Value {
        let (type_, status, reason) = expected;
        let holds = |object: &Value| {
            let condition = condition_of(object, type_);
            condition["status"] == status && condition["reason"] == reason
        };
        self.until(api, name, &format!("{type_}={status} for {reason} of"), holds).await
    }

    /// Waits until an object is as it should be.
    pub async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        until(api, name, what, holds).await
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, api: &Api<DynamicObject>, name: &str, patch: Value) -> DynamicObject {
        let merged = api.patch(name, &PatchParams::default(), &Patch::Merge(patch.clone())).await;
        merged.unwrap_or_else(|error| panic!("cannot merge {patch} into {name}: {error}"))
    }

    /// The messages of the events about an object, each with its reason: `Reason: message`.
    pub async fn events_about(&self, name: &str) -> Vec<String> {
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(self.fixture.client(), &self.name);
        let listed = events.list(&ListParams::default()).await.unwrap_or_else(|e| panic!("cannot list events: {e}"));
        let about = listed
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(name));
        about.map(|event| format!("{}: {}", event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect()
    }

    /// Deletes it, and doesn't wait until it is gone.
    pub async fn delete(self) {
        let namespaces: Api<Namespace> = Api::all(self.fixture.client());
        let _ = namespaces.delete(&self.name, &DeleteParams::default()).await;
    }
}

/// Waits until an object is as it should be.
pub async fn until(api: &Api<DynamicObject>, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, &format!("{what} {name}"), || async {
        let object = api.get_opt(name).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
        let object = serde_json::to_value(object).map_err(|error| error.to_string())?;
        if holds(&object) { Ok(object) } else { Err(without_managed_fields(object).to_string()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"))
}

/// The condition of this type, null if there is none.
pub fn condition_of<'o>(object: &'o Value, type_: &str) -> &'o Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// The value of a variable of a Job's first container.
pub fn variable<'j>(job: &'j Job, name: &str) -> Option<&'j str> {
    let container = job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    container.env.iter().flatten().find(|variable| variable.name == name)?.value.as_deref()
}

/// Whether a Job has a condition, e.g. `Complete` or `Failed`.
pub fn has_condition(job: &Job, type_: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The rules of the chart's ClusterRole for the controller.
pub fn controller_rules() -> Vec<PolicyRule> {
    rules_in("controller-rules.yaml")
}

/// The rules of the chart's Role for the controller, in its own namespace.
pub fn controller_own_rules() -> Vec<PolicyRule> {
    rules_in("controller-own-rules.yaml")
}

/// Rules of the chart, from one of its files.
pub(crate) fn rules_in(file: &str) -> Vec<PolicyRule> {
    let text = repository_file(&format!("charts/arcane-operator/files/{file}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("the rules of the chart cannot be read: {error}"))
}

/// A file of the repository.
pub fn repository_file(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Where the repository is.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The chart's ServiceAccount, with its ClusterRole, and the one that plugins of other groups are aggregated to.
async fn operator_access(cluster: &TestCluster) -> UserAccess {
    let access = cluster.service_account_access(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, controller_rules()).await;
    let own = cluster.grant_in_own_namespace(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, controller_own_rules()).await;
    own.unwrap_or_else(|error| panic!("{error}"));
    let subject = json!({"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": OPERATOR_ACCOUNT});
    let label = arcane_common::api::well_known::LABEL_AGGREGATE_TO_CONTROLLER;
    aggregate(&cluster.admin(), AGGREGATING_ROLE, label, subject).await;
    access.unwrap_or_else(|error| panic!("{error}"))
}

/// Gives the rules of all ClusterRoles with a label to somebody.
pub(crate) async fn aggregate(client: &Client, name: &str, label: &str, subject: Value) {
    let role = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}, "rules": []});
    apply_typed::<ClusterRole>(Api::all(client.clone()), name, role).await;
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [subject],
    });
    apply_typed::<ClusterRoleBinding>(Api::all(client.clone()), name, binding).await;
}

pub(crate) async fn apply_typed<K>(api: Api<K>, name: &str, mut body: Value)
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    body["metadata"] = json!({"name": name});
    let applied = api.patch(name, &PatchParams::apply("arcane-tests").force(), &Patch::Apply(body)).await;
    applied.unwrap_or_else(|error| panic!("cannot apply {} {name}: {error}", K::kind(&())));
}

fn text_of(job: &Job) -> String {
    serde_json::to_value(job).map_or_else(|error| error.to_string(), |job| without_managed_fields(job).to_string())
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
