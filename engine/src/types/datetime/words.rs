//! Words of date, time and interval input and of `extract`'s fields: PostgreSQL's two tables of tokens (datetime.c,
//! `datetktbl` and `deltatktbl`) and its default abbreviations of time zones.
//!
//! Words are lower case. As there, a word is looked up by its first ten characters.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono_tz::Tz;

use crate::types::calendar::named_zone;

/// Significant characters of a word.
const LENGTH_MAX: usize = 10;

/// A unit of time, or a field of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    /// Seconds since 1970.
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

/// A word that stands for a whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    NegInfinity,
    Infinity,
    Epoch,
    Now,
    Today,
    Tomorrow,
    Yesterday,
    /// `allballs`: midnight UTC.
    Zulu,
}

/// A word of a date or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Reserved(Reserved),
    Month(i64),
    Weekday,
    /// PM or AM.
    Meridiem(bool),
    /// BC or AD.
    Era(bool),
    /// `dst` behind a zone.
    Daylight,
    /// A label before a number, as in `y2001m02d04`.
    Unit(Unit),
    /// The T between an ISO date and its time.
    IsoTime,
    Ignored,
}

fn significant(word: &str) -> &str {
    word.get(..LENGTH_MAX).unwrap_or(word)
}

/// A word of dates and times.
pub fn word(text: &str) -> Option<Word> {
    use Word as W;
    Some(match significant(text) {
        "-infinity" => W::Reserved(Reserved::NegInfinity),
        "infinity" => W::Reserved(Reserved::Infinity),
        "epoch" => W::Reserved(Reserved::Epoch),
        "now" => W::Reserved(Reserved::Now),
        "today" => W::Reserved(Reserved::Today),
        "tomorrow" => W::Reserved(Reserved::Tomorrow),
        "yesterday" => W::Reserved(Reserved::Yesterday),
        "allballs" => W::Reserved(Reserved::Zulu),
        "ad" => W::Era(false),
        "bc" => W::Era(true),
        "am" => W::Meridiem(false),
        "pm" => W::Meridiem(true),
        "at" | "on" => W::Ignored,
        "dst" => W::Daylight,
        "t" => W::IsoTime,
        "jan" | "january" => W::Month(1),
        "feb" | "february" => W::Month(2),
        "mar" | "march" => W::Month(3),
        "apr" | "april" => W::Month(4),
        "may" => W::Month(5),
        "jun" | "june" => W::Month(6),
        "jul" | "july" => W::Month(7),
        "aug" | "august" => W::Month(8),
        "sep" | "sept" | "september" => W::Month(9),
        "oct" | "october" => W::Month(10),
        "nov" | "november" => W::Month(11),
        "dec" | "december" => W::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => W::Weekday,
        "d" => W::Unit(Unit::Day),
        "dow" => W::Unit(Unit::DayOfWeek),
        "doy" => W::Unit(Unit::DayOfYear),
        "h" => W::Unit(Unit::Hour),
        "isodow" => W::Unit(Unit::IsoDayOfWeek),
        "isoyear" => W::Unit(Unit::IsoYear),
        "j" | "jd" | "julian" => W::Unit(Unit::Julian),
        "m" => W::Unit(Unit::Month),
        "mm" => W::Unit(Unit::Minute),
        "s" => W::Unit(Unit::Second),
        "y" => W::Unit(Unit::Year),
        _ => return None,
    })
}

/// A unit of intervals.
pub fn unit(text: &str) -> Option<Unit> {
    Some(match significant(text) {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Unit::Microsecond,
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Unit::Millisecond,
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        "timezone" => Unit::Timezone,
        "timezone_h" => Unit::TimezoneHour,
        "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

/// A field that `extract` takes of a date or a time: a unit of intervals or a word of dates; `Err` for a word that stands
/// for a value.
pub fn field(text: &str) -> Option<Result<Unit, Reserved>> {
    unit(text).map(Ok).or_else(|| match word(text)? {
        Word::Unit(unit) => Some(Ok(unit)),
        Word::Reserved(Reserved::Epoch) => Some(Ok(Unit::Epoch)),
        Word::Reserved(other) => Some(Err(other)),
        _ => None,
    })
}

/// What an abbreviation of a time zone means.
#[derive(Debug, Clone, Copy)]
pub enum Abbreviation {
    /// Seconds east of Greenwich.
    Fixed(i64),
    /// What the zone called by this name at the time in question.
    Of(Tz),
}

static ABBREVIATIONS: LazyLock<HashMap<&'static str, Abbreviation>> = LazyLock::new(|| {
    let meaning = |text: &str| match text.parse() {
        Ok(seconds) => Some(Abbreviation::Fixed(seconds)),
        Err(_) => named_zone(text).map(Abbreviation::Of),
    };
    include_str!("timezone_abbreviations.tsv")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(name, text)| Some((name, meaning(text)?)))
        .collect()
});

/// An abbreviation of PostgreSQL's default set.
pub fn abbreviation(name: &str) -> Option<Abbreviation> {
    ABBREVIATIONS.get(significant(name)).copied()
}
