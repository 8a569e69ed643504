//! `POST /mutate` and `POST /validate`: read, gather, judge, answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arcane_common::{api::well_known, validation::cut};
use axum::{
    Router,
    body::Bytes,
    extract::{self, DefaultBodyLimit, FromRequest as _, State, rejection::BytesRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;

use crate::{
    Webhook,
    admission::{
        Operation, Request, Verdict, admit_backfill_request, admit_deletion, admit_stream, admit_stream_class,
        admit_template,
    },
    gather,
    reference_gatherer::CannotAsk,
    review::{self, ReviewError},
};

/// The longest body: an object and its predecessor, each up to what etcd takes (1.5 MiB), and the room that
/// controller-runtime gives besides.
const MAX_BODY: usize = 7 * 1024 * 1024;

/// How long an answer may take: a little less than the API server waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// The longest reason why there is none.
const LONGEST_REASON: usize = 1024;

pub(crate) fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(webhook)
}

async fn mutate(State(webhook): State<Arc<Webhook>>, call: extract::Request) -> Result<Response, Refusal> {
    answer("mutate", &webhook, call, async |request| fill_in(&webhook, request).await).await
}

async fn validate(State(webhook): State<Arc<Webhook>>, call: extract::Request) -> Result<Response, Refusal> {
    answer("validate", &webhook, call, async |request| judge(&webhook, request).await).await
}

async fn answer(
    name: &'static str,
    webhook: &Webhook,
    call: extract::Request,
    work: impl AsyncFnOnce(&Request) -> Result<Verdict, CannotAsk>,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let request = match read(call).await {
        Ok(request) => request,
        Err(refusal) => {
            webhook.metrics.answered(name, "", None, None, began.elapsed());
            return Err(refusal);
        }
    };
    let verdict = in_time(work(&request)).await;
    let kind = if is_known(webhook, &request) { request.kind.kind.as_str() } else { "" };
    webhook.metrics.answered(name, kind, Some(&request), verdict.as_ref().ok(), began.elapsed());
    let verdict = verdict?;
    tracing::debug!(
        webhook = name, kind = %request.kind, namespace = request.namespace, name = request.name,
        operation = request.operation.as_str(), allowed = verdict.is_allowed(), warnings = verdict.warnings.len(),
        "answered"
    );
    Ok(json(&review::answer(&request, &verdict)))
}

/// The body has to be here in time, too: who sends a byte now and then would hold what is there of it for ever.
async fn read(call: extract::Request) -> Result<Request, Refusal> {
    let body = tokio::time::timeout(PATIENCE, Bytes::from_request(call, &())).await;
    let body = body.map_err(|_| Refusal::SlowBody)?.map_err(Refusal::Body)?;
    Ok(review::read(&body)?)
}

fn json(answer: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

async fn in_time(work: impl Future<Output = Result<Verdict, CannotAsk>>) -> Result<Verdict, Refusal> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(verdict) => Ok(verdict?),
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn fill_in(webhook: &Webhook, request: &Request) -> Result<Verdict, CannotAsk> {
    let is_write = matches!(request.operation, Operation::Create | Operation::Update);
    if !is_write || !request.subresource.is_empty() || is_ours(request) {
        return Ok(Verdict::allow());
    }
    let schema = gather::schema_for_filling_in(&webhook.references, request).await;
    Ok(admit_stream::fill_in(request, schema.as_ref()))
}

pub(crate) async fn judge(webhook: &Webhook, request: &Request) -> Result<Verdict, CannotAsk> {
    if !request.subresource.is_empty() {
        return Ok(Verdict::allow());
    }
    match request.operation {
        Operation::Other => Ok(Verdict::allow()),
        Operation::Delete => {
            let observed = gather::deletion(&webhook.references, request).await;
            Ok(admit_deletion::judge(request, &observed))
        }
        Operation::Create | Operation::Update if is_ours(request) => match request.kind.kind.as_str() {
            "StreamClass" => {
                let observed = gather::stream_class(&webhook.references, request).await?;
                Ok(admit_stream_class::judge(request, &observed))
            }
            "StreamingJobTemplate" => Ok(admit_template::judge(request)),
            _ => {
                let observed = gather::backfill_request(webhook, request).await?;
                Ok(admit_backfill_request::judge(request, observed.as_ref()))
            }
        },
        Operation::Create | Operation::Update => judge_stream(webhook, request).await,
    }
}

async fn judge_stream(webhook: &Webhook, request: &Request) -> Result<Verdict, CannotAsk> {
    let known = webhook.references.known_classes_of(&request.kind);
    let Some(observed) = gather::stream(webhook, request, &known).await? else { return Ok(Verdict::allow()) };
    let verdict = admit_stream::judge(request, &observed);
    if verdict.is_allowed() || !admit_stream::depends_on_its_class(request, &observed) {
        return Ok(verdict);
    }
    // A "no" is confirmed: the class may have changed a moment ago.
    let Some(classes) = webhook.references.changed_classes_of(&request.kind, &known).await? else { return Ok(verdict) };
    let observed = gather::stream(webhook, request, &classes).await?;
    Ok(observed.map_or_else(Verdict::allow, |observed| admit_stream::judge(request, &observed)))
}

fn is_ours(request: &Request) -> bool {
    request.kind.group == well_known::GROUP
        && ["StreamClass", "StreamingJobTemplate", "BackfillRequest"].contains(&request.kind.kind.as_str())
}

/// Whether a kind is one of those that we look after. Anybody may ask about any other, and each would be counted apart.
fn is_known(webhook: &Webhook, request: &Request) -> bool {
    is_ours(request) || !webhook.references.known_classes_of(&request.kind).is_empty()
}

/// Why no review is sent back.
///
/// The API server takes each of these for a webhook that failed, and does what the registration's `failurePolicy`
/// says. An answer with `allowed: false`, whatever its code, would be a refusal of the object.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error(transparent)]
    CannotAsk(#[from] CannotAsk),
    #[error("{}", .0.body_text())]
    Body(BytesRejection),
    #[error("the body has not come within {} seconds", PATIENCE.as_secs())]
    SlowBody,
    #[error("no answer within {} seconds: the API server is slow to tell about what the object refers to", PATIENCE.as_secs())]
    TooSlow,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Body(rejection) => rejection.status(),
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::CannotAsk(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        };
        // What can't be read may be part of the reason, and be long.
        let reason = cut(&self.to_string(), LONGEST_REASON);
        tracing::warn!(error = reason, "a review can't be answered");
        (status, reason).into_response()
    }
}
