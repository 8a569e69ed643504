//! Nothing drifts: whatever happens around the objects, each engine finds them as their manifests say.

use std::cell::Cell;
use std::collections::BTreeMap;

use arcane_tests::audit_log::AuditMark;
use arcane_tests::fixture::{OPERATOR_NAMESPACE, SOON, any_object, definition_of, repository_file, streams_of, until};
use arcane_tests::webhook::SECRET;
use arcane_tests::{AuditedRequest, OperatorProcess, eventually};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::by_helm::write_chart;
use crate::converges::all_streams_go_on;
use crate::engines::{argocd, argocd_comparing, file_of, flux, helm};
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
    helm: Set,
    /// The chart that holds Helm's folder.
    chart: tempfile::TempDir,
}

impl Folders {
    /// Those that an engine looks after.
    fn of_engines(&self) -> [&Set; 3] {
        [&self.flux, &self.argocd, &self.argocd_server_side]
    }

    fn all(&self) -> [&Set; 6] {
        [&self.flux, &self.argocd, &self.argocd_server_side, &self.person, &self.person_server_side, &self.helm]
    }

    /// Installs or upgrades the release of Helm's folder.
    async fn by_helm(&self, world: &World, verb: &[&str]) {
        let chart = self.chart.path().display().to_string();
        let arguments = [verb, &["everything", &chart, "--namespace", &self.helm.namespace]].concat();
        let (done, said) = helm(&world.person, &arguments).await;
        assert!(done, "helm {arguments:?}: {said}");
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
            helm: Set::random(5005, &SHAPES),
            chart: tempfile::tempdir().unwrap(),
        };
        write_chart(folders.chart.path(), &folders.helm, "none");
        folders.by_helm(&world, &["install", "--create-namespace"]).await;
        let first = flux(&world.flux, &folders.flux.yaml(), 1, 120).await;
        assert_eq!((&*first.reconciles[0].error, &*first.reconciles[0].wait_error), ("", ""), "{first:#?}");
        for (set, server_side) in [(&folders.argocd, false), (&folders.argocd_server_side, true)] {
            let first = argocd(&world.argocd, &set.yaml(), &set.namespace, server_side, 1).await;
            assert_eq!(first.syncs[0].tries.last(), Some(&vec![]), "{first:#?}");
        }
        by_hand(&world, &folders.person, &[]).await;
        by_hand(&world, &folders.person_server_side, &["--server-side"]).await;
        for set in folders.all() {
            all_streams_go_on(&world, set).await;
        }
        let (mark, before) = (world.audit_log().now(), generations(&world, &folders).await);

        // Without kubectl, which compares statuses, too, and looks twice.
        let statuses = async |_| everything_is_backfilled(&world, &folders).await;
        meanwhile(the_engines_find_nothing(&world, &folders, "while statuses change"), statuses).await;
        every_status_was_written(&world, &folders, mark);

        world.end_webhook().await;
        let mut short_lived = world.webhook.options(world.webhook.port, "webhook.log");
        short_lived.arguments.extend(["--ca-lifetime=24s".to_owned(), "--leaf-lifetime=24s".to_owned()]);
        let process = world.webhook.start_with(short_lived).await;
        // The authority that is there lives for as long as was said when it was made.
        the_authority_is_lost(&world).await;
        let rotations = async |_| another_authority_signs(&world).await;
        meanwhile(all_is_as_applied(&world, &folders, "while certificates rotate"), rotations).await;
        world.webhook_process = Some(process);
        world.end_webhook().await;
        world.webhook_process = Some(world.webhook.start().await);

        let rules = async |round| another_group_comes_and_goes(&world, round).await;
        meanwhile(all_is_as_applied(&world, &folders, "while the webhook's rules change"), rules).await;

        controller.kill().await.unwrap();
        world.end_webhook().await;
        world.fixture.apply(None, &upgraded_crds()).await;
        controller = started(&world).await;
        world.webhook_process = Some(world.webhook.start().await);
        all_is_as_applied(&world, &folders, "after an upgrade").await;

        assert_eq!(generations(&world, &folders).await, before, "nobody changed a spec");
        let written: Vec<AuditedRequest> =
            world.audit_log().requests_since(mark, "flux").into_iter().filter(is_a_write).collect();
        assert!(written.is_empty(), "Flux had nothing to write: {written:#?}");
        let mut written = world.audit_log().requests_since(mark, "person");
        // A release of Helm's is a Secret.
        written.retain(|request| is_a_write(request) && request.resource != "secrets");
        assert!(written.is_empty(), "Helm had nothing to write: {written:#?}");
        somebody_else_changes_a_stream(&world, &folders).await;
        drop(controller);
    });
}

