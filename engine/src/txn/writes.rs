//! The private buffer of a transaction: what it makes of the rows of one table.
//!
//! Invariants:
//! 1. A key is in `rows` or in one bulk batch (and not removed there), never in both.
//! 2. `entries` has one entry an index for every row that the buffer holds and no other.
//! 3. Undoing in reverse order restores the buffer exactly.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use hashbrown::{HashMap, HashSet, HashTable};

use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::session::Row;
use crate::storage::chunk::row_bytes;
use crate::storage::layout::{IndexKey, IndexLayout, Layout};
use crate::storage::table::{key_hashes, key_of_arrays, row_of_arrays};
use crate::storage::{Overlay, OverlayBatch, RowKey, Table, array_of, cell_of};
use crate::types::Datum;

/// What becomes of one row.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// Names the row in scans of this transaction.
    pub handle: u32,
    /// The row existed before the transaction.
    pub base: bool,
    /// `None`: deleted.
    pub after: Option<Arc<Row>>,
    /// Columns that differ from the base row; the last bit stands for all from 63 on.
    pub changed: u64,
}

/// Rows that came as columns.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    /// By attnum - 1.
    pub columns: Vec<Option<ArrayRef>>,
    pub rows: usize,
    /// Number of the first row, if the table has no primary key.
    pub hidden: Option<i64>,
    first_handle: u32,
    /// Rows that were changed or deleted later.
    pub removed: HashSet<u32>,
}

/// Where the row with a key of this hash is in the bulk batches.
#[derive(Debug, Clone, Copy)]
struct BulkKey {
    hash: u64,
    batch: u32,
    row: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct TableWrites {
    /// As the last statement that wrote knew it.
    pub table: Arc<Table>,
    pub rows: HashMap<RowKey, Write>,
    pub bulk: Vec<Bulk>,
    bulk_keys: HashTable<BulkKey>,
    by_handle: HashMap<u32, RowKey>,
    next_handle: u32,
    /// By index: key and row.
    entries: HashMap<Oid, BTreeSet<(IndexKey, RowKey)>>,
}

/// How to take back one step.
#[derive(Debug)]
pub(crate) enum Undo {
    Row {
        table: Oid,
        key: RowKey,
        before: Option<Write>,
    },
    Bulk {
        table: Oid,
    },
    /// A row left its bulk batch.
    Removed {
        table: Oid,
        batch: usize,
        row: u32,
    },
    /// The buffer was put aside, because the table's key changed.
    Flushed {
        table: Oid,
        writes: Arc<TableWrites>,
    },
}

impl Undo {
    pub fn table(&self) -> Oid {
        match self {
            Undo::Row { table, .. } | Undo::Bulk { table } => *table,
            Undo::Removed { table, .. } | Undo::Flushed { table, .. } => *table,
        }
    }
}

/// What the buffer knows of a key.
pub(crate) enum Buffered {
    Unknown,
    Deleted,
    Row(Arc<Row>),
}

impl TableWrites {
    pub fn new(table: Arc<Table>) -> Self {
        TableWrites {
            table,
            rows: HashMap::new(),
            bulk: Vec::new(),
            bulk_keys: HashTable::new(),
            by_handle: HashMap::new(),
            next_handle: 0,
            entries: HashMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.bulk.is_empty()
    }

    /// Number of changed rows, about.
    pub fn len(&self) -> usize {
        self.rows.len() + self.bulk.iter().map(|b| b.rows).sum::<usize>()
    }

    pub fn get(&self, key: &RowKey) -> Buffered {
        match self.rows.get(key) {
            Some(Write { after: Some(row), .. }) => Buffered::Row(row.clone()),
            Some(_) => Buffered::Deleted,
            None => match self.find_bulk(key) {
                Some((batch, row)) => {
                    Buffered::Row(Arc::new(row_of_arrays(&self.bulk[batch].columns, row, &self.table.layout)))
                }
                None => Buffered::Unknown,
            },
        }
    }

    /// Sets what becomes of a row. Answers how to undo it.
    pub fn set(&mut self, key: &RowKey, base: bool, after: Option<Arc<Row>>, changed: u64, undo: &mut Vec<Undo>) {
        let table = self.table.def.oid;
        let mut base = base;
        if let Some((batch, row)) = self.find_bulk(key) {
            let old = row_of_arrays(&self.bulk[batch].columns, row, &self.table.layout);
            self.remove_entries(key, &old);
            self.bulk[batch].removed.insert(row as u32);
            undo.push(Undo::Removed { table, batch, row: row as u32 });
            base = false;
        }
        let before = self.rows.get(key).cloned();
        let (handle, base, changed) = match &before {
            Some(write) => (write.handle, write.base, write.changed | changed),
            None => (self.next_handle(1), base, changed),
        };
        undo.push(Undo::Row { table, key: key.clone(), before });
        self.replace(key, Some(Write { handle, base, after, changed }));
    }

    /// Adds a batch of new rows; nothing of it if one of their keys exists already, which is then the error.
    pub fn add_bulk(
        &mut self,
        columns: Vec<Option<ArrayRef>>,
        rows: usize,
        hidden: Option<i64>,
        undo: &mut Vec<Undo>,
    ) -> Result<(), RowKey> {
        let first_handle = self.next_handle(rows as u32);
        let bulk = Bulk { columns, rows, hidden, first_handle, removed: HashSet::new() };
        self.bulk.push(bulk);
        if let Err((indexed, existing)) = self.index_bulk() {
            self.drop_bulk(indexed);
            return Err(existing);
        }
        undo.push(Undo::Bulk { table: self.table.def.oid });
        Ok(())
    }

    /// Takes back the last batch, of which the first `indexed` rows are in the indexes.
    fn drop_bulk(&mut self, indexed: usize) {
        let Some(bulk) = self.bulk.pop() else { return };
        let batch = self.bulk.len();
        self.bulk_keys.retain(|key| key.batch as usize != batch);
        if !self.table.layout.indexes.is_empty() {
            for row in 0..indexed {
                let key = bulk.key(row, &self.table);
                let old = row_of_arrays(&bulk.columns, row, &self.table.layout);
                self.remove_entries(&key, &old);
            }
        }
    }

    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Row { key, before, .. } => self.replace(&key, before),
            Undo::Bulk { .. } => {
                let rows = self.bulk.last().map_or(0, |bulk| bulk.rows);
                self.drop_bulk(rows);
            }
            Undo::Removed { batch, row, .. } => {
                self.bulk[batch].removed.remove(&row);
                let key = self.bulk[batch].key(row as usize, &self.table);
                let old = row_of_arrays(&self.bulk[batch].columns, row as usize, &self.table.layout);
                self.add_entries(&key, &old);
            }
            Undo::Flushed { writes, .. } => *self = Arc::unwrap_or_clone(writes),
        }
    }

