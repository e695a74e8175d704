//! Order of joins and build sides, from estimates. DataFusion keeps the order of the FROM clause; this rule replaces it.
//!
//! A *cluster* is a maximal tree of inner joins. Its relations and predicates are taken apart and joined anew: for few
//! relations the best bushy tree by dynamic programming over connected subsets (Moerkotte and Neumann, "Analysis of two
//! existing and one new dynamic programming algorithm", 2006), for many greedily, cheapest join first. Semi joins whose
//! keys come from one relation of the cluster move down to it when that is the smaller input.
//!
//! Invariants:
//! 1. The output has the columns of the input plan, in its order.
//! 2. The left input of every join is the smaller one by estimate: hash joins build on the left.
//! 3. Column names are unique in a plan (the binder's promise), so a name tells its relation.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, LogicalPlan, Operator, Projection};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::estimate::{Estimate, estimate, join_output};

/// Clusters of up to this many relations are planned exhaustively.
const EXHAUSTIVE_MAX: usize = 9;
/// Inserting a row into a hash table costs about this many probes.
const BUILD_COST: f64 = 3.0;

/// The optimizer rule; runs after filters have been pushed down.
#[derive(Debug, Default)]
pub struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "lockstep_join_order"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        plan.transform_down_with_subqueries(|node| {
            if !is_cluster_root(&node) {
                return swap_build_side(node);
            }
            let ordered = reorder(&node)?;
            Ok(match ordered {
                // The relations below were rewritten on the way.
                Some(ordered) => Transformed::new(ordered, true, TreeNodeRecursion::Jump),
                None => Transformed::no(node),
            })
        })
    }
}

fn is_inner(join: &Join) -> bool {
    join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing
}

fn is_cluster_root(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => is_inner(join) || (is_semi(join) && holds_join(&join.left)),
        _ => false,
    }
}

fn is_semi(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && !join.null_aware
}

/// Whether the part of a cluster below a semi join is more than one relation.
fn holds_join(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => is_inner(join) || (is_semi(join) && holds_join(&join.left)),
        LogicalPlan::Projection(projection) => passes_columns(projection) && holds_join(&projection.input),
        LogicalPlan::Filter(filter) => holds_join(&filter.input),
        _ => false,
    }
}

/// A projection that only selects columns under their own names.
fn passes_columns(projection: &Projection) -> bool {
    projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_)))
}

