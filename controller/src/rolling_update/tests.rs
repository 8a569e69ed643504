use std::sync::Arc;

use arcane_common::{
    api::stream_class::StreamClassStatus,
    identity::ObjectName,
    references::FoundTemplate,
    template::{JobTemplate, template_hash},
};
use arcane_process::namespaces::Scope;
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
        recorded: None,
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

fn a_stream(phase: &str) -> Value {
    json!({"spec": {"jobTemplateRef": {"name": "t"}}, "status": {"phase": phase}})
}

fn seen(object: Value, jobs: impl IntoIterator<Item = JobFacts>) -> Option<State> {
    let mut caches = caches(object, jobs);
    match gather::gather(&mut caches, "c", Timestamp::UNIX_EPOCH) {
        gather::Gathered::All(observed) => observed.members.into_iter().next().map(|member| member.state),
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

#[test]
fn a_turn_is_given_once_and_stays_when_it_is_taken() {
    let mut caches = caches(a_stream("Running"), [job(EARLIER)]);
    let (said, woken) = decide(&mut caches, "c", Timestamp::UNIX_EPOCH);
    assert!(matches!(&said, News::Said(progress) if progress.reason == Progress::ROLLS), "{said:?}");
    assert_eq!(woken, [key()]);
    assert_eq!(decide(&mut caches, "c", Timestamp::UNIX_EPOCH).1, [], "it knows");
    let turn = caches.rolls.get_mut("c").and_then(|roll| roll.turns.get_mut(&key()));
    if let Some(turn) = turn {
        turn.taken = true;
    }
    let (_, woken) = decide(&mut caches, "c", Timestamp::UNIX_EPOCH);
    assert_eq!(woken, []);
    let turns =
        |caches: &Caches| caches.rolls.get("c").map(|roll| roll.turns.values().map(|turn| turn.taken).collect());
    assert_eq!(turns(&caches), Some(vec![true]));
    let going = JobFacts { deleting_since: Some(Timestamp::UNIX_EPOCH), ..job(EARLIER) };
    caches.on_job(&Scope::All, Event::Apply((going.name.clone(), going)));
    decide(&mut caches, "c", Timestamp::UNIX_EPOCH);
    assert_eq!(turns(&caches), Some(vec![]), "the watch shows it");
    caches.on_class(Event::Apply(("c".into(), class(json!({"type": "OnDelete"})))));
    assert_eq!(decide(&mut caches, "c", Timestamp::UNIX_EPOCH), (News::Nothing, vec![]));
    assert_eq!(turns(&caches), None);
}

#[test]
fn before_all_streams_are_listed_nothing_is_decided() {
    let mut caches = caches(a_stream("Running"), [job(EARLIER)]);
    let resource = caches.kinds.get(&kind()).map(|entry| entry.resource.clone());
    let Some(resource) = resource else { unreachable!("it is there") };
    caches.add_kind(kind(), resource);
    assert_eq!(decide(&mut caches, "c", Timestamp::UNIX_EPOCH), (News::Unknown, vec![]));
}
