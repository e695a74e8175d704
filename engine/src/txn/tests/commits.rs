//! Commits: order, dependencies, isolation levels, and what is left of one that is cut at any point.

use super::*;
use crate::commit_log::{LogPosition, StateMachine};
use crate::error::SqlState;
use crate::record;

async fn seeded(node: &Node) -> Arc<Table> {
    let table = node.create(keyed()).await;
    let mut t = node.open().await;
    for id in 1..=4 {
        t.insert(&table, row(id, 0, "")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    table
}

async fn queued(node: &Node, count: usize) {
    while node.log.queued() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hot_row_takes_many_commits_before_one_is_durable() {
    let node = Node::new();
    let table = seeded(&node).await;
    node.log.hold();
    let mut commits = Vec::new();
    for _ in 0..20 {
        let mut t = node.begin(Isolation::ReadCommitted);
        t.begin_statement(Reads::LockedRows).await.unwrap();
        update_with(&mut t, &table, 1, |a| a + 1).await.unwrap();
        commits.push(tokio::spawn(t.commit()));
        queued(&node, commits.len()).await;
    }
    // Readers see nothing of it yet; who locked the row cannot answer before it is applied.
    assert_eq!(node.rows(20000).await[0], "1|0|");
    let mut t = node.open().await;
    let locked = t.lock_row(&table, &key(&table, 1), RowLock::Share, Wait::NoWait).await.unwrap();
    let Locked::Held { latest: Some(latest), changed: true } = locked else { panic!("{locked:?}") };
    assert_eq!(latest[1], Datum::Int4(20));
    let wait = t.wait_for_dependencies();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(10), wait).await.is_err());
    node.log.release();
    t.wait_for_dependencies().await.unwrap();
    t.begin_statement(Reads::Snapshot).await.unwrap();
    assert_eq!(t.get(&table, &key(&table, 1), Some(&[2])).unwrap()[0], Datum::Int4(20));
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    t.rollback();
    assert!(node.shared.locks.is_empty());
}

#[tokio::test]
async fn a_dropped_commit_happens_all_the_same() {
    let node = Node::new();
    let table = seeded(&node).await;
    node.log.hold();
    let mut t = node.open().await;
    update_with(&mut t, &table, 2, |_| 22).await.unwrap();
    let commit = t.commit();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(10), commit).await.is_err());
    node.log.release();
    let mut t = node.open().await;
    update_with(&mut t, &table, 2, |a| a + 1).await.unwrap();
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await[1], "2|23|");
}