    /// The row behind a handle of a scan.
    pub fn by_handle(&self, handle: u32) -> Option<(RowKey, Arc<Row>)> {
        if let Some(key) = self.by_handle.get(&handle) {
            let after = self.rows.get(key)?.after.clone()?;
            return Some((key.clone(), after));
        }
        let at = self.bulk.partition_point(|b| b.first_handle <= handle).checked_sub(1)?;
        let bulk = &self.bulk[at];
        let row = (handle - bulk.first_handle) as usize;
        let present = row < bulk.rows && !bulk.removed.contains(&(row as u32));
        let image = || Arc::new(row_of_arrays(&bulk.columns, row, &self.table.layout));
        present.then(|| (bulk.key(row, &self.table), image()))
    }

    /// Buffered rows whose entry in an index lies in a range of bytes, in order.
    pub fn walk(&self, index: &IndexLayout, low: &IndexKey, high: &IndexKey) -> Vec<(IndexKey, RowKey, Arc<Row>)> {
        if low >= high {
            return Vec::new();
        }
        let Some(entries) = self.entries.get(&index.oid) else {
            // Of the primary key, or of no row: nothing is kept in its order.
            let entry = |(key, row): (RowKey, Arc<Row>)| Some((index.entry(|c| cell_of(&row, c))?, key, row));
            return self.images().filter_map(entry).filter(|(bytes, ..)| bytes >= low && bytes < high).collect();
        };
        let bounds =
            (Bound::Included((low.clone(), RowKey::default())), Bound::Excluded((high.clone(), RowKey::default())));
        let image = |(index_key, key): &(IndexKey, RowKey)| match self.get(key) {
            Buffered::Row(row) => Some((index_key.clone(), key.clone(), row)),
            _ => None,
        };
        entries.range(bounds).filter_map(image).collect()
    }

    /// Whether some other buffered row has this key in a unique index.
    pub fn owner(&self, index: Oid, unique: &IndexKey, except: Option<&RowKey>) -> Option<RowKey> {
        let entries = self.entries.get(&index)?;
        let from = (unique.clone(), RowKey::default());
        let same = entries.range(from..).take_while(|(key, _)| key == unique);
        same.map(|(_, row)| row).find(|row| Some(*row) != except).cloned()
    }

    /// How many buffered rows have this key in an index.
    pub fn count(&self, index: Oid, unique: &IndexKey) -> usize {
        let Some(entries) = self.entries.get(&index) else { return 0 };
        let from = (unique.clone(), RowKey::default());
        entries.range(from..).take_while(|(key, _)| key == unique).count()
    }

