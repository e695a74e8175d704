//! Lock modes, queues, deadlocks, and what ends a wait.

use std::time::Duration;

use super::locks::{Asker, Granted, LockKey, Locks, TxnId};
use super::*;
use crate::error::SqlState;
use crate::storage::CommitTs;

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
                assert!(locks.try_lock(&key, held as u8, asker(1)).is_some());
                assert_eq!(locks.try_lock(&key, asked as u8, asker(2)).is_some(), conflict == '.', "{asked} on {held}");
                locks.release(&key, TxnId(2));
                assert!(locks.try_lock(&key, asked as u8, asker(1)).is_some(), "one's own locks never conflict");
            }
        }
    };
    check(LockKey::Table(Oid(1)), &TABLE_MATRIX);
    check(LockKey::Row(Oid(1), RowKey::default()), &ROW_MATRIX);
    check(LockKey::Advisory(Advisory::Single(1)), &["...x"]);
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
    c.lock_advisory(Advisory::Single(5), false, Wait::Block).await.unwrap();
    let wait_a = {
        let table = table.clone();
        tokio::spawn(async move { update_with(&mut a, &table, 1, |v| v).await.map(|_| a) })
    };
    settle().await;
    let wait_b = tokio::spawn(async move { b.lock_advisory(Advisory::Single(5), true, Wait::Block).await.map(|_| b) });
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
    assert!(locks.try_lock(&key, update, asker(1)).is_some());
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

/// Which rows an earlier reign changed is not known in the next one.
#[tokio::test]
async fn what_was_read_before_a_reign_is_not_current_in_it() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut reader = node.open_at(Isolation::Serializable).await;
    assert_eq!(reader.get(&table, &key(&table, 1), Some(&[2])).unwrap()[0], Datum::Int4(0));
    let mut writer = node.open().await;
    update_with(&mut writer, &table, 1, |v| v + 5).await.unwrap();
    writer.commit().await.unwrap();
    node.log.lose_leadership(false);
    node.log.regain_leadership();
    update_with(&mut reader, &table, 2, |v| v + 1).await.unwrap();
    assert_eq!(reader.commit().await.unwrap_err().state(), SqlState::SerializationFailure);
    assert_eq!(node.rows(20000).await[..2], ["1|5|", "2|0|"]);
}

fn table_key(oid: u32) -> LockKey {
    LockKey::Table(Oid(oid))
}

const ALONE: u8 = TableLock::AccessExclusive as u8;

#[tokio::test]
async fn whoever_wants_a_table_for_itself_waits_for_its_readers() {
    let (locks, key) = (Locks::new(), table_key(1));
    assert!(locks.try_read(Oid(1), asker(1)));
    assert!(locks.try_read(Oid(1), asker(2)));
    assert!(
        locks.try_lock(&key, TableLock::Exclusive as u8, asker(3)).is_some(),
        "readers stand in the way of nobody else"
    );
    locks.release(&key, TxnId(3));
    let alone = locks.lock(&key, ALONE, asker(4), Wait::Block, None, "t");
    tokio::pin!(alone);
    assert!(futures::poll!(&mut alone).is_pending());
    assert_eq!(locks.blocking(4), [1, 2]);
    assert!(!locks.try_read(Oid(1), asker(5)), "later readers queue up");
    assert!(locks.try_read(Oid(2), asker(5)), "readers of other tables do not");
    locks.end_reads(TxnId(1), &[Oid(1)]);
    assert!(futures::poll!(&mut alone).is_pending());
    locks.end_reads(TxnId(2), &[Oid(1)]);
    assert_eq!(alone.await.unwrap(), Granted::After(CommitTs(0)));
    assert!(locks.is_wanted_alone(Oid(1)));
    let read = locks.lock(&key, TableLock::AccessShare as u8, asker(6), Wait::Block, None, "t");
    tokio::pin!(read);
    assert!(futures::poll!(&mut read).is_pending());
    locks.release(&key, TxnId(4));
    assert_eq!(read.await.unwrap(), Granted::After(CommitTs(0)));
    assert!(!locks.is_wanted_alone(Oid(1)));
    locks.end_reads(TxnId(6), &[Oid(1)]);
    locks.end_reads(TxnId(5), &[Oid(2)]);
    assert!(locks.is_empty());
}

