//! One value borrowed from wherever it lies: a datum, a hot column, an Arrow array. Reading, comparing by key and
//! appending are written once, on [`Cell`].

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};

use crate::functions::extension::citext;
use crate::types::array::ArrayValue;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval, PgType, TypeOid, codec, compare, range, record};

/// A borrowed value in its physical family.
#[derive(Debug, Clone)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    U32(u32),
    Decimal(i128, i8),
    Numeric(&'a Numeric),
    Str(&'a str),
    Bytes(&'a [u8]),
    Interval(Interval),
    Uuid([u8; 16]),
    Array(Arc<ArrayValue>),
}

impl<'a> From<&'a Datum> for Cell<'a> {
    fn from(datum: &'a Datum) -> Self {
        match datum {
            Datum::Null => Cell::Null,
            Datum::Bool(v) => Cell::Bool(*v),
            Datum::Int2(v) => Cell::I16(*v),
            Datum::Int4(v) | Datum::Date(v) => Cell::I32(*v),
            Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v) => Cell::I64(*v),
            Datum::Float4(v) => Cell::F32(*v),
            Datum::Float8(v) => Cell::F64(*v),
            Datum::Oid(v) => Cell::U32(*v),
            Datum::Numeric(v) => Cell::Numeric(v),
            Datum::Text(v) => Cell::Str(v),
            Datum::Bytea(v) => Cell::Bytes(v),
            Datum::Interval(v) => Cell::Interval(*v),
            Datum::Uuid(v) => Cell::Uuid(*v),
            Datum::Array(v) => Cell::Array(v.clone()),
        }
    }
}

impl Cell<'_> {
    /// The value as a datum of type `ty`.
    pub fn to_datum(&self, ty: PgType) -> Datum {
        match self {
            Cell::Null => Datum::Null,
            Cell::Bool(v) => Datum::Bool(*v),
            Cell::I16(v) => Datum::Int2(*v),
            Cell::I32(v) => match ty.oid {
                TypeOid::DATE => Datum::Date(*v),
                _ => Datum::Int4(*v),
            },
            Cell::I64(v) => match ty.oid {
                TypeOid::TIME => Datum::Time(*v),
                TypeOid::TIMESTAMP => Datum::Timestamp(*v),
                TypeOid::TIMESTAMPTZ => Datum::Timestamptz(*v),
                _ => Datum::Int8(*v),
            },
            Cell::F32(v) => Datum::Float4(*v),
            Cell::F64(v) => Datum::Float8(*v),
            Cell::U32(v) => Datum::Oid(*v),
            Cell::Decimal(v, scale) => Datum::Numeric(Box::new(Numeric::from_i128(*v, *scale))),
            Cell::Numeric(v) => Datum::Numeric(Box::new((*v).clone())),
            Cell::Str(v) => Datum::Text(Arc::from(*v)),
            Cell::Bytes(v) if ty.oid == TypeOid::NUMERIC => {
                Numeric::decode(v).map_or(Datum::Null, |n| Datum::Numeric(Box::new(n)))
            }
            Cell::Bytes(v) if ty.oid.element().is_some() => codec::decode_array(v).map_or(Datum::Null, Datum::from),
            Cell::Bytes(v) => Datum::Bytea(Arc::from(*v)),
            Cell::Interval(v) => Datum::Interval(*v),
            Cell::Uuid(v) => Datum::Uuid(*v),
            Cell::Array(v) => Datum::Array(v.clone()),
        }
    }

    /// Appends bytes that sort like values of type `ty` and are equal for equal values; no value's bytes are a
    /// prefix of another's. NULL is the caller's.
    pub fn encode(&self, ty: TypeOid, out: &mut impl Extend<u8>) {
        match self {
            Cell::Null => {}
            Cell::Bool(v) => out.extend([u8::from(*v)]),
            Cell::I16(v) => out.extend(((*v as u16) ^ 0x8000).to_be_bytes()),
            Cell::I32(v) => out.extend(((*v as u32) ^ (1 << 31)).to_be_bytes()),
            Cell::I64(v) if matches!(ty, TypeOid::PG_LSN | TypeOid::XID8) => out.extend(v.to_be_bytes()),
            Cell::I64(v) => out.extend(((*v as u64) ^ (1 << 63)).to_be_bytes()),
            Cell::F32(v) => Cell::F64(f64::from(*v)).encode(ty, out),
            Cell::F64(v) => out.extend(float_key(*v).to_be_bytes()),
            Cell::U32(v) => out.extend(v.to_be_bytes()),
            Cell::Decimal(v, scale) => escape(&Numeric::from_i128(*v, *scale).key(), out),
            Cell::Numeric(v) => escape(&v.key(), out),
            Cell::Str(v) if ty == TypeOid::CITEXT => escape(citext::folded(v).as_bytes(), out),
            Cell::Str(v) if ty == TypeOid::JSONB => {
                let mut key = Vec::new();
                compare::encode_key(&Datum::Text(Arc::from(*v)), ty.into(), &mut key);
                escape(&key, out);
            }
            Cell::Str(v) => {
                let text = if ty == TypeOid::BPCHAR { v.trim_end_matches(' ') } else { v };
                escape(text.as_bytes(), out);
            }
            Cell::Bytes(v) if ty == TypeOid::NUMERIC => escape(&v[..v.len().saturating_sub(2)], out),
            Cell::Bytes(v) if ty.element().is_some() => {
                Cell::Array(Arc::new(codec::decode_array(v).unwrap_or_default())).encode(ty, out);
            }
            Cell::Bytes(v) if ty.is_row() => {
                let mut key = Vec::new();
                record::push_key(v, &mut key);
                escape(&key, out);
            }
            Cell::Bytes(v) if ty.is_range() || ty.is_multirange() => {
                let mut key = Vec::new();
                range::push_key(v, ty, &mut key);
                escape(&key, out);
            }
            Cell::Bytes(v) => escape(v, out),
            Cell::Interval(v) => {
                let days = i128::from(v.months) * 30 + i128::from(v.days);
                let micros = days * 86_400_000_000 + i128::from(v.micros);
                out.extend(((micros as u128) ^ (1 << 127)).to_be_bytes());
            }
            Cell::Uuid(v) => out.extend(*v),
            Cell::Array(values) => {
                let element = ty.element().unwrap_or(TypeOid::TEXT);
                for value in values.iter() {
                    match Cell::from(value) {
                        Cell::Null => out.extend([2]),
                        cell => {
                            out.extend([1]);
                            cell.encode(element, out);
                        }
                    }
                }
                out.extend([0]);
                out.extend(compare::shape_key(values));
            }
        }
    }
}

