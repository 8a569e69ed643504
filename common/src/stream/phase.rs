//! The phases of a stream.

use std::fmt;

/// Where a stream is in its life (`status.phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for something before its Job can start.
    Pending,
    /// Its streaming Job is in place.
    Running,
    /// A backfill Job is in place.
    Backfilling,
    /// Its CronJob is in place.
    Scheduled,
    /// Its user has paused it.
    Suspended,
    /// Its Job failed past its back-off limit.
    Failed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Backfilling, Self::Scheduled, Self::Suspended, Self::Failed];

    /// The word in `status.phase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Backfilling => "Backfilling",
            Self::Scheduled => "Scheduled",
            Self::Suspended => "Suspended",
            Self::Failed => "Failed",
        }
    }

    /// The upper-case word that the CRDs of older plugins know.
    pub fn as_old_word(self) -> &'static str {
        match self {
            Self::Pending => "RESTARTING",
            Self::Running | Self::Scheduled => "RUNNING",
            Self::Backfilling => "RELOADING",
            Self::Suspended => "SUSPENDED",
            Self::Failed => "FAILED",
        }
    }

    /// The phase that a recorded word means, new or old; `None` for an unknown one.
    pub fn from_recorded(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word || phase.as_old_word() == word)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Phase;

    #[test]
    fn each_word_is_read_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_recorded(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::from_recorded("RELOADING"), Some(Phase::Backfilling));
        assert_eq!(Phase::from_recorded("RUNNING"), Some(Phase::Running));
        assert_eq!(Phase::from_recorded(""), None);
    }
}
