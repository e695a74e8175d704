//! GROUP BY: grouping sets, and the rewriting of what stands above the grouping into its columns.

use std::collections::{HashMap, HashSet};

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::expr::query;
use super::query::ordinal;
use super::select::extract_series;
use super::{Binder, fold};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{Aggregate, QueryExpr, Rel, SetCall};
use crate::sql::spellings::DISTINCT_SETS;
use crate::types::{Datum, TypeOid};

/// Most grouping sets of one query.
const MAX_SETS: usize = 4096;

/// The clause: expressions, and the sets if there is more than one.
#[derive(Debug, Default)]
pub(super) struct GroupBy {
    exprs: Vec<ScalarExpr>,
    sets: Option<Vec<Vec<usize>>>,
    written: bool,
}

impl GroupBy {
    /// Takes the set-returning calls out of the keys: what they yield is grouped. `fields`: the calls whose fields are used.
    pub(super) fn take_series(&mut self, fields: &mut Vec<SetCall>) -> Result<Vec<SetCall>> {
        let mut calls: Vec<SetCall> = Vec::new();
        let mut used = HashSet::new();
        for key in &mut self.exprs {
            extract_series(key, &mut calls)?;
            key.free_columns(&mut used);
        }
        calls.extend(fields.extract_if(.., |call| call.outputs.iter().any(|output| used.contains(&output.id))));
        Ok(calls)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.written
    }

    /// The expressions, if there is one set of them.
    pub(super) fn plain(&self) -> Option<&[ScalarExpr]> {
        self.sets.is_none().then_some(self.exprs.as_slice())
    }
}

/// A grouping while the expressions above it are rewritten.
pub(super) struct Grouping {
    groups: Vec<(ColumnId, ScalarExpr)>,
    sets: Option<Vec<Vec<usize>>>,
    grouping: Option<ColumnId>,
    aggregates: Vec<(ColumnId, Aggregate)>,
    /// Columns of the grouped input: not to be named above, unless grouped.
    local: HashSet<ColumnId>,
}

impl Grouping {
    /// `aggregates`: those that subqueries have left.
    pub(super) fn new(
        binder: &mut Binder,
        input: &Rel,
        group_by: GroupBy,
        aggregates: Vec<(ColumnId, Aggregate)>,
    ) -> Grouping {
        let grouping = group_by.sets.is_some().then(|| binder.fresh());
        Grouping {
            groups: group_by.exprs.into_iter().map(|e| (binder.fresh(), e)).collect(),
            sets: group_by.sets,
            grouping,
            aggregates,
            local: input.outputs().iter().map(|o| o.id).collect(),
        }
    }

    pub(super) fn finish(self, binder: &mut Binder, input: Rel) -> Result<Rel> {
        let mut groups = Vec::with_capacity(self.groups.len());
        for (id, expr) in self.groups {
            groups.push((id, binder.grouped(expr)?));
        }
        Ok(Rel::Aggregate {
            input: Box::new(input),
            groups,
            sets: self.sets,
            grouping: self.grouping,
            aggregates: self.aggregates,
        })
    }
}

