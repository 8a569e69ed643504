//! Contract §3.10: the backend `batch`, on the real CronJob controller.

use std::time::Duration;

use arcane_tests::fixture::{SOON, condition_of};
use arcane_tests::{PodBehaviour, PodKind, TestNamespace, eventually, go_operator};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{ApiResource, DeleteParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::world::*;

/// So that nothing runs unless a test says so.
const HARDLY_EVER: &str = "0 0 1 1 *";

fn kind() -> ApiResource {
    test_streams()
}

fn batch_of(template: &str, schedule: &str) -> Value {
    json!({"execution": {"layoutVersion": "v1", "streamingBackend": {
        "batch": {"jobTemplateRef": {"name": template}, "schedule": schedule}, "changeCapture": null,
    }}})
}

fn batch() -> Value {
    batch_of("once", HARDLY_EVER)
}

fn change_capture() -> Value {
    json!({"execution": {"layoutVersion": "v1", "streamingBackend": {
        "changeCapture": {"jobTemplateRef": {"name": "once"}}, "batch": null,
    }}})
}

fn cron_jobs(ns: &TestNamespace<'_>) -> Api<CronJob> {
    Api::namespaced(ns.fixture().client(), ns.name())
}

async fn cron_job(ns: &TestNamespace<'_>, name: &str, what: &str, holds: impl Fn(&CronJob) -> bool) -> CronJob {
    eventually(SOON, &format!("{what} CronJob {name}"), || async {
        let found = cron_jobs(ns).get_opt(name).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
        if holds(&found) { Ok(found) } else { Err(serde_json::to_string(&found).unwrap_or_default()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"))
}

async fn cron_job_gone(ns: &TestNamespace<'_>, cron_job: &CronJob) {
    eventually(SOON, &format!("end of CronJob {}", cron_job.name_any()), || async {
        match cron_jobs(ns).get_opt(&cron_job.name_any()).await.map_err(|error| error.to_string())? {
            Some(there) if there.uid() == cron_job.uid() => Err("it is there".to_owned()),
            _ => Ok(()),
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

fn is_suspended(cron_job: &CronJob) -> bool {
    cron_job.spec.suspend == Some(true)
}

async fn scheduled(ns: &TestNamespace<'_>, name: &str) -> CronJob {
    let streams = ns.objects(&kind());
    // A name that turns out to be taken is announced for an instant.
    eventually(SOON, &format!("CronJob of {name}"), || async {
        let stream = streams.get(name).await.map_err(|error| error.to_string())?;
        let (Some(in_place), "Scheduled") =
            (stream.data["status"]["jobName"].as_str(), stream.data["status"]["phase"].as_str().unwrap_or_default())
        else {
            return Err(stream.data.to_string());
        };
        let found = cron_jobs(ns).get_opt(in_place).await.map_err(|error| error.to_string())?.ok_or("there is none")?;
        let ours = found.owner_references().iter().any(|owner| Some(&owner.uid) == stream.metadata.uid.as_ref());
        match (ours, is_suspended(&found), &found.metadata.deletion_timestamp) {
            (true, false, None) => Ok(found),
            seen => Err(format!("{in_place}: ours, suspended, deleted: {seen:?}")),
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"))
}

async fn a_scheduled_stream(ns: &TestNamespace<'_>, name: &str) -> CronJob {
    create(ns, &kind(), name, batch()).await;
    scheduled(ns, name).await
}

/// A run, as `kubectl create job --from` starts one.
async fn a_run(ns: &TestNamespace<'_>, cron_job: &CronJob, name: &str) -> Job {
    ns.kubectl(&["create", "job", name, "--from", &format!("cronjob/{}", cron_job.name_any())]).await;
    ns.job(name, "running", |job| job.status.as_ref().and_then(|status| status.ready) == Some(1)).await
}

fn runs_end(ns: &TestNamespace<'_>, stream: &str, end: PodBehaviour) {
    ns.fixture().kubelet().set(ns.name(), stream, PodKind::Streaming, end);
}

async fn ask_for_backfill(ns: &TestNamespace<'_>, name: &str, stream: &str) {
    a_request_with(ns, name, json!({"streamClass": "test-streams", "streamId": stream})).await;
}

fn env<'c>(cron_job: &'c CronJob, name: &str) -> &'c k8s_openapi::api::core::v1::EnvVar {
    let pod = cron_job.spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers[0].env.as_ref().unwrap().iter().find(|variable| variable.name == name).unwrap()
}

#[test]
fn a_batch_stream_becomes_a_cron_job() {
    on_a_cluster(async |ns| {
        create(ns, &kind(), "orders", batch_of("short-lived", HARDLY_EVER)).await;
        let cron_job = scheduled(ns, "orders").await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("Ready", "True", "Scheduled")).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains(HARDLY_EVER), "{said}");
        assert_eq!(said["status"]["jobName"], "orders");
        assert_eq!(cron_job.spec.schedule, HARDLY_EVER);
        assert_eq!(cron_job.spec.concurrency_policy.as_deref(), Some("Forbid"));
        let owner = &cron_job.owner_references()[0];
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        assert_eq!(cron_job.labels()["arcane/stream-id"], "orders");
        let runs = &cron_job.spec.job_template;
        assert_eq!(runs.spec.as_ref().unwrap().ttl_seconds_after_finished, Some(1));
        assert_eq!(runs.metadata.as_ref().unwrap().labels.as_ref().unwrap()["arcane/stream-kind"], "TestStream");
        assert_eq!(env(&cron_job, "STREAMCONTEXT__BACKFILL").value.as_deref(), Some("true"));
        let id = env(&cron_job, "STREAMCONTEXT__BACKFILL_ID").value_from.as_ref().unwrap();
        assert_eq!(id.field_ref.as_ref().unwrap().field_path, "metadata.labels['job-name']");
        event(ns, "orders", "StreamScheduled").await;
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty(), "no initial backfill");
        assert!(ns.jobs_of("orders").await.is_empty());
    });
}

#[test]
fn the_cron_job_controller_starts_runs_and_nobody_minds() {
    on_a_cluster(async |ns| {
        runs_end(ns, "orders", PodBehaviour::succeeds_after(Duration::from_millis(500)));
        create(ns, &kind(), "orders", batch_of("once", "@every 2s")).await;
        let cron_job = scheduled(ns, "orders").await;
        let has_succeeded =
            |it: &CronJob| it.status.as_ref().is_some_and(|status| status.last_successful_time.is_some());
        let after = self::cron_job(ns, "orders", "successful", has_succeeded).await;
        assert_eq!(after.uid(), cron_job.uid());
        let run = ns.jobs_of("orders").await.remove(0);
        assert!(run.name_any().starts_with("orders-"));
        assert_eq!(
            run.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels.as_ref().unwrap()["arcane/backfilling"],
            "false"
        );
        let said = ns.phase_of(&kind(), "orders", "Scheduled").await;
        assert_eq!(condition_of(&said, "LastRunSucceeded"), &Value::Null, "{said}");
        assert!(!runs_of(ns, "orders", PodKind::Streaming).is_empty());
    });
}

#[test]
fn suspending_deletes_the_cron_job_with_its_run_and_resuming_makes_another() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": {"execution": {"suspended": true}}})).await;
        cron_job_gone(ns, &cron_job).await;
        ns.gone(&run).await;
        let said = ns.phase_of(&kind(), "orders", "Suspended").await;
        assert_eq!(condition_of(&said, "Ready")["reason"], "Suspended", "{said}");
        nothing_loops(ns).await;
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": {"execution": {"suspended": false}}})).await;
        assert_ne!(scheduled(ns, "orders").await.uid(), cron_job.uid());
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty());
    });
}

#[test]
fn a_backfill_waits_for_the_run_in_progress_and_the_cron_job_resumes_after_it() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        ask_for_backfill(ns, "again", "orders").await;
        self::cron_job(ns, "orders", "suspended", is_suspended).await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("Reconciling", "True", "WaitingForRun")).await;
        assert!(condition_of(&said, "Ready")["message"].as_str().unwrap().contains("run-1"), "{said}");
        request_phase(ns, "again", "Pending").await;
        nothing_loops(ns).await;
        assert_eq!(ns.jobs().get("run-1").await.unwrap().uid(), run.uid(), "it ends by itself");

        runs_end(ns, "orders", PodBehaviour::succeeds_after(Duration::ZERO));
        ns.phase_of(&kind(), "orders", "Backfilling").await;
        request_phase(ns, "again", "Completed").await;
        assert_eq!(scheduled(ns, "orders").await.uid(), cron_job.uid());
        for reason in ["CronJobSuspended", "BackfillStarted", "BackfillCompleted", "CronJobResumed"] {
            event(ns, "orders", reason).await;
        }
        nothing_loops(ns).await;
        assert_eq!(runs_of(ns, "orders", PodKind::Backfill).len(), 1);
        let after = self::cron_job(ns, "orders", "resumed", |it| !is_suspended(it)).await;
        assert!(!after.annotations().contains_key("arcane/suspended-at"), "{after:?}");
    });
}

