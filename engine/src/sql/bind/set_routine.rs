//! A set-returning SQL function as an item of a select list: the call stands in FROM instead, behind what is there, and the item
//! names its rows. A row without any drops out, as it does in PostgreSQL.

use std::sync::Arc;

use sqlparser::ast::{self, Expr, SelectItem, Spanned, TableFactor};

use super::view_target::is_more_than_a_value;
use super::{Binder, fold, resolve};
use crate::catalog::RoutineDef;

/// Name of the rows. No client can write it.
const ROWS: &str = "\u{1}rows";

fn call_of(item: &SelectItem) -> Option<&ast::Function> {
    match item {
        SelectItem::UnnamedExpr(Expr::Function(call))
        | SelectItem::ExprWithAlias { expr: Expr::Function(call), .. } => Some(call),
        _ => None,
    }
}

impl Binder {
    /// The function of a call; `None`: it is no call of such a function.
    fn set_routine(&self, call: &ast::Function) -> Option<Arc<RoutineDef>> {
        let parts: Vec<String> = call.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return None,
        };
        if call.over.is_some() || call.filter.is_some() || resolve::kind(name).is_some() {
            return None;
        }
        let catalog = &self.environment.catalog;
        let found = catalog.routines_named(schema, name, &self.environment.search_path);
        found.into_iter().find(|r| r.returns_set && !r.procedure).cloned()
    }

    /// The query with the call in FROM; `None`: there is none, or not one alone that can stand there.
    pub(super) fn with_set_in_from(&self, select: &ast::Select) -> Option<ast::Select> {
        if self.environment.catalog.routines.is_empty() {
            return None;
        }
        let calls: Vec<(usize, Arc<RoutineDef>)> = select
            .projection
            .iter()
            .enumerate()
            .filter_map(|(i, item)| Some((i, self.set_routine(call_of(item)?)?)))
            .collect();
        let [(at, routine)] = calls.as_slice() else { return None };
        // In FROM it would run once, whatever the rows of the others are.
        if routine.runs && (!select.from.is_empty() || select.selection.is_some()) {
            return None;
        }
        let others = select.projection.iter().enumerate().filter(|(i, _)| i != at);
        let plain = |item: &SelectItem| !matches!(item, SelectItem::Wildcard(_)) && !is_more_than_a_value(item);
        let ungrouped = matches!(&select.group_by, ast::GroupByExpr::Expressions(by, _) if by.is_empty());
        if !ungrouped || select.having.is_some() || !others.map(|(_, item)| item).all(plain) {
            return None;
        }
        let mut select = select.clone();
        let item = select.projection.get_mut(*at)?;
        let call = call_of(item)?.clone();
        let ast::FunctionArguments::List(list) = &call.args else { return None };
        let name = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => ast::Ident { span: call.span(), ..call.name.0.last()?.as_ident()?.clone() },
        };
        let rows = ast::Ident { value: ROWS.to_owned(), quote_style: Some('"'), span: call.span() };
        *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(rows.clone()), alias: name };
        // Names of its columns would hide others.
        let column = |i: usize| ast::TableAliasColumnDef {
            name: ast::Ident::with_quote('"', format!("{ROWS}{i}")),
            data_type: None,
        };
        let alias = ast::TableAlias {
            explicit: true,
            name: rows,
            columns: (0..routine.columns.len()).map(column).collect(),
            at: None,
        };
        let relation = TableFactor::Function {
            lateral: true,
            name: call.name.clone(),
            args: list.args.clone(),
            with_ordinality: false,
            alias: Some(alias),
        };
        select.from.push(ast::TableWithJoins { relation, joins: Vec::new() });
        Some(select)
    }
}
