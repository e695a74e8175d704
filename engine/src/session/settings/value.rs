//! Reading and writing the values of settings: booleans, numbers with units, enums, lists of identifiers, and the
//! few texts with a syntax of their own (DateStyle, TimeZone, client_encoding). Messages are PostgreSQL's (guc.c).

use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{Zone, zone_by_rule};
use crate::types::text::{DateOrder, DateStyle, IntervalStyle};
use crate::types::{interval, interval_in};

use super::table::{Kind, Setting, Unit};
use crate::txn::Position;

fn invalid(name: &str, value: &str) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// PostgreSQL's parse_bool: unique prefixes of true, false, yes, no; on, off; 1, 0.
pub fn parse_bool(text: &str) -> Option<bool> {
    let t = text.trim().to_ascii_lowercase();
    if t.is_empty() {
        return None;
    }
    match t.as_str() {
        "on" | "1" => Some(true),
        "of" | "off" | "0" => Some(false),
        _ if "true".starts_with(&t) || "yes".starts_with(&t) => Some(true),
        _ if "false".starts_with(&t) || "no".starts_with(&t) => Some(false),
        _ => None,
    }
}

pub fn bool_text(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// Checks `value` and answers its canonical text: for integers the number in the setting's own unit.
pub fn canonical(setting: &Setting, value: &str) -> Result<String> {
    let name = setting.name;
    match setting.kind {
        Kind::Bool => parse_bool(value).map(|b| bool_text(b).to_string()).ok_or_else(|| {
            Error::new(SqlState::InvalidParameterValue, format!("parameter \"{name}\" requires a Boolean value"))
        }),
        Kind::Int { unit, min, max } => {
            let n = parse_integer(name, value, unit)?;
            if n < min || n > max {
                let suffix = unit_suffix(unit).map_or(String::new(), |s| format!(" {s}"));
                return Err(Error::new(
                    SqlState::InvalidParameterValue,
                    format!("{n}{suffix} is outside the valid range for parameter \"{name}\" ({min} .. {max})"),
                ));
            }
            Ok(n.to_string())
        }
        Kind::Real { unit, min, max } => real(name, value, unit, min, max),
        Kind::Enum(values) => {
            // Hidden spellings of those that were booleans once.
            let spelt = match value.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => "on",
                "false" | "no" | "0" => "off",
                _ => value.trim(),
            };
            let found = unlisted(name, spelt).or_else(|| values.iter().find(|v| v.eq_ignore_ascii_case(spelt)));
            found
                .map(|v| v.to_string())
                .ok_or_else(|| invalid(name, value).hint(format!("Available values: {}.", values.join(", "))))
        }
        Kind::Text => text_value(name, value),
    }
}

/// The value that another spelling means, which hints do not name.
fn unlisted(name: &str, value: &str) -> Option<&'static &'static str> {
    match (name, value.to_ascii_lowercase().as_str()) {
        ("client_min_messages", "info") => Some(&"info"),
        ("client_min_messages" | "log_min_messages" | "log_min_error_statement", "debug") => Some(&"debug2"),
        _ => None,
    }
}

fn real(name: &str, value: &str, unit: Unit, min: f64, max: f64) -> Result<String> {
    let n = parse_number(name, value, unit)?;
    if n < min || n > max {
        let suffix = unit_suffix(unit).map_or(String::new(), |s| format!(" {s}"));
        let (n, min, max) = (real_text(n), real_text(min), real_text(max));
        return Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("{n}{suffix} is outside the valid range for parameter \"{name}\" ({min} .. {max})"),
        ));
    }
    Ok(n.to_string())
}

/// Six significant digits, as C's `%g` prints them.
pub fn real_text(n: f64) -> String {
    if n == 0.0 || !n.is_finite() {
        return if n == 0.0 { "0".into() } else { n.to_string() };
    }
    let scientific = format!("{n:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |s: &str| match s.contains('.') {
        true => s.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => s.to_string(),
    };
    match exponent {
        -4..=5 => trimmed(&format!("{n:.*}", (5 - exponent).max(0) as usize)),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
        }
    }
}

fn text_value(name: &str, value: &str) -> Result<String> {
    match name {
        "client_encoding" => client_encoding(value),
        "DateStyle" => Ok(date_style_text(parse_date_style(value, None)?)),
        "TimeZone" => Ok(parse_time_zone(value)?.shown),
        "search_path" => {
            if split_identifiers(value).is_none() {
                return Err(invalid(name, value).detail("List syntax is invalid."));
            }
            Ok(value.to_string())
        }
        // A name that ends up in views and logs: PostgreSQL replaces what is not printable ASCII.
        "application_name" => {
            Ok(clip(value, 63).chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect())
        }
        "lockstep.read_after" => match (value.trim(), Position::parse(value.trim())) {
            ("", _) => Ok(String::new()),
            (_, Some(position)) => Ok(position.to_string()),
            (_, None) => Err(invalid(name, value)
                .hint("A position is what lockstep_position() returns, such as \"18C4F/A3000001\".")),
        },
        "lc_messages" | "lc_monetary" | "lc_numeric" | "lc_time" => match value.to_ascii_lowercase().as_str() {
            "" | "c" | "posix" | "c.utf-8" | "c.utf8" => Ok("C".into()),
            _ => Err(invalid(name, value)),
        },
        _ => Ok(value.to_string()),
    }
}