    /// Every row that the buffer adds or replaces.
    pub fn images(&self) -> impl Iterator<Item = (RowKey, Arc<Row>)> {
        let rows = self.rows.iter().filter_map(|(key, w)| Some((key.clone(), w.after.clone()?)));
        rows.chain(self.bulk.iter().flat_map(move |bulk| {
            let live = (0..bulk.rows).filter(|row| !bulk.removed.contains(&(*row as u32)));
            live.map(move |row| {
                let image = row_of_arrays(&bulk.columns, row, &self.table.layout);
                (bulk.key(row, &self.table), Arc::new(image))
            })
        }))
    }

    /// What a scan needs of the buffer.
    pub fn overlay(&self, table: &Table) -> Result<Overlay> {
        let mut overlay = Overlay::default();
        for (key, _) in self.rows.iter().filter(|(_, w)| w.base) {
            let partition = table.store.place_of(key, key.hash(table.store.seed));
            overlay.hidden.entry(partition).or_default().push(key.clone());
        }
        for bulk in &self.bulk {
            overlay.batches.push(bulk.visible()?);
        }
        let mut rows: Vec<(u32, &Arc<Row>)> =
            self.rows.values().filter_map(|w| Some((w.handle, w.after.as_ref()?))).collect();
        // In the order in which they were written.
        rows.sort_unstable_by_key(|(handle, _)| *handle);
        if !rows.is_empty() {
            let missing = |c: usize| table.layout.missing.get(c).unwrap_or(&Datum::Null);
            let column = |(c, ty): (usize, &Option<crate::types::PgType>)| {
                let values = rows.iter().map(|(_, row)| row.get(c).unwrap_or(missing(c)));
                ty.map(|ty| array_of(ty, values)).transpose()
            };
            let columns = table.layout.types.iter().enumerate().map(column).collect::<Result<_>>()?;
            overlay.batches.push(OverlayBatch { columns, handles: rows.iter().map(|(h, _)| *h).collect() });
        }
        Ok(overlay)
    }

    /// The table's definition changed: index entries are made anew.
    pub fn set_table(&mut self, table: Arc<Table>) {
        let rebuild = self.table.layout.indexes != table.layout.indexes;
        self.table = table;
        if rebuild {
            self.entries.clear();
            let images: Vec<_> = self.images().collect();
            images.iter().for_each(|(key, row)| self.add_entries(key, row));
        }
    }

    fn next_handle(&mut self, count: u32) -> u32 {
        self.next_handle += count;
        self.next_handle - count
    }

    fn replace(&mut self, key: &RowKey, write: Option<Write>) {
        let old = match &write {
            Some(write) => {
                self.by_handle.insert(write.handle, key.clone());
                self.rows.insert(key.clone(), write.clone())
            }
            None => self.rows.remove(key),
        };
        if self.table.layout.indexes.is_empty() {
            return;
        }
        if let Some(row) = old.and_then(|w| w.after) {
            self.remove_entries(key, &row);
        }
        if let Some(row) = write.and_then(|w| w.after) {
            self.add_entries(key, &row);
        }
    }

    fn add_entries(&mut self, key: &RowKey, row: &[Datum]) {
        for index in &self.table.layout.indexes {
            let entries = self.entries.entry(index.oid).or_default();
            if let Some(bytes) = index.entry(|c| cell_of(row, c)) {
                entries.insert((bytes, key.clone()));
            }
        }
    }

    fn remove_entries(&mut self, key: &RowKey, row: &[Datum]) {
        for index in &self.table.layout.indexes {
            if let Some(entries) = self.entries.get_mut(&index.oid)
                && let Some(bytes) = index.entry(|c| cell_of(row, c))
            {
                entries.remove(&(bytes, key.clone()));
            }
        }
    }

    /// Puts the last batch into the indexes. An existing key is an error, with the number of rows before it.
    fn index_bulk(&mut self) -> Result<(), (usize, RowKey)> {
        let (batch, table) = (self.bulk.len() - 1, self.table.clone());
        let rows = self.bulk[batch].rows;
        if self.bulk[batch].hidden.is_none() {
            let hashes = key_hashes(&table.layout.key, &self.bulk[batch].columns, rows, table.store.seed);
            self.bulk_keys.reserve(rows, |key| key.hash);
            for (row, hash) in hashes.into_iter().enumerate() {
                if self.may_exist(hash) {
                    let key = self.bulk[batch].key(row, &table);
                    let exists = match self.get(&key) {
                        Buffered::Row(_) => true,
                        Buffered::Deleted => false,
                        Buffered::Unknown => table.store.exists(&key),
                    };
                    if exists {
                        return Err((0, key));
                    }
                }
                let place = BulkKey { hash, batch: batch as u32, row: row as u32 };
                self.bulk_keys.insert_unique(hash, place, |key| key.hash);
            }
        }
        if !table.layout.indexes.is_empty() {
            for row in 0..rows {
                let image = row_of_arrays(&self.bulk[batch].columns, row, &table.layout);
                self.add_entries(&self.bulk[batch].key(row, &table), &image);
            }
        }
        Ok(())
    }

