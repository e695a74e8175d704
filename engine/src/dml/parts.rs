//! Statements of several parts: data-modifying queries in WITH beside the statement proper, and expressions with
//! subqueries that are computed while rows change.
//!
//! Invariants:
//! 1. All parts see the same snapshot: what they scan is taken before the first of them changes anything.
//! 2. Every data-modifying part runs once and to its end, before the statement answers: those whose rows the statement
//!    reads before it, the others after it.
//! 3. A row that one part changed is left alone by the others.
//! 4. When a row turns out to have changed since the snapshot, after a part has written, all parts are undone and run
//!    again on a newer one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::foreign_key::Pending;
use crate::catalog::{Oid, Relation};
use crate::dml;
use crate::error::{Error, Result, SqlState};
use crate::session::access::Kept;
use crate::session::cursor::batch_rows;
use crate::session::plan::Plan;
use crate::session::portal::{Changed, PortalState, RowSource, Tag};
use crate::session::{Column, Row, Rows, Session};
use crate::sql::RowQuery;
use crate::storage::{RowKey, ScanSource};
use crate::txn::Reads;
use crate::types::arrow::ColumnBuilder;
use crate::types::{Datum, PgType};

const RESTARTS_MAX: usize = 1000;

/// What the parts of the running statement share.
#[derive(Default)]
pub struct Shared {
    pub scans: HashMap<Oid, ScanSource>,
    /// Rows that parts returned, those of subqueries that run once, and the row at hand, by what their scans name.
    pub rows: HashMap<Oid, Kept>,
    /// Values of expressions that are the same for all rows, by what their scan of a row would name.
    values: HashMap<Oid, Datum>,
    written: HashSet<(Oid, RowKey)>,
    pending: Pending,
    restart: bool,
}

/// A data-modifying query of WITH.
pub struct Part {
    /// Where its rows are found.
    pub table: Oid,
    pub plan: Plan,
    /// Of what it returns.
    pub columns: Arc<[Column]>,
    /// Parts whose rows it reads.
    pub needs: Vec<usize>,
}

pub struct PartsPlan {
    pub parts: Vec<Part>,
    pub main: Plan,
    /// Parts whose rows the statement itself reads.
    pub needs: Vec<usize>,
    /// Tables that any of them reads.
    pub reads: Vec<Oid>,
}

/// The table that a plan changes.
pub fn changed_table(plan: &Plan) -> Option<Oid> {
    match plan {
        Plan::Insert(plan) => Some(plan.rules.def.oid),
        Plan::Update(plan) => Some(plan.rules.def.oid),
        Plan::Delete(plan) => Some(plan.def.oid),
        Plan::Merge(plan) => Some(plan.insert.rules.def.oid),
        _ => None,
    }
}

impl PartsPlan {
    pub fn tables(&self) -> impl Iterator<Item = Oid> + '_ {
        self.parts.iter().map(|p| &p.plan).chain([&self.main]).filter_map(changed_table)
    }

    /// The order in which parts run: those before the statement proper, and those after it.
    fn order(&self) -> (Vec<usize>, Vec<usize>) {
        fn visit(plan: &PartsPlan, part: usize, seen: &mut HashSet<usize>, out: &mut Vec<usize>) {
            if !seen.insert(part) {
                return;
            }
            if let Some(it) = plan.parts.get(part) {
                it.needs.iter().for_each(|need| visit(plan, *need, seen, out));
            }
            out.push(part);
        }
        let (mut seen, mut before, mut after) = (HashSet::new(), Vec::new(), Vec::new());
        self.needs.iter().for_each(|need| visit(self, *need, &mut seen, &mut before));
        // PostgreSQL runs what nobody asked for from the last one to the first.
        (0..self.parts.len()).rev().for_each(|part| visit(self, part, &mut seen, &mut after));
        (before, after)
    }
}

/// Runs a plan that changes rows.
async fn change(session: &mut Session, plan: &Plan, params: &Arc<[Datum]>) -> Result<Changed> {
    match plan {
        Plan::Insert(plan) => dml::insert::execute(session, plan, params).await,
        Plan::Update(plan) => dml::update::execute(session, plan, params).await,
        Plan::Delete(plan) => dml::delete::execute(session, plan, params).await,
        Plan::Merge(plan) => dml::merge::execute(session, plan, params).await,
        _ => Err(Error::internal("a part of a statement changes nothing")),
    }
}

fn shape(plan: &Plan) -> (Tag, bool) {
    match plan {
        Plan::Insert(plan) => (Tag::Insert, plan.returning.is_some()),
        Plan::Update(plan) => (Tag::Update, plan.returning.is_some()),
        Plan::Delete(plan) => (Tag::Delete, plan.returning.is_some()),
        Plan::Merge(_) => (Tag::Merge, false),
        _ => (Tag::Select, true),
    }
}

