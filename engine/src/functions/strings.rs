//! String and bytea functions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Call;
use super::args::{self, row};
use super::casts::output;
use super::format_text;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::compare::unpadded;
use crate::types::{Datum, PgType, TypeOid, bytes};

pub(super) fn invalid_parameter(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

/// Longest string that a function builds, in bytes: PostgreSQL's 1 GB less the four bytes of a value's header.
pub(super) const LENGTH_MAX: usize = 0x3fff_ffff - 4;
/// Most bytes of a character, by which lengths in characters are judged before the string is there.
const CHARACTER_BYTES_MAX: usize = 4;

fn too_long() -> Error {
    Error::new(SqlState::ProgramLimitExceeded, "requested length too large")
}

/// Characters `start` (from 1, may lie before the string) to `start + length`; 22011 for a negative length.
fn slice<T: Copy>(items: &[T], start: i32, length: Option<i32>) -> Result<Vec<T>> {
    let start = i64::from(start);
    let end = match length {
        Some(n) if n < 0 && start.checked_add(i64::from(n)).is_some_and(|e| e < start) => {
            return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
        }
        Some(n) => start + i64::from(n),
        None => i64::MAX,
    };
    let from = (start.max(1) - 1).min(items.len() as i64) as usize;
    let to = (end.max(1) - 1).min(items.len() as i64) as usize;
    Ok(items.get(from..to.max(from)).unwrap_or(&[]).to_vec())
}

fn substr(text: &str, start: i32, length: Option<i32>) -> Result<Datum> {
    let chars: Vec<char> = text.chars().collect();
    Ok(Datum::from(slice(&chars, start, length)?.into_iter().collect::<String>()))
}

fn overlay(text: &str, new: &str, start: i32, length: i32) -> Result<Datum> {
    if start <= 0 {
        return Err(Error::new(SqlState::SubstringError, "negative substring length not allowed"));
    }
    let after = start.checked_add(length).ok_or_else(|| super::arithmetic::overflow("integer"))?;
    let chars: Vec<char> = text.chars().collect();
    let mut out: String = slice(&chars, 1, Some(start - 1))?.into_iter().collect();
    out.push_str(new);
    out.extend(slice(&chars, after, None)?);
    Ok(Datum::from(out))
}

fn pad(text: &str, length: i32, fill: &str, left: bool) -> Result<Datum> {
    let wanted = length.max(0) as usize;
    let count = text.chars().count();
    if fill.is_empty() && wanted > count {
        return Ok(Datum::from(text));
    }
    if wanted > LENGTH_MAX / CHARACTER_BYTES_MAX {
        return Err(too_long());
    }
    if wanted <= count {
        return Ok(Datum::from(text.chars().take(wanted).collect::<String>()));
    }
    let missing = wanted - count;
    let mut out = String::with_capacity(text.len() + missing);
    if !left {
        out.push_str(text);
    }
    out.extend(fill.chars().cycle().take(missing));
    if left {
        out.push_str(text);
    }
    Ok(Datum::from(out))
}

/// `n` characters from the start, or all but `-n` at the end.
fn left(text: &str, n: i32) -> String {
    let count = text.chars().count() as i64;
    let keep = if n >= 0 { i64::from(n) } else { (count + i64::from(n)).max(0) };
    text.chars().take(keep as usize).collect()
}

fn right(text: &str, n: i32) -> String {
    let count = text.chars().count() as i64;
    let skip = if n >= 0 { (count - i64::from(n)).max(0) } else { -i64::from(n) };
    text.chars().skip(skip as usize).collect()
}

/// One character for one, as C libraries map case: what has no single counterpart stays.
fn lower_char(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn upper_char(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower_char).collect() }
}

fn upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(upper_char).collect() }
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.push(lower_char(c));
        } else {
            out.push(upper_char(c));
        }
        inside = c.is_alphanumeric();
    }
    out
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    let from: Vec<char> = from.chars().collect();
    text.chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(i) => to.get(i).copied(),
            None => Some(c),
        })
        .collect()
}

