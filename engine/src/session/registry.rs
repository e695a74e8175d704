//! The registry of sessions: who is connected, what each one does (pg_stat_activity), and how others reach it
//! (CancelRequest, pg_cancel_backend, pg_terminate_backend, timeouts).
//!
//! Invariants:
//! 1. A process number names one live session; numbers grow and are reused only after wrapping round.
//! 2. An interrupt ends the statement that was running when it came and is then spent.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::BackendKey;
use crate::error::{Error, Result, SqlState};
use crate::storage::CommitTs;
use crate::txn::{CommitLevel, Committed, Position, SessionNumber};

/// Microseconds since 1970, as timestamptz counts.
pub fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// What a session is doing, as `pg_stat_activity.state` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityState {
    Active,
    Idle,
    IdleInTransaction,
    IdleInTransactionAborted,
}

impl ActivityState {
    pub fn text(self) -> &'static str {
        match self {
            ActivityState::Active => "active",
            ActivityState::Idle => "idle",
            ActivityState::IdleInTransaction => "idle in transaction",
            ActivityState::IdleInTransactionAborted => "idle in transaction (aborted)",
        }
    }
}

/// What a running session waits for, other than locks: those are asked of the lock table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WaitEvent {
    /// `pg_sleep`.
    Sleep = 1,
    /// A commit that is not durable yet.
    Commit = 2,
    /// A change of the cluster.
    ClusterChange = 3,
}

impl WaitEvent {
    /// `wait_event_type` and `wait_event`.
    pub fn text(self) -> (&'static str, &'static str) {
        match self {
            WaitEvent::Sleep => ("Timeout", "PgSleep"),
            WaitEvent::Commit => ("IO", "WALSync"),
            WaitEvent::ClusterChange => ("IPC", "ClusterChange"),
        }
    }
}

