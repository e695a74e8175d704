//! A client's session: prepared statements, portals, transaction state, settings. This is the border to `wire`.
//!
//! The protocol drives a session by pulling: a statement becomes a portal, and [`Session::step`] is called until it
//! answers [`Step::Complete`]. No call is lost by dropping its future except the answer: a commit that was handed to
//! the log completes without its session.
//!
//! Invariants:
//! 1. After an error inside a transaction block every statement but COMMIT, ROLLBACK and ROLLBACK TO answers 25P02.
//! 2. Nothing is sent to a client that depends on a commit which is not yet durable on a majority.

pub(crate) mod access;
pub mod advisory;
pub(crate) mod block;
mod cluster;
#[cfg(test)]
mod commit_level_tests;
mod current_row;
pub(crate) mod cursor;
mod explain;
mod functions;
mod host;
pub(crate) mod identity;
mod notify;
pub(crate) mod plan;
pub(crate) mod portal;
pub(crate) mod query;
pub mod registry;
pub mod routing;
pub mod settings;
mod shared;
#[cfg(test)]
mod shared_tests;
mod simple;
#[cfg(test)]
mod standby_tests;
mod two_phase;
pub(crate) mod utility;

pub(crate) use utility::quote_identifier;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::catalog::{Oid, RoutineDef};
use crate::copy::CopyIn;
use crate::dml::foreign_key::{DeferredCheck, DeferredKey};
use crate::engine::Engine;
use crate::error::{Error, Notice, NoticeLevel, Result, SqlState};
use crate::monitor::statements::Statement as Counted;
use crate::txn::{Freshness, Position, TemporarySpace};
use crate::types::{Datum, PgType, TypeOid};
use block::Block;
use plan::{Prepared, StatementCache};
use portal::Portal;
use registry::{SessionShared, now_micros};
use settings::Settings;

/// A row outside Arrow: the point path's result.
pub type Row = SmallVec<[Datum; 8]>;

/// One column of a result, as RowDescription needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub ty: PgType,
    /// pg_class OID and attribute number when the column is a plain column of a table, else 0.
    pub table: u32,
    pub attribute: i16,
}

/// Rows of a result in the form their path produced. Columns are positional; batch columns have the Arrow types of
/// `types/mod.rs` (names in the batch mean nothing).
#[derive(Debug, Clone)]
pub enum Rows {
    Batch(RecordBatch),
    Tuples(Vec<Row>),
}

/// What a call to [`Session::step`] produced.
#[derive(Debug)]
pub enum Step {
    /// Some rows; call again. Never more than the `max_rows` still open.
    Rows(Rows),
    /// `max_rows` rows were produced; the portal can go on.
    Suspended,
    /// Done; the CommandComplete tag, e.g. `SELECT 3`, `INSERT 0 1`.
    Complete(String),
    /// The statement text was empty.
    Empty,
    /// The client is to send COPY data: see [`Session::copy_data`].
    CopyIn(CopyFormat),
    /// COPY data follows as [`Step::CopyData`].
    CopyOut(CopyFormat),
    /// The client is to send binary COPY data: rows of these columns for [`Session::copy_rows`].
    CopyInRows { table: String, columns: Arc<[Column]> },
    /// Binary COPY data follows: rows of these columns as [`Step::Rows`].
    CopyOutRows(Arc<[Column]>),
    /// Whole COPY rows, each for a CopyData message of its own: drivers count on it.
    CopyData(Vec<Bytes>),
}

/// Overall format of a COPY: 0 text (also csv) or 1 binary, and the number of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFormat {
    pub binary: bool,
    pub columns: u16,
}

/// ReadyForQuery's status byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InTransaction,
    /// `E`
    Failed,
}

/// What the startup message said, after authentication.
#[derive(Debug, Clone)]
pub struct Startup {
    pub user: String,
    pub database: String,
    /// Every other parameter: each one is a setting (GUC); an unknown one is an error 42704.
    pub parameters: Vec<(String, String)>,
    pub client: Option<SocketAddr>,
}