fn split_part(text: &str, delimiter: &str, field: i32) -> Result<Datum> {
    if field == 0 {
        return Err(invalid_parameter("field position must not be zero"));
    }
    let parts: Vec<&str> = if delimiter.is_empty() {
        vec![text]
    } else if text.is_empty() {
        Vec::new()
    } else {
        text.split(delimiter).collect()
    };
    let index = if field > 0 { field as i64 - 1 } else { parts.len() as i64 + i64::from(field) };
    let part = usize::try_from(index).ok().and_then(|i| parts.get(i).copied());
    Ok(Datum::from(part.unwrap_or("")))
}

fn position(text: &str, needle: &str) -> i32 {
    text.find(needle).map_or(0, |at| text[..at].chars().count() as i32 + 1)
}

fn repeat(text: &str, times: i32) -> Result<Datum> {
    let times = times.max(0) as usize;
    if text.len().saturating_mul(times) > LENGTH_MAX {
        return Err(too_long());
    }
    Ok(Datum::from(text.repeat(times)))
}

fn in_set(set: &str) -> impl Fn(char) -> bool + '_ {
    move |c| set.contains(c)
}

/// An identifier as SQL writes it: quoted unless it is plain and no keyword.
pub fn quote_ident(name: &str) -> String {
    let plain = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain && !RESERVED.contains(&name) {
        return name.to_string();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Keywords that quote_ident quotes (all but PostgreSQL's unreserved ones).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// A string literal; `E'…'` if it holds a backslash.
pub fn quote_literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

pub(super) fn shown(call: &Call<'_>, value: &Datum, index: usize) -> Result<String> {
    let ty = call.types.get(index).copied().unwrap_or(PgType::from(TypeOid::TEXT));
    if let Datum::Bool(v) = value {
        return Ok(if *v { "t" } else { "f" }.to_string());
    }
    output(value, ty, call.context)
}

/// Non-NULL arguments from `first` on, in text form; a VARIADIC array spreads out.
fn spread(call: &Call<'_>, args: &[Datum], first: usize) -> Result<Vec<Option<String>>> {
    args.iter()
        .enumerate()
        .skip(first)
        .map(|(i, v)| if v.is_null() { Ok(None) } else { shown(call, v, i).map(Some) })
        .collect()
}

fn chr(code: i32) -> Result<Datum> {
    if code == 0 {
        return Err(Error::new(SqlState::ProgramLimitExceeded, "null character not permitted"));
    }
    if code < 0 {
        return Err(invalid_parameter("character number must be positive"));
    }
    let c = char::from_u32(code as u32);
    c.map(|c| Datum::from(c.to_string())).ok_or_else(|| {
        let what = if code > 0x10_ffff { "too large" } else { "not valid" };
        Error::new(SqlState::ProgramLimitExceeded, format!("requested character {what} for encoding: {code}"))
    })
}

fn encode(data: &[u8], format: &str) -> Result<Datum> {
    let mut out = Vec::new();
    match format.to_ascii_lowercase().as_str() {
        "hex" => bytes::write_hex(data, &mut out),
        "base64" => {
            // A line ends after 76 characters.
            let encoded = BASE64.encode(data);
            for (i, chunk) in encoded.as_bytes().chunks(76).enumerate() {
                if i > 0 {
                    out.push(b'\n');
                }
                out.extend_from_slice(chunk);
            }
        }
        "escape" => {
            for byte in data {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0 | 0x80.. => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
                    _ => out.push(*byte),
                }
            }
        }
        _ => return Err(invalid_parameter(format!("unrecognized encoding: \"{format}\""))),
    }
    String::from_utf8(out).map(Datum::from).map_err(|e| Error::internal(e.to_string()))
}

fn decode(text: &str, format: &str) -> Result<Datum> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => bytes::parse_hex(text).map(Datum::from),
        "base64" => decode_base64(text).map(Datum::from),
        "escape" => bytes::parse_escape(text).map(Datum::from),
        _ => Err(invalid_parameter(format!("unrecognized encoding: \"{format}\""))),
    }
}

