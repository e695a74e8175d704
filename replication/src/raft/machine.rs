//! The engine's state machine as openraft drives it, and the gate through which everything passes that must not
//! overlap: apply, restore, the beginning of a checkpoint, and changes of role.
//!
//! Invariants:
//! 1. The engine is primary of an epoch of term T only from a moment at which an entry of T was applied here, until
//!    an entry of another term is, leadership is lost, or no quorum answers, whichever comes first.
//! 2. Small records are applied on the runtime's thread, with a yield now and then; large ones, and those of which the
//!    engine says that they take long, on another thread, so that heartbeats go on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::commit_log::{
    CheckpointError, CheckpointFigures, DigestAnswer, Epoch, LogPosition, NodeId, Record, Role, SharedStateMachine,
};
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{Mutex, Notify, watch};
use tracing::{error, info};

use super::checkpoints::{CheckpointMeta, Checkpoints, StoredCheckpoint, Unpublished};
use super::in_flight::InFlight;
use super::types::{self, LogId, Records, SnapshotMeta, StoredMembership, TypeConfig};
use crate::backup::archiver::Progress;
use crate::blocking::blocking;
use crate::wal::GroupLog;
use crate::{Fatal, FatalHandler, seeded};

/// Records from this size on are applied on another thread.
const LARGE_RECORD: usize = 64 << 10;
/// Longest time that applying keeps the runtime's thread for itself.
const SLICE: Duration = Duration::from_millis(2);
/// Bytes of the log that are read in one step when it is applied again.
const REPLAY_BYTES: u64 = 16 << 20;

/// The part of the log's next limit before which a checkpoint that is spread has to be there.
const SPREAD_LOG: f64 = 0.9;

/// When checkpoints are written, and over what: log after which one is due, time at most.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub log_bytes: u64,
    pub time: Duration,
}

impl Spread {
    /// The share of a checkpoint that should be there, of 0 to 1 and beyond, so long and so much log after it began.
    fn due(&self, after: Duration, log: u64) -> f64 {
        if self.time.is_zero() {
            return 1.0;
        }
        let by_log = log as f64 / (self.log_bytes as f64 * SPREAD_LOG);
        by_log.max(after.as_secs_f64() / self.time.as_secs_f64())
    }
}

/// When a checkpoint has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Somebody waits for it.
    Now,
    /// Before the next one, so that commits hardly notice.
    BeforeNext,
}

/// How far this node has applied the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    pub index: Option<u64>,
    pub term: u64,
    pub position: LogPosition,
}

struct State {
    applied: Option<LogId>,
    position: LogPosition,
    membership: StoredMembership,
    role: Option<Role>,
    /// The engine's state is not that of the log: it is not given any more until it is replaced.
    stale: bool,
}

/// Shared by openraft's worker, the watcher of roles, and the writer of checkpoints.
pub struct Machine {
    engine: SharedStateMachine,
    pub checkpoints: Checkpoints,
    gate: Mutex<State>,
    applied: watch::Sender<Applied>,
    /// The members as of the last applied entry, for those who may not wait.
    membership: parking_lot::Mutex<Arc<StoredMembership>>,
    /// Epoch in which this node is primary; 0: it is not.
    reign: AtomicU64,
    /// Signals the first entry of a new term.
    pub term_begun: Notify,
    /// Bytes applied since the start, and how many of them the newest checkpoint has.
    applied_bytes: AtomicU64,
    checkpoint_bytes: AtomicU64,
    /// Signals that their difference passed the limit.
    pub checkpoint_due: Notify,
    spread: Spread,
    /// Checkpoints that somebody waits for.
    awaited: AtomicUsize,
    pub in_flight: Arc<InFlight>,
    /// Why the state is not to be trusted: it was found to differ from that of the others.
    diverged: parking_lot::Mutex<Option<String>>,
    /// Signals that it was.
    pub condemned: Notify,
    /// What was archived of the log.
    pub archive: Progress,
    on_fatal: FatalHandler,
}

