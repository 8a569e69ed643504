//! What may happen, and how often. Everything at once has too many orders; so each scenario is about something.

use crate::{state::Budget, user::Kinds};

pub struct Scenario {
    pub name: &'static str,
    /// Whether the stream is created suspended.
    pub suspended: bool,
    pub acts: &'static [Kinds],
    /// By how many events a watch may lag behind.
    pub lag: u8,
    /// For every run of the tests.
    pub budget: Budget,
    /// For `make model`.
    pub deep: Budget,
}

const NONE: Budget =
    Budget { acts: 0, crashes: 0, takeovers: 0, lost_answers: 0, impatience: 0, failures: 0, ends: 0, late_pods: 0 };

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "brake",
        suspended: false,
        acts: &[Kinds::Brake],
        lag: 3,
        budget: Budget { acts: 2, crashes: 1, ..NONE },
        deep: Budget { acts: 3, crashes: 1, late_pods: 1, ..NONE },
    },
    Scenario {
        name: "created suspended",
        suspended: true,
        acts: &[Kinds::Brake, Kinds::Requests],
        lag: 3,
        budget: Budget { acts: 2, crashes: 1, ..NONE },
        deep: Budget { acts: 3, crashes: 1, ..NONE },
    },
    Scenario {
        name: "requests",
        suspended: false,
        acts: &[Kinds::Requests],
        lag: 2,
        budget: Budget { acts: 2, ..NONE },
        deep: Budget { acts: 3, crashes: 1, ..NONE },
    },
    Scenario {
        name: "changes",
        suspended: false,
        acts: &[Kinds::Changes],
        lag: 3,
        budget: Budget { acts: 2, late_pods: 1, ..NONE },
        deep: Budget { acts: 2, crashes: 1, ends: 1, late_pods: 1, ..NONE },
    },
    Scenario {
        name: "failures",
        suspended: false,
        acts: &[Kinds::Brake, Kinds::Changes, Kinds::Requests],
        lag: 2,
        budget: Budget { acts: 1, failures: 1, crashes: 1, ..NONE },
        deep: Budget { acts: 2, failures: 2, crashes: 1, ..NONE },
    },
    Scenario {
        name: "lives",
        suspended: false,
        acts: &[Kinds::Lives],
        lag: 2,
        budget: Budget { acts: 2, ..NONE },
        deep: Budget { acts: 3, crashes: 1, late_pods: 1, ..NONE },
    },
    Scenario {
        name: "by hand",
        suspended: false,
        acts: &[Kinds::Jobs],
        lag: 3,
        budget: Budget { acts: 1, crashes: 1, late_pods: 1, ends: 1, ..NONE },
        deep: Budget { acts: 2, crashes: 2, late_pods: 1, ends: 1, ..NONE },
    },
    Scenario {
        name: "ill watches",
        suspended: false,
        acts: &[Kinds::Brake, Kinds::Requests],
        lag: 3,
        budget: Budget { acts: 1, impatience: 1, lost_answers: 1, ..NONE },
        deep: Budget { acts: 2, impatience: 2, lost_answers: 1, ..NONE },
    },
    Scenario {
        name: "two leaders",
        suspended: false,
        acts: &[Kinds::Brake, Kinds::Changes, Kinds::Requests],
        lag: 2,
        budget: Budget { acts: 1, takeovers: 1, ..NONE },
        deep: Budget { acts: 2, takeovers: 1, crashes: 1, ..NONE },
    },
];
