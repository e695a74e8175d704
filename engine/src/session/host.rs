//! What expressions and the system catalog may ask of the session: settings, sequences, other sessions, the cluster.
//!
//! Invariant: a statement sees one state of it, taken when it starts (other than sequences, which never stand still).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::Session;
use super::notify::Notes;
use super::registry::{Activity, ActivityState, SessionShared, WaitEvent};
use super::settings::Settings;
use crate::catalog::{Catalog, Oid, Relation, SequenceDef};
use crate::commit_log::{ArchiveStatus, ClusterStatus};
use crate::divergence::{PATIENCE_OF_SQL, Verdict};
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::storage::CommitTs;
use crate::system::{
    CursorRow, LockRow, PreparedStatementRow, SessionRow, SettingRow, SystemContext, SystemHost, TableFigures,
};
use crate::txn::locks::{Listed, LockKey, WaitingFor};
use crate::txn::{Reign, TemporarySpace};
use crate::types::Datum;

/// `currval` and `lastval`: what `nextval` gave this session.
#[derive(Debug, Default)]
pub struct SequenceValues {
    values: HashMap<Oid, i64>,
    last: Option<Oid>,
    /// The record that covers what queries of the running transaction were given: see [`Self::take_logged`].
    logged: Option<(Reign, CommitTs)>,
    /// What calls of `setval` in the running query are to set, if they may.
    to_set: Option<Vec<SetSequence>>,
}

/// A sequence, its value, and whether that has been called for.
pub type SetSequence = (Arc<SequenceDef>, i64, bool);

impl SequenceValues {
    /// From here on queries may call `setval`.
    pub(crate) fn begin_sets(&mut self) {
        self.to_set = Some(Vec::new());
    }

    /// False where queries may not call `setval`.
    pub(crate) fn note_set(&mut self, sequence: Arc<SequenceDef>, value: i64, called: bool) -> bool {
        if let Some(to_set) = &mut self.to_set {
            to_set.push((sequence, value, called));
        }
        self.to_set.is_some()
    }

    /// What is to be set; queries may no longer call `setval`.
    pub(crate) fn end_sets(&mut self) -> Vec<SetSequence> {
        self.to_set.take().unwrap_or_default()
    }

    /// A query was given a value that the record at `ts` covers.
    pub(crate) fn note_logged(&mut self, reign: Reign, ts: CommitTs) {
        let before = self.logged.filter(|(known, _)| *known == reign).map_or(CommitTs(0), |(_, ts)| ts);
        self.logged = Some((reign, before.max(ts)));
    }

    /// What must be durable before the transaction is said to be committed: otherwise somebody else may be given the same
    /// values.
    pub(crate) fn take_logged(&mut self) -> Option<(Reign, CommitTs)> {
        self.logged.take()
    }

    pub fn remember(&mut self, sequence: Oid, value: i64) {
        self.values.insert(sequence, value);
        self.last = Some(sequence);
    }

    /// After `setval`, which `lastval` does not count.
    pub fn set(&mut self, sequence: Oid, value: i64) {
        self.values.insert(sequence, value);
    }

    /// `currval` of a sequence, or `lastval` (55000).
    pub fn current(&self, sequence: Option<&SequenceDef>) -> Result<Datum> {
        let oid = sequence.map(|s| s.oid).or(self.last);
        oid.and_then(|oid| self.values.get(&oid)).map(|v| Datum::Int8(*v)).ok_or_else(|| {
            let message = match sequence {
                Some(s) => format!("currval of sequence \"{}\" is not yet defined in this session", s.name),
                None => "lastval is not yet defined in this session".into(),
            };
            Error::new(SqlState::ObjectNotInPrerequisiteState, message)
        })
    }
}

/// What a host needs of its session; cheap to clone but for the settings.
#[derive(Clone)]
pub struct HostParts {
    pub engine: Arc<Engine>,
    pub shared: Arc<SessionShared>,
    pub settings: Settings,
    pub user: Oid,
    pub sequences: Arc<Mutex<SequenceValues>>,
    pub temporary: Option<Arc<TemporarySpace>>,
    pub notes: Arc<Notes>,
}

impl HostParts {
    pub fn system_context(&self, catalog: Arc<Catalog>, host: StatementHost) -> SystemContext {
        let values = self.settings.values();
        let path = catalog.search_path(&values.search_path, &values.users.current().name);
        SystemContext { path, catalog, user: self.user, host: Arc::new(host) }
    }
}

impl Session {
    pub(super) fn host_parts(&self) -> HostParts {
        HostParts {
            engine: self.engine.clone(),
            shared: self.shared.clone(),
            settings: self.settings.clone(),
            user: self.user(),
            sequences: self.sequences.clone(),
            temporary: self.temporary.clone(),
            notes: self.notes.clone(),
        }
    }

