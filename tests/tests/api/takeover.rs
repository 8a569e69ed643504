//! Contract §4, takeover: a cluster of the older Go operator moves over, no Job is restarted, no backfill repeated.

use arcane_tests::TestNamespace;
use arcane_tests::fixture::{streams_of, variable};
use arcane_tests::go_operator::{self, hash_of, hash_of_backfill, md5};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::*;

const GROUP: &str = "streaming.sneaksanddata.com";

/// A Job as the Go operator makes it.
async fn job_of_go_operator(ns: &TestNamespace<'_>, stream: &DynamicObject, hash: &str, request: Option<&str>) -> Job {
    let job_spec = json!({
        "backoffLimit": 0, "ttlSecondsAfterFinished": 300,
        "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "stream", "image": "example.com/stream:1"}],
        }},
    });
    let job = go_operator::job(stream, &job_spec, hash, request);
    ns.jobs().create(&PostParams::default(), &job).await.unwrap()
}

/// A kind whose class comes later: until then its streams are nobody's.
async fn a_kind(ns: &TestNamespace<'_>, plural: &'static str) -> ApiResource {
    let kind = streams_of(GROUP, "v1", &plural.to_uppercase(), plural);
    ns.fixture().apply(None, &plugin_crd(GROUP, &kind.kind, plural)).await;
    kind
}

async fn its_class(ns: &TestNamespace<'_>, kind: &ApiResource) {
    ns.fixture().apply(None, &class(&kind.plural, GROUP, &kind.kind, &kind.plural, json!({}))).await;
}

async fn was_in_phase(ns: &TestNamespace<'_>, kind: &ApiResource, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    ns.objects(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[test]
fn a_running_job_of_the_go_operator_is_taken_over_as_it_is() {
    on_a_cluster(async |ns| {
        let kind = a_kind(ns, "takeovers").await;
        let spec =
            json!({"jobTemplateRef": {"name": "once", "namespace": ns.name()}, "suspended": false, "table": "a<b"});
        // As Go prints it: keys sorted, < escaped.
        let printed = format!(
            r#"{{"jobTemplateRef":{{"name":"once","namespace":"{}"}},"suspended":false,"table":"a\u003cb"}}"#,
            ns.name()
        );
        let stream = create(ns, &kind, "orders", spec).await;
        let job = job_of_go_operator(ns, &stream, &md5(&printed).await, None).await;
        was_in_phase(ns, &kind, "orders", json!({"phase": "RUNNING"})).await;
        its_class(ns, &kind).await;

        let stamped =
            ns.job("orders", "stamped", |job| job.annotations().contains_key("arcane/stream-generation")).await;
        assert_eq!(stamped.uid(), job.uid());
        assert_eq!(stamped.spec.as_ref().unwrap().ttl_seconds_after_finished, None);
        assert_eq!(stamped.annotations()["arcane/ttl-seconds-after-finished"], "300");
        assert_eq!(running_of(ns, &kind, "orders").await.uid(), job.uid());
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty(), "no second backfill");
        assert_eq!(ns.jobs_of("orders").await.len(), 1);

        // From here on it is looked after as any other.
        ns.merge(&ns.objects(&kind), "orders", json!({"spec": {"table": "c"}})).await;
        ns.gone(&job).await;
        let next = running_of(ns, &kind, "orders").await;
        assert!(variable(&next, "STREAMCONTEXT__SPEC").unwrap().contains(r#""table":"c""#));
    });
}

#[test]
fn a_running_backfill_of_the_go_operator_ends_as_one() {
    on_a_cluster(async |ns| {
        let kind = a_kind(ns, "takebacks").await;
        let stream = create(ns, &kind, "orders", json!({"jobTemplateRef": {"name": "once"}})).await;
        let of_request = json!({"streamClass": "takebacks", "streamId": "orders"});
        a_request_with(ns, "by-the-old-one", of_request).await;
        let of_request = json!({"completed": false, "streamClass": "takebacks", "streamId": "orders"});
        let hash = hash_of_backfill(&json!({"jobTemplateRef": {"name": "once"}}), &of_request).await;
        let runs = arcane_tests::PodBehaviour::runs();
        ns.fixture().kubelet().set(ns.name(), "orders", arcane_tests::PodKind::Backfill, runs);
        let job = job_of_go_operator(ns, &stream, &hash, Some("by-the-old-one")).await;
        was_in_phase(ns, &kind, "orders", json!({"phase": "RELOADING"})).await;
        its_class(ns, &kind).await;

        ns.phase_of(&kind, "orders", "Backfilling").await;
        let stamped =
            ns.job("orders", "stamped", |job| job.annotations().contains_key("arcane/backfill-request-uid")).await;
        assert_eq!(stamped.uid(), job.uid());
        nothing_loops(ns).await;
        ns.fixture().kubelet().unset(ns.name(), "orders", arcane_tests::PodKind::Backfill);
        request_phase(ns, "by-the-old-one", "Completed").await;
        running_of(ns, &kind, "orders").await;
        assert_eq!(requests(ns).await.len(), 1);
        assert_eq!(runs_of(ns, "orders", arcane_tests::PodKind::Backfill).len(), 1);
    });
}

#[test]
fn what_failed_or_was_suspended_under_the_go_operator_stays_so() {
    on_a_cluster(async |ns| {
        let kind = a_kind(ns, "takestills").await;
        create(ns, &kind, "failed", json!({"jobTemplateRef": {"name": "once"}})).await;
        let hash = hash_of(&json!({"jobTemplateRef": {"name": "once"}})).await;
        was_in_phase(ns, &kind, "failed", json!({"phase": "FAILED", "configurationHash": hash})).await;
        create(ns, &kind, "suspended", json!({"jobTemplateRef": {"name": "once"}, "suspended": true})).await;
        was_in_phase(ns, &kind, "suspended", json!({"phase": "SUSPENDED"})).await;
        its_class(ns, &kind).await;
        ns.phase_of(&kind, "failed", "Failed").await;
        ns.phase_of(&kind, "suspended", "Suspended").await;
        nothing_loops(ns).await;
        assert!(history(ns).is_empty() && requests(ns).await.is_empty());
        ns.merge(&ns.objects(&kind), "failed", json!({"spec": {"table": "other"}})).await;
        running_of(ns, &kind, "failed").await;
        assert!(requests(ns).await.is_empty());
    });
}
