//! Locks: rows, unique keys, tables and advisory locks, on the primary only; and with each row's or unique key's lock
//! its *pending* state: sequenced, not applied yet.
//!
//! Owns who holds and who waits for what; knows nothing of storage. Waiting is a future; nobody's thread blocks.
//!
//! Invariants:
//! 1. Two holders of one entry have compatible modes, unless they are the same transaction.
//! 2. Waiters are served first come, first served; only one that strengthens its own lock passes the others.
//! 3. A wait that would close a cycle fails with 40P01 before it begins: the last one to wait sees all others.
//! 4. An entry with neither holder, waiter, pending state nor memory of a commit does not exist.
//! 5. What a sequenced commit let go stays known until it is applied: who takes it then has to see that commit. Weak locks of tables
//!    are not remembered; who takes a strong one waits for all that is sequenced.
//! 6. An entry of a table that somebody has or wants for itself is announced to readers, and its holders include all
//!    readers from before that. See [`super::readers`].

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::readers::Readers;
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::session::Row;
use crate::storage::layout::IndexKey;
use crate::storage::{CommitTs, RowKey};

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

/// Modes of tables that stand in each other's way or in that of readers and writers.
const STRONG: Modes = 0b1111_1000;
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

/// The lock that makes DDL one at a time: a transaction that changes the catalog holds it until its commit is applied.
pub(super) const DDL: Oid = Oid(0);

/// A transaction, for this process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TxnId(pub u64);

impl TxnId {
    const SESSION: u64 = 1 << 63;

    /// Who holds the advisory locks of a session, which outlive its transactions.
    pub fn of_session(process: i32) -> TxnId {
        TxnId(Self::SESSION | u64::from(process as u32))
    }

    fn session(self) -> Option<i32> {
        (self.0 & Self::SESSION != 0).then_some(self.0 as u32 as i32)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LockKey {
    Table(Oid),
    Row(Oid, RowKey),
    /// A key of a unique index.
    Unique(Oid, IndexKey),
    Advisory(Advisory),
}

/// What an advisory lock is on: one number, or two, which is another lock than that of any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advisory {
    Single(i64),
    Pair(i32, i32),
}

impl Advisory {
    /// `classid`, `objid` and `objsubid` of pg_locks.
    pub fn parts(self) -> (u32, u32, i16) {
        match self {
            Advisory::Single(key) => ((key >> 32) as u32, key as u32, 1),
            Advisory::Pair(high, low) => (high as u32, low as u32, 2),
        }
    }
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

impl Asker {
    /// Whether a holder is the same session: what a session holds is never in its own way.
    fn is(self, holder: TxnId) -> bool {
        holder == self.txn || holder == TxnId::of_session(self.process)
    }
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Granted {
    /// After this commit, which had it in a way that allowed nobody else this one, and may not be applied yet; 0: none.
    After(CommitTs),
    /// [`Wait::SkipLocked`].
    No,
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    txn: TxnId,
    process: i32,
    modes: Modes,
}

#[derive(Debug, Default)]
struct Entry {
    holders: SmallVec<[Holder; 2]>,
    waiters: VecDeque<Waiter>,
    pending: Option<(CommitTs, Pending)>,
    /// Modes that sequenced commits let go, until the newest of them is applied.
    let_go: Option<(CommitTs, Modes)>,
    /// Invariant 6.
    announced: bool,
}

/// What a session waits for, as `pg_stat_activity` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitingFor {
    Relation,
    /// The end of the transaction that holds a row or a unique key.
    Transaction,
    /// A row that somebody else waits for already.
    Tuple,
    Advisory,
}

/// One lock that is held or waited for, for `pg_locks`.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub key: LockKey,
    pub process: i32,
    pub mode: &'static str,
    pub granted: bool,
    /// The transaction behind a row or unique key that is waited for.
    pub blocker: Option<TxnId>,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    asker: Asker,
    mode: u8,
    /// As [`Granted::After`].
    wake: oneshot::Sender<CommitTs>,
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
    readers: Readers,
    /// Deadlocks that were broken.
    deadlocks: AtomicU64,
}

impl Locks {
    pub fn new() -> Locks {
        Locks {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            next_waiter: AtomicU64::new(1),
            waiting: Mutex::default(),
            readers: Readers::new(),
            deadlocks: AtomicU64::new(0),
        }
    }

