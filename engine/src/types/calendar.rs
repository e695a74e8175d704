//! The proleptic Gregorian calendar and time zones: days and microseconds since 1970-01-01 to fields and back.
//!
//! Years are astronomical: 0 is 1 BC. Arithmetic is in i64, so every day of the date type's range is exact.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{OffsetName, Tz};

use super::datetime::words::{Abbreviation, abbreviation};
use super::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::error::{Error, Result, SqlState};

/// First and last day that PostgreSQL's date can hold: 4714-11-24 BC and 5874897-12-31.
pub const DATE_MIN: i64 = -2_440_588;
pub const DATE_MAX: i64 = 2_145_042_905;
/// First instant that a timestamp can hold: 4714-11-24 BC.
pub const TIMESTAMP_MIN: i64 = DATE_MIN * MICROS_PER_DAY;
/// Last one, in January 294247: two days before the integers end, so that no zone's local time leaves them and none is
/// the infinity. (PostgreSQL counts from 2000 and so reaches 294276.)
pub const TIMESTAMP_MAX: i64 = i64::MAX - 2 * MICROS_PER_DAY;

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

pub fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Sunday.
pub fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

pub fn day_of_year(days: i64) -> i64 {
    let (year, _, _) = civil_from_days(days);
    days - days_from_civil(year, 1, 1) + 1
}

/// ISO 8601 year and week.
pub fn iso_week(days: i64) -> (i64, i64) {
    let weekday = (days + 3).rem_euclid(7);
    let thursday = days - weekday + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// Days since 1970 as the date type holds them (22008 beyond its range).
pub fn checked_date(days: i64) -> Result<i32> {
    if (DATE_MIN..=DATE_MAX).contains(&days) {
        return Ok(days as i32);
    }
    Err(Error::new(SqlState::DatetimeFieldOverflow, "date out of range"))
}

pub fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range")
}

/// Microseconds since 1970 as a timestamp holds them; MIN and MAX stand for the infinities.
pub fn checked_timestamp(micros: i128) -> Result<i64> {
    i64::try_from(micros)
        .ok()
        .filter(|m| (TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(m))
        .ok_or_else(timestamp_out_of_range)
}

/// Offset of the zone east of Greenwich, in seconds, at an instant.
pub fn offset_at(zone: impl Into<Zone>, utc_micros: i64) -> i64 {
    match zone.into() {
        Zone::Fixed(seconds) => seconds,
        Zone::Named(zone) => {
            i64::from(zone.offset_from_utc_datetime(&in_tables(zone, utc_micros)).fix().local_minus_utc())
        }
    }
}

/// Abbreviation of the zone at an instant, as in "EST".
pub fn abbreviation_at(zone: Tz, utc_micros: i64) -> String {
    let offset = zone.offset_from_utc_datetime(&in_tables(zone, utc_micros));
    offset.abbreviation().map_or_else(|| offset.to_string(), str::to_string)
}

/// 2100-01-01: the tables of zones end here, in seconds.
const TABLES_END: i64 = 4_102_444_800;
const DAY_SECONDS: i64 = MICROS_PER_DAY / MICROS_PER_SECOND;

/// An instant at which the zone's tables say what holds at `utc_micros`.
fn in_tables(zone: Tz, utc_micros: i64) -> NaiveDateTime {
    let seconds = utc_micros.div_euclid(MICROS_PER_SECOND);
    if seconds < TABLES_END {
        // chrono ends before PostgreSQL's range does; the rules of a zone don't change out there.
        return naive(seconds.max(-200_000 * 31_556_952));
    }
    let offset = |month| {
        let middle = naive(days_from_civil(2098, month, 15) * DAY_SECONDS);
        zone.offset_from_utc_datetime(&middle).fix()
    };
    if offset(1) == offset(7) {
        return naive(TABLES_END - 1);
    }
    // The last rules go on: they hold in a year like the one that is asked for.
    let (year, _, _) = civil_from_days(seconds.div_euclid(DAY_SECONDS));
    let first = |year| days_from_civil(year, 1, 1);
    let alike =
        |other: &i64| is_leap(*other) == is_leap(year) && day_of_week(first(*other)) == day_of_week(first(year));
    let known = (2071..=2098).find(alike).unwrap_or(2098);
    naive(seconds - (first(year) - first(known)) * DAY_SECONDS)
}

fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::<Utc>::from_timestamp(seconds, 0).map(|t| t.naive_utc()).unwrap_or_default()
}

