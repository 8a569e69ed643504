//! Whether we are alive, and ready: for the kubelet, and for a person who wonders.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

/// What must be there before we are ready, and what of it isn't. Cheap to
/// clone: all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// By item, why it isn't ready; None if it is.
    items: Arc<Mutex<BTreeMap<Item, Option<String>>>>,
}

/// The name of something that is ready or not.
type Item = Cow<'static, str>;

impl Health {
    /// Not ready until each of these is.
    pub fn waiting_for(items: impl IntoIterator<Item = &'static str>) -> Self {
        let health = Self::default();
        for item in items {
            health.not_ready(item, "not yet known");
        }
        health
    }

    /// Notes why the item isn't ready: a sentence for a person.
    pub fn not_ready(&self, item: impl Into<Item>, why: impl Into<String>) {
        self.items().insert(item.into(), Some(why.into()));
    }

    /// Notes that the item is ready.
    pub fn ready(&self, item: impl Into<Item>) {
        self.items().insert(item.into(), None);
    }

    /// Whether everything is ready.
    pub fn is_ready(&self) -> bool {
        self.items().values().all(Option::is_none)
    }

    /// What isn't ready, a line each: `item: why`. Empty when all is.
    pub fn missing(&self) -> String {
        let mut lines = String::new();
        for (item, why) in self.items().iter() {
            if let Some(why) = why {
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                // Writing to a String doesn't fail.
                let _ = writeln!(lines, "{item}: {why}");
            }
        }
        lines
    }

    /// The paths of the guide, and those that older charts probe.
    pub fn router(self) -> Router {
        // `/startup` too says only that we are up: were it to wait until all is
        // ready, a missing CRD would have us killed again and again.
        Router::new()
            .route("/healthz", get(alive))
            .route("/health", get(alive))
            .route("/startup", get(alive))
            .route("/readyz", get(readiness))
            .route("/health/ready", get(readiness))
            .with_state(self)
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<Item, Option<String>>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn readiness(State(health): State<Health>) -> (StatusCode, String) {
    let missing = health.missing();
    if missing.is_empty() { (StatusCode::OK, "ok\n".to_owned()) } else { (StatusCode::SERVICE_UNAVAILABLE, missing) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    use super::*;
    use crate::pages;

    async fn asked(health: &Health, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.clone().router().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_alive_before_it_is_ready() {
        let health = Health::waiting_for(["crds"]);
        for path in ["/healthz", "/health", "/startup"] {
            assert_eq!(asked(&health, path).await, (200, "ok\n".to_owned()));
        }
        assert_eq!(asked(&health, "/elsewhere").await.0, 404);
    }

    #[tokio::test]
    async fn it_is_ready_when_all_items_are_and_else_says_which_are_not() {
        let health = Health::waiting_for(["crds", "caches"]);
        health.not_ready("crds", "CRD streamclasses lacks\n  version v1");
        for path in ["/readyz", "/health/ready"] {
            let (code, body) = asked(&health, path).await;
            assert_eq!(code, 503);
            assert_eq!(body, "caches: not yet known\ncrds: CRD streamclasses lacks version v1\n");
        }
        health.ready("crds");
        assert!(!health.is_ready());
        assert_eq!(asked(&health, "/readyz").await, (503, "caches: not yet known\n".to_owned()));
        health.ready("caches");
        assert!(health.is_ready());
        assert_eq!(asked(&health, "/readyz").await, (200, "ok\n".to_owned()));
        // What nobody declared can be missing too, and come back.
        health.not_ready(format!("plugin {}", "orders"), "may not be listed");
        assert_eq!(asked(&health, "/readyz").await.1, "plugin orders: may not be listed\n");
    }

    #[tokio::test]
    async fn it_stops_serving_when_told_though_a_client_stays_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(pages::serve(Health::default().router(), listener, stopped));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        stop.send_replace(true);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), serving).await;
        ended.expect("still serving").unwrap().unwrap();
    }
}
