//! The sequencer: the one place where commits get their order. Under one mutex it checks the reign and what a
//! SERIALIZABLE transaction read, gives the timestamp, appends the record, publishes pending rows and frees locks.
//!
//! Invariants:
//! 1. Timestamps grow in log order, over reigns too.
//! 2. A record is appended only under the epoch that this node reigns in, by a transaction that began its writing in it.
//! 3. What is sequenced is visible to lockers (pending, or still locked) until it is applied or the reign ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::locks::{LockKey, Locks, Pending, TxnId};
use super::reads::{Commits, ReadSet};
use crate::catalog::Oid;
use crate::commit_log::{Appended, CommitLog, Epoch, GroupId};
use crate::error::{Error, Result, SqlState};
use crate::record::{Header, Kind, RecordWriter, Sealed};
use crate::seeded;
use crate::storage::{CommitTs, RowKey};

/// Number of times that this node's role changed: one reign of one epoch, or a time as standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reign(pub u64);

#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    state: Mutex<State>,
    /// Mirrors of the state for readers that need no order.
    reign: AtomicU64,
    primary: AtomicU64,
    /// Who waits until a commit is applied.
    progress: Mutex<Vec<(CommitTs, oneshot::Sender<()>)>>,
}

#[derive(Debug, Default)]
struct State {
    epoch: Option<Epoch>,
    reign: Reign,
    last: CommitTs,
    /// Last commit of this reign that wrote to a table.
    written: HashMap<Oid, CommitTs>,
    /// Last commit that wrote to it without publishing its rows.
    written_in_bulk: HashMap<Oid, CommitTs>,
    /// What was applied when the reign began: of commits before it nothing is known.
    floor: CommitTs,
    unapplied: VecDeque<Unapplied>,
}

/// What to undo in the lock table when a commit is applied.
#[derive(Debug)]
struct Unapplied {
    ts: CommitTs,
    /// Rows and unique keys that were published, and locks of which it is remembered that they were let go.
    pending: Vec<LockKey>,
    /// Tables whose rows were not.
    in_bulk: Vec<Oid>,
    retained: Option<(TxnId, Vec<LockKey>)>,
}

/// A commit ready to be sequenced.
pub(crate) struct Commit {
    pub txn: TxnId,
    pub reign: Reign,
    pub record: Sealed,
    pub parts: u32,
    pub schema_version: u64,
    /// Tables that it writes.
    pub tables: Vec<Oid>,
    /// Rows and unique keys to publish. Empty with `retain`.
    pub publish: Vec<(LockKey, Pending)>,
    /// Locks to let go.
    pub release: Vec<LockKey>,
    /// Too big to publish: keep all locks until it is applied.
    pub retain: bool,
    /// For SERIALIZABLE: what was read, at which snapshot.
    pub reads: Option<(ReadSet, CommitTs)>,
    /// Who is to hear that the record is on this node's disk.
    pub local: Option<oneshot::Sender<()>>,
}

impl Sequencer {
    pub fn reign(&self) -> Reign {
        Reign(self.reign.load(Ordering::Acquire))
    }

    /// The reign, if this node is the primary.
    pub fn primary_reign(&self) -> Option<Reign> {
        let reign = self.reign();
        (self.primary.load(Ordering::Acquire) == reign.0 && reign.0 > 0).then_some(reign)
    }

    /// Last commit of this reign that wrote to a table; 0 if there is none.
    pub fn last_write(&self, table: Oid) -> CommitTs {
        self.state.lock().written.get(&table).copied().unwrap_or_default()
    }

    /// The newest commit that is sequenced and not applied here: a standby may show it already. 0: there is none.
    pub fn newest_unapplied(&self) -> CommitTs {
        self.state.lock().unapplied.back().map_or(CommitTs(0), |commit| commit.ts)
    }

