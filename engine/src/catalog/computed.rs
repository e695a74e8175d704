//! What an index computes from a row: its expressions and its predicate, bound. Definitions keep texts; this is made from
//! them whenever a table's definition enters a catalog, on every node, so that records and checkpoints carry no plans.
//!
//! Invariants:
//! 1. Only immutable functions of one row's columns are in it: every node computes the same key from the same row.
//! 2. DML has computed every key with [`RowFunction::value`], and failed if that failed, before storage computes it again.

use std::sync::{Arc, LazyLock};

use super::{Catalog, IndexDef, TableDef};
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::EvalContext;
use crate::sql::bind::row_security::Policing;
use crate::sql::parse::parse_expression;
use crate::sql::{Binder, Environment};
use crate::storage::Cell;
use crate::types::{Datum, PgType};

/// Expressions and predicate of one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// By position among the index's columns; `None`: a column of the table.
    pub expressions: Vec<Option<RowFunction>>,
    pub predicate: Option<RowFunction>,
}

/// A stored expression over the columns of one table.
#[derive(Debug, Clone)]
pub struct RowFunction {
    pub text: String,
    /// The error of a text that can't be bound any more: our mistake, and every write of the table answers it.
    pub expr: Result<ScalarExpr>,
    columns: Vec<(ColumnId, usize, PgType)>,
}

impl Eq for RowFunction {}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Immutable functions ask for nothing that differs between sessions.
static CONTEXT: LazyLock<EvalContext> = LazyLock::new(EvalContext::default);

impl Computed {
    /// `None`: the index is one of columns only.
    pub fn bind(index: &IndexDef, table: &TableDef, catalog: &Arc<Catalog>) -> Option<Computed> {
        if index.is_plain() {
            return None;
        }
        let bind = |text: &String, condition| RowFunction::bind(text, condition, table, catalog);
        let expression = |c: &super::IndexColumn| c.expression.as_ref().map(|expression| bind(&expression.text, false));
        Some(Computed {
            expressions: index.columns.iter().map(expression).collect(),
            predicate: index.predicate.as_ref().map(|(text, _)| bind(text, true)),
        })
    }

    /// Columns (attnum - 1) that it reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        let all = self.expressions.iter().flatten().chain(&self.predicate);
        all.flat_map(|f| f.columns.iter().map(|c| c.1))
    }

    /// Computes all of it on a row, for the errors.
    pub(crate) fn check<'a>(&self, cell: &dyn Fn(usize) -> Cell<'a>) -> Result<()> {
        if !self.predicate.as_ref().map_or(Ok(true), |p| p.holds(cell))? {
            return Ok(());
        }
        self.expressions.iter().flatten().try_for_each(|f| f.value(cell).map(drop))
    }
}

impl RowFunction {
    pub fn bind(text: &str, condition: bool, table: &TableDef, catalog: &Arc<Catalog>) -> RowFunction {
        let mut columns = Vec::new();
        let mut bound = || {
            let (expr, source) = parse_expression(text)?;
            let search_path = catalog.search_path(&["public"], "");
            let environment = Environment {
                catalog: catalog.clone(),
                search_path,
                eval: Arc::default(),
                policing: Policing::Unasked,
            };
            let mut binder = Binder::new(environment, source, &[]).without_parameters();
            let scope = binder.table_scope(table, None);
            let expr = match condition {
                true => binder.bind_condition(&expr, &scope, "WHERE")?,
                false => binder.bind_expr(&expr, &scope)?,
            };
            let all = scope.relations.iter().flat_map(|r| &r.columns);
            let read = crate::system::deparse::columns(&expr, &scope);
            columns
                .extend(all.filter(|c| read.contains(&c.attribute)).map(|c| (c.id, (c.attribute - 1) as usize, c.ty)));
            Ok(expr)
        };
        let expr: Result<ScalarExpr> = bound();
        if let Err(error) = &expr {
            tracing::error!(table = table.name, text, %error, "cannot bind the expression of an index");
        }
        RowFunction { text: text.to_owned(), expr, columns }
    }

    /// The value on a row whose cell in a column (attnum - 1) is `cell(column)`.
    pub(crate) fn value<'a>(&self, cell: &dyn Fn(usize) -> Cell<'a>) -> Result<Datum> {
        let expr = self.expr.as_ref().map_err(|e| Error::internal(format!("an index cannot be computed: {e}")))?;
        eval(expr, &Row { function: self, cell }, &[], &CONTEXT)
    }

    /// The column that an id of [`Self::expr`] stands for.
    pub fn attribute_of(&self, id: ColumnId) -> Option<i16> {
        self.columns.iter().find(|c| c.0 == id).map(|c| c.1 as i16 + 1)
    }

    pub(crate) fn holds<'a>(&self, cell: &dyn Fn(usize) -> Cell<'a>) -> Result<bool> {
        Ok(self.value(cell)? == Datum::Bool(true))
    }
}

struct Row<'a, 'c> {
    function: &'a RowFunction,
    cell: &'a dyn Fn(usize) -> Cell<'c>,
}

impl ColumnSource for Row<'_, '_> {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        let (_, column, ty) = self.function.columns.iter().find(|c| c.0 == id)?;
        Some((self.cell)(*column).to_datum(*ty))
    }
}

impl Catalog {
    /// The definition with its indexes bound against this catalog.
    pub(super) fn with_computed(&self, table: Arc<TableDef>) -> Arc<TableDef> {
        if table.indexes.iter().all(|i| i.is_plain()) {
            return table;
        }
        let catalog = Arc::new(self.clone());
        let mut table = (*table).clone();
        let indexes = std::mem::take(&mut table.indexes);
        let bound = indexes.into_iter().map(|index| {
            let computed = Computed::bind(&index, &table, &catalog).map(Arc::new);
            match (&computed, &index.computed) {
                (None, None) => index,
                _ => Arc::new(IndexDef { computed, ..(*index).clone() }),
            }
        });
        table.indexes = bound.collect();
        Arc::new(table)
    }
}
