//! Scans: one table as one statement sees it, batch by batch.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::FilterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::chunk::{Chunk, Visible};
use super::column::constant_array;
use super::layout::Layout;
use super::partition::Partition;
use super::stats::Summary;
use super::{CommitTs, RowId, RowKey, Snapshot, Table};
use crate::error::{Error, Result};

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 1 << 15;

/// What is known of one chunk, for pruning: bounds are exact.
pub struct ChunkStats<'a> {
    pub rows: usize,
    summaries: &'a [Option<Summary>],
}

impl ChunkStats<'_> {
    /// Least and greatest value of a column, arrays of one value each. `None`: all NULL, or not known.
    pub fn bounds(&self, attnum: i16) -> Option<(&ArrayRef, &ArrayRef)> {
        let summary = self.summary(attnum)?;
        Some((summary.min.as_ref()?, summary.max.as_ref()?))
    }

    /// NULLs in a column; `None`: not known.
    pub fn nulls(&self, attnum: i16) -> Option<usize> {
        Some(self.summary(attnum)?.nulls)
    }

    fn summary(&self, attnum: i16) -> Option<&Summary> {
        self.summaries.get(usize::try_from(attnum - 1).ok()?)?.as_ref()
    }
}

/// Decides from a chunk's statistics whether any of its rows can qualify.
pub type Prune = Arc<dyn Fn(&ChunkStats<'_>) -> bool + Send + Sync>;

/// A transaction's own changes of one table, laid over a scan.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Rows of the table that were changed or deleted, by partition.
    pub hidden: HashMap<usize, Vec<RowKey>>,
    /// New and changed rows: columns by attnum - 1, and number of the first row in the buffer.
    pub batches: Vec<OverlayBatch>,
}

#[derive(Debug)]
pub(crate) struct OverlayBatch {
    pub columns: Vec<Option<ArrayRef>>,
    /// Handles of the rows, with [`RowId::BUFFER`] as their partition.
    pub handles: Vec<u32>,
}

/// One table as one statement sees it: snapshot, and the transaction's own changes laid over it. Cheap to clone,
/// `'static`, keeps its snapshot registered: what a TableProvider holds.
#[derive(Debug, Clone)]
pub struct ScanSource {
    pub table: Arc<Table>,
    pub snapshot: Snapshot,
    pub(crate) overlay: Option<Arc<Overlay>>,
}

impl ScanSource {
    /// Number of memory partitions: scans take ranges of them. The transaction's own rows come with partition 0, last.
    pub fn partitions(&self) -> usize {
        self.table.store.partitions.len()
    }

    /// Arrow schema of a scan with these arguments.
    pub fn schema(&self, projection: &[i16], row_id: bool) -> SchemaRef {
        let field = |attnum: &i16| {
            let column = self.table.def.columns.get((*attnum - 1) as usize);
            let (name, ty) = column.map_or(("", DataType::Null), |c| (c.name.as_str(), c.ty.arrow()));
            Field::new(name, ty, true)
        };
        let mut fields: Vec<Field> = projection.iter().map(field).collect();
        if row_id {
            fields.push(Field::new("row_id", DataType::UInt64, false));
        }
        Arc::new(Schema::new(fields))
    }

    /// Visible rows of `partitions`; columns by attnum in the order of `projection`, then, if `row_id`, a UInt64 column
    /// with [`RowId`]s. Batches of at most 32 Ki rows; a chunk without dead rows is not copied.
    pub fn scan(&self, partitions: Range<usize>, projection: &[i16], row_id: bool, prune: Option<Prune>) -> Scan {
        Scan {
            schema: self.schema(projection, row_id),
            columns: projection.iter().map(|a| (*a - 1) as usize).collect(),
            source: self.clone(),
            row_id,
            prune,
            partitions: partitions.clone(),
            chunks: VecDeque::new(),
            ready: VecDeque::new(),
            hot: None,
            own: partitions.contains(&0),
        }
    }
}

