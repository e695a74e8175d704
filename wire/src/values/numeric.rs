//! numeric's binary form: base-10000 digits with the weight of the first, a sign, and the display scale.
//!
//! Source: PostgreSQL's `numeric_send` and `numeric_recv`. All integers are 16 bits, big-endian.

use engine::error::{Error, Result, SqlState};
use engine::types::numeric::Numeric;
use num_bigint::{BigInt, BigUint, Sign};
use smallvec::SmallVec;

use crate::frontend::Reader;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
/// PostgreSQL reads a bit of the infinities' sign as their scale; clients that compare bytes see it.
const INFINITY_SCALE: u16 = 0x20;
/// Bits of a display scale.
const SCALE_MASK: u16 = 0x3FFF;

/// Decimal digits in one digit of the wire.
const GROUP: usize = 4;
const BASE: u128 = 10_000;

/// Digits of a Decimal128: at most ⌈39 / 4⌉ before and ⌈38 / 4⌉ after the point, with room.
type Digits = SmallVec<[u16; 24]>;

pub(crate) fn write(value: &Numeric, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Numeric::NaN => put(out, &[], 0, NAN, 0),
        Numeric::Infinity => put(out, &[], 0, INFINITY, INFINITY_SCALE),
        Numeric::NegInfinity => put(out, &[], 0, NEGATIVE_INFINITY, INFINITY_SCALE),
        Numeric::Finite { mantissa, scale } => match i128::try_from(mantissa) {
            Ok(mantissa) => write_decimal(mantissa, *scale, out)?,
            Err(_) => write_large(mantissa, *scale, out)?,
        },
    }
    Ok(())
}

/// `mantissa * 10^-scale`, without allocation for the scales of a Decimal128.
pub(crate) fn write_decimal(mantissa: i128, scale: u16, out: &mut Vec<u8>) -> Result<()> {
    let mut rest = mantissa.unsigned_abs();
    let scale_digits = usize::from(scale);
    let fraction_groups = scale_digits.div_ceil(GROUP);
    // From the last digit: the group that holds the end of the fraction may be short.
    let mut digits = Digits::new();
    let short = scale_digits % GROUP;
    if short > 0 {
        let power = 10u128.pow(short as u32);
        digits.push((rest % power) as u16 * 10u16.pow((GROUP - short) as u32));
        rest /= power;
    }
    // A u128 division is a call; most numbers fit 64 bits soon.
    while rest > u128::from(u64::MAX) {
        digits.push((rest % BASE) as u16);
        rest /= BASE;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        digits.push((rest % BASE as u64) as u16);
        rest /= BASE as u64;
    }
    digits.reverse();
    finish(&digits, fraction_groups, mantissa < 0, scale, out)
}

fn write_large(mantissa: &BigInt, scale: u16, out: &mut Vec<u8>) -> Result<()> {
    let mut text = mantissa.magnitude().to_str_radix(10).into_bytes();
    let scale_digits = usize::from(scale);
    text.resize(text.len() + (GROUP - scale_digits % GROUP) % GROUP, b'0');
    let lead = (GROUP - text.len() % GROUP) % GROUP;
    text.splice(0..0, std::iter::repeat_n(b'0', lead));
    let digits: Vec<u16> = text
        .chunks(GROUP)
        .map(|group| group.iter().fold(0, |digit, byte| digit * 10 + u16::from(byte - b'0')))
        .collect();
    finish(&digits, scale_digits.div_ceil(GROUP), mantissa.sign() == Sign::Minus, scale, out)
}

/// Strips zero digits at both ends, as PostgreSQL does, and writes. The last `fraction_groups` digits stand behind
/// the point; there may be fewer digits than that (0.00000001).
fn finish(digits: &[u16], fraction_groups: usize, negative: bool, scale: u16, out: &mut Vec<u8>) -> Result<()> {
    let weight = digits.len() as i64 - fraction_groups as i64 - 1;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(leading..).unwrap_or_default();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let digits = digits.get(..digits.len() - trailing).unwrap_or_default();
    if digits.is_empty() {
        put(out, &[], 0, POSITIVE, scale);
        return Ok(());
    }
    let too_large = || Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format");
    if digits.len() > usize::from(u16::MAX >> 1) || scale > SCALE_MASK {
        return Err(too_large());
    }
    let weight = i16::try_from(weight - leading as i64).map_err(|_| too_large())?;
    let sign = if negative { NEGATIVE } else { POSITIVE };
    put(out, digits, weight, sign, scale);
    Ok(())
}

