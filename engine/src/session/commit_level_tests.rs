//! What an early answer promises, and what nobody sees before it is safe.
#![allow(clippy::unwrap_used)]

use super::standby_tests::{engine, open, rows, run};
use crate::SqlState;

#[tokio::test]
async fn an_early_commit_is_seen_by_nobody_before_it_is_safe() {
    let (engine, log) = engine();
    let mut early = open(&engine).await;
    rows(&mut early, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)").await;
    assert_eq!(rows(&mut early, "SELECT lockstep_commit_level()").await, ["on"]);
    rows(&mut early, "SET synchronous_commit = off").await;
    log.hold();
    // Answered while the log holds everything back, and the next one builds on it.
    rows(&mut early, "UPDATE t SET v = 1 WHERE id = 1").await;
    rows(&mut early, "UPDATE t SET v = v + 1 WHERE id = 1").await;
    assert_eq!(rows(&mut early, "SELECT lockstep_commit_level()").await, ["off"]);
    let mut other = open(&engine).await;
    assert_eq!(rows(&mut other, "SELECT v FROM t").await, ["0"]);
    // The session itself waits for its own.
    let timed_out = run(&mut early, "SET statement_timeout = 50; SELECT v FROM t").await.unwrap_err();
    assert_eq!(timed_out.state(), SqlState::QueryCanceled);
    // So does somebody who built on it: their answer would tell of it.
    rows(&mut other, "SET statement_timeout = 50").await;
    let told = run(&mut other, "UPDATE t SET v = v + 1 WHERE id = 1 RETURNING v").await.unwrap_err();
    assert_eq!(told.state(), SqlState::QueryCanceled);
    log.release();
    assert_eq!(rows(&mut early, "SELECT v FROM t").await, ["2"]);
    assert_eq!(rows(&mut other, "SELECT v FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_lost_early_commit_holds_no_reader_back() {
    let (engine, log) = engine();
    let mut early = open(&engine).await;
    rows(&mut early, "CREATE TABLE t (id int PRIMARY KEY); SET synchronous_commit = off").await;
    log.hold();
    rows(&mut early, "INSERT INTO t VALUES (1)").await;
    log.lose_leadership(false);
    log.release();
    assert_eq!(rows(&mut early, "SELECT count(*) FROM t").await, ["0"]);
    log.regain_leadership();
    rows(&mut early, "INSERT INTO t VALUES (2)").await;
    assert_eq!(rows(&mut early, "SELECT id FROM t").await, ["2"]);
}

#[tokio::test]
async fn local_waits_where_the_log_cannot_tell() {
    let (engine, log) = engine();
    let mut session = open(&engine).await;
    rows(&mut session, "CREATE TABLE t (id int PRIMARY KEY); SET synchronous_commit = local").await;
    log.hold();
    let inserting = tokio::spawn(async move {
        rows(&mut session, "INSERT INTO t VALUES (1)").await;
        rows(&mut session, "SELECT lockstep_commit_level()").await
    });
    while log.queued() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!inserting.is_finished());
    log.release();
    assert_eq!(inserting.await.unwrap(), ["on"]);
}
