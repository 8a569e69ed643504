//! Contract §3.3: the brake.

use std::time::Duration;

use arcane_tests::fixture::condition_of;
use arcane_tests::{PodBehaviour, PodKind};
use kube::ResourceExt as _;
use serde_json::json;

use crate::world::*;

#[test]
fn suspending_deletes_the_job_and_resuming_starts_another() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        let said = ns.phase("orders", "Suspended").await;
        assert_eq!(condition_of(&said, "Ready")["status"], "True", "{said}");
        assert_eq!(condition_of(&said, "Ready")["reason"], "Suspended", "{said}");
        assert_eq!(said["spec"]["sourceTable"], "Orders");
        nothing_loops(ns).await;
        assert!(ns.jobs_of("orders").await.iter().all(|job| job.name_any() == "orders-backfill"));

        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1, "resuming is no reason for a backfill");
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
    });
}

#[test]
fn a_backfill_goes_on_with_the_same_id_after_suspend_and_resume() {
    on_a_cluster(async |ns| {
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, PodBehaviour::runs());
        a_stream(ns, "orders", spec()).await;
        let job = backfilling(ns, "orders").await;
        let id = backfill_id(&job).to_owned();
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        ns.phase("orders", "Suspended").await;
        let open = request_phase(ns, &id, "Pending").await;
        assert_eq!(open["spec"]["completed"], false);

        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        let again = backfilling(ns, "orders").await;
        assert_ne!(again.uid(), job.uid());
        assert_eq!(backfill_id(&again), id);
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        running(ns, "orders").await;
        request_phase(ns, &id, "Completed").await;
        assert_eq!(requests(ns).await.len(), 1);
    });
}

#[test]
fn a_stream_that_waits_for_its_template_can_be_suspended_and_resumed() {
    on_a_cluster(async |ns| {
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": {"name": "nowhere"}}))).await;
        ns.phase("orders", "Pending").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.phase("orders", "Suspended").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        ns.phase("orders", "Pending").await;
        assert!(history(ns).is_empty());
    });
}

#[test]
fn a_stream_with_an_invalid_spec_can_be_suspended() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"jobTemplateRef": null}})).await;
        ns.condition(&ns.streams(), "orders", ("Stalled", "True", "InvalidSpec")).await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        ns.phase("orders", "Suspended").await;
    });
}

#[test]
fn quick_flips_of_the_brake_never_make_two_writers() {
    on_a_cluster(async |ns| {
        let slowly = PodBehaviour::terminates_after(Duration::from_millis(900));
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Streaming, slowly.clone());
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, slowly);
        a_running_stream(ns, "orders").await;
        for _ in 0..3 {
            for suspended in [true, false] {
                ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": suspended}})).await;
                tokio::time::sleep(Duration::from_millis(150)).await; // the next flip comes in the middle of the work
            }
        }
        running(ns, "orders").await;
        nothing_loops(ns).await;
        assert_eq!(ns.phase("orders", "Running").await["status"]["jobName"], "orders");
        // Whether two pods ran at once is asked after every test.
    });
}
