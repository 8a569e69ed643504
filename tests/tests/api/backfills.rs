//! Contract §3.4: a backfill request completes exactly once.

use std::time::Duration;

use arcane_tests::fixture::{SOON, condition_of, has_condition, variable};
use arcane_tests::{PodBehaviour, PodKind, TestNamespace, eventually};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::world::*;

#[test]
fn a_request_interrupts_streaming_for_one_backfill() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "again", "orders").await;
        ns.gone(&job).await;
        let backfill = backfilling(ns, "orders").await;
        assert_eq!(backfill_id(&backfill), "again");
        let said = ns.phase("orders", "Backfilling").await;
        assert_eq!(condition_of(&said, "Ready")["status"], "True", "a long backfill is no fault: {said}");
        assert_eq!(condition_of(&said, "Ready")["reason"], "Backfilling", "{said}");
        let open = request_phase(ns, "again", "Running").await;
        assert_eq!(open["status"]["jobName"], "orders-backfill");
        assert!(open["status"]["startTime"].is_string(), "{open}");
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        running(ns, "orders").await;
        request_phase(ns, "again", "Completed").await;
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 2);
        assert_eq!(runs_of(ns, "orders", PodKind::Streaming).len(), 2);
    });
}

#[test]
fn the_outcome_is_written_before_the_request_is_marked() {
    on_a_cluster(async |ns| {
        let Some(log) = ns.fixture().cluster().audit_log() else {
            eprintln!("skipped: the order of writes can't be told without the audit log");
            return;
        };
        a_running_stream(ns, "orders").await;
        let since = log.now();
        a_request(ns, "again", "orders").await;
        request_phase(ns, "again", "Completed").await;
        ns.until(&ns.requests(), "again", "marked", |it| it["spec"]["completed"] == true).await;
        running(ns, "orders").await;
        settled(ns).await;
        let writes: Vec<String> = asked_since(ns, since)
            .into_iter()
            .filter(|it| it.resource == "backfillrequests" && it.name == "again")
            .map(|it| it.subresource)
            .collect();
        // Owned, accepted, its outcome, the mark.
        assert_eq!(writes.last().map(String::as_str), Some(""), "{writes:?}");
        assert_eq!(writes[writes.len() - 2], "status", "{writes:?}");
        let marks = writes.iter().filter(|it| it.is_empty()).count();
        assert!(marks <= 2, "the owner reference and the mark: {writes:?}");
    });
}

#[test]
fn taking_completed_back_starts_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let id = requests(ns).await[0].name_any();
        ns.until(&ns.requests(), &id, "marked", |it| it["spec"]["completed"] == true).await;
        settled(ns).await;
        ns.merge(&ns.requests(), &id, json!({"spec": {"completed": false}})).await;
        nothing_loops(ns).await;
        let stays = request_phase(ns, &id, "Completed").await;
        assert_eq!(stays["spec"]["completed"], false, "the tool that resets it is not fought");
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
    });
}

#[test]
fn taking_everything_back_as_a_gitops_tool_does_starts_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let manifest = r"
            apiVersion: streaming.sneaksanddata.com/v1
            kind: BackfillRequest
            metadata: {name: from-git}
            spec: {streamClass: sqlserver-change-tracking-stream, streamId: orders, completed: false}
        ";
        ns.apply(manifest).await;
        ns.until(&ns.requests(), "from-git", "marked", |it| it["spec"]["completed"] == true).await;
        running_anew(ns, "orders", &job).await;
        for _ in 0..3 {
            ns.apply(manifest).await;
        }
        nothing_loops(ns).await;
        request_phase(ns, "from-git", "Completed").await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 2);
    });
}

#[test]
fn completed_set_by_a_user_cancels_an_open_backfill() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "again", "orders").await;
        let job = backfilling(ns, "orders").await;
        ns.merge(&ns.requests(), "again", json!({"spec": {"completed": true}})).await;
        request_phase(ns, "again", "Cancelled").await;
        ns.gone(&job).await;
        running(ns, "orders").await;
        nothing_loops(ns).await;
    });
}

