//! A transaction's state: snapshot, buffer, locks, DDL and savepoints.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::locks::{Asker, Granted, LockKey, TableLock, TxnId, Wait};
use super::notify::Notification;
use super::number::SessionNumber;
use super::reads::ReadSet;
use super::sequencer::Reign;
use super::sequences::SequenceState;
use super::shared::Transactions;
use super::temporary::{Temporary, TemporarySpace};
use super::writes::{TableWrites, Undo};
use super::{Advisory, Freshness, Isolation, Reads, SavepointId, TransactionOptions};
use crate::catalog::{Catalog, CatalogChange, Object, Oid, SequenceDef};
use crate::error::{Error, Result, SqlState};
use crate::storage::layout::{IndexKey, KeyLayout, Layout};
use crate::storage::{Account, CommitTs, Snapshot, State, Table, TableStore};

/// A sequence whose values are the transaction's own until it commits.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnSequence {
    pub state: SequenceState,
    /// Which of the transaction's restarts it goes on from; 0: none, it was made here.
    restart: u32,
}

/// One transaction of one session.
pub struct Transaction {
    pub(super) shared: Arc<Transactions>,
    pub(super) id: TxnId,
    pub(super) options: TransactionOptions,
    /// Where its number is while it runs, and the number once it commits.
    session: Option<Arc<SessionNumber>>,
    pub(super) number: Option<u64>,
    /// Whose catalog it sees and changes.
    database: Oid,
    /// The reign that its locks and what it saw sequenced belong to.
    pub(super) reign: Option<Reign>,
    pub(super) snapshot: Option<Snapshot>,
    /// The snapshot of a transaction that keeps its own, while [`Self::see_newest`] holds.
    set_aside: Option<Snapshot>,
    /// On a standby: catalog and tables as of the snapshot. There no lock holds DDL back that the log brings.
    pinned: Option<Arc<State>>,
    /// [`Self::pin`] took snapshot and state for a statement that has not begun yet.
    ahead: bool,
    freshness: Freshness,
    /// Newest commit that it saw before it was applied.
    pub(super) depends: CommitTs,
    /// It read without asking whether this node still is the primary.
    pub(super) unproven: bool,
    pub(super) ddl: Option<Arc<Ddl>>,
    /// Where the session's temporary relations are, if it has any; what the transaction made of them; and whether what
    /// its DDL makes is temporary.
    pub(super) space: Option<Arc<TemporarySpace>>,
    pub(super) temporary: Option<Arc<Temporary>>,
    pub(super) makes_temporary: bool,
    pub(super) writes: HashMap<Oid, TableWrites>,
    pub(super) undo: Vec<Undo>,
    savepoints: Vec<Savepoint>,
    pub(super) held: HashSet<LockKey>,
    /// Locks of rows, keys and advisory ones in the order in which they were taken, while there is a savepoint.
    taken: Vec<LockKey>,
    /// Table locks held, as bits by mode.
    table_locks: SmallVec<[(Oid, u8); 4]>,
    /// Tables locked for reading, with or without the lock table, and whether there ever was one.
    pub(super) read_locks: SmallVec<[Oid; 4]>,
    reads_tables: bool,
    /// Tables of which every row is locked.
    covered: SmallVec<[Oid; 1]>,
    /// Keys of unique indexes whose owner the transaction changed: index, key, table.
    pub(super) unique: HashSet<(Oid, IndexKey, Oid)>,
    pub(super) reads: ReadSet,
    pub(super) sequences: HashMap<Oid, OwnSequence>,
    /// Restarts of sequences so far.
    restarts: u32,
    /// To be sent with the commit.
    pub(super) notifications: Vec<Notification>,
    pub(super) account: Account,
    pub(super) last_locked: Option<(Oid, crate::storage::RowKey, Arc<crate::session::Row>)>,
}

/// The reign that a session's locks belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionReign(Reign);

impl SessionReign {
    pub(super) fn of(reign: Reign) -> SessionReign {
        SessionReign(reign)
    }
}

pub(super) fn advisory_mode(shared: bool) -> u8 {
    if shared { super::RowLock::Share as u8 } else { super::RowLock::Update as u8 }
}

/// What DDL made of the catalog.
#[derive(Debug, Clone)]
pub(super) struct Ddl {
    pub catalog: Arc<Catalog>,
    /// Tables that differ from the shared ones.
    pub tables: HashMap<Oid, Arc<Table>>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Catalog(CatalogChange),
    /// Changes of a table from before its primary key changed: they name rows by the old key.
    Writes(Arc<TableWrites>),
}

