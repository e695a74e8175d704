//! Text form of arrays (`{1,2,NULL,"a b"}`) and of int2vector and oidvector (`1 2 3`).

use std::sync::Arc;

use super::text::{FormatSettings, parse, write};
use super::{Datum, PgType};
use crate::error::{Error, Result, SqlState};

fn malformed(text: &str, detail: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("malformed array literal: \"{text}\"")).detail(detail)
}

/// Reads a one-dimensional array; more dimensions and other lower bounds answer 0A000.
pub fn parse_array(text: &str, element: PgType, format: &FormatSettings) -> Result<Datum> {
    let mut body = text.trim();
    let mut expected = None;
    if body.starts_with('[') {
        let (bounds, rest) =
            body.split_once('=').ok_or_else(|| malformed(text, "Missing \"=\" after array dimensions."))?;
        expected = Some(upper_bound(text, bounds.trim())?);
        body = rest.trim();
    }
    let Some(inner) = body.strip_prefix('{') else {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    };
    let mut items = Vec::new();
    let mut chars = inner.char_indices().peekable();
    let mut item = String::new();
    // What the current item has seen: nothing, bare characters, or a quoted part.
    let (mut bare, mut quoted) = (false, false);
    let mut trailing_space = 0;
    let mut finish = |item: &mut String, quoted: bool, trailing: usize| -> Result<()> {
        if !quoted {
            item.truncate(item.len() - trailing);
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        items.push(if null { Datum::Null } else { parse(item, element, format)? });
        item.clear();
        Ok(())
    };
    let mut closed = None;
    let mut any = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                if bare || quoted {
                    return Err(malformed(text, "Unexpected array element."));
                }
                quoted = true;
                loop {
                    match chars.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => item.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => item.push(c),
                        None => return Err(malformed(text, "Unexpected end of input.")),
                    }
                }
            }
            '{' => {
                if bare || quoted {
                    return Err(malformed(text, "Unexpected \"{\" character."));
                }
                return Err(Error::unsupported("an array with several dimensions"));
            }
            ',' | '}' => {
                if bare || quoted {
                    finish(&mut item, quoted, trailing_space)?;
                } else if c == ',' || any {
                    return Err(malformed(text, &format!("Unexpected \"{c}\" character.")));
                }
                (bare, quoted, trailing_space, any) = (false, false, 0, true);
                if c == '}' {
                    closed = Some(at + 1);
                    break;
                }
            }
            c if c.is_ascii_whitespace() => {
                if bare {
                    item.push(c);
                    trailing_space += c.len_utf8();
                }
            }
            c => {
                if quoted {
                    return Err(malformed(text, "Unexpected array element."));
                }
                bare = true;
                trailing_space = 0;
                if c == '\\' {
                    item.extend(chars.next().map(|(_, c)| c));
                } else {
                    item.push(c);
                }
            }
        }
    }
    let end = closed.ok_or_else(|| malformed(text, "Unexpected end of input."))?;
    if !inner[end..].trim().is_empty() {
        return Err(malformed(text, "Junk after closing right brace."));
    }
    if expected.is_some_and(|upper| usize::try_from(upper) != Ok(items.len())) {
        return Err(malformed(text, "Specified array dimensions do not match array contents."));
    }
    Ok(Datum::Array(Arc::new(items)))
}

/// The upper bound of `[1:3]` or `[3]`; several dimensions and other lower bounds answer 0A000.
fn upper_bound(text: &str, bounds: &str) -> Result<i32> {
    let inner = bounds.strip_prefix('[').and_then(|b| b.strip_suffix(']'));
    let inner = inner.ok_or_else(|| malformed(text, "Missing \"]\" in array dimensions."))?;
    let (lower, upper) = inner.split_once(':').unwrap_or(("1", inner));
    let number = |bound: &str| bound.parse::<i32>().ok();
    match (number(lower), number(upper)) {
        (Some(1), Some(upper)) if upper >= 0 => Ok(upper),
        (Some(lower), Some(upper)) if upper < lower => {
            Err(Error::new(SqlState::ArraySubscriptError, "upper bound cannot be less than lower bound"))
        }
        (None, _) | (_, None) if !inner.contains(['[', ']']) => {
            Err(malformed(text, "\"[\" must introduce explicitly-specified array dimensions."))
        }
        _ => Err(Error::unsupported("an array with several dimensions or a lower bound other than one")),
    }
}

/// Reads `1 2 3`.
pub fn parse_vector(text: &str, element: PgType, format: &FormatSettings) -> Result<Datum> {
    let items: Result<Vec<Datum>> = text.split_ascii_whitespace().map(|t| parse(t, element, format)).collect();
    Ok(Datum::Array(Arc::new(items?)))
}

pub fn write_vector(items: &[Datum], element: PgType, format: &FormatSettings, out: &mut Vec<u8>) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        write(item, element, format, out);
    }
}

pub fn write_array(items: &[Datum], element: PgType, format: &FormatSettings, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut text = Vec::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if item.is_null() {
            out.extend_from_slice(b"NULL");
            continue;
        }
        text.clear();
        write(item, element, format, &mut text);
        if needs_quotes(&text, matches!(item, Datum::Array(_))) {
            out.push(b'"');
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'"');
        } else {
            out.extend_from_slice(&text);
        }
    }
    out.push(b'}');
}

fn needs_quotes(text: &[u8], nested: bool) -> bool {
    !nested
        && (text.is_empty()
            || text.eq_ignore_ascii_case(b"null")
            || text
                .iter()
                .any(|b| matches!(b, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)))
}
