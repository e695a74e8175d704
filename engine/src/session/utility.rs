//! Utility statements: transaction control, settings, PREPARE and EXECUTE, EXPLAIN, LOCK, maintenance.

use std::pin::pin;
use std::sync::Arc;

use super::notify::ListenAction;
use super::plan::{Plan, Prepared, object_name};
use super::portal::{Portal, PortalState, RowSource, Tag};
use super::{Row, Session, Step};
use crate::catalog::Relation;
use crate::catalog::access;
use crate::catalog::acl::Rights;
use crate::copy;
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::expr_eval::{NoColumns, eval};
use crate::sql::rewrite::only;
use crate::sql::utility::Utility;
use crate::sql::{Binder, Parsed, Statement};
use crate::txn::{TableLock, Wait};
use crate::types::{Datum, TypeOid};

impl Session {
    /// Runs a utility statement; what returns rows leaves them in the portal.
    pub(super) async fn run_utility(&mut self, utility: Utility, portal: &mut Portal) -> Result<Option<Step>> {
        let tag = match utility {
            Utility::Begin(modes) => {
                self.begin(modes)?;
                if portal.prepared.parsed.text.get(..5).is_some_and(|t| t.eq_ignore_ascii_case("start")) {
                    "START TRANSACTION"
                } else {
                    "BEGIN"
                }
            }
            Utility::Commit { chain } => self.commit_block(chain).await?,
            Utility::Rollback { chain } => {
                self.rollback_block(chain)?;
                "ROLLBACK"
            }
            Utility::Savepoint(name) => {
                self.savepoint(name)?;
                "SAVEPOINT"
            }
            Utility::Release(name) => {
                self.release(&name)?;
                "RELEASE"
            }
            Utility::RollbackTo(name) => {
                self.rollback_to(&name)?;
                "ROLLBACK"
            }
            Utility::PrepareTransaction(id) => self.prepare_block(&id).await?,
            Utility::CommitPrepared(id) => return Err(self.no_prepared("COMMIT PREPARED", &id)),
            Utility::RollbackPrepared(id) => return Err(self.no_prepared("ROLLBACK PREPARED", &id)),
            Utility::SetTransaction(modes) => {
                if !self.block.explicit && self.simple_total <= 1 {
                    self.warn(
                        SqlState::NoActiveSqlTransaction,
                        "SET TRANSACTION can only be used in transaction blocks",
                    );
                }
                self.set_modes(modes)?;
                "SET"
            }
            Utility::SetCharacteristics(modes) => {
                self.set_characteristics(modes)?;
                "SET"
            }
            Utility::SetConstraints { names, deferred } => {
                Box::pin(self.set_constraints(names, deferred)).await?;
                "SET CONSTRAINTS"
            }
            Utility::Set { name, value, local } => {
                self.run_set(&name, value, local)?;
                "SET"
            }
            Utility::Reset(name) => {
                self.transaction()?;
                match name {
                    Some(name) if name == "role" || name == "session_authorization" => {
                        self.set_user(&name, None, false)?
                    }
                    Some(name) => self.settings.reset(&name, false)?,
                    None => self.settings.reset_all(),
                }
                self.settings_changed();
                "RESET"
            }
            Utility::Show(name) => {
                portal.state = self.show(name.as_deref())?;
                return Ok(None);
            }
            Utility::Discard(what) => self.discard(&what)?,
            Utility::Declare { name, binary, scroll, hold, query } => {
                self.transaction()?;
                let text = Arc::from(portal.prepared.parsed.source.text());
                Box::pin(self.declare(name, &query, text, (binary, scroll, hold), portal)).await?;
                "DECLARE CURSOR"
            }
            Utility::Fetch { cursor, direction, only_move } => {
                return Box::pin(self.fetch(&cursor, direction, only_move, portal)).await;
            }
            Utility::Close(None) => {
                self.portals.retain(|_, p| p.cursor.is_none());
                "CLOSE CURSOR ALL"
            }
            Utility::Close(Some(name)) => {
                self.portals.remove(&name).ok_or_else(|| super::cursor::no_cursor(&name))?;
                "CLOSE CURSOR"
            }
            Utility::Prepare { name, types, statement, text } => {
                self.run_prepare(name, &types, *statement, text, portal)?;
                "PREPARE"
            }
            Utility::Execute { name, args } => return Box::pin(self.run_execute(&name, &args, portal)).await,
            Utility::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Utility::Deallocate(Some(name)) => {
                self.statements.remove(&name).ok_or_else(|| super::plan::no_statement(&name))?;
                "DEALLOCATE"
            }
            Utility::Explain { options, statement } => {
                portal.state = Box::pin(self.explain(&options, *statement, portal)).await?;
                return Ok(None);
            }
            Utility::Copy(copy) => return Box::pin(copy::start(self, copy, portal)).await,
            // Dead rows are collected all the time, so what VACUUM promises holds whenever it is asked for.
            Utility::Vacuum { tables, .. } => {
                self.forbid_block("VACUUM")?;
                let catalog = self.catalog();
                for table in &tables {
                    self.resolve_relation(table, &catalog)?;
                }
                "VACUUM"
            }
            Utility::Analyze { tables, .. } => {
                let catalog = self.catalog();
                for table in &tables {
                    self.resolve_table(table, &catalog, "analyze")?;
                }
                "ANALYZE"
            }
            Utility::Checkpoint => {
                if !self.catalog().has_privileges_of(self.user(), access::CHECKPOINT) {
                    let message = "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT";
                    return Err(Error::new(SqlState::InsufficientPrivilege, message));
                }
                let log = self.engine.log().ok_or_else(|| Error::internal("no log is attached"))?;
                log.checkpoint().await.map_err(|e| Error::new(SqlState::IoError, e.to_string()))?;
                "CHECKPOINT"
            }
            Utility::AlterSystem(change) => {
                self.forbid_block("ALTER SYSTEM")?;
                self.change_cluster(change).await?;
                "ALTER SYSTEM"
            }
            Utility::Listen(channel) => {
                self.change_listening(ListenAction::Listen(channel.into()))?;
                "LISTEN"
            }
            Utility::Notify { channel, payload } => {
                self.notify_channel(&channel, payload.as_deref().unwrap_or_default())?;
                "NOTIFY"
            }
            Utility::Unlisten(channel) => {
                self.change_listening(match channel {
                    Some(channel) => ListenAction::Unlisten(channel.into()),
                    None => ListenAction::UnlistenAll,
                })?;
                "UNLISTEN"
            }
            Utility::Lock { tables, mode, nowait } => {
                Box::pin(self.lock_tables(&tables, &mode, nowait, portal)).await?;
                "LOCK TABLE"
            }
            Utility::Maintenance { command, tables } => {
                let catalog = self.catalog();
                for table in &tables {
                    self.resolve_relation(table, &catalog)?;
                }
                // Indexes are never bloated or stale, so REINDEX has what it asks for; rows have no order to CLUSTER.
                if command.starts_with("CLUSTER") {
                    let text = "rows are not kept in the order of an index: nothing to do";
                    self.notice(NoticeLevel::Notice, Error::new(SqlState::SuccessfulCompletion, text));
                }
                portal.state = PortalState::Done(command);
                return Ok(None);
            }
        };
        Ok(Some(Step::Complete(tag.to_string())))
    }

