//! A statement that nobody wants any more stops soon: after a CancelRequest, when its time is up, and when its client
//! has left; what it held is free again.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::target::{Target, launch};

/// Every one of them would run for hours.
const ENDLESS: &[(&str, &str)] = &[
    ("join", "SELECT count(*) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b WHERE a + b < 0"),
    ("product", "SELECT count(*) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b"),
    ("sort", "SELECT a % 7 FROM generate_series(1, 1000000000000) AS a ORDER BY 1 LIMIT 1"),
    ("aggregate", "SELECT a % 1000, count(*) FROM generate_series(1, 1000000000000) AS a GROUP BY 1"),
    ("series", "SELECT count(*) FROM generate_series(1, 1000000000000)"),
    ("recursion", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT count(*) FROM r"),
    ("insert", "INSERT INTO sink SELECT 1 FROM generate_series(1, 1000000000000) AS g WHERE g % 1000000 = 0"),
    ("update", "UPDATE sink SET id = (SELECT count(*) FROM generate_series(1, 1000000000000) AS g WHERE g < 0)"),
    (
        "frames",
        "SELECT sum(a) OVER (ORDER BY a ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW)
         FROM generate_series(1, 200000) AS a",
    ),
    ("sleep", "SELECT pg_sleep(100000)"),
];

/// Much longer than it takes, so that a busy machine does not fail the test, and nothing against the statements.
const SOON: Duration = Duration::from_secs(20);

struct Session {
    client: std::sync::Arc<Client>,
    connection: JoinHandle<()>,
    pid: i32,
}

impl Session {
    async fn open(target: &Target) -> Self {
        let (client, connection) = target.config().connect(NoTls).await.expect("connection");
        let connection = tokio::spawn(async move { drop(connection.await) });
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("pid").get(0);
        Self { client: client.into(), connection, pid }
    }

    /// Starts a statement; answers its SQLSTATE, or nothing if it succeeds.
    fn start(&self, sql: &str) -> JoinHandle<Option<String>> {
        let (client, sql) = (self.client.clone(), sql.to_owned());
        tokio::spawn(async move {
            let error = client.batch_execute(&sql).await.err()?;
            Some(error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()))
        })
    }
}

async fn rows(control: &Client, sql: &str) -> usize {
    let messages = control.simple_query(sql).await.expect(sql);
    messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count()
}

