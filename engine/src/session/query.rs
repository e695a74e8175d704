//! SELECT: the point path where it is enough, DataFusion for all else, and row locks (FOR UPDATE, FOR SHARE).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::Session;
use super::access::StatementTables;
use super::plan::QueryPlan;
use super::portal::RowSource;
use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::expr_eval::{NoColumns, eval};
use crate::query::{QueryContext, ResultStream};
use crate::sql::{BoundQuery, LockStrength};
use crate::storage::RowId;
use crate::txn::{Locked, Reads, RowLock, Wait};
use crate::types::Datum;

/// How often a statement starts over because rows changed under it before the client is told.
const RESTARTS_MAX: usize = 1000;

impl Session {
    pub(super) async fn run_query(&mut self, plan: &QueryPlan, params: &Arc<[Datum]>) -> Result<RowSource> {
        if let Some(point) = &plan.point
            && let Some(rows) = crate::point::select(self, point, params).await?
        {
            return Ok(rows);
        }
        if !plan.bound.locks.is_empty() {
            self.check_writable(lock_command(plan))?;
            return self.run_locking(plan, params).await;
        }
        self.begin_statement(Reads::Snapshot).await?;
        let stream = self.execute_bound(&plan.bound, params).await?;
        Ok(RowSource::Stream { stream, pending: None })
    }

    /// Starts a statement in the transaction.
    pub(crate) async fn begin_statement(&mut self, reads: Reads) -> Result<()> {
        self.transaction()?.begin_statement(reads).await?;
        self.block.queried = true;
        Ok(())
    }

    /// Runs a bound query on the general path, over the statement's snapshot.
    pub(crate) async fn execute_bound(&mut self, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<ResultStream> {
        let context = self.query_context(bound, params).await?;
        self.engine.clone().query().execute(bound, context).await
    }

    pub(crate) async fn query_context(&mut self, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<QueryContext> {
        let catalog = self.catalog();
        let mut tables = HashMap::new();
        let mut system = None;
        for oid in &bound.reads {
            match catalog.relation(*oid) {
                Some(Relation::Table(_)) => {
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
            tables: Arc::new(StatementTables { tables, system }),
            params: params.clone(),
            eval: self.eval_context(),
            cancel: CancellationToken::new(),
            deadline: None,
        })
    }

    /// FOR UPDATE and FOR SHARE: finds the rows, locks them, and starts over on a newer snapshot when one of them
    /// changed in between. Locks are kept, so each round finds fewer changes.
    async fn run_locking(&mut self, plan: &QueryPlan, params: &Arc<[Datum]>) -> Result<RowSource> {
        let (limit, offset) = self.locked_limit(plan, params)?;
        for _ in 0..RESTARTS_MAX {
            self.begin_statement(Reads::Snapshot).await?;
            let mut stream = self.execute_bound(&plan.bound, params).await?;
            let mut kept = Vec::new();
            let (mut skip, mut room, mut changed) = (offset, limit, false);
            while room > 0 && !changed {
                let Some(batch) = stream.next().await.transpose()? else { break };
                let batch = self.lock_batch(&plan.bound, batch, &mut skip, &mut room, &mut changed).await?;
                kept.push(batch);
            }
            drop(stream);
            if !changed {
                self.transaction()?.wait_for_dependencies().await?;
                return Ok(RowSource::Batches(kept.into_iter().filter(|b| b.num_rows() > 0).collect()));
            }
        }
        Err(Error::new(SqlState::SerializationFailure, "could not lock rows because they kept changing"))
    }

    fn locked_limit(&mut self, plan: &QueryPlan, params: &[Datum]) -> Result<(usize, usize)> {
        let Some(limits) = &plan.locked_limit else { return Ok((usize::MAX, 0)) };
        let context = self.eval_context();
        let value = |expr: &Option<crate::expr::ScalarExpr>, state, what: &str| match expr {
            None => Ok(None),
            Some(expr) => count(eval(expr, &NoColumns, params, &context)?, state, what),
        };
        let limit = value(&limits.limit, SqlState::InvalidRowCountInLimitClause, "LIMIT")?;
        let offset = value(&limits.offset, SqlState::InvalidRowCountInOffsetClause, "OFFSET")?;
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
                let transaction = self.transaction()?;
                let Some(table) = transaction.table(request.table) else { continue };
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

fn lock_command(plan: &QueryPlan) -> &'static str {
    match plan.bound.locks.iter().map(|l| l.strength).max() {
        Some(LockStrength::KeyShare) => "SELECT FOR KEY SHARE",
        Some(LockStrength::Share) => "SELECT FOR SHARE",
        Some(LockStrength::NoKeyUpdate) => "SELECT FOR NO KEY UPDATE",
        _ => "SELECT FOR UPDATE",
    }
}
