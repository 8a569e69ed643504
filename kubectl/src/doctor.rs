//! `kubectl arcane doctor`: whether Arcane itself is well, as far as its user may see.

mod checks;
mod look;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    args::{DoctorArgs, Format},
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
    screen::for_machines,
};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// It works, but somebody should look.
    Warning,
    /// It doesn't work.
    Bad,
    /// It can't be seen.
    Unknown,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen, and what to do.
    pub message: String,
}

/// Looks at everything.
///
/// # Errors
/// When the API server isn't there at all.
pub async fn run(cluster: &Cluster, args: &DoctorArgs) -> Result<Answer, Ending> {
    let seen = look::at_everything(cluster, args).await?;
    let checks = checks::all(&seen, Timestamp::now());
    let text = match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => for_machines(&checks, format),
        None | Some(Format::Wide) => printed(&checks),
    };
    let has = |state| checks.iter().any(|check| check.state == state);
    let verdict = if has(State::Bad) {
        Verdict::Bad
    } else if has(State::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Good
    };
    Ok(Answer::of(text).judged(verdict))
}

fn printed(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check { what, state, message } in checks {
        let mark = match state {
            State::Good => "ok       ",
            State::Warning => "warning  ",
            State::Bad => "WRONG    ",
            State::Unknown => "unknown  ",
        };
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        text.push_str(&format!("{mark}{what}{message}\n"));
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (bad, warnings, unknown) = (count(State::Bad), count(State::Warning), count(State::Unknown));
    text.push_str(&format!(
        "\n{} looked at: {bad} wrong, {warnings} to be looked after, {unknown} unknown\n",
        checks.len()
    ));
    text
}