#[tokio::test]
async fn leadership_lost_on_the_way_is_unknown_and_leaves_all_or_nothing() {
    for survives in [false, true] {
        let node = Node::new();
        let table = seeded(&node).await;
        node.log.hold();
        let mut t = node.open().await;
        update_with(&mut t, &table, 1, |_| 7).await.unwrap();
        delete(&mut t, &table, 2).await.unwrap();
        t.insert(&table, row(9, 9, "")).await.unwrap().unwrap();
        let commit = tokio::spawn(t.commit());
        queued(&node, 1).await;
        // Another builds on it, and one reads it.
        let mut next = node.begin(Isolation::ReadCommitted);
        next.begin_statement(Reads::LockedRows).await.unwrap();
        update_with(&mut next, &table, 1, |a| a * 10).await.unwrap();
        let second = tokio::spawn(next.commit());
        queued(&node, 2).await;
        let mut reader = node.open().await;
        reader.lock_row(&table, &key(&table, 9), RowLock::KeyShare, Wait::NoWait).await.unwrap();
        node.log.lose_leadership(survives);
        for task in [commit, second] {
            let error = task.await.unwrap().unwrap_err();
            assert_eq!(error.state(), SqlState::TransactionResolutionUnknown);
        }
        if !survives {
            let error = reader.wait_for_dependencies().await.unwrap_err();
            assert_eq!(error.state(), SqlState::SerializationFailure, "what it saw never was");
        }
        node.log.release();
        node.log.regain_leadership();
        let wanted: &[&str] = match survives {
            true => &["1|70|", "3|0|", "4|0|", "9|9|"],
            false => &["1|0|", "2|0|", "3|0|", "4|0|"],
        };
        assert_eq!(node.rows(20000).await, wanted);
        let mut t = node.open().await;
        assert_eq!(t.insert(&table, row(9, 1, "")).await.unwrap().is_ok(), !survives);
        update_with(&mut t, &table, 1, |a| a + 1).await.unwrap();
        t.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_the_log_refuses_never_was() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut t = node.open().await;
    update_with(&mut t, &table, 1, |_| 7).await.unwrap();
    node.log.refuse();
    let error = t.commit().await.unwrap_err();
    assert_eq!(error.state(), SqlState::SerializationFailure);
    let mut t = node.open().await;
    let error = update_with(&mut t, &table, 1, |_| 8).await.unwrap_err();
    assert_eq!(error.state(), SqlState::ReadOnlySqlTransaction, "no more is tried in this reign");
    node.log.lose_leadership(false);
    node.log.regain_leadership();
    assert_eq!(node.rows(20000).await[0], "1|0|");
}

#[tokio::test]
async fn big_transactions_come_in_parts() {
    let node = Node::new();
    let table = seeded(&node).await;
    let long = "x".repeat(10_000);
    let mut t = node.open().await;
    for id in 100..1500 {
        t.insert(&table, row(id, 0, &long)).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    let kinds: Vec<_> = node.log.records().iter().map(|r| record::open(r).unwrap().0.kind).collect();
    let parts = kinds.iter().filter(|k| **k == record::Kind::Part).count();
    assert!(parts >= 2, "{parts}");
    assert_eq!(node.rows(20000).await.len(), 1404);
    assert!(node.shared.locks.is_empty());

    // The same records on another node; a dead reign's parts are thrown away.
    let (other, machine) = empty_machine(1 << 30);
    let records = node.log.records();
    for (i, record) in records.iter().enumerate() {
        machine.apply(LogPosition(i as u64 + 1), record);
    }
    assert_eq!(other.storage.table(Oid(20000)).unwrap().store.rows(), 1404);
    let refused = records.last().unwrap();
    machine.apply(LogPosition(1000), refused);
    assert_eq!(other.storage.table(Oid(20000)).unwrap().store.rows(), 1404, "an old timestamp changes nothing");
}

#[tokio::test]
async fn parts_of_a_dead_reign_are_discarded() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut writer = record::RecordWriter::default();
    writer.insert(Oid(20000), None, &row(77, 0, "part"));
    let reign = node.shared.sequencer.primary_reign().unwrap();
    let id = node.shared.next_id();
    let log = node.shared.log().unwrap().clone();
    let part = node.shared.sequencer.part(id, reign, 0, writer.seal(), log.as_ref()).unwrap();
    part.await.unwrap().unwrap();
    node.log.lose_leadership(true);
    node.log.regain_leadership();
    let mut t = node.open().await;
    update_with(&mut t, &table, 1, |a| a + 1).await.unwrap();
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|1|", "2|0|", "3|0|", "4|0|"]);
}

#[tokio::test]
async fn parts_of_a_transaction_that_is_refused_are_forgotten() {
    let node = Node::new();
    let table = seeded(&node).await;
    let long = "x".repeat(10_000);
    let mut big = node.open_at(Isolation::Serializable).await;
    assert_eq!(rows_of(&mut big, &table).len(), 4);
    for id in 100..1500 {
        big.insert(&table, row(id, 0, &long)).await.unwrap().unwrap();
    }
    let mut other = node.open().await;
    update_with(&mut other, &table, 1, |_| 1).await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(big.commit().await.unwrap_err().state(), SqlState::SerializationFailure);
    // One more commit: the record that says so is applied.
    let mut other = node.open().await;
    update_with(&mut other, &table, 1, |_| 2).await.unwrap();
    other.commit().await.unwrap();
    let records = node.log.records();
    let kinds: Vec<_> = records.iter().map(|r| record::open(r).unwrap().0.kind).collect();
    assert!(kinds.contains(&record::Kind::Part) && kinds.contains(&record::Kind::Forget), "{kinds:?}");
    let applier = Applier::new(empty_machine(1 << 30).0);
    for (i, record) in records.iter().enumerate() {
        applier.apply(LogPosition(i as u64 + 1), record);
    }
    assert_eq!(applier.unfinished(), 0, "nobody keeps them");
}

#[tokio::test]
async fn who_locked_and_read_commits_only_while_this_node_leads() {
    for locked in [false, true] {
        let node = Node::new();
        let table = seeded(&node).await;
        let mut t = node.open().await;
        if locked {
            t.lock_row(&table, &key(&table, 1), RowLock::Share, Wait::Block).await.unwrap();
        }
        t.begin_statement(Reads::Snapshot).await.unwrap();
        assert!(t.get(&table, &key(&table, 2), None).is_some());
        node.log.lose_leadership(false);
        let committed = t.commit().await;
        match locked {
            // It asked before each read.
            false => committed.unwrap(),
            // Since it locked a row it asked nobody: what it read may have been old.
            true => assert_eq!(committed.unwrap_err().state(), SqlState::SerializationFailure),
        }
    }
}

#[tokio::test]
async fn repeatable_read_keeps_its_snapshot_and_refuses_lost_updates() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut old = node.open_at(Isolation::RepeatableRead).await;
    let mut t = node.open().await;
    update_with(&mut t, &table, 1, |_| 5).await.unwrap();
    delete(&mut t, &table, 2).await.unwrap();
    t.commit().await.unwrap();
    old.begin_statement(Reads::Snapshot).await.unwrap();
    assert_eq!(rows_of(&mut old, &table), ["1|0|", "2|0|", "3|0|", "4|0|"]);
    let error = update_with(&mut old, &table, 1, |a| a).await.unwrap_err();
    assert_eq!(error.message(), "could not serialize access due to concurrent update");
    let error = delete(&mut old, &table, 2).await.unwrap_err();
    assert_eq!(error.message(), "could not serialize access due to concurrent delete");
    update_with(&mut old, &table, 3, |_| 3).await.unwrap();
    old.commit().await.unwrap();
}

