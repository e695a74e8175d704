//! money: cents, written as in the United States whatever lc_monetary says (cash.c).

use super::Datum;
use crate::error::{Error, Result, SqlState};

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type money"))
}

/// Reads `$1,234.56`, `-$1` or `(1.00)`; digits beyond the cents round.
pub fn parse(text: &str) -> Result<Datum> {
    let invalid =
        || Error::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type money: \"{text}\""));
    let mut rest = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let mut negative = false;
    loop {
        rest = match rest.as_bytes().first() {
            Some(b'(' | b'-') => {
                negative = true;
                rest.get(1..).unwrap_or_default()
            }
            Some(b'+' | b'$' | b' ') => rest.get(1..).unwrap_or_default(),
            _ => break,
        };
    }
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(rest.len());
    let (number, tail) = rest.split_at(end);
    for c in tail.chars() {
        match c {
            ')' | '-' => negative = true,
            '+' | '$' | ' ' | '\t' => {}
            _ => return Err(invalid()),
        }
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.is_empty() || fraction.contains([',', '.']) {
        return Err(invalid());
    }
    let digits: String = whole.chars().filter(|c| *c != ',').collect();
    let padded = format!("{fraction:0<3}");
    let mut cents: i128 = 0;
    for c in digits.chars().chain(padded.chars().take(2)) {
        cents = cents.saturating_mul(10) + i128::from(c.to_digit(10).unwrap_or(0));
    }
    cents += i128::from(padded.chars().nth(2).is_some_and(|c| c >= '5'));
    let cents = if negative { -cents } else { cents };
    i64::try_from(cents).map(Datum::Int8).map_err(|_| out_of_range(text))
}

pub fn write(cents: i64, out: &mut Vec<u8>) {
    if cents < 0 {
        out.push(b'-');
    }
    out.push(b'$');
    let magnitude = cents.unsigned_abs();
    let whole = (magnitude / 100).to_string();
    for (i, digit) in whole.bytes().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(b',');
        }
        out.push(digit);
    }
    out.extend_from_slice(format!(".{:02}", magnitude % 100).as_bytes());
}
