//! What one transaction does and sees.

use std::ops::Bound;

use super::*;
use crate::error::SqlState;
use crate::storage::{IndexRange, RowId};

#[tokio::test]
async fn own_changes_are_seen_at_once_and_by_others_after_commit() {
    let node = Node::new();
    let table = node.create(keyed()).await;
    let mut t = node.open().await;
    t.insert(&table, row(1, 10, "x")).await.unwrap().unwrap();
    t.insert(&table, row(2, 20, "y")).await.unwrap().unwrap();
    assert!(t.insert(&table, row(1, 0, "again")).await.unwrap().is_err());
    assert_eq!(rows_of(&mut t, &table), ["1|10|x", "2|20|y"]);
    assert_eq!(t.get(&table, &key(&table, 2), Some(&[3])).unwrap().as_slice(), [Datum::from("y")]);
    assert!(node.rows(20000).await.is_empty());
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|10|x", "2|20|y"]);

    let mut t = node.open().await;
    assert!(update_with(&mut t, &table, 1, |a| a + 1).await.unwrap());
    assert!(delete(&mut t, &table, 2).await.unwrap());
    assert!(!delete(&mut t, &table, 2).await.unwrap());
    t.insert(&table, row(2, 21, "new")).await.unwrap().unwrap();
    assert_eq!(rows_of(&mut t, &table), ["1|11|x", "2|21|new"]);
    assert_eq!(node.rows(20000).await, ["1|10|x", "2|20|y"]);
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|11|x", "2|21|new"]);

    let mut t = node.open().await;
    delete(&mut t, &table, 1).await.unwrap();
    t.rollback();
    assert_eq!(node.rows(20000).await, ["1|11|x", "2|21|new"]);
}

