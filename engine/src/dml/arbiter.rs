//! ON CONFLICT with expressions or a predicate: which unique indexes decide (PostgreSQL's `infer_arbiter_indexes`).

use std::sync::Arc;

use sqlparser::ast;

use crate::catalog::{Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::expr_eval::{NoColumns, eval};
use crate::functions::EvalContext;
use crate::sql::parse::parse_expression;
use crate::sql::rewrite::TARGET_MARK;
use crate::sql::{Binder, Scope};
use crate::system::deparse;
use crate::types::Datum;

/// A predicate that compares with parameters: which indexes decide is known once these have values.
pub struct LateArbiters {
    condition: ScalarExpr,
    scope: Scope,
    /// Those that decide if the predicate says enough.
    candidates: Vec<Oid>,
}

impl LateArbiters {
    /// The indexes that decide in this execution (42P10 if there is none).
    pub fn settle(&self, def: &TableDef, params: &[Datum], context: &EvalContext) -> Result<Vec<Oid>> {
        let mut condition = self.condition.clone();
        settle_parameters(&mut condition, params, context)?;
        let decides = |oid: &&Oid| {
            def.index(**oid).is_some_and(|index| crate::point::covers(index, Some(&condition), &self.scope, def))
        };
        let indexes: Vec<Oid> = self.candidates.iter().filter(decides).copied().collect();
        if indexes.is_empty() { Err(no_arbiter()) } else { Ok(indexes) }
    }
}

/// Computes what has one value for the whole statement.
fn settle_parameters(expr: &mut ScalarExpr, params: &[Datum], context: &EvalContext) -> Result<()> {
    if crate::point::is_constant(expr) {
        let value = eval(expr, &NoColumns, params, context)?;
        *expr = ScalarExpr::constant(value, expr.ty);
        return Ok(());
    }
    crate::dml::sequence::children(&mut expr.kind)
        .into_iter()
        .try_for_each(|child| settle_parameters(child, params, context))
}

fn has_parameter(expr: &ScalarExpr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| found |= matches!(part.kind, ExprKind::Param(_)));
    found
}

fn no_arbiter() -> Error {
    Error::new(
        SqlState::InvalidColumnReference,
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    )
}

/// `target`: the elements, and behind a mark the predicate.
pub fn infer(target: &str, def: &Arc<TableDef>, binder: &mut Binder) -> Result<(Vec<Oid>, Option<LateArbiters>)> {
    let (elements, predicate) = match target.split_once(TARGET_MARK) {
        Some((elements, predicate)) => (elements, Some(predicate)),
        None => (target, None),
    };
    let scope = binder.table_scope(def, None);
    let (mut columns, mut expressions) = (Vec::new(), Vec::new());
    for expr in self::elements(elements)? {
        let bound = binder.bind_expr(without_order(&expr), &scope)?;
        match &bound.kind {
            ExprKind::Column { id, .. } => columns.extend(scope.attribute_of(*id)),
            _ => expressions.push(deparse::stored(&bound, &scope)?),
        }
    }
    let condition = match predicate {
        Some(text) => Some(binder.bind_condition(&parse_expression(text)?.0, &scope, "WHERE")?),
        None => None,
    };
    let fits = |index: &&Arc<crate::catalog::IndexDef>| {
        let own: Vec<i16> = index.attnums().filter(|a| *a != 0).collect();
        let texts: Vec<&str> = index.columns.iter().filter_map(|c| c.expression.as_ref()).map(|e| &*e.text).collect();
        index.unique
            && !index.deferrable
            && own.iter().all(|a| columns.contains(a))
            && columns.iter().all(|a| own.contains(a))
            && texts.iter().all(|t| expressions.iter().any(|e| e == t))
            && expressions.iter().all(|e| texts.contains(&e.as_str()))
    };
    let covers = |index: &&Arc<crate::catalog::IndexDef>| crate::point::covers(index, condition.as_ref(), &scope, def);
    let candidates: Vec<Oid> = def.indexes.iter().filter(fits).map(|i| i.oid).collect();
    let indexes: Vec<Oid> = def.indexes.iter().filter(fits).filter(covers).map(|i| i.oid).collect();
    match condition {
        Some(condition) if indexes.len() < candidates.len() && has_parameter(&condition) => {
            let late = LateArbiters { condition, scope, candidates: candidates.clone() };
            Ok((candidates, Some(late)))
        }
        _ if indexes.is_empty() => Err(no_arbiter()),
        _ => Ok((indexes, None)),
    }
}

/// The list as expressions; an operator class is of no consequence and left out.
fn elements(text: &str) -> Result<Vec<ast::Expr>> {
    match parse_expression(&format!("({text})"))?.0 {
        ast::Expr::Nested(only) => Ok(vec![*only]),
        ast::Expr::Tuple(all) => Ok(all),
        other => Ok(vec![other]),
    }
}

fn without_order(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Collate { expr, .. } => expr,
        expr => expr,
    }
}
