//! What a stream's reconcile asks of the API server, word by word: the preconditions of its writes, and what it does when an answer
//! doesn't come. The decisions themselves are tested as data.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock, Mutex};

use arcane_common::{
    api::{BackfillRequest, StreamClass, StreamingJobTemplate},
    identity::{GroupKind, ObjectName, StreamKey},
};
use arcane_controller::{
    caches::Caches,
    clock::Clock,
    context::Context,
    events::Events,
    facts::{ClassFacts, JobFacts, RequestFacts, StreamFacts, TemplateFacts},
    metrics::Metrics,
    reconcile::Next,
    stream,
    work_queue::WorkQueue,
};
use arcane_process::{
    leadership::Leadership,
    namespaces::{Namespaces, Scope},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Method, Request, StatusCode},
    response::{IntoResponse, Response},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{Client, core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

const GROUP: &str = "streaming.sneaksanddata.com";
const KIND: &str = "SqlServerStream";

/// What the API server answers, and what it was asked.
#[derive(Default)]
struct Server {
    /// To requests whose method and path contain these words, in place of what is usual.
    answers: Vec<(Method, &'static str, u16, Value)>,
    asked: Vec<(Method, String, Value)>,
}

struct World {
    context: Context,
    published: JoinHandle<()>,
    server: Arc<Mutex<Server>>,
}

impl World {
    /// A class, a template, and a stream.
    fn with_stream(spec: Value, status: Value) -> Self {
        Self::with_stream_that_says(spec, status, json!({}))
    }

    /// The stream has these labels and annotations.
    fn with_stream_that_says(spec: Value, status: Value, words: Value) -> Self {
        LazyLock::force(&LOGS);
        let server = Arc::new(Mutex::new(Server::default()));
        let client = Client::new(Router::new().fallback(serve).with_state(Arc::clone(&server)), "team");
        let mut caches = Caches::of(Namespaces::default());
        let class: StreamClass = read(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass", "metadata": {"name": "sql", "uid": "class"},
            "spec": {"apiVersion": "v1", "kindRef": KIND, "pluralName": "sqlserverstreams", "secretRefs": ["password"]},
        }));
        let class = ClassFacts::of(&class);
        let resource = class.resource();
        caches.on_class(Event::Apply(("sql".to_owned(), class)));
        caches.add_kind(kind(), resource.clone());
        let template: StreamingJobTemplate = read(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamingJobTemplate",
            "metadata": {"name": "standard", "namespace": "team", "uid": "template", "resourceVersion": "1"},
            "spec": {"template": {"spec": {"containers": [{"name": "main", "image": "plugin:1"}]}}},
        }));
        caches.on_template(&Scope::All, Event::Apply((name("standard"), TemplateFacts::of(&template))));
        let mut of_stream = json!({"jobTemplateRef": {"name": "standard"}, "password": {"name": "creds"}});
        json_patch::merge(&mut of_stream, &spec);
        let mut object =
            DynamicObject::new("orders", &resource).within("team").data(json!({"spec": of_stream, "status": status}));
        object.metadata.uid = Some("stream".to_owned());
        object.metadata.resource_version = Some("7".to_owned());
        object.metadata.generation = Some(1);
        object.metadata.labels = read(words.clone());
        object.metadata.annotations = read(words);
        let facts = StreamFacts::of(&kind(), &object);
        caches.on_stream(&kind(), &Scope::All, Event::Apply((name("orders"), facts)));
        let (events, publisher) = Events::new();
        let published = tokio::spawn(publisher.publish(client.clone(), Leadership::always()));
        let context = Context {
            client,
            caches: Mutex::new(caches),
            queue: WorkQueue::new(),
            leadership: Leadership::always(),
            webhook_configuration: None,
            events,
            metrics: Metrics::new(),
            clock: Clock::system(),
            kinds_changed: Notify::new(),
            synced: Notify::new(),
        };
        Self { context, published, server }
    }

    fn with_request(self) -> Self {
        self.with(a_request())
    }

    fn with(self, request: Value) -> Self {
        let request: BackfillRequest = read(request);
        let facts = RequestFacts::of(&request);
        self.context.caches().on_request(&Scope::All, Event::Apply((facts.name.clone(), facts)));
        self
    }

    fn without_request(&self) {
        let request: BackfillRequest = read(a_request());
        let facts = RequestFacts::of(&request);
        self.context.caches().on_request(&Scope::All, Event::Delete((facts.name.clone(), facts)));
    }

    fn see_job(&self, job: &Value) {
        let facts = JobFacts::of(&read::<Job>(job.clone()));
        self.context.caches().on_job(&Scope::All, Event::Apply((facts.name.clone(), facts)));
    }

    fn answers(&self, method: Method, path: &'static str, code: u16, body: Value) {
        self.server.lock().unwrap().answers.insert(0, (method, path, code, body));
    }

    async fn reconcile(&self) -> Result<Next, arcane_controller::writes::WriteError> {
        stream::reconcile(&self.context, &StreamKey { kind: kind(), name: name("orders") }).await
    }

    /// The bodies of requests with this method, whose path contains these words.
    fn asked(&self, method: Method, path: &str) -> Vec<Value> {
        let server = self.server.lock().unwrap();
        let asked = server.asked.iter().filter(|(how, what, _)| *how == method && what.contains(path));
        asked.map(|(_, _, body)| body.clone()).collect()
    }
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn kind() -> GroupKind {
    GroupKind::new(GROUP, KIND)
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("team", name)
}

