//! Three nodes from three commands: who writes, who reads, what they say of each other, and what survives faults.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;

use crate::faults::cluster::{Cluster, NODES};
use crate::faults::inject::Injection;
use crate::faults::run::{Fault, Options, all_vote, find_primary, run};

const SOON: Duration = Duration::from_secs(60);

/// Three nodes, each of them a voter, and which one is the primary.
pub async fn three(dir: &TempDir) -> (Cluster, usize) {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_lockstep").as_ref(), dir.path(), &[], false).await;
    let primary = all_vote(&cluster).await.expect("three voters");
    (cluster, primary)
}

pub async fn open(cluster: &Cluster, node: usize) -> Client {
    cluster.door(node).open(TargetSessionAttrs::Any, SOON).await.expect("connect")
}

/// Asks until the answer is the wanted one; the last answer is in the panic.
pub async fn until(client: &Client, sql: &str, wanted: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let text: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        if text.join(" ") == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{sql}: {text:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn standbys_read_what_was_acknowledged_and_refuse_writes() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    let mut readers = Vec::new();
    for node in 0..NODES {
        readers.push(open(&cluster, node).await);
    }
    for id in 0..50_i32 {
        writer.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
        for reader in &readers {
            let count: i64 = reader.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
            assert_eq!(count, i64::from(id) + 1);
        }
    }
    for node in (0..NODES).filter(|node| *node != primary) {
        for sql in ["INSERT INTO t VALUES (1000)", "CREATE TABLE u (id int)", "BEGIN; DELETE FROM t"] {
            let error = readers[node].batch_execute(sql).await.expect_err(sql);
            assert_eq!(error.code().map(|code| code.code()), Some("25006"), "{sql}");
            readers[node].batch_execute("ROLLBACK").await.expect("rollback");
        }
        let recovering: bool = readers[node].query_one("SELECT pg_is_in_recovery()", &[]).await.expect("role").get(0);
        assert!(recovering);
    }
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").dbname("postgres").target_session_attrs(TargetSessionAttrs::ReadWrite);
    for node in (0..NODES).rev() {
        let door = cluster.door(node);
        config.host("127.0.0.1").port(door.port());
    }
    let found = crate::server::connect(&config).await.expect("the primary of the list");
    found.batch_execute("INSERT INTO t VALUES (1000)").await.expect("write");
}

#[tokio::test]
async fn every_node_tells_the_truth_about_the_cluster() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let name = cluster.door(primary).name.clone();
    for node in 0..NODES {
        let client = open(&cluster, node).await;
        until(&client, "SELECT name::text FROM lockstep_nodes ORDER BY name", "node1 node2 node3").await;
        until(&client, "SELECT name::text FROM lockstep_nodes WHERE role = 'primary'", &name).await;
        until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE role = 'standby'", "2").await;
        until(&client, "SELECT count(DISTINCT term)::text FROM lockstep_nodes", "1").await;
    }
    let client = open(&cluster, primary).await;
    until(&client, "SELECT count(*)::text FROM pg_stat_replication", "2").await;
    for node in 0..NODES {
        let client = open(&cluster, node).await;
        let standby = "SELECT concat(status, flushed_lsn <= written_lsn, latest_end_time <= clock_timestamp()) FROM \
                       pg_stat_wal_receiver JOIN lockstep_nodes ON pid = id AND this_node";
        until(&client, standby, if node == primary { "" } else { "streamingtt" }).await;
    }
    cluster.kill(primary);
    let next = find_primary(&cluster, SOON).await.expect("another primary");
    assert_ne!(next, primary);
    let name = cluster.door(next).name.clone();
    for node in (0..NODES).filter(|node| *node != primary) {
        let client = open(&cluster, node).await;
        until(&client, "SELECT name::text FROM lockstep_nodes WHERE role = 'primary'", &name).await;
    }
}

#[tokio::test]
async fn a_brand_new_node_takes_the_place_of_a_lost_one() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let lost = (primary + 1) % NODES;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY, pad text)").await.expect("table");
    let fill = "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($1::int, $1::int + 999) AS g";
    writer.execute(fill, &[&0]).await.expect("rows");
    cluster.kill(lost);
    writer.execute(fill, &[&1000]).await.expect("rows without one node");
    cluster.replace(lost, "node4", dir.path().join("node4"));
    cluster.answers(lost).await;
    let client = open(&cluster, lost).await;
    until(&client, "SELECT count(*)::text FROM t", "2000").await;
    writer.execute(fill, &[&2000]).await.expect("rows with the new node");
    until(&client, "SELECT count(*)::text FROM t", "3000").await;
}

#[tokio::test]
async fn a_commit_without_a_majority_is_unknown_not_acknowledged() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    let standbys: Vec<usize> = (0..NODES).filter(|node| *node != primary).collect();
    standbys.iter().for_each(|node| cluster.stop(*node));
    let answer = tokio::time::timeout(SOON, writer.batch_execute("INSERT INTO t VALUES (1)")).await;
    standbys.iter().for_each(|node| cluster.resume(*node));
    let error = answer.expect("no answer at all").expect_err("acknowledged without a majority");
    assert!(["08007", "25006"].contains(&error.code().map_or("", |code| code.code())), "{error:?}");
    let next = find_primary(&cluster, SOON).await.expect("primary");
    let client = open(&cluster, next).await;
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
    assert!(count <= 1);
    if error.code().is_some_and(|code| code.code() == "25006") {
        assert_eq!(count, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_faults_break_no_promise() {
    let dir = TempDir::new().expect("directory");
    let options = Options {
        binary: env!("CARGO_BIN_EXE_lockstep").into(),
        dir: dir.path().into(),
        environment: Vec::new(),
        namespaces: false,
        seed: 1,
        faults: 3,
        kinds: vec![Fault::Kill, Fault::Stop, Fault::Alone],
        minutes_max: 5.0,
        writers: 4,
        judged: None,
        calm: Duration::from_secs(1),
    };
    let report = run(&options).await;
    println!("{}", report.summary);
    assert!(report.violations.is_empty(), "{}", report.violations.join("\n\n"));
    assert_eq!(report.faults.len(), 3);
    assert!(report.judged > 0, "the checker of isolation saw nothing");
}

/// Needs strace and the right to trace; without them there is nothing to run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_and_slow_disks_break_no_promise() {
    if !Injection::possible() {
        println!("strace cannot trace here");
        return;
    }
    let dir = TempDir::new().expect("directory");
    let options = Options {
        binary: env!("CARGO_BIN_EXE_lockstep").into(),
        dir: dir.path().into(),
        environment: Vec::new(),
        namespaces: false,
        seed: 2,
        faults: 2,
        kinds: vec![Fault::Eio, Fault::Slow],
        minutes_max: 5.0,
        writers: 3,
        judged: None,
        calm: Duration::from_secs(1),
    };
    let report = run(&options).await;
    println!("{}", report.summary);
    assert!(report.violations.is_empty(), "{}", report.violations.join("\n\n"));
    assert_eq!(report.faults.len(), 2);
}
