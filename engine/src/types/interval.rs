//! Intervals: text input in PostgreSQL's forms, output in its four styles, and their order.

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

/// A field of interval input that no interval can hold.
fn field_overflow(text: &str) -> Error {
    Error::new(SqlState::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\""))
}

pub fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "interval out of range")
}

fn invalid(text: &str) -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, format!("invalid input syntax for type interval: \"{text}\""))
}

/// Sums of each field, with the fractions that spill into smaller ones.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    micros: i128,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsec"
        | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisec"
        | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

impl Sum {
    /// Adds `whole + fraction` of a unit; `fraction` carries the value's sign.
    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Result<()> {
        let months = |sum: &mut Sum, per: i64| -> Result<()> {
            let value = whole.checked_mul(per).ok_or_else(out_of_range)?;
            sum.months = sum.months.checked_add(value).ok_or_else(out_of_range)?;
            sum.months += (fraction * per as f64).round_ties_even() as i64;
            Ok(())
        };
        let micros = |sum: &mut Sum, per: i64| {
            sum.micros += i128::from(whole) * i128::from(per);
            sum.micros += (fraction * per as f64).round_ties_even() as i128;
            Ok(())
        };
        match unit {
            Unit::Microsecond => micros(self, 1),
            Unit::Millisecond => micros(self, 1000),
            Unit::Second => micros(self, MICROS_PER_SECOND),
            Unit::Minute => micros(self, MICROS_PER_MINUTE),
            Unit::Hour => micros(self, MICROS_PER_HOUR),
            Unit::Day => self.add_days(whole, fraction),
            Unit::Week => {
                let whole = whole.checked_mul(7).ok_or_else(out_of_range)?;
                let days = fraction * 7.0;
                self.add_days(whole + days.trunc() as i64, days.fract())
            }
            Unit::Month => {
                self.months = self.months.checked_add(whole).ok_or_else(out_of_range)?;
                let days = fraction * 30.0;
                self.add_days(days.trunc() as i64, days.fract())
            }
            Unit::Year => months(self, 12),
            Unit::Decade => months(self, 120),
            Unit::Century => months(self, 1200),
            Unit::Millennium => months(self, 12000),
        }
    }

    fn add_days(&mut self, whole: i64, fraction: f64) -> Result<()> {
        self.days = self.days.checked_add(whole).ok_or_else(out_of_range)?;
        self.micros += (fraction * MICROS_PER_DAY as f64).round_ties_even() as i128;
        Ok(())
    }

    fn finish(&self) -> Result<Interval> {
        Ok(Interval {
            months: i32::try_from(self.months).map_err(|_| out_of_range())?,
            days: i32::try_from(self.days).map_err(|_| out_of_range())?,
            micros: i64::try_from(self.micros).map_err(|_| out_of_range())?,
        })
    }
}

/// Bits of an interval's type modifier above 16: which fields it has (all set: any).
const FULL_RANGE: i32 = 0x7fff;
const MONTH_BIT: i32 = 1 << 1;
const YEAR_BIT: i32 = 1 << 2;
const DAY_BIT: i32 = 1 << 3;
const HOUR_BIT: i32 = 1 << 10;
const MINUTE_BIT: i32 = 1 << 11;
const SECOND_BIT: i32 = 1 << 12;

fn range_of(typmod: i32) -> i32 {
    if typmod < 0 { FULL_RANGE } else { (typmod >> 16) & FULL_RANGE }
}

/// Unit of a number without one, by the type's last field.
fn default_unit(typmod: i32) -> Unit {
    let range = range_of(typmod);
    if range == FULL_RANGE || range & SECOND_BIT != 0 {
        Unit::Second
    } else if range & MINUTE_BIT != 0 {
        Unit::Minute
    } else if range & HOUR_BIT != 0 {
        Unit::Hour
    } else if range & DAY_BIT != 0 {
        Unit::Day
    } else if range & MONTH_BIT != 0 {
        Unit::Month
    } else if range & YEAR_BIT != 0 {
        Unit::Year
    } else {
        Unit::Second
    }
}