impl Machine {
    /// Restores the newest checkpoint into the engine. Blocks.
    pub fn new(
        engine: SharedStateMachine,
        checkpoints: Checkpoints,
        spread: Spread,
        on_fatal: FatalHandler,
    ) -> Result<Self, CheckpointError> {
        let mut state = State {
            applied: None,
            position: LogPosition(0),
            membership: StoredMembership::default(),
            role: None,
            stale: false,
        };
        if let Some(current) = checkpoints.current() {
            engine.restore(&current.state())?;
            state.applied = current.meta.last.map(types::log_id);
            state.position = current.meta.position;
            state.membership = current.meta.membership.clone();
        }
        let machine = Self {
            engine,
            checkpoints,
            applied: watch::Sender::new(Applied::default()),
            membership: parking_lot::Mutex::new(Arc::new(state.membership.clone())),
            gate: Mutex::new(state),
            reign: AtomicU64::new(0),
            term_begun: Notify::new(),
            applied_bytes: AtomicU64::new(0),
            checkpoint_bytes: AtomicU64::new(0),
            checkpoint_due: Notify::new(),
            spread,
            awaited: AtomicUsize::new(0),
            in_flight: Arc::default(),
            diverged: parking_lot::Mutex::default(),
            condemned: Notify::new(),
            archive: Progress::default(),
            on_fatal,
        };
        if let Ok(state) = machine.gate.try_lock() {
            machine.announce(&state);
        }
        Ok(machine)
    }

    /// What was agreed on is known from here on; of data that may be lost the log tells as soon as this node hears of it.
    fn learn_membership(&self, membership: &StoredMembership) {
        let epochs = |membership: &StoredMembership| membership.nodes().map(|(_, node)| node.kept.forced.len()).max();
        let before = std::mem::replace(&mut *self.membership.lock(), Arc::new(membership.clone()));
        if epochs(membership) > epochs(&before) && epochs(membership) > Some(0) {
            self.tell_of_data_loss();
        }
    }

    /// A cluster that was forced to go on without some of its voters says so whenever a node starts.
    pub fn tell_of_data_loss(&self) {
        for (_, node) in self.membership().nodes() {
            for forced in &node.kept.forced {
                let (term, node, given_up) = (forced.term, &forced.node, &forced.given_up);
                error!(
                    term,
                    node,
                    ?given_up,
                    "DATA LOSS POSSIBLE: in this term a node was forced to go on without others"
                );
            }
        }
    }

    /// The members that were agreed on.
    pub fn membership(&self) -> Arc<StoredMembership> {
        self.membership.lock().clone()
    }

    pub fn watch_applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    pub fn applied(&self) -> Applied {
        *self.applied.borrow()
    }

    /// Epoch in which this node is primary and may sequence.
    pub fn reign(&self) -> Option<Epoch> {
        Some(Epoch(self.reign.load(Ordering::Acquire))).filter(|epoch| epoch.0 != 0)
    }

    fn announce(&self, state: &State) {
        let applied = Applied {
            index: state.applied.as_ref().map(|id| id.index),
            term: state.applied.as_ref().map_or(0, |id| **id.committed_leader_id()),
            position: state.position,
        };
        self.applied.send_replace(applied);
    }

    /// Makes the engine primary when everything that may belong to earlier epochs has been applied here: the entries
    /// up to `settled`, the last of which is of the epoch's term. False: not yet.
    pub async fn promote(&self, epoch: Epoch, settled: LogId) -> bool {
        let mut state = self.gate.lock().await;
        let term = types::term_of(epoch);
        let applied = state.applied.filter(|id| **id.committed_leader_id() == term);
        let early = seeded::promoted_too_early();
        let behind = applied.is_none_or(|applied| applied.index < settled.index) && !early;
        if behind || self.diverged().is_some() {
            return false;
        }
        info!(term, epoch = epoch.0, "this node is the primary");
        let role = Role::Primary { epoch };
        self.engine.set_role(role);
        state.role = Some(role);
        self.reign.store(epoch.0, Ordering::Release);
        true
    }

