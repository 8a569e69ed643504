//! What a stream refers to, what was seen of it, and the one function that judges.

mod class_choice;
mod missing;
mod resolve;

pub use class_choice::{ClassCandidate, ClassChoice, choose_class};
pub use missing::{
    Treatment, labelled_class_is_missing, looks_like_a_stream, no_class_registers, treatment_of_missing_references,
};
pub use resolve::{Found, FoundTemplate, Presence, Unresolved, is_allowed_namespace, reach, resolve};
