//! LIMIT, OFFSET and FETCH.

use sqlparser::ast::{self, Expr, Spanned};

use super::{Binder, Expects, resolve};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::sql::rel::Rel;
use crate::types::{Datum, TypeOid};

/// How many rows of a query are left.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub count: Option<ScalarExpr>,
    pub offset: Option<ScalarExpr>,
    pub with_ties: bool,
}

impl Limits {
    /// Whether no row may be left of some.
    pub fn may_be_none(&self) -> bool {
        fn is_positive(count: &ScalarExpr) -> bool {
            match &count.kind {
                ExprKind::Const(Datum::Int8(1..) | Datum::Int4(1..)) => true,
                ExprKind::Cast(cast) => is_positive(&cast.arg),
                _ => false,
            }
        }
        self.offset.is_some() || !self.count.as_ref().is_none_or(is_positive)
    }

    pub(super) fn is_none(&self) -> bool {
        self.count.is_none() && self.offset.is_none()
    }

    pub(super) fn apply(self, rel: Rel) -> Rel {
        if self.is_none() {
            return rel;
        }
        Rel::Limit { input: Box::new(rel), offset: self.offset, count: self.count, with_ties: self.with_ties }
    }
}

impl Binder {
    pub(super) fn limits(&mut self, query: &ast::Query) -> Result<Limits> {
        let mut out = Limits::default();
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(Error::unsupported("LIMIT BY"));
                }
                out.count = limit.as_ref().map(|e| self.limit(e, "LIMIT")).transpose()?;
                out.offset = offset.as_ref().map(|o| self.limit(&o.value, "OFFSET")).transpose()?;
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(Error::new(SqlState::SyntaxError, "LIMIT #,# syntax is not supported")
                    .hint("Use separate LIMIT and OFFSET clauses."));
            }
        }
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"percent\""));
            }
            out.with_ties = fetch.with_ties;
            out.count = Some(match (&fetch.quantity, out.count.take()) {
                (Some(quantity), Some(count)) if is_expression_with_ties(quantity) => count,
                (_, Some(_)) => {
                    return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"FETCH\""));
                }
                (Some(quantity), None) => self.limit(quantity, "LIMIT")?,
                (None, None) => ScalarExpr::constant(Datum::Int8(1), TypeOid::INT8),
            });
        }
        if out.with_ties && query.order_by.is_none() {
            return Err(Error::new(SqlState::SyntaxError, "WITH TIES cannot be specified without ORDER BY clause"));
        }
        Ok(out)
    }

    fn limit(&mut self, expr: &Expr, clause: &'static str) -> Result<ScalarExpr> {
        let expects = std::mem::replace(&mut self.expects, Expects::Other(clause));
        let bound = self.expr(expr);
        self.expects = expects;
        let bound = bound?;
        self.refuse_own_columns(&bound, clause, expr.span())?;
        let from = bound.ty;
        match self.coerce(bound, TypeOid::INT8.into(), super::coerce::Situation::Assignment, expr.span())? {
            Some(bound) => self.before(bound, clause),
            None => {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!("argument of {clause} must be type bigint, not type {}", resolve::type_name(from)),
                );
                Err(self.source.locate(error, expr.span()))
            }
        }
    }
}

fn is_expression_with_ties(quantity: &Expr) -> bool {
    let Expr::Value(value) = quantity else { return false };
    matches!(&value.value, ast::Value::Number(n, _) if n.as_str() == crate::sql::query_tail::EXPRESSION_WITH_TIES)
}
