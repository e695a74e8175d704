//! Functions and operators of bit and bit varying, whose values are their digits.

use super::args::{self, row};
use super::binary::overlay;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::bits::pack;

fn combine(args: &[Datum], what: &str, with: fn(bool, bool) -> bool) -> Result<Datum> {
    let (a, b) = (args::text(args.first())?, args::text(args.get(1))?);
    if a.len() != b.len() {
        return Err(Error::new(
            SqlState::StringDataLengthMismatch,
            format!("cannot {what} bit strings of different sizes"),
        ));
    }
    let digit = |(x, y): (u8, u8)| if with(x == b'1', y == b'1') { '1' } else { '0' };
    Ok(Datum::from(a.bytes().zip(b.bytes()).map(digit).collect::<String>()))
}

/// Digits moved to the left (negative: to the right), zeros coming in.
fn shifted(digits: &str, by: i64) -> String {
    let length = digits.len();
    let count = usize::try_from(by.unsigned_abs()).unwrap_or(length).min(length);
    let zeros = "0".repeat(count);
    if by >= 0 {
        digits.get(count..).unwrap_or_default().to_string() + &zeros
    } else {
        zeros + digits.get(..length - count).unwrap_or_default()
    }
}

fn substring(digits: &str, start: i32, count: Option<i32>) -> Result<Datum> {
    let end = match count {
        Some(count) if count < 0 => {
            return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        Some(count) => i64::from(start) + i64::from(count),
        None => i64::MAX,
    };
    let length = digits.len() as i64;
    let from = (i64::from(start) - 1).clamp(0, length);
    let to = end.saturating_sub(1).clamp(from, length);
    Ok(Datum::from(digits.get(from as usize..to as usize).unwrap_or_default()))
}

fn place(digits: &str, at: i32) -> Result<usize> {
    usize::try_from(at).ok().filter(|i| *i < digits.len()).ok_or_else(|| {
        Error::new(
            SqlState::ArraySubscriptError,
            format!("bit index {at} out of valid range (0..{})", digits.len() as i64 - 1),
        )
    })
}

/// Digits that a value of type bit has at most.
const DIGITS_MAX: i32 = 83_886_080;

/// An integer as so many digits, its sign continued to the left.
fn of_integer(value: i64, width: u32, length: i32) -> Result<Datum> {
    if length > DIGITS_MAX {
        let message = format!("length for type bit cannot exceed {DIGITS_MAX}");
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    let length = if length <= 0 { 1 } else { length as usize };
    let digits = format!("{value:064b}");
    let own = digits.get(64 - width as usize..).unwrap_or_default();
    let cut = own.len().saturating_sub(length);
    let shown = own.get(cut..).unwrap_or_default();
    let fill = if value < 0 { '1' } else { '0' };
    Ok(Datum::from(std::iter::repeat_n(fill, length - shown.len()).chain(shown.chars()).collect::<String>()))
}

fn to_integer(digits: &str, width: usize, name: &str) -> Result<u64> {
    if digits.len() > width {
        return Err(super::arithmetic::overflow(name));
    }
    Ok(digits.bytes().fold(0, |n, c| n << 1 | u64::from(c == b'1')))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("bit_and", |_, a| combine(a, "AND", |x, y| x && y)),
        ("bit_or", |_, a| combine(a, "OR", |x, y| x || y)),
        ("bitxor", |_, a| combine(a, "XOR", |x, y| x != y)),
        (
            "bitnot",
            row!(|d: text| Ok(Datum::from(d.chars().map(|c| if c == '1' { '0' } else { '1' }).collect::<String>()))),
        ),
        ("bitshiftleft", row!(|d: text, n: int4| Ok(Datum::from(shifted(d, n.into()))))),
        ("bitshiftright", row!(|d: text, n: int4| Ok(Datum::from(shifted(d, -i64::from(n)))))),
        ("bitcat", row!(|a: text, b: text| Ok(Datum::from(format!("{a}{b}"))))),
        ("bitlength", row!(|d: text| Ok(Datum::Int4(d.len() as i32)))),
        ("#1812", row!(|d: text| Ok(Datum::Int4(d.len() as i32)))),
        ("bitoctetlength", row!(|d: text| Ok(Datum::Int4(d.len().div_ceil(8) as i32)))),
        ("bit_bit_count", row!(|d: text| Ok(Datum::Int8(d.bytes().filter(|c| *c == b'1').count() as i64)))),
        ("bitsubstr", row!(|d: text, s: int4, n: int4| substring(d, s, Some(n)))),
        ("bitsubstr_no_len", row!(|d: text, s: int4| substring(d, s, None))),
        (
            "bitoverlay",
            row!(|d: text, n: text, s: int4, c: int4| {
                let bytes = overlay(d.as_bytes(), n.as_bytes(), s, c)?;
                Ok(Datum::from(String::from_utf8_lossy(&bytes).into_owned()))
            }),
        ),
        (
            "bitoverlay_no_len",
            row!(|d: text, n: text, s: int4| {
                let bytes = overlay(d.as_bytes(), n.as_bytes(), s, n.len() as i32)?;
                Ok(Datum::from(String::from_utf8_lossy(&bytes).into_owned()))
            }),
        ),
        (
            "bitposition",
            row!(|d: text, n: text| {
                let found = if d.is_empty() { None } else { d.find(n) };
                Ok(Datum::Int4(found.map_or(0, |i| i as i32 + 1)))
            }),
        ),
        (
            "bitgetbit",
            row!(|d: text, at: int4| {
                let at = place(d, at)?;
                Ok(Datum::Int4(i32::from(d.as_bytes().get(at) == Some(&b'1'))))
            }),
        ),
        (
            "bitsetbit",
            row!(|d: text, at: int4, bit: int4| {
                let at = place(d, at)?;
                if !(0..=1).contains(&bit) {
                    return Err(Error::new(SqlState::InvalidParameterValue, "new bit must be 0 or 1"));
                }
                let digit = if bit == 1 { '1' } else { '0' };
                Ok(Datum::from(d.chars().enumerate().map(|(i, c)| if i == at { digit } else { c }).collect::<String>()))
            }),
        ),
        ("bitfromint4", row!(|v: int4, n: int4| of_integer(v.into(), 32, n))),
        ("bitfromint8", row!(|v: int8, n: int4| of_integer(v, 64, n))),
        ("bittoint4", row!(|d: text| Ok(Datum::Int4(to_integer(d, 32, "integer")? as u32 as i32)))),
        ("bittoint8", row!(|d: text| Ok(Datum::Int8(to_integer(d, 64, "bigint")? as i64)))),
        ("bit_send", row!(|d: text| Ok(Datum::from([&(d.len() as i32).to_be_bytes()[..], &pack(d)].concat())))),
        ("varbit_send", row!(|d: text| Ok(Datum::from([&(d.len() as i32).to_be_bytes()[..], &pack(d)].concat())))),
    ]);
}
