//! What a TLS server on this machine shows to its clients.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// Connects as a client that trusts this bundle (PEM) and nothing else, and calls the server by this name.
///
/// # Errors
/// Nobody listens, the server is called otherwise, or the bundle doesn't vouch for it.
pub async fn served_certificate(port: u16, name: &str, bundle: &[u8]) -> Result<CertificateDer<'static>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        roots.add(certificate.map_err(told)?).map_err(told)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(told)?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(told)?;
    let name = ServerName::try_from(name.to_owned()).map_err(told)?;
    let connected = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, connection).await.map_err(told)?;
    let chain = connected.get_ref().1.peer_certificates().unwrap_or_default();
    chain.first().map(|leaf| leaf.clone().into_owned()).ok_or_else(|| "the server showed no certificate".to_owned())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
