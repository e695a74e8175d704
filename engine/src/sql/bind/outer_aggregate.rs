//! Aggregates in a subquery that name columns of the queries around it alone: they belong to the nearest of those queries,
//! and are one of its columns where they stand (manual, section 4.2.7).

use std::collections::HashSet;

use sqlparser::tokenizer::Span;

use super::{Binder, Expects};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{Aggregate, QueryExpr};
use crate::sql::scope::{RowsOf, Scope};

/// An aggregate on its way to the query that computes it.
pub(super) struct OuterAggregate {
    id: ColumnId,
    call: Aggregate,
    /// A column of that query's input.
    of: ColumnId,
}

/// The place of a query that holds others.
pub(super) struct Enclosing {
    /// How many scopes there were.
    scopes: usize,
    expects: Expects,
    in_aggregate: bool,
}

impl Binder {
    /// Runs `f` for a query inside another one: with a clause state of its own.
    pub(super) fn inside<T>(&mut self, f: impl FnOnce(&mut Binder) -> T) -> T {
        let expects = std::mem::replace(&mut self.expects, Expects::SelectList);
        let in_aggregate = std::mem::replace(&mut self.in_aggregate, false);
        let in_window = std::mem::replace(&mut self.in_window, false);
        self.enclosing.push(Enclosing { scopes: self.scopes.len(), expects, in_aggregate });
        let out = f(self);
        self.enclosing.pop();
        (self.expects, self.in_aggregate, self.in_window) = (expects, in_aggregate, in_window);
        out
    }

    /// How many queries out the one is that an aggregate over `named` belongs to, and one of its columns; `None`: it
    /// belongs where it stands.
    pub(super) fn outer_owner(&self, named: &HashSet<ColumnId>) -> Option<(usize, ColumnId)> {
        let mut scopes = self.scopes.iter().rev().enumerate();
        let (depth, of) =
            scopes.find_map(|(depth, scope)| Some((depth, named.iter().copied().find(|id| defines(scope, *id))?)))?;
        (depth > 0).then_some((depth, of))
    }

    /// 42803 where the query `depth` queries out cannot have an aggregate.
    pub(super) fn check_outer_aggregate(&self, depth: usize, span: Span) -> Result<()> {
        let scopes = self.scopes.len() - depth;
        let place = self.enclosing.iter().rev().find(|e| e.scopes == scopes);
        let (expects, nested) = place.map_or((Expects::Other("this context"), false), |e| (e.expects, e.in_aggregate));
        self.check_aggregate_place(expects, nested, span)
    }

    /// 42803 where an aggregate cannot stand, or for one within another one.
    pub(super) fn check_aggregate_place(&self, expects: Expects, nested: bool, span: Span) -> Result<()> {
        let message = match (nested, expects.allows_aggregates()) {
            (true, _) => "aggregate function calls cannot be nested".to_owned(),
            (false, true) => return Ok(()),
            (false, false) => format!("aggregate functions are not allowed in {}", expects.clause()),
        };
        Err(self.source.locate(Error::new(SqlState::GroupingError, message), span))
    }

    /// Leaves the aggregates in `expr` to the query `depth` queries out, whose column `of` is.
    pub(super) fn leave_to_outer(&mut self, mut expr: ScalarExpr, depth: usize, of: ColumnId) -> Result<ScalarExpr> {
        if let ExprKind::Query(query) = &expr.kind
            && let QueryExpr::Aggregate(call) = &**query
        {
            let mut call = call.clone();
            let keys = call.order_by.iter_mut().map(|key| &mut key.expr);
            for part in call.args.iter_mut().chain(keys).chain(&mut call.filter) {
                move_out(part, depth)?;
            }
            let id = self.fresh();
            self.note_expression(id, &expr)?;
            self.note_outer_aggregate(id, &expr)?;
            self.outer_aggregates.push(OuterAggregate { id, call, of });
            return Ok(ScalarExpr::new(ExprKind::Column { id, depth }, expr.ty));
        }
        expr.children_mut(&mut |child| {
            let aggregate = std::mem::replace(child, ScalarExpr::constant(crate::types::Datum::Null, child.ty));
            *child = self.leave_to_outer(aggregate, depth, of)?;
            Ok(())
        })?;
        Ok(expr)
    }

    /// The aggregates that subqueries have left to the query at hand.
    pub(super) fn take_outer_aggregates(&mut self) -> Vec<(ColumnId, Aggregate)> {
        let Some(scope) = self.scopes.last() else { return Vec::new() };
        let own = self.outer_aggregates.extract_if(.., |left| defines(scope, left.of));
        own.map(|left| (left.id, left.call)).collect()
    }
}

fn defines(scope: &Scope, id: ColumnId) -> bool {
    let mut relations = scope.relations.iter();
    scope.merged.iter().any(|c| c.id == id)
        || relations
            .any(|r| r.columns.iter().any(|c| c.id == id) || r.row_id == Some(id) || r.rows_of == RowsOf::Column(id))
}

/// An expression as seen from `depth` queries further out.
fn move_out(expr: &mut ScalarExpr, depth: usize) -> Result<()> {
    if let ExprKind::Column { depth: own, .. } = &mut expr.kind {
        *own = own.saturating_sub(depth);
    }
    expr.children_mut(&mut |child| move_out(child, depth))
}
