//! Reading dates and times by a template (formatting.c's DCH_from_char and do_to_timestamp).

use super::{
    Convention, DAYS, Field, MONTHS, Node, Pattern, ROMAN_MONTHS, is_separator, is_space, iso_week_start,
    parse_template,
};
use crate::error::{Error, Result, SqlState};
use crate::functions::EvalContext;
use crate::functions::comparison::zoned;
use crate::types::calendar::{
    checked_date, checked_timestamp, civil_from_days, days_from_civil, days_in_month, is_leap,
};
use crate::types::datetime::round_timestamp;
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};

/// Days between the Julian epoch and 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;
/// Largest zone displacement in hours.
const ZONE_HOUR_MAX: i32 = 15;

/// What the patterns read; 0 is "not set", as in PostgreSQL.
#[derive(Debug, Default)]
struct Parts {
    convention: Option<Convention>,
    hour: i32,
    pm: i32,
    minute: i32,
    second: i32,
    second_of_day: i32,
    /// 1 is Sunday.
    day_of_week: i32,
    day_of_month: i32,
    day_of_year: i32,
    month: i32,
    millis: i32,
    micros: i32,
    year: i32,
    /// Digits of the year's pattern.
    year_size: u8,
    bc: i32,
    week: i32,
    week_of_month: i32,
    century: i32,
    julian: i32,
    twelve_hours: bool,
    /// Digits of FFn.
    precision: Option<u8>,
    zone_sign: i32,
    zone_hour: i32,
    zone_minute: i32,
}

/// A local time, its fraction's precision and its zone.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    micros: i64,
    precision: Option<u8>,
    offset: Option<i64>,
}

/// What jsonpath's datetime() makes of a text by a template.
pub struct ReadMoment {
    pub days: i32,
    pub micros: i64,
    /// Displacement in seconds east.
    pub zone: Option<i32>,
    pub has_date: bool,
    pub has_time: bool,
}

pub(super) fn moment(text: &str, template: &str) -> Result<ReadMoment> {
    let moment = read(text, template)?;
    let days = days_from_civil(moment.year, moment.month, 1) + moment.day - 1;
    let patterns: String = template.split('"').step_by(2).collect::<String>().to_ascii_uppercase();
    let any = |of: &[&str]| of.iter().any(|pattern| patterns.contains(pattern));
    Ok(ReadMoment {
        days: checked_date(days)?,
        micros: moment.micros,
        zone: moment.offset.map(|seconds| seconds as i32),
        has_date: any(&["Y", "MM", "MON", "D", "WW", "IW", "J", "CC"]),
        has_time: any(&["HH", "MI", "SS", "MS", "US", "FF"]),
    })
}

