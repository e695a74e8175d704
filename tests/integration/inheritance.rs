//! Tables that inherit are what they were after crashes and checkpoints, and on standbys.

use tempfile::TempDir;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cluster::{open, three};
use crate::faults::cluster::NODES;
use crate::target::launch;

async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.expect(sql);
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect()
}

const TABLES: &str = "
    CREATE TABLE p (a int NOT NULL, b text DEFAULT 'x', CONSTRAINT ok CHECK (a > 0), CONSTRAINT own CHECK (b <> 'no') NO INHERIT);
    CREATE TABLE q (c int);
    CREATE TABLE pq (d int) INHERITS (p, q);
    CREATE TABLE last () INHERITS (pq);
    CREATE TABLE joined (a int NOT NULL, b text, CONSTRAINT ok CHECK (a > 0));
    ALTER TABLE joined INHERIT p;
    INSERT INTO p VALUES (1); INSERT INTO pq VALUES (2, 'no', 3, 4); INSERT INTO last VALUES (5, 'l', 6, 7);
    INSERT INTO joined VALUES (8, 'j'); UPDATE p SET a = a + 10 WHERE a > 1";

const QUESTIONS: [&str; 4] = [
    "SELECT tableoid::regclass, * FROM p ORDER BY a",
    "SELECT inhrelid::regclass, inhparent::regclass, inhseqno FROM pg_inherits ORDER BY 1, 2",
    "SELECT attrelid::regclass, attname, attislocal, attinhcount FROM pg_attribute
     WHERE attrelid IN ('pq'::regclass, 'last'::regclass, 'joined'::regclass) AND attnum > 0 ORDER BY attrelid, attnum",
    "SELECT conrelid::regclass, conname, conislocal, coninhcount, connoinherit FROM pg_constraint
     WHERE contype = 'c' ORDER BY conrelid, conname",
];

async fn answers(client: &Client) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for sql in QUESTIONS {
        all.push(lines(client, sql).await);
    }
    all
}

#[tokio::test]
async fn families_outlive_rollback_crash_and_checkpoint() {
    let dir = TempDir::new().expect("directory");
    let mut server = launch("n", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute(TABLES).await.expect("tables");
    client
        .batch_execute(
            "BEGIN; ALTER TABLE p ADD COLUMN gone int; SAVEPOINT s; ALTER TABLE joined NO INHERIT p; ROLLBACK TO s;
             DROP TABLE p CASCADE; ROLLBACK",
        )
        .await
        .expect("rolled back");
    let before = answers(&client).await;
    assert_eq!(before[0], ["p|1|x", "pq|12|no", "last|15|l", "joined|18|j"]);
    // From the log, then from a checkpoint and an empty log behind it.
    for checkpoint in [false, true] {
        if checkpoint {
            server.connect().await.batch_execute("CHECKPOINT").await.expect("checkpoint");
        }
        server.kill();
        server = server.launch.spawn().ready().await;
        let client = server.connect().await;
        assert_eq!(answers(&client).await, before, "checkpoint: {checkpoint}");
        let error = client.batch_execute("ALTER TABLE last DROP COLUMN a").await.expect_err("inherited");
        assert_eq!(error.code().expect("code").code(), "42P16");
    }
    let client = server.connect().await;
    client
        .batch_execute("ALTER TABLE p ADD COLUMN e int DEFAULT 9; ALTER TABLE p DROP COLUMN b")
        .await
        .expect("columns");
    assert_eq!(lines(&client, "SELECT * FROM last").await, ["15|6|7|9"]);
}

#[tokio::test]
async fn standbys_have_the_same_families() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute(TABLES).await.expect("tables");
    let wanted = answers(&writer).await;
    for node in (0..NODES).filter(|node| *node != primary) {
        let reader = open(&cluster, node).await;
        assert_eq!(answers(&reader).await, wanted, "node {node}");
    }
    writer
        .batch_execute("ALTER TABLE joined NO INHERIT p; ALTER TABLE p RENAME COLUMN a TO aa")
        .await
        .expect("changed");
    for node in 0..NODES {
        let reader = open(&cluster, node).await;
        assert_eq!(lines(&reader, "SELECT aa FROM p ORDER BY 1").await, ["1", "12", "15"], "node {node}");
    }
}