    fn resolve_relation(
        &self,
        name: &sqlparser::ast::ObjectName,
        catalog: &Arc<crate::catalog::Catalog>,
    ) -> Result<Relation> {
        let (schema, name) = object_name(name)?;
        let path = self.search_path(catalog);
        catalog.resolve_relation(schema.as_deref(), &name, &path)
    }

    /// What depends on settings and is kept elsewhere.
    pub(crate) fn settings_changed(&mut self) {
        if let Ok(name) = self.settings.show("application_name") {
            let mut activity = self.shared.activity.lock();
            if *activity.application_name != *name {
                activity.application_name = name.into();
            }
        }
    }

    fn run_set(&mut self, name: &str, value: Option<Vec<String>>, local: bool) -> Result<()> {
        if local && !self.block.explicit && self.simple_total <= 1 {
            self.warn(SqlState::NoActiveSqlTransaction, "SET LOCAL can only be used in transaction blocks");
        }
        self.transaction()?;
        let name = match name {
            "time zone" => "timezone",
            "names" => "client_encoding",
            "session_authorization" | "role" => {
                let wanted = value.as_ref().and_then(|words| words.first());
                self.set_user(name, wanted.map(String::as_str), local)?;
                return Ok(());
            }
            name => name,
        };
        let before = self.settings.modes;
        match value {
            None => self.settings.reset(name, local)?,
            Some(words) => {
                let text = match name {
                    "search_path" if words.len() > 1 || !words[0].is_empty() => {
                        words.iter().map(|w| quote_identifier(w)).collect::<Vec<_>>().join(", ")
                    }
                    "timezone"
                        if words.len() == 1 && matches!(words[0].to_lowercase().as_str(), "local" | "default") =>
                    {
                        self.settings.reset(name, local)?;
                        self.settings_changed();
                        return Ok(());
                    }
                    _ if words.len() > 1 && !matches!(name, "datestyle") => {
                        return Err(Error::new(
                            SqlState::InvalidParameterValue,
                            format!("SET {name} takes only one argument"),
                        ));
                    }
                    _ => words.join(", "),
                };
                self.settings.set(name, &text, local)?;
            }
        }
        if self.settings.modes != before {
            let modes = self.settings.modes;
            if modes.isolation != before.isolation
                && let Err(error) = self.check_isolation_may_change()
            {
                self.settings.modes = before;
                return Err(error);
            }
            self.apply_modes(modes);
        }
        self.settings_changed();
        Ok(())
    }