/// At most `bytes` bytes of `text`, cut between characters.
pub fn clip(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn client_encoding(value: &str) -> Result<String> {
    let plain: String = value.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    match plain.as_str() {
        "utf8" | "unicode" => Ok("UTF8".into()),
        "sqlascii" | "latin1" | "iso88591" | "win1252" | "windows1252" | "latin9" | "iso885915" | "win1251"
        | "koi8r" | "eucjp" | "sjis" | "gbk" | "big5" | "euckr" | "win1250" | "latin2" | "iso88592" | "gb18030"
        | "euccn" | "euctw" | "uhc" | "johab" => {
            Err(Error::unsupported(format!("client encoding \"{value}\"")).hint("Use UTF8."))
        }
        _ => Err(invalid("client_encoding", value)),
    }
}

fn unit_suffix(unit: Unit) -> Option<&'static str> {
    match unit {
        Unit::None => None,
        Unit::Milliseconds => Some("ms"),
        Unit::Seconds => Some("s"),
        Unit::Bytes => Some("B"),
        Unit::Kilobytes => Some("kB"),
        Unit::Pages => Some("8kB"),
    }
}

/// Units that a value may carry, with their worth in the smallest one (µs, bytes), largest first.
fn unit_table(unit: Unit) -> (&'static [(&'static str, f64)], f64) {
    const TIME: &[(&str, f64)] =
        &[("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3), ("us", 1.0)];
    const MEMORY: &[(&str, f64)] =
        &[("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
    match unit {
        Unit::None => (&[], 1.0),
        Unit::Milliseconds => (TIME, 1e3),
        Unit::Seconds => (TIME, 1e6),
        Unit::Bytes => (MEMORY, 1.0),
        Unit::Kilobytes => (MEMORY, 1024.0),
        Unit::Pages => (MEMORY, 8192.0),
    }
}

fn parse_integer(name: &str, value: &str, unit: Unit) -> Result<i64> {
    let n = parse_number(name, value, unit)?.round_ties_even();
    if n.abs() > i32::MAX as f64 * 2.0 {
        return Err(invalid(name, value).hint("Value exceeds integer range."));
    }
    Ok(n as i64)
}

/// A number and perhaps a unit, in the parameter's own unit.
fn parse_number(name: &str, value: &str, unit: Unit) -> Result<f64> {
    let text = value.trim();
    let (units, own) = unit_table(unit);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).map(|n| n as f64).map_err(|_| invalid(name, value));
    }
    let (number, suffix) = text.split_at(number_length(text));
    let suffix = suffix.trim();
    let n: f64 = number.parse().map_err(|_| invalid(name, value))?;
    if !n.is_finite() {
        return Err(invalid(name, value));
    }
    if suffix.is_empty() {
        return Ok(n);
    }
    let Some(at) = units.iter().position(|(u, _)| *u == suffix) else {
        let error = invalid(name, value);
        return Err(match unit {
            Unit::None => error,
            Unit::Milliseconds | Unit::Seconds => {
                error.hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            }
            _ => error.hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\"."),
        });
    };
    let worth = units.get(at).map_or(1.0, |(_, worth)| *worth);
    // A fraction is rounded to the next smaller unit.
    let rounded = units.get(at + 1).map_or(n * worth, |(_, next)| (n * worth / next).round_ties_even() * next);
    Ok(rounded / own)
}

/// Bytes of the decimal number that a text begins with, its exponent included.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    at += digits(at);
    if bytes.get(at) == Some(&b'.') {
        at += 1 + digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'+')));
        let exponent = digits(at + 1 + sign);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    at
}

/// The form that SHOW prints: integers in the largest unit that divides them.
pub fn display(setting: &Setting, stored: &str) -> String {
    let unit = match setting.kind {
        Kind::Real { unit: Unit::None, .. } => return stored.parse().map_or_else(|_| stored.to_string(), real_text),
        Kind::Int { unit, .. } | Kind::Real { unit, .. } => unit,
        _ => return stored.to_string(),
    };
    let (units, own) = unit_table(unit);
    let Ok(n) = stored.parse::<f64>() else {
        return stored.to_string();
    };
    if n <= 0.0 {
        return stored.to_string();
    }
    let smallest = n * own;
    for (name, worth) in units {
        if smallest % worth == 0.0 {
            return format!("{}{name}", smallest / worth);
        }
    }
    stored.to_string()
}