struct Savepoint {
    undo: usize,
    taken: usize,
    ddl: Option<Arc<Ddl>>,
    temporary: Option<Arc<Temporary>>,
    sequences: HashMap<Oid, OwnSequence>,
}

const DDL_LOCK: LockKey = LockKey::Table(super::locks::DDL);

impl Transaction {
    /// How long to wait for a lock from now on: `SET LOCAL lock_timeout` counts in the middle of a transaction.
    pub fn set_lock_timeout(&mut self, timeout: Option<std::time::Duration>) {
        self.options.lock_timeout = timeout;
    }

    /// Starts a transaction; its first snapshot is taken by the first [`Self::begin_statement`].
    pub fn begin(shared: &Arc<Transactions>, options: TransactionOptions) -> Box<Transaction> {
        Box::new(Transaction {
            shared: shared.clone(),
            id: shared.next_id(),
            options,
            session: None,
            number: None,
            database: Oid::DATABASE,
            reign: None,
            snapshot: None,
            set_aside: None,
            pinned: None,
            ahead: false,
            freshness: Freshness::default(),
            depends: CommitTs(0),
            unproven: false,
            ddl: None,
            space: None,
            temporary: None,
            makes_temporary: false,
            writes: HashMap::new(),
            undo: Vec::new(),
            savepoints: Vec::new(),
            held: HashSet::new(),
            taken: Vec::new(),
            table_locks: SmallVec::new(),
            read_locks: SmallVec::new(),
            reads_tables: false,
            covered: SmallVec::new(),
            unique: HashSet::new(),
            reads: ReadSet::default(),
            sequences: HashMap::new(),
            restarts: 0,
            notifications: Vec::new(),
            account: Account::new(&shared.storage.memory),
            last_locked: None,
        })
    }

    /// Before anything else: the database that it works in.
    pub fn use_database(&mut self, database: Oid) {
        self.database = database;
    }

    /// Before anything else: where queries of it find its number.
    pub fn use_number(&mut self, session: Arc<SessionNumber>) {
        session.begin(self.id);
        self.session = Some(session);
    }

    /// Its commit has begun: its number is no longer the session's.
    pub(super) fn leave_session(&mut self) {
        if let Some(session) = self.session.take() {
            self.number = session.leave(self.id);
        }
    }

    /// As views show it.
    pub fn number(&self) -> u64 {
        self.id.0
    }

    pub fn isolation(&self) -> Isolation {
        self.options.isolation
    }

    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    /// SET TRANSACTION before the first statement.
    pub fn options_mut(&mut self) -> &mut TransactionOptions {
        &mut self.options
    }

    /// Whether anything would be written by a commit.
    pub fn has_writes(&self) -> bool {
        self.has_ddl()
            || !self.sequences.is_empty()
            || !self.notifications.is_empty()
            || self.writes.values().any(|w| !w.is_empty())
    }

    /// Whether [`Self::catalog`] is this transaction's own: plans made on it must not be shared.
    pub fn has_ddl(&self) -> bool {
        self.ddl.as_ref().is_some_and(|d| !d.steps.is_empty())
    }

    /// Call at the start of every statement: a fresh snapshot (READ COMMITTED) or the transaction's first; passes the
    /// log's read barrier if the transaction has locked nothing yet and the barrier is not free. Later, its commit proves
    /// that all it read was the latest that this node has shown. What standbys have shown it may be about to apply: a snapshot
    /// for a whole transaction waits for that too.
    pub async fn begin_statement(&mut self, reads: Reads) -> Result<()> {
        self.shared.check_in_service()?;
        self.restore_snapshot();
        let fresh = self.wants_snapshot() && !std::mem::take(&mut self.ahead);
        if fresh && self.reign.is_none() {
            self.shared.freshen(&self.freshness).await?;
        } else if fresh {
            self.unproven = true;
            if self.options.isolation != Isolation::ReadCommitted && !crate::seeded::snapshot_behind_standbys() {
                self.see_all_sequenced();
                self.wait_for_dependencies().await?;
            }
        }
        if reads == Reads::Snapshot {
            self.wait_for_dependencies().await?;
        }
        if fresh {
            self.take_snapshot();
        }
        Ok(())
    }

    /// After a statement of DDL that looked at newer rows than the transaction's queries do.
    fn restore_snapshot(&mut self) {
        if let Some(snapshot) = self.set_aside.take() {
            self.snapshot = Some(snapshot);
        }
    }

    /// Whether the next statement is to have a snapshot of its own.
    pub fn wants_snapshot(&self) -> bool {
        self.options.isolation == Isolation::ReadCommitted || self.snapshot.is_none()
    }

