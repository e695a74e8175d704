//! Reads of a transaction: its snapshot, with its own changes laid over.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use super::reads::RANGE_ROWS_MAX;
use super::transaction::Transaction;
use super::writes::Buffered;
use super::{Isolation, RowImage};
use crate::catalog::{IndexDef, Oid};
use crate::error::{Error, Result};
use crate::session::Row;
use crate::storage::index::SecondaryIndex;
use crate::storage::layout::{IndexKey, IndexLayout, after};
use crate::storage::table::row_of_arrays;
use crate::storage::{CommitTs, IndexRange, RowId, RowKey, ScanSource, Table, cell_of};
use crate::types::Datum;

impl Transaction {
    /// Columns `projection` (attnums) of a row by its key; all of them, by attnum - 1, without one.
    pub fn get(&mut self, table: &Arc<Table>, key: &RowKey, projection: Option<&[i16]>) -> Option<Row> {
        self.read_row(table, key);
        match self.writes.get(&table.def.oid).map_or(Buffered::Unknown, |w| w.get(key)) {
            Buffered::Row(row) => return Some(project(table, &row, projection)),
            Buffered::Deleted => return None,
            Buffered::Unknown => {}
        }
        let snapshot = self.snapshot().ts();
        table.store.get(key, snapshot, &table.layout, projection)
    }

    /// The row behind a [`RowId`] of a scan of this statement.
    pub fn fetch(&mut self, table: &Arc<Table>, id: RowId) -> Option<RowImage> {
        if id.partition() == RowId::BUFFER {
            let (key, row) = self.writes.get(&table.def.oid)?.by_handle(id.handle())?;
            return Some(RowImage { key, row: project(table, &row, None) });
        }
        let snapshot = self.snapshot().ts();
        let (key, row) = table.store.fetch(id, snapshot, &table.layout)?;
        Some(RowImage { key, row })
    }

