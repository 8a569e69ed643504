//! Contract §3.5: what restarts a stream, and what doesn't.

use std::time::Duration;

use arcane_tests::fixture::variable;
use arcane_tests::{PodBehaviour, PodKind};
use kube::ResourceExt as _;
use serde_json::json;

use crate::world::*;

#[test]
fn a_spec_change_replaces_the_running_job() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        let next = running_anew(ns, "orders", &job).await;
        assert!(variable(&next, "STREAMCONTEXT__SPEC").unwrap().contains(r#""sourceTable":"Invoices""#));
        assert_ne!(next.annotations()["configuration-hash"], job.annotations()["configuration-hash"]);
        assert_eq!(next.annotations()["arcane/stream-generation"], "2");
        let hash = &next.annotations()["configuration-hash"];
        ns.until(&ns.streams(), "orders", "new hash of", |it| it["status"]["configurationHash"] == json!(hash)).await;
        assert_eq!(requests(ns).await.len(), 1, "a spec change is no reason for a backfill");
    });
}

#[test]
fn a_spec_change_in_a_backfill_starts_it_again_with_the_same_id() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "orders", spec()).await;
        let job = backfilling(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        ns.gone(&job).await;
        let next = backfilling(ns, "orders").await;
        assert_eq!(backfill_id(&next), backfill_id(&job));
        assert!(variable(&next, "STREAMCONTEXT__SPEC").unwrap().contains("Invoices"));
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_metadata_edit_restarts_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        settled(ns).await;
        let edit = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
        ns.merge(&ns.streams(), "orders", edit).await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
    });
}

#[test]
fn saying_that_it_is_not_suspended_restarts_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        // The controller has seen the new generation when it says so.
        ns.until(&ns.streams(), "orders", "generation 2 of", |it| it["status"]["observedGeneration"] == 2).await;
        nothing_loops(ns).await;
        let same = running(ns, "orders").await;
        assert_eq!(same.uid(), job.uid());
        assert!(same.metadata.deletion_timestamp.is_none());
    });
}

#[test]
fn naming_the_streams_own_namespace_in_a_reference_restarts_nothing() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let reference = json!({"spec": {"jobTemplateRef": {"namespace": ns.name()}}});
        ns.merge(&ns.streams(), "orders", reference).await;
        ns.until(&ns.streams(), "orders", "generation 2 of", |it| it["status"]["observedGeneration"] == 2).await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
    });
}

#[test]
fn a_new_value_of_restarted_at_restarts_a_running_stream_once() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": "2026-01-01T00:00:00Z"}}});
        ns.merge(&ns.streams(), "orders", restart).await;
        let next = running_anew(ns, "orders", &job).await;
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), next.uid());
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn no_pod_starts_before_the_last_one_has_ended() {
    on_a_cluster(async |ns| {
        let slowly = PodBehaviour::terminates_after(Duration::from_secs(2));
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, slowly);
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Invoices"}})).await;
        let next = running_anew(ns, "orders", &job).await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"sourceTable": "Customers"}})).await;
        let last = running_anew(ns, "orders", &next).await;
        assert!(variable(&last, "STREAMCONTEXT__SPEC").unwrap().contains("Customers"));
        let runs = runs_of(ns, "orders", PodKind::Streaming);
        assert_eq!(runs.len(), 3);
        assert!(runs.windows(2).all(|pair| pair[0].ended.unwrap() <= pair[1].started), "{runs:?}");
    });
}
