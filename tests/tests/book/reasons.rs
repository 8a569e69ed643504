//! `arcane_controller::reasons` names every word that the controller says, and no other.

use std::collections::{BTreeMap, BTreeSet};

use arcane_common::{api::crds, stream::Phase};
use arcane_controller::reasons::{self, Of, Told};
use arcane_tests::fixture::repository_file;
use serde_json::Value;

use crate::{files, sources};

/// Texts of one CamelCase word that are no reason of ours: what Kubernetes calls something, kinds, types of conditions.
const OTHER_WORDS: [&str; 31] = [
    "AlreadyExists",
    "BackfillRequest",
    "BackfillRequests",
    "ClusterRole",
    "Complete",
    "ContainerCreating",
    "CrashLoopBackOff",
    "CronJob",
    "CronJobs",
    "CustomResourceDefinitions",
    "Error",
    "Established",
    "Failed",
    "False",
    "Forbid",
    "Job",
    "Jobs",
    "LastRunSucceeded",
    "Pending",
    "PodInitializing",
    "PodScheduled",
    "Reconcile",
    "Stream",
    "StreamClass",
    "StreamClasses",
    "StreamingJobTemplate",
    "StreamingJobTemplates",
    "Succeeded",
    "True",
    "UpToDate",
    "ValidatingWebhookConfiguration",
];

fn is_one_word(text: &str) -> bool {
    text.chars().next().is_some_and(|letter| letter.is_ascii_uppercase())
        && text.chars().any(|letter| letter.is_ascii_lowercase())
        && text.chars().all(|letter| letter.is_ascii_alphabetic())
}

/// The words in the sources of whoever says a reason, and the files.
fn words() -> BTreeMap<String, BTreeSet<String>> {
    let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let said_by = files("controller/src", ".rs").into_iter().chain(["common/src/references/resolve.rs".to_owned()]);
    for file in said_by.filter(|file| !file.ends_with("tests.rs") && file != "controller/src/reasons.rs") {
        for text in sources::literals(&repository_file(&file)).into_iter().filter(|text| is_one_word(text)) {
            words.entry(text).or_default().insert(file.clone());
        }
    }
    // The phase of a stream is the reason where all is well, and the definition of a kind gives one before we do.
    for phase in [Phase::Running, Phase::Backfilling] {
        words.entry(phase.as_str().to_owned()).or_default().insert("controller/src/stream/plan/run.rs".to_owned());
    }
    for crd in crds() {
        for default in defaults_of_statuses(&serde_json::to_value(&crd).unwrap()) {
            words.entry(default).or_default().insert(format!("the definition of {}", crd.spec.names.kind));
        }
    }
    words
}

fn defaults_of_statuses(crd: &Value) -> Vec<String> {
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    let statuses = versions.map(|version| &version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]);
    let conditions = statuses.flat_map(|status| status["conditions"].as_array().into_iter().flatten());
    conditions.filter_map(|condition| condition["reason"].as_str().map(ToOwned::to_owned)).collect()
}

#[test]
fn every_reason_that_is_said_is_explained_and_no_other() {
    let said: BTreeSet<String> = words().into_keys().filter(|word| !OTHER_WORDS.contains(&word.as_str())).collect();
    let explained: BTreeSet<String> = reasons::ALL.iter().map(|reason| reason.word.to_owned()).collect();
    let missing: Vec<_> = said.difference(&explained).collect();
    assert!(
        missing.is_empty(),
        "said, and not in controller/src/reasons.rs (or, no reason: in OTHER_WORDS): {missing:?}"
    );
    let stale: Vec<_> = explained.difference(&said).collect();
    assert!(stale.is_empty(), "in controller/src/reasons.rs, and nobody says it: {stale:?}");
}

/// Whose reasons a file says.
fn of(file: &str) -> &'static [Of] {
    match file.trim_start_matches("controller/src/") {
        // They read what Kubernetes says.
        "writes.rs" | "facts/job.rs" | "facts/pod.rs" => &[],
        "stream_class.rs" | "the definition of StreamClass" => &[Of::StreamClass],
        "template.rs" | "the definition of StreamingJobTemplate" => &[Of::StreamingJobTemplate],
        "rolling_update/plan.rs" => &[Of::StreamClass, Of::Stream],
        "backfill_request.rs" | "stream/plan/outcomes.rs" | "the definition of BackfillRequest" => {
            &[Of::BackfillRequest]
        }
        _ => &[Of::Stream, Of::BackfillRequest],
    }
}

#[test]
fn each_reason_is_said_of_what_it_is_explained_for() {
    let words = words();
    for reason in reasons::ALL {
        let files = &words[reason.word];
        let is_said = files.iter().any(|file| of(file).contains(&reason.of));
        assert!(is_said, "{} is not said of {:?}, but in {files:?}", reason.word, reason.of);
    }
    // And the other way round: a file says nothing of what it alone says something of, that isn't explained for that.
    for (word, files) in words.iter().filter(|(word, _)| !OTHER_WORDS.contains(&word.as_str())) {
        for (file, of) in files.iter().map(|file| (file, of(file))).filter(|(_, of)| !of.is_empty()) {
            let is_explained = reasons::ALL.iter().any(|reason| reason.word == word && of.contains(&reason.of));
            assert!(is_explained, "{file} says {word}: not explained for any of {of:?}");
        }
    }
}

#[test]
fn whoever_has_to_do_something_finds_the_word_among_the_troubles() {
    let page = repository_file("docs/troubleshooting.md");
    let troubles = reasons::ALL.iter().filter(|reason| !matches!(reason.told, Told::Ready | Told::Valid | Told::Event));
    for reason in troubles {
        assert!(
            page.contains(&format!("`{}`", reason.word)),
            "docs/troubleshooting.md says nothing of {}",
            reason.word
        );
    }
}

#[test]
fn each_is_explained_once() {
    let mut seen = BTreeSet::new();
    for reason in reasons::ALL {
        assert!(seen.insert((reason.of, reason.told, reason.word)), "{reason:?} is there twice");
        assert!(!reason.means.is_empty() && !reason.remedy.is_empty(), "{reason:?}");
    }
}
