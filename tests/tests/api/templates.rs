//! Contract §3.6: templates that come late, and templates that change.

use std::time::Duration;

use arcane_tests::eventually;
use arcane_tests::fixture::{SOON, condition_of};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::world::*;

const LATE: &str = r"
apiVersion: streaming.sneaksanddata.com/v1
kind: StreamingJobTemplate
metadata: {name: late}
spec:
  template:
    spec:
      containers:
      - name: stream
        image: example.com/stream:1
";

/// A shared machine is not the one that the contract's second was promised for.
const WITHIN: Duration = Duration::from_secs(3);

#[test]
fn a_stream_waits_for_its_template_and_goes_on_when_it_comes() {
    on_a_cluster(async |ns| {
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": {"name": "late"}}))).await;
        let said = ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "TemplateMissing")).await;
        assert_eq!(said["status"]["phase"], "Pending");
        assert_eq!(
            condition_of(&said, "Ready")["message"],
            json!(format!(
                "spec.jobTemplateRef.name: Not found: \"late\": there is no StreamingJobTemplate of this name in \
                 namespace {}; create it or correct the reference",
                ns.name()
            ))
        );
        assert!(event(ns, "orders", "TemplateMissing").await.contains("spec.jobTemplateRef.name"));
        nothing_loops(ns).await;
        assert!(ns.jobs_of("orders").await.is_empty());

        let log = ns.fixture().cluster().audit_log().map(|log| (log.now(), log));
        let before = Timestamp::now();
        ns.apply(LATE).await;
        running(ns, "orders").await;
        assert_eq!(requests(ns).await.len(), 1);
        if let Some((since, _)) = log {
            let asked = asked_since(ns, since);
            let created =
                asked.iter().find(|it| it.verb == "create" && it.resource == "jobs" && !it.uri.contains("dryRun"));
            let after = created.expect("a Job was created").at.duration_since(before);
            eprintln!("the Job came {after:#} after its template");
            assert!(after.unsigned_abs() < WITHIN, "{after:#}");
        }
    });
}

#[test]
fn a_missing_backfill_template_is_named() {
    on_a_cluster(async |ns| {
        a_stream(ns, "orders", spec_with(json!({"backfillJobTemplateRef": {"name": "late"}}))).await;
        let said = ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "TemplateMissing")).await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("spec.backfillJobTemplateRef.name: Not found"), "{message}");
        ns.apply(LATE).await;
        running(ns, "orders").await;
    });
}

#[test]
fn a_backfill_uses_its_own_template() {
    on_a_cluster(async |ns| {
        ns.apply(&LATE.replace("name: late", "name: big").replace("stream:1", "backfill:1")).await;
        a_stream(ns, "orders", spec_with(json!({"backfillJobTemplateRef": {"name": "big"}}))).await;
        let streaming = running(ns, "orders").await;
        let backfill = ns.job("orders-backfill", "finished", |_| true).await;
        let image = |job: &k8s_openapi::api::batch::v1::Job| {
            let spec = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            spec.containers[0].image.clone().unwrap()
        };
        assert_eq!(
            (image(&streaming), image(&backfill)),
            ("example.com/stream:1".into(), "example.com/backfill:1".into())
        );
        assert_eq!(backfill.annotations()["arcane/template"], format!("{}/big", ns.name()));
        assert_eq!(streaming.annotations()["arcane/template"], format!("{}/once", ns.name()));
    });
}

#[test]
fn a_changed_template_leaves_the_running_job_and_says_so() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        let spec = json!({"spec": {"template": {"spec": {"containers": [{"name": "stream", "image": "example.com/stream:2"}]}}}});
        ns.merge(&ns.templates(), "once", spec).await;
        let holds = |it: &serde_json::Value| condition_of(it, "UpToDate")["status"] == "False";
        let said = ns.until(&ns.streams(), "orders", "outdated", holds).await;
        assert_eq!(condition_of(&said, "Ready")["status"], "True", "{said}");
        nothing_loops(ns).await;
        let same = running(ns, "orders").await;
        assert_eq!(same.uid(), job.uid());

        // The next Job is made from the new one, and nothing more is said.
        let restart = json!({"metadata": {"annotations": {"arcane/restarted-at": "now"}}});
        ns.merge(&ns.streams(), "orders", restart).await;
        let next = running_anew(ns, "orders", &job).await;
        let image = next.spec.unwrap().template.spec.unwrap().containers[0].image.clone();
        assert_eq!(image.as_deref(), Some("example.com/stream:2"));
        let said = |it: &serde_json::Value| condition_of(it, "UpToDate")["status"] != "False";
        ns.until(&ns.streams(), "orders", "up-to-date", said).await;
    });
}

