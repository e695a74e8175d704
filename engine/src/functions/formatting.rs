//! to_char of times and intervals, to_date and to_timestamp by template.

use super::args::row;
use super::comparison::{local, zoned};
use super::datetime::{infinite, split};
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    abbreviation_at, checked_date, checked_timestamp, day_of_week, day_of_year, days_from_civil, days_in_month,
    iso_week, offset_at,
};
use crate::types::datetime_out::MONTHS;
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::types::{Datum, Interval};

const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAY_NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns, longest first among those that share a beginning. Matched without regard to case.
const PATTERNS: &[&str] = &[
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "DDD", "DD", "DY", "D", "FF1", "FF2", "FF3", "FF4", "FF5",
    "FF6", "FX", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J", "MI", "MM", "MONTH", "MON",
    "MS", "OF", "P.M.", "PM", "Q", "RM", "SSSSS", "SSSS", "SS", "TZH", "TZM", "TZ", "US", "WW", "W", "Y,YYY", "YYYY",
    "YYY", "YY", "Y",
];

#[derive(Debug)]
enum Node {
    Pattern { name: &'static str, text: String, fill: bool, ordinal: Option<bool> },
    Literal(String),
}

/// Cuts a template into patterns and literals. FM switches padding off for its pattern, TH adds an ordinal.
fn parse_template(template: &str) -> Vec<Node> {
    let chars: Vec<char> = template.chars().collect();
    let mut nodes = Vec::new();
    let mut literal = String::new();
    let mut i = 0;
    let mut fill = true;
    while i < chars.len() {
        if chars[i] == '"' {
            i += 1;
            while i < chars.len() && chars[i] != '"' {
                if chars[i] == '\\' && i + 1 < chars.len() {
                    i += 1;
                }
                literal.push(chars[i]);
                i += 1;
            }
            i += 1;
            continue;
        }
        if chars[i] == '\\' && chars.get(i + 1) == Some(&'"') {
            literal.push('"');
            i += 2;
            continue;
        }
        let rest: String = chars[i..].iter().take(8).collect();
        let upper = rest.to_ascii_uppercase();
        if upper.starts_with("FM") {
            fill = false;
            i += 2;
            continue;
        }
        if upper.starts_with("TM") {
            i += 2;
            continue;
        }
        let Some(name) = PATTERNS.iter().find(|p| upper.starts_with(**p)).copied() else {
            literal.push(chars[i]);
            i += 1;
            continue;
        };
        if !literal.is_empty() {
            nodes.push(Node::Literal(std::mem::take(&mut literal)));
        }
        i += name.len();
        let suffix: String = chars[i.min(chars.len())..].iter().take(2).collect();
        let ordinal = match suffix.as_str() {
            "TH" => Some(true),
            "th" => Some(false),
            _ => None,
        };
        if ordinal.is_some() {
            i += 2;
        }
        nodes.push(Node::Pattern { name, text: rest.chars().take(name.len()).collect(), fill, ordinal });
        fill = true;
    }
    if !literal.is_empty() {
        nodes.push(Node::Literal(literal));
    }
    nodes
}

/// A name in the case that its pattern is written in.
fn cased(name: &str, pattern: &str) -> String {
    let mut letters = pattern.chars();
    let first_upper = letters.next().is_some_and(char::is_uppercase);
    let second_upper = letters.next().is_some_and(char::is_uppercase);
    match (first_upper, second_upper) {
        (true, true) => name.to_uppercase(),
        (true, false) => {
            let mut out = name.to_lowercase();
            if let Some(first) = out.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            out
        }
        _ => name.to_lowercase(),
    }
}

fn ordinal_suffix(number: i64, upper: bool) -> &'static str {
    let suffix = match (number.abs() % 100, number.abs() % 10) {
        (11..=13, _) => ["th", "TH"],
        (_, 1) => ["st", "ST"],
        (_, 2) => ["nd", "ND"],
        (_, 3) => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    suffix[usize::from(upper)]
}

/// What the patterns are filled from.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    days: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<(String, i64)>,
    /// An interval has no weekdays, and hours beyond 24.
    interval: bool,
}

fn padded(out: &mut String, number: i64, width: usize, fill: bool, ordinal: Option<bool>) {
    if fill {
        let sign = if number < 0 { "-" } else { "" };
        out.push_str(&format!("{sign}{:0width$}", number.abs()));
    } else {
        out.push_str(&number.to_string());
    }
    if let Some(upper) = ordinal {
        out.push_str(ordinal_suffix(number, upper));
    }
}