impl Binder {
    pub(super) fn group_by(&mut self, clause: &ast::GroupByExpr, items: &[(String, ScalarExpr)]) -> Result<GroupBy> {
        let ast::GroupByExpr::Expressions(exprs, modifiers) = clause else {
            return Err(Error::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(Error::new(SqlState::SyntaxError, "syntax error in GROUP BY"));
        }
        let (distinct, exprs) = match exprs.split_first() {
            Some((Expr::Identifier(mark), rest)) if mark.value == DISTINCT_SETS => (true, rest),
            _ => (false, exprs.as_slice()),
        };
        let mut out = GroupBy { written: !exprs.is_empty(), ..GroupBy::default() };
        let mut sets: Vec<Vec<usize>> = vec![vec![]];
        let mut several = false;
        for expr in exprs {
            let options = self.group_item(expr, items, &mut out.exprs)?;
            several |= matches!(expr, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
            let mut product = Vec::new();
            for set in &sets {
                for option in &options {
                    let mut joined = set.clone();
                    for i in option {
                        if !joined.contains(i) {
                            joined.push(*i);
                        }
                    }
                    product.push(joined);
                }
            }
            if product.len() > MAX_SETS {
                return Err(Error::new(
                    SqlState::StatementTooComplex,
                    format!("too many grouping sets present (maximum {MAX_SETS})"),
                ));
            }
            sets = product;
        }
        if distinct {
            let mut known = HashSet::new();
            sets.retain(|set| {
                let mut set = set.clone();
                set.sort_unstable();
                known.insert(set)
            });
        }
        if several {
            out.sets = Some(sets);
        }
        Ok(out)
    }

    /// The alternatives that one item of the clause stands for, as indexes into `groups`.
    fn group_item(
        &mut self,
        expr: &Expr,
        items: &[(String, ScalarExpr)],
        groups: &mut Vec<ScalarExpr>,
    ) -> Result<Vec<Vec<usize>>> {
        match expr {
            Expr::GroupingSets(sets) => {
                let mut out = Vec::new();
                for set in sets {
                    match set.as_slice() {
                        [inner @ (Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_))] => {
                            out.extend(self.group_item(inner, items, groups)?);
                        }
                        set => out.push(self.group_list(set, items, groups)?),
                    }
                }
                Ok(out)
            }
            Expr::Rollup(lists) => {
                let lists = lists.iter().map(|l| self.group_list(l, items, groups)).collect::<Result<Vec<_>>>()?;
                Ok((0..=lists.len()).rev().map(|n| lists.iter().take(n).flatten().copied().collect()).collect())
            }
            Expr::Cube(lists) => {
                if lists.len() > 12 {
                    return Err(Error::new(SqlState::TooManyColumns, "CUBE is limited to 12 elements"));
                }
                let lists = lists.iter().map(|l| self.group_list(l, items, groups)).collect::<Result<Vec<_>>>()?;
                let all = 1usize << lists.len();
                Ok((0..all)
                    .rev()
                    .map(|mask| {
                        let bit = |i: usize| mask >> (lists.len() - 1 - i) & 1 == 1;
                        lists.iter().enumerate().filter(|(i, _)| bit(*i)).flat_map(|(_, l)| l).copied().collect()
                    })
                    .collect())
            }
            Expr::Tuple(parts) => Ok(vec![self.group_list(parts, items, groups)?]),
            expr => {
                let i = self.group_expr(expr, items, groups)?;
                Ok(vec![vec![i]])
            }
        }
    }

    fn group_list(
        &mut self,
        exprs: &[Expr],
        items: &[(String, ScalarExpr)],
        groups: &mut Vec<ScalarExpr>,
    ) -> Result<Vec<usize>> {
        let mut out = Vec::new();
        for expr in exprs {
            if let Expr::Tuple(parts) = expr {
                out.extend(self.group_list(parts, items, groups)?);
            } else {
                out.push(self.group_expr(expr, items, groups)?);
            }
        }
        Ok(out)
    }

    /// One expression: an input column first, then an output name, a position, anything else.
    fn group_expr(
        &mut self,
        expr: &Expr,
        items: &[(String, ScalarExpr)],
        groups: &mut Vec<ScalarExpr>,
    ) -> Result<usize> {
        let mut inner = expr;
        while let Expr::Nested(nested) = inner {
            inner = nested;
        }
        let span = expr.span();
        let chosen = if let Some(n) = ordinal(inner) {
            let found = usize::try_from(n).ok().and_then(|n| items.get(n.checked_sub(1)?));
            let Some((_, expr)) = found else {
                let error = Error::new(
                    SqlState::InvalidColumnReference,
                    format!("GROUP BY position {n} is not in select list"),
                );
                return Err(self.source.locate(error, span));
            };
            expr.clone()
        } else if let Expr::Identifier(ident) = inner {
            let name = fold(ident);
            let column = self.scopes.last().map(|s| super::column::lookup_column(s, &name).map(|_| ()));
            let mut named = items.iter().filter(|(n, _)| *n == name);
            match (column, named.next()) {
                (Some(Err(false)), Some((_, expr))) => {
                    if named.any(|(_, other)| !other.same(expr)) {
                        let error = Error::new(SqlState::AmbiguousColumn, format!("GROUP BY \"{name}\" is ambiguous"));
                        return Err(self.source.locate(error, span));
                    }
                    expr.clone()
                }
                _ => self.known(inner)?,
            }
        } else {
            self.known(inner)?
        };
        if chosen.any(&|e| matches!(&e.kind, ExprKind::Query(q) if matches!(**q, QueryExpr::Aggregate(_)))) {
            let error = Error::new(SqlState::GroupingError, "aggregate functions are not allowed in GROUP BY");
            return Err(self.source.locate(error, span));
        }
        if chosen.any(&|e| matches!(&e.kind, ExprKind::Query(q) if matches!(**q, QueryExpr::Window(_)))) {
            let error = Error::new(SqlState::WindowingError, "window functions are not allowed in GROUP BY");
            return Err(self.source.locate(error, span));
        }
        let chosen = self.resolve_unknown(chosen)?;
        self.check_distinct(chosen.ty, span)?;
        self.check_sortable(chosen.ty, span)?;
        if let Some(i) = groups.iter().position(|g| g.same(&chosen)) {
            return Ok(i);
        }
        groups.push(chosen);
        Ok(groups.len() - 1)
    }

    /// Rewrites an expression above the grouping: group expressions and aggregates become its columns.
    pub(super) fn regroup(&mut self, grouping: &mut Grouping, expr: &mut ScalarExpr) -> Result<()> {
        if let Some((id, group)) = grouping.groups.iter().find(|(_, g)| g.same(expr)) {
            self.note_expression(*id, expr)?;
            *expr = ScalarExpr::column(*id, group.ty);
            return Ok(());
        }
        if let Some(test) = null_test_of_row(grouping, expr) {
            *expr = test;
            return Ok(());
        }
        if let ExprKind::Query(found) = &expr.kind {
            match &**found {
                QueryExpr::Aggregate(call) => {
                    let known = grouping
                        .aggregates
                        .iter()
                        .find(|(_, a)| query(QueryExpr::Aggregate(a.clone()), a.ty).same(expr))
                        .map(|(id, _)| *id);
                    let id = match known {
                        Some(id) => id,
                        None => {
                            let id = self.fresh();
                            self.note_expression(id, expr)?;
                            grouping.aggregates.push((id, call.clone()));
                            id
                        }
                    };
                    *expr = ScalarExpr::column(id, expr.ty);
                    return Ok(());
                }
                QueryExpr::Grouping(args) => {
                    *expr = self.grouping_value(grouping, args)?;
                    return Ok(());
                }
                _ => {}
            }
        }
        if let ExprKind::Column { id, .. } = expr.kind {
            if !grouping.local.contains(&id) {
                return Ok(());
            }
            if let Some(key) = self.key_of_groups(grouping, id) {
                self.relied_on.push(key);
                let new = self.fresh();
                self.note_expression(new, expr)?;
                grouping.groups.push((new, expr.clone()));
                *expr = ScalarExpr::column(new, expr.ty);
                return Ok(());
            }
            return Err(self.ungrouped(id));
        }
        if let Some(rel) = expr.subquery() {
            let mut free = HashSet::new();
            rel.free_columns(&mut free);
            let mut map = HashMap::new();
            for id in free.intersection(&grouping.local) {
                let plain = grouping
                    .groups
                    .iter()
                    .find(|(_, g)| matches!(g.kind, ExprKind::Column { id: column, .. } if column == *id));
                match plain {
                    Some((new, _)) => {
                        map.insert(*id, *new);
                    }
                    None => {
                        let uses = self.uses.iter().find(|(c, ..)| c == id).map(|u| u.2.clone());
                        let name = uses.unwrap_or_else(|| "?".into());
                        return Err(Error::new(
                            SqlState::GroupingError,
                            format!("subquery uses ungrouped column \"{name}\" from outer query"),
                        ));
                    }
                }
            }
            if !map.is_empty() {
                self.note_copies(&map);
                expr.rename(&map);
            }
        }
        // A constant that a grouping set is of is NULL where it stands alone, and itself within another expression.
        expr.children_mut(&mut |e| match e.kind {
            ExprKind::Const(_) => Ok(()),
            _ => self.regroup(grouping, e),
        })
    }

    fn ungrouped(&self, id: ColumnId) -> Error {
        let (span, name) = match self.uses.iter().find(|(c, ..)| *c == id) {
            Some((_, span, name)) => (*span, name.clone()),
            None => (Span::empty(), "?".into()),
        };
        // A column that came through `*` was not written with its table.
        let name = match self.scopes.last() {
            Some(scope) if !name.contains('.') => scope
                .relations
                .iter()
                .find(|r| r.columns.iter().any(|c| c.id == id))
                .map_or(name.clone(), |r| format!("{}.{name}", r.name)),
            _ => name,
        };
        let error = Error::new(
            SqlState::GroupingError,
            format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"),
        );
        self.source.locate(error, span)
    }

    /// The constraint by which a column follows from the groups: its table's primary key (manual, section 7.2.3).
    fn key_of_groups(&self, grouping: &Grouping, id: ColumnId) -> Option<Oid> {
        if grouping.sets.is_some() {
            return None;
        }
        let relation = self.scopes.last()?.relations.iter().find(|r| r.columns.iter().any(|c| c.id == id))?;
        let table = self.environment.catalog.tables.get(&Oid(relation.table))?;
        let key = table.primary_key().filter(|key| key.is_key())?;
        let grouped = |attnum: i16| {
            let column = relation.columns.iter().find(|c| c.attribute == attnum).map(|c| c.id);
            grouping.groups.iter().any(|(_, g)| matches!(g.kind, ExprKind::Column { id, .. } if Some(id) == column))
        };
        let constraint = table.index_constraint(key.oid).map_or(key.oid, |constraint| constraint.oid);
        key.columns.iter().all(|c| grouped(c.attnum)).then_some(constraint)
    }

    pub(super) fn grouping_call(&mut self, args: &[&Expr], span: Span) -> Result<ScalarExpr> {
        if args.len() > 31 {
            let error = Error::new(SqlState::TooManyArguments, "GROUPING must have fewer than 32 arguments");
            return Err(self.source.locate(error, span));
        }
        let args = args.iter().map(|e| self.known(e)).collect::<Result<Vec<_>>>()?;
        Ok(query(QueryExpr::Grouping(args), TypeOid::INT4.into()))
    }

    fn grouping_value(&mut self, grouping: &Grouping, args: &[ScalarExpr]) -> Result<ScalarExpr> {
        let int = |n: usize| ScalarExpr::constant(Datum::Int4(n as i32), TypeOid::INT4);
        let mut out: Option<ScalarExpr> = None;
        for arg in args {
            let Some(i) = grouping.groups.iter().position(|(_, g)| g.same(arg)) else {
                return Err(Error::new(
                    SqlState::GroupingError,
                    "arguments to GROUPING must be grouping expressions of the associated query level",
                ));
            };
            let bit = match grouping.grouping {
                None => ScalarExpr::constant(Datum::Int8(0), TypeOid::INT8),
                Some(id) => {
                    let shift = grouping.groups.len() - 1 - i;
                    let moved =
                        self.operator(">>", Some(ScalarExpr::column(id, TypeOid::INT8)), int(shift), Span::empty())?;
                    let one = ScalarExpr::constant(Datum::Int8(1), TypeOid::INT8);
                    self.operator("&", Some(moved), one, Span::empty())?
                }
            };
            out = Some(match out {
                None => bit,
                Some(before) => {
                    let moved = self.operator("<<", Some(before), int(1), Span::empty())?;
                    self.operator("|", Some(moved), bit, Span::empty())?
                }
            });
        }
        let value = out.ok_or_else(|| Error::new(SqlState::SyntaxError, "GROUPING needs an argument"))?;
        self.coerce_explicit(value, TypeOid::INT4.into(), Span::empty())
    }
}

/// `t IS NULL`, bound as a test of each column, where `t` is grouped by.
fn null_test_of_row(grouping: &Grouping, expr: &ScalarExpr) -> Option<ScalarExpr> {
    let tests = match &expr.kind {
        ExprKind::And(tests) => tests.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let ExprKind::IsNull { negated, .. } = tests.first()?.kind else { return None };
    let tests_item = |(test, item): (&ScalarExpr, &ScalarExpr)| match &test.kind {
        ExprKind::IsNull { arg, negated: own } => *own == negated && arg.same(item),
        _ => false,
    };
    let (id, row) = grouping.groups.iter().find(|(_, group)| match &group.kind {
        ExprKind::Row(items, Some(_)) => items.len() == tests.len() && tests.iter().zip(items).all(tests_item),
        _ => false,
    })?;
    let args = vec![ScalarExpr::column(*id, row.ty), ScalarExpr::constant(Datum::Bool(negated), TypeOid::BOOL)];
    let call = ExprKind::Call { function: crate::functions::rows::NULL_TEST.clone(), args };
    Some(ScalarExpr::new(call, TypeOid::BOOL))
}
