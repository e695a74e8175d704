//! DDL in transactions: what a definition's change does to stored and to buffered rows.

use super::*;
use crate::storage::IndexRange;

fn put(def: &TableDef) -> CatalogChange {
    CatalogChange::Put(Object::Table(Arc::new(def.clone())))
}

async fn filled(node: &Node, def: TableDef) -> Arc<Table> {
    let table = node.create(def).await;
    let mut t = node.open().await;
    for id in 1..=3 {
        t.insert(&table, row(id, id * 10, "old")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    table
}

#[tokio::test]
async fn a_table_created_here_is_usable_here_and_gone_after_rollback() {
    let node = Node::new();
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    t.change_catalog(put(&keyed())).unwrap();
    let table = t.table(Oid(20000)).unwrap();
    t.insert(&table, row(1, 1, "a")).await.unwrap().unwrap();
    let savepoint = t.savepoint();
    t.change_catalog(CatalogChange::Drop(Oid(20000))).unwrap();
    assert!(t.table(Oid(20000)).is_none());
    t.rollback_to(savepoint);
    assert_eq!(rows_of(&mut t, &table), ["1|1|a"]);
    assert!(node.shared.storage.table(Oid(20000)).is_none());
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|1|a"]);
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    t.change_catalog(CatalogChange::Drop(Oid(20000))).unwrap();
    t.rollback();
    assert_eq!(node.rows(20000).await, ["1|1|a"]);
}

#[tokio::test]
async fn columns_come_and_go_without_a_rewrite() {
    let node = Node::new();
    let table = filled(&node, keyed()).await;
    let mut reader = node.open_at(Isolation::RepeatableRead).await;
    assert_eq!(rows_of(&mut reader, &table).len(), 3);
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    t.insert(&table, row(4, 40, "before")).await.unwrap().unwrap();
    let mut def = keyed();
    let mut added = column(4, "c", TypeOid::INT8);
    added.missing = Some(Datum::Int8(7));
    added.missing_text = Some("7".into());
    def.columns.push(added);
    def.columns[1].dropped = true;
    t.change_catalog(put(&def)).unwrap();
    let changed = t.table(Oid(20000)).unwrap();
    let new: Row = [Datum::Int4(5), Datum::Null, Datum::from("after"), Datum::Int8(8)].into_iter().collect();
    t.insert(&changed, new).await.unwrap().unwrap();
    let wanted = ["1|old|7", "2|old|7", "3|old|7", "4|before|7", "5|after|8"];
    assert_eq!(rows_of(&mut t, &changed), wanted);
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, wanted);
    assert_eq!(rows_of(&mut reader, &table), ["1|10|old", "2|20|old", "3|30|old"], "as it was");
    node.shared.storage.maintain();
    assert_eq!(node.rows(20000).await, wanted);
}

#[tokio::test]
async fn a_primary_key_comes_and_goes_in_a_transaction_that_writes() {
    let node = Node::new();
    let table = filled(&node, table_def(20000, vec![])).await;
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    t.insert(&table, row(4, 40, "own")).await.unwrap().unwrap();
    let first = t.lookup_id(&table, 1);
    t.lock_row(&table, &first.key, RowLock::Update, Wait::Block).await.unwrap();
    t.delete(&table, &first.key).await.unwrap();
    let savepoint = t.savepoint();
    t.change_catalog(put(&keyed())).unwrap();
    let keyed_table = t.table(Oid(20000)).unwrap();
    assert!(t.insert(&keyed_table, row(4, 0, "dup")).await.unwrap().is_err());
    assert!(update_with(&mut t, &keyed_table, 2, |a| a + 1).await.unwrap());
    assert_eq!(rows_of(&mut t, &keyed_table), ["2|21|old", "3|30|old", "4|40|own"]);
    t.rollback_to(savepoint);
    assert_eq!(rows_of(&mut t, &table), ["2|20|old", "3|30|old", "4|40|own"]);
    t.change_catalog(put(&keyed())).unwrap();
    let keyed_table = t.table(Oid(20000)).unwrap();
    assert!(update_with(&mut t, &keyed_table, 4, |a| a + 1).await.unwrap());
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["2|20|old", "3|30|old", "4|41|own"]);
    let table = node.table(20000);
    let mut t = node.open().await;
    assert!(t.insert(&table, row(3, 0, "dup")).await.unwrap().is_err());
    assert!(t.get(&table, &key(&table, 4), None).is_some());
    drop(t);
    node.change(put(&table_def(20000, vec![]))).await;
    let table = node.table(20000);
    let mut t = node.open().await;
    t.insert(&table, row(3, 0, "dup")).await.unwrap().unwrap();
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["2|20|old", "3|0|dup", "3|30|old", "4|41|own"]);
}

