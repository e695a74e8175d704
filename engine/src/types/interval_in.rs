//! Text input of intervals, by the rules of PostgreSQL's datetime.c: units, clock times, years and months, the forms of
//! the SQL standard ([`fields`]) and of ISO 8601 ([`iso8601`]).

use super::Interval;
use super::datetime::lexer::{self, Field, INTERVAL_TEXT_MAX, Kind, fraction, leading};
use super::datetime::words::{self, Unit};
use super::datetime::{Bad, clock};
use super::interval::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, adjust, out_of_range, range, range_of,
};
use super::text::IntervalStyle;
use crate::error::{Error, Result, SqlState};

/// Reads an interval (22007, 22008, 22015). The type's modifier gives the unit of a bare number and cuts the result; the
/// style decides what a leading sign means.
pub fn parse(text: &str, typmod: i32, style: IntervalStyle) -> Result<Interval> {
    let read = match fields(text, range_of(typmod), style) {
        Err(Bad::Format) => iso8601(text),
        read => read,
    };
    let sum = read.map_err(|bad| match bad {
        Bad::Format => {
            Error::new(SqlState::InvalidDatetimeFormat, format!("invalid input syntax for type interval: \"{text}\""))
        }
        _ => Error::new(SqlState::IntervalFieldOverflow, format!("interval field value out of range: \"{text}\"")),
    })?;
    let months = i64::from(sum.years) * 12 + i64::from(sum.months);
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    adjust(Interval { months, days: sum.days, micros: sum.micros }, typmod)
}

/// Running sums; a fraction of a unit spills into smaller ones.
#[derive(Debug, Default)]
struct Sum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

impl Sum {
    fn add_years(&mut self, whole: i64, fraction: f64, years: i32) -> Option<()> {
        let added = i32::try_from(whole).ok()?.checked_mul(years)?;
        self.years = self.years.checked_add(added)?;
        let months = (fraction * f64::from(years) * 12.0).round_ties_even() as i32;
        self.months = self.months.checked_add(months)?;
        Some(())
    }

    fn add_months(&mut self, whole: i64, fraction: f64) -> Option<()> {
        self.months = self.months.checked_add(i32::try_from(whole).ok()?)?;
        self.add_fraction_of_days(fraction, 30.0)
    }

    fn add_weeks(&mut self, whole: i64, fraction: f64) -> Option<()> {
        self.days = self.days.checked_add(i32::try_from(whole).ok()?.checked_mul(7)?)?;
        self.add_fraction_of_days(fraction, 7.0)
    }

    fn add_days(&mut self, whole: i64, fraction: f64) -> Option<()> {
        self.days = self.days.checked_add(i32::try_from(whole).ok()?)?;
        self.add_fraction(fraction, MICROS_PER_DAY)
    }

    fn add_fraction_of_days(&mut self, fraction: f64, days: f64) -> Option<()> {
        let scaled = fraction * days;
        self.days = self.days.checked_add(scaled as i32)?;
        self.add_fraction(scaled - scaled.trunc(), MICROS_PER_DAY)
    }

    fn add_micros(&mut self, whole: i64, fraction: f64, unit: i64) -> Option<()> {
        self.micros = self.micros.checked_add(whole.checked_mul(unit)?)?;
        self.add_fraction(fraction, unit)
    }

    /// Halves are rounded towards zero.
    fn add_fraction(&mut self, fraction: f64, unit: i64) -> Option<()> {
        let scaled = fraction * unit as f64;
        let mut micros = scaled as i64;
        let rest = scaled - micros as f64;
        if rest > 0.5 {
            micros += 1;
        } else if rest < -0.5 {
            micros -= 1;
        }
        self.micros = self.micros.checked_add(micros)?;
        Some(())
    }

    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Result<(), Bad> {
        let added = match unit {
            Unit::Microsecond => self.add_micros(whole, fraction, 1),
            Unit::Millisecond => self.add_micros(whole, fraction, 1000),
            Unit::Second => self.add_micros(whole, fraction, MICROS_PER_SECOND),
            Unit::Minute => self.add_micros(whole, fraction, MICROS_PER_MINUTE),
            Unit::Hour => self.add_micros(whole, fraction, MICROS_PER_HOUR),
            Unit::Day => self.add_days(whole, fraction),
            Unit::Week => self.add_weeks(whole, fraction),
            Unit::Month => self.add_months(whole, fraction),
            Unit::Year => self.add_years(whole, fraction, 1),
            Unit::Decade => self.add_years(whole, fraction, 10),
            Unit::Century => self.add_years(whole, fraction, 100),
            Unit::Millennium => self.add_years(whole, fraction, 1000),
            _ => return Err(Bad::Format),
        };
        added.ok_or(Bad::Field)
    }

