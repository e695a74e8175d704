//! `synchronous_commit`: what each level waits for, what a cancel request does to a COMMIT, what is refused.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::cluster::{open, three, until};
use crate::faults::cluster::NODES;
use crate::server::Launch;

async fn level(client: &Client) -> Option<String> {
    client.query_one("SELECT lockstep_commit_level()", &[]).await.expect("level").get(0)
}

#[tokio::test]
async fn a_commit_in_flight_is_neither_cancelled_nor_timed_out() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    let standbys: Vec<usize> = (0..NODES).filter(|node| *node != primary).collect();
    let (mut committed, mut unknown) = (0, 0);
    for id in 0..6_i32 {
        let current = crate::faults::run::find_primary(&cluster, Duration::from_secs(60)).await.expect("primary");
        if current != primary {
            // The pause took so long that another node leads: nothing more to learn here.
            break;
        }
        let writer = open(&cluster, primary).await;
        writer.batch_execute("SET statement_timeout = 20; BEGIN").await.expect("begin");
        writer.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
        let cancel = writer.cancel_token();
        standbys.iter().for_each(|node| cluster.stop(*node));
        let committing = tokio::spawn(async move { writer.batch_execute("COMMIT").await });
        for _ in 0..10 {
            cancel.cancel_query(NoTls).await.expect("the request is delivered");
        }
        assert!(!committing.is_finished(), "answered without a majority");
        standbys.iter().for_each(|node| cluster.resume(*node));
        let answer = committing.await.expect("the task");
        let sure = match &answer {
            Ok(()) => true,
            Err(error) => {
                let code = error.code().map_or("", |code| code.code());
                assert!(["08007", "40001"].contains(&code), "{error:?}");
                assert_ne!(code, "57014");
                unknown += 1;
                false
            }
        };
        committed += i32::from(sure);
        if sure {
            for node in 0..NODES {
                let reader = open(&cluster, node).await;
                until(&reader, &format!("SELECT count(*)::text FROM t WHERE id = {id}"), "1").await;
            }
        }
    }
    assert!(committed + unknown > 0);
    println!("{committed} commits survived their cancel requests, {unknown} unknown");
}

#[tokio::test]
async fn remote_apply_is_visible_on_every_standby_that_is_up() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    assert_eq!(level(&writer).await.as_deref(), Some("on"));
    writer.batch_execute("SET synchronous_commit = remote_apply").await.expect("setting");
    let mut readers = Vec::new();
    for node in (0..NODES).filter(|node| *node != primary) {
        let reader = open(&cluster, node).await;
        reader.batch_execute("SET lockstep.max_staleness = '1h'").await.expect("setting");
        readers.push(reader);
    }
    for id in 0..100_i32 {
        writer.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
        for reader in &readers {
            let count: i64 = reader.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
            assert_eq!(count, i64::from(id) + 1);
        }
    }
    assert_eq!(level(&writer).await.as_deref(), Some("remote_apply"));
    let paused = (primary + 1) % NODES;
    cluster.stop(paused);
    let begun = Instant::now();
    for id in 100..105_i32 {
        writer.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert without one standby");
    }
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(9), "waited {waited:?} for a dead standby");
    cluster.resume(paused);
    let reader = open(&cluster, paused).await;
    until(&reader, "SELECT count(*)::text FROM t", "105").await;
}

#[tokio::test]
async fn early_commits_are_refused_unless_the_server_allows_them() {
    let dir = TempDir::new().expect("directory");
    let binary = env!("CARGO_BIN_EXE_lockstep");
    let strict = Launch::new(binary, "node1", dir.path().join("strict")).spawn().ready().await;
    let client = strict.connect().await;
    for text in ["off", "local"] {
        let error = client.batch_execute(&format!("SET synchronous_commit = {text}")).await.expect_err("allowed");
        assert_eq!(error.code().map(|code| code.code()), Some("55000"), "{error:?}");
    }
    client.batch_execute("SET synchronous_commit = remote_write; CREATE TABLE t (id int)").await.expect("as on");
    assert_eq!(level(&client).await.as_deref(), Some("on"));
    let mut config = strict.launch.config();
    let error = config.options("-c synchronous_commit=off").connect(NoTls).await.map(drop).expect_err("allowed");
    assert_eq!(error.code().map(|code| code.code()), Some("55000"), "{error:?}");

    let mut launch = Launch::new(binary, "node1", dir.path().join("loose"));
    launch.extra = vec!["--allow-local-commit".into()];
    let loose = launch.spawn().ready().await;
    let client = loose.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    assert_eq!(level(&client).await.as_deref(), Some("on"));
    for (first, text) in [(0, "off"), (3000, "local")] {
        client.batch_execute(&format!("SET synchronous_commit = {text}")).await.expect("setting");
        // More than may be on their way at once.
        let mut early = false;
        for id in first..first + 1500_i32 {
            client.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
            if id % 100 == 0 {
                early |= level(&client).await.as_deref() == Some(text);
            }
        }
        assert!(early, "no commit was acknowledged as {text}");
        let count: i64 =
            client.query_one("SELECT count(*) FROM t WHERE id >= $1", &[&first]).await.expect("read").get(0);
        assert_eq!(count, 1500, "a session sees what it wrote");
    }
}
