//! Names of things, each with its rules.

use std::fmt;

/// The longest name of a stream: it becomes a label value.
pub const MAX_STREAM_NAME: usize = 63;

/// A namespaced name, printed as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectName {
    /// The object `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The API group and kind of a stream, e.g. `SqlServerStream.streaming.sneaksanddata.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl GroupKind {
    /// The kind `kind` of `group`.
    pub fn new(group: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { group: group.into(), kind: kind.into() }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.group)
    }
}

/// A stream among all streams of all plugins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// Its kind.
    pub kind: GroupKind,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.kind, self.name)
    }
}

/// The UID that the API server gave to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(String);

impl Uid {
    /// The UID as printed in `metadata.uid`.
    pub fn new(uid: impl Into<String>) -> Self {
        Self(uid.into())
    }

    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `name` if it fits into `limit` characters, else its beginning and a hash of the whole.
///
/// Two names never shorten to the same one (but for a collision of 40 bits).
pub fn shortened(name: &str, suffix: &str, limit: usize) -> String {
    if name.len() + suffix.len() <= limit {
        return format!("{name}{suffix}");
    }
    let hash = short_hash(name);
    let room = limit.saturating_sub(suffix.len() + hash.len() + 1);
    // Names of Kubernetes are ASCII; the boundary is sought all the same.
    let mut end = room.min(name.len());
    while end > 0 && !name.is_char_boundary(end) {
        end -= 1;
    }
    let head = name.get(..end).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{head}-{hash}{suffix}")
}

/// Ten hex digits that stand for `text`.
pub fn short_hash(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether an object can have this name: a subdomain by RFC 1123, as Kubernetes wants it of nearly all kinds.
pub fn can_be_a_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let (first, last) = (label.bytes().next(), label.bytes().last());
        first.is_some_and(is_letter)
            && last.is_some_and(is_letter)
            && label.bytes().all(|byte| is_letter(byte) || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_kept() {
        assert_eq!(shortened("orders", "-backfill", 63), "orders-backfill");
    }

    #[test]
    fn a_long_name_is_shortened_with_a_hash_and_keeps_its_suffix() {
        let a = shortened(&"a".repeat(63), "-backfill", 63);
        let b = shortened(&format!("{}b", "a".repeat(62)), "-backfill", 63);
        assert_eq!(a.len(), 63);
        assert!(a.ends_with("-backfill"));
        assert_ne!(a, b);
    }
}
