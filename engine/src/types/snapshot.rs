//! `pg_snapshot`: which transactions were running, by number, as text in the form `xmin:xmax:xip,…`.

use std::fmt;

use crate::error::{Error, Result, SqlState};

/// Transactions below `xmin` are over, those from `xmax` on had not begun, and of those between them `running` were running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionSnapshot {
    pub xmin: u64,
    pub xmax: u64,
    /// In their order, each once.
    pub running: Vec<u64>,
}

impl TransactionSnapshot {
    /// The transactions below `next` that are not among `running`, which is in order.
    pub fn new(next: u64, running: Vec<u64>) -> TransactionSnapshot {
        TransactionSnapshot { xmin: running.first().copied().unwrap_or(next), xmax: next, running }
    }

    /// 22P02 for what is no snapshot.
    pub fn parse(text: &str) -> Result<TransactionSnapshot> {
        Self::read(text).ok_or_else(|| {
            let message = format!("invalid input syntax for type pg_snapshot: \"{text}\"");
            Error::new(SqlState::InvalidTextRepresentation, message)
        })
    }

    fn read(text: &str) -> Option<TransactionSnapshot> {
        // As strtoull reads them: blanks and a plus may lead.
        let number = |text: &str| {
            let number = text.trim_ascii_start().parse::<u64>().ok();
            number.filter(|number| i64::try_from(*number).is_ok())
        };
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax, list) = (number(parts.next()?)?, number(parts.next()?)?, parts.next()?);
        let running = match list {
            "" => Vec::new(),
            list => list.strip_suffix(',').unwrap_or(list).split(',').map(number).collect::<Option<_>>()?,
        };
        Self::checked(xmin, xmax, running)
    }

    /// `None`: such a snapshot cannot be.
    pub fn checked(xmin: u64, xmax: u64, mut running: Vec<u64>) -> Option<TransactionSnapshot> {
        let sound = 0 < xmin
            && xmin <= xmax
            && i64::try_from(xmax).is_ok()
            && running.is_sorted()
            && running.iter().all(|n| (xmin..xmax).contains(n));
        running.dedup();
        sound.then_some(TransactionSnapshot { xmin, xmax, running })
    }

    /// Whether a transaction was over.
    pub fn sees(&self, number: u64) -> bool {
        number < self.xmin || (number < self.xmax && self.running.binary_search(&number).is_err())
    }
}

impl fmt::Display for TransactionSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        let list: Vec<String> = self.running.iter().map(u64::to_string).collect();
        f.write_str(&list.join(","))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_postgresql_takes() {
        for (text, shown) in [
            ("12:13:", "12:13:"),
            ("12:20:13,15,18", "12:20:13,15,18"),
            ("1:10:2,2,5", "1:10:2,5"),
            ("1:2:1,", "1:2:1"),
            (" 1: +2: 1", "1:2:1"),
            ("1:9223372036854775807:3", "1:9223372036854775807:3"),
        ] {
            assert_eq!(TransactionSnapshot::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "1",
            "31:12:",
            "0:1:",
            "12:13:0",
            "12:20:14,13",
            "12:13:13",
            "1:2:x",
            "1:2:1 ",
            "-1:2:",
            "1:2",
            "1:9223372036854775808:3",
        ] {
            assert!(TransactionSnapshot::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sees_what_was_over() {
        let snapshot = TransactionSnapshot::parse("12:20:13,15,18").unwrap();
        let seen: Vec<u64> = (11..22).filter(|n| snapshot.sees(*n)).collect();
        assert_eq!(seen, [11, 12, 14, 16, 17, 19]);
    }
}
