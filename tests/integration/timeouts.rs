//! The timeouts that a session may set: each ends what PostgreSQL's ends, with its SQLSTATE and message.

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio_postgres::{Client, NoTls};

use crate::target::Target;

/// Far longer than any timeout here, for a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn said(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("no answer of the server: {error}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

async fn refused(client: &Client, sql: &str) -> (String, String) {
    said(&client.batch_execute(sql).await.expect_err(sql))
}

/// What takes no time, under a limit that a busy machine may still reach.
async fn at_last(client: &Client, sql: &str) {
    while let Err(error) = client.batch_execute(sql).await {
        assert_eq!(said(&error).0, "57014", "{sql}");
    }
}

#[tokio::test]
async fn statements_and_locks_end_in_time() {
    let target = Target::start().await;
    let (one, two) = (target.client().await, target.client().await);
    one.batch_execute("CREATE TABLE timed (a int PRIMARY KEY); INSERT INTO timed VALUES (1)").await.expect("table");

    one.batch_execute("SET statement_timeout = '20ms'").await.expect("set");
    let (code, message) = refused(&one, "SELECT pg_sleep(100)").await;
    assert_eq!((code.as_str(), message.as_str()), ("57014", "canceling statement due to statement timeout"));
    // Rows that are always at hand, and few rows that take long to write.
    let endless = "COPY (SELECT repeat('x', 100) FROM generate_series(1, 1000000000)) TO STDOUT";
    // On a busy machine it ends before its first row.
    let ended = match one.copy_out(endless).await {
        Ok(rows) => rows.filter_map(|row| async { row.err() }).boxed().next().await.expect("an end"),
        Err(error) => error,
    };
    assert_eq!(said(&ended).0, "57014");
    let wide = "SELECT array_fill(1, ARRAY[1000]) FROM generate_series(1, 100000)";
    assert_eq!(refused(&one, wide).await.0, "57014");
    // What is ended while its rows are on their way has changed nothing.
    let returning =
        "INSERT INTO timed SELECT g FROM generate_series(100, 10000) g RETURNING array_fill(a, ARRAY[1000])";
    at_last(&one, "SET statement_timeout = '400ms'").await;
    let all = one.batch_execute(returning).await.map_err(|error| assert_eq!(said(&error).0, "57014")).is_ok();
    let rows: i64 = two.query_one("SELECT count(*) FROM timed", &[]).await.expect("count").get(0);
    assert_eq!(rows, if all { 9902 } else { 1 });
    at_last(&one, "RESET statement_timeout").await;
    one.batch_execute("DELETE FROM timed WHERE a > 1; SELECT pg_sleep(0.05)").await.expect("no limit");

    two.batch_execute("BEGIN; UPDATE timed SET a = a").await.expect("lock");
    one.batch_execute("SET lock_timeout = '20ms'").await.expect("set");
    for sql in ["UPDATE timed SET a = a", "SELECT * FROM timed FOR UPDATE", "BEGIN; LOCK TABLE timed"] {
        let (code, message) = refused(&one, sql).await;
        assert_eq!((code.as_str(), message.as_str()), ("55P03", "canceling statement due to lock timeout"), "{sql}");
    }
    one.batch_execute("ROLLBACK").await.expect("rollback");
    // A statement's own limit counts while it waits for a lock, too.
    one.batch_execute("SET lock_timeout = 0; SET statement_timeout = '20ms'").await.expect("set");
    assert_eq!(refused(&one, "UPDATE timed SET a = a").await.0, "57014");
    two.batch_execute("COMMIT").await.expect("commit");
    at_last(&one, "SET LOCAL statement_timeout = 1; RESET statement_timeout; UPDATE timed SET a = a").await;
}

#[tokio::test]
async fn idle_sessions_end_in_time() {
    let target = Target::start().await;
    for (setting, begin, code, message) in [
        (
            "idle_in_transaction_session_timeout",
            "BEGIN",
            "25P03",
            "terminating connection due to idle-in-transaction timeout",
        ),
        ("idle_session_timeout", "SELECT 1", "57P05", "terminating connection due to idle-session timeout"),
    ] {
        let (client, connection) = target.config().connect(NoTls).await.expect("connection");
        let ended = tokio::spawn(connection);
        client.batch_execute(&format!("SET {setting} = '20ms'; {begin}")).await.expect(setting);
        let start = Instant::now();
        let error = tokio::time::timeout(SOON, ended).await.expect("in time").expect("task").expect_err(setting);
        assert!(start.elapsed() < SOON);
        assert_eq!(said(&error), (code.to_owned(), message.to_owned()));
    }
}
