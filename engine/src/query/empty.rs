//! What an ungrouped aggregation yields where it finds no rows: mostly NULLs, and then a subquery over it can be joined
//! back by an outer join, without a row of its own for every element of its domain.

use std::collections::HashMap;

use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::{EvalContext, Volatility};
use crate::sql::rel::Rel;
use crate::types::Datum;

impl ColumnSource for HashMap<ColumnId, Datum> {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        self.get(&id).cloned()
    }
}

/// Whether `rel` is an ungrouped aggregation, or computes on one, whose columns are all NULL if it finds no rows.
pub(super) fn is_null_without_rows(rel: &Rel) -> bool {
    values_without_rows(rel).is_some_and(|values| values.values().all(Datum::is_null))
}

fn values_without_rows(rel: &Rel) -> Option<HashMap<ColumnId, Datum>> {
    match rel {
        Rel::Aggregate { groups, sets: None, aggregates, .. } if groups.is_empty() => {
            let value = |name| if counts(name) { Datum::Int8(0) } else { Datum::Null };
            Some(aggregates.iter().map(|(id, call)| (*id, value(call.function.name))).collect())
        }
        Rel::Project { input, columns } => {
            let row = values_without_rows(input)?;
            let value = |(id, expr): &(ColumnId, ScalarExpr)| {
                let value = is_immutable(expr).then(|| eval(expr, &row, &[], &EvalContext::default()).ok())??;
                Some((*id, value))
            };
            columns.iter().map(value).collect()
        }
        _ => None,
    }
}

/// Aggregates that count: 0 without rows, where all others are NULL.
pub(super) fn counts(name: &str) -> bool {
    matches!(name, "count" | "regr_count")
}

fn is_immutable(expr: &ScalarExpr) -> bool {
    fn walk(expr: &mut ScalarExpr) -> bool {
        let own = match &expr.kind {
            ExprKind::Call { function, .. } => function.volatility == Volatility::Immutable,
            ExprKind::Query(_) => false,
            _ => true,
        };
        let mut all = own;
        let _ = expr.children_mut(&mut |child| {
            all = all && walk(child);
            Ok(())
        });
        all
    }
    walk(&mut expr.clone())
}
