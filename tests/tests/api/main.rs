//! The controller on a real API server: contract §3 and §4, the users guide, bad input.
//!
//! All tests share one control plane and one controller that has the rights of the chart's ClusterRole and no others. Each
//! test has a namespace of its own, and after each the audit log is asked whether the controller was refused anything.

mod backfills;
mod bad_input;
mod classes;
mod failing;
mod first_backfill;
mod guide;
mod job;
mod jobs_come_and_go;
mod kubectl_plugin;
mod layouts;
mod limited;
mod older_crds;
mod rights;
mod scheduled;
mod spec_change;
mod suspending;
mod takeover;
mod templates;
mod world;
