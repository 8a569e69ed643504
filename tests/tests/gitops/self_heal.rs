//! A BackfillRequest whose manifest says `completed: false`, under an engine that puts back what differs.

use std::collections::BTreeMap;

use arcane_tests::PodKind;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::converges::{all_streams_go_on, take_away};
use crate::engines::{argocd, flux};
use crate::sets::Set;
use crate::world::{World, folders, on_a_cluster};

/// The controller says once that the backfill is completed, the engine puts it back once, and nothing comes of that.
#[test]
fn a_backfill_runs_once_however_often_its_manifest_is_applied() {
    on_a_cluster(async |world| {
        let times = if folders() > 10 { 100 } else { 4 };
        for engine in ["flux", "argo cd"] {
            let mut set = Set::random(if engine == "flux" { 6000 } else { 6001 }, &["sql-server"]);
            for object in set.objects.iter_mut().filter(|object| object["kind"] == "BackfillRequest") {
                object["spec"]["completed"] = json!(false);
            }
            sync(world, engine, &set, 1).await;
            all_streams_go_on(world, &set).await;
            let (mark, before) = (world.audit_log().now(), backfills(world, &set));
            assert!(!before.is_empty());

            let changes = sync(world, engine, &set, times).await;
            let asked = set.of_kind("BackfillRequest").count();
            // Of each request once, of nothing else; and from then on nothing.
            assert_eq!(changes, [vec![asked], vec![0; times - 1]].concat(), "{engine}");
            assert_eq!(backfills(world, &set), before, "{engine}: nothing is backfilled again");
            let by_us: Vec<_> = world
                .audit_log()
                .requests_since(mark, world.fixture.operator_access().name())
                .into_iter()
                .filter(|request| request.namespace == set.namespace && request.resource == "backfillrequests")
                .filter(|request| !["get", "list", "watch"].contains(&&*request.verb))
                .collect();
            assert!(by_us.is_empty(), "{engine}: the controller doesn't answer: {by_us:#?}");
            for request in requests(world, &set).await {
                assert_eq!(request.data["status"]["phase"], "Completed", "{engine}: {request:?}");
            }
            all_streams_go_on(world, &set).await;
            take_away(&world.fixture, &set).await;
        }
    });
}

/// Applies the folder so many times, and gives how many objects each time changed.
async fn sync(world: &World, engine: &str, set: &Set, times: usize) -> Vec<usize> {
    if engine == "flux" {
        let said = flux(&world.flux, &set.yaml(), times, if times == 1 { 120 } else { 0 }).await;
        let count = |reconcile: &crate::engines::Reconcile| {
            assert_eq!((&*reconcile.error, &*reconcile.wait_error), ("", ""), "{said:#?}");
            reconcile.changes.len()
        };
        return said.reconciles.iter().map(count).collect();
    }
    let mut changes = Vec::new();
    for _ in 0..times {
        let before = generations(world, set).await;
        let said = argocd(&world.argocd, &set.yaml(), &set.namespace, true, 1).await;
        assert_eq!(said.syncs[0].tries.last(), Some(&vec![]), "{said:#?}");
        let after = generations(world, set).await;
        changes.push(after.iter().filter(|(name, generation)| before.get(*name) != Some(generation)).count());
    }
    changes
}

async fn requests(world: &World, set: &Set) -> Vec<DynamicObject> {
    let kind =
        arcane_tests::fixture::streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
    let api: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &kind);
    let named =
        |it: &DynamicObject| set.of_kind("BackfillRequest").any(|object| object["metadata"]["name"] == it.name_any());
    api.list(&ListParams::default()).await.map(|all| all.items.into_iter().filter(named).collect()).unwrap_or_default()
}

async fn generations(world: &World, set: &Set) -> BTreeMap<String, Option<i64>> {
    requests(world, set).await.into_iter().map(|it| (it.name_any(), it.metadata.generation)).collect()
}

/// The backfill pods that have run.
fn backfills(world: &World, set: &Set) -> Vec<String> {
    let history = world.fixture.kubelet().history();
    let of_set = history.into_iter().filter(|run| run.namespace == set.namespace && run.kind == PodKind::Backfill);
    of_set.map(|run| run.uid).collect()
}
