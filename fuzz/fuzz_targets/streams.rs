//! Any JSON as the spec of a stream, of whichever layout: read or refused, and what is read means the same when it is read again.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../common/tests/odd/judged.rs"]
mod judged;

use arcane_fuzz::documents;
use libfuzzer_sys::{Corpus, fuzz_crossover, fuzz_mutator, fuzz_target};

const FRAGMENTS: [&str; 14] = [
    r#"{"jobTemplateRef": {"name": "standard"}}"#,
    r#"{"backfillJobTemplateRef": {"name": "standard", "namespace": "shared"}}"#,
    r#"{"suspended": true}"#,
    r#"{"execution": {"layoutVersion": "v1"}}"#,
    r#"{"execution": {"layoutVersion": "v2"}}"#,
    r#"{"streamingBackend": {"realtime": {"jobTemplateRef": {"name": "standard"}}}}"#,
    r#"{"streamingBackend": {"batch": {"jobTemplateRef": {"name": "standard"}, "schedule": "*/5 * * * *"}}}"#,
    r#"{"changeCapture": {"jobTemplateRef": {"name": "standard"}}}"#,
    r#"{"backfill": {"jobTemplateRef": {"name": "standard"}}}"#,
    r#"{"password": {"secretRef": {"name": "s", "key": "k"}}}"#,
    r#"{"connectionString": "$(PATH)$$(PATH)"}"#,
    r#"1e-7"#,
    r#"123456789012345678901234567890"#,
    r#""\u2028<>&\u0000""#,
];

fuzz_target!(|document: &[u8]| -> Corpus {
    let Ok(document) = serde_json::from_slice(document) else { return Corpus::Reject };
    judged::stream(&document);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    documents::mutate(data, size, max_size, seed, &FRAGMENTS)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { documents::cross(one, other, out, seed) });
