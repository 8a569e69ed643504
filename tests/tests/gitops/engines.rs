//! The engines: small programs around the very modules of Flux and Argo CD (`tests/gitops`), and helm.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::LazyLock;

use arcane_tests::{ChartTools, UserAccess};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::NamedTempFile;

static TOOLS: LazyLock<ChartTools> = LazyLock::new(|| {
    ChartTools::obtain(&["flux-driver", "argocd-driver", "helm"]).unwrap_or_else(|error| panic!("{error}"))
});

/// What Flux did.
#[derive(Debug, Deserialize)]
pub struct Flux {
    pub reconciles: Vec<Reconcile>,
    pub warnings: Vec<String>,
    /// By object: `Kind/namespace/name`.
    pub health: BTreeMap<String, Verdict>,
}

/// One reconcile of Flux.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconcile {
    pub error: String,
    pub changes: Vec<String>,
    pub wait_error: String,
    pub drift: Vec<String>,
}

/// What is thought of an object.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    pub status: String,
    pub message: String,
    /// Flux: what `healthCheckExprs` say.
    #[serde(default)]
    pub expressions: String,
}

/// What Argo CD did.
#[derive(Debug, Deserialize)]
pub struct ArgoCd {
    pub syncs: Vec<Sync>,
    /// By object: `Kind/name`.
    pub health: BTreeMap<String, Verdict>,
}

/// One sync of Argo CD.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    pub tries: Vec<Vec<String>>,
    pub out_of_sync: BTreeMap<String, Vec<String>>,
}

impl Sync {
    /// What any way of telling says is out of sync.
    pub fn drift(&self) -> Vec<String> {
        let all = self.out_of_sync.iter();
        all.flat_map(|(way, objects)| objects.iter().map(move |object| format!("{way}: {object}"))).collect()
    }
}

/// The health checks that we ship for Flux.
pub fn flux_health_checks() -> String {
    in_repository("examples/gitops/flux/kustomization.yaml")
}

/// The customization that we ship for Argo CD.
pub fn argocd_customizations() -> String {
    in_repository("examples/gitops/argocd/argocd-cm.yaml")
}

fn in_repository(path: &str) -> String {
    arcane_tests::fixture::repository().join(path).display().to_string()
}

/// Flux reconciles a folder so many times, as this user, and each time waits so many seconds for health.
pub async fn flux(user: &UserAccess, manifests: &str, times: usize, wait: u32) -> Flux {
    let file = file_of(manifests);
    let arguments = [
        "sync".to_owned(),
        format!("--kubeconfig={}", user.kubeconfig().display()),
        format!("--manifests={}", file.path().display()),
        format!("--times={times}"),
        format!("--wait={wait}s"),
        format!("--health-checks={}", flux_health_checks()),
    ];
    driven("flux-driver", &arguments).await
}

/// Argo CD syncs a folder so many times, as this user; none: it only compares.
pub async fn argocd(user: &UserAccess, manifests: &str, namespace: &str, server_side: bool, times: usize) -> ArgoCd {
    let file = file_of(manifests);
    let arguments = [
        "sync".to_owned(),
        format!("--kubeconfig={}", user.kubeconfig().display()),
        format!("--manifests={}", file.path().display()),
        format!("--namespace={namespace}"),
        format!("--server-side={server_side}"),
        format!("--times={times}"),
        format!("--customizations={}", argocd_customizations()),
    ];
    driven("argocd-driver", &arguments).await
}

/// Argo CD compares a folder, and applies nothing.
pub async fn argocd_comparing(user: &UserAccess, manifests: &str, namespace: &str, server_side: bool) -> ArgoCd {
    argocd(user, manifests, namespace, server_side, 0).await
}

/// Whether Argo CD can read a manifest of an Application, unknown fields and all.
pub async fn argocd_reads_application(path: &str) -> String {
    let said: Value =
        driven("argocd-driver", &["check".to_owned(), format!("--manifests={}", in_repository(path))]).await;
    said["error"].as_str().unwrap_or_default().to_owned()
}

/// What Flux thinks of objects.
pub async fn flux_health(objects: &[Value]) -> Vec<Verdict> {
    let file = file_of(&Value::from(objects.to_vec()).to_string());
    let objects = format!("--objects={}", file.path().display());
    driven("flux-driver", &["health".to_owned(), objects, format!("--health-checks={}", flux_health_checks())]).await
}

/// What Argo CD thinks of objects.
pub async fn argocd_health(objects: &[Value]) -> Vec<Verdict> {
    let file = file_of(&Value::from(objects.to_vec()).to_string());
    let objects = format!("--objects={}", file.path().display());
    driven("argocd-driver", &["health".to_owned(), objects, format!("--customizations={}", argocd_customizations())])
        .await
}

/// Runs helm as this user; gives whether it succeeded, and all that it said.
pub async fn helm(user: &UserAccess, arguments: &[&str]) -> (bool, String) {
    let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    all.push(format!("--kubeconfig={}", user.kubeconfig().display()));
    let output = run("helm", &all).await;
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (output.status.success(), said)
}

pub fn file_of(text: &str) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn driven<T: DeserializeOwned>(program: &str, arguments: &[String]) -> T {
    let output = run(program, arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{program}: {error}: {}{stderr}", String::from_utf8_lossy(&output.stdout)))
}

async fn run(program: &str, arguments: &[String]) -> std::process::Output {
    // Built by whoever needs one first; that may take minutes.
    let command = tokio::task::block_in_place(|| TOOLS.command(program)).unwrap_or_else(|error| panic!("{error}"));
    let mut command = tokio::process::Command::from(command);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}