    fn negated(&self) -> Option<Sum> {
        Some(Sum {
            years: self.years.checked_neg()?,
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }
}

/// The set of units that were read; a fraction of a second reads the smaller ones too, a clock time all of the day's.
#[derive(Debug, Default)]
struct Seen(u32);

impl Seen {
    const SECONDS: u32 = Seen::of(Unit::Second) | Seen::of(Unit::Millisecond) | Seen::of(Unit::Microsecond);
    const CLOCK: u32 = Seen::SECONDS | Seen::of(Unit::Minute) | Seen::of(Unit::Hour);

    const fn of(unit: Unit) -> u32 {
        1 << unit as u32
    }

    fn add(&mut self, units: u32) -> Result<(), Bad> {
        if self.0 & units != 0 {
            return Err(Bad::Format);
        }
        self.0 |= units;
        Ok(())
    }
}

/// Unit of a last number without one, by the fields of the type.
fn default_unit(fields: i32) -> Unit {
    match fields {
        _ if fields == range::FULL => Unit::Second,
        _ if fields & range::SECOND != 0 => Unit::Second,
        _ if fields & range::MINUTE != 0 => Unit::Minute,
        _ if fields & range::HOUR != 0 => Unit::Hour,
        _ if fields & range::DAY != 0 => Unit::Day,
        _ if fields & range::MONTH != 0 => Unit::Month,
        _ if fields & range::YEAR != 0 => Unit::Year,
        _ => Unit::Second,
    }
}

/// What a number's unit is, read from the end of the text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pending {
    /// Nothing was read yet: the type decides.
    Default,
    Unit(Unit),
    /// Behind `ago` a unit has to come.
    Missing,
}

fn fields(text: &str, range_of_type: i32, style: IntervalStyle) -> Result<Sum, Bad> {
    let fields = lexer::fields(text, INTERVAL_TEXT_MAX)?;
    let signed = |field: &Field| field.text.starts_with(['-', '+']);
    // SQL's `-1 1:00:00` is negative as a whole, unless another sign stands in it.
    let all_negative = style == IntervalStyle::SqlStandard
        && fields.first().is_some_and(|f| f.text.starts_with('-'))
        && !fields.iter().skip(1).any(signed);
    let mut sum = Sum::default();
    let mut seen = Seen::default();
    let mut pending = Pending::Default;
    let mut ago = false;
    for field in fields.iter().rev() {
        match field.kind {
            Kind::Time => {
                sum.micros = clock_micros(&field.text, range_of_type, all_negative)?;
                seen.add(Seen::CLOCK)?;
                pending = Pending::Unit(Unit::Day);
            }
            Kind::Signed if field.text.contains(':') => {
                let body = field.text.get(1..).unwrap_or("");
                match clock_micros(body, range_of_type, false) {
                    Ok(micros) => {
                        let negative = field.text.starts_with('-') || all_negative;
                        sum.micros = if negative { -micros } else { micros };
                        seen.add(Seen::CLOCK)?;
                        pending = Pending::Unit(Unit::Day);
                    }
                    // What is no clock time has to be a number, and is none.
                    Err(_) => return Err(number(&field.text).err().unwrap_or(Bad::Format)),
                }
            }
            Kind::Date | Kind::Number | Kind::Signed => {
                let unit = match pending {
                    Pending::Default => Some(default_unit(range_of_type)),
                    Pending::Unit(unit) => Some(unit),
                    Pending::Missing => None,
                };
                let number = number(&field.text)?;
                let unit = if number.months { Some(Unit::Month) } else { unit };
                let (mut whole, mut fraction) = (number.whole, number.fraction);
                if all_negative {
                    (whole, fraction) = (if whole > 0 { -whole } else { whole }, -fraction.abs());
                }
                let unit = unit.ok_or(Bad::Format)?;
                sum.add(whole, fraction, unit)?;
                let all_seconds = unit == Unit::Second && fraction != 0.0;
                seen.add(if all_seconds { Seen::SECONDS } else { Seen::of(unit) })?;
                // A number before hours counts days.
                pending = Pending::Unit(if unit == Unit::Hour { Unit::Day } else { unit });
            }
            Kind::String | Kind::Special => match field.text.as_str() {
                "ago" => {
                    ago = true;
                    pending = Pending::Missing;
                }
                word => pending = Pending::Unit(words::unit(word).ok_or(Bad::Format)?),
            },
        }
    }
    if seen.0 == 0 {
        return Err(Bad::Format);
    }
    if ago { sum.negated().ok_or(Bad::Field) } else { Ok(sum) }
}

/// A clock time in microseconds; of two numbers the type may say that they are minutes and seconds.
fn clock_micros(text: &str, range_of_type: i32, negative: bool) -> Result<i64, Bad> {
    let mut time = clock(text)?;
    if !time.seconds && range_of_type == range::MINUTE | range::SECOND {
        (time.hour, time.minute, time.second) = (0, time.hour, time.minute);
        if time.minute > 59 {
            return Err(Bad::Field);
        }
    }
    let micros = time
        .hour
        .checked_mul(MICROS_PER_HOUR)
        .and_then(|m| m.checked_add(time.minute * MICROS_PER_MINUTE + time.second * MICROS_PER_SECOND + time.micros))
        .ok_or(Bad::Field)?;
    Ok(if negative { -micros } else { micros })
}

struct Number {
    whole: i64,
    fraction: f64,
    /// `years-months`.
    months: bool,
}

/// A signed number with a fraction, or years and months.
fn number(text: &str) -> Result<Number, Bad> {
    let negative = text.starts_with('-');
    let (whole, rest) = leading::<i64>(text);
    let whole = whole.ok_or(Bad::Field)?;
    if let Some(months) = rest.strip_prefix('-') {
        let (months, rest) = leading::<i32>(months);
        let months = months.filter(|m| (0..12).contains(m)).ok_or(Bad::Field)?;
        if !rest.is_empty() {
            return Err(Bad::Format);
        }
        let months = i64::from(if negative { -months } else { months });
        let whole = whole.checked_mul(12).and_then(|w| w.checked_add(months)).ok_or(Bad::Field)?;
        return Ok(Number { whole, fraction: 0.0, months: true });
    }
    let fraction = match rest {
        "" => 0.0,
        rest if rest.starts_with('.') => fraction(rest)?,
        _ => return Err(Bad::Format),
    };
    Ok(Number { whole, fraction: if negative { -fraction } else { fraction }, months: false })
}

/// Reads the text of an ISO 8601 interval bit by bit.
struct Iso<'a> {
    rest: &'a str,
    sum: Sum,
}

