//! Changes of a JSON document.

use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;

use crate::{edits, put};

/// Changes a document in a few places. `fragments` are JSON, of which something means something to the target.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, fragments: &[&str]) -> usize {
    let mut random = Rng::with_seed(seed.into());
    if random.u8(..16) != 0
        && let Ok(mut document) = serde_json::from_slice::<Value>(&data[..size])
    {
        for _ in 0..=random.usize(..4) {
            match random.choice(fragments) {
                Some(fragment) if random.u8(..3) == 0 => insert(&mut document, fragment, &mut random),
                _ => edits::edit(&mut document, &mut |below: usize| random.usize(..below.max(1))),
            }
        }
        if let Some(size) = put(&document.to_string(), data, max_size) {
            return size;
        }
    }
    fuzzer_mutate(data, size, max_size)
}

/// One document with a part of another in it.
pub fn cross(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut random = Rng::with_seed(seed.into());
    let read = |document: &[u8]| serde_json::from_slice::<Value>(document).ok();
    let crossed = read(one).zip(read(other)).and_then(|(mut one, other)| {
        let (to, from) = (random.choice(edits::pointers(&one))?, random.choice(edits::pointers(&other))?);
        *one.pointer_mut(&to)? = other.pointer(&from)?.clone();
        let room = out.len();
        put(&one.to_string(), out, room)
    });
    // Nothing is what libFuzzer takes for "these two can't be crossed".
    crossed.unwrap_or(0)
}

/// An object's fields join those of another, whatever else takes a place.
fn insert(document: &mut Value, fragment: &str, random: &mut Rng) {
    let mut fragment: Value = serde_json::from_str(fragment).expect("fragments are JSON");
    let Some(place) = random.choice(edits::pointers(document)) else { return };
    let Some(target) = document.pointer_mut(&place) else { return };
    match (target, &mut fragment) {
        (Value::Object(fields), Value::Object(more)) => fields.append(more),
        (target, _) => *target = fragment,
    }
}
