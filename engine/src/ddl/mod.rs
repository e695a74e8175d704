//! Data definition: CREATE, ALTER, DROP, TRUNCATE, COMMENT and roles, as changes of a transaction's private catalog.
//!
//! A statement resolves names, takes the table locks that PostgreSQL would take, checks what it must against the rows,
//! and hands [`CatalogChange`]s to its transaction; nothing happens outside of it. Storage follows the changes: a
//! table that appears gets a store, an index is built, a new `storage` OID starts empty.
//!
//! Invariants:
//! 1. DDL runs one transaction at a time: each statement begins with [`Transaction::begin_ddl`], so that OIDs and names
//!    are decided on the newest catalog.
//! 2. A statement that fails has changed nothing that its transaction's rollback (or its savepoint's) does not undo.
//! 3. Nothing is accepted and ignored: what is not supported answers 0A000.
//! 4. A transaction whose first DDL waits for a table does not keep other DDL waiting ([`patiently`]).

mod absent;
mod aggregate;
mod aggregate_syntax;
mod alter;
pub(crate) mod collation;
mod column;
pub mod command;
mod comment;
mod constraint;
mod database;
mod domain;
mod drop;
pub mod expression;
mod extension;
mod grant;
mod index;
mod inherit;
mod like;
mod maintenance;
mod membership;
pub mod names;
mod owned;
mod ownership;
mod policy;
pub mod privilege;
mod range_type;
mod role;
mod role_setting;
mod routine;
mod routine_syntax;
mod schema;
mod sequence;
mod statistics;
pub mod strategy;
pub mod syntax;
mod table;
pub mod temporary;
#[cfg(test)]
mod tests;
mod truncate;
mod user_type;
pub(crate) mod view;
mod view_options;

use std::sync::Arc;

use sqlparser::ast::Statement;

use crate::catalog::{Catalog, CatalogChange, Member, NamedType, Object, Oid, Relation, SearchPath, TableDef};
use crate::error::{Error, Notice, NoticeLevel, Result, SqlState};
use crate::functions::EvalContext;
use crate::session::registry::Sessions;
use crate::session::settings::Settings;
use crate::sql::Source;
use crate::txn::{TableLock, Transaction, Wait};

pub use expression::names_read;
pub use maintenance::{Maintenance, MaintenanceKind};
pub use syntax::Extra;
use syntax::access::AccessStatement;

/// What a statement knows of its session.
pub struct DdlContext<'a> {
    /// The current user.
    pub user: Oid,
    pub session_user: Oid,
    /// All sessions, and the number of this one.
    pub sessions: &'a Sessions,
    pub process: i32,
    /// For SET … FROM CURRENT.
    pub current_settings: &'a Settings,
    pub search_path: &'a [String],
    /// Members that can carry tables; empty where the statement does not ask for them.
    pub members: Vec<Member>,
    /// The setting default_table_access_method.
    pub default_strategy: &'a str,
    pub eval: Arc<EvalContext>,
    /// The statement's text, for positions.
    pub source: Source,
    pub notices: &'a mut Vec<Notice>,
    /// Tables whose rows have checks that wait for COMMIT.
    pub unchecked: Vec<Oid>,
    pub awaited: Awaited,
}

/// What a statement does about a table that is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// It waits where it stands.
    Blocks,
    /// It stops, to begin again; no table was missing yet.
    Nothing,
    /// It stopped for want of this lock.
    Table(Oid, TableLock),
}

impl DdlContext<'_> {
    /// The search path as of this catalog.
    pub fn path(&self, catalog: &Catalog) -> SearchPath {
        let user = catalog.roles.get(&self.user).map_or("", |r| &r.name);
        catalog.search_path(self.search_path, user)
    }

    /// 55006 for a table whose rows have checks that wait for COMMIT.
    fn check_settled(&self, table: &TableDef, command: &str) -> Result<()> {
        if !self.unchecked.contains(&table.oid) {
            return Ok(());
        }
        let message = format!("cannot {command} \"{}\" because it has pending trigger events", table.name);
        Err(Error::new(SqlState::ObjectInUse, message))
    }

    fn is_superuser(&self, catalog: &Catalog) -> bool {
        catalog.roles.get(&self.user).is_some_and(|r| r.superuser)
    }

    fn notice(&mut self, state: SqlState, message: impl Into<String>) {
        self.report(NoticeLevel::Notice, Error::new(state, message));
    }

    fn warning(&mut self, state: SqlState, message: impl Into<String>) {
        self.report(NoticeLevel::Warning, Error::new(state, message));
    }

    fn report(&mut self, level: NoticeLevel, report: Error) {
        self.notices.push(Notice { level, report });
    }
}

