//! What to do about the Lease, decided from what was seen of it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// What matters of a Lease. Two equal ones mean that nobody wrote between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// Who holds it; nobody, if it was released.
    pub holder: Option<String>,
    /// How long its holder may rely on it after a renewal, as the holder says.
    pub duration: Option<Duration>,
    /// When the holder renewed it by the holder's clock: compared with itself only.
    pub renew_time: Option<Timestamp>,
    /// The version that a write names, and that loses if it is no longer the newest.
    pub resource_version: Option<String>,
}

/// A Lease as we last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The Lease.
    pub facts: LeaseFacts,
    /// Since when we have seen it just so, by our own clock: the end of the first read.
    pub since: Instant,
}

/// Who wants to lead.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Our name in the Lease.
    pub identity: &'a str,
    /// Whether a write of this process may have reached the Lease. Until then,
    /// one with our name is a predecessor's, who may still be at work.
    pub has_written: bool,
    /// How long to wait for a holder that doesn't say.
    pub duration: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeasePlan {
    /// There is none: make it, with us as its holder.
    Create,
    /// Nobody holds it, or its holder was silent for all its time: we hold it now.
    TakeOver,
    /// We hold it: say that we are still here.
    Renew,
    /// Somebody holds it.
    Wait {
        /// Who.
        holder: String,
        /// When we may take it over, should nothing change.
        until: Instant,
    },
}

/// Decides what to do about the Lease. It compares no two machines' clocks:
/// a holder has lost the lease when *we* have watched it being silent for its
/// whole duration.
pub fn plan(observed: Option<&Observed>, me: Candidate<'_>, now: Instant) -> LeasePlan {
    let Some(Observed { facts, since }) = observed else { return LeasePlan::Create };
    let Some(holder) = &facts.holder else { return LeasePlan::TakeOver };
    if holder == me.identity && me.has_written {
        return LeasePlan::Renew;
    }
    let until = *since + facts.duration.unwrap_or(me.duration);
    if now >= until {
        return LeasePlan::TakeOver;
    }
    LeasePlan::Wait { holder: holder.clone(), until }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const OURS: Duration = Duration::from_secs(15);
    const THEIRS: Duration = Duration::from_secs(40);

    /// The rules again, as a table: the first row that fits counts.
    fn expected(holder: Option<&str>, has_written: bool, silent: Duration, duration: Option<Duration>) -> &'static str {
        let over = match duration {
            Some(theirs) => silent >= theirs,
            None => silent >= OURS,
        };
        match (holder, has_written, over) {
            (None, _, _) => "take over",
            (Some("me"), true, _) => "renew",
            (Some(_), _, true) => "take over",
            (Some(_), _, false) => "wait",
        }
    }

    #[test]
    fn every_case_is_as_the_table_says() {
        let since = Instant::now();
        // A clock that is years off, either way, must change nothing.
        let renew_times = [None, Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX)];
        let silences = [0, 14_999, 15_000, 39_999, 40_000, 1_000_000].map(Duration::from_millis);
        let mut cases = 0;
        for holder in [None, Some("me"), Some("other")] {
            for has_written in [false, true] {
                for silent in silences {
                    for duration in [None, Some(THEIRS)] {
                        for renew_time in renew_times {
                            let observed = Observed {
                                facts: LeaseFacts {
                                    holder: holder.map(str::to_owned),
                                    duration,
                                    renew_time,
                                    resource_version: Some("7".to_owned()),
                                },
                                since,
                            };
                            let me = Candidate { identity: "me", has_written, duration: OURS };
                            let plan = plan(Some(&observed), me, since + silent);
                            let said = match &plan {
                                LeasePlan::Create => "create",
                                LeasePlan::TakeOver => "take over",
                                LeasePlan::Renew => "renew",
                                LeasePlan::Wait { holder: named, until } => {
                                    assert_eq!(Some(named.as_str()), holder);
                                    assert_eq!(*until, since + duration.unwrap_or(OURS));
                                    "wait"
                                }
                            };
                            let wanted = expected(holder, has_written, silent, duration);
                            assert_eq!(said, wanted, "{observed:?} {has_written} {silent:?}");
                            cases += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(cases, 3 * 2 * 6 * 2 * 3);
    }

    #[test]
    fn a_missing_lease_is_created() {
        for has_written in [false, true] {
            let me = Candidate { identity: "me", has_written, duration: OURS };
            assert_eq!(plan(None, me, Instant::now()), LeasePlan::Create);
        }
    }
}
