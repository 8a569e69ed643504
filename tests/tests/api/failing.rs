//! Contract §3.7 and §3.4: Jobs that fail, and the ways out of `Failed`.

use std::time::Duration;

use arcane_tests::fixture::{condition_of, has_condition, variable};
use arcane_tests::{PodBehaviour, PodKind, TestNamespace};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::world::*;

/// A stream whose streaming Job has failed with exit code 3, and that Job.
async fn a_failed_stream(ns: &TestNamespace<'_>, name: &str) -> Job {
    let job = a_running_stream(ns, name).await;
    ns.fixture().kubelet().set(ns.name(), name, PodKind::Streaming, PodBehaviour::exits(3, Duration::ZERO));
    ns.phase(name, "Failed").await;
    ns.fixture().kubelet().unset(ns.name(), name, PodKind::Streaming);
    job
}

fn message(said: &Value, condition: &str) -> String {
    condition_of(said, condition)["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_failed_job_fails_its_stream_and_stays_for_its_logs() {
    on_a_cluster(async |ns| {
        let job = a_failed_stream(ns, "orders").await;
        let said = ns.phase("orders", "Failed").await;
        assert_eq!(condition_of(&said, "Stalled")["status"], "True", "{said}");
        assert_eq!(condition_of(&said, "Ready")["status"], "False", "{said}");
        assert!(message(&said, "Stalled").contains("exit code 3"), "{said}");
        assert!(message(&said, "Stalled").contains("arcane/restarted-at"), "the ways out are told: {said}");
        assert_eq!(said["status"]["jobName"], "orders", "{said}");
        let told = event(ns, "orders", "JobFailed").await;
        assert!(told.contains("exit code 3"), "{told}");
        nothing_loops(ns).await;
        let stays = ns.job("orders", "failed", |job| has_condition(job, "Failed")).await;
        assert_eq!(stays.uid(), job.uid());
        let events = ns.events_about("orders").await;
        assert_eq!(events.iter().filter(|event| event.starts_with("JobFailed")).count(), 1, "{events:?}");
    });
}

async fn leaves_failed(ns: &TestNamespace<'_>, by: impl AsyncFnOnce(&TestNamespace<'_>)) {
    let job = a_failed_stream(ns, "orders").await;
    settled(ns).await;
    by(ns).await;
    let next = running_anew(ns, "orders", &job).await;
    assert_eq!(variable(&next, "STREAMCONTEXT__BACKFILL"), Some("false"));
    assert_eq!(requests(ns).await.len(), 1, "no second backfill");
    let said = ns.phase("orders", "Running").await;
    assert_eq!(condition_of(&said, "Stalled")["status"], "False", "{said}");
}

#[test]
fn suspend_and_resume_lead_out_of_failed() {
    on_a_cluster(async |ns| {
        leaves_failed(ns, async |ns| {
            ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
            ns.phase("orders", "Suspended").await;
            ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        })
        .await;
    });
}

#[test]
fn a_spec_change_leads_out_of_failed() {
    on_a_cluster(async |ns| {
        leaves_failed(ns, async |ns| {
            ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        })
        .await;
    });
}

#[test]
fn a_template_change_leads_out_of_failed() {
    on_a_cluster(async |ns| {
        leaves_failed(ns, async |ns| {
            let container = json!([{"name": "stream", "image": "example.com/stream:2"}]);
            let image = json!({"spec": {"template": {"spec": {"containers": container}}}});
            ns.merge(&ns.templates(), "once", image).await;
        })
        .await;
    });
}

#[test]
fn a_new_value_of_restarted_at_leads_out_of_failed() {
    on_a_cluster(async |ns| {
        leaves_failed(ns, async |ns| {
            let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": "once"}}});
            ns.merge(&ns.streams(), "orders", restart).await;
        })
        .await;
    });
}

#[test]
fn a_metadata_edit_and_a_controller_that_looks_again_leave_it_failed() {
    on_a_cluster(async |ns| {
        let job = a_failed_stream(ns, "orders").await;
        settled(ns).await;
        ns.merge(&ns.streams(), "orders", json!({"metadata": {"labels": {"team": "a"}}})).await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        nothing_loops(ns).await;
        ns.phase("orders", "Failed").await;
        assert_eq!(ns.job("orders", "failed", |_| true).await.uid(), job.uid());
    });
}

#[test]
fn a_failed_job_that_somebody_deletes_leaves_the_stream_failed() {
    on_a_cluster(async |ns| {
        let job = a_failed_stream(ns, "orders").await;
        ns.kubectl(&["delete", "job", "orders"]).await;
        ns.gone(&job).await;
        nothing_loops(ns).await;
        let said = ns.phase("orders", "Failed").await;
        assert!(message(&said, "Stalled").contains("exit code 3"), "{said}");
        assert!(ns.jobs().get_opt("orders").await.unwrap().is_none());
        ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        running(ns, "orders").await;
    });
}

#[test]
fn a_stream_can_fail_and_recover_twice() {
    on_a_cluster(async |ns| {
        a_failed_stream(ns, "orders").await;
        for round in ["one", "two"] {
            let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": round}}});
            ns.merge(&ns.streams(), "orders", restart).await;
            running(ns, "orders").await;
            let fails = PodBehaviour::exits(4, Duration::ZERO);
            ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, fails);
            let said = ns.phase("orders", "Failed").await;
            assert!(message(&said, "Stalled").contains("exit code 4"), "{said}");
            ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Streaming);
        }
    });
}

