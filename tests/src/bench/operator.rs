//! The operator under measurement: any command that takes `KUBECONFIG`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Failure;
use crate::control_plane::free_port;
use crate::kubeconfig::UserAccess;
use crate::operator::controller_binary;
use crate::supervisor::{Program, Supervisor, tail};
use crate::wait;

const NAME: &str = "operator";

/// The command, and as whom it runs.
#[derive(Clone, Debug)]
pub struct Command {
    /// A line for the shell. It is replaced by the program (`exec`).
    pub line: String,
    /// The kubeconfig that it gets.
    pub kubeconfig: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Command {
    /// This line, or our controller as it was built with this program, as this user.
    ///
    /// # Errors
    /// When our controller isn't built.
    pub fn new(line: Option<&str>, access: &UserAccess, log: PathBuf) -> Result<Self, Failure> {
        let line = match line {
            Some(line) => line.to_owned(),
            None => format!(
                "'{}' --leader-election=false --health-addr=127.0.0.1:{} --metrics-addr=127.0.0.1:{}",
                controller_binary()?.display(),
                free_port()?,
                free_port()?,
            ),
        };
        Ok(Self { line, kubeconfig: access.kubeconfig().to_owned(), log })
    }
}

/// A running operator. It is killed when this is dropped.
pub struct Operator {
    supervisor: Supervisor,
    pid: u32,
    log: PathBuf,
}

impl Operator {
    /// Starts it, and returns as soon as there is a process.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(command: &Command) -> Result<Self, Failure> {
        let supervisor = Supervisor::start("arcane-bench-operator-")?;
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), format!("exec {}", command.line)],
            environment: vec![("KUBECONFIG".into(), command.kubeconfig.display().to_string())],
            log: Some(command.log.clone()),
        };
        supervisor.run(NAME, &program)?;
        let pid = wait::poll(Duration::from_secs(10), Duration::from_millis(1), "process of the operator", || async {
            supervisor.pid(NAME).ok_or_else(|| "none yet".to_owned())
        });
        let pid = pid.await?;
        Ok(Self { supervisor, pid, log: command.log.clone() })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// That it still runs.
    ///
    /// # Errors
    /// It has ended: the end of its log.
    pub fn runs(&self) -> Result<(), Failure> {
        match self.supervisor.exit_status(NAME) {
            None => Ok(()),
            Some(status) => Err(format!(
                "the operator ended with status {status}; the end of its log {}:\n{}",
                self.log.display(),
                tail(&self.log, 20)
            )
            .into()),
        }
    }

    /// Asks it to end, kills it if it doesn't within 40 s, and tells how long that took.
    ///
    /// # Errors
    /// When it could not even be killed.
    pub async fn end(self) -> Result<Duration, Failure> {
        let asked = Instant::now();
        let ends = |within| {
            wait::poll(within, Duration::from_millis(2), "end of the operator", || async {
                self.supervisor.exit_status(NAME).ok_or_else(|| "it runs".to_owned())
            })
        };
        self.supervisor.signal(NAME, "TERM")?;
        if ends(Duration::from_secs(40)).await.is_err() {
            self.supervisor.signal(NAME, "KILL")?;
            ends(Duration::from_secs(10)).await?;
        }
        let took = asked.elapsed();
        self.supervisor.stop().await;
        Ok(took)
    }
}
