//! Contract §4, takeover: a cluster that the older Go operator leaves, with a stream of every plugin in every phase, moves over
//! as it is.

use arcane_tests::fixture::{SOON, has_condition, repository_file};
use arcane_tests::manifests::{CHART, KINDS, Manifest, NAMESPACE, manifest, manifests, text_of};
use arcane_tests::{
    Fixture, FixtureOptions, OperatorOptions, OperatorProcess, PodBehaviour, PodKind, TestNamespace, go_operator,
};
use futures::future::join_all;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::asked;
use crate::job::job_spec_of;
use crate::life::Life;
use crate::plugins::{DIRECTORIES, LIVES, Layout, Plugin};
use crate::world::{World, a_cluster_with, a_namespace, kubectl_with, without_the_cluster};

/// So that nothing runs by itself.
const HARDLY_EVER: &str = "0 0 1 1 *";

/// In what state the Go operator leaves a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Its Job streams; the request of its first backfill is completed, without a status.
    Running,
    /// A request is open, and its Job runs.
    Backfilling,
    /// The Job of the open request has ended, and nobody has seen it.
    BackfillEnded,
    /// The Job of the open request has failed, and was deleted.
    BackfillFailed,
    /// A request is open, and there is no Job yet.
    Requested,
    /// Suspended, with an open request.
    Suspended,
    /// Its Job has failed, and was deleted.
    Failed,
    /// A CronJob starts its runs.
    Scheduled,
}

const STATES: [Left; 8] = [
    Left::Running,
    Left::Backfilling,
    Left::BackfillEnded,
    Left::BackfillFailed,
    Left::Requested,
    Left::Suspended,
    Left::Failed,
    Left::Scheduled,
];

impl Left {
    /// Whether a kind of stream can be in this state.
    fn is_for(self, plugin: &Plugin) -> bool {
        match self {
            Self::Suspended => plugin.can_be_suspended,
            Self::Scheduled => plugin.layout != Layout::Flat,
            _ => true,
        }
    }

    fn phase(self) -> Option<&'static str> {
        match self {
            Self::Running => Some("Running"),
            Self::Backfilling | Self::BackfillEnded => Some("Backfilling"),
            Self::BackfillFailed | Self::Failed => Some("Failed"),
            Self::Requested => None,
            Self::Suspended => Some("Suspended"),
            Self::Scheduled => Some("Scheduled"),
        }
    }

    /// Whether the request of its first backfill is completed.
    fn is_backfilled(self) -> bool {
        matches!(self, Self::Running | Self::Failed | Self::Scheduled)
    }
}

/// One stream, and what the Go operator has made for it.
struct Stream<'w> {
    life: Life<'w>,
    left: Left,
    job: Option<Job>,
    cron_job: Option<CronJob>,
    request: String,
}

#[test]
fn what_the_go_operator_leaves_moves_over_as_it_is() {
    without_the_cluster(async {
        let options = FixtureOptions { crds: false, operator: false, ..FixtureOptions::default() };
        let world = World::without_processes(a_cluster_with(options).await);
        let fixture = &world.fixture;
        it_has_older_kinds(fixture).await;
        let namespaces = join_all(STATES.map(async |left| {
            let ns = a_namespace(fixture, &format!("{left:?}").to_lowercase()).await;
            (left, ns)
        }))
        .await;
        let streams = join_all(namespaces.iter().map(|(left, ns)| are_left(&world, ns, *left))).await;

        // As README tells: the kinds, then the processes.
        let crds = repository_file("charts/arcane-operator/files/crds.yaml");
        let said = kubectl_with(fixture, &["apply", "--server-side", "--force-conflicts"], &crds).await;
        assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
        let mark = asked::now(fixture);
        let process = world.webhook.start().await;
        let options = OperatorOptions { ready_within: Some(SOON), ..fixture.operator_options("controller.log") };
        let controller = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));

        join_all(streams.iter().flatten().map(moves_over)).await;
        for (_, ns) in &namespaces {
            asked::nothing_loops(ns).await;
            asked::nothing_was_forbidden(fixture, world.webhook.name(), ns, mark);
        }
        for stream in streams.iter().flatten() {
            its_job_is_the_same(stream, mark).await;
        }
        join_all(streams.iter().flatten().map(goes_on)).await;
        drop(streams);
        drop((namespaces, controller, process));
        let World { fixture, .. } = world;
        fixture.stop().await;
    });
}

/// Our kinds as an older chart defines them, and every plugin installed on that.
async fn it_has_older_kinds(fixture: &Fixture) {
    fixture.apply(None, include_str!("older-crds.yaml")).await;
    for directory in DIRECTORIES {
        fixture.apply(None, &text_of(&manifests(directory, KINDS, NAMESPACE))).await;
        let mut classes = manifests(directory, CHART, NAMESPACE);
        classes.retain(|manifest| manifest.kind() == "StreamClass");
        fixture.apply(None, &text_of(&classes)).await;
    }
}

