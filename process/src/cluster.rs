//! The cluster that a process works on.

use std::{future::Future, time::Duration};

use kube::{Client, Config, client::ClientBuilder};
use tower::{BoxError, util::MapFutureLayer};

/// A request that has no answer after this is given up. The API server itself works no longer at one.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

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
    connect_by(Client::try_from).await
}

/// The same for who decides anew after each failure: nothing is repeated by the client itself, for a write that is sent later was
/// decided on what may be no longer so, by a process that may no longer lead; and what is never answered is given up, after a
/// minute, so that its stream isn't forgotten over it. A watch may last, once it has begun.
///
/// # Errors
/// When no cluster is named, or what names it can't be used.
pub async fn connect_to_write() -> Result<(Client, String), CannotConnect> {
    connect_by(client_to_write).await
}

async fn connect_by(
    client: impl FnOnce(Config) -> Result<Client, kube::Error>,
) -> Result<(Client, String), CannotConnect> {
    let config = Config::infer().await.map_err(CannotConnect::NoCluster)?;
    let namespace = config.default_namespace.clone();
    Ok((client(config).map_err(CannotConnect::Client)?, namespace))
}

fn client_to_write(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(&MapFutureLayer::new(in_time)).build())
}

async fn in_time<T>(answer: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    tokio::time::timeout(ANSWER_LIMIT, answer).await.unwrap_or_else(|_| Err(NoAnswer.into()))
}

#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered within {ANSWER_LIMIT:?}")]
struct NoAnswer;

/// What the API server said, once, without the form that it came in; else the whole error.
pub fn briefly(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, core::Status};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn a_server() -> (TcpListener, Api<ConfigMap>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        (listener, Api::namespaced(client_to_write(Config::new(url)).unwrap(), "team"))
    }

    #[tokio::test]
    async fn what_is_never_answered_is_given_up() {
        let (server, maps) = a_server().await;
        let asked = tokio::spawn(async move { maps.get("a").await });
        let (mut connection, _) = server.accept().await.unwrap();
        let mut request = [0; 4];
        connection.read_exact(&mut request).await.unwrap();
        // From here on time passes when nothing else happens.
        tokio::time::pause();
        let error = asked.await.unwrap().unwrap_err();
        assert!(format!("{error:?}").contains("NoAnswer"), "{error:?}");
    }

    #[tokio::test]
    async fn nothing_is_repeated_behind_the_back_of_who_decides() {
        let (server, maps) = a_server().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = server.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = connection.read(&mut [0; 4096]).await;
                let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = connection.write_all(busy.as_bytes()).await;
            }
        });
        maps.get("a").await.unwrap_err();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn words_of_the_api_server_are_said_once() {
        let status = Status::failure("pods \"a\" is forbidden", "Forbidden").with_code(403).boxed();
        assert_eq!(briefly(&kube::Error::Api(status)), "pods \"a\" is forbidden");
        assert!(briefly(&kube::Error::Api(Status::failure("", "Timeout").with_code(504).boxed())).contains("Timeout"));
    }
}
