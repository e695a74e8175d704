//! The domain of a subquery, and how it is pushed down to where its columns are named.

use std::collections::{HashMap, HashSet};

use super::calls::{LIMIT_ROWS, OFFSET_ROWS, column, compare, int8, numbered, row_count, same};
use super::{MOST_COPIED, Unnester};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::query::empty;
use crate::query::narrow::narrowed;
use crate::sql::rel::{JoinKind, Output, Rel, SetOperation, SortKey};
use crate::types::{PgType, TypeOid};

/// The outer columns that a tree names, and the query that yields their distinct values.
#[derive(Clone)]
pub(super) struct Domain {
    pub(super) rel: Rel,
    /// Outer id, id in `rel`, type.
    pub(super) columns: Vec<(ColumnId, ColumnId, PgType)>,
    /// An ungrouped aggregation must have a row for every element, also where it finds nothing. Without it, it may
    /// leave those out: they are joined back as NULLs, which is what they would be.
    pub(super) every: bool,
}

impl Domain {
    /// Nothing below the query defines one of its outer columns: where one is named it is meant.
    fn occurs_in(&self, rel: &Rel) -> bool {
        let outer = |e: &ScalarExpr| match e.kind {
            ExprKind::Column { id, .. } => self.columns.iter().any(|(outer, ..)| *outer == id),
            _ => e.subquery().is_some_and(|rel| self.occurs_in(rel)),
        };
        rel.expressions().into_iter().any(|e| e.any(&outer)) || rel.inputs().into_iter().any(|r| self.occurs_in(r))
    }

    fn substitution(&self) -> HashMap<ColumnId, ScalarExpr> {
        self.columns.iter().map(|(outer, inner, ty)| (*outer, ScalarExpr::column(*inner, *ty))).collect()
    }

    fn pass(&self) -> Vec<(ColumnId, ScalarExpr)> {
        self.columns.iter().map(|(_, inner, ty)| (*inner, ScalarExpr::column(*inner, *ty))).collect()
    }
}

impl Unnester {
    /// The distinct values of some columns of `input`, in a copy of it under new names.
    pub(super) fn domain(
        &mut self,
        input: &Rel,
        named: &[ColumnId],
        types: &HashMap<ColumnId, PgType>,
    ) -> Result<Domain> {
        let mut copy = narrowed(input, &named.iter().copied().collect());
        let map = self.anew(&copy)?;
        copy.rename(&map);
        let mut columns = Vec::new();
        let mut projected = Vec::new();
        for id in named {
            let ty = types.get(id).copied().unwrap_or(TypeOid::TEXT.into());
            let new = self.fresh();
            projected.push((new, ScalarExpr::column(map.get(id).copied().unwrap_or(*id), ty)));
            columns.push((*id, new, ty));
        }
        Ok(Domain { rel: Rel::Distinct { input: Box::new(copy.project(projected)) }, columns, every: true })
    }

    /// The same domain under new names.
    pub(super) fn copy(&mut self, domain: &Domain) -> Result<Domain> {
        let map = self.anew(&domain.rel)?;
        let mut rel = domain.rel.clone();
        rel.rename(&map);
        let columns = domain.columns.iter().map(|(o, i, ty)| (*o, map.get(i).copied().unwrap_or(*i), *ty)).collect();
        Ok(Domain { rel, columns, every: domain.every })
    }

    /// New names for the columns of a copy of `rel`.
    ///
    /// Errors: 57014 when the query is given up; 54001 past [`MOST_COPIED`].
    fn anew(&mut self, rel: &Rel) -> Result<HashMap<ColumnId, ColumnId>> {
        self.stop.check()?;
        let mut defined = HashSet::new();
        rel.defined(&mut defined);
        self.copied += defined.len();
        if self.copied > MOST_COPIED {
            let detail = "Its correlated subqueries would be computed from too many copies of the queries around them.";
            return Err(Error::new(SqlState::StatementTooComplex, "statement is too complex").detail(detail));
        }
        Ok(defined.into_iter().map(|id| (id, self.fresh())).collect())
    }

