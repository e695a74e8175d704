//! What happened to a table since the node started, and how its rows lie in memory: for the views.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Table;
use super::chunk::Begins;
use super::partition::Partition;
use super::table::TableStore;
use crate::catalog::Oid;
use crate::monitor::Counter;
use crate::system::TableFigures;

/// Counts of one store. Rows are counted by the applier, so that a standby has them too.
#[derive(Debug, Default)]
pub struct Activity {
    pub inserted: AtomicU64,
    pub updated: AtomicU64,
    pub deleted: AtomicU64,
    pub sequential_scans: Counter,
    /// Rows that those scans returned.
    pub sequential_rows: Counter,
    /// Look-ups by primary key.
    pub key_lookups: Counter,
}

/// One index: look-ups since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexFigures {
    pub lookups: u64,
    pub bytes: u64,
}

/// One memory partition of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionFigures {
    /// Rows that have a version, the dead ones that wait for collection included.
    pub rows: u64,
    /// Versions in the hot chunk.
    pub hot_versions: u64,
    pub hot_bytes: u64,
    /// Chunks that were hot and are not frozen yet.
    pub sealed_chunks: u64,
    pub frozen_chunks: u64,
    /// Versions in chunks of either kind.
    pub chunk_versions: u64,
    pub chunk_bytes: u64,
    /// Ended versions that wait for collection.
    pub dead: u64,
    /// The hash index over the rows, and their heads.
    pub index_bytes: u64,
}

impl Partition {
    fn figures(&self) -> PartitionFigures {
        let mut figures = PartitionFigures {
            rows: self.index.len() as u64,
            dead: self.garbage.len() as u64,
            index_bytes: (self.index.allocation_size() + self.rows.heads.capacity() * 4) as u64,
            ..PartitionFigures::default()
        };
        if let Some(hot) = self.hot() {
            figures.hot_versions = hot.rows() as u64;
        }
        for (_, chunk) in self.chunks() {
            match chunk.versions.read().begins {
                Begins::Frozen => figures.frozen_chunks += 1,
                Begins::All(_) | Begins::Each(_) => figures.sealed_chunks += 1,
            }
            figures.chunk_versions += chunk.rows as u64;
            figures.chunk_bytes += chunk.total_bytes() as u64;
        }
        let rest = figures.chunk_bytes + figures.index_bytes + (self.garbage.capacity() * 16) as u64;
        figures.hot_bytes = (self.bytes() as u64).saturating_sub(rest);
        figures
    }
}

impl TableStore {
    pub fn partition_figures(&self) -> Vec<PartitionFigures> {
        self.partitions.iter().map(|p| p.read().figures()).collect()
    }

    /// Look-ups and bytes of an index; `None`: there is none of that OID.
    pub fn index_figures(&self, index: Oid) -> Option<IndexFigures> {
        let bytes = self.index_bytes(index)? as u64;
        let primary = self.layout().primary.as_ref().is_some_and(|p| p.oid == index);
        let lookups = match primary {
            true => self.activity.key_lookups.get(),
            false => self.indexes().iter().find(|i| i.layout.oid == index).map_or(0, |i| i.lookups.get()),
        };
        Some(IndexFigures { lookups, bytes })
    }
}

impl Table {
    pub fn figures(&self) -> TableFigures {
        let (store, activity) = (&self.store, &self.store.activity);
        let indexes: Vec<IndexFigures> =
            self.def.indexes.iter().filter_map(|index| store.index_figures(index.oid)).collect();
        let index_bytes: u64 = indexes.iter().map(|index| index.bytes).sum();
        TableFigures {
            live_rows: store.rows() as u64,
            dead_rows: store.partitions.iter().map(|p| p.read().garbage.len() as u64).sum(),
            // The bytes of the whole are counted now and then, those of the indexes at once.
            bytes: (store.bytes() as u64).saturating_sub(index_bytes),
            inserted: activity.inserted.load(Ordering::Relaxed),
            updated: activity.updated.load(Ordering::Relaxed),
            deleted: activity.deleted.load(Ordering::Relaxed),
            sequential_scans: activity.sequential_scans.get(),
            sequential_rows: activity.sequential_rows.get(),
            index_scans: indexes.iter().map(|index| index.lookups).sum(),
        }
    }
}