    /// Deadlocks that were broken since the node started.
    pub fn deadlocks(&self) -> u64 {
        self.deadlocks.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &LockKey) -> &Mutex<HashMap<LockKey, Entry>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[(hash >> 50) as usize % SHARDS]
    }

    /// Takes the lock if nobody has to wait for it, and says which commit it comes after ([`Granted::After`]).
    pub fn try_lock(&self, key: &LockKey, mode: u8, asker: Asker) -> Option<CommitTs> {
        let mut shard = self.shard(key).lock();
        let entry = match shard.get_mut(key) {
            Some(entry) => entry,
            None => shard.entry(key.clone()).or_default(),
        };
        self.announce(key, mode, entry);
        if !entry.is_free(key, mode, asker) {
            return None;
        }
        entry.grant(asker, mode);
        Some(entry.comes_after(key, mode))
    }

    /// Invariant 6, before a table is asked for.
    fn announce(&self, key: &LockKey, mode: u8, entry: &mut Entry) {
        let LockKey::Table(table) = key else { return };
        if mode != TableLock::AccessExclusive as u8 || entry.announced || *table == DDL {
            return;
        }
        entry.announced = true;
        self.readers.announce(*table);
        self.readers.carry_over(*table, |reader| entry.grant(reader, TableLock::AccessShare as u8));
    }

    /// After an entry lost a holder or a waiter: readers need not ask any more if nobody wants the table for itself.
    /// True: the entry is of no use.
    fn settle(&self, key: &LockKey, entry: &mut Entry) -> bool {
        if let LockKey::Table(table) = key
            && entry.announced
            && !entry.is_wanted_alone()
        {
            entry.announced = false;
            self.readers.withdraw(*table);
        }
        entry.is_idle()
    }

    /// Locks a table for reading if nobody has it, or wants it, for itself. The reader calls [`Self::end_reads`].
    pub fn try_read(&self, table: Oid, asker: Asker) -> bool {
        self.readers.try_add(table, asker)
    }

    /// In which modes a transaction holds a lock.
    pub fn modes(&self, key: &LockKey, txn: TxnId) -> Modes {
        self.shard(key).lock().get(key).map_or(0, |entry| entry.modes(txn))
    }

    /// Hands a mode that a transaction was just granted to its session; the transaction keeps what it had `before`.
    pub fn to_session(&self, key: &LockKey, mode: u8, asker: Asker, before: Modes) {
        let mut shard = self.shard(key).lock();
        let entry = shard.entry(key.clone()).or_default();
        entry.grant(Asker { txn: TxnId::of_session(asker.process), ..asker }, mode);
        entry.keep_modes(asker.txn, before);
    }

