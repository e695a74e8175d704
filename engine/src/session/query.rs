//! SELECT: the point path where it is enough, DataFusion for all else, and row locks (FOR UPDATE, FOR SHARE).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array, new_empty_array};
use arrow::compute::{concat, take_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use tokio_util::sync::CancellationToken;

use super::Session;
use super::access::{Kept, StatementTables};
use super::plan::{LockedLimit, QueryPlan};
use super::portal::RowSource;
use crate::catalog::{Catalog, Oid, Relation};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::expr_eval::eval;
use crate::query::{Collected, QueryContext, RanFirst, ResultStream};
use crate::sql::bind::LockedSubquery;
use crate::sql::{BoundQuery, LockStrength};
use crate::storage::RowId;
use crate::system;
use crate::txn::{Locked, Reads, RowLock, Wait};
use crate::types::arrow::datum_at;
use crate::types::{Datum, TypeOid};

/// Locking starts over on a newer snapshot, which would run the function again.
pub(crate) const CHANGES_AND_LOCKS: &str = "a SQL function that changes rows in a query that locks rows";

/// Rows of subqueries that have run, by what their scans name.
type Known = HashMap<Oid, Kept>;

/// How often a statement starts over because rows changed under it before the client is told.
const RESTARTS_MAX: usize = 1000;

impl Session {
    pub(crate) async fn run_query(&mut self, plan: &QueryPlan, params: &Arc<[Datum]>) -> Result<RowSource> {
        if let Some(point) = &plan.point
            && !self.has_parts()
            && let Some(rows) = crate::point::select(self, point, params).await?
        {
            return Ok(rows);
        }
        if !plan.bound.locks.is_empty() {
            self.check_writable(lock_command(&plan.bound))?;
            if !plan.bound.runs.is_empty() {
                return Err(Error::unsupported(CHANGES_AND_LOCKS));
            }
            self.begin_statement(Reads::Snapshot).await?;
            let (before, limits) = match &plan.locked_limit {
                None => (&[][..], [None, None]),
                Some(LockedLimit { limit, offset, before }) => (&before[..], [limit.as_ref(), offset.as_ref()]),
            };
            let known = Box::pin(self.subqueries_first(before, Known::new(), params)).await?;
            let known = Box::pin(self.subqueries_first(&plan.bound.locked, known, params)).await?;
            let limits = self.limits(limits, &known, params)?;
            let batches = Box::pin(self.lock_rows(&plan.bound, limits, &known, params)).await?;
            return Ok(RowSource::Batches(batches.into()));
        }
        if plan.sets_sequences {
            return Box::pin(self.run_and_set_sequences(&plan.bound, params)).await;
        }
        if monitors_alone(&plan.bound.reads) {
            self.transaction()?.skip_barrier();
        }
        self.begin_statement(Reads::Snapshot).await?;
        let stream = self.execute_bound(&plan.bound, params).await?;
        Ok(RowSource::Stream { stream, pending: None })
    }

    /// A query that calls `setval`: it runs to its end, then the sequences are set in the order of the calls.
    async fn run_and_set_sequences(&mut self, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<RowSource> {
        self.begin_statement(Reads::Snapshot).await?;
        self.sequences.lock().begin_sets();
        let rows = self.all_batches(bound, &Known::new(), params, 1).await;
        let to_set = self.sequences.lock().end_sets();
        let (batches, _) = rows?;
        for (sequence, value, called) in to_set {
            self.setval(&sequence, value, called).await?;
        }
        Ok(RowSource::Batches(batches.into()))
    }

    /// All rows of a query, each counted so many times against the memory limit.
    async fn all_batches(
        &mut self,
        query: &BoundQuery,
        known: &Known,
        params: &Arc<[Datum]>,
        times: usize,
    ) -> Result<(Vec<RecordBatch>, Collected)> {
        let mut stream = self.execute_over(query, known, params).await?;
        let collected = self.engine.query().collected();
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await.transpose()? {
            tokio::task::yield_now().await;
            collected.grow(times * batch.get_array_memory_size())?;
            batches.push(batch);
        }
        Ok((batches, collected))
    }

    /// Starts a statement in the transaction.
    pub(crate) async fn begin_statement(&mut self, reads: Reads) -> Result<()> {
        if self.has_parts() {
            return Ok(());
        }
        self.transaction()?.begin_statement(reads).await?;
        self.block.queried = true;
        Ok(())
    }

    /// Runs a bound query on the general path, over the statement's snapshot.
    pub(crate) async fn execute_bound(&mut self, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<ResultStream> {
        // Boxed, like all that short statements seldom come to: it would make every statement's future larger.
        Box::pin(self.execute_over(bound, &Known::new(), params)).await
    }

    /// [`Self::execute_bound`], where some of the subqueries have run already.
    async fn execute_over(&mut self, bound: &BoundQuery, known: &Known, params: &Arc<[Datum]>) -> Result<ResultStream> {
        let context = Box::pin(self.query_context_knowing(bound, known.clone(), params)).await?;
        let engine = self.engine.clone();
        Box::pin(engine.query().execute(bound, context)).await
    }

    pub(crate) async fn query_context(&mut self, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<QueryContext> {
        self.query_context_knowing(bound, Known::new(), params).await
    }

    async fn query_context_knowing(
        &mut self,
        bound: &BoundQuery,
        known: Known,
        params: &Arc<[Datum]>,
    ) -> Result<QueryContext> {
        let catalog = self.catalog();
        bound.reads.iter().filter_map(|oid| catalog.tables.get(oid)).try_for_each(|t| t.check_populated())?;
        let mut known = self.subqueries_first(&bound.locked, known, params).await?;
        for run in &bound.runs {
            let rows = crate::dml::call::run_function(self, run, params).await?;
            known.insert(run.table, self.keep(rows)?);
        }
        self.query_context_over(bound, params, known).await
    }

    /// Counts rows that are held against the memory limit.
    pub(crate) fn keep(&self, rows: RecordBatch) -> Result<Kept> {
        Kept::counted(rows, self.engine.query().collected())
    }

    /// For EXPLAIN, which locks nothing: the subqueries that would lock rows return none.
    pub(super) async fn query_context_unlocked(
        &mut self,
        bound: &BoundQuery,
        params: &Arc<[Datum]>,
    ) -> Result<QueryContext> {
        let none = bound.locked.iter().map(|l| Ok((l.table, Kept::few(one_batch(&l.query, &[])?))));
        let mut none = none.collect::<Result<Known>>()?;
        for run in &bound.runs {
            none.insert(run.table, Kept::few(crate::dml::parts::rows_batch(&run.columns, &[])?));
        }
        let context = self.query_context_over(bound, params, none).await?;
        Ok(QueryContext { only_planned: true, ..context })
    }

    async fn query_context_over(
        &mut self,
        bound: &BoundQuery,
        params: &Arc<[Datum]>,
        mut locked: Known,
    ) -> Result<QueryContext> {
        if let Some(shared) = &self.parts {
            locked.extend(shared.rows.iter().map(|(oid, rows)| (*oid, rows.clone())));
        }
        let catalog = self.catalog();
        // Most statements have locked what they read before they were planned for good; cursors, EXPLAIN and the like
        // come here as they were planned.
        for oid in &bound.reads {
            let known = catalog.tables.contains_key(oid);
            if known && self.transaction()?.lock_for_read(*oid).await? && !Arc::ptr_eq(&catalog, &self.catalog()) {
                return Err(outdated(&catalog, *oid));
            }
        }
        let mut tables = HashMap::new();
        let mut system = None;
        for oid in &bound.reads {
            match catalog.relation(*oid) {
                Some(Relation::Table(_)) => {
                    if let Some(shared) = &self.parts
                        && let Some(scan) = shared.scans.get(oid)
                    {
                        tables.insert(*oid, scan.clone());
                        continue;
                    }
                    let transaction = self.transaction()?;
                    if let Some(table) = transaction.table(*oid) {
                        tables.insert(*oid, transaction.scan(&table)?);
                    }
                }
                Some(Relation::System(_)) if system.is_none() => {
                    system = Some(self.system_context(&catalog, &bound.reads).await);
                }
                _ => {}
            }
        }
        Ok(QueryContext {
            tables: Arc::new(StatementTables { tables, system, locked }),
            params: params.clone(),
            eval: self.eval_context(),
            cancel: CancellationToken::new(),
            deadline: None,
            hash_joins: self.settings.values().methods.hashes_joins(),
            only_planned: false,
        })
    }

    /// Rows of subqueries that run before what they stand in, with those that are known. What several parts of a statement
    /// name runs once for all of them.
    async fn subqueries_first(
        &mut self,
        subqueries: &[Arc<LockedSubquery>],
        mut known: Known,
        params: &Arc<[Datum]>,
    ) -> Result<Known> {
        for subquery in subqueries {
            if known.contains_key(&subquery.table) {
                continue;
            }
            let shared = self.parts.as_ref().and_then(|shared| shared.rows.get(&subquery.table).cloned());
            let rows = match shared {
                Some(rows) => rows,
                None => Box::pin(self.run_first(subquery, &known, params)).await?,
            };
            if let Some(shared) = &mut self.parts {
                shared.rows.insert(subquery.table, rows.clone());
            }
            known.insert(subquery.table, rows);
        }
        Ok(known)
    }

    /// All rows of a subquery; `known`: those of the ones before it.
    async fn run_first(&mut self, subquery: &LockedSubquery, known: &Known, params: &Arc<[Datum]>) -> Result<Kept> {
        let query = &subquery.query;
        if !query.locks.is_empty() {
            self.check_writable(lock_command(query))?;
            let limits = self.limits([subquery.limit.as_ref(), subquery.offset.as_ref()], known, params)?;
            let batches = self.lock_rows(query, limits, known, params).await?;
            return self.keep(one_batch(query, &batches)?);
        }
        // Once in pieces and once as a whole.
        let (batches, collected) = self.all_batches(query, known, params, 2).await?;
        Kept::counted(one_batch(query, &batches)?, collected)
    }

    /// FOR UPDATE and FOR SHARE: finds the rows, locks them, and starts over on a newer snapshot when one of them
    /// changed in between. Locks are kept, so each round finds fewer changes.
    async fn lock_rows(
        &mut self,
        bound: &BoundQuery,
        (limit, offset): (usize, usize),
        known: &Known,
        params: &Arc<[Datum]>,
    ) -> Result<Vec<RecordBatch>> {
        for _ in 0..RESTARTS_MAX {
            self.begin_statement(Reads::Snapshot).await?;
            let mut stream = self.execute_over(bound, known, params).await?;
            let mut kept = Vec::new();
            let (mut skip, mut room, mut changed) = (offset, limit, false);
            while room > 0 && !changed {
                let Some(batch) = stream.next().await.transpose()? else { break };
                tokio::task::yield_now().await;
                let batch = self.lock_batch(bound, batch, &mut skip, &mut room, &mut changed).await?;
                kept.push(batch);
            }
            drop(stream);
            if !changed {
                self.transaction()?.wait_for_dependencies().await?;
                kept.retain(|batch| batch.num_rows() > 0);
                return Ok(kept);
            }
            if self.has_parts() {
                return Err(self.restart_parts());
            }
        }
        Err(Error::new(SqlState::SerializationFailure, "could not lock rows because they kept changing"))
    }

    /// Rows to return and rows to skip before; `known`: those of the subqueries that have run.
    fn limits(
        &mut self,
        [limit, offset]: [Option<&ScalarExpr>; 2],
        known: &Known,
        params: &[Datum],
    ) -> Result<(usize, usize)> {
        let context = self.eval_context();
        let ran = RanFirst(|table| {
            let rows = known.get(&table).map(|kept| kept.rows().clone());
            rows.ok_or_else(|| Error::internal("a subquery of LIMIT has not run"))
        });
        let value = |expr: Option<&ScalarExpr>, state, what: &str| match expr {
            None => Ok(None),
            Some(expr) => count(eval(expr, &ran, params, &context)?, state, what),
        };
        let limit = value(limit, SqlState::InvalidRowCountInLimitClause, "LIMIT")?;
        let offset = value(offset, SqlState::InvalidRowCountInOffsetClause, "OFFSET")?;
        Ok((limit.unwrap_or(usize::MAX), offset.unwrap_or(0)))
    }

    /// Locks the rows behind a batch; what remains are the rows that were locked, without the row ids.
    async fn lock_batch(
        &mut self,
        bound: &BoundQuery,
        batch: RecordBatch,
        skip: &mut usize,
        room: &mut usize,
        changed: &mut bool,
    ) -> Result<RecordBatch> {
        let mut kept: Vec<u64> = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            if *room == 0 || *changed {
                break;
            }
            let mut locked = true;
            for request in &bound.locks {
                let ids = batch.columns().get(request.row_id).and_then(|c| c.as_primitive_opt::<Int64Type>());
                let ids = ids.ok_or_else(|| Error::internal("a locking query lacks its row ids"))?;
                // The null-extended side of an outer join has no row to lock.
                if ids.is_null(row) {
                    continue;
                }
                let id = RowId(ids.value(row) as u64);
                let wait = match (request.nowait, request.skip_locked) {
                    (true, _) => Wait::NoWait,
                    (_, true) => Wait::SkipLocked,
                    _ => Wait::Block,
                };
                let oid = match request.row_table {
                    None => request.table,
                    Some(at) => {
                        let tables = batch.columns().get(at);
                        match tables.map(|tables| datum_at(tables, row, TypeOid::OID.into())).transpose()? {
                            Some(Datum::Oid(oid)) => Oid(oid),
                            _ => return Err(Error::internal("a row to be locked does not say which table it is of")),
                        }
                    }
                };
                let transaction = self.transaction()?;
                let Some(table) = transaction.table(oid) else { continue };
                let Some(image) = transaction.fetch(&table, id) else {
                    *changed = true;
                    break;
                };
                match transaction.lock_row(&table, &image.key, lock_mode(request.strength), wait).await? {
                    Locked::Skipped => locked = false,
                    Locked::Held { changed: true, .. } if request.skip_locked => *changed = true,
                    Locked::Held { changed: now, .. } => *changed |= now,
                }
            }
            if !locked || *changed {
                continue;
            }
            if *skip > 0 {
                *skip -= 1;
                continue;
            }
            kept.push(row as u64);
            *room -= 1;
        }
        let columns: Vec<usize> = (0..bound.columns.len()).collect();
        let visible = batch.project(&columns).map_err(|e| Error::internal(e.to_string()))?;
        if kept.len() == visible.num_rows() {
            return Ok(visible);
        }
        take_record_batch(&visible, &UInt64Array::from(kept)).map_err(|e| Error::internal(e.to_string()))
    }
}

fn monitors_alone(reads: &[Oid]) -> bool {
    let monitors = |oid: &Oid| system::by_oid(*oid).is_some_and(|relation| system::monitors(relation.name));
    !reads.is_empty() && reads.iter().all(monitors)
}

/// A table was changed by a transaction that the statement, planned already, had to wait for.
fn outdated(catalog: &Catalog, table: Oid) -> Error {
    let name = catalog.tables.get(&table).map_or("", |t| &t.name);
    let message = format!("could not serialize access due to a concurrent change of table \"{name}\"");
    Error::new(SqlState::SerializationFailure, message).hint("The transaction might succeed if retried.")
}

/// A row count of LIMIT or OFFSET; NULL is none.
pub(crate) fn count(value: Datum, state: SqlState, what: &str) -> Result<Option<usize>> {
    let n = match value {
        Datum::Null => return Ok(None),
        Datum::Int8(n) => n,
        Datum::Int4(n) => n.into(),
        Datum::Int2(n) => n.into(),
        _ => return Err(Error::internal(format!("{what} is not a number"))),
    };
    usize::try_from(n).map(Some).map_err(|_| Error::new(state, format!("{what} must not be negative")))
}

pub(crate) fn lock_mode(strength: LockStrength) -> RowLock {
    match strength {
        LockStrength::KeyShare => RowLock::KeyShare,
        LockStrength::Share => RowLock::Share,
        LockStrength::NoKeyUpdate => RowLock::NoKeyUpdate,
        LockStrength::Update => RowLock::Update,
    }
}

fn lock_command(bound: &BoundQuery) -> &'static str {
    match bound.locks.iter().map(|l| l.strength).max() {
        Some(LockStrength::KeyShare) => "SELECT FOR KEY SHARE",
        Some(LockStrength::Share) => "SELECT FOR SHARE",
        Some(LockStrength::NoKeyUpdate) => "SELECT FOR NO KEY UPDATE",
        _ => "SELECT FOR UPDATE",
    }
}

/// The rows of a query as one batch, each column in the layout of its type.
fn one_batch(query: &BoundQuery, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(query.columns.len());
    let mut arrays = Vec::with_capacity(query.columns.len());
    for (i, column) in query.columns.iter().enumerate() {
        let parts: Vec<ArrayRef> =
            batches.iter().map(|b| crate::dml::insert::in_layout(b.column(i), column.ty)).collect::<Result<_>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        arrays.push(match parts.is_empty() {
            true => new_empty_array(&column.ty.arrow()),
            false => concat(&parts).map_err(|e| Error::internal(e.to_string()))?,
        });
        fields.push(Field::new(i.to_string(), column.ty.arrow(), true));
    }
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|e| Error::internal(e.to_string()))
}
