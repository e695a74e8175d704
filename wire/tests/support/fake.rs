//! A backend that knows a handful of statements, and behaves around them as the engine's session is to behave.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use engine::error::{Error, Notice, NoticeLevel, Result, SqlState};
use engine::session::{BackendKey, Column, CopyFormat, Rows, Startup, StatementShape, Step, TransactionStatus};
use engine::types::text::FormatSettings;
use engine::types::{Datum, TypeOid};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use wire::{Backend, BackendSession};

#[derive(Default)]
pub struct State {
    /// Startup messages of the sessions that were opened.
    pub startups: Mutex<Vec<Startup>>,
    /// Name and stored verifier of the roles.
    pub verifiers: Mutex<HashMap<String, String>>,
    /// What COPY FROM STDIN received, and the largest piece.
    pub copied: Mutex<Vec<u8>>,
    pub largest_piece: AtomicUsize,
    /// Batches that the endless statement has produced.
    pub batches: AtomicUsize,
    pub cancelled: AtomicUsize,
    pub closed: AtomicUsize,
    /// Statements that were dropped before they answered.
    pub dropped: AtomicUsize,
    pub slept: AtomicUsize,
    /// Signalled when a sleeping statement has begun.
    pub sleeping: Notify,
    cancel: Notify,
    /// Lets sleeping statements finish.
    pub wake: Notify,
    pub terminate: Notify,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<State>);

impl Backend for Fake {
    type Session = FakeSession;

    async fn connect(&self, startup: Startup) -> Result<FakeSession> {
        if startup.database == "absent" {
            let message = "database \"absent\" does not exist";
            return Err(Error::new(SqlState::InvalidCatalogName, message));
        }
        self.0.startups.lock().unwrap().push(startup);
        Ok(FakeSession {
            state: self.0.clone(),
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            simple: VecDeque::new(),
            changes: vec![("server_version".into(), "15.0".into())],
            notices: Vec::new(),
        })
    }

    async fn scram_verifier(&self, role: &str) -> Result<Option<String>> {
        Ok(self.0.verifiers.lock().unwrap().get(role).cloned())
    }

    fn cancel(&self, key: BackendKey) {
        if key == KEY {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
            self.0.cancel.notify_waiters();
        }
    }
}

pub const KEY: BackendKey = BackendKey { process: 42, secret: 0x0102_0304 };

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
enum Act {
    Empty,
    /// Integers from 1, as rows of the point path or as batches.
    Series {
        last: i32,
        batch: bool,
    },
    /// 1 / (i - 3) for i from 1: fails at the third row.
    Failing,
    /// Its parameters, of these types.
    Echo(Vec<TypeOid>),
    Begin,
    End {
        commit: bool,
    },
    Set(String, String),
    Insert,
    CopyIn,
    CopyOut,
    /// Waits to be woken or cancelled.
    Sleep,
    /// Batches without end.
    Endless,
    Notice,
    Panic,
    AclItem,
}

fn act(sql: &str) -> Result<Act> {
    let sql = sql.trim();
    Ok(match sql {
        "" => Act::Empty,
        "SELECT 1" => Act::Series { last: 1, batch: false },
        "SELECT generate_series(1, 5)" => Act::Series { last: 5, batch: true },
        "SELECT 1/(i-3) FROM generate_series(1, 5) i" => Act::Failing,
        "SELECT $1::int4" => Act::Echo(vec![TypeOid::INT4]),
        "SELECT $1::int4, $2::text" => Act::Echo(vec![TypeOid::INT4, TypeOid::TEXT]),
        "BEGIN" => Act::Begin,
        "COMMIT" => Act::End { commit: true },
        "ROLLBACK" => Act::End { commit: false },
        "SET application_name = 'x'" => Act::Set("application_name".into(), "x".into()),
        "INSERT INTO t VALUES (1)" => Act::Insert,
        "COPY t FROM STDIN" => Act::CopyIn,
        "COPY t TO STDOUT" => Act::CopyOut,
        "SELECT sleep" => Act::Sleep,
        "SELECT endless" => Act::Endless,
        "DO notice" => Act::Notice,
        "SELECT panic" => Act::Panic,
        "SELECT '=r/postgres'::aclitem" => Act::AclItem,
        _ => {
            let message = format!("syntax error at or near \"{sql}\"");
            return Err(Error::new(SqlState::SyntaxError, message).at(1));
        }
    })
}

impl Act {
    fn shape(&self) -> StatementShape {
        let column = |(index, oid): (usize, TypeOid)| Column {
            name: format!("c{index}"),
            ty: oid.into(),
            table: 0,
            attribute: 0,
        };
        let columns = match self {
            Act::Series { .. } | Act::Failing | Act::Sleep | Act::Endless | Act::Panic => Some(vec![TypeOid::INT4]),
            Act::Echo(types) => Some(types.clone()),
            Act::AclItem => Some(vec![TypeOid::ACLITEM]),
            _ => None,
        };
        StatementShape {
            parameters: match self {
                Act::Echo(types) => types.as_slice().into(),
                _ => Arc::default(),
            },
            columns: columns.map(|types| types.into_iter().enumerate().map(column).collect()),
        }
    }

