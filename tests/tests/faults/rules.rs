//! The rules that no crash may break, judged on everything that the observer has seen and the kubelet has run.

use std::collections::{BTreeMap, BTreeSet};

use arcane_tests::PodRun;
use serde_json::Value;

use crate::observer::{Sight, What, has_condition};

/// What the test itself has done, as the user.
#[derive(Clone, Debug, Default)]
pub struct UserDid {
    /// Every spec of every stream, by the stream's name, in order.
    pub specs: BTreeMap<String, Vec<Value>>,
    /// The names of the BackfillRequests.
    pub requests: Vec<String>,
    /// Streams that were suspended from the start.
    pub created_suspended: Vec<String>,
    /// Requests whose backfill was stopped and started again, and that were deleted in the end.
    pub withdrawn: Vec<String>,
}

/// Everything that a rule looks at.
pub struct Evidence<'e> {
    pub history: &'e [Sight],
    pub runs: &'e [PodRun],
    pub user: &'e UserDid,
}

type Rule = fn(&Evidence<'_>) -> Vec<String>;

const RULES: [(&str, Rule); 10] = [
    ("a stream never has two unfinished Jobs", never_two_unfinished_jobs),
    ("a stream never has unfinished pods of two Jobs", never_unfinished_pods_of_two_jobs),
    ("a stream never has two running pods", never_two_running_pods),
    ("a stream has one initial request", one_initial_request_per_stream),
    ("a stream streams after its backfill", backfill_before_streaming),
    ("a request has one Job, which completes", one_job_per_request),
    ("a completed request stays so, and no Job is made for it", a_completed_request_rests),
    ("a suspended stream gets no Job", no_job_while_suspended),
    ("a stream's spec is written by its user only", the_spec_is_the_users),
    ("of a spec the controller owns nothing but what it completes", no_field_of_a_spec_is_owned),
];

/// Every breach of every rule, in words.
pub fn breaches(evidence: &Evidence<'_>) -> Vec<String> {
    let told = RULES
        .iter()
        .flat_map(|(rule, breaches_of)| breaches_of(evidence).into_iter().map(move |what| format!("{rule}: {what}")));
    told.collect()
}

fn of<'e>(evidence: &Evidence<'e>, what: What) -> impl Iterator<Item = &'e Sight> + use<'e> {
    evidence.history.iter().filter(move |sight| sight.what == what)
}

fn uid(sight: &Sight) -> &str {
    sight.text("/metadata/uid")
}

fn name(sight: &Sight) -> &str {
    sight.text("/metadata/name")
}

fn stream_of(sight: &Sight) -> &str {
    sight.label("arcane/stream-id")
}

fn is_finished_job(sight: &Sight) -> bool {
    has_condition(&sight.object, "Complete") || has_condition(&sight.object, "Failed")
}

/// What is told to end may be called complete, too.
fn has_done_its_work(job: &Sight) -> bool {
    has_condition(&job.object, "Complete") && !job.object["metadata"]["deletionTimestamp"].is_string()
}

/// The first sight of each object.
fn created<'e>(evidence: &Evidence<'e>, what: What) -> Vec<&'e Sight> {
    let mut known = BTreeSet::new();
    of(evidence, what).filter(|sight| known.insert(uid(sight))).collect()
}

/// The Jobs in the order in which they were created: what each was for.
pub fn roles(history: &[Sight]) -> Vec<&'static str> {
    let evidence = Evidence { history, runs: &[], user: &UserDid::default() };
    let role = |job: &&Sight| if job.label("arcane/backfilling") == "true" { "backfill" } else { "streaming" };
    created(&evidence, What::Job).iter().map(role).collect()
}

/// The phases that a stream's status went through.
pub fn phases(history: &[Sight]) -> Vec<String> {
    let mut phases: Vec<String> = Vec::new();
    for sight in history.iter().filter(|sight| sight.what == What::Stream) {
        let phase = sight.text("/status/phase");
        if phases.last().map(String::as_str) != Some(phase) {
            phases.push(phase.to_owned());
        }
    }
    phases
}

