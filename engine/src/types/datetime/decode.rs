//! What the fields of a date or a time mean (datetime.c, `DecodeDateTime` and `DecodeTimeOnly`). The order of day, month
//! and year in ambiguous dates follows DateStyle.

use super::lexer::{Field, Kind, TEXT_MAX, fields, fraction, fraction_micros, leading};
use super::words::{self, Abbreviation, Reserved, Unit, Word};
use super::{Bad, now};
use crate::types::calendar::{Zone, civil_from_days, days_from_civil, days_in_month, utc_to_local, zone_by_rule};
use crate::types::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::types::text::{DateOrder, FormatSettings};

/// Days between the Julian epoch and 1970-01-01.
const JULIAN_1970: i64 = 2_440_588;
/// Years beyond which no date is in range, whatever its month.
const YEAR_MAX: i64 = 5_900_000;
const ZONE_HOUR_MAX: i64 = 15;

/// Sets of what has been read.
mod mask {
    pub const SPECIAL: u32 = 1;
    pub const MONTH: u32 = 1 << 1;
    pub const YEAR: u32 = 1 << 2;
    pub const DAY: u32 = 1 << 3;
    pub const ZONE: u32 = 1 << 5;
    pub const MERIDIEM: u32 = 1 << 9;
    pub const HOUR: u32 = 1 << 10;
    pub const MINUTE: u32 = 1 << 11;
    pub const SECOND: u32 = 1 << 12;
    pub const SECONDS: u32 = SECOND | 1 << 13 | 1 << 14;
    pub const DAY_OF_YEAR: u32 = 1 << 15;
    pub const WEEKDAY: u32 = 1 << 16;
    pub const ERA: u32 = 1 << 18;
    pub const DAYLIGHT: u32 = 1 << 28;
    pub const DATE: u32 = YEAR | MONTH | DAY;
    pub const TIME: u32 = HOUR | MINUTE | SECONDS;
}

/// A text that was read.
#[derive(Debug)]
pub(super) enum Decoded {
    Infinity,
    NegInfinity,
    Epoch,
    /// Days since 1970, microseconds of the day (they may exceed it), and the zone.
    Moment {
        days: i64,
        micros: i64,
        zone: Option<Zone>,
    },
}

/// Reads a date, with or without a time.
pub(super) fn date_time(text: &str, length_max: usize, format: &FormatSettings) -> Result<Decoded, Bad> {
    let fields = fields(text, length_max)?;
    let mut decoder = Decoder::new(format, false);
    for (at, field) in fields.iter().enumerate() {
        decoder.field(at, field, &fields)?;
    }
    decoder.validate()?;
    match decoder.special {
        Some(Reserved::Infinity) => return Ok(Decoded::Infinity),
        Some(Reserved::NegInfinity) => return Ok(Decoded::NegInfinity),
        Some(Reserved::Epoch) => return Ok(Decoded::Epoch),
        _ => {}
    }
    if !decoder.has(mask::DATE) {
        return Err(Bad::Format);
    }
    decoder.check_zone()?;
    let days = days_from_civil(decoder.year, decoder.month, decoder.day);
    Ok(Decoded::Moment {
        days,
        micros: decoder.micros_of_day(),
        zone: decoder.zone.map(|z| z.shifted(decoder.daylight)),
    })
}

/// Reads a time of day in microseconds; a date and a zone may stand beside it and mean nothing.
pub(super) fn time_only(text: &str, format: &FormatSettings) -> Result<i64, Bad> {
    time_and_zone(text, format).map(|(micros, _, _)| micros)
}