fn a_request() -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "BackfillRequest",
        "metadata": {"name": "again", "namespace": "team", "uid": "request", "resourceVersion": "5"},
        "spec": {"streamClass": "sql", "streamId": "orders", "completed": false},
    })
}

fn a_job(name: &str, backfilling: bool) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "namespace": "team", "uid": format!("job-{name}"), "resourceVersion": "9",
            "labels": {
                "arcane/stream-id": "orders", "arcane/stream-kind": KIND, "arcane/backfilling": backfilling.to_string(),
            },
            "annotations": {"arcane/stream-generation": "1", "arcane/backfill-request-uid": "request"},
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"), "kind": KIND, "name": "orders", "uid": "stream", "controller": true,
            }],
        },
        "spec": {"template": {"spec": {"containers": []}}},
        "status": {"ready": 1},
    })
}

async fn serve(State(server): State<Arc<Mutex<Server>>>, request: Request<Body>) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut server = server.lock().unwrap();
    server.asked.push((method.clone(), path.clone(), body));
    let said = server.answers.iter().find(|(how, words, _, _)| *how == method && path.contains(words));
    let (code, answer) = match said {
        Some((_, _, code, answer)) => (*code, answer.clone()),
        None if method == Method::GET => {
            (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}))
        }
        // At no newer version than what the watches have shown.
        None => {
            let metadata = json!({"name": "x", "namespace": "team", "uid": "written", "resourceVersion": "0"});
            (200, json!({"apiVersion": "v1", "kind": "Object", "metadata": metadata}))
        }
    };
    let code = StatusCode::from_u16(code).unwrap();
    if code.is_success() || answer.is_object() {
        return (code, answer.to_string()).into_response();
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code.as_u16(),
        "message": "no", "reason": if code == StatusCode::NOT_FOUND { "NotFound" } else { "Timeout" },
    });
    (code, status.to_string()).into_response()
}

/// Else it could delete a backfill's Job that has just completed, whose work would be done twice.
#[tokio::test]
async fn a_job_is_deleted_as_it_was_seen_or_not_at_all() {
    let world = World::with_stream(json!({"suspended": true}), json!({"phase": "Backfilling"})).with_request();
    world.see_job(&a_job("orders-backfill", true));
    world.reconcile().await.unwrap();
    let deletions = world.asked(Method::DELETE, "/jobs/orders-backfill");
    assert_eq!(deletions.len(), 1);
    assert_eq!(deletions[0]["preconditions"], json!({"uid": "job-orders-backfill", "resourceVersion": "9"}));
    assert_eq!(deletions[0]["propagationPolicy"], "Foreground");
}

