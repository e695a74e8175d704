//! Subqueries and LATERAL become joins, so that what is lowered to DataFusion names no column of an enclosing query.
//!
//! EXISTS, IN and NOT IN at the top of a condition become semi and anti joins. Everything else goes the general way of
//! Neumann and Kemper ("Unnesting Arbitrary Queries", 2015): the distinct values of the outer columns that a subquery
//! names (its *domain*) are joined into it, it is computed for all of them at once, and the result is joined back.
//!
//! Invariants:
//! 1. The tree that leaves here holds no subquery expression, no LATERAL join and no free column; rows of subqueries that ran
//!    before are named by LIMIT, OFFSET and the offsets of frames alone.
//! 2. NULL is a value of the domain like any other: joins on it are null-safe.

mod calls;
mod domain;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::calls::{
    LIMIT_ROWS, OFFSET_ROWS, aggregate, boolean, column, compare, int8, not, numbered, row_count, same,
    scalar_aggregate, single_value, window,
};
use super::empty;
use super::narrow::exactly_one_row;
use super::runtime::Stop;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::{Function, registry};
use crate::sql::rel::{Aggregate, JoinKind, QueryExpr, Rel, SetOperation, SortKey};
use crate::types::{Datum, PgType, TypeOid};

/// Hands out column ids that nothing in the tree uses.
pub(super) struct Unnester {
    next: u32,
    stop: Stop,
    /// Columns that copies of relations define, together.
    pub(super) copied: usize,
}

/// [`Unnester::copied`] of the most complex statement: beyond it a plan takes minutes to make, and gigabytes.
pub(super) const MOST_COPIED: usize = 20_000;

/// The function that DataFusion's side knows as "the only value, or 21000"; not in pg_proc.
pub(super) const SINGLE_VALUE: &str = "lockstep_single_value";

impl Unnester {
    pub(super) fn new(rel: &Rel, stop: Stop) -> Unnester {
        let mut defined = HashSet::new();
        rel.defined(&mut defined);
        Unnester { next: defined.iter().map(|id| id.0).max().unwrap_or(0) + 1, stop, copied: 0 }
    }

    fn fresh(&mut self) -> ColumnId {
        self.next += 1;
        ColumnId(self.next)
    }

