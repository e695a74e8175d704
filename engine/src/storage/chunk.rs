//! Chunks: a run of row versions of one partition. The hot chunk grows; a sealed one is immutable Arrow arrays, and
//! only the ends of its versions change; a frozen one has forgotten begins and predecessors, because every snapshot sees
//! its versions unless they ended.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::CommitTs;
use super::cell::{Cell, cell_at};
use super::column::Column;
use super::layout::Layout;
use super::stats::Summary;
use crate::error::{Error, Result};
use crate::types::Datum;

/// Rows of a full chunk; a row's place in it is 16 bits.
pub(crate) const CHUNK_ROWS: usize = 1 << 16;
/// A hot chunk is sealed at so many rows, or bytes.
pub(crate) const HOT_ROWS: usize = 1 << 13;
pub(crate) const HOT_BYTES: usize = 8 << 20;

/// End of a version that has none, later than every snapshot.
pub(crate) const LIVE: u64 = u64::MAX;

/// Place of a version in its partition: slot of the chunk and row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loc(u32);

impl Loc {
    pub const NONE: Loc = Loc(u32::MAX);

    pub fn new(slot: usize, row: usize) -> Loc {
        debug_assert!(slot < 0xffff && row < CHUNK_ROWS);
        Loc((slot as u32) << 16 | row as u32)
    }

    pub fn slot(self) -> usize {
        (self.0 >> 16) as usize
    }

    pub fn row(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    pub fn is_none(self) -> bool {
        self == Loc::NONE
    }
}

/// Names the content of an immutable chunk, on this node, for ever: unchanged chunks are linked from checkpoint to
/// checkpoint by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ChunkId {
    process: u64,
    number: u64,
}

