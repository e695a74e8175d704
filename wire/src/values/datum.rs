//! [`Datum`]s as text or binary: the point path's rows, and whatever has no shorter way.

use engine::error::{Error, Result};
use engine::functions::extension::hstore;
use engine::session::Row;
use engine::types::bits;
use engine::types::network::Inet;
use engine::types::snapshot::TransactionSnapshot;
use engine::types::text::{self, FormatSettings};
use engine::types::timetz::TimeTz;
use engine::types::{Datum, PgType, TypeOid, record};

use super::{EPOCH_DAYS, EPOCH_MICROS, Family, family, mismatch, no_binary, numeric, put_cell, put_null, range};
use crate::frontend::Format;

/// Writes one value that is not null.
type Write = fn(&Datum, PgType, &FormatSettings, &mut Vec<u8>) -> Result<()>;

/// A column's encoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatumEncoder {
    ty: PgType,
    write: Write,
}

impl DatumEncoder {
    /// Chooses the encoder of a column (42883 or 0A000 if its type has no binary form).
    pub fn choose(ty: PgType, format: Format) -> Result<Self> {
        let write = match format {
            Format::Text => match family(ty.oid) {
                Family::Int2 | Family::Int4 | Family::Oid => write_text_integer,
                Family::Int8 if ty.oid == TypeOid::INT8 => write_text_integer,
                Family::Text | Family::Jsonb | Family::Bits | Family::Hstore | Family::Snapshot => write_text_string,
                _ => text_by_engine as Write,
            },
            Format::Binary => binary_writer(ty.oid)?,
        };
        Ok(DatumEncoder { ty, write })
    }

    /// Appends the value's bytes without their length.
    pub fn write(&self, value: &Datum, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
        (self.write)(value, self.ty, format, out)
    }
}

/// Appends the body of a DataRow.
pub(crate) fn write_row(
    encoders: &[DatumEncoder],
    row: &Row,
    format: &FormatSettings,
    out: &mut Vec<u8>,
) -> Result<()> {
    if encoders.len() != row.len() {
        return Err(Error::internal(format!("a row has {} values for {} columns", row.len(), encoders.len())));
    }
    out.extend_from_slice(&(row.len() as u16).to_be_bytes());
    for (encoder, value) in encoders.iter().zip(row) {
        if value.is_null() {
            put_null(out);
        } else {
            put_cell(out, |out| encoder.write(value, format, out))?;
        }
    }
    Ok(())
}

fn wrong(value: &Datum, ty: PgType) -> Error {
    let found = format!("{value:?}");
    mismatch(ty.oid, found.get(..40).unwrap_or(&found))
}

fn text_by_engine(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    text::write(value, ty, format, out);
    Ok(())
}

