//! Contract §3.2, §3.7, §3.8, §3.9, §3.11: Jobs that end, that vanish, that belong to others, that go with their stream.

use std::time::Duration;

use arcane_tests::fixture::{SOON, condition_of, sample_streams};
use arcane_tests::{PodBehaviour, PodKind, eventually};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use serde_json::json;

use crate::world::*;

#[test]
fn a_streaming_job_that_ends_well_is_started_again() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let ends = PodBehaviour::succeeds_after(Duration::ZERO);
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, ends);
        ns.until(&ns.streams(), "orders", "back-off of", |it| condition_of(it, "Ready")["reason"] != "Running").await;
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Streaming);
        let next = running_anew(ns, "orders", &job).await;
        assert_eq!(next.name_any(), "orders");
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_job_deleted_by_hand_comes_again_after_its_pods_are_gone() {
    on_a_cluster(async |ns| {
        let slowly = PodBehaviour::terminates_after(Duration::from_secs(3));
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, slowly);
        let job = a_running_stream(ns, "orders").await;
        settled(ns).await;
        // As kubectl does it: the Job is gone at once, its pods take their time.
        ns.kubectl(&["delete", "job", "orders"]).await;
        let said = ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "WaitingForPod")).await;
        let message = condition_of(&said, "Reconciling")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("orders-") && message.contains("simulated-node"), "pod and node are named: {message}");
        assert!(message.contains("--force") && message.contains("out-of-service"), "the way out is told: {message}");
        let next = running_anew(ns, "orders", &job).await;
        assert_eq!(next.name_any(), "orders");
        let runs = runs_of(ns, "orders", PodKind::Streaming);
        assert!(runs.len() == 2 && runs[0].ended.unwrap() <= runs[1].started, "{runs:?}");
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_pod_whose_job_was_orphaned_is_waited_for() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        settled(ns).await;
        let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
        ns.jobs().delete("orders", &orphan).await.unwrap();
        ns.gone(&job).await;
        ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "WaitingForPod")).await;
        assert!(ns.jobs().get_opt("orders").await.unwrap().is_none());
        let pods = ns.pods().list(&ListParams::default().labels("arcane/stream-id=orders")).await.unwrap();
        let orphan = pods.iter().find(|pod| pod.labels()["arcane/backfilling"] == "false").unwrap();
        ns.pods().delete(&orphan.name_any(), &DeleteParams::default()).await.unwrap();
        running_anew(ns, "orders", &job).await;
    });
}

#[test]
fn a_backfill_job_deleted_by_hand_comes_again_with_the_same_id() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "orders", spec()).await;
        let job = backfilling(ns, "orders").await;
        ns.kubectl(&["delete", "job", "orders-backfill"]).await;
        ns.gone(&job).await;
        let next = backfilling(ns, "orders").await;
        assert_eq!(backfill_id(&next), backfill_id(&job));
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        running(ns, "orders").await;
    });
}

#[test]
fn a_finished_backfill_job_deleted_by_hand_changes_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.kubectl(&["delete", "job", "orders-backfill"]).await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
    });
}

#[test]
fn a_deleted_stream_takes_its_jobs_and_requests_with_it() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        a_request(ns, "by-hand", "orders").await;
        request_phase(ns, "by-hand", "Completed").await;
        running(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "still-open", "orders").await;
        backfilling(ns, "orders").await;
        ns.kubectl(&["delete", "sqlserverchangetrackingstreams", "orders"]).await;
        eventually(SOON, "empty namespace", || async {
            let jobs: Vec<String> = ns.jobs_of("orders").await.iter().map(Job::name_any).collect();
            let requests: Vec<String> = requests(ns).await.iter().map(|request| request.name_any()).collect();
            let pods = ns.pods().list(&ListParams::default()).await.map_err(|error| error.to_string())?.items.len();
            let left = format!("Jobs {jobs:?}, requests {requests:?}, {pods} pods");
            if jobs.is_empty() && requests.is_empty() && pods == 0 { Ok(()) } else { Err(left) }
        })
        .await
        .unwrap();
        nothing_loops(ns).await;
    });
}

/// A Job of somebody else.
fn foreign_job(name: &str) -> Job {
    let job = json!({
        "metadata": {"name": name, "labels": {"app": "somebody-elses"}},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/other:1"}],
        }}},
    });
    serde_json::from_value(job).unwrap()
}

#[test]
fn jobs_of_others_are_left_alone_and_their_names_avoided() {
    on_a_cluster(async |ns| {
        let streaming = ns.jobs().create(&PostParams::default(), &foreign_job("orders")).await.unwrap();
        let backfill = ns.jobs().create(&PostParams::default(), &foreign_job("orders-backfill")).await.unwrap();
        a_stream(ns, "orders", spec()).await;
        let job = running(ns, "orders").await;
        assert!(job.name_any().starts_with("orders-") && job.name_any() != "orders-backfill", "{}", job.name_any());
        let names: Vec<String> = ns.jobs_of("orders").await.iter().map(Job::name_any).collect();
        assert!(
            names.iter().all(|name| name != "orders" && name != "orders-backfill") && names.len() == 2,
            "{names:?}"
        );
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        ns.phase("orders", "Suspended").await;
        for foreign in [streaming, backfill] {
            let there = ns.jobs().get(&foreign.name_any()).await.unwrap();
            assert_eq!(there.uid(), foreign.uid());
            assert!(there.metadata.deletion_timestamp.is_none());
            assert_eq!(there.labels(), foreign.labels());
            assert_eq!(there.annotations().keys().find(|key| key.starts_with("arcane/")), None);
        }
    });
}