impl ChunkId {
    pub fn next() -> ChunkId {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let process = *PROCESS.get_or_init(rand::random);
        ChunkId { process, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn file_name(&self) -> String {
        format!("chunk-{:016x}-{:x}.arrow", self.process, self.number)
    }
}

/// The growing chunk of a partition.
#[derive(Debug)]
pub(crate) struct Hot {
    /// By attnum - 1; `None`: dropped.
    pub columns: Vec<Option<Column>>,
    pub hidden: Option<Vec<i64>>,
    pub begins: Vec<u64>,
    pub ends: Vec<u64>,
    pub preds: Vec<Loc>,
    pub handles: Vec<u32>,
    pub bytes: usize,
}

impl Hot {
    pub fn new(layout: &Layout) -> Hot {
        Hot {
            columns: layout.types.iter().map(|ty| ty.map(Column::new)).collect(),
            hidden: layout.is_hidden().then(Vec::new),
            begins: Vec::new(),
            ends: Vec::new(),
            preds: Vec::new(),
            handles: Vec::new(),
            bytes: 0,
        }
    }

    pub fn rows(&self) -> usize {
        self.begins.len()
    }

    pub fn is_full(&self) -> bool {
        self.fullness() >= 1.0
    }

    /// How full it is, by its rows or by their bytes.
    pub fn fullness(&self) -> f64 {
        (self.rows() as f64 / HOT_ROWS as f64).max(self.bytes as f64 / HOT_BYTES as f64)
    }

    /// Ends the row whose cells were just pushed.
    pub fn finish_row(&mut self, begin: CommitTs, pred: Loc, handle: u32, hidden: Option<i64>) {
        self.begins.push(begin.0);
        self.ends.push(LIVE);
        self.preds.push(pred);
        self.handles.push(handle);
        if let Some(numbers) = &mut self.hidden {
            numbers.push(hidden.unwrap_or(0));
        }
        debug_assert!(self.columns.iter().flatten().all(|c| c.len() == self.begins.len()));
    }

    pub fn seal(self) -> Result<Chunk> {
        let rows = self.begins.len();
        let array = |c: Option<Column>| c.map(Column::into_array).transpose();
        let columns: Result<Vec<_>, _> = self.columns.into_iter().map(array).collect();
        let columns = columns.map_err(|e| Error::internal(e.to_string()))?;
        let mut ends = Ends::None;
        for (row, &end) in self.ends.iter().enumerate().filter(|(_, end)| **end != LIVE) {
            ends.set(row, end, rows);
        }
        let versions = Versions {
            begins: Begins::Each(self.begins.into_boxed_slice()),
            preds: Some(self.preds.into_boxed_slice()),
            ends,
        };
        Ok(Chunk::new(columns, self.hidden.map(Vec::into_boxed_slice), self.handles.into_boxed_slice(), versions))
    }
}

/// An immutable chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub id: ChunkId,
    pub rows: usize,
    /// By attnum - 1; a column beyond the end, or `None`, was added after the chunk (or dropped).
    pub columns: Vec<Option<ArrayRef>>,
    pub hidden: Option<Box<[i64]>>,
    pub handles: Box<[u32]>,
    /// Changed only with the partition's write lock held; its own lock is for scans, which hold none of the partition's.
    pub versions: RwLock<Versions>,
    summaries: OnceLock<Vec<Option<Summary>>>,
    pub bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Versions {
    pub begins: Begins,
    pub preds: Option<Box<[Loc]>>,
    pub ends: Ends,
}

#[derive(Debug, Clone)]
pub(crate) enum Begins {
    /// Older than every snapshot.
    Frozen,
    All(CommitTs),
    Each(Box<[u64]>),
}

#[derive(Debug, Clone)]
pub(crate) enum Ends {
    None,
    Sparse(HashMap<u16, u64>),
    Dense(Box<[u64]>),
}

/// Which rows of a chunk a snapshot sees.
pub(crate) enum Visible {
    All,
    None,
    Some(BooleanBuffer),
}

impl Ends {
    pub fn get(&self, row: usize) -> u64 {
        match self {
            Ends::None => LIVE,
            Ends::Sparse(map) => map.get(&(row as u16)).copied().unwrap_or(LIVE),
            Ends::Dense(ends) => ends[row],
        }
    }

    pub fn set(&mut self, row: usize, end: u64, rows: usize) {
        match self {
            Ends::None => *self = Ends::Sparse(HashMap::from_iter([(row as u16, end)])),
            // A map entry takes about three times the eight bytes of a dense one.
            Ends::Sparse(map) if map.len() * 4 > rows => {
                let mut ends = vec![LIVE; rows].into_boxed_slice();
                map.iter().for_each(|(row, end)| ends[usize::from(*row)] = *end);
                ends[row] = end;
                *self = Ends::Dense(ends);
            }
            Ends::Sparse(map) => {
                map.insert(row as u16, end);
            }
            Ends::Dense(ends) => ends[row] = end,
        }
    }

    /// Rows that ended at or before `ts`.
    pub fn ended(&self, ts: CommitTs) -> Vec<usize> {
        match self {
            Ends::None => Vec::new(),
            Ends::Sparse(map) => {
                map.iter().filter(|(_, end)| **end <= ts.0).map(|(row, _)| usize::from(*row)).collect()
            }
            Ends::Dense(ends) => ends.iter().enumerate().filter(|(_, end)| **end <= ts.0).map(|(row, _)| row).collect(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Ends::None => 0,
            Ends::Sparse(map) => map.allocation_size(),
            Ends::Dense(ends) => ends.len() * 8,
        }
    }
}

impl Versions {
    pub fn begin(&self, row: usize) -> u64 {
        match &self.begins {
            Begins::Frozen => 0,
            Begins::All(ts) => ts.0,
            Begins::Each(begins) => begins[row],
        }
    }

    pub fn pred(&self, row: usize) -> Loc {
        self.preds.as_ref().map_or(Loc::NONE, |p| p[row])
    }

    pub fn visible(&self, snapshot: CommitTs, rows: usize) -> Visible {
        let ended = self.ends.ended(snapshot);
        match &self.begins {
            Begins::All(ts) if *ts > snapshot => Visible::None,
            Begins::Each(begins) if begins.iter().any(|b| *b > snapshot.0) => {
                Visible::Some(BooleanBuffer::collect_bool(rows, |row| {
                    begins[row] <= snapshot.0 && self.ends.get(row) > snapshot.0
                }))
            }
            _ if ended.is_empty() => Visible::All,
            _ if ended.len() == rows => Visible::None,
            _ => {
                let mut mask = vec![true; rows];
                ended.into_iter().for_each(|row| mask[row] = false);
                Visible::Some(BooleanBuffer::from(mask))
            }
        }
    }
}

impl Chunk {
    pub fn new(
        columns: Vec<Option<ArrayRef>>,
        hidden: Option<Box<[i64]>>,
        handles: Box<[u32]>,
        versions: Versions,
    ) -> Chunk {
        let rows = handles.len();
        let arrays: usize = columns.iter().flatten().map(|c| c.get_array_memory_size()).sum();
        let bytes = arrays + handles.len() * 4 + hidden.as_ref().map_or(0, |h| h.len() * 8) + 256;
        Chunk {
            id: ChunkId::next(),
            rows,
            columns,
            hidden,
            handles,
            versions: RwLock::new(versions),
            summaries: OnceLock::new(),
            bytes,
        }
    }

    /// The value of a row in a column (attnum - 1).
    pub fn cell<'a>(&'a self, row: usize, column: usize, layout: &'a Layout) -> Cell<'a> {
        match (self.columns.get(column), layout.ty(column)) {
            (Some(Some(array)), Some(_)) => cell_at(array, row),
            (_, Some(_)) => layout.missing.get(column).map_or(Cell::Null, Cell::from),
            (_, None) => Cell::Null,
        }
    }

    /// Bytes, versions included.
    pub fn total_bytes(&self) -> usize {
        let versions = self.versions.read();
        let begins = if let Begins::Each(b) = &versions.begins { b.len() * 8 } else { 0 };
        self.bytes + begins + versions.preds.as_ref().map_or(0, |p| p.len() * 4) + versions.ends.bytes()
    }

    /// Statistics by attnum - 1, made when first asked for.
    pub fn summaries(&self, layout: &Layout) -> &[Option<Summary>] {
        self.summaries.get_or_init(|| {
            let summary = |(column, array): (usize, &Option<ArrayRef>)| {
                let (array, ty) = (array.as_ref()?, layout.ty(column)?);
                Some(Summary::new(array, ty))
            };
            self.columns.iter().enumerate().map(summary).collect()
        })
    }
}

/// Memory that one value takes, about.
pub(crate) fn datum_bytes(datum: &Datum) -> usize {
    match datum {
        Datum::Null | Datum::Bool(_) => 1,
        Datum::Text(v) => v.len() + 4,
        Datum::Bytea(v) => v.len() + 4,
        Datum::Numeric(_) | Datum::Interval(_) | Datum::Uuid(_) => 16,
        Datum::Array(v) => v.iter().map(datum_bytes).sum::<usize>() + 4,
        _ => 8,
    }
}

pub(crate) fn row_bytes(row: &[Datum]) -> usize {
    row.iter().map(datum_bytes).sum::<usize>() + 32
}
