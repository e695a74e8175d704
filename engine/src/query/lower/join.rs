//! Joins: the condition is split into keys, which are hashed, and the rest, which is checked on each pair.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality};
use datafusion::logical_expr::utils::{conjunction, expr_to_columns};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator, lit};

use super::expr::binary;
use super::{Lowering, plan_error};
use crate::error::Result;
use crate::expr::ScalarExpr;
use crate::sql::rel::{JoinKind, Rel};

impl Lowering<'_> {
    pub(super) fn join(
        &mut self,
        left: &Rel,
        right: &Rel,
        kind: JoinKind,
        condition: Option<&ScalarExpr>,
    ) -> Result<LogicalPlan> {
        let left = self.rel(left)?;
        let right = self.rel(right)?;
        let (mut plain, mut null_safe, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in condition.cloned().map(ScalarExpr::conjuncts).unwrap_or_default() {
            let lowered = self.expr(&part, &[left.schema(), right.schema()])?.expr;
            match key(&lowered, left.schema(), right.schema()) {
                Some((pair, false)) => plain.push((pair, lowered)),
                Some((pair, true)) => null_safe.push((pair, lowered)),
                None => rest.push(lowered),
            }
        }
        let whole = plain.len() == 1 && null_safe.is_empty() && rest.is_empty();
        if kind == JoinKind::NullAwareAnti && !whole {
            // DataFusion's own has exactly one key. Any other condition has to be false for all pairs of a row.
            let parts = plain.drain(..).chain(null_safe.drain(..)).map(|(_, e)| e).chain(rest);
            let open = conjunction(parts).map(|condition| binary(condition, Operator::IsDistinctFrom, lit(false)));
            rest = open.into_iter().collect();
        }
        // A join treats NULL in all of its keys alike: with both kinds the plain equalities are checked on the pairs.
        let (keys, null_equality) = if null_safe.is_empty() {
            (plain, NullEquality::NullEqualsNothing)
        } else {
            rest.extend(plain.into_iter().map(|(_, e)| e));
            (null_safe, NullEquality::NullEqualsNull)
        };
        let join_type = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti | JoinKind::NullAwareAnti => JoinType::LeftAnti,
        };
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            keys.into_iter().map(|(pair, _)| pair).collect(),
            conjunction(rest),
            join_type,
            JoinConstraint::On,
            null_equality,
            kind == JoinKind::NullAwareAnti && whole,
        )
        .map_err(plan_error)?;
        Ok(LogicalPlan::Join(join))
    }
}

/// The two sides of an equality between the inputs, left side first, and whether it is null-safe.
fn key(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<((Expr, Expr), bool)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = expr else {
        return None;
    };
    let null_safe = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return None,
    };
    let (a_in, b_in) = (side(a, left, right)?, side(b, left, right)?);
    match (a_in, b_in) {
        (true, false) => Some((((**a).clone(), (**b).clone()), null_safe)),
        (false, true) => Some((((**b).clone(), (**a).clone()), null_safe)),
        _ => None,
    }
}

/// True: only columns of the left input; false: only of the right; `None`: neither or both.
fn side(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<bool> {
    let mut columns: HashSet<Column> = HashSet::new();
    expr_to_columns(expr, &mut columns).ok()?;
    if columns.is_empty() {
        return None;
    }
    let all = |schema: &DFSchema| columns.iter().all(|c| schema.has_column(c));
    match (all(left), all(right)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}