#[tokio::test]
async fn a_table_is_free_for_readers_after_a_refusal_a_cancelled_wait_and_the_end_of_a_reign() {
    let (locks, key) = (Locks::new(), table_key(1));
    assert!(locks.try_read(Oid(1), asker(1)));
    assert!(locks.try_lock(&key, ALONE, asker(2)).is_none());
    assert!(locks.lock(&key, ALONE, asker(2), Wait::NoWait, None, "t").await.is_err());
    {
        let alone = locks.lock(&key, ALONE, asker(2), Wait::Block, None, "t");
        tokio::pin!(alone);
        assert!(futures::poll!(&mut alone).is_pending());
    }
    assert!(locks.try_read(Oid(1), asker(3)), "the wait was given up");
    locks.end_reads(TxnId(1), &[Oid(1)]);
    locks.end_reads(TxnId(3), &[Oid(1)]);
    assert!(locks.try_lock(&key, ALONE, asker(4)).is_some());
    locks.clear();
    assert!(locks.try_read(Oid(1), asker(5)));
    locks.end_reads(TxnId(5), &[Oid(1)]);
    assert!(locks.is_empty());
}

/// Readers and strong lockers on threads of their own: a reader never reads while the table is somebody's alone.
#[test]
fn readers_and_strong_lockers_exclude_each_other() {
    use std::sync::atomic::{AtomicI64, Ordering};
    const ROUNDS: u64 = 20_000;
    let (locks, readers, owners) = (Locks::new(), AtomicI64::new(0), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (locks, readers, owners) = (&locks, &readers, &owners);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let asker = asker(1 + thread * ROUNDS + round);
                    if !locks.try_read(Oid(1), asker)
                        && locks.try_lock(&table_key(1), TableLock::AccessShare as u8, asker).is_none()
                    {
                        continue;
                    }
                    readers.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(owners.load(Ordering::SeqCst), 0);
                    readers.fetch_sub(1, Ordering::SeqCst);
                    locks.end_reads(asker.txn, &[Oid(1)]);
                }
            });
        }
        let (locks, readers, owners) = (&locks, &readers, &owners);
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let asker = asker(1_000_000 + round);
                if locks.try_lock(&table_key(1), ALONE, asker).is_none() {
                    continue;
                }
                owners.store(1, Ordering::SeqCst);
                assert_eq!(readers.load(Ordering::SeqCst), 0);
                owners.store(0, Ordering::SeqCst);
                locks.release(&table_key(1), asker.txn);
            }
        });
    });
    // Whatever was announced and refused is withdrawn with the last holder.
    assert!(locks.try_lock(&table_key(1), ALONE, asker(9)).is_some());
    locks.release(&table_key(1), TxnId(9));
    assert!(locks.is_empty() && !locks.is_wanted_alone(Oid(1)));
}

#[tokio::test]
async fn rollback_to_a_savepoint_gives_its_row_locks_back() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut a = node.open().await;
    update_with(&mut a, &table, 1, |v| v).await.unwrap();
    let savepoint = a.savepoint();
    update_with(&mut a, &table, 1, |v| v).await.unwrap();
    update_with(&mut a, &table, 2, |v| v).await.unwrap();
    a.rollback_to(savepoint);
    let mut b = node.open().await;
    assert!(update_with(&mut b, &table, 2, |v| v).await.unwrap(), "locked since the savepoint");
    let kept = b.lock_row(&table, &key(&table, 1), RowLock::Update, Wait::SkipLocked).await.unwrap();
    assert!(matches!(kept, Locked::Skipped), "locked before it");
    b.commit().await.unwrap();
    a.commit().await.unwrap();
}