#[test]
fn a_failed_backfill_of_a_batch_stream_keeps_the_cron_job_suspended() {
    on_a_cluster(async |ns| {
        a_scheduled_stream(ns, "orders").await;
        let fails = PodBehaviour::exits(3, Duration::ZERO);
        ns.fixture().kubelet().set(ns.name(), "orders", PodKind::Backfill, fails);
        ask_for_backfill(ns, "again", "orders").await;
        ns.phase_of(&kind(), "orders", "Failed").await;
        request_phase(ns, "again", "Failed").await;
        nothing_loops(ns).await;
        assert!(is_suspended(&cron_jobs(ns).get("orders").await.unwrap()));
        ns.fixture().kubelet().unset(ns.name(), "orders", PodKind::Backfill);
        ns.merge(&ns.objects(&kind()), "orders", json!({"metadata": {"annotations": {"arcane/restarted-at": "1"}}}))
            .await;
        request_phase(ns, "again", "Completed").await;
        scheduled(ns, "orders").await;
        nothing_loops(ns).await;
    });
}

#[test]
fn a_run_by_hand_beside_a_backfill_is_ended() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "twin").await;
        ns.fixture().kubelet().set(ns.name(), "twin", PodKind::Backfill, PodBehaviour::runs());
        ask_for_backfill(ns, "again", "twin").await;
        ns.phase_of(&kind(), "twin", "Backfilling").await;
        ns.job("twin-backfill", "running", |job| job.status.as_ref().and_then(|it| it.ready) == Some(1)).await;
        ns.kubectl(&["create", "job", "by-hand", "--from", &format!("cronjob/{}", cron_job.name_any())]).await;
        eventually(SOON, "end of the run", || async {
            match ns.jobs().get_opt("by-hand").await.map_err(|error| error.to_string())? {
                Some(_) => Err("it is there".to_owned()),
                None => Ok(()),
            }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
        ns.fixture().kubelet().unset(ns.name(), "twin", PodKind::Backfill);
        request_phase(ns, "again", "Completed").await;
        scheduled(ns, "twin").await;
    });
}

