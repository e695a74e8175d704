//! `extract`, `date_part` and `date_trunc`: the fields of dates, times and intervals.

use super::EvalContext;
use super::datetime::{infinite, split};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{checked_timestamp, day_of_week, day_of_year, days_from_civil, iso_week, offset_at};
use crate::types::datetime::words::{self, Unit};
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

fn not_recognized(name: &str, type_name: &str) -> Error {
    Error::new(
        SqlState::InvalidParameterValue,
        format!("unit \"{}\" not recognized for type {type_name}", name.to_ascii_lowercase()),
    )
}

/// The field that a name stands for.
fn unit(name: &str, type_name: &str) -> Result<Unit> {
    match words::field(&name.to_ascii_lowercase()) {
        Some(Ok(unit)) => Ok(unit),
        Some(Err(_)) if !matches!(type_name, "interval" | "time without time zone") => {
            Err(unsupported(name, type_name))
        }
        _ => Err(not_recognized(name, type_name)),
    }
}

/// The unit that `date_trunc` cuts to.
fn unit_of_time(name: &str, type_name: &str) -> Result<Unit> {
    words::unit(&name.to_ascii_lowercase()).ok_or_else(|| not_recognized(name, type_name))
}

fn unsupported(name: &str, type_name: &str) -> Error {
    Error::new(
        SqlState::FeatureNotSupported,
        format!("unit \"{}\" not supported for type {type_name}", name.to_ascii_lowercase()),
    )
}

fn whole(value: i64) -> Datum {
    Datum::from(Numeric::from(value))
}

fn scaled(value: i128, scale: i8) -> Datum {
    Datum::from(Numeric::from_i128(value, scale))
}

/// The numeric of `extract` as the float of `date_part`.
pub(super) fn as_float(value: Datum) -> Datum {
    match value {
        Datum::Numeric(v) => Datum::Float8(v.to_f64()),
        other => other,
    }
}

/// Decade, century or millennium of an astronomical year.
fn epoch_of_year(unit: Unit, year: i64) -> i64 {
    let counted = |span: i64| if year > 0 { (year + span - 1) / span } else { -((span - 1 - (year - 1)) / span) };
    match unit {
        Unit::Decade if year >= 0 => year / 10,
        Unit::Decade => -((8 - (year - 1)) / 10),
        Unit::Century => counted(100),
        _ => counted(1000),
    }
}

fn of_day(unit: Unit, time: i64) -> Option<Datum> {
    let second = time % MICROS_PER_MINUTE;
    Some(match unit {
        Unit::Microsecond => whole(second),
        Unit::Millisecond => scaled(i128::from(second), 3),
        Unit::Second => scaled(i128::from(second), 6),
        Unit::Minute => whole(time / MICROS_PER_MINUTE % 60),
        Unit::Hour => whole(time / MICROS_PER_HOUR),
        _ => return None,
    })
}

fn of_calendar(unit: Unit, days: i64) -> Option<Datum> {
    let (year, month, day) = crate::types::calendar::civil_from_days(days);
    Some(whole(match unit {
        Unit::Day => day,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Week => iso_week(days).1,
        Unit::Year => {
            if year > 0 {
                year
            } else {
                year - 1
            }
        }
        Unit::IsoYear => {
            let year = iso_week(days).0;
            if year > 0 { year } else { year - 1 }
        }
        Unit::Decade | Unit::Century | Unit::Millennium => epoch_of_year(unit, year),
        Unit::DayOfWeek => day_of_week(days),
        Unit::IsoDayOfWeek => (day_of_week(days) + 6) % 7 + 1,
        Unit::DayOfYear => day_of_year(days),
        _ => return None,
    }))
}

