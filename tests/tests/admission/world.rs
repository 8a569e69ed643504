//! The cluster that all tests share: the controller and the webhook at work.

use std::sync::LazyLock;

use arcane_tests::webhook::WEBHOOK;
use arcane_tests::{ControlPlane, Fixture, FixtureOptions, OperatorProcess, TestCluster, TestNamespace, WebhookAccess};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Clients belong to the runtime that made them, so there is one for all tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static WORLD: OnceCell<World> = OnceCell::const_new();

pub struct World {
    pub fixture: Fixture,
    pub webhook: WebhookAccess,
    _process: OperatorProcess,
}

async fn a_world() -> World {
    let operator_arguments = vec![format!("--webhook-configuration={WEBHOOK}")];
    let fixture = a_fixture(FixtureOptions { operator_arguments, ..FixtureOptions::default() }).await;
    let webhook = WebhookAccess::in_cluster(fixture.cluster()).await;
    let process = webhook.start().await;
    World { fixture, webhook, _process: process }
}

/// On a control plane of our own, also where `ARCANE_TEST_KUBECONFIG` names a cluster: its API server may not reach a webhook
/// on this machine.
async fn a_fixture(options: FixtureOptions) -> Fixture {
    let plane = ControlPlane::start(options.control_plane.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    Fixture::start_on(TestCluster::local(plane), options).await
}

/// Runs a test in a namespace of its own, named like the test.
pub fn on_a_cluster(test: impl AsyncFnOnce(&'static World, &TestNamespace<'static>)) {
    RUNTIME.block_on(async {
        let world = WORLD.get_or_init(a_world).await;
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("test").rsplit("::").next().unwrap_or("test").replace('_', "-");
        let namespace = world.fixture.namespace(&name).await;
        let started = std::time::Instant::now();
        test(world, &namespace).await;
        eprintln!("{name}: {:.1?}", started.elapsed());
        namespace.delete().await;
    });
}

/// Runs a test on a cluster of its own, where it may break things: our kinds, the sample plugin, a kubelet, the rights of the
/// webhook; whether controller and webhook run is for the test to say.
pub fn on_its_own_cluster(options: FixtureOptions, test: impl AsyncFnOnce(&Fixture, &WebhookAccess)) {
    RUNTIME.block_on(async {
        let fixture = a_fixture(options).await;
        let webhook = WebhookAccess::in_cluster(fixture.cluster()).await;
        test(&fixture, &webhook).await;
        fixture.stop().await;
    });
}

/// How many times something is done that could only go wrong now and then: all with `ARCANE_RACES=all`, else a slice.
pub fn times(slice: usize, all: usize) -> usize {
    if std::env::var("ARCANE_RACES").is_ok_and(|wanted| wanted == "all") { all } else { slice }
}

/// Without a controller.
pub fn no_controller() -> FixtureOptions {
    FixtureOptions { operator: false, ..FixtureOptions::default() }
}
