//! `/metrics`, for Prometheus.

use std::fmt;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The text format that [`written`] writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry whose names begin with `arcane`, with the version of what is running.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("arcane");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What is running", build);
    registry
}

/// Everything that a registry counts, as OpenMetrics text.
///
/// # Errors
/// None is known; the format's encoder reserves them.
pub fn written(registry: &Registry) -> Result<String, fmt::Error> {
    let mut written = String::new();
    text::encode(&mut written, registry)?;
    Ok(written)
}

/// `/metrics`, written anew whenever somebody looks.
pub fn router(write: impl Fn() -> Result<String, fmt::Error> + Clone + Send + Sync + 'static) -> Router {
    Router::new().route("/metrics", get(move || std::future::ready(answer(write()))))
}

fn answer(written: Result<String, fmt::Error>) -> Response {
    match written {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n")).into_response()
        }
    }
}
