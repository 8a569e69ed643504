//! What is wrong with an object, said the way the API server says it.

mod checks;
mod violation;

pub use checks::{
    StreamInput, ValidStream, validate_backfill_request, validate_group_of_class, validate_stream,
    validate_stream_of_class,
};
pub(crate) use violation::brief;
pub use violation::{MOST_OF_A_VIOLATION, MOST_TOLD, MOST_VIOLATIONS, Reason, Violation, cut, has_at_most, join};
