//! Prepared statements: a text parsed and bound once, and the rules by which the result may be used again.
//!
//! Invariants:
//! 1. A plan is used only under the catalog and the settings that it was bound under; else it is bound again.
//! 2. Binding again may not change the result's columns under a client that was told of them (0A000).

use std::sync::Arc;

use hashbrown::HashMap;
use sqlparser::ast;

use super::registry::now_micros;
use super::settings::{Settings, Values};
use super::shared::Lifts;
use super::{Column, Session};
use crate::catalog::{Catalog, Oid, Relation};
use crate::dml;
use crate::dml::parts::{Part, PartsPlan};
use crate::error::{Error, Result, SqlState};
use crate::monitor::statements::Statement as Counted;
use crate::point::PointSelect;
use crate::sql::bind::LockedSubquery;
use crate::sql::bind::row_security::Policing;
use crate::sql::bind::view_target::{ViewChange, ViewLevel, view_levels};
use crate::sql::lift;
use crate::sql::rewrite::only;
use crate::sql::utility::{CopySource, Utility};
use crate::sql::{Binder, BoundQuery, Environment, Parsed, Statement, parse};
use crate::types::{PgType, TypeOid};

/// Statements that a session keeps bound by their text.
pub(super) const CACHE_MAX: usize = 512;

/// A statement, bound.
pub struct Prepared {
    pub parsed: Arc<Parsed>,
    /// Types that the client declared; the rest was inferred.
    declared: Vec<TypeOid>,
    pub parameters: Arc<[TypeOid]>,
    /// `None`: no rows. What FETCH and EXECUTE return is known only when they run: [`Session::columns_of`].
    pub columns: Option<Arc<[Column]>>,
    pub plan: Plan,
    /// Tables and views that the plan reads or changes, each once.
    pub relations: Arc<[Oid]>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) values: Arc<Values>,
    /// Where its executions are counted.
    pub counted: Arc<Counted>,
    pub prepared_at: i64,
    /// By PREPARE, not by the protocol.
    pub by_sql: bool,
    /// The same text, sent again, may mean another moment: 'now' is a constant once it is bound.
    pub(super) names_moment: bool,
    /// Why the user may not run it.
    pub(super) denied: Option<Box<Error>>,
}

pub enum Plan {
    Query(Box<QueryPlan>),
    Insert(Arc<dml::insert::InsertPlan>),
    Update(Box<dml::update::UpdatePlan>),
    Delete(Box<dml::delete::DeletePlan>),
    Merge(Box<dml::merge::MergePlan>),
    /// Data-modifying queries in WITH, subqueries in RETURNING and the like.
    Parts(Box<dml::parts::PartsPlan>),
    /// Bound when it runs: the catalog decides then.
    Ddl,
    Utility,
    /// Nothing between two semicolons.
    Empty,
}

impl Plan {
    fn command(&self) -> &'static str {
        match self {
            Plan::Insert(_) => "INSERT",
            Plan::Update(_) => "UPDATE",
            Plan::Delete(_) => "DELETE",
            Plan::Merge(_) => "MERGE",
            Plan::Parts(plan) => plan.main.command(),
            _ => "SELECT",
        }
    }

    /// Whether it computes subqueries while it changes rows.
    fn has_row_queries(&self) -> bool {
        match self {
            Plan::Insert(plan) => plan.has_row_queries(),
            Plan::Update(plan) => plan.has_row_queries(),
            Plan::Delete(plan) => plan.has_row_queries(),
            Plan::Merge(plan) => plan.has_row_queries(),
            _ => false,
        }
    }
}

pub struct QueryPlan {
    pub bound: BoundQuery,
    pub point: Option<PointSelect>,
    /// LIMIT and OFFSET that must be counted after rows were locked.
    pub locked_limit: Option<LockedLimit>,
    /// It calls `setval`, and not on the point path.
    pub sets_sequences: bool,
}

pub struct LockedLimit {
    pub limit: Option<crate::expr::ScalarExpr>,
    pub offset: Option<crate::expr::ScalarExpr>,
    /// What runs before them.
    pub before: Vec<Arc<LockedSubquery>>,
}

impl Prepared {
    pub fn utility(&self) -> Option<&Utility> {
        match &self.parsed.statement {
            Statement::Utility(utility) => Some(utility),
            Statement::Sql(_) | Statement::Ddl(_) => None,
        }
    }

