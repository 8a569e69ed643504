//! Contract §3.1: what a new stream begins with.

use arcane_tests::PodKind;
use arcane_tests::fixture::{condition_of, sample_streams, variable};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::*;

#[test]
fn a_new_stream_is_backfilled_once_and_then_streams() {
    on_a_cluster(async |ns| {
        let stream = a_stream(ns, "orders", spec()).await;
        let job = running(ns, "orders").await;
        assert_eq!(job.name_any(), "orders");
        assert_eq!(variable(&job, "STREAMCONTEXT__BACKFILL"), Some("false"));

        let requests = requests(ns).await;
        let [request] = &requests[..] else { panic!("not one request: {requests:?}") };
        assert_eq!(request.owner_references()[0].uid, stream.uid().unwrap());
        let done = request_phase(ns, &request.name_any(), "Completed").await;
        assert_eq!(done["spec"]["streamId"], "orders");
        assert_eq!(done["spec"]["streamClass"], "sqlserver-change-tracking-stream");
        let done = ns.until(&ns.requests(), &request.name_any(), "marked", |it| it["spec"]["completed"] == true).await;
        assert_eq!(done["metadata"]["annotations"]["arcane/completed-written"], "true");
        assert_eq!(done["status"]["streamUid"], json!(stream.uid()));
        assert_eq!(done["status"]["jobName"], "orders-backfill");
        assert!(done["status"]["startTime"].is_string() && done["status"]["completionTime"].is_string(), "{done}");

        let said = ns.phase("orders", "Running").await;
        assert_eq!(said["status"]["jobName"], "orders");
        assert_eq!(said["status"]["observedGeneration"], 1);
        assert!(said["status"]["configurationHash"].is_string(), "{said}");
        assert_eq!(condition_of(&said, "Ready")["status"], "True");
        assert_eq!(condition_of(&said, "Reconciling")["status"], "False");
        assert_eq!(condition_of(&said, "Stalled")["status"], "False");

        // Once: nothing more comes.
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
        assert_eq!(runs_of(ns, "orders", PodKind::Streaming).len(), 1);
    });
}

#[test]
fn a_stream_that_is_made_again_has_another_initial_backfill() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        let first = requests(ns).await[0].name_any();
        ns.streams().delete("orders", &DeleteParams::default()).await.unwrap();
        a_running_stream(ns, "orders").await;
        let names: Vec<String> = requests(ns).await.iter().map(|request| request.name_any()).collect();
        // Named by the UID, so another one; the first went with its stream or is about to.
        assert!(names.iter().any(|name| *name != first), "{names:?}");
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 2);
    });
}

#[test]
fn a_stream_made_suspended_is_never_backfilled() {
    on_a_cluster(async |ns| {
        a_stream(ns, "orders", spec_with(json!({"suspended": true}))).await;
        ns.phase("orders", "Suspended").await;
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty() && ns.jobs_of("orders").await.is_empty());

        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        let job = running(ns, "orders").await;
        assert_eq!(variable(&job, "STREAMCONTEXT__BACKFILL"), Some("false"));
        assert!(requests(ns).await.is_empty());
        assert!(runs_of(ns, "orders", PodKind::Backfill).is_empty());
    });
}

#[test]
fn a_class_may_want_no_initial_backfill() {
    on_a_cluster(async |ns| {
        let never = class(
            "without-backfill",
            "streaming.sneaksanddata.com",
            "SqlServerChangeTrackingStream",
            "sqlserverchangetrackingstreams",
            json!({"initialBackfill": "Never", "secretRefs": []}),
        );
        ns.fixture().apply(None, &never).await;
        let of_class = json!({"arcane/stream-class": "without-backfill"});
        create_labelled(ns, &sample_streams(), "orders", of_class, spec()).await;
        let job = running(ns, "orders").await;
        assert_eq!(job.annotations()["arcane/stream-class"], "without-backfill");
        assert!(requests(ns).await.is_empty());
        assert!(runs_of(ns, "orders", PodKind::Backfill).is_empty());
    });
}

#[test]
fn an_open_request_that_is_there_already_is_the_initial_one() {
    on_a_cluster(async |ns| {
        a_request(ns, "from-the-user", "orders").await;
        let waits = request_phase(ns, "from-the-user", "Pending").await;
        assert_eq!(condition_of(&waits, "Reconciling")["reason"], "StreamMissing", "{waits}");
        a_running_stream(ns, "orders").await;
        request_phase(ns, "from-the-user", "Completed").await;
        let names: Vec<String> = requests(ns).await.iter().map(|request| request.name_any()).collect();
        assert_eq!(names, ["from-the-user"]);
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
    });
}

#[test]
fn a_request_that_was_completed_before_is_no_initial_one_and_runs_nothing() {
    on_a_cluster(async |ns| {
        a_request_with(ns, "of-the-past", json!({"streamId": "orders", "completed": true})).await;
        let done = request_phase(ns, "of-the-past", "Completed").await;
        assert_eq!(done["status"].get("startTime").filter(|time| !time.is_null()), None, "{done}");
        nothing_loops(ns).await;
        assert!(history(ns).is_empty());
    });
}
