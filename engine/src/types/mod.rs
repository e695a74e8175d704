//! PostgreSQL's types: their OIDs, their values ([`Datum`]), their text form and how each lies in Arrow memory.
//!
//! | family | Arrow |
//! |---|---|
//! | bool, int2/4/8, float4/8 | Boolean, Int16/32/64, Float32/64 |
//! | oid, regclass, regtype, regproc, regnamespace, regrole, xid, cid | UInt32 |
//! | numeric(p, s) with p ≤ 38, 0 ≤ s ≤ p | Decimal128(p, s) |
//! | any other numeric | Binary, [`numeric::Numeric::encode`]: bytes that sort like the numbers, then the display scale |
//! | text, varchar, char(n), name, "char", json, jsonb, unknown, pg_node_tree, aclitem | Utf8 |
//! | bytea, inet, cidr, macaddr, macaddr8, timetz | Binary that sorts like the values: [`network`], [`timetz`] |
//! | money | Int64, cents |
//! | point, lseg, box, line, path, polygon, circle | Binary, their wire form: [`geometry`] |
//! | bit, bit varying | Utf8, their digits |
//! | date, time, timestamp, timestamptz | Date32, Time64(µs), Timestamp(µs), Timestamp(µs, "UTC"); infinities are MIN and MAX |
//! | interval | Interval(MonthDayNano) |
//! | uuid | FixedSizeBinary(16) |
//! | arrays, int2vector, oidvector | Binary, [`codec::encode_array`] |
//! | enums | Int64, the value's position ([`user`]) |
//! | rows | Binary ([`record`]) |
//! | ranges, multiranges | Binary ([`range`]) |
//!
//! Invariant: a column's Arrow type follows from its [`PgType`] alone ([`PgType::arrow`]); a numeric *expression* may
//! also be Decimal128 of any scale, so readers of query results look at the array's own type.

pub mod array;
pub mod arrow;
pub mod bits;
pub mod bytes;
pub mod calendar;
pub mod codec;
pub mod collation;
pub mod compare;
pub mod datetime;
pub mod datetime_out;
pub mod equal;
pub mod float;
pub mod geometry;
pub mod interval;
pub mod interval_in;
pub mod json;
pub mod jsonpath;
pub mod money;
pub mod names;
pub mod network;
pub mod numeric;
pub mod plane;
pub mod range;
pub mod record;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod text;
pub mod timetz;
pub mod user;

use std::sync::Arc;

use ::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

use array::ArrayValue;
use numeric::Numeric;

/// OID of a type in pg_type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TypeOid(pub u32);

macro_rules! type_oids {
    ($($name:ident = $oid:literal),* $(,)?) => { impl TypeOid { $(pub const $name: TypeOid = TypeOid($oid);)* } };
}

