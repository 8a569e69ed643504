//! The controller: turns stream definitions into Jobs and backfills.
//!
//! Every reconcile has the same shape: gather (IO) → `Observed` (plain data) → plan (pure) → `Plan`
//! (plain data) → apply (IO).

pub mod args;
pub mod backfill_request;
pub mod caches;
pub mod clock;
pub mod context;
pub mod events;
pub mod facts;
pub mod job_builder;
pub mod key;
pub mod metrics;
pub mod reasons;
pub mod reconcile;
pub mod resources;
pub mod rolling_update;
pub mod run;
pub mod stream;
pub mod stream_class;
pub mod template;
pub mod watches;
pub mod work_queue;
pub mod writes;