/// The unit as pg_settings shows it.
pub fn unit_name(setting: &Setting) -> Option<&'static str> {
    match setting.kind {
        Kind::Int { unit, .. } | Kind::Real { unit, .. } => unit_suffix(unit),
        _ => None,
    }
}

/// `DateStyle`: a list of a style and an order in any sequence; what is not named keeps `current`.
pub fn parse_date_style(value: &str, current: Option<(DateStyle, DateOrder)>) -> Result<(DateStyle, DateOrder)> {
    let (old_style, old_order) = current.unwrap_or((DateStyle::Iso, DateOrder::Mdy));
    let (mut style, mut order) = (None, None);
    // What German and DEFAULT say of what is not named.
    let (mut weak_style, mut weak_order) = (None, None);
    let mut conflict = false;
    let words =
        split_identifiers(value).ok_or_else(|| invalid("DateStyle", value).detail("List syntax is invalid."))?;
    for word in words.iter().map(|word| word.to_ascii_lowercase()) {
        let (named_style, named_order) = match word.as_str() {
            "iso" => (Some(DateStyle::Iso), None),
            "sql" => (Some(DateStyle::Sql), None),
            w if w.starts_with("postgres") => (Some(DateStyle::Postgres), None),
            "german" => {
                weak_order = Some(DateOrder::Dmy);
                (Some(DateStyle::German), None)
            }
            "ymd" => (None, Some(DateOrder::Ymd)),
            w if w == "dmy" || w.starts_with("euro") => (None, Some(DateOrder::Dmy)),
            w if w == "mdy" || w.starts_with("us") || w.starts_with("noneuro") => (None, Some(DateOrder::Mdy)),
            "default" => {
                (weak_style, weak_order) = (Some(DateStyle::Iso), Some(DateOrder::Mdy));
                (None, None)
            }
            _ => {
                return Err(invalid("DateStyle", value).detail(format!("Unrecognized key word: \"{word}\".")));
            }
        };
        conflict |= named_style.is_some() && style.is_some() && style != named_style;
        conflict |= named_order.is_some() && order.is_some() && order != named_order;
        style = named_style.or(style);
        order = named_order.or(order);
    }
    if conflict {
        return Err(invalid("DateStyle", value).detail("Conflicting \"datestyle\" specifications."));
    }
    Ok((style.or(weak_style).unwrap_or(old_style), order.or(weak_order).unwrap_or(old_order)))
}

pub fn date_style_text((style, order): (DateStyle, DateOrder)) -> String {
    let style = match style {
        DateStyle::Iso => "ISO",
        DateStyle::Postgres => "Postgres",
        DateStyle::Sql => "SQL",
        DateStyle::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    format!("{style}, {order}")
}

/// A value of the setting TimeZone.
pub struct TimeZone {
    pub zone: Zone,
    /// Of a zone that is an offset alone.
    pub abbreviation: String,
    /// What SHOW prints.
    pub shown: String,
}

/// A time zone as hours from UTC, by its name in the IANA database, or as a rule of POSIX.
pub fn parse_time_zone(value: &str) -> Result<TimeZone> {
    let text = value.trim();
    if let Ok(hours) = text.parse::<f64>() {
        let east = (hours * 3600.0).trunc();
        let within = east.abs() < WEEK as f64;
        return if within { Ok(zone_of_offset(east as i64)) } else { Err(invalid("TimeZone", value)) };
    }
    match zone_by_rule(text) {
        Some(Zone::Named(zone)) => {
            Ok(TimeZone { zone: zone.into(), abbreviation: String::new(), shown: zone.name().to_string() })
        }
        // Written back by [`zone_of_offset`] it may have seconds.
        Some(Zone::Fixed(east)) if east % 60 != 0 && !text.starts_with('<') => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("time zone \"{text}\" appears to use leap seconds"),
        )
        .detail("PostgreSQL does not support leap seconds.")),
        Some(zone) => {
            let shown = text.to_uppercase();
            let quoted = shown.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(name, _)| name);
            let name = quoted.unwrap_or_else(|| shown.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default());
            Ok(TimeZone { zone, abbreviation: name.to_string(), shown })
        }
        None if text.contains(',') => {
            Err(Error::unsupported("a time zone with rules of its own for daylight saving time"))
        }
        None => Err(invalid("TimeZone", value)),
    }
}

