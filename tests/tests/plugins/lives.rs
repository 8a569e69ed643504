//! Each stand-in through its whole life.

use arcane_tests::fixture::SOON;
use arcane_tests::fixture::variable;
use arcane_tests::manifests::text_of;
use arcane_tests::{PodBehaviour, PodKind, eventually};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::asked;
use crate::life::Life;
use crate::plugins::{Policy, at, plugin};
use crate::world::{classes_api, kubectl_with, on_a_cluster};

/// The whole story, step by step.
fn lives(kind: &str) {
    let plugin = plugin(kind);
    on_a_cluster(async |world, ns| {
        let mut life = Life::new(world, ns, plugin).with_its_whole_chart();
        let started = std::time::Instant::now();
        let told = |step: &str| eprintln!("  {kind}: {step} after {:.1?}", started.elapsed());
        the_chart_is_installed(&life).await;
        told("installed");
        mistakes_are_refused(&life).await;
        told("mistakes refused");
        it_is_created_and_comes_to_run(&mut life).await;
        told("runs");
        it_is_paused_and_goes_on(&mut life).await;
        told("paused");
        it_is_backfilled_by_hand(&life).await;
        told("backfilled");
        it_takes_a_change_of_its_spec(&mut life).await;
        told("changed");
        its_job_runs_on_when_its_template_changes(&life).await;
        told("template changed");
        its_job_is_replaced_when_its_class_rolls(&life).await;
        told("rolled");
        it_fails(&life).await;
        told("failed");
        it_recovers(&mut life).await;
        told("recovered");
        it_comes_to_rest_as_its_manifests_say(&mut life).await;
        told("at rest");
        it_is_deleted_with_all_that_it_had(&life).await;
        told("deleted");
    });
}

