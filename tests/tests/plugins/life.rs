//! A stream of a stand-in, and what is seen and done in its life.

use std::time::Duration;

use arcane_tests::audit_log::AuditMark;
use arcane_tests::fixture::{SOON, has_condition};
use arcane_tests::{PodBehaviour, PodKind, PodRun, TestNamespace, eventually};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::plugins::{Plugin, lives_of};
use crate::world::{World, applied_as, kubectl_with};
use crate::{asked, job};
use arcane_tests::manifests::{CHART, Manifest, STREAMS, manifest, manifests, text_of};

pub struct Life<'w> {
    pub world: &'w World,
    pub ns: &'w TestNamespace<'w>,
    pub plugin: &'static Plugin,
    /// What it must be: one more for each change of the spec that a user makes, and none for anything else.
    pub generation: i64,
    pub began: AuditMark,
    /// Whether it brings what a chart has for the whole cluster, with the namespace of its account; one test may at a time.
    brings_cluster_roles: bool,
}

impl<'w> Life<'w> {
    pub fn new(world: &'w World, ns: &'w TestNamespace<'w>, plugin: &'static Plugin) -> Self {
        let began = asked::now(&world.fixture);
        Self { world, ns, plugin, generation: 0, began, brings_cluster_roles: false }
    }

    /// With the whole chart, if the kind is the first of its chart.
    pub fn with_its_whole_chart(self) -> Self {
        let is_first = lives_of(self.plugin.directory)[0].kind == self.plugin.kind;
        Self { brings_cluster_roles: is_first, ..self }
    }

    /// The chart's objects.
    pub fn chart(&self) -> Vec<Manifest> {
        let mut chart = manifests(self.plugin.directory, CHART, self.ns.name());
        chart.retain(|manifest| self.brings_cluster_roles || !manifest.kind().starts_with("ClusterRole"));
        chart
    }

    /// The stream's own manifest.
    pub fn manifest(&self) -> Manifest {
        manifest(self.plugin.directory, STREAMS, self.ns.name(), self.plugin.kind, self.plugin.stream)
    }

    /// What its user writes: Secrets and the stream.
    pub fn of_user(&self) -> Vec<Manifest> {
        let mut all = manifests(self.plugin.directory, STREAMS, self.ns.name());
        all.retain(|manifest| manifest.kind() == "Secret" || manifest.is(self.plugin.kind, self.plugin.stream));
        all
    }

    /// Applies with strict validation; gives the warnings.
    pub async fn applied(&self, manifests: &[Manifest]) -> String {
        applied_as(&self.world.fixture, &[], &text_of(manifests)).await
    }

    /// The same with what its user writes, in the way in which its user has to apply it.
    pub async fn applied_by_user(&self) -> String {
        applied_as(&self.world.fixture, self.way_of_its_user(), &text_of(&self.of_user())).await
    }

