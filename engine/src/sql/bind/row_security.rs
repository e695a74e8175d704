//! Row level security in statements: the conditions of policies stand around the scans of tables that are under it, below a
//! barrier, and beside the rows that a statement writes.
//!
//! Invariants:
//! 1. Whose policies they are follows from whom the table is read as: the owner of a view for what the view reads.
//! 2. No condition of the statement looks at a row before the policies have let it pass.
//! 3. What a policy reads needs no privilege on the policy's own table; its subqueries read as whoever the table is read as.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlparser::ast::{SelectItem, SetExpr, TableFactor};

use super::{Binder, BoundQuery, Expects, fold};
use crate::catalog::{Oid, PolicyCommand, PolicyExpression, RowPolicy, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::sql::parse::parse_query;
use crate::sql::rel::Rel;
use crate::sql::scope::{Scope, ScopeColumn, ScopeRelation};
use crate::types::{Datum, TypeOid};

/// What a statement does about policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policing {
    /// They are obeyed.
    On,
    /// `row_security = off`: a statement that they would restrict is refused.
    Refused,
    /// Nothing is read: a definition is looked at for its shape or its text.
    Unasked,
}

/// When a condition on written rows is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckTime {
    /// On a row to be inserted.
    Insert,
    /// On what a row becomes.
    Update,
    /// On the row that ON CONFLICT DO UPDATE is about to change.
    Conflict,
    /// On the row that MERGE is about to change, or to delete.
    MergeUpdate,
    MergeDelete,
}

/// A condition on a row that is written.
#[derive(Debug)]
pub struct PolicyCheck {
    pub time: CheckTime,
    /// The restrictive policy that it is; `None`: what at least one of the permissive ones must say.
    pub policy: Option<String>,
    pub expr: ScalarExpr,
}

/// The table that a statement changes, if it is under row security.
#[derive(Debug)]
pub(super) struct PolicedTarget {
    table: Arc<TableDef>,
    user: Oid,
    /// Columns that stand for those of the rows to be changed.
    pub columns: HashSet<ColumnId>,
    /// The statement reads one of them, so its rows must be visible to SELECT.
    pub read: bool,
}

/// What a statement does to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetChange {
    Insert { updates: bool },
    Update,
    Delete,
    Merge,
}

type Policies = Vec<Arc<RowPolicy>>;

/// Policies of a command, when they are asked, and whether USING is meant where there is WITH CHECK as well.
type Asked = (PolicyCommand, CheckTime, bool);

impl Binder {
    /// Whether policies decide on a table's rows for who reads it (42501 where they are not to).
    pub fn is_policed(&self, table: &TableDef, user: Oid) -> Result<bool> {
        let catalog = &self.environment.catalog;
        if self.environment.policing == Policing::Unasked || !catalog.is_under_row_security(user, table) {
            return Ok(false);
        }
        if self.environment.policing == Policing::On {
            return Ok(true);
        }
        let error = Error::new(
            SqlState::InsufficientPrivilege,
            format!("query would be affected by row-level security policy for table \"{}\"", table.name),
        );
        Err(match catalog.has_privileges_of(user, table.owner) {
            true => {
                error.hint("To disable the policy for the table's owner, use ALTER TABLE NO FORCE ROW LEVEL SECURITY.")
            }
            false => error,
        })
    }

    /// Whether they do for whoever runs the statement.
    pub fn is_policed_here(&self, table: &TableDef) -> Result<bool> {
        self.is_policed(table, self.uses_of.user)
    }

    /// The scan of a table in FROM, as far as its policies let rows pass.
    pub(super) fn policed_scan(&mut self, rel: Rel, table: &TableDef) -> Result<Rel> {
        let user = self.uses_of.user;
        if !self.is_policed(table, user)? {
            return Ok(rel);
        }
        let condition = self.visible(table, user, &[PolicyCommand::Select], &rel)?;
        Ok(rel.filter(Some(condition)).barrier())
    }

    /// FOR UPDATE and its like: rows to be locked are those that might be updated. `column` is one of the table's.
    pub(super) fn police_locks(&mut self, rel: &mut Rel, table: Oid, column: ColumnId) -> Result<()> {
        let user = self.uses_of.user;
        let Some(def) = self.environment.catalog.tables.get(&table).cloned() else { return Ok(()) };
        if !self.is_policed(&def, user)? {
            return Ok(());
        }
        match scan_of(rel, column) {
            Some(scan) => {
                let condition = self.visible(&def, user, &[PolicyCommand::Update], scan)?;
                let whole = std::mem::replace(scan, Rel::Unit);
                *scan = whole.filter(Some(condition)).barrier();
                Ok(())
            }
            None => Err(Error::internal("rows to be locked are not scanned")),
        }
    }

