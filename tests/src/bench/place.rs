//! Where a run happens: a control plane, kinds of streams with their classes, templates, and who works there.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::Failure;
use crate::control_plane::{ControlPlane, ControlPlaneOptions};
use crate::fixture::{Fixture, FixtureOptions, any_object, definition_of, streams_of};
use crate::kubeconfig::UserAccess;
use crate::kubelet::NODE;
use crate::test_cluster::TestCluster;
use crate::wait::eventually;

/// The group of all kinds here.
pub const GROUP: &str = "streaming.sneaksanddata.com";
/// The namespace of the many streams.
pub const MANY: &str = "bench";
/// The namespace of those that come alone, or while the many are brought up.
pub const FEW: &str = "bench-few";
/// The namespace of the bare loop.
pub const BARE: &str = "bench-bare";

/// Namespace and name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A stream that is to be.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name.
    pub name: Name,
    /// The number of its class.
    pub class: usize,
}

/// A control plane with all that a run needs, but for an operator.
pub struct Place {
    /// Control plane, our definitions, the simulated kubelet.
    pub fixture: Fixture,
    /// How many classes there are.
    pub classes: usize,
}

impl Place {
    /// Starts a control plane, and makes kinds, classes and templates.
    ///
    /// # Errors
    /// When the control plane can't be had, or refuses something.
    pub async fn start(classes: usize) -> Result<Self, Failure> {
        let plane = ControlPlane::start(ControlPlaneOptions::default()).await?;
        let options = FixtureOptions { sample_plugin: false, operator: false, ..FixtureOptions::default() };
        let fixture = Fixture::start_on(TestCluster::local(plane), options).await;
        let place = Self { fixture, classes };
        let definitions = (0..classes).map(|class| definition_of(GROUP, &kind(class), &plural(class), spec_schema()));
        place.fixture.apply(None, &definitions.collect::<Vec<_>>().join("\n---\n")).await;
        for namespace in [MANY, FEW, BARE] {
            place.create(&Api::<Namespace>::all(place.client()), json!({"metadata": {"name": namespace}})).await?;
            for name in ["streaming", "backfill"] {
                place.create_template(namespace, name).await?;
            }
        }
        for class in 0..classes {
            place.fixture.apply(None, &class_of(class).to_string()).await;
        }
        Ok(place)
    }

    /// A client of the admin, who is not audited and whom nobody makes wait.
    pub fn client(&self) -> Client {
        self.fixture.client()
    }

    /// A user who may do everything, and is audited. Like every operator it is a ServiceAccount.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn account(&self, name: &str) -> Result<UserAccess, Failure> {
        let everything = PolicyRule {
            api_groups: Some(vec!["*".into()]),
            resources: Some(vec!["*".into()]),
            verbs: vec!["*".into()],
            ..PolicyRule::default()
        };
        Ok(self.fixture.cluster().service_account_access("bench-operators", name, vec![everything]).await?)
    }

    /// All kinds of streams.
    pub fn kinds(&self) -> Vec<ApiResource> {
        (0..self.classes).map(kind_of).collect()
    }

    /// The plurals of all kinds of streams.
    pub fn plurals(&self) -> Vec<String> {
        (0..self.classes).map(plural).collect()
    }

    /// So many streams in a namespace, class after class.
    pub fn streams(&self, namespace: &str, number: usize) -> Vec<Stream> {
        let stream = |at: usize| Stream {
            name: Name { namespace: namespace.to_owned(), name: format!("s-{at:05}") },
            class: at % self.classes,
        };
        (0..number).map(stream).collect()
    }

    /// Whether the operator has taken up every class.
    ///
    /// # Errors
    /// Which class isn't Ready.
    pub async fn classes_are_ready(&self) -> Result<(), String> {
        let classes: Api<DynamicObject> = Api::all_with(self.client(), &resource("StreamClass", "streamclasses"));
        for class in 0..self.classes {
            let seen = classes.get(&class_name(class)).await.map_err(|error| error.to_string())?;
            if seen.data["status"]["phase"] != "Ready" {
                return Err(format!("{}: {}", seen.name_any(), seen.data["status"]));
            }
        }
        Ok(())
    }

    /// Creates a template. It says what a whole Job would say; its pods are for the simulated node.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_template(&self, namespace: &str, name: &str) -> Result<(), Failure> {
        let templates: Api<DynamicObject> =
            Api::namespaced_with(self.client(), namespace, &resource("StreamingJobTemplate", "streamingjobtemplates"));
        let template = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamingJobTemplate", "metadata": {"name": name},
            "spec": {"metadata": {"labels": {"bench": "true"}}, "spec": job_spec()},
        });
        self.create(&templates, template).await
    }

    /// Waits until the garbage collector knows all kinds of streams: it looks for new ones every half minute.
    ///
    /// # Errors
    /// When it doesn't, in time, or the API server refuses something.
    pub async fn garbage_is_collected(&self) -> Result<(), Failure> {
        let user = User::new(self.client());
        for (at, mut stream) in self.streams(BARE, self.classes).into_iter().enumerate() {
            stream.name.name = format!("garbage-{at}");
            let uid = user.create(&stream).await?;
            let owned = json!({"metadata": {"name": stream.name.name, "ownerReferences": [owner(&stream, &uid)]}});
            self.create(&Api::<ConfigMap>::namespaced(self.client(), BARE), owned).await?;
            user.delete(&stream).await?;
        }
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), BARE);
        eventually(Duration::from_secs(120), "collected garbage", || async {
            let left = maps.list_metadata(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let left = left.items.iter().filter(|map| map.name_any().starts_with("garbage-")).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
        })
        .await?;
        Ok(())
    }

    async fn create<K>(&self, api: &Api<K>, object: Value) -> Result<(), Failure>
    where
        K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.fixture.stop().await;
    }
}

