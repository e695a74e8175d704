//! Row counts and distinct counts of logical plans, estimated from the statistics of the tables below.
//!
//! Owns arithmetic only: it reads plans and never changes them. The estimates decide the order of joins and the build
//! sides ([`super::join_order`]); a wrong one costs time, never a wrong result.
//!
//! The formulas are the textbook ones (Selinger et al., "Access path selection in a relational database management
//! system", 1979; Swami and Schiefer, "On the estimation of join result sizes", 1994): independent predicates, uniform
//! values, contained key domains. What nothing is known of gets PostgreSQL's defaults.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::{ColumnStatistics, JoinType, ScalarValue, Statistics};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, LogicalPlan, Operator};

/// Selectivity of an inequality of which nothing is known.
const INEQUALITY: f64 = 1.0 / 3.0;
/// Selectivity of a range bounded on both sides, likewise.
const EQUALITY: f64 = 0.005;
/// LIKE with a pattern that keeps few rows.
const LIKE: f64 = 0.05;
const IS_NULL: f64 = 0.02;
const OTHER: f64 = 0.25;
/// Rows of an input of which nothing is known.
const UNKNOWN_ROWS: f64 = 1_000.0;

/// What is known of one output column.
#[derive(Debug, Clone, Default)]
pub struct ColumnEstimate {
    pub distinct: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// What is known of a plan's output. Columns are keyed by their name, which the binder makes unique.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    pub rows: f64,
    pub columns: HashMap<String, ColumnEstimate>,
}

impl Estimate {
    fn unknown(rows: f64) -> Self {
        Estimate { rows: rows.max(1.0), columns: HashMap::new() }
    }

    /// Distinct values of an expression in this many rows: of a column what is known, else all different.
    pub fn distinct(&self, expr: &Expr) -> f64 {
        let known = match strip(expr) {
            Expr::Column(column) => self.columns.get(&column.name).map(|c| c.distinct),
            Expr::Literal(..) => Some(1.0),
            _ => None,
        };
        known.unwrap_or(self.rows).clamp(1.0, self.rows.max(1.0))
    }

    /// Keeps the share `selectivity` of the rows. Distinct counts shrink with them, as in sampling without
    /// replacement from equally frequent values.
    pub fn reduced(mut self, selectivity: f64) -> Self {
        let before = self.rows.max(1.0);
        self.rows = (before * selectivity.clamp(0.0, 1.0)).max(1.0);
        let kept = self.rows / before;
        for column in self.columns.values_mut() {
            let per_value = before / column.distinct.max(1.0);
            column.distinct = (column.distinct * (1.0 - (1.0 - kept).powf(per_value))).clamp(1.0, self.rows);
        }
        self
    }
}

/// Estimates the output of `plan`.
pub fn estimate(plan: &LogicalPlan) -> Estimate {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let base = scan_statistics(scan);
            filtered(base, scan.filters.iter().flat_map(split_conjunction))
        }
        LogicalPlan::Filter(filter) => {
            let mut predicates = split_conjunction(&filter.predicate);
            // A filter that was pushed into the scan and stays above it (an inexact one) counts once.
            let base = match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) => {
                    for pushed in scan.filters.iter().flat_map(split_conjunction) {
                        if !predicates.contains(&pushed) {
                            predicates.push(pushed);
                        }
                    }
                    scan_statistics(scan)
                }
                input => estimate(input),
            };
            filtered(base, predicates.into_iter())
        }
        LogicalPlan::Projection(projection) => {
            let input = estimate(&projection.input);
            let mut output = Estimate { rows: input.rows, columns: HashMap::new() };
            for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
                if let Expr::Column(column) = strip(expr)
                    && let Some(known) = input.columns.get(&column.name)
                {
                    output.columns.insert(field.name().clone(), known.clone());
                }
            }
            output
        }
        LogicalPlan::Aggregate(aggregate) => {
            let input = estimate(&aggregate.input);
            let groups = combined_distinct(aggregate.group_expr.iter(), &input, input.rows);
            let mut output = Estimate { rows: groups, columns: HashMap::new() };
            for (expr, field) in aggregate.group_expr.iter().zip(aggregate.schema.fields()) {
                let distinct = input.distinct(expr).min(groups);
                output.columns.insert(field.name().clone(), ColumnEstimate { distinct, min: None, max: None });
            }
            output
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (estimate(&join.left), estimate(&join.right));
            let keys: Vec<(&Expr, &Expr)> = join.on.iter().map(|(l, r)| (l, r)).collect();
            join_output(&left, &right, &keys, join.filter.as_ref(), join.join_type)
        }
        LogicalPlan::Limit(limit) => {
            let input = estimate(&limit.input);
            match limit.get_fetch_type() {
                Ok(FetchType::Literal(Some(fetch))) => {
                    let rows = input.rows.max(1.0);
                    input.reduced(fetch as f64 / rows)
                }
                _ => input,
            }
        }
        LogicalPlan::Union(union) => {
            Estimate::unknown(union.inputs.iter().map(|input| estimate(input).rows).sum::<f64>())
        }
        LogicalPlan::Values(values) => Estimate::unknown(values.values.len() as f64),
        LogicalPlan::EmptyRelation(_) => Estimate::unknown(1.0),
        LogicalPlan::Sort(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Distinct(_) => plan.inputs().first().map_or(Estimate::unknown(UNKNOWN_ROWS), |i| estimate(i)),
        _ => Estimate::unknown(UNKNOWN_ROWS),
    }
}

