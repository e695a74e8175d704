//! The functions behind pg_cast: conversions between numbers, strings and times.

use super::EvalContext;
use super::args::row;
use super::arithmetic::overflow;
use super::comparison::{local, zoned};
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::checked_timestamp;
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::types::json::{self, Json};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval, TypeOid, compare, text};

/// Rounds half to even, as rint does; 22003 outside the range.
fn float_to_integer(value: f64, low: f64, high: f64, type_name: &str) -> Result<i64> {
    let rounded = value.round_ties_even();
    if rounded.is_nan() || rounded < low || rounded >= high {
        return Err(overflow(type_name));
    }
    Ok(rounded as i64)
}

fn to_int2(value: f64) -> Result<Datum> {
    float_to_integer(value, -32768.0, 32768.0, "smallint").map(|v| Datum::Int2(v as i16))
}

fn to_int4(value: f64) -> Result<Datum> {
    float_to_integer(value, -2147483648.0, 2147483648.0, "integer").map(|v| Datum::Int4(v as i32))
}

fn to_int8(value: f64) -> Result<Datum> {
    float_to_integer(value, -9223372036854775808.0, 9223372036854775808.0, "bigint").map(Datum::Int8)
}

/// A numeric as an integer of a given type; the messages are PostgreSQL's.
fn numeric_to_integer(value: &Numeric, type_name: &str) -> Result<i64> {
    let impossible =
        |what: &str| Err(Error::new(SqlState::FeatureNotSupported, format!("cannot convert {what} to {type_name}")));
    match value {
        Numeric::NaN => impossible("NaN"),
        Numeric::Infinity | Numeric::NegInfinity => impossible("infinity"),
        Numeric::Finite { .. } => value.to_i64().ok_or_else(|| overflow(type_name)),
    }
}

/// Whether a float came out too large, or as nothing though the number is something.
fn out_of_float(float: f64, value: &Numeric) -> bool {
    value.is_finite() && (float.is_infinite() || (float == 0.0 && !value.is_zero()))
}

fn numeric_to_f64(value: &Numeric) -> Result<f64> {
    let float = value.to_f64();
    if out_of_float(float, value) {
        return Err(Error::new(
            SqlState::NumericValueOutOfRange,
            format!("\"{value}\" is out of range for type double precision"),
        ));
    }
    Ok(float)
}

fn numeric_to_f32(value: &Numeric) -> Result<f32> {
    let float = value.to_string().parse::<f32>().unwrap_or(f32::NAN);
    if out_of_float(f64::from(float), value) {
        return Err(Error::new(SqlState::NumericValueOutOfRange, format!("\"{value}\" is out of range for type real")));
    }
    Ok(float)
}

/// Midnight of a date as a timestamp (22008 beyond its range).
pub(super) fn date_to_timestamp(days: i32) -> Result<i64> {
    match days {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        days => checked_timestamp(i128::from(days) * i128::from(MICROS_PER_DAY))
            .map_err(|_| Error::new(SqlState::DatetimeFieldOverflow, "date out of range for timestamp")),
    }
}

pub(super) fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        i64::MIN => i32::MIN,
        i64::MAX => i32::MAX,
        micros => micros.div_euclid(MICROS_PER_DAY) as i32,
    }
}

fn time_of(local_micros: i64) -> Datum {
    match local_micros {
        i64::MIN | i64::MAX => Datum::Null,
        micros => Datum::Time(micros.rem_euclid(MICROS_PER_DAY)),
    }
}

fn jsonb_number(document: &str, type_name: &str) -> Result<Numeric> {
    match json::parse(document)? {
        Json::Number(number) => Ok(number),
        other => Err(cannot_cast_jsonb(&other, type_name)),
    }
}

