//! helm, and what reads what it renders. `chart-tools/build.sh` finds or builds them.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The tools, by name: `helm`, `helm-unittest`, `kubeconform`, `promtool`, `cert-manager`, `prometheus-operator` (its definitions
/// only), and `flux-driver`, `argocd-driver` and `kustomize-controller` of `tests/gitops`. They see nothing of the person's own
/// configuration.
#[derive(Debug)]
pub struct ChartTools {
    directories: Vec<PathBuf>,
}

/// A home that isn't there, and a cache in which nothing can be put. Tests keep the tools in a `static`, which is never dropped:
/// a directory of theirs would stay.
const NOBODYS: [(&str, &str); 2] = [("HOME", "/nonexistent"), ("KUBECACHEDIR", "/dev/null")];

/// What a tool gave.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// Whether it ended well.
    pub success: bool,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A tool could not be had or run.
#[derive(Debug, thiserror::Error)]
pub enum ChartToolsError {
    /// The script failed; it has told why on stderr.
    #[error("the tools could not be built: tests/chart-tools/build.sh ended with {0}, see its lines above")]
    Build(std::process::ExitStatus),
    /// There is no such tool.
    #[error("there is no tool {0}")]
    Unknown(String),
    /// A file or a process.
    #[error("cannot run {what}: {source}")]
    Io {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> ChartToolsError {
    move |source| ChartToolsError::Io { what: what.to_owned(), source }
}

impl ChartTools {
    /// Finds these tools (none named: all but those of `tests/gitops`), or builds them, which takes minutes the first time and tells its
    /// progress on stderr.
    pub fn obtain(names: &[&str]) -> Result<Self, ChartToolsError> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/chart-tools/build.sh");
        let output = Command::new("sh")
            .arg(script)
            .args(names)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(io(script))?;
        if !output.status.success() {
            return Err(ChartToolsError::Build(output.status));
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok(Self { directories: std::env::split_paths(OsStr::new(printed.trim_end())).collect() })
    }

    /// The directory of a tool's CustomResourceDefinitions: `cert-manager` and `prometheus-operator` have some.
    pub fn definitions(&self, name: &str) -> Result<PathBuf, ChartToolsError> {
        let of_the_tool = |directory: &&PathBuf| directory.iter().rev().nth(1) == Some(OsStr::new(name));
        let found = self.directories.iter().find(of_the_tool).map(|directory| directory.join("crds"));
        found.filter(|directory| directory.is_dir()).ok_or_else(|| ChartToolsError::Unknown(name.to_owned()))
    }

    /// Where a tool is.
    pub fn path(&self, name: &str) -> Result<PathBuf, ChartToolsError> {
        let found = self.directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| ChartToolsError::Unknown(name.to_owned()))
    }

    /// A tool, to be started as one likes.
    pub fn command(&self, name: &str) -> Result<Command, ChartToolsError> {
        let mut command = Command::new(self.path(name)?);
        command.envs(NOBODYS).stdin(Stdio::null());
        for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "KUBECONFIG", "HELM_NAMESPACE"] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// Runs a tool.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<ToolOutput, ChartToolsError> {
        let output = self.command(name)?.args(arguments).output().map_err(io(name))?;
        Ok(told(&output))
    }

    /// Runs a tool that reads `input`.
    pub fn feed(&self, name: &str, arguments: &[&str], input: &str) -> Result<ToolOutput, ChartToolsError> {
        let mut command = self.command(name)?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(io(name))?;
        let stdin = process.stdin.take();
        let input = input.to_owned();
        // Apart, so that neither of us waits for the other with a full pipe.
        let writer = std::thread::spawn(move || match stdin {
            Some(mut stdin) => stdin.write_all(input.as_bytes()),
            None => Ok(()),
        });
        let output = process.wait_with_output().map_err(io(name))?;
        // Who has seen enough reads no more; what it says of that is in its output.
        let _ = writer.join();
        Ok(told(&output))
    }
}

fn told(output: &Output) -> ToolOutput {
    ToolOutput {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
