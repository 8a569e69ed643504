//! Older CRDs of our kinds: the controller says which lacks what, and does nothing before they are updated.

use std::time::Duration;

use arcane_tests::fixture::{SOON, repository_file, sample_streams};
use arcane_tests::{Fixture, FixtureOptions, eventually};
use serde_json::{Value, json};

use crate::world::*;

const CRDS: &str = "charts/arcane-operator/files/crds.yaml";

/// Ours, but as they would have been before some fields were invented.
fn older_crds() -> String {
    let mut crds: Vec<Value> = serde_saphyr::from_multiple(&repository_file(CRDS)).unwrap();
    crds.retain(Value::is_object);
    for crd in &mut crds {
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        for version in crd["spec"]["versions"].as_array_mut().unwrap() {
            let fields = &mut version["schema"]["openAPIV3Schema"]["properties"];
            match kind.as_str() {
                "BackfillRequest" => fields["status"]["properties"].as_object_mut().unwrap().remove("streamUid"),
                "StreamClass" => fields["spec"]["properties"].as_object_mut().unwrap().remove("initialBackfill"),
                _ => None,
            };
        }
    }
    crds.iter().map(|crd| format!("---\n{crd}\n")).collect()
}

#[test]
fn on_older_crds_the_controller_stays_unready_says_what_they_lack_and_does_nothing() {
    without_the_cluster(async {
        let options =
            FixtureOptions { crds: false, sample_plugin: false, operator: false, ..FixtureOptions::default() };
        let fixture = Fixture::start(options).await;
        fixture.apply(None, &older_crds()).await;
        for file in ["crd.yaml", "stream-class.yaml"] {
            fixture.apply(None, &repository_file(&format!("examples/sample-plugin/{file}"))).await;
        }
        let ns = fixture.namespace("older-crds").await;
        ns.apply(TEMPLATES).await;
        a_stream(&ns, "orders", spec()).await;
        let options = arcane_tests::OperatorOptions { ready_within: None, ..fixture.operator_options("operator.log") };
        let operator = arcane_tests::OperatorProcess::start(options).await.unwrap();

        let ask = format!("curl -s -o - -w '%{{http_code}}' http://127.0.0.1:{}", operator.health_port());
        let why = eventually(SOON, "word about the CRDs", || async {
            let said = fixture.shell(".", &format!("{ask}/readyz")).await.stdout;
            if said.contains("streamUid") && said.contains("initialBackfill") { Ok(said) } else { Err(said) }
        })
        .await
        .unwrap();
        assert!(why.ends_with("503"), "{why}");
        assert!(why.contains("backfillrequests.streaming.sneaksanddata.com"), "{why}");
        assert!(why.contains("streamclasses.streaming.sneaksanddata.com"), "{why}");
        assert!(!why.contains("streamingjobtemplates."), "nothing is wrong with that: {why}");
        let alive = fixture.shell(".", &format!("{ask}/healthz")).await.stdout;
        assert!(alive.ends_with("200"), "{alive}");

        // It reads, and writes nothing but its Lease.
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Some(log) = fixture.cluster().audit_log() {
            let requests = log.requests_of(fixture.operator_access().name());
            let writes: Vec<_> = requests
                .iter()
                .filter(|it| !["get", "list", "watch"].contains(&it.verb.as_str()) && it.resource != "leases")
                .collect();
            assert!(writes.is_empty(), "{writes:#?}");
        }
        assert!(ns.jobs_of("orders").await.is_empty() && requests(&ns).await.is_empty());
        assert_eq!(operator.exit_status(), None, "it waits, it doesn't end");

        fixture.apply(None, &repository_file(CRDS)).await;
        operator.ready(SOON).await.unwrap();
        ns.phase_of(&sample_streams(), "orders", "Running").await;
        assert_eq!(requests(&ns).await.len(), 1);
        assert_eq!(json!(operator.terminate(SOON).await.unwrap()), json!(0));
        drop(ns);
        fixture.stop().await;
    });
}

#[test]
fn without_crds_the_controller_waits_for_them() {
    without_the_cluster(async {
        let options =
            FixtureOptions { crds: false, sample_plugin: false, operator: false, ..FixtureOptions::default() };
        let fixture = Fixture::start(options).await;
        let options = arcane_tests::OperatorOptions { ready_within: None, ..fixture.operator_options("operator.log") };
        let operator = arcane_tests::OperatorProcess::start(options).await.unwrap();
        let ask = format!("curl -s http://127.0.0.1:{}/readyz", operator.health_port());
        eventually(SOON, "word about the CRDs", || async {
            let said = fixture.shell(".", &ask).await.stdout;
            if said.contains("streamclasses.streaming.sneaksanddata.com is not installed") { Ok(()) } else { Err(said) }
        })
        .await
        .unwrap();
        fixture.apply(None, &repository_file(CRDS)).await;
        operator.ready(SOON).await.unwrap();
        operator.kill().await.unwrap();
        fixture.stop().await;
    });
}
