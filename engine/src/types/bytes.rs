//! Text form of bytea: hex and escape in, either out.

use crate::error::{Error, Result, SqlState};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Reads `\x…` (22023 for a bad digit) or the escape form (22P02).
pub fn parse(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escape(text),
    }
}

/// Hexadecimal digits, with spaces between the pairs.
pub fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut high: Option<u8> = None;
    for c in hex.chars() {
        if high.is_none() && c.is_ascii_whitespace() {
            continue;
        }
        let digit = c
            .to_digit(16)
            .ok_or_else(|| Error::new(SqlState::InvalidParameterValue, format!("invalid hexadecimal digit: \"{c}\"")))?
            as u8;
        match high.take() {
            Some(h) => out.push(h << 4 | digit),
            None => high = Some(digit),
        }
    }
    if high.is_some() {
        return Err(Error::new(SqlState::InvalidParameterValue, "invalid hexadecimal data: odd number of digits"));
    }
    Ok(out)
}

/// Bytes as they are, `\\` for a backslash, `\ooo` for any byte.
pub fn parse_escape(text: &str) -> Result<Vec<u8>> {
    let invalid = || Error::new(SqlState::InvalidTextRepresentation, "invalid input syntax for type bytea");
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte != b'\\' {
            out.push(*byte);
            rest = tail;
        } else if tail.first() == Some(&b'\\') {
            out.push(b'\\');
            rest = &tail[1..];
        } else {
            let (digits, tail) = tail.split_first_chunk::<3>().ok_or_else(invalid)?;
            let value =
                digits.iter().try_fold(0u32, |v, d| (b'0'..=b'7').contains(d).then(|| v * 8 + u32::from(d - b'0')));
            out.push(value.and_then(|v| u8::try_from(v).ok()).ok_or_else(invalid)?);
            rest = tail;
        }
    }
    Ok(out)
}

pub fn write(value: &[u8], hex: bool, out: &mut Vec<u8>) {
    if hex {
        out.extend_from_slice(b"\\x");
        write_hex(value, out);
    } else {
        write_escape(value, out);
    }
}

pub fn write_hex(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() * 2);
    for byte in value {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

pub fn write_escape(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(*byte),
            _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
        }
    }
}
