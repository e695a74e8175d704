//! Stopping a plan where it makes many rows of few: after each batch of a scan, a join or a set-returning function, and
//! before each evaluation of a join's condition, the plan looks whether its query was given up.
//!
//! DataFusion's operators yield only where their inputs do, and a join or a series is ready with the next batch for
//! as long as it has rows: without a look here `SELECT count(*) FROM a, b` would keep its thread to the end, whoever
//! aborts its task.
//!
//! Invariant: the plan's rows are the same with and without.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::fault::to_datafusion;
use crate::error::{Error, SqlState};

/// Operators whose output may be long while they ask no input.
const AMPLIFIERS: [&str; 5] =
    ["NestedLoopJoinExec", "CrossJoinExec", "HashJoinExec", "PiecewiseMergeJoinExec", super::series::NAME];

/// The plan, ending with 57014 soon after `stop`.
pub(super) fn interruptible(plan: Arc<dyn ExecutionPlan>, stop: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = plan.transform_up(|node| {
        if !AMPLIFIERS.contains(&node.name()) && !node.children().is_empty() {
            return Ok(Transformed::no(node));
        }
        let input = with_watched_condition(node, stop)?;
        Ok(Transformed::yes(Arc::new(WatchedExec::new(input, stop.clone())) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(watched.data)
}

/// A join that finds no pair makes no batch: it is stopped where it looks for one.
fn with_watched_condition(node: Arc<dyn ExecutionPlan>, stop: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = |filter: &JoinFilter| {
        let inner = filter.expression().clone();
        let condition = Arc::new(WatchedExpr { inner, stop: stop.clone() });
        JoinFilter::new(condition, filter.column_indices().to_vec(), filter.schema().clone())
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let rebuilt = NestedLoopJoinExecBuilder::new(join.left().clone(), join.right().clone(), *join.join_type())
            .with_projection_ref(join.projection().clone())
            .with_filter(Some(watched(filter)))
            .build()?;
        return Ok(Arc::new(rebuilt));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(watched(filter))).build_exec();
    }
    Ok(node)
}

fn check(stop: &CancellationToken) -> Result<()> {
    match stop.is_cancelled() {
        false => Ok(()),
        true => Err(to_datafusion(Error::new(SqlState::QueryCanceled, "canceling statement due to user request"))),
    }
}

/// Passes its input on, batch by batch.
#[derive(Debug)]
struct WatchedExec {
    input: Arc<dyn ExecutionPlan>,
    stop: CancellationToken,
    properties: Arc<PlanProperties>,
}

impl WatchedExec {
    fn new(input: Arc<dyn ExecutionPlan>, stop: CancellationToken) -> WatchedExec {
        let properties = PlanProperties::clone(input.properties()).with_scheduling_type(SchedulingType::Cooperative);
        WatchedExec { input, stop, properties: Arc::new(properties) }
    }
}

impl DisplayAs for WatchedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interruptible")
    }
}

impl ExecutionPlan for WatchedExec {
    fn name(&self) -> &str {
        "WatchedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    #[allow(deprecated)] // The trait still requires it.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(WatchedExec::new(input, self.stop.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(make_cooperative(Box::pin(Watched { input, stop: self.stop.clone() })))
    }
}

struct Watched {
    input: SendableRecordBatchStream,
    stop: CancellationToken,
}

impl Stream for Watched {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match check(&self.stop) {
            Ok(()) => self.input.poll_next_unpin(cx),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl RecordBatchStream for Watched {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// A condition that fails once the query was given up.
#[derive(Debug)]
struct WatchedExpr {
    inner: Arc<dyn PhysicalExpr>,
    stop: CancellationToken,
}

impl PartialEq for WatchedExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for WatchedExpr {}

impl Hash for WatchedExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for WatchedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PhysicalExpr for WatchedExpr {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        check(&self.stop)?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(WatchedExpr { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
