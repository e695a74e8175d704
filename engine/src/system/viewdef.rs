//! pg_get_viewdef: the query of a view laid out in PostgreSQL's way, one clause a line, names shown as the search path
//! allows.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, GroupByExpr, Ident, LimitClause, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SetExpr, TableWithJoins, TypedString, VisitMut, VisitorMut,
};

use super::deparse::{Display, quote_ident};
use crate::catalog::{Catalog, SearchPath, ViewDef};
use crate::sql::parse::parse_query;
use crate::sql::rewrite::{ROWS_FROM, only};
use crate::sql::spellings::{DISTINCT_SETS, USING_MARK};
use crate::types::TypeOid;
use crate::types::names::format_type;

/// The definition as pg_get_viewdef shows it, with a semicolon.
pub fn definition(view: &ViewDef, display: &Display<'_>) -> String {
    let (catalog, path) = (display.catalog, display.path);
    let Ok((mut query, source)) = parse_query(&view.query) else {
        return format!(" {};", view.query);
    };
    let names: Vec<String> = view.columns.iter().map(|(name, _)| name.clone()).collect();
    let mut binder = display.binder(source);
    binder.know_as(view);
    let described = binder.describe(&query, &names, display.pretty);
    let mut out = described.unwrap_or_else(|_| {
        // Forms that have no text of PostgreSQL's kind yet are shown as they were given.
        let _ = query.visit(&mut Shortener { catalog, path });
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut out = String::new();
        write_query(&query, &names, 0, &mut out);
        with_aliases_of_joins(&out.replace(&format!("\"{ROWS_FROM}\"("), "ROWS FROM("))
    });
    out.push(';');
    out
}

/// Writes `USING (…) AS alias` where the parsed query has the alias as a last name of the list.
fn with_aliases_of_joins(text: &str) -> String {
    let mark = format!(", \"{USING_MARK}");
    let mut parts = text.split(&mark);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| match part.split_once("\")") {
        Some((alias, rest)) => format!("{out}) AS {}{rest}", quote_ident(&alias.replace("\"\"", "\""))),
        None => format!("{out}{mark}{part}"),
    })
}

/// Takes the schema off names that the search path finds.
struct Shortener<'a> {
    catalog: &'a Catalog,
    path: &'a SearchPath,
}

impl VisitorMut for Shortener<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let (plain, only) = only::split(relation);
        if let [schema, name] = plain.0.as_slice()
            && let (Some(schema), Some(ident)) = (schema.as_ident(), name.as_ident())
            && let Some(schema) = self.catalog.schema(&schema.value)
            && let Some(found) = self.catalog.relation_in(schema.oid, &ident.value)
            && self.catalog.is_visible(found.oid(), self.path) == Some(true)
        {
            *relation = only::join(ObjectName(vec![ObjectNamePart::Identifier(ident.clone())]), only);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) = expr {
            show_type(data_type);
        }
        ControlFlow::Continue(())
    }
}

/// A type that stands there by its number, by its name.
fn show_type(ty: &mut DataType) {
    match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            show_type(element);
        }
        DataType::Custom(name, _) => {
            if let [_, number] = name.0.as_slice()
                && let Some(number) = number.as_ident().and_then(|n| n.value.strip_prefix('~'))
                && let Ok(number) = number.parse()
            {
                let shown = format_type(TypeOid(number), -1);
                *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(shown))]);
            }
        }
        _ => {}
    }
}

/// `names`: the column names that the query shall show, for the outermost select list.
fn write_query(query: &Query, names: &[&str], depth: usize, out: &mut String) {
    if let Some(with) = &query.with {
        let _ = writeln!(out, " {with}");
    }
    write_body(&query.body, names, depth, out);
    if let Some(order) = &query.order_by {
        let _ = write!(out, "\n{}  {order}", indent(depth));
    }
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            if let Some(offset) = offset {
                let _ = write!(out, "\n{} {offset}", indent(depth));
            }
            if let Some(limit) = limit {
                let _ = write!(out, "\n{} LIMIT {limit}", indent(depth));
            }
        }
        Some(other) => {
            let _ = write!(out, "\n{} {}", indent(depth), other.to_string().trim());
        }
        None => {}
    }
}

