//! Says what plain `cargo test` leaves out, where a person sees it: this test has no harness that would swallow it.

fn main() {
    if cfg!(not(feature = "control-plane")) {
        println!(
            "\nThe tests that need a control plane are left out: `make test` runs them all, \
             `make control-plane-tests` only them.\n"
        );
    }
}
