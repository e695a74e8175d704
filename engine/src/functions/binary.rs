//! Functions on bytea beside those in [`super::strings`], and the binary forms of values (`int4send` and its kin).

use super::args::{self, row};
use super::registry::Implementations;
use super::{Call, RowFunction};
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;

fn trimmed(bytes: &[u8], set: &[u8], left: bool, right: bool) -> Datum {
    let mut rest = bytes;
    while let (true, [first, tail @ ..]) = (left, rest)
        && set.contains(first)
    {
        rest = tail;
    }
    while let (true, [head @ .., last]) = (right, rest)
        && set.contains(last)
    {
        rest = head;
    }
    Datum::from(rest.to_vec())
}

/// `overlay(bytes placing new from start for count)`.
pub(super) fn overlay<T: Clone>(text: &[T], new: &[T], start: i32, count: i32) -> Result<Vec<T>> {
    if start <= 0 {
        return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
    }
    let after = start.checked_add(count).ok_or_else(|| super::arithmetic::overflow("integer"))?;
    let head = text.len().min(start as usize - 1);
    let tail = usize::try_from(after.max(1)).unwrap_or(1).saturating_sub(1).min(text.len());
    Ok([&text[..head], new, &text[tail..]].concat())
}

fn set_bit(bytes: &[u8], at: i64, bit: i32) -> Result<Datum> {
    let count = bytes.len() as i64 * 8;
    if !(0..count).contains(&at) {
        return Err(Error::new(
            SqlState::ArraySubscriptError,
            format!("index {at} out of valid range, 0..{}", count - 1),
        ));
    }
    if !(0..=1).contains(&bit) {
        return Err(Error::new(SqlState::InvalidParameterValue, "new bit must be 0 or 1"));
    }
    let mut out = bytes.to_vec();
    if let Some(byte) = out.get_mut((at / 8) as usize) {
        *byte = *byte & !(1 << (at % 8)) | (bit as u8) << (at % 8);
    }
    Ok(Datum::from(out))
}

/// Days and microseconds between PostgreSQL's epoch and ours.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

fn send(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let bytes = match args::any(args.first())? {
        Datum::Bool(v) => vec![u8::from(*v)],
        Datum::Int2(v) => v.to_be_bytes().to_vec(),
        Datum::Int4(v) => v.to_be_bytes().to_vec(),
        Datum::Int8(v) | Datum::Time(v) => v.to_be_bytes().to_vec(),
        Datum::Float4(v) => v.to_be_bytes().to_vec(),
        Datum::Float8(v) => v.to_be_bytes().to_vec(),
        Datum::Oid(v) => v.to_be_bytes().to_vec(),
        Datum::Text(v) => v.as_bytes().to_vec(),
        Datum::Bytea(v) => v.to_vec(),
        Datum::Uuid(v) => v.to_vec(),
        Datum::Date(v @ (i32::MIN | i32::MAX)) => v.to_be_bytes().to_vec(),
        Datum::Date(v) => (v - EPOCH_DAYS).to_be_bytes().to_vec(),
        Datum::Timestamp(v @ (i64::MIN | i64::MAX)) | Datum::Timestamptz(v @ (i64::MIN | i64::MAX)) => {
            v.to_be_bytes().to_vec()
        }
        Datum::Timestamp(v) | Datum::Timestamptz(v) => v.wrapping_sub(EPOCH_MICROS).to_be_bytes().to_vec(),
        Datum::Interval(v) => [&v.micros.to_be_bytes()[..], &v.days.to_be_bytes(), &v.months.to_be_bytes()].concat(),
        _ => return Err(Error::unsupported("the binary form of this type as a function")),
    };
    Ok(Datum::from(bytes))
}

pub(super) fn register(implementations: &mut Implementations) {
    let sent: &[&'static str] = &[
        "boolsend",
        "int2send",
        "int4send",
        "int8send",
        "float4send",
        "float8send",
        "oidsend",
        "textsend",
        "varcharsend",
        "bpcharsend",
        "namesend",
        "byteasend",
        "uuid_send",
        "date_send",
        "time_send",
        "timestamp_send",
        "timestamptz_send",
        "interval_send",
        "json_send",
        "unknownsend",
        "xid8send",
        "xidsend",
        "cidsend",
    ];
    for symbol in sent {
        implementations.scalar(symbol, send as RowFunction);
    }
    implementations.scalars(&[
        ("bytealtrim", row!(|b: bytea, s: bytea| Ok(trimmed(b, s, true, false)))),
        ("byteartrim", row!(|b: bytea, s: bytea| Ok(trimmed(b, s, false, true)))),
        ("byteaoverlay", row!(|b: bytea, n: bytea, s: int4, c: int4| overlay(b, n, s, c).map(Datum::from))),
        ("byteaoverlay_no_len", row!(|b: bytea, n: bytea, s: int4| overlay(b, n, s, n.len() as i32).map(Datum::from))),
        ("byteaSetBit", row!(|b: bytea, at: int8, bit: int4| set_bit(b, at, bit))),
        ("sha224_bytea", row!(|b: bytea| Ok(Datum::from(super::sha224::digest(b).to_vec())))),
        (
            "length_in_encoding",
            row!(|b: bytea, encoding: text| {
                if !encoding.eq_ignore_ascii_case("utf8") && !encoding.eq_ignore_ascii_case("utf-8") {
                    return Err(Error::unsupported(format!("the encoding {encoding}")));
                }
                let text = std::str::from_utf8(b).map_err(|e| {
                    let at = b.get(e.valid_up_to()).copied().unwrap_or(0);
                    Error::new(
                        SqlState::CharacterNotInRepertoire,
                        format!("invalid byte sequence for encoding \"UTF8\": 0x{at:02x}"),
                    )
                })?;
                Ok(Datum::Int4(text.chars().count() as i32))
            }),
        ),
    ]);
}
