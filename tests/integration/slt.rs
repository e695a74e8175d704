//! Runs `tests/slt/**/*.slt` over the wire, each file on a fresh server, in the simple and in the extended protocol.
//!
//! What is expected in the files comes from PostgreSQL 15: with `LOCKSTEP_TEST_POSTGRES` set they run there, and with
//! `LOCKSTEP_RECORD=1` as well they are rewritten with its answers. The extended protocol also compares the types of
//! columns (letters: see `values`) and decodes PostgreSQL's binary formats. All failures of a file are shown.
//! `LOCKSTEP_SLT=name` runs only the files whose path contains the name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use sqllogictest::{
    AsyncDB, ColumnType, DBOutput, QueryExpect, Record, RecordOutput, Runner, StatementExpect, strict_column_validator,
};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::target::Target;
use crate::values::{self, Raw};

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Simple,
    Extended,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter(char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        Some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

/// `Display` is the expected-error text of a recording: the SQLSTATE, and the message for people.
#[derive(Debug)]
struct Failure(tokio_postgres::Error);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} {}", error.code().code(), error.message()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl std::error::Error for Failure {}

struct Session {
    client: Client,
    protocol: Protocol,
}

impl Session {
    async fn open(target: &Target, protocol: Protocol) -> Result<Self, Failure> {
        let client = target.client().await;
        client.batch_execute("SET TimeZone = 'UTC'").await.map_err(Failure)?;
        Ok(Self { client, protocol })
    }

    async fn simple(&self, sql: &str) -> Result<DBOutput<Letter>, tokio_postgres::Error> {
        let mut columns = None;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(description) => columns = Some(description.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|at| cell(row.get(at))).collect()),
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![Letter('?'); columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn extended(&self, sql: &str) -> Result<DBOutput<Letter>, tokio_postgres::Error> {
        let statement = self.client.prepare(sql).await?;
        let columns: Vec<_> = statement.columns().iter().map(|column| column.type_().clone()).collect();
        if !columns.iter().all(values::printable) {
            return self.simple(sql).await;
        }
        let stream = self.client.query_raw(&statement, Vec::<String>::new()).await?;
        futures::pin_mut!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            let print = |(at, type_)| -> Result<String, tokio_postgres::Error> {
                let raw: Option<Raw> = row.try_get(at)?;
                Ok(cell(raw.map(|raw| values::text(type_, &raw.0)).as_deref()))
            };
            rows.push(columns.iter().enumerate().map(print).collect::<Result<Vec<_>, _>>()?);
        }
        if columns.is_empty() {
            return Ok(DBOutput::StatementComplete(stream.rows_affected().unwrap_or(0)));
        }
        Ok(DBOutput::Rows { types: columns.iter().map(|type_| Letter(values::letter(type_))).collect(), rows })
    }
}

/// One value on its line: NULL, the empty string and spaces at the ends show, a line break does not break the line.
fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(value) if value != value.trim() => format!("{value:?}"),
        Some(value) => value.replace('\n', "\\n"),
    }
}

#[async_trait::async_trait]
impl AsyncDB for Session {
    type Error = Failure;
    type ColumnType = Letter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, Failure> {
        match self.protocol {
            Protocol::Simple => self.simple(sql).await,
            Protocol::Extended => self.extended(sql).await,
        }
        .map_err(Failure)
    }

    async fn shutdown(&mut self) {}

    fn error_sql_state(error: &Failure) -> Option<String> {
        error.0.code().map(|code| code.code().to_owned())
    }
}

