//! Bind parameters: text or binary bytes to [`Datum`]s of the statement's parameter types.

use std::sync::Arc;

use engine::error::{Error, Result, SqlState};
use engine::types::calendar::checked_timestamp;
use engine::types::text::{self, FormatSettings};
use engine::types::{Datum, Interval, PgType, TypeOid};

use super::{EPOCH_DAYS, EPOCH_MICROS, Family, family, no_binary, numeric};
use crate::frontend::{Format, Reader, utf8};

/// Days and microseconds since 2000-01-01 that PostgreSQL's dates and timestamps may have: 4713 BC to 5874897 AD and
/// 294276 AD.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// Elements of an array, as PostgreSQL's MaxArraySize for pointers.
const ARRAY_SIZE_MAX: usize = (1 << 27) - 1;

/// Decodes parameter `number` (from 1) of a Bind message.
pub(crate) fn read(
    bytes: &[u8],
    format: Format,
    ty: TypeOid,
    settings: &FormatSettings,
    number: usize,
) -> Result<Datum> {
    match format {
        Format::Text => text::parse(utf8(bytes)?, PgType::from(ty), settings),
        Format::Binary => {
            let mut reader = Reader::new(bytes);
            let value = read_binary(&mut reader, ty)?;
            if !reader.is_empty() {
                return Err(Error::new(
                    SqlState::InvalidBinaryRepresentation,
                    format!("incorrect binary data format in bind parameter {number}"),
                ));
            }
            Ok(value)
        }
    }
}

/// Decodes a field of binary COPY data.
pub(crate) fn read_field(bytes: &[u8], ty: TypeOid) -> Result<Datum> {
    let mut reader = Reader::new(bytes);
    let value = read_binary(&mut reader, ty)?;
    match reader.is_empty() {
        true => Ok(value),
        false => Err(Error::new(SqlState::InvalidBinaryRepresentation, "incorrect binary data format")),
    }
}

/// Takes what the type needs from the reader; the caller looks whether something is left.
fn read_binary(reader: &mut Reader<'_>, ty: TypeOid) -> Result<Datum> {
    Ok(match family(ty) {
        Family::Bool => Datum::Bool(reader.u8()? != 0),
        Family::Int2 => Datum::Int2(reader.i16()?),
        Family::Int4 => Datum::Int4(reader.i32()?),
        Family::Int8 => Datum::Int8(read_i64(reader)?),
        Family::Float4 => Datum::Float4(f32::from_bits(reader.i32()? as u32)),
        Family::Float8 => Datum::Float8(f64::from_bits(read_i64(reader)? as u64)),
        Family::Oid | Family::Reg => Datum::Oid(reader.i32()? as u32),
        Family::Numeric => Datum::Numeric(Box::new(numeric::read(reader)?)),
        Family::Text if ty == TypeOid::CHAR => Datum::from(text::char_of_byte(reader.u8()?)),
        Family::Text => Datum::from(utf8(take_rest(reader)?)?),
        Family::Jsonb => {
            let version = reader.u8()?;
            if version != 1 {
                return Err(Error::new(SqlState::InternalError, format!("unsupported jsonb version number {version}")));
            }
            let json = utf8(take_rest(reader)?)?;
            text::parse(json, PgType::from(ty), &FormatSettings::default())?
        }
        Family::Bytea => Datum::Bytea(Arc::from(take_rest(reader)?)),
        Family::Date => Datum::Date(days_from_wire(reader.i32()?)?),
        Family::Time => {
            let micros = read_i64(reader)?;
            if !(0..=DAY_MICROS).contains(&micros) {
                return Err(out_of_range("time"));
            }
            Datum::Time(micros)
        }
        Family::Timestamp => Datum::Timestamp(micros_from_wire(read_i64(reader)?)?),
        Family::Timestamptz => Datum::Timestamptz(micros_from_wire(read_i64(reader)?)?),
        Family::Interval => {
            Datum::Interval(Interval { micros: read_i64(reader)?, days: reader.i32()?, months: reader.i32()? })
        }
        Family::Uuid => {
            let mut uuid = [0; 16];
            uuid.copy_from_slice(reader.bytes(16)?);
            Datum::Uuid(uuid)
        }
        Family::Array(element) => read_array(reader, ty, element)?,
        Family::Void => return Err(no_binary(ty, true, "input")),
        Family::TextOnly { postgresql_too } => return Err(no_binary(ty, postgresql_too, "input")),
    })
}

fn read_i64(reader: &mut Reader<'_>) -> Result<i64> {
    let (high, low) = (reader.i32()?, reader.i32()?);
    Ok(i64::from(high) << 32 | i64::from(low as u32))
}

fn take_rest<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let rest = reader.rest();
    reader.bytes(rest.len())
}

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"))
}

fn days_from_wire(days: i32) -> Result<i32> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        _ if DATES.contains(&days) => Ok(days + EPOCH_DAYS),
        _ => Err(out_of_range("date")),
    }
}

fn micros_from_wire(micros: i64) -> Result<i64> {
    match micros {
        i64::MIN | i64::MAX => Ok(micros),
        // The last 30 years of PostgreSQL's range do not fit our epoch.
        _ if TIMESTAMPS.contains(&micros) => checked_timestamp(i128::from(micros) + i128::from(EPOCH_MICROS)),
        _ => Err(out_of_range("timestamp")),
    }
}

fn read_array(reader: &mut Reader<'_>, ty: TypeOid, element: TypeOid) -> Result<Datum> {
    let invalid = |message: String| Error::new(SqlState::InvalidBinaryRepresentation, message);
    let dimensions = reader.i32()?;
    if dimensions < 0 {
        return Err(invalid(format!("invalid number of dimensions: {dimensions}")));
    }
    if dimensions > 1 {
        return Err(Error::unsupported("an array of more than one dimension"));
    }
    let flags = reader.i32()?;
    if flags != 0 && flags != 1 {
        return Err(invalid("invalid array flags".into()));
    }
    let sent = TypeOid(reader.i32()? as u32);
    if sent != element {
        return Err(Error::new(
            SqlState::DatatypeMismatch,
            format!("binary data has array element type {} instead of expected {}", sent.0, element.0),
        ));
    }
    if dimensions == 0 {
        return Ok(Datum::Array(Arc::default()));
    }
    let length = usize::try_from(reader.i32()?).ok().filter(|length| *length <= ARRAY_SIZE_MAX).ok_or_else(|| {
        Error::new(SqlState::ProgramLimitExceeded, format!("array size exceeds the maximum allowed ({ARRAY_SIZE_MAX})"))
    })?;
    let lower_bound = reader.i32()?;
    let expected = i32::from(!matches!(ty, TypeOid::INT2VECTOR | TypeOid::OIDVECTOR));
    if lower_bound != expected && length > 0 {
        return Err(Error::unsupported(format!("an array whose lower bound is {lower_bound}")));
    }
    // An element takes at least its length word: the message bounds what is allocated.
    if reader.rest().len() < length.saturating_mul(4) {
        return Err(Error::new(SqlState::ProtocolViolation, "insufficient data left in message"));
    }
    let mut values = Vec::with_capacity(length);
    for number in 1..=length {
        let value = match reader.i32()? {
            -1 => Datum::Null,
            size => {
                let mut inner = Reader::new(reader.bytes(size as u32 as usize)?);
                let value = read_binary(&mut inner, element)?;
                if !inner.is_empty() {
                    return Err(invalid(format!("improper binary format in array element {number}")));
                }
                value
            }
        };
        values.push(value);
    }
    Ok(Datum::Array(Arc::new(values)))
}
