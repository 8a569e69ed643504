//! Contract §7: `--namespace` limits controller and webhook to some namespaces, in which Roles are all they need.

use std::collections::BTreeSet;

use arcane_tests::fixture::{SOON, condition_of};
use arcane_tests::{
    ControlPlane, Fixture, FixtureOptions, OperatorProcess, TestCluster, TestNamespace, WebhookAccess, eventually,
    limited,
};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::world::*;

const ACCOUNT: &str = "arcane-limited";

/// A control plane of our own, also where a cluster is named: its API server may not reach a webhook on this machine.
async fn a_fixture() -> Fixture {
    let options = FixtureOptions { operator: false, ..FixtureOptions::default() };
    let plane = ControlPlane::start(options.control_plane.clone()).await.unwrap();
    Fixture::start_on(TestCluster::local(plane), options).await
}

fn limits(namespaces: &[&str]) -> Vec<String> {
    namespaces.iter().map(|name| format!("--namespace={name}")).collect()
}

#[test]
fn where_they_are_limited_they_work_in_some_namespaces_with_roles_alone() {
    without_the_cluster(async {
        let fixture = a_fixture().await;
        let [one, other, elsewhere] =
            [fixture.namespace("one").await, fixture.namespace("other").await, fixture.namespace("elsewhere").await];
        for ns in [&one, &other, &elsewhere] {
            ns.apply(TEMPLATES).await;
        }
        let inside = [one.name(), other.name()];
        let access = limited::controller_in(fixture.cluster(), ACCOUNT, &inside).await.unwrap();
        let mut options = fixture.operator_options("limited.log");
        options.arguments = limits(&inside);
        options.arguments.push("--leader-election=false".into());
        options.kubeconfig = access.kubeconfig().to_owned();
        let controller = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));

        it_runs_streams_there_and_none_elsewhere([&one, &other], &elsewhere).await;
        a_template_elsewhere_is_missing(&one, &elsewhere).await;
        it_asked_for_nothing_that_it_may_not(&fixture, access.name(), &inside);
        drop(controller);

        let webhook = WebhookAccess::limited_to(fixture.cluster(), &inside).await;
        let mut options = webhook.options(webhook.port, "limited-webhook.log");
        options.arguments.extend(limits(&inside));
        let process = webhook.start_with(options).await;
        it_judges_there_and_not_elsewhere(&fixture, &one, &elsewhere).await;
        it_asked_for_nothing_that_it_may_not(&fixture, webhook.name(), &inside);
        drop(process);
        fixture.stop().await;
    });
}

async fn it_runs_streams_there_and_none_elsewhere(inside: [&TestNamespace<'_>; 2], elsewhere: &TestNamespace<'_>) {
    // First the one that nobody looks at: if somebody did, it would be done by the time that the others run.
    a_stream(elsewhere, "orders", spec()).await;
    for ns in inside {
        a_stream(ns, "orders", spec()).await;
    }
    for ns in inside {
        let job = running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1, "its first backfill");
        // What it knows of one namespace stays when another is listed anew; what goes there is noticed.
        ns.jobs().delete(&job.name_any(), &DeleteParams::background()).await.unwrap();
        running_anew(ns, "orders", &job).await;
    }
    let ignored = elsewhere.streams().get("orders").await.unwrap();
    assert!(ignored.data.get("status").is_none(), "{ignored:?}");
    assert!(elsewhere.jobs_of("orders").await.is_empty() && requests(elsewhere).await.is_empty());
    let class = classes(inside[0].fixture()).get("sqlserver-change-tracking-stream").await.unwrap();
    assert_eq!(condition_of(&class.data, "Ready")["status"], "True", "{class:?}");
}

async fn a_template_elsewhere_is_missing(ns: &TestNamespace<'_>, elsewhere: &TestNamespace<'_>) {
    let reference = json!({"name": "once", "namespace": elsewhere.name()});
    a_stream(ns, "stranger", spec_with(json!({"jobTemplateRef": reference}))).await;
    ns.condition(&ns.streams(), "stranger", ("Reconciling", "True", "TemplateMissing")).await;
}

/// Nothing is refused, so Roles suffice; nothing is asked of other namespaces; what is watched is watched once.
fn it_asked_for_nothing_that_it_may_not(fixture: &Fixture, user: &str, inside: &[&str]) {
    let log = fixture.cluster().audit_log().unwrap();
    let asked = log.requests_of(user);
    let refused: Vec<_> = asked.iter().filter(|request| request.code == 403).collect();
    assert!(!asked.is_empty() && refused.is_empty(), "{refused:#?}");
    let own = ["", "default", arcane_tests::fixture::OPERATOR_NAMESPACE];
    let strange: Vec<_> = asked
        .iter()
        .filter(|request| !own.contains(&request.namespace.as_str()) && !inside.contains(&request.namespace.as_str()))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    let everywhere: BTreeSet<&str> = asked
        .iter()
        .filter(|request| ["list", "watch"].contains(&request.verb.as_str()) && request.namespace.is_empty())
        .map(|request| request.resource.as_str())
        .collect();
    let of_cluster = [
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "streamclasses",
        "validatingwebhookconfigurations",
    ];
    assert!(everywhere.iter().all(|resource| of_cluster.contains(resource)), "{everywhere:?}");
}

async fn it_judges_there_and_not_elsewhere(fixture: &Fixture, ns: &TestNamespace<'_>, elsewhere: &TestNamespace<'_>) {
    let wrong = spec_with(json!({"jobTemplateRef": {"name": "no-such-template"}}));
    let stream = |name: &str| {
        let kind = arcane_tests::fixture::sample_streams();
        kube::api::DynamicObject::new(name, &kind).data(json!({"spec": wrong}))
    };
    // The API server looks at a new registration a moment after it was written.
    eventually(SOON, "refusal", || async {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        match ns.streams().create(&dry_run, &stream("refused")).await {
            Err(error) if error.to_string().contains("no-such-template") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    a_stream(ns, "right", spec()).await;
    elsewhere.streams().create(&PostParams::default(), &stream("unseen")).await.unwrap();

    // A class is in no namespace, and judged.
    let bad = class("bad", "apps", "Deployment", "deployments", json!({}));
    let said = classes(fixture).create(&PostParams::default(), &serde_json::from_str(&bad).unwrap()).await;
    assert!(said.as_ref().is_err_and(|error| error.to_string().contains("spec.apiGroupRef")), "{said:?}");

    let warned = async |ns: &TestNamespace<'_>| {
        let arguments = ["delete", "streamingjobtemplates", "once", "-n", ns.name(), "--dry-run=server"];
        fixture.cluster().kubectl(&arguments).await.unwrap().stderr
    };
    let warning = warned(ns).await;
    assert!(warning.contains("orders"), "who uses it is told: {warning}");
    assert_eq!(warned(elsewhere).await, "");
}
