//! Records what a real API server sends to a webhook, so that tests can send the same.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{Api, Client};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{SOON, apply_typed};
use crate::pki::Authority;
use crate::wait::eventually;

const NAME: &str = "review-recorder";

/// A webhook that allows everything, and keeps what it was asked.
pub struct ReviewRecorder {
    reviews: Arc<Mutex<Vec<Value>>>,
}

impl ReviewRecorder {
    /// Serves on 127.0.0.1 and has itself registered for everything of a group. `directory` gets its certificate.
    pub async fn start(client: Client, group: &str, directory: &Path) -> Self {
        let authority = Authority::new(&directory.join(NAME)).unwrap_or_else(|error| panic!("{error}"));
        let pair = authority.server("server", &["127.0.0.1"]).unwrap_or_else(|error| panic!("{error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let reviews = Arc::default();
        tokio::spawn(serve(listener, acceptor(&pair.certificate, &pair.key), Arc::clone(&reviews)));
        let configuration = json!({
            "webhooks": [{
                "name": format!("{NAME}.example.com"),
                "clientConfig": {
                    "url": format!("https://{address}/validate"),
                    "caBundle": ByteString(authority.certificate().as_bytes().to_vec()),
                },
                "rules": [{
                    "apiGroups": [group], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "*",
                }],
                "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            }],
        });
        apply_typed::<ValidatingWebhookConfiguration>(Api::all(client), NAME, configuration).await;
        Self { reviews }
    }

    /// Waits until the API server calls: `provoke` makes a request that must be reviewed.
    pub async fn called(&self, provoke: impl AsyncFn()) {
        eventually(SOON, "a review", || async {
            provoke().await;
            if self.take().is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    /// What has come in since the last time.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.reviews.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a TLS server needs of its certificate and key.
pub(crate) fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(chain.unwrap_or_else(|error| panic!("{error}")), key)
        });
    TlsAcceptor::from(Arc::new(config.unwrap_or_else(|error| panic!("{error}"))))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, reviews: Arc<Mutex<Vec<Value>>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (acceptor, reviews) = (acceptor.clone(), Arc::clone(&reviews));
        tokio::spawn(async move {
            let Ok(connection) = acceptor.accept(connection).await else { return };
            let answers = service_fn(|request| record(request, &reviews));
            let _ =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), answers).await;
        });
    }
}

async fn record(
    request: Request<Incoming>,
    reviews: &Mutex<Vec<Value>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = json!({
        "apiVersion": review["apiVersion"], "kind": review["kind"],
        "response": {"uid": review["request"]["uid"], "allowed": true},
    });
    reviews.lock().unwrap_or_else(PoisonError::into_inner).push(review);
    Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
}

/// Puts the same words in the place of what differs from one recording to the next: UIDs, versions, times, and names
/// that the API server makes up. The same value always becomes the same word.
#[derive(Default)]
pub struct Normaliser {
    uids: HashMap<String, usize>,
    versions: HashMap<String, usize>,
    generated: HashMap<String, usize>,
}

impl Normaliser {
    /// A review as it is written to a file, its fields sorted.
    pub fn normalise(&mut self, review: &Value) -> Value {
        self.learn_generated_names(review);
        self.value("", review)
    }

    fn learn_generated_names(&mut self, review: &Value) {
        for object in [&review["request"]["object"], &review["request"]["oldObject"]] {
            let metadata = &object["metadata"];
            if let (Some(beginning), Some(name)) = (metadata["generateName"].as_str(), metadata["name"].as_str())
                && name.len() > beginning.len()
            {
                let next = self.generated.len() + 1;
                self.generated.entry(name.to_owned()).or_insert(next);
            }
        }
    }

    fn value(&mut self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
                let fields = sorted.into_iter().map(|(name, value)| (name.clone(), self.value(name, value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            // Sorted by time as they come, and two writes may or may not fall into the same second.
            Value::Array(elements) if name == "managedFields" => {
                let mut elements = elements.clone();
                elements.sort_by_key(|entry| ["operation", "manager", "subresource"].map(|key| entry[key].to_string()));
                elements.iter().map(|element| self.value("", element)).collect()
            }
            Value::Array(elements) => elements.iter().map(|element| self.value(name, element)).collect(),
            Value::String(text) => self.text(name, text).into(),
            other => other.clone(),
        }
    }

    fn text(&mut self, name: &str, text: &str) -> String {
        if let Some(number) = self.generated.get(text) {
            return text.get(..text.len() - 5).map_or_else(String::new, |text| format!("{text}{number:05}"));
        }
        if matches!(name, "creationTimestamp" | "deletionTimestamp" | "time") {
            return "2026-01-01T00:00:00Z".to_owned();
        }
        if name == "resourceVersion" && !text.is_empty() && text != "0" {
            let next = self.versions.len() + 1;
            return self.versions.entry(text.to_owned()).or_insert(next).to_string();
        }
        if let Some(uid) = text.strip_prefix("JTI=") {
            return format!("JTI={}", self.text("", uid));
        }
        if text.starts_with("X509SHA256=") {
            return format!("X509SHA256={}", "0".repeat(64));
        }
        if is_uuid(text) {
            let next = self.uids.len() + 1;
            let number = self.uids.entry(text.to_owned()).or_insert(next);
            return format!("00000000-0000-4000-8000-{number:012}");
        }
        text.to_owned()
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
