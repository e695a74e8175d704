//! Arrow columns as text or binary: the general path's rows.
//!
//! The common types have writers that go from the array to the bytes without allocating; all others go through a
//! [`Datum`].

use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use arrow::record_batch::RecordBatch;
use engine::error::{Error, Result};
use engine::session::Column;
use engine::types::numeric::Numeric;
use engine::types::text::FormatSettings;
use engine::types::{Datum, Interval, PgType, codec};
use num_bigint::BigInt;

use super::datum::{DatumEncoder, put_integer};
use super::{Family, family, mismatch, numeric, put_cell, put_null};
use crate::frontend::Format;

/// Appends the bytes of one row's value, which is not null, without their length.
type Write = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<()> + Send + Sync>;
/// Reads one row's value, which is not null.
type Read = Box<dyn Fn(usize) -> Result<Datum> + Send + Sync>;

/// The encoder of one column of one batch.
struct ColumnEncoder {
    nulls: Option<NullBuffer>,
    write: Write,
}

/// The encoders of a batch.
pub(crate) struct BatchEncoder {
    columns: Vec<ColumnEncoder>,
    rows: usize,
}

impl BatchEncoder {
    pub fn choose(
        batch: &RecordBatch,
        columns: &[Column],
        formats: impl Iterator<Item = Format>,
        settings: &FormatSettings,
    ) -> Result<Self> {
        // Of a result without columns only the number of rows counts.
        if batch.num_columns() != columns.len() && !columns.is_empty() {
            return Err(Error::internal(format!("a batch has {} columns for {}", batch.num_columns(), columns.len())));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(columns)
            .zip(formats)
            .map(|((array, column), format)| choose(array, column.ty, format, settings))
            .collect::<Result<Vec<_>>>()?;
        Ok(BatchEncoder { columns, rows: batch.num_rows() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends the body of a DataRow.
    pub fn write_row(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&(self.columns.len() as u16).to_be_bytes());
        for column in &self.columns {
            match &column.nulls {
                Some(nulls) if nulls.is_null(row) => put_null(out),
                _ => put_cell(out, |out| (column.write)(row, out))?,
            }
        }
        Ok(())
    }
}

fn choose(array: &ArrayRef, ty: PgType, format: Format, settings: &FormatSettings) -> Result<ColumnEncoder> {
    if let DataType::Dictionary(_, values) = array.data_type() {
        let plain = arrow::compute::cast(array, values)
            .map_err(|error| Error::internal(format!("could not unpack a dictionary: {error}")))?;
        return choose(&plain, ty, format, settings);
    }
    let write = match format {
        Format::Text => text_writer(array, ty),
        Format::Binary => binary_writer(array, ty),
    };
    let write = match write {
        Some(write) => write,
        None => {
            let encoder = DatumEncoder::choose(ty, format)?;
            let read = reader(array, ty)?;
            let settings = settings.clone();
            Box::new(move |row, out: &mut Vec<u8>| encoder.write(&read(row)?, &settings, out))
        }
    };
    Ok(ColumnEncoder { nulls: array.logical_nulls(), write })
}

/// The writers that need no [`Datum`], by type and memory layout.
fn text_writer(array: &ArrayRef, ty: PgType) -> Option<Write> {
    Some(match (family(ty.oid), array.data_type()) {
        (Family::Int2, DataType::Int16) => integers::<Int16Type>(array),
        (Family::Int4, DataType::Int32) => integers::<Int32Type>(array),
        (Family::Int8, DataType::Int64) if ty.oid == engine::types::TypeOid::INT8 => integers::<Int64Type>(array),
        (Family::Oid, DataType::UInt32) => integers::<UInt32Type>(array),
        (Family::Bool, DataType::Boolean) => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| {
                out.push(if array.value(row) { b't' } else { b'f' });
                Ok(())
            })
        }
        (Family::Numeric, DataType::Decimal128(_, scale @ 0..)) => {
            let array = array.as_primitive::<Decimal128Type>().clone();
            let scale = scale.unsigned_abs() as usize;
            Box::new(move |row, out| {
                put_decimal(out, array.value(row), scale);
                Ok(())
            })
        }
        // Whatever the type: strings are its text form. So are names that the engine resolved.
        (Family::Array(_) | Family::Bytea | Family::Inet | Family::Timetz | Family::Geometric, _) => return None,
        (_, data_type) => return strings(array, data_type),
    })
}

fn binary_writer(array: &ArrayRef, ty: PgType) -> Option<Write> {
    /// Values whose binary form is their big-endian bytes.
    macro_rules! big_endian {
        ($arrow:ty) => {{
            let array = array.as_primitive::<$arrow>().clone();
            Box::new(move |row, out: &mut Vec<u8>| {
                out.extend_from_slice(&array.value(row).to_be_bytes());
                Ok(())
            })
        }};
    }
    Some(match (family(ty.oid), array.data_type()) {
        (Family::Int2, DataType::Int16) => big_endian!(Int16Type),
        (Family::Int4, DataType::Int32) => big_endian!(Int32Type),
        (Family::Int8, DataType::Int64) => big_endian!(Int64Type),
        (Family::Oid | Family::Reg, DataType::UInt32) => big_endian!(UInt32Type),
        (Family::Float4, DataType::Float32) => big_endian!(Float32Type),
        (Family::Float8, DataType::Float64) => big_endian!(Float64Type),
        (Family::Numeric, DataType::Decimal128(_, scale @ 0..)) => {
            let array = array.as_primitive::<Decimal128Type>().clone();
            let scale = u16::from(scale.unsigned_abs());
            Box::new(move |row, out| numeric::write_decimal(array.value(row), scale, out))
        }
        (Family::Text, data_type) if ty.oid != engine::types::TypeOid::CHAR => {
            return strings(array, data_type);
        }
        _ => return None,
    })
}

fn integers<T>(array: &ArrayRef) -> Write
where
    T: ArrowPrimitiveType,
    T::Native: itoa::Integer,
{
    let array = array.as_primitive::<T>().clone();
    Box::new(move |row, out| {
        put_integer(out, array.value(row));
        Ok(())
    })
}

fn strings(array: &ArrayRef, data_type: &DataType) -> Option<Write> {
    macro_rules! copy {
        ($array:expr) => {{
            let array = $array.clone();
            Box::new(move |row, out: &mut Vec<u8>| {
                out.extend_from_slice(array.value(row).as_bytes());
                Ok(())
            })
        }};
    }
    Some(match data_type {
        DataType::Utf8 => copy!(array.as_string::<i32>()),
        DataType::LargeUtf8 => copy!(array.as_string::<i64>()),
        DataType::Utf8View => copy!(array.as_string_view()),
        _ => return None,
    })
}

/// `value * 10^-scale` in decimal, all `scale` digits shown.
fn put_decimal(out: &mut Vec<u8>, value: i128, scale: usize) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let magnitude = value.unsigned_abs();
    // A u128 is formatted by slow divisions; most numbers fit 64 bits.
    let digits = match u64::try_from(magnitude) {
        Ok(magnitude) => buffer.format(magnitude),
        Err(_) => buffer.format(magnitude),
    }
    .as_bytes();
    let whole = digits.len().saturating_sub(scale);
    let (before, after) = digits.split_at(whole);
    if before.is_empty() {
        out.push(b'0');
    }
    out.extend_from_slice(before);
    if scale > 0 {
        out.push(b'.');
        out.resize(out.len() + scale - after.len(), b'0');
        out.extend_from_slice(after);
    }
}

