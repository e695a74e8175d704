//! PostgreSQL's binary values as PostgreSQL would print them, so that one expected text serves both formats.
//!
//! Written from the manual's and the wire format's description only: it must not share code with the server it checks.

use std::error::Error;
use std::fmt::Write;

use chrono::{Datelike, Duration, NaiveDate};
use tokio_postgres::types::{FromSql, Kind, Type};

/// A value as it came over the wire.
pub struct Raw(pub Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The letter of a type in `.slt` files; `?` is any type without one.
pub fn letter(type_: &Type) -> char {
    match *type_ {
        Type::BOOL => 'B',
        Type::INT2 => 'S',
        Type::INT4 => 'I',
        Type::INT8 => 'L',
        Type::FLOAT4 => 'F',
        Type::FLOAT8 => 'R',
        Type::NUMERIC => 'N',
        Type::TEXT => 'T',
        Type::VARCHAR => 'V',
        Type::BPCHAR => 'C',
        Type::BYTEA => 'X',
        Type::DATE => 'D',
        Type::TIME => 'H',
        Type::TIMESTAMP => 'M',
        Type::TIMESTAMPTZ => 'Z',
        Type::INTERVAL => 'Y',
        Type::UUID => 'U',
        _ => '?',
    }
}

/// Whether `text` can print values of this type. Names of objects (regclass and its family) need the catalog.
pub fn printable(type_: &Type) -> bool {
    match type_.kind() {
        Kind::Array(element) => printable(element),
        _ => letter(type_) != '?' || matches!(*type_, Type::NAME | Type::OID | Type::CHAR | Type::UNKNOWN),
    }
}

/// What PostgreSQL prints for a binary value, with `TimeZone` UTC, `DateStyle` ISO and `IntervalStyle` postgres.
pub fn text(type_: &Type, raw: &[u8]) -> String {
    if let Kind::Array(element) = type_.kind() {
        return array(type_, element, raw);
    }
    match *type_ {
        Type::BOOL => if raw == [1] { "t" } else { "f" }.into(),
        Type::INT2 => i16::from_be_bytes(fixed(raw)).to_string(),
        Type::INT4 => i32::from_be_bytes(fixed(raw)).to_string(),
        Type::INT8 => i64::from_be_bytes(fixed(raw)).to_string(),
        Type::OID => u32::from_be_bytes(fixed(raw)).to_string(),
        Type::FLOAT4 => {
            let value = f32::from_be_bytes(fixed(raw));
            float(&format!("{value:e}"), 6)
        }
        Type::FLOAT8 => {
            let value = f64::from_be_bytes(fixed(raw));
            float(&format!("{value:e}"), 15)
        }
        Type::NUMERIC => numeric(raw),
        Type::BYTEA => raw.iter().fold("\\x".to_string(), |mut out, byte| {
            write!(out, "{byte:02x}").expect("string");
            out
        }),
        Type::DATE => date(i32::from_be_bytes(fixed(raw))),
        Type::TIME => time(i64::from_be_bytes(fixed(raw))),
        Type::TIMESTAMP => timestamp(i64::from_be_bytes(fixed(raw)), ""),
        Type::TIMESTAMPTZ => timestamp(i64::from_be_bytes(fixed(raw)), "+00"),
        Type::INTERVAL => interval(raw),
        Type::UUID => uuid::Uuid::from_slice(raw).expect("uuid").to_string(),
        _ => String::from_utf8(raw.to_vec()).expect("utf-8"),
    }
}

fn fixed<const N: usize>(raw: &[u8]) -> [u8; N] {
    raw.try_into().unwrap_or_else(|_| panic!("{N} bytes expected, not {raw:?}"))
}

/// From Rust's shortest digits to PostgreSQL's choice between plain and scientific notation.
fn float(shortest: &str, plain_below: i32) -> String {
    let (sign, rest) = shortest.strip_prefix('-').map_or(("", shortest), |rest| ("-", rest));
    match rest {
        "NaN" => return rest.into(),
        "inf" => return format!("{sign}Infinity"),
        _ => {}
    }
    let (mantissa, exponent) = rest.split_once('e').expect("exponent");
    let exponent: i32 = exponent.parse().expect("exponent");
    if !(-4..plain_below).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.abs());
    }
    let digits = mantissa.replace('.', "");
    let point = exponent + 1;
    let text = match usize::try_from(point) {
        Err(_) | Ok(0) => format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
        Ok(point) if point >= digits.len() => format!("{digits:0<point$}"),
        Ok(point) => format!("{}.{}", &digits[..point], &digits[point..]),
    };
    format!("{sign}{text}")
}