fn render(nodes: &[Node], m: &Moment) -> Result<String> {
    let mut out = String::new();
    // The year as it is shown: 1 BC is year 1.
    let shown_year = |year: i64| if year > 0 || m.interval { year } else { 1 - year };
    for node in nodes {
        let (name, text, fill, ordinal) = match node {
            Node::Literal(literal) => {
                out.push_str(literal);
                continue;
            }
            Node::Pattern { name, text, fill, ordinal } => (*name, text, *fill, *ordinal),
        };
        let mut number = |value: i64, width: usize| padded(&mut out, value, width, fill, ordinal);
        let needs_calendar =
            matches!(name, "DAY" | "DY" | "D" | "ID" | "IDDD" | "IW" | "IYYY" | "IYY" | "IY" | "I" | "WW" | "W" | "J");
        if m.interval
            && (needs_calendar || matches!(name, "MONTH" | "MON" | "TZ" | "OF" | "TZH" | "TZM"))
            && name != "J"
            && m.month == 0
        {
            return Err(Error::new(
                SqlState::InvalidDatetimeFormat,
                "invalid format specification for an interval value",
            )
            .hint("Intervals are not tied to specific calendar dates."));
        }
        let half = if m.hour % 12 == 0 { 12 } else { m.hour % 12 };
        match name {
            "YYYY" => number(shown_year(m.year), 4),
            "YYY" => number(shown_year(m.year) % 1000, 3),
            "YY" => number(shown_year(m.year) % 100, 2),
            "Y" => number(shown_year(m.year) % 10, 1),
            "Y,YYY" => {
                let year = shown_year(m.year);
                out.push_str(&format!("{},{:03}", year / 1000, year % 1000));
            }
            "IYYY" => number(shown_year(iso_week(m.days).0), 4),
            "IYY" => number(shown_year(iso_week(m.days).0) % 1000, 3),
            "IY" => number(shown_year(iso_week(m.days).0) % 100, 2),
            "I" => number(shown_year(iso_week(m.days).0) % 10, 1),
            "CC" => number(if m.year > 0 { (m.year + 99) / 100 } else { m.year / 100 - 1 }, 2),
            "Q" => number((m.month - 1) / 3 + 1, 1),
            "MM" => number(m.month, 2),
            "MONTH" | "MON" => {
                let index = (m.month - 1).clamp(0, 11) as usize;
                let full = name == "MONTH";
                let shown = cased(if full { MONTH_NAMES[index] } else { MONTHS[index] }, text);
                let width = if full && fill { 9 } else { 0 };
                out.push_str(&format!("{shown:<width$}"));
            }
            "RM" => {
                let shown =
                    cased(ROMAN[(m.month - 1).clamp(0, 11) as usize], if text.starts_with('R') { "RM" } else { "rm" });
                let width = if fill { 4 } else { 0 };
                out.push_str(&format!("{shown:<width$}"));
            }
            "DAY" | "DY" => {
                let full = DAY_NAMES[day_of_week(m.days) as usize];
                let long = name == "DAY";
                let shown = cased(if long { full } else { &full[..3] }, text);
                let width = if long && fill { 9 } else { 0 };
                out.push_str(&format!("{shown:<width$}"));
            }
            "DDD" => number(if m.interval { m.year * 360 + m.month * 30 + m.day } else { day_of_year(m.days) }, 3),
            "IDDD" => {
                let (year, _) = iso_week(m.days);
                let first = days_from_civil(year, 1, 4);
                let monday = first - (first + 3).rem_euclid(7);
                number(m.days - monday + 1, 3);
            }
            "DD" => number(m.day, 2),
            "D" => number(day_of_week(m.days) + 1, 1),
            "ID" => number((day_of_week(m.days) + 6) % 7 + 1, 1),
            "WW" => number((day_of_year(m.days) - 1) / 7 + 1, 2),
            "W" => number((m.day - 1) / 7 + 1, 1),
            "IW" => number(iso_week(m.days).1, 2),
            "J" => number(m.days + 2_440_588, 0),
            "HH24" => number(m.hour, 2),
            "HH12" | "HH" => number(if m.interval && m.hour < 0 { m.hour } else { half }, 2),
            "MI" => number(m.minute, 2),
            "SS" => number(m.second, 2),
            "MS" => number(m.micros / 1000, 3),
            "US" => number(m.micros, 6),
            "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                let digits = usize::from(name.as_bytes()[2] - b'0');
                number(m.micros / 10i64.pow(6 - digits as u32), digits);
            }
            "SSSS" | "SSSSS" => number(m.hour * 3600 + m.minute * 60 + m.second, 0),
            "AM" | "PM" => out.push_str(&cased(
                if m.hour % 24 >= 12 { "PM" } else { "AM" },
                if text.starts_with(['A', 'P']) { "AM" } else { "am" },
            )),
            "A.M." | "P.M." => {
                let shown = if m.hour % 24 >= 12 { "P.M." } else { "A.M." };
                out.push_str(&if text.starts_with(['A', 'P']) { shown.to_string() } else { shown.to_lowercase() });
            }
            "AD" | "BC" => out.push_str(&cased(
                if m.year > 0 { "AD" } else { "BC" },
                if text.starts_with(['A', 'B']) { "AD" } else { "ad" },
            )),
            "A.D." | "B.C." => {
                let shown = if m.year > 0 { "A.D." } else { "B.C." };
                out.push_str(&if text.starts_with(['A', 'B']) { shown.to_string() } else { shown.to_lowercase() });
            }
            "TZ" => {
                if let Some((zone, _)) = &m.zone {
                    out.push_str(&if text.starts_with('T') { zone.to_uppercase() } else { zone.to_lowercase() });
                }
            }
            "TZH" => {
                let offset = m.zone.as_ref().map_or(0, |z| z.1);
                out.push_str(&format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600));
            }
            "TZM" => out.push_str(&format!("{:02}", m.zone.as_ref().map_or(0, |z| z.1).abs() / 60 % 60)),
            "OF" => {
                let offset = m.zone.as_ref().map_or(0, |z| z.1);
                out.push_str(&format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600));
                if offset % 3600 != 0 {
                    out.push_str(&format!(":{:02}", offset.abs() / 60 % 60));
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

fn moment(local_micros: i64, zone: Option<(String, i64)>) -> Moment {
    let (year, month, day, time) = split(local_micros);
    Moment {
        year,
        month,
        day,
        days: local_micros.div_euclid(MICROS_PER_DAY),
        hour: time / MICROS_PER_HOUR,
        minute: time / MICROS_PER_MINUTE % 60,
        second: time / MICROS_PER_SECOND % 60,
        micros: time % MICROS_PER_SECOND,
        zone,
        interval: false,
    }
}

fn interval_moment(span: &Interval) -> Moment {
    Moment {
        year: i64::from(span.months / 12),
        month: i64::from(span.months % 12),
        day: i64::from(span.days),
        days: i64::from(span.days),
        hour: span.micros / MICROS_PER_HOUR,
        minute: span.micros / MICROS_PER_MINUTE % 60,
        second: span.micros / MICROS_PER_SECOND % 60,
        micros: span.micros % MICROS_PER_SECOND,
        zone: None,
        interval: true,
    }
}

/// What a template read from text.
#[derive(Default)]
struct Parsed {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    half_day: bool,
    minute: i64,
    second: i64,
    micros: i64,
    seconds_of_day: Option<i64>,
    pm: Option<bool>,
    bc: bool,
    offset: Option<i64>,
}

fn bad_value(text: &str, name: &str) -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, format!("invalid value \"{text}\" for \"{name}\""))
}

