//! Arithmetic on dates, times and intervals, their fields, and what builds them.

use super::args::{self, row};
use super::comparison::{local, zoned};
use super::conversion::{date_to_timestamp, seconds_to_micros, timestamp_to_date};
use super::registry::Implementations;
use super::{Call, datetime_fields as fields};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    Zone, checked_date, checked_timestamp, civil_from_days, clock_micros, days_from_civil, days_in_month,
    timestamp_out_of_range, zone_by_name,
};
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, out_of_range};
use crate::types::text::IntervalStyle;
use crate::types::{Datum, Interval, float, interval};

pub(super) fn infinite(micros: i64) -> bool {
    micros == i64::MIN || micros == i64::MAX
}

/// Year, month, day and microseconds of the day.
pub(super) fn split(micros: i64) -> (i64, i64, i64, i64) {
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    (year, month, day, micros.rem_euclid(MICROS_PER_DAY))
}

/// Adds an interval to a local time: months (the day cut to the month's length), then days, then the rest.
pub(super) fn add_interval(micros: i64, span: &Interval) -> Result<i64> {
    if infinite(micros) {
        return Ok(micros);
    }
    let moved = add_calendar(micros, span)?;
    checked_timestamp(moved + i128::from(span.micros))
}

/// Adds an interval's months and days only.
fn add_calendar(micros: i64, span: &Interval) -> Result<i128> {
    let (year, month, day, time) = split(micros);
    let months = year * 12 + month - 1 + i64::from(span.months);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let day = day.min(days_in_month(year, month));
    let days = days_from_civil(year, month, day) + i64::from(span.days);
    Ok(i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time))
}

/// Adds an interval to an instant: months and days in the session's zone.
fn add_zoned(utc: i64, span: &Interval, call: &Call<'_>) -> Result<i64> {
    if infinite(utc) {
        return Ok(utc);
    }
    let moved = if span.months != 0 || span.days != 0 {
        zoned(checked_timestamp(add_calendar(local(utc, call.context), span)?)?, call.context)
    } else {
        utc
    };
    checked_timestamp(i128::from(moved) + i128::from(span.micros))
}

pub(super) fn negate(span: &Interval) -> Result<Interval> {
    match (span.months.checked_neg(), span.days.checked_neg(), span.micros.checked_neg()) {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(out_of_range()),
    }
}

fn add(a: &Interval, b: &Interval) -> Result<Interval> {
    match (a.months.checked_add(b.months), a.days.checked_add(b.days), a.micros.checked_add(b.micros)) {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(out_of_range()),
    }
}

/// Rounds to microseconds, as PostgreSQL's TSROUND.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round_ties_even() / 1e6
}

