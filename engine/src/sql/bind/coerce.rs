//! Coercion: unknown literals and parameters take a type, typed expressions are cast (manual, chapter 10).

use sqlparser::tokenizer::Span;

use super::{Binder, resolve};
use crate::error::{Error, Result, SqlState};
use crate::expr::{Cast, ColumnId, ExprKind, ScalarExpr};
use crate::sql::rel::Rel;
use crate::types::{Datum, PgType, TypeOid, text};

/// In which situations a cast may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Situation {
    Implicit,
    Assignment,
    Explicit,
}

impl Binder {
    pub(super) fn coerce_implicit(&mut self, expr: ScalarExpr, to: PgType, span: Span) -> Result<ScalarExpr> {
        let from = expr.ty;
        match self.coerce(expr, to, Situation::Implicit, span)? {
            Some(out) => Ok(out),
            None => {
                let message =
                    format!("cannot cast type {} to {}", resolve::type_name(from), resolve::type_name(to.oid.into()));
                Err(self.source.locate(Error::new(SqlState::CannotCoerce, message), span))
            }
        }
    }

    pub(super) fn coerce_explicit(&mut self, expr: ScalarExpr, to: PgType, span: Span) -> Result<ScalarExpr> {
        let from = expr.ty;
        match self.coerce(expr, to, Situation::Explicit, span)? {
            Some(out) => Ok(out),
            None => {
                let message =
                    format!("cannot cast type {} to {}", resolve::type_name(from), resolve::type_name(to.oid.into()));
                Err(self.source.locate(Error::new(SqlState::CannotCoerce, message), span))
            }
        }
    }

    /// `None`: there is no such cast in this situation.
    pub(super) fn coerce(
        &mut self,
        mut expr: ScalarExpr,
        to: PgType,
        situation: Situation,
        span: Span,
    ) -> Result<Option<ScalarExpr>> {
        if expr.ty.oid == TypeOid::UNKNOWN {
            match expr.kind {
                ExprKind::Const(Datum::Null) => return Ok(Some(ScalarExpr::constant(Datum::Null, to))),
                ExprKind::Const(Datum::Text(ref text)) => {
                    let text = text.clone();
                    return self.parse_constant(&text, to, situation, span).map(Some);
                }
                ExprKind::Param(n) => {
                    self.settle_parameter(n, to.oid, span)?;
                    expr.ty = to.oid.into();
                }
                // A column of unknown type that a subquery yields is text.
                _ => expr.ty = TypeOid::TEXT.into(),
            }
        } else if let ExprKind::Param(n) = expr.kind
            && self.params.get(n).copied().flatten().is_none()
        {
            self.settle_parameter(n, expr.ty.oid, span)?;
        }
        if let ExprKind::Const(Datum::Null) = expr.kind {
            return Ok((resolve::cast_exists(expr.ty.oid, to.oid, situation)
                || self.environment.catalog.row_inherits(expr.ty.oid, to.oid))
            .then(|| ScalarExpr::constant(Datum::Null, to)));
        }
        if expr.ty.oid == TypeOid::RECORD
            && to.oid.is_row()
            && to.oid != TypeOid::RECORD
            && let ExprKind::Row(items, _) = expr.kind
        {
            return self.row_to_composite(items, to, situation, span).map(Some);
        }
        if expr.ty.oid == to.oid {
            if let ExprKind::Row(_, names) = &mut expr.kind
                && situation == Situation::Assignment
            {
                // A stored row takes its names from its type.
                *names = None;
            }
            return Ok(Some(apply_modifier(expr, to, situation)));
        }
        if self.environment.catalog.row_inherits(expr.ty.oid, to.oid) {
            return Ok(self.row_as_parent(&expr, to));
        }
        if to.oid == TypeOid::ANY || to.oid == TypeOid::UNKNOWN {
            return Ok(Some(expr));
        }
        // A row comes apart only against a row.
        if !resolve::cast_exists(expr.ty.oid, to.oid, situation) {
            return Ok(None);
        }
        let explicit = situation == Situation::Explicit;
        Ok(Some(ScalarExpr::new(ExprKind::Cast(Box::new(Cast { arg: expr, to, explicit })), to)))
    }

