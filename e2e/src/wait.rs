//! Waiting, where nothing can be done about a condition that doesn't come true.

use std::future::Future;
use std::time::Duration;

/// [`arcane_tests::eventually`]; after the deadline it panics with what was missing.
pub async fn until<T, F, Fut>(deadline: Duration, what: &str, condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    arcane_tests::eventually(deadline, what, condition).await.unwrap_or_else(|timeout| panic!("{timeout}"))
}
