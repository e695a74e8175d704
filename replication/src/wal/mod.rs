//! The write-ahead log of a node: one ordered, checksummed, preallocated file sequence for all groups.
//!
//! A caller changes a [`GroupLog`] in memory and queues the same change for the writer thread, which encodes all that
//! waits into one batch, writes it, syncs once, and then fires the callbacks ([`writer`]). [`recovery`] reads the
//! files back; [`format`] is their layout; [`disk`] is the only way to the file system. Nothing here knows Raft's
//! rules: votes and terms are numbers that have to be kept in order.
//!
//! Invariants:
//! 1. A batch is written only after the batch before it was synced, so a readable batch proves that all before it
//!    were synced; whenever the writer has nothing to do it leaves a mark that proves it of the last batch. Damage below
//!    what is proven to be synced is corruption, damage after it is a torn write.
//! 2. Changes reach the disk in the order in which they were queued, votes and entries alike.
//! 3. After a failed write or sync nothing is acknowledged any more; the process ends. Only a full disk is waited out:
//!    the space for a segment is allocated before anything is written to it.
//! 4. A segment is deleted only after the purge mark that makes it unneeded was synced, oldest first.

mod allocator;
mod buffers;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod crash_points;
pub mod disk;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod group;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code))] // the tests use all of it
pub mod memory_disk;
mod meter;
mod recovery;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use engine::commit_log::GroupId;
use serde::{Deserialize, Serialize};

pub use group::{GroupLog, LogSpan};
pub use writer::Wal;
#[cfg(any(test, feature = "simulation"))]
pub use writer::stepped::{Stepped, SteppedWriter};

use crate::FatalHandler;
use disk::Disk;

/// Term and index of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

/// What a node promised last: its vote in a term, or the leader that it accepted (`committed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredVote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// What the payload of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Blank,
    /// One of the engine's records.
    Record,
    /// Several of them.
    Records,
    Membership,
}

/// One entry of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub id: EntryId,
    pub kind: EntryKind,
    pub payload: Bytes,
}

impl LogEntry {
    /// Bytes that the entry takes in the log and, roughly, on the wire.
    pub fn size(&self) -> u64 {
        format::RECORD_HEADER as u64 + self.payload.len() as u64
    }
}

/// Sizes of the log.
#[derive(Debug, Clone, Copy)]
pub struct WalOptions {
    /// Bytes of one segment; a larger batch gets a segment of its own size.
    pub segment_bytes: u64,
    /// Bytes of recent entries kept in memory for each group, beyond those that are not yet written.
    pub cache_bytes: u64,
    /// Bytes that may wait for the writer before [`GroupLog::room`] waits.
    pub queue_bytes_max: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, cache_bytes: 8 << 20, queue_bytes_max: 256 << 20 }
    }
}

/// Why the log cannot be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// Synced data cannot be read back. The node must not vote with it.
    #[error("{0}")]
    Corrupt(String),
    /// Whole, as far as can be told, and written by another version.
    #[error("{0}")]
    Version(String),
    #[error("{context}: {source}")]
    Io { context: String, source: Arc<std::io::Error> },
    /// A write or sync failed before; nothing is acknowledged any more.
    #[error("the log stopped after a failure: {0}")]
    Stopped(String),
}

impl WalError {
    fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { context: context.into(), source: Arc::new(source) }
    }
}

impl From<WalError> for std::io::Error {
    fn from(error: WalError) -> Self {
        std::io::Error::other(error)
    }
}

/// Called once the change is on stable storage, or never will be acknowledged. Runs on the writer thread.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// Opens the log in `disk`, or begins an empty one, and starts its writer thread.
pub fn open(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    groups: &[GroupId],
    on_fatal: FatalHandler,
) -> Result<Wal, WalError> {
    let recovered = recovery::recover(disk.as_ref(), groups)?;
    Wal::start(disk, options, recovered, on_fatal)
}
