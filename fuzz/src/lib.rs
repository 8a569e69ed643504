//! How libFuzzer changes an input here: as the document that it is. Bytes alone would mostly find out what is no JSON.
//!
//! The same seed makes the same change, as libFuzzer asks for.

pub mod documents;
#[allow(missing_docs)]
#[path = "../../webhook/tests/reviews/edits.rs"]
pub mod edits;
pub mod secrets;

/// Puts a text in the place of the input, if there is room for it.
fn put(text: &str, data: &mut [u8], max_size: usize) -> Option<usize> {
    let room = data.get_mut(..text.len()).filter(|_| text.len() <= max_size)?;
    room.copy_from_slice(text.as_bytes());
    Some(text.len())
}