/// Whether the values of a family are bytes that it alone reads.
fn is_bytes(family: Family) -> bool {
    use Family as F;
    matches!(family, F::Bytea | F::Inet | F::Timetz | F::Geometric | F::Row | F::Range | F::Multirange)
}

/// The reader of an array by the type's family and the array's own layout.
fn reader(array: &ArrayRef, ty: PgType) -> Result<Read> {
    /// A reader of one array type.
    macro_rules! read {
        ($array:expr, $make:expr) => {{
            let (array, make) = ($array.clone(), $make);
            Box::new(move |row| Ok(make(array.value(row))))
        }};
    }
    let family = family(ty.oid);
    Ok(match (array.data_type(), family) {
        (DataType::Null, _) => Box::new(|_| Ok(Datum::Null)),
        (DataType::Boolean, Family::Bool) => read!(array.as_boolean(), Datum::Bool),
        (DataType::Int16, Family::Int2) => {
            read!(array.as_primitive::<Int16Type>(), Datum::Int2)
        }
        (DataType::Int32, Family::Int4) => {
            read!(array.as_primitive::<Int32Type>(), Datum::Int4)
        }
        (DataType::Int64, Family::Int8 | Family::Tid | Family::Enum) => {
            read!(array.as_primitive::<Int64Type>(), Datum::Int8)
        }
        (DataType::UInt32, Family::Oid | Family::Reg) => {
            read!(array.as_primitive::<UInt32Type>(), Datum::Oid)
        }
        (DataType::Float32, Family::Float4) => {
            read!(array.as_primitive::<Float32Type>(), Datum::Float4)
        }
        (DataType::Float64, Family::Float8) => {
            read!(array.as_primitive::<Float64Type>(), Datum::Float8)
        }
        (DataType::Decimal128(_, scale), Family::Numeric) => {
            let scale = *scale;
            read!(array.as_primitive::<Decimal128Type>(), move |v: i128| scaled(BigInt::from(v), scale))
        }
        (DataType::Decimal256(_, scale), Family::Numeric) => {
            let scale = *scale;
            read!(array.as_primitive::<Decimal256Type>(), move |v: i256| scaled(
                BigInt::from_signed_bytes_le(&v.to_le_bytes()),
                scale
            ))
        }
        (DataType::Binary, Family::Numeric) => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row| sortable_numeric(array.value(row)))
        }
        (DataType::BinaryView, Family::Numeric) => {
            let array = array.as_binary_view().clone();
            Box::new(move |row| sortable_numeric(array.value(row)))
        }
        (DataType::Binary, family) if is_bytes(family) => {
            read!(array.as_binary::<i32>(), |v: &[u8]| Datum::Bytea(Arc::from(v)))
        }
        (DataType::LargeBinary, family) if is_bytes(family) => {
            read!(array.as_binary::<i64>(), |v: &[u8]| Datum::Bytea(Arc::from(v)))
        }
        (DataType::BinaryView, family) if is_bytes(family) => {
            read!(array.as_binary_view(), |v: &[u8]| Datum::Bytea(Arc::from(v)))
        }
        (DataType::FixedSizeBinary(16), Family::Uuid) => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row| match array.value(row).try_into() {
                Ok(uuid) => Ok(Datum::Uuid(uuid)),
                Err(_) => Err(mismatch(ty.oid, "a short array")),
            })
        }
        (DataType::Date32, Family::Date) => {
            read!(array.as_primitive::<Date32Type>(), Datum::Date)
        }
        (DataType::Time64(TimeUnit::Microsecond), Family::Time) => {
            read!(array.as_primitive::<Time64MicrosecondType>(), Datum::Time)
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), Family::Timestamp) => {
            read!(array.as_primitive::<TimestampMicrosecondType>(), Datum::Timestamp)
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), Family::Timestamptz) => {
            read!(array.as_primitive::<TimestampMicrosecondType>(), Datum::Timestamptz)
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), Family::Interval) => {
            read!(array.as_primitive::<IntervalMonthDayNanoType>(), |v: IntervalMonthDayNano| {
                Datum::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1000 })
            })
        }
        (DataType::Utf8, _) => read!(array.as_string::<i32>(), |v: &str| Datum::from(v)),
        (DataType::LargeUtf8, _) => read!(array.as_string::<i64>(), |v: &str| Datum::from(v)),
        (DataType::Utf8View, _) => read!(array.as_string_view(), |v: &str| Datum::from(v)),
        (DataType::Binary, Family::Array(_)) => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row| match codec::decode_array(array.value(row)) {
                Some(value) => Ok(Datum::from(value)),
                None => Err(mismatch(ty.oid, "bytes that are no array")),
            })
        }
        (other, _) => return Err(mismatch(ty.oid, &other.to_string())),
    })
}

fn scaled(mantissa: BigInt, scale: i8) -> Datum {
    Datum::Numeric(Box::new(match u16::try_from(scale) {
        Ok(scale) => Numeric::Finite { mantissa, scale },
        Err(_) => {
            Numeric::Finite { mantissa: mantissa * BigInt::from(10).pow(u32::from(scale.unsigned_abs())), scale: 0 }
        }
    }))
}

fn sortable_numeric(bytes: &[u8]) -> Result<Datum> {
    Numeric::decode(bytes)
        .map(|numeric| Datum::Numeric(Box::new(numeric)))
        .ok_or_else(|| Error::internal("a stored numeric could not be decoded"))
}