/// What a user does with streams.
#[derive(Clone)]
pub struct User {
    client: Client,
}

impl User {
    /// A user with this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Creates a stream that names these two templates, and gives its UID.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create(&self, stream: &Stream) -> Result<String, kube::Error> {
        let object = serde_json::from_value(manifest(stream)).map_err(kube::Error::SerdeError)?;
        let created = self.api(stream).create(&PostParams::default(), &object).await?;
        Ok(created.uid().unwrap_or_default())
    }

    /// Suspends a stream or lets it go on.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn suspend(&self, stream: &Stream, suspended: bool) -> Result<(), kube::Error> {
        let patch = Patch::Merge(json!({"spec": {"suspended": suspended}}));
        self.api(stream).patch(&stream.name.name, &PatchParams::default(), &patch).await.map(drop)
    }

    /// Deletes a stream; its Jobs go after it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self, stream: &Stream) -> Result<(), kube::Error> {
        self.api(stream).delete(&stream.name.name, &DeleteParams::background()).await.map(drop)
    }

    fn api(&self, stream: &Stream) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &stream.name.namespace, &kind_of(stream.class))
    }
}

/// The manifest of a stream in the flat layout.
pub fn manifest(stream: &Stream) -> Value {
    let template = |name: &str| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "StreamingJobTemplate",
            "name": name, "namespace": stream.name.namespace,
        })
    };
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind(stream.class),
        "metadata": {"name": stream.name.name, "namespace": stream.name.namespace},
        "spec": {
            "source": "mock-source",
            "destination": "mock-destination",
            "suspended": false,
            "jobTemplateRef": template("streaming"),
            "backfillJobTemplateRef": template("backfill"),
        },
    })
}

/// The reference by which a stream controls what was made for it.
pub fn owner(stream: &Stream, uid: &str) -> Value {
    let kind = kind_of(stream.class);
    json!({
        "apiVersion": kind.api_version, "kind": kind.kind, "name": stream.name.name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The spec of every Job.
pub fn job_spec() -> Value {
    json!({
        "backoffLimit": 1,
        "template": {
            "metadata": {"labels": {"bench": "true"}},
            "spec": {
                "nodeName": NODE,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 5,
                "containers": [{
                    "name": "stream",
                    "image": "example.invalid/stream:1",
                    "env": [{"name": "A", "value": "b"}],
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                }],
            },
        },
    })
}

/// The kind of the streams of a class.
pub fn kind_of(class: usize) -> ApiResource {
    resource(&kind(class), &plural(class))
}

/// The kind of BackfillRequests.
pub fn requests() -> ApiResource {
    resource("BackfillRequest", "backfillrequests")
}

/// The name of a class.
pub fn class_name(class: usize) -> String {
    format!("bench-class-{class}")
}

fn kind(class: usize) -> String {
    format!("BenchStream{class}")
}

fn plural(class: usize) -> String {
    format!("benchstream{class}s")
}

/// A kind of our group.
pub fn resource(kind: &str, plural: &str) -> ApiResource {
    streams_of(GROUP, "v1", kind, plural)
}

fn class_of(class: usize) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "StreamClass", "metadata": {"name": class_name(class)},
        "spec": {
            "apiGroupRef": GROUP, "apiVersion": "v1", "kindRef": kind(class), "pluralName": plural(class), "secretRefs": [],
        },
    })
}

fn spec_schema() -> Value {
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "suspended": {"type": "boolean"},
            "source": {"type": "string"},
            "destination": {"type": "string"},
            "jobTemplateRef": any_object(),
            "backfillJobTemplateRef": any_object(),
        },
    })
}