    fn way_of_its_user(&self) -> &'static [&'static str] {
        if self.plugin.is_applied_server_side { &["--server-side", "--force-conflicts"] } else { &[] }
    }

    /// A user's change of the spec.
    pub async fn patched(&mut self, patch: &Value) {
        self.generation += 1;
        self.patched_elsewhere(patch).await;
    }

    /// A change that leaves the spec as it is.
    pub async fn patched_elsewhere(&self, patch: &Value) {
        let api = self.ns.objects(&self.plugin.resource());
        let stream = self.ns.merge(&api, self.plugin.stream, patch.clone()).await;
        assert_eq!(stream.metadata.generation, Some(self.generation), "generation after {patch}");
    }

    /// The stream, once it is as it should be.
    pub async fn stream_that(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let api = self.ns.objects(&self.plugin.resource());
        let seen = self.ns.until(&api, self.plugin.stream, &format!("{what} stream"), holds).await;
        self.is_intact(&seen);
        seen
    }

    pub async fn stream(&self) -> Value {
        self.stream_that("any", |_| true).await
    }

    /// In this phase, in the words of its kind.
    pub async fn phase(&self, phase: &'static str) -> Value {
        self.stream_that(phase, |stream| stream["status"]["phase"] == self.plugin.word(phase)).await
    }

    /// Nobody but its user has a hand in its spec, and its status needs no annotation.
    fn is_intact(&self, stream: &Value) {
        assert_eq!(stream["metadata"]["generation"], self.generation, "{stream}");
        assert_eq!(stream["metadata"]["annotations"].get("arcane/phase"), None, "its status holds phases: {stream}");
        let conditions = stream["status"]["conditions"].as_array();
        for condition in conditions.into_iter().flatten() {
            let fields: Vec<&String> = condition.as_object().unwrap().keys().collect();
            let ours = ["type", "status", "reason", "message", "lastTransitionTime"];
            assert!(fields.iter().all(|field| ours.contains(&field.as_str())), "{condition}");
        }
    }

    /// What is said of the stream, in whatever its status can hold: `True` or `False`, and the words with their reason.
    pub fn said(&self, stream: &Value) -> (String, String) {
        let ready = if self.plugin.has_old_words { "READY" } else { "Ready" };
        let conditions = stream["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == ready);
        let ready = ready.unwrap_or_else(|| panic!("nothing is said: {}", stream["status"]));
        let text = |field: &str| ready[field].as_str().unwrap_or_default();
        let words = match ready["reason"].as_str() {
            Some(reason) => format!("{reason}: {}", text("message")),
            None => text("message").to_owned(),
        };
        (text("status").to_owned(), words)
    }

    /// Waits until this is said of the stream.
    pub async fn says(&self, phase: &'static str, ready: &str, words: &str) -> Value {
        let stream = self
            .stream_that(&format!("{phase} and saying {words:?}"), |stream| {
                let right = stream["status"]["phase"] == self.plugin.word(phase);
                right && stream["status"]["conditions"].is_array() && self.said(stream).1.contains(words)
            })
            .await;
        assert_eq!(self.said(&stream).0, ready, "{stream}");
        stream
    }

    /// The Jobs that the stream owns.
    pub async fn jobs(&self) -> Vec<Job> {
        let uid = self.stream().await["metadata"]["uid"].as_str().unwrap().to_owned();
        let mut jobs = self.ns.jobs_of(self.plugin.stream).await;
        jobs.retain(|job| job.owner_references().iter().any(|owner| owner.uid == uid));
        jobs
    }

    /// Its Job of this kind, once a pod of it runs.
    async fn running_job(&self, kind: PodKind, but: Option<&Job>) -> Job {
        let backfilling = (kind == PodKind::Backfill).to_string();
        eventually(SOON, &format!("running Job ({kind:?}) of {}", self.plugin.kind), || async {
            let jobs = self.jobs().await;
            let runs = |job: &&Job| {
                job.labels()["arcane/backfilling"] == backfilling
                    && job.metadata.deletion_timestamp.is_none()
                    && job.status.as_ref().and_then(|status| status.ready) == Some(1)
                    && but.is_none_or(|but| but.uid() != job.uid())
            };
            jobs.iter().find(runs).cloned().ok_or_else(|| format!("{jobs:?}"))
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }

    /// Those of them that have not ended.
    pub async fn unfinished_jobs(&self) -> Vec<Job> {
        let mut jobs = self.jobs().await;
        jobs.retain(|job| !has_condition(job, "Complete") && !has_condition(job, "Failed"));
        jobs
    }

    /// Waits until the stream runs, and gives its Job, which is as it should be.
    pub async fn running(&self) -> Job {
        self.running_but(None).await
    }

    /// The same with another Job than this.
    pub async fn running_anew(&self, before: &Job) -> Job {
        self.ns.gone(before).await;
        self.running_but(Some(before)).await
    }

    async fn running_but(&self, before: Option<&Job>) -> Job {
        let found = self.running_job(PodKind::Streaming, before).await;
        let name = found.name_any();
        let stream = self.says("Running", "True", &format!("Job {name} streams")).await;
        // Its annotations may be older than the stream's generation: suspend and resume make a new one, a metadata edit none.
        let as_of = found.annotations()["arcane/stream-generation"].clone();
        assert_eq!(as_of, self.generation.to_string());
        job::is_right(self.plugin, self.ns, &stream, &found, None);
        found
    }

    /// Waits until a backfill runs, and gives its Job, which is as it should be, and its request.
    pub async fn backfilling(&self) -> (Job, Value) {
        let found = self.running_job(PodKind::Backfill, None).await;
        let stream = self.says("Backfilling", "True", &format!("Job {} does the backfill", found.name_any())).await;
        let id = arcane_tests::fixture::variable(&found, "STREAMCONTEXT__BACKFILL_ID").unwrap().to_owned();
        let running = |request: &Value| request["status"]["phase"] == "Running";
        let request = self.ns.until(&self.ns.requests(), &id, "Running request", running).await;
        job::is_right(self.plugin, self.ns, &stream, &found, Some(&request));
        (found, request)
    }

    /// Lets a backfill end well: the request is completed, and its Job gets the time to live that its template gives it.
    pub async fn backfill_ends(&self, job: &Job, request: &Value) {
        self.let_pods_be(PodKind::Backfill);
        let id = request["metadata"]["name"].as_str().unwrap();
        let completed =
            |request: &Value| request["status"]["phase"] == "Completed" && request["spec"]["completed"] == true;
        self.ns.until(&self.ns.requests(), id, "Completed request", completed).await;
        let ttl: i32 = self.plugin.ttl.parse().unwrap();
        if ttl <= 1 {
            self.ns.gone(job).await;
        } else {
            let expires = |job: &Job| job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished) == Some(ttl);
            self.ns.job(&job.name_any(), "expiring", |job| expires(job) && has_condition(job, "Complete")).await;
        }
    }

    pub fn let_pods(&self, kind: PodKind, behaviour: PodBehaviour) {
        self.world.fixture.kubelet().set(self.ns.name(), self.plugin.stream, kind, behaviour);
    }

    pub fn let_pods_be(&self, kind: PodKind) {
        self.world.fixture.kubelet().unset(self.ns.name(), self.plugin.stream, kind);
    }

    /// The pods of the stream that have run.
    pub fn runs(&self, kind: PodKind) -> Vec<PodRun> {
        let of_stream =
            |run: &PodRun| run.namespace == self.ns.name() && run.stream_id == self.plugin.stream && run.kind == kind;
        self.world.fixture.kubelet().history().into_iter().filter(of_stream).collect()
    }

    /// A streaming pod ends with this exit code, and no other does.
    pub async fn a_pod_exits(&self, exit_code: i32) {
        let before = self.runs(PodKind::Streaming).iter().filter(|run| run.ended.is_none()).count();
        assert_eq!(before, 1, "one pod runs: {:?}", self.runs(PodKind::Streaming));
        self.let_pods(PodKind::Streaming, PodBehaviour::exits(exit_code, Duration::ZERO));
        eventually(SOON, &format!("exit with {exit_code}"), || async {
            let runs = self.runs(PodKind::Streaming);
            if runs.iter().all(|run| run.ended.is_some()) { Ok(()) } else { Err(format!("{runs:?}")) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        self.let_pods_be(PodKind::Streaming);
    }

    /// What stands in the cluster is what the manifests say.
    pub async fn nothing_drifts(&self) {
        let way_of_chart: &[&str] = &[];
        for (manifests, way) in [(self.chart(), way_of_chart), (self.of_user(), self.way_of_its_user())] {
            let arguments: Vec<&str> = ["diff"].iter().chain(way).copied().collect();
            let said = kubectl_with(&self.world.fixture, &arguments, &text_of(&manifests)).await;
            assert!(said.status.success() && said.stdout.is_empty(), "{}{}", said.stdout, said.stderr);
        }
    }

    /// Creates a request for a backfill of the stream.
    pub async fn ask_for_a_backfill(&self, name: &str, payload: Value) {
        let request = json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
            "metadata": {"name": name, "namespace": self.ns.name()},
            "spec": {"streamClass": self.plugin.class, "streamId": self.plugin.stream, "payload": payload},
        });
        let arguments = ["create", "--validate=strict"];
        let said = kubectl_with(&self.world.fixture, &arguments, &request.to_string()).await;
        assert!(said.status.success() && said.stderr.is_empty(), "{}{}", said.stdout, said.stderr);
    }

    /// The names of all requests of the stream.
    pub async fn requests(&self) -> Vec<String> {
        let all = self.ns.requests().list(&Default::default()).await.unwrap();
        let of_stream = |request: &&kube::core::DynamicObject| request.data["spec"]["streamId"] == self.plugin.stream;
        all.iter().filter(of_stream).map(|request| request.name_any()).collect()
    }
}
