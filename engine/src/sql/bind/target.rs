//! The row sets of UPDATE and DELETE.

use sqlparser::ast;

use super::query::{Bound, OutColumn};
use super::view_target::{ViewCondition, ViewLevel};
use super::{Binder, BoundQuery, Expects, Target, fold};
use crate::catalog::{LATER, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{JoinKind, Rel, Scan};
use crate::sql::scope::{Scope, ScopeRelation};
use crate::types::TypeOid;

impl Binder {
    /// UPDATE and DELETE: the rows to change. `table` is the one that was named, or one that inherits from it.
    pub fn bind_target(
        &mut self,
        (table, named): (&TableDef, &TableDef),
        views: &[ViewLevel],
        alias: Option<&ast::TableAlias>,
        from: &[ast::TableWithJoins],
        selection: Option<&ast::Expr>,
    ) -> Result<(Target, Vec<ViewCondition>)> {
        let (scan, mut scope, row_id) = self.target_scan(table, named, alias)?;
        let mut conditions = Vec::new();
        if !views.is_empty()
            && let Some(relation) = scope.relations.pop()
        {
            let (relation, found) = self.over_views(relation, views, alias)?;
            self.note_view_columns(&relation.columns);
            scope.star = relation.columns.clone();
            scope.relations.push(relation);
            conditions = found;
        }
        let mut rel = Rel::Scan(scan.clone());
        if !from.is_empty() {
            // The target is not in reach of FROM's own subqueries, as in PostgreSQL.
            let (mut right, mut right_scope) = self.from(from)?;
            if super::select::names_row_ids(self.source.text()) {
                self.give_row_ids(&mut right, &mut right_scope);
            }
            for relation in &right_scope.relations {
                if scope.relations.iter().any(|r| r.name == relation.name) {
                    return Err(Error::new(
                        SqlState::DuplicateAlias,
                        format!("table name \"{}\" specified more than once", relation.name),
                    ));
                }
            }
            rel = Rel::Join {
                left: Box::new(rel),
                right: Box::new(right),
                kind: JoinKind::Inner,
                condition: None,
                lateral: false,
            };
            scope.relations.extend(right_scope.relations);
            scope.merged.extend(right_scope.merged);
            scope.star.extend(right_scope.star);
        }
        let filter = match selection {
            Some(selection) => Some(self.in_scope(&scope, Expects::Where, |b| b.boolean(selection, "WHERE"))?),
            None => None,
        };
        let barrier = views.iter().any(|level| level.view.is_barrier());
        let parts = conditions.iter().map(|c| c.expr.clone());
        let filter = if barrier {
            // One after the other: none looks at rows that those before it keep back.
            for condition in parts {
                rel = rel.filter(Some(condition)).barrier();
            }
            filter
        } else {
            ScalarExpr::and(parts.chain(filter).collect())
        };
        let columns = scan.columns.clone();
        // Where a row lies is known to the query alone.
        let placed = |f: &ScalarExpr| f.any(&|e| matches!(e.kind, ExprKind::Column { id, .. } if id == row_id));
        let plain = from.is_empty()
            && !barrier
            && !self.has_nested_policies()
            && !filter.as_ref().is_some_and(|f| f.has_subquery() || placed(f));
        let simple = plain.then(|| (scan, filter.clone()));
        Ok((Target { scope, rel: rel.filter(filter), row_id, columns, simple }, conditions))
    }

    /// The target of a change: its scan with row ids, and its names.
    fn target_scan(
        &mut self,
        table: &TableDef,
        named: &TableDef,
        alias: Option<&ast::TableAlias>,
    ) -> Result<(Scan, Scope, ColumnId)> {
        self.reads.push(table.oid);
        let (rel, columns) = self.scan(table);
        let Rel::Scan(mut scan) = rel else {
            return Err(Error::internal("a table's scan is not a scan"));
        };
        self.note_target_columns(table.oid, &columns);
        self.note_policed(&columns);
        let (columns, rows_of) = self.columns_as_named(table, named, columns);
        let (later, columns): (Vec<_>, Vec<_>) = columns.into_iter().partition(|c| c.name == LATER);
        let row_id = self.fresh();
        scan.row_id = Some(row_id);
        let name = alias.map_or_else(|| named.name.clone(), |a| fold(&a.name));
        let relation = ScopeRelation {
            schema: alias.is_none().then(|| self.environment.catalog.schema_name(named.schema).to_string()),
            later,
            real_name: alias.map(|_| named.name.clone()),
            row_id: Some(row_id),
            rows_of,
            ..ScopeRelation::new(name, named.oid.0, columns.clone())
        };
        Ok((scan, Scope { relations: vec![relation], merged: vec![], star: columns }, row_id))
    }

    /// MERGE: the rows of the source, each with the row of the target, or of a table that inherits from it, that it meets; those
    /// that meet none only if they are `wanted`. Answers the scope of those that meet none as well.
    pub fn bind_merge(
        &mut self,
        (table, only): (&TableDef, bool),
        alias: Option<&ast::TableAlias>,
        source: &ast::TableFactor,
        on: &ast::Expr,
        wanted: bool,
    ) -> Result<(Target, Scope)> {
        let (scan, mut scope, row_id) = self.target_scan(table, table, alias)?;
        let columns = scan.columns.clone();
        let (target, row_id) = match only {
            true => (Rel::Scan(scan), row_id),
            false => self.family_target(table, &mut scope)?,
        };
        let item = ast::TableWithJoins { relation: source.clone(), joins: vec![] };
        let (left, source_scope) = self.from(std::slice::from_ref(&item))?;
        for relation in &source_scope.relations {
            if scope.relations.iter().any(|r| r.name == relation.name) {
                return Err(Error::new(
                    SqlState::DuplicateAlias,
                    format!("name \"{}\" specified more than once", relation.name),
                )
                .detail("The name is used both as MERGE target table and data source."));
            }
        }
        scope.relations.extend(source_scope.relations.iter().cloned());
        scope.merged.extend(source_scope.merged.iter().cloned());
        scope.star.extend(source_scope.star.iter().cloned());
        let condition = self.in_scope(&scope, Expects::On, |b| b.boolean(on, "JOIN/ON"))?;
        let rel = Rel::Join {
            left: Box::new(left),
            right: Box::new(target),
            kind: if wanted { JoinKind::Left } else { JoinKind::Inner },
            condition: Some(condition),
            lateral: false,
        };
        // Where no row is met, the target's names are known and out of reach.
        let mut unmet = scope.clone();
        unmet.star = source_scope.star;
        if let Some(target) = unmet.relations.first_mut() {
            target.lateral_ok = false;
        }
        Ok((Target { scope, rel, row_id, columns, simple: None }, unmet))
    }

    /// The rows of a target's whole family, under the names that `scope` has for the target.
    fn family_target(&mut self, table: &TableDef, scope: &mut Scope) -> Result<(Rel, ColumnId)> {
        let (mut rel, columns, rows_of) = self.family_scan(table, false);
        let place = self.family_place(&mut rel).ok_or_else(|| Error::internal("a family without places"))?;
        self.note_target_columns(table.oid, &columns);
        scope.star = columns.clone();
        if let Some(relation) = scope.relations.first_mut() {
            (relation.columns, relation.row_id, relation.rows_of) = (columns, Some(place.row_id), rows_of);
        }
        Ok((rel, place.row_id))
    }

    /// The target's rows with `expressions` (bound over its scope) computed, as a query that returns
    /// row id, then the expressions. For the general path.
    pub fn target_query(&mut self, target: Target, expressions: Vec<ScalarExpr>) -> Result<BoundQuery> {
        let mut columns = vec![(target.row_id, ScalarExpr::column(target.row_id, TypeOid::INT8))];
        for expr in expressions {
            columns.push((self.fresh(), expr));
        }
        let out = columns
            .iter()
            .map(|(id, e)| OutColumn { name: String::new(), id: *id, ty: e.ty, table: 0, attribute: 0 })
            .collect();
        let bound = Bound::new(target.rel.project(columns), out);
        Ok(self.finish_query(bound))
    }
}
