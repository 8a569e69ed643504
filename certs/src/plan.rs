//! What to make, write and serve now.
//!
//! The rules:
//! - The holder of the Lease writes; everyone else only signs for itself.
//! - A replica signs with `current`, and only if every registered bundle trusts
//!   it, or nothing is registered yet.
//! - While a leaf works, it changes to another authority only after this process
//!   saw that one in every bundle for long enough. Without a leaf that works
//!   nothing is lost by signing at once: so a lost Secret is mended in seconds.
//! - `next` never signs. It takes over after the writer saw it published for
//!   long enough; sooner only if `current` is of no use any more.
//! - A bundle only grows, until an authority in it has expired: so whoever read
//!   an older Secret or bundle signs what the newer bundle trusts, too.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::authority::{Authority, AuthorityError};
use crate::lifetimes::{Lifetimes, earlier, later};
use crate::serving_pair::Leaf;
use crate::stored::{MangledSecret, Stored};
use crate::trust_bundle::{KeyId, TrustBundle, trusted_by_all};

/// The pause after which to look whether what was done shows.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// The pause while others have to do something first, for who hears of no changes.
const WAITING: SignedDuration = SignedDuration::from_secs(5);

/// What there is.
///
/// What was read may be old: a watch lags. Two things must be true, though.
/// **Absence is confirmed** by a live read ([`Published::Missing`], `stored: None`),
/// and **every write carries the version that was read** (a create: that nothing
/// was there), so that a plan made of old reads fails and is made again.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The wall clock. It may jump.
    pub now: Timestamp,
    /// How long this process has been running, by a clock that never jumps
    /// (`Instant`); it may stand still while the machine sleeps.
    pub uptime: Duration,
    /// What the Secret holds; none if there is no Secret.
    pub stored: Option<Result<Stored, MangledSecret>>,
    /// One for each `caBundle` of each of our webhook configurations, and
    /// [`Published::Missing`] for each configuration that isn't there.
    pub published: Vec<Published>,
    /// What this replica serves now.
    pub served: Option<Leaf>,
    /// Whether this replica holds the Lease.
    pub is_writer: bool,
    /// What the last plan of this process said to remember.
    pub memory: Memory,
}

/// The bundle in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The configuration isn't there: nobody is called by it.
    Missing,
    /// A configuration has this bundle.
    Bundle {
        /// What can be read of it.
        trusted: TrustBundle,
        /// Whether it is written as we write it, with nothing damaged.
        exact: bool,
    },
}

impl Published {
    /// What a configuration's `caBundle` (after base64) says; none or empty is a bundle that trusts nobody.
    pub fn read(ca_bundle: Option<&[u8]>) -> Self {
        let text = ca_bundle.unwrap_or_default();
        let trusted = TrustBundle::read(text);
        let exact = trusted.pem().as_bytes() == text;
        Self::Bundle { trusted, exact }
    }

    /// Whom it trusts; none where there is no configuration.
    pub fn trusted(&self) -> Option<&TrustBundle> {
        match self {
            Self::Missing => None,
            Self::Bundle { trusted, .. } => Some(trusted),
        }
    }

    fn says(&self, wanted: &TrustBundle) -> bool {
        matches!(self, Self::Bundle { trusted, exact: true } if trusted == wanted)
    }
}

/// What a process remembers from one look to the next.
///
/// For how long an authority is published is measured here, by each process for
/// itself on a clock that doesn't jump, rather than by a time noted in the
/// Secret: a note compares the wall clocks of two machines, and minutes mean
/// nothing where those may be a day apart. A restarted process starts to count
/// anew, which costs some minutes of a roll that has months.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The authorities that every bundle trusts, and the uptime at which that was first seen.
    seen_since: BTreeMap<KeyId, Duration>,
    /// The authorities that were registered, or signed.
    known: TrustBundle,
}

