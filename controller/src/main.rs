//! The controller's executable.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use arcane_controller::args::{Args, Command, RunArgs};
use arcane_process::ending;
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Some(Command::Crds) => print_crds(),
        None => run_controller(args.run).await,
    };
    ending::exit_code("arcane-controller", ended)
}

async fn run_controller(args: RunArgs) -> Result<(), Box<dyn Error>> {
    args.logs.start()?;
    // The only failure is that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(arcane_controller::run::run(args).await?)
}

fn print_crds() -> Result<(), Box<dyn Error>> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(arcane_common::api::crds_yaml().as_bytes())?;
    Ok(stdout.flush()?)
}
