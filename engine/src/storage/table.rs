//! A table as readers know it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use super::{RowKey, Snapshot};
use crate::catalog::{Oid, TableDef};
use crate::types::Datum;

/// The stored rows of one storage OID.
#[derive(Debug)]
pub struct TableStore {
    pub storage: Oid,
}

/// A definition with its rows. What plans hold; a transaction that changed the table's definition has its own.
#[derive(Debug)]
pub struct Table {
    pub def: Arc<TableDef>,
    pub store: Arc<TableStore>,
}

impl Table {
    /// Key of the row whose primary-key columns, in index order, are `values`. `None`: the table has no primary key.
    pub fn key(&self, _values: &[Datum]) -> Option<RowKey> {
        unreachable!()
    }

    /// Key of a whole row (by attnum - 1). `None`: the table has no primary key.
    pub fn key_of(&self, _row: &[Datum]) -> Option<RowKey> {
        unreachable!()
    }

    /// Whether [`crate::txn::Transaction::lookup`] on this index walks an ordered index. False for the primary key (a hash: all its
    /// columns must be given, else the lookup is a scan) and for an index created by the running transaction.
    pub fn is_ordered(&self, _index: Oid) -> bool {
        unreachable!()
    }

    /// Estimates for the planner; cheap.
    pub fn statistics(&self) -> TableStatistics {
        unreachable!()
    }
}

/// What a planner may know of a table. `None` means not known.
#[derive(Debug, Clone, Default)]
pub struct TableStatistics {
    pub rows: usize,
    pub bytes: usize,
    /// By attnum - 1.
    pub columns: Vec<ColumnStatistics>,
}

#[derive(Debug, Clone, Default)]
pub struct ColumnStatistics {
    /// Bounds that no row is outside of; arrays of one value of the column's Arrow type.
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub nulls: Option<usize>,
    /// Estimate (HyperLogLog).
    pub distinct: Option<usize>,
}

/// What is known of one chunk, for pruning. Columns by attnum - 1.
#[derive(Debug, Clone, Default)]
pub struct ChunkStats {
    pub rows: usize,
    pub columns: Vec<ColumnStatistics>,
}

/// Decides from a chunk's statistics whether any of its rows can qualify.
pub type Prune = Arc<dyn Fn(&ChunkStats) -> bool + Send + Sync>;

/// One table as one statement sees it: snapshot, and the transaction's own changes laid over it. Cheap to clone, `'static`,
/// keeps its snapshot registered: what a TableProvider holds.
#[derive(Debug, Clone)]
pub struct ScanSource {
    pub table: Arc<Table>,
    pub snapshot: Snapshot,
}

impl ScanSource {
    /// Number of memory partitions: scans take ranges of them. The transaction's own rows come with partition 0.
    pub fn partitions(&self) -> usize {
        unreachable!()
    }

    /// Visible rows of `partitions`; columns by attnum in the order of `projection`, then, if `row_id`, a UInt64 column
    /// with [`super::RowId`]s. Batches of at most 32 Ki rows; a chunk without dead rows is not copied.
    pub fn scan(&self, _partitions: Range<usize>, _projection: &[i16], _row_id: bool, _prune: Option<Prune>) -> Scan {
        unreachable!()
    }
}

/// Iterator over the batches of a scan.
#[derive(Debug)]
pub struct Scan {}

impl Iterator for Scan {
    type Item = RecordBatch;

    fn next(&mut self) -> Option<RecordBatch> {
        unreachable!()
    }
}