    fn take_snapshot(&mut self) {
        if self.shared.is_primary() {
            self.pinned = None;
            self.snapshot = Some(noted_snapshot(self.session.as_deref(), &self.shared));
        } else {
            if let Some(session) = &self.session {
                session.unknown();
            }
            let (snapshot, state) = self.shared.storage.snapshot_with_state();
            (self.snapshot, self.pinned) = (Some(snapshot), Some(state));
        }
    }

    /// How old reads may be from now on, and what they have to show.
    pub fn set_freshness(&mut self, freshness: Freshness) {
        self.freshness = freshness;
    }

    /// On a standby, before a statement is bound for good: takes the snapshot, and with it the catalog, that the statement
    /// is to have. `passed`: the session has just passed the barrier. Elsewhere locks do that.
    pub async fn pin(&mut self, passed: bool) -> Result<()> {
        if self.ahead || !self.wants_snapshot() || self.reign.is_some() || self.shared.is_primary() {
            return Ok(());
        }
        if !passed {
            self.shared.freshen(&self.freshness).await?;
        }
        self.take_snapshot();
        self.ahead = true;
        Ok(())
    }

    /// The next statement reads nothing that commits change: on a standby it waits for no barrier. A snapshot for the whole
    /// transaction would be that of later statements too.
    pub fn skip_barrier(&mut self) {
        let own_snapshot = self.options.isolation == Isolation::ReadCommitted && !self.ahead;
        if own_snapshot && self.reign.is_none() && !self.shared.is_primary() {
            self.take_snapshot();
            self.ahead = true;
        }
    }

    /// The next statement comes: what [`Self::pin`] took for one that never began is too old for it, and at READ COMMITTED
    /// its names are those of the newest catalog.
    pub fn unpin(&mut self) {
        self.ahead = false;
        if self.options.isolation == Isolation::ReadCommitted {
            self.pinned = None;
        }
    }

    /// Call when a statement of an open transaction is over and its results are read: at READ COMMITTED nothing older
    /// than the next statement is needed, and an idle session does not keep dead rows in memory.
    pub fn end_statement(&mut self) {
        self.restore_snapshot();
        if self.options.isolation == Isolation::ReadCommitted {
            self.snapshot = None;
            if let Some(session) = &self.session {
                session.forget_snapshot();
            }
        }
    }

    /// Makes the next snapshot show every commit that is sequenced and wrote to `table`: for checks of references, which
    /// must not miss a row whose transaction has just let its locks go. A snapshot that can't move (REPEATABLE READ) and is
    /// older answers 40001.
    pub fn see_writes_to(&mut self, table: Oid) -> Result<()> {
        let last = self.shared.sequencer.last_write(table);
        self.depends_on(last);
        let fixed = self.options.isolation != Isolation::ReadCommitted;
        if fixed && self.snapshot.as_ref().is_some_and(|s| s.ts() < last) {
            return Err(Error::new(
                SqlState::SerializationFailure,
                "could not serialize access due to concurrent update",
            ));
        }
        Ok(())
    }

    /// Makes the next snapshot show every commit that is sequenced: what others did before they let something go by which this
    /// transaction waited for them.
    pub fn see_all_sequenced(&mut self) {
        self.depends_on(self.shared.sequencer.newest_unapplied());
    }

    /// Before DDL looks at rows of what it has locked: they are read as they are now, whatever the transaction's own queries
    /// may see. [`Self::end_statement`] gives those their snapshot back.
    pub async fn see_newest(&mut self) -> Result<()> {
        if self.options.isolation != Isolation::ReadCommitted && self.set_aside.is_none() {
            self.set_aside = self.snapshot.take();
        }
        self.see_all_sequenced();
        self.wait_for_dependencies().await?;
        self.take_snapshot();
        Ok(())
    }

    /// Returns when everything that was read is applied here: before results of a statement that locked rows leave.
    pub async fn wait_for_dependencies(&mut self) -> Result<()> {
        match self.reign {
            Some(reign) if self.depends > self.shared.storage.snapshots.watermark() => {
                self.shared.wait_applied(self.depends, reign).await
            }
            _ => Ok(()),
        }
    }

    /// The transaction handed out what the commit at `ts` of a reign covers.
    pub(crate) fn depend_on(&mut self, reign: Reign, ts: CommitTs) {
        // Of two reigns one is over: the wait for it fails.
        self.reign = Some(self.reign.map_or(reign, |own| Reign(own.0.min(reign.0))));
        self.depends = self.depends.max(ts);
    }

