//! The bench: what an operator costs and how fast it is, on a real control plane with simulated pods, beside a bare loop that
//! makes the same writes. Everything of one machine, in one run; figures of two runs are compared by the ratio of each to its
//! own bare loop.
//!
//! ```text
//!   User (16 at a time) --> API server <-- operator (any command) or BareLoop
//!                             |   ^
//!     Observer: when? <-------+   +-- Job controller, garbage collector, SimulatedKubelet
//!     audit log: how many? /proc: how much?
//! ```

pub mod admission;
pub mod bare;
pub mod by_itself;
pub mod course;
pub mod figures;
pub mod goals;
pub mod no_op_webhook;
pub mod observer;
pub mod operator;
pub mod place;
pub mod plot;
pub mod processes;
pub mod report;
pub mod requests;
pub mod run;

pub use figures::Run;
pub use run::{Bare, RunOptions, run};

/// Why a run could not be made.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Tells whoever waits, on stderr, with the time.
pub fn say(line: &str) {
    let now = jiff::Zoned::now();
    eprintln!("{:02}:{:02}:{:02} {line}", now.hour(), now.minute(), now.second());
}