#[test]
fn deleting_an_open_request_stops_its_job_and_streaming_goes_on() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "again", "orders").await;
        let job = backfilling(ns, "orders").await;
        ns.kubectl(&["delete", "backfillrequest", "again"]).await;
        ns.gone(&job).await;
        running(ns, "orders").await;
        nothing_loops(ns).await;
    });
}

#[test]
fn deleting_the_initial_request_goes_on_without_a_backfill() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "orders", spec()).await;
        let job = backfilling(ns, "orders").await;
        ns.requests().delete(backfill_id(&job), &DeleteParams::default()).await.unwrap();
        ns.gone(&job).await;
        running(ns, "orders").await;
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty());
    });
}

#[test]
fn two_requests_run_one_after_the_other() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "a-first", "orders").await;
        let first = backfilling(ns, "orders").await;
        a_request(ns, "b-second", "orders").await;
        let holds = |it: &Value| condition_of(it, "Reconciling")["reason"] == "Queued";
        let queued = ns.until(&ns.requests(), "b-second", "queued", holds).await;
        assert_eq!(queued["status"]["phase"], "Pending");
        assert!(condition_of(&queued, "Reconciling")["message"].as_str().unwrap().contains("a-first"), "{queued}");
        assert_eq!(backfill_id(&first), "a-first");
        ns.fixture().kubelet().set(
            ns.name(),
            "orders",
            PodKind::Backfill,
            PodBehaviour::succeeds_after(Duration::ZERO),
        );
        request_phase(ns, "a-first", "Completed").await;
        request_phase(ns, "b-second", "Completed").await;
        let job = running(ns, "orders").await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
        let runs = runs_of(ns, "orders", PodKind::Backfill);
        assert_eq!(runs.len(), 3, "the initial one and these two: {runs:?}");
    });
}

#[test]
fn requests_made_while_suspended_run_after_resuming() {
    on_a_cluster(async |ns| {
        a_stream(ns, "orders", spec_with(json!({"suspended": true}))).await;
        ns.phase("orders", "Suspended").await;
        a_request(ns, "again", "orders").await;
        request_phase(ns, "again", "Pending").await;
        nothing_loops(ns).await;
        assert!(history(ns).is_empty());
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        request_phase(ns, "again", "Completed").await;
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_payload_reaches_the_job() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        let payload = json!({"from": "2024-01-01", "price": "$(HOME)", "deep": {"b": [1, 2.5, null], "a": "<&>"}});
        a_request_with(ns, "partial", json!({"streamId": "orders", "payload": payload})).await;
        let job = backfilling(ns, "orders").await;
        // As the container sees it: the kubelet turns $$ into $.
        let seen = |name: &str| -> Value {
            serde_json::from_str(&variable(&job, name).expect(name).replace("$$", "$")).unwrap()
        };
        assert_eq!(seen("STREAMCONTEXT_SPEC_OVERRIDE"), payload);
        let of_request = seen("STREAMCONTEXT__OVERRIDE");
        assert_eq!(of_request["streamId"], "orders");
        assert_eq!(of_request["payload"], payload);
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        request_phase(ns, "partial", "Completed").await;
    });
}

#[test]
fn a_job_without_payload_has_no_override() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        let job = ns.job("orders-backfill", "finished", |job| has_condition(job, "Complete")).await;
        assert_eq!(variable(&job, "STREAMCONTEXT_SPEC_OVERRIDE"), None);
    });
}

#[test]
fn the_ttl_comes_after_the_outcome() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "orders", spec_with(json!({"backfillJobTemplateRef": {"name": "short-lived"}}))).await;
        let job = backfilling(ns, "orders").await;
        assert_eq!(job.spec.as_ref().unwrap().ttl_seconds_after_finished, None);
        assert_eq!(job.annotations()["arcane/ttl-seconds-after-finished"], "1");
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        let id = backfill_id(&job).to_owned();
        ns.gone(&job).await;
        let done = ns.requests().get(&id).await.unwrap();
        assert_eq!(done.data["status"]["phase"], "Completed", "the Job went before its outcome was recorded");
        running(ns, "orders").await;
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
    });
}

