//! The bare loop: the writes that a stream's life takes, in their order, by a client that decides nothing and looks up nothing.
//!
//! It is the yardstick: what the API server, etcd and the Job controller allow on this machine, in this run. At most
//! [`IN_PARALLEL`] of its requests are on their way at a time. It tells no events.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::observer::Observer;
use super::place::{GROUP, Stream, class_name, job_spec, kind_of, owner, requests};

/// How many requests of the bare loop, and as many of its users, are on their way at a time.
pub const IN_PARALLEL: usize = 16;

/// Who looks after streams without thinking.
pub struct BareLoop {
    client: Client,
    observer: Arc<Observer>,
    turns: Semaphore,
}

type Done<T = ()> = Result<T, kube::Error>;

impl BareLoop {
    /// A loop with this client, which learns from the observer when Jobs have ended.
    pub fn new(client: Client, observer: Arc<Observer>) -> Self {
        Self { client, observer, turns: Semaphore::new(IN_PARALLEL) }
    }

    /// From a stream that was created to one that runs: request, status, Job, the request's status twice, its `completed`,
    /// status, Job.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn bring_up(&self, stream: &Stream, uid: &str) -> Done {
        let name = &stream.name;
        let (request, backfill) = (format!("{}-initial-backfill", name.name), format!("{}-backfill", name.name));
        let api = self.requests(stream);
        let object = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "BackfillRequest",
            "metadata": {"name": request, "ownerReferences": [owner(stream, uid)]},
            "spec": {"streamClass": class_name(stream.class), "streamId": name.name, "completed": false},
        });
        self.create(&api, object).await?;
        self.status(&self.streams(stream), &name.name, status(stream, "Backfilling", &backfill)).await?;
        self.create(&self.jobs(stream), job(stream, uid, &backfill, true)).await?;
        self.status(&api, &request, status(stream, "Running", &backfill)).await?;
        self.observer.until(name, |sight| sight.backfilled.is_some()).await;
        self.status(&api, &request, status(stream, "Completed", &backfill)).await?;
        let completed = json!({
            "metadata": {"annotations": {"arcane/completed-written": "true"}}, "spec": {"completed": true},
        });
        self.turn(async || api.patch(&request, &PatchParams::default(), &Patch::Merge(completed)).await.map(drop))
            .await?;
        self.run(stream, uid).await
    }

    /// Lets a stream run: status, Job.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn run(&self, stream: &Stream, uid: &str) -> Done {
        let name = &stream.name.name;
        self.status(&self.streams(stream), name, status(stream, "Running", name)).await?;
        self.create(&self.jobs(stream), job(stream, uid, name, false)).await
    }

    /// Stops a stream: its Job, and when that has gone its status.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn stop(&self, stream: &Stream) -> Done {
        let name = &stream.name.name;
        let jobs = self.jobs(stream);
        self.turn(async || jobs.delete(name, &DeleteParams::foreground()).await.map(drop)).await?;
        self.observer.until(&stream.name, |sight| sight.jobs.values().all(|job| job.backfill)).await;
        self.status(&self.streams(stream), name, status(stream, "Suspended", name)).await
    }

    async fn create<K>(&self, api: &Api<K>, object: Value) -> Done
    where
        K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        self.turn(async || api.create(&PostParams::default(), &object).await.map(drop)).await
    }

    async fn status(&self, api: &Api<DynamicObject>, name: &str, status: Value) -> Done {
        let patch = Patch::Merge(json!({"status": status}));
        self.turn(async || api.patch_status(name, &PatchParams::default(), &patch).await.map(drop)).await
    }

    async fn turn<T>(&self, request: impl AsyncFnOnce() -> Done<T>) -> Done<T> {
        let _turn: Option<SemaphorePermit<'_>> = self.turns.acquire().await.ok();
        request().await
    }

    fn streams(&self, stream: &Stream) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &stream.name.namespace, &kind_of(stream.class))
    }

    fn requests(&self, stream: &Stream) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &stream.name.namespace, &requests())
    }

    fn jobs(&self, stream: &Stream) -> Api<DynamicObject> {
        let job = kube::core::ApiResource::erase::<Job>(&());
        Api::namespaced_with(self.client.clone(), &stream.name.namespace, &job)
    }
}

/// As much as an operator would say.
fn status(stream: &Stream, phase: &str, job: &str) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": phase, "message": format!("Job {job} is in place"),
            "observedGeneration": 1, "lastTransitionTime": Timestamp::now().to_string(),
        })
    };
    json!({
        "phase": phase,
        "jobName": job,
        "streamClass": class_name(stream.class),
        "configurationHash": "9b8cd8d2b3246514af4f9b8cd8d2b324",
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True"), condition("Reconciling", "False"), condition("Stalled", "False")],
    })
}

fn job(stream: &Stream, uid: &str, name: &str, backfill: bool) -> Value {
    let id = &stream.name.name;
    let labels = json!({
        "stream-id": id, "arcane/stream-id": id, "arcane/stream-kind": kind_of(stream.class).kind,
        "arcane/backfilling": backfill.to_string(), "app.kubernetes.io/managed-by": "arcane-bench", "bench": "true",
    });
    let mut spec = job_spec();
    spec["template"]["metadata"]["labels"] = labels.clone();
    let spec_text = json!({"source": "mock-source", "destination": "mock-destination"}).to_string();
    spec["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "STREAMCONTEXT__STREAM_ID", "value": id},
        {"name": "STREAMCONTEXT__STREAM_KIND", "value": kind_of(stream.class).kind},
        {"name": "STREAMCONTEXT__BACKFILL", "value": backfill.to_string()},
        {"name": "STREAMCONTEXT__SPEC", "value": spec_text},
        {"name": "A", "value": "b"},
    ]);
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "labels": labels, "ownerReferences": [owner(stream, uid)],
            "annotations": {
                "configuration-hash": "9b8cd8d2b3246514af4f9b8cd8d2b324",
                "arcane/stream-generation": "1",
                "arcane/stream-class": class_name(stream.class),
                "arcane/template": format!("{}/streaming", stream.name.namespace),
                "arcane/template-hash": "9b8cd8d2b3246514af4f9b8cd8d2b324",
            },
        },
        "spec": spec,
    })
}