fn put(out: &mut Vec<u8>, digits: &[u16], weight: i16, sign: u16, scale: u16) {
    out.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Reads the binary form (22P03 for values that no numeric has). Digits beyond the display scale are cut.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Numeric> {
    let invalid = |what: &str| {
        Error::new(SqlState::InvalidBinaryRepresentation, format!("invalid {what} in external \"numeric\" value"))
    };
    let count = usize::from(reader.u16()?);
    let weight = i64::from(reader.i16()?);
    let sign = reader.u16()?;
    let scale = reader.u16()?;
    if !matches!(sign, POSITIVE | NEGATIVE | NAN | INFINITY | NEGATIVE_INFINITY) {
        return Err(invalid("sign"));
    }
    if scale & SCALE_MASK != scale {
        return Err(invalid("scale"));
    }
    let mut digits = Reader::new(reader.bytes(2 * count)?);
    let mut decimal = Vec::with_capacity(count * GROUP);
    while !digits.is_empty() {
        let digit = digits.u16()?;
        if u128::from(digit) >= BASE {
            return Err(invalid("digit"));
        }
        for power in [1000, 100, 10, 1] {
            decimal.push((digit / power % 10) as u8);
        }
    }
    match sign {
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEGATIVE_INFINITY => return Ok(Numeric::NegInfinity),
        _ => (),
    }
    // Decimal digits before the point, and all that the display scale keeps; both may lie beyond the digits sent.
    let kept = (weight + 1) * GROUP as i64 + i64::from(scale);
    decimal.resize(usize::try_from(kept).unwrap_or(0), 0);
    let magnitude = BigUint::from_radix_be(&decimal, 10).unwrap_or_default();
    let sign = if sign == NEGATIVE { Sign::Minus } else { Sign::Plus };
    Ok(Numeric::Finite { mantissa: BigInt::from_biguint(sign, magnitude), scale })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn finite(mantissa: &str, scale: u16) -> Numeric {
        Numeric::Finite { mantissa: mantissa.parse().unwrap(), scale }
    }

    /// Values with the bytes that PostgreSQL 15's `numeric_send` gives for them (`encode(numeric_send(x), 'hex')`).
    fn known() -> Vec<(Numeric, &'static str)> {
        vec![
            (finite("0", 0), "0000000000000000"),
            (finite("0", 1), "0000000000000001"),
            (finite("1", 0), "00010000000000000001"),
            (finite("-1", 0), "00010000400000000001"),
            (finite("9999", 0), "0001000000000000270f"),
            (finite("10000", 0), "00010001000000000001"),
            (finite("10001", 0), "000200010000000000010001"),
            (finite("1", 4), "0001ffff000000040001"),
            (finite("10", 5), "0001ffff000000050001"),
            (finite("-5", 1), "0001ffff400000011388"),
            (finite("1", 8), "0001fffe000000080001"),
            (finite("123456", 3), "0002000000000003007b11d0"),
            (finite("123456789", 4), "0003000100000004000109291a85"),
            (finite("100000000", 0), "00010002000000000001"),
            (finite("100000000000000000000", 0), "00010005000000000001"),
            (finite("-1", 20), "0001fffb400000140001"),
            (
                finite("99999999999999999999999999999999999999", 0),
                "000a0009000000000063270f270f270f270f270f270f270f270f270f",
            ),
            (
                finite("12345678901234567890123456789012345678", 38),
                "000affff0000002604d2162e23340d801ed204d2162e23340d801e78",
            ),
            (finite("1000000000000000000000000000000000000000000000000000000000000", 0), "0001000f000000000001"),
            (
                finite("-1234567890123456789012345678901234567890123456789012345", 10),
                "000f000b4000000a000109291a85007b11d722c509291a85007b11d722c509291a85007b1194",
            ),
            (Numeric::NaN, "00000000c0000000"),
            (Numeric::Infinity, "00000000d0000020"),
            (Numeric::NegInfinity, "00000000f0000020"),
        ]
    }

    #[test]
    fn binary_forms_are_postgresqls() {
        for (value, hex) in known() {
            let mut out = Vec::new();
            write(&value, &mut out).unwrap();
            let text: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text, hex, "{value:?}");
            let mut reader = Reader::new(&out);
            let read = read(&mut reader).unwrap();
            reader.end().unwrap();
            assert_eq!(format!("{read:?}"), format!("{value:?}"), "{hex}");
        }
    }

    /// The short cut for 128 bits and the general path agree.
    #[test]
    fn both_paths_agree() {
        for mantissa in [0, 1, -7, 9_999, 10_000, 123_456_789_012_345, i128::MAX, i128::MIN] {
            for scale in [0, 1, 2, 3, 4, 5, 8, 37, 38, 100] {
                let (mut short, mut long) = (Vec::new(), Vec::new());
                write_decimal(mantissa, scale, &mut short).unwrap();
                write_large(&BigInt::from(mantissa), scale, &mut long).unwrap();
                assert_eq!(short, long, "{mantissa} {scale}");
            }
        }
    }

    #[test]
    fn invalid_binary_forms_are_refused() {
        let cases: [(&[u16], &str); 4] = [
            (&[0, 0, 0x1000, 0], "invalid sign in external \"numeric\" value"),
            (&[0, 0, 0, 0x4000], "invalid scale in external \"numeric\" value"),
            (&[1, 0, 0, 0, 10_000], "invalid digit in external \"numeric\" value"),
            (&[2, 0, 0, 0, 1], "insufficient data left in message"),
        ];
        for (words, message) in cases {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let error = read(&mut Reader::new(&bytes)).unwrap_err();
            assert_eq!(error.message(), message);
        }
    }
}
