//! How a command ends: what it prints, what it says besides, and the exit code.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use arcane_process::cluster::briefly;

/// What a command has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for: stdout.
    pub text: String,
    /// What should be known besides, a line each: stderr.
    pub notes: Vec<String>,
    /// How it went.
    pub verdict: Verdict,
}

/// How a command went, for who reads no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// All is well: exit code 0.
    #[default]
    Good,
    /// What was asked for was found wrong, or was not done: exit code 1.
    Bad,
    /// Something could not be asked: exit code 2.
    Unknown,
}

impl Verdict {
    /// Of what is shown, where these things couldn't be.
    pub fn with_gaps(gaps: &[String]) -> Self {
        if gaps.is_empty() { Self::Good } else { Self::Unknown }
    }

    /// The worse of two; what is wrong outweighs what isn't known.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bad, _) | (_, Self::Bad) => Self::Bad,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Good, Self::Good) => Self::Good,
        }
    }
}

impl Answer {
    /// Prints this.
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same with notes.
    #[must_use]
    pub fn noting(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The same with a verdict.
    #[must_use]
    pub fn judged(self, verdict: Verdict) -> Self {
        Self { verdict, ..self }
    }
}

/// Why a command gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// It was asked, and the answer is no.
    #[error("{0}")]
    Refused(String),
    /// It was called in a wrong way.
    #[error("{0}")]
    Usage(String),
    /// The cluster couldn't be asked.
    #[error("{0}")]
    CannotAsk(String),
}

/// The API server didn't tell something.
pub fn cannot_ask(what: &str, error: &kube::Error) -> Ending {
    Ending::CannotAsk(format!("can't ask the API server for {what}: {}", why(error)))
}

/// Why a request failed: in the API server's words where it answered.
pub fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(_) => briefly(error),
        other => arcane_process::ending::with_causes(other),
    }
}

/// Prints how a command ended; gives the exit code.
pub fn tell(ended: Result<Answer, Ending>) -> ExitCode {
    // A closed pipe, as of `| head`, is nobody's mistake.
    match ended {
        Ok(answer) => {
            let _ = print(&answer.text);
            for note in &answer.notes {
                note_now(note);
            }
            match answer.verdict {
                Verdict::Good => ExitCode::SUCCESS,
                Verdict::Bad => ExitCode::from(1),
                Verdict::Unknown => ExitCode::from(2),
            }
        }
        Err(ending) => {
            note_now(&format!("error: {ending}"));
            ExitCode::from(match ending {
                Ending::Refused(_) => 1,
                Ending::Usage(_) | Ending::CannotAsk(_) => 2,
            })
        }
    }
}

/// Writes to stdout at once.
///
/// # Errors
/// When nobody reads it any more.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes a line to stderr at once.
pub fn note_now(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
