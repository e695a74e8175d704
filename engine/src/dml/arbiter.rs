//! ON CONFLICT with expressions or a predicate: which unique indexes decide (PostgreSQL's `infer_arbiter_indexes`).

use std::sync::Arc;

use sqlparser::ast;

use crate::catalog::{Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::ExprKind;
use crate::sql::Binder;
use crate::sql::parse::parse_expression;
use crate::sql::rewrite::TARGET_MARK;
use crate::system::deparse;

/// `target`: the elements, and behind a mark the predicate.
pub fn infer(target: &str, def: &Arc<TableDef>, binder: &mut Binder) -> Result<Vec<Oid>> {
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
            && crate::point::covers(index, condition.as_ref(), &scope, def)
    };
    let indexes: Vec<Oid> = def.indexes.iter().filter(fits).map(|i| i.oid).collect();
    if indexes.is_empty() {
        return Err(Error::new(
            SqlState::InvalidColumnReference,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    Ok(indexes)
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
