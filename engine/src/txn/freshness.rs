//! How new a read has to be: the latest (the log's read barrier), of a bounded age (`lockstep.max_staleness`), or no
//! older than a position (`lockstep.read_after`, and the session's own commits).
//!
//! Invariants:
//! 1. A bounded read is answered only from a state that held everything acknowledged so long ago by this node's own clock,
//!    whether or not it can reach the primary.
//! 2. A node that has applied a position shows every commit up to it, on every node the same ones.

use std::fmt;
use std::time::Duration;

use super::shared::Transactions;
use crate::error::{Error, Result, SqlState};
use crate::storage::CommitTs;

/// Longest wait for a position to be applied here; `statement_timeout` may end it sooner.
const REACH_WAIT_MAX: Duration = Duration::from_secs(30);
/// A bounded read finds the state too old when nobody has asked the primary lately. It asks, for at most this long.
const REFRESH_WAIT_MAX: Duration = Duration::from_millis(250);

/// A place in the order of commits, the same on every node: the token of a causal read. Written as PostgreSQL writes
/// positions of its log: two hexadecimal halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(crate) CommitTs);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0.0 >> 32, self.0.0 as u32)
    }
}

impl Position {
    pub fn parse(text: &str) -> Option<Position> {
        let half = |text: &str| match text.len() {
            1..=8 if text.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(text, 16).ok(),
            _ => None,
        };
        let (high, low) = text.split_once('/')?;
        Some(Position(CommitTs(half(high)? << 32 | half(low)?)))
    }
}

/// What a read asks of the state that it is answered from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// `None`: the latest.
    pub max_staleness: Option<Duration>,
    pub after: Position,
}

impl Transactions {
    /// The newest commit that reads on this node show.
    pub fn position(&self) -> Position {
        Position(self.storage.snapshots.watermark())
    }

    /// Returns when the state here is as new as `freshness` asks. Errors: 57P03.
    pub async fn freshen(&self, freshness: &Freshness) -> Result<()> {
        match freshness.max_staleness {
            // The primary's state costs one round to be sure of, and is never refused.
            Some(bound) if !self.is_primary() => self.no_older_than(bound).await?,
            _ => self.read_barrier().await?,
        }
        // What was acknowledged early and then lost is waited for by nobody.
        match freshness.after > self.position().max(self.early.lost()) {
            true => self.reach(freshness.after).await,
            false => Ok(()),
        }
    }

    async fn no_older_than(&self, bound: Duration) -> Result<()> {
        let log = self.log()?;
        let recent = || log.staleness().is_some_and(|age| age <= bound);
        if recent() || matches!(tokio::time::timeout(REFRESH_WAIT_MAX, log.read_barrier()).await, Ok(Ok(()))) {
            return Ok(());
        }
        // Somebody else's round may have ended meanwhile.
        let age = match log.staleness() {
            Some(age) if age <= bound => return Ok(()),
            Some(age) => format!("was {} ms ago", age.as_millis()),
            None => "is not known since this node started".to_owned(),
        };
        let message = "the state of this node may be older than lockstep.max_staleness allows";
        Err(Error::new(SqlState::CannotConnectNow, message)
            .detail(format!("The last moment whose commits are all here {age}; {} ms are allowed.", bound.as_millis()))
            .hint("The node cannot reach the primary, or is behind. Connect to another node, or allow more."))
    }

    async fn reach(&self, wanted: Position) -> Result<()> {
        let applied = || self.position().max(self.early.lost()) >= wanted;
        let reaching = async {
            // A change of role wakes everybody; the position may come from the next primary.
            while let Some(woken) = self.sequencer.wait(wanted.0, applied) {
                let _ = woken.await;
            }
        };
        if tokio::time::timeout(REACH_WAIT_MAX, reaching).await.is_ok() {
            return Ok(());
        }
        let message = format!("position {wanted} has not reached this node");
        Err(Error::new(SqlState::CannotConnectNow, message)
            .detail(format!("The node is at {} after {} s.", self.position(), REACH_WAIT_MAX.as_secs()))
            .hint("The node is behind, or the position is of another cluster."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for position in [0, 1, u64::from(u32::MAX), 1 << 32, 0x18C4_F000_A300_0001, u64::MAX] {
            let position = Position(CommitTs(position));
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for text in ["", "/", "1/", "/1", "1/2/3", "g/0", "123456789/0", "+1/0", "1"] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }
}
