//! What the story needs around it: a cluster, our CRDs, the sample plugin, the controller, somebody to run the pods. And that
//! all of it goes away again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arcane_common::api;
use arcane_tests::binaries::Binaries;
use arcane_tests::kubelet::NODE;
use arcane_tests::supervisor::{Program, Supervisor, tail};
use arcane_tests::test_cluster::KUBECONFIG_VARIABLE;
use arcane_tests::webhook::WEBHOOK;
use arcane_tests::{
    ControlPlaneOptions, KubeletOptions, OperatorOptions, OperatorProcess, PodBehaviour, SimulatedKubelet, TestCluster,
    UserAccess, WebhookAccess, controller_binary, eventually, webhook_binary,
};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use crate::screen::{Screen, Unseen};
use crate::seen::NAMESPACE;

/// Where the controller lives, as the chart has it.
const CONTROLLER: (&str, &str) = ("arcane", "arcane-operator");
const RULES: &str = "charts/arcane-operator/files/controller-rules.yaml";
const PLUGIN_DEFINITION: &str = "examples/sample-plugin/crd.yaml";
const PLUGIN_CLASS: &str = "examples/sample-plugin/stream-class.yaml";
const CLASS: &str = "sqlserver-change-tracking-stream";
const GARBAGE_COLLECTOR: &str = "garbage-collector-controller";
const SOON: Duration = Duration::from_secs(30);

/// The cluster and what was put into it.
pub struct Stage {
    /// The cluster.
    pub cluster: TestCluster,
    kubelet: Option<SimulatedKubelet>,
    collector: Option<Supervisor>,
    controller: Option<OperatorProcess>,
    webhook: Option<OperatorProcess>,
    access: Option<UserAccess>,
    log: PathBuf,
    /// In the order in which it was made. Only what wasn't there before.
    made: Vec<Made>,
}

