//! Ranges and multiranges in the binary format (range_send, multirange_send).

use engine::error::{Error, Result, SqlState};
use engine::types::range::{self, Bound, Kind, Range};
use engine::types::text::FormatSettings;
use engine::types::{Datum, PgType, TypeOid};

use super::datum::DatumEncoder;
use super::parameter::read_binary;
use super::{mismatch, put_cell};
use crate::frontend::{Format, Reader};

/// Flags, then each finite bound with its length.
fn put(range: &Range, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    out.push(range.flags());
    let Some((lower, upper)) = &range.bounds else { return Ok(()) };
    for value in [&lower.value, &upper.value].into_iter().flatten() {
        let encoder = DatumEncoder::choose(PgType::from(range.subtype), Format::Binary)?;
        put_cell(out, |out| encoder.write(value, format, out))?;
    }
    Ok(())
}

pub(super) fn write(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let Datum::Bytea(bytes) = value else { return Err(mismatch(ty.oid, "no range")) };
    put(&range::decode(bytes)?, format, out)
}

pub(super) fn write_multirange(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let Datum::Bytea(bytes) = value else { return Err(mismatch(ty.oid, "no multirange")) };
    let ranges = range::decode_multirange(bytes)?;
    out.extend_from_slice(&(ranges.len() as i32).to_be_bytes());
    ranges.iter().try_for_each(|range| put_cell(out, |out| put(range, format, out)))
}

/// What a length word announces, all of it one value of the type.
fn part<'a, T>(reader: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let length = reader.i32()? as u32 as usize;
    let mut inner = Reader::new(reader.bytes(length)?);
    let value = read(&mut inner)?;
    match inner.is_empty() {
        true => Ok(value),
        false => Err(Error::new(SqlState::InvalidBinaryRepresentation, "incorrect binary data format")),
    }
}

fn take(reader: &mut Reader<'_>, kind: Kind, settings: &FormatSettings) -> Result<Range> {
    let flags = reader.u8()?;
    let has = |flag: u8| flags & flag != 0;
    let mut bound = |infinite: u8| match has(range::EMPTY) || has(infinite) {
        true => Ok(None),
        false => part(reader, |inner| read_binary(inner, kind.subtype, settings)).map(Some),
    };
    let (lower, upper) = (bound(range::LOWER_INFINITE)?, bound(range::UPPER_INFINITE)?);
    if has(range::EMPTY) {
        return Ok(Range::EMPTY);
    }
    let lower = Bound::lower(lower, has(range::LOWER_INCLUSIVE));
    kind.make(lower, Bound::upper(upper, has(range::UPPER_INCLUSIVE)))
}

pub(super) fn read(reader: &mut Reader<'_>, ty: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    let kind = Kind::new(ty, range::subtype_of(ty, settings)?);
    take(reader, kind, settings).map(|range| range::encode(&range))
}

pub(super) fn read_multirange(reader: &mut Reader<'_>, ty: TypeOid, settings: &FormatSettings) -> Result<Datum> {
    let kind = Kind::new(ty, range::subtype_of(ty, settings)?);
    let count = reader.i32()?;
    let mut ranges = Vec::new();
    for _ in 0..count {
        ranges.push(part(reader, |inner| take(inner, kind, settings))?);
    }
    kind.canonical(ranges).map(|ranges| range::encode_multirange(&ranges))
}