/// What BackendKeyData carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendKey {
    pub process: i32,
    pub secret: i32,
}

/// Shape of a prepared statement.
#[derive(Debug, Clone)]
pub struct StatementShape {
    pub parameters: Arc<[TypeOid]>,
    /// `None`: returns no rows (NoData).
    pub columns: Option<Arc<[Column]>>,
}

/// Whether the node's state is as new as the session's reads have to be.
pub(crate) enum Reached {
    Yes,
    No(Error),
    /// The statement will see to it.
    NotAsked,
}

/// One client's session. Owned by one connection task; all methods take `&mut self`.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) shared: Arc<SessionShared>,
    pub(crate) settings: Settings,
    /// The database that it is connected to.
    pub(crate) database: Oid,
    pub(crate) block: Block,
    /// What deferred constraints must still hold at COMMIT.
    pub(crate) deferred: Vec<DeferredCheck>,
    pub(crate) deferred_keys: Vec<DeferredKey>,
    pub(crate) sequences: Arc<Mutex<host::SequenceValues>>,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    cache: StatementCache,
    /// Statements of the running simple query that are still to come.
    simple: VecDeque<simple::Simple>,
    /// How many the simple query has; 0 in the extended protocol.
    simple_total: usize,
    /// Its text, where that is not the statement's: it has several, or was planned without its literals.
    simple_text: Option<Arc<str>>,
    pub(crate) copy: Option<Box<CopyIn>>,
    pub(crate) notes: Arc<notify::Notes>,
    inbox: Option<Arc<crate::txn::notify::Inbox>>,
    /// Set while a statement of several parts runs.
    pub(crate) parts: Option<Box<crate::dml::parts::Shared>>,
    /// The COPY that takes data: where it is counted, and since when it runs.
    pub(crate) copying: Option<(Arc<Counted>, portal::Clock)>,
    notices: Vec<Notice>,
    context: Option<functions::CachedContext>,
    /// Between a client's first message and the answer to its Sync: an interrupt is for what was asked.
    busy: bool,
    pub(crate) advisory: advisory::AdvisoryLocks,
    /// Procedures that run, innermost last.
    pub(crate) routines: Vec<Arc<RoutineDef>>,
    /// Where its temporary relations are, once it made one.
    pub(crate) temporary: Option<Arc<TemporarySpace>>,
    /// It is the session of another node's client.
    carried: bool,
    /// What the session on the primary knows of the settings.
    carried_settings: Option<Arc<settings::Values>>,
    /// What the other node knows of the commits.
    reported_position: Position,
}

impl Session {
    pub(crate) fn open(engine: Arc<Engine>, shared: Arc<SessionShared>, settings: Settings, database: Oid) -> Session {
        let advisory = advisory::AdvisoryLocks::new(engine.clone(), &shared);
        Session {
            engine,
            shared,
            settings,
            database,
            block: Block::default(),
            deferred: Vec::new(),
            deferred_keys: Vec::new(),
            sequences: Arc::default(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            cache: StatementCache::default(),
            simple: VecDeque::new(),
            simple_total: 0,
            simple_text: None,
            copy: None,
            notes: Arc::default(),
            inbox: None,
            parts: None,
            copying: None,
            notices: Vec::new(),
            context: None,
            busy: false,
            advisory,
            routines: Vec::new(),
            temporary: None,
            carried: false,
            carried_settings: None,
            reported_position: Position::default(),
        }
    }

    /// The client asks for something: an interrupt that came before was for something else.
    fn begin_command(&mut self) {
        if !std::mem::replace(&mut self.busy, true) {
            self.shared.clear_interrupt();
        }
        if self.block.transaction.is_none() && self.simple_total == 0 {
            self.block.came.get_or_insert_with(now_micros);
        }
    }

    pub fn backend_key(&self) -> BackendKey {
        self.shared.key
    }

    /// Settings that the client is told of at start and on change (ParameterStatus), name and value.
    /// The first call returns all of them, later calls what changed since.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        let standby = self.engine.is_standby();
        if self.block.transaction.is_none() {
            self.settings.standby = standby;
        }
        let mut changes = self.settings.take_changes();
        changes.extend(self.carried_reports());
        changes
    }

