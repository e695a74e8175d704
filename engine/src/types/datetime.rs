//! Text input of date, time, timestamp and timestamptz in PostgreSQL's common forms.
//!
//! A text is cut into tokens (date, clock, offset, word, number), the tokens fill [`Fields`], the fields become a
//! value. Order of day, month and year in ambiguous dates follows DateStyle.

use super::calendar::{
    Zone, checked_date, checked_timestamp, civil_from_days, clock_micros, days_from_civil, days_in_month, offset_at,
    parse_offset, timestamp_out_of_range, utc_to_local, zone_by_name,
};
use super::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use super::text::{DateOrder, FormatSettings};
use crate::error::{Error, Result, SqlState};

/// What went wrong, before the type's name and the text are known.
enum Bad {
    Format,
    Field,
    MonthDay,
    ZoneOffset,
    Zone(String),
}

impl Bad {
    fn error(self, type_name: &str, text: &str) -> Error {
        let out_of_range =
            || Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""));
        match self {
            Bad::Format => Error::new(
                SqlState::InvalidDatetimeFormat,
                format!("invalid input syntax for type {type_name}: \"{text}\""),
            ),
            Bad::Field => out_of_range(),
            Bad::MonthDay => out_of_range().hint("Perhaps you need a different \"datestyle\" setting."),
            Bad::ZoneOffset => Error::new(
                SqlState::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{text}\""),
            ),
            Bad::Zone(zone) => {
                Error::new(SqlState::InvalidParameterValue, format!("time zone \"{zone}\" not recognized"))
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Special {
    Infinity,
    NegInfinity,
    Epoch,
    Now,
    Today,
    Tomorrow,
    Yesterday,
}

#[derive(Default)]
struct Fields {
    year: Option<i64>,
    /// The year was written with two digits.
    short_year: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    micros: Option<i64>,
    zone: Option<Zone>,
    bc: bool,
    meridiem: Option<bool>,
    special: Option<Special>,
}

#[derive(Debug)]
enum Token<'a> {
    Date(&'a str),
    Clock(&'a str),
    Offset(&'a str),
    Word(&'a str),
    Number(&'a str),
}

/// Reads a date: days since 1970, MIN and MAX for the infinities.
pub fn parse_date(text: &str, format: &FormatSettings) -> Result<i32> {
    let fail = |bad: Bad| bad.error("date", text);
    let fields = read(text, format).map_err(fail)?;
    match fields.special {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::NegInfinity) => return Ok(i32::MIN),
        _ => {}
    }
    let days = fields.days(format).map_err(fail)?.ok_or_else(|| fail(Bad::Format))?;
    checked_date(days)
        .map_err(|_| Error::new(SqlState::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")))
}

/// Reads a time of day in microseconds; a zone is read and ignored.
pub fn parse_time(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    let fail = |bad: Bad| bad.error("time", text);
    let lower = text.trim().to_ascii_lowercase();
    if lower == "allballs" {
        return Ok(0);
    }
    if let Some(micros) = packed_clock(&lower).filter(|_| !lower.contains(':')) {
        return Ok(round_micros(micros, precision));
    }
    let mut fields = read(text, format).map_err(fail)?;
    if fields.special == Some(Special::Now) {
        let local = utc_to_local(format.time_zone, now(format));
        fields.micros = Some(local.rem_euclid(MICROS_PER_DAY));
    } else if fields.special.is_some() {
        return Err(fail(Bad::Format));
    }
    let micros = fields.time().map_err(fail)?.ok_or_else(|| fail(Bad::Format))?;
    Ok(round_micros(micros, precision))
}

/// Reads a timestamp without time zone; a zone is read and ignored.
pub fn parse_timestamp(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    Ok(match instant(text, "timestamp", format)? {
        Instant::Infinite(value) => value,
        Instant::Local(local, _) => round_micros(local, precision),
        Instant::Utc(utc) => round_micros(utc_to_local(format.time_zone, utc), precision),
    })
}

/// Reads a timestamp with time zone: UTC microseconds.
pub fn parse_timestamptz(text: &str, precision: i32, format: &FormatSettings) -> Result<i64> {
    let utc = match instant(text, "timestamp with time zone", format)? {
        Instant::Infinite(value) => return Ok(value),
        Instant::Local(local, zone) => zone.unwrap_or(Zone::Named(format.time_zone)).to_utc(local),
        Instant::Utc(utc) => utc,
    };
    Ok(round_micros(checked_timestamp(i128::from(utc))?, precision))
}

enum Instant {
    Infinite(i64),
    Local(i64, Option<Zone>),
    Utc(i64),
}

fn instant(text: &str, type_name: &str, format: &FormatSettings) -> Result<Instant> {
    let fail = |bad: Bad| bad.error(type_name, text);
    let fields = read(text, format).map_err(fail)?;
    match fields.special {
        Some(Special::Infinity) => return Ok(Instant::Infinite(i64::MAX)),
        Some(Special::NegInfinity) => return Ok(Instant::Infinite(i64::MIN)),
        Some(Special::Now) => return Ok(Instant::Utc(now(format))),
        Some(Special::Epoch) if type_name != "timestamp" => return Ok(Instant::Utc(0)),
        _ => {}
    }
    let days = fields.days(format).map_err(fail)?.ok_or_else(|| fail(Bad::Format))?;
    let time = fields.time().map_err(fail)?.unwrap_or(0);
    let local = checked_timestamp(i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time))
        .map_err(|_| Error::new(timestamp_out_of_range().state(), format!("timestamp out of range: \"{text}\"")))?;
    Ok(Instant::Local(local, fields.zone))
}

/// Rounds microseconds to `precision` digits of the second (-1: leaves them).
pub fn round_micros(micros: i64, precision: i32) -> i64 {
    if !(0..6).contains(&precision) || micros == i64::MAX || micros == i64::MIN {
        return micros;
    }
    let unit = 10i64.pow(6 - precision as u32);
    let half = unit / 2;
    if micros >= 0 { micros.saturating_add(half) / unit * unit } else { -((-micros + half) / unit * unit) }
}

fn now(format: &FormatSettings) -> i64 {
    format.transaction_time.unwrap_or_else(clock_micros)
}

impl Fields {
    fn days(&self, format: &FormatSettings) -> Result<Option<i64>, Bad> {
        let today = || utc_to_local(format.time_zone, now(format)).div_euclid(MICROS_PER_DAY);
        match self.special {
            Some(Special::Epoch) => return Ok(Some(0)),
            Some(Special::Now | Special::Today) => return Ok(Some(today())),
            Some(Special::Tomorrow) => return Ok(Some(today() + 1)),
            Some(Special::Yesterday) => return Ok(Some(today() - 1)),
            _ => {}
        }
        if let Some(julian) = self.julian {
            return Ok(Some(julian - 2_440_588));
        }
        let Some(mut year) = self.year else {
            return Ok(None);
        };
        if self.bc {
            if year <= 0 {
                return Err(Bad::Field);
            }
            year = 1 - year;
        } else if self.short_year {
            year += if year < 70 { 2000 } else { 1900 };
        } else if year == 0 {
            return Err(Bad::Field);
        }
        if let Some(day) = self.day_of_year {
            let days = days_from_civil(year, 1, 1) + day - 1;
            return if day >= 1 && civil_from_days(days).0 == year { Ok(Some(days)) } else { Err(Bad::Field) };
        }
        let (Some(month), Some(day)) = (self.month, self.day) else {
            return Ok(None);
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Bad::MonthDay);
        }
        if day > days_in_month(year, month) || year > 6_000_000 {
            return Err(Bad::Field);
        }
        Ok(Some(days_from_civil(year, month, day)))
    }

    fn time(&self) -> Result<Option<i64>, Bad> {
        let Some(micros) = self.micros else {
            return if self.meridiem.is_some() { Err(Bad::Format) } else { Ok(None) };
        };
        let Some(pm) = self.meridiem else {
            return Ok(Some(micros));
        };
        let hour = 3600 * MICROS_PER_SECOND;
        if micros >= 13 * hour {
            return Err(Bad::Field);
        }
        Ok(Some(match (pm, micros >= 12 * hour) {
            (true, false) => micros + 12 * hour,
            (false, true) => micros - 12 * hour,
            _ => micros,
        }))
    }

    fn set_year(&mut self, digits: &str) -> Result<(), Bad> {
        if self.year.is_some() {
            return Err(Bad::Format);
        }
        self.year = Some(digits.parse().map_err(|_| Bad::Field)?);
        self.short_year = digits.len() <= 2;
        Ok(())
    }

    fn set_month(&mut self, month: i64) -> Result<(), Bad> {
        if self.month.is_some() {
            return Err(Bad::Format);
        }
        self.month = Some(month);
        Ok(())
    }

    fn set_day(&mut self, digits: &str) -> Result<(), Bad> {
        if self.day.is_some() {
            return Err(Bad::Format);
        }
        self.day = Some(digits.parse().map_err(|_| Bad::Field)?);
        Ok(())
    }
}

fn read(text: &str, format: &FormatSettings) -> Result<Fields, Bad> {
    let lower = text.trim().to_ascii_lowercase();
    let mut fields = Fields::default();
    let special = match lower.as_str() {
        "" => return Err(Bad::Format),
        "infinity" | "+infinity" => Some(Special::Infinity),
        "-infinity" => Some(Special::NegInfinity),
        _ => None,
    };
    if special.is_some() {
        fields.special = special;
        return Ok(fields);
    }
    let tokens = tokenize(&lower).ok_or(Bad::Format)?;
    let mut numbers = Vec::new();
    for token in &tokens {
        match token {
            Token::Date(date) => read_date(date, &mut fields, format.date_order)?,
            Token::Clock(clock) => {
                if fields.micros.is_some() {
                    return Err(Bad::Format);
                }
                fields.micros = Some(read_clock(clock)?);
            }
            Token::Offset(offset) => {
                if fields.zone.is_some() && !matches!(fields.zone, Some(Zone::Fixed(0))) {
                    return Err(Bad::Format);
                }
                fields.zone = Some(Zone::Fixed(parse_offset(offset).ok_or(Bad::ZoneOffset)?));
            }
            Token::Word(word) => read_word(word, &mut fields)?,
            Token::Number(number) => numbers.push(*number),
        }
    }
    read_numbers(&numbers, &mut fields, format.date_order)?;
    Ok(fields)
}

fn tokenize(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut seen_clock = false;
    while at < bytes.len() {
        let start = at;
        let run = |at: &mut usize, accept: fn(u8) -> bool| {
            while *at < bytes.len() && accept(bytes[*at]) {
                *at += 1;
            }
        };
        match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => at += 1,
            b'0'..=b'9' => {
                run(&mut at, |b| b.is_ascii_digit());
                match bytes.get(at) {
                    Some(b':') => {
                        run(&mut at, |b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
                        seen_clock = true;
                        tokens.push(Token::Clock(&text[start..at]));
                    }
                    Some(b'-' | b'/') if !seen_clock || at - start > 6 => {
                        run(&mut at, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.'));
                        // "2020-01-05t10:00": the t ends the date.
                        let date = &text[start..at];
                        if let Some(t) = date.rfind('t').filter(|t| date[t + 1..].bytes().all(|b| b.is_ascii_digit())) {
                            at = start + t;
                        }
                        tokens.push(Token::Date(&text[start..at]));
                    }
                    Some(b'.') => {
                        run(&mut at, |b| b.is_ascii_digit() || b == b'.');
                        let word = &text[start..at];
                        let dotted_date =
                            word.matches('.').count() == 2 || (word.len() == 8 && word.find('.') == Some(4));
                        tokens.push(if dotted_date { Token::Date(word) } else { Token::Number(word) });
                    }
                    _ => tokens.push(Token::Number(&text[start..at])),
                }
            }
            b'+' | b'-' => {
                at += 1;
                run(&mut at, |b| b.is_ascii_digit() || b == b':');
                tokens.push(Token::Offset(&text[start..at]));
            }
            b'a'..=b'z' => {
                run(&mut at, |b| b.is_ascii_lowercase());
                if &text[start..at] == "j" && bytes.get(at).is_some_and(u8::is_ascii_digit) {
                    run(&mut at, |b| b.is_ascii_digit());
                }
                let is_month = month(&text[start..at]).is_some();
                if is_month
                    && matches!(bytes.get(at), Some(b'-' | b'/' | b'.'))
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
                {
                    run(&mut at, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.'));
                    tokens.push(Token::Date(&text[start..at]));
                    continue;
                }
                if matches!(bytes.get(at), Some(b'/' | b'_')) || (bytes.get(at) == Some(&b'-') && zone_tail(bytes, at))
                {
                    run(&mut at, |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+'));
                }
                let word = &text[start..at];
                let word_end = bytes.get(at) == Some(&b'.') && !word.is_empty();
                if word_end {
                    at += 1;
                }
                tokens.push(Token::Word(word));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

/// A hyphen that goes on a zone's name, as in `america/port-au-prince`.
fn zone_tail(bytes: &[u8], at: usize) -> bool {
    bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase)
}

fn month(word: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let index = NAMES.iter().position(|n| *n == word || (word.len() == 3 && n.starts_with(word)));
    index.map(|i| i as i64 + 1).or((word == "sept").then_some(9))
}

fn read_word(word: &str, fields: &mut Fields) -> Result<(), Bad> {
    const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    if let Some(month) = month(word) {
        return fields.set_month(month);
    }
    if WEEKDAYS.iter().any(|d| *d == word || (word.len() >= 3 && d.starts_with(word))) {
        return Ok(());
    }
    let special = match word {
        "am" => return set_once(&mut fields.meridiem, false),
        "pm" => return set_once(&mut fields.meridiem, true),
        "bc" => {
            fields.bc = true;
            return Ok(());
        }
        "ad" | "t" | "at" | "on" | "of" => return Ok(()),
        "now" => Special::Now,
        "today" => Special::Today,
        "tomorrow" => Special::Tomorrow,
        "yesterday" => Special::Yesterday,
        "epoch" => Special::Epoch,
        "allballs" => {
            fields.zone = Some(Zone::Fixed(0));
            return set_once(&mut fields.micros, 0);
        }
        _ => return read_zone(word, fields),
    };
    set_once(&mut fields.special, special)
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), Bad> {
    if slot.is_some() {
        return Err(Bad::Format);
    }
    *slot = Some(value);
    Ok(())
}

fn read_zone(word: &str, fields: &mut Fields) -> Result<(), Bad> {
    if let Some(rest) = word.strip_prefix('j').filter(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit())) {
        fields.julian = Some(rest.parse().ok().filter(|j: &i64| *j < 1 << 40).ok_or(Bad::Field)?);
        return Ok(());
    }
    match zone_by_name(word) {
        Some(zone) => set_once(&mut fields.zone, zone),
        None if word.contains('/') => Err(Bad::Zone(word.to_string())),
        None => Err(Bad::Format),
    }
}

/// `h:mm[:ss[.f]]`; 24:00 is midnight at the day's end, second 60 the next minute.
fn read_clock(text: &str) -> Result<i64, Bad> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |s: &str| s.parse::<i64>().map_err(|_| Bad::Format);
    let (h, m, seconds) = match parts.as_slice() {
        [h, m] if !m.contains('.') => (number(h)?, number(m)?, "0"),
        [h, m, s] => (number(h)?, number(m)?, *s),
        _ => return Err(Bad::Format),
    };
    let (s, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let s = number(s)?;
    let micros = fraction_micros(fraction).ok_or(Bad::Format)?;
    if m > 59 || s > 60 || h > 24 {
        return Err(Bad::Field);
    }
    let total = ((h * 60 + m) * 60 + s) * MICROS_PER_SECOND + micros;
    if total > MICROS_PER_DAY {
        return Err(Bad::Field);
    }
    Ok(total)
}

/// Digits behind a second's point, rounded to microseconds.
pub(crate) fn fraction_micros(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: f64 = format!("0.{digits}").parse().ok()?;
    Some((seconds * 1e6).round_ties_even() as i64)
}

/// `HHMMSS[.f]` or `HHMM`.
fn packed_clock(text: &str) -> Option<i64> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (h, m, s) = match digits.len() {
        6 => (&digits[..2], &digits[2..4], &digits[4..]),
        4 => (&digits[..2], &digits[2..], "0"),
        _ => return None,
    };
    let (h, m, s): (i64, i64, i64) = (h.parse().ok()?, m.parse().ok()?, s.parse().ok()?);
    let micros = fraction_micros(fraction)?;
    (h <= 24 && m <= 59 && s <= 60).then_some(((h * 60 + m) * 60 + s) * MICROS_PER_SECOND + micros)
}

/// A date with delimiters: `2020-01-05`, `1/5/2020`, `5-Jan-2020`, `5.1.2020`, `2020-005`.
fn read_date(text: &str, fields: &mut Fields, order: DateOrder) -> Result<(), Bad> {
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    if parts.iter().any(|p| p.is_empty()) {
        return Err(Bad::Format);
    }
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if let Some(name_at) = parts.iter().position(|p| !numeric(p)) {
        fields.set_month(month(parts[name_at]).ok_or(Bad::Format)?)?;
        let rest: Vec<&str> = parts.iter().enumerate().filter(|(i, _)| *i != name_at).map(|(_, p)| *p).collect();
        return match rest.as_slice() {
            [a, b] if a.len() > 2 || (order == DateOrder::Ymd && b.len() <= 2) => {
                fields.set_year(a)?;
                fields.set_day(b)
            }
            [a, b] if numeric(a) && numeric(b) => {
                fields.set_day(a)?;
                fields.set_year(b)
            }
            _ => Err(Bad::Format),
        };
    }
    match parts.as_slice() {
        [y, d] if y.len() >= 4 && d.len() == 3 => {
            fields.day_of_year = d.parse().ok();
            fields.set_year(y)
        }
        [a, b, c] => {
            let (y, m, d) = if a.len() > 2 {
                (a, b, c)
            } else {
                match order {
                    DateOrder::Mdy => (c, a, b),
                    DateOrder::Dmy => (c, b, a),
                    DateOrder::Ymd => (a, b, c),
                }
            };
            if m.len() > 2 || d.len() > 2 {
                return Err(Bad::Format);
            }
            fields.set_year(y)?;
            fields.set_month(m.parse().map_err(|_| Bad::Field)?)?;
            fields.set_day(d)
        }
        _ => Err(Bad::Format),
    }
}

/// Numbers that stand alone, in the light of what the other tokens gave.
fn read_numbers(numbers: &[&str], fields: &mut Fields, order: DateOrder) -> Result<(), Bad> {
    for number in numbers {
        let dated = fields.year.is_some() && fields.month.is_some() && fields.day.is_some();
        if dated && fields.micros.is_none() {
            fields.micros = Some(packed_clock(number).ok_or(Bad::Format)?);
            continue;
        }
        if dated || number.contains('.') {
            return Err(Bad::Format);
        }
        let untouched = fields.year.is_none() && fields.month.is_none() && fields.day.is_none();
        match number.len() {
            8 if untouched => {
                fields.set_year(&number[..4])?;
                fields.month = number[4..6].parse().ok();
                fields.day = number[6..].parse().ok();
            }
            6 if untouched => {
                fields.set_year(&number[..2])?;
                fields.month = number[2..4].parse().ok();
                fields.day = number[4..].parse().ok();
            }
            1 | 2
                if fields.month.is_some()
                    && fields.day.is_none()
                    && !(order == DateOrder::Ymd && fields.year.is_none()) =>
            {
                fields.set_day(number)?;
            }
            1 | 2 if fields.month.is_none() && order == DateOrder::Mdy => {
                fields.set_month(number.parse().map_err(|_| Bad::Field)?)?;
            }
            1 | 2 if fields.day.is_none() && order == DateOrder::Dmy => fields.set_day(number)?,
            1 | 2 if fields.month.is_none() && fields.year.is_some() => {
                fields.set_month(number.parse().map_err(|_| Bad::Field)?)?;
            }
            _ => fields.set_year(number)?,
        }
    }
    Ok(())
}

/// Offset of the zone at a UTC instant, for output.
pub(crate) fn output_offset(format: &FormatSettings, utc: i64) -> i64 {
    offset_at(format.time_zone, utc)
}
