//! Archives the log while the node runs: the primary copies what is committed, range by range, and every node that
//! archives keeps its log until it is copied, so that whoever becomes primary can go on.
//!
//! Invariants:
//! 1. Only applied entries are archived: they are committed and are never taken back.
//! 2. A range counts as archived when it was read back whole.
//! 3. The log is not purged behind what is archived, unless more than a limit has piled up: then the gap is loud.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::commit_log::ArchiveStatus;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::BackupError;
use super::archive::{self, Span};
use super::store::Store;
use crate::cluster::Members;
use crate::net::message::{Request, Response};
use crate::raft::known_primary;
use crate::wal::GroupLog;

/// A range is closed at so many bytes, whatever the interval.
const RANGE_BYTES: u64 = 16 << 20;
/// How often the archiver looks.
const LOOK: Duration = Duration::from_millis(200);
/// After a failure, and between two questions to the primary.
const PAUSE: Duration = Duration::from_secs(2);
/// A failure that lasts is told this often.
const REMINDER: Duration = Duration::from_secs(30);

/// Where the log is archived, and how.
#[derive(Debug, Clone)]
pub struct ArchiveConfig {
    /// Directory or URL.
    pub to: String,
    /// A range is closed when its first entry has waited so long.
    pub interval: Duration,
    /// Bytes of log that are kept for an archive that does not take them.
    pub keep_bytes: u64,
}

/// How far the log may be purged: shared with the log store.
#[derive(Debug)]
pub struct Hold(AtomicU64);

impl Hold {
    /// Entries from `next` on are needed.
    pub fn from(next: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(next)))
    }

    /// Nothing holds the log.
    pub fn none() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(u64::MAX)))
    }

    /// The index of the last entry that may be purged, of those up to `upto`; `None`: none may.
    pub fn limit(&self, upto: u64) -> Option<u64> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            next => Some(upto.min(next - 1)),
        }
    }

    /// Entries from `next` on are still needed.
    fn keep_from(&self, next: u64) {
        self.0.store(next, Ordering::Release);
    }
}

/// What has been archived, for views; shared.
#[derive(Debug, Default)]
pub struct Progress(Mutex<ArchiveStatus>);

impl Progress {
    pub fn status(&self) -> ArchiveStatus {
        self.0.lock().clone()
    }
}

pub struct Archiver {
    pub config: ArchiveConfig,
    pub members: Arc<Members>,
    pub log: GroupLog,
    pub hold: Arc<Hold>,
}

/// A primary's place in the archive.
struct Place {
    store: Store,
    /// First entry that is not archived.
    next: u64,
    /// Since when there has been something to archive.
    waiting: Option<Instant>,
}

