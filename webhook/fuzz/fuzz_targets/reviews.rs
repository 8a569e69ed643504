//! Any bytes as the body of a review: an answer or a refusal, never a failure, never a panic.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../tests/reviews/world.rs"]
mod world;

#[path = "../../tests/reviews/edits.rs"]
mod edits;

use std::sync::LazyLock;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
static ROUTER: LazyLock<Router> = LazyLock::new(|| world::World::with_a_few_of_everything().router());

fuzz_target!(init: { LazyLock::force(&RUNTIME); }, |body: &[u8]| {
    RUNTIME.block_on(async {
        for path in ["/validate", "/mutate"] {
            let request = Request::post(path).body(Body::from(body.to_vec())).unwrap();
            let response = ROUTER.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let answer = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            edits::is_proper(body, status.as_u16(), &answer);
        }
    });
});

// Bytes alone would mostly find out what is no JSON.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut state = u64::from(seed) << 1 | 1;
    let mut choose = |below: usize| {
        // Marsaglia's xorshift: the same seed makes the same edit.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 8).unwrap_or_default() % below.max(1)
    };
    if choose(8) != 0
        && let Ok(mut review) = serde_json::from_slice::<Value>(&data[..size])
    {
        for _ in 0..=choose(3) {
            edits::edit(&mut review, &mut choose);
        }
        let edited = review.to_string();
        if edited.len() <= max_size {
            data[..edited.len()].copy_from_slice(edited.as_bytes());
            return edited.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});
