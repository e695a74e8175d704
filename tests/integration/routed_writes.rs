//! `lockstep.route_writes`: a session on a standby that writes, as if it were on the primary.

use std::time::Duration;

use futures::{SinkExt, pin_mut};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cluster::{open, three};
use crate::faults::cluster::NODES;
use crate::faults::run::find_primary;

const SOON: Duration = Duration::from_secs(60);

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[tokio::test]
async fn a_session_on_a_standby_writes_and_reads_what_it_wrote() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let standby = (primary + 1) % NODES;
    let mut client = open(&cluster, standby).await;
    let refused =
        client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.expect_err("off by default");
    assert_eq!(code(&refused), "25006");
    // Nothing but the position of what was carried makes reads here wait.
    client
        .batch_execute(
            "SET lockstep.route_writes = on; SET lockstep.max_staleness = '1h'; SET application_name = 'carried'",
        )
        .await
        .expect("settings");
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.expect("DDL");
    assert!(client.query_one("SELECT pg_is_in_recovery()", &[]).await.expect("role").get::<_, bool>(0));

    // The extended protocol: parameters, RETURNING, tags, and a statement that is used again.
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2) RETURNING id + 1, v").await.expect("prepare");
    for id in 0..20_i32 {
        let row = client.query_one(&insert, &[&id, &format!("v{id}")]).await.expect("insert");
        assert_eq!((row.get::<_, i32>(0), row.get::<_, String>(1)), (id + 1, format!("v{id}")));
        assert_eq!(count(&client, "SELECT count(*) FROM t").await, i64::from(id) + 1, "a session sees what it wrote");
    }
    assert_eq!(client.execute("UPDATE t SET v = 'w' WHERE id < $1", &[&5_i32]).await.expect("update"), 5);

    // An error with all its fields, after which the session goes on.
    let error = client.execute(&insert, &[&3_i32, &"again"]).await.expect_err("a duplicate");
    let fields = error.as_db_error().expect("a report");
    assert_eq!((fields.code().code(), fields.constraint(), fields.table()), ("23505", Some("t_pkey"), Some("t")));
    assert_eq!(fields.detail(), Some("Key (id)=(3) already exists."));

    // A transaction runs on the primary as a whole, its reads included.
    let transaction = client.transaction().await.expect("begin");
    transaction.execute("DELETE FROM t WHERE id >= $1", &[&10_i32]).await.expect("delete");
    let inside: i64 = transaction.query_one("SELECT count(*) FROM t", &[]).await.expect("own changes").get(0);
    assert_eq!(inside, 10);
    assert!(!transaction.query_one("SELECT pg_is_in_recovery()", &[]).await.expect("role").get::<_, bool>(0));
    let name: String = transaction.query_one("SHOW application_name", &[]).await.expect("setting").get(0);
    assert_eq!(name, "carried", "settings go along");
    // Prepared there, to be used here afterwards.
    let later = transaction.prepare("SELECT count(*) FROM t WHERE id < $1").await.expect("prepare");
    transaction.rollback().await.expect("rollback");
    assert_eq!(count(&client, "SELECT count(*) FROM t").await, 20);
    assert_eq!(client.query_one(&later, &[&7_i32]).await.expect("prepared there").get::<_, i64>(0), 7);

    let transaction = client.transaction().await.expect("begin");
    transaction.execute(&insert, &[&100_i32, &"x"]).await.expect("prepared here");
    let failed = transaction.execute("SELECT 1 / 0", &[]).await.expect_err("division");
    assert_eq!(code(&failed), "22012");
    let aborted = transaction.execute("SELECT 1", &[]).await.expect_err("a failed block");
    assert_eq!(code(&aborted), "25P02");
    transaction.commit().await.expect("ROLLBACK in the end");
    assert_eq!(count(&client, "SELECT count(*) FROM t WHERE id = 100").await, 0);

    // READ ONLY stays here, and writes nothing.
    client.batch_execute("BEGIN READ ONLY").await.expect("begin");
    assert!(client.query_one("SELECT pg_is_in_recovery()", &[]).await.expect("role").get::<_, bool>(0));
    assert_eq!(code(&client.execute(&insert, &[&101_i32, &"x"]).await.expect_err("read only")), "25006");
    client.batch_execute("ROLLBACK").await.expect("rollback");

    // SET inside what was carried holds here too.
    client
        .batch_execute("BEGIN; SET search_path = pg_catalog, public; SET my.own = 'mine'; COMMIT")
        .await
        .expect("set");
    assert_eq!(text(&client, "SHOW search_path").await, "pg_catalog, public");
    assert_eq!(text(&client, "SHOW my.own").await, "mine");
    client.batch_execute("BEGIN; SET LOCAL search_path = nowhere; ROLLBACK").await.expect("set local");
    assert_eq!(text(&client, "SHOW search_path").await, "pg_catalog, public");
    client.batch_execute("SET search_path = public").await.expect("set");

    // A string of several statements, one of which writes, with the tag of each.
    let answers = client.simple_query("SELECT 1; INSERT INTO t VALUES (200, 'a'), (201, 'b'); SELECT 2").await;
    let tags: Vec<u64> = answers
        .expect("several statements")
        .iter()
        .filter_map(|m| match m {
            SimpleQueryMessage::CommandComplete(n) => Some(*n),
            _ => None,
        })
        .collect();
    assert_eq!(tags, [1, 2, 1]);

    // COPY, one that works and one that does not.
    let sink = client.copy_in("COPY t FROM STDIN").await.expect("copy");
    pin_mut!(sink);
    for id in 1000..3000 {
        sink.send(bytes::Bytes::from(format!("{id}\t{}\n", "x".repeat(50)))).await.expect("row");
    }
    assert_eq!(sink.finish().await.expect("the end"), 2000);
    assert_eq!(count(&client, "SELECT count(*) FROM t WHERE id >= 1000").await, 2000);
    let sink = client.copy_in("COPY t FROM STDIN").await.expect("copy");
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"not a number\tx\n")).await.expect("row");
    assert_eq!(code(&sink.finish().await.expect_err("a bad row")), "22P02");

    // Locks and sequences write as well.
    client.batch_execute("CREATE SEQUENCE s").await.expect("sequence");
    assert_eq!(count(&client, "SELECT nextval('s')").await, 1);
    assert_eq!(client.query("SELECT id FROM t WHERE id = 1 FOR UPDATE", &[]).await.expect("lock").len(), 1);
    client.batch_execute("PREPARE p AS DELETE FROM t WHERE id = $1").await.expect("SQL PREPARE");
    client.batch_execute("EXECUTE p(200)").await.expect("SQL EXECUTE");
    assert_eq!(count(&client, "SELECT count(*) FROM t WHERE id = 200").await, 0);
    assert_eq!(text(&client, "SELECT lockstep_commit_level()").await, "on");
}

