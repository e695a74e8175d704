//! Two nodes with tables and a witness: each of the two may be lost, and what was acknowledged is on the other.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;

use crate::cluster::until;
use crate::membership::{answers, node, prints};
use crate::server::{READY_WITHIN, Server, connect};

async fn start(dir: &TempDir) -> (Server, Server, Server) {
    let one = node(dir, "n1").spawn().ready().await;
    let two = answers(node(dir, "n2").joining(&one.launch).spawn()).await;
    let mut launch = node(dir, "w").joining(&one.launch);
    launch.extra = vec!["--witness".into()];
    let witness = launch.spawn();
    let client = one.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    until(&client, "SELECT role FROM lockstep_nodes WHERE name = 'w'", "witness").await;
    (one, two, witness)
}

/// A client of whichever of the nodes takes writes.
async fn primary(servers: &[&Server]) -> Client {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        for server in servers {
            let mut config = server.launch.config();
            if let Ok(client) = connect(config.target_session_attrs(TargetSessionAttrs::ReadWrite)).await {
                return client;
            }
        }
        let logs: Vec<String> = servers.iter().map(|server| server.log.text()).collect();
        assert!(Instant::now() < deadline, "no primary:\n{}", logs.join("\n----\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn insert(client: &Client, from: i32, rows: i32) {
    for id in from..from + rows {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
    }
}

/// The same, whoever is the primary and whenever there is one again.
async fn insert_anyhow(servers: &[&Server], from: i32, rows: i32) {
    let deadline = Instant::now() + READY_WITHIN;
    for id in from..from + rows {
        loop {
            let client = primary(servers).await;
            match client.execute("INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING", &[&id]).await {
                Ok(_) => break,
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
        }
    }
}

async fn rows(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0)
}

#[tokio::test]
async fn two_nodes_and_a_witness_fail_over_by_themselves() {
    let dir = TempDir::new().expect("directory");
    let (mut one, mut two, witness) = start(&dir).await;
    let error = connect(&witness.launch.config()).await.expect_err("a witness serves nobody");
    assert_eq!(error.code().map(|code| code.code()), Some("57P03"), "{error:?}");
    assert!(error.as_db_error().is_some_and(|report| report.message().contains("witness")), "{error:?}");
    let client = one.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    let error = client.query("SELECT lockstep_switchover('w')", &[]).await.expect_err("a witness does not lead");
    assert_eq!(error.code().map(|code| code.code()), Some("55000"));
    let mut written = 0;
    for round in 0..4 {
        let client = primary(&[&one, &two]).await;
        insert(&client, written, 50).await;
        written += 50;
        let (lost, other) = if round % 2 == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        lost.kill();
        let client = primary(&[other]).await;
        assert_eq!(rows(&client).await, i64::from(written), "round {round}");
        insert(&client, written, 50).await;
        written += 50;
        *lost = answers(lost.launch.spawn()).await;
        let name = &lost.launch.name;
        let follows = format!("SELECT state FROM lockstep_nodes WHERE name = '{name}' AND lag_bytes = 0");
        until(&client, &follows, "streaming").await;
        assert_eq!(rows(&lost.connect().await).await, i64::from(written));
    }
}

#[tokio::test]
async fn a_node_that_was_away_gets_what_it_lacks_from_the_witness() {
    let dir = TempDir::new().expect("directory");
    let (mut one, two, mut witness) = start(&dir).await;
    let mut two = two;
    let client = one.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    until(&two.connect().await, "SELECT count(*)::text FROM t", "0").await;
    // What is acknowledged now is on the first node and on the witness alone.
    two.stop();
    insert(&client, 0, 200).await;
    one.kill();
    two.resume();
    prints(&witness, "this witness was elected and handed over").await;
    let client = primary(&[&two]).await;
    assert_eq!(rows(&client).await, 200);
    insert(&client, 200, 10).await;
    // A witness that is told to end leaves a checkpoint without a table, and goes on from it.
    witness.terminate();
    assert!(witness.wait(READY_WITHIN).success(), "{}", witness.log.text());
    let checkpoints = std::fs::read_dir(witness.launch.data_dir.join("checkpoints")).expect("checkpoints");
    let state = checkpoints.map(|entry| entry.expect("entry").path().join("state")).max().expect("a checkpoint");
    let files: Vec<_> = std::fs::read_dir(state).expect("state").map(|file| file.expect("file").file_name()).collect();
    assert_eq!(files, ["witness"]);
    // Not as a node with tables, of which it has none.
    let mut launch = witness.launch.clone();
    launch.extra.clear();
    let mut wrong = launch.spawn();
    assert!(!wrong.wait(READY_WITHIN).success());
    assert!(wrong.log.text().contains("belongs to a witness"), "{}", wrong.log.text());
    let _witness = witness.launch.spawn();
    insert_anyhow(&[&two], 210, 10).await;
    let client = primary(&[&two]).await;
    assert_eq!(rows(&client).await, 220);
}
