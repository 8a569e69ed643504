//! `make cluster`: a control plane and a simulated kubelet for a person, until Ctrl-C.

use arcane_tests::{ControlPlane, ControlPlaneOptions, SimulatedKubelet};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a Kubernetes control plane with a simulated kubelet on 127.0.0.1, prints how to reach it, and keeps it until
/// Ctrl-C. Then everything of it is gone.
#[derive(Parser)]
#[command(name = "cluster")]
struct Args {}

#[tokio::main]
async fn main() {
    let Args {} = Args::parse();
    if let Err(error) = run().await {
        eprintln!("cluster: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // From here on a Ctrl-C is answered with a clean end, also while the cluster is starting.
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ends = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    tokio::pin!(ends);
    let plane = tokio::select! {
        plane = ControlPlane::start(ControlPlaneOptions::default()) => plane?,
        () = &mut ends => return Ok(()),
    };
    let kubelet = SimulatedKubelet::start(plane.admin()).await?;
    println!("# A Kubernetes control plane with a simulated kubelet, ready after {:.1?}.", plane.ready_after());
    println!("# Its data, logs and audit log: {}", plane.directory().display());
    println!("export KUBECONFIG={}", plane.kubeconfig().display());
    if let Some(binaries) = plane.kubectl_binary().parent() {
        println!("export PATH={}:$PATH", binaries.display());
    }
    println!("# Ctrl-C ends it.");
    ends.await;
    drop(kubelet);
    plane.stop().await;
    Ok(())
}
