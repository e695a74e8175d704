//! Intervals: output in PostgreSQL's four styles, type modifiers, and order. Input is in [`super::interval_in`].

use std::io::Write;

use super::Interval;
use super::text::IntervalStyle;
use crate::error::{Error, Result, SqlState};

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
pub const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

impl Interval {
    pub fn new(months: i32, days: i32, micros: i64) -> Self {
        Interval { months, days, micros }
    }

    /// What intervals are compared by: a month has 30 days, a day 24 hours.
    pub fn comparison_micros(&self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
    }
}

pub fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "interval out of range")
}

/// Bits of an interval's type modifier above 16: which fields it has.
pub(super) mod range {
    /// Any.
    pub const FULL: i32 = 0x7fff;
    pub const MONTH: i32 = 1 << 1;
    pub const YEAR: i32 = 1 << 2;
    pub const DAY: i32 = 1 << 3;
    pub const HOUR: i32 = 1 << 10;
    pub const MINUTE: i32 = 1 << 11;
    pub const SECOND: i32 = 1 << 12;
}

pub(super) fn range_of(typmod: i32) -> i32 {
    if typmod < 0 { range::FULL } else { (typmod >> 16) & range::FULL }
}

/// Cuts an interval to the fields and the precision of its type (`interval year to month`, `interval(3)`); 22008 where
/// rounding leaves the range.
pub fn adjust(value: Interval, typmod: i32) -> Result<Interval> {
    let fields = range_of(typmod);
    let mut value = value;
    if typmod < 0 {
        return Ok(value);
    }
    if fields != range::FULL {
        let cut = |micros: i64, unit: i64| micros / unit * unit;
        if fields & (range::DAY | range::HOUR | range::MINUTE | range::SECOND) == 0 {
            (value.days, value.micros) = (0, 0);
            if fields == range::YEAR {
                value.months = value.months / 12 * 12;
            }
        } else if fields & range::SECOND != 0 {
        } else if fields & range::MINUTE != 0 {
            value.micros = cut(value.micros, MICROS_PER_MINUTE);
        } else if fields & range::HOUR != 0 {
            value.micros = cut(value.micros, MICROS_PER_HOUR);
        } else {
            value.micros = 0;
        }
    }
    let precision = typmod & 0xffff;
    if (0..6).contains(&precision) && value.micros.unsigned_abs() > i64::MAX as u64 - 500_000 {
        return Err(out_of_range());
    }
    value.micros = super::datetime::round_micros(value.micros, precision);
    Ok(value)
}