type_oids! {
    BOOL = 16, BYTEA = 17, CHAR = 18, NAME = 19, INT8 = 20, INT2 = 21, INT2VECTOR = 22, INT4 = 23, REGPROC = 24, TEXT = 25,
    OID = 26, TID = 27, XID = 28, CID = 29, OIDVECTOR = 30, JSON = 114, XML = 142, PG_NODE_TREE = 194, FLOAT4 = 700, FLOAT8 = 701,
    UNKNOWN = 705, MONEY = 790, INET = 869, CIDR = 650, ACLITEM = 1033, BPCHAR = 1042, VARCHAR = 1043, DATE = 1082, TIME = 1083,
    TIMESTAMP = 1114, TIMESTAMPTZ = 1184, INTERVAL = 1186, TIMETZ = 1266, BIT = 1560, VARBIT = 1562, NUMERIC = 1700,
    REFCURSOR = 1790, REGPROCEDURE = 2202, REGOPER = 2203, REGOPERATOR = 2204, REGCLASS = 2205, REGTYPE = 2206, RECORD = 2249,
    CSTRING = 2275, ANY = 2276, ANYARRAY = 2277, VOID = 2278, TRIGGER = 2279, INTERNAL = 2281, ANYELEMENT = 2283, ANYNONARRAY = 2776,
    UUID = 2950, PG_LSN = 3220, JSONB = 3802, REGNAMESPACE = 4089, REGROLE = 4096, REGCOLLATION = 4191, XID8 = 5069,
    PG_SNAPSHOT = 5038, PG_SNAPSHOT_ARRAY = 5039, TXID_SNAPSHOT = 2970, TXID_SNAPSHOT_ARRAY = 2949,
    BOOL_ARRAY = 1000, BYTEA_ARRAY = 1001, CHAR_ARRAY = 1002, NAME_ARRAY = 1003, INT2_ARRAY = 1005, INT2VECTOR_ARRAY = 1006,
    INT4_ARRAY = 1007, REGPROC_ARRAY = 1008, TEXT_ARRAY = 1009, OID_ARRAY = 1028, XID_ARRAY = 1011, OIDVECTOR_ARRAY = 1013,
    BPCHAR_ARRAY = 1014, VARCHAR_ARRAY = 1015, INT8_ARRAY = 1016, FLOAT4_ARRAY = 1021, FLOAT8_ARRAY = 1022, ACLITEM_ARRAY = 1034,
    TIMESTAMP_ARRAY = 1115, DATE_ARRAY = 1182, TIME_ARRAY = 1183, TIMESTAMPTZ_ARRAY = 1185, INTERVAL_ARRAY = 1187,
    NUMERIC_ARRAY = 1231, REGCLASS_ARRAY = 2210, REGTYPE_ARRAY = 2211, RECORD_ARRAY = 2287, UUID_ARRAY = 2951, JSON_ARRAY = 199, JSONB_ARRAY = 3807,
    MACADDR8 = 774, MACADDR8_ARRAY = 775, MONEY_ARRAY = 791, MACADDR = 829, MACADDR_ARRAY = 1040, INET_ARRAY = 1041, CIDR_ARRAY = 651,
    POINT = 600, LSEG = 601, PATH = 602, BOX = 603, POLYGON = 604, LINE = 628, CIRCLE = 718, POINT_ARRAY = 1017, LSEG_ARRAY = 1018,
    PATH_ARRAY = 1019, BOX_ARRAY = 1020, POLYGON_ARRAY = 1027, LINE_ARRAY = 629, CIRCLE_ARRAY = 719,
    INT4RANGE = 3904, INT4RANGE_ARRAY = 3905, NUMRANGE = 3906, NUMRANGE_ARRAY = 3907, TSRANGE = 3908, TSRANGE_ARRAY = 3909,
    TSTZRANGE = 3910, TSTZRANGE_ARRAY = 3911, DATERANGE = 3912, DATERANGE_ARRAY = 3913, INT8RANGE = 3926, INT8RANGE_ARRAY = 3927,
    INT4MULTIRANGE = 4451, NUMMULTIRANGE = 4532, TSMULTIRANGE = 4533, TSTZMULTIRANGE = 4534, DATEMULTIRANGE = 4535,
    INT8MULTIRANGE = 4536, INT4MULTIRANGE_ARRAY = 6150, NUMMULTIRANGE_ARRAY = 6151, TSMULTIRANGE_ARRAY = 6152,
    TSTZMULTIRANGE_ARRAY = 6153, DATEMULTIRANGE_ARRAY = 6155, INT8MULTIRANGE_ARRAY = 6157,
    BIT_ARRAY = 1561, VARBIT_ARRAY = 1563, JSONPATH = 4072, JSONPATH_ARRAY = 4073, CSTRING_ARRAY = 1263, TIMETZ_ARRAY = 1270,
    TID_ARRAY = 1010, CID_ARRAY = 1012, REGPROCEDURE_ARRAY = 2207, REGOPER_ARRAY = 2208, REGOPERATOR_ARRAY = 2209,
    PG_LSN_ARRAY = 3221, REGROLE_ARRAY = 4097, REGNAMESPACE_ARRAY = 4090, REGCOLLATION_ARRAY = 4192, XID8_ARRAY = 271, REFCURSOR_ARRAY = 2201,
}

/// A type with its modifier, as pg_attribute has it: `atttypid`, `atttypmod` (-1 for none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PgType {
    pub oid: TypeOid,
    pub typmod: i32,
}

impl From<TypeOid> for PgType {
    fn from(oid: TypeOid) -> Self {
        PgType { oid, typmod: -1 }
    }
}

impl PgType {
    pub const fn new(oid: TypeOid, typmod: i32) -> Self {
        PgType { oid, typmod }
    }

    /// Precision and scale of a numeric with a modifier.
    pub fn numeric_precision_scale(self) -> Option<(u16, i16)> {
        if self.oid != TypeOid::NUMERIC || self.typmod < 4 {
            return None;
        }
        let bits = self.typmod - 4;
        let scale = ((bits & 0x7ff) ^ 1024) - 1024;
        Some((((bits >> 16) & 0xffff) as u16, scale as i16))
    }

