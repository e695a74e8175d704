//! What one session sees of the others: pg_stat_activity, pg_locks, pg_blocking_pids.

use std::time::{Duration, Instant};

use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::target::Target;

async fn values(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.expect(sql);
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    });
    rows.collect::<Vec<_>>().join(" ")
}

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.expect("pid").get(0)
}

async fn becomes(control: &Client, sql: &str, wanted: &str) {
    let start = Instant::now();
    loop {
        let now = values(control, sql).await;
        if now == wanted {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{sql}: {now:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn waiting_sessions_say_for_what_and_for_whom() {
    let target = Target::start().await;
    let control = target.client().await;
    control
        .batch_execute(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)",
        )
        .await
        .expect("table");
    let (holder, first, second) = (target.client().await, target.client().await, target.client().await);
    let (holder_pid, first_pid, second_pid) = (pid(&holder).await, pid(&first).await, pid(&second).await);
    let state = |pid: i32| {
        format!(
            "SELECT state, wait_event_type, wait_event, xact_start IS NOT NULL, backend_xid IS NOT NULL, query, \
             pg_blocking_pids(pid) FROM pg_stat_activity WHERE pid = {pid}"
        )
    };
    let idle = "idle|Client|ClientRead|f|f|SELECT pg_backend_pid()|{}";
    becomes(&control, &state(holder_pid), idle).await;
    holder.batch_execute("BEGIN").await.expect("begin");
    becomes(&control, &state(holder_pid), "idle in transaction|Client|ClientRead|t|f|BEGIN|{}").await;
    let update = "UPDATE t SET v = v + 1 WHERE id = 1";
    holder.batch_execute(update).await.expect("update");
    let open = format!("idle in transaction|Client|ClientRead|t|t|{update}|{{}}");
    becomes(&control, &state(holder_pid), &open).await;

    let first = tokio::spawn(async move { first.batch_execute(update).await.map(|()| first) });
    let waits = format!("active|Lock|transactionid|t|t|{update}|{{{holder_pid}}}");
    becomes(&control, &state(first_pid), &waits).await;
    let second = tokio::spawn(async move { second.batch_execute(update).await.map(|()| second) });
    let head = format!("SELECT state, wait_event_type, wait_event FROM pg_stat_activity WHERE pid = {second_pid}");
    becomes(&control, &head, "active|Lock|tuple").await;
    let blocked = format!("SELECT {first_pid} = ANY (pg_blocking_pids({second_pid}))");
    becomes(&control, &blocked, "t").await;
    let locks = |pid: i32| {
        format!(
            "SELECT locktype, mode, granted FROM pg_locks WHERE pid = {pid} AND locktype IN ('relation', 'tuple') \
             AND (relation = 't'::regclass OR NOT granted) ORDER BY 1, 2, 3"
        )
    };
    assert_eq!(values(&control, &locks(holder_pid)).await, "relation|RowExclusiveLock|t");
    assert_eq!(
        values(&control, &locks(second_pid)).await,
        "relation|RowExclusiveLock|t tuple|ExclusiveLock|f",
        "a waiter for a row"
    );
    holder.batch_execute("COMMIT").await.expect("commit");
    let first = first.await.expect("task").expect("update");
    let second = second.await.expect("task").expect("update");
    assert_eq!(values(&control, "SELECT v FROM t").await, "3");

    first.batch_execute("BEGIN; SELECT v FROM t").await.expect("reader");
    assert_eq!(values(&control, &locks(first_pid)).await, "relation|AccessShareLock|t", "a reader");
    let lock = tokio::spawn(async move { second.batch_execute("BEGIN; LOCK TABLE t; COMMIT").await });
    becomes(&control, &head, "active|Lock|relation").await;
    becomes(&control, &format!("SELECT pg_blocking_pids({second_pid})"), &format!("{{{first_pid}}}")).await;
    first.batch_execute("COMMIT").await.expect("commit");
    lock.await.expect("task").expect("lock");

    let sleeper = target.client().await;
    let sleeper_pid = pid(&sleeper).await;
    let sleep = tokio::spawn(async move { sleeper.batch_execute("SELECT pg_sleep(1000)").await });
    becomes(&control, &state(sleeper_pid), "active|Timeout|PgSleep|t|f|SELECT pg_sleep(1000)|{}").await;
    assert_eq!(values(&control, &format!("SELECT pg_cancel_backend({sleeper_pid})")).await, "t");
    let error = sleep.await.expect("task").expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
}

#[tokio::test]
async fn an_advisory_lock_is_listed_and_tried() {
    let target = Target::start().await;
    let control = target.client().await;
    let (holder, other) = (target.client().await, target.client().await);
    let (holder_pid, other_pid) = (pid(&holder).await, pid(&other).await);
    holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7, 9)").await.expect("lock");
    assert_eq!(values(&control, "SELECT pg_try_advisory_xact_lock(7, 9)").await, "f");
    assert_eq!(values(&control, "SELECT pg_try_advisory_xact_lock(7, 10)").await, "t");
    let listed = format!(
        "SELECT classid, objid, objsubid, mode, granted FROM pg_locks WHERE locktype = 'advisory' AND pid = {holder_pid}"
    );
    assert_eq!(values(&control, &listed).await, "7|9|2|ExclusiveLock|t");
    let wait = tokio::spawn(async move { other.batch_execute("SELECT pg_advisory_xact_lock(7, 9)").await });
    let waits = format!("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = {other_pid}");
    becomes(&control, &waits, "Lock|advisory").await;
    holder.batch_execute("ROLLBACK").await.expect("rollback");
    wait.await.expect("task").expect("lock");
}

#[tokio::test]
async fn a_session_hears_itself_and_ends_itself() {
    let target = Target::start().await;
    let (client, mut connection) = target.config().connect(NoTls).await.expect("connection");
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    let connection = tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(notification) = message? {
                let _ = heard.send((notification.process_id(), notification.payload().to_owned()));
            }
        }
        Ok::<(), tokio_postgres::Error>(())
    });
    // Who listens and notifies in one transaction hears it; who rolls back neither sends nor listens.
    client.batch_execute("BEGIN; LISTEN a; NOTIFY a, 'one'; COMMIT").await.expect("both");
    client.batch_execute("BEGIN; LISTEN b; NOTIFY a, 'lost'; ROLLBACK; NOTIFY b, 'nobody'").await.expect("neither");
    client.batch_execute("NOTIFY a, 'two'").await.expect("notify");
    let own = pid(&client).await;
    assert_eq!(hearing.recv().await, Some((own, "one".to_owned())));
    assert_eq!(hearing.recv().await, Some((own, "two".to_owned())));

    let error = client.simple_query("SELECT pg_cancel_backend(pg_backend_pid())").await.expect_err("cancelled");
    assert_eq!(error.code().expect("code").code(), "57014");
    let error = client.simple_query("SELECT pg_terminate_backend(pg_backend_pid())").await.expect_err("terminated");
    let error = error.as_db_error().expect("an answer");
    assert_eq!((error.severity(), error.code().code()), ("FATAL", "57P01"));
    let _ = connection.await.expect("connection");
    assert!(client.is_closed());
}