/// Reads a time of day, the zone beside it, and the day if a date stands there too.
pub(super) fn time_and_zone(text: &str, format: &FormatSettings) -> Result<(i64, Option<Zone>, Option<i64>), Bad> {
    let mut fields = fields(text, TEXT_MAX)?;
    let mut decoder = Decoder::new(format, true);
    for at in 0..fields.len() {
        let Some(field) = fields.get(at).cloned() else { break };
        let kind = decoder.field(at, &field, &fields)?;
        if let (Some(kind), Some(field)) = (kind, fields.get_mut(at)) {
            field.kind = kind;
        }
    }
    decoder.validate()?;
    if decoder.time_overflows() {
        return Err(Bad::Field);
    }
    if !decoder.has(mask::TIME) {
        return Err(Bad::Format);
    }
    if let Some(Zone::Named(zone)) = decoder.zone
        && !decoder.has(mask::DATE)
        && !decoder.abbreviated
        && !fixed(zone)
    {
        return Err(Bad::Format);
    }
    decoder.check_zone()?;
    let days = decoder.has(mask::DATE).then(|| days_from_civil(decoder.year, decoder.month, decoder.day));
    Ok((decoder.micros_of_day(), decoder.zone.map(|z| z.shifted(decoder.daylight)), days))
}

/// Whether a zone's offset is the same in summer and winter of the years that matter.
fn fixed(zone: chrono_tz::Tz) -> bool {
    let offset = |year| crate::types::calendar::offset_at(zone, days_from_civil(year, 1, 1) * MICROS_PER_DAY);
    let summer = |year| crate::types::calendar::offset_at(zone, days_from_civil(year, 7, 1) * MICROS_PER_DAY);
    let first = offset(1800);
    (1800..2050).all(|year| offset(year) == first && summer(year) == first)
}

struct Decoder<'a> {
    format: &'a FormatSettings,
    /// A time without a date is wanted.
    time_only: bool,
    seen: u32,
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<Zone>,
    /// The zone is an abbreviation whose offset depends on the date.
    abbreviated: bool,
    /// Seconds that `dst` adds to the zone's offset.
    daylight: i64,
    special: Option<Reserved>,
    /// Label of the number that follows; `IsoTime` for the T before a time.
    label: Option<Label>,
    meridiem: Option<bool>,
    text_month: bool,
    julian: bool,
    two_digits: bool,
    bc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Label {
    Unit(Unit),
    Time,
}

