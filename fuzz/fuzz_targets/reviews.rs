//! Any bytes as the body of a review: an answer or a refusal, never a failure, never a panic.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../webhook/tests/reviews/world.rs"]
mod world;

use std::sync::LazyLock;

use arcane_fuzz::{documents, edits};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
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

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    documents::mutate(data, size, max_size, seed, &[])
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { documents::cross(one, other, out, seed) });