    fn tag(&self, rows: usize) -> String {
        match self {
            Act::Begin => "BEGIN".into(),
            Act::End { commit: true } => "COMMIT".into(),
            Act::End { commit: false } => "ROLLBACK".into(),
            Act::Set(..) => "SET".into(),
            Act::Insert => "INSERT 0 1".into(),
            Act::CopyIn | Act::CopyOut => format!("COPY {rows}"),
            Act::Notice => "DO".into(),
            _ => format!("SELECT {rows}"),
        }
    }
}

struct Run {
    act: Act,
    values: Vec<Datum>,
    /// Rows produced ever, and in this Execute.
    produced: usize,
    now: usize,
    stage: usize,
}

pub struct FakeSession {
    state: Arc<State>,
    status: TransactionStatus,
    statements: HashMap<String, Act>,
    portals: HashMap<String, Run>,
    simple: VecDeque<Act>,
    changes: Vec<(String, String)>,
    notices: Vec<Notice>,
}

fn ints(values: std::ops::Range<i32>, batch: bool) -> Rows {
    if batch {
        let schema = Schema::new(vec![Field::new("i", DataType::Int32, true)]);
        let array = Int32Array::from_iter_values(values);
        Rows::Batch(RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).unwrap())
    } else {
        Rows::Tuples(values.map(|value| [Datum::Int4(value)].into_iter().collect()).collect())
    }
}

/// Counts a statement that was dropped before it answered.
struct Dropped<'a>(&'a State, bool);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl FakeSession {
    fn check(&self, act: &Act) -> Result<()> {
        if self.status == TransactionStatus::Failed && !matches!(act, Act::End { .. }) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(SqlState::InFailedSqlTransaction, message));
        }
        Ok(())
    }

    fn open(&mut self, name: &str, act: Act, values: Vec<Datum>) {
        let run = Run { act, values, produced: 0, now: 0, stage: 0 };
        self.portals.insert(name.to_owned(), run);
    }

    fn failing<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.fail();
        }
        result
    }

    async fn run(&mut self, portal: &str, max_rows: usize) -> Result<Step> {
        let Some(run) = self.portals.get_mut(portal) else {
            let message = format!("portal \"{portal}\" does not exist");
            return Err(Error::new(SqlState::InvalidCursorName, message));
        };
        let stage = run.stage;
        run.stage += 1;
        match run.act.clone() {
            Act::Empty => return Ok(Step::Empty),
            Act::Series { last, batch } => {
                if max_rows > 0 && run.now == max_rows {
                    run.now = 0;
                    return Ok(Step::Suspended);
                }
                let open = last as usize - run.produced;
                if open > 0 {
                    let count = if max_rows > 0 { open.min(max_rows - run.now) } else { open };
                    let first = run.produced as i32 + 1;
                    run.produced += count;
                    run.now += count;
                    return Ok(Step::Rows(ints(first..first + count as i32, batch)));
                }
                let tag = run.act.tag(run.now);
                run.now = 0;
                return Ok(Step::Complete(tag));
            }
            Act::Failing => {
                return match stage {
                    0 => Ok(Step::Rows(Rows::Tuples(vec![
                        [Datum::Int4(0)].into_iter().collect(),
                        [Datum::Int4(-1)].into_iter().collect(),
                    ]))),
                    _ => Err(Error::new(SqlState::DivisionByZero, "division by zero")),
                };
            }
            Act::Echo(_) if stage == 0 => {
                let row = run.values.iter().cloned().collect();
                return Ok(Step::Rows(Rows::Tuples(vec![row])));
            }
            Act::Echo(_) => return Ok(Step::Complete("SELECT 1".into())),
            Act::Begin => self.status = TransactionStatus::InTransaction,
            Act::End { .. } => {
                let failed = self.status == TransactionStatus::Failed;
                self.status = TransactionStatus::Idle;
                if failed {
                    return Ok(Step::Complete("ROLLBACK".into()));
                }
            }
            Act::Set(name, value) => self.changes.push((name, value)),
            Act::CopyIn => {
                self.state.copied.lock().unwrap().clear();
                return Ok(Step::CopyIn(CopyFormat { binary: false, columns: 1 }));
            }
            Act::CopyOut => {
                return Ok(match stage {
                    0 => Step::CopyOut(CopyFormat { binary: false, columns: 1 }),
                    1 => Step::CopyData(vec![Bytes::from_static(b"1\n")]),
                    2 => Step::CopyData(vec![Bytes::from_static(b"2\n")]),
                    _ => Step::Complete("COPY 2".into()),
                });
            }
            Act::Sleep if stage == 0 => {
                let state = self.state.clone();
                let mut dropped = Dropped(&state, true);
                state.sleeping.notify_one();
                let cancelled = tokio::select! {
                    () = state.wake.notified() => false,
                    () = state.cancel.notified() => true,
                };
                dropped.1 = false;
                if cancelled {
                    let message = "canceling statement due to user request";
                    return Err(Error::new(SqlState::QueryCanceled, message));
                }
                state.slept.fetch_add(1, Ordering::SeqCst);
                return Ok(Step::Rows(ints(1..2, false)));
            }
            Act::Endless => {
                self.state.batches.fetch_add(1, Ordering::SeqCst);
                return Ok(Step::Rows(ints(0..8192, true)));
            }
            Act::Notice => {
                let report = Error::new(SqlState::SuccessfulCompletion, "hello");
                self.notices.push(Notice { level: NoticeLevel::Notice, report });
            }
            Act::Panic => panic!("on purpose"),
            _ => (),
        }
        let run = self.portals.get(portal).unwrap();
        Ok(Step::Complete(run.act.tag(1)))
    }
}

