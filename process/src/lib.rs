//! What the processes of Arcane have in common, whatever each of them does: they log, tell whether they are ready,
//! show what they count, take part in an election, and end when they are told to.

pub mod cluster;
pub mod ending;
pub mod health;
pub mod leadership;
pub mod logging;
pub mod metrics_page;
pub mod namespaces;
pub mod pages;
