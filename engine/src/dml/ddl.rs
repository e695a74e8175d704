//! DDL from the session's side: it runs in the transaction, its notices go to the client. CREATE TABLE AS is DDL
//! first and an INSERT after.

use std::sync::Arc;

use sqlparser::ast;

use super::foreign_key::ForeignKeys;
use super::insert::{InsertPlan, Inserter, Source};
use super::rules::TableRules;
use crate::catalog::{Member, Oid};
use crate::ddl::{self, DdlContext, Extra};
use crate::error::{Error, Result, SqlState};
use crate::query::ResultStream;
use crate::session::Session;
use crate::session::plan::Plan;
use crate::sql::bind::fold;
use crate::sql::spellings::EXECUTE_MARK;
use crate::sql::{Binder, Parsed, Statement};
use crate::txn::{Reads, Transaction};
use crate::types::{Datum, TypeOid};

/// Types and values of a statement's parameters.
pub type Given<'a> = (&'a [TypeOid], &'a Arc<[Datum]>);

/// Runs a statement of DDL and answers its command tag. Of all of them CREATE TABLE AS takes parameters.
pub async fn run(session: &mut Session, parsed: &Parsed, given: Given<'_>) -> Result<String> {
    let statement = match &parsed.statement {
        Statement::Sql(statement) => statement,
        Statement::Ddl(extra) => {
            if let Some(command) = ddl::alone(extra) {
                session.forbid_block(command)?;
            }
            session.check_writable(&ddl::command::of_text(&parsed.text))?;
            if let Some(command) = extra.outside_blocks() {
                session.forbid_block(command)?;
            }
            let members = members(session, ddl::strategy::asks_members(extra)).await;
            if ddl::temporary::extra_makes_temporary(extra) {
                session.prepare_temporary()?;
            }
            session.begin_statement(Reads::Snapshot).await?;
            if let Extra::Refresh { name, concurrently, with_data } = &**extra {
                return refresh(session, name, (*concurrently, *with_data), parsed).await;
            }
            let work = async |transaction: &mut Transaction, context: &mut DdlContext<'_>| {
                ddl::execute_extra(extra, transaction, context).await
            };
            return with_context(session, parsed, members, work).await;
        }
        Statement::Utility(_) => return Err(Error::internal("a utility statement was run as DDL")),
    };
    if !ddl::is_ddl(statement) {
        return Err(Error::unsupported(ddl::command_name(&statement.to_string())));
    }
    session.check_writable(&ddl::command::of_statement(statement, &parsed.text))?;
    if matches!(&**statement, ast::Statement::CreateIndex(create) if create.concurrently) {
        session.forbid_block("CREATE INDEX CONCURRENTLY")?;
    }
    let asks = ddl::strategy::asks_members_of(statement, &session.settings.values().default_strategy);
    let members = members(session, asks).await;
    if ddl::temporary::makes_temporary(statement) {
        session.prepare_temporary()?;
    }
    session.begin_statement(Reads::Snapshot).await?;
    if let ast::Statement::CreateView(create) = &**statement
        && create.materialized
    {
        return create_materialized(session, create, parsed).await;
    }
    if let ast::Statement::CreateTable(create) = &**statement
        && let Some(query) = &create.query
    {
        return create_as(session, create, query, parsed, (members, given)).await;
    }
    with_context(session, parsed, members, async |transaction, context| {
        ddl::execute(statement, transaction, context).await
    })
    .await
}

/// The members of the cluster that can carry tables, if they are asked for.
async fn members(session: &Session, asked: bool) -> Vec<Member> {
    match session.engine.log().filter(|_| asked) {
        Some(log) => log.status().await.members(),
        None => Vec::new(),
    }
}

