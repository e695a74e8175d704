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

mod activity;
mod cell;
mod changes;
pub(crate) mod chunk;
mod column;
pub(crate) mod index;
pub(crate) mod key;
pub(crate) mod layout;
mod maintain;
mod memory;
mod partition;
mod scan;
mod snapshot;
mod stats;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogChange, Object, Oid, SequenceDef, TableDef};
use crate::error::Result;
use crate::txn::SequenceState;

pub use activity::{Activity, IndexFigures, PartitionFigures};
pub use key::{IndexRange, RowKey};
pub use memory::Memory;
pub use scan::{ChunkStats, Prune, Scan, ScanSource};
pub use snapshot::Snapshot;
pub use table::{ColumnStatistics, Table, TableStatistics, TableStore};

pub(crate) use cell::{Cell, cell_at, cell_of};
pub(crate) use column::{array_of, check_value};
pub(crate) use memory::Account;
pub(crate) use scan::{Overlay, OverlayBatch};
pub(crate) use snapshot::Snapshots;

/// A commit's place in time: hybrid logical clock, monotone in log order. Snapshots are such timestamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitTs(pub u64);

impl CommitTs {
    /// Later than every commit: reads the newest installed version.
    pub const MAX: CommitTs = CommitTs(u64::MAX - 1);
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

/// All tables, the catalog that names them, and the snapshots of who reads.
#[derive(Debug)]
pub struct Storage {
    state: RwLock<Arc<State>>,
    /// What was before the last DDL: for snapshots that were taken while it was being installed.
    before: RwLock<Option<Arc<State>>>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub memory: Arc<Memory>,
    /// Sequences as the log has them: ahead of what the primary gave out.
    pub(crate) sequences: RwLock<HashMap<Oid, (i64, bool)>>,
    /// Memory partitions of a table.
    pub(crate) partitions: usize,
}

/// What the last applied record left: catalog and tables always agree.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub catalog: Arc<Catalog>,
    pub tables: HashMap<Oid, Arc<Table>>,
    /// The commit whose DDL made it.
    pub since: CommitTs,
}

impl Storage {
    pub fn new(catalog: Catalog, memory_limit: usize, partitions: usize) -> Storage {
        Storage {
            state: RwLock::new(Arc::new(State {
                catalog: Arc::new(catalog),
                tables: HashMap::new(),
                since: CommitTs(0),
            })),
            before: RwLock::default(),
            snapshots: Arc::default(),
            memory: Memory::new(memory_limit),
            sequences: RwLock::default(),
            partitions,
        }
    }