pub(super) fn date(text: &str, template: &str) -> Result<i32> {
    let moment = read(text, template)?;
    let days = days_from_civil(moment.year, moment.month, 1) + moment.day - 1;
    checked_date(days)
        .map_err(|_| Error::new(SqlState::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")))
}

pub(super) fn timestamp(text: &str, template: &str, context: &EvalContext) -> Result<i64> {
    let moment = read(text, template)?;
    let days = days_from_civil(moment.year, moment.month, 1) + moment.day - 1;
    let local = checked_timestamp(i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(moment.micros))?;
    let utc = match moment.offset {
        Some(seconds) => checked_timestamp(i128::from(local) - i128::from(seconds * MICROS_PER_SECOND))?,
        None => zoned(local, context),
    };
    Ok(moment.precision.map_or(utc, |digits| round_timestamp(utc, digits.into())))
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, message)
}

/// The input at hand.
struct Reader<'a> {
    rest: &'a str,
    /// The character before `rest`, for a sign taken as a separator.
    before: Option<char>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let mut chars = self.rest.chars();
        if let Some(c) = chars.next() {
            self.before = Some(c);
        }
        self.rest = chars.as_str();
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(taken) = self.rest.get(..bytes) {
            self.before = taken.chars().last().or(self.before);
        }
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn spaces(&mut self) -> i32 {
        let mut count = 0;
        while self.peek().is_some_and(is_space) {
            self.bump();
            count += 1;
        }
        count
    }

    /// One of the words, in any case; an error names the pattern.
    fn word(&mut self, words: &[&str], pattern: &Pattern) -> Result<usize> {
        let found = words
            .iter()
            .position(|word| self.rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)));
        let Some(index) = found else {
            let shown = self.rest.split(is_space).next().unwrap_or("");
            return Err(invalid(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
                .detail("The given value did not match any of the allowed values for this field."));
        };
        self.advance(words.get(index).map_or(0, |w| w.len()));
        Ok(index)
    }

    /// An integer of up to `length` characters, or of any length if what follows in the template is no digit. Returns
    /// it with the count of characters taken.
    fn integer(&mut self, length: usize, pattern: &Pattern, open: bool) -> Result<(i32, usize)> {
        let all = self.rest;
        let trimmed = all.trim_start_matches(is_space);
        let copy_end = trimmed.char_indices().nth(length).map_or(trimmed.len(), |(i, _)| i);
        let copy = trimmed.get(..copy_end).unwrap_or("");
        let (value, used) = if pattern.fill || open {
            prefix_integer(all)
        } else {
            if trimmed.len() < length {
                return Err(invalid(format!("source string too short for \"{}\" formatting field", pattern.name))
                    .detail(format!("Field requires {length} characters, but only {} remain.", trimmed.len()))
                    .hint(FILL_HINT));
            }
            let (value, used) = prefix_integer(copy);
            if used > 0 && used < length {
                return Err(self
                    .wrong(copy, pattern)
                    .detail(format!("Field requires {length} characters, but only {used} could be parsed."))
                    .hint(FILL_HINT));
            }
            (value, used + if used > 0 { all.len() - trimmed.len() } else { 0 })
        };
        if used == 0 {
            return Err(self.wrong(copy, pattern).detail("Value must be an integer."));
        }
        let value = i32::try_from(value).map_err(|_| {
            Error::new(
                SqlState::DatetimeFieldOverflow,
                format!("value for \"{}\" in source string is out of range", pattern.name),
            )
            .detail("Value must be in the range -2147483648 to 2147483647.")
        })?;
        self.advance(used);
        Ok((value, used))
    }

    fn wrong(&self, shown: &str, pattern: &Pattern) -> Error {
        invalid(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
    }
}

const FILL_HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";

/// C's strtol: leading spaces, a sign, digits; what it took in bytes (0: no number).
fn prefix_integer(text: &str) -> (i128, usize) {
    let body = text.trim_start_matches(is_space);
    let skipped = text.len() - body.len();
    let (sign, digits) = match body.as_bytes().first() {
        Some(b'-') => (-1, &body[1..]),
        Some(b'+') => (1, &body[1..]),
        _ => (1, body),
    };
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return (0, 0);
    }
    let mut value: i128 = 0;
    for digit in digits.bytes().take(count) {
        value = (value * 10 + i128::from(digit - b'0')).min(i128::from(i64::MAX));
    }
    (sign * value, skipped + (body.len() - digits.len()) + count)
}

