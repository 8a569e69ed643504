//! Pods without a node. A simulated kubelet binds pods to a Node that is only an object, brings them to Running, ends them and
//! lets them go, all by their status; the real Job controller and garbage collector do the rest.
//!
//! What a pod does is decided, part by part, by the first of these that says something about it:
//! 1. what a test has said at run time with [`SimulatedKubelet::set`], for a stream and one kind of its pods,
//! 2. the pod's annotation `simulated-kubelet/behaviour`, in the words of [`PodBehaviour::from_str`],
//! 3. the default: pods labelled `arcane/backfilling=true` succeed after 300 ms, all others run for ever; a deleted pod goes
//!    after 100 ms.
//!
//! Only pods bound to the simulated node are ever touched, so it can work on a cluster with real nodes, given a label selector.

mod behaviour;
mod status;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub use behaviour::{BEHAVIOUR_ANNOTATION, BehaviourError, PodBehaviour, PodEnd, PodStart};

/// The name of the Node.
pub const NODE: &str = "simulated-node";

const STREAM_ID: &str = "arcane/stream-id";
const BACKFILLING: &str = "arcane/backfilling";

/// Which pods of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PodKind {
    /// Those labelled `arcane/backfilling=true`.
    Backfill,
    /// All others.
    Streaming,
}

/// How the simulated kubelet works.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// A label selector: which pods it is for. "": all.
    pub pods: String,
    /// What a backfill pod does if nothing else is said.
    pub backfill: PodBehaviour,
    /// What any other pod does if nothing else is said.
    pub streaming: PodBehaviour,
}

impl Default for KubeletOptions {
    fn default() -> Self {
        let terminates = PodBehaviour::terminates_after(Duration::from_millis(100));
        Self {
            pods: String::new(),
            backfill: PodBehaviour::succeeds_after(Duration::from_millis(300)).and(terminates.clone()),
            streaming: PodBehaviour::runs().and(terminates),
        }
    }
}

/// One pod's time of running.
#[derive(Clone, Debug)]
pub struct PodRun {
    /// The namespace.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// The name of its Job, or "".
    pub job: String,
    /// Its label `arcane/stream-id`, or "".
    pub stream_id: String,
    /// Whether it is a backfill.
    pub kind: PodKind,
    /// When its containers were started, just before that was told.
    pub started: std::time::Instant,
    /// When they had ended, just before that was told.
    pub ended: Option<std::time::Instant>,
}

impl PodRun {
    /// Whether both ran at the same time.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.ended.is_some_and(|ended| ended <= b.started);
        !before(self, other) && !before(other, self)
    }
}

/// A running simulated kubelet; it stops when dropped.
pub struct SimulatedKubelet {
    shared: Arc<Shared>,
    task: AbortHandle,
}

type Behaviours = HashMap<(String, String, PodKind), PodBehaviour>;

struct Shared {
    client: Client,
    options: KubeletOptions,
    behaviours: watch::Sender<Behaviours>,
    history: Mutex<Vec<PodRun>>,
    /// So that 400 pods at once don't open 400 connections.
    writes: Semaphore,
}

impl SimulatedKubelet {
    /// Starts for all pods, with the defaults, and makes the Node if there is none.
    pub async fn start(client: Client) -> Result<Self, kube::Error> {
        Self::start_with(client, KubeletOptions::default()).await
    }

    /// The same with options.
    pub async fn start_with(client: Client, options: KubeletOptions) -> Result<Self, kube::Error> {
        ensure_node(&client).await?;
        let shared = Arc::new(Shared {
            client,
            options,
            behaviours: watch::Sender::default(),
            history: Mutex::default(),
            writes: Semaphore::new(32),
        });
        let task = tokio::spawn(watch_pods(shared.clone())).abort_handle();
        Ok(Self { shared, task })
    }

    /// What the pods of a stream do from now on, those that run already included.
    pub fn set(&self, namespace: &str, stream_id: &str, kind: PodKind, behaviour: PodBehaviour) {
        let key = (namespace.to_owned(), stream_id.to_owned(), kind);
        self.shared.behaviours.send_modify(|all| {
            all.insert(key, behaviour);
        });
    }

    /// Takes back what was said with [`Self::set`].
    pub fn unset(&self, namespace: &str, stream_id: &str, kind: PodKind) {
        let key = (namespace.to_owned(), stream_id.to_owned(), kind);
        self.shared.behaviours.send_modify(|all| {
            all.remove(&key);
        });
    }

    /// All pods that have run, in the order in which they were started.
    pub fn history(&self) -> Vec<PodRun> {
        self.shared.history().clone()
    }
}

impl Drop for SimulatedKubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, Vec<PodRun>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behaviour_of(&self, pod: &Pod) -> PodBehaviour {
        let kind = kind_of(pod);
        let key = (pod.namespace().unwrap_or_default(), label(pod, STREAM_ID), kind);
        let said = self.behaviours.borrow().get(&key).cloned().unwrap_or_default();
        let annotated = pod.annotations().get(BEHAVIOUR_ANNOTATION).map(|text| text.parse::<PodBehaviour>());
        let annotated = match annotated {
            Some(Ok(behaviour)) => behaviour,
            Some(Err(error)) => {
                tracing::warn!(pod = pod.name_any(), %error, "the annotation {BEHAVIOUR_ANNOTATION} is not understood");
                PodBehaviour::default()
            }
            None => PodBehaviour::default(),
        };
        let default = match kind {
            PodKind::Backfill => &self.options.backfill,
            PodKind::Streaming => &self.options.streaming,
        };
        said.or(annotated).or(default.clone())
    }
}

