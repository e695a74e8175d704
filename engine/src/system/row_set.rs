//! Rows of a system relation, column by column, with indexes that are built when they are first asked for.
//!
//! Invariant: [`RowSet::matching`] yields exactly the rows whose value in the column has the key, in the rows' order.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parking_lot::Mutex;

use super::SystemColumn;
use crate::error::{Error, Result};
use crate::types::Datum;
use crate::types::arrow::to_array;

/// What equality on integers, OIDs, booleans and text compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RowKey {
    Number(i64),
    Text(Arc<str>),
}

impl RowKey {
    /// `None` for NULL, which equals nothing, and for values that have no such key.
    pub fn new(value: &Datum) -> Option<RowKey> {
        Some(match value {
            Datum::Bool(v) => RowKey::Number(i64::from(*v)),
            Datum::Int2(v) => RowKey::Number(i64::from(*v)),
            Datum::Int4(v) => RowKey::Number(i64::from(*v)),
            Datum::Int8(v) => RowKey::Number(*v),
            Datum::Oid(v) => RowKey::Number(i64::from(*v)),
            Datum::Text(v) => RowKey::Text(v.clone()),
            _ => return None,
        })
    }
}

type Index = HashMap<RowKey, Vec<u32>>;

#[derive(Debug, Default)]
pub struct RowSet {
    columns: Vec<Vec<Datum>>,
    count: usize,
    indexes: Mutex<HashMap<usize, Arc<Index>>>,
    batch: OnceLock<RecordBatch>,
}

impl RowSet {
    /// `columns` are all of `count` values.
    pub fn new(columns: Vec<Vec<Datum>>, count: usize) -> RowSet {
        RowSet { columns, count, ..RowSet::default() }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn value(&self, column: usize, row: usize) -> &Datum {
        self.columns.get(column).and_then(|c| c.get(row)).unwrap_or(&Datum::Null)
    }

    fn index(&self, column: usize) -> Arc<Index> {
        if let Some(index) = self.indexes.lock().get(&column) {
            return index.clone();
        }
        let mut index = Index::new();
        for (row, value) in self.columns.get(column).into_iter().flatten().enumerate() {
            if let Some(key) = RowKey::new(value) {
                index.entry(key).or_default().push(row as u32);
            }
        }
        self.indexes.lock().entry(column).or_insert(Arc::new(index)).clone()
    }

    /// Rows with a key in a column.
    pub fn matching(&self, column: usize, key: &RowKey) -> Vec<u32> {
        self.index(column).get(key).cloned().unwrap_or_default()
    }

    /// How many rows have one key, about.
    pub fn rows_per_key(&self, column: usize) -> usize {
        self.count.div_ceil(self.index(column).len().max(1))
    }

    /// The rows as one batch.
    pub(super) fn batch(&self, relation: &str, schema: SchemaRef, types: &[SystemColumn]) -> Result<RecordBatch> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch.clone());
        }
        let arrays =
            types.iter().zip(&self.columns).map(|(c, values)| to_array(values.iter(), c.ty)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.count));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|e| Error::internal(format!("cannot build {relation}: {e}")))?;
        Ok(self.batch.get_or_init(|| batch).clone())
    }
}