/// Sets a field that may have been set before, to the same value only.
fn set(field: &mut i32, value: i32, pattern: &Pattern) -> Result<()> {
    if *field != 0 && *field != value {
        return Err(invalid(format!("conflicting values for \"{}\" field in formatting string", pattern.name))
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *field = value;
    Ok(())
}

/// Whether the number of this pattern may run on: what follows is the end, or reads no digits.
fn open_ended(pattern: &Pattern, next: Option<&Node>) -> bool {
    pattern.ordinal.is_some()
        || match next {
            None => true,
            Some(Node::Field(next)) => !next.digits,
            Some(other) => !other.character().is_some_and(|c| c.is_ascii_digit()),
        }
}

/// Years of one to three digits: those nearest to 2020.
fn nearest_2020(year: i32) -> i32 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

fn read_parts(text: &str, nodes: &[Node]) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut input = Reader { rest: text, before: None };
    let mut fixed = false;
    // Characters skipped beyond what the template has.
    let mut extra = 0;
    for (at, node) in nodes.iter().enumerate() {
        if input.rest.is_empty() {
            break;
        }
        let pattern = match node {
            Node::Field(pattern) => Some(pattern),
            _ => None,
        };
        if !fixed && pattern.is_none_or(|p| p.field != Field::Fixed) && (pattern.is_some() || at == 0) {
            extra += input.spaces();
        }
        let Some(pattern) = pattern else {
            let separator = matches!(node, Node::Space(_) | Node::Separator(_));
            match (separator, fixed) {
                (true, false) => {
                    extra -= 1;
                    if input.peek().is_some_and(|c| is_space(c) || is_separator(c)) {
                        input.bump();
                        extra += 1;
                    }
                }
                (false, false) if extra > 0 => extra -= 1,
                _ => input.bump(),
            }
            continue;
        };
        if let Some(convention) = pattern.convention {
            match parts.convention {
                None => parts.convention = Some(convention),
                Some(before) if before != convention => {
                    return Err(invalid("invalid combination of date conventions".into())
                        .hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
                }
                _ => {}
            }
        }
        if pattern.field == Field::Fixed {
            fixed = true;
        } else {
            read_field(&mut parts, &mut input, pattern, open_ended(pattern, nodes.get(at + 1)), extra)?;
        }
        if !fixed {
            extra = input.spaces();
        }
    }
    Ok(parts)
}

fn read_field(parts: &mut Parts, input: &mut Reader<'_>, p: &Pattern, open: bool, extra: i32) -> Result<()> {
    use Field as F;
    let length = match p.field {
        F::Hour12 | F::Hour24 | F::ZoneHour | F::ZoneMinute => 2,
        F::Millisecond | F::IsoDayOfYear => 3,
        F::Microsecond => 6,
        F::Fraction(n) => usize::from(n),
        F::IsoDayOfWeek => 1,
        _ => p.length,
    };
    let mut ordinal_allowed = true;
    match p.field {
        F::MeridiemDotted | F::Meridiem => {
            let words: &[&str] = if p.field == F::Meridiem { &["am", "pm"] } else { &["a.m.", "p.m."] };
            set(&mut parts.pm, input.word(words, p)? as i32, p)?;
            parts.twelve_hours = true;
            ordinal_allowed = false;
        }
        F::EraDotted | F::Era => {
            let words: &[&str] = if p.field == F::Era { &["ad", "bc"] } else { &["a.d.", "b.c."] };
            set(&mut parts.bc, input.word(words, p)? as i32, p)?;
            ordinal_allowed = false;
        }
        F::Hour12 => {
            set(&mut parts.hour, input.integer(length, p, open)?.0, p)?;
            parts.twelve_hours = true;
        }
        F::Hour24 => set(&mut parts.hour, input.integer(length, p, open)?.0, p)?,
        F::Minute => set(&mut parts.minute, input.integer(length, p, open)?.0, p)?,
        F::Second => set(&mut parts.second, input.integer(length, p, open)?.0, p)?,
        F::Millisecond => {
            let (value, used) = input.integer(length, p, open)?;
            set(&mut parts.millis, value, p)?;
            parts.millis = value.saturating_mul(10i32.pow(3u32.saturating_sub(used as u32)));
        }
        F::Microsecond | F::Fraction(_) => {
            if let F::Fraction(n) = p.field {
                parts.precision = Some(n);
            }
            let (value, used) = input.integer(length, p, open)?;
            set(&mut parts.micros, value, p)?;
            parts.micros = value.saturating_mul(10i32.pow(6u32.saturating_sub(used as u32)));
        }
        F::SecondOfDay => set(&mut parts.second_of_day, input.integer(length, p, open)?.0, p)?,
        F::Zone | F::Offset => {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("formatting field \"{}\" is only supported in to_char", p.name),
            ));
        }
        F::ZoneHour => {
            match input.peek() {
                Some(c @ ('+' | '-' | ' ')) => {
                    parts.zone_sign = if c == '-' { -1 } else { 1 };
                    input.bump();
                }
                // A minus may have been taken for a separator.
                _ => parts.zone_sign = if extra > 0 && input.before == Some('-') { -1 } else { 1 },
            }
            set(&mut parts.zone_hour, input.integer(length, p, open)?.0, p)?;
            ordinal_allowed = false;
        }
        F::ZoneMinute => {
            if parts.zone_sign == 0 {
                parts.zone_sign = 1;
            }
            set(&mut parts.zone_minute, input.integer(length, p, open)?.0, p)?;
            ordinal_allowed = false;
        }
        F::Month | F::MonthShort => {
            let short: Vec<&str> = MONTHS.iter().map(|m| &m[..3]).collect();
            let words: &[&str] = if p.field == F::Month { &MONTHS } else { &short };
            set(&mut parts.month, input.word(words, p)? as i32 + 1, p)?;
            ordinal_allowed = false;
        }
        F::RomanMonth => {
            set(&mut parts.month, 12 - input.word(&ROMAN_MONTHS, p)? as i32, p)?;
            ordinal_allowed = false;
        }
        F::MonthNumber => set(&mut parts.month, input.integer(length, p, open)?.0, p)?,
        F::Day | F::DayShort => {
            let short: Vec<&str> = DAYS.iter().map(|d| &d[..3]).collect();
            let words: &[&str] = if p.field == F::Day { &DAYS } else { &short };
            set(&mut parts.day_of_week, input.word(words, p)? as i32, p)?;
            parts.day_of_week += 1;
            ordinal_allowed = false;
        }
        F::DayOfYear | F::IsoDayOfYear => set(&mut parts.day_of_year, input.integer(length, p, open)?.0, p)?,
        F::DayOfMonth => set(&mut parts.day_of_month, input.integer(length, p, open)?.0, p)?,
        F::DayOfWeek => set(&mut parts.day_of_week, input.integer(length, p, open)?.0, p)?,
        F::IsoDayOfWeek => {
            set(&mut parts.day_of_week, input.integer(length, p, open)?.0, p)?;
            // From Monday = 1 to Sunday = 1.
            parts.day_of_week = if parts.day_of_week >= 7 { 1 } else { parts.day_of_week + 1 };
        }
        F::Week | F::IsoWeek => set(&mut parts.week, input.integer(length, p, open)?.0, p)?,
        // A quarter says no date: it is read and left.
        F::Quarter => {
            input.integer(length, p, open)?;
        }
        F::Century => set(&mut parts.century, input.integer(length, p, open)?.0, p)?,
        F::YearComma => {
            let (year, used) =
                comma_year(input.rest).ok_or_else(|| invalid("invalid input string for \"Y,YYY\"".into()))?;
            set(&mut parts.year, year, p)?;
            parts.year_size = 4;
            input.advance(used);
        }
        F::Year(size) | F::IsoYear(size) => {
            let (value, used) = input.integer(length, p, open)?;
            set(&mut parts.year, value, p)?;
            if size < 4 && used < 4 {
                parts.year = nearest_2020(value);
            }
            parts.year_size = size;
        }
        F::WeekOfMonth => set(&mut parts.week_of_month, input.integer(length, p, open)?.0, p)?,
        F::Julian => set(&mut parts.julian, input.integer(length, p, open)?.0, p)?,
        F::Fixed => {}
    }
    if ordinal_allowed && p.ordinal.is_some() {
        input.bump();
        input.bump();
    }
    Ok(())
}

