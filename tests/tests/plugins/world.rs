//! The cluster that all tests share: the controller and the webhook at work, every plugin's kinds and classes installed.

use std::sync::LazyLock;

use arcane_tests::fixture::{SOON, streams_of, until};
use arcane_tests::manifests::{CHART, KINDS, Manifest, NAMESPACE, manifests, text_of};
use arcane_tests::webhook::WEBHOOK;
use arcane_tests::{
    ControlPlane, Fixture, FixtureOptions, KubectlOutput, OperatorProcess, TestCluster, TestNamespace, WebhookAccess,
    eventually,
};
use kube::Api;
use kube::api::DynamicObject;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::asked;
use crate::plugins::{DIRECTORIES, GROUP};

/// Clients belong to the runtime that made them, so there is one for all tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static WORLD: OnceCell<World> = OnceCell::const_new();

pub struct World {
    pub fixture: Fixture,
    pub webhook: WebhookAccess,
    _process: Option<OperatorProcess>,
}

impl World {
    /// One in which the webhook isn't started yet.
    pub fn without_processes((fixture, webhook): (Fixture, WebhookAccess)) -> Self {
        Self { fixture, webhook, _process: None }
    }
}

/// With the plugins installed all at once: a kind that has just come is unknown to an admission plugin of the API server for
/// up to half a minute, and so that is waited for only once.
async fn a_world() -> World {
    let (fixture, webhook) = a_cluster(true).await;
    let process = webhook.start().await;
    let world = World { fixture, webhook, _process: Some(process) };
    for directory in DIRECTORIES {
        install_kinds(&world.fixture, directory).await;
    }
    world
}

/// A control plane of our own, also where `ARCANE_TEST_KUBECONFIG` names a cluster: its API server may not reach a webhook on
/// this machine.
pub async fn a_cluster(operator: bool) -> (Fixture, WebhookAccess) {
    a_cluster_with(FixtureOptions { operator, ..FixtureOptions::default() }).await
}

/// The same, with other options.
pub async fn a_cluster_with(options: FixtureOptions) -> (Fixture, WebhookAccess) {
    let operator_arguments = vec![format!("--webhook-configuration={WEBHOOK}")];
    let options = FixtureOptions { operator_arguments, sample_plugin: false, ..options };
    let plane = ControlPlane::start(options.control_plane.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    let fixture = Fixture::start_on(TestCluster::local(plane), options).await;
    let webhook = WebhookAccess::in_cluster(fixture.cluster()).await;
    (fixture, webhook)
}

/// What a plugin brings for the whole cluster: first its kinds, then its classes. Nothing of it is warned of.
pub async fn install_kinds(fixture: &Fixture, directory: &str) {
    let kinds = manifests(directory, KINDS, NAMESPACE);
    applied_quietly(fixture, &text_of(&kinds)).await;
    for kind in &kinds {
        let name = format!("crd/{}", kind.value["metadata"]["name"].as_str().unwrap_or_default());
        fixture.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name]).await;
    }
    let classes = manifests(directory, CHART, NAMESPACE);
    let classes: Vec<&Manifest> = classes.iter().filter(|manifest| manifest.kind() == "StreamClass").collect();
    applied_quietly(fixture, &text_of(classes.iter().copied())).await;
    for class in classes {
        let name = class.value["metadata"]["name"].as_str().unwrap_or_default();
        until(&classes_api(fixture), name, "Ready class", |it| it["status"]["phase"] == "Ready").await;
    }
}

pub fn classes_api(fixture: &Fixture) -> Api<DynamicObject> {
    Api::all_with(fixture.client(), &streams_of(GROUP, "v1", "StreamClass", "streamclasses"))
}

/// Runs kubectl with a file of this text as its last argument, whatever comes of it.
pub async fn kubectl_with(fixture: &Fixture, arguments: &[&str], text: &str) -> KubectlOutput {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().display().to_string();
    let all: Vec<&str> = arguments.iter().copied().chain(["-f", &path]).collect();
    fixture.cluster().kubectl(&all).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Applies a text with strict validation, which must succeed, and gives what was warned of.
pub async fn applied(fixture: &Fixture, text: &str) -> String {
    applied_as(fixture, &[], text).await
}

/// The same with more flags.
pub async fn applied_as(fixture: &Fixture, flags: &[&str], text: &str) -> String {
    let arguments: Vec<&str> = ["apply", "--validate=strict"].iter().chain(flags).copied().collect();
    let said = kubectl_with(fixture, &arguments, text).await;
    assert!(said.status.success(), "{}{}\n{text}", said.stdout, said.stderr);
    said.stderr
}

/// The same, where nothing may be warned of.
pub async fn applied_quietly(fixture: &Fixture, text: &str) {
    let warnings = applied(fixture, text).await;
    assert_eq!(warnings, "", "{text}");
}

/// Runs a test in a namespace of its own, named like the test, that takes restricted pods only.
pub fn on_a_cluster(test: impl AsyncFnOnce(&'static World, &TestNamespace<'static>)) {
    RUNTIME.block_on(async {
        let world = WORLD.get_or_init(a_world).await;
        let since = asked::now(&world.fixture);
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("test").rsplit("::").next().unwrap_or("test").replace('_', "-");
        let namespace = a_namespace(&world.fixture, &name).await;
        let started = std::time::Instant::now();
        test(world, &namespace).await;
        eprintln!("{name}: {:.1?}", started.elapsed());
        asked::nothing_was_forbidden(&world.fixture, world.webhook.name(), &namespace, since);
        namespace.delete().await;
    });
}

/// Runs a test that makes a cluster for itself.
pub fn without_the_cluster(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

pub async fn a_namespace<'f>(fixture: &'f Fixture, name: &str) -> TestNamespace<'f> {
    let namespace = fixture.empty_namespace(name).await;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    fixture.kubectl(&["label", "namespace", namespace.name(), restricted]).await;
    // Pods that name an account wait for nothing then.
    eventually(SOON, "namespace in use", || async {
        let account = fixture.cluster().kubectl(&["get", "serviceaccount", "default", "-n", namespace.name()]).await;
        let account = account.map_err(|error| error.to_string())?;
        if account.status.success() { Ok(()) } else { Err(account.stderr) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    namespace
}
