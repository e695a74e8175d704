//! From the relational tree to DataFusion's logical plan. Columns are called `c<id>`; the Arrow type of each is read from
//! the plan's own schema, since a numeric expression may lie in memory in more than one way.
//!
//! Invariant: keys of joins, groups, sorts and partitions compare in Arrow as their SQL type compares in PostgreSQL
//! ([`lower::key`], [`lower::sort_key`]).

mod aggregate;
mod expr;
mod framed;
mod join;
mod shell;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{Column, DFSchema, DFSchemaRef, DataFusionError};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::logical_plan::{Projection, RecursiveQuery, TableScanBuilder, Values};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Distinct, EmptyRelation, Expr, Extension, Filter, Limit, LogicalPlan, Sort, SortExpr, Union, lit,
};

use super::QueryContext;
use super::runtime::Stop;
use super::scan::{ROW_ID, ScanTable, ScannedColumn};
use super::series::SeriesNode;
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, NoColumns, eval};
use crate::functions::lower::{self, Lowered};
use crate::sql::rel::{Output, QueryExpr, Rel, Scan, SetOperation, SortKey};
use crate::types::arrow::datum_at;
use crate::types::{Datum, PgType};

/// Lowers one query.
pub(super) struct Lowering<'a> {
    context: &'a QueryContext,
    stop: Stop,
    /// Arrow types of the columns of the recursive queries around.
    work_tables: HashMap<u32, Vec<DataType>>,
    scans: usize,
}

/// DataFusion's error while a plan is built: ours if it carries one.
pub(super) fn plan_error(error: DataFusionError) -> Error {
    super::fault::from_datafusion(error)
}

/// The name of a column in plans.
pub(super) fn name(id: ColumnId) -> String {
    format!("c{}", id.0)
}

/// `expr AS c<id>`; a column of that name already stays as it is.
fn alias(expr: Expr, id: ColumnId) -> Expr {
    let name = name(id);
    match &expr {
        Expr::Column(column) if column.name == name && column.relation.is_none() => expr,
        _ => expr.alias(name),
    }
}

/// A column under the qualifier that it has in `schema`.
pub(super) fn find_column(schemas: &[&DFSchema], id: ColumnId) -> Result<(Expr, DataType)> {
    let wanted = name(id);
    for schema in schemas {
        if let Some((relation, field)) = schema.iter().find(|(_, f)| *f.name() == wanted) {
            let column = Column::new(relation.cloned(), wanted);
            return Ok((Expr::Column(column), field.data_type().clone()));
        }
    }
    Err(Error::internal(format!("column {wanted} is not in the plan")))
}

/// A branch of a union, and its column for each of the union's.
type Branch<'r> = (&'r Rel, Vec<ColumnId>);

/// The branches of unions of unions: DataFusion would carry the columns of each union up through all those around it.
/// With `distinct` duplicates go in the end, so that it does not matter where else they do.
fn branches<'r>(rel: &'r Rel, columns: Vec<ColumnId>, distinct: bool, out: &mut Vec<Branch<'r>>) {
    let Rel::SetOperation { operation: SetOperation::Union, all, left, right, outputs, left_columns, right_columns } =
        rel
    else {
        return out.push((rel, columns));
    };
    let place = |id: &ColumnId| outputs.iter().position(|output| output.id == *id);
    let Some(places) = columns.iter().map(place).collect::<Option<Vec<usize>>>().filter(|_| *all || distinct) else {
        return out.push((rel, columns));
    };
    for (side, ids) in [(left, left_columns), (right, right_columns)] {
        let columns = places.iter().filter_map(|place| ids.get(*place).copied()).collect();
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || branches(side, columns, distinct, out));
    }
}

impl<'a> Lowering<'a> {
    pub(super) fn new(context: &'a QueryContext, stop: Stop) -> Lowering<'a> {
        Lowering { context, stop, work_tables: HashMap::new(), scans: 0 }
    }

    /// The whole query: exactly `outputs`, in order.
    pub(super) fn query(&mut self, rel: &Rel, outputs: &[Output]) -> Result<LogicalPlan> {
        let plan = self.rel(rel)?;
        let mut exprs = Vec::new();
        for (i, output) in outputs.iter().enumerate() {
            let (expr, _) = find_column(&[plan.schema()], output.id)?;
            // The same column may be wanted twice: results are told apart by position.
            exprs.push(expr.alias(format!("r{i}")));
        }
        if exprs.is_empty() {
            // A result without columns still has rows.
            exprs.push(lit(true).alias("r0"));
        }
        project(plan, exprs)
    }

    fn rel(&mut self, rel: &Rel) -> Result<LogicalPlan> {
        self.stop.check()?;
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || self.rel_inner(rel))
    }

