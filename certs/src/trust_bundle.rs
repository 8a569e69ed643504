//! The certificates that clients trust.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::lifetimes::{Validity, later};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Which key an authority signs with: the first 20 bytes of the SHA-256 of its
/// public key, which is also the subject key identifier in its certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 20]);

impl KeyId {
    /// Of a public key as it stands in a certificate (DER of SubjectPublicKeyInfo).
    pub(crate) fn of_public_key(public_key: &[u8]) -> Self {
        let mut id = [0; 20];
        id.iter_mut().zip(Sha256::digest(public_key)).for_each(|(to, from)| *to = from);
        Self(id)
    }

    pub(crate) fn from_extension(identifier: &[u8]) -> Option<Self> {
        Some(Self(identifier.try_into().ok()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Why a certificate can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate in the text.
    #[error("holds no PEM block CERTIFICATE")]
    Absent,
    /// There is more than one.
    #[error("holds {0} certificates instead of one")]
    Several(usize),
    /// The PEM armour or its base64 is damaged.
    #[error("is damaged PEM")]
    Pem,
    /// What is in the PEM is no certificate.
    #[error("is not an X.509 certificate")]
    NotX509,
    /// It is valid at times that can't be.
    #[error("is valid at no possible time")]
    Validity,
}

/// A certificate of an authority, without its key.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate {
    der: Vec<u8>,
    key_id: KeyId,
    validity: Validity,
}

impl CaCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When the bytes are no certificate.
    pub fn from_der(der: Vec<u8>) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| CertificateError::NotX509)?;
        if !rest.is_empty() {
            return Err(CertificateError::NotX509);
        }
        let key_id = KeyId::of_public_key(certificate.public_key().raw);
        let validity = validity_of(&certificate)?;
        Ok(Self { key_id, validity, der })
    }

    /// Reads the one certificate in a PEM text.
    ///
    /// # Errors
    /// When there isn't exactly one, or it is damaged.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let mut found = certificates_in(text);
        match (found.pop(), found.len()) {
            (None, _) => Err(CertificateError::Absent),
            (Some(only), 0) => Self::from_der(only?),
            (Some(_), others) => Err(CertificateError::Several(others + 1)),
        }
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As text.
    pub fn pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.as_slice()), config)
    }

    /// Which key it is about.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// From when until when it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Validity { not_before, not_after } = self.validity;
        write!(f, "CaCertificate({}, {not_before} to {not_after})", self.key_id)
    }
}

pub(crate) fn validity_of(certificate: &X509Certificate<'_>) -> Result<Validity, CertificateError> {
    let moment = |seconds| Timestamp::from_second(seconds).map_err(|_| CertificateError::Validity);
    let validity = Validity {
        not_before: moment(certificate.validity().not_before.timestamp())?,
        not_after: moment(certificate.validity().not_after.timestamp())?,
    };
    if validity.not_before > validity.not_after { Err(CertificateError::Validity) } else { Ok(validity) }
}

/// The DER of each PEM block CERTIFICATE in the text, as the API server finds
/// them: whatever else is there is skipped.
pub(crate) fn certificates_in(text: &[u8]) -> Vec<Result<Vec<u8>, CertificateError>> {
    let text = String::from_utf8_lossy(text);
    // What comes before the first BEGIN is no certificate.
    text.split(BEGIN)
        .skip(1)
        .map(|rest| {
            let (body, _) = rest.split_once(END).ok_or(CertificateError::Pem)?;
            let block = pem::parse(format!("{BEGIN}{body}{END}\n")).map_err(|_| CertificateError::Pem)?;
            Ok(block.into_contents())
        })
        .collect()
}

/// The certificates that clients trust: each once, in an order that depends on nothing but the certificates.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustBundle {
    /// Sorted by [`place`], no two alike.
    certificates: Vec<Arc<CaCertificate>>,
}

/// Oldest first; the bytes make the order total.
fn place(certificate: &CaCertificate) -> (Timestamp, &[u8]) {
    (certificate.validity.not_before, &certificate.der)
}

impl TrustBundle {
    /// What can be read of a bundle; whatever is no certificate is skipped, as its readers do, too.
    pub fn read(text: &[u8]) -> Self {
        certificates_in(text).into_iter().flatten().filter_map(|der| CaCertificate::from_der(der).ok()).collect()
    }

    /// As text; without any certificate it is empty.
    pub fn pem(&self) -> String {
        self.certificates.iter().map(|certificate| certificate.pem()).collect()
    }

