//! Transactions: private changes until COMMIT, then one record in the log.
//!
//! The life of a write: a statement locks the row and puts its new image into the transaction's buffer; COMMIT hands the
//! buffer to the sequencer, which gives it a timestamp and its place in the log; the applier installs it
//! when a majority has it; only then is the client answered.
//!
//! Invariants:
//! 1. Nothing uncommitted is in shared memory.
//! 2. A transaction that saw a commit which is sequenced but not yet applied answers nobody before it is applied.
//! 3. A future dropped at any await leaves either everything or nothing of its commit.

mod commit;
mod freshness;
mod level;
pub(crate) mod locks;
pub mod memory_log;
pub mod notify;
mod number;
mod read;
mod readers;
mod reads;
pub(crate) mod sequencer;
mod sequences;
mod shared;
mod temporary;
#[cfg(test)]
mod tests;
mod transaction;
mod write;
pub(crate) mod writes;

use std::time::Duration;

use crate::catalog::Oid;
use crate::session::Row;
use crate::storage::RowKey;

pub use freshness::{Freshness, Position};
pub use level::{CommitLevel, Committed};
pub use locks::{Advisory, RowLock, TableLock, Wait};
pub use number::SessionNumber;
pub(crate) use sequencer::Reign;
pub(crate) use sequences::SequenceState;
pub use shared::Transactions;
pub use temporary::{OnCommit, TemporarySpace};
pub use transaction::{SessionReign, Transaction};

/// Isolation levels; READ UNCOMMITTED is READ COMMITTED, as in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

#[derive(Debug, Clone)]
pub struct TransactionOptions {
    pub isolation: Isolation,
    /// Writes answer 25006.
    pub read_only: bool,
    /// Backend process number, for the detail of a deadlock.
    pub process: i32,
    /// `None`: wait for ever.
    pub lock_timeout: Option<Duration>,
}

/// What a statement needs to see before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// It reads by snapshot: all that the transaction depends on must be applied first.
    Snapshot,
    /// It reads nothing but rows by key that it locks first (INSERT … VALUES, UPDATE or DELETE by primary key at READ COMMITTED): no wait.
    /// So a hot row is not limited to one commit per fsync.
    LockedRows,
}

/// A row and its name.
#[derive(Debug, Clone, PartialEq)]
pub struct RowImage {
    pub key: RowKey,
    /// By attnum - 1; dropped columns are NULL.
    pub row: Row,
}

/// Result of [`Transaction::lock_row`].
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is returned; a box would cost each locked row one"
)]
pub enum Locked {
    /// The lock is held. `latest`: the newest version, own changes and sequenced commits included; `None`: the row is gone.
    /// `changed`: it is not the version that the snapshot sees, so a condition must be checked again.
    Held { latest: Option<Row>, changed: bool },
    /// [`Wait::SkipLocked`] and somebody else holds it.
    Skipped,
}

/// A unique key that is taken.
#[derive(Debug, Clone)]
pub struct Duplicate {
    /// The index that says so.
    pub index: Oid,
    /// The row that has the key, as sequenced now. It may be newer than the snapshot.
    pub existing: RowKey,
}

/// See [`Transaction::savepoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SavepointId(pub usize);