    /// The statement changes a table, as `user`.
    pub(super) fn begin_policed(&mut self, table: &Arc<TableDef>, user: Oid) -> Result<()> {
        let policed = self.is_policed(table, user)?;
        self.policed =
            policed.then(|| PolicedTarget { table: table.clone(), user, columns: HashSet::new(), read: false });
        Ok(())
    }

    pub fn has_policed_target(&self) -> bool {
        self.policed.is_some()
    }

    /// Whether a policy of the target, whatever for, holds a subquery.
    pub fn has_nested_policies(&self) -> bool {
        let nested = |p: &PolicedTarget| {
            let policies = self.environment.catalog.policies_of(p.table.oid);
            policies.iter().any(|policy| policy.expressions().any(|e| e.nested))
        };
        self.policed.as_ref().is_some_and(nested)
    }

    /// Lets the policies decide which rows a bound query of the target finds; the same condition over the columns of the
    /// target's scan, to be asked again when a row is locked. `column` is one that the scan defines.
    pub fn police_target(
        &mut self,
        query: &mut BoundQuery,
        column: ColumnId,
        change: TargetChange,
    ) -> Result<Option<ScalarExpr>> {
        let Some(target) = &self.policed else { return Ok(None) };
        let (table, user) = (target.table.clone(), target.user);
        let mut commands = match change {
            TargetChange::Update => vec![PolicyCommand::Update],
            TargetChange::Delete => vec![PolicyCommand::Delete],
            TargetChange::Insert { .. } | TargetChange::Merge => Vec::new(),
        };
        if target.read {
            commands.push(PolicyCommand::Select);
        }
        let Some(scan) = scan_of(&mut query.rel, column) else {
            return Err(Error::internal("rows to be changed are not scanned"));
        };
        let condition = self.visible(&table, user, &commands, scan)?;
        let whole = std::mem::replace(scan, Rel::Unit);
        *scan = whole.filter(Some(condition.clone())).barrier();
        self.complete(query);
        Ok(Some(condition))
    }

    /// What must hold of the rows that the statement writes, in this order, over the columns of the scope.
    pub fn target_checks(&mut self, change: TargetChange) -> Result<Option<(Scope, Vec<PolicyCheck>)>> {
        use CheckTime as T;
        use PolicyCommand as C;
        let Some(target) = &self.policed else { return Ok(None) };
        let (table, user, read) = (target.table.clone(), target.user, target.read);
        let (always, reading): (&[Asked], &[Asked]) = match change {
            TargetChange::Insert { updates: false } => {
                (&[(C::Insert, T::Insert, false)], &[(C::Select, T::Insert, true)])
            }
            TargetChange::Insert { updates: true } => (
                &[(C::Insert, T::Insert, false), (C::Update, T::Conflict, true), (C::Update, T::Update, false)],
                &[(C::Select, T::Insert, true), (C::Select, T::Conflict, true), (C::Select, T::Update, true)],
            ),
            TargetChange::Update => (&[(C::Update, T::Update, false)], &[(C::Select, T::Update, true)]),
            TargetChange::Delete => (&[], &[]),
            TargetChange::Merge => (
                &[
                    (C::Update, T::MergeUpdate, true),
                    (C::Update, T::Update, false),
                    (C::Delete, T::MergeDelete, true),
                    (C::Insert, T::Insert, false),
                ],
                &[(C::Select, T::Update, true)],
            ),
        };
        let scope = self.policy_scope(&table);
        let mut checks = Vec::new();
        for (command, time, using) in always.iter().chain(if read { reading } else { &[] }) {
            let of = |policy: &RowPolicy| match using {
                true => policy.using.clone(),
                false => policy.for_new_rows().cloned(),
            };
            let (permissive, restrictive) = self.policies(&table, user, *command);
            let any = self.any_of(&permissive, &of, &table, user, &scope)?;
            let denied = any.is_none();
            let expr = any.unwrap_or_else(|| ScalarExpr::constant(Datum::Bool(false), TypeOid::BOOL));
            checks.push(PolicyCheck { time: *time, policy: None, expr });
            // Where nothing is allowed, no restriction needs to be looked at.
            for policy in restrictive.iter().filter(|_| !denied) {
                if let Some(expression) = of(policy) {
                    let expr = self.policy_condition(&expression, &table, user, &scope)?;
                    checks.push(PolicyCheck { time: *time, policy: Some(policy.name.clone()), expr });
                }
            }
        }
        Ok(Some((scope, checks)))
    }