    /// Sequences a commit.
    pub fn commit(&self, commit: Commit, locks: &Locks, log: &dyn CommitLog) -> Result<(CommitTs, Appended)> {
        let mut state = self.state.lock();
        let epoch = state.epoch(commit.reign)?;
        check_space(log)?;
        if let Some((reads, snapshot)) = &commit.reads
            && !seeded::no_validation()
        {
            state.validate(reads, *snapshot, locks)?;
        }
        let ts = state.tick();
        let header = Header {
            kind: Kind::Commit,
            epoch,
            ts,
            transaction: commit.txn.0,
            group: GroupId::FIRST,
            part: commit.parts,
            schema_version: commit.schema_version,
        };
        let appended = log.append_telling(epoch, commit.record.finish(&header), commit.local);
        for table in &commit.tables {
            state.written.insert(*table, ts);
            if commit.retain {
                state.written_in_bulk.insert(*table, ts);
            }
        }
        let in_bulk = if commit.retain { commit.tables } else { Vec::new() };
        let mut unapplied =
            Unapplied { ts, pending: Vec::with_capacity(commit.publish.len()), in_bulk, retained: None };
        if commit.retain {
            let all = commit.publish.into_iter().map(|(key, _)| key).chain(commit.release);
            unapplied.retained = Some((commit.txn, all.collect()));
        } else {
            for (key, pending) in commit.publish {
                if seeded::locks_freed_early() {
                    locks.release(&key, commit.txn);
                    continue;
                }
                locks.publish(&key, commit.txn, ts, pending);
                unapplied.pending.push(key);
            }
            unapplied.pending.extend(commit.release.into_iter().filter(|key| locks.let_go(key, commit.txn, ts)));
        }
        state.unapplied.push_back(unapplied);
        Ok((ts, appended))
    }

    /// Appends a part of a big transaction, whose commit record will follow.
    pub fn part(&self, txn: TxnId, reign: Reign, part: u32, record: Sealed, log: &dyn CommitLog) -> Result<Appended> {
        let mut state = self.state.lock();
        let epoch = state.epoch(reign)?;
        check_space(log)?;
        let ts = state.tick();
        let header =
            Header { kind: Kind::Part, epoch, ts, transaction: txn.0, group: GroupId::FIRST, part, schema_version: 0 };
        Ok(log.append(epoch, record.finish(&header)))
    }

    /// Appends that the commit record of these parts will not come. Nobody waits for it: should it be lost, the reign is
    /// over, and with it the parts are forgotten as well.
    pub fn forget_parts(&self, txn: TxnId, reign: Reign, log: &dyn CommitLog) {
        let mut state = self.state.lock();
        let Ok(epoch) = state.epoch(reign) else { return };
        let ts = state.tick();
        let (kind, group) = (Kind::Forget, GroupId::FIRST);
        let header = Header { kind, epoch, ts, transaction: txn.0, group, part: 0, schema_version: 0 };
        drop(log.append(epoch, RecordWriter::default().seal().finish(&header)));
    }

    /// Appends a check for divergence: every node digests its state where it stands.
    pub fn check(&self, reign: Reign, log: &dyn CommitLog) -> Result<(CommitTs, Appended)> {
        let mut state = self.state.lock();
        let epoch = state.epoch(reign)?;
        check_space(log)?;
        let ts = state.tick();
        let (kind, group) = (Kind::Check, GroupId::FIRST);
        let header = Header { kind, epoch, ts, transaction: 0, group, part: 0, schema_version: 0 };
        Ok((ts, log.append(epoch, RecordWriter::default().seal().finish(&header))))
    }

    /// Takes a timestamp whose last `bits` are 0 out of those of commits: earlier ones have less above these bits, later ones
    /// no less.
    pub fn reserve(&self, bits: u32) -> Result<CommitTs> {
        let mut state = self.state.lock();
        if state.epoch.is_none() {
            let message = "cannot execute pg_current_xact_id() during recovery";
            return Err(Error::new(SqlState::ReadOnlySqlTransaction, message));
        }
        let ts = state.tick();
        state.last = CommitTs(((ts.0 >> bits) + 1) << bits);
        Ok(state.last)
    }

