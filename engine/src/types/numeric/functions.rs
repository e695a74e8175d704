//! Roots, exponentials, logarithms and powers, to the scales of PostgreSQL's numeric.c.
//!
//! Values are computed in fixed point with guard digits and rounded once at the end.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::arithmetic::{RESULT_SCALE_MAX, SIGNIFICANT_DIGITS_MIN, divide_rounding, leading_group};
use super::{Numeric, overflow, pow10};
use crate::error::{Error, Result, SqlState};

const GUARD_DIGITS: u32 = 12;

/// Exponents of e beyond which the result overflows or vanishes (numeric.c, NUMERIC_MAX_RESULT_SCALE * 3).
const EXP_MAX: f64 = 6000.0;
/// Decimal weight beyond which a power surely overflows, and below which it vanishes.
const POWER_WEIGHT_MAX: f64 = 131_080.0;
const POWER_WEIGHT_MIN: f64 = -2000.0;

impl Numeric {
    /// 2201F for a negative number.
    pub fn sqrt(&self) -> Result<Numeric> {
        let Numeric::Finite { mantissa, scale } = self else {
            return match self {
                Numeric::NegInfinity => Err(negative_root()),
                other => Ok(other.clone()),
            };
        };
        if mantissa.is_negative() {
            return Err(negative_root());
        }
        let weight = leading_group(mantissa, *scale).0;
        let root_weight = if weight >= 0 { weight * 4 / 2 + 1 } else { 1 - (1 - weight * 4) / 2 };
        let result_scale = (SIGNIFICANT_DIGITS_MIN - root_weight).max(i64::from(*scale)).clamp(0, RESULT_SCALE_MAX);
        self.sqrt_scaled(result_scale as u16)
    }

    /// Square root with a given number of digits behind the point (2201F for a negative number).
    pub fn sqrt_scaled(&self, result_scale: u16) -> Result<Numeric> {
        let Numeric::Finite { mantissa, scale } = self else { return self.sqrt() };
        if mantissa.is_negative() {
            return Err(negative_root());
        }
        // One more digit than shown: floor of the root then rounds right, as an exact half needs that digit itself.
        let inner = u32::from(result_scale) + 1;
        let shift = i64::from(2 * inner) - i64::from(*scale);
        let radicand = if shift >= 0 { mantissa * pow10(shift as u32) } else { mantissa / pow10((-shift) as u32) };
        Ok(Numeric::new(divide_rounding(&radicand.sqrt(), &BigInt::from(10)), result_scale))
    }