/// Infinite times have infinite years and the like, and no other fields.
fn of_infinity(unit: Unit, positive: bool) -> Option<Datum> {
    use Unit::*;
    match unit {
        Year | Decade | Century | Millennium | Julian | IsoYear | Epoch => {
            Some(Datum::from(if positive { Numeric::Infinity } else { Numeric::NegInfinity }))
        }
        Microsecond | Millisecond | Second | Minute | Hour | Day | Week | Month | Quarter | DayOfWeek
        | IsoDayOfWeek | DayOfYear => Some(Datum::Null),
        Timezone | TimezoneHour | TimezoneMinute => None,
    }
}

/// A field of a local time; `instant` is given for timestamp with time zone.
pub(super) fn of_timestamp(
    name: &str,
    local: i64,
    instant: Option<(i64, &EvalContext)>,
    type_name: &str,
) -> Result<Datum> {
    let unit = unit(name, type_name)?;
    let no_zone = || unsupported(name, type_name);
    let offset = instant.map(|(utc, context)| offset_at(context.format.time_zone, utc));
    if infinite(local) {
        return match of_infinity(unit, local > 0) {
            Some(value) => Ok(value),
            None => Ok(Datum::Null),
        };
    }
    let (days, time) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
    Ok(match unit {
        Unit::Epoch => scaled(i128::from(instant.map_or(local, |(utc, _)| utc)), 6),
        Unit::Julian => {
            let fraction = Numeric::from_i128(i128::from(time), 0).div(&Numeric::from(MICROS_PER_DAY))?;
            Datum::from(Numeric::from(days + 2_440_588).add(&fraction))
        }
        Unit::Timezone => whole(offset.ok_or_else(no_zone)?),
        Unit::TimezoneHour => whole(offset.ok_or_else(no_zone)? / 3600),
        Unit::TimezoneMinute => whole(offset.ok_or_else(no_zone)? / 60 % 60),
        _ => of_day(unit, time).or_else(|| of_calendar(unit, days)).ok_or_else(no_zone)?,
    })
}

pub(super) fn of_date(name: &str, date: i32) -> Result<Datum> {
    let unit = unit(name, "date")?;
    let clock = matches!(
        unit,
        Unit::Microsecond
            | Unit::Millisecond
            | Unit::Second
            | Unit::Minute
            | Unit::Hour
            | Unit::Timezone
            | Unit::TimezoneHour
            | Unit::TimezoneMinute
    );
    if clock {
        return Err(unsupported(name, "date"));
    }
    if date == i32::MIN || date == i32::MAX {
        return of_infinity(unit, date > 0).ok_or_else(|| unsupported(name, "date"));
    }
    let days = i64::from(date);
    match unit {
        Unit::Epoch => Ok(whole(days * 86_400)),
        Unit::Julian => Ok(whole(days + 2_440_588)),
        _ => of_calendar(unit, days).ok_or_else(|| unsupported(name, "date")),
    }
}

pub(super) fn of_time(name: &str, time: i64) -> Result<Datum> {
    of_time_named(name, time, "time without time zone")
}

pub(super) fn of_time_named(name: &str, time: i64, type_name: &str) -> Result<Datum> {
    match unit(name, type_name)? {
        Unit::Epoch => Ok(scaled(i128::from(time), 6)),
        unit => of_day(unit, time).ok_or_else(|| unsupported(name, type_name)),
    }
}

pub(super) fn of_interval(name: &str, span: &Interval) -> Result<Datum> {
    let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
    let unit = unit(name, "interval")?;
    Ok(match unit {
        Unit::Day => whole(span.days.into()),
        Unit::Month => whole(months),
        Unit::Quarter => whole(months / 3 + 1),
        Unit::Year => whole(years),
        Unit::Decade => whole(years / 10),
        Unit::Century => whole(years / 100),
        Unit::Millennium => whole(years / 1000),
        Unit::Epoch => {
            // A year has 365.25 days, a month 30.
            let quarter_days = i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(span.days) * 4;
            scaled(quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(span.micros), 6)
        }
        _ => of_day(unit, span.micros).ok_or_else(|| unsupported(name, "interval"))?,
    })
}

