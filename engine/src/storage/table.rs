//! A table as readers know it ([`Table`]) and its stored rows ([`TableStore`]): reads by key and by index, and the
//! changes that the applier installs.
//!
//! Invariant: a store's key layout never changes; a table whose primary key changes gets a new store.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicIsize, AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int32Type, Int64Type};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::cell::{Cell, cell_at};
use super::chunk::{Begins, CHUNK_ROWS, Chunk, ChunkId, LIVE, Loc};
use super::index::{self, SecondaryIndex};
use super::key::{hash_int4, hash_int8};
use super::layout::{IndexKey, IndexLayout, KeyLayout, Layout};
use super::memory::{Account, Memory};
use super::partition::Partition;
use super::stats::{Sketch, extreme};
use super::{Activity, CommitTs, RowId, RowKey};
use crate::catalog::{Oid, TableDef};
use crate::error::{Error, Result};
use crate::parallel;
use crate::session::Row;
use crate::types::{Datum, PgType};

/// A batch of so many rows is installed on all cores.
const SHARED_ROWS_MIN: usize = 4096;

/// A definition with its rows. What plans hold; a transaction that changed the table's definition has its own.
#[derive(Debug)]
pub struct Table {
    pub def: Arc<TableDef>,
    pub store: Arc<TableStore>,
    pub(crate) layout: Arc<Layout>,
}

impl Table {
    /// Key of the row whose primary-key columns, in index order, are `values` (of the columns' types, not NULL). `None`:
    /// the table has no primary key.
    pub fn key(&self, values: &[Datum]) -> Option<RowKey> {
        (!self.layout.is_hidden()).then(|| self.layout.key.of_values(values))
    }

    /// Key of a whole row (by attnum - 1). `None`: the table has no primary key.
    pub fn key_of(&self, row: &[Datum]) -> Option<RowKey> {
        (!self.layout.is_hidden()).then(|| self.layout.key.encode(|c| row.get(c).map_or(Cell::Null, Cell::from)))
    }

    /// Whether [`crate::txn::Transaction::lookup`] on this index walks an ordered index. The primary key is a hash for
    /// whole keys; its order is built when a range is first looked up. False for an index created by the running
    /// transaction: a lookup reads all rows.
    pub fn is_ordered(&self, index: Oid) -> bool {
        let primary = self.layout.primary.as_ref().is_some_and(|p| p.oid == index);
        (primary && self.store.key == self.layout.key) || self.store.index(index).is_some()
    }

    /// Estimates for the planner; cheap once the chunks' statistics exist.
    pub fn statistics(&self) -> TableStatistics {
        self.store.statistics(&self.layout)
    }

    pub(crate) fn index_layout(&self, index: Oid) -> Option<&IndexLayout> {
        self.layout.indexes.iter().find(|i| i.oid == index)
    }
}

/// What a planner may know of a table: estimates, as of some moment. `None` means not known.
#[derive(Debug, Clone, Default)]
pub struct TableStatistics {
    pub rows: usize,
    pub bytes: usize,
    /// By attnum - 1.
    pub columns: Vec<ColumnStatistics>,
}

#[derive(Debug, Clone, Default)]
pub struct ColumnStatistics {
    /// Least and greatest value: arrays of one value of the column's Arrow type. Rows that are not in a sealed chunk yet
    /// may lie outside.
    pub min: Option<ArrayRef>,
    pub max: Option<ArrayRef>,
    pub nulls: Option<usize>,
    /// Estimate (HyperLogLog).
    pub distinct: Option<usize>,
}