/// Iterator over the batches of a scan. Holds no lock between batches.
pub struct Scan {
    source: ScanSource,
    schema: SchemaRef,
    /// By attnum - 1.
    columns: Vec<usize>,
    row_id: bool,
    prune: Option<Prune>,
    partitions: Range<usize>,
    chunks: VecDeque<Piece>,
    ready: VecDeque<Result<RecordBatch>>,
    /// Hot rows of the partition that is being read: they are younger than its chunks.
    hot: Option<RecordBatch>,
    /// The transaction's own rows are still to come: they are the youngest of all.
    own: bool,
}

/// A chunk to be read, without the rows that the overlay hides.
struct Piece {
    partition: usize,
    chunk: Arc<Chunk>,
    hidden: Vec<usize>,
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(batch);
            }
            if let Some(piece) = self.chunks.pop_front() {
                match self.read_chunk(&piece) {
                    Ok(batches) => self.ready.extend(batches.into_iter().map(Ok)),
                    Err(e) => return Some(Err(Error::internal(e.to_string()))),
                }
                continue;
            }
            if let Some(batch) = self.hot.take() {
                return Some(Ok(batch));
            }
            let Some(partition) = self.partitions.next() else {
                if !std::mem::take(&mut self.own) {
                    return None;
                }
                let overlay = self.source.overlay.clone()?;
                self.ready = overlay.batches.iter().flat_map(|b| self.overlay_batches(b)).collect();
                continue;
            };
            if let Err(e) = self.open(partition) {
                return Some(Err(Error::internal(e.to_string())));
            }
        }
    }
}

impl Scan {
    fn layout(&self) -> &Layout {
        &self.source.table.layout
    }

    fn snapshot(&self) -> CommitTs {
        self.source.snapshot.ts()
    }

    /// Lists a partition's chunks and copies its hot rows, under one short read lock.
    fn open(&mut self, number: usize) -> Result<(), ArrowError> {
        let source = self.source.clone();
        let Some(partition) = source.table.store.partitions.get(number) else { return Ok(()) };
        let partition = partition.read();
        let mut hidden = self.hidden_rows(&partition, number);
        for (slot, chunk) in partition.chunks() {
            let hidden = hidden.remove(&slot).unwrap_or_default();
            self.chunks.push_back(Piece { partition: number, chunk: chunk.clone(), hidden });
        }
        let (Some(slot), Some(hot)) = (partition.hot, partition.hot()) else { return Ok(()) };
        let hidden = hidden.remove(&slot).unwrap_or_default();
        let s = self.snapshot().0;
        let visible = |row: &u32| {
            let row = *row as usize;
            hot.begins[row] <= s && hot.ends[row] > s && !hidden.contains(&row)
        };
        let rows: Vec<u32> = (0..hot.rows() as u32).filter(visible).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let layout = self.layout();
        let mut arrays = Vec::with_capacity(self.columns.len() + 1);
        for &column in &self.columns {
            arrays.push(match hot.columns.get(column) {
                Some(Some(values)) => values.gather(&rows)?,
                _ => missing_array(layout, column, rows.len())?,
            });
        }
        if self.row_id {
            let ids = rows.iter().map(|&row| RowId::new(number as u16, hot.handles[row as usize]).0);
            arrays.push(Arc::new(UInt64Array::from_iter_values(ids)));
        }
        self.hot = Some(self.batch(arrays, rows.len())?);
        Ok(())
    }

    /// Places of the versions that the transaction's own changes replace.
    fn hidden_rows(&self, partition: &Partition, number: usize) -> HashMap<usize, Vec<usize>> {
        let mut places: HashMap<usize, Vec<usize>> = HashMap::new();
        let keys = self.source.overlay.as_ref().and_then(|o| o.hidden.get(&number));
        let store = &self.source.table.store;
        for key in keys.into_iter().flatten() {
            let handle = partition.find(key.hash(store.seed), key, &store.key);
            if let Some(loc) = handle.and_then(|h| partition.rows.visible(h, self.snapshot())) {
                places.entry(loc.slot()).or_default().push(loc.row());
            }
        }
        places
    }