/// interval_mul and interval_div: fractions of a month spill into days, fractions of a day into time.
fn scale(span: &Interval, apply: impl Fn(f64) -> f64) -> Result<Interval> {
    let whole = |value: f64| -> Result<i32> {
        if value.is_nan() || value > f64::from(i32::MAX) || value < f64::from(i32::MIN) {
            return Err(out_of_range());
        }
        Ok(value as i32)
    };
    let months = whole(apply(f64::from(span.months)))?;
    let mut days = whole(apply(f64::from(span.days)))?;
    let month_rest = rounded((apply(f64::from(span.months)) - f64::from(months)) * 30.0);
    let mut seconds =
        rounded((apply(f64::from(span.days)) - f64::from(days) + month_rest - month_rest.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        days = days.checked_add((seconds / 86_400.0) as i32).ok_or_else(out_of_range)?;
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    days = days.checked_add(month_rest as i32).ok_or_else(out_of_range)?;
    let micros = (apply(span.micros as f64) + seconds * 1e6).round_ties_even();
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&micros) {
        return Err(out_of_range());
    }
    Ok(Interval { months, days, micros: micros as i64 })
}

pub(super) fn add_interval_values(a: &Interval, b: &Interval) -> Result<Interval> {
    add(a, b)
}

pub(super) fn scale_interval(span: &Interval, factor: f64) -> Result<Interval> {
    scale(span, |v| v * factor)
}

pub(super) fn divide_interval(span: &Interval, divisor: f64) -> Result<Interval> {
    if divisor == 0.0 {
        return Err(super::arithmetic::division_by_zero());
    }
    scale(span, |v| v / divisor)
}

/// Days and time between two timestamps.
fn difference(a: i64, b: i64) -> Result<Interval> {
    if infinite(a) || infinite(b) {
        return Err(Error::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite timestamps"));
    }
    let micros = a.checked_sub(b).ok_or_else(out_of_range)?;
    justify_hours(&Interval::new(0, 0, micros))
}

/// Moves whole days of the time to the days.
fn carry_days(span: &mut Interval) -> Result<()> {
    let days = (span.micros / MICROS_PER_DAY) as i32;
    span.days = span.days.checked_add(days).ok_or_else(out_of_range)?;
    span.micros %= MICROS_PER_DAY;
    Ok(())
}

/// Moves whole months of thirty days to the months.
fn carry_months(span: &mut Interval) -> Result<()> {
    span.months = span.months.checked_add(span.days / 30).ok_or_else(out_of_range)?;
    span.days %= 30;
    Ok(())
}

/// Gives days and time one sign.
fn align_days(span: &mut Interval) {
    if span.days > 0 && span.micros < 0 {
        span.micros += MICROS_PER_DAY;
        span.days -= 1;
    } else if span.days < 0 && span.micros > 0 {
        span.micros -= MICROS_PER_DAY;
        span.days += 1;
    }
}

fn justify_hours(span: &Interval) -> Result<Interval> {
    let mut result = *span;
    carry_days(&mut result)?;
    align_days(&mut result);
    Ok(result)
}

fn justify_days(span: &Interval) -> Result<Interval> {
    let mut result = *span;
    carry_months(&mut result)?;
    if result.months > 0 && result.days < 0 {
        result.days += 30;
        result.months -= 1;
    } else if result.months < 0 && result.days > 0 {
        result.days -= 30;
        result.months += 1;
    }
    Ok(result)
}

fn justify_interval(span: &Interval) -> Result<Interval> {
    let mut result = *span;
    if (result.days > 0 && result.micros > 0) || (result.days < 0 && result.micros < 0) {
        // So the days have room for those of the time.
        carry_months(&mut result)?;
    }
    carry_days(&mut result)?;
    carry_months(&mut result)?;
    if result.months > 0 && (result.days < 0 || (result.days == 0 && result.micros < 0)) {
        result.days += 30;
        result.months -= 1;
    } else if result.months < 0 && (result.days > 0 || (result.days == 0 && result.micros > 0)) {
        result.days -= 30;
        result.months += 1;
    }
    align_days(&mut result);
    Ok(result)
}

/// Years, months, days and time between two timestamps, by calendar (`age`).
fn age(a: i64, b: i64) -> Result<Interval> {
    if infinite(a) || infinite(b) {
        return Err(timestamp_out_of_range());
    }
    let (late, early, flip) = if a < b { (b, a, true) } else { (a, b, false) };
    let (y1, m1, d1, t1) = split(late);
    let (y2, m2, d2, t2) = split(early);
    let (mut years, mut months, mut days, mut time) = (y1 - y2, m1 - m2, d1 - d2, t1 - t2);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    while days < 0 {
        // The month whose length counts is the earlier time's.
        days += days_in_month(y2, m2);
        months -= 1;
    }
    while months < 0 {
        months += 12;
        years -= 1;
    }
    let span = Interval::new((years * 12 + months) as i32, days as i32, time);
    if flip { negate(&span) } else { Ok(span) }
}

fn time_of_day(micros: i128) -> Datum {
    Datum::Time(micros.rem_euclid(i128::from(MICROS_PER_DAY)) as i64)
}

fn add_days(date: i32, days: i64) -> Result<Datum> {
    if date == i32::MIN || date == i32::MAX {
        return Ok(Datum::Date(date));
    }
    checked_date(i64::from(date) + days).map(Datum::Date)
}

fn zone(name: &str) -> Result<Zone> {
    zone_by_name(name)
        .ok_or_else(|| Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized")))
}

fn field_out_of_range(what: String) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, what)
}

fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let (y, m, d) = (i64::from(year), i64::from(month), i64::from(day));
    let astronomical = if y < 0 { y + 1 } else { y };
    if y == 0 || !(1..=12).contains(&m) || d < 1 || d > days_in_month(astronomical, m) {
        return Err(field_out_of_range(format!("date field value out of range: {year}-{month:02}-{day:02}")));
    }
    checked_date(days_from_civil(astronomical, m, d))
        .map_err(|_| field_out_of_range(format!("date out of range: {year}-{month:02}-{day:02}")))
}