    /// At the end of a transaction that wrote nothing: everything that it read was the latest, and is durable.
    pub(super) async fn prove_reads(&mut self) -> Result<()> {
        if self.unproven {
            // After its first lock it asked nobody. If this node leads now, in the same reign, it did all the time.
            self.shared.read_barrier().await.map_err(|_| Error::leadership_lost())?;
            self.enlist()?;
        }
        self.wait_for_dependencies().await
    }

    pub fn snapshot(&mut self) -> &Snapshot {
        let (session, shared) = (self.session.as_deref(), &self.shared);
        self.snapshot.get_or_insert_with(|| noted_snapshot(session, shared))
    }

    /// The catalog as this transaction sees it: its own DDL included.
    pub fn catalog(&self) -> Arc<Catalog> {
        let shared = match (&self.ddl, &self.pinned) {
            (Some(ddl), _) => ddl.catalog.clone(),
            (None, Some(pinned)) => pinned.catalog.view(self.database),
            (None, None) => self.shared.storage.catalog_of(self.database),
        };
        match &self.space {
            None => shared,
            Some(_) => self.with_temporary(shared),
        }
    }

    /// The catalog of all databases as it was last committed: after [`Self::begin_ddl`] nobody else changes it.
    pub fn root_catalog(&self) -> Arc<Catalog> {
        self.shared.storage.catalog()
    }

    /// A table of [`Self::catalog`].
    pub fn table(&self, oid: Oid) -> Option<Arc<Table>> {
        if oid.is_temporary() {
            return self.temporary_table(oid);
        }
        let Some(ddl) = &self.ddl else {
            return match &self.pinned {
                Some(pinned) => pinned.tables.get(&oid).cloned(),
                None => self.shared.storage.table(oid),
            };
        };
        if !ddl.catalog.tables.contains_key(&oid) {
            return None;
        }
        ddl.tables.get(&oid).cloned().or_else(|| self.shared.storage.table(oid))
    }

    /// What the commit is to send to those who listen.
    pub fn notify(&mut self, notifications: Vec<Notification>) {
        self.notifications = notifications;
    }

    // Locks.

    pub(super) fn asker(&self) -> Asker {
        Asker { txn: self.id, process: self.options.process }
    }

    /// Binds the transaction to this node's reign: from here on it can only commit in it.
    pub(super) fn enlist(&mut self) -> Result<Reign> {
        let now = self.shared.sequencer.primary_reign();
        match (self.reign, now) {
            (Some(reign), Some(now)) if reign == now || crate::seeded::lock_of_an_older_reign() => Ok(now),
            (Some(_), _) => Err(Error::leadership_lost()),
            (None, Some(now)) => {
                self.reign = Some(now);
                Ok(now)
            }
            (None, None) => Err(Error::new(SqlState::ReadOnlySqlTransaction, "cannot write or lock rows on a standby")
                .hint("Connect to the primary.")),
        }
    }

    /// [`Self::check_writable`] for rows of a table: temporary ones may be written in any transaction.
    pub(super) fn check_writable_to(&self, table: &Table) -> Result<()> {
        if table.def.oid.is_temporary() { Ok(()) } else { self.check_writable() }
    }

    /// Whether it is one that rows can be locked in: elsewhere the attempt says why not.
    pub fn may_lock_rows(&self) -> bool {
        !self.options.read_only && self.shared.is_primary()
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        match self.options.read_only {
            true => Err(Error::new(SqlState::ReadOnlySqlTransaction, "cannot write in a read-only transaction")),
            false => Ok(()),
        }
    }

    /// Takes one lock.
    pub(super) async fn acquire(&mut self, key: LockKey, mode: u8, wait: Wait, name: &str) -> Result<Granted> {
        self.enlist()?;
        // Listed before it is held: see `Locks::lock`.
        let new = self.held.insert(key.clone());
        if new && !self.savepoints.is_empty() && !matches!(key, LockKey::Table(_)) {
            self.taken.push(key.clone());
        }
        let (asker, timeout) = (self.asker(), self.options.lock_timeout);
        let granted = self.shared.locks.lock(&key, mode, asker, wait, timeout, name).await?;
        self.enlist()?;
        if let Granted::After(ts) = granted {
            self.depends_on(ts);
        }
        Ok(granted)
    }

    /// `false`: not free and `wait` is [`Wait::SkipLocked`].
    pub async fn lock_table(&mut self, oid: Oid, mode: TableLock, wait: Wait) -> Result<bool> {
        let bit = 1 << mode as u8;
        if self.table_locks.iter().any(|(t, modes)| *t == oid && modes & bit != 0) {
            return Ok(true);
        }
        self.enlist()?;
        let key = LockKey::Table(oid);
        if let Some(after) = self.shared.locks.try_lock(&key, mode as u8, self.asker()) {
            self.held.insert(key);
            self.depends_on(after);
        } else {
            let name = self.relation_name(oid);
            if self.acquire(key, mode as u8, wait, &name).await? == Granted::No {
                return Ok(false);
            }
        }
        self.remember_table_lock(oid, bit);
        if mode >= TableLock::Share {
            // What others sequenced before they let the table go is to be seen by reads of storage.
            self.depends_on(self.shared.sequencer.last_write(oid));
            self.wait_for_dependencies().await?;
        }
        Ok(true)
    }

