//! DELETE.

use std::sync::Arc;

use sqlparser::ast;

use super::foreign_key::{ForeignKeys, Pending};
use super::insert::bind_returning;
use super::row_expr::Returning;
use super::target::{TargetPlan, TargetRow};
use super::update::Member;
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::session::portal::Changed;
use crate::session::{Row, Session};
use crate::sql::Binder;
use crate::sql::bind::row_security::TargetChange;
use crate::sql::bind::view_target::{ViewChange, ViewLevel};
use crate::sql::current_of;
use crate::storage::Table;
use crate::txn::{Reads, RowLock};
use crate::types::Datum;

pub struct DeletePlan {
    pub def: Arc<TableDef>,
    keys: ForeignKeys,
    pub target: TargetPlan,
    pub returning: Option<Returning>,
    /// The same for each table that inherits from the target.
    heirs: Vec<DeletePlan>,
}

impl DeletePlan {
    /// Whether parts of it run on the general path, after rows were written.
    pub fn has_row_queries(&self) -> bool {
        self.returning.as_ref().is_some_and(Returning::is_query)
    }

    /// The plans of the target and of its heirs.
    pub fn members(&self) -> impl Iterator<Item = &DeletePlan> {
        std::iter::once(self).chain(&self.heirs)
    }
}

pub fn plan(
    session: &mut Session,
    delete: &ast::Delete,
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<DeletePlan> {
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    let [from] = from.as_slice() else {
        return Err(Error::new(SqlState::SyntaxError, "DELETE names one table"));
    };
    let ast::TableFactor::Table { name, alias, .. } = &from.relation else {
        return Err(Error::unsupported("DELETE from something that is not a table"));
    };
    if !from.joins.is_empty() || !delete.tables.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() {
        return Err(Error::new(SqlState::SyntaxError, "syntax error in DELETE"));
    }
    let (def, only, views) = session.resolve_target(name, catalog, ViewChange::Delete)?;
    let using = delete.using.as_deref().unwrap_or(&[]);
    let on = views.iter().map(|level| &level.view);
    binder.begin_target_through(&def, on, Rights::DELETE)?;
    let cursor = current_of::cursor(delete.selection.as_ref());
    if cursor.is_some() && !views.is_empty() {
        return Err(Error::new(SqlState::FeatureNotSupported, "WHERE CURRENT OF on a view is not implemented"));
    }
    binder.check_family(only)?;
    let family = if only { vec![def.clone()] } else { catalog.family(def.oid) };
    let mut plans = Vec::with_capacity(family.len());
    for member in &family {
        let place = Member { def: member, named: &def, alone: only };
        plans.push(plan_member(session, delete, (alias.as_ref(), using), &place, &views, catalog, binder, parameters)?);
        binder.end_target();
    }
    let mut plan = plans.remove(0);
    plan.heirs = plans;
    Ok(plan)
}

#[allow(clippy::too_many_arguments)]
fn plan_member(
    session: &mut Session,
    delete: &ast::Delete,
    (alias, using): (Option<&ast::TableAlias>, &[ast::TableWithJoins]),
    member: &Member<'_>,
    views: &[ViewLevel],
    catalog: &Arc<Catalog>,
    binder: &mut Binder,
    parameters: usize,
) -> Result<DeletePlan> {
    let (def, cursor) = (member.def, current_of::cursor(delete.selection.as_ref()));
    let condition = delete.selection.as_ref().filter(|_| cursor.is_none());
    let (target, _) = binder.bind_target((def, member.named), views, alias, using, condition)?;
    let scope = target.scope.clone();
    let point_path = member.point_methods(session);
    let mut target = TargetPlan::bind(binder, def, target, Vec::new(), point_path, parameters)?;
    if cursor.is_some() && !target.is_simple() {
        return Err(Error::unsupported("WHERE CURRENT OF in a statement with subqueries"));
    }
    target.cursor = cursor.map(str::to_owned);
    let returning = match &delete.returning {
        None => None,
        Some(items) => Some(bind_returning(items, &scope, &target.columns, binder, parameters)?),
    };
    target.police(binder, TargetChange::Delete, parameters)?;
    let keys = ForeignKeys::of(def, catalog);
    Ok(DeletePlan { def: def.clone(), keys, target, returning, heirs: Vec::new() })
}

pub async fn execute(session: &mut Session, plan: &DeletePlan, params: &Arc<[Datum]>) -> Result<Changed> {
    let reads = if plan.heirs.is_empty() { plan.target.reads() } else { Reads::Snapshot };
    session.begin_statement(reads).await?;
    // All are found and locked before the first goes.
    let mut found = Vec::with_capacity(1 + plan.heirs.len());
    for member in plan.members() {
        let table = session.table(member.def.oid)?;
        let rows = member.target.rows(session, &table, params, RowLock::Update).await?;
        found.push((member, table, rows));
    }
    let mut pending = Pending::default();
    let mut changed = Changed { count: 0, returned: Vec::new() };
    for (member, table, rows) in found {
        member.remove(session, &table, rows, params, (&mut pending, &mut changed)).await?;
    }
    session.finish_change(pending).await?;
    if plan.returning.is_some() {
        session.transaction()?.wait_for_dependencies().await?;
    }
    Ok(changed)
}

impl DeletePlan {
    /// Takes the rows out of one table.
    async fn remove(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        rows: Vec<TargetRow>,
        params: &Arc<[Datum]>,
        (pending, changed): (&mut Pending, &mut Changed),
    ) -> Result<()> {
        for (i, target) in rows.into_iter().enumerate() {
            if i % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
            pending.gone(&self.def, &self.keys, &target.row, None);
            if let Some(returning) = &self.returning {
                let seen: Row = target.row.iter().cloned().chain(target.joined).collect();
                let mut out = Row::with_capacity(returning.exprs.len());
                for expr in &returning.exprs {
                    out.push(expr.eval(session, &seen, params).await?);
                }
                changed.returned.push(out);
            }
            session.transaction()?.delete(table, &target.key).await?;
            session.note_written(self.def.oid, &target.key);
            changed.count += 1;
        }
        Ok(())
    }
}
