//! Writing dates, times and intervals by a template.

use std::fmt::Write;

use super::{DAYS, Field, MONTHS, Node, Pattern, ROMAN_MONTHS, iso_week_start, julian, ordinal};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{civil_from_days, day_of_week, day_of_year};
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};

/// A moment or an interval in its fields.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// 0 is Sunday.
    pub day_of_week: i64,
    pub day_of_year: i64,
    /// Abbreviation; empty for local times.
    pub zone: String,
    /// Seconds east of Greenwich.
    pub offset: i64,
    pub interval: bool,
}

impl Broken {
    pub fn local(micros: i64) -> Broken {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let time = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let seconds = time / MICROS_PER_SECOND;
        Broken {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: time % MICROS_PER_SECOND,
            day_of_week: day_of_week(days),
            day_of_year: day_of_year(days),
            ..Broken::default()
        }
    }

    /// A year as it is shown: 1 BC is 1, not 0.
    fn shown_year(&self, year: i64) -> i64 {
        if self.interval || year > 0 { year } else { 1 - year }
    }

    fn julian(&self) -> i64 {
        julian(self.year, self.month, self.day)
    }

    fn iso_year(&self) -> i64 {
        let day = self.julian();
        if day < iso_week_start(self.year, 1) {
            self.year - 1
        } else if (day - iso_week_start(self.year, 1)) / 7 >= 51 && day >= iso_week_start(self.year + 1, 1) {
            self.year + 1
        } else {
            self.year
        }
    }

    fn iso_week(&self) -> i64 {
        (self.julian() - iso_week_start(self.iso_year(), 1)) / 7 + 1
    }

    fn iso_day_of_year(&self) -> i64 {
        self.julian() - iso_week_start(self.iso_year(), 1) + 1
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.interval => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }
}

/// The text that a template gives.
pub(super) fn time(value: &Broken, nodes: &[Node]) -> Result<String> {
    let mut out = String::new();
    for node in nodes {
        match node {
            Node::Field(pattern) => field(value, pattern, &mut out)?,
            other => out.extend(other.character()),
        }
    }
    Ok(out)
}

/// A number with leading zeros to `width` digits (a minus sign is beside them), and its ordinal suffix.
fn number(value: i64, width: usize, pattern: &Pattern, out: &mut String) -> Result<()> {
    let width = if pattern.fill { 0 } else { width };
    let mut digits = String::new();
    if value < 0 {
        digits.push('-');
    }
    let _ = write!(digits, "{:0width$}", value.unsigned_abs());
    out.push_str(&digits);
    if let Some(case) = pattern.ordinal {
        out.push_str(ordinal(&digits, case)?);
    }
    Ok(())
}

/// A name in the template's letter case, padded to nine characters where it is a full one.
fn name(name: &str, pattern: &Pattern, out: &mut String) {
    let short = matches!(pattern.field, Field::DayShort | Field::MonthShort);
    let width = if pattern.fill || pattern.translated || short { 0 } else { 9 };
    let capitals = pattern.name.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase);
    let shown = match (pattern.lower, capitals) {
        (true, _) => name.to_ascii_lowercase(),
        (_, true) => name.to_ascii_uppercase(),
        _ => name.to_string(),
    };
    let _ = write!(out, "{shown:<width$}");
}

fn not_of_an_interval() -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, "invalid format specification for an interval value")
        .hint("Intervals are not tied to specific calendar dates.")
}

fn pick(pattern: &Pattern, upper: &str, out: &mut String) {
    if pattern.lower { out.push_str(&upper.to_ascii_lowercase()) } else { out.push_str(upper) }
}

