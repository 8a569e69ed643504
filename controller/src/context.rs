//! What every reconcile has at hand.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arcane_process::leadership::Leadership;
use kube::Client;
use tokio::sync::Notify;

use crate::{caches::Caches, clock::Clock, events::Events, key::Key, metrics::Metrics, work_queue::WorkQueue};

/// What every reconcile has at hand.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have shown.
    pub caches: Mutex<Caches>,
    /// What is to be reconciled.
    pub queue: WorkQueue<Key>,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// The webhook's configuration that classes of other groups wait for, if they do.
    pub webhook_configuration: Option<String>,
    /// Where events are told.
    pub events: Events,
    /// Figures for machines.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Told when classes or CustomResourceDefinitions have changed: the kinds to watch may have, too.
    pub kinds_changed: Notify,
    /// Told when the caches have become complete.
    pub synced: Notify,
}

impl Context {
    /// The caches, locked. Never held across an await.
    pub fn caches(&self) -> MutexGuard<'_, Caches> {
        // A panic elsewhere ends the process anyway; the data is whole, as each event is taken in by plain moves.
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
