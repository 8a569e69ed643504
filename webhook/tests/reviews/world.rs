//! A webhook, the API server that it asks, and the reviews that it is sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arcane_common::api::{MissingReferences, StreamClass};
use arcane_webhook::{
    Webhook,
    metrics::Metrics,
    reference_caches::{ReferenceCaches, TemplateMetadata},
    reference_gatherer::ReferenceGatherer,
    router,
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{Method, Request, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use kube::Client;
use serde_json::{Value, json};
use tower::ServiceExt;

pub const GROUP: &str = "streaming.sneaksanddata.com";
pub const KIND: &str = "SqlServerStream";

#[derive(Default)]
pub struct Server {
    objects: BTreeMap<String, Value>,
    user_may: bool,
    broken: bool,
    /// What may not be read.
    forbidden: Option<String>,
    /// What is never answered: a part of the plural and the query.
    stalling: Option<String>,
    asked: Vec<(Method, String, Value)>,
}

pub struct World {
    classes: Vec<StreamClass>,
    templates: Vec<TemplateMetadata>,
    definitions: Vec<Value>,
    pub missing_references: MissingReferences,
    server: Arc<Mutex<Server>>,
}

impl World {
    /// The plugin's class is there, in the cache and on the server.
    pub fn new() -> Self {
        Self::without_class().class(a_class("sql-server", json!({})))
    }

    /// Something of all that reviews may refer to, so that an edit of a few words leads there.
    pub fn with_a_few_of_everything() -> Self {
        let schema = json!({
            "properties": {
                "fetchSize": {"type": "integer", "minimum": 1},
                "tables": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "uniqueItems": true},
                "mode": {"enum": ["full", "changes"]},
            },
            "patternProperties": {"^x-": {"$ref": "#/$defs/extension"}},
            "$defs": {"extension": {"oneOf": [{"type": "string", "maxLength": 3}, {"required": ["name"]}]}},
        });
        let mut tracking = a_class(
            "sqlserver-change-tracking-stream",
            json!({"secretRefs": ["connectionString", "storageAccountKey"]}),
        );
        tracking["spec"]["kindRef"] = json!("SqlServerChangeTrackingStream");
        tracking["spec"]["pluralName"] = json!("sqlserverchangetrackingstreams");
        let mut stream = a_stream("data-streaming", "my-database-stream", json!({}));
        stream["kind"] = json!("SqlServerChangeTrackingStream");
        stream["spec"] = json!({"suspended": true, "jobTemplateRef": {"name": "sqlserver-stream-template"}});
        let first = json!({"streamClass": "sql-server", "streamId": "orders"});
        let of_streaming = format!("/apis/{GROUP}/v1/namespaces/data-streaming");
        Self::without_class()
            .class(a_class("sql-server", json!({"streamSchema": schema, "secretRefs": ["connectionString"]})))
            .class(a_class("sql-server-2", json!({"missingReferences": "Warn"})))
            .class(tracking)
            .template("data", "standard")
            .template("data-streaming", "sqlserver-stream-template")
            .template("data-streaming", "whole-job")
            .template_for("shared", "standard", Some("data, other"))
            .template_for("shared", "closed", Some(""))
            .live_template("data-streaming", "legacy", None)
            .namespace("data", json!({}))
            .namespace("data-streaming", json!({}))
            .namespace("other", json!({"arcane/missing-references": "Warn"}))
            .stream("data", "orders", json!({"suspended": true, "jobTemplateRef": {"name": "standard"}}))
            .put(&format!("{of_streaming}/sqlserverchangetrackingstreams/my-database-stream"), stream)
            .put(&format!("/apis/{GROUP}/v1/namespaces/data/backfillrequests/first"), a_request("first", first))
            .definition(a_definition(KIND, "sqlserverstreams"))
            .definition(a_definition("SqlServerChangeTrackingStream", "sqlserverchangetrackingstreams"))
    }

    pub fn without_class() -> Self {
        Self {
            classes: Vec::new(),
            templates: Vec::new(),
            definitions: Vec::new(),
            missing_references: MissingReferences::Auto,
            server: Arc::new(Mutex::new(Server { user_may: true, ..Server::default() })),
        }
    }

    pub fn class(mut self, class: Value) -> Self {
        self.classes.push(serde_json::from_value(class.clone()).unwrap());
        self.live_class(class)
    }

    pub fn live_class(self, class: Value) -> Self {
        let name = class["metadata"]["name"].as_str().unwrap().to_owned();
        self.put(&format!("/apis/{GROUP}/v1/streamclasses/{name}"), class)
    }

    pub fn template(self, namespace: &str, name: &str) -> Self {
        self.template_for(namespace, name, None)
    }

    /// In the cache and on the server.
    pub fn template_for(mut self, namespace: &str, name: &str, allowed: Option<&str>) -> Self {
        self.templates.push(serde_json::from_value(a_template_object(namespace, name, allowed)).unwrap());
        self.live_template(namespace, name, allowed)
    }

    /// On the server only: created a moment ago.
    pub fn live_template(self, namespace: &str, name: &str, allowed: Option<&str>) -> Self {
        let path = format!("/apis/{GROUP}/v1/namespaces/{namespace}/streamingjobtemplates/{name}");
        self.put(&path, a_template_object(namespace, name, allowed))
    }

    pub fn namespace(self, name: &str, labels: Value) -> Self {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        self.put(&format!("/api/v1/namespaces/{name}"), object)
    }

    pub fn stream(self, namespace: &str, name: &str, spec: Value) -> Self {
        let path = format!("/apis/{GROUP}/v1/namespaces/{namespace}/sqlserverstreams/{name}");
        self.put(&path, a_stream(namespace, name, spec))
    }

    pub fn definition(mut self, definition: Value) -> Self {
        self.definitions.push(definition);
        self
    }

    pub fn put(self, path: &str, object: Value) -> Self {
        self.server.lock().unwrap().objects.insert(path.to_owned(), object);
        self
    }

    pub fn user_may(self, user_may: bool) -> Self {
        self.server.lock().unwrap().user_may = user_may;
        self
    }

    pub fn forbidding(self, plural: &str) -> Self {
        self.server.lock().unwrap().forbidden = Some(plural.to_owned());
        self
    }

    pub fn stalling(self, what: &str) -> Self {
        self.server.lock().unwrap().stalling = Some(what.to_owned());
        self
    }

    pub fn broken(self) -> Self {
        self.server.lock().unwrap().broken = true;
        self
    }

    pub fn by_default(mut self, word: MissingReferences) -> Self {
        self.missing_references = word;
        self
    }

    /// What the API server was asked.
    pub fn asked(&self) -> Vec<(Method, String, Value)> {
        self.server.lock().unwrap().asked.clone()
    }

    pub fn router(&self) -> Router {
        let server = Router::new().fallback(serve).with_state(Arc::clone(&self.server));
        let definitions = self.definitions.iter().map(|definition| serde_json::from_value(definition.clone()).unwrap());
        let caches = ReferenceCaches::holding(self.classes.clone(), self.templates.clone(), definitions);
        router(Arc::new(Webhook {
            references: ReferenceGatherer::new(Client::new(server, "default"), caches),
            missing_references: self.missing_references.clone(),
            metrics: Metrics::new(),
        }))
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        post(self.router(), path, body).await
    }

    pub async fn validate(&self, review: Value) -> Answer {
        self.ask("/validate", review).await
    }

    pub async fn mutate(&self, review: Value) -> Answer {
        self.ask("/mutate", review).await
    }

    async fn ask(&self, path: &str, review: Value) -> Answer {
        let uid = review["request"]["uid"].clone();
        let (status, body) = self.post(path, review.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(body["kind"], "AdmissionReview");
        assert_eq!(body["response"]["uid"], uid);
        Answer(body["response"].clone())
    }
}

pub async fn post(router: Router, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::post(path).header("content-type", "application/json").body(body.into()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn serve(State(server): State<Arc<Mutex<Server>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let page = Page::of(&uri);
    let is_stalling = server.lock().unwrap().stalling.as_ref().is_some_and(|what| {
        let (plural, continues) = what.split_once('?').map_or((what.as_str(), false), |(plural, _)| (plural, true));
        uri.path().ends_with(&format!("/{plural}")) && (!continues || page.from > 0)
    });
    if is_stalling {
        std::future::pending::<()>().await;
    }
    let mut server = server.lock().unwrap();
    let path = uri.path().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    server.asked.push((method.clone(), path.clone(), body.clone()));
    if server.forbidden.as_ref().is_some_and(|plural| path.contains(&format!("/{plural}/"))) {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    if server.broken {
        return status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    }
    if path.ends_with("/subjectaccessreviews") {
        let mut review = body;
        review["status"] = json!({"allowed": server.user_may});
        return (StatusCode::CREATED, review.to_string()).into_response();
    }
    assert_eq!(method, Method::GET, "the webhook writes nothing");
    if let Some(object) = server.objects.get(&path) {
        return object.to_string().into_response();
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if ["streamclasses", "sqlserverstreams", "sqlserverchangetrackingstreams", "backfillrequests"].contains(&last) {
        let items: Vec<&Value> = server
            .objects
            .iter()
            .filter(|(object, _)| {
                let collection = object.rsplit_once('/').unwrap().0;
                let everywhere = collection.replace(&format!("/namespaces/{}", namespace_in(collection)), "");
                collection == path || everywhere == path
            })
            .map(|(_, object)| object)
            .skip(page.from)
            .collect();
        let shown = &items[..items.len().min(page.most)];
        let mut list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": shown});
        if shown.len() < items.len() {
            list["metadata"]["continue"] = json!((page.from + shown.len()).to_string());
        }
        return list.to_string().into_response();
    }
    status(StatusCode::NOT_FOUND, "NotFound")
}

/// The part of a list that is asked for.
struct Page {
    from: usize,
    most: usize,
}

impl Page {
    fn of(uri: &Uri) -> Self {
        let parameter = |name: &str| {
            let mut parameters = uri.query().unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
            parameters.find(|(key, _)| *key == name).map(|(_, value)| value.parse().unwrap())
        };
        Self { from: parameter("continue").unwrap_or(0), most: parameter("limit").unwrap_or(usize::MAX) }
    }
}

fn namespace_in(path: &str) -> &str {
    path.split_once("/namespaces/").map_or("-", |(_, rest)| rest.split('/').next().unwrap())
}

fn status(code: StatusCode, reason: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": reason, "metadata": {},
    });
    (code, status.to_string()).into_response()
}

#[derive(Debug)]
pub struct Answer(pub Value);

impl Answer {
    pub fn allowed(&self) -> bool {
        self.0["allowed"].as_bool().unwrap()
    }

    /// `field: message` of each cause, as kubectl prints it.
    pub fn causes(&self) -> Vec<String> {
        let causes = self.0["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
        assert_eq!(causes.is_empty(), self.allowed(), "a refusal has causes: {self:?}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        causes.iter().map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"]))).collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.0["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn is_allowed_silently(&self) {
        assert!(self.allowed() && self.warnings().is_empty(), "{self:#?}");
    }

    #[track_caller]
    pub fn is_denied_at(&self, fields: &[&str]) {
        let causes = self.causes();
        let found: Vec<&str> = causes.iter().map(|cause| cause.split_once(": ").unwrap().0).collect();
        assert_eq!(found, fields, "{causes:#?}");
    }

    #[track_caller]
    pub fn warns(&self, part: &str) {
        assert!(self.allowed(), "{self:#?}");
        assert!(self.warnings().iter().any(|warning| warning.contains(part)), "{self:#?}");
    }
}

pub fn a_class(name: &str, more: Value) -> Value {
    let mut spec = json!({"apiVersion": "v1", "kindRef": KIND, "pluralName": "sqlserverstreams"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass",
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2025-01-01T00:00:00Z"}, "spec": spec,
    })
}

/// A plugin's definition, which knows the namespaces of references to templates.
fn a_definition(kind: &str, plural: &str) -> Value {
    let reference = json!({"properties": {"name": {"type": "string"}, "namespace": {"type": "string"}}});
    let spec = json!({"properties": {"jobTemplateRef": reference, "backfillJobTemplateRef": reference}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": spec}},
            }}],
        },
    })
}