fn cannot_cast_jsonb(value: &Json, type_name: &str) -> Error {
    let what = match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "numeric",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    Error::new(SqlState::InvalidParameterValue, format!("cannot cast jsonb {what} to type {type_name}"))
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("i2toi4", row!(|v: int2| Ok(Datum::Int4(v.into())))),
        ("int28", row!(|v: int2| Ok(Datum::Int8(v.into())))),
        ("int48", row!(|v: int4| Ok(Datum::Int8(v.into())))),
        ("i4toi2", row!(|v: int4| i16::try_from(v).map(Datum::Int2).map_err(|_| overflow("smallint")))),
        ("int82", row!(|v: int8| i16::try_from(v).map(Datum::Int2).map_err(|_| overflow("smallint")))),
        ("int84", row!(|v: int8| i32::try_from(v).map(Datum::Int4).map_err(|_| overflow("integer")))),
        ("i2tof", row!(|v: int2| Ok(Datum::Float4(v.into())))),
        ("i2tod", row!(|v: int2| Ok(Datum::Float8(v.into())))),
        ("i4tof", row!(|v: int4| Ok(Datum::Float4(v as f32)))),
        ("i4tod", row!(|v: int4| Ok(Datum::Float8(v.into())))),
        ("i8tof", row!(|v: int8| Ok(Datum::Float4(v as f32)))),
        ("i8tod", row!(|v: int8| Ok(Datum::Float8(v as f64)))),
        ("ftoi2", row!(|v: float4| to_int2(v.into()))),
        ("dtoi2", row!(|v: float8| to_int2(v))),
        ("ftoi4", row!(|v: float4| to_int4(v.into()))),
        ("dtoi4", row!(|v: float8| to_int4(v))),
        ("ftoi8", row!(|v: float4| to_int8(v.into()))),
        ("dtoi8", row!(|v: float8| to_int8(v))),
        ("ftod", row!(|v: float4| Ok(Datum::Float8(v.into())))),
        (
            "dtof",
            row!(|v: float8| {
                let narrow = v as f32;
                if narrow.is_infinite() && v.is_finite() {
                    return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: overflow"));
                }
                if narrow == 0.0 && v != 0.0 {
                    return Err(Error::new(SqlState::NumericValueOutOfRange, "value out of range: underflow"));
                }
                Ok(Datum::Float4(narrow))
            }),
        ),
        ("int2_numeric", row!(|v: int2| Ok(Datum::from(Numeric::from(v))))),
        ("int4_numeric", row!(|v: int4| Ok(Datum::from(Numeric::from(v))))),
        ("int8_numeric", row!(|v: int8| Ok(Datum::from(Numeric::from(v))))),
        ("float4_numeric", row!(|v: float4| Ok(Datum::from(Numeric::from_f32(v))))),
        ("float8_numeric", row!(|v: float8| Ok(Datum::from(Numeric::from_f64(v))))),
        (
            "numeric_int2",
            row!(|v: numeric| {
                let wide = numeric_to_integer(v, "smallint")?;
                i16::try_from(wide).map(Datum::Int2).map_err(|_| overflow("smallint"))
            }),
        ),
        (
            "numeric_int4",
            row!(|v: numeric| {
                let wide = numeric_to_integer(v, "integer")?;
                i32::try_from(wide).map(Datum::Int4).map_err(|_| overflow("integer"))
            }),
        ),
        ("numeric_int8", row!(|v: numeric| numeric_to_integer(v, "bigint").map(Datum::Int8))),
        ("numeric_float4", row!(|v: numeric| numeric_to_f32(v).map(Datum::Float4))),
        ("numeric_float8", row!(|v: numeric| numeric_to_f64(v).map(Datum::Float8))),
        ("numeric", |call, args| {
            let typmod = super::args::int4(args.get(1))?;
            let value = super::args::numeric(args.first())?;
            let ty = crate::types::PgType::new(TypeOid::NUMERIC, typmod);
            let _ = call;
            text::numeric_with_modifier(value.clone(), ty).map(Datum::from)
        }),
        ("int4_bool", row!(|v: int4| Ok(Datum::Bool(v != 0)))),
        ("bool_int4", row!(|v: boolean| Ok(Datum::Int4(v.into())))),
        ("booltext", row!(|v: boolean| Ok(Datum::from(if v { "true" } else { "false" })))),
        ("i8tooid", row!(|v: int8| u32::try_from(v).map(Datum::Oid).map_err(|_| overflow("OID")))),
        ("oidtoi8", row!(|v: oid| Ok(Datum::Int8(v.into())))),
        ("xid8toxid", row!(|v: int8| Ok(Datum::Oid(v as u32)))),
        ("chartoi4", row!(|v: text| Ok(Datum::Int4(i32::from(text::byte_of_char(v) as i8))))),
        (
            "i4tochar",
            row!(|v: int4| {
                let byte = i8::try_from(v)
                    .map_err(|_| Error::new(SqlState::NumericValueOutOfRange, "\"char\" out of range"))?;
                Ok(Datum::from(text::char_of_byte(byte as u8)))
            }),
        ),
        ("rtrim1", row!(|v: text| Ok(Datum::from(compare::unpadded(v))))),
        ("name_text", row!(|v: text| Ok(Datum::from(v)))),
        ("text_name", row!(|v: text| Ok(Datum::from(text::truncate_name(v))))),
        ("name_bpchar", row!(|v: text| Ok(Datum::from(v)))),
        ("bpchar_name", row!(|v: text| Ok(Datum::from(text::truncate_name(compare::unpadded(v)))))),
        ("char_text", row!(|v: text| Ok(Datum::from(v)))),
        ("char_bpchar", row!(|v: text| Ok(Datum::from(v)))),
        ("text_char", row!(|v: text| text::parse(v, TypeOid::CHAR.into(), &Default::default()))),
        ("date_timestamp", row!(|v: date| date_to_timestamp(v).map(Datum::Timestamp))),
        ("date_timestamptz", row!(call, |v: date| instant(date_to_timestamp(v)?, call.context))),
        ("timestamp_date", row!(|v: timestamp| Ok(Datum::Date(timestamp_to_date(v))))),
        ("timestamptz_date", row!(call, |v: timestamp| Ok(Datum::Date(timestamp_to_date(local(v, call.context)))))),
        ("timestamp_timestamptz", row!(call, |v: timestamp| instant(v, call.context))),
        ("timestamptz_timestamp", row!(call, |v: timestamp| Ok(Datum::Timestamp(local(v, call.context))))),
        ("timestamp_time", row!(|v: timestamp| Ok(time_of(v)))),
        ("timestamptz_time", row!(call, |v: timestamp| Ok(time_of(local(v, call.context))))),
        ("time_interval", row!(|v: time| Ok(Datum::Interval(Interval::new(0, 0, v))))),
        ("interval_time", row!(|v: interval| Ok(Datum::Time(v.micros.rem_euclid(MICROS_PER_DAY))))),
        ("datetime_timestamp", row!(|d: date, t: time| add_time(d, t))),
        ("#1296", row!(|t: time, d: date| add_time(d, t))),
        (
            "#1176",
            row!(call, |d: date, t: time| match add_time(d, t)? {
                Datum::Timestamp(v) => instant(v, call.context),
                other => Ok(other),
            }),
        ),
        (
            "jsonb_bool",
            row!(|v: text| match json::parse(v)? {
                Json::Bool(b) => Ok(Datum::Bool(b)),
                other => Err(cannot_cast_jsonb(&other, "boolean")),
            }),
        ),
        ("jsonb_numeric", row!(|v: text| jsonb_number(v, "numeric").map(Datum::from))),
        (
            "jsonb_int2",
            row!(|v: text| {
                let wide = numeric_to_integer(&jsonb_number(v, "smallint")?, "smallint")?;
                i16::try_from(wide).map(Datum::Int2).map_err(|_| overflow("smallint"))
            }),
        ),
        (
            "jsonb_int4",
            row!(|v: text| {
                let wide = numeric_to_integer(&jsonb_number(v, "integer")?, "integer")?;
                i32::try_from(wide).map(Datum::Int4).map_err(|_| overflow("integer"))
            }),
        ),
        ("jsonb_int8", row!(|v: text| numeric_to_integer(&jsonb_number(v, "bigint")?, "bigint").map(Datum::Int8))),
        ("jsonb_float4", row!(|v: text| numeric_to_f32(&jsonb_number(v, "real")?).map(Datum::Float4))),
        ("jsonb_float8", row!(|v: text| numeric_to_f64(&jsonb_number(v, "double precision")?).map(Datum::Float8))),
    ]);
}

fn add_time(days: i32, micros: i64) -> Result<Datum> {
    let midnight = date_to_timestamp(days)?;
    if midnight == i64::MIN || midnight == i64::MAX {
        return Ok(Datum::Timestamp(midnight));
    }
    checked_timestamp(i128::from(midnight) + i128::from(micros)).map(Datum::Timestamp)
}

/// A local time of the session's zone as an instant (22008 beyond the range).
fn instant(local: i64, context: &EvalContext) -> Result<Datum> {
    let utc = match local {
        i64::MIN | i64::MAX => local,
        local => checked_timestamp(zoned(local, context).into())?,
    };
    Ok(Datum::Timestamptz(utc))
}

/// Seconds (with fraction) as microseconds.
pub(super) fn seconds_to_micros(seconds: f64) -> i64 {
    (seconds * MICROS_PER_SECOND as f64).round_ties_even() as i64
}