/// Whether [`execute`] is for this statement.
pub fn is_ddl(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::CreateIndex(_)
            | Statement::CreateView(_)
            | Statement::CreateSchema { .. }
            | Statement::AlterTable(_)
            | Statement::AlterSchema(_)
            | Statement::Drop { .. }
            | Statement::Truncate(_)
            | Statement::Comment { .. }
            | Statement::Grant(_)
            | Statement::Revoke(_)
    )
}

/// Runs a statement of DDL and answers its command tag. CREATE TABLE AS with rows is the session's: it calls
/// [`create_table_as`] and inserts what the query returns.
pub async fn execute(statement: &Statement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    patiently(Work::Statement(statement), tx, context).await
}

async fn run(statement: &Statement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        Statement::CreateTable(create) => table::create(create, tx, context).await,
        Statement::CreateIndex(create) => index::create(create, tx, context).await,
        Statement::CreateView(create) => view::create(create, tx, context),
        Statement::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, clone } => {
            if with.is_some() || options.is_some() || default_collate_spec.is_some() || clone.is_some() {
                return Err(Error::unsupported("CREATE SCHEMA with options"));
            }
            schema::create(schema_name, *if_not_exists, tx, context)
        }
        Statement::AlterTable(alter) => alter::alter_table(alter, tx, context).await,
        Statement::AlterSchema(alter) => schema::alter(alter, tx, context),
        Statement::Drop {
            object_type, if_exists, names, cascade, temporary: false, purge: false, table: None, ..
        } => drop::drop_objects(*object_type, names, *if_exists, *cascade, tx, context).await,
        Statement::Truncate(truncate) => truncate::truncate(truncate, tx, context).await,
        Statement::Comment { object_type, object_name, comment, if_exists: false } => {
            comment::comment(object_type, object_name, comment.as_deref(), tx, context)
        }
        Statement::Grant(_) => Err(Error::unsupported("GRANT")),
        Statement::Revoke(_) => Err(Error::unsupported("REVOKE")),
        other => Err(Error::unsupported(command_name(&other.to_string()))),
    }
}

/// Runs a statement of DDL that sqlparser has no tree for.
pub async fn execute_extra(statement: &Extra, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    patiently(Work::Extra(statement), tx, context).await
}

