//! What a SERIALIZABLE transaction read, in units that can be asked whether they changed: rows by key, ranges of an
//! index, whole tables.
//!
//! Invariant: a unit answers "changed" for every commit after the snapshot that could have changed what was read of it.
//! It may answer so for others as well: a range notices any change of a row that is or was in it.

use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

use super::locks::{LockKey, Locks, Pending};
use crate::catalog::Oid;
use crate::storage::index::SecondaryIndex;
use crate::storage::layout::IndexKey;
use crate::storage::{CommitTs, RowKey, Table, cell_of};

/// A transaction that read more ranges or rows of a table than this depends on the whole table.
const RANGES_MAX: usize = 256;
pub(super) const RANGE_ROWS_MAX: usize = 1024;

/// A part of an index, from `low` (inclusive) to `high` (exclusive).
#[derive(Debug)]
struct Range {
    index: Arc<SecondaryIndex>,
    low: IndexKey,
    high: IndexKey,
}

#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    tables: HashSet<Oid>,
    rows: HashMap<(Oid, RowKey), Arc<Table>>,
    ranges: HashMap<Oid, (Arc<Table>, Vec<Range>)>,
}

/// Commits since a snapshot, as far as the sequencer knows them.
pub(crate) trait Commits {
    /// Last commit that wrote to a table; 0: none.
    fn written(&self, table: Oid) -> CommitTs;

    /// Last commit that wrote to it without publishing its rows.
    fn written_in_bulk(&self, table: Oid) -> CommitTs;

    /// Whether a commit that is not applied wrote to the table without publishing its rows, or to a row for which
    /// `matches`.
    fn unapplied(&self, table: Oid, matches: &dyn Fn(&RowKey) -> bool) -> bool;
}

impl ReadSet {
    pub fn row(&mut self, table: &Arc<Table>, key: &RowKey) {
        if !self.tables.contains(&table.def.oid) {
            self.rows.insert((table.def.oid, key.clone()), table.clone());
        }
    }

    pub fn table(&mut self, table: &Table) {
        self.tables.insert(table.def.oid);
    }

    pub fn range(&mut self, table: &Arc<Table>, index: Arc<SecondaryIndex>, low: IndexKey, high: IndexKey) {
        if self.tables.contains(&table.def.oid) {
            return;
        }
        let (_, ranges) = self.ranges.entry(table.def.oid).or_insert_with(|| (table.clone(), Vec::new()));
        let known =
            |range: &Range| range.index.layout.oid == index.layout.oid && range.low <= low && range.high >= high;
        if ranges.iter().any(known) {
            return;
        }
        ranges.push(Range { index, low, high });
        if ranges.len() > RANGES_MAX {
            self.ranges.remove(&table.def.oid);
            self.table(table);
        }
    }

    /// Whether anything that was read may have changed after `snapshot`.
    pub fn changed_since(&self, snapshot: CommitTs, commits: &impl Commits, locks: &Locks) -> bool {
        let written = |table: &Oid| commits.written(*table) > snapshot;
        let row_changed = |(table, key): &(Oid, RowKey), of: &Table| {
            let pending = locks.pending_ts(&LockKey::Row(*table, key.clone()));
            commits.written_in_bulk(*table) > snapshot || pending.unwrap_or_else(|| of.store.changed_at(key)) > snapshot
        };
        self.tables.iter().any(written)
            || self.rows.iter().any(|(row, of)| written(&row.0) && row_changed(row, of))
            || self.ranges.iter().any(|(oid, (table, ranges))| {
                written(oid) && ranges.iter().any(|range| range.changed_since(table, snapshot, commits, locks))
            })
    }
}

impl Range {
    fn changed_since(&self, table: &Table, snapshot: CommitTs, commits: &impl Commits, locks: &Locks) -> bool {
        let holds = |row: &[crate::types::Datum]| {
            let entry = self.index.layout.entry(|column| cell_of(row, column));
            entry.is_some_and(|entry| entry >= self.low && entry < self.high)
        };
        let matches = |key: &RowKey| {
            let before = table.store.get(key, CommitTs::MAX, &table.layout, None);
            let after = match locks.pending(&LockKey::Row(table.def.oid, key.clone())) {
                Some((_, Pending::Row(after))) => after,
                _ => None,
            };
            before.is_some_and(|row| holds(&row)) || after.is_some_and(|row| holds(&row))
        };
        commits.unapplied(table.def.oid, &matches)
            || table.store.range_changed(&self.index, (&self.low, &self.high), snapshot)
    }
}
