//! INSERT: VALUES row by row, SELECT and COPY batch by batch, ON CONFLICT.
//!
//! Invariant: a row is complete (defaults, generated columns) and checked before storage sees it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema};
use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use super::arbiter::LateArbiters;
use super::foreign_key::{ForeignKeys, Pending};
use super::row_expr::{Returning, RowColumns, RowExpr};
use super::rules::TableRules;
use super::update::{Assignments, rename_targets};
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, ColumnDef, Identity, Oid, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::ExprKind;
use crate::session::cursor::batch_rows;
use crate::session::plan::{identifier, object_name};
use crate::session::portal::Changed;
use crate::session::{Row, Session};
use crate::sql::bind::row_security::{CheckTime, TargetChange};
use crate::sql::bind::view_target::{ViewChange, ViewLevel, base_column};
use crate::sql::{Binder, BoundQuery, Scope};
use crate::storage::{RowKey, Table};
use crate::txn::{Duplicate, Locked, Reads, RowLock, Transaction, Wait};
use crate::types::arrow::{ColumnBuilder, ColumnReader};
use crate::types::{Datum, PgType};

/// `xmax` of a row that ON CONFLICT updated; PostgreSQL's is that of the transaction.
const UPDATED_XMAX: u32 = 3;

/// Names in the column list that stand for OVERRIDING: no client can write them.
pub const OVERRIDING_SYSTEM: &str = "\u{1}system";
pub const OVERRIDING_USER: &str = "\u{1}user";

pub enum Source {
    /// `None`: DEFAULT.
    Rows(Vec<Vec<Option<RowExpr>>>),
    Query(Box<BoundQuery>),
}

pub struct InsertPlan {
    pub rules: TableRules,
    pub keys: ForeignKeys,
    pub source: Source,
    /// Indexes of the columns that the source gives, in its order.
    pub targets: Vec<usize>,
    pub conflict: Option<Conflict>,
    pub returning: Option<Returning>,
}

pub struct Conflict {
    /// Indexes that decide; empty: any.
    arbiters: Vec<Oid>,
    /// `arbiters` are those that may decide; which do follows from the parameters.
    late: Option<LateArbiters>,
    /// `None`: DO NOTHING.
    update: Option<ConflictUpdate>,
}

struct ConflictUpdate {
    assignments: Assignments,
    /// Over the existing row and EXCLUDED behind it.
    condition: Option<RowExpr>,
}

/// The live columns that a column list names, or the first `given` ones.
pub fn target_columns(def: &TableDef, names: &[String], given: Option<usize>) -> Result<Vec<usize>> {
    let live = || def.live_columns().map(|c| c.attnum as usize - 1);
    if names.is_empty() {
        let all: Vec<usize> = live().collect();
        let count = given.unwrap_or(all.len()).min(all.len());
        return Ok(all.into_iter().take(count).collect());
    }
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let column = def.resolve_column(name)?;
        let index = column.attnum as usize - 1;
        if targets.contains(&index) {
            return Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        targets.push(index);
    }
    Ok(targets)
}

pub fn plan(
    session: &mut Session,
    insert: &ast::Insert,
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<InsertPlan> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT into a table function"));
    };
    let (def, _, views) = session.resolve_target(name, catalog, ViewChange::Insert)?;
    let names: Vec<String> = insert.columns.iter().map(|c| object_name(c).map(|(_, n)| n)).collect::<Result<_>>()?;
    let (overriding, mut names) = overriding(names);
    let alias = insert.table_alias.as_ref().map(|a| &a.alias);
    let on = views.iter().map(|level| &level.view);
    binder.begin_target_through(&def, on, Rights::INSERT)?;
    let mut view = None;
    if let Some(level) = views.last() {
        let alias = alias.map(|name| ast::TableAlias { explicit: true, name: name.clone(), columns: vec![], at: None });
        let (base, scope, conditions) = binder.view_scope(&def, &views, alias.as_ref())?;
        if let Some(relation) = scope.relations.first() {
            if names.is_empty() && insert.source.is_some() {
                names = relation.columns.iter().map(|c| c.name.clone()).collect();
                if let Some(width) = values_width(insert) {
                    names.truncate(width);
                }
            }
            for name in &mut names {
                *name = base_column(relation, &def, &level.view.name, name, ViewChange::Insert)?.to_owned();
            }
        }
        view = Some((base, scope, conditions));
    }
    let (mut source, mut targets) = bind_source(insert, &def, &names, binder, parameters)?;
    binder.require(Rights::INSERT, targets.iter().map(|index| *index as i16 + 1));
    let mut rules = TableRules::bind(session, &def, catalog)?;
    // Names for RETURNING, and where their columns lie.
    let (mut scope, mut columns) = match view {
        None => {
            let scope = binder.table_scope(&def, alias.map(identifier).as_deref());
            let columns = RowColumns::of_scope(&scope);
            (scope, columns)
        }
        Some((base, scope, conditions)) => {
            let columns = RowColumns::of_scope(&base);
            rules.add_view_checks(conditions, &Arc::new(columns.clone()), parameters)?;
            (scope, columns)
        }
    };
    check_generated(&def, &mut source, &mut targets, overriding)?;
    let conflict = bind_conflict(insert, &def, &views, binder, parameters)?;
    let returning = match &insert.returning {
        None => None,
        Some(items) => {
            if conflict.as_ref().is_some_and(|c| c.update.is_some())
                && let Some(xmax) = binder.add_xmax(&mut scope)
            {
                columns.put(xmax, def.columns.len());
            }
            Some(bind_returning(items, &scope, &Arc::new(columns), binder, parameters)?)
        }
    };
    let updates = conflict.as_ref().is_some_and(|c| c.update.is_some());
    rules.add_policies(binder, TargetChange::Insert { updates }, parameters)?;
    rules.note_written(targets.iter().copied());
    if let Some(update) = conflict.as_ref().and_then(|c| c.update.as_ref()) {
        rules.note_written(update.assignments.targets());
    }
    Ok(InsertPlan { rules, keys: ForeignKeys::of(&def, catalog), source, targets, conflict, returning })
}

