//! The general path: a bound query becomes a DataFusion plan and runs on the engine's own CPU runtime.
//!
//! Invariants:
//! 1. Results reach the session through a bounded channel: a slow client stops the scan, memory does not grow.
//! 2. An error that a client can cause leaves here with its SQLSTATE: [`crate::Error`] travels through DataFusion as an
//!    external error and is unwrapped, DataFusion's own conditions are mapped.
//! 3. DataFusion never sees a SQL name and coerces no types.

pub mod empty;
mod estimate;
pub mod explained;
mod fault;
mod in_order;
mod interrupt;
pub mod join_order;
mod lower;
mod narrow;
mod null_safe;
mod runtime;
mod scan;
mod series;
mod single;
#[cfg(test)]
mod tests;
mod unnest;
mod walk;
mod watched;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use tokio_util::sync::CancellationToken;

use crate::catalog::Oid;
use crate::engine::EngineConfig;
use crate::error::Result;
use crate::functions::EvalContext;
use crate::sql::bind::BoundQuery;
use crate::sql::rel::Rel;
use crate::system::RowSet;
use crate::types::Datum;

pub use explained::{Actual, PlanNode};
pub(crate) use lower::RanFirst;
pub use runtime::{Collected, ResultStream};

/// What is known of a column's values; `None` where unknown. Estimates for planning only.
#[derive(Debug, Clone, Default)]
pub struct ColumnStatistics {
    pub min: Option<Datum>,
    pub max: Option<Datum>,
    pub nulls: Option<usize>,
    pub distinct: Option<usize>,
}

/// What is known of a table as the scanning transaction sees it.
#[derive(Debug, Clone, Default)]
pub struct TableStatistics {
    pub rows: usize,
    /// In the order of the requested attribute numbers.
    pub columns: Vec<ColumnStatistics>,
}

/// A bound on one column: rows outside need not be returned (they may be).
#[derive(Debug, Clone)]
pub struct ColumnBound {
    pub attnum: i16,
    pub comparison: Comparison,
    pub value: Datum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

#[derive(Debug, Clone)]
pub struct ScanRequest {
    pub table: Oid,
    /// Columns to return, in this order; 0 stands for the row id (Int64).
    pub attnums: Vec<i16>,
    pub bounds: Vec<ColumnBound>,
    /// Upper bound for the number of streams.
    pub partitions: usize,
    pub batch_size: usize,
}

/// Batches of one scan partition. Called on the query runtime; must not block for long.
pub type ScanStream = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The rows that a statement sees: its snapshot overlaid with its transaction's own writes. Implemented over storage by
/// the transaction, over batches by tests.
pub trait TableAccess: Send + Sync {
    /// At most `request.partitions` streams that together yield every visible row once, columns in the Arrow types of
    /// `PgType::arrow`.
    fn scan(&self, request: &ScanRequest) -> Result<Vec<ScanStream>>;

    fn statistics(&self, table: Oid, attnums: &[i16]) -> TableStatistics;

    /// All rows of a relation of the system (pg_catalog, information_schema), all its columns in order.
    fn system_rows(&self, relation: Oid) -> Result<RecordBatch>;

    /// The same to be looked up in; without the figures of the moment, which [`Self::system_figure`] has.
    fn system_set(&self, _relation: Oid) -> Result<Option<Arc<RowSet>>> {
        Ok(None)
    }

