//! Loss of the quorum: what clients are told, and how an operator lets one node go on without the others.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::cluster::until;
use crate::membership::{answers, node};
use crate::server::{Launch, READY_WITHIN};

fn force(launch: &Launch) -> (bool, String) {
    let mut command = Command::new(&launch.binary);
    let output = command.arg("force-primary").arg("--data-dir").arg(&launch.data_dir).output().expect("command");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Waits until a write is refused because nobody can decide; each answer on the way there is one that tells the truth.
async fn no_primary(client: &Client, sql: &str) {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let error = client.batch_execute(sql).await.expect_err("a write without a quorum");
        let report = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        match report.code().code() {
            "57P03" => return assert!(report.message().contains("no primary"), "{error:?}"),
            "08007" | "25006" | "40001" => {}
            _ => panic!("{error:?}"),
        }
        assert!(Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_a_quorum_writes_are_told_so_and_an_operator_can_force_a_primary() {
    let dir = TempDir::new().expect("directory");
    let mut one = node(&dir, "n1").spawn().ready().await;
    let mut two = answers(node(&dir, "n2").joining(&one.launch).spawn()).await;
    let client = one.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "2").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
        .await
        .expect("rows");
    let (forced, said) = force(&one.launch);
    assert!(!forced && said.contains("in use"), "{said}");
    two.kill();
    // Not acknowledged by anybody: of unknown outcome, or refused.
    no_primary(&client, "INSERT INTO t VALUES (1000) ON CONFLICT DO NOTHING").await;
    let error = client.batch_execute("ALTER SYSTEM REMOVE NODE n2").await.expect_err("nobody can decide");
    assert_eq!(error.code().map(|code| code.code()), Some("57P03"), "{error:?}");
    let error = client.batch_execute("ALTER SYSTEM FORCE PRIMARY").await.expect_err("on a node that runs");
    assert_eq!(error.code().map(|code| code.code()), Some("0A000"), "{error:?}");
    one.kill();
    let (forced, said) = force(&one.launch);
    assert!(forced && said.contains("given up: n2"), "{said}");
    let (again, said) = force(&one.launch);
    assert!(!again && said.contains("only voter already"), "{said}");
    let one = one.launch.spawn().ready().await;
    assert!(one.log.text().contains("DATA LOSS POSSIBLE"), "{}", one.log.text());
    let client = one.connect().await;
    let count: i64 = client.query_one("SELECT count(*) FROM t WHERE id <= 100", &[]).await.expect("read").get(0);
    assert_eq!(count, 100);
    client.batch_execute("INSERT INTO t VALUES (2000)").await.expect("it goes on alone");
    let epochs = "SELECT forced_node || ' without ' || given_up FROM lockstep_data_loss_epochs WHERE forced_at > now() - interval '1 h'";
    until(&client, epochs, "n1 without n2").await;
    // The one that was given up is refused, and is welcome as a new node.
    let mut late = two.launch.spawn();
    assert!(!late.wait(READY_WITHIN).success());
    assert!(late.log.text().contains("node 2 was removed from cluster"), "{}", late.log.text());
    std::fs::remove_dir_all(&two.launch.data_dir).expect("wiped");
    let two = answers(two.launch.spawn()).await;
    until(&client, "SELECT id::text FROM lockstep_nodes WHERE name = 'n2' AND membership = 'voter'", "3").await;
    until(&two.connect().await, "SELECT count(*)::text FROM t WHERE id = 2000", "1").await;
    until(&two.connect().await, epochs, "n1 without n2").await;
}

#[tokio::test]
async fn those_who_were_given_up_do_not_come_back_together_as_a_second_cluster() {
    let dir = TempDir::new().expect("directory");
    let mut one = node(&dir, "n1").spawn().ready().await;
    let mut others = Vec::new();
    for name in ["n2", "n3"] {
        others.push(answers(node(&dir, name).joining(&one.launch).spawn()).await);
    }
    let client = one.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    one.kill();
    others.iter_mut().for_each(|other| other.kill());
    let (forced, said) = force(&one.launch);
    assert!(forced, "{said}");
    let one = one.launch.spawn().ready().await;
    let client = one.connect().await;
    client.batch_execute("CREATE TABLE t (id int)").await.expect("it goes on alone");
    let mut back: Vec<_> = others.iter().map(|other| other.launch.spawn()).collect();
    for other in &mut back {
        assert!(!other.wait(READY_WITHIN).success());
        assert!(other.log.text().contains("was removed from cluster"), "{}", other.log.text());
    }
    assert!(one.log.text().contains("was given up and spoke to this node"), "{}", one.log.text());
    let told = "SELECT DISTINCT severity FROM lockstep_health WHERE problem = 'split_membership'";
    until(&client, told, "critical").await;
}

#[tokio::test]
async fn a_node_is_not_forced_while_others_decide_or_know_more() {
    let dir = TempDir::new().expect("directory");
    let mut one = node(&dir, "n1").spawn().ready().await;
    let mut two = answers(node(&dir, "n2").joining(&one.launch).spawn()).await;
    let mut three = answers(node(&dir, "n3").joining(&one.launch).spawn()).await;
    let client = one.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    three.kill();
    client.batch_execute("INSERT INTO t VALUES (1)").await.expect("row");
    let (forced, said) = force(&three.launch);
    assert!(!forced && said.contains("is the primary of the cluster"), "{said}");
    one.kill();
    // The second node has what the third one lacks.
    let (forced, said) = force(&three.launch);
    assert!(!forced && said.contains("longer log"), "{said}");
    two.kill();
    let (forced, said) = force(&two.launch);
    assert!(forced && said.contains("n1") && said.contains("n3"), "{said}");
    let two = two.launch.spawn().ready().await;
    let count: i64 = two.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
    assert_eq!(count, 1);
}
