//! Control planes: side by side, gone with their owner, with users who have exactly their rights.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arcane_tests::{TestCluster, eventually};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::{SOON, a_cluster, a_plane};

#[tokio::test]
async fn two_control_planes_run_side_by_side() {
    let (one, other) = tokio::join!(a_plane(), a_plane());
    eprintln!("two at the same time: ready after {:.1?} and {:.1?}", one.ready_after(), other.ready_after());
    let namespaces: Api<Namespace> = Api::all(one.admin());
    let only_here = serde_json::from_value(json!({"metadata": {"name": "only-here"}})).unwrap();
    namespaces.create(&PostParams::default(), &only_here).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(other.admin());
    assert!(namespaces.get_opt("only-here").await.unwrap().is_none());

    let said = one.kubectl(&["get", "namespace", "only-here", "-o", "name"]).await.unwrap();
    assert_eq!(said.stdout, "namespace/only-here\n", "{said:?}");
    let said = other.kubectl(&["get", "namespace", "only-here", "-o", "name"]).await.unwrap();
    assert!(!said.status.success() && said.stderr.contains("not found"), "{said:?}");

    let (directory, pids) = (one.directory().to_owned(), one.pids());
    one.stop().await;
    assert!(!directory.exists());
    assert_eq!(pids.len(), 3);
    assert!(!pids.iter().any(|&pid| is_alive(pid)));
    other.stop().await;
}

#[tokio::test]
async fn an_owner_killed_with_sigkill_leaves_no_process_and_no_directory() {
    let mut owner =
        Command::new(env!("CARGO_BIN_EXE_cluster")).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let kubeconfig = tokio::task::spawn_blocking(|| {
        let mut lines = lines.map_while(Result::ok);
        lines.find_map(|line| line.strip_prefix("export KUBECONFIG=").map(PathBuf::from))
    });
    let kubeconfig = kubeconfig.await.unwrap().expect("the cluster tells its kubeconfig");
    let directory = kubeconfig.parent().unwrap();
    let pids = pids_of(directory);
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|&pid| is_alive(pid)));

    owner.kill().unwrap(); // SIGKILL
    owner.wait().unwrap();
    eventually(SOON, "end of what the owner had", || async {
        let left: Vec<_> = pids.iter().filter(|&&pid| is_alive(pid)).collect();
        match (left.is_empty(), directory.exists()) {
            (true, false) => Ok(()),
            (_, there) => Err(format!("processes {left:?}, directory there: {there}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_service_account_has_exactly_its_rights_and_the_audit_log_tells_what_it_did() {
    let cluster = a_cluster().await;
    let may_read = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".into()]),
        verbs: vec!["list".into()],
        ..PolicyRule::default()
    };
    let reader = cluster.service_account_access("arcane", "reader", vec![may_read]).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(reader.client(), "default");
    // RBAC works on a cache that learns of the rule a moment later.
    eventually(SOON, "right to list ConfigMaps", || async {
        maps.list(&ListParams::default()).await.map_err(|error| error.to_string())
    })
    .await
    .unwrap();

    let log = cluster.audit_log().unwrap();
    let mark = log.now();
    let refused = maps.get("kube-root-ca.crt").await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));
    let requests = eventually(SOON, "entry of the audit log", || async {
        match log.requests_since(mark, reader.name()) {
            none if none.is_empty() => Err("none".to_owned()),
            requests => Ok(requests),
        }
    })
    .await
    .unwrap();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.user, "system:serviceaccount:arcane:reader");
    assert_eq!((&request.verb[..], &request.resource[..], request.code), ("get", "configmaps", 403));
    assert!(log.requests_of("kubernetes-admin").is_empty());

    let somebody = cluster.user("somebody", &["some", "people"]).await.unwrap();
    let said =
        cluster.kubectl(&["--kubeconfig", somebody.kubeconfig().to_str().unwrap(), "auth", "whoami"]).await.unwrap();
    assert!(said.stdout.contains("somebody") && said.stdout.contains("[some people system:authenticated]"), "{said:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_given_cluster_is_used_unless_it_holds_objects_of_our_kinds() {
    let plane = a_plane().await;
    let given = TestCluster::given(plane.kubeconfig()).await.unwrap();
    assert!(given.audit_log().is_none());
    let somebody = given.user("somebody", &["people"]).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(somebody.client(), "default");
    let refused = maps.list(&ListParams::default()).await.unwrap_err().to_string();
    assert!(refused.contains("somebody"), "{refused}");
    given.stop().await;

    let definition = json!({
        "metadata": {"name": "backfill-requests.streaming.sneaksanddata.com"},
        "spec": {
            "group": "streaming.sneaksanddata.com", "scope": "Namespaced",
            "names": {"kind": "BackfillRequest", "plural": "backfill-requests", "singular": "backfill-request"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let definitions: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(plane.admin());
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let file = plane.directory().join("theirs.json");
    let theirs = json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest", "metadata": {"name": "theirs"},
    });
    std::fs::write(&file, theirs.to_string()).unwrap();
    eventually(SOON, "object of somebody else", || async {
        let said = plane.kubectl(&["apply", "-f", file.to_str().unwrap()]).await.unwrap();
        if said.status.success() { Ok(()) } else { Err(said.stderr) }
    })
    .await
    .unwrap();
    let refused = TestCluster::given(plane.kubeconfig()).await.err().unwrap().to_string();
    assert!(refused.contains("BackfillRequest default/theirs"), "{refused}");
    assert!(refused.contains("ARCANE_TEST_KUBECONFIG"), "{refused}");
    plane.stop().await;
}

fn is_alive(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

fn pids_of(directory: &Path) -> Vec<u32> {
    let files = std::fs::read_dir(directory.join("run")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .map(|path| std::fs::read_to_string(path).unwrap().trim().parse().unwrap())
        .collect()
}
