//! The webhook's executable.

use std::error::Error;
use std::process::ExitCode;

use arcane_process::ending;
use arcane_webhook::args::Args;
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let ended = run(Args::parse()).await;
    ending::exit_code("arcane-webhook", ended)
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    args.logs.start()?;
    // The only failure is that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(arcane_webhook::run::run(args).await?)
}
