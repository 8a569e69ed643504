use std::sync::Arc;

use arcane_common::{
    api::{condition::Condition, stream_class::StreamClassStatus},
    identity::ObjectName,
    references::FoundTemplate,
    template::{JobTemplate, template_hash},
};
use arcane_process::namespaces::Scope;
use jiff::SignedDuration;
use kube::{
    core::{ApiResource, DynamicObject},
    runtime::watcher::Event,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    caches::tests::{job as an_order_job, key, kind},
    facts::{ClassFacts, JobFacts, JobState, StreamFacts, TemplateFacts},
};

const EARLIER: &str = "hash-of-the-earlier-template";

fn content() -> Arc<JobTemplate> {
    let container = json!({"name": "stream", "image": "example.com/stream:1"});
    let spec = json!({"template": {"spec": {"containers": [container]}}});
    Arc::new(JobTemplate::judge(&spec).unwrap_or_else(|found| unreachable!("{found:?}")))
}

fn today() -> String {
    template_hash(&content(), &[])
}

fn class(strategy: Value) -> ClassFacts {
    let spec = json!({
        "apiGroupRef": "acme.io", "apiVersion": "v1", "kindRef": "Order", "pluralName": "orders", "updateStrategy": strategy,
    });
    ClassFacts {
        name: "c".into(),
        uid: Uid::new("class"),
        resource_version: "1".into(),
        generation: 1,
        spec: serde_json::from_value(spec).unwrap_or_default(),
        status: StreamClassStatus::default(),
        is_default: false,
        created: String::new(),
        deleting: false,
    }
}

fn job(hash: &str) -> JobFacts {
    JobFacts { template_hash: Some(hash.into()), ready: true, ..an_order_job(JobState::Unfinished) }
}

/// The caches with a class that rolls, its template, and one stream with these fields and these Jobs.
fn caches(object: Value, jobs: impl IntoIterator<Item = JobFacts>) -> Caches {
    let resource = ApiResource {
        group: "acme.io".into(),
        version: "v1".into(),
        api_version: "acme.io/v1".into(),
        kind: "Order".into(),
        plural: "orders".into(),
    };
    let mut caches = Caches::default();
    caches.on_class(Event::Apply(("c".into(), class(json!({"type": "RollingUpdate"})))));
    caches.add_kind(kind(), resource.clone());
    let template = TemplateFacts {
        name: ObjectName::new("ns", "t"),
        uid: Uid::new("template"),
        resource_version: "1".into(),
        generation: 1,
        found: FoundTemplate { content: Ok(content()), allowed_namespaces: None },
        recorded: Some(valid("True")),
        deleting: false,
    };
    caches.on_template(&Scope::All, Event::Apply((template.name.clone(), template)));
    let mut stream = DynamicObject::new("orders", &resource).within("ns").data(object);
    stream.metadata.uid = Some("stream".into());
    stream.metadata.generation = Some(1);
    if let Some(note) = stream.data.get("note").map(ToString::to_string) {
        stream.metadata.annotations = Some([("arcane/last-failure".to_owned(), note)].into());
    }
    let stream = StreamFacts::of(&kind(), &stream);
    caches.on_stream(&kind(), &Scope::All, Event::Init);
    caches.on_stream(&kind(), &Scope::All, Event::InitApply((stream.key.name.clone(), stream)));
    caches.on_stream(&kind(), &Scope::All, Event::InitDone);
    for job in jobs {
        caches.on_job(&Scope::All, Event::Apply((job.name.clone(), job)));
    }
    caches
}

fn valid(status: &str) -> Condition {
    let condition = json!({"type": "Valid", "status": status, "observedGeneration": 1, "reason": "r", "message": "m"});
    serde_json::from_value(condition).unwrap_or_else(|error| unreachable!("{error}"))
}

fn a_stream(phase: &str) -> Value {
    json!({"spec": {"jobTemplateRef": {"name": "t"}}, "status": {"phase": phase}})
}

fn seen(object: Value, jobs: impl IntoIterator<Item = JobFacts>) -> Option<State> {
    all_seen(&mut caches(object, jobs)).members.into_iter().next().map(|member| member.state)
}

/// What is seen of streams whose Jobs have been as they are for a while.
fn all_seen(caches: &mut Caches) -> Observed {
    decide(caches, "c", Timestamp::UNIX_EPOCH);
    match gather::gather(caches, "c", Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60)) {
        gather::Gathered::All { observed, .. } => observed,
        gather::Gathered::NotRolling | gather::Gathered::Incomplete => unreachable!("it rolls, and all is listed"),
    }
}

