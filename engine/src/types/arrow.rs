//! Values to and from Arrow memory. A [`ColumnReader`] and a [`ColumnBuilder`] are chosen once for a column.
//!
//! Invariants:
//! 1. A builder's array has exactly the type of [`PgType::arrow`].
//! 2. A reader takes any array that a value of its type may lie in: a numeric may be Decimal128 of any scale, encoded
//!    bytes, and an expression's integers; strings may be Utf8, LargeUtf8 or Utf8View.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use datafusion::common::ScalarValue;

use super::numeric::Numeric;
use super::{Datum, Interval, PgType, TypeOid, codec};
use crate::error::{Error, Result, SqlState};

/// One value of an array. For loops take a [`ColumnReader`].
pub fn datum_at(array: &dyn Array, row: usize, ty: PgType) -> Result<Datum> {
    Ok(ColumnReader::new(array, ty)?.get(row))
}

type Reader<'a> = Box<dyn Fn(usize) -> Datum + 'a>;

/// Reads the values of one column.
pub struct ColumnReader<'a> {
    nulls: Option<&'a NullBuffer>,
    all_null: bool,
    read: Reader<'a>,
}

fn mismatch(array: &dyn Array, ty: PgType) -> Error {
    Error::internal(format!("column of type {} lies in an array of {}", ty.oid.0, array.data_type()))
}

impl<'a> ColumnReader<'a> {
    pub fn new(array: &'a dyn Array, ty: PgType) -> Result<ColumnReader<'a>> {
        let all_null = array.data_type() == &DataType::Null;
        let read = if all_null { Box::new(|_| Datum::Null) as Reader<'a> } else { reader(array, ty)? };
        Ok(ColumnReader { nulls: array.nulls(), all_null, read })
    }

    /// The value in a row of the array.
    pub fn get(&self, row: usize) -> Datum {
        if self.all_null || self.nulls.is_some_and(|n| n.is_null(row)) {
            return Datum::Null;
        }
        (self.read)(row)
    }
}

fn reader<'a>(array: &'a dyn Array, ty: PgType) -> Result<Reader<'a>> {
    use TypeOid as T;
    macro_rules! primitive {
        ($arrow:ty, $datum:expr) => {{
            let values = array.as_primitive_opt::<$arrow>().ok_or_else(|| mismatch(array, ty))?;
            let make = $datum;
            Box::new(move |row: usize| make(values.value(row)))
        }};
    }
    if ty.oid.element().is_some() {
        return array_reader(array, ty);
    }
    Ok(match (array.data_type(), ty.oid) {
        (DataType::Boolean, _) => {
            let values = array.as_boolean_opt().ok_or_else(|| mismatch(array, ty))?;
            Box::new(move |row| Datum::Bool(values.value(row)))
        }
        (DataType::Int16, T::NUMERIC) => {
            primitive!(Int16Type, |v: i16| Datum::from(Numeric::from(v)))
        }
        (DataType::Int32, T::NUMERIC) => {
            primitive!(Int32Type, |v: i32| Datum::from(Numeric::from(v)))
        }
        (DataType::Int64, T::NUMERIC) => {
            primitive!(Int64Type, |v: i64| Datum::from(Numeric::from(v)))
        }
        (DataType::Int16, _) => primitive!(Int16Type, Datum::Int2),
        (DataType::Int32, T::INT8) => primitive!(Int32Type, |v: i32| Datum::Int8(i64::from(v))),
        (DataType::Int32, _) => primitive!(Int32Type, Datum::Int4),
        (DataType::Int64, _) => primitive!(Int64Type, Datum::Int8),
        (DataType::UInt64, T::INT8) => primitive!(UInt64Type, |v: u64| Datum::Int8(v as i64)),
        (DataType::UInt32, _) => primitive!(UInt32Type, Datum::Oid),
        (DataType::Float32, _) => primitive!(Float32Type, Datum::Float4),
        (DataType::Float64, _) => primitive!(Float64Type, Datum::Float8),
        (DataType::Decimal128(_, scale), _) => {
            let scale = *scale;
            primitive!(Decimal128Type, move |v: i128| Datum::from(Numeric::from_i128(v, scale)))
        }
        (DataType::Date32, _) => primitive!(Date32Type, Datum::Date),
        (DataType::Time64(TimeUnit::Microsecond), _) => {
            primitive!(Time64MicrosecondType, Datum::Time)
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), T::TIMESTAMPTZ) => {
            primitive!(TimestampMicrosecondType, Datum::Timestamptz)
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), _) => {
            primitive!(TimestampMicrosecondType, Datum::Timestamp)
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), _) => {
            primitive!(IntervalMonthDayNanoType, |v: IntervalMonthDayNano| { Datum::Interval(from_arrow_interval(v)) })
        }
        (DataType::Utf8, _) => {
            let values = array.as_string_opt::<i32>().ok_or_else(|| mismatch(array, ty))?;
            Box::new(move |row| Datum::from(values.value(row)))
        }
        (DataType::LargeUtf8, _) => {
            let values = array.as_string_opt::<i64>().ok_or_else(|| mismatch(array, ty))?;
            Box::new(move |row| Datum::from(values.value(row)))
        }
        (DataType::Utf8View, _) => {
            let values = array.as_string_view_opt().ok_or_else(|| mismatch(array, ty))?;
            Box::new(move |row| Datum::from(values.value(row)))
        }
        (DataType::Binary, oid) => {
            let values = array.as_binary_opt::<i32>().ok_or_else(|| mismatch(array, ty))?;
            if oid == T::NUMERIC {
                Box::new(move |row| Numeric::decode(values.value(row)).map_or(Datum::Null, Datum::from))
            } else {
                Box::new(move |row| Datum::Bytea(Arc::from(values.value(row))))
            }
        }
        (DataType::BinaryView, oid) => {
            let values = array.as_binary_view_opt().ok_or_else(|| mismatch(array, ty))?;
            if oid == T::NUMERIC {
                Box::new(move |row| Numeric::decode(values.value(row)).map_or(Datum::Null, Datum::from))
            } else {
                Box::new(move |row| Datum::Bytea(Arc::from(values.value(row))))
            }
        }
        (DataType::FixedSizeBinary(16), _) => {
            let values = array.as_fixed_size_binary_opt().ok_or_else(|| mismatch(array, ty))?;
            Box::new(move |row| Datum::Uuid(values.value(row).try_into().unwrap_or_default()))
        }
        _ => return Err(mismatch(array, ty)),
    })
}