/// Join types whose build side DataFusion fixes by their name: puts the smaller input on the left.
fn swap_build_side(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
    let swapped = match join.join_type {
        JoinType::LeftSemi => JoinType::RightSemi,
        JoinType::LeftAnti if !join.null_aware => JoinType::RightAnti,
        JoinType::RightSemi => JoinType::LeftSemi,
        JoinType::RightAnti => JoinType::LeftAnti,
        JoinType::Left => JoinType::Right,
        _ => return Ok(Transformed::no(LogicalPlan::Join(join))),
    };
    if estimate(&join.left).rows <= estimate(&join.right).rows {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let columns = columns_of(&LogicalPlan::Join(join.clone()));
    let on = join.on.into_iter().map(|(l, r)| (r, l)).collect();
    let swapped = LogicalPlan::Join(Join::try_new(
        join.right,
        join.left,
        on,
        join.filter,
        swapped,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?);
    Ok(Transformed::yes(in_order(swapped, columns)?))
}

/// A semi or anti join found on the way down a cluster.
struct SemiJoin {
    join: Join,
}

/// The parts of a cluster.
#[derive(Default)]
struct Cluster {
    relations: Vec<LogicalPlan>,
    predicates: Vec<Expr>,
    semi_joins: Vec<SemiJoin>,
}

impl Cluster {
    fn take_apart(&mut self, plan: &LogicalPlan) {
        match plan {
            LogicalPlan::Join(join) if is_inner(join) => {
                self.take_apart(&join.left);
                self.take_apart(&join.right);
                self.predicates.extend(join.on.iter().map(|(l, r)| l.clone().eq(r.clone())));
                self.predicates.extend(join.filter.iter().flat_map(|f| split_conjunction_owned(f.clone())));
            }
            LogicalPlan::Join(join) if is_semi(join) && holds_join(&join.left) => {
                self.take_apart(&join.left);
                self.semi_joins.push(SemiJoin { join: join.clone() });
            }
            LogicalPlan::Filter(filter) if holds_join(&filter.input) => {
                self.take_apart(&filter.input);
                self.predicates.extend(split_conjunction_owned(filter.predicate.clone()));
            }
            LogicalPlan::Projection(projection) if passes_columns(projection) && holds_join(&projection.input) => {
                self.take_apart(&projection.input);
            }
            relation => self.relations.push(relation.clone()),
        }
    }

    /// Bits of the relations that `expr` reads; `None` if it reads a column of none of them (an outer reference, say).
    fn relations_of(&self, names: &[HashSet<String>], expr: &Expr) -> Option<u64> {
        let mut bits = 0u64;
        for column in expr.column_refs() {
            bits |= 1 << names.iter().position(|relation| relation.contains(&column.name))?;
        }
        Some(bits)
    }
}

/// One partial result of the search.
#[derive(Clone)]
struct Candidate {
    plan: LogicalPlan,
    estimate: Estimate,
    cost: f64,
}

/// Joins the cluster below `root` anew; `None` when it cannot be taken apart safely.
fn reorder(root: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut cluster = Cluster::default();
    cluster.take_apart(root);
    if cluster.relations.len() > 60 || cluster.predicates.iter().any(has_subquery) {
        return Ok(None);
    }
    let names: Vec<HashSet<String>> = cluster.relations.iter().map(names_of).collect();
    if names.iter().map(HashSet::len).sum::<usize>() != names.iter().flatten().collect::<HashSet<_>>().len() {
        return Ok(None);
    }
    for relation in &mut cluster.relations {
        *relation = JoinOrder.rewrite(relation.clone(), &datafusion::optimizer::OptimizerContext::new())?.data;
    }
    let late = push_semi_joins(&mut cluster, &names)?;

    let mut predicates = Vec::with_capacity(cluster.predicates.len());
    for expr in std::mem::take(&mut cluster.predicates) {
        let Some(bits) = cluster.relations_of(&names, &expr) else { return Ok(None) };
        predicates.push((bits, expr));
    }
    let leaves = leaves(&cluster.relations, &mut predicates)?;
    let best =
        if leaves.len() <= EXHAUSTIVE_MAX { exhaustive(leaves, &predicates)? } else { greedy(leaves, &predicates)? };

    let mut plan = best.plan;
    // A predicate without columns belongs to no join.
    let constant = predicates.into_iter().filter(|(bits, _)| *bits == 0).map(|(_, expr)| expr);
    if let Some(filter) = conjunction(constant) {
        plan = LogicalPlan::Filter(Filter::try_new(filter, Arc::new(plan))?);
    }
    for semi in late {
        plan = with_left(semi.join, plan)?;
    }
    in_order(plan, columns_of(root)).map(Some)
}

/// Moves semi joins on one relation down to it where they shrink it; returns the others.
fn push_semi_joins(cluster: &mut Cluster, names: &[HashSet<String>]) -> Result<Vec<SemiJoin>> {
    let mut late = Vec::new();
    for mut semi in std::mem::take(&mut cluster.semi_joins) {
        semi.join.right = Arc::new(
            JoinOrder.rewrite(semi.join.right.as_ref().clone(), &datafusion::optimizer::OptimizerContext::new())?.data,
        );
        let right = names_of(&semi.join.right);
        let mut bits = 0u64;
        let read = semi.join.on.iter().map(|(l, _)| l).chain(semi.join.filter.iter());
        for column in read.flat_map(|expr| expr.column_refs()) {
            if let Some(index) = names.iter().position(|relation| relation.contains(&column.name)) {
                bits |= 1 << index;
            } else if !right.contains(&column.name) {
                bits = u64::MAX;
            }
        }
        let target = bits.trailing_zeros() as usize;
        let smaller =
            bits.count_ones() == 1 && estimate(&semi.join.right).rows < estimate(&cluster.relations[target]).rows;
        if smaller {
            let relation = cluster.relations[target].clone();
            cluster.relations[target] = swap_build_side(with_left(semi.join, relation)?)?.data;
        } else {
            late.push(semi);
        }
    }
    Ok(late)
}

fn with_left(join: Join, left: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        join.right,
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?))
}

