//! The cluster that tests and demos run on: a control plane of their own, or one that the person names.

use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Resource};
use serde_json::json;

use crate::audit_log::AuditLog;
use crate::binaries::{Binaries, BinariesError};
use crate::control_plane::{ControlPlane, ControlPlaneError, ControlPlaneOptions, file_name};
use crate::kubeconfig::{self, AccessError, Kubectl, KubectlOutput, UserAccess};
use crate::wait::is_too_busy;

/// Names the kubeconfig of a cluster to use. A plain `KUBECONFIG` is never looked at: nobody's cluster is touched by accident.
pub const KUBECONFIG_VARIABLE: &str = "ARCANE_TEST_KUBECONFIG";

const GROUP: &str = "streaming.sneaksanddata.com";

/// A cluster to test on.
pub struct TestCluster {
    admin: UserAccess,
    files: Files,
    kind: Kind,
}

enum Kind {
    Local(ControlPlane),
    Given { kubectl: Kubectl, made: std::sync::Mutex<Vec<String>> },
}

enum Files {
    OfThePlane(PathBuf),
    Own(tempfile::TempDir),
}

/// The cluster cannot be had, or refuses something.
#[derive(Debug, thiserror::Error)]
pub enum TestClusterError {
    /// No control plane could be started.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// There is no kubectl.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A kubeconfig cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The given cluster is in use.
    #[error(
        "the cluster of {KUBECONFIG_VARIABLE}={} has {kind} {namespace}/{name}, which this run did not make: \
         give a cluster without objects of {GROUP}, or unset {KUBECONFIG_VARIABLE} for a control plane of its own",
        kubeconfig.display()
    )]
    InUse {
        /// The kubeconfig that was given.
        kubeconfig: PathBuf,
        /// The kind of an object that is there.
        kind: String,
        /// Its namespace, "" if it has none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API server refused something.
    #[error("cannot {what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A file or a process.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> TestClusterError {
    let what = what.into();
    move |source| TestClusterError::Api { what, source: Box::new(source) }
}

impl TestCluster {
    /// The cluster of `ARCANE_TEST_KUBECONFIG`, or else a control plane of one's own.
    pub async fn obtain() -> Result<Self, TestClusterError> {
        Self::obtain_with(ControlPlaneOptions::default()).await
    }

    /// The same with options for a control plane of one's own.
    pub async fn obtain_with(options: ControlPlaneOptions) -> Result<Self, TestClusterError> {
        match std::env::var_os(KUBECONFIG_VARIABLE) {
            Some(kubeconfig) if !kubeconfig.is_empty() => Self::given(Path::new(&kubeconfig)).await,
            _ => Ok(Self::local(ControlPlane::start(options).await?)),
        }
    }

    /// A control plane of one's own as a test cluster.
    pub fn local(plane: ControlPlane) -> Self {
        Self {
            admin: plane.admin_access(),
            files: Files::OfThePlane(plane.directory().to_owned()),
            kind: Kind::Local(plane),
        }
    }

    /// The cluster of a kubeconfig, unless it holds objects of our kinds.
    pub async fn given(kubeconfig: &Path) -> Result<Self, TestClusterError> {
        let admin = UserAccess::from_kubeconfig("admin", kubeconfig).await?;
        refuse_if_in_use(&admin).await?;
        let files = tempfile::Builder::new()
            .prefix("arcane-test-cluster-")
            .tempdir()
            .map_err(|source| TestClusterError::Io { what: "make a directory", source })?;
        let kubectl = Kubectl {
            binary: match in_path("kubectl") {
                Some(found) => found,
                None => Binaries::obtain_only(&["kubectl"]).await?.path("kubectl"),
            },
            kubeconfig: kubeconfig.to_owned(),
            home: files.path().to_owned(),
        };
        Ok(Self { admin, files: Files::Own(files), kind: Kind::Given { kubectl, made: std::sync::Mutex::default() } })
    }

    /// The control plane, if it is one of our own.
    pub fn control_plane(&self) -> Option<&ControlPlane> {
        match &self.kind {
            Kind::Local(plane) => Some(plane),
            Kind::Given { .. } => None,
        }
    }

