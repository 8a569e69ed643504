//! The judgements: from a request and what was found out about its references to a [`Verdict`]. Nothing here awaits.

pub mod admit_backfill_request;
pub mod admit_deletion;
pub mod admit_stream;
pub mod admit_stream_class;
pub mod admit_template;
pub mod ratchet;
mod request;
mod verdict;

pub use request::{Operation, Request, User};
pub use verdict::Verdict;
