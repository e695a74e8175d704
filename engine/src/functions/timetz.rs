//! Functions and operators of time with time zone.

use super::args;
use super::comparison::local;
use super::datetime_fields as fields;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{Zone, checked_timestamp, offset_at, zone_by_name};
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::types::timetz::TimeTz;
use crate::types::{Datum, Interval};

use super::Call;

fn timetz(arg: Option<&Datum>) -> Result<TimeTz> {
    TimeTz::decode(args::bytea(arg)?).ok_or_else(|| Error::internal("bytes that are no time with a zone"))
}

/// Displacement of the session's zone in seconds west at the start of the transaction.
fn session_west(call: &Call<'_>) -> i32 {
    -(offset_at(call.context.format.time_zone, call.context.transaction_time) as i32)
}

fn moved(value: TimeTz, by: &Interval, sign: i64) -> Datum {
    let micros = (value.micros + sign * (by.micros % MICROS_PER_DAY)).rem_euclid(MICROS_PER_DAY);
    TimeTz { micros, ..value }.encode()
}

fn in_zone(value: TimeTz, west: i32) -> Datum {
    let micros = (value.utc() - i64::from(west) * MICROS_PER_SECOND).rem_euclid(MICROS_PER_DAY);
    TimeTz { micros, west }.encode()
}

fn named_west(call: &Call<'_>, name: &str) -> Result<i32> {
    match zone_by_name(name) {
        Some(Zone::Fixed(seconds)) => Ok(-(seconds as i32)),
        Some(Zone::Named(zone)) => Ok(-(offset_at(zone, call.context.transaction_time) as i32)),
        None => Err(Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"))),
    }
}

/// A field of the value: those of its zone, its epoch in UTC, and what a time without zone has.
fn field(name: &str, value: TimeTz) -> Result<Datum> {
    let whole = |n: i64| Ok(Datum::from(crate::types::numeric::Numeric::from(n)));
    let east = -i64::from(value.west);
    match name.to_ascii_lowercase().as_str() {
        "timezone" => whole(east),
        "timezone_hour" | "timezone_h" => whole(east / 3600),
        "timezone_minute" | "timezone_m" => whole(east / 60 % 60),
        "epoch" => fields::of_time("epoch", value.micros).map(|epoch| match epoch {
            Datum::Numeric(n) => Datum::from(n.add(&crate::types::numeric::Numeric::from(value.west))),
            other => other,
        }),
        name => fields::of_time_named(name, value.micros, "time with time zone"),
    }
}

fn on_date(days: i32, time: TimeTz) -> Result<Datum> {
    if days == i32::MIN || days == i32::MAX {
        return Ok(Datum::Timestamptz(if days == i32::MIN { i64::MIN } else { i64::MAX }));
    }
    let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time.utc());
    checked_timestamp(micros).map(Datum::Timestamptz)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("timetz_pl_interval", |_, a| Ok(moved(timetz(a.first())?, &args::interval(a.get(1))?, 1))),
        ("#2547", |_, a| Ok(moved(timetz(a.get(1))?, &args::interval(a.first())?, 1))),
        ("timetz_mi_interval", |_, a| Ok(moved(timetz(a.first())?, &args::interval(a.get(1))?, -1))),
        ("timetz_time", |_, a| Ok(Datum::Time(timetz(a.first())?.micros))),
        ("time_timetz", |call, a| Ok(TimeTz { micros: args::time(a.first())?, west: session_west(call) }.encode())),
        ("timestamptz_timetz", |call, a| {
            let utc = args::timestamp(a.first())?;
            if utc == i64::MIN || utc == i64::MAX {
                return Ok(Datum::Null);
            }
            let here = local(utc, call.context);
            let west = ((utc - here) / MICROS_PER_SECOND) as i32;
            Ok(TimeTz { micros: here.rem_euclid(MICROS_PER_DAY), west }.encode())
        }),
        ("datetimetz_timestamptz", |_, a| on_date(args::date(a.first())?, timetz(a.get(1))?)),
        ("#1298", |_, a| on_date(args::date(a.get(1))?, timetz(a.first())?)),
        ("timetz_zone", |call, a| Ok(in_zone(timetz(a.get(1))?, named_west(call, args::text(a.first())?)?))),
        ("timetz_izone", |_, a| {
            let zone = args::interval(a.first())?;
            if zone.months != 0 || zone.days != 0 {
                return Err(Error::new(
                    SqlState::InvalidParameterValue,
                    "interval time zone must not include months or days",
                ));
            }
            Ok(in_zone(timetz(a.get(1))?, -(zone.micros / MICROS_PER_SECOND) as i32))
        }),
        ("extract_timetz", |_, a| field(args::text(a.first())?, timetz(a.get(1))?)),
        ("timetz_part", |_, a| field(args::text(a.first())?, timetz(a.get(1))?).map(fields::as_float)),
        ("timetz_send", |_, a| {
            let value = timetz(a.first())?;
            Ok(Datum::from([&value.micros.to_be_bytes()[..], &value.west.to_be_bytes()].concat()))
        }),
    ]);
}