    fn set_characteristics(&mut self, modes: crate::sql::utility::TransactionModes) -> Result<()> {
        use crate::sql::utility::Isolation;
        self.transaction()?;
        if let Some(isolation) = modes.isolation {
            let text = match isolation {
                Isolation::ReadUncommitted => "read uncommitted",
                Isolation::ReadCommitted => "read committed",
                Isolation::RepeatableRead => "repeatable read",
                Isolation::Serializable => "serializable",
            };
            self.settings.set("default_transaction_isolation", text, false)?;
        }
        if let Some(read_only) = modes.read_only {
            self.settings.set("default_transaction_read_only", if read_only { "on" } else { "off" }, false)?;
        }
        if let Some(deferrable) = modes.deferrable {
            self.settings.set("default_transaction_deferrable", if deferrable { "on" } else { "off" }, false)?;
        }
        Ok(())
    }

    fn show(&mut self, name: Option<&str>) -> Result<PortalState> {
        self.transaction()?;
        let rows: Vec<Row> = match name {
            Some(name) => vec![std::iter::once(Datum::from(self.settings.show(name)?.as_str())).collect()],
            None => self
                .settings
                .rows()
                .into_iter()
                .map(|s| [&*s.name, &*s.shown, s.description].into_iter().map(Datum::from).collect())
                .collect(),
        };
        Ok(PortalState::Rows { source: RowSource::tuples(rows), tag: Tag::Fixed("SHOW") })
    }

