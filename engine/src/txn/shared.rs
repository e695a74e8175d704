//! What all transactions of an engine share: storage, locks, the sequencer, sequences and the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::Advisory;
use super::commit::outcome_unknown;
use super::level::EarlyCommits;
use super::locks::{LockKey, Locks, TxnId};
use super::number::Numbers;
use super::sequencer::{Reign, Sequencer};
use super::sequences::Sequences;
use super::transaction::{SessionReign, advisory_mode};
use crate::catalog::SequenceDef;
use crate::commit_log::{AppendError, CommitLog, ReadError};
use crate::error::{Error, Result, SqlState};
use crate::monitor::SharedHistogram;
use crate::storage::{CommitTs, Storage};

/// An election takes less than this; whoever waits longer waits for voters to come back.
const ELECTION: Duration = Duration::from_secs(2);

/// One per engine.
pub struct Transactions {
    pub storage: Arc<Storage>,
    pub(crate) locks: Locks,
    pub(crate) sequencer: Sequencer,
    pub(super) numbers: Numbers,
    pub(crate) sequences: Sequences,
    /// From COMMIT to its acknowledgement, of transactions that wrote.
    pub(crate) commit_latency: SharedHistogram,
    log: OnceLock<Arc<dyn CommitLog>>,
    next: AtomicU64,
    /// Since when nobody is known to be the primary.
    leaderless: Mutex<Option<Instant>>,
    /// Why nothing may be read here.
    out_of_service: RwLock<Option<String>>,
    pub(super) early: EarlyCommits,
    pub(crate) notifier: super::notify::Notifier,
}

impl Transactions {
    /// `last_value` and `is_called` of a sequence, as of the last commit.
    pub(crate) fn sequence_state(&self, sequence: &crate::catalog::SequenceDef) -> (i64, bool) {
        let state = self.sequences.state(self, sequence);
        (state.last, state.called)
    }

    pub fn new(storage: Arc<Storage>) -> Arc<Transactions> {
        Arc::new(Transactions {
            storage,
            locks: Locks::new(),
            sequencer: Sequencer::default(),
            numbers: Numbers::default(),
            sequences: Sequences::default(),
            commit_latency: SharedHistogram::default(),
            log: OnceLock::new(),
            next: AtomicU64::new(1),
            leaderless: Mutex::default(),
            out_of_service: RwLock::default(),
            early: EarlyCommits::default(),
            notifier: Default::default(),
        })
    }

    /// Called once, when the log runs.
    pub fn attach_log(&self, log: Arc<dyn CommitLog>) {
        let _ = self.log.set(log);
    }

    /// The next value of a sequence for a row of a query, and the record that must be durable before it counts. That
    /// record is ahead of whatever commits the value.
    pub(crate) fn next_sequence_value(&self, sequence: &SequenceDef) -> Result<(i64, Reign, CommitTs)> {
        let reign = self.sequencer.primary_reign().ok_or_else(Error::leadership_lost)?;
        let (value, logged) = self.sequences.next(self, sequence, reign)?;
        Ok((value, reign, logged))
    }

    /// Lets one mode of a session's advisory lock go.
    pub fn unlock_advisory(&self, process: i32, key: Advisory, shared: bool) {
        self.locks.release_mode(&LockKey::Advisory(key), TxnId::of_session(process), advisory_mode(shared));
    }

    /// Whether the locks that a session took are still locks: the node may have lost its role since.
    pub fn reigns_on(&self, reign: SessionReign) -> bool {
        self.sequencer.primary_reign().is_some_and(|now| SessionReign::of(now) == reign)
    }

    /// The log says whether anybody is the primary.
    pub(crate) fn primary_is_known(&self, known: bool) {
        let mut leaderless = self.leaderless.lock();
        *leaderless = match known {
            true => None,
            false => leaderless.or_else(|| Some(Instant::now())),
        };
    }

    /// 57P03 when a command cannot run anywhere, because for some time nobody has had the votes to be the primary.
    pub(crate) fn check_primary(&self, command: &str) -> Result<()> {
        if self.is_primary() || self.leaderless.lock().is_none_or(|since| since.elapsed() < ELECTION) {
            return Ok(());
        }
        let message = format!("cannot execute {command}: the cluster has no primary at the moment");
        Err(Error::new(SqlState::CannotConnectNow, message)
            .detail("No node has the votes of a majority of the voters.")
            .hint("Writes go on by themselves when enough voters are back; lockstep_nodes shows who is missing. If they are gone for good, see lockstep force-primary."))
    }

    /// Whether this node may take writes.
    pub fn is_primary(&self) -> bool {
        self.sequencer.primary_reign().is_some()
    }

    pub(crate) fn log(&self) -> Result<&Arc<dyn CommitLog>> {
        self.log.get().ok_or_else(|| Error::new(SqlState::CannotConnectNow, "the database system is starting up"))
    }

    pub(crate) fn next_id(&self) -> TxnId {
        TxnId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits until the commit at `ts`, which was seen sequenced in `reign`, is applied.
    pub(crate) async fn wait_applied(&self, ts: CommitTs, reign: Reign) -> Result<()> {
        let applied = || self.storage.snapshots.watermark() >= ts;
        while !applied() {
            if self.sequencer.reign() != reign {
                return Err(Error::leadership_lost());
            }
            match self.sequencer.wait(ts, applied) {
                None => return Ok(()),
                Some(woken) => {
                    if woken.await.is_err() && !applied() {
                        return Err(Error::leadership_lost());
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn set_out_of_service(&self, reason: Option<String>) {
        *self.out_of_service.write() = reason;
    }

    /// 57P03 while the state here is not to be trusted.
    pub(crate) fn check_in_service(&self) -> Result<()> {
        match &*self.out_of_service.read() {
            None => Ok(()),
            Some(reason) => {
                Err(Error::new(SqlState::CannotConnectNow, "this node is out of service: its data have diverged")
                    .detail(format!("Compared with the other nodes, {reason}."))
                    .hint("It is being rebuilt from the primary. Connect to another node meanwhile."))
            }
        }
    }

    /// Everything that anybody saw acknowledged before the call is applied here afterwards.
    pub async fn read_barrier(&self) -> Result<()> {
        let log = self.log()?;
        if log.read_barrier_is_free() {
            return Ok(());
        }
        log.read_barrier().await.map_err(|e| {
            let message = match e {
                ReadError::Stopping => "the database system is shutting down".to_owned(),
                other => format!("cannot read the latest state: {other}"),
            };
            Error::new(SqlState::CannotConnectNow, message)
                .hint("The cluster has no primary that this node can reach at the moment.")
        })
    }

    /// What a client is told of a record that the log did not accept or lost sight of.
    pub(crate) fn append_failed(&self, error: AppendError, reign: Reign) -> Error {
        match error {
            AppendError::NotPrimary { .. } => {
                self.sequencer.depose(reign);
                Error::leadership_lost()
            }
            AppendError::TooLarge { limit, .. } => {
                Error::new(SqlState::ProgramLimitExceeded, "a change is too large for the log")
                    .detail(format!("A record of the log holds at most {limit} bytes."))
            }
            AppendError::Unknown(why) => outcome_unknown(&why),
        }
    }
}