impl<'a> Decoder<'a> {
    fn new(format: &'a FormatSettings, time_only: bool) -> Decoder<'a> {
        Decoder {
            format,
            time_only,
            seen: 0,
            year: 0,
            month: 0,
            day: 0,
            day_of_year: 0,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            zone: None,
            abbreviated: false,
            daylight: 0,
            special: None,
            label: None,
            meridiem: None,
            text_month: false,
            julian: false,
            two_digits: false,
            bc: false,
        }
    }

    fn has(&self, set: u32) -> bool {
        self.seen & set == set
    }

    /// What counts as read where a number is to be judged: a time alone takes no number for a part of a date.
    fn context(&self) -> u32 {
        if self.time_only { self.seen | mask::DATE } else { self.seen }
    }

    /// Takes a field in; answers what it turned out to be, where that matters to the fields behind it.
    fn field(&mut self, at: usize, field: &Field, all: &[Field]) -> Result<Option<Kind>, Bad> {
        let mut turned = None;
        let read = match field.kind {
            Kind::Date if self.time_only => {
                let last = all.last().map(|f| f.kind);
                let second = all.get(1).map(|f| f.kind);
                if at == 0 && all.len() >= 2 && (last == Some(Kind::Date) || second == Some(Kind::Time)) {
                    self.date(&field.text, self.seen)?
                } else if field.text.starts_with(|c: char| c.is_ascii_digit()) {
                    let (read, kind) = self.time_and_zone(&field.text)?;
                    turned = Some(kind);
                    read
                } else {
                    turned = Some(Kind::Signed);
                    self.named_zone(&field.text)?
                }
            }
            Kind::Date => self.date_field(&field.text)?,
            Kind::Time => {
                if !self.time_only && self.label.take().is_some_and(|label| label != Label::Time) {
                    return Err(Bad::Format);
                }
                let read = self.time(&field.text)?;
                if !self.time_only && self.time_overflows() {
                    return Err(Bad::Field);
                }
                read
            }
            Kind::Signed => {
                self.zone = Some(Zone::Fixed(offset(&field.text)?));
                mask::ZONE
            }
            Kind::Number => match self.label {
                Some(label) => {
                    let (read, kind) = self.labelled(label, &field.text)?;
                    turned = kind;
                    self.label = None;
                    read
                }
                None if self.time_only => {
                    let (read, kind) = self.number_of_time(at, &field.text, all)?;
                    turned = kind;
                    read
                }
                None => self.number_of_date(&field.text)?,
            },
            Kind::String | Kind::Special => match self.word(at, &field.text, all)? {
                Some(read) => read,
                None => return Ok(None),
            },
        };
        if read & self.seen != 0 {
            return Err(Bad::Format);
        }
        self.seen |= read;
        Ok(turned)
    }

    /// A field with delimiters where a date may stand.
    fn date_field(&mut self, text: &str) -> Result<u32, Bad> {
        if self.label == Some(Label::Unit(Unit::Julian)) {
            let (number, rest) = leading::<i32>(text);
            self.set_julian(number.filter(|n| *n >= 0).ok_or(Bad::Field)?.into());
            self.zone = Some(Zone::Fixed(offset(rest)?));
            self.label = None;
            return Ok(mask::DATE | mask::TIME | mask::ZONE);
        }
        if self.label.is_none() && !self.has(mask::MONTH | mask::DAY) {
            return self.date(text, self.seen);
        }
        if self.label.is_none() && !text.starts_with(|c: char| c.is_ascii_digit()) {
            return self.named_zone(text);
        }
        if self.label.take().is_some_and(|label| label != Label::Time) || self.has(mask::TIME) {
            return Err(Bad::Format);
        }
        Ok(self.time_and_zone(text)?.0)
    }

    /// `hhmmss-zz`.
    fn time_and_zone(&mut self, text: &str) -> Result<(u32, Kind), Bad> {
        if self.time_only && self.has(mask::TIME) {
            return Err(Bad::Format);
        }
        let (time, _) = text.split_once('-').ok_or(Bad::Format)?;
        self.zone = Some(Zone::Fixed(offset(text.get(time.len()..).unwrap_or(""))?));
        let (read, kind) = self.run_together(time, self.context())?;
        Ok((read | mask::ZONE, kind))
    }

    fn named_zone(&mut self, name: &str) -> Result<u32, Bad> {
        self.zone = Some(zone_by_rule(name).ok_or_else(|| Bad::Zone(name.to_string()))?);
        Ok(mask::ZONE)
    }

    fn set_julian(&mut self, julian: i64) {
        (self.year, self.month, self.day) = civil_from_days(julian - JULIAN_1970);
        self.julian = true;
    }

    /// A number behind a label.
    fn labelled(&mut self, label: Label, text: &str) -> Result<(u32, Option<Kind>), Bad> {
        let (number, rest) = leading::<i32>(text);
        let number = i64::from(number.ok_or(Bad::Field)?);
        let fractional = matches!(label, Label::Time | Label::Unit(Unit::Julian) | Label::Unit(Unit::Second))
            && rest.starts_with('.');
        if !rest.is_empty() && !fractional {
            return Err(Bad::Format);
        }
        let unit = match label {
            Label::Time => {
                let (read, kind) = self.run_together(text, self.seen | mask::DATE)?;
                return if read == mask::TIME { Ok((read, Some(kind))) } else { Err(Bad::Format) };
            }
            Label::Unit(unit) => unit,
        };
        let read = match unit {
            Unit::Year => {
                self.year = number;
                mask::YEAR
            }
            // Behind a month and an hour it is the minute.
            Unit::Month if self.has(mask::MONTH | mask::HOUR) => {
                self.minute = number;
                mask::MINUTE
            }
            Unit::Month => {
                self.month = number;
                mask::MONTH
            }
            Unit::Day => {
                self.day = number;
                mask::DAY
            }
            Unit::Hour => {
                self.hour = number;
                mask::HOUR
            }
            Unit::Minute => {
                self.minute = number;
                mask::MINUTE
            }
            Unit::Second => {
                self.second = number;
                if rest.is_empty() {
                    mask::SECOND
                } else {
                    self.micros = fraction_micros(rest)?;
                    mask::SECONDS
                }
            }
            Unit::Julian => {
                if number < 0 {
                    return Err(Bad::Field);
                }
                self.set_julian(number);
                if rest.is_empty() {
                    mask::DATE
                } else {
                    self.set_time((fraction(rest)? * MICROS_PER_DAY as f64) as i64);
                    mask::DATE | mask::TIME
                }
            }
            _ => return Err(Bad::Format),
        };
        Ok((read, None))
    }

    fn set_time(&mut self, micros: i64) {
        self.hour = micros / (3600 * MICROS_PER_SECOND);
        self.minute = micros / (60 * MICROS_PER_SECOND) % 60;
        self.second = micros / MICROS_PER_SECOND % 60;
        self.micros = micros % MICROS_PER_SECOND;
    }

    fn number_of_date(&mut self, text: &str) -> Result<u32, Bad> {
        let point = text.find('.');
        if point.is_some() && self.seen & mask::DATE == 0 {
            return self.date(text, self.seen);
        }
        let incomplete = self.seen & mask::DATE == 0 || self.seen & mask::TIME == 0;
        let run_together = point.is_some_and(|at| at > 2) || (text.len() >= 6 && incomplete);
        if run_together {
            return Ok(self.run_together(text, self.seen)?.0);
        }
        self.number(text, self.text_month, self.seen)
    }

    fn number_of_time(&mut self, at: usize, text: &str, all: &[Field]) -> Result<(u32, Option<Kind>), Bad> {
        let context = self.context();
        if let Some(point) = text.find('.') {
            if at == 0 && all.len() >= 2 && all.last().map(|f| f.kind) == Some(Kind::Date) {
                return Ok((self.date(text, self.seen)?, None));
            }
            if point <= 2 {
                return Err(Bad::Format);
            }
        }
        if text.len() > 4 {
            return self.run_together(text, context).map(|(read, kind)| (read, Some(kind)));
        }
        Ok((self.number(text, false, context)?, None))
    }

    /// A word; `None` for one that says nothing.
    fn word(&mut self, at: usize, text: &str, all: &[Field]) -> Result<Option<u32>, Bad> {
        match words::abbreviation(text) {
            Some(Abbreviation::Fixed(seconds)) => {
                self.zone = Some(Zone::Fixed(seconds));
                return Ok(Some(mask::ZONE));
            }
            Some(Abbreviation::Of(zone)) => {
                self.zone = Some(Zone::Named(zone));
                self.abbreviated = true;
                return Ok(Some(mask::ZONE));
            }
            None => {}
        }
        Ok(Some(match words::word(text) {
            Some(Word::Ignored) => return Ok(None),
            Some(Word::Reserved(reserved)) => self.reserved(reserved)?,
            Some(Word::Month(_)) if self.time_only => return Err(Bad::Format),
            Some(Word::Month(month)) => {
                let mut read = mask::MONTH;
                // What was taken for the month may have been the day.
                if self.has(mask::MONTH) && !self.text_month && !self.has(mask::DAY) && (1..=31).contains(&self.month) {
                    self.day = self.month;
                    read = mask::DAY;
                }
                self.text_month = true;
                self.month = month;
                read
            }
            Some(Word::Weekday) if self.time_only => return Err(Bad::Format),
            Some(Word::Weekday) => mask::WEEKDAY,
            Some(Word::Meridiem(pm)) => {
                self.meridiem = Some(pm);
                mask::MERIDIEM
            }
            Some(Word::Era(bc)) => {
                self.bc = bc;
                mask::ERA
            }
            Some(Word::Daylight) => {
                self.daylight += 3600;
                mask::DAYLIGHT
            }
            Some(Word::Unit(unit)) => {
                self.label = Some(Label::Unit(unit));
                0
            }
            Some(Word::IsoTime) => {
                let next = all.get(at + 1).map(|f| f.kind);
                let timely = matches!(next, Some(Kind::Number | Kind::Time | Kind::Date));
                if !timely || !(self.time_only || self.has(mask::DATE)) {
                    return Err(Bad::Format);
                }
                self.label = Some(Label::Time);
                0
            }
            None => {
                self.zone = Some(zone_by_rule(text).ok_or(Bad::Format)?);
                mask::ZONE
            }
        }))
    }

    fn reserved(&mut self, reserved: Reserved) -> Result<u32, Bad> {
        let local = utc_to_local(self.format.time_zone, now(self.format));
        let today = local.div_euclid(MICROS_PER_DAY);
        let day = match reserved {
            Reserved::Zulu => {
                self.set_time(0);
                self.zone = Some(Zone::Fixed(0));
                return Ok(mask::TIME | mask::ZONE);
            }
            Reserved::Now if self.time_only => {
                self.set_time(local.rem_euclid(MICROS_PER_DAY));
                return Ok(mask::TIME);
            }
            _ if self.time_only => return Err(Bad::Format),
            Reserved::Now => {
                (self.year, self.month, self.day) = civil_from_days(today);
                self.set_time(local.rem_euclid(MICROS_PER_DAY));
                self.zone = Some(self.format.time_zone);
                return Ok(mask::DATE | mask::TIME | mask::ZONE);
            }
            Reserved::Epoch | Reserved::Infinity | Reserved::NegInfinity => {
                self.special = Some(reserved);
                return Ok(mask::SPECIAL);
            }
            Reserved::Today => today,
            Reserved::Tomorrow => today + 1,
            Reserved::Yesterday => today - 1,
        };
        (self.year, self.month, self.day) = civil_from_days(day);
        Ok(mask::DATE)
    }

    /// `h:mm[:ss[.f]]` (DecodeTime).
    fn time(&mut self, text: &str) -> Result<u32, Bad> {
        let time = clock(text)?;
        self.hour = i64::from(i32::try_from(time.hour).map_err(|_| Bad::Field)?);
        (self.minute, self.second, self.micros) = (time.minute, time.second, time.micros);
        Ok(mask::TIME)
    }

    /// A date with delimiters (DecodeDate).
    fn date(&mut self, text: &str, seen: u32) -> Result<u32, Bad> {
        let mut parts: Vec<Option<&str>> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let Some(first) = rest.chars().next() else { return Err(Bad::Format) };
            let alike = |c: char| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
            let end = rest.find(|c: char| !alike(c)).unwrap_or(rest.len());
            let (part, behind) = rest.split_at(end);
            parts.push(Some(part));
            // Whatever stands behind a part is a delimiter.
            rest = behind.get(1..).unwrap_or("");
        }
        let (mut seen, mut read) = (seen, 0);
        let mut text_month = false;
        for part in &mut parts {
            let Some(text) = part.filter(|p| p.starts_with(|c: char| c.is_ascii_alphabetic())) else { continue };
            match words::word(text) {
                Some(Word::Ignored) => continue,
                Some(Word::Month(month)) if seen & mask::MONTH == 0 => self.month = month,
                _ => return Err(Bad::Format),
            }
            text_month = true;
            seen |= mask::MONTH;
            read |= mask::MONTH;
            *part = None;
        }
        for part in parts.into_iter().flatten() {
            let found = self.number(part, text_month, seen)?;
            if seen & found != 0 {
                return Err(Bad::Format);
            }
            seen |= found;
            read |= found;
        }
        if seen & !(mask::DAY_OF_YEAR | mask::ZONE) == mask::DATE { Ok(read) } else { Err(Bad::Format) }
    }

