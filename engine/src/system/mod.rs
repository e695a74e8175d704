//! The system catalog as relations: pg_catalog and information_schema, generated from the real [`Catalog`] and the
//! state of the server whenever they are read. Nothing is stored here.
//!
//! `relations.txt` says what PostgreSQL 15 has under each name (OID, columns, types, order); `SOURCES` of each family says how the
//! rows come about. A relation without a row source does not exist for clients.
//!
//! Invariants:
//! 1. A row has a value for every column, in the order of `relations.txt`; NOT NULL columns are never null.
//! 2. What a relation shows is true: it is empty only where Lockstep has nothing of the kind.

mod cache;
mod cluster;
mod definitions;
pub mod deparse;
mod depend;
mod empty;
pub(crate) mod expression;
mod fixed;
pub mod functions;
mod information_schema;
mod monitor;
mod privileges;
mod relations;
mod routine_views;
mod routines;
mod row_security;
mod row_set;
mod rows;
mod standard;
pub mod statistics;
mod strategies;
#[cfg(test)]
pub(crate) mod tests;
mod user_types;
pub mod viewdef;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

pub use row_set::{RowKey, RowSet};
pub use rows::RowSink;

use crate::catalog::{Catalog, Oid, SearchPath};
use crate::commit_log::{ArchiveStatus, ClusterStatus};
use crate::divergence::Verdict;
use crate::engine::Engine;
use crate::error::Result;
use crate::types::{Datum, PgType};

/// A relation of pg_catalog or information_schema.
#[derive(Debug)]
pub struct SystemRelation {
    pub oid: Oid,
    pub name: &'static str,
    pub schema: Oid,
    pub row_type: Oid,
    /// PostgreSQL shows it as a view, not as a table.
    pub view: bool,
    pub columns: Vec<SystemColumn>,
    source: RowSource,
}

#[derive(Debug, Clone)]
pub struct SystemColumn {
    pub name: &'static str,
    pub ty: PgType,
    pub not_null: bool,
}

/// Pushes the relation's rows.
pub(crate) type RowSource = fn(&SystemContext, &mut RowSink) -> Result<()>;

/// What rows are generated from: one statement's view of the server.
#[derive(Clone)]
pub struct SystemContext {
    pub catalog: Arc<Catalog>,
    pub path: SearchPath,
    pub user: Oid,
    pub host: Arc<dyn SystemHost>,
}

/// What only the running server knows. Implemented by the session's side of the engine; gathered before the scan where
/// it needs waiting (the cluster's status).
pub trait SystemHost: Send + Sync {
    fn settings(&self) -> Vec<SettingRow>;
    fn sessions(&self) -> Vec<SessionRow>;
    fn locks(&self) -> Vec<LockRow>;
    /// The processes that a process waits for.
    fn blocking(&self, process: i32) -> Vec<i32>;
    fn prepared_statements(&self) -> Vec<PreparedStatementRow>;
    fn cursors(&self) -> Vec<CursorRow>;
    /// Status of the cluster, gathered when the statement began.
    fn cluster(&self) -> ClusterStatus;
    /// What was archived of the log; `None`: nothing is.
    fn archive(&self) -> Option<ArchiveStatus>;
    /// What a check for divergence found when the statement began.
    fn divergence(&self) -> Result<Vec<Verdict>>;
    /// Figures of a table's store; `None` while it has none.
    fn table_figures(&self, table: Oid) -> Option<TableFigures>;
    /// Bytes of one index; `None`: unknown index.
    fn index_bytes(&self, index: Oid) -> Option<u64>;
    /// Last value and whether it was handed out (`is_called`).
    fn sequence_state(&self, sequence: Oid) -> Option<(i64, bool)>;
    /// This session's process number.
    fn backend_pid(&self) -> i32;
    /// Microseconds since 1970-01-01.
    fn server_start(&self) -> i64;
    /// SET SESSION AUTHORIZATION's role; `None`: as the current one.
    fn session_user(&self) -> Option<Oid> {
        None
    }
    /// The engine, for what it measures; `None` where single relations are tested.
    fn engine(&self) -> Option<&Engine> {
        None
    }
}

