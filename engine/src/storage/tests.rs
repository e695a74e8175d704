//! Stores driven directly: freezing and merging under old snapshots, handles, statistics, memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::chunk::Begins;
use super::*;
use crate::catalog::{ColumnDef, IndexColumn, IndexDef};
use crate::types::{Datum, PgType, TypeOid, compare};

fn def(secondary: bool) -> TableDef {
    let column = |(i, ty): (usize, TypeOid)| ColumnDef {
        attnum: i as i16 + 1,
        name: format!("c{i}"),
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
    };
    let index = |oid, attnum, primary| {
        let columns = vec![IndexColumn::plain(attnum)];
        Arc::new(IndexDef { unique: primary, primary, ..IndexDef::new(Oid(oid), format!("i{oid}"), Oid(1), columns) })
    };
    TableDef {
        oid: Oid(1),
        schema: Oid::PUBLIC,
        name: "t".into(),
        owner: Oid::SUPERUSER,
        storage: Oid(1),
        columns: [TypeOid::INT4, TypeOid::INT4, TypeOid::TEXT].into_iter().enumerate().map(column).collect(),
        indexes: [Some(index(2, 1, true)), secondary.then(|| index(3, 2, false))].into_iter().flatten().collect(),
        constraints: Vec::new(),
        row_type: Oid(9),
        materialized: None,
        persistence: Default::default(),
        options: Vec::new(),
        comment: None,
        inheritance: Default::default(),
    }
}

fn table(secondary: bool, memory: &Arc<Memory>) -> Arc<Table> {
    let def = Arc::new(def(secondary));
    let layout = Arc::new(layout::Layout::new(&def));
    let store = Arc::new(TableStore::new(Oid(1), layout.clone(), 2, memory));
    Arc::new(Table { def, store, layout })
}

fn columns(rows: std::ops::Range<i32>, text: &str) -> Vec<Option<ArrayRef>> {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.clone()));
    let values: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.clone().map(|i| i % 100)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.map(|_| text)));
    vec![Some(ids), Some(values), Some(texts)]
}

fn scan(table: &Arc<Table>, snapshot: &Snapshot) -> BTreeMap<i32, i32> {
    let source = ScanSource { table: table.clone(), snapshot: snapshot.clone(), overlay: None };
    let mut rows = BTreeMap::new();
    for batch in source.scan(0..source.partitions(), &[1, 2], false, None) {
        use arrow::array::AsArray;
        let batch = batch.unwrap();
        let column = |c: usize| batch.column(c).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
        for (id, value) in column(0).into_iter().zip(column(1)) {
            assert!(rows.insert(id, value).is_none(), "row {id} twice");
        }
    }
    rows
}

/// Random changes and housekeeping with old snapshots held: each sees what it saw at first, by every way.
#[test]
fn old_snapshots_survive_freezing_and_merging() {
    let seed = std::env::var("LOCKSTEP_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("LOCKSTEP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let memory = Memory::new(1 << 30);
    let table = table(true, &memory);
    let snapshots = Arc::new(Snapshots::default());
    let mut now = BTreeMap::new();
    let mut held: Vec<(Snapshot, BTreeMap<i32, i32>)> = Vec::new();
    for ts in 1..400u64 {
        let commit = CommitTs(ts);
        if rng.random_range(0..10) == 0 {
            let from = rng.random_range(0..8) * 3000;
            let rows: Vec<i32> = (from..from + 3000).filter(|id| !now.contains_key(id)).collect();
            let ids: ArrayRef = Arc::new(Int32Array::from(rows.clone()));
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "bulk")));
            let arrays = [Some(ids.clone()), Some(ids), Some(texts)];
            table.store.apply_batch(&arrays, None, rows.len(), Begins::All(commit)).unwrap();
            now.extend(rows.iter().map(|id| (*id, *id)));
        }
        for _ in 0..rng.random_range(0..300) {
            let id = rng.random_range(0..24_000);
            let key = table.key(&[Datum::Int4(id)]).unwrap();
            let value = rng.random_range(0..50);
            match (now.contains_key(&id), rng.random_range(0..3)) {
                (false, _) => {
                    let row = [Datum::Int4(id), Datum::Int4(value), Datum::from("one")];
                    table.store.apply_insert(None, &row, commit).unwrap();
                    now.insert(id, value);
                }
                (true, 0) => {
                    table.store.apply_delete(&key, commit).unwrap();
                    now.remove(&id);
                }
                (true, _) => {
                    table.store.apply_update(&key, &[(1, Datum::Int4(value))], commit).unwrap();
                    now.insert(id, value);
                }
            }
        }
        snapshots.set_watermark(commit);
        if rng.random_range(0..12) == 0 {
            held.push((snapshots.acquire(), now.clone()));
        }
        if rng.random_range(0..20) == 0 && !held.is_empty() {
            held.swap_remove(rng.random_range(0..held.len()));
        }
        if rng.random_range(0..8) == 0 {
            table.store.maintain(snapshots.horizon()).unwrap();
        }
        if ts % 40 == 0 {
            if ts == 200 {
                table.store.ordered_key().unwrap();
            }
            for (snapshot, rows) in &held {
                check(&table, snapshot, rows, &mut rng);
            }
        }
    }
    held.clear();
    table.store.maintain(snapshots.horizon()).unwrap();
    let snapshot = snapshots.acquire();
    check(&table, &snapshot, &now, &mut rng);
    for index in table.store.indexes().iter() {
        assert_eq!(index.len(), now.len(), "dead rows' entries are gone");
    }
    assert_eq!(table.store.rows(), now.len());
}

