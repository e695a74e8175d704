//! DataFusion's rules that make equalities keys of joins, kept away from null-safe ones: a join treats NULL in all of its
//! keys alike, so that a plain equality among null-safe keys would find NULL equal to NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::{Join, JoinType, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// `rule`, or what stands for it.
pub(super) fn guarded(rule: Rule) -> Rule {
    match rule.name() {
        "extract_equijoin_predicate" => Arc::new(ExtractKeys(rule)),
        "eliminate_cross_join" => Arc::new(EliminateCrossJoin(rule)),
        _ => rule,
    }
}

fn is_null_safe(join: &Join) -> bool {
    join.null_equality == NullEquality::NullEqualsNull
}

/// Moves equalities of a join's condition to its keys.
#[derive(Debug)]
struct ExtractKeys(Rule);

impl OptimizerRule for ExtractKeys {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) if is_null_safe(join) => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// Joins relations by equalities wherever these stand. It merges nested joins, all with the NULLs of the topmost; above
/// null-safe joins that is left to [`super::join_order`], which does not merge those.
#[derive(Debug)]
struct EliminateCrossJoin(Rule);

impl OptimizerRule for EliminateCrossJoin {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !holds_null_safe(&plan)? {
            return self.0.rewrite(plan, config);
        }
        let below = |input| stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.rewrite(input, config));
        let rewritten = plan.map_children(below)?;
        match rewritten.transformed {
            true => rewritten.map_data(LogicalPlan::recompute_schema),
            false => Ok(rewritten),
        }
    }
}

/// Whether an inner join below, or `plan` itself, is null-safe.
fn holds_null_safe(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::Join(join) if join.join_type == JoinType::Inner && is_null_safe(join)))
    })
}
