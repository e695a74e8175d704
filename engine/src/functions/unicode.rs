//! Unicode in strings: normal forms, `unistr`, and plain ASCII.

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfd, is_nfkc, is_nfkd};

use super::args::row;
use super::registry::Implementations;
use super::strings::invalid_parameter;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;

fn unknown_form(form: &str) -> Error {
    invalid_parameter(format!("invalid normalization form: {form}"))
}

fn normalize(text: &str, form: &str) -> Result<Datum> {
    let normal: String = match form.to_ascii_uppercase().as_str() {
        "NFC" => text.nfc().collect(),
        "NFD" => text.nfd().collect(),
        "NFKC" => text.nfkc().collect(),
        "NFKD" => text.nfkd().collect(),
        _ => return Err(unknown_form(form)),
    };
    Ok(Datum::from(normal))
}

fn is_normalized(text: &str, form: &str) -> Result<Datum> {
    let normal = match form.to_ascii_uppercase().as_str() {
        "NFC" => is_nfc(text),
        "NFD" => is_nfd(text),
        "NFKC" => is_nfkc(text),
        "NFKD" => is_nfkd(text),
        _ => return Err(unknown_form(form)),
    };
    Ok(Datum::Bool(normal))
}

/// `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX` and `\\`.
fn unistr(text: &str) -> Result<Datum> {
    let invalid = || {
        Error::new(SqlState::SyntaxError, "invalid Unicode escape")
            .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let bad_pair = || Error::new(SqlState::SyntaxError, "invalid Unicode surrogate pair");
    let mut out = String::with_capacity(text.len());
    let mut high: Option<u32> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c != '\\' || rest.starts_with("\\\\") {
            if high.is_some() {
                return Err(bad_pair());
            }
            out.push(c);
            rest = rest.get(if c == '\\' { 2 } else { c.len_utf8() }..).unwrap_or_default();
            continue;
        }
        let body = rest.get(1..).unwrap_or_default();
        let (skip, digits) = match body.as_bytes().first() {
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            Some(b'+') => (1, 6),
            _ => (0, 4),
        };
        let code = body.get(skip..skip + digits).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(invalid)?;
        rest = body.get(skip + digits..).unwrap_or_default();
        match (high.take(), code) {
            (Some(first), 0xDC00..=0xDFFF) => {
                let whole = 0x10000 + ((first - 0xD800) << 10) + (code - 0xDC00);
                out.extend(char::from_u32(whole));
            }
            (Some(_), _) | (None, 0xDC00..=0xDFFF) => return Err(bad_pair()),
            (None, 0xD800..=0xDBFF) => high = Some(code),
            (None, code) => {
                let c = char::from_u32(code).filter(|c| *c != '\0');
                out.push(c.ok_or_else(|| {
                    Error::new(SqlState::InvalidParameterValue, format!("invalid Unicode code point: {code:04X}"))
                })?);
            }
        }
    }
    if high.is_some() {
        return Err(bad_pair());
    }
    Ok(Datum::from(out))
}

fn to_ascii() -> Error {
    Error::new(SqlState::FeatureNotSupported, "encoding conversion from UTF8 to ASCII not supported")
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("unicode_normalize_func", row!(|t: text, f: text| normalize(t, f))),
        ("unicode_is_normalized", row!(|t: text, f: text| is_normalized(t, f))),
        ("unistr", row!(|t: text| unistr(t))),
        ("to_ascii_default", |_, _| Err(to_ascii())),
        ("to_ascii_enc", |_, _| Err(to_ascii())),
        ("to_ascii_encname", |_, _| Err(to_ascii())),
    ]);
}