#[tokio::test]
async fn a_table_without_a_key_and_row_identifiers() {
    let node = Node::new();
    let table = node.create(table_def(20000, vec![])).await;
    let mut t = node.open().await;
    for i in 0..5 {
        t.insert(&table, row(7, i, "dup")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    let mut t = node.open().await;
    t.insert(&table, row(8, 0, "own")).await.unwrap().unwrap();
    let source = t.scan(&table).unwrap();
    let mut ids = Vec::new();
    for batch in source.scan(0..source.partitions(), &[2], true, None) {
        let batch = batch.unwrap();
        use arrow::array::AsArray;
        let column = batch.column(1).as_primitive::<arrow::datatypes::UInt64Type>();
        ids.extend(column.values().iter().map(|v| RowId(*v)));
    }
    assert_eq!(ids.len(), 6);
    for id in ids {
        let image = t.fetch(&table, id).unwrap();
        assert!(matches!(
            t.lock_row(&table, &image.key, RowLock::Update, Wait::Block).await.unwrap(),
            Locked::Held { latest: Some(_), .. }
        ));
        match image.row[1] {
            Datum::Int4(a) if a % 2 == 1 => t.delete(&table, &image.key).await.unwrap(),
            _ => {
                let mut new = image.row.clone();
                new[2] = Datum::from("changed");
                t.update(&table, &image.key, new).await.unwrap().unwrap();
            }
        }
    }
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["7|0|changed", "7|2|changed", "7|4|changed", "8|0|changed"]);
}

#[tokio::test]
async fn savepoints_undo_in_order() {
    let node = Node::new();
    let table = node.create(keyed()).await;
    let mut t = node.open().await;
    t.insert(&table, row(1, 1, "a")).await.unwrap().unwrap();
    let first = t.savepoint();
    t.insert(&table, row(2, 2, "b")).await.unwrap().unwrap();
    update_with(&mut t, &table, 1, |_| 100).await.unwrap();
    let second = t.savepoint();
    delete(&mut t, &table, 1).await.unwrap();
    assert_eq!(rows_of(&mut t, &table), ["2|2|b"]);
    t.rollback_to(second);
    assert_eq!(rows_of(&mut t, &table), ["1|100|a", "2|2|b"]);
    delete(&mut t, &table, 2).await.unwrap();
    t.rollback_to(first);
    t.rollback_to(first);
    assert_eq!(rows_of(&mut t, &table), ["1|1|a"]);
    t.insert(&table, row(3, 3, "c")).await.unwrap().unwrap();
    t.release(first);
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|1|a", "3|3|c"]);
}

fn indexed() -> TableDef {
    let secondary = Arc::unwrap_or_clone(index(20003, 20000, &[3, 2], false, false));
    let mut columns = secondary.columns.clone();
    columns[1].descending = true;
    let secondary = Arc::new(IndexDef { columns, ..secondary });
    table_def(20000, vec![index(20001, 20000, &[1], true, true), index(20002, 20000, &[2], true, false), secondary])
}

#[tokio::test]
async fn unique_indexes_see_buffer_pending_and_base() {
    let node = Node::new();
    let table = node.create(indexed()).await;
    let mut t = node.open().await;
    t.insert(&table, row(1, 10, "x")).await.unwrap().unwrap();
    assert_eq!(t.insert(&table, row(2, 10, "y")).await.unwrap().unwrap_err().index, Oid(20002));
    t.commit().await.unwrap();
    node.log.hold();
    let mut t = node.open().await;
    assert_eq!(t.insert(&table, row(2, 10, "y")).await.unwrap().unwrap_err().index, Oid(20002));
    update_with(&mut t, &table, 1, |_| 11).await.unwrap();
    t.insert(&table, row(2, 10, "y")).await.unwrap().unwrap();
    let commit = tokio::spawn(t.commit());
    while node.log.queued() == 0 {
        tokio::task::yield_now().await;
    }
    // Row 1 gave up 10, row 2 took it, and nothing of it is applied.
    let mut t = node.open().await;
    let duplicate = t.insert(&table, row(3, 10, "z")).await.unwrap().unwrap_err();
    assert_eq!(duplicate.existing, key(&table, 2));
    assert_eq!(t.insert(&table, row(3, 11, "z")).await.unwrap().unwrap_err().existing, key(&table, 1));
    t.insert(&table, row(3, 12, "z")).await.unwrap().unwrap();
    let second = tokio::spawn(t.commit());
    node.log.release();
    commit.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(node.rows(20000).await, ["1|11|x", "2|10|y", "3|12|z"]);
}

#[tokio::test]
async fn a_duplicate_that_is_given_up_leaves_the_owner_alone() {
    let node = Node::new();
    let table = node.create(indexed()).await;
    let mut t = node.open().await;
    t.insert(&table, row(1, 10, "x")).await.unwrap().unwrap();
    t.commit().await.unwrap();
    node.log.hold();
    let mut t = node.open().await;
    let savepoint = t.savepoint();
    assert!(t.insert(&table, row(2, 10, "y")).await.unwrap().is_err());
    update_with(&mut t, &table, 1, |_| 99).await.unwrap();
    t.rollback_to(savepoint);
    t.insert(&table, row(5, 50, "y")).await.unwrap().unwrap();
    let commit = tokio::spawn(t.commit());
    while node.log.queued() == 0 {
        tokio::task::yield_now().await;
    }
    let mut t = node.open().await;
    assert!(t.insert(&table, row(3, 10, "z")).await.unwrap().is_err(), "10 still belongs to row 1");
    node.log.release();
    commit.await.unwrap().unwrap();
}

#[tokio::test]
async fn lookups_merge_index_and_buffer() {
    let node = Node::new();
    let table = node.create(indexed()).await;
    let mut t = node.open().await;
    for (id, a, b) in [(1, 1, "p"), (2, 2, "p"), (3, 3, "q"), (4, 4, "q"), (5, 5, "p")] {
        t.insert(&table, row(id, a, b)).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    let mut t = node.open().await;
    delete(&mut t, &table, 2).await.unwrap();
    t.insert(&table, row(6, 6, "p")).await.unwrap().unwrap();
    let ids = |rows: Vec<RowImage>| rows.iter().map(|r| text(&r.row[..1])).collect::<Vec<_>>().join(",");
    let p = || vec![Datum::from("p")];
    let look = |t: &mut Transaction, index: u32, range: IndexRange, limit| {
        ids(t.lookup(&table, Oid(index), &range, limit).unwrap())
    };
    // The second column of the index is descending.
    assert_eq!(look(&mut t, 20003, IndexRange::equal(p()), 10), "6,5,1");
    assert_eq!(look(&mut t, 20003, IndexRange { reverse: true, ..IndexRange::equal(p()) }, 2), "1,5");
    let range = IndexRange {
        prefix: p(),
        lower: Bound::Excluded(Datum::Int4(1)),
        upper: Bound::Included(Datum::Int4(5)),
        reverse: false,
    };
    assert_eq!(look(&mut t, 20003, range, 10), "5");
    let range =
        IndexRange { prefix: vec![], lower: Bound::Included(Datum::Int4(3)), upper: Bound::Unbounded, reverse: false };
    assert_eq!(look(&mut t, 20002, range.clone(), 3), "3,4,5");
    assert_eq!(look(&mut t, 20001, range, 3), "3,4,5", "the order of the key is built");
    assert_eq!(look(&mut t, 20001, IndexRange::equal(vec![Datum::Int4(6)]), 3), "6");
    assert_eq!(look(&mut t, 20001, IndexRange::equal(vec![Datum::Int4(2)]), 3), "");
}

#[tokio::test]
async fn batches_are_inserted_without_rows() {
    let node = Node::new();
    let table = node.create(keyed()).await;
    let batch = |from: i32, count: i32| {
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(arrow::array::Int32Array::from_iter_values(from..from + count)),
            Arc::new(arrow::array::Int32Array::from_iter_values((from..from + count).map(|i| i * 2))),
            Arc::new(arrow::array::StringArray::from_iter_values((0..count).map(|i| format!("r{i}")))),
        ];
        let schema = table.def.columns.iter().map(|c| arrow::datatypes::Field::new(&c.name, c.ty.arrow(), true));
        let schema = Arc::new(arrow::datatypes::Schema::new(schema.collect::<Vec<_>>()));
        arrow::record_batch::RecordBatch::try_new(schema, columns).unwrap()
    };
    let mut t = node.open().await;
    t.insert_batch(&table, batch(0, 5000)).await.unwrap().unwrap();
    assert!(t.insert_batch(&table, batch(4999, 50)).await.unwrap().is_err());
    let savepoint = t.savepoint();
    t.insert_batch(&table, batch(5000, 100)).await.unwrap().unwrap();
    t.rollback_to(savepoint);
    t.insert_batch(&table, batch(5000, 40)).await.unwrap().unwrap();
    update_with(&mut t, &table, 17, |_| -1).await.unwrap();
    delete(&mut t, &table, 18).await.unwrap();
    assert_eq!(scan_rows(&mut t, &table).len(), 5039);
    assert!(!t.writes[&Oid(20000)].bulk.is_empty(), "kept as columns");
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await.len(), 5039);
    let mut t = node.open().await;
    assert_eq!(t.get(&table, &key(&table, 17), Some(&[2])).unwrap()[0], Datum::Int4(-1));
    assert_eq!(t.get(&table, &key(&table, 18), None), None);
    assert_eq!(t.get(&table, &key(&table, 5039), Some(&[2])).unwrap()[0], Datum::Int4(10078));
    let stats = table.statistics();
    assert_eq!(stats.rows, 5039);
    // Rows that the transaction deleted come back as a batch.
    for id in 100..140 {
        delete(&mut t, &table, id).await.unwrap();
    }
    t.insert_batch(&table, batch(100, 40)).await.unwrap().unwrap();
    assert_eq!(t.get(&table, &key(&table, 100), Some(&[2])).unwrap()[0], Datum::Int4(200));
    t.commit().await.unwrap();
    let repeated = batch(6000, 40);
    let twice = arrow::compute::concat_batches(&repeated.schema(), [&repeated, &repeated]).unwrap();
    let mut t = node.open().await;
    assert_eq!(t.insert_batch(&table, twice).await.unwrap().unwrap_err().existing, key(&table, 6000));
    t.insert_batch(&table, repeated).await.unwrap().unwrap();
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await.len(), 5079);
}