#[test]
fn a_failed_backfill_stays_open_and_goes_on_with_the_same_id() {
    on_a_cluster(async |ns| {
        let fails = PodBehaviour::exits(5, Duration::ZERO);
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, fails);
        a_stream(ns, "orders", spec()).await;
        let said = ns.phase("orders", "Failed").await;
        assert!(message(&said, "Stalled").contains("exit code 5"), "{said}");
        let id = requests(ns).await[0].name_any();
        let open = request_phase(ns, &id, "Failed").await;
        assert_eq!(open["spec"]["completed"], false);
        assert!(message(&open, "Stalled").contains("exit code 5"), "{open}");
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);

        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": "once"}}});
        ns.merge(&ns.streams(), "orders", restart).await;
        let again = backfilling(ns, "orders").await;
        assert_eq!(backfill_id(&again), id);
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        running(ns, "orders").await;
        request_phase(ns, &id, "Completed").await;
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_failed_request_gives_way_to_a_newer_one() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        let fails = PodBehaviour::exits(5, Duration::ZERO);
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, fails);
        a_request(ns, "first", "orders").await;
        request_phase(ns, "first", "Failed").await;
        ns.phase("orders", "Failed").await;
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        // Ties are broken by name, so not within the same second is clearest; a name that sorts later does as well.
        a_request(ns, "second", "orders").await;
        let cancelled = request_phase(ns, "first", "Cancelled").await;
        assert!(message(&cancelled, "Ready").contains("second"), "{cancelled}");
        request_phase(ns, "second", "Completed").await;
        running(ns, "orders").await;
        assert_eq!(request_phase(ns, "first", "Cancelled").await["spec"]["completed"], false);
    });
}

#[test]
fn what_a_pod_waits_for_is_told_when_its_job_fails() {
    on_a_cluster(async |ns| {
        let template = r"
            apiVersion: streaming.sneaksanddata.com/v1
            kind: StreamingJobTemplate
            metadata: {name: impatient}
            spec:
              backoffLimit: 0
              activeDeadlineSeconds: 2
              template: {spec: {containers: [{name: stream, image: example.com/stream:1}]}}
        ";
        ns.apply(template).await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::image_pull_back_off());
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": {"name": "impatient"}}))).await;
        let said = ns.phase("orders", "Failed").await;
        // The Job controller deletes the pods of such a Job, so its own reason is what is sure to be there.
        assert!(message(&said, "Stalled").contains("DeadlineExceeded"), "{said}");
    });
}

#[test]
fn what_keeps_a_pod_from_running_is_told_while_it_waits() {
    on_a_cluster(async |ns| {
        let waits = PodBehaviour::image_pull_back_off();
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, waits);
        a_stream(ns, "orders", spec()).await;
        let said = ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "PodNotRunning")).await;
        assert_eq!(said["status"]["phase"], "Running", "its Job is in place");
        assert_eq!(condition_of(&said, "Ready")["status"], "False");
        let words = message(&said, "Ready");
        assert!(words.starts_with("Job orders is in place, but no pod of it runs: pod orders-"), "{words}");
        assert!(words.contains("ImagePullBackOff"), "{words}");
        // An event follows what it tells of.
        event(ns, "orders", "PodNotRunning").await;
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Streaming);
        let said = ns.condition(&ns.streams(), "orders", ("Ready", "True", "Running")).await;
        assert_eq!(message(&said, "Ready"), "Job orders streams");
        settled(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Streaming).len(), 1, "it is the same pod");
        let events = ns.events_about("orders").await;
        let told = events.iter().filter(|event| event.starts_with("PodNotRunning: ")).count();
        assert_eq!(told, 1, "{events:?}");
    });
}

/// A stream that streamed until a backfill of this name failed.
async fn a_failed_backfill(ns: &TestNamespace<'_>, request: &str) {
    a_running_stream(ns, "orders").await;
    let fails = PodBehaviour::exits(5, Duration::ZERO);
    ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, fails);
    a_request(ns, request, "orders").await;
    request_phase(ns, request, "Failed").await;
    ns.phase("orders", "Failed").await;
    settled(ns).await;
    ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
}

#[test]
fn a_failed_backfill_runs_again_after_suspend_and_resume() {
    on_a_cluster(async |ns| {
        a_failed_backfill(ns, "again").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.phase("orders", "Suspended").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        request_phase(ns, "again", "Completed").await;
        running(ns, "orders").await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 3);
    });
}

#[test]
fn streaming_goes_on_when_a_failed_request_is_deleted() {
    on_a_cluster(async |ns| {
        a_failed_backfill(ns, "again").await;
        ns.kubectl(&["delete", "backfillrequest", "again"]).await;
        running(ns, "orders").await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 2);
    });
}

#[test]
fn streaming_goes_on_when_a_user_completes_a_failed_request() {
    on_a_cluster(async |ns| {
        a_failed_backfill(ns, "again").await;
        ns.merge(&ns.requests(), "again", json!({"spec": {"completed": true}})).await;
        request_phase(ns, "again", "Cancelled").await;
        running(ns, "orders").await;
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 2);
    });
}
