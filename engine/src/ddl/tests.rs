//! Replays `testdata/ddl.txt`, which PostgreSQL 15 answered, on a transaction engine with a log in memory.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use super::*;
use crate::apply::Applier;
use crate::catalog::Identity;
use crate::session::Row;
use crate::sql::{Statement as Parsed, parse};
use crate::storage::Storage;
use crate::system::deparse;
use crate::txn::memory_log::MemoryLog;
use crate::txn::{Isolation, Reads, TransactionOptions, Transactions};
use crate::types::Datum;

struct Server {
    shared: Arc<Transactions>,
    _log: Arc<MemoryLog>,
    eval: Arc<EvalContext>,
}

impl Server {
    fn start() -> Server {
        let storage = Storage::new(Catalog::bootstrap("postgres", "postgres"), 1 << 30, 3);
        let shared = Transactions::new(Arc::new(storage));
        let machine: crate::commit_log::SharedStateMachine = Arc::new(Applier::new(shared.clone()));
        let log = MemoryLog::start(machine);
        shared.attach_log(log.clone());
        let eval = EvalContext {
            host: Some(Arc::new(Host { shared: shared.clone() })),
            transaction_time: 1,
            statement_time: 1,
            ..EvalContext::default()
        };
        Server { shared, _log: log, eval: Arc::new(eval) }
    }

    async fn begin(&self) -> Box<Transaction> {
        let options = TransactionOptions {
            isolation: Isolation::ReadCommitted,
            read_only: false,
            process: 1,
            lock_timeout: None,
        };
        let mut tx = Transaction::begin(&self.shared, options);
        tx.begin_statement(Reads::Snapshot).await.unwrap();
        tx
    }

    /// The answer to a statement in the form of the file.
    async fn run(&self, sql: &str) -> String {
        if let Some(table) = sql.strip_prefix("? ") {
            return self.describe(table);
        }
        let mut tx = self.begin().await;
        if sql.starts_with("INSERT") {
            return self.insert(sql, tx).await;
        }
        let mut notices = Vec::new();
        let result = match parse(sql) {
            Ok(mut statements) => {
                let parsed = statements.remove(0);
                let path = ["public".to_owned()];
                let settings = crate::session::settings::Settings::detached();
                let sessions = crate::session::registry::Sessions::default();
                let mut context = DdlContext {
                    members: Vec::new(),
                    default_strategy: strategy::DEFAULT,
                    awaited: Awaited::Blocks,
                    user: Oid::SUPERUSER,
                    session_user: Oid::SUPERUSER,
                    sessions: &sessions,
                    process: 0,
                    current_settings: &settings,
                    search_path: &path,
                    eval: self.eval.clone(),
                    source: parsed.source,
                    notices: &mut notices,
                    unchecked: Vec::new(),
                };
                match &parsed.statement {
                    Parsed::Sql(statement) => execute(statement, &mut tx, &mut context).await,
                    Parsed::Ddl(statement) => execute_extra(statement, &mut tx, &mut context).await,
                    Parsed::Utility(_) => Err(Error::internal("not DDL")),
                }
            }
            Err(error) => Err(error),
        };
        let mut out = String::new();
        for notice in &notices {
            report("NOTICE", &notice.report, &mut out);
        }
        match result {
            Ok(tag) => {
                tx.commit().await.unwrap();
                writeln!(out, "{tag}").unwrap();
            }
            Err(error) => report("ERROR", &error, &mut out),
        }
        out
    }

    /// `INSERT INTO t VALUES (1, NULL), …` of integers.
    async fn insert(&self, sql: &str, mut tx: Box<Transaction>) -> String {
        let (head, values) = sql.split_once(" VALUES ").unwrap();
        let name = head.strip_prefix("INSERT INTO ").unwrap();
        let catalog = tx.catalog();
        let path = catalog.search_path(&["public"], "postgres");
        let oid = catalog.resolve_relation(None, name, &path).unwrap().oid();
        let table = tx.table(oid).unwrap();
        let mut count = 0;
        for row in values.trim_matches(['(', ')']).split("), (") {
            let value = |v: &str| v.trim().parse().map_or(Datum::Null, Datum::Int4);
            let row: Row = row.split(',').map(value).collect();
            tx.insert(&table, row).await.unwrap().unwrap();
            count += 1;
        }
        tx.commit().await.unwrap();
        format!("INSERT 0 {count}\n")
    }

    fn describe(&self, name: &str) -> String {
        let catalog = self.shared.storage.catalog();
        let path = catalog.search_path(&["public"], "postgres");
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, name),
        };
        let Ok(Relation::Table(table)) = catalog.resolve_relation(schema, name, &path) else {
            return "no such table\n".to_owned();
        };
        let display = deparse::Display::plain(&catalog, &path);
        let mut out = String::new();
        for c in table.live_columns() {
            write!(out, "column {} {}", c.name, deparse::type_name(c.ty)).unwrap();
            out.push_str(if c.not_null { " not null" } else { "" });
            if let Some(default) = &c.default {
                write!(out, " default {}", display.expression(default, None)).unwrap();
            }
            match c.identity {
                Some(Identity::Always) => out.push_str(" identity a"),
                Some(Identity::ByDefault) => out.push_str(" identity d"),
                None => {}
            }
            out.push('\n');
        }
        let mut lines: Vec<String> = (table.constraints.iter())
            .map(|c| format!("constraint {} {}", c.name, deparse::constraint_def(&table, c, &display)))
            .collect();
        lines.sort();
        let mut indexes = table.indexes.clone();
        indexes.sort_by(|a, b| a.name.cmp(&b.name));
        lines.extend(indexes.iter().map(|i| deparse::index_def(&table, i, &display)));
        lines.iter().for_each(|l| writeln!(out, "{l}").unwrap());
        out
    }
}

fn report(kind: &str, error: &Error, out: &mut String) {
    let r = error.report();
    writeln!(out, "{kind} {}: {}", r.state.code(), r.message).unwrap();
    if let Some(detail) = &r.detail {
        writeln!(out, "DETAIL {detail}").unwrap();
    }
    if let Some(hint) = &r.hint {
        writeln!(out, "HINT {hint}").unwrap();
    }
}

/// Reads regclass constants; the rest of the session is not needed.
#[derive(Debug)]
struct Host {
    shared: Arc<Transactions>,
}

impl crate::functions::FunctionHost for Host {
    fn provides(&self, function: &crate::functions::Function) -> bool {
        crate::system::functions::provides(function)
    }

    fn call(&self, call: &crate::functions::Call<'_>, args: &[Datum]) -> Result<Datum> {
        let catalog = self.shared.storage.catalog();
        let path = catalog.search_path(&["public"], "postgres");
        let context = crate::system::SystemContext {
            catalog,
            path,
            user: Oid::SUPERUSER,
            host: Arc::new(crate::system::tests::QuietHost),
        };
        crate::system::functions::call(&context, call, args)
    }
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transactions")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_answers_as_postgresql_does() {
    let server = Server::start();
    let mut wrong = String::new();
    let script = include_str!("testdata/ddl.txt");
    for step in script.split("\n> ").skip(1) {
        let (sql, expected) = step.split_once('\n').unwrap();
        let found = server.run(sql).await;
        if found.trim() != expected.trim() {
            writeln!(wrong, "> {sql}\n--- PostgreSQL\n{}\n--- here\n{}", expected.trim(), found.trim()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
