//! The cluster that the tests share: the controller and the webhook at work, no plugin installed.

use std::sync::LazyLock;

use arcane_tests::webhook::WEBHOOK;
use arcane_tests::{
    AuditLog, ControlPlane, Fixture, FixtureOptions, OperatorProcess, TestCluster, UserAccess, WebhookAccess,
};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Clients belong to the runtime that made them, so there is one for all tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static WORLD: OnceCell<World> = OnceCell::const_new();

pub struct World {
    pub fixture: Fixture,
    pub webhook: WebhookAccess,
    /// Who the engines are: each may do everything.
    pub flux: UserAccess,
    pub argocd: UserAccess,
    pub person: UserAccess,
    pub webhook_process: Option<OperatorProcess>,
}

impl World {
    /// One of a test's own, in which nothing runs but the webhook: the controller is the test's to start and end.
    pub async fn with_a_controller(operator: bool) -> Self {
        let plane = ControlPlane::start(Default::default()).await.unwrap_or_else(|error| panic!("{error}"));
        let options = FixtureOptions {
            operator,
            operator_arguments: vec![format!("--webhook-configuration={WEBHOOK}")],
            sample_plugin: false,
            ..FixtureOptions::default()
        };
        let fixture = Fixture::start_on(TestCluster::local(plane), options).await;
        let webhook = WebhookAccess::in_cluster(fixture.cluster()).await;
        let process = webhook.start().await;
        let user = async |name: &str| {
            let access = fixture.cluster().user(name, &["system:masters"]).await;
            access.unwrap_or_else(|error| panic!("{error}"))
        };
        let (flux, argocd, person) = (user("flux").await, user("argocd").await, user("person").await);
        Self { flux, argocd, person, fixture, webhook, webhook_process: Some(process) }
    }

    /// Ends the webhook, if it runs.
    pub async fn end_webhook(&mut self) {
        if let Some(process) = self.webhook_process.take() {
            WebhookAccess::end(process).await;
        }
    }

    pub fn audit_log(&self) -> AuditLog {
        self.fixture.cluster().audit_log().unwrap_or_else(|| panic!("a control plane of our own has an audit log"))
    }
}

/// Runs a test on the cluster that all share.
pub fn on_a_cluster(test: impl AsyncFnOnce(&'static World)) {
    RUNTIME.block_on(async {
        let world = WORLD.get_or_init(|| World::with_a_controller(true)).await;
        let started = std::time::Instant::now();
        test(world).await;
        let thread = std::thread::current();
        eprintln!("{}: {:.1?}", thread.name().unwrap_or("test"), started.elapsed());
    });
}

/// Runs a test that makes a cluster for itself.
pub fn on_its_own_cluster(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// How many random folders each engine gets: a few, or as many as `ARCANE_GITOPS` says.
pub fn folders() -> u64 {
    std::env::var("ARCANE_GITOPS").ok().and_then(|number| number.parse().ok()).unwrap_or(5)
}
