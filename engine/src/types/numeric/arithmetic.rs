//! Addition to remainder, and rounding, with PostgreSQL's result scales.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::{DISPLAY_SCALE_MAX, Numeric};
use crate::error::{Error, Result, SqlState};

/// Significant digits that a quotient or root has at least (NUMERIC_MIN_SIG_DIGITS).
pub(super) const SIGNIFICANT_DIGITS_MIN: i64 = 16;
/// Most digits behind the point of a quotient or root (NUMERIC_MAX_DISPLAY_SCALE).
pub(super) const RESULT_SCALE_MAX: i64 = 1000;

/// 10^n.
pub fn pow10(n: u32) -> BigInt {
    match 10u128.checked_pow(n) {
        Some(power) => BigInt::from(power),
        None => BigInt::from(10).pow(n),
    }
}

/// Quotient rounded half away from zero. The divisor is positive or negative, not zero.
pub(super) fn divide_rounding(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let (quotient, remainder) = dividend.div_rem(divisor);
    if (remainder.abs() << 1u8) >= divisor.abs() {
        let away: i8 = if (dividend.sign() == Sign::Minus) == (divisor.sign() == Sign::Minus) { 1 } else { -1 };
        quotient + away
    } else {
        quotient
    }
}

/// Index of the first base-10000 digit that is not zero (0: units), and that digit; (0, 0) for zero.
pub(super) fn leading_group(mantissa: &BigInt, scale: u16) -> (i64, i64) {
    if mantissa.is_zero() {
        return (0, 0);
    }
    let digits = mantissa.magnitude().to_string();
    // Decimal position of the leading digit: 0 is the units' place.
    let position = digits.len() as i64 - 1 - i64::from(scale);
    let weight = position.div_euclid(4);
    let width = (position.rem_euclid(4) + 1) as usize;
    let group: i64 = if digits.len() >= width {
        digits[..width].parse().unwrap_or(0)
    } else {
        let shown: i64 = digits.parse().unwrap_or(0);
        shown * 10i64.pow((width - digits.len()) as u32)
    };
    (weight, group)
}

/// Display scale of a quotient (numeric.c, `select_div_scale`).
fn division_scale(a: (&BigInt, u16), b: (&BigInt, u16)) -> i64 {
    let (weight_a, group_a) = leading_group(a.0, a.1);
    let (weight_b, group_b) = leading_group(b.0, b.1);
    let weight = weight_a - weight_b - i64::from(group_a <= group_b);
    (SIGNIFICANT_DIGITS_MIN - weight * 4).max(i64::from(a.1)).max(i64::from(b.1)).clamp(0, RESULT_SCALE_MAX)
}

fn aligned(a: (&BigInt, u16), b: (&BigInt, u16)) -> (BigInt, BigInt, u16) {
    let scale = a.1.max(b.1);
    let widen = |(m, s): (&BigInt, u16)| {
        if s == scale { m.clone() } else { m * pow10(u32::from(scale - s)) }
    };
    (widen(a), widen(b), scale)
}

pub(super) fn division_by_zero() -> Error {
    Error::new(SqlState::DivisionByZero, "division by zero")
}

