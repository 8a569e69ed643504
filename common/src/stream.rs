//! A stream: a plugin's custom resource, as far as Arcane reads it.

mod compiled_schemas;
pub mod configuration_hash;
pub mod context;
mod execution_v1_layout;
mod execution_v2_layout;
mod flat_layout;
pub mod layout;
pub mod phase;
mod schedule;
pub mod secret_refs;
pub mod stream_schema;

pub use compiled_schemas::CompiledSchemas;
pub use layout::{StreamDefinition, TemplateRef, Workload};
pub use phase::Phase;
