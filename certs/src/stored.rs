//! What the Secret holds.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::authority::{Authority, AuthorityError};
use crate::trust_bundle::TrustBundle;

const CURRENT: [&str; 2] = ["current.crt", "current.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const RETIRED: &str = "retired.crt";

/// What the Secret holds. Since when `next` is published isn't in it: see [`Memory`](crate::Memory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The authority that signs.
    pub current: Authority,
    /// The one that signs after it, once it has been published for long enough.
    pub next: Option<Authority>,
    /// Authorities that no longer sign; leaves of theirs may still be served.
    /// Here so that a configuration that was deleted gets them back.
    pub retired: TrustBundle,
}

/// What is wrong with the Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MangledSecret {
    /// Something isn't there.
    #[error("the Secret has no key {0:?}")]
    Absent(&'static str),
    /// An authority in it can't be read.
    #[error("the Secret's keys {keys:?}: {error}")]
    Authority {
        /// Where it is.
        keys: [&'static str; 2],
        /// What is wrong with it.
        error: AuthorityError,
    },
    /// The two authorities are one.
    #[error("the Secret's current and next certificate authority are the same")]
    SameTwice,
}

impl Stored {
    /// The Secret's `data`.
    pub fn encode(&self) -> BTreeMap<String, Vec<u8>> {
        let Self { current, next, retired } = self;
        let mut data = BTreeMap::from([(RETIRED.to_owned(), retired.pem().into_bytes())]);
        for ([certificate, key], authority) in [(CURRENT, Some(current)), (NEXT, next.as_ref())] {
            if let Some(authority) = authority {
                data.insert(certificate.to_owned(), authority.certificate().pem().into_bytes());
                data.insert(key.to_owned(), authority.key_pem().as_bytes().to_vec());
            }
        }
        data
    }

    /// Reads the Secret's `data`.
    ///
    /// # Errors
    /// When an authority in it is missing, damaged, or only half there. Damaged
    /// certificates of retired ones are skipped.
    pub fn decode(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, MangledSecret> {
        let current = authority(data, CURRENT)?.ok_or(MangledSecret::Absent(CURRENT[0]))?;
        let next = authority(data, NEXT)?;
        if next.as_ref().is_some_and(|next| next.key_id() == current.key_id()) {
            return Err(MangledSecret::SameTwice);
        }
        let retired = data.get(RETIRED).map(|text| TrustBundle::read(text)).unwrap_or_default();
        Ok(Self { current, next, retired })
    }

    /// With a next authority, in place of any that is there.
    #[must_use]
    pub fn with_next(&self, next: Authority) -> Self {
        Self { next: Some(next), ..self.clone() }
    }

    /// With `next` in place of `current`, which retires. Unchanged where there is no next.
    #[must_use]
    pub fn promoted(&self, now: Timestamp, grace: SignedDuration) -> Self {
        let Some(next) = &self.next else { return self.clone() };
        let retired = self.retired.with(self.current.certificate()).without_expired(now, grace);
        Self { current: next.clone(), next: None, retired }
    }
}

/// The authority under these keys; none if neither is there.
fn authority(data: &BTreeMap<String, Vec<u8>>, keys: [&'static str; 2]) -> Result<Option<Authority>, MangledSecret> {
    let [certificate_key, key_key] = keys;
    match (data.get(certificate_key), data.get(key_key)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(MangledSecret::Absent(certificate_key)),
        (Some(_), None) => Err(MangledSecret::Absent(key_key)),
        (Some(certificate), Some(key)) => {
            Authority::from_pem(certificate, key).map(Some).map_err(|error| MangledSecret::Authority { keys, error })
        }
    }
}
