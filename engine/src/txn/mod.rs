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

pub mod locks;

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use crate::catalog::{Catalog, CatalogChange, Oid, SequenceDef};
use crate::error::Result;
use crate::session::Row;
use crate::storage::{IndexRange, RowId, RowKey, ScanSource, Snapshot, Table};

pub use locks::{RowLock, TableLock, Wait};

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

/// What all transactions share. One per engine.
pub struct Transactions {}

/// One transaction of one session.
pub struct Transaction {}

impl Transaction {
    /// Starts a transaction; its first snapshot is taken by the first [`Self::begin_statement`].
    pub fn begin(_shared: &Arc<Transactions>, _options: TransactionOptions) -> Transaction {
        unreachable!()
    }

    pub fn isolation(&self) -> Isolation {
        unreachable!()
    }

    /// Whether anything would be written by a commit.
    pub fn has_writes(&self) -> bool {
        unreachable!()
    }

    /// Call at the start of every statement: a fresh snapshot (READ COMMITTED) or the transaction's first; passes the
    /// log's read barrier if the transaction has written nothing yet and the barrier is not free.
    pub async fn begin_statement(&mut self, _reads: Reads) -> Result<()> {
        unreachable!()
    }

    /// Returns when everything that was read is applied here: before results of a statement that locked rows leave.
    pub async fn wait_for_dependencies(&mut self) -> Result<()> {
        unreachable!()
    }

    pub fn snapshot(&self) -> &Snapshot {
        unreachable!()
    }

    /// The catalog as this transaction sees it: its own DDL included.
    pub fn catalog(&self) -> Arc<Catalog> {
        unreachable!()
    }

    /// A table of [`Self::catalog`].
    pub fn table(&self, _oid: Oid) -> Option<Arc<Table>> {
        unreachable!()
    }

    /// Columns `projection` (attnums) of a row by its key; all of them, by attnum - 1, without one.
    pub fn get(&mut self, _table: &Arc<Table>, _key: &RowKey, _projection: Option<&[i16]>) -> Option<Row> {
        unreachable!()
    }

    /// The row behind a [`RowId`] of a scan of this statement.
    pub fn fetch(&mut self, _table: &Arc<Table>, _id: RowId) -> Option<RowImage> {
        unreachable!()
    }

    /// Rows of a part of an index, in its order, at most `limit`.
    pub fn lookup(
        &mut self,
        _table: &Arc<Table>,
        _index: Oid,
        _range: &IndexRange,
        _limit: usize,
    ) -> Result<Vec<RowImage>> {
        unreachable!()
    }

    /// The table for a scan by the general path; snapshot and own changes as of now.
    pub fn scan(&mut self, _table: &Arc<Table>) -> ScanSource {
        unreachable!()
    }

    /// Locks a row and says what it is now. At REPEATABLE READ and above a row that changed after the snapshot is 40001.
    pub async fn lock_row(
        &mut self,
        _table: &Arc<Table>,
        _key: &RowKey,
        _mode: RowLock,
        _wait: Wait,
    ) -> Result<Locked> {
        unreachable!()
    }

    /// Locks the row's unique keys, checks them, and buffers the row. The row is whole and checked (types, NOT NULL, CHECK).
    pub async fn insert(&mut self, _table: &Arc<Table>, _row: Row) -> Result<Result<RowKey, Duplicate>> {
        unreachable!()
    }

    /// Inserts all rows of a batch, whose columns are the table's not-dropped ones in attnum order; nothing of it on a duplicate.
    pub async fn insert_batch(&mut self, _table: &Arc<Table>, _batch: RecordBatch) -> Result<Result<(), Duplicate>> {
        unreachable!()
    }

    /// Replaces a row that [`Self::lock_row`] holds. A changed primary key is a delete and an insert. Answers the row's key.
    pub async fn update(&mut self, _table: &Arc<Table>, _key: &RowKey, _new: Row) -> Result<Result<RowKey, Duplicate>> {
        unreachable!()
    }

    /// Deletes a row that [`Self::lock_row`] holds.
    pub async fn delete(&mut self, _table: &Arc<Table>, _key: &RowKey) -> Result<()> {
        unreachable!()
    }

    /// Announces that a statement will write many rows of a table: takes the whole table if it is free, so that rows need no
    /// locks of their own.
    pub fn expect_many_writes(&mut self, _table: &Arc<Table>) {}

    pub async fn lock_table(&mut self, _oid: Oid, _mode: TableLock, _wait: Wait) -> Result<bool> {
        unreachable!()
    }

    /// Advisory lock of the transaction. `false`: not free and `wait` is not Block.
    pub async fn lock_advisory(&mut self, _key: i64, _shared: bool, _wait: Wait) -> Result<bool> {
        unreachable!()
    }

    /// A place to roll back to. Nested ones are numbered; the number goes to [`Self::rollback_to`].
    pub fn savepoint(&mut self) -> SavepointId {
        unreachable!()
    }

    /// Undoes everything since the savepoint, which stays.
    pub fn rollback_to(&mut self, _savepoint: SavepointId) {}

    /// Forgets the savepoint and those after it; what was done stays.
    pub fn release(&mut self, _savepoint: SavepointId) {}

    /// One step of DDL. The caller holds the table lock that PostgreSQL would.
    pub fn change_catalog(&mut self, _change: CatalogChange) -> Result<()> {
        unreachable!()
    }

    /// First pair of rows (own changes included) that have equal, not-null values in `columns`: why a unique index cannot be created.
    pub fn find_duplicate(&mut self, _table: &Arc<Table>, _columns: &[i16]) -> Option<Row> {
        unreachable!()
    }

    /// Next value of a sequence (2200H at its end). Never rolled back.
    pub async fn nextval(&mut self, _sequence: &SequenceDef) -> Result<i64> {
        unreachable!()
    }

    pub async fn setval(&mut self, _sequence: &SequenceDef, _value: i64, _called: bool) -> Result<()> {
        unreachable!()
    }

    /// `last_value` and `is_called`.
    pub fn sequence_state(&self, _sequence: &SequenceDef) -> (i64, bool) {
        unreachable!()
    }

    /// Commits. Dropping the future loses only the answer. Errors: 40001 and 25006 mean that nothing happened; 08007 that
    /// nobody knows.
    pub async fn commit(self) -> Result<()> {
        unreachable!()
    }

    /// Forgets everything (so does dropping).
    pub fn rollback(self) {}
}

/// See [`Transaction::savepoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SavepointId(pub usize);
