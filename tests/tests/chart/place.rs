//! A cluster that helm installs the chart into. The processes of a release run on this machine, with the flags of its
//! Deployments and the rights of its ServiceAccounts, and no others.

use arcane_tests::fixture::SOON;
use arcane_tests::{
    ControlPlane, ControlPlaneOptions, KubeletOptions, OperatorOptions, OperatorProcess, SimulatedKubelet, TestCluster,
    controller_binary, eventually, free_port, webhook_binary,
};
use serde_json::Value;

use crate::world::*;

/// A cluster, and helm in it.
pub struct Place {
    pub cluster: TestCluster,
    _kubelet: SimulatedKubelet,
}

impl Place {
    pub async fn start() -> Self {
        let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
        let cluster = TestCluster::local(plane);
        // The pods of the release itself are made, and stay without a node.
        let of_streams = KubeletOptions { pods: "arcane/stream-id".to_owned(), ..KubeletOptions::default() };
        let kubelet = SimulatedKubelet::start_with(cluster.admin(), of_streams).await.unwrap();
        Self { cluster, _kubelet: kubelet }
    }

    /// Runs helm, and gives whether it succeeded and what it said.
    pub fn helm(&self, arguments: &[&str]) -> (bool, String) {
        let mut helm = tools().command("helm").unwrap();
        let output = helm.args(arguments).env("KUBECONFIG", self.cluster.kubeconfig()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    }

    /// Runs helm, which must succeed.
    pub fn helm_does(&self, arguments: &[&str]) -> String {
        let (success, said) = self.helm(arguments);
        assert!(success, "helm {}: {said}", arguments.join(" "));
        said
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.cluster.kubectl(arguments).await.unwrap();
        assert!(said.status.success(), "kubectl {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said.stdout
    }

    pub async fn apply(&self, name: &str, text: &str) {
        let file = self.cluster.directory().join(name);
        std::fs::write(&file, text).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()]).await;
    }

    /// The object, if it is there.
    pub async fn get(&self, arguments: &[&str]) -> Option<Value> {
        let mut all = vec!["get", "-o", "json", "--ignore-not-found"];
        all.extend(arguments);
        let text = self.kubectl(&all).await;
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// Waits until an object is as it should be.
    pub async fn until(&self, what: &str, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
        eventually(SOON, what, || async {
            let found = self.get(arguments).await.ok_or("there is none")?;
            if holds(&found) { Ok(found) } else { Err(found.to_string()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }

    /// Waits until no such object is there.
    pub async fn until_gone(&self, arguments: &[&str]) {
        let what = format!("end of {}", arguments.join(" "));
        let gone = eventually(SOON, &what, || async {
            match self.get(arguments).await {
                Some(list) if list["items"].as_array().is_some_and(Vec::is_empty) => Ok(()),
                Some(there) => Err(there.to_string()),
                None => Ok(()),
            }
        });
        gone.await.unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    /// A process with the flags of its Deployment, but those that begin like these, and the rights of its ServiceAccount; where
    /// it listens is its own.
    pub async fn process(&self, deployment: &str, elsewhere: &[&str]) -> OperatorOptions {
        let live = self.get(&["deployment", deployment, "-n", "arcane"]).await.unwrap();
        let account = live["spec"]["template"]["spec"]["serviceAccountName"].as_str().unwrap();
        let access = self.cluster.token_access(deployment, "arcane", account).await.unwrap();
        let binary = if deployment.ends_with("webhook") { webhook_binary() } else { controller_binary() };
        let log = self.cluster.directory().join(format!("{deployment}.log"));
        let mut options = OperatorOptions::new(&binary.unwrap(), access.kubeconfig(), &log);
        let elsewhere = [&["--health-addr=", "--metrics-addr=", "--listen="], elsewhere].concat();
        options.arguments = arguments(&live);
        options.arguments.retain(|argument| !elsewhere.iter().any(|flag| argument.starts_with(flag)));
        options.ready_within = Some(SOON);
        options
    }

    pub async fn controller(&self) -> OperatorProcess {
        let options = self.process("arcane-operator", &[]).await;
        OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn webhook(&self) -> OperatorProcess {
        let options = self.webhook_options().await;
        OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The webhook, reached by its URL.
    pub async fn webhook_options(&self) -> OperatorOptions {
        let mut options = self.process("arcane-operator-webhook", &["--service="]).await;
        let port = free_port().unwrap();
        options.arguments.push(format!("--listen=127.0.0.1:{port}"));
        options.arguments.push(format!("--url=https://127.0.0.1:{port}"));
        options
    }

    pub async fn phase(&self, kind: &str, name: &str, phase: &str) -> Value {
        let what = format!("{phase} {kind} {name}");
        self.until(&what, &[kind, name, "-n", "data-streaming"], |it| it["status"]["phase"] == phase).await
    }

    pub async fn patch(&self, kind: &str, name: &str, patch: Value) {
        let patch = patch.to_string();
        self.kubectl(&["patch", kind, name, "-n", "data-streaming", "--type=merge", "-p", &patch]).await;
    }
}