#[test]
fn a_change_updates_the_cron_job_and_ends_no_run() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        let schedule = json!({"spec": {"execution": {"streamingBackend": {"batch": {"schedule": "5 5 1 1 *"}}}}});
        ns.merge(&ns.objects(&kind()), "orders", schedule).await;
        let after = self::cron_job(ns, "orders", "rescheduled", |it| it.spec.schedule == "5 5 1 1 *").await;
        assert_eq!(after.uid(), cron_job.uid());
        assert!(env(&after, "STREAMCONTEXT__SPEC").value.as_ref().unwrap().contains("5 5 1 1 *"));

        let image = json!([{"name": "stream", "image": "example.com/stream:2"}]);
        ns.merge(&ns.templates(), "once", json!({"spec": {"template": {"spec": {"containers": image}}}})).await;
        let is_new = |it: &CronJob| serde_json::to_string(&it.spec).unwrap_or_default().contains("stream:2");
        self::cron_job(ns, "orders", "updated", is_new).await;
        // What an earlier template had is not left over.
        ns.merge(&ns.templates(), "once", json!({"spec": {"backoffLimit": null}})).await;
        let has_default =
            |it: &CronJob| it.spec.job_template.spec.as_ref().is_some_and(|spec| spec.backoff_limit != Some(0));
        self::cron_job(ns, "orders", "updated", has_default).await;
        nothing_loops(ns).await;
        assert_eq!(ns.jobs().get("run-1").await.unwrap().uid(), run.uid());

        // Metadata is no change; what somebody has changed on the CronJob is put right.
        let before = cron_jobs(ns).get("orders").await.unwrap();
        ns.merge(&ns.objects(&kind()), "orders", json!({"metadata": {"labels": {"team": "a"}}})).await;
        nothing_loops(ns).await;
        assert_eq!(cron_jobs(ns).get("orders").await.unwrap().resource_version(), before.resource_version());
        ns.kubectl(&["patch", "cronjob", "orders", "-p", r#"{"spec":{"concurrencyPolicy":"Allow","suspend":true}}"#])
            .await;
        let is_right = |it: &CronJob| !is_suspended(it) && it.spec.concurrency_policy.as_deref() == Some("Forbid");
        self::cron_job(ns, "orders", "put right", is_right).await;
        nothing_loops(ns).await;
    });
}