#[tokio::test]
async fn indexes_are_built_over_what_is_there() {
    let node = Node::new();
    let table = filled(&node, keyed()).await;
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    assert_eq!(t.find_duplicate(&table, &index(1, 20000, &[2], true, false)).unwrap(), None);
    assert!(t.find_duplicate(&table, &index(1, 20000, &[3], true, false)).unwrap().is_some());
    let def = table_def(20000, vec![index(20001, 20000, &[1], true, true), index(20002, 20000, &[2], true, false)]);
    t.change_catalog(put(&def)).unwrap();
    let indexed = t.table(Oid(20000)).unwrap();
    assert!(!indexed.is_ordered(Oid(20002)));
    assert!(t.insert(&indexed, row(9, 20, "dup")).await.unwrap().is_err());
    t.insert(&indexed, row(9, 25, "new")).await.unwrap().unwrap();
    let range = IndexRange::equal(vec![]);
    let found = t.lookup(&indexed, Oid(20002), &range, 3).unwrap();
    assert_eq!(found.iter().map(|r| text(&r.row[..2])).collect::<Vec<_>>(), ["1|10", "2|20", "9|25"]);
    t.commit().await.unwrap();
    let indexed = node.table(20000);
    assert!(indexed.is_ordered(Oid(20002)));
    let mut t = node.open().await;
    assert!(t.insert(&indexed, row(10, 25, "dup")).await.unwrap().is_err());
    let found = t.lookup(&indexed, Oid(20002), &range, 3).unwrap();
    assert_eq!(found.iter().map(|r| text(&r.row[..2])).collect::<Vec<_>>(), ["1|10", "2|20", "9|25"]);
}

#[tokio::test]
async fn truncate_is_a_new_storage() {
    let node = Node::new();
    let table = filled(&node, keyed()).await;
    let mut t = node.open().await;
    t.begin_ddl().await.unwrap();
    t.insert(&table, row(4, 0, "lost")).await.unwrap().unwrap();
    t.change_catalog(put(&TableDef { storage: Oid(21000), ..keyed() })).unwrap();
    let empty = t.table(Oid(20000)).unwrap();
    t.insert(&empty, row(1, 0, "kept")).await.unwrap().unwrap();
    assert_eq!(rows_of(&mut t, &empty), ["1|0|kept"]);
    assert_eq!(node.rows(20000).await.len(), 3);
    t.commit().await.unwrap();
    assert_eq!(node.rows(20000).await, ["1|0|kept"]);
}

impl Transaction {
    /// The first row with this id, found by a scan.
    fn lookup_id(&mut self, table: &Arc<Table>, id: i32) -> RowImage {
        let source = self.scan(table).unwrap();
        for batch in source.scan(0..source.partitions(), &[1], true, None) {
            let batch = batch.unwrap();
            use arrow::array::AsArray;
            let ids = batch.column(0).as_primitive::<arrow::datatypes::Int32Type>();
            if let Some(at) = ids.values().iter().position(|v| *v == id) {
                let row_id = batch.column(1).as_primitive::<arrow::datatypes::UInt64Type>().value(at);
                return self.fetch(table, crate::storage::RowId(row_id)).unwrap();
            }
        }
        panic!("no row {id}")
    }
}

#[tokio::test]
async fn a_statement_that_waited_behind_ddl_does_not_write_by_the_old_definition() {
    let node = Node::new();
    let table = filled(&node, keyed()).await;
    let mut ddl = node.open().await;
    ddl.begin_ddl().await.unwrap();
    ddl.lock_table(Oid(20000), TableLock::AccessExclusive, Wait::Block).await.unwrap();
    ddl.change_catalog(put(&TableDef { storage: Oid(21000), ..keyed() })).unwrap();
    let (mut t, old) = (node.open().await, table.clone());
    let waiting = tokio::spawn(async move { update_with(&mut t, &old, 1, |a| a + 1).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    ddl.commit().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.message(), "could not serialize access due to a concurrent change of table \"t20000\"");
    assert!(node.rows(20000).await.is_empty());
}

#[tokio::test]
async fn a_row_that_is_not_locked_is_not_changed() {
    let node = Node::new();
    let table = filled(&node, keyed()).await;
    let mut t = node.open().await;
    assert!(t.update(&table, &key(&table, 1), row(1, 0, "")).await.is_err());
    assert!(t.delete(&table, &key(&table, 1)).await.is_err());
}