    /// `ROW(…)` as a row of a composite type: field by field.
    fn row_to_composite(
        &mut self,
        items: Vec<ScalarExpr>,
        to: PgType,
        situation: Situation,
        span: Span,
    ) -> Result<ScalarExpr> {
        let cannot = |detail: String| {
            let message = format!("cannot cast type record to {}", resolve::type_name(to));
            Error::new(SqlState::CannotCoerce, message).detail(detail)
        };
        let attributes = self.environment.catalog.attributes_of(to.oid);
        let attributes = attributes.ok_or_else(|| Error::internal("a composite type without attributes"))?;
        if items.len() != attributes.len() {
            let which = if items.len() < attributes.len() { "few" } else { "many" };
            return Err(self.source.locate(cannot(format!("Input has too {which} columns.")), span));
        }
        let mut fields = Vec::with_capacity(items.len());
        for (i, (mut item, (_, ty))) in items.into_iter().zip(attributes).enumerate() {
            // A literal is read as the field's type.
            if item.ty.oid == TypeOid::TEXT && matches!(item.kind, ExprKind::Const(Datum::Text(_))) {
                item.ty = TypeOid::UNKNOWN.into();
            }
            let from = item.ty;
            let at = situation.max(Situation::Assignment);
            let field = self.coerce(item, ty, at, span)?.ok_or_else(|| {
                let (from, to) = (resolve::type_name(from), resolve::type_name(ty.oid.into()));
                self.source.locate(cannot(format!("Cannot cast type {from} to {to} in column {}.", i + 1)), span)
            })?;
            fields.push(field);
        }
        Ok(ScalarExpr::new(ExprKind::Row(fields, None), to))
    }

    fn parse_constant(&mut self, value: &str, to: PgType, situation: Situation, span: Span) -> Result<ScalarExpr> {
        let base = PgType::new(to.oid, if to.oid == TypeOid::INTERVAL { to.typmod } else { -1 });
        // Names of objects are looked up when the statement runs; a domain over the catalog, not over text.
        let by_catalog = resolve::is_reg_type(to.oid) || to.oid.element().is_some_and(resolve::is_reg_type);
        if by_catalog && value.parse::<u32>().is_err() {
            let arg = ScalarExpr::constant(Datum::from(value), TypeOid::TEXT);
            let cast = Cast { arg, to, explicit: true };
            return Ok(ScalarExpr::new(ExprKind::Cast(Box::new(cast)), to));
        }
        let is_text = matches!(to.oid, TypeOid::TEXT | TypeOid::VARCHAR | TypeOid::BPCHAR | TypeOid::NAME);
        self.names_moment |= !is_text && crate::sql::lift::names_moment(value);
        let parsed =
            text::parse(value, base, &self.environment.eval.format).map_err(|e| self.source.locate(e, span))?;
        Ok(apply_modifier(ScalarExpr::constant(parsed, base), to, situation))
    }

    fn settle_parameter(&mut self, n: usize, ty: TypeOid, span: Span) -> Result<()> {
        let Some(slot) = self.params.get_mut(n) else {
            return Err(Error::internal("parameter without a slot"));
        };
        match slot {
            None => *slot = Some(ty),
            Some(known) if *known == ty => {}
            Some(known) => {
                let detail =
                    format!("{} versus {}", resolve::type_name((*known).into()), resolve::type_name(ty.into()));
                let error = Error::new(
                    SqlState::AmbiguousParameter,
                    format!("inconsistent types deduced for parameter ${}", n + 1),
                )
                .detail(detail);
                return Err(self.source.locate(error, span));
            }
        }
        Ok(())
    }

