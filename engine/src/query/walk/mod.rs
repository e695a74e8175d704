//! Queries over the system catalog alone, row by row: clients ask hundreds of small ones with many joins, each of which would be
//! planned for longer than it runs ([decision](../../../../docs/decisions/0078-catalog-queries-row-by-row.md)).
//!
//! A [`Walk`] holds a register per column of the statement. Each node pushes its rows: it sets its registers and calls what
//! comes next, so that a correlated subquery finds the columns of the queries around it where they are.
//!
//! Invariants:
//! 1. The tree is taken as a whole or not at all ([`taken`]); functions with side effects are never taken, so a walk that
//!    gives up has done nothing.
//! 2. A walk takes at most [`STEPS_MAX`] steps; then the general path runs the query. No row leaves before the walk has ended.
//! 3. Each register is set by one node only: ids are unique in a statement, which [`taken`] checks.

mod plan;
mod rows;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::plan::{Plan, Step};
use super::QueryContext;
use super::unnest::more_than_one_row;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval, holds};
use crate::functions::{Function, Volatility};
use crate::sql::BoundQuery;
use crate::sql::rel::{Output, QueryExpr, Rel, SetOperation};
use crate::system::{self, RowKey, RowSet};
use crate::types::arrow::to_array;
use crate::types::{Datum, TypeOid};

/// Rows that a walk looks at before it gives up: some seconds at the worst, where the general path joins by hashing.
const STEPS_MAX: u64 = 3_000_000;
/// Rows of a result batch.
const BATCH_ROWS: usize = 4096;
/// Registers of a walk: statements have fewer columns.
const REGISTERS_MAX: u32 = 100_000;

/// What is called with each row; false: no more are wanted.
type Emit<'e> = dyn FnMut() -> Result<bool> + 'e;

/// A query that walks can run.
pub(super) struct Taken {
    rel: Rel,
    outputs: Vec<Output>,
    registers: usize,
    /// Columns that something names: others are not loaded.
    named: HashSet<ColumnId>,
}

/// What a tree defines and names.
#[derive(Default)]
struct Columns {
    defined: Vec<ColumnId>,
    named: HashSet<ColumnId>,
}

/// Whether `query` is one for a walk.
pub(super) fn taken(query: &BoundQuery) -> Option<Taken> {
    let system = !query.reads.is_empty() && query.reads.iter().all(|oid| system::by_oid(*oid).is_some());
    if !system || !query.locked.is_empty() || !query.runs.is_empty() || !query.locks.is_empty() {
        return None;
    }
    let mut columns = Columns::default();
    if !takes(&query.rel, &mut columns) {
        return None;
    }
    let Columns { mut defined, mut named } = columns;
    named.extend(query.outputs.iter().map(|o| o.id));
    defined.sort_unstable();
    let unique = defined.windows(2).all(|pair| pair.first() != pair.last());
    let most = defined.last().map_or(0, |id| id.0);
    (unique && most < REGISTERS_MAX).then(|| Taken {
        rel: query.rel.clone(),
        outputs: query.outputs.clone(),
        registers: most as usize + 1,
        named,
    })
}

/// Whether all nodes and expressions of a tree are known here; the ids that they define.
fn takes(rel: &Rel, columns: &mut Columns) -> bool {
    let own = match rel {
        Rel::Unit | Rel::Filter { .. } | Rel::Sort { .. } => true,
        Rel::Distinct { input } => {
            columns.named.extend(input.outputs().iter().map(|o| o.id));
            true
        }
        Rel::Scan(scan) => {
            columns.defined.extend(scan.columns.iter().map(|c| c.output.id));
            scan.system && scan.row_id.is_none() && system::by_oid(scan.table).is_some()
        }
        Rel::Values { outputs, .. } => {
            columns.defined.extend(outputs.iter().map(|o| o.id));
            true
        }
        Rel::Series { calls, ordinality, .. } => {
            columns.defined.extend(calls.iter().flat_map(|c| c.outputs.iter().map(|o| o.id)).chain(*ordinality));
            // Without calls it keeps conditions where they are: these would move here.
            !calls.is_empty() && calls.iter().all(|c| changes_nothing(&c.function))
        }
        Rel::Project { columns: computed, .. } => {
            columns.defined.extend(computed.iter().filter(|(id, e)| !is_column(e, *id)).map(|(id, _)| *id));
            true
        }
        Rel::Join { kind, .. } => {
            use crate::sql::rel::JoinKind as K;
            matches!(kind, K::Inner | K::Left | K::Right)
        }
        Rel::Aggregate { groups, sets: None, grouping: None, aggregates, .. } => {
            columns.defined.extend(groups.iter().filter(|(id, e)| !is_column(e, *id)).map(|(id, _)| *id));
            columns.defined.extend(aggregates.iter().map(|(id, _)| *id));
            aggregates.iter().all(|(_, a)| rows::can_aggregate(a))
        }
        Rel::Window { calls, .. } => {
            columns.defined.extend(calls.iter().map(|(id, _)| *id));
            calls.iter().all(|(_, c)| c.function.name == "row_number" && !c.aggregate && c.filter.is_none())
        }
        Rel::Limit { with_ties, .. } => !with_ties,
        Rel::SetOperation { operation: SetOperation::Union, outputs, left_columns, right_columns, .. } => {
            columns.defined.extend(outputs.iter().map(|o| o.id));
            columns.named.extend(left_columns.iter().chain(right_columns));
            true
        }
        _ => false,
    };
    own && rel.expressions().into_iter().all(|e| takes_expression(e, columns))
        && rel
            .inputs()
            .into_iter()
            .all(|input| stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || takes(input, columns)))
}