    /// Permissive and restrictive policies, the latter in the order of their names.
    fn policies(&self, table: &TableDef, user: Oid, command: PolicyCommand) -> (Policies, Policies) {
        self.environment.catalog.policies_for(user, table.oid, command).into_iter().partition(|p| p.permissive)
    }

    /// What rows must satisfy to be there for all of `commands`, over the columns of a scan.
    fn visible(&mut self, table: &TableDef, user: Oid, commands: &[PolicyCommand], scan: &Rel) -> Result<ScalarExpr> {
        let scope = self.policy_scope(table);
        let mut parts = Vec::new();
        for command in commands {
            let (permissive, restrictive) = self.policies(table, user, *command);
            let Some(any) = self.any_of(&permissive, &|p| p.using.clone(), table, user, &scope)? else {
                return Ok(ScalarExpr::constant(Datum::Bool(false), TypeOid::BOOL));
            };
            for policy in &restrictive {
                if let Some(using) = &policy.using {
                    parts.push(self.policy_condition(using, table, user, &scope)?);
                }
            }
            parts.push(any);
        }
        let mut condition =
            ScalarExpr::and(parts).unwrap_or_else(|| ScalarExpr::constant(Datum::Bool(true), TypeOid::BOOL));
        let Rel::Scan(scan) = scan else { return Err(Error::internal("policies are not put around a scan")) };
        let id = |attribute: i16| scan.columns.iter().find(|c| c.attnum == attribute).map(|c| c.output.id);
        let own = scope.relations.iter().flat_map(|r| &r.columns);
        let map: HashMap<ColumnId, ColumnId> = own.filter_map(|c| Some((c.id, id(c.attribute)?))).collect();
        condition.rename(&map);
        Ok(condition)
    }