    /// Makes the engine a standby at once; what is on its way ends as unknown.
    pub async fn demote(&self, primary: Option<NodeId>) {
        // Stop sequencing before waiting for the gate.
        self.reign.store(0, Ordering::Release);
        self.in_flight.abandon("the primary lost its leadership");
        let mut state = self.gate.lock().await;
        self.demote_within(&mut state, primary);
    }

    fn demote_within(&self, state: &mut State, primary: Option<NodeId>) {
        let role = Role::Standby { primary };
        if state.role == Some(role) {
            return;
        }
        if matches!(state.role, Some(Role::Primary { .. })) {
            info!(?primary, "this node is no longer the primary");
        }
        self.reign.store(0, Ordering::Release);
        self.in_flight.abandon("the primary lost its leadership");
        self.engine.set_role(role);
        state.role = Some(role);
    }

    /// The digest of the engine's state at a check.
    pub fn digest(&self, check: u64) -> DigestAnswer {
        match self.diverged() {
            None => self.engine.digest(check),
            Some(_) => DigestAnswer::Unknown("its state has diverged and is being rebuilt".to_owned()),
        }
    }

    /// Why the state is not to be trusted.
    pub fn diverged(&self) -> Option<String> {
        self.diverged.lock().clone()
    }

    /// The state differs from that of the others, whose digest at a check is `reference`: takes the node out of service,
    /// to be rebuilt. The error is a sentence.
    pub async fn condemn(&self, check: u64, reference: &[u8], reason: String) -> Result<(), String> {
        match self.digest(check) {
            DigestAnswer::Ready(own) if own == reference => return Err("this node has that digest".to_owned()),
            DigestAnswer::Ready(_) => {}
            _ => return Err("this node has no digest at that check".to_owned()),
        }
        error!("DIVERGED: {reason}. This node is out of service until it is rebuilt from the primary");
        self.engine.set_out_of_service(Some(reason.clone()));
        *self.diverged.lock() = Some(reason);
        if let Some(current) = self.checkpoints.current() {
            current.discredit();
        }
        self.demote(None).await;
        self.gate.lock().await.stale = true;
        self.condemned.notify_one();
        Ok(())
    }

    /// The state is that of the others again.
    pub fn reinstate(&self) {
        *self.diverged.lock() = None;
        self.engine.set_out_of_service(None);
    }

    /// Replaces a state that has diverged by another node's checkpoint and what the log has behind that. The error is a
    /// sentence.
    pub async fn replace(
        self: &Arc<Self>,
        incoming: Unpublished,
        meta: CheckpointMeta,
        log: &GroupLog,
    ) -> Result<(), String> {
        let last = meta.last.ok_or("the primary's checkpoint holds nothing")?;
        let mut applied = self.watch_applied();
        let reached = applied.wait_for(|applied| applied.index.is_some_and(|index| index >= last.index)).await;
        reached.map_err(|_| "the node is stopping".to_owned())?;
        let mut state = self.gate.lock().await;
        let upto = state.applied.as_ref().map_or(last.index, |applied| applied.index);
        let (machine, log) = (self.clone(), log.clone());
        let replaced = blocking(move || {
            machine.engine.verify(&incoming.state()).map_err(|error| error.to_string())?;
            machine.engine.restore(&incoming.state()).map_err(|error| error.to_string())?;
            machine.apply_again(&log, last.index + 1..upto + 1)
        });
        replaced.await.map_err(|error| error.to_string())??;
        state.stale = false;
        Ok(())
    }

