//! PostgreSQL's numeric: exact decimals of any size, NaN and the infinities, with a display scale.
//!
//! Invariants:
//! 1. `Finite` is `mantissa * 10^-scale`; the scale is also what is displayed (PostgreSQL's dscale), at most 16383.
//! 2. Equality, order, hash and [`Numeric::key`] ignore the display scale; `NaN` equals itself and is greatest.
//! 3. Every arithmetic result has the display scale that PostgreSQL gives it (numeric.c, `select_div_scale` and kin).
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | the value, conversions, order, precision and scale |
//! | [`codec`] | bytes that sort like the numbers |
//! | [`arithmetic`] | + - * / % and rounding |
//! | [`functions`] | sqrt, exp, ln, log, power |

mod arithmetic;
mod codec;
mod functions;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result, SqlState};

pub use arithmetic::pow10;

/// Most digits behind the point that a value can carry (NUMERIC_DSCALE_MAX).
pub const DISPLAY_SCALE_MAX: i64 = 16383;
/// Most digits before the point (131072 in PostgreSQL's manual).
const INTEGER_DIGITS_MAX: u64 = 131_072;

/// Exponents of input are below it.
const EXPONENT_MAX: u64 = i32::MAX as u64 / 2;

pub(crate) fn overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
}

/// A numeric value. `Finite` is `mantissa * 10^-scale`; `scale` is also what is displayed (dscale).
#[derive(Debug, Clone)]
pub enum Numeric {
    NegInfinity,
    Finite { mantissa: BigInt, scale: u16 },
    Infinity,
    NaN,
}

impl Numeric {
    pub fn new(mantissa: BigInt, scale: u16) -> Self {
        Numeric::Finite { mantissa, scale }
    }

    pub fn zero() -> Self {
        Numeric::new(BigInt::zero(), 0)
    }

    /// What PostgreSQL's numeric_in reads; the error is its 22P02.
    pub fn parse(text: &str) -> Result<Numeric> {
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        parse_finite(trimmed).or_else(|| Some(Ok(parse_special(trimmed)?))).unwrap_or_else(|| {
            Err(Error::new(
                SqlState::InvalidTextRepresentation,
                format!("invalid input syntax for type numeric: \"{text}\""),
            ))
        })
    }

    /// A decimal of Arrow: `value * 10^-scale`.
    pub fn from_i128(value: i128, scale: i8) -> Self {
        if scale < 0 {
            let factor = pow10(u32::from(scale.unsigned_abs()));
            return Numeric::new(BigInt::from(value) * factor, 0);
        }
        Numeric::new(BigInt::from(value), scale as u16)
    }

    /// The value as an Arrow decimal of this scale, rounded; `None` for NaN, the infinities and more than 38 digits.
    pub fn to_i128(&self, scale: i8) -> Option<i128> {
        let Numeric::Finite { mantissa, scale: own } = self else {
            return None;
        };
        if i32::from(*own) == i32::from(scale) {
            return mantissa.to_i128().filter(|v| v.unsigned_abs() < 10u128.pow(38));
        }
        let Numeric::Finite { mantissa, .. } = self.round(i64::from(scale)) else {
            return None;
        };
        let value = if scale < 0 { mantissa / pow10(u32::from(scale.unsigned_abs())) } else { mantissa };
        value.to_i128().filter(|v| v.unsigned_abs() < 10u128.pow(38))
    }