/// One row of pg_settings.
#[derive(Debug, Clone, Default)]
pub struct SettingRow {
    pub name: String,
    pub setting: String,
    pub unit: Option<String>,
    pub category: String,
    pub short_desc: String,
    pub context: String,
    pub vartype: String,
    pub source: String,
    pub min_val: Option<String>,
    pub max_val: Option<String>,
    pub enumvals: Option<Vec<String>>,
    pub boot_val: Option<String>,
    pub reset_val: Option<String>,
}

/// One row of pg_stat_activity. Times are microseconds since 1970-01-01.
#[derive(Debug, Clone, Default)]
pub struct SessionRow {
    pub pid: i32,
    pub database: String,
    pub user: Option<Oid>,
    pub application_name: String,
    pub client_address: Option<std::net::SocketAddr>,
    pub backend_start: i64,
    pub xact_start: Option<i64>,
    pub query_start: Option<i64>,
    pub state_change: Option<i64>,
    pub wait_event_type: Option<String>,
    pub wait_event: Option<String>,
    /// `backend_xid`.
    pub transaction: Option<u64>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: String,
    pub query: String,
    /// `client backend`, …
    pub backend_type: String,
}

/// One row of pg_locks.
#[derive(Debug, Clone, Default)]
pub struct LockRow {
    /// `relation`, `tuple`, `transactionid`, `advisory`.
    pub kind: String,
    pub relation: Option<Oid>,
    pub transaction: Option<u64>,
    pub class: Option<u32>,
    pub object: Option<u32>,
    pub object_sub: Option<i16>,
    pub pid: i32,
    pub mode: String,
    pub granted: bool,
    pub wait_start: Option<i64>,
}

/// One row of pg_prepared_statements.
#[derive(Debug, Clone, Default)]
pub struct PreparedStatementRow {
    pub name: String,
    pub statement: String,
    pub prepare_time: i64,
    pub parameter_types: Vec<u32>,
    pub from_sql: bool,
    pub generic_plans: i64,
    pub custom_plans: i64,
}

/// One row of pg_cursors.
#[derive(Debug, Clone, Default)]
pub struct CursorRow {
    pub name: String,
    pub statement: String,
    pub is_holdable: bool,
    pub is_binary: bool,
    pub is_scrollable: bool,
    pub creation_time: i64,
}

/// Figures of one table's store.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableFigures {
    pub live_rows: u64,
    /// Versions that no snapshot can see any more and that wait for collection.
    pub dead_rows: u64,
    /// Memory of the rows, without indexes.
    pub bytes: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub sequential_scans: u64,
    /// Rows that those scans returned.
    pub sequential_rows: u64,
    pub index_scans: u64,
}