/// `date_part` of an interval: its epoch is summed up in floats.
pub(super) fn part_of_interval(name: &str, span: &Interval) -> Result<Datum> {
    if unit(name, "interval")? != Unit::Epoch {
        return of_interval(name, span).map(as_float);
    }
    const DAY: f64 = 86_400.0;
    let (years, months) = (f64::from(span.months / 12), f64::from(span.months % 12));
    let seconds = span.micros as f64 / 1e6 + 365.25 * DAY * years + 30.0 * DAY * months + DAY * f64::from(span.days);
    Ok(Datum::Float8(seconds))
}

/// The first moment of the unit that holds a local time.
pub(super) fn truncate(name: &str, local: i64, type_name: &str) -> Result<i64> {
    if infinite(local) {
        return Ok(local);
    }
    let unit = unit_of_time(name, type_name)?;
    let (year, month, _, _) = split(local);
    let days = local.div_euclid(MICROS_PER_DAY);
    let cut = |width: i64| local.div_euclid(width) * width;
    let first = |year: i64, month: i64| days_from_civil(year, month, 1).saturating_mul(MICROS_PER_DAY);
    let cut = match unit {
        Unit::Microsecond => local,
        Unit::Millisecond => cut(1000),
        Unit::Second => cut(MICROS_PER_SECOND),
        Unit::Minute => cut(MICROS_PER_MINUTE),
        Unit::Hour => cut(MICROS_PER_HOUR),
        Unit::Day => cut(MICROS_PER_DAY),
        Unit::Week => (days - (days + 3).rem_euclid(7)).saturating_mul(MICROS_PER_DAY),
        Unit::Month => first(year, month),
        Unit::Quarter => first(year, (month - 1) / 3 * 3 + 1),
        Unit::Year => first(year, 1),
        Unit::Decade => first(year.div_euclid(10) * 10, 1),
        Unit::Century => {
            first(if year > 0 { (year + 99) / 100 * 100 - 99 } else { -((99 - (year - 1)) / 100) * 100 + 1 }, 1)
        }
        Unit::Millennium => {
            first(if year > 0 { (year + 999) / 1000 * 1000 - 999 } else { -((999 - (year - 1)) / 1000) * 1000 + 1 }, 1)
        }
        _ => return Err(unsupported(name, type_name)),
    };
    checked_timestamp(cut.into())
}

/// Whether a unit's pieces are the same in every zone: `date_trunc` keeps the offset then, and in a repeated hour stays on
/// its side of the change.
pub(super) fn within_hour(name: &str) -> bool {
    let unit = words::unit(&name.to_ascii_lowercase());
    matches!(unit, Some(Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour))
}

pub(super) fn truncate_interval(name: &str, span: &Interval) -> Result<Interval> {
    let unit = unit_of_time(name, "interval")?;
    let mut cut = *span;
    let clock = |width: i64| span.micros / width * width;
    let years = |count: i32| span.months / (12 * count) * (12 * count);
    match unit {
        Unit::Microsecond => {}
        Unit::Millisecond => cut.micros = clock(1000),
        Unit::Second => cut.micros = clock(MICROS_PER_SECOND),
        Unit::Minute => cut.micros = clock(MICROS_PER_MINUTE),
        Unit::Hour => cut.micros = clock(MICROS_PER_HOUR),
        Unit::Day => cut.micros = 0,
        Unit::Week => {
            return Err(unsupported(name, "interval").detail("Months usually have fractional weeks."));
        }
        Unit::Month => (cut.days, cut.micros) = (0, 0),
        Unit::Quarter => cut = Interval::new(span.months / 3 * 3, 0, 0),
        Unit::Year => cut = Interval::new(years(1), 0, 0),
        Unit::Decade => cut = Interval::new(years(10), 0, 0),
        Unit::Century => cut = Interval::new(years(100), 0, 0),
        Unit::Millennium => cut = Interval::new(years(1000), 0, 0),
        _ => return Err(unsupported(name, "interval")),
    }
    Ok(cut)
}