/// Base64 with blanks anywhere; padding is checked where it stands (encode.c, `pg_base64_decode`).
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut buffer, mut position, mut padding) = (0u32, 0, 0);
    for c in text.chars() {
        let digit = match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '=' => {
                if padding == 0 {
                    padding = match position {
                        2 => 1,
                        3 => 2,
                        _ => return Err(invalid_parameter("unexpected \"=\" while decoding base64 sequence")),
                    };
                }
                0
            }
            'A'..='Z' => c as u32 - 'A' as u32,
            'a'..='z' => c as u32 - 'a' as u32 + 26,
            '0'..='9' => c as u32 - '0' as u32 + 52,
            '+' => 62,
            '/' => 63,
            _ => {
                let message = format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return Err(invalid_parameter(message));
            }
        };
        buffer = (buffer << 6 | digit) & 0xff_ffff;
        position += 1;
        if position == 4 {
            let [_, a, b, c] = buffer.to_be_bytes();
            out.push(a);
            if padding == 0 || padding > 1 {
                out.push(b);
            }
            if padding == 0 || padding > 2 {
                out.push(c);
            }
            (buffer, position) = (0, 0);
        }
    }
    if position != 0 {
        return Err(invalid_parameter("invalid base64 end sequence")
            .hint("Input data is missing padding, is truncated, or is otherwise corrupted."));
    }
    Ok(out)
}