fn label(pod: &Pod, name: &str) -> String {
    pod.labels().get(name).cloned().unwrap_or_default()
}

fn kind_of(pod: &Pod) -> PodKind {
    match label(pod, BACKFILLING).as_str() {
        "true" => PodKind::Backfill,
        _ => PodKind::Streaming,
    }
}

async fn ensure_node(client: &Client) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        // A real scheduler, if there is one, is to keep its pods away.
        "spec": {"taints": [{"key": "arcane-tests/simulated", "effect": "NoSchedule"}]},
    });
    let node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match nodes.create(&PostParams::default(), &node).await {
        Err(error) if code(&error) == Some(409) => {}
        created => drop(created?),
    }
    let status = json!({"status": status::of_node()});
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What a pod's task is told: the latest state of the pod, or that it has gone.
type Latest = Option<Arc<Pod>>;

async fn watch_pods(shared: Arc<Shared>) {
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let config = watcher::Config::default().labels(&shared.options.pods);
    let mut events = std::pin::pin!(watch_objects(pods, config).default_backoff());
    let mut tasks = JoinSet::new(); // ends with this task
    let mut known: HashMap<String, watch::Sender<Latest>> = HashMap::new();
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        while tasks.try_join_next().is_some() {}
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.insert(pod.uid().unwrap_or_default());
                see(&shared, &mut known, &mut tasks, pod);
            }
            Ok(Event::InitDone) => known.retain(|uid, latest| {
                let there = listed.contains(uid);
                if !there {
                    latest.send_replace(None);
                }
                there
            }),
            Ok(Event::Apply(pod)) => see(&shared, &mut known, &mut tasks, pod),
            Ok(Event::Delete(pod)) => {
                if let Some(latest) = known.remove(&pod.uid().unwrap_or_default()) {
                    latest.send_replace(None);
                }
            }
            Err(error) => tracing::warn!(%error, "the simulated kubelet cannot watch pods"),
        }
    }
}

fn see(shared: &Arc<Shared>, known: &mut HashMap<String, watch::Sender<Latest>>, tasks: &mut JoinSet<()>, pod: Pod) {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if node.is_some_and(|node| node != NODE) {
        return;
    }
    let uid = pod.uid().unwrap_or_default();
    let pod = Arc::new(pod);
    match known.get(&uid) {
        Some(latest) => drop(latest.send_replace(Some(pod))),
        None => {
            let (latest, seen) = watch::channel(Some(pod.clone()));
            known.insert(uid, latest);
            tasks.spawn(Life::new(shared.clone(), &pod).live(seen));
        }
    }
}

/// One pod, from the first sight to the last.
struct Life {
    shared: Arc<Shared>,
    pods: Api<Pod>,
    name: String,
    uid: String,
    stage: Stage,
    /// When the deletion was noticed.
    terminating: Option<Instant>,
    /// Its place in the history, once it has been started.
    run: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Unbound,
    Bound,
    ImagePullBackOff,
    Running(Instant),
    Ended,
    /// The API server has been told that nothing is left of it; finalizers may still hold the object.
    LetGo,
}

/// What is to be done for a pod, and when.
#[derive(Debug, PartialEq)]
enum Step {
    Bind,
    BackOff,
    Run,
    Succeed,
    Fail { exit_code: i32, message: Option<String> },
    LetGo,
}

impl Life {
    fn new(shared: Arc<Shared>, pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let stage = match status.and_then(|status| status.phase.as_deref()) {
            _ if !bound => Stage::Unbound,
            Some("Running") => Stage::Running(Instant::now()),
            Some("Succeeded" | "Failed") => Stage::Ended,
            _ => Stage::Bound,
        };
        let mut life = Self {
            pods: Api::namespaced(shared.client.clone(), &pod.namespace().unwrap_or_default()),
            shared,
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            stage,
            terminating: None,
            run: None,
        };
        if matches!(stage, Stage::Running(_)) {
            life.record_start(pod);
        }
        life
    }

