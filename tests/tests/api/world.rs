//! The cluster that all tests share, and what a test says of it.

use std::sync::LazyLock;
use std::time::Duration;

use arcane_tests::audit_log::AuditMark;
use arcane_tests::fixture::{SOON, any_object, definition_of, sample_streams, streams_of, variable};
use arcane_tests::{AuditedRequest, Fixture, FixtureOptions, PodKind, PodRun, TestNamespace, eventually};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Clients belong to the runtime that made them, so there is one for all tests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static FIXTURE: OnceCell<Fixture> = OnceCell::const_new();

/// The group of a class whose kind the controller may not read: see `rights`.
pub const FORBIDDEN_GROUP: &str = "plugins.example.com";

/// Templates beside those of the sample plugin: Jobs of these fail at once, or vanish soon after their end.
pub const TEMPLATES: &str = r"
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: once}
spec: &job
  backoffLimit: 0
  template: &pod
    spec:
      containers:
      - name: stream
        image: example.com/stream:1
---
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: short-lived}
spec:
  backoffLimit: 0
  ttlSecondsAfterFinished: 1
  template:
    spec:
      containers:
      - name: stream
        image: example.com/stream:1
";

/// A plugin whose kind holds whatever is written into it, with a dash in its plural.
const TEST_PLUGIN: &str = r"
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamClass
metadata: {name: test-streams}
spec:
  apiVersion: v1
  kindRef: TestStream
  pluralName: test-streams
";

/// Runs a test in a namespace of its own, named like the test.
pub fn on_a_cluster(test: impl AsyncFnOnce(&TestNamespace<'static>)) {
    RUNTIME.block_on(async {
        let fixture = FIXTURE.get_or_init(a_fixture).await;
        let since = fixture.cluster().audit_log().map(|log| log.now());
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("test").rsplit("::").next().unwrap_or("test").replace('_', "-");
        let namespace = fixture.namespace(&name).await;
        namespace.apply(TEMPLATES).await;
        let started = std::time::Instant::now();
        test(&namespace).await;
        eprintln!("{name}: {:.1?}", started.elapsed());
        if let Some(since) = since {
            nothing_was_forbidden(&namespace, since);
        }
        let ran = history(&namespace);
        no_stream_had_two_pods_at_once(&ran);
        let name = namespace.name().to_owned();
        drop(namespace);
        fixture.kubectl(&["delete", "namespace", &name, "--wait=false", "--ignore-not-found"]).await;
    });
}

/// Runs a test that makes a cluster for itself.
pub fn without_the_cluster(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

async fn a_fixture() -> Fixture {
    let fixture = Fixture::start(FixtureOptions::default()).await;
    fixture.apply(None, &plugin_crd("streaming.sneaksanddata.com", "TestStream", "test-streams")).await;
    fixture.apply(None, TEST_PLUGIN).await;
    fixture
}

/// A plugin's CRD whose streams may hold anything.
pub fn plugin_crd(group: &str, kind: &str, plural: &str) -> String {
    definition_of(group, kind, plural, any_object())
}

/// A StreamClass of a kind of version v1; `more` is merged into its spec.
pub fn class(name: &str, group: &str, kind: &str, plural: &str, more: Value) -> String {
    let mut spec = json!({"apiGroupRef": group, "apiVersion": "v1", "kindRef": kind, "pluralName": plural});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": name}, "spec": spec,
    })
    .to_string()
}

/// The kind that holds whatever is written into it.
pub fn test_streams() -> ApiResource {
    streams_of("streaming.sneaksanddata.com", "v1", "TestStream", "test-streams")
}

/// The StreamClasses.
pub fn classes(fixture: &Fixture) -> Api<DynamicObject> {
    let kind = streams_of("streaming.sneaksanddata.com", "v1", "StreamClass", "streamclasses");
    Api::all_with(fixture.client(), &kind)
}

/// What a valid stream of the sample plugin says; its Jobs fail when a pod does.
pub fn spec() -> Value {
    json!({
        "jobTemplateRef": {"name": "once"},
        "sourceDatabase": "OrdersDB",
        "sourceTable": "Orders",
        "secretRef": {"name": "my-database-creds"},
    })
}

