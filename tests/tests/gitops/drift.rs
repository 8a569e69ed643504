//! Nothing drifts: whatever happens around the objects, each engine finds them as their manifests say.

use std::collections::BTreeMap;

use arcane_tests::fixture::{OPERATOR_NAMESPACE, SOON, any_object, definition_of, repository_file};
use arcane_tests::webhook::SECRET;
use arcane_tests::{AuditedRequest, OperatorProcess, WebhookAccess, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::converges::all_streams_go_on;
use crate::engines::{argocd, argocd_comparing, file_of, flux};
use crate::sets::{Set, yaml};
use crate::world::{World, folders, on_its_own_cluster};

/// References with and without namespaces, defaults of the schema, conditions that are pruned and older words, a kind of
/// another group; nothing that a client-side apply can't say.
const SHAPES: [&str; 4] = ["sql-server", "synapse-link", "rest-api", "another group's"];

/// A folder, and how often it has been applied.
struct Folders {
    flux: Set,
    argocd: Set,
    argocd_server_side: Set,
    person: Set,
    person_server_side: Set,
}

impl Folders {
    fn all(&self) -> [&Set; 5] {
        [&self.flux, &self.argocd, &self.argocd_server_side, &self.person, &self.person_server_side]
    }
}

#[test]
fn nothing_drifts_whatever_happens() {
    on_its_own_cluster(async {
        let mut world = World::with_a_controller(false).await;
        let mut controller = started(&world).await;
        let folders = Folders {
            flux: Set::random(5000, &SHAPES),
            argocd: Set::random(5001, &SHAPES),
            argocd_server_side: Set::random(5002, &SHAPES),
            person: Set::random(5003, &SHAPES),
            person_server_side: Set::random(5004, &SHAPES),
        };
        let first = flux(&world.flux, &folders.flux.yaml(), 1, 120).await;
        assert_eq!((&*first.reconciles[0].error, &*first.reconciles[0].wait_error), ("", ""), "{first:#?}");
        for (set, server_side) in [(&folders.argocd, false), (&folders.argocd_server_side, true)] {
            let first = argocd(&world.argocd, &set.yaml(), &set.namespace, server_side, 1).await;
            assert_eq!(first.syncs[0].tries.last(), Some(&vec![]), "{first:#?}");
        }
        by_hand(&world, &folders.person, &[]).await;
        by_hand(&world, &folders.person_server_side, &["--server-side"]).await;
        // Statuses change all the while.
        all_is_as_applied(&world, &folders, "while backfills run").await;
        for set in folders.all() {
            all_streams_go_on(&world, set).await;
        }
        let (mark, before) = (world.audit_log().now(), generations(&world, &folders).await);

        the_authority_is_lost(&world).await;
        all_is_as_applied(&world, &folders, "after another certificate authority").await;

        another_group_comes(&world).await;
        all_is_as_applied(&world, &folders, "after another rule of the webhook").await;

        controller.kill().await.unwrap();
        if let Some(process) = world.webhook_process.take() {
            WebhookAccess::end(process).await;
        }
        world.fixture.apply(None, &upgraded_crds()).await;
        controller = started(&world).await;
        world.webhook_process = Some(world.webhook.start().await);
        all_is_as_applied(&world, &folders, "after an upgrade").await;

        assert_eq!(generations(&world, &folders).await, before, "nobody changed a spec");
        let written: Vec<AuditedRequest> =
            world.audit_log().requests_since(mark, "flux").into_iter().filter(is_a_write).collect();
        assert!(written.is_empty(), "Flux had nothing to write: {written:#?}");
        somebody_else_changes_a_stream(&world, &folders).await;
        drop(controller);
    });
}

/// Each way of telling does tell.
async fn somebody_else_changes_a_stream(world: &World, folders: &Folders) {
    for set in folders.all() {
        let has_a_sink =
            |name: &str| set.objects.iter().any(|it| it["metadata"]["name"] == name && it["spec"]["sink"].is_string());
        let stream =
            set.streams().into_iter().find(|stream| has_a_sink(&stream.name)).unwrap_or_else(|| panic!("none"));
        let api: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &stream.kind);
        let patch = Patch::Merge(json!({"spec": {"sink": "elsewhere"}}));
        api.patch(&stream.name, &PatchParams::default(), &patch).await.unwrap();
    }
    let said = flux(&world.flux, &folders.flux.yaml(), 1, 0).await;
    assert_eq!(said.reconciles[0].changes.len(), 1, "{said:#?}");
    for (set, flags) in
        [(&folders.person, vec![]), (&folders.person_server_side, vec!["--server-side", "--force-conflicts"])]
    {
        let file = file_of(&set.yaml());
        let path = file.path().display().to_string();
        let arguments = [&["diff", "-f", &path], &flags[..]].concat();
        let said = world.fixture.cluster().kubectl(&arguments).await.unwrap();
        assert!(said.status.code() == Some(1) && said.stdout.contains("elsewhere"), "{said:?}");
    }
    for (set, server_side) in [(&folders.argocd, false), (&folders.argocd_server_side, true)] {
        let said = argocd_comparing(&world.argocd, &set.yaml(), &set.namespace, server_side).await;
        let told: Vec<usize> = said.syncs[0].out_of_sync.values().map(Vec::len).collect();
        assert_eq!(told, [1, 1, 1], "{said:#?}");
    }
}

