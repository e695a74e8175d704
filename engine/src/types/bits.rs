//! bit and bit varying (varbit.c). A value is its digits as text: they sort like the bits.

use super::{Datum, TypeOid};
use crate::error::{Error, Result, SqlState};

fn invalid(digit: char, what: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("\"{digit}\" is not a valid {what} digit"))
}

/// The digits of `101`, `B101` or `X1F`.
pub fn read(text: &str) -> Result<String> {
    if let Some(digits) = text.strip_prefix(['x', 'X']) {
        return hexadecimal(digits);
    }
    let digits = text.strip_prefix(['b', 'B']).unwrap_or(text);
    match digits.chars().find(|c| !matches!(c, '0' | '1')) {
        Some(other) => Err(invalid(other, "binary")),
        None => Ok(digits.to_string()),
    }
}

fn hexadecimal(digits: &str) -> Result<String> {
    let mut out = String::with_capacity(digits.len() * 4);
    for c in digits.chars() {
        let value = c.to_digit(16).ok_or_else(|| invalid(c, "hexadecimal"))?;
        out.push_str(&format!("{value:04b}"));
    }
    Ok(out)
}

/// Applies the length of bit(n) or bit varying(n): an explicit cast cuts or fills, anything else must fit.
pub fn with_length(digits: &str, ty: TypeOid, typmod: i32, explicit: bool) -> Result<Datum> {
    let Ok(length) = usize::try_from(typmod) else { return Ok(Datum::from(digits)) };
    let fixed = ty == TypeOid::BIT;
    if digits.len() == length || !fixed && digits.len() < length {
        return Ok(Datum::from(digits));
    }
    if explicit {
        let cut = digits.get(..length).unwrap_or(digits);
        return Ok(Datum::from(if fixed { format!("{cut:0<length$}") } else { cut.to_string() }));
    }
    Err(match fixed {
        true => Error::new(
            SqlState::StringDataLengthMismatch,
            format!("bit string length {} does not match type bit({length})", digits.len()),
        ),
        false => Error::new(
            SqlState::StringDataRightTruncation,
            format!("bit string too long for type bit varying({length})"),
        ),
    })
}

/// Eight bits a byte, the last filled with zeros.
pub fn pack(digits: &str) -> Vec<u8> {
    let bit = |i: usize, c: &u8| if *c == b'1' { 0x80u8 >> i } else { 0 };
    digits.as_bytes().chunks(8).map(|chunk| chunk.iter().enumerate().fold(0, |byte, (i, c)| byte | bit(i, c))).collect()
}

/// The first `length` bits of bytes.
pub fn unpack(bytes: &[u8], length: usize) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
    digits.get(..length).unwrap_or(&digits).to_string()
}
