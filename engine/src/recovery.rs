//! What backup and recovery have to know of the engine's files and records, without an engine: whether a checkpoint is
//! whole, and when a record was committed.

use std::path::Path;

use crate::checkpoint;
use crate::commit_log::{CheckpointError, LogPosition, Record};
use crate::error::Result;
use crate::record::{self, Kind};
use crate::storage::CommitTs;
use crate::types::datetime;
use crate::types::text::{self, FormatSettings};
use crate::types::{Datum, TypeOid};

/// A moment: microseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    fn of(ts: CommitTs) -> Moment {
        Moment(i64::try_from(ts.0 >> 12).unwrap_or(i64::MAX))
    }

    pub fn now() -> Moment {
        Moment(crate::session::registry::now_micros())
    }

    /// Reads what PostgreSQL takes for a `timestamp with time zone`; without a zone it is UTC.
    pub fn parse(text: &str) -> Result<Moment> {
        datetime::parse_timestamptz(text, -1, &FormatSettings::default()).map(Moment)
    }

    /// As PostgreSQL prints it, in UTC.
    pub fn text(self) -> String {
        text::to_string(&Datum::Timestamptz(self.0), TypeOid::TIMESTAMPTZ.into(), &FormatSettings::default())
    }
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub length: u64,
    pub crc: u32,
}

/// What a checkpoint says of itself.
#[derive(Debug, Clone)]
pub struct Content {
    pub position: LogPosition,
    /// The last commit in it.
    pub last_commit: Moment,
    /// All its files but the one that says this.
    pub files: Vec<Listed>,
}

/// Name of the file that [`content`] reads.
pub const MANIFEST: &str = checkpoint::MANIFEST;

/// Reads the manifest of a checkpoint.
pub fn content(manifest: &[u8]) -> std::result::Result<Content, CheckpointError> {
    let (mark, files) = checkpoint::listed(manifest)?;
    Ok(Content { position: mark.position, last_commit: Moment::of(mark.ts), files })
}

/// Reads all of a checkpoint and compares it with its checksums.
pub fn verify(dir: &Path) -> std::result::Result<(), CheckpointError> {
    checkpoint::verify(dir)
}

/// What kind of step a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing that anybody sees, yet.
    Other,
    Commit(Moment),
}

/// Whether a record commits something, and when it was. Errors: what is not a whole record.
pub fn step(record: &Record) -> Result<Step> {
    let (header, _) = record::open(record)?;
    Ok(match header.kind {
        Kind::Commit => Step::Commit(Moment::of(header.ts)),
        Kind::Part | Kind::Forget | Kind::Check => Step::Other,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written_as_postgresql_does() {
        let moment = Moment::parse("2026-11-25 21:30:00.25+01").unwrap();
        assert_eq!(moment.text(), "2026-11-25 20:30:00.25+00");
        assert_eq!(Moment::parse("1970-01-01 00:00:01").unwrap(), Moment(1_000_000));
        assert!(Moment::parse("yesterday evening or so").is_err());
        assert!(step(&Record::from_static(b"not a record")).is_err());
    }
}
