//! Functions and operators of money.

use super::args::row;
use super::arithmetic::division_by_zero;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::numeric::Numeric;

fn out_of_range() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "money out of range")
}

fn whole(value: Option<i64>) -> Result<Datum> {
    value.map(Datum::Int8).ok_or_else(out_of_range)
}

fn rounded(value: f64) -> Result<Datum> {
    let value = value.round_ties_even();
    if !(-9.223_372_036_854_775e18..9.223_372_036_854_775e18).contains(&value) {
        return Err(out_of_range());
    }
    Ok(Datum::Int8(value as i64))
}

fn divided(a: i64, b: i64) -> Result<Datum> {
    if b == 0 {
        return Err(division_by_zero());
    }
    whole(a.checked_div(b))
}

fn by_float(a: i64, b: f64) -> Result<Datum> {
    if b == 0.0 { Err(division_by_zero()) } else { rounded(a as f64 / b) }
}

fn of_numeric(value: &Numeric) -> Result<Datum> {
    let cents = value.mul(&Numeric::from(100i32)).round(0);
    whole(cents.to_i64())
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("cash_pl", row!(|a: int8, b: int8| whole(a.checked_add(b)))),
        ("cash_mi", row!(|a: int8, b: int8| whole(a.checked_sub(b)))),
        ("cash_mul_int2", row!(|a: int8, b: int2| whole(a.checked_mul(b.into())))),
        ("cash_mul_int4", row!(|a: int8, b: int4| whole(a.checked_mul(b.into())))),
        ("cash_mul_int8", row!(|a: int8, b: int8| whole(a.checked_mul(b)))),
        ("int2_mul_cash", row!(|b: int2, a: int8| whole(a.checked_mul(b.into())))),
        ("int4_mul_cash", row!(|b: int4, a: int8| whole(a.checked_mul(b.into())))),
        ("int8_mul_cash", row!(|b: int8, a: int8| whole(a.checked_mul(b)))),
        ("cash_mul_flt4", row!(|a: int8, b: float4| rounded(a as f64 * f64::from(b)))),
        ("cash_mul_flt8", row!(|a: int8, b: float8| rounded(a as f64 * b))),
        ("flt4_mul_cash", row!(|b: float4, a: int8| rounded(a as f64 * f64::from(b)))),
        ("flt8_mul_cash", row!(|b: float8, a: int8| rounded(a as f64 * b))),
        ("cash_div_int2", row!(|a: int8, b: int2| divided(a, b.into()))),
        ("cash_div_int4", row!(|a: int8, b: int4| divided(a, b.into()))),
        ("cash_div_int8", row!(|a: int8, b: int8| divided(a, b))),
        ("cash_div_flt4", row!(|a: int8, b: float4| by_float(a, f64::from(b)))),
        ("cash_div_flt8", row!(|a: int8, b: float8| by_float(a, b))),
        (
            "cash_div_cash",
            row!(|a: int8, b: int8| {
                if b == 0 { Err(division_by_zero()) } else { Ok(Datum::Float8(a as f64 / b as f64)) }
            }),
        ),
        ("cash_numeric", row!(|a: int8| Ok(Datum::from(Numeric::from_i128(a.into(), 2))))),
        ("numeric_cash", row!(|a: numeric| of_numeric(a))),
        ("int4_cash", row!(|a: int4| whole(i64::from(a).checked_mul(100)))),
        ("int8_cash", row!(|a: int8| whole(a.checked_mul(100)))),
    ]);
}
