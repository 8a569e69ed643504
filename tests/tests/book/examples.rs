//! The manifests that the chapters show are valid, by the rules of the webhook.

use std::path::Path;

use arcane_common::{api::well_known, stream::Phase};
use arcane_controller::stream::{
    plan::{LAST_RUN, UP_TO_DATE},
    status_schema::StatusSchema,
};
use arcane_tests::fixture::{repository, repository_file};
use clap::Parser as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubectl_arcane::{
    args::{Args, Command},
    ending::Verdict,
    validate,
};
use serde_json::Value;

use crate::{CHAPTERS, markdown::Page};

/// What `kubectl arcane validate --offline --fail-on-warnings` says of files; nothing, if it takes them.
async fn said_of(files: &[&Path]) -> Option<String> {
    let mut words = vec!["kubectl-arcane".to_owned(), "validate".to_owned()];
    words.extend(["--offline", "--fail-on-warnings"].map(ToOwned::to_owned));
    words.extend(files.iter().flat_map(|file| ["-f".to_owned(), file.display().to_string()]));
    let args = Args::try_parse_from(words).unwrap();
    let Command::Validate(validate) = &args.command else { unreachable!() };
    let answer = validate::run(&args.cluster, validate).await.unwrap();
    (answer.verdict != Verdict::Good).then_some(answer.text)
}

/// The YAML that a page shows: manifests, and values of the chart.
fn shown(page: &str) -> (Vec<Value>, Vec<Value>) {
    let blocks = Page::read(&repository_file(page)).blocks.into_iter().filter(|block| block.language == "yaml");
    let documents = blocks.flat_map(|block| {
        serde_saphyr::from_multiple::<Value>(&block.text)
            .unwrap_or_else(|error| panic!("{page}:{}: {error}", block.line))
    });
    documents.partition(|document| document.get("apiVersion").is_some())
}

#[tokio::test]
async fn the_manifests_of_each_chapter_are_valid_together() {
    let mut shown_at_all = 0;
    for page in CHAPTERS {
        let (manifests, _) = shown(page);
        if manifests.is_empty() {
            continue;
        }
        shown_at_all += manifests.len();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("set.yaml");
        let text: Vec<String> = manifests.iter().map(|manifest| serde_json::to_string(manifest).unwrap()).collect();
        std::fs::write(&file, text.join("\n---\n")).unwrap();
        // What a chapter builds on: a class and templates that are installed by then.
        let sample = repository().join("examples/sample-plugin");
        let first = repository().join("examples/first-stream/template.yaml");
        let files: &[&Path] = if page == "docs/plugins.md" { &[&file] } else { &[&file, &sample, &first] };
        assert_eq!(said_of(files).await, None, "{page}");
    }
    assert!(shown_at_all > 5);
}

#[tokio::test]
async fn the_first_stream_is_valid_with_the_sample_plugin() {
    let directories = ["examples/sample-plugin", "examples/first-stream"].map(|it| repository().join(it));
    let paths: Vec<&Path> = directories.iter().map(|path| path.as_path()).collect();
    assert_eq!(said_of(&paths).await, None);
    // And this test would say what isn't.
    assert!(said_of(&paths[1..]).await.is_some());
}

#[test]
fn the_values_that_a_chapter_shows_are_the_charts() {
    let chart: Value = serde_saphyr::from_str(&repository_file("charts/arcane-operator/values.yaml")).unwrap();
    for page in CHAPTERS {
        for values in shown(page).1 {
            assert!(
                are_values(&chart, &values),
                "{page} shows what is neither a manifest nor values of the chart: {values}"
            );
        }
    }
}

/// Whether a tree of values has only fields of the chart's.
fn are_values(chart: &Value, values: &Value) -> bool {
    let (Some(known), Some(fields)) = (chart.as_object(), values.as_object()) else { return true };
    known.is_empty() || fields.iter().all(|(name, below)| known.get(name).is_some_and(|known| are_values(known, below)))
}

#[test]
fn the_five_minutes_show_the_first_stream_as_it_is() {
    let page = repository_file("docs/five-minutes.md");
    assert!(
        page.contains(&repository_file("examples/first-stream/stream.yaml")),
        "another stream than that of examples/first-stream"
    );
}

#[test]
fn the_status_that_a_plugin_is_told_to_declare_holds_all_that_is_written() {
    let (manifests, _) = shown("docs/plugins.md");
    let definition = manifests.iter().find(|it| it["kind"] == "CustomResourceDefinition").unwrap();
    let definition: CustomResourceDefinition = serde_json::from_value(definition.clone()).unwrap();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let schema = StatusSchema::of(&serde_json::to_value(schema).unwrap());
    for field in ["phase", "conditions", "configurationHash", "observedGeneration", "jobName"] {
        assert!(schema.holds(field), "no room for status.{field}");
    }
    for field in ["type", "status", "reason", "message", "lastTransitionTime"] {
        assert!(schema.condition_holds(field), "no room for {field} of a condition");
    }
    for phase in Phase::ALL {
        assert_eq!(schema.word(phase), Some(phase.as_str()));
    }
    let ours = [well_known::CONDITION_READY, well_known::CONDITION_RECONCILING, well_known::CONDITION_STALLED];
    for condition in ours.into_iter().chain([UP_TO_DATE, LAST_RUN]) {
        assert_eq!(schema.type_of(condition), Some((condition, false)));
    }
}