pub fn bind_returning(
    items: &[ast::SelectItem],
    scope: &Scope,
    columns: &Arc<RowColumns>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<Returning> {
    let mut returning = Returning { columns: Vec::new(), exprs: Vec::new() };
    for (column, expr) in binder.bind_returning(items, scope)? {
        returning.columns.push(column);
        returning.exprs.push(RowExpr::with_queries(expr, scope, columns, parameters, binder)?);
    }
    Ok(returning)
}

pub fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}

fn bind_source(
    insert: &ast::Insert,
    def: &TableDef,
    names: &[String],
    binder: &mut Binder,
    parameters: usize,
) -> Result<(Source, Vec<usize>)> {
    let Some(query) = &insert.source else {
        // DEFAULT VALUES
        return Ok((Source::Rows(vec![Vec::new()]), Vec::new()));
    };
    if let ast::SetExpr::Values(values) = &*query.body
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
    {
        let given = values.rows.first().map_or(0, |r| r.len());
        let targets = target_columns(def, names, Some(given)).map_err(|e| at_column(e, insert, def, binder))?;
        if let Some(row) = values.rows.first() {
            let place =
                row.get(targets.len()).map(Spanned::span).or_else(|| Some(insert.columns.get(row.len())?.span()));
            check_width(row.len(), targets.len(), true).map_err(|e| at(e, place, binder))?;
        }
        if let Some(rows) = bind_rows(values, def, &targets, binder, parameters)? {
            return Ok((Source::Rows(rows), targets));
        }
    }
    let targets = target_columns(def, names, None).map_err(|e| at_column(e, insert, def, binder))?;
    let mut columns: Vec<(String, PgType)> = Vec::with_capacity(targets.len());
    for target in &targets {
        if let Some(column) = def.columns.get(*target) {
            columns.push((column.name.clone(), column.ty));
        }
    }
    let bound = binder.bind_query_as(query, &columns)?;
    let items = match &*query.body {
        ast::SetExpr::Select(select) => select.projection.as_slice(),
        _ => &[],
    };
    let given = bound.columns.len();
    let place = items.get(targets.len()).map(Spanned::span).or_else(|| Some(insert.columns.get(given)?.span()));
    check_width(given, targets.len(), !names.is_empty()).map_err(|e| at(e, place, binder))?;
    let targets = targets.into_iter().take(bound.columns.len()).collect();
    Ok((Source::Query(Box::new(bound)), targets))
}

fn at(error: Error, place: Option<Span>, binder: &Binder) -> Error {
    match place {
        Some(span) => binder.locate(error, span),
        None => error,
    }
}

/// An error of the column list where the name stands that there is no column for, or that stands there twice.
fn at_column(error: Error, insert: &ast::Insert, def: &TableDef, binder: &Binder) -> Error {
    let name = |column: &ast::ObjectName| object_name(column).map_or(String::new(), |(_, name)| name);
    let wrong = |(i, column): (usize, &ast::ObjectName)| {
        let own = name(column);
        let again = insert.columns.iter().take(i).any(|other| name(other) == own);
        let mark = own == OVERRIDING_SYSTEM || own == OVERRIDING_USER;
        (!mark && (again || def.column(&own).is_none())).then(|| column.span())
    };
    at(error, insert.columns.iter().enumerate().find_map(wrong), binder)
}

