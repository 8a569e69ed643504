//! References to templates and classes that aren't there: refused, or let in with a warning.

use arcane_tests::TestNamespace;
use serde_json::{Value, json};

use crate::asked::{Asked, object, with};
use crate::plugins::{TEMPLATE, a_good_stream, installed, of_class, stream};
use crate::world::*;

const NAME: &str = "spec.jobTemplateRef.name";
const PEOPLE: [&str; 9] = [
    "kubectl-client-side-apply",
    "kubectl",
    "kubectl-create",
    "kubectl-edit",
    "kubectl-patch",
    "kubectl-replace",
    "k9s",
    "Helm",
    "my-own-controller",
];
const CLIENTS_THAT_COME_AGAIN: [&str; 4] = ["kustomize-controller", "helm-controller", "argocd-controller", "helm"];

fn nowhere() -> Value {
    with(a_good_stream(), json!({"jobTemplateRef": {"name": "nowhere"}}))
}

fn said_of(field: &str, ns: &TestNamespace<'_>) -> String {
    format!(
        "{field}: Not found: \"nowhere\": there is no StreamingJobTemplate of this name in namespace {}; create it or \
         correct the reference",
        ns.name()
    )
}

#[test]
fn a_person_is_refused() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let said = asked.refuses(&a_good_stream(), &nowhere(), &[NAME]).await;
        assert_eq!(said, [said_of(NAME, ns)]);
        for manager in PEOPLE {
            assert_eq!(asked.by(manager).refuses_new(&nowhere(), &[NAME]).await, said, "{manager}");
        }
    });
}

#[test]
fn who_comes_again_is_warned_in_the_same_words() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        for manager in CLIENTS_THAT_COME_AGAIN {
            let said = asked.by(manager).warns(&a_good_stream(), &nowhere(), &[&said_of(NAME, ns)]).await;
            assert_eq!(said, [said_of(NAME, ns)], "{manager}");
        }
    });
}

#[test]
fn each_reference_of_each_layout_is_looked_up() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let here = || json!({"name": TEMPLATE});
        let gone = || json!({"name": "nowhere"});
        let execution = |layout: &str, of_execution: Value, backend: Value| {
            let mut execution = of_execution;
            execution["layoutVersion"] = json!(layout);
            execution["suspended"] = json!(true);
            execution["streamingBackend"] = backend;
            json!({"execution": execution})
        };
        let backend = "spec.execution.streamingBackend";
        for (spec, field) in [
            (
                json!({"jobTemplateRef": here(), "backfillJobTemplateRef": gone()}),
                "spec.backfillJobTemplateRef".to_owned(),
            ),
            (
                execution("v1", json!({}), json!({"changeCapture": {"jobTemplateRef": gone()}})),
                format!("{backend}.changeCapture.jobTemplateRef"),
            ),
            (
                execution(
                    "v1",
                    json!({"backfillJobTemplateRef": gone()}),
                    json!({"changeCapture": {"jobTemplateRef": here()}}),
                ),
                "spec.execution.backfillJobTemplateRef".to_owned(),
            ),
            (
                execution("v1", json!({}), json!({"batch": {"jobTemplateRef": gone(), "schedule": "@hourly"}})),
                format!("{backend}.batch.jobTemplateRef"),
            ),
            (
                execution(
                    "v2",
                    json!({}),
                    json!({"changeCapture": {
                "jobTemplateRef": here(), "backfillJobTemplateRef": gone()}}),
                ),
                format!("{backend}.changeCapture.backfillJobTemplateRef"),
            ),
        ] {
            let field = format!("{field}.name");
            asked.refuses(&a_good_stream(), &stream("orders", spec), &[&field]).await;
        }
    });
}

#[test]
fn the_class_decides_before_the_namespace_and_the_namespace_before_the_installation() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let helm = asked.by("helm");
        let (strict, lenient) = (of_class(nowhere(), "test-deny"), of_class(nowhere(), "test-warn"));
        let good = a_good_stream();
        let warning = said_of(NAME, ns);
        for word in [None, Some("Deny"), Some("Warn"), Some("Auto"), Some("Nonsense")] {
            let label = format!("arcane/missing-references{}", word.map_or("-".to_owned(), |word| format!("={word}")));
            ns.fixture().kubectl(&["label", "namespace", ns.name(), "--overwrite", &label]).await;
            helm.refuses(&good, &strict, &[NAME]).await;
            asked.warns(&good, &lenient, &[&warning]).await;
            match word {
                Some("Deny") => drop(helm.refuses(&good, &nowhere(), &[NAME]).await),
                Some("Warn") => drop(asked.warns(&good, &nowhere(), &[&warning]).await),
                _ => {
                    asked.refuses(&good, &nowhere(), &[NAME]).await;
                    helm.warns(&good, &nowhere(), &[&warning]).await;
                }
            }
        }
    });
}

#[test]
fn a_label_that_names_no_class_of_the_kind_is_a_missing_reference() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        // One that isn't there, and one of another kind.
        for class in ["no-such-class", "layout-streams"] {
            let labelled = of_class(a_good_stream(), class);
            let said = asked.refuses(&a_good_stream(), &labelled, &["metadata.labels[arcane/stream-class]"]).await;
            let words = format!("Not found: \"{class}\": there is no StreamClass of this name for TestStream.");
            assert!(said[0].contains(&words), "{said:?}");
            asked.by("kustomize-controller").warns(&a_good_stream(), &labelled, &[&words]).await;
        }
        asked.accepts(&a_good_stream(), &of_class(a_good_stream(), "test-warn")).await;
    });
}

#[test]
fn a_kind_that_looks_like_a_stream_and_has_no_class_is_a_missing_reference() {
    on_a_cluster(async |world, ns| {
        let asked = installed(world, ns).await;
        let lone = |spec: Value| object("LoneStream", "orders", spec);
        let plain = || lone(json!({"colour": "blue"}));
        let words = "Not found: \"LoneStream\": no StreamClass registers LoneStream.streaming.sneaksanddata.com";
        for looks in [
            json!({"jobTemplateRef": {"name": TEMPLATE}}),
            json!({"execution": {"layoutVersion": "v2", "streamingBackend": {
                "changeCapture": {"jobTemplateRef": {"name": TEMPLATE}}}}}),
        ] {
            let said = asked.refuses_new(&lone(looks.clone()), &["kind"]).await;
            assert!(said[0].contains(words), "{said:?}");
            asked.by("argocd-controller").warns_of_new(&lone(looks), &[words]).await;
        }
        // Something else of a plugin's: nobody's business.
        asked.accepts(&plain(), &lone(json!({"colour": "red", "suspended": "maybe"}))).await;
    });
}

#[test]
fn a_template_that_was_created_a_moment_ago_is_there() {
    on_a_cluster(async |world, ns| {
        let asked: Asked = installed(world, ns).await;
        ns.kubectl(&["delete", "streamingjobtemplate", TEMPLATE]).await;
        asked.refuses_new(&a_good_stream(), &[NAME]).await;
        ns.apply(&arcane_tests::fixture::repository_file("examples/sample-plugin/templates.yaml")).await;
        asked.warns_of_new(&a_good_stream(), &[]).await;
    });
}
