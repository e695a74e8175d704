//! Dates and times inside a jsonpath: what `.datetime()` reads and how they compare.

use std::cmp::Ordering;

use super::EvalContext;
use super::format::read_moment;
use super::json_path::{Failure, Outcome, soft};
use crate::error::{Error, SqlState};
use crate::types::calendar::{Zone, local_to_utc, utc_to_local};
use crate::types::interval::MICROS_PER_DAY;
use crate::types::text::FormatSettings;
use crate::types::{Datum, PgType, TypeOid, text};

/// A date or time of one of five types.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Moment {
    Date(i32),
    Time(i64),
    /// Local time and the zone's displacement in seconds east.
    TimeWithZone(i64, i32),
    Timestamp(i64),
    /// The instant and the displacement it was written with.
    TimestampWithZone(i64, i32),
}

impl Moment {
    pub fn type_name(&self) -> &'static str {
        match self {
            Moment::Date(_) => "date",
            Moment::Time(_) => "time without time zone",
            Moment::TimeWithZone(..) => "time with time zone",
            Moment::Timestamp(_) => "timestamp without time zone",
            Moment::TimestampWithZone(..) => "timestamp with time zone",
        }
    }

    /// ISO 8601, as jsonb has it.
    pub fn shown(&self) -> String {
        let format = FormatSettings::default();
        let show = |value: Datum, ty: TypeOid| text::to_string(&value, PgType::from(ty), &format).replacen(' ', "T", 1);
        match self {
            Moment::Date(days) => show(Datum::Date(*days), TypeOid::DATE),
            Moment::Time(micros) => show(Datum::Time(*micros), TypeOid::TIME),
            Moment::TimeWithZone(micros, zone) => show(Datum::Time(*micros), TypeOid::TIME) + &displacement(*zone),
            Moment::Timestamp(micros) => show(Datum::Timestamp(*micros), TypeOid::TIMESTAMP),
            Moment::TimestampWithZone(utc, zone) => {
                show(Datum::Timestamp(utc + i64::from(*zone) * 1_000_000), TypeOid::TIMESTAMP) + &displacement(*zone)
            }
        }
    }
}

fn displacement(seconds: i32) -> String {
    let magnitude = seconds.unsigned_abs();
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", magnitude / 3600, magnitude / 60 % 60)
}

/// Reads a string by a template, or by ISO 8601 without one.
pub(super) fn read(text: &str, template: Option<&str>) -> Outcome<Moment> {
    if let Some(template) = template {
        return by_template(text, template);
    }
    iso(text).map_or_else(
        || {
            Err(Failure::Soft(
                Error::new(
                    SqlState::InvalidArgumentForJsonDatetime,
                    format!("datetime format is not recognized: \"{text}\""),
                )
                .hint("Use a datetime template argument to specify the input data format."),
            ))
        },
        Ok,
    )
}

fn by_template(text: &str, template: &str) -> Outcome<Moment> {
    let read = read_moment(text, template).map_err(Failure::Soft)?;
    let days = read.days;
    let local = i64::from(days) * MICROS_PER_DAY + read.micros;
    Ok(match (read.has_date, read.has_time, read.zone) {
        (true, false, None) => Moment::Date(days),
        (false, true, None) => Moment::Time(read.micros),
        (false, true, Some(zone)) => Moment::TimeWithZone(read.micros, zone),
        (true, true, None) => Moment::Timestamp(local),
        (true, _, Some(zone)) => Moment::TimestampWithZone(local - i64::from(zone) * 1_000_000, zone),
        (false, false, _) => {
            return soft(SqlState::InvalidArgumentForJsonDatetime, "datetime format is not dated and not timed");
        }
    })
}