#[test]
fn a_deleted_template_leaves_the_running_job() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.templates().delete("once", &Default::default()).await.unwrap();
        nothing_loops(ns).await;
        assert_eq!(running(ns, "orders").await.uid(), job.uid());
    });
}

#[test]
fn a_running_stream_whose_new_reference_leads_nowhere_goes_on_and_says_so() {
    on_a_cluster(async |ns| {
        let job = a_running_stream(ns, "orders").await;
        ns.merge(&ns.streams(), "orders", json!({"spec": {"jobTemplateRef": {"name": "late"}}})).await;
        eventually(SOON, "word about the missing template", || async {
            let stream = ns.streams().get("orders").await.map_err(|error| error.to_string())?;
            let status = stream.data["status"].to_string();
            if status.contains("spec.jobTemplateRef.name: Not found") { Ok(()) } else { Err(status) }
        })
        .await
        .unwrap();
        nothing_loops(ns).await;
        let jobs = ns.jobs_of("orders").await;
        assert!(
            jobs.iter().any(|it| it.uid() == job.uid()),
            "what ran was stopped though nothing could take its place"
        );
        ns.apply(LATE).await;
        let next = running_anew(ns, "orders", &job).await;
        assert_eq!(next.annotations()["arcane/template"], format!("{}/late", ns.name()));
    });
}

#[test]
fn a_template_of_another_namespace_is_used_where_it_may_be() {
    on_a_cluster(async |ns| {
        let other = ns.fixture().empty_namespace("templates-of-others").await;
        let closed = LATE.replace(
            "metadata: {name: late}",
            "metadata: {name: late, annotations: {arcane/allowed-namespaces: nobody}}",
        );
        other.apply(&closed).await;
        let reference = json!({"name": "late", "namespace": other.name()});
        a_stream(ns, "orders", spec_with(json!({"jobTemplateRef": reference}))).await;
        let said = ns.condition(&ns.streams(), "orders", ("Reconciling", "True", "TemplateForbidden")).await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("arcane/allowed-namespaces") && message.contains("spec.jobTemplateRef"), "{message}");
        nothing_loops(ns).await;
        let open =
            json!({"metadata": {"annotations": {"arcane/allowed-namespaces": format!("nobody, {}", ns.name())}}});
        ns.merge(&other.templates(), "late", open).await;
        running(ns, "orders").await;
    });
}

#[test]
fn changed_secret_refs_of_the_class_leave_the_running_job_and_say_so() {
    on_a_cluster(async |ns| {
        let (group, plural) = ("streaming.sneaksanddata.com", "secretchangers");
        ns.fixture().apply(None, &plugin_crd(group, "SecretChanger", plural)).await;
        ns.fixture().apply(None, &class(plural, group, "SecretChanger", plural, json!({"secretRefs": ["one"]}))).await;
        let kind = arcane_tests::fixture::streams_of(group, "v1", "SecretChanger", plural);
        create(ns, &kind, "orders", spec()).await;
        let job = running_of(ns, &kind, "orders").await;
        ns.fixture()
            .apply(None, &class(plural, group, "SecretChanger", plural, json!({"secretRefs": ["one", "two"]})))
            .await;
        let holds = |it: &serde_json::Value| condition_of(it, "UpToDate")["status"] == "False";
        ns.until(&ns.objects(&kind), "orders", "outdated", holds).await;
        nothing_loops(ns).await;
        assert_eq!(running_of(ns, &kind, "orders").await.uid(), job.uid());
    });
}
