//! Tests of transactions on the in-memory log.
#![allow(clippy::unwrap_used)]

mod basics;
mod checkpoints;
mod commits;
mod ddl;
mod divergence;
mod locking;
mod model;
mod ranges;

use std::sync::Arc;

use super::memory_log::MemoryLog;
use super::*;
use crate::apply::Applier;
use crate::catalog::{
    Catalog, CatalogChange, ColumnDef, ConstraintDef, ConstraintKind, IndexColumn, IndexDef, Object, TableDef,
};
use crate::commit_log::SharedStateMachine;
use crate::session::Row;
use crate::storage::{RowKey, Storage, Table};
use crate::types::{Datum, PgType, TypeOid};

/// One engine on a log in memory.
pub(super) struct Node {
    pub shared: Arc<Transactions>,
    pub machine: SharedStateMachine,
    pub log: Arc<MemoryLog>,
}

pub(super) const PARTITIONS: usize = 3;

pub(super) fn empty_machine(limit: usize) -> (Arc<Transactions>, SharedStateMachine) {
    let storage = Storage::new(Catalog::bootstrap("postgres", "postgres"), limit, PARTITIONS);
    let shared = Transactions::new(Arc::new(storage));
    let machine: SharedStateMachine = Arc::new(Applier::new(shared.clone()));
    (shared, machine)
}

impl Node {
    pub fn new() -> Node {
        Node::with_limit(1 << 30)
    }

    pub fn with_limit(limit: usize) -> Node {
        let (shared, machine) = empty_machine(limit);
        Node::start(shared, machine)
    }

    pub fn start(shared: Arc<Transactions>, machine: SharedStateMachine) -> Node {
        let log = MemoryLog::start(machine.clone());
        shared.attach_log(log.clone());
        Node { shared, machine, log }
    }

    pub fn begin(&self, isolation: Isolation) -> Box<Transaction> {
        let id = self.shared.next_id();
        let options = TransactionOptions { isolation, read_only: false, process: id.0 as i32, lock_timeout: None };
        Transaction::begin(&self.shared, options)
    }

    /// A READ COMMITTED transaction in its first statement.
    pub async fn open(&self) -> Box<Transaction> {
        self.open_at(Isolation::ReadCommitted).await
    }

    pub async fn open_at(&self, isolation: Isolation) -> Box<Transaction> {
        let mut t = self.begin(isolation);
        t.begin_statement(Reads::Snapshot).await.unwrap();
        t
    }

    pub async fn change(&self, change: CatalogChange) {
        let mut t = self.open().await;
        t.begin_ddl().await.unwrap();
        t.change_catalog(change).unwrap();
        t.commit().await.unwrap();
    }

    pub async fn create(&self, def: TableDef) -> Arc<Table> {
        let oid = def.oid;
        self.change(CatalogChange::Put(Object::Table(Arc::new(def)))).await;
        self.shared.storage.table(oid).unwrap()
    }

    pub fn table(&self, oid: u32) -> Arc<Table> {
        self.shared.storage.table(Oid(oid)).unwrap()
    }

    /// All rows of a table that a new transaction sees, sorted.
    pub async fn rows(&self, oid: u32) -> Vec<String> {
        let mut t = self.open().await;
        rows_of(&mut t, &self.table(oid))
    }
}

/// Rows that a transaction sees by scanning, as text, sorted.
pub(super) fn rows_of(t: &mut Transaction, table: &Arc<Table>) -> Vec<String> {
    let mut rows: Vec<String> = scan_rows(t, table).iter().map(|r| text(r)).collect();
    rows.sort();
    rows
}

pub(super) fn scan_rows(t: &mut Transaction, table: &Arc<Table>) -> Vec<Row> {
    let source = t.scan(table).unwrap();
    let attnums: Vec<i16> = table.def.columns.iter().filter(|c| !c.dropped).map(|c| c.attnum).collect();
    let mut rows = Vec::new();
    for batch in source.scan(0..source.partitions(), &attnums, false, None) {
        let batch = batch.unwrap();
        for i in 0..batch.num_rows() {
            let cell = |(a, c): (&i16, &arrow::array::ArrayRef)| {
                let ty = table.def.columns[*a as usize - 1].ty;
                crate::storage::cell_at(c, i).to_datum(ty)
            };
            rows.push(attnums.iter().zip(batch.columns()).map(cell).collect());
        }
    }
    rows
}

