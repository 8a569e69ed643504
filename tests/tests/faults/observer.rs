//! An observer that nobody cuts off: it watches what is in a namespace, past the proxy, from the very start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arcane_tests::fixture::sample_streams;
use futures::StreamExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Stream,
    Request,
    Job,
    Pod,
}

impl What {
    const ALL: [Self; 4] = [Self::Stream, Self::Request, Self::Job, Self::Pod];

    pub fn resource(self) -> ApiResource {
        let kind =
            |group, kind, plural| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        match self {
            Self::Stream => sample_streams(),
            Self::Request => kind("streaming.sneaksanddata.com", "BackfillRequest", "backfillrequests"),
            Self::Job => kind("batch", "Job", "jobs"),
            Self::Pod => kind("", "Pod", "pods"),
        }
    }
}

/// One state of one object.
#[derive(Clone, Debug)]
pub struct Sight {
    /// When, as etcd counts: one count for all kinds.
    pub revision: u64,
    pub what: What,
    /// Whether it has gone with this.
    pub gone: bool,
    pub object: Value,
    /// The fields of its spec that the controller owns.
    pub owned: Vec<String>,
}

impl Sight {
    pub fn text(&self, pointer: &str) -> &str {
        text(&self.object, pointer)
    }

    pub fn label(&self, name: &str) -> &str {
        self.object["metadata"]["labels"][name].as_str().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.object["metadata"]["annotations"][name].as_str().unwrap_or_default()
    }
}

/// The text at a JSON pointer, "" if there is none.
pub fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a Job or a stream has a condition.
pub fn has_condition(object: &Value, type_: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// Everything that is there now, by kind and name.
pub type Now = BTreeMap<(What, String), Value>;

/// Watches until it is dropped.
pub struct Observer {
    shared: Arc<Shared>,
    _watches: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Seen {
    history: Vec<Sight>,
    now: Now,
    broken: Option<String>,
}

impl Observer {
    /// Starts in a namespace, in which nothing that is watched may be there yet.
    pub async fn start(client: &Client, namespace: &str) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let mut watches = JoinSet::new();
        for what in What::ALL {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &what.resource());
            let listed = api.list(&ListParams::default()).await.map_err(|error| format!("cannot observe: {error}"))?;
            assert!(listed.items.is_empty(), "the observer came too late");
            let from = listed.metadata.resource_version.unwrap_or_default();
            watches.spawn(watch_from(api, what, from, shared.clone()));
        }
        Ok(Self { shared, _watches: watches })
    }

    /// All that was seen so far, in the order in which it happened.
    pub fn history(&self) -> Vec<Sight> {
        let mut history = self.shared.seen().history.clone();
        history.sort_by_key(|sight| sight.revision);
        history
    }

    /// Waits until what is there is as it should be.
    pub async fn until<T>(
        &self,
        deadline: Duration,
        what: &str,
        holds: impl Fn(&Now) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut changed = self.shared.changed.subscribe();
        let mut last = String::new();
        let looking = async {
            loop {
                changed.borrow_and_update();
                let looked = {
                    let seen = self.shared.seen();
                    if let Some(broken) = &seen.broken {
                        return Err(format!("the observer cannot watch: {broken}"));
                    }
                    holds(&seen.now)
                };
                match looked {
                    Ok(value) => return Ok(value),
                    Err(why) => last = why,
                }
                if changed.changed().await.is_err() {
                    return Err("the observer has ended".to_owned());
                }
            }
        };
        match tokio::time::timeout(deadline, looking).await {
            Ok(looked) => looked,
            Err(_) => Err(format!("after {deadline:?} still no {what}: {last}")),
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, what: What, gone: bool, object: DynamicObject) -> String {
        let revision = object.metadata.resource_version.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut object = serde_json::to_value(object).unwrap_or_default();
        let owned = owned_by_controller(&object["metadata"]["managedFields"].take());
        let mut seen = self.seen();
        if gone {
            seen.now.remove(&(what, name));
        } else {
            seen.now.insert((what, name), object.clone());
        }
        seen.history.push(Sight { revision: revision.parse().unwrap_or_default(), what, gone, object, owned });
        drop(seen);
        self.changed.send_replace(());
        revision
    }
}

fn owned_by_controller(managed_fields: &Value) -> Vec<String> {
    let ours = managed_fields.as_array().into_iter().flatten().filter(|entry| entry["manager"] == "arcane-controller");
    let fields = ours.filter_map(|entry| entry["fieldsV1"]["f:spec"].as_object());
    fields.flat_map(|fields| fields.keys().cloned()).collect()
}

async fn watch_from(api: Api<DynamicObject>, what: What, mut from: String, shared: Arc<Shared>) {
    loop {
        let broken = match api.watch(&WatchParams::default(), &from).await {
            Err(error) => error.to_string(),
            Ok(events) => {
                let mut events = std::pin::pin!(events);
                loop {
                    match events.next().await {
                        None => break String::new(), // it ends now and then; the next goes on where this one was
                        Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                            from = shared.see(what, false, object);
                        }
                        Some(Ok(WatchEvent::Deleted(object))) => from = shared.see(what, true, object),
                        Some(Ok(WatchEvent::Bookmark(_))) => {}
                        Some(Ok(WatchEvent::Error(error))) => break error.to_string(),
                        Some(Err(error)) => break error.to_string(),
                    }
                }
            }
        };
        if !broken.is_empty() {
            shared.seen().broken = Some(format!("{what:?}: {broken}"));
            shared.changed.send_replace(());
            return;
        }
    }
}
