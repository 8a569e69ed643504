//! What the documentation shows is what is tried.

use arcane_tests::eventually;
use arcane_tests::fixture::{SOON, repository, repository_file, sample_streams, until};
use kube::Api;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::engines::{argocd_customizations, argocd_reads_application, flux, helm};
use crate::sets::{Set, yaml};
use crate::world::{World, on_a_cluster};
use crate::{converges, world};

#[test]
fn the_page_shows_the_examples_as_they_are() {
    let page = repository_file("docs/gitops.md");
    for file in ["flux/kustomization.yaml", "argocd/application.yaml", "helm/templates/streams.yaml"] {
        assert!(
            page.contains(&repository_file(&format!("examples/gitops/{file}"))),
            "docs/gitops.md doesn't show {file}"
        );
    }
}

#[test]
fn argo_cds_config_map_has_the_script() {
    let text = std::fs::read_to_string(argocd_customizations()).unwrap();
    let config_map: Value = serde_saphyr::from_str(&text).unwrap();
    let customizations = config_map["data"]["resource.customizations"].as_str().unwrap();
    let customizations: Value = serde_saphyr::from_str(customizations).unwrap();
    let script = customizations["streaming.sneaksanddata.com/*"]["health.lua"].as_str().unwrap();
    assert_eq!(script.trim(), repository_file("examples/gitops/argocd/health.lua").trim());
}

#[test]
fn argo_cd_reads_the_application() {
    world::on_its_own_cluster(async {
        assert_eq!(argocd_reads_application("examples/gitops/argocd/application.yaml").await, "");
    });
}

#[test]
fn the_folder_of_the_examples_converges() {
    on_a_cluster(async |world| {
        let mut files: Vec<_> = std::fs::read_dir(repository().join("examples/gitops/data-streaming"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let read = texts.flat_map(|text| serde_saphyr::from_multiple::<Value>(&text).unwrap());
        let objects: Vec<Value> = read.filter(Value::is_object).collect();
        let set = Set { seed: 0, namespace: "data-streaming".to_owned(), objects };
        let flux = flux(&world.flux, &yaml(&set.objects), 1, 120).await;
        let first = &flux.reconciles[0];
        assert_eq!((&*first.error, &*first.wait_error), ("", ""), "{flux:#?}");
        converges::all_streams_go_on(world, &set).await;
        for stream in set.streams() {
            let api = Api::namespaced_with(world.fixture.client(), &set.namespace, &stream.kind);
            until(&api, &stream.name, "stream", |it| it["status"]["phase"] == "Running").await;
        }
        converges::nothing_is_left_to_flux(world, &set).await;
        converges::take_away(&world.fixture, &set).await;
    });
}

#[test]
fn the_chart_of_the_examples_brings_the_plugin_of_the_folder() {
    for (ours, folders) in
        [("crds/plugin-kind.yaml", "plugin-kind.yaml"), ("templates/plugin-class.yaml", "plugin-class.yaml")]
    {
        let ours = repository_file(&format!("examples/gitops/helm/{ours}"));
        assert_eq!(ours, repository_file(&format!("examples/gitops/data-streaming/{folders}")));
    }
}

/// As the page says it: installed, with a further table, and with one less. Its plugin is that of the folder, which may be tried
/// at the same time.
#[test]
fn the_chart_of_the_examples_converges_and_follows_its_values() {
    world::on_its_own_cluster(async {
        let world = World::with_a_controller(true).await;
        let chart = repository().join("examples/gitops/helm").display().to_string();
        let namespace = "by-the-example-chart";
        let release = ["data-streaming", &chart, "--namespace", namespace];
        let does = async |words: &[&str]| {
            let (success, said) = helm(&world.person, words).await;
            assert!(success, "helm {words:?}: {said}");
        };
        does(&[&["install"], &release[..], &["--create-namespace"]].concat()).await;
        // Neither a namespace nor Secrets come with it.
        let secret = repository_file("examples/gitops/data-streaming/secret.yaml");
        world.fixture.apply(Some(namespace), &secret.replace("  namespace: data-streaming\n", "")).await;
        let streams: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), namespace, &sample_streams());
        let runs =
            async |name: &str| until(&streams, name, "running stream", |it| it["status"]["phase"] == "Running").await;
        let uid = |stream: &Value| stream["metadata"]["uid"].clone();
        let orders = uid(&runs("orders").await);
        runs("customers").await;

        does(&[&["upgrade"], &release[..], &["--set", "tables.items=Items,tables.customers=null"]].concat()).await;
        runs("items").await;
        assert_eq!(uid(&runs("orders").await), orders);
        eventually(SOON, "end of the stream whose table was taken out", || async {
            let left = streams.get_opt("customers").await.map_err(|error| error.to_string())?;
            if left.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));

        does(&["uninstall", "data-streaming", "--namespace", namespace]).await;
    });
}
