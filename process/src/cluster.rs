//! The cluster that a process works on.

use kube::{Client, Config};

/// There is no cluster to work on.
#[derive(Debug, thiserror::Error)]
pub enum CannotConnect {
    /// None is named.
    #[error("no cluster: set KUBECONFIG, or run in a pod with a service account")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The client can't be made.
    #[error("can't make a client of the API server")]
    Client(#[source] kube::Error),
}

/// A client of the cluster that the process runs in, else of the one that KUBECONFIG (or ~/.kube/config) names; and its
/// namespace: the pod's own, or that of the kubeconfig's context.
///
/// # Errors
/// When no cluster is named, or what names it can't be used.
pub async fn connect() -> Result<(Client, String), CannotConnect> {
    let config = Config::infer().await.map_err(CannotConnect::NoCluster)?;
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).map_err(CannotConnect::Client)?, namespace))
}