pub(super) fn text(row: &[Datum]) -> String {
    let value = |d: &Datum| match d {
        Datum::Null => "-".to_owned(),
        Datum::Int4(v) => v.to_string(),
        Datum::Int8(v) => v.to_string(),
        Datum::Text(v) => v.to_string(),
        other => format!("{other:?}"),
    };
    row.iter().map(value).collect::<Vec<_>>().join("|")
}

pub(super) fn column(attnum: i16, name: &str, ty: TypeOid) -> ColumnDef {
    ColumnDef {
        attnum,
        name: name.into(),
        ty: PgType::from(ty),
        domain: None,
        not_null: false,
        collation: None,
        default: None,
        identity: None,
        generated: false,
        dropped: false,
        missing: None,
        compression: None,
        missing_text: None,
        comment: None,
    }
}

pub(super) fn index(oid: u32, table: u32, columns: &[i16], unique: bool, primary: bool) -> Arc<IndexDef> {
    let columns = columns.iter().map(|a| IndexColumn::plain(*a)).collect();
    Arc::new(IndexDef { unique, primary, ..IndexDef::new(Oid(oid), format!("i{oid}"), Oid(table), columns) })
}

/// `create table t<oid> (id int4 [primary key], a int4, b text)`, storage OID = OID.
pub(super) fn table_def(oid: u32, indexes: Vec<Arc<IndexDef>>) -> TableDef {
    let constraint = |i: &Arc<IndexDef>| {
        let kind = match i.primary {
            true => ConstraintKind::PrimaryKey { index: i.oid },
            false => ConstraintKind::Unique { index: i.oid },
        };
        Arc::new(ConstraintDef {
            oid: Oid(i.oid.0 + 500),
            name: i.name.clone(),
            kind,
            deferrable: false,
            initially_deferred: false,
            not_valid: false,
            comment: None,
        })
    };
    let constraints = indexes.iter().filter(|i| i.unique).map(constraint).collect();
    TableDef {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: format!("t{oid}"),
        owner: Oid::SUPERUSER,
        storage: Oid(oid),
        columns: vec![column(1, "id", TypeOid::INT4), column(2, "a", TypeOid::INT4), column(3, "b", TypeOid::TEXT)],
        indexes,
        constraints,
        row_type: Oid(oid + 100),
        materialized: None,
        persistence: Default::default(),
        options: Vec::new(),
        comment: None,
        inheritance: Default::default(),
    }
}

/// Table 20000 with a primary key on id.
pub(super) fn keyed() -> TableDef {
    table_def(20000, vec![index(20001, 20000, &[1], true, true)])
}

pub(super) fn row(id: i32, a: i32, b: &str) -> Row {
    [Datum::Int4(id), Datum::Int4(a), Datum::from(b)].into_iter().collect()
}

pub(super) fn key(table: &Table, id: i32) -> RowKey {
    table.key(&[Datum::Int4(id)]).unwrap()
}

/// `update t set a = f(a) where id = …` as READ COMMITTED does it.
pub(super) async fn update_with(
    t: &mut Transaction,
    table: &Arc<Table>,
    id: i32,
    f: impl FnOnce(i32) -> i32,
) -> crate::error::Result<bool> {
    let k = key(table, id);
    let Locked::Held { latest, .. } = t.lock_row(table, &k, RowLock::NoKeyUpdate, Wait::Block).await? else {
        return Ok(false);
    };
    let Some(mut new) = latest else { return Ok(false) };
    let Datum::Int4(a) = new[1] else { panic!() };
    new[1] = Datum::Int4(f(a));
    t.update(table, &k, new).await?.unwrap();
    Ok(true)
}

pub(super) async fn delete(t: &mut Transaction, table: &Arc<Table>, id: i32) -> crate::error::Result<bool> {
    let k = key(table, id);
    match t.lock_row(table, &k, RowLock::Update, Wait::Block).await? {
        Locked::Held { latest: Some(_), .. } => {
            t.delete(table, &k).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
