//! The installed chart on a real cluster: real helm, real kubectl, pods that really run.
//!
//! The scenes are played one after the other, for they share one installation; each leaves it as it found it. What a person
//! sees is the list of everything that was seen to happen, with its time.

mod images;
mod records;
mod release;
mod scenes;
mod screen;
mod wait;
mod works;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use futures::FutureExt as _;

use crate::scenes::{SCENES, Scene};
use crate::world::World;

/// Plays scenes of the installed chart's life on the cluster of
/// ARCANE_TEST_KUBECONFIG, which must hold nothing of ours.
#[derive(Parser)]
#[command(name = "e2e")]
struct Args {
    /// Which scenes to play, by the beginning of their names; all if there is none.
    scenes: Vec<String>,
    /// Print the names of the scenes.
    #[arg(long)]
    list: bool,
    /// The cluster goes anyway: leave everything in it.
    #[arg(long, env = "ARCANE_E2E_THROWAWAY")]
    throwaway: bool,
    /// Fewer rounds of what is repeated, for CI.
    #[arg(long, env = "ARCANE_E2E_QUICK")]
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for scene in SCENES {
            println!("{:<16} {}", scene.name, scene.what);
        }
        return ExitCode::SUCCESS;
    }
    let wanted =
        |scene: &&Scene| args.scenes.is_empty() || args.scenes.iter().any(|name| scene.name.starts_with(name.as_str()));
    let scenes: Vec<&Scene> = SCENES.iter().filter(wanted).collect();
    if scenes.is_empty() {
        eprintln!("e2e: there is no such scene; --list shows them");
        return ExitCode::from(64);
    }
    let world = match World::enter(args.quick).await {
        Ok(world) => world,
        Err(problem) => {
            eprintln!("e2e: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let started = Instant::now();
    let mut failed = None;
    for scene in &scenes {
        screen::heading(scene.name, scene.what);
        // A panic is a check that didn't hold; it has told what. The cluster is to be looked at and cleared all the same.
        if std::panic::AssertUnwindSafe((scene.play)(&world)).catch_unwind().await.is_err() {
            failed = Some(scene.name);
            world.tell_what_is_there().await;
            break;
        }
    }
    if !args.throwaway {
        screen::seen("everything is taken away again", world.leave()).await;
    }
    match failed {
        None => {
            screen::ended(scenes.len(), started.elapsed());
            ExitCode::SUCCESS
        }
        Some(name) => {
            eprintln!("\ne2e: scene {name} failed after {:.0?}; alone it is played by `e2e {name}`", started.elapsed());
            ExitCode::FAILURE
        }
    }
}
