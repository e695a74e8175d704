//! + - * / % and their kin on integers, floats and numerics: checked, 22003 on overflow and 22012 on division by zero.

use super::args::row;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::numeric::Numeric;

pub(super) fn overflow(type_name: &str) -> Error {
    Error::new(SqlState::NumericValueOutOfRange, format!("{type_name} out of range"))
}

pub(super) fn division_by_zero() -> Error {
    Error::new(SqlState::DivisionByZero, "division by zero")
}

/// Result of a float operation: infinite or zero where the inputs were not is 22003.
pub(super) fn checked_f64(value: f64, infinite_inputs: bool, zero_allowed: bool) -> Result<Datum> {
    if value.is_infinite() && !infinite_inputs {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
    }
    if value == 0.0 && !zero_allowed {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: underflow"));
    }
    // One NaN: what the processor makes of inf - inf has its sign set and would sort first.
    Ok(Datum::Float8(if value.is_nan() { f64::NAN } else { value }))
}

fn checked_f32(value: f32, infinite_inputs: bool, zero_allowed: bool) -> Result<Datum> {
    checked_f64(f64::from(value), infinite_inputs, zero_allowed).map(|_| Datum::Float4(value))
}

pub(super) fn float_add(a: f64, b: f64) -> Result<Datum> {
    checked_f64(a + b, a.is_infinite() || b.is_infinite(), true)
}

pub(super) fn float_sub(a: f64, b: f64) -> Result<Datum> {
    checked_f64(a - b, a.is_infinite() || b.is_infinite(), true)
}

pub(super) fn float_mul(a: f64, b: f64) -> Result<Datum> {
    checked_f64(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0)
}

pub(super) fn float_div(a: f64, b: f64) -> Result<Datum> {
    if b == 0.0 && !a.is_nan() {
        return Err(division_by_zero());
    }
    checked_f64(a / b, a.is_infinite() || b.is_infinite(), a == 0.0 || b.is_infinite())
}

macro_rules! integer_family {
    ($implementations:ident, $take:ident, $wide:ident, $ty:ty, $name:literal,
     $pl:literal $mi:literal $mul:literal $div:literal $rem:literal $um:literal $up:literal $abs:literal
     $and:literal $or:literal $xor:literal $not:literal $shl:literal $shr:literal) => {
        $implementations.scalars(&[
            ($pl, row!(|a: $take, b: $take| a.checked_add(b).map(Datum::from).ok_or_else(|| overflow($name)))),
            ($mi, row!(|a: $take, b: $take| a.checked_sub(b).map(Datum::from).ok_or_else(|| overflow($name)))),
            ($mul, row!(|a: $take, b: $take| a.checked_mul(b).map(Datum::from).ok_or_else(|| overflow($name)))),
            (
                $div,
                row!(|a: $take, b: $take| {
                    if b == 0 {
                        return Err(division_by_zero());
                    }
                    a.checked_div(b).map(Datum::from).ok_or_else(|| overflow($name))
                }),
            ),
            (
                $rem,
                row!(|a: $take, b: $take| {
                    if b == 0 {
                        return Err(division_by_zero());
                    }
                    Ok(Datum::from(a.wrapping_rem(b)))
                }),
            ),
            ($um, row!(|a: $take| a.checked_neg().map(Datum::from).ok_or_else(|| overflow($name)))),
            ($up, row!(|a: $take| Ok(Datum::from(a)))),
            ($abs, row!(|a: $take| a.checked_abs().map(Datum::from).ok_or_else(|| overflow($name)))),
            ($and, row!(|a: $take, b: $take| Ok(Datum::from(a & b)))),
            ($or, row!(|a: $take, b: $take| Ok(Datum::from(a | b)))),
            ($xor, row!(|a: $take, b: $take| Ok(Datum::from(a ^ b)))),
            ($not, row!(|a: $take| Ok(Datum::from(!a)))),
            // C's shifts on this hardware: the count is taken modulo the width (of int, for smallint).
            ($shl, row!(|a: $take, n: int4| Ok(Datum::from(($wide::from(a)).wrapping_shl(n as u32) as $ty)))),
            ($shr, row!(|a: $take, n: int4| Ok(Datum::from(($wide::from(a)).wrapping_shr(n as u32) as $ty)))),
        ]);
    };
}

