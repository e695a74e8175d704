//! Lock modes, queues, deadlocks, and what ends a wait.

use std::time::Duration;

use super::locks::{Asker, LockKey, Locks, TxnId};
use super::*;
use crate::error::SqlState;

fn asker(n: u64) -> Asker {
    Asker { txn: TxnId(n), process: n as i32 }
}

/// PostgreSQL manual, tables 13.2 and 13.3: `x` where the requested mode (row) conflicts with the held one (column).
const TABLE_MATRIX: [&str; 8] =
    [".......x", "......xx", "....xxxx", "...xxxxx", "..xx.xxx", "..xxxxxx", ".xxxxxxx", "xxxxxxxx"];
const ROW_MATRIX: [&str; 4] = ["...x", "..xx", ".xxx", "xxxx"];

#[test]
fn modes_conflict_as_in_postgresql() {
    let check = |key: LockKey, matrix: &[&str]| {
        for (asked, line) in matrix.iter().enumerate() {
            for (held, conflict) in line.chars().enumerate() {
                let locks = Locks::new();
                assert!(locks.try_lock(&key, held as u8, asker(1)));
                assert_eq!(locks.try_lock(&key, asked as u8, asker(2)), conflict == '.', "{asked} on {held}");
                locks.release(&key, TxnId(2));
                assert!(locks.try_lock(&key, asked as u8, asker(1)), "one's own locks never conflict");
            }
        }
    };
    check(LockKey::Table(Oid(1)), &TABLE_MATRIX);
    check(LockKey::Row(Oid(1), RowKey::default()), &ROW_MATRIX);
    check(LockKey::Advisory(1), &["...x"]);
}

#[tokio::test]
async fn locks_are_listed_as_pg_locks_shows_them() {
    let locks = Arc::new(Locks::new());
    let row = LockKey::Row(Oid(7), RowKey::default());
    assert!(locks.try_lock(&LockKey::Table(Oid(7)), TableLock::RowExclusive as u8, asker(1)));
    assert!(locks.try_lock(&row, RowLock::Update as u8, asker(1)));
    assert!(locks.try_lock(&LockKey::Advisory(1 << 32 | 2), RowLock::Share as u8, asker(2)));
    let waiting = {
        let (locks, row) = (locks.clone(), row.clone());
        tokio::spawn(async move { locks.lock(&row, RowLock::Share as u8, asker(2), Wait::Block, None, "t").await })
    };
    settle().await;
    let shown = || {
        let line = |l: crate::system::LockRow| {
            let what = (l.relation.map(|r| r.0), l.transaction, l.class, l.object);
            format!("{} {what:?} {} {} {}", l.kind, l.pid, l.mode, l.granted)
        };
        let mut lines: Vec<String> = locks.list().into_iter().map(line).collect();
        lines.sort();
        lines
    };
    let held = [
        "advisory (None, None, Some(1), Some(2)) 2 ShareLock true",
        "relation (Some(7), None, None, None) 1 RowExclusiveLock true",
        "transactionid (None, Some(1), None, None) 1 ExclusiveLock true",
        "transactionid (None, Some(1), None, None) 2 ShareLock false",
    ];
    assert_eq!(shown(), held);
    assert_eq!((locks.blocking(2), locks.blocking(1)), (vec![1], vec![]));
    locks.release(&row, TxnId(1));
    waiting.await.unwrap().unwrap();
    assert_eq!(shown()[2], "transactionid (None, Some(2), None, None) 2 ExclusiveLock true");
    assert!(locks.blocking(2).is_empty());
}