async fn run_extra(statement: &Extra, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        Extra::CreateSequence { name, temporary, if_not_exists, options } => {
            sequence::create(name, *temporary, *if_not_exists, options, tx, context)
        }
        Extra::AlterSequence { name, if_exists, options } => {
            sequence::alter(name, *if_exists, options, tx, context).await
        }
        Extra::AlterRelation { kind, name, if_exists, change } => {
            alter::alter_relation(*kind, name, *if_exists, change, tx, context).await
        }
        Extra::CreateRole { name, options } => role::create(name, options, tx, context),
        Extra::AlterRole { name, options } => role::alter(name, options, tx, context),
        Extra::RenameRole { name, to } => role::rename(name, to, tx, context),
        Extra::Comment { object, name, comment } => comment::comment(object, name, comment.as_deref(), tx, context),
        Extra::CommentOnConstraint { constraint, table, comment } => {
            comment::comment_on_constraint(constraint, table, comment.as_deref(), tx, context)
        }
        Extra::CreateStrategy { name, if_not_exists, definition } => {
            strategy::create(name, *if_not_exists, definition, tx, context)
        }
        Extra::CreateAccessMethod { name } => strategy::create_access_method(name, tx, context),
        Extra::AlterStrategy { name, definition } => strategy::alter(name, definition, tx, context),
        Extra::RenameStrategy { name, to } => strategy::rename(name, to, tx, context),
        Extra::DropStrategy { kind, names, if_exists, cascade } => {
            strategy::drop_strategies(kind, names, *if_exists, *cascade, tx, context)
        }
        Extra::UseStrategy { table, if_not_exists, strategy } => {
            strategy::use_for_table(table, *if_not_exists, strategy, tx, context).await
        }
        Extra::SetStrategy { table, if_exists, strategy } => {
            strategy::set_for_table(table, *if_exists, strategy.as_ref(), tx, context).await
        }
        Extra::CreateRoutine(routine) => routine::create(routine, tx, context),
        Extra::DropAbsent(absent) => absent::drop(absent, tx, context),
        Extra::CreateAggregate(aggregate) => aggregate::create(aggregate, tx, context),
        Extra::DropRoutines { kind, names, if_exists, cascade } => {
            routine::drop(*kind, names, *if_exists, *cascade, tx, context)
        }
        Extra::AlterRoutine { kind, name, change } => routine::alter(*kind, name, change, tx, context),
        Extra::CommentOnRoutine { kind, name, comment } => {
            routine::comment(*kind, name, comment.as_deref(), tx, context)
        }
        Extra::Refresh { .. } => Err(Error::internal("REFRESH is run by the session")),
        Extra::Several { tag, statements } => {
            match statements.split_first() {
                Some((first @ crate::sql::Statement::Sql(create), elements))
                    if let Statement::CreateSchema { schema_name, .. } = &**create =>
                {
                    run_part(first, tx, context).await?;
                    run_elements(&schema::name_of(schema_name), elements, tx, context).await?;
                }
                _ => {
                    for statement in statements {
                        run_part(statement, tx, context).await?;
                    }
                }
            }
            Ok((*tag).to_owned())
        }
        Extra::AlterColumn { table, if_exists, only, column, change } => {
            alter::alter_column(table, *if_exists, *only, column, change, tx, context).await
        }
        Extra::Inherit { table, if_exists, parent, inherit } => {
            alter::set_parent(table, *if_exists, parent, *inherit, tx, context).await
        }
        Extra::AlterConstraint { table, if_exists, name, deferrable, deferred } => {
            alter::alter_constraint(table, *if_exists, name, (*deferrable, *deferred), tx, context).await
        }
        Extra::SetPersistence { table, if_exists, unlogged } => {
            alter::set_persistence(table, *if_exists, *unlogged, tx, context).await
        }
        Extra::AlterViewOptions { view, if_exists, set, reset } => {
            view_options::alter(view, *if_exists, set, reset, tx, context)
        }
        Extra::ResetOptions { table, if_exists, options } => {
            alter::reset_options(table, *if_exists, options, tx, context).await
        }
        Extra::AlterIndex { name, if_exists, change } => {
            alter::alter_index(name, *if_exists, change, tx, context).await
        }
        Extra::SetTablespace { table, if_exists, tablespace } => {
            alter::set_tablespace(table, *if_exists, tablespace, tx, context).await
        }
        Extra::DropIndexConcurrently { name, if_exists, cascade } => {
            let names = std::slice::from_ref(name);
            drop::drop_objects(sqlparser::ast::ObjectType::Index, names, *if_exists, *cascade, tx, context).await
        }
        Extra::Type(statement) => user_type::execute(statement, tx, context).await,
        Extra::Collation(statement) => collation::run(statement, tx, context).await,
        Extra::Policy(statement) => policy::run(statement, tx, context).await,
        Extra::Statistics(statement) => statistics::run(statement, tx, context).await,
        Extra::RowSecurity { table, if_exists, change } => {
            policy::row_security(table, *if_exists, *change, tx, context).await
        }
        Extra::Database(statement) => database::run(statement, tx, context).await,
        Extra::Access(statement) => run_access(statement, tx, context).await,
        Extra::Unsupported(what) => Err(Error::unsupported(what)),
    }
}

/// A statement that is part of another.
async fn run_part(
    statement: &crate::sql::Statement,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    match statement {
        crate::sql::Statement::Sql(statement) => Box::pin(run(statement, tx, context)).await,
        crate::sql::Statement::Ddl(statement) => Box::pin(run_extra(statement, tx, context)).await,
        crate::sql::Statement::Utility(_) => Err(Error::unsupported("this statement inside another")),
    }
}

/// Elements of CREATE SCHEMA: its owner makes them, and their names mean what is in it first.
async fn run_elements(
    schema: &str,
    elements: &[crate::sql::Statement],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let user = tx.catalog().schema(schema).map_or(context.user, |made| made.owner);
    let path: Vec<String> = std::iter::once(schema.to_owned()).chain(context.search_path.iter().cloned()).collect();
    let mut within = DdlContext {
        user,
        session_user: context.session_user,
        sessions: context.sessions,
        process: context.process,
        current_settings: context.current_settings,
        search_path: &path,
        members: context.members.clone(),
        default_strategy: context.default_strategy,
        eval: context.eval.clone(),
        source: context.source.clone(),
        notices: &mut *context.notices,
        unchecked: context.unchecked.clone(),
        awaited: context.awaited,
    };
    let mut done = Ok(());
    for element in elements {
        done = run_part(element, tx, &mut within).await.map(drop);
        if done.is_err() {
            break;
        }
    }
    context.awaited = within.awaited;
    done
}

/// Names of an index's columns.
pub fn index_column_names(index: &crate::catalog::IndexDef, table: &TableDef) -> Vec<String> {
    index::column_names(&index.columns, &index.include, table)
}

