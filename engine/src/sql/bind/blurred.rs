//! DISTINCT, set operations and recursion under collations that hold different strings equal: of each group of equal rows the first
//! is shown.

use sqlparser::tokenizer::Span;

use super::Binder;
use super::collation::of_type;
use super::query::{Bound, OutColumn};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::{JoinKind, Output, Rel, SetOperation};
use crate::types::collation::DEFAULT;
use crate::types::{PgType, TypeOid};

impl Binder {
    /// 42P21 where the recursive term's column has another collation than the one that it continues.
    pub(super) fn check_recursive_collations(&self, name: &str, base: &Bound, step: &Bound, at: &[Span]) -> Result<()> {
        if !self.collations.noticed {
            return Ok(());
        }
        for (i, (b, s)) in base.columns.iter().zip(&step.columns).enumerate() {
            let own = |c: &OutColumn| self.column_collation(c.id, c.ty);
            if let (Some(first), Some(overall)) = (own(b), own(s))
                && first != overall
                && overall.0 != DEFAULT
            {
                let (first, overall) = (self.shown_name(first), self.shown_name(overall));
                let message = format!(
                    "recursive query \"{name}\" column {} has collation \"{first}\" in non-recursive term but collation \
                     \"{overall}\" overall",
                    i + 1
                );
                let error = Error::new(SqlState::CollationMismatch, message)
                    .hint("Use the COLLATE clause to set the collation of the non-recursive term.");
                return Err(match at.get(i).or(at.first()) {
                    Some(span) => self.source.locate(error, *span),
                    None => error,
                });
            }
        }
        Ok(())
    }

    /// A column of VALUES.
    pub(super) fn note_values(&mut self, id: ColumnId, items: &[ScalarExpr], ty: PgType) -> Result<()> {
        if !self.collations.noticed || of_type(ty.oid).is_none() {
            return Ok(());
        }
        self.note_expression(id, &ScalarExpr::new(ExprKind::Coalesce(items.to_vec()), ty))
    }

    /// A fresh column with the collation of `like`.
    fn fresh_like(&mut self, like: ColumnId) -> ColumnId {
        let id = self.fresh();
        if let Some(collation) = self.noted_collation(like) {
            self.note_collation(id, collation);
        }
        id
    }

    /// Rows without duplicates, of each group of equal ones the first.
    fn first_of_each(&mut self, input: Rel, columns: Vec<(ColumnId, ScalarExpr)>) -> Result<Rel> {
        let mut groups = Vec::with_capacity(columns.len());
        for (id, expr) in columns {
            groups.push((id, self.grouped(expr)?));
        }
        Ok(Rel::Aggregate { input: Box::new(input), groups, sets: None, grouping: None, aggregates: Vec::new() })
    }

    /// SELECT DISTINCT where different strings are equal.
    pub(super) fn blurred_distinct(&mut self, rel: Rel, columns: Vec<(ColumnId, ScalarExpr)>) -> Result<Rel> {
        let (mut below, mut above) = (Vec::new(), Vec::new());
        for (id, expr) in columns {
            let inner = self.fresh_like(id);
            above.push((id, ScalarExpr::column(inner, expr.ty)));
            below.push((inner, expr));
        }
        self.first_of_each(rel.project(below), above)
    }

    /// A set operation where different strings are equal.
    pub(super) fn blurred_operation(
        &mut self,
        operation: SetOperation,
        all: bool,
        left: Bound,
        right: Bound,
        outputs: Vec<Output>,
    ) -> Result<Rel> {
        if all {
            return Err(Error::unsupported("INTERSECT ALL and EXCEPT ALL under a nondeterministic collation"));
        }
        if operation == SetOperation::Union {
            let united: Vec<Output> = outputs.iter().map(|o| Output { id: self.fresh_like(o.id), ty: o.ty }).collect();
            let columns = outputs.iter().zip(&united).map(|(o, u)| (o.id, ScalarExpr::column(u.id, u.ty))).collect();
            let rel = Rel::SetOperation {
                operation,
                all: true,
                left_columns: left.columns.iter().map(|c| c.id).collect(),
                right_columns: right.columns.iter().map(|c| c.id).collect(),
                left: Box::new(left.rel),
                right: Box::new(right.rel),
                outputs: united,
            };
            return self.first_of_each(rel, columns);
        }
        let side = |b: &mut Binder, bound: Bound| {
            let own = outputs.iter().zip(&bound.columns);
            let columns: Vec<(ColumnId, ScalarExpr)> =
                own.map(|(o, c)| (b.fresh_like(o.id), ScalarExpr::column(c.id, c.ty))).collect();
            let ids: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).collect();
            (bound.rel.project(columns), ids)
        };
        let ((left, left_ids), (right, right_ids)) = (side(self, left), side(self, right));
        let columns = outputs.iter().zip(left_ids).map(|(o, id)| (o.id, ScalarExpr::column(id, o.ty))).collect();
        let left = self.first_of_each(left, columns)?;
        let mut same = Vec::with_capacity(outputs.len());
        for (output, id) in outputs.iter().zip(right_ids) {
            let l = self.distinguished(ScalarExpr::column(output.id, output.ty))?;
            let r = self.distinguished(ScalarExpr::column(id, output.ty))?;
            let kind = ExprKind::IsDistinct { left: Box::new(l), right: Box::new(r), negated: true };
            same.push(ScalarExpr::new(kind, TypeOid::BOOL));
        }
        let kind = if operation == SetOperation::Intersect { JoinKind::Semi } else { JoinKind::Anti };
        let condition = ScalarExpr::and(same);
        Ok(Rel::Join { left: Box::new(left), right: Box::new(right), kind, condition, lateral: false })
    }
}