    pub fn exp(&self) -> Result<Numeric> {
        let scale = match self {
            Numeric::NaN | Numeric::Infinity => return Ok(self.clone()),
            Numeric::NegInfinity => return Ok(Numeric::zero()),
            Numeric::Finite { scale, .. } => i64::from(*scale),
        };
        let weight = (self.to_f64() * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
        let result_scale = (SIGNIFICANT_DIGITS_MIN - weight as i64).max(scale).clamp(0, RESULT_SCALE_MAX);
        self.exp_scaled(result_scale as u32)
    }

    fn exp_scaled(&self, result_scale: u32) -> Result<Numeric> {
        let value = self.to_f64();
        let weight = value * std::f64::consts::LOG10_E;
        if value >= EXP_MAX {
            return Err(overflow());
        }
        if value <= -EXP_MAX || weight < -f64::from(result_scale) - 3.0 {
            return Ok(Numeric::new(BigInt::zero(), result_scale as u16));
        }
        let digits = result_scale + GUARD_DIGITS + weight.max(0.0) as u32;
        let one = pow10(digits);
        let Numeric::Finite { mantissa, .. } = self.round(i64::from(digits)) else {
            return Ok(self.clone());
        };
        // exp(x) = exp(x / 2^halvings) ^ 2^halvings with a small argument for the series.
        let halvings = (value.abs().log2().ceil().max(0.0) as u32) + 12;
        let extra = pow10(halvings / 3 + 4);
        let one = one * &extra;
        let x = (mantissa * &extra) >> halvings;
        let mut term = one.clone();
        let mut sum = one.clone();
        for n in 1u32.. {
            term = &term * &x / &one / n;
            if term.is_zero() {
                break;
            }
            sum += &term;
        }
        for _ in 0..halvings {
            sum = &sum * &sum / &one;
        }
        Ok(Numeric::new(sum, 0).fixed(&one, result_scale))
    }

    /// A fixed-point integer in units of `1 / one`, rounded to `scale` digits.
    fn fixed(&self, one: &BigInt, scale: u32) -> Numeric {
        let Numeric::Finite { mantissa, .. } = self else {
            return self.clone();
        };
        Numeric::new(divide_rounding(&(mantissa * pow10(scale)), one), scale as u16)
    }

    /// Decimal weight of the natural logarithm (numeric.c, `estimate_ln_dweight`).
    fn ln_weight(&self) -> i64 {
        let near_one = *self >= Numeric::new(BigInt::from(9), 1) && *self <= Numeric::new(BigInt::from(11), 1);
        if near_one {
            let Numeric::Finite { mantissa, scale } = self.sub(&Numeric::from(1i32)) else {
                return 0;
            };
            if mantissa.is_zero() {
                return 0;
            }
            let (weight, group) = leading_group(&mantissa, scale);
            return weight * 4 + (group as f64).log10() as i64;
        }
        match self {
            Numeric::Finite { mantissa, scale } if mantissa.is_positive() => {
                (big_ln(mantissa, *scale)).abs().log10() as i64
            }
            _ => 0,
        }
    }

    fn positive_for_logarithm(&self) -> Result<()> {
        let message = match self.signum() {
            _ if self.is_nan() => return Ok(()),
            0 => "cannot take logarithm of zero",
            -1 => "cannot take logarithm of a negative number",
            _ => return Ok(()),
        };
        Err(Error::new(SqlState::InvalidArgumentForLogarithm, message))
    }

    /// 2201E for zero and below.
    pub fn ln(&self) -> Result<Numeric> {
        self.positive_for_logarithm()?;
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let scale = (SIGNIFICANT_DIGITS_MIN - self.ln_weight()).max(i64::from(self.scale())).clamp(0, RESULT_SCALE_MAX);
        Ok(self.ln_scaled(scale as u32))
    }

    /// ln of a positive finite number.
    fn ln_scaled(&self, result_scale: u32) -> Numeric {
        let Numeric::Finite { mantissa, scale } = self else {
            return self.clone();
        };
        // self = m * 10^k with m near 1; ln = ln(m) + k ln(10); ln(m) by roots and the series of atanh.
        let digits = mantissa.magnitude().to_string().len() as i64;
        let k = digits - 1 - i64::from(*scale);
        let near_one = (-1..=0).contains(&k) && (0.5..2.0).contains(&self.to_f64());
        let k = if near_one { 0 } else { k };
        let guard = result_scale + GUARD_DIGITS + 8;
        let one = pow10(guard);
        let shift = i64::from(guard) - i64::from(*scale) - k;
        let m = if shift >= 0 {
            mantissa * pow10(shift as u32)
        } else {
            divide_rounding(mantissa, &pow10((-shift) as u32))
        };
        let mut sum = ln_fixed(&m, &one);
        if k != 0 {
            sum += ln_fixed(&(BigInt::from(10) * &one), &one) * k;
        }
        Numeric::new(sum, 0).fixed(&one, result_scale)
    }

    /// Logarithm to a base (`log(b, x)`).
    pub fn log(&self, base: &Numeric) -> Result<Numeric> {
        if self.is_nan() || base.is_nan() {
            return Ok(Numeric::NaN);
        }
        base.positive_for_logarithm()?;
        self.positive_for_logarithm()?;
        match (self.is_finite(), base.is_finite()) {
            (true, true) => {}
            (false, false) => return Ok(Numeric::NaN),
            (false, true) => return Ok(Numeric::Infinity),
            (true, false) => return Ok(Numeric::zero()),
        }
        let (base_weight, own_weight) = (base.ln_weight(), self.ln_weight());
        let scale = (SIGNIFICANT_DIGITS_MIN - (own_weight - base_weight))
            .max(i64::from(self.scale()))
            .max(i64::from(base.scale()))
            .clamp(0, RESULT_SCALE_MAX);
        let inner = |weight: i64| (scale + 12 - weight.min(0) + own_weight.abs() + base_weight.abs()).max(0) as u32;
        let base_ln = base.ln_scaled(inner(base_weight));
        if base_ln.is_zero() {
            return Err(super::arithmetic::division_by_zero());
        }
        self.ln_scaled(inner(own_weight)).div_scaled(&base_ln, scale as u16)
    }

    /// 2201F where the power has no real value.
    pub fn power(&self, exponent: &Numeric) -> Result<Numeric> {
        let (Numeric::Finite { .. }, Numeric::Finite { .. }) = (self, exponent) else {
            return self.power_special(exponent);
        };
        let undefined = |message: &str| Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
        if self.is_zero() && exponent.signum() < 0 {
            return undefined("zero raised to a negative power is undefined");
        }
        if self.signum() < 0 && exponent.trim_scale().scale() > 0 {
            return undefined("a negative number raised to a non-integer power yields a complex result");
        }
        let result = match exponent.exact_i64().and_then(|e| i32::try_from(e).ok()) {
            Some(integer) => self.power_integer(integer)?,
            None if self.signum() < 0 => {
                // The exponent is an integer beyond 32 bits.
                let power = self.negate().power_fraction(exponent)?;
                if exponent.is_odd() { power.negate() } else { power }
            }
            None => self.power_fraction(exponent)?,
        };
        result.in_format()
    }

    /// Whether it is an odd integer.
    fn is_odd(&self) -> bool {
        matches!(self.trim_scale(), Numeric::Finite { mantissa, scale: 0 } if mantissa.is_odd())
    }

    /// Where a side is NaN or infinite: the rules of POSIX for pow.
    fn power_special(&self, exponent: &Numeric) -> Result<Numeric> {
        let one = Numeric::from(1i32);
        let undefined = |message: &str| Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
        if self.is_nan() || exponent.is_nan() {
            let is_one = if self.is_nan() { exponent.is_zero() } else { *self == one };
            return Ok(if is_one { one } else { Numeric::NaN });
        }
        if self.is_zero() && exponent.signum() < 0 {
            return undefined("zero raised to a negative power is undefined");
        }
        if self.signum() < 0 && exponent.trim_scale().scale() > 0 {
            return undefined("a negative number raised to a non-integer power yields a complex result");
        }
        if *self == one || exponent.is_zero() {
            return Ok(one);
        }
        if self.is_zero() {
            return Ok(Numeric::zero());
        }
        if !exponent.is_finite() {
            let magnitude = self.abs();
            return Ok(match (magnitude.cmp(&one), exponent.signum() > 0) {
                (std::cmp::Ordering::Equal, _) => one,
                (std::cmp::Ordering::Greater, true) | (std::cmp::Ordering::Less, false) => Numeric::Infinity,
                _ => Numeric::zero(),
            });
        }
        // An infinite base and a finite exponent that is not zero.
        Ok(match (exponent.signum() < 0, self.signum() < 0 && exponent.is_odd()) {
            (true, _) => Numeric::zero(),
            (false, true) => Numeric::NegInfinity,
            (false, false) => Numeric::Infinity,
        })
    }

    fn power_integer(&self, exponent: i32) -> Result<Numeric> {
        let Numeric::Finite { mantissa, scale } = self else {
            return Ok(self.clone());
        };
        let weight = if mantissa.is_zero() {
            0.0
        } else {
            f64::from(exponent) * big_ln(&mantissa.abs(), *scale) * std::f64::consts::LOG10_E
        };
        if weight > POWER_WEIGHT_MAX {
            return Err(overflow());
        }
        let result_scale = SIGNIFICANT_DIGITS_MIN.max(i64::from(*scale)).min(RESULT_SCALE_MAX);
        if weight + 1.0 < POWER_WEIGHT_MIN.max(-(result_scale as f64)) {
            return Ok(Numeric::zero().round(result_scale));
        }
        if exponent == 0 {
            return Ok(Numeric::from(1i32).round(result_scale));
        }
        // Its scale would grow with the exponent, and nothing cuts it.
        if mantissa.is_zero() {
            return Ok(Numeric::zero().round(result_scale));
        }
        // Keep as many digits on the way as the result needs, not the exact product of a huge power.
        let keep = result_scale.unsigned_abs() as u32 + GUARD_DIGITS + weight.abs() as u32 + 24;
        let mut result = (BigInt::one(), 0i64);
        let mut square = (mantissa.clone(), -i64::from(*scale));
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                result = shorten((&result.0 * &square.0, result.1 + square.1), keep);
            }
            left >>= 1;
            if left > 0 {
                square = shorten((&square.0 * &square.0, square.1 * 2), keep);
            }
        }
        let value = match (result.1, exponent > 0) {
            (power, true) if power >= 0 => Numeric::new(result.0 * pow10(power as u32), 0).round(result_scale),
            (power, true) => {
                let shift = result_scale + power;
                let rounded = if shift >= 0 {
                    result.0 * pow10(shift as u32)
                } else {
                    divide_rounding(&result.0, &pow10((-shift) as u32))
                };
                Numeric::new(rounded, result_scale as u16)
            }
            (power, false) => {
                // 1 / (r * 10^power) = 10^-power / r
                let shift = result_scale - power;
                let rounded =
                    if shift >= 0 { divide_rounding(&pow10(shift as u32), &result.0) } else { BigInt::zero() };
                Numeric::new(rounded, result_scale as u16)
            }
        };
        Ok(value)
    }

    fn power_fraction(&self, exponent: &Numeric) -> Result<Numeric> {
        let scales = i64::from(self.scale()).max(i64::from(exponent.scale()));
        if self.is_zero() {
            return Ok(Numeric::zero().round(SIGNIFICANT_DIGITS_MIN));
        }
        let rough = (8 - self.ln_weight()).max(0) as u32;
        let estimate = self.ln_scaled(rough).mul(exponent).to_f64();
        if estimate > EXP_MAX * 1.003 {
            return Err(overflow());
        }
        if estimate < -EXP_MAX * 1.003 {
            return Ok(Numeric::new(BigInt::zero(), RESULT_SCALE_MAX as u16));
        }
        let estimate = estimate * std::f64::consts::LOG10_E;
        let result_scale = (SIGNIFICANT_DIGITS_MIN - estimate as i64).max(scales).clamp(0, RESULT_SCALE_MAX) as u32;
        let significant = i64::from(result_scale) + estimate.max(0.0) as i64 + i64::from(GUARD_DIGITS);
        // An exponent beyond float8's range goes with a base of one.
        let magnitude = (exponent.to_f64().abs().log10().max(0.0) as i64).saturating_add(significant);
        let logarithm = self.ln_scaled(magnitude.clamp(0, 4000) as u32);
        logarithm.mul(exponent).exp_scaled(result_scale)
    }
}

