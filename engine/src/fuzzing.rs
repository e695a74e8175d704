//! What fuzzers feed: the decoder of records and the SQL front. Compiled for tests and for `fuzz/` alone.
//!
//! Whatever the bytes are, the answer is an error or a value, never a panic, an overflow of the stack or an allocation
//! that the input does not pay for.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Result, SqlState};
use crate::record::{self, Operations};
use crate::session::{Session, Startup};
use crate::txn::memory_log::MemoryLog;
use crate::{Engine, EngineConfig};

/// A whole record, and a body whose checksums are right.
pub fn record(bytes: &[u8]) {
    let record = Bytes::copy_from_slice(bytes);
    if let Ok((_, body)) = record::open(&record) {
        Operations::new(body).for_each(drop);
    }
    Operations::new(record).for_each(drop);
    let _ = record::from_ipc(Bytes::copy_from_slice(bytes));
}

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL DEFAULT 0, s text, n numeric(10,2), d date, ts timestamptz);
    CREATE TABLE u (a int, b bigint UNIQUE, c text[], j jsonb, f float8, t_id int REFERENCES t ON DELETE CASCADE);
    CREATE VIEW w AS SELECT t.id, sum(u.b) AS total FROM t LEFT JOIN u ON u.t_id = t.id GROUP BY t.id;
    CREATE SEQUENCE q";

/// A session on a small catalog that reads and binds what it is given, and runs nothing.
pub struct SqlFront {
    session: Session,
    _engine: Arc<Engine>,
}

impl SqlFront {
    /// To be called within a runtime of tokio.
    pub async fn new() -> Result<Self> {
        let config =
            EngineConfig { partitions: 1, query_threads: 1, memory_limit: 256 << 20, ..EngineConfig::default() };
        let engine = Engine::new(config);
        engine.attach_log(MemoryLog::start(engine.state_machine()));
        let startup =
            Startup { user: "postgres".into(), database: "postgres".into(), parameters: Vec::new(), client: None };
        let mut session = engine.connect(startup).await?;
        for _ in 0..session.begin_simple(SCHEMA)? {
            session.next_simple().await?;
            session.step("", 0).await?;
        }
        session.sync().await?;
        Ok(Self { session, _engine: engine })
    }

    /// Reads and binds one text. An error is never XX000.
    pub async fn take(&mut self, sql: &str) {
        let prepared = self.session.prepare("", sql, &[]).await;
        let described = prepared.and_then(|()| self.session.statement("").map(drop));
        let synced = self.session.sync().await.map(drop);
        for error in [described.err(), synced.err()].into_iter().flatten() {
            assert!(error.state() != SqlState::InternalError, "{sql}: {error}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../fuzz/mutate.rs"]
mod mutate;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::mutate::Target;
    use super::*;
    use crate::catalog::Oid;
    use crate::commit_log::{Epoch, GroupId};
    use crate::record::{Header, Kind, RecordWriter};
    use crate::storage::{CommitTs, RowKey};
    use crate::types::numeric::Numeric;
    use crate::types::{Datum, Interval};

    /// Bodies with each operation and each kind of value.
    fn bodies() -> Vec<Bytes> {
        let key = RowKey(smallvec::SmallVec::from_slice(&[1, 2, 3, 4, 5]));
        let row = [
            Datum::Null,
            Datum::Bool(true),
            Datum::Int4(-7),
            Datum::Int8(1 << 40),
            Datum::Float8(1.5),
            Datum::Numeric(Box::new(Numeric::parse("12345.678").unwrap())),
            Datum::Text("käse".into()),
            Datum::Bytea(Arc::from(&b"\0\xff"[..])),
            Datum::Interval(Interval { months: 1, days: -2, micros: 3 }),
            Datum::from(vec![Datum::Int4(1), Datum::Null, Datum::from(vec![Datum::Int2(2)])]),
        ];
        let columns: Vec<Option<ArrayRef>> = vec![
            Some(Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))),
            None,
            Some(Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc")]))),
        ];
        let finish = |make: &dyn Fn(&mut RecordWriter)| {
            let mut writer = RecordWriter::default();
            make(&mut writer);
            writer.seal().finish(&Header {
                kind: Kind::Commit,
                epoch: Epoch(1),
                ts: CommitTs(2),
                transaction: 3,
                group: GroupId::FIRST,
                part: 0,
                schema_version: 4,
            })
        };
        vec![
            finish(&|w| w.insert(Oid(5), None, &row)),
            finish(&|w| w.insert(Oid(5), Some(&key), &row)),
            finish(&|w| w.update(Oid(5), &key, row.iter().enumerate())),
            finish(&|w| {
                w.delete(Oid(5), &key);
                w.sequence(Oid(6), 9, true, false);
            }),
            finish(&|w| w.batch(Oid(5), Some(&[1, 2, 3]), 3, &columns).unwrap()),
            finish(&|w| w.batch(Oid(5), None, 3, &columns).unwrap()),
        ]
    }

    #[test]
    fn no_bytes_of_a_record_end_the_process() {
        let mut seeds: Vec<Vec<u8>> = bodies().iter().map(|record| record.to_vec()).collect();
        for record in bodies() {
            let (_, body) = record::open(&record).unwrap();
            assert!(Operations::new(body.clone()).all(|operation| operation.is_ok()));
            seeds.push(body.to_vec());
        }
        let columns: Vec<Option<ArrayRef>> = vec![Some(Arc::new(Int32Array::from(vec![1, 2, 3])))];
        seeds.push(record::to_ipc(&columns, 3).unwrap());
        Target { name: "record", function: None }.feed(&seeds, record);
    }

    #[test]
    fn arrays_in_arrays_have_an_end() {
        // One array in another, and so on: each is three bytes long.
        let mut body = vec![1, 5, 0, 0, 0, 1];
        body.extend([17, 1].repeat(1 << 20));
        // What it reads them as does not matter: it comes to an end, and no call is as deep as they are.
        assert!(Operations::new(Bytes::from(body.clone())).count() <= body.len());
    }

    #[test]
    fn no_text_of_a_statement_ends_the_process() {
        let lines = include_str!("../../fuzz/statements.sql").lines().filter(|line| !line.is_empty());
        let seeds: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
        assert!(seeds.len() > 30);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut front = runtime.block_on(SqlFront::new()).unwrap();
        for seed in &seeds {
            // The statements can be bound as they are: else the changes of them reach nothing.
            let text = std::str::from_utf8(seed).unwrap();
            runtime.block_on(front.session.prepare("", text, &[])).unwrap_or_else(|error| panic!("{text}: {error}"));
            runtime.block_on(front.session.sync()).unwrap();
        }
        Target { name: "sql", function: None }.feed(&seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            runtime.block_on(front.take(&text));
        });
    }
}