/// Whether a function can be called once more or once less. PostgreSQL declares one volatile that only reads the catalog.
fn changes_nothing(function: &Function) -> bool {
    function.volatility != Volatility::Volatile || function.symbol == "pg_partition_ancestors"
}

fn takes_expression(expr: &ScalarExpr, columns: &mut Columns) -> bool {
    let own = match &expr.kind {
        ExprKind::Column { id, .. } => {
            columns.named.insert(*id);
            true
        }
        ExprKind::Call { function, .. } => changes_nothing(function),
        ExprKind::Query(query) => match &**query {
            QueryExpr::Exists { rel } | QueryExpr::Quantified { rel, .. } => takes(rel, columns),
            QueryExpr::Scalar { rel, column } => {
                columns.named.insert(*column);
                takes(rel, columns)
            }
            QueryExpr::Array { rel, column } => {
                columns.named.insert(*column);
                let nested = rel.outputs().iter().any(|o| o.id == *column && o.ty.oid.element().is_some());
                !nested && takes(rel, columns)
            }
            _ => false,
        },
        _ => true,
    };
    own && expr.children().into_iter().all(|e| takes_expression(e, columns))
}

fn is_column(expr: &ScalarExpr, id: ColumnId) -> bool {
    matches!(expr.kind, ExprKind::Column { id: named, .. } if named == id)
}

/// Runs a query to its end; `None`: it is too long for a walk.
pub(super) fn run(taken: &Taken, context: &QueryContext) -> Result<Option<Vec<RecordBatch>>> {
    let walk = Walk {
        context,
        named: &taken.named,
        registers: RefCell::new(vec![Datum::Null; taken.registers]),
        steps: Cell::new(0),
        gave_up: Cell::new(false),
        plans: RefCell::default(),
        trees: RefCell::default(),
        once: RefCell::default(),
    };
    let mut columns: Vec<Vec<Datum>> = vec![Vec::new(); taken.outputs.len()];
    let mut count = 0;
    let ended = walk.run(&taken.rel, &mut || {
        let registers = walk.registers.borrow();
        for (column, output) in columns.iter_mut().zip(&taken.outputs) {
            column.push(registers.get(output.id.0 as usize).cloned().unwrap_or(Datum::Null));
        }
        count += 1;
        Ok(true)
    });
    match ended {
        Err(_) if walk.gave_up.get() => Ok(None),
        Err(error) => Err(error),
        Ok(_) => batches(&taken.outputs, &columns, count).map(Some),
    }
}

fn batches(outputs: &[Output], columns: &[Vec<Datum>], count: usize) -> Result<Vec<RecordBatch>> {
    let fields: Vec<Field> =
        outputs.iter().enumerate().map(|(i, o)| Field::new(format!("r{i}"), o.ty.arrow(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut found = Vec::new();
    for first in (0..count).step_by(BATCH_ROWS) {
        let rows = BATCH_ROWS.min(count - first);
        let arrays = outputs.iter().zip(columns).map(|(o, c)| to_array(c.iter().skip(first).take(rows), o.ty));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays.collect::<Result<_>>()?, &options);
        found.push(batch.map_err(|e| Error::internal(format!("a walk's columns do not fit: {e}")))?);
    }
    Ok(found)
}

/// One execution.
pub(super) struct Walk<'c> {
    context: &'c QueryContext,
    named: &'c HashSet<ColumnId>,
    registers: RefCell<Vec<Datum>>,
    steps: Cell<u64>,
    gave_up: Cell<bool>,
    /// Plans by the place of their tree, which lives for as long as the walk.
    plans: RefCell<HashMap<usize, Rc<Plan>>>,
    /// Trees that were run while something was planned: kept, for places are told by their address.
    trees: RefCell<Vec<Rc<Rel>>>,
    /// Values of subqueries that name no outer column; `None`: it names some.
    once: RefCell<HashMap<usize, Option<Datum>>>,
}

impl ColumnSource for Walk<'_> {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        self.registers.borrow().get(id.0 as usize).cloned()
    }

    fn subquery(&self, query: &QueryExpr) -> Result<Datum> {
        let place = std::ptr::from_ref(query) as usize;
        let known = self.once.borrow().get(&place).cloned();
        match known {
            Some(Some(value)) => return Ok(value),
            Some(None) => return self.subquery_value(query),
            None => {}
        }
        let constant = match query {
            QueryExpr::Scalar { rel, .. } | QueryExpr::Exists { rel } | QueryExpr::Array { rel, .. } => {
                !rel.is_correlated()
            }
            _ => false,
        };
        let value = self.subquery_value(query)?;
        self.once.borrow_mut().insert(place, constant.then(|| value.clone()));
        Ok(value)
    }
}