/// Else its work would count as stopped, and be done again: the Job controller says a moment later only that it is done.
#[tokio::test]
async fn a_backfill_whose_pod_has_just_ended_well_is_not_stopped() {
    let pod = |phase: &str| {
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "job-orders-backfill", "controller": true});
        let metadata = json!({"name": "p", "namespace": "team", "uid": "pod", "ownerReferences": [owner]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}});
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]})
    };
    for (phase, deletions) in [("Succeeded", 0), ("Running", 1), ("Failed", 1)] {
        let world = World::with_stream(json!({"suspended": true}), json!({"phase": "Backfilling"})).with_request();
        world.see_job(&a_job("orders-backfill", true));
        world.answers(Method::GET, "/pods", 200, pod(phase));
        world.reconcile().await.unwrap();
        assert_eq!(world.asked(Method::DELETE, "/jobs/orders-backfill").len(), deletions, "{phase}");
    }
}

/// Else a former leader's write that comes late could take back what was recorded meanwhile.
#[tokio::test]
async fn a_requests_status_is_written_as_it_was_seen_or_not_at_all() {
    let world = World::with_stream(json!({}), json!({"phase": "Pending"})).with_request();
    world.reconcile().await.unwrap();
    let statuses = world.asked(Method::PATCH, "/backfillrequests/again/status");
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0]["metadata"], json!({"uid": "request", "resourceVersion": "5"}));
    assert_eq!(world.asked(Method::POST, "/jobs").len(), 1);

    let world = World::with_stream(json!({}), json!({"phase": "Pending"})).with_request();
    world.answers(Method::PATCH, "/backfillrequests/again/status", 409, json!(null));
    assert!(matches!(world.reconcile().await.unwrap(), Next::After(_)));
    assert!(world.asked(Method::POST, "/jobs").is_empty());
}

/// Else a stream that is created anew would backfill for a request that goes with the one before it, and then not again.
#[tokio::test]
async fn nothing_is_started_for_a_request_that_is_gone() {
    for gone in ["/backfillrequests/again/status", "/backfillrequests/again"] {
        let world = World::with_stream(json!({}), json!({"phase": "Pending"})).with_request();
        world.answers(Method::PATCH, gone, 404, json!(null));
        assert!(matches!(world.reconcile().await.unwrap(), Next::After(_)), "{gone}");
        assert!(world.asked(Method::POST, "/jobs").is_empty(), "{gone}");
    }
}

/// Else two Jobs could run: the one whose creation was answered by nobody, and what is wanted by then.
#[tokio::test]
async fn after_a_creation_without_an_answer_nothing_is_started_until_the_watch_shows_what_came_of_it() {
    let world = World::with_stream(json!({}), json!({"phase": "Pending"})).with_request();
    world.answers(Method::POST, "/jobs", 504, json!(null));
    world.reconcile().await.unwrap_err();
    assert_eq!(world.asked(Method::POST, "/jobs").len(), 1);

    // It came through, and meanwhile its request was deleted. The watch of Jobs is late.
    let job = a_job("orders-backfill", true);
    world.answers(Method::POST, "/jobs", 200, job.clone());
    world.answers(
        Method::GET,
        "/jobs",
        200,
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [job]}),
    );
    world.without_request();
    assert!(matches!(world.reconcile().await.unwrap(), Next::After(_)));
    assert_eq!(world.asked(Method::POST, "/jobs").len(), 1);

    world.see_job(&job);
    world.reconcile().await.unwrap();
    assert_eq!(world.asked(Method::POST, "/jobs").len(), 1);
    assert_eq!(world.asked(Method::DELETE, "/jobs/orders-backfill").len(), 1);
}