/// Nothing is warned of but what stands in the wrong place.
async fn the_chart_is_installed(life: &Life<'_>) {
    let warnings = life.applied(&life.chart()).await;
    let warnings: Vec<&str> = warnings.lines().collect();
    if life.plugin.policy == Policy::Misplaced {
        // Both templates; kubectl tells the same only once.
        let [warning] = warnings[..] else { panic!("{warnings:#?}") };
        assert!(warning.starts_with("Warning: spec.template.podFailurePolicy: "), "{warning}");
        assert!(warning.to_lowercase().contains("ignored"), "{warning}");
        assert!(warning.contains("spec.template.spec.podFailurePolicy"), "where it belongs is told: {warning}");
    } else {
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
    for template in life.plugin.templates {
        life.ns.condition(&life.ns.templates(), template, ("Valid", "True", "Valid")).await;
    }
}

/// Each is refused for its own reason, and nothing is stored.
async fn mistakes_are_refused(life: &Life<'_>) {
    let (fixture, plugin) = (&life.world.fixture, life.plugin);
    let mut mistakes = Vec::new();
    for fields in plugin.reference_fields() {
        let over = at(fields, json!({"name": "no-such-template"}));
        let field = format!("spec.{}.name: Not found: \"no-such-template\"", fields.join("."));
        mistakes.push(("refused".to_owned(), over, field));
    }
    for (over, field) in plugin.mistakes {
        mistakes.push(("refused".to_owned(), serde_json::from_str(over).unwrap(), (*field).to_owned()));
    }
    mistakes.push(("r".repeat(64), json!({}), "metadata.name: Too long: 64 characters".to_owned()));
    for (name, over, words) in mistakes {
        let wrong = life.manifest().changed(&name, &over);
        let said = kubectl_with(fixture, &["create", "--validate=strict"], &wrong.text).await;
        assert!(
            !said.status.success() && said.stderr.contains(&words),
            "expected {words}: {}{}",
            said.stdout,
            said.stderr
        );
        assert!(said.stderr.contains(&format!("The {} \"{name}\" is invalid", plugin.kind)), "{}", said.stderr);
    }
    let stored = life.ns.objects(&plugin.resource()).list(&Default::default()).await.unwrap();
    assert!(stored.items.is_empty(), "{stored:?}");
}

async fn it_is_created_and_comes_to_run(life: &mut Life<'_>) {
    life.let_pods(PodKind::Backfill, PodBehaviour::runs());
    let warnings = life.applied_by_user().await;
    assert_eq!(warnings, "");
    life.generation = 1;
    if life.plugin.is_created_suspended {
        life.says("Suspended", "True", "Suspended: suspended by its user").await;
        asked::nothing_loops(life.ns).await;
        life.nothing_drifts().await;
        assert!(life.jobs().await.is_empty() && life.requests().await.is_empty(), "no backfill now or later");
        life.patched(&life.plugin.suspension(false)).await;
        life.running().await;
        assert!(life.requests().await.is_empty(), "no backfill now or later");
    } else {
        let (job, request) = life.backfilling().await;
        life.backfill_ends(&job, &request).await;
        life.running().await;
        life.nothing_drifts().await;
        assert_eq!(life.requests().await.len(), 1);
    }
    let shown = life.ns.kubectl(&["get", life.plugin.plural]).await;
    let (head, row) = shown.split_once('\n').unwrap();
    let head: Vec<&str> = head.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    assert_eq!(head, ["NAME", "SOURCE", "SINK", "REFRESH INTERVAL", "PHASE"], "{shown}");
    assert!(row.trim().ends_with(life.plugin.word("Running")), "{shown}");
}

async fn it_is_paused_and_goes_on(life: &mut Life<'_>) {
    let before = life.running().await;
    let requests = life.requests().await;
    if !life.plugin.can_be_suspended {
        return it_says_that_it_can_not_be_paused(life, &before).await;
    }
    life.patched(&life.plugin.suspension(true)).await;
    life.ns.gone(&before).await;
    life.says("Suspended", "True", "Suspended: suspended by its user").await;
    assert!(life.unfinished_jobs().await.is_empty());
    life.patched(&life.plugin.suspension(false)).await;
    life.running_anew(&before).await;
    assert_eq!(life.requests().await, requests, "nothing is backfilled again");
}

/// The API server drops the field, and says so; strict clients are refused. The stream runs on, and says that it does.
async fn it_says_that_it_can_not_be_paused(life: &Life<'_>, before: &Job) {
    let (name, patch) = (life.plugin.stream, life.plugin.suspension(true).to_string());
    let arguments = ["patch", life.plugin.plural, name, "-n", life.ns.name(), "--type=merge", "-p", &patch];
    let said = life.world.fixture.cluster().kubectl(&arguments).await.unwrap();
    assert!(said.status.success() && said.stderr.contains("unknown field \"spec.suspended\""), "{said:?}");
    let manifest = life.manifest().changed(name, &json!({"spec": {"suspended": true}}));
    let arguments = ["apply", "--validate=strict"];
    let said = kubectl_with(&life.world.fixture, &arguments, &text_of([&manifest])).await;
    assert!(!said.status.success() && said.stderr.contains("unknown field \"spec.suspended\""), "{said:?}");
    asked::nothing_loops(life.ns).await;
    assert_eq!(life.running().await.uid(), before.uid());
}

async fn it_is_backfilled_by_hand(life: &Life<'_>) {
    let streaming = life.running().await;
    life.let_pods(PodKind::Backfill, PodBehaviour::runs());
    let payload = json!({"from": "2026-01-01", "tables": ["a", "b"], "nested": {"limit": 10}});
    life.ask_for_a_backfill("by-hand", payload.clone()).await;
    let (job, request) = life.backfilling().await;
    assert_eq!(request["metadata"]["name"], "by-hand");
    assert_eq!(request["spec"]["payload"], payload);
    life.ns.gone(&streaming).await;
    life.backfill_ends(&job, &request).await;
    life.running_anew(&streaming).await;
}

async fn it_takes_a_change_of_its_spec(life: &mut Life<'_>) {
    let before = life.running().await;
    life.patched(&json!({"spec": {"sink": "lake.elsewhere"}})).await;
    let after = life.running_anew(&before).await;
    assert!(variable(&after, "STREAMCONTEXT__SPEC").unwrap().contains("lake.elsewhere"));
    assert_ne!(before.annotations()["configuration-hash"], after.annotations()["configuration-hash"]);
}

/// From here on a Job fails with its first pod, so that nobody waits for the pauses between four.
async fn its_job_runs_on_when_its_template_changes(life: &Life<'_>) {
    let before = life.running().await;
    let template = life.plugin.templates[0];
    life.ns.merge(&life.ns.templates(), template, life.plugin.patch_of_job(json!({"backoffLimit": 0}))).await;
    let warns = if life.plugin.has_old_words { ("WARNING", "True") } else { ("UpToDate", "False") };
    let stream = life
        .stream_that("outdated", |stream| {
            let conditions = stream["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                let message = condition["message"].as_str().unwrap_or_default();
                condition["type"] == warns.0
                    && condition["status"] == warns.1
                    && message.contains(&format!("{}/{template}", life.ns.name()))
                    && message.contains("arcane/restarted-at")
            })
        })
        .await;
    assert_eq!(stream["status"]["phase"], life.plugin.word("Running"));
    asked::nothing_loops(life.ns).await;
    assert_eq!(life.running().await.uid(), before.uid(), "OnDelete");
    life.patched_elsewhere(&json!({"metadata": {"annotations": {"arcane/restarted-at": "with the new template"}}}))
        .await;
    let after = life.running_anew(&before).await;
    assert_eq!(after.spec.as_ref().unwrap().backoff_limit, Some(0));
    let stream = life.stream().await;
    let conditions = stream["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|condition| condition["type"] != warns.0), "{stream}");
}

/// Other tests have streams of the class, too, which come and go: it waits for none of them.
async fn its_job_is_replaced_when_its_class_rolls(life: &Life<'_>) {
    let before = life.running().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 100}});
    let classes = classes_api(&life.world.fixture);
    life.ns.merge(&classes, life.plugin.class, json!({"spec": {"updateStrategy": strategy}})).await;
    let template = life.plugin.templates[0];
    life.ns
        .merge(&life.ns.templates(), template, life.plugin.patch_of_job(json!({"activeDeadlineSeconds": 86_400})))
        .await;
    let after = life.running_anew(&before).await;
    assert_eq!(after.spec.as_ref().unwrap().active_deadline_seconds, Some(86_400));
    life.stream_that("up-to-date", |stream| {
        let conditions = stream["status"]["conditions"].as_array();
        let is_outdated = |it: &Value| it["type"] == "WARNING" || (it["type"] == "UpToDate" && it["status"] == "False");
        !conditions.into_iter().flatten().any(is_outdated)
    })
    .await;
    asked::nothing_loops(life.ns).await;
    assert_eq!(life.running().await.uid(), after.uid(), "it is replaced once");
    life.ns.merge(&classes, life.plugin.class, json!({"spec": {"updateStrategy": null}})).await;
}

