//! Mathematical functions on float8 and numeric.

use num_bigint::BigInt;
use num_integer::Integer;

use super::args::row;
use super::arithmetic::{checked_f64, overflow};
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::Numeric;
use crate::types::{Datum, compare};

const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// The square inside overflows for large numbers.
fn asinh(value: f64) -> f64 {
    if value.is_finite() && value.abs() > 1e150 {
        return (value.abs().ln() + std::f64::consts::LN_2).copysign(value);
    }
    value.asinh()
}

fn out_of_range_input() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "input is out of range")
}

/// A float function whose result must be finite for a finite input.
fn float(value: f64, result: f64, zero_allowed: bool) -> Result<Datum> {
    checked_f64(result, value.is_infinite(), zero_allowed)
}

/// A function with a bounded domain.
fn bounded(value: f64, low: f64, high: f64, function: fn(f64) -> f64) -> Result<Datum> {
    if value.is_nan() {
        return Ok(Datum::Float8(f64::NAN));
    }
    if value < low || value > high {
        return Err(out_of_range_input());
    }
    Ok(Datum::Float8(function(value)))
}

fn periodic(value: f64, function: fn(f64) -> f64) -> Result<Datum> {
    if value.is_nan() {
        return Ok(Datum::Float8(f64::NAN));
    }
    if value.is_infinite() {
        return Err(out_of_range_input());
    }
    Ok(Datum::Float8(function(value)))
}

fn logarithm(value: f64, function: fn(f64) -> f64) -> Result<Datum> {
    let undefined = |message| Err(Error::new(SqlState::InvalidArgumentForLogarithm, message));
    if value == 0.0 {
        return undefined("cannot take logarithm of zero");
    }
    if value < 0.0 {
        return undefined("cannot take logarithm of a negative number");
    }
    float(value, function(value), true)
}

fn power(base: f64, exponent: f64) -> Result<Datum> {
    let undefined = |message| Err(Error::new(SqlState::InvalidArgumentForPowerFunction, message));
    if base.is_nan() || exponent.is_nan() {
        let one = (base.is_nan() && exponent == 0.0) || base == 1.0;
        return Ok(Datum::Float8(if one { 1.0 } else { f64::NAN }));
    }
    if base == 0.0 && exponent < 0.0 {
        return undefined("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return undefined("a negative number raised to a non-integer power yields a complex result");
    }
    let result = base.powf(exponent);
    let infinite = base.is_infinite() || exponent.is_infinite();
    checked_f64(result, infinite, base == 0.0 || infinite)
}

fn root(value: f64) -> Result<Datum> {
    if value < 0.0 {
        return Err(Error::new(
            SqlState::InvalidArgumentForPowerFunction,
            "cannot take square root of a negative number",
        ));
    }
    Ok(Datum::Float8(value.sqrt()))
}

fn factorial(n: i64) -> Result<Datum> {
    if n < 0 {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "factorial of a negative number is undefined"));
    }
    if n > 32_177 {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format"));
    }
    let product = (2..=n).fold(BigInt::from(1), |product, k| product * k);
    Ok(Datum::from(Numeric::new(product, 0)))
}

fn int4_gcd(a: i32, b: i32) -> Result<i32> {
    i32::try_from(i64::from(a).gcd(&i64::from(b))).map_err(|_| overflow("integer"))
}

fn int8_gcd(a: i64, b: i64) -> Result<i64> {
    i64::try_from(i128::from(a).gcd(&i128::from(b))).map_err(|_| overflow("bigint"))
}

/// Both numbers as integers of one scale; `None` unless both are finite.
fn aligned(a: &Numeric, b: &Numeric) -> Option<(BigInt, BigInt, u16)> {
    let scale = a.scale().max(b.scale());
    match (a.round(i64::from(scale)), b.round(i64::from(scale))) {
        (Numeric::Finite { mantissa: a, .. }, Numeric::Finite { mantissa: b, .. }) => Some((a, b, scale)),
        _ => None,
    }
}