/// The stored rows of one storage OID.
#[derive(Debug)]
pub struct TableStore {
    pub storage: Oid,
    pub(crate) key: KeyLayout,
    pub(crate) seed: u64,
    pub(crate) partitions: Vec<RwLock<Partition>>,
    indexes: RwLock<Arc<[Arc<SecondaryIndex>]>>,
    /// As of the last definition that was applied.
    layout: RwLock<Arc<Layout>>,
    /// The commit that brought that definition: a reader with an older snapshot may know columns that it lacks.
    layout_since: AtomicU64,
    next_hidden: AtomicI64,
    live: AtomicIsize,
    pub(crate) account: Account,
    pub(crate) activity: Activity,
    /// Of these column types and chunks.
    statistics: Mutex<Option<KnownStatistics>>,
    /// Held by whoever maintains the table.
    pub(crate) maintenance: Mutex<()>,
}

/// Rows without a primary key that go to one partition before the next one takes them.
const HIDDEN_RUN: u64 = 4096;

type KnownStatistics = ((Vec<Option<PgType>>, Vec<ChunkId>), Vec<ColumnStatistics>);

/// The newest installed state of a row.
#[derive(Debug, Clone)]
pub(crate) enum Latest {
    Live { row: Row, begin: CommitTs },
    Deleted { end: CommitTs },
    Never,
}

impl TableStore {
    pub(crate) fn new(storage: Oid, layout: Arc<Layout>, partitions: usize, memory: &Arc<Memory>) -> TableStore {
        let indexes = layout.indexes.iter().map(|i| Arc::new(SecondaryIndex::new(i.clone()))).collect();
        TableStore {
            storage,
            key: layout.key.clone(),
            seed: rand::random(),
            partitions: (0..partitions.max(1)).map(|_| RwLock::default()).collect(),
            indexes: RwLock::new(indexes),
            layout: RwLock::new(layout),
            layout_since: AtomicU64::new(0),
            next_hidden: AtomicI64::new(1),
            live: AtomicIsize::new(0),
            account: Account::new(memory),
            activity: Activity::default(),
            statistics: Mutex::new(None),
            maintenance: Mutex::new(()),
        }
    }

    /// Bytes of rows and indexes.
    pub fn bytes(&self) -> usize {
        self.account.bytes()
    }

    /// Bytes of one index. The primary key's are those of the hash over the rows, and of the order once it was asked for.
    pub fn index_bytes(&self, index: Oid) -> Option<usize> {
        let ordered = self.indexes().iter().find(|i| i.layout.oid == index).map(|i| i.bytes());
        if self.layout().primary.as_ref().is_some_and(|p| p.oid == index) {
            let hash: usize = self.partitions.iter().map(|p| p.read().index.allocation_size()).sum();
            return Some(ordered.unwrap_or(0) + hash);
        }
        ordered
    }

