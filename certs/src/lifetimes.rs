//! How long everything lives, as data.

use jiff::{SignedDuration, Timestamp};

/// How long certificates live and when their successors are due.
///
/// Clocks may be wrong. The defaults hold as long as no clock, a replica's or
/// the API server's, is more than a day off, so that any two differ by less
/// than two days:
/// - what is signed by a clock two days ahead of the verifier's is already
///   valid there, because it is backdated by more than that (authority and leaf alike);
/// - a leaf watched by a clock two days behind the verifier's is renewed before
///   it ends there, because its renewal is due more than two days before its end.
///
/// No clock decides how long an authority has been published: see [`Memory`](crate::Memory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long an authority is valid.
    pub authority: SignedDuration,
    /// How long before its end the next authority is made.
    pub succession: SignedDuration,
    /// How long a process must have seen an authority in every published bundle
    /// before the authority signs (or takes over).
    pub published_before_signing: SignedDuration,
    /// How long a leaf is valid, unless its authority ends earlier.
    pub leaf: SignedDuration,
    /// How long before its end a leaf is replaced.
    pub leaf_renewal: SignedDuration,
    /// How much earlier than now a certificate's validity begins, and how long
    /// an expired authority stays in the bundle: more than two clocks may differ.
    pub backdating: SignedDuration,
    /// The longest pause between two looks: clocks jump, and timers sleep through it.
    pub longest_pause: SignedDuration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self::of(SignedDuration::from_hours(365 * 24), SignedDuration::from_hours(7 * 24))
    }
}

impl Lifetimes {
    /// With authorities and leaves that live so long. The rest follows; what must
    /// be done before the end of something shorter-lived than usual is done in a part of its life.
    pub fn of(authority: SignedDuration, leaf: SignedDuration) -> Self {
        // Each is followed at two thirds of its life.
        let succession = authority / 3;
        Self {
            authority,
            succession,
            // Twice what is promised: the API servers need a while to learn of it, too.
            published_before_signing: SignedDuration::from_mins(10).min(succession / 4),
            leaf,
            leaf_renewal: leaf / 3,
            backdating: SignedDuration::from_hours(49),
            longest_pause: SignedDuration::from_hours(1),
        }
    }

    /// What is wrong with these lifetimes, if they can't work: with them something would always be due.
    pub fn problem(&self) -> Option<&'static str> {
        let zero = SignedDuration::ZERO;
        let lengths = [
            (self.succession, "the next authority must be made before the old one ends"),
            (self.published_before_signing, "an authority must be published for some time before it signs"),
            (self.leaf_renewal, "a leaf must be renewed before it ends"),
            (self.longest_pause, "the pause between two looks must be longer than nothing"),
        ];
        if let Some((_, problem)) = lengths.into_iter().find(|(length, _)| *length <= zero) {
            return Some(problem);
        }
        if self.backdating < zero {
            return Some("certificates can't be valid from later than now");
        }
        if self.leaf_renewal >= self.leaf {
            return Some("a leaf must live longer than the time before its end at which it is renewed");
        }
        if self.succession >= self.authority {
            return Some("an authority must live longer than the time before its end at which the next is made");
        }
        (self.published_before_signing >= self.succession)
            .then_some("the next authority must be published for long enough before the old one ends")
    }

    /// From when until when an authority made now is valid.
    pub fn authority_validity(&self, now: Timestamp) -> Validity {
        Validity { not_before: earlier(now, self.backdating), not_after: later(now, self.authority) }
    }

    /// From when until when a leaf signed now is valid: never longer than its authority.
    pub fn leaf_validity(&self, now: Timestamp, authority: Validity) -> Validity {
        Validity {
            not_before: earlier(now, self.backdating),
            not_after: later(now, self.leaf).min(authority.not_after),
        }
    }
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Validity {
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether it is valid at this moment.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.not_before <= moment && moment <= self.not_after
    }
}

pub(crate) fn later(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

pub(crate) fn earlier(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_the_contract_and_bear_clocks_two_days_apart() {
        let lifetimes = Lifetimes::default();
        let two_days = SignedDuration::from_hours(48);
        assert_eq!(lifetimes.problem(), None);
        assert!(lifetimes.backdating > two_days);
        assert!(lifetimes.leaf_renewal > two_days);
        assert!(lifetimes.published_before_signing >= SignedDuration::from_mins(5));
        assert_eq!(lifetimes.leaf, SignedDuration::from_hours(168));
    }

    #[test]
    fn lifetimes_that_cannot_work_are_told() {
        let lifetimes = Lifetimes::default();
        let wrong = [
            Lifetimes { leaf_renewal: lifetimes.leaf, ..lifetimes.clone() },
            Lifetimes { succession: lifetimes.authority, ..lifetimes.clone() },
            Lifetimes { published_before_signing: lifetimes.succession, ..lifetimes.clone() },
            Lifetimes { published_before_signing: SignedDuration::ZERO, ..lifetimes.clone() },
            Lifetimes { longest_pause: SignedDuration::ZERO, ..lifetimes.clone() },
            Lifetimes { backdating: SignedDuration::from_secs(-1), ..lifetimes },
        ];
        assert_eq!(wrong.iter().filter(|wrong| wrong.problem().is_none()).count(), 0);
    }

    #[test]
    fn a_leaf_ends_with_its_authority_at_the_latest() {
        let lifetimes = Lifetimes::default();
        let authority = lifetimes.authority_validity(Timestamp::UNIX_EPOCH);
        let near_the_end = earlier(authority.not_after, SignedDuration::from_hours(1));
        assert_eq!(lifetimes.leaf_validity(near_the_end, authority).not_after, authority.not_after);
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let lifetimes = Lifetimes::default();
        for moment in [Timestamp::MIN, Timestamp::MAX] {
            let authority = lifetimes.authority_validity(moment);
            assert!(authority.contains(moment));
            assert!(lifetimes.leaf_validity(moment, authority).contains(moment));
        }
    }
}