fn hex(digest: &[u8]) -> String {
    let mut out = Vec::with_capacity(digest.len() * 2);
    bytes::write_hex(digest, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Byte of a bytea at an index, checked.
fn byte_index(data: &[u8], index: i64, per_byte: i64) -> Result<usize> {
    let bound = data.len() as i64 * per_byte;
    if !(0..bound).contains(&index) {
        return Err(Error::new(
            SqlState::ArraySubscriptError,
            format!("index {index} out of valid range, 0..{}", bound - 1),
        ));
    }
    Ok(index as usize)
}

fn find_bytes(data: &[u8], needle: &[u8]) -> i32 {
    memchr::memmem::find(data, needle).map_or(0, |at| at as i32 + 1)
}

fn length(count: usize) -> Result<Datum> {
    Ok(Datum::Int4(count as i32))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("textlen", row!(|t: text| length(t.chars().count()))),
        ("bpcharlen", row!(|t: text| length(unpadded(t).chars().count()))),
        ("textoctetlen", row!(|t: text| length(t.len()))),
        ("bpcharoctetlen", row!(|t: text| length(t.len()))),
        ("byteaoctetlen", row!(|b: bytea| length(b.len()))),
        ("#1810", row!(|b: bytea| length(b.len() * 8))),
        ("#1811", row!(|t: text| length(t.len() * 8))),
        ("lower", row!(|t: text| Ok(Datum::from(lower(t))))),
        ("upper", row!(|t: text| Ok(Datum::from(upper(t))))),
        ("initcap", row!(|t: text| Ok(Datum::from(initcap(t))))),
        ("text_substr", row!(|t: text, s: int4, n: int4| substr(t, s, Some(n)))),
        ("text_substr_no_len", row!(|t: text, s: int4| substr(t, s, None))),
        ("bytea_substr", row!(|b: bytea, s: int4, n: int4| slice(b, s, Some(n)).map(Datum::from))),
        ("bytea_substr_no_len", row!(|b: bytea, s: int4| slice(b, s, None).map(Datum::from))),
        ("textpos", row!(|t: text, n: text| Ok(Datum::Int4(position(t, n))))),
        ("byteapos", row!(|t: bytea, n: bytea| Ok(Datum::Int4(find_bytes(t, n))))),
        ("btrim", row!(|t: text, s: text| Ok(Datum::from(t.trim_matches(in_set(s)))))),
        ("ltrim", row!(|t: text, s: text| Ok(Datum::from(t.trim_start_matches(in_set(s)))))),
        ("rtrim", row!(|t: text, s: text| Ok(Datum::from(t.trim_end_matches(in_set(s)))))),
        ("btrim1", row!(|t: text| Ok(Datum::from(t.trim_matches(' '))))),
        ("ltrim1", row!(|t: text| Ok(Datum::from(t.trim_start_matches(' '))))),
        (
            "byteatrim",
            row!(|b: bytea, s: bytea| {
                let start = b.iter().position(|x| !s.contains(x)).unwrap_or(b.len());
                let end = b.iter().rposition(|x| !s.contains(x)).map_or(start, |i| i + 1);
                Ok(Datum::from(b.get(start..end).unwrap_or(&[]).to_vec()))
            }),
        ),
        (
            "replace_text",
            row!(|t: text, f: text, r: text| {
                Ok(if f.is_empty() { Datum::from(t) } else { Datum::from(t.replace(f, r)) })
            }),
        ),
        ("translate", row!(|t: text, f: text, r: text| Ok(Datum::from(translate(t, f, r))))),
        ("split_part", row!(|t: text, d: text, n: int4| split_part(t, d, n))),
        ("text_left", row!(|t: text, n: int4| Ok(Datum::from(left(t, n))))),
        ("text_right", row!(|t: text, n: int4| Ok(Datum::from(right(t, n))))),
        ("lpad", row!(|t: text, n: int4, f: text| pad(t, n, f, true))),
        ("#879", row!(|t: text, n: int4| pad(t, n, " ", true))),
        ("rpad", row!(|t: text, n: int4, f: text| pad(t, n, f, false))),
        ("#880", row!(|t: text, n: int4| pad(t, n, " ", false))),
        ("repeat", row!(|t: text, n: int4| repeat(t, n))),
        ("text_reverse", row!(|t: text| Ok(Datum::from(t.chars().rev().collect::<String>())))),
        ("textcat", row!(|a: text, b: text| Ok(Datum::from([a, b].concat())))),
        ("byteacat", row!(|a: bytea, b: bytea| Ok(Datum::from([a, b].concat())))),
        ("#2003", |call, args| {
            let value = args::any(args.get(1))?;
            Ok(Datum::from(format!("{}{}", args::text(args.first())?, cast_text(call, value, 1)?)))
        }),
        ("#2004", |call, args| {
            let value = args::any(args.first())?;
            Ok(Datum::from(format!("{}{}", cast_text(call, value, 0)?, args::text(args.get(1))?)))
        }),
        ("text_concat", |call, args| Ok(Datum::from(spread(call, args, 0)?.into_iter().flatten().collect::<String>()))),
        ("text_concat_ws", |call, args| {
            let Some(Datum::Text(separator)) = args.first() else { return Ok(Datum::Null) };
            let parts: Vec<String> = spread(call, args, 1)?.into_iter().flatten().collect();
            Ok(Datum::from(parts.join(separator)))
        }),
        ("text_format", format_text::format),
        ("text_format_nv", format_text::format),
        ("md5_text", row!(|t: text| Ok(Datum::from(hex(&super::md5::digest(t.as_bytes())))))),
        ("md5_bytea", row!(|b: bytea| Ok(Datum::from(hex(&super::md5::digest(b)))))),
        (
            "sha256_bytea",
            row!(|b: bytea| Ok(Datum::from(ring::digest::digest(&ring::digest::SHA256, b).as_ref().to_vec()))),
        ),
        (
            "sha384_bytea",
            row!(|b: bytea| Ok(Datum::from(ring::digest::digest(&ring::digest::SHA384, b).as_ref().to_vec()))),
        ),
        (
            "sha512_bytea",
            row!(|b: bytea| Ok(Datum::from(ring::digest::digest(&ring::digest::SHA512, b).as_ref().to_vec()))),
        ),
        ("ascii", row!(|t: text| Ok(Datum::Int4(t.chars().next().map_or(0, |c| c as i32))))),
        ("chr", row!(|n: int4| chr(n))),
        ("quote_ident", row!(|t: text| Ok(Datum::from(quote_ident(t))))),
        ("quote_literal", row!(|t: text| Ok(Datum::from(quote_literal(t))))),
        ("#1285", |call, args| Ok(Datum::from(quote_literal(&cast_text(call, args::any(args.first())?, 0)?)))),
        ("quote_nullable", |_, args| match args.first() {
            Some(Datum::Text(t)) => Ok(Datum::from(quote_literal(t))),
            _ => Ok(Datum::from("NULL")),
        }),
        ("#1290", |call, args| match args.first() {
            None | Some(Datum::Null) => Ok(Datum::from("NULL")),
            Some(value) => Ok(Datum::from(quote_literal(&cast_text(call, value, 0)?))),
        }),
        ("text_starts_with", row!(|t: text, p: text| Ok(Datum::Bool(t.starts_with(p))))),
        ("textoverlay", row!(|t: text, n: text, s: int4, l: int4| overlay(t, n, s, l))),
        ("textoverlay_no_len", row!(|t: text, n: text, s: int4| overlay(t, n, s, n.chars().count() as i32))),
        ("binary_encode", row!(|b: bytea, f: text| encode(b, f))),
        ("binary_decode", row!(|t: text, f: text| decode(t, f))),
        ("to_hex32", row!(|n: int4| Ok(Datum::from(format!("{:x}", n as u32))))),
        ("to_hex64", row!(|n: int8| Ok(Datum::from(format!("{:x}", n as u64))))),
        (
            "pg_convert_from",
            row!(|b: bytea, e: text| {
                utf8(e)?;
                if b.contains(&0) {
                    return Err(Error::new(
                        SqlState::CharacterNotInRepertoire,
                        "invalid byte sequence for encoding \"UTF8\": 0x00",
                    ));
                }
                let text = std::str::from_utf8(b);
                text.map(Datum::from).map_err(|_| {
                    Error::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
                })
            }),
        ),
        (
            "pg_convert_to",
            row!(|t: text, e: text| {
                utf8(e)?;
                Ok(Datum::from(t.as_bytes().to_vec()))
            }),
        ),
        (
            "byteaGetByte",
            row!(|b: bytea, n: int4| {
                let at = byte_index(b, n.into(), 1)?;
                Ok(Datum::Int4(b.get(at).copied().unwrap_or(0).into()))
            }),
        ),
        (
            "byteaSetByte",
            row!(|b: bytea, n: int4, v: int4| {
                let at = byte_index(b, n.into(), 1)?;
                let mut out = b.to_vec();
                if let Some(slot) = out.get_mut(at) {
                    *slot = v as u8;
                }
                Ok(Datum::from(out))
            }),
        ),
        (
            "byteaGetBit",
            row!(|b: bytea, n: int8| {
                let at = byte_index(b, n, 8)?;
                Ok(Datum::Int4((b.get(at / 8).copied().unwrap_or(0) >> (at % 8) & 1).into()))
            }),
        ),
        ("bytea_bit_count", row!(|b: bytea| Ok(Datum::Int8(b.iter().map(|x| i64::from(x.count_ones())).sum())))),
        (
            "bpchar_pattern_lt",
            row!(|a: text, b: text| Ok(Datum::Bool(unpadded(a).as_bytes() < unpadded(b).as_bytes()))),
        ),
        (
            "bpchar_pattern_le",
            row!(|a: text, b: text| Ok(Datum::Bool(unpadded(a).as_bytes() <= unpadded(b).as_bytes()))),
        ),
        (
            "bpchar_pattern_gt",
            row!(|a: text, b: text| Ok(Datum::Bool(unpadded(a).as_bytes() > unpadded(b).as_bytes()))),
        ),
        (
            "bpchar_pattern_ge",
            row!(|a: text, b: text| Ok(Datum::Bool(unpadded(a).as_bytes() >= unpadded(b).as_bytes()))),
        ),
        ("text_pattern_lt", row!(|a: text, b: text| Ok(Datum::Bool(a.as_bytes() < b.as_bytes())))),
        ("text_pattern_le", row!(|a: text, b: text| Ok(Datum::Bool(a.as_bytes() <= b.as_bytes())))),
        ("text_pattern_gt", row!(|a: text, b: text| Ok(Datum::Bool(a.as_bytes() > b.as_bytes())))),
        ("text_pattern_ge", row!(|a: text, b: text| Ok(Datum::Bool(a.as_bytes() >= b.as_bytes())))),
    ]);
}

fn utf8(encoding: &str) -> Result<()> {
    match encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Error::unsupported(format!("conversion with encoding \"{encoding}\""))),
    }
}

/// The value as a cast to text gives it (booleans in full).
fn cast_text(call: &Call<'_>, value: &Datum, index: usize) -> Result<String> {
    let ty = call.types.get(index).copied().unwrap_or(PgType::from(TypeOid::TEXT));
    match super::cast_value(value, ty, TypeOid::TEXT.into(), true, call.context)? {
        Datum::Text(text) => Ok(text.to_string()),
        _ => shown(call, value, index),
    }
}
