//! The rows that a statement sees, as the general path asks for them: [`TableAccess`] over the transaction's scans and
//! the system catalog.
//!
//! Invariant: a scan source is taken for every table of the statement before it starts, so that all of them are of one
//! snapshot and the transaction's own later changes stay out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::query::{
    Collected, ColumnBound, ColumnStatistics, Comparison, ScanRequest, ScanStream, TableAccess, TableStatistics,
};
use crate::storage::{ChunkStats, Prune, ScanSource};
use crate::system::{self, RowSet, SystemContext};
use crate::types::arrow::datum_at;
use crate::types::compare::compare;
use crate::types::{Datum, PgType};

/// Everything that one statement may read.
pub struct StatementTables {
    pub tables: HashMap<Oid, ScanSource>,
    /// `None` when the statement reads no system relation.
    pub system: Option<SystemContext>,
    /// Rows of subqueries that have run, by what their scans name.
    pub locked: HashMap<Oid, Kept>,
}

/// Rows that lie in memory until what scans them has run, and count against its limit for as long.
#[derive(Clone)]
pub struct Kept {
    rows: RecordBatch,
    _counted: Option<Arc<Collected>>,
}

impl Kept {
    pub fn counted(rows: RecordBatch, counted: Collected) -> Result<Kept> {
        counted.resize(rows.get_array_memory_size())?;
        Ok(Kept { rows, _counted: Some(Arc::new(counted)) })
    }

    /// So few rows that they are not counted.
    pub fn few(rows: RecordBatch) -> Kept {
        Kept { rows, _counted: None }
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }
}

impl StatementTables {
    fn source(&self, table: Oid) -> Result<&ScanSource> {
        self.tables
            .get(&table)
            .ok_or_else(|| Error::internal(format!("table {} is not part of the statement", table.0)))
    }
}

fn column_type(source: &ScanSource, attnum: i16) -> PgType {
    source.table.def.attribute(attnum).map_or(PgType::from(crate::types::TypeOid::TEXT), |c| c.ty)
}

/// The first value of a statistics array.
fn bound_value(array: &ArrayRef, ty: PgType) -> Option<Datum> {
    if array.is_empty() {
        return None;
    }
    datum_at(array.as_ref(), 0, ty).ok().filter(|d| !d.is_null())
}

impl TableAccess for StatementTables {
    fn scan(&self, request: &ScanRequest) -> Result<Vec<ScanStream>> {
        let source = self.source(request.table)?;
        let total = source.partitions().max(1);
        let streams = request.partitions.clamp(1, total);
        let projection: Vec<i16> = request.attnums.iter().copied().filter(|a| *a != 0).collect();
        let row_id = request.attnums.contains(&0);
        let prune = pruning(source, &request.bounds);
        let layout = Layout::new(source, &request.attnums);
        source.table.store.activity.sequential_scans.add(1);
        Ok((0..streams)
            .map(|i| {
                let range = i * total / streams..(i + 1) * total / streams;
                let scan = source.scan(range, &projection, row_id, prune.clone());
                let (layout, store) = (layout.clone(), source.table.store.clone());
                let arranged = scan.map(move |batch| {
                    let batch = batch?;
                    store.activity.sequential_rows.add(batch.num_rows() as u64);
                    layout.arrange(batch)
                });
                Box::new(arranged) as ScanStream
            })
            .collect())
    }

    fn statistics(&self, table: Oid, attnums: &[i16]) -> TableStatistics {
        let Ok(source) = self.source(table) else { return TableStatistics::default() };
        let known = source.table.statistics();
        let columns = attnums
            .iter()
            .map(|attnum| {
                let ty = column_type(source, *attnum);
                let column = usize::try_from(*attnum - 1).ok().and_then(|i| known.columns.get(i));
                column.map_or_else(ColumnStatistics::default, |c| ColumnStatistics {
                    min: c.min.as_ref().and_then(|a| bound_value(a, ty)),
                    max: c.max.as_ref().and_then(|a| bound_value(a, ty)),
                    nulls: c.nulls,
                    distinct: c.distinct,
                })
            })
            .collect();
        TableStatistics { rows: known.rows, columns }
    }

