//! Locks: rows, unique keys, tables and advisory locks, on the primary only; and with each row's or unique key's lock
//! its *pending* state: sequenced, not applied yet.
//!
//! Owns who holds and who waits for what; knows nothing of storage. Waiting is a future; nobody's thread blocks.
//!
//! Invariants:
//! 1. Two holders of one entry have compatible modes, unless they are the same transaction.
//! 2. Waiters are served first come, first served; only one that strengthens its own lock passes the others.
//! 3. A wait that would close a cycle fails with 40P01 before it begins: the last one to wait sees all others.
//! 4. An entry with neither holder, waiter nor pending state does not exist.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::session::Row;
use crate::session::registry::now_micros;
use crate::storage::layout::IndexKey;
use crate::storage::{CommitTs, RowKey};
use crate::system::LockRow;

/// Strength of a row lock (PostgreSQL manual, "Row-Level Locks"), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowLock {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

/// Mode of a table lock (PostgreSQL manual, "Table-Level Locks"), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableLock {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

/// What to do when a lock is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Block,
    /// 55P03 at once.
    NoWait,
    SkipLocked,
}

/// Modes of row locks are bits 0 to 3, of table locks bits 0 to 7, each in the order of its enum; an advisory lock is
/// [`RowLock::Share`] or [`RowLock::Update`].
type Modes = u8;

/// By mode: the modes that conflict with it.
const ROW_CONFLICTS: [Modes; 4] = [0b1000, 0b1100, 0b1110, 0b1111];
const TABLE_CONFLICTS: [Modes; 8] =
    [0b1000_0000, 0b1100_0000, 0b1111_0000, 0b1111_1000, 0b1110_1100, 0b1111_1100, 0b1111_1110, 0b1111_1111];

const TABLE_NAMES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// A transaction, for this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TxnId(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LockKey {
    Table(Oid),
    Row(Oid, RowKey),
    /// A key of a unique index.
    Unique(Oid, IndexKey),
    Advisory(i64),
}

/// What a sequenced commit made of a key.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// The row's new version; `None`: deleted.
    Row(Option<Arc<Row>>),
    /// The row that has the unique key; `None`: nobody has it any more.
    Owner(Option<RowKey>),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub txn: TxnId,
    pub process: i32,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Granted {
    Yes,
    /// [`Wait::SkipLocked`].
    No,
}

#[derive(Debug, Default)]
struct Entry {
    holders: SmallVec<[Holder; 2]>,
    waiters: VecDeque<Waiter>,
    pending: Option<(CommitTs, Pending)>,
}

#[derive(Debug)]
struct Holder {
    txn: TxnId,
    modes: Modes,
    process: i32,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    asker: Asker,
    mode: u8,
    /// When the wait began, microseconds since 1970.
    since: i64,
    wake: oneshot::Sender<()>,
}

const SHARDS: usize = 64;

/// The lock table.
#[derive(Debug)]
pub(crate) struct Locks {
    shards: Box<[Mutex<HashMap<LockKey, Entry>>]>,
    hasher: DefaultHashBuilder,
    next_waiter: AtomicU64,
    /// Who waits for what; also serialises the search for cycles.
    waiting: Mutex<HashMap<TxnId, (LockKey, u8, i32)>>,
}

impl Locks {
    pub fn new() -> Locks {
        Locks {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            next_waiter: AtomicU64::new(1),
            waiting: Mutex::default(),
        }
    }

