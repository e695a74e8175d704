//! SERIALIZABLE over parts of an index: what was in the part, left it or came into it conflicts, the rest does not.

use std::ops::Bound;
use std::sync::Arc;

use super::*;
use crate::SqlState;
use crate::storage::IndexRange;

const INDEX: Oid = Oid(20002);

/// What another transaction does between the read and the commit.
#[derive(Debug, Clone, Copy)]
enum Change {
    Set(i32, i32),
    Insert(i32, i32),
    Delete(i32),
}

fn between(low: i32, high: i32, reverse: bool) -> IndexRange {
    let (lower, upper) = (Bound::Included(Datum::Int4(low)), Bound::Included(Datum::Int4(high)));
    IndexRange { prefix: Vec::new(), lower, upper, reverse }
}

/// Six rows, `a` = `id`.
async fn six(node: &Node) -> Arc<Table> {
    let indexes = vec![index(20001, 20000, &[1], true, true), index(INDEX.0, 20000, &[2], false, false)];
    let table = node.create(table_def(20000, indexes)).await;
    let mut t = node.open().await;
    for id in 1..=6 {
        t.insert(&table, row(id, id, "")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    table
}

/// Whether a transaction that read a part of the index and wrote elsewhere can commit after the change, which is applied or
/// only sequenced.
async fn commits(range: &IndexRange, limit: usize, change: Change, applied: bool) -> bool {
    let node = Node::new();
    let table = six(&node).await;
    let mut reader = node.open_at(Isolation::Serializable).await;
    reader.lookup(&table, INDEX, range, limit).unwrap();
    update_with(&mut reader, &table, 6, |_| 600).await.unwrap();
    let mut other = node.open().await;
    match change {
        Change::Set(id, a) => assert!(update_with(&mut other, &table, id, |_| a).await.unwrap()),
        Change::Insert(id, a) => drop(other.insert(&table, row(id, a, "")).await.unwrap().unwrap()),
        Change::Delete(id) => assert!(delete(&mut other, &table, id).await.unwrap()),
    }
    if !applied {
        node.log.hold();
    }
    let other = tokio::spawn(other.commit());
    while !other.is_finished() && node.log.queued() == 0 {
        tokio::task::yield_now().await;
    }
    let commit = tokio::spawn(reader.commit());
    // It is sequenced behind the other one, or refused at once.
    while !applied && !commit.is_finished() && node.log.queued() < 2 {
        tokio::task::yield_now().await;
    }
    node.log.release();
    other.await.unwrap().unwrap();
    match commit.await.unwrap() {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.state(), SqlState::SerializationFailure, "{error}");
            false
        }
    }
}

#[tokio::test]
async fn a_range_conflicts_with_what_is_in_it_alone() {
    let two = between(1, 2, false);
    for applied in [true, false] {
        for (change, free) in [
            (Change::Set(5, 50), true),
            (Change::Set(3, 30), true),
            (Change::Set(1, 1), false),
            (Change::Set(1, 9), false),
            (Change::Set(5, 2), false),
            (Change::Insert(7, 1), false),
            (Change::Insert(7, 3), true),
            (Change::Delete(2), false),
            (Change::Delete(3), true),
        ] {
            assert_eq!(commits(&two, usize::MAX, change, applied).await, free, "{change:?}, applied {applied}");
        }
    }
}

#[tokio::test]
async fn what_lies_behind_the_last_row_wanted_was_not_read() {
    for applied in [true, false] {
        for (range, change, free) in [
            (between(1, 5, false), Change::Set(3, 30), true),
            (between(1, 5, false), Change::Set(2, 20), false),
            (between(1, 5, false), Change::Insert(7, 1), false),
            (between(1, 5, true), Change::Set(3, 30), true),
            (between(1, 5, true), Change::Set(4, 40), false),
            (between(1, 5, true), Change::Insert(7, 5), false),
        ] {
            assert_eq!(commits(&range, 2, change, applied).await, free, "{range:?} {change:?}, applied {applied}");
        }
    }
}

#[tokio::test]
async fn a_large_range_and_many_ranges_depend_on_the_table() {
    let node = Node::new();
    let table = six(&node).await;
    let mut fill = node.open().await;
    for id in 10..1500 {
        fill.insert(&table, row(id, id, "")).await.unwrap().unwrap();
    }
    fill.commit().await.unwrap();
    for many in [false, true] {
        let mut reader = node.open_at(Isolation::Serializable).await;
        match many {
            true => {
                for a in 10..300 {
                    reader.lookup(&table, INDEX, &IndexRange::equal(vec![Datum::Int4(a)]), usize::MAX).unwrap();
                }
            }
            false => drop(reader.lookup(&table, INDEX, &between(10, 1400, false), usize::MAX).unwrap()),
        }
        update_with(&mut reader, &table, 6, |a| a + 1000).await.unwrap();
        let mut other = node.open().await;
        update_with(&mut other, &table, 1, |a| a).await.unwrap();
        other.commit().await.unwrap();
        assert_eq!(reader.commit().await.unwrap_err().state(), SqlState::SerializationFailure, "many {many}");
    }
}

/// A unique key that was looked for conflicts with whoever took it or gave it up since the snapshot, and with nobody else.
#[tokio::test]
async fn unique_keys_are_ranges_of_one() {
    for (taken, free) in [(77, false), (78, true)] {
        let node = Node::new();
        let indexes = vec![index(20001, 20000, &[1], true, true), index(INDEX.0, 20000, &[2], true, false)];
        let table = node.create(table_def(20000, indexes)).await;
        let mut fill = node.open().await;
        fill.insert(&table, row(1, 77, "")).await.unwrap().unwrap();
        fill.insert(&table, row(2, 2, "")).await.unwrap().unwrap();
        fill.commit().await.unwrap();
        let mut t = node.open_at(Isolation::Serializable).await;
        let mut other = node.open().await;
        match free {
            true => drop(other.insert(&table, row(6, taken, "")).await.unwrap().unwrap()),
            false => assert!(delete(&mut other, &table, 1).await.unwrap()),
        }
        other.commit().await.unwrap();
        assert_eq!(t.insert(&table, row(5, 77, "")).await.unwrap().is_err(), free);
        update_with(&mut t, &table, 2, |_| 3).await.unwrap();
        let committed = t.commit().await;
        assert_eq!(committed.is_ok(), free, "{taken}: {committed:?}");
    }
}
