//! What we count, for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arcane_process::metrics_page;
use axum::Router;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::admission::{Request, Verdict};

/// Upper ends of the classes of durations. Most answers come from caches; the API server waits for five seconds.
const DURATION_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.005, 0.02, 0.05, 0.25, 1.0, 2.5, 5.0];

/// Everything that is counted. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    reviews: Family<Review, Counter>,
    review_duration: Family<Webhook, Histogram, fn() -> Histogram>,
    warnings: Family<Webhook, Counter>,
    writer: Gauge,
    certificate_expiry: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Review {
    webhook: &'static str,
    kind: String,
    operation: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Webhook {
    webhook: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = metrics_page::registry();
        let reviews = Family::default();
        registry.register(
            "admission_reviews",
            "Answers to the API server, by webhook, kind, operation and answer (allowed, denied, failed)",
            reviews.clone(),
        );
        let new_histogram: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let review_duration = Family::new_with_constructor(new_histogram);
        registry.register_with_unit(
            "admission_review_duration",
            "How long an answer takes, by webhook",
            Unit::Seconds,
            review_duration.clone(),
        );
        let warnings = Family::default();
        registry.register("admission_warnings", "Warnings in answers, by webhook", warnings.clone());
        let writer = Gauge::default();
        registry.register("writer", "1 while this replica writes certificates and registration", writer.clone());
        let certificate_expiry = Gauge::default();
        registry.register(
            "serving_certificate_expiry_timestamp_seconds",
            "When the served certificate ends, in seconds since 1970; 0 while there is none",
            certificate_expiry.clone(),
        );
        let shared = Shared { registry, reviews, review_duration, warnings, writer, certificate_expiry };
        Self { shared: Arc::new(shared) }
    }

    /// Counts an answer; without a verdict it is a failure. `kind` must be one of few: each is counted apart.
    pub fn answered(
        &self,
        webhook: &'static str,
        kind: &str,
        request: Option<&Request>,
        verdict: Option<&Verdict>,
        took: Duration,
    ) {
        let answer = match verdict {
            Some(verdict) if verdict.is_allowed() => "allowed",
            Some(_) => "denied",
            None => "failed",
        };
        let kind = kind.to_owned();
        let operation = request.map_or("", |request| request.operation.as_str());
        self.shared.reviews.get_or_create(&Review { webhook, kind, operation, answer }).inc();
        self.shared.review_duration.get_or_create(&Webhook { webhook }).observe(took.as_secs_f64());
        let warnings = verdict.map_or(0, |verdict| verdict.warnings.len());
        self.shared.warnings.get_or_create(&Webhook { webhook }).inc_by(u64::try_from(warnings).unwrap_or(u64::MAX));
    }

    /// Notes whether this replica writes.
    pub fn writes(&self, writes: bool) {
        self.shared.writer.set(i64::from(writes));
    }

    /// Notes when the served certificate ends.
    pub fn certificate_ends(&self, at: Timestamp) {
        self.shared.certificate_expiry.set(at.as_second());
    }

    /// All of it, as OpenMetrics text.
    ///
    /// # Errors
    /// None is known; the format's encoder reserves them.
    pub fn text(&self) -> Result<String, fmt::Error> {
        metrics_page::written(&self.shared.registry)
    }

    /// `/metrics`.
    pub fn router(self) -> Router {
        metrics_page::router(move || self.text())
    }
}