    /// The kubeconfig of the admin.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// A client of the admin.
    pub fn admin(&self) -> Client {
        self.admin.client()
    }

    /// The audit log, which only a control plane of our own has. What needs it is to be reported as skipped without.
    pub fn audit_log(&self) -> Option<AuditLog> {
        self.control_plane().map(ControlPlane::audit_log)
    }

    /// Runs kubectl as the admin; again, if a webhook had no time to answer.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<KubectlOutput, TestClusterError> {
        for _ in 0..2 {
            let output = self.kubectl_once(arguments).await?;
            if output.status.success() || !is_too_busy(&output.stderr) {
                return Ok(output);
            }
        }
        self.kubectl_once(arguments).await
    }

    async fn kubectl_once(&self, arguments: &[&str]) -> Result<KubectlOutput, TestClusterError> {
        match &self.kind {
            Kind::Local(plane) => Ok(plane.kubectl(arguments).await?),
            Kind::Given { kubectl, .. } => {
                kubectl.run(arguments).await.map_err(|source| TestClusterError::Io { what: "run kubectl", source })
            }
        }
    }

    /// The path of kubectl.
    pub fn kubectl_binary(&self) -> &Path {
        match &self.kind {
            Kind::Local(plane) => plane.kubectl_binary(),
            Kind::Given { kubectl, .. } => &kubectl.binary,
        }
    }

    /// A user in some groups (at most two). On a given cluster the admin impersonates it: kubectl understands that kubeconfig,
    /// programs made with kube-rs don't; use the client, or [`Self::service_account_access`].
    pub async fn user(&self, name: &str, groups: &[&str]) -> Result<UserAccess, TestClusterError> {
        let plane = match &self.kind {
            Kind::Local(plane) => plane,
            Kind::Given { .. } => return self.impersonated(name, groups).await,
        };
        Ok(plane.user(name, groups).await?)
    }

    async fn impersonated(&self, name: &str, groups: &[&str]) -> Result<UserAccess, TestClusterError> {
        let mut config = kubeconfig::configuration(self.kubeconfig()).await?;
        let mut user = config.auth_info.clone();
        user.impersonate = Some(name.to_owned());
        user.impersonate_groups = Some(groups.iter().map(|&group| group.to_owned()).collect());
        let path = self.directory().join(format!("user-{}.kubeconfig", file_name(name)));
        kubeconfig::write(&path, kubeconfig::cluster_of(self.kubeconfig())?, user)?;
        let headers =
            std::iter::once(("impersonate-user", name)).chain(groups.iter().map(|&group| ("impersonate-group", group)));
        for (header, value) in headers {
            let value = http::HeaderValue::from_str(value)
                .map_err(|error| TestClusterError::Io { what: "impersonate", source: std::io::Error::other(error) })?;
            config.headers.push((http::HeaderName::from_static(header), value));
        }
        Ok(UserAccess::from_config(name, &path, config)?)
    }

    /// A ServiceAccount with exactly these rights in all namespaces, and a kubeconfig with a token of it. In the audit log it is
    /// `system:serviceaccount:NAMESPACE:NAME`. Called again with other rules it changes the rights.
    pub async fn service_account_access(
        &self,
        namespace: &str,
        name: &str,
        rules: Vec<PolicyRule>,
    ) -> Result<UserAccess, TestClusterError> {
        self.service_account_access_named(&format!("{namespace}-{name}"), namespace, name, rules).await
    }

    /// The same; `full_name` is the ClusterRole's.
    pub async fn service_account_access_named(
        &self,
        full_name: &str,
        namespace: &str,
        name: &str,
        rules: Vec<PolicyRule>,
    ) -> Result<UserAccess, TestClusterError> {
        self.apply::<Namespace>(Api::all(self.admin()), namespace, json!({})).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), namespace);
        self.apply(accounts, name, json!({})).await?;
        self.apply::<ClusterRole>(Api::all(self.admin()), full_name, json!({"rules": rules})).await?;
        let binding = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": full_name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        });
        self.apply::<ClusterRoleBinding>(Api::all(self.admin()), full_name, binding).await?;
        if let Kind::Given { made, .. } = &self.kind {
            let mut made = made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            made.push(full_name.to_owned());
        }

        self.token_access(full_name, namespace, name).await
    }

    /// A kubeconfig with a token of a ServiceAccount that is there; `file` is the file's name without ending.
    pub async fn token_access(&self, file: &str, namespace: &str, name: &str) -> Result<UserAccess, TestClusterError> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(api(format!("get a token of ServiceAccount {namespace}/{name}")))?;
        let user =
            AuthInfo { token: answer.status.and_then(|status| status.token).map(Into::into), ..AuthInfo::default() };
        let path = self.directory().join(format!("{file}.kubeconfig"));
        kubeconfig::write(&path, kubeconfig::cluster_of(self.kubeconfig())?, user)?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        Ok(UserAccess::from_kubeconfig(&user, &path).await?)
    }

    /// Gives a ServiceAccount rights in its own namespace, by a Role and a RoleBinding of its name.
    pub async fn grant_in_own_namespace(
        &self,
        namespace: &str,
        name: &str,
        rules: Vec<PolicyRule>,
    ) -> Result<(), TestClusterError> {
        self.apply::<Role>(Api::namespaced(self.admin(), namespace), name, json!({"rules": rules})).await?;
        let binding = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        });
        self.apply::<RoleBinding>(Api::namespaced(self.admin(), namespace), name, binding).await
    }

    async fn apply<K>(&self, objects: Api<K>, name: &str, mut body: serde_json::Value) -> Result<(), TestClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        body["apiVersion"] = json!(K::api_version(&()));
        body["kind"] = json!(K::kind(&()));
        body["metadata"] = json!({"name": name});
        objects
            .patch(name, &PatchParams::apply("arcane-tests").force(), &Patch::Apply(body))
            .await
            .map_err(api(format!("apply {} {name}", K::kind(&()))))?;
        Ok(())
    }

    /// A directory for files that go with the cluster.
    pub fn directory(&self) -> &Path {
        match &self.files {
            Files::OfThePlane(path) => path,
            Files::Own(directory) => directory.path(),
        }
    }

    /// Ends a control plane of our own; takes the rights that were given here away from a given cluster.
    pub async fn stop(self) {
        match self.kind {
            Kind::Local(plane) => plane.stop().await,
            Kind::Given { made, .. } => {
                let made = made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                for name in made {
                    let bindings: Api<ClusterRoleBinding> = Api::all(self.admin.client());
                    let _ = bindings.delete(&name, &DeleteParams::default()).await;
                    let roles: Api<ClusterRole> = Api::all(self.admin.client());
                    let _ = roles.delete(&name, &DeleteParams::default()).await;
                }
            }
        }
    }
}