fn make_time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let micros = seconds_to_micros(second);
    let hours = i64::from(hour) * MICROS_PER_HOUR;
    let total = (hours + i64::from(minute) * MICROS_PER_MINUTE).saturating_add(micros);
    let valid = (0..=24).contains(&hour)
        && (0..=59).contains(&minute)
        && (0..=60 * MICROS_PER_SECOND).contains(&micros)
        && !second.is_nan()
        && total <= MICROS_PER_DAY;
    if !valid {
        let mut shown = Vec::new();
        // C's %02g.
        float::write_f64(second, -9, &mut shown);
        let shown = String::from_utf8_lossy(&shown);
        return Err(field_out_of_range(format!("time field value out of range: {hour}:{minute:02}:{shown:0>2}")));
    }
    Ok(total)
}

fn make_timestamp(args: &[Datum]) -> Result<i64> {
    let int = |i: usize| args::int4(args.get(i));
    let date = make_date(int(0)?, int(1)?, int(2)?)?;
    let time = make_time(int(3)?, int(4)?, args::float8(args.get(5))?)?;
    checked_timestamp(i128::from(date_to_timestamp(date)?) + i128::from(time))
}

/// A zone as in the input of a timestamp: an offset counts eastwards, while [`zone`] reads it as POSIX does.
fn zone_of_input(name: &str) -> Result<Zone> {
    match name.as_bytes().first() {
        Some(b'0'..=b'9') => {
            let message = format!("invalid input syntax for type numeric time zone: \"{name}\"");
            Err(Error::new(SqlState::InvalidParameterValue, message)
                .hint("Numeric time zones must have \"-\" or \"+\" as first character."))
        }
        Some(b'+') => zone(&name.replacen('+', "-", 1)),
        Some(b'-') => zone(&name.replacen('-', "+", 1)),
        _ => zone(name),
    }
}

fn make_interval(args: &[Datum]) -> Result<Datum> {
    let int = |i: usize| args::int4(args.get(i)).map(i64::from);
    let seconds = args::float8(args.get(6))?;
    // More than an interval holds, NaN too.
    if seconds.is_nan() || seconds.abs() >= 1e13 {
        return Err(out_of_range());
    }
    let months = int(0)? * 12 + int(1)?;
    let days = int(2)? * 7 + int(3)?;
    let micros = i128::from(int(4)?) * i128::from(MICROS_PER_HOUR)
        + i128::from(int(5)?) * i128::from(MICROS_PER_MINUTE)
        + (seconds * 1e6).round_ties_even() as i128;
    Ok(Datum::Interval(Interval {
        months: i32::try_from(months).map_err(|_| out_of_range())?,
        days: i32::try_from(days).map_err(|_| out_of_range())?,
        micros: i64::try_from(micros).map_err(|_| out_of_range())?,
    }))
}

