//! Bind parameters: text or binary bytes to [`Datum`]s of the statement's parameter types.

use std::sync::Arc;

use engine::error::{Error, Result, SqlState};
use engine::functions::extension::hstore;
use engine::types::array::{
    ArrayValue, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX, too_many_dimensions, too_many_elements,
};
use engine::types::bits;
use engine::types::calendar::checked_timestamp;
use engine::types::geometry;
use engine::types::network::{self, Inet};
use engine::types::snapshot::TransactionSnapshot;
use engine::types::text::{self, FormatSettings};
use engine::types::timetz::TimeTz;
use engine::types::{Datum, Interval, PgType, TypeOid, record};

use super::{EPOCH_DAYS, EPOCH_MICROS, Family, family, no_binary, numeric, range};
use crate::frontend::{Format, Reader, utf8};

/// Days and microseconds since 2000-01-01 that PostgreSQL's dates and timestamps may have: 4713 BC to 5874897 AD and
/// 294276 AD.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

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
            let value = read_binary(&mut reader, ty, settings)?;
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

/// The name that stands for a value of a reg type: only the catalog knows what it means.
pub(crate) fn named(bytes: &[u8], format: Format, ty: TypeOid) -> Option<&str> {
    if format == Format::Text && matches!(family(ty), Family::Reg) { utf8(bytes).ok() } else { None }
}

/// Decodes a field of binary COPY data.
pub(crate) fn read_field(bytes: &[u8], ty: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    let mut reader = Reader::new(bytes);
    let value = read_binary(&mut reader, ty, settings)?;
    match reader.is_empty() {
        true => Ok(value),
        false => Err(Error::new(SqlState::InvalidBinaryRepresentation, "incorrect binary data format")),
    }
}

/// Takes what the type needs from the reader; the caller looks whether something is left.
pub(super) fn read_binary(reader: &mut Reader<'_>, ty: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    Ok(match family(ty) {
        Family::Bool => Datum::Bool(reader.u8()? != 0),
        Family::Int2 => Datum::Int2(reader.i16()?),
        Family::Int4 => Datum::Int4(reader.i32()?),
        Family::Int8 => Datum::Int8(read_i64(reader)?),
        Family::Tid => {
            let (block, place) = (reader.i32()? as u32, reader.i16()? as u16);
            Datum::Int8(i64::from(block) << 16 | i64::from(place))
        }
        Family::Float4 => Datum::Float4(f32::from_bits(reader.i32()? as u32)),
        Family::Float8 => Datum::Float8(f64::from_bits(read_i64(reader)? as u64)),
        Family::Oid | Family::Reg => Datum::Oid(reader.i32()? as u32),
        Family::Numeric => Datum::Numeric(Box::new(numeric::read(reader)?)),
        Family::Text if ty == TypeOid::CHAR => Datum::from(text::char_of_byte(reader.u8()?)),
        Family::Text if ty == TypeOid::JSON => text::parse(utf8(take_rest(reader)?)?, PgType::from(ty), settings)?,
        Family::Text => Datum::from(utf8(take_rest(reader)?)?),
        Family::Jsonb => {
            let version = reader.u8()?;
            if version != 1 {
                return Err(Error::new(SqlState::InternalError, format!("unsupported jsonb version number {version}")));
            }
            let json = utf8(take_rest(reader)?)?;
            text::parse(json, PgType::from(ty), &FormatSettings::default())?
        }
        Family::Bytea => {
            let bytes = match ty {
                TypeOid::MACADDR => reader.bytes(6)?,
                TypeOid::MACADDR8 if reader.rest().len() == 6 => {
                    let short = reader.bytes(6)?;
                    let full = [short.get(..3).unwrap_or_default(), &[0xff, 0xfe], short.get(3..).unwrap_or_default()];
                    return Ok(Datum::Bytea(Arc::from(full.concat())));
                }
                TypeOid::MACADDR8 => reader.bytes(8)?,
                _ => take_rest(reader)?,
            };
            Datum::Bytea(Arc::from(bytes))
        }
        Family::Inet => read_inet(reader, ty)?,
        Family::Geometric => read_geometric(reader, ty)?,
        Family::Bits => read_bits(reader)?,
        Family::Timetz => {
            let (micros, west) = (read_i64(reader)?, reader.i32()?);
            if !(0..=DAY_MICROS).contains(&micros) {
                return Err(out_of_range("time"));
            }
            if !(-57_599..=57_599).contains(&west) {
                return Err(Error::new(SqlState::InvalidTimeZoneDisplacement, "time zone displacement out of range"));
            }
            TimeTz { micros, west }.encode()
        }
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
        Family::Array(element) => read_array(reader, ty, element, settings)?,
        Family::Hstore => read_hstore(reader)?,
        Family::Snapshot => read_snapshot(reader)?,
        Family::Row => read_record(reader, ty, settings)?,
        Family::Range => range::read(reader, ty, settings)?,
        Family::Multirange => range::read_multirange(reader, ty, settings)?,
        Family::Enum => text::parse(utf8(take_rest(reader)?)?, PgType::from(ty), settings)?,
        Family::Void => return Err(no_binary(ty, true, "input")),
        Family::TextOnly { postgresql_too } => return Err(no_binary(ty, postgresql_too, "input")),
    })
}