/// A stream of every plugin that can be in this state.
async fn are_left<'w>(world: &'w World, ns: &'w TestNamespace<'w>, left: Left) -> Vec<Stream<'w>> {
    for directory in DIRECTORIES {
        let mut chart = manifests(directory, CHART, ns.name());
        chart.retain(|manifest| ["ServiceAccount", "StreamingJobTemplate"].contains(&manifest.kind()));
        ns.apply(&text_of(&chart)).await;
    }
    let mut streams = Vec::new();
    for plugin in LIVES.iter().filter(|plugin| left.is_for(plugin)) {
        streams.push(is_left(world, ns, plugin, left).await);
    }
    streams
}

async fn is_left<'w>(world: &'w World, ns: &'w TestNamespace<'w>, plugin: &'static Plugin, left: Left) -> Stream<'w> {
    let mut life = Life::new(world, ns, plugin);
    life.generation = 1;
    if left == Left::Backfilling {
        life.let_pods(PodKind::Backfill, PodBehaviour::runs());
    }
    let mut of_user = life.of_user();
    for manifest in of_user.iter_mut().filter(|manifest| manifest.kind() == plugin.kind) {
        *manifest = as_its_user_wrote_it(manifest, plugin, left);
    }
    let said = kubectl_with(&world.fixture, &["apply", "--server-side", "--validate=strict"], &text_of(&of_user)).await;
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
    let api = ns.objects(&plugin.resource());
    let stream = api.get(plugin.stream).await.unwrap();
    let spec = &stream.data["spec"];

    let request = format!("{}-initial-backfill-x7k2p", plugin.stream);
    let of_request = json!({"completed": left.is_backfilled(), "streamClass": plugin.class, "streamId": plugin.stream});
    ns.apply(
        &json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
            "metadata": {"name": request}, "spec": of_request,
        })
        .to_string(),
    )
    .await;
    let job_spec = |template: &str| {
        let template = manifest(plugin.directory, CHART, ns.name(), "StreamingJobTemplate", template).value;
        job_spec_of(&template).1.clone()
    };
    let hash = go_operator::hash_of(spec).await;
    let job = match left {
        Left::Running => Some(go_operator::job(&stream, &job_spec(plugin.templates[0]), &hash, None)),
        Left::Backfilling | Left::BackfillEnded => {
            let mut job_spec = job_spec(plugin.templates[1]);
            if left == Left::BackfillEnded {
                // With a TTL of 1 s nobody who comes later can know what became of it.
                job_spec["ttlSecondsAfterFinished"] = json!(3600);
            }
            let hash = go_operator::hash_of_backfill(spec, &of_request).await;
            Some(go_operator::job(&stream, &job_spec, &hash, Some(&request)))
        }
        _ => None,
    };
    let cron_job = (left == Left::Scheduled)
        .then(|| go_operator::cron_job(&stream, HARDLY_EVER, &job_spec(plugin.templates[0]), &hash));
    if let Some(phase) = left.phase() {
        let ready = if plugin.has_old_words { "READY" } else { "Ready" };
        let status = json!({
            "phase": plugin.word(phase), "configurationHash": hash, "conditions": go_operator::condition(ready, phase),
        });
        api.patch_status(plugin.stream, &PatchParams::default(), &Patch::Merge(json!({"status": status})))
            .await
            .unwrap();
    }
    let mut stream = Stream { life, left, job: None, cron_job: None, request };
    if let Some(job) = job {
        let job = ns.jobs().create(&PostParams::default(), &job).await.unwrap();
        let there = |job: &Job| match left {
            Left::BackfillEnded => has_condition(job, "Complete"),
            _ => job.status.as_ref().and_then(|status| status.ready) == Some(1),
        };
        stream.job = Some(ns.job(&job.name_any(), "Job of the Go operator", there).await);
    }
    if let Some(cron_job) = cron_job {
        stream.cron_job = Some(cron_jobs(ns).create(&PostParams::default(), &cron_job).await.unwrap());
    }
    stream
}

fn cron_jobs(ns: &TestNamespace<'_>) -> Api<CronJob> {
    Api::namespaced(ns.fixture().client(), ns.name())
}

fn as_its_user_wrote_it(manifest: &Manifest, plugin: &Plugin, left: Left) -> Manifest {
    let mut over = json!({});
    if plugin.can_be_suspended {
        over = plugin.suspension(left == Left::Suspended);
    }
    let mut manifest = manifest.changed(plugin.stream, &over);
    if left == Left::Scheduled {
        let backend = &mut manifest.value["spec"]["execution"]["streamingBackend"];
        let template = backend["changeCapture"]["jobTemplateRef"].take();
        *backend = json!({"batch": {"schedule": HARDLY_EVER, "jobTemplateRef": template}});
        manifest.text = manifest.value.to_string();
    }
    manifest
}

