//! Readers on a standby while the log brings DDL: each keeps the tables of its snapshot.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::{Rows, Session, Startup, Step};
use crate::commit_log::{CommitLog, LogPosition, Role};
use crate::error::{Result, SqlState};
use crate::txn::memory_log::MemoryLog;
use crate::types::arrow::datum_at;
use crate::types::text;
use crate::{Engine, EngineConfig};

/// A primary, and a standby that applies what it is told to.
struct Pair {
    primary: Arc<Engine>,
    standby: Arc<Engine>,
    log: Arc<MemoryLog>,
    standby_log: Arc<MemoryLog>,
    shipped: usize,
}

pub(super) fn engine() -> (Arc<Engine>, Arc<MemoryLog>) {
    let config = EngineConfig {
        partitions: 2,
        query_threads: 2,
        memory_limit: 1 << 30,
        allow_local_commit: true,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config);
    let log = MemoryLog::start(engine.state_machine());
    engine.attach_log(log.clone());
    (engine, log)
}

impl Pair {
    fn new() -> Pair {
        let (primary, log) = engine();
        let (standby, standby_log) = engine();
        standby.state_machine().set_role(Role::Standby { primary: None });
        Pair { primary, standby, log, standby_log, shipped: 0 }
    }

    /// Applies on the standby what the primary has committed, and lets housekeeping have its way.
    fn ship(&mut self) {
        self.shipment()();
    }

    /// The same, at the standby's next read barrier.
    fn ship_when_asked(&mut self) {
        let shipment = self.shipment();
        self.standby_log.fall_behind(shipment);
    }

    fn shipment(&mut self) -> impl FnOnce() + Send + 'static {
        let (records, standby) = (self.log.records(), self.standby.clone());
        let shipped = std::mem::replace(&mut self.shipped, records.len());
        move || {
            for (i, record) in records.iter().enumerate().skip(shipped) {
                standby.state_machine().apply(LogPosition(i as u64 + 1), record);
            }
            standby.transactions().storage.maintain();
        }
    }

    async fn write(&self, sql: &str) {
        let mut session = open(&self.primary).await;
        run(&mut session, sql).await.unwrap();
    }
}

pub(super) async fn open(engine: &Arc<Engine>) -> Session {
    let startup =
        Startup { user: "postgres".into(), database: "postgres".into(), parameters: Vec::new(), client: None };
    engine.connect(startup).await.unwrap()
}

/// Runs a simple query; the rows of its last statement, columns joined by commas.
pub(super) async fn run(session: &mut Session, sql: &str) -> Result<Vec<String>> {
    let mut last = Vec::new();
    let done = async {
        for _ in 0..session.begin_simple(sql)? {
            let columns = session.next_simple().await?.unwrap_or_else(|| Arc::from([]));
            last.clear();
            loop {
                let rows = match session.step("", 0).await? {
                    Step::Rows(Rows::Tuples(rows)) => rows,
                    Step::Rows(Rows::Batch(batch)) => {
                        let cell = |r, c: usize| datum_at(batch.column(c).as_ref(), r, columns[c].ty).unwrap();
                        (0..batch.num_rows()).map(|r| (0..columns.len()).map(|c| cell(r, c)).collect()).collect()
                    }
                    Step::Complete(_) | Step::Empty => break,
                    other => panic!("{other:?}"),
                };
                let format = session.format();
                for row in rows {
                    let texts = row.iter().zip(columns.iter()).map(|(d, c)| text::to_string(d, c.ty, &format));
                    last.push(texts.collect::<Vec<_>>().join(","));
                }
            }
        }
        Ok(())
    };
    let done: Result<()> = done.await;
    let synced = session.sync().await;
    done.and(synced).map(|()| last)
}

