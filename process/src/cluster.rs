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

/// What the API server said, once, without the form that it came in; else the whole error.
pub fn briefly(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn words_of_the_api_server_are_said_once() {
        let status = Status::failure("pods \"a\" is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(briefly(&kube::Error::Api(status)), "pods \"a\" is forbidden");
        assert!(briefly(&kube::Error::Api(Status::failure("", "Timeout").with_code(504).boxed())).contains("Timeout"));
    }
}