    /// Locks a table for reading (ACCESS SHARE), waiting for whoever has it for itself. Reading binds to no reign, so it
    /// works on standbys too. True: somebody changes the table or has changed it, so what was planned may be outdated.
    pub async fn lock_for_read(&mut self, oid: Oid) -> Result<bool> {
        if self.has_table_lock(oid) {
            return Ok(false);
        }
        let contended = !self.shared.locks.try_read(oid, self.asker());
        // Listed before it is held: see `Locks::lock`.
        self.read_locks.push(oid);
        self.reads_tables = true;
        if contended {
            let name = self.relation_name(oid);
            let (asker, timeout, mode) = (self.asker(), self.options.lock_timeout, TableLock::AccessShare as u8);
            let granted =
                self.shared.locks.lock(&LockKey::Table(oid), mode, asker, Wait::Block, timeout, &name).await?;
            if let (Granted::After(ts), Some(reign)) = (granted, self.shared.sequencer.primary_reign())
                && ts > self.shared.storage.snapshots.watermark()
            {
                self.shared.wait_applied(ts, reign).await?;
            }
        }
        self.remember_table_lock(oid, 1 << TableLock::AccessShare as u8);
        Ok(contended)
    }

    /// Whether the transaction has the table in any mode: nobody else can change what it is.
    pub fn has_table_lock(&self, oid: Oid) -> bool {
        self.table_locks.iter().any(|(t, _)| *t == oid)
    }

    /// Whether it made temporary relations, or used some.
    pub fn used_temporary(&self) -> bool {
        self.temporary.is_some() || self.table_locks.iter().any(|(oid, _)| oid.is_temporary())
    }

    /// Whether the transaction has the table in ROW SHARE or a stronger mode, each of which does what ROW SHARE does.
    pub(super) fn has_row_share(&self, oid: Oid) -> bool {
        self.table_locks.iter().any(|(t, modes)| *t == oid && modes >> TableLock::RowShare as u8 != 0)
    }

    fn relation_name(&self, oid: Oid) -> String {
        self.catalog().relation(oid).map_or_else(String::new, |r| r.name().to_owned())
    }

    fn remember_table_lock(&mut self, oid: Oid, bit: u8) {
        match self.table_locks.iter_mut().find(|(t, _)| *t == oid) {
            Some((_, modes)) => *modes |= bit,
            None => self.table_locks.push((oid, bit)),
        }
    }

    /// Announces that a statement will write many rows of a table: takes the whole table if it is free, so that rows
    /// need no locks of their own. False: others are at work on it, rows are locked one by one.
    pub async fn expect_many_writes(&mut self, table: &Arc<Table>) -> Result<bool> {
        let oid = table.def.oid;
        if self.covers(oid) {
            return Ok(true);
        }
        self.check_writable_to(table)?;
        let granted = self.lock_table(oid, TableLock::Exclusive, Wait::SkipLocked).await?;
        if granted {
            self.covered.push(oid);
        }
        Ok(granted)
    }

    /// Whether the transaction has the whole table.
    pub(super) fn covers(&self, oid: Oid) -> bool {
        self.covered.contains(&oid)
    }

    pub(super) fn covers_any(&self) -> bool {
        !self.covered.is_empty()
    }

    /// Advisory lock of the transaction. `false`: not free and `wait` is [`Wait::SkipLocked`].
    pub async fn lock_advisory(&mut self, key: Advisory, shared: bool, wait: Wait) -> Result<bool> {
        Ok(self.acquire(LockKey::Advisory(key), advisory_mode(shared), wait, "").await? != Granted::No)
    }

    /// Advisory lock of the session that the transaction belongs to: it outlives the transaction, and ends with
    /// [`Transactions::unlock_advisory`] or with the reign that is answered. `None`: not free and `wait` is
    /// [`Wait::SkipLocked`].
    pub async fn lock_advisory_for_session(
        &mut self,
        key: Advisory,
        shared: bool,
        wait: Wait,
    ) -> Result<Option<SessionReign>> {
        let lock = LockKey::Advisory(key);
        let (held, before) = (self.held.contains(&lock), self.shared.locks.modes(&lock, self.id));
        if !self.lock_advisory(key, shared, wait).await? {
            return Ok(None);
        }
        let reign = self.enlist()?;
        self.shared.locks.to_session(&lock, advisory_mode(shared), self.asker(), before);
        if !held {
            self.held.remove(&lock);
        }
        Ok(Some(SessionReign::of(reign)))
    }

