//! What the clients do: transactions on a small table, at all levels, on whatever node they are connected to.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use engine::catalog::{
    CatalogChange, ColumnDef, ConstraintDef, ConstraintKind, IndexColumn, IndexDef, Object, Oid, TableDef,
};
use engine::storage::{RowKey, Table};
use engine::txn::{Isolation, Locked, Reads, RowLock, TableLock, Transaction, TransactionOptions, Transactions, Wait};
use engine::types::{Datum, PgType, TypeOid};
use engine::{Error, Result, SqlState};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::history::{CELLS, Kind, Outcome, Value, Write};
use super::world::{World, with};

pub const TABLE: u32 = 20000;
const KEY: u32 = 20001;
/// Cells whose rows come and go; the others are inserted once and then updated.
const FLEETING: usize = 5;
/// Bytes that make a record a large one for replication.
const LARGE: usize = 70 << 10;

thread_local! {
    /// The operation that is being polled.
    pub static OPERATION: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What one operation is going to do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kind: Kind,
    reads: Vec<usize>,
    writes: Vec<usize>,
    /// Think time before the commit.
    pause: Duration,
    filler: usize,
    lock_timeout: Duration,
}

impl Plan {
    pub fn choose(random: &mut StdRng) -> Self {
        let kind = match random.random_range(0..20) {
            0..7 => Kind::Serializable,
            7..9 => Kind::RepeatableRead,
            9..14 => Kind::ReadCommitted,
            14..18 => Kind::Read,
            _ => Kind::LocalRead,
        };
        let mut cells: Vec<usize> = (0..CELLS).collect();
        cells.shuffle(random);
        let read = random.random_range(1..5);
        let written = random.random_range(1..3);
        let writes = cells.iter().copied().skip(random.random_range(0..read)).take(written).collect();
        Self {
            kind,
            reads: cells[..read].to_vec(),
            writes,
            pause: match random.random_range(0..4) {
                0 => Duration::from_micros(random.random_range(0..30_000)),
                _ => Duration::ZERO,
            },
            filler: if random.random_range(0..100) == 0 { LARGE } else { random.random_range(0..80) },
            lock_timeout: Duration::from_millis(random.random_range(50..2000)),
        }
    }
}

pub fn key(table: &Table, cell: usize) -> Option<RowKey> {
    table.key(&[Datum::Int4(cell as i32)])
}

fn begin(shared: &Arc<Transactions>, isolation: Isolation, operation: usize, plan: &Plan) -> Box<Transaction> {
    let (process, lock_timeout) = (operation as i32 + 1, Some(plan.lock_timeout));
    let read_only = matches!(plan.kind, Kind::Read | Kind::LocalRead);
    Transaction::begin(shared, TransactionOptions { isolation, read_only, process, lock_timeout })
}

fn value(row: Option<&[Datum]>) -> Value {
    match row?.get(1)? {
        Datum::Int4(value) => Some(*value),
        _ => None,
    }
}

fn missing() -> Error {
    Error::new(SqlState::UndefinedTable, "relation \"cells\" does not exist")
}

/// Performs an operation and writes down what came of it.
pub async fn perform(shared: Arc<Transactions>, number: usize, plan: Plan) {
    let result = attempt(&shared, number, &plan).await;
    let outcome = match result {
        Ok(()) => Outcome::Committed,
        Err(error) if error.state() == SqlState::TransactionResolutionUnknown => Outcome::Unknown,
        Err(error) => Outcome::Refused(error.to_string()),
    };
    with(|world| finish(world, number, outcome));
}

fn finish(world: &mut World, number: usize, outcome: Outcome) {
    let counts = &mut world.history.counts;
    let operation = &mut world.history.operations[number];
    let reads = matches!(operation.kind, Kind::Read | Kind::LocalRead);
    match outcome {
        Outcome::Committed if reads => counts.reads += 1,
        Outcome::Committed => counts.acknowledged += 1,
        Outcome::Refused(_) => counts.refused += 1,
        Outcome::Unknown | Outcome::Open => counts.unknown += 1,
    }
    operation.answered = Some(world.now);
    operation.outcome = outcome.clone();
    world.trace(format_args!("answer {number} {outcome:?}"));
}

