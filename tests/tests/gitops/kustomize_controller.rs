//! Flux itself: kustomize-controller as a process, with the Kustomization of the examples over a folder of every shape.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use arcane_tests::audit_log::AuditMark;
use arcane_tests::fixture::{any_object, condition_of, definition_of, repository_file, streams_of, until};
use arcane_tests::supervisor::{Program, Supervisor};
use arcane_tests::{AuditedRequest, ChartTools, PodBehaviour, PodKind, UserAccess, eventually};
use axum::Router;
use axum::extract::{Path, State};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::converges::{all_streams_go_on, take_away};
use crate::sets::{SHAPES, Set, yaml};
use crate::world::{World, folders, on_a_cluster};

const TOOL: &str = "kustomize-controller";
/// As the Kustomization of the examples has them.
const NAMESPACE: &str = "flux-system";
const KUSTOMIZATION: &str = "data-streaming";
const REPOSITORY: &str = "platform";
/// It looks at health every five seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// Apart from the other engines: its build takes the longest, and not every run of these tests needs it.
static TOOLS: LazyLock<ChartTools> =
    LazyLock::new(|| ChartTools::obtain(&[TOOL]).unwrap_or_else(|error| panic!("{error}")));

/// Archives by their names, served to whoever asks.
type Artifacts = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// The controller at work, and the one repository it knows.
struct Flux<'w> {
    world: &'w World,
    user: UserAccess,
    artifacts: Artifacts,
    address: String,
    process: Supervisor,
}

impl<'w> Flux<'w> {
    async fn start(world: &'w World) -> Self {
        let binary = tokio::task::block_in_place(|| TOOLS.path(TOOL)).unwrap_or_else(|error| panic!("{error}"));
        let kinds = binary.with_file_name("crds").join("kustomize.toolkit.fluxcd.io_kustomizations.yaml");
        world.fixture.apply(None, &std::fs::read_to_string(kinds).unwrap()).await;
        // What a source controller would look after. Of these it reads the artifact in the status only.
        for kind in ["GitRepository", "OCIRepository", "Bucket"] {
            let plural = kind.to_lowercase().replace("repository", "repositorie") + "s";
            world.fixture.apply(None, &definition_of("source.toolkit.fluxcd.io", kind, &plural, any_object())).await;
        }
        let repository = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": REPOSITORY, "namespace": NAMESPACE}, "spec": {"interval": "1h"},
        });
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        world.fixture.apply(None, &yaml(&[namespace, repository])).await;

        let artifacts = Artifacts::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().route("/{name}", axum::routing::get(serve)).with_state(Arc::clone(&artifacts));
        tokio::spawn(async { axum::serve(listener, router).await });

        let user = world.fixture.cluster().user(TOOL, &["system:masters"]).await.unwrap_or_else(|e| panic!("{e}"));
        let process = Supervisor::start("arcane-flux-").unwrap();
        let environment = [
            ("KUBECONFIG", user.kubeconfig().display().to_string()),
            ("RUNTIME_NAMESPACE", NAMESPACE.to_owned()),
            // It unpacks archives there, and clears away what others have left.
            ("TMPDIR", process.directory().display().to_string()),
        ];
        let program = Program {
            path: binary,
            arguments: ["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"].map(str::to_owned).to_vec(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            log: None,
        };
        process.run(TOOL, &program).unwrap();
        Self { world, user, artifacts, address, process }
    }

    /// A commit of this folder; gives its revision.
    async fn commit(&self, set: &Set) -> String {
        let archive = archive_of(set);
        let digest = format!("{:x}", Sha256::digest(&archive));
        let (name, revision) = (format!("{digest}.tar.gz"), format!("main@sha256:{digest}"));
        let size = archive.len();
        self.artifacts.lock().unwrap().insert(name.clone(), archive);
        let artifact = json!({
            "path": name, "url": format!("http://{}/{name}", self.address), "revision": revision, "size": size,
            "digest": format!("sha256:{digest}"), "lastUpdateTime": "2026-01-01T00:00:00Z",
        });
        let api = self.api("source.toolkit.fluxcd.io", "GitRepository", "gitrepositories");
        let patch = Patch::Merge(json!({"status": {"artifact": artifact}}));
        api.patch_status(REPOSITORY, &PatchParams::default(), &patch).await.unwrap();
        revision
    }

    fn api(&self, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.world.fixture.client(), NAMESPACE, &streams_of(group, "v1", kind, plural))
    }

    fn kustomizations(&self) -> Api<DynamicObject> {
        self.api("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations")
    }

    /// Waits until the Kustomization is like that.
    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let api = self.kustomizations();
        eventually(PATIENCE, what, || async {
            let found = api.get(KUSTOMIZATION).await.map_err(|error| error.to_string())?;
            let found = serde_json::to_value(found).map_err(|error| error.to_string())?;
            if holds(&found) { Ok(found) } else { Err(format!("{:#}", found["status"])) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}; the end of its log:\n{}", self.process.log_tail(TOOL)))
    }

    async fn applied(&self, revision: &str) -> Value {
        let has_applied = |it: &Value| is_ready(it) && it["status"]["lastAppliedRevision"] == revision;
        self.until("Kustomization that is ready", has_applied).await
    }

    /// One more reconcile, as `flux reconcile` asks for it; waits until the Kustomization has ended it like that.
    async fn reconcile(&self, asked: &str, ended: impl Fn(&Value) -> bool) -> Value {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": asked}}}));
        self.kustomizations().patch(KUSTOMIZATION, &PatchParams::default(), &patch).await.unwrap();
        let handled = |it: &Value| it["status"]["lastHandledReconcileAt"] == asked && ended(it);
        self.until(&format!("end of {asked}"), handled).await
    }

    /// What it has changed in the cluster besides its own Kustomization.
    fn changes_since(&self, mark: AuditMark) -> Vec<AuditedRequest> {
        let all = self.world.audit_log().requests_since(mark, self.user.name());
        let changes = |request: &AuditedRequest| {
            ["create", "update", "patch", "delete"].contains(&&*request.verb)
                && !request.uri.contains("dryRun=All")
                && request.resource != "kustomizations"
                && request.resource != "events"
        };
        all.into_iter().filter(changes).collect()
    }
}

