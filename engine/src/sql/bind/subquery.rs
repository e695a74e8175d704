//! Subqueries as expressions.

use std::sync::Arc;

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::coerce::Situation;
use super::expr::query;
use super::query::Bound;
use super::{Binder, Expects};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::sql::rel::{QueryExpr, Rel};
use crate::sql::scope::Scope;
use crate::types::{PgType, TypeOid};

pub(super) const CALL_ARGUMENTS: &str = "CALL arguments";
const EXECUTE_PARAMETERS: &str = "EXECUTE parameters";

impl Binder {
    /// The value that EXECUTE gives a parameter, counted from 1.
    pub fn bind_execute_parameter(&mut self, expr: &Expr, number: usize, to: PgType) -> Result<ScalarExpr> {
        self.in_scope(&Scope::default(), Expects::Other(EXECUTE_PARAMETERS), |b| {
            let bound = b.expr(expr)?;
            let from = bound.ty;
            b.coerce(bound, to, Situation::Assignment, expr.span())?.ok_or_else(|| {
                let name = |ty: PgType| super::resolve::type_name(PgType::from(ty.oid));
                let (from, to) = (name(from), name(to));
                let message = format!("parameter ${number} of type {from} cannot be coerced to the expected type {to}");
                let error = Error::new(SqlState::DatatypeMismatch, message)
                    .hint("You will need to rewrite or cast the expression.");
                b.source.locate(error, expr.span())
            })
        })
    }

    /// 0A000 for a subquery where a statement needs values before it has a plan.
    fn check_subquery_place(&self, span: Span) -> Result<()> {
        match self.expects {
            Expects::Other(clause @ (CALL_ARGUMENTS | EXECUTE_PARAMETERS)) => {
                // PostgreSQL says it in the singular.
                let message = format!("cannot use subquery in {}", clause.trim_end_matches('s'));
                Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span))
            }
            _ => Ok(()),
        }
    }

    fn one_column(&mut self, subquery: &ast::Query, span: Span) -> Result<(Bound, crate::expr::ColumnId, PgType)> {
        self.check_subquery_place(self.source.open_parenthesis(span))?;
        let bound = self.subquery(subquery)?;
        match bound.columns.as_slice() {
            [column] => {
                let (id, ty) = (column.id, column.ty);
                Ok((bound, id, ty))
            }
            _ => {
                let error = Error::new(SqlState::SyntaxError, "subquery must return only one column");
                Err(self.source.locate(error, self.source.open_parenthesis(span)))
            }
        }
    }

    pub(super) fn scalar_subquery(&mut self, subquery: &ast::Query, span: Span) -> Result<ScalarExpr> {
        let (bound, column, ty) = self.one_column(subquery, span)?;
        let rel = self.noted(subquery, bound)?;
        Ok(query(QueryExpr::Scalar { rel, column }, ty))
    }

    pub(super) fn array_subquery(&mut self, subquery: &ast::Query) -> Result<ScalarExpr> {
        let (bound, column, ty) = self.one_column(subquery, Span::empty())?;
        let stacked = ty.oid.element().filter(|_| ty.oid.array().is_none()).map(|_| ty.oid);
        let array = ty.oid.array().or(stacked).ok_or_else(|| {
            Error::new(
                SqlState::UndefinedObject,
                format!("could not find array type for data type {}", super::resolve::type_name(ty)),
            )
        })?;
        let rel = self.noted(subquery, bound)?;
        Ok(query(QueryExpr::Array { rel, column }, PgType::new(array, ty.typmod)))
    }

    pub(super) fn exists(&mut self, subquery: &ast::Query, span: Span) -> Result<ScalarExpr> {
        self.check_subquery_place(span)?;
        let bound = self.subquery(subquery)?;
        let rel = self.noted(subquery, bound)?;
        Ok(query(QueryExpr::Exists { rel }, TypeOid::BOOL.into()))
    }

    fn noted(&mut self, subquery: &ast::Query, bound: Bound) -> Result<Arc<Rel>> {
        let rel = Arc::new(bound.rel);
        self.note_subquery(subquery, &rel)?;
        Ok(rel)
    }

    /// `left op ANY (subquery)` or `ALL`, `left` a value or a row. IN is `= ANY`.
    pub(super) fn quantified(
        &mut self,
        left: &Expr,
        op: &str,
        subquery: &ast::Query,
        all: bool,
        span: Span,
    ) -> Result<ScalarExpr> {
        self.check_subquery_place(span)?;
        let operands = match self.row_items(left)? {
            Some(items) => items.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?,
            None => vec![self.expr(left)?],
        };
        let bound = self.subquery(subquery)?;
        if operands.len() != bound.columns.len() {
            let problem = if operands.len() < bound.columns.len() { "many" } else { "few" };
            let error = Error::new(SqlState::SyntaxError, format!("subquery has too {problem} columns"));
            return Err(self.source.locate(error, span));
        }
        let columns: Vec<ScalarExpr> = bound.columns.iter().map(|c| ScalarExpr::column(c.id, c.ty)).collect();
        let condition = match (operands.len(), columns.first()) {
            (1, Some(column)) => {
                let operand = operands.into_iter().next();
                self.operator(op, operand, column.clone(), span)?
            }
            _ => self.compare_rows(op, operands, columns, span)?,
        };
        if condition.ty.oid != TypeOid::BOOL {
            let error = Error::new(SqlState::DatatypeMismatch, "operator must return type boolean, not another type");
            return Err(self.source.locate(error, span));
        }
        let rel = self.noted(subquery, bound)?;
        let expr = QueryExpr::Quantified { rel, condition: Box::new(condition), all };
        Ok(query(expr, TypeOid::BOOL.into()))
    }
}
