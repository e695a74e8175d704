//! time with time zone: a local time and a displacement. A value is twelve bytes that sort like PostgreSQL's order: the
//! instant of the day, then the zone in seconds west.

use std::sync::Arc;

use super::interval::MICROS_PER_SECOND;
use super::{Datum, datetime_out};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds since local midnight.
    pub micros: i64,
    /// Seconds west of Greenwich, as PostgreSQL keeps it.
    pub west: i32,
}

impl TimeTz {
    /// Microseconds of the day in UTC, possibly of the day before or after.
    pub fn utc(self) -> i64 {
        self.micros + i64::from(self.west) * MICROS_PER_SECOND
    }

    pub fn encode(self) -> Datum {
        let mut out = [0; 12];
        out[..8].copy_from_slice(&(self.utc() as u64 ^ 1 << 63).to_be_bytes());
        out[8..].copy_from_slice(&(self.west as u32 ^ 1 << 31).to_be_bytes());
        Datum::Bytea(Arc::from(out))
    }

    pub fn decode(bytes: &[u8]) -> Option<TimeTz> {
        let (instant, zone) = bytes.split_first_chunk::<8>()?;
        let utc = (u64::from_be_bytes(*instant) ^ 1 << 63) as i64;
        let west = (u32::from_be_bytes(zone.try_into().ok()?) ^ 1 << 31) as i32;
        Some(TimeTz { micros: utc - i64::from(west) * MICROS_PER_SECOND, west })
    }

    pub fn write(self, out: &mut Vec<u8>) {
        datetime_out::write_time(self.micros, out);
        let magnitude = self.west.unsigned_abs();
        let mut zone = format!("{}{:02}", if self.west <= 0 { '+' } else { '-' }, magnitude / 3600);
        if !magnitude.is_multiple_of(3600) {
            zone.push_str(&format!(":{:02}", magnitude / 60 % 60));
        }
        if !magnitude.is_multiple_of(60) {
            zone.push_str(&format!(":{:02}", magnitude % 60));
        }
        out.extend_from_slice(zone.as_bytes());
    }
}
