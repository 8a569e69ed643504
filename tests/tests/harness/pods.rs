//! The simulated kubelet, with the real Job controller and garbage collector around it.

use std::time::{Duration, Instant};

use arcane_tests::{PodBehaviour, PodKind, SimulatedKubelet, eventually};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::{SOON, a_plane};

fn a_job(name: &str, backfilling: bool, behaviour: Option<&str>) -> Job {
    let mut template = json!({
        "metadata": {"labels": {"arcane/stream-id": name, "arcane/backfilling": backfilling.to_string()}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "stream", "image": "example.com/stream:1"}]},
    });
    if let Some(behaviour) = behaviour {
        template["metadata"]["annotations"] = json!({"simulated-kubelet/behaviour": behaviour});
    }
    let job = json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}});
    serde_json::from_value(job).unwrap()
}

struct World {
    jobs: Api<Job>,
    pods: Api<Pod>,
}

impl World {
    fn new(client: Client) -> Self {
        Self { jobs: Api::namespaced(client.clone(), "default"), pods: Api::namespaced(client, "default") }
    }

    async fn create(&self, job: &Job) {
        self.jobs.create(&PostParams::default(), job).await.unwrap();
    }

    /// Waits until the status of a Job has `part`.
    async fn job(&self, name: &str, what: &str, part: impl Fn(&JobStatus) -> bool) {
        eventually(SOON, &format!("{what} Job {name}"), || async {
            let job = self.jobs.get(name).await.map_err(|error| error.to_string())?;
            let status = job.status.unwrap_or_default();
            if part(&status) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await
        .unwrap();
    }

    async fn pod(&self, stream: &str, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let of_stream = ListParams::default().labels(&format!("arcane/stream-id={stream}"));
        eventually(SOON, &format!("{what} pod of {stream}"), || async {
            let pods = self.pods.list(&of_stream).await.map_err(|error| error.to_string())?.items;
            let found = pods.iter().find(|pod| holds(pod)).cloned();
            found.ok_or_else(|| format!("{:?}", pods.iter().map(|pod| &pod.status).collect::<Vec<_>>()))
        })
        .await
        .unwrap()
    }
}

fn has(status: &JobStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|found| found.type_ == condition && found.status == "True")
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    Some(containers.first()?.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn waits_for(pod: &Pod) -> Option<String> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.first()?.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn jobs_live_as_their_pods_are_told_to() {
    let plane = a_plane().await;
    eprintln!("ready after {:.1?}", plane.ready_after());
    let kubelet = SimulatedKubelet::start(plane.admin()).await.unwrap();
    let world = World::new(plane.admin());

    // By default a backfill succeeds, and everything else runs.
    world.create(&a_job("backfill", true, None)).await;
    world.create(&a_job("stream", false, None)).await;
    world.job("backfill", "complete", |status| has(status, "Complete")).await;
    world.job("stream", "ready", |status| status.ready == Some(1)).await;

    // One that is told to fail does, with its exit code; told by an annotation, or while it runs.
    world.create(&a_job("failing", false, Some("exit 3 after 100ms"))).await;
    world.job("failing", "failed", |status| has(status, "Failed")).await;
    world.pod("failing", "failed", |pod| phase(pod) == "Failed" && exit_code(pod) == Some(3)).await;
    kubelet.set("default", "stream", PodKind::Streaming, PodBehaviour::exits(7, Duration::ZERO));
    world.job("stream", "failed", |status| has(status, "Failed")).await;
    world.pod("stream", "failed", |pod| exit_code(pod) == Some(7)).await;

    // The two kinds of pods of a stream are told apart.
    kubelet.set("default", "apart", PodKind::Backfill, PodBehaviour::image_pull_back_off());
    world.create(&a_job("apart", true, None)).await;
    world
        .pod("apart", "waiting", |pod| waits_for(pod).as_deref() == Some("ImagePullBackOff") && phase(pod) == "Pending")
        .await;
    kubelet.unset("default", "apart", PodKind::Backfill);
    world.job("apart", "complete", |status| has(status, "Complete")).await;

    let history = kubelet.history();
    assert!(history.iter().all(|run| !run.job.is_empty() && run.ended >= Some(run.started)), "{history:?}");
    let order: Vec<&str> = history.iter().map(|run| &run.stream_id[..]).collect();
    assert_eq!(order.len(), 4, "{order:?}");
    assert_eq!(order.last(), Some(&"apart"));
    plane.stop().await;
}

#[tokio::test]
async fn a_slow_terminator_holds_a_job_deleted_in_the_foreground() {
    let plane = a_plane().await;
    let kubelet = SimulatedKubelet::start(plane.admin()).await.unwrap();
    let world = World::new(plane.admin());
    world.create(&a_job("slow", false, Some("terminate-after 60m"))).await;
    world.job("slow", "ready", |status| status.ready == Some(1)).await;
    world.jobs.delete("slow", &DeleteParams::foreground()).await.unwrap();
    world.pod("slow", "terminating", |pod| pod.metadata.deletion_timestamp.is_some() && phase(pod) == "Running").await;
    assert!(world.jobs.get_opt("slow").await.unwrap().is_some());
    assert_eq!(kubelet.history()[0].ended, None);

    kubelet.set("default", "slow", PodKind::Streaming, PodBehaviour::terminates_after(Duration::ZERO));
    eventually(SOON, "end of Job slow", || async {
        match world.jobs.get_opt("slow").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert!(kubelet.history()[0].ended.is_some());
    plane.stop().await;
}

#[tokio::test]
async fn four_hundred_pods_are_no_burden() {
    let plane = a_plane().await;
    let kubelet = SimulatedKubelet::start(plane.admin()).await.unwrap();
    let world = World::new(plane.admin());
    let started = Instant::now();
    let mut many = a_job("many", true, None);
    if let Some(spec) = &mut many.spec {
        (spec.parallelism, spec.completions) = (Some(400), Some(400));
    }
    world.create(&many).await;
    world.job("many", "complete", |status| has(status, "Complete") && status.succeeded == Some(400)).await;
    eprintln!("400 pods ran and ended within {:.1?}", started.elapsed());
    assert_eq!(kubelet.history().len(), 400);
    plane.stop().await;
}