    pub(super) fn rel(&mut self, mut rel: Rel) -> Result<Rel> {
        for input in rel.inputs_mut() {
            let taken = std::mem::replace(input, Rel::Unit);
            *input = stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.rel(taken))?;
        }
        let rel = self.simplify(rel)?;
        // Subqueries of LIMIT have run before, or name columns around, from which they are parted with them.
        if matches!(rel, Rel::Limit { .. }) || !rel.expressions().iter().any(|e| e.has_subquery()) {
            return Ok(rel);
        }
        match rel {
            Rel::Filter { input, predicate } => self.filter(*input, predicate),
            Rel::Project { input, mut columns } => {
                let mut input = *input;
                for (_, expr) in &mut columns {
                    self.attach(&mut input, expr)?;
                }
                Ok(input.project(columns))
            }
            Rel::Join { left, right, kind: JoinKind::Inner, condition: Some(condition), lateral } => {
                let join = Rel::Join { left, right, kind: JoinKind::Inner, condition: None, lateral };
                self.filter(join, condition)
            }
            Rel::Join { left, right, kind, condition: Some(condition), .. } => {
                self.outer_join(*left, *right, kind, condition)
            }
            Rel::Values { outputs, rows } => {
                let union = self.rows_as_queries(outputs, rows);
                self.rel(union)
            }
            Rel::Window { input, mut calls } => {
                // The offsets of frames have run before.
                let mut input = *input;
                for (_, call) in &mut calls {
                    let order = call.order_by.iter_mut().map(|key| &mut key.expr);
                    let parts = call.args.iter_mut().chain(&mut call.filter).chain(&mut call.partition_by).chain(order);
                    for part in parts {
                        self.attach(&mut input, part)?;
                    }
                }
                Ok(Rel::Window { input: Box::new(input), calls })
            }
            mut rel => {
                // Aggregates, series, sorts: their input gains the columns.
                let mut input = match rel.inputs_mut().into_iter().next() {
                    Some(input) => std::mem::replace(input, Rel::Unit),
                    None => return Err(Error::internal("a subquery in a leaf")),
                };
                rel.expressions_mut(&mut |e| self.attach(&mut input, e))?;
                if let Some(slot) = rel.inputs_mut().into_iter().next() {
                    *slot = input;
                }
                Ok(rel)
            }
        }
    }

    /// Nodes that are short for others.
    fn simplify(&mut self, rel: Rel) -> Result<Rel> {
        match rel {
            Rel::Join { left, right, kind, condition, lateral: true } => self.lateral(*left, *right, kind, condition),
            Rel::DistinctOn { input, keys, order } => {
                let columns = input.outputs();
                let rest = order.into_iter().skip(keys.len()).collect::<Vec<_>>();
                let id = self.fresh();
                let numbered = numbered(*input, id, keys, rest)?;
                let first = compare("=", column(id, TypeOid::INT8), int8(1))?;
                let kept = columns.iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
                Ok(numbered.filter(Some(first)).project(kept))
            }
            Rel::Limit { input, offset, count: Some(count), with_ties: true } => {
                let keys = match &*input {
                    Rel::Sort { keys, .. } => keys.clone(),
                    _ => return Err(Error::internal("WITH TIES without ORDER BY")),
                };
                let columns = input.outputs();
                let id = self.fresh();
                let mut calls = vec![(id, window("rank", vec![], keys.clone())?)];
                let place = offset.as_ref().map(|_| self.fresh());
                if let Some(place) = place {
                    calls.push((place, window("row_number", vec![], keys.clone())?));
                }
                let mut ranked = Rel::Window { input, calls };
                let (mut offset, mut count) = (offset, count);
                offset.iter_mut().chain([&mut count]).try_for_each(|e| self.attach(&mut ranked, e))?;
                let (mut rank, mut kept) = (column(id, TypeOid::INT8), Vec::new());
                if let (Some(place), Some(offset)) = (place, offset) {
                    // The rows behind the offset, up to the peers of the last one.
                    let skipped = row_count(&OFFSET_ROWS, offset)?;
                    rank = compare("-", rank, skipped.clone())?;
                    kept.push(compare(">", column(place, TypeOid::INT8), skipped)?);
                }
                kept.push(compare("<=", rank, row_count(&LIMIT_ROWS, count)?)?);
                let columns = columns.iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
                let rel = ranked.filter(ScalarExpr::and(kept)).project(columns);
                Ok(Rel::Sort { input: Box::new(rel), keys })
            }
            Rel::SetOperation { operation, all, left, right, outputs, left_columns, right_columns }
                if operation != SetOperation::Union =>
            {
                self.intersect(operation, all, *left, *right, outputs, left_columns, right_columns)
            }
            Rel::Aggregate { input, groups, sets, grouping, aggregates } => {
                Ok(in_order_of_input(*input, groups, sets, grouping, aggregates))
            }
            rel => Ok(rel),
        }
    }

    /// INTERSECT and EXCEPT as semi and anti joins; with ALL the copies of a row are numbered.
    #[allow(clippy::too_many_arguments)]
    fn intersect(
        &mut self,
        operation: SetOperation,
        all: bool,
        left: Rel,
        right: Rel,
        outputs: Vec<crate::sql::rel::Output>,
        left_columns: Vec<ColumnId>,
        right_columns: Vec<ColumnId>,
    ) -> Result<Rel> {
        let project = |rel: Rel, to: &[(ColumnId, PgType)], from: &[ColumnId]| {
            rel.project(to.iter().zip(from).map(|((id, ty), c)| (*id, ScalarExpr::column(*c, *ty))).collect())
        };
        let to: Vec<(ColumnId, PgType)> = outputs.iter().map(|o| (o.id, o.ty)).collect();
        let copies: Vec<(ColumnId, PgType)> = outputs.iter().map(|o| (self.fresh(), o.ty)).collect();
        let mut left = project(left, &to, &left_columns);
        let mut right = project(right, &copies, &right_columns);
        let mut pairs: Vec<(ScalarExpr, ScalarExpr)> = to
            .iter()
            .zip(&copies)
            .map(|((l, ty), (r, _))| (ScalarExpr::column(*l, *ty), ScalarExpr::column(*r, *ty)))
            .collect();
        if all {
            let (l, r) = (self.fresh(), self.fresh());
            let keys = |side: &[(ColumnId, PgType)]| side.iter().map(|(id, ty)| ScalarExpr::column(*id, *ty)).collect();
            left = numbered(left, l, keys(&to), vec![])?;
            right = numbered(right, r, keys(&copies), vec![])?;
            pairs.push((column(l, TypeOid::INT8), column(r, TypeOid::INT8)));
        } else {
            left = Rel::Distinct { input: Box::new(left) };
        }
        let kind = if operation == SetOperation::Intersect { JoinKind::Semi } else { JoinKind::Anti };
        let condition = ScalarExpr::and(pairs.into_iter().map(|(l, r)| same(l, r)).collect());
        let joined = left.join(right, kind, condition);
        Ok(joined.project(to.iter().map(|(id, ty)| (*id, ScalarExpr::column(*id, *ty))).collect()))
    }

    /// Conditions without subqueries come first: the domain of a correlated subquery is taken from what they leave, not
    /// from the product of all relations in FROM.
    fn filter(&mut self, input: Rel, predicate: ScalarExpr) -> Result<Rel> {
        let (nested, plain): (Vec<_>, Vec<_>) = predicate.conjuncts().into_iter().partition(ScalarExpr::has_subquery);
        let mut input = input.filter(ScalarExpr::and(plain));
        let mut rest = Vec::new();
        for mut part in nested {
            match self.semi_join(input, &mut part)? {
                (joined, true) => input = joined,
                (same, false) => {
                    input = same;
                    self.attach(&mut input, &mut part)?;
                    rest.push(part);
                }
            }
        }
        Ok(input.filter(ScalarExpr::and(rest)))
    }

    /// An outer join whose condition holds subqueries: each becomes a column of the side that it names.
    ///
    /// Errors: 0A000 for a full join with one that names both.
    fn outer_join(&mut self, left: Rel, right: Rel, kind: JoinKind, mut condition: ScalarExpr) -> Result<Rel> {
        let ids = |rel: &Rel| rel.outputs().iter().map(|o| o.id).collect::<HashSet<ColumnId>>();
        let (of_left, of_right) = (ids(&left), ids(&right));
        let of_both = |e: &ScalarExpr| e.subquery().is_some() && names(e, &of_left) && names(e, &of_right);
        if condition.any(&of_both) {
            // Which rows of one side match is asked anew for each row of the other.
            let (left, right) = match kind {
                JoinKind::Left => (left, right),
                JoinKind::Right => (right, left),
                _ => {
                    let message = "FULL JOIN is only supported with merge-joinable or hash-joinable join conditions";
                    return Err(Error::new(SqlState::FeatureNotSupported, message));
                }
            };
            let right = self.filter(right, condition)?;
            return self.lateral(left, right, JoinKind::Left, None);
        }
        let (mut left, mut right) = (left, right);
        self.attach_to_sides(&mut left, &mut right, &of_left, &mut condition)?;
        Ok(Rel::Join { left: Box::new(left), right: Box::new(right), kind, condition: Some(condition), lateral: false })
    }

    /// [`Unnester::attach`] of each subquery to the left side, if it names one of that side's columns, else to the right.
    fn attach_to_sides(
        &mut self,
        left: &mut Rel,
        right: &mut Rel,
        of_left: &HashSet<ColumnId>,
        expr: &mut ScalarExpr,
    ) -> Result<()> {
        if expr.subquery().is_none() {
            return expr.children_mut(&mut |e| self.attach_to_sides(left, right, of_left, e));
        }
        self.attach(if names(expr, of_left) { left } else { right }, expr)
    }

    /// `[NOT] EXISTS`, `IN` and `NOT IN` at the top of a condition. The flag says whether it was one and has gone.
    fn semi_join(&mut self, input: Rel, part: &mut ScalarExpr) -> Result<(Rel, bool)> {
        let (negated, inner) = match &mut part.kind {
            ExprKind::Not(inner) => (true, &mut **inner),
            _ => (false, part),
        };
        let ExprKind::Query(query) = &mut inner.kind else {
            return Ok((input, false));
        };
        let (rel, mut conditions, quantified) = match Arc::make_mut(query) {
            QueryExpr::Exists { rel } => (rel, vec![], false),
            QueryExpr::Quantified { rel, condition, all: false } => (rel, condition.clone().conjuncts(), true),
            _ => return Ok((input, false)),
        };
        // Also where it is no join in the end: nobody does this again.
        *rel = Arc::new(self.rel((**rel).clone())?);
        let rel = (**rel).clone();
        if conditions.iter().any(ScalarExpr::has_subquery) {
            return Ok((input, false));
        }
        let inner = if quantified { rel } else { without_order(rel) };
        let inner = self.pull_conditions(inner, &mut conditions, !quantified);
        if inner.is_correlated() {
            return Ok((input, false));
        }
        let kind = match (negated, quantified) {
            (false, _) => JoinKind::Semi,
            (true, false) => JoinKind::Anti,
            // The three-valued anti join needs one plain equality.
            (true, true) => match conditions.as_slice() {
                [ScalarExpr { kind: ExprKind::Call { function, .. }, .. }] if is_equality(function) => {
                    JoinKind::NullAwareAnti
                }
                _ => return Ok((input, false)),
            },
        };
        let condition = ScalarExpr::and(conditions);
        let join = input.join(inner, kind, condition);
        Ok((join, true))
    }

    /// Moves the correlated filters of a tree out of it, where only its rows count (`drop_columns`: not even its columns).
    fn pull_conditions(&mut self, rel: Rel, out: &mut Vec<ScalarExpr>, drop_columns: bool) -> Rel {
        match rel {
            Rel::Filter { input, predicate } => {
                let mut defined = HashSet::new();
                input.defined(&mut defined);
                let (own, pulled): (Vec<_>, Vec<_>) = predicate.conjuncts().into_iter().partition(|p| {
                    let mut free = HashSet::new();
                    p.free_columns(&mut free);
                    free.is_subset(&defined)
                });
                out.extend(pulled);
                let input = self.pull_conditions(*input, out, drop_columns);
                input.filter(ScalarExpr::and(own))
            }
            Rel::Project { input, mut columns } => {
                let input = self.pull_conditions(*input, out, drop_columns);
                // What the pulled conditions name, from below and from above, must pass.
                let mut named = HashSet::new();
                out.iter().for_each(|c| c.free_columns(&mut named));
                for output in input.outputs() {
                    if named.contains(&output.id) && !columns.iter().any(|(id, _)| *id == output.id) {
                        columns.push((output.id, ScalarExpr::column(output.id, output.ty)));
                    }
                }
                if drop_columns {
                    columns.retain(|(id, _)| named.contains(id));
                    if columns.is_empty() {
                        return input;
                    }
                }
                input.project(columns)
            }
            rel => rel,
        }
    }

    /// Replaces the subqueries of `expr` by columns that `input` gains.
    fn attach(&mut self, input: &mut Rel, expr: &mut ScalarExpr) -> Result<()> {
        if expr.subquery().is_none() {
            return expr.children_mut(&mut |e| self.attach(input, e));
        }
        let ty = expr.ty;
        let ExprKind::Query(query) = &expr.kind else {
            return Ok(());
        };
        let query = (**query).clone();
        *expr = match query {
            // An expression that stands there twice, like an operand of a comparison of rows, has its subquery once.
            QueryExpr::Scalar { column: wanted, .. } if input.outputs().iter().any(|o| o.id == wanted) => {
                ScalarExpr::column(wanted, ty)
            }
            QueryExpr::Scalar { rel, column: wanted } => {
                let rel = self.rel(Arc::unwrap_or_clone(rel))?;
                let rel = if at_most_one_row(&rel) { rel } else { self.single(rel, wanted, ty)? };
                // With `single` the wanted column keeps its id.
                self.join_back(input, rel)?;
                ScalarExpr::column(wanted, ty)
            }
            QueryExpr::Exists { rel } => {
                let rel = without_order(self.rel(Arc::unwrap_or_clone(rel))?);
                let id = self.fresh();
                let count = aggregate("count", vec![], TypeOid::INT8.into())?;
                let rel = scalar_aggregate(rel, vec![(id, count)]);
                self.join_back(input, rel)?;
                compare(">", column(id, TypeOid::INT8), int8(0))?
            }
            QueryExpr::Array { rel, column: wanted } => {
                let rel = self.rel(Arc::unwrap_or_clone(rel))?;
                let (rel, order_by) = split_order(rel);
                let id = self.fresh();
                let outputs = rel.outputs();
                let element = outputs.iter().find(|o| o.id == wanted).map(|o| o.ty);
                let element = element.unwrap_or(PgType::new(ty.oid.element().unwrap_or(TypeOid::TEXT), ty.typmod));
                let args = vec![ScalarExpr::column(wanted, element)];
                let mut call = aggregate("array_agg", args, ty)?;
                call.order_by = order_by;
                let rel = scalar_aggregate(rel, vec![(id, call)]);
                self.join_back(input, rel)?;
                let empty = ScalarExpr::constant(Datum::Array(Arc::default()), ty);
                ScalarExpr::new(ExprKind::Coalesce(vec![ScalarExpr::column(id, ty), empty]), ty)
            }
            QueryExpr::Quantified { rel, condition, all } => {
                let rel = self.rel(Arc::unwrap_or_clone(rel))?;
                let mut condition = *condition;
                if all {
                    condition = not(condition);
                }
                // True if it holds for a row, else unknown if it is unknown for one, else false.
                let unknown = ScalarExpr::new(
                    ExprKind::IsNull { arg: Box::new(condition.clone()), negated: false },
                    TypeOid::BOOL,
                );
                let (held, open) = (self.fresh(), self.fresh());
                let any = |arg| aggregate("bool_or", vec![arg], TypeOid::BOOL.into());
                let mut columns: Vec<(ColumnId, ScalarExpr)> = Vec::new();
                let (c, u) = (self.fresh(), self.fresh());
                columns.push((c, condition));
                columns.push((u, unknown));
                let mut rel = self.rel(rel.project(columns))?;
                rel = scalar_aggregate(
                    rel,
                    vec![(held, any(column(c, TypeOid::BOOL))?), (open, any(column(u, TypeOid::BOOL))?)],
                );
                self.join_back(input, rel)?;
                let whens = vec![
                    (column(held, TypeOid::BOOL), boolean(Datum::Bool(true))),
                    (column(open, TypeOid::BOOL), boolean(Datum::Null)),
                ];
                let otherwise = Some(Box::new(boolean(Datum::Bool(false))));
                let value = ScalarExpr::new(ExprKind::Case { whens, otherwise, simple: false }, TypeOid::BOOL);
                if all { not(value) } else { value }
            }
            _ => return Err(Error::internal("not a subquery")),
        };
        Ok(())
    }

    /// The only row of a query, 21000 if there are more, one row of NULL if there is none.
    fn single(&mut self, rel: Rel, wanted: ColumnId, ty: PgType) -> Result<Rel> {
        let inner = self.fresh();
        let rel = rel.project(vec![(inner, ScalarExpr::column(wanted, ty))]);
        let call = Aggregate {
            function: single_value()?,
            args: vec![ScalarExpr::column(inner, ty)],
            distinct: false,
            order_by: vec![],
            filter: None,
            ty,
        };
        Ok(scalar_aggregate(rel, vec![(wanted, call)]))
    }

    /// `input` LEFT JOIN LATERAL `rel`, which yields at most one row per row of the input.
    fn join_back(&mut self, input: &mut Rel, rel: Rel) -> Result<()> {
        let left = std::mem::replace(input, Rel::Unit);
        *input = self.lateral(left, rel, JoinKind::Left, None)?;
        Ok(())
    }

    /// A join whose right side may name columns of the left.
    fn lateral(&mut self, left: Rel, right: Rel, kind: JoinKind, condition: Option<ScalarExpr>) -> Result<Rel> {
        let outer: HashMap<ColumnId, PgType> = left.outputs().iter().map(|o| (o.id, o.ty)).collect();
        let mut free = HashSet::new();
        right.free_columns(&mut free);
        let mut named: Vec<ColumnId> = free.into_iter().filter(|id| outer.contains_key(id)).collect();
        named.sort();
        if named.is_empty() {
            // Exactly one row on the right: no row of the left can stay alone.
            let kind = if condition.is_none() && exactly_one_row(&right) { JoinKind::Inner } else { kind };
            return Ok(left.join(right, kind, condition));
        }
        let right = match (right, kind) {
            // A function over the columns of its neighbour: rows for each row.
            (Rel::Series { input: unit, calls, ordinality }, JoinKind::Inner) if matches!(*unit, Rel::Unit) => {
                let series = Rel::Series { input: Box::new(left), calls, ordinality };
                return Ok(series.filter(condition));
            }
            // An expression over them: a column.
            (Rel::Project { input: unit, columns }, JoinKind::Inner | JoinKind::Left)
                if matches!(*unit, Rel::Unit) && condition.is_none() =>
            {
                let mut all: Vec<_> =
                    left.outputs().into_iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
                all.extend(columns);
                return Ok(left.project(all));
            }
            (right, _) => right,
        };
        let mut domain = self.domain(&left, &named, &outer)?;
        domain.every = kind != JoinKind::Left || condition.is_some() || !empty::is_null_without_rows(&right);
        let right = self.push(&domain, right)?;
        let mut conditions = condition.map(ScalarExpr::conjuncts).unwrap_or_default();
        for (outer_id, inner_id, ty) in &domain.columns {
            conditions.push(same(ScalarExpr::column(*outer_id, *ty), ScalarExpr::column(*inner_id, *ty)));
        }
        Ok(left.join(right, kind, ScalarExpr::and(conditions)))
    }
}