impl Numeric {
    pub fn negate(&self) -> Numeric {
        match self {
            Numeric::NegInfinity => Numeric::Infinity,
            Numeric::Infinity => Numeric::NegInfinity,
            Numeric::NaN => Numeric::NaN,
            Numeric::Finite { mantissa, scale } => Numeric::new(-mantissa, *scale),
        }
    }

    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.negate() } else { self.clone() }
    }

    fn infinity(sign: i32) -> Numeric {
        match sign {
            0 => Numeric::NaN,
            1.. => Numeric::Infinity,
            _ => Numeric::NegInfinity,
        }
    }

    pub fn add(&self, other: &Numeric) -> Numeric {
        use Numeric::*;
        match (self, other) {
            (Finite { mantissa: a, scale: s }, Finite { mantissa: b, scale: t }) => {
                let (a, b, scale) = aligned((a, *s), (b, *t));
                Numeric::new(a + b, scale)
            }
            (NaN, _) | (_, NaN) | (Infinity, NegInfinity) | (NegInfinity, Infinity) => NaN,
            (Finite { .. }, infinite) | (infinite, _) => infinite.clone(),
        }
    }

    pub fn sub(&self, other: &Numeric) -> Numeric {
        self.add(&other.negate())
    }

    pub fn mul(&self, other: &Numeric) -> Numeric {
        use Numeric::*;
        match (self, other) {
            (Finite { mantissa: a, scale: s }, Finite { mantissa: b, scale: t }) => {
                let scale = i64::from(*s) + i64::from(*t);
                let product = a * b;
                if scale > DISPLAY_SCALE_MAX {
                    let excess = (scale - DISPLAY_SCALE_MAX) as u32;
                    return Numeric::new(divide_rounding(&product, &pow10(excess)), DISPLAY_SCALE_MAX as u16);
                }
                Numeric::new(product, scale as u16)
            }
            (NaN, _) | (_, NaN) => NaN,
            (a, b) => Self::infinity(a.signum() * b.signum()),
        }
    }

    /// 22012 for a divisor of zero.
    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        use Numeric::*;
        match (self, other) {
            (Finite { mantissa: a, scale: s }, Finite { mantissa: b, scale: t }) => {
                if b.is_zero() {
                    return Err(division_by_zero());
                }
                let scale = division_scale((a, *s), (b, *t));
                Ok(Numeric::new(quotient((a, *s), (b, *t), scale), scale as u16))
            }
            (NaN, _) | (_, NaN) => Ok(NaN),
            (Finite { .. }, _) => Ok(Numeric::zero()),
            (_, Finite { .. }) if other.is_zero() => Err(division_by_zero()),
            (a, Finite { .. }) => Ok(Self::infinity(a.signum() * other.signum())),
            _ => Ok(NaN),
        }
    }

    /// Quotient rounded to a given scale (22012 for zero); both finite, else NaN.
    pub fn div_scaled(&self, other: &Numeric, scale: u16) -> Result<Numeric> {
        let (Numeric::Finite { mantissa: a, scale: s }, Numeric::Finite { mantissa: b, scale: t }) = (self, other)
        else {
            return Ok(Numeric::NaN);
        };
        if b.is_zero() {
            return Err(division_by_zero());
        }
        Ok(Numeric::new(quotient((a, *s), (b, *t), i64::from(scale)), scale))
    }

    /// Quotient truncated to an integer (`div(a, b)`).
    pub fn div_truncated(&self, other: &Numeric) -> Result<Numeric> {
        use Numeric::*;
        match (self, other) {
            (Finite { mantissa: a, scale: s }, Finite { mantissa: b, scale: t }) => {
                if b.is_zero() {
                    return Err(division_by_zero());
                }
                let (a, b, _) = aligned((a, *s), (b, *t));
                Ok(Numeric::new(a / b, 0))
            }
            _ => self.div(other),
        }
    }

    /// Remainder with the dividend's sign (22012 for a divisor of zero).
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        use Numeric::*;
        match (self, other) {
            (Finite { mantissa: a, scale: s }, Finite { mantissa: b, scale: t }) => {
                if b.is_zero() {
                    return Err(division_by_zero());
                }
                let (a, b, scale) = aligned((a, *s), (b, *t));
                Ok(Numeric::new(a % b, scale))
            }
            (NaN, _) | (_, NaN) => Ok(NaN),
            (Finite { .. }, _) => Ok(self.clone()),
            (_, Finite { .. }) if other.is_zero() => Err(division_by_zero()),
            _ => Ok(NaN),
        }
    }

    /// Rounds half away from zero to `scale` digits behind the point (negative: before it).
    pub fn round(&self, scale: i64) -> Numeric {
        self.rescale(scale, divide_rounding)
    }

    /// Cuts towards zero at `scale` digits behind the point (negative: before it).
    pub fn trunc(&self, scale: i64) -> Numeric {
        self.rescale(scale, |a, b| a / b)
    }

    pub fn floor(&self) -> Numeric {
        self.rescale(0, |a, b| a.div_floor(b))
    }

    pub fn ceil(&self) -> Numeric {
        self.rescale(0, |a, b| -((-a).div_floor(b)))
    }

    fn rescale(&self, scale: i64, divide: fn(&BigInt, &BigInt) -> BigInt) -> Numeric {
        let Numeric::Finite { mantissa, scale: own } = self else {
            return self.clone();
        };
        let own = i64::from(*own);
        let wanted = scale.clamp(-200_000, DISPLAY_SCALE_MAX);
        if wanted >= own {
            let shown = wanted as u16;
            return Numeric::new(mantissa * pow10((wanted - own) as u32), shown);
        }
        let cut = divide(mantissa, &pow10((own - wanted) as u32));
        if wanted < 0 {
            return Numeric::new(cut * pow10((-wanted) as u32), 0);
        }
        Numeric::new(cut, wanted as u16)
    }

    /// The value as an integer if it has no fraction and fits.
    pub(super) fn exact_i64(&self) -> Option<i64> {
        match self.trim_scale() {
            Numeric::Finite { mantissa, scale: 0 } => mantissa.to_i64(),
            _ => None,
        }
    }
}

fn quotient(a: (&BigInt, u16), b: (&BigInt, u16), scale: i64) -> BigInt {
    let shift = scale + i64::from(b.1) - i64::from(a.1);
    if shift >= 0 {
        divide_rounding(&(a.0 * pow10(shift as u32)), b.0)
    } else {
        divide_rounding(a.0, &(b.0 * pow10((-shift) as u32)))
    }
}
