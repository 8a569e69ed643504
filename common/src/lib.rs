//! The domain of Arcane: kinds, rules and decisions.
//!
//! Nothing in this crate awaits, reads a clock or talks to a network. What it
//! decides, it decides about plain data that its callers have gathered.

pub mod api;
pub mod defaulting;
pub mod field_path;
pub mod identity;
pub mod references;
pub mod stream;
pub mod template;
pub mod validation;
