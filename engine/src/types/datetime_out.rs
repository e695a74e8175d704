//! Text output of date, time, timestamp and timestamptz in PostgreSQL's four date styles.

use std::io::Write;

use super::calendar::{civil_from_days, day_of_week};
use super::datetime::output_offset;
use super::interval::{MICROS_PER_DAY, MICROS_PER_SECOND};
use super::text::{DateOrder, DateStyle, FormatSettings};

pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

fn infinite(low: bool, high: bool, out: &mut Vec<u8>) -> bool {
    if low {
        out.extend_from_slice(b"-infinity");
    } else if high {
        out.extend_from_slice(b"infinity");
    }
    low || high
}

/// Year as written, and whether it is before Christ.
fn era(year: i64) -> (i64, bool) {
    if year > 0 { (year, false) } else { (1 - year, true) }
}

pub fn write_date(days: i32, format: &FormatSettings, out: &mut Vec<u8>) {
    if infinite(days == i32::MIN, days == i32::MAX, out) {
        return;
    }
    let (year, month, day) = civil_from_days(i64::from(days));
    let (year, bc) = era(year);
    let dmy = format.date_order == DateOrder::Dmy;
    let _ = match format.date_style {
        DateStyle::Iso => return write_iso_date(year, month, day, bc, out),
        DateStyle::Sql if dmy => write!(out, "{day:02}/{month:02}/{year:04}"),
        DateStyle::Sql => write!(out, "{month:02}/{day:02}/{year:04}"),
        DateStyle::German => write!(out, "{day:02}.{month:02}.{year:04}"),
        DateStyle::Postgres if dmy => write!(out, "{day:02}-{month:02}-{year:04}"),
        DateStyle::Postgres => write!(out, "{month:02}-{day:02}-{year:04}"),
    };
    write_era(bc, out);
}

fn write_iso_date(year: i64, month: i64, day: i64, bc: bool, out: &mut Vec<u8>) {
    if (0..=9999).contains(&year) {
        push_digits(year as u32, 4, out);
    } else {
        let _ = write!(out, "{year}");
    }
    out.push(b'-');
    push_digits(month as u32, 2, out);
    out.push(b'-');
    push_digits(day as u32, 2, out);
    write_era(bc, out);
}

fn push_digits(value: u32, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut left = value;
    for slot in out[start..].iter_mut().rev() {
        *slot = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

fn write_era(bc: bool, out: &mut Vec<u8>) {
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// `HH:MM:SS[.ffffff]`.
pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / MICROS_PER_SECOND;
    push_digits((seconds / 3600) as u32, 2, out);
    out.push(b':');
    push_digits((seconds / 60 % 60) as u32, 2, out);
    out.push(b':');
    push_digits((seconds % 60) as u32, 2, out);
    let fraction = micros % MICROS_PER_SECOND;
    if fraction != 0 {
        out.push(b'.');
        push_digits(fraction as u32, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

pub fn write_timestamp(micros: i64, format: &FormatSettings, out: &mut Vec<u8>) {
    if !infinite(micros == i64::MIN, micros == i64::MAX, out) {
        write_instant(micros, None, format, out);
    }
}

pub fn write_timestamptz(utc: i64, format: &FormatSettings, out: &mut Vec<u8>) {
    if infinite(utc == i64::MIN, utc == i64::MAX, out) {
        return;
    }
    let offset = output_offset(format, utc);
    write_instant(utc.saturating_add(offset * MICROS_PER_SECOND), Some((utc, offset)), format, out);
}

fn write_instant(local: i64, zone: Option<(i64, i64)>, format: &FormatSettings, out: &mut Vec<u8>) {
    let days = local.div_euclid(MICROS_PER_DAY);
    let time = local.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let (year, bc) = era(year);
    let dmy = format.date_order == DateOrder::Dmy;
    let named_zone = |out: &mut Vec<u8>| {
        if let Some((utc, _)) = zone {
            let _ = write!(out, " {}", format.abbreviation_at(utc));
        }
    };
    match format.date_style {
        DateStyle::Iso => {
            write_iso_date(year, month, day, false, out);
            out.push(b' ');
            write_time(time, out);
            if let Some((_, offset)) = zone {
                write_offset(offset, out);
            }
        }
        DateStyle::Sql => {
            let (first, second) = if dmy { (day, month) } else { (month, day) };
            let _ = write!(out, "{first:02}/{second:02}/{year:04} ");
            write_time(time, out);
            named_zone(out);
        }
        DateStyle::German => {
            let _ = write!(out, "{day:02}.{month:02}.{year:04} ");
            write_time(time, out);
            named_zone(out);
        }
        DateStyle::Postgres => {
            let weekday = WEEKDAYS[day_of_week(days) as usize];
            let name = MONTHS[(month - 1) as usize];
            let _ =
                if dmy { write!(out, "{weekday} {day:02} {name} ") } else { write!(out, "{weekday} {name} {day:02} ") };
            write_time(time, out);
            let _ = write!(out, " {year:04}");
            named_zone(out);
        }
    }
    write_era(bc, out);
}

/// `+HH[:MM[:SS]]`.
pub fn write_offset(offset: i64, out: &mut Vec<u8>) {
    let seconds = offset.abs();
    let sign = if offset < 0 { '-' } else { '+' };
    let _ = write!(out, "{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        let _ = write!(out, ":{:02}", seconds / 60 % 60);
    }
    if seconds % 60 != 0 {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
}