fn failed(job: JobFacts) -> JobFacts {
    JobFacts { state: JobState::Failed { reason: String::new(), message: String::new() }, ready: false, ..job }
}

#[test]
fn a_job_is_current_outdated_or_not_ready() {
    let not_ready = |hash: &str| JobFacts { ready: false, ..job(hash) };
    let outdated = |ready| Some(State::Outdated { job: Uid::new("job"), ready });
    assert_eq!(seen(a_stream("Running"), [job(&today())]), Some(State::Current));
    assert_eq!(seen(a_stream("Running"), [not_ready(&today())]), Some(State::Unavailable));
    assert_eq!(seen(a_stream("Running"), [job(EARLIER)]), outdated(true));
    assert_eq!(seen(a_stream("Running"), [not_ready(EARLIER)]), outdated(false));
    let going = JobFacts { deleting_since: Some(Timestamp::UNIX_EPOCH), ..job(EARLIER) };
    assert_eq!(seen(a_stream("Running"), [going]), Some(State::Unavailable));
    assert_eq!(seen(a_stream("Running"), []), Some(State::Unavailable), "it has none, and is to have one");
    let unknown = JobFacts { template_hash: None, ..job(EARLIER) };
    assert_eq!(seen(a_stream("Running"), [unknown]), Some(State::Current), "an unknown hash counts as current");
}

#[test]
fn what_is_not_to_stream_is_no_member_or_apart() {
    let mut suspended = a_stream("Suspended");
    suspended["spec"]["suspended"] = json!(true);
    assert_eq!(seen(suspended, []), None);
    assert_eq!(seen(a_stream("Backfilling"), [JobFacts { backfilling: true, ..job(EARLIER) }]), Some(State::Apart));
    assert_eq!(seen(json!({"spec": {"jobTemplateRef": {"name": "t"}}}), []), Some(State::Apart), "it is new");
    let mut without_template = a_stream("Pending");
    without_template["spec"]["jobTemplateRef"]["name"] = json!("none");
    assert_eq!(seen(without_template, []), Some(State::Apart));
    let mut wrong = a_stream("Pending");
    wrong["spec"]["backfillJobTemplateRef"] = json!({"name": "t", "kind": "Job"});
    assert_ne!(seen(wrong, []), Some(State::Unavailable), "nothing can be made of it");
    assert_eq!(seen(a_stream("Pending"), []), Some(State::Unavailable));
}

#[test]
fn only_a_failure_with_the_template_of_today_stops_others() {
    let with_note = |note: Value| {
        let mut stream = a_stream("Failed");
        stream["note"] = note;
        stream
    };
    let note = |of_job: &str, at_that_time: &str| json!({"generation": 1, "configurationHash": "h", "templateHash": at_that_time, "jobTemplateHash": of_job});
    assert_eq!(seen(a_stream("Running"), [failed(job(&today()))]), Some(State::Failed), "it will say so in a moment");
    assert_eq!(seen(a_stream("Running"), [failed(job(EARLIER))]), Some(State::Apart));
    let restarted = JobFacts { restarted_at: Some("then".into()), ..job(&today()) };
    assert_eq!(seen(a_stream("Running"), [failed(restarted)]), Some(State::Unavailable), "it is made anew");
    assert_eq!(seen(with_note(note(&today(), &today())), []), Some(State::Failed));
    assert_eq!(
        seen(with_note(note(EARLIER, &today())), []),
        Some(State::Apart),
        "it failed while it waited for its turn"
    );
    assert_eq!(seen(with_note(note(EARLIER, EARLIER)), []), Some(State::Unavailable), "it is about to try again");
    let mut of_backfill = note(&today(), &today());
    of_backfill["requestUid"] = json!("r");
    assert_eq!(seen(with_note(of_backfill), []), Some(State::Apart));
    assert_eq!(seen(a_stream("Failed"), []), Some(State::Apart), "it failed under the older operator");
}

/// What is decided, and since when.
fn decided(caches: &mut Caches, seconds: i64) -> Decision {
    decide(caches, "c", Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds))
}

