//! The controller has the rights of the chart's ClusterRole, and a plugin of another group brings its own.

use arcane_tests::fixture::{condition_of, streams_of, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::world::*;

#[test]
fn a_whole_life_needs_no_more_than_the_rights_of_the_chart() {
    on_a_cluster(async |ns| {
        a_running_stream(ns, "orders").await;
        a_request(ns, "again", "orders").await;
        request_phase(ns, "again", "Completed").await;
        let job = running(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": true}})).await;
        ns.gone(&job).await;
        ns.phase("orders", "Suspended").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"suspended": false}})).await;
        running(ns, "orders").await;
        // Whether anything was refused is asked after every test, from the audit log; here, that it is asked at all.
        let Some(log) = ns.fixture().cluster().audit_log() else {
            eprintln!("skipped: refusals can't be told without the audit log");
            return;
        };
        let requests = log.requests_of("system:serviceaccount:arcane:arcane-operator");
        assert!(requests.iter().any(|request| request.namespace == ns.name() && request.verb == "create"));
        let admins = requests.iter().find(|request| request.verb == "update" && request.resource != "leases");
        assert!(admins.is_none(), "whole objects are never written back: {admins:?}");
    });
}

#[test]
fn a_class_that_may_not_be_read_prints_the_role_that_is_missing() {
    on_a_cluster(async |ns| {
        let kind = streams_of(FORBIDDEN_GROUP, "v1", "ForeignStream", "foreignstreams");
        ns.fixture().apply(None, &plugin_crd(FORBIDDEN_GROUP, &kind.kind, &kind.plural)).await;
        ns.fixture().apply(None, &class("foreign", FORBIDDEN_GROUP, &kind.kind, &kind.plural, json!({}))).await;
        let classes = classes(ns.fixture());
        let holds = |it: &Value| condition_of(it, "Ready")["reason"] == "Forbidden";
        let said = until(&classes, "foreign", "forbidden class", holds).await;
        assert_eq!(said["status"]["phase"], "Failed");
        assert_eq!(condition_of(&said, "Stalled")["status"], "True", "{said}");
        create(ns, &kind, "orders", spec()).await;
        // Others are not held up.
        a_running_stream(ns, "beside").await;

        // What is printed can be applied as it is.
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        let role = &message[message.find('{').expect("a ClusterRole in the message")..=message.rfind('}').unwrap()];
        let role: Value = serde_json::from_str(role).unwrap_or_else(|error| panic!("{error}: {role}"));
        assert_eq!(role["kind"], "ClusterRole");
        ns.fixture().apply(None, &role.to_string()).await;
        let holds = |it: &Value| it["status"]["phase"] == "Ready";
        until(&classes, "foreign", "ready class", holds).await;
        let job = running_of(ns, &kind, "orders").await;
        assert_eq!(job.owner_references()[0].api_version, format!("{FORBIDDEN_GROUP}/v1"));
        nothing_loops(ns).await;
    });
}
