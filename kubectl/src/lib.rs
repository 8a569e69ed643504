//! `kubectl arcane`: for the people who run streams. It sees, explains and acts with the rights of who calls it.
//!
//! Each command is the same three steps: `gather` asks the API server, pure functions turn plain facts into what is
//! printed or written, and a few writes are made by [`writes`].

pub mod args;
pub mod backfill;
pub mod backfills;
pub mod change;
pub mod cluster;
pub mod completion;
pub mod diff;
pub mod doctor;
pub mod downtime;
pub mod ending;
pub mod explain;
pub mod fleet;
pub mod gather;
pub mod logs;
pub mod restart;
pub mod screen;
pub mod status;
pub mod suspension;
pub mod told;
pub mod validate;
pub mod writes;

use std::process::ExitCode;

use args::{Args, Command};
use cluster::Cluster;
use ending::{Answer, Ending};

/// Runs a command, and tells how it ended.
pub async fn run(args: Args) -> ExitCode {
    ending::tell(carry_out(args).await)
}

async fn carry_out(mut args: Args) -> Result<Answer, Ending> {
    if let Command::Doctor(_) = args.command {
        // What is wrong with Arcane itself is in no namespace.
        args.cluster.all_namespaces = args.cluster.namespace.is_none();
    }
    let connect = Cluster::connect(&args.cluster);
    match args.command {
        Command::Status(args) => status::run(&connect.await?, &args).await,
        Command::Suspend(args) => suspension::run(&connect.await?, &args, true).await,
        Command::Resume(args) => suspension::run(&connect.await?, &args, false).await,
        Command::Backfill(args) => backfill::run(&connect.await?, &args).await,
        Command::Backfills(args) => backfills::run(&connect.await?, &args).await,
        Command::Restart(args) => restart::run(&connect.await?, &args).await,
        Command::Explain(args) => explain::run(&connect.await?, &args).await,
        Command::Logs(args) => logs::run(&connect.await?, &args).await,
        Command::Diff(args) => diff::run(&connect.await?, &args).await,
        Command::Downtime(args) => downtime::run(&connect.await?, &args).await,
        Command::Doctor(args) => doctor::run(&connect.await?, &args).await,
        Command::Validate(validate) => validate::run(&args.cluster, &validate).await,
        Command::Completion(args) => Ok(Answer::of(completion::script(args.shell))),
        Command::Complete(args) => Ok(Answer::of(completion::candidates(&args.words))),
    }
}