    /// A number that stands alone, in the light of what was read before (DecodeNumber).
    fn number(&mut self, text: &str, text_month: bool, seen: u32) -> Result<u32, Bad> {
        let (number, rest) = leading::<i32>(text);
        let number = i64::from(number.ok_or(Bad::Field)?);
        if rest.len() == text.len() {
            return Err(Bad::Format);
        }
        if rest.starts_with('.') {
            if text.len() - rest.len() > 2 {
                return Ok(self.run_together(text, seen | mask::DATE)?.0);
            }
            self.micros = fraction_micros(rest)?;
        } else if !rest.is_empty() {
            return Err(Bad::Format);
        }
        let length = text.len();
        if length == 3 && seen & mask::DATE == mask::YEAR && (1..=366).contains(&number) {
            self.day_of_year = number;
            return Ok(mask::DAY_OF_YEAR | mask::MONTH | mask::DAY);
        }
        let order = self.format.date_order;
        let year_first = length >= 3 || order == DateOrder::Ymd;
        const YEAR_MONTH: u32 = mask::YEAR | mask::MONTH;
        const MONTH_DAY: u32 = mask::MONTH | mask::DAY;
        let read = match seen & mask::DATE {
            0 if year_first => mask::YEAR,
            0 if order == DateOrder::Dmy => mask::DAY,
            0 => mask::MONTH,
            mask::YEAR => mask::MONTH,
            mask::MONTH if text_month && year_first => mask::YEAR,
            mask::MONTH => mask::DAY,
            // The first number was taken for the year, and was the day.
            YEAR_MONTH if text_month && length >= 3 && self.two_digits => {
                self.day = self.year;
                self.year = number;
                self.two_digits = false;
                return Ok(mask::DAY);
            }
            YEAR_MONTH => mask::DAY,
            mask::DAY => mask::MONTH,
            MONTH_DAY => mask::YEAR,
            mask::DATE => return Ok(self.run_together(text, seen)?.0),
            _ => return Err(Bad::Format),
        };
        match read {
            mask::YEAR => {
                self.year = number;
                self.two_digits = length <= 2;
            }
            mask::MONTH => self.month = number,
            _ => self.day = number,
        }
        Ok(read)
    }