fn a_template_object(namespace: &str, name: &str, allowed: Option<&str>) -> Value {
    let annotations = allowed.map_or(json!({}), |allowed| json!({"arcane/allowed-namespaces": allowed}));
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
    })
}

pub fn a_template(spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "StreamingJobTemplate",
        "metadata": {"name": "standard", "namespace": "data"}, "spec": spec,
    })
}

pub fn a_stream(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": KIND,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// The stream `orders` of the namespace `data`.
pub fn orders(spec: Value) -> Value {
    a_stream("data", "orders", spec)
}

pub fn a_request(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "BackfillRequest",
        "metadata": {"name": name, "namespace": "data"}, "spec": spec,
    })
}

pub fn labelled(mut object: Value, class: &str) -> Value {
    object["metadata"]["labels"] = json!({"arcane/stream-class": class});
    object
}

/// Reviews as a real API server sends them.
pub fn review(operation: &str, object: Value, old_object: Value, manager: Option<&str>) -> Value {
    let of = if object.is_null() { &old_object } else { &object };
    let (group, version) = of["apiVersion"].as_str().unwrap().split_once('/').unwrap();
    let kind = of["kind"].as_str().unwrap();
    let plural = match kind {
        "StreamClass" => "streamclasses".to_owned(),
        other => format!("{}s", other.to_lowercase()),
    };
    let options = match (operation, manager) {
        ("DELETE", _) => json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions"}),
        (_, None) => json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"}),
        (_, Some(manager)) => {
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions", "fieldManager": manager})
        }
    };
    let gvk = json!({"group": group, "version": version, "kind": kind});
    let gvr = json!({"group": group, "version": version, "resource": plural});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
            "name": of["metadata"]["name"],
            "namespace": of["metadata"]["namespace"].as_str().unwrap_or_default(),
            "operation": operation,
            "userInfo": {
                "username": "jane", "uid": "42", "groups": ["devs", "system:authenticated"],
                "extra": {"scopes": ["a", "b"]},
            },
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": options,
        },
    })
}

pub fn create(object: Value) -> Value {
    review("CREATE", object, Value::Null, Some("kubectl-client-side-apply"))
}

pub fn create_by(manager: &str, object: Value) -> Value {
    review("CREATE", object, Value::Null, Some(manager))
}

pub fn update(old_object: Value, object: Value) -> Value {
    review("UPDATE", object, old_object, Some("kubectl"))
}

pub fn delete(old_object: Value) -> Value {
    review("DELETE", Value::Null, old_object, None)
}
