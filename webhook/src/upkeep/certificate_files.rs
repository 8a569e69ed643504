//! A certificate that somebody else makes, in files: cert-manager's, or that of a Secret which a person keeps.

use std::path::Path;
use std::time::Duration;

use arcane_certs::{Published, ServingPair, TrustBundle};
use jiff::{SignedDuration, Timestamp};

use super::Trouble;
use crate::registration::Trust;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// How long the API server must have had the authority of a new certificate before it is served: every API server of the
/// cluster has to hear of it.
const PUBLISHED_BEFORE_SERVING: Duration = Duration::from_secs(10);

/// What the files said when they were last read.
#[derive(Default)]
pub(super) struct CertificateFiles {
    read: Option<Contents>,
    taken: bool,
    /// The uptime at which every bundle was first seen to have the authority of what was read.
    published_since: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl std::fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateFiles").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// The certificate, if it isn't the one that was taken last.
    pub(super) fn changed(&mut self, directory: &Path) -> Result<Option<ServingPair>, Trouble> {
        let read = |file: &str| {
            let path = directory.join(file);
            std::fs::read(&path).map_err(|source| Trouble::File { file: path.display().to_string(), source })
        };
        let authority = match read(AUTHORITY) {
            Ok(text) => Some(text),
            Err(Trouble::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(trouble) => return Err(trouble),
        };
        let contents = Contents { certificate: read(CERTIFICATE)?, key: read(KEY)?, authority };
        let is_known = self
            .read
            .as_ref()
            .is_some_and(|before| before.certificate == contents.certificate && before.key == contents.key);
        if !is_known {
            self.taken = false;
        }
        if self.read.as_ref().is_none_or(|before| before.authority != contents.authority) {
            self.published_since = None;
        }
        let contents = self.read.insert(contents);
        if self.taken {
            return Ok(None);
        }
        Ok(Some(ServingPair::from_pem(&contents.certificate, &contents.key)?))
    }

    /// Whether the API server accepts what was read: it must have had the authority for a while, unless it calls nobody
    /// yet, or somebody else gives it the bundle.
    pub(super) fn are_trusted(&mut self, published: &[Published], uptime: Duration) -> bool {
        let authority = self.authority();
        let bundles = || published.iter().filter_map(Published::trusted);
        if authority.is_empty() || bundles().next().is_none() {
            return true;
        }
        let is_published = bundles().all(|bundle| bundle.merged(&authority) == *bundle);
        self.published_since = is_published.then(|| self.published_since.unwrap_or(uptime));
        self.published_since.is_some_and(|since| uptime.saturating_sub(since) >= PUBLISHED_BEFORE_SERVING)
    }

    /// The authority in the files; an empty bundle where there is none.
    pub(super) fn authority(&self) -> TrustBundle {
        let text = self.read.as_ref().and_then(|contents| contents.authority.as_deref());
        TrustBundle::read(text.unwrap_or_default())
    }

    /// The certificate that was read is served.
    pub(super) fn taken(&mut self) {
        self.taken = true;
    }

    /// Whom the API server shall trust: the authority in the files, beside those that were registered and aren't over.
    /// Replicas see new files at different times, so the old authority has to stay for a while.
    pub(super) fn trust(&self, published: &[Published], now: Timestamp) -> Trust {
        let authority = self.authority();
        if authority.is_empty() {
            return Trust::AsItIs;
        }
        let published = published.iter().filter_map(Published::trusted);
        let all = published.fold(authority, |all, bundle| all.merged(bundle));
        let all = all.without_expired(now, SignedDuration::ZERO);
        // The API server would store nothing of an empty one, and be given it again and again.
        if all.is_empty() { Trust::NotYet } else { Trust::Bundle(all) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arcane_certs::{Authority, Lifetimes};

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
        now: Timestamp,
    }

    impl Files {
        fn write(&self, authority: &Authority, with_authority: bool) {
            let names = ["arcane-operator-webhook.arcane.svc".to_owned()];
            let pair = authority.sign(&names, self.now, &Lifetimes::default()).unwrap();
            let at = |file: &str| self.directory.path().join(file);
            std::fs::write(at(CERTIFICATE), pair.chain_pem()).unwrap();
            std::fs::write(at(KEY), pair.key_pem()).unwrap();
            if with_authority {
                std::fs::write(at(AUTHORITY), authority.certificate().pem()).unwrap();
            }
        }
    }

    fn an_authority(now: Timestamp) -> Authority {
        Authority::create(now, &Lifetimes::default()).unwrap()
    }

    #[test]
    fn files_are_taken_once_and_again_when_they_change() {
        let now = Timestamp::UNIX_EPOCH;
        let files = Files { directory: tempfile::tempdir().unwrap(), now };
        let mut read = CertificateFiles::default();
        let missing = read.changed(files.directory.path()).unwrap_err().to_string();
        assert!(missing.contains("tls.crt"), "{missing}");

        let (old, new) = (an_authority(now), an_authority(now));
        files.write(&old, true);
        assert!(read.changed(files.directory.path()).unwrap().is_some());
        assert!(read.changed(files.directory.path()).unwrap().is_some(), "it isn't served yet");
        read.taken();
        assert!(read.changed(files.directory.path()).unwrap().is_none());
        let Trust::Bundle(bundle) = read.trust(&[Published::Missing], now) else { panic!() };
        assert!(bundle.trusts(old.key_id()));

        files.write(&new, true);
        assert_eq!(read.changed(files.directory.path()).unwrap().unwrap().leaf().signer, Some(new.key_id()));
        let before = Published::Bundle { trusted: bundle, exact: true };
        let Trust::Bundle(both) = read.trust(std::slice::from_ref(&before), now) else { panic!() };
        assert!(both.trusts(old.key_id()) && both.trusts(new.key_id()), "a replica may still serve the old one");

        let [before, after] = [[before], [Published::Bundle { trusted: both, exact: true }]];
        let mut is_trusted =
            |published: &[Published], seconds| read.are_trusted(published, Duration::from_secs(seconds));
        assert!(is_trusted(&[Published::Missing], 1), "nobody is called yet");
        assert!(!is_trusted(&before, 2) && !is_trusted(&after, 3) && !is_trusted(&after, 12));
        assert!(is_trusted(&after, 13));
        assert!(!is_trusted(&before, 14) && !is_trusted(&after, 15), "it counts anew");
    }

    #[test]
    fn without_an_authority_the_bundle_is_somebody_elses() {
        let now = Timestamp::UNIX_EPOCH;
        let files = Files { directory: tempfile::tempdir().unwrap(), now };
        files.write(&an_authority(now), false);
        let mut read = CertificateFiles::default();
        read.changed(files.directory.path()).unwrap();
        assert_eq!(read.trust(&[Published::Missing], now), Trust::AsItIs);
    }

    #[test]
    fn an_authority_that_is_over_is_published_to_nobody() {
        let now = Timestamp::UNIX_EPOCH;
        let files = Files { directory: tempfile::tempdir().unwrap(), now };
        files.write(&an_authority(now), true);
        let mut read = CertificateFiles::default();
        read.changed(files.directory.path()).unwrap();
        let years_later = now + SignedDuration::from_hours(3 * 365 * 24);
        assert_eq!(read.trust(&[Published::Missing], years_later), Trust::NotYet);
    }

    #[test]
    fn a_key_that_is_another_ones_is_told_without_showing_it() {
        let now = Timestamp::UNIX_EPOCH;
        let files = Files { directory: tempfile::tempdir().unwrap(), now };
        files.write(&an_authority(now), true);
        let key = std::fs::read(files.directory.path().join(KEY)).unwrap();
        files.write(&an_authority(now), true);
        std::fs::write(files.directory.path().join(KEY), &key).unwrap();
        let mut read = CertificateFiles::default();
        let said = format!("{:?}", read.changed(files.directory.path()).unwrap_err());
        let secret = String::from_utf8(key).unwrap();
        assert!(said.contains("KeyOfAnother") && !said.contains(secret.lines().nth(1).unwrap()), "{said}");
    }
}
