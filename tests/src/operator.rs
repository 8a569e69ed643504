//! The operator under test as a process, started and killed at will.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::control_plane::free_port;
use crate::supervisor::{Program, Supervisor, tail};
use crate::wait;

/// How to start an operator.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The executable: see [`controller_binary`].
    pub binary: PathBuf,
    /// Its arguments. `--health-addr` and `--metrics-addr` with free ports are added.
    pub arguments: Vec<String>,
    /// What it has in its environment besides that of this process. `KUBECONFIG` is added.
    pub environment: Vec<(String, String)>,
    /// The kubeconfig: of a user, or of a [`crate::RequestProxy`].
    pub kubeconfig: PathBuf,
    /// The file that its output is appended to.
    pub log: PathBuf,
    /// How long it may take until `/readyz` answers with 200. Absent: it isn't waited for.
    pub ready_within: Option<Duration>,
}

impl OperatorOptions {
    /// No arguments, 30 s to be ready.
    pub fn new(binary: &Path, kubeconfig: &Path, log: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            kubeconfig: kubeconfig.to_owned(),
            log: log.to_owned(),
            ready_within: Some(Duration::from_secs(30)),
        }
    }
}

/// A running operator. It is killed when this is dropped, or when the process that has it ends in whatever way.
pub struct OperatorProcess {
    supervisor: Supervisor,
    log: PathBuf,
    health_port: u16,
    metrics_port: u16,
}

/// An operator could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no executable.
    #[error("{} does not exist: build it with `{build}`", path.display())]
    NotBuilt {
        /// Where it was looked for.
        path: PathBuf,
        /// The command that makes it.
        build: String,
    },
    /// A file or a process.
    #[error("cannot run the operator: {0}")]
    Io(#[from] std::io::Error),
    /// It ended instead of becoming ready.
    #[error("the operator ended with status {status}; the end of its log {}:\n{tail}", log.display())]
    Ended {
        /// Its exit status.
        status: i32,
        /// The file.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// It did not get there in time.
    #[error("{timeout}; the end of its log {}:\n{tail}", log.display())]
    Late {
        /// What was waited for.
        timeout: wait::Timeout,
        /// The file.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
}

const NAME: &str = "operator";

impl OperatorProcess {
    /// Starts an operator, and returns when its `/readyz` says 200.
    pub async fn start(options: OperatorOptions) -> Result<Self, OperatorError> {
        // A port that was free a moment ago can be taken by another process before the operator listens on it.
        let mut tries = 5;
        loop {
            tries -= 1;
            match Self::start_once(options.clone()).await {
                Err(OperatorError::Ended { tail, .. }) if tries > 0 && tail.contains("can't listen on") => {}
                ended => return ended,
            }
        }
    }

    async fn start_once(options: OperatorOptions) -> Result<Self, OperatorError> {
        let supervisor = Supervisor::start("arcane-operator-")?;
        let (health_port, metrics_port) = (free_port()?, free_port()?);
        let mut arguments = options.arguments;
        arguments.push(format!("--health-addr=127.0.0.1:{health_port}"));
        arguments.push(format!("--metrics-addr=127.0.0.1:{metrics_port}"));
        let mut environment = options.environment;
        environment.push(("KUBECONFIG".into(), options.kubeconfig.display().to_string()));
        let program = Program { path: options.binary, arguments, environment, log: Some(options.log.clone()) };
        supervisor.run(NAME, &program)?;
        let operator = Self { supervisor, log: options.log, health_port, metrics_port };
        if let Some(within) = options.ready_within {
            operator.ready(within).await?;
        }
        Ok(operator)
    }

    /// Waits until `/readyz` says 200; fails at once if the process has ended.
    pub async fn ready(&self, within: Duration) -> Result<(), OperatorError> {
        let looked = wait::poll(within, Duration::from_millis(10), "ready operator", || async {
            match self.exit_status() {
                Some(status) => Ok(Some(status)),
                None => self.is_ready().await.map(|()| None),
            }
        })
        .await;
        match looked.map_err(|timeout| self.late(timeout))? {
            None => Ok(()),
            Some(status) => Err(OperatorError::Ended { status, log: self.log.clone(), tail: self.log_tail() }),
        }
    }

    async fn is_ready(&self) -> Result<(), String> {
        let text = get(self.health_port, "/readyz").await.map_err(|error| error.to_string())?;
        match text.split_whitespace().nth(1) {
            Some("200") => Ok(()),
            _ => Err(text),
        }
    }

    /// What `GET /readyz` gives, head and body.
    pub async fn readiness(&self) -> Result<String, OperatorError> {
        Ok(get(self.health_port, "/readyz").await?)
    }

    fn late(&self, timeout: wait::Timeout) -> OperatorError {
        OperatorError::Late { timeout, log: self.log.clone(), tail: self.log_tail() }
    }

    /// Kills it with SIGKILL, and returns when it has gone.
    pub async fn kill(self) -> Result<(), OperatorError> {
        self.end("KILL", Duration::from_secs(10)).await.map(drop)
    }

    /// Asks it to end with SIGTERM, and returns its exit status.
    pub async fn terminate(self, within: Duration) -> Result<i32, OperatorError> {
        self.end("TERM", within).await
    }

    async fn end(self, signal: &str, within: Duration) -> Result<i32, OperatorError> {
        // Not before it has a pid.
        let every = Duration::from_millis(2);
        let started = wait::poll(within, every, "pid of the operator", || async {
            self.pid().map(drop).ok_or_else(|| "none yet".to_owned())
        });
        started.await.map_err(|timeout| self.late(timeout))?;
        self.supervisor.signal(NAME, signal)?;
        let deadline = Instant::now() + within;
        let ended = wait::poll(deadline - Instant::now(), every, "end of the operator", || async {
            self.exit_status().ok_or_else(|| format!("it runs after SIG{signal}"))
        });
        let status = ended.await.map_err(|timeout| self.late(timeout))?;
        self.supervisor.stop().await;
        Ok(status)
    }

    /// Sends it a signal (`"STOP"`, `"CONT"`), unless it has ended.
    pub fn signal(&self, signal: &str) -> Result<(), OperatorError> {
        Ok(self.supervisor.signal(NAME, signal)?)
    }

    /// Its pid.
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid(NAME)
    }

    /// Its exit status, if it has ended by itself (128+n: by signal n).
    pub fn exit_status(&self) -> Option<i32> {
        self.supervisor.exit_status(NAME)
    }

    /// Where it serves `/healthz` and `/readyz`.
    pub fn health_port(&self) -> u16 {
        self.health_port
    }

    /// Where it serves `/metrics`.
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// What `GET /metrics` gives.
    pub async fn metrics(&self) -> Result<String, OperatorError> {
        Ok(get(self.metrics_port, "/metrics").await?)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log, 40)
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        let _ = self.supervisor.signal(NAME, "KILL");
    }
}

