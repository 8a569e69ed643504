//! Processes that end with their owner, also when the owner is killed with SIGKILL.
//!
//! They run below a small shell script (`supervisor.sh`) whose stdin is a pipe held only by this process. When this process
//! ends, the kernel closes the pipe, the script reads the end of file, ends its processes and removes their directory.
//! All of them are in a process group of their own: a Ctrl-C at the terminal reaches the owner, not them.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Some processes and the directory they live in.
#[derive(Debug)]
pub struct Supervisor {
    directory: PathBuf,
    shell: Mutex<Child>,
    orders: Mutex<Option<ChildStdin>>,
}

/// One process to run.
#[derive(Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it has in the environment besides that of this process.
    pub environment: Vec<(String, String)>,
    /// Where its output goes; absent: into the directory of the supervisor, and away with it.
    pub log: Option<PathBuf>,
}

impl Supervisor {
    /// A supervisor with a new, private directory whose name starts with `prefix`. The directory goes with it.
    pub fn start(prefix: &str) -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        std::fs::create_dir(directory.path().join("run"))?;
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(include_str!("supervisor.sh"))
            .arg("supervisor")
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let orders = shell.stdin.take();
        Ok(Self {
            directory: directory.keep(), // the script's from here on
            shell: Mutex::new(shell),
            orders: Mutex::new(orders),
        })
    }

    /// The directory of the processes.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a process. A name is used once.
    pub fn run(&self, name: &str, program: &Program) -> std::io::Result<()> {
        let mut script = String::new();
        for (variable, value) in &program.environment {
            script += &format!("export {variable}={}\n", quoted(value));
        }
        script += &format!("exec {}", quoted(&program.path.to_string_lossy()));
        for argument in &program.arguments {
            script += &format!(" {}", quoted(argument));
        }
        if let Some(log) = &program.log {
            script += &format!(" >>{} 2>&1", quoted(&log.to_string_lossy()));
        }
        std::fs::write(self.file(name, ""), script + "\n")?;
        self.order(&format!("start {name}"))
    }

    /// Sends a signal (`"KILL"`, `"TERM"`) to a process, unless it has ended.
    pub fn signal(&self, name: &str, signal: &str) -> std::io::Result<()> {
        self.order(&format!("signal {signal} {name}"))
    }

    /// The pid, once the process has been started.
    pub fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.file(name, ".pid")).ok()?.trim().parse().ok()
    }

    /// The exit status of a process that has ended, 128+n if it ended by signal n.
    pub fn exit_status(&self, name: &str) -> Option<i32> {
        std::fs::read_to_string(self.file(name, ".exit")).ok()?.trim().parse().ok()
    }

    /// The last lines of what a process without a log of its own has written.
    pub fn log_tail(&self, name: &str) -> String {
        tail(&self.file(name, ".log"), 30)
    }

    /// Ends the processes, and returns when they and the directory have gone.
    pub async fn stop(&self) {
        self.close();
        loop {
            match self.shell().try_wait() {
                Ok(None) => {}
                _ => return,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn shell(&self) -> std::sync::MutexGuard<'_, Child> {
        self.shell.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn close(&self) {
        self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    fn order(&self, line: &str) -> std::io::Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(orders) = orders.as_mut() else {
            return Err(std::io::Error::other("the supervisor has been stopped"));
        };
        writeln!(orders, "{line}")?;
        orders.flush()
    }

    fn file(&self, name: &str, suffix: &str) -> PathBuf {
        self.directory.join("run").join(format!("{name}{suffix}"))
    }
}

impl Drop for Supervisor {
    /// The script ends the processes on its own time; this only gives it a moment, so that no zombie is left behind.
    fn drop(&mut self) {
        self.close();
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            if !matches!(self.shell().try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The last `lines` lines of a file, "" if there is none.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A word of the shell that means exactly `text`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::eventually;

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING".into(), "it's me".into())],
            log: None,
        }
    }

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_process_has_a_pid_an_exit_status_and_a_log() {
        let supervisor = Supervisor::start("arcane-supervisor-test-").unwrap();
        supervisor.run("greet", &shell("echo \"$GREETING\"; exit 3")).unwrap();
        let status =
            eventually(SOON, "exit status", || async { supervisor.exit_status("greet").ok_or("still running".into()) })
                .await;
        assert_eq!(status.unwrap(), 3);
        assert!(supervisor.pid("greet").is_some());
        assert_eq!(supervisor.log_tail("greet"), "it's me");
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn a_signal_reaches_the_process_itself() {
        let supervisor = Supervisor::start("arcane-supervisor-test-").unwrap();
        supervisor.run("sleep", &shell("exec sleep 1000")).unwrap();
        eventually(SOON, "pid", || async { supervisor.pid("sleep").ok_or("none".into()) }).await.unwrap();
        supervisor.signal("sleep", "KILL").unwrap();
        let status =
            eventually(SOON, "exit status", || async { supervisor.exit_status("sleep").ok_or("still running".into()) })
                .await;
        assert_eq!(status.unwrap(), 128 + 9);
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn stop_ends_also_a_process_that_ignores_term_and_removes_the_directory() {
        let supervisor = Supervisor::start("arcane-supervisor-test-").unwrap();
        let directory = supervisor.directory().to_owned();
        supervisor.run("stubborn", &shell("trap '' TERM; while :; do sleep 0.1; done")).unwrap();
        let pid = eventually(SOON, "pid", || async { supervisor.pid("stubborn").ok_or("none".into()) }).await.unwrap();
        supervisor.stop().await;
        assert!(!directory.exists());
        let alive = Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
        assert!(!alive.unwrap().success());
    }
}
