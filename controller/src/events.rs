//! Events: what a person sees under `kubectl describe`.
//!
//! Nobody who works on a stream waits for one: they are published beside the work, one after the other. Where the API server has
//! all that it can do, they come later and streams go on.

use arcane_common::identity::{ObjectName, Uid};
use arcane_process::leadership::Leadership;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    core::ApiResource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{context::Context, writes::FIELD_MANAGER};

/// The API server takes no longer notes (`NoteLengthLimit`).
const LONGEST_NOTE: usize = 1024;
/// So many may wait to be published; who tells more than these publishes by itself.
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
    /// Publishes until [`Events::end`], and what was told before that.
    pub async fn publish(mut self, client: Client, leadership: Leadership) {
        while let Some(Some(told)) = self.told.recv().await {
            told.publish(&client, &leadership).await;
        }
    }
}

impl Told {
    /// A lost event is only logged.
    async fn publish(self, client: &Client, leadership: &Leadership) {
        if leadership.may_write().is_err() {
            return;
        }
        let Self { regarding, event } = self;
        // A new recorder each time: one that lives on takes two events for one if only their notes differ.
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        if let Err(error) = recorder.publish(&event, &regarding).await {
            let (namespace, name) = (regarding.namespace.unwrap_or_default(), regarding.name.unwrap_or_default());
            tracing::warn!(name = %ObjectName::new(namespace, name), reason = event.reason, %error, "event lost");
        }
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
        // Closed only when the process ends.
        if let Err(TrySendError::Full(Some(told))) = self.events.told.try_send(Some(Told { regarding, event })) {
            told.publish(&self.client, &self.leadership).await;
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
        assert_eq!(*asked.lock().unwrap(), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = shorten("ä".repeat(LONGEST_NOTE));
        assert!(note.len() <= LONGEST_NOTE && note.ends_with("ä..."), "{}", note.len());
    }
}