/// Whether an expression names one of the columns, be it in a subquery.
fn names(expr: &ScalarExpr, columns: &HashSet<ColumnId>) -> bool {
    let mut free = HashSet::new();
    expr.free_columns(&mut free);
    !free.is_disjoint(columns)
}

fn is_equality(function: &Function) -> bool {
    registry().is_equality(function.oid)
}

/// An ungrouped aggregation yields one row, and so does what only computes on it.
fn at_most_one_row(rel: &Rel) -> bool {
    match rel {
        Rel::Unit => true,
        Rel::Aggregate { groups, sets, .. } => groups.is_empty() && sets.is_none(),
        Rel::Project { input, .. } | Rel::Filter { input, .. } | Rel::Sort { input, .. } | Rel::Distinct { input } => {
            at_most_one_row(input)
        }
        Rel::Values { rows, .. } => rows.len() <= 1,
        Rel::Limit { input, count, .. } => {
            let one = count.as_ref().is_some_and(|c| matches!(c.kind, ExprKind::Const(Datum::Int8(0 | 1))));
            one || at_most_one_row(input)
        }
        Rel::Join { left, right, kind: JoinKind::Inner | JoinKind::Left, .. } => {
            at_most_one_row(left) && at_most_one_row(right)
        }
        _ => false,
    }
}