impl SystemRelation {
    /// Columns and Arrow types of the batches of [`Self::scan`].
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|c| Field::new(c.name, c.ty.arrow(), true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// All rows, as one batch.
    pub fn scan(&self, context: &SystemContext) -> Result<RecordBatch> {
        let rows = self.rows(context)?;
        let batch = rows.batch(self.name, self.arrow_schema(), &self.columns)?;
        if self.has_figures() { relations::with_figures(context, &rows, &batch) } else { Ok(batch) }
    }

    /// All rows. What [`Self::figure`] knows better is not in them.
    pub fn rows(&self, context: &SystemContext) -> Result<Arc<RowSet>> {
        let follows = cache::follows(self);
        if follows && let Some(rows) = cache::find(self, context) {
            return Ok(rows);
        }
        let mut sink = RowSink::new(self, context.catalog.clone());
        (self.source)(context, &mut sink)?;
        let rows = Arc::new(sink.finish()?);
        if follows {
            cache::keep(self, context, &rows);
        }
        Ok(rows)
    }

    /// Whether some columns are figures of the moment.
    pub fn has_figures(&self) -> bool {
        self.oid.0 == relations::PG_CLASS
    }

    /// The value of a column that is a figure of the moment.
    pub fn figure(&self, context: &SystemContext, rows: &RowSet, row: usize, attnum: i16) -> Option<Datum> {
        if self.has_figures() { relations::figure(context, rows, row, attnum) } else { None }
    }

    /// One for all databases of a cluster.
    fn is_shared(&self) -> bool {
        matches!(
            self.name,
            "pg_authid"
                | "pg_auth_members"
                | "pg_database"
                | "pg_db_role_setting"
                | "pg_parameter_acl"
                | "pg_tablespace"
                | "pg_replication_origin"
                | "pg_shdepend"
                | "pg_shdescription"
                | "pg_shseclabel"
                | "pg_subscription"
        )
    }

    /// Name of the column with an attribute number.
    pub fn column_name(&self, attnum: i16) -> Option<&'static str> {
        self.columns.get(usize::try_from(attnum).ok()?.checked_sub(1)?).map(|c| c.name)
    }

    pub fn column(&self, name: &str) -> Option<(usize, &SystemColumn)> {
        self.columns.iter().enumerate().find(|(_, c)| c.name == name)
    }
}

/// Whether a relation's rows need the status of the cluster.
pub fn asks_cluster(name: &str) -> bool {
    let known = [
        "lockstep_catchup",
        "lockstep_data_loss_epochs",
        "lockstep_nodes",
        "lockstep_replication",
        "lockstep_health",
        "lockstep_replication_strategies",
        "pg_stat_replication",
        "pg_stat_wal_receiver",
    ];
    known.contains(&name)
}

/// Whether a relation tells of the nodes and nothing else: it is read on a node that reaches nobody too, which is when it
/// is needed most.
pub fn monitors(name: &str) -> bool {
    let known = [
        "lockstep_catchup",
        "lockstep_checkpoints",
        "lockstep_data_loss_epochs",
        "lockstep_health",
        "lockstep_latency",
        "lockstep_nodes",
        "lockstep_replication",
        "lockstep_wal",
        "pg_stat_replication",
        "pg_stat_wal_receiver",
    ];
    known.contains(&name)
}

/// Every system relation that exists, in order of schema and name.
pub fn all() -> &'static [SystemRelation] {
    &REGISTRY.relations
}

pub fn by_oid(oid: Oid) -> Option<&'static SystemRelation> {
    REGISTRY.relations.get(*REGISTRY.oids.get(&oid)?)
}

/// `schema` is [`Oid::PG_CATALOG`] or [`Oid::INFORMATION_SCHEMA`].
pub fn by_name(schema: Oid, name: &str) -> Option<&'static SystemRelation> {
    let names = REGISTRY.names.get(&schema)?;
    REGISTRY.relations.get(*names.get(name)?)
}

struct Registry {
    relations: Vec<SystemRelation>,
    oids: HashMap<Oid, usize>,
    names: HashMap<Oid, HashMap<&'static str, usize>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry {
        relations: definitions::relations(FAMILIES.iter().flat_map(|f| f.iter())),
        oids: HashMap::new(),
        names: HashMap::new(),
    };
    for (i, relation) in registry.relations.iter().enumerate() {
        registry.oids.insert(relation.oid, i);
        registry.names.entry(relation.schema).or_default().insert(relation.name, i);
    }
    registry
});

/// Row sources, a family a file: qualified name and function.
const FAMILIES: &[&[(&str, RowSource)]] = &[
    relations::SOURCES,
    fixed::SOURCES,
    cluster::SOURCES,
    monitor::SOURCES,
    strategies::SOURCES,
    user_types::SOURCES,
    row_security::SOURCES,
    statistics::SOURCES,
    empty::SOURCES,
    privileges::SOURCES,
    routine_views::SOURCES,
    standard::SOURCES,
    information_schema::SOURCES,
];
