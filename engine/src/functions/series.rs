//! generate_series.

use super::args;
use super::comparison::{local, zoned};
use super::datetime::{add_interval, infinite};
use super::registry::Implementations;
use super::strings::invalid_parameter;
use super::{Call, EvalContext, Rows};
use crate::error::Result;
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

fn zero_step() -> crate::Error {
    invalid_parameter("step size cannot equal zero")
}

/// Integers from `start` to `stop`, ending at the range of the type.
fn integers(start: i64, stop: i64, step: i64, wrap: fn(i64) -> Datum) -> Result<Rows> {
    if step == 0 {
        return Err(zero_step());
    }
    let inside = move |v: &i64| if step > 0 { *v <= stop } else { *v >= stop };
    let series = std::iter::successors(Some(start).filter(inside), move |v| v.checked_add(step).filter(inside));
    Ok(Box::new(series.map(move |v| Ok(vec![wrap(v)]))))
}

fn int4(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let step = if args.len() > 2 { args::int4(args.get(2))? } else { 1 };
    integers(args::int4(args.first())?.into(), args::int4(args.get(1))?.into(), step.into(), |v| Datum::Int4(v as i32))
}

fn int8(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let step = if args.len() > 2 { args::int8(args.get(2))? } else { 1 };
    integers(args::int8(args.first())?, args::int8(args.get(1))?, step, Datum::Int8)
}

fn numeric(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let (start, stop) = (args::numeric(args.first())?.clone(), args::numeric(args.get(1))?.clone());
    let step = if args.len() > 2 { args::numeric(args.get(2))?.clone() } else { Numeric::from(1i32) };
    for (value, what) in [(&start, "start"), (&stop, "stop"), (&step, "step")] {
        let name = if what == "step" { "step size" } else { what };
        let value_name = if what == "step" { name.to_string() } else { format!("{name} value") };
        if value.is_nan() {
            return Err(invalid_parameter(format!("{value_name} cannot be NaN")));
        }
        if !value.is_finite() {
            return Err(invalid_parameter(format!("{value_name} cannot be infinity")));
        }
    }
    if step.is_zero() {
        return Err(zero_step());
    }
    let inside = {
        let upwards = step.signum() > 0;
        move |v: &Numeric| if upwards { *v <= stop } else { *v >= stop }
    };
    let first = Some(start).filter(|v| inside(v));
    let series = std::iter::successors(first, move |v| Some(v.add(&step)).filter(|v| inside(v)));
    Ok(Box::new(series.map(|v| Ok(vec![Datum::from(v)]))))
}

/// Sign of an interval by its comparison value.
fn direction(step: &Interval) -> Result<bool> {
    match step.comparison_micros() {
        0 => Err(zero_step()),
        positive => Ok(positive > 0),
    }
}

fn timestamps(
    args: &[Datum],
    add: impl Fn(i64, &Interval) -> Result<i64> + Send + 'static,
    wrap: fn(i64) -> Datum,
) -> Result<Rows> {
    let (start, stop, step) =
        (args::timestamp(args.first())?, args::timestamp(args.get(1))?, args::interval(args.get(2))?);
    let upwards = direction(&step)?;
    let inside = move |v: i64| if upwards { v <= stop } else { v >= stop };
    let mut next = Some(start);
    Ok(Box::new(std::iter::from_fn(move || {
        let value = next.take().filter(|v| inside(*v))?;
        match add(value, &step) {
            Ok(following) if !infinite(value) => next = Some(following),
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(vec![wrap(value)]))
    })))
}

fn timestamp(_: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    timestamps(args, add_interval, Datum::Timestamp)
}

fn timestamptz(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let context: EvalContext = call.context.clone();
    let add = move |utc: i64, step: &Interval| {
        let calendar = Interval::new(step.months, step.days, 0);
        let moved = zoned(add_interval(local(utc, &context), &calendar)?, &context);
        add_interval(moved, &Interval::new(0, 0, step.micros))
    };
    timestamps(args, add, Datum::Timestamptz)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.set("generate_series_int4", int4);
    implementations.set("generate_series_step_int4", int4);
    implementations.set("generate_series_int8", int8);
    implementations.set("generate_series_step_int8", int8);
    implementations.set("generate_series_numeric", numeric);
    implementations.set("generate_series_step_numeric", numeric);
    implementations.set("generate_series_timestamp", timestamp);
    implementations.set("generate_series_timestamptz", timestamptz);
}
