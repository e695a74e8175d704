//! Reads on standbys: of bounded age, after a position, and in the order of the log everywhere.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::cluster::{open, three};
use crate::faults::cluster::NODES;

async fn count(client: &Client) -> Result<i64, tokio_postgres::Error> {
    client.query_one("SELECT count(*) FROM t", &[]).await.map(|row| row.get(0))
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

#[tokio::test]
async fn a_bounded_read_needs_nobody_until_its_state_is_too_old() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("table");
    let (node, other) = ((primary + 1) % NODES, (primary + 2) % NODES);
    let reader = open(&cluster, node).await;
    let bound = Duration::from_secs(3);
    assert_eq!(count(&reader).await.expect("the latest state"), 1);
    reader.batch_execute("SET lockstep.max_staleness = '3s'").await.expect("setting");
    assert_eq!(count(&reader).await.expect("a bounded read"), 1);
    let cut = Instant::now();
    cluster.stop(primary);
    cluster.stop(other);
    let mut alone = 0;
    let error = loop {
        let asked = Instant::now();
        match count(&reader).await {
            Ok(rows) => {
                assert_eq!(rows, 1);
                assert!(asked < cut + bound, "answered {:?} after the cut", asked - cut);
                alone += 1;
            }
            Err(error) => break error,
        }
        assert!(cut.elapsed() < bound * 5, "never refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(alone > 0, "no read without the primary");
    assert_eq!(code(&error), "57P03", "{error:?}");
    let detail = error.as_db_error().and_then(|error| error.detail()).expect("detail").to_owned();
    assert!(detail.contains(" ms ago; 3000 ms are allowed"), "{detail}");
    cluster.resume(primary);
    cluster.resume(other);
    loop {
        match count(&reader).await {
            Ok(rows) => break assert_eq!(rows, 1),
            Err(error) => assert_eq!(code(&error), "57P03", "{error:?}"),
        }
        assert!(cut.elapsed() < Duration::from_secs(60), "never well again");
    }
}

#[tokio::test]
async fn a_position_makes_a_read_on_any_node_see_the_write() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    let mut readers = Vec::new();
    for node in 0..NODES {
        let reader = open(&cluster, node).await;
        // Nothing but the position makes them wait.
        reader.batch_execute("SET lockstep.max_staleness = '1h'").await.expect("setting");
        readers.push(reader);
    }
    for id in 0..100_i32 {
        writer.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("insert");
        let position: String = writer.query_one("SELECT lockstep_position()", &[]).await.expect("position").get(0);
        for reader in &readers {
            reader.batch_execute(&format!("SET lockstep.read_after = '{position}'")).await.expect("setting");
            assert_eq!(count(reader).await.expect("read"), i64::from(id) + 1);
        }
    }
    readers[0].batch_execute("SET lockstep.read_after = 'FFFFFFFF/0'; SET statement_timeout = 100").await.expect("set");
    assert_eq!(code(&count(&readers[0]).await.expect_err("a position of the future")), "57014");
}

/// Two writers, a counter each; what readers anywhere see of both is one sequence: of two observations one is the older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_appear_in_log_order_on_every_node() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("table");
    writer.batch_execute("INSERT INTO t VALUES (0, 0), (1, 0)").await.expect("rows");
    let mut writers = Vec::new();
    for id in 0..2_i32 {
        let writer = open(&cluster, primary).await;
        writers.push(tokio::spawn(async move {
            for n in 1..=300_i32 {
                writer.execute("UPDATE t SET n = $1 WHERE id = $2", &[&n, &id]).await.expect("update");
            }
        }));
    }
    let mut readers = Vec::new();
    for (node, bounded) in (0..NODES).flat_map(|node| [(node, false), (node, true)]) {
        let reader = open(&cluster, node).await;
        if bounded {
            reader.batch_execute("SET lockstep.max_staleness = '10s'").await.expect("setting");
        }
        readers.push(tokio::spawn(async move {
            let mut seen = vec![(0, 0)];
            while seen.last() != Some(&(300, 300)) {
                let rows = reader.query("SELECT n FROM t ORDER BY id", &[]).await.expect("read");
                seen.push((rows[0].get::<_, i32>(0), rows[1].get::<_, i32>(0)));
            }
            seen
        }));
    }
    for writer in writers {
        writer.await.expect("writer");
    }
    let mut all = Vec::new();
    for reader in readers {
        let seen = reader.await.expect("reader");
        assert!(seen.is_sorted(), "a reader went back: {seen:?}");
        all.extend(seen);
    }
    all.sort_unstable();
    all.dedup();
    for pair in all.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{:?} and {:?} are in no order", pair[0], pair[1]);
    }
    assert!(all.len() > 10, "too few observations to judge: {}", all.len());
}