    // Savepoints.

    /// A place to roll back to. Nested ones are numbered; the number goes to [`Self::rollback_to`].
    pub fn savepoint(&mut self) -> SavepointId {
        self.savepoints.push(Savepoint {
            undo: self.undo.len(),
            taken: self.taken.len(),
            ddl: self.ddl.clone(),
            temporary: self.temporary.clone(),
            sequences: self.sequences.clone(),
        });
        SavepointId(self.savepoints.len() - 1)
    }

    /// Undoes everything since the savepoint, which stays. Locks taken since are given back, but for those of tables and
    /// for a lock from before that was strengthened.
    pub fn rollback_to(&mut self, savepoint: SavepointId) {
        self.savepoints.truncate(savepoint.0 + 1);
        let Some(point) = self.savepoints.get(savepoint.0) else { return };
        let (length, ddl, sequences) = (point.undo, point.ddl.clone(), point.sequences.clone());
        let temporary = point.temporary.clone();
        let taken = self.taken.split_off(point.taken.min(self.taken.len()));
        while self.undo.len() > length {
            let Some(undo) = self.undo.pop() else { break };
            match (self.writes.get_mut(&undo.table()), undo) {
                (Some(writes), undo) => writes.undo(undo),
                (None, Undo::Flushed { table, writes }) => {
                    self.writes.insert(table, Arc::unwrap_or_clone(writes));
                }
                (None, _) => {}
            }
        }
        self.give_back(&taken);
        let had_ddl = self.has_ddl() || self.temporary.is_some();
        self.ddl = ddl;
        self.temporary = temporary;
        let given = std::mem::replace(&mut self.sequences, sequences);
        self.keep_values(given);
        self.last_locked = None;
        if had_ddl {
            let tables: Vec<Oid> = self.writes.keys().copied().collect();
            for oid in tables {
                match self.table(oid) {
                    Some(table) => {
                        self.writes.entry(oid).and_modify(|w| w.set_table(table));
                    }
                    None => {
                        self.writes.remove(&oid);
                    }
                }
            }
        }
    }

    fn give_back(&mut self, taken: &[LockKey]) {
        let unique = taken.iter().filter_map(|key| match key {
            LockKey::Unique(index, unique) => Some((*index, unique)),
            _ => None,
        });
        let given: HashSet<(Oid, &IndexKey)> = unique.collect();
        if !given.is_empty() {
            self.unique.retain(|(index, unique, _)| !given.contains(&(*index, unique)));
        }
        for key in taken {
            self.held.remove(key);
            self.shared.locks.release(key, self.id);
        }
    }

    /// Forgets the savepoint and those after it; what was done stays.
    pub fn release(&mut self, savepoint: SavepointId) {
        self.savepoints.truncate(savepoint.0);
        self.trim_undo();
    }

    /// Without a savepoint there is nothing to go back to.
    pub(super) fn trim_undo(&mut self) {
        if self.savepoints.is_empty() {
            self.undo.clear();
            self.taken.clear();
        }
    }

    // DDL.

    /// Call before a statement that changes the catalog resolves any name: DDL is one transaction at a time, and after
    /// this [`Self::catalog`] is the latest.
    pub async fn begin_ddl(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.ddl.is_some() {
            return Ok(());
        }
        self.acquire(DDL_LOCK, TableLock::AccessExclusive as u8, Wait::Block, "pg_class").await?;
        let catalog = self.shared.storage.catalog();
        let catalog = catalog
            .of_database(self.database)
            .ok_or_else(|| Error::new(SqlState::InvalidCatalogName, "the database of this session was dropped"))?;
        self.ddl = Some(Arc::new(Ddl { catalog, tables: HashMap::new(), steps: Vec::new() }));
        Ok(())
    }

    /// Lets other DDL go ahead while this transaction, which has changed nothing of the catalog yet, waits for a table.
    pub fn pause_ddl(&mut self) {
        if self.has_ddl() {
            return;
        }
        self.ddl = None;
        if self.held.remove(&DDL_LOCK) {
            self.shared.locks.release(&DDL_LOCK, self.id);
        }
    }