    /// What is in this one or the other.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if other.certificates.iter().all(|certificate| self.holds(certificate)) {
            return self.clone();
        }
        self.certificates.iter().chain(&other.certificates).cloned().collect()
    }

    /// With one more certificate.
    #[must_use]
    pub fn with(&self, certificate: &Arc<CaCertificate>) -> Self {
        if self.holds(certificate) {
            return self.clone();
        }
        self.certificates.iter().chain([certificate]).cloned().collect()
    }

    /// Without those that ended longer than `grace` ago. The grace is for a
    /// writer whose clock is ahead; trusting what is over harms nobody.
    #[must_use]
    pub fn without_expired(&self, now: Timestamp, grace: SignedDuration) -> Self {
        let unexpired = |certificate: &&Arc<CaCertificate>| now <= later(certificate.validity.not_after, grace);
        Self { certificates: self.certificates.iter().filter(unexpired).cloned().collect() }
    }

    /// Whether it trusts what this key signs.
    pub fn trusts(&self, signer: KeyId) -> bool {
        self.certificates.iter().any(|certificate| certificate.key_id == signer)
    }

    /// Its certificates, in order.
    pub fn certificates(&self) -> impl Iterator<Item = &CaCertificate> {
        self.certificates.iter().map(|certificate| &**certificate)
    }

    /// Whether it holds no certificate.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    fn holds(&self, certificate: &CaCertificate) -> bool {
        self.certificates.binary_search_by(|held| place(held).cmp(&place(certificate))).is_ok()
    }
}

impl FromIterator<Arc<CaCertificate>> for TrustBundle {
    fn from_iter<I: IntoIterator<Item = Arc<CaCertificate>>>(certificates: I) -> Self {
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        certificates.sort_by(|one, other| place(one).cmp(&place(other)));
        certificates.dedup();
        Self { certificates }
    }
}

impl FromIterator<CaCertificate> for TrustBundle {
    fn from_iter<I: IntoIterator<Item = CaCertificate>>(certificates: I) -> Self {
        certificates.into_iter().map(Arc::new).collect()
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.certificates.iter().map(|certificate| &**certificate)).finish()
    }
}

/// The keys that all of the bundles trust.
pub(crate) fn trusted_by_all<'a>(mut bundles: impl Iterator<Item = &'a TrustBundle>) -> BTreeSet<KeyId> {
    let Some(first) = bundles.next() else { return BTreeSet::new() };
    let mut keys: BTreeSet<KeyId> = first.certificates.iter().map(|certificate| certificate.key_id).collect();
    bundles.for_each(|bundle| keys.retain(|key| bundle.trusts(*key)));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Lifetimes};

    fn made_on_day(day: i64) -> Arc<CaCertificate> {
        let now = Timestamp::from_second(day * 86_400).unwrap();
        Arc::clone(Authority::create(now, &Lifetimes::default()).unwrap().certificate())
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let (one, other, third) = (made_on_day(100), made_on_day(200), made_on_day(200));
        let bundle: TrustBundle = [&one, &other, &third].into_iter().cloned().collect();
        let shuffled: TrustBundle = [&third, &one, &other, &one].into_iter().cloned().collect();
        assert_eq!(bundle, shuffled);
        assert_eq!(bundle.pem(), shuffled.pem());
        assert_eq!(bundle.certificates().count(), 3);
        assert_eq!(bundle.certificates().next(), Some(&*one));
        assert_eq!(bundle.merged(&shuffled), bundle);
        assert_eq!(TrustBundle::default().with(&third).merged(&bundle), bundle);
    }

    #[test]
    fn it_is_read_as_it_was_written_whatever_stands_around_it() {
        let bundle: TrustBundle = [made_on_day(1), made_on_day(2)].into_iter().collect();
        assert_eq!(TrustBundle::read(bundle.pem().as_bytes()), bundle);
        let around = format!("rubbish\n{}-----BEGIN CERTIFICATE-----\nno base64!", bundle.pem().replace('\n', "\r\n"));
        assert_eq!(TrustBundle::read(around.as_bytes()), bundle);
        let damaged_first = format!("-----BEGIN CERTIFICATE-----\nAAAA\n{}", bundle.pem());
        assert_eq!(TrustBundle::read(damaged_first.as_bytes()), bundle);
    }

    #[test]
    fn an_expired_one_drops_out_after_the_grace() {
        let bundle = TrustBundle::default().with(&made_on_day(0));
        let (end, grace) = (Timestamp::from_second(365 * 86_400).unwrap(), SignedDuration::from_hours(49));
        assert_eq!(bundle.without_expired(end, grace), bundle);
        assert_eq!(bundle.without_expired(later(end, grace), grace), bundle);
        assert!(bundle.without_expired(later(end, grace + SignedDuration::from_secs(1)), grace).is_empty());
    }
}