    /// Lets one mode of a lock go.
    pub fn release_mode(&self, key: &LockKey, txn: TxnId, mode: u8) {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return };
        let kept = entry.modes(txn) & !(1 << mode);
        entry.keep_modes(txn, kept);
        entry.serve(key);
        if self.settle(key, entry) {
            shard.remove(key);
        }
    }

    /// Whether a reader of the table may have to wait.
    pub fn is_wanted_alone(&self, table: Oid) -> bool {
        self.readers.is_announced(table)
    }

    /// The end of a transaction that locked `tables` for reading, by [`Self::try_read`] or by [`Self::lock`].
    pub fn end_reads(&self, txn: TxnId, tables: &[Oid]) {
        let listed = self.readers.remove(txn);
        for table in tables.iter().filter(|t| !listed.contains(t)) {
            self.release(&LockKey::Table(*table), txn);
        }
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
        if let Some(after) = self.try_lock(key, mode, asker) {
            return Ok(Granted::After(after));
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
        let (guard, woken) = match self.enqueue(key, mode, asker) {
            Ok(queued) => queued,
            Err(after) => return Ok(Granted::After(after)),
        };
        self.check_deadlock(key, mode, asker, name)?;
        let woken = match timeout {
            None => woken.await,
            Some(limit) => tokio::time::timeout(limit, woken)
                .await
                .map_err(|_| Error::new(SqlState::LockNotAvailable, "canceling statement due to lock timeout"))?,
        };
        drop(guard);
        match woken {
            Ok(after) => Ok(Granted::After(after)),
            Err(_) => Err(Error::leadership_lost()),
        }
    }

    /// Queues a waiter, or grants the lock if it has become free meanwhile: after the commit in `Err`.
    fn enqueue<'a>(
        &'a self,
        key: &'a LockKey,
        mode: u8,
        asker: Asker,
    ) -> std::result::Result<(WaitGuard<'a>, oneshot::Receiver<CommitTs>), CommitTs> {
        let (wake, woken) = oneshot::channel();
        let id = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(key).lock();
        let entry = shard.entry(key.clone()).or_default();
        self.announce(key, mode, entry);
        if entry.is_free(key, mode, asker) {
            entry.grant(asker, mode);
            return Err(entry.comes_after(key, mode));
        }
        let waiter = Waiter { id, asker, mode, wake };
        match entry.holds(asker) {
            true => entry.waiters.push_front(waiter),
            false => entry.waiters.push_back(waiter),
        }
        drop(shard);
        self.waiting.lock().insert(asker.txn, (key.clone(), mode, asker.process));
        Ok((WaitGuard { locks: self, key, id, txn: asker.txn }, woken))
    }

    /// What was sequenced for a key and is not applied.
    pub fn pending(&self, key: &LockKey) -> Option<(CommitTs, Pending)> {
        self.shard(key).lock().get(key)?.pending.clone()
    }

    /// When the pending state of a key was sequenced.
    pub fn pending_ts(&self, key: &LockKey) -> Option<CommitTs> {
        self.shard(key).lock().get(key)?.pending.as_ref().map(|(ts, _)| *ts)
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

    /// At COMMIT: lets a key go of which nothing is published. True: it has to hear when `ts` is applied.
    pub fn let_go(&self, key: &LockKey, txn: TxnId, ts: CommitTs) -> bool {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return false };
        let modes = match key {
            LockKey::Table(_) => entry.modes(txn) & STRONG,
            _ => entry.modes(txn),
        };
        let remembered = modes != 0 && !crate::seeded::locks_forget_commits();
        if remembered {
            entry.let_go = Some((ts, modes | entry.let_go.map_or(0, |(_, before)| before)));
        }
        entry.release(key, txn);
        if self.settle(key, entry) {
            shard.remove(key);
        }
        remembered
    }

    pub fn release(&self, key: &LockKey, txn: TxnId) {
        let mut shard = self.shard(key).lock();
        let Some(entry) = shard.get_mut(key) else { return };
        entry.release(key, txn);
        if self.settle(key, entry) {
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
        if entry.let_go.is_some_and(|(newest, _)| newest == ts) {
            entry.let_go = None;
        }
        if self.settle(key, entry) {
            shard.remove(key);
        }
    }

    /// Leadership is lost: no lock means anything any more; waiters fail.
    pub fn clear(&self) {
        for shard in &self.shards {
            for (key, entry) in shard.lock().drain() {
                if let (LockKey::Table(table), true) = (key, entry.announced) {
                    self.readers.withdraw(table);
                }
            }
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
                    let mode = TABLE_NAMES.get(usize::from(*mode)).unwrap_or(&"Lock");
                    format!("{mode} on relation {} of database 5", oid.0)
                }
                LockKey::Advisory(key) => {
                    let mode = if *mode == RowLock::Share as u8 { "ShareLock" } else { "ExclusiveLock" };
                    let (class, object, sub) = key.parts();
                    format!("{mode} on advisory lock [5,{class},{object},{sub}]")
                }
                _ => format!("ShareLock on transaction {}", txn.0),
            };
            format!("Process {waiter} waits for {what}; blocked by process {blocker}.")
        };
        let detail: Vec<String> = path.iter().map(edge).collect();
        self.deadlocks.fetch_add(1, Ordering::Relaxed);
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
        for (blocker, blocker_process) in self.blockers(key, mode, Asker { txn: from, process }) {
            // A session waits in its transaction.
            let at_work = |p| waiting.iter().find(|(_, w)| w.2 == p).map(|(txn, _)| *txn);
            let blocker = blocker.session().and_then(at_work).unwrap_or(blocker);
            path.push((process, key.clone(), mode, blocker, blocker_process));
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
    fn blockers(&self, key: &LockKey, mode: u8, asker: Asker) -> Vec<(TxnId, i32)> {
        let shard = self.shard(key).lock();
        let Some(entry) = shard.get(key) else { return Vec::new() };
        // Granted already and not yet awake: it waits for nobody, whatever `waiting` still says.
        let Some(place) = entry.waiters.iter().position(|w| w.asker.txn == asker.txn) else {
            return Vec::new();
        };
        let conflicts = conflicts(key, mode);
        let holders = entry.holders.iter().filter(|h| !asker.is(h.txn) && h.modes & conflicts != 0);
        let mut blockers: Vec<_> = holders.map(|h| (h.txn, h.process)).collect();
        let ahead = entry.waiters.iter().take(place);
        blockers.extend(ahead.filter(|w| conflicts >> w.mode & 1 == 1).map(|w| (w.asker.txn, w.asker.process)));
        blockers
    }

    /// What each waiting process waits for.
    pub fn waits(&self) -> HashMap<i32, WaitingFor> {
        let waiting = self.waiting.lock().clone();
        let mut waits = HashMap::with_capacity(waiting.len());
        for (txn, (key, _, process)) in waiting {
            let shard = self.shard(&key).lock();
            let queue = shard.get(&key).map(|e| &e.waiters);
            // Granted already and not yet awake: it does not wait.
            let Some(place) = queue.and_then(|q| q.iter().position(|w| w.asker.txn == txn)) else { continue };
            let what = match key {
                LockKey::Table(_) => WaitingFor::Relation,
                LockKey::Advisory(_) => WaitingFor::Advisory,
                LockKey::Row(..) if place > 0 => WaitingFor::Tuple,
                LockKey::Row(..) | LockKey::Unique(..) => WaitingFor::Transaction,
            };
            waits.insert(process, what);
        }
        waits
    }

    /// The processes that a process waits for: holders first, then those ahead in the queue.
    pub fn blocking(&self, process: i32) -> Vec<i32> {
        let waiting = self.waiting.lock().iter().find(|(_, w)| w.2 == process).map(|(t, w)| (*t, w.clone()));
        let Some((txn, (key, mode, _))) = waiting else { return Vec::new() };
        let mut processes = Vec::new();
        for (_, blocker) in self.blockers(&key, mode, Asker { txn, process }) {
            if !processes.contains(&blocker) {
                processes.push(blocker);
            }
        }
        processes
    }

    /// Locks of tables and advisory ones, and every wait. Locks of rows are kept in the rows, as far as PostgreSQL's
    /// clients know.
    pub fn list(&self) -> Vec<Listed> {
        let read = |(asker, table): (Asker, Oid)| Listed {
            key: LockKey::Table(table),
            process: asker.process,
            mode: TABLE_NAMES[0],
            granted: true,
            blocker: None,
        };
        let mut all: Vec<Listed> = self.readers.all().into_iter().map(read).collect();
        for shard in &self.shards {
            for (key, entry) in shard.lock().iter() {
                let shown = matches!(key, LockKey::Table(t) if *t != DDL) || matches!(key, LockKey::Advisory(_));
                for holder in entry.holders.iter().filter(|_| shown) {
                    for mode in (0..8).filter(|mode| holder.modes >> mode & 1 == 1) {
                        let mode = mode_name(key, mode);
                        all.push(Listed {
                            key: key.clone(),
                            process: holder.process,
                            mode,
                            granted: true,
                            blocker: None,
                        });
                    }
                }
                for (place, waiter) in entry.waiters.iter().enumerate() {
                    // The first in the queue waits for a transaction, the others for the row.
                    let blocker = entry.holders.first().filter(|_| place == 0 && !shown).map(|h| h.txn);
                    let (process, mode) = (waiter.asker.process, mode_name(key, waiter.mode));
                    all.push(Listed { key: key.clone(), process, mode, granted: false, blocker });
                }
            }
        }
        all
    }
}

