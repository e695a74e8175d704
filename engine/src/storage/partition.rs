//! One memory partition of a table: its chunks, its rows' heads, and the hash index of their keys.
//!
//! Invariants:
//! 1. Every row key has one handle; `heads[handle]` is its newest version, whose chain leads to all that are needed.
//! 2. A handle is in `index` exactly while the row has a version that is not collected.
//! 3. `garbage` is ordered by end.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use hashbrown::HashTable;

use super::CommitTs;
use super::cell::{Cell, cell_at};
use super::chunk::{Begins, Chunk, Ends, Hot, LIVE, Loc, Versions, datum_bytes, row_bytes};
use super::key::{RowKey, hash_int4};
use super::layout::{KeyLayout, Layout};
use crate::error::{Error, Result};
use crate::session::Row;
use crate::types::Datum;

#[derive(Debug)]
pub(crate) enum Slot {
    Empty,
    Hot(Box<Hot>),
    Chunk(Arc<Chunk>),
}

/// Versions and heads, apart from the index over them so that the index can hash through them.
#[derive(Debug, Default)]
pub(crate) struct Versioned {
    pub slots: Vec<Slot>,
    pub heads: Vec<Loc>,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub rows: Versioned,
    pub index: HashTable<u32>,
    pub free_slots: Vec<usize>,
    pub free_handles: Vec<u32>,
    pub hot: Option<usize>,
    /// Ended versions that are not collected: end and handle.
    pub garbage: VecDeque<(CommitTs, u32)>,
}

impl Versioned {
    /// Begin, end and predecessor of a version.
    pub fn version(&self, loc: Loc) -> (u64, u64, Loc) {
        match &self.slots[loc.slot()] {
            Slot::Hot(hot) => {
                let row = loc.row();
                (hot.begins[row], hot.ends[row], hot.preds[row])
            }
            Slot::Chunk(chunk) => {
                let versions = chunk.versions.read();
                (versions.begin(loc.row()), versions.ends.get(loc.row()), versions.pred(loc.row()))
            }
            Slot::Empty => unreachable!("a version in an empty slot"),
        }
    }

    pub fn set_end(&mut self, loc: Loc, end: CommitTs) {
        match &mut self.slots[loc.slot()] {
            Slot::Hot(hot) => hot.ends[loc.row()] = end.0,
            Slot::Chunk(chunk) => chunk.versions.write().ends.set(loc.row(), end.0, chunk.rows),
            Slot::Empty => unreachable!("a version in an empty slot"),
        }
    }

    pub fn set_pred(&mut self, loc: Loc, pred: Loc) {
        match &mut self.slots[loc.slot()] {
            Slot::Hot(hot) => hot.preds[loc.row()] = pred,
            Slot::Chunk(chunk) => {
                if let Some(preds) = &mut chunk.versions.write().preds {
                    preds[loc.row()] = pred;
                }
            }
            Slot::Empty => unreachable!("a version in an empty slot"),
        }
    }

    /// The value of a version in a column (attnum - 1).
    pub fn cell<'a>(&'a self, loc: Loc, column: usize, layout: &'a Layout) -> Cell<'a> {
        match &self.slots[loc.slot()] {
            Slot::Hot(hot) => match hot.columns.get(column) {
                Some(Some(values)) if layout.ty(column).is_some() => values.cell(loc.row()),
                None if layout.ty(column).is_some() => layout.missing.get(column).map_or(Cell::Null, Cell::from),
                _ => Cell::Null,
            },
            Slot::Chunk(chunk) => chunk.cell(loc.row(), column, layout),
            Slot::Empty => unreachable!("a version in an empty slot"),
        }
    }

    pub fn datum(&self, loc: Loc, column: usize, layout: &Layout) -> Datum {
        layout.ty(column).map_or(Datum::Null, |ty| self.cell(loc, column, layout).to_datum(ty))
    }

    /// Whole row, or the columns of `projection` (attnums).
    pub fn row(&self, loc: Loc, layout: &Layout, projection: Option<&[i16]>) -> Row {
        match projection {
            None => (0..layout.types.len()).map(|c| self.datum(loc, c, layout)).collect(),
            Some(attnums) => attnums.iter().map(|a| self.datum(loc, (*a - 1) as usize, layout)).collect(),
        }
    }

    /// Key of a version's row. `key`: the store's key layout (its columns never change type or place).
    pub fn key(&self, loc: Loc, key: &KeyLayout) -> RowKey {
        match (key, &self.slots[loc.slot()]) {
            (KeyLayout::Hidden, Slot::Hot(hot)) => RowKey::hidden(hot.hidden.as_ref().map_or(0, |h| h[loc.row()])),
            (KeyLayout::Hidden, Slot::Chunk(chunk)) => {
                RowKey::hidden(chunk.hidden.as_ref().map_or(0, |h| h[loc.row()]))
            }
            (_, Slot::Hot(hot)) => key.encode(|column| match hot.columns.get(column) {
                Some(Some(values)) => values.cell(loc.row()),
                _ => Cell::Null,
            }),
            (_, Slot::Chunk(chunk)) => key.encode(|column| match chunk.columns.get(column) {
                Some(Some(array)) => cell_at(array, loc.row()),
                _ => Cell::Null,
            }),
            (_, Slot::Empty) => unreachable!("a version in an empty slot"),
        }
    }