/// The value of a row (by attnum - 1) in a column.
pub(crate) fn cell_of(row: &[Datum], column: usize) -> Cell<'_> {
    row.get(column).map_or(Cell::Null, Cell::from)
}

/// Bits that sort like PostgreSQL's float order: NaN last, both zeroes equal.
fn float_key(v: f64) -> u64 {
    let v = if v == 0.0 {
        0.0
    } else if v.is_nan() {
        f64::NAN
    } else {
        v
    };
    let bits = v.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Bytes, with 00 as 00 FF, and 00 00 at the end: order-preserving and prefix-free.
fn escape(bytes: &[u8], out: &mut impl Extend<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(0, rest) {
        let (head, tail) = rest.split_at(at);
        out.extend(head.iter().copied());
        out.extend([0, 0xff]);
        rest = tail.get(1..).unwrap_or_default();
    }
    out.extend(rest.iter().copied());
    out.extend([0, 0]);
}

/// The value at `i` of an array.
pub(crate) fn cell_at(array: &dyn Array, i: usize) -> Cell<'_> {
    if array.is_null(i) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(i)),
        DataType::Int16 => Cell::I16(array.as_primitive::<Int16Type>().value(i)),
        DataType::Int32 => Cell::I32(array.as_primitive::<Int32Type>().value(i)),
        DataType::Int64 => Cell::I64(array.as_primitive::<Int64Type>().value(i)),
        DataType::Float32 => Cell::F32(array.as_primitive::<Float32Type>().value(i)),
        DataType::Float64 => Cell::F64(array.as_primitive::<Float64Type>().value(i)),
        DataType::UInt32 => Cell::U32(array.as_primitive::<UInt32Type>().value(i)),
        DataType::Decimal128(_, scale) => Cell::Decimal(array.as_primitive::<Decimal128Type>().value(i), *scale),
        DataType::Utf8 => Cell::Str(array.as_string::<i32>().value(i)),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(i)),
        DataType::Date32 => Cell::I32(array.as_primitive::<Date32Type>().value(i)),
        DataType::Time64(TimeUnit::Microsecond) => Cell::I64(array.as_primitive::<Time64MicrosecondType>().value(i)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Cell::I64(array.as_primitive::<TimestampMicrosecondType>().value(i))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let v = array.as_primitive::<IntervalMonthDayNanoType>().value(i);
            Cell::Interval(Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1000 })
        }
        DataType::FixedSizeBinary(16) => {
            let mut uuid = [0; 16];
            uuid.copy_from_slice(array.as_fixed_size_binary().value(i));
            Cell::Uuid(uuid)
        }
        other => unreachable!("no column has the Arrow type {other}"),
    }
}
