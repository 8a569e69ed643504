//! The HTTPS server that the API server calls.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arcane_certs::ServingPair;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header::CONNECTION};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

/// How long requests that are under way may take when the server ends: longer than any answer takes.
const GRACE: Duration = Duration::from_secs(6);

/// How long a new connection may take for the head of its first request, its TLS handshake apart (10 s).
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// How long the head of a request may take, counted from the end of the one before: longer than API servers keep idle
/// connections (90 s), so that it is they who close them, and no request is lost on one that is just being closed.
const NEXT_REQUEST: Duration = Duration::from_secs(120);

/// A certificate can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotServe {
    /// Certificate or key can't be read.
    #[error("the serving certificate or its key is damaged PEM")]
    Pem,
    /// TLS doesn't take them.
    #[error("TLS refuses the serving certificate: {0}")]
    Tls(String),
}

/// What TLS needs of a certificate. Its error tells nothing of the key.
fn tls(pair: &ServingPair) -> Result<ServerConfig, CannotServe> {
    let chain = CertificateDer::pem_slice_iter(pair.chain_pem().as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|_| CannotServe::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem().as_bytes()).map_err(|_| CannotServe::Pem)?;
    let refused = |error: rustls::Error| CannotServe::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refused)?;
    // All that an API server speaks to a webhook.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Changes the certificate that is served.
#[derive(Clone, Debug)]
pub struct Certificate {
    config: watch::Sender<Option<Arc<ServerConfig>>>,
}

impl Certificate {
    /// None yet.
    pub fn none() -> Self {
        Self { config: watch::Sender::new(None) }
    }

    /// Serves this one from now on; connections that are open keep theirs.
    ///
    /// # Errors
    /// When it can't be served; then the one before goes on.
    pub fn serve(&self, pair: &ServingPair) -> Result<(), CannotServe> {
        self.config.send_replace(Some(Arc::new(tls(pair)?)));
        Ok(())
    }
}

/// Ends the server, step by step.
#[derive(Clone, Debug)]
pub struct Ending {
    last_answers: watch::Sender<bool>,
    handle: Handle<SocketAddr>,
}

impl Ending {
    /// Nothing has ended.
    pub fn not_yet() -> Self {
        Self { last_answers: watch::Sender::new(false), handle: Handle::new() }
    }

    /// From now on every answer is the last one on its connection, so that callers go elsewhere for the next. The API
    /// server keeps connections, and what it sends on one that is just being closed is lost.
    pub fn last_answers(&self) {
        self.last_answers.send_replace(true);
    }

    /// Takes no more connections; what is under way is answered.
    pub fn end(&self) {
        self.handle.graceful_shutdown(Some(GRACE));
    }
}

/// Serves from when there is a certificate until it is ended.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    certificate: Certificate,
    ending: Ending,
) -> Result<(), io::Error> {
    let mut configs = certificate.config.subscribe();
    let mut last_answers = ending.last_answers.subscribe();
    let first = tokio::select! {
        first = configs.wait_for(Option::is_some) => first.ok().and_then(|first| first.clone()),
        // Ended before it began.
        _ = last_answers.wait_for(|last| *last) => None,
    };
    let Some(first) = first else { return Ok(()) };
    let config = RustlsConfig::from_config(first);
    let router = router.layer(middleware::from_fn_with_state(last_answers, last_answer));
    let server = axum_server::from_tcp_rustls(listener, config.clone())?.handle(ending.handle);
    let mut server = server.first_request_timeout(FIRST_REQUEST);
    server.http_builder().http1().header_read_timeout(NEXT_REQUEST);
    let reload = async {
        while configs.changed().await.is_ok() {
            if let Some(next) = configs.borrow_and_update().clone() {
                config.reload_from_config(next);
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server.serve(router.into_make_service()) => served,
        () = reload => Ok(()),
    }
}

async fn last_answer(State(last): State<watch::Receiver<bool>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if *last.borrow() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
