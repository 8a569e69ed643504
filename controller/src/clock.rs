//! What time it is. Decisions get the time as an argument; who gathers for
//! them reads it here, so that a test can say what it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Tells the time. Cheap to clone: all clones tell the same.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock for tests, that stands still until its [`Hands`] are moved.
    pub fn stopped_at(time: Timestamp) -> (Self, Hands) {
        let time = Arc::new(Mutex::new(time));
        let clock = Self { source: Source::Set(Arc::clone(&time)) };
        (clock, Hands { time })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => Timestamp::now(),
            Source::Set(time) => *lock(time),
        }
    }
}

/// Moves a clock made by [`Clock::stopped_at`].
#[derive(Clone, Debug)]
pub struct Hands {
    time: Arc<Mutex<Timestamp>>,
}

impl Hands {
    /// Sets the clock, forwards or back.
    pub fn set(&self, time: Timestamp) {
        *lock(&self.time) = time;
    }

    /// Moves the clock by this much; at the end of time it stops.
    pub fn advance(&self, by: SignedDuration) {
        let mut time = lock(&self.time);
        *time = time.saturating_add(by).unwrap_or(*time);
    }
}

fn lock(time: &Mutex<Timestamp>) -> MutexGuard<'_, Timestamp> {
    time.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_moves_only_by_its_hands() {
        let (clock, hands) = Clock::stopped_at(Timestamp::UNIX_EPOCH);
        let clone = clock.clone();
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        hands.advance(SignedDuration::from_secs(90));
        assert_eq!(clone.now().as_second(), 90);
        hands.set(Timestamp::MAX);
        hands.advance(SignedDuration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn the_system_clock_goes_on() {
        let clock = Clock::system();
        let before = Timestamp::now();
        assert!(clock.now() >= before);
    }
}