async fn with_context<T>(
    session: &mut Session,
    parsed: &Parsed,
    members: Vec<Member>,
    work: impl AsyncFnOnce(&mut Transaction, &mut DdlContext<'_>) -> Result<T>,
) -> Result<T> {
    let eval = session.eval_context();
    let settings = session.settings.clone();
    let engine = session.engine.clone();
    let values = session.settings.values().clone();
    let checks = session.deferred.iter().map(|check| check.table());
    let unchecked = checks.chain(session.deferred_keys.iter().map(|key| key.table)).collect();
    let mut notices = Vec::new();
    session.show_writing()?;
    let mut context = DdlContext {
        user: session.user(),
        session_user: values.users.session.oid,
        sessions: engine.sessions(),
        process: session.shared.key.process,
        current_settings: &settings,
        search_path: &values.search_path,
        members,
        default_strategy: &values.default_strategy,
        eval,
        source: parsed.source.clone(),
        notices: &mut notices,
        unchecked,
        awaited: ddl::Awaited::Blocks,
    };
    let done = work(session.transaction()?, &mut context).await;
    for notice in notices {
        session.notice(notice.level, notice.report);
    }
    done
}

/// EXECUTE as the query of CREATE TABLE AS.
struct Executed<'a> {
    name: &'a str,
    args: Vec<ast::Expr>,
    /// Of the table's columns.
    names: &'a [ast::TableAliasColumnDef],
}

fn executed(query: &ast::Query) -> Option<Executed<'_>> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    if let [ast::TableWithJoins { relation: ast::TableFactor::Derived { subquery, alias: Some(alias), .. }, .. }] =
        select.from.as_slice()
    {
        return Some(Executed { names: &alias.columns, ..executed(subquery)? });
    }
    let [ast::SelectItem::UnnamedExpr(ast::Expr::Function(call))] = select.projection.as_slice() else { return None };
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    let is_mark = call.name.0.last().and_then(|p| p.as_ident()).is_some_and(|name| name.value == EXECUTE_MARK);
    let mut args = list.args.iter().filter(|_| is_mark).map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    let name = match args.next()?? {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(name) => name,
            _ => return None,
        },
        _ => return None,
    };
    Some(Executed { name, args: args.map(|arg| arg.cloned()).collect::<Option<_>>()?, names: &[] })
}

