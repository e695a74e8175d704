//! Housekeeping of a store: ended versions that no snapshot sees are collected, chunks that every snapshot sees
//! freeze, chunks with many dead rows and small chunks merge.
//!
//! Runs beside readers and the applier: dead versions go in small steps under the partition's write lock; new chunks are
//! built outside of it and put in under it.
//!
//! Invariant: a version is collected only if its end is at or below the horizon; after collection nothing leads to it, and
//! a merge with the same or a later horizon may drop it.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use hashbrown::{HashMap, HashSet};

use super::chunk::{Begins, CHUNK_ROWS, Chunk, Ends, LIVE, Loc, Versions};
use super::index;
use super::layout::{IndexKey, Layout};
use super::partition::{Partition, Slot};
use super::scan::missing_array;
use super::table::{TableStore, key_of_arrays};
use super::{CommitTs, RowKey};
use crate::error::{Error, Result};

/// Versions collected under one hold of a partition's lock.
const STEP: usize = 4096;
/// A chunk with fewer rows is small: merged with others.
const SMALL_ROWS: usize = CHUNK_ROWS / 2;
/// So many small chunks merge even if together they are still small.
const SMALL_CHUNKS: usize = 8;

impl TableStore {
    /// Does what can be done when no snapshot is older than `horizon`.
    pub(crate) fn maintain(&self, horizon: CommitTs) -> Result<()> {
        let _alone = self.maintenance.lock();
        let layout = self.layout();
        let mut changed = false;
        for number in 0..self.partitions.len() {
            while self.collect(number, horizon, &layout) {
                changed = true;
            }
            changed |= self.freeze(number, horizon);
            // A merge leaves dropped columns out.
            if self.is_settled(horizon) {
                changed |= self.merge(number, horizon, &layout)?;
            }
        }
        if changed || self.account.bytes() == 0 {
            self.recount();
        }
        Ok(())
    }

    /// Collects some ended versions of a partition. False: none is left.
    fn collect(&self, number: usize, horizon: CommitTs, layout: &Layout) -> bool {
        let mut partition = self.partitions[number].write();
        // A hot row ends many versions: its chain is walked once for all of them.
        let mut ended: HashMap<u32, CommitTs> = HashMap::new();
        let mut more = false;
        for count in 0.. {
            match partition.garbage.front() {
                Some((end, handle)) if *end <= horizon && count < STEP => {
                    ended.insert(*handle, *end);
                    partition.garbage.pop_front();
                }
                next => {
                    more = next.is_some_and(|(end, _)| *end <= horizon);
                    break;
                }
            }
        }
        for (handle, end) in ended {
            self.collect_row(&mut partition, number, handle, end, layout);
        }
        if partition.garbage.is_empty() {
            partition.garbage.shrink_to_fit();
        }
        more
    }

    /// Unlinks the versions of `handle` that ended at or before `end`, with their index entries.
    fn collect_row(&self, partition: &mut Partition, number: usize, handle: u32, end: CommitTs, layout: &Layout) {
        let rows = &partition.rows;
        let mut chain: Vec<Loc> = Vec::new();
        let mut dead_from = None;
        let mut next = rows.heads[handle as usize];
        while !next.is_none() {
            let version = rows.version(next);
            if version.1 <= end.0 {
                dead_from.get_or_insert(chain.len());
            }
            chain.push(next);
            next = version.2;
        }
        let Some((newer, dead)) = dead_from.map(|at| chain.split_at(at)) else { return };
        for index in self.indexes().iter() {
            let key = |loc: &Loc| index.layout.entry(|c| rows.cell(*loc, c, layout));
            let kept: HashSet<IndexKey> = newer.iter().filter_map(key).collect();
            for gone in dead.iter().filter_map(key).filter(|k| !kept.contains(k)) {
                index.remove(&index::entry(gone, number, handle));
            }
        }
        match (newer.last(), dead.first()) {
            (Some(next), _) => partition.rows.set_pred(*next, Loc::NONE),
            (None, Some(head)) => {
                let hash = rows.key(*head, &self.key).hash(self.seed);
                partition.forget(handle, hash);
            }
            (None, None) => {}
        }
    }

