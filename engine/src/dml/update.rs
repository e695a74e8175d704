//! UPDATE.

use std::sync::Arc;

use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::foreign_key::{ForeignKeys, Pending};
use super::insert::bind_returning;
use super::row_expr::{Returning, RowColumns, RowExpr};
use super::rules::TableRules;
use super::target::{TargetPlan, TargetRow};
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, Identity, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::session::plan::{identifier, object_name};
use crate::session::portal::Changed;
use crate::session::settings::Methods;
use crate::session::{Row, Session};
use crate::sql::bind::row_security::{CheckTime, TargetChange};
use crate::sql::bind::view_target::{ViewChange, ViewLevel, base_column};
use crate::sql::current_of;
use crate::sql::{Binder, Scope};
use crate::storage::Table;
use crate::txn::{Reads, RowLock};
use crate::types::Datum;

/// `SET a = …, (b, c) = (…)`: column indexes and what they become.
pub struct Assignments {
    /// `None`: DEFAULT.
    list: Vec<(usize, Option<RowExpr>)>,
}

impl Assignments {
    pub fn bind(
        assignments: &[ast::Assignment],
        def: &TableDef,
        scope: &Scope,
        columns: &Arc<RowColumns>,
        binder: &mut Binder,
        parameters: usize,
    ) -> Result<Assignments> {
        let mut list: Vec<(usize, Option<RowExpr>)> = Vec::with_capacity(assignments.len());
        for (target, value, span, place) in flatten(assignments, def, binder)? {
            // What only an heir has was refused for the table that was named.
            let column = def.resolve_column(&target).map_err(|e| binder.locate(e, place))?;
            let index = column.attnum as usize - 1;
            if list.iter().any(|(i, _)| *i == index) {
                let message = format!("multiple assignments to same column \"{target}\"");
                return Err(Error::new(SqlState::SyntaxError, message));
            }
            let is_default = matches!(value, Value::Expr(ast::Expr::Identifier(i))
                if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
            if (column.generated || column.identity == Some(Identity::Always)) && !is_default {
                let kind = if column.generated {
                    "a generated column"
                } else {
                    "an identity column defined as GENERATED ALWAYS"
                };
                return Err(Error::new(
                    SqlState::GeneratedAlways,
                    format!("column \"{target}\" can only be updated to DEFAULT"),
                )
                .detail(format!("Column \"{target}\" is {kind}.")));
            }
            if is_default {
                list.push((index, None));
                continue;
            }
            binder.set_clause("UPDATE");
            let bound = match value {
                Value::Expr(value) => binder.bind_assignment(value, scope, &column.name, column.ty)?,
                Value::Field(query, field) => {
                    binder.bind_field_assignment(query, field, scope, &column.name, column.ty, span)?
                }
            };
            // For UPDATE, the query that finds the rows computes them.
            let expr = match columns.is_empty() {
                true => RowExpr::new(bound, columns, parameters),
                false => RowExpr::with_queries(bound, scope, columns, parameters, binder)?,
            };
            list.push((index, Some(expr)));
        }
        binder.require(Rights::UPDATE, list.iter().map(|(index, _)| *index as i16 + 1));
        Ok(Assignments { list })
    }

    pub fn is_query(&self) -> bool {
        self.list.iter().any(|(_, e)| e.as_ref().is_some_and(RowExpr::is_query))
    }

    fn expressions(&self) -> Vec<ScalarExpr> {
        self.list.iter().filter_map(|(_, e)| e.as_ref()).map(|e| e.expr.clone()).collect()
    }

    /// Indexes of the columns.
    pub fn targets(&self) -> impl Iterator<Item = usize> + '_ {
        self.list.iter().map(|(index, _)| *index)
    }

    pub fn touches(&self, index: usize) -> bool {
        self.list.iter().any(|(i, _)| *i == index)
    }

    /// Computes the new values from `row` (the old one, and what was joined to it) and puts them into `new`.
    pub async fn apply(
        &self,
        session: &mut Session,
        row: &[Datum],
        new: &mut Row,
        params: &[Datum],
        rules: &TableRules,
    ) -> Result<()> {
        for (index, expr) in &self.list {
            let value = match expr {
                Some(expr) => expr.eval(session, row, params).await?,
                None => default_value(session, rules, *index).await?,
            };
            if let Some(slot) = new.get_mut(*index) {
                *slot = value;
            }
        }
        Ok(())
    }

