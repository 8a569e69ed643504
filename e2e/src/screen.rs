//! What the person sees.

use std::future::Future;
use std::time::{Duration, Instant};

/// A scene begins.
pub fn heading(name: &str, what: &str) {
    println!("\n{name}: {what}");
}

/// Something that is told, not checked.
pub fn note(text: &str) {
    println!("     {text}");
}

/// Waits for what is expected, and ticks it off.
pub async fn seen<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timed(what, happens).await.0
}

/// The same; it also gives the time that it took.
pub async fn timed<T>(what: &str, happens: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let value = happens.await;
    let took = started.elapsed();
    println!("   ✓ {what:<88} {:>6.1} s", took.as_secs_f64());
    (value, took)
}

/// All scenes have been played.
pub fn ended(scenes: usize, took: Duration) {
    println!("\n{scenes} scenes were seen to happen, in {:.0} s", took.as_secs_f64());
}