fn is_a_write(request: &AuditedRequest) -> bool {
    ["create", "update", "patch", "delete"].contains(&&*request.verb) && !request.uri.contains("dryRun=All")
}

async fn started(world: &World) -> OperatorProcess {
    let process = OperatorProcess::start(world.fixture.operator_options("operator.log")).await;
    process.unwrap_or_else(|error| panic!("{error}"))
}

/// Every engine and every way of telling. A hundred times each where everything is tried.
async fn all_is_as_applied(world: &World, folders_: &Folders, when: &str) {
    let started = std::time::Instant::now();
    let times = if folders() > 10 { 25 } else { 3 };
    let by_flux = async {
        let said = flux(&world.flux, &folders_.flux.yaml(), times, 0).await;
        for reconcile in &said.reconciles {
            assert_eq!((&*reconcile.error, &reconcile.changes, &reconcile.drift), ("", &vec![], &vec![]), "{when}");
        }
    };
    let by_argocd = async {
        for (set, server_side) in [(&folders_.argocd, false), (&folders_.argocd_server_side, true)] {
            let times = if folders() > 10 { 25 } else { 1 };
            let said = argocd(&world.argocd, &set.yaml(), &set.namespace, server_side, times).await;
            for sync in &said.syncs {
                assert_eq!((&sync.tries, sync.drift()), (&vec![vec![]], vec![]), "{when}");
            }
        }
    };
    let by_kubectl = async {
        for (set, flags) in [(&folders_.person, vec![]), (&folders_.person_server_side, vec!["--server-side"])] {
            let file = file_of(&set.yaml());
            let path = file.path().display().to_string();
            let arguments = [&["diff", "-f", &path], &flags[..]].concat();
            let said = world.fixture.cluster().kubectl(&arguments).await.unwrap();
            assert!(said.status.success() && said.stdout.is_empty(), "kubectl {arguments:?} {when}: {said:?}");
        }
    };
    tokio::join!(by_flux, by_argocd, by_kubectl);
    eprintln!("  {when}: {:.1?}", started.elapsed());
}

/// kubectl doesn't know kinds that come with the same call, and refuses streams before their templates: it takes a few calls.
async fn by_hand(world: &World, set: &Set, flags: &[&str]) {
    let file = file_of(&set.yaml());
    let path = file.path().display().to_string();
    let arguments = [&["apply", "-f", &path], flags].concat();
    eventually(SOON, "folder applied by hand", || async {
        let said = world.fixture.cluster().kubectl(&arguments).await.map_err(|error| error.to_string())?;
        if said.status.success() { Ok(()) } else { Err(said.stderr) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// The webhook makes another, and everybody learns of it.
async fn the_authority_is_lost(world: &World) {
    let secrets: Api<Secret> = Api::namespaced(world.fixture.client(), OPERATOR_NAMESPACE);
    let before = secrets.get(SECRET).await.unwrap();
    let bundles = async || {
        let (validating, _) = world.webhook.configurations().await;
        let entries = validating.and_then(|it| it.webhooks).unwrap_or_default();
        entries.into_iter().map(|entry| entry.client_config.ca_bundle.map(|bundle| bundle.0)).collect::<Vec<_>>()
    };
    let bundles_before = bundles().await;
    secrets.delete(SECRET, &Default::default()).await.unwrap();
    eventually(SOON, "other authority", || async {
        let now = secrets.get_opt(SECRET).await.map_err(|error| error.to_string())?.ok_or("no Secret")?;
        if now.uid() == before.uid() { Err("the same Secret") } else { Ok(()) }?;
        if bundles().await == bundles_before { Err("the same bundle".to_owned()) } else { Ok(()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

/// A class of a group that nobody had: the webhook's configurations get one more rule.
async fn another_group_comes(world: &World) {
    let group = "one-more.example.com";
    let class = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": "one-more"},
        "spec": {"apiGroupRef": group, "apiVersion": "v1", "kindRef": "OneMoreStream", "pluralName": "onemorestreams"},
    });
    let definition = definition_of(group, "OneMoreStream", "onemorestreams", any_object());
    world.fixture.apply(None, &format!("{definition}\n---\n{class}")).await;
    world
        .webhook
        .registered(|validating, _| {
            let rules = validating.webhooks.iter().flatten().flat_map(|entry| entry.rules.iter().flatten());
            let mut groups = rules.flat_map(|rule| rule.api_groups.iter().flatten());
            if groups.any(|named| named == group) { Ok(()) } else { Err(format!("no rule for {group}")) }
        })
        .await;
}

/// What a newer chart might bring: another description in our kinds.
fn upgraded_crds() -> String {
    let text = repository_file("charts/arcane-operator/files/crds.yaml");
    let mut crds: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{error}"));
    for crd in crds.iter_mut().filter(|crd| crd.is_object()) {
        for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
            version["schema"]["openAPIV3Schema"]["description"] = json!("As a newer version describes it.");
        }
    }
    yaml(&crds)
}

/// The generation of each stream, template and class of all folders.
async fn generations(world: &World, folders: &Folders) -> BTreeMap<String, Option<i64>> {
    let mut all = BTreeMap::new();
    for set in folders.all() {
        let kinds = set.streams().into_iter().map(|stream| (stream.kind, stream.name));
        for (kind, name) in kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &kind);
            let object = api.get(&name).await.unwrap();
            all.insert(format!("{}/{}/{name}", set.namespace, kind.kind), object.metadata.generation);
        }
    }
    all
}