fn never_two_unfinished_jobs(evidence: &Evidence<'_>) -> Vec<String> {
    let mut unfinished: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut breaches = Vec::new();
    for job in of(evidence, What::Job) {
        let jobs = unfinished.entry(stream_of(job)).or_default();
        if job.gone || is_finished_job(job) {
            jobs.remove(uid(job));
        } else if jobs.insert(uid(job)) && jobs.len() > 1 {
            breaches.push(format!("{} at revision {}: {jobs:?}", stream_of(job), job.revision));
        }
    }
    breaches
}

fn never_unfinished_pods_of_two_jobs(evidence: &Evidence<'_>) -> Vec<String> {
    let mut unfinished: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut breaches = Vec::new();
    for pod in of(evidence, What::Pod) {
        let pods = unfinished.entry(stream_of(pod)).or_default();
        if pod.gone || ["Succeeded", "Failed"].contains(&pod.text("/status/phase")) {
            pods.remove(uid(pod));
        } else if pods.insert(uid(pod), pod.label("batch.kubernetes.io/controller-uid")).is_none() {
            let jobs: BTreeSet<&str> = pods.values().copied().collect();
            if jobs.len() > 1 {
                breaches.push(format!("{} at revision {}: Jobs {jobs:?}", stream_of(pod), pod.revision));
            }
        }
    }
    breaches
}

fn never_two_running_pods(evidence: &Evidence<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (index, run) in evidence.runs.iter().enumerate() {
        let others = evidence.runs.iter().skip(index + 1);
        for other in others.filter(|other| other.stream_id == run.stream_id && other.overlaps(run)) {
            breaches.push(format!("{}: {} and {}", run.stream_id, run.pod, other.pod));
        }
    }
    breaches
}

fn one_initial_request_per_stream(evidence: &Evidence<'_>) -> Vec<String> {
    let is_users = |request: &Sight| evidence.user.requests.iter().any(|users| users == name(request));
    let requests = created(evidence, What::Request);
    let streams = evidence.user.specs.keys().map(|stream| {
        let initial = requests.iter().filter(|request| !is_users(request) && request.text("/spec/streamId") == stream);
        (stream, initial.map(|request| name(request)).collect::<Vec<_>>())
    });
    let due = |stream: &String| usize::from(!evidence.user.created_suspended.contains(stream));
    let wrong = streams.filter(|(stream, initial)| initial.len() != due(stream));
    wrong.map(|(stream, initial)| format!("{stream} has {}: {initial:?}", initial.len())).collect()
}

fn one_job_per_request(evidence: &Evidence<'_>) -> Vec<String> {
    let jobs = created(evidence, What::Job);
    let mut breaches = Vec::new();
    for request in created(evidence, What::Request) {
        let of_request: Vec<&str> = jobs
            .iter()
            .filter(|job| job.annotation("arcane/backfill-request-uid") == uid(request))
            .map(|job| uid(job))
            .collect();
        let completed = of(evidence, What::Job)
            .filter(|job| of_request.contains(&uid(job)) && has_done_its_work(job))
            .map(uid)
            .collect::<BTreeSet<_>>();
        let is_withdrawn = evidence.user.withdrawn.iter().any(|withdrawn| withdrawn == name(request));
        let is_right = if is_withdrawn { completed.is_empty() } else { of_request.len() == 1 && completed.len() == 1 };
        if !is_right {
            let (made, completed) = (of_request.len(), completed.len());
            breaches.push(format!("{}: {made} Jobs were made, {completed} completed", name(request)));
        }
    }
    breaches
}

fn backfill_before_streaming(evidence: &Evidence<'_>) -> Vec<String> {
    let mut backfilled = BTreeSet::new();
    let mut breaches = Vec::new();
    let mut known = BTreeSet::new();
    for job in of(evidence, What::Job) {
        let stream = stream_of(job);
        if job.label("arcane/backfilling") == "true" {
            if has_done_its_work(job) {
                backfilled.insert(stream);
            }
        } else if known.insert(uid(job))
            && !backfilled.contains(stream)
            && !evidence.user.created_suspended.iter().any(|it| it == stream)
        {
            breaches.push(format!("{stream}: Job {} at revision {}", name(job), job.revision));
        }
    }
    breaches
}

