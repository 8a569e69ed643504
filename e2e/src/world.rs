//! The cluster, and what a person at its terminal has: kubectl and helm.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use arcane_tests::TestCluster;
use arcane_tests::fixture::repository;
use arcane_tests::test_cluster::KUBECONFIG_VARIABLE;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::images::Images;
use crate::release;

/// Where the streams of the users guide are.
pub const GUIDE: &str = "data-streaming";
/// Where the streams are whose workers do as they are told.
pub const WORKS: &str = "works";
const FORWARD_WITHIN: Duration = Duration::from_secs(60);

/// The cluster that the scenes are played on.
///
/// Its methods panic, with what went wrong, where the cluster refuses: a scene can do nothing else about it.
pub struct World {
    cluster: TestCluster,
    /// The images that are tried.
    pub images: Images,
    /// Whether there shall be fewer rounds.
    pub quick: bool,
    files: tempfile::TempDir,
}

/// A way into a pod, for as long as this lives.
pub struct Forward {
    port: u16,
    // Kept open: kubectl writes a line for each connection.
    _lines: Lines<BufReader<ChildStdout>>,
    _kubectl: Child,
}

impl Forward {
    /// The whole answer, head and body, to a GET.
    pub async fn get(&self, path: &str) -> String {
        arcane_tests::get(self.port, path).await.unwrap_or_else(|error| panic!("cannot get {path}: {error}"))
    }
}

