//! The request proxy: what it numbers, and that a cut is one.

use std::time::Duration;

use arcane_tests::{Cut, CutInstant, RequestProxy, TestCluster, UserAccess, eventually};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, WatchParams};
use serde_json::json;

use crate::{SOON, a_cluster};

async fn an_operator_user(cluster: &TestCluster) -> UserAccess {
    let everything = PolicyRule {
        api_groups: Some(vec!["*".into()]),
        resources: Some(vec!["*".into()]),
        verbs: vec!["*".into()],
        ..PolicyRule::default()
    };
    let user = cluster.service_account_access("arcane", "operator", vec![everything]).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(user.client(), "default");
    eventually(SOON, "right to list ConfigMaps", || async {
        maps.list(&ListParams::default()).await.map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    user
}

fn a_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test]
async fn writes_are_numbered_and_cut_at_both_instants() {
    let cluster = a_cluster().await;
    let user = an_operator_user(&cluster).await;
    let proxy = RequestProxy::start(&user).await.unwrap();
    let through = UserAccess::from_kubeconfig("operator", proxy.kubeconfig()).await.unwrap().client();
    let maps: Api<ConfigMap> = Api::namespaced(through.clone(), "default");
    let truth: Api<ConfigMap> = Api::namespaced(cluster.admin(), "default");
    let create = PostParams::default();

    // Writes have numbers; reads and Leases have none.
    maps.create(&create, &a_map("one")).await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(through, "default");
    let lease: Lease = serde_json::from_value(json!({"metadata": {"name": "operator"}})).unwrap();
    leases.create(&create, &lease).await.unwrap();
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    maps.delete("one", &DeleteParams::default()).await.unwrap_err();
    let seen: Vec<_> = proxy.writes().into_iter().map(|w| (w.number, w.method.to_string(), w.status)).collect();
    let expected = [(1, "POST", Some(201)), (2, "DELETE", Some(200)), (3, "DELETE", Some(404))];
    assert_eq!(seen, expected.map(|(number, method, status)| (number, method.to_owned(), status)));
    assert_eq!(proxy.requests(), 5);

    // A watch goes through, event by event, and ends at the cut.
    let mut watch = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    watch.try_next().await.unwrap().expect("an event");

    let mut armed = proxy.arm(Cut { nth_write: 4, instant: CutInstant::BeforeSend });
    assert!(armed.has_fired().is_none());
    maps.create(&create, &a_map("never-sent")).await.unwrap_err();
    let write = tokio::time::timeout(SOON, armed.fired()).await.unwrap();
    assert_eq!((write.number, write.status), (4, None));
    assert!(truth.get_opt("never-sent").await.unwrap().is_none());
    tokio::time::timeout(SOON, async { while let Ok(Some(_)) = watch.try_next().await {} }).await.unwrap();

    // Nothing gets through any more, until it is disarmed.
    maps.get_opt("one").await.unwrap_err();
    maps.create(&create, &a_map("refused")).await.unwrap_err();
    assert_eq!(proxy.writes().len(), 4);
    proxy.disarm();
    maps.create(&create, &a_map("again")).await.unwrap();

    let mut armed = proxy.arm(Cut { nth_write: 6, instant: CutInstant::AfterCommit });
    maps.create(&create, &a_map("committed")).await.unwrap_err();
    let write = tokio::time::timeout(SOON, armed.fired()).await.unwrap();
    assert_eq!((write.number, write.status), (6, Some(201)));
    assert!(truth.get_opt("committed").await.unwrap().is_some());
    proxy.disarm();
    maps.delete("committed", &DeleteParams::default()).await.unwrap();
    let late = tokio::time::timeout(Duration::ZERO, armed.fired()).await;
    assert!(late.is_ok(), "what has happened stays so");
    cluster.stop().await;
}