/// By `managedFields`. A request's `spec` is ours as a whole where we made it.
fn no_field_of_a_spec_is_owned(evidence: &Evidence<'_>) -> Vec<String> {
    let is_users = |request: &Sight| evidence.user.requests.iter().any(|users| users == name(request));
    let streams = of(evidence, What::Stream).filter(|stream| !stream.owned.is_empty());
    let requests =
        of(evidence, What::Request).filter(|it| is_users(it) && it.owned.iter().any(|field| field != "f:completed"));
    streams.chain(requests).map(|it| format!("{} at revision {}: {:?}", name(it), it.revision, it.owned)).collect()
}

fn a_completed_request_rests(evidence: &Evidence<'_>) -> Vec<String> {
    let mut completed: BTreeMap<&str, &Sight> = BTreeMap::new();
    let mut breaches = Vec::new();
    for request in of(evidence, What::Request) {
        if request.text("/status/phase") == "Completed" {
            completed.entry(uid(request)).or_insert(request);
        } else if completed.contains_key(uid(request)) {
            breaches.push(format!("{} became {:?}", name(request), request.text("/status/phase")));
        }
    }
    for job in created(evidence, What::Job) {
        let request = completed.get(job.annotation("arcane/backfill-request-uid"));
        if let Some(request) = request.filter(|request| request.revision < job.revision) {
            let (request_at, job_at) = (request.revision, job.revision);
            breaches.push(format!("{} was completed at {request_at}, {} made at {job_at}", name(request), name(job)));
        }
    }
    breaches
}

fn no_job_while_suspended(evidence: &Evidence<'_>) -> Vec<String> {
    let is_suspended_at = |stream: &str, revision: u64| {
        let before = of(evidence, What::Stream).filter(|sight| name(sight) == stream && sight.revision < revision);
        before.last().is_some_and(|sight| sight.object["spec"]["suspended"] == true)
    };
    let jobs = created(evidence, What::Job).into_iter().filter(|job| is_suspended_at(stream_of(job), job.revision));
    jobs.map(|job| format!("{} at revision {}", name(job), job.revision)).collect()
}