/// Reads `text` by the template.
fn scan(text: &str, nodes: &[Node]) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut rest = text.trim_start();
    for (i, node) in nodes.iter().enumerate() {
        match node {
            Node::Literal(literal) => {
                for c in literal.chars() {
                    // A separator of the template takes any separator of the text, a letter any character.
                    if c.is_whitespace() || !c.is_alphanumeric() {
                        let signed =
                            rest.strip_prefix(['-', '+']).is_some_and(|r| r.starts_with(|d: char| d.is_ascii_digit()));
                        let sign_follows = signed && c.is_whitespace();
                        let separator = |x: char| !x.is_alphanumeric() && !sign_follows;
                        if rest.starts_with(|x: char| x.is_whitespace()) {
                            rest = rest.trim_start();
                            if rest.starts_with(c) && !c.is_whitespace() {
                                rest = &rest[c.len_utf8()..];
                            }
                        } else if rest.starts_with(separator) {
                            rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
                        }
                    } else {
                        rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
                    }
                }
            }
            Node::Pattern { name, fill, ordinal, .. } => {
                rest = rest.trim_start();
                // A number takes its width only where another number follows at once.
                let next_is_number = matches!(nodes.get(i + 1), Some(Node::Pattern { name, .. }) if !matches!(*name, "AM" | "PM" | "MON" | "MONTH" | "DAY" | "DY" | "TZ" | "BC" | "AD"));
                rest = read_pattern(name, rest, next_is_number && *fill, &mut parsed)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
        if rest.is_empty() && i + 1 < nodes.len() {
            break;
        }
    }
    Ok(parsed)
}

fn read_pattern<'a>(name: &str, text: &'a str, fixed: bool, parsed: &mut Parsed) -> Result<&'a str> {
    let number = |width: usize| -> Result<(i64, usize, &'a str)> {
        let limit = if fixed { width } else { usize::MAX };
        let signed = usize::from(text.starts_with(['-', '+']));
        let digits = text[signed..].bytes().take(limit).take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            let shown: String = text.chars().take(width).collect();
            return Err(bad_value(&shown, name).detail("Value must be an integer."));
        }
        let value = text[..signed + digits].parse().map_err(|_| bad_value(&text[..signed + digits], name))?;
        Ok((value, digits, &text[signed + digits..]))
    };
    let word = |names: &[&str], short: bool| -> Result<(usize, &'a str)> {
        let found = names.iter().position(|n| {
            let wanted = if short { &n[..3] } else { n };
            text.get(..wanted.len()).is_some_and(|t| t.eq_ignore_ascii_case(wanted))
        });
        let at = found.ok_or_else(|| {
            let shown: String = text.chars().take_while(|c| c.is_alphabetic()).collect();
            bad_value(&shown, name).detail("The given value did not match any of the allowed values for this field.")
        })?;
        let length = if short { 3 } else { names[at].len() };
        Ok((at, &text[length..]))
    };
    let year = |digits: usize, value: i64| match digits {
        // The nearest year to 2020.
        1 => 2000 + value,
        2 if value < 70 => 2000 + value,
        2 => 1900 + value,
        3 if value < 100 => 2000 + value,
        3 if value >= 520 => 1000 + value,
        3 => 2000 + value,
        _ => value,
    };
    Ok(match name {
        "YYYY" | "IYYY" => {
            let (value, digits, rest) = number(4)?;
            parsed.year =
                Some(if digits < 4 && name == "YYYY" && !text.starts_with('0') { year(digits, value) } else { value });
            rest
        }
        "YYY" | "YY" | "Y" => {
            let (value, digits, rest) = number(name.len())?;
            parsed.year = Some(year(digits.min(4), value));
            rest
        }
        "Y,YYY" => {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
            parsed.year = Some(text[..end].replace(',', "").parse().map_err(|_| bad_value(&text[..end], name))?);
            &text[end..]
        }
        "MM" => {
            let (value, _, rest) = number(2)?;
            parsed.month = Some(value);
            rest
        }
        "MONTH" => {
            let (at, rest) = word(&MONTH_NAMES, false).or_else(|_| word(&MONTH_NAMES, true))?;
            parsed.month = Some(at as i64 + 1);
            rest
        }
        "MON" => {
            let (at, rest) = word(&MONTH_NAMES, true)?;
            parsed.month = Some(at as i64 + 1);
            rest
        }
        "DAY" => word(&DAY_NAMES, false)?.1,
        "DY" => word(&DAY_NAMES, true)?.1,
        "DD" => {
            let (value, _, rest) = number(2)?;
            parsed.day = Some(value);
            rest
        }
        "DDD" => {
            let (value, _, rest) = number(3)?;
            parsed.day_of_year = Some(value);
            rest
        }
        "J" => {
            let (value, _, rest) = number(7)?;
            parsed.julian = Some(value);
            rest
        }
        "HH24" => {
            let (value, _, rest) = number(2)?;
            parsed.hour = value;
            rest
        }
        "HH12" | "HH" => {
            let (value, _, rest) = number(2)?;
            if !(1..=12).contains(&value) {
                return Err(Error::new(
                    SqlState::InvalidDatetimeFormat,
                    format!("hour \"{value}\" is invalid for the 12-hour clock"),
                )
                .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            (parsed.hour, parsed.half_day) = (value, true);
            rest
        }
        "MI" => {
            let (value, _, rest) = number(2)?;
            parsed.minute = value;
            rest
        }
        "SS" => {
            let (value, _, rest) = number(2)?;
            parsed.second = value;
            rest
        }
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
            let width = match name {
                "MS" => 3,
                "US" => 6,
                _ => usize::from(name.as_bytes()[2] - b'0'),
            };
            let (value, digits, rest) = number(width)?;
            parsed.micros = (value as f64 * 10f64.powi(6 - digits as i32)).round() as i64;
            rest
        }
        "SSSS" | "SSSSS" => {
            let (value, _, rest) = number(5)?;
            parsed.seconds_of_day = Some(value);
            rest
        }
        "AM" | "PM" | "A.M." | "P.M." => {
            let length = name.len();
            let shown = text.get(..length).unwrap_or(text).to_ascii_uppercase();
            parsed.pm = Some(match shown.bytes().next() {
                Some(b'P') => true,
                Some(b'A') => false,
                _ => return Err(bad_value(&shown, name)),
            });
            text.get(length..).unwrap_or("")
        }
        "AD" | "BC" | "A.D." | "B.C." => {
            parsed.bc = text.starts_with(['B', 'b']);
            text.get(name.len()..).unwrap_or("")
        }
        "TZH" => {
            let (value, _, rest) = number(2)?;
            parsed.offset = Some(value * 3600);
            rest
        }
        "TZM" => {
            let (value, _, rest) = number(2)?;
            let offset = parsed.offset.unwrap_or(0);
            parsed.offset = Some(if offset < 0 { offset - value * 60 } else { offset + value * 60 });
            rest
        }
        "FX" => text,
        other => return Err(Error::unsupported(format!("formatting field \"{other}\" in input"))),
    })
}