    /// One step of DDL, after [`Self::begin_ddl`] and with the table lock that PostgreSQL would hold. The table's own
    /// lock, if there is an object to lock, is the caller's.
    pub fn change_catalog(&mut self, change: CatalogChange) -> Result<()> {
        self.enlist()?;
        if super::temporary::is_temporary(&change) {
            return self.change_temporary(change);
        }
        let Some(mut ddl) = self.ddl.take() else {
            return Err(Error::internal("DDL outside of begin_ddl"));
        };
        let result = self.change(Arc::make_mut(&mut ddl), change);
        self.ddl = Some(ddl);
        result
    }

    fn change(&mut self, ddl: &mut Ddl, change: CatalogChange) -> Result<()> {
        let old = |ddl: &Ddl, oid| {
            let known = ddl.catalog.tables.contains_key(&oid);
            known.then(|| ddl.tables.get(&oid).cloned().or_else(|| self.shared.storage.table(oid))).flatten()
        };
        let logged = change.clone().within(self.database, &ddl.catalog);
        match &change {
            CatalogChange::Put(Object::Table(def)) => {
                let oid = def.oid;
                let old = old(ddl, oid);
                Arc::make_mut(&mut ddl.catalog).apply(&change);
                let def = ddl.catalog.tables.get(&oid).unwrap_or(def).clone();
                let layout = Arc::new(Layout::new(&def));
                let storage = self.shared.storage.clone();
                let same = old.filter(|old| old.store.storage == def.storage);
                let store = match same {
                    Some(old) if old.store.key == layout.key => old.store.clone(),
                    Some(old) => {
                        let flushed = self.flush(oid);
                        let base = match &flushed {
                            Some(writes) => with_writes(&storage, &old, writes)?,
                            None => old,
                        };
                        ddl.steps.extend(flushed.map(Step::Writes));
                        storage.rekeyed(&base, &layout)?
                    }
                    None => {
                        self.flush(oid);
                        storage.new_store(def.storage, &layout)
                    }
                };
                let table = Arc::new(Table { def, store, layout });
                if let Some(writes) = self.writes.get_mut(&oid) {
                    writes.set_table(table.clone());
                }
                ddl.tables.insert(oid, table);
            }
            CatalogChange::Drop(oid) => {
                self.flush(*oid);
                ddl.tables.remove(oid);
                Arc::make_mut(&mut ddl.catalog).apply(&change);
            }
            _ => Arc::make_mut(&mut ddl.catalog).apply(&change),
        }
        ddl.steps.push(Step::Catalog(logged));
        if let CatalogChange::Put(Object::Table(def)) = &change {
            for object in def.behind() {
                let behind = CatalogChange::Put(object).within(self.database, &ddl.catalog);
                ddl.steps.push(Step::Catalog(behind));
            }
        }
        Ok(())
    }

    /// Puts the buffer of a table aside.
    pub(super) fn flush(&mut self, oid: Oid) -> Option<Arc<TableWrites>> {
        self.last_locked = None;
        let writes = Arc::new(self.writes.remove(&oid)?);
        self.undo.push(Undo::Flushed { table: oid, writes: writes.clone() });
        Some(writes)
    }

    // Sequences.

    /// Whether the sequence's state is this transaction's own until it commits.
    fn is_private(&self, sequence: &SequenceDef) -> bool {
        let created = || !self.shared.storage.catalog_of(self.database).sequences.contains_key(&sequence.oid);
        self.sequences.contains_key(&sequence.oid) || (self.ddl.is_some() && created())
    }

    /// Next value of a sequence (2200H at its end). Never rolled back.
    pub async fn nextval(&mut self, sequence: &SequenceDef) -> Result<i64> {
        if let Some(space) = self.space.as_ref().filter(|_| sequence.oid.is_temporary()) {
            return space.next(sequence);
        }
        self.check_writable()?;
        let reign = self.enlist()?;
        if self.is_private(sequence) {
            let initial = || OwnSequence { state: SequenceState::initial(sequence), restart: 0 };
            let own = self.sequences.entry(sequence.oid).or_insert_with(initial);
            let value = own.state.next(sequence)?;
            own.state = SequenceState { last: value, called: true };
            return Ok(value);
        }
        let (value, logged) = self.shared.sequences.next(&self.shared, sequence, reign)?;
        self.depends = self.depends.max(logged);
        Ok(value)
    }

    pub async fn setval(&mut self, sequence: &SequenceDef, value: i64, called: bool) -> Result<()> {
        self.check_writable()?;
        let reign = self.enlist()?;
        let state = SequenceState { last: value, called };
        if let Some(space) = self.space.as_ref().filter(|_| sequence.oid.is_temporary()) {
            space.set(sequence, state);
            return Ok(());
        }
        if self.is_private(sequence) {
            let restart = self.sequences.get(&sequence.oid).map_or(0, |own| own.restart);
            self.sequences.insert(sequence.oid, OwnSequence { state, restart });
            return Ok(());
        }
        let logged = self.shared.sequences.set(&self.shared, sequence, state, reign)?;
        self.depends = self.depends.max(logged);
        Ok(())
    }

