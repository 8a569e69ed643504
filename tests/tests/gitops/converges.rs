//! Every folder converges at the first sync, whatever the names.

use arcane_tests::fixture::{SOON, condition_of, streams_of, until};
use arcane_tests::{Fixture, eventually};
use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::engines::{argocd, file_of, flux};
use crate::sets::{SHAPES, Set};
use crate::world::{World, folders, on_a_cluster};

/// How many at once: each brings fifteen kinds that the cluster has never seen.
const AT_ONCE: usize = 2;

/// Tries each folder. Where few are tried, so that it doesn't take long, the first has all shapes and the others have three
/// each, in turns.
pub async fn each_set(first_seed: u64, test: impl AsyncFn(&Set)) {
    let tests = (0..folders()).map(|number| {
        let shapes: Vec<&str> = match usize::try_from(number) {
            Ok(number) if number > 0 && folders() <= 10 => {
                SHAPES.into_iter().cycle().skip(3 * number).take(3).collect()
            }
            _ => SHAPES.to_vec(),
        };
        let test = &test;
        async move { test(&Set::random(first_seed + number, &shapes)).await }
    });
    futures::stream::iter(tests).buffer_unordered(AT_ONCE).collect::<()>().await;
}

#[test]
fn flux_applies_everything_at_once() {
    on_a_cluster(async |world| {
        each_set(1000, async |set| {
            let started = std::time::Instant::now();
            let said = flux(&world.flux, &set.yaml(), 1, 120).await;
            let (first, seed) = (&said.reconciles[0], set.seed);
            assert_eq!(first.error, "", "seed {seed}");
            assert_eq!(first.changes.len(), set.objects.len(), "seed {seed}: {:#?}", first.changes);
            assert_eq!(first.wait_error, "", "seed {seed}: {:#?}", said.health);
            let ill: Vec<_> = said.health.iter().filter(|(_, verdict)| verdict.status != "Current").collect();
            assert!(ill.is_empty(), "seed {seed}: {ill:#?}");
            eprintln!("  flux, seed {seed}: {:.1?}", started.elapsed());
            all_streams_go_on(world, set).await;
            eprintln!("  flux, seed {seed}: all run after {:.1?}", started.elapsed());
            nothing_is_left_to_flux(world, set).await;
            take_away(&world.fixture, set).await;
        })
        .await;
    });
}

#[test]
fn argo_cd_applies_everything_at_once() {
    on_a_cluster(async |world| {
        each_set(2000, async |set| {
            let started = std::time::Instant::now();
            let (seed, server_side) = (set.seed, set.seed.is_multiple_of(2));
            let argocd = argocd(&world.argocd, &set.yaml(), &set.namespace, server_side, 1).await;
            let [first] = &argocd.syncs[..] else { panic!("{argocd:#?}") };
            assert_eq!(first.tries.last(), Some(&vec![]), "seed {seed}: {:#?}", first.tries);
            assert_eq!(first.drift(), Vec::<String>::new(), "seed {seed}");
            assert!(first.tries.len() <= 2, "one retry");
            eprintln!("  argo cd, seed {seed}: {} tries, {:.1?}", first.tries.len(), started.elapsed());
            all_streams_go_on(world, set).await;
            take_away(&world.fixture, set).await;
        })
        .await;
    });
}

/// With sync waves Argo CD waits for the health of each; one wave has a suspended stream.
#[test]
fn argo_cd_gets_to_the_end_of_its_waves() {
    on_a_cluster(async |world| {
        let mut set = Set::random(2500, &["pull"]);
        assert!(set.streams().iter().any(|stream| stream.suspended));
        in_waves(&mut set);
        set.objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "last", "namespace": set.namespace, "annotations": {"argocd.argoproj.io/sync-wave": "9"},
            },
        }));
        let argocd = argocd(&world.argocd, &set.yaml(), &set.namespace, false, 1).await;
        assert_eq!(argocd.syncs[0].tries, [Vec::<String>::new()], "{argocd:#?}");
        assert_eq!(argocd.syncs[0].drift(), Vec::<String>::new());
        let ill = |status: &str| !["Healthy", ""].contains(&status);
        assert!(!argocd.health.values().any(|verdict| ill(&verdict.status)), "{argocd:#?}");
        take_away(&world.fixture, &set).await;
    });
}

fn in_waves(set: &mut Set) {
    let waves = ["Namespace", "CustomResourceDefinition", "StreamClass", "StreamingJobTemplate", ""];
    for object in &mut set.objects {
        let wave = waves.iter().position(|kind| object["kind"] == *kind).unwrap_or(waves.len() - 1);
        object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = json!(wave.to_string());
    }
}

