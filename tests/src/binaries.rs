//! The binaries of the control plane. `control-plane/build.sh` finds or builds them; it can run before cargo has built anything.

use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A directory with the binaries that were asked for.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

/// The binaries could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    /// The script could not be run at all.
    #[error("cannot run {}: {source}", script.display())]
    Script {
        /// The script.
        script: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The script failed; it has told why on stderr.
    #[error("the binaries of the control plane could not be built: {} ended with {status}, see its lines above", script.display())]
    Build {
        /// The script.
        script: PathBuf,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
}

impl Binaries {
    /// Finds the binaries, or builds them, which takes minutes the first time and tells its progress on stderr.
    pub async fn obtain() -> Result<Self, BinariesError> {
        Self::obtain_only(&["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"]).await
    }

    /// The same for only some of the four.
    pub async fn obtain_only(names: &[&str]) -> Result<Self, BinariesError> {
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/control-plane/build.sh"));
        let output = tokio::process::Command::new("sh")
            .arg(&script)
            .args(names)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .map_err(|source| BinariesError::Script { script: script.clone(), source })?;
        if !output.status.success() {
            return Err(BinariesError::Build { script, status: output.status });
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok(Self { directory: PathBuf::from(printed.trim_end()) })
    }

    /// The directory that has them all.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
