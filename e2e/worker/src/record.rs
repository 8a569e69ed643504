//! The lines that a worker leaves behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{RECORDS, say};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The lock was free: work begins.
    Begin,
    /// Another worker of the same stream held the lock.
    SecondWriter,
    /// Work has ended.
    End,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, by the node's clock.
    pub at: String,
    /// What.
    pub event: Event,
    /// The stream.
    pub stream: String,
    /// The pod.
    pub pod: String,
    /// `STREAMCONTEXT__BACKFILL`.
    pub backfill: String,
    /// `STREAMCONTEXT__BACKFILL_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill_id: Option<String>,
    /// `STREAMCONTEXT__SPEC`.
    pub spec: serde_json::Value,
}

/// The records of one stream, and its lock for as long as this lives.
pub struct Ledger {
    lines: File,
    held: Option<File>,
}

impl Ledger {
    /// Takes the lock, or finds it taken. `None` where there is no volume for records.
    pub fn open(stream: &str) -> Result<Option<Self>, String> {
        if !Path::new(RECORDS).is_dir() {
            return Ok(None);
        }
        let lock = append(&path(stream, "lock"))?;
        let held = match lock.try_lock() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock: {error}")),
        };
        Ok(Some(Self { lines: append(&path(stream, "jsonl"))?, held }))
    }

    /// Whether we are the only writer.
    pub fn is_ours(&self) -> bool {
        self.held.is_some()
    }

    /// Appends a line, whole.
    pub fn write(&mut self, record: &Record) -> Result<(), String> {
        let mut line = serde_json::to_string(record).map_err(|error| error.to_string())?;
        line.push('\n');
        self.lines.write_all(line.as_bytes()).map_err(|error| format!("cannot record: {error}"))
    }
}

/// Prints the records of a stream.
pub fn print(stream: &str) -> Result<(), String> {
    match std::fs::read_to_string(path(stream, "jsonl")) {
        Ok(lines) => lines.lines().for_each(say),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("cannot read: {error}")),
    }
    Ok(())
}

/// Removes the records of a stream.
pub fn forget(stream: &str) -> Result<(), String> {
    for suffix in ["jsonl", "lock"] {
        match std::fs::remove_file(path(stream, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(format!("cannot remove: {error}")),
            _ => {}
        }
    }
    Ok(())
}

fn path(stream: &str, suffix: &str) -> PathBuf {
    Path::new(RECORDS).join(format!("{stream}.{suffix}"))
}

fn append(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| format!("cannot open {}: {error}", path.display()))
}
