//! Transition and final functions of PostgreSQL's own aggregates that users' aggregates are made of (int8.c, numeric.c, float.c).

use super::args::{self, row};
use super::arithmetic::overflow;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::numeric::Numeric;

fn counted(value: i64, by: i64) -> Result<Datum> {
    value.checked_add(by).map(Datum::Int8).ok_or_else(|| overflow("bigint"))
}

/// A count and a sum, and what is added to the sum.
fn average(args: &[Datum], sign: i64) -> Result<Datum> {
    let added = match args.get(1) {
        Some(Datum::Int2(v)) => i64::from(*v),
        other => i64::from(args::int4(other)?),
    };
    let (count, sum) = count_and_sum(args)?;
    Ok(Datum::from(vec![Datum::Int8(count.wrapping_add(sign)), Datum::Int8(sum.wrapping_add(sign * added))]))
}

fn count_and_sum(args: &[Datum]) -> Result<(i64, i64)> {
    match &***args::array(args.first())? {
        [Datum::Int8(count), Datum::Int8(sum)] => Ok((*count, *sum)),
        _ => Err(Error::new(SqlState::InvalidParameterValue, "expected 2-element int8 array")),
    }
}

/// A sum that is NULL until a value comes.
fn sum(args: &[Datum]) -> Result<Datum> {
    let added = match args.get(1) {
        Some(Datum::Null) => return Ok(args.first().cloned().unwrap_or(Datum::Null)),
        Some(Datum::Int2(v)) => i64::from(*v),
        other => i64::from(args::int4(other)?),
    };
    match args.first() {
        Some(Datum::Int8(sum)) => Ok(Datum::Int8(sum.wrapping_add(added))),
        _ => Ok(Datum::Int8(added)),
    }
}

fn moments(args: &[Datum]) -> Result<[f64; 3]> {
    match &***args::array(args.first())? {
        [Datum::Float8(n), Datum::Float8(sx), Datum::Float8(sxx)] => Ok([*n, *sx, *sxx]),
        _ => Err(Error::new(SqlState::InvalidParameterValue, "float8_accum: expected 3-element float8 array")),
    }
}

/// Number, sum and sum of squared deviations, by Youngs and Cramer.
fn accumulate(args: &[Datum], value: f64) -> Result<Datum> {
    let [before, old_sum, mut squares] = moments(args)?;
    let (n, sum) = (before + 1.0, old_sum + value);
    if before > 0.0 {
        let deviation = value * n - sum;
        squares += deviation * deviation / (n * before);
        if sum.is_infinite() || squares.is_infinite() {
            if !old_sum.is_infinite() && !value.is_infinite() {
                return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
            }
            squares = f64::NAN;
        }
    } else if !value.is_finite() {
        squares = f64::NAN;
    }
    Ok(Datum::from(vec![Datum::Float8(n), Datum::Float8(sum), Datum::Float8(squares)]))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("int8inc", row!(|n: int8| counted(n, 1))),
        ("int8inc_any", row!(|n: int8| counted(n, 1))),
        ("int8dec", row!(|n: int8| counted(n, -1))),
        ("int8dec_any", row!(|n: int8| counted(n, -1))),
        ("int2_avg_accum", |_, args| average(args, 1)),
        ("int4_avg_accum", |_, args| average(args, 1)),
        ("int2_avg_accum_inv", |_, args| average(args, -1)),
        ("int4_avg_accum_inv", |_, args| average(args, -1)),
        ("int2_sum", |_, args| sum(args)),
        ("int4_sum", |_, args| sum(args)),
        ("int8_avg", |_, args| match count_and_sum(args)? {
            (0, _) => Ok(Datum::Null),
            (count, sum) => Numeric::from(sum).div(&Numeric::from(count)).map(Datum::from),
        }),
        ("int2int4_sum", |_, args| match count_and_sum(args)? {
            (0, _) => Ok(Datum::Null),
            (_, sum) => Ok(Datum::Int8(sum)),
        }),
        ("booland_statefunc", row!(|a: boolean, b: boolean| Ok(Datum::Bool(a && b)))),
        ("boolor_statefunc", row!(|a: boolean, b: boolean| Ok(Datum::Bool(a || b)))),
        ("float4_accum", |_, args| accumulate(args, args::float4(args.get(1))?.into())),
        ("float8_accum", |_, args| accumulate(args, args::float8(args.get(1))?)),
        ("float8_avg", |_, args| match moments(args)? {
            [0.0, ..] => Ok(Datum::Null),
            [n, sum, _] => Ok(Datum::Float8(sum / n)),
        }),
    ]);
}