/// Arrays are encoded values whatever their elements are.
fn array_reader<'a>(array: &'a dyn Array, ty: PgType) -> Result<Reader<'a>> {
    let values = array.as_binary_opt::<i32>().ok_or_else(|| mismatch(array, ty))?;
    Ok(Box::new(move |row| codec::decode_array(values.value(row)).map_or(Datum::Null, Datum::from)))
}

fn from_arrow_interval(v: IntervalMonthDayNano) -> Interval {
    Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1000 }
}

/// Arrow holds nanoseconds: about 292 years of time part; more answers 22008.
fn to_arrow_interval(v: &Interval) -> Result<IntervalMonthDayNano> {
    let nanos = v.micros.checked_mul(1000).ok_or_else(super::interval::out_of_range)?;
    Ok(IntervalMonthDayNano::new(v.months, v.days, nanos))
}

/// Builds the array of one column.
pub struct ColumnBuilder {
    ty: PgType,
    inner: Inner,
}

enum Inner {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(UInt32Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder, i8),
    Numeric(BinaryBuilder, Vec<u8>),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
}

/// Arrow's offsets are 32 bits wide: a batch whose values are longer together is too much (53200).
fn bounded(length: usize, added: usize) -> Result<()> {
    if length.saturating_add(added) > i32::MAX as usize {
        return Err(Error::new(SqlState::OutOfMemory, "the values of a column are too long for one batch"));
    }
    Ok(())
}