#[test]
fn without_a_ttl_the_finished_backfill_job_stays_for_its_logs() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        nothing_loops(ns).await;
        let job = ns.job("orders-backfill", "finished", |job| has_condition(job, "Complete")).await;
        assert_eq!(job.spec.unwrap().ttl_seconds_after_finished, None);
    });
}

#[test]
fn stream_and_class_of_a_request_can_not_be_changed() {
    on_a_cluster(async |ns| {
        a_request(ns, "again", "orders").await;
        for (field, value) in [("streamId", "other"), ("streamClass", "other")] {
            let patch = format!(r#"{{"spec":{{"{field}":"{value}"}}}}"#);
            let line = format!("kubectl patch backfillrequest again -n {} --type merge -p '{patch}'", ns.name());
            let said = ns.fixture().shell(".", &line).await;
            assert!(!said.status.success() && said.stderr.contains("can't be changed"), "{said:?}");
        }
    });
}

/// It orphans only what it knows. It sees requests in their order, and takes away one whose owner never was.
async fn the_garbage_collector_has_seen_all_requests(ns: &TestNamespace<'_>) {
    let decoy = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
        "metadata": {"name": "decoy", "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-4000-8000-000000000000",
        }]},
        "spec": {"streamClass": "sqlserver-change-tracking-stream", "streamId": "nobody"},
    });
    ns.apply(&decoy.to_string()).await;
    eventually(SOON, "end of the decoy", || async {
        let decoy = ns.requests().get_opt("decoy").await.map_err(|error| error.to_string())?;
        decoy.map_or(Ok(()), |_| Err("it is there".to_owned()))
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

#[test]
fn a_request_accepted_by_a_stream_that_is_gone_never_runs_for_its_namesake() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_request(ns, "again", "orders").await;
        backfilling(ns, "orders").await;
        let accepted = request_phase(ns, "again", "Running").await;
        assert!(accepted["status"]["streamUid"].is_string());
        the_garbage_collector_has_seen_all_requests(ns).await;
        // So that request and Job stay when the stream goes.
        ns.kubectl(&["delete", "sqlserverchangetrackingstream", "orders", "--cascade=orphan"]).await;
        a_stream(ns, "orders", spec()).await;
        request_phase(ns, "again", "Cancelled").await;
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        let job = running(ns, "orders").await;
        assert!(job.metadata.deletion_timestamp.is_none());
        let of_again = runs_of(ns, "orders", PodKind::Backfill);
        assert_eq!(of_again.len(), 3, "each stream's initial one, and the one of the first: {of_again:?}");
    });
}

#[test]
fn a_request_may_name_any_class_of_the_streams_kind() {
    on_a_cluster(async |ns| {
        let (group, plural) = ("streaming.sneaksanddata.com", "test-streams");
        let second = class("test-streams-too", group, "TestStream", plural, json!({"secretRefs": []}));
        ns.fixture().apply(None, &second).await;
        create(ns, &test_streams(), "orders", spec_with(json!({"suspended": true}))).await;
        ns.phase_of(&test_streams(), "orders", "Suspended").await;
        a_request_with(ns, "again", json!({"streamId": "orders", "streamClass": "test-streams-too"})).await;
        ns.merge(&ns.objects(&test_streams()), "orders", json!({"spec": {"suspended": false}})).await;
        request_phase(ns, "again", "Completed").await;
        running_of(ns, &test_streams(), "orders").await;
        // One that names the class of another kind is not of this stream.
        a_request(ns, "of-others", "orders").await;
        let said = request_phase(ns, "of-others", "Pending").await;
        assert_eq!(condition_of(&said, "Reconciling")["reason"], "StreamMissing", "{said}");
    });
}