/// The same with some fields replaced or added.
pub fn spec_with(more: Value) -> Value {
    let mut spec = spec();
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

/// Creates an object of a kind.
pub async fn create(ns: &TestNamespace<'_>, kind: &ApiResource, name: &str, spec: Value) -> DynamicObject {
    create_labelled(ns, kind, name, json!({}), spec).await
}

/// Creates an object of a kind with labels.
pub async fn create_labelled(
    ns: &TestNamespace<'_>,
    kind: &ApiResource,
    name: &str,
    labels: Value,
    spec: Value,
) -> DynamicObject {
    let mut object = DynamicObject::new(name, kind).data(json!({"spec": spec}));
    object.metadata.labels = serde_json::from_value(labels).unwrap();
    let created = ns.objects(kind).create(&PostParams::default(), &object).await;
    created.unwrap_or_else(|error| panic!("cannot create {} {name}: {error}", kind.kind))
}

/// Creates a stream of the sample plugin.
pub async fn a_stream(ns: &TestNamespace<'_>, name: &str, spec: Value) -> DynamicObject {
    create(ns, &sample_streams(), name, spec).await
}

/// A stream of the sample plugin whose first backfill is done, and its streaming Job.
pub async fn a_running_stream(ns: &TestNamespace<'_>, name: &str) -> Job {
    a_stream(ns, name, spec()).await;
    running(ns, name).await
}

/// Waits until a stream of the sample plugin runs, and gives its Job.
pub async fn running(ns: &TestNamespace<'_>, name: &str) -> Job {
    running_of(ns, &sample_streams(), name).await
}

/// Waits until a stream runs, and gives its Job.
pub async fn running_of(ns: &TestNamespace<'_>, kind: &ApiResource, name: &str) -> Job {
    let api = ns.objects(kind);
    eventually(SOON, &format!("running stream {name}"), || async {
        let stream = api.get_opt(name).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
        let status = &stream.data["status"];
        let (Some(job), "Running") = (status["jobName"].as_str(), status["phase"].as_str().unwrap_or_default()) else {
            return Err(stream.data.to_string());
        };
        let job = ns.jobs().get_opt(job).await.map_err(|error| error.to_string())?.ok_or("no Job")?;
        let ours = job.owner_references().iter().any(|owner| Some(&owner.uid) == stream.metadata.uid.as_ref());
        let ready = job.status.as_ref().and_then(|status| status.ready) == Some(1);
        match (ours, ready, &job.metadata.deletion_timestamp) {
            (true, true, None) => Ok(job),
            seen => Err(format!("{}: ours, ready, deleted: {seen:?}; {}", job.name_any(), stream.data)),
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"))
}

/// Waits until a stream runs with another Job than this.
pub async fn running_anew(ns: &TestNamespace<'_>, name: &str, before: &Job) -> Job {
    ns.gone(before).await;
    running(ns, name).await
}

/// Waits until a backfill Job of a stream runs.
pub async fn backfilling(ns: &TestNamespace<'_>, name: &str) -> Job {
    ns.phase(name, "Backfilling").await;
    let is_running = |job: &Job| job.status.as_ref().and_then(|status| status.ready) == Some(1);
    ns.job(&format!("{name}-backfill"), "running", is_running).await
}

/// Asks for a backfill of a stream of the sample plugin.
pub async fn a_request(ns: &TestNamespace<'_>, name: &str, stream: &str) -> DynamicObject {
    a_request_with(ns, name, json!({"streamId": stream})).await
}

/// The same with more in the request's spec.
pub async fn a_request_with(ns: &TestNamespace<'_>, name: &str, mut spec: Value) -> DynamicObject {
    if spec.get("streamClass").is_none() {
        spec["streamClass"] = json!("sqlserver-change-tracking-stream");
    }
    let kind = streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
    create(ns, &kind, name, spec).await
}

/// Waits until a request is in this phase.
pub async fn request_phase(ns: &TestNamespace<'_>, name: &str, phase: &str) -> Value {
    let holds = |request: &Value| request["status"]["phase"] == phase;
    ns.until(&ns.requests(), name, &format!("{phase} request"), holds).await
}

/// All requests of the namespace.
pub async fn requests(ns: &TestNamespace<'_>) -> Vec<DynamicObject> {
    ns.requests().list(&Default::default()).await.unwrap().items
}

/// The id of a backfill Job.
pub fn backfill_id(job: &Job) -> &str {
    variable(job, "STREAMCONTEXT__BACKFILL_ID").unwrap_or_else(|| panic!("no backfill id in Job {}", job.name_any()))
}

/// Waits until an event about an object tells this reason, and gives its words.
pub async fn event(ns: &TestNamespace<'_>, about: &str, reason: &str) -> String {
    eventually(SOON, &format!("event {reason} about {about}"), || async {
        let events = ns.events_about(about).await;
        let found = events.iter().find(|event| event.starts_with(&format!("{reason}: "))).cloned();
        found.ok_or_else(|| format!("{events:?}"))
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"))
}

/// The pods of the namespace that have run.
pub fn history(ns: &TestNamespace<'_>) -> Vec<PodRun> {
    ns.fixture().kubelet().history().into_iter().filter(|run| run.namespace == ns.name()).collect()
}

/// The pods of a stream of one kind that have run.
pub fn runs_of(ns: &TestNamespace<'_>, stream: &str, kind: PodKind) -> Vec<PodRun> {
    history(ns).into_iter().filter(|run| run.stream_id == stream && run.kind == kind).collect()
}

/// Two kinds may have a stream of one name in a namespace; such streams are to be named `twin...`.
fn no_stream_had_two_pods_at_once(runs: &[PodRun]) {
    for (index, run) in runs.iter().enumerate() {
        for other in &runs[index + 1..] {
            let same = run.stream_id == other.stream_id && !run.stream_id.is_empty();
            if same && !run.stream_id.starts_with("twin") {
                assert!(!run.overlaps(other), "two pods of a stream at once: {run:?} and {other:?}");
            }
        }
    }
}

/// What the controller asked for in a namespace since then, watches apart.
pub fn asked_since(ns: &TestNamespace<'_>, since: AuditMark) -> Vec<AuditedRequest> {
    let Some(log) = ns.fixture().cluster().audit_log() else { return Vec::new() };
    let all = log.requests_since(since, ns.fixture().operator_access().name());
    all.into_iter().filter(|request| request.namespace == ns.name() && request.verb != "watch").collect()
}

/// Sees the controller do nothing in a namespace for three seconds. It has some time to come to rest: what the API server
/// refuses is tried again from time to time, at first soon after another. What loops never rests that long.
pub async fn nothing_loops(ns: &TestNamespace<'_>) {
    if ns.fixture().cluster().audit_log().is_none() {
        eprintln!("skipped: whether it is quiet can't be told without the audit log");
    }
    quiet_for(ns, Duration::from_secs(3)).await;
}

/// Waits until the controller has asked for nothing in a namespace for a second.
pub async fn settled(ns: &TestNamespace<'_>) {
    quiet_for(ns, Duration::from_secs(1)).await;
}

async fn quiet_for(ns: &TestNamespace<'_>, wanted: Duration) {
    let Some(log) = ns.fixture().cluster().audit_log() else { return };
    let mut since = log.now();
    let mut quiet_from = std::time::Instant::now();
    eventually(SOON, &format!("{wanted:?} without requests"), || {
        let asked = asked_since(ns, since);
        if !asked.is_empty() {
            since = log.now();
            quiet_from = std::time::Instant::now();
        }
        let quiet = quiet_from.elapsed() > wanted;
        async move { if quiet { Ok(()) } else { Err(format!("{asked:#?}")) } }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// A kind that has just been installed is unknown to an admission plugin of the API server for up to half a minute, which
/// answers with 403, too: what was allowed in the end was no lack of rights.
fn nothing_was_forbidden(ns: &TestNamespace<'_>, since: AuditMark) {
    let Some(log) = ns.fixture().cluster().audit_log() else { return };
    let ours = |request: &AuditedRequest| request.namespace == ns.name() || request.namespace.is_empty();
    let mut requests = log.requests_since(since, ns.fixture().operator_access().name());
    requests.retain(|request| ours(request) && request.group != FORBIDDEN_GROUP);
    let what =
        |it: &AuditedRequest| (it.verb.clone(), it.resource.clone(), it.subresource.clone(), it.namespace.clone());
    let allowed: Vec<_> = requests.iter().filter(|request| request.code < 300).map(what).collect();
    let forbidden: Vec<String> = requests
        .iter()
        .filter(|request| request.code == 403 && !allowed.contains(&what(request)))
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    assert!(
        forbidden.is_empty(),
        "the chart's rights don't suffice for {} requests: {}",
        forbidden.len(),
        forbidden[0]
    );
}
