//! The chart, installed by helm as a person does it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::wait;
use crate::world::World;

/// The release.
pub const NAME: &str = "arcane";
/// Its namespace.
pub const NAMESPACE: &str = "arcane";
/// The controller's Deployment.
pub const CONTROLLER: &str = "arcane-operator";
/// The webhook's Deployment, and its configurations.
pub const WEBHOOK: &str = "arcane-operator-webhook";

const CHART: &str = "charts/arcane-operator";
/// How long a release may take until everything of it is ready.
pub const READY_WITHIN: Duration = Duration::from_secs(180);

/// Installs the chart, or upgrades the release to other values, and waits until everything is ready.
pub async fn install(world: &World, tag: &str, values: &[&str]) {
    let controller = format!("image.repository={}", world.images.repository("arcane-controller"));
    let webhook = format!("webhook.image.repository={}", world.images.repository("arcane-webhook"));
    let tags = format!("image.tag={tag},webhook.image.tag={tag}");
    let timeout = format!("{}s", READY_WITHIN.as_secs());
    let mut words = vec!["upgrade", "--install", NAME, CHART, "-n", NAMESPACE, "--create-namespace", "--wait"];
    words.extend(["--timeout", &timeout, "--set", &controller, "--set", &webhook, "--set", &tags]);
    for value in values {
        words.extend(["--set", value]);
    }
    world.helm(&words).await;
}

/// Back to an earlier revision.
pub async fn roll_back(world: &World, revision: &str) {
    let timeout = format!("{}s", READY_WITHIN.as_secs());
    world.helm(&["rollback", NAME, revision, "-n", NAMESPACE, "--wait", "--timeout", &timeout]).await;
}

/// Takes the release away.
pub async fn uninstall(world: &World) {
    world.helm(&["uninstall", NAME, "-n", NAMESPACE, "--wait"]).await;
}

/// The pods of one of the Deployments.
pub async fn pods(world: &World, deployment: &str) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(world.client(), NAMESPACE);
    let of = ListParams::default().labels(&format!("app.kubernetes.io/name={deployment}"));
    pods.list(&of).await.unwrap_or_else(|error| panic!("cannot list pods: {error}")).items
}

/// Waits until both Deployments are what they should be, with nothing left of earlier ones.
pub async fn ready(world: &World) {
    for name in [CONTROLLER, WEBHOOK] {
        let deployments: Api<Deployment> = Api::namespaced(world.client(), NAMESPACE);
        wait::until(READY_WITHIN, &format!("ready Deployment {name}"), || async {
            let deployment = deployments.get(name).await.map_err(|error| error.to_string())?;
            let wanted = deployment.spec.and_then(|spec| spec.replicas);
            let status = deployment.status.unwrap_or_default();
            let told = format!("{status:?}");
            let whole = status.observed_generation == deployment.metadata.generation
                && status.ready_replicas == wanted
                && status.updated_replicas == wanted
                && status.replicas == wanted;
            if whole { Ok(()) } else { Err(told) }
        })
        .await;
    }
}