pub use index::key_text;
async fn run_access(statement: &AccessStatement, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    match statement {
        AccessStatement::Privileges(change) => grant::privileges(change, tx, context),
        AccessStatement::Roles(change) => membership::grant(change, tx, context),
        AccessStatement::Defaults { roles, schemas, change } => grant::defaults(roles, schemas, change, tx, context),
        AccessStatement::Reassign { from, to } => owned::reassign(from, to, tx, context),
        AccessStatement::DropOwned { roles, cascade } => owned::drop_owned(roles, *cascade, tx, context).await,
        AccessStatement::DropRoles { roles, if_exists } => role::drop_roles(roles, *if_exists, tx, context),
        AccessStatement::GroupMembers { group, add, members } => {
            membership::alter_group(group, *add, members, tx, context)
        }
        AccessStatement::Setting { role, database, change } => {
            role_setting::alter(role.as_ref(), database.as_ref(), change, tx, context)
        }
    }
}

pub use sequence::is_identity as is_identity_sequence;
pub use table::create_table_as;
pub use view::{begin_refresh, create_materialized, replace_rows};

/// `CREATE FUNCTION`, … for the message of 0A000: the leading words in capitals.
pub fn command_name(text: &str) -> String {
    let capital = |w: &&str| w.len() > 1 && w.chars().all(|c| c.is_ascii_uppercase());
    let words: Vec<&str> = text.split_whitespace().take_while(capital).take(3).collect();
    if words.is_empty() { "this statement".into() } else { words.join(" ") }
}

/// The command of a statement that must be its transaction's only one.
pub fn alone(statement: &Extra) -> Option<&'static str> {
    use syntax::databases::DatabaseStatement;
    match statement {
        Extra::Database(statement) => match &**statement {
            DatabaseStatement::Create { .. } => Some("CREATE DATABASE"),
            DatabaseStatement::Drop { .. } => Some("DROP DATABASE"),
            _ => None,
        },
        _ => None,
    }
}

/// A statement, as sqlparser reads it or not.
enum Work<'a> {
    Statement(&'a Statement),
    Extra(&'a Extra),
}

impl Work<'_> {
    async fn run(&self, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
        match self {
            Work::Statement(statement) => run(statement, tx, context).await,
            Work::Extra(statement) => run_extra(statement, tx, context).await,
        }
    }
}

/// Runs a statement of DDL that may have to wait for a table. DDL is one at a time, and the reader or writer that holds
/// the table may take its time: the statement is undone, other DDL goes ahead, and with the table locked it begins
/// again on the newest catalog.
async fn patiently(work: Work<'_>, tx: &mut Transaction, context: &mut DdlContext<'_>) -> Result<String> {
    tx.make_temporary(false);
    if work.is_temporary(tx, context) {
        return work.run(tx, context).await;
    }
    loop {
        tx.begin_ddl().await?;
        if tx.has_ddl() {
            // What the transaction changed before is not let go.
            return work.run(tx, context).await;
        }
        let (savepoint, notices) = (tx.savepoint(), context.notices.len());
        context.awaited = Awaited::Nothing;
        let done = work.run(tx, context).await;
        let Awaited::Table(relation, mode) = std::mem::replace(&mut context.awaited, Awaited::Blocks) else {
            tx.release(savepoint);
            return done;
        };
        tx.rollback_to(savepoint);
        tx.release(savepoint);
        context.notices.truncate(notices);
        tx.pause_ddl();
        tx.lock_table(relation, mode, Wait::Block).await?;
    }
}

/// Takes a relation's lock, waiting as long as `lock_timeout` allows. From then on the statement sees what others have done
/// until then.
async fn lock(tx: &mut Transaction, relation: Oid, mode: TableLock, context: &mut DdlContext<'_>) -> Result<()> {
    let wait = if context.awaited == Awaited::Blocks { Wait::Block } else { Wait::SkipLocked };
    if !tx.lock_table(relation, mode, wait).await? {
        context.awaited = Awaited::Table(relation, mode);
        return Err(Error::internal("a statement of DDL goes on without its lock"));
    }
    tx.see_newest().await
}

/// A fresh OID of the transaction's catalog.
fn allocate(tx: &mut Transaction) -> Result<Oid> {
    allocate_many(tx, 1)
}

/// The first of `count` fresh OIDs in a row.
fn allocate_many(tx: &mut Transaction, count: u32) -> Result<Oid> {
    if let Some(first) = tx.allocate_temporary(count) {
        return Ok(first);
    }
    let first = tx.catalog().next_oid;
    let next = first
        .0
        .checked_add(count)
        .ok_or_else(|| Error::new(SqlState::ProgramLimitExceeded, "all object identifiers are used up"))?;
    tx.change_catalog(CatalogChange::NextOid(Oid(next)))?;
    Ok(first)
}