    fn shard(&self, key: &LockKey) -> &Mutex<HashMap<LockKey, Entry>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[(hash >> 50) as usize % SHARDS]
    }

    /// Takes the lock if nobody has to wait for it. True: held.
    pub fn try_lock(&self, key: &LockKey, mode: u8, asker: Asker) -> bool {
        let mut shard = self.shard(key).lock();
        let entry = match shard.get_mut(key) {
            Some(entry) => entry,
            None => shard.entry(key.clone()).or_default(),
        };
        let granted = entry.is_free(key, mode, asker.txn);
        if granted {
            entry.grant(asker, mode);
        }
        granted
    }

    /// Takes the lock, waiting for it if need be. The caller lists `key` among what it holds before it calls: dropped
    /// while waiting, the future leaves at most a lock that ends with its transaction.
    pub async fn lock(
        &self,
        key: &LockKey,
        mode: u8,
        asker: Asker,
        wait: Wait,
        timeout: Option<Duration>,
        name: &str,
    ) -> Result<Granted> {
        if self.try_lock(key, mode, asker) {
            return Ok(Granted::Yes);
        }
        match wait {
            Wait::SkipLocked => return Ok(Granted::No),
            Wait::NoWait => {
                let what = match key {
                    LockKey::Table(_) => "relation",
                    _ => "row in relation",
                };
                let message = format!("could not obtain lock on {what} \"{name}\"");
                return Err(Error::new(SqlState::LockNotAvailable, message));
            }
            Wait::Block => {}
        }
        let Some((guard, woken)) = self.enqueue(key, mode, asker) else { return Ok(Granted::Yes) };
        self.check_deadlock(key, mode, asker, name)?;
        let woken = match timeout {
            None => woken.await,
            Some(limit) => tokio::time::timeout(limit, woken)
                .await
                .map_err(|_| Error::new(SqlState::LockNotAvailable, "canceling statement due to lock timeout"))?,
        };
        drop(guard);
        match woken {
            Ok(()) => Ok(Granted::Yes),
            Err(_) => Err(leadership_lost()),
        }
    }

    /// Queues a waiter, or grants the lock if it has become free meanwhile.
    fn enqueue<'a>(
        &'a self,
        key: &'a LockKey,
        mode: u8,
        asker: Asker,
    ) -> Option<(WaitGuard<'a>, oneshot::Receiver<()>)> {
        let (wake, woken) = oneshot::channel();
        let id = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(key).lock();
        let entry = shard.entry(key.clone()).or_default();
        if entry.is_free(key, mode, asker.txn) {
            entry.grant(asker, mode);
            return None;
        }
        let waiter = Waiter { id, asker, mode, since: now_micros(), wake };
        match entry.holds(asker.txn) {
            true => entry.waiters.push_front(waiter),
            false => entry.waiters.push_back(waiter),
        }
        drop(shard);
        self.waiting.lock().insert(asker.txn, (key.clone(), mode, asker.process));
        Some((WaitGuard { locks: self, key, id, txn: asker.txn }, woken))
    }

    /// What was sequenced for a key and is not applied.
    pub fn pending(&self, key: &LockKey) -> Option<(CommitTs, Pending)> {
        self.shard(key).lock().get(key)?.pending.clone()
    }

    /// When the pending state of a key was sequenced.
    pub fn pending_ts(&self, key: &LockKey) -> Option<CommitTs> {
        self.shard(key).lock().get(key)?.pending.as_ref().map(|(ts, _)| *ts)
    }

    /// Every lock that is held or awaited, as pg_locks shows them. As in PostgreSQL the locks of rows are not listed one by
    /// one: whoever holds some has an exclusive lock on its transaction, and who waits for a row waits for the
    /// transaction that has it. The shards are read one after another.
    pub fn list(&self) -> Vec<LockRow> {
        let mut rows = Vec::new();
        let mut writers = HashMap::new();
        for shard in &self.shards {
            for (key, entry) in shard.lock().iter() {
                match key {
                    LockKey::Table(oid) => entry.list(|| LockRow::of_relation(*oid), table_mode, &mut rows),
                    LockKey::Advisory(key) => entry.list(|| LockRow::of_advisory(*key), advisory_mode, &mut rows),
                    LockKey::Row(..) | LockKey::Unique(..) => {
                        writers.extend(entry.holders.iter().map(|h| (h.txn, h.process)));
                        entry.list_waits_for_holders(key, &mut rows);
                    }
                }
            }
        }
        rows.extend(writers.into_iter().map(|(txn, process)| LockRow {
            owner: txn.0,
            pid: process,
            mode: "ExclusiveLock",
            granted: true,
            ..LockRow::of_transaction(txn.0)
        }));
        rows
    }

    /// Processes that a process waits for: those with locks in its way, and those before it in the queue.
    pub fn blocking(&self, process: i32) -> Vec<i32> {
        let of_process = |(txn, wait): (&TxnId, &(LockKey, u8, i32))| (wait.2 == process).then(|| (*txn, wait.clone()));
        let waits: Vec<_> = self.waiting.lock().iter().filter_map(of_process).collect();
        let blockers = waits.iter().flat_map(|(txn, (key, mode, _))| self.blockers(key, *mode, *txn));
        let mut found: Vec<i32> = blockers.map(|(_, process)| process).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether nothing is held, awaited or pending.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|s| s.lock().is_empty())
    }

    /// At COMMIT: publishes what was made of the key, then lets it go.
    pub fn publish(&self, key: &LockKey, txn: TxnId, ts: CommitTs, pending: Pending) {
        let mut shard = self.shard(key).lock();
        let entry = shard.entry(key.clone()).or_default();
        entry.pending = Some((ts, pending));
        entry.release(key, txn);
    }

    pub fn release(&self, key: &LockKey, txn: TxnId) {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return };
        entry.release(key, txn);
        if entry.is_idle() {
            shard.remove(key);
        }
    }

    /// The commit at `ts` is applied: storage has what was pending.
    pub fn applied(&self, key: &LockKey, ts: CommitTs) {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return };
        if entry.pending.as_ref().is_some_and(|(pending, _)| *pending == ts) {
            entry.pending = None;
        }
        if entry.is_idle() {
            shard.remove(key);
        }
    }

    /// Leadership is lost: no lock means anything any more; waiters fail.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.lock().clear();
        }
        self.waiting.lock().clear();
    }

    /// Fails if `asker`'s wait closes a cycle. Holding `waiting` throughout makes checks one after another, so that of
    /// two transactions that close a cycle at once only one is refused.
    fn check_deadlock(&self, key: &LockKey, mode: u8, asker: Asker, name: &str) -> Result<()> {
        let mut waiting = self.waiting.lock();
        let mut path = Vec::new();
        let mut seen = HashSet::new();
        if !self.search(&waiting, (key, mode, asker.txn, asker.process), asker.txn, &mut seen, &mut path) {
            return Ok(());
        }
        waiting.remove(&asker.txn);
        drop(waiting);
        let edge = |(waiter, key, mode, txn, blocker): &(i32, LockKey, u8, TxnId, i32)| {
            let what = match key {
                LockKey::Table(oid) => {
                    format!("{} on relation {} of database 5", table_mode(*mode), oid.0)
                }
                LockKey::Advisory(key) => {
                    let mode = advisory_mode(*mode);
                    format!("{mode} on advisory lock [5,{},{},1]", (*key as u64) >> 32, *key as u32)
                }
                _ => format!("ShareLock on transaction {}", txn.0),
            };
            format!("Process {waiter} waits for {what}; blocked by process {blocker}.")
        };
        let detail: Vec<String> = path.iter().map(edge).collect();
        let error = Error::new(SqlState::DeadlockDetected, "deadlock detected").detail(detail.join("\n"));
        Err(match key {
            LockKey::Row(..) => error.context(format!("while locking a row in relation \"{name}\"")),
            _ => error,
        }
        .hint("See server log for query details."))
    }

    /// Depth first from what `from` waits for; `path` gets the edges of the cycle through `target`.
    fn search(
        &self,
        waiting: &HashMap<TxnId, (LockKey, u8, i32)>,
        (key, mode, from, process): (&LockKey, u8, TxnId, i32),
        target: TxnId,
        seen: &mut HashSet<TxnId>,
        path: &mut Vec<(i32, LockKey, u8, TxnId, i32)>,
    ) -> bool {
        for (blocker, blocker_process) in self.blockers(key, mode, from) {
            let process_of = |txn: TxnId| waiting.get(&txn).map_or(blocker_process, |w| w.2);
            path.push((process, key.clone(), mode, blocker, process_of(blocker)));
            if blocker == target {
                return true;
            }
            if seen.insert(blocker)
                && let Some((key, mode, process)) = waiting.get(&blocker)
                && self.search(waiting, (key, *mode, blocker, *process), target, seen, path)
            {
                return true;
            }
            path.pop();
        }
        false
    }

    /// Transactions that `txn`, waiting for `key`, waits for.
    fn blockers(&self, key: &LockKey, mode: u8, txn: TxnId) -> Vec<(TxnId, i32)> {
        let shard = self.shard(key).lock();
        let Some(entry) = shard.get(key) else { return Vec::new() };
        // Granted already and not yet awake: it waits for nobody, whatever `waiting` still says.
        let Some(place) = entry.waiters.iter().position(|w| w.asker.txn == txn) else { return Vec::new() };
        let conflicts = conflicts(key, mode);
        let holders = entry.holders.iter().filter(|h| h.txn != txn && h.modes & conflicts != 0);
        let mut blockers: Vec<_> = holders.map(|h| (h.txn, h.process)).collect();
        let ahead = entry.waiters.iter().take(place);
        blockers.extend(ahead.filter(|w| conflicts >> w.mode & 1 == 1).map(|w| (w.asker.txn, w.asker.process)));
        blockers
    }
}

