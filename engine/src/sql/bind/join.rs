//! Joins of FROM: their conditions, and the columns that USING and NATURAL merge.

use sqlparser::ast::{JoinConstraint, JoinOperator, TableWithJoins};
use sqlparser::tokenizer::Span;

use super::column::lookup_column;
use super::{Binder, Expects, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{JoinKind, Rel};
use crate::sql::scope::{Scope, ScopeColumn, ScopeRelation};
use crate::sql::spellings::USING_MARK;

impl Binder {
    /// Both scopes side by side (42712 for a name used twice).
    pub(super) fn combine(&mut self, mut left: Scope, right: Scope) -> Result<Scope> {
        for relation in &right.relations {
            let twice = left.relations.iter().any(|r| {
                r.name == relation.name
                    && (r.schema == relation.schema || r.schema.is_none() || relation.schema.is_none())
            });
            if twice && !relation.name.is_empty() {
                return Err(Error::new(
                    SqlState::DuplicateAlias,
                    format!("table name \"{}\" specified more than once", relation.name),
                ));
            }
        }
        left.relations.extend(right.relations);
        left.merged.extend(right.merged);
        left.star.extend(right.star);
        Ok(left)
    }

    /// One item; `left` is what LATERAL may name. The flag says whether it does.
    pub(super) fn table_with_joins(&mut self, item: &TableWithJoins, left: &Scope) -> Result<(Rel, Scope, bool)> {
        let (mut rel, mut scope, mut lateral) = self.factor(&item.relation, left)?;
        for join in &item.joins {
            let (kind, constraint) = match &join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
                JoinOperator::FullOuter(c) => (JoinKind::Full, c),
                JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
                _ => return Err(Error::unsupported("this kind of join")),
            };
            let seen = {
                let mut seen = left.clone();
                seen.relations.extend(scope.relations.iter().cloned());
                seen.merged.extend(scope.merged.iter().cloned());
                seen
            };
            let (right, right_scope, right_lateral) = self.factor(&join.relation, &seen)?;
            if right_lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
                return Err(Error::new(
                    SqlState::InvalidColumnReference,
                    "the combining JOIN type must be INNER or LEFT for a LATERAL reference",
                ));
            }
            let own = rel.clone();
            let mut from_left = false;
            if right_lateral {
                // Lateral over this join's own left side, or over an earlier FROM item?
                let mut free = std::collections::HashSet::new();
                right.free_columns(&mut free);
                let outputs = own.outputs();
                from_left = free.iter().any(|id| outputs.iter().any(|o| o.id == *id));
                lateral |= free.iter().any(|id| left.relations.iter().flat_map(|r| &r.columns).any(|c| c.id == *id));
            }
            (rel, scope) =
                self.join(rel, scope, right, right_scope, kind, constraint, from_left, &join.join_operator)?;
        }
        Ok((rel, scope, lateral))
    }

    #[allow(clippy::too_many_arguments)]
    fn join(
        &mut self,
        left: Rel,
        mut left_scope: Scope,
        right: Rel,
        mut right_scope: Scope,
        kind: JoinKind,
        constraint: &JoinConstraint,
        lateral: bool,
        operator: &JoinOperator,
    ) -> Result<(Rel, Scope)> {
        let filled = [
            (&mut left_scope, matches!(kind, JoinKind::Right | JoinKind::Full)),
            (&mut right_scope, matches!(kind, JoinKind::Left | JoinKind::Full)),
        ];
        for (scope, filled) in filled {
            scope.relations.iter_mut().for_each(|r| r.nullable |= filled);
        }
        let rel = |left, right, condition| Rel::Join {
            left: Box::new(left),
            right: Box::new(right),
            kind,
            condition,
            lateral,
        };
        match constraint {
            JoinConstraint::None => {
                if !matches!(operator, JoinOperator::CrossJoin(_)) {
                    return Err(Error::new(SqlState::SyntaxError, "syntax error: JOIN needs ON or USING"));
                }
                Ok((rel(left, right, None), self.combine(left_scope, right_scope)?))
            }
            JoinConstraint::On(condition) => {
                let scope = self.combine(left_scope, right_scope)?;
                let condition = self.in_scope(&scope, Expects::On, |b| b.boolean(condition, "JOIN/ON"))?;
                Ok((rel(left, right, Some(condition)), scope))
            }
            JoinConstraint::Using(names) => {
                let mut names: Vec<(String, Span)> = names
                    .iter()
                    .filter_map(|n| n.0.last().and_then(|p| p.as_ident()))
                    .map(|i| (fold(i), i.span))
                    .collect();
                let alias = names.last().and_then(|(name, _)| name.strip_prefix(USING_MARK).map(str::to_owned));
                names.truncate(names.len() - usize::from(alias.is_some()));
                let (rel, scope) = self.join_using(left, left_scope, right, right_scope, kind, &names, lateral)?;
                let Some(alias) = alias else { return Ok((rel, scope)) };
                // The columns of the list, found by the alias alone.
                let columns = scope.merged.iter().take(names.len());
                let columns = columns.map(|c| ScopeColumn { visible: false, ..c.clone() }).collect();
                let named = ScopeRelation::new(alias, 0, columns);
                let scope = self.combine(scope, Scope { relations: vec![named], ..Scope::default() })?;
                Ok((rel, scope))
            }
            JoinConstraint::Natural => {
                let names: Vec<(String, Span)> = left_scope
                    .star
                    .iter()
                    .filter(|c| right_scope.star.iter().any(|r| r.name == c.name))
                    .map(|c| (c.name.clone(), Span::empty()))
                    .collect();
                if let Some(naturals) = &mut self.naturals {
                    let merged = names.iter().map(|(name, _)| name.clone()).collect();
                    naturals.insert(std::ptr::from_ref(constraint) as usize, merged);
                }
                self.join_using(left, left_scope, right, right_scope, kind, &names, lateral)
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn join_using(
        &mut self,
        left: Rel,
        mut left_scope: Scope,
        right: Rel,
        mut right_scope: Scope,
        kind: JoinKind,
        names: &[(String, Span)],
        lateral: bool,
    ) -> Result<(Rel, Scope)> {
        let mut conditions = Vec::new();
        let mut merged = Vec::new();
        let mut computed = Vec::new();
        for (name, span) in names {
            let l = self.using_column(&left_scope, name, "left", *span)?;
            let r = self.using_column(&right_scope, name, "right", *span)?;
            self.note_column(l.id);
            self.note_column(r.id);
            let (le, re) = (ScalarExpr::column(l.id, l.ty), ScalarExpr::column(r.id, r.ty));
            conditions.push(self.operator("=", Some(le.clone()), re.clone(), *span)?);
            let same_type = l.ty.oid == r.ty.oid;
            let column = match kind {
                JoinKind::Right if same_type => r.clone(),
                JoinKind::Full => {
                    let (values, ty) = self.unify(vec![(le, *span), (re, *span)], "JOIN/USING", *span)?;
                    let id = self.fresh();
                    let merged = ScalarExpr::new(ExprKind::Coalesce(values), ty);
                    self.note_expression(id, &merged)?;
                    computed.push((id, merged));
                    ScopeColumn { id, ty, table: 0, attribute: 0, ..l.clone() }
                }
                _ if same_type => l.clone(),
                _ => {
                    let (values, ty) = self.unify(vec![(le, *span), (re, *span)], "JOIN/USING", *span)?;
                    // Of an inner join the one that is of the common type already.
                    let candidates = match kind {
                        JoinKind::Right => &values[1..],
                        JoinKind::Left => &values[..1],
                        _ => &values[..],
                    };
                    let is =
                        |c: &ScopeColumn, e: &ScalarExpr| matches!(e.kind, ExprKind::Column { id, .. } if id == c.id);
                    let as_it_is = candidates.iter().find_map(|e| [&l, &r].into_iter().find(|c| is(c, e)));
                    match (as_it_is, candidates.first()) {
                        (Some(column), _) => column.clone(),
                        (None, chosen) => {
                            let id = self.fresh();
                            if let Some(chosen) = chosen {
                                self.note_expression(id, chosen)?;
                            }
                            computed.extend(chosen.cloned().map(|e| (id, e)));
                            ScopeColumn { id, ty, table: 0, attribute: 0, ..l.clone() }
                        }
                    }
                }
            };
            hide(&mut left_scope, l.id);
            hide(&mut right_scope, r.id);
            merged.push(ScopeColumn { visible: true, ..column });
        }
        let mut rel = Rel::Join {
            left: Box::new(left),
            right: Box::new(right),
            kind,
            condition: ScalarExpr::and(conditions),
            lateral,
        };
        if !computed.is_empty() {
            let mut columns: Vec<_> =
                rel.outputs().into_iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
            // A projection may pass a column on under its own id: it stays one column.
            columns.extend(computed);
            rel = rel.project(columns);
        }
        let mut scope = self.combine(left_scope, right_scope)?;
        let mut star = merged.clone();
        star.append(&mut scope.star);
        scope.star = star;
        merged.append(&mut scope.merged);
        scope.merged = merged;
        Ok((rel, scope))
    }

    fn using_column(&self, scope: &Scope, name: &str, side: &str, span: Span) -> Result<ScopeColumn> {
        let error = match lookup_column(scope, name) {
            Ok(column) => return Ok(column.clone()),
            Err(true) => Error::new(
                SqlState::AmbiguousColumn,
                format!("common column name \"{name}\" appears more than once in {side} table"),
            ),
            Err(false) => Error::new(
                SqlState::UndefinedColumn,
                format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
            ),
        };
        Err(self.source.locate(error, span))
    }
}

fn hide(scope: &mut Scope, id: ColumnId) {
    scope.merged.retain(|c| c.id != id);
    scope.star.retain(|c| c.id != id);
    for column in scope.relations.iter_mut().flat_map(|r| &mut r.columns) {
        if column.id == id {
            column.visible = false;
        }
    }
}
