//! What is left when the operator goes: all that is the user's, and nothing else.

use serde_json::json;

use crate::release;
use crate::scenes::installing;
use crate::screen::seen;
use crate::wait;
use crate::works::{self, SOON, identities, running_pod};
use crate::world::{GUIDE, WORKS, World};

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    installing::guide_stream(world).await;
    works::apply(world, "left-alone", json!({})).await;
    seen("streams run", async {
        running_pod(world, GUIDE, "orders-stream").await;
        running_pod(world, WORKS, "left-alone").await;
    })
    .await;
    let before = identities(world).await;
    seen("helm uninstall", release::uninstall(world)).await;
    seen("nothing of ours is left: pods, Secrets, Leases, webhook configurations, rights", nothing_left(world)).await;
    assert_eq!(identities(world).await, before, "after helm uninstall");
    seen("the streams, their kinds, and the CRDs are there, and can be changed", async {
        for crd in ["streamclasses", "streamingjobtemplates", "backfillrequests"] {
            world.kubectl(&format!("get crd {crd}.streaming.sneaksanddata.com")).await;
        }
        works::apply(world, "created-in-between", json!({})).await;
        world
            .kubectl(&format!("label sqlserverchangetrackingstreams orders-stream -n {GUIDE} changed=yes --overwrite"))
            .await;
    })
    .await;
    seen("helm install again", release::install(world, "e2e", &[])).await;
    seen("what was created in between runs", running_pod(world, WORKS, "created-in-between")).await;
    let after = identities(world).await;
    let lost: Vec<_> = before.iter().filter(|identity| !after.contains(identity)).collect();
    assert!(lost.is_empty(), "the new release has touched {lost:?}");
    seen("what ran before still does, in the same pods, and obeys", async {
        works::apply(world, "left-alone", json!({"suspended": true})).await;
        works::phase(world, "left-alone", "Suspended").await;
    })
    .await;
    works::delete_all(world).await;
}

async fn nothing_left(world: &World) {
    wait::until(SOON, "end of all that is ours", || async {
        let mut left = String::new();
        // Everything of the namespace but what Kubernetes puts into each.
        let kinds = "deployments,replicasets,pods,services,endpointslices,secrets,leases,serviceaccounts,roles,rolebindings,\
                     configmaps,poddisruptionbudgets,networkpolicies";
        let all = world.kubectl(&format!("get {kinds} -n {} -o name", release::NAMESPACE)).await;
        for line in all.lines() {
            if !["serviceaccount/default", "configmap/kube-root-ca.crt"].contains(&line) {
                left += &format!("{line} ");
            }
        }
        let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations,clusterroles,clusterrolebindings";
        let all = world.kubectl(&format!("get {kinds} -o name")).await;
        for line in all.lines() {
            if line.contains("arcane") {
                left += &format!("{line} ");
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}