    /// The applier installed everything up to `ts`.
    pub fn applied(&self, ts: CommitTs, locks: &Locks) {
        let mut done = Vec::new();
        {
            let mut state = self.state.lock();
            state.last = state.last.max(ts);
            while state.unapplied.front().is_some_and(|u| u.ts <= ts) {
                done.extend(state.unapplied.pop_front());
            }
        }
        for unapplied in done {
            unapplied.pending.iter().for_each(|key| locks.applied(key, unapplied.ts));
            if let Some((txn, keys)) = unapplied.retained {
                keys.iter().for_each(|key| locks.release(key, txn));
            }
        }
        let mut progress = self.progress.lock();
        if !progress.is_empty() {
            for (_, wake) in progress.extract_if(.., |(wanted, _)| *wanted <= ts) {
                let _ = wake.send(());
            }
        }
    }

    /// Resolves when `ts` is applied; `None`: it is already. An error of the receiver: the reign is over.
    pub fn wait(&self, ts: CommitTs, is_applied: impl Fn() -> bool) -> Option<oneshot::Receiver<()>> {
        let mut progress = self.progress.lock();
        if is_applied() {
            return None;
        }
        let (wake, woken) = oneshot::channel();
        progress.push((ts, wake));
        Some(woken)
    }

    /// Lets everybody who waits look again.
    pub fn wake_all(&self) {
        self.progress.lock().clear();
    }

    /// A new role. Whatever was pending or locked under the old one means nothing any more.
    pub fn set_role(&self, epoch: Option<Epoch>, applied: CommitTs, locks: &Locks) {
        let mut state = self.state.lock();
        let reign = Reign(state.reign.0 + 1);
        let last = state.last.max(applied);
        let floor = if seeded::floor_forgotten() { CommitTs(0) } else { applied };
        *state = State { epoch, reign, last, floor, ..State::default() };
        // Nobody takes part in the new reign before the locks of the old one are gone: what it locked would go with them, and
        // a second one would have the same row.
        self.primary.store(0, Ordering::Release);
        self.reign.store(reign.0, Ordering::Release);
        locks.clear();
        self.progress.lock().clear();
        self.primary.store(if epoch.is_some() { reign.0 } else { 0 }, Ordering::Release);
    }

    /// The log refused a record of this reign: no more are tried until the role is set anew.
    pub fn depose(&self, reign: Reign) {
        let mut state = self.state.lock();
        if state.reign == reign {
            state.epoch = None;
            self.primary.store(0, Ordering::Release);
        }
    }
}

/// 53100 while the log cannot grow: asked before anything is sequenced, so that nobody builds on what is refused.
fn check_space(log: &dyn CommitLog) -> Result<()> {
    match log.is_full() {
        false => Ok(()),
        true => Err(Error::new(SqlState::DiskFull, "could not extend the log: No space left on device")
            .hint("Check free disk space.")),
    }
}

impl State {
    fn epoch(&self, reign: Reign) -> Result<Epoch> {
        self.epoch
            .filter(|_| self.reign == reign || seeded::lock_of_an_older_reign())
            .ok_or_else(Error::leadership_lost)
    }

    /// The next timestamp: wall clock in microseconds over 12 bits of counting, never going back.
    fn tick(&mut self) -> CommitTs {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
        let next = if seeded::clock_goes_back() { 0 } else { self.last.0 + 1 };
        self.last = CommitTs((now << 12).max(next));
        self.last
    }

    fn validate(&self, reads: &ReadSet, snapshot: CommitTs, locks: &Locks) -> Result<()> {
        let changed = self.floor > snapshot || reads.changed_since(snapshot, self, locks);
        if !changed {
            return Ok(());
        }
        Err(Error::new(
            SqlState::SerializationFailure,
            "could not serialize access due to read/write dependencies among transactions",
        )
        .detail("A row or table that was read has changed since the transaction's snapshot.")
        .hint("The transaction might succeed if retried."))
    }
}

impl Commits for State {
    fn written(&self, table: Oid) -> CommitTs {
        self.written.get(&table).copied().unwrap_or_default()
    }

    fn written_in_bulk(&self, table: Oid) -> CommitTs {
        self.written_in_bulk.get(&table).copied().unwrap_or_default()
    }

    fn unapplied(&self, table: Oid, matches: &dyn Fn(&RowKey) -> bool) -> bool {
        let row = |key: &LockKey| matches!(key, LockKey::Row(of, row) if *of == table && matches(row));
        self.unapplied.iter().any(|commit| commit.in_bulk.contains(&table) || commit.pending.iter().any(row))
    }
}
