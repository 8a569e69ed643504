//! What fuzzing has found worth keeping (`make fuzz`): reviews that led somewhere new, or once failed.

#[path = "../../../fuzz/src/corpus.rs"]
mod kept;

use crate::{edits, world::*};

#[tokio::test]
async fn every_review_of_the_corpus_is_answered_or_refused() {
    let router = World::with_a_few_of_everything().router();
    let mut answered = 0;
    for (path, body) in kept::of("reviews") {
        for route in ["/validate", "/mutate"] {
            let (status, answer) = post(router.clone(), route, body.clone()).await;
            println!("{} {route}: {status}", path.display());
            edits::is_proper(&body, status.as_u16(), answer.as_bytes());
            answered += usize::from(status == 200);
        }
    }
    assert!(answered > 100, "{answered}");
}
