//! Arithmetic of coordinates: checked as float8's is, compared with a tolerance; slopes, lines, distances of points.
//!
//! Invariant: no result is an infinity, or zero by underflow, that its operands do not explain (22003).

use super::compare::compare_floats;
use super::geometry::{Line, Lseg, Point};
use crate::error::{Error, Result, SqlState};

/// Coordinates nearer than this are the same.
const EPSILON: f64 = 1.0e-6;

pub fn is_zero(a: f64) -> bool {
    a.abs() <= EPSILON
}

pub fn near(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= EPSILON
}

pub fn less(a: f64, b: f64) -> bool {
    a + EPSILON < b
}

pub fn at_most(a: f64, b: f64) -> bool {
    a <= b + EPSILON
}

pub fn greater(a: f64, b: f64) -> bool {
    a > b + EPSILON
}

pub fn at_least(a: f64, b: f64) -> bool {
    a + EPSILON >= b
}

/// Without tolerance, NaN above all.
pub fn exactly_less(a: f64, b: f64) -> bool {
    compare_floats(a, b).is_lt()
}

pub fn smaller(a: f64, b: f64) -> f64 {
    if compare_floats(a, b).is_lt() { a } else { b }
}

pub fn larger(a: f64, b: f64) -> f64 {
    if compare_floats(a, b).is_gt() { a } else { b }
}

fn checked(value: f64, may_be_infinite: bool, may_be_zero: bool) -> Result<f64> {
    if value.is_infinite() && !may_be_infinite {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
    }
    if value == 0.0 && !may_be_zero {
        return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: underflow"));
    }
    Ok(if value.is_nan() { f64::NAN } else { value })
}

pub fn sum(a: f64, b: f64) -> Result<f64> {
    checked(a + b, a.is_infinite() || b.is_infinite(), true)
}

pub fn difference(a: f64, b: f64) -> Result<f64> {
    checked(a - b, a.is_infinite() || b.is_infinite(), true)
}

pub fn product(a: f64, b: f64) -> Result<f64> {
    checked(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0)
}

pub fn quotient(a: f64, b: f64) -> Result<f64> {
    if b == 0.0 && !a.is_nan() {
        return Err(Error::new(SqlState::DivisionByZero, "division by zero"));
    }
    checked(a / b, a.is_infinite(), a == 0.0 || b.is_infinite())
}

/// `sqrt(x² + y²)` that overflows only if the result does.
pub fn hypotenuse(x: f64, y: f64) -> Result<f64> {
    if x.is_infinite() || y.is_infinite() {
        return Ok(f64::INFINITY);
    }
    if x.is_nan() || y.is_nan() {
        return Ok(f64::NAN);
    }
    let (x, y) = (x.abs(), y.abs());
    let (x, y) = if x < y { (y, x) } else { (x, y) };
    if y == 0.0 {
        return Ok(x);
    }
    let ratio = y / x;
    checked(x * (1.0 + ratio * ratio).sqrt(), false, false)
}

pub fn same_point(a: Point, b: Point) -> bool {
    if a.x.is_nan() || a.y.is_nan() || b.x.is_nan() || b.y.is_nan() {
        return compare_floats(a.x, b.x).is_eq() && compare_floats(a.y, b.y).is_eq();
    }
    near(a.x, b.x) && near(a.y, b.y)
}

pub fn distance(a: Point, b: Point) -> Result<f64> {
    hypotenuse(difference(a.x, b.x)?, difference(a.y, b.y)?)
}

/// Slope of the line through two points, infinite for a vertical one and for one point.
pub fn slope(a: Point, b: Point) -> Result<f64> {
    if near(a.x, b.x) {
        return Ok(f64::INFINITY);
    }
    if near(a.y, b.y) {
        return Ok(0.0);
    }
    quotient(difference(a.y, b.y)?, difference(a.x, b.x)?)
}

/// Slope of the lines that stand on it.
pub fn inverse_slope(a: Point, b: Point) -> Result<f64> {
    if near(a.x, b.x) {
        return Ok(0.0);
    }
    if near(a.y, b.y) {
        return Ok(f64::INFINITY);
    }
    quotient(difference(a.x, b.x)?, difference(b.y, a.y)?)
}

pub fn line_of(point: Point, slope: f64) -> Result<Line> {
    if slope.is_infinite() {
        return Ok(Line { a: -1.0, b: 0.0, c: point.x });
    }
    if slope == 0.0 {
        return Ok(Line { a: 0.0, b: -1.0, c: point.y });
    }
    let c = difference(point.y, product(slope, point.x)?)?;
    Ok(Line { a: slope, b: -1.0, c: if c == 0.0 { 0.0 } else { c } })
}

/// The line through two points.
pub fn line_through(a: Point, b: Point) -> Result<Line> {
    line_of(a, slope(a, b)?)
}

pub fn lseg_line(segment: Lseg) -> Result<Line> {
    line_through(segment.0, segment.1)
}