    /// `rel` for every element of the domain: yields the domain's columns beside its own.
    pub(super) fn push(&mut self, domain: &Domain, rel: Rel) -> Result<Rel> {
        if !domain.occurs_in(&rel) {
            if matches!(rel, Rel::Unit) {
                return Ok(domain.rel.clone());
            }
            return Ok(domain.rel.clone().join(rel, JoinKind::Inner, None));
        }
        let map = domain.substitution();
        match rel {
            Rel::Filter { input, mut predicate } => {
                predicate.substitute(&map);
                Ok(self.push(domain, *input)?.filter(Some(predicate)))
            }
            Rel::Project { input, mut columns } => {
                columns.iter_mut().for_each(|(_, e)| e.substitute(&map));
                columns.extend(domain.pass());
                Ok(self.push(domain, *input)?.project(columns))
            }
            Rel::Series { input, mut calls, ordinality } => {
                calls.iter_mut().flat_map(|c| &mut c.args).for_each(|e| e.substitute(&map));
                let input = Box::new(self.push(domain, *input)?);
                Ok(Rel::Series { input, calls, ordinality })
            }
            Rel::Join { left, right, kind: JoinKind::Right, condition, lateral } => {
                let swapped = Rel::Join { left: right, right: left, kind: JoinKind::Left, condition, lateral };
                self.push(domain, swapped)
            }
            Rel::Join { left, right, kind, condition, .. } => {
                self.push_join(domain, *left, *right, kind, condition, &map)
            }
            Rel::Aggregate { input, groups, sets, grouping, aggregates } => {
                let mut node = Rel::Aggregate { input: Box::new(Rel::Unit), groups, sets, grouping, aggregates };
                node.expressions_mut(&mut |e| {
                    e.substitute(&map);
                    Ok(())
                })?;
                // What is below this aggregation has to be complete for it.
                let input = self.push(&Domain { every: true, ..domain.clone() }, *input)?;
                self.push_aggregate(domain, input, node)
            }
            Rel::Window { input, mut calls } => {
                for (_, call) in &mut calls {
                    call.args.iter_mut().chain(&mut call.filter).for_each(|e| e.substitute(&map));
                    call.partition_by.iter_mut().for_each(|e| e.substitute(&map));
                    call.order_by.iter_mut().for_each(|k| k.expr.substitute(&map));
                    call.partition_by.extend(domain.pass().into_iter().map(|(_, e)| e));
                }
                Ok(Rel::Window { input: Box::new(self.push(domain, *input)?), calls })
            }
            Rel::Sort { input, mut keys } => {
                keys.iter_mut().for_each(|k| k.expr.substitute(&map));
                Ok(Rel::Sort { input: Box::new(self.push(domain, *input)?), keys })
            }
            Rel::Distinct { input } => Ok(Rel::Distinct { input: Box::new(self.push(domain, *input)?) }),
            Rel::Limit { input, mut offset, mut count, .. } => {
                let order = match &*input {
                    Rel::Sort { keys, .. } => keys.clone(),
                    _ => vec![],
                };
                let mut order = order;
                order.iter_mut().for_each(|k| k.expr.substitute(&map));
                offset.iter_mut().chain(&mut count).for_each(|e| e.substitute(&map));
                let keys = domain.pass().into_iter().map(|(_, e)| e).collect();
                let input = self.push(domain, *input)?;
                self.push_limit(input, keys, order, offset, count)
            }
            Rel::SetOperation {
                operation: SetOperation::Union,
                all,
                left,
                right,
                mut outputs,
                mut left_columns,
                mut right_columns,
            } => {
                let other = self.copy(domain)?;
                let left = self.push(domain, *left)?;
                let right = self.push(&other, *right)?;
                let mut renamed = Vec::new();
                for ((_, l, ty), (_, r, _)) in domain.columns.iter().zip(&other.columns) {
                    let id = self.fresh();
                    outputs.push(Output { id, ty: *ty });
                    left_columns.push(*l);
                    right_columns.push(*r);
                    renamed.push((*l, ScalarExpr::column(id, *ty)));
                }
                let mut columns: Vec<_> = outputs
                    .iter()
                    .take(outputs.len() - renamed.len())
                    .map(|o| (o.id, ScalarExpr::column(o.id, o.ty)))
                    .collect();
                columns.extend(renamed);
                let union = Rel::SetOperation {
                    operation: SetOperation::Union,
                    all,
                    left: Box::new(left),
                    right: Box::new(right),
                    outputs,
                    left_columns,
                    right_columns,
                };
                Ok(union.project(columns))
            }
            Rel::Values { outputs, rows } => {
                let union = self.rows_as_queries(outputs, rows);
                self.push(domain, union)
            }
            Rel::Recursive { .. } | Rel::WorkTable { .. } => {
                Err(Error::unsupported("a recursive query that refers to an outer query"))
            }
            _ => Err(Error::unsupported("this reference to an outer query")),
        }
    }