    pub(super) async fn system_context(&mut self, catalog: &Arc<Catalog>, reads: &[Oid]) -> SystemContext {
        let asks_cluster =
            reads.iter().any(|oid| crate::system::by_oid(*oid).is_some_and(|r| crate::system::asks_cluster(r.name)));
        let cluster = match (asks_cluster, self.engine.log()) {
            (true, Some(log)) => log.status().await,
            _ => ClusterStatus::default(),
        };
        let checks = |oid: &Oid| crate::system::by_oid(*oid).is_some_and(|r| r.name == "lockstep_check_divergence");
        let divergence = match reads.iter().any(checks) {
            true => self.divergence(catalog).await,
            false => Ok(Vec::new()),
        };
        let parts = self.host_parts();
        let host = StatementHost {
            divergence,
            prepared: self.prepared_rows(),
            cursors: self.cursor_rows(),
            cluster,
            ..StatementHost::new(parts.clone(), catalog.clone())
        };
        parts.system_context(catalog.clone(), host)
    }

    /// `lockstep_check_divergence()`: checks all nodes now.
    async fn divergence(&self, catalog: &Catalog) -> Result<Vec<Verdict>> {
        if !catalog.is_superuser(self.user()) {
            return Err(Error::new(
                SqlState::InsufficientPrivilege,
                "permission denied for function lockstep_check_divergence",
            ));
        }
        self.engine.check_divergence(PATIENCE_OF_SQL).await
    }

    fn prepared_rows(&self) -> Vec<PreparedStatementRow> {
        let named = self.statements.iter().filter(|(name, _)| !name.is_empty());
        named
            .map(|(name, p)| PreparedStatementRow {
                name: name.clone(),
                statement: p.parsed.text.to_string(),
                prepare_time: p.prepared_at,
                parameter_types: p.parameters.iter().map(|t| t.0).collect(),
                from_sql: p.by_sql,
                generic_plans: 0,
                custom_plans: 0,
            })
            .collect()
    }

    fn cursor_rows(&self) -> Vec<CursorRow> {
        let cursors = self.portals.iter().filter_map(|(name, p)| p.cursor.as_ref().map(|c| (name, p, c)));
        cursors
            .map(|(name, portal, cursor)| CursorRow {
                name: name.clone(),
                statement: cursor.text.to_string(),
                is_holdable: cursor.hold,
                is_binary: cursor.binary,
                is_scrollable: cursor.is_scrollable(),
                creation_time: portal.created,
            })
            .collect()
    }
}

/// `wait_event_type` and `wait_event` of a session.
fn wait_event(
    session: &SessionShared,
    activity: &Activity,
    lock: Option<WaitingFor>,
) -> Option<(&'static str, &'static str)> {
    match lock {
        Some(WaitingFor::Relation) => return Some(("Lock", "relation")),
        Some(WaitingFor::Transaction) => return Some(("Lock", "transactionid")),
        Some(WaitingFor::Tuple) => return Some(("Lock", "tuple")),
        Some(WaitingFor::Advisory) => return Some(("Lock", "advisory")),
        None => {}
    }
    match activity.state {
        ActivityState::Active => session.wait_event().map(WaitEvent::text),
        _ => Some(("Client", "ClientRead")),
    }
}

/// A lock as pg_locks shows it.
fn lock_row(lock: Listed) -> LockRow {
    let row = LockRow { pid: lock.process, mode: lock.mode.into(), granted: lock.granted, ..LockRow::default() };
    match lock.key {
        LockKey::Table(relation) => LockRow { kind: "relation".into(), relation: Some(relation), ..row },
        LockKey::Advisory(key) => {
            let (class, object, sub) = key.parts();
            let (class, object, object_sub) = (Some(class), Some(object), Some(sub));
            LockRow { kind: "advisory".into(), class, object, object_sub, ..row }
        }
        LockKey::Row(relation, _) if lock.blocker.is_none() => {
            LockRow { kind: "tuple".into(), relation: Some(relation), mode: "ExclusiveLock".into(), ..row }
        }
        LockKey::Row(..) | LockKey::Unique(..) => {
            LockRow { kind: "transactionid".into(), transaction: lock.blocker.map(|t| t.0), ..row }
        }
    }
}

/// One statement's view of its session and the server.
pub struct StatementHost {
    session: HostParts,
    catalog: Arc<Catalog>,
    prepared: Vec<PreparedStatementRow>,
    cursors: Vec<CursorRow>,
    cluster: ClusterStatus,
    divergence: Result<Vec<Verdict>>,
}