    fn discard(&mut self, what: &str) -> Result<&'static str> {
        match what {
            "ALL" => {
                self.forbid_block("DISCARD ALL")?;
                self.portals.retain(|_, p| p.cursor.is_none());
                self.statements.clear();
                self.cache.clear();
                self.settings.reset_users();
                self.settings.reset_all();
                self.settings_changed();
                *self.sequences.lock() = Default::default();
                self.transaction()?.drop_all_temporary()?;
                self.advisory.release_all();
                self.change_listening(ListenAction::UnlistenAll)?;
                Ok("DISCARD ALL")
            }
            "PLANS" => {
                self.cache.clear();
                Ok("DISCARD PLANS")
            }
            "SEQUENCES" => {
                *self.sequences.lock() = Default::default();
                Ok("DISCARD SEQUENCES")
            }
            _ => {
                self.transaction()?.drop_all_temporary()?;
                Ok("DISCARD TEMP")
            }
        }
    }

    fn run_prepare(
        &mut self,
        name: String,
        types: &[sqlparser::ast::DataType],
        statement: Statement,
        text: String,
        outer: &Portal,
    ) -> Result<()> {
        if self.statements.contains_key(&name) {
            return Err(super::plan::duplicate_statement(&name));
        }
        let outer = &outer.prepared.parsed;
        let catalog = self.catalog();
        let environment = self.environment(&catalog);
        let mut binder = Binder::new(environment, outer.source.clone(), &[]);
        let declared: Vec<TypeOid> =
            types.iter().map(|t| binder.bind_type(t).map(|t| catalog.base_type(t).oid)).collect::<Result<_>>()?;
        let parameters = highest_parameter(&text);
        let inner = Parsed { statement, source: outer.source.clone(), text: outer.text.clone(), parameters };
        let mut prepared = self.plan_unchecked(Arc::new(inner), declared)?;
        if let Some(prepared) = Arc::get_mut(&mut prepared) {
            prepared.by_sql = true;
        }
        self.statements.insert(name, prepared);
        Ok(())
    }

    /// A statement that PREPARE named, with the parameters that EXECUTE gives it.
    pub(crate) fn prepared_with(
        &mut self,
        name: &str,
        args: &[sqlparser::ast::Expr],
        source: &crate::sql::Source,
        outer: &[Datum],
    ) -> Result<(Arc<Prepared>, Arc<[Datum]>)> {
        let prepared = self.find_statement(name)?.clone();
        if args.len() != prepared.parameters.len() {
            return Err(Error::new(
                SqlState::SyntaxError,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .detail(format!("Expected {} parameters but got {}.", prepared.parameters.len(), args.len())));
        }
        // What computes them may ask for its number.
        self.transaction()?;
        let catalog = self.catalog();
        let environment = self.environment(&catalog);
        let mut binder = Binder::new(environment, source.clone(), &[]);
        let context = self.eval_context();
        let mut params = Vec::with_capacity(args.len());
        for (i, (arg, ty)) in args.iter().zip(prepared.parameters.iter()).enumerate() {
            let bound = binder.bind_execute_parameter(arg, i + 1, (*ty).into())?;
            if bound.has_subquery() {
                return Err(Error::unsupported("a SQL function that reads rows, in a parameter of EXECUTE"));
            }
            params.push(eval(&bound, &NoColumns, outer, &context)?);
        }
        Ok((self.current(&prepared)?, params.into()))
    }

    async fn run_execute(
        &mut self,
        name: &str,
        args: &[sqlparser::ast::Expr],
        portal: &mut Portal,
    ) -> Result<Option<Step>> {
        let (prepared, params) = self.prepared_with(name, args, &portal.prepared.parsed.source, &portal.params)?;
        if let Some(utility) = prepared.utility() {
            let utility = utility.clone();
            return Box::pin(self.run_utility(utility, portal)).await;
        }
        if matches!(prepared.plan, Plan::Empty) {
            return Ok(Some(Step::Empty));
        }
        self.transaction()?;
        let shared = self.shared.clone();
        portal.state = shared.interruptible(portal.deadline, pin!(self.run_locked(&prepared, &params))).await?;
        Ok(None)
    }

    async fn lock_tables(
        &mut self,
        tables: &[sqlparser::ast::ObjectName],
        mode: &str,
        nowait: bool,
        portal: &Portal,
    ) -> Result<()> {
        if !self.block.explicit && self.simple_total <= 1 {
            return Err(Error::new(
                SqlState::NoActiveSqlTransaction,
                "LOCK TABLE can only be used in transaction blocks",
            ));
        }
        let lock = match mode {
            "ACCESS SHARE" => TableLock::AccessShare,
            "ROW SHARE" => TableLock::RowShare,
            "ROW EXCLUSIVE" => TableLock::RowExclusive,
            "SHARE UPDATE EXCLUSIVE" => TableLock::ShareUpdateExclusive,
            "SHARE" => TableLock::Share,
            "SHARE ROW EXCLUSIVE" => TableLock::ShareRowExclusive,
            "EXCLUSIVE" => TableLock::Exclusive,
            "ACCESS EXCLUSIVE" => TableLock::AccessExclusive,
            _ => return Err(Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{mode}\""))),
        };
        if lock > TableLock::RowShare {
            self.check_writable("LOCK TABLE")?;
        }
        let wait = if nowait { Wait::NoWait } else { Wait::Block };
        let shared = self.shared.clone();
        for name in tables {
            shared.interruptible(portal.deadline, pin!(self.lock_named(name, lock, wait))).await?;
        }
        Ok(())
    }

    /// Locks the table or view that has a name, also if it is another one by the time the lock is free. With a view go
    /// the relations that it reads.
    async fn lock_named(&mut self, name: &sqlparser::ast::ObjectName, lock: TableLock, wait: Wait) -> Result<()> {
        loop {
            let (name, only) = only::split(name);
            let relation = self.lockable(&name, Some(lock))?.oid();
            let mut next = vec![relation];
            if !only {
                // The privileges of the table that is named are enough.
                next.extend(self.catalog().family(relation).iter().skip(1).rev().map(|heir| heir.oid));
            }
            while let Some(oid) = next.pop() {
                let transaction = self.transaction()?;
                match (lock, wait) {
                    (TableLock::AccessShare, Wait::Block) => {
                        transaction.lock_for_read(oid).await?;
                    }
                    _ => {
                        transaction.lock_table(oid, lock, wait).await?;
                        transaction.see_all_sequenced();
                    }
                }
                if let Some(Relation::View(view)) = self.catalog().relation(oid) {
                    let catalog = self.catalog();
                    next.extend(view.depends_on.iter().filter(|o| crate::system::by_oid(**o).is_none()));
                    next.retain(|o| catalog.relation(*o).is_some());
                }
            }
            if self.lockable(&name, None)?.oid() == relation {
                return Ok(());
            }
        }
    }

    /// What LOCK TABLE may name.
    fn lockable(&self, name: &sqlparser::ast::ObjectName, lock: Option<TableLock>) -> Result<Relation> {
        let catalog = self.catalog();
        let relation = self.resolve_relation(name, &catalog)?;
        let kind = match &relation {
            Relation::Table(_) | Relation::View(_) => {
                let changes = Rights::UPDATE.with(Rights::DELETE).with(Rights::TRUNCATE);
                let any = match lock {
                    None => return Ok(relation),
                    Some(TableLock::AccessShare) => Rights::SELECT.with(changes),
                    Some(TableLock::RowExclusive) => Rights::INSERT.with(changes),
                    Some(_) => changes,
                };
                if catalog.relation_rights(self.user(), &relation).both(any).is_none() {
                    return Err(crate::sql::permission_denied(&relation));
                }
                return Ok(relation);
            }
            Relation::System(system) => {
                return Err(Error::new(
                    SqlState::InsufficientPrivilege,
                    format!("permission denied: \"{}\" is a system catalog", system.name),
                ));
            }
            Relation::Index(..) => "indexes",
            Relation::Sequence(_) => "sequences",
        };
        let message = format!("cannot lock relation \"{}\"", relation.name());
        Err(Error::new(SqlState::WrongObjectType, message)
            .detail(format!("This operation is not supported for {kind}.")))
    }
}

/// A name as it must be written in SQL.
pub(crate) fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn highest_parameter(text: &str) -> usize {
    let mut highest = 0;
    for (at, _) in text.match_indices('$') {
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        highest = highest.max(digits.parse().unwrap_or(0));
    }
    highest
}