impl ColumnBuilder {
    pub fn new(ty: PgType, capacity: usize) -> Result<ColumnBuilder> {
        if matches!(ty.oid, TypeOid::INT2VECTOR_ARRAY | TypeOid::OIDVECTOR_ARRAY) {
            return Err(Error::unsupported("an array of int2vector or oidvector"));
        }
        let inner = match ty.arrow() {
            DataType::Boolean => Inner::Bool(BooleanBuilder::with_capacity(capacity)),
            DataType::Int16 => Inner::Int2(Int16Builder::with_capacity(capacity)),
            DataType::Int32 => Inner::Int4(Int32Builder::with_capacity(capacity)),
            DataType::Int64 => Inner::Int8(Int64Builder::with_capacity(capacity)),
            DataType::UInt32 => Inner::Oid(UInt32Builder::with_capacity(capacity)),
            DataType::Float32 => Inner::Float4(Float32Builder::with_capacity(capacity)),
            DataType::Float64 => Inner::Float8(Float64Builder::with_capacity(capacity)),
            decimal @ DataType::Decimal128(_, scale) => {
                Inner::Decimal(Decimal128Builder::with_capacity(capacity).with_data_type(decimal), scale)
            }
            DataType::Binary if ty.oid == TypeOid::NUMERIC => {
                Inner::Numeric(BinaryBuilder::with_capacity(capacity, capacity * 12), Vec::new())
            }
            DataType::Binary => Inner::Bytea(BinaryBuilder::with_capacity(capacity, capacity * 16)),
            DataType::Utf8 => Inner::Text(StringBuilder::with_capacity(capacity, capacity * 16)),
            DataType::Date32 => Inner::Date(Date32Builder::with_capacity(capacity)),
            DataType::Time64(_) => Inner::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            DataType::Timestamp(_, zone) => {
                Inner::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone_opt(zone))
            }
            DataType::Interval(_) => Inner::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity)),
            DataType::FixedSizeBinary(_) => Inner::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, 16)),
            other => return Err(Error::internal(format!("no builder for {other}"))),
        };
        Ok(ColumnBuilder { ty, inner })
    }

    /// Appends a value of the column's type (or NULL). A numeric that its Decimal128 cannot hold answers 22003.
    pub fn append(&mut self, value: &Datum) -> Result<()> {
        match (&mut self.inner, value) {
            (Inner::Bool(b), Datum::Bool(v)) => b.append_value(*v),
            (Inner::Bool(b), Datum::Null) => b.append_null(),
            (Inner::Int2(b), Datum::Int2(v)) => b.append_value(*v),
            (Inner::Int2(b), Datum::Null) => b.append_null(),
            (Inner::Int4(b), Datum::Int4(v)) => b.append_value(*v),
            (Inner::Int4(b), Datum::Null) => b.append_null(),
            (Inner::Int8(b), Datum::Int8(v)) => b.append_value(*v),
            (Inner::Int8(b), Datum::Null) => b.append_null(),
            (Inner::Oid(b), Datum::Oid(v)) => b.append_value(*v),
            (Inner::Oid(b), Datum::Null) => b.append_null(),
            (Inner::Float4(b), Datum::Float4(v)) => b.append_value(*v),
            (Inner::Float4(b), Datum::Null) => b.append_null(),
            (Inner::Float8(b), Datum::Float8(v)) => b.append_value(*v),
            (Inner::Float8(b), Datum::Null) => b.append_null(),
            (Inner::Decimal(b, scale), Datum::Numeric(v)) => b.append_value(
                v.to_i128(*scale)
                    .ok_or_else(|| Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow"))?,
            ),
            (Inner::Decimal(b, _), Datum::Null) => b.append_null(),
            (Inner::Numeric(b, buffer), Datum::Numeric(v)) => {
                buffer.clear();
                v.encode_into(buffer);
                bounded(b.values_slice().len(), buffer.len())?;
                b.append_value(&buffer);
            }
            (Inner::Numeric(b, _), Datum::Null) => b.append_null(),
            (Inner::Text(b), Datum::Text(v)) => {
                bounded(b.values_slice().len(), v.len())?;
                b.append_value(v);
            }
            (Inner::Text(b), Datum::Null) => b.append_null(),
            (Inner::Bytea(b), Datum::Bytea(v)) => {
                bounded(b.values_slice().len(), v.len())?;
                b.append_value(v);
            }
            (Inner::Bytea(b), Datum::Null) => b.append_null(),
            (Inner::Date(b), Datum::Date(v)) => b.append_value(*v),
            (Inner::Date(b), Datum::Null) => b.append_null(),
            (Inner::Time(b), Datum::Time(v)) => b.append_value(*v),
            (Inner::Time(b), Datum::Null) => b.append_null(),
            (Inner::Timestamp(b), Datum::Timestamp(v) | Datum::Timestamptz(v)) => b.append_value(*v),
            (Inner::Timestamp(b), Datum::Null) => b.append_null(),
            (Inner::Interval(b), Datum::Interval(v)) => b.append_value(to_arrow_interval(v)?),
            (Inner::Interval(b), Datum::Null) => b.append_null(),
            (Inner::Uuid(b), Datum::Uuid(v)) => b.append_value(v).map_err(|e| Error::internal(e.to_string()))?,
            (Inner::Uuid(b), Datum::Null) => b.append_null(),
            (Inner::Bytea(b), Datum::Array(v)) => {
                let encoded = codec::encode_array(v);
                bounded(b.values_slice().len(), encoded.len())?;
                b.append_value(encoded);
            }
            (_, other) => {
                return Err(Error::internal(format!("a value {other:?} in a column of type {}", self.ty.oid.0)));
            }
        }
        Ok(())
    }

    /// The array; the builder is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.inner {
            Inner::Bool(b) => Arc::new(b.finish()),
            Inner::Int2(b) => Arc::new(b.finish()),
            Inner::Int4(b) => Arc::new(b.finish()),
            Inner::Int8(b) => Arc::new(b.finish()),
            Inner::Oid(b) => Arc::new(b.finish()),
            Inner::Float4(b) => Arc::new(b.finish()),
            Inner::Float8(b) => Arc::new(b.finish()),
            Inner::Decimal(b, _) => Arc::new(b.finish()),
            Inner::Numeric(b, _) | Inner::Bytea(b) => Arc::new(b.finish()),
            Inner::Text(b) => Arc::new(b.finish()),
            Inner::Date(b) => Arc::new(b.finish()),
            Inner::Time(b) => Arc::new(b.finish()),
            Inner::Timestamp(b) => Arc::new(b.finish()),
            Inner::Interval(b) => Arc::new(b.finish()),
            Inner::Uuid(b) => Arc::new(b.finish()),
        }
    }
}

