//! A namespace with templates, a stream in it, and what its user does; no more than a user would.

use arcane_tests::{Fixture, SimulatedKubelet, TestNamespace};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::observer::{Observer, What};

/// The StreamClass of the sample plugin.
pub const CLASS: &str = "sqlserver-change-tracking-stream";

/// The annotation by which the controller marks what it has written to `spec.completed`.
pub const COMPLETED_WRITTEN: &str = "arcane/completed-written";

/// One namespace, its observer, and its user.
pub struct Place<'a> {
    fixture: &'a Fixture,
    namespace: TestNamespace<'a>,
    pub observer: Observer,
}

impl<'a> Place<'a> {
    /// A fresh namespace.
    pub async fn new(fixture: &'a Fixture, name: &str) -> Result<Self, String> {
        let namespace = fixture.empty_namespace(name).await;
        let observer = Observer::start(&fixture.client(), namespace.name()).await?;
        Ok(Self { fixture, namespace, observer })
    }

    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.fixture.client(), self.name(), resource)
    }

    pub fn streams(&self) -> Api<DynamicObject> {
        self.api(&What::Stream.resource())
    }

    pub fn templates(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate");
        self.api(&ApiResource::from_gvk_with_plural(&kind, "streamingjobtemplates"))
    }

    pub fn kubelet(&self) -> &SimulatedKubelet {
        self.fixture.kubelet()
    }

    /// A template for streaming, `streaming`, and one for backfills, `backfill`, whose Jobs go so long after their end.
    pub async fn create_templates(&self, backfill_ttl: Option<u32>) -> Result<(), String> {
        self.create_streaming_template().await?;
        create(&self.templates(), a_template("backfill", backfill_ttl)).await
    }

    /// The template `streaming` alone.
    pub async fn create_streaming_template(&self) -> Result<(), String> {
        create(&self.templates(), a_template("streaming", None)).await
    }

    pub async fn delete_template(&self, name: &str) -> Result<(), String> {
        delete(&self.templates(), name, &DeleteParams::default()).await
    }

    /// Waits until the controller has looked at both templates. It gives up a request without an answer after a minute.
    pub async fn templates_are_valid(&self) -> Result<(), String> {
        for name in ["streaming", "backfill"] {
            arcane_tests::eventually(2 * crate::SOON, &format!("valid template {name}"), || async {
                let template = self.templates().get(name).await.map_err(|error| error.to_string())?;
                let conditions = template.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let valid = conditions.iter().any(|it| it["type"] == "Valid" && it["status"] == "True");
                if valid { Ok(()) } else { Err(template.data["status"].to_string()) }
            })
            .await
            .map_err(|timeout| timeout.to_string())?;
        }
        Ok(())
    }

    pub async fn create_stream(&self, name: &str, spec: &Value) -> Result<(), String> {
        let stream = json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "SqlServerChangeTrackingStream",
            "metadata": {"name": name}, "spec": spec,
        });
        create(&self.streams(), stream).await
    }

    /// Changes a stream's spec by a merge patch.
    pub async fn change_stream(&self, name: &str, spec: Value) -> Result<(), String> {
        let patch = Patch::Merge(json!({"spec": spec}));
        let patched = self.streams().patch(name, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(|error| format!("cannot change stream {name}: {error}"))
    }

    /// Gives the annotation that asks for a restart a new value.
    pub async fn restart_stream(&self, name: &str, value: &str) -> Result<(), String> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"arcane/restarted-at": value}}}));
        let patched = self.streams().patch(name, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(|error| format!("cannot restart stream {name}: {error}"))
    }

    pub async fn delete_stream(&self, name: &str) -> Result<(), String> {
        delete(&self.streams(), name, &DeleteParams::default()).await
    }

    /// Deletes a Job, as a user who wants it run anew.
    pub async fn delete_job(&self, name: &str) -> Result<(), String> {
        delete(&self.api(&What::Job.resource()), name, &DeleteParams::background()).await
    }

    /// Deletes a BackfillRequest.
    pub async fn withdraw_backfill(&self, name: &str) -> Result<(), String> {
        delete(&self.api(&What::Request.resource()), name, &DeleteParams::default()).await
    }

    pub async fn request_backfill(&self, name: &str, stream: &str) -> Result<(), String> {
        let request = json!({
            "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "BackfillRequest",
            "metadata": {"name": name}, "spec": {"streamClass": CLASS, "streamId": stream, "completed": false},
        });
        create(&self.api(&What::Request.resource()), request).await
    }

    /// Lets it go; what is in it goes on its own time.
    pub async fn leave(self) {
        self.namespace.delete().await;
    }
}

/// The spec of a stream that runs with the templates of [`Place::create_templates`].
pub fn a_spec() -> Value {
    json!({
        "sourceDatabase": "OrdersDB", "sourceTable": "Orders",
        "jobTemplateRef": {"name": "streaming"}, "backfillJobTemplateRef": {"name": "backfill"},
        "secretRef": {"name": "orders-creds"},
    })
}

async fn create(api: &Api<DynamicObject>, object: Value) -> Result<(), String> {
    let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let created = api.create(&PostParams::default(), &object).await;
    created.map(drop).map_err(|error| format!("cannot create {what}: {error}"))
}

async fn delete(api: &Api<DynamicObject>, name: &str, how: &DeleteParams) -> Result<(), String> {
    api.delete(name, how).await.map(drop).map_err(|error| format!("cannot delete {name}: {error}"))
}

/// A template whose Jobs go so long after their end.
fn a_template(name: &str, ttl: Option<u32>) -> Value {
    let mut spec = json!({
        "backoffLimit": 0,
        "template": {"spec": {"containers": [{"name": "stream", "image": "example.com/stream:1"}]}},
    });
    if let Some(ttl) = ttl {
        spec["ttlSecondsAfterFinished"] = json!(ttl);
    }
    json!({
        "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamingJobTemplate",
        "metadata": {"name": name}, "spec": spec,
    })
}