fn read_inet(reader: &mut Reader<'_>, ty: TypeOid) -> Result<Datum> {
    let what = if ty == TypeOid::CIDR { "cidr" } else { "inet" };
    let invalid = |part: &str| {
        Error::new(SqlState::InvalidBinaryRepresentation, format!("invalid {part} in external \"{what}\" value"))
    };
    let (family, mask, _, length) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
    let expected = match family {
        network::V4 => 4,
        network::V6 => 16,
        _ => return Err(invalid("address family")),
    };
    if length != expected {
        return Err(invalid("length"));
    }
    let address = Inet::new(reader.bytes(expected.into())?, mask).ok_or_else(|| invalid("bits"))?;
    if ty == TypeOid::CIDR && address.network() != address {
        return Err(Error::new(SqlState::InvalidBinaryRepresentation, "invalid external \"cidr\" value")
            .detail("Value has bits set to right of mask."));
    }
    Ok(address.encode())
}

fn read_geometric(reader: &mut Reader<'_>, ty: TypeOid) -> Result<Datum> {
    let points = |front: &[u8]| {
        let count = front.last_chunk::<4>().map_or(0, |count| i32::from_be_bytes(*count));
        front.len() + usize::try_from(count).unwrap_or(0).saturating_mul(16)
    };
    let length = match ty {
        TypeOid::POINT => 16,
        TypeOid::LSEG | TypeOid::BOX => 32,
        TypeOid::LINE | TypeOid::CIRCLE => 24,
        TypeOid::PATH => points(reader.rest().get(..5).unwrap_or_default()),
        _ => points(reader.rest().get(..4).unwrap_or_default()),
    };
    geometry::receive(reader.bytes(length)?, ty)
}