    fn push_join(
        &mut self,
        domain: &Domain,
        left: Rel,
        right: Rel,
        kind: JoinKind,
        condition: Option<ScalarExpr>,
        map: &HashMap<ColumnId, ScalarExpr>,
    ) -> Result<Rel> {
        if kind == JoinKind::Full || kind == JoinKind::NullAwareAnti {
            return Err(Error::unsupported("this join of a reference to an outer query"));
        }
        let mut conditions: Vec<ScalarExpr> = condition.map(ScalarExpr::conjuncts).unwrap_or_default();
        conditions.iter_mut().for_each(|c| c.substitute(map));
        let (in_left, in_right) = (domain.occurs_in(&left), domain.occurs_in(&right));
        let (left, right) = if in_right && !in_left && kind == JoinKind::Inner {
            (left, self.push(domain, right)?)
        } else if in_right {
            let other = self.copy(domain)?;
            for ((_, l, ty), (_, r, _)) in domain.columns.iter().zip(&other.columns) {
                conditions.push(same(ScalarExpr::column(*l, *ty), ScalarExpr::column(*r, *ty)));
            }
            (self.push(domain, left)?, self.push(&other, right)?)
        } else {
            (self.push(domain, left)?, right)
        };
        Ok(left.join(right, kind, ScalarExpr::and(conditions)))
    }

    fn push_aggregate(&mut self, domain: &Domain, pushed: Rel, node: Rel) -> Result<Rel> {
        let Rel::Aggregate { mut groups, sets, grouping, aggregates, .. } = node else {
            return Err(Error::internal("not an aggregation"));
        };
        if sets.is_some() {
            return Err(Error::unsupported("grouping sets that refer to an outer query"));
        }
        let input = Box::new(pushed);
        if !groups.is_empty() || !domain.every {
            // The domain's columns pass through the grouping under their own ids.
            let input = Box::new(self.rename_pass(domain, *input, &mut groups));
            return Ok(Rel::Aggregate { input, groups, sets: None, grouping, aggregates });
        }
        // Without groups there is a row for every element of the domain, also where nothing was found.
        let other = self.copy(domain)?;
        let mut keys = Vec::new();
        let mut conditions = Vec::new();
        for ((_, own, ty), (_, outer, _)) in domain.columns.iter().zip(&other.columns) {
            let id = self.fresh();
            keys.push((id, ScalarExpr::column(*own, *ty)));
            conditions.push(same(ScalarExpr::column(*outer, *ty), ScalarExpr::column(id, *ty)));
        }
        let mut columns = Vec::new();
        let mut found = Vec::new();
        for (id, call) in aggregates {
            let inner = self.fresh();
            let value = ScalarExpr::column(inner, call.ty);
            let value = if empty::counts(call.function.name) {
                ScalarExpr::new(ExprKind::Coalesce(vec![value, int8(0)]), call.ty)
            } else {
                value
            };
            columns.push((id, value));
            found.push((inner, call));
        }
        for ((_, own, ty), (_, outer, _)) in domain.columns.iter().zip(&other.columns) {
            columns.push((*own, ScalarExpr::column(*outer, *ty)));
        }
        let grouped = Rel::Aggregate { input, groups: keys, sets: None, grouping: None, aggregates: found };
        let joined = Rel::Join {
            left: Box::new(other.rel),
            right: Box::new(grouped),
            kind: JoinKind::Left,
            condition: ScalarExpr::and(conditions),
            lateral: false,
        };
        Ok(joined.project(columns))
    }

