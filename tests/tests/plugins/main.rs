//! Stand-ins of real plugins (`examples/plugins`), each through its whole life: with the controller and the webhook at work
//! under the rights of the chart, in namespaces that take restricted pods only.
#![allow(missing_docs)]

mod asked;
mod facts;
mod job;
mod life;
mod lives;
mod plugins;
mod restart;
mod side_by_side;
mod special;
mod takeover;
mod world;
