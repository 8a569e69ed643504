//! The webhook by itself: reviews over TLS with connections that are kept, and its memory with many templates.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::admission::{a_stream, unregister};
use super::figures::Spread;
use super::place::{GROUP, MANY, Place, kind_of};
use super::processes::{Memory, of_process};
use super::{Failure, say};
use crate::operator::OperatorProcess;
use crate::wait::eventually;
use crate::webhook::WebhookAccess;

/// How many connections are kept: as many as API servers might.
const CONNECTIONS: usize = 8;

/// What one replica does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ByItself {
    /// Bytes of a review.
    pub review: usize,
    /// Validations per second, on one processor.
    pub per_second: f64,
    /// Seconds of one, with [`CONNECTIONS`] callers.
    pub latency: Spread,
    /// Microseconds of processor time of one.
    pub processor: f64,
    /// How many templates it knows.
    pub templates: usize,
    /// MiB with none of these templates.
    pub memory_before: f64,
    /// MiB with all of them, and after all those reviews.
    pub memory: Memory,
}

/// Creates templates, and calls our webhook as an API server would, for so long.
///
/// # Errors
/// When the webhook refuses what is right.
pub(super) async fn measure(
    place: &Place,
    ours: &WebhookAccess,
    templates: usize,
    reviews_for: Duration,
    log: &Path,
) -> Result<ByItself, Failure> {
    let mut options = ours.options(ours.port, "unused");
    log.clone_into(&mut options.log);
    options.environment.clear();
    let process = OperatorProcess::start(options.clone()).await?;
    bundle(ours).await?;
    let memory_before = memory(&process)?.now;
    WebhookAccess::end(process).await;
    unregister(place).await?;
    // An API server may not have seen yet that nobody is to be asked any more.
    let first = || async { place.create_template(MANY, "first-of-many").await.map_err(|error| error.to_string()) };
    eventually(Duration::from_secs(60), "template without a webhook", first).await?;
    let create = |at: usize| async move { place.create_template(MANY, &format!("one-of-many-{at}")).await };
    stream::iter(0..templates).map(create).buffer_unordered(16).try_collect::<()>().await?;
    say(&format!("there are {templates} templates"));

    let process = OperatorProcess::start(options).await?;
    let pid = process.pid().ok_or("the webhook has ended")?;
    let bundle = bundle(ours).await?;
    // The webhook has one processor, and this process another, where there are two.
    pin(pid, 0).await?;
    let body = Bytes::from(review().to_string());
    let connector = connector(&bundle)?;
    // The first ones warm it up.
    call(&connector, ours.port, &body, Duration::from_secs(1)).await?;
    let (taken, began) = (of_process(pid), Instant::now());
    let seconds = call(&connector, ours.port, &body, reviews_for).await?;
    let (took, taken) = (began.elapsed().as_secs_f64(), of_process(pid) - taken);
    let number = seconds.len() as f64;
    let figures = ByItself {
        review: body.len(),
        per_second: number / took,
        latency: Spread::of(seconds),
        processor: taken / number * 1e6,
        templates,
        memory_before,
        memory: memory(&process)?,
    };
    say(&format!(
        "{:.0} reviews/s of {} bytes, each {:.0} µs of a processor; {:.1} MiB with {templates} templates",
        figures.per_second, figures.review, figures.processor, figures.memory.now,
    ));
    WebhookAccess::end(process).await;
    Ok(figures)
}

/// The bundle by which the API server knows it.
async fn bundle(ours: &WebhookAccess) -> Result<Vec<u8>, Failure> {
    let bundle = eventually(Duration::from_secs(60), "registered webhook", || async {
        let (validating, _) = ours.configurations().await;
        let entries = validating.and_then(|validating| validating.webhooks).unwrap_or_default();
        let bundle = entries.into_iter().find_map(|entry| entry.client_config.ca_bundle);
        bundle.ok_or_else(|| "no bundle".to_owned())
    });
    Ok(bundle.await?.0)
}

fn memory(process: &OperatorProcess) -> Result<Memory, Failure> {
    Ok(Memory::of(process.pid().ok_or("the webhook has ended")?))
}

async fn pin(pid: u32, processor: usize) -> Result<(), Failure> {
    let arguments = ["-a".to_owned(), "-c".to_owned(), "-p".to_owned(), processor.to_string(), pid.to_string()];
    let pinned = tokio::process::Command::new("taskset").args(arguments).output().await?;
    if pinned.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&pinned.stderr).into_owned().into()) }
}

fn connector(bundle: &[u8]) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

/// Calls on all connections for so long: the seconds of each call.
async fn call(connector: &TlsConnector, port: u16, body: &Bytes, lasts: Duration) -> Result<Vec<f64>, Failure> {
    let ends = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut sender = connect(connector, port).await?;
        let (body, ends) = (body.clone(), Arc::clone(&ends));
        callers.spawn(async move {
            let mut seconds = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let began = Instant::now();
                review_once(&mut sender, body.clone(), seconds.is_empty()).await?;
                seconds.push(began.elapsed().as_secs_f64());
            }
            Ok::<_, Failure>(seconds)
        });
    }
    tokio::time::sleep(lasts).await;
    ends.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    while let Some(seconds) = callers.join_next().await {
        all.extend(seconds??);
    }
    Ok(all)
}

async fn connect(connector: &TlsConnector, port: u16) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.set_nodelay(true)?;
    let connection = connector.connect(ServerName::try_from("127.0.0.1")?, connection).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn review_once(sender: &mut SendRequest<Full<Bytes>>, body: Bytes, look: bool) -> Result<(), Failure> {
    let request = http::Request::post("/validate")
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&text)).into());
    }
    if look {
        let answer: Value = serde_json::from_slice(&text)?;
        if answer["response"]["allowed"] != true {
            return Err(format!("the webhook refused what is right: {answer}").into());
        }
    }
    Ok(())
}

/// As an API server asks for the creation of a stream.
fn review() -> Value {
    let mut object = a_stream("orders");
    object["spec"]["jobTemplateRef"]["namespace"] = json!(MANY);
    object["metadata"]["uid"] = json!("0b5a5a46-9d1f-4b25-8a0e-0b8a6b2f5f0a");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["metadata"]["generation"] = json!(1);
    let kind = kind_of(0);
    let (kind, resource) = (
        json!({"group": GROUP, "version": "v1", "kind": kind.kind}),
        json!({"group": GROUP, "version": "v1", "resource": kind.plural}),
    );
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "7c1d4f16-62a5-4c8a-9f0f-2f1c8d8e4b3a",
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": "orders", "namespace": MANY, "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]},
            "object": object, "oldObject": null, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl-client-side-apply"},
        },
    })
}
