//! BackfillRequests.

use arcane_tests::TestNamespace;
use arcane_tests::fixture::streams_of;
use serde_json::{Value, json};

use crate::asked::{Asked, object, with};
use crate::plugins::*;
use crate::world::*;

fn request(more: Value) -> Value {
    with(object("BackfillRequest", "b", json!({"streamClass": "test-streams", "streamId": "orders"})), more)
}

/// A stream that runs, with no open request.
async fn a_running_stream(asked: &Asked, ns: &TestNamespace<'_>) {
    asked.put(&with(a_good_stream(), json!({"suspended": false}))).await;
    ns.phase_of(&streams_of(GROUP, "v1", "TestStream", "test-streams"), "orders", "Running").await;
}

#[test]
fn one_for_a_running_stream_is_let_in() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_running_stream(&asked, ns).await;
        asked.warns_of_new(&request(json!({})), &[]).await;
        asked.warns_of_new(&request(json!({"payload": {"from": "2026-01-01"}})), &[]).await;
        // Any class of the stream's kind will do.
        asked.warns_of_new(&request(json!({"streamClass": "test-secrets"})), &[]).await;
    });
}

#[test]
fn class_and_stream_must_be_there() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        asked.put(&a_good_stream()).await;
        let (no_class, no_stream) =
            (request(json!({"streamClass": "nowhere"})), request(json!({"streamId": "nobody"})));
        let of_another_kind = request(json!({"streamClass": "layout-streams"}));
        for (request, field, words) in [
            (&no_class, "spec.streamClass", "there is no StreamClass of this name; create it or correct the name"),
            (&no_stream, "spec.streamId", "there is no TestStream of this name in namespace"),
            (&of_another_kind, "spec.streamId", "there is no LayoutStream of this name in namespace"),
        ] {
            let said = asked.refuses_new(request, &[field]).await;
            assert!(said[0].contains(words), "{said:?}");
            for manager in ["kustomize-controller", "helm-controller", "argocd-controller", "helm"] {
                asked.by(manager).warns_of_new(request, &[words]).await;
            }
        }
        let lenient = request(json!({"streamClass": "test-warn", "streamId": "nobody"}));
        asked.warns_of_new(&lenient, &["spec.streamId: Not found: \"nobody\""]).await;
        let strict = request(json!({"streamClass": "test-deny", "streamId": "nobody"}));
        asked.by("helm").refuses_new(&strict, &["spec.streamId"]).await;
        ns.fixture().kubectl(&["label", "namespace", ns.name(), "arcane/missing-references=Warn"]).await;
        asked.warns_of_new(&no_class, &["spec.streamClass: Not found: \"nowhere\""]).await;
        asked.warns_of_new(&no_stream, &["spec.streamId: Not found: \"nobody\""]).await;
        asked.by("helm").refuses_new(&strict, &["spec.streamId"]).await;
    });
}

#[test]
fn what_delays_it_is_told() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        asked.put(&a_good_stream()).await;
        let suspended = "stream orders is suspended: the backfill starts when it is resumed";
        asked.warns_of_new(&request(json!({})), &[suspended]).await;
        let mut first = request(json!({}));
        first["metadata"]["name"] = json!("first");
        asked.put(&first).await;
        let open = "stream orders has an open BackfillRequest already (first): they run one after another";
        asked.warns_of_new(&request(json!({})), &[suspended, open]).await;
        // One that is over from the start isn't delayed, and one that is over delays nobody.
        asked.warns_of_new(&request(json!({"completed": true})), &[]).await;
        asked.put(&with(first, json!({"completed": true}))).await;
        asked.warns_of_new(&request(json!({})), &[suspended]).await;
    });
}

#[test]
fn a_reset_of_completed_is_told_to_start_nothing() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        asked.put(&a_good_stream()).await;
        let (open, done) = (request(json!({"completed": false})), request(json!({"completed": true})));
        asked.put(&open).await;
        // One that is ended before anybody has looked at it counts as completed.
        ns.until(&ns.requests(), "b", "request with a phase", |it| it["status"]["phase"].is_string()).await;
        // Nobody is told anything by ending one.
        let ended = asked.merge(&open, &json!({"spec": {"completed": true}})).await;
        assert!(ended.is_allowed() && ended.warnings.is_empty(), "{ended:?}");
        let phase = |request: &Value| request["status"]["phase"] == "Cancelled";
        ns.until(&ns.requests(), "b", "cancelled request", phase).await;
        let words =
            "spec.completed: this backfill is over, to set it back starts nothing; create another BackfillRequest";
        asked.is_told_when_it_becomes(&open, &[words]).await;
        asked.lets_it_become(&with(done, json!({"payload": {"note": "x"}}))).await;
    });
}

#[test]
fn a_payload_must_fit_into_the_environment() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_running_stream(&asked, ns).await;
        let long = |length: usize| request(json!({"payload": {"a": "x".repeat(length)}}));
        let said = asked.refuses(&request(json!({})), &long(140_000), &["spec.payload"]).await;
        assert!(said[0].contains("128 KiB"), "{said:?}");
        asked.refuses(&request(json!({})), &long(131_030), &["spec"]).await;
        asked.accepts(&request(json!({})), &long(130_000)).await;
    });
}

#[test]
fn class_and_stream_stay_as_they_are() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        a_running_stream(&asked, ns).await;
        for (field, value) in [("streamClass", "test-secrets"), ("streamId", "others")] {
            let said = asked
                .refuses_change(&request(json!({})), &request(json!({field: value})), &[&format!("spec.{field}")])
                .await;
            assert!(said[0].contains("can't be changed: create another BackfillRequest instead"), "{said:?}");
        }
    });
}