/// Exit code 2 asks for another try where the policy is read; 1 is the end of it.
async fn it_fails(life: &Life<'_>) {
    let job = life.running().await;
    let counted = life.plugin.policy != Policy::Kept;
    if !counted {
        let pods = life.runs(PodKind::Streaming).len();
        life.a_pod_exits(2).await;
        let again = |now: &Job| {
            let status = now.status.as_ref();
            status.and_then(|status| status.ready) == Some(1) && life.runs(PodKind::Streaming).len() > pods
        };
        let same = life.ns.job(&job.name_any(), "running again", again).await;
        assert_eq!(same.uid(), job.uid());
        assert_eq!(same.status.as_ref().and_then(|status| status.failed).unwrap_or(0), 0, "{same:?}");
        life.says("Running", "True", "streams").await;
    }
    let exit_code = if counted { 2 } else { 1 };
    life.a_pod_exits(exit_code).await;
    let stream = life.says("Failed", "False", &format!("exit code {exit_code}")).await;
    let words = life.said(&stream).1;
    assert!(words.starts_with("JobFailed: ") && words.contains("arcane/restarted-at"), "{words}");
    eventually(SOON, "event JobFailed", || async {
        let events = life.ns.events_about(life.plugin.stream).await;
        let told: Vec<_> = events.iter().filter(|event| event.starts_with("JobFailed: ")).collect();
        match told[..] {
            [told] if told.contains(&format!("exit code {exit_code}")) => Ok(()),
            _ => Err(format!("{events:?}")),
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    asked::nothing_loops(life.ns).await;
    let stays = life.jobs().await;
    assert!(stays.iter().any(|it| it.uid() == job.uid()), "it stays for its logs");
    life.phase("Failed").await;
}

/// By suspension where there is one, else by a change of the spec.
async fn it_recovers(life: &mut Life<'_>) {
    let requests = life.requests().await;
    if life.plugin.can_be_suspended {
        life.patched(&life.plugin.suspension(true)).await;
        life.says("Suspended", "True", "Suspended").await;
        life.patched(&life.plugin.suspension(false)).await;
    } else {
        life.patched(&json!({"spec": {"refreshInterval": "120s"}})).await;
    }
    life.running().await;
    assert_eq!(life.requests().await, requests, "nothing is backfilled again");
}

async fn it_comes_to_rest_as_its_manifests_say(life: &mut Life<'_>) {
    let before = life.running().await;
    life.applied(&life.chart()).await;
    life.generation += 1;
    assert_eq!(life.applied_by_user().await, "");
    if life.plugin.is_created_suspended {
        life.ns.gone(&before).await;
        life.says("Suspended", "True", "Suspended").await;
    } else {
        life.running_anew(&before).await;
    }
    asked::nothing_loops(life.ns).await;
    life.nothing_drifts().await;
    asked::nothing_loops(life.ns).await;

    // The one write to the stream itself in all this is the note of its failure.
    let asked = asked::since(life.ns, life.began);
    let writes: Vec<String> = asked
        .iter()
        .filter(|request| request.resource == life.plugin.plural && request.subresource.is_empty())
        .filter(|request| !["get", "list"].contains(&request.verb.as_str()))
        .map(|request| format!("{} {} {}", request.verb, request.uri, request.code))
        .collect();
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let refused: Vec<_> = asked.iter().filter(|request| request.code == 422).collect();
    assert!(refused.is_empty(), "what its status can't hold isn't tried: {refused:#?}");
}

async fn it_is_deleted_with_all_that_it_had(life: &Life<'_>) {
    let (ns, plugin) = (life.ns, life.plugin);
    ns.kubectl(&["delete", plugin.plural, plugin.stream]).await;
    eventually(SOON, "end of all that it had", || async {
        let jobs: Vec<_> = ns.jobs_of(plugin.stream).await.iter().map(|job| job.name_any()).collect();
        let pods = ns.pods().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let pods: Vec<_> = pods.iter().map(|pod| pod.name_any()).collect();
        let mut requests = life.requests().await;
        // What was never accepted by the stream has no owner; here all were.
        requests.sort();
        if jobs.is_empty() && pods.is_empty() && requests.is_empty() {
            Ok(())
        } else {
            Err(format!("{jobs:?} {pods:?} {requests:?}"))
        }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    asked::nothing_loops(ns).await;
    let mut runs = life.runs(PodKind::Streaming);
    runs.extend(life.runs(PodKind::Backfill));
    for (index, run) in runs.iter().enumerate() {
        for other in &runs[index + 1..] {
            assert!(!run.overlaps(other), "two pods of a stream at once: {run:?} and {other:?}");
        }
    }
}

#[test]
fn a_stream_like_that_of_sql_server_lives() {
    lives("SqlServerStream");
}

#[test]
fn a_stream_in_the_layout_of_the_next_sql_server_plugin_lives() {
    lives("SqlServerStreamBeta");
}

#[test]
fn a_stream_like_that_of_parquet_lives() {
    lives("ParquetFilesStream");
}

#[test]
fn a_stream_like_that_of_synapse_link_lives() {
    lives("SynapseLinkStream");
}

#[test]
fn a_stream_in_the_layout_of_the_next_synapse_link_plugin_lives() {
    lives("SynapseLinkStreamBeta");
}

#[test]
fn a_stream_like_that_of_a_rest_api_lives() {
    lives("RestTokenStream");
}

#[test]
fn a_stream_like_that_of_json_lives() {
    lives("JsonStream");
}

#[test]
fn a_stream_of_a_sibling_of_json_lives_with_a_secret_of_null() {
    lives("JsonArchiveStream");
}

#[test]
fn a_pull_stream_lives_from_its_suspension_on() {
    lives("PullStream");
}