fn is_ready(kustomization: &Value) -> bool {
    condition_of(kustomization, "Ready")["status"] == "True"
        && kustomization["status"]["observedGeneration"] == kustomization["metadata"]["generation"]
}

async fn serve(Path(name): Path<String>, State(artifacts): State<Artifacts>) -> Vec<u8> {
    artifacts.lock().unwrap().get(&name).cloned().unwrap_or_default()
}

/// A repository with the folder in it, each object in a file of its own.
fn archive_of(set: &Set) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("data-streaming");
    std::fs::create_dir(&folder).unwrap();
    for (number, object) in set.objects.iter().enumerate() {
        let mut file = std::fs::File::create(folder.join(format!("{number}.yaml"))).unwrap();
        file.write_all(object.to_string().as_bytes()).unwrap();
    }
    let packed = std::process::Command::new("tar").arg("-C").arg(directory.path()).args(["-czf", "-", "."]).output();
    let packed = packed.unwrap_or_else(|error| panic!("cannot run tar: {error}"));
    assert!(packed.status.success(), "tar: {}", String::from_utf8_lossy(&packed.stderr));
    packed.stdout
}

#[test]
fn it_applies_everything_at_once_and_tells_the_truth() {
    on_a_cluster(async |world| {
        let flux = Flux::start(world).await;
        let mut set = Set::random(7000, &SHAPES);
        // A pod that fails makes its stream fail at once.
        for object in set.objects.iter_mut().filter(|object| object["kind"] == "StreamingJobTemplate") {
            if object["spec"]["backoffLimit"].is_number() {
                object["spec"]["backoffLimit"] = json!(0);
            }
        }
        let started = Instant::now();
        let first = flux.commit(&set).await;
        world.fixture.apply(None, &repository_file("examples/gitops/flux/kustomization.yaml")).await;
        let applied = flux.applied(&first).await;
        eprintln!("  {} objects applied and healthy after {:.1?}", set.objects.len(), started.elapsed());
        let history = applied["status"]["history"].as_array().cloned().unwrap_or_default();
        assert_eq!(history.len(), 1, "the first sync is the last: {history:#?}");
        assert_eq!(history[0]["lastReconciledStatus"], "ReconciliationSucceeded", "{history:#?}");
        assert_eq!(history[0]["totalReconciliations"], 1, "{history:#?}");
        all_streams_go_on(world, &set).await;

        let (mark, times) = (world.audit_log().now(), if folders() > 10 { 100 } else { 3 });
        let started = Instant::now();
        for number in 0..times {
            flux.reconcile(&format!("reconcile {number}"), is_ready).await;
        }
        assert_eq!(flux.changes_since(mark).len(), 0, "{:#?}", flux.changes_since(mark));
        eprintln!("  {times} reconciles, 0 changes: {:.1?}", started.elapsed());

        its_health_is_the_truth(&flux, &mut set).await;
        a_commit_goes_through_when_the_template_is_gone(&flux, &mut set).await;

        let kustomizations = flux.kustomizations();
        kustomizations.delete(KUSTOMIZATION, &Default::default()).await.unwrap();
        take_away(&world.fixture, &set).await;
    });
}

