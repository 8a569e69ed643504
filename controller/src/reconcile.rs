//! Takes keys off the queue and reconciles them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arcane_process::ending::with_causes;

use crate::{
    backfill_request, context::Context, key::Key, metrics::Outcome, stream, stream_class, template, writes::WriteError,
};

/// When something is to be looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When a watch shows a change.
    Change,
    /// After this time, or when a watch shows a change.
    After(Duration),
}

/// Works off the queue until it is closed.
pub async fn work(context: Arc<Context>) {
    while let Some(key) = context.queue.next().await {
        let started = Instant::now();
        let result = reconcile(&context, &key).await;
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            Err(error) if error.is_conflict() => Outcome::Conflict,
            Err(_) => Outcome::Failure,
        };
        context.metrics.reconciled(key.kind(), outcome, started.elapsed());
        match result {
            Ok(next) => {
                context.queue.forget(&key);
                if let Next::After(wait) = next {
                    context.queue.add_after(key.clone(), wait);
                }
            }
            Err(error) => {
                let retry = context.queue.failed(&key);
                tracing::warn!(%key, error = with_causes(&error), ?retry, "reconcile failed");
            }
        }
        context.queue.done(&key);
    }
}

async fn reconcile(context: &Context, key: &Key) -> Result<Next, WriteError> {
    match key {
        Key::Stream(key) => stream::reconcile(context, key).await,
        Key::Class(name) => stream_class::reconcile(context, name).await,
        Key::Template(name) => template::reconcile(context, name).await,
        Key::Request(name) => backfill_request::reconcile(context, name).await,
    }
}