#[tokio::test]
async fn the_memory_limit_refuses_writes_and_not_reads() {
    let node = Node::with_limit(300_000);
    let table = node.create(keyed()).await;
    let long = "x".repeat(1000);
    let mut t = node.open().await;
    let mut id = 0;
    let error = loop {
        id += 1;
        match t.insert(&table, row(id, 0, &long)).await {
            Ok(done) => done.unwrap(),
            Err(error) => break error,
        };
    };
    assert_eq!(error.state(), SqlState::OutOfMemory);
    assert!(id > 50, "{id}");
    assert_eq!(scan_rows(&mut t, &table).len() as i32, id - 1);
    t.rollback();
    assert!(node.shared.storage.memory.used() < 100_000, "the buffer gave back what it had");
    let mut t = node.open().await;
    t.insert(&table, row(1, 0, &long)).await.unwrap().unwrap();
    t.commit().await.unwrap();
}

#[tokio::test]
async fn sequences_go_on_after_a_change_of_reign() {
    let node = Node::new();
    let def = crate::catalog::SequenceDef {
        oid: Oid(20000),
        schema: Oid::PUBLIC,
        name: "s".into(),
        owner: Oid::SUPERUSER,
        ty: TypeOid::INT8.into(),
        start: 1,
        increment: 1,
        min: 1,
        max: 50,
        cache: 1,
        cycle: false,
        owned_by: None,
        comment: None,
    };
    node.change(CatalogChange::Put(Object::Sequence(Arc::new(def.clone())))).await;
    let mut t = node.open().await;
    for wanted in 1..=3 {
        assert_eq!(t.nextval(&def).await.unwrap(), wanted);
    }
    t.wait_for_dependencies().await.unwrap();
    assert_eq!(t.sequence_state(&def), (3, true));
    drop(t);
    node.log.lose_leadership(true);
    node.log.regain_leadership();
    let mut t = node.open().await;
    assert_eq!(t.nextval(&def).await.unwrap(), 33, "what was logged ahead is skipped");
    t.setval(&def, 49, true).await.unwrap();
    assert_eq!(t.nextval(&def).await.unwrap(), 50);
    let error = t.nextval(&def).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SequenceGeneratorLimitExceeded);
    t.restart_sequence(&def, 7).unwrap();
    assert_eq!(t.nextval(&def).await.unwrap(), 7);
    t.commit().await.unwrap();
    let mut t = node.open().await;
    assert_eq!(t.nextval(&def).await.unwrap(), 8);
}