#[test]
fn a_restart_replaces_the_cron_job_and_ends_the_run() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        ns.merge(&ns.objects(&kind()), "orders", json!({"metadata": {"annotations": {"arcane/restarted-at": "1"}}}))
            .await;
        cron_job_gone(ns, &cron_job).await;
        ns.gone(&run).await;
        assert_ne!(scheduled(ns, "orders").await.uid(), cron_job.uid());
        nothing_loops(ns).await;
    });
}

#[test]
fn the_backend_is_switched_both_ways_and_two_never_write() {
    on_a_cluster(async |ns| {
        runs_end(ns, "orders", PodBehaviour::terminates_after(Duration::from_secs(1)));
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": change_capture()})).await;
        cron_job_gone(ns, &cron_job).await;
        ns.gone(&run).await;
        let job = running_of(ns, &kind(), "orders").await;
        nothing_loops(ns).await;

        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": batch()})).await;
        ns.gone(&job).await;
        let again = scheduled(ns, "orders").await;
        assert_ne!(again.uid(), cron_job.uid());
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty(), "an old stream gets no initial backfill");
        // Whether two pods ran at once is asked after every test.
    });
}

#[test]
fn a_backend_that_cant_run_stops_nothing() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let missing = json!({"execution": {"streamingBackend": {
            "changeCapture": {"jobTemplateRef": {"name": "nowhere"}}, "batch": null}}});
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": missing})).await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("UpToDate", "False", "TemplateMissing")).await;
        assert_eq!(said["status"]["phase"], "Scheduled", "{said}");
        nothing_loops(ns).await;
        assert_eq!(scheduled(ns, "orders").await.uid(), cron_job.uid());
        // Nor does a schedule that can't be read.
        let bad = json!({"execution": {"streamingBackend": {
            "changeCapture": null, "batch": {"jobTemplateRef": {"name": "once"}, "schedule": "every day"}}}});
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": bad})).await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("Stalled", "True", "InvalidSpec")).await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("spec.execution.streamingBackend.batch.schedule"), "{message}");
        assert_eq!(scheduled(ns, "orders").await.uid(), cron_job.uid());
    });
}