fn indent(depth: usize) -> String {
    " ".repeat(depth)
}

fn write_body(body: &SetExpr, names: &[&str], depth: usize, out: &mut String) {
    match body {
        SetExpr::Select(select) => write_select(select, names, depth, out),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            write_body(left, names, depth, out);
            let quantifier = set_quantifier.to_string();
            let space = if quantifier.is_empty() { "" } else { " " };
            let _ = write!(out, "\n{}{op}{space}{quantifier}\n", indent(depth));
            write_body(right, &[], depth, out);
        }
        other => {
            let _ = write!(out, "{} {other}", indent(depth));
        }
    }
}

fn write_select(select: &Select, names: &[&str], depth: usize, out: &mut String) {
    let pad = indent(depth);
    let _ = write!(out, "{pad} SELECT ");
    if let Some(distinct) = &select.distinct {
        let _ = write!(out, "{distinct} ");
    }
    for (i, item) in select.projection.iter().enumerate() {
        if i > 0 {
            let _ = write!(out, ",\n{pad}    ");
        }
        write_item(item, names.get(i).copied(), out);
    }
    for (i, from) in select.from.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        let _ = write!(out, "\n{pad}{}", if i > 0 { "    " } else { "   FROM " });
        write_from(from, &pad, out);
    }
    if let Some(condition) = &select.selection {
        let _ = write!(out, "\n{pad}  WHERE {condition}");
    }
    match &select.group_by {
        GroupByExpr::Expressions(groups, _) if groups.is_empty() => {}
        groups => {
            let groups = groups.to_string().replace(&format!("\"{DISTINCT_SETS}\", "), "DISTINCT ");
            let _ = write!(out, "\n{pad}  {groups}");
        }
    }
    if let Some(having) = &select.having {
        let _ = write!(out, "\n{pad} HAVING {having}");
    }
    if !select.named_window.is_empty() {
        let windows: Vec<String> = select.named_window.iter().map(ToString::to_string).collect();
        let _ = write!(out, "\n{pad}  WINDOW {}", windows.join(", "));
    }
}

/// A select item with the view's name for it, unless it has that name already.
fn write_item(item: &SelectItem, name: Option<&str>, out: &mut String) {
    let (expr, own) = match item {
        SelectItem::UnnamedExpr(expr) => (expr, last_name(expr)),
        SelectItem::ExprWithAlias { expr, alias } => (expr, last_name(expr).filter(|n| *n == alias.value)),
        other => {
            let _ = write!(out, "{other}");
            return;
        }
    };
    let _ = write!(out, "{}", Tidy(expr));
    let alias = match (name, item) {
        (Some(name), _) => Some(name.to_owned()),
        (None, SelectItem::ExprWithAlias { alias, .. }) => Some(alias.value.clone()),
        _ => None,
    };
    if let Some(alias) = alias.filter(|a| own.as_ref() != Some(a)) {
        let _ = write!(out, " AS {}", quote_ident(&alias));
    }
}

/// A column reference without the quotes that it does not need.
struct Tidy<'a>(&'a Expr);

impl std::fmt::Display for Tidy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |i: &Ident| quote_ident(&i.value);
        match self.0 {
            Expr::Identifier(i) => f.write_str(&name(i)),
            Expr::CompoundIdentifier(parts) => f.write_str(&parts.iter().map(name).collect::<Vec<_>>().join(".")),
            other => write!(f, "{other}"),
        }
    }
}

fn last_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()),
        _ => None,
    }
}

fn write_from(from: &TableWithJoins, pad: &str, out: &mut String) {
    let _ = write!(out, "{}", from.relation);
    for join in &from.joins {
        let _ = write!(out, "\n{pad}     {}", join.to_string().trim_start());
    }
}
