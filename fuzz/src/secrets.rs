//! Changes of a Secret's `data`: of what is under which key, and of the bytes within the PEM armour.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;
use pem::{EncodeConfig, LineEnding, Pem};
use serde_json::{Map, Value, json};

use crate::put;

/// What is under each key.
pub type Data = BTreeMap<String, Vec<u8>>;

const KEYS: [&str; 8] =
    ["current.crt", "current.key", "next.crt", "next.key", "retired.crt", "tls.crt", "tls.key", "other"];

const TAGS: [&str; 6] =
    ["CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY", "EC PARAMETERS", "TRUSTED CERTIFICATE", "ENCRYPTED PRIVATE KEY"];

/// Reads `data` as it is in the JSON of a Secret.
pub fn read(input: &[u8]) -> Option<Data> {
    let fields: Map<String, Value> = serde_json::from_slice(input).ok()?;
    fields.into_iter().map(|(key, value)| Some((key, BASE64_STANDARD.decode(value.as_str()?).ok()?))).collect()
}

/// Changes a Secret in a few places.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Rng::with_seed(seed.into());
    if let Some(mut secret) = read(&data[..size]) {
        for _ in 0..=random.usize(..3) {
            edit(&mut secret, &mut random);
        }
        if let Some(size) = put(&written(&secret), data, max_size) {
            return size;
        }
    }
    fuzzer_mutate(data, size, max_size)
}

/// One Secret with some of another's values.
pub fn cross(one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut random = Rng::with_seed(seed.into());
    let crossed = read(one).zip(read(other)).and_then(|(mut one, other)| {
        one.extend(other.into_iter().filter(|_| random.bool()));
        let room = out.len();
        put(&written(&one), out, room)
    });
    crossed.unwrap_or(0)
}

fn written(secret: &Data) -> String {
    let fields = secret.iter().map(|(key, value)| (key.clone(), json!(BASE64_STANDARD.encode(value))));
    Value::Object(fields.collect()).to_string()
}

fn edit(secret: &mut Data, random: &mut Rng) {
    let key = random.choice(secret.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let other = random.choice(secret.values().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let Some(value) = secret.get_mut(&key) else {
        secret.insert(KEYS[random.usize(..KEYS.len())].to_owned(), b"-----BEGIN ".to_vec());
        return;
    };
    match random.u8(..16) {
        0 => {
            secret.remove(&key);
        }
        1 => {
            secret.insert(KEYS[random.usize(..KEYS.len())].to_owned(), other);
        }
        2 => *value = other,
        3 => value.extend(other),
        4..=5 => *value = mutated(value.clone(), random),
        _ => *value = edited_below_the_armour(value, random).unwrap_or_else(|| mutated(value.clone(), random)),
    }
}

/// One of the PEM blocks of a value, changed. None where there is no block.
fn edited_below_the_armour(value: &[u8], random: &mut Rng) -> Option<Vec<u8>> {
    let mut blocks = pem::parse_many(value).ok().filter(|blocks| !blocks.is_empty())?;
    let place = random.usize(..blocks.len());
    let (tag, contents) = (blocks[place].tag().to_owned(), blocks[place].contents().to_vec());
    match random.u8(..12) {
        0 => {
            blocks.remove(place);
        }
        1 => blocks.push(blocks[place].clone()),
        2 => blocks[place] = Pem::new(TAGS[random.usize(..TAGS.len())], contents),
        3..=6 => blocks[place] = Pem::new(tag, edited_der(contents, random)),
        _ => blocks[place] = Pem::new(tag, mutated(contents, random)),
    }
    let line_ending = if random.u8(..8) == 0 { LineEnding::CRLF } else { LineEnding::LF };
    Some(pem::encode_many_config(&blocks, EncodeConfig::new().set_line_ending(line_ending)).into_bytes())
}

/// What libFuzzer makes of these bytes.
fn mutated(mut bytes: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let size = bytes.len();
    bytes.resize(size + random.usize(1..64), 0);
    let room = bytes.len();
    let size = fuzzer_mutate(&mut bytes, size, room);
    bytes.truncate(size);
    bytes
}

/// One element of DER repeated, taken out, emptied or renamed, with all lengths around it as they have to be.
fn edited_der(der: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let Some((tag, content, rest)) = element(&der) else { return mutated(der, random) };
    let is_constructed = tag & 0x20 != 0 && element(content).is_some();
    let mut changed = if is_constructed && random.u8(..6) != 0 {
        // In one of its elements.
        let mut elements = elements(content);
        let place = random.usize(..elements.len());
        elements[place] = edited_der(elements[place].clone(), random);
        with_length(tag, &elements.concat())
    } else {
        match random.u8(..5) {
            0 => Vec::new(),
            1 => with_length(tag, content).repeat(2),
            2 => with_length(tag, b""),
            3 => with_length(random.u8(..), content),
            _ => with_length(tag, &mutated(content.to_vec(), random)),
        }
    };
    changed.extend_from_slice(rest);
    changed
}

fn elements(mut der: &[u8]) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    while let Some((tag, content, rest)) = element(der) {
        elements.push(with_length(tag, content));
        der = rest;
    }
    if !der.is_empty() {
        elements.push(der.to_vec());
    }
    elements
}

/// The first element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&short, der) = der.split_first()?;
    let (length, der) = if short < 0x80 {
        (usize::from(short), der)
    } else {
        let (length, der) = der.split_at_checked(usize::from(short & 0x7f)).filter(|(length, _)| length.len() < 4)?;
        (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), der)
    };
    let (content, rest) = der.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn with_length(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(length @ ..0x80) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => der.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    der.extend_from_slice(content);
    der
}