fn read_bits(reader: &mut Reader<'_>) -> Result<Datum> {
    let length = usize::try_from(reader.i32()?)
        .map_err(|_| Error::new(SqlState::InvalidBinaryRepresentation, "invalid length in external bit string"))?;
    let bytes = reader.bytes(length.div_ceil(8))?;
    Ok(Datum::from(bits::unpack(bytes, length)))
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

fn read_hstore(reader: &mut Reader<'_>) -> Result<Datum> {
    let mut pairs = hstore::Pairs::new();
    for _ in 0..reader.i32()? {
        let length = reader.i32()?;
        if length < 0 {
            return Err(Error::new(SqlState::NullValueNotAllowed, "null value not allowed for hstore key"));
        }
        let key = utf8(reader.bytes(length as usize)?)?.to_owned();
        let value = match reader.i32()? {
            -1 => None,
            length => Some(utf8(reader.bytes(length as u32 as usize)?)?.to_owned()),
        };
        pairs.entry((key.len(), key)).or_insert(value);
    }
    Ok(hstore::write(&pairs))
}

fn read_snapshot(reader: &mut Reader<'_>) -> Result<Datum> {
    let invalid = || Error::new(SqlState::InvalidBinaryRepresentation, "invalid external pg_snapshot data");
    let count = usize::try_from(reader.i32()?).map_err(|_| invalid())?;
    let mut number = || Ok(read_i64(reader)? as u64);
    let (xmin, xmax) = (number()?, number()?);
    let running = (0..count).map(|_| number()).collect::<Result<_>>()?;
    let snapshot = TransactionSnapshot::checked(xmin, xmax, running).ok_or_else(invalid)?;
    Ok(Datum::from(snapshot.to_string()))
}

fn read_record(reader: &mut Reader<'_>, ty: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    if ty == TypeOid::RECORD {
        return Err(Error::new(SqlState::FeatureNotSupported, "input of anonymous composite types is not implemented"));
    }
    let attributes = settings.types.attributes(ty)?;
    let count = reader.i32()?;
    if usize::try_from(count) != Ok(attributes.len()) {
        return Err(Error::new(
            SqlState::DatatypeMismatch,
            format!("wrong number of columns: {count}, expected {}", attributes.len()),
        ));
    }
    let mut values = Vec::with_capacity(attributes.len());
    for (i, (_, ty)) in attributes.iter().enumerate() {
        let sent = TypeOid(reader.i32()? as u32);
        if sent != ty.oid {
            return Err(Error::new(
                SqlState::DatatypeMismatch,
                format!("binary data has type {} instead of expected {} in record column {}", sent.0, ty.oid.0, i + 1),
            ));
        }
        let value = match reader.i32()? {
            -1 => Datum::Null,
            size => {
                let mut inner = Reader::new(reader.bytes(size as u32 as usize)?);
                let value = read_binary(&mut inner, ty.oid, settings)?;
                if !inner.is_empty() {
                    let message = format!("improper binary format in record column {}", i + 1);
                    return Err(Error::new(SqlState::InvalidBinaryRepresentation, message));
                }
                value
            }
        };
        values.push((value, *ty));
    }
    Ok(record::encode(ty, None, &values))
}

fn read_array(reader: &mut Reader<'_>, ty: TypeOid, element: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    let invalid = |message: String| Error::new(SqlState::InvalidBinaryRepresentation, message);
    let dimensions = reader.i32()?;
    if dimensions < 0 {
        return Err(invalid(format!("invalid number of dimensions: {dimensions}")));
    }
    if dimensions as usize > DIMENSIONS_MAX {
        return Err(too_many_dimensions(dimensions as usize));
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
    let mut dims = Vec::new();
    let mut count = usize::from(dimensions > 0);
    for _ in 0..dimensions {
        let (length, lower) = (reader.i32()?, reader.i32()?);
        count = usize::try_from(length).ok().and_then(|l| count.checked_mul(l)).unwrap_or(usize::MAX);
        if count as u64 > ELEMENTS_MAX as u64 {
            return Err(too_many_elements());
        }
        if lower.checked_add(length).is_none() {
            return Err(Error::new(SqlState::ProgramLimitExceeded, format!("array lower bound is too large: {lower}")));
        }
        dims.push(Dimension { lower, length });
    }
    if let (TypeOid::INT2VECTOR | TypeOid::OIDVECTOR, [first]) = (ty, dims.as_mut_slice()) {
        first.lower = 1;
    }
    let length = count;
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
                let value = read_binary(&mut inner, element, settings)?;
                if !inner.is_empty() {
                    return Err(invalid(format!("improper binary format in array element {number}")));
                }
                value
            }
        };
        values.push(value);
    }
    ArrayValue::shaped(dims, values).map(Datum::from).ok_or_else(|| invalid("invalid array dimensions".into()))
}
