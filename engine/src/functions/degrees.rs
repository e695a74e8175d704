//! Trigonometry in degrees: exact at multiples of 30, 45 and 60 degrees, as PostgreSQL's float.c makes it.

use super::args::row;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn out_of_range() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "input is out of range")
}

/// sin of 0 to 30 degrees, exactly one half at 30.
fn sin_to_30(x: f64) -> f64 {
    radians(x).sin() / radians(30.0).sin() / 2.0
}

/// cos of 0 to 60 degrees, exactly one half at 60.
fn cos_to_60(x: f64) -> f64 {
    let one_minus = |x: f64| 1.0 - radians(x).cos();
    1.0 - one_minus(x) / one_minus(60.0) / 2.0
}

/// sin of 0 to 90 degrees.
fn sin_q1(x: f64) -> f64 {
    if x <= 30.0 { sin_to_30(x) } else { cos_to_60(90.0 - x) }
}

/// cos of 0 to 90 degrees.
fn cos_q1(x: f64) -> f64 {
    if x <= 60.0 { cos_to_60(x) } else { sin_to_30(90.0 - x) }
}

/// An angle brought to 0..=90 degrees: what is left, whether the sine and whether the cosine change their sign.
fn first_quadrant(angle: f64) -> (f64, bool, bool) {
    let (mut x, mut sine, mut cosine) = (angle % 360.0, false, false);
    if x < 0.0 {
        (x, sine) = (-x, !sine);
    }
    if x > 180.0 {
        (x, sine) = (360.0 - x, !sine);
    }
    if x > 90.0 {
        (x, cosine) = (180.0 - x, !cosine);
    }
    (x, sine, cosine)
}

fn signed(value: f64, negative: bool) -> f64 {
    if negative { -value } else { value }
}

fn periodic(angle: f64, function: fn(f64) -> f64) -> Result<Datum> {
    match angle {
        x if x.is_nan() => Ok(Datum::Float8(f64::NAN)),
        x if x.is_infinite() => Err(out_of_range()),
        x => Ok(Datum::Float8(function(x))),
    }
}

fn sind(angle: f64) -> f64 {
    let (x, sine, _) = first_quadrant(angle);
    signed(sin_q1(x), sine)
}

fn cosd(angle: f64) -> f64 {
    let (x, _, cosine) = first_quadrant(angle);
    signed(cos_q1(x), cosine)
}

fn tand(angle: f64) -> f64 {
    let (x, sine, cosine) = first_quadrant(angle);
    let result = signed((sin_q1(x) / cos_q1(x)) / (sin_q1(45.0) / cos_q1(45.0)), sine != cosine);
    // No negative zero.
    if result == 0.0 { 0.0 } else { result }
}

fn cotd(angle: f64) -> f64 {
    let (x, sine, cosine) = first_quadrant(angle);
    let result = signed((cos_q1(x) / sin_q1(x)) / (cos_q1(45.0) / sin_q1(45.0)), sine != cosine);
    if result == 0.0 { 0.0 } else { result }
}

fn asin_q1(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / 0.5f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5f64.acos() * 60.0 }
}

fn acos_q1(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - x.asin() / 0.5f64.asin() * 30.0 } else { x.acos() / 0.5f64.acos() * 60.0 }
}

fn inverse(value: f64, function: fn(f64) -> f64) -> Result<Datum> {
    match value {
        x if x.is_nan() => Ok(Datum::Float8(f64::NAN)),
        x if !(-1.0..=1.0).contains(&x) => Err(out_of_range()),
        x => Ok(Datum::Float8(function(x))),
    }
}

fn atand(value: f64) -> f64 {
    value.atan() / 1f64.atan() * 45.0
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("dsind", row!(|v: float8| periodic(v, sind))),
        ("dcosd", row!(|v: float8| periodic(v, cosd))),
        ("dtand", row!(|v: float8| periodic(v, tand))),
        ("dcotd", row!(|v: float8| periodic(v, cotd))),
        ("dasind", row!(|v: float8| inverse(v, |x| signed(asin_q1(x.abs()), x < 0.0)))),
        ("dacosd", row!(|v: float8| inverse(v, |x| if x >= 0.0 { acos_q1(x) } else { 90.0 + asin_q1(-x) }))),
        ("datand", row!(|v: float8| Ok(Datum::Float8(atand(v))))),
        ("datan2d", row!(|y: float8, x: float8| Ok(Datum::Float8(y.atan2(x) / 1f64.atan() * 45.0)))),
    ]);
}
