//! Our own ValidatingWebhookConfiguration and MutatingWebhookConfiguration: what they shall say, and what to write so
//! that they say it. Nothing here awaits.

mod match_conditions;
mod plan;
mod wanted;

pub use match_conditions::Callers;
pub use plan::{Observed, Plan, Trust, plan};
pub use wanted::{PluginKind, Settings, rules_for, wanted_mutating, wanted_validating};
