//! The query runtime: its threads, its memory, DataFusion's configuration, and running plans.
//!
//! Queries run on threads of their own, so that a long one does not delay the sessions' sockets or the log.
//!
//! Invariants:
//! 1. A running query holds at most [`BATCHES_IN_FLIGHT`] finished batches; then it waits for its client.
//! 2. Dropping a [`ResultStream`], its cancellation and its deadline stop the query at the next batch boundary, also
//!    inside an operator that does not yield ([`super::interrupt`]).

use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::QueryContext;
use super::fault::from_datafusion;
use super::in_order;
use super::join_order::JoinOrder;
use super::null_safe;
use super::scan::Running;
use super::series::SeriesPlanner;
use super::watched::{PlannedUntil, Watched};
use crate::engine::EngineConfig;
use crate::error::{Error, Result, SqlState};
use crate::functions::lower::StatementContext;

/// Finished batches that wait for the client.
const BATCHES_IN_FLIGHT: usize = 2;
/// Rows of a batch: large enough to amortise a plan's steps, small enough for the caches.
const BATCH_ROWS: usize = 16 * 1024;
/// Joins whose build side is below both limits are not partitioned: one table for all threads.
const SHARED_BUILD_BYTES: usize = 64 << 20;
const SHARED_BUILD_ROWS: usize = 1 << 20;
/// Stack of a query thread: plans nest as deep as statements do.
const THREAD_STACK_BYTES: usize = 16 << 20;

/// Threads, memory and planner shared by all sessions.
pub(super) struct Runtime {
    /// Taken and shut down without waiting when the engine is dropped, which may happen on any thread.
    threads: Option<tokio::runtime::Runtime>,
    state: SessionState,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Memory that is given back when this is dropped.
pub struct Collected(MemoryReservation);

impl Collected {
    /// Errors: 53200 where the memory limit is reached.
    pub fn grow(&self, bytes: usize) -> Result<()> {
        self.0.try_grow(bytes).map_err(from_datafusion)
    }

    /// Errors: as [`Self::grow`].
    pub fn resize(&self, bytes: usize) -> Result<()> {
        self.0.try_resize(bytes).map_err(from_datafusion)
    }
}

impl Runtime {
    pub fn new(config: &EngineConfig) -> Result<Runtime> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.query_threads.max(1))
            .thread_name("query")
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|e| Error::new(SqlState::InsufficientResources, format!("could not start query threads: {e}")))?;
        let memory = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(config.memory_limit)))
            .with_disk_manager_builder(
                datafusion::execution::disk_manager::DiskManagerBuilder::default()
                    .with_mode(datafusion::execution::disk_manager::DiskManagerMode::Disabled),
            )
            .build_arc()
            .map_err(from_datafusion)?;
        let state = SessionStateBuilder::new()
            .with_config(session_config(config))
            .with_runtime_env(memory)
            .with_default_features()
            // The binder has settled every type: there is nothing to coerce.
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(optimizer_rules())
            .with_physical_optimizer_rules(physical_optimizer_rules())
            .with_query_planner(Arc::new(Planner))
            .build();
        Ok(Runtime { threads: Some(threads), state })
    }

    /// Memory of rows that are collected before a statement runs: growing it fails where the memory limit is reached.
    pub fn collected(&self) -> Collected {
        Collected(MemoryConsumer::new("collected rows").register(&self.state.runtime_env().memory_pool))
    }

    /// Planner and configuration for one statement; `small`: it runs on one thread.
    pub fn state(&self, context: &QueryContext, small: bool) -> SessionState {
        let mut state = self.state.clone();
        let config = state.config_mut();
        config.set_extension(Arc::new(Running(context.clone())));
        config.options_mut().extensions.insert(StatementContext(context.eval.clone()));
        config.options_mut().optimizer.prefer_hash_join = context.hash_joins;
        if small {
            config.options_mut().execution.target_partitions = 1;
        }
        // Physical expressions take their configuration from here, not from the state.
        state.mark_start_execution();
        state
    }

    /// Runs `work`, which plans, on a query thread.
    pub async fn plan<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let Some(threads) = &self.threads else { return Err(stopping()) };
        match threads.spawn(work).await {
            Ok(result) => result,
            Err(error) => Err(died(error)),
        }
    }

    /// Starts a physical plan.
    pub fn start(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        state: &SessionState,
        context: QueryContext,
    ) -> Result<ResultStream> {
        let Some(threads) = &self.threads else { return Err(stopping()) };
        let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
        let task = state.task_ctx();
        let cancel = context.cancel.clone();
        let running = threads.spawn(async move {
            let stopped = stopped(context.cancel.clone(), context.deadline);
            let result = tokio::select! {
                biased;
                error = stopped => Err(error),
                result = drive(plan, task, &sender) => result,
            };
            if let Err(error) = result {
                // Fails only when nobody listens any more.
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(ResultStream { batches, running: Some(running.abort_handle()), cancel })
    }
}

fn stopping() -> Error {
    Error::new(SqlState::AdminShutdown, "the query runtime has stopped")
}

fn died(error: tokio::task::JoinError) -> Error {
    match error.is_cancelled() {
        true => stopping(),
        false => Error::internal("a query thread panicked"),
    }
}

async fn drive(
    plan: Arc<dyn ExecutionPlan>,
    task: Arc<datafusion::execution::TaskContext>,
    sender: &mpsc::Sender<Result<RecordBatch>>,
) -> Result<()> {
    let mut stream = in_order::execute(plan, task).map_err(from_datafusion)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(from_datafusion)?;
        if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn canceled() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to user request")
}

fn timed_out() -> Error {
    Error::new(SqlState::QueryCanceled, "canceling statement due to statement timeout")
}

/// What work that yields to nobody asks again and again.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    cancel: CancellationToken,
    deadline: Option<Instant>,
}

impl Stop {
    pub fn of(context: &QueryContext) -> Stop {
        Stop { cancel: context.cancel.clone(), deadline: context.deadline }
    }

    /// The same, and when the guard goes: what waits for the work may itself be dropped.
    pub fn with_waiting(context: &QueryContext) -> (Stop, DropGuard) {
        let cancel = context.cancel.child_token();
        (Stop { cancel: cancel.clone(), deadline: context.deadline }, cancel.drop_guard())
    }

    pub fn check(&self) -> Result<()> {
        match self.deadline {
            _ if self.cancel.is_cancelled() => Err(canceled()),
            Some(deadline) if Instant::now() >= deadline => Err(timed_out()),
            _ => Ok(()),
        }
    }
}

/// Resolves with the reason when the query has to stop.
pub(super) async fn stopped(cancel: CancellationToken, deadline: Option<Instant>) -> Error {
    let timeout = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = cancel.cancelled() => canceled(),
        _ = timeout => timed_out(),
    }
}