fn check(table: &Arc<Table>, snapshot: &Snapshot, rows: &BTreeMap<i32, i32>, rng: &mut StdRng) {
    assert_eq!(scan(table, snapshot), *rows);
    for _ in 0..50 {
        let id = rng.random_range(0..24_000);
        let key = table.key(&[Datum::Int4(id)]).unwrap();
        let found = table.store.get(&key, snapshot.ts(), &table.layout, Some(&[2]));
        assert_eq!(found.map(|r| r[0].clone()), rows.get(&id).map(|v| Datum::Int4(*v)));
    }
    for index in table.store.indexes().iter() {
        let range = IndexRange::equal(vec![]);
        let mut seen = Vec::new();
        table.store.walk(index, index.layout.bounds(&range), false, snapshot.ts(), &table.layout, |_, _, row| {
            seen.push(row[index.layout.columns[0].column].clone());
            true
        });
        assert_eq!(seen.len(), rows.len());
        assert!(seen.is_sorted_by(|a, b| compare::compare(a, b, TypeOid::INT4.into()).is_le()));
    }
}

#[test]
fn a_row_of_pgbench_accounts_takes_less_than_200_bytes() {
    let memory = Memory::new(1 << 30);
    let table = table(false, &memory);
    let filler = " ".repeat(84);
    for part in 0..20 {
        let rows = part * 10_000..(part + 1) * 10_000;
        table.store.apply_batch(&columns(rows, &filler), None, 10_000, Begins::All(CommitTs(1))).unwrap();
    }
    table.store.maintain(CommitTs(1)).unwrap();
    let bytes = memory.used() / 200_000;
    assert!((90..150).contains(&bytes), "{bytes} bytes a row");
    assert!(table.store.partitions.iter().all(|p| p.read().chunks().all(|(_, c)| c.rows > 8192)), "chunks merged");
}

#[test]
fn statistics_and_pruning() {
    let memory = Memory::new(1 << 30);
    let table = table(false, &memory);
    table.store.apply_batch(&columns(0..50_000, "x"), None, 50_000, Begins::All(CommitTs(1))).unwrap();
    let snapshots = Arc::new(Snapshots::default());
    snapshots.set_watermark(CommitTs(1));
    let stats = table.statistics();
    let value = |a: &Option<ArrayRef>| cell_at(a.as_ref().unwrap(), 0).to_datum(TypeOid::INT4.into());
    assert_eq!((value(&stats.columns[0].min), value(&stats.columns[0].max)), (Datum::Int4(0), Datum::Int4(49_999)));
    assert_eq!((stats.rows, stats.columns[0].distinct, stats.columns[2].distinct), (50_000, Some(50_000), Some(1)));
    let distinct = stats.columns[1].distinct.unwrap();
    assert!((90..110).contains(&distinct), "{distinct}");
    let source = ScanSource { table, snapshot: snapshots.acquire(), overlay: None };
    let prune: Prune = Arc::new(|stats| {
        let (_, max) = stats.bounds(2).unwrap();
        assert_eq!(stats.nulls(2), Some(0));
        cell_at(max, 0).to_datum(TypeOid::INT4.into()) == Datum::Int4(1000)
    });
    assert_eq!(source.scan(0..2, &[1], false, Some(prune)).count(), 0);
}

#[test]
fn cells_encode_in_the_order_of_their_values() {
    use crate::types::numeric::Numeric;
    let numeric = |v, s| Datum::Numeric(Box::new(Numeric::from_i128(v, s)));
    let groups: Vec<(TypeOid, Vec<Datum>)> = vec![
        (TypeOid::INT2, [i16::MIN, -1, 0, 1, i16::MAX].map(Datum::Int2).into()),
        (TypeOid::INT8, [i64::MIN, -1, 0, 1, i64::MAX].map(Datum::Int8).into()),
        (
            TypeOid::FLOAT8,
            [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN].map(Datum::Float8).into(),
        ),
        (TypeOid::TEXT, ["", "a", "a b", "ab", "b"].map(Datum::from).into()),
        (TypeOid::BPCHAR, ["", "a ", "a", "ab"].map(Datum::from).into()),
        (TypeOid::BYTEA, [&[][..], &[0], &[0, 0], &[0, 1], &[1]].map(|b| Datum::Bytea(b.into())).into()),
        (TypeOid::NUMERIC, vec![numeric(-1005, 2), numeric(-10, 0), numeric(0, 3), numeric(1, 1), numeric(10, 2)]),
    ];
    for (ty, values) in groups {
        for a in &values {
            for b in &values {
                let (mut x, mut y) = (Vec::new(), Vec::new());
                Cell::from(a).encode(ty, &mut x);
                Cell::from(b).encode(ty, &mut y);
                assert_eq!(x.cmp(&y), compare::compare(a, b, ty.into()), "{a:?} {b:?}");
                let array = array_of(ty.into(), [a].into_iter()).unwrap();
                let mut stored = Vec::new();
                cell_at(&array, 0).encode(ty, &mut stored);
                assert_eq!(stored, x, "the stored value has the same key: {a:?}");
            }
        }
    }
}