#[tokio::test]
async fn serializable_refuses_write_skew_over_rows_scans_and_pending_commits() {
    for scan in [false, true] {
        for hold in [false, true] {
            let node = Node::new();
            let table = seeded(&node).await;
            let mut a = node.open_at(Isolation::Serializable).await;
            let mut b = node.open_at(Isolation::Serializable).await;
            for t in [&mut a, &mut b] {
                match scan {
                    true => assert_eq!(rows_of(t, &table).len(), 4),
                    false => {
                        for id in [1, 2] {
                            assert!(t.get(&table, &key(&table, id), None).is_some());
                        }
                    }
                }
            }
            update_with(&mut a, &table, 1, |_| 1).await.unwrap();
            update_with(&mut b, &table, 2, |_| 1).await.unwrap();
            if hold {
                node.log.hold();
            }
            let first = tokio::spawn(a.commit());
            if hold {
                queued(&node, 1).await;
            } else {
                while !first.is_finished() {
                    tokio::task::yield_now().await;
                }
            }
            let error = b.commit().await.unwrap_err();
            assert_eq!(error.state(), SqlState::SerializationFailure, "scan {scan}, hold {hold}");
            node.log.release();
            first.await.unwrap().unwrap();
            let mut reader = node.open_at(Isolation::Serializable).await;
            assert_eq!(rows_of(&mut reader, &table).len(), 4);
            reader.commit().await.unwrap();
            assert!(node.shared.locks.is_empty());
        }
    }
}