#[test]
fn a_foreign_job_that_takes_the_name_later_is_left_alone() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        ns.phase("orders", "Suspended").await;
        let foreign = ns.jobs().create(&PostParams::default(), &foreign_job("orders")).await.unwrap();
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        let job = running(ns, "orders").await;
        assert_ne!(job.name_any(), "orders");
        assert_eq!(ns.jobs().get("orders").await.unwrap().uid(), foreign.uid());
    });
}

#[test]
fn two_kinds_with_one_stream_name_both_work() {
    on_a_cluster(async |ns| {
        create(ns, &test_streams(), "twin", spec()).await;
        ns.phase_of(&test_streams(), "twin", "Running").await;
        a_stream(ns, "twin", spec()).await;
        running(ns, "twin").await;
        let jobs = ns.jobs_of("twin").await;
        let running_of = |kind: &str| -> Vec<&Job> {
            let of_kind = |job: &&Job| job.labels()["arcane/stream-kind"] == kind;
            jobs.iter().filter(of_kind).filter(|job| job.labels()["arcane/backfilling"] == "false").collect()
        };
        let (ours, theirs) = (running_of(&sample_streams().kind), running_of("TestStream"));
        assert_eq!((ours.len(), theirs.len()), (1, 1), "{jobs:?}");
        assert_eq!(theirs[0].name_any(), "twin");
        assert!(ours[0].name_any().starts_with("twin-"), "{}", ours[0].name_any());
        // Each has its own request, done, and one brake stops one.
        assert_eq!(requests(ns).await.len(), 2);
        nothing_loops(ns).await;
        ns.merge(&ns.objects(&test_streams()), "twin", json!({"spec": {"suspended": true}})).await;
        ns.phase_of(&test_streams(), "twin", "Suspended").await;
        ns.gone(theirs[0]).await;
        let still = ns.jobs().get(&ours[0].name_any()).await.unwrap();
        assert_eq!((still.uid(), still.metadata.deletion_timestamp.is_none()), (ours[0].uid(), true));
        ns.phase("twin", "Running").await;
    });
}

#[test]
fn a_stream_made_again_waits_for_the_job_of_its_namesake() {
    on_a_cluster(async |ns| {
        let slowly = PodBehaviour::terminates_after(Duration::from_secs(2));
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, slowly);
        a_running_stream(ns, "orders").await;
        ns.streams().delete("orders", &DeleteParams::background()).await.unwrap();
        a_stream(ns, "orders", spec()).await;
        running(ns, "orders").await;
        // Whether pods of both ran at the same time is asked after every test.
        assert_eq!(runs_of(ns, "orders", PodKind::Streaming).len(), 2);
    });
}

#[test]
fn a_long_name_is_shortened_in_derived_names_only() {
    on_a_cluster(async |ns| {
        let name = format!("orders-{}", "x".repeat(63 - 7));
        a_stream(ns, &name, spec()).await;
        let job = running(ns, &name).await;
        assert_eq!(job.name_any(), name);
        let jobs = ns.jobs_of(&name).await;
        let backfill = jobs.iter().find(|job| job.labels()["arcane/backfilling"] == "true").unwrap().name_any();
        assert!(backfill.len() <= 63 && backfill.starts_with("orders-xxx"), "{backfill}");
        let requests = requests(ns).await;
        assert_eq!(requests.len(), 1);
        request_phase(ns, &requests[0].name_any(), "Completed").await;
    });
}

#[test]
fn of_two_jobs_of_a_stream_the_unwanted_one_goes() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "twin").await;
        settled(ns).await;
        let mut other = job.clone();
        other.metadata.name = Some("twin-made-by-hand".into());
        (other.metadata.uid, other.metadata.resource_version, other.status) = (None, None, None);
        let spec = other.spec.as_mut().unwrap();
        spec.selector = None;
        let labels = spec.template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
        labels.retain(|name, _| !name.contains("controller-uid") && !name.contains("job-name"));
        let other = ns.jobs().create(&PostParams::default(), &other).await.unwrap();
        ns.gone(&other).await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "twin").await.uid(), job.uid());
    });
}

#[test]
fn nothing_is_made_for_a_stream_under_deletion() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"metadata": {"finalizers": ["example.com/held"]}})).await;
        ns.streams().delete("orders", &DeleteParams::background()).await.unwrap();
        ns.until(&ns.streams(), "orders", "held", |it| it["metadata"]["deletionTimestamp"].is_string()).await;
        ns.kubectl(&["delete", "job", "orders"]).await;
        a_request(ns, "too-late", "orders").await;
        ns.gone(&job).await;
        nothing_loops(ns).await;
        assert!(ns.jobs_of("orders").await.iter().all(|job| job.name_any() == "orders-backfill"));
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
        ns.merge(&ns.streams(), "orders", json!({"metadata": {"finalizers": null}})).await;
    });
}

#[test]
fn a_name_with_dots_is_a_name() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders.v2").await;
        assert_eq!(job.name_any(), "orders.v2");
        request_phase(ns, &requests(ns).await[0].name_any(), "Completed").await;
    });
}

#[test]
fn a_deleted_namespace_goes_and_is_forgotten() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "backfilled", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "backfilled", spec()).await;
        backfilling(ns, "backfilled").await;
        a_running_stream(ns, "orders").await;
        ns.fixture().kubectl(&["delete", "namespace", ns.name(), "--wait=true"]).await;
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Streaming).len(), 1);
        assert_eq!(runs_of(ns, "backfilled", PodKind::Backfill).len(), 1);
    });
}
