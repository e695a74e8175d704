//! Values as self-describing bytes: in the records of the log, and arrays inside Arrow's memory.
//!
//! Invariant: [`read`] gives what [`put`] wrote, bit by bit; other bytes give `None`, never a panic.

use std::sync::Arc;

use super::array::{ArrayValue, Dimension};
use super::numeric::Numeric;
use super::{Datum, Interval};

/// Arrays as elements of arrays: row values may hold them.
const DEPTH_MAX: usize = 6;

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a value.
pub fn put(out: &mut Vec<u8>, datum: &Datum) {
    let mut fixed = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(bytes);
    };
    match datum {
        Datum::Null => out.push(0),
        Datum::Bool(v) => fixed(1, &[u8::from(*v)]),
        Datum::Int2(v) => fixed(2, &v.to_le_bytes()),
        Datum::Int4(v) => fixed(3, &v.to_le_bytes()),
        Datum::Int8(v) => fixed(4, &v.to_le_bytes()),
        Datum::Float4(v) => fixed(5, &v.to_le_bytes()),
        Datum::Float8(v) => fixed(6, &v.to_le_bytes()),
        Datum::Oid(v) => fixed(7, &v.to_le_bytes()),
        Datum::Date(v) => fixed(11, &v.to_le_bytes()),
        Datum::Time(v) => fixed(12, &v.to_le_bytes()),
        Datum::Timestamp(v) => fixed(13, &v.to_le_bytes()),
        Datum::Timestamptz(v) => fixed(14, &v.to_le_bytes()),
        Datum::Uuid(v) => fixed(16, v),
        Datum::Interval(v) => {
            fixed(15, &v.months.to_le_bytes());
            out.extend_from_slice(&v.days.to_le_bytes());
            out.extend_from_slice(&v.micros.to_le_bytes());
        }
        Datum::Numeric(v) => {
            out.push(8);
            put_bytes(out, &v.encode());
        }
        Datum::Text(v) => {
            out.push(9);
            put_bytes(out, v.as_bytes());
        }
        Datum::Bytea(v) => {
            out.push(10);
            put_bytes(out, v);
        }
        Datum::Array(values) => {
            out.push(17);
            put_array(out, values);
        }
    }
}

fn put_array(out: &mut Vec<u8>, values: &ArrayValue) {
    out.push(values.dims().len() as u8);
    for dimension in values.dims() {
        out.extend_from_slice(&dimension.lower.to_le_bytes());
        put_varint(out, dimension.length as u64);
    }
    values.iter().for_each(|v| put(out, v));
}

/// Takes a value from the front.
pub fn read(bytes: &mut &[u8]) -> Option<Datum> {
    read_within(bytes, DEPTH_MAX)
}

/// An array alone.
pub fn encode_array(values: &ArrayValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 5 + 8);
    put_array(&mut out, values);
    out
}

/// What [`encode_array`] wrote.
pub fn decode_array(mut bytes: &[u8]) -> Option<ArrayValue> {
    let array = read_array(&mut bytes, DEPTH_MAX)?;
    bytes.is_empty().then_some(array)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(count)?;
    *bytes = tail;
    Some(head)
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    take(bytes, N)?.try_into().ok()
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = fixed::<1>(bytes)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return usize::try_from(value).ok();
        }
    }
    None
}

fn lengthy<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = varint(bytes)?;
    take(bytes, count)
}

fn read_within(bytes: &mut &[u8], depth: usize) -> Option<Datum> {
    let [tag] = fixed::<1>(bytes)?;
    Some(match tag {
        0 => Datum::Null,
        1 => Datum::Bool(fixed::<1>(bytes)? != [0]),
        2 => Datum::Int2(i16::from_le_bytes(fixed(bytes)?)),
        3 => Datum::Int4(i32::from_le_bytes(fixed(bytes)?)),
        4 => Datum::Int8(i64::from_le_bytes(fixed(bytes)?)),
        5 => Datum::Float4(f32::from_le_bytes(fixed(bytes)?)),
        6 => Datum::Float8(f64::from_le_bytes(fixed(bytes)?)),
        7 => Datum::Oid(u32::from_le_bytes(fixed(bytes)?)),
        8 => Datum::Numeric(Box::new(Numeric::decode(lengthy(bytes)?)?)),
        9 => Datum::Text(Arc::from(std::str::from_utf8(lengthy(bytes)?).ok()?)),
        10 => Datum::Bytea(Arc::from(lengthy(bytes)?)),
        11 => Datum::Date(i32::from_le_bytes(fixed(bytes)?)),
        12 => Datum::Time(i64::from_le_bytes(fixed(bytes)?)),
        13 => Datum::Timestamp(i64::from_le_bytes(fixed(bytes)?)),
        14 => Datum::Timestamptz(i64::from_le_bytes(fixed(bytes)?)),
        15 => Datum::Interval(Interval {
            months: i32::from_le_bytes(fixed(bytes)?),
            days: i32::from_le_bytes(fixed(bytes)?),
            micros: i64::from_le_bytes(fixed(bytes)?),
        }),
        16 => Datum::Uuid(fixed(bytes)?),
        17 => Datum::Array(Arc::new(read_array(bytes, depth)?)),
        _ => return None,
    })
}

fn read_array(bytes: &mut &[u8], depth: usize) -> Option<ArrayValue> {
    let depth = depth.checked_sub(1)?;
    let [count] = fixed::<1>(bytes)?;
    let mut dims = Vec::with_capacity(usize::from(count));
    let mut members = usize::from(count > 0);
    for _ in 0..count {
        let lower = i32::from_le_bytes(fixed(bytes)?);
        let length = i32::try_from(varint(bytes)?).ok()?;
        members = members.checked_mul(length as usize)?;
        dims.push(Dimension { lower, length });
    }
    // A member takes at least a byte: the input bounds what is allocated.
    if members > bytes.len() {
        return None;
    }
    let items = (0..members).map(|_| read_within(bytes, depth)).collect::<Option<Vec<_>>>()?;
    ArrayValue::shaped(dims, items)
}
