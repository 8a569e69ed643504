//! What can be reconciled.

use std::fmt;

use arcane_common::identity::{ObjectName, StreamKey};

use crate::work_queue::HasShare;

/// One thing to reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A StreamClass.
    Class(String),
    /// A StreamingJobTemplate.
    Template(ObjectName),
    /// A BackfillRequest that may belong to no stream.
    Request(ObjectName),
    /// A stream.
    Stream(StreamKey),
}

impl Key {
    /// Its namespace; a class is in none.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Class(_) => None,
            Self::Template(name) | Self::Request(name) => Some(&name.namespace),
            Self::Stream(key) => Some(&key.name.namespace),
        }
    }

    /// The kind, for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Class(_) => "StreamClass",
            Self::Template(_) => "StreamingJobTemplate",
            Self::Request(_) => "BackfillRequest",
            Self::Stream(_) => "Stream",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(name) => write!(f, "StreamClass {name}"),
            Self::Template(name) => write!(f, "StreamingJobTemplate {name}"),
            Self::Request(name) => write!(f, "BackfillRequest {name}"),
            Self::Stream(key) => write!(f, "{key}"),
        }
    }
}

/// Namespaces take turns; so do classes, which are in none, beside them.
impl HasShare for Key {
    fn share(&self) -> &str {
        self.namespace().unwrap_or_default()
    }
}