/// Cuts an interval to the fields and the precision of its type (`interval year to month`, `interval(3)`).
pub fn adjust(value: Interval, typmod: i32) -> Interval {
    let range = range_of(typmod);
    let mut value = value;
    if typmod < 0 {
        return value;
    }
    if range != FULL_RANGE {
        let low = range & range.wrapping_neg();
        let cut = |micros: i64, unit: i64| micros / unit * unit;
        if range & (DAY_BIT | HOUR_BIT | MINUTE_BIT | SECOND_BIT) == 0 {
            (value.days, value.micros) = (0, 0);
            if low == YEAR_BIT {
                value.months = value.months / 12 * 12;
            }
        } else if range & SECOND_BIT != 0 {
        } else if range & MINUTE_BIT != 0 {
            value.micros = cut(value.micros, MICROS_PER_MINUTE);
        } else if range & HOUR_BIT != 0 {
            value.micros = cut(value.micros, MICROS_PER_HOUR);
        } else {
            value.micros = 0;
        }
    }
    let precision = typmod & 0xffff;
    value.micros = super::datetime::round_micros(value.micros, precision);
    value
}

/// Reads an interval: units, clock times, `Y-M`, SQL standard and ISO 8601 forms (22007, 22008). The type's modifier
/// gives the unit of a bare number and cuts the result.
pub fn parse(text: &str, typmod: i32) -> Result<Interval> {
    let value = parse_fields(text, default_unit(typmod)).map_err(|error| match error.state() {
        SqlState::DatetimeFieldOverflow => field_overflow(text),
        _ => error,
    })?;
    Ok(adjust(value, typmod))
}

fn parse_fields(text: &str, bare_unit: Unit) -> Result<Interval> {
    let lower = text.trim().to_ascii_lowercase();
    if text.trim_start().starts_with('P') {
        return iso8601(&lower, text);
    }
    let tokens = tokenize(&lower).ok_or_else(|| invalid(text))?;
    if tokens.is_empty() {
        return Err(invalid(text));
    }
    let mut sum = Sum::default();
    let mut ago = false;
    let mut index = 0;
    let mut fields = 0;
    let mut seen = Vec::new();
    while let Some(token) = tokens.get(index) {
        index += 1;
        match token {
            Token::Word("ago") if index == tokens.len() && fields > 0 => ago = true,
            Token::Word("@") if index == 1 => {}
            Token::Word(_) => return Err(invalid(text)),
            Token::Number(number) => {
                let (whole, fraction) = split_number(number).ok_or_else(|| invalid(text))?;
                let unit = match tokens.get(index) {
                    Some(Token::Word(word)) if *word != "ago" => {
                        index += 1;
                        unit(word).ok_or_else(|| invalid(text))?
                    }
                    Some(Token::Clock(_)) => Unit::Day,
                    _ => bare_unit,
                };
                if seen.contains(&unit) {
                    return Err(invalid(text));
                }
                seen.push(unit);
                sum.add(whole, fraction, unit)?;
                fields += 1;
            }
            Token::Clock(clock) => {
                let micros = parse_clock(clock).ok_or_else(|| invalid(text))?;
                sum.micros += micros;
                fields += 1;
            }
            Token::YearMonth(value) => {
                let months = parse_year_month(value).ok_or_else(|| invalid(text))?;
                sum.months = sum.months.checked_add(months).ok_or_else(out_of_range)?;
                fields += 1;
            }
        }
    }
    if fields == 0 {
        return Err(invalid(text));
    }
    let mut result = sum.finish()?;
    if ago {
        result.months = result.months.checked_neg().ok_or_else(out_of_range)?;
        result.days = result.days.checked_neg().ok_or_else(out_of_range)?;
        result.micros = result.micros.checked_neg().ok_or_else(out_of_range)?;
    }
    Ok(result)
}

