//! The webhook's own certificates, without Kubernetes, IO or a clock.
//!
//! One [`Authority`] in one Secret ([`Stored`]), many short-lived leaves
//! ([`ServingPair`]) that each replica signs for itself, one [`TrustBundle`] in
//! the webhook configurations. What is made, written or renewed when is decided
//! by [`plan()`], from what was [`Observed`].

mod authority;
mod lifetimes;
mod plan;
mod serving_pair;
mod stored;
mod trust_bundle;

pub use self::authority::{Authority, AuthorityError};
pub use self::lifetimes::{Lifetimes, Validity};
pub use self::plan::{Action, Memory, Observed, Plan, Published, SecretChange, plan};
pub use self::serving_pair::{Leaf, ServingPair, ServingPairError};
pub use self::stored::{MangledSecret, Stored};
pub use self::trust_bundle::{CaCertificate, CertificateError, KeyId, TrustBundle};