/// CREATE TABLE AS.
async fn create_as(
    session: &mut Session,
    create: &ast::CreateTable,
    query: &ast::Query,
    parsed: &Parsed,
    (members, (types, params)): (Vec<Member>, Given<'_>),
) -> Result<String> {
    let inner = Parsed {
        statement: Statement::Sql(Box::new(ast::Statement::Query(Box::new(locked_first(query)?)))),
        source: parsed.source.clone(),
        text: parsed.text.clone(),
        parameters: parsed.parameters,
    };
    let executed = executed(query);
    let (prepared, params) = match &executed {
        Some(executed) => session.prepared_with(executed.name, &executed.args, &parsed.source, &[])?,
        None => (session.plan(Arc::new(inner), types.to_vec())?, params.clone()),
    };
    let Plan::Query(plan) = &prepared.plan else {
        return Err(Error::new(SqlState::WrongObjectType, "prepared statement is not a SELECT"));
    };
    if !plan.bound.locks.is_empty() {
        return Err(Error::unsupported("FOR UPDATE of a prepared statement that CREATE TABLE AS executes"));
    }
    let mut columns = plan.bound.columns.clone();
    let collations = plan.bound.collations.clone();
    let domains = plan.bound.domains.clone();
    let names = executed.as_ref().map_or(&[][..], |executed| executed.names);
    if names.len() > columns.len() {
        return Err(Error::new(SqlState::SyntaxError, "too many column names were specified"));
    }
    columns.iter_mut().zip(names).for_each(|(column, name)| column.name = fold(&name.name));
    let stream = match crate::sql::rewrite::is_without_data(&parsed.text) {
        true => None,
        false => Some(session.execute_bound(&plan.bound, &params).await?),
    };
    let created = with_context(session, parsed, members, async |transaction, context| {
        ddl::create_table_as(create, &columns, &collations, &domains, transaction, context).await
    })
    .await?;
    let Some(oid) = created else { return Ok("CREATE TABLE AS".into()) };
    let Some(mut stream) = stream else {
        // EXECUTE runs in PostgreSQL, too, where a query does not.
        return Ok(if executed.is_some() { "SELECT 0" } else { "CREATE TABLE AS" }.into());
    };
    let count = fill(session, oid, &mut stream).await?;
    Ok(format!("SELECT {count}"))
}

/// Puts the rows of a query into a table that the statement made.
async fn fill(session: &mut Session, oid: Oid, stream: &mut ResultStream) -> Result<u64> {
    let catalog = session.catalog();
    let def = catalog.tables.get(&oid).cloned().ok_or_else(|| Error::internal("the new table is not there"))?;
    let insert = InsertPlan {
        rules: TableRules::bind(session, &def, &catalog)?.without_domains(),
        keys: ForeignKeys::default(),
        source: Source::Rows(Vec::new()),
        targets: def.live_columns().map(|c| c.attnum as usize - 1).collect(),
        conflict: None,
        returning: None,
    };
    let table = session.table(oid)?;
    let targets = insert.targets.clone();
    let mut inserter = Inserter::new(Arc::new(insert), table);
    while let Some(batch) = stream.next().await.transpose()? {
        tokio::task::yield_now().await;
        if batch.num_rows() > 0 {
            inserter.insert_any(session, batch.columns().to_vec(), &targets, batch.num_rows()).await?;
        }
    }
    Ok(inserter.changed.count)
}

/// A query with row locks as a subquery, which locks its rows before they are taken over.
fn locked_first(query: &ast::Query) -> Result<ast::Query> {
    let locks = |query: &ast::Query| !query.locks.is_empty();
    let nested = matches!(&*query.body, ast::SetExpr::Query(inner) if locks(inner));
    if !locks(query) && !nested {
        return Ok(query.clone());
    }
    let (mut whole, _) = crate::sql::parse::parse_query("SELECT * FROM (SELECT 1) AS locked")?;
    if let ast::SetExpr::Select(select) = &mut *whole.body
        && let Some(ast::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|item| &mut item.relation)
    {
        **subquery = query.clone();
    }
    Ok(*whole)
}

/// CREATE MATERIALIZED VIEW.
async fn create_materialized(session: &mut Session, create: &ast::CreateView, parsed: &Parsed) -> Result<String> {
    let tag = "CREATE MATERIALIZED VIEW";
    let inner = Parsed {
        statement: Statement::Sql(Box::new(ast::Statement::Query(create.query.clone()))),
        source: parsed.source.clone(),
        text: parsed.text.clone(),
        parameters: 0,
    };
    let prepared = session.plan(Arc::new(inner), Vec::new())?;
    let Plan::Query(plan) = &prepared.plan else {
        return Err(Error::new(SqlState::SyntaxError, "CREATE MATERIALIZED VIEW needs a query"));
    };
    let columns = plan.bound.columns.clone();
    let populated = !crate::sql::rewrite::is_without_data(&parsed.text);
    let stream = match populated {
        true => Some(session.execute_bound(&plan.bound, &Arc::from([])).await?),
        false => None,
    };
    let created = with_context(session, parsed, Vec::new(), async |transaction, context| {
        ddl::create_materialized(create, &columns, populated, transaction, context).await
    })
    .await?;
    match (created, stream) {
        (Some(oid), Some(mut stream)) => Ok(format!("SELECT {}", fill(session, oid, &mut stream).await?)),
        _ => Ok(tag.to_owned()),
    }
}

/// REFRESH MATERIALIZED VIEW: the rows are computed while readers go on with the old ones.
async fn refresh(
    session: &mut Session,
    name: &ast::ObjectName,
    (concurrently, with_data): (bool, bool),
    parsed: &Parsed,
) -> Result<String> {
    let view = with_context(session, parsed, Vec::new(), async |transaction, context| {
        ddl::begin_refresh(name, concurrently, with_data, transaction, context).await
    })
    .await?;
    let stream = match with_data {
        true => {
            let (query, source) = crate::sql::parse::parse_query(&view.query)?;
            let catalog = session.catalog();
            // The rows are those that the owner sees.
            let mut environment = session.environment(&catalog);
            environment.search_path.user = view.owner;
            let mut binder = Binder::new(environment, source, &[]);
            binder.know_as(&view);
            let bound = binder.bind_query(&query)?;
            binder.check_privileges()?;
            session.begin_statement(Reads::Snapshot).await?;
            Some(session.execute_bound(&bound, &Arc::from([])).await?)
        }
        false => None,
    };
    let oid = view.oid;
    with_context(session, parsed, Vec::new(), async |transaction, context| {
        ddl::replace_rows(oid, with_data, transaction, context).await
    })
    .await?;
    if let Some(mut stream) = stream {
        fill(session, oid, &mut stream).await?;
    }
    Ok("REFRESH MATERIALIZED VIEW".to_owned())
}
