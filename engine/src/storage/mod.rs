//! Partitioned multi-version storage: what every table holds in memory, at every snapshot that someone still needs.
//!
//! A [`Table`] joins a definition of the catalog with its [`TableStore`]; a store is split by hash of the row key into
//! partitions, each an indexed list of immutable chunks and one hot chunk. Only the applier installs versions; readers
//! see those whose commit timestamp is at or below their [`Snapshot`].
//!
//! Invariants:
//! 1. A version is immutable but for its end, which is set once.
//! 2. `begin` timestamps grow along a row's version chain from tail to head.
//! 3. Nothing that a registered snapshot can see is ever dropped.
//! 4. A [`RowId`] names the same row as long as a snapshot can see it.

pub mod key;
pub mod snapshot;
pub mod table;

use serde::{Deserialize, Serialize};

pub use key::{IndexRange, RowKey};
pub use snapshot::Snapshot;
pub use table::{ChunkStats, ColumnStatistics, ScanSource, Table, TableStatistics, TableStore};

/// A commit's place in time: hybrid logical clock, monotone in log order. Snapshots are such timestamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitTs(pub u64);

impl CommitTs {
    /// Later than every commit: reads the newest installed version.
    pub const MAX: CommitTs = CommitTs(u64::MAX);
}

/// A row while a snapshot can see it: partition (16 bits) and handle (32 bits). Partition 0xffff: a row of the reading
/// transaction's own buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

impl RowId {
    /// Partition number of rows that are only in the transaction's buffer.
    pub const BUFFER: u16 = u16::MAX;

    pub const fn new(partition: u16, handle: u32) -> Self {
        RowId((partition as u64) << 32 | handle as u64)
    }

    pub const fn partition(self) -> u16 {
        (self.0 >> 32) as u16
    }

    pub const fn handle(self) -> u32 {
        self.0 as u32
    }
}
