//! What the pods of the end-to-end tests run: a worker as a streaming plugin's, that does what its stream's spec says.
//!
//! If there is a directory `/records` (a volume that all pods of a stream share), it takes the exclusive lock of
//! `/records/<stream>.lock` and appends one line of JSON to `/records/<stream>.jsonl` when it begins and when it ends. A lock
//! that somebody else holds is what a second writer would meet: that, too, is recorded.
//!
//! `arcane-e2e-worker records STREAM...` prints those lines, `arcane-e2e-worker forget STREAM...` removes them.

mod record;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

/// What the records are written to.
const RECORDS: &str = "/records";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let of_all = |streams: &[&str], what: fn(&str) -> Result<(), String>| {
        streams.iter().try_for_each(|stream| what(stream)).map(|()| ExitCode::SUCCESS)
    };
    let result = match &arguments[..] {
        [] => work::work(),
        ["records", streams @ ..] => of_all(streams, record::print),
        ["forget", streams @ ..] => of_all(streams, record::forget),
        _ => Err("usage: arcane-e2e-worker [records STREAM... | forget STREAM...]".to_owned()),
    };
    result.unwrap_or_else(|problem| {
        say(&problem);
        ExitCode::from(64)
    })
}

/// A line for `kubectl logs`.
fn say(line: &str) {
    // Nobody listens to the log any more: then there is nobody to tell that, either.
    let _ = writeln!(std::io::stdout(), "{line}");
}