    /// 42501 if the user may not run it.
    pub fn check(&self) -> Result<()> {
        self.denied.as_ref().map_or(Ok(()), |error| Err((**error).clone()))
    }

    /// Name of the command for "cannot execute … in a read-only transaction".
    pub fn command(&self) -> &'static str {
        self.plan.command()
    }

    pub fn is_current(&self, catalog: &Arc<Catalog>, values: &Arc<Values>) -> bool {
        Arc::ptr_eq(&self.catalog, catalog) && Arc::ptr_eq(&self.values, values)
    }
}

/// Statements bound by this session.
#[derive(Default)]
pub struct StatementCache {
    by_text: HashMap<Arc<str>, Arc<Prepared>>,
    pub(super) lifted: Lifts,
}

impl StatementCache {
    fn find(&self, text: &str, declared: &[TypeOid]) -> Option<&Arc<Prepared>> {
        self.by_text.get(text).filter(|p| p.declared == declared)
    }

    fn keep(&mut self, text: &str, prepared: &Arc<Prepared>) {
        if self.by_text.len() >= CACHE_MAX {
            self.by_text.clear();
        }
        self.by_text.insert(text.into(), prepared.clone());
    }

    pub fn clear(&mut self) {
        self.by_text.clear();
        self.lifted.clear();
    }
}

