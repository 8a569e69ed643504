//! What a missing template means to an engine and to a person.

use arcane_tests::fixture::{condition_of, until};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::json;

use crate::by_helm::write_chart;
use crate::converges::{all_streams_go_on, take_away};
use crate::engines::{argocd, file_of, flux, helm};
use crate::sets::{Set, yaml};
use crate::world::{World, on_a_cluster};

/// Flux asks the API server about every object of a stage before it applies any. So a refusal of the stream keeps its template
/// from coming, and that is why the default is to warn those who apply everything at once.
#[test]
fn flux_would_wait_for_ever_where_missing_references_are_denied() {
    on_a_cluster(async |world| {
        let mut set = Set::random(3000, &["sql-server"]);
        for object in &mut set.objects {
            if object["kind"] == "Namespace" {
                object["metadata"]["labels"] = json!({"arcane/missing-references": "Deny"});
            }
        }
        let denied = flux(&world.flux, &set.yaml(), 3, 0).await;
        for reconcile in &denied.reconciles {
            assert!(reconcile.error.contains("Not found"), "{denied:#?}");
            assert!(reconcile.error.contains("dry-run failed"), "{denied:#?}");
        }
        let templates = templates_of(world, &set);
        assert_eq!(templates.list(&ListParams::default()).await.unwrap().items.len(), 0, "no template ever comes");

        for object in &mut set.objects {
            if object["kind"] == "Namespace" {
                object["metadata"].as_object_mut().unwrap().remove("labels");
            }
        }
        let allowed = flux(&world.flux, &set.yaml(), 1, 120).await;
        assert_eq!((&*allowed.reconciles[0].error, &*allowed.reconciles[0].wait_error), ("", ""), "{allowed:#?}");
        assert!(allowed.warnings.iter().any(|warning| warning.contains("Not found")), "it is told: {allowed:#?}");
        all_streams_go_on(world, &set).await;
        take_away(&world.fixture, &set).await;
    });
}

/// The same folder by hand: refused at once, with the field and the fix.
#[test]
fn a_person_is_refused_at_once() {
    on_a_cluster(async |world| {
        let set = Set::random(3100, &["sql-server"]);
        let is_a_stream = |kind: &str| set.streams().iter().any(|stream| stream.kind.kind == kind);
        let (streams, others): (Vec<_>, Vec<_>) =
            set.objects.iter().cloned().partition(|object| is_a_stream(object["kind"].as_str().unwrap_or_default()));
        // Without its templates, and before: with them.
        let first = ["Namespace", "CustomResourceDefinition", "StreamClass"];
        let first: Vec<_> = others.into_iter().filter(|it| first.iter().any(|kind| it["kind"] == *kind)).collect();
        // kubectl doesn't know kinds that come with the same call.
        while !kubectl_apply(world, &yaml(&first)).await.0 {}
        let (applied, said) = kubectl_apply(world, &yaml(&streams)).await;
        assert!(!applied, "{said}");
        assert!(said.contains("is invalid") && said.contains("jobTemplateRef.name: Not found"), "{said}");
        take_away(&world.fixture, &set).await;
    });
}

/// Who applies a folder.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Flux,
    ArgoCd { server_side: bool },
    Helm,
}

impl Tool {
    /// Applies the folder; again, where it has been applied before. All of it is taken, at once.
    async fn applies(self, world: &World, set: &Set, again: bool) {
        match self {
            Self::Flux => {
                let wait = if again { 0 } else { 120 };
                let said = flux(&world.flux, &set.yaml(), 1, wait).await;
                let first = &said.reconciles[0];
                assert_eq!((&*first.error, &*first.wait_error), ("", ""), "{said:#?}");
                assert_eq!(first.drift, Vec::<String>::new(), "{said:#?}");
            }
            Self::ArgoCd { server_side } => {
                let said = argocd(&world.argocd, &set.yaml(), &set.namespace, server_side, 1).await;
                let [sync] = &said.syncs[..] else { panic!("{said:#?}") };
                assert_eq!(sync.tries.last(), Some(&vec![]), "{said:#?}");
                assert!(!again || sync.tries.len() == 1, "{said:#?}");
                assert_eq!(sync.drift(), Vec::<String>::new(), "{said:#?}");
            }
            Self::Helm => {
                let directory = tempfile::tempdir().unwrap();
                write_chart(directory.path(), set, if again { "second" } else { "first" });
                let chart = directory.path().display().to_string();
                let does = if again { &["upgrade"][..] } else { &["install", "--create-namespace"] };
                let release = ["everything", &chart, "--namespace", &set.namespace];
                let (success, said) = helm(&world.person, &[does, &release[..]].concat()).await;
                assert!(success, "{said}");
            }
        }
    }
}