pub fn check_width(given: usize, targets: usize, named: bool) -> Result<()> {
    if given > targets {
        return Err(Error::new(SqlState::SyntaxError, "INSERT has more expressions than target columns"));
    }
    if given < targets && named {
        return Err(Error::new(SqlState::SyntaxError, "INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// VALUES as expressions that need no plan; `None` when one of them holds a subquery.
fn bind_rows(
    values: &ast::Values,
    def: &TableDef,
    targets: &[usize],
    binder: &mut Binder,
    parameters: usize,
) -> Result<Option<Vec<Vec<Option<RowExpr>>>>> {
    let empty = Scope::default();
    let columns = Arc::new(RowColumns::default());
    let mut rows = Vec::with_capacity(values.rows.len());
    let mut width = None;
    // A query cannot say DEFAULT.
    let defaults = values.rows.iter().any(|row| row.iter().any(is_default));
    for row in &values.rows {
        if *width.get_or_insert(row.len()) != row.len() {
            return Err(Error::new(SqlState::SyntaxError, "VALUES lists must all be the same length"));
        }
        check_width(row.len(), targets.len(), true)?;
        let mut bound = Vec::with_capacity(row.len());
        for (expr, target) in row.iter().zip(targets) {
            if is_default(expr) {
                bound.push(None);
                continue;
            }
            let Some(column) = def.columns.get(*target) else { continue };
            binder.set_clause("VALUES");
            let value = binder.bind_assignment(expr, &empty, &column.name, column.ty)?;
            if !defaults && has_query(&value) {
                return Ok(None);
            }
            bound.push(Some(RowExpr::with_queries(value, &empty, &columns, parameters, binder)?));
        }
        rows.push(bound);
    }
    Ok(Some(rows))
}

/// Whether an expression needs the general path.
pub fn has_query(expr: &crate::expr::ScalarExpr) -> bool {
    let mut copy = expr.clone();
    fn walk(expr: &mut crate::expr::ScalarExpr) -> bool {
        matches!(expr.kind, ExprKind::Query(_)) || super::sequence::children(&mut expr.kind).into_iter().any(walk)
    }
    walk(&mut copy)
}

/// OVERRIDING SYSTEM VALUE or OVERRIDING USER VALUE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overriding {
    System,
    User,
}

/// What OVERRIDING says, and the column list without its mark.
pub fn overriding(mut names: Vec<String>) -> (Option<Overriding>, Vec<String>) {
    let mark = |names: &[String], mark: &str| names.iter().any(|n| n == mark);
    let said = match (mark(&names, OVERRIDING_SYSTEM), mark(&names, OVERRIDING_USER)) {
        (true, _) => Some(Overriding::System),
        (_, true) => Some(Overriding::User),
        _ => None,
    };
    names.retain(|n| n != OVERRIDING_SYSTEM && n != OVERRIDING_USER);
    (said, names)
}

/// Whether a value that is not DEFAULT is taken for a column; if not, its default is. 428C9: what is always generated may
/// only be given as DEFAULT.
pub fn may_be_given(column: &ColumnDef, overriding: Option<Overriding>) -> Result<bool> {
    if column.identity.is_some() && overriding == Some(Overriding::User) {
        return Ok(false);
    }
    let always = column.identity == Some(Identity::Always) && overriding != Some(Overriding::System);
    if !column.generated && !always {
        return Ok(true);
    }
    let error = Error::new(
        SqlState::GeneratedAlways,
        format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
    );
    Err(match column.generated {
        true => error.detail(format!("Column \"{}\" is a generated column.", column.name)),
        false => error
            .detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))
            .hint("Use OVERRIDING SYSTEM VALUE to override."),
    })
}

/// Looks at what the source gives for generated columns; what OVERRIDING USER VALUE drops becomes DEFAULT.
fn check_generated(
    def: &TableDef,
    source: &mut Source,
    targets: &mut [usize],
    overriding: Option<Overriding>,
) -> Result<()> {
    for (position, target) in targets.iter_mut().enumerate() {
        let Some(column) = def.columns.get(*target) else { continue };
        match source {
            Source::Rows(rows) => {
                for value in rows.iter_mut().filter_map(|r| r.get_mut(position)) {
                    if value.is_some() && !may_be_given(column, overriding)? {
                        *value = None;
                    }
                }
            }
            Source::Query(_) => {
                if !may_be_given(column, overriding)? {
                    // No column of the table: the value is dropped.
                    *target = usize::MAX;
                }
            }
        }
    }
    Ok(())
}

/// How many values the rows of an INSERT … VALUES have.
fn values_width(insert: &ast::Insert) -> Option<usize> {
    match insert.source.as_deref()?.body.as_ref() {
        ast::SetExpr::Values(values) => values.rows.first().map(|r| r.len()),
        _ => None,
    }
}

fn bind_conflict(
    insert: &ast::Insert,
    def: &Arc<TableDef>,
    views: &[ViewLevel],
    binder: &mut Binder,
    parameters: usize,
) -> Result<Option<Conflict>> {
    let Some(ast::OnInsert::OnConflict(on)) = &insert.on else {
        return match &insert.on {
            None => Ok(None),
            Some(_) => Err(Error::unsupported("ON DUPLICATE KEY UPDATE")),
        };
    };
    let alias = insert.table_alias.as_ref().map(|a| identifier(&a.alias));
    let view = match views.last() {
        None => None,
        Some(level) => {
            let alias = insert.table_alias.as_ref().map(|a| ast::TableAlias {
                explicit: true,
                name: a.alias.clone(),
                columns: vec![],
                at: None,
            });
            let (base, scope, _) = binder.view_scope(def, views, alias.as_ref())?;
            Some((level, base, scope))
        }
    };
    let column = |name: &str| match &view {
        Some((level, _, scope)) => match scope.relations.first() {
            Some(relation) => base_column(relation, def, &level.view.name, name, ViewChange::Update),
            None => Err(Error::internal("a view without a relation")),
        },
        None => def.resolve_column(name).map(|c| c.name.as_str()),
    };
    let mut late = None;
    let arbiters = match &on.conflict_target {
        None => Vec::new(),
        Some(ast::ConflictTarget::Columns(columns)) if view.is_some() => {
            let quoted = |c: &ast::Ident| Ok(ast::Ident::with_quote('"', column(&identifier(c))?));
            let arbiters = arbiter_indexes(def, &columns.iter().map(quoted).collect::<Result<Vec<_>>>()?)?;
            read_keys(def, &arbiters, binder);
            arbiters
        }
        Some(ast::ConflictTarget::Columns(columns)) => {
            let arbiters = arbiter_indexes(def, columns)?;
            read_keys(def, &arbiters, binder);
            arbiters
        }
        Some(ast::ConflictTarget::OnConstraint(name)) if inferred(name).is_some() => {
            let (arbiters, deciding) = super::arbiter::infer(inferred(name).unwrap_or_default(), def, binder)?;
            read_keys(def, &arbiters, binder);
            late = deciding;
            arbiters
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            let (_, name) = object_name(name)?;
            let index = def.constraint(&name).and_then(|c| c.index());
            if index.and_then(|oid| def.index(oid)).is_some_and(|index| index.deferrable) {
                return Err(Error::new(
                    SqlState::ObjectNotInPrerequisiteState,
                    "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters",
                ));
            }
            read_keys(def, index.as_slice(), binder);
            vec![index.ok_or_else(|| {
                Error::new(
                    SqlState::UndefinedObject,
                    format!("constraint \"{name}\" for table \"{}\" does not exist", def.name),
                )
            })?]
        }
    };
    let update = match &on.action {
        ast::OnConflictAction::DoNothing => None,
        ast::OnConflictAction::DoUpdate(update) => {
            if arbiters.is_empty() {
                return Err(Error::new(
                    SqlState::SyntaxError,
                    "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                )
                .hint("For example, ON CONFLICT (column_name)."));
            }
            let (mut scope, mut columns) = match &view {
                None => {
                    let scope = binder.table_scope(def, alias.as_deref());
                    let columns = RowColumns::of_scope(&scope);
                    (scope, columns)
                }
                Some((_, base, scope)) => (scope.clone(), RowColumns::of_scope(base)),
            };
            match &view {
                None => {
                    binder.add_relation(&mut scope, def, "excluded");
                    if let Some(excluded) = scope.relations.last() {
                        columns.add(excluded.columns.iter(), def.columns.len());
                    }
                }
                Some(_) => {
                    let (base, mut excluded) = binder.excluded_view_scope(def, views)?;
                    columns.add(base.relations.iter().flat_map(|r| &r.columns), def.columns.len());
                    if let Some(mut relation) = excluded.relations.pop() {
                        relation.name = "excluded".into();
                        relation.schema = None;
                        scope.relations.push(relation);
                    }
                }
            }
            let columns = Arc::new(columns);
            let mut list = update.assignments.clone();
            if view.is_some() {
                rename_targets(&mut list, &column)?;
            }
            let assignments = Assignments::bind(&list, def, &scope, &columns, binder, parameters)?;
            let condition = match &update.selection {
                None => None,
                Some(expr) => {
                    let bound = binder.bind_condition(expr, &scope, "ON CONFLICT")?;
                    Some(RowExpr::with_queries(bound, &scope, &columns, parameters, binder)?)
                }
            };
            Some(ConflictUpdate { assignments, condition })
        }
    };
    Ok(Some(Conflict { arbiters, late, update }))
}

/// The text of a target that sqlparser does not read.
fn inferred(name: &ast::ObjectName) -> Option<&str> {
    name.0.first()?.as_ident()?.value.strip_prefix(crate::sql::rewrite::TARGET_MARK)
}

/// What decides on a conflict must be readable.
fn read_keys(def: &TableDef, indexes: &[Oid], binder: &mut Binder) {
    let keys = indexes.iter().filter_map(|index| def.index(*index));
    binder.require(Rights::SELECT, keys.flat_map(|index| index.attnums()));
}

fn arbiter_indexes(def: &TableDef, columns: &[ast::Ident]) -> Result<Vec<Oid>> {
    let mut wanted = Vec::with_capacity(columns.len());
    for column in columns {
        let name = identifier(column);
        let found = def
            .column(&name)
            .ok_or_else(|| Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist")))?;
        wanted.push(found.attnum);
    }
    let same = |index: &crate::catalog::IndexDef| {
        index.unique
            && index.is_plain()
            && index.attnums().all(|a| wanted.contains(&a))
            && wanted.iter().all(|w| index.attnums().any(|a| a == *w))
    };
    let indexes: Vec<Oid> = def.indexes.iter().filter(|i| same(i) && !i.deferrable).map(|i| i.oid).collect();
    if indexes.is_empty() && def.indexes.iter().any(|i| same(i)) {
        return Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters",
        ));
    }
    if indexes.is_empty() {
        return Err(Error::new(
            SqlState::InvalidColumnReference,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    Ok(indexes)
}

impl InsertPlan {
    /// Whether parts of it run on the general path, after rows were written.
    pub fn has_row_queries(&self) -> bool {
        let update = self.conflict.as_ref().and_then(|c| c.update.as_ref());
        let values = match &self.source {
            Source::Rows(rows) => rows.iter().flatten().flatten().any(RowExpr::is_query),
            Source::Query(_) => false,
        };
        values
            || self.rules.has_row_queries()
            || self.returning.as_ref().is_some_and(Returning::is_query)
            || update.is_some_and(|u| u.assignments.is_query() || u.condition.as_ref().is_some_and(RowExpr::is_query))
    }

    /// Whether it reads nothing but what it locks.
    fn reads(&self) -> Reads {
        match &self.source {
            Source::Rows(_) if self.keys.outgoing.is_empty() => Reads::LockedRows,
            _ => Reads::Snapshot,
        }
    }

    fn is_batchable(&self) -> bool {
        self.conflict.is_none()
            && self.returning.is_none()
            && !self.rules.needs_rows()
            && self.keys.deferrable.is_empty()
    }
}

/// What one statement inserts with.
pub struct Inserter {
    pub plan: Arc<InsertPlan>,
    pub table: Arc<Table>,
    pub pending: Pending,
    touched: HashSet<RowKey>,
    pub changed: Changed,
    /// The indexes that decide on conflicts, where the plan does not know them.
    arbiters: Option<Vec<Oid>>,
}

pub async fn execute(session: &mut Session, plan: &Arc<InsertPlan>, params: &Arc<[Datum]>) -> Result<Changed> {
    session.begin_statement(plan.reads()).await?;
    let table = session.table(plan.rules.def.oid)?;
    let mut inserter = Inserter::new(plan.clone(), table);
    if let Some(late) = plan.conflict.as_ref().and_then(|c| c.late.as_ref()) {
        inserter.arbiters = Some(late.settle(&plan.rules.def, params, &session.eval_context())?);
    }
    match &plan.source {
        Source::Rows(rows) => {
            for values in rows {
                let mut row = inserter.defaults(session, &plan.targets).await?;
                for (value, target) in values.iter().zip(&plan.targets) {
                    let datum = match value {
                        Some(expr) => expr.eval(session, &[], params).await?,
                        None => match plan.rules.defaults.get(*target).and_then(Option::as_ref) {
                            Some(default) => default.eval(session, &[], &[]).await?,
                            None => Datum::Null,
                        },
                    };
                    if let Some(slot) = row.get_mut(*target) {
                        *slot = datum;
                    }
                }
                inserter.insert(session, row, params).await?;
            }
        }
        Source::Query(bound) => Box::pin(inserter.insert_query(session, bound, params)).await?,
    }
    let Inserter { pending, changed, .. } = inserter;
    session.finish_change(pending).await?;
    if plan.returning.is_some() {
        session.transaction()?.wait_for_dependencies().await?;
    }
    Ok(changed)
}

impl Inserter {
    pub fn new(plan: Arc<InsertPlan>, table: Arc<Table>) -> Inserter {
        Inserter {
            plan,
            table,
            pending: Pending::default(),
            touched: HashSet::new(),
            changed: Changed { count: 0, returned: Vec::new() },
            arbiters: None,
        }
    }

    /// A row of defaults, but for `except`, which the source gives.
    async fn defaults(&self, session: &mut Session, except: &[usize]) -> Result<Row> {
        let mut row: Row = Row::with_capacity(self.plan.rules.width());
        for (i, default) in self.plan.rules.defaults.iter().enumerate() {
            let value = match default {
                Some(default) if !except.contains(&i) => default.eval(session, &[], &[]).await?,
                _ => Datum::Null,
            };
            row.push(value);
        }
        Ok(row)
    }

    /// Inserts a row of what is computed from another row (MERGE); `None`: DEFAULT.
    pub async fn insert_computed(
        &mut self,
        session: &mut Session,
        values: &[(usize, Option<RowExpr>)],
        from: &[Datum],
        params: &[Datum],
    ) -> Result<()> {
        let given: Vec<usize> = values.iter().filter(|(_, v)| v.is_some()).map(|(i, _)| *i).collect();
        let mut row = self.defaults(session, &given).await?;
        for (index, value) in values {
            if let (Some(value), Some(slot)) = (value, row.get_mut(*index)) {
                *slot = value.eval(session, from, params).await?;
            }
        }
        self.insert(session, row, params).await
    }

    /// Inserts one complete row, or does what ON CONFLICT says.
    async fn insert(&mut self, session: &mut Session, mut row: Row, params: &[Datum]) -> Result<()> {
        let plan = self.plan.clone();
        plan.rules.settle(session, &mut row, CheckTime::Insert, params).await?;
        loop {
            let kept = self.must_keep().then(|| row.clone());
            let offered = match &kept {
                Some(row) => row.clone(),
                None => std::mem::take(&mut row),
            };
            let transaction = session.transaction()?;
            let inserted = match plan.conflict.as_ref().filter(|conflict| !conflict.arbiters.is_empty()) {
                Some(conflict) => {
                    let arbiters = self.arbiters.as_ref().unwrap_or(&conflict.arbiters);
                    transaction.insert_unless(&self.table, offered, arbiters).await?
                }
                None => transaction.insert(&self.table, offered).await?,
            };
            match inserted {
                Ok(key) => {
                    session.note_written(plan.rules.def.oid, &key);
                    if plan.conflict.as_ref().is_some_and(|c| c.update.is_some()) {
                        self.touched.insert(key);
                    }
                    self.changed.count += 1;
                    if let Some(row) = kept {
                        self.pending.written(&plan.rules.def, &plan.keys, None, &row)?;
                        self.returned(session, &row, false, params).await?;
                    }
                    return Ok(());
                }
                Err(duplicate) => {
                    let row = kept.unwrap_or_default();
                    if Box::pin(self.resolve(session, &duplicate, &row, params)).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether the row is needed after it was handed to storage.
    fn must_keep(&self) -> bool {
        // Unique violations show the key, ON CONFLICT and RETURNING the row.
        self.plan.rules.def.indexes.iter().any(|i| i.unique)
            || self.plan.returning.is_some()
            || !self.plan.keys.outgoing.is_empty()
    }

    /// `updated`: by ON CONFLICT.
    async fn returned(&mut self, session: &mut Session, row: &Row, updated: bool, params: &[Datum]) -> Result<()> {
        if self.plan.returning.is_none() {
            return Ok(());
        }
        let plan = self.plan.clone();
        let Some(returning) = &plan.returning else { return Ok(()) };
        let mut with_xmax = Row::new();
        let row = match plan.conflict.as_ref().is_some_and(|c| c.update.is_some()) {
            false => row,
            true => {
                with_xmax.extend(row.iter().cloned());
                with_xmax.push(Datum::Oid(if updated { UPDATED_XMAX } else { 0 }));
                &with_xmax
            }
        };
        let mut out = Row::with_capacity(returning.exprs.len());
        for expr in &returning.exprs {
            out.push(expr.eval(session, row, params).await?);
        }
        self.changed.returned.push(out);
        Ok(())
    }

    /// A unique key of the row is taken. `true`: done with the row; `false`: the other one is gone, try again.
    async fn resolve(
        &mut self,
        session: &mut Session,
        duplicate: &Duplicate,
        row: &Row,
        params: &[Datum],
    ) -> Result<bool> {
        let plan = self.plan.clone();
        let decides = |c: &&Conflict| {
            let arbiters = self.arbiters.as_ref().unwrap_or(&c.arbiters);
            arbiters.is_empty() || arbiters.contains(&duplicate.index)
        };
        let Some(conflict) = plan.conflict.as_ref().filter(decides) else {
            let context = session.eval_context();
            return Err(plan.rules.unique_violation(duplicate, (!row.is_empty()).then_some(row), &context));
        };
        let Some(update) = &conflict.update else {
            session.transaction()?.sees(&self.table, &duplicate.existing)?;
            return Ok(true);
        };
        if self.touched.contains(&duplicate.existing) || session.has_written(plan.rules.def.oid, &duplicate.existing) {
            return Err(Error::new(
                SqlState::CardinalityViolation,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let transaction = session.transaction()?;
        let locked = transaction.lock_row(&self.table, &duplicate.existing, RowLock::Update, Wait::Block).await?;
        let Locked::Held { latest: Some(existing), .. } = locked else { return Ok(false) };
        let both: Row = existing.iter().chain(row.iter()).cloned().collect();
        if let Some(condition) = &update.condition
            && condition.eval(session, &both, params).await? != Datum::Bool(true)
        {
            return Ok(true);
        }
        plan.rules.check_policies(session, &existing, CheckTime::Conflict, params).await?;
        let mut new = existing.clone();
        update.assignments.apply(session, &both, &mut new, params, &plan.rules).await?;
        plan.rules.settle(session, &mut new, CheckTime::Update, params).await?;
        let context = session.eval_context();
        let written = session.transaction()?.update(&self.table, &duplicate.existing, new.clone()).await?;
        match written {
            Ok(key) => self.touched.insert(key),
            Err(duplicate) => return Err(plan.rules.unique_violation(&duplicate, Some(&new), &context)),
        };
        self.changed.count += 1;
        self.pending.written(&plan.rules.def, &plan.keys, Some(&existing), &new)?;
        self.returned(session, &new, true, params).await?;
        Ok(true)
    }

    /// INSERT … SELECT.
    async fn insert_query(&mut self, session: &mut Session, bound: &BoundQuery, params: &Arc<[Datum]>) -> Result<()> {
        let mut stream = session.execute_bound(bound, params).await?;
        let plan = self.plan.clone();
        while let Some(batch) = stream.next().await.transpose()? {
            // Batches may come faster than they are inserted: an interrupt is looked for when the statement yields.
            tokio::task::yield_now().await;
            if batch.num_rows() == 0 {
                continue;
            }
            if plan.is_batchable() {
                self.insert_columns(session, batch.columns().to_vec(), &plan.targets, batch.num_rows()).await?;
                continue;
            }
            let rows = batch_rows(&batch, &bound.columns)?;
            self.insert_rows(session, rows, &plan.targets, params).await?;
        }
        Ok(())
    }

    /// Whole columns, on the fast way if the table's rules allow it.
    pub async fn insert_any(
        &mut self,
        session: &mut Session,
        columns: Vec<ArrayRef>,
        targets: &[usize],
        rows: usize,
    ) -> Result<()> {
        if self.plan.is_batchable() {
            return self.insert_columns(session, columns, targets, rows).await;
        }
        let rows = column_rows(&columns, &self.plan.rules.def, targets, rows)?;
        self.insert_rows(session, rows, targets, &[]).await
    }

    async fn insert_rows(
        &mut self,
        session: &mut Session,
        rows: Vec<Row>,
        targets: &[usize],
        params: &[Datum],
    ) -> Result<()> {
        for (i, values) in rows.into_iter().enumerate() {
            if i % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
            let mut row = self.defaults(session, targets).await?;
            for (value, target) in values.into_iter().zip(targets) {
                if let Some(slot) = row.get_mut(*target) {
                    *slot = value;
                }
            }
            self.insert(session, row, params).await?;
        }
        Ok(())
    }

    /// Inserts whole columns: `columns[i]` are the values of table column `targets[i]`, in any Arrow layout of its type.
    pub async fn insert_columns(
        &mut self,
        session: &mut Session,
        columns: Vec<ArrayRef>,
        targets: &[usize],
        rows: usize,
    ) -> Result<()> {
        let plan = self.plan.clone();
        let mut fields = Vec::with_capacity(plan.rules.width());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(plan.rules.width());
        for (i, column) in plan.rules.def.columns.iter().enumerate().filter(|(_, c)| !c.dropped) {
            let array = match targets.iter().position(|t| *t == i) {
                Some(position) => match columns.get(position) {
                    Some(array) => in_layout(array, column.ty)?,
                    None => new_null_array(&column.ty.arrow(), rows),
                },
                None => match plan.rules.defaults.get(i).and_then(Option::as_ref) {
                    None => new_null_array(&column.ty.arrow(), rows),
                    Some(default) => {
                        let mut builder = ColumnBuilder::new(column.ty, rows)?;
                        for _ in 0..rows {
                            builder.append(&default.eval(session, &[], &[]).await?)?;
                        }
                        builder.finish()
                    }
                },
            };
            fields.push(Field::new(&column.name, column.ty.arrow(), true));
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| Error::internal(format!("a batch does not fit its table: {e}")))?;
        self.insert_batch(session, batch).await
    }

    /// Inserts a batch of the live columns in order.
    async fn insert_batch(&mut self, session: &mut Session, batch: RecordBatch) -> Result<()> {
        let plan = self.plan.clone();
        let live: Vec<usize> = plan.rules.def.live_columns().map(|c| c.attnum as usize - 1).collect();
        for column in plan.rules.not_null_columns() {
            let Some(position) = live.iter().position(|l| l == column) else { continue };
            let array = batch.column(position);
            if array.null_count() > 0 {
                let row = (0..array.len()).find(|i| array.is_null(*i)).unwrap_or(0);
                let row = self.batch_row(&batch, &live, row)?;
                let context = session.eval_context();
                return Err(plan.rules.null_violation(*column, &row, &context));
            }
        }
        for fk in &plan.keys.outgoing {
            let only = ForeignKeys { outgoing: vec![fk.clone()], ..ForeignKeys::default() };
            self.references_of(&batch, &live, &only)?;
        }
        let rows = batch.num_rows();
        let kept = batch.clone();
        match session.transaction()?.insert_batch(&self.table, batch).await? {
            Ok(()) => {
                self.changed.count += rows as u64;
                Ok(())
            }
            Err(duplicate) => {
                let row = self.duplicate_row(session, &kept, &live, &duplicate).await?;
                let context = session.eval_context();
                Err(plan.rules.unique_violation(&duplicate, row.as_deref(), &context))
            }
        }
    }

    fn batch_row(&self, batch: &RecordBatch, live: &[usize], row: usize) -> Result<Row> {
        let mut out: Row = std::iter::repeat_n(Datum::Null, self.plan.rules.width()).collect();
        for (array, index) in batch.columns().iter().zip(live) {
            let ty = self.plan.rules.def.columns[*index].ty;
            out[*index] = crate::types::arrow::datum_at(array.as_ref(), row, ty)?;
        }
        Ok(out)
    }

    /// Remembers what the rows of a batch reference.
    fn references_of(&mut self, batch: &RecordBatch, live: &[usize], keys: &ForeignKeys) -> Result<()> {
        let def = self.plan.rules.def.clone();
        let mut readers = Vec::new();
        for fk in &keys.outgoing {
            for attnum in &fk.key.columns {
                let index = *attnum as usize - 1;
                let Some(position) = live.iter().position(|l| *l == index) else { continue };
                readers.push((index, ColumnReader::new(batch.column(position).as_ref(), def.columns[index].ty)?));
            }
        }
        let mut row = vec![Datum::Null; def.columns.len()];
        for i in 0..batch.num_rows() {
            for (index, reader) in &readers {
                row[*index] = reader.get(i);
            }
            self.pending.written(&def, keys, None, &row)?;
        }
        Ok(())
    }

    /// The row of the batch whose key is taken, for the message.
    async fn duplicate_row(
        &self,
        session: &mut Session,
        batch: &RecordBatch,
        live: &[usize],
        duplicate: &Duplicate,
    ) -> Result<Option<Row>> {
        if self.plan.rules.def.index(duplicate.index).is_some_and(|i| i.is_key()) {
            for i in 0..batch.num_rows() {
                let row = self.batch_row(batch, live, i)?;
                if self.table.key_of(&row).as_ref() == Some(&duplicate.existing) {
                    return Ok(Some(row));
                }
            }
        }
        if let Some(row) = session.transaction()?.get(&self.table, &duplicate.existing, None) {
            return Ok(Some(row));
        }
        // It was of the batch itself, of which nothing is left.
        let mut seen = HashSet::new();
        for i in 0..batch.num_rows() {
            let row = self.batch_row(batch, live, i)?;
            if Transaction::unique_key(&self.table, duplicate.index, &row).is_some_and(|key| !seen.insert(key)) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

fn column_rows(columns: &[ArrayRef], def: &TableDef, targets: &[usize], rows: usize) -> Result<Vec<Row>> {
    let mut readers = Vec::with_capacity(columns.len());
    for (array, target) in columns.iter().zip(targets) {
        let column = def.columns.get(*target).ok_or_else(|| Error::internal("a column that the table lacks"))?;
        readers.push(ColumnReader::new(array.as_ref(), column.ty)?);
    }
    Ok((0..rows).map(|i| readers.iter().map(|r| r.get(i)).collect()).collect())
}

/// `array` in the layout of the column's type.
pub fn in_layout(array: &ArrayRef, ty: PgType) -> Result<ArrayRef> {
    if *array.data_type() == ty.arrow() {
        return Ok(array.clone());
    }
    let reader = ColumnReader::new(array.as_ref(), ty)?;
    let mut builder = ColumnBuilder::new(ty, array.len())?;
    for i in 0..array.len() {
        builder.append(&reader.get(i))?;
    }
    Ok(builder.finish())
}
