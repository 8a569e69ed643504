//! When and how a process ends.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks a process to end: SIGTERM, or SIGINT (Ctrl-C).
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on; the process isn't ended by them any more.
    ///
    /// # Errors
    /// When the system doesn't let us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The exit code of a program, after it has told why it failed.
pub fn exit_code(program: &str, ended: Result<(), Box<dyn Error>>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as a log line: the filter must not hide why we ended. If
            // stderr is closed too, the exit code remains.
            let _ = writeln!(io::stderr(), "{program}: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The error and what caused it, on one line. A cause that the error has
/// already told is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't listen on {address}")]
    struct Outer {
        address: &'static str,
        #[source]
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("in use")]
    struct Inner;

    #[test]
    fn causes_are_told_once() {
        assert_eq!(with_causes(&Outer { address: ":1", source: Inner }), "can't listen on :1: in use");
        assert_eq!(with_causes(&Outer { address: "what is in use", source: Inner }), "can't listen on what is in use");
    }
}