#[test]
fn a_failing_run_is_shown_until_one_succeeds() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        runs_end(ns, "orders", PodBehaviour::exits(3, Duration::ZERO));
        ns.kubectl(&["create", "job", "run-1", "--from", &format!("cronjob/{}", cron_job.name_any())]).await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("LastRunSucceeded", "False", "RunFailed")).await;
        let message = condition_of(&said, "LastRunSucceeded")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("Job run-1 failed") && message.contains("exit code 3"), "{message}");
        assert_eq!(said["status"]["phase"], "Scheduled", "{said}");
        assert!(event(ns, "orders", "RunFailed").await.contains("exit code 3"));
        nothing_loops(ns).await;
        // Also when the Job is gone.
        ns.kubectl(&["delete", "job", "run-1"]).await;
        settled(ns).await;
        let said = ns.phase_of(&kind(), "orders", "Scheduled").await;
        assert_eq!(condition_of(&said, "LastRunSucceeded")["message"], message.as_str(), "{said}");

        runs_end(ns, "orders", PodBehaviour::succeeds_after(Duration::ZERO));
        ns.kubectl(&["create", "job", "run-2", "--from", &format!("cronjob/{}", cron_job.name_any())]).await;
        let is_over = |it: &Value| condition_of(it, "LastRunSucceeded").is_null();
        ns.until(&ns.objects(&kind()), "orders", "succeeding", is_over).await;
        nothing_loops(ns).await;
        let events = ns.events_about("orders").await;
        assert_eq!(events.iter().filter(|event| event.starts_with("RunFailed")).count(), 1, "{events:?}");
    });
}

#[test]
fn a_batch_stream_waits_for_its_template_and_keeps_its_cron_job_without() {
    on_a_cluster(async |ns| {
        create(ns, &kind(), "orders", batch_of("later", HARDLY_EVER)).await;
        ns.condition(&ns.objects(&kind()), "orders", ("Reconciling", "True", "TemplateMissing")).await;
        nothing_loops(ns).await;
        ns.apply(&TEMPLATES.replace("name: once", "name: later")).await;
        let cron_job = scheduled(ns, "orders").await;
        ns.templates().delete("later", &DeleteParams::default()).await.unwrap();
        ns.condition(&ns.objects(&kind()), "orders", ("UpToDate", "False", "TemplateMissing")).await;
        nothing_loops(ns).await;
        assert_eq!(scheduled(ns, "orders").await.uid(), cron_job.uid());
    });
}

#[test]
fn a_cron_job_that_is_somebody_elses_is_left_alone() {
    on_a_cluster(async |ns| {
        let theirs: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "orders"},
            "spec": {"schedule": HARDLY_EVER, "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/theirs:1"}],
            }}}}},
        }))
        .unwrap();
        let theirs = cron_jobs(ns).create(&PostParams::default(), &theirs).await.unwrap();
        let ours = a_scheduled_stream(ns, "orders").await;
        assert!(ours.name_any().starts_with("orders-"), "{}", ours.name_any());
        nothing_loops(ns).await;
        ns.merge(&ns.objects(&kind()), "orders", json!({"spec": {"execution": {"suspended": true}}})).await;
        cron_job_gone(ns, &ours).await;
        let after = cron_jobs(ns).get("orders").await.unwrap();
        assert_eq!((after.uid(), after.resource_version()), (theirs.uid(), theirs.resource_version()));
    });
}

#[test]
fn a_long_name_is_shortened_for_the_cron_job() {
    on_a_cluster(async |ns| {
        let name = format!("orders-{}", "x".repeat(63 - 7));
        let cron_job = a_scheduled_stream(ns, &name).await;
        assert!(cron_job.name_any().len() <= 52 && cron_job.name_any().starts_with("orders-xxx"));
        assert_eq!(cron_job.labels()["arcane/stream-id"], name);
        nothing_loops(ns).await;
    });
}

