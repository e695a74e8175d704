//! Columns of the select list that are computed behind ORDER BY and LIMIT.

use std::collections::HashSet;

use super::query::calls_volatile_itself;
use crate::expr::{ColumnId, ScalarExpr};
use crate::sql::rel::{Rel, SortKey};

/// Columns that call volatile functions, other than in subqueries, are computed for the rows that remain, and in their order, as in PostgreSQL, unless they
/// are sorted by. `columns` gets what they are computed from instead; `restrict` computes them. Answers whether there are any.
pub(super) fn postpone(
    rel: &Rel,
    columns: &mut Vec<(ColumnId, ScalarExpr)>,
    restrict: &mut [(ColumnId, ScalarExpr)],
    keys: &[SortKey],
) -> bool {
    let mut sorted = HashSet::new();
    keys.iter().for_each(|key| key.expr.free_columns(&mut sorted));
    let (mut needed, mut gone) = (HashSet::new(), HashSet::new());
    for (id, place) in restrict.iter_mut() {
        let Some((_, expr)) = columns.iter().find(|(own, _)| own == id) else { continue };
        if sorted.contains(id) || !calls_volatile_itself(expr) {
            continue;
        }
        *place = expr.clone();
        expr.free_columns(&mut needed);
        gone.insert(*id);
    }
    columns.retain(|(id, _)| !gone.contains(id));
    for output in rel.outputs() {
        let known = columns.iter().any(|(own, _)| *own == output.id);
        if needed.contains(&output.id) && !known {
            columns.push((output.id, ScalarExpr::column(output.id, output.ty)));
        }
    }
    !gone.is_empty()
}
