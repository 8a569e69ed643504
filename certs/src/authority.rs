//! The certificate authority that signs the leaves.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rcgen::{ExtendedKeyUsagePurpose, PublicKeyData};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::lifetimes::{Lifetimes, Validity};
use crate::serving_pair::{ServingPair, ServingPairError};
use crate::trust_bundle::{CaCertificate, CertificateError, KeyId};

/// A certificate authority: its certificate and its key. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    certificate: Arc<CaCertificate>,
    key_pem: Arc<str>,
}

/// Why there is no authority. Never tells anything of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate can't be read.
    #[error("the certificate {0}")]
    Certificate(#[from] CertificateError),
    /// It is the certificate of something else.
    #[error("the certificate is not that of a certificate authority")]
    NotAnAuthority,
    /// The key can't be read.
    #[error("the key is not a PEM block PRIVATE KEY with a key that can sign")]
    Key,
    /// Certificate and key are of different authorities.
    #[error("the key is not the one that the certificate is about")]
    KeyOfAnother,
    /// A new one can't be made.
    #[error("a certificate authority could not be made: {0}")]
    NotMade(String),
}

impl Authority {
    /// A new one, with a new ECDSA P-256 key.
    ///
    /// # Errors
    /// When there are no random numbers, or `now` is a time that certificates can't express.
    pub fn create(now: Timestamp, lifetimes: &Lifetimes) -> Result<Self, AuthorityError> {
        let not_made = |error: rcgen::Error| AuthorityError::NotMade(error.to_string());
        let key = KeyPair::generate().map_err(not_made)?;
        let key_id = KeyId::of_public_key(&key.subject_public_key_info());
        let validity = lifetimes.authority_validity(now);
        let mut params = params(validity).ok_or_else(|| AuthorityError::NotMade(format!("at {now}")))?;
        // A name of its own for each: clients find the authority by its name, and some by nothing else.
        params.distinguished_name = named(&format!("arcane-webhook-ca {key_id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(not_made)?;
        Ok(Self {
            certificate: Arc::new(CaCertificate::from_der(certificate.der().to_vec())?),
            key_pem: key.serialize_pem().into(),
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// When one of the texts can't be read, or they don't belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let certificate = CaCertificate::from_pem(certificate)?;
        let (_, x509) = X509Certificate::from_der(certificate.der()).map_err(|_| CertificateError::NotX509)?;
        let signs = x509.key_usage().ok().is_some_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
        if !x509.is_ca() || !signs {
            return Err(AuthorityError::NotAnAuthority);
        }
        let key_pem = std::str::from_utf8(key).map_err(|_| AuthorityError::Key)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Key)?;
        if KeyId::of_public_key(&key.subject_public_key_info()) != certificate.key_id() {
            return Err(AuthorityError::KeyOfAnother);
        }
        Ok(Self { certificate: Arc::new(certificate), key_pem: key_pem.into() })
    }

    /// Signs a leaf for these DNS names and IP addresses, with a new key.
    ///
    /// # Errors
    /// When a name is neither a DNS name nor an IP address, or the authority isn't valid now.
    pub fn sign(
        &self,
        names: &[String],
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<ServingPair, ServingPairError> {
        if !self.validity().contains(now) {
            return Err(ServingPairError::SignerNotValid(self.validity()));
        }
        let not_made = |error: rcgen::Error| ServingPairError::NotMade(error.to_string());
        let asked = CertificateParams::new(names).map_err(|error| ServingPairError::Names(error.to_string()))?;
        if asked.subject_alt_names.is_empty() {
            return Err(ServingPairError::Names("there is none".to_owned()));
        }
        let validity = lifetimes.leaf_validity(now, self.validity());
        let mut params = params(validity).ok_or_else(|| ServingPairError::NotMade(format!("at {now}")))?;
        params.subject_alt_names = asked.subject_alt_names;
        params.distinguished_name = named("arcane-webhook");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let signer = KeyPair::from_pem(&self.key_pem).map_err(|_| ServingPairError::SignerKey)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der().into(), signer).map_err(not_made)?;
        let key = KeyPair::generate().map_err(not_made)?;
        let certificate = params.signed_by(&key, &issuer).map_err(not_made)?;
        ServingPair::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes())
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Arc<CaCertificate> {
        &self.certificate
    }

    /// Its key, as text. Secret.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Which key it signs with.
    pub fn key_id(&self) -> KeyId {
        self.certificate.key_id()
    }

    /// From when until when it is valid.
    pub fn validity(&self) -> Validity {
        self.certificate.validity()
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key_pem == other.key_pem
    }
}

impl Eq for Authority {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate, key_pem: _ } = self;
        f.debug_struct("Authority").field("certificate", certificate).field("key", &"[redacted]").finish()
    }
}

fn params(validity: Validity) -> Option<CertificateParams> {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from_unix_timestamp(validity.not_before.as_second()).ok()?;
    params.not_after = OffsetDateTime::from_unix_timestamp(validity.not_after.as_second()).ok()?;
    // Four digits are all that X.509 has for a year, and rcgen panics on others.
    let expressible = |moment: OffsetDateTime| (0..=9999).contains(&moment.year());
    (expressible(params.not_before) && expressible(params.not_after)).then_some(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}
