//! `to_char`, `to_date`, `to_timestamp` and `to_number`: templates, and what they write ([`write`]) and read ([`read`]);
//! templates of numbers are in [`number`].
//!
//! The rules are those of PostgreSQL 15's formatting.c (manual, section 9.8). Names are English and the separators those
//! of the C locale: the TM prefix, D, G and L say what they say there.

mod number;
mod read;
mod write;

use super::args::row;
use super::comparison::local;
use super::registry::Implementations;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::offset_at;
use crate::types::interval::MICROS_PER_SECOND;
use crate::types::{Datum, Interval};

const MONTHS: [&str; 12] = [
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
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// December first, as templates index them.
const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// What a pattern stands for; its letter case is in [`Node::Field`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    EraDotted,
    Era,
    MeridiemDotted,
    Meridiem,
    Century,
    Day,
    DayShort,
    DayOfYear,
    DayOfMonth,
    DayOfWeek,
    /// FF1 … FF6.
    Fraction(u8),
    Fixed,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    /// Digits of the ISO year: 4, 3, 2, 1.
    IsoYear(u8),
    Julian,
    Minute,
    MonthNumber,
    Month,
    MonthShort,
    Millisecond,
    Offset,
    Quarter,
    RomanMonth,
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    Zone,
    Microsecond,
    Week,
    WeekOfMonth,
    YearComma,
    /// Digits of the year: 4, 3, 2, 1.
    Year(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Convention {
    Gregorian,
    Iso,
}

/// Patterns in the order in which they are tried; upper case, except those of mixed case. Whether one reads digits
/// decides how many of them the field before it may take.
const PATTERNS: &[(&str, Field, bool, Option<Convention>)] = {
    use Convention::{Gregorian, Iso};
    const G: Option<Convention> = Some(Gregorian);
    const I: Option<Convention> = Some(Iso);
    &[
        ("A.D.", Field::EraDotted, false, None),
        ("A.M.", Field::MeridiemDotted, false, None),
        ("AD", Field::Era, false, None),
        ("AM", Field::Meridiem, false, None),
        ("B.C.", Field::EraDotted, false, None),
        ("BC", Field::Era, false, None),
        ("CC", Field::Century, true, None),
        ("DAY", Field::Day, false, None),
        ("DDD", Field::DayOfYear, true, G),
        ("DD", Field::DayOfMonth, true, G),
        ("DY", Field::DayShort, false, None),
        ("Day", Field::Day, false, None),
        ("Dy", Field::DayShort, false, None),
        ("D", Field::DayOfWeek, true, G),
        ("FF1", Field::Fraction(1), true, None),
        ("FF2", Field::Fraction(2), true, None),
        ("FF3", Field::Fraction(3), true, None),
        ("FF4", Field::Fraction(4), true, None),
        ("FF5", Field::Fraction(5), true, None),
        ("FF6", Field::Fraction(6), true, None),
        ("FX", Field::Fixed, false, None),
        ("HH24", Field::Hour24, true, None),
        ("HH12", Field::Hour12, true, None),
        ("HH", Field::Hour12, true, None),
        ("IDDD", Field::IsoDayOfYear, true, I),
        ("ID", Field::IsoDayOfWeek, true, I),
        ("IW", Field::IsoWeek, true, I),
        ("IYYY", Field::IsoYear(4), true, I),
        ("IYY", Field::IsoYear(3), true, I),
        ("IY", Field::IsoYear(2), true, I),
        ("I", Field::IsoYear(1), true, I),
        ("J", Field::Julian, true, None),
        ("MI", Field::Minute, true, None),
        ("MM", Field::MonthNumber, true, G),
        ("MONTH", Field::Month, false, G),
        ("MON", Field::MonthShort, false, G),
        ("MS", Field::Millisecond, true, None),
        ("Month", Field::Month, false, G),
        ("Mon", Field::MonthShort, false, G),
        ("OF", Field::Offset, false, None),
        ("P.M.", Field::MeridiemDotted, false, None),
        ("PM", Field::Meridiem, false, None),
        ("Q", Field::Quarter, true, None),
        ("RM", Field::RomanMonth, false, G),
        ("SSSSS", Field::SecondOfDay, true, None),
        ("SSSS", Field::SecondOfDay, true, None),
        ("SS", Field::Second, true, None),
        ("TZH", Field::ZoneHour, false, None),
        ("TZM", Field::ZoneMinute, true, None),
        ("TZ", Field::Zone, false, None),
        ("US", Field::Microsecond, true, None),
        ("WW", Field::Week, true, G),
        ("W", Field::WeekOfMonth, true, G),
        ("Y,YYY", Field::YearComma, true, G),
        ("YYYY", Field::Year(4), true, G),
        ("YYY", Field::Year(3), true, G),
        ("YY", Field::Year(2), true, G),
        ("Y", Field::Year(1), true, G),
    ]
};

/// Letter case of an ordinal's suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ordinal {
    Upper,
    Lower,
}

/// A pattern of a template with its modifiers.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    field: Field,
    /// As messages name it: in the case of the template.
    name: &'static str,
    lower: bool,
    length: usize,
    digits: bool,
    convention: Option<Convention>,
    /// FM: no padding.
    fill: bool,
    /// TM: names in the language of the session, which is English, and never padded.
    translated: bool,
    ordinal: Option<Ordinal>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Field(Pattern),
    Separator(char),
    Space(char),
    Literal(char),
}

