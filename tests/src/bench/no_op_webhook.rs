//! A webhook that looks at nothing: the least that any webhook costs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::Failure;
use crate::fixture::apply_typed;
use crate::pki::Authority;
use crate::review_recorder::acceptor;

const NAME: &str = "bench-no-op";

/// A running one. It stops when dropped.
pub struct NoOpWebhook {
    client: Client,
    configuration: Value,
    calls: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl NoOpWebhook {
    /// Serves on 127.0.0.1, for one kind of a group. `directory` gets its certificate.
    ///
    /// # Errors
    /// When it can't.
    pub async fn start(client: Client, group: &str, plural: &str, directory: &Path) -> Result<Self, Failure> {
        let authority = Authority::new(&directory.join(NAME))?;
        let pair = authority.server("server", &["127.0.0.1"])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let configuration = json!({
            "webhooks": [{
                "name": format!("{NAME}.example.com"),
                "clientConfig": {
                    "url": format!("https://{}/", listener.local_addr()?),
                    "caBundle": ByteString(authority.certificate().as_bytes().to_vec()),
                },
                "rules": [{
                    "apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [plural],
                }],
                "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 5,
            }],
        });
        let calls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&calls);
        let acceptor = acceptor(&pair.certificate, &pair.key);
        let serve = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, calls) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(connection) = acceptor.accept(connection).await else { return };
                    let answers = service_fn(|request| answer(request, &calls));
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(TokioIo::new(connection), answers).await;
                });
            }
        };
        let task = tokio::spawn(serve).abort_handle();
        Ok(Self { client, configuration, calls, task })
    }

    /// Has itself called to validate, and to mutate.
    pub async fn register(&self, mutating: bool) {
        apply_typed::<ValidatingWebhookConfiguration>(Api::all(self.client.clone()), NAME, self.configuration.clone())
            .await;
        if mutating {
            let mut configuration = self.configuration.clone();
            let url = &mut configuration["webhooks"][0]["clientConfig"]["url"];
            *url = json!(format!("{}mutate", url.as_str().unwrap_or_default()));
            apply_typed::<MutatingWebhookConfiguration>(Api::all(self.client.clone()), NAME, configuration).await;
        }
    }

    /// Isn't called any more.
    pub async fn unregister(&self) {
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let gone = DeleteParams::default();
        let _ = tokio::join!(validating.delete(NAME, &gone), mutating.delete(NAME, &gone));
    }

    /// How often it has been called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for NoOpWebhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct Review<'r> {
    #[serde(borrow)]
    request: Asked<'r>,
}

#[derive(Deserialize)]
struct Asked<'r> {
    uid: &'r str,
}

/// Reads no more than the UID; a mutation adds one field.
async fn answer(request: Request<Incoming>, calls: &AtomicUsize) -> Result<Response<Full<Bytes>>, hyper::Error> {
    calls.fetch_add(1, Ordering::Relaxed);
    let mutates = request.uri().path() == "/mutate";
    let body = request.into_body().collect().await?.to_bytes();
    let uid = serde_json::from_slice::<Review<'_>>(&body).map_or("", |review| review.request.uid);
    let mut response = json!({"uid": uid, "allowed": true});
    if mutates {
        let patch = br#"[{"op":"add","path":"/spec/injected","value":"x"}]"#;
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(patch.to_vec()));
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
}
