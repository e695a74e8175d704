//! Simple queries: a text of several statements, each the unnamed portal in turn.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::plan::{Plan, Prepared};
use super::portal::Portal;
use super::{Column, Reached, Session};
use crate::catalog::Oid;
use crate::error::{Error, Result};
use crate::sql::lift::{Lifted, lift};
use crate::sql::{Parsed, Statement, parse};
use crate::types::Datum;

/// A statement of a simple query that is still to come.
pub(super) enum Simple {
    /// With its text without literals, if it may be shared.
    Parsed(Box<Parsed>, Option<Box<Lifted>>),
    /// Bound without its literals, and these.
    Lifted(Arc<Prepared>, Vec<Datum>),
}

impl Simple {
    pub fn text(&self) -> &str {
        match self {
            Simple::Parsed(parsed, _) => &parsed.text,
            Simple::Lifted(prepared, _) => &prepared.parsed.text,
        }
    }

    pub fn statement(&self) -> &Statement {
        match self {
            Simple::Parsed(parsed, _) => &parsed.statement,
            Simple::Lifted(prepared, _) => &prepared.parsed.statement,
        }
    }
}

impl Session {
    pub(super) fn parse_simple(&mut self, sql: &str) -> Result<()> {
        self.simple.clear();
        // The unnamed statement and portal end with every simple query.
        self.statements.remove("");
        self.portals.remove("");
        // A standby catches up before it binds names.
        let lifted = if self.engine.is_standby() { None } else { lift(sql) };
        if let Some((prepared, values)) = lifted.as_ref().and_then(|lifted| self.plan_lifted(lifted)) {
            self.simple.push_back(Simple::Lifted(prepared, values));
            self.simple_text = Some(sql.into());
        } else {
            let mut lifted = lifted.map(Box::new);
            let parsed = parse(sql)?.into_iter();
            self.simple.extend(parsed.map(|parsed| Simple::Parsed(Box::new(parsed), lifted.take())));
            self.simple_text = (self.simple.len() > 1).then(|| sql.into());
        }
        self.simple_total = self.simple.len();
        Ok(())
    }

    pub(super) async fn open_simple(&mut self, reached: Reached) -> Result<Option<Arc<[Column]>>> {
        let next = self.simple.pop_front().ok_or_else(|| Error::internal("no statement is left"))?;
        let (mut prepared, values) = match next {
            Simple::Parsed(parsed, lifted) => {
                let prepared = self.plan_simple(*parsed)?;
                if let Some(lifted) = lifted {
                    self.learn(&lifted, &prepared);
                }
                (prepared, Vec::new())
            }
            Simple::Lifted(prepared, values) => (prepared, values),
        };
        prepared.check()?;
        while self.is_changing(&prepared) {
            self.wait_for_changes(&prepared).await?;
            prepared = self.plan_again(&prepared)?;
        }
        // The client is told of the columns before the statement runs: on a standby, what the log brings in between must
        // not change them.
        if self.reads_on_standby(&prepared) {
            let passed = match reached {
                Reached::Yes => true,
                Reached::No(error) => return Err(error),
                Reached::NotAsked => false,
            };
            self.pin(passed).await?;
            if !prepared.is_current(&self.catalog(), self.settings.values()) {
                prepared = self.plan_again(&prepared)?;
            }
        }
        let columns = self.columns_of(&prepared)?;
        self.portals.insert(String::new(), Portal::new(prepared, values.into()));
        Ok(columns)
    }

    /// Whether a statement reads tables that no lock of this node protects.
    pub(super) fn reads_on_standby(&self, prepared: &Prepared) -> bool {
        matches!(prepared.plan, Plan::Query(_)) && !prepared.relations.is_empty() && self.engine.is_standby()
    }

    /// See [`crate::txn::Transaction::pin`].
    pub(super) async fn pin(&mut self, passed: bool) -> Result<()> {
        self.transaction()?;
        let deadline = self.settings.values().statement_timeout.map(|t| Instant::now() + t);
        let shared = self.shared.clone();
        shared.interruptible(deadline, pin!(self.transaction()?.pin(passed))).await
    }

    /// Whether somebody else has a table for itself that the statement names. The client is told of the columns before the
    /// statement runs, so a change that is under way must be waited for before it is bound.
    pub(super) fn is_changing(&self, prepared: &Prepared) -> bool {
        let locks = &self.engine.transactions().locks;
        let locked = |oid| self.block.transaction.as_ref().is_some_and(|t| t.has_table_lock(oid));
        let changing = |oid: &Oid| locks.is_wanted_alone(*oid) && !locked(*oid);
        prepared.columns.is_some() && prepared.relations.iter().any(changing)
    }

    /// Locks what the statement names; afterwards it has to be bound again.
    pub(super) async fn wait_for_changes(&mut self, prepared: &Prepared) -> Result<()> {
        let text = prepared.parsed.text.clone();
        self.become_active(&text);
        self.transaction()?;
        let deadline = self.settings.values().statement_timeout.map(|t| Instant::now() + t);
        let shared = self.shared.clone();
        shared.interruptible(deadline, pin!(self.lock_all_to_run(prepared))).await
    }

    async fn lock_all_to_run(&mut self, prepared: &Prepared) -> Result<()> {
        if let Some(table) = crate::dml::parts::changed_table(&prepared.plan)
            && self.check_writable(prepared.command()).is_ok()
        {
            self.lock_for_write(table).await?;
        }
        self.lock_all(prepared).await
    }

    fn plan_simple(&mut self, parsed: Parsed) -> Result<Arc<Prepared>> {
        if parsed.parameters > 0 && !super::plan::is_prepare(&parsed) {
            return Err(Error::new(
                crate::SqlState::UndefinedParameter,
                format!("there is no parameter ${}", parsed.parameters),
            ));
        }
        self.plan(Arc::new(parsed), Vec::new())
    }
}
