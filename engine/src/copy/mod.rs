//! COPY: bulk input and output in PostgreSQL's text and csv formats; in the binary one rows go over to `wire`, which knows
//! how values look there.

mod file;
mod from;
mod options;
mod split;
mod to;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

pub use from::CopyIn;
pub use to::CopyOut;

use crate::catalog::acl::Rights;
use crate::catalog::{ColumnDef, Relation, TableDef};
use crate::dml::foreign_key::ForeignKeys;
use crate::dml::insert::{InsertPlan, Source, target_columns};
use crate::dml::row_expr::{RowColumns, RowExpr};
use crate::dml::rules::TableRules;
use crate::error::{Error, Result, SqlState};
use crate::session::plan::{Plan, identifier, object_name};
use crate::session::portal::{Portal, PortalState, Tag};
use crate::session::{CopyFormat, Row, Session, Step};
use crate::sql::utility::{Copy, CopyEnd, CopySource};
use crate::sql::{Binder, Parsed, Statement, parse, permission_denied};
use crate::txn::Reads;
use crate::types::Datum;
use options::CopyOptions;

/// Starts a COPY: the step tells the client which way the data goes.
pub async fn start(session: &mut Session, copy: Copy, portal: &mut Portal) -> Result<Option<Step>> {
    match &copy.end {
        CopyEnd::Client => {}
        CopyEnd::File(_) => file::check(session, copy.from, false)?,
        CopyEnd::Program(_) => {
            file::check(session, copy.from, true)?;
            return Err(Error::unsupported("COPY with a program"));
        }
    }
    let options = CopyOptions::parse(&copy.options, copy.from)?;
    if options.format == options::Format::Binary && matches!(copy.end, CopyEnd::File(_)) {
        return Err(Error::unsupported("COPY with FORMAT binary and a file of the server")
            .hint("Use COPY … STDIN or STDOUT, or psql's \\copy."));
    }
    session.transaction()?;
    match copy.from {
        true => start_in(session, &copy, options, portal).await,
        false => start_out(session, copy, options, portal).await,
    }
}

async fn start_in(
    session: &mut Session,
    copy: &Copy,
    options: CopyOptions,
    portal: &mut Portal,
) -> Result<Option<Step>> {
    let CopySource::Table { name, columns } = &copy.source else {
        return Err(Error::new(SqlState::SyntaxError, "COPY FROM needs a table"));
    };
    session.check_writable("COPY FROM")?;
    check_kind(session, name, true)?;
    let table = session.resolve_table(name, &session.catalog(), "copy to")?;
    session.lock_for_write(table.oid).await?;
    let catalog = session.catalog();
    let def = session.resolve_table(name, &catalog, "copy to")?;
    let committed = session.engine.catalog_of(session.database);
    if options.freeze && committed.tables.get(&def.oid).is_some_and(|t| t.storage == def.storage) {
        return Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            "cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction",
        ));
    }
    let names: Vec<String> = columns.iter().map(identifier).collect();
    let targets = match names.is_empty() {
        // Generated columns are not part of the data.
        true => def.live_columns().filter(|c| !c.generated).map(|c| c.attnum as usize - 1).collect(),
        false => target_columns(&def, &names, None)?,
    };
    let copied: Vec<&ColumnDef> = targets.iter().filter_map(|t| def.columns.get(*t)).collect();
    check_generated(&copied)?;
    let copied: Vec<&str> = copied.iter().map(|c| &*c.name).collect();
    options.check_columns(Some(&def), &copied)?;
    let environment = session.environment(&catalog);
    let mut binder = Binder::new(environment, portal.prepared.parsed.source.clone(), &[]);
    let begun = binder.begin_target(&def, Rights::INSERT);
    binder.require(Rights::INSERT, targets.iter().map(|target| *target as i16 + 1));
    // Who may not insert at all is told so before policies are asked.
    binder.check_privileges()?;
    begun?;
    if binder.has_policed_target() {
        return Err(Error::new(SqlState::FeatureNotSupported, "COPY FROM not supported with row-level security")
            .hint("Use INSERT statements instead."));
    }
    let filter = match &copy.filter {
        None => None,
        Some(expr) => {
            let scope = binder.table_scope(&def, None);
            let bound = binder.bind_condition(expr, &scope, "WHERE")?;
            if crate::dml::insert::has_query(&bound) {
                return Err(Error::unsupported("a subquery in COPY FROM … WHERE"));
            }
            Some(RowExpr::new(bound, &Arc::new(RowColumns::of_scope(&scope)), 0))
        }
    };
    binder.check_privileges()?;
    let rules = TableRules::bind(session, &def, &catalog)?;
    let keys = ForeignKeys::of(&def, &catalog);
    let plan = InsertPlan { rules, keys, source: Source::Rows(Vec::new()), targets, conflict: None, returning: None };
    session.begin_statement(Reads::Snapshot).await?;
    let copy_in = CopyIn::new(session, Arc::new(plan), options, filter)?;
    if let CopyEnd::File(path) = &copy.end {
        let rows = file::read(session, copy_in, path, portal).await?;
        file::complete(portal, rows);
        return Ok(None);
    }
    let step = match copy_in.is_binary() {
        true => Step::CopyInRows { table: def.name.clone(), columns: copy_in.columns() },
        false => Step::CopyIn(CopyFormat { binary: false, columns: copy_in.width() as u16 }),
    };
    session.copy = Some(Box::new(copy_in));
    Ok(Some(step))
}

