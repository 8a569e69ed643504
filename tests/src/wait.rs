//! Waiting for a condition, with a deadline: the only way in which tests wait.

use std::future::Future;
use std::time::{Duration, Instant};

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("after {waited:?} still no {what}: {last}")]
pub struct Timeout {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub waited: Duration,
    /// What the last look said.
    pub last: String,
}

/// How often [`eventually`] looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks every 50 ms until `condition` is `Ok`; after `deadline` the last `Err` tells what was missing.
///
/// A look that takes longer than what is left of the deadline is given up.
pub async fn eventually<T, F, Fut>(deadline: Duration, what: &str, condition: F) -> Result<T, Timeout>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    poll(deadline, LOOK_EVERY, what, condition).await
}

pub(crate) async fn poll<T, F, Fut>(
    deadline: Duration,
    every: Duration,
    what: &str,
    mut condition: F,
) -> Result<T, Timeout>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    let mut last = "it could not be looked at in time".to_owned();
    loop {
        // A condition that holds at the deadline itself still counts, so there is always one look.
        let left = deadline.saturating_sub(started.elapsed()).max(LOOK_EVERY);
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) => last = why,
            Err(_) => {}
        }
        if started.elapsed() >= deadline {
            return Err(Timeout { what: what.to_owned(), waited: started.elapsed(), last });
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether these are the API server's words when it has waited for a webhook as long as it may. On a busy machine that happens
/// without anybody's fault, nothing has been written, and a person would do it again. How late the webhook may be is for the tests
/// that count.
pub fn is_too_busy(words: &str) -> bool {
    let waited = ["the server was unable to return a response in the time allotted", "context deadline exceeded"];
    words.contains("failed calling webhook") && waited.iter().any(|waited| words.contains(waited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_ok_is_returned() {
        let mut looks = 0;
        let seen = eventually(Duration::from_secs(5), "third look", || {
            looks += 1;
            let looks = looks;
            async move { if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) } }
        })
        .await;
        assert_eq!(seen.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_last_err_is_told_after_the_deadline() {
        let failed =
            eventually(Duration::from_millis(60), "miracle", || async { Err::<(), _>("there are none".to_owned()) })
                .await
                .unwrap_err();
        let told = failed.to_string();
        assert!(told.contains("still no miracle: there are none"), "{told}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_does_not_outlive_the_deadline() {
        let failed = eventually(Duration::from_millis(60), "answer", std::future::pending::<Result<(), String>>)
            .await
            .unwrap_err();
        assert!(failed.waited < Duration::from_secs(5));
    }
}