impl BackendSession for FakeSession {
    fn backend_key(&self) -> BackendKey {
        KEY
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn begin_simple(&mut self, sql: &str) -> Result<usize> {
        let acts = sql.split(';').filter(|sql| !sql.trim().is_empty()).map(act).collect::<Result<VecDeque<_>>>();
        self.simple = self.failing(acts)?;
        self.statements.remove("");
        Ok(self.simple.len())
    }

    async fn next_simple(&mut self) -> Result<Option<Arc<[Column]>>> {
        let act = self.simple.pop_front().unwrap();
        self.failing(self.check(&act))?;
        let columns = act.shape().columns;
        self.open("", act, Vec::new());
        Ok(columns)
    }

    async fn prepare(&mut self, name: &str, sql: &str, _: &[u32]) -> Result<()> {
        let act = self.failing(act(sql))?;
        self.failing(self.check(&act))?;
        if !name.is_empty() && self.statements.contains_key(name) {
            self.fail();
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicatePreparedStatement, message));
        }
        self.statements.insert(name.to_owned(), act);
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<StatementShape> {
        let act = self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::InvalidSqlStatementName, message)
        })?;
        Ok(act.shape())
    }

    fn portal_columns(&self, name: &str) -> Result<Option<Arc<[Column]>>> {
        let run = self.portals.get(name).ok_or_else(|| {
            let message = format!("portal \"{name}\" does not exist");
            Error::new(SqlState::InvalidCursorName, message)
        })?;
        Ok(run.act.shape().columns)
    }

    async fn bind(&mut self, portal: &str, statement: &str, values: Vec<Datum>) -> Result<()> {
        let act = self.statements.get(statement).cloned().unwrap();
        self.failing(self.check(&act))?;
        self.open(portal, act, values);
        Ok(())
    }

    async fn step(&mut self, portal: &str, max_rows: usize) -> Result<Step> {
        let stepped = self.run(portal, max_rows).await;
        self.failing(stepped)
    }

    async fn copy_data(&mut self, data: Bytes) -> Result<()> {
        self.state.largest_piece.fetch_max(data.len(), Ordering::SeqCst);
        let wrong = data.windows(5).any(|part| part == b"wrong");
        self.state.copied.lock().unwrap().extend_from_slice(&data);
        if wrong {
            self.fail();
            let message = "invalid input syntax for type integer: \"wrong\"";
            return Err(Error::new(SqlState::InvalidTextRepresentation, message));
        }
        Ok(())
    }

    async fn copy_done(&mut self) -> Result<String> {
        let rows = self.state.copied.lock().unwrap().iter().filter(|b| **b == b'\n').count();
        Ok(format!("COPY {rows}"))
    }

    async fn copy_fail(&mut self, message: &str) -> Error {
        self.fail();
        Error::new(SqlState::QueryCanceled, format!("COPY from stdin failed: {message}"))
    }

    fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    async fn sync(&mut self) -> Result<()> {
        if self.status == TransactionStatus::Idle {
            self.portals.clear();
        }
        Ok(())
    }

    fn fail(&mut self) {
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    fn read_name(&self, name: &str, ty: TypeOid) -> Result<Datum> {
        Err(Error::unsupported(format!("{name} as a value of type {}", ty.0)))
    }

    fn format(&self) -> FormatSettings {
        FormatSettings::default()
    }

    fn termination(&self) -> BoxFuture<'static, Error> {
        let state = self.state.clone();
        async move {
            state.terminate.notified().await;
            let message = "terminating connection due to administrator command";
            Error::new(SqlState::AdminShutdown, message)
        }
        .boxed()
    }

    async fn close(&mut self) {
        self.state.closed.fetch_add(1, Ordering::SeqCst);
    }
}
