//! What the operator gets to hear.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use kube::client::Body;

use super::fault::Fire;
use super::{AnswerBody, BoxError, Shared, Wrong, events};

/// In a task of its own, so that the end of the connection leaves no write half sent.
pub(super) async fn written(
    shared: &Arc<Shared>,
    index: Option<usize>,
    request: Request<Body>,
) -> Result<Response<AnswerBody>, kube::Error> {
    let shared = Arc::clone(shared);
    match tokio::spawn(async move { shared.write(index, request).await }).await {
        Ok(answered) => answered,
        Err(_) => std::future::pending().await,
    }
}

/// The inner error is the API server's, the outer one ends the connection.
pub(super) async fn go_wrong(
    shared: &Arc<Shared>,
    index: usize,
    how: Wrong,
    fire: &Fire,
    request: Request<Body>,
) -> Result<Result<Response<AnswerBody>, kube::Error>, BoxError> {
    let commit = |request| {
        shared.unanswered.send_modify(|count| *count += 1);
        written(shared, Some(index), request)
    };
    let refusal = match how {
        Wrong::Conflict => (409, "Conflict", "the object has been modified"),
        Wrong::TooManyRequests => (429, "TooManyRequests", "too many requests, please try again later"),
        Wrong::InternalError => (500, "InternalError", "an error on the server"),
        Wrong::Unavailable => (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        Wrong::TimeoutAfterCommit => {
            let _ = commit(request).await;
            (504, "Timeout", "the server was unable to return a response in the time allotted")
        }
        Wrong::ResetAfterCommit => {
            let _ = commit(request).await;
            shared.has_happened(index, fire);
            return Err("the connection is broken".into());
        }
        Wrong::Stall(how_long) => {
            shared.has_happened(index, fire);
            let (shared, request) = (Arc::clone(shared), request);
            shared.unanswered.send_modify(|count| *count += 1);
            let late = tokio::spawn(async move {
                tokio::time::sleep(how_long).await;
                shared.write(Some(index), request).await
            });
            return Ok(late.await?);
        }
        Wrong::BlackHole => {
            shared.has_happened(index, fire);
            return std::future::pending().await;
        }
    };
    shared.has_happened(index, fire);
    Ok(Ok(status(refusal)))
}

/// An answer of the API server's form.
fn status((code, reason, message): (u16, &str, &str)) -> Response<AnswerBody> {
    let mut object = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    if code == 429 {
        object["details"] = serde_json::json!({"retryAfterSeconds": 1});
    }
    let mut answer = Response::new(whole(object.to_string().into()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// Passes a read on, in the way that is due.
pub(super) async fn read(
    shared: &Arc<Shared>,
    mut request: Request<Body>,
) -> Result<Response<AnswerBody>, kube::Error> {
    let path = request.uri().path();
    let is_in_namespace = path.contains("/namespaces/");
    let plural = path.rsplit('/').next().unwrap_or_default().to_owned();
    let frozen = shared.frozen.borrow().clone().filter(|_| is_in_namespace);
    if has(request.uri(), |parameter| parameter == "watch=true" || parameter == "watch=1") {
        if frozen.is_some() {
            let mut answer = Response::new(events::frozen(Arc::clone(shared)));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Ok(answer);
        }
        let (head, body) = shared.upstream.send(request).await?.into_parts();
        let body = if head.status.is_success() {
            events::through(Arc::clone(shared), plural, body)
        } else {
            body.map_err(Into::into).boxed_unsync()
        };
        return Ok(Response::from_parts(head, body));
    }
    // Who lists to watch asks for pages.
    if let Some(revision) = frozen
        && has(request.uri(), |parameter| parameter.starts_with("limit="))
        && !has(request.uri(), |parameter| parameter.starts_with("continue="))
        && let Some(uri) = in_the_past(request.uri(), &revision)
    {
        *request.uri_mut() = uri;
        shared.state().frozen_lists += 1;
    }
    let (head, body) = shared.upstream.send(request).await?.into_parts();
    Ok(Response::from_parts(head, body.map_err(Into::into).boxed_unsync()))
}

fn has(uri: &Uri, is_it: impl Fn(&str) -> bool) -> bool {
    uri.query().unwrap_or_default().split('&').any(is_it)
}

fn in_the_past(uri: &Uri, revision: &str) -> Option<Uri> {
    let kept = uri.query().unwrap_or_default().split('&').filter(|it| !it.starts_with("resourceVersion"));
    let kept: Vec<&str> = kept.collect();
    format!("{}?{}&resourceVersion={revision}&resourceVersionMatch=Exact", uri.path(), kept.join("&")).parse().ok()
}

pub(super) fn whole(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Takes away what is between two neighbours only: each side has its own connection.
pub(super) fn end_to_end_only(headers: &mut HeaderMap) {
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE] {
        headers.remove(name);
    }
}

pub(super) fn bad_gateway(error: &kube::Error) -> Response<AnswerBody> {
    let mut answer = Response::new(whole(format!("request proxy: {error}").into()));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