    /// Gives the engine entries that were applied before. Blocks.
    fn apply_again(&self, log: &GroupLog, mut range: std::ops::Range<u64>) -> Result<(), String> {
        while !range.is_empty() {
            let entries = log.span(range.clone(), REPLAY_BYTES).load().map_err(|error| error.to_string())?;
            if entries.first().is_none_or(|entry| entry.id.index != range.start) {
                return Err(format!("entry {} is not in the log any more", range.start));
            }
            for entry in entries {
                let index = entry.id.index;
                match types::from_log_entry(entry).map_err(|error| error.to_string())?.payload {
                    EntryPayload::Normal(records) => {
                        for (i, record) in records.unpack().unwrap_or_default().iter().enumerate() {
                            self.guarded(|engine| engine.apply(types::position(index, i), record))
                                .map_err(|error| error.to_string())?;
                        }
                    }
                    _ => self
                        .guarded(|engine| engine.advance(types::position(index, 0)))
                        .map_err(|error| error.to_string())?,
                }
                range.start = index + 1;
            }
        }
        Ok(())
    }

    /// Bytes of log that the newest checkpoint lacks.
    fn since_checkpoint(&self) -> u64 {
        let applied = self.applied_bytes.load(Ordering::Relaxed);
        applied.saturating_sub(self.checkpoint_bytes.load(Ordering::Relaxed))
    }

    /// Enough was applied since the newest checkpoint.
    pub fn is_checkpoint_due(&self) -> bool {
        self.since_checkpoint() >= self.spread.log_bytes
    }

    /// Writes a checkpoint of the present state and publishes it, unless the newest one is as new.
    pub async fn checkpoint(self: &Arc<Self>, due: Due) -> Result<Arc<StoredCheckpoint>, CheckpointError> {
        let _awaited = (due == Due::Now).then(|| Awaited::new(self.clone()));
        let (checkpoint, meta, bytes) = {
            let state = self.gate.lock().await;
            if state.stale {
                return Err(CheckpointError::Io(io::Error::other("the state of this node has diverged")));
            }
            let last = state.applied.as_ref().map(types::entry_id);
            let is_new = |current: &Arc<StoredCheckpoint>| current.meta.last >= last && !current.is_damaged();
            if let Some(current) = self.checkpoints.current().filter(is_new) {
                return Ok(current);
            }
            let mut meta = CheckpointMeta { last, membership: state.membership.clone(), position: state.position };
            if let Some(last) = &mut meta.last
                && seeded::checkpoint_too_old()
            {
                last.index = last.index.saturating_sub(1);
            }
            (self.engine.begin_checkpoint(), meta, self.applied_bytes.load(Ordering::Relaxed))
        };
        let meta = match seeded::purge_beyond_checkpoint() {
            true => self.later(meta).await,
            false => meta,
        };
        let (machine, writing) = (self.clone(), self.checkpoints.meter.begin());
        let begun = Instant::now();
        let write = move || machine.checkpoints.write(checkpoint, meta, &|| machine.due(begun, bytes));
        let written = blocking(write).await;
        let written = written.unwrap_or_else(|e| Err(CheckpointError::Io(io::Error::other(e))));
        writing.end(&written);
        let stored = written?;
        self.checkpoint_bytes.fetch_max(bytes, Ordering::Relaxed);
        info!(last = ?stored.meta.last, "checkpoint written");
        Ok(stored)
    }

    /// The share that should be there of a checkpoint that began then, after so many bytes of log: all, as soon as
    /// somebody waits for one, or when a newer one is there and this one is in the way of the next.
    fn due(&self, begun: Instant, bytes: u64) -> f64 {
        if self.awaited.load(Ordering::Relaxed) > 0 || self.checkpoint_bytes.load(Ordering::Relaxed) > bytes {
            return 1.0;
        }
        self.spread.due(begun.elapsed(), self.applied_bytes.load(Ordering::Relaxed).saturating_sub(bytes))
    }

    /// Only for the seeded bug: what a checkpoint would say if it were written some time later.
    async fn later(&self, meta: CheckpointMeta) -> CheckpointMeta {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let state = self.gate.lock().await;
        CheckpointMeta { last: state.applied.as_ref().map(types::entry_id), position: state.position, ..meta }
    }

