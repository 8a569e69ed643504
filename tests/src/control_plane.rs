//! A control plane of one's own: etcd, kube-apiserver, kube-controller-manager on 127.0.0.1, gone with their owner.
//!
//! There is no scheduler, no kubelet and no node: see [`crate::kubelet`] for pods.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{AuthInfo, Cluster};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::audit_log::AuditLog;
use crate::binaries::{Binaries, BinariesError};
use crate::kubeconfig::{self, AccessError, Kubectl, KubectlOutput, UserAccess};
use crate::pki::{Authority, PkiError};
use crate::supervisor::{Program, Supervisor, tail};
use crate::wait;

/// What can be asked of a control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// The audit policy. By default everybody is audited at the level Metadata but the control plane itself and the admin.
    pub audit_policy: Value,
    /// More flags of kube-apiserver.
    pub api_server_arguments: Vec<String>,
    /// More flags of kube-controller-manager.
    pub controller_manager_arguments: Vec<String>,
    /// How long it may take until it is ready.
    pub ready_within: Duration,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            audit_policy: json!({
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [
                    {"level": "None", "userGroups": ["system:masters", "system:serviceaccounts:kube-system"]},
                    {"level": "None", "users": ["system:apiserver", "system:anonymous"]},
                    {"level": "Metadata"},
                ],
            }),
            api_server_arguments: Vec::new(),
            controller_manager_arguments: Vec::new(),
            ready_within: Duration::from_secs(120),
        }
    }
}

/// A control plane could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// There are no binaries.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A kubeconfig could not be written or used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A file or a process.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A process of it ended at once.
    #[error("{process} ended with status {status}; the end of its log:\n{log}")]
    Ended {
        /// Which.
        process: &'static str,
        /// Its exit status.
        status: i32,
        /// The last lines of its log.
        log: String,
    },
    /// It did not become ready.
    #[error("{timeout}; the end of the log of {process}:\n{log}")]
    NotReady {
        /// What was waited for.
        timeout: wait::Timeout,
        /// Who should have done it.
        process: &'static str,
        /// The last lines of its log.
        log: String,
    },
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> ControlPlaneError {
    move |source| ControlPlaneError::Io { what, source }
}

/// A running control plane. It ends when this is dropped, or when the process that has it ends in whatever way.
pub struct ControlPlane {
    supervisor: Supervisor,
    authority: Authority,
    server: String,
    admin: UserAccess,
    kubectl: Kubectl,
    ready_after: Duration,
}

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// Controllers that look after nodes, volumes and clouds, none of which there are. Only those that the oldest version has, too.
const CONTROLLERS: &str = "*,-node-ipam-controller,-node-lifecycle-controller,-taint-eviction-controller,\
    -persistentvolume-attach-detach-controller,-persistentvolume-expander-controller,-ttl-controller,-daemonset-controller,\
    -certificatesigningrequest-signing-controller,-horizontal-pod-autoscaler-controller,-resourceclaim-controller";

impl ControlPlane {
    /// Starts a control plane, and returns when it is ready to use.
    pub async fn start(options: ControlPlaneOptions) -> Result<Self, ControlPlaneError> {
        let binaries = Binaries::obtain().await?;
        // A port that was free a moment ago can be taken by another process before ours listens on it.
        let mut tries = 5;
        loop {
            tries -= 1;
            match Self::start_once(&options, &binaries).await {
                Err(ControlPlaneError::Ended { log, .. }) if tries > 0 && log.contains("address already in use") => {}
                ended => return ended,
            }
        }
    }