/// The users guide's stream in this folder, and its kind.
fn the_guides_stream(set: &Set) -> (ApiResource, Value) {
    let is_it =
        |it: &&Value| it["spec"]["sourceDatabase"].is_string() && it["apiVersion"] == "streaming.sneaksanddata.com/v1";
    let object = set.objects.iter().find(is_it).unwrap_or_else(|| panic!("no such stream"));
    let kind = set.streams().into_iter().map(|stream| stream.kind).find(|kind| object["kind"] == kind.kind.as_str());
    (kind.unwrap_or_else(|| panic!("no such kind")), object.clone())
}

/// A stream that can't start keeps the Kustomization from being ready; one that fails makes it fail.
async fn its_health_is_the_truth(flux: &Flux<'_>, set: &mut Set) {
    let world = flux.world;
    let (kind, mut late) = the_guides_stream(set);
    let template = late["spec"]["jobTemplateRef"]["name"].clone();
    late["metadata"]["name"] = json!("late");
    late["spec"]["jobTemplateRef"]["name"] = json!("of-another-team");
    set.objects.push(late);
    let revision = flux.commit(set).await;
    let streams: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &kind);
    let waits = |it: &Value| condition_of(it, "Ready")["reason"] == "TemplateMissing";
    until(&streams, "late", "stream that waits", waits).await;
    let checks = |it: &Value| {
        let said = condition_of(it, "Reconciling")["message"].as_str().unwrap_or_default();
        said.starts_with("Running health checks") && it["status"]["lastAttemptedRevision"] == revision.as_str()
    };
    let waiting = flux.until("Kustomization that waits for a stream", checks).await;
    assert!(!is_ready(&waiting), "{waiting:#}");
    let mut others = set.of_kind("StreamingJobTemplate").find(|it| it["metadata"]["name"] == template).cloned();
    let others = others.as_mut().unwrap_or_else(|| panic!("no template"));
    others["metadata"] = json!({"name": "of-another-team", "namespace": set.namespace});
    world.fixture.apply(None, &others.to_string()).await;
    flux.applied(&revision).await;

    until(&streams, "late", "Running stream", |it| it["status"]["phase"] == "Running").await;
    let fails = PodBehaviour::exits(3, Duration::ZERO);
    world.fixture.kubelet().set(&set.namespace, "late", PodKind::Streaming, fails);
    let restart = Patch::Merge(json!({"metadata": {"annotations": {"arcane/restarted-at": "now"}}}));
    streams.patch("late", &PatchParams::default(), &restart).await.unwrap();
    until(&streams, "late", "Failed stream", |it| it["status"]["phase"] == "Failed").await;
    let failed = |it: &Value| condition_of(it, "Ready")["reason"] == "HealthCheckFailed";
    let failed = flux.reconcile("a look at what has failed", failed).await;
    let said = condition_of(&failed, "Ready");
    assert_eq!(said["status"], "False", "{said:#}");
    assert!(said["message"].as_str().unwrap_or_default().contains("/late status: 'Failed'"), "{said:#}");
    set.objects.pop();
    let revision = flux.commit(set).await;
    flux.applied(&revision).await;
}

/// An old problem never blocks an unrelated commit.
async fn a_commit_goes_through_when_the_template_is_gone(flux: &Flux<'_>, set: &mut Set) {
    let (kind, stream) = the_guides_stream(set);
    let template = &stream["spec"]["jobTemplateRef"]["name"];
    set.objects.retain(|it| it["kind"] != "StreamingJobTemplate" || it["metadata"]["name"] != *template);
    for object in set.objects.iter_mut().filter(|object| object["kind"] == "Namespace") {
        object["metadata"]["labels"] = json!({"arcane/missing-references": "Deny"});
    }
    let revision = flux.commit(set).await;
    flux.applied(&revision).await;
    for object in set.objects.iter_mut().filter(|object| object["kind"] == stream["kind"]) {
        object["spec"]["pollInterval"] = json!("61s");
    }
    let revision = flux.commit(set).await;
    flux.applied(&revision).await;
    let api: Api<DynamicObject> = Api::namespaced_with(flux.world.fixture.client(), &set.namespace, &kind);
    let name = stream["metadata"]["name"].as_str().unwrap_or_default();
    until(&api, name, "stream that runs on and tells of its template", |it| {
        let told = condition_of(it, "UpToDate")["message"].to_string();
        it["spec"]["pollInterval"] == "61s"
            && it["status"]["phase"] == "Running"
            && told.contains("jobTemplateRef.name: Not found")
    })
    .await;
}
