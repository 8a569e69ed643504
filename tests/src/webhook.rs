//! The webhook as a process on this machine, registered by its URL, with the rights of the chart and no others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arcane_common::api::well_known;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::{Api, Client};
use serde_json::json;

use crate::control_plane::free_port;
use crate::fixture::{OPERATOR_NAMESPACE, SOON, aggregate, rules_in};
use crate::kubeconfig::UserAccess;
use crate::limited::{self, Rights};
use crate::operator::{OperatorOptions, OperatorProcess, webhook_binary};
use crate::test_cluster::TestCluster;
use crate::wait::eventually;

/// The ServiceAccount of the webhook, and the name of all that it owns but its Secret.
pub const WEBHOOK: &str = "arcane-operator-webhook";
/// The Secret of its certificate authority.
pub const SECRET: &str = "arcane-operator-webhook-ca";

/// Who the webhook is in a cluster, and where the API server reaches it.
pub struct WebhookAccess {
    access: UserAccess,
    client: Client,
    directory: PathBuf,
    /// Where the API server calls: a replica, or something before several of them.
    pub port: u16,
}

impl WebhookAccess {
    /// Gives the chart's rights to the chart's ServiceAccount.
    pub async fn in_cluster(cluster: &TestCluster) -> Self {
        Self::with_rules(cluster, rules_in("webhook-rules.yaml")).await
    }

    /// The same, but for what it reads of these namespaces, and of no others.
    pub async fn limited_to(cluster: &TestCluster, namespaces: &[&str]) -> Self {
        let rights = Rights::of("webhook");
        let webhook = Self::with_rules(cluster, rights.of_cluster).await;
        for namespace in namespaces {
            limited::grant(&cluster.admin(), namespace, WEBHOOK, &rights.of_namespaces).await;
        }
        webhook
    }

    async fn with_rules(cluster: &TestCluster, rules: Vec<PolicyRule>) -> Self {
        // Cluster-wide rights are named like the account; so they can own the registration, as they do in the chart.
        let access = cluster.service_account_access_named(WEBHOOK, OPERATOR_NAMESPACE, WEBHOOK, rules).await;
        let access = access.unwrap_or_else(|error| panic!("{error}"));
        let client = cluster.admin();
        let own = cluster.grant_in_own_namespace(OPERATOR_NAMESPACE, WEBHOOK, rules_in("webhook-own-rules.yaml")).await;
        own.unwrap_or_else(|error| panic!("{error}"));
        // Plugins of other groups let it read their streams.
        let subject = json!({"kind": "ServiceAccount", "namespace": OPERATOR_NAMESPACE, "name": WEBHOOK});
        aggregate(&client, &format!("{WEBHOOK}-plugins"), well_known::LABEL_AGGREGATE_TO_WEBHOOK, subject).await;
        let port = free_port().unwrap_or_else(|error| panic!("no free port: {error}"));
        Self { access, client, directory: cluster.directory().to_owned(), port }
    }

    /// The name by which the API server knows it.
    pub fn name(&self) -> &str {
        self.access.name()
    }

    /// How a replica is started that listens on this port; its log is a file of this name.
    pub fn options(&self, listen: u16, log: &str) -> OperatorOptions {
        let binary = webhook_binary().unwrap_or_else(|error| panic!("{error}"));
        let mut options = OperatorOptions::new(&binary, self.access.kubeconfig(), &self.directory.join(log));
        options.arguments = vec![
            format!("--listen=127.0.0.1:{listen}"),
            format!("--url=https://127.0.0.1:{}", self.port),
            format!("--own-namespace={OPERATOR_NAMESPACE}"),
            format!("--owner-cluster-role={WEBHOOK}"),
        ];
        options.environment = vec![("RUST_LOG".to_owned(), "info,arcane_webhook=debug,kube=warn".to_owned())];
        options.ready_within = Some(SOON);
        options
    }

    /// Starts the only replica, and returns when the API server has it registered.
    pub async fn start(&self) -> OperatorProcess {
        self.start_with(self.options(self.port, "webhook.log")).await
    }

    /// The same, with other options.
    pub async fn start_with(&self, options: OperatorOptions) -> OperatorProcess {
        let process = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        self.registered(|_, _| Ok(())).await;
        process
    }

    /// Waits until both configurations are there, and as they should be.
    pub async fn registered(
        &self,
        holds: impl Fn(&ValidatingWebhookConfiguration, &MutatingWebhookConfiguration) -> Result<(), String>,
    ) {
        eventually(SOON, "registered webhook", || async {
            let (validating, mutating) = self.configurations().await;
            let validating = validating.ok_or("no ValidatingWebhookConfiguration")?;
            let mutating = mutating.ok_or("no MutatingWebhookConfiguration")?;
            let called = |bundle: bool| if bundle { Ok(()) } else { Err("an entry without a bundle".to_owned()) };
            called(validating.webhooks.iter().flatten().all(|entry| entry.client_config.ca_bundle.is_some()))?;
            called(mutating.webhooks.iter().flatten().all(|entry| entry.client_config.ca_bundle.is_some()))?;
            holds(&validating, &mutating)
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}; the end of the log:\n{}", self.log_tail()));
    }

    /// Both configurations, as they are.
    pub async fn configurations(
        &self,
    ) -> (Option<ValidatingWebhookConfiguration>, Option<MutatingWebhookConfiguration>) {
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let (validating, mutating) = tokio::join!(validating.get_opt(WEBHOOK), mutating.get_opt(WEBHOOK));
        (validating.unwrap_or_else(|e| panic!("{e}")), mutating.unwrap_or_else(|e| panic!("{e}")))
    }

    /// Ends a replica with SIGTERM.
    pub async fn end(process: OperatorProcess) {
        let status = process.terminate(Duration::from_secs(30)).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(status, 0, "the webhook ends cleanly");
    }

    /// The end of the log of the one that logs to `webhook.log`.
    pub fn log_tail(&self) -> String {
        crate::supervisor::tail(Path::new(&self.directory.join("webhook.log")), 30)
    }
}
