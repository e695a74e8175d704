//! Names of output columns, as PostgreSQL's FigureColname chooses them.

use sqlparser::ast::{self, Expr, SelectItem, SetExpr};

use super::fold;
use crate::types::names as types;

/// Name of a select item without an alias.
pub(super) fn output_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_string(), |(name, _)| name)
}

/// Name of an index's column that is an expression, if it has one.
pub fn expression_name(expr: &Expr) -> Option<String> {
    figure(expr).map(|(name, _)| name)
}

/// The name and whether it is a strong one: a cast gives its type's name only to what has none of its own.
fn figure(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_string(), true));
    match expr {
        Expr::Identifier(ident) => {
            let name = fold(ident);
            Some((if ident.quote_style.is_none() && name == "user" { "user".into() } else { name }, true))
        }
        Expr::CompoundIdentifier(parts) => parts.last().map(|p| (fold(p), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|a| match a {
                ast::AccessExpr::Dot(Expr::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            field.map(|f| (f, true)).or_else(|| figure(root))
        }
        Expr::QualifiedWildcard(name, _) => Some((fold(name.0.last()?.as_ident()?), true)),
        Expr::Nested(inner) => figure(inner),
        Expr::Collate { expr, .. } => figure(expr),
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|p| p.as_ident()).map(fold)?;
            Some((name, true))
        }
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, true)) => Some((name, true)),
            _ => type_name(data_type).map(|n| (n, false)),
        },
        Expr::TypedString(typed) => type_name(&typed.data_type).map(|n| (n, false)),
        Expr::Interval(_) => Some(("interval".into(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        Expr::Array(_) => strong("array"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => subquery_name(query).map(|n| (n, true)),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::IsNormalized { .. } => strong("is_normalized"),
        Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(ast::TrimWhereField::Both) => "btrim",
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) => strong("row"),
        _ => None,
    }
}

/// The name of a type that is not built in.
fn written(ty: &ast::DataType) -> Option<String> {
    match ty {
        ast::DataType::Custom(name, _) => {
            let name = fold(name.0.last()?.as_ident()?);
            let built_in = types::lookup(&name).is_some() || types::lookup_sql(&name).is_some();
            (!built_in).then_some(name)
        }
        ast::DataType::Array(
            ast::ArrayElemTypeDef::SquareBracket(element, _) | ast::ArrayElemTypeDef::AngleBracket(element),
        ) => written(element),
        _ => None,
    }
}

fn type_name(ty: &ast::DataType) -> Option<String> {
    if let Some(name) = written(ty) {
        return Some(name);
    }
    let ty = super::types::type_of(ty, &|_, _| Ok(None)).ok()?;
    // An array type's cast is named after its element, as in PostgreSQL's grammar.
    let array = types::row(ty.oid).is_some_and(|row| row.name.starts_with('_'));
    let oid = ty.oid.element().filter(|_| array).unwrap_or(ty.oid);
    types::row(oid).map(|r| r.name.to_string())
}

fn subquery_name(query: &ast::Query) -> Option<String> {
    let mut body = &*query.body;
    while let SetExpr::Query(inner) = body {
        body = &inner.body;
    }
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::Values(_) => return Some("column1".to_owned()),
        _ => return None,
    };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}
