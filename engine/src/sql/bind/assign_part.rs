//! `SET a[1] = x`, `SET c.f = x`, `SET j['k'] = x`: the new value of the whole column (see [`crate::sql::subscripted`]).

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::array_shape::element_function;
use crate::functions::subscript_assignment::{Part, assignment};
use crate::sql::subscripted::{FIELD, INDEX, OPEN_END, SLICE, TARGET};
use crate::types::{Datum, PgType, TypeOid};

fn call_of(expr: &Expr) -> Option<(String, Vec<&Expr>)> {
    let Expr::Function(call) = expr else { return None };
    let name = call.name.0.last()?.as_ident().map(fold)?;
    let ast::FunctionArguments::List(list) = &call.args else { return Some((name, Vec::new())) };
    let args = list.args.iter().filter_map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some((name, args.collect()))
}

/// A step as it is written: a field's name, or a subscript (whether it is a slice, and its ends).
enum Step<'a> {
    Field(&'a ast::Ident),
    Subscript(bool, Vec<&'a Expr>),
}

/// What a part becomes.
enum Value<'a> {
    Written(&'a Expr),
    Bound(ScalarExpr),
}

impl Binder {
    pub(super) fn assign_part(&mut self, args: &[&Expr], span: Span) -> Result<ScalarExpr> {
        let [whole, value, steps @ ..] = args else {
            return Err(Error::internal("an assignment to a part without its parts"));
        };
        let whole = match (call_of(whole), &self.part_target) {
            (Some((name, _)), Some((target, _))) if name == TARGET => ScalarExpr::constant(Datum::Null, *target),
            _ => self.expr(whole)?,
        };
        let mut written = Vec::new();
        for step in steps {
            let (name, args) = call_of(step).ok_or_else(|| Error::internal("a step of another form"))?;
            written.push(match (name.as_str(), args.as_slice()) {
                (FIELD, [Expr::Identifier(field)]) => Step::Field(field),
                _ => Step::Subscript(name == SLICE, args),
            });
        }
        if matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
        {
            let what = match written.last() {
                Some(Step::Field(_)) => "cannot set a subfield to DEFAULT",
                _ => "cannot set an array element to DEFAULT",
            };
            return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, what), span));
        }
        self.assign_step(whole, &written, value, span)
    }

    /// The whole with a new value at the end of the steps.
    fn assign_step(&mut self, whole: ScalarExpr, steps: &[Step<'_>], value: &Expr, span: Span) -> Result<ScalarExpr> {
        let subscripts = steps.iter().take_while(|step| matches!(step, Step::Subscript(..))).count();
        match steps.first() {
            Some(Step::Field(field)) => {
                self.assign_field(whole, field, steps.get(1..).unwrap_or_default(), value, span)
            }
            _ => {
                let (own, rest) = steps.split_at(subscripts);
                let written: Vec<(bool, &[&Expr])> = own
                    .iter()
                    .filter_map(|step| match step {
                        Step::Subscript(slice, ends) => Some((*slice, ends.as_slice())),
                        Step::Field(_) => None,
                    })
                    .collect();
                if rest.is_empty() {
                    return self.assign_subscripts(whole, &written, Value::Written(value), span);
                }
                let Some(element) = whole.ty.oid.element() else {
                    return self.assign_subscripts(whole, &written, Value::Written(value), span);
                };
                let mut args = vec![whole.clone()];
                for (slice, ends) in &written {
                    match (slice, ends) {
                        (false, [index]) => args.push(self.integer_subscript(index)?),
                        _ => return Err(self.source.locate(Error::unsupported("a field of a slice"), span)),
                    }
                }
                let function = element_function(whole.ty.oid, element, written.len());
                let old = ScalarExpr::new(ExprKind::Call { function, args }, PgType::new(element, whole.ty.typmod));
                let new = self.assign_step(old, rest, value, span)?;
                self.assign_subscripts(whole, &written, Value::Bound(new), span)
            }
        }
    }

    fn assign_field(
        &mut self,
        whole: ScalarExpr,
        field: &ast::Ident,
        rest: &[Step<'_>],
        value: &Expr,
        span: Span,
    ) -> Result<ScalarExpr> {
        let (ty, name) = (whole.ty, fold(field));
        let column = self.part_target.as_ref().map_or(String::new(), |(_, column)| column.clone());
        let Some(fields) = self.composite_fields(&whole).filter(|_| ty.oid.is_row()) else {
            let shown = super::resolve::type_name(ty);
            let message = format!(
                "cannot assign to field \"{name}\" of column \"{column}\" because its type {shown} is not a composite type"
            );
            return Err(self.source.locate(Error::new(SqlState::DatatypeMismatch, message), field.span));
        };
        let Some(at) = fields.iter().position(|(own, _)| *own == name) else {
            let shown = super::resolve::type_name(ty);
            let message = format!(
                "cannot assign to field \"{name}\" of column \"{column}\" because there is no such column in data type \
                 {shown}"
            );
            return Err(self.source.locate(Error::new(SqlState::UndefinedColumn, message), field.span));
        };
        let mut values: Vec<ScalarExpr> = fields.into_iter().map(|(_, value)| value).collect();
        let slot = values.get_mut(at).ok_or_else(|| Error::internal("a row without one of its fields"))?;
        let old = slot.clone();
        *slot = if rest.is_empty() {
            let bound = self.expr(value)?;
            let from = bound.ty;
            let target = old.ty;
            self.coerce(bound, target, super::coerce::Situation::Assignment, value.span())?.ok_or_else(|| {
                let message = format!(
                    "subfield \"{name}\" is of type {} but expression is of type {}",
                    super::resolve::type_name(target.oid.into()),
                    super::resolve::type_name(from)
                );
                let error = Error::new(SqlState::DatatypeMismatch, message)
                    .hint("You will need to rewrite or cast the expression.");
                self.source.locate(error, value.span())
            })?
        } else {
            self.assign_step(old, rest, value, span)?
        };
        Ok(ScalarExpr::new(ExprKind::Row(values, None), ty))
    }

    fn assign_subscripts(
        &mut self,
        whole: ScalarExpr,
        written: &[(bool, &[&Expr])],
        value: Value<'_>,
        span: Span,
    ) -> Result<ScalarExpr> {
        let ty = whole.ty;
        let sliced = written.iter().any(|(slice, _)| *slice);
        let (value, value_span) = match value {
            Value::Written(value) => (self.expr(value)?, value.span()),
            Value::Bound(value) => (value, span),
        };
        if ty.oid == TypeOid::JSONB {
            if sliced {
                let error = Error::new(SqlState::DatatypeMismatch, "jsonb subscript does not support slices");
                return Err(self.source.locate(error, span));
            }
            let value = self.part_value(value, TypeOid::JSONB.into(), value_span)?;
            let steps = written.iter().filter_map(|(_, args)| args.first()).map(|e| self.json_step(e));
            let steps = steps.collect::<Result<Vec<_>>>()?;
            let path = ScalarExpr::new(ExprKind::Array(steps), TypeOid::TEXT_ARRAY);
            let function = assignment(Part::Json, ty.oid);
            return Ok(ScalarExpr::new(ExprKind::Call { function, args: vec![whole, value, path] }, ty));
        }
        let Some(element) = ty.oid.element() else {
            let name = super::resolve::type_name(ty);
            let error = Error::new(
                SqlState::DatatypeMismatch,
                format!("cannot subscript type {name} because it does not support subscripting"),
            );
            return Err(self.source.locate(error, span));
        };
        let target = if sliced { ty } else { PgType::new(element, ty.typmod) };
        let value = self.part_value(value, target, value_span)?;
        let (mut marks, mut bounds) = (String::new(), Vec::new());
        for (slice, args) in written {
            match (slice, args) {
                (true, [lower, upper]) => {
                    for (end, mark) in [(lower, 'l'), (upper, 'u')] {
                        if call_of(end).is_some_and(|(name, _)| name == OPEN_END) {
                            marks.push('-');
                            bounds.push(ScalarExpr::constant(Datum::Int4(0), TypeOid::INT4));
                        } else {
                            marks.push(mark);
                            bounds.push(self.integer_subscript(end)?);
                        }
                    }
                }
                (false, [index]) => {
                    if sliced {
                        bounds.push(ScalarExpr::constant(Datum::Int4(1), TypeOid::INT4));
                    }
                    marks.push_str("lu");
                    bounds.push(self.integer_subscript(index)?);
                }
                _ => return Err(Error::internal(format!("a subscript that is no {INDEX}"))),
            }
        }
        let mut args = vec![whole, value, ScalarExpr::constant(Datum::from(marks), TypeOid::TEXT)];
        args.extend(bounds);
        let function = assignment(if sliced { Part::Slice } else { Part::Element }, ty.oid);
        Ok(ScalarExpr::new(ExprKind::Call { function, args }, ty))
    }

    fn part_value(&mut self, value: ScalarExpr, to: PgType, span: Span) -> Result<ScalarExpr> {
        let from = value.ty;
        match self.coerce(value, to, super::coerce::Situation::Assignment, span)? {
            Some(value) => Ok(value),
            None => {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "subscripted assignment requires type {} but expression is of type {}",
                        super::resolve::type_name(to.oid.into()),
                        super::resolve::type_name(from)
                    ),
                )
                .hint("You will need to rewrite or cast the expression.");
                Err(self.source.locate(error, span))
            }
        }
    }
}