    fn system_figure(&self, _relation: Oid, _rows: &RowSet, _row: usize, _attnum: i16) -> Option<Datum> {
        None
    }
}

/// All that one execution needs besides the query.
#[derive(Clone)]
pub struct QueryContext {
    pub tables: Arc<dyn TableAccess>,
    pub params: Arc<[Datum]>,
    pub eval: Arc<EvalContext>,
    /// Cancelled: the query ends with 57014.
    pub cancel: CancellationToken,
    /// statement_timeout, if there is one.
    pub deadline: Option<Instant>,
    /// Rows with equal keys are joined by hashing; else by merging sorted rows, where that can be done.
    pub hash_joins: bool,
    /// For EXPLAIN: what runs before a query has not, so that its values are not known.
    pub only_planned: bool,
}

/// What is remembered between executions of a query.
#[derive(Default)]
struct Known {
    unnested: OnceLock<Arc<Rel>>,
    walk: OnceLock<Option<Arc<walk::Taken>>>,
    /// Whether functions make rows of it, as many as they like.
    series: OnceLock<bool>,
}

fn known(query: &BoundQuery) -> Arc<Known> {
    let known = query.cache.get_or_init(|| Arc::new(Known::default())).clone();
    // Nothing else is kept there.
    known.downcast::<Known>().unwrap_or_default()
}

/// Rows of a table, and pairs of rows, up to which a query is not spread over threads: that costs more than it gains, and
/// shuffles the rows.
const SMALL_ROWS: usize = 16 * 1024;
const SMALL_PAIRS: usize = 1 << 20;

fn makes_rows(rel: &Rel) -> bool {
    matches!(rel, Rel::Series { calls, .. } if !calls.is_empty())
        || matches!(rel, Rel::Recursive { .. })
        || rel.inputs().into_iter().any(makes_rows)
}

/// Whether one thread is enough for a query.
fn is_small(query: &BoundQuery, context: &QueryContext) -> bool {
    let mut tables = query.reads.iter().filter(|oid| **oid >= Oid::FIRST_NORMAL).peekable();
    if tables.peek().is_none() || *known(query).series.get_or_init(|| makes_rows(&query.rel)) {
        return false;
    }
    let pairs = tables.try_fold(1usize, |pairs, table| {
        let rows = context.tables.statistics(*table, &[]).rows.max(1);
        let pairs = pairs.checked_mul(rows).filter(|_| rows <= SMALL_ROWS)?;
        (pairs <= SMALL_PAIRS).then_some(pairs)
    });
    pairs.is_some()
}

/// The query runtime: threads, memory and planner shared by all sessions.
pub struct QueryEngine {
    runtime: runtime::Runtime,
}

/// The plan as it runs: it can be stopped, and keeps rows in order where nothing else is asked.
fn runnable(plan: Arc<dyn ExecutionPlan>, stop: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    interrupt::interruptible(plan, stop).and_then(in_order::in_order).map_err(fault::from_datafusion)
}

impl QueryEngine {
    pub fn new(config: &EngineConfig) -> Result<QueryEngine> {
        Ok(QueryEngine { runtime: runtime::Runtime::new(config)? })
    }

    /// Memory of rows that are collected before a statement runs.
    pub fn collected(&self) -> Collected {
        self.runtime.collected()
    }

    /// Plans and starts `query`. Planning happens on the query runtime.
    pub async fn execute(&self, query: &BoundQuery, context: QueryContext) -> Result<ResultStream> {
        if let Some(rows) = self.walk(query, &context).await? {
            return Ok(rows);
        }
        let state = self.runtime.state(&context, is_small(query, &context));
        let plan = self.plan(query, &context, state.clone()).await?;
        let plan = runnable(plan, &context.cancel)?;
        self.runtime.start(plan, &state, context)
    }

    /// Runs a query over the system catalog row by row, if it is one for that.
    async fn walk(&self, query: &BoundQuery, context: &QueryContext) -> Result<Option<ResultStream>> {
        // OIDs of users' objects are above.
        if !query.reads.iter().all(|oid| *oid < Oid::FIRST_NORMAL) {
            return Ok(None);
        }
        let known = known(query);
        let Some(taken) = known.walk.get_or_init(|| walk::taken(query).map(Arc::new)).clone() else { return Ok(None) };
        let (context, cancel) = (context.clone(), context.cancel.clone());
        let rows = self.runtime.plan(async move { walk::run(&taken, &context) }).await?;
        Ok(rows.map(|batches| ResultStream::of(batches, cancel)))
    }

    /// The tree of EXPLAIN; with `analyze` the query runs, and its rows are dropped.
    pub async fn explain(
        &self,
        query: &BoundQuery,
        context: QueryContext,
        analyze: bool,
    ) -> Result<(PlanNode, Option<Duration>)> {
        let state = self.runtime.state(&context, is_small(query, &context));
        let plan = self.plan(query, &context, state.clone()).await?;
        if !analyze {
            return Ok((explained::tree(plan.as_ref(), false), None));
        }
        let plan = runnable(plan, &context.cancel)?;
        let started = Instant::now();
        let mut rows = 0;
        let mut stream = self.runtime.start(plan.clone(), &state, context)?;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        let time = started.elapsed();
        let mut root = explained::tree(plan.as_ref(), true);
        root.actual = Some(Actual { rows, time });
        Ok((root, Some(time)))
    }

    async fn plan(
        &self,
        query: &BoundQuery,
        context: &QueryContext,
        state: SessionState,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let known = known(query);
        let rel = match known.unnested.get() {
            Some(rel) => rel.clone(),
            None => {
                let rel =
                    Arc::new(unnest::Unnester::new(&query.rel, runtime::Stop::of(context)).rel(query.rel.clone())?);
                // Somebody else may have been faster: both trees say the same.
                known.unnested.get_or_init(|| rel).clone()
            }
        };
        let outputs = query.outputs.clone();
        let context = context.clone();
        let stopped = runtime::stopped(context.cancel.clone(), context.deadline);
        let (stop, _waiting) = runtime::Stop::with_waiting(&context);
        let work = self.runtime.plan(async move {
            let logical = lower::Lowering::new(&context, stop.clone()).query(&rel, &outputs)?;
            runtime::physical_plan(state, &logical, stop).await
        });
        tokio::select! {
            biased;
            plan = work => plan,
            error = stopped => Err(error),
        }
    }
}
