//! DDL from the session's side: it runs in the transaction, its notices go to the client. CREATE TABLE AS is DDL
//! first and an INSERT after.

use std::sync::Arc;

use sqlparser::ast;

use super::foreign_key::ForeignKeys;
use super::insert::{InsertPlan, Inserter, Source};
use super::rules::TableRules;
use crate::catalog::Member;
use crate::ddl::{self, DdlContext};
use crate::error::{Error, Result, SqlState};
use crate::session::Session;
use crate::session::plan::Plan;
use crate::sql::{Parsed, Statement};
use crate::txn::{Reads, Transaction};

/// Runs a statement of DDL and answers its command tag.
pub async fn run(session: &mut Session, parsed: &Parsed) -> Result<String> {
    let statement = match &parsed.statement {
        Statement::Sql(statement) => statement,
        Statement::Ddl(extra) => {
            session.check_writable(&ddl::command_name(&parsed.text.to_uppercase()))?;
            if let Some(command) = extra.outside_blocks() {
                session.forbid_block(command)?;
            }
            let members = members(session, ddl::strategy::asks_members(extra)).await;
            if ddl::temporary::extra_makes_temporary(extra) {
                session.prepare_temporary()?;
            }
            session.begin_statement(Reads::Snapshot).await?;
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
    session.check_writable(&ddl::command_name(&statement.to_string()).replace("TEMPORARY ", ""))?;
    if matches!(&**statement, ast::Statement::CreateIndex(create) if create.concurrently) {
        session.forbid_block("CREATE INDEX CONCURRENTLY")?;
    }
    let asks = ddl::strategy::asks_members_of(statement, &session.settings.values().default_strategy);
    let members = members(session, asks).await;
    if ddl::temporary::makes_temporary(statement) {
        session.prepare_temporary()?;
    }
    session.begin_statement(Reads::Snapshot).await?;
    if let ast::Statement::CreateTable(create) = &**statement
        && let Some(query) = &create.query
    {
        return create_as(session, create, query, parsed, members).await;
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
    let values = session.settings.values().clone();
    let mut notices = Vec::new();
    session.show_writing()?;
    let mut context = DdlContext {
        user: session.user,
        search_path: &values.search_path,
        members,
        default_strategy: &values.default_strategy,
        eval,
        source: parsed.source.clone(),
        notices: &mut notices,
        awaited: ddl::Awaited::Blocks,
    };
    let done = work(session.transaction()?, &mut context).await;
    for notice in notices {
        session.notice(notice.level, notice.report);
    }
    done
}

/// CREATE TABLE AS.
async fn create_as(
    session: &mut Session,
    create: &ast::CreateTable,
    query: &ast::Query,
    parsed: &Parsed,
    members: Vec<Member>,
) -> Result<String> {
    let inner = Parsed {
        statement: Statement::Sql(Box::new(ast::Statement::Query(Box::new(query.clone())))),
        source: parsed.source.clone(),
        text: parsed.text.clone(),
        parameters: parsed.parameters,
    };
    let prepared = session.plan(Arc::new(inner), Vec::new())?;
    let Plan::Query(plan) = &prepared.plan else {
        return Err(Error::new(SqlState::SyntaxError, "CREATE TABLE AS needs a query"));
    };
    let columns = plan.bound.columns.clone();
    let stream = match crate::sql::rewrite::is_without_data(&parsed.text) {
        true => None,
        false => Some(session.execute_bound(&plan.bound, &Arc::from([])).await?),
    };
    let created = with_context(session, parsed, members, async |transaction, context| {
        ddl::create_table_as(create, &columns, transaction, context).await
    })
    .await?;
    let Some(oid) = created else { return Ok("CREATE TABLE AS".into()) };
    let Some(mut stream) = stream else { return Ok("CREATE TABLE AS".into()) };
    let catalog = session.catalog();
    let def = catalog.tables.get(&oid).cloned().ok_or_else(|| Error::internal("the new table is not there"))?;
    let insert = InsertPlan {
        rules: TableRules::bind(session, &def, &catalog)?,
        keys: ForeignKeys::default(),
        source: Source::Rows(Vec::new()),
        targets: (0..columns.len()).collect(),
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
    Ok(format!("SELECT {}", inserter.changed.count))
}
