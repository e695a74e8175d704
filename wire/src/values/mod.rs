//! Values as bytes: the table of types with their wire forms, and the encoders and decoders it leads to.
//!
//! | direction | module |
//! |---|---|
//! | [`Datum`](engine::types::Datum) → text or binary | [`datum`] |
//! | Arrow column → text or binary | [`column`] |
//! | bind parameter → [`Datum`](engine::types::Datum) | [`parameter`] |
//! | numeric's base-10000 digits, both ways | [`numeric`] |
//!
//! Invariant 1: an encoder is chosen once per column of a result, never per cell.

pub(crate) mod column;
pub(crate) mod datum;
pub(crate) mod numeric;
pub(crate) mod parameter;
mod range;

use engine::error::{Error, Result, SqlState};
use engine::types::{TypeOid, geometry};

/// Days and microseconds from 1970-01-01, ours and Arrow's epoch, to 2000-01-01, the wire's.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Wire form of a type: what decides its binary format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Four bytes, unsigned; the reg types are sent as names in text and as numbers in binary.
    Oid,
    Reg,
    Numeric,
    Text,
    Jsonb,
    Bytea,
    /// Family, mask, whether a cidr, length, address.
    Inet,
    /// The number of bits, then the bits.
    Bits,
    Timetz,
    /// Float8s, in paths and polygons their number first: the engine's own bytes.
    Geometric,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    /// No bytes at all.
    Void,
    /// A list of this element.
    Array(TypeOid),
    /// Fields with their types.
    Row,
    /// Flags, then the finite bounds.
    Range,
    /// The number of ranges, then these.
    Multirange,
    /// Keys and values, their number first.
    Hstore,
    /// The number of running transactions, the bounds, the transactions.
    Snapshot,
    /// Its label, in either format.
    Enum,
    /// Block number in four bytes, place in two.
    Tid,
    /// Has a text form only: by PostgreSQL's own lack of a binary one, or by ours.
    TextOnly {
        postgresql_too: bool,
    },
}

/// The table of types.
pub(crate) fn family(oid: TypeOid) -> Family {
    use TypeOid as T;
    if let Some(element) = oid.element() {
        return Family::Array(element);
    }
    match oid {
        T::BOOL => Family::Bool,
        T::INT2 => Family::Int2,
        T::INT4 => Family::Int4,
        T::INT8 | T::XID8 | T::PG_LSN | T::MONEY => Family::Int8,
        T::TID => Family::Tid,
        T::FLOAT4 => Family::Float4,
        T::FLOAT8 => Family::Float8,
        T::OID | T::XID | T::CID => Family::Oid,
        T::REGPROC
        | T::REGPROCEDURE
        | T::REGOPER
        | T::REGOPERATOR
        | T::REGCLASS
        | T::REGTYPE
        | T::REGNAMESPACE
        | T::REGROLE
        | T::REGCOLLATION => Family::Reg,
        T::NUMERIC => Family::Numeric,
        T::TEXT
        | T::VARCHAR
        | T::BPCHAR
        | T::NAME
        | T::CHAR
        | T::UNKNOWN
        | T::CSTRING
        | T::JSON
        | T::XML
        | T::REFCURSOR
        | T::PG_NODE_TREE => Family::Text,
        T::JSONB | T::JSONPATH => Family::Jsonb,
        T::BYTEA | T::MACADDR | T::MACADDR8 => Family::Bytea,
        T::INET | T::CIDR => Family::Inet,
        T::BIT | T::VARBIT => Family::Bits,
        T::TIMETZ => Family::Timetz,
        T::DATE => Family::Date,
        T::TIME => Family::Time,
        T::TIMESTAMP => Family::Timestamp,
        T::TIMESTAMPTZ => Family::Timestamptz,
        T::INTERVAL => Family::Interval,
        T::UUID => Family::Uuid,
        T::VOID => Family::Void,
        T::CITEXT => Family::Text,
        T::HSTORE => Family::Hstore,
        T::PG_SNAPSHOT | T::TXID_SNAPSHOT => Family::Snapshot,
        oid if geometry::is_geometric(oid) => Family::Geometric,
        oid if oid.is_range() => Family::Range,
        oid if oid.is_multirange() => Family::Multirange,
        oid if oid.is_row() => Family::Row,
        oid if oid.is_enum() => Family::Enum,
        T::ACLITEM | T::TRIGGER | T::INTERNAL | T::ANY | T::ANYELEMENT | T::ANYNONARRAY => {
            Family::TextOnly { postgresql_too: true }
        }
        _ => Family::TextOnly { postgresql_too: false },
    }
}

/// pg_type.typlen: bytes of a value, -1 for a varying length, -2 for a C string.
pub(crate) fn type_length(oid: TypeOid) -> i16 {
    use TypeOid as T;
    match oid {
        T::CHAR => 1,
        T::NAME => 64,
        T::UNKNOWN | T::CSTRING => -2,
        T::TID => 6,
        T::MONEY => 8,
        T::MACADDR => 6,
        T::MACADDR8 => 8,
        T::TIMETZ => 12,
        T::POINT => 16,
        T::LSEG | T::BOX => 32,
        T::LINE | T::CIRCLE => 24,
        T::ACLITEM => 12,
        T::ANYELEMENT | T::ANYNONARRAY | T::ANY | T::TRIGGER => 4,
        T::INTERNAL => 8,
        _ => match family(oid) {
            Family::Bool => 1,
            Family::Int2 => 2,
            Family::Int4 | Family::Float4 | Family::Oid | Family::Reg | Family::Date => 4,
            Family::Int8 | Family::Float8 | Family::Time | Family::Timestamp | Family::Timestamptz => 8,
            Family::Interval | Family::Uuid => 16,
            Family::Void | Family::Enum => 4,
            _ => -1,
        },
    }
}

/// The error for a type that has no binary form in the given direction ("output" or "input").
fn no_binary(oid: TypeOid, postgresql_too: bool, direction: &str) -> Error {
    let name = match oid {
        TypeOid::ACLITEM => "aclitem".to_owned(),
        TypeOid::TRIGGER => "trigger".to_owned(),
        TypeOid::INTERNAL => "internal".to_owned(),
        TypeOid::ANY => "\"any\"".to_owned(),
        TypeOid::ANYELEMENT => "anyelement".to_owned(),
        TypeOid::ANYNONARRAY => "anynonarray".to_owned(),
        TypeOid(number) => format!("with OID {number}"),
    };
    if postgresql_too {
        Error::new(SqlState::UndefinedFunction, format!("no binary {direction} function available for type {name}"))
    } else {
        Error::unsupported(format!("binary {direction} of type {name}"))
    }
}

/// Our mistake: a value that is not of its column's type.
fn mismatch(oid: TypeOid, found: &str) -> Error {
    Error::internal(format!("a value of a column of type with OID {} arrived as {found}", oid.0))
}

/// Appends a value with its length word in front (-1 without bytes: NULL).
pub(crate) fn put_cell(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| Error::new(SqlState::ProgramLimitExceeded, "a value of more than 2 GiB can not be sent"))?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

pub(crate) fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

#[cfg(test)]
mod tests;
