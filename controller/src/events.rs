//! Events: what a person sees under `kubectl describe`.
//!
//! Nobody who works on a stream waits for one: they are published beside the work, in their order.

use arcane_common::identity::{ObjectName, Uid};
use arcane_process::leadership::Leadership;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    core::ApiResource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

use crate::{context::Context, writes::FIELD_MANAGER};

/// The API server takes no longer notes (`NoteLengthLimit`).
const LONGEST_NOTE: usize = 1024;
/// So many are on their way to the API server at a time; what streams need goes before.
const AT_A_TIME: usize = 2;
/// So many wait for that; who tells more than these waits.
const WAITING: usize = 4096;

/// Where events are told.
#[derive(Clone)]
pub struct Events {
    told: mpsc::Sender<Option<Told>>,
}

/// Brings the events that were told to the API server.
pub struct Publisher {
    told: mpsc::Receiver<Option<Told>>,
}

struct Told {
    regarding: ObjectReference,
    event: Event,
}

impl Events {
    /// Nothing is told yet.
    pub fn new() -> (Self, Publisher) {
        let (to, from) = mpsc::channel(WAITING);
        (Self { told: to }, Publisher { told: from })
    }

    /// Nothing more will be told.
    pub async fn end(&self) {
        let _ = self.told.send(None).await;
    }
}

impl Publisher {
    /// Publishes until [`Events::end`], and what was told before that. A lost event is only logged.
    pub async fn publish(self, client: Client, leadership: Leadership) {
        let told = stream::unfold(self.told, |mut told| async { told.recv().await.flatten().map(|one| (one, told)) });
        told.for_each_concurrent(AT_A_TIME, |Told { regarding, event }| {
            // A new recorder each time: one that lives on takes two events for one if only their notes differ.
            let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
            let recorder = Recorder::new(client.clone(), reporter);
            let leadership = &leadership;
            async move {
                if leadership.may_write().is_err() {
                    return;
                }
                if let Err(error) = recorder.publish(&event, &regarding).await {
                    let name = ObjectName::new(
                        regarding.namespace.as_deref().unwrap_or_default(),
                        regarding.name.as_deref().unwrap_or_default(),
                    );
                    tracing::warn!(%name, reason = event.reason, %error, "event lost");
                }
            }
        })
        .await;
    }
}

impl Context {
    /// Tells of an object: a stable CamelCase reason and a sentence.
    pub async fn tell(
        &self,
        resource: &ApiResource,
        name: &ObjectName,
        uid: &Uid,
        (reason, note, warning): (&str, String, bool),
    ) {
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
        // It fails only when the process ends.
        let _ = self.events.told.send(Some(Told { regarding, event })).await;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Bytes, http::StatusCode};

    use super::*;

    fn told(reason: &str) -> Option<Told> {
        let event = Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: None,
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference { namespace: Some("team".to_owned()), ..ObjectReference::default() };
        Some(Told { regarding, event })
    }

    #[tokio::test]
    async fn all_that_was_told_before_the_end_is_published_though_one_is_refused() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Arc::clone(&asked);
        let router = Router::new().fallback(async move |body: Bytes| {
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let reason = event["reason"].as_str().unwrap().to_owned();
            let code = if reason == "b" { StatusCode::FORBIDDEN } else { StatusCode::CREATED };
            server.lock().unwrap().push(reason);
            (code, body)
        });
        let (events, publisher) = Events::new();
        for reason in ["a", "b", "c", "d", "e"] {
            events.told.send(told(reason)).await.unwrap();
        }
        events.end().await;
        publisher.publish(Client::new(router, "team"), Leadership::always()).await;
        let mut asked = asked.lock().unwrap().clone();
        asked.sort();
        assert_eq!(asked, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = shorten("ä".repeat(LONGEST_NOTE));
        assert!(note.len() <= LONGEST_NOTE && note.ends_with("ä..."), "{}", note.len());
    }
}