    async fn start_once(options: &ControlPlaneOptions, binaries: &Binaries) -> Result<Self, ControlPlaneError> {
        let started = Instant::now();
        let supervisor = Supervisor::start("arcane-control-plane-").map_err(io("start the supervisor"))?;
        let directory = supervisor.directory().to_owned();
        let authority = Authority::new(&directory.join("pki"))?;
        make_certificates(&authority)?;
        let [etcd_port, peer_port, api_port, manager_port] = free_ports().map_err(io("find free ports"))?;
        let server = format!("https://127.0.0.1:{api_port}");

        let admin_file = directory.join("admin.kubeconfig");
        let manager_file = directory.join("controller-manager.kubeconfig");
        for (name, file) in [("admin", &admin_file), ("controller-manager", &manager_file)] {
            kubeconfig::write(file, cluster(&authority, &server), by_certificate(&authority, name))?;
        }
        let home = directory.join("home");
        std::fs::create_dir(&home).map_err(io("make a home directory"))?;
        let policy = directory.join("audit-policy.json");
        std::fs::write(&policy, options.audit_policy.to_string()).map_err(io("write the audit policy"))?;

        let run = |name: &'static str, arguments: Vec<String>| {
            let program = Program {
                path: binaries.path(name),
                arguments,
                environment: vec![("HOME".into(), home.display().to_string())],
                log: None,
            };
            supervisor.run(name, &program).map_err(io("start a process of the control plane"))
        };
        run(ETCD, etcd_arguments(&directory, etcd_port, peer_port))?;
        let mut arguments = api_server_arguments(&authority, &directory, etcd_port, api_port);
        arguments.extend(options.api_server_arguments.iter().cloned());
        run(API_SERVER, arguments)?;

        let admin = UserAccess::from_kubeconfig("kubernetes-admin", &admin_file).await?;
        let left = || options.ready_within.saturating_sub(started.elapsed());
        let client = admin.client();
        until(&supervisor, left(), "ready API server", API_SERVER, || ready(client.clone())).await?;
        let mut arguments = controller_manager_arguments(&authority, &manager_file, manager_port);
        arguments.extend(options.controller_manager_arguments.iter().cloned());
        run(CONTROLLER_MANAGER, arguments)?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
        until(&supervisor, left(), "ServiceAccount default", CONTROLLER_MANAGER, || {
            let accounts = accounts.clone();
            async move { accounts.get("default").await.map(drop).map_err(|error| error.to_string()) }
        })
        .await?;

        let kubectl = Kubectl { binary: binaries.path("kubectl"), kubeconfig: admin_file, home };
        Ok(Self { supervisor, authority, server, admin, kubectl, ready_after: started.elapsed() })
    }

    /// The kubeconfig of the admin (group `system:masters`).
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// A client of the admin.
    pub fn admin(&self) -> Client {
        self.admin.client()
    }

    pub(crate) fn admin_access(&self) -> UserAccess {
        self.admin.clone()
    }

    /// A user with a client certificate made for it, in at most two groups. What it may do is for RBAC to say.
    pub async fn user(&self, name: &str, groups: &[&str]) -> Result<UserAccess, ControlPlaneError> {
        let file = format!("user-{}", file_name(name));
        self.authority.client(&file, name, groups)?;
        let path = self.directory().join(format!("{file}.kubeconfig"));
        kubeconfig::write(&path, cluster(&self.authority, &self.server), by_certificate(&self.authority, &file))?;
        Ok(UserAccess::from_kubeconfig(name, &path).await?)
    }

    /// Runs kubectl as the admin, with a home directory of its own.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<KubectlOutput, ControlPlaneError> {
        self.kubectl.run(arguments).await.map_err(io("run kubectl"))
    }

    /// The kubectl that goes with this control plane.
    pub fn kubectl_binary(&self) -> &Path {
        &self.kubectl.binary
    }

    /// Who did what.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(&self.directory().join("audit.log"))
    }

    /// The directory of everything that the control plane writes; it goes with it.
    pub fn directory(&self) -> &Path {
        self.supervisor.directory()
    }

    /// The pids of its processes.
    pub fn pids(&self) -> Vec<u32> {
        [ETCD, API_SERVER, CONTROLLER_MANAGER].iter().filter_map(|name| self.supervisor.pid(name)).collect()
    }

    /// How long it took to become ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The last lines of the log of one of `etcd`, `kube-apiserver`, `kube-controller-manager`.
    pub fn log_tail(&self, process: &str) -> String {
        self.supervisor.log_tail(process)
    }

    /// Ends it, and returns when its processes and its directory have gone.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