impl Session {
    /// The catalog as the next statement sees it.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        match &self.block.transaction {
            Some(transaction) => transaction.catalog(),
            None => match &self.temporary {
                None => self.engine.catalog_of(self.database),
                Some(space) => space.catalog(self.engine.catalog_of(self.database)),
            },
        }
    }

    pub(crate) fn environment(&mut self, catalog: &Arc<Catalog>) -> Environment {
        let path = self.search_path(catalog);
        let policing = if self.settings.values().row_security { Policing::On } else { Policing::Refused };
        Environment { catalog: catalog.clone(), search_path: path, eval: self.eval_context(), policing }
    }

    pub(super) fn find_statement(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| no_statement(name))
    }

    /// Parse message.
    pub(super) async fn prepare_text(&mut self, name: &str, sql: &str, parameter_types: &[u32]) -> Result<()> {
        if name.is_empty() {
            // Gone even if the new one is none.
            self.statements.remove(name);
        } else if self.statements.contains_key(name) {
            return Err(duplicate_statement(name));
        }
        let declared: Vec<TypeOid> = parameter_types.iter().map(|t| TypeOid(*t)).collect();
        let mut prepared = self.plan_text(sql, declared.clone())?;
        while self.is_changing(&prepared) {
            self.wait_for_changes(&prepared).await?;
            prepared = self.plan_text(sql, declared.clone())?;
        }
        self.statements.insert(name.to_string(), prepared);
        Ok(())
    }

    /// A text of at most one statement, bound or found bound.
    pub(super) fn plan_text(&mut self, sql: &str, declared: Vec<TypeOid>) -> Result<Arc<Prepared>> {
        let catalog = self.catalog();
        if let Some(found) = self.cache.find(sql, &declared)
            && found.is_current(&catalog, self.settings.values())
            && (!self.block.failed || ends_block(&found.parsed))
        {
            return Ok(found.clone());
        }
        let mut parsed = parse(sql)?;
        let prepared = match (parsed.pop(), parsed.is_empty()) {
            (Some(parsed), true) => self.plan_unchecked(Arc::new(parsed), declared)?,
            (None, _) => self.plan_empty(),
            (Some(_), false) => {
                return Err(Error::new(
                    SqlState::SyntaxError,
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        if !prepared.names_moment {
            self.cache.keep(sql, &prepared);
        }
        Ok(prepared)
    }

    fn plan_empty(&self) -> Arc<Prepared> {
        let parsed = Parsed {
            statement: Statement::Utility(Box::new(Utility::Checkpoint)),
            source: crate::sql::Source::new(""),
            text: "".into(),
            parameters: 0,
        };
        Arc::new(Prepared {
            parsed: Arc::new(parsed),
            declared: Vec::new(),
            parameters: Arc::from([]),
            columns: None,
            plan: Plan::Empty,
            relations: Arc::from([]),
            catalog: self.catalog(),
            values: self.settings.values().clone(),
            counted: self.engine.monitor.statements.place(self.user(), "", 0),
            prepared_at: now_micros(),
            by_sql: false,
            names_moment: false,
            denied: None,
        })
    }

    /// A statement bound to be run now: 42501 where [`Self::plan_unchecked`] leaves it for later.
    pub(crate) fn plan(&mut self, parsed: Arc<Parsed>, declared: Vec<TypeOid>) -> Result<Arc<Prepared>> {
        let prepared = self.plan_unchecked(parsed, declared)?;
        prepared.check()?;
        Ok(prepared)
    }

    /// Binds a statement. In a failed block only its end may be bound (25P02). Whether it is allowed is asked when it runs.
    pub(crate) fn plan_unchecked(&mut self, parsed: Arc<Parsed>, declared: Vec<TypeOid>) -> Result<Arc<Prepared>> {
        self.plan_counted(parsed, declared, None)
    }

    /// The same; `counted`: where its executions are counted, if not by its own text.
    pub(super) fn plan_counted(
        &mut self,
        parsed: Arc<Parsed>,
        declared: Vec<TypeOid>,
        counted: Option<Arc<Counted>>,
    ) -> Result<Arc<Prepared>> {
        if self.block.failed && !ends_block(&parsed) {
            return Err(in_failed_block());
        }
        let catalog = self.catalog();
        let environment = self.environment(&catalog);
        let mut binder = Binder::new(environment, parsed.source.clone(), &declared);
        if let Some(routine) = self.routines.last() {
            binder.with_routine(routine);
        }
        let (plan, columns) = match &parsed.statement {
            Statement::Utility(utility) => self.plan_utility(utility, &mut binder, parsed.parameters)?,
            Statement::Sql(statement) => self.plan_sql(statement, &catalog, &mut binder, parsed.parameters)?,
            Statement::Ddl(_) => (Plan::Ddl, None),
        };
        let mut parameters = binder.params()?;
        let relations = match plan {
            Plan::Query(_) | Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) | Plan::Merge(_) | Plan::Parts(_) => {
                lockable(binder.reads(), &catalog)
            }
            Plan::Ddl | Plan::Utility | Plan::Empty => Arc::from([]),
        };
        if parameters.len() < parsed.parameters && !is_prepare(&parsed) {
            return Err(Error::new(
                SqlState::IndeterminateDatatype,
                format!("could not determine data type of parameter ${}", parameters.len() + 1),
            ));
        }
        if matches!(plan, Plan::Utility | Plan::Ddl) && !declared.is_empty() && parameters.is_empty() {
            parameters = declared.clone();
        }
        let names_moment = match parsed.statement {
            Statement::Sql(_) => binder.names_moment(),
            Statement::Utility(_) | Statement::Ddl(_) => lift::names_moment(&parsed.text),
        };
        Ok(Arc::new(Prepared {
            counted: counted
                .unwrap_or_else(|| self.engine.monitor.statements.place(self.user(), &parsed.text, parsed.parameters)),
            parsed,
            declared,
            parameters: parameters.into(),
            columns: columns.map(Into::into),
            plan,
            relations,
            catalog,
            values: self.settings.values().clone(),
            prepared_at: now_micros(),
            by_sql: false,
            names_moment,
            denied: binder.check_privileges().err().map(Box::new),
        }))
    }

    fn plan_sql(
        &mut self,
        statement: &ast::Statement,
        catalog: &Arc<Catalog>,
        binder: &mut Binder,
        parameters: usize,
    ) -> Result<(Plan, Option<Vec<Column>>)> {
        match statement {
            ast::Statement::Query(query) if let Some(with) = changing_with(query) => {
                self.plan_with(with, query, catalog, binder, parameters)
            }
            ast::Statement::Query(query) => {
                let plan = self.plan_query(query, catalog, binder, parameters)?;
                let columns = plan.bound.columns.clone();
                Ok((Plan::Query(Box::new(plan)), Some(columns)))
            }
            ast::Statement::Insert(insert) => {
                let plan = dml::insert::plan(self, insert, catalog, binder, parameters)?;
                let columns = plan.returning.as_ref().map(|r| r.columns.clone());
                Ok((with_row_queries(Plan::Insert(Arc::new(plan)), binder), columns))
            }
            ast::Statement::Update(update) => {
                let plan = dml::update::plan(self, update, catalog, binder, parameters)?;
                let columns = plan.returning.as_ref().map(|r| r.columns.clone());
                Ok((with_row_queries(Plan::Update(Box::new(plan)), binder), columns))
            }
            ast::Statement::Delete(delete) => {
                let plan = dml::delete::plan(self, delete, catalog, binder, parameters)?;
                let columns = plan.returning.as_ref().map(|r| r.columns.clone());
                Ok((with_row_queries(Plan::Delete(Box::new(plan)), binder), columns))
            }
            ast::Statement::Merge(merge) => {
                let plan = dml::merge::plan(self, merge, catalog, binder, parameters)?;
                Ok((with_row_queries(Plan::Merge(Box::new(plan)), binder), None))
            }
            ast::Statement::Call(call) => Ok((Plan::Ddl, dml::call::columns(call, catalog, binder)?)),
            ast::Statement::CreateTable(create) if parameters > 0 => {
                // For the types of its parameters: it is planned when it runs.
                if let Some(query) = &create.query {
                    self.plan_query(query, catalog, binder, parameters)?;
                }
                Ok((Plan::Ddl, None))
            }
            ast::Statement::CreateView(create) if parameters > 0 && create.materialized => {
                self.plan_query(&create.query, catalog, binder, parameters)?;
                let message = "materialized views may not be defined using bound parameters";
                Err(Error::new(SqlState::FeatureNotSupported, message))
            }
            _ => Ok((Plan::Ddl, None)),
        }
    }

    /// WITH before or around statements that change rows.
    fn plan_with(
        &mut self,
        with: &ast::With,
        query: &ast::Query,
        catalog: &Arc<Catalog>,
        binder: &mut Binder,
        parameters: usize,
    ) -> Result<(Plan, Option<Vec<Column>>)> {
        binder.check_with_names(with)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut readers = Readers::default();
        let first = binder.cte_count();
        for cte in &with.cte_tables {
            let before = binder.cte_references();
            let (plan, columns) = match (changing(&cte.query.body), &cte.query.with) {
                (None, _) => {
                    binder.bind_cte(cte, with.recursive)?;
                    let needs = readers.needs(&before, binder);
                    readers.add(binder, needs);
                    continue;
                }
                (Some(change), None) => self.plan_sql(change, catalog, binder, parameters)?,
                (Some(_), Some(inner)) => {
                    let planned = self.plan_with(inner, &cte.query, catalog, binder, parameters)?;
                    binder.forget_ctes(before.len());
                    planned
                }
            };
            let plan = match plan {
                Plan::Parts(inner) if inner.parts.is_empty() => inner.main,
                Plan::Parts(_) => {
                    return Err(Error::new(
                        SqlState::FeatureNotSupported,
                        "WITH clause containing a data-modifying statement must be at the top level",
                    ));
                }
                plan => plan,
            };
            let needs = readers.needs(&before, binder);
            let table = binder.add_changed_cte(cte, columns.as_deref())?;
            readers.add(binder, vec![parts.len()]);
            parts.push(Part { table, plan, columns: columns.unwrap_or_default().into(), needs });
        }
        let before = binder.cte_references();
        let (main, columns) = match changing(&query.body) {
            Some(change) => self.plan_sql(change, catalog, binder, parameters)?,
            None => {
                let inner = ast::Query { with: None, ..query.clone() };
                let plan = self.plan_query(&inner, catalog, binder, parameters)?;
                let columns = plan.bound.columns.clone();
                (Plan::Query(Box::new(plan)), Some(columns))
            }
        };
        let needs = readers.needs(&before, binder);
        binder.forget_ctes(first);
        if parts.is_empty() {
            return Ok((main, columns));
        }
        let main = match main {
            Plan::Parts(inner) => inner.main,
            main => main,
        };
        let reads = binder.reads().to_vec();
        Ok((Plan::Parts(Box::new(PartsPlan { parts, main, needs, reads })), columns))
    }

    pub(crate) fn plan_query(
        &mut self,
        query: &ast::Query,
        catalog: &Arc<Catalog>,
        binder: &mut Binder,
        parameters: usize,
    ) -> Result<QueryPlan> {
        let mut locked_limit = None;
        let bound = if !query.locks.is_empty() && query.limit_clause.is_some() {
            // Locked rows are counted after they were locked, because a lock may find a row changed or skip it.
            let whole = binder.bind_query(query)?;
            match &whole.simple {
                Some(simple) if whole.locks.len() == 1 => {
                    let (limit, offset) = (simple.limit.clone(), simple.offset.clone());
                    let before = binder.run_for_limits([limit.as_ref(), offset.as_ref()]);
                    locked_limit = Some(LockedLimit { limit, offset, before });
                    let mut unlimited = query.clone();
                    unlimited.limit_clause = None;
                    binder.bind_query(&unlimited)?
                }
                _ => whole,
            }
        } else {
            binder.bind_query(query)?
        };
        let point = match self.settings.values().point_path && locked_limit.is_none() {
            true => PointSelect::choose(&bound, catalog, parameters, self.settings.values().methods),
            false => None,
        };
        let sets_sequences = point.is_none() && dml::sequence::sets_sequences(&bound);
        Ok(QueryPlan { bound, point, locked_limit, sets_sequences })
    }

    fn plan_utility(
        &mut self,
        utility: &Utility,
        binder: &mut Binder,
        parameters: usize,
    ) -> Result<(Plan, Option<Vec<Column>>)> {
        let columns = match utility {
            Utility::Show(Some(name)) => {
                self.settings.show(name)?;
                Some(vec![text_column(&Settings::canonical_name(name))])
            }
            Utility::Show(None) => Some(vec![text_column("name"), text_column("setting"), text_column("description")]),
            Utility::Explain { statement, options } => {
                let ty = super::explain::ExplainOptions::parse(options)?.column_type();
                if let Statement::Sql(statement) = &**statement {
                    let catalog = self.catalog();
                    self.plan_sql(statement, &catalog, binder, parameters)?;
                }
                Some(vec![Column { ty: ty.into(), ..text_column("QUERY PLAN") }])
            }
            Utility::Copy(copy) => {
                if let CopySource::Query(statement) = &copy.source
                    && let Statement::Sql(statement) = &**statement
                {
                    let catalog = self.catalog();
                    self.plan_sql(statement, &catalog, binder, parameters)?;
                }
                None
            }
            Utility::Declare { query, .. } => {
                // For the types of its parameters: DECLARE plans it.
                if let Statement::Sql(statement) = &**query {
                    let catalog = self.catalog();
                    self.plan_sql(statement, &catalog, binder, parameters)?;
                }
                None
            }
            _ => None,
        };
        Ok((Plan::Utility, columns))
    }

    /// Columns of what a statement returns, FETCH and EXECUTE looked through.
    pub(super) fn columns_of(&self, prepared: &Prepared) -> Result<Option<Arc<[Column]>>> {
        match prepared.utility() {
            Some(Utility::Fetch { cursor, only_move: false, .. }) => match self.portals.get(cursor) {
                Some(portal) => Ok(match &portal.cursor {
                    Some(cursor) => portal.prepared.columns.as_ref().map(|c| Arc::from(cursor.hidden.visible(c))),
                    None => portal.prepared.columns.clone(),
                }),
                None => Err(super::cursor::no_cursor(cursor)),
            },
            Some(Utility::Execute { name, .. }) => Ok(self.find_statement(name)?.columns.clone()),
            _ => Ok(prepared.columns.clone()),
        }
    }

    /// [`Self::current`] for a statement of whose columns no client was told.
    pub(super) fn current_untold(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Prepared>> {
        match prepared.is_current(&self.catalog(), self.settings.values()) {
            true => Ok(prepared.clone()),
            false => self.plan_again(prepared),
        }
    }

    pub(super) fn plan_again(&mut self, prepared: &Prepared) -> Result<Arc<Prepared>> {
        self.plan(prepared.parsed.clone(), prepared.parameters.to_vec())
    }

    /// The statement bound under what holds now.
    pub(super) fn current(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Prepared>> {
        let catalog = self.catalog();
        if prepared.is_current(&catalog, self.settings.values())
            || matches!(prepared.plan, Plan::Utility | Plan::Ddl | Plan::Empty)
        {
            prepared.check()?;
            return Ok(prepared.clone());
        }
        let again = self.plan_again(prepared)?;
        let types = |columns: &Option<Arc<[Column]>>| {
            columns.as_ref().map(|c| c.iter().map(|c| (c.name.clone(), c.ty.oid)).collect::<Vec<_>>())
        };
        if types(&again.columns) != types(&prepared.columns) {
            // pgjdbc prepares the statement anew when it reads the routine's name.
            return Err(Error::new(SqlState::FeatureNotSupported, "cached plan must not change result type")
                .routine("RevalidateCachedQuery"));
        }
        // Whoever holds the old one finds the new one next time.
        for slot in self.statements.values_mut().filter(|s| Arc::ptr_eq(s, prepared)) {
            *slot = again.clone();
        }
        if let Some(slot) = self.cache.by_text.get_mut(&prepared.parsed.text)
            && Arc::ptr_eq(slot, prepared)
        {
            *slot = again.clone();
        }
        Ok(again)
    }

    /// What INSERT, UPDATE and DELETE name: a table, or the table under a view and the views on the way to it. The flag says that
    /// the table alone is meant, and none that inherits from it.
    pub(crate) fn resolve_target(
        &self,
        name: &ast::ObjectName,
        catalog: &Arc<Catalog>,
        change: ViewChange,
    ) -> Result<(Arc<crate::catalog::TableDef>, bool, Vec<ViewLevel>)> {
        let (name, only) = only::split(name);
        let (schema, relation) = object_name(&name)?;
        let path = self.search_path(catalog);
        if let Some(schema) = schema.as_deref().and_then(|schema| catalog.schema(schema)) {
            catalog.check_usage(path.user, schema.oid)?;
        }
        if let Some(Relation::View(view)) = catalog.find_relation(schema.as_deref(), &relation, &path) {
            let (table, only, levels) = view_levels(catalog, &path, view, change)?;
            let only = only || catalog.children(table.oid).is_empty();
            return Ok((table, only, levels));
        }
        let verb = match change {
            ViewChange::Insert => "insert into",
            ViewChange::Update => "update",
            ViewChange::Delete => "delete from",
        };
        let table = self.resolve_table(&name, catalog, verb)?;
        let only = only || catalog.children(table.oid).is_empty();
        Ok((table, only, Vec::new()))
    }

    /// A table that DML or COPY names; views and system relations are refused as PostgreSQL does.
    pub(crate) fn resolve_table(
        &self,
        name: &ast::ObjectName,
        catalog: &Arc<Catalog>,
        verb: &str,
    ) -> Result<Arc<crate::catalog::TableDef>> {
        let (schema, name) = object_name(name)?;
        let path = self.search_path(catalog);
        if let Some(schema) = schema.as_deref().and_then(|schema| catalog.schema(schema)) {
            catalog.check_usage(path.user, schema.oid)?;
        }
        let relation = match catalog.find_relation(schema.as_deref(), &name, &path) {
            Some(relation) => relation,
            None => {
                let shown = schema.map_or_else(|| name.clone(), |s| format!("{s}.{name}"));
                return Err(Error::new(SqlState::UndefinedTable, format!("relation \"{shown}\" does not exist")));
            }
        };
        match relation {
            Relation::Table(table) if table.materialized.is_some() && verb != "analyze" => Err(Error::new(
                SqlState::WrongObjectType,
                format!("cannot change materialized view \"{}\"", table.name),
            )),
            Relation::Table(table) => Ok(table),
            Relation::View(view) => {
                Err(Error::new(SqlState::ObjectNotInPrerequisiteState, format!("cannot {verb} view \"{}\"", view.name))
                    .detail("Views are not automatically updatable."))
            }
            Relation::System(system) => Err(Error::new(
                SqlState::InsufficientPrivilege,
                format!("permission denied: \"{}\" is a system catalog", system.name),
            )),
            other => Err(Error::new(
                SqlState::WrongObjectType,
                format!("cannot change {} \"{}\"", other.kind_name(), other.name()),
            )),
        }
    }
}

/// Of what a statement names, the tables and views that others may change.
fn lockable(reads: &[Oid], catalog: &Catalog) -> Arc<[Oid]> {
    let mut relations: Vec<Oid> = Vec::new();
    for oid in reads {
        let known = catalog.tables.contains_key(oid) || matches!(catalog.relation(*oid), Some(Relation::View(_)));
        if known && !relations.contains(oid) {
            relations.push(*oid);
        }
    }
    relations.into()
}

/// Queries of WITH by their place among the names in reach, with the parts whose rows one gets who reads them.
#[derive(Default)]
struct Readers(Vec<(usize, Vec<usize>)>);

impl Readers {
    /// The query that was bound last.
    fn add(&mut self, binder: &Binder, parts: Vec<usize>) {
        self.0.push((binder.cte_count() - 1, parts));
    }

    /// Parts whose rows are read by what was bound since `before`.
    fn needs(&self, before: &[usize], binder: &Binder) -> Vec<usize> {
        let now = binder.cte_references();
        let named = self.0.iter().filter(|(place, _)| now.get(*place) > before.get(*place));
        let mut parts: Vec<usize> = named.flat_map(|(_, parts)| parts).copied().collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}

/// The WITH of a statement that changes rows, itself or in one of the WITH's queries.
fn changing_with(query: &ast::Query) -> Option<&ast::With> {
    let with = query.with.as_ref()?;
    let changes =
        changing(&query.body).is_some() || with.cte_tables.iter().any(|cte| changing(&cte.query.body).is_some());
    changes.then_some(with)
}

/// The data-modifying statement that is the body of a query.
fn changing(body: &ast::SetExpr) -> Option<&ast::Statement> {
    match body {
        ast::SetExpr::Insert(it) | ast::SetExpr::Update(it) | ast::SetExpr::Delete(it) | ast::SetExpr::Merge(it) => {
            Some(it)
        }
        _ => None,
    }
}

/// A plan that changes rows, as a statement of parts if it needs to be one.
fn with_row_queries(plan: Plan, binder: &Binder) -> Plan {
    if !plan.has_row_queries() {
        return plan;
    }
    let reads = binder.reads().to_vec();
    Plan::Parts(Box::new(PartsPlan { parts: Vec::new(), main: plan, needs: Vec::new(), reads }))
}

/// Schema and name of an object name; identifiers fold as PostgreSQL does.
pub(crate) fn object_name(name: &ast::ObjectName) -> Result<(Option<String>, String)> {
    let mut parts = Vec::with_capacity(2);
    for part in &name.0 {
        match part.as_ident() {
            Some(ident) => parts.push(identifier(ident)),
            None => return Err(Error::unsupported(format!("the name {name}"))),
        }
    }
    match (parts.pop(), parts.pop()) {
        (Some(name), schema) => Ok((schema, name)),
        (None, _) => Err(Error::new(SqlState::SyntaxError, "a name is missing")),
    }
}

pub(crate) fn identifier(ident: &ast::Ident) -> String {
    let name = match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    super::settings::value::clip(&name, 63).to_string()
}

pub(super) fn text_column(name: &str) -> Column {
    Column { name: name.to_string(), ty: PgType::from(TypeOid::TEXT), table: 0, attribute: 0 }
}

/// COMMIT, ROLLBACK, ROLLBACK TO and PREPARE TRANSACTION are what a failed block accepts.
pub(super) fn ends_block(parsed: &Parsed) -> bool {
    matches!(&parsed.statement, Statement::Utility(u) if matches!(
        **u,
        Utility::Commit { .. } | Utility::Rollback { .. } | Utility::RollbackTo(_) | Utility::PrepareTransaction(_)
    ))
}

pub(super) fn begins_block(parsed: &Parsed) -> bool {
    matches!(&parsed.statement, Statement::Utility(u) if matches!(**u, Utility::Begin(..)))
}

/// PREPARE: the parameters in its text are those of the statement that it prepares.
pub(super) fn is_prepare(parsed: &Parsed) -> bool {
    matches!(&parsed.statement, Statement::Utility(u) if matches!(**u, Utility::Prepare { .. }))
}

pub(super) fn in_failed_block() -> Error {
    Error::new(
        SqlState::InFailedSqlTransaction,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

pub(super) fn no_statement(name: &str) -> Error {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_string(),
        _ => format!("prepared statement \"{name}\" does not exist"),
    };
    Error::new(SqlState::InvalidSqlStatementName, message)
}

pub(super) fn duplicate_statement(name: &str) -> Error {
    Error::new(SqlState::DuplicatePreparedStatement, format!("prepared statement \"{name}\" already exists"))
}
