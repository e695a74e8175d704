//! Numerics as bytes that sort like the numbers.
//!
//! `class byte, [exponent (2), base-100 digits + 1 …, 0], display scale (2)`. The exponent counts groups of four
//! decimal digits; the bytes between class and display scale are inverted for negative numbers. The terminator makes
//! the part before the display scale prefix-free, so the display scale only decides between equal numbers.

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{ToPrimitive, Zero};

use super::{Numeric, pow10};

const NEG_INFINITY: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const INFINITY: u8 = 4;
const NAN: u8 = 5;
const EXPONENT_BIAS: i32 = 0x2000;

impl Numeric {
    /// Bytes whose lexicographic order is the numeric order, followed by the display scale (two bytes, last), so that
    /// two equal numbers of different scale differ only in their last two bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.encode_into(&mut out);
        out
    }

    /// [`Self::encode`] without the display scale: equal numbers have equal keys.
    pub fn key(&self) -> Vec<u8> {
        let mut out = self.encode();
        out.truncate(out.len() - 2);
        out
    }

    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Numeric::NegInfinity => out.push(NEG_INFINITY),
            Numeric::Infinity => out.push(INFINITY),
            Numeric::NaN => out.push(NAN),
            Numeric::Finite { mantissa, scale } => match mantissa.sign() {
                Sign::NoSign => out.push(ZERO),
                Sign::Plus => {
                    out.push(POSITIVE);
                    push_magnitude(mantissa.magnitude(), *scale, out);
                }
                Sign::Minus => {
                    out.push(NEGATIVE);
                    let start = out.len();
                    push_magnitude(mantissa.magnitude(), *scale, out);
                    out[start..].iter_mut().for_each(|b| *b = !*b);
                }
            },
        }
        out.extend_from_slice(&self.scale().to_be_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Numeric> {
        let (body, scale) = bytes.split_last_chunk::<2>()?;
        let scale = u16::from_be_bytes(*scale);
        let (class, body) = body.split_first()?;
        Some(match *class {
            NEG_INFINITY => Numeric::NegInfinity,
            INFINITY => Numeric::Infinity,
            NAN => Numeric::NaN,
            ZERO => Numeric::new(BigInt::zero(), scale),
            POSITIVE => Numeric::new(pull_magnitude(body, 0, scale)?, scale),
            NEGATIVE => Numeric::new(-pull_magnitude(body, 0xff, scale)?, scale),
            _ => return None,
        })
    }
}

fn push_magnitude(magnitude: &BigUint, scale: u16, out: &mut Vec<u8>) {
    // Align the point to a group of four digits.
    let pad = (4 - u32::from(scale) % 4) % 4;
    let fraction_groups = (i32::from(scale) + pad as i32) / 4;
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    let groups = match magnitude.to_u128().and_then(|m| m.checked_mul(10u128.pow(pad))) {
        Some(value) => push_small(value, out),
        None => push_big(&(magnitude * pow10(pad).magnitude()), out),
    };
    let exponent = (groups - fraction_groups - 1 + EXPONENT_BIAS) as u16;
    out[start..start + 2].copy_from_slice(&exponent.to_be_bytes());
    while out.last() == Some(&1) {
        out.pop();
    }
    out.push(0);
}

/// Base-100 digits of a number, two for each group of four decimal digits; returns the number of groups.
fn push_small(mut value: u128, out: &mut Vec<u8>) -> i32 {
    let mut groups = [0u16; 10];
    let mut count = 0;
    while value > 0 && count < groups.len() {
        groups[count] = (value % 10_000) as u16;
        value /= 10_000;
        count += 1;
    }
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&[(group / 100) as u8 + 1, (group % 100) as u8 + 1]);
    }
    count as i32
}

fn push_big(value: &BigUint, out: &mut Vec<u8>) -> i32 {
    let mut pairs = value.to_radix_be(100);
    if pairs.len() % 2 == 1 {
        pairs.insert(0, 0);
    }
    out.extend(pairs.iter().map(|p| p + 1));
    (pairs.len() / 2) as i32
}

fn pull_magnitude(body: &[u8], mask: u8, scale: u16) -> Option<BigInt> {
    let (exponent, digits) = body.split_first_chunk::<2>()?;
    let exponent = i32::from(u16::from_be_bytes(exponent.map(|b| b ^ mask))) - EXPONENT_BIAS;
    let (_, digits) = digits.split_last()?;
    let power = 4 * (exponent + 1) - 2 * digits.len() as i32 + i32::from(scale);
    if digits.len() <= 18 {
        let mut value: u128 = 0;
        for digit in digits {
            value = value * 100 + u128::from((digit ^ mask).checked_sub(1)?);
        }
        if power <= 0 {
            return Some(BigInt::from(value / 10u128.checked_pow(power.unsigned_abs())?));
        }
        let scaled = 10u128.checked_pow(power as u32).and_then(|p| value.checked_mul(p));
        return Some(match scaled {
            Some(scaled) => BigInt::from(scaled),
            None => BigInt::from(value) * pow10(power as u32),
        });
    }
    let pairs: Option<Vec<u8>> = digits.iter().map(|d| (d ^ mask).checked_sub(1)).collect();
    let value = BigInt::from(BigUint::from_radix_be(&pairs?, 100)?);
    Some(if power < 0 { value / pow10(power.unsigned_abs()) } else { value * pow10(power as u32) })
}