    /// Adds the domain's columns to `groups` under their own ids; in the input they get others.
    fn rename_pass(&mut self, domain: &Domain, input: Rel, groups: &mut Vec<(ColumnId, ScalarExpr)>) -> Rel {
        let mut columns: Vec<_> = input.outputs().into_iter().map(|o| (o.id, ScalarExpr::column(o.id, o.ty))).collect();
        for (_, own, ty) in &domain.columns {
            let id = self.fresh();
            columns.push((id, ScalarExpr::column(*own, *ty)));
            groups.push((*own, ScalarExpr::column(id, *ty)));
        }
        input.project(columns)
    }

    fn push_limit(
        &mut self,
        input: Rel,
        keys: Vec<ScalarExpr>,
        order: Vec<SortKey>,
        offset: Option<ScalarExpr>,
        count: Option<ScalarExpr>,
    ) -> Result<Rel> {
        let id = self.fresh();
        let mut numbered = numbered(input, id, keys, order.clone())?;
        let (mut offset, mut count) = (offset, count);
        offset.iter_mut().chain(&mut count).try_for_each(|e| self.attach(&mut numbered, e))?;
        let mut row = column(id, TypeOid::INT8);
        let mut conditions = Vec::new();
        if let Some(offset) = offset {
            row = compare("-", row, row_count(&OFFSET_ROWS, offset)?)?;
            conditions.push(compare(">", row.clone(), int8(0))?);
        }
        if let Some(count) = count {
            conditions.push(compare("<=", row, row_count(&LIMIT_ROWS, count)?)?);
        }
        let rel = numbered.filter(ScalarExpr::and(conditions));
        Ok(if order.is_empty() { rel } else { Rel::Sort { input: Box::new(rel), keys: order } })
    }

    /// VALUES as a union of one-row queries.
    pub(super) fn rows_as_queries(&mut self, outputs: Vec<Output>, rows: Vec<Vec<ScalarExpr>>) -> Rel {
        let mut union: Option<(Rel, Vec<ColumnId>)> = None;
        let count = rows.len();
        for (i, row) in rows.into_iter().enumerate() {
            let last = i + 1 == count;
            let ids: Vec<ColumnId> = if last && count == 1 {
                outputs.iter().map(|o| o.id).collect()
            } else {
                outputs.iter().map(|_| self.fresh()).collect()
            };
            let query = Rel::Unit.project(ids.iter().copied().zip(row).collect());
            union = Some(match union {
                None => (query, ids),
                Some((left, left_columns)) => {
                    let outputs: Vec<_> = if last {
                        outputs.clone()
                    } else {
                        outputs.iter().map(|o| Output { id: self.fresh(), ty: o.ty }).collect()
                    };
                    let new: Vec<ColumnId> = outputs.iter().map(|o| o.id).collect();
                    let rel = Rel::SetOperation {
                        operation: SetOperation::Union,
                        all: true,
                        left: Box::new(left),
                        right: Box::new(query),
                        outputs,
                        left_columns,
                        right_columns: ids,
                    };
                    (rel, new)
                }
            });
        }
        union.map_or(Rel::Unit, |(rel, _)| rel)
    }
}
