//! The webhook on a real API server, registered by its URL, with the rights of the chart and no others.
#![allow(missing_docs)]

mod asked;
mod backfill_requests;
mod by_hand;
mod certificates;
mod classes;
mod deletions;
mod messages;
mod missing_references;
mod mutation;
mod old_problems;
mod older_objects;
mod other_namespaces;
mod plugins;
mod racing;
mod registration;
mod streams;
mod templates;
mod world;
