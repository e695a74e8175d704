//! Planned switchover: by SQL and by SIGTERM, under load, and when it cannot be.

use tempfile::TempDir;

use crate::cluster::{open, three, until};
use crate::faults::cluster::NODES;
use crate::faults::run::find_primary;
use crate::faults::switchover::{Writers, measure};
use crate::server::{Launch, READY_WITHIN};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchovers_under_load_lose_nothing() {
    let dir = TempDir::new().expect("directory");
    let (cluster, _) = three(&dir).await;
    let report = measure(&cluster, 20, 4).await;
    report.print("lockstep_switchover");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.gaps.len(), report.unknown), (20, 0), "{:?}", report.refused);
    // What ran was carried over; only who asked the old primary afterwards is told so.
    assert!(report.refused.keys().all(|code| code == "25006"), "{:?}", report.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_told_to_end_hands_over_first() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, mut primary) = three(&dir).await;
    let writers = Writers::start(&cluster, 4).await;
    let mut moments = Vec::new();
    for _ in 0..2 {
        writers.acknowledge(200).await;
        let (open_transaction, idle) = (open(&cluster, primary).await, open(&cluster, primary).await);
        open_transaction.batch_execute("BEGIN; INSERT INTO written VALUES (-1)").await.expect("begin");
        moments.push(std::time::Instant::now());
        cluster.terminate(primary);
        // Its transaction cannot go on elsewhere: it is told so, and that nothing of it happened.
        let error = loop {
            if let Err(error) = open_transaction.batch_execute("SELECT 1; DELETE FROM written WHERE id = -2").await {
                break error;
            }
        };
        let code = error.code().map_or("closed", |code| code.code()).to_owned();
        assert!(["40001", "57P01", "closed"].contains(&code.as_str()), "{error:?}");
        drop(open_transaction);
        drop(idle);
        let status = cluster.wait(primary);
        assert!(status.success(), "{status}");
        writers.acknowledge(200).await;
        let next = find_primary(&cluster, READY_WITHIN).await.expect("primary");
        assert!(cluster.log(primary).contains("handed over"), "{}", cluster.log(primary));
        cluster.restart(primary);
        cluster.answers(primary).await;
        primary = next;
    }
    writers.acknowledge(200).await;
    let nodes: Vec<usize> = (0..NODES).collect();
    let report = writers.finish(&cluster, &nodes, &moments).await;
    report.print("SIGTERM");
    assert_eq!(report.violations, Vec::<String>::new());
    let client = open(&cluster, primary).await;
    until(&client, "SELECT count(*)::text FROM written WHERE id < 0", "0").await;
}

#[tokio::test]
async fn a_switchover_that_cannot_be_is_refused_and_writes_go_on() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let client = open(&cluster, primary).await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE guest LOGIN").await.expect("objects");
    let refused = async |sql: &str, code: &str, word: &str| {
        let error = client.query(sql, &[]).await.expect_err(sql);
        let report = error.as_db_error().expect("an answer").clone();
        let text = format!("{} {:?}", report.message(), report.detail());
        assert!(report.code().code() == code && text.contains(word), "{sql}: {} {text}", report.code().code());
    };
    refused("SELECT lockstep_switchover('nobody')", "42704", "nobody").await;
    let own = cluster.door(primary).name;
    let same = client.query_one(&format!("SELECT lockstep_switchover('{own}')"), &[]).await.expect("nothing to do");
    assert_eq!(same.get::<_, String>(0), own);
    let (stopped, other) = ((primary + 1) % NODES, (primary + 2) % NODES);
    cluster.stop(stopped);
    let name = cluster.door(stopped).name;
    refused(&format!("SELECT lockstep_switchover('{name}')"), "55000", "does not answer").await;
    client.batch_execute("INSERT INTO t VALUES (1)").await.expect("the primary goes on");
    // The best prepared of the others is one that answers.
    let next = client.query_one("SELECT lockstep_switchover()", &[]).await.expect("switchover");
    assert_eq!(next.get::<_, String>(0), cluster.door(other).name);
    cluster.resume(stopped);
    let mut config = cluster.config(other);
    let guest = crate::server::connect(config.user("guest")).await.expect("guest");
    let error = guest.query("SELECT lockstep_switchover()", &[]).await.expect_err("not a superuser");
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));

    let launch = Launch::new(env!("CARGO_BIN_EXE_lockstep"), "alone", dir.path().join("alone"));
    let alone = launch.spawn().ready().await;
    let error = alone.connect().await.query("SELECT lockstep_switchover()", &[]).await.expect_err("nobody else");
    assert_eq!(error.code().map(|code| code.code()), Some("55000"));
}
