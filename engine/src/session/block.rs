//! Transaction blocks: BEGIN … COMMIT, savepoints, the implicit transaction around statements outside a block, and
//! the failed state after an error.
//!
//! Invariants:
//! 1. Outside a block, statements up to the next Sync (or the end of a simple query) are one implicit transaction.
//! 2. A failed block holds no locks beyond those of its last savepoint: the failing statement's are released at once.

use std::pin::pin;
use std::sync::atomic::Ordering;

use super::Session;
use super::TransactionStatus;
use super::notify::ListenAction;
use super::registry::{ActivityState, WaitEvent, now_micros};
use super::settings::{Isolation, SettingsMark, TransactionModes};
use crate::catalog::Oid;
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::sql::utility;
use crate::txn::{
    self, CommitLevel, Committed, SavepointId, TableLock, TemporarySpace, Transaction, TransactionOptions, Wait,
};

struct Savepoint {
    name: String,
    id: SavepointId,
    settings: SettingsMark,
    /// How many notifications and changes of channels there were.
    notes: (usize, usize),
    /// Whether the transaction was READ ONLY: it is again behind the savepoint.
    read_only: bool,
}

/// The session's transaction, if there is one.
#[derive(Default)]
pub struct Block {
    pub transaction: Option<Box<Transaction>>,
    /// Between BEGIN and COMMIT or ROLLBACK.
    pub explicit: bool,
    /// An error happened in the block; nothing but its end is accepted.
    pub failed: bool,
    savepoints: Vec<Savepoint>,
    settings: Option<SettingsMark>,
    /// `now()` of the transaction.
    pub started: i64,
    /// When the first message came that belongs to the transaction, before there is one.
    pub came: Option<i64>,
    /// A query has run: isolation can't change any more.
    pub queried: bool,
    /// SET CONSTRAINTS of this transaction: ALL, then single ones.
    all_deferred: Option<bool>,
    constraint_modes: Vec<(Oid, bool)>,
    /// LISTEN and UNLISTEN of this transaction.
    pub listening: Vec<ListenAction>,
}

impl Block {
    pub fn status(&self) -> TransactionStatus {
        match (self.explicit, self.failed) {
            (_, true) => TransactionStatus::Failed,
            (true, false) => TransactionStatus::InTransaction,
            (false, false) => TransactionStatus::Idle,
        }
    }

    /// Whether SET CONSTRAINTS made a constraint deferred; `None` if it said nothing.
    pub fn constraint_mode(&self, constraint: Oid) -> Option<bool> {
        let single = self.constraint_modes.iter().rev().find(|(oid, _)| *oid == constraint);
        single.map(|(_, deferred)| *deferred).or(self.all_deferred)
    }

    pub fn set_constraint_mode(&mut self, constraints: Option<&[Oid]>, deferred: bool) {
        match constraints {
            None => {
                self.all_deferred = Some(deferred);
                self.constraint_modes.clear();
            }
            Some(oids) => self.constraint_modes.extend(oids.iter().map(|oid| (*oid, deferred))),
        }
    }

    pub fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    pub fn activity(&self) -> ActivityState {
        match self.status() {
            TransactionStatus::Idle => ActivityState::Idle,
            TransactionStatus::InTransaction => ActivityState::IdleInTransaction,
            TransactionStatus::Failed => ActivityState::IdleInTransactionAborted,
        }
    }
}

fn txn_isolation(isolation: Isolation) -> txn::Isolation {
    match isolation {
        Isolation::ReadUncommitted | Isolation::ReadCommitted => txn::Isolation::ReadCommitted,
        Isolation::RepeatableRead => txn::Isolation::RepeatableRead,
        Isolation::Serializable => txn::Isolation::Serializable,
    }
}

fn syntax_isolation(isolation: utility::Isolation) -> Isolation {
    match isolation {
        utility::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        utility::Isolation::ReadCommitted => Isolation::ReadCommitted,
        utility::Isolation::RepeatableRead => Isolation::RepeatableRead,
        utility::Isolation::Serializable => Isolation::Serializable,
    }
}

impl Session {
    /// The running transaction; starts an implicit one where there is none.
    pub(crate) fn transaction(&mut self) -> Result<&mut Transaction> {
        if self.block.transaction.is_none() {
            self.start_transaction(None);
        }
        let (lock_timeout, freshness) = (self.settings.values().lock_timeout, self.freshness());
        let transaction = self.block.transaction.as_mut().ok_or_else(|| Error::internal("no transaction"))?;
        transaction.set_lock_timeout(lock_timeout);
        transaction.set_freshness(freshness);
        Ok(transaction)
    }