    pub fn is_nan(&self) -> bool {
        matches!(self, Numeric::NaN)
    }

    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Finite { .. })
    }

    pub fn is_zero(&self) -> bool {
        matches!(self, Numeric::Finite { mantissa, .. } if mantissa.is_zero())
    }

    /// -1, 0 or 1; NaN counts as 1.
    pub fn signum(&self) -> i32 {
        match self {
            Numeric::NegInfinity => -1,
            Numeric::Finite { mantissa, .. } => match mantissa.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
            Numeric::Infinity | Numeric::NaN => 1,
        }
    }

    /// Digits displayed behind the point.
    pub fn scale(&self) -> u16 {
        match self {
            Numeric::Finite { scale, .. } => *scale,
            _ => 0,
        }
    }

    /// Nearest float; values beyond its range become infinite.
    pub fn to_f64(&self) -> f64 {
        match self {
            Numeric::NegInfinity => f64::NEG_INFINITY,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NaN => f64::NAN,
            Numeric::Finite { .. } => f64::from_str(&self.to_string()).unwrap_or(f64::NAN),
        }
    }

    /// float8 → numeric as PostgreSQL does it: 15 significant digits.
    pub fn from_f64(value: f64) -> Numeric {
        Self::from_float(value, 15)
    }

    /// float4 → numeric: 6 significant digits.
    pub fn from_f32(value: f32) -> Numeric {
        Self::from_float(f64::from(value), 6)
    }

    fn from_float(value: f64, digits: usize) -> Numeric {
        if value.is_nan() {
            return Numeric::NaN;
        }
        if value.is_infinite() {
            return if value > 0.0 { Numeric::Infinity } else { Numeric::NegInfinity };
        }
        // "%.*g": that many significant digits, trailing zeros dropped.
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        Numeric::parse(&format!("{mantissa}e{exponent}")).unwrap_or(Numeric::NaN)
    }

    /// Rounds to an integer of at most 64 bits; `None` if it is not finite or does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        match self.round(0) {
            Numeric::Finite { mantissa, .. } => mantissa.to_i64(),
            _ => None,
        }
    }

    /// Enforces `numeric(precision, scale)`: rounds, then 22003 if the integer part has too many digits.
    pub fn enforce(&self, precision: u16, scale: i16) -> Result<Numeric> {
        let overflow =
            |detail: String| Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow").detail(detail);
        match self {
            Numeric::NaN => return Ok(Numeric::NaN),
            Numeric::Infinity | Numeric::NegInfinity => {
                return Err(overflow(format!(
                    "A field with precision {precision}, scale {scale} cannot hold an infinite value."
                )));
            }
            Numeric::Finite { .. } => {}
        }
        let rounded = self.round(i64::from(scale));
        let Numeric::Finite { mantissa, scale: shown } = &rounded else {
            return Ok(rounded);
        };
        let integer_digits = i32::from(precision) - i32::from(scale);
        // |value| < 10^(precision - scale)
        let limit = i32::from(*shown) + integer_digits;
        let fits = mantissa.is_zero() || (limit >= 0 && mantissa.abs() < pow10(limit.unsigned_abs()));
        if fits {
            return Ok(rounded);
        }
        Err(overflow(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than {}{}.",
            if integer_digits == 0 { "1" } else { "10^" },
            if integer_digits == 0 { String::new() } else { integer_digits.to_string() },
        )))
    }

    /// The value unless it has more digits before the point than PostgreSQL's numeric holds (22003).
    pub fn in_format(self) -> Result<Numeric> {
        if let Numeric::Finite { mantissa, scale } = &self {
            let digits = INTEGER_DIGITS_MAX + u64::from(*scale);
            // 2^(3 n) is less than 10^n.
            if mantissa.bits() > digits * 3 && mantissa.magnitude() >= pow10(digits as u32).magnitude() {
                return Err(overflow());
            }
        }
        Ok(self)
    }

    /// Drops trailing zeros behind the point (`trim_scale`).
    pub fn trim_scale(&self) -> Numeric {
        match self {
            Numeric::Finite { mantissa, .. } if mantissa.is_zero() => Numeric::zero(),
            Numeric::Finite { mantissa, scale: 0 } => Numeric::new(mantissa.clone(), 0),
            Numeric::Finite { mantissa, scale } => {
                let digits = mantissa.magnitude().to_string();
                let zeros = (digits.len() - digits.trim_end_matches('0').len()).min(usize::from(*scale)) as u16;
                Numeric::new(mantissa / pow10(zeros.into()), scale - zeros)
            }
            other => other.clone(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Numeric::NegInfinity => 0,
            Numeric::Finite { .. } => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        }
    }
}

