//! Judges streams, templates, classes and backfill requests when they are applied, and fills in what they leave open.
//!
//! `review` reads an AdmissionReview, `gather` finds out what the object refers to, `admission` judges (pure), and
//! `review` writes the answer. [`router`] is all of it without a port.

pub mod admission;
pub mod args;
mod gather;
pub mod metrics;
pub mod owner;
pub mod reference_caches;
pub mod reference_gatherer;
pub mod registration;
mod review;
mod routes;
pub mod run;
pub mod serving;
pub mod upkeep;

use std::sync::Arc;

use arcane_common::api::MissingReferences;
use axum::Router;

use admission::{Request, Verdict};
use metrics::Metrics;
use reference_gatherer::{CannotAsk, ReferenceGatherer};

/// What every request needs.
#[derive(Debug)]
pub struct Webhook {
    /// Where references are looked up.
    pub references: ReferenceGatherer,
    /// What is done about missing references where neither class nor namespace says it.
    pub missing_references: MissingReferences,
    /// Figures for machines.
    pub metrics: Metrics,
}

/// The webhook's HTTP interface: `POST /mutate` and `POST /validate`.
pub fn router(webhook: Arc<Webhook>) -> Router {
    routes::router(webhook)
}

/// What the webhook says to a request, without the wire: `POST /validate` is this and the form of a review. For who judges
/// objects that nobody has applied yet.
///
/// # Errors
/// When the API server doesn't tell what has to be known.
pub async fn judge(webhook: &Webhook, request: &Request) -> Result<Verdict, CannotAsk> {
    routes::judge(webhook, request).await
}
