//! Text form of float4 and float8: the shortest digits that read back the same, laid out as PostgreSQL lays them out.

use std::io::Write;

use crate::error::{Error, Result, SqlState};

/// Reads a float8 (22P02, 22003 for a value that overflows or vanishes).
pub fn parse_f64(text: &str) -> Result<f64> {
    parse(text, "double precision", |t| t.parse::<f64>().ok())
}

/// Reads a float4.
pub fn parse_f32(text: &str) -> Result<f32> {
    Ok(parse(text, "real", |t| t.parse::<f32>().ok().map(f64::from))? as f32)
}

fn parse(text: &str, type_name: &str, convert: fn(&str) -> Option<f64>) -> Result<f64> {
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let invalid = || {
        Error::new(
            SqlState::InvalidTextRepresentation,
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        )
    };
    let body = trimmed.trim_start_matches(['+', '-']);
    if trimmed.len() - body.len() > 1 {
        return Err(invalid());
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let negative = trimmed.starts_with('-');
        return match body.to_ascii_lowercase().as_str() {
            "nan" => Ok(f64::NAN),
            "infinity" | "inf" => Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
            _ => Err(invalid()),
        };
    }
    let value = match body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        Some(digits) => {
            let magnitude = hexadecimal(digits).ok_or_else(invalid)?;
            if trimmed.starts_with('-') { -magnitude } else { magnitude }
        }
        None => convert(trimmed).ok_or_else(invalid)?,
    };
    let mantissa = body.split(['e', 'E']).next().unwrap_or(body);
    let hexadecimal = body.len() > 1 && matches!(body.as_bytes().get(1), Some(b'x' | b'X'));
    let vanished = value == 0.0 && !hexadecimal && mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if value.is_infinite() || vanished {
        return Err(Error::new(
            SqlState::NumericValueOutOfRange,
            format!("\"{trimmed}\" is out of range for type {type_name}"),
        ));
    }
    Ok(value)
}

/// C's hexadecimal floats: `1f`, `1.8p3`; digits beyond a double's are cut.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.find(['p', 'P']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2f64.powi(exponent.saturating_sub(places)))
}

pub fn write_f64(value: f64, extra_digits: i32, out: &mut Vec<u8>) {
    if extra_digits > 0 || !value.is_finite() {
        write_shortest(value, &format!("{value:e}"), 15, out);
    } else {
        write_digits(value, (15 + extra_digits).max(1) as usize, out);
    }
}

pub fn write_f32(value: f32, extra_digits: i32, out: &mut Vec<u8>) {
    if extra_digits > 0 || !value.is_finite() {
        write_shortest(f64::from(value), &format!("{value:e}"), 6, out);
    } else {
        write_digits(f64::from(value), (6 + extra_digits).max(1) as usize, out);
    }
}

/// Lays out `d.ddde±x` (Rust's shortest form): plain for exponents from -4 to below `limit`, else scientific.
fn write_shortest(value: f64, scientific: &str, limit: i32, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    layout(mantissa, exponent, limit, out);
}

/// `%.*g`.
fn write_digits(value: f64, digits: usize, out: &mut Vec<u8>) {
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    layout(mantissa, exponent.parse().unwrap_or(0), digits as i32, out);
}

fn layout(mantissa: &str, exponent: i32, limit: i32, out: &mut Vec<u8>) {
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.extend_from_slice(sign.as_bytes());
    if !(-4..limit).contains(&exponent) {
        out.extend_from_slice(unsigned.as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
        return;
    }
    let digits: Vec<u8> = unsigned.bytes().filter(|b| *b != b'.').collect();
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(&digits);
        return;
    }
    let integer = exponent as usize + 1;
    if digits.len() <= integer {
        out.extend_from_slice(&digits);
        out.resize(out.len() + integer - digits.len(), b'0');
    } else {
        out.extend_from_slice(&digits[..integer]);
        out.push(b'.');
        out.extend_from_slice(&digits[integer..]);
    }
}