fn put_table(tx: &mut Transaction, mut table: TableDef) -> Result<()> {
    if let Some(view) = &table.materialized {
        let columns = table.live_columns().map(|c| (c.name.clone(), c.ty)).collect();
        let (name, schema, owner) = (table.name.clone(), table.schema, table.owner);
        table.materialized =
            Some(Arc::new(crate::catalog::ViewDef { name, schema, owner, columns, ..(**view).clone() }));
    }
    inherit::tidy(&mut table);
    collation::check_unique_indexes(&table, &tx.catalog())?;
    put(tx, Object::Table(Arc::new(table)))
}

/// Puts an object, and lets its privileges follow.
fn put(tx: &mut Transaction, object: Object) -> Result<()> {
    let privileges = privilege::follow(&tx.catalog(), &object);
    tx.change_catalog(CatalogChange::Put(object))?;
    for access in privileges {
        tx.change_catalog(CatalogChange::Put(Object::Access(access)))?;
    }
    Ok(())
}

/// 42P07 if the name is taken; with IF NOT EXISTS a notice and `false`.
fn name_is_free(
    tx: &Transaction,
    schema: Oid,
    name: &str,
    if_not_exists: bool,
    context: &mut DdlContext<'_>,
) -> Result<bool> {
    let catalog = tx.catalog();
    if !names::is_taken(&catalog, schema, name) {
        if let Some(NamedType::Own(def)) = catalog.type_in(schema, name) {
            if def.attributes().is_some() {
                return Err(Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")));
            }
            return Err(Error::new(SqlState::DuplicateObject, format!("type \"{name}\" already exists")).hint(
                "A relation has an associated type of the same name, so you must use a name that doesn't conflict with any \
                 existing type.",
            ));
        }
        return Ok(true);
    }
    let message = format!("relation \"{name}\" already exists");
    if if_not_exists {
        context.notice(SqlState::DuplicateTable, format!("{message}, skipping"));
        return Ok(false);
    }
    Err(Error::new(SqlState::DuplicateTable, message))
}

/// 42501 for a system relation, as DDL on it answers.
fn system_relation(relation: &Relation) -> Error {
    Error::new(
        SqlState::InsufficientPrivilege,
        format!("permission denied: \"{}\" is a system catalog", relation.name()),
    )
}

/// The table that a statement names, locked; 42809 if it is something else. `None`: missing, IF EXISTS, noticed.
async fn open_table(
    name: &names::Name,
    if_exists: bool,
    mode: TableLock,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Arc<TableDef>>> {
    let check = |catalog: &Catalog, user: Oid, table: &Arc<TableDef>| {
        privilege::check_owner(catalog, user, table.owner, "table", &table.name)
    };
    open_table_if(name, if_exists, mode, check, tx, context).await
}

/// What a name of a statement that may say IF EXISTS names; `None` behind the notice that nothing does.
fn resolve_if(
    name: &names::Name,
    if_exists: bool,
    catalog: &Catalog,
    context: &mut DdlContext<'_>,
) -> Result<Option<Relation>> {
    let path = context.path(catalog);
    if if_exists && name.find(catalog, &path).is_none() {
        context.notice(SqlState::SuccessfulCompletion, format!("relation \"{}\" does not exist, skipping", name.name));
        return Ok(None);
    }
    name.resolve(catalog, &path).map(Some)
}

/// [`open_table`] for who passes the check.
async fn open_table_if(
    name: &names::Name,
    if_exists: bool,
    mode: TableLock,
    check: impl Fn(&Catalog, Oid, &Arc<TableDef>) -> Result<()>,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Arc<TableDef>>> {
    let catalog = tx.catalog();
    let Some(relation) = resolve_if(name, if_exists, &catalog, context)? else { return Ok(None) };
    match relation {
        Relation::Table(table) => {
            check(&catalog, context.user, &table)?;
            tx.make_temporary(table.oid.is_temporary());
            lock(tx, table.oid, mode, context).await?;
            // It may have changed while the lock was not free.
            let table = tx.catalog().tables.get(&table.oid).cloned();
            table.map(Some).ok_or_else(|| {
                Error::new(SqlState::UndefinedTable, format!("relation \"{}\" does not exist", name.name))
            })
        }
        relation @ Relation::System(_) => Err(system_relation(&relation)),
        relation => Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a table", relation.name()))),
    }
}