/// Output of a join of two estimated inputs.
pub fn join_output(
    left: &Estimate,
    right: &Estimate,
    keys: &[(&Expr, &Expr)],
    filter: Option<&Expr>,
    join_type: JoinType,
) -> Estimate {
    let (left_distinct, right_distinct) = key_distincts(left, right, keys);
    let all = || {
        let mut columns = left.columns.clone();
        columns.extend(right.columns.iter().map(|(name, column)| (name.clone(), column.clone())));
        Estimate { rows: left.rows * right.rows, columns }
    };
    // Semi joins keep the rows whose key occurs on the other side.
    let semi = |kept: &Estimate, own: f64, other: f64| {
        let share = if keys.is_empty() { 0.5 } else { (other / own).min(1.0) };
        let share = if filter.is_some() { share * 0.75 } else { share };
        kept.clone().reduced(share)
    };
    match join_type {
        JoinType::LeftSemi => semi(left, left_distinct, right_distinct),
        JoinType::RightSemi => semi(right, right_distinct, left_distinct),
        JoinType::LeftAnti | JoinType::LeftMark => left.clone().reduced(0.5),
        JoinType::RightAnti | JoinType::RightMark => right.clone().reduced(0.5),
        _ => {
            let product = all();
            let mut selectivity = if keys.is_empty() { 1.0 } else { 1.0 / left_distinct.max(right_distinct) };
            if let Some(filter) = filter {
                selectivity *= split_conjunction(filter).iter().map(|p| predicate(p, &product)).product::<f64>();
            }
            let mut output = product.reduced(selectivity);
            output.rows = match join_type {
                JoinType::Left => output.rows.max(left.rows),
                JoinType::Right => output.rows.max(right.rows),
                JoinType::Full => output.rows.max(left.rows + right.rows),
                _ => output.rows,
            };
            for column in output.columns.values_mut() {
                column.distinct = column.distinct.min(output.rows);
            }
            output
        }
    }
}

/// Distinct key values on both sides; of a compound key never more than the side has rows.
fn key_distincts(left: &Estimate, right: &Estimate, keys: &[(&Expr, &Expr)]) -> (f64, f64) {
    (
        combined_distinct(keys.iter().map(|(l, _)| *l), left, left.rows),
        combined_distinct(keys.iter().map(|(_, r)| *r), right, right.rows),
    )
}

fn combined_distinct<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &Estimate, rows: f64) -> f64 {
    exprs.map(|expr| input.distinct(expr)).product::<f64>().clamp(1.0, rows.max(1.0))
}

/// The share of a table's rows that satisfy all of `predicates`.
pub fn selectivity<'a>(statistics: &Statistics, schema: &Schema, predicates: impl Iterator<Item = &'a Expr>) -> f64 {
    let table = table_estimate(statistics, schema);
    predicates.map(|expr| predicate(expr, &table)).product::<f64>().clamp(0.0, 1.0)
}

fn scan_statistics(scan: &datafusion::logical_expr::TableScan) -> Estimate {
    let statistics = source_as_provider(&scan.source).ok().and_then(|provider| provider.statistics());
    match statistics {
        Some(statistics) => table_estimate(&statistics, &scan.source.schema()),
        None => Estimate::unknown(UNKNOWN_ROWS),
    }
}

fn table_estimate(statistics: &Statistics, schema: &Schema) -> Estimate {
    let rows = statistics.num_rows.get_value().map_or(UNKNOWN_ROWS, |rows| *rows as f64).max(1.0);
    let columns = schema.fields().iter().zip(&statistics.column_statistics);
    Estimate {
        rows,
        columns: columns.map(|(field, known)| (field.name().clone(), column_estimate(known, rows))).collect(),
    }
}

fn column_estimate(known: &ColumnStatistics, rows: f64) -> ColumnEstimate {
    let min = known.min_value.get_value().and_then(as_number);
    let max = known.max_value.get_value().and_then(as_number);
    // Without a count, an integer column cannot hold more values than its range is wide.
    let distinct = known.distinct_count.get_value().map(|count| *count as f64).unwrap_or_else(|| match (min, max) {
        (Some(min), Some(max)) => rows.min(max - min + 1.0),
        _ => rows,
    });
    ColumnEstimate { distinct: distinct.clamp(1.0, rows), min, max }
}

fn filtered<'a>(mut input: Estimate, predicates: impl Iterator<Item = &'a Expr>) -> Estimate {
    let mut selectivity = 1.0;
    for expr in predicates {
        selectivity *= predicate(expr, &input);
        if let Some(name) = equated_column(expr)
            && let Some(column) = input.columns.get_mut(&name)
        {
            column.distinct = 1.0;
        }
    }
    input.reduced(selectivity)
}