/// The relations, each under the predicates that read it alone (which leave `predicates`).
fn leaves(relations: &[LogicalPlan], predicates: &mut Vec<(u64, Expr)>) -> Result<Vec<Candidate>> {
    relations
        .iter()
        .enumerate()
        .map(|(index, relation)| {
            let own: Vec<Expr> =
                predicates.extract_if(.., |(bits, _)| *bits == 1 << index).map(|(_, expr)| expr).collect();
            let plan = match conjunction(own) {
                Some(filter) => LogicalPlan::Filter(Filter::try_new(filter, Arc::new(relation.clone()))?),
                None => relation.clone(),
            };
            let estimate = estimate(&plan);
            Ok(Candidate { plan, estimate, cost: 0.0 })
        })
        .collect()
}

/// Best tree over all relations by dynamic programming over subsets. Subsets that no predicate connects are joined
/// only when nothing else is left.
fn exhaustive(leaves: Vec<Candidate>, predicates: &[(u64, Expr)]) -> Result<Candidate> {
    let count = leaves.len();
    let all = (1usize << count) - 1;
    let mut best: Vec<Option<Candidate>> = vec![None; all + 1];
    for (index, leaf) in leaves.into_iter().enumerate() {
        best[1 << index] = Some(leaf);
    }
    for set in 1..=all {
        if set.count_ones() < 2 {
            continue;
        }
        for cross in [false, true] {
            let mut chosen: Option<(f64, usize)> = None;
            let mut part = (set - 1) & set;
            while part > 0 {
                let other = set & !part;
                // Each pair once.
                if part < other
                    && let (Some(one), Some(two)) = (&best[part], &best[other])
                    && (cross || connected(part as u64, other as u64, predicates))
                {
                    let cost = join_cost(one, two, part as u64, other as u64, predicates);
                    if chosen.is_none_or(|(least, _)| cost < least) {
                        chosen = Some((cost, part));
                    }
                }
                part = (part - 1) & set;
            }
            if let Some((_, part)) = chosen {
                let other = set & !part;
                if let (Some(one), Some(two)) = (&best[part], &best[other]) {
                    best[set] = Some(join(one, two, part as u64, other as u64, predicates)?);
                }
                break;
            }
            // Cross products of parts only for the whole, or a part would hide a connected plan.
            if set != all {
                break;
            }
        }
    }
    match best.pop().flatten() {
        Some(candidate) => Ok(candidate),
        // Disconnected in more than two parts: greedy joins what there is.
        None => greedy(
            best.into_iter().enumerate().filter(|(set, _)| set.count_ones() == 1).filter_map(|(_, c)| c).collect(),
            predicates,
        ),
    }
}

/// Joins the pair with the cheapest join until one is left.
fn greedy(leaves: Vec<Candidate>, predicates: &[(u64, Expr)]) -> Result<Candidate> {
    let mut parts: Vec<(u64, Candidate)> =
        leaves.into_iter().enumerate().map(|(index, leaf)| (1u64 << index, leaf)).collect();
    while parts.len() > 1 {
        let mut chosen: Option<((bool, f64), usize, usize)> = None;
        for one in 0..parts.len() {
            for two in one + 1..parts.len() {
                let (a, b) = (&parts[one], &parts[two]);
                let key = (!connected(a.0, b.0, predicates), join_cost(&a.1, &b.1, a.0, b.0, predicates));
                if chosen.is_none_or(|(least, _, _)| key < least) {
                    chosen = Some((key, one, two));
                }
            }
        }
        let Some((_, one, two)) = chosen else { break };
        let (b_bits, b) = parts.swap_remove(two);
        let (a_bits, a) = parts.swap_remove(one);
        parts.push((a_bits | b_bits, join(&a, &b, a_bits, b_bits, predicates)?));
    }
    parts
        .pop()
        .map(|(_, candidate)| candidate)
        .ok_or_else(|| datafusion::error::DataFusionError::Internal("a join cluster without relations".into()))
}

/// Predicates that can first be evaluated on the join of the two sets.
fn between(one: u64, two: u64, predicates: &[(u64, Expr)]) -> impl Iterator<Item = &(u64, Expr)> {
    predicates.iter().filter(move |(bits, _)| bits & !(one | two) == 0 && bits & one != 0 && bits & two != 0)
}

