//! A client of the engine that prints what psql would print.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use engine::error::{Error, NoticeLevel, Result};
use engine::session::{Column, Row, Rows, Session, Startup, Step};
use engine::txn::memory_log::MemoryLog;
use engine::types::Datum;
use engine::types::arrow::datum_at;
use engine::types::text;
use engine::{Engine, EngineConfig};

pub struct Database {
    pub engine: Arc<Engine>,
    pub log: Arc<MemoryLog>,
}

impl Database {
    pub fn new() -> Database {
        let config = EngineConfig { partitions: 4, query_threads: 2, memory_limit: 1 << 30, ..EngineConfig::default() };
        let engine = Engine::new(config);
        let log = MemoryLog::start(engine.state_machine());
        engine.attach_log(log.clone());
        Database { engine, log }
    }

    pub async fn client(&self) -> Client {
        self.client_with(&[]).await.unwrap()
    }

    pub async fn client_with(&self, parameters: &[(&str, &str)]) -> Result<Client> {
        let parameters = parameters.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let startup = Startup { user: "postgres".into(), database: "postgres".into(), parameters, client: None };
        Ok(Client { session: self.engine.connect(startup).await? })
    }
}

pub struct Client {
    pub session: Session,
}

/// What one statement answered.
#[derive(Debug, Default)]
pub struct Answer {
    pub columns: Option<Arc<[Column]>>,
    pub rows: Vec<Vec<Option<String>>>,
    pub tag: String,
}

pub fn batch_rows(batch: &RecordBatch, columns: &[Column]) -> Vec<Row> {
    let cell = |row, i: usize| datum_at(batch.column(i).as_ref(), row, columns[i].ty).unwrap();
    (0..batch.num_rows()).map(|row| (0..columns.len()).map(|i| cell(row, i)).collect()).collect()
}

impl Client {
    fn texts(&self, rows: Rows, columns: &[Column]) -> Vec<Vec<Option<String>>> {
        let rows = match rows {
            Rows::Tuples(rows) => rows,
            Rows::Batch(batch) => batch_rows(&batch, columns),
        };
        let format = self.session.format();
        let text =
            |(value, column): (&Datum, &Column)| (!value.is_null()).then(|| text::to_string(value, column.ty, &format));
        rows.iter().map(|row| row.iter().zip(columns).map(text).collect()).collect()
    }

    /// Runs a simple query; COPY FROM STDIN is given `input`.
    pub async fn simple(&mut self, sql: &str, input: &str) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        self.run_simple(sql, input, &mut answers).await?;
        Ok(answers)
    }

    async fn run_simple(&mut self, sql: &str, input: &str, answers: &mut Vec<Answer>) -> Result<()> {
        let done = self.run_statements(sql, input, answers).await;
        let synced = self.session.sync().await;
        done.and(synced)
    }

    async fn run_statements(&mut self, sql: &str, input: &str, answers: &mut Vec<Answer>) -> Result<()> {
        for _ in 0..self.session.begin_simple(sql)? {
            let columns = self.session.next_simple().await?;
            let mut answer = Answer { columns, ..Answer::default() };
            loop {
                match self.session.step("", 0).await? {
                    Step::Rows(rows) => {
                        let columns = answer.columns.clone().unwrap();
                        answer.rows.extend(self.texts(rows, &columns));
                    }
                    Step::Complete(tag) => {
                        answer.tag = tag;
                        break;
                    }
                    Step::Empty => break,
                    Step::Suspended => panic!("suspended without a limit"),
                    Step::CopyIn(_) => {
                        // Cut in odd places.
                        for piece in input.as_bytes().chunks(7) {
                            self.session.copy_data(Bytes::copy_from_slice(piece)).await?;
                        }
                        answer.tag = self.session.copy_done().await?;
                        break;
                    }
                    Step::CopyOut(_) => {}
                    Step::CopyInRows { .. } | Step::CopyOutRows(_) => panic!("binary COPY is for a client with codecs"),
                    Step::CopyData(data) => {
                        let text = String::from_utf8(data.concat()).unwrap();
                        answer.rows.extend(text.lines().map(|l| vec![Some(l.to_string())]));
                    }
                }
            }
            answers.push(answer);
        }
        Ok(())
    }

    /// Runs a statement that must succeed and answers its rows.
    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let answers = match self.simple(sql, "").await {
            Ok(answers) => answers,
            Err(error) => panic!("{sql}: {error}"),
        };
        let rows = answers.into_iter().last().map(|a| a.rows).unwrap_or_default();
        rows.into_iter().map(|r| r.into_iter().map(|v| v.unwrap_or_else(|| "NULL".into())).collect()).collect()
    }

    /// The only value of the only row.
    pub async fn value(&mut self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }

    /// SQLSTATE of a statement that must fail.
    pub async fn fails(&mut self, sql: &str) -> &'static str {
        match self.simple(sql, "").await {
            Ok(answers) => panic!("{sql}: {answers:?}"),
            Err(error) => error.state().code(),
        }
    }

    /// What psql prints for a statement, notices and errors included.
    pub async fn psql(&mut self, sql: &str, input: &str) -> String {
        let mut answers = Vec::new();
        let result = self.run_simple(sql, input, &mut answers).await;
        let mut out = String::new();
        for notice in self.session.take_notices() {
            let level = match notice.level {
                NoticeLevel::Warning => "WARNING",
                NoticeLevel::Notice => "NOTICE",
                NoticeLevel::Info => "INFO",
                _ => continue,
            };
            out.push_str(&report(level, &notice.report));
        }
        answers.iter().for_each(|a| out.push_str(&print(a)));
        if let Err(error) = result {
            out.push_str(&report("ERROR", &error));
        }
        out
    }
}

fn print(answer: &Answer) -> String {
    let mut out = String::new();
    let join =
        |row: &Vec<Option<String>>| row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|");
    match &answer.columns {
        Some(columns) => {
            out.push_str(&columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join("|"));
            out.push('\n');
            for row in &answer.rows {
                out.push_str(&join(row));
                out.push('\n');
            }
            let plural = if answer.rows.len() == 1 { "" } else { "s" };
            out.push_str(&format!("({} row{plural})\n", answer.rows.len()));
            if !answer.tag.starts_with("SELECT")
                && !answer.tag.starts_with("FETCH")
                && !answer.tag.starts_with("SHOW")
                && !answer.tag.starts_with("EXPLAIN")
            {
                out.push_str(&answer.tag);
                out.push('\n');
            }
        }
        None => {
            for row in &answer.rows {
                out.push_str(&join(row));
                out.push('\n');
            }
            if answer.rows.is_empty() && !answer.tag.is_empty() {
                out.push_str(&answer.tag);
                out.push('\n');
            }
        }
    }
    out
}

/// An error or notice as psql prints it with VERBOSITY verbose, without the place in the server's source.
fn report(severity: &str, error: &Error) -> String {
    let r = error.report();
    let mut out = format!("{severity}:  {}: {}\n", r.state.code(), r.message);
    for (name, value) in [
        ("DETAIL", &r.detail),
        ("HINT", &r.hint),
        ("CONTEXT", &r.context),
        ("SCHEMA NAME", &r.schema),
        ("TABLE NAME", &r.table),
        ("COLUMN NAME", &r.column),
        ("DATATYPE NAME", &r.data_type),
        ("CONSTRAINT NAME", &r.constraint),
    ] {
        if let Some(value) = value {
            out.push_str(&format!("{name}:  {value}\n"));
        }
    }
    out
}