fn equated_column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (strip(left), strip(right)) {
            (Expr::Column(column), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(column)) => {
                Some(column.name.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Share of the rows that satisfy `expr`.
fn predicate(expr: &Expr, input: &Estimate) -> f64 {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            range(left, right, input).unwrap_or_else(|| predicate(left, input) * predicate(right, input))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (l, r) = (predicate(left, input), predicate(right, input));
            l + r - l * r
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(left, *op, right, input),
        Expr::Between(between) => {
            let low = comparison(&between.expr, Operator::GtEq, &between.low, input);
            let high = comparison(&between.expr, Operator::LtEq, &between.high, input);
            let inside = (low + high - 1.0).max(EQUALITY);
            if between.negated { 1.0 - inside } else { inside }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let share = (list.len() as f64 / input.distinct(expr)).min(1.0);
            if *negated { 1.0 - share } else { share }
        }
        Expr::Not(inner) => 1.0 - predicate(inner, input),
        Expr::Like(like) => {
            if like.negated {
                1.0 - LIKE
            } else {
                LIKE
            }
        }
        Expr::IsNull(_) => IS_NULL,
        Expr::IsNotNull(_) => 1.0 - IS_NULL,
        Expr::Literal(ScalarValue::Boolean(Some(value)), _) => f64::from(u8::from(*value)),
        _ => OTHER,
    }
}

/// `low <= x AND x < high` on one column: the share between the two, not the product of two halves.
fn range(left: &Expr, right: &Expr, input: &Estimate) -> Option<f64> {
    let side = |expr: &Expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (strip(left), strip(right)) {
            (Expr::Column(column), Expr::Literal(..)) => Some((column.name.clone(), *op)),
            _ => None,
        },
        _ => None,
    };
    let ((one, one_op), (other, other_op)) = (side(left)?, side(right)?);
    let upper = |op| matches!(op, Operator::Lt | Operator::LtEq);
    let lower = |op| matches!(op, Operator::Gt | Operator::GtEq);
    let opposed = (upper(one_op) && lower(other_op)) || (lower(one_op) && upper(other_op));
    (one == other && opposed).then(|| (predicate(left, input) + predicate(right, input) - 1.0).max(EQUALITY))
}

fn comparison(left: &Expr, op: Operator, right: &Expr, input: &Estimate) -> f64 {
    let (column, literal, op) = match (strip(left), strip(right)) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, value, op),
        (Expr::Literal(value, _), Expr::Column(column)) => match op.swap() {
            Some(op) => (column, value, op),
            None => return OTHER,
        },
        (l, r) => {
            return match op {
                Operator::Eq => 1.0 / input.distinct(l).max(input.distinct(r)),
                Operator::NotEq => 1.0 - 1.0 / input.distinct(l).max(input.distinct(r)),
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => INEQUALITY,
                _ => OTHER,
            };
        }
    };
    let known = input.columns.get(&column.name);
    let equal = known.map_or(EQUALITY, |column| 1.0 / column.distinct.max(1.0));
    let below = || {
        let known = known?;
        let (min, max, value) = (known.min?, known.max?, as_number(literal)?);
        Some(if max > min { ((value - min) / (max - min)).clamp(0.0, 1.0) } else { 0.5 })
    };
    match op {
        Operator::Eq | Operator::IsNotDistinctFrom => equal,
        Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal,
        Operator::Lt | Operator::LtEq => below().unwrap_or(INEQUALITY),
        Operator::Gt | Operator::GtEq => below().map_or(INEQUALITY, |share| 1.0 - share),
        Operator::LikeMatch | Operator::ILikeMatch => LIKE,
        _ => OTHER,
    }
}

/// The column or literal below casts and aliases.
fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => strip(&alias.expr),
        Expr::Cast(cast) => strip(&cast.expr),
        Expr::TryCast(cast) => strip(&cast.expr),
        other => other,
    }
}

/// Position of a value on a number line, for interpolation between minimum and maximum.
fn as_number(value: &ScalarValue) -> Option<f64> {
    use ScalarValue as S;
    Some(match value {
        S::Int8(Some(v)) => f64::from(*v),
        S::Int16(Some(v)) => f64::from(*v),
        S::Int32(Some(v)) | S::Date32(Some(v)) => f64::from(*v),
        S::Int64(Some(v)) => *v as f64,
        S::UInt32(Some(v)) => f64::from(*v),
        S::UInt64(Some(v)) => *v as f64,
        S::Float32(Some(v)) => f64::from(*v),
        S::Float64(Some(v)) => *v,
        S::Decimal128(Some(v), _, scale) => *v as f64 / 10f64.powi(i32::from(*scale)),
        S::TimestampMicrosecond(Some(v), _) | S::Time64Microsecond(Some(v)) => *v as f64,
        _ => return None,
    })
}
