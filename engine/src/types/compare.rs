//! Order, equality and hash of values of one type, as PostgreSQL's default operator classes have them, and bytes that
//! sort the same way.
//!
//! Invariants:
//! 1. `compare(a, b) == Equal` exactly when their keys are equal, and then their hashes are equal.
//! 2. Keys of one type compare as bytes like the values; NULL sorts last and equals itself.
//! 3. Text follows the C collation: bytes. char(n) ignores trailing spaces; NaN is greatest and equals itself; -0 = 0.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::array::ArrayValue;
use super::json::{self, Json};
use super::{Datum, PgType, TypeOid, range, record};
use crate::functions::extension::citext;

/// Total order of two values of one type; NULL is greatest. Values of different families (a caller's mistake) compare
/// by family, so that the order stays total.
pub fn compare(a: &Datum, b: &Datum, ty: PgType) -> Ordering {
    match (a, b) {
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Greater,
        (_, Datum::Null) => Ordering::Less,
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b)) if unsigned(ty) => (*a as u64).cmp(&(*b as u64)),
        (Datum::Int8(a), Datum::Int8(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) => compare_floats(f64::from(*a), f64::from(*b)),
        (Datum::Float8(a), Datum::Float8(b)) => compare_floats(*a, *b),
        (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
        (Datum::Text(a), Datum::Text(b)) => match ty.oid {
            TypeOid::BPCHAR => unpadded(a).as_bytes().cmp(unpadded(b).as_bytes()),
            TypeOid::JSONB => compare_jsonb(a, b),
            TypeOid::CITEXT => citext::folded(a).cmp(&citext::folded(b)),
            _ => a.as_bytes().cmp(b.as_bytes()),
        },
        (Datum::Bytea(a), Datum::Bytea(b)) if ty.oid.is_row() => record::order(a, b),
        (Datum::Bytea(a), Datum::Bytea(b)) if ty.oid.is_range() || ty.oid.is_multirange() => {
            range::compare(a, b, ty.oid)
        }
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Time(a), Datum::Time(b)) => a.cmp(b),
        (Datum::Timestamp(a) | Datum::Timestamptz(a), Datum::Timestamp(b) | Datum::Timestamptz(b)) => a.cmp(b),
        (Datum::Interval(a), Datum::Interval(b)) => a.comparison_micros().cmp(&b.comparison_micros()),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Array(a), Datum::Array(b)) => {
            let element = PgType::from(ty.oid.element().unwrap_or(TypeOid::TEXT));
            // Of two oidvectors the shorter is less.
            if ty.oid == TypeOid::OIDVECTOR && a.len() != b.len() {
                return a.len().cmp(&b.len());
            }
            let first_difference = a.iter().zip(b.iter()).map(|(a, b)| compare(a, b, element)).find(|o| o.is_ne());
            first_difference.unwrap_or_else(|| {
                let lengths = |v: &ArrayValue| v.dims().iter().map(|d| d.length).collect::<Vec<_>>();
                let lowers = |v: &ArrayValue| v.dims().iter().map(|d| d.lower).collect::<Vec<_>>();
                let count = a.len().cmp(&b.len()).then_with(|| a.dims().len().cmp(&b.dims().len()));
                count.then_with(|| lengths(a).cmp(&lengths(b))).then_with(|| lowers(a).cmp(&lowers(b)))
            })
        }
        _ => family(a).cmp(&family(b)),
    }
}

fn unsigned(ty: PgType) -> bool {
    matches!(ty.oid, TypeOid::PG_LSN | TypeOid::XID8)
}

/// PostgreSQL's order of floats: NaN greatest, both zeros equal.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// char(n) without the spaces that don't count.
pub fn unpadded(text: &str) -> &str {
    text.trim_end_matches(' ')
}

fn family(value: &Datum) -> u8 {
    match value {
        Datum::Null => 255,
        Datum::Bool(_) => 0,
        Datum::Int2(_) => 1,
        Datum::Int4(_) => 2,
        Datum::Int8(_) => 3,
        Datum::Float4(_) => 4,
        Datum::Float8(_) => 5,
        Datum::Oid(_) => 6,
        Datum::Numeric(_) => 7,
        Datum::Text(_) => 8,
        Datum::Bytea(_) => 9,
        Datum::Date(_) => 10,
        Datum::Time(_) => 11,
        Datum::Timestamp(_) | Datum::Timestamptz(_) => 12,
        Datum::Interval(_) => 13,
        Datum::Uuid(_) => 14,
        Datum::Array(_) => 15,
    }
}

/// jsonb's order: Object > Array > Boolean > Number > String > Null, then sizes, then contents.
fn compare_jsonb(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (json::parse(a), json::parse(b)) {
        (Ok(a), Ok(b)) => compare_json_values(&a, &b),
        _ => a.cmp(b),
    }
}

