//! The plugin's executable: kubectl finds it by its name, and runs it as `kubectl arcane`.

use std::process::ExitCode;

use clap::Parser as _;
use kubectl_arcane::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // The only failure is that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    kubectl_arcane::run(args).await
}