/// A letter `?` on either side stands for any type.
#[allow(clippy::ptr_arg)] // the signature that the runner asks for
fn same_types(actual: &Vec<Letter>, expected: &Vec<Letter>) -> bool {
    let known = |types: &[Letter], other: &[Letter]| -> Vec<Letter> {
        types.iter().zip(other).filter(|(a, b)| a.0 != '?' && b.0 != '?').map(|(a, _)| a.clone()).collect()
    };
    actual.len() == expected.len() && strict_column_validator(&known(actual, expected), &known(expected, actual))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("tests/slt")
        .flat_map(|entry| {
            let path = entry.expect("entry").path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    found.sort();
    found
}

async fn run(path: &Path, protocol: Protocol, record: bool) -> Vec<String> {
    let target = Arc::new(Target::start().await);
    let mut runner = Runner::new(|| {
        let target = target.clone();
        async move { Session::open(&target, protocol).await }
    });
    runner.with_column_validator(same_types);
    runner.with_normalizer(String::clone);
    let mut failures = Vec::new();
    let mut recorded = String::new();
    for record_ in sqllogictest::parse_file::<Letter>(path).expect("parse") {
        if record {
            let output = runner.apply_record(record_.clone()).await;
            if !matches!(record_, Record::Injected(_)) {
                recorded.push_str(&answered(&record_, &output));
                recorded.push('\n');
            }
        } else if let Err(error) = runner.run_async(record_).await {
            failures.push(error.to_string());
        }
    }
    if record {
        std::fs::write(path, recorded.trim_end().to_owned() + "\n").expect("write");
    }
    failures
}

/// The record with what the server answered as its expectation.
fn answered(record: &Record<Letter>, output: &RecordOutput<Letter>) -> String {
    let (sql, sorted) = match record {
        Record::Statement { sql, .. } => (sql, None),
        Record::Query { sql, expected: QueryExpect::Results { sort_mode, .. }, .. } => (sql, sort_mode.as_ref()),
        Record::Query { sql, .. } => (sql, None),
        other => return other.to_string(),
    };
    let refused = |error: &dyn std::fmt::Display| {
        format!("statement error ({})\n{sql}\n", error.to_string().get(..5).unwrap_or_default())
    };
    match output {
        RecordOutput::Query { error: Some(error), .. } | RecordOutput::Statement { error: Some(error), .. } => {
            refused(error)
        }
        RecordOutput::Statement { count, error: None } => {
            let expected = match record {
                Record::Statement { expected: StatementExpect::Ok, .. } => "ok".into(),
                _ => format!("count {count}"),
            };
            format!("statement {expected}\n{sql}\n")
        }
        RecordOutput::Query { types, rows, error: None } => {
            let types: String = types.iter().map(|letter| letter.0).collect();
            let sorted = if sorted.is_some() { " rowsort" } else { "" };
            let rows: String = rows.iter().map(|row| row.join(" ") + "\n").collect();
            format!("query {types}{sorted}\n{sql}\n----\n{rows}")
        }
        _ => record.to_string(),
    }
}

async fn run_all(dir: &str, protocol: Protocol) {
    let wanted = std::env::var("LOCKSTEP_SLT").unwrap_or_default();
    let recording = std::env::var_os("LOCKSTEP_RECORD").is_some();
    assert!(
        !recording || std::env::var_os("LOCKSTEP_TEST_POSTGRES").is_some(),
        "only PostgreSQL's answers are recorded"
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut report = String::new();
    for path in files(&root).into_iter().filter(|path| path.to_string_lossy().contains(&wanted)) {
        let failures = run(&path, protocol, recording && protocol == Protocol::Extended).await;
        println!("{}: {} failures", path.display(), failures.len());
        failures.iter().for_each(|failure| report.push_str(&format!("{failure}\n")));
    }
    assert!(report.is_empty(), "\n{report}");
}

#[tokio::test]
async fn slt_over_the_simple_protocol() {
    run_all("tests/slt", Protocol::Simple).await;
}

#[tokio::test]
async fn slt_over_the_extended_protocol() {
    run_all("tests/slt", Protocol::Extended).await;
}

/// These files are Lockstep's own: PostgreSQL answers them otherwise.
#[tokio::test]
async fn what_is_not_there_is_refused() {
    if std::env::var_os("LOCKSTEP_TEST_POSTGRES").is_none() {
        run_all("tests/slt-refused", Protocol::Simple).await;
    }
}