/// Whether whoever serves health pages on this port says that it is ready.
pub(crate) async fn is_ready_at(health_port: u16) -> bool {
    get(health_port, "/readyz").await.is_ok_and(|text| text.split_whitespace().nth(1) == Some("200"))
}

/// A whole answer of a port of this machine, head and body, as text.
pub async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The controller that cargo has built, in the profile of the program that asks.
pub fn controller_binary() -> Result<PathBuf, OperatorError> {
    binary("arcane-controller")
}

/// The webhook that cargo has built, in the profile of the program that asks.
pub fn webhook_binary() -> Result<PathBuf, OperatorError> {
    binary("arcane-webhook")
}

/// The kubectl plugin that cargo has built, in the profile of the program that asks.
pub fn kubectl_plugin_binary() -> Result<PathBuf, OperatorError> {
    binary("kubectl-arcane")
}

/// The executable of a crate of the same name.
fn binary(name: &str) -> Result<PathBuf, OperatorError> {
    let asks = std::env::current_exe()?;
    let mut directory = asks.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let release = if directory.ends_with("release") { " --release" } else { "" };
    Err(OperatorError::NotBuilt { path, build: format!("cargo build{release} -p {name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> OperatorOptions {
        let mut options = OperatorOptions::new(Path::new("/bin/sh"), Path::new("/nowhere"), &directory.join("log"));
        options.arguments = vec!["-c".into(), script.into()];
        options
    }

    #[tokio::test]
    async fn one_that_ends_at_once_is_told_with_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let started =
            OperatorProcess::start(shell("echo \"no cluster in $KUBECONFIG\"; exit 4", directory.path())).await;
        let told = started.err().unwrap().to_string();
        assert!(told.contains("status 4") && told.contains("no cluster in /nowhere"), "{told}");
    }

    #[tokio::test]
    async fn one_is_killed_or_terminated() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = shell("exec sleep 1000", directory.path());
        options.ready_within = None;
        let operator = OperatorProcess::start(options.clone()).await.unwrap();
        assert_eq!(operator.exit_status(), None);
        operator.kill().await.unwrap();
        let operator = OperatorProcess::start(options).await.unwrap();
        assert_eq!(operator.terminate(Duration::from_secs(10)).await.unwrap(), 128 + 15);
    }
}