    /// False only if no row, here or installed, has a key of this hash.
    fn may_exist(&self, hash: u64) -> bool {
        !self.rows.is_empty()
            || self.bulk_keys.find(hash, |key| key.hash == hash).is_some()
            || self.table.store.may_exist(hash)
    }

    fn find_bulk(&self, key: &RowKey) -> Option<(usize, usize)> {
        if self.bulk.is_empty() {
            return None;
        }
        let found = match self.table.layout.is_hidden() {
            true => {
                let number = key.hidden_number()?;
                let holds = |b: &Bulk| b.hidden.is_some_and(|h| (h..h + b.rows as i64).contains(&number));
                let batch = self.bulk.iter().position(holds)?;
                (batch, (number - self.bulk[batch].hidden?) as usize)
            }
            false => {
                let hash = key.hash(self.table.store.seed);
                // A key may have been here before: the row that was removed is not the one that is meant.
                let same = |place: &BulkKey| {
                    let bulk = &self.bulk[place.batch as usize];
                    place.hash == hash
                        && !bulk.removed.contains(&place.row)
                        && bulk.key(place.row as usize, &self.table) == *key
                };
                let place = self.bulk_keys.find(hash, same)?;
                (place.batch as usize, place.row as usize)
            }
        };
        (!self.bulk[found.0].removed.contains(&(found.1 as u32))).then_some(found)
    }
}

impl Bulk {
    pub fn key(&self, row: usize, table: &Table) -> RowKey {
        match self.hidden {
            Some(first) => RowKey::hidden(first + row as i64),
            None => key_of_arrays(&table.layout.key, &self.columns, row),
        }
    }

    /// Numbers of the rows that are left.
    pub fn kept(&self) -> Vec<u32> {
        (0..self.rows as u32).filter(|row| !self.removed.contains(row)).collect()
    }

    /// Columns of the rows that are left, some of them.
    pub fn columns_of(&self, rows: &[u32]) -> Result<Vec<Option<ArrayRef>>> {
        if let (Some(first), Some(last)) = (rows.first(), rows.last())
            && (last - first) as usize + 1 == rows.len()
        {
            let part = |c: &ArrayRef| c.slice(*first as usize, rows.len());
            return Ok(self.columns.iter().map(|c| c.as_ref().map(part)).collect());
        }
        let indices = UInt32Array::from(rows.to_vec());
        let part = |c: &Option<ArrayRef>| c.as_ref().map(|c| take(c, &indices, None)).transpose();
        let columns: Result<_, _> = self.columns.iter().map(part).collect();
        columns.map_err(|e| Error::internal(e.to_string()))
    }

    fn visible(&self) -> Result<OverlayBatch> {
        if self.removed.is_empty() {
            let handles = (self.first_handle..self.first_handle + self.rows as u32).collect();
            return Ok(OverlayBatch { columns: self.columns.clone(), handles });
        }
        let kept = self.kept();
        let handles = kept.iter().map(|row| self.first_handle + row).collect();
        Ok(OverlayBatch { columns: self.columns_of(&kept)?, handles })
    }
}

/// Memory of a buffered row.
pub(crate) fn write_bytes(key: &RowKey, row: Option<&Row>) -> usize {
    row.map_or(0, |r| row_bytes(r) + r.len() * 24) + key.0.len() + 160
}

/// Columns that differ between two images of a row.
pub(crate) fn changed_columns(old: &[Datum], new: &[Datum], layout: &Layout) -> u64 {
    let differs = |c: &usize| match (old.get(*c), new.get(*c)) {
        (Some(a), Some(b)) => !identical(a, b),
        _ => true,
    };
    (0..layout.types.len()).filter(differs).fold(0, |mask, c| mask | 1 << c.min(63))
}

/// Equal in every bit: 1.0 and 1.00, 0 and -0 are not.
fn identical(a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Float4(a), Datum::Float4(b)) => a.to_bits() == b.to_bits(),
        (Datum::Float8(a), Datum::Float8(b)) => a.to_bits() == b.to_bits(),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.encode() == b.encode(),
        (Datum::Array(a), Datum::Array(b)) => {
            a.dims() == b.dims() && a.iter().zip(b.iter()).all(|(a, b)| identical(a, b))
        }
        _ => a == b,
    }
}