fn connected(one: u64, two: u64, predicates: &[(u64, Expr)]) -> bool {
    between(one, two, predicates).next().is_some()
}

/// Splits the predicates between two plans into equalities (left side first) and the rest.
fn split<'a>(
    left: &LogicalPlan,
    right: &LogicalPlan,
    predicates: impl Iterator<Item = &'a (u64, Expr)>,
) -> (Vec<(&'a Expr, &'a Expr)>, Vec<&'a Expr>) {
    let reads = |plan: &LogicalPlan, expr: &Expr| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| plan.schema().has_column(column))
    };
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for (_, expr) in predicates {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b })
                if reads(left, a) && reads(right, b) =>
            {
                keys.push((a.as_ref(), b.as_ref()));
            }
            Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b })
                if reads(left, b) && reads(right, a) =>
            {
                keys.push((b.as_ref(), a.as_ref()));
            }
            other => rest.push(other),
        }
    }
    (keys, rest)
}

fn output(one: &Candidate, two: &Candidate, one_bits: u64, two_bits: u64, predicates: &[(u64, Expr)]) -> Estimate {
    let (keys, rest) = split(&one.plan, &two.plan, between(one_bits, two_bits, predicates));
    let filter = conjunction(rest.into_iter().cloned());
    join_output(&one.estimate, &two.estimate, &keys, filter.as_ref(), JoinType::Inner)
}

fn cost_of(one: &Candidate, two: &Candidate, rows: f64) -> f64 {
    let (build, probe) = if one.estimate.rows <= two.estimate.rows {
        (one.estimate.rows, two.estimate.rows)
    } else {
        (two.estimate.rows, one.estimate.rows)
    };
    one.cost + two.cost + BUILD_COST * build + probe + rows
}

fn join_cost(one: &Candidate, two: &Candidate, one_bits: u64, two_bits: u64, predicates: &[(u64, Expr)]) -> f64 {
    cost_of(one, two, output(one, two, one_bits, two_bits, predicates).rows)
}