/// `1,234`.
fn comma_year(text: &str) -> Option<(i32, usize)> {
    let (millennia, used) = prefix_integer(text);
    let after = text.get(used..)?.strip_prefix(',').filter(|_| used > 0)?;
    let lead = after.len() - after.trim_start_matches(is_space).len();
    let count = after.bytes().skip(lead).take(3).take_while(u8::is_ascii_digit).count();
    let years: i32 = after.get(lead..lead + count)?.parse().ok()?;
    let year = i32::try_from(millennia).ok()?.checked_mul(1000)?.checked_add(years)?;
    Some((year, used + 1 + lead + count))
}

fn read(text: &str, template: &str) -> Result<Moment> {
    let mut parts = read_parts(text, &parse_template(template))?;
    let mut seconds = (0, 0, 0);
    if parts.second_of_day != 0 {
        let s = parts.second_of_day;
        seconds = (s / 3600, s % 3600 / 60, s % 60);
    }
    let pick = |value: i32, other: i32| if value != 0 { value } else { other };
    let (mut hour, minute, second) =
        (pick(parts.hour, seconds.0), pick(parts.minute, seconds.1), pick(parts.second, seconds.2));
    if parts.twelve_hours {
        if !(1..=12).contains(&hour) {
            return Err(invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        hour = hour % 12 + if parts.pm != 0 { 12 } else { 0 };
    }
    let overflow =
        || Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
    let (year, month, day) = calendar(&mut parts, overflow)?;
    let micros = i64::from(parts.millis) * 1000 + i64::from(parts.micros);
    if !(0..24).contains(&hour)
        || !(0..60).contains(&minute)
        || !(0..60).contains(&second)
        || !(0..MICROS_PER_SECOND).contains(&micros)
    {
        return Err(overflow());
    }
    let offset = match parts.zone_sign {
        0 => None,
        sign => {
            if !(0..=ZONE_HOUR_MAX).contains(&parts.zone_hour) || !(0..60).contains(&parts.zone_minute) {
                return Err(Error::new(
                    SqlState::InvalidTimeZoneDisplacement,
                    format!("time zone displacement out of range: \"{text}\""),
                ));
            }
            Some(i64::from(sign * (parts.zone_hour * 3600 + parts.zone_minute * 60)))
        }
    };
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Ok(Moment { year, month, day, micros: of_day * MICROS_PER_SECOND + micros, precision: parts.precision, offset })
}

/// Year (astronomical), month and day; what was not read is 1 BC, January, 1.
fn calendar(parts: &mut Parts, overflow: impl Fn() -> Error) -> Result<(i64, i64, i64)> {
    let (mut year, mut month, mut day) = (0i64, 1i64, 1i64);
    let (mut has_year, mut has_month, mut has_day) = (false, false, false);
    let from_julian = |julian: i64| civil_from_days(julian - JULIAN_1970);
    let century = i64::from(if parts.bc != 0 { parts.century.saturating_neg() } else { parts.century });
    if parts.year != 0 {
        has_year = true;
        year = i64::from(parts.year);
        if parts.century != 0 && parts.year_size <= 2 {
            // The 21st century runs from 2001 to 2100, the 6th BC from 600 to 501.
            let short = year % 100;
            year = match (short, century >= 0) {
                (0, positive) => century * 100 + i64::from(!positive),
                (short, true) => short + (century - 1) * 100,
                (short, false) => (century + 1) * 100 - short + 1,
            };
        } else {
            year = if parts.bc != 0 { -year } else { year };
            if year < 0 {
                year += 1;
            }
        }
    } else if parts.century != 0 {
        has_year = true;
        year = if century >= 0 { (century - 1) * 100 + 1 } else { century * 100 + 1 };
    }
    if parts.julian != 0 {
        (year, month, day) = from_julian(parts.julian.into());
        (has_year, has_month, has_day) = (true, true, true);
    }
    let iso = parts.convention == Some(Convention::Iso);
    if parts.week != 0 {
        if iso {
            let monday = iso_week_start(year, parts.week.into());
            let weekday = match parts.day_of_week {
                0 => 0,
                1 => 6,
                n => i64::from(n) - 2,
            };
            (year, month, day) = from_julian(monday + weekday);
            (has_year, has_month, has_day) = (true, true, true);
        } else {
            parts.day_of_year = parts.week.saturating_sub(1).saturating_mul(7).saturating_add(1);
        }
    }
    if parts.week_of_month != 0 {
        parts.day_of_month = parts.week_of_month.saturating_sub(1).saturating_mul(7).saturating_add(1);
    }
    if parts.day_of_month != 0 {
        (day, has_day) = (parts.day_of_month.into(), true);
    }
    if parts.month != 0 {
        (month, has_month) = (parts.month.into(), true);
    }
    if parts.day_of_year != 0 && (month <= 1 || day <= 1) {
        if year == 0 && parts.bc == 0 {
            return Err(invalid("cannot calculate day of year without year information".into()));
        }
        let day_of_year = i64::from(parts.day_of_year);
        if iso {
            (year, month, day) = from_julian(iso_week_start(year, 1) - 1 + day_of_year);
            has_year = true;
        } else {
            // Past the year's end PostgreSQL leaves a thirteenth month, which its check refuses.
            if day_of_year > 365 + i64::from(is_leap(year)) {
                return Err(overflow());
            }
            let mut left = day_of_year;
            let mut found = 1;
            while found < 12 && left > days_in_month(year, found) {
                left -= days_in_month(year, found);
                found += 1;
            }
            month = if month <= 1 { found } else { month };
            day = if day <= 1 { left } else { day };
        }
        (has_month, has_day) = (true, true);
    }
    let bad = (has_month && !(1..=12).contains(&month))
        || (has_day && !(1..=31).contains(&day))
        || (has_year && has_month && has_day && day > days_in_month(year, month));
    if bad { Err(overflow()) } else { Ok((year, month, day)) }
}
