//! Text input and output of every type, as PostgreSQL's input and output functions do it.
//!
//! This file is the table of types; the families are beside it: [`super::float`], [`super::datetime`],
//! [`super::datetime_out`], [`super::interval`], [`super::array`], [`super::json`], [`super::bytes`].

use std::io::Write;
use std::sync::Arc;

use super::calendar::{Zone, abbreviation_at};
use super::numeric::Numeric;
use super::snapshot::TransactionSnapshot;
use super::timetz::TimeTz;
use super::user::UserTypes;
use super::{
    Datum, PgType, TypeOid, array, bits, bytes, datetime, datetime_out, float, geometry, interval, interval_in, json,
    jsonpath, money, names, network, range, record,
};
use crate::error::{Error, Result, SqlState};
use crate::functions::extension::hstore;

/// The settings that text input and output depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatSettings {
    pub time_zone: Zone,
    /// What a zone that is an offset alone calls itself.
    pub zone_abbreviation: Arc<str>,
    pub date_order: DateOrder,
    pub date_style: DateStyle,
    pub interval_style: IntervalStyle,
    pub extra_float_digits: i32,
    pub bytea_hex: bool,
    /// What 'now' and 'today' mean in input: microseconds since 1970; `None` asks the clock.
    pub transaction_time: Option<i64>,
    /// Who knows the names of the reg types' values; without it they are written as numbers.
    pub reg_names: RegNames,
    /// Labels and names of the types that users made.
    pub types: UserTypes,
}

/// Names of what values of the reg types stand for, from a catalog.
pub trait NameRegType: Send + Sync {
    /// As the type's output function writes it; `None` for what does not exist.
    fn name(&self, ty: TypeOid, oid: u32) -> Option<String>;
}

#[derive(Clone, Default)]
pub struct RegNames(pub Option<std::sync::Arc<dyn NameRegType>>);

impl std::fmt::Debug for RegNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "RegNames(catalog)" } else { "RegNames(none)" })
    }
}