    /// `yymmdd`, `yyyymmdd`, `hhmmss`, `hhmm`, with a fraction of the second perhaps (DecodeNumberField).
    fn run_together(&mut self, text: &str, seen: u32) -> Result<(u32, Kind), Bad> {
        let piece = |from: usize, to: usize| -> i64 {
            let digits = text.get(from..to).unwrap_or("");
            // As C's atoi, which cuts a long to an int.
            i64::from(leading::<i64>(digits).0.unwrap_or(-1) as i32)
        };
        let mut length = text.len();
        if let Some(point) = text.find('.') {
            self.micros = fraction_micros(text.get(point..).unwrap_or(""))?;
            length = point;
        } else if seen & mask::DATE != mask::DATE && length >= 6 {
            self.day = piece(length - 2, length);
            self.month = piece(length - 4, length - 2);
            self.year = piece(0, length - 4);
            self.two_digits |= length == 6;
            return Ok((mask::DATE, Kind::Date));
        }
        if seen & mask::TIME == mask::TIME || !matches!(length, 4 | 6) {
            return Err(Bad::Format);
        }
        self.hour = piece(0, 2);
        self.minute = piece(2, 4);
        self.second = if length == 6 { piece(4, 6) } else { 0 };
        Ok((mask::TIME, Kind::Time))
    }