/// Values as an array of the type's own layout.
pub fn to_array<'a>(values: impl IntoIterator<Item = &'a Datum>, ty: PgType) -> Result<ArrayRef> {
    let values = values.into_iter();
    let mut builder = ColumnBuilder::new(ty, values.size_hint().0)?;
    for value in values {
        builder.append(value)?;
    }
    Ok(builder.finish())
}

/// A value as a literal of DataFusion, in the type's own layout.
pub fn to_scalar(value: &Datum, ty: PgType) -> Result<ScalarValue> {
    Ok(match (value, ty.arrow()) {
        (Datum::Bool(v), _) => ScalarValue::Boolean(Some(*v)),
        (Datum::Int2(v), _) => ScalarValue::Int16(Some(*v)),
        (Datum::Int4(v), _) => ScalarValue::Int32(Some(*v)),
        (Datum::Int8(v), _) => ScalarValue::Int64(Some(*v)),
        (Datum::Float4(v), _) => ScalarValue::Float32(Some(*v)),
        (Datum::Float8(v), _) => ScalarValue::Float64(Some(*v)),
        (Datum::Oid(v), _) => ScalarValue::UInt32(Some(*v)),
        (Datum::Text(v), _) => ScalarValue::Utf8(Some(v.to_string())),
        (Datum::Date(v), _) => ScalarValue::Date32(Some(*v)),
        (value, _) => {
            let array = to_array([value], ty)?;
            ScalarValue::try_from_array(&array, 0).map_err(|e| Error::internal(e.to_string()))?
        }
    })
}

