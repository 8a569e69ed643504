//! What the server shows and proves itself with.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::lifetimes::Validity;
use crate::trust_bundle::{CertificateError, KeyId, TrustBundle, certificates_in, validity_of};

/// What decisions need to know of a serving certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Who signed it, as the certificate says; none where it says nothing that is known here.
    pub signer: Option<KeyId>,
    /// From when until when it is valid.
    pub validity: Validity,
}

/// A certificate with its chain, and its key: what TLS serves.
#[derive(Clone, PartialEq, Eq)]
pub struct ServingPair {
    chain_pem: String,
    key_pem: String,
    leaf: Leaf,
}

/// Why there is nothing to serve. Never tells anything of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServingPairError {
    /// The certificate can't be read.
    #[error("the serving certificate {0}")]
    Certificate(#[from] CertificateError),
    /// The key can't be read.
    #[error("the serving key is not a PEM block with a private key")]
    Key,
    /// Certificate and key don't belong together.
    #[error("the serving key is not the one that the certificate is about")]
    KeyOfAnother,
    /// The names to serve are no names.
    #[error("the names to serve must be DNS names or IP addresses: {0}")]
    Names(String),
    /// The authority that should sign is over, or not yet valid.
    #[error("the certificate authority is valid only from {} to {}", .0.not_before, .0.not_after)]
    SignerNotValid(Validity),
    /// The authority's key can't be read.
    #[error("the certificate authority's key can't sign")]
    SignerKey,
    /// A new one can't be made.
    #[error("a serving certificate could not be made: {0}")]
    NotMade(String),
}

impl ServingPair {
    /// Reads one: a chain of certificates, the serving one first, and its key.
    /// Of a key in another form than `PRIVATE KEY` (PKCS #8) whether it is the
    /// certificate's isn't checked here; TLS will tell.
    ///
    /// # Errors
    /// When a certificate or the key can't be read, or they don't belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ServingPairError> {
        let mut certificates = certificates_in(chain).into_iter();
        let der = certificates.next().ok_or(CertificateError::Absent)??;
        certificates.try_for_each(|certificate| certificate.map(drop))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| CertificateError::NotX509)?;
        let chain_pem = std::str::from_utf8(chain).map_err(|_| CertificateError::Pem)?.to_owned();
        let key_pem = std::str::from_utf8(key).map_err(|_| ServingPairError::Key)?.to_owned();
        // A key may come behind its parameters, as openssl writes it.
        let blocks = pem::parse_many(&key_pem).map_err(|_| ServingPairError::Key)?;
        let is_key = |block: &&pem::Pem| block.tag().ends_with("PRIVATE KEY");
        let block = blocks.iter().find(is_key).ok_or(ServingPairError::Key)?;
        if block.tag() == "PRIVATE KEY" {
            let pair = KeyPair::try_from(block.contents()).map_err(|_| ServingPairError::Key)?;
            let public_key = KeyId::of_public_key(&pair.subject_public_key_info());
            if public_key != KeyId::of_public_key(certificate.public_key().raw) {
                return Err(ServingPairError::KeyOfAnother);
            }
        }
        let leaf = Leaf { signer: signer_of(&certificate), validity: validity_of(&certificate)? };
        Ok(Self { chain_pem, key_pem, leaf })
    }

    /// Why a client that trusts this bundle wouldn't accept the server under this name now. With an empty bundle it isn't
    /// known whom clients trust: then only name and time count.
    pub fn problem(&self, name: &str, trusted: &TrustBundle, now: Timestamp) -> Option<String> {
        let validity = self.leaf.validity;
        if !validity.contains(now) {
            return Some(format!("is valid from {} to {} only", validity.not_before, validity.not_after));
        }
        let chain = certificates_in(self.chain_pem.as_bytes()).into_iter().flatten().map(CertificateDer::from);
        let chain: Vec<CertificateDer<'_>> = chain.collect();
        let Some((leaf, between)) = chain.split_first() else { return Some("isn't there".to_owned()) };
        let Ok(leaf) = EndEntityCert::try_from(leaf) else { return Some("is not an X.509 certificate".to_owned()) };
        let Ok(server) = ServerName::try_from(name) else { return Some(format!("can't be for {name:?}")) };
        if leaf.verify_is_valid_for_subject_name(&server).is_err() {
            return Some(format!("is not for {name}, by which the API server calls"));
        }
        if trusted.is_empty() {
            return None;
        }
        let anchors: Vec<CertificateDer<'_>> = trusted.certificates().map(|it| it.der().into()).collect();
        let anchors: Vec<_> = anchors.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()).collect();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, between, at, usage, None, None)
            .err()
            .map(|error| format!("is not signed by the authority beside it: {error}"))
    }

    /// The certificate, and those between it and its authority. Of ours there
    /// are none between, and the authority's own is what clients have in their bundle.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key, as text. Secret.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What decisions need to know of it.
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }
}

impl fmt::Debug for ServingPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_pem: _, key_pem: _, leaf } = self;
        f.debug_struct("ServingPair").field("leaf", leaf).field("key", &"[redacted]").finish_non_exhaustive()
    }
}

fn signer_of(certificate: &X509Certificate<'_>) -> Option<KeyId> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(signer) => KeyId::from_extension(signer.key_identifier.as_ref()?.0),
        _ => None,
    })
}