/// The session waits until this is dropped.
pub struct Waiting<'a>(&'a AtomicU8);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.store(NONE, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
pub struct Activity {
    pub state: ActivityState,
    /// Text of the running or last statement.
    pub query: Arc<str>,
    pub query_start: i64,
    pub transaction_start: Option<i64>,
    pub state_change: i64,
    pub application_name: Arc<str>,
}

/// The part of a session that others may touch.
pub struct SessionShared {
    pub key: BackendKey,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub client: Option<SocketAddr>,
    pub started: i64,
    pub activity: Mutex<Activity>,
    /// A [`WaitEvent`], or none.
    waiting: AtomicU8,
    /// Number of the transaction once it writes; 0: it does not, or there is none.
    pub writing: AtomicU64,
    pub number: Arc<SessionNumber>,
    /// The session's last commit; 0: none.
    last_commit: AtomicU64,
    commit_level: Mutex<Option<CommitLevel>>,
    /// Transactions that ended, counted by the session alone.
    committed: AtomicU64,
    rolled_back: AtomicU64,
    interrupt: AtomicU8,
    interrupted: Notify,
    terminate: AtomicBool,
    terminated: Notify,
    /// When an idle session is to end, and why.
    idle_deadline: Mutex<Option<(Instant, SqlState)>>,
}

const NONE: u8 = 0;
const CANCEL: u8 = 1;

impl SessionShared {
    /// Ends the running statement with 57014.
    pub fn cancel(&self) {
        self.interrupt.store(CANCEL, Ordering::Release);
        self.interrupted.notify_waiters();
    }

    pub fn terminate(&self) {
        self.terminate.store(true, Ordering::Release);
        self.cancel();
        self.terminated.notify_waiters();
    }

    /// What a statement that interrupts its own session ends with.
    pub fn interrupt_itself(&self, terminate: bool) -> Error {
        if !terminate {
            return canceled();
        }
        self.terminate();
        admin_shutdown()
    }

    /// Counts a transaction that ended.
    pub fn ended(&self, committed: bool) {
        let count = if committed { &self.committed } else { &self.rolled_back };
        // Nobody else counts here.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Shows the session as waiting for the life of the answer.
    pub fn waiting(&self, event: WaitEvent) -> Waiting<'_> {
        self.waiting.store(event as u8, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    pub fn wait_event(&self) -> Option<WaitEvent> {
        [WaitEvent::Sleep, WaitEvent::Commit, WaitEvent::ClusterChange]
            .into_iter()
            .find(|e| *e as u8 == self.waiting.load(Ordering::Relaxed))
    }

    /// Remembers a commit of the session; `None`: nothing was written.
    pub fn note_commit(&self, committed: Option<Committed>) {
        if let Some(committed) = committed {
            self.last_commit.fetch_max(committed.position.0.0, Ordering::AcqRel);
            *self.commit_level.lock() = Some(committed.level);
        }
    }

    /// How safe the session's last commit was when it was acknowledged.
    pub fn commit_level(&self) -> Option<CommitLevel> {
        *self.commit_level.lock()
    }

    /// What the session's reads have to show.
    pub fn last_commit(&self) -> Position {
        Position(CommitTs(self.last_commit.load(Ordering::Acquire)))
    }

    /// Forgets an interrupt that came while nothing ran.
    pub fn clear_interrupt(&self) {
        if self.interrupt.load(Ordering::Relaxed) != NONE && !self.terminate.load(Ordering::Acquire) {
            self.interrupt.store(NONE, Ordering::Release);
        }
    }

    pub fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Acquire) != NONE
    }

    /// Resolves when the running statement is interrupted.
    pub(super) async fn wait_interrupted(&self) -> Error {
        loop {
            let notified = self.interrupted.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Err(error) = self.check_interrupt() {
                return error;
            }
            notified.await;
        }
    }

    /// Whether the running statement was interrupted: once for each interruption.
    fn check_interrupt(&self) -> Result<()> {
        if !self.is_interrupted() || self.interrupt.swap(NONE, Ordering::AcqRel) == NONE {
            return Ok(());
        }
        Err(if self.terminate.load(Ordering::Acquire) { admin_shutdown() } else { canceled() })
    }

    /// Whether the running statement is to end now, for what it does without waiting: see [`Self::interruptible`].
    pub fn check(&self, deadline: Option<Instant>) -> Result<()> {
        self.check_interrupt()?;
        match deadline {
            Some(at) if at <= Instant::now() => Err(statement_timeout()),
            _ => Ok(()),
        }
    }

    /// Runs `work` unless the statement is interrupted or `deadline` passes first. Work that is ready at once costs
    /// nothing more. The work comes pinned: a statement's future is large, and would be copied on its way here.
    pub async fn interruptible<T>(
        &self,
        deadline: Option<Instant>,
        mut work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        // Work that is always ready has to end, too.
        self.check(deadline)?;
        if let Some(done) = work.as_mut().now_or_never() {
            return done;
        }
        let timeout = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            error = self.wait_interrupted() => Err(error),
            done = work => done,
            () = timeout => Err(statement_timeout()),
        }
    }

    /// When the session, idle from now on, is to be ended.
    pub fn set_idle_deadline(&self, deadline: Option<(Instant, SqlState)>) {
        let mut current = self.idle_deadline.lock();
        if current.is_some() || deadline.is_some() {
            *current = deadline;
            self.terminated.notify_waiters();
        }
    }

    /// See [`super::Session::termination`].
    pub fn termination(self: &Arc<Self>) -> BoxFuture<'static, Error> {
        let session = self.clone();
        Box::pin(async move {
            loop {
                let changed = session.terminated.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if session.terminate.load(Ordering::Acquire) {
                    return admin_shutdown();
                }
                let deadline = *session.idle_deadline.lock();
                match deadline {
                    Some((at, state)) if at <= Instant::now() => return idle_timeout(state),
                    Some((at, _)) => {
                        let _ = tokio::time::timeout_at(at.into(), changed).await;
                    }
                    None => changed.await,
                }
            }
        })
    }
}

fn canceled() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

fn statement_timeout() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
}

fn admin_shutdown() -> Error {
    Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
}

fn idle_timeout(state: SqlState) -> Error {
    let message = match state {
        SqlState::IdleInTransactionSessionTimeout => "terminating connection due to idle-in-transaction timeout",
        _ => "terminating connection due to idle-session timeout",
    };
    Error::new(state, message)
}

/// All sessions of an engine.
#[derive(Default)]
pub struct Sessions {
    by_process: DashMap<i32, Arc<SessionShared>>,
    last_process: AtomicI32,
    /// Of sessions that are gone: transactions that committed and that rolled back.
    ended: Mutex<(u64, u64)>,
}