pub(super) async fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    run(session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

#[tokio::test]
async fn an_open_reader_keeps_dropped_emptied_and_changed_tables() {
    let mut pair = Pair::new();
    pair.write("CREATE TABLE emptied (id int PRIMARY KEY, v int)").await;
    pair.write("CREATE TABLE dropped (id int PRIMARY KEY, v int)").await;
    pair.write("CREATE TABLE changed (id int PRIMARY KEY, v int, w text)").await;
    pair.write("CREATE TABLE rekeyed (id int PRIMARY KEY, v int)").await;
    for table in ["emptied", "dropped", "rekeyed"] {
        pair.write(&format!("INSERT INTO {table} SELECT g, g FROM generate_series(1, 100) AS g")).await;
    }
    // Small chunks that housekeeping merges.
    for first in (0..2000).step_by(100) {
        let to = first + 99;
        pair.write(&format!("INSERT INTO changed SELECT g, g, 'w' || g FROM generate_series({first}, {to}) AS g"))
            .await;
    }
    pair.write("CREATE INDEX changed_v ON changed (v)").await;
    pair.ship();
    let mut reader = open(&pair.standby).await;
    rows(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM changed").await;
    let mut cursor = open(&pair.standby).await;
    rows(&mut cursor, "BEGIN; DECLARE c CURSOR FOR SELECT id, v FROM dropped ORDER BY id").await;
    assert_eq!(rows(&mut cursor, "FETCH 1 FROM c").await, ["1,1"]);

    pair.write("TRUNCATE emptied").await;
    pair.write("DROP TABLE dropped").await;
    pair.write("DELETE FROM changed WHERE id >= 1000").await;
    pair.write("ALTER TABLE changed DROP COLUMN w, ADD COLUMN x int DEFAULT 7").await;
    pair.write("DROP INDEX changed_v").await;
    pair.write("ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey").await;
    pair.write("UPDATE rekeyed SET v = 0").await;
    for round in 0..3 {
        pair.write(&format!("INSERT INTO emptied VALUES ({round}, 0)")).await;
        pair.write(&format!("UPDATE changed SET v = -{round} WHERE id < 500")).await;
        pair.ship();
        assert_eq!(rows(&mut reader, "SELECT count(*), sum(v) FROM emptied").await, ["100,5050"]);
        assert_eq!(rows(&mut reader, "SELECT count(*), sum(v) FROM dropped").await, ["100,5050"]);
        assert_eq!(rows(&mut reader, "SELECT v FROM dropped WHERE id = 77").await, ["77"]);
        assert_eq!(rows(&mut reader, "SELECT count(*), sum(v) FROM rekeyed").await, ["100,5050"]);
        let sum = "SELECT count(*), sum(v), count(w), min(w), max(w) FROM changed";
        assert_eq!(rows(&mut reader, sum).await, ["2000,1999000,2000,w0,w999"]);
        assert_eq!(rows(&mut reader, "SELECT * FROM changed WHERE v = 1234").await, ["1234,1234,w1234"]);
        assert_eq!(rows(&mut reader, "SELECT * FROM changed WHERE id = 3").await, ["3,3,w3"]);
    }
    assert_eq!(rows(&mut cursor, "FETCH ALL FROM c").await.len(), 99);
    // At READ COMMITTED the next statement has the catalog of its own moment.
    let error = run(&mut cursor, "SELECT count(*) FROM dropped").await.unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    rows(&mut reader, "COMMIT").await;
    let error = run(&mut reader, "SELECT count(*) FROM dropped").await.unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    assert_eq!(rows(&mut reader, "SELECT count(*) FROM emptied").await, ["3"]);
    assert_eq!(rows(&mut reader, "SELECT * FROM changed WHERE id = 3").await, ["3,-2,7"]);
    assert_eq!(rows(&mut reader, "SELECT count(x), count(*) FROM changed").await, ["1000,1000"]);
    pair.ship();
    assert_eq!(rows(&mut reader, "SELECT count(x), count(*) FROM changed").await, ["1000,1000"]);
}

#[tokio::test]
async fn ddl_between_two_statements_of_a_block_is_seen_at_read_committed() {
    let mut pair = Pair::new();
    pair.write("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.ship();
    let mut reader = open(&pair.standby).await;
    assert_eq!(rows(&mut reader, "BEGIN; SELECT * FROM t").await, [""; 0]);
    pair.write("ALTER TABLE t ADD COLUMN v int DEFAULT 1").await;
    pair.write("CREATE TABLE u (id int)").await;
    pair.write("INSERT INTO t VALUES (1, 2)").await;
    pair.ship();
    assert_eq!(rows(&mut reader, "SELECT * FROM t").await, ["1,2"]);
    assert_eq!(rows(&mut reader, "SELECT count(*) FROM u").await, ["0"]);
}

#[tokio::test]
async fn names_of_a_block_are_those_of_the_latest_state() {
    let mut pair = Pair::new();
    for (table, block) in [("t", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"), ("u", "BEGIN")] {
        let mut reader = open(&pair.standby).await;
        rows(&mut reader, block).await;
        pair.write(&format!("CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1)")).await;
        pair.ship_when_asked();
        assert_eq!(rows(&mut reader, &format!("SELECT id FROM {table}")).await, ["1"]);
    }
    let mut reader = open(&pair.standby).await;
    rows(&mut reader, "BEGIN").await;
    pair.write("CREATE TABLE v (id int)").await;
    pair.ship_when_asked();
    reader.prepare("", "SELECT id FROM v", &[]).await.unwrap();
    // A snapshot that is older stays without them, and asks nobody.
    let mut reader = open(&pair.standby).await;
    rows(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM t").await;
    pair.write("CREATE TABLE w (id int)").await;
    pair.ship_when_asked();
    let error = run(&mut reader, "SELECT id FROM w").await.unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    // Nor does a failed block.
    let error = run(&mut reader, "SELECT id FROM w").await.unwrap_err();
    assert_eq!(error.state(), SqlState::InFailedSqlTransaction);
    assert!(!pair.standby_log.read_barrier_is_free());
}

#[tokio::test]
async fn what_tells_of_the_nodes_waits_for_nobody() {
    let mut pair = Pair::new();
    let mut reader = open(&pair.standby).await;
    pair.write("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.ship_when_asked();
    let before = pair.standby.state_machine().applied();
    for sql in [
        "SELECT 1",
        "SELECT count(*) FROM lockstep_nodes n JOIN lockstep_health h ON h.node = n.name",
        "SELECT * FROM pg_catalog.lockstep_data_loss_epochs",
    ] {
        rows(&mut reader, sql).await;
        assert_eq!(pair.standby.state_machine().applied(), before, "{sql}");
    }
    // Not beside a table, nor when later statements read from the same snapshot.
    assert_eq!(rows(&mut reader, "SELECT count(*) FROM lockstep_health h RIGHT JOIN t ON true").await, ["0"]);
    assert!(pair.standby.state_machine().applied() > before);
    pair.write("INSERT INTO t VALUES (1)").await;
    pair.ship_when_asked();
    rows(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM lockstep_health").await;
    assert_eq!(rows(&mut reader, "SELECT count(*) FROM t").await, ["1"]);
}

#[tokio::test]
async fn a_position_is_waited_for() {
    let mut pair = Pair::new();
    pair.write("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.ship();
    let mut writer = open(&pair.primary).await;
    rows(&mut writer, "INSERT INTO t VALUES (1)").await;
    let position = rows(&mut writer, "SELECT lockstep_position()").await.remove(0);
    let mut reader = open(&pair.standby).await;
    rows(&mut reader, &format!("SET lockstep.read_after = '{position}'")).await;
    let timed_out = run(&mut reader, "SET statement_timeout = 50; SELECT count(*) FROM t").await.unwrap_err();
    assert_eq!(timed_out.state(), SqlState::QueryCanceled);
    rows(&mut reader, "SET statement_timeout = 0").await;
    let counting = tokio::spawn(async move { rows(&mut reader, "SELECT count(*) FROM t").await });
    tokio::task::yield_now().await;
    assert!(!counting.is_finished());
    pair.ship();
    assert_eq!(counting.await.unwrap(), ["1"]);
    let mut reader = open(&pair.standby).await;
    for wrong in ["1", "x/y", "1/2/3"] {
        let error = run(&mut reader, &format!("SET lockstep.read_after = '{wrong}'")).await.unwrap_err();
        assert_eq!(error.state(), SqlState::InvalidParameterValue);
    }
}
