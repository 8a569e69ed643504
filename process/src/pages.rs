//! Plain HTTP pages, for probes and for Prometheus.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// An address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}; {flag} takes another address")]
pub struct CannotListen {
    /// The address.
    pub address: SocketAddr,
    /// The flag that says otherwise.
    pub flag: &'static str,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Opens a port, which this flag has named.
///
/// # Errors
/// When it is taken, or isn't ours to take.
pub async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, CannotListen> {
    TcpListener::bind(address).await.map_err(|source| CannotListen { address, flag, source })
}

/// Serves pages until `stop` becomes true or its sender is gone.
///
/// # Errors
/// When the listener fails.
pub async fn serve(pages: Router, listener: TcpListener, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    axum::serve(listener, pages).with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) }).await
}
