//! How things stand, in words.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{LATER, MANUAL, STREAM};
use crate::observer::{Now, What, has_condition, text};
use crate::place::COMPLETED_WRITTEN;

/// How things stand: all that a user could see and that is the same in every telling.
pub fn scene(now: &Now) -> String {
    let generation = now.get(&(What::Stream, STREAM.to_owned())).map(|it| it["metadata"]["generation"].to_string());
    let request_names: BTreeMap<&str, &str> = of(now, What::Request)
        .map(|request| {
            let name = text(request, "/metadata/name");
            let known = [MANUAL, LATER].into_iter().find(|known| *known == name);
            (text(request, "/metadata/uid"), known.unwrap_or("initial"))
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
        let outdated =
            stream["status"]["conditions"].as_array().into_iter().flatten().find(|it| it["type"] == "UpToDate");
        lines.extend(outdated.map(|it| format!("stream not up to date for {}", text(it, "/reason"))));
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
