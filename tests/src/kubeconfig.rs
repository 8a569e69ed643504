//! Kubeconfigs, and who one is with them.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kube::Client;
use kube::config::{
    AuthInfo, Cluster, Config, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};

/// A user of a cluster: a kubeconfig for processes, a client for this one.
#[derive(Clone)]
pub struct UserAccess {
    name: String,
    kubeconfig: PathBuf,
    client: Client,
}

/// A kubeconfig could not be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no kubeconfig.
    #[error("{} is no usable kubeconfig: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// It names no cluster to connect to.
    #[error("{} has no current context with a cluster", .0.display())]
    NoCluster(PathBuf),
    /// No client could be made of it.
    #[error("cannot make a client of {}: {source}", path.display())]
    Client {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl UserAccess {
    /// The user of the current context of a kubeconfig.
    pub async fn from_kubeconfig(name: &str, kubeconfig: &Path) -> Result<Self, AccessError> {
        let config = configuration(kubeconfig).await?;
        Self::from_config(name, kubeconfig, config)
    }

    pub(crate) fn from_config(name: &str, kubeconfig: &Path, config: Config) -> Result<Self, AccessError> {
        let client = Client::try_from(config)
            .map_err(|source| AccessError::Client { path: kubeconfig.to_owned(), source: Box::new(source) })?;
        Ok(Self { name: name.to_owned(), kubeconfig: kubeconfig.to_owned(), client })
    }

    /// The name by which the API server knows the user, as it stands in the audit log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig of the user.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of the user.
    pub fn client(&self) -> Client {
        self.client.clone()
    }
}

/// What a kubectl command gave.
#[derive(Clone, Debug)]
pub struct KubectlOutput {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A kubectl that sees nothing of the person's own configuration: its home and its kubeconfig are given.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    pub(crate) binary: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) home: PathBuf,
}

impl Kubectl {
    pub(crate) async fn run(&self, arguments: &[&str]) -> std::io::Result<KubectlOutput> {
        let output = tokio::process::Command::new(&self.binary)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home)
            .env_remove("KUBECACHEDIR")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        Ok(KubectlOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

pub(crate) async fn configuration(kubeconfig: &Path) -> Result<Config, AccessError> {
    let read = |source| AccessError::Read { path: kubeconfig.to_owned(), source: Box::new(source) };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(read)?;
    Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.map_err(read)
}

/// Writes a kubeconfig with one cluster and one user. It is JSON, which is YAML, too.
pub(crate) fn write(path: &Path, cluster: Cluster, user: AuthInfo) -> Result<(), AccessError> {
    let name = "test".to_owned();
    let kubeconfig = Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        clusters: vec![NamedCluster { name: name.clone(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: name.clone(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext {
            name: name.clone(),
            context: Some(Context { cluster: name.clone(), user: Some(name.clone()), ..Context::default() }),
            ..NamedContext::default()
        }],
        current_context: Some(name),
        ..Kubeconfig::default()
    };
    let fail = |source: std::io::Error| AccessError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(&kubeconfig).map_err(|error| fail(error.into()))?;
    std::fs::write(path, text).map_err(fail)
}

/// The cluster of the current context.
pub(crate) fn cluster_of(kubeconfig: &Path) -> Result<Cluster, AccessError> {
    let parsed = Kubeconfig::read_from(kubeconfig)
        .map_err(|source| AccessError::Read { path: kubeconfig.to_owned(), source: Box::new(source) })?;
    let context = parsed.contexts.iter().find(|context| Some(&context.name) == parsed.current_context.as_ref());
    let cluster = context.and_then(|context| context.context.as_ref()).and_then(|context| {
        let named = parsed.clusters.iter().find(|cluster| cluster.name == context.cluster)?;
        named.cluster.clone()
    });
    cluster.ok_or_else(|| AccessError::NoCluster(kubeconfig.to_owned()))
}