    /// Hash of a version's key.
    fn key_hash(&self, loc: Loc, key: &KeyLayout, seed: u64) -> u64 {
        if let (KeyLayout::Int4(column), Slot::Chunk(chunk)) = (key, &self.slots[loc.slot()])
            && let Some(Some(array)) = chunk.columns.get(*column)
            && let Some(values) = array.as_primitive_opt::<Int32Type>()
        {
            return hash_int4(seed, values.value(loc.row()));
        }
        self.key(loc, key).hash(seed)
    }

    /// The version of a row that `snapshot` sees.
    pub fn visible(&self, handle: u32, snapshot: CommitTs) -> Option<Loc> {
        let mut loc = self.heads[handle as usize];
        while !loc.is_none() {
            let (begin, end, pred) = self.version(loc);
            if begin <= snapshot.0 {
                return (end > snapshot.0).then_some(loc);
            }
            loc = pred;
        }
        None
    }
}

impl Partition {
    pub fn find(&self, hash: u64, key: &RowKey, layout: &KeyLayout) -> Option<u32> {
        let equal = |handle: &u32| self.rows.key(self.rows.heads[*handle as usize], layout) == *key;
        self.index.find(hash, equal).copied()
    }

    /// False only if no key with this hash is in the index.
    pub fn may_know(&self, hash: u64) -> bool {
        self.index.find(hash, |_| true).is_some()
    }

    pub fn hot(&self) -> Option<&Hot> {
        match self.rows.slots.get(self.hot?) {
            Some(Slot::Hot(hot)) => Some(hot),
            _ => None,
        }
    }

    /// Installs a new row, or a new version of one that was deleted and is still remembered.
    pub fn insert(
        &mut self,
        key: &RowKey,
        hash: u64,
        seed: u64,
        row: &[Datum],
        layout: &Layout,
        ts: CommitTs,
    ) -> Result<u32> {
        let slot = self.hot_slot(layout)?;
        let old = self.find(hash, key, &layout.key);
        let pred = old.map_or(Loc::NONE, |handle| self.rows.heads[handle as usize]);
        if !pred.is_none() && self.rows.version(pred).1 == LIVE {
            return Err(Error::internal("a record inserts a row that exists"));
        }
        let handle = match old {
            Some(handle) => handle,
            None => self.new_handle(),
        };
        let Slot::Hot(hot) = &mut self.rows.slots[slot] else { unreachable!("the hot slot holds the hot chunk") };
        let loc = Loc::new(slot, hot.rows());
        for (column, values) in hot.columns.iter_mut().enumerate() {
            if let Some(values) = values {
                let missing = layout.missing.get(column).unwrap_or(&Datum::Null);
                values.push(&Cell::from(row.get(column).unwrap_or(missing)))?;
            }
        }
        hot.finish_row(ts, pred, handle, key.hidden_number());
        hot.bytes += row_bytes(row);
        self.rows.heads[handle as usize] = loc;
        if old.is_none() {
            self.add_to_index(hash, seed, handle, &layout.key);
        }
        Ok(handle)
    }

    /// Installs a new version of a live row; columns that are not in `changes` (attnum - 1) keep their values.
    pub fn update(&mut self, handle: u32, changes: &[(usize, Datum)], layout: &Layout, ts: CommitTs) -> Result<()> {
        let slot = self.hot_slot(layout)?;
        let old = self.rows.heads[handle as usize];
        let kept = match &self.rows.slots[old.slot()] {
            Slot::Chunk(chunk) => Some(chunk.clone()),
            _ => None,
        };
        let Slot::Hot(hot) = &mut self.rows.slots[slot] else { unreachable!("the hot slot holds the hot chunk") };
        let loc = Loc::new(slot, hot.rows());
        let (mut bytes, mut changed) = (32, changes.iter().peekable());
        for (column, values) in hot.columns.iter_mut().enumerate() {
            let change = changed.next_if(|(c, _)| *c == column);
            let Some(values) = values else { continue };
            match (change, &kept) {
                (Some((_, datum)), _) => {
                    bytes += datum_bytes(datum);
                    values.push(&Cell::from(datum))?;
                }
                (None, Some(chunk)) => {
                    bytes += 8;
                    values.push(&chunk.cell(old.row(), column, layout))?;
                }
                (None, None) => values.push_copy(old.row())?,
            }
        }
        let hidden = hot.hidden.as_ref().map(|h| match &kept {
            Some(chunk) => chunk.hidden.as_ref().map_or(0, |h| h[old.row()]),
            None => h[old.row()],
        });
        hot.finish_row(ts, old, handle, hidden);
        hot.bytes += bytes;
        self.rows.heads[handle as usize] = loc;
        self.rows.set_end(old, ts);
        self.garbage.push_back((ts, handle));
        Ok(())
    }