/// Leaves the queue when the wait is over, however it ends.
struct WaitGuard<'a> {
    locks: &'a Locks,
    key: &'a LockKey,
    id: u64,
    txn: TxnId,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let mut shard = self.locks.shard(self.key).lock();
        if let Some(entry) = shard.get_mut(self.key) {
            entry.waiters.retain(|w| w.id != self.id);
            entry.serve(self.key);
            if entry.is_idle() {
                shard.remove(self.key);
            }
        }
        drop(shard);
        self.locks.waiting.lock().remove(&self.txn);
    }
}

impl Entry {
    fn modes(&self, txn: TxnId) -> Modes {
        self.holders.iter().find(|h| h.txn == txn).map_or(0, |h| h.modes)
    }

    fn holds(&self, txn: TxnId) -> bool {
        self.modes(txn) != 0
    }

    /// Whether nobody else's lock conflicts.
    fn is_compatible(&self, key: &LockKey, mode: u8, txn: TxnId) -> bool {
        let conflicts = conflicts(key, mode);
        self.holders.iter().all(|h| h.txn == txn || h.modes & conflicts == 0)
    }

    /// Whether the lock can be had without a wait: compatible, and nobody is passed who waits for what it conflicts with.
    fn is_free(&self, key: &LockKey, mode: u8, txn: TxnId) -> bool {
        let conflicts = conflicts(key, mode);
        let passes = || self.holds(txn) || self.waiters.iter().all(|w| conflicts >> w.mode & 1 == 0);
        self.is_compatible(key, mode, txn) && passes()
    }