/// Something to be taken away from a cluster that stays.
enum Made {
    Node(&'static str),
    Definition(String),
    Class(&'static str),
    Namespace(&'static str),
}

/// Anything that goes wrong on the way.
type Trouble = Box<dyn std::error::Error>;

impl Stage {
    /// A cluster with nothing of ours in it yet.
    pub async fn open(screen: &Screen) -> Result<Self, Unseen> {
        // Before anything else, because it is told at once.
        let built = controller_binary().and_then(|_| webhook_binary()).map(drop);
        built.map_err(|error| unseen("a controller and a webhook that are built", error))?;
        let given = std::env::var(KUBECONFIG_VARIABLE).ok().filter(|path| !path.is_empty());
        let label = match &given {
            Some(path) => format!("the cluster of {KUBECONFIG_VARIABLE}={path}"),
            None => {
                // Before there is a spinner: the first time it takes minutes, and tells so itself.
                let found = Binaries::obtain().await.map(drop);
                found.map_err(|error| unseen("the binaries of a control plane", error))?;
                "control plane on this machine: etcd, kube-apiserver, kube-controller-manager".to_owned()
            }
        };
        let options = ControlPlaneOptions {
            controller_manager_arguments: vec![format!("--controllers=-{GARBAGE_COLLECTOR}")], // comes later
            ..ControlPlaneOptions::default()
        };
        let cluster = screen.check(&label, TestCluster::obtain_with(options)).await?;
        let log = cluster.directory().join("controller.log");
        Ok(Self {
            cluster,
            kubelet: None,
            collector: None,
            controller: None,
            webhook: None,
            access: None,
            log,
            made: Vec::new(),
        })
    }

    /// The simulated kubelet.
    pub fn kubelet(&self) -> &SimulatedKubelet {
        self.kubelet.as_ref().expect("the stage is set up before the story is told")
    }

    /// Everything up to a controller at work.
    pub async fn set_up(&mut self, screen: &Screen) -> Result<(), Unseen> {
        screen
            .check("the kinds of Arcane: StreamClass, StreamingJobTemplate, BackfillRequest", self.install_kinds())
            .await?;
        screen
            .check("a sample plugin: kind SqlServerChangeTrackingStream, its StreamClass", self.install_plugin())
            .await?;
        self.start_garbage_collector().await.map_err(|error| unseen("a garbage collector", error))?;
        let nodes = Api::<Node>::all(self.cluster.admin()).list(&ListParams::default()).await;
        let nodes = nodes.map_err(|error| unseen("a list of the nodes", error))?;
        if nodes.items.iter().any(|node| node.name_any() != NODE) {
            screen.aside("(the cluster has nodes of its own: should its scheduler give them the pods, the demo fails)");
        }
        screen.check("a simulated kubelet: backfill pods end well, others run on", self.start_kubelet()).await?;
        if self.cluster.control_plane().is_some() {
            screen.check("the webhook: its own certificate, registered by itself", self.start_webhook()).await?;
        } else {
            screen.aside("(no webhook: the API server of this cluster may not reach this machine)");
        }
        let label =
            format!("the controller, with the rights of the chart and no others ({}/{})", CONTROLLER.0, CONTROLLER.1);
        screen.check(&label, self.start_controller()).await?;
        let cluster = &self.cluster;
        let ready = eventually(SOON, "StreamClass that is ready", || async {
            let said = cluster.kubectl(&["get", "streamclass", CLASS, "-o", "jsonpath={.status.phase}"]).await;
            match said.map_err(|error| error.to_string())?.stdout {
                phase if phase == "Ready" => Ok(()),
                phase => Err(format!("phase {phase:?}")),
            }
        });
        screen.check("the controller has taken up the plugin: its StreamClass is Ready", ready).await
    }

    async fn install_kinds(&mut self) -> Result<(), Trouble> {
        for definition in api::crds() {
            self.define(definition).await?;
        }
        Ok(())
    }

    async fn install_plugin(&mut self) -> Result<(), Trouble> {
        if exists::<Namespace>(&self.cluster, NAMESPACE).await? {
            return Err(format!("the cluster has a namespace {NAMESPACE}, which this run did not make").into());
        }
        let definition = serde_saphyr::from_str(&std::fs::read_to_string(PLUGIN_DEFINITION)?)?;
        self.define(definition).await?;
        self.made.push(Made::Class(CLASS));
        // The API server takes a moment until it serves a kind.
        let cluster = &self.cluster;
        eventually(SOON, "StreamClass", || async { kubectl(cluster, &["apply", "-f", PLUGIN_CLASS]).await.map(drop) })
            .await?;
        self.made.push(Made::Namespace(NAMESPACE));
        kubectl(&self.cluster, &["create", "namespace", NAMESPACE]).await?;
        Ok(())
    }

    /// Creates a kind, unless it is there: then it is somebody's, and stays as it is.
    async fn define(&mut self, definition: CustomResourceDefinition) -> Result<(), Trouble> {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let definitions: Api<CustomResourceDefinition> = Api::all(self.cluster.admin());
        if definitions.get_opt(&name).await?.is_none() {
            self.made.push(Made::Definition(name.clone()));
            definitions.create(&PostParams::default(), &definition).await?;
        }
        let served = eventually(SOON, "served kind", || async {
            let found = definitions.get(&name).await.map_err(|error| error.to_string())?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            let served =
                conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True");
            if served { Ok(()) } else { Err(format!("{name} is not established")) }
        });
        Ok(served.await?)
    }

    /// The garbage collector asks for new kinds once in 30 s, and until then a deleted stream's Jobs stay. Nobody wants to watch
    /// that: of a control plane of our own it runs in a process of its own, started when the kinds are there.
    async fn start_garbage_collector(&mut self) -> Result<(), Trouble> {
        if self.cluster.control_plane().is_none() {
            return Ok(());
        }
        let supervisor = Supervisor::start("arcane-garbage-collector-")?;
        let program = Program {
            path: Binaries::obtain().await?.path("kube-controller-manager"),
            arguments: vec![
                format!("--kubeconfig={}", self.cluster.kubeconfig().display()),
                format!("--controllers={GARBAGE_COLLECTOR}"),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
            ],
            environment: vec![("HOME".into(), supervisor.directory().display().to_string())],
            log: None,
        };
        supervisor.run(GARBAGE_COLLECTOR, &program)?;
        self.collector = Some(supervisor);
        Ok(())
    }

    async fn start_kubelet(&mut self) -> Result<(), Trouble> {
        if !exists::<Node>(&self.cluster, NODE).await? {
            self.made.push(Made::Node(NODE));
        }
        let mut options = KubeletOptions::default();
        options.backfill = PodBehaviour::succeeds_after(Duration::from_secs(1)).and(options.backfill);
        if self.cluster.control_plane().is_none() {
            options.pods = api::well_known::LABEL_STREAM_ID.to_owned(); // whoever has it
        }
        self.kubelet = Some(SimulatedKubelet::start_with(self.cluster.admin(), options).await?);
        Ok(())
    }

    /// Starts the controller with the rights of the chart.
    pub async fn start_controller(&mut self) -> Result<(), Trouble> {
        let access = match &self.access {
            Some(access) => access,
            None => {
                let (namespace, name) = CONTROLLER;
                if !exists::<Namespace>(&self.cluster, namespace).await? {
                    self.made.push(Made::Namespace(namespace));
                }
                let access = self.cluster.service_account_access(namespace, name, rules()?).await?;
                self.access.insert(access)
            }
        };
        let mut options = OperatorOptions::new(&controller_binary()?, access.kubeconfig(), &self.log);
        // It is the only one. With an election, one that is killed is waited for until its lease has run out, for 15 s.
        options.arguments = vec!["--leader-election=false".into(), "--log-format=text".into()];
        if self.webhook.is_some() {
            options.arguments.push(format!("--webhook-configuration={WEBHOOK}"));
        }
        self.controller = Some(OperatorProcess::start(options).await?);
        Ok(())
    }

    /// Starts the webhook with the rights of the chart, registered by its URL.
    async fn start_webhook(&mut self) -> Result<(), Trouble> {
        let webhook = WebhookAccess::in_cluster(&self.cluster).await;
        self.webhook = Some(webhook.start().await);
        // The API server hears of it a moment later.
        let cluster = &self.cluster;
        let judged = eventually(SOON, "judgement of the webhook", || async {
            match kubectl(cluster, &["create", "--dry-run=server", "-f", "examples/short-stream.yaml"]).await {
                Err(refused) if refused.contains("there is no StreamingJobTemplate") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        Ok(judged.await?)
    }

    /// Whether what is applied is judged by the webhook.
    pub fn has_webhook(&self) -> bool {
        self.webhook.is_some()
    }

    /// Kills the controller with SIGKILL.
    pub async fn kill_controller(&mut self) -> Result<(), Trouble> {
        match self.controller.take() {
            Some(controller) => Ok(controller.kill().await?),
            None => Err("no controller is running".into()),
        }
    }

    /// The file that the controller logs to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of what the controller has logged.
    pub fn log_tail(&self) -> String {
        tail(&self.log, 25)
    }

    /// Takes away everything that was made, and ends everything that runs. What can't be taken away is told.
    pub async fn clear(self) -> Result<(), String> {
        let Self { cluster, kubelet, collector, controller, webhook, access: _, log: _, made } = self;
        if let Some(controller) = controller {
            let _ = controller.terminate(Duration::from_secs(5)).await; // else it is killed
        }
        if let Some(webhook) = webhook {
            let _ = webhook.terminate(Duration::from_secs(5)).await;
        }
        let mut left = Vec::new();
        if cluster.control_plane().is_none() {
            for made in made.iter().rev() {
                let (what, gone) = match made {
                    Made::Node(name) => (format!("node {name}"), remove::<Node>(&cluster, name).await),
                    Made::Namespace(name) => (format!("namespace {name}"), remove::<Namespace>(&cluster, name).await),
                    Made::Class(name) => (format!("streamclass {name}"), remove_class(&cluster, name).await),
                    Made::Definition(name) => {
                        (format!("crd {name}"), remove::<CustomResourceDefinition>(&cluster, name).await)
                    }
                };
                if let Err(why) = gone {
                    left.push(format!("{what}: {why}"));
                }
            }
        }
        drop(kubelet); // until here it has let the pods go
        if let Some(collector) = collector {
            collector.stop().await;
        }
        cluster.stop().await;
        if left.is_empty() { Ok(()) } else { Err(format!("could not be removed:\n  {}", left.join("\n  "))) }
    }
}

/// The rules of the chart's ClusterRole.
fn rules() -> Result<Vec<PolicyRule>, Trouble> {
    let rules: serde_json::Value = serde_saphyr::from_str(&std::fs::read_to_string(RULES)?)?;
    Ok(Vec::deserialize(rules)?)
}

/// What kubectl prints, warnings first, or what it complains of.
pub async fn kubectl(cluster: &TestCluster, arguments: &[&str]) -> Result<String, String> {
    let said = cluster.kubectl(arguments).await.map_err(|error| error.to_string())?;
    if said.status.success() { Ok(said.stderr + &said.stdout) } else { Err(said.stderr.trim().to_owned()) }
}

/// That something is to be there, and what came in its place.
pub fn unseen(expected: &str, seen: impl std::fmt::Display) -> Unseen {
    Unseen { expected: expected.to_owned(), seen: seen.to_string() }
}

async fn exists<K>(cluster: &TestCluster, name: &str) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    Ok(Api::<K>::all(cluster.admin()).get_opt(name).await?.is_some())
}

/// Deletes an object, and returns when it has gone.
async fn remove<K>(cluster: &TestCluster, name: &str) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let objects: Api<K> = Api::all(cluster.admin());
    match objects.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        deleted => drop(deleted.map_err(|error| error.to_string())?),
    }
    let gone = eventually(2 * SOON, "end of it", || async {
        match objects.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is being deleted".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    gone.await.map_err(|timeout| timeout.to_string())
}

async fn remove_class(cluster: &TestCluster, name: &str) -> Result<(), String> {
    kubectl(cluster, &["delete", "streamclass", name, "--ignore-not-found"]).await.map(drop)
}