/// A sync with waves ends at what is Degraded: a class whose rolling update has stopped must not be, for the template that
/// mends it comes after.
#[test]
fn argo_cd_mends_a_rolling_update_that_has_stopped() {
    on_a_cluster(async |world| {
        let mut set = Set::random(2600, &["the guide's"]);
        set.objects.retain(|object| object["kind"] != "BackfillRequest");
        let kind = set.streams().into_iter().next().unwrap_or_else(|| panic!("no stream")).kind;
        let mut second = set.of_kind(&kind.kind).next().unwrap_or_else(|| panic!("no stream")).clone();
        second["metadata"]["name"] = json!("second");
        set.objects.push(second);
        in_waves(&mut set);
        let mut class = String::new();
        for object in set.objects.iter_mut().filter(|object| object["kind"] == "StreamClass") {
            object["spec"]["initialBackfill"] = json!("Never");
            object["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
            class = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        let classes = streams_of("streaming.sneaksanddata.com", "v1", "StreamClass", "streamclasses");
        let classes: Api<DynamicObject> = Api::all_with(world.fixture.client(), &classes);
        // Pods as they were, pods that fail, pods that don't.
        for (round, behaviour) in ["run", "exit 3", "terminate-after 0s"].into_iter().enumerate() {
            for object in set.objects.iter_mut().filter(|object| object["kind"] == "StreamingJobTemplate") {
                object["spec"]["backoffLimit"] = json!(0);
                object["spec"]["template"]["metadata"]["annotations"] =
                    json!({"simulated-kubelet/behaviour": behaviour});
            }
            let argocd = argocd(&world.argocd, &set.yaml(), &set.namespace, false, 1).await;
            let up_to_date = |it: &Value| condition_of(it, "UpToDate")["reason"].as_str().map(ToOwned::to_owned);
            if round == 1 {
                let what = "class whose rolling update has stopped";
                until(&classes, &class, what, |it| up_to_date(it).as_deref() == Some("RollingUpdateStopped")).await;
                continue;
            }
            // One retry: the stream that failed may be looked at before it has its new Job.
            assert_eq!(argocd.syncs[0].tries.last(), Some(&vec![]), "round {round}: {argocd:#?}");
            all_streams_go_on(world, &set).await;
            until(&classes, &class, "class that is up to date", |it| up_to_date(it).is_none()).await;
        }
        take_away(&world.fixture, &set).await;
    });
}

/// Flux looks twice at an object to tell whether it differs: so only when backfills have ended.
pub async fn nothing_is_left_to_flux(world: &World, set: &Set) {
    let said = flux(&world.flux, &set.yaml(), 1, 0).await;
    let second = &said.reconciles[0];
    let nothing = Vec::<String>::new();
    assert_eq!((&*second.error, &second.changes, &second.drift), ("", &nothing, &nothing), "seed {}", set.seed);
}

/// Streams run, or are suspended where their manifests say so; the backfills that the folder asks for come to their ends.
pub async fn all_streams_go_on(world: &World, set: &Set) {
    let client = world.fixture.client();
    for stream in set.streams() {
        let api = Api::namespaced_with(client.clone(), &set.namespace, &stream.kind);
        let words = if stream.suspended { ["Suspended", "SUSPENDED"] } else { ["Running", "RUNNING"] };
        let what = format!("{} {} (seed {})", words[0], stream.kind.kind, set.seed);
        until(&api, &stream.name, &what, |it| words.iter().any(|word| it["status"]["phase"] == *word)).await;
    }
    for request in set.of_kind("BackfillRequest") {
        let name = request["metadata"]["name"].as_str().unwrap_or_default();
        let kind = streams_of("streaming.sneaksanddata.com", "v1", "BackfillRequest", "backfillrequests");
        let api = Api::namespaced_with(client.clone(), &set.namespace, &kind);
        until(&api, name, "Completed request", |it| {
            it["status"]["phase"] == "Completed"
                && it["metadata"]["annotations"]["arcane/completed-written"].is_string()
        })
        .await;
    }
}

/// Deletes a folder's objects, and waits until its kinds are gone.
pub async fn take_away(fixture: &Fixture, set: &Set) {
    let file = file_of(&set.yaml());
    let path = file.path().display().to_string();
    let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", &path];
    let said = fixture.cluster().kubectl(&delete).await.unwrap();
    // What is in a namespace that goes may be gone already.
    let kinds: Vec<&str> =
        set.of_kind("CustomResourceDefinition").filter_map(|it| it["metadata"]["name"].as_str()).collect();
    eventually(SOON, "end of a folder's kinds", || async {
        let mut arguments = vec!["get", "crd", "--ignore-not-found", "-o", "name"];
        arguments.extend(&kinds);
        let left = fixture.cluster().kubectl(&arguments).await.map_err(|error| error.to_string())?;
        if left.status.success() && left.stdout.is_empty() { Ok(()) } else { Err(format!("{left:?}, {said:?}")) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}