    /// The checkpoints as the views show them.
    pub fn checkpoint_figures(&self) -> CheckpointFigures {
        let current = self.checkpoints.current();
        CheckpointFigures {
            position: current.as_ref().map_or(LogPosition(0), |current| current.meta.position),
            damaged: current.is_some_and(|current| current.is_damaged()),
            log_bytes_since: self.since_checkpoint(),
            log_bytes_due: self.spread.log_bytes,
            ..self.checkpoints.meter.read()
        }
    }

    /// Checks a checkpoint that arrived. Blocks.
    pub fn verify(&self, state: &Path) -> Result<(), CheckpointError> {
        self.engine.verify(state)
    }

    async fn apply_records(&self, index: u64, records: &Records) -> io::Result<LogPosition> {
        let unpacked =
            records.unpack().ok_or_else(|| io::Error::other(format!("the records of entry {index} cannot be read")))?;
        let mut last = types::position(index, 0);
        let count = unpacked.len();
        for (i, record) in unpacked.into_iter().enumerate() {
            last = types::position(index, i);
            if seeded::record_left_out() && count > 1 && i + 1 == count {
                continue;
            }
            if record.len() < LARGE_RECORD && !self.engine.takes_long(&record) {
                self.guarded(|engine| engine.apply(last, &record))?;
            } else {
                self.apply_elsewhere(last, record).await?;
            }
        }
        Ok(last)
    }

    async fn apply_elsewhere(&self, position: LogPosition, record: Record) -> io::Result<()> {
        let engine = self.engine.clone();
        let applied = blocking(move || engine.apply(position, &record)).await;
        applied.map_err(|e| self.panicked(&e.to_string()))
    }

    /// A panic of the engine while it changes its state leaves that state in doubt: the process has to end.
    fn guarded(&self, act: impl FnOnce(&SharedStateMachine)) -> io::Result<()> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&self.engine)))
            .map_err(|_| self.panicked("the engine panicked"))
    }

    fn panicked(&self, reason: &str) -> io::Error {
        let reason = format!("a committed record could not be applied: {reason}");
        error!("{reason}");
        (self.on_fatal)(Fatal(reason.clone()));
        io::Error::other(reason)
    }
}

/// Somebody waits for a checkpoint for the life of this.
struct Awaited(Arc<Machine>);