    /// Puts values that a query computed into `new`.
    async fn take(&self, session: &mut Session, values: Vec<Datum>, new: &mut Row, rules: &TableRules) -> Result<()> {
        let mut values = values.into_iter();
        for (index, expr) in &self.list {
            let value = match expr {
                Some(_) => values.next().unwrap_or(Datum::Null),
                None => default_value(session, rules, *index).await?,
            };
            if let Some(slot) = new.get_mut(*index) {
                *slot = value;
            }
        }
        Ok(())
    }
}

async fn default_value(session: &mut Session, rules: &TableRules, index: usize) -> Result<Datum> {
    match rules.defaults.get(index).and_then(Option::as_ref) {
        Some(default) => default.eval(session, &[], &[]).await,
        None => Ok(Datum::Null),
    }
}

/// Gives assignments to a view's columns the names of the table's.
pub fn rename_targets<'a>(assignments: &mut [ast::Assignment], column: &dyn Fn(&str) -> Result<&'a str>) -> Result<()> {
    let rename = |name: &mut ast::ObjectName| -> Result<()> {
        if let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() {
            let new = column(&identifier(ident))?;
            *ident = ast::Ident::with_quote('"', new);
        }
        Ok(())
    };
    for assignment in assignments {
        match &mut assignment.target {
            ast::AssignmentTarget::ColumnName(name) => rename(name)?,
            ast::AssignmentTarget::Tuple(names) => names.iter_mut().try_for_each(rename)?,
        }
    }
    Ok(())
}

/// What is assigned to a column.
enum Value<'a> {
    Expr(&'a ast::Expr),
    /// A column of a subquery, and how many it must have.
    Field(&'a ast::Query, (usize, usize)),
}

/// Single assignments, row assignments taken apart, each with the places of what is assigned and of the target.
fn flatten<'a>(
    assignments: &'a [ast::Assignment],
    def: &TableDef,
    binder: &Binder,
) -> Result<Vec<(String, Value<'a>, Span, Span)>> {
    let mut out = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let span = assignment.value.span();
        match &assignment.target {
            ast::AssignmentTarget::ColumnName(name) => {
                if name.0.len() > 1 {
                    let first = name.0.first().and_then(|p| p.as_ident()).map(identifier).unwrap_or_default();
                    let message = format!("column \"{first}\" of relation \"{}\" does not exist", def.name);
                    return Err(binder.locate(Error::new(SqlState::UndefinedColumn, message), name.span()));
                }
                out.push((object_name(name)?.1, Value::Expr(&assignment.value), span, name.span()));
            }
            ast::AssignmentTarget::Tuple(names) => {
                let values: Vec<Value<'_>> = match &assignment.value {
                    ast::Expr::Tuple(values) => values.iter().map(Value::Expr).collect(),
                    ast::Expr::Nested(value) if names.len() == 1 => vec![Value::Expr(value)],
                    ast::Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("row") => {
                        row_arguments(f)?.into_iter().map(Value::Expr).collect()
                    }
                    ast::Expr::Subquery(query) => {
                        (0..names.len()).map(|i| Value::Field(query, (i, names.len()))).collect()
                    }
                    value if names.len() == 1 => vec![Value::Expr(value)],
                    _ => {
                        return Err(Error::new(
                            SqlState::FeatureNotSupported,
                            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
                        ));
                    }
                };
                if values.len() != names.len() {
                    return Err(Error::new(SqlState::SyntaxError, "number of columns does not match number of values"));
                }
                for (name, value) in names.iter().zip(values) {
                    out.push((object_name(name)?.1, value, span, name.span()));
                }
            }
        }
    }
    Ok(out)
}

fn row_arguments(function: &ast::Function) -> Result<Vec<&ast::Expr>> {
    let ast::FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    list.args
        .iter()
        .map(|arg| match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
            other => Err(Error::unsupported(format!("ROW({other})"))),
        })
        .collect()
}