/// Calendar fields of an interval, each with its own sign.
struct Parts {
    years: i32,
    months: i32,
    days: i32,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

fn parts(value: &Interval) -> Parts {
    let micros = value.micros;
    Parts {
        years: value.months / 12,
        months: value.months % 12,
        days: value.days,
        hours: micros / MICROS_PER_HOUR,
        minutes: micros / MICROS_PER_MINUTE % 60,
        seconds: micros / MICROS_PER_SECOND % 60,
        micros: micros % MICROS_PER_SECOND,
    }
}

/// `.123` without trailing zeros, or nothing.
fn write_fraction(micros: i64, out: &mut Vec<u8>) {
    if micros != 0 {
        let digits = format!("{:06}", micros.abs());
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

pub fn write(value: &Interval, style: IntervalStyle, out: &mut Vec<u8>) {
    match style {
        IntervalStyle::Postgres => write_postgres(&parts(value), out),
        IntervalStyle::PostgresVerbose => write_verbose(&parts(value), out),
        IntervalStyle::Iso8601 => write_iso8601(&parts(value), out),
        IntervalStyle::SqlStandard => write_sql(value, out),
    }
}

fn write_postgres(p: &Parts, out: &mut Vec<u8>) {
    let mut first = true;
    let mut before_negative = false;
    for (value, unit) in [(p.years, "year"), (p.months, "mon"), (p.days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if first { "" } else { " " };
        let plus = if before_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        before_negative = value < 0;
        first = false;
    }
    if first || p.hours != 0 || p.minutes != 0 || p.seconds != 0 || p.micros != 0 {
        let negative = p.hours < 0 || p.minutes < 0 || p.seconds < 0 || p.micros < 0;
        let space = if first { "" } else { " " };
        let sign = match (negative, before_negative) {
            (true, _) => "-",
            (false, true) => "+",
            _ => "",
        };
        let _ = write!(out, "{space}{sign}{:02}:{:02}:{:02}", p.hours.abs(), p.minutes.abs(), p.seconds.abs());
        write_fraction(p.micros, out);
    }
}

fn write_verbose(p: &Parts, out: &mut Vec<u8>) {
    out.push(b'@');
    let mut zero = true;
    let mut ago = false;
    let fields = [
        (i64::from(p.years), "year"),
        (i64::from(p.months), "mon"),
        (i64::from(p.days), "day"),
        (p.hours, "hour"),
        (p.minutes, "min"),
    ];
    for (value, unit) in fields {
        if value == 0 {
            continue;
        }
        if zero {
            ago = value < 0;
        }
        let shown = if ago { -value } else { value };
        let plural = if shown == 1 { "" } else { "s" };
        let _ = write!(out, " {shown} {unit}{plural}");
        zero = false;
    }
    if p.seconds != 0 || p.micros != 0 {
        let negative = p.seconds < 0 || p.micros < 0;
        if zero {
            ago = negative;
        }
        let sign = if negative != ago { "-" } else { "" };
        let _ = write!(out, " {sign}{}", p.seconds.abs());
        write_fraction(p.micros, out);
        let one = p.seconds.abs() == 1 && p.micros == 0;
        out.extend_from_slice(if one { b" sec" } else { b" secs" });
        zero = false;
    }
    if zero {
        out.extend_from_slice(b" 0");
    }
    if ago {
        out.extend_from_slice(b" ago");
    }
}

fn write_iso8601(p: &Parts, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'P');
    for (value, unit) in [(p.years, 'Y'), (p.months, 'M'), (p.days, 'D')] {
        if value != 0 {
            let _ = write!(out, "{value}{unit}");
        }
    }
    if p.hours != 0 || p.minutes != 0 || p.seconds != 0 || p.micros != 0 {
        out.push(b'T');
    }
    for (value, unit) in [(p.hours, 'H'), (p.minutes, 'M')] {
        if value != 0 {
            let _ = write!(out, "{value}{unit}");
        }
    }
    if p.seconds != 0 || p.micros != 0 {
        let sign = if p.seconds < 0 || p.micros < 0 { "-" } else { "" };
        let _ = write!(out, "{sign}{}", p.seconds.abs());
        write_fraction(p.micros, out);
        out.push(b'S');
    }
    if out.len() == start + 1 {
        out.extend_from_slice(b"T0S");
    }
}

fn write_sql(value: &Interval, out: &mut Vec<u8>) {
    let p = parts(value);
    let signs = [i64::from(value.months).signum(), i64::from(value.days).signum(), value.micros.signum()];
    let has_negative = signs.contains(&-1);
    let has_positive = signs.contains(&1);
    let has_year_month = value.months != 0;
    let has_day_time = value.days != 0 || value.micros != 0;
    let has_day = value.days != 0;
    let mixed = (has_negative && has_positive) || (has_year_month && has_day_time);
    if !has_negative && !has_positive {
        out.push(b'0');
    } else if mixed {
        let sign = |negative: bool| if negative { '-' } else { '+' };
        let _ = write!(
            out,
            "{}{}-{} {}{} {}{}:{:02}:{:02}",
            sign(value.months < 0),
            p.years.abs(),
            p.months.abs(),
            sign(value.days < 0),
            p.days.unsigned_abs(),
            sign(value.micros < 0),
            p.hours.abs(),
            p.minutes.abs(),
            p.seconds.abs()
        );
        write_fraction(p.micros, out);
    } else {
        if has_negative {
            out.push(b'-');
        }
        if has_year_month {
            let _ = write!(out, "{}-{}", p.years.abs(), p.months.abs());
        } else {
            if has_day {
                let _ = write!(out, "{} ", p.days.unsigned_abs());
            }
            let _ = write!(out, "{}:{:02}:{:02}", p.hours.abs(), p.minutes.abs(), p.seconds.abs());
            write_fraction(p.micros, out);
        }
    }
}