impl Sessions {
    pub fn register(&self, user: &str, database: &str, client: Option<SocketAddr>) -> Arc<SessionShared> {
        let now = now_micros();
        loop {
            let process = self.last_process.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
            if process == 0 {
                continue;
            }
            let dashmap::Entry::Vacant(place) = self.by_process.entry(process) else {
                continue;
            };
            let shared = Arc::new(SessionShared {
                key: BackendKey { process, secret: rand::random() },
                user: user.into(),
                database: database.into(),
                client,
                started: now,
                activity: Mutex::new(Activity {
                    state: ActivityState::Idle,
                    query: "".into(),
                    query_start: now,
                    transaction_start: None,
                    state_change: now,
                    application_name: "".into(),
                }),
                waiting: AtomicU8::new(NONE),
                writing: AtomicU64::new(0),
                number: Arc::default(),
                last_commit: AtomicU64::new(0),
                commit_level: Mutex::new(None),
                committed: AtomicU64::new(0),
                rolled_back: AtomicU64::new(0),
                interrupt: AtomicU8::new(NONE),
                interrupted: Notify::new(),
                terminate: AtomicBool::new(false),
                terminated: Notify::new(),
                idle_deadline: Mutex::new(None),
            });
            place.insert(shared.clone());
            return shared;
        }
    }

    pub fn forget(&self, process: i32) {
        let mut ended = self.ended.lock();
        if let Some((_, session)) = self.by_process.remove(&process) {
            ended.0 += session.committed.load(Ordering::Relaxed);
            ended.1 += session.rolled_back.load(Ordering::Relaxed);
        }
    }

    /// Transactions of all sessions that committed and that rolled back.
    pub fn ended_transactions(&self) -> (u64, u64) {
        let ended = self.ended.lock();
        self.by_process.iter().fold(*ended, |sum, session| {
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (sum.0 + count(&session.committed), sum.1 + count(&session.rolled_back))
        })
    }

    /// CancelRequest.
    pub fn cancel(&self, key: BackendKey) {
        if let Some(session) = self.by_process.get(&key.process)
            && session.key.secret == key.secret
        {
            session.cancel();
        }
    }

    pub fn find(&self, process: i32) -> Option<Arc<SessionShared>> {
        self.by_process.get(&process).map(|s| s.clone())
    }

    /// Sessions of a database, without one of them.
    pub fn in_database(&self, database: &str, except: i32) -> Vec<Arc<SessionShared>> {
        let others = self.by_process.iter().filter(|s| *s.database == *database && s.key.process != except);
        others.map(|s| s.clone()).collect()
    }

    pub fn terminate_all(&self) {
        for session in &self.by_process {
            session.terminate();
        }
    }

    /// Every session, by process number.
    pub fn list(&self) -> Vec<Arc<SessionShared>> {
        let mut all: Vec<_> = self.by_process.iter().map(|s| s.clone()).collect();
        all.sort_by_key(|s| s.key.process);
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn cancel_needs_the_secret_and_ends_one_statement() {
        let sessions = Sessions::default();
        let s = sessions.register("ada", "db", None);
        let wrong = BackendKey { process: s.key.process, secret: s.key.secret.wrapping_add(1) };
        sessions.cancel(wrong);
        assert!(!s.is_interrupted());
        sessions.cancel(s.key);
        let error = s.interruptible(None, pin!(std::future::pending::<Result<()>>())).await.unwrap_err();
        assert_eq!(error.state(), SqlState::QueryCanceled);
        assert!(s.interruptible(None, pin!(async { Ok(()) })).await.is_ok());
        assert!(!s.is_interrupted());
    }

    #[tokio::test]
    async fn idle_deadlines_and_termination_end_the_session() {
        let sessions = Sessions::default();
        let s = sessions.register("ada", "db", None);
        s.set_idle_deadline(Some((Instant::now(), SqlState::IdleInTransactionSessionTimeout)));
        assert_eq!(s.termination().await.state(), SqlState::IdleInTransactionSessionTimeout);
        s.set_idle_deadline(None);
        let waiting = s.termination();
        sessions.terminate_all();
        assert_eq!(waiting.await.state(), SqlState::AdminShutdown);
    }
}
