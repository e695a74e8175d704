//! Changes of single rows, as the applier installs them: several of one partition share its locks and their counting.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use super::chunk::{LIVE, Loc, datum_bytes, row_bytes};
use super::index::{self, SecondaryIndex};
use super::layout::Layout;
use super::partition::Partition;
use super::table::TableStore;
use super::{CommitTs, RowKey};
use crate::error::{Error, Result};
use crate::types::Datum;

/// Bytes of a row's version beside its values, and of an index entry: estimates, until the next count.
const VERSION_BYTES: usize = 24;
const ENTRY_BYTES: usize = 36;

/// One partition of a store, locked for changes.
pub(crate) struct Changes<'a> {
    store: &'a TableStore,
    number: usize,
    partition: RwLockWriteGuard<'a, Partition>,
    /// Read with the partition locked: whoever adds an index finds what was installed under the old list.
    indexes: RwLockReadGuard<'a, Arc<[Arc<SecondaryIndex>]>>,
    layout: Arc<Layout>,
    /// Added to the store's when this is dropped.
    inserted: u64,
    updated: u64,
    deleted: u64,
    bytes: usize,
}

impl TableStore {
    pub(crate) fn changes(&self, partition: usize) -> Changes<'_> {
        let layout = self.layout();
        let locked = self.partitions[partition].write();
        Changes {
            store: self,
            number: partition,
            partition: locked,
            indexes: self.index_list(),
            layout,
            inserted: 0,
            updated: 0,
            deleted: 0,
            bytes: 0,
        }
    }

    pub(crate) fn apply_insert(&self, key: Option<&RowKey>, row: &[Datum], ts: CommitTs) -> Result<()> {
        let key = match key {
            Some(key) => key.clone(),
            None => self.key_of_row(row),
        };
        let hash = key.hash(self.seed);
        self.changes(self.place_of(&key, hash)).insert(&key, hash, row, ts)
    }

    pub(crate) fn apply_update(&self, key: &RowKey, changes: &[(usize, Datum)], ts: CommitTs) -> Result<()> {
        let hash = key.hash(self.seed);
        self.changes(self.place_of(key, hash)).update(key, hash, changes, ts)
    }

    pub(crate) fn apply_delete(&self, key: &RowKey, ts: CommitTs) -> Result<()> {
        let hash = key.hash(self.seed);
        self.changes(self.place_of(key, hash)).delete(key, hash, ts)
    }
}

impl Changes<'_> {
    pub fn insert(&mut self, key: &RowKey, hash: u64, row: &[Datum], ts: CommitTs) -> Result<()> {
        if let (true, Some(number)) = (self.layout.is_hidden(), key.hidden_number()) {
            self.store.saw_hidden(number);
        }
        let handle = self.partition.insert(key, hash, self.store.seed, row, &self.layout, ts)?;
        let loc = self.partition.rows.heads[handle as usize];
        for index in self.indexes.iter() {
            if let Some(key) = index.layout.entry(|c| self.partition.rows.cell(loc, c, &self.layout)) {
                index.insert(index::entry(key, self.number, handle));
            }
        }
        self.inserted += 1;
        self.bytes += row_bytes(row) + VERSION_BYTES + ENTRY_BYTES * self.indexes.len();
        Ok(())
    }

    pub fn update(&mut self, key: &RowKey, hash: u64, changes: &[(usize, Datum)], ts: CommitTs) -> Result<()> {
        let (handle, old) = self.live(key, hash, "updates")?;
        self.partition.update(handle, changes, &self.layout, ts)?;
        let new = self.partition.rows.heads[handle as usize];
        for index in self.indexes.iter() {
            if !index.layout.depends_on(|column| changes.iter().any(|(c, _)| *c == column)) {
                continue;
            }
            let key = |loc| index.layout.entry(|c| self.partition.rows.cell(loc, c, &self.layout));
            let (before, after) = (key(old), key(new));
            if before != after
                && let Some(after) = after
            {
                index.insert(index::entry(after, self.number, handle));
                self.bytes += ENTRY_BYTES;
            }
        }
        self.updated += 1;
        self.bytes += 64 + changes.iter().map(|(_, d)| datum_bytes(d)).sum::<usize>();
        Ok(())
    }

    pub fn delete(&mut self, key: &RowKey, hash: u64, ts: CommitTs) -> Result<()> {
        let (handle, _) = self.live(key, hash, "deletes")?;
        self.partition.delete(handle, ts);
        self.deleted += 1;
        Ok(())
    }

    /// The newest version of a row, which has to be live.
    fn live(&self, key: &RowKey, hash: u64, verb: &str) -> Result<(u32, Loc)> {
        let gone = || Error::internal(format!("a record {verb} a row that does not exist"));
        let handle = self.partition.find(hash, key, &self.store.key).ok_or_else(gone)?;
        let newest = self.partition.rows.heads[handle as usize];
        match self.partition.rows.version(newest).1 {
            LIVE => Ok((handle, newest)),
            _ => Err(gone()),
        }
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        let activity = &self.store.activity;
        let counts =
            [(&activity.inserted, self.inserted), (&activity.updated, self.updated), (&activity.deleted, self.deleted)];
        for (count, more) in counts.into_iter().filter(|(_, more)| *more > 0) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        if self.inserted != self.deleted {
            self.store.count_live(self.inserted as isize - self.deleted as isize);
        }
        if self.bytes > 0 {
            self.store.account.add(self.bytes);
        }
    }
}
