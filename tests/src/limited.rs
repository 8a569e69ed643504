//! Rights in some namespaces only: Roles there, and a ClusterRole for what is in none.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::{Api, Client};
use serde_json::json;

use crate::fixture::{OPERATOR_NAMESPACE, apply_typed, rules_in};
use crate::kubeconfig::UserAccess;
use crate::test_cluster::{TestCluster, TestClusterError};

/// The chart's rules of a process, divided.
pub struct Rights {
    /// About what is in namespaces.
    pub of_namespaces: Vec<PolicyRule>,
    /// About what is in none; of our group that is StreamClasses alone.
    pub of_cluster: Vec<PolicyRule>,
}

impl Rights {
    /// Those of the controller, or of the webhook.
    pub fn of(who: &str) -> Self {
        const NAMESPACED: [&str; 8] =
            ["*", "*/status", "*/finalizers", "backfillrequests", "jobs", "cronjobs", "pods", "events"];
        let is_namespaced = |rule: &PolicyRule| {
            rule.resources.iter().flatten().next().is_some_and(|resource| NAMESPACED.contains(&resource.as_str()))
        };
        let (of_namespaces, mut of_cluster): (Vec<_>, Vec<_>) =
            rules_in(&format!("{who}-rules.yaml")).into_iter().partition(is_namespaced);
        of_cluster.extend(rules_in(&format!("{who}-class-rules.yaml")));
        Self { of_namespaces, of_cluster }
    }
}

/// A controller's ServiceAccount that may work in these namespaces and nowhere else.
///
/// # Errors
/// When the cluster refuses.
pub async fn controller_in(
    cluster: &TestCluster,
    account: &str,
    namespaces: &[&str],
) -> Result<UserAccess, TestClusterError> {
    let rights = Rights::of("controller");
    let access = cluster.service_account_access(OPERATOR_NAMESPACE, account, rights.of_cluster).await?;
    for namespace in namespaces {
        grant(&cluster.admin(), namespace, account, &rights.of_namespaces).await;
    }
    // Events about what is in no namespace are told in this one.
    let mut events = rights.of_namespaces;
    events.retain(|rule| rule.resources.iter().flatten().any(|resource| resource == "events"));
    grant(&cluster.admin(), "default", account, &events).await;
    Ok(access)
}

/// Gives an account of the operator's namespace these rights in a namespace.
pub(crate) async fn grant(client: &Client, namespace: &str, account: &str, rules: &[PolicyRule]) {
    apply_typed::<Role>(Api::namespaced(client.clone(), namespace), account, json!({"rules": rules})).await;
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": account}],
    });
    apply_typed::<RoleBinding>(Api::namespaced(client.clone(), namespace), account, binding).await;
}