    /// The year as counted, the day of the year as a date, and the ranges of month, day and hour (ValidateDate).
    fn validate(&mut self) -> Result<(), Bad> {
        if self.has(mask::YEAR) && !self.julian {
            if self.bc || !self.two_digits {
                // No year is zero.
                if self.year <= 0 {
                    return Err(Bad::Field);
                }
                self.year = if self.bc { 1 - self.year } else { self.year };
            } else if self.year < 0 {
                return Err(Bad::Field);
            } else if self.year < 70 {
                self.year += 2000;
            } else if self.year < 100 {
                self.year += 1900;
            }
        }
        if self.has(mask::DAY_OF_YEAR) {
            let first = days_from_civil(self.year.clamp(-YEAR_MAX, YEAR_MAX), 1, 1);
            (self.year, self.month, self.day) = civil_from_days(first + self.day_of_year - 1);
        }
        if self.has(mask::MONTH) && !(1..=12).contains(&self.month) {
            return Err(Bad::MonthDay);
        }
        if self.has(mask::DAY) && !(1..=31).contains(&self.day) {
            return Err(Bad::MonthDay);
        }
        if self.has(mask::DATE) && self.day > days_in_month(self.year, self.month) {
            return Err(Bad::Field);
        }
        match self.meridiem {
            Some(_) if self.hour > 12 => return Err(Bad::Field),
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(true) if self.hour != 12 => self.hour += 12,
            _ => {}
        }
        Ok(())
    }

