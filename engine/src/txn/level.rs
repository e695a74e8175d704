//! How safe a commit is when its client hears of it: `synchronous_commit`.
//!
//! Whatever the level, a commit is visible to others only once a majority has it: what a reader sees cannot be lost. An
//! early answer (`off`, `local`) tells the committing session alone, which may learn later that it is lost.
//!
//! Invariants:
//! 1. No level makes anything visible earlier; the session's own later reads wait until its commits are applied.
//! 2. Commits that were answered early and are not safe yet are at most [`EARLY_MAX`]; more wait.
//! 3. An early answer whose commit fails is logged, and its loss holds back no reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::commit::outcome_unknown;
use super::freshness::Position;
use super::sequencer::Reign;
use super::shared::Transactions;
use crate::commit_log::{Appended, LogPosition};
use crate::error::Result;
use crate::storage::CommitTs;

/// Commits that were acknowledged early and whose records are on their way.
const EARLY_MAX: usize = 1024;

/// When COMMIT answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum CommitLevel {
    /// When the commit has its place in the order.
    Off,
    /// When this node has it on stable storage.
    Local,
    /// When a majority of the voters has it on stable storage, and it is applied here.
    #[default]
    Majority,
    /// When, besides, every standby that is up has applied it.
    RemoteApply,
}

impl CommitLevel {
    /// As a value of `synchronous_commit`.
    pub fn text(self) -> &'static str {
        match self {
            CommitLevel::Off => "off",
            CommitLevel::Local => "local",
            CommitLevel::Majority => "on",
            CommitLevel::RemoteApply => "remote_apply",
        }
    }

    /// Reads a value of `synchronous_commit`. What a majority has written it has synced: remote_write is on.
    pub fn parse(text: &str) -> CommitLevel {
        match text {
            "off" => CommitLevel::Off,
            "local" => CommitLevel::Local,
            "remote_apply" => CommitLevel::RemoteApply,
            _ => CommitLevel::Majority,
        }
    }

    /// Whether a commit can be lost after it was acknowledged.
    pub fn is_early(self) -> bool {
        self < CommitLevel::Majority
    }
}

/// A commit that its client may hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub position: Position,
    /// Place in the log; not known yet of an early answer.
    pub logged: Option<LogPosition>,
    pub level: CommitLevel,
}

/// Answers ahead of the majority, of all sessions.
pub(super) struct EarlyCommits {
    room: Arc<Semaphore>,
    lost: AtomicU64,
}

impl Default for EarlyCommits {
    fn default() -> Self {
        EarlyCommits { room: Arc::new(Semaphore::new(EARLY_MAX)), lost: AtomicU64::new(0) }
    }
}

impl EarlyCommits {
    /// The newest one that was lost, or whose outcome is unknown.
    pub fn lost(&self) -> Position {
        Position(CommitTs(self.lost.load(Ordering::Acquire)))
    }
}

/// The right to answer early, or not.
#[derive(Default)]
pub(super) struct Early {
    permit: Option<OwnedSemaphorePermit>,
    /// Of `local`: told when the record is on this node's disk.
    synced: Option<oneshot::Receiver<()>>,
    tell: Option<oneshot::Sender<()>>,
}

impl Early {
    /// What the log is to tell.
    pub fn local(&mut self) -> Option<oneshot::Sender<()>> {
        self.tell.take()
    }
}

/// A commit that has its place.
pub(super) struct Sequenced {
    pub ts: CommitTs,
    pub appended: Appended,
    pub early: Early,
}

impl Transactions {
    /// Waits for room among the early answers, if `level` is one.
    pub(super) async fn may_answer_early(&self, level: CommitLevel) -> Early {
        if !level.is_early() {
            return Early::default();
        }
        // The semaphore is never closed.
        let permit = self.early.room.clone().acquire_owned().await.ok();
        let (tell, synced) = match level {
            CommitLevel::Local => Some(oneshot::channel()).unzip(),
            _ => (None, None),
        };
        Early { permit, synced, tell }
    }

    /// Waits for as much as the commit's level asks.
    pub(super) async fn acknowledge(self: &Arc<Self>, sequenced: Sequenced, reign: Reign) -> Result<Committed> {
        let Sequenced { ts, appended, early } = sequenced;
        let position = Position(ts);
        let Some(permit) = early.permit else {
            let logged = self.answer(appended, reign).await?;
            return Ok(Committed { position, logged: Some(logged), level: CommitLevel::Majority });
        };
        let (tell, told) = oneshot::channel();
        let shared = self.clone();
        tokio::spawn(async move {
            let outcome = shared.answer(appended, reign).await;
            drop(permit);
            if let Err(error) = &outcome {
                shared.early.lost.fetch_max(ts.0, Ordering::AcqRel);
                shared.sequencer.wake_all();
                tracing::warn!(%error, position = %position, "a commit below synchronous_commit = on is lost or in doubt");
            }
            let _ = tell.send(outcome);
        });
        let Some(synced) = early.synced else {
            return Ok(Committed { position, logged: None, level: CommitLevel::Off });
        };
        tokio::select! {
            biased;
            outcome = told => {
                let logged = outcome.unwrap_or_else(|_| Err(outcome_unknown("its task ended")))?;
                Ok(Committed { position, logged: Some(logged), level: CommitLevel::Majority })
            }
            Ok(()) = synced => Ok(Committed { position, logged: None, level: CommitLevel::Local }),
        }
    }
}