    /// Lets chunks whose versions all began at or before the horizon forget begins and predecessors: the latter are
    /// collected, their ends being those begins.
    fn freeze(&self, number: usize, horizon: CommitTs) -> bool {
        let partition = self.partitions[number].write();
        let mut changed = false;
        for (_, chunk) in partition.chunks() {
            let mut versions = chunk.versions.write();
            let old = match &versions.begins {
                Begins::Frozen => continue,
                Begins::All(ts) => *ts <= horizon,
                Begins::Each(begins) => begins.iter().all(|b| *b <= horizon.0),
            };
            if old {
                versions.begins = Begins::Frozen;
                versions.preds = None;
                changed = true;
            }
        }
        changed
    }

    /// Rewrites frozen chunks that are small or more than a quarter dead, a group at a time.
    fn merge(&self, number: usize, horizon: CommitTs, layout: &Layout) -> Result<bool> {
        let mut changed = false;
        while let Some(group) = self.merge_group(number, horizon) {
            self.merge_chunks(number, &group, horizon, layout).map_err(|e| Error::internal(e.to_string()))?;
            changed = true;
        }
        Ok(changed)
    }

    /// Chunks worth rewriting into one, with their slots.
    fn merge_group(&self, number: usize, horizon: CommitTs) -> Option<Vec<(usize, Arc<Chunk>)>> {
        let partition = self.partitions[number].read();
        let (mut group, mut total, mut dirty, mut small) = (Vec::new(), 0, false, 0);
        for (slot, chunk) in partition.chunks() {
            let versions = chunk.versions.read();
            if !matches!(versions.begins, Begins::Frozen) {
                continue;
            }
            let dead = versions.ends.ended(horizon).len();
            let live = chunk.rows - dead;
            let mostly_dead = dead * 4 > chunk.rows;
            if !mostly_dead && live >= SMALL_ROWS {
                continue;
            }
            if total + live > CHUNK_ROWS {
                break;
            }
            total += live;
            dirty |= mostly_dead;
            small += usize::from(live < SMALL_ROWS);
            group.push((slot, chunk.clone()));
        }
        let worth = dirty || (group.len() > 1 && total >= SMALL_ROWS) || small >= SMALL_CHUNKS;
        worth.then_some(group)
    }

    fn merge_chunks(
        &self,
        number: usize,
        group: &[(usize, Arc<Chunk>)],
        horizon: CommitTs,
        layout: &Layout,
    ) -> Result<(), ArrowError> {
        // Ends at or below the horizon do not change any more: the rows to keep are known without the lock.
        let keep: Vec<Vec<u32>> = group
            .iter()
            .map(|(_, chunk)| {
                let versions = chunk.versions.read();
                (0..chunk.rows as u32).filter(|row| versions.ends.get(*row as usize) > horizon.0).collect()
            })
            .collect();
        let rows: usize = keep.iter().map(Vec::len).sum();
        let merged = (rows > 0).then(|| merged_arrays(group, &keep, layout)).transpose()?;
        let mut partition = self.partitions[number].write();
        let mut ends = Ends::None;
        let slot = group[0].0;
        let mut new_row = 0;
        for ((old_slot, chunk), keep) in group.iter().zip(&keep) {
            let versions = chunk.versions.read();
            for &row in keep {
                let row = row as usize;
                let (old, new) = (Loc::new(*old_slot, row), Loc::new(slot, new_row));
                let end = versions.ends.get(row);
                if end != LIVE {
                    ends.set(new_row, end, rows);
                }
                move_version(&mut partition, chunk.handles[row], old, new);
                new_row += 1;
            }
        }
        for (old_slot, _) in group {
            partition.rows.slots[*old_slot] = Slot::Empty;
        }
        let free = if merged.is_some() { 1 } else { 0 };
        partition.free_slots.extend(group[free..].iter().map(|(slot, _)| *slot));
        if let Some((columns, hidden, handles)) = merged {
            let versions = Versions { begins: Begins::Frozen, preds: None, ends };
            partition.rows.slots[slot] = Slot::Chunk(Arc::new(Chunk::new(columns, hidden, handles, versions)));
        }
        Ok(())
    }