#[tokio::test]
async fn a_carried_statement_is_cancelled_and_a_lost_primary_leaves_no_doubt_unsaid() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let standby = (primary + 1) % NODES;
    let client = open(&cluster, standby).await;
    client.batch_execute("SET lockstep.route_writes = on").await.expect("setting");
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    client.batch_execute("INSERT INTO t VALUES (1)").await.expect("row");
    // It waits for a lock that a session on the primary holds.
    let holder = open(&cluster, primary).await;
    holder.batch_execute("BEGIN; DELETE FROM t WHERE id = 1").await.expect("lock");
    let cancel = client.cancel_token();
    let watcher = open(&cluster, primary).await;
    let waiting = tokio::spawn(async move {
        let answer = client.batch_execute("DELETE FROM t WHERE id = 1").await;
        (client, answer)
    });
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while count(&watcher, blocked).await == 0 {
        assert!(!waiting.is_finished());
    }
    cancel.cancel_query(NoTls).await.expect("the request is delivered");
    let (client, answer) = tokio::time::timeout(SOON, waiting).await.expect("cancelled").expect("task");
    assert_eq!(code(&answer.expect_err("cancelled")), "57014");
    holder.batch_execute("ROLLBACK").await.expect("rollback");
    client.batch_execute("DELETE FROM t WHERE id = 1").await.expect("the session lives on");

    // The primary dies under a block: it stays failed until its end, and then the session writes to the next primary.
    let insert = client.prepare("INSERT INTO t VALUES ($1)").await.expect("prepare");
    let copier = open(&cluster, standby).await;
    copier.batch_execute("SET lockstep.route_writes = on").await.expect("setting");
    let sink = copier.copy_in("COPY t FROM STDIN").await.expect("copy");
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"5\n")).await.expect("row");
    client.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.expect("begin");
    client.execute(&insert, &[&6_i32]).await.expect("with a parameter");
    cluster.kill(primary);
    // Nobody can have committed rows whose end was not sent, or what a block has not committed.
    let lost = sink.finish().await.expect_err("the primary is dead");
    assert_eq!(code(&lost), "40001", "{lost:?}");
    let lost = client.execute(&insert, &[&3_i32]).await.expect_err("the primary is dead");
    assert_eq!(code(&lost), "40001", "{lost:?}");
    assert_eq!(code(&client.batch_execute("SELECT 1").await.expect_err("a failed block")), "25P02");
    client.batch_execute("ROLLBACK").await.expect("rollback");
    let next = find_primary(&cluster, SOON).await.expect("another primary");
    client.batch_execute("INSERT INTO t VALUES (4)").await.expect("written to the next primary, wherever it is");
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.expect("read");
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [4], "primary {next}");
}
