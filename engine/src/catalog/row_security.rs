//! Row level security: which tables are under it, and the policies that decide on their rows. Both are kept beside the table,
//! as its privileges are, and go with it.
//!
//! Invariant: a table without an entry of its own is not under row security, whatever policies it has.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::acl::PUBLIC;
use super::{Catalog, Oid, TableDef};

/// ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSecurity {
    pub table: Oid,
    pub enabled: bool,
    /// For the table's owner, too.
    pub forced: bool,
}

/// CREATE POLICY.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowPolicy {
    pub oid: Oid,
    pub name: String,
    pub table: Oid,
    /// One of those of which one must allow a row; else each of them must.
    pub permissive: bool,
    pub command: PolicyCommand,
    /// [`PUBLIC`] alone: everybody.
    pub roles: Vec<Oid>,
    /// Which rows are there.
    pub using: Option<PolicyExpression>,
    /// Which rows may be written; as `using` says where there is none.
    pub check: Option<PolicyExpression>,
    pub comment: Option<String>,
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyCommand {
    All,
    Select,
    Insert,
    Update,
    Delete,
}

impl PolicyCommand {
    /// As pg_policy shows it.
    pub fn letter(self) -> char {
        match self {
            PolicyCommand::All => '*',
            PolicyCommand::Select => 'r',
            PolicyCommand::Insert => 'a',
            PolicyCommand::Update => 'w',
            PolicyCommand::Delete => 'd',
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            PolicyCommand::All => "ALL",
            PolicyCommand::Select => "SELECT",
            PolicyCommand::Insert => "INSERT",
            PolicyCommand::Update => "UPDATE",
            PolicyCommand::Delete => "DELETE",
        }
    }
}

/// A condition over the rows of the policy's table, as the only item of a query over that table, with all names qualified:
/// subqueries in it are kept as a view keeps its query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyExpression {
    pub query: String,
    /// Whether it holds subqueries.
    pub nested: bool,
    /// Relations that are read, the table itself included.
    pub depends_on: Vec<Oid>,
    /// Columns of those that are read: they can't be dropped under it.
    pub columns_read: Vec<(Oid, i16)>,
    /// Functions of users that the text calls: it has their names, behind which others may come to stand.
    pub calls: Vec<Oid>,
    /// Columns that were renamed since, under the name that the text has for them.
    pub known_as: Vec<(Oid, i16, String)>,
}

impl RowPolicy {
    pub fn expressions(&self) -> impl Iterator<Item = &PolicyExpression> {
        self.using.iter().chain(&self.check)
    }

    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut PolicyExpression> {
        self.using.iter_mut().chain(&mut self.check)
    }

    pub fn reads_column(&self, relation: Oid, attnum: i16) -> bool {
        self.expressions().any(|e| e.columns_read.contains(&(relation, attnum)))
    }

    /// The condition on rows that are written.
    pub fn for_new_rows(&self) -> Option<&PolicyExpression> {
        self.check.as_ref().or(self.using.as_ref())
    }
}

impl Catalog {
    pub fn row_security_of(&self, table: Oid) -> RowSecurity {
        self.row_security.get(&table).copied().unwrap_or(RowSecurity { table, enabled: false, forced: false })
    }

    /// Whether policies decide which rows of a table there are for a role.
    pub fn is_under_row_security(&self, role: Oid, table: &TableDef) -> bool {
        let Some(security) = self.row_security.get(&table.oid).filter(|s| s.enabled) else { return false };
        let passes = self.roles.get(&role).is_some_and(|r| r.superuser || r.bypass_row_security);
        !passes && (security.forced || !self.has_privileges_of(role, table.owner))
    }

    /// Policies of a table in the order of their names.
    pub fn policies_of(&self, table: Oid) -> Vec<&Arc<RowPolicy>> {
        let mut found: Vec<_> = self.policies.values().filter(|p| p.table == table).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    pub fn policy(&self, table: Oid, name: &str) -> Option<&Arc<RowPolicy>> {
        self.policies.values().find(|p| p.table == table && p.name == name)
    }

    /// Policies that speak of a command to a role.
    pub fn policies_for(&self, role: Oid, table: Oid, command: PolicyCommand) -> Vec<Arc<RowPolicy>> {
        let mut found = self.policies_of(table);
        found.retain(|p| p.command == PolicyCommand::All || p.command == command);
        found.retain(|p| p.roles.iter().any(|r| *r == PUBLIC || self.has_privileges_of(role, *r)));
        found.into_iter().cloned().collect()
    }

    /// Policies of other tables that read a relation.
    pub fn policies_on(&self, relation: Oid) -> impl Iterator<Item = &Arc<RowPolicy>> {
        let reads = move |p: &RowPolicy| p.expressions().any(|e| e.depends_on.contains(&relation));
        self.policies.values().filter(move |p| p.table != relation && reads(p))
    }
}
