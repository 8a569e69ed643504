//! Log lines, to stderr.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

/// What is logged when nobody says otherwise. kube's own lines are about single requests.
pub const DEFAULT_LOG_FILTER: &str = "info,kube=warn";

/// The flags about log lines. Each has a twin in the environment.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// What log lines look like.
    #[arg(long, env = "ARCANE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What is logged, as in RUST_LOG: a level, or levels of modules, like
    /// "info,arcane_controller=debug" [default: $RUST_LOG, else "info,kube=warn"].
    #[arg(long, env = "ARCANE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

impl LogArgs {
    /// What is logged. `rust_log` is the environment's RUST_LOG.
    pub fn filter(&self, rust_log: Option<&str>) -> String {
        let rust_log = rust_log.filter(|filter| !filter.trim().is_empty());
        self.log.as_deref().or(rust_log).unwrap_or(DEFAULT_LOG_FILTER).to_owned()
    }

    /// Lets the whole process log to stderr.
    ///
    /// # Errors
    /// When the filter can't be read, or logging is set up already.
    pub fn start(&self) -> Result<(), LoggingError> {
        init(self.log_format, &self.filter(std::env::var("RUST_LOG").ok().as_deref()))
    }
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    #[default]
    Json,
    /// For people.
    Text,
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter can't be read.
    #[error(
        "--log (or RUST_LOG) {filter:?} is no filter: a level like \"info\", or levels of modules like \"info,kube=warn\""
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Somebody else in this process logs already.
    #[error("logging has been set up before")]
    AlreadySet(#[from] TryInitError),
}

fn init(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let colours = io::stderr().is_terminal();
    match format {
        LogFormat::Json => json(filter, io::stderr)?.try_init()?,
        LogFormat::Text => text(filter, colours, io::stderr)?.try_init()?,
    }
    Ok(())
}

fn json<W>(filter: &str, writer: W) -> Result<impl Subscriber + Send + Sync, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parsed(filter)?;
    Ok(fmt().json().flatten_event(true).with_env_filter(filter).with_writer(writer).finish())
}

fn text<W>(filter: &str, colours: bool, writer: W) -> Result<impl Subscriber + Send + Sync, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parsed(filter)?;
    Ok(fmt().with_ansi(colours).with_env_filter(filter).with_writer(writer).finish())
}

fn parsed(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn writer(&self) -> impl for<'a> MakeWriter<'a> + Send + Sync + 'static {
            let lines = self.clone();
            move || lines.clone()
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn speak() {
        tracing::info!(stream = "orders", "a \"quoted\" word");
        tracing::debug!("too quiet");
    }

    #[test]
    fn json_has_one_object_per_line_with_the_message_on_top() {
        let lines = Lines::default();
        tracing::subscriber::with_default(json("info", lines.writer()).unwrap(), speak);
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "a \"quoted\" word");
        assert_eq!((&line["stream"], &line["level"]), (&Value::from("orders"), &Value::from("INFO")));
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn text_is_plain_where_there_is_no_terminal() {
        let lines = Lines::default();
        tracing::subscriber::with_default(text("info", false, lines.writer()).unwrap(), speak);
        let text = lines.text();
        assert!(text.contains("INFO") && text.contains("stream=\"orders\"") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_nearest_filter_counts() {
        for (log, rust_log, wanted) in [
            (Some("debug"), Some("trace"), "debug"),
            (None, Some("trace"), "trace"),
            (None, Some(" "), DEFAULT_LOG_FILTER),
            (None, None, DEFAULT_LOG_FILTER),
        ] {
            let args = LogArgs { log_format: LogFormat::Json, log: log.map(str::to_owned) };
            assert_eq!(args.filter(rust_log), wanted);
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init(LogFormat::Json, "info,kube=loud").unwrap_err();
        assert!(error.to_string().contains("\"info,kube=loud\" is no filter"), "{error}");
    }
}
