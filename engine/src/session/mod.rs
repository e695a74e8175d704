//! A client's session: prepared statements, portals, transaction state, settings. This is the border to `wire`.
//!
//! The protocol drives a session by pulling: a statement becomes a portal, and [`Session::step`] is called until it
//! answers [`Step::Complete`]. No call is lost by dropping its future except the answer: a commit that was handed to
//! the log completes without its session.
//!
//! Invariants:
//! 1. After an error inside a transaction block every statement but COMMIT, ROLLBACK and ROLLBACK TO answers 25P02.
//! 2. Nothing is sent to a client that depends on a commit which is not yet durable on a majority.

pub mod settings;

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use smallvec::SmallVec;

use crate::engine::Engine;
use crate::error::{Error, Notice, Result};
use crate::types::{Datum, PgType, TypeOid};

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
    /// One or more whole COPY rows for CopyData messages (one message per element is not required).
    CopyData(Bytes),
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

/// One client's session. Owned by one connection task; all methods take `&mut self`.
pub struct Session {
    #[allow(dead_code)]
    engine: Arc<Engine>,
}

impl Session {
    pub fn backend_key(&self) -> BackendKey {
        unreachable!()
    }

    /// Settings that the client is told of at start and on change (ParameterStatus), name and value.
    /// The first call returns all of them, later calls what changed since.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        unreachable!()
    }

    /// Notices raised since the last call, to be sent before the message that the current call leads to.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        unreachable!()
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        unreachable!()
    }

    /// Simple query: parses the whole string (an error means that nothing ran) and returns the number of statements.
    /// Then, for each one in turn, [`Self::next_simple`] and [`Self::step`] on the unnamed portal; the first error ends
    /// the string. Several statements are one implicit transaction; [`Self::sync`] ends it.
    pub fn begin_simple(&mut self, _sql: &str) -> Result<usize> {
        unreachable!()
    }

    /// Plans the next statement of the string and opens it as the unnamed portal. Returns its columns if it returns rows.
    pub async fn next_simple(&mut self) -> Result<Option<Arc<[Column]>>> {
        unreachable!()
    }

    /// Parse message: 0 in `parameter_types` (or a missing one) asks for inference. The name "" is the unnamed statement.
    pub async fn prepare(&mut self, _name: &str, _sql: &str, _parameter_types: &[u32]) -> Result<()> {
        unreachable!()
    }

    /// Shape of a prepared statement (26000 if there is none).
    pub fn statement(&self, _name: &str) -> Result<StatementShape> {
        unreachable!()
    }

    /// Shape of a portal (34000 if there is none).
    pub fn portal_columns(&self, _name: &str) -> Result<Option<Arc<[Column]>>> {
        unreachable!()
    }

    /// Bind message. The values have the statement's parameter types.
    pub async fn bind(&mut self, _portal: &str, _statement: &str, _values: Vec<Datum>) -> Result<()> {
        unreachable!()
    }

    /// Runs or goes on with a portal. `max_rows` 0: no limit; the same limit comes with every call until the portal
    /// answers Suspended or Complete, and the session counts. After an error the session has failed its transaction.
    /// The last statement of an implicit transaction outside a block commits before it answers Complete.
    pub async fn step(&mut self, _portal: &str, _max_rows: usize) -> Result<Step> {
        unreachable!()
    }

    /// A piece of COPY input, cut anywhere.
    pub async fn copy_data(&mut self, _data: Bytes) -> Result<()> {
        unreachable!()
    }

    /// CopyDone: answers the command tag.
    pub async fn copy_done(&mut self) -> Result<String> {
        unreachable!()
    }

    /// CopyFail: the error to report.
    pub async fn copy_fail(&mut self, _message: &str) -> Error {
        unreachable!()
    }

    pub fn close_statement(&mut self, _name: &str) {}

    pub fn close_portal(&mut self, _name: &str) {}

    /// Sync message or end of a simple query: ends an implicit transaction (commit, or rollback after an error).
    pub async fn sync(&mut self) -> Result<()> {
        unreachable!()
    }

    /// An error that `wire` found itself (a bad Bind value, say): fails the transaction like any other.
    pub fn fail(&mut self) {}

    /// TimeZone, DateStyle and the like as the text encoders need them; cheap to clone, changes with SET.
    pub fn format(&self) -> crate::types::text::FormatSettings {
        unreachable!()
    }

    /// Resolves when the session is to end from outside (pg_terminate_backend, an idle timeout), with the error that the
    /// client is told, e.g. 57P01. `wire` polls it while the session is idle and while it runs.
    pub fn termination(&self) -> BoxFuture<'static, Error> {
        Box::pin(std::future::pending())
    }

    /// The connection ends: rolls back, frees locks, forgets temporary state.
    pub async fn close(&mut self) {}
}