impl Memory {
    fn after(observed: &Observed, lifetimes: &Lifetimes) -> Self {
        let bundles = || observed.published.iter().filter_map(Published::trusted);
        let seen_since = trusted_by_all(bundles())
            .into_iter()
            .map(|key| (key, observed.memory.seen_since.get(&key).copied().unwrap_or(observed.uptime)))
            .collect();
        let mut known = bundles().fold(observed.memory.known.clone(), |known, bundle| known.merged(bundle));
        if let Some(Ok(stored)) = &observed.stored {
            known = known.merged(&stored.retired).with(stored.current.certificate());
        }
        Self { seen_since, known: known.without_expired(observed.now, lifetimes.backdating) }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order; the first that fails ends the plan, and it is time to look again.
    pub actions: Vec<Action>,
    /// What each of our configurations shall carry, whether it does so already
    /// or not; none for whoever has nothing to write into them now.
    pub bundle: Option<TrustBundle>,
    /// When to look again at the latest, by the wall clock as it is now. What was
    /// written shows then, or something is due. Sooner, when a watch tells of a change.
    pub look_again: Timestamp,
    /// To be passed to the next look, whatever becomes of the actions.
    pub memory: Memory,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sign a leaf with the Secret's `current`, which is this one, and serve it.
    SignLeaf {
        /// Whose key signs.
        signer: KeyId,
    },
    /// Make each of our configurations carry this bundle; create those that are missing.
    PublishBundle(TrustBundle),
    /// Write the Secret.
    WriteSecret(SecretChange),
}

/// What becomes of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretChange {
    /// There is none: create it, with a new authority. If somebody else did, look again.
    CreateAuthority {
        /// What was registered before.
        retired: TrustBundle,
    },
    /// It can't be read: put a new authority in its place.
    ReplaceMangledSecret {
        /// What was registered before.
        retired: TrustBundle,
    },
    /// Its authority is over, or not yet valid, and there is no next: put a new one in its place.
    ReplaceUnusableAuthority {
        /// What was registered before.
        retired: TrustBundle,
    },
    /// Make the next authority.
    AddNext,
    /// Let the next authority sign from now on; the old one stays in the bundle until it expires.
    Promote {
        /// Which one.
        next: KeyId,
    },
}

impl SecretChange {
    /// For logs: a few words.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::CreateAuthority { .. } => "first authority",
            Self::ReplaceMangledSecret { .. } => "new authority in place of an unreadable Secret",
            Self::ReplaceUnusableAuthority { .. } => "new authority in place of one that isn't valid now",
            Self::AddNext => "next authority added",
            Self::Promote { .. } => "next authority signs from now on",
        }
    }

    /// What the Secret holds after it.
    ///
    /// # Errors
    /// When a new authority can't be made.
    pub fn apply(
        &self,
        stored: Option<&Stored>,
        now: Timestamp,
        lifetimes: &Lifetimes,
    ) -> Result<Stored, AuthorityError> {
        let anew = |retired: &TrustBundle| {
            let current = Authority::create(now, lifetimes)?;
            Ok(Stored { current, next: None, retired: retired.clone() })
        };
        match (self, stored) {
            (
                Self::CreateAuthority { retired }
                | Self::ReplaceMangledSecret { retired }
                | Self::ReplaceUnusableAuthority { retired },
                _,
            ) => anew(retired),
            (Self::AddNext, Some(stored)) => Ok(stored.with_next(Authority::create(now, lifetimes)?)),
            (Self::Promote { .. }, Some(stored)) => Ok(stored.promoted(now, lifetimes.backdating)),
            (Self::AddNext | Self::Promote { .. }, None) => {
                Err(AuthorityError::NotMade("there is no authority to come after".to_owned()))
            }
        }
    }
}

/// Decides what to do now.
pub fn plan(observed: &Observed, lifetimes: &Lifetimes) -> Plan {
    let memory = Memory::after(observed, lifetimes);
    let look = Look { observed, lifetimes, memory: &memory };
    let mut due = Due { now: observed.now, earliest: later(observed.now, lifetimes.longest_pause) };

    let sign = look.sign_leaf(&mut due);
    let bundle = look.bundle_to_publish(sign.is_some(), &mut due);
    let publish = bundle.as_ref().and_then(|bundle| look.publish(bundle));
    // Last, because after it there is something new to look at.
    let write = look.write_secret(&mut due);

    let actions: Vec<Action> = [sign, publish, write].into_iter().flatten().collect();
    if !actions.is_empty() {
        due.after(SOON);
    }
    Plan { actions, bundle, look_again: due.earliest, memory }
}

/// When something is due next.
struct Due {
    now: Timestamp,
    earliest: Timestamp,
}

impl Due {
    /// At this time, if it is to come: what is due already and isn't done waits for something else.
    fn at(&mut self, moment: Timestamp) {
        if moment > self.now {
            self.earliest = self.earliest.min(moment);
        }
    }

    fn after(&mut self, pause: SignedDuration) {
        self.at(later(self.now, pause));
    }
}

struct Look<'a> {
    observed: &'a Observed,
    lifetimes: &'a Lifetimes,
    memory: &'a Memory,
}