/// Local wall-clock microseconds → UTC. In a gap the offset before it holds, in an overlap the one after it.
pub fn local_to_utc(zone: impl Into<Zone>, local_micros: i64) -> i64 {
    let zone = match zone.into() {
        Zone::Fixed(seconds) => return local_micros.saturating_sub(seconds * MICROS_PER_SECOND),
        Zone::Named(zone) => zone,
    };
    let before = offset_at(zone, local_micros.saturating_sub(MICROS_PER_DAY));
    let after = offset_at(zone, local_micros.saturating_add(MICROS_PER_DAY));
    if before == after {
        // A pair of changes within two days does not occur; one check settles ordinary days.
        return local_micros.saturating_sub(before * MICROS_PER_SECOND);
    }
    let with_before = local_micros.saturating_sub(before * MICROS_PER_SECOND);
    let with_after = local_micros.saturating_sub(after * MICROS_PER_SECOND);
    if offset_at(zone, with_after) == after { with_after } else { with_before }
}

/// UTC microseconds → local wall clock.
pub fn utc_to_local(zone: impl Into<Zone>, utc_micros: i64) -> i64 {
    utc_micros.saturating_add(offset_at(zone, utc_micros) * MICROS_PER_SECOND)
}

/// Microseconds since 1970 by the system's clock.
pub fn clock_micros() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// A time zone: an offset in seconds east, or a name with rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Zone {
    Fixed(i64),
    Named(Tz),
}

impl Zone {
    /// With so many seconds more of daylight saving time; a zone with rules has its own.
    pub fn shifted(self, daylight: i64) -> Zone {
        match self {
            Zone::Fixed(seconds) => Zone::Fixed(seconds + daylight),
            named => named,
        }
    }

    pub fn to_utc(self, local_micros: i64) -> i64 {
        local_to_utc(self, local_micros)
    }

    pub fn to_local(self, utc_micros: i64) -> i64 {
        utc_to_local(self, utc_micros)
    }
}

impl From<Tz> for Zone {
    fn from(zone: Tz) -> Zone {
        Zone::Named(zone)
    }
}

/// A zone as `AT TIME ZONE` names it: an abbreviation or [`zone_by_rule`], in any case.
pub fn zone_by_name(name: &str) -> Option<Zone> {
    let lower = name.to_ascii_lowercase();
    match abbreviation(&lower) {
        Some(Abbreviation::Fixed(seconds)) => Some(Zone::Fixed(seconds)),
        Some(Abbreviation::Of(zone)) => Some(Zone::Named(zone)),
        None => zone_by_rule(&lower),
    }
}

/// A zone of the tz database, or a rule of POSIX without daylight saving time: a name that may be empty or stand in
/// angle brackets, and the offset west of Greenwich (`UTC+3`, `<+03>-3`, `-5:30`).
pub fn zone_by_rule(name: &str) -> Option<Zone> {
    if let Some(zone) = named_zone(name) {
        return Some(Zone::Named(zone));
    }
    let rule = match name.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => name.trim_start_matches(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | '-' | '+')),
    };
    let (west, body) = match rule.as_bytes().first()? {
        b'-' => (-1, rule.get(1..)?),
        b'+' => (1, rule.get(1..)?),
        _ => (1, rule),
    };
    // At most a week.
    const LIMITS: [i64; 3] = [167, 59, 59];
    let mut seconds = 0;
    let parts: Vec<&str> = body.split(':').collect();
    if parts.len() > LIMITS.len() {
        return None;
    }
    for (at, (part, unit)) in parts.iter().zip([3600, 60, 1]).enumerate() {
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        let limit = LIMITS.get(at).copied().unwrap_or(0);
        seconds += part.parse::<i64>().ok().filter(|n| digits && *n <= limit)? * unit;
    }
    Some(Zone::Fixed(-west * seconds))
}

/// A zone of the tz database by name, in any case.
pub fn named_zone(name: &str) -> Option<Tz> {
    name.parse::<Tz>()
        .ok()
        .or_else(|| chrono_tz::TZ_VARIANTS.iter().copied().find(|tz| tz.name().eq_ignore_ascii_case(name)))
}