    /// Unknown becomes text.
    pub(super) fn resolve_unknown(&mut self, expr: ScalarExpr) -> Result<ScalarExpr> {
        if expr.ty.oid == TypeOid::UNKNOWN {
            self.coerce_implicit(expr, TypeOid::TEXT.into(), Span::empty())
        } else {
            Ok(expr)
        }
    }

    /// Assignment cast of a bound expression (42804 `column "a" is of type integer but expression is of type text`).
    pub fn coerce_assign(&mut self, expr: ScalarExpr, column: &str, to: PgType) -> Result<ScalarExpr> {
        self.assign(expr, column, to, Span::empty())
    }

    pub(super) fn assign(&mut self, expr: ScalarExpr, column: &str, to: PgType, span: Span) -> Result<ScalarExpr> {
        let from = expr.ty;
        match self.coerce(expr, to, Situation::Assignment, span)? {
            Some(out) => Ok(out),
            None => {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "column \"{column}\" is of type {} but expression is of type {}",
                        resolve::type_name(PgType::from(to.oid)),
                        resolve::type_name(PgType::from(from.oid))
                    ),
                )
                .hint("You will need to rewrite or cast the expression.");
                Err(self.source.locate(error, span))
            }
        }
    }

    /// Coerces one output column of a tree: literals and parameters where they stand, anything else above it. Returns the
    /// tree and the column's id, which changes when a projection had to be added.
    pub(super) fn coerce_output(
        &mut self,
        rel: &mut Rel,
        id: ColumnId,
        to: PgType,
        convert: &mut dyn FnMut(&mut Binder, ScalarExpr) -> Result<ScalarExpr>,
    ) -> Result<bool> {
        match rel {
            Rel::Project { columns, input } => {
                let Some((_, expr)) = columns.iter_mut().find(|(c, _)| *c == id) else {
                    return Ok(false);
                };
                if let ExprKind::Column { id: below, depth: 0 } = expr.kind
                    && expr.ty.oid == TypeOid::UNKNOWN
                    && self.coerce_output(input, below, to, convert)?
                {
                    expr.ty = to;
                    return Ok(true);
                }
                let bound = std::mem::replace(expr, ScalarExpr::constant(Datum::Null, to));
                *expr = convert(self, bound)?;
                Ok(true)
            }
            Rel::Values { outputs, rows } => {
                let Some(i) = outputs.iter().position(|o| o.id == id) else {
                    return Ok(false);
                };
                for row in rows.iter_mut() {
                    if let Some(expr) = row.get_mut(i) {
                        let bound = std::mem::replace(expr, ScalarExpr::constant(Datum::Null, to));
                        *expr = convert(self, bound)?;
                    }
                }
                if let Some(output) = outputs.get_mut(i) {
                    output.ty = to;
                }
                Ok(true)
            }
            Rel::Limit { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. } => self.coerce_output(input, id, to, convert),
            Rel::SetOperation { left, right, outputs, left_columns, right_columns, .. } => {
                let Some(i) = outputs.iter().position(|o| o.id == id) else {
                    return Ok(false);
                };
                let (Some(l), Some(r)) = (left_columns.get(i).copied(), right_columns.get(i).copied()) else {
                    return Ok(false);
                };
                let done = self.coerce_output(left, l, to, convert)? && self.coerce_output(right, r, to, convert)?;
                if done && let Some(output) = outputs.get_mut(i) {
                    output.ty = to;
                }
                Ok(done)
            }
            _ => Ok(false),
        }
    }
}

/// Applies a length, precision or scale.
fn apply_modifier(expr: ScalarExpr, to: PgType, situation: Situation) -> ScalarExpr {
    if to.typmod < 0 || expr.ty.typmod == to.typmod {
        return expr;
    }
    let explicit = situation == Situation::Explicit;
    ScalarExpr::new(ExprKind::Cast(Box::new(Cast { arg: expr, to, explicit })), to)
}