    fn grant(&mut self, asker: Asker, mode: u8) {
        match self.holders.iter_mut().find(|h| h.txn == asker.txn) {
            Some(holder) => holder.modes |= 1 << mode,
            None => self.holders.push(Holder { txn: asker.txn, modes: 1 << mode, process: asker.process }),
        }
    }

    fn release(&mut self, key: &LockKey, txn: TxnId) {
        self.holders.retain(|h| h.txn != txn);
        self.serve(key);
    }

    /// Grants from the front of the queue as far as it goes.
    fn serve(&mut self, key: &LockKey) {
        while let Some(first) = self.waiters.front() {
            if !self.is_compatible(key, first.mode, first.asker.txn) {
                return;
            }
            let Some(waiter) = self.waiters.pop_front() else { return };
            self.grant(waiter.asker, waiter.mode);
            if waiter.wake.send(()).is_err() {
                // Cancelled: the transaction has the lock until it ends, as it lists the key.
                tracing::trace!(txn = waiter.asker.txn.0, "a lock was granted to a cancelled wait");
            }
        }
    }

    /// One row for each mode that is held, and one for each wait.
    fn list(&self, row: impl Fn() -> LockRow, name: fn(u8) -> &'static str, rows: &mut Vec<LockRow>) {
        for holder in &self.holders {
            let held = (0..Modes::BITS as u8).filter(|mode| holder.modes >> mode & 1 == 1);
            rows.extend(held.map(|mode| LockRow {
                owner: holder.txn.0,
                pid: holder.process,
                mode: name(mode),
                granted: true,
                ..row()
            }));
        }
        rows.extend(self.waiters.iter().map(|w| w.row(name(w.mode), row())));
    }

    /// Those who wait for a row wait for the first holder that is in their way, or, behind others, for the first of these.
    fn list_waits_for_holders(&self, key: &LockKey, rows: &mut Vec<LockRow>) {
        for waiter in &self.waiters {
            let conflicts = conflicts(key, waiter.mode);
            let holder = self.holders.iter().find(|h| h.txn != waiter.asker.txn && h.modes & conflicts != 0);
            let ahead = self.waiters.iter().find(|w| w.asker.txn != waiter.asker.txn && conflicts >> w.mode & 1 == 1);
            if let Some(txn) = holder.map(|h| h.txn).or(ahead.map(|w| w.asker.txn)) {
                rows.push(waiter.row("ShareLock", LockRow::of_transaction(txn.0)));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty() && self.pending.is_none()
    }
}

impl Waiter {
    fn row(&self, mode: &'static str, of: LockRow) -> LockRow {
        let (owner, pid) = (self.asker.txn.0, self.asker.process);
        LockRow { owner, pid, mode, granted: false, wait_start: Some(self.since), ..of }
    }
}

fn table_mode(mode: u8) -> &'static str {
    TABLE_NAMES.get(usize::from(mode)).copied().unwrap_or("Lock")
}

fn advisory_mode(mode: u8) -> &'static str {
    if mode == RowLock::Share as u8 { "ShareLock" } else { "ExclusiveLock" }
}

fn conflicts(key: &LockKey, mode: u8) -> Modes {
    let table: &[Modes] = if matches!(key, LockKey::Table(_)) { &TABLE_CONFLICTS } else { &ROW_CONFLICTS };
    table.get(usize::from(mode)).copied().unwrap_or(Modes::MAX)
}

/// The transaction cannot go on: this node is no longer the primary.
pub(crate) fn leadership_lost() -> Error {
    Error::new(SqlState::SerializationFailure, "could not complete the transaction: this node is no longer the primary")
        .detail("Nothing of the transaction was committed.")
        .hint("Connect to the primary and retry the transaction.")
}