    /// `now()`: of the transaction, or of the one that what is being bound will start. It is when the client's message came, so
    /// that what is bound, planned and run by several messages sees one moment.
    pub(super) fn transaction_time(&self) -> i64 {
        match (&self.block.transaction, self.block.came) {
            (Some(_), _) => self.block.started,
            (None, Some(came)) => came,
            // Behind a transaction that another statement of the same message ended.
            (None, None) if self.busy => self.shared.activity.lock().query_start,
            (None, None) => now_micros(),
        }
    }

    /// Starts a transaction with the session's default modes, or with `keep` (AND CHAIN).
    fn start_transaction(&mut self, keep: Option<TransactionModes>) {
        let values = self.settings.values().clone();
        self.settings.standby = self.engine.is_standby();
        self.settings.modes = keep.unwrap_or(values.default_modes);
        if self.settings.standby {
            self.settings.modes.read_only = true;
        }
        self.block.started = self.transaction_time();
        self.block.queried = false;
        self.block.settings = Some(self.settings.mark());
        let mut transaction = self.new_transaction();
        if let Some(space) = &self.temporary {
            transaction.set_temporary_space(space.clone());
        }
        self.block.transaction = Some(transaction);
        self.shared.activity.lock().transaction_start = Some(self.block.started);
    }

    pub(crate) fn warn_outside_block(&mut self, command: &str) {
        self.warn(SqlState::NoActiveSqlTransaction, &format!("{command} can only be used in transaction blocks"));
    }

    /// The session is about to make a temporary relation.
    pub(crate) fn prepare_temporary(&mut self) -> Result<()> {
        let (process, user) = (self.shared.key.process, self.user());
        let space = self.temporary.get_or_insert_with(|| TemporarySpace::new(process, user)).clone();
        self.transaction()?.set_temporary_space(space);
        Ok(())
    }

    fn new_transaction(&self) -> Box<Transaction> {
        let modes = self.settings.modes;
        let options = TransactionOptions {
            isolation: txn_isolation(modes.isolation),
            read_only: modes.read_only,
            process: self.shared.key.process,
            lock_timeout: self.settings.values().lock_timeout,
        };
        let mut transaction = Transaction::begin(self.engine.transactions(), options);
        transaction.use_database(self.database);
        transaction.use_number(self.shared.number.clone());
        transaction
    }

    /// Takes the lock that DML holds on its table, so that DDL waits for the transaction.
    pub(crate) async fn lock_for_write(&mut self, table: Oid) -> Result<()> {
        self.show_writing()?;
        self.transaction()?.lock_table(table, TableLock::RowExclusive, Wait::Block).await?;
        Ok(())
    }

