//! Sessions that meet: what each isolation level lets them see, who waits, who is ended.

use std::time::Duration;

use crate::client::{Client, Database};

async fn two() -> (Database, Client, Client) {
    let database = Database::new();
    let mut a = database.client().await;
    let b = database.client().await;
    a.rows("CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    a.rows("INSERT INTO t VALUES (1, 10), (2, 20)").await;
    (database, a, b)
}

/// Starts a statement in the background; it must not be done at once.
async fn blocked(mut client: Client, sql: &'static str) -> tokio::task::JoinHandle<(Client, Result<u64, String>)> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let handle = tokio::spawn(async move {
        let _ = sender.send(());
        let answers = client.simple(sql, "").await;
        let rows = answers.map(|a| a.last().map_or(0, |a| a.rows.len() as u64));
        (client, rows.map_err(|e| e.state().code().to_string()))
    });
    receiver.await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!handle.is_finished(), "{sql} did not wait");
    handle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_committed_updates_wait_and_see_the_newest() {
    let (_database, mut a, b) = two().await;
    a.rows("BEGIN").await;
    a.rows("UPDATE t SET n = n + 1 WHERE id = 1").await;
    let waiting = blocked(b, "UPDATE t SET n = n * 2 WHERE id = 1").await;
    a.rows("COMMIT").await;
    let (mut b, done) = waiting.await.unwrap();
    done.unwrap();
    assert_eq!(b.value("SELECT n FROM t WHERE id = 1").await, "22");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_committed_checks_the_condition_again() {
    let (_database, mut a, b) = two().await;
    a.rows("BEGIN").await;
    a.rows("UPDATE t SET n = 99 WHERE id = 1").await;
    let waiting = blocked(b, "UPDATE t SET n = 0 WHERE n = 10").await;
    a.rows("COMMIT").await;
    let (mut b, done) = waiting.await.unwrap();
    done.unwrap();
    assert_eq!(b.value("SELECT n FROM t WHERE id = 1").await, "99");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_starts_over_when_a_row_changed() {
    let (_database, mut a, mut b) = two().await;
    b.rows("CREATE TABLE u (id int, m int)").await;
    b.rows("INSERT INTO u VALUES (1, 5), (2, 6)").await;
    a.rows("BEGIN").await;
    a.rows("UPDATE t SET n = n + 1 WHERE id = 1").await;
    let waiting = blocked(b, "UPDATE t SET n = t.n + u.m FROM u WHERE u.id = t.id").await;
    a.rows("COMMIT").await;
    let (mut b, done) = waiting.await.unwrap();
    done.unwrap();
    assert_eq!(b.rows("SELECT n FROM t ORDER BY id").await, [["16"], ["26"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatable_read_keeps_its_snapshot_and_aborts_on_conflict() {
    let (_database, mut a, mut b) = two().await;
    a.rows("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(a.value("SELECT n FROM t WHERE id = 1").await, "10");
    b.rows("UPDATE t SET n = 11 WHERE id = 1").await;
    assert_eq!(a.value("SELECT n FROM t WHERE id = 1").await, "10");
    assert_eq!(a.value("SELECT sum(n) FROM t").await, "30");
    assert_eq!(a.fails("UPDATE t SET n = n + 1 WHERE id = 1").await, "40001");
    assert_eq!(a.fails("SELECT 1").await, "25P02");
    a.rows("ROLLBACK").await;
    assert_eq!(a.value("SELECT n FROM t WHERE id = 1").await, "11");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlocks_end_with_40p01() {
    let (_database, mut a, mut b) = two().await;
    a.rows("BEGIN").await;
    b.rows("BEGIN").await;
    a.rows("UPDATE t SET n = 0 WHERE id = 1").await;
    b.rows("UPDATE t SET n = 0 WHERE id = 2").await;
    let waiting = blocked(a, "UPDATE t SET n = 0 WHERE id = 2").await;
    let second = b.simple("UPDATE t SET n = 0 WHERE id = 1", "").await.map_err(|e| e.state().code());
    if second.is_err() {
        b.rows("ROLLBACK").await;
    }
    let (_, first) = waiting.await.unwrap();
    let failed = [first.err(), second.err().map(String::from)];
    assert_eq!(failed.iter().flatten().collect::<Vec<_>>(), ["40P01"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_timeout_nowait_and_skip_locked() {
    let (_database, mut a, mut b) = two().await;
    a.rows("BEGIN").await;
    a.rows("SELECT * FROM t WHERE id = 1 FOR UPDATE").await;
    assert_eq!(b.fails("SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT").await, "55P03");
    assert_eq!(b.rows("SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED").await, [["2"]]);
    assert_eq!(b.rows("SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED").await, [["2"]]);
    b.rows("SET lock_timeout = '20ms'").await;
    assert_eq!(b.fails("UPDATE t SET n = 0 WHERE id = 1").await, "55P03");
    b.rows("SET statement_timeout = '20ms'").await;
    b.rows("SET lock_timeout = 0").await;
    assert_eq!(b.fails("UPDATE t SET n = 0 WHERE id = 1").await, "57014");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_ends_the_statement_and_not_the_session() {
    let (database, mut a, b) = two().await;
    a.rows("BEGIN").await;
    a.rows("UPDATE t SET n = 0 WHERE id = 1").await;
    let key = b.session.backend_key();
    let waiting = blocked(b, "UPDATE t SET n = 1 WHERE id = 1").await;
    database.engine.cancel(key);
    let (mut b, done) = waiting.await.unwrap();
    assert_eq!(done, Err("57014".into()));
    assert_eq!(b.value("SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_keeps_its_parent() {
    let (_database, mut a, mut b) = two().await;
    b.rows("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t)").await;
    a.rows("BEGIN").await;
    a.rows("INSERT INTO c VALUES (1, 1)").await;
    // Columns outside the key may change under the reference.
    b.rows("UPDATE t SET n = 5 WHERE id = 1").await;
    let waiting = blocked(b, "DELETE FROM t WHERE id = 1").await;
    a.rows("COMMIT").await;
    let (_, done) = waiting.await.unwrap();
    assert_eq!(done, Err("23503".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_conflict_waits_for_the_other_insert() {
    let (_database, mut a, b) = two().await;
    a.rows("BEGIN").await;
    a.rows("INSERT INTO t VALUES (3, 1)").await;
    let sql = "INSERT INTO t VALUES (3, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n";
    let waiting = blocked(b, sql).await;
    a.rows("COMMIT").await;
    let (mut b, done) = waiting.await.unwrap();
    done.unwrap();
    assert_eq!(b.value("SELECT n FROM t WHERE id = 3").await, "6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_waits_for_writers_and_rolls_back() {
    let (_database, mut a, b) = two().await;
    a.rows("BEGIN").await;
    a.rows("INSERT INTO t VALUES (3, 30)").await;
    let waiting = blocked(b, "ALTER TABLE t ADD COLUMN extra int").await;
    a.rows("COMMIT").await;
    let (mut b, done) = waiting.await.unwrap();
    done.unwrap();
    b.rows("INSERT INTO t VALUES (4, 40, 400)").await;
    assert_eq!(b.value("SELECT count(*) FROM t").await, "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_told_once_the_other_row_is_durable() {
    for lost in [false, true] {
        let (database, a, b) = two().await;
        database.log.hold();
        let first = blocked(a, "INSERT INTO t VALUES (3, 30)").await;
        // The row is sequenced and not durable: an error would tell of what may never be.
        let second = blocked(b, "INSERT INTO t VALUES (3, 31)").await;
        if lost {
            database.log.lose_leadership(false);
        }
        database.log.release();
        let (mut a, inserted) = first.await.unwrap();
        let (_b, refused) = second.await.unwrap();
        let answers = (inserted.map_err(|e| e.to_string()), refused.unwrap_err());
        let wanted = match lost {
            false => (Ok(0), "23505"),
            true => (Err("08007".to_owned()), "40001"),
        };
        assert_eq!((answers.0, answers.1.as_str()), wanted);
        if lost {
            database.log.regain_leadership();
        }
        assert_eq!(a.value("SELECT count(*) FROM t").await, if lost { "2" } else { "3" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_a_sequence_are_durable_before_a_query_is_done() {
    let (database, mut a, b) = two().await;
    a.rows("CREATE SEQUENCE s").await;
    a.rows("CREATE SEQUENCE u").await;
    database.log.hold();
    let waiting = blocked(b, "SELECT nextval('s') FROM t").await;
    database.log.lose_leadership(false);
    database.log.release();
    let (mut b, done) = waiting.await.unwrap();
    assert_eq!(done.unwrap_err(), "40001", "another primary may give the same values");
    database.log.regain_leadership();
    assert_eq!(b.rows("SELECT nextval('s') FROM t").await, [["1"], ["2"]]);
    // What one transaction waited for in vain is none of the next one's business.
    b.rows("BEGIN").await;
    b.rows("SELECT nextval('u') FROM t").await;
    database.log.lose_leadership(false);
    database.log.regain_leadership();
    assert_eq!(b.value("SELECT 1").await, "1");
    b.rows("ROLLBACK").await;
    assert_eq!(b.value("SELECT n FROM t WHERE id = 1").await, "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let (database, mut a, mut b) = two().await;
    database.log.set_full(true);
    for sql in ["INSERT INTO t VALUES (3, 30)", "UPDATE t SET n = 0", "CREATE TABLE u (id int)"] {
        let error = a.simple(sql, "").await.unwrap_err();
        assert_eq!(error.state().code(), "53100", "{sql}");
        assert_eq!(error.message(), "could not extend the log: No space left on device");
    }
    a.rows("BEGIN").await;
    a.rows("UPDATE t SET n = n + 1 WHERE id = 1").await;
    assert_eq!(a.fails("COMMIT").await, "53100");
    // Its locks are gone, and reads go on.
    assert_eq!(b.value("SELECT n FROM t WHERE id = 1 FOR UPDATE NOWAIT").await, "10");
    assert_eq!(b.value("SELECT count(*) FROM t").await, "2");
    database.log.set_full(false);
    b.rows("UPDATE t SET n = n + 1 WHERE id = 1").await;
    assert_eq!(a.value("SELECT n FROM t WHERE id = 1").await, "11");
}
