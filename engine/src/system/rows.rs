//! Collects the rows of a system relation and turns them into one Arrow batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, ListArray, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::{SystemColumn, SystemRelation};
use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::types::{Datum, PgType};

/// Rows of one relation, column by column.
pub struct RowSink {
    relation: &'static str,
    schema: arrow::datatypes::SchemaRef,
    types: Vec<SystemColumn>,
    columns: Vec<Vec<Datum>>,
    rows: usize,
}

impl RowSink {
    pub(super) fn new(relation: &SystemRelation) -> RowSink {
        RowSink {
            relation: relation.name,
            schema: relation.arrow_schema(),
            types: relation.columns.clone(),
            columns: vec![Vec::new(); relation.columns.len()],
            rows: 0,
        }
    }

    /// Adds a row: one value a column, in the relation's order.
    pub fn push<const N: usize>(&mut self, row: [Datum; N]) {
        debug_assert_eq!(N, self.columns.len(), "columns of {}", self.relation);
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        self.rows += 1;
    }

    pub(super) fn finish(self) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, values) in self.types.iter().zip(&self.columns) {
            let holes = column.not_null && values.iter().any(Datum::is_null);
            if holes || values.len() != self.rows {
                return Err(Error::internal(format!("column {}.{} was not filled", self.relation, column.name)));
            }
            arrays.push(array(values.iter(), column.ty)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(self.schema, arrays, &options)
            .map_err(|e| Error::internal(format!("cannot build {}: {e}", self.relation)))
    }
}

macro_rules! collect {
    ($builder:expr, $values:expr, $ty:expr, $($pattern:pat => $value:expr),+) => {{
        let mut builder = $builder;
        for value in $values {
            match value {
                Datum::Null => builder.append_null(),
                $($pattern => builder.append_value($value),)+
                other => return Err(Error::internal(format!("{other:?} is not a value of type {}", $ty.oid.0))),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

/// The values as an array of the type's Arrow form.
fn array<'a>(values: impl Iterator<Item = &'a Datum>, ty: PgType) -> Result<ArrayRef> {
    Ok(match ty.arrow() {
        DataType::Boolean => collect!(BooleanBuilder::new(), values, ty, Datum::Bool(v) => *v),
        DataType::Int16 => collect!(Int16Builder::new(), values, ty, Datum::Int2(v) => *v),
        DataType::Int32 => collect!(Int32Builder::new(), values, ty, Datum::Int4(v) => *v),
        DataType::Int64 => collect!(Int64Builder::new(), values, ty, Datum::Int8(v) => *v),
        DataType::Float32 => collect!(Float32Builder::new(), values, ty, Datum::Float4(v) => *v),
        DataType::Float64 => collect!(Float64Builder::new(), values, ty, Datum::Float8(v) => *v),
        DataType::UInt32 => collect!(UInt32Builder::new(), values, ty, Datum::Oid(v) => *v),
        DataType::Utf8 => collect!(StringBuilder::new(), values, ty, Datum::Text(v) => v),
        DataType::Binary => {
            collect!(BinaryBuilder::new(), values, ty, Datum::Bytea(v) => &v[..], Datum::Numeric(v) => v.encode())
        }
        DataType::Timestamp(_, zone) => {
            let builder = TimestampMicrosecondBuilder::new().with_timezone_opt(zone);
            collect!(builder, values, ty, Datum::Timestamptz(v) | Datum::Timestamp(v) => *v)
        }
        DataType::Interval(_) => {
            collect!(IntervalMonthDayNanoBuilder::new(), values, ty,
                Datum::Interval(v) => IntervalMonthDayNano::new(v.months, v.days, v.micros.saturating_mul(1000)))
        }
        DataType::List(field) => list(values, ty, field)?,
        other => {
            return Err(Error::internal(format!("system relations have no columns of {other}")));
        }
    })
}

fn list<'a>(values: impl Iterator<Item = &'a Datum>, ty: PgType, field: Arc<Field>) -> Result<ArrayRef> {
    let element = ty.oid.element().ok_or_else(|| Error::internal("a list type without elements"))?;
    let mut elements: Vec<&Datum> = Vec::new();
    let mut lengths = Vec::new();
    let mut valid = Vec::new();
    for value in values {
        let before = elements.len();
        match value {
            Datum::Null => valid.push(false),
            Datum::Array(items) => {
                elements.extend(items.iter());
                valid.push(true);
            }
            other => {
                return Err(Error::internal(format!("{other:?} is not an array")));
            }
        }
        lengths.push(elements.len() - before);
    }
    let items = array(elements.into_iter(), element.into())?;
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, Some(NullBuffer::from(valid)));
    Ok(Arc::new(list.map_err(|e| Error::internal(e.to_string()))?))
}

/// Shorthands for rows.
pub(super) fn text(value: impl AsRef<str>) -> Datum {
    Datum::Text(Arc::from(value.as_ref()))
}

pub(super) fn optional_text(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, text)
}

pub(super) fn oid(value: Oid) -> Datum {
    Datum::Oid(value.0)
}

pub(super) fn array_of<T>(values: impl IntoIterator<Item = T>, wrap: fn(T) -> Datum) -> Datum {
    Datum::Array(Arc::new(values.into_iter().map(wrap).collect()))
}