fn mode_name(key: &LockKey, mode: u8) -> &'static str {
    match key {
        LockKey::Table(_) => TABLE_NAMES.get(usize::from(mode)).copied().unwrap_or("AccessExclusiveLock"),
        LockKey::Advisory(_) if mode == RowLock::Share as u8 => "ShareLock",
        LockKey::Advisory(_) => "ExclusiveLock",
        LockKey::Row(..) | LockKey::Unique(..) => "ShareLock",
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
            if self.locks.settle(self.key, entry) {
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

    fn holds(&self, asker: Asker) -> bool {
        self.holders.iter().any(|h| asker.is(h.txn))
    }

    /// Whether nobody else's lock conflicts.
    fn is_compatible(&self, key: &LockKey, mode: u8, asker: Asker) -> bool {
        let conflicts = conflicts(key, mode);
        self.holders.iter().all(|h| asker.is(h.txn) || h.modes & conflicts == 0)
    }

    /// Whether the lock can be had without a wait: compatible, and nobody is passed who waits for what it conflicts with.
    fn is_free(&self, key: &LockKey, mode: u8, asker: Asker) -> bool {
        let conflicts = conflicts(key, mode);
        let passes = || self.holds(asker) || self.waiters.iter().all(|w| conflicts >> w.mode & 1 == 0);
        self.is_compatible(key, mode, asker) && passes()
    }

    fn keep_modes(&mut self, txn: TxnId, modes: Modes) {
        if let Some(holder) = self.holders.iter_mut().find(|h| h.txn == txn) {
            holder.modes &= modes;
        }
        self.holders.retain(|h| h.modes != 0);
    }

    fn grant(&mut self, asker: Asker, mode: u8) {
        match self.holders.iter_mut().find(|h| h.txn == asker.txn) {
            Some(holder) => holder.modes |= 1 << mode,
            None => self.holders.push(Holder { txn: asker.txn, process: asker.process, modes: 1 << mode }),
        }
    }

    /// Of a table: whether somebody has or wants ACCESS EXCLUSIVE, or had it and is not applied.
    fn is_wanted_alone(&self) -> bool {
        const ALONE: u8 = TableLock::AccessExclusive as u8;
        let is = |modes: Modes| modes >> ALONE & 1 == 1;
        self.holders.iter().any(|h| is(h.modes))
            || self.waiters.iter().any(|w| w.mode == ALONE)
            || self.let_go.is_some_and(|(_, modes)| is(modes))
    }

    /// The newest commit that is not applied and let go what conflicts with `mode`.
    fn comes_after(&self, key: &LockKey, mode: u8) -> CommitTs {
        let behind = self.let_go.filter(|(_, modes)| modes & conflicts(key, mode) != 0);
        behind.map_or(CommitTs(0), |(ts, _)| ts)
    }

    fn release(&mut self, key: &LockKey, txn: TxnId) {
        self.holders.retain(|h| h.txn != txn);
        self.serve(key);
    }

    /// Grants from the front of the queue as far as it goes.
    fn serve(&mut self, key: &LockKey) {
        while let Some(first) = self.waiters.front() {
            if !self.is_compatible(key, first.mode, first.asker) {
                return;
            }
            let Some(waiter) = self.waiters.pop_front() else { return };
            self.grant(waiter.asker, waiter.mode);
            if waiter.wake.send(self.comes_after(key, waiter.mode)).is_err() {
                // Cancelled: the transaction has the lock until it ends, as it lists the key.
                tracing::trace!(txn = waiter.asker.txn.0, "a lock was granted to a cancelled wait");
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_empty() && self.pending.is_none() && self.let_go.is_none()
    }
}

fn conflicts(key: &LockKey, mode: u8) -> Modes {
    let table: &[Modes] = if matches!(key, LockKey::Table(_)) { &TABLE_CONFLICTS } else { &ROW_CONFLICTS };
    table.get(usize::from(mode)).copied().unwrap_or(Modes::MAX)
}