    fn rel_inner(&mut self, rel: &Rel) -> Result<LogicalPlan> {
        match rel {
            Rel::Unit => Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: true,
                schema: Arc::new(DFSchema::empty()),
            })),
            Rel::Scan(scan) => self.scan(scan),
            Rel::Values { outputs, rows } => self.values(outputs, rows),
            Rel::Series { input, calls, ordinality } => {
                let input = self.rel(input)?;
                let mut series = Vec::new();
                for call in calls {
                    let args = call
                        .args
                        .iter()
                        .map(|a| self.expr(a, &[input.schema()]).map(|l| plain(l).map(|l| (l.expr, l.ty))))
                        .map(|r| r.and_then(|r| r))
                        .collect::<Result<Vec<_>>>()?;
                    series.push((call.clone(), args));
                }
                let node = SeriesNode::try_new(input, series, *ordinality, self.context.eval.clone())?;
                Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
            }
            Rel::Filter { input, predicate } => {
                let input = self.rel(input)?;
                let predicate = self.expr(predicate, &[input.schema()])?.expr;
                let filter = |input, condition| {
                    Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input)).map_err(plan_error)?))
                };
                if !predicate.is_volatile() {
                    return filter(input, predicate);
                }
                let (anew, rest) = split_conjunction_owned(predicate).into_iter().partition::<Vec<_>, _>(is_asked_anew);
                let input = match conjunction(rest) {
                    Some(condition) => filter(input, condition)?,
                    None => input,
                };
                let Some(condition) = conjunction(anew) else { return Ok(input) };
                // As a column, it stays where it is.
                let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                columns.push(condition.alias(ASKED_ANEW));
                let input = project(input, columns.clone())?;
                let filtered = filter(input, Expr::Column(Column::new_unqualified(ASKED_ANEW)))?;
                columns.pop();
                project(filtered, columns)
            }
            Rel::Project { input, columns } => {
                let input = self.rel(input)?;
                let mut exprs = Vec::new();
                for (id, expr) in columns {
                    let lowered = self.expr(expr, &[input.schema()])?;
                    exprs.push(alias(lowered.expr, *id));
                }
                if exprs.is_empty() {
                    exprs.push(lit(true).alias("c0"));
                }
                project(input, exprs)
            }
            Rel::Join { left, right, kind, condition, .. } => self.join(left, right, *kind, condition.as_ref()),
            Rel::Aggregate { input, groups, sets, grouping, aggregates } => {
                let input = self.rel(input)?;
                self.aggregate(input, groups, sets.as_deref(), *grouping, aggregates)
            }
            Rel::Window { input, calls } => {
                let input = self.rel(input)?;
                self.windows(input, calls)
            }
            Rel::Sort { input, keys } => {
                let input = self.rel(input)?;
                let expr = self.sort_keys(keys, &input)?;
                Ok(LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: None }))
            }
            Rel::Limit { input, offset, count, .. } => {
                let input = self.rel(input)?;
                let (offset, count) = (offset.as_ref(), count.as_ref());
                let skip = row_count(offset, "OFFSET", SqlState::InvalidRowCountInOffsetClause, self.context)?;
                let fetch = row_count(count, "LIMIT", SqlState::InvalidRowCountInLimitClause, self.context)?;
                Ok(LogicalPlan::Limit(Limit {
                    skip: skip.map(|n| Box::new(lit(n))),
                    fetch: fetch.map(|n| Box::new(lit(n))),
                    input: Arc::new(input),
                }))
            }
            Rel::Distinct { input: node } => {
                let input = self.rel(node)?;
                self.distinct(input, &node.outputs())
            }
            Rel::SetOperation { operation: SetOperation::Union, all, outputs, .. } => {
                let mut parts = Vec::new();
                branches(rel, outputs.iter().map(|o| o.id).collect(), !*all, &mut parts);
                let union = self.union(&parts, outputs)?;
                if *all { Ok(union) } else { self.distinct(union, outputs) }
            }
            Rel::SetOperation { .. } | Rel::DistinctOn { .. } => {
                Err(Error::internal("a node that was to be rewritten before lowering"))
            }
            Rel::Recursive { table, outputs, base, base_columns, step, step_columns, all } => {
                self.recursive(*table, outputs, (base, base_columns), (step, step_columns), *all)
            }
            Rel::WorkTable { table, outputs } => self.work_table(*table, outputs),
        }
    }

    fn scan(&mut self, scan: &Scan) -> Result<LogicalPlan> {
        self.scans += 1;
        let mut columns: Vec<ScannedColumn> = scan
            .columns
            .iter()
            .map(|c| ScannedColumn { attnum: c.attnum, name: name(c.output.id), ty: c.output.ty })
            .collect();
        columns.extend(scan.row_id.map(|id| ScannedColumn { attnum: 0, name: name(id), ty: ROW_ID }));
        let provider = ScanTable::new(scan.table, scan.name.clone(), scan.system, columns, self.context);
        let source = provider_as_source(Arc::new(provider));
        let table = TableScanBuilder::new(format!("{}_{}", scan.name.replace('.', "_"), self.scans), source)
            .build()
            .map_err(plan_error)?;
        Ok(LogicalPlan::TableScan(table))
    }

    fn values(&mut self, outputs: &[Output], rows: &[Vec<ScalarExpr>]) -> Result<LogicalPlan> {
        let mut columns: Vec<Vec<Lowered>> = outputs.iter().map(|_| Vec::new()).collect();
        for row in rows {
            for (column, expr) in columns.iter_mut().zip(row) {
                column.push(self.expr(expr, &[])?);
            }
        }
        let mut fields = Vec::new();
        let mut unified = Vec::new();
        for (column, output) in columns.into_iter().zip(outputs) {
            let column = lower::unify(column, output.ty, true)?;
            let arrow = column.first().map_or_else(|| output.ty.arrow(), |c| c.arrow.clone());
            fields.push(Field::new(name(output.id), arrow, true));
            unified.push(column.into_iter());
        }
        let values: Vec<Vec<Expr>> =
            rows.iter().map(|_| unified.iter_mut().filter_map(|c| c.next().map(|l| l.expr)).collect()).collect();
        if fields.is_empty() {
            return Err(Error::unsupported("VALUES without columns"));
        }
        let schema = schema_of(fields)?;
        Ok(LogicalPlan::Values(Values { schema, values }))
    }

    fn union(&mut self, parts: &[Branch<'_>], outputs: &[Output]) -> Result<LogicalPlan> {
        let plans = parts.iter().map(|(rel, _)| self.rel(rel)).collect::<Result<Vec<_>>>()?;
        let mut exprs: Vec<Vec<Expr>> = vec![Vec::new(); plans.len()];
        for (place, output) in outputs.iter().enumerate() {
            let column = |(plan, (_, ids)): (&LogicalPlan, &Branch<'_>)| {
                let id = ids.get(place).ok_or_else(|| Error::internal("a branch of a union lacks a column"))?;
                let (expr, arrow) = find_column(&[plan.schema()], *id)?;
                Ok(Lowered::new(expr, output.ty, arrow))
            };
            let columns = plans.iter().zip(parts).map(column).collect::<Result<Vec<_>>>()?;
            for (exprs, column) in exprs.iter_mut().zip(lower::unify(columns, output.ty, true)?) {
                exprs.push(alias(column.expr, output.id));
            }
        }
        let mut inputs = Vec::with_capacity(plans.len());
        for (plan, mut exprs) in plans.into_iter().zip(exprs) {
            if exprs.is_empty() {
                exprs.push(lit(true).alias("c0"));
            }
            inputs.push(Arc::new(project(plan, exprs)?));
        }
        Ok(LogicalPlan::Union(Union::try_new(inputs).map_err(plan_error)?))
    }

    /// Rows without duplicates.
    fn distinct(&mut self, input: LogicalPlan, outputs: &[Output]) -> Result<LogicalPlan> {
        let mut plain = true;
        for output in outputs {
            let (expr, arrow) = find_column(&[input.schema()], output.id)?;
            plain &= lower::key(&Lowered::new(expr, output.ty, arrow)).is_none();
        }
        if plain {
            return Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))));
        }
        let groups: Vec<(ColumnId, ScalarExpr)> =
            outputs.iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
        self.aggregate(input, &groups, None, None, &[])
    }

    pub(super) fn sort_keys(&mut self, keys: &[SortKey], input: &LogicalPlan) -> Result<Vec<SortExpr>> {
        keys.iter()
            .map(|key| {
                let lowered = self.expr(&key.expr, &[input.schema()])?;
                let lowered = lower::sort_key(&lowered).unwrap_or(lowered);
                Ok(SortExpr::new(lowered.expr, !key.descending, key.nulls_first))
            })
            .collect()
    }

    fn recursive(
        &mut self,
        table: u32,
        outputs: &[Output],
        (base, base_columns): (&Rel, &[ColumnId]),
        (step, step_columns): (&Rel, &[ColumnId]),
        all: bool,
    ) -> Result<LogicalPlan> {
        let base = self.rel(base)?;
        let mut exprs = Vec::new();
        let mut types = Vec::new();
        for (output, id) in outputs.iter().zip(base_columns) {
            let (expr, arrow) = find_column(&[base.schema()], *id)?;
            // The plain layout of the type: rounds must agree on one.
            let lowered = plain(Lowered::new(expr, output.ty, arrow))?;
            types.push(lowered.arrow.clone());
            exprs.push(alias(lowered.expr, output.id));
        }
        let base = project(base, exprs)?;
        self.work_tables.insert(table, types.clone());
        let step = self.rel(step)?;
        self.work_tables.remove(&table);
        let mut exprs = Vec::new();
        for ((output, id), arrow) in outputs.iter().zip(step_columns).zip(&types) {
            let (expr, found) = find_column(&[step.schema()], *id)?;
            let lowered = lower::to_layout(Lowered::new(expr, output.ty, found), arrow)?;
            exprs.push(alias(lowered.expr, output.id));
        }
        let step = project(step, exprs)?;
        let query = RecursiveQuery::try_new(work_table_name(table), Arc::new(base), Arc::new(step), !all)
            .map_err(plan_error)?;
        Ok(LogicalPlan::RecursiveQuery(query))
    }

    fn work_table(&mut self, table: u32, outputs: &[Output]) -> Result<LogicalPlan> {
        let types = self.work_tables.get(&table).cloned().unwrap_or_default();
        let fields: Vec<Field> = outputs.iter().zip(types).map(|(o, ty)| Field::new(name(o.id), ty, true)).collect();
        let work = CteWorkTable::new(&work_table_name(table), Arc::new(Schema::new(fields)));
        let scan = TableScanBuilder::new(work_table_name(table), provider_as_source(Arc::new(work)))
            .build()
            .map_err(plan_error)?;
        Ok(LogicalPlan::TableScan(scan))
    }
}

