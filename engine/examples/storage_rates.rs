//! Rates of the storage and transaction layers alone, on a log in memory: point reads, and pgbench's TPC-B-like
//! transaction from BEGIN to applied. `cargo run --release --example storage_rates -p lockstep-engine`
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::apply::Applier;
use engine::catalog::{Catalog, CatalogChange, ColumnDef, IndexColumn, IndexDef, Object, Oid, TableDef};
use engine::storage::{Storage, Table};
use engine::txn::memory_log::MemoryLog;
use engine::txn::{Isolation, Locked, Reads, RowLock, Transaction, TransactionOptions, Transactions, Wait};
use engine::types::{Datum, PgType, TypeOid};

const ACCOUNTS: i32 = 200_000;

fn def(oid: u32, columns: &[TypeOid], keyed: bool) -> TableDef {
    let column = |(i, ty): (usize, &TypeOid)| ColumnDef {
        attnum: i as i16 + 1,
        name: format!("c{i}"),
        ty: PgType::from(*ty),
        domain: None,
        not_null: i == 0,
        collation: None,
        default: None,
        identity: None,
        generated: false,
        dropped: false,
        missing: None,
        compression: None,
        missing_text: None,
        comment: None,
    };
    let index = IndexDef {
        unique: true,
        primary: true,
        ..IndexDef::new(Oid(oid + 1), format!("i{oid}"), Oid(oid), vec![IndexColumn::plain(1)])
    };
    TableDef {
        oid: Oid(oid),
        schema: Oid::PUBLIC,
        name: format!("t{oid}"),
        owner: Oid::SUPERUSER,
        storage: Oid(oid),
        columns: columns.iter().enumerate().map(column).collect(),
        indexes: if keyed { vec![Arc::new(index)] } else { Vec::new() },
        constraints: Vec::new(),
        row_type: Oid(oid + 2),
        materialized: None,
        persistence: Default::default(),
        options: Vec::new(),
        comment: None,
        inheritance: Default::default(),
    }
}

fn begin(shared: &Arc<Transactions>) -> Box<Transaction> {
    let options =
        TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, process: 1, lock_timeout: None };
    Transaction::begin(shared, options)
}

async fn add(t: &mut Transaction, table: &Arc<Table>, id: i32, column: usize, delta: i32) {
    t.begin_statement(Reads::LockedRows).await.unwrap();
    let key = table.key(&[Datum::Int4(id)]).unwrap();
    let locked = t.lock_row(table, &key, RowLock::NoKeyUpdate, Wait::Block).await.unwrap();
    let Locked::Held { latest: Some(mut row), .. } = locked else { panic!("no row {id}") };
    if let Datum::Int4(value) = row[column] {
        row[column] = Datum::Int4(value.wrapping_add(delta));
    }
    t.update(table, &key, row).await.unwrap().unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    use TypeOid as T;
    let storage = Arc::new(Storage::new(Catalog::bootstrap("postgres", "postgres"), 8 << 30, 8));
    let shared = Transactions::new(storage.clone());
    let machine = Arc::new(Applier::new(shared.clone()));
    let log = MemoryLog::start(machine);
    shared.attach_log(log);

    let mut t = begin(&shared);
    t.begin_ddl().await.unwrap();
    for table in [
        def(100_000, &[T::INT4, T::INT4, T::INT4, T::BPCHAR], true),
        def(100_010, &[T::INT4, T::INT4, T::BPCHAR], true),
        def(100_020, &[T::INT4, T::INT4, T::INT4, T::BPCHAR], true),
        def(100_030, &[T::INT4, T::INT4, T::INT4, T::INT4, T::TIMESTAMP], false),
    ] {
        t.change_catalog(CatalogChange::Put(Object::Table(Arc::new(table)))).unwrap();
    }
    t.commit().await.unwrap();
    let table = |oid| storage.table(Oid(oid)).unwrap();
    let (accounts, branches, tellers, history) = (table(100_000), table(100_010), table(100_020), table(100_030));

    let start = Instant::now();
    let filler = Datum::from(" ".repeat(84).as_str());
    let mut t = begin(&shared);
    for id in 1..=ACCOUNTS {
        let row = [Datum::Int4(id), Datum::Int4(1), Datum::Int4(0), filler.clone()];
        t.insert(&accounts, row.into_iter().collect()).await.unwrap().unwrap();
    }
    for id in 1..=10 {
        let row = [Datum::Int4(id), Datum::Int4(0), filler.clone()];
        t.insert(&branches, row.into_iter().collect()).await.unwrap().unwrap();
    }
    for id in 1..=100 {
        let row = [Datum::Int4(id), Datum::Int4(1), Datum::Int4(0), filler.clone()];
        t.insert(&tellers, row.into_iter().collect()).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    println!("load: {:.2} µs a row", per(start, ACCOUNTS));
    storage.maintain();
    println!("memory: {} bytes a row", storage.memory.used() / ACCOUNTS as usize);

    let (count, start) = (500_000, Instant::now());
    let mut id = 1;
    for _ in 0..count {
        id = (id * 7919 + 13) % ACCOUNTS + 1;
        let mut t = begin(&shared);
        t.begin_statement(Reads::Snapshot).await.unwrap();
        let key = accounts.key(&[Datum::Int4(id)]).unwrap();
        assert!(t.get(&accounts, &key, Some(&[3])).is_some());
        t.commit().await.unwrap();
    }
    println!("point read, transaction included: {:.2} µs", per(start, count));

    let (tasks, each) = (8, 10_000);
    let start = Instant::now();
    let mut running = Vec::new();
    for n in 0..tasks {
        let (shared, accounts, branches) = (shared.clone(), accounts.clone(), branches.clone());
        let (tellers, history) = (tellers.clone(), history.clone());
        running.push(tokio::spawn(async move {
            let mut id = n + 1;
            for _ in 0..each {
                id = (id * 7919 + 13) % ACCOUNTS + 1;
                let mut t = begin(&shared);
                add(&mut t, &accounts, id, 2, 1).await;
                t.begin_statement(Reads::LockedRows).await.unwrap();
                let key = accounts.key(&[Datum::Int4(id)]).unwrap();
                assert!(t.get(&accounts, &key, Some(&[3])).is_some());
                add(&mut t, &tellers, id % 100 + 1, 2, 1).await;
                add(&mut t, &branches, id % 10 + 1, 1, 1).await;
                let row = [
                    Datum::Int4(id % 100 + 1),
                    Datum::Int4(id % 10 + 1),
                    Datum::Int4(id),
                    Datum::Int4(1),
                    Datum::Timestamp(0),
                ];
                t.insert(&history, row.into_iter().collect()).await.unwrap().unwrap();
                t.commit().await.unwrap();
            }
        }));
    }
    for task in running {
        task.await.unwrap();
    }
    println!("TPC-B by {tasks} sessions: {:.2} µs a transaction", per(start, tasks * each));
    let start = Instant::now();
    storage.maintain();
    println!("maintenance after it: {:?}", start.elapsed());
}

fn per(start: Instant, count: i32) -> f64 {
    start.elapsed().as_secs_f64() * Duration::from_secs(1).as_micros() as f64 / f64::from(count)
}
