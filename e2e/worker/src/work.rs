//! A worker's life, as its stream's spec wants it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::record::{Event, Ledger, Record};
use crate::say;

/// The exit code of a worker that met another one.
const SECOND_WRITER: u8 = 75;
/// How often it looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the spec says of work. Other plugins' specs say nothing of it: a backfill then ends well after two seconds, and a
/// stream runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    streaming: Behaviour,
    backfill: Behaviour,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Behaviour {
    /// How long the work lasts, in seconds. Absent: a stream runs for ever, a backfill two seconds.
    seconds: Option<u64>,
    /// With which code it ends then.
    exit_code: u8,
    /// How long it goes on after SIGTERM, in milliseconds.
    terminating_millis: u64,
    /// How much memory it takes, in MiB.
    takes_mib: usize,
}

/// Works, until it is done or told to end.
pub fn work() -> Result<ExitCode, String> {
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&told_to_end))
            .map_err(|error| format!("cannot listen for signals: {error}"))?;
    }
    let of = |name: &str| std::env::var(name).ok();
    let stream = of("STREAMCONTEXT__STREAM_ID").ok_or("STREAMCONTEXT__STREAM_ID is not set")?;
    let backfill = of("STREAMCONTEXT__BACKFILL").ok_or("STREAMCONTEXT__BACKFILL is not set")?;
    let spec = of("STREAMCONTEXT__SPEC").ok_or("STREAMCONTEXT__SPEC is not set")?;
    let spec = serde_json::from_str(&spec).map_err(|error| format!("STREAMCONTEXT__SPEC is no JSON: {error}"))?;
    let behaviour = behaviour(&spec, &backfill)?;
    let pod = of("HOSTNAME").unwrap_or_default();
    let record = Record {
        at: String::new(),
        event: Event::Begin,
        stream: stream.clone(),
        pod,
        backfill: backfill.clone(),
        backfill_id: of("STREAMCONTEXT__BACKFILL_ID"),
        spec,
    };
    let what = match &record.backfill_id {
        Some(id) => format!("backfill {id} of {stream}"),
        None => format!("stream {stream}"),
    };
    say(&format!("{what}: begins"));

    let mut ledger = Ledger::open(&stream)?;
    if let Some(ledger) = &mut ledger {
        if !ledger.is_ours() {
            ledger.write(&at_this_time(&record, Event::SecondWriter))?;
            say(&format!("{what}: another worker of the same stream runs"));
            return Ok(ExitCode::from(SECOND_WRITER));
        }
        ledger.write(&at_this_time(&record, Event::Begin))?;
    }

    let memory = vec![1_u8; behaviour.takes_mib << 20];
    let finished = run(&behaviour, &told_to_end);
    drop(memory);

    if !finished {
        say(&format!("{what}: told to end"));
        std::thread::sleep(Duration::from_millis(behaviour.terminating_millis));
    }
    if let Some(ledger) = &mut ledger {
        ledger.write(&at_this_time(&record, Event::End))?;
    }
    let code = if finished { behaviour.exit_code } else { 0 };
    say(&format!("{what}: ends with {code}"));
    Ok(ExitCode::from(code))
}

/// Whether the work was done before it was told to end.
fn run(behaviour: &Behaviour, told_to_end: &AtomicBool) -> bool {
    let started = Instant::now();
    loop {
        if told_to_end.load(Ordering::Relaxed) {
            return false;
        }
        if behaviour.seconds.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
            return true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn behaviour(spec: &serde_json::Value, backfill: &str) -> Result<Behaviour, String> {
    let spec = Spec::deserialize(spec).map_err(|error| format!("the stream's spec: {error}"))?;
    if backfill == "true" {
        Ok(Behaviour { seconds: spec.backfill.seconds.or(Some(2)), ..spec.backfill })
    } else {
        Ok(spec.streaming)
    }
}

fn at_this_time(record: &Record, event: Event) -> Record {
    Record { at: jiff::Timestamp::now().to_string(), event, ..record.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_that_says_nothing_of_work_runs_on_and_backfills_for_two_seconds() {
        let spec = json!({"sourceDatabase": "OrdersDB"});
        assert_eq!(behaviour(&spec, "false").unwrap(), Behaviour::default());
        assert_eq!(behaviour(&spec, "true").unwrap().seconds, Some(2));
    }

    #[test]
    fn stream_and_backfill_each_have_their_behaviour() {
        let spec =
            json!({"streaming": {"seconds": 1, "exitCode": 3}, "backfill": {"seconds": 60, "terminatingMillis": 500}});
        assert_eq!(behaviour(&spec, "false").unwrap().exit_code, 3);
        assert_eq!(behaviour(&spec, "true").unwrap().terminating_millis, 500);
        assert!(behaviour(&json!({"streaming": {"seconds": "soon"}}), "false").is_err());
    }

    #[test]
    fn work_that_is_done_and_work_that_is_told_to_end_differ() {
        let at_once = Behaviour { seconds: Some(0), ..Behaviour::default() };
        assert!(run(&at_once, &AtomicBool::new(false)));
        assert!(!run(&Behaviour::default(), &AtomicBool::new(true)));
    }
}