impl Walk<'_> {
    fn value(&self, expr: &ScalarExpr) -> Result<Datum> {
        match &expr.kind {
            ExprKind::Column { id, .. } => Ok(self.column(*id).unwrap_or(Datum::Null)),
            ExprKind::Const(value) => Ok(value.clone()),
            _ => eval(expr, self, &self.context.params, &self.context.eval),
        }
    }

    fn holds(&self, conditions: &[ScalarExpr]) -> Result<bool> {
        for condition in conditions {
            if !holds(condition, self, &self.context.params, &self.context.eval)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn set(&self, id: ColumnId, value: Datum) {
        if let Some(register) = self.registers.borrow_mut().get_mut(id.0 as usize) {
            *register = value;
        }
    }

    fn take(&self, columns: &[ColumnId]) -> Vec<Datum> {
        columns.iter().map(|id| self.column(*id).unwrap_or(Datum::Null)).collect()
    }

    fn put(&self, columns: &[ColumnId], values: impl IntoIterator<Item = Datum>) {
        columns.iter().zip(values).for_each(|(id, value)| self.set(*id, value));
    }

    /// One more row was looked at.
    fn step(&self) -> Result<()> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps.is_multiple_of(1024) {
            let late = self.context.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if late || self.context.cancel.is_cancelled() {
                let why = if late { "statement timeout" } else { "user request" };
                return Err(Error::new(SqlState::QueryCanceled, format!("canceling statement due to {why}")));
            }
        }
        if steps > STEPS_MAX { Err(self.give_up()) } else { Ok(()) }
    }

    fn give_up(&self) -> Error {
        self.gave_up.set(true);
        Error::internal("a walk over the catalog was given up")
    }

    fn subquery_value(&self, query: &QueryExpr) -> Result<Datum> {
        match query {
            QueryExpr::Scalar { rel, column } => {
                let mut found = None;
                self.run(rel, &mut || match found.replace(self.column(*column).unwrap_or(Datum::Null)) {
                    None => Ok(true),
                    Some(_) => Err(more_than_one_row()),
                })?;
                Ok(found.unwrap_or(Datum::Null))
            }
            QueryExpr::Exists { rel } => {
                let mut found = false;
                self.run(rel, &mut || {
                    found = true;
                    Ok(false)
                })?;
                Ok(Datum::Bool(found))
            }
            QueryExpr::Quantified { rel, condition, all } => {
                let mut result = Datum::Bool(*all);
                self.run(rel, &mut || {
                    match self.value(condition)? {
                        Datum::Bool(b) if b == *all => {}
                        Datum::Bool(b) => {
                            result = Datum::Bool(b);
                            return Ok(false);
                        }
                        _ => result = Datum::Null,
                    }
                    Ok(true)
                })?;
                Ok(result)
            }
            QueryExpr::Array { rel, column } => {
                let mut items = Vec::new();
                self.run(rel, &mut || {
                    items.push(self.column(*column).unwrap_or(Datum::Null));
                    Ok(true)
                })?;
                Ok(Datum::from(items))
            }
            _ => Err(Error::internal("an aggregate reached a walk over the catalog")),
        }
    }

    /// Pushes the rows of a node; whether more were wanted at its end.
    fn run(&self, rel: &Rel, emit: &mut Emit<'_>) -> Result<bool> {
        stacker::maybe_grow(256 * 1024, 4 * 1024 * 1024, || match rel {
            Rel::Sort { input, keys } => self.sorted(input, keys, emit),
            Rel::Limit { input, offset, count, .. } => self.limited(input, offset.as_ref(), count.as_ref(), emit),
            Rel::Distinct { input } => self.distinct(input, emit),
            Rel::Aggregate { input, groups, aggregates, .. } => self.aggregated(input, groups, aggregates, emit),
            Rel::Window { input, calls } => self.numbered(input, calls, emit),
            Rel::SetOperation { all, left, right, outputs, left_columns, right_columns, .. } => {
                self.union(*all, (left, left_columns), (right, right_columns), outputs, emit)
            }
            Rel::Values { outputs, rows } => {
                for row in rows {
                    self.step()?;
                    for (output, expr) in outputs.iter().zip(row) {
                        let value = self.value(expr)?;
                        self.set(output.id, value);
                    }
                    if !emit()? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => {
                let plan = self.plan(rel)?;
                self.walk(&plan, emit)
            }
        })
    }

    fn plan(&self, rel: &Rel) -> Result<Rc<Plan>> {
        let place = std::ptr::from_ref(rel) as usize;
        if let Some(plan) = self.plans.borrow().get(&place) {
            return Ok(plan.clone());
        }
        let plan = Rc::new(Plan::new(self, rel.clone(), Vec::new())?);
        self.plans.borrow_mut().insert(place, plan.clone());
        Ok(plan)
    }

    fn walk(&self, plan: &Plan, emit: &mut Emit<'_>) -> Result<bool> {
        if self.holds(&plan.before)? { self.steps(&plan.stages, emit) } else { Ok(true) }
    }

    /// Pushes the rows of the first stage through the others.
    fn steps(&self, stages: &[plan::Stage], emit: &mut Emit<'_>) -> Result<bool> {
        let Some((stage, rest)) = stages.split_first() else { return emit() };
        let mut next = || if self.holds(&stage.conditions)? { self.steps(rest, emit) } else { Ok(true) };
        match &stage.step {
            Step::Rows { rows, columns, relation, keys } => match keys {
                None => {
                    for row in 0..rows.count() {
                        self.load(rows, columns, *relation, row)?;
                        if !next()? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Some((column, keys)) => {
                    for row in self.looked_up(rows, *column, keys)? {
                        self.load(rows, columns, *relation, row as usize)?;
                        if !next()? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
            },
            Step::Each(rel) => self.run(rel, &mut next),
            Step::Outer { plan, gives } => {
                let mut any = false;
                let more = self.walk(plan, &mut || {
                    any = true;
                    next()
                })?;
                if any || !more {
                    return Ok(more);
                }
                self.step()?;
                self.put(gives, std::iter::repeat_n(Datum::Null, gives.len()));
                next()
            }
            Step::Compute(columns) => {
                for (id, expr) in columns {
                    let value = self.value(expr)?;
                    self.set(*id, value);
                }
                next()
            }
            Step::Series { calls, ordinality } => self.series(calls, *ordinality, &mut next),
        }
    }

    /// Rows whose column has one of the keys, each once, in order.
    fn looked_up(&self, rows: &RowSet, column: usize, keys: &plan::Keys) -> Result<Vec<u32>> {
        let values = match keys {
            plan::Keys::One(expr) => return Ok(self.matching(rows, column, &self.value(expr)?)),
            plan::Keys::Query(query, expr) => {
                let mut values = Vec::new();
                self.run(query, &mut || {
                    values.push(self.value(expr)?);
                    Ok(true)
                })?;
                values
            }
            plan::Keys::List(exprs) => exprs.iter().map(|e| self.value(e)).collect::<Result<Vec<_>>>()?,
            plan::Keys::Array(expr) => match self.value(expr)? {
                Datum::Array(items) => items.iter().cloned().collect(),
                _ => Vec::new(),
            },
        };
        let mut found: Vec<u32> = values.iter().flat_map(|value| self.matching(rows, column, value)).collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn matching(&self, rows: &RowSet, column: usize, value: &Datum) -> Vec<u32> {
        RowKey::new(value).map(|key| rows.matching(column, &key)).unwrap_or_default()
    }

    fn load(
        &self,
        rows: &RowSet,
        columns: &[(ColumnId, usize)],
        relation: Option<crate::catalog::Oid>,
        row: usize,
    ) -> Result<()> {
        self.step()?;
        let mut registers = self.registers.borrow_mut();
        for (id, column) in columns {
            let figure = relation.and_then(|oid| {
                self.context.tables.system_figure(oid, rows, row, i16::try_from(*column).map_or(0, |c| c + 1))
            });
            if let Some(register) = registers.get_mut(id.0 as usize) {
                *register = figure.unwrap_or_else(|| rows.value(*column, row).clone());
            }
        }
        Ok(())
    }
}

/// The type of row numbers.
const INT8: TypeOid = TypeOid::INT8;