    /// From here on pg_stat_activity shows the transaction's number.
    pub(crate) fn show_writing(&mut self) -> Result<()> {
        let number = self.transaction()?.number();
        self.shared.writing.store(number, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn begin(&mut self, modes: utility::TransactionModes) -> Result<()> {
        if self.block.explicit {
            self.warn(SqlState::ActiveSqlTransaction, "there is already a transaction in progress");
            return self.set_modes(modes);
        }
        self.transaction()?;
        self.block.explicit = true;
        self.set_modes(modes)
    }

    /// SET TRANSACTION and the modes of BEGIN. Nothing has run yet in the transaction, so it may start anew.
    pub(super) fn set_modes(&mut self, modes: utility::TransactionModes) -> Result<()> {
        if modes == utility::TransactionModes::default() {
            return Ok(());
        }
        self.transaction()?;
        let mut new = self.settings.modes;
        if let Some(isolation) = modes.isolation.map(syntax_isolation) {
            if isolation != new.isolation {
                self.check_isolation_may_change()?;
            }
            new.isolation = isolation;
        }
        if let Some(read_only) = modes.read_only {
            if !read_only && self.settings.standby {
                return Err(Error::new(
                    SqlState::FeatureNotSupported,
                    "cannot set transaction read-write mode during recovery",
                ));
            }
            if !read_only && new.read_only && self.block.queried {
                return Err(Error::new(
                    SqlState::ActiveSqlTransaction,
                    "transaction read-write mode must be set before any query",
                ));
            }
            new.read_only = read_only;
        }
        if let Some(deferrable) = modes.deferrable {
            if !self.block.savepoints.is_empty() {
                return Err(Error::new(
                    SqlState::ActiveSqlTransaction,
                    "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction",
                ));
            }
            if self.block.queried {
                return Err(Error::new(
                    SqlState::ActiveSqlTransaction,
                    "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
                ));
            }
            new.deferrable = deferrable;
        }
        self.apply_modes(new);
        Ok(())
    }

    /// 25001 once the transaction has a snapshot or a savepoint.
    pub(super) fn check_isolation_may_change(&self) -> Result<()> {
        let message = match (self.block.queried, self.block.savepoints.is_empty()) {
            (false, true) => return Ok(()),
            (true, _) => "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            (false, false) => "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
        };
        Err(Error::new(SqlState::ActiveSqlTransaction, message))
    }

    /// Makes the transaction follow `transaction_isolation` and its like after they were set in any way.
    pub(super) fn apply_modes(&mut self, modes: TransactionModes) {
        self.settings.modes = modes;
        // Not a new transaction: LOCK TABLE may have come before.
        if !self.block.queried
            && self.block.savepoints.is_empty()
            && let Some(transaction) = self.block.transaction.as_mut()
        {
            let options = transaction.options_mut();
            options.isolation = txn_isolation(modes.isolation);
            options.read_only = modes.read_only;
        }
    }

    /// COMMIT. In a failed block it is a ROLLBACK, and says so in its tag.
    pub(super) async fn commit_block(&mut self, chain: bool) -> Result<&'static str> {
        if chain && !self.block.explicit {
            return Err(Error::new(
                SqlState::NoActiveSqlTransaction,
                "COMMIT AND CHAIN can only be used in transaction blocks",
            ));
        }
        if !self.block.explicit {
            self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        let modes = self.settings.modes;
        let tag = if self.block.failed {
            self.abandon();
            "ROLLBACK"
        } else {
            self.commit_transaction().await?;
            "COMMIT"
        };
        if chain {
            self.start_transaction(Some(modes));
            self.block.explicit = true;
        }
        Ok(tag)
    }

    pub(super) fn rollback_block(&mut self, chain: bool) -> Result<()> {
        if chain && !self.block.explicit {
            return Err(Error::new(
                SqlState::NoActiveSqlTransaction,
                "ROLLBACK AND CHAIN can only be used in transaction blocks",
            ));
        }
        if !self.block.explicit {
            self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        let modes = self.settings.modes;
        self.abandon();
        if chain {
            self.start_transaction(Some(modes));
            self.block.explicit = true;
        }
        Ok(())
    }

    /// Commits what is running and leaves the block, whatever the outcome.
    pub(crate) async fn commit_transaction(&mut self) -> Result<()> {
        // Up to here the commit can be given up; once it is in the log nobody drops it.
        let shared = self.shared.clone();
        let mut checked = match self.deferred.is_empty() && self.deferred_keys.is_empty() {
            true => Ok(()),
            false => shared.interruptible(None, Box::pin(self.check_deferred()).as_mut()).await,
        };
        let to_hold = self.cursors_to_hold();
        if checked.is_ok() && !to_hold.is_empty() {
            checked = shared.interruptible(None, Box::pin(self.hold_cursors(&to_hold)).as_mut()).await;
        }
        if let Err(error) = checked {
            self.portals.retain(|name, _| !to_hold.contains(name));
            self.abandon();
            return Err(error);
        }
        let Some(mut transaction) = self.block.transaction.take() else {
            self.leave_block();
            return Ok(());
        };
        let notifications = self.notifications_to_send();
        if !notifications.is_empty() {
            transaction.notify(notifications);
        }
        let listening = std::mem::take(&mut self.block.listening);
        let listened = self.listen_ahead(&listening);
        self.close_portals();
        let logged = self.sequences.lock().take_logged();
        if let Some((reign, ts)) = logged {
            transaction.depend_on(reign, ts);
        }
        let level = self.settings.values().commit_level;
        let waiting = shared.waiting(WaitEvent::Commit);
        let committed = match transaction.commit_at(level).await {
            Ok(Some(committed)) => Ok(Some(self.wait_for_standbys(level, committed).await)),
            other => other,
        };
        drop(waiting);
        match committed {
            Ok(committed) => {
                self.shared.note_commit(committed);
                self.settings.commit();
                self.apply_listening(listening);
                self.leave_block();
                shared.ended(true);
                Ok(())
            }
            Err(error) => {
                shared.ended(false);
                self.listen_no_more(listened);
                self.portals.retain(|name, _| !to_hold.contains(name));
                self.abandon();
                Err(error)
            }
        }
    }

    /// The second half of `synchronous_commit = remote_apply`. The commit is safe already; who gives up waiting is told so.
    async fn wait_for_standbys(&mut self, level: CommitLevel, committed: Committed) -> Committed {
        let (Some(logged), CommitLevel::RemoteApply, Some(log)) = (committed.logged, level, self.engine.log()) else {
            return committed;
        };
        let (log, shared) = (log.clone(), self.shared.clone());
        let waited = shared.interruptible(None, pin!(async { Ok(log.applied_everywhere(logged).await) })).await;
        let why = match waited {
            Ok(true) => return Committed { level, ..committed },
            Ok(false) => "this node is no longer the primary",
            Err(_) => "the wait was canceled",
        };
        let warning =
            Error::new(SqlState::Warning, format!("did not wait for all standbys to apply the commit: {why}"))
                .detail("The transaction is committed on a majority; a standby may not show it yet.");
        self.notice(NoticeLevel::Warning, warning);
        committed
    }

    /// Rolls back what is running and leaves the block.
    pub(super) fn abandon(&mut self) {
        self.close_portals();
        if let Some(transaction) = self.block.transaction.take() {
            transaction.rollback();
            self.shared.ended(false);
        }
        if let Some(mark) = self.block.settings.take() {
            self.settings.roll_back(&mark);
        }
        self.leave_block();
    }

    fn leave_block(&mut self) {
        let started = self.block.started;
        self.block = Block { started, ..Block::default() };
        self.deferred.clear();
        self.deferred_keys.clear();
        self.routines.clear();
        self.sequences.lock().take_logged();
        self.notes.truncate(0);
        self.settings.modes = self.settings.values().default_modes;
        self.shared.activity.lock().transaction_start = None;
        self.shared.writing.store(0, Ordering::Relaxed);
    }

    /// What an error does to the transaction.
    pub(super) fn fail_transaction(&mut self) {
        self.routines.clear();
        self.sequences.lock().end_sets();
        self.copy = None;
        self.parts = None;
        if let Some((counted, _)) = self.copying.take() {
            self.engine.monitor.statements.failed(&counted);
        }
        if !self.block.explicit {
            self.abandon();
            return;
        }
        self.block.failed = true;
        match self.block.savepoints.len().checked_sub(1) {
            Some(level) => self.close_portals_after(level),
            None => self.close_portals(),
        }
        match (self.block.savepoints.last(), self.block.transaction.as_mut()) {
            (Some(savepoint), Some(transaction)) => {
                transaction.rollback_to(savepoint.id);
                self.settings.roll_back(&savepoint.settings);
                self.notes.truncate(savepoint.notes.0);
                self.block.listening.truncate(savepoint.notes.1);
            }
            _ => {
                if let Some(transaction) = self.block.transaction.take() {
                    transaction.rollback();
                    self.shared.ended(false);
                }
                self.shared.writing.store(0, Ordering::Relaxed);
                if let Some(mark) = &self.block.settings {
                    self.settings.roll_back(mark);
                }
                self.notes.truncate(0);
                self.block.listening.clear();
            }
        }
    }

    pub(super) fn savepoint(&mut self, name: String) -> Result<()> {
        self.require_block("SAVEPOINT")?;
        let settings = self.settings.mark();
        let id = self.transaction()?.savepoint();
        let notes = (self.notes.count(), self.block.listening.len());
        let read_only = self.settings.modes.read_only;
        self.block.savepoints.push(Savepoint { name, id, settings, notes, read_only });
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        self.block.savepoints.iter().rposition(|s| s.name == name).ok_or_else(|| {
            Error::new(SqlState::InvalidSavepointSpecification, format!("savepoint \"{name}\" does not exist"))
        })
    }

    pub(super) fn release(&mut self, name: &str) -> Result<()> {
        self.require_block("RELEASE SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        let id = self.block.savepoints[at].id;
        self.settings.modes.read_only = self.block.savepoints[at].read_only;
        self.block.savepoints.truncate(at);
        for portal in self.portals.values_mut() {
            portal.level = portal.level.min(at);
        }
        self.transaction()?.release(id);
        Ok(())
    }

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        self.block.savepoints.truncate(at + 1);
        let (id, settings) = (self.block.savepoints[at].id, self.block.savepoints[at].settings.clone());
        let notes = self.block.savepoints[at].notes;
        self.settings.modes.read_only = self.block.savepoints[at].read_only;
        self.close_portals_after(at);
        self.notes.truncate(notes.0);
        self.block.listening.truncate(notes.1);
        if let Some(transaction) = self.block.transaction.as_mut() {
            transaction.rollback_to(id);
        }
        self.settings.roll_back(&settings);
        self.block.failed = false;
        Ok(())
    }

    /// 25P01 outside a transaction block.
    pub(super) fn require_block(&self, command: &str) -> Result<()> {
        if self.block.explicit {
            return Ok(());
        }
        Err(Error::new(SqlState::NoActiveSqlTransaction, format!("{command} can only be used in transaction blocks")))
    }

    /// 25001 inside a transaction block.
    pub(crate) fn forbid_block(&self, command: &str) -> Result<()> {
        if !self.block.explicit && self.simple_total <= 1 {
            return Ok(());
        }
        Err(Error::new(SqlState::ActiveSqlTransaction, format!("{command} cannot run inside a transaction block")))
    }

    pub(super) fn warn(&mut self, state: SqlState, message: &str) {
        self.notice(NoticeLevel::Warning, Error::new(state, message));
    }
}
