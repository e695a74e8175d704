//! Expressions over one row of a table (or two: ON CONFLICT has the existing row and EXCLUDED): where their columns
//! lie in the row, and which calls the session must make before they can be evaluated.

use std::sync::Arc;

use super::insert::has_query;
use super::sequence::SessionCall;
use crate::error::Result;
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::EvalContext;
use crate::session::{Column, Session};
use crate::sql::{Binder, RowQuery, Scope, ScopeColumn};
use crate::types::Datum;

/// Position of every column of a scope in the row that expressions over it are given.
#[derive(Debug, Clone, Default)]
pub struct RowColumns {
    first: u32,
    slots: Vec<Option<u16>>,
}

impl RowColumns {
    /// Columns at their attribute numbers; those of the relation after `offset` other columns.
    pub fn of_scope(scope: &Scope) -> RowColumns {
        let mut columns = RowColumns::default();
        columns.add(scope.relations.iter().flat_map(|r| &r.columns), 0);
        columns
    }

    pub fn add<'a>(&mut self, columns: impl Iterator<Item = &'a ScopeColumn>, offset: usize) {
        for column in columns.filter(|c| c.attribute > 0) {
            self.put(column.id, offset + column.attribute as usize - 1);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn put(&mut self, id: ColumnId, slot: usize) {
        if self.slots.is_empty() {
            self.first = id.0;
        }
        if id.0 < self.first {
            let shift = (self.first - id.0) as usize;
            self.slots.splice(0..0, std::iter::repeat_n(None, shift));
            self.first = id.0;
        }
        let at = (id.0 - self.first) as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, None);
        }
        self.slots[at] = Some(slot as u16);
    }

    pub fn slot(&self, id: ColumnId) -> Option<usize> {
        let at = id.0.checked_sub(self.first)? as usize;
        self.slots.get(at).copied().flatten().map(usize::from)
    }
}

/// A row seen through [`RowColumns`].
pub struct RowView<'a> {
    pub columns: &'a RowColumns,
    pub row: &'a [Datum],
}

impl ColumnSource for RowView<'_> {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        self.row.get(self.columns.slot(id)?).cloned()
    }
}

/// An expression over a row.
#[derive(Debug, Clone)]
pub struct RowExpr {
    pub expr: ScalarExpr,
    pub columns: Arc<RowColumns>,
    /// Calls whose results follow the statement's parameters.
    calls: Vec<SessionCall>,
    parameters: usize,
    /// Set when the expression holds subqueries: it runs on the general path, as a part of its statement.
    query: Option<Arc<RowQuery>>,
}

impl RowExpr {
    /// `parameters`: how many the statement has.
    pub fn new(mut expr: ScalarExpr, columns: &Arc<RowColumns>, parameters: usize) -> RowExpr {
        let mut calls = Vec::new();
        super::sequence::extract(&mut expr, parameters, &mut calls);
        RowExpr { expr, columns: columns.clone(), calls, parameters, query: None }
    }

    /// Like [`Self::new`] for an expression over `scope` that may hold subqueries.
    pub fn with_queries(
        expr: ScalarExpr,
        scope: &Scope,
        columns: &Arc<RowColumns>,
        parameters: usize,
        binder: &mut Binder,
    ) -> Result<RowExpr> {
        if !has_query(&expr) {
            return Ok(RowExpr::new(expr, columns, parameters));
        }
        let query = binder.row_query(expr.clone(), scope, |id| columns.slot(id))?;
        let (columns, query) = (columns.clone(), Some(Arc::new(query)));
        Ok(RowExpr { expr, columns, calls: Vec::new(), parameters, query })
    }

    /// Whether it runs on the general path: its statement has to be one of parts.
    pub fn is_query(&self) -> bool {
        self.query.is_some()
    }

    pub fn eval_now(&self, row: &[Datum], params: &[Datum], context: &EvalContext) -> Result<Datum> {
        eval(&self.expr, &RowView { columns: &self.columns, row }, params, context)
    }

    pub async fn eval(&self, session: &mut Session, row: &[Datum], params: &[Datum]) -> Result<Datum> {
        if let Some(query) = &self.query {
            return Box::pin(super::parts::row_value(session, query, row, params)).await;
        }
        let context = session.eval_context();
        if self.calls.is_empty() {
            return self.eval_now(row, params, &context);
        }
        let mut all: Vec<Datum> = params.iter().take(self.parameters).cloned().collect();
        all.resize(self.parameters, Datum::Null);
        for call in &self.calls {
            let view = RowView { columns: &self.columns, row };
            let args = call.arguments(&view, &all, &context)?;
            all.push(session.session_call(call, args).await?);
        }
        self.eval_now(row, &all, &session.eval_context())
    }
}

/// A RETURNING list.
pub struct Returning {
    pub columns: Vec<Column>,
    pub exprs: Vec<RowExpr>,
}

impl Returning {
    pub fn is_query(&self) -> bool {
        self.exprs.iter().any(RowExpr::is_query)
    }
}