/// Lets things change, one after another, for as long as it is looked at; `change` is told how many there were before.
async fn meanwhile(looks: impl Future<Output = ()>, change: impl AsyncFn(usize)) {
    let (done, changes) = (Cell::new(false), Cell::new(0));
    let looking = async {
        looks.await;
        done.set(true);
    };
    let changing = async {
        while !done.get() {
            change(changes.get()).await;
            changes.set(changes.get() + 1);
        }
    };
    tokio::join!(looking, changing);
    eprintln!("  {} changes meanwhile", changes.get());
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

/// Every engine and every way of telling.
async fn all_is_as_applied(world: &World, folders: &Folders, when: &str) {
    tokio::join!(the_engines_find_nothing(world, folders, when), kubectl_finds_nothing(world, folders, when));
}

/// Flux, Argo CD and Helm. A hundred times each in all, where everything is tried.
async fn the_engines_find_nothing(world: &World, folders_: &Folders, when: &str) {
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
    let by_helm = async {
        for _ in 0..times {
            folders_.by_helm(world, &["upgrade"]).await;
        }
    };
    tokio::join!(by_flux, by_argocd, by_helm);
    eprintln!("  {when}: {:.1?}", started.elapsed());
}

/// `kubectl diff`, client-side and server-side.
async fn kubectl_finds_nothing(world: &World, folders: &Folders, when: &str) {
    for (set, flags) in [(&folders.person, vec![]), (&folders.person_server_side, vec!["--server-side"])] {
        let file = file_of(&set.yaml());
        let path = file.path().display().to_string();
        let arguments = [&["diff", "-f", &path], &flags[..]].concat();
        let said = world.fixture.cluster().kubectl(&arguments).await.unwrap();
        assert!(said.status.success() && said.stdout.is_empty(), "kubectl {arguments:?} {when}: {said:?}");
    }
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

/// The webhook's authority makes way for the next one: both are in the bundle for a while, then the other signs.
async fn another_authority_signs(world: &World) {
    let secrets: Api<Secret> = Api::namespaced(world.fixture.client(), OPERATOR_NAMESPACE);
    let signer = async || {
        let data = secrets.get_opt(SECRET).await.ok()??.data?;
        Some(data.get("current.crt")?.0.clone())
    };
    let before = signer().await;
    eventually(SOON, "other authority", || async {
        let now = signer().await;
        if now.is_some() && now != before { Ok(()) } else { Err("the same one".to_owned()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}; the end of the webhook's log:\n{}", world.webhook.log_tail()));
}

/// A class of a group that nobody had, for a while: the webhook's configurations get one more rule, and lose it.
async fn another_group_comes_and_goes(world: &World, round: usize) {
    let (group, name) = (format!("more-{round}.example.com"), format!("one-more-{round}"));
    let class = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass", "metadata": {"name": name},
        "spec": {"apiGroupRef": group, "apiVersion": "v1", "kindRef": "OneMoreStream", "pluralName": "onemorestreams"},
    });
    let definition = definition_of(&group, "OneMoreStream", "onemorestreams", any_object());
    let registered = async |wanted: bool| {
        let holds = |validating: &ValidatingWebhookConfiguration| {
            let rules = validating.webhooks.iter().flatten().flat_map(|entry| entry.rules.iter().flatten());
            let mut groups = rules.flat_map(|rule| rule.api_groups.iter().flatten());
            groups.any(|named| *named == group) == wanted
        };
        let said =
            |holds: bool| if holds { Ok(()) } else { Err(format!("a rule for {group} should be there: {wanted}")) };
        world.webhook.registered(|validating, _| said(holds(validating))).await;
    };
    world.fixture.apply(None, &format!("{definition}\n---\n{class}")).await;
    registered(true).await;
    world.fixture.kubectl(&["delete", "streamclass", &name]).await;
    registered(false).await;
    world.fixture.kubectl(&["delete", "crd", &format!("onemorestreams.{group}")]).await;
}

/// Each stream that isn't suspended is backfilled once, by requests that are in no folder.
async fn everything_is_backfilled(world: &World, folders: &Folders) {
    let mut asked = Vec::new();
    for set in folders.of_engines() {
        let kind = streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
        let api: Api<DynamicObject> = Api::namespaced_with(world.fixture.client(), &set.namespace, &kind);
        // The folder asks for a backfill of each of them.
        for object in set.of_kind("BackfillRequest") {
            let request = DynamicObject {
                types: None,
                metadata: ObjectMeta { generate_name: Some("again-".to_owned()), ..ObjectMeta::default() },
                data: json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"]}),
            };
            let created = eventually(SOON, "request that is let in", || async {
                api.create(&PostParams::default(), &request).await.map_err(|error| error.to_string())
            });
            let created = created.await.unwrap_or_else(|timeout| panic!("{timeout}"));
            asked.push((api.clone(), created.name_any()));
        }
    }
    for (api, name) in asked {
        until(&api, &name, "Completed request", |it| it["status"]["phase"] == "Completed").await;
    }
}

/// So that what is compared did change.
fn every_status_was_written(world: &World, folders: &Folders, since: AuditMark) {
    let written = world.audit_log().requests_since(since, world.fixture.operator_access().name());
    for set in folders.of_engines() {
        for stream in set.streams().into_iter().filter(|stream| !stream.suspended) {
            let of_it = |it: &&AuditedRequest| (&it.namespace, &it.name) == (&set.namespace, &stream.name);
            let writes = written.iter().filter(of_it).filter(|it| it.subresource == "status" && it.verb == "patch");
            assert!(writes.count() > 1, "the status of {stream:?} was to change");
        }
    }
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

/// The generation of each stream, template, class and request of all folders.
async fn generations(world: &World, folders: &Folders) -> BTreeMap<String, Option<i64>> {
    let ours = [
        ("StreamClass", "streamclasses"),
        ("StreamingJobTemplate", "streamingjobtemplates"),
        ("BackfillRequest", "backfillrequests"),
    ];
    let mut all = BTreeMap::new();
    for set in folders.all() {
        let kinds = ours.map(|(kind, plural)| streams_of("streaming.sneaksanddata.com", "v1", kind, plural));
        for kind in set.streams().into_iter().map(|stream| stream.kind).chain(kinds) {
            for object in set.of_kind(&kind.kind) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let client = world.fixture.client();
                let api: Api<DynamicObject> = match kind.kind.as_str() {
                    "StreamClass" => Api::all_with(client, &kind),
                    _ => Api::namespaced_with(client, &set.namespace, &kind),
                };
                let object = api.get(name).await.unwrap();
                all.insert(format!("{}/{}/{name}", set.namespace, kind.kind), object.metadata.generation);
            }
        }
    }
    all
}