fn write_text_string(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Text(text) => out.extend_from_slice(text.as_bytes()),
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

pub(super) fn put_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_text_integer(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Int4(value) => put_integer(out, *value),
        Datum::Int8(value) => put_integer(out, *value),
        Datum::Int2(value) => put_integer(out, *value),
        Datum::Oid(value) => put_integer(out, *value),
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

/// Binary writers whose value is bytes of a `Datum` variant.
macro_rules! binary {
    ($name:ident, $variant:pat => $bytes:expr) => {
        fn $name(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
            match value {
                $variant => out.extend_from_slice($bytes),
                other => return Err(wrong(other, ty)),
            }
            Ok(())
        }
    };
}

binary!(write_bool, Datum::Bool(value) => &[u8::from(*value)]);
binary!(write_int2, Datum::Int2(value) => &value.to_be_bytes());
binary!(write_int4, Datum::Int4(value) => &value.to_be_bytes());
binary!(write_int8, Datum::Int8(value) => &value.to_be_bytes());
binary!(write_tid, Datum::Int8(value) => value.to_be_bytes().split_at(2).1);
binary!(write_float4, Datum::Float4(value) => &value.to_be_bytes());
binary!(write_float8, Datum::Float8(value) => &value.to_be_bytes());
binary!(write_oid, Datum::Oid(value) => &value.to_be_bytes());
binary!(write_bytea, Datum::Bytea(value) => value);
binary!(write_date, Datum::Date(value) => &days_to_wire(*value).to_be_bytes());
binary!(write_time, Datum::Time(value) => &value.to_be_bytes());
binary!(write_timestamp, Datum::Timestamp(value) | Datum::Timestamptz(value) => &micros_to_wire(*value).to_be_bytes());
binary!(write_uuid, Datum::Uuid(value) => value);

fn write_void(_: &Datum, _: PgType, _: &FormatSettings, _: &mut Vec<u8>) -> Result<()> {
    Ok(())
}

/// A reg type is its number; a name (the engine resolved it for the text format) can only be a number here.
fn write_reg(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let oid = match value {
        Datum::Oid(oid) => *oid,
        Datum::Text(name) if &**name == "-" => 0,
        Datum::Text(name) => name.parse().map_err(|_| Error::unsupported("binary output of a resolved object name"))?,
        other => return Err(wrong(other, ty)),
    };
    out.extend_from_slice(&oid.to_be_bytes());
    Ok(())
}

fn write_char(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Text(text) => out.push(text::byte_of_char(text)),
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

fn write_inet(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Bytea(bytes) => match Inet::decode(bytes) {
            Some(address) => out.extend(engine::functions::network::sent(&address, ty.oid == TypeOid::CIDR)),
            None => return Err(mismatch(ty.oid, "bytes that are no address")),
        },
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

fn write_bits(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Text(digits) => {
            out.extend_from_slice(&(digits.len() as i32).to_be_bytes());
            out.extend(bits::pack(digits));
        }
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

fn write_timetz(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Bytea(bytes) => match TimeTz::decode(bytes) {
            Some(time) => {
                out.extend_from_slice(&time.micros.to_be_bytes());
                out.extend_from_slice(&time.west.to_be_bytes());
            }
            None => return Err(mismatch(ty.oid, "bytes that are no time")),
        },
        other => return Err(wrong(other, ty)),
    }
    Ok(())
}

fn write_jsonb(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    // The version of jsonb's binary form, then its text.
    out.push(1);
    write_text_string(value, ty, format, out)
}

fn write_numeric(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Numeric(value) => numeric::write(value, out),
        other => Err(wrong(other, ty)),
    }
}

fn write_interval(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Interval(value) => {
            out.extend_from_slice(&value.micros.to_be_bytes());
            out.extend_from_slice(&value.days.to_be_bytes());
            out.extend_from_slice(&value.months.to_be_bytes());
            Ok(())
        }
        other => Err(wrong(other, ty)),
    }
}

/// Dimensions, whether there are nulls, element type; per dimension its size and lower bound; then the elements.
fn write_array(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let (Datum::Array(values), Some(element)) = (value, ty.oid.element()) else {
        return Err(wrong(value, ty));
    };
    let encoder = DatumEncoder::choose(PgType::new(element, ty.typmod), Format::Binary)?;
    let nulls = i32::from(values.iter().any(Datum::is_null));
    out.extend_from_slice(&(values.dims().len() as i32).to_be_bytes());
    out.extend_from_slice(&nulls.to_be_bytes());
    out.extend_from_slice(&element.0.to_be_bytes());
    for (i, dimension) in values.dims().iter().enumerate() {
        let lower = if i == 0 { values.first_lower(ty.oid) } else { dimension.lower };
        out.extend_from_slice(&dimension.length.to_be_bytes());
        out.extend_from_slice(&lower.to_be_bytes());
    }
    for value in values.iter() {
        if value.is_null() {
            put_null(out);
        } else {
            put_cell(out, |out| encoder.write(value, format, out))?;
        }
    }
    Ok(())
}

/// Number of pairs; of each the key's length and the key, then the value's (-1: NULL).
fn write_hstore(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let Datum::Text(text) = value else { return Err(wrong(value, ty)) };
    let pairs = hstore::parse(text)?;
    out.extend_from_slice(&(pairs.len() as i32).to_be_bytes());
    for ((_, key), value) in &pairs {
        put_cell(out, |out| {
            out.extend_from_slice(key.as_bytes());
            Ok(())
        })?;
        match value {
            None => put_null(out),
            Some(value) => put_cell(out, |out| {
                out.extend_from_slice(value.as_bytes());
                Ok(())
            })?,
        }
    }
    Ok(())
}

/// Number of running transactions, the first one that may run, the first that has not begun, and those that run.
fn write_snapshot(value: &Datum, ty: PgType, _: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let Datum::Text(text) = value else { return Err(wrong(value, ty)) };
    let snapshot = TransactionSnapshot::parse(text)?;
    out.extend_from_slice(&(snapshot.running.len() as i32).to_be_bytes());
    for number in [snapshot.xmin, snapshot.xmax].into_iter().chain(snapshot.running) {
        out.extend_from_slice(&number.to_be_bytes());
    }
    Ok(())
}

/// Number of fields; of each its type and its value.
fn write_record(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) -> Result<()> {
    let Datum::Bytea(row) = value else { return Err(wrong(value, ty)) };
    let fields = record::decode(row)?.fields;
    out.extend_from_slice(&(fields.len() as i32).to_be_bytes());
    for field in &fields {
        out.extend_from_slice(&field.ty.oid.0.to_be_bytes());
        if field.value.is_null() {
            put_null(out);
        } else {
            let encoder = DatumEncoder::choose(field.ty, Format::Binary)?;
            put_cell(out, |out| encoder.write(&field.value, format, out))?;
        }
    }
    Ok(())
}

fn binary_writer(oid: TypeOid) -> Result<Write> {
    Ok(match family(oid) {
        Family::Bool => write_bool,
        Family::Int2 => write_int2,
        Family::Int4 => write_int4,
        Family::Int8 => write_int8,
        Family::Tid => write_tid,
        Family::Float4 => write_float4,
        Family::Float8 => write_float8,
        Family::Oid => write_oid,
        Family::Reg => write_reg,
        Family::Numeric => write_numeric,
        Family::Text if oid == TypeOid::CHAR => write_char,
        Family::Text => write_text_string,
        Family::Jsonb => write_jsonb,
        Family::Bytea | Family::Geometric => write_bytea,
        Family::Inet => write_inet,
        Family::Bits => write_bits,
        Family::Timetz => write_timetz,
        Family::Date => write_date,
        Family::Time => write_time,
        Family::Timestamp | Family::Timestamptz => write_timestamp,
        Family::Interval => write_interval,
        Family::Uuid => write_uuid,
        Family::Void => write_void,
        Family::Enum => text_by_engine,
        Family::Row => write_record,
        Family::Range => range::write,
        Family::Multirange => range::write_multirange,
        Family::Hstore => write_hstore,
        Family::Snapshot => write_snapshot,
        Family::Array(element) => {
            binary_writer(element)?;
            write_array
        }
        Family::TextOnly { postgresql_too } => {
            return Err(no_binary(oid, postgresql_too, "output"));
        }
    })
}

/// Infinities have the same bits on both sides; all other dates of PostgreSQL's range are far from them.
fn days_to_wire(days: i32) -> i32 {
    match days {
        i32::MIN | i32::MAX => days,
        _ => days.wrapping_sub(EPOCH_DAYS),
    }
}

fn micros_to_wire(micros: i64) -> i64 {
    match micros {
        i64::MIN | i64::MAX => micros,
        _ => micros.wrapping_sub(EPOCH_MICROS),
    }
}