/// Waits until a query answers so many rows.
async fn wait_for(control: &Client, sql: &str, wanted: usize) {
    let start = Instant::now();
    while rows(control, sql).await != wanted {
        assert!(start.elapsed() < SOON, "{sql} does not answer {wanted} rows");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn running(session: &Session) -> String {
    format!("SELECT 1 FROM pg_stat_activity WHERE pid = {} AND state = 'active'", session.pid)
}

async fn prepare(control: &Client) {
    control.batch_execute("DROP TABLE IF EXISTS sink; CREATE TABLE sink (id bigint)").await.expect("table");
    control.batch_execute("INSERT INTO sink VALUES (1)").await.expect("row");
}

/// Nobody holds the table or a thread of the queries any more.
async fn all_is_free(control: &Client) {
    let locked = "BEGIN; LOCK TABLE sink NOWAIT; ROLLBACK";
    control.batch_execute(locked).await.expect("the table is free");
    let work = control.simple_query("SELECT count(*) FROM sink AS a, generate_series(1, 100) AS b WHERE a.id < b");
    tokio::time::timeout(SOON, work).await.expect("the threads are free").expect("query");
}

#[tokio::test]
async fn a_cancelled_statement_stops_and_leaves_its_session_usable() {
    let target = Target::start().await;
    let control = target.client().await;
    prepare(&control).await;
    for (name, sql) in ENDLESS {
        let session = Session::open(&target).await;
        let statement = session.start(sql);
        wait_for(&control, &running(&session), 1).await;
        session.client.cancel_token().cancel_query(NoTls).await.expect("cancel");
        let answer = tokio::time::timeout(SOON, statement).await.unwrap_or_else(|_| panic!("{name} goes on"));
        assert_eq!(answer.expect("task").as_deref(), Some("57014"), "{name}");
        session.client.batch_execute("SELECT 1").await.expect(name);
        all_is_free(&control).await;
    }
}

#[tokio::test]
async fn statement_timeout_stops_every_statement() {
    let target = Target::start().await;
    let control = target.client().await;
    prepare(&control).await;
    let session = Session::open(&target).await;
    session.client.batch_execute("SET statement_timeout = '20ms'").await.expect("setting");
    for (name, sql) in ENDLESS {
        let answer = tokio::time::timeout(SOON, session.start(sql)).await.unwrap_or_else(|_| panic!("{name} goes on"));
        assert_eq!(answer.expect("task").as_deref(), Some("57014"), "{name}");
        all_is_free(&control).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_statement_with_it() {
    let target = Target::start().await;
    if target.is_postgres() {
        // It notices when it has something to send.
        return;
    }
    let control = target.client().await;
    prepare(&control).await;
    for (_, sql) in ENDLESS {
        let session = Session::open(&target).await;
        session.client.batch_execute("BEGIN; LOCK TABLE sink IN ROW EXCLUSIVE MODE").await.expect("block");
        let statement = session.start(sql);
        wait_for(&control, &running(&session), 1).await;
        statement.abort();
        session.connection.abort();
        wait_for(&control, &format!("SELECT 1 FROM pg_stat_activity WHERE pid = {}", session.pid), 0).await;
        all_is_free(&control).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_for_a_lock_leaves_the_queue() {
    let target = Target::start().await;
    if target.is_postgres() {
        return;
    }
    let control = target.client().await;
    prepare(&control).await;
    let holder = target.client().await;
    holder.batch_execute("BEGIN; SELECT id FROM sink").await.expect("reader");
    // It would keep every later reader waiting.
    let session = Session::open(&target).await;
    let statement = session.start("TRUNCATE sink");
    let waits = format!(
        "SELECT 1 FROM pg_stat_activity WHERE pid = {0} AND wait_event_type = 'Lock' AND wait_event = 'relation' \
         AND cardinality(pg_blocking_pids({0})) = 1",
        session.pid
    );
    wait_for(&control, &waits, 1).await;
    statement.abort();
    session.connection.abort();
    wait_for(&control, &format!("SELECT 1 FROM pg_stat_activity WHERE pid = {}", session.pid), 0).await;
    let read = control.batch_execute("BEGIN; SELECT id FROM sink; COMMIT");
    tokio::time::timeout(SOON, read).await.expect("nobody waits any more").expect("reader");
    holder.batch_execute("COMMIT").await.expect("commit");
    all_is_free(&control).await;
}

#[tokio::test]
async fn the_rows_of_an_abandoned_transaction_give_their_memory_back() {
    let dir = TempDir::new().expect("directory");
    let mut launch = launch("n", &dir.path().join("data"));
    launch.extra = ["--memory-limit", "128MB"].map(String::from).to_vec();
    let server = launch.spawn().ready().await;
    let control = server.connect().await;
    control.batch_execute("CREATE TABLE t (id bigserial PRIMARY KEY, pad text)").await.expect("table");
    // More than half of the memory: a second one beside the first would get 53200.
    let fill = "BEGIN; INSERT INTO t (pad) SELECT repeat('x', 1000) FROM generate_series(1, 60000)";
    for _ in 0..3 {
        let (client, connection) = server.launch.config().connect(NoTls).await.expect("connection");
        let connection = tokio::spawn(async move { drop(connection.await) });
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("pid").get(0);
        client.batch_execute(fill).await.expect("rows");
        let sleep = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(100000)").await });
        let sleeps = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
        wait_for(&control, &sleeps, 1).await;
        sleep.abort();
        connection.abort();
        wait_for(&control, &format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"), 0).await;
    }
    assert_eq!(rows(&control, "SELECT id FROM t").await, 0);
}
