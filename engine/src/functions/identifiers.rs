//! Texts that name things or sizes: parse_ident and pg_size_bytes (misc.c, dbsize.c).

use super::args::row;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use crate::error::Result;
use crate::types::Datum;
use crate::types::numeric::Numeric;

/// What the scanner takes for blanks.
const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// The parts of a qualified name. `strict`: nothing may stand behind it.
fn parse_ident(text: &str, strict: bool) -> Result<Datum> {
    let wrong = || invalid_parameter(format!("string is not a valid identifier: \"{text}\""));
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(BLANKS);
    let mut after_dot = false;
    loop {
        let (part, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            let (part, behind) =
                quoted_part(quoted).ok_or_else(|| wrong().detail("String has unclosed double quotes."))?;
            if part.is_empty() {
                return Err(wrong().detail("Quoted identifier must not be empty."));
            }
            (part, behind)
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()) {
            let end = rest.find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '$');
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            (part.to_ascii_lowercase(), behind)
        } else {
            return Err(match (rest.starts_with('.'), after_dot) {
                (true, _) => wrong().detail("No valid identifier before \".\"."),
                (false, true) => wrong().detail("No valid identifier after \".\"."),
                (false, false) => wrong(),
            });
        };
        parts.push(Datum::from(part));
        rest = behind.trim_start_matches(BLANKS);
        match rest.strip_prefix('.') {
            Some(next) => {
                after_dot = true;
                rest = next.trim_start_matches(BLANKS);
            }
            None if rest.is_empty() || !strict => return Ok(Datum::from(parts)),
            None => return Err(wrong()),
        }
    }
}

/// A name up to its closing quote, doubled ones being part of it, and what follows.
fn quoted_part(mut rest: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    loop {
        let (text, behind) = rest.split_once('"')?;
        part.push_str(text);
        match behind.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, behind)),
        }
    }
}

/// `1.5 GB` in bytes.
fn size_bytes(text: &str) -> Result<Datum> {
    const UNITS: [(&str, u32); 6] = [("bytes", 0), ("kb", 10), ("mb", 20), ("gb", 30), ("tb", 40), ("pb", 50)];
    let invalid = || invalid_parameter(format!("invalid size: \"{text}\""));
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (number, unit) = trimmed.split_at(number_length(trimmed).ok_or_else(invalid)?);
    let number = Numeric::parse(number)?;
    let unit = unit.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let bytes = if unit.is_empty() {
        number
    } else {
        let known = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
        let (_, shift) = known.ok_or_else(|| {
            invalid()
                .detail(format!("Invalid size unit: \"{unit}\"."))
                .hint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".")
        })?;
        number.mul(&Numeric::from(1i64 << shift))
    };
    bytes.to_i64().map(Datum::Int8).ok_or_else(|| super::arithmetic::overflow("bigint"))
}

/// Bytes of the number that a text begins with; `None`: it begins with none.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let whole = digits(at);
    at += whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'+')));
        let exponent = digits(at + 1 + sign);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    Some(at)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("parse_ident", row!(|text: text, strict: boolean| parse_ident(text, strict))),
        ("pg_size_bytes", row!(|text: text| size_bytes(text))),
    ]);
}
