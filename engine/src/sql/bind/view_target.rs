//! Views that can be changed: a view over one table whose columns are columns of it, and views over such views. A change
//! of the view is a change of the table, restricted by the views' conditions.
//!
//! Invariant: a column of the view that is an expression is never a target; where it is read, the expression stands.

use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::ast::{self, SetExpr, TableFactor};

use super::{Binder, Expects, fold};
use crate::catalog::{Catalog, CheckOption, Relation, TableDef, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::{Kind, registry::registry};
use crate::sql::parse::{Source, parse_query};
use crate::sql::rewrite::only;
use crate::sql::scope::{Scope, ScopeColumn, ScopeRelation};

/// Views may lie on each other so deep.
const LEVELS_MAX: usize = 100;

/// One view on the way from the one that was named to the table.
#[derive(Debug)]
pub struct ViewLevel {
    pub view: Arc<ViewDef>,
    query: Box<ast::Query>,
    source: Source,
}

/// A condition that a view puts on its rows.
#[derive(Debug)]
pub struct ViewCondition {
    pub view: String,
    /// WITH CHECK OPTION demands it of new rows.
    pub checked: bool,
    pub expr: ScalarExpr,
}

/// INSERT, UPDATE or DELETE of a view: what errors say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewChange {
    Insert,
    Update,
    Delete,
}

impl ViewChange {
    fn refused(self, view: &str, detail: &str) -> Error {
        let (verb, doing, event) = match self {
            ViewChange::Insert => ("insert into", "inserting into", "INSERT"),
            ViewChange::Update => ("update", "updating", "UPDATE"),
            ViewChange::Delete => ("delete from", "deleting from", "DELETE"),
        };
        Error::new(SqlState::ObjectNotInPrerequisiteState, format!("cannot {verb} view \"{view}\""))
            .detail(detail)
            .hint(format!(
                "To enable {doing} the view, provide an INSTEAD OF {event} trigger or an unconditional ON {event} DO \
                 INSTEAD rule."
            ))
    }
}

/// The only relation that a view's query selects from, or why it cannot be changed.
fn base(query: &ast::Query) -> Result<(&ast::Select, &ast::ObjectName, Option<&ast::TableAlias>), &'static str> {
    let select = match &*query.body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { .. } => {
            return Err("Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.");
        }
        _ => return Err("Views that do not select from a single table or view are not automatically updatable."),
    };
    if select.distinct.is_some() {
        return Err("Views containing DISTINCT are not automatically updatable.");
    }
    let grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    if grouped {
        return Err("Views containing GROUP BY are not automatically updatable.");
    }
    if select.having.is_some() {
        return Err("Views containing HAVING are not automatically updatable.");
    }
    if query.with.is_some() {
        return Err("Views containing WITH are not automatically updatable.");
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return Err("Views containing LIMIT or OFFSET are not automatically updatable.");
    }
    for item in &select.projection {
        match kind_of(item) {
            Some(Called::Aggregate) => {
                return Err("Views that return aggregate functions are not automatically updatable.");
            }
            Some(Called::Window) => return Err("Views that return window functions are not automatically updatable."),
            Some(Called::Set) => {
                return Err("Views that return set-returning functions are not automatically updatable.");
            }
            None => {}
        }
    }
    match select.from.as_slice() {
        [item] if item.joins.is_empty() => match &item.relation {
            TableFactor::Table { name, alias, args: None, sample: None, .. } => Ok((select, name, alias.as_ref())),
            _ => Err("Views that do not select from a single table or view are not automatically updatable."),
        },
        _ => Err("Views that do not select from a single table or view are not automatically updatable."),
    }
}

/// Why a view with this query cannot be changed.
pub fn changeable(query: &ast::Query) -> Result<(), &'static str> {
    base(query).map(|_| ())
}

/// Whether an item calls an aggregate, a window function or a function that returns a set.
pub(super) fn is_more_than_a_value(item: &ast::SelectItem) -> bool {
    kind_of(item).is_some()
}

enum Called {
    Aggregate,
    Window,
    Set,
}

