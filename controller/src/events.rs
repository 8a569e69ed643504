//! Events: what a person sees under `kubectl describe`.

use arcane_common::identity::{ObjectName, Uid};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    core::ApiResource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{context::Context, writes::FIELD_MANAGER};

/// The API server takes no longer notes (`NoteLengthLimit`).
const LONGEST_NOTE: usize = 1024;

impl Context {
    /// Tells of an object: a stable CamelCase reason and a sentence. A lost event is only logged.
    pub async fn tell(
        &self,
        resource: &ApiResource,
        name: &ObjectName,
        uid: &Uid,
        (reason, note, warning): (&str, String, bool),
    ) {
        if self.leadership.may_write().is_err() {
            return;
        }
        let regarding = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some(name.name.clone()),
            namespace: (!name.namespace.is_empty()).then(|| name.namespace.clone()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(shorten(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A new recorder each time: one that lives on takes two events for one if only their notes differ.
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        let recorder = Recorder::new(self.client.clone(), reporter);
        if let Err(error) = recorder.publish(&event, &regarding).await {
            tracing::warn!(%name, reason, %error, "event lost");
        }
    }
}

fn shorten(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let mut end = LONGEST_NOTE - 3;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str("...");
    }
    note
}