impl Node {
    fn character(&self) -> Option<char> {
        match self {
            Node::Field(_) => None,
            Node::Separator(c) | Node::Space(c) | Node::Literal(c) => Some(*c),
        }
    }
}

fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Lower-case names of the patterns, beside their upper-case rows.
static LOWER: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
    PATTERNS.iter().map(|(name, ..)| &*Box::leak(name.to_ascii_lowercase().into_boxed_str())).collect()
});

fn pattern_at(text: &str) -> Option<Pattern> {
    let find = |lower: bool, name: &'static str, row: &(&str, Field, bool, Option<Convention>)| {
        text.starts_with(name).then_some(Pattern {
            field: row.1,
            name,
            lower,
            length: name.len(),
            digits: row.2,
            convention: row.3,
            fill: false,
            translated: false,
            ordinal: None,
        })
    };
    let mixed = |name: &str| name.bytes().any(|b| b.is_ascii_lowercase());
    PATTERNS.iter().find_map(|row| find(false, row.0, row)).or_else(|| {
        let rows = PATTERNS.iter().zip(LOWER.iter());
        rows.filter(|(row, _)| !mixed(row.0)).find_map(|(row, name)| find(true, name, row))
    })
}

/// Splits a template of dates and times into its patterns and the text between them.
fn parse_template(template: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let prefix = ["FM", "fm", "TM", "tm"].into_iter().find(|p| rest.starts_with(p));
        if let Some(prefix) = prefix {
            rest = &rest[prefix.len()..];
        }
        if let Some(mut pattern) = pattern_at(rest) {
            rest = &rest[pattern.length..];
            pattern.fill = prefix.is_some_and(|p| p.eq_ignore_ascii_case("FM"));
            pattern.translated = prefix.is_some() && !pattern.fill;
            for (suffix, ordinal) in [("TH", Some(Ordinal::Upper)), ("th", Some(Ordinal::Lower)), ("SP", None)] {
                if let Some(after) = rest.strip_prefix(suffix) {
                    pattern.ordinal = ordinal;
                    rest = after;
                    break;
                }
            }
            nodes.push(Node::Field(pattern));
        } else {
            rest = literal(rest, &mut nodes);
        }
    }
    nodes
}