/// A numeric literal in the narrowest layout: Decimal128 of its own digits, so that arithmetic with decimal columns
/// stays vectorised; encoded bytes beyond 38 digits.
pub fn numeric_literal(value: &Numeric) -> ScalarValue {
    let scale = value.scale();
    let small = i8::try_from(scale).ok().filter(|s| *s <= 38).and_then(|s| Some((value.to_i128(s)?, s)));
    match small {
        Some((mantissa, scale)) => {
            let digits = mantissa.unsigned_abs().checked_ilog10().map_or(1, |d| d + 1) as u8;
            ScalarValue::Decimal128(Some(mantissa), digits.max(scale as u8).max(1), scale)
        }
        None => ScalarValue::Binary(Some(value.encode())),
    }
}

/// A literal of DataFusion as a value.
pub fn from_scalar(value: &ScalarValue, ty: PgType) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    let array = value.to_array().map_err(|e| Error::internal(e.to_string()))?;
    datum_at(array.as_ref(), 0, ty)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::text::{FormatSettings, parse};

    #[test]
    fn every_family_round_trips() {
        let format = FormatSettings::default();
        let decimal = PgType::new(TypeOid::NUMERIC, PgType::numeric_typmod(10, 2));
        let cases: Vec<(PgType, &str)> = vec![
            (TypeOid::BOOL.into(), "t"),
            (TypeOid::INT2.into(), "-3"),
            (TypeOid::INT4.into(), "7"),
            (TypeOid::INT8.into(), "9223372036854775807"),
            (TypeOid::FLOAT4.into(), "1.5"),
            (TypeOid::FLOAT8.into(), "-2.25"),
            (TypeOid::NUMERIC.into(), "123456789012345678901234567890.1234567890"),
            (decimal, "-12345678.91"),
            (TypeOid::TEXT.into(), "héllo"),
            (TypeOid::BYTEA.into(), "\\x00ff"),
            (TypeOid::DATE.into(), "2020-02-29"),
            (TypeOid::TIME.into(), "12:34:56.789"),
            (TypeOid::TIMESTAMP.into(), "1969-12-31 23:59:59.999999"),
            (TypeOid::TIMESTAMPTZ.into(), "2020-01-01 00:00:00+02"),
            (TypeOid::INTERVAL.into(), "1 year -3 days 04:05:06.789"),
            (TypeOid::UUID.into(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (TypeOid::OID.into(), "4294967295"),
            (TypeOid::TEXT_ARRAY.into(), "{a,NULL,\"b c\"}"),
            (TypeOid::INT4_ARRAY.into(), "[0:1][-1:1]={{1,2,3},{4,NULL,6}}"),
            (TypeOid::INT2VECTOR.into(), "1 2 3"),
            (TypeOid::JSONB.into(), "{\"a\": 1}"),
        ];
        for (ty, text) in cases {
            let value = parse(text, ty, &format).unwrap();
            let array = to_array([&Datum::Null, &value, &Datum::Null, &value], ty).unwrap();
            assert_eq!(array.data_type(), &ty.arrow(), "{text}");
            let reader = ColumnReader::new(array.as_ref(), ty).unwrap();
            assert_eq!(reader.get(0), Datum::Null);
            assert_eq!(reader.get(3), value, "{text}");
            let scalar = to_scalar(&value, ty).unwrap();
            assert_eq!(scalar.data_type(), ty.arrow(), "{text}");
            assert_eq!(from_scalar(&scalar, ty).unwrap(), value, "{text}");
            assert!(to_scalar(&Datum::Null, ty).unwrap().is_null());
        }
    }
}
