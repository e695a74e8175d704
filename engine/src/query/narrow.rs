//! What of a relation a set of its columns hangs on: the copies from which domains are taken ([`super::unnest`]) leave
//! out what only adds columns to rows. Without this a statement with n correlated subqueries side by side would grow
//! as 2^n: the copy for each would hold the joins of those before it.

use std::collections::HashSet;

use crate::expr::{ColumnId, ScalarExpr};
use crate::sql::rel::{JoinKind, Rel};

/// A relation whose distinct rows of the columns `needed` are those of `rel`; how often each comes, and in which order,
/// is not kept.
pub(super) fn narrowed(rel: &Rel, needed: &HashSet<ColumnId>) -> Rel {
    match rel {
        Rel::Join { left, right, kind, condition, lateral: false } => {
            let adds_columns =
                *kind == JoinKind::Left || (*kind == JoinKind::Inner && condition.is_none() && exactly_one_row(right));
            if adds_columns && right.outputs().iter().all(|o| !needed.contains(&o.id)) {
                return narrowed(left, needed);
            }
            let needed = with_columns_of(needed, condition);
            Rel::Join {
                left: Box::new(narrowed(left, &needed)),
                right: Box::new(narrowed(right, &needed)),
                kind: *kind,
                condition: condition.clone(),
                lateral: false,
            }
        }
        Rel::Filter { input, predicate } => {
            let needed = with_columns_of(needed, [predicate]);
            narrowed(input, &needed).filter(Some(predicate.clone()))
        }
        Rel::Project { input, columns } => {
            let mut kept: Vec<_> = columns.iter().filter(|(id, _)| needed.contains(id)).cloned().collect();
            if kept.is_empty() {
                kept.extend(columns.first().cloned());
            }
            let needed = with_columns_of(&HashSet::new(), kept.iter().map(|(_, expr)| expr));
            narrowed(input, &needed).project(kept)
        }
        Rel::Window { input, calls } if calls.iter().all(|(id, _)| !needed.contains(id)) => narrowed(input, needed),
        Rel::Sort { input, .. } => narrowed(input, needed),
        // Of nested subqueries each takes its domain from the one around it, whose own would multiply.
        Rel::Distinct { input } => Rel::Distinct { input: Box::new(narrowed(input, needed)) },
        // Other nodes count or order the rows of their inputs, or tell them apart by more than these columns.
        rel => rel.clone(),
    }
}

fn with_columns_of<'a>(
    needed: &HashSet<ColumnId>,
    exprs: impl IntoIterator<Item = &'a ScalarExpr>,
) -> HashSet<ColumnId> {
    let mut all = needed.clone();
    exprs.into_iter().for_each(|expr| expr.free_columns(&mut all));
    all
}

/// Neither drops a row that it is joined to, nor repeats one.
pub(super) fn exactly_one_row(rel: &Rel) -> bool {
    match rel {
        Rel::Unit => true,
        Rel::Aggregate { groups, sets, .. } => groups.is_empty() && sets.is_none(),
        Rel::Project { input, .. } | Rel::Sort { input, .. } => exactly_one_row(input),
        _ => false,
    }
}