impl Parsed {
    fn days(&self, text: &str) -> Result<i64> {
        let out_of_range =
            || Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
        if let Some(julian) = self.julian {
            return Ok(julian - 2_440_588);
        }
        let year = match (self.year, self.bc) {
            (Some(year), true) => 1 - year,
            (Some(year), false) => year,
            (None, _) => 0,
        };
        if let Some(day) = self.day_of_year {
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return Err(out_of_range());
        }
        Ok(days_from_civil(year, month, day))
    }

    fn time(&self, text: &str) -> Result<i64> {
        let mut hour = self.hour;
        if self.half_day || self.pm.is_some() {
            hour = match self.pm {
                Some(true) if hour < 12 => hour + 12,
                Some(false) | None if hour == 12 && self.half_day => 0,
                _ => hour,
            };
        }
        if !(0..24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..60).contains(&self.second) {
            return Err(Error::new(
                SqlState::DatetimeFieldOverflow,
                format!("date/time field value out of range: \"{text}\""),
            ));
        }
        let seconds = self.seconds_of_day.unwrap_or(hour * 3600 + self.minute * 60 + self.second);
        Ok(seconds * MICROS_PER_SECOND + self.micros)
    }
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        (
            "timestamp_to_char",
            row!(|t: timestamp, f: text| {
                if f.is_empty() || infinite(t) {
                    return Ok(Datum::Null);
                }
                render(&parse_template(f), &moment(t, None)).map(Datum::from)
            }),
        ),
        (
            "timestamptz_to_char",
            row!(call, |t: timestamp, f: text| {
                if f.is_empty() || infinite(t) {
                    return Ok(Datum::Null);
                }
                let zone = call.context.format.time_zone;
                let shown = moment(local(t, call.context), Some((abbreviation_at(zone, t), offset_at(zone, t))));
                render(&parse_template(f), &shown).map(Datum::from)
            }),
        ),
        (
            "interval_to_char",
            row!(|i: interval, f: text| {
                if f.is_empty() {
                    return Ok(Datum::Null);
                }
                render(&parse_template(f), &interval_moment(&i)).map(Datum::from)
            }),
        ),
        ("to_date", row!(|t: text, f: text| checked_date(scan(t, &parse_template(f))?.days(t)?).map(Datum::Date))),
        (
            "to_timestamp",
            row!(call, |t: text, f: text| {
                let parsed = scan(t, &parse_template(f))?;
                let micros = i128::from(parsed.days(t)?) * i128::from(MICROS_PER_DAY) + i128::from(parsed.time(t)?);
                let micros = checked_timestamp(micros)?;
                Ok(Datum::Timestamptz(match parsed.offset {
                    Some(offset) => micros - offset * MICROS_PER_SECOND,
                    None => zoned(micros, call.context),
                }))
            }),
        ),
        ("timeofday", |call, _args| {
            let now = crate::types::calendar::clock_micros();
            let zone = call.context.format.time_zone;
            let shown = moment(local(now, call.context), Some((abbreviation_at(zone, now), offset_at(zone, now))));
            render(&parse_template("Dy Mon DD HH24:MI:SS.US YYYY TZ"), &shown).map(Datum::from)
        }),
    ]);
}