/// The same rows; neither their order nor a limit above zero matters.
fn without_order(rel: Rel) -> Rel {
    match rel {
        Rel::Sort { input, .. } => without_order(*input),
        Rel::Limit { input, offset: None, count, .. }
            if count.as_ref().is_none_or(|c| matches!(c.kind, ExprKind::Const(Datum::Int8(1..)))) =>
        {
            without_order(*input)
        }
        Rel::Project { input, columns } => without_order(*input).project(columns),
        rel => rel,
    }
}

/// Takes the order of a query's rows off it, as keys for the aggregate that collects its column.
fn split_order(rel: Rel) -> (Rel, Vec<SortKey>) {
    match rel {
        Rel::Sort { input, keys } => (*input, keys),
        Rel::Project { input, columns } if matches!(*input, Rel::Sort { .. }) => {
            let (input, keys) = split_order(*input);
            let mut all = columns;
            for key in &keys {
                if let ExprKind::Column { id, .. } = key.expr.kind
                    && !all.iter().any(|(c, _)| *c == id)
                {
                    all.push((id, key.expr.clone()));
                }
            }
            (input.project(all), keys)
        }
        rel => (rel, vec![]),
    }
}

/// Aggregates whose result shows the order of their rows take it from an ordered subquery below them.
fn in_order_of_input(
    input: Rel,
    groups: Vec<(ColumnId, ScalarExpr)>,
    sets: Option<Vec<Vec<usize>>>,
    grouping: Option<ColumnId>,
    mut aggregates: Vec<(ColumnId, Aggregate)>,
) -> Rel {
    const ORDERED: &[&str] =
        &["array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"];
    let wants = |call: &Aggregate| call.order_by.is_empty() && !call.distinct && ORDERED.contains(&call.function.name);
    let mut input = input;
    if aggregates.iter().any(|(_, call)| wants(call)) {
        let keys;
        (input, keys) = match input {
            Rel::Limit { input, offset, count, with_ties } => {
                let keys = match &*input {
                    Rel::Sort { keys, .. } => keys.clone(),
                    _ => Vec::new(),
                };
                (Rel::Limit { input, offset, count, with_ties }, keys)
            }
            other => split_order(other),
        };
        let outputs = input.outputs();
        let at_hand = |key: &SortKey| {
            let mut named = HashSet::new();
            key.expr.free_columns(&mut named);
            !key.expr.has_subquery() && named.iter().all(|id| outputs.iter().any(|o| o.id == *id))
        };
        if keys.iter().all(at_hand) {
            for (_, call) in aggregates.iter_mut().filter(|(_, call)| wants(call)) {
                call.order_by = keys.clone();
            }
        }
    }
    Rel::Aggregate { input: Box::new(input), groups, sets, grouping, aggregates }
}

/// The error of a scalar subquery with more than one row.
pub(super) fn more_than_one_row() -> Error {
    Error::new(SqlState::CardinalityViolation, "more than one row returned by a subquery used as an expression")
}