    /// Sets the sequence's state with the transaction: ALTER SEQUENCE RESTART, TRUNCATE RESTART IDENTITY.
    pub fn restart_sequence(&mut self, sequence: &SequenceDef, value: i64) -> Result<()> {
        self.check_writable()?;
        self.enlist()?;
        let state = SequenceState { last: value, called: false };
        if let Some(space) = self.space.as_ref().filter(|_| sequence.oid.is_temporary()) {
            space.set(sequence, state);
            return Ok(());
        }
        self.restarts += 1;
        let before = self.sequences.insert(sequence.oid, OwnSequence { state, restart: self.restarts });
        // What a rollback comes back to has given out what was given out until now.
        for point in &mut self.savepoints {
            match (point.sequences.get_mut(&sequence.oid), before) {
                (Some(then), Some(before)) if then.restart == before.restart => *then = before,
                _ => {}
            }
        }
        Ok(())
    }

    /// After a rollback to a savepoint: values of sequences that were not restarted since stay given out.
    fn keep_values(&mut self, given: HashMap<Oid, OwnSequence>) {
        let catalog = self.catalog();
        for (oid, own) in given {
            match self.sequences.get_mut(&oid) {
                Some(then) if then.restart == own.restart => *then = own,
                // Made by this transaction before the savepoint, and asked for the first time behind it.
                None if own.restart == 0 && catalog.sequences.contains_key(&oid) => {
                    self.sequences.insert(oid, own);
                }
                _ => {}
            }
        }
    }

    /// `last_value` and `is_called`.
    pub fn sequence_state(&self, sequence: &SequenceDef) -> (i64, bool) {
        if let Some(space) = self.space.as_ref().filter(|_| sequence.oid.is_temporary()) {
            return space.sequence_state(sequence);
        }
        let own = self.sequences.get(&sequence.oid).map(|own| own.state);
        let state = own.unwrap_or_else(|| self.shared.sequences.state(&self.shared, sequence));
        (state.last, state.called)
    }

    /// Forgets everything (so does dropping).
    pub fn rollback(self: Box<Self>) {}

    /// Lets every lock go.
    pub(super) fn release_locks(&mut self) {
        for key in self.held.drain() {
            self.shared.locks.release(&key, self.id);
        }
        if std::mem::take(&mut self.reads_tables) {
            self.shared.locks.end_reads(self.id, &self.read_locks);
            self.read_locks.clear();
        }
        self.table_locks.clear();
    }
}

/// A snapshot of which the session can tell what it saw running.
fn noted_snapshot(session: Option<&SessionNumber>, shared: &Transactions) -> Snapshot {
    match session {
        Some(session) => session.snapshot(shared),
        None => shared.storage.snapshot(),
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.leave_session();
        if let Some(number) = self.number {
            self.shared.numbers.ended(number);
        }
        self.release_locks();
    }
}

/// A private copy of a table with buffered changes installed.
pub(super) fn with_writes(storage: &crate::storage::Storage, old: &Table, writes: &TableWrites) -> Result<Arc<Table>> {
    let store = storage.new_store(old.store.storage, &old.layout);
    old.store.copy_into(&store, &old.layout)?;
    install(&store, writes)?;
    Ok(Arc::new(Table { def: old.def.clone(), store, layout: old.layout.clone() }))
}

/// Installs buffered changes in a store that nobody else reads.
pub(super) fn install(store: &TableStore, writes: &TableWrites) -> Result<()> {
    let now = CommitTs(0);
    let mut rows: Vec<_> = writes.rows.iter().collect();
    if store.key == KeyLayout::Hidden {
        // A small table is read in the order in which its rows came.
        rows.sort_unstable_by_key(|(key, _)| key.hidden_number());
    }
    for (key, write) in rows {
        if write.base {
            store.apply_delete(key, now)?;
        }
        if let Some(row) = &write.after {
            store.apply_insert(Some(key), row, now)?;
        }
    }
    for bulk in &writes.bulk {
        let kept = bulk.kept();
        let hidden: Option<Vec<i64>> = bulk.hidden.map(|h| kept.iter().map(|r| h + i64::from(*r)).collect());
        let begins = crate::storage::chunk::Begins::All(now);
        store.apply_batch(&bulk.columns_of(&kept)?, hidden.as_deref(), kept.len(), begins)?;
    }
    Ok(())
}