impl Look<'_> {
    fn sign_leaf(&self, due: &mut Due) -> Option<Action> {
        let Some(Ok(stored)) = &self.observed.stored else {
            due.after(WAITING);
            return None;
        };
        let current = &stored.current;
        let signer = current.key_id();
        if !current.validity().contains(self.observed.now) || !self.trusted(signer) {
            due.after(WAITING);
            return None;
        }
        let sign = Some(Action::SignLeaf { signer });
        let Some(served) = self.observed.served.filter(|served| self.works(served)) else { return sign };
        due.at(later(served.validity.not_after, SignedDuration::from_secs(1)));

        if served.signer != Some(signer) {
            // A leaf of the next authority: this process has seen it take over, so what is read here is older.
            let is_newer = stored.next.as_ref().is_some_and(|next| served.signer == Some(next.key_id()));
            let waits = self.until_published_for_long_enough(signer);
            due.after(waits.unwrap_or(WAITING));
            return sign.filter(|_| !is_newer && (waits.is_none() || self.nothing_is_registered()));
        }
        let renewal = earlier(served.validity.not_after, self.lifetimes.leaf_renewal);
        due.at(renewal);
        let would_end = self.lifetimes.leaf_validity(self.observed.now, current.validity()).not_after;
        // At the end of the authority a new leaf would end with it, like the old one.
        sign.filter(|_| self.observed.now >= renewal && would_end > served.validity.not_after)
    }

    fn bundle_to_publish(&self, signs_now: bool, due: &mut Due) -> Option<TrustBundle> {
        if !self.observed.is_writer {
            return None;
        }
        let wanted = self.wanted_bundle();
        for certificate in wanted.certificates() {
            // A second later: it is in the bundle in its last one, too.
            let dropped = later(certificate.validity().not_after, self.lifetimes.backdating);
            due.at(later(dropped, SignedDuration::from_secs(1)));
        }
        let serves = self.observed.served.is_some() || signs_now;
        // The first registration makes calls begin: only who can answer them registers.
        if wanted.is_empty() || (self.nothing_is_registered() && !serves) {
            return None;
        }
        Some(wanted)
    }

    fn publish(&self, wanted: &TrustBundle) -> Option<Action> {
        let differs = !self.observed.published.iter().all(|published| published.says(wanted));
        differs.then(|| Action::PublishBundle(wanted.clone()))
    }

    /// Every unexpired authority that is or was registered, and those that sign or will.
    fn wanted_bundle(&self) -> TrustBundle {
        let Some(Ok(Stored { next: Some(next), .. })) = &self.observed.stored else {
            return self.memory.known.clone();
        };
        self.memory.known.with(next.certificate()).without_expired(self.observed.now, self.lifetimes.backdating)
    }

    fn write_secret(&self, due: &mut Due) -> Option<Action> {
        if !self.observed.is_writer {
            return None;
        }
        let retired = || self.memory.known.clone();
        let change = match &self.observed.stored {
            None => Some(SecretChange::CreateAuthority { retired: retired() }),
            Some(Err(_)) => Some(SecretChange::ReplaceMangledSecret { retired: retired() }),
            Some(Ok(stored)) => self.roll(stored, due),
        };
        change.map(Action::WriteSecret)
    }

    fn roll(&self, stored: &Stored, due: &mut Due) -> Option<SecretChange> {
        let now = self.observed.now;
        let current = stored.current.validity();
        let next = stored.next.as_ref().filter(|next| next.validity().contains(now));
        let Some(next) = next else {
            if !current.contains(now) {
                return Some(SecretChange::ReplaceUnusableAuthority { retired: self.memory.known.clone() });
            }
            let succession = earlier(current.not_after, self.lifetimes.succession);
            due.at(succession);
            // A next that is of no use is replaced, too.
            return (now >= succession || stored.next.is_some()).then_some(SecretChange::AddNext);
        };
        let promote = Some(SecretChange::Promote { next: next.key_id() });
        if !current.contains(now) {
            return promote;
        }
        let Some(waits) = self.until_published_for_long_enough(next.key_id()) else { return promote };
        due.after(waits);
        None
    }

    /// Whether every configuration that is there trusts this signer.
    fn trusted(&self, signer: KeyId) -> bool {
        self.nothing_is_registered() || self.memory.seen_since.contains_key(&signer)
    }

    fn nothing_is_registered(&self) -> bool {
        self.observed.published.iter().all(|published| *published == Published::Missing)
    }

    /// Whether a leaf is accepted by its callers.
    fn works(&self, leaf: &Leaf) -> bool {
        leaf.validity.contains(self.observed.now) && leaf.signer.is_some_and(|signer| self.trusted(signer))
    }

    /// None: it has been published for that long.
    fn until_published_for_long_enough(&self, signer: KeyId) -> Option<SignedDuration> {
        let needed = self.lifetimes.published_before_signing;
        let Some(since) = self.memory.seen_since.get(&signer) else { return Some(needed) };
        let seen_for = self.observed.uptime.saturating_sub(*since);
        let seen_for = SignedDuration::try_from(seen_for).unwrap_or(SignedDuration::MAX);
        (seen_for < needed).then(|| needed.saturating_sub(seen_for))
    }
}