    /// What one of the policies at least must say; `None`: none says anything.
    fn any_of(
        &mut self,
        policies: &[Arc<RowPolicy>],
        of: &dyn Fn(&RowPolicy) -> Option<PolicyExpression>,
        table: &TableDef,
        user: Oid,
        scope: &Scope,
    ) -> Result<Option<ScalarExpr>> {
        let mut parts = Vec::new();
        for expression in policies.iter().filter_map(|p| of(p)) {
            parts.push(self.policy_condition(&expression, table, user, scope)?);
        }
        Ok(match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(ScalarExpr::new(crate::expr::ExprKind::Or(parts), TypeOid::BOOL)),
        })
    }

    /// Columns of a table that nothing else in the statement names.
    fn policy_scope(&mut self, table: &TableDef) -> Scope {
        let (_, columns) = self.scan(table);
        let relation = ScopeRelation::new(table.name.clone(), table.oid.0, columns.clone());
        Scope { relations: vec![relation], merged: vec![], star: columns }
    }

    /// Binds one condition of a policy over the columns of a scope (42P17 for one that reads its own table by itself).
    fn policy_condition(
        &mut self,
        expression: &PolicyExpression,
        table: &TableDef,
        user: Oid,
        scope: &Scope,
    ) -> Result<ScalarExpr> {
        if expression.nested && self.policing_of.contains(&table.oid) {
            return Err(Error::new(
                SqlState::InvalidObjectDefinition,
                format!("infinite recursion detected in policy for relation \"{}\"", table.name),
            ));
        }
        let outer_user = std::mem::replace(&mut self.uses_of.user, user);
        if expression.nested {
            self.policing_of.push(table.oid);
        }
        let outer_calls = self.calls.replace(Vec::new());
        let bound = self.stored_condition(expression, table, scope, |b, expr| b.boolean(expr, "POLICY"));
        let calls = std::mem::replace(&mut self.calls, outer_calls).unwrap_or_default();
        // Names are looked up anew: whoever may make a function of one must not decide who sees what.
        let bound = bound.and_then(|bound| match calls == expression.calls {
            true => Ok(bound),
            false => Err(Error::new(
                SqlState::UndefinedFunction,
                format!(
                    "a policy on table \"{}\" calls a function that is no longer the one it was made with",
                    table.name
                ),
            )
            .hint("Create the policy anew.")),
        });
        if expression.nested {
            self.policing_of.pop();
        }
        self.uses_of.user = outer_user;
        bound
    }

    /// The stored text with the table's columns in reach, and none of the names around.
    fn stored_condition<T>(
        &mut self,
        expression: &PolicyExpression,
        table: &TableDef,
        scope: &Scope,
        f: impl FnOnce(&mut Binder, &sqlparser::ast::Expr) -> Result<T>,
    ) -> Result<T> {
        let (query, source) = parse_query(&expression.query)?;
        let SetExpr::Select(select) = &*query.body else { return Err(broken()) };
        let (Some(SelectItem::UnnamedExpr(expr)), Some(from)) = (select.projection.first(), select.from.first()) else {
            return Err(broken());
        };
        let TableFactor::Table { name, alias, .. } = &from.relation else { return Err(broken()) };
        let known_as: Arc<[(Oid, i16, String)]> = expression.known_as.as_slice().into();
        let outer_names = std::mem::replace(&mut self.known_as, known_as);
        let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let mut scope = scope.clone();
        let written = |b: &Binder, column: &ScopeColumn| {
            let name = table.attribute(column.attribute).map_or(column.name.as_str(), |c| c.name.as_str());
            ScopeColumn { name: b.column_known_as(table.oid, column.attribute, name).to_owned(), ..column.clone() }
        };
        for relation in &mut scope.relations {
            relation.name = alias.as_ref().map_or_else(|| parts.pop().unwrap_or_default(), |a| fold(&a.name));
            relation.schema = alias.is_none().then(|| parts.pop()).flatten();
            relation.columns = relation.columns.iter().map(|c| written(self, c)).collect();
            scope.star = relation.columns.clone();
        }
        // A function's parameters are no names of the policy's; how deep functions lie in each other is still counted.
        let outer_frame = self.frame.clone();
        if let Some(frame) = &mut self.frame {
            frame.hide();
        }
        let outer_uses = std::mem::take(&mut self.uses);
        let (in_aggregate, in_window) = (self.in_aggregate, self.in_window);
        (self.in_aggregate, self.in_window) = (false, false);
        let policed = self.policed.take();
        let bound = self.isolated(source, |b| b.in_scope(&scope, Expects::Other("policy expressions"), |b| f(b, expr)));
        self.policed = policed;
        (self.in_aggregate, self.in_window) = (in_aggregate, in_window);
        self.uses = outer_uses;
        self.frame = outer_frame;
        self.known_as = outer_names;
        bound
    }

    /// CREATE POLICY: the condition, bound over the table to find mistakes. Columns of the table that it reads, whether it
    /// holds subqueries, and the users' functions that it calls.
    pub fn bind_policy(&mut self, expr: &sqlparser::ast::Expr, table: &TableDef) -> Result<(Vec<i16>, bool, Vec<Oid>)> {
        let scope = self.table_scope(table, None);
        self.calls = Some(Vec::new());
        let bound = self.in_scope(&scope, Expects::Other("policy expressions"), |b| b.boolean(expr, "POLICY"));
        let calls = self.calls.take().unwrap_or_default();
        let bound = bound?;
        let mut free = HashSet::new();
        bound.free_columns(&mut free);
        let columns = scope.relations.iter().flat_map(|r| &r.columns).filter(|c| free.contains(&c.id));
        Ok((columns.map(|c| c.attribute).collect(), bound.has_subquery(), calls))
    }

    /// The text of a policy's condition, as pg_get_expr shows it.
    pub fn describe_policy(&mut self, expression: &PolicyExpression, table: &TableDef, pretty: bool) -> Result<String> {
        let scope = self.policy_scope(table);
        self.begin_description(pretty, Some(&table.name));
        let text = self.stored_condition(expression, table, &scope, |b, expr| {
            let bound = b.boolean(expr, "POLICY")?;
            b.description_of(&bound)
        });
        self.end_description();
        text
    }
}

fn broken() -> Error {
    Error::internal("the text of a policy is no condition over its table")
}

/// The scan of a real table that defines a column.
fn scan_of(rel: &mut Rel, column: ColumnId) -> Option<&mut Rel> {
    let defines = |rel: &Rel| match rel {
        Rel::Scan(scan) => {
            !scan.system && (scan.row_id == Some(column) || scan.columns.iter().any(|c| c.output.id == column))
        }
        _ => false,
    };
    if defines(rel) {
        return Some(rel);
    }
    rel.inputs_mut().into_iter().find_map(|input| scan_of(input, column))
}
