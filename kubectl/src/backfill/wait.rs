//! Waits for the end of a backfill, and shows how far it is.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use arcane_common::api::{BackfillRequest, BackfillRequestPhase};
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, watch_object},
};

use crate::{
    cluster::Cluster,
    ending::{Answer, Ending, Verdict, note_now, why},
    fleet::Stream,
    screen::duration,
    status::{request_phase, request_told},
};

/// A bar is full at this; only the end fills it.
const FULL: u64 = 1000;

/// How many troubles of the watch in a row are too many.
const TROUBLES: usize = 10;

/// Waits until a request has come to its end.
pub(super) async fn run(
    cluster: &Cluster,
    stream: &Stream,
    name: &str,
    timeout: Option<Duration>,
) -> Result<Answer, Ending> {
    let screen = Screen::new(usual(&stream.requests));
    let watched = watch(cluster, stream, name, &screen);
    let ended = match timeout {
        Some(limit) => tokio::time::timeout(limit, watched).await.unwrap_or_else(|_| {
            let limit = duration(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX));
            Ok(Answer::default().judged(Verdict::Bad).noting([format!(
                "error: backfill {name} has not ended within {limit}; it goes on: kubectl arcane backfills {}",
                stream.name().name
            )]))
        }),
        None => watched.await,
    };
    screen.clear();
    ended
}

async fn watch(cluster: &Cluster, stream: &Stream, name: &str, screen: &Screen) -> Result<Answer, Ending> {
    let api: Api<BackfillRequest> = Api::namespaced(cluster.client.clone(), &stream.name().namespace);
    let mut events = std::pin::pin!(watch_object(api, name));
    let mut troubles = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut seen: Option<BackfillRequest> = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Some(request))) => {
                    troubles = 0;
                    if let Some((verdict, words)) = outcome(&request) {
                        let answer = Answer::default().judged(verdict);
                        return Ok(if verdict == Verdict::Good { Answer::of(words) } else { answer.noting([words]) });
                    }
                    seen = Some(request);
                }
                Some(Ok(None)) if seen.is_some() => {
                    let words = format!("error: backfillrequest/{name} was deleted");
                    return Ok(Answer::default().judged(Verdict::Bad).noting([words]));
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    troubles += 1;
                    if troubles >= TROUBLES || is_for_good(&error) {
                        return Err(Ending::CannotAsk(format!(
                            "can't follow backfill {name}, which goes on: {}", in_words(&error)
                        )));
                    }
                }
                None => return Err(Ending::CannotAsk(format!("can't follow backfill {name}, which goes on"))),
            },
            _ = ticks.tick() => {}
        }
        if let Some(request) = &seen {
            screen.show(request, Timestamp::now());
        }
    }
}

fn is_for_good(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 403 || status.code == 404)
}

fn in_words(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => why(error),
        other => other.to_string(),
    }
}

/// How long the last backfill that came to its end took.
fn usual(requests: &[BackfillRequest]) -> Option<i64> {
    requests.iter().filter(|request| request_phase(request) == BackfillRequestPhase::Completed).find_map(|request| {
        let status = request.status.as_ref()?;
        let took = status.completion_time.as_ref()?.0.duration_since(status.start_time.as_ref()?.0).as_secs();
        (took > 0).then_some(took)
    })
}

