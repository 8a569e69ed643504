//! What we count, for Prometheus.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arcane_common::stream::Phase;
use arcane_process::metrics_page;
use axum::Router;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::caches::Alike;

/// Upper ends of the classes of durations. Most reconciles only read caches;
/// those that write take as long as the API server.
const DURATION_BUCKETS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Well.
    Success,
    /// Another had written first; it is done again on the newer state.
    Conflict,
    /// With an error.
    Failure,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Conflict => "conflict",
            Self::Failure => "failure",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// A way to read a queue's length.
type Length = Box<dyn Fn() -> usize + Send + Sync>;
/// A way to count the streams.
type Numbers = Box<dyn Fn() -> BTreeMap<Alike, i64> + Send + Sync>;

/// What is asked whenever somebody looks, so that no change need be reported.
#[derive(Default)]
struct Asked {
    queues: Vec<(&'static str, Length)>,
    streams: Option<Numbers>,
}

/// Everything that is counted. Cheap to clone: all clones count together.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    reconcile_duration: Family<Kind, Histogram, fn() -> Histogram>,
    queue_length: Family<Queue, Gauge>,
    api_writes: Family<ApiWrite, Counter>,
    streams: Family<Streams, Gauge>,
    leader: Gauge,
    asked: Mutex<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiWrite {
    verb: &'static str,
    resource: String,
    outcome: Outcome,
}

/// The namespace isn't called so: by that label Prometheus knows where the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Streams {
    class: String,
    stream_namespace: String,
    phase: &'static str,
}

impl From<Alike> for Streams {
    fn from(alike: Alike) -> Self {
        Self {
            class: alike.class.unwrap_or_default(),
            stream_namespace: alike.namespace,
            phase: alike.phase.map_or("", Phase::as_str),
        }
    }
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
        let reconciles = Family::default();
        registry.register(
            "reconciles",
            "Objects brought to their wanted state, by kind and outcome",
            reconciles.clone(),
        );
        let new_histogram: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let reconcile_duration = Family::new_with_constructor(new_histogram);
        registry.register_with_unit(
            "reconcile_duration",
            "How long one reconcile takes, by kind",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        let queue_length = Family::default();
        registry.register("queue_length", "Objects that wait for a worker", queue_length.clone());
        let api_writes = Family::default();
        registry.register("api_writes", "Writes to the API server, by verb, resource and outcome", api_writes.clone());
        let streams = Family::default();
        registry.register(
            "streams",
            "Streams, by StreamClass (none: their label names one that isn't there), namespace and phase (none: not seen yet)",
            streams.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        Self {
            shared: Arc::new(Shared {
                registry,
                reconciles,
                reconcile_duration,
                queue_length,
                api_writes,
                streams,
                leader,
                asked: Mutex::default(),
            }),
        }
    }

    /// Counts a reconcile of an object of this kind.
    pub fn reconciled(&self, kind: &str, outcome: Outcome, took: Duration) {
        let kind = kind.to_owned();
        let seconds = took.as_secs_f64();
        self.shared.reconcile_duration.get_or_create(&Kind { kind: kind.clone() }).observe(seconds);
        self.shared.reconciles.get_or_create(&Reconcile { kind, outcome }).inc();
    }

    /// Counts a write to the API server: `create` of `jobs`, say.
    pub fn api_write(&self, verb: &'static str, resource: &str, outcome: Outcome) {
        let resource = resource.to_owned();
        self.shared.api_writes.get_or_create(&ApiWrite { verb, resource, outcome }).inc();
    }

    /// Notes whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.shared.leader.set(i64::from(leads));
    }

    /// Shows the length of a queue; it is read whenever somebody looks.
    pub fn show_queue(&self, name: &'static str, length: impl Fn() -> usize + Send + Sync + 'static) {
        self.asked().queues.push((name, Box::new(length)));
    }