    /// Type modifier of `numeric(precision, scale)`.
    pub const fn numeric_typmod(precision: u16, scale: i16) -> i32 {
        (((precision as i32) << 16) | ((scale as i32) & 0x7ff)) + 4
    }

    /// How a column of this type lies in memory.
    pub fn arrow(self) -> DataType {
        use TypeOid as T;
        if self.oid.element().is_some() {
            return DataType::Binary;
        }
        match self.oid {
            T::BOOL => DataType::Boolean,
            T::INT2 => DataType::Int16,
            T::INT4 => DataType::Int32,
            T::INT8 | T::PG_LSN | T::XID8 | T::TID => DataType::Int64,
            T::FLOAT4 => DataType::Float32,
            T::FLOAT8 => DataType::Float64,
            T::OID
            | T::REGPROC
            | T::REGPROCEDURE
            | T::REGOPER
            | T::REGOPERATOR
            | T::REGCLASS
            | T::REGTYPE
            | T::REGNAMESPACE
            | T::REGROLE
            | T::REGCOLLATION
            | T::XID
            | T::CID => DataType::UInt32,
            T::NUMERIC => match self.numeric_precision_scale() {
                Some((p, s)) if p <= 38 && s >= 0 && s as u16 <= p => DataType::Decimal128(p as u8, s as i8),
                _ => DataType::Binary,
            },
            T::MONEY => DataType::Int64,
            T::BYTEA | T::INET | T::CIDR | T::MACADDR | T::MACADDR8 | T::TIMETZ => DataType::Binary,
            T::DATE => DataType::Date32,
            T::TIME => DataType::Time64(TimeUnit::Microsecond),
            T::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
            T::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            T::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
            T::UUID => DataType::FixedSizeBinary(16),
            T::VOID => DataType::Utf8,
            oid if oid.is_enum() => DataType::Int64,
            oid if oid.is_row() || geometry::is_geometric(oid) || oid.is_range() || oid.is_multirange() => {
                DataType::Binary
            }
            _ => DataType::Utf8,
        }
    }
}