async fn start_out(
    session: &mut Session,
    copy: Copy,
    options: CopyOptions,
    portal: &mut Portal,
) -> Result<Option<Step>> {
    let outer = portal.prepared.parsed.clone();
    let of_table = matches!(copy.source, CopySource::Table { .. });
    let inner = match copy.source {
        CopySource::Query(statement) => {
            Parsed { statement: *statement, source: outer.source.clone(), text: outer.text.clone(), parameters: 0 }
        }
        CopySource::Table { name, columns } if check_kind(session, &name, false)? => {
            let list: Vec<String> = columns.iter().map(|c| quote(&identifier(c))).collect();
            let list = if list.is_empty() { "*".to_owned() } else { list.join(", ") };
            let text = format!("SELECT {list} FROM {name}");
            parse(&text)?.pop().ok_or_else(|| Error::internal("COPY made an empty query"))?
        }
        CopySource::Table { name, columns } => {
            let table = session.resolve_table(&name, &session.catalog(), "copy from")?.oid;
            let shared = session.shared.clone();
            shared.interruptible(portal.deadline, pin!(session.transaction()?.lock_for_read(table))).await?;
            let def = session.resolve_table(&name, &session.catalog(), "copy from")?;
            let list: Vec<String> = match columns.is_empty() {
                true => def.live_columns().filter(|c| !c.generated).map(|c| quote(&c.name)).collect(),
                false => columns.iter().map(|c| quote(&identifier(c))).collect(),
            };
            let names: Vec<String> = columns.iter().map(identifier).collect();
            let mut copied: Vec<&ColumnDef> = Vec::with_capacity(names.len());
            for name in &names {
                let column = def.resolve_column(name)?;
                if copied.iter().any(|c| c.attnum == column.attnum) {
                    let message = format!("column \"{name}\" specified more than once");
                    return Err(Error::new(SqlState::DuplicateColumn, message));
                }
                copied.push(column);
            }
            check_generated(&copied)?;
            check_may_copy(session, &def, &columns)?;
            if names.is_empty() {
                copied = def.live_columns().filter(|c| !c.generated).collect();
            }
            let copied: Vec<&str> = copied.iter().map(|c| &*c.name).collect();
            options.check_columns(Some(&def), &copied)?;
            // Rows of tables that inherit from it are not its own.
            let text = format!("SELECT {} FROM ONLY {name}", list.join(", "));
            parse(&text)?.pop().ok_or_else(|| Error::internal("COPY made an empty query"))?
        }
    };
    if matches!(inner.statement, Statement::Utility(_)) {
        return Err(Error::new(SqlState::SyntaxError, "COPY query must be a SELECT, INSERT, UPDATE or DELETE"));
    }
    let mut prepared = session.plan(Arc::new(inner), Vec::new())?;
    if prepared.columns.is_none() {
        return Err(match prepared.plan {
            Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) | Plan::Parts(_) => {
                Error::new(SqlState::FeatureNotSupported, "COPY query must have a RETURNING clause")
            }
            _ => Error::new(SqlState::FeatureNotSupported, "COPY query must return columns"),
        });
    }
    let shared = session.shared.clone();
    let none: Arc<[Datum]> = Arc::from([]);
    let state =
        shared.interruptible(portal.deadline, pin!(session.run_bound_anew(&mut prepared, &none, false))).await?;
    let columns = prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
    if !of_table {
        let copied: Vec<&str> = columns.iter().map(|c| &*c.name).collect();
        options.check_columns(None, &copied)?;
    }
    let PortalState::Rows { source, .. } = state else {
        return Err(Error::internal("a COPY query did not start"));
    };
    if options.format == options::Format::Binary {
        portal.state = PortalState::Rows { source, tag: Tag::Copy };
        return Ok(Some(Step::CopyOutRows(columns)));
    }
    let format = CopyFormat { binary: false, columns: columns.len() as u16 };
    let out = CopyOut::new(options, source, columns.to_vec(), session.format());
    if let CopyEnd::File(path) = &copy.end {
        let rows = file::write(session, out, path, portal).await?;
        file::complete(portal, rows);
        return Ok(None);
    }
    portal.state = PortalState::CopyOut(Box::new(out));
    Ok(Some(Step::CopyOut(format)))
}