impl StatementHost {
    /// Without what only the session's own relations show: prepared statements, cursors, the cluster.
    pub fn new(session: HostParts, catalog: Arc<Catalog>) -> StatementHost {
        StatementHost {
            session,
            catalog,
            prepared: Vec::new(),
            cursors: Vec::new(),
            cluster: ClusterStatus::default(),
            divergence: Ok(Vec::new()),
        }
    }
}

impl SystemHost for StatementHost {
    fn settings(&self) -> Vec<SettingRow> {
        let row = |s: super::settings::SettingRow| SettingRow {
            name: s.name,
            setting: s.setting,
            unit: s.unit.map(Into::into),
            category: s.category.into(),
            short_desc: s.description.into(),
            context: s.context.into(),
            vartype: s.vartype.into(),
            source: s.source.into(),
            min_val: s.min,
            max_val: s.max,
            enumvals: s.values.map(|v| v.iter().map(|v| v.to_string()).collect()),
            boot_val: Some(s.boot),
            reset_val: Some(s.reset),
        };
        self.session.settings.rows().into_iter().map(row).collect()
    }

    fn sessions(&self) -> Vec<SessionRow> {
        let waits = self.session.engine.transactions().locks.waits();
        let row = |s: Arc<SessionShared>| {
            let activity = s.activity.lock().clone();
            let wait = wait_event(&s, &activity, waits.get(&s.key.process).copied());
            let writing = s.writing.load(Ordering::Relaxed);
            SessionRow {
                pid: s.key.process,
                database: s.database.to_string(),
                user: self.catalog.role(&s.user).map(|r| r.oid),
                application_name: activity.application_name.to_string(),
                client_address: s.client,
                backend_start: s.started,
                xact_start: activity.transaction_start,
                query_start: Some(activity.query_start),
                state_change: Some(activity.state_change),
                wait_event_type: wait.map(|w| w.0.into()),
                wait_event: wait.map(|w| w.1.into()),
                transaction: (writing != 0).then_some(writing),
                state: activity.state.text().into(),
                query: activity.query.to_string(),
                backend_type: "client backend".into(),
            }
        };
        self.session.engine.sessions().list().into_iter().map(row).collect()
    }

    fn locks(&self) -> Vec<LockRow> {
        let locks = self.session.engine.transactions().locks.list();
        let mut rows: Vec<LockRow> = locks.into_iter().map(lock_row).collect();
        for session in self.session.engine.sessions().list() {
            let transaction = session.writing.load(Ordering::Relaxed);
            if transaction != 0 {
                let (kind, mode) = ("transactionid".into(), "ExclusiveLock".into());
                let (pid, transaction) = (session.key.process, Some(transaction));
                rows.push(LockRow { kind, transaction, pid, mode, granted: true, ..LockRow::default() });
            }
        }
        rows
    }

    fn blocking(&self, process: i32) -> Vec<i32> {
        self.session.engine.transactions().locks.blocking(process)
    }

    fn prepared_statements(&self) -> Vec<PreparedStatementRow> {
        self.prepared.clone()
    }

    fn cursors(&self) -> Vec<CursorRow> {
        self.cursors.clone()
    }

    fn cluster(&self) -> ClusterStatus {
        self.cluster.clone()
    }

    fn archive(&self) -> Option<ArchiveStatus> {
        self.session.engine.log()?.archive_status()
    }

    fn divergence(&self) -> Result<Vec<Verdict>> {
        self.divergence.clone()
    }

    fn table_figures(&self, table: Oid) -> Option<TableFigures> {
        Some(self.session.engine.transactions().storage.table(table)?.figures())
    }

    fn index_bytes(&self, index: Oid) -> Option<u64> {
        let Some(Relation::Index(table, _)) = self.catalog.relation(index) else {
            return None;
        };
        let table = self.session.engine.transactions().storage.table(table.oid)?;
        table.store.index_bytes(index).map(|bytes| bytes as u64)
    }

    fn sequence_state(&self, sequence: Oid) -> Option<(i64, bool)> {
        let sequence = self.catalog.sequences.get(&sequence)?;
        if let Some(space) = self.session.temporary.as_ref().filter(|_| sequence.oid.is_temporary()) {
            return Some(space.sequence_state(sequence));
        }
        Some(self.session.engine.transactions().sequence_state(sequence))
    }

    fn backend_pid(&self) -> i32 {
        self.session.shared.key.process
    }

    fn session_user(&self) -> Option<Oid> {
        Some(self.session.settings.values().users.session.oid)
    }

    fn server_start(&self) -> i64 {
        self.session.engine.started()
    }

    fn engine(&self) -> Option<&Engine> {
        Some(&self.session.engine)
    }
}
