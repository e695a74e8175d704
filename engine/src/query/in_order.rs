//! Rows of several partitions one partition after another, where they would come as threads have them: a query without
//! ORDER BY gives the same rows in the same order each time, the branches of a UNION ALL as they are written.
//!
//! While one partition is read, the others work ahead by a few batches. Only where partitions do not wait for each
//! other: rows of a join or a filter that were spread over partitions would pile up in front of those that are not read.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::LimitStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties, execute_stream,
};
use futures::StreamExt;

/// Batches of a partition that are ready before it is its turn.
const AHEAD: usize = 4;

pub(super) const NAME: &str = "InOrderExec";

/// The plan, with partitions in their order where a LIMIT takes the first rows of them. Aggregates do not ask.
pub(super) fn in_order(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let ordered = plan.transform_down(|node| {
        if node.is::<AggregateExec>() {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        match node.downcast_ref::<CoalescePartitionsExec>() {
            Some(gather) if gather.fetch().is_some() && independent(gather.input()) => {
                let ordered: Arc<dyn ExecutionPlan> = Arc::new(InOrderExec {
                    input: gather.input().clone(),
                    fetch: gather.fetch(),
                    properties: gather.properties().clone(),
                    metrics: ExecutionPlanMetricsSet::new(),
                });
                Ok(Transformed::yes(ordered))
            }
            _ => Ok(Transformed::no(node)),
        }
    })?;
    Ok(ordered.data)
}

/// All rows of a plan, in the order of its partitions if they are independent.
pub(super) fn execute(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    match plan.output_partitioning().partition_count() > 1 && independent(&plan) {
        true => one_after_another(&plan, &context),
        false => execute_stream(plan, context),
    }
}

/// Whether a partition can be read to its end while nobody reads the others. What takes all its input before it gives
/// a row frees those below it.
fn independent(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<RepartitionExec>() {
        return false;
    }
    if plan.is::<AggregateExec>() || plan.is::<SortExec>() {
        return true;
    }
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => independent(join.right()),
        None => plan.children().into_iter().all(independent),
    }
}

fn one_after_another(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    let partitions = 0..plan.output_partitioning().partition_count();
    let begin = |partition| Ok(spawn_buffered(plan.execute(partition, context.clone())?, AHEAD));
    let streams = partitions.map(begin).collect::<Result<Vec<_>>>()?;
    let rows = futures::stream::iter(streams).flatten();
    Ok(Box::pin(RecordBatchStreamAdapter::new(plan.schema(), rows)))
}

/// Gathers partitions in their order.
#[derive(Debug, Clone)]
struct InOrderExec {
    input: Arc<dyn ExecutionPlan>,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for InOrderExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}: fetch={}", self.fetch.unwrap_or(usize::MAX))
    }
}

impl ExecutionPlan for InOrderExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
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
        Ok(Arc::new(InOrderExec { input, ..InOrderExec::clone(&self) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = one_after_another(&self.input, &context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        Ok(Box::pin(LimitStream::new(rows, 0, self.fetch, metrics)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