impl PartialEq for RegNames {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => std::sync::Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Default for FormatSettings {
    fn default() -> Self {
        FormatSettings {
            time_zone: Zone::Named(chrono_tz::UTC),
            zone_abbreviation: Arc::from(""),
            date_order: DateOrder::Mdy,
            date_style: DateStyle::Iso,
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
            bytea_hex: true,
            transaction_time: None,
            reg_names: RegNames::default(),
            types: UserTypes::default(),
        }
    }
}

impl FormatSettings {
    /// What the session's time zone is called at an instant, as in "EST".
    pub fn abbreviation_at(&self, utc_micros: i64) -> Arc<str> {
        match self.time_zone {
            Zone::Fixed(_) => self.zone_abbreviation.clone(),
            Zone::Named(zone) => abbreviation_at(zone, utc_micros).into(),
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

fn invalid(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::InvalidTextRepresentation, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

fn out_of_range(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type {type_name}"))
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// Reads `text` as a value of `ty` (22P02, 22003, 22007, 22008, 22001 for an over-long value of an explicit length).
pub fn parse(text: &str, ty: PgType, format: &FormatSettings) -> Result<Datum> {
    use TypeOid as T;
    if let Some(element) = ty.oid.element() {
        let element = PgType::new(element, ty.typmod);
        return match ty.oid {
            T::INT2VECTOR | T::OIDVECTOR => array::parse_vector(text, element, format),
            _ => array::parse_array(text, element, format),
        }
        .map(Datum::from);
    }
    Ok(match ty.oid {
        T::BOOL => Datum::Bool(parse_bool(text)?),
        T::INT2 => Datum::Int2(parse_integer(text, "smallint")?),
        T::INT4 => Datum::Int4(parse_integer(text, "integer")?),
        T::INT8 => Datum::Int8(parse_integer(text, "bigint")?),
        T::FLOAT4 => Datum::Float4(float::parse_f32(text)?),
        T::FLOAT8 => Datum::Float8(float::parse_f64(text)?),
        T::NUMERIC => Datum::from(numeric_with_modifier(Numeric::parse(text)?, ty)?),
        T::OID => Datum::Oid(parse_oid(text, "oid")?),
        T::XID | T::CID => Datum::Oid(parse_counter(text) as u32),
        T::XID8 => Datum::Int8(parse_counter(text) as i64),
        T::REGTYPE => Datum::Oid(parse_regtype(text)?),
        oid if is_reg(oid) => match trim(text) {
            "-" => Datum::Oid(0),
            number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                Datum::Oid(parse_oid(number, "oid")?)
            }
            _ => {
                return Err(Error::unsupported(format!(
                    "a name as input of type {} outside a query",
                    names::format_type(oid, -1)
                )));
            }
        },
        T::TEXT | T::UNKNOWN | T::CSTRING | T::REFCURSOR | T::PG_NODE_TREE | T::ACLITEM | T::VOID => Datum::from(text),
        T::VARCHAR => varchar(text, ty.typmod)?,
        T::BPCHAR => bpchar(text, ty.typmod)?,
        T::NAME => Datum::from(truncate_name(text)),
        T::CHAR => Datum::from(char_of_byte(byte_of_char(text))),
        T::BYTEA => Datum::Bytea(Arc::from(bytes::parse(text)?)),
        T::DATE => Datum::Date(datetime::parse_date(text, format)?),
        T::TIME => Datum::Time(datetime::parse_time(text, ty.typmod, format)?),
        T::TIMESTAMP => Datum::Timestamp(datetime::parse_timestamp(text, ty.typmod, format)?),
        T::TIMESTAMPTZ => Datum::Timestamptz(datetime::parse_timestamptz(text, ty.typmod, format)?),
        T::INTERVAL => Datum::Interval(interval_in::parse(text, ty.typmod, format.interval_style)?),
        T::UUID => Datum::Uuid(parse_uuid(text)?),
        T::JSON => {
            json::validate(text)?;
            Datum::from(text)
        }
        T::JSONB => Datum::from(json::normalize(text)?.as_str()),
        T::JSONPATH => Datum::from(jsonpath::read(text)?.to_string()),
        T::PG_SNAPSHOT | T::TXID_SNAPSHOT => Datum::from(TransactionSnapshot::parse(text)?.to_string()),
        T::INET => network::parse(text, false)?,
        T::CIDR => network::parse(text, true)?,
        T::MACADDR => network::parse_macaddr(text)?,
        T::MACADDR8 => network::parse_macaddr8(text)?,
        T::BIT | T::VARBIT => bits::with_length(&bits::read(text)?, ty.oid, ty.typmod, false)?,
        T::TIMETZ => datetime::parse_timetz(text, ty.typmod, format)?.encode(),
        T::MONEY => money::parse(text)?,
        T::PG_LSN => Datum::Int8(parse_lsn(text)?),
        T::TID => Datum::Int8(parse_tid(text)?),
        T::CITEXT => Datum::from(text),
        T::HSTORE => hstore::write(&hstore::parse(text)?),
        oid if geometry::is_geometric(oid) => geometry::parse(text, oid)?,
        oid if oid.is_range() || oid.is_multirange() => range::parse(text, oid, format)?,
        oid if oid.is_row() => record::parse(text, oid, format)?,
        oid if oid.is_enum() => Datum::Int8(format.types.position(oid, text)?),
        oid => {
            return Err(Error::unsupported(format!("type {}", names::format_type(oid, -1))));
        }
    })
}

/// The types of names of objects, but regtype.
pub fn is_reg(oid: TypeOid) -> bool {
    use TypeOid as T;
    matches!(
        oid,
        T::REGPROC
            | T::REGPROCEDURE
            | T::REGOPER
            | T::REGOPERATOR
            | T::REGCLASS
            | T::REGNAMESPACE
            | T::REGROLE
            | T::REGCOLLATION
    )
}

/// Appends the text form of `value` to `out`; NULL writes nothing. Reg types are written as numbers (regtype: as its
/// name): the names of others need a catalog.
pub fn write(value: &Datum, ty: PgType, format: &FormatSettings, out: &mut Vec<u8>) {
    let _ = match value {
        Datum::Null => Ok(()),
        Datum::Bool(v) => {
            out.push(if *v { b't' } else { b'f' });
            Ok(())
        }
        Datum::Int2(v) => write!(out, "{v}"),
        Datum::Int4(v) => write!(out, "{v}"),
        Datum::Int8(v) if ty.oid == TypeOid::PG_LSN => {
            write!(out, "{:X}/{:X}", (*v as u64) >> 32, *v as u32)
        }
        Datum::Int8(v) if ty.oid == TypeOid::TID => write!(out, "({},{})", (*v as u64) >> 16, *v as u16),
        Datum::Int8(v) if ty.oid == TypeOid::MONEY => {
            money::write(*v, out);
            Ok(())
        }
        Datum::Int8(v) if ty.oid == TypeOid::XID8 => write!(out, "{}", *v as u64),
        Datum::Int8(v) if ty.oid.is_enum() => match format.types.label(ty.oid, *v) {
            Some(label) => write!(out, "{label}"),
            None => write!(out, "{v}"),
        },
        Datum::Int8(v) => write!(out, "{v}"),
        Datum::Float4(v) => {
            float::write_f32(*v, format.extra_float_digits, out);
            Ok(())
        }
        Datum::Float8(v) => {
            float::write_f64(*v, format.extra_float_digits, out);
            Ok(())
        }
        // `-` is the name of an operator.
        Datum::Oid(0) if matches!(ty.oid, TypeOid::REGOPER | TypeOid::REGOPERATOR) => write!(out, "0"),
        Datum::Oid(0) if ty.oid == TypeOid::REGTYPE || is_reg(ty.oid) => write!(out, "-"),
        Datum::Oid(v) if ty.oid == TypeOid::REGTYPE || is_reg(ty.oid) => {
            let names = format.reg_names.0.as_ref();
            match names.and_then(|names| names.name(ty.oid, *v)) {
                Some(name) => write!(out, "{name}"),
                None if ty.oid == TypeOid::REGTYPE => write!(out, "{}", names::format_type(TypeOid(*v), -1)),
                None => write!(out, "{v}"),
            }
        }
        Datum::Oid(v) => write!(out, "{v}"),
        Datum::Numeric(v) => write!(out, "{v}"),
        Datum::Text(v) => {
            out.extend_from_slice(v.as_bytes());
            Ok(())
        }
        Datum::Bytea(v) if ty.oid.is_row() => {
            out.extend_from_slice(record::write(v, format).as_bytes());
            Ok(())
        }
        Datum::Bytea(v) => {
            match ty.oid {
                TypeOid::INET | TypeOid::CIDR | TypeOid::MACADDR | TypeOid::MACADDR8 => network::write(v, ty.oid, out),
                oid if oid.is_range() || oid.is_multirange() => range::write(v, oid, format, out),
                oid if geometry::is_geometric(oid) => geometry::write(v, oid, format.extra_float_digits, out),
                TypeOid::TIMETZ => TimeTz::decode(v).into_iter().for_each(|value| value.write(out)),
                _ => bytes::write(v, format.bytea_hex, out),
            }
            Ok(())
        }
        Datum::Date(v) => {
            datetime_out::write_date(*v, format, out);
            Ok(())
        }
        Datum::Time(v) => {
            datetime_out::write_time(*v, out);
            Ok(())
        }
        Datum::Timestamp(v) => {
            datetime_out::write_timestamp(*v, format, out);
            Ok(())
        }
        Datum::Timestamptz(v) => {
            datetime_out::write_timestamptz(*v, format, out);
            Ok(())
        }
        Datum::Interval(v) => {
            interval::write(v, format.interval_style, out);
            Ok(())
        }
        Datum::Uuid(v) => {
            write_uuid(v, out);
            Ok(())
        }
        Datum::Array(items) => {
            let element = PgType::new(ty.oid.element().unwrap_or(TypeOid::TEXT), -1);
            match ty.oid {
                TypeOid::INT2VECTOR | TypeOid::OIDVECTOR => array::write_vector(items, element, format, out),
                _ => array::write_array(items, element, format, out),
            }
            Ok(())
        }
    };
}

/// The text form as a string.
pub fn to_string(value: &Datum, ty: PgType, format: &FormatSettings) -> String {
    let mut out = Vec::new();
    write(value, ty, format, &mut out);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Applies `numeric(p, s)`; without a modifier the value itself.
pub fn numeric_with_modifier(value: Numeric, ty: PgType) -> Result<Numeric> {
    match ty.numeric_precision_scale() {
        Some((precision, scale)) => value.enforce(precision, scale),
        None => Ok(value),
    }
}

/// What PostgreSQL's `boolin` accepts: prefixes of true, false, yes, no; on, off; 1, 0.
pub fn parse_bool(text: &str) -> Result<bool> {
    let lower = trim(text).to_ascii_lowercase();
    let prefix_of = |word: &str, shortest: usize| lower.len() >= shortest && word.starts_with(&lower);
    if prefix_of("true", 1) || prefix_of("yes", 1) || lower == "on" || lower == "1" {
        Ok(true)
    } else if prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) || lower == "0" {
        Ok(false)
    } else {
        Err(invalid("boolean", text))
    }
}

fn parse_integer<T: std::str::FromStr>(text: &str, type_name: &str) -> Result<T> {
    let trimmed = trim(text);
    if let Ok(value) = trimmed.parse() {
        return Ok(value);
    }
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(type_name, text));
    }
    Err(out_of_range(type_name, text))
}

fn parse_oid(text: &str, type_name: &str) -> Result<u32> {
    let value: i64 = trim(text).parse().map_err(|_| {
        let digits = trim(text).strip_prefix(['+', '-']).unwrap_or(trim(text));
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            out_of_range(type_name, text)
        } else {
            invalid(type_name, text)
        }
    })?;
    // strtoul's range: negative numbers wrap.
    if value < i64::from(i32::MIN) || value > i64::from(u32::MAX) {
        return Err(out_of_range(type_name, text));
    }
    Ok(value as u32)
}

/// C's strtoul with any base: what is no number is zero, what is too large the largest.
fn parse_counter(text: &str) -> u64 {
    let body = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let hexadecimal = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X"));
    let hexadecimal = hexadecimal.filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (digits, base) = match hexadecimal {
        Some(digits) => (digits, 16),
        None => (body, if body.starts_with('0') { 8 } else { 10 }),
    };
    let mut value = 0u64;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        match value.checked_mul(base.into()).and_then(|v| v.checked_add(digit.into())) {
            Some(next) => value = next,
            None => return u64::MAX,
        }
    }
    if negative { value.wrapping_neg() } else { value }
}

fn parse_regtype(text: &str) -> Result<u32> {
    let trimmed = trim(text);
    if trimmed == "-" {
        return Ok(0);
    }
    if trimmed.is_empty() {
        return Err(Error::new(SqlState::SyntaxError, format!("invalid type name \"{text}\"")));
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return parse_oid(trimmed, "oid");
    }
    let found = names::lookup_text(trimmed).map(|ty| ty.oid.0);
    found.ok_or_else(|| Error::new(SqlState::UndefinedObject, format!("type \"{trimmed}\" does not exist")))
}

/// Characters that `varchar(n)` and `char(n)` hold, if they are limited.
pub fn length_limit(typmod: i32) -> Option<usize> {
    (typmod >= 4).then(|| (typmod - 4) as usize)
}

/// Input of varchar(n): 22001 unless what is too much is spaces.
fn varchar(text: &str, typmod: i32) -> Result<Datum> {
    Ok(Datum::from(limit_length(text, typmod, "character varying")?))
}

/// Input of char(n): as varchar, then padded.
fn bpchar(text: &str, typmod: i32) -> Result<Datum> {
    let limited = limit_length(text, typmod, "character")?;
    Ok(pad(limited, typmod))
}

/// Pads with spaces to the length of char(n).
pub fn pad(text: &str, typmod: i32) -> Datum {
    let missing = length_limit(typmod).map_or(0, |limit| limit.saturating_sub(text.chars().count()));
    if missing == 0 {
        return Datum::from(text);
    }
    let mut padded = String::with_capacity(text.len() + missing);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', missing));
    Datum::from(padded.as_str())
}

/// Cuts trailing spaces beyond the limit; anything else beyond it is 22001.
pub fn limit_length<'a>(text: &'a str, typmod: i32, type_name: &str) -> Result<&'a str> {
    let Some(limit) = length_limit(typmod) else {
        return Ok(text);
    };
    if text.len() <= limit {
        return Ok(text);
    }
    let Some((cut, _)) = text.char_indices().nth(limit) else {
        return Ok(text);
    };
    if text[cut..].bytes().all(|b| b == b' ') {
        return Ok(&text[..cut]);
    }
    Err(Error::new(SqlState::StringDataRightTruncation, format!("value too long for type {type_name}({limit})")))
}