/// How a backfill has ended, if it has; a failed one is tried again only when somebody steps in.
fn outcome(request: &BackfillRequest) -> Option<(Verdict, String)> {
    let name = request.name_any();
    let told = request_told(request).map(|told| format!(": {}", told.message)).unwrap_or_default();
    match request_phase(request) {
        BackfillRequestPhase::Completed => {
            let status = request.status.as_ref();
            let started = status.and_then(|status| status.start_time.as_ref());
            let ended = status.and_then(|status| status.completion_time.as_ref());
            let took = started.zip(ended).map(|(from, to)| to.0.duration_since(from.0).as_secs());
            let took = took.map(|took| format!(" in {}", duration(took))).unwrap_or_default();
            Some((Verdict::Good, format!("backfill {name} has succeeded{took}")))
        }
        BackfillRequestPhase::Failed => {
            let stream = &request.spec.stream_id;
            Some((
                Verdict::Bad,
                format!("error: backfill {name} has failed{told}\nSee: kubectl arcane explain {stream}"),
            ))
        }
        BackfillRequestPhase::Cancelled => Some((Verdict::Bad, format!("error: backfill {name} was cancelled{told}"))),
        BackfillRequestPhase::Pending | BackfillRequestPhase::Running | BackfillRequestPhase::Unknown(_) => None,
    }
}

/// How far a backfill is: what is said of it, and which part of the usual time has passed, in thousandths.
fn progress(request: &BackfillRequest, usual: Option<i64>, now: Timestamp) -> (String, Option<u64>) {
    let phase = request_phase(request);
    let started = request.status.as_ref().and_then(|status| status.start_time.as_ref());
    let told = request_told(request).map(|told| format!(": {}", told.message)).unwrap_or_default();
    let Some(started) = started else { return (format!("{phase}{told}"), None) };
    let passed = now.duration_since(started.0).as_secs().max(0);
    match usual {
        Some(usual) => {
            let part = u64::try_from(passed.saturating_mul(1000) / usual).unwrap_or(0).min(FULL - 50);
            (format!("{phase} for {} (the last one took {}){told}", duration(passed), duration(usual)), Some(part))
        }
        None => (format!("{phase} for {}{told}", duration(passed)), None),
    }
}

/// Where progress is shown: as a bar at a terminal, else a line at each change of the phase.
struct Screen {
    bar: Option<ProgressBar>,
    usual: Option<i64>,
    said: std::cell::RefCell<String>,
}

impl Screen {
    fn new(usual: Option<i64>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(FULL);
            let style = if usual.is_some() { "{bar:30} {wide_msg}" } else { "{spinner} {wide_msg}" };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, usual, said: std::cell::RefCell::default() }
    }

    fn show(&self, request: &BackfillRequest, now: Timestamp) {
        let (line, part) = progress(request, self.usual, now);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
                if let Some(part) = part {
                    bar.set_position(part);
                }
            }
            None => {
                let told = request_told(request).map(|told| format!(": {}", told.message)).unwrap_or_default();
                let line = format!("{}{told}", request_phase(request));
                if *self.said.borrow() != line {
                    note_now(&line);
                    self.said.replace(line);
                }
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    fn request(name: &str) -> BackfillRequest {
        let requests = a_fleet().streams.into_iter().flat_map(|stream| stream.requests);
        requests.into_iter().find(|request| request.name_any() == name).unwrap()
    }

    #[test]
    fn progress_is_measured_by_the_last_backfill() {
        let running = request("again");
        assert_eq!(
            progress(&running, None, at("11:45:00")),
            ("Running for 5m: Job backfills-backfill runs".to_owned(), None)
        );
        let (line, part) = progress(&running, Some(600), at("11:45:00"));
        assert_eq!(
            (line.as_str(), part),
            ("Running for 5m (the last one took 10m): Job backfills-backfill runs", Some(500))
        );
        assert_eq!(progress(&running, Some(600), at("12:45:00")).1, Some(950), "only the end fills the bar");
        assert_eq!(usual(&[request("again"), request("failed-initial")]), Some(28800 + 86400 - 1));
        assert_eq!(usual(&[request("first")]), None, "a cancelled one tells nothing");
    }

    #[test]
    fn only_a_success_is_good() {
        assert_eq!(outcome(&request("again")), None);
        let (verdict, words) = outcome(&request("failed-initial")).unwrap();
        assert_eq!((verdict, words.as_str()), (Verdict::Good, "backfill failed-initial has succeeded in 31h"));
        assert_eq!(outcome(&request("first")).map(|it| it.0), Some(Verdict::Bad));
    }
}
