//! The harness itself: it must be right before it can show that anything else is.

mod bench;
mod cluster;
mod pods;
mod requests;

use std::time::Duration;

use arcane_tests::{ControlPlane, ControlPlaneOptions, TestCluster};

/// Long enough for a slow machine; a test that holds never waits for it.
const SOON: Duration = Duration::from_secs(60);

async fn a_plane() -> ControlPlane {
    ControlPlane::start(ControlPlaneOptions::default()).await.unwrap()
}

async fn a_cluster() -> TestCluster {
    TestCluster::local(a_plane().await)
}