/// What kind of function that is more than a value of its row an item calls.
fn kind_of(item: &ast::SelectItem) -> Option<Called> {
    let flow = ast::visit_expressions(item, |expr| {
        let ast::Expr::Function(call) = expr else { return std::ops::ControlFlow::Continue(()) };
        let name = call.name.0.last().and_then(|p| p.as_ident()).map(fold).unwrap_or_default();
        let known = registry().lookup(&name);
        let kind = match known.first() {
            _ if call.over.is_some() => Called::Window,
            Some(f) if f.kind == Kind::Aggregate => Called::Aggregate,
            Some(f) if f.returns_set => Called::Set,
            _ => return std::ops::ControlFlow::Continue(()),
        };
        std::ops::ControlFlow::Break(kind)
    });
    flow.break_value()
}

/// The table under `view`, whether it is meant alone, and the views from the innermost on.
pub fn view_levels(
    catalog: &Catalog,
    path: &crate::catalog::SearchPath,
    view: Arc<ViewDef>,
    change: ViewChange,
) -> Result<(Arc<TableDef>, bool, Vec<ViewLevel>)> {
    let mut levels = Vec::new();
    let mut next = view;
    while levels.len() < LEVELS_MAX {
        let (query, source) = parse_query(&next.query)?;
        let (_, name, _) = base(&query).map_err(|detail| change.refused(&next.name, detail))?;
        let (name, only) = only::split(name);
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let (schema, relation) = match parts.as_slice() {
            [relation] => (None, relation.clone()),
            [.., schema, relation] => (Some(schema.clone()), relation.clone()),
            [] => return Err(Error::internal("a view reads a relation without a name")),
        };
        let found = catalog.resolve_relation(schema.as_deref(), &relation, path)?;
        levels.push(ViewLevel { view: next.clone(), query, source });
        match found {
            Relation::Table(table) => {
                levels.reverse();
                return Ok((table, only, levels));
            }
            Relation::View(inner) => next = inner,
            _ => {
                let detail = "Views that do not select from a single table or view are not automatically updatable.";
                return Err(change.refused(&next.name, detail));
            }
        }
    }
    Err(Error::new(SqlState::StatementTooComplex, "views are nested too deeply"))
}

/// Whether a view can be changed, for the information schema.
pub fn is_updatable(catalog: &Catalog, path: &crate::catalog::SearchPath, view: &Arc<ViewDef>) -> bool {
    view_levels(catalog, path, view.clone(), ViewChange::Update).is_ok()
}

/// The column of the table behind a column of a view; `change` is of the view.
pub fn base_column<'a>(
    relation: &ScopeRelation,
    def: &'a TableDef,
    view: &str,
    name: &str,
    change: ViewChange,
) -> Result<&'a str> {
    let Some(column) = relation.columns.iter().find(|c| c.name == name) else {
        return Err(Error::new(
            SqlState::UndefinedColumn,
            format!("column \"{name}\" of relation \"{view}\" does not exist"),
        ));
    };
    match def.attribute(column.attribute) {
        Some(base) => Ok(&base.name),
        None => {
            let verb = if change == ViewChange::Insert { "insert into" } else { "update" };
            let message = format!("cannot {verb} column \"{name}\" of view \"{view}\"");
            Err(Error::new(SqlState::FeatureNotSupported, message)
                .detail("View columns that are not columns of their base relation are not updatable."))
        }
    }
}

/// Attribute numbers of the columns in `named`; `relation` is the table at depth 0, and a view above.
fn named_columns(relation: &ScopeRelation, depth: usize, named: &HashSet<ColumnId>) -> Vec<i16> {
    let own = (1..).zip(&relation.columns).filter(|(_, column)| named.contains(&column.id));
    own.map(|(at, column)| if depth == 0 { column.attribute } else { at }).collect()
}