    /// Notices raised since the last call, to be sent before the message that the current call leads to.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        for notice in self.settings.take_notices() {
            self.notice(notice.level, notice.report);
        }
        std::mem::take(&mut self.notices)
    }

    /// Keeps a notice for the client if `client_min_messages` lets it through.
    pub(crate) fn notice(&mut self, level: NoticeLevel, report: Error) {
        if level == NoticeLevel::Info || self.settings.values().min_messages.is_some_and(|least| level >= least) {
            self.notices.push(Notice { level, report });
        }
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        self.block.status()
    }

    /// Simple query: parses the whole string (an error means that nothing ran) and returns the number of statements.
    /// Then, for each one in turn, [`Self::next_simple`] and [`Self::step`] on the unnamed portal; the first error ends
    /// the string. Several statements are one implicit transaction; [`Self::sync`] ends it.
    pub fn begin_simple(&mut self, sql: &str) -> Result<usize> {
        self.begin_command();
        self.parse_simple(sql).inspect_err(|_| self.fail_transaction())?;
        Ok(self.simple_total)
    }

    /// Plans the next statement of the string and opens it as the unnamed portal. Returns its columns if it returns rows.
    pub async fn next_simple(&mut self) -> Result<Option<Arc<[Column]>>> {
        let binds = self.engine.is_standby() && self.simple.front().is_some_and(|next| binds_names(next.text()));
        let opened = match self.catch_up(binds).await {
            Ok(reached) => self.open_simple(reached).await,
            Err(error) => Err(error),
        };
        if opened.is_err() {
            self.fail_transaction();
        }
        opened
    }

    /// Before names are bound: on a standby a table whose creation was acknowledged anywhere must be found here, unless the
    /// statement's snapshot is older. Without a primary the names of the last known state are good enough; reading rows fails
    /// by itself, with the error that is answered. Errors: 57014.
    async fn catch_up(&mut self, binds: bool) -> Result<Reached> {
        let mut newest = !self.block.failed;
        if let Some(transaction) = self.block.transaction.as_mut() {
            transaction.unpin();
            newest &= transaction.wants_snapshot();
        }
        if !newest || !binds || !self.engine.is_standby() {
            return Ok(Reached::NotAsked);
        }
        let deadline = self.settings.values().statement_timeout.map(|t| std::time::Instant::now() + t);
        let (shared, freshness) = (self.shared.clone(), self.freshness());
        let transactions = self.engine.transactions().clone();
        match shared.interruptible(deadline, pin!(transactions.freshen(&freshness))).await {
            Ok(()) => Ok(Reached::Yes),
            Err(error) if error.state() == SqlState::QueryCanceled => Err(error),
            Err(error) => Ok(Reached::No(error)),
        }
    }

    /// How old reads may be, and what they have to show: the session's own commits at least.
    pub(crate) fn freshness(&self) -> Freshness {
        let freshness = self.settings.values().freshness;
        Freshness { after: freshness.after.max(self.shared.last_commit()), ..freshness }
    }

    /// Parse message: 0 in `parameter_types` (or a missing one) asks for inference. The name "" is the unnamed statement.
    pub async fn prepare(&mut self, name: &str, sql: &str, parameter_types: &[u32]) -> Result<()> {
        self.begin_command();
        self.simple_total = 0;
        let binds = self.engine.is_standby() && binds_names(sql);
        let prepared = match self.catch_up(binds).await {
            Ok(_) => self.prepare_text(name, sql, parameter_types).await,
            Err(error) => Err(error),
        };
        if prepared.is_err() {
            self.fail_transaction();
        }
        prepared
    }

    /// Shape of a prepared statement (26000 if there is none).
    pub fn statement(&self, name: &str) -> Result<StatementShape> {
        let prepared = self.find_statement(name)?;
        let columns = self.columns_of(prepared)?;
        Ok(StatementShape { parameters: prepared.parameters.clone(), columns })
    }

    /// Shape of a portal (34000 if there is none).
    pub fn portal_columns(&self, name: &str) -> Result<Option<Arc<[Column]>>> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        match &portal.cursor {
            Some(cursor) => Ok(portal.prepared.columns.as_ref().map(|c| Arc::from(cursor.hidden.visible(c)))),
            None => self.columns_of(&portal.prepared),
        }
    }

    /// Bind message. The values have the statement's parameter types.
    pub async fn bind(&mut self, portal: &str, statement: &str, values: Vec<Datum>) -> Result<()> {
        self.begin_command();
        if let Some(transaction) = self.block.transaction.as_mut() {
            transaction.unpin();
        }
        let bound = self.bind_portal(portal, statement, values);
        if bound.is_err() {
            self.fail_transaction();
        }
        bound
    }

    /// Runs or goes on with a portal. `max_rows` 0: no limit; the same limit comes with every call until the portal
    /// answers Suspended or Complete, and the session counts. After an error the session has failed its transaction.
    /// The last statement of an implicit transaction outside a block commits before it answers Complete.
    pub async fn step(&mut self, portal: &str, max_rows: usize) -> Result<Step> {
        self.begin_command();
        match self.step_portal(portal, max_rows).await {
            Ok(step) => Ok(step),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// Whether the statement of a portal is to end, for whoever sends the rows of one [`Self::step`] (57014).
    pub fn check_interrupted(&self, portal: &str) -> Result<()> {
        self.shared.check(self.portals.get(portal).and_then(|portal| portal.deadline))
    }

    /// A piece of COPY input, cut anywhere.
    pub async fn copy_data(&mut self, data: Bytes) -> Result<()> {
        match self.copy_in_data(data).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// Rows of binary COPY input.
    pub async fn copy_rows(&mut self, rows: Vec<Row>) -> Result<()> {
        match self.copy_in_rows(rows).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// CopyDone: answers the command tag.
    pub async fn copy_done(&mut self) -> Result<String> {
        let counted = self.copying.take();
        match self.copy_in_done().await {
            Ok(tag) => {
                if let Some((counted, clock)) = counted {
                    self.engine.monitor.statements.completed(&counted, clock.elapsed(), portal::rows_of(&tag));
                }
                Ok(tag)
            }
            Err(error) => {
                self.copying = counted;
                Err(self.failed(error).await)
            }
        }
    }

    /// Fails the transaction after an error. The error may tell of a row that is sequenced and not yet durable: the client
    /// hears of it once it is, or else that the transaction came to nothing (invariant 2).
    async fn failed(&mut self, error: Error) -> Error {
        let shared = self.shared.clone();
        let error = match self.block.transaction.as_mut().filter(|_| tells_of_data(&error)) {
            None => error,
            Some(transaction) => match shared.interruptible(None, pin!(transaction.wait_for_dependencies())).await {
                Ok(()) => error,
                Err(lost) => lost,
            },
        };
        self.fail_transaction();
        error
    }

    /// CopyFail: the error to report.
    pub async fn copy_fail(&mut self, message: &str) -> Error {
        let place = self.copy.as_ref().map(|copy| copy.place());
        self.fail_transaction();
        let error = Error::new(SqlState::QueryCanceled, format!("COPY from stdin failed: {message}"));
        match place {
            Some(place) => error.context(place),
            None => error,
        }
    }

    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// Sync message or end of a simple query: ends an implicit transaction (commit, or rollback after an error).
    pub async fn sync(&mut self) -> Result<()> {
        self.simple.clear();
        self.simple_total = 0;
        self.block.came = None;
        let ended = match (self.block.explicit, self.block.transaction.is_some()) {
            (true, _) => Ok(()),
            (false, true) => self.commit_transaction().await,
            (false, false) => {
                // Portals that were bound and never ran.
                self.close_portals();
                Ok(())
            }
        };
        self.become_idle();
        ended
    }

    /// An error that `wire` found itself (a bad Bind value, say): fails the transaction like any other.
    pub fn fail(&mut self) {
        self.fail_transaction();
    }

    /// Resolves when the session is to end from outside (pg_terminate_backend, an idle timeout), with the error that the
    /// client is told, e.g. 57P01. `wire` polls it while the session is idle and while it runs.
    pub fn termination(&self) -> BoxFuture<'static, Error> {
        self.shared.termination()
    }

    /// The connection ends: rolls back, frees locks, forgets temporary state.
    pub async fn close(&mut self) {
        self.abandon();
        self.apply_listening(vec![notify::ListenAction::UnlistenAll]);
        self.advisory.release_all();
        self.temporary = None;
        self.statements.clear();
        self.engine.sessions().forget(self.shared.key.process);
    }

    /// Says in pg_stat_activity that the session waits for its client, and starts the idle timeouts.
    fn become_idle(&mut self) {
        self.busy = false;
        let values = self.settings.values();
        let timeout = match self.block.status() {
            TransactionStatus::Idle => values.idle_session_timeout.map(|t| (t, SqlState::IdleSessionTimeout)),
            _ => values.idle_in_transaction_timeout.map(|t| (t, SqlState::IdleInTransactionSessionTimeout)),
        };
        self.shared.set_idle_deadline(timeout.map(|(t, state)| (std::time::Instant::now() + t, state)));
        let mut activity = self.shared.activity.lock();
        activity.state = self.block.activity();
        activity.state_change = now_micros();
    }

    /// Says what the session is running from now on.
    fn become_active(&mut self, query: &Arc<str>) {
        self.shared.set_idle_deadline(None);
        // All statements of a simple query began when it came.
        let goes_on = self.simple_total > self.simple.len() + 1;
        let whole = self.simple_text.as_ref().filter(|_| self.simple_total > 0);
        let mut activity = self.shared.activity.lock();
        if goes_on && activity.state == registry::ActivityState::Active {
            return;
        }
        let now = self.block.came.filter(|_| self.simple_total > 0).unwrap_or_else(now_micros);
        activity.state = registry::ActivityState::Active;
        activity.query = whole.unwrap_or(query).clone();
        activity.query_start = now;
        activity.state_change = now;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.apply_listening(vec![notify::ListenAction::UnlistenAll]);
        self.engine.sessions().forget(self.shared.key.process);
    }
}

/// Whether an error says anything about rows. Of the end of a wait, of resources and of leadership it does not.
fn tells_of_data(error: &Error) -> bool {
    !["08", "25", "40", "53", "55", "57"].iter().any(|class| error.state().code().starts_with(class))
}

/// False for statements that name nothing of the catalog, by their first word, or views that tell of the nodes alone: they
/// wait for no news of it.
fn binds_names(sql: &str) -> bool {
    const NONE: [&str; 16] = [
        "abort",
        "begin",
        "close",
        "commit",
        "deallocate",
        "discard",
        "end",
        "fetch",
        "move",
        "reset",
        "rollback",
        "savepoint",
        "set",
        "show",
        "start",
        "release",
    ];
    let sql = sql.trim_start();
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    if NONE.iter().any(|none| none.eq_ignore_ascii_case(word)) {
        return false;
    }
    let rest = sql.get(word.len()..).unwrap_or_default();
    // Such as SELECT 1, by which clients ask whether anybody is there.
    let names_nothing = || !rest.contains(|c: char| c.is_alphabetic() || matches!(c, '"' | '_'));
    !(word.eq_ignore_ascii_case("select") && (names_nothing() || names_monitors_alone(rest)))
}

/// Whether behind each FROM and JOIN stands a view that tells of the nodes. What a comma hides is only bound by the names
/// that are known here: its rows are waited for.
fn names_monitors_alone(sql: &str) -> bool {
    const LENGTH_MAX: usize = 4096;
    if sql.len() > LENGTH_MAX {
        return false;
    }
    let mut words =
        sql.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))).filter(|w| !w.is_empty());
    let mut found = false;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("join") {
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            if !crate::system::monitors(name.strip_prefix("pg_catalog.").unwrap_or(&name)) {
                return false;
            }
            found = true;
        }
    }
    found
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}
