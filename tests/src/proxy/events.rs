//! Watches, event by event.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::fault::{Fire, Watching, Write};
use super::{AnswerBody, BoxError, Shared};

/// After an event that never came, or came in the wrong order, the watch is told to list again so much later.
const RELIST_AFTER: Duration = Duration::from_secs(3);

const GONE: &[u8] = b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\
    \"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

/// What is to happen at an event.
pub(super) struct Hit {
    pub how: Watching,
    pub fire: Fire,
    pub what: Write,
}

impl Hit {
    fn has_happened(self) {
        self.fire.send_replace(Some(self.what));
    }
}

/// Whether a line of a watch is news of an object.
pub(super) fn is_event(line: &[u8]) -> bool {
    !line.starts_with(b"{\"type\":\"BOOKMARK\"") && !line.starts_with(b"{\"type\":\"ERROR\"") && line.len() > 1
}

/// The body of a watch, through the hands of the proxy.
pub(super) fn through(shared: Arc<Shared>, plural: String, upstream: Body) -> AnswerBody {
    let (to, body) = channel();
    let pump = Pump { shared, plural, to, held: None, relist_at: None };
    tokio::spawn(pump.run(upstream));
    body
}

/// A watch that shows nothing until the world is no longer frozen; then it must list again.
pub(super) fn frozen(shared: Arc<Shared>) -> AnswerBody {
    let (to, body) = channel();
    tokio::spawn(async move {
        let mut frozen = shared.frozen.subscribe();
        tokio::select! {
            _ = frozen.wait_for(Option::is_none) => {}
            () = to.closed() => return,
        }
        let _ = to.send(Bytes::from_static(GONE)).await;
    });
    body
}

fn channel() -> (mpsc::Sender<Bytes>, AnswerBody) {
    let (to, from) = mpsc::channel::<Bytes>(1);
    let frames = futures::stream::unfold(from, |mut from| async {
        let data = from.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(data)), from))
    });
    (to, StreamBody::new(frames).boxed_unsync())
}

struct Pump {
    shared: Arc<Shared>,
    plural: String,
    to: mpsc::Sender<Bytes>,
    /// An event that lets the next one go first.
    held: Option<(Bytes, Hit)>,
    relist_at: Option<Instant>,
}

impl Pump {
    async fn run(mut self, mut upstream: Body) {
        let mut buffer = Vec::new();
        loop {
            let relist_at = self.relist_at;
            let relist = async {
                match relist_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                frame = upstream.frame() => frame,
                () = relist => {
                    self.say(Bytes::from_static(GONE)).await;
                    return;
                }
                () = self.to.closed() => return,
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                if !self.deliver(line.into()).await {
                    return;
                }
            }
        }
    }

    /// Delivers a line in the way that is due; `false` if the watch ends with it.
    async fn deliver(&mut self, line: Bytes) -> bool {
        let hit = self.shared.on_event(&self.plural, &line);
        if let Some((first, hit)) = self.held.take_if(|_| is_event(&line)) {
            let sent = self.say(line).await && self.say(first).await;
            hit.has_happened();
            return sent;
        }
        let Some(hit) = hit else { return self.say(line).await };
        match hit.how {
            Watching::Drop => {
                self.relist_at = Some(Instant::now() + RELIST_AFTER);
                hit.has_happened();
                true
            }
            Watching::Delay(by) => {
                hit.has_happened();
                tokio::select! {
                    () = tokio::time::sleep(by) => self.say(line).await,
                    () = self.to.closed() => false,
                }
            }
            Watching::Duplicate => {
                let sent = self.say(line.clone()).await && self.say(line).await;
                hit.has_happened();
                sent
            }
            Watching::Reorder => {
                self.relist_at = Some(Instant::now() + RELIST_AFTER);
                self.held = Some((line, hit));
                true
            }
            Watching::Gone => {
                self.say(Bytes::from_static(GONE)).await;
                hit.has_happened();
                false
            }
            Watching::CutWithin => {
                self.say(line.slice(..line.len() / 2)).await;
                hit.has_happened();
                false
            }
        }
    }

    async fn say(&self, line: Bytes) -> bool {
        self.to.send(line).await.is_ok()
    }
}