impl TypeOid {
    /// Element type of an array type (`typelem` of true arrays, int2vector and oidvector).
    pub fn element(self) -> Option<TypeOid> {
        use TypeOid as T;
        Some(match self {
            T::BOOL_ARRAY => T::BOOL,
            T::TID_ARRAY => T::TID,
            T::BYTEA_ARRAY => T::BYTEA,
            T::CHAR_ARRAY => T::CHAR,
            T::NAME_ARRAY => T::NAME,
            T::INT2_ARRAY | T::INT2VECTOR => T::INT2,
            T::INT4_ARRAY => T::INT4,
            T::REGPROC_ARRAY => T::REGPROC,
            T::TEXT_ARRAY => T::TEXT,
            T::OID_ARRAY | T::OIDVECTOR => T::OID,
            T::XID_ARRAY => T::XID,
            T::BPCHAR_ARRAY => T::BPCHAR,
            T::VARCHAR_ARRAY => T::VARCHAR,
            T::INT8_ARRAY => T::INT8,
            T::FLOAT4_ARRAY => T::FLOAT4,
            T::FLOAT8_ARRAY => T::FLOAT8,
            T::ACLITEM_ARRAY => T::ACLITEM,
            T::TIMESTAMP_ARRAY => T::TIMESTAMP,
            T::DATE_ARRAY => T::DATE,
            T::TIME_ARRAY => T::TIME,
            T::TIMESTAMPTZ_ARRAY => T::TIMESTAMPTZ,
            T::INTERVAL_ARRAY => T::INTERVAL,
            T::NUMERIC_ARRAY => T::NUMERIC,
            T::REGCLASS_ARRAY => T::REGCLASS,
            T::REGTYPE_ARRAY => T::REGTYPE,
            T::UUID_ARRAY => T::UUID,
            T::JSON_ARRAY => T::JSON,
            T::JSONB_ARRAY => T::JSONB,
            T::JSONPATH_ARRAY => T::JSONPATH,
            T::INET_ARRAY => T::INET,
            T::CIDR_ARRAY => T::CIDR,
            T::MACADDR_ARRAY => T::MACADDR,
            T::MACADDR8_ARRAY => T::MACADDR8,
            T::BIT_ARRAY => T::BIT,
            T::VARBIT_ARRAY => T::VARBIT,
            T::TIMETZ_ARRAY => T::TIMETZ,
            T::MONEY_ARRAY => T::MONEY,
            T::RECORD_ARRAY => T::RECORD,
            T::POINT_ARRAY => T::POINT,
            T::LSEG_ARRAY => T::LSEG,
            T::PATH_ARRAY => T::PATH,
            T::BOX_ARRAY => T::BOX,
            T::POLYGON_ARRAY => T::POLYGON,
            T::LINE_ARRAY => T::LINE,
            T::CIRCLE_ARRAY => T::CIRCLE,
            T::INT4RANGE_ARRAY => T::INT4RANGE,
            T::NUMRANGE_ARRAY => T::NUMRANGE,
            T::TSRANGE_ARRAY => T::TSRANGE,
            T::TSTZRANGE_ARRAY => T::TSTZRANGE,
            T::DATERANGE_ARRAY => T::DATERANGE,
            T::INT8RANGE_ARRAY => T::INT8RANGE,
            T::INT4MULTIRANGE_ARRAY => T::INT4MULTIRANGE,
            T::NUMMULTIRANGE_ARRAY => T::NUMMULTIRANGE,
            T::TSMULTIRANGE_ARRAY => T::TSMULTIRANGE,
            T::TSTZMULTIRANGE_ARRAY => T::TSTZMULTIRANGE,
            T::DATEMULTIRANGE_ARRAY => T::DATEMULTIRANGE,
            T::INT8MULTIRANGE_ARRAY => T::INT8MULTIRANGE,
            T::CID_ARRAY => T::CID,
            T::REGPROCEDURE_ARRAY => T::REGPROCEDURE,
            T::REGOPER_ARRAY => T::REGOPER,
            T::REGOPERATOR_ARRAY => T::REGOPERATOR,
            T::PG_LSN_ARRAY => T::PG_LSN,
            T::REGROLE_ARRAY => T::REGROLE,
            T::REGNAMESPACE_ARRAY => T::REGNAMESPACE,
            T::REGCOLLATION_ARRAY => T::REGCOLLATION,
            T::XID8_ARRAY => T::XID8,
            T::PG_SNAPSHOT_ARRAY => T::PG_SNAPSHOT,
            T::TXID_SNAPSHOT_ARRAY => T::TXID_SNAPSHOT,
            T::REFCURSOR_ARRAY => T::REFCURSOR,
            T::CSTRING_ARRAY => T::CSTRING,
            T::ANYARRAY => T::TEXT,
            other => return other.user_element(),
        })
    }