/// Takes a quoted string or one character; what follows it is returned.
fn literal<'a>(rest: &'a str, nodes: &mut Vec<Node>) -> &'a str {
    let mut chars = rest.chars();
    match chars.next() {
        None => {}
        Some('"') => {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => nodes.push(Node::Literal(chars.next().unwrap_or('\\'))),
                    c => nodes.push(Node::Literal(c)),
                }
            }
        }
        Some(c) => {
            // Outside quotes a backslash is special only before a quote.
            let c = if c == '\\' && chars.as_str().starts_with('"') { chars.next().unwrap_or(c) } else { c };
            nodes.push(match c {
                c if is_separator(c) => Node::Separator(c),
                c if is_space(c) => Node::Space(c),
                c => Node::Literal(c),
            });
        }
    }
    chars.as_str()
}

/// `st`, `nd`, `rd` or `th` for a number by its last digits.
fn ordinal(number: &str, case: Ordinal) -> Result<&'static str> {
    let digits = number.as_bytes();
    let last = digits
        .last()
        .copied()
        .filter(u8::is_ascii_digit)
        .ok_or_else(|| Error::new(SqlState::InvalidTextRepresentation, format!("\"{number}\" is not a number")))?;
    let teen = digits.len() > 1 && digits.get(digits.len() - 2) == Some(&b'1');
    let (upper, lower) = match last {
        b'1' if !teen => ("ST", "st"),
        b'2' if !teen => ("ND", "nd"),
        b'3' if !teen => ("RD", "rd"),
        _ => ("TH", "th"),
    };
    Ok(if case == Ordinal::Upper { upper } else { lower })
}

/// The Julian day of a date; months and days may be out of their ranges, as intervals' are (C's division).
fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = y / 100;
    y * 365 - 32167 + y / 4 - century + century / 4 + 7834 * m / 256 + day
}

/// First day (Monday) of an ISO week, as a Julian day.
fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = julian(year, 1, 4);
    (week - 1) * 7 + fourth - fourth.rem_euclid(7)
}

fn infinite(micros: i64) -> bool {
    micros == i64::MIN || micros == i64::MAX
}

/// See [`read::ReadMoment`].
pub(super) fn read_moment(text: &str, template: &str) -> Result<read::ReadMoment> {
    read::moment(text, template)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        (
            "timestamp_to_char",
            row!(|v: timestamp, template: text| {
                if template.is_empty() || infinite(v) {
                    return Ok(Datum::Null);
                }
                write::time(&write::Broken::local(v), &parse_template(template)).map(Datum::from)
            }),
        ),
        (
            "timestamptz_to_char",
            row!(call, |v: timestamp, template: text| {
                if template.is_empty() || infinite(v) {
                    return Ok(Datum::Null);
                }
                let mut broken = write::Broken::local(local(v, call.context));
                broken.zone = call.context.format.abbreviation_at(v).to_string();
                broken.offset = offset_at(call.context.format.time_zone, v);
                write::time(&broken, &parse_template(template)).map(Datum::from)
            }),
        ),
        (
            "interval_to_char",
            row!(|v: interval, template: text| {
                if template.is_empty() {
                    return Ok(Datum::Null);
                }
                write::time(&write::Broken::interval(&v), &parse_template(template)).map(Datum::from)
            }),
        ),
        ("to_date", row!(|text: text, template: text| read::date(text, template).map(Datum::Date))),
        (
            "to_timestamp",
            row!(call, |text: text, template: text| {
                read::timestamp(text, template, call.context).map(Datum::Timestamptz)
            }),
        ),
    ]);
    number::register(implementations);
}

impl write::Broken {
    fn interval(span: &Interval) -> write::Broken {
        let (year, month) = (i64::from(span.months) / 12, i64::from(span.months) % 12);
        let seconds = span.micros / MICROS_PER_SECOND;
        let day = i64::from(span.days);
        write::Broken {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: span.micros % MICROS_PER_SECOND,
            day_of_year: (year * 12 + month) * 30 + day,
            interval: true,
            ..write::Broken::default()
        }
    }
}