/// Sign, digits, point, exponent; `None` if the text is none of it.
fn parse_finite(text: &str) -> Option<Result<Numeric>> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (number, exponent) = match body.find(['e', 'E']) {
        Some(at) => {
            let exponent = &body[at + 1..];
            let digits = exponent.trim_start_matches(['+', '-']);
            let valid =
                !digits.is_empty() && exponent.len() - digits.len() <= 1 && digits.bytes().all(|b| b.is_ascii_digit());
            if !valid {
                return None;
            }
            (&body[..at], exponent.parse::<i64>().ok().filter(|e| e.unsigned_abs() < EXPONENT_MAX))
        }
        None => (body, Some(0)),
    };
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits_only = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (integer.is_empty() && fraction.is_empty()) || !digits_only(integer) || !digits_only(fraction) {
        return None;
    }
    let overflow = || Err(overflow());
    let Some(exponent) = exponent else {
        return Some(overflow());
    };
    let mut digits = String::with_capacity(integer.len() + fraction.len());
    digits.push_str(integer);
    digits.push_str(fraction);
    let significant = digits.trim_start_matches('0').len() as i64;
    if significant > 0 && significant - fraction.len() as i64 + exponent > INTEGER_DIGITS_MAX as i64 {
        return Some(overflow());
    }
    let mantissa = BigInt::parse_bytes(digits.as_bytes(), 10)?;
    let mantissa = if negative { -mantissa } else { mantissa };
    let scale = fraction.len() as i64 - exponent;
    if scale > DISPLAY_SCALE_MAX {
        return Some(overflow());
    }
    if scale < 0 {
        if mantissa.is_zero() {
            return Some(Ok(Numeric::zero()));
        }
        return Some(Ok(Numeric::new(mantissa * pow10((-scale) as u32), 0)));
    }
    Some(Ok(Numeric::new(mantissa, scale as u16)))
}

fn parse_special(text: &str) -> Option<Numeric> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "nan" => Some(Numeric::NaN),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(Numeric::Infinity),
        "-infinity" | "-inf" => Some(Numeric::NegInfinity),
        _ => None,
    }
}

impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Numeric::NegInfinity => f.write_str("-Infinity"),
            Numeric::Infinity => f.write_str("Infinity"),
            Numeric::NaN => f.write_str("NaN"),
            Numeric::Finite { mantissa, scale: 0 } => write!(f, "{mantissa}"),
            Numeric::Finite { mantissa, scale } => {
                let scale = usize::from(*scale);
                let digits = mantissa.magnitude().to_string();
                if mantissa.is_negative() {
                    f.write_str("-")?;
                }
                if digits.len() > scale {
                    let (integer, fraction) = digits.split_at(digits.len() - scale);
                    write!(f, "{integer}.{fraction}")
                } else {
                    write!(f, "0.{digits:0>scale$}")
                }
            }
        }
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Numeric::Finite { mantissa: a, scale: s }, Numeric::Finite { mantissa: b, scale: t }) => match s.cmp(t) {
                Ordering::Equal => a.cmp(b),
                Ordering::Less => (a * pow10(u32::from(t - s))).cmp(b),
                Ordering::Greater => a.cmp(&(b * pow10(u32::from(s - t)))),
            },
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => { $(impl From<$integer> for Numeric {
        fn from(value: $integer) -> Self { Numeric::new(BigInt::from(value), 0) }
    })* };
}
from_integer!(i16, i32, i64, i128, u32, u64);

impl Serialize for Numeric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Numeric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Numeric::decode(&bytes).ok_or_else(|| serde::de::Error::custom("bad numeric bytes"))
    }
}