    /// The array type over this type.
    pub fn array(self) -> Option<TypeOid> {
        use TypeOid as T;
        Some(match self {
            T::BOOL => T::BOOL_ARRAY,
            T::TID => T::TID_ARRAY,
            T::BYTEA => T::BYTEA_ARRAY,
            T::CHAR => T::CHAR_ARRAY,
            T::NAME => T::NAME_ARRAY,
            T::INT2 => T::INT2_ARRAY,
            T::INT4 => T::INT4_ARRAY,
            T::REGPROC => T::REGPROC_ARRAY,
            T::TEXT | T::UNKNOWN => T::TEXT_ARRAY,
            T::OID => T::OID_ARRAY,
            T::XID => T::XID_ARRAY,
            T::BPCHAR => T::BPCHAR_ARRAY,
            T::VARCHAR => T::VARCHAR_ARRAY,
            T::INT8 => T::INT8_ARRAY,
            T::FLOAT4 => T::FLOAT4_ARRAY,
            T::FLOAT8 => T::FLOAT8_ARRAY,
            T::ACLITEM => T::ACLITEM_ARRAY,
            T::TIMESTAMP => T::TIMESTAMP_ARRAY,
            T::DATE => T::DATE_ARRAY,
            T::TIME => T::TIME_ARRAY,
            T::TIMESTAMPTZ => T::TIMESTAMPTZ_ARRAY,
            T::INTERVAL => T::INTERVAL_ARRAY,
            T::NUMERIC => T::NUMERIC_ARRAY,
            T::REGCLASS => T::REGCLASS_ARRAY,
            T::REGTYPE => T::REGTYPE_ARRAY,
            T::UUID => T::UUID_ARRAY,
            T::JSON => T::JSON_ARRAY,
            T::JSONB => T::JSONB_ARRAY,
            T::JSONPATH => T::JSONPATH_ARRAY,
            T::INET => T::INET_ARRAY,
            T::CIDR => T::CIDR_ARRAY,
            T::MACADDR => T::MACADDR_ARRAY,
            T::MACADDR8 => T::MACADDR8_ARRAY,
            T::BIT => T::BIT_ARRAY,
            T::VARBIT => T::VARBIT_ARRAY,
            T::TIMETZ => T::TIMETZ_ARRAY,
            T::MONEY => T::MONEY_ARRAY,
            T::CID => T::CID_ARRAY,
            T::REGPROCEDURE => T::REGPROCEDURE_ARRAY,
            T::REGOPER => T::REGOPER_ARRAY,
            T::REGOPERATOR => T::REGOPERATOR_ARRAY,
            T::PG_LSN => T::PG_LSN_ARRAY,
            T::REGROLE => T::REGROLE_ARRAY,
            T::REGNAMESPACE => T::REGNAMESPACE_ARRAY,
            T::REGCOLLATION => T::REGCOLLATION_ARRAY,
            T::XID8 => T::XID8_ARRAY,
            T::PG_SNAPSHOT => T::PG_SNAPSHOT_ARRAY,
            T::TXID_SNAPSHOT => T::TXID_SNAPSHOT_ARRAY,
            T::REFCURSOR => T::REFCURSOR_ARRAY,
            T::CSTRING => T::CSTRING_ARRAY,
            T::INT2VECTOR => T::INT2VECTOR_ARRAY,
            T::OIDVECTOR => T::OIDVECTOR_ARRAY,
            T::RECORD => T::RECORD_ARRAY,
            T::POINT => T::POINT_ARRAY,
            T::LSEG => T::LSEG_ARRAY,
            T::PATH => T::PATH_ARRAY,
            T::BOX => T::BOX_ARRAY,
            T::POLYGON => T::POLYGON_ARRAY,
            T::LINE => T::LINE_ARRAY,
            T::CIRCLE => T::CIRCLE_ARRAY,
            T::INT4RANGE => T::INT4RANGE_ARRAY,
            T::NUMRANGE => T::NUMRANGE_ARRAY,
            T::TSRANGE => T::TSRANGE_ARRAY,
            T::TSTZRANGE => T::TSTZRANGE_ARRAY,
            T::DATERANGE => T::DATERANGE_ARRAY,
            T::INT8RANGE => T::INT8RANGE_ARRAY,
            T::INT4MULTIRANGE => T::INT4MULTIRANGE_ARRAY,
            T::NUMMULTIRANGE => T::NUMMULTIRANGE_ARRAY,
            T::TSMULTIRANGE => T::TSMULTIRANGE_ARRAY,
            T::TSTZMULTIRANGE => T::TSTZMULTIRANGE_ARRAY,
            T::DATEMULTIRANGE => T::DATEMULTIRANGE_ARRAY,
            T::INT8MULTIRANGE => T::INT8MULTIRANGE_ARRAY,
            other => return other.user_array(),
        })
    }
}

/// PostgreSQL's interval: three independent fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

/// One value. The variant is the physical family; the SQL type travels beside it as [`PgType`] (a `Text` may be text,
/// varchar, bpchar, name, json, …; an `Oid` any of the reg types).
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Oid(u32),
    Numeric(Box<Numeric>),
    Text(Arc<str>),
    Bytea(Arc<[u8]>),
    /// Days since 2000-01-01 would be PostgreSQL's; these are days since 1970-01-01, like Arrow's. MIN/MAX: infinities.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01, MIN/MAX: infinities.
    Timestamp(i64),
    Timestamptz(i64),
    Interval(Interval),
    Uuid([u8; 16]),
    /// Array of values of one type; int2vector and oidvector are taken to begin at 0.
    Array(Arc<ArrayValue>),
}

impl Datum {
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
}

impl From<ArrayValue> for Datum {
    fn from(value: ArrayValue) -> Self {
        Datum::Array(Arc::new(value))
    }
}

impl From<Numeric> for Datum {
    fn from(value: Numeric) -> Self {
        Datum::Numeric(Box::new(value))
    }
}

impl From<&str> for Datum {
    fn from(s: &str) -> Self {
        Datum::Text(Arc::from(s))
    }
}