#[derive(Debug)]
enum Token<'a> {
    Word(&'a str),
    Number(&'a str),
    Clock(&'a str),
    YearMonth(&'a str),
}

fn tokenize(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b',' => at += 1,
            b'@' => {
                at += 1;
                tokens.push(Token::Word("@"));
            }
            b'a'..=b'z' => {
                while at < bytes.len() && bytes[at].is_ascii_lowercase() {
                    at += 1;
                }
                tokens.push(Token::Word(&text[start..at]));
            }
            b'0'..=b'9' | b'.' | b'+' | b'-' => {
                at += 1;
                while at < bytes.len() && (bytes[at].is_ascii_digit() || matches!(bytes[at], b'.' | b':' | b'-')) {
                    at += 1;
                }
                let word = &text[start..at];
                let body = word.trim_start_matches(['+', '-']);
                tokens.push(if body.contains(':') {
                    Token::Clock(word)
                } else if body.contains('-') {
                    Token::YearMonth(word)
                } else {
                    Token::Number(word)
                });
            }
            _ => return None,
        }
    }
    Some(tokens)
}

fn split_number(text: &str) -> Option<(i64, f64)> {
    let negative = text.starts_with('-');
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if body.starts_with(['+', '-']) {
        return None;
    }
    let (integer, fraction) = match body.split_once('.') {
        Some((integer, fraction)) => (integer, format!("0.{fraction}")),
        None => (body, String::from("0")),
    };
    if fraction == "0." && integer.is_empty() {
        return None;
    }
    let whole: i64 = if integer.is_empty() { 0 } else { integer.parse().ok()? };
    let fraction: f64 = fraction.trim_end_matches('.').parse().ok()?;
    Some(if negative { (-whole, -fraction) } else { (whole, fraction) })
}

/// `[-]H:MM[:SS[.f]]` or `M:SS.f` in microseconds.
fn parse_clock(text: &str) -> Option<i128> {
    let negative = text.starts_with('-');
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let parts: Vec<&str> = body.split(':').collect();
    let integer = |s: &str| s.parse::<i64>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
    let (hours, minutes, seconds) = match parts.as_slice() {
        [h, m] if m.contains('.') => (0, integer(h)?, *m),
        [h, m] => (integer(h)?, integer(m)?, "0"),
        [h, m, s] => (integer(h)?, integer(m)?, *s),
        _ => return None,
    };
    if minutes > 59 {
        return None;
    }
    let (whole, fraction) = split_number(seconds)?;
    if whole > 60 || seconds.starts_with(['+', '-']) {
        return None;
    }
    let micros = (i128::from(hours) * 60 + i128::from(minutes)) * 60 * i128::from(MICROS_PER_SECOND)
        + i128::from(whole) * i128::from(MICROS_PER_SECOND)
        + (fraction * 1e6).round_ties_even() as i128;
    Some(if negative { -micros } else { micros })
}

fn parse_year_month(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (years, months) = body.split_once('-')?;
    let (years, months): (i64, i64) = (years.parse().ok()?, months.parse().ok()?);
    if !(0..12).contains(&months) {
        return None;
    }
    let total = years.checked_mul(12)?.checked_add(months)?;
    Some(if negative { -total } else { total })
}

/// `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`, `P1W`.
fn iso8601(lower: &str, text: &str) -> Result<Interval> {
    let mut sum = Sum::default();
    let body = &lower[1..];
    let (date, time) = match body.split_once('t') {
        Some((date, time)) => (date, Some(time)),
        None => (body, None),
    };
    if body.is_empty() {
        return Err(invalid(text));
    }
    let date_parts: Vec<&str> = date.split('-').collect();
    if date_parts.len() == 3 && date_parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit())) {
        for (part, unit) in date_parts.iter().zip([Unit::Year, Unit::Month, Unit::Day]) {
            sum.add(part.parse().map_err(|_| invalid(text))?, 0.0, unit)?;
        }
    } else {
        iso_fields(date, false, &mut sum, text)?;
    }
    match time {
        Some(clock) if clock.contains(':') => sum.micros += parse_clock(clock).ok_or_else(|| invalid(text))?,
        Some(fields) => iso_fields(fields, true, &mut sum, text)?,
        None => {}
    }
    sum.finish()
}

fn iso_fields(fields: &str, time: bool, sum: &mut Sum, text: &str) -> Result<()> {
    let mut rest = fields;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| invalid(text))?;
        let (whole, fraction) = split_number(&rest[..end]).ok_or_else(|| invalid(text))?;
        let unit = match (&rest[end..end + 1], time) {
            ("y", false) => Unit::Year,
            ("m", false) => Unit::Month,
            ("w", false) => Unit::Week,
            ("d", false) => Unit::Day,
            ("h", true) => Unit::Hour,
            ("m", true) => Unit::Minute,
            ("s", true) => Unit::Second,
            _ => return Err(invalid(text)),
        };
        sum.add(whole, fraction, unit)?;
        rest = &rest[end + 1..];
    }
    Ok(())
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