fn field(v: &Broken, pattern: &Pattern, out: &mut String) -> Result<()> {
    use Field as F;
    let calendar = matches!(
        pattern.field,
        F::Zone
            | F::ZoneHour
            | F::ZoneMinute
            | F::Offset
            | F::Era
            | F::EraDotted
            | F::Month
            | F::MonthShort
            | F::Day
            | F::DayShort
            | F::DayOfWeek
            | F::IsoDayOfWeek
    );
    if calendar && v.interval {
        return Err(not_of_an_interval());
    }
    let sign = if v.offset >= 0 { '+' } else { '-' };
    let offset = v.offset.abs();
    match pattern.field {
        F::MeridiemDotted => pick(pattern, if v.hour % 24 >= 12 { "P.M." } else { "A.M." }, out),
        F::Meridiem => pick(pattern, if v.hour % 24 >= 12 { "PM" } else { "AM" }, out),
        F::EraDotted => pick(pattern, if v.year <= 0 { "B.C." } else { "A.D." }, out),
        F::Era => pick(pattern, if v.year <= 0 { "BC" } else { "AD" }, out),
        F::Hour12 => return number(if v.hour % 12 == 0 { 12 } else { v.hour % 12 }, 2, pattern, out),
        F::Hour24 => return number(v.hour, 2, pattern, out),
        F::Minute => return number(v.minute, 2, pattern, out),
        F::Second => return number(v.second, 2, pattern, out),
        F::Fraction(n) => return fraction(v.micros, n, pattern, out),
        F::Millisecond => return fraction(v.micros, 3, pattern, out),
        F::Microsecond => return fraction(v.micros, 6, pattern, out),
        F::SecondOfDay => return number(v.hour * 3600 + v.minute * 60 + v.second, 0, pattern, out),
        F::Zone => pick(pattern, &v.zone, out),
        F::ZoneHour => out.extend([sign.to_string(), format!("{:02}", offset / 3600)]),
        F::ZoneMinute => out.push_str(&format!("{:02}", offset % 3600 / 60)),
        F::Offset => {
            let width = if pattern.fill { 0 } else { 2 };
            let _ = write!(out, "{sign}{:0width$}", offset / 3600);
            if offset % 3600 != 0 {
                let _ = write!(out, ":{:02}", offset % 3600 / 60);
            }
        }
        F::Month => name(MONTHS.get((v.month - 1) as usize).unwrap_or(&""), pattern, out),
        F::MonthShort => name(MONTHS.get((v.month - 1) as usize).map_or("", |m| &m[..3]), pattern, out),
        F::Day => name(DAYS.get(v.day_of_week as usize).unwrap_or(&""), pattern, out),
        F::DayShort => name(DAYS.get(v.day_of_week as usize).map_or("", |d| &d[..3]), pattern, out),
        F::MonthNumber => return number(v.month, 2, pattern, out),
        F::DayOfYear => return padded(v.day_of_year, 3, pattern, out),
        F::IsoDayOfYear => return padded(v.iso_day_of_year(), 3, pattern, out),
        F::DayOfMonth => return padded(v.day, 2, pattern, out),
        F::DayOfWeek => return number(v.day_of_week + 1, 0, pattern, out),
        F::IsoDayOfWeek => return number(if v.day_of_week == 0 { 7 } else { v.day_of_week }, 0, pattern, out),
        F::Week => return padded((v.day_of_year - 1) / 7 + 1, 2, pattern, out),
        F::IsoWeek => return padded(v.iso_week(), 2, pattern, out),
        F::Quarter if v.month == 0 => {}
        F::Quarter => return number((v.month - 1) / 3 + 1, 0, pattern, out),
        F::Century => {
            let century = v.century();
            return number(century, if century.abs() <= 99 { 2 } else { 0 }, pattern, out);
        }
        F::YearComma => {
            let year = v.shown_year(v.year);
            let mut digits = format!("{},{:03}", year / 1000, year % 1000);
            if let Some(case) = pattern.ordinal {
                digits.push_str(ordinal(&digits, case)?);
            }
            out.push_str(&digits);
        }
        F::Year(n) => return year(v.shown_year(v.year), n, pattern, out),
        F::IsoYear(n) => return year(v.shown_year(v.iso_year()), n, pattern, out),
        F::RomanMonth => roman_month(v, pattern, out),
        F::WeekOfMonth => return number((v.day - 1) / 7 + 1, 0, pattern, out),
        F::Julian => return number(v.julian(), 0, pattern, out),
        F::Fixed => {}
    }
    Ok(())
}

/// As C's `%0*d`: the width counts the minus sign.
fn padded(value: i64, width: usize, pattern: &Pattern, out: &mut String) -> Result<()> {
    number(value, if value < 0 { width - 1 } else { width }, pattern, out)
}

fn fraction(micros: i64, digits: u8, pattern: &Pattern, out: &mut String) -> Result<()> {
    let value = micros / 10i64.pow(6 - u32::from(digits.min(6)));
    // The fraction keeps its zeros under FM.
    let unfilled = Pattern { fill: false, ..*pattern };
    padded(value, usize::from(digits), &unfilled, out)
}

fn year(value: i64, digits: u8, pattern: &Pattern, out: &mut String) -> Result<()> {
    let shown = if digits >= 4 { value } else { value % 10i64.pow(u32::from(digits)) };
    // The width counts the sign of the whole year.
    let width = usize::from(digits) + usize::from(value < 0 && digits > 1);
    padded(shown, width, pattern, out)
}

fn roman_month(v: &Broken, pattern: &Pattern, out: &mut String) {
    let at = match v.month {
        0 if v.year == 0 => return,
        0 if v.year > 0 => 0,
        0 => 11,
        month if month < 0 => -(month + 1),
        month => 12 - month,
    };
    let width = if pattern.fill { 0 } else { 4 };
    let numeral = ROMAN_MONTHS.get(at as usize).unwrap_or(&"");
    let shown = if pattern.lower { numeral.to_ascii_lowercase() } else { (*numeral).to_string() };
    let _ = write!(out, "{shown:<width$}");
}