fn numeric(raw: &[u8]) -> String {
    let word = |at: usize| i16::from_be_bytes(fixed(&raw[at..at + 2]));
    let (count, weight, sign, scale) = (word(0) as usize, i32::from(word(2)), word(4) as u16, word(6) as usize);
    match sign {
        0xC000 => return "NaN".into(),
        0xD000 => return "Infinity".into(),
        0xF000 => return "-Infinity".into(),
        _ => {}
    }
    let digit =
        |place: i32| usize::try_from(place).ok().filter(|place| *place < count).map_or(0, |place| word(8 + 2 * place));
    let mut out = String::from(if sign == 0x4000 { "-" } else { "" });
    let whole: String = (0..=weight).map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let places = scale.div_ceil(4) as i32;
        let mut fraction: String = (1..=places).map(|place| format!("{:04}", digit(weight + place))).collect();
        fraction.truncate(scale);
        write!(out, ".{fraction}").expect("string");
    }
    out
}

fn day(days: i64) -> (NaiveDate, &'static str) {
    let date = NaiveDate::from_ymd_opt(2000, 1, 1).expect("epoch") + Duration::days(days);
    (date, if date.year() <= 0 { " BC" } else { "" })
}

fn calendar(date: NaiveDate) -> String {
    let year = if date.year() <= 0 { 1 - date.year() } else { date.year() };
    format!("{year:04}-{:02}-{:02}", date.month(), date.day())
}

fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".into(),
        i32::MIN => "-infinity".into(),
        days => {
            let (date, era) = day(i64::from(days));
            calendar(date) + era
        }
    }
}

fn fraction(micros: i64) -> String {
    match micros {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').into(),
    }
}

fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}{}", fraction(micros % 1_000_000))
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        micros => {
            const DAY: i64 = 86_400_000_000;
            let (date, era) = day(micros.div_euclid(DAY));
            format!("{} {}{zone}{era}", calendar(date), time(micros.rem_euclid(DAY)))
        }
    }
}

fn interval(raw: &[u8]) -> String {
    let micros = i64::from_be_bytes(fixed(&raw[..8]));
    let days = i32::from_be_bytes(fixed(&raw[8..12]));
    let months = i32::from_be_bytes(fixed(&raw[12..]));
    let mut parts: Vec<String> = Vec::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value != 0 {
            let plus = if after_negative && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            parts.push(format!("{plus}{value} {unit}{plural}"));
            after_negative = value < 0;
        }
    }
    if micros != 0 || parts.is_empty() {
        let sign = match (micros < 0, after_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        parts.push(format!("{sign}{}", time(micros.unsigned_abs() as i64)));
    }
    parts.join(" ")
}

fn array(type_: &Type, element: &Type, raw: &[u8]) -> String {
    let word = |at: usize| i32::from_be_bytes(fixed(&raw[at..at + 4]));
    let dimensions = word(0) as usize;
    let vector = matches!(*type_, Type::INT2_VECTOR | Type::OID_VECTOR);
    let counts: Vec<usize> = (0..dimensions).map(|place| word(12 + 8 * place) as usize).collect();
    let mut at = 12 + 8 * dimensions;
    let items: Vec<String> = (0..if dimensions == 0 { 0 } else { counts.iter().product() })
        .map(|_| {
            let length = word(at);
            at += 4;
            match usize::try_from(length) {
                Err(_) => "NULL".into(),
                Ok(length) => {
                    at += length;
                    quoted(&text(element, &raw[at - length..at]))
                }
            }
        })
        .collect();
    if vector {
        return items.join(" ");
    }
    let lowers: Vec<i32> = (0..dimensions).map(|place| word(16 + 8 * place)).collect();
    let bounds: String = match lowers.iter().all(|lower| *lower == 1) {
        true => String::new(),
        false => {
            let shown = lowers.iter().zip(&counts).map(|(l, n)| format!("[{l}:{}]", l + *n as i32 - 1));
            shown.collect::<String>() + "="
        }
    };
    bounds + &nested(&counts, &items)
}

fn nested(counts: &[usize], items: &[String]) -> String {
    match counts {
        [] => "{}".into(),
        [_] => format!("{{{}}}", items.join(",")),
        [count, rest @ ..] => {
            let rows: Vec<_> = items.chunks(items.len() / count).map(|chunk| nested(rest, chunk)).collect();
            format!("{{{}}}", rows.join(","))
        }
    }
}

fn quoted(item: &str) -> String {
    let plain = !item.is_empty()
        && !item.eq_ignore_ascii_case("null")
        && !item.contains(|c: char| c.is_ascii_whitespace() || "{},\"\\".contains(c));
    if plain { item.into() } else { format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")) }
}