/// At most 63 bytes, cut between characters.
pub fn truncate_name(text: &str) -> &str {
    let mut end = text.len().min(63);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The byte of a "char": its text is one character of ASCII, or `\ooo`; nothing is zero.
pub fn byte_of_char(text: &str) -> u8 {
    match text.as_bytes() {
        [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            (a - b'0').wrapping_mul(64).wrapping_add((b - b'0') * 8 + (c - b'0'))
        }
        [first, ..] => *first,
        [] => 0,
    }
}

/// The text of a "char".
pub fn char_of_byte(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=127 => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let body = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'));
    let mut value = [0u8; 16];
    let mut digits = 0;
    let bytes = body.ok_or_else(|| invalid("uuid", text))?.as_bytes();
    for (i, byte) in bytes.iter().enumerate() {
        if *byte == b'-' && digits > 0 && digits < 32 && digits % 4 == 0 && bytes.get(i + 1) != Some(&b'-') {
            continue;
        }
        let nibble = char::from(*byte).to_digit(16).filter(|_| digits < 32).ok_or_else(|| invalid("uuid", text))?;
        value[digits / 2] = value[digits / 2] << 4 | nibble as u8;
        digits += 1;
    }
    if digits == 32 { Ok(value) } else { Err(invalid("uuid", text)) }
}

fn write_uuid(value: &[u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in value.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// `(block,place)`, as one number that sorts like it.
fn parse_tid(text: &str) -> Result<i64> {
    let parts = text.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')')?.0.split_once(','));
    let number = |s: &str| s.trim_start().parse::<i64>().ok();
    parts
        .and_then(|(block, place)| {
            let place = number(place).filter(|n| (0..=i64::from(u16::MAX)).contains(n))?;
            // As PostgreSQL: a block number may be written as a negative one of 32 bits.
            let block = number(block).filter(|n| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(n))?;
            Some(i64::from(block as u32) << 16 | place)
        })
        .ok_or_else(|| invalid("tid", text))
}

fn parse_lsn(text: &str) -> Result<i64> {
    let part = |s: &str| {
        let valid = (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
        u32::from_str_radix(s, 16).ok().filter(|_| valid)
    };
    text.split_once('/')
        .and_then(|(high, low)| Some(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
        .map(|lsn| lsn as i64)
        .ok_or_else(|| invalid("pg_lsn", text))
}