impl Archiver {
    /// Runs until the node ends.
    pub async fn run(self) {
        let mut place = None;
        let mut told: Option<Instant> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let outcome = match self.members.machine.reign() {
                Some(_) => self.lead(&mut place).await,
                None => {
                    place = None;
                    self.follow().await;
                    Ok(())
                }
            };
            self.bound();
            let Err(trouble) = outcome else {
                {
                    let mut progress = self.members.machine.archive.0.lock();
                    (progress.failing, progress.given_up) = (None, false);
                }
                if told.take().is_some() {
                    info!("the log is archived again");
                }
                continue;
            };
            place = None;
            let trouble = trouble.to_string();
            {
                let mut progress = self.members.machine.archive.0.lock();
                progress.failed += 1;
                progress.failing = Some(trouble.clone());
                progress.last_failure = Some((engine::recovery::Moment::now().0, trouble.clone()));
            }
            if told.is_none_or(|told| told.elapsed() > REMINDER) {
                told = Some(Instant::now());
                error!("NOT ARCHIVED: {trouble}. The log is kept until it can be archived");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn lead(&self, place: &mut Option<Place>) -> Result<(), BackupError> {
        let here = match place {
            Some(here) => here,
            none => none.insert(self.find_place().await?),
        };
        let Some(applied) = self.members.machine.applied().index else { return Ok(()) };
        if here.next > applied {
            here.waiting = None;
            return Ok(());
        }
        let waited = here.waiting.get_or_insert_with(Instant::now).elapsed();
        let bytes = self.log.bytes_between(here.next.saturating_sub(1), applied);
        if waited < self.config.interval && bytes < RANGE_BYTES {
            return Ok(());
        }
        while here.next <= applied {
            here.next = self.archive(&here.store, here.next, applied).await?;
            self.hold.keep_from(here.next);
        }
        here.waiting = None;
        Ok(())
    }

    /// Where to go on: behind what is archived.
    async fn find_place(&self) -> Result<Place, BackupError> {
        let store = Store::open(&self.config.to)?;
        let cluster = self.members.cluster();
        let last = archive::spans(&store, cluster).await?.into_iter().max_by_key(|span| span.last);
        let kept_from = self.log.purged().map_or(0, |purged| purged.index + 1);
        let next = match last {
            None => kept_from,
            Some(span) => {
                self.check_history(&store, span).await?;
                span.last + 1
            }
        };
        if next < kept_from {
            let last = kept_from - 1;
            error!("ARCHIVE GAP: entries {next} to {last} are not in the log any more. Take a new backup");
        }
        let next = next.max(kept_from);
        info!(to = self.config.to, next, "archiving the log");
        self.hold.keep_from(next);
        self.members.machine.archive.0.lock().next = next;
        Ok(Place { store, next, waiting: None })
    }

    /// The end of the archive must be part of this log.
    async fn check_history(&self, store: &Store, span: Span) -> Result<(), BackupError> {
        let entries = archive::read(store, self.members.cluster(), span).await?;
        let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(()) };
        let own = self.log.entry_id(last.index);
        let beyond = self.log.last().is_none_or(|end| end.index < last.index);
        match own {
            Some(own) if own != last => Err(BackupError::Archive(format!(
                "entry {} in it is of term {}, and of term {} in the log: it is of another history",
                last.index, last.term, own.term
            ))),
            None if beyond => {
                Err(BackupError::Archive(format!("it has entry {}, and the log ends before that", last.index)))
            }
            _ => Ok(()),
        }
    }

    /// Archives the next range and gives the index behind it.
    async fn archive(&self, store: &Store, next: u64, applied: u64) -> Result<u64, BackupError> {
        let span = self.log.span(next..applied + 1, RANGE_BYTES);
        let cluster = self.members.cluster();
        let loaded = tokio::task::spawn_blocking(move || span.load()).await;
        let entries = loaded.map_err(|error| BackupError::Archive(error.to_string()))??;
        if entries.first().is_none_or(|entry| entry.id.index != next) {
            return Err(BackupError::Archive(format!("entry {next} is not in the log any more")));
        }
        let Some((span, bytes)) = archive::encode(cluster, &entries) else {
            return Err(BackupError::Archive("there is nothing to archive".to_owned()));
        };
        store.put(&span.name(cluster), bytes).await?;
        if archive::read(store, cluster, span).await? != entries {
            return Err(BackupError::Archive(format!("{} is not what was written", span.name(cluster))));
        }
        let mut progress = self.members.machine.archive.0.lock();
        progress.archived += 1;
        progress.last = Some((engine::recovery::Moment::now().0, span.name(cluster)));
        progress.next = span.last + 1;
        Ok(span.last + 1)
    }

    /// A standby keeps what the primary has not archived.
    async fn follow(&self) {
        let members = &self.members;
        let primary = known_primary(&members.raft).filter(|primary| primary.0 != members.id());
        if let Some((primary, address)) = primary.and_then(|p| Some((p, members.address_of(p.0)?))) {
            let wait = members.caller.patience.answer;
            let report = members.caller.ask(primary.0, &address, &Request::NodeStatus, wait).await;
            if let Ok(Response::NodeStatus(report)) = report
                && report.archived_to > 0
            {
                self.hold.keep_from(report.archived_to);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// Invariant 3.
    fn bound(&self) {
        let Some(last) = self.log.last() else { return };
        let next = self.hold.0.load(Ordering::Acquire);
        if next == u64::MAX || next > last.index {
            return;
        }
        let kept = self.log.bytes_between(next.saturating_sub(1), last.index);
        if kept > self.config.keep_bytes {
            warn!("ARCHIVE GAP AHEAD: {kept} bytes of log are not archived; from here on they are kept no longer");
            self.hold.keep_from(last.index + 1);
            self.members.machine.archive.0.lock().given_up = true;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_keeps_what_is_not_archived() {
        let hold = Hold::none();
        assert_eq!(hold.limit(10), Some(10));
        hold.keep_from(0);
        assert_eq!(hold.limit(10), None);
        hold.keep_from(5);
        assert_eq!((hold.limit(3), hold.limit(10)), (Some(3), Some(4)));
    }
}