async fn seeded(node: &Node) -> Arc<Table> {
    let table = node.create(keyed()).await;
    let mut t = node.open().await;
    for id in 1..=4 {
        t.insert(&table, row(id, 0, "")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    table
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nowait_skip_locked_and_timeout() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut first = node.open().await;
    let k = key(&table, 1);
    first.lock_row(&table, &k, RowLock::NoKeyUpdate, Wait::Block).await.unwrap();
    let mut second = node.open().await;
    second.lock_row(&table, &k, RowLock::KeyShare, Wait::NoWait).await.unwrap();
    let error = second.lock_row(&table, &k, RowLock::Share, Wait::NoWait).await.unwrap_err();
    assert_eq!(
        (error.state(), error.message()),
        (SqlState::LockNotAvailable, "could not obtain lock on row in relation \"t20000\"")
    );
    assert!(matches!(second.lock_row(&table, &k, RowLock::Update, Wait::SkipLocked).await.unwrap(), Locked::Skipped));
    second.options_mut().lock_timeout = Some(Duration::from_millis(20));
    let error = second.lock_row(&table, &k, RowLock::Update, Wait::Block).await.unwrap_err();
    assert_eq!(error.message(), "canceling statement due to lock timeout");
    first.rollback();
    second.lock_row(&table, &k, RowLock::Update, Wait::Block).await.unwrap();
}

#[tokio::test]
async fn waiters_are_served_in_order_and_see_the_latest_version() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut first = node.open().await;
    update_with(&mut first, &table, 1, |a| a + 1).await.unwrap();
    let mut waiting = Vec::new();
    for step in [10, 100, 1000] {
        let (mut t, table) = (node.open().await, table.clone());
        waiting.push(tokio::spawn(async move {
            update_with(&mut t, &table, 1, |a| a * 2 + step).await.unwrap();
            t.commit().await.unwrap();
        }));
        settle().await;
    }
    first.commit().await.unwrap();
    for task in waiting {
        task.await.unwrap();
    }
    let wanted = [10, 100, 1000].iter().fold(1, |a, step| a * 2 + step);
    assert_eq!(node.rows(20000).await[0], format!("1|{wanted}|"));
}

#[tokio::test]
async fn a_cycle_is_refused_when_it_would_close() {
    let node = Node::new();
    let table = seeded(&node).await;
    let (mut a, mut b) = (node.open().await, node.open().await);
    let processes = (a.options_mut().process, b.options_mut().process);
    update_with(&mut a, &table, 1, |v| v).await.unwrap();
    update_with(&mut b, &table, 2, |v| v).await.unwrap();
    let waiting = {
        let table = table.clone();
        tokio::spawn(async move {
            let done = update_with(&mut a, &table, 2, |v| v + 1).await;
            (a, done)
        })
    };
    settle().await;
    let error = update_with(&mut b, &table, 1, |v| v).await.unwrap_err();
    assert_eq!((error.state(), error.message()), (SqlState::DeadlockDetected, "deadlock detected"));
    let detail = error.report().detail.clone().unwrap();
    assert!(detail.contains(&format!("Process {} waits for ShareLock on transaction", processes.1)), "{detail}");
    assert!(detail.contains(&format!("blocked by process {}.", processes.0)), "{detail}");
    assert_eq!(detail.lines().count(), 2, "{detail}");
    b.rollback();
    let (a, done) = waiting.await.unwrap();
    assert!(done.unwrap());
    a.commit().await.unwrap();
}

#[tokio::test]
async fn a_cycle_of_three_over_tables_and_rows() {
    let node = Node::new();
    let table = seeded(&node).await;
    let (mut a, mut b, mut c) = (node.open().await, node.open().await, node.open().await);
    a.lock_table(Oid(7), TableLock::Exclusive, Wait::Block).await.unwrap();
    update_with(&mut b, &table, 1, |v| v).await.unwrap();
    c.lock_advisory(5, false, Wait::Block).await.unwrap();
    let wait_a = {
        let table = table.clone();
        tokio::spawn(async move { update_with(&mut a, &table, 1, |v| v).await.map(|_| a) })
    };
    settle().await;
    let wait_b = tokio::spawn(async move { b.lock_advisory(5, true, Wait::Block).await.map(|_| b) });
    settle().await;
    let error = c.lock_table(Oid(7), TableLock::RowShare, Wait::Block).await.unwrap_err();
    assert_eq!(error.state(), SqlState::DeadlockDetected);
    assert!(error.report().detail.clone().unwrap().contains("RowShareLock on relation 7"));
    drop(c);
    drop(wait_b.await.unwrap().unwrap());
    wait_a.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_granted_wait_that_is_not_yet_awake_closes_no_cycle() {
    let (locks, key) = (Locks::new(), LockKey::Row(Oid(1), RowKey::default()));
    let update = RowLock::Update as u8;
    let wait = |n| locks.lock(&key, update, asker(n), Wait::Block, None, "t");
    assert!(locks.try_lock(&key, update, asker(1)));
    let second = wait(2);
    tokio::pin!(second);
    assert!(futures::poll!(&mut second).is_pending());
    locks.release(&key, TxnId(1));
    // 2 holds the lock now, and its task has not run.
    let third = wait(3);
    tokio::pin!(third);
    assert!(futures::poll!(&mut third).is_pending());
    assert!(second.await.is_ok());
    locks.release(&key, TxnId(2));
    assert!(third.await.is_ok());
}

#[tokio::test]
async fn a_cancelled_wait_leaves_the_queue() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut first = node.open().await;
    update_with(&mut first, &table, 1, |v| v).await.unwrap();
    let mut second = node.open().await;
    let k = key(&table, 1);
    {
        let wait = second.lock_row(&table, &k, RowLock::Update, Wait::Block);
        assert!(tokio::time::timeout(Duration::from_millis(10), wait).await.is_err());
    }
    let mut third = node.open().await;
    third.lock_row(&table, &k, RowLock::KeyShare, Wait::NoWait).await.unwrap();
    drop(third);
    first.rollback();
    let mut fourth = node.open().await;
    fourth.lock_row(&table, &k, RowLock::Update, Wait::NoWait).await.unwrap();
}

#[tokio::test]
async fn a_lost_reign_wakes_waiters_and_dooms_writers() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut first = node.open().await;
    update_with(&mut first, &table, 1, |v| v + 5).await.unwrap();
    let (mut second, other) = (node.open().await, table.clone());
    let waiting = tokio::spawn(async move { update_with(&mut second, &other, 1, |v| v).await });
    settle().await;
    node.log.lose_leadership(false);
    assert_eq!(waiting.await.unwrap().unwrap_err().state(), SqlState::SerializationFailure);
    let mut on_standby = node.open().await;
    assert_eq!(on_standby.get(&table, &key(&table, 1), Some(&[2])).unwrap()[0], Datum::Int4(0));
    let error = update_with(&mut on_standby, &table, 1, |v| v).await.unwrap_err();
    assert_eq!(error.state(), SqlState::ReadOnlySqlTransaction);
    node.log.regain_leadership();
    assert_eq!(first.commit().await.unwrap_err().state(), SqlState::SerializationFailure);
    let mut t = node.open().await;
    update_with(&mut t, &table, 1, |v| v + 1).await.unwrap();
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await[0], "1|1|");
    assert!(node.shared.locks.is_empty(), "nothing is left in the lock table");
}
