//! The few writes there are. The API server is asked to refuse what it doesn't know, and its warnings are passed on, as
//! kubectl does.

use arcane_common::api::BackfillRequest;
use http::Request;
use http_body_util::BodyExt as _;
use kube::{
    Client, Resource,
    api::{Patch, PatchParams, PostParams},
    client::Body,
    core::{ApiResource, DynamicObject, Status},
};
use serde::Serialize;
use serde_json::Value;

use crate::ending::why;

/// Who we are in `managedFields`.
pub const FIELD_MANAGER: &str = "kubectl-arcane";

/// A write that was made: what the API server has now, and its warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object.
    pub object: Value,
    /// What it warns of, in its words.
    pub warnings: Vec<String>,
}

/// The API server didn't take a write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotWritten {
    /// Whether it was refused; else it couldn't be asked.
    pub refused: bool,
    /// Why, in the API server's words.
    pub words: String,
}

/// Merges a patch into an object of a kind that is known only now.
///
/// # Errors
/// When the API server doesn't take it.
pub async fn merge(
    client: &Client,
    resource: &ApiResource,
    (namespace, name): (&str, &str),
    patch: &Value,
    dry_run: bool,
) -> Result<Written, NotWritten> {
    let mut params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    params.dry_run = dry_run;
    let url = DynamicObject::url_path(resource, Some(namespace));
    let request = kube::core::Request::new(url).patch(name, &params, &Patch::Merge(patch));
    send(client, request.map_err(|error| unbuilt(&error))?).await
}

/// Creates a BackfillRequest.
///
/// # Errors
/// When the API server doesn't take it.
pub async fn create(client: &Client, request: &BackfillRequest, dry_run: bool) -> Result<Written, NotWritten> {
    let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let namespace = request.metadata.namespace.as_deref();
    let url = BackfillRequest::url_path(&(), namespace);
    let body = bytes(request)?;
    let request = kube::core::Request::new(url).create(&params, body);
    send(client, request.map_err(|error| unbuilt(&error))?).await
}

fn bytes(object: &impl Serialize) -> Result<Vec<u8>, NotWritten> {
    serde_json::to_vec(object).map_err(|error| NotWritten { refused: true, words: error.to_string() })
}

fn unbuilt(error: &kube::core::request::Error) -> NotWritten {
    NotWritten { refused: true, words: error.to_string() }
}

async fn send(client: &Client, mut request: Request<Vec<u8>>) -> Result<Written, NotWritten> {
    let lost = |words: String| NotWritten { refused: false, words };
    // A field that a plugin's CRD doesn't know would be dropped without a word, and nothing would come of the change.
    let uri = request.uri().to_string();
    let strict = format!("{uri}{}fieldValidation=Strict", if uri.contains('?') { '&' } else { '?' });
    *request.uri_mut() = strict.parse().map_err(|_| lost(format!("{strict} is no URL")))?;
    let answer = client.send(request.map(Body::from)).await.map_err(|error| lost(why(&error)))?;
    let code = answer.status();
    let warnings =
        answer.headers().get_all(http::header::WARNING).iter().filter_map(|value| warning(value.to_str().ok()?));
    let warnings = warnings.collect();
    let body = answer.into_body().collect().await.map_err(|error| lost(error.to_string()))?.to_bytes();
    if code.is_success() {
        let object = serde_json::from_slice(&body).map_err(|error| lost(format!("the answer is no JSON: {error}")))?;
        return Ok(Written { object, warnings });
    }
    let words = match serde_json::from_slice::<Status>(&body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => format!("HTTP {code}: {}", String::from_utf8_lossy(&body)),
    };
    Err(NotWritten { refused: code.is_client_error(), words })
}

/// The text of a header `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.splitn(3, ' ').nth(2)?.strip_prefix('"')?;
    let mut text = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Some(text),
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_warning_are_unquoted() {
        let said = |header: &str| warning(header);
        assert_eq!(said("299 - \"a \\\"b\\\" c\"").as_deref(), Some("a \"b\" c"));
        assert_eq!(said("299 kube-apiserver \"plain\" \"date\"").as_deref(), Some("plain"));
        assert_eq!(said("299 - plain"), None);
    }
}