async fn attempt(shared: &Arc<Transactions>, number: usize, plan: &Plan) -> Result<()> {
    let isolation = match plan.kind {
        Kind::Serializable => Isolation::Serializable,
        Kind::RepeatableRead | Kind::Read | Kind::LocalRead => Isolation::RepeatableRead,
        Kind::ReadCommitted => Isolation::ReadCommitted,
    };
    let mut transaction = begin(shared, isolation, number, plan);
    if matches!(plan.kind, Kind::RepeatableRead | Kind::Serializable) && number.is_multiple_of(2) {
        // Its first statement changes rows: it has the table's lock before its snapshot.
        transaction.lock_table(Oid(TABLE), TableLock::RowExclusive, Wait::Block).await?;
    }
    match plan.kind {
        Kind::LocalRead => {}
        Kind::ReadCommitted => transaction.begin_statement(Reads::LockedRows).await?,
        _ => transaction.begin_statement(Reads::Snapshot).await?,
    }
    let table = transaction.table(Oid(TABLE)).ok_or_else(missing)?;
    let all: Vec<usize> = (0..CELLS).collect();
    let cells = match plan.kind {
        Kind::Read | Kind::LocalRead => &all,
        _ => &plan.reads,
    };
    let mut reads = Vec::new();
    if plan.kind != Kind::ReadCommitted {
        for cell in cells {
            let row = key(&table, *cell).and_then(|key| transaction.get(&table, &key, None));
            reads.push((*cell, value(row.as_deref())));
        }
    }
    with(|world| world.history.operations[number].reads = reads);
    if matches!(plan.kind, Kind::Read | Kind::LocalRead) {
        return transaction.commit().await;
    }
    let mut writes = Vec::new();
    for cell in &plan.writes {
        let before = change(&mut transaction, &table, *cell, number, plan).await?;
        let after = (*cell >= FLEETING || before.is_none()).then_some(number as i32);
        writes.push(Write { cell: *cell, before, after });
    }
    if !plan.pause.is_zero() {
        tokio::time::sleep(plan.pause).await;
    }
    with(|world| world.history.operations[number].writes = writes);
    let mut commit = Box::pin(transaction.commit());
    std::future::poll_fn(|cx| {
        OPERATION.set(Some(number));
        let polled = commit.as_mut().poll(cx);
        OPERATION.set(None);
        polled
    })
    .await
}

/// Inserts, updates or deletes the row of a cell; answers what was there.
async fn change(
    transaction: &mut Transaction,
    table: &Arc<Table>,
    cell: usize,
    number: usize,
    plan: &Plan,
) -> Result<Value> {
    let key = key(table, cell).ok_or_else(missing)?;
    let Locked::Held { latest, .. } = transaction.lock_row(table, &key, RowLock::Update, Wait::Block).await? else {
        return Err(Error::new(SqlState::LockNotAvailable, "a lock was skipped"));
    };
    let before = value(latest.as_deref());
    let text: String = std::iter::repeat_n('x', plan.filler).collect();
    let row = [Datum::Int4(cell as i32), Datum::Int4(number as i32), Datum::from(text.as_str())];
    let taken = || Error::new(SqlState::UniqueViolation, "duplicate key value violates unique constraint");
    match latest {
        None => transaction.insert(table, row.into_iter().collect()).await?.map(drop).map_err(|_| taken())?,
        Some(_) if cell < FLEETING => transaction.delete(table, &key).await?,
        Some(_) => transaction.update(table, &key, row.into_iter().collect()).await?.map(drop).map_err(|_| taken())?,
    }
    Ok(before)
}

/// Creates the table.
pub async fn create_table(shared: Arc<Transactions>) {
    let plan = Plan {
        kind: Kind::ReadCommitted,
        reads: Vec::new(),
        writes: Vec::new(),
        pause: Duration::ZERO,
        filler: 0,
        lock_timeout: Duration::from_secs(5),
    };
    let create = async {
        let mut transaction = begin(&shared, Isolation::ReadCommitted, 0, &plan);
        transaction.begin_statement(Reads::Snapshot).await?;
        if transaction.table(Oid(TABLE)).is_some() {
            return Ok(());
        }
        transaction.begin_ddl().await?;
        transaction.change_catalog(CatalogChange::Put(Object::Table(Arc::new(definition()))))?;
        transaction.commit().await
    };
    let result: Result<()> = create.await;
    with(|world| world.trace(format_args!("create table: {:?}", result.err().map(|error| error.to_string()))));
}

/// `create table cells (id int4 primary key, a int4, b text)`.
fn definition() -> TableDef {
    let column = |attnum: i16, name: &str, ty: TypeOid| ColumnDef {
        attnum,
        name: name.to_owned(),
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
    let index = IndexDef {
        unique: true,
        primary: true,
        ..IndexDef::new(Oid(KEY), "cells_pkey", Oid(TABLE), vec![IndexColumn::plain(1)])
    };
    let constraint = ConstraintDef {
        oid: Oid(KEY + 1),
        name: "cells_pkey".to_owned(),
        kind: ConstraintKind::PrimaryKey { index: Oid(KEY) },
        deferrable: false,
        initially_deferred: false,
        not_valid: false,
        comment: None,
    };
    TableDef {
        oid: Oid(TABLE),
        schema: Oid::PUBLIC,
        name: "cells".to_owned(),
        owner: Oid::SUPERUSER,
        storage: Oid(TABLE),
        columns: vec![column(1, "id", TypeOid::INT4), column(2, "a", TypeOid::INT4), column(3, "b", TypeOid::TEXT)],
        indexes: vec![Arc::new(index)],
        constraints: vec![Arc::new(constraint)],
        row_type: Oid(TABLE + 100),
        materialized: None,
        persistence: Default::default(),
        options: Vec::new(),
        comment: None,
        inheritance: Default::default(),
    }
}
