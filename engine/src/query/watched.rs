//! Planning that ends when its statement is given up: every rule of the optimizers looks before it runs, those that go
//! node by node at each node.
//!
//! A plan is made without a pause, so that nothing else could end it: neither a cancellation, nor the statement's
//! deadline, nor that its client has left.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::fault::to_datafusion;
use super::runtime::Stop;
use crate::configuration::in_configuration;

/// When to give up, in the configuration of one statement's planning.
#[derive(Debug, Clone)]
pub(super) struct PlannedUntil(pub Stop);

impl PlannedUntil {
    fn check(options: &ConfigOptions) -> Result<()> {
        match options.extensions.get::<PlannedUntil>() {
            Some(until) => until.0.check().map_err(to_datafusion),
            None => Ok(()),
        }
    }
}

in_configuration!(PlannedUntil, "lockstep_planned_until");

/// A rule that looks first. `R` is a rule of the logical or of the physical optimizer.
pub(super) struct Watched<R: ?Sized>(pub Arc<R>);

impl<R: fmt::Debug + ?Sized> fmt::Debug for Watched<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl OptimizerRule for Watched<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        PlannedUntil::check(&config.options())?;
        self.0.rewrite(plan, config)
    }
}

impl PhysicalOptimizerRule for Watched<dyn PhysicalOptimizerRule + Send + Sync> {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        PlannedUntil::check(config)?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        PlannedUntil::check(context.config_options())?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