fn session_config(config: &EngineConfig) -> SessionConfig {
    let mut session = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(config.query_threads.max(1))
        .with_information_schema(false);
    let options = session.options_mut();
    // Build sides are chosen by `JoinOrder`, which sees more than a join's two inputs.
    options.optimizer.join_reordering = false;
    // Spreading the rows of one partition would shuffle those of small tables and recursive queries.
    options.optimizer.enable_round_robin_repartition = false;
    options.optimizer.prefer_hash_join = true;
    options.optimizer.hash_join_single_partition_threshold = SHARED_BUILD_BYTES;
    options.optimizer.hash_join_single_partition_threshold_rows = SHARED_BUILD_ROWS;
    // A join drops NULL keys by itself; a filter below it would copy every row, mostly to find none.
    options.optimizer.filter_null_join_keys = false;
    // Before it was made physical an expression may be known never to be NULL, and after that not any more.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.explain.physical_plan_only = true;
    session
}

/// DataFusion's rules, with the joins put in order once filters have reached the scans.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<_> = Optimizer::new().rules.into_iter().map(null_safe::guarded).collect();
    let pushed = rules.iter().position(|rule| rule.name() == "push_down_filter").map_or(rules.len(), |i| i + 1);
    rules.insert(pushed, Arc::new(JoinOrder));
    rules.into_iter().map(|rule| Arc::new(Watched(rule)) as _).collect()
}

/// DataFusion's rules without the one that answers aggregates from statistics: it counts one value where a filter asks
/// for one, also if no row has it.
fn physical_optimizer_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let rules = PhysicalOptimizer::new().rules.into_iter();
    rules.filter(|rule| rule.name() != "aggregate_statistics").map(|rule| Arc::new(Watched(rule)) as _).collect()
}

/// Plans our own nodes beside DataFusion's.
#[derive(Debug)]
struct Planner;

#[async_trait::async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SeriesPlanner)])
            .create_physical_plan(plan, session)
            .await
    }
}

/// Optimises a logical plan and chooses its operators; ends early when `stop` says so.
pub(super) async fn physical_plan(
    mut state: SessionState,
    plan: &LogicalPlan,
    stop: Stop,
) -> Result<Arc<dyn ExecutionPlan>> {
    state.config_mut().options_mut().extensions.insert(PlannedUntil(stop));
    let optimized = state.optimize(plan).map_err(from_datafusion)?;
    if !state.config_options().optimizer.prefer_hash_join && !can_merge(&optimized) {
        state.config_mut().options_mut().optimizer.prefer_hash_join = true;
    }
    state.query_planner().create_physical_plan(&optimized, &state).await.map_err(from_datafusion)
}

/// Whether DataFusion's merge join compares the keys of all joins as `=` does.
fn can_merge(plan: &LogicalPlan) -> bool {
    let sorts = |ty: DataType| {
        matches!(
            ty,
            DataType::Boolean
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt32
                | DataType::Utf8
                | DataType::Binary
                | DataType::FixedSizeBinary(_)
                | DataType::Decimal128(..)
                | DataType::Date32
        )
    };
    let mut all = true;
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            let type_of = |expr: &Expr, schema: &DFSchema| expr.get_type(schema).is_ok_and(sorts);
            all &= join.on.iter().all(|(l, r)| type_of(l, join.left.schema()) && type_of(r, join.right.schema()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    all && visited.is_ok()
}

/// A running query. Dropping it stops the query.
pub struct ResultStream {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    /// `None`: all batches are there.
    running: Option<AbortHandle>,
    cancel: CancellationToken,
}

impl Drop for ResultStream {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl ResultStream {
    /// A result that is complete.
    pub(super) fn of(found: Vec<RecordBatch>, cancel: CancellationToken) -> ResultStream {
        let (sender, batches) = mpsc::channel(found.len().max(1));
        for batch in found {
            // There is room for all, and the receiver is here.
            let _ = sender.try_send(Ok(batch));
        }
        ResultStream { batches, running: None, cancel }
    }

    /// The next batch (columns as in `BoundQuery::columns`), `None` at the end. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.batches.recv().await
    }

    /// All the rest.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        while let Some(batch) = self.next().await {
            out.push(batch?);
        }
        Ok(out)
    }
}
