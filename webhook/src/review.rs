//! The wire format: AdmissionReview `admission.k8s.io/v1`. Nobody else knows it.

use std::collections::BTreeMap;

use arcane_common::{
    identity::GroupKind,
    validation::{MOST_OF_A_VIOLATION, MOST_TOLD, Reason, Violation, cut},
};
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::{Operation, Request, User, Verdict};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// The longest name that an object can have.
const LONGEST_NAME: usize = 253;

/// How long a warning may be, and all of them together: less than 4096, from where on the API server cuts each.
const LONGEST_WARNING: usize = 1024;
const LONGEST_WARNINGS: usize = 3584;

/// Why a body can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is no JSON, or not of the form of a review.
    #[error("the body is no {KIND}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is no text.
    #[error("the body is no {KIND}: {0}")]
    Encoding(#[from] std::str::Utf8Error),
    /// It is another kind of object, or another version.
    #[error("the body is a {kind:?} of {api_version:?}; a {KIND} of {API_VERSION} is expected")]
    Other {
        /// Its `kind`.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
    /// It is an answer, not a question.
    #[error("the {KIND} has no request")]
    NoRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest {
    uid: String,
    kind: WireKind,
    resource: WireResource,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    user_info: WireUser,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
    #[serde(default)]
    options: Value,
}

#[derive(Deserialize)]
struct WireKind {
    #[serde(default)]
    group: String,
    version: String,
    kind: String,
}

#[derive(Deserialize)]
struct WireResource {
    resource: String,
}

#[derive(Default, Deserialize)]
struct WireUser {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// Reads a review.
pub fn read(body: &[u8]) -> Result<Request, ReviewError> {
    // The parser skips what nobody reads, without a look at its encoding.
    let review: Review = serde_json::from_str(std::str::from_utf8(body)?)?;
    if review.kind != KIND || review.api_version != API_VERSION {
        return Err(ReviewError::Other { kind: review.kind, api_version: review.api_version });
    }
    let Some(request) = review.request.filter(|request| !request.is_null()) else {
        return Err(ReviewError::NoRequest);
    };
    let WireRequest {
        uid,
        kind,
        resource,
        sub_resource,
        name,
        namespace,
        operation,
        user_info,
        object,
        old_object,
        options,
    } = serde_json::from_value(request)?;
    let of_metadata = |field: &str| {
        [&object, &old_object].into_iter().find_map(|it| Some(it.get("metadata")?.get(field)?.as_str()?.to_owned()))
    };
    // An object whose name the API server is still to choose has only its beginning.
    let name = name.filter(|name| !name.is_empty()).or_else(|| of_metadata("name"));
    let name = name.or_else(|| of_metadata("generateName")).unwrap_or_default();
    Ok(Request {
        uid,
        kind: GroupKind::new(kind.group, kind.kind),
        version: kind.version,
        resource: resource.resource,
        subresource: sub_resource.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
        name,
        operation: match operation.as_str() {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => Operation::Other,
        },
        user: User {
            username: user_info.username.unwrap_or_default(),
            uid: user_info.uid.unwrap_or_default(),
            groups: user_info.groups.unwrap_or_default(),
            extra: user_info.extra.unwrap_or_default(),
        },
        field_manager: options.get("fieldManager").and_then(Value::as_str).map(ToOwned::to_owned),
        object,
        old_object,
    })
}

/// Writes the answer to a request.
pub fn answer(request: &Request, verdict: &Verdict) -> Value {
    let mut response = json!({"uid": request.uid, "allowed": verdict.is_allowed()});
    if !verdict.is_allowed() {
        response["status"] = denial(request, &verdict.violations);
    }
    if !verdict.warnings.is_empty() {
        response["warnings"] = json!(warnings(&verdict.warnings));
    }
    if verdict.is_allowed() && !verdict.patch.is_empty() {
        let operations: Vec<Value> = verdict
            .patch
            .iter()
            .map(|(path, value)| json!({"op": "add", "path": path.pointer(), "value": value}))
            .collect();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(Value::Array(operations).to_string().into_bytes()));
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
}

/// The Status that the API server itself would give: kubectl prints its causes, other clients its message.
fn denial(request: &Request, violations: &[Violation]) -> Value {
    let told = &violations[..violations.len().min(MOST_TOLD)];
    let mut lines: Vec<String> = told.iter().map(|it| one_line(&it.to_string(), MOST_OF_A_VIOLATION)).collect();
    let mut causes: Vec<Value> = told
        .iter()
        .map(|violation| {
            json!({
                "reason": violation.reason.cause(),
                "field": one_line(&violation.path.to_string(), MOST_OF_A_VIOLATION),
                "message": one_line(&violation.body(), MOST_OF_A_VIOLATION),
            })
        })
        .collect();
    let more = violations.len() - told.len();
    if more > 0 {
        // Checks stop counting at some point.
        let message = format!("and at least {more} more");
        causes.push(json!({"reason": Reason::Invalid.cause(), "field": "spec", "message": message}));
        lines.push(message);
    }
    let lines = match &lines[..] {
        [line] => line.clone(),
        lines => format!("[{}]", lines.join(", ")),
    };
    let [name, group, kind] =
        [&request.name, &request.kind.group, &request.kind.kind].map(|text| one_line(text, LONGEST_NAME));
    json!({
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": format!("{kind}.{group} {name:?} is invalid: {lines}"),
        "details": {"name": name, "group": group, "kind": kind, "causes": causes},
    })
}

/// Warnings as they reach the user: the API server drops one with a control character, and cuts all of them when they
/// are too long together.
fn warnings(warnings: &[String]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut length = 0;
    for (index, warning) in warnings.iter().enumerate() {
        let warning = one_line(warning, LONGEST_WARNING);
        length += warning.len();
        if index >= MOST_TOLD || length > LONGEST_WARNINGS {
            told.push(format!("and at least {} more warnings", warnings.len() - index));
            break;
        }
        told.push(warning);
    }
    told
}

/// A text for a terminal, a log and an HTTP header. What users wrote is part of it: names of fields may be long and
/// hold anything.
fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::new();
    for character in cut(text, longest).chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}