impl Binder {
    /// A relation of the columns of the outermost view over `relation`, which is the table's, and the views' conditions.
    pub fn over_views(
        &mut self,
        mut relation: ScopeRelation,
        levels: &[ViewLevel],
        alias: Option<&ast::TableAlias>,
    ) -> Result<(ScopeRelation, Vec<ViewCondition>)> {
        let mut conditions = Vec::new();
        // What a view names of the table is not what the statement does.
        let policed = self.policed.take();
        let user = self.uses_of.user;
        for (depth, level) in levels.iter().enumerate() {
            let Ok((select, name, inner_alias)) = base(&level.query) else {
                return Err(Error::internal("a view changed while it was bound"));
            };
            let (name, _) = only::split(name);
            let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
            relation.name = parts.pop().unwrap_or_default();
            relation.schema = parts.pop();
            if let Some(alias) = inner_alias {
                relation.name = fold(&alias.name);
                relation.schema = None;
                for (column, new) in relation.columns.iter_mut().zip(&alias.columns) {
                    column.name = fold(&new.name);
                }
            }
            let star = relation.columns.clone();
            let scope = Scope { relations: vec![relation.clone()], merged: vec![], star };
            self.uses_of.user = self.user_of_view(&level.view);
            let bound = self.isolated(level.source.clone(), |b| {
                let items = b.in_scope(&scope, Expects::SelectList, |b| b.select_list(&select.projection))?;
                let condition = match &select.selection {
                    Some(expr) => Some(b.in_scope(&scope, Expects::Where, |b| b.boolean(expr, "WHERE"))?),
                    None => None,
                };
                Ok((items, condition))
            });
            self.uses_of.user = user;
            let (items, condition) = bound?;
            let mut named = HashSet::new();
            for expr in items.iter().map(|item| &item.expr).chain(&condition) {
                expr.free_columns(&mut named);
            }
            let named = named_columns(&relation, depth, &named);
            let mut columns = Vec::with_capacity(items.len());
            for (item, (name, ty)) in items.into_iter().zip(&level.view.columns) {
                let known = match item.expr.kind {
                    ExprKind::Column { id, depth: 0 } => relation.columns.iter().find(|c| c.id == id),
                    _ => None,
                };
                columns.push(match known.filter(|c| c.attribute > 0) {
                    Some(column) => ScopeColumn { name: name.clone(), ..column.clone() },
                    None => {
                        let id = self.fresh();
                        let expr = self.resolve_unknown(item.expr)?;
                        self.computed.insert(id, expr);
                        ScopeColumn { name: name.clone(), id, ty: *ty, table: 0, attribute: 0, visible: true }
                    }
                });
            }
            self.note_view_level(depth, columns.iter().map(|c| c.attribute).collect(), named.into_iter());
            relation.columns = columns;
            if let Some(expr) = condition {
                conditions.push(ViewCondition { view: level.view.name.clone(), checked: false, expr });
            }
        }
        self.policed = policed;
        if let Some(outer) = levels.last() {
            relation.name = alias.map_or_else(|| outer.view.name.clone(), |a| fold(&a.name));
            let schema = self.environment.catalog.schema_name(outer.view.schema).to_string();
            relation.schema = alias.is_none().then_some(schema);
            relation.real_name = alias.map(|_| outer.view.name.clone());
        }
        // From the outermost on: CASCADED takes all below with it.
        let mut cascaded = false;
        for level in levels.iter().rev() {
            let checked = cascaded || level.view.check_option.is_some();
            cascaded |= level.view.check_option == Some(CheckOption::Cascaded);
            for condition in conditions.iter_mut().filter(|c| c.view == level.view.name) {
                condition.checked = checked;
            }
        }
        Ok((relation, conditions))
    }

    /// The scope of a table, that of the views over it (for INSERT), and the views' conditions.
    pub fn view_scope(
        &mut self,
        def: &TableDef,
        levels: &[ViewLevel],
        alias: Option<&ast::TableAlias>,
    ) -> Result<(Scope, Scope, Vec<ViewCondition>)> {
        let base = self.table_scope(def, None);
        let mut scope = base.clone();
        let Some(relation) = scope.relations.pop() else { return Ok((base, scope, Vec::new())) };
        let (relation, conditions) = self.over_views(relation, levels, alias)?;
        self.note_view_columns(&relation.columns);
        scope.star = relation.columns.clone();
        scope.relations.push(relation);
        Ok((base, scope, conditions))
    }
    /// The scope of EXCLUDED over views, and that of the table under them.
    pub fn excluded_view_scope(&mut self, def: &TableDef, levels: &[ViewLevel]) -> Result<(Scope, Scope)> {
        let (base, scope, _) = self.view_scope(def, levels, None)?;
        for relation in &scope.relations {
            self.hide_view_columns(&relation.columns);
        }
        Ok((base, scope))
    }
}