    /// Copies the live rows into an empty store, whose key may be another.
    pub(crate) fn copy_into(&self, target: &TableStore, layout: &Layout) -> Result<()> {
        let renumber = layout.is_hidden() && self.key != layout.key;
        let keys = if renumber { self.sorted_keys() } else { Vec::new() };
        for number in 0..self.partitions.len() {
            let pieces = {
                let mut partition = self.partitions[number].write();
                partition.seal()?;
                partition.chunks().map(|(_, c)| c.clone()).collect::<Vec<_>>()
            };
            for chunk in pieces {
                let keep: Vec<u32> = {
                    let versions = chunk.versions.read();
                    (0..chunk.rows as u32).filter(|row| versions.ends.get(*row as usize) == LIVE).collect()
                };
                let rows = keep.len();
                // Numbers follow the order of the old keys, so that every node gives the same ones.
                let number = |row: &u32| {
                    let key = key_of_arrays(&self.key, &chunk.columns, *row as usize);
                    keys.binary_search(&key).map_or(0, |at| at as i64 + 1)
                };
                let new: Option<Vec<i64>> = renumber.then(|| keep.iter().map(number).collect());
                let arrays = merged_arrays(&[(0, chunk.clone())], &[keep], layout);
                let (columns, old, _) = arrays.map_err(|e| Error::internal(e.to_string()))?;
                let numbers = new.as_deref().or(old.as_deref().filter(|_| layout.is_hidden()));
                target.apply_batch(&columns, numbers, rows, Begins::Frozen)?;
            }
        }
        Ok(())
    }

    fn sorted_keys(&self) -> Vec<RowKey> {
        let mut keys = Vec::with_capacity(self.rows());
        for partition in &self.partitions {
            let partition = partition.read();
            let heads = partition.index.iter().map(|h| partition.rows.heads[*h as usize]);
            let live = heads.filter(|loc| partition.rows.version(*loc).1 == LIVE);
            keys.extend(live.map(|loc| partition.rows.key(loc, &self.key)));
        }
        keys.sort_unstable();
        keys
    }
}

/// Makes what leads to a version, its head or the newer version, lead to its new place.
fn move_version(partition: &mut Partition, handle: u32, old: Loc, new: Loc) {
    let mut loc = partition.rows.heads[handle as usize];
    if loc == old {
        partition.rows.heads[handle as usize] = new;
        return;
    }
    while !loc.is_none() {
        let pred = partition.rows.version(loc).2;
        if pred == old {
            partition.rows.set_pred(loc, new);
            return;
        }
        loc = pred;
    }
}

type Merged = (Vec<Option<ArrayRef>>, Option<Box<[i64]>>, Box<[u32]>);

/// The kept rows of chunks as one: columns by attnum - 1 as the table has them now, hidden keys, handles.
fn merged_arrays(group: &[(usize, Arc<Chunk>)], keep: &[Vec<u32>], layout: &Layout) -> Result<Merged, ArrowError> {
    let indices: Vec<UInt32Array> = keep.iter().map(|k| UInt32Array::from(k.clone())).collect();
    let mut columns = Vec::with_capacity(layout.types.len());
    for (column, ty) in layout.types.iter().enumerate() {
        if ty.is_none() {
            columns.push(None);
            continue;
        }
        let part = |((_, chunk), indices): (&(usize, Arc<Chunk>), &UInt32Array)| match chunk.columns.get(column) {
            Some(Some(array)) => take(array, indices, None),
            _ => missing_array(layout, column, indices.len()),
        };
        let parts: Vec<ArrayRef> = group.iter().zip(&indices).map(part).collect::<Result<_, _>>()?;
        let merged = match parts.as_slice() {
            [one] => one.clone(),
            many => concat(&many.iter().map(|a| a.as_ref()).collect::<Vec<_>>())?,
        };
        columns.push(Some(merged));
    }
    let kept = || group.iter().zip(keep).flat_map(|((_, chunk), rows)| rows.iter().map(move |r| (chunk, *r as usize)));
    let handles = kept().map(|(chunk, row)| chunk.handles[row]).collect();
    let all_hidden = group.iter().all(|(_, chunk)| chunk.hidden.is_some());
    let hidden = all_hidden.then(|| kept().filter_map(|(chunk, row)| chunk.hidden.as_ref().map(|h| h[row])).collect());
    Ok((columns, hidden, handles))
}
