//! What is played, in this order.

mod certificates;
mod chaos;
mod drain;
mod failing;
mod guide;
mod installing;
mod refusing;
mod single_writer;
mod uninstalling;
mod upgrading;

use futures::future::LocalBoxFuture;

use crate::world::World;

/// One story.
pub struct Scene {
    /// By what it is chosen.
    pub name: &'static str,
    /// What is shown.
    pub what: &'static str,
    /// Plays it. It panics where something isn't as it should be.
    pub play: for<'a> fn(&'a World) -> LocalBoxFuture<'a, ()>,
}

/// All of them. Every one makes sure itself that the chart and the plugins are installed.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "installing",
        what: "from `helm install` to the first running stream",
        play: |world| Box::pin(installing::play(world)),
    },
    Scene { name: "refusing", what: "a mistake is refused at once", play: |world| Box::pin(refusing::play(world)) },
    Scene { name: "guide", what: "the life of the guide's stream", play: |world| Box::pin(guide::play(world)) },
    Scene {
        name: "upgrading",
        what: "the chart is upgraded and rolled back, and no Job notices",
        play: |world| Box::pin(upgrading::play(world)),
    },
    Scene {
        name: "uninstalling",
        what: "`helm uninstall` leaves the streams at work and nothing of ours; a new release takes them up",
        play: |world| Box::pin(uninstalling::play(world)),
    },
    Scene {
        name: "single-writer",
        what: "one spec change after the other, and never two pods at work",
        play: |world| Box::pin(single_writer::play(world)),
    },
    Scene {
        name: "failing",
        what: "why a pod failed is told by its stream",
        play: |world| Box::pin(failing::play(world)),
    },
    Scene {
        name: "chaos",
        what: "controller and webhook are killed at random while streams come",
        play: |world| Box::pin(chaos::play(world)),
    },
    Scene {
        name: "certificates",
        what: "the webhook's authority is replaced while it is asked",
        play: |world| Box::pin(certificates::play(world)),
    },
    Scene { name: "drain", what: "the node is drained, and comes back", play: |world| Box::pin(drain::play(world)) },
];
