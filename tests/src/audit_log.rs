//! What the API server wrote into its audit log: which requests there really were.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The audit log of a control plane.
///
/// The API server writes an event while it handles the request (`--audit-log-mode=blocking`), so no event is lost, but the one
/// of a request that has just been answered can follow the answer by a moment.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A moment in the audit log: see [`AuditLog::now`].
#[derive(Clone, Copy, Debug)]
pub struct AuditMark(u64);

/// One request. A watch is there as soon as it has been started, everything else when it has been answered.
#[derive(Clone, Debug)]
pub struct AuditedRequest {
    /// Who made it.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The path with the query.
    pub uri: String,
    /// The plural name of the kind, "" if it is a request for none.
    pub resource: String,
    /// `status`, `binding`, ..., or "".
    pub subresource: String,
    /// The group of the kind, "" for the core.
    pub group: String,
    /// The namespace, or "".
    pub namespace: String,
    /// The name of the object, or "".
    pub name: String,
    /// `ResponseStarted` for watches, `ResponseComplete` for all others.
    pub stage: String,
    /// The HTTP status.
    pub code: u16,
    /// When it arrived.
    pub at: jiff::Timestamp,
    /// What the API server noted about it, e.g. which webhook changed it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: jiff::Timestamp,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    api_group: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl AuditLog {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The end of the log as it is now, to count from here on.
    pub fn now(&self) -> AuditMark {
        AuditMark(std::fs::metadata(&self.path).map_or(0, |file| file.len()))
    }

    /// All requests of the users whose name starts with `user_prefix`.
    pub fn requests_of(&self, user_prefix: &str) -> Vec<AuditedRequest> {
        self.requests_since(AuditMark(0), user_prefix)
    }

    /// The requests since `mark` of the users whose name starts with `user_prefix`.
    pub fn requests_since(&self, mark: AuditMark, user_prefix: &str) -> Vec<AuditedRequest> {
        let mut text = Vec::new();
        if let Ok(mut file) = std::fs::File::open(&self.path) {
            let _ = file.seek(SeekFrom::Start(mark.0)).and_then(|_| file.read_to_end(&mut text));
        }
        parse(&text, user_prefix)
    }
}

/// The last line may not have been written to its end yet, the first is the end of one if the mark was set just then.
fn parse(text: &[u8], user_prefix: &str) -> Vec<AuditedRequest> {
    let mut seen = HashSet::new();
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Event>(line).ok())
        .filter(|event| event.user.username.starts_with(user_prefix))
        .filter(|event| seen.insert(event.audit_id.clone()))
        // A watch that was started before the mark and ends after it isn't a request made since.
        .filter(|event| event.verb != "watch" || event.stage == "ResponseStarted" || event.response_status.code >= 400)
        .map(|event| AuditedRequest {
            user: event.user.username,
            verb: event.verb,
            uri: event.request_uri,
            resource: event.object_ref.resource,
            subresource: event.object_ref.subresource,
            group: event.object_ref.api_group,
            namespace: event.object_ref.namespace,
            name: event.object_ref.name,
            stage: event.stage,
            code: event.response_status.code,
            annotations: event.annotations,
            at: event.request_received_timestamp,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, stage: &str, verb: &str, user: &str) -> String {
        serde_json::json!({
            "auditID": id, "stage": stage, "verb": verb, "requestURI": "/api/v1/pods", "user": {"username": user},
            "objectRef": {"resource": "pods"}, "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        })
        .to_string()
            + "\n"
    }

    #[test]
    fn a_watch_counts_once_and_when_it_starts() {
        let log = line("1", "ResponseStarted", "watch", "me") + &line("1", "ResponseComplete", "watch", "me");
        assert_eq!(parse(log.as_bytes(), "me").len(), 1);
        let ended_later = line("1", "ResponseComplete", "watch", "me");
        assert_eq!(parse(ended_later.as_bytes(), "me").len(), 0);
    }

    #[test]
    fn others_and_half_lines_are_left_out() {
        let log =
            line("1", "ResponseComplete", "get", "me") + &line("2", "ResponseComplete", "get", "you") + "{\"auditID\":";
        let requests = parse(log.as_bytes(), "me");
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].resource, "pods");
    }
}
