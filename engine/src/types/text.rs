//! Text input and output of every type, as PostgreSQL's input and output functions do it.

use super::{Datum, PgType};
use crate::error::Result;

/// The settings that text output depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatSettings {
    pub time_zone: chrono_tz::Tz,
    pub date_order: DateOrder,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    pub extra_float_digits: i32,
    pub bytea_hex: bool,
}

impl Default for FormatSettings {
    fn default() -> Self {
        FormatSettings {
            time_zone: chrono_tz::UTC,
            date_order: DateOrder::Mdy,
            date_style: DateStyle::Iso,
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_hex: true,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    Mdy,
    Dmy,
    Ymd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateStyle {
    Iso,
    Postgres,
    Sql,
    German,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// Reads `text` as a value of `ty` (22P02, 22003, 22007, 22008, 22001 for an over-long value of an explicit length).
pub fn parse(_text: &str, _ty: PgType, _format: &FormatSettings) -> Result<Datum> {
    Err(crate::error::Error::unsupported("text input"))
}

/// Appends the text form of `value` to `out`. Reg types are written as numbers: their names need a catalog.
pub fn write(_value: &Datum, _ty: PgType, _format: &FormatSettings, _out: &mut Vec<u8>) {}
