//! A hot column: values in Arrow's layout, growing. Becomes an array without copying when its chunk is sealed.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, BooleanArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use arrow::error::ArrowError;

use super::cell::Cell;
use crate::error::{Error, Result, SqlState};
use crate::types::{Datum, Interval, PgType, TypeOid, codec};

#[derive(Debug)]
pub(crate) struct Column {
    ty: PgType,
    data_type: DataType,
    values: Values,
    /// Empty while there is no NULL, else one entry a row.
    nulls: Vec<bool>,
    len: usize,
}

#[derive(Debug)]
enum Values {
    Bool(Vec<bool>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
    I128(Vec<i128>, i8),
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<u8>),
    Bytes { offsets: Vec<i32>, data: Vec<u8> },
}

/// Applies one expression to the vector of whichever fixed-width family it is.
macro_rules! fixed {
    ($values:expr, $v:ident => $fixed:expr, $($other:tt)*) => {
        match $values {
            Values::I16($v) => $fixed,
            Values::I32($v) => $fixed,
            Values::I64($v) => $fixed,
            Values::F32($v) => $fixed,
            Values::F64($v) => $fixed,
            Values::U32($v) => $fixed,
            Values::I128($v, _) => $fixed,
            Values::Interval($v) => $fixed,
            $($other)*
        }
    };
}

impl Column {
    pub fn new(ty: PgType) -> Self {
        let data_type = ty.arrow();
        let values = match &data_type {
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Int16 => Values::I16(Vec::new()),
            DataType::Int32 | DataType::Date32 => Values::I32(Vec::new()),
            DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => Values::I64(Vec::new()),
            DataType::Float32 => Values::F32(Vec::new()),
            DataType::Float64 => Values::F64(Vec::new()),
            DataType::UInt32 => Values::U32(Vec::new()),
            DataType::Decimal128(_, scale) => Values::I128(Vec::new(), *scale),
            DataType::Interval(_) => Values::Interval(Vec::new()),
            DataType::FixedSizeBinary(_) => Values::Uuid(Vec::new()),
            _ => Values::Bytes { offsets: vec![0], data: Vec::new() },
        };
        Column { ty, data_type, values, nulls: Vec::new(), len: 0 }
    }