#[test]
fn a_pod_has_to_be_ready_for_a_while_without_a_break() {
    // The class has said that it is being updated, so it waits for the last one.
    let mut caches = caches(a_stream("Running"), [JobFacts { ready: false, ..job(&today()) }]);
    let mut rolling = class(json!({"type": "RollingUpdate", "rollingUpdate": {"minReadySeconds": 10}}));
    let said = json!({"type": "UpToDate", "status": "False", "reason": "RollingUpdate", "message": ""});
    rolling.status = serde_json::from_value(json!({"conditions": [said]})).unwrap_or_default();
    caches.on_class(Event::Apply(("c".into(), rolling)));
    let mut at = |seconds: i64, ready: Option<bool>| {
        if let Some(ready) = ready {
            let job = JobFacts { ready, ..job(&today()) };
            caches.on_job(&Scope::All, Event::Apply((job.name.clone(), job)));
        }
        let decision = decided(&mut caches, seconds);
        (decision.news != News::Nothing, decision.look_again.map(|wait| wait.as_secs()))
    };
    assert_eq!(at(0, None), (true, None), "a watch tells when its pod is ready");
    assert_eq!(at(1, Some(true)), (true, Some(10)));
    assert_eq!(at(6, None), (true, Some(5)));
    assert_eq!(at(7, Some(false)), (true, None));
    assert_eq!(at(8, Some(true)), (true, Some(10)), "it counts anew");
    assert_eq!(at(17, None), (true, Some(1)));
    assert_eq!(at(18, None), (false, None));
}

#[test]
fn a_template_is_judged_as_it_is_now() {
    let judged = |recorded: Option<Condition>| {
        let mut caches = caches(a_stream("Running"), [job(EARLIER)]);
        let name = ObjectName::new("ns", "t");
        let template = caches.templates.get(&name).map(|template| (**template).clone());
        let Some(template) = template else { unreachable!("it is there") };
        caches.on_template(&Scope::All, Event::Apply((name, TemplateFacts { recorded, ..template })));
        all_seen(&mut caches).members.into_iter().next().map(|member| member.template)
    };
    assert_eq!(judged(Some(valid("True"))), Some(Judgement::Valid));
    assert_eq!(judged(Some(valid("False"))), Some(Judgement::Refused(ObjectName::new("ns", "t"))));
    assert_eq!(judged(None), Some(Judgement::Pending));
    let of_an_earlier_generation = Condition { observed_generation: Some(0), ..valid("True") };
    assert_eq!(judged(Some(of_an_earlier_generation)), Some(Judgement::Pending));
}

#[test]
fn a_turn_is_given_once_and_stays_when_it_is_taken() {
    let mut caches = caches(a_stream("Running"), [job(EARLIER)]);
    let decision = decided(&mut caches, 0);
    assert!(matches!(&decision.news, News::Said(progress) if progress.reason == Progress::ROLLS), "{decision:?}");
    assert_eq!(decision.streams, [key()]);
    assert_eq!(decided(&mut caches, 0).streams, [], "it knows");
    let turn = caches.rolls.get_mut("c").and_then(|roll| roll.turns.get_mut(&key()));
    if let Some(turn) = turn {
        turn.taken = true;
    }
    assert_eq!(decided(&mut caches, 0).streams, []);
    let turns =
        |caches: &Caches| caches.rolls.get("c").map(|roll| roll.turns.values().map(|turn| turn.taken).collect());
    assert_eq!(turns(&caches), Some(vec![true]));
    let going = JobFacts { deleting_since: Some(Timestamp::UNIX_EPOCH), ..job(EARLIER) };
    caches.on_job(&Scope::All, Event::Apply((going.name.clone(), going)));
    decided(&mut caches, 0);
    assert_eq!(turns(&caches), Some(vec![]), "the watch shows it");
    caches.on_class(Event::Apply(("c".into(), class(json!({"type": "OnDelete"})))));
    assert_eq!(decided(&mut caches, 0), Decision { news: News::Nothing, streams: vec![], look_again: None });
    assert_eq!(turns(&caches), None);
}

#[test]
fn before_all_streams_are_listed_nothing_is_decided() {
    let mut caches = caches(a_stream("Running"), [job(EARLIER)]);
    let resource = caches.kinds.get(&kind()).map(|entry| entry.resource.clone());
    let Some(resource) = resource else { unreachable!("it is there") };
    caches.add_kind(kind(), resource);
    assert_eq!(decided(&mut caches, 0), Decision { news: News::Unknown, streams: vec![], look_again: None });
}
