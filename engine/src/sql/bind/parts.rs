//! What several parts of one statement hand to each other: the rows that a data-modifying query in WITH returned, and
//! expressions with subqueries over one row that is at hand (RETURNING, ON CONFLICT, MERGE).
//!
//! Invariant: such rows are scanned as a relation of the system whose oid no catalog will ever hold.

use sqlparser::ast;
use sqlparser::tokenizer::Span;

use super::query::{Bound, OutColumn};
use super::{Binder, BoundQuery};
use crate::catalog::Oid;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::sql::rel::{Output, QueryExpr, Rel, Scan, ScanColumn};
use crate::sql::scope::Scope;
use crate::types::PgType;

/// An expression with subqueries, over one row.
#[derive(Debug)]
pub struct RowQuery {
    /// What its scan of the row names.
    pub table: Oid,
    /// Where the columns of the scanned row lie in the row at hand, and their types.
    pub inputs: Vec<(usize, PgType)>,
    /// It is the same for all rows of the statement.
    pub once: bool,
    pub query: BoundQuery,
}

/// Oids from here on name no relation of a catalog.
const TRANSIENTS: u32 = u32::MAX - (1 << 16);

pub(super) fn scans_transients(rel: &Rel) -> bool {
    let mut scanned = std::collections::HashSet::new();
    super::query::scans(rel, &mut scanned);
    scanned.iter().any(|oid| oid.0 > TRANSIENTS)
}

impl Binder {
    /// An oid behind all that a catalog will ever hold.
    pub(super) fn transient(&mut self) -> Oid {
        self.transients += 1;
        Oid(u32::MAX - self.transients + 1)
    }

    pub(super) fn transient_scan(table: Oid, name: &str, outputs: impl IntoIterator<Item = Output>) -> Scan {
        Scan {
            table,
            name: name.to_string(),
            columns: (1..).zip(outputs).map(|(attnum, output)| ScanColumn { attnum, output }).collect(),
            row_id: None,
            system: true,
        }
    }

    /// Gives the first relation of a scope an `xmax`: RETURNING of INSERT … ON CONFLICT DO UPDATE.
    pub fn add_xmax(&mut self, scope: &mut Scope) -> Option<ColumnId> {
        let id = self.fresh();
        let relation = scope.relations.first_mut()?;
        relation.updated = Some(id);
        Some(id)
    }

    /// An expression as a query of one row. `slot` says where a column of `scope` lies in the row.
    pub fn row_query(
        &mut self,
        expr: ScalarExpr,
        scope: &Scope,
        slot: impl Fn(ColumnId) -> Option<usize>,
    ) -> Result<RowQuery> {
        let mut free = std::collections::HashSet::new();
        expr.free_columns(&mut free);
        let mut outputs = Vec::new();
        let mut inputs = Vec::new();
        let columns = scope.relations.iter().flat_map(|r| &r.columns).chain(&scope.merged);
        for column in columns {
            if free.remove(&column.id) {
                let slot = slot(column.id).ok_or_else(|| Error::unsupported("a subquery over this column"))?;
                inputs.push((slot, column.ty));
                outputs.push(Output { id: column.id, ty: column.ty });
            }
        }
        let once = inputs.is_empty() && !super::query::calls_volatile(&expr);
        let table = self.transient();
        let rel = match outputs.is_empty() {
            true => Rel::Unit,
            false => Rel::Scan(Self::transient_scan(table, "row", outputs)),
        };
        let (id, ty) = (self.fresh(), expr.ty);
        let column = OutColumn { name: String::new(), id, ty, table: 0, attribute: 0 };
        let query = self.finish_query(Bound::new(rel.project(vec![(id, expr)]), vec![column]));
        Ok(RowQuery { table, inputs, once, query })
    }

    /// Column `index` of the only row of a query of `width` columns, for a column of a table: `SET (a, b) = (SELECT …)`.
    #[allow(clippy::too_many_arguments)]
    pub fn bind_field_assignment(
        &mut self,
        query: &ast::Query,
        (index, width): (usize, usize),
        scope: &Scope,
        column: &str,
        to: PgType,
        span: Span,
    ) -> Result<ScalarExpr> {
        let expects = self.expects;
        self.in_scope(scope, expects, |b| {
            let bound = b.subquery(query)?;
            let field = bound.columns.get(index).filter(|_| bound.columns.len() == width);
            let Some((id, ty)) = field.map(|c| (c.id, c.ty)) else {
                let error = Error::new(SqlState::SyntaxError, "number of columns does not match number of values");
                return Err(b.source.locate(error, b.source.open_parenthesis(span)));
            };
            let rel = std::sync::Arc::new(bound.rel);
            b.note_subquery(query, &rel)?;
            b.assign(super::expr::query(QueryExpr::Scalar { rel, column: id }, ty), column, to, span)
        })
    }
}