    /// A column of these rows.
    pub fn from_datums<'a>(ty: PgType, datums: impl Iterator<Item = &'a Datum>) -> Result<Self> {
        let mut column = Column::new(ty);
        for datum in datums {
            column.push(&Cell::from(datum))?;
        }
        Ok(column)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the values.
    pub fn bytes(&self) -> usize {
        let values = fixed!(&self.values, v => std::mem::size_of_val(v.as_slice()),
            Values::Bool(v) => v.len(),
            Values::Uuid(v) => v.len(),
            Values::Bytes { offsets, data } => offsets.len() * 4 + data.len(),
        );
        values + self.nulls.len()
    }

    /// Appends one value. An error (a value that the column cannot hold) leaves the column as it was.
    pub fn push(&mut self, cell: &Cell<'_>) -> Result<()> {
        match (&mut self.values, cell) {
            (_, Cell::Null) => {
                self.push_null();
                return Ok(());
            }
            (Values::Bool(v), Cell::Bool(x)) => v.push(*x),
            (Values::I16(v), Cell::I16(x)) => v.push(*x),
            (Values::I32(v), Cell::I32(x)) => v.push(*x),
            (Values::I64(v), Cell::I64(x)) => v.push(*x),
            (Values::F32(v), Cell::F32(x)) => v.push(*x),
            (Values::F64(v), Cell::F64(x)) => v.push(*x),
            (Values::U32(v), Cell::U32(x)) => v.push(*x),
            (Values::I128(v, scale), Cell::Decimal(x, s)) if scale == s => v.push(*x),
            (Values::I128(v, scale), Cell::Numeric(x)) => v.push(x.to_i128(*scale).ok_or_else(|| {
                Error::unsupported("a value other than a finite number in a numeric column with a precision")
            })?),
            (Values::Interval(v), Cell::Interval(x)) => v.push(IntervalMonthDayNano::new(
                x.months,
                x.days,
                x.micros
                    .checked_mul(1000)
                    .ok_or_else(|| Error::new(SqlState::IntervalFieldOverflow, "interval out of range"))?,
            )),
            (Values::Uuid(v), Cell::Uuid(x)) => v.extend_from_slice(x),
            (Values::Bytes { offsets, data }, Cell::Str(x)) => push_bytes(offsets, data, x.as_bytes())?,
            (Values::Bytes { offsets, data }, Cell::Bytes(x)) => push_bytes(offsets, data, x)?,
            (Values::Bytes { offsets, data }, Cell::Numeric(x)) => push_bytes(offsets, data, &x.encode())?,
            (Values::Bytes { offsets, data }, Cell::Array(x)) => push_bytes(offsets, data, &codec::encode_array(x))?,
            (_, cell) => {
                return Err(Error::internal(format!("a column of type {} cannot hold {cell:?}", self.data_type)));
            }
        }
        if !self.nulls.is_empty() {
            self.nulls.push(false);
        }
        self.len += 1;
        Ok(())
    }

    pub fn push_null(&mut self) {
        if self.nulls.is_empty() {
            self.nulls.resize(self.len, false);
        }
        self.nulls.push(true);
        fixed!(&mut self.values, v => v.push(Default::default()),
            Values::Bool(v) => v.push(false),
            Values::Uuid(v) => v.extend_from_slice(&[0; 16]),
            Values::Bytes { offsets, data } => offsets.push(data.len() as i32),
        );
        self.len += 1;
    }

    /// Appends a copy of the value at `i` of this column.
    pub fn push_copy(&mut self, i: usize) -> Result<()> {
        if self.nulls.get(i).copied().unwrap_or(false) {
            self.push_null();
            return Ok(());
        }
        fixed!(&mut self.values, v => v.push(v[i]),
            Values::Bool(v) => v.push(v[i]),
            Values::Uuid(v) => v.extend_from_within(i * 16..i * 16 + 16),
            Values::Bytes { offsets, data } => {
                data.extend_from_within(offsets[i] as usize..offsets[i + 1] as usize);
                offsets.push(i32::try_from(data.len()).map_err(|_| too_large())?);
            }
        );
        if !self.nulls.is_empty() {
            self.nulls.push(false);
        }
        self.len += 1;
        Ok(())
    }

    pub fn cell(&self, i: usize) -> Cell<'_> {
        if self.nulls.get(i).copied().unwrap_or(false) {
            return Cell::Null;
        }
        match &self.values {
            Values::Bool(v) => Cell::Bool(v[i]),
            Values::I16(v) => Cell::I16(v[i]),
            Values::I32(v) => Cell::I32(v[i]),
            Values::I64(v) => Cell::I64(v[i]),
            Values::F32(v) => Cell::F32(v[i]),
            Values::F64(v) => Cell::F64(v[i]),
            Values::U32(v) => Cell::U32(v[i]),
            Values::I128(v, scale) => Cell::Decimal(v[i], *scale),
            Values::Interval(v) => {
                let v = v[i];
                Cell::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1000 })
            }
            Values::Uuid(v) => {
                let mut uuid = [0; 16];
                uuid.copy_from_slice(&v[i * 16..i * 16 + 16]);
                Cell::Uuid(uuid)
            }
            Values::Bytes { offsets, data } => {
                let bytes = &data[offsets[i] as usize..offsets[i + 1] as usize];
                match self.data_type {
                    DataType::Utf8 => Cell::Str(std::str::from_utf8(bytes).unwrap_or_default()),
                    _ => Cell::Bytes(bytes),
                }
            }
        }
    }

    /// An array of the given rows.
    pub fn gather(&self, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let nulls = match self.nulls.is_empty() {
            true => Vec::new(),
            false => rows.iter().map(|&i| self.nulls[i as usize]).collect(),
        };
        let at = |i: &u32| *i as usize;
        let values = match &self.values {
            Values::Bool(v) => Values::Bool(rows.iter().map(|i| v[at(i)]).collect()),
            Values::I16(v) => Values::I16(rows.iter().map(|i| v[at(i)]).collect()),
            Values::I32(v) => Values::I32(rows.iter().map(|i| v[at(i)]).collect()),
            Values::I64(v) => Values::I64(rows.iter().map(|i| v[at(i)]).collect()),
            Values::F32(v) => Values::F32(rows.iter().map(|i| v[at(i)]).collect()),
            Values::F64(v) => Values::F64(rows.iter().map(|i| v[at(i)]).collect()),
            Values::U32(v) => Values::U32(rows.iter().map(|i| v[at(i)]).collect()),
            Values::I128(v, s) => Values::I128(rows.iter().map(|i| v[at(i)]).collect(), *s),
            Values::Interval(v) => Values::Interval(rows.iter().map(|i| v[at(i)]).collect()),
            Values::Uuid(v) => {
                Values::Uuid(rows.iter().flat_map(|i| v[at(i) * 16..at(i) * 16 + 16].iter().copied()).collect())
            }
            Values::Bytes { offsets, data } => {
                let mut out = (Vec::with_capacity(rows.len() + 1), Vec::new());
                out.0.push(0);
                for i in rows {
                    out.1.extend_from_slice(&data[offsets[at(i)] as usize..offsets[at(i) + 1] as usize]);
                    out.0.push(out.1.len() as i32);
                }
                Values::Bytes { offsets: out.0, data: out.1 }
            }
        };
        Column { ty: self.ty, data_type: self.data_type.clone(), values, nulls, len: rows.len() }.into_array()
    }

    pub fn into_array(self) -> Result<ArrayRef, ArrowError> {
        let nulls = match self.nulls.is_empty() {
            true => None,
            false => Some(NullBuffer::new(BooleanBuffer::collect_bool(self.len, |i| !self.nulls[i]))),
        };
        let builder = ArrayData::builder(self.data_type).len(self.len).nulls(nulls.clone());
        let builder = match self.values {
            Values::Bool(v) => return Ok(Arc::new(BooleanArray::new(BooleanBuffer::from(v), nulls))),
            Values::I16(v) => builder.add_buffer(packed(v)),
            Values::I32(v) => builder.add_buffer(packed(v)),
            Values::I64(v) => builder.add_buffer(packed(v)),
            Values::F32(v) => builder.add_buffer(packed(v)),
            Values::F64(v) => builder.add_buffer(packed(v)),
            Values::U32(v) => builder.add_buffer(packed(v)),
            Values::I128(v, _) => builder.add_buffer(packed(v)),
            Values::Interval(v) => builder.add_buffer(packed(v)),
            Values::Uuid(v) => builder.add_buffer(packed(v)),
            Values::Bytes { offsets, data } => builder.add_buffer(packed(offsets)).add_buffer(packed(data)),
        };
        Ok(make_array(builder.build()?))
    }
}