/// Bucket from 1 to `count`; 0 below, count + 1 above. `inside` answers how many buckets lie below an operand between the
/// bounds.
fn width_bucket<T: PartialOrd>(
    operand: &T,
    (low, high): (&T, &T),
    count: i32,
    inside: impl Fn() -> Result<i32>,
) -> Result<Datum> {
    if low == high {
        return width_bucket_error("lower bound cannot equal upper bound");
    }
    let ascending = low < high;
    let (before, behind) = if ascending { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
    if before {
        return Ok(Datum::Int4(0));
    }
    if behind {
        return count.checked_add(1).map(Datum::Int4).ok_or_else(|| overflow("integer"));
    }
    // A quotient may round up to one.
    Ok(Datum::Int4(inside()?.clamp(0, count - 1) + 1))
}

fn width_bucket_numeric(operand: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<Datum> {
    if count <= 0 {
        return width_bucket_error("count must be greater than zero");
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return width_bucket_error("operand, lower bound, and upper bound cannot be NaN");
    }
    if !low.is_finite() || !high.is_finite() {
        return width_bucket_error("lower and upper bounds must be finite");
    }
    width_bucket(operand, (low, high), count, || {
        let bucket = operand.sub(low).mul(&Numeric::from(count)).div_truncated(&high.sub(low))?;
        Ok(bucket.to_i64().and_then(|b| i32::try_from(b).ok()).unwrap_or(0))
    })
}

fn width_bucket_float(operand: f64, low: f64, high: f64, count: i32) -> Result<Datum> {
    if count <= 0 {
        return width_bucket_error("count must be greater than zero");
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return width_bucket_error("operand, lower bound, and upper bound cannot be NaN");
    }
    if !low.is_finite() || !high.is_finite() {
        return width_bucket_error("lower and upper bounds must be finite");
    }
    width_bucket(&operand, (&low, &high), count, || {
        let part = if (high - low).is_finite() {
            (operand - low) / (high - low)
        } else {
            (operand / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)
        };
        Ok((f64::from(count) * part) as i32)
    })
}

fn width_bucket_error(message: &str) -> Result<Datum> {
    Err(Error::new(SqlState::InvalidArgumentForWidthBucket, message))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("dsqrt", row!(|v: float8| root(v))),
        ("dcbrt", row!(|v: float8| Ok(Datum::Float8(v.cbrt())))),
        ("dpow", row!(|a: float8, b: float8| power(a, b))),
        ("dexp", row!(|v: float8| float(v, v.exp(), v == f64::NEG_INFINITY))),
        ("dlog1", row!(|v: float8| logarithm(v, f64::ln))),
        ("dlog10", row!(|v: float8| logarithm(v, f64::log10))),
        ("dround", row!(|v: float8| Ok(Datum::Float8(v.round_ties_even())))),
        ("dtrunc", row!(|v: float8| Ok(Datum::Float8(v.trunc())))),
        ("dceil", row!(|v: float8| Ok(Datum::Float8(v.ceil())))),
        ("dfloor", row!(|v: float8| Ok(Datum::Float8(v.floor())))),
        (
            "dsign",
            row!(|v: float8| Ok(Datum::Float8(if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                0.0
            }))),
        ),
        ("dsin", row!(|v: float8| periodic(v, f64::sin))),
        ("dcos", row!(|v: float8| periodic(v, f64::cos))),
        ("dtan", row!(|v: float8| periodic(v, f64::tan))),
        ("dcot", row!(|v: float8| periodic(v, |x| 1.0 / x.tan()))),
        ("dasin", row!(|v: float8| bounded(v, -1.0, 1.0, f64::asin))),
        ("dacos", row!(|v: float8| bounded(v, -1.0, 1.0, f64::acos))),
        ("datan", row!(|v: float8| Ok(Datum::Float8(v.atan())))),
        ("datan2", row!(|a: float8, b: float8| Ok(Datum::Float8(a.atan2(b))))),
        ("dsinh", row!(|v: float8| Ok(Datum::Float8(v.sinh())))),
        ("dcosh", row!(|v: float8| Ok(Datum::Float8(v.cosh())))),
        ("dtanh", row!(|v: float8| Ok(Datum::Float8(v.tanh())))),
        ("dasinh", row!(|v: float8| Ok(Datum::Float8(asinh(v))))),
        ("dacosh", row!(|v: float8| bounded(v, 1.0, f64::INFINITY, f64::acosh))),
        ("datanh", row!(|v: float8| bounded(v, -1.0, 1.0, f64::atanh))),
        ("degrees", row!(|v: float8| float(v, v / RADIANS_PER_DEGREE, true))),
        ("radians", row!(|v: float8| float(v, v * RADIANS_PER_DEGREE, v == 0.0))),
        ("dpi", |_, _| Ok(Datum::Float8(std::f64::consts::PI))),
        ("drandom", |_, _| Ok(Datum::Float8(rand::random::<f64>()))),
        ("gen_random_uuid", |_, _| Ok(Datum::Uuid(*uuid::Uuid::new_v4().as_bytes()))),
        ("numeric_sqrt", row!(|v: numeric| v.sqrt().map(Datum::from))),
        ("numeric_exp", row!(|v: numeric| v.exp().map(Datum::from))),
        ("numeric_ln", row!(|v: numeric| v.ln().map(Datum::from))),
        ("numeric_log", row!(|b: numeric, v: numeric| v.log(b).map(Datum::from))),
        ("#1741", row!(|v: numeric| v.log(&Numeric::from(10i32)).map(Datum::from))),
        ("#1481", row!(|v: numeric| v.log(&Numeric::from(10i32)).map(Datum::from))),
        ("numeric_ceil", row!(|v: numeric| v.ceil().in_format().map(Datum::from))),
        ("numeric_floor", row!(|v: numeric| v.floor().in_format().map(Datum::from))),
        ("numeric_round", row!(|v: numeric, n: int4| v.round(n.into()).in_format().map(Datum::from))),
        ("#1708", row!(|v: numeric| v.round(0).in_format().map(Datum::from))),
        ("numeric_trunc", row!(|v: numeric, n: int4| Ok(Datum::from(v.trunc(n.into()))))),
        ("#1710", row!(|v: numeric| Ok(Datum::from(v.trunc(0))))),
        (
            "numeric_sign",
            row!(|v: numeric| Ok(Datum::from(if v.is_nan() { Numeric::NaN } else { Numeric::from(v.signum()) }))),
        ),
        (
            "numeric_scale",
            row!(|v: numeric| Ok(if v.is_finite() { Datum::Int4(v.scale().into()) } else { Datum::Null })),
        ),
        (
            "numeric_min_scale",
            row!(|v: numeric| {
                Ok(if v.is_finite() { Datum::Int4(v.trim_scale().scale().into()) } else { Datum::Null })
            }),
        ),
        ("numeric_trim_scale", row!(|v: numeric| Ok(Datum::from(v.trim_scale())))),
        ("numeric_fac", row!(|n: int8| factorial(n))),
        ("int4gcd", row!(|a: int4, b: int4| int4_gcd(a, b).map(Datum::Int4))),
        ("int8gcd", row!(|a: int8, b: int8| int8_gcd(a, b).map(Datum::Int8))),
        (
            "int4lcm",
            row!(|a: int4, b: int4| {
                i32::try_from(i64::from(a).lcm(&i64::from(b))).map(Datum::Int4).map_err(|_| overflow("integer"))
            }),
        ),
        (
            "int8lcm",
            row!(|a: int8, b: int8| {
                i64::try_from(i128::from(a).lcm(&i128::from(b))).map(Datum::Int8).map_err(|_| overflow("bigint"))
            }),
        ),
        (
            "numeric_gcd",
            row!(|a: numeric, b: numeric| {
                Ok(Datum::from(aligned(a, b).map_or(Numeric::NaN, |(a, b, scale)| Numeric::new(a.gcd(&b), scale))))
            }),
        ),
        (
            "numeric_lcm",
            row!(|a: numeric, b: numeric| {
                aligned(a, b)
                    .map_or(Numeric::NaN, |(a, b, scale)| Numeric::new(a.lcm(&b), scale))
                    .in_format()
                    .map(Datum::from)
            }),
        ),
        ("width_bucket_numeric", row!(|v: numeric, l: numeric, h: numeric, n: int4| width_bucket_numeric(v, l, h, n))),
        ("width_bucket_float8", row!(|v: float8, l: float8, h: float8, n: int4| width_bucket_float(v, l, h, n))),
        ("width_bucket_array", |call, args| {
            let (Some(value), Some(Datum::Array(bounds))) = (args.first(), args.get(1)) else { return Ok(Datum::Null) };
            let ty = call.types.first().copied().unwrap_or(call.ret);
            if bounds.dims().len() > 1 {
                return Err(Error::new(SqlState::ArraySubscriptError, "thresholds must be one-dimensional array"));
            }
            if bounds.iter().any(Datum::is_null) {
                return Err(Error::new(SqlState::NullValueNotAllowed, "thresholds array must not contain NULLs"));
            }
            let at = bounds.partition_point(|bound| compare::compare(bound, value, ty).is_le());
            Ok(Datum::Int4(at as i32))
        }),
    ]);
}
