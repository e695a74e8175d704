//! citext (contrib/citext): text that compares as its lower case does. What of its functions on patterns is not here answers 0A000.

use crate::error::{Error, Result, SqlState};
use crate::functions::args::row;
use crate::functions::registry::Implementations;
use crate::types::Datum;

/// What a value compares by.
pub fn folded(text: &str) -> String {
    text.to_lowercase()
}

fn extreme(args: &[Datum], larger: bool) -> Datum {
    match args {
        [Datum::Text(a), Datum::Text(b)] => {
            let first = if larger { folded(a) >= folded(b) } else { folded(a) <= folded(b) };
            Datum::Text(if first { a } else { b }.clone())
        }
        _ => Datum::Null,
    }
}

/// Byte ranges of what equals `wanted`, case aside, one behind the other.
fn occurrences(text: &str, wanted: &str) -> Vec<(usize, usize)> {
    let fold = |c: char| c.to_lowercase().collect::<String>();
    let characters: Vec<(usize, String)> = text.char_indices().map(|(at, c)| (at, fold(c))).collect();
    let wanted: Vec<String> = wanted.chars().map(fold).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while !wanted.is_empty() && at + wanted.len() <= characters.len() {
        let here = characters.get(at..at + wanted.len()).unwrap_or_default();
        if here.iter().map(|(_, c)| c).eq(&wanted) {
            let byte = |i: usize| characters.get(i).map_or(text.len(), |(at, _)| *at);
            found.push((byte(at), byte(at + wanted.len())));
            at += wanted.len();
        } else {
            at += 1;
        }
    }
    found
}

/// What stands between the occurrences.
fn pieces<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut out = Vec::new();
    let mut start = 0;
    for (from, to) in occurrences(text, separator) {
        out.push(text.get(start..from).unwrap_or(""));
        start = to;
    }
    out.push(text.get(start..).unwrap_or(""));
    out
}

fn position(text: &str, wanted: &str) -> i32 {
    match occurrences(text, wanted).first() {
        Some((at, _)) => text.get(..*at).map_or(0, |before| before.chars().count() as i32) + 1,
        None => i32::from(wanted.is_empty()),
    }
}

fn split_part(text: &str, separator: &str, number: i32) -> Result<Datum> {
    let parts = pieces(text, separator);
    let at = match number {
        0 => return Err(Error::new(SqlState::InvalidParameterValue, "field position must not be zero")),
        n if n > 0 => i64::from(n) - 1,
        n => parts.len() as i64 + i64::from(n),
    };
    Ok(Datum::from(usize::try_from(at).ok().and_then(|at| parts.get(at).copied()).unwrap_or("")))
}

pub fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("citext_cmp", row!(|a: text, b: text| Ok(Datum::Int4(folded(a).cmp(&folded(b)) as i32)))),
        ("citext_larger", |_, args| Ok(extreme(args, true))),
        ("citext_smaller", |_, args| Ok(extreme(args, false))),
        ("#1879048229", row!(|text: text, wanted: text| Ok(Datum::Int4(position(text, wanted))))),
        ("#1879048230", row!(|text: text, from: text, to: text| Ok(Datum::from(pieces(text, from).join(to))))),
        ("#1879048231", row!(|text: text, by: text, n: int4| split_part(text, by, n))),
    ]);
}