/// Refuses a value that a column of this type could not take: what reaches the log must be installable everywhere.
pub(crate) fn check_value(ty: PgType, cell: &Cell<'_>) -> Result<()> {
    use TypeOid as T;
    let fits = match (ty.oid, cell) {
        (_, Cell::Null) => true,
        (T::BOOL, Cell::Bool(_)) => true,
        (T::INT2, Cell::I16(_)) => true,
        (T::INT4 | T::DATE, Cell::I32(_)) => true,
        (T::INT8 | T::PG_LSN | T::XID8 | T::TID | T::TIME | T::TIMESTAMP | T::TIMESTAMPTZ, Cell::I64(_)) => true,
        (T::FLOAT4, Cell::F32(_)) | (T::FLOAT8, Cell::F64(_)) => true,
        (T::BYTEA, Cell::Bytes(_)) | (T::UUID, Cell::Uuid(_)) => true,
        (_, Cell::Str(_)) => ty.arrow() == DataType::Utf8,
        _ => return Column::new(ty).push(cell),
    };
    match fits {
        true => Ok(()),
        false => Err(Error::internal(format!("a column of type {} cannot hold {cell:?}", ty.arrow()))),
    }
}

fn packed<T: arrow::datatypes::ArrowNativeType>(mut v: Vec<T>) -> Buffer {
    v.shrink_to_fit();
    Buffer::from_vec(v)
}

fn push_bytes(offsets: &mut Vec<i32>, data: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    let end = i32::try_from(data.len() + bytes.len()).map_err(|_| too_large())?;
    data.extend_from_slice(bytes);
    offsets.push(end);
    Ok(())
}

fn too_large() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "a column chunk would exceed 2 GiB")
}

/// An array of one column of rows.
pub(crate) fn array_of<'a>(ty: PgType, datums: impl Iterator<Item = &'a Datum>) -> Result<ArrayRef> {
    Column::from_datums(ty, datums)?.into_array().map_err(|e| Error::internal(e.to_string()))
}

/// `rows` copies of one value.
pub(crate) fn constant_array(ty: PgType, value: &Datum, rows: usize) -> Result<ArrayRef> {
    array_of(ty, std::iter::repeat_n(value, rows))
}
