//! Contract §5, row by row, through the Router.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod backfill_requests;
mod classes;
mod corpus;
mod deletions;
mod edits;
mod hard;
mod messages;
mod mutation;
mod recorded;
mod streams;
mod templates;
mod wire;
mod world;