    /// Live rows, about.
    pub fn rows(&self) -> usize {
        usize::try_from(self.live.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether everybody who reads at or after `horizon` knows the table as it is now defined.
    pub(crate) fn is_settled(&self, horizon: CommitTs) -> bool {
        self.layout_since.load(Ordering::Acquire) <= horizon.0
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        self.layout.read().clone()
    }

    pub(crate) fn indexes(&self) -> Arc<[Arc<SecondaryIndex>]> {
        self.indexes.read().clone()
    }

    /// The list, which cannot change meanwhile.
    pub(super) fn index_list(&self) -> RwLockReadGuard<'_, Arc<[Arc<SecondaryIndex>]>> {
        self.indexes.read()
    }

    pub(crate) fn index(&self, oid: Oid) -> Option<Arc<SecondaryIndex>> {
        self.indexes.read().iter().find(|i| i.layout.oid == oid && i.is_complete()).cloned()
    }

    /// The ordered index of the primary key, built when it is first asked for: most tables never need it.
    pub(crate) fn ordered_key(&self) -> Option<Arc<SecondaryIndex>> {
        let layout = self.layout();
        let wanted = layout.primary.as_ref()?;
        if let Some(index) = self.index(wanted.oid) {
            return Some(index);
        }
        let _alone = self.maintenance.lock();
        if let Some(index) = self.index(wanted.oid) {
            return Some(index);
        }
        let index = Arc::new(SecondaryIndex::incomplete(wanted.clone()));
        {
            let mut indexes = self.indexes.write();
            *indexes = indexes.iter().cloned().chain([index.clone()]).collect();
        }
        // From here on the applier adds what it installs. It reads the list with its partition locked, so whatever it
        // installed under the old list is found here.
        for (number, partition) in self.partitions.iter().enumerate() {
            let partition = partition.read();
            let entry = |handle: &u32| {
                let loc = partition.rows.heads[*handle as usize];
                index::entry(wanted.encode(|c| partition.rows.cell(loc, c, &layout)), number, *handle)
            };
            let mut entries: Vec<IndexKey> = partition.index.iter().map(entry).collect();
            entries.sort_unstable();
            index.insert_all(entries);
        }
        self.account.add(index.bytes());
        index.set_complete();
        Some(index)
    }

    pub(super) fn count_live(&self, more: isize) {
        self.live.fetch_add(more, Ordering::Relaxed);
    }

    /// A number for a new row of a table without a primary key.
    pub(crate) fn next_hidden(&self) -> i64 {
        self.next_hidden.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_hidden_range(&self, count: usize) -> i64 {
        self.next_hidden.fetch_add(count as i64, Ordering::Relaxed)
    }

    pub(crate) fn saw_hidden(&self, number: i64) {
        self.next_hidden.fetch_max(number + 1, Ordering::Relaxed);
    }

    pub(crate) fn hidden_watermark(&self) -> i64 {
        self.next_hidden.load(Ordering::Relaxed)
    }

    /// Partition of the row with a key.
    pub(crate) fn partition_of_key(&self, key: &RowKey) -> usize {
        self.place_of(key, key.hash(self.seed))
    }

    /// Key of a row of a table with a primary key.
    pub(crate) fn key_of_row(&self, row: &[Datum]) -> RowKey {
        self.layout().key.encode(|c| row.get(c).map_or(Cell::Null, Cell::from))
    }

    /// Where a row lives. Rows without a primary key fill one partition after the other in runs, so that a small table is
    /// read in the order in which its rows came, as people expect of a heap; all others go by their hash.
    pub(crate) fn place_of(&self, key: &RowKey, hash: u64) -> usize {
        match key.hidden_number().filter(|_| self.key == KeyLayout::Hidden) {
            Some(number) => self.place_of_hidden(number),
            None => self.partition_of(hash),
        }
    }

    fn place_of_hidden(&self, number: i64) -> usize {
        (number as u64 / HIDDEN_RUN) as usize % self.partitions.len()
    }

    fn partition_of(&self, hash: u64) -> usize {
        // Bits that neither pick the bucket (low) nor tag it (top seven) in the partition's index.
        (((hash >> 20) & 0xffff_ffff) as usize * self.partitions.len()) >> 32
    }

    // Reads.

    /// Columns of the row that `snapshot` sees.
    pub(crate) fn get(
        &self,
        key: &RowKey,
        snapshot: CommitTs,
        layout: &Layout,
        projection: Option<&[i16]>,
    ) -> Option<Row> {
        let hash = key.hash(self.seed);
        let partition = self.partitions[self.place_of(key, hash)].read();
        let loc = partition.rows.visible(partition.find(hash, key, &self.key)?, snapshot)?;
        Some(partition.rows.row(loc, layout, projection))
    }

    /// Whether the newest installed version of a row is live.
    pub(crate) fn exists(&self, key: &RowKey) -> bool {
        let hash = key.hash(self.seed);
        let partition = self.partitions[self.place_of(key, hash)].read();
        let head = partition.find(hash, key, &self.key).map(|h| partition.rows.heads[h as usize]);
        head.is_some_and(|loc| partition.rows.version(loc).1 == LIVE)
    }

    /// False only if no row with a key of this hash is installed. Asked of tables with a primary key.
    pub(crate) fn may_exist(&self, hash: u64) -> bool {
        self.partitions[self.partition_of(hash)].read().may_know(hash)
    }

    /// The newest installed version of a row.
    pub(crate) fn latest(&self, key: &RowKey, layout: &Layout) -> Latest {
        let hash = key.hash(self.seed);
        let partition = self.partitions[self.place_of(key, hash)].read();
        let Some(handle) = partition.find(hash, key, &self.key) else { return Latest::Never };
        let loc = partition.rows.heads[handle as usize];
        match partition.rows.version(loc) {
            (begin, LIVE, _) => Latest::Live { row: partition.rows.row(loc, layout, None), begin: CommitTs(begin) },
            (_, end, _) => Latest::Deleted { end: CommitTs(end) },
        }
    }

    /// When the newest installed version of a row came or went; 0 if there is none.
    pub(crate) fn changed_at(&self, key: &RowKey) -> CommitTs {
        let hash = key.hash(self.seed);
        let partition = self.partitions[self.place_of(key, hash)].read();
        let Some(handle) = partition.find(hash, key, &self.key) else { return CommitTs(0) };
        match partition.rows.version(partition.rows.heads[handle as usize]) {
            (begin, LIVE, _) => CommitTs(begin),
            (_, end, _) => CommitTs(end),
        }
    }

    /// The row behind a row identifier.
    pub(crate) fn fetch(&self, id: RowId, snapshot: CommitTs, layout: &Layout) -> Option<(RowKey, Row)> {
        let partition = self.partitions.get(usize::from(id.partition()))?.read();
        if id.handle() as usize >= partition.rows.heads.len() {
            return None;
        }
        let loc = partition.rows.visible(id.handle(), snapshot)?;
        Some((partition.rows.key(loc, &self.key), partition.rows.row(loc, layout, None)))
    }

    /// Calls `visit` with key bytes and row of each visible row of a range of an index, in order, until it answers false.
    pub(crate) fn walk(
        &self,
        index: &SecondaryIndex,
        range: (IndexKey, IndexKey),
        reverse: bool,
        snapshot: CommitTs,
        layout: &Layout,
        mut visit: impl FnMut(&[u8], RowKey, Row) -> bool,
    ) {
        let (mut low, mut high) = (Bound::Included(range.0), Bound::Excluded(range.1));
        loop {
            let entries = index.read(&low, &high, reverse);
            let Some(last) = entries.last() else { return };
            match reverse {
                false => low = Bound::Excluded(last.clone()),
                true => high = Bound::Excluded(last.clone()),
            }
            for entry in &entries {
                let (key, partition, handle) = index::split(entry);
                let Some(partition) = self.partitions.get(partition) else { continue };
                let partition = partition.read();
                let Some(loc) = partition.rows.heads.get(handle as usize).and(partition.rows.visible(handle, snapshot))
                else {
                    continue;
                };
                let now = index.layout.entry(|c| partition.rows.cell(loc, c, layout));
                if now.is_none_or(|now| now.as_slice() != key) {
                    continue;
                }
                let found = (partition.rows.key(loc, &self.key), partition.rows.row(loc, layout, None));
                drop(partition);
                if !visit(key, found.0, found.1) {
                    return;
                }
            }
        }
    }

    /// Whether a row that is in a range of an index, or was at a time that a snapshot may still see, was changed after
    /// `since`.
    pub(crate) fn range_changed(&self, index: &SecondaryIndex, range: (&IndexKey, &IndexKey), since: CommitTs) -> bool {
        let (mut low, high) = (Bound::Included(range.0.clone()), Bound::Excluded(range.1.clone()));
        let changed = |entry: &IndexKey| {
            let (_, partition, handle) = index::split(entry);
            let Some(partition) = self.partitions.get(partition) else { return false };
            let partition = partition.read();
            let head = partition.rows.heads.get(handle as usize);
            head.is_some_and(|head| match partition.rows.version(*head) {
                (begin, LIVE, _) => begin > since.0,
                (_, end, _) => end > since.0,
            })
        };
        loop {
            let entries = index.read(&low, &high, false);
            let Some(last) = entries.last() else { return false };
            if entries.iter().any(changed) {
                return true;
            }
            low = Bound::Excluded(last.clone());
        }
    }

    /// Calls `visit` with every row whose newest installed version is live, until it answers false.
    pub(crate) fn for_each_live(&self, layout: &Layout, mut visit: impl FnMut(RowKey, &Row) -> bool) {
        for partition in &self.partitions {
            let partition = partition.read();
            for handle in partition.index.iter() {
                let loc = partition.rows.heads[*handle as usize];
                let live = partition.rows.version(loc).1 == LIVE;
                if live && !visit(partition.rows.key(loc, &self.key), &partition.rows.row(loc, layout, None)) {
                    return;
                }
            }
        }
    }

    // Changes: the applier's.

    /// Installs new rows given as columns (by attnum - 1) and, for a table without a primary key, their numbers.
    pub(crate) fn apply_batch(
        &self,
        columns: &[Option<ArrayRef>],
        hidden: Option<&[i64]>,
        rows: usize,
        begins: Begins,
    ) -> Result<()> {
        let layout = self.layout();
        let mut places: Vec<(Vec<u32>, Vec<u64>)> = vec![Default::default(); self.partitions.len()];
        let hashes = match hidden {
            Some(numbers) => numbers.iter().map(|n| RowKey::hidden(*n).hash(self.seed)).collect(),
            None => key_hashes(&self.key, columns, rows, self.seed),
        };
        for (row, hash) in hashes.into_iter().enumerate() {
            let number = hidden.and_then(|h| h.get(row));
            let place = &mut places[number.map_or_else(|| self.partition_of(hash), |n| self.place_of_hidden(*n))];
            place.0.push(row as u32);
            place.1.push(hash);
        }
        if let Some(last) = hidden.and_then(|h| h.iter().max()) {
            self.saw_hidden(*last);
        }
        let apply = |number: &usize| {
            let (rows, hashes) = &places[*number];
            self.apply_partition_batch(*number, (columns, hidden), (rows, hashes), &begins, &layout)
        };
        let numbers: Vec<usize> = (0..places.len()).filter(|number| !places[*number].0.is_empty()).collect();
        // A checkpoint's chunks are read side by side already.
        if rows < SHARED_ROWS_MIN || matches!(begins, Begins::Frozen) {
            numbers.iter().try_for_each(apply)?;
        } else {
            parallel::for_each(&numbers, || Error::internal("installing rows panicked"), apply)?;
        }
        self.live.fetch_add(rows as isize, Ordering::Relaxed);
        // The arrays may be parts of what is larger.
        let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
        let bytes: usize = columns.iter().flatten().map(bytes).sum();
        self.account.add(bytes + rows * 24);
        Ok(())
    }

    fn apply_partition_batch(
        &self,
        number: usize,
        (columns, hidden): (&[Option<ArrayRef>], Option<&[i64]>),
        (rows, hashes): (&[u32], &[u64]),
        begins: &Begins,
        layout: &Layout,
    ) -> Result<()> {
        /// Fewer rows go to the hot chunk one by one: tiny chunks cost more than they save.
        const CHUNK_MIN: usize = 512;
        let mut partition = self.partitions[number].write();
        let key = |row: u32| match hidden {
            Some(numbers) => RowKey::hidden(numbers[row as usize]),
            None => key_of_arrays(&self.key, columns, row as usize),
        };
        // A key that is still remembered from a deleted row keeps its handle; only the row path does that.
        let known =
            |p: &Partition, i: usize| p.may_know(hashes[i]) && p.find(hashes[i], &key(rows[i]), &self.key).is_some();
        let (single, bulk): (Vec<usize>, Vec<usize>) = match begins {
            Begins::Frozen => (Vec::new(), (0..rows.len()).collect()),
            _ if rows.len() < CHUNK_MIN => ((0..rows.len()).collect(), Vec::new()),
            _ => (0..rows.len()).partition(|i| known(&partition, *i)),
        };
        let ts = if let Begins::All(ts) = begins { *ts } else { CommitTs(0) };
        let mut handles = Vec::with_capacity(rows.len());
        for i in single {
            let row = row_of_arrays(columns, rows[i] as usize, layout);
            handles.push(partition.insert(&key(rows[i]), hashes[i], self.seed, &row, layout, ts)?);
        }
        for part in bulk.chunks(CHUNK_ROWS) {
            let indices = UInt32Array::from_iter_values(part.iter().map(|i| rows[*i]));
            let gather = |c: &Option<ArrayRef>| c.as_ref().map(|c| take(c, &indices, None)).transpose();
            let arrays: Result<Vec<_>, _> = columns.iter().map(gather).collect();
            let arrays = arrays.map_err(|e| Error::internal(e.to_string()))?;
            let numbers = hidden.map(|h| part.iter().map(|i| h[rows[*i] as usize]).collect());
            let hashes: Vec<u64> = part.iter().map(|i| hashes[*i]).collect();
            handles.extend(partition.insert_chunk(arrays, numbers, &hashes, self.seed, &self.key, begins.clone())?);
        }
        for index in self.indexes.read().iter() {
            let entry = |handle: &u32| {
                let loc = partition.rows.heads[*handle as usize];
                let key = index.layout.entry(|c| partition.rows.cell(loc, c, layout))?;
                Some(index::entry(key, number, *handle))
            };
            let mut entries: Vec<IndexKey> = handles.iter().filter_map(entry).collect();
            entries.sort_unstable();
            self.account.add(36 * entries.len());
            index.insert_all(entries);
        }
        Ok(())
    }

    /// A new definition of the same rows: hot chunks get the new columns, indexes are built and dropped.
    pub(crate) fn set_layout(&self, layout: Arc<Layout>, ts: CommitTs) -> Result<()> {
        debug_assert!(layout.key == self.key);
        let _alone = self.maintenance.lock();
        for partition in &self.partitions {
            partition.write().seal()?;
        }
        let old = self.indexes();
        let index = |wanted: &IndexLayout| match old.iter().find(|i| i.layout == *wanted) {
            Some(index) => index.clone(),
            None => Arc::new(self.build_index(wanted.clone(), &layout)),
        };
        let key = old.iter().find(|i| Some(&i.layout) == layout.primary.as_ref()).cloned();
        let indexes: Arc<[_]> = layout.indexes.iter().map(index).chain(key).collect();
        *self.indexes.write() = indexes;
        *self.layout.write() = layout;
        self.layout_since.store(ts.0, Ordering::Release);
        Ok(())
    }

    /// Indexes every version that a snapshot may still see.
    fn build_index(&self, wanted: IndexLayout, layout: &Layout) -> SecondaryIndex {
        let mut entries = Vec::with_capacity(self.rows());
        for (number, partition) in self.partitions.iter().enumerate() {
            let partition = partition.read();
            for (handle, head) in partition.rows.heads.iter().enumerate() {
                let mut loc: Loc = *head;
                while !loc.is_none() {
                    let key = wanted.entry(|c| partition.rows.cell(loc, c, layout));
                    entries.extend(key.map(|key| index::entry(key, number, handle as u32)));
                    loc = partition.rows.version(loc).2;
                }
            }
        }
        SecondaryIndex::build(wanted, entries)
    }

    fn statistics(&self, layout: &Layout) -> TableStatistics {
        let chunks: Vec<_> = self
            .partitions
            .iter()
            .flat_map(|p| p.read().chunks().map(|(_, c)| c.clone()).collect::<Vec<_>>())
            .collect();
        let rows = self.rows();
        // Estimates stand while the chunks are the same.
        let content = (layout.types.clone(), chunks.iter().map(|c| c.id).collect::<Vec<_>>());
        let mut known = self.statistics.lock();
        if known.as_ref().is_none_or(|(of, _)| *of != content) {
            let columns = self.column_statistics(&chunks, layout, rows);
            *known = Some((content, columns));
        }
        let columns = known.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default();
        TableStatistics { rows, bytes: self.bytes(), columns }
    }

    fn column_statistics(&self, chunks: &[Arc<Chunk>], layout: &Layout, rows: usize) -> Vec<ColumnStatistics> {
        let mut columns = vec![ColumnStatistics::default(); layout.types.len()];
        let mut sketches: Vec<Option<Sketch>> = vec![None; columns.len()];
        for chunk in chunks {
            for (i, summary) in chunk.summaries(layout).iter().enumerate() {
                let (Some(summary), Some(column)) = (summary, columns.get_mut(i)) else { continue };
                column.min = extreme(column.min.take(), &summary.min, false);
                column.max = extreme(column.max.take(), &summary.max, true);
                column.nulls = Some(column.nulls.unwrap_or(0) + summary.nulls);
                sketches[i].get_or_insert_default().merge(&summary.sketch);
            }
        }
        for (column, sketch) in columns.iter_mut().zip(sketches) {
            column.distinct = sketch.map(|s| s.estimate().min(rows.max(1)));
        }
        if let KeyLayout::Int4(key) | KeyLayout::Int8(key) = self.key
            && let Some(column) = columns.get_mut(key)
        {
            column.distinct = Some(rows);
        }
        columns
    }

    /// Counts the bytes anew: what the applier added up is an estimate.
    pub(crate) fn recount(&self) {
        let partitions: usize = self.partitions.iter().map(|p| p.read().bytes()).sum();
        let indexes: usize = self.indexes.read().iter().map(|i| i.bytes()).sum();
        self.account.set(partitions + indexes);
    }
}

/// The hash of every row's key, without making the keys where they are single integers.
pub(crate) fn key_hashes(key: &KeyLayout, columns: &[Option<ArrayRef>], rows: usize, seed: u64) -> Vec<u64> {
    let array = |column: &usize| columns.get(*column).and_then(Option::as_ref).filter(|a| a.null_count() == 0);
    let ints = match key {
        KeyLayout::Int4(column) => array(column).and_then(|a| a.as_primitive_opt::<Int32Type>()),
        _ => None,
    };
    let longs = match key {
        KeyLayout::Int8(column) => array(column).and_then(|a| a.as_primitive_opt::<Int64Type>()),
        _ => None,
    };
    match (ints, longs) {
        (Some(ints), _) => ints.values().iter().map(|v| hash_int4(seed, *v)).collect(),
        (_, Some(longs)) => longs.values().iter().map(|v| hash_int8(seed, *v)).collect(),
        _ => (0..rows).map(|row| key_of_arrays(key, columns, row).hash(seed)).collect(),
    }
}

/// Key of one row of arrays (by attnum - 1).
pub(crate) fn key_of_arrays(key: &KeyLayout, columns: &[Option<ArrayRef>], row: usize) -> RowKey {
    key.encode(|column| columns.get(column).and_then(|c| c.as_ref()).map_or(Cell::Null, |array| cell_at(array, row)))
}

/// One row of arrays (by attnum - 1).
pub(crate) fn row_of_arrays(columns: &[Option<ArrayRef>], row: usize, layout: &Layout) -> Row {
    let datum = |(column, ty): (usize, &Option<PgType>)| match (ty, columns.get(column)) {
        (Some(ty), Some(Some(array))) => cell_at(array, row).to_datum(*ty),
        (Some(_), _) => layout.missing.get(column).cloned().unwrap_or(Datum::Null),
        _ => Datum::Null,
    };
    layout.types.iter().enumerate().map(datum).collect()
}