    async fn live(mut self, mut seen: watch::Receiver<Latest>) {
        let mut behaviours = self.shared.behaviours.subscribe();
        loop {
            behaviours.borrow_and_update();
            let Some(pod) = seen.borrow_and_update().clone() else {
                break self.record_end();
            };
            if pod.metadata.deletion_timestamp.is_some() {
                self.terminating.get_or_insert_with(Instant::now);
            }
            let behaviour = self.shared.behaviour_of(&pod);
            let next = next_step(self.stage, self.terminating, &behaviour, Instant::now());
            if let Some((due, step)) = &next
                && *due <= Instant::now()
            {
                match self.take(step, &pod).await {
                    Ok(()) => continue,
                    Err(error) if code(&error) == Some(404) => break self.record_end(),
                    Err(error) => {
                        // Often a pod that is being deleted at this moment: the next event tells.
                        tracing::debug!(pod = self.name, %error, ?step, "a pod's step failed, once more");
                        tokio::select! {
                            _ = seen.changed() => {}
                            () = tokio::time::sleep(Duration::from_millis(100)) => {}
                        }
                        continue;
                    }
                }
            }
            let due = async {
                match next {
                    Some((due, _)) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = seen.changed() => if changed.is_err() { break self.record_end() },
                _ = behaviours.changed() => {}
                () = due => {}
            }
        }
    }

    async fn take(&mut self, step: &Step, pod: &Pod) -> Result<(), kube::Error> {
        let shared = self.shared.clone();
        let Ok(_turn) = shared.writes.acquire().await else {
            return Ok(());
        };
        match step {
            Step::Bind => {
                self.bind(pod).await?;
                self.stage = Stage::Bound;
            }
            Step::BackOff => {
                self.report(status::image_pull_back_off(pod)).await?;
                self.stage = Stage::ImagePullBackOff;
            }
            Step::Run => {
                self.record_start(pod);
                self.report(status::running(pod)).await?;
                self.stage = Stage::Running(Instant::now());
            }
            Step::Succeed => {
                self.record_end();
                self.report(status::succeeded(pod)).await?;
                self.stage = Stage::Ended;
            }
            Step::Fail { exit_code, message } => {
                self.record_end();
                self.report(status::failed(pod, *exit_code, message.as_deref())).await?;
                self.stage = Stage::Ended;
            }
            Step::LetGo => {
                self.record_end();
                let at_once = DeleteParams {
                    grace_period_seconds: Some(0),
                    preconditions: Some(Preconditions { uid: Some(self.uid.clone()), ..Preconditions::default() }),
                    ..DeleteParams::default()
                };
                match self.pods.delete(&self.name, &at_once).await {
                    Err(error) if code(&error) == Some(409) => {} // another pod of this name: ours has gone
                    deleted => drop(deleted?),
                }
                self.stage = Stage::LetGo;
            }
        }
        Ok(())
    }

    async fn bind(&self, pod: &Pod) -> Result<(), kube::Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": self.name, "namespace": pod.namespace(), "uid": self.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        });
        let _: serde_json::Value =
            self.pods.create_subresource("binding", &self.name, &PostParams::default(), &binding).await?;
        Ok(())
    }

    async fn report(&self, status: serde_json::Value) -> Result<(), kube::Error> {
        // With the uid, so that a new pod of this name doesn't get it.
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        self.pods.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok(())
    }

    fn record_start(&mut self, pod: &Pod) {
        if self.run.is_some() {
            return; // told already, the API server has not heard it
        }
        let mut history = self.shared.history();
        self.run = Some(history.len());
        history.push(PodRun {
            namespace: pod.namespace().unwrap_or_default(),
            pod: self.name.clone(),
            uid: self.uid.clone(),
            job: label(pod, "batch.kubernetes.io/job-name"),
            stream_id: label(pod, STREAM_ID),
            kind: kind_of(pod),
            started: std::time::Instant::now(),
            ended: None,
        });
    }

    fn record_end(&self) {
        let mut history = self.shared.history();
        if let Some(run) = self.run.and_then(|index| history.get_mut(index)) {
            run.ended.get_or_insert_with(std::time::Instant::now);
        }
    }
}

/// What comes next for a pod, and when. Pure.
fn next_step(
    stage: Stage,
    terminating: Option<Instant>,
    behaviour: &PodBehaviour,
    now: Instant,
) -> Option<(Instant, Step)> {
    if let Some(since) = terminating {
        let after = behaviour.terminate_after.unwrap_or_default();
        return match stage {
            Stage::LetGo => None,
            Stage::Unbound | Stage::Bound | Stage::ImagePullBackOff | Stage::Ended => Some((now, Step::LetGo)),
            Stage::Running(_) if behaviour.ends_politely == Some(true) => Some((since + after, Step::Succeed)),
            // 143: by SIGTERM
            Stage::Running(_) => Some((since + after, Step::Fail { exit_code: 143, message: None })),
        };
    }
    match (stage, behaviour.start.unwrap_or(PodStart::Run)) {
        (Stage::Unbound, _) => Some((now, Step::Bind)),
        (Stage::Bound, PodStart::ImagePullBackOff) => Some((now, Step::BackOff)),
        (Stage::Bound | Stage::ImagePullBackOff, PodStart::Run) => Some((now, Step::Run)),
        (Stage::Running(since), _) => match behaviour.end.clone().unwrap_or(PodEnd::Never) {
            PodEnd::Never => None,
            PodEnd::Succeed { after } => Some((since + after, Step::Succeed)),
            PodEnd::Fail { exit_code, after, message } => Some((since + after, Step::Fail { exit_code, message })),
        },
        (Stage::ImagePullBackOff, PodStart::ImagePullBackOff) | (Stage::Ended | Stage::LetGo, _) => None,
    }
}