/// `P1Y2M3DT4H5M6S`, `P1W`, `P0001-02-03T04:05:06`, `P00010203T040506`.
fn iso8601(text: &str) -> Result<Sum, Bad> {
    let mut iso =
        Iso { rest: text.strip_prefix('P').filter(|t| !t.is_empty()).ok_or(Bad::Format)?, sum: Sum::default() };
    let (mut date, mut any) = (true, false);
    while !iso.rest.is_empty() {
        if iso.take('T') {
            (date, any) = (false, false);
            continue;
        }
        let done = if date { iso.date_part(any)? } else { iso.time_part(any)? };
        any = true;
        if done {
            break;
        }
    }
    Ok(iso.sum)
}

impl Iso<'_> {
    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The character behind a number.
    fn unit(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let unit = chars.next();
        self.rest = chars.as_str();
        unit
    }

    /// A number as C's strtod takes it: whole part and fraction.
    fn number(&mut self) -> Result<(i64, f64), Bad> {
        let bytes = self.rest.as_bytes();
        if !bytes.first().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')) {
            return Err(Bad::Format);
        }
        let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        let mut end = sign + whole;
        if bytes.get(end) == Some(&b'.') {
            let behind = digits(end + 1);
            if whole + behind == 0 {
                return Err(Bad::Format);
            }
            end += 1 + behind;
        } else if whole == 0 {
            return Err(Bad::Format);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + signed);
            end += if exponent > 0 { 1 + signed + exponent } else { 0 };
        }
        let (number, rest) = self.rest.split_at(end);
        let value: f64 = number.parse().map_err(|_| Bad::Format)?;
        if value.is_infinite() {
            return Err(Bad::Format);
        }
        if !(-1e15..=1e15).contains(&value) {
            return Err(Bad::Field);
        }
        self.rest = rest;
        Ok((value as i64, value - value.trunc()))
    }

    fn add(&mut self, (whole, fraction): (i64, f64), unit: Unit) -> Result<(), Bad> {
        self.sum.add(whole, fraction, unit)
    }

    /// One field before the T; `true` when the text is at its end.
    fn date_part(&mut self, any: bool) -> Result<bool, Bad> {
        let start = self.rest;
        let number = self.number()?;
        let unit = match self.unit() {
            Some('Y') => Unit::Year,
            Some('M') => Unit::Month,
            Some('W') => Unit::Week,
            Some('D') => Unit::Day,
            stop @ (None | Some('T')) if integer_width(start) == 8 && !any => {
                let (whole, fraction) = number;
                self.add((whole / 10_000, 0.0), Unit::Year)?;
                self.add((whole / 100 % 100, 0.0), Unit::Month)?;
                self.add((whole % 100, fraction), Unit::Day)?;
                return self.stopped(stop);
            }
            stop @ (None | Some('T' | '-')) => return self.extended_date(number, stop, any),
            _ => return Err(Bad::Format),
        };
        self.add(number, unit)?;
        Ok(false)
    }

    /// Puts the T back for the loop to find.
    fn stopped(&mut self, stop: Option<char>) -> Result<bool, Bad> {
        if stop.is_none() {
            return Ok(true);
        }
        self.time_follows()
    }

    /// The part behind the T, whole.
    fn time_follows(&mut self) -> Result<bool, Bad> {
        let mut any = false;
        while !self.rest.is_empty() {
            if self.take('T') {
                any = false;
                continue;
            }
            if self.time_part(any)? {
                break;
            }
            any = true;
        }
        Ok(true)
    }

    /// `yyyy[-mm[-dd]]` from behind its first number.
    fn extended_date(&mut self, years: (i64, f64), stop: Option<char>, any: bool) -> Result<bool, Bad> {
        if any {
            return Err(Bad::Format);
        }
        self.add(years, Unit::Year)?;
        if stop != Some('-') {
            return self.stopped(stop);
        }
        let months = self.number()?;
        self.add(months, Unit::Month)?;
        match self.unit() {
            Some('-') => {}
            stop @ (None | Some('T')) => return self.stopped(stop),
            _ => return Err(Bad::Format),
        }
        let days = self.number()?;
        self.add(days, Unit::Day)?;
        match self.unit() {
            stop @ (None | Some('T')) => self.stopped(stop),
            _ => Err(Bad::Format),
        }
    }

    /// One field behind the T.
    fn time_part(&mut self, any: bool) -> Result<bool, Bad> {
        let start = self.rest;
        let number = self.number()?;
        let unit = match self.unit() {
            Some('H') => Unit::Hour,
            Some('M') => Unit::Minute,
            Some('S') => Unit::Second,
            None if integer_width(start) == 6 && !any => {
                let (whole, fraction) = number;
                self.add((whole / 10_000, 0.0), Unit::Hour)?;
                self.add((whole / 100 % 100, 0.0), Unit::Minute)?;
                self.add((whole % 100, 0.0), Unit::Second)?;
                self.add((0, fraction), Unit::Microsecond)?;
                return Ok(true);
            }
            stop @ (None | Some(':')) => return self.extended_time(number, stop, any),
            _ => return Err(Bad::Format),
        };
        self.add(number, unit)?;
        Ok(false)
    }

    /// `hh[:mm[:ss]]` from behind its first number.
    fn extended_time(&mut self, hours: (i64, f64), stop: Option<char>, any: bool) -> Result<bool, Bad> {
        if any {
            return Err(Bad::Format);
        }
        self.add(hours, Unit::Hour)?;
        if stop.is_none() {
            return Ok(true);
        }
        let minutes = self.number()?;
        self.add(minutes, Unit::Minute)?;
        match self.unit() {
            None => return Ok(true),
            Some(':') => {}
            Some(_) => return Err(Bad::Format),
        }
        let seconds = self.number()?;
        self.add(seconds, Unit::Second)?;
        if self.rest.is_empty() { Ok(true) } else { Err(Bad::Format) }
    }
}

/// Digits that a number begins with.
fn integer_width(text: &str) -> usize {
    let body = text.strip_prefix('-').unwrap_or(text);
    body.bytes().take_while(u8::is_ascii_digit).count()
}
