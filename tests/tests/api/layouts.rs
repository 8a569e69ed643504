//! Contract §2: streams in the layouts below `spec.execution`.

use arcane_tests::fixture::condition_of;
use kube::ResourceExt as _;
use serde_json::json;

use crate::world::*;

#[test]
fn streams_of_both_execution_layouts_live() {
    on_a_cluster(async |ns| {
        let big = r"
            apiVersion: streaming.sneaksanddata.com/v1
            kind: StreamingJobTemplate
            metadata: {name: big}
            spec: {template: {spec: {containers: [{name: stream, image: example.com/big:1}]}}}
        ";
        ns.apply(big).await;
        let (once, big) = (json!({"name": "once"}), json!({"name": "big"}));
        let v1 = json!({"layoutVersion": "v1", "backfillJobTemplateRef": big,
            "streamingBackend": {"changeCapture": {"jobTemplateRef": once}, "batch": null}});
        let v2 = json!({"layoutVersion": "v2",
            "streamingBackend": {"changeCapture": {"jobTemplateRef": once, "backfillJobTemplateRef": big}}});
        for (name, execution) in [("of-v1", v1), ("of-v2", v2)] {
            create(ns, &test_streams(), name, json!({"execution": execution})).await;
            let job = running_of(ns, &test_streams(), name).await;
            assert_eq!(job.annotations()["arcane/template"], format!("{}/once", ns.name()));
            let backfill = ns.job(&format!("{name}-backfill"), "finished", |_| true).await;
            assert_eq!(backfill.annotations()["arcane/template"], format!("{}/big", ns.name()));
            // The flat brake isn't this layout's.
            ns.merge(&ns.objects(&test_streams()), name, json!({"spec": {"execution": {"suspended": true}}})).await;
            ns.gone(&job).await;
            ns.phase_of(&test_streams(), name, "Suspended").await;
            ns.merge(&ns.objects(&test_streams()), name, json!({"spec": {"execution": {"suspended": false}}})).await;
            running_of(ns, &test_streams(), name).await;
        }
        assert_eq!(requests(ns).await.len(), 2);
    });
}

#[test]
fn a_stream_with_both_backends_or_none_is_told_so() {
    on_a_cluster(async |ns| {
        let once = json!({"name": "once"});
        let both = json!({"changeCapture": {"jobTemplateRef": once}, "batch": {"jobTemplateRef": once, "schedule": "0 * * * *"}});
        for (name, backend) in [("both", both), ("none", json!({}))] {
            let execution = json!({"layoutVersion": "v2", "streamingBackend": backend});
            create(ns, &test_streams(), name, json!({"execution": execution})).await;
            let said = ns.condition(&ns.objects(&test_streams()), name, ("Stalled", "True", "InvalidSpec")).await;
            let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
            assert!(message.contains("spec.execution.streamingBackend"), "{message}");
        }
        nothing_loops(ns).await;
        assert!(history(ns).is_empty());
    });
}
