//! What happens while the controller is away is found and judged when it is back.

use std::time::Duration;

use arcane_tests::{Fixture, OperatorOptions, OperatorProcess, PodBehaviour, PodKind};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::observer::{Now, What, has_condition, text};
use crate::place::{Place, a_spec};
use crate::rules::{self, Evidence, UserDid};

const STREAM: &str = "orders";

async fn start_controller(fixture: &Fixture, log: &str) -> OperatorProcess {
    let mut options: OperatorOptions = fixture.operator_options("");
    options.log = crate::log_file(log);
    options.ready_within = Some(crate::SOON);
    OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn until(place: &Place<'_>, what: &str, holds: impl Fn(&Now) -> bool) {
    let holds = |now: &Now| if holds(now) { Ok(()) } else { Err(format!("{:?}", now.keys().collect::<Vec<_>>())) };
    place.observer.until(crate::SOON, what, holds).await.unwrap_or_else(|why| panic!("{why}"));
}

fn job<'n>(now: &'n Now, name: &str) -> Option<&'n Value> {
    now.get(&(What::Job, name.to_owned()))
}

fn streams(now: &Now) -> bool {
    let phase = now.get(&(What::Stream, STREAM.to_owned())).map(|stream| text(stream, "/status/phase"));
    let pods = now.iter().filter(|((what, _), pod)| *what == What::Pod && text(pod, "/status/phase") == "Running");
    phase == Some("Running") && job(now, STREAM).is_some() && pods.count() == 1
}

fn no_rule_is_broken(fixture: &Fixture, place: &Place<'_>) {
    let user = UserDid { specs: [(STREAM.to_owned(), vec![a_spec()])].into(), ..UserDid::default() };
    let mut runs = fixture.kubelet().history();
    runs.retain(|run| run.namespace == place.name() && run.stream_id == STREAM);
    let breaches = rules::breaches(&Evidence { history: &place.observer.history(), runs: &runs, user: &user });
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_controller_is_away_is_neither_lost_nor_repeated() {
    let fixture = crate::a_fixture().await;
    a_backfill_that_ends_with_a_ttl_of_a_second(&fixture).await;
    a_job_that_vanishes_while_its_pod_lives_on(&fixture).await;
    fixture.stop().await;
}

/// The Job is there until its outcome is recorded, whatever its TTL.
async fn a_backfill_that_ends_with_a_ttl_of_a_second(fixture: &Fixture) {
    let place = Place::new(fixture, "ends-alone").await.unwrap_or_else(|why| panic!("{why}"));
    place.create_templates(Some(1)).await.unwrap_or_else(|why| panic!("{why}"));
    let endless = PodBehaviour::runs();
    fixture.kubelet().set(place.name(), STREAM, PodKind::Backfill, endless);
    place.create_stream(STREAM, &a_spec()).await.unwrap_or_else(|why| panic!("{why}"));
    let controller = start_controller(fixture, "ends-alone-1").await;
    until(&place, "backfill Job", |now| job(now, "orders-backfill").is_some()).await;
    controller.kill().await.unwrap_or_else(|error| panic!("{error}"));

    fixture.kubelet().unset(place.name(), STREAM, PodKind::Backfill);
    let complete =
        |name: &'static str| move |now: &Now| job(now, name).is_some_and(|job| has_condition(job, "Complete"));
    until(&place, "completed backfill Job", complete("orders-backfill")).await;
    // Another Job with this TTL, which ends later, has gone: so would ours have.
    let clock = json!({
        "metadata": {"name": "clock"},
        "spec": {"ttlSecondsAfterFinished": 1, "template": {
            "metadata": {"labels": {"arcane/backfilling": "true"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "clock", "image": "example.com/clock:1"}]},
        }},
    });
    let clock: Job = serde_json::from_value(clock).unwrap_or_else(|error| panic!("{error}"));
    let jobs: Api<Job> = Api::namespaced(fixture.client(), place.name());
    jobs.create(&PostParams::default(), &clock).await.unwrap_or_else(|error| panic!("{error}"));
    until(&place, "completed Job", complete("clock")).await;
    until(&place, "end of a TTL", |now| job(now, "clock").is_none()).await;
    until(&place, "finished backfill Job", complete("orders-backfill")).await;

    let controller = start_controller(fixture, "ends-alone-2").await;
    until(&place, "stream that streams", streams).await;
    until(&place, "end of the backfill Job by its TTL", |now| job(now, "orders-backfill").is_none()).await;
    controller.kill().await.unwrap_or_else(|error| panic!("{error}"));
    no_rule_is_broken(fixture, &place);
    place.leave().await;
}

/// The next Job waits for the pod, though nothing that the controller remembers tells of it.
async fn a_job_that_vanishes_while_its_pod_lives_on(fixture: &Fixture) {
    let place = Place::new(fixture, "vanishes").await.unwrap_or_else(|why| panic!("{why}"));
    place.create_templates(None).await.unwrap_or_else(|why| panic!("{why}"));
    place.create_stream(STREAM, &a_spec()).await.unwrap_or_else(|why| panic!("{why}"));
    let controller = start_controller(fixture, "vanishes-1").await;
    until(&place, "stream that streams", streams).await;
    controller.kill().await.unwrap_or_else(|error| panic!("{error}"));

    let for_ever = PodBehaviour::terminates_after(Duration::from_secs(3600));
    fixture.kubelet().set(place.name(), STREAM, PodKind::Streaming, for_ever);
    place.delete_job(STREAM).await.unwrap_or_else(|why| panic!("{why}"));
    until(&place, "end of the Job", |now| job(now, STREAM).is_none()).await;
    let controller = start_controller(fixture, "vanishes-2").await;
    let waits = |now: &Now| {
        let stream = now.get(&(What::Stream, STREAM.to_owned()));
        let conditions = stream.and_then(|stream| stream["status"]["conditions"].as_array());
        conditions.into_iter().flatten().any(|it| it["type"] == "Reconciling" && it["reason"] == "WaitingForPod")
    };
    until(&place, "stream that waits for a pod", waits).await;
    fixture.kubelet().unset(place.name(), STREAM, PodKind::Streaming);
    until(&place, "stream that streams", streams).await;
    controller.kill().await.unwrap_or_else(|error| panic!("{error}"));
    no_rule_is_broken(fixture, &place);
    place.leave().await;
}
