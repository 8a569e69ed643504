//! The whole story of a stream, as its user tells it, and how things must stand after each step. It is the same whether the
//! controller is killed in between or not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::observer::{Now, What, has_condition, text};
use crate::place::{COMPLETED_WRITTEN, Place, a_spec};
use crate::rules::UserDid;

/// How long a step may take, a killed controller included. The garbage collector learns of a new kind within half a minute.
const STEP: Duration = Duration::from_secs(90);

const STREAM: &str = "orders";
const MANUAL: &str = "orders-again";
const TTL: u32 = 86400;

/// A stream that streams, with the given request's finished backfill Job.
fn streaming_after(generation: u32, backfill_of: &str, requests: &[&str]) -> String {
    let mut lines = vec![
        "stream Running (Ready for Running), its Job is orders".to_owned(),
        format!("generation {generation} observed"),
    ];
    lines.extend(requests.iter().map(|request| format!("request {request} Completed, completed, written")));
    lines.push(format!("Job of {backfill_of} complete, goes after {TTL} s"));
    lines.push("Job of the stream unfinished, of the present spec".to_owned());
    lines.push("pod of the stream Running".to_owned());
    lines.join("\n")
}

/// What the user of the story does, in all.
pub fn user_did() -> UserDid {
    let spec = a_spec();
    let mut suspended = spec.clone();
    suspended["suspended"] = json!(true);
    let mut resumed = spec.clone();
    resumed["suspended"] = json!(false);
    let mut changed = resumed.clone();
    changed["sourceTable"] = json!("Customers");
    UserDid {
        specs: BTreeMap::from([(STREAM.to_owned(), vec![spec, suspended, resumed, changed])]),
        requests: vec![MANUAL.to_owned()],
    }
}

/// Tells the story to its end; each step begins when the one before has visibly happened.
pub async fn tell(place: &Place<'_>) -> Result<(), String> {
    place.create_templates(Some(TTL)).await?;
    place.templates_are_valid().await.map_err(in_step("templates"))?;

    place.create_stream(STREAM, &a_spec()).await?;
    stands(place, "create", &streaming_after(1, "initial", &["initial"])).await?;

    place.change_stream(STREAM, json!({"suspended": true})).await?;
    let suspended = format!(
        "stream Suspended (Ready for Suspended), its Job is \ngeneration 2 observed\n\
         request initial Completed, completed, written\nJob of initial complete, goes after {TTL} s"
    );
    stands(place, "suspend", &suspended).await?;

    place.change_stream(STREAM, json!({"suspended": false})).await?;
    stands(place, "resume", &streaming_after(3, "initial", &["initial"])).await?;

    place.request_backfill(MANUAL, STREAM).await?;
    stands(place, "manual backfill", &streaming_after(3, MANUAL, &["initial", MANUAL])).await?;

    place.change_stream(STREAM, json!({"sourceTable": "Customers"})).await?;
    stands(place, "spec change", &streaming_after(4, MANUAL, &["initial", MANUAL])).await?;

    place.delete_stream(STREAM).await?;
    stands(place, "delete", "").await
}

fn in_step(step: &str) -> impl FnOnce(String) -> String {
    move |why| format!("step {step:?}: {why}")
}

async fn stands(place: &Place<'_>, step: &str, expected: &str) -> Result<(), String> {
    let holds = |now: &Now| {
        let scene = scene(now);
        if scene == expected { Ok(()) } else { Err(format!("\n--- expected\n{expected}\n--- seen\n{scene}\n---")) }
    };
    place.observer.until(STEP, "sight of its effect", holds).await.map_err(in_step(step))
}

/// How things stand: all that a user could see and that is the same in every telling.
fn scene(now: &Now) -> String {
    let generation = now.get(&(What::Stream, STREAM.to_owned())).map(|it| it["metadata"]["generation"].to_string());
    let request_names: BTreeMap<&str, &str> = of(now, What::Request)
        .map(|request| {
            let name = text(request, "/metadata/name");
            (text(request, "/metadata/uid"), if name == MANUAL { MANUAL } else { "initial" })
        })
        .collect();
    let role = |request: &str| request_names.get(request).copied().unwrap_or("nothing known").to_owned();
    let mut lines = Vec::new();
    for stream in of(now, What::Stream) {
        let ready = stream["status"]["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == "Ready");
        let ready = ready.map(|it| {
            format!("{} for {}", if it["status"] == "True" { "Ready" } else { "not ready" }, text(it, "/reason"))
        });
        let (phase, job) = (text(stream, "/status/phase"), text(stream, "/status/jobName"));
        lines.push(format!("stream {phase} ({}), its Job is {job}", ready.unwrap_or_default()));
        for wrong in ["Reconciling", "Stalled"].into_iter().filter(|type_| has_condition(stream, type_)) {
            lines.push(format!("stream {wrong}"));
        }
        let (generation, observed) = (&stream["metadata"]["generation"], &stream["status"]["observedGeneration"]);
        lines.push(format!(
            "generation {generation} {}",
            if observed == generation { "observed" } else { "not observed" }
        ));
    }
    let mut requests: Vec<String> = of(now, What::Request)
        .map(|request| {
            let mut line =
                format!("request {} {}", role(text(request, "/metadata/uid")), text(request, "/status/phase"));
            if request["spec"]["completed"] == true {
                line += ", completed";
            }
            if request["metadata"]["annotations"][COMPLETED_WRITTEN] == "true" {
                line += ", written";
            }
            line
        })
        .collect();
    requests.sort();
    lines.extend(requests);
    let mut jobs: Vec<String> = of(now, What::Job)
        .map(|job| {
            let annotations = &job["metadata"]["annotations"];
            let for_request = annotations["arcane/backfill-request-uid"].as_str();
            let of = for_request.map_or_else(|| "the stream".to_owned(), role);
            let state = match ["Complete", "Failed"].into_iter().find(|type_| has_condition(job, type_)) {
                Some(condition) => condition.to_lowercase(),
                None if job["metadata"]["deletionTimestamp"].is_string() => "going".to_owned(),
                None if annotations["arcane/stream-generation"].as_str() == generation.as_deref() => {
                    "unfinished, of the present spec".to_owned()
                }
                None => "unfinished, of an earlier spec".to_owned(),
            };
            let ttl = match &job["spec"]["ttlSecondsAfterFinished"] {
                Value::Null => String::new(),
                ttl => format!(", goes after {ttl} s"),
            };
            format!("Job of {of} {state}{ttl}")
        })
        .collect();
    jobs.sort();
    lines.extend(jobs);
    for pod in of(now, What::Pod) {
        let phase = text(pod, "/status/phase");
        if !["Succeeded", "Failed"].contains(&phase) {
            let backfilling = pod["metadata"]["labels"]["arcane/backfilling"] == "true";
            lines.push(format!("pod of {} {phase}", if backfilling { "a backfill" } else { "the stream" }));
        }
    }
    lines.join("\n")
}

fn of(now: &Now, what: What) -> impl Iterator<Item = &Value> {
    now.iter().filter(move |((kind, _), _)| *kind == what).map(|(_, object)| object)
}