fn compare_json_values(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (Json::Number(a), Json::Number(b)) => a.cmp(b),
        (Json::String(a), Json::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Json::Array(a), Json::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter().zip(b).map(|(a, b)| compare_json_values(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter()
                .zip(b)
                .map(|((k, v), (l, w))| {
                    k.len().cmp(&l.len()).then_with(|| k.cmp(l)).then_with(|| compare_json_values(v, w))
                })
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        // PostgreSQL 15 sorts an empty array below everything, a quirk of its on-disk form.
        (Json::Array(x), _) if x.is_empty() => Ordering::Less,
        (_, Json::Array(x)) if x.is_empty() => Ordering::Greater,
        _ => json_rank(a).cmp(&json_rank(b)),
    }
}

fn json_rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    }
}

/// Hashes a value so that equal values (by [`compare`]) hash alike.
pub fn hash<H: Hasher>(value: &Datum, ty: PgType, state: &mut H) {
    match value {
        Datum::Int2(v) => i64::from(*v).hash(state),
        Datum::Int4(v) => i64::from(*v).hash(state),
        Datum::Int8(v) => v.hash(state),
        Datum::Text(v) if ty.oid == TypeOid::TEXT || ty.oid == TypeOid::VARCHAR => v.as_bytes().hash(state),
        Datum::Uuid(v) => v.hash(state),
        other => {
            let mut key = Vec::with_capacity(24);
            encode_key(other, ty, &mut key);
            key.hash(state);
        }
    }
}

const NOT_NULL: u8 = 1;
const NULL: u8 = 2;

/// Appends bytes that sort like the values of this type, NULLs last. Keys of several columns may be appended in turn.
pub fn encode_key(value: &Datum, ty: PgType, out: &mut Vec<u8>) {
    if value.is_null() {
        out.push(NULL);
        return;
    }
    out.push(NOT_NULL);
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&(*v as u16 ^ 1 << 15).to_be_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&(*v as u32 ^ 1 << 31).to_be_bytes()),
        Datum::Int8(v) if unsigned(ty) => out.extend_from_slice(&(*v as u64).to_be_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::Timestamptz(v) => {
            out.extend_from_slice(&(*v as u64 ^ 1 << 63).to_be_bytes());
        }
        Datum::Float4(v) => push_float(f64::from(*v), out),
        Datum::Float8(v) => push_float(*v, out),
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        // Prefix-free without the display scale: see numeric's codec.
        Datum::Numeric(v) => out.extend_from_slice(&v.key()),
        Datum::Text(v) => match ty.oid {
            TypeOid::BPCHAR => push_bytes(unpadded(v).as_bytes(), out),
            TypeOid::CITEXT => push_bytes(citext::folded(v).as_bytes(), out),
            TypeOid::JSONB => match json::parse(v) {
                Ok(json) => push_json(&json, out),
                Err(_) => push_bytes(v.as_bytes(), out),
            },
            _ => push_bytes(v.as_bytes(), out),
        },
        Datum::Bytea(v) if ty.oid.is_row() => record::push_key(v, out),
        Datum::Bytea(v) if ty.oid.is_range() || ty.oid.is_multirange() => range::push_key(v, ty.oid, out),
        Datum::Bytea(v) => push_bytes(v, out),
        Datum::Interval(v) => out.extend_from_slice(&(v.comparison_micros() as u128 ^ 1 << 127).to_be_bytes()),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Array(items) => {
            let element = PgType::from(ty.oid.element().unwrap_or(TypeOid::TEXT));
            if ty.oid == TypeOid::OIDVECTOR {
                out.extend_from_slice(&(items.len() as u32).to_be_bytes());
            }
            for item in items.iter() {
                encode_key(item, element, out);
            }
            out.push(0);
            out.extend(shape_key(items));
        }
    }
}

/// Bytes that order arrays of equal elements by their shapes.
pub(crate) fn shape_key(array: &ArrayValue) -> impl Iterator<Item = u8> {
    let dims = array.dims();
    let lengths = dims.iter().flat_map(|d| (d.length as u32).to_be_bytes());
    let lowers = dims.iter().flat_map(|d| (d.lower as u32 ^ 1 << 31).to_be_bytes());
    std::iter::once(dims.len() as u8).chain(lengths).chain(lowers)
}

fn push_float(value: f64, out: &mut Vec<u8>) {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    let bits = value.to_bits();
    let ordered = if value.is_nan() {
        u64::MAX
    } else if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

/// Bytes with 0 escaped as 0 255 and ended by 0 0: prefix-free, and sorts like the bytes.
fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(zero) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&[0, 255]);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 0]);
}