/// An old problem never blocks an unrelated commit.
fn a_commit_goes_through_when_the_template_is_gone(tool: Tool, seed: u64) {
    on_a_cluster(async |world| {
        let mut set = Set::random(seed, &["sql-server"]);
        tool.applies(world, &set, false).await;
        all_streams_go_on(world, &set).await;

        let templates = templates_of(world, &set);
        for template in set.of_kind("StreamingJobTemplate") {
            let name = template["metadata"]["name"].as_str().unwrap_or_default();
            templates.delete(name, &Default::default()).await.unwrap();
        }
        // Neither are its templates in the repository any more, and even a refusal would be no surprise: it is told to deny.
        set.objects.retain(|object| object["kind"] != "StreamingJobTemplate");
        let deny = ["label", "namespace", &set.namespace, "arcane/missing-references=Deny"];
        let said = world.fixture.cluster().kubectl(&deny).await.unwrap();
        assert!(said.status.success(), "{said:?}");
        let stream = set.streams().into_iter().next().unwrap_or_else(|| panic!("no stream"));
        for object in &mut set.objects {
            if object["kind"] == stream.kind.kind.as_str() {
                object["spec"]["refreshInterval"] = json!("61s");
            }
        }
        tool.applies(world, &set, true).await;
        let api = Api::namespaced_with(world.fixture.client(), &set.namespace, &stream.kind);
        let what = "stream that runs on as it was committed and tells of its template";
        until(&api, &stream.name, what, |it| {
            let told = condition_of(it, "UpToDate")["message"].to_string();
            it["spec"]["refreshInterval"] == "61s"
                && it["status"]["phase"] == "Running"
                && told.contains("jobTemplateRef.name: Not found")
        })
        .await;
        take_away(&world.fixture, &set).await;
    });
}

#[test]
fn a_commit_goes_through_by_flux_when_the_template_is_gone() {
    a_commit_goes_through_when_the_template_is_gone(Tool::Flux, 3200);
}

#[test]
fn a_commit_goes_through_by_argo_cd_when_the_template_is_gone() {
    a_commit_goes_through_when_the_template_is_gone(Tool::ArgoCd { server_side: false }, 3300);
}

#[test]
fn a_commit_goes_through_by_argo_cd_server_side_when_the_template_is_gone() {
    a_commit_goes_through_when_the_template_is_gone(Tool::ArgoCd { server_side: true }, 3400);
}

#[test]
fn a_commit_goes_through_by_helm_when_the_template_is_gone() {
    a_commit_goes_through_when_the_template_is_gone(Tool::Helm, 3500);
}

fn templates_of(world: &World, set: &Set) -> Api<DynamicObject> {
    let kind = arcane_tests::fixture::streams_of(
        "streaming.sneaksanddata.com",
        "v1",
        "StreamingJobTemplate",
        "streamingjobtemplates",
    );
    Api::namespaced_with(world.fixture.client(), &set.namespace, &kind)
}

async fn kubectl_apply(world: &World, text: &str) -> (bool, String) {
    let file = file_of(text);
    let path = file.path().display().to_string();
    let said = world.fixture.cluster().kubectl(&["apply", "-f", &path]).await.unwrap();
    (said.status.success(), format!("{}{}", said.stdout, said.stderr))
}
