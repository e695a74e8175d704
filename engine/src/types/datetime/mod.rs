//! Text input of date, time, timestamp and timestamptz, by the rules of PostgreSQL's datetime.c.
//!
//! A text is cut into fields ([`lexer`]); what each means depends on those before it ([`decode`], [`words`]); then the
//! ranges are checked here. Fields are ASCII: any other character is refused where the text is cut.

mod decode;
pub mod lexer;
pub mod words;

use super::calendar::{Zone, checked_date, checked_timestamp, clock_micros, offset_at, timestamp_out_of_range};
use super::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use super::text::FormatSettings;
use super::timetz::TimeTz;
use crate::error::{Error, Result, SqlState};
use decode::Decoded;
pub use decode::{Clock, clock};

/// What went wrong, before the type's name and the text are known.
#[derive(Debug)]
pub enum Bad {
    Format,
    Field,
    MonthDay,
    ZoneOffset,
    Zone(String),
}

impl Bad {
    fn error(self, type_name: &str, text: &str) -> Error {
        let out_of_range =
            || Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
        match self {
            Bad::Format => Error::new(
                SqlState::InvalidDatetimeFormat,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            Bad::Field => out_of_range(),
            Bad::MonthDay => out_of_range().hint("Perhaps you need a different \"datestyle\" setting."),
            Bad::ZoneOffset => Error::new(
                SqlState::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Bad::Zone(zone) => {
                Error::new(SqlState::InvalidParameterValue, format!("time zone \"{zone}\" not recognized"))
            }
        }
    }
}

/// Reads a date: days since 1970, MIN and MAX for the infinities.
pub fn parse_date(text: &str, format: &FormatSettings) -> Result<i32> {
    match decode::date_time(text, lexer::TEXT_MAX, format).map_err(|bad| bad.error("date", text))? {
        Decoded::Infinity => Ok(i32::MAX),
        Decoded::NegInfinity => Ok(i32::MIN),
        Decoded::Epoch => Ok(0),
        Decoded::Moment { days, .. } => checked_date(days)
            .map_err(|_| Error::new(SqlState::DatetimeFieldOverflow, format!("date out of range: \"{text}\""))),
    }
}

/// Reads a time of day in microseconds; a zone is read and ignored.
pub fn parse_time(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    let micros = decode::time_only(text, format).map_err(|bad| bad.error("time", text))?;
    Ok(round_micros(micros, precision))
}

/// Reads a time of day with its zone; without one that of the session today.
pub fn parse_timetz(text: &str, precision: i32, format: &FormatSettings) -> Result<TimeTz> {
    let (micros, zone, days) =
        decode::time_and_zone(text, format).map_err(|bad| bad.error("time with time zone", text))?;
    let zone = zone.unwrap_or(format.time_zone);
    let east = match zone {
        Zone::Fixed(seconds) => seconds,
        named => {
            let today = format.time_zone.to_local(now(format)).div_euclid(MICROS_PER_DAY);
            let local = days.unwrap_or(today).saturating_mul(MICROS_PER_DAY).saturating_add(micros);
            (local - named.to_utc(local)) / MICROS_PER_SECOND
        }
    };
    Ok(TimeTz { micros: round_micros(micros, precision), west: -(east as i32) })
}

/// Reads a timestamp without time zone; a zone is read and ignored.
pub fn parse_timestamp(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    instant(text, "timestamp", precision, format, |local, _| local)
}

/// Reads a timestamp with time zone: UTC microseconds.
pub fn parse_timestamptz(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    instant(text, "timestamp with time zone", precision, format, |local, zone| {
        zone.unwrap_or(format.time_zone).to_utc(local)
    })
}

fn instant(
    text: &str,
    type_name: &str,
    precision: i32,
    format: &FormatSettings,
    place: impl Fn(i64, Option<Zone>) -> i64,
) -> Result<i64> {
    let decoded =
        decode::date_time(text, lexer::TIMESTAMP_TEXT_MAX, format).map_err(|bad| bad.error(type_name, text))?;
    let out_of_range = |_| Error::new(timestamp_out_of_range().state(), format!("timestamp out of range: \"{text}\""));
    match decoded {
        Decoded::Infinity => Ok(i64::MAX),
        Decoded::NegInfinity => Ok(i64::MIN),
        Decoded::Epoch => Ok(0),
        Decoded::Moment { days, micros, zone } => {
            let local = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros);
            // A zone can bring a local time at the edge into the range, by less than a day.
            let local = i64::try_from(local).map_err(|_| out_of_range(timestamp_out_of_range()))?;
            let value = checked_timestamp(i128::from(place(local, zone))).map_err(out_of_range)?;
            checked_timestamp(i128::from(round_timestamp(value, precision)))
        }
    }
}

/// Rounds microseconds to `precision` digits of the second (-1: leaves them), half away from zero.
pub fn round_micros(micros: i64, precision: i32) -> i64 {
    if !(0..6).contains(&precision) || micros == i64::MAX || micros == i64::MIN {
        return micros;
    }
    let unit = 10i64.pow(6 - precision as u32);
    let half = unit / 2 * micros.signum();
    micros.saturating_add(half) / unit * unit
}

/// Rounds a timestamp; PostgreSQL's zero is the year 2000.
pub fn round_timestamp(micros: i64, precision: i32) -> i64 {
    const YEAR_2000: i64 = 10_957 * MICROS_PER_DAY;
    if micros == i64::MAX || micros == i64::MIN {
        return micros;
    }
    round_micros(micros.saturating_sub(YEAR_2000), precision).saturating_add(YEAR_2000)
}

fn now(format: &FormatSettings) -> i64 {
    format.transaction_time.unwrap_or_else(clock_micros)
}

/// Offset of the zone at a UTC instant, for output.
pub(crate) fn output_offset(format: &FormatSettings, utc: i64) -> i64 {
    offset_at(format.time_zone, utc)
}