/// The column of a condition that names none.
const ASKED_ANEW: &str = "asked_anew";

/// Whether a condition may differ from row to row and names no column: DataFusion takes it below what makes the rows.
fn is_asked_anew(condition: &Expr) -> bool {
    condition.is_volatile() && condition.column_refs().is_empty()
}

/// No row, and the values of the subqueries that have run before.
pub(crate) struct RanFirst<F>(pub F);

impl<F: Fn(Oid) -> Result<RecordBatch>> ColumnSource for RanFirst<F> {
    fn column(&self, _: ColumnId) -> Option<Datum> {
        None
    }

    fn subquery(&self, query: &QueryExpr) -> Result<Datum> {
        let QueryExpr::Scalar { rel, column } = query else { return NoColumns.subquery(query) };
        let Rel::Scan(scan) = &**rel else { return NoColumns.subquery(query) };
        let rows = self.0(scan.table)?;
        let place = scan.columns.iter().position(|c| c.output.id == *column);
        match place.and_then(|at| Some((rows.columns().get(at)?, scan.columns.get(at)?.output.ty))) {
            Some((values, ty)) if !values.is_empty() => datum_at(values.as_ref(), 0, ty),
            _ => Ok(Datum::Null),
        }
    }
}

/// The value of LIMIT or OFFSET; NULL is none.
pub(super) fn row_count(
    expr: Option<&ScalarExpr>,
    clause: &str,
    state: SqlState,
    context: &QueryContext,
) -> Result<Option<i64>> {
    let Some(expr) = expr else { return Ok(None) };
    let ran = RanFirst(|table| context.tables.system_rows(table));
    row_count_of(eval(expr, &ran, &context.params, &context.eval)?, clause, state)
}

pub(super) fn row_count_of(value: Datum, clause: &str, state: SqlState) -> Result<Option<i64>> {
    match value {
        Datum::Int8(n) if n < 0 => Err(Error::new(state, format!("{clause} must not be negative"))),
        Datum::Int8(n) => Ok(Some(n)),
        _ => Ok(None),
    }
}

fn work_table_name(table: u32) -> String {
    format!("work_{table}")
}

pub(super) fn project(input: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input)).map_err(plan_error)?))
}

pub(super) fn schema_of(fields: Vec<Field>) -> Result<DFSchemaRef> {
    let schema = DFSchema::try_from(Schema::new(fields)).map_err(plan_error)?;
    Ok(Arc::new(schema))
}

/// In the layout that the type alone determines.
pub(super) fn plain(lowered: Lowered) -> Result<Lowered> {
    let target = PgType::arrow(lowered.ty);
    lower::to_layout(lowered, &target)
}