pub struct UpdatePlan {
    pub rules: TableRules,
    pub keys: ForeignKeys,
    pub target: TargetPlan,
    assignments: Assignments,
    lock: RowLock,
    pub returning: Option<Returning>,
    /// The same for each table that inherits from the target.
    heirs: Vec<UpdatePlan>,
}

impl UpdatePlan {
    /// Whether parts of it run on the general path, after rows were written.
    pub fn has_row_queries(&self) -> bool {
        self.rules.has_row_queries() || self.returning.as_ref().is_some_and(Returning::is_query)
    }

    /// The plans of the target and of its heirs.
    pub fn members(&self) -> impl Iterator<Item = &UpdatePlan> {
        std::iter::once(self).chain(&self.heirs)
    }
}

pub fn plan(
    session: &mut Session,
    update: &ast::Update,
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<UpdatePlan> {
    let ast::TableFactor::Table { name, alias, .. } = &update.table.relation else {
        return Err(Error::unsupported("UPDATE of something that is not a table"));
    };
    if !update.table.joins.is_empty() || update.limit.is_some() || !update.order_by.is_empty() {
        return Err(Error::new(SqlState::SyntaxError, "syntax error in UPDATE"));
    }
    let (def, only, views) = session.resolve_target(name, catalog, ViewChange::Update)?;
    let from: &[ast::TableWithJoins] = match &update.from {
        None => &[],
        Some(ast::UpdateTableFromKind::AfterSet(from) | ast::UpdateTableFromKind::BeforeSet(from)) => from,
    };
    let on = views.iter().map(|level| &level.view);
    binder.begin_target_through(&def, on, Rights::UPDATE)?;
    let cursor = current_of::cursor(update.selection.as_ref());
    if cursor.is_some() && !views.is_empty() {
        return Err(Error::new(SqlState::FeatureNotSupported, "WHERE CURRENT OF on a view is not implemented"));
    }
    binder.check_family(only)?;
    let family = if only { vec![def.clone()] } else { catalog.family(def.oid) };
    let mut plans = Vec::with_capacity(family.len());
    for member in &family {
        let place = Member { def: member, named: &def, alone: only };
        plans.push(plan_member(session, update, (alias.as_ref(), from), &place, &views, catalog, binder, parameters)?);
        binder.end_target();
    }
    let mut plan = plans.remove(0);
    plan.heirs = plans;
    Ok(plan)
}

/// A table whose rows a change finds.
pub struct Member<'a> {
    pub def: &'a Arc<TableDef>,
    /// The table that the statement names: `def`, or one that it inherits from.
    pub named: &'a Arc<TableDef>,
    /// It is the only one.
    pub alone: bool,
}

impl Member<'_> {
    /// The ways on which an index may find the rows; among several tables a query finds them.
    pub fn point_methods(&self, session: &Session) -> Option<Methods> {
        session.settings.values().point_methods().filter(|_| self.alone)
    }
}