fn the_spec_is_the_users(evidence: &Evidence<'_>) -> Vec<String> {
    let mut specs: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for stream in of(evidence, What::Stream) {
        let seen = specs.entry(name(stream)).or_default();
        if seen.last() != Some(&&stream.object["spec"]) {
            seen.push(&stream.object["spec"]);
        }
    }
    let mut breaches = Vec::new();
    for (stream, wrote) in &evidence.user.specs {
        let seen = specs.get(stream.as_str()).cloned().unwrap_or_default();
        if seen != wrote.iter().collect::<Vec<_>>() {
            breaches.push(format!("{stream}: its user wrote {wrote:?}, but it was {seen:?}"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    //! A judge that finds nothing must have looked: each rule is broken once.

    use std::time::{Duration, Instant};

    use arcane_tests::PodKind;
    use serde_json::json;

    use super::*;

    struct Case {
        history: Vec<Sight>,
        runs: Vec<PodRun>,
        user: UserDid,
    }

    impl Case {
        fn new() -> Self {
            let specs = [("orders".to_owned(), vec![json!({})])];
            let user = UserDid { specs: specs.into(), requests: vec!["manual".into()], ..UserDid::default() };
            let mut case = Self { history: Vec::new(), runs: Vec::new(), user };
            case.stream(json!({}));
            case.request("initial", "Running");
            case.job("1", "initial", false);
            case.job("1", "initial", true);
            case.request("initial", "Completed");
            case.job("2", "", false);
            case.run(0, 1);
            case.run(1, 2);
            case
        }

        fn see(&mut self, what: What, object: Value) {
            let revision = self.history.len() as u64;
            self.history.push(Sight { revision, what, gone: false, object, owned: Vec::new() });
        }

        fn stream(&mut self, spec: Value) {
            self.see(What::Stream, json!({"metadata": {"name": "orders", "uid": "orders"}, "spec": spec}));
        }

        fn request(&mut self, name: &str, phase: &str) {
            let (metadata, spec) = (json!({"name": name, "uid": name}), json!({"streamId": "orders"}));
            self.see(What::Request, json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}}));
        }

        fn job(&mut self, uid: &str, request: &str, complete: bool) {
            let conditions = if complete { json!([{"type": "Complete", "status": "True"}]) } else { json!([]) };
            let metadata = json!({
                "name": uid, "uid": uid, "labels": {"arcane/stream-id": "orders", "arcane/backfilling": if request.is_empty() { "false" } else { "true" }},
                "annotations": {"arcane/backfill-request-uid": request},
            });
            self.see(What::Job, json!({"metadata": metadata, "status": {"conditions": conditions}}));
        }

        fn pod(&mut self, uid: &str, job: &str) {
            let labels = json!({"arcane/stream-id": "orders", "batch.kubernetes.io/controller-uid": job});
            self.see(What::Pod, json!({"metadata": {"uid": uid, "labels": labels}, "status": {"phase": "Running"}}));
        }

        fn run(&mut self, from: u64, to: u64) {
            let start = Instant::now() + Duration::from_secs(1000);
            self.runs.push(PodRun {
                namespace: String::new(),
                pod: String::new(),
                uid: String::new(),
                job: String::new(),
                stream_id: "orders".into(),
                kind: PodKind::Streaming,
                started: start + Duration::from_secs(60 * from),
                ended: Some(start + Duration::from_secs(60 * to)),
            });
        }

        /// The rules that are broken, by words of theirs.
        fn breaks(mut self, expected: &[&str], how: impl FnOnce(&mut Self)) {
            how(&mut self);
            let evidence = Evidence { history: &self.history, runs: &self.runs, user: &self.user };
            let broken: Vec<&str> =
                RULES.iter().filter(|(_, rule)| !rule(&evidence).is_empty()).map(|(rule, _)| *rule).collect();
            let as_expected =
                broken.len() == expected.len() && broken.iter().zip(expected).all(|(rule, words)| rule.contains(words));
            assert!(as_expected, "{expected:?}: {:?}", breaches(&evidence));
        }
    }

    #[test]
    fn what_breaks_no_rule_is_let_be() {
        Case::new().breaks(&[], |case| {
            case.job("2", "", true);
            case.job("3", "", false);
        });
    }

    #[test]
    fn every_rule_is_seen_to_be_broken() {
        Case::new().breaks(&["two unfinished Jobs"], |case| case.job("3", "", false));
        Case::new().breaks(&["pods of two Jobs"], |case| {
            case.pod("1", "1");
            case.pod("2", "2");
        });
        Case::new().breaks(&["two running pods"], |case| {
            case.run(3, 5);
            case.run(4, 6);
        });
        Case::new().breaks(&["one initial request", "one Job"], |case| case.request("second", "Running"));
        Case::new().breaks(&["one Job"], |case| case.request("manual", "Running"));
        Case::new().breaks(&["one Job"], |case| {
            case.request("manual", "Running");
            case.job("2", "", true);
            case.job("3", "manual", false); // does not complete
        });
        Case::new().breaks(&["stays so"], |case| case.request("initial", "Running"));
        Case::new().breaks(&["one Job", "no Job is made for it"], |case| {
            case.job("2", "", true);
            case.job("3", "initial", true);
        });
        Case::new().breaks(&["suspended"], |case| {
            case.job("2", "", true);
            case.user.specs.insert("orders".into(), vec![json!({}), json!({"suspended": true})]);
            case.stream(json!({"suspended": true}));
            case.job("3", "", false);
        });
        Case::new().breaks(&["user only"], |case| case.stream(json!({"suspended": true})));
        Case::new().breaks(&["two unfinished Jobs", "after its backfill"], |case| {
            case.history.retain(|sight| !has_condition(&sight.object, "Complete"));
            case.job("1", "initial", true);
        });
        Case::new().breaks(&["owns nothing"], |case| {
            case.stream(json!({}));
            case.history.last_mut().unwrap().owned = vec!["f:suspended".to_owned()];
        });
    }
}