/// What a command wrote.
#[derive(Debug)]
pub struct Told {
    /// Whether it ended well.
    pub success: bool,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl World {
    /// Enters the cluster of the environment.
    pub async fn enter(quick: bool) -> Result<Self, String> {
        let Some(kubeconfig) = std::env::var_os(KUBECONFIG_VARIABLE).filter(|path| !path.is_empty()) else {
            return Err(format!(
                "{KUBECONFIG_VARIABLE} is not set: run this by `make e2e`, or name a cluster that holds nothing of ours"
            ));
        };
        let cluster = TestCluster::given(Path::new(&kubeconfig)).await.map_err(|error| error.to_string())?;
        let files = tempfile::tempdir().map_err(|error| format!("cannot make a directory: {error}"))?;
        let images = Images::provide().await?;
        Ok(Self { cluster, images, quick, files })
    }

    /// A client of the admin.
    pub fn client(&self) -> Client {
        self.cluster.admin()
    }

    /// `many`, or `few` where it has to be quick.
    pub fn rounds(&self, many: usize, few: usize) -> usize {
        if self.quick { few } else { many }
    }

    /// Runs kubectl at the top of the repository: words as one types them, without quotes.
    pub async fn try_kubectl(&self, line: &str) -> Told {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.kubectl_with(&words).await
    }

    /// The same for words that have spaces.
    pub async fn kubectl_with(&self, words: &[&str]) -> Told {
        self.run(self.cluster.kubectl_binary().as_os_str(), words).await
    }

    /// Runs kubectl, which must end well, and gives its stdout.
    pub async fn kubectl(&self, line: &str) -> String {
        let told = self.try_kubectl(line).await;
        assert!(told.success, "kubectl {line}:\n{}{}", told.stdout, told.stderr);
        told.stdout
    }

    /// Runs helm, which must end well, and gives its stdout.
    pub async fn helm(&self, words: &[&str]) -> String {
        let told = self.run("helm".as_ref(), words).await;
        assert!(told.success, "helm {}:\n{}{}", words.join(" "), told.stdout, told.stderr);
        told.stdout
    }

    /// Applies a manifest, in which an image `WORKER` is the worker, by kubectl.
    pub async fn apply(&self, namespace: Option<&str>, manifest: &str) -> Told {
        let path = self.files.path().join("manifest.yaml");
        std::fs::write(&path, self.images.with_worker(manifest))
            .unwrap_or_else(|error| panic!("cannot write: {error}"));
        let path = path.display().to_string();
        let mut words = vec!["apply", "-f", &path];
        words.extend(namespace.iter().flat_map(|namespace| ["-n", namespace]));
        self.kubectl_with(&words).await
    }

    /// Applies a file of the repository, which must be accepted.
    pub async fn apply_file(&self, namespace: Option<&str>, file: &str) {
        let told = self.apply(namespace, &arcane_tests::fixture::repository_file(file)).await;
        assert!(told.success, "{file} was not accepted:\n{}{}", told.stdout, told.stderr);
    }

    /// Makes a namespace.
    pub async fn create_namespace(&self, name: &str) {
        if !self.try_kubectl(&format!("get namespace {name}")).await.success {
            self.kubectl(&format!("create namespace {name}")).await;
        }
    }

    /// Opens a way to a port of a pod by `kubectl port-forward`.
    pub async fn forward(&self, namespace: &str, target: &str, port: u16) -> Forward {
        let mut kubectl = tokio::process::Command::new(self.cluster.kubectl_binary())
            .args(["port-forward", "--address", "127.0.0.1", "-n", namespace, target, &format!(":{port}")])
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.files.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run kubectl port-forward: {error}"));
        let stdout = kubectl.stdout.take().unwrap_or_else(|| panic!("kubectl has no stdout"));
        let mut lines = BufReader::new(stdout).lines();
        let told = tokio::time::timeout(FORWARD_WITHIN, lines.next_line()).await;
        let line = told.ok().and_then(Result::ok).flatten().unwrap_or_default();
        // "Forwarding from 127.0.0.1:40123 -> 8888"
        let port =
            line.split(" -> ").next().and_then(|from| from.rsplit(':').next()).and_then(|port| port.parse().ok());
        let port =
            port.unwrap_or_else(|| panic!("kubectl port-forward {target} told no port within a minute: {line:?}"));
        Forward { port, _lines: lines, _kubectl: kubectl }
    }

    async fn run(&self, program: &std::ffi::OsStr, words: &[&str]) -> Told {
        let output = tokio::process::Command::new(program)
            .args(words)
            .current_dir(repository())
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.files.path()) // nothing of the person's own configuration
            .env_remove("KUBECACHEDIR")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
        Told {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// For whoever has to find out why a scene failed.
    pub async fn tell_what_is_there(&self) {
        for line in [
            "get pods,jobs,deployments -A -o wide".to_owned(),
            "get arcane,works,sqlserverchangetrackingstreams -A".to_owned(),
            format!("logs -n {0} deployment/{1} --tail 60", release::NAMESPACE, release::CONTROLLER),
            format!("logs -n {0} deployment/{1} --tail 40 --all-pods", release::NAMESPACE, release::WEBHOOK),
            "get events -A --sort-by .metadata.creationTimestamp".to_owned(),
        ] {
            let told = self.try_kubectl(&line).await;
            let shown: Vec<&str> = told.stdout.lines().chain(told.stderr.lines()).collect();
            let shown = &shown[shown.len().saturating_sub(80)..];
            eprintln!("\n$ kubectl {line}\n{}", shown.join("\n"));
        }
    }

    /// Takes everything away that was brought.
    pub async fn leave(self) {
        let namespaces: Api<Namespace> = Api::all(self.client());
        for name in [GUIDE, WORKS] {
            let _ = namespaces.delete(name, &DeleteParams::default()).await;
        }
        let told = self.run("helm".as_ref(), &["uninstall", release::NAME, "-n", release::NAMESPACE, "--wait"]).await;
        drop(told); // it may not be there any more
        for line in [
            "delete crd works.e2e.example.com sqlserverchangetrackingstreams.streaming.sneaksanddata.com \
             streamclasses.streaming.sneaksanddata.com streamingjobtemplates.streaming.sneaksanddata.com \
             backfillrequests.streaming.sneaksanddata.com --ignore-not-found --timeout 60s",
            "delete clusterrole e2e-works --ignore-not-found",
            &format!("delete namespace {GUIDE} {WORKS} {} --ignore-not-found --timeout 120s", release::NAMESPACE),
        ] {
            let told = self.try_kubectl(line).await;
            if !told.success {
                eprintln!("e2e: something is left behind: {}", told.stderr.trim());
            }
        }
        self.cluster.stop().await;
    }
}