#[test]
fn deleting_a_batch_stream_deletes_its_cron_job_and_its_run() {
    on_a_cluster(async |ns| {
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        ns.objects(&kind()).delete("orders", &DeleteParams::background()).await.unwrap();
        cron_job_gone(ns, &cron_job).await;
        ns.gone(&run).await;
    });
}

#[test]
fn a_cron_job_deleted_by_hand_comes_back_when_its_run_is_gone() {
    on_a_cluster(async |ns| {
        runs_end(ns, "orders", PodBehaviour::terminates_after(Duration::from_secs(2)));
        let cron_job = a_scheduled_stream(ns, "orders").await;
        let run = a_run(ns, &cron_job, "run-1").await;
        cron_jobs(ns).delete("orders", &DeleteParams::background()).await.unwrap();
        let again = scheduled_anew(ns, &cron_job).await;
        ns.gone(&run).await;
        assert_ne!(again.uid(), cron_job.uid());
        nothing_loops(ns).await;
    });
}

async fn scheduled_anew(ns: &TestNamespace<'_>, before: &CronJob) -> CronJob {
    cron_job_gone(ns, before).await;
    let is_new = |it: &CronJob| it.uid() != before.uid();
    let again = cron_job(ns, &before.name_any(), "new", is_new).await;
    // No run of the one before was there when it came.
    for run in runs_of(ns, &before.name_any(), PodKind::Streaming) {
        assert!(run.ended.is_some(), "{run:?}");
    }
    again
}

#[test]
fn a_cron_job_that_is_refused_says_so_and_comes_when_it_may() {
    on_a_cluster(async |ns| {
        let quota =
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {count/cronjobs.batch: 0}}}";
        ns.apply(quota).await;
        let quotas = ApiResource::erase::<k8s_openapi::api::core::v1::ResourceQuota>(&());
        let counts = |it: &Value| !it["status"]["hard"].is_null();
        ns.until(&ns.objects(&quotas), "none", "counting", counts).await;
        create(ns, &kind(), "orders", batch()).await;
        let said = ns.condition(&ns.objects(&kind()), "orders", ("Stalled", "True", "JobRefused")).await;
        let message = condition_of(&said, "Ready")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("CronJob orders") && message.contains("exceeded quota"), "{message}");
        ns.kubectl(&["delete", "resourcequota", "none"]).await;
        scheduled(ns, "orders").await;
    });
}

#[test]
fn a_cron_job_of_the_older_operator_is_taken_over_as_it_is() {
    on_a_cluster(async |ns| {
        let kind = kind();
        // Until it has a class, the stream is looked after by nobody.
        let nobodys = json!({"arcane/stream-class": "nobody"});
        let stream = create_labelled(ns, &kind, "orders", nobodys, batch()).await;
        ns.condition(&ns.objects(&kind), "orders", ("Reconciling", "True", "StreamClassMissing")).await;
        let job_spec = json!({"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "stream", "image": "example.com/stream:1"}],
        }}});
        let theirs = go_operator::cron_job(&stream, "1 1 1 1 *", &job_spec, "of-another-spec");
        let theirs = cron_jobs(ns).create(&PostParams::default(), &theirs).await.unwrap();
        ns.merge(&ns.objects(&kind), "orders", json!({"metadata": {"labels": {"arcane/stream-class": null}}})).await;
        let is_stamped = |it: &CronJob| it.annotations().contains_key("arcane/stream-generation");
        let stamped = cron_job(ns, "orders", "stamped", is_stamped).await;
        assert_eq!(stamped.uid(), theirs.uid());
        assert_eq!(stamped.spec.schedule, HARDLY_EVER);
        assert_eq!(stamped.spec.concurrency_policy.as_deref(), Some("Forbid"));
        scheduled(ns, "orders").await;
        nothing_loops(ns).await;
        assert!(requests(ns).await.is_empty());
    });
}
