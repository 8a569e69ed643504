//! What decisions read of the cluster's objects: plain data, taken from each object once, when it arrives.
//!
//! After this nobody touches the raw object, and the caches hold nothing that no decision reads.

mod admission;
mod class;
mod cron_job;
mod job;
mod pod;
mod request;
mod stream;
mod template;

pub use admission::AdmissionFacts;
pub use class::ClassFacts;
pub use cron_job::CronJobFacts;
pub use job::{JobFacts, JobState, Owner};
pub use pod::PodFacts;
pub use request::RequestFacts;
pub use stream::{FailureNote, RecordedStatus, StreamFacts};
pub use template::TemplateFacts;