    fn read_chunk(&self, piece: &Piece) -> Result<Vec<RecordBatch>, ArrowError> {
        let chunk = &piece.chunk;
        let visible = chunk.versions.read().visible(self.snapshot(), chunk.rows);
        let mask = match (visible, piece.hidden.is_empty()) {
            (Visible::None, _) => return Ok(Vec::new()),
            (Visible::All, true) => None,
            (Visible::Some(mask), true) => Some(mask),
            (visible, false) => {
                let mut rows: Vec<bool> = match visible {
                    Visible::Some(mask) => mask.iter().collect(),
                    _ => vec![true; chunk.rows],
                };
                piece.hidden.iter().for_each(|row| rows[*row] = false);
                Some(BooleanBuffer::from(rows))
            }
        };
        if let Some(prune) = &self.prune {
            let stats = ChunkStats { rows: chunk.rows, summaries: chunk.summaries(self.layout()) };
            if !prune(&stats) {
                return Ok(Vec::new());
            }
        }
        let mut batches = Vec::new();
        for start in (0..chunk.rows).step_by(BATCH_ROWS) {
            let rows = BATCH_ROWS.min(chunk.rows - start);
            let mut arrays = self.chunk_arrays(&chunk.columns, start, rows)?;
            if self.row_id {
                let handles = &chunk.handles[start..start + rows];
                let ids = handles.iter().map(|h| RowId::new(piece.partition as u16, *h).0);
                arrays.push(Arc::new(UInt64Array::from_iter_values(ids)));
            }
            let Some(mask) = &mask else {
                batches.push(self.batch(arrays, rows)?);
                continue;
            };
            let mask = arrow::array::BooleanArray::new(mask.slice(start, rows), None);
            let filter = FilterBuilder::new(&mask).optimize().build();
            if filter.count() > 0 {
                let arrays: Result<_, _> = arrays.iter().map(|a| filter.filter(a)).collect();
                batches.push(self.batch(arrays?, filter.count())?);
            }
        }
        Ok(batches)
    }

    fn chunk_arrays(
        &self,
        columns: &[Option<ArrayRef>],
        start: usize,
        rows: usize,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let array = |column: &usize| match columns.get(*column) {
            Some(Some(array)) => Ok(array.slice(start, rows)),
            _ => missing_array(self.layout(), *column, rows),
        };
        self.columns.iter().map(array).collect()
    }

    fn overlay_batches(&self, batch: &OverlayBatch) -> Vec<Result<RecordBatch>> {
        let part = |start: usize| {
            let rows = BATCH_ROWS.min(batch.handles.len() - start);
            let mut arrays = self.chunk_arrays(&batch.columns, start, rows)?;
            if self.row_id {
                let ids = batch.handles[start..start + rows].iter().map(|h| RowId::new(RowId::BUFFER, *h).0);
                arrays.push(Arc::new(UInt64Array::from_iter_values(ids)));
            }
            self.batch(arrays, rows)
        };
        let starts = (0..batch.handles.len()).step_by(BATCH_ROWS);
        starts.map(|start| part(start).map_err(|e| Error::internal(e.to_string()))).collect()
    }

    fn batch(&self, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
    }
}

/// The array that stands for a column which rows do not have: added later, or dropped.
pub(crate) fn missing_array(layout: &Layout, column: usize, rows: usize) -> Result<ArrayRef, ArrowError> {
    let ty = layout.ty(column).unwrap_or(crate::types::TypeOid::TEXT.into());
    let value = layout.missing.get(column).cloned().unwrap_or(crate::types::Datum::Null);
    constant_array(ty, &value, rows).map_err(|e| ArrowError::ComputeError(e.to_string()))
}