/// The join of two partial results, the smaller one on the left (invariant 2).
fn join(
    one: &Candidate,
    two: &Candidate,
    one_bits: u64,
    two_bits: u64,
    predicates: &[(u64, Expr)],
) -> Result<Candidate> {
    let estimate = output(one, two, one_bits, two_bits, predicates);
    let cost = cost_of(one, two, estimate.rows);
    let (left, right) = if one.estimate.rows <= two.estimate.rows { (one, two) } else { (two, one) };
    let (keys, rest) = split(&left.plan, &right.plan, between(one_bits, two_bits, predicates));
    let plan = LogicalPlan::Join(Join::try_new(
        Arc::new(left.plan.clone()),
        Arc::new(right.plan.clone()),
        keys.into_iter().map(|(l, r)| (l.clone(), r.clone())).collect(),
        conjunction(rest.into_iter().cloned()),
        JoinType::Inner,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?);
    Ok(Candidate { plan, estimate, cost })
}

fn names_of(plan: &LogicalPlan) -> HashSet<String> {
    plan.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn columns_of(plan: &LogicalPlan) -> Vec<Column> {
    plan.schema().columns()
}

/// `plan` with exactly `columns`, in their order (invariant 1).
fn in_order(plan: LogicalPlan, columns: Vec<Column>) -> Result<LogicalPlan> {
    if plan.schema().columns() == columns {
        return Ok(plan);
    }
    let exprs = columns.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
        ))
    })
    .unwrap_or(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use arrow::array::{Int32Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::catalog::{Session, TableProvider};
    use datafusion::common::stats::Precision;
    use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
    use datafusion::datasource::{MemTable, provider_as_source};
    use datafusion::logical_expr::{LogicalPlanBuilder, TableType, col, lit};
    use datafusion::physical_plan::ExecutionPlan;
    use datafusion::prelude::SessionContext;

    /// Rows in memory that tell their statistics, as storage does.
    #[derive(Debug)]
    struct Counted(MemTable, Statistics);

    #[async_trait::async_trait]
    impl TableProvider for Counted {
        fn schema(&self) -> SchemaRef {
            self.0.schema()
        }

        fn table_type(&self) -> TableType {
            TableType::Base
        }

        async fn scan(
            &self,
            state: &dyn Session,
            projection: Option<&Vec<usize>>,
            filters: &[Expr],
            limit: Option<usize>,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            self.0.scan(state, projection, filters, limit).await
        }

        fn statistics(&self) -> Option<Statistics> {
            Some(self.1.clone())
        }
    }

    /// A table with the columns `<prefix>k` (0..rows modulo `keys`) and `<prefix>v` (0..rows).
    fn table(prefix: &str, rows: i32, keys: i32) -> LogicalPlanBuilder {
        let fields = ["k", "v"].map(|c| Field::new(format!("{prefix}{c}"), DataType::Int32, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(Int32Array::from_iter_values((0..rows).map(|i| i % keys))),
                Arc::new(Int32Array::from_iter_values(0..rows)),
            ],
        )
        .unwrap();
        let column = |values: i32| ColumnStatistics {
            distinct_count: Precision::Inexact(values as usize),
            min_value: Precision::Inexact(ScalarValue::Int32(Some(0))),
            max_value: Precision::Inexact(ScalarValue::Int32(Some(values - 1))),
            ..ColumnStatistics::new_unknown()
        };
        let statistics = Statistics {
            num_rows: Precision::Exact(rows as usize),
            total_byte_size: Precision::Absent,
            column_statistics: vec![column(keys), column(rows)],
        };
        let provider = Counted(MemTable::try_new(schema, vec![vec![batch]]).unwrap(), statistics);
        LogicalPlanBuilder::scan(prefix, provider_as_source(Arc::new(provider)), None).unwrap()
    }

    fn rewrite(plan: LogicalPlan) -> LogicalPlan {
        JoinOrder.rewrite(plan, &datafusion::optimizer::OptimizerContext::new()).unwrap().data
    }

    async fn rows(plan: LogicalPlan) -> Vec<String> {
        let context = SessionContext::new();
        let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn leftmost(plan: &LogicalPlan) -> String {
        match plan {
            LogicalPlan::TableScan(scan) => scan.table_name.to_string(),
            other => leftmost(other.inputs()[0]),
        }
    }

    #[tokio::test]
    async fn the_small_input_builds_and_the_result_stays() {
        // big × middle × small in the worst order, connected big-middle-small.
        let plan = table("a", 3000, 1000)
            .join_on(table("b", 300, 100).build().unwrap(), JoinType::Inner, [col("ak").eq(col("bv"))])
            .unwrap()
            .join_on(table("c", 10, 10).build().unwrap(), JoinType::Inner, [col("bk").eq(col("ck"))])
            .unwrap()
            .filter(col("av").lt(lit(2500)))
            .unwrap()
            .build()
            .unwrap();
        let ordered = rewrite(plan.clone());
        assert_eq!(leftmost(&ordered), "c", "{}", ordered.display_indent());
        assert_eq!(ordered.schema().columns(), plan.schema().columns());
        assert_eq!(rows(plan).await, rows(ordered.clone()).await);
        assert_eq!(rewrite(ordered.clone()).display_indent().to_string(), ordered.display_indent().to_string());
    }

    #[tokio::test]
    async fn a_semi_join_moves_to_its_relation() {
        let plan = table("a", 3000, 1000)
            .join_on(table("b", 300, 100).build().unwrap(), JoinType::Inner, [col("ak").eq(col("bv"))])
            .unwrap()
            .join_on(table("c", 10, 10).build().unwrap(), JoinType::LeftSemi, [col("bk").eq(col("ck"))])
            .unwrap()
            .build()
            .unwrap();
        let ordered = rewrite(plan.clone());
        let text = ordered.display_indent().to_string();
        let inner = text.find("Inner Join").unwrap();
        let semi = text.find("Semi Join").unwrap();
        assert!(inner < semi, "{text}");
        assert_eq!(rows(plan).await, rows(ordered).await);
    }

    #[tokio::test]
    async fn unconnected_relations_are_still_joined() {
        let plan = table("a", 20, 20)
            .cross_join(table("b", 10, 10).build().unwrap())
            .unwrap()
            .cross_join(table("c", 5, 5).build().unwrap())
            .unwrap()
            .build()
            .unwrap();
        let ordered = rewrite(plan.clone());
        assert_eq!(rows(plan).await, rows(ordered).await);
    }
}