    /// `dst` goes with an offset alone.
    fn check_zone(&self) -> Result<(), Bad> {
        let fixed = matches!(self.zone, Some(Zone::Fixed(_)));
        if self.seen & mask::DAYLIGHT != 0 && !fixed { Err(Bad::Format) } else { Ok(()) }
    }

    fn micros_of_day(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }

    fn time_overflows(&self) -> bool {
        !(0..=24).contains(&self.hour)
            || !(0..60).contains(&self.minute)
            || !(0..=60).contains(&self.second)
            || !(0..=MICROS_PER_SECOND).contains(&self.micros)
            || self.micros_of_day() > MICROS_PER_DAY
    }
}

/// A time of day or the time part of an interval.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// Whether seconds were written.
    pub seconds: bool,
}

/// `h:mm`, `h:mm:ss[.f]` or `m:ss.f` (DecodeTimeCommon).
pub fn clock(text: &str) -> Result<Clock, Bad> {
    let (hour, rest) = leading::<i64>(text);
    let hour = hour.ok_or(Bad::Field)?;
    let rest = rest.strip_prefix(':').ok_or(Bad::Format)?;
    let (minute, rest) = leading::<i32>(rest);
    let minute = i64::from(minute.ok_or(Bad::Field)?);
    let time = if rest.is_empty() {
        Clock { hour, minute, second: 0, micros: 0, seconds: false }
    } else if rest.starts_with('.') {
        Clock { hour: 0, minute: hour, second: minute, micros: fraction_micros(rest)?, seconds: true }
    } else {
        let (second, rest) = leading::<i32>(rest.strip_prefix(':').ok_or(Bad::Format)?);
        let second = i64::from(second.ok_or(Bad::Field)?);
        let micros = if rest.is_empty() { 0 } else { fraction_micros(rest)? };
        Clock { hour, minute, second, micros, seconds: true }
    };
    let fits = time.hour >= 0
        && (0..60).contains(&time.minute)
        && (0..=60).contains(&time.second)
        && (0..=MICROS_PER_SECOND).contains(&time.micros);
    if fits { Ok(time) } else { Err(Bad::Field) }
}

/// `±H[H][:MM[:SS]]` or `±HHMM` in seconds east of Greenwich (DecodeTimezone).
fn offset(text: &str) -> Result<i64, Bad> {
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Bad::Format),
    };
    let number = |text| {
        let (number, rest) = leading::<i32>(text);
        number.map(|n| (i64::from(n), rest)).ok_or(Bad::ZoneOffset)
    };
    let (mut hours, mut rest) = number(text.get(1..).unwrap_or(""))?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(behind) = rest.strip_prefix(':') {
        (minutes, rest) = number(behind)?;
        if let Some(behind) = rest.strip_prefix(':') {
            (seconds, rest) = number(behind)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if !(0..=ZONE_HOUR_MAX).contains(&hours) || !(0..60).contains(&minutes) || !(0..60).contains(&seconds) {
        return Err(Bad::ZoneOffset);
    }
    if !rest.is_empty() {
        return Err(Bad::Format);
    }
    Ok(sign * (hours * 3600 + minutes * 60 + seconds))
}