    /// The catalog as of the last applied commit.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.state.read().catalog.clone()
    }

    /// [`Self::catalog`] of a database.
    pub fn catalog_of(&self, database: Oid) -> Arc<Catalog> {
        let catalog = self.catalog();
        if database == Oid::DATABASE { catalog } else { catalog.view(database) }
    }

    /// A table as of the last applied commit.
    pub fn table(&self, oid: Oid) -> Option<Arc<Table>> {
        self.state.read().tables.get(&oid).cloned()
    }

    /// A snapshot of everything that is applied.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.acquire()
    }

    /// State of a sequence as it is applied.
    pub(crate) fn sequence(&self, def: &SequenceDef) -> SequenceState {
        match self.sequences.read().get(&def.oid) {
            Some((last, called)) => SequenceState { last: *last, called: *called },
            None => SequenceState::initial(def),
        }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.read().clone()
    }

    /// A snapshot, and the catalog and tables as of it: for readers whom no lock keeps from DDL that is being applied.
    pub(crate) fn snapshot_with_state(&self) -> (Snapshot, Arc<State>) {
        loop {
            let snapshot = self.snapshot();
            // In this order: `before` is written first.
            let (now, before) = (self.state(), self.before.read().clone());
            if now.since <= snapshot.ts() {
                return (snapshot, now);
            }
            if let Some(before) = before.filter(|before| before.since <= snapshot.ts()) {
                return (snapshot, before);
            }
            // The watermark has passed the snapshot since.
            std::thread::yield_now();
        }
    }

    /// Replaces everything: after a restore.
    pub(crate) fn set_state(&self, state: State) {
        *self.before.write() = None;
        *self.state.write() = Arc::new(state);
    }

    /// Applies the DDL of the commit at `ts`: catalog, stores and indexes change together. Whoever holds what was before
    /// goes on reading it: rows stay where they are, and only the merging of chunks waits for them.
    pub(crate) fn apply_catalog(&self, changes: &[CatalogChange], ts: CommitTs) -> Result<()> {
        let old = self.state();
        let mut state = State::clone(&old);
        let mut catalog = Catalog::clone(&state.catalog);
        for change in changes {
            catalog.apply(change);
            match change.inner() {
                CatalogChange::Put(Object::Table(def)) => {
                    // The catalog may have completed the definition (missing values from their text).
                    let def = catalog.any_table(def.oid).unwrap_or(def).clone();
                    let table = self.put_table(state.tables.get(&def.oid), def, ts)?;
                    state.tables.insert(table.def.oid, Arc::new(table));
                }
                CatalogChange::Put(object) if object.completes().is_some() => {
                    let oid = object.oid();
                    if let (Some(table), Some(def)) = (state.tables.get(&oid), catalog.any_table(oid)) {
                        let (store, layout) = (table.store.clone(), table.layout.clone());
                        state.tables.insert(oid, Arc::new(Table { def: def.clone(), store, layout }));
                    }
                }
                CatalogChange::Drop(oid) => {
                    state.tables.remove(oid);
                }
                _ => {}
            }
        }
        if changes.iter().any(|change| matches!(change.inner(), CatalogChange::Drop(_))) {
            self.sequences.write().retain(|oid, _| catalog.any_sequence(*oid));
        }
        state.tables.retain(|oid, _| catalog.any_table(*oid).is_some());
        state.catalog = Arc::new(catalog);
        if old.since < ts {
            state.since = ts;
            *self.before.write() = Some(old);
        }
        *self.state.write() = Arc::new(state);
        Ok(())
    }

    fn put_table(&self, old: Option<&Arc<Table>>, def: Arc<TableDef>, ts: CommitTs) -> Result<Table> {
        let layout = Arc::new(layout::Layout::new(&def));
        let store = match old {
            Some(old) if old.store.storage == def.storage && old.store.key == layout.key => {
                old.store.set_layout(layout.clone(), ts)?;
                old.store.clone()
            }
            Some(old) if old.store.storage == def.storage => self.rekeyed(old, &layout)?,
            _ => self.new_store(def.storage, &layout),
        };
        Ok(Table { def, store, layout })
    }

    pub(crate) fn new_store(&self, storage: Oid, layout: &Arc<layout::Layout>) -> Arc<TableStore> {
        Arc::new(TableStore::new(storage, layout.clone(), self.partitions, &self.memory))
    }

    /// The live rows of a table under another primary key. Snapshots older than the change see them as they are now, as
    /// after any rewrite of a table in PostgreSQL.
    pub(crate) fn rekeyed(&self, old: &Table, layout: &Arc<layout::Layout>) -> Result<Arc<TableStore>> {
        let store = self.new_store(old.store.storage, layout);
        old.store.copy_into(&store, layout)?;
        Ok(store)
    }

    /// One round of housekeeping: chunks freeze and merge, dead versions and their index entries go. Cheap when there is
    /// nothing to do; to be called about once a second by a background thread.
    pub fn maintain(&self) {
        let horizon = self.snapshots.horizon();
        for table in self.state().tables.values() {
            if let Err(error) = table.store.maintain(horizon) {
                tracing::error!(table = %table.def.name, %error, "maintenance of a table failed");
            }
        }
    }
}