fn push_json(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Array(items) if items.is_empty() => out.push(0),
        _ => out.push(json_rank(value) + 1),
    }
    match value {
        Json::Null => {}
        Json::Bool(v) => out.push(u8::from(*v)),
        Json::Number(v) => out.extend_from_slice(&v.key()),
        Json::String(v) => push_bytes(v.as_bytes(), out),
        Json::Array(items) if items.is_empty() => {}
        Json::Array(items) => {
            out.extend_from_slice(&(items.len() as u32).to_be_bytes());
            items.iter().for_each(|item| push_json(item, out));
        }
        Json::Object(members) => {
            out.extend_from_slice(&(members.len() as u32).to_be_bytes());
            for (key, value) in members {
                out.extend_from_slice(&(key.len() as u32).to_be_bytes());
                out.extend_from_slice(key.as_bytes());
                push_json(value, out);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::text::{FormatSettings, parse};

    /// Each list is in PostgreSQL's order, all different.
    const ORDERED: &[(TypeOid, &[&str])] = &[
        (TypeOid::BOOL, &["f", "t"]),
        (TypeOid::INT2, &["-32768", "-1", "0", "1", "32767"]),
        (TypeOid::INT4, &["-2147483648", "-1", "0", "5"]),
        (TypeOid::INT8, &["-9223372036854775808", "-1", "0", "9223372036854775807"]),
        (TypeOid::FLOAT8, &["-Infinity", "-2.5", "-1e-300", "0", "1e-300", "2.5", "Infinity", "NaN"]),
        (TypeOid::FLOAT4, &["-Infinity", "-2.5", "0", "2.5", "Infinity", "NaN"]),
        (TypeOid::NUMERIC, &["-Infinity", "-10", "-1.5", "0", "0.01", "1", "1e30", "Infinity", "NaN"]),
        (TypeOid::TEXT, &["", "A", "B", "a", "a b", "aa", "é"]),
        (TypeOid::BPCHAR, &["", "a", "a b", "ab"]),
        (TypeOid::BYTEA, &["\\x", "\\x00", "\\x0000", "\\x0001", "\\x01", "\\xff"]),
        (TypeOid::DATE, &["-infinity", "4713-01-01 BC", "1999-12-31", "2000-01-01", "infinity"]),
        (TypeOid::TIMESTAMP, &["-infinity", "1969-12-31 23:59:59", "1970-01-01", "infinity"]),
        (
            TypeOid::INTERVAL,
            &["-1 year", "-1 day", "0", "23:59:59", "1 day 00:00:01", "29 days", "1 mon", "1 mon 1 day"],
        ),
        (TypeOid::UUID, &["00000000-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-000000000001"]),
        (
            TypeOid::INT4_ARRAY,
            &["{}", "[0:0]={1}", "{1}", "{{1}}", "{1,1}", "{{1,1}}", "{{1},{1}}", "{1,2}", "{1,NULL}", "{2}", "{NULL}"],
        ),
        (
            TypeOid::JSONB,
            &[
                "[]",
                "null",
                "\"a\"",
                "\"b\"",
                "1",
                "1.5",
                "false",
                "true",
                "[1]",
                "[2]",
                "[1,2]",
                "{}",
                "{\"a\":1}",
                "{\"b\":1}",
            ],
        ),
        (TypeOid::PG_LSN, &["0/0", "0/FF", "1/0", "FFFFFFFF/0"]),
    ];

    #[test]
    fn order_keys_and_hash_agree() {
        let format = FormatSettings::default();
        for (oid, texts) in ORDERED {
            let ty = PgType::from(*oid);
            let mut values: Vec<Datum> = texts.iter().map(|t| parse(t, ty, &format).unwrap()).collect();
            values.push(Datum::Null);
            let keys: Vec<Vec<u8>> = values
                .iter()
                .map(|v| {
                    let mut key = Vec::new();
                    encode_key(v, ty, &mut key);
                    key
                })
                .collect();
            for i in 0..values.len() {
                for j in 0..values.len() {
                    assert_eq!(compare(&values[i], &values[j], ty), i.cmp(&j), "{oid:?} {i} {j}");
                    assert_eq!(keys[i].cmp(&keys[j]), i.cmp(&j), "{oid:?} keys {i} {j}");
                }
            }
        }
    }

    #[test]
    fn equal_values_have_equal_keys() {
        let format = FormatSettings::default();
        let equal = [
            (TypeOid::NUMERIC, "1.0", "1.000"),
            (TypeOid::FLOAT8, "0", "-0"),
            (TypeOid::BPCHAR, "a", "a   "),
            (TypeOid::INTERVAL, "1 mon", "30 days"),
            (TypeOid::JSONB, "{\"a\":1.0}", "{\"a\":1.00}"),
        ];
        for (oid, a, b) in equal {
            let ty = PgType::from(oid);
            let (a, b) = (parse(a, ty, &format).unwrap(), parse(b, ty, &format).unwrap());
            let key = |v: &Datum| {
                let mut key = Vec::new();
                encode_key(v, ty, &mut key);
                key
            };
            assert_eq!(compare(&a, &b, ty), Ordering::Equal, "{oid:?}");
            assert_eq!(key(&a), key(&b), "{oid:?}");
        }
    }
}