/// `to_timestamp(seconds)`.
fn from_epoch(seconds: f64) -> Result<Datum> {
    if seconds.is_infinite() {
        return Ok(Datum::Timestamptz(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
    }
    if seconds.is_nan() {
        return Err(Error::new(SqlState::DatetimeFieldOverflow, "timestamp cannot be NaN"));
    }
    // Counted from the year 2000, as PostgreSQL rounds it.
    let micros = (((seconds - SECONDS_2000) * 1e6).round_ties_even() as i128).saturating_add(MICROS_2000);
    checked_timestamp(micros).map(Datum::Timestamptz).map_err(|_| {
        let mut shown = Vec::new();
        float::write_f64(seconds, -9, &mut shown);
        field_out_of_range(format!("timestamp out of range: \"{}\"", String::from_utf8_lossy(&shown)))
    })
}

/// Seconds from 1970 to 2000.
const SECONDS_2000: f64 = 946_684_800.0;
const MICROS_2000: i128 = 946_684_800_000_000;

/// The start of the bin of width `stride` that holds the time.
fn bin(stride: &Interval, micros: i64, origin: i64) -> Result<i64> {
    if infinite(micros) {
        return Ok(micros);
    }
    if infinite(origin) {
        return Err(field_out_of_range("origin out of range".into()));
    }
    if stride.months != 0 {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let days = i64::from(stride.days).checked_mul(MICROS_PER_DAY);
    let width = days.and_then(|d| d.checked_add(stride.micros)).ok_or_else(out_of_range)?;
    if width <= 0 {
        return Err(field_out_of_range("stride must be greater than zero".into()));
    }
    let (offset, width) = (i128::from(micros) - i128::from(origin), i128::from(width));
    checked_timestamp(i128::from(origin) + offset.div_euclid(width) * width)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("date_pli", row!(|d: date, n: int4| add_days(d, n.into()))),
        ("#2550", row!(|n: int4, d: date| add_days(d, n.into()))),
        ("date_mii", row!(|d: date, n: int4| add_days(d, -i64::from(n)))),
        (
            "date_mi",
            row!(|a: date, b: date| {
                if [a, b].iter().any(|d| *d == i32::MIN || *d == i32::MAX) {
                    return Err(Error::new(SqlState::DatetimeFieldOverflow, "cannot subtract infinite dates"));
                }
                Ok(Datum::Int4(a.wrapping_sub(b)))
            }),
        ),
        (
            "date_pl_interval",
            row!(|d: date, i: interval| add_interval(date_to_timestamp(d)?, &i).map(Datum::Timestamp)),
        ),
        ("#2546", row!(|i: interval, d: date| add_interval(date_to_timestamp(d)?, &i).map(Datum::Timestamp))),
        (
            "date_mi_interval",
            row!(|d: date, i: interval| add_interval(date_to_timestamp(d)?, &negate(&i)?).map(Datum::Timestamp)),
        ),
        ("timestamp_pl_interval", row!(|t: timestamp, i: interval| add_interval(t, &i).map(Datum::Timestamp))),
        ("#2548", row!(|i: interval, t: timestamp| add_interval(t, &i).map(Datum::Timestamp))),
        (
            "timestamp_mi_interval",
            row!(|t: timestamp, i: interval| add_interval(t, &negate(&i)?).map(Datum::Timestamp)),
        ),
        (
            "timestamptz_pl_interval",
            row!(call, |t: timestamp, i: interval| add_zoned(t, &i, call).map(Datum::Timestamptz)),
        ),
        ("#2549", row!(call, |i: interval, t: timestamp| add_zoned(t, &i, call).map(Datum::Timestamptz))),
        (
            "timestamptz_mi_interval",
            row!(call, |t: timestamp, i: interval| add_zoned(t, &negate(&i)?, call).map(Datum::Timestamptz)),
        ),
        ("timestamp_mi", row!(|a: timestamp, b: timestamp| difference(a, b).map(Datum::Interval))),
        ("time_pl_interval", row!(|t: time, i: interval| Ok(time_of_day(i128::from(t) + i128::from(i.micros))))),
        ("#1848", row!(|i: interval, t: time| Ok(time_of_day(i128::from(t) + i128::from(i.micros))))),
        ("time_mi_interval", row!(|t: time, i: interval| Ok(time_of_day(i128::from(t) - i128::from(i.micros))))),
        ("time_mi_time", row!(|a: time, b: time| Ok(Datum::Interval(Interval::new(0, 0, a - b))))),
        ("interval_um", row!(|i: interval| negate(&i).map(Datum::Interval))),
        ("interval_pl", row!(|a: interval, b: interval| add(&a, &b).map(Datum::Interval))),
        ("interval_mi", row!(|a: interval, b: interval| add(&a, &negate(&b)?).map(Datum::Interval))),
        ("interval_mul", row!(|i: interval, f: float8| scale(&i, |v| v * f).map(Datum::Interval))),
        ("mul_d_interval", row!(|f: float8, i: interval| scale(&i, |v| v * f).map(Datum::Interval))),
        ("interval_div", row!(|i: interval, f: float8| divide_interval(&i, f).map(Datum::Interval))),
        ("interval_justify_hours", row!(|i: interval| justify_hours(&i).map(Datum::Interval))),
        ("interval_justify_days", row!(|i: interval| justify_days(&i).map(Datum::Interval))),
        ("interval_justify_interval", row!(|i: interval| justify_interval(&i).map(Datum::Interval))),
        ("timestamp_age", row!(|a: timestamp, b: timestamp| age(a, b).map(Datum::Interval))),
        (
            "timestamptz_age",
            row!(call, |a: timestamp, b: timestamp| {
                age(local(a, call.context), local(b, call.context)).map(Datum::Interval)
            }),
        ),
        ("#2059", row!(call, |t: timestamp| age(today(call), t).map(Datum::Interval))),
        ("#1386", row!(call, |t: timestamp| age(today(call), local(t, call.context)).map(Datum::Interval))),
        ("now", |call, _| Ok(Datum::Timestamptz(call.context.transaction_time))),
        ("statement_timestamp", |call, _| Ok(Datum::Timestamptz(call.context.statement_time))),
        ("clock_timestamp", |_, _| Ok(Datum::Timestamptz(clock_micros()))),
        ("date_finite", row!(|d: date| Ok(Datum::Bool(d != i32::MIN && d != i32::MAX)))),
        ("timestamp_finite", row!(|t: timestamp| Ok(Datum::Bool(!infinite(t))))),
        ("interval_finite", row!(|_i: interval| Ok(Datum::Bool(true)))),
        ("make_date", row!(|y: int4, m: int4, d: int4| make_date(y, m, d).map(Datum::Date))),
        ("make_time", row!(|h: int4, m: int4, s: float8| make_time(h, m, s).map(Datum::Time))),
        ("make_timestamp", |_, args| make_timestamp(args).map(Datum::Timestamp)),
        ("make_timestamptz", |call, args| instant(zoned(make_timestamp(args)?, call.context))),
        ("make_timestamptz_at_timezone", |_, args| {
            let local = make_timestamp(args)?;
            instant(zone_of_input(args::text(args.get(6))?)?.to_utc(local))
        }),
        ("make_interval", |_, args| make_interval(args)),
        ("float8_timestamptz", row!(|s: float8| from_epoch(s))),
        (
            "timestamp_zone",
            row!(|z: text, t: timestamp| if infinite(t) {
                Ok(Datum::Timestamptz(t))
            } else {
                instant(zone(z)?.to_utc(t))
            }),
        ),
        (
            "timestamptz_zone",
            row!(|z: text, t: timestamp| if infinite(t) {
                Ok(Datum::Timestamp(t))
            } else {
                checked_timestamp(zone(z)?.to_local(t).into()).map(Datum::Timestamp)
            }),
        ),
        (
            "timestamp_izone",
            row!(|z: interval, t: timestamp| if infinite(t) {
                Ok(Datum::Timestamptz(t))
            } else {
                checked_timestamp(i128::from(t) - displacement(&z)?).map(Datum::Timestamptz)
            }),
        ),
        (
            "timestamptz_izone",
            row!(|z: interval, t: timestamp| if infinite(t) {
                Ok(Datum::Timestamp(t))
            } else {
                checked_timestamp(i128::from(t) + displacement(&z)?).map(Datum::Timestamp)
            }),
        ),
        ("timestamp_bin", row!(|s: interval, t: timestamp, o: timestamp| bin(&s, t, o).map(Datum::Timestamp))),
        ("timestamptz_bin", row!(|s: interval, t: timestamp, o: timestamp| bin(&s, t, o).map(Datum::Timestamptz))),
        (
            "timestamp_trunc",
            row!(|u: text, t: timestamp| fields::truncate(u, t, "timestamp without time zone").map(Datum::Timestamp)),
        ),
        (
            "timestamptz_trunc",
            row!(call, |u: text, t: timestamp| {
                let zone = call.context.format.time_zone;
                truncate_zoned(u, t, zone).map(Datum::Timestamptz)
            }),
        ),
        (
            "timestamptz_trunc_zone",
            row!(|u: text, t: timestamp, z: text| {
                if infinite(t) {
                    return Ok(Datum::Timestamptz(t));
                }
                truncate_zoned(u, t, zone(z)?).map(Datum::Timestamptz)
            }),
        ),
        ("interval_trunc", row!(|u: text, i: interval| fields::truncate_interval(u, &i).map(Datum::Interval))),
        (
            "extract_timestamp",
            row!(|u: text, t: timestamp| fields::of_timestamp(u, t, None, "timestamp without time zone")),
        ),
        (
            "extract_timestamptz",
            row!(call, |u: text, t: timestamp| {
                fields::of_timestamp(u, local(t, call.context), Some((t, call.context)), "timestamp with time zone")
            }),
        ),
        ("extract_date", row!(|u: text, d: date| fields::of_date(u, d))),
        ("extract_time", row!(|u: text, t: time| fields::of_time(u, t))),
        ("extract_interval", row!(|u: text, i: interval| fields::of_interval(u, &i))),
        (
            "timestamp_part",
            row!(|u: text, t: timestamp| {
                fields::of_timestamp(u, t, None, "timestamp without time zone").map(fields::as_float)
            }),
        ),
        (
            "timestamptz_part",
            row!(call, |u: text, t: timestamp| {
                fields::of_timestamp(u, local(t, call.context), Some((t, call.context)), "timestamp with time zone")
                    .map(fields::as_float)
            }),
        ),
        (
            "#1384",
            row!(|u: text, d: date| {
                fields::of_timestamp(u, date_to_timestamp(d)?, None, "timestamp without time zone")
                    .map(fields::as_float)
            }),
        ),
        ("time_part", row!(|u: text, t: time| fields::of_time(u, t).map(fields::as_float))),
        ("interval_part", row!(|u: text, i: interval| fields::part_of_interval(u, &i))),
    ]);
}

fn instant(utc: i64) -> Result<Datum> {
    checked_timestamp(utc.into()).map(Datum::Timestamptz)
}

/// An interval as a zone's offset, in whole seconds east of Greenwich; in microseconds.
fn displacement(zone: &Interval) -> Result<i128> {
    if zone.months != 0 || zone.days != 0 {
        let mut shown = Vec::new();
        interval::write(zone, IntervalStyle::Postgres, &mut shown);
        return Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("interval time zone \"{}\" must not include months or days", String::from_utf8_lossy(&shown)),
        ));
    }
    Ok(i128::from(zone.micros / MICROS_PER_SECOND * MICROS_PER_SECOND))
}

fn truncate_zoned(unit: &str, utc: i64, zone: Zone) -> Result<i64> {
    const NAME: &str = "timestamp with time zone";
    if infinite(utc) {
        return fields::truncate(unit, utc, NAME);
    }
    let local = zone.to_local(utc);
    let cut = fields::truncate(unit, local, NAME)?;
    let utc = if fields::within_hour(unit) { utc - (local - cut) } else { zone.to_utc(cut) };
    checked_timestamp(utc.into())
}

/// Midnight of the current date in the session's zone.
fn today(call: &Call<'_>) -> i64 {
    let now = local(call.context.transaction_time, call.context);
    i64::from(timestamp_to_date(now)) * MICROS_PER_DAY
}