pub async fn execute(session: &mut Session, plan: &PartsPlan, params: &Arc<[Datum]>) -> Result<PortalState> {
    for _ in 0..RESTARTS_MAX {
        session.parts = None;
        session.begin_statement(Reads::Snapshot).await?;
        let savepoint = session.transaction()?.savepoint();
        session.parts = Some(Box::new(capture(session, &plan.reads)?));
        let ran = run(session, plan, params).await;
        let shared = session.parts.take().unwrap_or_default();
        match ran {
            Ok(state) => {
                session.transaction()?.release(savepoint);
                session.settle(shared.pending).await?;
                session.transaction()?.wait_for_dependencies().await?;
                return Ok(state);
            }
            Err(_) if shared.restart => {
                let transaction = session.transaction()?;
                transaction.rollback_to(savepoint);
                transaction.release(savepoint);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(SqlState::SerializationFailure, "could not lock rows because they kept changing"))
}

/// The tables as all parts are to see them.
fn capture(session: &mut Session, reads: &[Oid]) -> Result<Shared> {
    let catalog = session.catalog();
    let mut scans = HashMap::new();
    for oid in reads {
        if let Some(Relation::Table(_)) = catalog.relation(*oid) {
            let transaction = session.transaction()?;
            if let Some(table) = transaction.table(*oid) {
                scans.insert(*oid, transaction.scan(&table)?);
            }
        }
    }
    Ok(Shared { scans, ..Shared::default() })
}

async fn run(session: &mut Session, plan: &PartsPlan, params: &Arc<[Datum]>) -> Result<PortalState> {
    let (before, after) = plan.order();
    run_parts(session, plan, &before, params).await?;
    let (tag, returns) = shape(&plan.main);
    let state = match &plan.main {
        Plan::Query(query) => {
            let mut source = session.run_query(query, params).await?;
            let mut batches = std::collections::VecDeque::new();
            let mut tuples = Vec::new();
            while let Some(rows) = source.next(usize::MAX).await? {
                match rows {
                    Rows::Batch(batch) => batches.push_back(batch),
                    Rows::Tuples(rows) => tuples.extend(rows),
                }
            }
            let source = if tuples.is_empty() { RowSource::Batches(batches) } else { RowSource::tuples(tuples) };
            PortalState::Rows { source, tag }
        }
        main => Box::pin(change(session, main, params)).await?.state(tag, returns),
    };
    run_parts(session, plan, &after, params).await?;
    Ok(state)
}

async fn run_parts(session: &mut Session, plan: &PartsPlan, order: &[usize], params: &Arc<[Datum]>) -> Result<()> {
    for part in order.iter().filter_map(|i| plan.parts.get(*i)) {
        let changed = Box::pin(change(session, &part.plan, params)).await?;
        let types: Vec<PgType> = part.columns.iter().map(|c| c.ty).collect();
        let rows = session.keep(rows_batch(&types, &changed.returned)?)?;
        if let Some(shared) = &mut session.parts {
            shared.rows.insert(part.table, rows);
        }
    }
    Ok(())
}

/// Rows as a batch of columns of these types.
pub fn rows_batch(types: &[PgType], rows: &[Row]) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(types.len());
    let mut arrays = Vec::with_capacity(types.len());
    for (i, ty) in types.iter().enumerate() {
        let mut builder = ColumnBuilder::new(*ty, rows.len())?;
        for row in rows {
            builder.append(row.get(i).unwrap_or(&Datum::Null))?;
        }
        fields.push(Field::new(i.to_string(), ty.arrow(), true));
        arrays.push(builder.finish());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|e| Error::internal(format!("rows do not fit their columns: {e}")))
}

/// The value of an expression with subqueries over a row.
pub async fn row_value(session: &mut Session, query: &RowQuery, row: &[Datum], params: &[Datum]) -> Result<Datum> {
    if let Some(known) = session.parts.as_ref().and_then(|shared| shared.values.get(&query.table)) {
        return Ok(known.clone());
    }
    let types: Vec<PgType> = query.inputs.iter().map(|(_, ty)| *ty).collect();
    let values: Row = query.inputs.iter().map(|(slot, _)| row.get(*slot).cloned().unwrap_or(Datum::Null)).collect();
    let rows = rows_batch(&types, &[values])?;
    match &mut session.parts {
        Some(shared) => shared.rows.insert(query.table, Kept::few(rows)),
        None => return Err(Error::internal("a subquery over a row runs outside of its statement")),
    };
    let params: Arc<[Datum]> = params.into();
    let mut stream = session.execute_bound(&query.query, &params).await?;
    let mut value = Datum::Null;
    while let Some(batch) = stream.next().await.transpose()? {
        let rows = batch_rows(&batch, &query.query.columns)?;
        if let Some(found) = rows.into_iter().next().and_then(|r| r.into_iter().next()) {
            value = found;
        }
    }
    if let Some(shared) = session.parts.as_mut().filter(|_| query.once) {
        shared.values.insert(query.table, value.clone());
    }
    Ok(value)
}

impl Session {
    /// At the end of a statement that changed rows, or of a part of one: what is still to be looked at.
    pub(crate) async fn finish_change(&mut self, pending: Pending) -> Result<()> {
        match &mut self.parts {
            Some(shared) => {
                shared.pending.absorb(pending);
                Ok(())
            }
            None => self.settle(pending).await,
        }
    }

    /// A part of the statement changed a row.
    pub(crate) fn note_written(&mut self, table: Oid, key: &RowKey) {
        if let Some(shared) = &mut self.parts {
            shared.written.insert((table, key.clone()));
        }
    }

    /// Whether a part of the running statement changed the row.
    pub(crate) fn has_written(&self, table: Oid, key: &RowKey) -> bool {
        self.parts.as_ref().is_some_and(|shared| shared.written.contains(&(table, key.clone())))
    }

    /// Whether the running statement is one of parts, which see what the first of them saw.
    pub(crate) fn has_parts(&self) -> bool {
        self.parts.is_some()
    }

    /// Ends all parts of the statement, to begin again on a newer snapshot.
    pub(crate) fn restart_parts(&mut self) -> Error {
        if let Some(shared) = &mut self.parts {
            shared.restart = true;
        }
        Error::internal("the parts of a statement were not begun again")
    }
}