    /// Rows of a part of an index, in its order, at most `limit`.
    pub fn lookup(
        &mut self,
        table: &Arc<Table>,
        index: Oid,
        range: &IndexRange,
        limit: usize,
    ) -> Result<Vec<RowImage>> {
        let def = table.def.indexes.iter().find(|i| i.oid == index);
        let def = def.ok_or_else(|| Error::internal("a lookup names an index that the table does not have"))?;
        let unbounded = matches!((&range.lower, &range.upper), (Bound::Unbounded, Bound::Unbounded));
        if def.is_key() {
            table.store.activity.key_lookups.add(1);
        }
        if def.is_key() && unbounded && range.prefix.len() == def.columns.len() {
            if range.prefix.iter().any(Datum::is_null) {
                return Ok(Vec::new());
            }
            let key = table.layout.key.of_values(&range.prefix);
            let row = self.get(table, &key, None);
            return Ok(row.map(|row| RowImage { key, row }).into_iter().take(limit).collect());
        }
        let layout = IndexLayout::new(def, &table.layout.types);
        let (low, high) = layout.bounds(range);
        let ordered = match def.is_key() && table.store.key == table.layout.key {
            true => table.store.ordered_key(),
            false => table.store.index(index),
        };
        let mut found = match ordered {
            Some(index) => {
                index.lookups.add(u64::from(!def.is_key()));
                let mut found: Vec<(IndexKey, RowKey, Row)> = Vec::new();
                let own = self.writes.get(&table.def.oid);
                let snapshot = self.snapshot.as_ref().map_or(CommitTs(0), |s| s.ts());
                let visit = |bytes: &[u8], key: RowKey, row: Row| {
                    if !own.is_some_and(|w| w.rows.contains_key(&key)) {
                        found.push((IndexKey::from_slice(bytes), key, row));
                    }
                    found.len() < limit
                };
                let bounds = (low.clone(), high.clone());
                table.store.walk(&index, bounds, range.reverse, snapshot, &table.layout, visit);
                let own = own.map(|w| w.walk(&layout, &low, &high)).unwrap_or_default();
                // What lies behind the last row that was wanted was not read.
                let read = match (found.last(), range.reverse) {
                    (Some((last, ..)), false) if found.len() >= limit => (low.clone(), after(last)),
                    (Some((last, ..)), true) if found.len() >= limit => (last.clone(), high.clone()),
                    _ => (low.clone(), high.clone()),
                };
                self.read_range(table, &index, read, found.len());
                found.extend(own.into_iter().map(|(bytes, key, row)| (bytes, key, project(table, &row, None))));
                found
            }
            None => {
                self.read_table(table);
                self.scan_range(table, &layout, &low, &high)?
            }
        };
        found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        if range.reverse {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, key, row)| RowImage { key, row }).collect())
    }

    /// The table for a scan by the general path; snapshot and own changes as of now.
    pub fn scan(&mut self, table: &Arc<Table>) -> Result<ScanSource> {
        self.read_table(table);
        let overlay = match self.writes.get(&table.def.oid) {
            Some(writes) if !writes.is_empty() => Some(Arc::new(writes.overlay(table)?)),
            _ => None,
        };
        Ok(ScanSource { table: table.clone(), snapshot: self.snapshot().clone(), overlay })
    }

    /// First row that has the key of another in a unique index that is to be (own changes included): why the index cannot be
    /// created.
    pub fn find_duplicate(&mut self, table: &Arc<Table>, index: &IndexDef) -> Result<Option<Row>> {
        let layout = IndexLayout::new(index, &table.layout.types);
        let mut seen: HashSet<IndexKey> = HashSet::new();
        let mut duplicate = None;
        let mut failed = None;
        self.visit_rows(table, |row| {
            if let Err(error) = layout.check(|c| cell_of(row, c)) {
                failed = Some(error);
                return false;
            }
            match layout.unique_key(|c| cell_of(row, c)) {
                Some(key) if index.unique => {
                    let new = seen.insert(key);
                    if !new {
                        duplicate = Some(row.clone());
                    }
                    new
                }
                _ => true,
            }
        })?;
        failed.map_or(Ok(duplicate), Err)
    }

    /// Calls `visit` with every row that the transaction sees, until it answers false.
    fn visit_rows(&mut self, table: &Arc<Table>, mut visit: impl FnMut(&Row) -> bool) -> Result<()> {
        let source = self.scan(table)?;
        let live = table.layout.types.iter().enumerate().filter(|(_, ty)| ty.is_some());
        let attnums: Vec<i16> = live.map(|(c, _)| c as i16 + 1).collect();
        for batch in source.scan(0..source.partitions(), &attnums, false, None) {
            let batch = batch?;
            let mut columns = vec![None; table.layout.types.len()];
            for (attnum, array) in attnums.iter().zip(batch.columns()) {
                columns[(*attnum - 1) as usize] = Some(array.clone());
            }
            for row in 0..batch.num_rows() {
                if !visit(&row_of_arrays(&columns, row, &table.layout)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Rows of a range of an index that is not ordered in memory: by reading them all.
    fn scan_range(
        &mut self,
        table: &Arc<Table>,
        layout: &IndexLayout,
        low: &IndexKey,
        high: &IndexKey,
    ) -> Result<Vec<(IndexKey, RowKey, Row)>> {
        let source = self.scan(table)?;
        let live = table.layout.types.iter().enumerate().filter(|(_, ty)| ty.is_some());
        let attnums: Vec<i16> = live.map(|(c, _)| c as i16 + 1).collect();
        let mut found = Vec::new();
        for batch in source.scan(0..source.partitions(), &attnums, true, None) {
            let batch = batch?;
            let mut columns = vec![None; table.layout.types.len()];
            for (attnum, array) in attnums.iter().zip(batch.columns()) {
                columns[(*attnum - 1) as usize] = Some(array.clone());
            }
            let ids = batch.columns().last().cloned();
            for row in 0..batch.num_rows() {
                let cells = |c: usize| match (columns.get(c), table.layout.ty(c)) {
                    (Some(Some(array)), Some(_)) => crate::storage::cell_at(array, row),
                    _ => crate::storage::Cell::Null,
                };
                let Some(bytes) = layout.entry(cells).filter(|bytes| bytes >= low && bytes < high) else { continue };
                use arrow::array::AsArray;
                let id = ids.as_ref().map(|i| i.as_primitive::<arrow::datatypes::UInt64Type>().value(row));
                if let Some(image) = id.and_then(|id| self.fetch(table, RowId(id))) {
                    found.push((bytes, image.key, image.row));
                }
            }
        }
        Ok(found)
    }

    /// Notes that the commit depends on a row (SERIALIZABLE).
    pub(super) fn read_row(&mut self, table: &Arc<Table>, key: &RowKey) {
        if self.options.isolation == Isolation::Serializable {
            self.reads.row(table, key);
        }
    }

    /// Notes that the commit depends on a part of an index, from `low` (inclusive) to `high` (exclusive), of which `rows` were
    /// found (SERIALIZABLE).
    pub(super) fn read_range(
        &mut self,
        table: &Arc<Table>,
        index: &Arc<SecondaryIndex>,
        (low, high): (IndexKey, IndexKey),
        rows: usize,
    ) {
        if self.options.isolation == Isolation::Serializable {
            match rows <= RANGE_ROWS_MAX {
                true => self.reads.range(table, index.clone(), low, high),
                false => self.reads.table(table),
            }
        }
    }

    /// Notes that the commit depends on a whole table (SERIALIZABLE).
    pub(super) fn read_table(&mut self, table: &Arc<Table>) {
        if self.options.isolation == Isolation::Serializable {
            self.reads.table(table);
        }
    }
}

/// Columns of a buffered row, which may be from before columns were added or dropped.
pub(super) fn project(table: &Table, row: &[Datum], projection: Option<&[i16]>) -> Row {
    let column = |c: usize| match (table.layout.ty(c), row.get(c)) {
        (None, _) => Datum::Null,
        (Some(_), Some(datum)) => datum.clone(),
        (Some(_), None) => table.layout.missing.get(c).cloned().unwrap_or(Datum::Null),
    };
    match projection {
        None => (0..table.layout.types.len()).map(column).collect(),
        Some(attnums) => attnums.iter().map(|a| column((*a - 1) as usize)).collect(),
    }
}