async fn refuse_if_in_use(admin: &UserAccess) -> Result<(), TestClusterError> {
    let client = admin.client();
    let groups = client.list_api_groups().await.map_err(api("list the API groups"))?;
    let Some(group) = groups.groups.into_iter().find(|group| group.name == GROUP) else {
        return Ok(());
    };
    let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else {
        return Ok(());
    };
    let listed = client.list_api_group_resources(&version.group_version).await;
    for resource in listed.map_err(api(format!("list the kinds of {GROUP}")))?.resources {
        let ours = ["StreamClass", "StreamingJobTemplate", "BackfillRequest"].contains(&resource.kind.as_str());
        if !ours || resource.name.contains('/') {
            continue;
        }
        let kind = GroupVersionKind::gvk(GROUP, &version.version, &resource.kind);
        let objects: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, &resource.name));
        let found = objects.list(&ListParams::default().limit(1)).await;
        if let Some(object) = found.map_err(api(format!("list {}", resource.name)))?.items.into_iter().next() {
            return Err(TestClusterError::InUse {
                kubeconfig: admin.kubeconfig().to_owned(),
                kind: resource.kind,
                namespace: object.metadata.namespace.unwrap_or_default(),
                name: object.metadata.name.unwrap_or_default(),
            });
        }
    }
    Ok(())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}