#[allow(clippy::too_many_arguments)]
fn plan_member(
    session: &mut Session,
    update: &ast::Update,
    (alias, from): (Option<&ast::TableAlias>, &[ast::TableWithJoins]),
    member: &Member<'_>,
    views: &[ViewLevel],
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<UpdatePlan> {
    let (def, cursor) = (member.def, current_of::cursor(update.selection.as_ref()));
    let condition = update.selection.as_ref().filter(|_| cursor.is_none());
    let (target, conditions) = binder.bind_target((def, member.named), views, alias, from, condition)?;
    let scope = target.scope.clone();
    // Expressions name columns by id; where those lie is known once the target is bound.
    let placeholder = Arc::new(RowColumns::default());
    let renamed;
    let list = match (views.last(), scope.relations.first()) {
        (Some(level), Some(relation)) => {
            let mut list = update.assignments.clone();
            let column = |name: &str| base_column(relation, def, &level.view.name, name, ViewChange::Update);
            rename_targets(&mut list, &column)?;
            renamed = list;
            &renamed
        }
        _ => &update.assignments,
    };
    let mut assignments = Assignments::bind(list, def, &scope, &placeholder, binder, parameters)?;
    let point_path = member.point_methods(session);
    let mut target = TargetPlan::bind(binder, def, target, assignments.expressions(), point_path, parameters)?;
    if cursor.is_some() && !target.is_simple() {
        return Err(Error::unsupported("WHERE CURRENT OF in a statement with subqueries"));
    }
    target.cursor = cursor.map(str::to_owned);
    for (_, expr) in &mut assignments.list {
        if let Some(expr) = expr {
            expr.columns = target.columns.clone();
        }
    }
    let returning = match &update.returning {
        None => None,
        Some(items) => Some(bind_returning(items, &scope, &target.columns, binder, parameters)?),
    };
    let mut rules = TableRules::bind(session, def, catalog)?;
    if def.oid != member.named.oid {
        rules.speak_as(&TableRules::bind(session, member.named, catalog)?);
    }
    rules.add_view_checks(conditions, &target.columns, parameters)?;
    target.police(binder, TargetChange::Update, parameters)?;
    rules.add_policies(binder, TargetChange::Update, parameters)?;
    rules.note_written(assignments.targets());
    let in_key = |i: usize| def.indexes.iter().any(|index| index.unique && index.reads().any(|a| a as usize == i + 1));
    // A generated column changes with what it is computed from.
    let touched = |i: usize| assignments.touches(i) || def.columns.get(i).is_some_and(|c| c.generated);
    let lock = match (0..def.columns.len()).any(|i| touched(i) && in_key(i)) {
        true => RowLock::Update,
        false => RowLock::NoKeyUpdate,
    };
    let keys = ForeignKeys::of(def, catalog);
    Ok(UpdatePlan { rules, keys, target, assignments, lock, returning, heirs: Vec::new() })
}

pub async fn execute(session: &mut Session, plan: &UpdatePlan, params: &Arc<[Datum]>) -> Result<Changed> {
    let reads = if plan.heirs.is_empty() { plan.target.reads() } else { Reads::Snapshot };
    session.begin_statement(reads).await?;
    // All are found and locked before the first is written: no condition sees what the statement itself does.
    let mut found = Vec::with_capacity(1 + plan.heirs.len());
    for member in plan.members() {
        let table = session.table(member.rules.def.oid)?;
        let rows = member.target.rows(session, &table, params, member.lock).await?;
        found.push((member, table, rows));
    }
    let mut pending = Pending::default();
    let mut changed = Changed { count: 0, returned: Vec::new() };
    for (member, table, rows) in found {
        member.write(session, &table, rows, params, (&mut pending, &mut changed)).await?;
    }
    session.finish_change(pending).await?;
    if plan.returning.is_some() {
        session.transaction()?.wait_for_dependencies().await?;
    }
    Ok(changed)
}

impl UpdatePlan {
    /// Writes the rows of one table anew.
    async fn write(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        rows: Vec<TargetRow>,
        params: &Arc<[Datum]>,
        (pending, changed): (&mut Pending, &mut Changed),
    ) -> Result<()> {
        for (i, target) in rows.into_iter().enumerate() {
            if i % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
            let TargetRow { key, row, values, joined } = target;
            let mut new = row.clone();
            match self.target.is_simple() {
                true => self.assignments.apply(session, &row, &mut new, params, &self.rules).await?,
                false => self.assignments.take(session, values, &mut new, &self.rules).await?,
            }
            self.rules.settle(session, &mut new, CheckTime::Update, params).await?;
            let context = session.eval_context();
            if !self.keys.is_empty() {
                pending.written(&self.rules.def, &self.keys, Some(&row), &new)?;
            }
            if let Some(returning) = &self.returning {
                let seen: Row = new.iter().cloned().chain(joined).collect();
                let mut out = Row::with_capacity(returning.exprs.len());
                for expr in &returning.exprs {
                    out.push(expr.eval(session, &seen, params).await?);
                }
                changed.returned.push(out);
            }
            let shown = (self.lock == RowLock::Update).then(|| new.clone());
            if let Err(duplicate) = session.transaction()?.update(table, &key, new).await? {
                return Err(self.rules.unique_violation(&duplicate, shown.as_deref(), &context));
            }
            session.note_written(table.def.oid, &key);
            changed.count += 1;
        }
        Ok(())
    }
}