/// Cuts a decimal float to about `keep` digits.
fn shorten((mantissa, power): (BigInt, i64), keep: u32) -> (BigInt, i64) {
    let digits = (mantissa.bits() as f64 * std::f64::consts::LOG10_2) as i64;
    let excess = digits - i64::from(keep);
    if excess <= 0 {
        return (mantissa, power);
    }
    (divide_rounding(&mantissa, &pow10(excess as u32)), power + excess)
}

/// ln of a positive fixed-point number, in the same fixed point.
fn ln_fixed(value: &BigInt, one: &BigInt) -> BigInt {
    let mut x = value.clone();
    let mut roots = 0u32;
    let near = one / 64;
    while (&x - one).abs() > near {
        x = (&x * one).sqrt();
        roots += 1;
    }
    // ln x = 2 atanh((x - 1) / (x + 1))
    let z = (&x - one) * one / (&x + one);
    let square = &z * &z / one;
    let mut term = z.clone();
    let mut sum = z;
    for n in (3u32..).step_by(2) {
        term = &term * &square / one;
        if term.is_zero() {
            break;
        }
        sum += &term / n;
    }
    (sum << 1u8) << roots
}

/// ln of `mantissa * 10^-scale` as a float, for numbers of any size.
fn big_ln(mantissa: &BigInt, scale: u16) -> f64 {
    let bits = mantissa.bits();
    let shift = bits.saturating_sub(64);
    let top = (mantissa >> shift).to_f64().unwrap_or(1.0);
    top.ln() + (shift as f64) * std::f64::consts::LN_2 - f64::from(scale) * std::f64::consts::LN_10
}

fn negative_root() -> Error {
    Error::new(SqlState::InvalidArgumentForPowerFunction, "cannot take square root of a negative number")
}