pub(crate) fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn make_certificates(authority: &Authority) -> Result<(), PkiError> {
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
        "10.96.0.1",
    ];
    authority.server("api-server", &names)?;
    authority.client("admin", "kubernetes-admin", &["system:masters"])?;
    // Of the masters: its controllers then share one client, which makes them start sooner.
    authority.client("controller-manager", "system:kube-controller-manager", &["system:masters"])?;
    authority.client("front-proxy", "front-proxy-client", &[])?;
    authority.bare_key("service-accounts")
}

fn cluster(authority: &Authority, server: &str) -> Cluster {
    Cluster {
        server: Some(server.to_owned()),
        certificate_authority: Some(authority.path("ca.crt").display().to_string()),
        ..Cluster::default()
    }
}

fn by_certificate(authority: &Authority, file: &str) -> AuthInfo {
    AuthInfo {
        client_certificate: Some(authority.path(&format!("{file}.crt")).display().to_string()),
        client_key: Some(authority.path(&format!("{file}.key")).display().to_string()),
        ..AuthInfo::default()
    }
}

/// Ports that nobody listens on. They are held at the same time, so that they differ.
fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A port that nobody listens on.
pub fn free_port() -> std::io::Result<u16> {
    free_ports().map(|[port]| port)
}

fn etcd_arguments(directory: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    vec![
        "--name=default".into(),
        format!("--data-dir={}", directory.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".into(), // nothing of it is to survive
        "--log-level=warn".into(),
    ]
}

fn api_server_arguments(authority: &Authority, directory: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    let pki = |file: &str| authority.path(file).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", pki("api-server.crt")),
        format!("--tls-private-key-file={}", pki("api-server.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", pki("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("service-accounts.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=RBAC".into(),
        // So that a missing right to set blockOwnerDeletion shows in the tests, as it does on OpenShift.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
        format!("--requestheader-client-ca-file={}", pki("ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy.key")),
        "--allow-privileged=true".into(),
        "--profiling=false".into(),
        "--max-requests-inflight=3000".into(),
        "--max-mutating-requests-inflight=1500".into(),
        format!("--audit-policy-file={}", directory.join("audit-policy.json").display()),
        format!("--audit-log-path={}", directory.join("audit.log").display()),
        "--audit-log-mode=blocking".into(),
        "--audit-log-maxsize=4096".into(), // MiB: never rotated
    ]
}

fn controller_manager_arguments(authority: &Authority, kubeconfig: &Path, port: u16) -> Vec<String> {
    let pki = |file: &str| authority.path(file).display().to_string();
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        "--leader-elect=false".into(),
        format!("--service-account-private-key-file={}", pki("service-accounts.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--controllers={CONTROLLERS}"),
        "--kube-api-qps=1000".into(),
        "--kube-api-burst=2000".into(),
        "--concurrent-job-syncs=20".into(),
        "--concurrent-gc-syncs=40".into(),
        "--concurrent-namespace-syncs=20".into(),
        "--profiling=false".into(),
    ]
}

async fn ready(client: Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    let answer = client.request_text(request).await.map_err(|error| error.to_string())?;
    if answer == "ok" { Ok(()) } else { Err(answer) }
}

/// Waits for a condition that `process` brings about, and gives up at once if a process has ended.
async fn until<F, Fut>(
    supervisor: &Supervisor,
    deadline: Duration,
    what: &str,
    process: &'static str,
    mut condition: F,
) -> Result<(), ControlPlaneError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let ended = || {
        [ETCD, API_SERVER, CONTROLLER_MANAGER]
            .into_iter()
            .find_map(|name| supervisor.exit_status(name).map(|status| (name, status)))
    };
    let waited = wait::eventually(deadline, what, || {
        let (ended, looked) = (ended(), condition());
        async move { if ended.is_some() { Ok(ended) } else { looked.await.map(|()| None) } }
    })
    .await;
    match waited {
        Ok(None) => Ok(()),
        Ok(Some((process, status))) => {
            Err(ControlPlaneError::Ended { process, status, log: log_tail(supervisor.directory(), process) })
        }
        Err(timeout) => {
            Err(ControlPlaneError::NotReady { timeout, process, log: log_tail(supervisor.directory(), process) })
        }
    }
}

fn log_tail(directory: &Path, process: &str) -> String {
    let log: PathBuf = directory.join("run").join(format!("{process}.log"));
    tail(&log, 30)
}