#[tokio::test]
async fn serializable_sees_that_a_missing_row_came() {
    let node = Node::new();
    let table = seeded(&node).await;
    let mut a = node.open_at(Isolation::Serializable).await;
    assert!(a.get(&table, &key(&table, 50), None).is_none());
    update_with(&mut a, &table, 1, |_| 1).await.unwrap();
    let mut b = node.open().await;
    b.insert(&table, row(50, 0, "")).await.unwrap().unwrap();
    b.commit().await.unwrap();
    assert_eq!(a.commit().await.unwrap_err().state(), SqlState::SerializationFailure);
}

#[tokio::test]
async fn a_covered_table_is_kept_until_its_rows_are_installed() {
    let node = Node::new();
    let table = seeded(&node).await;
    node.log.hold();
    let mut first = node.open().await;
    assert!(first.expect_many_writes(&table).await.unwrap());
    // Few rows, and no lock on any of them.
    first.insert(&table, row(9, 0, "")).await.unwrap().unwrap();
    let first = tokio::spawn(first.commit());
    queued(&node, 1).await;
    let second = {
        let (mut t, table) = (node.open().await, table.clone());
        tokio::spawn(async move { t.insert(&table, row(9, 1, "")).await })
    };
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished(), "the row is sequenced and not installed");
    node.log.release();
    first.await.unwrap().unwrap();
    assert!(second.await.unwrap().unwrap().is_err(), "a duplicate");
}

/// A standby may have shown a commit to somebody before the primary has applied it, and he may be who begins this
/// transaction.
#[tokio::test]
async fn a_snapshot_for_a_transaction_that_begins_with_a_lock_has_what_is_sequenced() {
    for isolation in [Isolation::RepeatableRead, Isolation::Serializable] {
        let node = Node::new();
        let table = node.create(table_def(20000, vec![index(20001, 20000, &[1], true, true)])).await;
        node.log.hold();
        let mut first = node.open().await;
        first.insert(&table, row(1, 0, "seen elsewhere")).await.unwrap().unwrap();
        let commit = tokio::spawn(first.commit());
        while node.log.queued() == 0 {
            tokio::task::yield_now().await;
        }
        let mut second = node.begin(isolation);
        assert!(second.lock_table(Oid(20000), TableLock::RowExclusive, Wait::Block).await.unwrap());
        let begins = tokio::spawn(async move {
            second.begin_statement(Reads::LockedRows).await.unwrap();
            second
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!begins.is_finished(), "the row is not applied yet");
        node.log.release();
        let mut second = begins.await.unwrap();
        assert!(second.get(&table, &key(&table, 1), None).is_some());
        commit.await.unwrap().unwrap();
    }
}

/// A commit lets its locks go before it is applied.
#[tokio::test]
async fn who_takes_a_lock_sees_what_was_committed_under_it() {
    let node = Node::new();
    let table = node.create(table_def(20000, vec![index(20001, 20000, &[1], true, true)])).await;
    node.log.hold();
    let mut first = node.open().await;
    assert!(first.lock_advisory(Advisory::Single(1), false, Wait::Block).await.unwrap());
    first.insert(&table, row(1, 0, "under the lock")).await.unwrap().unwrap();
    let commit = tokio::spawn(first.commit());
    while node.log.queued() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = node.begin(Isolation::ReadCommitted);
    assert!(second.lock_advisory(Advisory::Single(1), false, Wait::Block).await.unwrap());
    let begins = tokio::spawn(async move {
        second.begin_statement(Reads::Snapshot).await.unwrap();
        second
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!begins.is_finished(), "the row is not applied yet");
    node.log.release();
    let mut second = begins.await.unwrap();
    assert!(second.get(&table, &key(&table, 1), None).is_some());
    commit.await.unwrap().unwrap();
}
