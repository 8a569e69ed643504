//! What must hold whatever happens to the controller: killed after any write, at any moment, run twice at once; and that it is
//! quiet when there is nothing to do.
//!
//! Each test has control planes of its own, also where `ARCANE_TEST_KUBECONFIG` names a cluster: it kills the controller, or
//! counts what the controller does, and must be alone for that.
//!
//! | variable | |
//! | --- | --- |
//! | `ARCANE_FAULTS=all` | every cell of the matrix, however long it takes, but for those that a run of the same binaries has done before; a number: so many (default: those that can be begun in 60 s) |
//! | `ARCANE_FAULTS_LANES=8` | how many cells at a time |
//! | `ARCANE_FAULTS_ONLY=brake/409` | those whose name holds this |
//! | `ARCANE_FAULTS_WRITES=1` | prints the writes of the stories |
//! | `ARCANE_FAULTS_SEED=N` | repeats a run of the kills at random |
//!
//! The logs of the controllers stay in `target/tmp/faults`.

mod crash_at_random;
mod leadership;
mod matrix;
mod observer;
mod place;
mod quietness;
mod restart;
mod rolling;
mod rules;
mod story;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use arcane_tests::{
    ControlPlane, ControlPlaneOptions, Fixture, FixtureOptions, KubeletOptions, PodBehaviour, TestCluster,
};

/// Long enough for a slow machine; a test that holds never waits for it.
const SOON: Duration = Duration::from_secs(60);

/// Our CRDs, the sample plugin, quick pods, the rights of the controller: all but the controller.
async fn a_fixture() -> Fixture {
    let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap_or_else(|error| panic!("{error}"));
    let terminates = PodBehaviour::terminates_after(Duration::from_millis(50));
    let kubelet = KubeletOptions {
        backfill: PodBehaviour::succeeds_after(Duration::from_millis(100)).and(terminates.clone()),
        streaming: PodBehaviour::runs().and(terminates),
        ..KubeletOptions::default()
    };
    let options = FixtureOptions { operator: false, kubelet, ..FixtureOptions::default() };
    Fixture::start_on(TestCluster::local(plane), options).await
}

/// A figure for the person at the terminal, also where cargo swallows what passing tests print.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The log of a controller, which outlives the test.
fn log_file(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let _ = std::fs::create_dir_all(&directory);
    let file = directory.join(format!("{name}.log"));
    let _ = std::fs::remove_file(&file);
    file
}