    pub fn delete(&mut self, handle: u32, ts: CommitTs) {
        self.rows.set_end(self.rows.heads[handle as usize], ts);
        self.garbage.push_back((ts, handle));
    }

    /// Installs a whole chunk of new rows. `keys`: hash of every row's key.
    pub fn insert_chunk(
        &mut self,
        columns: Vec<Option<ArrayRef>>,
        hidden: Option<Box<[i64]>>,
        hashes: &[u64],
        seed: u64,
        key: &KeyLayout,
        begins: Begins,
    ) -> Result<Vec<u32>> {
        let slot = self.free_slot()?;
        let handles: Vec<u32> = hashes.iter().map(|_| self.new_handle()).collect();
        for (row, handle) in handles.iter().enumerate() {
            self.rows.heads[*handle as usize] = Loc::new(slot, row);
        }
        let versions = Versions { begins, preds: None, ends: Ends::None };
        debug_assert!(columns.iter().flatten().all(|c| c.len() == hashes.len()));
        let chunk = Chunk::new(columns, hidden, handles.clone().into_boxed_slice(), versions);
        self.rows.slots[slot] = Slot::Chunk(Arc::new(chunk));
        // Space for these, and none of them is hashed again: their hashes are at hand.
        self.make_space(handles.len(), seed, key);
        for (handle, hash) in handles.iter().zip(hashes) {
            self.add_to_index(*hash, seed, *handle, key);
        }
        Ok(handles)
    }

    /// Makes space for more rows in the index. Rows are hashed in the order of their handles, which is about the order in
    /// which they lie in memory, and not in that of the index, where each would miss every cache.
    fn make_space(&mut self, more: usize, seed: u64, key: &KeyLayout) {
        let Partition { rows, index, .. } = self;
        if index.len() + more > index.capacity() {
            let hash = |head: &Loc| if head.is_none() { 0 } else { rows.key_hash(*head, key, seed) };
            let hashes: Vec<u64> = rows.heads.iter().map(hash).collect();
            index.reserve(more, |handle| hashes[*handle as usize]);
        }
    }

    /// Takes a row whose last version was collected out of the index; its handle may be given to another.
    pub fn forget(&mut self, handle: u32, hash: u64) {
        if let Ok(entry) = self.index.find_entry(hash, |h| *h == handle) {
            entry.remove();
        }
        self.rows.heads[handle as usize] = Loc::NONE;
        self.free_handles.push(handle);
    }

    /// Makes the hot chunk immutable: it is full, or the table's columns changed.
    pub fn seal(&mut self) -> Result<()> {
        let Some(slot) = self.hot.take() else { return Ok(()) };
        match std::mem::replace(&mut self.rows.slots[slot], Slot::Empty) {
            Slot::Hot(hot) if hot.rows() > 0 => self.rows.slots[slot] = Slot::Chunk(Arc::new(hot.seal()?)),
            _ => self.free_slots.push(slot),
        }
        Ok(())
    }

    pub fn free_slot(&mut self) -> Result<usize> {
        if let Some(slot) = self.free_slots.pop() {
            return Ok(slot);
        }
        if self.rows.slots.len() >= 0xfffe {
            return Err(Error::internal("a partition has too many chunks"));
        }
        self.rows.slots.push(Slot::Empty);
        Ok(self.rows.slots.len() - 1)
    }

    pub fn chunks(&self) -> impl Iterator<Item = (usize, &Arc<Chunk>)> {
        self.rows.slots.iter().enumerate().filter_map(|(slot, s)| match s {
            Slot::Chunk(chunk) => Some((slot, chunk)),
            _ => None,
        })
    }

    /// Bytes of everything in the partition.
    pub fn bytes(&self) -> usize {
        let hot = self
            .hot()
            .map_or(0, |hot| hot.columns.iter().flatten().map(|c| c.bytes()).sum::<usize>() + hot.rows() * (24 + 8));
        let chunks: usize = self.chunks().map(|(_, c)| c.total_bytes()).sum();
        let heads = self.rows.heads.capacity() * 4 + self.free_handles.capacity() * 4;
        hot + chunks + heads + self.index.allocation_size() + self.garbage.capacity() * 16
    }

    fn hot_slot(&mut self, layout: &Layout) -> Result<usize> {
        if self.hot().is_some_and(Hot::is_full) {
            self.seal()?;
        }
        match self.hot {
            Some(slot) => Ok(slot),
            None => {
                let slot = self.free_slot()?;
                self.rows.slots[slot] = Slot::Hot(Box::new(Hot::new(layout)));
                self.hot = Some(slot);
                Ok(slot)
            }
        }
    }

    fn new_handle(&mut self) -> u32 {
        self.free_handles.pop().unwrap_or_else(|| {
            self.rows.heads.push(Loc::NONE);
            (self.rows.heads.len() - 1) as u32
        })
    }

    fn add_to_index(&mut self, hash: u64, seed: u64, handle: u32, key: &KeyLayout) {
        self.make_space(1, seed, key);
        let Partition { rows, index, .. } = self;
        index.insert_unique(hash, handle, |h| rows.key_hash(rows.heads[*h as usize], key, seed));
    }
}
