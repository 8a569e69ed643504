//! From the older operator's charts to ours, by real helm: definitions that belong to another release, and a Deployment of the
//! same name.

use serde_json::Value;

use crate::place::Place;
use crate::world::*;

/// A chart with these templates, in the place's directory.
fn a_chart(place: &Place, name: &str, templates: &[(&str, String)]) -> String {
    let directory = place.cluster.directory().join(name);
    std::fs::create_dir_all(directory.join("templates")).unwrap();
    let chart = format!("apiVersion: v2\nname: {name}\nversion: 0.0.14\n");
    std::fs::write(directory.join("Chart.yaml"), chart).unwrap();
    for (file, text) in templates {
        std::fs::write(directory.join("templates").join(file), text).unwrap();
    }
    directory.display().to_string()
}

/// With a strategy that isn't ours, which has defaults of its own.
const OLDER_DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: arcane-operator
  labels: {app.kubernetes.io/name: arcane-operator, app.kubernetes.io/instance: arcane}
spec:
  replicas: 1
  selector:
    matchLabels: {app.kubernetes.io/name: arcane-operator, app.kubernetes.io/instance: arcane}
  template:
    metadata:
      labels: {app.kubernetes.io/name: arcane-operator, app.kubernetes.io/instance: arcane}
    spec:
      serviceAccountName: arcane-operator
      containers: [{name: arcane-operator, image: 'example.com/older:1'}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: arcane-operator}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: of-the-older-chart}
";

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_deployment_of_the_older_charts_are_taken_over() {
    let place = Place::start().await;
    let crds = arcane_tests::fixture::repository_file("tests/tests/plugins/older-crds.yaml");
    let older_crds = a_chart(&place, "arcane-crd", &[("crds.yaml", crds)]);
    let older = a_chart(&place, "older-operator", &[("all.yaml", OLDER_DEPLOYMENT.to_owned())]);
    place.helm_does(&["install", "arcane-crd", &older_crds, "--namespace", "arcane", "--create-namespace"]);
    place.helm_does(&["install", "arcane", &older, "--namespace", "arcane"]);
    let class = "{apiVersion: streaming.sneaksanddata.com/v1, kind: StreamClass, metadata: {name: kept}, \
                 spec: {apiVersion: v1, kindRef: Kept, pluralName: kepts}}";
    place.apply("class", class).await;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let before = uid(&place.get(&["streamclass", "kept"]).await.unwrap());

    // Without being told to, helm takes nothing from another release.
    let chart = chart();
    let upgrade = ["upgrade", "--install", "arcane", &chart, "--namespace", "arcane"];
    let (success, said) = place.helm(&upgrade);
    assert!(!success && said.contains("invalid ownership metadata"), "{said}");
    place.helm_does(&[&upgrade[..], &["--take-ownership"]].concat());
    let crd = ["customresourcedefinition", "streamclasses.streaming.sneaksanddata.com"];
    let taken = place.get(&crd).await.unwrap();
    assert_eq!(taken["metadata"]["annotations"]["meta.helm.sh/release-name"], "arcane");
    let deployment = place.get(&["deployment", "arcane-operator", "-n", "arcane"]).await.unwrap();
    assert_eq!(deployment["spec"]["strategy"], serde_json::json!({"type": "Recreate"}));
    assert!(place.get(&["configmap", "of-the-older-chart", "-n", "arcane"]).await.is_none());
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);

    // The older release is forgotten, not uninstalled: that would delete what it no longer has.
    place.kubectl(&["delete", "secret", "-n", "arcane", "-l", "owner=helm,name=arcane-crd"]).await;
    let (_, listed) = place.helm(&["list", "--namespace", "arcane", "--short"]);
    assert_eq!(listed.trim(), "arcane");
    place.helm_does(&[&upgrade[..], &["--set", "replicaCount=2"]].concat());
    place.helm_does(&["uninstall", "arcane", "--namespace", "arcane"]);
    assert!(place.get(&crd).await.is_some());
    assert_eq!(uid(&place.get(&["streamclass", "kept"]).await.unwrap()), before);
}
