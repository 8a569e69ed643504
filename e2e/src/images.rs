//! The images that are tried, and how they get to where pods can find them.

use std::path::PathBuf;
use std::process::Stdio;

/// The image that the examples' templates name: there the worker is found under this name.
pub const IMAGE_OF_THE_EXAMPLES: &str = "ghcr.io/sneaksanddata/arcane-stream-sqlserver-change-tracking:v1.0.12";

/// A command that puts an image archive, its last argument, onto the cluster's nodes.
const LOAD: &str = "ARCANE_E2E_LOAD";
/// The directory of the archives.
const ARCHIVES: &str = "ARCANE_E2E_IMAGES";
/// Where the images have been pushed to, if they can't be loaded.
const REGISTRY: &str = "ARCANE_E2E_REGISTRY";

/// Where pods find the images.
#[derive(Clone, Debug)]
pub struct Images {
    registry: String,
    loaded: bool,
}

impl Images {
    /// Loads the archives, or believes that the images are in the registry that is named.
    pub async fn provide() -> Result<Self, String> {
        if let Ok(registry) = std::env::var(REGISTRY) {
            return Ok(Self { registry, loaded: false });
        }
        let load = std::env::var(LOAD).map_err(|_| {
            format!(
                "how do images get into this cluster? Either {LOAD} is a command that loads an archive (`kind load \
                 image-archive`), or {REGISTRY} names where arcane-controller:e2e, arcane-webhook:e2e and \
                 arcane-e2e-worker:e2e (each also as :e2e-next) were pushed to"
            )
        })?;
        let archives = std::env::var_os(ARCHIVES)
            .map_or_else(|| arcane_tests::fixture::repository().join("target/images"), PathBuf::from);
        for name in ["arcane-controller", "arcane-webhook", "arcane-e2e-worker"] {
            let archive = archives.join(format!("{name}.tar"));
            if !archive.is_file() {
                return Err(format!("there is no {}: `make images` makes it", archive.display()));
            }
            let mut words = load.split_whitespace();
            let program = words.next().ok_or_else(|| format!("{LOAD} is empty"))?;
            let mut command = tokio::process::Command::new(program);
            command.args(words).arg(&archive).stdin(Stdio::null());
            let output = command.output().await.map_err(|error| format!("cannot run {load}: {error}"))?;
            if !output.status.success() {
                let told = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{load} {} ended with {}: {told}", archive.display(), output.status));
            }
        }
        Ok(Self { registry: "arcane.test".to_owned(), loaded: true })
    }

    /// The repository of one of our images.
    pub fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.registry)
    }

    /// The worker.
    pub fn worker(&self) -> String {
        format!("{}:e2e", self.repository("arcane-e2e-worker"))
    }

    /// The manifest with an image for streams that is in the cluster.
    pub fn with_worker(&self, manifest: &str) -> String {
        let manifest = manifest.replace("image: WORKER", &format!("image: {}", self.worker()));
        if self.loaded { manifest } else { manifest.replace(IMAGE_OF_THE_EXAMPLES, &self.worker()) }
    }
}
