//! What fuzzing has found worth keeping (`make fuzz`): reviews that led somewhere new, or once failed.

use std::{fs, path::Path};

use crate::{edits, world::*};

#[tokio::test]
async fn every_review_of_the_corpus_is_answered_or_refused() {
    let router = World::with_a_few_of_everything().router();
    let mut answered = 0;
    for directory in ["corpus", "found"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(directory).join("reviews");
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let body = fs::read(&path).unwrap();
            for route in ["/validate", "/mutate"] {
                let (status, answer) = post(router.clone(), route, body.clone()).await;
                println!("{} {route}: {status}", path.display());
                edits::is_proper(&body, status.as_u16(), answer.as_bytes());
                answered += usize::from(status == 200);
            }
        }
    }
    assert!(answered > 100, "{answered}");
}