impl Awaited {
    fn new(machine: Arc<Machine>) -> Self {
        machine.awaited.fetch_add(1, Ordering::Relaxed);
        Self(machine)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Content of a snapshot for openraft: a published checkpoint to send, or a received directory to install.
pub enum SnapshotData {
    Stored(Arc<StoredCheckpoint>),
    Received(Unpublished, LogPosition),
}

/// A checkpoint of another directory, brought into this one.
fn copy(checkpoints: &Checkpoints, stored: &StoredCheckpoint) -> io::Result<Unpublished> {
    let unpublished = checkpoints.unpublished("incoming")?;
    for entry in std::fs::read_dir(stored.state())? {
        let entry = entry?;
        let target = unpublished.state().join(entry.file_name());
        std::fs::copy(entry.path(), &target)?;
        std::fs::File::open(target)?.sync_all()?;
    }
    Ok(unpublished)
}

/// The handle that openraft owns.
pub struct MachineHandle(pub Arc<Machine>);

/// Hands openraft the checkpoint that [`Machine::checkpoint`] wrote.
pub struct Builder(Arc<StoredCheckpoint>);

fn snapshot(stored: Arc<StoredCheckpoint>) -> Snapshot<types::CommittedLeader, u64, types::PeerNode, SnapshotData> {
    Snapshot { meta: stored.meta.snapshot_meta(), snapshot: SnapshotData::Stored(stored) }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        Ok(snapshot(self.0.clone()))
    }
}

impl RaftStateMachine<TypeConfig> for MachineHandle {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.0.gate.lock().await;
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let machine = &self.0;
        let mut state = machine.gate.lock().await;
        let mut slice = Instant::now();
        let mut bytes = 0;
        while let Some((entry, responder)) = entries.try_next().await? {
            let (index, term) = (entry.log_id.index, **entry.log_id.committed_leader_id());
            let begun = state.applied.as_ref().is_none_or(|id| **id.committed_leader_id() != term);
            if begun && machine.reign().is_some_and(|reign| types::term_of(reign) != term) {
                machine.demote_within(&mut state, None);
            }
            if seeded::applied_announced_early() {
                state.applied = Some(entry.log_id);
                machine.announce(&state);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            match entry.payload {
                EntryPayload::Normal(records) => {
                    state.position = match state.stale {
                        false => machine.apply_records(index, &records).await?,
                        true => types::position(index, records.unpack().map_or(0, |all| all.len().saturating_sub(1))),
                    };
                    bytes += records.len() as u64;
                }
                other => {
                    state.position = types::position(index, 0);
                    if !state.stale {
                        machine.guarded(|engine| engine.advance(state.position))?;
                    }
                    if let EntryPayload::Membership(membership) = other {
                        state.membership = StoredMembership::new(Some(entry.log_id), membership);
                        machine.learn_membership(&state.membership);
                    }
                }
            }
            state.applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(());
            }
            if begun {
                machine.announce(&state);
                machine.term_begun.notify_one();
            }
            if slice.elapsed() > SLICE {
                machine.announce(&state);
                tokio::task::yield_now().await;
                slice = Instant::now();
            }
        }
        machine.announce(&state);
        machine.applied_bytes.fetch_add(bytes, Ordering::Relaxed);
        if machine.is_checkpoint_due() {
            machine.checkpoint_due.notify_one();
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        if force {
            return Some(self.get_snapshot_builder().await);
        }
        self.0.checkpoints.current().map(Builder)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        loop {
            match self.0.checkpoint(Due::Now).await {
                Ok(stored) => return Builder(stored),
                Err(error) => {
                    error!("a checkpoint is needed and cannot be written: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let machine = self.0.clone();
        let mut state = machine.gate.lock().await;
        let Some(last) = meta.last_log_id else {
            return Err(io::Error::other("a snapshot of nothing"));
        };
        machine.demote_within(&mut state, None);
        let (engine, worker) = (machine.engine.clone(), machine.clone());
        let last_membership = meta.last_membership.clone();
        let restored = blocking(move || {
            let (unpublished, position) = match snapshot {
                SnapshotData::Received(unpublished, position) => (unpublished, position),
                SnapshotData::Stored(stored) => (copy(&worker.checkpoints, &stored)?, stored.meta.position),
            };
            if !seeded::install_without_restore() {
                engine.restore(&unpublished.state())?;
            }
            let last = Some(types::entry_id(&last));
            let meta = CheckpointMeta { last, membership: last_membership, position };
            worker.checkpoints.publish(unpublished, meta)?;
            Ok::<_, CheckpointError>(position)
        });
        state.position = restored.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        state.stale = false;
        state.applied = Some(last);
        state.membership = meta.last_membership.clone();
        machine.learn_membership(&state.membership);
        machine.checkpoint_bytes.store(machine.applied_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        machine.announce(&state);
        info!(index = last.index, "installed a checkpoint from the primary");
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        Ok(self.0.checkpoints.current().map(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_by_its_time_or_before_the_log_asks_for_the_next() {
        let spread = Spread { log_bytes: 1000, time: Duration::from_secs(100) };
        let due = |seconds, log| (spread.due(Duration::from_secs(seconds), log) * 100.0).round();
        assert_eq!((due(0, 0), due(50, 0), due(100, 0)), (0.0, 50.0, 100.0));
        assert_eq!((due(0, 450), due(10, 900), due(60, 450)), (50.0, 100.0, 60.0));
        let at_once = Spread { time: Duration::ZERO, ..spread };
        assert_eq!(at_once.due(Duration::ZERO, 0), 1.0);
    }
}
