//! The row sets of UPDATE and DELETE.

use sqlparser::ast;

use super::query::{Bound, OutColumn};
use super::{Binder, BoundQuery, Expects, Target, fold};
use crate::catalog::TableDef;
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::sql::rel::{JoinKind, Rel};
use crate::sql::scope::{Scope, ScopeRelation};
use crate::types::TypeOid;

impl Binder {
    /// UPDATE and DELETE: the rows to change.
    pub fn bind_target(
        &mut self,
        table: &TableDef,
        alias: Option<&ast::TableAlias>,
        from: &[ast::TableWithJoins],
        selection: Option<&ast::Expr>,
    ) -> Result<Target> {
        self.reads.push(table.oid);
        let (rel, columns) = self.scan(table);
        let Rel::Scan(mut scan) = rel else {
            return Err(Error::internal("a table's scan is not a scan"));
        };
        let row_id = self.fresh();
        scan.row_id = Some(row_id);
        let relation = ScopeRelation {
            name: alias.map_or_else(|| table.name.clone(), |a| fold(&a.name)),
            schema: alias.is_none().then(|| self.environment.catalog.schema_name(table.schema).to_string()),
            columns: columns.clone(),
            real_name: alias.map(|_| table.name.clone()),
            table: table.oid.0,
            scalar: false,
            lateral_ok: true,
            nullable: false,
        };
        let mut scope = Scope { relations: vec![relation], merged: vec![], star: columns };
        let mut rel = Rel::Scan(scan.clone());
        if !from.is_empty() {
            // The target is not in reach of FROM's own subqueries, as in PostgreSQL.
            let (right, right_scope) = self.from(from)?;
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
        let plain = from.is_empty() && !filter.as_ref().is_some_and(|f| f.has_subquery());
        let simple = plain.then(|| (scan, filter.clone()));
        Ok(Target { scope, rel: rel.filter(filter), row_id, simple })
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