    fn system_rows(&self, relation: Oid) -> Result<RecordBatch> {
        if let Some(rows) = self.locked.get(&relation) {
            return Ok(rows.rows.clone());
        }
        let context = self.system.as_ref().ok_or_else(|| Error::internal("no system context"))?;
        let relation =
            system::by_oid(relation).ok_or_else(|| Error::internal(format!("no system relation {}", relation.0)))?;
        relation.scan(context)
    }

    fn system_set(&self, relation: Oid) -> Result<Option<Arc<RowSet>>> {
        match (&self.system, system::by_oid(relation)) {
            (Some(context), Some(known)) if !self.locked.contains_key(&relation) => known.rows(context).map(Some),
            _ => Ok(None),
        }
    }

    fn system_figure(&self, relation: Oid, rows: &RowSet, row: usize, attnum: i16) -> Option<Datum> {
        system::by_oid(relation)?.figure(self.system.as_ref()?, rows, row, attnum)
    }
}

/// A predicate on chunks for what the scan's filter implies.
fn pruning(source: &ScanSource, bounds: &[ColumnBound]) -> Option<Prune> {
    if bounds.is_empty() {
        return None;
    }
    let bounds: Vec<(ColumnBound, PgType)> =
        bounds.iter().map(|b| (b.clone(), column_type(source, b.attnum))).collect();
    Some(Arc::new(move |chunk: &ChunkStats<'_>| bounds.iter().all(|(bound, ty)| may_hold(chunk, bound, *ty))))
}

fn may_hold(chunk: &ChunkStats<'_>, bound: &ColumnBound, ty: PgType) -> bool {
    let Some((least, greatest)) = chunk.bounds(bound.attnum) else { return true };
    let min = || bound_value(least, ty).map(|m| compare(&m, &bound.value, ty));
    let max = || bound_value(greatest, ty).map(|m| compare(&m, &bound.value, ty));
    match bound.comparison {
        Comparison::Eq => min().is_none_or(|o| o.is_le()) && max().is_none_or(|o| o.is_ge()),
        Comparison::Lt => min().is_none_or(|o| o.is_lt()),
        Comparison::LtEq => min().is_none_or(|o| o.is_le()),
        Comparison::Gt => max().is_none_or(|o| o.is_gt()),
        Comparison::GtEq => max().is_none_or(|o| o.is_ge()),
    }
}

/// Where each requested column lies in storage's batch (its row ids come last and unsigned).
#[derive(Clone)]
struct Layout {
    /// Index in storage's batch; `None`: the row id.
    columns: Arc<[Option<usize>]>,
    schema: Arc<Schema>,
}

impl Layout {
    fn new(source: &ScanSource, attnums: &[i16]) -> Layout {
        let mut next = 0;
        let mut fields = Vec::with_capacity(attnums.len());
        let columns: Vec<Option<usize>> = attnums
            .iter()
            .map(|attnum| {
                if *attnum == 0 {
                    fields.push(Field::new("row_id", DataType::Int64, false));
                    return None;
                }
                fields.push(Field::new(attnum.to_string(), column_type(source, *attnum).arrow(), true));
                next += 1;
                Some(next - 1)
            })
            .collect();
        Layout { columns: columns.into(), schema: Arc::new(Schema::new(fields)) }
    }

    fn arrange(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|column| match column {
                Some(i) => batch.columns().get(*i).cloned().ok_or_else(|| Error::internal("a scan lacks a column")),
                None => batch.columns().last().ok_or_else(|| Error::internal("a scan lacks row ids")).and_then(signed),
            })
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| Error::internal(format!("a scan's columns do not fit: {e}")))
    }
}

/// Row ids as the query path carries them.
fn signed(ids: &ArrayRef) -> Result<ArrayRef> {
    let ids = ids.as_primitive_opt::<UInt64Type>().ok_or_else(|| Error::internal("row ids of a wrong type"))?;
    let values = ScalarBuffer::<i64>::from(ids.values().inner().clone());
    Ok(Arc::new(Int64Array::new(values, None)))
}