/// Waits until our controller has found the stream, and says so in its own words.
async fn moves_over(stream: &Stream<'_>) {
    let Stream { life, left, request, .. } = stream;
    let name = life.plugin.stream;
    match left {
        Left::Running => {
            life.says("Running", "True", &format!("Job {name} streams")).await;
            request_is(life, request, "Completed").await;
        }
        Left::Backfilling => {
            life.says("Backfilling", "True", &format!("Job {name} does the backfill {request}")).await;
            request_is(life, request, "Running").await;
        }
        Left::BackfillEnded | Left::Requested => {
            request_is(life, request, "Completed").await;
            life.says("Running", "True", "streams").await;
        }
        Left::BackfillFailed => {
            life.says("Failed", "False", "arcane/restarted-at").await;
        }
        Left::Failed => {
            life.says("Failed", "False", "arcane/restarted-at").await;
            request_is(life, request, "Completed").await;
        }
        Left::Suspended => {
            life.says("Suspended", "True", "suspended by its user").await;
        }
        Left::Scheduled => {
            life.says("Scheduled", "True", "").await;
            request_is(life, request, "Completed").await;
        }
    }
    assert_eq!(life.requests().await, *std::slice::from_ref(request), "no other backfill");
}

async fn request_is(life: &Life<'_>, request: &str, phase: &str) -> Value {
    life.ns.until(&life.ns.requests(), request, phase, |request| request["status"]["phase"] == phase).await
}

/// Its Job is the one that was there, with the pod that was there; it was patched once at most, and nothing else was done to it.
async fn its_job_is_the_same(stream: &Stream<'_>, mark: arcane_tests::audit_log::AuditMark) {
    let Stream { life, left, job, cron_job, .. } = stream;
    let (ns, plugin) = (life.ns, life.plugin);
    let asked = asked::since(ns, mark);
    let writes: Vec<String> = asked
        .iter()
        .filter(|it| it.group == "batch" && it.name == plugin.stream && !["get", "list"].contains(&it.verb.as_str()))
        .map(|it| format!("{} {} {}", it.verb, it.uri, it.code))
        .collect();
    match left {
        Left::Running | Left::Backfilling | Left::Scheduled => {
            let [write] = &writes[..] else { panic!("{} {left:?}: {writes:#?}", plugin.kind) };
            assert!(write.starts_with("patch ") && write.ends_with(" 200"), "{write}");
        }
        Left::Failed | Left::BackfillFailed | Left::Suspended => assert!(writes.is_empty(), "{writes:#?}"),
        // Here a Job is to come.
        Left::BackfillEnded | Left::Requested => {}
    }
    if let (Some(job), Left::Running | Left::Backfilling) = (job, left) {
        let now = ns.jobs().get(&job.name_any()).await.unwrap();
        assert_eq!(now.uid(), job.uid());
        assert_eq!(now.status, job.status, "no pod came or went");
        let hash = "configuration-hash";
        assert_eq!(now.annotations()[hash], job.annotations()[hash], "the Go operator would still take it for its own");
        assert_eq!(now.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished), None);
        assert_eq!(now.annotations()["arcane/ttl-seconds-after-finished"], {
            let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
            ttl.unwrap().to_string()
        });
    }
    if let Some(cron_job) = cron_job {
        let now = cron_jobs(ns).get(&cron_job.name_any()).await.unwrap();
        assert_eq!((now.uid(), &now.spec.schedule), (cron_job.uid(), &cron_job.spec.schedule));
        assert_ne!(now.spec.suspend, Some(true));
    }
}

/// From here on it lives as any other.
async fn goes_on(stream: &Stream<'_>) {
    let Stream { life, left, job, request, .. } = stream;
    let ns = life.ns;
    let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": "now"}}});
    match left {
        Left::Running | Left::Scheduled => {}
        Left::Backfilling => {
            life.let_pods_be(PodKind::Backfill);
            request_is(life, request, "Completed").await;
            life.says("Running", "True", "streams").await;
        }
        Left::BackfillEnded | Left::Requested => {}
        Left::BackfillFailed | Left::Failed => {
            life.patched_elsewhere(&restart).await;
            life.says("Running", "True", "streams").await;
        }
        Left::Suspended => {
            ns.merge(&ns.objects(&life.plugin.resource()), life.plugin.stream, life.plugin.suspension(false)).await;
        }
    }
    if *left != Left::Failed && *left != Left::Scheduled {
        request_is(life, request, "Completed").await;
    }
    let backfills = match left {
        Left::Running | Left::Failed | Left::Scheduled => 0,
        _ => 1,
    };
    assert_eq!(life.runs(PodKind::Backfill).len(), backfills, "{} {left:?}", life.plugin.kind);
    if let (Some(job), Left::Running) = (job, left) {
        assert_eq!(ns.jobs().get(&job.name_any()).await.unwrap().uid(), job.uid());
    }
}
