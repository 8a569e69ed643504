//! What the documentation shows is what is tried.

use arcane_tests::fixture::{repository, repository_file, until};
use kube::Api;
use serde_json::Value;

use crate::engines::{argocd_customizations, argocd_reads_application, flux};
use crate::sets::{Set, yaml};
use crate::world::on_a_cluster;
use crate::{converges, world};

#[test]
fn the_page_shows_the_examples_as_they_are() {
    let page = repository_file("docs/gitops.md");
    for file in ["flux/kustomization.yaml", "argocd/application.yaml"] {
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