    /// Shows numbers of streams; they are counted whenever somebody looks.
    pub fn show_streams(&self, numbers: impl Fn() -> BTreeMap<Alike, i64> + Send + Sync + 'static) {
        self.asked().streams = Some(Box::new(numbers));
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as OpenMetrics text.
    ///
    /// # Errors
    /// None is known; the format's encoder reserves them.
    pub fn text(&self) -> Result<String, fmt::Error> {
        // Held until all is written: two who look at the same time would clear each other's numbers.
        let asked = self.asked();
        for (queue, length) in &asked.queues {
            let length = i64::try_from(length()).unwrap_or(i64::MAX);
            self.shared.queue_length.get_or_create(&Queue { queue }).set(length);
        }
        if let Some(numbers) = &asked.streams {
            // What there were before and aren't any more has no number, not the one before.
            self.shared.streams.clear();
            for (alike, number) in numbers() {
                self.shared.streams.get_or_create(&alike.into()).set(number);
            }
        }
        metrics_page::written(&self.shared.registry)
    }

    /// `/metrics`.
    pub fn router(self) -> Router {
        metrics_page::router(move || self.text())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn everything_counted_is_shown_in_the_text_format() {
        let metrics = Metrics::new();
        metrics.reconciled("Orders", Outcome::Success, Duration::from_millis(3));
        metrics.reconciled("Orders", Outcome::Success, Duration::from_millis(300));
        metrics.clone().reconciled("Orders", Outcome::Failure, Duration::from_secs(60));
        metrics.api_write("create", "jobs", Outcome::Conflict);
        metrics.leads(true);
        let length = Arc::new(Mutex::new(3));
        metrics.show_queue("streams", {
            let length = Arc::clone(&length);
            move || *length.lock().unwrap()
        });
        *length.lock().unwrap() = 7;

        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = metrics.clone().router().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            "# TYPE arcane_reconciles counter",
            "arcane_reconciles_total{kind=\"Orders\",outcome=\"success\"} 2",
            "arcane_reconciles_total{kind=\"Orders\",outcome=\"failure\"} 1",
            "# UNIT arcane_reconcile_duration_seconds seconds",
            "arcane_reconcile_duration_seconds_bucket{le=\"0.005\",kind=\"Orders\"} 1",
            "arcane_reconcile_duration_seconds_bucket{le=\"+Inf\",kind=\"Orders\"} 3",
            "arcane_reconcile_duration_seconds_count{kind=\"Orders\"} 3",
            "arcane_queue_length{queue=\"streams\"} 7",
            "arcane_api_writes_total{verb=\"create\",resource=\"jobs\",outcome=\"conflict\"} 1",
            "arcane_leader 1",
            &format!("arcane_build_info{{version=\"{version}\"}} 1"),
        ] {
            assert!(text.lines().any(|other| other == line), "no line {line:?} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        metrics.leads(false);
        assert!(metrics.text().unwrap().contains("\narcane_leader 0\n"));
    }

    #[test]
    fn streams_are_counted_whenever_somebody_looks() {
        let metrics = Metrics::new();
        let alike = |class: Option<&str>, phase| Alike {
            class: class.map(ToOwned::to_owned),
            namespace: "ns".to_owned(),
            phase,
        };
        let now = Arc::new(Mutex::new(BTreeMap::from([
            (alike(Some("orders"), Some(Phase::Failed)), 2),
            (alike(None, None), 1),
        ])));
        metrics.show_streams({
            let now = Arc::clone(&now);
            move || now.lock().unwrap().clone()
        });
        let failed = "arcane_streams{class=\"orders\",stream_namespace=\"ns\",phase=\"Failed\"}";
        let text = metrics.text().unwrap();
        assert!(text.contains(&format!("{failed} 2\n")), "{text}");
        assert!(text.contains("arcane_streams{class=\"\",stream_namespace=\"ns\",phase=\"\"} 1\n"), "{text}");
        *now.lock().unwrap() = BTreeMap::from([(alike(Some("orders"), Some(Phase::Running)), 2)]);
        let text = metrics.text().unwrap();
        assert!(!text.contains(failed), "{text}");
        assert!(text.contains("phase=\"Running\"} 2\n"), "{text}");
    }
}