fn iso(text: &str) -> Option<Moment> {
    let (date, rest) = match text.as_bytes() {
        [a, b, c, d, b'-', ..] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()) => {
            let date = text.get(..10)?;
            let days = crate::types::datetime::parse_date(date, &FormatSettings::default()).ok()?;
            (Some(days), text.get(10..)?)
        }
        _ => (None, text),
    };
    if rest.is_empty() {
        return date.map(Moment::Date);
    }
    let rest = match date {
        Some(_) => rest.strip_prefix(['T', ' '])?,
        None => rest,
    };
    let end = rest.find(['+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let digits = |s: &str| s.get(..2)?.parse::<i64>().ok();
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let seconds = parts.next()?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let second: i64 = whole.parse().ok()?;
    if hour > 24 || minute > 59 || second > 60 || fraction.len() > 6 && !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").get(..6)?.parse().ok()? };
    let time = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    let zone = match zone {
        "" => None,
        zone => {
            let (sign, body) = zone.split_at(1);
            let (hours, minutes) = body.split_once(':').unwrap_or((body, "0"));
            let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
            Some(if sign == "-" { -seconds } else { seconds })
        }
    };
    Some(match (date, zone) {
        (None, None) => Moment::Time(time),
        (None, Some(zone)) => Moment::TimeWithZone(time, zone),
        (Some(days), None) => Moment::Timestamp(i64::from(days) * MICROS_PER_DAY + time),
        (Some(days), Some(zone)) => {
            Moment::TimestampWithZone(i64::from(days) * MICROS_PER_DAY + time - i64::from(zone) * 1_000_000, zone)
        }
    })
}

/// Order of two moments; `None`: they are not comparable. Local against zoned wants the `_tz` functions.
pub(super) fn compare(a: &Moment, b: &Moment, zoned: bool, zone: Zone) -> Outcome<Option<Ordering>> {
    use Moment as M;
    let midnight = |days: &i32| i64::from(*days) * MICROS_PER_DAY;
    let instant = |local: i64, from: &Moment, to: &Moment| -> Outcome<i64> {
        if !zoned {
            return Err(Failure::Hard(
                Error::new(
                    SqlState::FeatureNotSupported,
                    format!("cannot convert value from {} to {} without time zone usage", short(from), short(to)),
                )
                .hint("Use *_tz() function for time zone support."),
            ));
        }
        Ok(local_to_utc(zone, local))
    };
    Ok(match (a, b) {
        (M::Date(x), M::Date(y)) => Some(x.cmp(y)),
        (M::Date(x), M::Timestamp(y)) => Some(midnight(x).cmp(y)),
        (M::Timestamp(x), M::Date(y)) => Some(x.cmp(&midnight(y))),
        (M::Timestamp(x), M::Timestamp(y)) => Some(x.cmp(y)),
        (M::TimestampWithZone(x, _), M::TimestampWithZone(y, _)) => Some(x.cmp(y)),
        (M::Date(x), M::TimestampWithZone(y, _)) => Some(instant(midnight(x), a, b)?.cmp(y)),
        (M::TimestampWithZone(x, _), M::Date(y)) => Some(x.cmp(&instant(midnight(y), b, a)?)),
        (M::Timestamp(x), M::TimestampWithZone(y, _)) => Some(instant(*x, a, b)?.cmp(y)),
        (M::TimestampWithZone(x, _), M::Timestamp(y)) => Some(x.cmp(&instant(*y, b, a)?)),
        (M::Time(x), M::Time(y)) => Some(x.cmp(y)),
        (M::TimeWithZone(x, p), M::TimeWithZone(y, q)) => Some(with_zone(*x, *p).cmp(&with_zone(*y, *q))),
        (M::Time(x), M::TimeWithZone(y, q)) => {
            let here = today_displacement(instant(*x, a, b).map(|_| zone)?);
            Some(with_zone(*x, here).cmp(&with_zone(*y, *q)))
        }
        (M::TimeWithZone(x, p), M::Time(y)) => {
            let here = today_displacement(instant(*y, b, a).map(|_| zone)?);
            Some(with_zone(*x, *p).cmp(&with_zone(*y, here)))
        }
        _ => None,
    })
}

fn short(moment: &Moment) -> &'static str {
    match moment {
        Moment::Date(_) => "date",
        Moment::Time(_) => "time",
        Moment::TimeWithZone(..) => "timetz",
        Moment::Timestamp(_) => "timestamp",
        Moment::TimestampWithZone(..) => "timestamptz",
    }
}

/// Orders times with zones: by instant, then by zone.
fn with_zone(micros: i64, zone: i32) -> (i64, i32) {
    (micros - i64::from(zone) * 1_000_000, -zone)
}

fn today_displacement(zone: Zone) -> i32 {
    let now = EvalContext::default().transaction_time;
    ((utc_to_local(zone, now) - now) / 1_000_000) as i32
}