/// Operators between integers of different width: computed in the wider one.
macro_rules! mixed_integers {
    ($implementations:ident, $a:ident, $b:ident, $wide:ident, $name:literal, $pl:literal $mi:literal $mul:literal $div:literal) => {
        $implementations.scalars(&[
            (
                $pl,
                row!(|a: $a, b: $b| $wide::from(a)
                    .checked_add($wide::from(b))
                    .map(Datum::from)
                    .ok_or_else(|| overflow($name))),
            ),
            (
                $mi,
                row!(|a: $a, b: $b| $wide::from(a)
                    .checked_sub($wide::from(b))
                    .map(Datum::from)
                    .ok_or_else(|| overflow($name))),
            ),
            (
                $mul,
                row!(|a: $a, b: $b| $wide::from(a)
                    .checked_mul($wide::from(b))
                    .map(Datum::from)
                    .ok_or_else(|| overflow($name))),
            ),
            (
                $div,
                row!(|a: $a, b: $b| {
                    if b == 0 {
                        return Err(division_by_zero());
                    }
                    $wide::from(a).checked_div($wide::from(b)).map(Datum::from).ok_or_else(|| overflow($name))
                }),
            ),
        ]);
    };
}

pub(super) fn register(implementations: &mut Implementations) {
    let i = implementations;
    integer_family!(i, int2, i32, i16, "smallint", "int2pl" "int2mi" "int2mul" "int2div" "int2mod" "int2um" "int2up" "int2abs"
        "int2and" "int2or" "int2xor" "int2not" "int2shl" "int2shr");
    integer_family!(i, int4, i32, i32, "integer", "int4pl" "int4mi" "int4mul" "int4div" "int4mod" "int4um" "int4up" "int4abs"
        "int4and" "int4or" "int4xor" "int4not" "int4shl" "int4shr");
    integer_family!(i, int8, i64, i64, "bigint", "int8pl" "int8mi" "int8mul" "int8div" "int8mod" "int8um" "int8up" "int8abs"
        "int8and" "int8or" "int8xor" "int8not" "int8shl" "int8shr");
    mixed_integers!(i, int2, int4, i32, "integer", "int24pl" "int24mi" "int24mul" "int24div");
    mixed_integers!(i, int4, int2, i32, "integer", "int42pl" "int42mi" "int42mul" "int42div");
    mixed_integers!(i, int2, int8, i64, "bigint", "int28pl" "int28mi" "int28mul" "int28div");
    mixed_integers!(i, int8, int2, i64, "bigint", "int82pl" "int82mi" "int82mul" "int82div");
    mixed_integers!(i, int4, int8, i64, "bigint", "int48pl" "int48mi" "int48mul" "int48div");
    mixed_integers!(i, int8, int4, i64, "bigint", "int84pl" "int84mi" "int84mul" "int84div");
    i.scalars(&[
        ("float8pl", row!(|a: float8, b: float8| float_add(a, b))),
        ("float8mi", row!(|a: float8, b: float8| float_sub(a, b))),
        ("float8mul", row!(|a: float8, b: float8| float_mul(a, b))),
        ("float8div", row!(|a: float8, b: float8| float_div(a, b))),
        ("float48pl", row!(|a: float4, b: float8| float_add(f64::from(a), b))),
        ("float48mi", row!(|a: float4, b: float8| float_sub(f64::from(a), b))),
        ("float48mul", row!(|a: float4, b: float8| float_mul(f64::from(a), b))),
        ("float48div", row!(|a: float4, b: float8| float_div(f64::from(a), b))),
        ("float84pl", row!(|a: float8, b: float4| float_add(a, f64::from(b)))),
        ("float84mi", row!(|a: float8, b: float4| float_sub(a, f64::from(b)))),
        ("float84mul", row!(|a: float8, b: float4| float_mul(a, f64::from(b)))),
        ("float84div", row!(|a: float8, b: float4| float_div(a, f64::from(b)))),
        ("float4pl", row!(|a: float4, b: float4| checked_f32(a + b, a.is_infinite() || b.is_infinite(), true))),
        ("float4mi", row!(|a: float4, b: float4| checked_f32(a - b, a.is_infinite() || b.is_infinite(), true))),
        (
            "float4mul",
            row!(|a: float4, b: float4| {
                checked_f32(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0)
            }),
        ),
        (
            "float4div",
            row!(|a: float4, b: float4| {
                if b == 0.0 && !a.is_nan() {
                    return Err(division_by_zero());
                }
                checked_f32(a / b, a.is_infinite() || b.is_infinite(), a == 0.0 || b.is_infinite())
            }),
        ),
        ("float4um", row!(|a: float4| Ok(Datum::Float4(-a)))),
        ("float8um", row!(|a: float8| Ok(Datum::Float8(-a)))),
        ("float4up", row!(|a: float4| Ok(Datum::Float4(a)))),
        ("float8up", row!(|a: float8| Ok(Datum::Float8(a)))),
        ("float4abs", row!(|a: float4| Ok(Datum::Float4(a.abs())))),
        ("float8abs", row!(|a: float8| Ok(Datum::Float8(a.abs())))),
        ("numeric_add", row!(|a: numeric, b: numeric| a.add(b).in_format().map(Datum::from))),
        ("numeric_sub", row!(|a: numeric, b: numeric| a.sub(b).in_format().map(Datum::from))),
        ("numeric_mul", row!(|a: numeric, b: numeric| a.mul(b).in_format().map(Datum::from))),
        ("numeric_div", row!(|a: numeric, b: numeric| a.div(b)?.in_format().map(Datum::from))),
        ("numeric_mod", row!(|a: numeric, b: numeric| a.rem(b).map(Datum::from))),
        ("numeric_div_trunc", row!(|a: numeric, b: numeric| a.div_truncated(b)?.in_format().map(Datum::from))),
        ("numeric_power", row!(|a: numeric, b: numeric| a.power(b).map(Datum::from))),
        ("numeric_uminus", row!(|a: numeric| Ok(Datum::from(a.negate())))),
        ("numeric_uplus", row!(|a: numeric| Ok(Datum::from(a.clone())))),
        ("numeric_abs", row!(|a: numeric| Ok(Datum::from(a.abs())))),
        ("numeric_inc", row!(|a: numeric| a.add(&Numeric::from(1i32)).in_format().map(Datum::from))),
        (
            "pg_lsn_mi",
            row!(|a: int8, b: int8| Ok(Datum::from(Numeric::from(i128::from(a as u64) - i128::from(b as u64))))),
        ),
        ("pg_lsn_pli", row!(|a: int8, b: numeric| lsn_add(a, b, "cannot add NaN to pg_lsn"))),
        ("pg_lsn_mii", row!(|a: int8, b: numeric| lsn_add(a, &b.negate(), "cannot subtract NaN from pg_lsn"))),
        ("#5023", row!(|b: numeric, a: int8| lsn_add(a, b, "cannot add NaN to pg_lsn"))),
    ]);
}

fn lsn_add(lsn: i64, bytes: &Numeric, of_nan: &str) -> Result<Datum> {
    if bytes.is_nan() {
        return Err(Error::new(SqlState::FeatureNotSupported, of_nan));
    }
    if !bytes.is_finite() {
        return Err(Error::new(SqlState::FeatureNotSupported, "cannot convert infinity to pg_lsn"));
    }
    // Added as numerics, rounded then.
    let sum = Numeric::from(lsn as u64).add(bytes).to_i128(0).and_then(|s| u64::try_from(s).ok());
    sum.map(|s| Datum::Int8(s as i64)).ok_or_else(|| Error::new(SqlState::InvalidParameterValue, "pg_lsn out of range"))
}
