//! Parts of json documents as they were written. json keeps its text, so what is cut out of one is a slice of it, blanks
//! and all, where jsonb is printed anew.
//!
//! Invariant: the text was checked on input, so a scan for brackets, quotes and separators finds its parts.

use crate::error::Result;
use crate::types::Datum;
use crate::types::json::{self, Json};

/// A document's members, elements, or neither.
pub(super) enum Parts<'a> {
    Object(Vec<(String, &'a str)>),
    Array(Vec<&'a str>),
    Scalar,
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// Cuts at separators outside of strings and brackets.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            byte if byte == separator && depth == 0 => {
                parts.push(text.get(start..at).unwrap_or(""));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

pub(super) fn parts(text: &str) -> Result<Parts<'_>> {
    let body = trim(text);
    let inner = trim(body.get(1..body.len().saturating_sub(1)).unwrap_or(""));
    let pieces = if inner.is_empty() { Vec::new() } else { split(inner, b',') };
    match body.bytes().next() {
        Some(b'[') => Ok(Parts::Array(pieces.into_iter().map(trim).collect())),
        Some(b'{') => {
            let mut members = Vec::with_capacity(pieces.len());
            for piece in pieces {
                let key = split(piece, b':').first().copied().unwrap_or("");
                let value = piece.get(key.len() + 1..).unwrap_or("");
                if let Json::String(name) = json::parse(key)? {
                    members.push((name, trim(value)));
                }
            }
            Ok(Parts::Object(members))
        }
        _ => Ok(Parts::Scalar),
    }
}

/// A member; of duplicate keys the last counts.
pub(super) fn field<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>> {
    Ok(match parts(text)? {
        Parts::Object(members) => members.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    })
}

/// An element, counted from the end if `index` is negative.
pub(super) fn element(text: &str, index: i64) -> Result<Option<&str>> {
    Ok(match parts(text)? {
        Parts::Array(items) => {
            let at = if index < 0 { items.len() as i64 + index } else { index };
            usize::try_from(at).ok().and_then(|at| items.get(at).copied())
        }
        _ => None,
    })
}

/// What a path of keys and indexes leads to.
pub(super) fn path<'a>(text: &'a str, steps: &[Datum]) -> Result<Option<&'a str>> {
    let mut at = text;
    for step in steps {
        let Datum::Text(step) = step else { return Ok(None) };
        let next = match (trim(at).starts_with('['), step.trim().parse()) {
            (true, Ok(index)) => element(at, index)?,
            (true, Err(_)) => None,
            (false, _) => field(at, step)?,
        };
        match next {
            Some(part) => at = part,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// What `->>` gives of a part: a string bare, null as NULL, all else as it is written.
pub(super) fn as_text(part: &str) -> Result<Datum> {
    match part.bytes().next() {
        Some(b'"') => Ok(match json::parse(part)? {
            Json::String(text) => Datum::from(text),
            _ => Datum::Null,
        }),
        _ if trim(part) == "null" => Ok(Datum::Null),
        _ => Ok(Datum::from(part)),
    }
}