/// 42P10 for a generated column.
fn check_generated(columns: &[&ColumnDef]) -> Result<()> {
    match columns.iter().find(|c| c.generated) {
        None => Ok(()),
        Some(column) => Err(Error::new(
            SqlState::InvalidColumnReference,
            format!("column \"{}\" is a generated column", column.name),
        )
        .detail("Generated columns cannot be used in COPY.")),
    }
}

/// 42809 for what is no table. Whether it is one of the system's.
fn check_kind(session: &Session, name: &sqlparser::ast::ObjectName, from: bool) -> Result<bool> {
    let catalog = session.catalog();
    let (schema, name) = object_name(name)?;
    let Some(relation) = catalog.find_relation(schema.as_deref(), &name, &session.search_path(&catalog)) else {
        return Ok(false);
    };
    let kind = relation.kind_name();
    match kind {
        "table" => return Ok(matches!(relation, Relation::System(_))),
        "index" => return Err(Error::new(SqlState::WrongObjectType, format!("\"{name}\" is an index"))),
        _ => {}
    }
    let direction = if from { "to" } else { "from" };
    let error = Error::new(SqlState::WrongObjectType, format!("cannot copy {direction} {kind} \"{name}\""));
    Err(match (kind, from) {
        ("view", true) => error.hint("To enable copying to a view, provide an INSTEAD OF INSERT trigger."),
        ("view" | "materialized view", false) => error.hint("Try the COPY (SELECT ...) TO variant."),
        _ => error,
    })
}

/// 42501 for who may not read the columns, before policies are asked.
fn check_may_copy(session: &Session, def: &Arc<TableDef>, columns: &[sqlparser::ast::Ident]) -> Result<()> {
    let (catalog, user) = (session.catalog(), session.user());
    let relation = Relation::Table(def.clone());
    if catalog.relation_rights(user, &relation).has(Rights::SELECT) {
        return Ok(());
    }
    let named: Vec<String> = columns.iter().map(identifier).collect();
    let copied = |c: &&ColumnDef| if named.is_empty() { !c.generated } else { named.contains(&c.name) };
    let readable = |c: &ColumnDef| catalog.column_rights(user, &relation, c.attnum).has(Rights::SELECT);
    match def.live_columns().filter(copied).all(readable) {
        true => Ok(()),
        false => Err(permission_denied(&relation)),
    }
}

fn quote(name: &str) -> String {
    crate::session::utility::quote_identifier(name)
}

impl Session {
    pub(crate) async fn copy_in_data(&mut self, data: Bytes) -> Result<()> {
        let mut copy = self.copy.take().ok_or_else(no_copy)?;
        let shared = self.shared.clone();
        let done = shared.interruptible(None, pin!(copy.push(self, &data))).await;
        done?;
        self.copy = Some(copy);
        Ok(())
    }

    pub(crate) async fn copy_in_rows(&mut self, rows: Vec<Row>) -> Result<()> {
        let mut copy = self.copy.take().ok_or_else(no_copy)?;
        let shared = self.shared.clone();
        shared.interruptible(None, pin!(copy.push_rows(self, rows))).await?;
        self.copy = Some(copy);
        Ok(())
    }

    pub(crate) async fn copy_in_done(&mut self) -> Result<String> {
        let mut copy = self.copy.take().ok_or_else(no_copy)?;
        let shared = self.shared.clone();
        let rows = shared.interruptible(None, pin!(copy.finish(self))).await?;
        if self.ends_implicit() {
            self.commit_transaction().await?;
        }
        Ok(format!("COPY {rows}"))
    }
}

fn no_copy() -> Error {
    Error::new(SqlState::ProtocolViolation, "no COPY FROM STDIN is in progress")
}