/// What a Job is made of, without what its stream and request may say: values of our own variables, and hashes.
fn apart_from_what_is_said(mut job: Value) -> Value {
    job["metadata"]["annotations"]["configuration-hash"].take();
    job["metadata"]["annotations"]["arcane/restarted-at"].take();
    job["metadata"]["annotations"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    for variable in job["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap() {
        let said = ["STREAMCONTEXT__SPEC", "STREAMCONTEXT__OVERRIDE", "STREAMCONTEXT_SPEC_OVERRIDE"];
        if said.iter().any(|name| variable["name"] == *name) {
            variable["value"].take();
        }
    }
    job
}

/// Nothing that a stream or a request says becomes a part of the Job: no label, no annotation, no variable, no field of the pod.
#[tokio::test]
async fn labels_fields_and_payloads_give_a_stream_no_more_than_it_has() {
    let made = async |world: World| {
        world.reconcile().await.unwrap();
        let mut jobs = world.asked(Method::POST, "/jobs");
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    };
    let request = |payload: Value| {
        let mut request = a_request();
        request["spec"]["payload"] = payload;
        request
    };
    let harmless =
        made(World::with_stream(json!({}), json!({"phase": "Pending"})).with(request(json!({"a": 1})))).await;
    let pod = json!({
        "serviceAccountName": "admin", "hostNetwork": true, "env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}],
        "containers": [{"name": "other", "image": "evil:1", "securityContext": {"privileged": true}}],
    });
    let mut spec = json!({
        "STREAMCONTEXT__BACKFILL": "false", "STREAMCONTEXT__BACKFILL_ID": "forged",
        "text": "\"}],\"serviceAccountName\":\"admin\" $(KUBERNETES_SERVICE_HOST) $$(X)\n- name: LD_PRELOAD",
        "metadata": {"ownerReferences": [], "annotations": {"arcane/template": "other/template"}},
    });
    json_patch::merge(&mut spec, &pod);
    let words = json!({
        "arcane/backfill-request-uid": "forged", "arcane/stream-id": "other", "arcane/template-hash": "forged",
        "arcane/ttl-seconds-after-finished": "0", "arcane/completed-written": "true", "streamId": "other",
        "configuration-hash": "forged", "app.kubernetes.io/managed-by": "somebody", "sidecar.istio.io/inject": "false",
    });
    let world = World::with_stream_that_says(spec.clone(), json!({"phase": "Pending"}), words);
    let hostile =
        made(world.with(request(json!({"spec": pod, "STREAMCONTEXT__BACKFILL": "false", "x": "$(HOME)"})))).await;
    assert_ne!(hostile, harmless, "it is said to the program, as it is");
    assert_eq!(apart_from_what_is_said(hostile.clone()), apart_from_what_is_said(harmless));
    // The kubelet expands nothing of it.
    let env = hostile["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    for variable in env.iter().filter_map(|variable| variable["value"].as_str()) {
        assert!(!variable.replace("$$", "").contains('$'), "{variable}");
    }
}

thread_local! {
    /// What was logged on this thread, which is one test's.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ToThisThread;

impl std::io::Write for ToThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One for all tests, before the first of them logs anything: where only one thread has a subscriber, what another thread logs
/// first is switched off for both.
static LOGS: LazyLock<()> = LazyLock::new(|| {
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| ToThisThread).init();
});

/// Somebody writes a password where it doesn't belong (but not in place of a word that Arcane itself reads). Programs get it; logs, events, conditions, errors and metrics don't.
#[tokio::test]
async fn no_value_of_a_spec_is_told() {
    const SECRET: &str = "hunter2";
    let specs = [
        json!({"connectionString": SECRET}),
        json!({"password": SECRET}),
        json!({"password": {"secretRef": SECRET}}),
        json!({"jobTemplateRef": {"name": "standard", "password": SECRET}}),
        json!({"execution": {"layoutVersion": 1, "password": SECRET}}),
    ];
    let mut request = a_request();
    request["spec"]["payload"] = json!({"password": SECRET});
    let (mut told, mut events) = (0, 0);
    for spec in specs {
        for (code, status) in [(200, "Pending"), (422, "Pending"), (504, "Pending"), (403, "")] {
            let world = World::with_stream(spec.clone(), json!({"phase": status})).with(request.clone());
            if code != 200 {
                world.answers(Method::POST, "/jobs", code, json!(null));
            }
            for _ in 0..2 {
                if let Err(error) = world.reconcile().await {
                    tracing::warn!(%error, ?error, "reconcile failed");
                }
            }
            world.context.events.end().await;
            world.published.await.unwrap();
            let asked = world.server.lock().unwrap().asked.clone();
            events += asked.iter().filter(|(_, path, _)| path.ends_with("/events")).count();
            for (method, path, body) in asked.iter().filter(|(_, path, _)| !path.ends_with("/jobs")) {
                told += 1;
                assert!(!body.to_string().contains(SECRET), "{method} {path}: {body}");
            }
            assert!(!world.context.metrics.text().unwrap().contains(SECRET));
        }
    }
    let log = String::from_utf8(LOG.take()).unwrap();
    assert!(told > 20 && events > 10 && log.contains("created Job"), "{told}, of them {events} events: {log}");
    let leak = log.lines().find(|line| line.contains(SECRET));
    assert!(leak.is_none(), "{leak:?}");
}
