//! FOR UPDATE of a subquery in FROM, or of a view: it locks the rows of the tables below (manual, "The Locking Clause").
//!
//! The query inside is bound with the clauses as its own; what tells where its rows lie stands beside its columns, and the query
//! around it locks them.

use sqlparser::ast;

use super::inherited::Place;
use super::{Binder, LockRequest, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::ColumnId;
use crate::sql::rewrite::KEY_MARK;
use crate::sql::scope::Scope;

#[derive(Debug, Default)]
pub(super) struct PushedLocks {
    /// The clauses of the query whose FROM is being bound.
    clauses: Vec<ast::LockClause>,
    /// Those for the query that is bound next.
    next: Vec<ast::LockClause>,
    /// What the queries of this FROM have left, each by its first column.
    found: Vec<(Option<ColumnId>, Vec<Lock>)>,
}

/// A lock, and where the rows lie that it is on.
type Lock = (LockRequest, Place);

impl PushedLocks {
    pub fn of(clauses: &[ast::LockClause]) -> PushedLocks {
        PushedLocks { clauses: clauses.to_vec(), ..PushedLocks::default() }
    }

    /// Those of a query with `own` ones, and what the query around it has for it.
    pub fn take(&mut self, own: &[ast::LockClause]) -> Vec<ast::LockClause> {
        own.iter().cloned().chain(std::mem::take(&mut self.next)).collect()
    }

    pub fn take_next(&mut self) -> Vec<ast::LockClause> {
        std::mem::take(&mut self.next)
    }

    pub fn set_next(&mut self, clauses: Vec<ast::LockClause>) {
        self.next = clauses;
    }

    /// The query that is bound next stands in FROM under this name.
    pub fn push(&mut self, name: &str) {
        let concerned = self.clauses.iter().filter(|clause| concerns(clause, name));
        self.next = concerned.map(|clause| ast::LockClause { of: strength_mark(clause), ..clause.clone() }).collect();
    }

    pub fn is_pushing(&self) -> bool {
        !self.next.is_empty()
    }

    pub fn leave(&mut self, column: Option<ColumnId>, locks: Vec<(LockRequest, Place)>) {
        if !locks.is_empty() {
            self.found.push((column, locks));
        }
    }
}

impl Binder {
    /// The locks that the queries of a FROM have left to the query at hand; 0A000 for rows that may not be there.
    pub(super) fn locks_below(&self, below: PushedLocks, scope: &Scope) -> Result<Vec<(LockRequest, Place)>> {
        let mut out = Vec::new();
        for (column, locks) in below.found {
            let relation =
                scope.relations.iter().find(|r| column.is_some() && r.columns.first().map(|c| c.id) == column);
            if let Some((lock, _)) = locks.first().filter(|_| relation.is_some_and(|r| r.nullable)) {
                let word = lock.strength.clause();
                let message = format!("{word} cannot be applied to the nullable side of an outer join");
                return Err(Error::new(SqlState::FeatureNotSupported, message));
            }
            out.extend(locks);
        }
        Ok(out)
    }
}

/// What is left of a clause without its names.
fn strength_mark(clause: &ast::LockClause) -> Option<ast::ObjectName> {
    let first = clause.of.as_ref()?.0.first()?;
    let marked = first.as_ident().is_some_and(|name| name.value == KEY_MARK);
    marked.then(|| ast::ObjectName(vec![first.clone()]))
}

fn concerns(clause: &ast::LockClause, name: &str) -> bool {
    let last = clause.of.as_ref().and_then(|of| of.0.last()).and_then(|part| part.as_ident());
    last.is_none_or(|of| of.value == KEY_MARK || fold(of) == name)
}
