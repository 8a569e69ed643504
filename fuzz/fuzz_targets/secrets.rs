//! Any bytes under any keys of the Secret with the webhook's authority: read or refused, and what is read is written as it was.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../certs/tests/reading/judged.rs"]
mod judged;

use arcane_fuzz::secrets;
use libfuzzer_sys::{Corpus, fuzz_crossover, fuzz_mutator, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(data) = secrets::read(input) else { return Corpus::Reject };
    judged::secret(&data);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    secrets::mutate(data, size, max_size, seed)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| { secrets::cross(one, other, out, seed) });