/// What `SET TIME ZONE INTERVAL '…' HOUR TO MINUTE` sets: the interval is the offset east of Greenwich.
pub fn time_zone_of_interval(text: &str, fields: Option<&str>) -> Result<String> {
    let typmod = crate::sql::bind::types::interval_typmod(fields, None)
        .filter(|_| matches!(fields, None | Some("hour" | "minute" | "hour to minute")))
        .ok_or_else(|| Error::new(SqlState::SyntaxError, "time zone interval must be HOUR or HOUR TO MINUTE"))?;
    let offset = interval_in::parse(text, typmod, IntervalStyle::Postgres)?;
    let east = offset.micros / 1_000_000;
    if offset.months != 0 || offset.days != 0 || east.abs() >= WEEK {
        let mut shown = Vec::new();
        interval::write(&offset, IntervalStyle::Postgres, &mut shown);
        return Err(invalid("TimeZone", &format!("INTERVAL '{}'", String::from_utf8_lossy(&shown))));
    }
    Ok(zone_of_offset(east).shown)
}

/// Seconds.
const WEEK: i64 = 7 * 24 * 3600;

/// So many seconds east of Greenwich; shown as POSIX does it, which counts westward: `<+03>-03`.
fn zone_of_offset(east: i64) -> TimeZone {
    let (hours, minutes, seconds) = (east.abs() / 3600, east.abs() / 60 % 60, east.abs() % 60);
    let mut offset = format!("{hours:02}");
    if minutes != 0 || seconds != 0 {
        offset.push_str(&format!(":{minutes:02}"));
    }
    if seconds != 0 {
        offset.push_str(&format!(":{seconds:02}"));
    }
    let (sign, opposite) = if east < 0 { ('-', '+') } else { ('+', '-') };
    let abbreviation = format!("{sign}{offset}");
    TimeZone { zone: Zone::Fixed(east), shown: format!("<{abbreviation}>{opposite}{offset}"), abbreviation }
}

/// `a, "B c", d` → the names, folded to lower case unless quoted (PostgreSQL's SplitIdentifierString).
pub fn split_identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut out = String::new();
            loop {
                let end = quoted.find('"')?;
                out.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        out.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            name = out;
            rest = quoted;
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            name = rest[..end].to_lowercase();
            rest = &rest[end..];
        }
        names.push(clip(&name, 63).to_string());
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => return Some(names),
            None => return None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::table::{SETTINGS, find};
    use super::*;

    fn set(name: &str, value: &str) -> Result<String> {
        let s = &SETTINGS[find(name).unwrap().0];
        canonical(s, value).map(|v| display(s, &v))
    }

    #[test]
    fn integers_take_units_and_show_the_largest() {
        assert_eq!(set("statement_timeout", "90min").unwrap(), "90min");
        assert_eq!(set("statement_timeout", "2 h").unwrap(), "2h");
        assert_eq!(set("statement_timeout", "1500").unwrap(), "1500ms");
        assert_eq!(set("work_mem", "64MB").unwrap(), "64MB");
        assert_eq!(set("work_mem", "4097kB").unwrap(), "4097kB");
        let e = set("statement_timeout", "-5").unwrap_err();
        assert_eq!(
            e.message(),
            "-5 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)"
        );
        let e = set("statement_timeout", "3 parsecs").unwrap_err();
        assert_eq!(e.state(), SqlState::InvalidParameterValue);
        assert!(e.report().hint.is_some());
    }

    #[test]
    fn enums_and_booleans() {
        assert_eq!(set("bytea_output", "ESCAPE").unwrap(), "escape");
        let e = set("bytea_output", "base64").unwrap_err();
        assert_eq!(e.report().hint.as_deref(), Some("Available values: escape, hex."));
        assert_eq!(set("enable_sort", "FAL").unwrap(), "off");
        assert!(set("enable_sort", "o").is_err());
    }

    #[test]
    fn date_styles_and_zones() {
        assert_eq!(set("datestyle", "sql, dmy").unwrap(), "SQL, DMY");
        assert_eq!(set("datestyle", "german").unwrap(), "German, DMY");
        assert!(set("datestyle", "martian").is_err());
        assert_eq!(set("timezone", "europe/berlin").unwrap(), "Europe/Berlin");
        assert_eq!(set("timezone", "-7").unwrap(), "<-07>+07");
        assert_eq!(set("timezone", "<-07>+07").unwrap(), "<-07>+07");
        assert_eq!(
            set("timezone", "Mars/Olympus").unwrap_err().message(),
            "invalid value for parameter \"TimeZone\": \"Mars/Olympus\""
        );
    }

    #[test]
    fn identifier_lists() {
        assert_eq!(split_identifiers("\"$user\", Public").unwrap(), ["$user", "public"]);
        assert_eq!(split_identifiers("\"a\"\"b\"").unwrap(), ["a\"b"]);
        assert!(split_identifiers("a,,b").is_none());
        assert!(split_identifiers("\"a").is_none());
        assert_eq!(split_identifiers("").unwrap(), Vec::<String>::new());
    }
}
